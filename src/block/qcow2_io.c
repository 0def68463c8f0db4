/*
 * qcow2_io.c - the guest's requests: read, write, flush, map.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/iov.h"

#define QCOW2_PIECES 64 /* of an iovec at once, on the stack */

int qcow2_file_rw(struct qcow2 *q, bool write, const struct iovec *iov,
		  int iovcnt, uint64_t skip, uint64_t host, uint64_t length,
		  unsigned flags)
{
	struct iovec part[QCOW2_PIECES];

	while (length) {
		size_t got;
		int rc, n = iov_slice(part, QCOW2_PIECES, iov, iovcnt, skip,
				      length, &got);

		rc = write ? block_writev(q->b->file, part, n, host, got, flags)
			   : block_readv(q->b->file, part, n, host, got, flags);
		if (rc)
			return rc;
		skip += got;
		host += got;
		length -= got;
	}
	return 0;
}

/* --- Reading -------------------------------------------------------------- */

/* What this image does not hold: the backing file's, zeroes behind its end. */
static int qcow2_read_hole(struct qcow2 *q, const struct iovec *iov, int iovcnt,
			   uint64_t skip, uint64_t offset, uint64_t length,
			   unsigned flags)
{
	struct block *backing = q->b->backing;
	uint64_t size = backing ? atomic_load(&backing->size) : 0;
	uint64_t n = offset < size ? size - offset : 0;
	struct iovec part[QCOW2_PIECES];

	n = n < length ? n : length;
	iov_zero(iov, iovcnt, skip + n, length - n);
	while (n) {
		size_t got;
		int rc, count = iov_slice(part, QCOW2_PIECES, iov, iovcnt, skip,
					  n, &got);

		rc = block_readv(backing, part, count, offset, got, flags);
		if (rc)
			return rc;
		skip += got;
		offset += got;
		n -= got;
	}
	return 0;
}

static int qcow2_read_extent(struct qcow2 *q, const struct qcow2_extent *e,
			     const struct iovec *iov, int iovcnt, uint64_t skip,
			     uint64_t offset, unsigned flags)
{
	switch (e->kind) {
	case QCOW2_HOLE:
		return qcow2_read_hole(q, iov, iovcnt, skip, offset, e->length,
				       flags);
	case QCOW2_ZEROES:
		iov_zero(iov, iovcnt, skip, e->length);
		return 0;
	case QCOW2_DATA:
		return qcow2_file_rw(q, false, iov, iovcnt, skip, e->host,
				     e->length, flags);
	case QCOW2_PACKED:
		if (flags & BLOCK_NOWAIT)
			return -EAGAIN;
		return qcow2_read_packed(q, e->entry, iov, iovcnt, skip, offset,
					 e->length);
	}
	return -EIO;
}

static int qcow2_read_pinned(struct qcow2 *q, const struct iovec *iov,
			     int iovcnt, uint64_t offset, uint64_t length,
			     unsigned flags)
{
	struct qcow2_extent e;

	for (uint64_t at = 0; at < length; at += e.length) {
		int rc = qcow2_lookup(q, offset + at, length - at, flags, &e);

		if (!rc)
			rc = qcow2_read_extent(q, &e, iov, iovcnt, at,
					       offset + at, flags);
		if (rc)
			return rc;
	}
	return 0;
}

int qcow2_read_buf(struct qcow2 *q, void *buf, uint64_t offset, uint64_t length)
{
	struct iovec iov = { buf, length };

	return qcow2_read_pinned(q, &iov, 1, offset, length, 0);
}

int qcow2_read(struct block *b, const struct iovec *iov, int iovcnt,
	       uint64_t offset, uint64_t length, unsigned flags)
{
	struct qcow2 *q = b->opaque;
	int rc, pin = qcow2_pin(q, flags);

	if (pin < 0)
		return pin;
	rc = qcow2_read_pinned(q, iov, iovcnt, offset, length, flags);
	qcow2_unpin(q, pin);
	return rc;
}

/* --- Writing -------------------------------------------------------------- */

static int qcow2_write_in_place(struct qcow2 *q, const struct qcow2_extent *e,
				const struct iovec *iov, int iovcnt,
				uint64_t skip, unsigned flags)
{
	uint64_t first = qcow2_cluster(q, e->host);
	uint64_t last = qcow2_cluster(q, e->host + e->length - 1);

	if (qcow2_is_metadata(q, first, last - first + 1))
		return qcow2_broken(q,
				    "an L2 entry names metadata (%#llx) as "
				    "a place for data",
				    (unsigned long long)e->host);
	return qcow2_file_rw(q, true, iov, iovcnt, skip, e->host, e->length,
			     flags);
}

static int qcow2_write_packed_iov(struct qcow2 *q, const struct iovec *iov,
				  int iovcnt, uint64_t skip, uint64_t offset,
				  uint64_t length)
{
	void *buf = malloc(length);
	int rc;

	if (!buf)
		return -ENOMEM;
	iov_to_buf(iov, iovcnt, skip, buf, length);
	rc = qcow2_write_packed(q, buf, offset);
	free(buf);
	return rc;
}

/* BLOCK_COMPRESS asks, for whole clusters; 1: as any other data. */
static int qcow2_try_packed(struct qcow2 *q, const struct iovec *iov,
			    int iovcnt, uint64_t skip, uint64_t offset,
			    uint64_t length, uint64_t *done)
{
	uint64_t size = atomic_load(&q->b->size);

	*done = q->cluster_size;
	if (*done > size - offset)
		*done = size - offset;
	if (offset & (q->cluster_size - 1) || length < *done)
		return 1;
	return qcow2_write_packed_iov(q, iov, iovcnt, skip, offset, *done);
}

/* A prefix of what is left; *done: how much. */
static int qcow2_write_some(struct qcow2 *q, const struct iovec *iov,
			    int iovcnt, uint64_t skip, uint64_t offset,
			    uint64_t length, unsigned flags, uint64_t *done)
{
	struct qcow2_extent e;
	int rc;

	if (flags & BLOCK_COMPRESS) {
		rc = qcow2_try_packed(q, iov, iovcnt, skip, offset, length,
				      done);
		if (rc <= 0)
			return rc;
	}
	rc = qcow2_lookup(q, offset, length, flags, &e);
	if (rc)
		return rc;
	*done = e.length;
	if (e.kind == QCOW2_DATA && e.writable)
		return qcow2_write_in_place(q, &e, iov, iovcnt, skip,
					    flags & BLOCK_NOWAIT);
	return qcow2_write_alloc(q, iov, iovcnt, skip, offset, e.length, flags,
				 done);
}

static bool qcow2_too_dirty(struct qcow2 *q)
{
	bool yes;

	pthread_mutex_lock(&q->lock);
	yes = q->dirty_count > QCOW2_DIRTY_MAX && !q->committing;
	pthread_mutex_unlock(&q->lock);
	return yes;
}

int qcow2_write(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length, unsigned flags)
{
	struct qcow2 *q = b->opaque;
	uint64_t done;
	bool in_place = flags & BLOCK_NOWAIT;
	int pin, rc = 0;

	if (atomic_load(&q->broken))
		return -EIO;
	pin = qcow2_pin(q, flags);
	if (pin < 0)
		return pin;
	for (uint64_t at = 0; !rc && at < length; at += done)
		rc = qcow2_write_some(q, iov, iovcnt, at, offset + at,
				      length - at, flags, &done);
	qcow2_unpin(q, pin);
	if (!rc && !in_place && qcow2_too_dirty(q))
		rc = qcow2_commit(q);
	return rc;
}

int qcow2_flush(struct block *b)
{
	return qcow2_commit(b->opaque);
}

/* --- Where it lies -------------------------------------------------------- */

static int qcow2_map_hole(struct qcow2 *q, uint64_t offset, bool for_write,
			  unsigned flags, struct block_extent *out)
{
	struct block *backing = q->b->backing;
	uint64_t size = backing ? atomic_load(&backing->size) : 0;
	uint64_t length = out->length;
	int rc;

	out->type = BLOCK_EXTENT_HOLE;
	if (for_write || offset >= size)
		return 0;
	length = length < size - offset ? length : size - offset;
	rc = block_map(backing, offset, length, false, flags, out);
	out->depth++;
	return rc;
}

static int qcow2_map_data(struct qcow2 *q, const struct qcow2_extent *e,
			  bool for_write, unsigned flags,
			  struct block_extent *out)
{
	uint64_t size = atomic_load(&q->b->file->size);
	uint64_t first = qcow2_cluster(q, e->host), length = e->length;
	uint64_t last = qcow2_cluster(q, e->host + e->length - 1);
	int rc;

	out->type = BLOCK_EXTENT_DATA;
	if (for_write &&
	    (!e->writable || qcow2_is_metadata(q, first, last - first + 1)))
		return 0;
	/* What lies behind the file's end is zeroes, but not to a reader. */
	if (e->host >= size)
		return 0;
	length = length < size - e->host ? length : size - e->host;
	rc = block_map(q->b->file, e->host, length, for_write, flags, out);
	/* A hole in the file is ours, and zeroes, for all above. */
	if (out->type != BLOCK_EXTENT_DATA)
		out->type = BLOCK_EXTENT_ZERO;
	out->depth = 0;
	return rc;
}

static int qcow2_map_pinned(struct qcow2 *q, uint64_t offset, uint64_t length,
			    bool for_write, unsigned flags,
			    struct block_extent *out)
{
	struct qcow2_extent e;
	int rc = qcow2_lookup(q, offset, length, flags, &e);

	if (rc)
		return rc;
	out->length = e.length;
	out->fd = -1;
	out->depth = 0;
	switch (e.kind) {
	case QCOW2_HOLE:
		return qcow2_map_hole(q, offset, for_write, flags, out);
	case QCOW2_ZEROES:
		out->type = BLOCK_EXTENT_ZERO;
		return 0;
	case QCOW2_PACKED:
		out->type = BLOCK_EXTENT_DATA;
		return 0;
	case QCOW2_DATA:
		return qcow2_map_data(q, &e, for_write, flags, out);
	}
	return -EIO;
}

int qcow2_map(struct block *b, uint64_t offset, uint64_t length, bool for_write,
	      unsigned flags, struct block_extent *out)
{
	struct qcow2 *q = b->opaque;
	int rc, pin;

	if (for_write && atomic_load(&q->broken))
		return -EIO;
	pin = qcow2_pin(q, flags);
	if (pin < 0)
		return pin;
	rc = qcow2_map_pinned(q, offset, length, for_write, flags, out);
	if (rc || out->fd < 0 || out->depth)
		qcow2_unpin(q, pin);
	else
		out->pin = pin;
	return rc;
}

void qcow2_map_done(struct block *b, const struct block_extent *e)
{
	struct block_extent below = *e;

	if (e->depth) {
		below.depth--;
		block_map_done(b->backing, &below);
		return;
	}
	block_map_done(b->file, e);
	qcow2_unpin(b->opaque, e->pin);
}
