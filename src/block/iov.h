/*
 * iov.h - pieces of memory as one run of bytes.
 *
 * Offsets and lengths are bytes in that run; the caller has checked that the
 * run holds them.  Any thread.
 */
#ifndef HOSTEL_BLOCK_IOV_H
#define HOSTEL_BLOCK_IOV_H

#include <stddef.h>
#include <sys/uio.h>

size_t iov_length(const struct iovec *iov, int iovcnt);
/*
 * The pieces of [offset, offset+length), at most `max` of them; returns how
 * many there are, *got how many bytes they hold (less than length if max was
 * too small).
 */
int iov_slice(struct iovec *out, int max, const struct iovec *iov, int iovcnt,
	      size_t offset, size_t length, size_t *got);
void iov_to_buf(const struct iovec *iov, int iovcnt, size_t offset, void *buf,
		size_t length);
void iov_from_buf(const struct iovec *iov, int iovcnt, size_t offset,
		  const void *buf, size_t length);
void iov_zero(const struct iovec *iov, int iovcnt, size_t offset,
	      size_t length);

#endif
