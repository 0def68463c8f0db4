/* queue_priv.h - struct block_queue, for queue.c and queue_ring.c only. */
#ifndef HOSTEL_BLOCK_QUEUE_PRIV_H
#define HOSTEL_BLOCK_QUEUE_PRIV_H

#include <liburing.h>
#include <pthread.h>

#include "block/queue.h"

#define QUEUE_THREADS      16
#define QUEUE_RING_ENTRIES 128

struct queue_ring {
	bool there;
	pthread_t reaper;
	pthread_mutex_t lock; /* the submission side */
	struct io_uring ring; /* completions: the reaper's alone */
	atomic_uint in_flight;
};

struct block_queue {
	struct block *b;
	struct block_queue_stats stats; /* changed atomically */
	struct queue_ring ring;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	/* guarded by lock: */
	unsigned in_flight;                  /* not inline ones */
	struct block_request *first, **last; /* for the pool */
	unsigned waiting;                    /* threads that have nothing */
	unsigned threads;
	bool stop;
	pthread_t thread[QUEUE_THREADS];
};

/* Hands a request to a thread; it counts as in flight already. */
void queue_to_pool(struct block_queue *q, struct block_request *r);
void queue_done(struct block_queue *q, struct block_request *r, int result);

/* Leaves the queue without a ring where the host has none. */
void ring_start(struct block_queue *q);
void ring_stop(struct block_queue *q);
/*
 * Puts a request into the ring, if its bytes lie as they are in one place of
 * a file; ring_kick() tells the kernel.
 */
bool ring_add(struct block_queue *q, struct block_request *r);
void ring_kick(struct block_queue *q);

#endif
