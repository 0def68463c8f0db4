/*
 * block.c - the way into a node: every offset, length and right is checked
 * here, once, for all formats.
 */
#include "block/block.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static int block_check(const struct block *b, uint64_t offset, uint64_t length)
{
	uint64_t size = b->grows ? INT64_MAX : atomic_load(&b->size);

	return length > size || offset > size - length ? -EINVAL : 0;
}

static int block_check_write(const struct block *b, uint64_t offset,
			     uint64_t length)
{
	return b->readonly ? -EROFS : block_check(b, offset, length);
}

int block_readv(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length, unsigned flags)
{
	int rc = block_check(b, offset, length);

	if (rc || !length)
		return rc;
	if (!b->ops->read)
		return -ENOTSUP;
	return b->ops->read(b, iov, iovcnt, offset, length, flags);
}

/* What a node cannot do by itself: make a write stable. */
static int block_then_flush(struct block *b, int rc, unsigned flags)
{
	return rc == 0 && flags & BLOCK_FUA ? block_flush(b) : rc;
}

int block_writev(struct block *b, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length, unsigned flags)
{
	int rc = block_check_write(b, offset, length);

	if (rc || !length)
		return rc;
	if (!b->ops->write)
		return -ENOTSUP;
	if (b->writethrough)
		flags |= BLOCK_FUA;
	if (b->ops->fua || !(flags & BLOCK_FUA))
		return b->ops->write(b, iov, iovcnt, offset, length, flags);
	if (flags & BLOCK_NOWAIT)
		return -EAGAIN; /* the flush would block */
	rc = b->ops->write(b, iov, iovcnt, offset, length, flags & ~BLOCK_FUA);
	return block_then_flush(b, rc, flags);
}

int block_zero(struct block *b, uint64_t offset, uint64_t length,
	       unsigned flags)
{
	int rc = block_check_write(b, offset, length);

	if (rc || !length)
		return rc;
	if (!b->ops->zero)
		return -ENOTSUP;
	if (b->writethrough)
		flags |= BLOCK_FUA;
	if (flags & BLOCK_FUA && flags & BLOCK_NOWAIT)
		return -EAGAIN;
	rc = b->ops->zero(b, offset, length, flags & ~BLOCK_FUA);
	return block_then_flush(b, rc, flags);
}

int block_discard(struct block *b, uint64_t offset, uint64_t length)
{
	int rc = block_check_write(b, offset, length);

	if (rc || !length || !b->ops->discard)
		return rc;
	return b->ops->discard(b, offset, length);
}

int block_flush(struct block *b)
{
	return b->ops->flush && !b->readonly ? b->ops->flush(b) : 0;
}

int block_read(struct block *b, void *buf, uint64_t offset, uint64_t length)
{
	struct iovec iov = { buf, length };

	return block_readv(b, &iov, 1, offset, length, 0);
}

int block_write(struct block *b, const void *buf, uint64_t offset,
		uint64_t length)
{
	struct iovec iov = { (void *)buf, length };

	return block_writev(b, &iov, 1, offset, length, 0);
}

int block_map(struct block *b, uint64_t offset, uint64_t length, bool for_write,
	      unsigned flags, struct block_extent *out)
{
	int rc = for_write ? block_check_write(b, offset, length)
			   : block_check(b, offset, length);

	*out = (struct block_extent){ .type = BLOCK_EXTENT_DATA,
				      .length = length,
				      .fd = -1 };
	if (rc || !length)
		return rc ? rc : -EINVAL;
	return b->ops->map
		       ? b->ops->map(b, offset, length, for_write, flags, out)
		       : 0;
}

void block_map_done(struct block *b, const struct block_extent *e)
{
	if (e->fd >= 0 && b->ops->map_done)
		b->ops->map_done(b, e);
}

int block_resize(struct block *b, uint64_t size, struct err *err)
{
	if (b->readonly)
		return err_set(err, EROFS, "%s: opened read-only", b->path);
	if (size > INT64_MAX)
		return err_set(err, EFBIG, "%s: no disk is that large",
			       b->path);
	if (!b->ops->resize)
		return err_set(err, ENOTSUP,
			       "%s: %s cannot be resized; convert it first "
			       "(hostel disk convert)",
			       b->path, b->ops->name);
	return b->ops->resize(b, size, err);
}

int block_allocate(struct block *b, uint64_t offset, uint64_t length)
{
	int rc = block_check_write(b, offset, length);

	if (rc || !length)
		return rc;
	return b->ops->allocate ? b->ops->allocate(b, offset, length)
				: -EOPNOTSUPP;
}

int block_get_info(struct block *b, struct block_info *out)
{
	*out = (struct block_info){ .format = b->ops->name,
				    .size = atomic_load(&b->size) };
	return b->ops->info ? b->ops->info(b, out) : 0;
}

void block_hurry(struct block *b, bool on)
{
	for (; b; b = b->file)
		if (b->ops->hurry)
			b->ops->hurry(b, on);
}

void block_close(struct block *b)
{
	if (!b)
		return;
	if (b->ops && b->ops->close)
		b->ops->close(b);
	block_close(b->file);
	block_close(b->backing);
	free(b->path);
	free(b);
}
