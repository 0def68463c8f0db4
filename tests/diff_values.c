/*
 * diff_values.c - values that find mistakes more often than chance does.
 */
#include "diff_rand.h"

#include <string.h>

static const uint64_t diff_value_edges[] = {
	0,
	1,
	2,
	7,
	8,
	15,
	16,
	31,
	32,
	63,
	64,
	0x7f,
	0x80,
	0xff,
	0x100,
	0x7fff,
	0x8000,
	0xffff,
	0x10000,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xffffffffffffffff,
	0xfffffffffffffffe,
	0xffffffffffffff80,
	0xffffffffffff8000,
	0xffffffff80000000,
	0x5555555555555555,
	0xaaaaaaaaaaaaaaaa,
	0x0123456789abcdef,
};

static const uint32_t diff_value_floats[] = {
	0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000,
	0x7f800000, 0xff800000,                         /* infinities */
	0x7fc00000, 0xffc00000, 0x7fc12345,             /* quiet NaNs */
	0x7f800001, 0xffa00001,                         /* signalling NaNs */
	0x00000001, 0x80000001, 0x007fffff, 0x00400000, /* denormals */
	0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff, /* min, max */
	0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, /* 2^31, 2^63 */
	0x4b000001, 0x3effffff, 0x3fc00000, 0x40200000, 0x477fe000, 0x33000000,
};

static const uint64_t diff_value_doubles[] = {
	0,
	0x8000000000000000,
	0x3ff0000000000000,
	0xbff0000000000000,
	0x4000000000000000,
	0x3fe0000000000000,
	0x3ff8000000000000,
	0x7ff0000000000000,
	0xfff0000000000000,
	0x7ff8000000000000,
	0xfff8000000000000,
	0x7ff8123456789abc,
	0x7ff0000000000001,
	0xfff4000000000001,
	1,
	0x8000000000000001,
	0x000fffffffffffff,
	0x0010000000000000,
	0x7fefffffffffffff,
	0xffefffffffffffff,
	0x41e0000000000000,
	0xc1e0000000000000,
	0x41dfffffffc00000,
	0x43e0000000000000,
	0xc3e0000000000000,
	0x47f0000000000000,
	0x36a0000000000000,
	0x4330000000000001,
	0x3fdfffffffffffff,
};

/* Sign and exponent, and mantissa, of x87 registers. */
static const uint16_t diff_value_st_exp[] = {
	0x0000, 0x0001, 0x3fff, 0x4000, 0x3ffe, 0x7ffe, 0x7fff, 0x403e,
	0x401e, 0x400e, 0x3fc0, 0x407e, 0x43fe, 0x3c01, 0x3f81,
};
static const uint64_t diff_value_st_man[] = {
	0,
	0x8000000000000000,
	0xc000000000000000,
	0xffffffffffffffff,
	1,
	0x8000000000000001,
	0xa000000000000000,
	0x4000000000000000,
	0x7fffffffffffffff,
	0x8000000000000400,
	0x8000008000000000,
};

#define DIFF_PICK(r, table) \
	(table)[diff_rand_below(r, sizeof(table) / sizeof((table)[0]))]

uint64_t diff_value_int(struct diff_rand *r)
{
	unsigned how = diff_rand_below(r, 8);
	uint64_t v = diff_rand64(r);

	switch (how) {
	case 0:
	case 1:
		return DIFF_PICK(r, diff_value_edges);
	case 2:
		return (uint32_t)v;
	case 3:
		return (uint64_t)(int32_t)v;
	case 4:
		return v & 0xff;
	case 5:
		return v >> (diff_rand_below(r, 64));
	default:
		return v;
	}
}

static uint32_t diff_value_float(struct diff_rand *r)
{
	uint32_t v = (uint32_t)diff_rand64(r);
	unsigned how = diff_rand_below(r, 4);

	if (how == 0) /* near 1, so that sums and products stay in range */
		return (v & 0x807fffff) | (117 + diff_rand_below(r, 20)) << 23;
	return how == 1 ? v : DIFF_PICK(r, diff_value_floats);
}

static uint64_t diff_value_double(struct diff_rand *r)
{
	uint64_t v = diff_rand64(r);
	unsigned how = diff_rand_below(r, 4);

	if (how == 0)
		return (v & 0x800fffffffffffff) |
		       (uint64_t)(1013 + diff_rand_below(r, 20)) << 52;
	return how == 1 ? v : DIFF_PICK(r, diff_value_doubles);
}

void diff_value_vector(struct diff_rand *r, uint8_t *p, unsigned n)
{
	unsigned kind = diff_rand_below(r, 4);

	for (unsigned i = 0; i < n; i += 8) {
		uint64_t v = kind == 0   ? diff_value_double(r)
			     : kind == 1 ? diff_value_int(r)
			     : kind == 2 ? diff_rand64(r)
					 : diff_value_float(r);

		if (kind == 3)
			v |= (uint64_t)diff_value_float(r) << 32;
		memcpy(p + i, &v, n - i < 8 ? n - i : 8);
	}
}

void diff_value_st(struct diff_rand *r, uint8_t *p)
{
	uint64_t v = diff_rand64(r);
	unsigned how = diff_rand_below(r, 4);
	uint16_t exp = DIFF_PICK(r, diff_value_st_exp);
	uint64_t man = DIFF_PICK(r, diff_value_st_man);

	if (how == 0) /* any bit pattern */
		exp = (uint16_t)diff_rand64(r);
	if (how <= 1)
		man = v;
	if (how == 2) { /* a plain number around 1 */
		exp = (uint16_t)(0x3ff0 + diff_rand_below(r, 32));
		man = v | 1ull << 63;
	}
	exp |= diff_rand_percent(r, 50) ? 0x8000 : 0;
	memcpy(p, &man, 8);
	memcpy(p + 8, &exp, 2);
}
