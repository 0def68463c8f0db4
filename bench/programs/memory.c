/*
 * memory.c - touching, copying, sorting and chasing through memory.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

#define MEMORY_PAGE 4096
#define MEMORY_COPY (16u << 20)
#define MEMORY_SORT 20000
/*
 * A node a cache line: 512 KiB, which caches of the second level hold.  In
 * more, the host's memory would be measured, and not what runs the guest.
 */
#define MEMORY_NODES (1u << 13)

/* Small pages everywhere: a host's huge pages would be another benchmark. */
static void *memory_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

uint64_t bench_newpage(uint64_t n)
{
	uint8_t *p = memory_map(n * MEMORY_PAGE);
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		p[i * MEMORY_PAGE] = (uint8_t)i;
	for (uint64_t i = 0; i < n; i += 64)
		sum += p[i * MEMORY_PAGE];
	munmap(p, n * MEMORY_PAGE);
	return sum;
}

uint64_t bench_memcpy(uint64_t n)
{
	static uint8_t *from, *to;
	uint64_t sum = BENCH_SUM_START;

	if (!from) {
		uint32_t seed = 1;

		from = memory_map(MEMORY_COPY);
		to = memory_map(MEMORY_COPY);
		for (size_t i = 0; i < MEMORY_COPY; i += 4)
			memcpy(from + i, &(uint32_t){ bench_random(&seed) }, 4);
	}
	for (uint64_t i = 0; i < n; i++) {
		memcpy(to, from, MEMORY_COPY);
		__asm__ volatile("" : : "r"(to) : "memory");
	}
	for (size_t i = 0; i < MEMORY_COPY; i += 1021)
		sum = bench_sum(sum, to + i, 1);
	return sum;
}

static int memory_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t bench_qsort(uint64_t n)
{
	static uint32_t v[MEMORY_SORT];
	uint64_t sum = BENCH_SUM_START;

	for (uint64_t r = 0; r < n; r++) {
		uint32_t seed = (uint32_t)r + 1;

		for (unsigned i = 0; i < MEMORY_SORT; i++)
			v[i] = bench_random(&seed);
		qsort(v, MEMORY_SORT, sizeof(*v), memory_compare);
		for (unsigned i = 0; i < MEMORY_SORT; i += 97)
			sum = bench_sum(sum, &v[i], sizeof(*v));
	}
	return sum;
}

struct memory_node {
	struct memory_node *next;
	uint32_t key, value, count;
	int32_t weight;
	uint64_t pad[5];
};

/* One cycle through all nodes in random order (Sattolo's shuffle). */
static struct memory_node *memory_ring(void)
{
	struct memory_node *nodes = memory_map(MEMORY_NODES * sizeof(*nodes));
	uint32_t *order = memory_map(MEMORY_NODES * sizeof(*order));
	uint32_t seed = 7;

	for (uint32_t i = 0; i < MEMORY_NODES; i++)
		order[i] = i;
	for (uint32_t i = MEMORY_NODES - 1; i; i--) {
		uint32_t j = bench_random(&seed) % i, was = order[i];

		order[i] = order[j];
		order[j] = was;
	}
	for (uint32_t i = 0; i < MEMORY_NODES; i++) {
		uint32_t next = order[(i + 1) % MEMORY_NODES];

		nodes[order[i]].next = &nodes[next];
		nodes[order[i]].key = bench_random(&seed);
		nodes[order[i]].value = order[i];
		nodes[order[i]].count = i & 15;
		nodes[order[i]].weight = (int32_t)(i % 7) - 3;
	}
	munmap(order, MEMORY_NODES * sizeof(*order));
	return nodes;
}

uint64_t bench_chase(uint64_t n)
{
	static struct memory_node *ring;
	const struct memory_node *at;
	uint64_t sum = 0;

	if (!ring)
		ring = memory_ring();
	at = ring;
	for (uint64_t i = 0; i < n; i++) {
		if (at->key & 1)
			sum += at->value * at->count;
		else
			sum += (uint64_t)(int64_t)at->weight;
		at = at->next;
	}
	return sum;
}
