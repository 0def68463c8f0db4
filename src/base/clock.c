/* clock.c - see clock.h. */
#include "base/clock.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* #syscalls: clock_nanosleep nanosleep */

#define CLOCK_NS_PER_S 1000000000ull

static uint64_t clock_get(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return clock_get(CLOCK_MONOTONIC);
}

uint64_t clock_real_ns(void)
{
	return clock_get(CLOCK_REALTIME);
}

/* --- The host's time stamp counter ---------------------------------------- */

/* The same instant on both clocks. */
struct clock_pair {
	uint64_t mono;
	uint64_t tsc;
};

#define CLOCK_PAIR_TRIES 32
#define CLOCK_MEASURE_NS 20000000ull

/* The try that was interrupted least gives the pair. */
static struct clock_pair clock_read_pair(void)
{
	struct clock_pair best = { 0, 0 };
	uint64_t before, after, mono, width = UINT64_MAX;

	for (int i = 0; i < CLOCK_PAIR_TRIES; i++) {
		before = clock_tsc();
		mono = clock_mono_ns();
		after = clock_tsc();
		if (after - before >= width)
			continue;
		width = after - before;
		best.mono = mono;
		best.tsc = before + width / 2;
	}
	return best;
}

/* The measurement's one beginning and its one result, per process. */
static struct clock_pair clock_first_pair;
static uint32_t clock_khz;

/* SDM 2A, CPUID leaf 15h: EBX/EAX = TSC/crystal, ECX = crystal in Hz. */
static uint32_t clock_khz_from_leaf15(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid_count(0x15, 0, &a, &b, &c, &d) || !a || !b || !c)
		return 0;
	return (uint32_t)((uint64_t)c * b / a / 1000);
}

/* VMware's and KVM's convention: leaf 40000010h, EAX = TSC in kHz. */
static uint32_t clock_khz_from_hypervisor(void)
{
	unsigned a, b, c, d;
	char sig[13] = { 0 };

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 31))
		return 0;
	__cpuid(0x40000000, a, b, c, d);
	memcpy(sig, &b, 4);
	memcpy(sig + 4, &c, 4);
	memcpy(sig + 8, &d, 4);
	if (strcmp(sig, "KVMKVMKVM") != 0 && strcmp(sig, "VMwareVMware") != 0)
		return 0;
	if (a < 0x40000010)
		return 0;
	__cpuid(0x40000010, a, b, c, d);
	return a;
}

static uint32_t clock_khz_measured(void)
{
	struct clock_pair now;
	uint64_t target;

	clock_tsc_start();
	target = clock_first_pair.mono + CLOCK_MEASURE_NS;
	for (;;) {
		uint64_t t = clock_mono_ns();
		struct timespec ts = { 0 };

		if (t >= target)
			break;
		ts.tv_nsec = (long)(target - t);
		nanosleep(&ts, NULL);
	}
	now = clock_read_pair();
	return (uint32_t)((unsigned __int128)(now.tsc - clock_first_pair.tsc) *
			  1000000 / (now.mono - clock_first_pair.mono));
}

static void clock_start_once(void)
{
	clock_first_pair = clock_read_pair();
}

static void clock_khz_once(void)
{
	clock_khz = clock_khz_from_leaf15();
	if (!clock_khz)
		clock_khz = clock_khz_from_hypervisor();
	if (!clock_khz)
		clock_khz = clock_khz_measured();
}

void clock_tsc_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, clock_start_once);
}

uint32_t clock_tsc_khz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, clock_khz_once);
	return clock_khz;
}

/* --- Guest time ----------------------------------------------------------- */

/*
 * One word, so that readers need no lock:
 *
 *	63      62..0
 *	paused  paused: guest time; running: CLOCK_MONOTONIC at guest time 0,
 *		modulo 2^63 (before boot for a restored guest: "negative")
 */
#define VCLOCK_PAUSED (1ull << 63)
#define VCLOCK_MASK   (VCLOCK_PAUSED - 1)

struct vclock {
	_Atomic uint64_t word;
};

struct vclock *vclock_new(void)
{
	struct vclock *vc = malloc(sizeof(*vc));

	if (vc)
		atomic_init(&vc->word, clock_mono_ns() & VCLOCK_MASK);
	return vc;
}

void vclock_free(struct vclock *vc)
{
	free(vc);
}

static uint64_t vclock_of_word(uint64_t word)
{
	if (word & VCLOCK_PAUSED)
		return word & VCLOCK_MASK;
	return (clock_mono_ns() - word) & VCLOCK_MASK;
}

uint64_t vclock_now(const struct vclock *vc)
{
	return vclock_of_word(
		atomic_load_explicit(&vc->word, memory_order_acquire));
}

bool vclock_paused(const struct vclock *vc)
{
	return atomic_load_explicit(&vc->word, memory_order_acquire) &
	       VCLOCK_PAUSED;
}

void vclock_pause(struct vclock *vc)
{
	uint64_t word = atomic_load(&vc->word);

	while (!(word & VCLOCK_PAUSED))
		if (atomic_compare_exchange_weak(&vc->word, &word,
						 vclock_of_word(word) |
							 VCLOCK_PAUSED))
			return;
}

void vclock_resume(struct vclock *vc)
{
	uint64_t word = atomic_load(&vc->word);

	while (word & VCLOCK_PAUSED)
		if (atomic_compare_exchange_weak(&vc->word, &word,
						 (clock_mono_ns() - word) &
							 VCLOCK_MASK))
			return;
}

void vclock_set(struct vclock *vc, uint64_t now)
{
	uint64_t word = atomic_load(&vc->word), next;

	do
		next = word & VCLOCK_PAUSED
			       ? (now & VCLOCK_MASK) | VCLOCK_PAUSED
			       : (clock_mono_ns() - now) & VCLOCK_MASK;
	while (!atomic_compare_exchange_weak(&vc->word, &word, next));
}

uint64_t vclock_to_mono(const struct vclock *vc, uint64_t t)
{
	uint64_t word = atomic_load_explicit(&vc->word, memory_order_acquire);
	int64_t zero = (int64_t)(word << 1) >> 1; /* sign-extend 63 bits */
	__int128 mono = (__int128)zero + t;

	if ((word & VCLOCK_PAUSED) || mono > (__int128)INT64_MAX)
		return UINT64_MAX;
	return mono < 0 ? 0 : (uint64_t)mono;
}
