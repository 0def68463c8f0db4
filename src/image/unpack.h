/*
 * unpack.h - disk images as people publish them: packed by gzip, bzip2, xz,
 * zstd or lz4, or in a tar archive (an OVA is one), or both.
 */
#ifndef HOSTEL_IMAGE_UNPACK_H
#define HOSTEL_IMAGE_UNPACK_H

#include <stdbool.h>

#include "base/err.h"
#include "image/progress.h"

/* Does the file begin as one of them does? */
bool unpack_is_packed(const char *path);
/*
 * Writes the disk in it to `to`, which must not exist, with holes for what is
 * zero.  Of an archive that is the first file named as a disk is.  Untrusted:
 * no other file is touched, whatever the archive's names are.
 */
int unpack_disk(const char *path, const char *to, struct progress *progress,
		struct err *err);

#endif
