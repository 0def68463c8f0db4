/*
 * bucket.h - a token bucket: so many bytes a second, with bursts.
 *
 * Kept as one number, the time at which the bucket will be full again (the
 * "theoretical arrival time" of ITU-T I.371's cell rate algorithm).  A frame
 * may pass while that is at most the time in which `burst` bytes trickle in
 * ahead of now; what passes moves it on, possibly into debt, so that frames
 * larger than the burst pass, too.
 *
 * Times are of any clock in nanoseconds.  Not locked.
 */
#ifndef HOSTEL_NET_BUCKET_H
#define HOSTEL_NET_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t rate;     /* bytes a second; 0: no limit */
	uint64_t burst_ns; /* how long `burst` bytes take */
	uint64_t full_at;
};

static inline uint64_t bucket_time(const struct bucket *b, uint64_t bytes)
{
	return (uint64_t)((unsigned __int128)bytes * 1000000000u / b->rate);
}

/* burst 0: what comes in a tenth of a second. */
static inline void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst)
{
	*b = (struct bucket){ .rate = rate };
	if (rate)
		b->burst_ns = burst ? bucket_time(b, burst) : 100000000;
}

/* From when on a frame may pass: ready if that is not after now. */
static inline uint64_t bucket_when(const struct bucket *b)
{
	return b->full_at > b->burst_ns ? b->full_at - b->burst_ns : 0;
}

static inline bool bucket_ready(const struct bucket *b, uint64_t now)
{
	return !b->rate || bucket_when(b) <= now;
}

static inline void bucket_take(struct bucket *b, uint64_t now, uint64_t bytes)
{
	if (!b->rate)
		return;
	if (b->full_at < now)
		b->full_at = now;
	b->full_at += bucket_time(b, bytes);
}

#endif
