/*
 * mmio.c - virtio over MMIO, version 2 only (VIRTIO 1.2, 4.2).
 *
 * Registers, all of 32 bits, with the device's own
 * configuration behind them; one wire, which follows InterruptStatus.  A
 * notification goes straight to the device, without a lock; all else holds the
 * transport's lock.  `isr_lock` makes InterruptStatus and the wire one; below
 * it are the interrupt controllers alone.
 */
#include <errno.h>
#include <stdlib.h>

#include "dev/virtio/transport.h"

#define VMMIO_CONFIG 0x100

/* Registers (4.2.2). */
enum {
	VMMIO_MAGIC = 0x000,
	VMMIO_VERSION = 0x004,
	VMMIO_DEVICE_ID = 0x008,
	VMMIO_VENDOR_ID = 0x00c,
	VMMIO_FEATURE = 0x010,
	VMMIO_FEATURE_SEL = 0x014,
	VMMIO_DRIVER_FEATURE = 0x020,
	VMMIO_DRIVER_FEATURE_SEL = 0x024,
	VMMIO_QUEUE_SEL = 0x030,
	VMMIO_QUEUE_SIZE_MAX = 0x034,
	VMMIO_QUEUE_SIZE = 0x038,
	VMMIO_QUEUE_READY = 0x044,
	VMMIO_NOTIFY = 0x050,
	VMMIO_ISR = 0x060,
	VMMIO_ISR_ACK = 0x064,
	VMMIO_STATUS = 0x070,
	VMMIO_QUEUE_DESC = 0x080, /* low and high halves */
	VMMIO_QUEUE_DRIVER = 0x090,
	VMMIO_QUEUE_DEVICE = 0x0a0,
	VMMIO_SHM_SEL = 0x0ac,
	VMMIO_SHM_LEN = 0x0b0, /* to 0bfh: length and base, two halves each */
	VMMIO_GENERATION = 0x0fc,
};

struct virtio_mmio {
	struct virtio_transport t;
	uint64_t base;
	struct irq irq;
	pthread_mutex_t isr_lock; /* guards: */
	uint32_t isr;
};

/* --- The interrupt -------------------------------------------------------- */

/* The wire is high while a bit is set. */
static void vmmio_change_isr(struct virtio_mmio *v, uint32_t set,
			     uint32_t clear)
{
	pthread_mutex_lock(&v->isr_lock);
	v->isr = (v->isr | set) & ~clear;
	irq_set(&v->irq, v->isr);
	pthread_mutex_unlock(&v->isr_lock);
}

static void vmmio_interrupt(struct virtio_transport *t, unsigned queue)
{
	vmmio_change_isr((struct virtio_mmio *)t, VIRTIO_ISR_QUEUE, 0);
}

static void vmmio_config_interrupt(struct virtio_transport *t)
{
	vmmio_change_isr((struct virtio_mmio *)t, VIRTIO_ISR_CONFIG, 0);
}

static uint32_t vmmio_isr(struct virtio_mmio *v)
{
	pthread_mutex_lock(&v->isr_lock);
	uint32_t isr = v->isr;
	pthread_mutex_unlock(&v->isr_lock);
	return isr;
}

/* --- Registers ------------------------------------------------------------ */

static uint32_t vmmio_size_max(struct virtio_transport *t)
{
	struct virtq *q = virtio_selected(t);

	return q ? q->size_max : 0;
}

static uint32_t vmmio_get(struct virtio_mmio *v, uint64_t reg)
{
	struct virtio_transport *t = &v->t;

	switch (reg) {
	case VMMIO_MAGIC:
		return 0x74726976; /* "virt" */
	case VMMIO_VERSION:
		return 2;
	case VMMIO_DEVICE_ID:
		return t->vd->id;
	case VMMIO_VENDOR_ID:
		return 0x1af4;
	case VMMIO_FEATURE:
		return virtio_get_feature(t);
	case VMMIO_QUEUE_SIZE_MAX:
		return vmmio_size_max(t);
	case VMMIO_QUEUE_READY:
		return virtio_queue_enabled(t);
	case VMMIO_ISR:
		return vmmio_isr(v);
	case VMMIO_STATUS:
		return atomic_load(&t->status);
	case VMMIO_GENERATION:
		return atomic_load(&t->generation);
	default: /* 4.2.2: a shared region that is not there is all ones */
		return reg >= VMMIO_SHM_LEN && reg < VMMIO_SHM_LEN + 16
			       ? UINT32_MAX
			       : 0;
	}
}

static void vmmio_set_status(struct virtio_mmio *v, uint32_t value)
{
	virtio_set_status(&v->t, (uint8_t)value);
	if (!(value & 0xff))
		vmmio_change_isr(v, 0, UINT32_MAX);
}

/* A queue's address, by halves. */
static void vmmio_set_area(struct virtio_transport *t, uint64_t reg,
			   uint32_t value)
{
	unsigned n = (unsigned)(reg - VMMIO_QUEUE_DESC);

	if (reg >= VMMIO_QUEUE_DESC && n / 16 < VIRTQ_AREAS && n % 16 <= 4)
		virtio_set_area(t, (enum virtq_area)(n / 16), n % 16 * 8,
				value);
}

static void vmmio_set(struct virtio_mmio *v, uint64_t reg, uint32_t value)
{
	struct virtio_transport *t = &v->t;

	switch (reg) {
	case VMMIO_FEATURE_SEL:
		t->feature_sel = value;
		break;
	case VMMIO_DRIVER_FEATURE:
		virtio_set_feature(t, value);
		break;
	case VMMIO_DRIVER_FEATURE_SEL:
		t->driver_feature_sel = value;
		break;
	case VMMIO_QUEUE_SEL:
		t->queue_sel = value < VIRTIO_QUEUES_MAX ? (uint16_t)value
							 : VIRTIO_QUEUES_MAX;
		break;
	case VMMIO_QUEUE_SIZE:
		virtio_set_queue_size(t, value);
		break;
	case VMMIO_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(t);
		else if (value == 0)
			virtio_queue_disable(t);
		break;
	case VMMIO_ISR_ACK:
		vmmio_change_isr(v, 0, value);
		break;
	case VMMIO_STATUS:
		vmmio_set_status(v, value);
		break;
	case VMMIO_SHM_SEL:
		t->shm_sel = value;
		break;
	default:
		vmmio_set_area(t, reg, value);
	}
}

/* 4.2.2.2: registers are accessed whole, aligned. */
static uint64_t vmmio_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_mmio *v = opaque;
	uint32_t value;

	if (offset >= VMMIO_CONFIG)
		return virtio_config_read(&v->t, offset - VMMIO_CONFIG, size);
	if (size != 4 || offset % 4)
		return 0;
	pthread_mutex_lock(&v->t.lock);
	value = vmmio_get(v, offset);
	pthread_mutex_unlock(&v->t.lock);
	return value;
}

static void vmmio_write(void *opaque, uint64_t offset, unsigned size,
			uint64_t value)
{
	struct virtio_mmio *v = opaque;

	if (offset >= VMMIO_CONFIG) {
		virtio_config_write(&v->t, offset - VMMIO_CONFIG, size, value);
	} else if (size == 4 && offset == VMMIO_NOTIFY) {
		virtio_notify(&v->t, (unsigned)value);
	} else if (size == 4 && offset % 4 == 0) {
		pthread_mutex_lock(&v->t.lock);
		vmmio_set(v, offset, (uint32_t)value);
		pthread_mutex_unlock(&v->t.lock);
	}
}

static const struct io_ops vmmio_ops = {
	.read = vmmio_read,
	.write = vmmio_write,
};

/* --- Life ----------------------------------------------------------------- */

static void vmmio_reset(struct dev *dev)
{
	struct virtio_mmio *v = (struct virtio_mmio *)dev;

	pthread_mutex_lock(&v->t.lock);
	vmmio_set_status(v, 0);
	pthread_mutex_unlock(&v->t.lock);
}

static void vmmio_drain(struct dev *dev)
{
	virtio_transport_drain((struct virtio_transport *)dev);
}

/* Restored, it tells who shares the wire that it is held. */
static void vmmio_walk(struct dev *dev, struct walk *w)
{
	struct virtio_mmio *v = (struct virtio_mmio *)dev;

	if (walk_section(w, "virtio-mmio", v->t.vd->instance, 1)) {
		walk_u32(w, "isr", &v->isr);
		walk_end(w);
		v->isr &= VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG;
		if (walk_restoring(w))
			vmmio_change_isr(v, 0, 0);
	}
	virtio_transport_walk(&v->t, w, v->t.vd->instance);
}

static void vmmio_free(struct dev *dev)
{
	struct virtio_mmio *v = (struct virtio_mmio *)dev;

	mem_unmap_mmio(v->t.vd->env->mem, v->base);
	virtio_transport_free(&v->t);
	pthread_mutex_destroy(&v->isr_lock);
	free(v);
}

static void vmmio_init(struct virtio_mmio *v, uint64_t base, struct irq irq)
{
	v->t.dev = (struct dev){ .name = v->t.vd->name,
				 .instance = v->t.vd->instance,
				 .reset = vmmio_reset,
				 .drain = vmmio_drain,
				 .walk = vmmio_walk,
				 .free = vmmio_free };
	v->t.interrupt = vmmio_interrupt;
	v->t.config_interrupt = vmmio_config_interrupt;
	v->base = base;
	v->irq = irq;
	pthread_mutex_init(&v->isr_lock, NULL);
}

int virtio_mmio_new(struct virtio_mmio **out, const struct dev_env *env,
		    uint64_t base, struct irq irq, struct virtio_dev *vd,
		    struct err *err)
{
	struct virtio_mmio *v = calloc(1, sizeof(*v));
	int ret = v ? virtio_transport_init(&v->t, vd, err)
		    : err_set(err, ENOMEM, "out of memory");

	if (ret < 0) {
		vd->ops->free(vd);
		free(v);
		return ret;
	}
	vmmio_init(v, base, irq);
	ret = mem_map_mmio(env->mem, base, VIRTIO_MMIO_SIZE, &vmmio_ops, v,
			   vd->name);
	if (ret < 0) {
		virtio_transport_free(&v->t);
		pthread_mutex_destroy(&v->isr_lock);
		free(v);
		return err_set(err, -ret, "no place for a device at %llx",
			       (unsigned long long)base);
	}
	*out = v;
	return 0;
}
