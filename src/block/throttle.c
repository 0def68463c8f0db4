/*
 * throttle.c - two token buckets: bytes, and operations.
 *
 * A bucket is kept as one moment: when it would be full again, had it no
 * limit.  An operation moves it on by what it costs in time, and waits until
 * the moment is at most the burst away.  So an operation that is larger than
 * the bucket passes when the bucket is full, and those after it pay.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "block/filter.h"

#define THROTTLE_S     1000000000ull
#define THROTTLE_BURST (THROTTLE_S / 10)

struct bucket {
	uint64_t rate; /* a second; 0: no limit */
	uint64_t burst_ns;
	uint64_t full_at; /* host's monotonic time */
};

struct throttle {
	pthread_mutex_t lock;   /* guards what follows */
	pthread_cond_t hurried; /* hurry went up; on the monotonic clock */
	unsigned hurry;
	struct bucket bytes, ops;
};

static uint64_t bucket_ns(uint64_t amount, uint64_t rate)
{
	__uint128_t ns = (__uint128_t)amount * THROTTLE_S / rate;

	return ns > INT64_MAX / 4 ? INT64_MAX / 4 : (uint64_t)ns;
}

static void bucket_init(struct bucket *k, uint64_t rate, uint64_t burst)
{
	k->rate = rate;
	if (rate)
		k->burst_ns = burst ? bucket_ns(burst, rate) : THROTTLE_BURST;
}

/* When the bucket has something again. */
static uint64_t bucket_ready(const struct bucket *k, uint64_t now)
{
	if (!k->rate || k->full_at <= now + k->burst_ns)
		return now;
	return k->full_at - k->burst_ns;
}

static void bucket_take(struct bucket *k, uint64_t now, uint64_t amount)
{
	if (!k->rate)
		return;
	if (k->full_at < now)
		k->full_at = now;
	k->full_at += bucket_ns(amount, k->rate);
}

/* With the lock held. */
static void throttle_sleep(struct throttle *t, uint64_t until)
{
	struct timespec ts = { (time_t)(until / THROTTLE_S),
			       (long)(until % THROTTLE_S) };

	while (!t->hurry &&
	       pthread_cond_timedwait(&t->hurried, &t->lock, &ts) != ETIMEDOUT)
		;
}

static int throttle_take(struct block *b, uint64_t bytes, unsigned flags)
{
	struct throttle *t = b->opaque;
	uint64_t now = clock_mono_ns(), ready, other;
	bool early;

	pthread_mutex_lock(&t->lock);
	ready = bucket_ready(&t->bytes, now);
	other = bucket_ready(&t->ops, now);
	ready = ready > other ? ready : other;
	early = ready > now;
	if (!early || !(flags & BLOCK_NOWAIT)) {
		bucket_take(&t->bytes, now, bytes);
		bucket_take(&t->ops, now, 1);
	}
	if (early && !(flags & BLOCK_NOWAIT))
		throttle_sleep(t, ready);
	pthread_mutex_unlock(&t->lock);
	return early && flags & BLOCK_NOWAIT ? -EAGAIN : 0;
}

/* What was taken and could not be used: the call is made again. */
static int throttle_give_back(struct block *b, uint64_t bytes, int rc,
			      unsigned flags)
{
	struct throttle *t = b->opaque;

	if (rc != -EAGAIN || !(flags & BLOCK_NOWAIT))
		return rc;
	pthread_mutex_lock(&t->lock);
	if (t->bytes.rate)
		t->bytes.full_at -= bucket_ns(bytes, t->bytes.rate);
	if (t->ops.rate)
		t->ops.full_at -= bucket_ns(1, t->ops.rate);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static int throttle_read(struct block *b, const struct iovec *iov, int iovcnt,
			 uint64_t offset, uint64_t length, unsigned flags)
{
	int rc = throttle_take(b, length, flags);

	if (rc)
		return rc;
	rc = block_readv(b->file, iov, iovcnt, offset, length, flags);
	return throttle_give_back(b, length, rc, flags);
}

static int throttle_write(struct block *b, const struct iovec *iov, int iovcnt,
			  uint64_t offset, uint64_t length, unsigned flags)
{
	int rc = throttle_take(b, length, flags);

	if (rc)
		return rc;
	rc = block_writev(b->file, iov, iovcnt, offset, length, flags);
	return throttle_give_back(b, length, rc, flags);
}

/* No bytes move: an operation each. */
static int throttle_zero(struct block *b, uint64_t offset, uint64_t length,
			 unsigned flags)
{
	int rc = throttle_take(b, 0, flags);

	return rc ? rc : block_zero(b->file, offset, length, flags);
}

static int throttle_discard(struct block *b, uint64_t offset, uint64_t length)
{
	throttle_take(b, 0, 0);
	return block_discard(b->file, offset, length);
}

static void throttle_hurry(struct block *b, bool on)
{
	struct throttle *t = b->opaque;

	pthread_mutex_lock(&t->lock);
	if (on) {
		t->hurry++;
		pthread_cond_broadcast(&t->hurried);
	} else {
		t->hurry--;
	}
	pthread_mutex_unlock(&t->lock);
}

static void throttle_free(struct throttle *t)
{
	pthread_cond_destroy(&t->hurried);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void throttle_close(struct block *b)
{
	throttle_free(b->opaque);
}

static const struct block_ops throttle_ops = {
	.name = "throttle",
	.fua = true,
	.read = throttle_read,
	.write = throttle_write,
	.zero = throttle_zero,
	.discard = throttle_discard,
	.flush = filter_flush,
	.map = filter_map,
	.resize = filter_resize,
	.info = filter_info,
	.hurry = throttle_hurry,
	.close = throttle_close,
};

static struct throttle *throttle_new(const struct block_throttle *limits)
{
	struct throttle *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;

	if (!t)
		return NULL;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->hurried, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&t->lock, NULL);
	bucket_init(&t->bytes, limits->bps, limits->bps_burst);
	bucket_init(&t->ops, limits->iops, limits->iops_burst);
	return t;
}

int throttle_push(struct block **b, const struct block_throttle *limits,
		  struct err *err)
{
	struct throttle *t = throttle_new(limits);

	if (t && !filter_push(b, &throttle_ops, t))
		return 0;
	if (t)
		throttle_free(t);
	return err_set(err, ENOMEM, "out of memory");
}
