/*
 * vdriver.h - the driver's side of a virtio device without a transport: its
 * queues, split, in guest memory that a test fills as it likes.
 */
#ifndef HOSTEL_TESTS_VDRIVER_H
#define HOSTEL_TESTS_VDRIVER_H

#include "dev/virtio/virtio.h"
#include "dev/virtio/virtq_impl.h"

#define VDRIVER_RAM   (4u << 20)
#define VDRIVER_SIZE  64        /* descriptors a queue */
#define VDRIVER_DATA  0x100000u /* memory for requests */
#define VDRIVER_RINGS 0x10000u  /* queue n: 64 KiB from here + n * 64 KiB */

#define VDRIVER_QUEUES 5

/* The rings as they lie in memory. */
struct vdriver_ring {
	struct virtq_desc *desc;
	_Atomic uint16_t *avail; /* flags, idx, ring */
	_Atomic uint16_t *used;  /* flags, idx, then {id, len} */
	uint16_t next;           /* free descriptor */
	uint16_t seen;           /* used elements that were looked at */
};

struct vdriver {
	struct dev_env env;
	struct virtio_dev *vd;
	uint8_t *ram;
	struct vdriver_ring ring[VDRIVER_QUEUES];
	_Atomic unsigned interrupts;
};

/* One piece of a request. */
struct vpiece {
	uint32_t gpa;
	uint32_t len;
	bool in; /* for the device to write */
};

int vdriver_ram(struct vdriver *d);
/* Takes vd over; features are those it offers, and the ring's `ring`. */
void vdriver_start(struct vdriver *d, struct virtio_dev *vd, uint64_t ring);
void vdriver_stop(struct vdriver *d);

/* Puts a chain into the ring without a word. */
void vdriver_add(struct vdriver *d, unsigned queue, const struct vpiece *p,
		 unsigned count);
void vdriver_notify(struct vdriver *d, unsigned queue);
/* Waits for the next used element (some seconds): its length; -1: none. */
int64_t vdriver_used(struct vdriver *d, unsigned queue);

#endif
