/*
 * posix.h - the node at the bottom: a regular file or block device of the
 * host.  What formats see in b->file.
 */
#ifndef HOSTEL_BLOCK_POSIX_H
#define HOSTEL_BLOCK_POSIX_H

#include <sys/types.h>

#include "block/block.h"

/*
 * Opens how->path, as how->readonly, cache and discard say, and locks
 * nothing.  Sets b->size, grows, path, readonly.
 */
int posix_open(struct block **out, const struct block_open *how,
	       struct err *err);
/* Takes over fd, a new file open for reading and writing. */
int posix_adopt(struct block **out, int fd, const char *path, struct err *err);

/* The node's descriptor, which stays its own. */
int posix_fd(const struct block *b);

#endif
