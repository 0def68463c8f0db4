/*
 * filter.h - nodes that change how a disk behaves, not what it holds: each
 * lies on one node and passes on what it does not care about.
 */
#ifndef HOSTEL_BLOCK_FILTER_H
#define HOSTEL_BLOCK_FILTER_H

#include "block/block.h"

/*
 * A node on *b, which it takes over and takes the place of; on failure *b
 * stays, and opaque is the caller's.
 */
int filter_push(struct block **b, const struct block_ops *ops, void *opaque);
/* What lies below may have changed its size. */
void filter_resized(struct block *b);

/* Pass on; to be used in a filter's own table. */
int filter_flush(struct block *b);
int filter_map(struct block *b, uint64_t offset, uint64_t length,
	       bool for_write, unsigned flags, struct block_extent *out);
int filter_resize(struct block *b, uint64_t size, struct err *err);
int filter_info(struct block *b, struct block_info *out);

/*
 * Limits on bytes and operations a second.  A call that is too early sleeps
 * (with BLOCK_NOWAIT: -EAGAIN), in the order in which calls came, but while
 * somebody hurries; what passed then is paid for by those that come later.
 */
int throttle_push(struct block **b, const struct block_throttle *limits,
		  struct err *err);

#endif
