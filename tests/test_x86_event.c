/*
 * test_x86_event.c - delivery through the IDT, in every mode; double faults.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/bits.h"
#include "x86_try.h"

static bool deliver(struct harness *h, uint8_t vector, uint8_t type, int error)
{
	struct x86_event ev = {
		.vector = vector,
		.type = type,
		.has_error = error >= 0,
		.error = error < 0 ? 0 : error,
	};

	return x86_deliver(h->cpu, &ev);
}

/* A TSS whose RSP0 (64-bit) or SS0:ESP0 is given. */
#define TSS_AT 0x30000ull

static void set_tss(struct harness *h, uint64_t sp0, uint16_t ss0)
{
	memset(harness_ptr(h, TSS_AT), 0, 128);
	harness_write(h, TSS_AT + 4, &sp0, 8);
	if (!x86_long_mode(h->cpu))
		harness_write(h, TSS_AT + 8, &ss0, 2);
	h->cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x28,
		.attr = 0x8b,
		.base = TSS_AT,
		.limit = 0x67,
	};
}

/* --- Real mode ----------------------------------------------------------- */

static void test_real(void **state)
{
	struct harness *h = harness_new(16);
	struct x86_cpu *cpu = h->cpu;

	harness_gate(h, 0x21, HARNESS_CODE + 0x44);
	cpu->rip = 0x10;
	cpu->rflags = X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_TF | X86_FLAG_CF;
	x86_mode_changed(cpu);
	assert_true(deliver(h, 0x21, X86_EV_SOFT, -1));
	assert_int_equal(cpu->rip, 0x44);
	assert_int_equal(cpu->seg[X86_CS].base, HARNESS_CODE);
	assert_int_equal(cpu->gpr[X86_RSP], 0x8000 - 6);
	assert_int_equal(harness_u32(h, 0x7ffa) & 0xffff, 0x10);
	assert_int_equal(harness_u32(h, 0x7ffe) & 0xffff, 0x303);
	assert_int_equal(cpu->rflags, X86_FLAG_1 | X86_FLAG_CF);
	harness_free(h);
}

/* Beyond the IVT's limit: #GP, which is beyond it too, and so on. */
static void test_real_no_ivt(void **state)
{
	struct harness *h = harness_new(16);

	h->cpu->idtr.limit = 0;
	assert_false(deliver(h, 0x21, X86_EV_SOFT, -1));
	harness_free(h);
}

/* --- Long mode ----------------------------------------------------------- */

static void test_long_same_ring(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t sp = HARNESS_STACK - 8; /* gets aligned */

	harness_gate(h, 14, 0x11000);
	cpu->gpr[X86_RSP] = sp;
	cpu->rip = 0x1234;
	assert_true(deliver(h, 14, X86_EV_FAULT, 7));
	assert_int_equal(cpu->rip, 0x11000);
	sp &= ~15ull;
	assert_int_equal(cpu->gpr[X86_RSP], sp - 48);
	assert_int_equal(harness_u64(h, sp - 48), 7);
	assert_int_equal(harness_u64(h, sp - 40), 0x1234);
	assert_int_equal(harness_u64(h, sp - 32), HARNESS_CS);
	assert_int_equal(harness_u64(h, sp - 24), X86_FLAG_1 | X86_FLAG_RF);
	assert_int_equal(harness_u64(h, sp - 16), HARNESS_STACK - 8);
	assert_int_equal(harness_u64(h, sp - 8), HARNESS_DS);
	harness_free(h);
}

static void test_long_inner(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	set_tss(h, 0x50000, 0);
	harness_gate(h, 0x20, 0x11000);
	harness_user(h);
	cpu->rip = 0x1234;
	assert_true(deliver(h, 0x20, X86_EV_INTR, -1));
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->seg[X86_SS].sel, 0);
	assert_true(cpu->seg[X86_SS].attr & X86_SEG_UNUSABLE);
	assert_int_equal(cpu->gpr[X86_RSP], 0x50000 - 40);
	assert_int_equal(harness_u64(h, 0x50000 - 8), HARNESS_DS3);
	assert_int_equal(harness_u64(h, 0x50000 - 32), HARNESS_CS3);
	assert_false(cpu->mode & X86_MODE_USER);
	harness_free(h);
}

/* INT n in ring 3 through a gate of ring 0; the RIP is the INT's own. */
static void test_soft_needs_dpl(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	set_tss(h, 0x50000, 0);
	harness_gate(h, 0x30, 0x11000);
	harness_gate(h, 13, 0x12000);
	harness_user(h);
	cpu->rip = 0x1002;
	assert_true(deliver(h, 0x30, X86_EV_SOFT, -1));
	assert_int_equal(cpu->rip, 0x12000);
	assert_int_equal(harness_u64(h, 0x50000 - 48), 0x30 * 8 + 2);
	assert_int_equal(harness_u64(h, 0x50000 - 40), 0x1000);
	harness_free(h);
}

static void test_traps_keep_rf(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t top = HARNESS_STACK;

	harness_gate(h, 3, 0x11000);
	assert_true(deliver(h, 3, X86_EV_SOFT_TRAP, -1));
	assert_int_equal(harness_u64(h, top - 24), X86_FLAG_1);
	harness_free(h);
}

static void test_pf_sets_cr2(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_event ev = {
		.vector = X86_VEC_PF,
		.type = X86_EV_FAULT,
		.has_error = true,
		.cr2 = 0xabcdef,
	};

	harness_gate(h, 14, 0x11000);
	assert_true(x86_deliver(h->cpu, &ev));
	assert_int_equal(h->cpu->cr2, 0xabcdef);
	harness_free(h);
}

static void test_db_sets_dr6(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_event ev = {
		.vector = X86_VEC_DB,
		.type = X86_EV_TRAP,
		.dr6 = X86_DR6_BS | 2,
	};

	harness_gate(h, 1, 0x11000);
	h->cpu->dr[6] |= 1;
	h->cpu->dr[7] |= X86_DR7_GD;
	assert_true(x86_deliver(h->cpu, &ev));
	assert_int_equal(h->cpu->dr[6], X86_DR6_FIXED | X86_DR6_BS | 2);
	assert_false(h->cpu->dr[7] & X86_DR7_GD);
	harness_free(h);
}

/* --- Double faults: SDM 3A table 6-5 ------------------------------------- */

struct pair {
	uint8_t first;
	bool external; /* an interrupt instead */
	unsigned want; /* vector whose handler runs in the end */
};

/* The first event's gate is absent, so the second event is #NP. */
static void test_pairs(void **state)
{
	static const struct pair pairs[] = {
		{ X86_VEC_DE, false, X86_VEC_DF },
		{ X86_VEC_GP, false, X86_VEC_DF },
		{ X86_VEC_SS, false, X86_VEC_DF },
		{ X86_VEC_TS, false, X86_VEC_DF },
		{ X86_VEC_PF, false, X86_VEC_DF },
		{ X86_VEC_UD, false, X86_VEC_NP },
		{ X86_VEC_NM, false, X86_VEC_NP },
		{ X86_VEC_BR, false, X86_VEC_NP },
		{ X86_VEC_MF, false, X86_VEC_NP },
		{ 0x40, true, X86_VEC_NP },
	};

	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct harness *h = harness_new(64);
		uint8_t zero = 0x0e;

		for (unsigned v = 0; v < 64; v++)
			harness_gate(h, v, 0x11000 + v * 16);
		harness_gate(h, pairs[i].first, 0x11000);
		harness_write(h, HARNESS_IDT + pairs[i].first * 16 + 5, &zero,
			      1);
		assert_true(deliver(
			h, pairs[i].first,
			pairs[i].external ? X86_EV_INTR : X86_EV_FAULT, -1));
		assert_int_equal(h->cpu->rip, 0x11000 + pairs[i].want * 16);
		harness_free(h);
	}
}

static void test_ext_bit(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t top = HARNESS_STACK;

	harness_gate(h, 13, 0x11000);
	harness_gate(h, 11, 0x12000);
	h->cpu->idtr.limit = 0x20 * 16 - 1; /* 20h is beyond the limit */
	assert_true(deliver(h, 0x20, X86_EV_INTR, -1));
	assert_int_equal(h->cpu->rip, 0x11000);
	assert_int_equal(harness_u64(h, top - 48), 0x20 * 8 + 3);
	harness_free(h);
}

static void test_triple(void **state)
{
	struct harness *h = harness_new(64);

	h->cpu->idtr.limit = 0;
	assert_false(deliver(h, 6, X86_EV_FAULT, -1));
	harness_free(h);
}

/* No stack page for the frame: #PF, then #DF on its IST. */
static void test_stack_fault_ist(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t ist = 0x40000;
	uint8_t one = 1;

	set_tss(h, 0x50000, 0);
	harness_write(h, TSS_AT + 0x24, &ist, 8);
	harness_gate(h, 14, 0x11000);
	harness_gate(h, 8, 0x12000);
	harness_write(h, HARNESS_IDT + 8 * 16 + 4, &one, 1);
	h->cpu->gpr[X86_RSP] = 0x7ff00000; /* not mapped */
	assert_true(deliver(h, 14, X86_EV_FAULT, 0));
	assert_int_equal(h->cpu->rip, 0x12000);
	assert_int_equal(h->cpu->gpr[X86_RSP], 0x40000 - 48);
	assert_int_equal(harness_u64(h, 0x40000 - 48), 0);
	assert_int_equal(h->cpu->cr2, 0x7ff00000 - 8);
	harness_free(h);
}

/* The caller's fault_jmp survives deliveries that used it. */
static void test_keeps_fault_jmp(void **state)
{
	struct harness *h = harness_new(64);
	jmp_buf before;

	memset(&h->cpu->fault_jmp, 0x5a, sizeof(jmp_buf));
	memcpy(&before, &h->cpu->fault_jmp, sizeof(jmp_buf));
	h->cpu->idtr.limit = 0;
	assert_false(deliver(h, 6, X86_EV_FAULT, -1));
	assert_memory_equal(&before, &h->cpu->fault_jmp, sizeof(jmp_buf));
	harness_free(h);
}

/* --- Protected mode ------------------------------------------------------ */

static void test_protected_inner(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	set_tss(h, 0x50000, HARNESS_DS);
	harness_gate(h, 0x20, 0x11000);
	harness_user(h);
	cpu->rip = 0x1234;
	assert_true(deliver(h, 0x20, X86_EV_INTR, -1));
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->gpr[X86_RSP], 0x50000 - 20);
	assert_int_equal(harness_u32(h, 0x50000 - 20), 0x1234);
	assert_int_equal(harness_u32(h, 0x50000 - 8), HARNESS_STACK);
	harness_free(h);
}

static void test_bad_inner_stack(void **state)
{
	struct harness *h = harness_new(32);

	set_tss(h, 0x50000, 0x1000);
	for (unsigned v = 0; v < 32; v++)
		harness_gate(h, v, 0x11000);
	harness_user(h);
	/* #UD: #TS: #DF: none has a stack */
	assert_false(deliver(h, 6, X86_EV_FAULT, -1));
	harness_free(h);
}

static void test_vm86(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	set_tss(h, 0x50000, HARNESS_DS);
	harness_gate(h, 13, 0x11000);
	x86_set_rflags(cpu, X86_FLAG_VM, X86_FLAG_VM);
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		cpu->seg[i] = (struct x86_seg){ .sel = 0x100 + i,
						.base = 0x1000 + i * 16,
						.limit = 0xffff,
						.attr = 0xf3 };
	x86_mode_changed(cpu);
	cpu->rip = 2;
	assert_true(deliver(h, 0x21, X86_EV_SOFT, -1)); /* IOPL is 0 */
	assert_int_equal(cpu->rip, 0x11000);
	assert_false(cpu->rflags & X86_FLAG_VM);
	assert_int_equal(cpu->seg[X86_DS].sel, 0);
	assert_int_equal(harness_u32(h, 0x50000 - 4), 0x100 + X86_GS);
	assert_int_equal(harness_u32(h, 0x50000 - 8), 0x100 + X86_FS);
	assert_int_equal(harness_u32(h, 0x50000 - 12), 0x100 + X86_DS);
	assert_int_equal(harness_u32(h, 0x50000 - 16), 0x100 + X86_ES);
	assert_int_equal(harness_u32(h, 0x50000 - 20), 0x100 + X86_SS);
	assert_int_equal(harness_u32(h, 0x50000 - 36), 0); /* the INT */
	assert_int_equal(harness_u32(h, 0x50000 - 40), 0); /* error code */
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_real_no_ivt),
		cmocka_unit_test(test_long_same_ring),
		cmocka_unit_test(test_long_inner),
		cmocka_unit_test(test_soft_needs_dpl),
		cmocka_unit_test(test_traps_keep_rf),
		cmocka_unit_test(test_pf_sets_cr2),
		cmocka_unit_test(test_db_sets_dr6),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_ext_bit),
		cmocka_unit_test(test_triple),
		cmocka_unit_test(test_stack_fault_ist),
		cmocka_unit_test(test_keeps_fault_jmp),
		cmocka_unit_test(test_protected_inner),
		cmocka_unit_test(test_bad_inner_stack),
		cmocka_unit_test(test_vm86),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
