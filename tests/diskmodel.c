/* diskmodel.c - see diskmodel.h. */
#include "diskmodel.h"

#include "rng.h"

#define DISKMODEL_MAX (1u << 20) /* bytes of one request */

void diskmodel_init(struct diskmodel *m, uint64_t size)
{
	m->size = size;
	m->bytes = calloc(1, size);
	assert_non_null(m->bytes);
}

void diskmodel_free(struct diskmodel *m)
{
	free(m->bytes);
}

void diskmodel_load(struct diskmodel *m, struct block *b)
{
	assert_int_equal(block_read(b, m->bytes, 0, m->size), 0);
}

/* Often whole sectors, mostly small, sometimes at odd places. */
static void diskmodel_range(const struct diskmodel *m, struct rng *r,
			    uint64_t *offset, uint64_t *length)
{
	*length = 1 + rng_below(r, rng_one_in(r, 4) ? DISKMODEL_MAX : 16384);
	*offset = rng_next(r) % m->size;
	if (rng_below(r, 2)) {
		*offset &= ~511ull;
		*length = (*length + 511) & ~511ull;
	}
	if (*length > m->size - *offset)
		*length = m->size - *offset;
}

static void diskmodel_write(struct diskmodel *m, struct block *b, struct rng *r,
			    uint64_t offset, uint64_t length)
{
	uint64_t pattern = rng_next(r);

	for (uint64_t i = 0; i < length; i++)
		m->bytes[offset + i] =
			(uint8_t)(pattern >> i % 8 * 8) ^ (uint8_t)(i >> 9);
	assert_int_equal(block_write(b, m->bytes + offset, offset, length), 0);
}

static void diskmodel_zero(struct diskmodel *m, struct block *b, struct rng *r,
			   uint64_t offset, uint64_t length)
{
	unsigned flags = rng_below(r, 2) ? BLOCK_UNMAP : 0;

	memset(m->bytes + offset, 0, length);
	assert_int_equal(block_zero(b, offset, length, flags), 0);
}

static void diskmodel_read(const struct diskmodel *m, struct block *b,
			   uint64_t offset, uint64_t length)
{
	uint8_t *buf = malloc(length);

	assert_non_null(buf);
	assert_int_equal(block_read(b, buf, offset, length), 0);
	if (memcmp(buf, m->bytes + offset, length))
		fail_msg("[%#llx, +%#llx) reads as something else",
			 (unsigned long long)offset,
			 (unsigned long long)length);
	free(buf);
}

void diskmodel_run(struct diskmodel *m, struct block *b, uint64_t seed,
		   unsigned count)
{
	struct rng r = { seed };
	uint64_t offset, length;

	for (unsigned i = 0; i < count; i++) {
		unsigned what = rng_below(&r, 10);

		diskmodel_range(m, &r, &offset, &length);
		if (what < 5)
			diskmodel_write(m, b, &r, offset, length);
		else if (what < 6)
			diskmodel_zero(m, b, &r, offset, length);
		else if (what < 7 && rng_one_in(&r, 4))
			assert_int_equal(block_flush(b), 0);
		else
			diskmodel_read(m, b, offset, length);
	}
}

void diskmodel_compare(const struct diskmodel *m, struct block *b)
{
	for (uint64_t at = 0; at < m->size; at += DISKMODEL_MAX)
		diskmodel_read(m, b, at,
			       m->size - at < DISKMODEL_MAX ? m->size - at
							    : DISKMODEL_MAX);
}

void diskmodel_qemu(const struct diskmodel *m, const char *path,
		    const char *format)
{
	const char *raw = bt_path("model.raw");
	FILE *f = fopen(raw, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(m->bytes, 1, m->size, f), m->size);
	fclose(f);
	if (strcmp(format, "raw"))
		assert_int_equal(
			bt_shell("qemu-img check -q -f %s %s", format, path),
			0);
	assert_int_equal(bt_shell("qemu-img compare -q -f %s -F raw %s %s",
				  format, path, raw),
			 0);
}
