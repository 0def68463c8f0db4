/*
 * virtq_packed.c - the packed virtqueue (VIRTIO 1.2, 2.8).
 *
 * One ring of descriptors, which the driver makes available and the device
 * overwrites with used ones.  Both sides keep a wrap counter, which flips at
 * the ring's end: a descriptor is available when its AVAIL bit is the
 * counter and its USED bit is not, and used when both are.
 *
 * Positions are compared on a circle of 2 * size: the index, and size more
 * while the wrap counter is 0.
 */
#include "dev/virtio/virtq_impl.h"

#include <errno.h>

#define PACKED_EVENT_ENABLE  0
#define PACKED_EVENT_DISABLE 1
#define PACKED_EVENT_DESC    2

struct packed_event {
	_Atomic uint16_t desc; /* 14..0 index, 15 wrap counter */
	_Atomic uint16_t flags;
};

static void packed_area_sizes(const struct virtq *q, uint64_t out[3])
{
	out[VIRTQ_DESC] = 16ull * q->size;
	out[VIRTQ_DRIVER] = sizeof(struct packed_event);
	out[VIRTQ_DEVICE] = sizeof(struct packed_event);
}

static bool packed_is_available(const struct virtq *q, uint16_t flags)
{
	bool avail = flags & VIRTQ_DESC_AVAIL, used = flags & VIRTQ_DESC_USED;

	return avail == q->avail_wrap && used != q->avail_wrap;
}

/* From the descriptor `first` on, which is available. */
static bool packed_collect(struct virtq *q, struct virtq_chain *chain,
			   struct virtq_desc desc)
{
	unsigned at = q->next_avail;

	for (chain->slots = 1; chain->slots <= q->size; chain->slots++) {
		uint16_t flags = desc.packed.flags;

		chain->head = desc.packed.id;
		if (flags & VIRTQ_DESC_INDIRECT) {
			if (flags & VIRTQ_DESC_NEXT)
				return virtq_broke(q, "indirect goes on"),
				       false;
			return virtq_add_indirect(q, chain, &desc);
		}
		if (!virtq_add(q, chain, &desc, flags & VIRTQ_DESC_WRITE))
			return false;
		if (!(flags & VIRTQ_DESC_NEXT))
			return true;
		at = at + 1 == q->size ? 0 : at + 1;
		desc = virtq_copy_desc(q->host[VIRTQ_DESC], at);
	}
	return virtq_broke(q, "a chain is longer than the ring"), false;
}

static int packed_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_desc desc =
		virtq_copy_desc(q->host[VIRTQ_DESC], q->next_avail);

	if (!packed_is_available(q, desc.packed.flags))
		return 0;
	if (!packed_collect(q, chain, desc))
		return -EPROTO;
	if (q->in_flight + chain->slots > q->size)
		return virtq_broke(q, "more requests than the ring holds");
	q->in_flight += chain->slots;
	q->last_slots[q->pops++ % VIRTQ_SIZE_MAX] = chain->slots;
	q->next_avail += chain->slots;
	if (q->next_avail >= q->size) {
		q->next_avail -= q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	return 1;
}

static void packed_unpop(struct virtq *q)
{
	uint16_t slots = q->last_slots[--q->pops % VIRTQ_SIZE_MAX];

	if (slots > q->in_flight)
		return;
	q->in_flight -= slots;
	if (slots > q->next_avail) {
		q->next_avail += q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	q->next_avail -= slots;
}

static uint16_t packed_used_flags(bool wrap, bool written)
{
	return (wrap ? VIRTQ_DESC_AVAIL | VIRTQ_DESC_USED : 0) |
	       (written ? VIRTQ_DESC_WRITE : 0);
}

/* 16-bit store that the driver may look at meanwhile. */
static void packed_set_flags(struct virtq *q, unsigned at, uint16_t flags)
{
	struct virtq_desc *ring = q->host[VIRTQ_DESC];

	/* Pairs with the driver's barrier after it saw the flags. */
	__atomic_store_n(&ring[at].packed.flags, flags, __ATOMIC_RELEASE);
}

/* The first one's flags come last, with which the driver sees them all. */
static void packed_fill(struct virtq *q, const struct virtq_chain *chain,
			uint32_t written, unsigned ahead)
{
	struct virtq_desc *ring = q->host[VIRTQ_DESC];
	unsigned at = q->next_used + ahead;
	bool wrap = q->used_wrap;

	if (at >= q->size) {
		at -= q->size;
		wrap = !wrap;
	}
	ring[at].len = written;
	ring[at].packed.id = chain->head;
	if (ahead)
		packed_set_flags(q, at, packed_used_flags(wrap, written));
	else
		q->first_flags = packed_used_flags(wrap, written);
}

static void packed_flush(struct virtq *q, unsigned count, unsigned slots)
{
	if (!count)
		return;
	packed_set_flags(q, q->next_used, q->first_flags);
	mem_written(q->mem, q->area[VIRTQ_DESC], 16ull * q->size);
	q->next_used += slots;
	if (q->next_used >= q->size) {
		q->next_used -= q->size;
		q->used_wrap = !q->used_wrap;
	}
}

/* Steps from one position on the circle to another. */
static unsigned packed_distance(const struct virtq *q, unsigned from,
				bool from_wrap, unsigned to, bool to_wrap)
{
	unsigned circle = 2u * q->size;
	unsigned a = from + (from_wrap ? 0 : q->size);
	unsigned b = to + (to_wrap ? 0 : q->size);

	return (b % circle + circle - a % circle) % circle;
}

static bool packed_wants_interrupt(struct virtq *q)
{
	struct packed_event *event = q->host[VIRTQ_DRIVER];
	unsigned old = q->signalled;
	bool old_wrap = q->signalled_wrap;

	/* Pairs with the driver's after it set the event, as in split. */
	atomic_thread_fence(memory_order_seq_cst);
	q->signalled = q->next_used;
	q->signalled_wrap = q->used_wrap;
	unsigned moved =
		packed_distance(q, old, old_wrap, q->next_used, q->used_wrap);
	uint16_t flags =
		atomic_load_explicit(&event->flags, memory_order_acquire) & 3;
	uint16_t desc =
		atomic_load_explicit(&event->desc, memory_order_relaxed);

	if (!moved || flags == PACKED_EVENT_DISABLE)
		return false;
	if (flags != PACKED_EVENT_DESC || !q->event_idx)
		return true;
	return packed_distance(q, old, old_wrap, desc & 0x7fff, desc >> 15) <
	       moved;
}

static void packed_set_event(struct virtq *q, uint16_t flags)
{
	struct packed_event *event = q->host[VIRTQ_DEVICE];

	if (flags == PACKED_EVENT_DESC)
		atomic_store_explicit(&event->desc,
				      q->next_avail | q->avail_wrap << 15,
				      memory_order_relaxed);
	atomic_store_explicit(&event->flags, flags, memory_order_release);
	mem_written(q->mem, q->area[VIRTQ_DEVICE], sizeof(*event));
}

static bool packed_enable_notify(struct virtq *q)
{
	struct virtq_desc desc;

	packed_set_event(q, q->event_idx ? PACKED_EVENT_DESC
					 : PACKED_EVENT_ENABLE);
	/* Pairs with the driver's between the flags and reading the event. */
	atomic_thread_fence(memory_order_seq_cst);
	desc = virtq_copy_desc(q->host[VIRTQ_DESC], q->next_avail);
	return !packed_is_available(q, desc.packed.flags);
}

static void packed_disable_notify(struct virtq *q)
{
	packed_set_event(q, PACKED_EVENT_DISABLE);
}

const struct virtq_ring_ops virtq_packed = {
	.area_sizes = packed_area_sizes,
	.pop = packed_pop,
	.unpop = packed_unpop,
	.fill = packed_fill,
	.flush = packed_flush,
	.wants_interrupt = packed_wants_interrupt,
	.enable_notify = packed_enable_notify,
	.disable_notify = packed_disable_notify,
};
