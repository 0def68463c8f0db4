/* vdriver.c - see vdriver.h. */
#include "vdriver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VDRIVER_WAIT_US 5000000

int vdriver_ram(struct vdriver *d)
{
	struct err err;

	memset(d, 0, sizeof(*d));
	if (mem_new(&d->env.mem, VDRIVER_RAM, &err))
		return -1;
	d->ram = mem_host(d->env.mem, 0, VDRIVER_RAM);
	return 0;
}

static void vdriver_interrupt(void *opaque, unsigned index)
{
	struct vdriver *d = opaque;

	d->interrupts++;
}

static void vdriver_ring(struct vdriver *d, unsigned n, uint64_t features)
{
	uint32_t base = VDRIVER_RINGS * (n + 1);
	struct vdriver_ring *r = &d->ring[n];
	struct virtq *q = virtq_new(d->env.mem, n, VDRIVER_SIZE);

	d->vd->queue[n] = q;
	q->interrupt = vdriver_interrupt;
	q->opaque = d;
	q->area[VIRTQ_DESC] = base;
	q->area[VIRTQ_DRIVER] = base + 0x4000;
	q->area[VIRTQ_DEVICE] = base + 0x8000;
	memset(d->ram + base, 0, VDRIVER_RINGS);
	*r = (struct vdriver_ring){
		.desc = (struct virtq_desc *)(d->ram + base),
		.avail = (_Atomic uint16_t *)(d->ram + base + 0x4000),
		.used = (_Atomic uint16_t *)(d->ram + base + 0x8000),
	};
	virtq_enable(q, features);
}

void vdriver_start(struct vdriver *d, struct virtio_dev *vd, uint64_t ring)
{
	d->vd = vd;
	vd->features = vd->offered | VIRTIO_F_VERSION_1 | ring;
	for (unsigned i = 0; i < vd->queue_count; i++)
		vdriver_ring(d, i, vd->features);
	if (vd->ops->driver_ok)
		vd->ops->driver_ok(vd);
}

void vdriver_stop(struct vdriver *d)
{
	unsigned queues = d->vd ? d->vd->queue_count : 0;
	struct virtq *queue[VDRIVER_QUEUES];

	for (unsigned i = 0; i < queues; i++)
		queue[i] = d->vd->queue[i];
	if (d->vd) {
		if (d->vd->ops->reset)
			d->vd->ops->reset(d->vd);
		d->vd->ops->free(d->vd);
	}
	for (unsigned i = 0; i < queues; i++)
		virtq_free(queue[i]);
	mem_free(d->env.mem);
}

void vdriver_add(struct vdriver *d, unsigned queue, const struct vpiece *p,
		 unsigned count)
{
	struct vdriver_ring *r = &d->ring[queue];
	uint16_t head = r->next % VDRIVER_SIZE;
	uint16_t idx = r->avail[1];

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = r->next++ % VDRIVER_SIZE;
		bool more = i + 1 < count;

		r->desc[at].addr = p[i].gpa;
		r->desc[at].len = p[i].len;
		r->desc[at].split.flags = (p[i].in ? VIRTQ_DESC_WRITE : 0) |
					  (more ? VIRTQ_DESC_NEXT : 0);
		r->desc[at].split.next = r->next % VDRIVER_SIZE;
	}
	r->avail[2 + idx % VDRIVER_SIZE] = head;
	r->avail[1] = idx + 1;
}

void vdriver_notify(struct vdriver *d, unsigned queue)
{
	d->vd->ops->notify(d->vd, queue);
}

int64_t vdriver_used(struct vdriver *d, unsigned queue)
{
	struct vdriver_ring *r = &d->ring[queue];
	uint32_t element[2];

	for (int us = 0; r->used[1] == r->seen; us += 100) {
		if (us >= VDRIVER_WAIT_US)
			return -1;
		usleep(100);
	}
	memcpy(element, (uint8_t *)r->used + 4 + r->seen % VDRIVER_SIZE * 8,
	       sizeof(element));
	r->seen++;
	return element[1];
}
