/*
 * vmdk_check.c - looking for damage in sparse extents, and mending it.
 *
 * Errors: a table or a grain that lies outside the file, in the header or on
 * another one.  Leaks: grains that no entry names, and copies of tables that
 * differ (a crash between the two writes).  Repair: an impossible entry is
 * forgotten (its data is lost already); the second copy is written anew.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"

struct check {
	struct vmdk_sparse *s;
	unsigned repair;
	struct block_check *out;
	FILE *report;
	uint8_t *used; /* one bit a grain-sized piece of the file */
	uint64_t pieces;
	uint64_t named;
};

static void check_error(struct check *c, const char *what, uint64_t grain,
			uint64_t at)
{
	c->out->errors++;
	if (c->report)
		fprintf(c->report,
			"ERROR grain %" PRIu64 " %s at %" PRIu64 "\n", grain,
			what, at);
}

/* Data, or a marker, at `at`: in the file, and nobody else's. */
static const char *check_place(struct check *c, uint64_t at)
{
	struct vmdk_sparse *s = c->s;
	uint64_t piece = at / s->grain_bytes;

	if (at < s->h.overhead * BLOCK_SECTOR ||
	    at >= atomic_load(&s->file->size))
		return "outside the file's data";
	if (s->h.flags & VMDK_FLAG_PACKED)
		return NULL; /* several in a piece */
	if (at % s->grain_bytes !=
	    s->h.overhead * BLOCK_SECTOR % s->grain_bytes)
		return NULL;
	if (c->used[piece / 8] >> piece % 8 & 1)
		return "on another grain";
	c->used[piece / 8] |= (uint8_t)(1 << piece % 8);
	return NULL;
}

static int check_table(struct check *c, uint32_t n)
{
	struct vmdk_sparse *s = c->s;
	uint32_t *gt;
	int rc = s->gd[n] ? vmdk_sparse_table(s, n, 0, &gt) : 0;

	if (!s->gd[n])
		return 0;
	if (rc == -EIO) {
		check_error(c, "has its table outside the file",
			    (uint64_t)n * s->h.gtes, s->gd[n]);
		return 0;
	}
	for (uint32_t i = 0; i < s->h.gtes && rc == 0; i++) {
		const char *wrong;

		if (gt[i] <= VMDK_GRAIN_ZERO)
			continue;
		c->named++;
		wrong = check_place(c, (uint64_t)gt[i] * BLOCK_SECTOR);
		if (!wrong)
			continue;
		check_error(c, wrong, (uint64_t)n * s->h.gtes + i, gt[i]);
		if (c->repair < 2)
			continue;
		gt[i] = 0;
		s->dirty[n] = true;
		c->out->fixed_errors++;
	}
	return rc;
}

/* The second copy, as it is in the file. */
static int check_copy(struct check *c, uint32_t n)
{
	struct vmdk_sparse *s = c->s;
	uint32_t copy[VMDK_GTES];
	int rc;

	if (!s->rgd || !s->gt[n] || !s->rgd[n] || s->dirty[n])
		return 0;
	rc = block_read(s->file, copy, (uint64_t)s->rgd[n] * BLOCK_SECTOR,
			s->h.gtes * 4ull);
	if (rc < 0 || !memcmp(copy, s->gt[n], s->h.gtes * 4ull))
		return rc;
	c->out->leaks++;
	if (c->report)
		fprintf(c->report, "the copies of table %u differ\n", n);
	if (c->repair) {
		s->dirty[n] = true;
		c->out->fixed_leaks++;
	}
	return 0;
}

static int check_sparse(struct check *c)
{
	struct vmdk_sparse *s = c->s;
	uint64_t size = atomic_load(&s->file->size);
	uint64_t data = s->h.overhead * BLOCK_SECTOR;
	int rc = 0;

	c->pieces = size / s->grain_bytes + 1;
	c->used = calloc(1, c->pieces / 8 + 1);
	if (!c->used)
		return -ENOMEM;
	for (uint32_t n = 0; n < s->tables && rc == 0; n++) {
		rc = check_table(c, n);
		if (rc == 0)
			rc = check_copy(c, n);
	}
	free(c->used);
	data = size > data ? (size - data) / s->grain_bytes : 0;
	if (!(s->h.flags & VMDK_FLAG_PACKED) && data > c->named)
		c->out->leaks += data - c->named;
	c->out->allocated_clusters += c->named;
	c->out->total_clusters += s->grains;
	return rc;
}

int vmdk_check(struct block *b, unsigned repair, struct block_check *out,
	       FILE *report, struct err *err)
{
	struct vmdk *v = b->opaque;
	int rc = 0;

	for (unsigned i = 0; i < v->extents && rc == 0; i++) {
		struct check c = { .s = v->extent[i].sparse,
				   .repair = repair,
				   .out = out,
				   .report = report };

		if (!c.s)
			continue;
		rc = check_sparse(&c);
		if (rc == 0 && repair) {
			rc = vmdk_sparse_flush(c.s);
			if (rc == 0 && !out->errors)
				rc = vmdk_sparse_mark(c.s, false);
		}
	}
	return rc ? err_set(err, -rc, "%s: cannot check: %s", b->path,
			    strerror(-rc))
		  : 0;
}
