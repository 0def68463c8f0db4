/*
 * copy.h - whole disks: copied into another image, committed into a backing
 * file, put upon another one.
 *
 * Zeroes are never written where the target reads as zeroes already.  Several
 * threads work at once; the caller's nodes must not be changed by others
 * meanwhile.  All return 0 or -errno with a sentence.
 */
#ifndef HOSTEL_BLOCK_COPY_H
#define HOSTEL_BLOCK_COPY_H

#include "block/block.h"

struct block_copy {
	unsigned workers; /* threads; 0: as many as there are processors */
	bool compress;    /* BLOCK_COMPRESS on every write */
	/* Called now and then by one thread at a time; non-zero: stop. */
	int (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};

/*
 * Makes `to`, a new image, read as `from` does, as far as both reach.  Where
 * `to` has a backing file only what differs from that is written.
 */
int copy_disk(struct block *from, struct block *to,
	      const struct block_copy *how, struct err *err);

/*
 * Writes what `top` itself holds (opened without its backing file) into
 * `base`, which becomes as long as `top`.  `top` is left as it is.
 */
int copy_commit(struct block *top, struct block *base,
		const struct block_copy *how, struct err *err);

/*
 * Before `top` gets `base` (or NULL: none) instead of its present backing
 * file: writes into `top` whatever would read differently.
 */
int copy_rebase(struct block *top, struct block *base,
		const struct block_copy *how, struct err *err);

#endif
