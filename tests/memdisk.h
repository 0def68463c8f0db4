/*
 * memdisk.h - a file in memory, as formats see one in b->file: for harnesses
 * that open many images, or want to see every byte of one.
 */
#ifndef HOSTEL_TESTS_MEMDISK_H
#define HOSTEL_TESTS_MEMDISK_H

#include <stddef.h>

#include "block/block.h"

/*
 * A node that holds a copy of `len` bytes; it grows to at most `max`, beyond
 * which writes fail with -ENOSPC.  block_close() frees it.
 */
struct block *memdisk_new(const void *data, size_t len, size_t max);
const void *memdisk_bytes(const struct block *b, size_t *len);

/* Opens format `f` on top of `file`, which it takes over even on failure. */
int memdisk_open(struct block **out, struct block *file,
		 const struct block_format *f, const struct block_open *how,
		 struct err *err);
/* Closes the format's node alone; returns the file. */
struct block *memdisk_detach(struct block *b);

#endif
