/*
 * queue.c - requests that need not wait for each other.
 *
 * Three ways, the cheapest first: in the caller's thread, if the node says
 * that it will not block (a page that the host has in memory costs a copy);
 * io_uring (queue_ring.c), if the node says where in a file the bytes lie;
 * else a thread of the pool, which makes the node's own call.  Threads are
 * started when the others have work, and stay.
 */
#include "block/queue_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The call, blocking or not. */
static int queue_call(struct block *b, const struct block_request *r,
		      unsigned flags)
{
	flags |= r->flags;
	switch (r->op) {
	case BLOCK_OP_READ:
		return block_readv(b, r->iov, r->iovcnt, r->offset, r->length,
				   flags);
	case BLOCK_OP_WRITE:
		return block_writev(b, r->iov, r->iovcnt, r->offset, r->length,
				    flags);
	case BLOCK_OP_FLUSH:
		return block_flush(b);
	case BLOCK_OP_DISCARD:
		return block_discard(b, r->offset, r->length);
	case BLOCK_OP_ZERO:
		return block_zero(b, r->offset, r->length, flags);
	}
	return -EINVAL;
}

static int queue_try_now(struct block_queue *q, const struct block_request *r)
{
	if (r->op != BLOCK_OP_READ && r->op != BLOCK_OP_WRITE)
		return -EAGAIN;
	return queue_call(q->b, r, BLOCK_NOWAIT);
}

void queue_done(struct block_queue *q, struct block_request *r, int result)
{
	r->done(r, result);
	pthread_mutex_lock(&q->lock);
	if (--q->in_flight == 0)
		pthread_cond_broadcast(&q->idle);
	pthread_mutex_unlock(&q->lock);
}

/* --- The pool ------------------------------------------------------------- */

static void *queue_thread(void *opaque)
{
	struct block_queue *q = opaque;
	struct block_request *r;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		while (!q->first && !q->stop) {
			q->waiting++;
			pthread_cond_wait(&q->work, &q->lock);
			q->waiting--;
		}
		r = q->first;
		if (!r)
			break;
		q->first = r->next;
		if (!q->first)
			q->last = &q->first;
		pthread_mutex_unlock(&q->lock);
		queue_done(q, r, queue_call(q->b, r, 0));
		pthread_mutex_lock(&q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

/* With the lock held; one thread at least there is since queue_new. */
static void queue_add_thread(struct block_queue *q)
{
	sigset_t all, old;

	if (q->threads == QUEUE_THREADS)
		return;
	sigfillset(&all); /* signals are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&q->thread[q->threads], NULL, queue_thread, q))
		q->threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void queue_to_pool(struct block_queue *q, struct block_request *r)
{
	r->next = NULL;
	pthread_mutex_lock(&q->lock);
	*q->last = r;
	q->last = &r->next;
	if (!q->waiting)
		queue_add_thread(q);
	pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
}

/* --- What devices call ---------------------------------------------------- */

static void queue_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void queue_count_request(struct block_queue *q,
				const struct block_request *r)
{
	queue_count(&q->stats.ops[r->op], 1);
	if (r->op == BLOCK_OP_READ)
		queue_count(&q->stats.read_bytes, r->length);
	if (r->op == BLOCK_OP_WRITE)
		queue_count(&q->stats.written_bytes, r->length);
}

/* True: the ring has it, and is to be kicked. */
static bool queue_submit(struct block_queue *q, struct block_request *r)
{
	int rc;

	r->queue = q;
	queue_count_request(q, r);
	rc = queue_try_now(q, r);
	if (rc != -EAGAIN) {
		queue_count(&q->stats.at_once, 1);
		r->done(r, rc);
		return false;
	}
	pthread_mutex_lock(&q->lock);
	q->in_flight++;
	pthread_mutex_unlock(&q->lock);
	if (ring_add(q, r)) {
		queue_count(&q->stats.ring, 1);
		return true;
	}
	queue_count(&q->stats.pool, 1);
	queue_to_pool(q, r);
	return false;
}

void block_submit_many(struct block_queue *q, struct block_request **r,
		       unsigned count)
{
	bool kick = false;

	for (unsigned i = 0; i < count; i++)
		kick |= queue_submit(q, r[i]);
	if (kick)
		ring_kick(q);
}

void block_queue_stats(struct block_queue *q, struct block_queue_stats *out)
{
	const uint64_t *from = (const uint64_t *)&q->stats;
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void block_submit(struct block_queue *q, struct block_request *r)
{
	block_submit_many(q, &r, 1);
}

void block_queue_drain(struct block_queue *q)
{
	block_hurry(q->b, true);
	pthread_mutex_lock(&q->lock);
	while (q->in_flight)
		pthread_cond_wait(&q->idle, &q->lock);
	pthread_mutex_unlock(&q->lock);
	block_hurry(q->b, false);
}

int block_queue_new(struct block_queue **out, struct block *b, struct err *err)
{
	struct block_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return err_set(err, ENOMEM, "out of memory");
	q->b = b;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->work, NULL);
	pthread_cond_init(&q->idle, NULL);
	queue_add_thread(q);
	ring_start(q);
	if (!q->threads) {
		block_queue_free(q);
		return err_set(err, EAGAIN, "%s: cannot start a thread",
			       b->path);
	}
	*out = q;
	return 0;
}

void block_queue_free(struct block_queue *q)
{
	if (!q)
		return;
	block_queue_drain(q);
	ring_stop(q);
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_broadcast(&q->work);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < q->threads; i++)
		pthread_join(q->thread[i], NULL);
	pthread_cond_destroy(&q->idle);
	pthread_cond_destroy(&q->work);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
