/*
 * qcow2_resize.c - another size, another backing file.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int qcow2_header_update(struct qcow2 *q, struct err *err)
{
	int rc = qcow2_header_write(q->b->file, &q->h, err);

	if (!rc) {
		rc = block_flush(q->b->file);
		if (rc)
			err_set(err, -rc, "%s: %s", q->b->path, strerror(-rc));
	}
	return rc;
}

/* New arrays for a table of `size` entries; the old ones' contents. */
static int qcow2_l1_arrays(struct qcow2 *q, uint32_t size)
{
	_Atomic uint64_t *l1 = calloc(size, sizeof(*l1));
	struct qcow2_slice *_Atomic *_Atomic *dir = calloc(size, sizeof(*dir));
	uint32_t n = size < q->h.l1_size ? size : q->h.l1_size;

	if (!l1 || !dir) {
		free((void *)l1);
		free((void *)dir);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		atomic_store(&l1[i], atomic_load(&q->l1[i]));
		atomic_store(&dir[i], atomic_load(&q->dir[i]));
	}
	free((void *)q->l1);
	free((void *)q->dir);
	q->l1 = l1;
	q->dir = dir;
	return 0;
}

int qcow2_l1_write(struct qcow2 *q, uint64_t offset, const uint64_t *l1,
		   uint32_t size)
{
	uint64_t bytes = qcow2_clusters(q, 8ull * size) << q->cluster_bits;
	uint64_t *be = calloc(1, bytes ? bytes : 8);
	int rc;

	if (!be)
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		be[i] = htobe64(l1[i]);
	rc = block_write(q->b->file, be, offset, bytes);
	free(be);
	return rc;
}

/* Frozen, and nothing dirty: a larger L1 table, elsewhere. */
int qcow2_l1_grow(struct qcow2 *q, uint32_t size, struct err *err)
{
	uint32_t old_size = q->h.l1_size;
	uint64_t old = q->h.l1_offset, first;
	uint64_t count = qcow2_clusters(q, 8ull * size);
	int rc;

	rc = qcow2_alloc_run(q, count, &first);
	if (!rc)
		rc = qcow2_l1_arrays(q, size);
	if (!rc)
		rc = qcow2_l1_write(q, first << q->cluster_bits,
				    (uint64_t *)q->l1, size);
	if (!rc) {
		q->h.l1_size = size;
		rc = qcow2_commit_frozen(q); /* its refcounts; and syncs */
	}
	if (rc)
		return err_set(err, -rc,
			       "%s: cannot write a larger L1 table: "
			       "%s",
			       q->b->path, strerror(-rc));
	q->h.l1_offset = first << q->cluster_bits;
	rc = qcow2_header_update(q, err);
	if (rc) /* which of the two counts is unknown: keep both */
		return rc;
	if (old_size)
		qcow2_free_later(q, qcow2_cluster(q, old),
				 qcow2_clusters(q, 8ull * old_size));
	return 0;
}

/* Gives back what lies behind a new end, and zeroes the last cluster's rest,
 * so that growing again does not show it. */
static int qcow2_cut(struct qcow2 *q, uint64_t size)
{
	uint64_t old = q->h.size;
	uint64_t from = qcow2_clusters(q, size) << q->cluster_bits;
	uint64_t rest = from < old ? from : old;
	int rc = size < rest ? qcow2_zero(q->b, size, rest - size, 0) : 0;

	if (!rc && from < old)
		rc = qcow2_drop(q, from, old);
	return rc ? rc : qcow2_commit(q);
}

static int qcow2_set_size(struct qcow2 *q, uint64_t size, struct err *err)
{
	unsigned bits = q->cluster_bits + q->l2_bits;
	uint64_t l1 = (size >> bits) + !!(size & ((1ull << bits) - 1));
	int rc = qcow2_commit_frozen(q);

	if (rc)
		return err_set(err, -rc, "%s: %s", q->b->path, strerror(-rc));
	if (l1 > QCOW2_MAX_L1 / 8)
		return err_set(err, EFBIG,
			       "%s: too large for clusters of %u "
			       "bytes",
			       q->b->path, q->cluster_size);
	if (l1 > q->h.l1_size)
		rc = qcow2_l1_grow(q, (uint32_t)l1, err);
	if (!rc) {
		q->h.size = size;
		rc = qcow2_header_update(q, err);
	}
	if (!rc) {
		atomic_store(&q->b->size, size);
		rc = qcow2_metadata_build(q, err);
	}
	return rc;
}

/* A longer backing file must not show in what was added. */
static int qcow2_hide_backing(struct qcow2 *q, uint64_t old, uint64_t size)
{
	uint64_t end = q->b->backing ? atomic_load(&q->b->backing->size) : 0;

	end = end < size ? end : size;
	return end > old ? qcow2_zero(q->b, old, end - old, BLOCK_UNMAP) : 0;
}

int qcow2_resize(struct block *b, uint64_t size, struct err *err)
{
	struct qcow2 *q = b->opaque;
	uint64_t old = atomic_load(&b->size);
	int rc = 0;

	if (size % BLOCK_SECTOR)
		return err_set(err, EINVAL,
			       "%s: a disk's size is a multiple of %d bytes",
			       b->path, BLOCK_SECTOR);
	if (atomic_load(&q->broken))
		return err_set(err, EIO, "%s: broken; see `hostel disk check`",
			       b->path);
	if (size < old)
		rc = qcow2_cut(q, size);
	if (rc)
		return err_set(err, -rc, "%s: cannot shrink: %s", b->path,
			       strerror(-rc));
	qcow2_freeze(q);
	rc = qcow2_set_size(q, size, err);
	qcow2_thaw(q);
	if (!rc && size > old) {
		rc = qcow2_hide_backing(q, old, size);
		if (rc)
			err_set(err, -rc, "%s: cannot write zeroes: %s",
				b->path, strerror(-rc));
	}
	return rc;
}

int qcow2_set_backing(struct block *b, const char *file, const char *format,
		      struct err *err)
{
	struct qcow2 *q = b->opaque;
	char *old = q->h.backing, *old_format = q->h.backing_format;
	char *name = file ? strdup(file) : NULL;
	char *fmt = file && format ? strdup(format) : NULL;
	int rc = 0;

	qcow2_freeze(q);
	if ((file && !name) || (file && format && !fmt))
		rc = err_set(err, ENOMEM, "%s: out of memory", b->path);
	if (!rc && file && strlen(file) > 1023)
		rc = err_set(err, ENAMETOOLONG,
			     "%s: a backing file's name has at most 1023 bytes",
			     b->path);
	if (!rc) {
		q->h.backing = name;
		q->h.backing_format = fmt;
		rc = qcow2_header_update(q, err);
	}
	if (rc) {
		q->h.backing = old;
		q->h.backing_format = old_format;
		free(name);
		free(fmt);
	} else {
		free(old);
		free(old_format);
	}
	qcow2_thaw(q);
	return rc;
}
