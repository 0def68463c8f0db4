/*
 * import.h - takes disk images of others into the store.
 */
#ifndef HOSTEL_IMAGE_IMPORT_H
#define HOSTEL_IMAGE_IMPORT_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "image/progress.h"
#include "image/store.h"

/*
 * What a file is: image->format, disk_size, file_size.  Untrusted: an image
 * that names other files (backing, external data) is refused, because it
 * would let a guest read them.
 */
int import_probe(const char *path, struct image *image, struct err *err);

/* Copies a file, holes kept; shares its blocks where the host can. */
int import_copy(const char *from, const char *to, struct progress *progress,
		struct err *err);

/*
 * All of it: makes of `path` (raw, qcow2, vmdk; packed: unpack.h) a disk in
 * `dir`, a directory of our own, whose name is left in `out`, and what it is
 * in *image.  own: path is ours, and may be renamed or removed.
 */
int import_take(const char *path, bool own, const char *dir, char out[PATH_MAX],
		struct image *image, struct progress *progress,
		struct err *err);

#endif
