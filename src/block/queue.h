/*
 * queue.h - asynchronous requests to a disk: what a device uses.
 *
 * A queue belongs to one disk (several queues may share it) and completes
 * requests in any order.  It tries, in this order: at once in the caller's
 * thread where that cannot block; io_uring on the file where the bytes lie;
 * the pool of threads.
 *
 * A flush covers every write that had completed when it was submitted.
 *
 * Threads: submit from any; `done` is called in the submitting thread (before
 * submit returns) or in one of the queue's own.  The request is the caller's
 * memory until `done`.
 */
#ifndef HOSTEL_BLOCK_QUEUE_H
#define HOSTEL_BLOCK_QUEUE_H

#include "block/block.h"

enum block_op {
	BLOCK_OP_READ,
	BLOCK_OP_WRITE,
	BLOCK_OP_FLUSH,
	BLOCK_OP_DISCARD,
	BLOCK_OP_ZERO,
};

struct block_request {
	enum block_op op;
	unsigned flags; /* BLOCK_FUA, BLOCK_UNMAP */
	uint64_t offset, length;
	const struct iovec *iov;
	int iovcnt;
	/* result: 0 or -errno. */
	void (*done)(struct block_request *r, int result);
	struct block_request *next; /* the queue's own, as what follows */
	struct block_queue *queue;
	struct block_extent extent;
	int state;
};

struct block_queue;

int block_queue_new(struct block_queue **out, struct block *b, struct err *err);
/* Waits for what is in flight; the disk stays open. */
void block_queue_free(struct block_queue *q);

void block_submit(struct block_queue *q, struct block_request *r);
/* Several at once cost one system call. */
void block_submit_many(struct block_queue *q, struct block_request **r,
		       unsigned count);
/* Returns when nothing is in flight. */
void block_queue_drain(struct block_queue *q);

/* What was submitted so far, and which way it went.  Any thread. */
struct block_queue_stats {
	uint64_t ops[BLOCK_OP_ZERO + 1]; /* by enum block_op */
	uint64_t read_bytes, written_bytes;
	uint64_t at_once, ring, pool;
};
void block_queue_stats(struct block_queue *q, struct block_queue_stats *out);

#endif
