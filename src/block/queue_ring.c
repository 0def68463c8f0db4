/* queue_ring.c - io_uring: requests that need no thread while they wait. */
#include "block/queue_priv.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>

/* #syscalls: io_uring_setup io_uring_enter io_uring_register */

/* The whole request lies in one extent that another may read or write. */
static bool ring_map(struct block_queue *q, struct block_request *r)
{
	bool write = r->op == BLOCK_OP_WRITE;

	if (block_map(q->b, r->offset, r->length, write, BLOCK_NOWAIT,
		      &r->extent))
		return false;
	if (r->extent.type == BLOCK_EXTENT_DATA && r->extent.fd >= 0 &&
	    r->extent.length >= r->length)
		return true;
	block_map_done(q->b, &r->extent);
	return false;
}

/* A stable write needs more than the data, but where the node is its file. */
static bool ring_may(struct block_queue *q, const struct block_request *r)
{
	bool fua = r->flags & BLOCK_FUA || q->b->writethrough;

	if (!q->ring.there || r->iovcnt > IOV_MAX || r->length > INT_MAX)
		return false;
	return r->op == BLOCK_OP_READ ||
	       (r->op == BLOCK_OP_WRITE && (!fua || q->b->ops->fua));
}

static void ring_prepare(struct block_queue *q, struct block_request *r,
			 struct io_uring_sqe *sqe)
{
	const struct block_extent *e = &r->extent;
	unsigned n = (unsigned)r->iovcnt;

	if (r->op == BLOCK_OP_READ)
		io_uring_prep_readv(sqe, e->fd, r->iov, n, e->fd_offset);
	else
		io_uring_prep_writev(sqe, e->fd, r->iov, n, e->fd_offset);
	if (r->op == BLOCK_OP_WRITE &&
	    (r->flags & BLOCK_FUA || q->b->writethrough))
		sqe->rw_flags = RWF_DSYNC;
	io_uring_sqe_set_data(sqe, r);
}

bool ring_add(struct block_queue *q, struct block_request *r)
{
	struct io_uring_sqe *sqe = NULL;

	if (!ring_may(q, r) || !ring_map(q, r))
		return false;
	/*
	 * Never more than the completion side has room for.  Pairs with
	 * ring_complete().
	 */
	if (atomic_fetch_add(&q->ring.in_flight, 1) < QUEUE_RING_ENTRIES) {
		pthread_mutex_lock(&q->ring.lock);
		sqe = io_uring_get_sqe(&q->ring.ring);
		if (sqe)
			ring_prepare(q, r, sqe);
		pthread_mutex_unlock(&q->ring.lock);
	}
	if (!sqe) {
		atomic_fetch_sub(&q->ring.in_flight, 1);
		block_map_done(q->b, &r->extent);
	}
	return sqe;
}

void ring_kick(struct block_queue *q)
{
	int rc;

	pthread_mutex_lock(&q->ring.lock);
	do {
		rc = io_uring_submit(&q->ring.ring);
	} while (rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
	pthread_mutex_unlock(&q->ring.lock);
}

static void ring_complete(struct block_queue *q, struct block_request *r,
			  int res)
{
	/*
	 * First: what the submitter wrote into the request before it counted
	 * up is there from now on.  Pairs with ring_add().
	 */
	atomic_fetch_sub(&q->ring.in_flight, 1);
	block_map_done(q->b, &r->extent);
	if (res >= 0 && (uint64_t)res == r->length)
		queue_done(q, r, 0);
	else if (res >= 0 || res == -EAGAIN || res == -EINVAL ||
		 res == -EINTR || res == -EOPNOTSUPP)
		queue_to_pool(q, r); /* short, or misaligned: the long way */
	else
		queue_done(q, r, res);
}

static void *ring_reap(void *opaque)
{
	struct block_queue *q = opaque;
	struct io_uring_cqe *cqe;

	for (;;) {
		struct block_request *r;
		int res;

		if (io_uring_wait_cqe(&q->ring.ring, &cqe))
			continue; /* EINTR */
		r = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&q->ring.ring, cqe);
		if (!r)
			return NULL;
		ring_complete(q, r, res);
	}
}

void ring_start(struct block_queue *q)
{
	struct queue_ring *ring = &q->ring;

	sigset_t all, old;

	pthread_mutex_init(&ring->lock, NULL);
	if (io_uring_queue_init(QUEUE_RING_ENTRIES, &ring->ring, 0))
		return;
	sigfillset(&all); /* signals are for the main thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ring->there = !pthread_create(&ring->reaper, NULL, ring_reap, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ring->there)
		io_uring_queue_exit(&ring->ring);
}

/* Nothing is in flight any more. */
void ring_stop(struct block_queue *q)
{
	struct queue_ring *ring = &q->ring;
	struct io_uring_sqe *sqe;

	if (ring->there) {
		sqe = io_uring_get_sqe(&ring->ring);
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data(sqe, NULL);
		ring_kick(q);
		pthread_join(ring->reaper, NULL);
		io_uring_queue_exit(&ring->ring);
	}
	pthread_mutex_destroy(&ring->lock);
}
