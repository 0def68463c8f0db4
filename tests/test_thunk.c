/*
 * test_thunk.c - vector and x87 instructions that run on the host: what the
 * differential test (diff.h) cannot see from user mode, or would see rarely.
 */
#include "x86_harness.h"

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "cpu/x86/cpuid.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk.h"

/* cmocka puts its own handler in place before each test; ours, found first. */
static struct sigaction sigfpe;

/* A machine whose x87 is as after FNINIT. */
static struct harness *machine(unsigned bits)
{
	struct harness *h = harness_new(bits);

	fpu_set16(h->cpu, FPU_FCW, FPU_FCW_INIT);
	h->cpu->fpu.b[FPU_FTW] = 0;
	assert_int_equal(sigaction(SIGFPE, &sigfpe, NULL), 0);
	return h;
}

static void mode_with(struct harness *h, uint64_t cr0_set, uint64_t cr4_clear,
		      uint64_t xcr0)
{
	h->cpu->cr0 = (h->cpu->cr0 & ~(X86_CR0_EM | X86_CR0_TS)) | cr0_set;
	h->cpu->cr4 |= X86_CR4_OSXSAVE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	h->cpu->cr4 &= ~cr4_clear;
	h->cpu->xcr0 = xcr0;
	x86_mode_changed(h->cpu);
}

/* Tries one instruction in every state of the availability table. */
static void expect(struct harness *h, const uint8_t *code, size_t len,
		   int vector)
{
	harness_code(h, code, len);
	if (vector < 0)
		assert_true(harness_step(h, 1));
	else
		harness_expect_fault(h, (unsigned)vector);
}

#define NONE (-1)
HARNESS_ASM(code_x87, 64, "fld1");
HARNESS_ASM(code_mmx, 64, "paddb %mm1, %mm2");
HARNESS_ASM(code_sse, 64, "paddb %xmm1, %xmm2");
HARNESS_ASM(code_avx, 64, "vpaddb %xmm1, %xmm2, %xmm3");
static void unavailable_is_ud_or_nm(void **state)
{
	static const struct {
		uint64_t cr0, cr4_clear, xcr0;
		int x87, mmx, sse, avx;
	} t[] = {
		{ 0, 0, 7, NONE, NONE, NONE, NONE },
		{ X86_CR0_TS, 0, 7, 7, 7, 7, 7 },
		{ X86_CR0_EM, 0, 7, 7, 6, 6, NONE },
		{ X86_CR0_EM | X86_CR0_TS, 0, 7, 7, 6, 6, 7 },
		{ 0, X86_CR4_OSFXSR, 7, NONE, NONE, 6, NONE },
		{ X86_CR0_TS, X86_CR4_OSFXSR, 7, 7, 7, 6, 7 },
		{ 0, X86_CR4_OSXSAVE, 7, NONE, NONE, NONE, 6 },
		{ 0, 0, 3, NONE, NONE, NONE, 6 },
		{ X86_CR0_TS, 0, 3, 7, 7, 7, 6 },
	};
	struct harness *h = machine(64);

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		mode_with(h, t[i].cr0, t[i].cr4_clear, t[i].xcr0);
		h->cpu->fpu.b[FPU_FTW] = 0; /* room for FLD1 */
		expect(h, code_x87, code_x87_end - code_x87, t[i].x87);
		expect(h, code_mmx, code_mmx_end - code_mmx, t[i].mmx);
		expect(h, code_sse, code_sse_end - code_sse, t[i].sse);
		if (x86_has(X86_FEAT_AVX))
			expect(h, code_avx, code_avx_end - code_avx, t[i].avx);
	}
	harness_free(h);
}

HARNESS_ASM(code_divps, 64, "divps %xmm1, %xmm0");
static void an_unmasked_simd_exception_is_xm_or_ud(void **state)
{
	struct harness *h = machine(64);
	static const float one[4] = { 1, 1, 1, 1 };

	memcpy(fpu_xmm(h->cpu, 0), one, 16); /* 1 / 0 */
	fpu_set32(h->cpu, FPU_MXCSR, 0x1f80 & ~0x200u);
	harness_asm(h, code_divps);
	harness_expect_fault(h, X86_VEC_XM);
	assert_memory_equal(fpu_xmm(h->cpu, 0), one, 16);
	assert_int_equal(fpu_get32(h->cpu, FPU_MXCSR), 0x1d84);
	h->cpu->cr4 &= ~X86_CR4_OSXMMEXCPT;
	harness_expect_fault(h, X86_VEC_UD);
	assert_int_equal(_mm_getcsr() & ~0x3fu, 0x1f80);
	harness_free(h);
}

HARNESS_ASM(code_mulss, 64, "mulss %xmm1, %xmm0");
static void the_hosts_rounding_is_its_own(void **state)
{
	struct harness *h = machine(64);

	fpu_set32(h->cpu, FPU_MXCSR, 0xff80); /* truncate, flush to zero */
	harness_asm(h, code_mulss);
	assert_true(harness_step(h, 1));
	assert_int_equal(_mm_getcsr() & ~0x3fu, 0x1f80);
	assert_int_equal(fpu_get32(h->cpu, FPU_MXCSR), 0xff80);
	harness_free(h);
}

HARNESS_ASM(code_fdiv, 64,
	    "push $0; fldcw (%rsp); fldz; fld1;"
	    "fdiv %st(1), %st; fnstsw %ax; fwait");
static void an_unmasked_x87_exception_waits(void **state)
{
	struct harness *h = machine(64);

	harness_asm(h, code_fdiv);
	assert_true(harness_step(h, 6)); /* FNSTSW does not wait */
	assert_int_equal(h->cpu->gpr[X86_RAX] & 0x80ff, 0x8084);
	harness_expect_fault(h, X86_VEC_MF);
	harness_free(h);
}

HARNESS_ASM(code_fst, 64,
	    "push $0; fldcw (%rsp); fldpi;"
	    "fstps 4094(%rbx)");
static void a_withheld_x87_store_writes_nothing(void **state)
{
	struct harness *h = machine(64);
	uint64_t before = 0x1122334455667788, at = HARNESS_DATA + 4092;
	static const uint8_t huge[10] = {
		0, 0, 0, 0, 0, 0, 0, 0x80, 0xfe, 0x7f
	};

	harness_asm(h, code_fst);
	harness_write(h, at, &before, 8); /* across two pages */
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	assert_true(harness_step(h, 3));
	memcpy(h->cpu->fpu.b + FPU_ST, huge, 10); /* overflows */
	assert_true(harness_step(h, 1));
	assert_int_equal(fpu_get16(h->cpu, FPU_FSW) & 0x88, 0x88);
	assert_int_equal(harness_u64(h, at), before);
	assert_memory_equal(h->cpu->fpu.b + FPU_ST, huge, 10);
	harness_free(h);
}

HARNESS_ASM(code_store_pop, 64, "fld1; fstpl (%rbx)");
static void a_store_that_faults_does_not_pop(void **state)
{
	struct harness *h = machine(64);
	uint16_t fsw;

	harness_asm(h, code_store_pop);
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	*harness_pte(h, HARNESS_DATA) &= ~X86_PTE_W;
	x86_tlb_flush_all(h->cpu);
	assert_true(harness_step(h, 1));
	fsw = fpu_get16(h->cpu, FPU_FSW);
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(fpu_get16(h->cpu, FPU_FSW), fsw);
	harness_free(h);
}

HARNESS_ASM(code_moves, 64,
	    "movaps (%rbx), %xmm3; movups (%rbx), %xmm3;"
	    "movaps %xmm3, (%rbx)");
static void alignment_is_checked(void **state)
{
	struct harness *h = machine(64);

	harness_asm(h, code_moves);
	h->cpu->gpr[X86_RBX] = HARNESS_DATA + 8;
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->rip += 3;
	assert_true(harness_step(h, 1));
	harness_expect_fault(h, X86_VEC_GP);
	harness_free(h);
}

HARNESS_ASM(code_halves, 64,
	    "paddd %xmm1, %xmm2; vpaddd %xmm1, %xmm2, %xmm4;"
	    "vpaddd %ymm1, %ymm2, %ymm5");
static void vex_clears_upper_halves_and_sse_keeps_them(void **state)
{
	struct harness *h = machine(64);
	uint8_t ones[16], zeros[16] = { 0 };

	if (!x86_has(X86_FEAT_AVX2)) {
		harness_free(h);
		skip();
	}
	memset(ones, 0xff, 16);
	mode_with(h, 0, 0, 7);
	for (unsigned i = 0; i < 16; i++)
		memset(fpu_ymm_high(h->cpu, i), 0xff, 16);
	harness_asm(h, code_halves);
	assert_true(harness_step(h, 3));
	assert_memory_equal(fpu_ymm_high(h->cpu, 2), ones, 16);
	assert_memory_equal(fpu_ymm_high(h->cpu, 4), zeros, 16);
	assert_int_equal(fpu_ymm_high(h->cpu, 5)[0], 0xfe);
	assert_memory_equal(fpu_ymm_high(h->cpu, 6), ones, 16);
	harness_free(h);
}

HARNESS_ASM(code_cvt32, 32, "vcvtsi2sd %ecx, %xmm1, %xmm1; fld1; fnstsw %ax");
static void code32_runs_too(void **state)
{
	struct harness *h = machine(32);
	double v;

	if (!x86_has(X86_FEAT_AVX)) {
		harness_free(h);
		skip();
	}
	mode_with(h, 0, 0, 7);
	harness_asm(h, code_cvt32);
	h->cpu->gpr[X86_RCX] = 77;
	assert_true(harness_step(h, 3));
	memcpy(&v, fpu_xmm(h->cpu, 1), 8);
	assert_true(v == 77);
	assert_int_equal(h->cpu->gpr[X86_RAX] & 0x3800, 0x3800);
	harness_free(h);
}

/*
 * SHUFPS and PSHUFD with every immediate and register: more encodings than
 * the cache holds.  Later ones are built for each execution.
 */
static void more_encodings_than_the_cache_holds(void **state)
{
	struct harness *h = machine(64);
	uint32_t lanes[4] = { 10, 11, 12, 13 }, got[4];

	for (unsigned i = 0; i < 40000; i++) {
		unsigned dst = i >> 8 & 7, src = i >> 11 & 7, imm = i & 255;
		uint8_t code[] = {
			0x66, (uint8_t)(0x40 | (i >> 14 & 1) << 2), 0x0f,
			0x70, (uint8_t)(0xc0 | dst << 3 | src),     (uint8_t)imm
		};

		if (i >= 32768) /* SHUFPS of a register with itself */
			memcpy(code, (uint8_t[]){ 0x2e, 0x45 }, 2);
		if (i >= 32768)
			code[3] = 0xc6;
		h->cpu->rip = HARNESS_CODE;
		harness_write(h, HARNESS_CODE, code, sizeof(code));
		memcpy(fpu_xmm(h->cpu, src), lanes, 16);
		memcpy(fpu_xmm(h->cpu, src + 8), lanes, 16);
		memcpy(fpu_xmm(h->cpu, dst + 8), lanes, 16);
		assert_true(harness_step(h, 1));
		memcpy(got, fpu_xmm(h->cpu, dst + (i >= 16384 ? 8 : 0)), 16);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(got[k], 10 + (imm >> 2 * k & 3));
	}
	harness_free(h);
}

/* Each thread, with a machine of its own, meets the same new encodings. */
static bool thread_runs(struct harness *h, unsigned imm)
{
	uint8_t code[] = { 0x66, 0x0f, 0x70, 0xca, (uint8_t)imm };
	uint32_t lanes[4] = { 20, 21, 22, 23 }, got[4];

	h->cpu->rip = HARNESS_CODE;
	harness_write(h, HARNESS_CODE, code, sizeof(code));
	memcpy(fpu_xmm(h->cpu, 2), lanes, 16);
	if (!harness_step(h, 1))
		return false;
	memcpy(got, fpu_xmm(h->cpu, 1), 16);
	for (unsigned k = 0; k < 4; k++)
		if (got[k] != 20 + (imm >> 2 * k & 3))
			return false;
	return true;
}

static void *thread_main(void *opaque)
{
	for (unsigned i = 0; i < 4096; i++)
		if (!thread_runs(opaque, i & 255))
			return opaque;
	return NULL;
}

static void threads_share_the_cache(void **state)
{
	struct harness *h[4];
	pthread_t thread[4];
	void *failed;

	for (unsigned i = 0; i < 4; i++) {
		h[i] = machine(64);
		assert_int_equal(
			pthread_create(&thread[i], NULL, thread_main, h[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
		harness_free(h[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unavailable_is_ud_or_nm),
		cmocka_unit_test(an_unmasked_simd_exception_is_xm_or_ud),
		cmocka_unit_test(the_hosts_rounding_is_its_own),
		cmocka_unit_test(an_unmasked_x87_exception_waits),
		cmocka_unit_test(a_withheld_x87_store_writes_nothing),
		cmocka_unit_test(a_store_that_faults_does_not_pop),
		cmocka_unit_test(alignment_is_checked),
		cmocka_unit_test(vex_clears_upper_halves_and_sse_keeps_them),
		cmocka_unit_test(code32_runs_too),
		cmocka_unit_test(threads_share_the_cache),
		cmocka_unit_test(more_encodings_than_the_cache_holds),
	};

	if (thunk_init(NULL) < 0 || sigaction(SIGFPE, NULL, &sigfpe) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
