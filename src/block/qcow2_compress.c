/*
 * qcow2_compress.c - clusters packed with zlib (raw deflate) or zstd.
 *
 * Packed clusters lie back to back, several in one host cluster, whose
 * refcount is how many of them it holds parts of.  They are read whole and a
 * few are kept unpacked, since guests read them in small pieces.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "block/iov.h"

/* The window that the format's writers use: 4 KiB, no header. */
#define QCOW2_WINDOW (-12)

/* --- Unpacking ------------------------------------------------------------ */

static int qcow2_inflate(void *to, size_t to_len, const void *from,
			 size_t from_len)
{
	z_stream z = { .next_in = (void *)from,
		       .avail_in = (unsigned)from_len,
		       .next_out = to,
		       .avail_out = (unsigned)to_len };
	int rc;

	if (inflateInit2(&z, QCOW2_WINDOW) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* What follows in the last sector is not of this stream. */
	if (z.avail_out || (rc != Z_STREAM_END && rc != Z_BUF_ERROR))
		return -EIO;
	return 0;
}

static int qcow2_unzstd(void *to, size_t to_len, const void *from,
			size_t from_len)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_outBuffer out = { to, to_len, 0 };
	ZSTD_inBuffer in = { from, from_len, 0 };
	size_t rc = 1;

	if (!d)
		return -ENOMEM;
	while (out.pos < out.size && in.pos < in.size) {
		rc = ZSTD_decompressStream(d, &out, &in);
		if (ZSTD_isError(rc) || rc == 0)
			break;
	}
	ZSTD_freeDCtx(d);
	return ZSTD_isError(rc) || out.pos < out.size ? -EIO : 0;
}

static int qcow2_unpack(struct qcow2 *q, uint64_t entry, uint8_t **out)
{
	uint64_t offset, length;
	uint8_t *from, *to;
	int rc;

	qcow2_packed_place(q, entry, &offset, &length);
	if (offset >= atomic_load(&q->end) || length > 2ull * q->cluster_size)
		return qcow2_broken(q,
				    "the place of a compressed cluster "
				    "(%#llx) is impossible",
				    (unsigned long long)entry);
	from = malloc(length);
	to = malloc(q->cluster_size);
	rc = from && to ? block_read(q->b->file, from, offset, length)
			: -ENOMEM;
	if (!rc)
		rc = q->h.compression == QCOW2_ZSTD
			     ? qcow2_unzstd(to, q->cluster_size, from, length)
			     : qcow2_inflate(to, q->cluster_size, from, length);
	free(from);
	if (rc) {
		free(to);
		return rc;
	}
	*out = to;
	return 0;
}

/* --- The few that are kept ------------------------------------------------ */

static bool qcow2_ccache_get(struct qcow2 *q, uint64_t entry,
			     const struct iovec *iov, int iovcnt, uint64_t skip,
			     uint64_t in, uint64_t length)
{
	bool found = false;

	pthread_mutex_lock(&q->ccache_lock);
	for (int i = 0; i < QCOW2_CCACHE && !found; i++) {
		if (!q->ccache[i].data || q->ccache[i].entry != entry)
			continue;
		iov_from_buf(iov, iovcnt, skip, q->ccache[i].data + in, length);
		found = true;
	}
	pthread_mutex_unlock(&q->ccache_lock);
	return found;
}

/* data is ours from now on. */
static void qcow2_ccache_put(struct qcow2 *q, uint64_t entry, uint8_t *data)
{
	unsigned i;

	pthread_mutex_lock(&q->ccache_lock);
	i = q->ccache_next++ % QCOW2_CCACHE;
	free(q->ccache[i].data);
	q->ccache[i].data = data;
	q->ccache[i].entry = entry;
	pthread_mutex_unlock(&q->ccache_lock);
}

void qcow2_ccache_clear(struct qcow2 *q)
{
	pthread_mutex_lock(&q->ccache_lock);
	for (int i = 0; i < QCOW2_CCACHE; i++) {
		free(q->ccache[i].data);
		q->ccache[i].data = NULL;
	}
	pthread_mutex_unlock(&q->ccache_lock);
}

int qcow2_read_packed(struct qcow2 *q, uint64_t entry, const struct iovec *iov,
		      int iovcnt, uint64_t skip, uint64_t offset,
		      uint64_t length)
{
	uint64_t in = offset & (q->cluster_size - 1);
	uint8_t *data = NULL;
	int rc;

	if (qcow2_ccache_get(q, entry, iov, iovcnt, skip, in, length))
		return 0;
	rc = qcow2_unpack(q, entry, &data);
	if (rc)
		return rc;
	iov_from_buf(iov, iovcnt, skip, data + in, length);
	/*
	 * Our pin keeps the cluster from being freed, and a free clears what
	 * is kept; so this is not stale.
	 */
	qcow2_ccache_put(q, entry, data);
	return 0;
}

/* --- Packing -------------------------------------------------------------- */

/* 0: it does not shrink. */
static size_t qcow2_deflate(void *to, size_t cap, const void *from, size_t len)
{
	z_stream z = { .next_in = (void *)from,
		       .avail_in = (unsigned)len,
		       .next_out = to,
		       .avail_out = (unsigned)cap };
	int rc;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, QCOW2_WINDOW, 9,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	rc = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return rc == Z_STREAM_END ? cap - z.avail_out : 0;
}

static size_t qcow2_pack(const struct qcow2 *q, void *to, size_t cap,
			 const void *from)
{
	size_t n;

	if (q->h.compression == QCOW2_ZLIB)
		return qcow2_deflate(to, cap, from, q->cluster_size);
	n = ZSTD_compress(to, cap, from, q->cluster_size, ZSTD_CLEVEL_DEFAULT);
	return ZSTD_isError(n) ? 0 : n;
}

/*
 * lock held: the place for `bytes`: behind what was packed last, where its
 * host cluster has room or the next one is free; else in a new one.
 */
static int qcow2_packed_alloc(struct qcow2 *q, uint64_t bytes, uint64_t *out)
{
	uint64_t mask = q->cluster_size - 1, first, got;
	uint64_t room = -q->packed & mask;
	bool fresh;
	int rc;

	if (bytes > room) {
		rc = qcow2_alloc(q, 1, &first, &got, &fresh);
		if (rc)
			return rc;
		first <<= q->cluster_bits;
		if (!room || first != q->packed + room) {
			q->packed = first;
			room = 0;
		}
	}
	/* The cluster it begins in, if that one held others already. */
	if (room) {
		rc = qcow2_refcount_add(q, qcow2_cluster(q, q->packed), 1);
		if (rc) {
			if (bytes > room)
				qcow2_alloc_undo(q, qcow2_cluster(q, first), 1);
			q->packed = 0;
			return rc;
		}
	}
	*out = q->packed;
	q->packed += bytes;
	return 0;
}

static uint64_t qcow2_packed_entry(const struct qcow2 *q, uint64_t offset,
				   uint64_t bytes)
{
	unsigned x = 62 - (q->cluster_bits - 8);
	uint64_t sectors = ((offset + bytes - 1) >> 9) - (offset >> 9);

	return QCOW2_COMPRESSED | sectors << x | offset;
}

static int qcow2_packed_place_new(struct qcow2 *q, uint64_t bytes,
				  uint64_t *out)
{
	int rc;

	do {
		rc = qcow2_packed_alloc(q, bytes, out);
		/* Too many in one cluster for a narrow refcount: the next. */
	} while (rc == -EAGAIN || rc == -EOVERFLOW);
	if (!rc && *out >> (62 - (q->cluster_bits - 8)))
		return -EFBIG;
	return rc;
}

/* lock held: enters the packed cluster where the guest's is. */
static int qcow2_packed_enter(struct qcow2 *q, uint64_t offset, uint64_t entry)
{
	uint64_t cluster = qcow2_cluster(q, offset), old;
	struct qcow2_slice *s;
	int rc;

	do {
		rc = qcow2_inflight_wait(q, cluster, 1);
		if (!rc)
			rc = qcow2_slice_for_write(q, offset, &s);
	} while (rc > 0);
	if (rc)
		return rc;
	old = qcow2_entry(q, s, offset);
	qcow2_entry_set(q, s, offset, entry);
	qcow2_free_entry(q, old);
	return 0;
}

static int qcow2_packed_store(struct qcow2 *q, const void *data, uint64_t bytes,
			      uint64_t offset)
{
	uint64_t at;
	int rc;

	pthread_mutex_lock(&q->lock);
	rc = qcow2_packed_place_new(q, bytes, &at);
	pthread_mutex_unlock(&q->lock);
	if (rc)
		return rc;
	rc = block_write(q->b->file, data, at, bytes);
	if (rc)
		return rc; /* the place is leaked */
	pthread_mutex_lock(&q->lock);
	rc = qcow2_packed_enter(q, offset, qcow2_packed_entry(q, at, bytes));
	pthread_mutex_unlock(&q->lock);
	return rc;
}

int qcow2_write_packed(struct qcow2 *q, const void *data, uint64_t offset)
{
	uint64_t length = atomic_load(&q->b->size) - offset;
	uint8_t *whole = calloc(1, q->cluster_size);
	uint8_t *to = malloc(q->cluster_size);
	size_t n = 0;
	int rc = -ENOMEM;

	if (whole && to) {
		memcpy(whole, data,
		       length < q->cluster_size ? length : q->cluster_size);
		n = qcow2_pack(q, to, q->cluster_size - 1, whole);
		rc = n ? qcow2_packed_store(q, to, n, offset) : 1;
	}
	free(whole);
	free(to);
	return rc;
}
