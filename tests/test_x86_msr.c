/*
 * test_x86_msr.c - MSRs, control registers, the paravirtual clock.
 */
#include "x86_harness.h"

#include <string.h>

#include "base/clock.h"
#include "cpu/x86/bits.h"
#include "cpu/x86/msr.h"
#include "x86_try.h"

#define NO_FAULT (-1)

/* --- MSRs ---------------------------------------------------------------- */

struct msr_case {
	uint32_t index;
	uint64_t value;
	bool ok;
};

static void test_values(void **state)
{
	static const struct msr_case cases[] = {
		{ 0xc0000081, ~0ull, true },       /* STAR */
		{ 0xc0000082, 1ull << 47, false }, /* LSTAR */
		{ 0xc0000082, ~0ull, true },
		{ 0xc0000100, 1ull << 63, false }, /* FS base */
		{ 0xc0000102, 0x7fffffffffff, true },
		{ 0xc0000103, 1ull << 32, false }, /* TSC_AUX */
		{ 0xc0000084, 1ull << 32, false }, /* FMASK */
		{ 0x174, 1ull << 32, false },      /* SYSENTER_CS */
		{ 0x175, 1ull << 47, false },
		{ 0x277, 0x0007040600070406, true }, /* PAT */
		{ 0x277, 0x0307040600070406, false },
		{ 0x200, 6, true }, /* MTRR base */
		{ 0x200, 2, false },
		{ 0x200, 1ull << 50, false },
		{ 0x201, 0x800, true }, /* MTRR mask */
		{ 0x201, 0x400, false },
		{ 0x210, 0, false }, /* only eight pairs */
		{ 0x250, 0x0606060606060606, true },
		{ 0x250, 0x0606060606060602, false },
		{ 0x2ff, 0xc00, true },
		{ 0x2ff, 0x1000, false },
		{ 0xfe, 0, false },
		{ 0x3a, 0, false },
		{ 0xdeadbeef, 0, false },
		{ 0x8b, 0, true },
	};
	struct harness *h = harness_new(64);

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			x86_wrmsr(h->cpu, cases[i].index, cases[i].value),
			cases[i].ok);
	harness_free(h);
}

static void test_read_back(void **state)
{
	static const uint32_t indices[] = {
		0xc0000081, 0xc0000082, 0xc0000083, 0xc0000100,
		0xc0000101, 0xc0000102, 0xc0000103, 0x174,
		0x175,      0x176,      0x26f,      0x258,
	};
	struct harness *h = harness_new(64);
	uint64_t v;

	for (unsigned i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
		uint64_t want =
			indices[i] >> 4 == 0x26 || indices[i] >> 4 == 0x25
				? 0x0606060606060600ull + i % 2
				: 0x1230 + i * 4;

		assert_true(x86_wrmsr(h->cpu, indices[i], want));
		assert_true(x86_rdmsr(h->cpu, indices[i], &v));
		assert_int_equal(v, want);
	}
	harness_free(h);
}

/* What firmware leaves could have been written by WRMSR. */
static void test_firmware_mtrrs(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t v;

	x86_set_firmware_mtrrs(h->cpu);
	for (uint32_t i = 0x200; i < 0x300; i++)
		if (x86_rdmsr(h->cpu, i, &v))
			assert_true(x86_wrmsr(h->cpu, i, v));
	assert_true(x86_rdmsr(h->cpu, 0x2ff, &v));
	assert_int_equal(v, 0xc06);
	assert_true(x86_rdmsr(h->cpu, 0x259, &v)); /* A0000: VGA */
	assert_int_equal(v, 0);
	harness_free(h);
}

static void test_efer(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t efer = cpu->msr.efer;

	assert_false(x86_wrmsr(cpu, 0xc0000080, efer & ~X86_EFER_LME));
	assert_true(x86_wrmsr(cpu, 0xc0000080, efer & ~X86_EFER_LMA));
	assert_int_equal(cpu->msr.efer, efer); /* LMA is read-only */
	assert_false(x86_wrmsr(cpu, 0xc0000080, efer | 1 << 12)); /* SVME */
	harness_free(h);
}

static void test_tsc_adjust(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t before = x86_tsc(cpu), v;

	assert_true(x86_wrmsr(cpu, 0x3b, 1ull << 50));
	assert_true(x86_tsc(cpu) - before >= 1ull << 50);
	assert_true(x86_wrmsr(cpu, 0x10, 0));
	assert_true(x86_tsc(cpu) < 1ull << 40);
	assert_true(x86_rdmsr(cpu, 0x3b, &v));
	assert_int_equal(v, cpu->msr.tsc_adjust);
	assert_true(x86_wrmsr(cpu, 0x3b, 0));
	assert_true(x86_tsc(cpu) - before < 1ull << 40);
	harness_free(h);
}

/* --- Control registers --------------------------------------------------- */

static void test_long_mode_and_back(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	cpu->cr3 = HARNESS_PT;
	cpu->msr.efer = X86_EFER_LME;
	assert_int_equal(
		X86_TRY(cpu, x86_write_cr0(cpu, cpu->cr0 | X86_CR0_PG)),
		X86_VEC_GP); /* no PAE */
	x86_write_cr4(cpu, X86_CR4_PAE);
	x86_write_cr0(cpu, cpu->cr0 | X86_CR0_PG);
	assert_true(cpu->msr.efer & X86_EFER_LMA);
	assert_int_equal(cpu->mode & X86_MODE_CODE, X86_MODE_CODE32);
	assert_int_equal(X86_TRY(cpu, x86_write_cr4(cpu, 0)), X86_VEC_GP);
	x86_write_cr0(cpu, cpu->cr0 & ~X86_CR0_PG);
	assert_false(cpu->msr.efer & X86_EFER_LMA);
	assert_true(cpu->msr.efer & X86_EFER_LME);
	harness_free(h);
}

static void test_pcide(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	if (X86_TRY(cpu, x86_write_cr4(cpu, cpu->cr4 | X86_CR4_PCIDE)) ==
	    X86_VEC_GP)
		skip(); /* not offered on this host */
	x86_write_cr3(cpu, HARNESS_PT | 5 | 1ull << 63);
	assert_int_equal(cpu->cr3, HARNESS_PT | 5);
	x86_write_cr4(cpu, cpu->cr4 & ~X86_CR4_PCIDE);
	assert_int_equal(
		X86_TRY(cpu, x86_write_cr4(cpu, cpu->cr4 | X86_CR4_PCIDE)),
		X86_VEC_GP); /* CR3[11:0] is not 0 */
	assert_int_equal(X86_TRY(cpu, x86_write_cr3(cpu, 1ull << 63)),
			 X86_VEC_GP);
	harness_free(h);
}

static void test_real_and_back(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	x86_write_cr0(cpu, cpu->cr0 & ~X86_CR0_PE);
	assert_true(cpu->mode & X86_MODE_REAL);
	x86_write_cr0(cpu, cpu->cr0 | X86_CR0_PE);
	assert_false(cpu->mode & X86_MODE_REAL);
	harness_free(h);
}

static void test_fpu_bits(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	assert_true(cpu->mode & X86_MODE_SSE);
	x86_write_cr0(cpu, cpu->cr0 | X86_CR0_TS);
	assert_false(cpu->mode & (X86_MODE_SSE | X86_MODE_X87));
	x86_write_cr0(cpu, cpu->cr0 & ~X86_CR0_TS);
	assert_true(cpu->mode & X86_MODE_X87);
	assert_false(cpu->mode & X86_MODE_AVX);
	harness_free(h);
}

/* --- Debug registers ----------------------------------------------------- */

static void test_code_breakpoint(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	x86_write_dr(cpu, 0, 0x1000);
	x86_write_dr(cpu, 3, 0x1000);
	assert_int_equal(x86_code_breakpoint(cpu, 0x1000), 0);
	x86_write_dr(cpu, 7, 0x82); /* G0, G3, both execute */
	assert_true(cpu->mode & X86_MODE_DEBUG);
	assert_int_equal(x86_code_breakpoint(cpu, 0x1000), 9);
	assert_int_equal(x86_code_breakpoint(cpu, 0x1001), 0);
	x86_write_dr(cpu, 7, 0);
	assert_false(cpu->mode & X86_MODE_DEBUG);
	harness_free(h);
}

static void test_io_breakpoint(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	x86_write_dr(cpu, 1, 0x70);
	x86_write_dr(cpu, 7, 0x8 | 2ull << 20 | 1ull << 22); /* 2 ports */
	x86_io_breakpoint(cpu, 0x71, 1);
	assert_int_equal(cpu->db_pending, 0); /* CR4.DE is clear */
	x86_write_cr4(cpu, cpu->cr4 | X86_CR4_DE);
	x86_io_breakpoint(cpu, 0x72, 1);
	assert_int_equal(cpu->db_pending, 0);
	x86_io_breakpoint(cpu, 0x6e, 4);
	assert_int_equal(cpu->db_pending, 2);
	harness_free(h);
}

/* --- The clock ----------------------------------------------------------- */

struct page {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

/* What a guest computes from the page. */
static uint64_t guest_ns(const struct page *p, uint64_t tsc)
{
	uint64_t delta = tsc - p->tsc;

	delta = p->shift < 0 ? delta >> -p->shift : delta << p->shift;
	return p->ns + (uint64_t)(((unsigned __int128)delta * p->mul) >> 32);
}

static struct harness *harness_with_clock(void)
{
	struct harness *h = harness_new(64);

	h->xm.clock = vclock_new();
	h->xm.tsc_khz = clock_tsc_khz();
	return h;
}

static void free_with_clock(struct harness *h)
{
	vclock_free(h->xm.clock);
	harness_free(h);
}

static void test_kvmclock(void **state)
{
	struct harness *h = harness_with_clock();
	const struct page *p = harness_ptr(h, HARNESS_DATA);
	int64_t off;

	assert_true(x86_wrmsr(h->cpu, 0x4b564d01, HARNESS_DATA | 1));
	assert_int_equal(p->version & 1, 0);
	assert_true(p->version > 0);
	assert_int_equal(p->flags & 1, 1);
	off = (int64_t)(guest_ns(p, x86_tsc(h->cpu)) - vclock_now(h->xm.clock));
	assert_true(off > -100000 && off < 100000); /* a busy host */
	free_with_clock(h);
}

/* All frequencies scale without losing a microsecond a second. */
static void test_kvmclock_scale(void **state)
{
	static const uint32_t khz[] = { 1000,    999999,  1000000, 1000001,
					2445000, 3999999, 5000000 };
	struct harness *h = harness_with_clock();
	const struct page *p = harness_ptr(h, HARNESS_DATA);

	for (unsigned i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
		int64_t ns;

		h->xm.tsc_khz = khz[i];
		assert_true(x86_wrmsr(h->cpu, 0x12, HARNESS_DATA | 1));
		ns = guest_ns(p, p->tsc + khz[i] * 1000ull) - p->ns;
		assert_true(ns > 999999000 && ns < 1000001000);
	}
	free_with_clock(h);
}

/* A guest from a host with another TSC: both clocks run as they did there. */
static void test_scaled_tsc(void **state)
{
	static const unsigned percent[] = { 50, 75, 130, 400 };
	struct harness *h = harness_with_clock();
	const struct page *p = harness_ptr(h, HARNESS_DATA);

	assert_null(h->xm.engine_ops->scale_tsc);
	for (unsigned i = 0; i < sizeof(percent) / sizeof(percent[0]); i++) {
		uint32_t khz = clock_tsc_khz() / 100 * percent[i];
		uint64_t tsc, ns;
		int64_t off;

		assert_int_equal(x86_set_tsc_khz(&h->xm, khz, NULL), 0);
		assert_int_equal(h->xm.tsc_khz, khz);
		h->cpu->tsc_offset = 12345 - x86_host_tsc(&h->xm);
		assert_true(x86_wrmsr(h->cpu, 0x12, HARNESS_DATA | 1));
		tsc = x86_tsc(h->cpu);
		ns = vclock_now(h->xm.clock);
		assert_true(tsc >= 12345);
		while (vclock_now(h->xm.clock) < ns + 20000000)
			;
		tsc = x86_tsc(h->cpu) - tsc;
		ns = vclock_now(h->xm.clock) - ns;
		off = (int64_t)(tsc * 1000000 / khz - ns);
		assert_true(off > -1000000 && off < 1000000);
		off = (int64_t)(guest_ns(p, x86_tsc(h->cpu)) -
				vclock_now(h->xm.clock));
		assert_true(off > -1000000 && off < 1000000);
	}
	free_with_clock(h);
}

static void test_kvmclock_off_and_elsewhere(void **state)
{
	struct harness *h = harness_with_clock();
	const struct page *p = harness_ptr(h, HARNESS_DATA);

	assert_true(x86_wrmsr(h->cpu, 0x12, HARNESS_DATA)); /* disabled */
	assert_int_equal(p->version, 0);
	assert_true(x86_wrmsr(h->cpu, 0x12, ~2ull)); /* not RAM */
	assert_true(x86_wrmsr(h->cpu, 0x11, HARNESS_RAM - 4));
	free_with_clock(h);
}

static void test_wall_clock(void **state)
{
	struct harness *h = harness_with_clock();
	const uint32_t *p = harness_ptr(h, HARNESS_DATA);
	uint64_t boot = clock_real_ns() - vclock_now(h->xm.clock);

	assert_true(x86_wrmsr(h->cpu, 0x4b564d00, HARNESS_DATA));
	assert_int_equal(p[0] & 1, 0);
	assert_true(p[1] - boot / 1000000000 <= 1);
	assert_true(p[2] < 1000000000);
	free_with_clock(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_firmware_mtrrs),
		cmocka_unit_test(test_efer),
		cmocka_unit_test(test_tsc_adjust),
		cmocka_unit_test(test_long_mode_and_back),
		cmocka_unit_test(test_pcide),
		cmocka_unit_test(test_real_and_back),
		cmocka_unit_test(test_fpu_bits),
		cmocka_unit_test(test_code_breakpoint),
		cmocka_unit_test(test_io_breakpoint),
		cmocka_unit_test(test_kvmclock),
		cmocka_unit_test(test_kvmclock_scale),
		cmocka_unit_test(test_scaled_tsc),
		cmocka_unit_test(test_kvmclock_off_and_elsewhere),
		cmocka_unit_test(test_wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
