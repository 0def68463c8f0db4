/*
 * balloon.h - virtio-balloon: memory that the guest does without goes back to
 * the host.
 *
 * Source: VIRTIO 1.2, 5.5.  Queues: inflate, deflate, statistics, free page
 * hints, free page reporting.  The driver may take pages back when its guest
 * runs out of memory (DEFLATE_ON_OOM).
 *
 * Threads: the functions here from any but a vCPU's.
 */
#ifndef HOSTEL_DEV_VIRTIO_BALLOON_H
#define HOSTEL_DEV_VIRTIO_BALLOON_H

#include "dev/virtio/virtio.h"

/* What the guest's kernel counts, by tag (5.5.6.3). */
#define BALLOON_STATS 10
extern const char *const balloon_stat_names[BALLOON_STATS];

struct balloon_state {
	uint64_t target;   /* bytes that are to be in the balloon */
	uint64_t actual;   /* bytes that are */
	uint64_t reported; /* free bytes that were given back, in all */
	uint64_t hinted;   /* the same, because they were asked for */
	bool has_stats;
	bool has[BALLOON_STATS];
	uint64_t stat[BALLOON_STATS];
};

int virtio_balloon_new(struct virtio_dev **out, struct dev_env *env,
		       struct err *err);
/* Bytes that the guest is to give up; rounded down to pages. */
void virtio_balloon_set(struct virtio_dev *vd, uint64_t bytes);
/*
 * Asks the driver for all free pages, which go back to the host; waits until
 * they have, at most wait_ms.  -EOPNOTSUPP: there is no such driver;
 * -ETIMEDOUT.
 */
int virtio_balloon_reclaim(struct virtio_dev *vd, unsigned wait_ms);
/*
 * How things are; asks the driver for new statistics, and waits for them at
 * most wait_ms.
 */
void virtio_balloon_get(struct virtio_dev *vd, unsigned wait_ms,
			struct balloon_state *out);

#endif
