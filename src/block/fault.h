/*
 * fault.h - a filter that makes a disk go wrong, for tests.
 *
 * Rules, separated by ';':
 *
 *	[file.]OPERATION[:KEY=VALUE|:FLAG]...
 *
 *	read, write, flush, discard, zero, any	fail, or are slow
 *	cut					the power goes
 *
 *	after=N		the first N are spared
 *	count=N		at most N are hit (default: all)
 *	prob=P		each is hit with probability P (0..1)
 *	seed=N		of what is random (default: 1)
 *	error=NAME	EIO (default), ENOSPC, ...; or a number
 *	delay=MS	it takes that much longer, and works, unless error= too
 *	torn		write: some of its first sectors are written, then fails
 *	kill		cut: the process is killed as well
 *
 * "file." puts a rule below the format: it then sees the image file's reads
 * and writes instead of the guest's.
 *
 * With a "cut" rule the node simulates a drive with a volatile cache: of what
 * was written since the last flush, each sector survives or not by chance when
 * the power goes; from then on everything fails with -EIO.  Its after= counts
 * what changes the disk: writes, zeroes, discards.
 */
#ifndef HOSTEL_BLOCK_FAULT_H
#define HOSTEL_BLOCK_FAULT_H

#include "block/filter.h"

/*
 * Puts a fault node on *b if there are rules for that place: below the
 * format, or on top.  -EINVAL with a sentence for rules that make no sense.
 */
int fault_push(struct block **b, const char *rules, bool below,
	       struct err *err);

/* fault_cache.c: what a drive has not yet written for good. */
struct fault_cache;
int fault_cache_new(struct fault_cache **out, struct block *lower);
void fault_cache_free(struct fault_cache *c);
/* Before a change of this range. */
int fault_cache_note(struct fault_cache *c, uint64_t offset, uint64_t length);
/* After a flush: nothing can be lost any more. */
void fault_cache_flushed(struct fault_cache *c);
/* The power goes. */
int fault_cache_cut(struct fault_cache *c, uint64_t seed);

#endif
