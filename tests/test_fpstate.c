/*
 * test_fpstate.c - saving and restoring x87, SSE and AVX state, its layouts in
 * every mode, and the rules of XSAVE's header.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/cpuid.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk.h"

#define XSTATE_BV 512
#define XCOMP_BV  520

static struct harness *machine(unsigned bits)
{
	struct harness *h = harness_new(bits);

	assert_int_equal(thunk_init(NULL), 0);
	h->cpu->cr4 |= X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
	h->cpu->xcr0 = 7;
	x86_mode_changed(h->cpu);
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	h->cpu->gpr[X86_RAX] = 7;
	h->cpu->gpr[X86_RDX] = 0;
	memset(h->cpu->fpu.b, 0, 512);
	fpu_set16(h->cpu, FPU_FCW, FPU_FCW_INIT);
	fpu_set32(h->cpu, FPU_MXCSR, FPU_MXCSR_INIT);
	return h;
}

static uint8_t *area(struct harness *h)
{
	return harness_ptr(h, HARNESS_DATA);
}

static void area_u64(struct harness *h, unsigned at, uint64_t v)
{
	memcpy(area(h) + at, &v, 8);
}

/* An exception is pending, so FOP, FIP and FDP are reported on every host. */
static void pend(struct harness *h)
{
	fpu_set16(h->cpu, FPU_FCW, 0x037e);
	fpu_set16(h->cpu, FPU_FSW, FPU_FSW_ES | FPU_FSW_B | 1);
	fpu_set16(h->cpu, FPU_FOP, 0x5a5);
	fpu_set64(h->cpu, FPU_FIP, 0x1122334455667788);
	fpu_set64(h->cpu, FPU_FDP, 0x99aabbccddeeff00);
}

HARNESS_ASM(code_fxsave, 64, "fxsave (%rbx); fxsave64 (%rbx)");
static void fxsave_has_two_layouts(void **state)
{
	struct harness *h = machine(64);

	pend(h);
	memset(fpu_xmm(h->cpu, 15), 0x77, 16);
	harness_asm(h, code_fxsave);
	assert_true(harness_step(h, 1));
	assert_int_equal(harness_u64(h, HARNESS_DATA + 8), 0x55667788);
	assert_int_equal(harness_u64(h, HARNESS_DATA + 16), 0xddeeff00);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 28), 0xffff);
	assert_int_equal(area(h)[160 + 15 * 16], 0x77);
	assert_true(harness_step(h, 1));
	assert_true(harness_u64(h, HARNESS_DATA + 8) == 0x1122334455667788);
	assert_true(harness_u64(h, HARNESS_DATA + 16) == 0x99aabbccddeeff00);
	harness_free(h);
}

HARNESS_ASM(code_fxsave32, 32, "fxsave (%ebx)");
static void fxsave_in_32_bit_code_leaves_high_registers(void **state)
{
	struct harness *h = machine(32);

	memset(fpu_xmm(h->cpu, 8), 0x77, 16);
	harness_asm(h, code_fxsave32);
	assert_true(harness_step(h, 1));
	assert_int_equal(area(h)[160 + 8 * 16], 0);
	harness_free(h);
}

HARNESS_ASM(code_fxrstor, 64, "fxrstor (%rbx)");
static void fxrstor_refuses_reserved_mxcsr_bits(void **state)
{
	struct harness *h = machine(64);

	memset(fpu_xmm(h->cpu, 0), 0x55, 16);
	area_u64(h, FPU_MXCSR, 0x11f80);
	harness_asm(h, code_fxrstor);
	harness_expect_fault(h, X86_VEC_GP);
	assert_int_equal(fpu_xmm(h->cpu, 0)[0], 0x55);
	assert_int_equal(fpu_get32(h->cpu, FPU_MXCSR), 0x1f80);
	h->cpu->gpr[X86_RBX] += 8;
	harness_expect_fault(h, X86_VEC_GP);
	harness_free(h);
}

static void a_fault_in_the_second_page_saves_nothing(void **state)
{
	struct harness *h = machine(64);
	uint64_t at = HARNESS_DATA + 4096 - 64;

	*harness_pte(h, HARNESS_DATA + 4096) = 0;
	x86_tlb_flush_all(h->cpu);
	h->cpu->gpr[X86_RBX] = at;
	harness_asm(h, code_fxsave);
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(harness_u64(h, at), 0);
	harness_free(h);
}

HARNESS_ASM(code_xsave, 64, "xsave (%rbx); xsaveopt (%rbx); xsavec (%rbx)");
static void xsave_tells_what_is_in_use(void **state)
{
	struct harness *h = machine(64);

	memset(fpu_ymm_high(h->cpu, 3), 1, 16);
	memset(area(h), 0xee, 1024);
	harness_asm(h, code_xsave);
	assert_true(harness_step(h, 1));
	/* only AVX; bits not asked for stay */
	assert_int_equal(area(h)[XSTATE_BV], 0xec);
	assert_int_equal(area(h)[160], 0); /* XSAVE writes initial state too */
	assert_int_equal(area(h)[576 + 48], 1);
	memset(area(h), 0xee, 1024);
	assert_true(harness_step(h, 1));
	assert_int_equal(area(h)[160], 0xee); /* XSAVEOPT does not */
	assert_int_equal(harness_u32(h, HARNESS_DATA + 24), 0x1f80);
	memset(area(h), 0xee, 1024);
	assert_true(harness_step(h, 1));
	assert_true(harness_u64(h, HARNESS_DATA + XSTATE_BV) == 4);
	assert_true(harness_u64(h, HARNESS_DATA + XCOMP_BV) ==
		    (7 | 1ull << 63));
	assert_int_equal(harness_u32(h, HARNESS_DATA + 24), 0xeeeeeeee);
	harness_free(h);
}

static void xsave_obeys_the_mask(void **state)
{
	struct harness *h = machine(64);

	h->cpu->gpr[X86_RAX] = 1;
	memset(fpu_xmm(h->cpu, 0), 9, 16);
	harness_asm(h, code_xsave);
	assert_true(harness_step(h, 1));
	assert_int_equal(area(h)[160], 0);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 24), 0);
	harness_free(h);
}

HARNESS_ASM(code_xrstor, 64, "xrstor (%rbx)");
static void xrstor_checks_the_header(void **state)
{
	static const struct {
		unsigned at;
		uint64_t value;
		bool ok;
	} t[] = {
		{ XSTATE_BV, 7, true },
		{ XSTATE_BV, 8, false },
		{ XSTATE_BV, 1ull << 63, false },
		{ XCOMP_BV, 1, false },
		{ XCOMP_BV, 1ull << 63, true },
		{ XCOMP_BV, 1ull << 63 | 8, false },
		{ XCOMP_BV + 8, 1, false },
		{ XCOMP_BV + 16, 1, true }, /* standard form: not looked at */
		{ 24, 0x10000, false },
	};
	struct harness *h = machine(64);

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		memset(area(h), 0, 1024);
		area_u64(h, t[i].at, t[i].value);
		harness_asm(h, code_xrstor);
		if (t[i].ok)
			assert_true(harness_step(h, 1));
		else
			harness_expect_fault(h, X86_VEC_GP);
	}
	memset(area(h), 0, 1024); /* compacted: all of the rest must be 0 */
	area_u64(h, XCOMP_BV, 1ull << 63);
	area_u64(h, XCOMP_BV + 48, 1);
	harness_asm(h, code_xrstor);
	harness_expect_fault(h, X86_VEC_GP);
	harness_free(h);
}

static void xrstor_initialises_what_is_absent(void **state)
{
	struct harness *h = machine(64);

	memset(fpu_xmm(h->cpu, 1), 0x11, 16);
	memset(fpu_ymm_high(h->cpu, 1), 0x22, 16);
	fpu_set16(h->cpu, FPU_FCW, 0x40);
	h->cpu->gpr[X86_RAX] = 3;
	area_u64(h, FPU_MXCSR, 0x1fbf);
	harness_asm(h, code_xrstor);
	assert_true(harness_step(h, 1));
	assert_int_equal(fpu_xmm(h->cpu, 1)[0], 0);
	assert_int_equal(fpu_ymm_high(h->cpu, 1)[0], 0x22); /* not asked for */
	assert_int_equal(fpu_get16(h->cpu, FPU_FCW), FPU_FCW_INIT);
	assert_int_equal(fpu_get32(h->cpu, FPU_MXCSR), 0x1fbf);
	harness_free(h);
}

HARNESS_ASM(code_xsaves, 64, "xsaves (%rbx); xrstors (%rbx)");
static void supervisor_forms_are_undefined(void **state)
{
	struct harness *h = machine(64);

	harness_asm(h, code_xsaves);
	harness_expect_fault(h, X86_VEC_UD);
	h->cpu->rip += 3;
	harness_expect_fault(h, X86_VEC_UD);
	harness_free(h);
}

/* ST(0) = 1, TOP = 7; the other registers are empty. */
static void one_register(struct harness *h)
{
	fpu_set16(h->cpu, FPU_FSW, 7 << 11);
	h->cpu->fpu.b[FPU_FTW] = 0x80;
	memcpy(h->cpu->fpu.b + FPU_ST, "\0\0\0\0\0\0\0\200\377\077", 10);
	fpu_set16(h->cpu, FPU_FOP, 0x1e8);
	fpu_set64(h->cpu, FPU_FIP, 0x12345);
	fpu_set64(h->cpu, FPU_FDP, 0x6789a);
}

HARNESS_ASM(code_env, 32, "fnstenv (%ebx); fnstenvs 64(%ebx)");
static void environments_of_protected_mode(void **state)
{
	struct harness *h = machine(32);
	const uint32_t *w = (const uint32_t *)area(h);
	const uint16_t *s = (const uint16_t *)(area(h) + 64);

	one_register(h);
	harness_asm(h, code_env);
	assert_true(harness_step(h, 2));
	assert_int_equal(w[0], 0xffff037f);
	assert_int_equal(w[1], 0xffff3800);
	assert_int_equal(w[2], 0xffff3fff); /* R7 valid, the rest empty */
	assert_int_equal(w[3], 0x12345);
	assert_int_equal(w[4], 0x01e80000);
	assert_int_equal(w[5], 0x6789a);
	assert_int_equal(s[0], 0x037f);
	assert_int_equal(s[2], 0x3fff);
	assert_int_equal(s[3], 0x2345);
	assert_int_equal(s[5], 0x789a);
	harness_free(h);
}

HARNESS_ASM(code_env16, 16, "fnstenv (%bx); fnstenvl 32(%bx)");
static void environments_of_real_mode(void **state)
{
	struct harness *h = machine(16);
	const uint16_t *s;
	const uint32_t *w;

	h->cpu->gpr[X86_RBX] = 0x800;
	s = harness_ptr(h, 0x800);
	w = harness_ptr(h, 0x820);
	one_register(h);
	harness_asm(h, code_env16);
	assert_true(harness_step(h, 2));
	assert_int_equal(s[3], 0x2345);
	assert_int_equal(s[4], 0x1000 | 0x1e8);
	assert_int_equal(s[5], 0x789a);
	assert_int_equal(s[6], 0x6000);
	assert_int_equal(w[3], 0x2345);
	assert_int_equal(w[4], 0x1000 | 0x1e8);
	assert_int_equal(w[5], 0x789a);
	assert_int_equal(w[6], 0x6000);
	harness_free(h);
}

HARNESS_ASM(code_save, 32, "fnsave (%ebx); frstor (%ebx)");
static void fnsave_and_frstor_agree(void **state)
{
	struct harness *h = machine(32);
	uint8_t before[512];

	one_register(h);
	for (unsigned i = 1; i < 8; i++)
		memset(h->cpu->fpu.b + FPU_ST + 16 * i, (int)i, 10);
	memcpy(before, h->cpu->fpu.b, sizeof(before));
	harness_asm(h, code_save);
	assert_true(harness_step(h, 1));
	assert_int_equal(fpu_get16(h->cpu, FPU_FSW), 0);
	assert_int_equal(h->cpu->fpu.b[FPU_FTW], 0);
	/* TOP became 0; R7, which held ST(0), is now ST(7) */
	assert_int_equal(h->cpu->fpu.b[FPU_ST + 7 * 16 + 9], 0x3f);
	assert_true(harness_step(h, 1));
	assert_memory_equal(h->cpu->fpu.b, before, sizeof(before));
	harness_free(h);
}

HARNESS_ASM(code_fwait, 32, "fwait");
static void fwait_looks_at_mp_and_ts(void **state)
{
	struct harness *h = machine(32);

	harness_asm(h, code_fwait);
	h->cpu->cr0 |= X86_CR0_TS;
	h->cpu->cr0 &= ~X86_CR0_MP;
	x86_mode_changed(h->cpu);
	assert_true(harness_step(h, 1));
	h->cpu->rip = HARNESS_CODE;
	h->cpu->cr0 |= X86_CR0_MP;
	x86_mode_changed(h->cpu);
	harness_expect_fault(h, X86_VEC_NM);
	harness_free(h);
}

HARNESS_ASM(code_gather, 64, "vpgatherdd %xmm2, (%rbx,%xmm1,4), %xmm0");
static void a_gather_goes_on_where_it_faulted(void **state)
{
	struct harness *h = machine(64);
	uint32_t index[4] = { 0, 1, 1024, 2 }, *dest, *mask;
	uint64_t pte;

	if (!x86_has(X86_FEAT_AVX2)) {
		harness_free(h);
		skip();
	}
	dest = (uint32_t *)fpu_xmm(h->cpu, 0);
	mask = (uint32_t *)fpu_xmm(h->cpu, 2);
	for (uint32_t i = 0; i < 2048; i++)
		memcpy(area(h) + 4 * i, &i, 4);
	memcpy(fpu_xmm(h->cpu, 1), index, 16);
	memset(mask, 0xff, 16);
	pte = *harness_pte(h, HARNESS_DATA + 4096);
	*harness_pte(h, HARNESS_DATA + 4096) = 0;
	x86_tlb_flush_all(h->cpu);
	harness_asm(h, code_gather);
	harness_expect_fault(h, X86_VEC_PF);
	assert_true(h->cpu->fault.cr2 == HARNESS_DATA + 4096);
	assert_int_equal(dest[1], 1);
	assert_int_equal(mask[1], 0);
	assert_int_equal(mask[2], 0xffffffff);
	*harness_pte(h, HARNESS_DATA + 4096) = pte;
	memset(area(h), 0xaa, 8); /* what was loaded is not loaded again */
	x86_tlb_flush_all(h->cpu);
	assert_true(harness_step(h, 1));
	assert_int_equal(dest[0], 0);
	assert_int_equal(dest[1], 1);
	assert_int_equal(dest[2], 1024);
	assert_int_equal(dest[3], 2);
	assert_int_equal(mask[3], 0);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fxsave_has_two_layouts),
		cmocka_unit_test(fxsave_in_32_bit_code_leaves_high_registers),
		cmocka_unit_test(fxrstor_refuses_reserved_mxcsr_bits),
		cmocka_unit_test(a_fault_in_the_second_page_saves_nothing),
		cmocka_unit_test(xsave_tells_what_is_in_use),
		cmocka_unit_test(xsave_obeys_the_mask),
		cmocka_unit_test(xrstor_checks_the_header),
		cmocka_unit_test(xrstor_initialises_what_is_absent),
		cmocka_unit_test(supervisor_forms_are_undefined),
		cmocka_unit_test(environments_of_protected_mode),
		cmocka_unit_test(environments_of_real_mode),
		cmocka_unit_test(fnsave_and_frstor_agree),
		cmocka_unit_test(fwait_looks_at_mp_and_ts),
		cmocka_unit_test(a_gather_goes_on_where_it_faulted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
