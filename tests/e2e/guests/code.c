/*
 * code.c - a program that writes its code, on several threads.
 *
 * Runs in a guest (code.sh, soak/kernel_code.sh) and natively.  Each test
 * prints a line "T name ok", or what went wrong.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_ROUNDS  100000
#define CODE_THREADS 4

/* All counts are divided by the program's argument. */
static unsigned code_divisor = 1;

typedef uint32_t code_fn(void);

static uint8_t *code_map(void)
{
	return mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* mov eax, imm32; ret */
static void code_make(uint8_t *p, uint32_t v)
{
	p[0] = 0xb8;
	memcpy(p + 1, &v, 4);
	p[5] = 0xc3;
}

static void code_report(const char *name, long bad)
{
	if (bad)
		printf("T %s %ld wrong\n", name, bad);
	else
		printf("T %s ok\n", name);
	fflush(stdout);
}

/* The same bytes, rewritten and called. */
static void code_self(void)
{
	uint8_t *p = code_map();
	long bad = 0;

	code_make(p, 0);
	for (uint32_t i = 0; i < CODE_ROUNDS / code_divisor; i++) {
		memcpy(p + 1, &i, 4);
		bad += ((code_fn *)p)() != i;
	}
	code_report("self", bad);
}

/* An instruction rewrites the one behind it: inc byte [next + 1]; mov al, n */
static void code_next(void)
{
	static const uint8_t code[] = { 0xfe, 0x05, 1,    0,    0,    0,
					0xb0, 0,    0x0f, 0xb6, 0xc0, 0xc3 };
	uint8_t *p = code_map();
	long bad = 0;

	memcpy(p, code, sizeof(code));
	for (uint32_t i = 1; i < CODE_ROUNDS / 10 / code_divisor; i++)
		bad += ((code_fn *)p)() != (i & 255);
	code_report("next", bad);
}

/* As JIT compilers do: write, protect, call; then the page goes. */
static void code_protect(void)
{
	long bad = 0;

	for (uint32_t i = 0; i < 3000 / code_divisor; i++) {
		uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		code_make(p + 64 * (i % 50), i);
		mprotect(p, 4096, PROT_READ | PROT_EXEC);
		bad += ((code_fn *)(p + 64 * (i % 50)))() != i;
		munmap(p, 4096);
	}
	code_report("protect", bad);
}

/* Written by one address, executed by another. */
static void code_alias(void)
{
	int fd = memfd_create("code", 0);
	uint8_t *w, *x;
	long bad = 0;

	if (ftruncate(fd, 4096))
		return;
	w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (uint32_t i = 0; i < CODE_ROUNDS / 10 / code_divisor; i++) {
		code_make(w, i);
		bad += ((code_fn *)x)() != i;
		if (i % 7 == 0) { /* by a system call */
			uint32_t v = ~i;

			if (pwrite(fd, &v, 4, 1) == 4)
				bad += ((code_fn *)x)() != v;
		}
	}
	code_report("alias", bad);
}

/* --- One thread writes, the others execute ------------------------------- */

static struct {
	uint8_t *p;
	_Atomic uint32_t version;
	atomic_int stop;
	atomic_long bad, calls;
	atomic_int seen[CODE_THREADS];
} cross;

/* After an acknowledged version (CPUID serializes) it is the one called. */
static void *cross_call(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint32_t last = 0, a, b, c, d;

	while (!cross.stop) {
		uint32_t v = cross.version, got;

		a = 0;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
		got = ((code_fn *)cross.p)();
		cross.bad += got < v || got < last;
		last = got;
		cross.calls++;
		cross.seen[me] = (int)v;
	}
	return NULL;
}

static void code_cross(void)
{
	pthread_t t[CODE_THREADS];

	cross.p = code_map();
	/* The immediate in one aligned word: patched by one store. */
	cross.p += 3;
	code_make(cross.p, 0);
	for (unsigned i = 0; i < CODE_THREADS; i++)
		pthread_create(&t[i], NULL, cross_call, (void *)(uintptr_t)i);
	for (uint32_t v = 1; v < 400 / code_divisor; v++) {
		atomic_store((_Atomic uint32_t *)(cross.p + 1), v);
		cross.version = v;
		for (unsigned i = 0; i < CODE_THREADS; i++)
			while ((uint32_t)cross.seen[i] < v)
				usleep(50);
	}
	cross.stop = 1;
	for (unsigned i = 0; i < CODE_THREADS; i++)
		pthread_join(t[i], NULL);
	code_report("cross", cross.bad);
}

/* --- Atomics ------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	long mutexed, turn;
	atomic_long added;
	uint8_t pad[64];
	struct {
		uint64_t lo, hi;
	} pair __attribute__((aligned(16)));
	uint8_t split[128] __attribute__((aligned(64)));
	atomic_long torn;
} at = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

/* Both halves move by one, or neither: cmpxchg16b. */
static void atomic_pair(void)
{
	uint64_t lo = at.pair.lo, hi = at.pair.hi, nlo, nhi;
	uint8_t ok = 0;

	while (!ok) {
		nlo = lo + 1;
		nhi = hi + 3;
		__asm__ volatile("lock cmpxchg16b %1; setz %0"
				 : "=q"(ok), "+m"(at.pair), "+a"(lo), "+d"(hi)
				 : "b"(nlo), "c"(nhi)
				 : "cc", "memory");
		at.torn += ok && nhi != 3 * nlo;
	}
}

static void *atomic_thread(void *arg)
{
	long me = (long)(intptr_t)arg;

	for (int i = 0; i < 20000 / (int)code_divisor; i++) {
		pthread_mutex_lock(&at.lock);
		at.mutexed++;
		pthread_mutex_unlock(&at.lock);
		at.added++;
		atomic_pair();
		/* across a cache line */
		__asm__ volatile("lock incq %0"
				 : "+m"(*(uint64_t *)(at.split + 60)));
	}
	for (int i = 0; i < 1000 / (int)code_divisor; i++) { /* ping-pong */
		pthread_mutex_lock(&at.lock);
		while (at.turn % CODE_THREADS != me)
			pthread_cond_wait(&at.cond, &at.lock);
		at.turn++;
		pthread_cond_broadcast(&at.cond);
		pthread_mutex_unlock(&at.lock);
	}
	return NULL;
}

static void code_atomics(void)
{
	long all = 20000 / (long)code_divisor * CODE_THREADS;
	pthread_t t[CODE_THREADS];
	uint64_t split;

	for (unsigned i = 0; i < CODE_THREADS; i++)
		pthread_create(&t[i], NULL, atomic_thread,
			       (void *)(uintptr_t)i);
	for (unsigned i = 0; i < CODE_THREADS; i++)
		pthread_join(t[i], NULL);
	memcpy(&split, at.split + 60, 8);
	code_report("mutex", at.mutexed != all);
	code_report("add", at.added != all);
	code_report("cmpxchg16b", at.torn + ((long)at.pair.lo != all));
	code_report("split", (long)split != all);
	code_report("pingpong",
		    at.turn != 1000 / (long)code_divisor * CODE_THREADS);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		code_divisor = (unsigned)atoi(argv[1]);
	code_self();
	code_next();
	code_protect();
	code_alias();
	code_cross();
	code_atomics();
	return 0;
}
