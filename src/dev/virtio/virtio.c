/*
 * virtio.c - the part of a virtio device that is the same on every transport:
 * status, features, queues (VIRTIO 1.2, 2.1, 2.2, 3.1).
 *
 * What the driver writes is taken in the order that the specification
 * demands: features until FEATURES_OK, queues from then on, the device works
 * from DRIVER_OK.  A driver that does otherwise is not heard.
 */
#include "dev/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/transport.h"

#define VIRTIO_STATUS_DRIVERS                                  \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |    \
	 VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK | \
	 VIRTIO_STATUS_FAILED)

static bool virtio_is(const struct virtio_transport *t, uint8_t bits)
{
	return atomic_load_explicit(&t->status, memory_order_acquire) & bits;
}

/* --- What the device says ------------------------------------------------- */

void virtio_config_changed(struct virtio_dev *vd)
{
	struct virtio_transport *t = vd->transport;

	atomic_fetch_add(&t->generation, 1);
	if (virtio_is(t, VIRTIO_STATUS_DRIVER_OK))
		t->config_interrupt(t);
}

/* 2.1.2: told by a configuration interrupt, if there is a driver. */
void virtio_broken(struct virtio_dev *vd)
{
	struct virtio_transport *t = vd->transport;
	uint8_t old = atomic_fetch_or(&t->status, VIRTIO_STATUS_NEEDS_RESET);

	if (old & VIRTIO_STATUS_DRIVER_OK && !(old & VIRTIO_STATUS_NEEDS_RESET))
		t->config_interrupt(t);
}

static void virtio_queue_interrupt(void *opaque, unsigned index)
{
	struct virtio_transport *t = opaque;

	t->interrupt(t, index);
}

static void virtio_queue_broken(void *opaque, unsigned index)
{
	struct virtio_transport *t = opaque;

	virtio_broken(t->vd);
}

/* --- Features and status -------------------------------------------------- */

uint64_t virtio_offered(const struct virtio_dev *vd)
{
	return vd->offered | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
	       VIRTIO_F_VERSION_1;
}

uint32_t virtio_get_feature(const struct virtio_transport *t)
{
	return t->feature_sel < 2 ? (uint32_t)(virtio_offered(t->vd) >>
					       t->feature_sel * 32)
				  : 0;
}

void virtio_set_feature(struct virtio_transport *t, uint32_t value)
{
	unsigned shift = t->driver_feature_sel * 32;

	if (t->driver_feature_sel > 1 ||
	    virtio_is(t, VIRTIO_STATUS_FEATURES_OK))
		return;
	t->driver_features &= ~(0xffffffffull << shift);
	t->driver_features |= (uint64_t)value << shift;
}

/* 3.1.1, step 5: FEATURES_OK stays away if we cannot live with them. */
static bool virtio_take_features(struct virtio_transport *t)
{
	uint64_t features = t->driver_features;

	if (features & ~virtio_offered(t->vd) ||
	    !(features & VIRTIO_F_VERSION_1))
		return false;
	t->vd->features = features;
	return true;
}

static void virtio_start(struct virtio_transport *t)
{
	struct virtio_dev *vd = t->vd;

	if (vd->ops->driver_ok)
		vd->ops->driver_ok(vd);
	/* A driver may have filled rings and notified a bit early. */
	for (unsigned i = 0; i < vd->queue_count; i++)
		if (virtq_ready(vd->queue[i]))
			vd->ops->notify(vd, i);
}

void virtio_transport_reset(struct virtio_transport *t)
{
	struct virtio_dev *vd = t->vd;

	/* From here on notifications are not passed on. */
	atomic_store(&t->status, 0);
	if (vd->ops->reset)
		vd->ops->reset(vd);
	for (unsigned i = 0; i < vd->queue_count; i++)
		virtq_reset(vd->queue[i]);
	vd->features = 0;
	t->driver_features = 0;
	t->feature_sel = t->driver_feature_sel = 0;
	t->queue_sel = 0;
	t->shm_sel = 0;
}

void virtio_set_status(struct virtio_transport *t, uint8_t value)
{
	uint8_t old = atomic_load(&t->status);
	uint8_t new = value & ~old &VIRTIO_STATUS_DRIVERS;

	if (!value) {
		virtio_transport_reset(t);
		return;
	}
	if (new &VIRTIO_STATUS_FEATURES_OK && !virtio_take_features(t))
		new &= ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	if (!((old | new) & VIRTIO_STATUS_FEATURES_OK))
		new &= ~VIRTIO_STATUS_DRIVER_OK;
	atomic_fetch_or(&t->status, new);
	if (new &VIRTIO_STATUS_DRIVER_OK)
		virtio_start(t);
}

/* --- Queues --------------------------------------------------------------- */

struct virtq *virtio_selected(struct virtio_transport *t)
{
	return t->queue_sel < t->vd->queue_count ? t->vd->queue[t->queue_sel]
						 : NULL;
}

bool virtio_queue_enabled(struct virtio_transport *t)
{
	struct virtq *q = virtio_selected(t);

	return q && q->ready;
}

/* The selected queue, if the driver may set it up now. */
static struct virtq *virtio_settable(struct virtio_transport *t)
{
	struct virtq *q = virtio_selected(t);

	return q && !q->ready && virtio_is(t, VIRTIO_STATUS_FEATURES_OK) ? q
									 : NULL;
}

void virtio_queue_enable(struct virtio_transport *t)
{
	struct virtq *q = virtio_settable(t);

	if (q)
		virtq_enable(q, t->vd->features);
}

void virtio_queue_disable(struct virtio_transport *t)
{
	struct virtq *q = virtio_selected(t);

	if (q && !virtio_is(t, VIRTIO_STATUS_DRIVER_OK))
		virtq_reset(q);
}

void virtio_set_area(struct virtio_transport *t, enum virtq_area area,
		     unsigned shift, uint32_t value)
{
	struct virtq *q = virtio_settable(t);

	if (!q)
		return;
	q->area[area] &= ~(0xffffffffull << shift);
	q->area[area] |= (uint64_t)value << shift;
}

uint64_t virtio_get_area(struct virtio_transport *t, enum virtq_area area)
{
	struct virtq *q = virtio_selected(t);

	return q ? q->area[area] : 0;
}

/* A size that cannot be is found when the queue is enabled. */
void virtio_set_queue_size(struct virtio_transport *t, uint32_t value)
{
	struct virtq *q = virtio_settable(t);

	if (q)
		q->size = value <= q->size_max ? (uint16_t)value : 0;
}

void virtio_notify(struct virtio_transport *t, unsigned queue)
{
	if (queue < t->vd->queue_count && virtio_is(t, VIRTIO_STATUS_DRIVER_OK))
		t->vd->ops->notify(t->vd, queue);
}

/* --- The device's configuration space ------------------------------------- */

/* What lies behind its end reads as 0, also in an access across it. */
uint64_t virtio_config_read(struct virtio_transport *t, uint64_t offset,
			    unsigned size)
{
	struct virtio_dev *vd = t->vd;
	uint64_t value = 0;

	if (offset >= vd->config_size)
		return 0;
	if (size > vd->config_size - offset)
		size = (unsigned)(vd->config_size - offset);
	if (vd->ops->read_config)
		vd->ops->read_config(vd, (unsigned)offset, &value, size);
	else if (vd->config)
		memcpy(&value, vd->config + offset, size);
	return value;
}

/* Also before a driver says that it is there: 5.3.4, emerg_wr. */
void virtio_config_write(struct virtio_transport *t, uint64_t offset,
			 unsigned size, uint64_t value)
{
	struct virtio_dev *vd = t->vd;

	if (offset >= vd->config_size || size > vd->config_size - offset)
		return;
	if (vd->ops->write_config)
		vd->ops->write_config(vd, (unsigned)offset, &value, size);
}

/* --- Life ----------------------------------------------------------------- */

static void virtio_free_queues(struct virtio_dev *vd)
{
	for (unsigned i = 0; i < vd->queue_count; i++) {
		virtq_free(vd->queue[i]);
		vd->queue[i] = NULL;
	}
}

int virtio_transport_init(struct virtio_transport *t, struct virtio_dev *vd,
			  struct err *err)
{
	for (unsigned i = 0; i < vd->queue_count; i++) {
		struct virtq *q = virtq_new(vd->env->mem, i, vd->queue_size);

		vd->queue[i] = q;
		if (!q) {
			virtio_free_queues(vd);
			return err_set(err, ENOMEM, "out of memory");
		}
		q->interrupt = virtio_queue_interrupt;
		q->report = virtio_queue_broken;
		q->opaque = t;
	}
	pthread_mutex_init(&t->lock, NULL);
	t->vd = vd;
	vd->transport = t;
	return 0;
}

void virtio_transport_free(struct virtio_transport *t)
{
	struct virtio_dev *vd = t->vd;

	pthread_mutex_destroy(&t->lock);
	/* The device first: it waits for what is in flight. */
	if (vd->ops->reset)
		vd->ops->reset(vd);
	virtio_free_queues(vd);
	vd->ops->free(vd);
}

void virtio_transport_drain(struct virtio_transport *t)
{
	if (t->vd->ops->drain)
		t->vd->ops->drain(t->vd);
}

/* Features and status as a driver could have brought them about. */
static void virtio_restored(struct virtio_transport *t, struct walk *w)
{
	uint64_t features = t->vd->features;

	if (features & ~virtio_offered(t->vd))
		walk_fail(w, "%s: features that we do not have", t->vd->name);
	if (!virtio_is(t, VIRTIO_STATUS_FEATURES_OK) &&
	    (features || virtio_is(t, VIRTIO_STATUS_DRIVER_OK)))
		walk_fail(w, "%s: impossible status", t->vd->name);
}

static void virtio_walk_common(struct virtio_transport *t, struct walk *w,
			       unsigned instance)
{
	struct virtio_dev *vd = t->vd;
	uint8_t status = atomic_load(&t->status);
	uint32_t generation = atomic_load(&t->generation);

	if (!walk_section(w, "virtio", instance, 1))
		return;
	walk_u8(w, "status", &status);
	walk_u32(w, "generation", &generation);
	walk_u32(w, "feature_sel", &t->feature_sel);
	walk_u32(w, "driver_feature_sel", &t->driver_feature_sel);
	walk_u64(w, "driver_features", &t->driver_features);
	walk_u64(w, "features", &vd->features);
	walk_u16(w, "queue_sel", &t->queue_sel);
	walk_u32(w, "shm_sel", &t->shm_sel);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	atomic_store(&t->status, status & (VIRTIO_STATUS_DRIVERS |
					   VIRTIO_STATUS_NEEDS_RESET));
	atomic_store(&t->generation, generation);
	virtio_restored(t, w);
}

void virtio_transport_walk(struct virtio_transport *t, struct walk *w,
			   unsigned instance)
{
	struct virtio_dev *vd = t->vd;

	virtio_walk_common(t, w, instance);
	for (unsigned i = 0; i < vd->queue_count; i++)
		virtq_walk(vd->queue[i], w, instance * VIRTIO_QUEUES_MAX + i,
			   vd->features);
	if (vd->ops->walk)
		vd->ops->walk(vd, w);
}
