/*
 * raw.c - the disk's bytes as they are, in a file or on a block device.
 *
 * A file whose length is no multiple of a sector reads as zeroes up to the
 * sector's end.
 *
 * Where nobody said "raw" and only the content suggested it, the guest must
 * not write a first sector that would make the file another format the next
 * time: an image's header may name any file of the host as its backing file.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/format.h"
#include "block/iov.h"

#define RAW_CHUNK (1u << 20)

struct raw {
	bool guessed; /* nobody named the format */
};

static int raw_probe(const void *head, size_t len)
{
	return 1; /* if nothing else fits */
}

static int raw_open(struct block *b, const struct block_open *how,
		    struct err *err)
{
	uint64_t size = atomic_load(&b->file->size);
	struct raw *raw = calloc(1, sizeof(*raw));

	if (!raw)
		return err_set(err, ENOMEM, "out of memory");
	raw->guessed = !how->format;
	b->opaque = raw;
	atomic_store(&b->size,
		     (size + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull));
	return 0;
}

static int raw_read(struct block *b, const struct iovec *iov, int iovcnt,
		    uint64_t offset, uint64_t length, unsigned flags)
{
	return block_readv(b->file, iov, iovcnt, offset, length, flags);
}

/* May these bytes be the beginning of a disk? */
static bool raw_head_allowed(struct block *b, const struct iovec *iov,
			     int iovcnt, uint64_t offset, uint64_t length)
{
	const struct raw *raw = b->opaque;
	uint8_t head[BLOCK_SECTOR] = { 0 };
	uint64_t n = BLOCK_SECTOR - offset;

	if (!raw->guessed)
		return true;
	if ((offset || length < BLOCK_SECTOR) &&
	    block_read(b->file, head, 0, BLOCK_SECTOR))
		return false;
	iov_to_buf(iov, iovcnt, 0, head + offset, length < n ? length : n);
	return format_probe(head, sizeof(head)) == &block_raw;
}

static int raw_write(struct block *b, const struct iovec *iov, int iovcnt,
		     uint64_t offset, uint64_t length, unsigned flags)
{
	if (offset < BLOCK_SECTOR) {
		if (flags & BLOCK_NOWAIT)
			return -EAGAIN;
		if (!raw_head_allowed(b, iov, iovcnt, offset, length))
			return -EPERM;
	}
	return block_writev(b->file, iov, iovcnt, offset, length, flags);
}

static int raw_zero(struct block *b, uint64_t offset, uint64_t length,
		    unsigned flags)
{
	return block_zero(b->file, offset, length, flags);
}

static int raw_discard(struct block *b, uint64_t offset, uint64_t length)
{
	return block_discard(b->file, offset, length);
}

static int raw_flush(struct block *b)
{
	return block_flush(b->file);
}

static int raw_map(struct block *b, uint64_t offset, uint64_t length,
		   bool for_write, unsigned flags, struct block_extent *out)
{
	const struct raw *raw = b->opaque;

	if (for_write && raw->guessed && offset < BLOCK_SECTOR)
		return 0; /* through raw_write() */
	return block_map(b->file, offset, length, for_write, flags, out);
}

static void raw_map_done(struct block *b, const struct block_extent *e)
{
	block_map_done(b->file, e);
}

static int raw_resize(struct block *b, uint64_t size, struct err *err)
{
	int rc;

	if (size % BLOCK_SECTOR)
		return err_set(err, EINVAL,
			       "%s: a disk's size is a multiple of %d bytes",
			       b->path, BLOCK_SECTOR);
	rc = block_resize(b->file, size, err);
	if (rc == 0)
		atomic_store(&b->size, size);
	return rc;
}

static int raw_info(struct block *b, struct block_info *out)
{
	struct block_info file;
	int rc = block_get_info(b->file, &file);

	out->allocated = file.allocated;
	return rc;
}

static int raw_allocate(struct block *b, uint64_t offset, uint64_t length)
{
	return block_allocate(b->file, offset, length);
}

static void raw_close(struct block *b)
{
	free(b->opaque);
}

static const struct block_ops raw_ops = {
	.name = "raw",
	.fua = true,
	.read = raw_read,
	.write = raw_write,
	.zero = raw_zero,
	.discard = raw_discard,
	.flush = raw_flush,
	.map = raw_map,
	.map_done = raw_map_done,
	.resize = raw_resize,
	.info = raw_info,
	.allocate = raw_allocate,
	.close = raw_close,
};

/* --- Making one ----------------------------------------------------------- */

/* Thick, eagerly zeroed: every byte is written, so that no later write waits
 * for the host to find space or to clear it. */
static int raw_fill(struct block *file, const struct block_create *how)
{
	void *zeroes = calloc(1, RAW_CHUNK);
	int rc = zeroes ? 0 : -ENOMEM;

	for (uint64_t at = 0; rc == 0 && at < how->size;) {
		uint64_t n = how->size - at;

		n = n < RAW_CHUNK ? n : RAW_CHUNK;
		rc = block_write(file, zeroes, at, n);
		at += n;
		if (rc == 0 && how->progress &&
		    how->progress(how->opaque, at, how->size))
			rc = -ECANCELED;
	}
	free(zeroes);
	return rc;
}

static int raw_create(struct block *file, const struct block_create *how,
		      struct err *err)
{
	bool full = how->prealloc == BLOCK_PREALLOC_FULL;
	int rc = block_resize(file, how->size, err);

	if (rc < 0)
		return rc;
	if (full || how->prealloc == BLOCK_PREALLOC_FALLOC)
		rc = block_allocate(file, 0, how->size);
	/* Where the host cannot reserve, writing is the only way. */
	if (full ? rc == 0 || rc == -EOPNOTSUPP : rc == -EOPNOTSUPP)
		rc = raw_fill(file, how);
	return rc ? err_set(err, -rc, "cannot allocate %llu bytes: %s",
			    (unsigned long long)how->size, strerror(-rc))
		  : 0;
}

const struct block_format block_raw = {
	.ops = &raw_ops,
	.probe = raw_probe,
	.open = raw_open,
	.create = raw_create,
};
