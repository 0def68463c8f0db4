/*
 * qcow2.c - opening and closing; qcow2.h tells how it works.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static int qcow2_probe(const void *head, size_t len)
{
	static const uint8_t magic[4] = { 'Q', 'F', 'I', 0xfb };

	return len >= 8 && !memcmp(head, magic, sizeof(magic)) ? 100 : 0;
}

int qcow2_broken(struct qcow2 *q, const char *fmt, ...)
{
	static struct log_rate rate;
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!atomic_exchange(&q->broken, true) || log_rate_ok(&rate))
		log_error("%s: broken qcow2 image: %s; see `hostel disk check`",
			  q->b->path, what);
	if (!q->b->readonly && q->h.version >= 3 &&
	    !(q->h.incompatible & QCOW2_CORRUPT)) {
		q->h.incompatible |= QCOW2_CORRUPT;
		qcow2_header_features(q);
	}
	return -EIO;
}

/* --- Opening -------------------------------------------------------------- */

static void qcow2_geometry(struct qcow2 *q)
{
	unsigned max;

	q->cluster_bits = q->h.cluster_bits;
	q->cluster_size = 1u << q->cluster_bits;
	q->entry_shift = q->h.incompatible & QCOW2_SUBCLUSTERS ? 4 : 3;
	q->l2_bits = q->cluster_bits - q->entry_shift;
	max = 12 - q->entry_shift; /* slices of 4 KiB */
	q->slice_bits = q->l2_bits < max ? q->l2_bits : max;
	q->rb_bits = q->cluster_bits + 3 - q->h.refcount_order;
}

static int qcow2_l1_read(struct qcow2 *q, struct err *err)
{
	uint64_t bytes = 8ull * q->h.l1_size;
	int rc;

	if (q->h.l1_offset > atomic_load(&q->end) ||
	    bytes > atomic_load(&q->end) - q->h.l1_offset)
		return err_set(err, EIO,
			       "%s: broken qcow2 image: its L1 table lies "
			       "outside the file; see `hostel disk check`",
			       q->b->path);
	rc = qcow2_cache_init(q);
	if (!rc)
		rc = block_read(q->b->file, (void *)q->l1, q->h.l1_offset,
				bytes);
	if (rc)
		return err_set(err, -rc, "%s: cannot read the L1 table: %s",
			       q->b->path, strerror(-rc));
	for (uint32_t i = 0; i < q->h.l1_size; i++)
		atomic_store(&q->l1[i], be64toh(atomic_load(&q->l1[i])));
	return 0;
}

static int qcow2_reftable_inside(struct qcow2 *q, struct err *err)
{
	uint64_t bytes = (uint64_t)q->h.reftable_clusters << q->cluster_bits;
	uint64_t end = atomic_load(&q->end);

	if (q->h.reftable_offset < end && bytes <= end - q->h.reftable_offset)
		return 0;
	return err_set(err, EIO,
		       "%s: broken qcow2 image: its refcount table lies "
		       "outside the file; see `hostel disk check`",
		       q->b->path);
}

static int qcow2_refuse_writing(struct qcow2 *q, struct err *err)
{
	if (q->h.incompatible & QCOW2_CORRUPT)
		return err_set(err, EIO,
			       "%s: marked as broken; only read-only until "
			       "`hostel disk repair`",
			       q->b->path);
	if (q->h.incompatible & QCOW2_SUBCLUSTERS)
		return err_set(err, EROFS,
			       "%s: images with subclusters can only be read; "
			       "convert it, or use it read-only",
			       q->b->path);
	return 0;
}

/* What a writer needs beyond a reader. */
static int qcow2_open_writing(struct qcow2 *q, struct err *err)
{
	int rc = qcow2_refuse_writing(q, err);

	if (!rc && q->h.incompatible & QCOW2_DIRTY)
		rc = qcow2_recover(q, err);
	if (!rc)
		rc = qcow2_metadata_build(q, err);
	if (rc || !q->h.autoclear)
		return rc;
	/* Bitmaps and all that we do not keep up to date. */
	q->h.autoclear = 0;
	rc = qcow2_header_features(q);
	return rc ? err_set(err, -rc, "%s: cannot write the header: %s",
			    q->b->path, strerror(-rc))
		  : 0;
}

static int qcow2_open_tables(struct qcow2 *q, struct err *err)
{
	uint64_t size = atomic_load(&q->b->file->size);
	int rc;

	atomic_store(&q->end, qcow2_clusters(q, size) << q->cluster_bits);
	q->fresh = qcow2_clusters(q, size);
	rc = qcow2_l1_read(q, err);
	if (!rc)
		rc = qcow2_reftable_inside(q, err);
	if (!rc)
		rc = qcow2_refcount_init(q, err);
	if (!rc)
		rc = qcow2_snapshots_read(q, err);
	return rc;
}

static void qcow2_free(struct qcow2 *q)
{
	qcow2_reclaim(q);
	qcow2_cache_free(q);
	qcow2_refcount_free(q);
	qcow2_snapshots_free(q);
	qcow2_ccache_clear(q);
	qcow2_header_free(&q->h);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->ccache_lock);
	pthread_cond_destroy(&q->changed);
	free(q);
}

static int qcow2_open_backing(struct qcow2 *q, const struct block_open *how,
			      struct err *err)
{
	if (!q->h.backing || !q->h.backing[0] || how->no_backing)
		return 0;
	return block_open_backing(q->b, how, q->h.backing, q->h.backing_format,
				  err);
}

static int qcow2_open(struct block *b, const struct block_open *how,
		      struct err *err)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int rc;

	if (!q)
		return err_set(err, ENOMEM, "%s: out of memory", how->path);
	q->b = b;
	q->discard = how->discard;
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->ccache_lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	rc = qcow2_header_read(b->file, &q->h, b->path, err);
	if (!rc) {
		qcow2_geometry(q);
		b->opaque = q;
		atomic_store(&b->size, q->h.size);
		rc = qcow2_open_tables(q, err);
	}
	if (!rc && !b->readonly && !how->repair)
		rc = qcow2_open_writing(q, err);
	if (how->repair)
		atomic_store(&q->broken, true); /* only the check may write */
	if (!rc)
		rc = qcow2_open_backing(q, how, err);
	if (rc)
		qcow2_free(q);
	return rc;
}

/* Behind the last commit: nothing is written that was not asked for. */
static void qcow2_close(struct block *b)
{
	struct qcow2 *q = b->opaque;
	uint64_t end = atomic_load(&q->end);
	int rc = 0;

	if (!b->readonly && !atomic_load(&q->broken)) {
		qcow2_freeze(q);
		/* Other programs expect whole clusters. */
		if (atomic_load(&b->file->size) < end)
			rc = block_resize(b->file, end, NULL);
		if (!rc && qcow2_is_dirty(q))
			rc = qcow2_commit_frozen(q);
		qcow2_thaw(q);
		if (rc)
			log_error("%s: cannot write what was not flushed: %s",
				  b->path, strerror(-rc));
	}
	qcow2_free(q);
}

static int qcow2_info(struct block *b, struct block_info *out)
{
	struct qcow2 *q = b->opaque;
	struct block_info file;
	int rc = block_get_info(b->file, &file);

	out->allocated = file.allocated;
	out->cluster_size = q->cluster_size;
	out->backing = q->h.backing ? strdup(q->h.backing) : NULL;
	out->backing_format =
		q->h.backing_format ? strdup(q->h.backing_format) : NULL;
	snprintf(out->detail, sizeof(out->detail),
		 "version %u, %u-bit refcounts, compression %s%s%s%s%s%s",
		 q->h.version, 1u << q->h.refcount_order,
		 q->h.compression == QCOW2_ZSTD ? "zstd" : "zlib",
		 q->h.compatible & QCOW2_LAZY ? ", lazy refcounts" : "",
		 q->h.incompatible & QCOW2_SUBCLUSTERS ? ", subclusters" : "",
		 q->h.bitmaps.count ? ", bitmaps" : "",
		 q->h.incompatible & QCOW2_DIRTY ? ", not closed cleanly" : "",
		 q->h.incompatible & QCOW2_CORRUPT ? ", marked as broken" : "");
	return rc;
}

static const struct block_ops qcow2_ops = {
	.name = "qcow2",
	.read = qcow2_read,
	.write = qcow2_write,
	.zero = qcow2_zero,
	.discard = qcow2_discard,
	.flush = qcow2_flush,
	.map = qcow2_map,
	.map_done = qcow2_map_done,
	.resize = qcow2_resize,
	.info = qcow2_info,
	.check = qcow2_check,
	.snapshot_list = qcow2_snapshot_list,
	.snapshot_create = qcow2_snapshot_create,
	.snapshot_apply = qcow2_snapshot_apply,
	.snapshot_delete = qcow2_snapshot_delete,
	.set_backing = qcow2_set_backing,
	.close = qcow2_close,
};

const struct block_format block_qcow2 = {
	.ops = &qcow2_ops,
	.probe = qcow2_probe,
	.open = qcow2_open,
	.create = qcow2_create,
};
