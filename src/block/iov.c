/* iov.c - see iov.h. */
#include "block/iov.h"

#include <string.h>

size_t iov_length(const struct iovec *iov, int iovcnt)
{
	size_t n = 0;

	for (int i = 0; i < iovcnt; i++)
		n += iov[i].iov_len;
	return n;
}

int iov_slice(struct iovec *out, int max, const struct iovec *iov, int iovcnt,
	      size_t offset, size_t length, size_t *got)
{
	int n = 0;

	*got = 0;
	for (int i = 0; i < iovcnt && n < max && *got < length; i++) {
		size_t len = iov[i].iov_len;

		if (offset >= len) {
			offset -= len;
			continue;
		}
		len -= offset;
		if (len > length - *got)
			len = length - *got;
		out[n].iov_base = (char *)iov[i].iov_base + offset;
		out[n++].iov_len = len;
		*got += len;
		offset = 0;
	}
	return n;
}

#define IOV_PARTS 16

/* Calls one of the copies for each piece of the range. */
static void iov_each(const struct iovec *iov, int iovcnt, size_t offset,
		     size_t length,
		     void (*fn)(void *piece, char *buf, size_t n), void *buf)
{
	struct iovec part[IOV_PARTS];
	char *at = buf;
	size_t got;

	for (; length; offset += got, length -= got) {
		int n = iov_slice(part, IOV_PARTS, iov, iovcnt, offset, length,
				  &got);

		if (!n)
			return;
		for (int i = 0; i < n; i++) {
			fn(part[i].iov_base, at, part[i].iov_len);
			if (buf)
				at += part[i].iov_len;
		}
	}
}

static void iov_copy_out(void *piece, char *buf, size_t n)
{
	memcpy(buf, piece, n);
}

static void iov_copy_in(void *piece, char *buf, size_t n)
{
	memcpy(piece, buf, n);
}

static void iov_clear(void *piece, char *buf, size_t n)
{
	memset(piece, 0, n);
}

void iov_to_buf(const struct iovec *iov, int iovcnt, size_t offset, void *buf,
		size_t length)
{
	iov_each(iov, iovcnt, offset, length, iov_copy_out, buf);
}

void iov_from_buf(const struct iovec *iov, int iovcnt, size_t offset,
		  const void *buf, size_t length)
{
	iov_each(iov, iovcnt, offset, length, iov_copy_in, (void *)buf);
}

void iov_zero(const struct iovec *iov, int iovcnt, size_t offset, size_t length)
{
	iov_each(iov, iovcnt, offset, length, iov_clear, NULL);
}
