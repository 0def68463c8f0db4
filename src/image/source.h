/*
 * source.h - bytes to read, wherever they lie: a file, a stack of disk images.
 */
#ifndef HOSTEL_IMAGE_SOURCE_H
#define HOSTEL_IMAGE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

struct source {
	/* All of it, or -errno.  Never asked for what lies past size. */
	int (*read)(void *opaque, void *buf, uint64_t offset, size_t len);
	void *opaque;
	uint64_t size;
};

/* Checked: -EINVAL past the end. */
int source_read(const struct source *s, void *buf, uint64_t offset, size_t len);

/* Of an open file; *fd must outlive it. */
struct source source_of_fd(const int *fd, uint64_t size);

#endif
