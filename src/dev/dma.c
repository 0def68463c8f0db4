/* dma.c - a guest's buffer in pieces. */
#include "dev/dma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DMA_FIRST 16 /* pieces */
#define DMA_KEEP  256

void dma_init(struct dma *d, struct mem *mem)
{
	memset(d, 0, sizeof(*d));
	d->mem = mem;
}

void dma_free(struct dma *d)
{
	free(d->iov);
	free(d->gpa);
	dma_init(d, d->mem);
}

void dma_clear(struct dma *d)
{
	if (d->capacity > DMA_KEEP)
		dma_free(d);
	d->count = 0;
	d->length = 0;
}

static int dma_grow(struct dma *d)
{
	unsigned n = d->capacity ? d->capacity * 2 : DMA_FIRST;
	struct iovec *iov;
	uint64_t *gpa;

	if (d->count == DMA_PIECES_MAX)
		return -E2BIG;
	iov = realloc(d->iov, n * sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	d->iov = iov;
	gpa = realloc(d->gpa, n * sizeof(*gpa));
	if (!gpa)
		return -ENOMEM;
	d->gpa = gpa;
	d->capacity = n;
	return 0;
}

/* Does a piece at gpa, host, go on where the last one ends? */
static bool dma_joins(const struct dma *d, uint64_t gpa, const void *host)
{
	const struct iovec *last;

	if (!d->count)
		return false;
	last = &d->iov[d->count - 1];
	return d->gpa[d->count - 1] + last->iov_len == gpa &&
	       (char *)last->iov_base + last->iov_len == host;
}

int dma_add(struct dma *d, uint64_t gpa, uint64_t length)
{
	void *host;
	int rc;

	if (!length)
		return 0;
	host = mem_host(d->mem, gpa, length);
	if (!host)
		return -EFAULT;
	if (dma_joins(d, gpa, host)) {
		d->iov[d->count - 1].iov_len += length;
		d->length += length;
		return 0;
	}
	rc = d->count < d->capacity ? 0 : dma_grow(d);
	if (rc || d->count == DMA_PIECES_MAX)
		return rc ? rc : -E2BIG;
	d->iov[d->count] = (struct iovec){ host, length };
	d->gpa[d->count++] = gpa;
	d->length += length;
	return 0;
}

void dma_clip(struct dma *d, uint64_t length)
{
	uint64_t at = 0;

	if (d->length <= length)
		return;
	for (unsigned i = 0; i < d->count; i++) {
		uint64_t len = d->iov[i].iov_len;

		if (at + len >= length) {
			d->iov[i].iov_len = length - at;
			d->count = length == at ? i : i + 1;
		}
		at += len;
	}
	d->length = length;
}

/* What dma_read() and dma_write() do to one stretch of a piece. */
typedef void dma_fn(struct dma *d, uint64_t gpa, void *host, uint64_t len,
		    void *opaque);

static uint64_t dma_each(struct dma *d, uint64_t offset, uint64_t len,
			 dma_fn *fn, void *opaque)
{
	char *buf = opaque;
	uint64_t done = 0;

	for (unsigned i = 0; i < d->count && done < len; i++) {
		uint64_t n = d->iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n = n - offset < len - done ? n - offset : len - done;
		fn(d, d->gpa[i] + offset, (char *)d->iov[i].iov_base + offset,
		   n, buf);
		if (buf)
			buf += n;
		done += n;
		offset = 0;
	}
	return done;
}

static void dma_from(struct dma *d, uint64_t gpa, void *host, uint64_t len,
		     void *opaque)
{
	memcpy(opaque, host, len);
}

static void dma_to(struct dma *d, uint64_t gpa, void *host, uint64_t len,
		   void *opaque)
{
	memcpy(host, opaque, len);
	mem_written(d->mem, gpa, len);
}

static void dma_mark(struct dma *d, uint64_t gpa, void *host, uint64_t len,
		     void *opaque)
{
	mem_written(d->mem, gpa, len);
}

uint64_t dma_read(const struct dma *d, uint64_t offset, void *buf, uint64_t len)
{
	return dma_each((struct dma *)d, offset, len, dma_from, buf);
}

uint64_t dma_write(struct dma *d, uint64_t offset, const void *buf,
		   uint64_t len)
{
	return dma_each(d, offset, len, dma_to, (void *)buf);
}

void dma_written(struct dma *d, uint64_t len)
{
	dma_each(d, 0, len, dma_mark, NULL);
}
