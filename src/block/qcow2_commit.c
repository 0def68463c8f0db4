/*
 * qcow2_commit.c - writing the changed metadata in an order that survives a
 * crash (see qcow2.h), and flushes.
 *
 * A commit copies everything that is dirty at one instant, under the lock,
 * and writes the copies without it; what changes meanwhile is dirty again and
 * waits for the next one.  Flushes that arrive while a commit runs share the
 * one that follows.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A piece of metadata on its way to the file. */
struct qcow2_piece {
	uint64_t offset;
	uint32_t length;
	void *data;
	struct qcow2_slice *slice;   /* whose copy it is; or */
	struct qcow2_rblock *rblock; /* or neither */
};

struct qcow2_pieces {
	struct qcow2_piece *p;
	size_t count, cap;
};

struct qcow2_batch {
	struct qcow2_pieces rblocks, slices, reftable, l1;
	uint32_t reftable_lo, reftable_hi, l1_lo, l1_hi;
	struct qcow2_frees *frees;
};

static int qcow2_piece_add(struct qcow2_pieces *ps, uint64_t offset,
			   const void *data, uint32_t length,
			   struct qcow2_piece **out)
{
	struct qcow2_piece *p;

	if (ps->count == ps->cap) {
		size_t cap = ps->cap ? 2 * ps->cap : 16;

		p = realloc(ps->p, cap * sizeof(*p));
		if (!p)
			return -ENOMEM;
		ps->p = p;
		ps->cap = cap;
	}
	p = &ps->p[ps->count];
	*p = (struct qcow2_piece){ .offset = offset, .length = length };
	if (posix_memalign(&p->data, 4096, length))
		return -ENOMEM;
	memcpy(p->data, data, length);
	ps->count++;
	if (out)
		*out = p;
	return 0;
}

static void qcow2_pieces_free(struct qcow2_pieces *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		free(ps->p[i].data);
	free(ps->p);
}

static int qcow2_pieces_write(struct qcow2 *q, const struct qcow2_pieces *ps)
{
	for (size_t i = 0; i < ps->count; i++) {
		const struct qcow2_piece *p = &ps->p[i];
		int rc = block_write(q->b->file, p->data, p->offset, p->length);

		if (rc)
			return rc;
	}
	return 0;
}

/* --- Collecting: lock held ------------------------------------------------ */

static int qcow2_collect_rblocks(struct qcow2 *q, struct qcow2_batch *c)
{
	for (uint32_t i = 0; q->rblocks_dirty && i < q->reftable_size; i++) {
		struct qcow2_rblock *rb = q->rblocks[i];
		struct qcow2_piece *p;
		uint32_t lo, hi;

		if (!rb || rb->dirty_lo >= rb->dirty_hi)
			continue;
		/* Whole pages, or sectors where clusters are smaller. */
		lo = rb->dirty_lo & ~(BLOCK_SECTOR - 1u);
		hi = (rb->dirty_hi + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1u);
		if (qcow2_piece_add(&c->rblocks, q->reftable[i] + lo,
				    rb->data + lo, hi - lo, &p))
			return -ENOMEM;
		p->rblock = rb;
		rb->busy = true;
		rb->dirty_lo = UINT32_MAX;
		rb->dirty_hi = 0;
	}
	q->rblocks_dirty = false;
	return 0;
}

static int qcow2_collect_slices(struct qcow2 *q, struct qcow2_batch *c)
{
	uint32_t bytes = 1u << (q->slice_bits + q->entry_shift);

	while (q->dirty) {
		struct qcow2_slice *s = q->dirty;
		uint64_t at = atomic_load(&q->l1[s->l1_index]);
		struct qcow2_piece *p;

		at = (at & QCOW2_OFFSET_MASK) + (uint64_t)s->number * bytes;
		if (qcow2_piece_add(&c->slices, at, (void *)s->entries, bytes,
				    &p))
			return -ENOMEM;
		p->slice = s;
		s->busy = true;
		s->dirty = false;
		q->dirty = s->next_dirty;
		q->dirty_count--;
	}
	return 0;
}

/* Entries [lo, hi) of a table, in whole sectors. */
static int qcow2_collect_table(struct qcow2_pieces *ps, uint64_t offset,
			       const uint64_t *entries, uint32_t size,
			       uint32_t lo, uint32_t hi)
{
	uint64_t *be;
	int rc;

	lo &= ~63u;
	hi = (hi + 63) & ~63u;
	hi = hi < size ? hi : size;
	be = malloc(8 * (size_t)(hi - lo));
	if (!be)
		return -ENOMEM;
	for (uint32_t i = lo; i < hi; i++)
		be[i - lo] = htobe64(entries[i]);
	rc = qcow2_piece_add(ps, offset + 8ull * lo, be, 8 * (hi - lo), NULL);
	free(be);
	return rc;
}

static int qcow2_collect(struct qcow2 *q, struct qcow2_batch *c)
{
	int rc;

	c->reftable_lo = q->reftable_dirty_lo;
	c->reftable_hi = q->reftable_dirty_hi;
	c->l1_lo = q->l1_dirty_lo;
	c->l1_hi = q->l1_dirty_hi;
	rc = qcow2_collect_rblocks(q, c);
	if (!rc)
		rc = qcow2_collect_slices(q, c);
	if (!rc && c->reftable_lo < c->reftable_hi)
		rc = qcow2_collect_table(&c->reftable, q->h.reftable_offset,
					 q->reftable, q->reftable_size,
					 c->reftable_lo, c->reftable_hi);
	if (!rc && c->l1_lo < c->l1_hi)
		rc = qcow2_collect_table(&c->l1, q->h.l1_offset,
					 (uint64_t *)q->l1, q->h.l1_size,
					 c->l1_lo, c->l1_hi);
	if (rc)
		return rc;
	q->reftable_dirty_lo = q->l1_dirty_lo = UINT32_MAX;
	q->reftable_dirty_hi = q->l1_dirty_hi = 0;
	c->frees = q->frees;
	q->frees = NULL;
	return 0;
}

/* --- Writing: no lock needed ---------------------------------------------- */

static int qcow2_batch_refcounts(struct qcow2 *q, struct qcow2_batch *c)
{
	int rc = qcow2_pieces_write(q, &c->rblocks);

	if (rc || !c->reftable.count)
		return rc;
	rc = block_flush(q->b->file);
	return rc ? rc : qcow2_pieces_write(q, &c->reftable);
}

static int qcow2_batch_write(struct qcow2 *q, struct qcow2_batch *c)
{
	int rc = qcow2_batch_refcounts(q, c);

	if (!rc && (c->slices.count || c->l1.count)) {
		rc = block_flush(q->b->file);
		if (!rc)
			rc = qcow2_pieces_write(q, &c->slices);
	}
	if (!rc && c->l1.count) {
		rc = block_flush(q->b->file);
		if (!rc)
			rc = qcow2_pieces_write(q, &c->l1);
	}
	return rc ? rc : block_flush(q->b->file);
}

/* --- Afterwards: lock held ------------------------------------------------ */

static void qcow2_redirty(struct qcow2 *q, struct qcow2_batch *c)
{
	for (size_t i = 0; i < c->rblocks.count; i++) {
		c->rblocks.p[i].rblock->dirty_lo = 0;
		c->rblocks.p[i].rblock->dirty_hi = q->cluster_size;
		q->rblocks_dirty = true;
	}
	for (size_t i = 0; i < c->slices.count; i++) {
		struct qcow2_slice *s = c->slices.p[i].slice;

		if (s->dirty)
			continue;
		s->dirty = true;
		s->next_dirty = q->dirty;
		q->dirty = s;
		q->dirty_count++;
	}
	if (q->reftable_dirty_lo > c->reftable_lo)
		q->reftable_dirty_lo = c->reftable_lo;
	if (q->reftable_dirty_hi < c->reftable_hi)
		q->reftable_dirty_hi = c->reftable_hi;
	if (q->l1_dirty_lo > c->l1_lo)
		q->l1_dirty_lo = c->l1_lo;
	if (q->l1_dirty_hi < c->l1_hi)
		q->l1_dirty_hi = c->l1_hi;
}

/* What no table names any more is free once nobody looks at it. */
static void qcow2_batch_retire(struct qcow2 *q, struct qcow2_batch *c)
{
	struct qcow2_retired *r = calloc(1, sizeof(*r));

	if (!r)
		return; /* leaked, below */
	r->frees = c->frees;
	c->frees = NULL;
	qcow2_retire(q, r);
}

static void qcow2_unfree(struct qcow2 *q, struct qcow2_batch *c)
{
	for (size_t i = 0; i < c->frees->count; i++)
		qcow2_free_later(q, c->frees->runs[i].first,
				 c->frees->runs[i].count);
}

static void qcow2_batch_end(struct qcow2 *q, struct qcow2_batch *c, int rc)
{
	for (size_t i = 0; i < c->rblocks.count; i++)
		c->rblocks.p[i].rblock->busy = false;
	for (size_t i = 0; i < c->slices.count; i++)
		c->slices.p[i].slice->busy = false;
	if (rc)
		qcow2_redirty(q, c);
	if (rc && c->frees)
		qcow2_unfree(q, c);
	else if (c->frees)
		qcow2_batch_retire(q, c);
	if (c->frees)
		free(c->frees->runs);
	free(c->frees);
	qcow2_pieces_free(&c->rblocks);
	qcow2_pieces_free(&c->slices);
	qcow2_pieces_free(&c->reftable);
	qcow2_pieces_free(&c->l1);
}

/* --- Commits -------------------------------------------------------------- */

bool qcow2_is_dirty(const struct qcow2 *q)
{
	return q->rblocks_dirty || q->dirty || q->frees ||
	       q->l1_dirty_lo < q->l1_dirty_hi ||
	       q->reftable_dirty_lo < q->reftable_dirty_hi;
}

int qcow2_rblocks_write(struct qcow2 *q)
{
	struct qcow2_batch c = { .reftable_lo = UINT32_MAX,
				 .l1_lo = UINT32_MAX };
	int rc = qcow2_collect_rblocks(q, &c);

	if (!rc)
		rc = qcow2_pieces_write(q, &c.rblocks);
	if (!rc)
		rc = block_flush(q->b->file);
	qcow2_batch_end(q, &c, rc);
	return rc;
}

int qcow2_commit_wait(struct qcow2 *q)
{
	int waited = 0;

	while (q->committing) {
		pthread_cond_wait(&q->changed, &q->lock);
		waited = 1;
	}
	return waited;
}

/* lock held; drops it while writing. */
static int qcow2_commit_one(struct qcow2 *q)
{
	struct qcow2_batch c = { 0 };
	int rc = qcow2_collect(q, &c);

	q->committing = true;
	pthread_mutex_unlock(&q->lock);
	if (!rc)
		rc = qcow2_batch_write(q, &c);
	pthread_mutex_lock(&q->lock);
	q->committing = false;
	qcow2_batch_end(q, &c, rc);
	return rc;
}

/*
 * Commits are numbered; only one that begins after we came covers what was
 * written before.
 */
static int qcow2_commit_locked(struct qcow2 *q)
{
	uint64_t want = q->commits_begun + 1;
	int rc;

	while (q->commits_done < want) {
		if (q->committing) {
			pthread_cond_wait(&q->changed, &q->lock);
			continue;
		}
		q->commits_begun++;
		rc = qcow2_commit_one(q);
		q->commits_done = q->commits_begun;
		q->commit_result = rc;
		pthread_cond_broadcast(&q->changed);
		return rc;
	}
	/* A later one that failed has failed us as well, to be sure. */
	return q->commit_result;
}

int qcow2_commit(struct qcow2 *q)
{
	int rc, pin = qcow2_pin(q, 0);

	pthread_mutex_lock(&q->lock);
	rc = qcow2_commit_locked(q);
	qcow2_unpin(q, pin);
	qcow2_reclaim(q);
	qcow2_free_now(q);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

int qcow2_commit_frozen(struct qcow2 *q)
{
	int rc = 0;

	/* The second round writes what the first one gave back. */
	for (int i = 0; !rc && i < 2; i++) {
		rc = qcow2_commit_locked(q);
		qcow2_reclaim(q);
		qcow2_reclaim(q);
		qcow2_free_now(q);
	}
	return rc;
}
