/*
 * qcow2_check.c - is the image whole?
 *
 * Every reference is followed from the header on and counted; then the counts
 * are compared with those in the image.  More in the image than found is a
 * leak, less is an error: such a cluster may be given to somebody else.  All
 * is read from the file, not from the cache, and nothing in it is believed.
 */
#include "block/qcow2_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define QCOW2_LINES_MAX 1000

#define QCOW2_L1_RESERVED 0x7f000000000001ffull
#define QCOW2_L2_RESERVED 0x3f000000000001feull

void qcow2_say(struct qcow2_checker *c, const char *fmt, ...)
{
	va_list ap;

	if (!c->report || ++c->lines > QCOW2_LINES_MAX)
		return;
	va_start(ap, fmt);
	vfprintf(c->report, fmt, ap);
	va_end(ap);
	fputs(c->lines == QCOW2_LINES_MAX ? "\n(and more)\n" : "\n", c->report);
}

/* --- Counting ------------------------------------------------------------- */

/* Is it inside the file? */
static bool qcow2_count(struct qcow2_checker *c, uint64_t offset,
			uint64_t bytes, enum qcow2_use use, const char *what)
{
	uint64_t first = qcow2_cluster(c->q, offset);
	uint64_t n =
		bytes ? qcow2_cluster(c->q, offset + bytes - 1) - first + 1 : 0;

	if (first >= c->clusters || n > c->clusters - first) {
		qcow2_say(c, "error: %s at %#llx lies outside the file", what,
			  (unsigned long long)offset);
		c->other_errors++;
		return false;
	}
	for (; n; n--, first++) {
		if (c->counts[first] < UINT32_MAX)
			c->counts[first]++;
		c->kinds[first] |= use;
	}
	return true;
}

static bool qcow2_check_aligned(struct qcow2_checker *c, uint64_t offset,
				const char *what)
{
	if (!(offset & (c->q->cluster_size - 1)))
		return true;
	qcow2_say(c, "error: %s at %#llx is not at the start of a cluster",
		  what, (unsigned long long)offset);
	c->other_errors++;
	return false;
}

static void qcow2_count_packed(struct qcow2_checker *c, uint64_t entry)
{
	uint64_t offset, length;

	if (entry & QCOW2_COPIED) {
		qcow2_say(c,
			  "error: a compressed cluster is marked as one to "
			  "write in place (%#llx)",
			  (unsigned long long)entry);
		c->other_errors++;
	}
	qcow2_packed_place(c->q, entry, &offset, &length);
	qcow2_count(c, offset, length, QCOW2_USE_OTHER, "compressed data");
}

static void qcow2_count_entry(struct qcow2_checker *c, uint64_t entry,
			      bool active)
{
	uint64_t at = entry & QCOW2_OFFSET_MASK;

	if (active && entry && (at || entry & QCOW2_COMPRESSED))
		c->allocated++;
	if (entry & QCOW2_COMPRESSED) {
		qcow2_count_packed(c, entry);
		return;
	}
	if (entry & QCOW2_L2_RESERVED) {
		qcow2_say(c, "error: L2 entry %#llx has bits that mean nothing",
			  (unsigned long long)entry);
		c->other_errors++;
	}
	if (at && qcow2_check_aligned(c, at, "data"))
		qcow2_count(c, at, c->q->cluster_size, QCOW2_USE_OTHER, "data");
}

static int qcow2_count_table(struct qcow2_checker *c, uint64_t at, bool active)
{
	struct qcow2 *q = c->q;
	uint64_t *l2 = malloc(q->cluster_size);
	unsigned step = 1u << (q->entry_shift - 3);
	int rc = l2 ? block_read(q->b->file, l2, at, q->cluster_size) : -ENOMEM;

	for (uint32_t i = 0; !rc && i < 1u << q->l2_bits; i++)
		qcow2_count_entry(c, be64toh(l2[i * step]), active);
	free(l2);
	return rc;
}

/* An L1 table and all below it. */
static int qcow2_count_l1(struct qcow2_checker *c, uint64_t offset,
			  uint32_t size, bool active)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = 8ull * size;
	uint64_t *l1;
	int rc;

	if (!qcow2_check_aligned(c, offset, "an L1 table"))
		return 0;
	if (!qcow2_count(c, offset, bytes, QCOW2_USE_OTHER, "an L1 table"))
		return 0;
	l1 = malloc(bytes + 8);
	rc = l1 ? block_read(q->b->file, l1, offset, bytes) : -ENOMEM;
	for (uint32_t i = 0; !rc && i < size; i++) {
		uint64_t entry = be64toh(l1[i]), at = entry & QCOW2_OFFSET_MASK;

		if (entry & QCOW2_L1_RESERVED) {
			qcow2_say(c,
				  "error: L1 entry %#llx has bits that mean "
				  "nothing",
				  (unsigned long long)entry);
			c->other_errors++;
		}
		if (!at || !qcow2_check_aligned(c, at, "an L2 table"))
			continue;
		qcow2_count(c, at, q->cluster_size, QCOW2_USE_TABLE,
			    "an L2 table");
		if (qcow2_cluster(q, at) < c->clusters)
			rc = qcow2_count_table(c, at, active);
	}
	free(l1);
	return rc;
}

static int qcow2_count_snapshots(struct qcow2_checker *c)
{
	struct qcow2 *q = c->q;
	size_t bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; i < q->h.nb_snapshots; i++)
		bytes += qcow2_snapshot_bytes(&q->snapshots[i]);
	if (bytes)
		qcow2_count(c, q->h.snapshots_offset, bytes, QCOW2_USE_OTHER,
			    "the snapshot table");
	for (uint32_t i = 0; !rc && i < q->h.nb_snapshots; i++)
		rc = qcow2_count_l1(c, q->snapshots[i].l1_offset,
				    q->snapshots[i].l1_size, false);
	return rc;
}

/* --- Bitmaps: "Bitmaps", "Bitmap directory", "Bitmap table" ----------------
 */

#define QCOW2_BITMAP_DIR_MAX   (1u << 20)
#define QCOW2_BITMAP_TABLE_MAX (1u << 20) /* entries */

static int qcow2_count_bitmap(struct qcow2_checker *c, uint64_t offset,
			      uint32_t size)
{
	uint64_t *table;
	int rc;

	if (size > QCOW2_BITMAP_TABLE_MAX ||
	    !qcow2_check_aligned(c, offset, "a bitmap's table"))
		return 0;
	if (!qcow2_count(c, offset, 8ull * size, QCOW2_USE_OTHER,
			 "a bitmap's table"))
		return 0;
	table = malloc(8ull * size + 8);
	rc = table ? block_read(c->q->b->file, table, offset, 8ull * size)
		   : -ENOMEM;
	for (uint32_t i = 0; !rc && i < size; i++) {
		uint64_t at = be64toh(table[i]) & QCOW2_OFFSET_MASK;

		if (at && qcow2_check_aligned(c, at, "a bitmap"))
			qcow2_count(c, at, c->q->cluster_size, QCOW2_USE_OTHER,
				    "a bitmap");
	}
	free(table);
	return rc;
}

static uint64_t qcow2_check_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static int qcow2_count_bitmaps(struct qcow2_checker *c)
{
	const struct qcow2_header *h = &c->q->h;
	uint64_t len = h->bitmaps.dir_size, at = 0;
	uint8_t *p;
	int rc;

	if (!h->bitmaps.count || !(h->autoclear & QCOW2_BITMAPS))
		return 0;
	if (len > QCOW2_BITMAP_DIR_MAX ||
	    !qcow2_check_aligned(c, h->bitmaps.dir_offset, "the bitmaps"))
		return 0;
	if (!qcow2_count(c, h->bitmaps.dir_offset, len, QCOW2_USE_OTHER,
			 "the bitmap directory"))
		return 0;
	p = malloc(len + 1);
	rc = p ? block_read(c->q->b->file, p, h->bitmaps.dir_offset, len)
	       : -ENOMEM;
	for (uint32_t i = 0; !rc && i < h->bitmaps.count && at + 24 <= len;
	     i++) {
		rc = qcow2_count_bitmap(
			c, qcow2_check_be(p + at, 8),
			(uint32_t)qcow2_check_be(p + at + 8, 4));
		at += (24 + qcow2_check_be(p + at + 18, 2) +
		       qcow2_check_be(p + at + 20, 4) + 7) &
		      ~7ull;
	}
	free(p);
	return rc;
}

/* --- Refcounts ------------------------------------------------------------ */

static void qcow2_count_block(struct qcow2_checker *c, uint64_t at, int delta)
{
	uint64_t i = qcow2_cluster(c->q, at);

	if (delta > 0)
		qcow2_count(c, at, c->q->cluster_size, QCOW2_USE_OTHER,
			    "a refcount block");
	else if (i < c->clusters && c->counts[i])
		c->counts[i]--;
}

int qcow2_count_refcounts(struct qcow2_checker *c, int delta)
{
	struct qcow2 *q = c->q;
	uint64_t first = qcow2_cluster(q, q->h.reftable_offset);

	for (uint64_t i = 0; i < q->h.reftable_clusters; i++)
		qcow2_count_block(c, (first + i) << q->cluster_bits, delta);
	for (uint32_t i = 0; i < q->reftable_size; i++) {
		uint64_t at = q->reftable[i];

		if (!at)
			continue;
		if (!(at & (q->cluster_size - 1)) &&
		    qcow2_cluster(q, at) < c->clusters) {
			qcow2_count_block(c, at, delta);
		} else if (delta > 0) {
			qcow2_say(c,
				  "error: entry %u of the refcount table is "
				  "no place of a block (%#llx)",
				  i, (unsigned long long)at);
			c->refcount_errors++;
		}
	}
	return 0;
}

static void qcow2_compare(struct qcow2_checker *c, uint64_t cluster,
			  uint64_t stored)
{
	uint64_t found = cluster < c->clusters ? c->counts[cluster] : 0;

	if (stored == 1 && cluster < c->clusters)
		c->kinds[cluster] |= QCOW2_IS_ONE;
	if (stored == found)
		return;
	qcow2_say(c,
		  "%s: cluster %#llx has refcount %llu, and %llu refer to "
		  "it",
		  stored < found ? "error" : "leak",
		  (unsigned long long)cluster, (unsigned long long)stored,
		  (unsigned long long)found);
	if (stored < found)
		c->refcount_errors++;
	else
		c->leaks++;
}

static int qcow2_compare_block(struct qcow2_checker *c, uint64_t i,
			       uint8_t *block)
{
	struct qcow2 *q = c->q;
	uint64_t at = i < q->reftable_size ? q->reftable[i] : 0;
	uint64_t per = 1ull << q->rb_bits;
	bool there = at && !(at & (q->cluster_size - 1)) &&
		     qcow2_cluster(q, at) < c->clusters;
	int rc;

	if (!there && i << q->rb_bits >= c->clusters)
		return 0;
	memset(block, 0, q->cluster_size);
	rc = there ? block_read(q->b->file, block, at, q->cluster_size) : 0;
	for (uint64_t k = 0; !rc && k < per; k++)
		qcow2_compare(
			c, (i << q->rb_bits) + k,
			qcow2_refcount_field(block, k, q->h.refcount_order));
	return rc;
}

static int qcow2_compare_all(struct qcow2_checker *c)
{
	struct qcow2 *q = c->q;
	uint64_t blocks = (c->clusters >> q->rb_bits) + 1;
	uint8_t *block = malloc(q->cluster_size);
	int rc = block ? 0 : -ENOMEM;

	if (blocks < q->reftable_size)
		blocks = q->reftable_size;
	for (uint64_t i = 0; !rc && i < blocks; i++)
		rc = qcow2_compare_block(c, i, block);
	free(block);
	return rc;
}

/* --- All of it ------------------------------------------------------------ */

static void *qcow2_checker_array(uint64_t bytes)
{
	void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void qcow2_checker_free(struct qcow2_checker *c)
{
	if (c->counts)
		munmap(c->counts, c->clusters * sizeof(*c->counts));
	if (c->kinds)
		munmap(c->kinds, c->clusters);
	c->counts = NULL;
	c->kinds = NULL;
}

static int qcow2_checker_count(struct qcow2_checker *c)
{
	struct qcow2 *q = c->q;
	int rc;

	qcow2_count(c, 0, q->cluster_size, QCOW2_USE_OTHER, "the header");
	rc = qcow2_count_l1(c, q->h.l1_offset, q->h.l1_size, true);
	if (!rc)
		rc = qcow2_count_snapshots(c);
	if (!rc)
		rc = qcow2_count_bitmaps(c);
	if (!rc)
		rc = qcow2_count_refcounts(c, 1);
	if (!rc)
		rc = qcow2_compare_all(c);
	if (!rc)
		rc = qcow2_repair_copied(c, false);
	return rc;
}

int qcow2_checker_run(struct qcow2_checker *c, struct err *err)
{
	struct qcow2 *q = c->q;
	int rc;

	c->clusters = qcow2_clusters(q, atomic_load(&q->b->file->size));
	c->counts = qcow2_checker_array(c->clusters * sizeof(*c->counts));
	c->kinds = qcow2_checker_array(c->clusters);
	if (!c->counts || !c->kinds)
		rc = -ENOMEM;
	else
		rc = qcow2_checker_count(c);
	if (rc)
		return err_set(err, -rc, "%s: cannot be checked: %s",
			       q->b->path, strerror(-rc));
	return 0;
}

static int qcow2_mend(struct qcow2_checker *c, unsigned repair,
		      struct block_check *out)
{
	int rc = 0;

	if (repair >= 2 && c->refcount_errors) {
		rc = qcow2_repair_counts(c);
		if (!rc) {
			out->fixed_errors += c->refcount_errors;
			out->fixed_leaks += c->leaks;
			c->refcount_errors = c->leaks = 0;
		}
	}
	if (!rc && repair >= 1 && c->leaks) {
		rc = qcow2_repair_leaks(c, &out->fixed_leaks);
		c->leaks -= out->fixed_leaks;
	}
	if (!rc && (c->copied_errors || out->fixed_errors || out->fixed_leaks))
		rc = qcow2_repair_copied(c, true);
	if (!rc) {
		out->fixed_errors += c->copied_errors - c->copied_left;
		c->copied_errors = c->copied_left;
	}
	return rc;
}

/* The marks go when nothing is left that they stand for. */
static int qcow2_unmark(struct qcow2_checker *c)
{
	struct qcow2 *q = c->q;
	uint64_t marks = QCOW2_DIRTY | QCOW2_CORRUPT;

	if (c->refcount_errors + c->copied_errors + c->other_errors ||
	    !(q->h.incompatible & marks))
		return 0;
	q->h.incompatible &= ~marks;
	return qcow2_header_features(q);
}

static int qcow2_check_locked(struct qcow2 *q, unsigned repair,
			      struct block_check *out, FILE *report,
			      struct err *err)
{
	struct qcow2_checker c = { .q = q, .report = report };
	int rc = qcow2_checker_run(&c, err);

	memset(out, 0, sizeof(*out));
	if (!rc && repair) {
		rc = qcow2_mend(&c, repair, out);
		if (!rc)
			rc = block_flush(q->b->file);
		if (!rc)
			rc = repair >= 2 ? qcow2_unmark(&c) : 0;
		if (rc)
			err_set(err, -rc, "%s: cannot be repaired: %s",
				q->b->path, strerror(-rc));
	}
	out->errors = c.refcount_errors + c.copied_errors + c.other_errors;
	out->leaks = c.leaks;
	out->allocated_clusters = c.allocated;
	out->total_clusters = qcow2_clusters(q, q->h.size);
	qcow2_checker_free(&c);
	return rc;
}

int qcow2_check(struct block *b, unsigned repair, struct block_check *out,
		FILE *report, struct err *err)
{
	struct qcow2 *q = b->opaque;
	bool writes = !b->readonly && !atomic_load(&q->broken);
	int rc = 0;

	if (repair && b->readonly)
		return err_set(err, EROFS, "%s: opened read-only", b->path);
	qcow2_freeze(q);
	if (writes)
		rc = qcow2_commit_frozen(q);
	if (rc)
		err_set(err, -rc, "%s: %s", b->path, strerror(-rc));
	else
		rc = qcow2_check_locked(q, repair, out, report, err);
	if (repair) /* what is in memory may be out of date */
		atomic_store(&q->broken, true);
	qcow2_thaw(q);
	return rc;
}

int qcow2_recover(struct qcow2 *q, struct err *err)
{
	struct block_check out;
	uint64_t size;
	int rc;

	pthread_mutex_lock(&q->lock);
	rc = qcow2_check_locked(q, 2, &out, NULL, err);
	if (!rc && out.errors)
		rc = err_set(err, EIO,
			     "%s: was not closed cleanly, and has errors that "
			     "counting anew does not mend; see `hostel disk "
			     "check`",
			     q->b->path);
	if (!rc) {
		qcow2_refcount_free(q);
		rc = qcow2_refcount_init(q, err);
	}
	size = atomic_load(&q->b->file->size);
	q->fresh = qcow2_clusters(q, size);
	atomic_store(&q->end, q->fresh << q->cluster_bits);
	for (uint32_t i = 0; !rc && i < q->h.l1_size; i++) {
		uint64_t be;

		rc = block_read(q->b->file, &be, q->h.l1_offset + 8ull * i, 8);
		atomic_store(&q->l1[i], be64toh(be));
	}
	pthread_mutex_unlock(&q->lock);
	return rc;
}
