/*
 * virtio.h - what every virtio device is, whatever carries it.
 *
 * Source: VIRTIO 1.2, 2 (device), 3 (initialization), 4.1 (PCI), 4.2 (MMIO).
 *
 * A device embeds struct virtio_dev first, fills in what it is (rng.c is the
 * shortest example), and is given to a transport: virtio_pci_new() (a PCI
 * function with MSI-X) or virtio_mmio_new().  The transport owns it from then
 * on and frees it; it is what stands on the board's list.
 *
 * Only "modern" devices: VIRTIO_F_VERSION_1 is always offered and must be
 * taken.  The transport offers indirect descriptors and event indexes by
 * itself; packed rings if the board put VIRTIO_F_RING_PACKED into `offered`.
 *
 * Threads: read_config, write_config, notify: any vCPU thread, notify also
 * the I/O loop's (ioeventfd); reset and driver_ok: a vCPU thread, or the main
 * one with vCPUs stopped.  The device has a mutex of its own and may hold it
 * when calling virtq_*() and virtio_config_changed().
 */
#ifndef HOSTEL_DEV_VIRTIO_VIRTIO_H
#define HOSTEL_DEV_VIRTIO_VIRTIO_H

#include "dev/dev.h"
#include "dev/pci/host.h"
#include "dev/virtio/virtq.h"

#define VIRTIO_QUEUES_MAX 64

/* Device types (5). */
#define VIRTIO_ID_NET     1
#define VIRTIO_ID_BLOCK   2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG     4
#define VIRTIO_ID_BALLOON 5
#define VIRTIO_ID_SCSI    8
#define VIRTIO_ID_9P      9
#define VIRTIO_ID_GPU     16
#define VIRTIO_ID_INPUT   18
#define VIRTIO_ID_VSOCK   19
#define VIRTIO_ID_FS      26

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)
#define VIRTIO_F_RING_PACKED   (1ull << 34)

struct virtio_dev;

struct virtio_ops {
	/* Configuration space; in bounds of config_size.  NULL: see below. */
	void (*read_config)(struct virtio_dev *vd, unsigned offset, void *buf,
			    unsigned len);
	void (*write_config)(struct virtio_dev *vd, unsigned offset,
			     const void *buf, unsigned len);
	/* vd->features is final, the queues may be used.  May be NULL. */
	void (*driver_ok)(struct virtio_dev *vd);
	/*
	 * Queue n has something, or might: each ready queue is notified once
	 * after driver_ok, too.  In the thread that says so.
	 */
	void (*notify)(struct virtio_dev *vd, unsigned n);
	/*
	 * NULL, or: an eventfd that says the same when it is rung, so that an
	 * engine can ring it without leaving the guest (mem_doorbell()).
	 */
	int (*notify_fd)(struct virtio_dev *vd, unsigned n);
	/*
	 * Forget everything; returns when nothing is in flight any more.  The
	 * transport then takes the queues back.
	 */
	void (*reset)(struct virtio_dev *vd);
	/*
	 * vCPUs are stopped and will be for long: returns when nothing is in
	 * flight, so that the state is complete.  May be NULL.
	 */
	void (*drain)(struct virtio_dev *vd);
	/* A section of its own; the transport has walked queues, features. */
	void (*walk)(struct virtio_dev *vd, struct walk *w);
	void (*free)(struct virtio_dev *vd);
};

struct virtio_dev {
	const struct virtio_ops *ops;
	const char *name;  /* static: "virtio-blk" */
	unsigned instance; /* among those of its name; set by pc.c */
	struct dev_env *env;
	uint16_t id;         /* VIRTIO_ID_* */
	uint32_t class_code; /* PCI class 0xccssii */
	/* Features of the device type (bits 0..23, 50..); and see above. */
	uint64_t offered;
	uint64_t features; /* taken by the driver; 0 until FEATURES_OK */
	unsigned queue_count;
	uint16_t queue_size;  /* the largest that is offered, a power of two */
	unsigned config_size; /* bytes */
	/*
	 * Where config space is plain memory it lives here: read as it is,
	 * written never (ops->read_config NULL); changed by the device under
	 * its own lock, followed by virtio_config_changed().
	 */
	uint8_t *config;
	struct virtq *queue[VIRTIO_QUEUES_MAX];
	struct virtio_transport *transport; /* the transport's own */
};

static inline bool virtio_has(const struct virtio_dev *vd, uint64_t feature)
{
	return vd->features & feature;
}

/* Raises the configuration interrupt and counts the generation up. */
void virtio_config_changed(struct virtio_dev *vd);
/* The driver broke the rules: DEVICE_NEEDS_RESET. */
void virtio_broken(struct virtio_dev *vd);

/*
 * The transports.  Both take over vd, also on failure (vd->ops->free).
 * *out is the board's device: DEV(*out)->free() frees vd as well.
 */
struct virtio_pci;
int virtio_pci_new(struct virtio_pci **out, struct pci_host *host,
		   unsigned slot, struct virtio_dev *vd, struct err *err);

/* Takes it off the bus, before it is freed. While no vCPU runs. */
void virtio_pci_detach(struct virtio_pci *v);

#define VIRTIO_MMIO_SIZE 0x200
struct virtio_mmio;
int virtio_mmio_new(struct virtio_mmio **out, const struct dev_env *env,
		    uint64_t base, struct irq irq, struct virtio_dev *vd,
		    struct err *err);

#endif
