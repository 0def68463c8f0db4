/*
 * blk.h - virtio-blk: a disk (block/block.h) for the guest.
 *
 * Source: VIRTIO 1.2, 5.2.
 *
 * Offered: FLUSH, CONFIG_WCE, BLK_SIZE, SEG_MAX, TOPOLOGY, DISCARD,
 * WRITE_ZEROES, MQ; RO for a disk that was opened so.  Deliberately missing:
 * GEOMETRY and SIZE_MAX, which nothing needs, and SECURE_ERASE and LIFETIME,
 * which a file cannot promise.
 */
#ifndef HOSTEL_DEV_VIRTIO_BLK_H
#define HOSTEL_DEV_VIRTIO_BLK_H

#include "block/queue.h"
#include "dev/virtio/virtio.h"

#define VIRTIO_BLK_QUEUES_MAX 16

struct virtio_blk_config {
	struct block *disk; /* taken over, also on failure */
	const char *serial; /* copied; at most 20 bytes count; NULL: none */
	unsigned queues;    /* 1..VIRTIO_BLK_QUEUES_MAX */
	/*
	 * The host has no room for a write.  The request is kept until
	 * virtio_blk_retry(), so that the guest need not hear of it; whoever
	 * is called should stop the guest.  Any thread; must not block.
	 */
	struct dev_hook full;
};

int virtio_blk_new(struct virtio_dev **out, struct dev_env *env,
		   const struct virtio_blk_config *config, struct err *err);

/*
 * Makes the requests that are kept once more and waits for them.  Returns how
 * many are kept again.  Not from a vCPU's thread.
 */
unsigned virtio_blk_retry(struct virtio_dev *vd);
/* What the guest asked for so far.  Any thread. */
void virtio_blk_stats(struct virtio_dev *vd, struct block_queue_stats *out);
/* The disk, which stays the device's. */
struct block *virtio_blk_disk(struct virtio_dev *vd);

#endif
