/*
 * qcow2_repair.c - sets right what a check found wrong with counts and the
 * flags that follow from them.  Data is never moved or dropped.
 */
#include "block/qcow2_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- Leaks ---------------------------------------------------------------- */

static int qcow2_leaks_block(struct qcow2_checker *c, uint64_t i,
			     uint8_t *block, uint64_t *fixed)
{
	struct qcow2 *q = c->q;
	uint64_t at = q->reftable[i], per = 1ull << q->rb_bits;
	unsigned order = q->h.refcount_order;
	uint64_t before = *fixed;
	int rc;

	if (!at || at & (q->cluster_size - 1) ||
	    qcow2_cluster(q, at) >= c->clusters)
		return 0;
	rc = block_read(q->b->file, block, at, q->cluster_size);
	for (uint64_t k = 0; !rc && k < per; k++) {
		uint64_t cluster = (i << q->rb_bits) + k;
		uint64_t found = cluster < c->clusters ? c->counts[cluster] : 0;

		if (qcow2_refcount_field(block, k, order) <= found)
			continue;
		qcow2_refcount_put(block, k, order, found);
		++*fixed;
	}
	if (!rc && *fixed != before)
		rc = block_write(q->b->file, block, at, q->cluster_size);
	return rc;
}

int qcow2_repair_leaks(struct qcow2_checker *c, uint64_t *fixed)
{
	uint8_t *block = malloc(c->q->cluster_size);
	int rc = block ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < c->q->reftable_size; i++)
		rc = qcow2_leaks_block(c, i, block, fixed);
	free(block);
	return rc;
}

/* --- New counts ----------------------------------------------------------- */

struct qcow2_rebuild {
	uint64_t first; /* cluster: blocks, then the table */
	uint64_t blocks, table;
};

/* Behind the file: nothing that is in use can lie there. */
static int qcow2_rebuild_plan(struct qcow2_checker *c, struct qcow2_rebuild *r)
{
	struct qcow2 *q = c->q;

	*r = (struct qcow2_rebuild){ .first = c->clusters };
	for (;;) {
		uint64_t all = r->first + r->blocks + r->table;
		uint64_t blocks =
			(all + (1ull << q->rb_bits) - 1) >> q->rb_bits;
		uint64_t table = qcow2_clusters(q, 8 * blocks);

		if (table << q->cluster_bits > QCOW2_MAX_REFTABLE)
			return -EFBIG;
		if (blocks <= r->blocks && table <= r->table)
			return 0;
		r->blocks = blocks > r->blocks ? blocks : r->blocks;
		r->table = table > r->table ? table : r->table;
	}
}

static int qcow2_rebuild_blocks(struct qcow2_checker *c,
				const struct qcow2_rebuild *r)
{
	struct qcow2 *q = c->q;
	uint64_t all = r->first + r->blocks + r->table;
	uint64_t max = qcow2_refcount_max(q);
	uint8_t *p = malloc(q->cluster_size);
	int rc = p ? 0 : -ENOMEM;

	for (uint64_t b = 0; !rc && b < r->blocks; b++) {
		memset(p, 0, q->cluster_size);
		for (uint64_t k = 0; k < 1ull << q->rb_bits; k++) {
			uint64_t i = (b << q->rb_bits) + k;
			uint64_t n = i < c->clusters ? c->counts[i] : i < all;

			if (n > max)
				rc = -EOVERFLOW;
			qcow2_refcount_put(p, k, q->h.refcount_order, n);
		}
		if (!rc)
			rc = block_write(q->b->file, p,
					 (r->first + b) << q->cluster_bits,
					 q->cluster_size);
	}
	free(p);
	return rc;
}

static int qcow2_rebuild_table(struct qcow2_checker *c,
			       const struct qcow2_rebuild *r)
{
	struct qcow2 *q = c->q;
	uint64_t *be = calloc(r->table, q->cluster_size);
	int rc = be ? 0 : -ENOMEM;

	for (uint64_t b = 0; !rc && b < r->blocks; b++)
		be[b] = htobe64((r->first + b) << q->cluster_bits);
	if (!rc)
		rc = block_write(q->b->file, be,
				 (r->first + r->blocks) << q->cluster_bits,
				 r->table << q->cluster_bits);
	free(be);
	return rc;
}

static int qcow2_rebuild_header(struct qcow2_checker *c,
				const struct qcow2_rebuild *r)
{
	struct qcow2 *q = c->q;
	uint64_t at = (r->first + r->blocks) << q->cluster_bits;
	struct {
		uint64_t offset;
		uint32_t clusters;
	} __attribute__((packed))
	p = { htobe64(at), htobe32((uint32_t)r->table) };
	int rc = block_flush(q->b->file);

	if (!rc)
		rc = block_write(q->b->file, &p, 48, sizeof(p));
	if (rc)
		return rc;
	q->h.reftable_offset = at;
	q->h.reftable_clusters = (uint32_t)r->table;
	return block_flush(q->b->file);
}

int qcow2_repair_counts(struct qcow2_checker *c)
{
	struct qcow2_rebuild r;
	int rc;

	qcow2_count_refcounts(c, -1); /* the old ones are given up */
	rc = qcow2_rebuild_plan(c, &r);
	if (!rc)
		rc = qcow2_rebuild_blocks(c, &r);
	if (!rc)
		rc = qcow2_rebuild_table(c, &r);
	return rc ? rc : qcow2_rebuild_header(c, &r);
}

/* --- COPIED --------------------------------------------------------------- */

/* The flag says "refcount 1". */
static bool qcow2_copied_wrong(struct qcow2_checker *c, uint64_t entry,
			       bool mend, bool *want)
{
	uint64_t at = entry & QCOW2_OFFSET_MASK;
	uint64_t i = qcow2_cluster(c->q, at);

	if (!at || at & (c->q->cluster_size - 1) || i >= c->clusters)
		return false;
	*want = mend ? c->counts[i] == 1 : c->kinds[i] & QCOW2_IS_ONE;
	return *want != !!(entry & QCOW2_COPIED);
}

static bool qcow2_copied_flip(struct qcow2_checker *c, uint64_t *be, bool mend,
			      const char *what)
{
	uint64_t entry = be64toh(*be);
	bool want;

	if (!qcow2_copied_wrong(c, entry, mend, &want))
		return false;
	if (mend) {
		*be = htobe64(entry ^ QCOW2_COPIED);
		return true;
	}
	c->copied_errors++;
	qcow2_say(c, "error: %s entry %#llx %s to be written in place", what,
		  (unsigned long long)entry,
		  want ? "should say, and does not," : "is not");
	return true;
}

static int qcow2_copied_table(struct qcow2_checker *c, uint64_t at, bool mend)
{
	struct qcow2 *q = c->q;
	unsigned step = 1u << (q->entry_shift - 3);
	uint64_t *l2 = malloc(q->cluster_size), flips = 0;
	int rc = l2 ? block_read(q->b->file, l2, at, q->cluster_size) : -ENOMEM;

	for (uint32_t i = 0; !rc && i < 1u << q->l2_bits; i++)
		if (!(be64toh(l2[i * step]) & QCOW2_COMPRESSED))
			flips +=
				qcow2_copied_flip(c, &l2[i * step], mend, "L2");
	/* A table that is something else as well is not ours to write. */
	if (mend &&
	    (c->kinds[qcow2_cluster(q, at)] & QCOW2_USES) != QCOW2_USE_TABLE)
		c->copied_left += flips;
	else if (!rc && mend && flips)
		rc = block_write(q->b->file, l2, at, q->cluster_size);
	free(l2);
	return rc;
}

int qcow2_repair_copied(struct qcow2_checker *c, bool mend)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = 8ull * q->h.l1_size, flips = 0;
	uint64_t *l1 = malloc(bytes + 8);
	int rc = l1 ? block_read(q->b->file, l1, q->h.l1_offset, bytes)
		    : -ENOMEM;

	for (uint32_t i = 0; !rc && i < q->h.l1_size; i++) {
		uint64_t at = be64toh(l1[i]) & QCOW2_OFFSET_MASK;

		if (!at || at & (q->cluster_size - 1) ||
		    qcow2_cluster(q, at) >= c->clusters)
			continue;
		rc = qcow2_copied_table(c, at, mend);
		flips += qcow2_copied_flip(c, &l1[i], mend, "L1");
	}
	if (!rc && mend && flips)
		rc = block_write(q->b->file, l1, q->h.l1_offset, bytes);
	free(l1);
	if (c->copied_left > c->copied_errors)
		c->copied_left = c->copied_errors;
	return rc;
}
