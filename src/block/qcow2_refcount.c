/*
 * qcow2_refcount.c - how many refer to each host cluster; taking clusters
 * and giving them back.
 *
 * Refcount blocks are loaded when needed and changed in memory; a commit
 * writes them.  A count goes up at once and comes down only when no table on
 * the disk has the reference any more (qcow2_free_later), so a block may be
 * written at any time.  All with q->lock held.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QCOW2_RBLOCK_BYTES (16u << 20)

/* "Refcount blocks": below 8 bits from the least significant bit on. */
uint64_t qcow2_refcount_field(const uint8_t *data, uint64_t i, unsigned order)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (order) {
	case 4:
		memcpy(&v16, data + 2 * i, sizeof(v16));
		return be16toh(v16);
	case 5:
		memcpy(&v32, data + 4 * i, sizeof(v32));
		return be32toh(v32);
	case 6:
		memcpy(&v64, data + 8 * i, sizeof(v64));
		return be64toh(v64);
	default: {
		unsigned per = 8u >> order, bits = 1u << order;

		return data[i / per] >> (i % per * bits) & ((1u << bits) - 1);
	}
	}
}

void qcow2_refcount_put(uint8_t *data, uint64_t i, unsigned order,
			uint64_t value)
{
	uint16_t v16 = htobe16((uint16_t)value);
	uint32_t v32 = htobe32((uint32_t)value);
	uint64_t v64 = htobe64(value);

	switch (order) {
	case 4:
		memcpy(data + 2 * i, &v16, sizeof(v16));
		return;
	case 5:
		memcpy(data + 4 * i, &v32, sizeof(v32));
		return;
	case 6:
		memcpy(data + 8 * i, &v64, sizeof(v64));
		return;
	default: {
		unsigned per = 8u >> order, bits = 1u << order;
		unsigned shift = i % per * bits, mask = (1u << bits) - 1;

		data[i / per] = (uint8_t)((data[i / per] & ~(mask << shift)) |
					  ((value & mask) << shift));
	}
	}
}

uint64_t qcow2_refcount_max(const struct qcow2 *q)
{
	return q->h.refcount_order == 6
		       ? UINT64_MAX
		       : (1ull << (1u << q->h.refcount_order)) - 1;
}

int qcow2_refcount_init(struct qcow2 *q, struct err *err)
{
	uint32_t n = q->h.reftable_clusters << (q->cluster_bits - 3);
	int rc;

	q->reftable = calloc(n, sizeof(*q->reftable));
	q->rblocks = calloc(n, sizeof(*q->rblocks));
	q->rblocks_max = QCOW2_RBLOCK_BYTES / q->cluster_size;
	if (!q->reftable || !q->rblocks)
		return err_set(err, ENOMEM, "%s: out of memory", q->b->path);
	q->reftable_size = n;
	q->reftable_dirty_lo = UINT32_MAX;
	rc = block_read(q->b->file, q->reftable, q->h.reftable_offset,
			8ull * n);
	if (rc)
		return err_set(err, -rc,
			       "%s: cannot read the refcount table: "
			       "%s",
			       q->b->path, strerror(-rc));
	for (uint32_t i = 0; i < n; i++)
		q->reftable[i] = be64toh(q->reftable[i]);
	return 0;
}

static void qcow2_rblock_free(struct qcow2_rblock *rb)
{
	if (rb)
		free(rb->data);
	free(rb);
}

static void qcow2_frees_free(struct qcow2_frees *f)
{
	while (f) {
		struct qcow2_frees *next = f->next;

		free(f->runs);
		free(f);
		f = next;
	}
}

void qcow2_refcount_free(struct qcow2 *q)
{
	for (uint32_t i = 0; q->rblocks && i < q->reftable_size; i++)
		qcow2_rblock_free(q->rblocks[i]);
	free(q->rblocks);
	free(q->reftable);
	qcow2_frees_free(q->frees);
	qcow2_frees_free(q->ready);
	q->rblocks = NULL;
	q->reftable = NULL;
	q->frees = q->ready = NULL;
	q->nrblocks = 0;
}

/* --- Refcount blocks ------------------------------------------------------ */

static struct qcow2_rblock *qcow2_rblock_alloc(const struct qcow2 *q)
{
	struct qcow2_rblock *rb = calloc(1, sizeof(*rb));
	void *data = NULL;

	if (!rb || posix_memalign(&data, 4096, q->cluster_size)) {
		free(rb);
		return NULL;
	}
	memset(data, 0, q->cluster_size);
	rb->data = data;
	rb->dirty_lo = UINT32_MAX;
	rb->used = true;
	return rb;
}

static void qcow2_rblocks_trim(struct qcow2 *q)
{
	uint64_t tries = 2ull * q->reftable_size;

	while (q->nrblocks >= q->rblocks_max && tries--) {
		struct qcow2_rblock *rb;

		q->rblock_hand = (q->rblock_hand + 1) % q->reftable_size;
		rb = q->rblocks[q->rblock_hand];
		if (!rb || rb->busy || rb->dirty_lo < rb->dirty_hi)
			continue;
		if (rb->used) {
			rb->used = false;
			continue;
		}
		qcow2_rblock_free(rb);
		q->rblocks[q->rblock_hand] = NULL;
		q->nrblocks--;
	}
}

/* 0 and *out NULL: there is none, all its counts are 0. */
static int qcow2_rblock_get(struct qcow2 *q, uint64_t i,
			    struct qcow2_rblock **out)
{
	struct qcow2_rblock *rb;
	uint64_t at;
	int rc;

	*out = NULL;
	if (i >= q->reftable_size || !q->reftable[i])
		return 0;
	*out = q->rblocks[i];
	if (*out) {
		(*out)->used = true;
		return 0;
	}
	at = q->reftable[i];
	if (at & (q->cluster_size - 1) || at >= atomic_load(&q->end))
		return qcow2_broken(q,
				    "refcount table entry %llu (%#llx) is "
				    "no place of a block",
				    (unsigned long long)i,
				    (unsigned long long)at);
	qcow2_rblocks_trim(q);
	rb = qcow2_rblock_alloc(q);
	if (!rb)
		return -ENOMEM;
	rc = block_read(q->b->file, rb->data, at, q->cluster_size);
	if (rc) {
		qcow2_rblock_free(rb);
		return rc;
	}
	q->rblocks[i] = *out = rb;
	q->nrblocks++;
	return 0;
}

static void qcow2_rblock_set(struct qcow2 *q, struct qcow2_rblock *rb,
			     uint64_t i, uint64_t value)
{
	unsigned order = q->h.refcount_order;
	uint32_t lo = (uint32_t)((i << order) / 8);
	uint32_t hi = (uint32_t)((((i + 1) << order) + 7) / 8);

	qcow2_refcount_put(rb->data, i, order, value);
	if (rb->dirty_lo > lo)
		rb->dirty_lo = lo;
	if (rb->dirty_hi < hi)
		rb->dirty_hi = hi;
	q->rblocks_dirty = true;
}

static void qcow2_reftable_set(struct qcow2 *q, uint32_t i, uint64_t at)
{
	q->reftable[i] = at;
	if (q->reftable_dirty_lo > i)
		q->reftable_dirty_lo = i;
	if (q->reftable_dirty_hi < i + 1)
		q->reftable_dirty_hi = i + 1;
}

static void qcow2_end_grow(struct qcow2 *q, uint64_t cluster)
{
	if (atomic_load(&q->end) < cluster << q->cluster_bits)
		atomic_store(&q->end, cluster << q->cluster_bits);
	if (q->fresh < cluster)
		q->fresh = cluster;
}

/*
 * A block for clusters that had none: it lies in the first of them, and
 * counts itself.
 */
static int qcow2_rblock_new(struct qcow2 *q, uint64_t i)
{
	struct qcow2_rblock *rb = qcow2_rblock_alloc(q);
	uint64_t first = i << q->rb_bits;
	int rc;

	if (!rb)
		return -ENOMEM;
	rc = qcow2_metadata_add(q, first, 1);
	if (rc) {
		qcow2_rblock_free(rb);
		return rc;
	}
	qcow2_rblocks_trim(q);
	rb->dirty_lo = 0;
	rb->dirty_hi = q->cluster_size;
	qcow2_rblock_set(q, rb, 0, 1);
	q->rblocks[i] = rb;
	q->nrblocks++;
	qcow2_reftable_set(q, (uint32_t)i, first << q->cluster_bits);
	qcow2_end_grow(q, first + 1);
	return 0;
}

/* --- A larger refcount table ---------------------------------------------- */

struct qcow2_growth {
	uint64_t first; /* cluster: new blocks, then the table */
	uint64_t blocks, table_clusters;
	uint32_t entries;
	uint64_t index; /* of the first new block */
};

/* Behind everything that the present table can count, and behind the file. */
static int qcow2_growth_plan(struct qcow2 *q, struct qcow2_growth *g)
{
	uint64_t end = qcow2_clusters(q, atomic_load(&q->end));
	uint64_t per = 1ull << q->rb_bits;

	g->index = (end + per - 1) >> q->rb_bits;
	if (g->index < q->reftable_size)
		g->index = q->reftable_size;
	g->first = g->index << q->rb_bits;
	for (g->blocks = 1;; g->blocks++) {
		uint64_t n = g->index + g->blocks;

		n += n / 2;
		g->table_clusters = qcow2_clusters(q, 8 * n);
		if (g->table_clusters << q->cluster_bits > QCOW2_MAX_REFTABLE)
			return -EFBIG;
		if (g->blocks + g->table_clusters <= g->blocks * per)
			break;
	}
	g->entries = (uint32_t)(g->table_clusters << (q->cluster_bits - 3));
	return 0;
}

/* Copies of the arrays with room, the new blocks among them. */
static int qcow2_growth_arrays(struct qcow2 *q, const struct qcow2_growth *g)
{
	uint64_t *t = realloc(q->reftable, 8ull * g->entries);
	struct qcow2_rblock **b;
	uint32_t more = g->entries - q->reftable_size;

	if (!t)
		return -ENOMEM;
	q->reftable = t;
	b = realloc(q->rblocks, sizeof(*b) * (size_t)g->entries);
	if (!b)
		return -ENOMEM;
	q->rblocks = b;
	memset(t + q->reftable_size, 0, 8ull * more);
	memset(b + q->reftable_size, 0, sizeof(*b) * (size_t)more);
	q->reftable_size = g->entries;
	return 0;
}

static int qcow2_growth_blocks(struct qcow2 *q, const struct qcow2_growth *g)
{
	uint64_t used = g->blocks + g->table_clusters;

	for (uint64_t i = 0; i < g->blocks; i++) {
		struct qcow2_rblock *rb = qcow2_rblock_alloc(q);

		if (!rb)
			return -ENOMEM;
		q->rblocks[g->index + i] = rb;
		q->nrblocks++;
		q->reftable[g->index + i] = (g->first + i) << q->cluster_bits;
		for (uint64_t c = 0; c < 1ull << q->rb_bits; c++)
			if ((i << q->rb_bits) + c < used)
				qcow2_rblock_set(q, rb, c, 1);
		rb->dirty_lo = 0;
		rb->dirty_hi = q->cluster_size;
	}
	return 0;
}

static int qcow2_growth_table(struct qcow2 *q, const struct qcow2_growth *g)
{
	uint64_t *be = calloc(g->entries, 8);
	int rc;

	if (!be)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->entries; i++)
		be[i] = htobe64(q->reftable[i]);
	rc = block_write(q->b->file, be,
			 (g->first + g->blocks) << q->cluster_bits,
			 8ull * g->entries);
	free(be);
	return rc;
}

static int qcow2_growth_header(struct qcow2 *q, uint64_t offset,
			       uint64_t clusters)
{
	struct {
		uint64_t offset;
		uint32_t clusters;
	} __attribute__((packed))
	p = { htobe64(offset), htobe32((uint32_t)clusters) };
	int rc = block_flush(q->b->file);

	if (!rc)
		rc = block_write(q->b->file, &p, 48, sizeof(p));
	return rc ? rc : block_flush(q->b->file);
}

/* As if nothing had been; the arrays stay longer than they need be. */
static void qcow2_growth_undo(struct qcow2 *q, const struct qcow2_growth *g,
			      uint32_t old_size)
{
	for (uint64_t i = g->index; i < q->reftable_size; i++) {
		if (q->rblocks[i])
			q->nrblocks--;
		qcow2_rblock_free(q->rblocks[i]);
	}
	q->reftable_size = old_size;
	qcow2_metadata_remove(q, g->first, g->blocks + g->table_clusters);
}

/* All but the header: nothing names what is written here. */
static int qcow2_growth_write(struct qcow2 *q, const struct qcow2_growth *g)
{
	int rc = qcow2_growth_arrays(q, g);

	if (!rc)
		rc = qcow2_growth_blocks(q, g);
	if (!rc)
		rc = qcow2_metadata_add(q, g->first,
					g->blocks + g->table_clusters);
	qcow2_end_grow(q, g->first + g->blocks + g->table_clusters);
	if (!rc)
		rc = qcow2_rblocks_write(q);
	return rc ? rc : qcow2_growth_table(q, g);
}

/*
 * Every count is written before the new table, and that before the header
 * names it; the old table is free afterwards.
 */
static int qcow2_growth_do(struct qcow2 *q, const struct qcow2_growth *g)
{
	uint64_t old = qcow2_cluster(q, q->h.reftable_offset);
	uint32_t old_clusters = q->h.reftable_clusters;
	uint32_t old_size = q->reftable_size;
	uint64_t at = (g->first + g->blocks) << q->cluster_bits;
	int rc = qcow2_growth_write(q, g);

	if (rc) {
		qcow2_growth_undo(q, g, old_size);
		return rc;
	}
	rc = qcow2_growth_header(q, at, g->table_clusters);
	if (rc) {
		/* Which of the two tables the disk names is not known. */
		atomic_store(&q->broken, true);
		return rc;
	}
	q->h.reftable_offset = at;
	q->h.reftable_clusters = (uint32_t)g->table_clusters;
	q->reftable_dirty_lo = UINT32_MAX;
	q->reftable_dirty_hi = 0;
	qcow2_metadata_remove(q, old, old_clusters);
	for (uint32_t i = 0; i < old_clusters; i++)
		qcow2_refcount_add(q, old + i, -1);
	return 0;
}

static int qcow2_reftable_grow(struct qcow2 *q)
{
	struct qcow2_growth g;
	int rc = qcow2_growth_plan(q, &g);

	if (rc)
		return rc;
	/* A commit under way holds copies of blocks: let it end. */
	if (qcow2_commit_wait(q))
		return -EAGAIN;
	return qcow2_growth_do(q, &g);
}

/* --- Counts --------------------------------------------------------------- */

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
	struct qcow2_rblock *rb;
	int rc = qcow2_rblock_get(q, cluster >> q->rb_bits, &rb);

	*out = 0;
	if (!rc && rb)
		*out = qcow2_refcount_field(
			rb->data, cluster & ((1ull << q->rb_bits) - 1),
			q->h.refcount_order);
	return rc;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value)
{
	struct qcow2_rblock *rb;
	int rc = qcow2_rblock_get(q, cluster >> q->rb_bits, &rb);

	if (rc)
		return rc;
	if (!rb)
		return -ENOENT;
	qcow2_rblock_set(q, rb, cluster & ((1ull << q->rb_bits) - 1), value);
	if (!value && q->free_hint > cluster)
		q->free_hint = cluster;
	return 0;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, int delta)
{
	uint64_t v;
	int rc = qcow2_refcount_get(q, cluster, &v);

	if (rc)
		return rc;
	if (delta < 0 && v < (uint64_t)-delta)
		return qcow2_broken(q,
				    "cluster %#llx is in use, but its "
				    "refcount is 0",
				    (unsigned long long)cluster);
	if (delta > 0 && (!v || qcow2_refcount_max(q) - v < (uint64_t)delta))
		return v ? -EOVERFLOW
			 : qcow2_broken(q,
					"cluster %#llx is in use, but its "
					"refcount is 0",
					(unsigned long long)cluster);
	return qcow2_refcount_set(q, cluster, v + (uint64_t)(int64_t)delta);
}

/* --- Taking and giving back ----------------------------------------------- */

/* Makes sure that cluster has a block. */
static int qcow2_rblock_need(struct qcow2 *q, uint64_t cluster)
{
	uint64_t i = cluster >> q->rb_bits;

	if (i >= q->reftable_size)
		return qcow2_reftable_grow(q);
	return q->reftable[i] ? 0 : qcow2_rblock_new(q, i);
}

/* The first free cluster from the hint on, its block present. */
static int qcow2_free_find(struct qcow2 *q, uint64_t *out)
{
	for (uint64_t c = q->free_hint;; c++) {
		uint64_t v;
		int rc = qcow2_rblock_need(q, c);

		if (!rc)
			rc = qcow2_refcount_get(q, c, &v);
		if (rc)
			return rc;
		if (v)
			continue;
		q->free_hint = c;
		*out = c;
		return c << q->cluster_bits < 1ull << 56 ? 0 : -EFBIG;
	}
}

static int qcow2_take(struct qcow2 *q, uint64_t c)
{
	if (qcow2_is_metadata(q, c, 1))
		return qcow2_broken(q,
				    "cluster %#llx holds metadata, but its "
				    "refcount is 0",
				    (unsigned long long)c);
	return qcow2_refcount_set(q, c, 1);
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *got,
		bool *fresh)
{
	uint64_t c, v;
	int rc;

	if (atomic_load(&q->broken))
		return -EIO;
	rc = qcow2_free_find(q, &c);
	if (!rc)
		rc = qcow2_take(q, c);
	if (rc)
		return rc;
	*first = c;
	*fresh = c >= q->fresh;
	for (*got = 1; *got < want; ++*got) {
		uint64_t next = c + *got;

		/* A run of one kind, in blocks that exist. */
		if ((next >= q->fresh) != *fresh ||
		    next >> q->rb_bits >= q->reftable_size ||
		    !q->reftable[next >> q->rb_bits] ||
		    qcow2_refcount_get(q, next, &v) || v || qcow2_take(q, next))
			break;
	}
	q->free_hint = c + *got;
	qcow2_end_grow(q, c + *got);
	return 0;
}

int qcow2_alloc_run(struct qcow2 *q, uint64_t count, uint64_t *first)
{
	uint64_t start = q->free_hint, c = start, n = 0, v;

	if (atomic_load(&q->broken))
		return -EIO;
	while (n < count) {
		int rc = qcow2_rblock_need(q, c + n);

		if (rc == -EAGAIN) {
			/* The lock was dropped: what was free may not be. */
			c = start;
			n = 0;
			continue;
		}
		if (!rc)
			rc = qcow2_refcount_get(q, c + n, &v);
		if (rc)
			return rc;
		if (v) {
			c += n + 1;
			n = 0;
		} else {
			n++;
		}
	}
	for (n = 0; n < count; n++) {
		int rc = qcow2_take(q, c + n);

		if (rc) {
			qcow2_alloc_undo(q, c, n);
			return rc;
		}
	}
	*first = c;
	qcow2_end_grow(q, c + count);
	return 0;
}

void qcow2_alloc_undo(struct qcow2 *q, uint64_t first, uint64_t count)
{
	while (count--)
		qcow2_refcount_add(q, first++, -1);
}

static bool qcow2_frees_push(struct qcow2_frees *f, uint64_t first,
			     uint64_t count)
{
	struct qcow2_run *last = f->count ? &f->runs[f->count - 1] : NULL;

	if (last && last->first + last->count == first) {
		last->count += count;
		return true;
	}
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		void *p = realloc(f->runs, cap * sizeof(*f->runs));

		if (!p)
			return false;
		f->runs = p;
		f->cap = cap;
	}
	f->runs[f->count++] = (struct qcow2_run){ first, count };
	return true;
}

void qcow2_free_later(struct qcow2 *q, uint64_t first, uint64_t count)
{
	if (!q->frees)
		q->frees = calloc(1, sizeof(*q->frees));
	/* Without memory they are leaked: harmless. */
	if (q->frees)
		qcow2_frees_push(q->frees, first, count);
}

/* The part of a run, from *at on, that is free when we let go. */
static bool qcow2_free_span(struct qcow2 *q, const struct qcow2_run *run,
			    uint64_t *at, uint64_t *count)
{
	uint64_t v;

	for (*count = 0; *at + *count < run->first + run->count;) {
		if (qcow2_refcount_get(q, *at + *count, &v))
			return false;
		if (v == 1)
			++*count;
		else if (*count)
			break;
		else
			++*at;
	}
	return *count;
}

/* Gives the host its space back while nobody else can have the clusters. */
static void qcow2_punch(struct qcow2 *q, const struct qcow2_run *run)
{
	uint64_t at = run->first, count;

	while (qcow2_free_span(q, run, &at, &count)) {
		pthread_mutex_unlock(&q->lock);
		block_discard(q->b->file, at << q->cluster_bits,
			      count << q->cluster_bits);
		pthread_mutex_lock(&q->lock);
		at += count;
	}
}

void qcow2_free_now(struct qcow2 *q)
{
	while (q->ready) {
		struct qcow2_frees *f = q->ready;

		q->ready = f->next;
		f->next = NULL;
		for (size_t i = 0; i < f->count; i++) {
			if (q->discard)
				qcow2_punch(q, &f->runs[i]);
			for (uint64_t c = 0; c < f->runs[i].count; c++)
				qcow2_refcount_add(q, f->runs[i].first + c, -1);
		}
		/* Neither unpacked data nor room in what may be gone. */
		qcow2_ccache_clear(q);
		q->packed = 0;
		qcow2_frees_free(f);
	}
}
