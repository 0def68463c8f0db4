/*
 * virtq.c - what split and packed virtqueues have in common.
 *
 * Theory of operation
 *
 * The driver gives three areas of its memory; virtq_enable() checks that each
 * lies in RAM and is aligned, and keeps host pointers, which stay valid for
 * the machine's life.  From then on the device reads the driver's indexes and
 * descriptors there, and nothing it reads is read twice: a descriptor is
 * copied, then checked, then used.  The layouts (virtq_split.c,
 * virtq_packed.c) know where descriptors lie and who owns them; this file
 * turns them into pieces of host memory, each checked to lie in RAM.
 *
 * Bounds.  A chain visits at most `size` descriptors of the ring and
 * VIRTQ_SEGMENTS_MAX of an indirect table, so that one that loops ends; what
 * was popped and not yet pushed is at most `size`, so that a device which
 * keeps something a request is bounded, too.
 *
 * A piece of no bytes says nothing and is left out.  Deliberately missing:
 * in-order completion, resetting one queue alone (2.6.1), notification data.
 */
#include "dev/virtio/virtq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dev/virtio/virtio.h"
#include "dev/virtio/virtq_impl.h"

/* --- Life ----------------------------------------------------------------- */

static void virtq_clear(struct virtq *q)
{
	q->size = q->size_max;
	memset(q->area, 0, sizeof(q->area));
	memset(q->host, 0, sizeof(q->host));
	q->packed = q->event_idx = q->indirect = false;
	q->ops = &virtq_split;
	q->ready = q->broken = false;
	q->next_avail = q->next_used = q->signalled = 0;
	q->avail_wrap = q->used_wrap = q->signalled_wrap = true;
	q->in_flight = 0;
	q->pops = 0;
}

struct virtq *virtq_new(struct mem *mem, unsigned index, uint16_t size_max)
{
	struct virtq *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	pthread_mutex_init(&q->lock, NULL);
	q->mem = mem;
	q->index = index;
	q->size_max = size_max;
	virtq_clear(q);
	return q;
}

void virtq_free(struct virtq *q)
{
	if (!q)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q);
}

void virtq_reset(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	virtq_clear(q);
	pthread_mutex_unlock(&q->lock);
}

/* 2.6: alignment of the areas; split sizes are powers of two (2.7). */
static bool virtq_map(struct virtq *q)
{
	static const uint8_t align[2][VIRTQ_AREAS] = { { 16, 2, 4 },
						       { 16, 4, 4 } };
	uint64_t bytes[VIRTQ_AREAS];

	if (!q->size || q->size > q->size_max ||
	    (!q->packed && q->size & (q->size - 1)))
		return false;
	q->ops->area_sizes(q, bytes);
	for (unsigned i = 0; i < VIRTQ_AREAS; i++) {
		if (q->area[i] % align[q->packed][i])
			return false;
		q->host[i] = mem_host(q->mem, q->area[i], bytes[i]);
		if (!q->host[i])
			return false;
	}
	return true;
}

static void virtq_set_features(struct virtq *q, uint64_t features)
{
	q->packed = features & VIRTIO_F_RING_PACKED;
	q->event_idx = features & VIRTIO_F_EVENT_IDX;
	q->indirect = features & VIRTIO_F_INDIRECT_DESC;
	q->ops = q->packed ? &virtq_packed : &virtq_split;
}

bool virtq_enable(struct virtq *q, uint64_t features)
{
	bool ok;

	pthread_mutex_lock(&q->lock);
	virtq_set_features(q, features);
	ok = q->ready || virtq_map(q);
	if (!ok)
		virtq_broke(q, "its rings cannot lie there");
	q->ready = ok;
	pthread_mutex_unlock(&q->lock);
	if (!ok && q->report)
		q->report(q->opaque, q->index);
	return ok;
}

/* Returns -EPROTO, for the caller to return. */
int virtq_broke(struct virtq *q, const char *why)
{
	if (!q->broken)
		log_guest("virtqueue %u is broken: %s", q->index, why);
	q->broken = true;
	return -EPROTO;
}

bool virtq_ready(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	bool ready = q->ready && !q->broken;
	pthread_mutex_unlock(&q->lock);
	return ready;
}

void virtq_break(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	virtq_broke(q, "a request makes no sense");
	pthread_mutex_unlock(&q->lock);
	if (q->report)
		q->report(q->opaque, q->index);
}

/* --- Chains --------------------------------------------------------------- */

/*
 * Two loads of eight bytes: the driver may write while we read.  The second
 * half comes first, as a packed descriptor's flags say that the rest is there.
 */
struct virtq_desc virtq_copy_desc(const void *table, unsigned index)
{
	const _Atomic uint64_t *from = table;
	uint64_t raw[2];
	struct virtq_desc desc;

	raw[1] = atomic_load_explicit(from + index * 2 + 1,
				      memory_order_acquire);
	raw[0] = atomic_load_explicit(from + index * 2, memory_order_relaxed);
	memcpy(&desc, raw, sizeof(desc));
	return desc;
}

bool virtq_add(struct virtq *q, struct virtq_chain *chain,
	       const struct virtq_desc *desc, bool write)
{
	unsigned count = chain->out_count + chain->in_count;
	void *host;

	if (!desc->len)
		return true;
	host = mem_host(q->mem, desc->addr, desc->len);
	if (!host)
		return virtq_broke(q, "a piece is not in RAM"), false;
	if (count == VIRTQ_SEGMENTS_MAX)
		return virtq_broke(q, "a chain has too many pieces"), false;
	chain->iov[count] = (struct iovec){ host, desc->len };
	if (write) {
		chain->in_count++;
		chain->in_len += desc->len;
		return true;
	}
	/* 2.7.4.2: what the device writes comes after what it reads. */
	if (chain->in_count)
		return virtq_broke(q, "a chain's pieces are mixed"), false;
	chain->out_count++;
	chain->out_len += desc->len;
	return true;
}

/*
 * 2.7.5.3 and 2.8.8: a split table is a chain of its own from entry 0 on; a
 * packed one has no NEXT flags and is used whole.
 */
bool virtq_add_indirect(struct virtq *q, struct virtq_chain *chain,
			const struct virtq_desc *table)
{
	unsigned count = table->len / sizeof(struct virtq_desc);
	const void *host = mem_host(q->mem, table->addr, table->len);
	unsigned at = 0;

	if (!q->indirect)
		return virtq_broke(q, "an indirect table unasked"), false;
	if (!count || table->len % sizeof(struct virtq_desc) ||
	    table->addr % sizeof(uint64_t) || !host)
		return virtq_broke(q, "an indirect table makes no sense"),
		       false;
	for (unsigned seen = 0; seen < VIRTQ_SEGMENTS_MAX; seen++) {
		struct virtq_desc desc = virtq_copy_desc(host, at);
		uint16_t flags =
			q->packed ? desc.packed.flags : desc.split.flags;

		if (flags & VIRTQ_DESC_INDIRECT)
			return virtq_broke(q, "indirect in indirect"), false;
		if (!virtq_add(q, chain, &desc, flags & VIRTQ_DESC_WRITE))
			return false;
		if (!q->packed && !(flags & VIRTQ_DESC_NEXT))
			return true;
		at = q->packed ? at + 1 : desc.split.next;
		if (q->packed && at == count)
			return true;
		if (at >= count)
			return virtq_broke(q, "next leaves its table"), false;
	}
	return virtq_broke(q, "a chain loops"), false;
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	int ret;

	chain->out_count = chain->in_count = 0;
	chain->out_len = chain->in_len = 0;
	chain->out = chain->iov;
	pthread_mutex_lock(&q->lock);
	if (q->broken)
		ret = -EPROTO;
	else
		ret = q->ready ? q->ops->pop(q, chain) : 0;
	pthread_mutex_unlock(&q->lock);
	chain->in = chain->iov + chain->out_count;
	if (ret < 0 && q->report)
		q->report(q->opaque, q->index);
	return ret;
}

void virtq_unpop(struct virtq *q, unsigned count)
{
	pthread_mutex_lock(&q->lock);
	for (unsigned i = 0; i < count && q->ready && q->in_flight; i++)
		q->ops->unpop(q);
	pthread_mutex_unlock(&q->lock);
}

/* --- Giving back ---------------------------------------------------------- */

static void virtq_mark_written(struct virtq *q, const struct virtq_chain *c,
			       size_t written)
{
	for (unsigned i = 0; i < c->in_count && written; i++) {
		size_t len = c->in[i].iov_len;

		if (len > written)
			len = written;
		mem_written(q->mem, mem_gpa(q->mem, c->in[i].iov_base), len);
		written -= len;
	}
}

void virtq_push_many(struct virtq *q, const struct virtq_chain *chains,
		     const uint32_t *written, unsigned count)
{
	unsigned slots = 0;

	for (unsigned i = 0; i < count; i++)
		virtq_mark_written(q, &chains[i], written[i]);
	pthread_mutex_lock(&q->lock);
	if (q->ready && !q->broken) {
		for (unsigned i = 0; i < count; i++) {
			unsigned ahead = q->packed ? slots : i;

			q->ops->fill(q, &chains[i], written[i], ahead);
			slots += chains[i].slots;
		}
		q->ops->flush(q, count, slots);
		slots = q->packed ? slots : count;
		q->in_flight -= slots < q->in_flight ? slots : q->in_flight;
	}
	pthread_mutex_unlock(&q->lock);
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain,
		uint32_t written)
{
	virtq_push_many(q, chain, &written, 1);
}

void virtq_interrupt(struct virtq *q)
{
	bool wants;

	pthread_mutex_lock(&q->lock);
	wants = q->ready && !q->broken && q->ops->wants_interrupt(q);
	pthread_mutex_unlock(&q->lock);
	if (wants && q->interrupt)
		q->interrupt(q->opaque, q->index);
}

bool virtq_enable_notify(struct virtq *q)
{
	bool empty = true;

	pthread_mutex_lock(&q->lock);
	if (q->ready && !q->broken)
		empty = q->ops->enable_notify(q);
	pthread_mutex_unlock(&q->lock);
	return empty;
}

void virtq_disable_notify(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->ready && !q->broken)
		q->ops->disable_notify(q);
	pthread_mutex_unlock(&q->lock);
}

/* --- Pieces as one run of bytes ------------------------------------------- */

/* Calls for each run of [offset, offset+len) in the pieces. */
static size_t virtq_copy(const struct iovec *iov, unsigned count, size_t offset,
			 void *buf, size_t len, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < len; i++) {
		size_t left = iov[i].iov_len;

		if (offset >= left) {
			offset -= left;
			continue;
		}
		left -= offset;
		if (left > len - done)
			left = len - done;
		uint8_t *at = (uint8_t *)iov[i].iov_base + offset;
		if (to_guest)
			memcpy(at, (uint8_t *)buf + done, left);
		else
			memcpy((uint8_t *)buf + done, at, left);
		done += left;
		offset = 0;
	}
	return done;
}

size_t virtq_read(const struct virtq_chain *chain, size_t offset, void *buf,
		  size_t len)
{
	return virtq_copy(chain->out, chain->out_count, offset, buf, len,
			  false);
}

size_t virtq_write(const struct virtq_chain *chain, size_t offset,
		   const void *buf, size_t len)
{
	return virtq_copy(chain->in, chain->in_count, offset, (void *)buf, len,
			  true);
}

/* --- State ---------------------------------------------------------------- */

static void virtq_restored(struct virtq *q, struct walk *w, uint64_t features)
{
	virtq_set_features(q, features);
	q->in_flight = 0;
	if (!q->ready)
		return;
	if (!virtq_map(q) || (q->packed && (q->next_avail >= q->size ||
					    q->next_used >= q->size ||
					    q->signalled >= q->size))) {
		walk_fail(w, "virtqueue %u: impossible state", q->index);
		q->ready = false;
	}
}

void virtq_walk(struct virtq *q, struct walk *w, unsigned instance,
		uint64_t features)
{
	if (!walk_section(w, "virtqueue", instance, 1))
		return;
	walk_u16(w, "size", &q->size);
	walk_bool(w, "ready", &q->ready);
	walk_bool(w, "broken", &q->broken);
	walk_u64s(w, "area", q->area, VIRTQ_AREAS);
	walk_u16(w, "next_avail", &q->next_avail);
	walk_u16(w, "next_used", &q->next_used);
	walk_u16(w, "signalled", &q->signalled);
	walk_bool(w, "avail_wrap", &q->avail_wrap);
	walk_bool(w, "used_wrap", &q->used_wrap);
	walk_bool(w, "signalled_wrap", &q->signalled_wrap);
	walk_end(w);
	if (walk_restoring(w))
		virtq_restored(q, w, features);
}
