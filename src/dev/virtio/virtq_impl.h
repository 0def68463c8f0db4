/*
 * virtq_impl.h - a virtqueue from inside: for virtq*.c, the transports that
 * set queues up, and tests.  Devices use virtq.h.
 *
 * Source: VIRTIO 1.2, 2.6 (virtqueues), 2.7 (split), 2.8 (packed).
 */
#ifndef HOSTEL_DEV_VIRTIO_VIRTQ_IMPL_H
#define HOSTEL_DEV_VIRTIO_VIRTQ_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "dev/virtio/virtq.h"

/* A descriptor as it lies in memory, little-endian (2.7.5, 2.8.13). */
struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	union {
		struct {
			uint16_t flags, next;
		} split;
		struct {
			uint16_t id, flags;
		} packed;
	};
};

#define VIRTQ_DESC_NEXT     0x1
#define VIRTQ_DESC_WRITE    0x2
#define VIRTQ_DESC_INDIRECT 0x4
#define VIRTQ_DESC_AVAIL    0x80 /* packed only, as the next */
#define VIRTQ_DESC_USED     0x8000

struct virtq;

/* What differs between the layouts; all with the lock held, mapped. */
struct virtq_ring_ops {
	/* Bytes of the three areas. */
	void (*area_sizes)(const struct virtq *q, uint64_t out[3]);
	/* Sees to it that the device owns consistent indexes. */
	int (*pop)(struct virtq *q, struct virtq_chain *chain);
	void (*unpop)(struct virtq *q);
	/* Writes the used element `ahead` places behind the first free. */
	void (*fill)(struct virtq *q, const struct virtq_chain *chain,
		     uint32_t written, unsigned ahead);
	/* Shows `count` of them to the driver, which used `slots` slots. */
	void (*flush)(struct virtq *q, unsigned count, unsigned slots);
	bool (*wants_interrupt)(struct virtq *q);
	bool (*enable_notify)(struct virtq *q);
	void (*disable_notify)(struct virtq *q);
};

extern const struct virtq_ring_ops virtq_split, virtq_packed;

/* Areas in the order of desc, driver (avail), device (used): 2.6. */
enum virtq_area { VIRTQ_DESC, VIRTQ_DRIVER, VIRTQ_DEVICE, VIRTQ_AREAS };

struct virtq {
	pthread_mutex_t lock; /* guards all below but what says otherwise */
	struct mem *mem;
	/* Raises the queue's interrupt, tells of a broken queue; unlocked. */
	void (*interrupt)(void *opaque, unsigned index);
	void (*report)(void *opaque, unsigned index);
	void *opaque;
	unsigned index; /* fixed */
	uint16_t size_max;

	/* The driver's setting, taken at virtq_enable(). */
	uint16_t size;
	uint64_t area[VIRTQ_AREAS];
	bool packed, event_idx, indirect;

	const struct virtq_ring_ops *ops;
	void *host[VIRTQ_AREAS]; /* where the areas lie */
	bool ready, broken;
	uint16_t next_avail; /* packed: a slot; split: free-running */
	uint16_t next_used;
	uint16_t signalled; /* next_used at the last interrupt decision */
	bool avail_wrap, used_wrap; /* packed */
	bool signalled_wrap;
	uint16_t first_flags; /* packed: of the first unflushed element */
	unsigned in_flight;   /* popped, not pushed: slots (packed) or chains */
	uint16_t last_slots[VIRTQ_SIZE_MAX]; /* packed: of the last pops */
	uint16_t pops;                       /* counts into it */
};

struct virtq *virtq_new(struct mem *mem, unsigned index, uint16_t size_max);
void virtq_free(struct virtq *q);
/*
 * The driver enables the queue; false: its setting cannot be (size, alignment,
 * not RAM), and the queue is broken.
 */
bool virtq_enable(struct virtq *q, uint64_t features);
void virtq_reset(struct virtq *q);
/*
 * A section of its own; nothing may be in flight.  Restoring, with the taken
 * features: maps the rings again, or fails the walk.
 */
void virtq_walk(struct virtq *q, struct walk *w, unsigned instance,
		uint64_t features);

/* --- For the ring files --------------------------------------------------- */

int virtq_broke(struct virtq *q, const char *why);
/* Copies one descriptor, each byte once. */
struct virtq_desc virtq_copy_desc(const void *table, unsigned index);
/* One piece more at the chain's end; false: broken. */
bool virtq_add(struct virtq *q, struct virtq_chain *chain,
	       const struct virtq_desc *desc, bool write);
/* All of an indirect table. */
bool virtq_add_indirect(struct virtq *q, struct virtq_chain *chain,
			const struct virtq_desc *table);

#endif
