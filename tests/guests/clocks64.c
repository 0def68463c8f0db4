/*
 * clocks64: the machine's clocks agree with each other, and no timer is early:
 * TSC, ACPI PM timer, local APIC timer, 8254 and clock.  The host may be busy:
 * a sample that took too long is taken again, and "late" is never a failure.
 */
#include "guest.h"

#define APIC      0xfee00000ul
#define APIC_EOI  0xb0
#define APIC_SVR  0xf0
#define APIC_LVT  0x320
#define APIC_INIT 0x380
#define APIC_NOW  0x390
#define APIC_DIV  0x3e0

#define PM_TIMER 0x608
#define PM_HZ    3579545
#define PIT_HZ   1193182
#define APIC_HZ  1000000000

#define VEC_TIMER 0x40

static uint64_t tsc_hz;
static volatile uint64_t came_at; /* TSC in the handler; 0: not yet */

static volatile uint32_t *apic(unsigned reg)
{
	return (volatile uint32_t *)(APIC + reg);
}

static bool note(struct guest_frame *f)
{
	came_at = rdtsc();
	*apic(APIC_EOI) = 0;
	return true;
}

static uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* Ticks of a clock of `from` Hz as ticks of one of `to` Hz. */
static uint64_t convert(uint64_t ticks, uint64_t from, uint64_t to)
{
	return ticks / from * to + ticks % from * to / from;
}

static uint64_t ns(uint64_t tsc)
{
	return convert(tsc, tsc_hz, 1000000000);
}

/* --- Rates ------------------------------------------------------------------
 */

static uint32_t read_pm(void)
{
	return inl(PM_TIMER);
}

/* Counts up, as the others do. */
static uint32_t read_apic(void)
{
	return -*apic(APIC_NOW);
}

static uint32_t read_pit2(void)
{
	uint32_t v;

	outb(0x43, 0x80);
	v = inb(0x42);
	return -(v | inb(0x42) << 8);
}

struct sample {
	uint64_t tsc, width; /* what reading it took, in TSC ticks */
	uint32_t value;
};

/*
 * A clock's value and the TSC in the middle of reading it: within 20 us, or the
 * best that a slow or busy host gives.
 */
static struct sample take(uint32_t (*read)(void))
{
	struct sample best = { .width = UINT64_MAX };

	for (unsigned i = 0; i < 2000 && ns(best.width) >= 20000; i++) {
		uint64_t before = rdtsc();
		uint32_t value = read();
		uint64_t width = rdtsc() - before;

		if (width < best.width)
			best = (struct sample){ before + width / 2, width,
						value };
	}
	return best;
}

static void wait_ns(uint64_t n)
{
	uint64_t start = rdtsc();

	while (ns(rdtsc() - start) < n)
		__asm__ volatile("pause");
}

/*
 * Over `length` ns the clock goes as fast as the TSC, to 100 us and what the
 * samples are wide.  It may have wrapped meanwhile: what counts is how far it
 * is from where it should be.
 */
static void agrees(uint32_t (*read)(void), uint32_t mask, uint64_t hz,
		   uint64_t length, const char *what)
{
	struct sample a = take(read), b;
	uint32_t off;

	wait_ns(length);
	b = take(read);
	off = (b.value - a.value -
	       (uint32_t)convert(b.tsc - a.tsc, tsc_hz, hz)) &
	      mask;
	if (off > mask / 2)
		off = mask + 1 - off;
	guest_check(off < hz / 10000 + convert(a.width + b.width, tsc_hz, hz),
		    what);
}

static void test_rates(void)
{
	agrees(read_pm, 0xffffffff, PM_HZ, 200000000, "PM timer and TSC");
	*apic(APIC_DIV) = 0xb;
	*apic(APIC_LVT) = VEC_TIMER | 1 << 16;
	*apic(APIC_INIT) = 0xffffffff;
	agrees(read_apic, 0xffffffff, APIC_HZ, 200000000, "APIC and TSC");
	*apic(APIC_INIT) = 0;
	outb(0x61, 1);
	outb(0x43, 0xb4); /* channel 2, mode 2, 65536: 55 ms */
	outb(0x42, 0);
	outb(0x42, 0);
	agrees(read_pit2, 0xffff, PIT_HZ, 20000000, "8254 and TSC");
}

/* --- Timers
 * ------------------------------------------------------------------- */

static uint64_t wait_interrupt(void)
{
	while (!came_at)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	return came_at;
}

static void test_deadline_is_not_early(void)
{
	*apic(APIC_LVT) = VEC_TIMER | 2 << 17;
	__asm__ volatile("mfence");
	for (unsigned i = 0; i < 40; i++) {
		uint64_t at = rdtsc() + tsc_hz / 1000 * i / 20;

		came_at = 0;
		wrmsr(0x6e0, at);
		guest_check(wait_interrupt() >= at, "TSC deadline not early");
	}
}

static void test_one_shot_is_not_early(void)
{
	*apic(APIC_LVT) = VEC_TIMER;
	for (unsigned i = 1; i < 20; i++) {
		uint64_t start = rdtsc();

		came_at = 0;
		*apic(APIC_INIT) = i * 100000;
		/* 1 us: CLOCK_MONOTONIC and the TSC are not the same. */
		guest_check(ns(wait_interrupt() - start) + 1000 >= i * 100000,
			    "APIC one-shot not early");
	}
}

/* What calibrates processors everywhere: channel 2, mode 0, OUT in port 61h. */
static void test_terminal_count(void)
{
	uint64_t start;

	outb(0x61, 1);
	outb(0x43, 0xb0);
	outb(0x42, 11932 & 0xff);
	start = rdtsc();
	outb(0x42, 11932 >> 8);
	while (!(inb(0x61) & 0x20))
		;
	guest_check(ns(rdtsc() - start) + 2000 >= 10000000,
		    "8254 terminal count not early");
}

/* The clock ticks once a second: no two update flags closer than that. */
static void test_update_flag(void)
{
	uint64_t first = 0, second = 0;

	outb(0x70, 0x0c);
	(void)inb(0x71);
	while (!first)
		if (inb(0x71) & 0x10)
			first = rdtsc();
	while (!second)
		if (inb(0x71) & 0x10)
			second = rdtsc();
	/* The first flag may have been seen late, but not by this much. */
	guest_check(ns(second - first) > 500000000, "clock's seconds");
}

void guest_main(void)
{
	uint32_t r[4];

	cpuid(0x15, 0, r);
	guest_check(r[0] && r[1] && r[2], "CPUID 15h");
	if (!r[0])
		return;
	tsc_hz = (uint64_t)r[2] * r[1] / r[0];
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	*apic(APIC_SVR) = 0x1ff;
	guest_hook[VEC_TIMER] = note;
	test_rates();
	test_deadline_is_not_early();
	test_one_shot_is_not_early();
	test_terminal_count();
	test_update_flag();
}
