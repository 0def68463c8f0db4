/*
 * diff_rand.h - random values for the differential test.
 *
 * splitmix64: every case has a generator of its own, seeded by the run's seed
 * and the case's number, so that any case can be replayed alone.
 */
#ifndef HOSTEL_TESTS_DIFF_RAND_H
#define HOSTEL_TESTS_DIFF_RAND_H

#include <stdbool.h>
#include <stdint.h>

struct diff_rand {
	uint64_t state;
};

static inline uint64_t diff_rand64(struct diff_rand *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline void diff_rand_seed(struct diff_rand *r, uint64_t seed,
				  uint64_t number)
{
	r->state = seed * 0xd1342543de82ef95ull;
	r->state = diff_rand64(r) ^ number * 0x9e3779b97f4a7c15ull;
	diff_rand64(r);
}

/* 0..n-1; n up to 2^32 */
static inline unsigned diff_rand_below(struct diff_rand *r, unsigned n)
{
	return (unsigned)((diff_rand64(r) >> 32) * n >> 32);
}

static inline bool diff_rand_percent(struct diff_rand *r, unsigned percent)
{
	return diff_rand_below(r, 100) < percent;
}

/* diff_values.c: values that find mistakes more often than chance does. */
uint64_t diff_value_int(struct diff_rand *r);
/* Fills n bytes with vector elements of one kind, edge values among them. */
void diff_value_vector(struct diff_rand *r, uint8_t *p, unsigned n);
/* An x87 register: 10 bytes. */
void diff_value_st(struct diff_rand *r, uint8_t *p);

#endif
