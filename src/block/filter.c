/* filter.c - see filter.h. */
#include "block/filter.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

int filter_push(struct block **b, const struct block_ops *ops, void *opaque)
{
	struct block *lower = *b, *f = calloc(1, sizeof(*f));

	if (f)
		f->path = strdup(lower->path);
	if (!f || !f->path) {
		free(f);
		return -ENOMEM;
	}
	f->ops = ops;
	f->opaque = opaque;
	f->file = lower;
	f->readonly = lower->readonly;
	f->grows = lower->grows;
	filter_resized(f);
	*b = f;
	return 0;
}

void filter_resized(struct block *b)
{
	atomic_store(&b->size, atomic_load(&b->file->size));
}

int filter_flush(struct block *b)
{
	return block_flush(b->file);
}

/* Without a descriptor: the bytes must come through the filter. */
int filter_map(struct block *b, uint64_t offset, uint64_t length,
	       bool for_write, unsigned flags, struct block_extent *out)
{
	int rc = block_map(b->file, offset, length, for_write, flags, out);

	if (rc == 0)
		block_map_done(b->file, out);
	out->fd = -1;
	return rc;
}

int filter_resize(struct block *b, uint64_t size, struct err *err)
{
	int rc = block_resize(b->file, size, err);

	filter_resized(b);
	return rc;
}

int filter_info(struct block *b, struct block_info *out)
{
	return block_get_info(b->file, out);
}
