/*
 * fault_cache.c - a drive's volatile cache, played backwards: every write goes
 * to the file at once, and its old contents are kept.  When the power goes,
 * each sector of each write that was not flushed survives or not; what a
 * sector then holds is the latest write that survived, else what it held
 * before the first.
 */
#include "block/fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_PIECE (1ull << 20)

/* What a range held before it was changed; whole sectors. */
struct undo {
	struct undo *older;
	uint64_t offset, length;
	uint8_t old[];
};

struct fault_cache {
	struct block *lower;
	struct undo *newest;
	uint64_t durable_size;
};

int fault_cache_new(struct fault_cache **out, struct block *lower)
{
	struct fault_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->lower = lower;
	c->durable_size = atomic_load(&lower->size);
	*out = c;
	return 0;
}

static int cache_keep(struct fault_cache *c, uint64_t offset, uint64_t length)
{
	struct undo *u = malloc(sizeof(*u) + length);
	int rc = u ? block_read(c->lower, u->old, offset, length) : -ENOMEM;

	if (rc < 0) {
		free(u);
		return rc;
	}
	u->offset = offset;
	u->length = length;
	u->older = c->newest;
	c->newest = u;
	return 0;
}

int fault_cache_note(struct fault_cache *c, uint64_t offset, uint64_t length)
{
	uint64_t start = offset & ~(BLOCK_SECTOR - 1ull);
	uint64_t end = offset + length + BLOCK_SECTOR - 1;
	int rc = 0;

	end &= ~(BLOCK_SECTOR - 1ull);
	while (rc == 0 && start < end) {
		uint64_t n =
			end - start < CACHE_PIECE ? end - start : CACHE_PIECE;

		rc = cache_keep(c, start, n);
		start += n;
	}
	return rc;
}

void fault_cache_flushed(struct fault_cache *c)
{
	while (c->newest) {
		struct undo *u = c->newest;

		c->newest = u->older;
		free(u);
	}
	c->durable_size = atomic_load(&c->lower->size);
}

void fault_cache_free(struct fault_cache *c)
{
	if (!c)
		return;
	fault_cache_flushed(c);
	free(c);
}

/* --- The cut -------------------------------------------------------------- */

struct cut {
	struct fault_cache *c;
	uint64_t random;
	uint8_t *settled; /* a bit a sector: a later write survived */
	uint64_t end;     /* of what survived */
};

static uint64_t cut_random(struct cut *cut)
{
	uint64_t x = cut->random; /* xorshift64 */

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return cut->random = x;
}

/* One sector of one write, from the latest write on. */
static int cut_sector(struct cut *cut, const struct undo *u, uint64_t at)
{
	uint64_t sector = (u->offset + at) / BLOCK_SECTOR;
	uint8_t bit = (uint8_t)(1u << (sector & 7));
	uint64_t end = (sector + 1) * BLOCK_SECTOR;

	if (cut->settled[sector / 8] & bit)
		return 0;
	if (cut_random(cut) >> 40 & 1) {
		cut->settled[sector / 8] |= bit;
		cut->end = end > cut->end ? end : cut->end;
		return 0;
	}
	return block_write(cut->c->lower, u->old + at, u->offset + at,
			   BLOCK_SECTOR);
}

static int cut_all(struct cut *cut)
{
	int rc = 0;

	for (struct undo *u = cut->c->newest; u; u = u->older)
		for (uint64_t at = 0; rc == 0 && at < u->length;
		     at += BLOCK_SECTOR)
			rc = cut_sector(cut, u, at);
	return rc;
}

/* A file that grew is as long as what survived of the growth. */
static int cut_size(struct cut *cut)
{
	struct block *lower = cut->c->lower;
	uint64_t size = cut->c->durable_size;

	if (!lower->grows || atomic_load(&lower->size) <= size)
		return 0;
	return block_resize(lower, cut->end > size ? cut->end : size, NULL);
}

int fault_cache_cut(struct fault_cache *c, uint64_t seed)
{
	struct cut cut = { .c = c, .random = seed * 2 + 1 };
	uint64_t end = atomic_load(&c->lower->size);
	int rc;

	for (struct undo *u = c->newest; u; u = u->older)
		if (u->offset + u->length > end)
			end = u->offset + u->length;
	for (int i = 0; i < 8; i++)
		cut_random(&cut); /* small seeds are alike at first */
	cut.settled = calloc(1, end / BLOCK_SECTOR / 8 + 1);
	if (!cut.settled)
		return -ENOMEM;
	rc = cut_all(&cut);
	if (rc == 0)
		rc = cut_size(&cut);
	free(cut.settled);
	fault_cache_flushed(c);
	return rc;
}
