/* memdisk.c - see memdisk.h. */
#include "memdisk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/iov.h"

struct memdisk {
	char *bytes;
	size_t max;
};

static int memdisk_read(struct block *b, const struct iovec *iov, int iovcnt,
			uint64_t offset, uint64_t length, unsigned flags)
{
	const struct memdisk *m = b->opaque;
	uint64_t size = atomic_load(&b->size);
	uint64_t n = offset < size ? size - offset : 0;

	n = n < length ? n : length;
	iov_from_buf(iov, iovcnt, 0, m->bytes + (n ? offset : 0), n);
	iov_zero(iov, iovcnt, n, length - n);
	return 0;
}

static int memdisk_write(struct block *b, const struct iovec *iov, int iovcnt,
			 uint64_t offset, uint64_t length, unsigned flags)
{
	const struct memdisk *m = b->opaque;

	if (length > m->max || offset > m->max - length)
		return -ENOSPC;
	iov_to_buf(iov, iovcnt, 0, m->bytes + offset, length);
	if (offset + length > atomic_load(&b->size))
		atomic_store(&b->size, offset + length);
	return 0;
}

static int memdisk_flush(struct block *b)
{
	return 0;
}

static int memdisk_resize(struct block *b, uint64_t size, struct err *err)
{
	const struct memdisk *m = b->opaque;
	uint64_t old = atomic_load(&b->size);

	if (size > m->max)
		return err_set(err, ENOSPC, "memory: full");
	if (size < old)
		memset(m->bytes + size, 0, old - size);
	atomic_store(&b->size, size);
	return 0;
}

static void memdisk_close(struct block *b)
{
	struct memdisk *m = b->opaque;

	free(m->bytes);
	free(m);
}

static const struct block_ops memdisk_ops = {
	.name = "memory",
	.read = memdisk_read,
	.write = memdisk_write,
	.flush = memdisk_flush,
	.resize = memdisk_resize,
	.close = memdisk_close,
};

struct block *memdisk_new(const void *data, size_t len, size_t max)
{
	struct block *b = calloc(1, sizeof(*b));
	struct memdisk *m = calloc(1, sizeof(*m));

	if (!b || !m)
		abort();
	m->max = max < len ? len : max;
	m->bytes = calloc(1, m->max + 1);
	b->path = strdup("memory");
	if (!m->bytes || !b->path)
		abort();
	if (len)
		memcpy(m->bytes, data, len);
	b->ops = &memdisk_ops;
	b->opaque = m;
	b->grows = true;
	atomic_store(&b->size, len);
	return b;
}

const void *memdisk_bytes(const struct block *b, size_t *len)
{
	const struct memdisk *m = b->opaque;

	*len = atomic_load(&b->size);
	return m->bytes;
}

int memdisk_open(struct block **out, struct block *file,
		 const struct block_format *f, const struct block_open *how,
		 struct err *err)
{
	struct block *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		abort();
	b->path = strdup("memory");
	b->file = file;
	b->readonly = how->readonly;
	rc = f->open(b, how, err);
	if (!rc)
		b->ops = f->ops;
	if (rc)
		block_close(b);
	else
		*out = b;
	return rc;
}

struct block *memdisk_detach(struct block *b)
{
	struct block *file = b->file;

	b->ops->close(b); /* its last words still go to the file */
	block_close(b->backing);
	free(b->path);
	free(b);
	return file;
}
