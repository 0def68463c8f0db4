/*
 * qcow2_header.c - the header and its extensions: untrusted bytes checked
 * once, so that the rest may take every field for sane.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QCOW2_V2_LENGTH  72
#define QCOW2_V3_LENGTH  104
#define QCOW2_OUR_LENGTH 112 /* with the compression type, padded */
#define QCOW2_NAME_MAX   1023
#define QCOW2_FORMAT_MAX 64
#define QCOW2_EXTENSIONS 65536 /* bytes of them that we keep */

static uint32_t qcow2_get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t qcow2_get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void qcow2_put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void qcow2_put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static void qcow2_header_parse(struct qcow2_header *h, const uint8_t *p)
{
	h->version = qcow2_get32(p + 4);
	h->backing_offset = qcow2_get64(p + 8);
	h->backing_size = qcow2_get32(p + 16);
	h->cluster_bits = qcow2_get32(p + 20);
	h->size = qcow2_get64(p + 24);
	h->crypt_method = qcow2_get32(p + 32);
	h->l1_size = qcow2_get32(p + 36);
	h->l1_offset = qcow2_get64(p + 40);
	h->reftable_offset = qcow2_get64(p + 48);
	h->reftable_clusters = qcow2_get32(p + 56);
	h->nb_snapshots = qcow2_get32(p + 60);
	h->snapshots_offset = qcow2_get64(p + 64);
	h->refcount_order = 4;
	h->header_length = QCOW2_V2_LENGTH;
	if (h->version < 3)
		return;
	h->incompatible = qcow2_get64(p + 72);
	h->compatible = qcow2_get64(p + 80);
	h->autoclear = qcow2_get64(p + 88);
	h->refcount_order = qcow2_get32(p + 96);
	h->header_length = qcow2_get32(p + 100);
	if (h->header_length > QCOW2_V3_LENGTH)
		h->compression = p[104];
}

static int qcow2_header_features_ok(const struct qcow2_header *h,
				    const char *path, struct err *err)
{
	if (h->crypt_method)
		return err_set(err, ENOTSUP,
			       "%s: encrypted images are not supported; "
			       "convert it without encryption",
			       path);
	if (h->incompatible & QCOW2_EXTERNAL)
		return err_set(err, ENOTSUP,
			       "%s: keeps its data in another file, which is "
			       "not supported; convert it with qemu-img",
			       path);
	if (h->incompatible >> 5)
		return err_set(err, ENOTSUP,
			       "%s: needs features (%#llx) that this version "
			       "does not know",
			       path, (unsigned long long)h->incompatible);
	if (h->compression > QCOW2_ZSTD ||
	    !(h->incompatible & QCOW2_COMPRESSION) != !h->compression)
		return err_set(err, h->compression > QCOW2_ZSTD ? ENOTSUP : EIO,
			       "%s: is compressed in a way (%u) that this "
			       "version does not know",
			       path, h->compression);
	return 0;
}

static int qcow2_header_bad(struct err *err, const char *path, const char *what)
{
	return err_set(err, EIO,
		       "%s: broken qcow2 image: %s is impossible; see "
		       "`hostel disk check`",
		       path, what);
}

static bool qcow2_header_aligned(const struct qcow2_header *h, uint64_t offset)
{
	return !(offset & ((1ull << h->cluster_bits) - 1)) &&
	       offset < 1ull << 56;
}

/* The L1 table must be large enough for the size (the format, "L1 table"). */
static bool qcow2_header_l1_fits(const struct qcow2_header *h)
{
	unsigned shift = h->incompatible & QCOW2_SUBCLUSTERS ? 4 : 3;
	unsigned bits = 2 * h->cluster_bits - shift;
	uint64_t need = (h->size >> bits) + !!(h->size & ((1ull << bits) - 1));

	return h->l1_size >= need && h->l1_size <= QCOW2_MAX_L1 / 8;
}

static int qcow2_header_sane(const struct qcow2_header *h, const char *path,
			     struct err *err)
{
	const char *what = NULL;

	if (h->version < 2 || h->version > 3)
		return err_set(err, ENOTSUP,
			       "%s: qcow version %u is not supported; convert "
			       "it with qemu-img",
			       path, h->version);
	if (h->cluster_bits < QCOW2_MIN_BITS ||
	    h->cluster_bits > QCOW2_MAX_BITS)
		what = "the cluster size";
	else if (h->incompatible & QCOW2_SUBCLUSTERS && h->cluster_bits < 14)
		what = "the cluster size";
	else if (h->version == 3 && (h->header_length < QCOW2_V3_LENGTH ||
				     h->header_length > 1u << h->cluster_bits))
		what = "the length of the header";
	else if (h->refcount_order > 6)
		what = "the width of refcounts";
	else if (h->size > INT64_MAX)
		what = "the size";
	else if (!qcow2_header_l1_fits(h))
		what = "the size of the L1 table";
	else if (!qcow2_header_aligned(h, h->l1_offset) ||
		 (h->l1_size && !h->l1_offset))
		what = "the place of the L1 table";
	else if (!h->reftable_offset ||
		 !qcow2_header_aligned(h, h->reftable_offset))
		what = "the place of the refcount table";
	else if (!h->reftable_clusters ||
		 h->reftable_clusters > QCOW2_MAX_REFTABLE >> h->cluster_bits)
		what = "the size of the refcount table";
	else if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS ||
		 (h->nb_snapshots &&
		  (!h->snapshots_offset ||
		   !qcow2_header_aligned(h, h->snapshots_offset))))
		what = "the snapshot table";
	else if (h->backing_offset &&
		 (h->backing_size > QCOW2_NAME_MAX ||
		  h->backing_offset >
			  (1u << h->cluster_bits) - h->backing_size))
		what = "the name of the backing file";
	return what ? qcow2_header_bad(err, path, what) : 0;
}

/* One extension that is ours to understand; others are kept as they are. */
static int qcow2_extension(struct qcow2_header *h, uint32_t type,
			   const uint8_t *p, uint32_t len, const char *path,
			   struct err *err)
{
	switch (type) {
	case QCOW2_EXT_BACKING_FORMAT:
		if (len > QCOW2_FORMAT_MAX)
			return qcow2_header_bad(err, path,
						"the backing format");
		free(h->backing_format);
		h->backing_format = strndup((const char *)p, len);
		return h->backing_format ? 1 : -ENOMEM;
	case QCOW2_EXT_BITMAPS:
		if (len < 24)
			return qcow2_header_bad(err, path,
						"the bitmap extension");
		h->bitmaps.count = qcow2_get32(p);
		h->bitmaps.dir_size = qcow2_get64(p + 8);
		h->bitmaps.dir_offset = qcow2_get64(p + 16);
		return 0;
	case QCOW2_EXT_ENCRYPTION:
	case QCOW2_EXT_DATA_FILE:
		/* Refused by their feature bits where they matter. */
		return 0;
	}
	return 0;
}

static int qcow2_extensions_keep(struct qcow2_header *h, const uint8_t *p,
				 size_t len)
{
	uint8_t *all = realloc(h->extensions, h->extensions_len + len);

	if (!all)
		return -ENOMEM;
	memcpy(all + h->extensions_len, p, len);
	h->extensions = all;
	h->extensions_len += len;
	return 0;
}

/* "Header extensions": type, length, data padded to 8 bytes. */
static int qcow2_extensions_read(struct qcow2_header *h, const uint8_t *p,
				 size_t len, const char *path, struct err *err)
{
	size_t at = 0;

	while (at + 8 <= len) {
		uint32_t type = qcow2_get32(p + at);
		uint32_t n = qcow2_get32(p + at + 4);
		size_t whole;
		int rc;

		if (type == QCOW2_EXT_END)
			return 0;
		if (n > len - at - 8)
			return qcow2_header_bad(err, path,
						"the length of an extension");
		whole = 8 + (((size_t)n + 7) & ~(size_t)7);
		whole = whole < len - at ? whole : len - at;
		rc = qcow2_extension(h, type, p + at + 8, n, path, err);
		if (rc == 0 && whole % 8 == 0)
			rc = qcow2_extensions_keep(h, p + at, whole);
		if (rc < 0)
			return rc;
		at += whole;
	}
	return 0;
}

/* Extensions and the backing file's name, all in the first cluster. */
static int qcow2_header_rest(struct block *file, struct qcow2_header *h,
			     const char *path, struct err *err)
{
	size_t size = 1u << h->cluster_bits;
	size_t end = h->backing_offset ? h->backing_offset : size;
	uint8_t *p;
	int rc;

	if (end > size)
		end = size;
	if (end > QCOW2_EXTENSIONS)
		end = QCOW2_EXTENSIONS;
	p = calloc(1, size);
	if (!p)
		return err_set(err, ENOMEM, "%s: out of memory", path);
	rc = block_read(file, p, 0, size);
	if (rc)
		err_set(err, -rc, "%s: cannot read: %s", path, strerror(-rc));
	if (!rc && h->header_length < end)
		rc = qcow2_extensions_read(h, p + h->header_length,
					   end - h->header_length, path, err);
	if (!rc && h->backing_offset && h->backing_size) {
		h->backing =
			strndup((char *)p + h->backing_offset, h->backing_size);
		if (!h->backing)
			rc = err_set(err, ENOMEM, "%s: out of memory", path);
	}
	free(p);
	return rc;
}

int qcow2_header_read(struct block *file, struct qcow2_header *h,
		      const char *path, struct err *err)
{
	uint8_t p[BLOCK_SECTOR];
	int rc;

	memset(h, 0, sizeof(*h));
	rc = block_read(file, p, 0, sizeof(p));
	if (rc)
		return err_set(err, -rc, "%s: cannot read: %s", path,
			       strerror(-rc));
	if (qcow2_get32(p) != QCOW2_MAGIC)
		return err_set(err, EINVAL, "%s: not a qcow2 image", path);
	qcow2_header_parse(h, p);
	rc = qcow2_header_sane(h, path, err);
	if (!rc)
		rc = qcow2_header_features_ok(h, path, err);
	if (!rc)
		rc = qcow2_header_rest(file, h, path, err);
	if (rc)
		qcow2_header_free(h);
	return rc;
}

void qcow2_header_free(struct qcow2_header *h)
{
	free(h->backing);
	free(h->backing_format);
	free(h->extensions);
	h->backing = h->backing_format = NULL;
	h->extensions = NULL;
	h->extensions_len = 0;
}

static void qcow2_header_build(const struct qcow2_header *h, uint8_t *p)
{
	qcow2_put32(p, QCOW2_MAGIC);
	qcow2_put32(p + 4, h->version);
	qcow2_put32(p + 20, h->cluster_bits);
	qcow2_put64(p + 24, h->size);
	qcow2_put32(p + 36, h->l1_size);
	qcow2_put64(p + 40, h->l1_offset);
	qcow2_put64(p + 48, h->reftable_offset);
	qcow2_put32(p + 56, h->reftable_clusters);
	qcow2_put32(p + 60, h->nb_snapshots);
	qcow2_put64(p + 64, h->snapshots_offset);
	if (h->version < 3)
		return;
	qcow2_put64(p + 72, h->incompatible);
	qcow2_put64(p + 80, h->compatible);
	qcow2_put64(p + 88, h->autoclear);
	qcow2_put32(p + 96, h->refcount_order);
	qcow2_put32(p + 100, QCOW2_OUR_LENGTH);
	p[104] = h->compression;
}

/* Appends an extension; the new position, or 0 if there is no room. */
static size_t qcow2_extension_put(uint8_t *p, size_t at, size_t size,
				  uint32_t type, const void *data, size_t len)
{
	size_t whole = 8 + ((len + 7) & ~(size_t)7);

	if (!at || at + whole > size)
		return 0;
	qcow2_put32(p + at, type);
	qcow2_put32(p + at + 4, (uint32_t)len);
	if (len)
		memcpy(p + at + 8, data, len);
	return at + whole;
}

static size_t qcow2_header_fill(const struct qcow2_header *h, uint8_t *p,
				size_t size)
{
	size_t at = h->version < 3 ? QCOW2_V2_LENGTH : QCOW2_OUR_LENGTH;
	size_t n = h->backing ? strlen(h->backing) : 0;

	qcow2_header_build(h, p);
	if (h->backing_format)
		at = qcow2_extension_put(p, at, size, QCOW2_EXT_BACKING_FORMAT,
					 h->backing_format,
					 strlen(h->backing_format));
	if (at) {
		if (h->extensions_len > size - at)
			return 0;
		if (h->extensions_len)
			memcpy(p + at, h->extensions, h->extensions_len);
		at += h->extensions_len;
	}
	at = qcow2_extension_put(p, at, size, QCOW2_EXT_END, NULL, 0);
	if (!at || n > size - at)
		return 0;
	if (n) {
		memcpy(p + at, h->backing, n);
		qcow2_put64(p + 8, at);
		qcow2_put32(p + 16, (uint32_t)n);
	}
	return at + n;
}

int qcow2_header_write(struct block *file, const struct qcow2_header *h,
		       struct err *err)
{
	size_t size = 1u << h->cluster_bits;
	uint8_t *p = calloc(1, size);
	int rc;

	if (!p)
		return err_set(err, ENOMEM, "%s: out of memory", file->path);
	if (!qcow2_header_fill(h, p, size)) {
		free(p);
		return err_set(err, ENAMETOOLONG,
			       "%s: the name of the backing file does not fit "
			       "into the header; take a shorter one",
			       file->path);
	}
	rc = block_write(file, p, 0, size);
	free(p);
	if (rc)
		return err_set(err, -rc, "%s: cannot write the header: %s",
			       file->path, strerror(-rc));
	return 0;
}

int qcow2_header_features(struct qcow2 *q)
{
	uint8_t p[24];
	int rc;

	if (q->h.version < 3)
		return 0;
	qcow2_put64(p, q->h.incompatible);
	qcow2_put64(p + 8, q->h.compatible);
	qcow2_put64(p + 16, q->h.autoclear);
	rc = block_write(q->b->file, p, 72, sizeof(p));
	return rc ? rc : block_flush(q->b->file);
}
