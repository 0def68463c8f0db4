/*
 * transport.h - what the transports have in common: the state of a device
 * that its driver sets through registers, wherever they lie (VIRTIO 1.2, 2.1,
 * 2.2, 3.1).  For virtio.c, virtio_pci.c, mmio.c.
 *
 * Threads: virtio_reg_*() from vCPU threads, serialized by `lock`, under which
 * the device's reset() may wait for its I/O; virtio_notify() takes none.
 */
#ifndef HOSTEL_DEV_VIRTIO_TRANSPORT_H
#define HOSTEL_DEV_VIRTIO_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "dev/virtio/virtio.h"
#include "dev/virtio/virtq_impl.h"

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01
#define VIRTIO_STATUS_DRIVER      0x02
#define VIRTIO_STATUS_DRIVER_OK   0x04
#define VIRTIO_STATUS_FEATURES_OK 0x08
#define VIRTIO_STATUS_NEEDS_RESET 0x40
#define VIRTIO_STATUS_FAILED      0x80

#define VIRTIO_NO_VECTOR 0xffff

/* What an interrupt is about, beside a queue's number (4.1.4.5). */
#define VIRTIO_ISR_QUEUE  1
#define VIRTIO_ISR_CONFIG 2

struct virtio_transport {
	struct dev dev; /* what stands on the board's list */
	struct virtio_dev *vd;
	/* Raises it; any thread, the device's lock may be held. */
	void (*interrupt)(struct virtio_transport *t, unsigned queue);
	void (*config_interrupt)(struct virtio_transport *t);

	_Atomic uint8_t status;      /* the driver's and NEEDS_RESET */
	_Atomic uint32_t generation; /* of the device's config space */
	pthread_mutex_t lock;        /* guards: */
	uint32_t feature_sel, driver_feature_sel;
	uint64_t driver_features; /* as written; vd->features is final */
	uint16_t queue_sel;
	uint32_t shm_sel;
};

/* Makes the queues; takes vd over once it succeeds. */
int virtio_transport_init(struct virtio_transport *t, struct virtio_dev *vd,
			  struct err *err);
/* Frees queues and vd. */
void virtio_transport_free(struct virtio_transport *t);
void virtio_transport_reset(struct virtio_transport *t);
/*
 * Sections for the common state, each queue and the device; `instance` tells
 * the machine's transports apart.
 */
void virtio_transport_walk(struct virtio_transport *t, struct walk *w,
			   unsigned instance);
void virtio_transport_drain(struct virtio_transport *t);

uint64_t virtio_offered(const struct virtio_dev *vd);
/* What register accesses do; with the lock held. */
uint32_t virtio_get_feature(const struct virtio_transport *t);
void virtio_set_feature(struct virtio_transport *t, uint32_t value);
void virtio_set_status(struct virtio_transport *t, uint8_t value);
/* The selected queue, or NULL. */
struct virtq *virtio_selected(struct virtio_transport *t);
bool virtio_queue_enabled(struct virtio_transport *t);
void virtio_queue_enable(struct virtio_transport *t);
/* Nothing once the device works: then drivers reset it (4.2.2.2). */
void virtio_queue_disable(struct virtio_transport *t);
/* value into bits [shift, shift + 32) of the selected queue's address. */
void virtio_set_area(struct virtio_transport *t, enum virtq_area area,
		     unsigned shift, uint32_t value);
uint64_t virtio_get_area(struct virtio_transport *t, enum virtq_area area);
void virtio_set_queue_size(struct virtio_transport *t, uint32_t value);

/* Without the lock: any offset, size 1 to 8; outside reads 0. */
uint64_t virtio_config_read(struct virtio_transport *t, uint64_t offset,
			    unsigned size);
void virtio_config_write(struct virtio_transport *t, uint64_t offset,
			 unsigned size, uint64_t value);
void virtio_notify(struct virtio_transport *t, unsigned queue);

#endif
