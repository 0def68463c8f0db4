#include "vring.h"

static void vring_interrupt(void *opaque, unsigned index)
{
	((struct vring *)opaque)->interrupts++;
}

static void vring_report(void *opaque, unsigned index)
{
	((struct vring *)opaque)->reports++;
}

void vring_open(struct vring *r, unsigned size, uint64_t features)
{
	struct err err;

	memset(r, 0, sizeof(*r));
	if (mem_new(&r->mem, VRING_RAM, &err))
		fail_msg("%s", err.msg);
	r->ram = mem_host(r->mem, 0, VRING_RAM);
	r->q = virtq_new(r->mem, 0, VIRTQ_SIZE_MAX);
	r->q->interrupt = vring_interrupt;
	r->q->report = vring_report;
	r->q->opaque = r;
	r->q->size = (uint16_t)size;
	r->q->area[VIRTQ_DESC] = VRING_DESC;
	r->q->area[VIRTQ_DRIVER] = VRING_DRIVER;
	r->q->area[VIRTQ_DEVICE] = VRING_DEVICE;
	r->size = r->free_slots = size;
	r->packed = features & VIRTIO_F_RING_PACKED;
	r->event_idx = features & VIRTIO_F_EVENT_IDX;
	r->avail_wrap = r->used_wrap = true;
	virtq_enable(r->q, features);
}

void vring_close(struct vring *r)
{
	virtq_free(r->q);
	mem_free(r->mem);
}

struct virtq_desc *vring_desc(struct vring *r, unsigned index)
{
	return (struct virtq_desc *)(r->ram + VRING_DESC) + index;
}

uint16_t *vring_avail(struct vring *r)
{
	return (uint16_t *)(r->ram + VRING_DRIVER);
}

static uint16_t *vring_device(struct vring *r)
{
	return (uint16_t *)(r->ram + VRING_DEVICE);
}

static int vring_new_id(struct vring *r)
{
	for (unsigned i = 0; i < r->size; i++)
		if (!r->id_used[i])
			return (int)i;
	return -1;
}

static struct virtq_desc vring_make(const struct vring_piece *p, bool packed,
				    uint16_t id, uint16_t flags)
{
	struct virtq_desc d = { .addr = p->gpa, .len = p->len };

	flags |= p->write ? VIRTQ_DESC_WRITE : 0;
	if (packed) {
		d.packed.id = id;
		d.packed.flags = flags;
	} else {
		d.split.flags = flags;
		d.split.next = id;
	}
	return d;
}

/* The pieces as a table of its own, which becomes one piece. */
static struct vring_piece vring_table(struct vring *r, int id,
				      const struct vring_piece *p, unsigned n)
{
	uint32_t gpa = VRING_TABLES + (uint32_t)id * VRING_TABLE;
	struct virtq_desc *t = (struct virtq_desc *)(r->ram + gpa);

	for (unsigned i = 0; i < n; i++) {
		bool next = !r->packed && i + 1 < n;

		t[i] = vring_make(&p[i], r->packed, (uint16_t)(i + 1),
				  next ? VIRTQ_DESC_NEXT : 0);
	}
	return (struct vring_piece){ gpa, n * 16, false };
}

/* --- Split ---------------------------------------------------------------- */

/* Chains take the slots id, and any that are free. */
static void vring_add_split(struct vring *r, int id,
			    const struct vring_piece *p, unsigned n,
			    uint16_t flags)
{
	uint16_t *avail = vring_avail(r);
	unsigned at = (unsigned)id;

	for (unsigned i = 0; i < n; i++) {
		unsigned next = 0;

		r->id_used[at] = true;
		while (i + 1 < n && r->id_used[next])
			next++;
		*vring_desc(r, at) =
			vring_make(&p[i], false, (uint16_t)next,
				   flags | (i + 1 < n ? VIRTQ_DESC_NEXT : 0));
		at = next;
	}
	avail[2 + r->avail % r->size] = (uint16_t)id;
	r->avail++;
	__atomic_store_n(&avail[1], r->avail, __ATOMIC_RELEASE);
}

static void vring_free_split(struct vring *r, unsigned id)
{
	for (;;) {
		const struct virtq_desc *d = vring_desc(r, id);

		assert_true(r->id_used[id]);
		r->id_used[id] = false;
		if (!(d->split.flags & VIRTQ_DESC_NEXT))
			return;
		id = d->split.next;
	}
}

static int vring_used_split(struct vring *r, uint32_t *len)
{
	uint16_t *dev = vring_device(r);
	uint32_t *ring = (uint32_t *)(dev + 2);
	uint16_t idx = __atomic_load_n(&dev[1], __ATOMIC_ACQUIRE);
	uint32_t id;

	if (idx == r->used)
		return -1;
	id = ring[r->used % r->size * 2];
	*len = ring[r->used % r->size * 2 + 1];
	r->used++;
	return (int)id;
}

/* --- Packed --------------------------------------------------------------- */

static void vring_add_packed(struct vring *r, int id,
			     const struct vring_piece *p, unsigned n,
			     uint16_t flags)
{
	struct virtq_desc first = { 0 };
	unsigned head = r->avail;

	r->id_used[id] = true;
	for (unsigned i = 0; i < n; i++) {
		uint16_t own =
			r->avail_wrap ? VIRTQ_DESC_AVAIL : VIRTQ_DESC_USED;
		struct virtq_desc d = vring_make(
			&p[i], true, (uint16_t)id,
			flags | own | (i + 1 < n ? VIRTQ_DESC_NEXT : 0));

		if (i)
			*vring_desc(r, r->avail) = d;
		else
			first = d;
		if (++r->avail == r->size) {
			r->avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	*vring_desc(r, head) = first;
}

static int vring_used_packed(struct vring *r, uint32_t *len)
{
	struct virtq_desc d = *vring_desc(r, r->used);
	bool avail = d.packed.flags & VIRTQ_DESC_AVAIL;
	bool used = d.packed.flags & VIRTQ_DESC_USED;
	unsigned id = d.packed.id;

	if (avail != used || used != r->used_wrap)
		return -1;
	assert_true(id < r->size && r->id_used[id]);
	*len = d.len;
	r->used += r->id_slots[id];
	if (r->used >= r->size) {
		r->used -= r->size;
		r->used_wrap = !r->used_wrap;
	}
	return (int)id;
}

/* --- Both ----------------------------------------------------------------- */

int vring_add(struct vring *r, const struct vring_piece *p, unsigned n,
	      bool indirect)
{
	struct vring_piece table;
	int id = vring_new_id(r);
	unsigned slots = indirect ? 1 : n;

	if (id < 0 || slots > r->free_slots)
		return -1;
	if (indirect) {
		table = vring_table(r, id, p, n);
		p = &table;
	}
	r->free_slots -= slots;
	r->id_slots[id] = slots;
	if (r->packed)
		vring_add_packed(r, id, p, slots,
				 indirect ? VIRTQ_DESC_INDIRECT : 0);
	else
		vring_add_split(r, id, p, slots,
				indirect ? VIRTQ_DESC_INDIRECT : 0);
	return id;
}

int vring_used(struct vring *r, uint32_t *len)
{
	int id = r->packed ? vring_used_packed(r, len)
			   : vring_used_split(r, len);

	if (id < 0)
		return id;
	assert_true((unsigned)id < r->size && r->id_used[id]);
	r->free_slots += r->id_slots[id];
	if (r->packed)
		r->id_used[id] = false;
	else
		vring_free_split(r, (unsigned)id);
	return id;
}

void vring_set_event(struct vring *r, unsigned ahead)
{
	uint16_t *driver = vring_avail(r);

	if (!r->packed) {
		driver[2 + r->size] = (uint16_t)(r->used + ahead);
		return;
	}
	unsigned at = r->used + ahead;
	bool wrap = r->used_wrap;

	if (at >= r->size) {
		at -= r->size;
		wrap = !wrap;
	}
	driver[0] = (uint16_t)(at | (unsigned)wrap << 15);
	driver[1] = 2;
}
