/*
 * qcow2_cache.c - the L1 table and slices of L2 tables.
 *
 * dir[L1 index] is an array of slices of that L2 table, made when first
 * needed and kept until the structure changes; its elements come and go.
 * Readers hold a pin and no lock.  A slice is read from the file without the
 * lock as well; `evictions` tells whether what was read may have become stale
 * meanwhile (only a slice that was in the cache can have been written).
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QCOW2_CACHE_BYTES (32u << 20)

static uint32_t qcow2_slice_bytes(const struct qcow2 *q)
{
	return 1u << (q->slice_bits + q->entry_shift);
}

static uint32_t qcow2_slices_per_table(const struct qcow2 *q)
{
	return 1u << (q->l2_bits - q->slice_bits);
}

int qcow2_cache_init(struct qcow2 *q)
{
	size_t max = QCOW2_CACHE_BYTES / qcow2_slice_bytes(q);

	q->slices_max = max;
	q->l1 = calloc(q->h.l1_size ? q->h.l1_size : 1, sizeof(*q->l1));
	q->dir = calloc(q->h.l1_size ? q->h.l1_size : 1, sizeof(*q->dir));
	q->l1_dirty_lo = UINT32_MAX;
	return q->l1 && q->dir ? 0 : -ENOMEM;
}

static void qcow2_slice_free(struct qcow2_slice *s)
{
	if (s)
		free((void *)s->entries);
	free(s);
}

void qcow2_cache_free(struct qcow2 *q)
{
	for (size_t i = 0; i < q->nslices; i++)
		qcow2_slice_free(q->slices[i]);
	for (uint32_t i = 0; q->dir && i < q->h.l1_size; i++)
		free((void *)atomic_load(&q->dir[i]));
	free(q->slices);
	free((void *)q->dir);
	free((void *)q->l1);
	free(atomic_load(&q->metadata));
	q->slices = NULL;
	q->nslices = q->slices_cap = 0;
	q->dir = NULL;
	q->l1 = NULL;
	atomic_store(&q->metadata, NULL);
}

/* --- Slices --------------------------------------------------------------- */

static uint32_t qcow2_slice_number(const struct qcow2 *q, uint64_t offset)
{
	return qcow2_l2_index(q, offset) >> q->slice_bits;
}

static struct qcow2_slice *qcow2_slice_find(struct qcow2 *q, uint64_t offset)
{
	struct qcow2_slice *_Atomic *table =
		atomic_load(&q->dir[qcow2_l1_index(q, offset)]);
	struct qcow2_slice *s;

	s = table ? atomic_load(&table[qcow2_slice_number(q, offset)]) : NULL;
	if (s && !atomic_load_explicit(&s->used, memory_order_relaxed))
		atomic_store_explicit(&s->used, true, memory_order_relaxed);
	return s;
}

/* Where an entry lies in its slice: in 8-byte words. */
static unsigned qcow2_slice_word(const struct qcow2 *q, uint64_t offset)
{
	unsigned i = qcow2_l2_index(q, offset) & (qcow2_slice_entries(q) - 1);

	return i << (q->entry_shift - 3);
}

uint64_t qcow2_entry(const struct qcow2 *q, const struct qcow2_slice *s,
		     uint64_t offset)
{
	return be64toh(
		atomic_load_explicit(&s->entries[qcow2_slice_word(q, offset)],
				     memory_order_acquire));
}

void qcow2_entry_set(struct qcow2 *q, struct qcow2_slice *s, uint64_t offset,
		     uint64_t entry)
{
	/* Pairs with qcow2_entry(): who finds it finds the data, too. */
	atomic_store_explicit(&s->entries[qcow2_slice_word(q, offset)],
			      htobe64(entry), memory_order_release);
	if (s->dirty)
		return;
	s->dirty = true;
	s->next_dirty = q->dirty;
	q->dirty = s;
	q->dirty_count++;
}

/* Unlinks slices[i]; readers may still hold it. */
static int qcow2_slice_evict(struct qcow2 *q, size_t i)
{
	struct qcow2_retired *r = calloc(1, sizeof(*r));
	struct qcow2_slice *s = q->slices[i];

	if (!r)
		return -ENOMEM;
	atomic_store(&atomic_load(&q->dir[s->l1_index])[s->number], NULL);
	q->slices[i] = q->slices[--q->nslices];
	q->evictions++;
	r->slice = s;
	qcow2_retire(q, r);
	return 0;
}

/* The clock: a slice that nobody used since the hand passed goes. */
static void qcow2_cache_trim(struct qcow2 *q)
{
	size_t tries = 2 * q->nslices;

	while (q->nslices >= q->slices_max && tries--) {
		struct qcow2_slice *s;

		q->hand = q->hand + 1 < q->nslices ? q->hand + 1 : 0;
		s = q->slices[q->hand];
		if (s->dirty || s->busy || s->refs)
			continue;
		if (atomic_exchange(&s->used, false))
			continue;
		if (qcow2_slice_evict(q, q->hand))
			return;
	}
	qcow2_reclaim(q);
}

void qcow2_cache_drop(struct qcow2 *q)
{
	for (size_t i = q->nslices; i-- > 0;)
		if (!q->slices[i]->dirty)
			qcow2_slice_evict(q, i);
	qcow2_reclaim(q);
}

static int qcow2_slices_grow(struct qcow2 *q)
{
	size_t cap = q->slices_cap ? 2 * q->slices_cap : 64;
	struct qcow2_slice **p;

	if (q->nslices < q->slices_cap)
		return 0;
	p = realloc(q->slices, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	q->slices = p;
	q->slices_cap = cap;
	return 0;
}

/* lock held: enters a slice whose place is empty. */
static int qcow2_slice_insert(struct qcow2 *q, struct qcow2_slice *s)
{
	struct qcow2_slice *_Atomic *table = atomic_load(&q->dir[s->l1_index]);

	qcow2_cache_trim(q);
	if (qcow2_slices_grow(q))
		return -ENOMEM;
	if (!table) {
		table = calloc(qcow2_slices_per_table(q), sizeof(*table));
		if (!table)
			return -ENOMEM;
		atomic_store(&q->dir[s->l1_index], table);
	}
	q->slices[q->nslices++] = s;
	atomic_store(&table[s->number], s);
	return 0;
}

static struct qcow2_slice *qcow2_slice_new(struct qcow2 *q, uint64_t offset)
{
	struct qcow2_slice *s = calloc(1, sizeof(*s));
	void *entries = NULL;

	if (!s)
		return NULL;
	if (posix_memalign(&entries, QCOW2_SLICE, qcow2_slice_bytes(q))) {
		free(s);
		return NULL;
	}
	s->entries = entries;
	s->l1_index = qcow2_l1_index(q, offset);
	s->number = qcow2_slice_number(q, offset);
	atomic_store(&s->used, true);
	return s;
}

/* Is this L1 entry the place of a table in the file? */
static int qcow2_l1_check(struct qcow2 *q, uint32_t i, uint64_t entry)
{
	uint64_t at = entry & QCOW2_OFFSET_MASK;

	if (at & (q->cluster_size - 1) || entry & 0x7f000000000001ffull ||
	    at >= atomic_load(&q->end))
		return qcow2_broken(q,
				    "L1 entry %u (%#llx) is no place of a "
				    "table",
				    i, (unsigned long long)entry);
	return 0;
}

/* No lock held: reads the slice and enters it, unless it changed meanwhile. */
static int qcow2_slice_load(struct qcow2 *q, uint64_t offset)
{
	uint32_t i = qcow2_l1_index(q, offset);
	struct qcow2_slice *s = qcow2_slice_new(q, offset);
	unsigned evictions;
	uint64_t l1, at;
	int rc;

	if (!s)
		return -ENOMEM;
	pthread_mutex_lock(&q->lock);
	evictions = q->evictions;
	l1 = atomic_load(&q->l1[i]);
	pthread_mutex_unlock(&q->lock);
	rc = qcow2_l1_check(q, i, l1);
	at = (l1 & QCOW2_OFFSET_MASK) +
	     (uint64_t)s->number * qcow2_slice_bytes(q);
	if (!rc)
		rc = block_read(q->b->file, (void *)s->entries, at,
				qcow2_slice_bytes(q));
	if (!rc) {
		pthread_mutex_lock(&q->lock);
		if (evictions == q->evictions && l1 == atomic_load(&q->l1[i]) &&
		    !qcow2_slice_find(q, offset)) {
			rc = qcow2_slice_insert(q, s);
			s = rc ? s : NULL;
		}
		pthread_mutex_unlock(&q->lock);
	}
	qcow2_slice_free(s);
	return rc;
}

/* --- Looking up ----------------------------------------------------------- */

void qcow2_packed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			uint64_t *length)
{
	/* "Compressed Clusters Descriptor": x = 62 - (cluster_bits - 8) */
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> x;

	*offset = entry & ((1ull << x) - 1);
	*length = (sectors + 1) * BLOCK_SECTOR - (*offset & (BLOCK_SECTOR - 1));
}

static int qcow2_classify_data(struct qcow2 *q, uint64_t entry, uint64_t guest,
			       struct qcow2_extent *out)
{
	uint64_t in = guest & (q->cluster_size - 1);

	out->host = (entry & QCOW2_OFFSET_MASK) + in;
	if (entry & (q->cluster_size - 1) & QCOW2_OFFSET_MASK ||
	    out->host - in >= atomic_load(&q->end))
		return qcow2_broken(q,
				    "L2 entry %#llx of guest offset %#llx "
				    "is no place of a cluster",
				    (unsigned long long)entry,
				    (unsigned long long)guest);
	out->writable = entry & QCOW2_COPIED;
	return 0;
}

int qcow2_classify(struct qcow2 *q, uint64_t entry, uint64_t guest,
		   struct qcow2_extent *out)
{
	out->entry = entry;
	out->writable = false;
	out->host = 0;
	if (entry & QCOW2_COMPRESSED) {
		out->kind = QCOW2_PACKED;
		return 0;
	}
	if (entry & QCOW2_ZERO && q->h.version >= 3) {
		out->kind = QCOW2_ZEROES;
		return 0;
	}
	if (!(entry & QCOW2_OFFSET_MASK)) {
		out->kind = QCOW2_HOLE;
		return 0;
	}
	out->kind = QCOW2_DATA;
	return qcow2_classify_data(q, entry, guest, out);
}

/* Does the next cluster continue the run that out began? */
static bool qcow2_continues(const struct qcow2 *q,
			    const struct qcow2_extent *out, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return false;
	if (entry & QCOW2_ZERO && q->h.version >= 3)
		return out->kind == QCOW2_ZEROES;
	if (!(entry & QCOW2_OFFSET_MASK))
		return out->kind == QCOW2_HOLE;
	return out->kind == QCOW2_DATA &&
	       (entry & QCOW2_OFFSET_MASK) == out->host + out->length &&
	       !(entry & QCOW2_COPIED) == !out->writable &&
	       out->host + out->length < atomic_load(&q->end);
}

/*
 * "Extended L2 entries": the second word has a bit for each of 32 subclusters
 * that is allocated and, above, for each that reads as zeroes.
 */
static int qcow2_lookup_sub(struct qcow2 *q, struct qcow2_slice *s,
			    uint64_t offset, struct qcow2_extent *out)
{
	unsigned sub_bits = q->cluster_bits - 5;
	unsigned i = offset >> sub_bits & 31;
	uint64_t entry = qcow2_entry(q, s, offset);
	uint64_t map = be64toh(
		atomic_load(&s->entries[qcow2_slice_word(q, offset) + 1]));

	if (entry & QCOW2_COMPRESSED) {
		out->length =
			q->cluster_size - (offset & (q->cluster_size - 1));
		return qcow2_classify(q, entry, offset, out);
	}
	out->length = (1ull << sub_bits) - (offset & ((1ull << sub_bits) - 1));
	out->writable = false;
	if (map >> 32 >> i & 1) {
		out->kind = QCOW2_ZEROES;
		return 0;
	}
	out->kind = map >> i & 1 ? QCOW2_DATA : QCOW2_HOLE;
	if (out->kind == QCOW2_HOLE)
		return 0;
	return qcow2_classify_data(q, entry & ~QCOW2_COPIED, offset, out);
}

/* The answer from a slice; grows the run as far as the slice goes. */
static int qcow2_lookup_in(struct qcow2 *q, struct qcow2_slice *s,
			   uint64_t offset, uint64_t length,
			   struct qcow2_extent *out)
{
	uint64_t span = (uint64_t)qcow2_slice_entries(q) << q->cluster_bits;
	uint64_t stop = (offset & ~(span - 1)) + span;
	int rc;

	if (q->entry_shift == 4)
		return qcow2_lookup_sub(q, s, offset, out);
	out->length = q->cluster_size - (offset & (q->cluster_size - 1));
	rc = qcow2_classify(q, qcow2_entry(q, s, offset), offset, out);
	if (rc || out->kind == QCOW2_PACKED)
		return rc;
	while (out->length < length && offset + out->length < stop &&
	       qcow2_continues(q, out, qcow2_entry(q, s, offset + out->length)))
		out->length += q->cluster_size;
	return 0;
}

int qcow2_lookup(struct qcow2 *q, uint64_t offset, uint64_t length,
		 unsigned flags, struct qcow2_extent *out)
{
	uint32_t i = qcow2_l1_index(q, offset);
	struct qcow2_slice *s;
	int rc = 0;

	if (i >= q->h.l1_size)
		return -EINVAL;
	while (!(s = qcow2_slice_find(q, offset))) {
		if (!(atomic_load(&q->l1[i]) & QCOW2_OFFSET_MASK)) {
			unsigned bits = q->cluster_bits + q->l2_bits;

			*out = (struct qcow2_extent){ .kind = QCOW2_HOLE };
			out->length = ((uint64_t)(i + 1) << bits) - offset;
			break;
		}
		if (flags & BLOCK_NOWAIT)
			return -EAGAIN;
		rc = qcow2_slice_load(q, offset);
		if (rc)
			return rc;
	}
	if (s)
		rc = qcow2_lookup_in(q, s, offset, length, out);
	if (out->length > length)
		out->length = length;
	return rc;
}

/* --- Changing ------------------------------------------------------------- */

static void qcow2_l1_set(struct qcow2 *q, uint32_t i, uint64_t entry)
{
	atomic_store(&q->l1[i], entry);
	if (q->l1_dirty_lo > i)
		q->l1_dirty_lo = i;
	if (q->l1_dirty_hi < i + 1)
		q->l1_dirty_hi = i + 1;
}

/*
 * A table of our own: empty, or a copy of the one that snapshots share.  It
 * is written now; the commit syncs it before the L1 entry is written.
 */
static int qcow2_table_write(struct qcow2 *q, uint64_t from, uint64_t to)
{
	void *p;
	int rc = 0;

	if (posix_memalign(&p, QCOW2_SLICE, q->cluster_size))
		return -ENOMEM;
	memset(p, 0, q->cluster_size);
	if (from)
		rc = block_read(q->b->file, p, from, q->cluster_size);
	if (!rc)
		rc = block_write(q->b->file, p, to, q->cluster_size);
	free(p);
	return rc;
}

/* 1: the lock was dropped. */
static int qcow2_table_own(struct qcow2 *q, uint32_t i)
{
	uint64_t old = atomic_load(&q->l1[i]), first, got;
	bool fresh;
	int rc;

	rc = old ? qcow2_l1_check(q, i, old) : 0;
	if (!rc)
		rc = qcow2_alloc(q, 1, &first, &got, &fresh);
	if (rc)
		return rc == -EAGAIN ? 1 : rc;
	rc = qcow2_metadata_add(q, first, 1);
	if (!rc)
		rc = qcow2_table_write(q, old & QCOW2_OFFSET_MASK,
				       first << q->cluster_bits);
	if (rc) {
		qcow2_metadata_remove(q, first, 1);
		qcow2_alloc_undo(q, first, 1);
		return rc;
	}
	qcow2_l1_set(q, i, first << q->cluster_bits | QCOW2_COPIED);
	old = qcow2_cluster(q, old & QCOW2_OFFSET_MASK);
	if (old) {
		qcow2_metadata_remove(q, old, 1);
		qcow2_free_later(q, old, 1);
	}
	return 0;
}

bool qcow2_slice_cached(struct qcow2 *q, uint64_t offset,
			struct qcow2_slice **out)
{
	if (!(atomic_load(&q->l1[qcow2_l1_index(q, offset)]) & QCOW2_COPIED))
		return false;
	*out = qcow2_slice_find(q, offset);
	return *out;
}

int qcow2_slice_for_write(struct qcow2 *q, uint64_t offset,
			  struct qcow2_slice **out)
{
	uint32_t i = qcow2_l1_index(q, offset);
	int rc;

	if (!(atomic_load(&q->l1[i]) & QCOW2_COPIED)) {
		rc = qcow2_table_own(q, i);
		if (rc)
			return rc;
	}
	*out = qcow2_slice_find(q, offset);
	if (*out)
		return 0;
	pthread_mutex_unlock(&q->lock);
	rc = qcow2_slice_load(q, offset);
	pthread_mutex_lock(&q->lock);
	return rc ? rc : 1;
}
