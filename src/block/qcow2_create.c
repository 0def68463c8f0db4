/*
 * qcow2_create.c - new images.
 *
 * The empty image is laid out at once, front to back:
 *
 *	header | refcount table | refcount block(s) | L1 table
 *
 * and, for thick disks, filled by the same code that a guest's writes take.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QCOW2_DEFAULT_BITS 16

static int qcow2_create_bits(const struct block_create *how, unsigned *bits,
			     struct err *err)
{
	uint32_t size = how->cluster_size;

	*bits = QCOW2_DEFAULT_BITS;
	if (!size)
		return 0;
	if (size & (size - 1) || size < 1u << QCOW2_MIN_BITS ||
	    size > 1u << QCOW2_MAX_BITS)
		return err_set(err, EINVAL,
			       "a cluster has 512 bytes to 2 MiB, a power of "
			       "two, not %u",
			       size);
	*bits = (unsigned)__builtin_ctz(size);
	return 0;
}

static int qcow2_create_features(const struct block_create *how,
				 struct qcow2_header *h, struct err *err)
{
	unsigned width = how->refcount_bits ? how->refcount_bits : 16;

	h->version = 3;
	if (how->variant && !strcmp(how->variant, "v2"))
		h->version = 2;
	else if (how->variant && strcmp(how->variant, "v3"))
		return err_set(err, EINVAL,
			       "qcow2 has the variants v2 and v3, "
			       "not '%.32s'",
			       how->variant);
	if (width & (width - 1) || width > 64)
		return err_set(err, EINVAL,
			       "refcounts have 1, 2, 4, 8, 16, 32 "
			       "or 64 bits, not %u",
			       width);
	h->refcount_order = (uint32_t)__builtin_ctz(width);
	if (how->lazy_refcounts)
		h->compatible |= QCOW2_LAZY;
	if (how->compression && !strcmp(how->compression, "zstd")) {
		h->compression = QCOW2_ZSTD;
		h->incompatible |= QCOW2_COMPRESSION;
	} else if (how->compression && strcmp(how->compression, "zlib")) {
		return err_set(err, EINVAL,
			       "qcow2 is compressed with zlib or "
			       "zstd, not '%.32s'",
			       how->compression);
	}
	if (h->version == 2 && (width != 16 || h->compatible || h->compression))
		return err_set(
			err, EINVAL,
			"version 2 of qcow2 has neither "
			"other refcounts than of 16 bits, nor lazy ones, "
			"nor zstd; use v3");
	return 0;
}

/* How much the first tables must count, themselves included. */
struct qcow2_layout {
	uint64_t reftable_clusters, blocks, l1_clusters;
};

static void qcow2_layout(const struct qcow2_header *h, uint64_t data,
			 struct qcow2_layout *l)
{
	unsigned rb_bits = h->cluster_bits + 3 - h->refcount_order;
	uint64_t size = 1ull << h->cluster_bits;

	*l = (struct qcow2_layout){ 1, 1, 1 };
	l->l1_clusters = (8ull * h->l1_size + size - 1) >> h->cluster_bits;
	for (;;) {
		uint64_t used =
			1 + l->reftable_clusters + l->blocks + l->l1_clusters;
		/* The table has room for all that the disk may hold. */
		uint64_t all = used + data + (data >> 3) + 1;
		uint64_t entries = (all >> rb_bits) + 1;
		uint64_t table = (8 * entries + size - 1) >> h->cluster_bits;

		if (table << h->cluster_bits > QCOW2_MAX_REFTABLE)
			table = QCOW2_MAX_REFTABLE >> h->cluster_bits;
		if (used <= l->blocks << rb_bits &&
		    table <= l->reftable_clusters)
			return;
		if (used > l->blocks << rb_bits)
			l->blocks++;
		if (table > l->reftable_clusters)
			l->reftable_clusters = table;
	}
}

static int qcow2_layout_write(struct block *file, const struct qcow2_header *h,
			      const struct qcow2_layout *l)
{
	size_t size = 1u << h->cluster_bits;
	uint64_t used = 1 + l->reftable_clusters + l->blocks + l->l1_clusters;
	unsigned rb_bits = h->cluster_bits + 3 - h->refcount_order;
	uint64_t block = (1 + l->reftable_clusters) * size;
	uint64_t *table = calloc(l->reftable_clusters, size);
	uint8_t *counts = calloc(l->blocks, size);
	int rc = table && counts ? 0 : -ENOMEM;

	for (uint64_t i = 0; !rc && i < l->blocks; i++)
		table[i] = htobe64(block + i * size);
	for (uint64_t i = 0; !rc && i < used; i++)
		qcow2_refcount_put(counts + (i >> rb_bits) * size,
				   i & ((1ull << rb_bits) - 1),
				   h->refcount_order, 1);
	if (!rc)
		rc = block_write(file, table, size,
				 l->reftable_clusters * size);
	if (!rc)
		rc = block_write(file, counts, block, l->blocks * size);
	/* The L1 table: zeroes. */
	if (!rc)
		rc = block_resize(file, used * size, NULL);
	free(table);
	free(counts);
	return rc;
}

/* "Feature name table": so that others can say what they do not know. */
static int qcow2_feature_names(struct qcow2_header *h)
{
	static const struct {
		uint8_t type, bit;
		const char *name;
	} names[] = {
		{ 0, 0, "dirty bit" },
		{ 0, 1, "corrupt bit" },
		{ 0, 2, "external data file" },
		{ 0, 3, "compression type" },
		{ 0, 4, "extended L2 entries" },
		{ 1, 0, "lazy refcounts" },
		{ 2, 0, "bitmaps" },
		{ 2, 1, "raw external data" },
	};
	const unsigned n = sizeof(names) / sizeof(names[0]);
	uint32_t head[2] = { htobe32(QCOW2_EXT_FEATURE_NAMES),
			     htobe32(n * 48) };
	uint8_t *p;

	/* With small clusters the name of a backing file needs the room. */
	if (h->version < 3 || h->cluster_bits < 12)
		return 0;
	p = calloc(1, sizeof(head) + n * 48);
	if (!p)
		return -ENOMEM;
	memcpy(p, head, sizeof(head));
	for (unsigned i = 0; i < n; i++) {
		uint8_t *e = p + sizeof(head) + 48 * i;

		e[0] = names[i].type;
		e[1] = names[i].bit;
		memcpy(e + 2, names[i].name, strlen(names[i].name));
	}
	h->extensions = p;
	h->extensions_len = sizeof(head) + n * 48;
	return 0;
}

static int qcow2_create_header(const struct block_create *how,
			       struct qcow2_header *h, struct err *err)
{
	unsigned bits;
	uint64_t l1;
	int rc = qcow2_create_bits(how, &h->cluster_bits, err);

	if (!rc)
		rc = qcow2_create_features(how, h, err);
	if (rc)
		return rc;
	bits = 2 * h->cluster_bits - 3;
	l1 = (how->size >> bits) + !!(how->size & ((1ull << bits) - 1));
	if (l1 > QCOW2_MAX_L1 / 8)
		return err_set(err, EFBIG,
			       "the disk is too large for clusters "
			       "of %u bytes; take larger ones",
			       1u << h->cluster_bits);
	h->size = how->size;
	h->l1_size = (uint32_t)(l1 ? l1 : 1);
	h->backing = how->backing ? strdup(how->backing) : NULL;
	h->backing_format = how->backing && how->backing_format
				    ? strdup(how->backing_format)
				    : NULL;
	rc = qcow2_feature_names(h);
	return rc ? err_set(err, ENOMEM, "out of memory") : 0;
}

static int qcow2_create_empty(struct block *file,
			      const struct block_create *how, struct err *err)
{
	struct qcow2_header h = { 0 };
	struct qcow2_layout l;
	int rc = qcow2_create_header(how, &h, err);

	if (!rc) {
		uint64_t size = 1ull << h.cluster_bits;

		qcow2_layout(&h, how->size >> h.cluster_bits, &l);
		h.reftable_offset = size;
		h.reftable_clusters = (uint32_t)l.reftable_clusters;
		h.l1_offset = (1 + l.reftable_clusters + l.blocks) * size;
		rc = qcow2_layout_write(file, &h, &l);
		if (rc)
			err_set(err, -rc, "cannot write: %s", strerror(-rc));
	}
	if (!rc)
		rc = qcow2_header_write(file, &h, err);
	qcow2_header_free(&h);
	return rc;
}

/* --- Thick disks ---------------------------------------------------------- */

static int qcow2_fill_host(struct block *file, uint64_t first, uint64_t bytes,
			   enum block_prealloc how)
{
	static const char zeroes[1 << 16];
	uint64_t size = atomic_load(&file->size);
	int rc = 0;

	if (how == BLOCK_PREALLOC_METADATA)
		return size < first + bytes
			       ? block_resize(file, first + bytes, NULL)
			       : 0;
	rc = block_allocate(file, first, bytes);
	if (how == BLOCK_PREALLOC_FALLOC ? rc != -EOPNOTSUPP
					 : rc && rc != -EOPNOTSUPP)
		return rc;
	for (uint64_t at = 0; at < bytes; at += sizeof(zeroes)) {
		uint64_t n = bytes - at;

		rc = block_write(file, zeroes, first + at,
				 n < sizeof(zeroes) ? n : sizeof(zeroes));
		if (rc)
			return rc;
	}
	return 0;
}

/* Allocates [offset, ...) up to the end of the slice; *done: how much. */
static int qcow2_fill_some(struct qcow2 *q, uint64_t offset, uint64_t *done,
			   enum block_prealloc how)
{
	uint64_t left = qcow2_clusters(q, q->h.size - offset);
	uint64_t in = qcow2_cluster(q, offset) & (qcow2_slice_entries(q) - 1);
	uint64_t first, got;
	struct qcow2_slice *s;
	bool fresh;
	int rc;

	if (left > qcow2_slice_entries(q) - in)
		left = qcow2_slice_entries(q) - in;
	do {
		rc = qcow2_slice_for_write(q, offset, &s);
	} while (rc > 0);
	while (!rc) {
		rc = qcow2_alloc(q, left, &first, &got, &fresh);
		if (rc == -EAGAIN)
			rc = 0;
		else
			break;
	}
	if (!rc)
		rc = qcow2_fill_host(q->b->file, first << q->cluster_bits,
				     got << q->cluster_bits, how);
	for (uint64_t i = 0; !rc && i < got; i++)
		qcow2_entry_set(q, s, offset + (i << q->cluster_bits),
				(first + i) << q->cluster_bits | QCOW2_COPIED);
	*done = got << q->cluster_bits;
	return rc;
}

static int qcow2_fill(struct block *b, const struct block_create *how)
{
	struct qcow2 *q = b->opaque;
	uint64_t done;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < how->size; at += done) {
		pthread_mutex_lock(&q->lock);
		rc = qcow2_fill_some(q, at, &done, how->prealloc);
		pthread_mutex_unlock(&q->lock);
		if (!rc && q->dirty_count > 1024)
			rc = qcow2_commit(q);
		if (!rc && how->progress &&
		    how->progress(how->opaque, at, how->size))
			rc = -ECANCELED;
	}
	return rc ? rc : qcow2_commit(q);
}

static int qcow2_create_thick(struct block *file,
			      const struct block_create *how, struct err *err)
{
	struct block b = { .file = file, .path = file->path };
	struct block_open open = { .path = how->path, .no_backing = true };
	int rc = block_qcow2.open(&b, &open, err);

	if (rc)
		return rc;
	rc = qcow2_fill(&b, how);
	block_qcow2.ops->close(&b);
	return rc ? err_set(err, -rc, "cannot allocate %llu bytes: %s",
			    (unsigned long long)how->size, strerror(-rc))
		  : 0;
}

int qcow2_create(struct block *file, const struct block_create *how,
		 struct err *err)
{
	int rc;

	if (how->backing && how->prealloc > BLOCK_PREALLOC_METADATA)
		return err_set(err, EINVAL,
			       "a disk with a backing file cannot "
			       "be thick: it would hide the backing file");
	rc = qcow2_create_empty(file, how, err);
	if (rc || how->prealloc == BLOCK_PREALLOC_OFF || how->backing)
		return rc;
	return qcow2_create_thick(file, how, err);
}
