/*
 * virtq.h - one virtqueue, split or packed: the only way in which a virtio
 * device touches what its driver describes.
 *
 * Source: Virtual I/O Device (VIRTIO) version 1.2, 2.6 to 2.8.
 *
 * Everything in a ring is hostile: an index, a length, a flag, a chain may be
 * anything and may change while it is read.  Each descriptor is copied once
 * and checked; a chain never has more than VIRTQ_SEGMENTS_MAX pieces, nor
 * loops; each piece lies in RAM.  A queue that breaks these rules is broken:
 * it yields nothing more, and the device asks for a reset (2.1.2,
 * DEVICE_NEEDS_RESET).
 *
 * Threads: any; a lock inside the queue makes each call atomic.  Buffers come
 * out in ring order; they may go back in any order.
 */
#ifndef HOSTEL_DEV_VIRTIO_VIRTQ_H
#define HOSTEL_DEV_VIRTIO_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/walk.h"
#include "mem/mem.h"

#define VIRTQ_SIZE_MAX     1024
#define VIRTQ_SEGMENTS_MAX 1024

struct virtq;

/*
 * A chain of buffers in the driver's hands' order: `out` pieces are for the
 * device to read, `in` pieces for it to write.  The memory may change under
 * the reader: copy once, then check.  Owned by the caller; reusable.
 */
struct virtq_chain {
	uint16_t head;  /* the queue's own, for virtq_push() */
	uint16_t slots; /* the same: descriptors that a packed ring frees */
	unsigned out_count;
	unsigned in_count;
	size_t out_len; /* bytes in all */
	size_t in_len;
	struct iovec *out; /* iov[0 .. out_count) */
	struct iovec *in;  /* follow them */
	struct iovec iov[VIRTQ_SEGMENTS_MAX];
};

/* 1: *chain is the next request; 0: none is there; -EPROTO: broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/*
 * Gives a chain back, `written` bytes of its `in` pieces filled from the
 * start; marks them written for engines and the dirty log.
 */
void virtq_push(struct virtq *q, const struct virtq_chain *chain,
		uint32_t written);

/*
 * For mergeable receive buffers: chains are used at once or not at all.
 * virtq_unpop() takes back the last `count` pops, latest first.
 */
void virtq_unpop(struct virtq *q, unsigned count);
void virtq_push_many(struct virtq *q, const struct virtq_chain *chains,
		     const uint32_t *written, unsigned count);

/* Interrupts the driver about what was pushed, if it wants to be (2.7.10). */
void virtq_interrupt(struct virtq *q);

/*
 * Asks the driver for notifications, or asks it to leave them (2.7.7).  After
 * asking, a request may already be there: false means look once more.  With
 * event index asking counts for one notification: whoever has seen the queue
 * empty asks again, always, or hears no more of it.
 */
bool virtq_enable_notify(struct virtq *q);
void virtq_disable_notify(struct virtq *q);

/* Does the driver let it work, and is it not broken? */
bool virtq_ready(struct virtq *q);
/* The device found nonsense inside a request: broken from now on. */
void virtq_break(struct virtq *q);

/* --- Pieces as one run of bytes ------------------------------------------ */

/* Copies at most len bytes from offset on; returns how many there were. */
size_t virtq_read(const struct virtq_chain *chain, size_t offset, void *buf,
		  size_t len);
size_t virtq_write(const struct virtq_chain *chain, size_t offset,
		   const void *buf, size_t len);

#endif
