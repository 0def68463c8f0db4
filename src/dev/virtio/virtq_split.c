/*
 * virtq_split.c - the split virtqueue (VIRTIO 1.2, 2.7).
 *
 *	avail: flags, idx, ring[size], used_event	(driver writes)
 *	used:  flags, idx, ring[size] of {id, len}, avail_event (device writes)
 *
 * next_avail and next_used run freely, as the indexes in memory do.
 */
#include "dev/virtio/virtq_impl.h"

#include <errno.h>

#define SPLIT_NO_INTERRUPT 1 /* avail flags */
#define SPLIT_NO_NOTIFY    1 /* used flags */

struct split_avail {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	_Atomic uint16_t ring[]; /* behind the last: used_event */
};

struct split_used {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	struct {
		uint32_t id;
		uint32_t len;
	} ring[]; /* behind the last: avail_event */
};

static void split_area_sizes(const struct virtq *q, uint64_t out[3])
{
	out[VIRTQ_DESC] = 16ull * q->size;
	out[VIRTQ_DRIVER] = 6 + 2ull * q->size;
	out[VIRTQ_DEVICE] = 6 + 8ull * q->size;
}

static _Atomic uint16_t *split_avail_event(struct virtq *q)
{
	struct split_used *used = q->host[VIRTQ_DEVICE];

	return (_Atomic uint16_t *)&used->ring[q->size];
}

/*
 * The device's area was written: engines and the dirty log have to know.  It
 * has few pages; marking all at once costs one fence.
 */
static void split_written(struct virtq *q)
{
	mem_written(q->mem, q->area[VIRTQ_DEVICE], 6 + 8ull * q->size);
}

static bool split_collect(struct virtq *q, struct virtq_chain *chain)
{
	unsigned at = chain->head;

	for (unsigned seen = 0; seen < q->size; seen++) {
		struct virtq_desc desc =
			virtq_copy_desc(q->host[VIRTQ_DESC], at);
		uint16_t flags = desc.split.flags;

		if (flags & VIRTQ_DESC_INDIRECT) {
			/* 2.7.5.3.1 */
			if (flags & VIRTQ_DESC_NEXT)
				return virtq_broke(q, "indirect goes on"),
				       false;
			return virtq_add_indirect(q, chain, &desc);
		}
		if (!virtq_add(q, chain, &desc, flags & VIRTQ_DESC_WRITE))
			return false;
		if (!(flags & VIRTQ_DESC_NEXT))
			return true;
		at = desc.split.next;
		if (at >= q->size)
			return virtq_broke(q, "next leaves the table"), false;
	}
	return virtq_broke(q, "a chain loops"), false;
}

static int split_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct split_avail *avail = q->host[VIRTQ_DRIVER];
	/* Pairs with the driver's barrier before it counts idx up. */
	uint16_t idx = atomic_load_explicit(&avail->idx, memory_order_acquire);
	uint16_t ready = idx - q->next_avail;

	if (!ready)
		return 0;
	if (ready > q->size || q->in_flight >= q->size)
		return virtq_broke(q, "more requests than the ring holds");
	chain->head = atomic_load_explicit(
		&avail->ring[q->next_avail & (q->size - 1)],
		memory_order_relaxed);
	chain->slots = 1;
	if (chain->head >= q->size)
		return virtq_broke(q, "a head outside the table");
	if (!split_collect(q, chain))
		return -EPROTO;
	q->next_avail++;
	q->in_flight++;
	return 1;
}

static void split_unpop(struct virtq *q)
{
	q->next_avail--;
	q->in_flight--;
}

static void split_fill(struct virtq *q, const struct virtq_chain *chain,
		       uint32_t written, unsigned ahead)
{
	struct split_used *used = q->host[VIRTQ_DEVICE];
	unsigned at = (q->next_used + ahead) & (q->size - 1);

	used->ring[at].id = chain->head;
	used->ring[at].len = written;
}

static void split_flush(struct virtq *q, unsigned count, unsigned slots)
{
	struct split_used *used = q->host[VIRTQ_DEVICE];

	q->next_used += count;
	/* Pairs with the driver's barrier after it reads idx. */
	atomic_store_explicit(&used->idx, q->next_used, memory_order_release);
	split_written(q);
}

/* Has `event` been passed on the way from old to new (2.7.10)? */
static bool split_passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool split_wants_interrupt(struct virtq *q)
{
	struct split_avail *avail = q->host[VIRTQ_DRIVER];
	uint16_t old = q->signalled;

	/*
	 * Pairs with the driver's barrier between asking for an interrupt and
	 * looking at idx once more.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	q->signalled = q->next_used;
	if (old == q->next_used)
		return false;
	if (!q->event_idx)
		return !(atomic_load_explicit(&avail->flags,
					      memory_order_relaxed) &
			 SPLIT_NO_INTERRUPT);
	return split_passed(atomic_load_explicit(&avail->ring[q->size],
						 memory_order_relaxed),
			    q->next_used, old);
}

static bool split_enable_notify(struct virtq *q)
{
	struct split_avail *avail = q->host[VIRTQ_DRIVER];
	struct split_used *used = q->host[VIRTQ_DEVICE];

	if (q->event_idx) {
		atomic_store_explicit(split_avail_event(q), q->next_avail,
				      memory_order_relaxed);
	} else {
		atomic_store_explicit(&used->flags, 0, memory_order_relaxed);
	}
	split_written(q);
	/* Pairs with the driver's between counting up and reading this. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&avail->idx, memory_order_relaxed) ==
	       q->next_avail;
}

/* With event index nothing is to do: the event stays behind. */
static void split_disable_notify(struct virtq *q)
{
	struct split_used *used = q->host[VIRTQ_DEVICE];

	if (q->event_idx)
		return;
	atomic_store_explicit(&used->flags, SPLIT_NO_NOTIFY,
			      memory_order_relaxed);
	split_written(q);
}

const struct virtq_ring_ops virtq_split = {
	.area_sizes = split_area_sizes,
	.pop = split_pop,
	.unpop = split_unpop,
	.fill = split_fill,
	.flush = split_flush,
	.wants_interrupt = split_wants_interrupt,
	.enable_notify = split_enable_notify,
	.disable_notify = split_disable_notify,
};
