/*
 * qcow2_alloc.c - writes that need new clusters, and what takes them away:
 * zeroes and discards.
 *
 * An allocation registers its guest clusters first, under the lock, so that
 * others who want the same ones wait; then takes host clusters; then, without
 * the lock, writes the data in one piece with what surrounds it in its first
 * and last cluster; then enters the new places.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "block/iov.h"

#define QCOW2_RUN_BYTES (8u << 20) /* at once */
#define QCOW2_NO_TRY_NS 100000000ull

int qcow2_inflight_wait(struct qcow2 *q, uint64_t first, uint64_t count)
{
	for (struct qcow2_inflight *f = q->inflight; f; f = f->next) {
		if (first >= f->first + f->count || f->first >= first + count)
			continue;
		pthread_cond_wait(&q->changed, &q->lock);
		return 1;
	}
	return 0;
}

/* How many clusters from first on nobody else allocates; 0: waited (or not). */
static uint64_t qcow2_inflight_room(struct qcow2 *q, uint64_t first,
				    uint64_t count, unsigned flags)
{
	for (struct qcow2_inflight *f = q->inflight; f; f = f->next) {
		if (first >= f->first && first < f->first + f->count) {
			if (!(flags & BLOCK_NOWAIT))
				pthread_cond_wait(&q->changed, &q->lock);
			return 0;
		}
		if (f->first > first && f->first - first < count)
			count = f->first - first;
	}
	return count;
}

static void qcow2_inflight_end(struct qcow2 *q, struct qcow2_inflight *me)
{
	struct qcow2_inflight **at = &q->inflight;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
	pthread_cond_broadcast(&q->changed);
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset, length;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_packed_place(q, entry, &offset, &length);
		qcow2_free_later(q, qcow2_cluster(q, offset),
				 qcow2_cluster(q, offset + length - 1) -
					 qcow2_cluster(q, offset) + 1);
	} else if (entry & QCOW2_OFFSET_MASK) {
		qcow2_free_later(q, qcow2_cluster(q, entry & QCOW2_OFFSET_MASK),
				 1);
	}
}

/* --- One allocation ------------------------------------------------------- */

struct qcow2_job {
	struct qcow2_inflight f;
	struct qcow2_slice *slice;
	uint64_t first;          /* host cluster */
	bool fresh;              /* the host clusters read as zeroes */
	bool reused;             /* it was there already, marked as zeroes */
	bool zeroes;             /* all of the range reads as zeroes so far */
	uint64_t offset, length; /* the guest's */
	unsigned flags;
};

/* May the old mapping stay?  Somebody was faster, then. */
static bool qcow2_needs_alloc(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_COPIED) ||
	    !(entry & QCOW2_OFFSET_MASK))
		return true;
	return entry & QCOW2_ZERO && q->h.version >= 3;
}

static bool qcow2_reads_zero(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return false;
	if (entry & QCOW2_ZERO && q->h.version >= 3)
		return true;
	return !(entry & QCOW2_OFFSET_MASK) && !q->b->backing;
}

/* A cluster kept behind zeroes is taken again; it has its refcount. */
static bool qcow2_job_reuse(struct qcow2 *q, struct qcow2_job *j,
			    uint64_t entry)
{
	uint64_t host = qcow2_cluster(q, entry & QCOW2_OFFSET_MASK);

	if (!(entry & QCOW2_COPIED) || entry & QCOW2_COMPRESSED || !host ||
	    entry & QCOW2_OFFSET_MASK & (q->cluster_size - 1) ||
	    entry >= atomic_load(&q->end) + QCOW2_COPIED ||
	    qcow2_is_metadata(q, host, 1))
		return false;
	j->reused = true;
	j->fresh = false;
	j->zeroes = true;
	j->first = host;
	j->f.count = 1;
	return true;
}

/* Clusters of one kind, as many as the slice holds; entered in inflight. */
static void qcow2_job_extend(struct qcow2 *q, struct qcow2_job *j,
			     uint64_t room)
{
	uint64_t base = j->f.first << q->cluster_bits, n;
	uint64_t in = j->f.first & (qcow2_slice_entries(q) - 1);

	if (room > qcow2_slice_entries(q) - in)
		room = qcow2_slice_entries(q) - in;
	for (n = 1; n < room; n++) {
		uint64_t e =
			qcow2_entry(q, j->slice, base + (n << q->cluster_bits));

		if (!qcow2_needs_alloc(q, e) ||
		    (e & QCOW2_COPIED && e & QCOW2_OFFSET_MASK) ||
		    qcow2_reads_zero(q, e) != j->zeroes)
			break;
	}
	j->f.count = n;
}

/*
 * Everything that could make us wait is there or not needed.
 *
 * Where the file then does not take the data at once, the clusters that were
 * taken for it no longer count as unused, and whoever gets them must write
 * whole ones; so after that it is not tried for a while.
 */
static bool qcow2_job_at_once(struct qcow2 *q, const struct qcow2_job *j)
{
	uint64_t block = q->free_hint >> q->rb_bits;
	uint64_t in =
		(j->offset | (j->offset + j->length)) & (q->cluster_size - 1);
	struct qcow2_slice *s;

	if (q->dirty_count > QCOW2_DIRTY_MAX || block + 1 >= q->reftable_size ||
	    !q->rblocks[block] || !qcow2_slice_cached(q, j->offset, &s))
		return false;
	/* What surrounds a part of a cluster would have to be read. */
	return !in || qcow2_reads_zero(q, qcow2_entry(q, s, j->offset));
}

/* lock held; 1: look again, from the start. */
static int qcow2_job_begin(struct qcow2 *q, struct qcow2_job *j)
{
	uint64_t last = qcow2_cluster(q, j->offset + j->length - 1);
	uint64_t entry, room, got = 0;
	int rc;

	j->f.first = qcow2_cluster(q, j->offset);
	room = qcow2_inflight_room(q, j->f.first, last - j->f.first + 1,
				   j->flags);
	if (!room)
		return 1;
	if (j->flags & BLOCK_NOWAIT && !qcow2_job_at_once(q, j))
		return -EAGAIN;
	rc = qcow2_slice_for_write(q, j->offset, &j->slice);
	if (rc)
		return rc;
	entry = qcow2_entry(q, j->slice, j->offset);
	if (!qcow2_needs_alloc(q, entry))
		return 1;
	if (!qcow2_job_reuse(q, j, entry)) {
		j->reused = false;
		j->zeroes = qcow2_reads_zero(q, entry);
		qcow2_job_extend(q, j, room);
		rc = qcow2_alloc(q, j->f.count, &j->first, &got, &j->fresh);
		if (rc)
			return rc == -EAGAIN ? 1 : rc;
		j->f.count = got;
	}
	j->f.next = q->inflight;
	q->inflight = &j->f;
	j->slice->refs++;
	return 0;
}

/* lock held */
static void qcow2_job_end(struct qcow2 *q, struct qcow2_job *j, int rc)
{
	for (uint64_t i = 0; !rc && i < j->f.count; i++) {
		uint64_t at = (j->f.first + i) << q->cluster_bits;
		uint64_t old = qcow2_entry(q, j->slice, at);

		qcow2_entry_set(q, j->slice, at,
				(j->first + i) << q->cluster_bits |
					QCOW2_COPIED);
		if (!j->reused)
			qcow2_free_entry(q, old);
	}
	if (rc && !j->reused)
		qcow2_alloc_undo(q, j->first, j->f.count);
	j->slice->refs--;
	qcow2_inflight_end(q, &j->f);
}

/* --- The data and what surrounds it --------------------------------------- */

struct qcow2_around {
	void *buf;
	uint64_t head, tail;
};

/* What the first and last cluster hold beside the new data. */
static int qcow2_around_read(struct qcow2 *q, const struct qcow2_job *j,
			     uint64_t length, struct qcow2_around *a)
{
	uint64_t start = j->f.first << q->cluster_bits;
	uint64_t stop = start + (j->f.count << q->cluster_bits);
	uint64_t size = atomic_load(&q->b->size), n;
	int rc = 0;

	a->buf = NULL;
	a->head = j->offset - start;
	a->tail = stop - (j->offset + length);
	if (j->fresh && j->zeroes)
		a->head = a->tail = 0; /* as it is */
	if (!a->head && !a->tail)
		return 0;
	a->buf = calloc(1, a->head + a->tail);
	if (!a->buf)
		return -ENOMEM;
	if (j->zeroes)
		return 0;
	if (a->head)
		rc = qcow2_read_buf(q, a->buf, start, a->head);
	/* The last cluster may reach behind the disk's end. */
	n = stop < size ? a->tail : size - (j->offset + length);
	if (!rc && a->tail && n)
		rc = qcow2_read_buf(q, (char *)a->buf + a->head,
				    j->offset + length, n);
	return rc;
}

/* One write: head, the guest's bytes, tail. */
static int qcow2_around_write(struct qcow2 *q, const struct qcow2_job *j,
			      const struct iovec *iov, int iovcnt,
			      uint64_t skip, uint64_t length,
			      const struct qcow2_around *a)
{
	struct iovec *all = malloc(((size_t)iovcnt + 2) * sizeof(*all));
	uint64_t host = (j->first << q->cluster_bits) +
			(j->offset & (q->cluster_size - 1)) - a->head;
	size_t got;
	int rc, n = 0;

	if (!all)
		return -ENOMEM;
	if (a->head)
		all[n++] = (struct iovec){ a->buf, a->head };
	n += iov_slice(all + n, iovcnt, iov, iovcnt, skip, length, &got);
	if (a->tail)
		all[n++] = (struct iovec){ (char *)a->buf + a->head, a->tail };
	rc = qcow2_file_rw(q, true, all, n, 0, host, a->head + length + a->tail,
			   0);
	free(all);
	return rc;
}

static int qcow2_job_data(struct qcow2 *q, const struct qcow2_job *j,
			  const struct iovec *iov, int iovcnt, uint64_t skip,
			  uint64_t length)
{
	struct qcow2_around a;
	int rc = qcow2_around_read(q, j, length, &a);

	if (!rc)
		rc = qcow2_around_write(q, j, iov, iovcnt, skip, length, &a);
	free(a.buf);
	return rc;
}

/* Without waiting for the lock, either, where that is asked for. */
static bool qcow2_job_lock(struct qcow2 *q, unsigned flags)
{
	if (flags & BLOCK_NOWAIT)
		return !pthread_mutex_trylock(&q->lock);
	pthread_mutex_lock(&q->lock);
	return true;
}

int qcow2_write_alloc(struct qcow2 *q, const struct iovec *iov, int iovcnt,
		      uint64_t skip, uint64_t offset, uint64_t length,
		      unsigned flags, uint64_t *done)
{
	struct qcow2_job j = { .offset = offset,
			       .flags = flags & BLOCK_NOWAIT };
	uint64_t stop;
	int rc;

	j.length = length < QCOW2_RUN_BYTES ? length : QCOW2_RUN_BYTES;
	*done = 0;
	if (!qcow2_job_lock(q, flags))
		return -EAGAIN;
	rc = qcow2_job_begin(q, &j);
	pthread_mutex_unlock(&q->lock);
	if (rc > 0)
		return j.flags ? -EAGAIN : 0;
	if (rc)
		return rc;
	stop = (j.f.first + j.f.count) << q->cluster_bits;
	if (j.length > stop - offset)
		j.length = stop - offset;
	rc = qcow2_job_data(q, &j, iov, iovcnt, skip, j.length);
	pthread_mutex_lock(&q->lock);
	if (rc == -EAGAIN)
		q->no_try_until = clock_mono_ns() + QCOW2_NO_TRY_NS;
	qcow2_job_end(q, &j, rc);
	pthread_mutex_unlock(&q->lock);
	*done = j.length;
	return rc;
}

/* --- Zeroes and discards -------------------------------------------------- */

/* What an L2 entry becomes; *drop: the clusters it had are given back. */
static uint64_t qcow2_zeroed(const struct qcow2 *q, uint64_t entry, bool unmap,
			     bool *drop)
{
	*drop = false;
	if (qcow2_reads_zero(q, entry) &&
	    (!unmap || !(entry & QCOW2_OFFSET_MASK)))
		return entry;
	if (!unmap && entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED) &&
	    q->h.version >= 3)
		return entry | QCOW2_ZERO;
	*drop = true;
	return q->b->backing && q->h.version >= 3 ? QCOW2_ZERO : 0;
}

/* lock held: one slice's share of whole clusters; 1: look again. */
static int qcow2_zero_slice(struct qcow2 *q, uint64_t offset, uint64_t *count,
			    bool unmap)
{
	uint64_t first = qcow2_cluster(q, offset);
	uint64_t in = first & (qcow2_slice_entries(q) - 1);
	struct qcow2_slice *s;
	int rc;

	if (*count > qcow2_slice_entries(q) - in)
		*count = qcow2_slice_entries(q) - in;
	if (qcow2_inflight_wait(q, first, *count))
		return 1;
	if (!atomic_load(&q->l1[qcow2_l1_index(q, offset)]) && !q->b->backing)
		return 0;
	rc = qcow2_slice_for_write(q, offset, &s);
	if (rc)
		return rc;
	for (uint64_t i = 0; i < *count; i++) {
		uint64_t at = offset + (i << q->cluster_bits);
		uint64_t old = qcow2_entry(q, s, at), new;
		bool drop;

		new = qcow2_zeroed(q, old, unmap, &drop);
		if (new != old)
			qcow2_entry_set(q, s, at, new);
		if (drop)
			qcow2_free_entry(q, old);
	}
	return 0;
}

/* Whole clusters [offset, stop). */
static int qcow2_zero_clusters(struct qcow2 *q, uint64_t offset, uint64_t stop,
			       bool unmap)
{
	int rc = 0, pin = qcow2_pin(q, 0);

	while (offset < stop && rc >= 0) {
		uint64_t count = qcow2_clusters(q, stop - offset);

		pthread_mutex_lock(&q->lock);
		rc = qcow2_zero_slice(q, offset, &count, unmap);
		pthread_mutex_unlock(&q->lock);
		if (!rc)
			offset += count << q->cluster_bits;
	}
	qcow2_unpin(q, pin);
	return rc < 0 ? rc : 0;
}

int qcow2_drop(struct qcow2 *q, uint64_t from, uint64_t to)
{
	return qcow2_zero_clusters(q, from, to, true);
}

static int qcow2_zero_bytes(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	static const char zeroes[65536];

	while (length) {
		struct iovec iov = { (void *)zeroes, sizeof(zeroes) };
		struct qcow2_extent e;
		int rc, pin = qcow2_pin(q, 0);

		rc = qcow2_lookup(q, offset, length, 0, &e);
		qcow2_unpin(q, pin);
		if (rc)
			return rc;
		if (e.length > sizeof(zeroes))
			e.length = sizeof(zeroes);
		iov.iov_len = e.length;
		if (e.kind != QCOW2_ZEROES &&
		    (e.kind != QCOW2_HOLE || q->b->backing))
			rc = qcow2_write(q->b, &iov, 1, offset, e.length, 0);
		if (rc)
			return rc;
		offset += e.length;
		length -= e.length;
	}
	return 0;
}

/* The whole clusters of a range; one cut off by the disk's end is whole. */
static void qcow2_whole(const struct qcow2 *q, uint64_t offset, uint64_t length,
			uint64_t *from, uint64_t *to)
{
	uint64_t mask = q->cluster_size - 1, end = offset + length;

	*from = (offset + mask) & ~mask;
	*to = end == atomic_load(&q->b->size) ? (end + mask) & ~mask
					      : end & ~mask;
	if (*to < *from)
		*to = *from;
}

int qcow2_zero(struct block *b, uint64_t offset, uint64_t length,
	       unsigned flags)
{
	struct qcow2 *q = b->opaque;
	uint64_t from, to, end = offset + length;
	int rc;

	if (atomic_load(&q->broken))
		return -EIO;
	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	qcow2_whole(q, offset, length, &from, &to);
	/* Version 2 has no sign for zeroes: only nothing reads as such. */
	if (from == to ||
	    (q->h.version < 3 && (b->backing || !(flags & BLOCK_UNMAP))))
		return qcow2_zero_bytes(q, offset, length);
	rc = from > offset ? qcow2_zero_bytes(q, offset, from - offset) : 0;
	if (!rc)
		rc = qcow2_zero_clusters(q, from, to, flags & BLOCK_UNMAP);
	if (!rc && to < end)
		rc = qcow2_zero_bytes(q, to, end - to);
	return rc;
}

int qcow2_discard(struct block *b, uint64_t offset, uint64_t length)
{
	struct qcow2 *q = b->opaque;
	uint64_t from, to;

	if (atomic_load(&q->broken))
		return -EIO;
	qcow2_whole(q, offset, length, &from, &to);
	if (from == to || (q->h.version < 3 && b->backing))
		return 0; /* a discard is only advice */
	return qcow2_zero_clusters(q, from, to, true);
}
