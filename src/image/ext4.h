/*
 * ext4.h - reads files of an ext4 file system: what it takes to find a
 * guest's kernel on its disk without starting the guest.
 *
 * Everything read is untrusted.  Like GRUB it does not replay the journal:
 * after a guest was killed, what it wrote last may be missing, never more.
 * Files without extents (ext2 and ext3), with inline data, or encrypted ones
 * are refused with a sentence.
 */
#ifndef HOSTEL_IMAGE_EXT4_H
#define HOSTEL_IMAGE_EXT4_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image/source.h"

struct ext4;

/* The file system in [offset, offset + length) of the source, which must
 * outlive it. */
int ext4_open(struct ext4 **out, const struct source *s, uint64_t offset,
	      uint64_t length, struct err *err);
void ext4_close(struct ext4 *fs);

/*
 * The whole of a regular file, at most max bytes; symbolic links are followed
 * within the file system.  *data is the caller's to free; a NUL follows it.
 */
int ext4_read_file(struct ext4 *fs, const char *path, size_t max,
		   uint8_t **data, size_t *len, struct err *err);

#endif
