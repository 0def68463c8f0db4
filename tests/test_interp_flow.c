/*
 * test_interp_flow.c - branches in every code size, and their bounds.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/mmu.h"

HARNESS_ASM(code_near64, 64,
	    "jmp *%rax; call *%rax; jmp *(%rbx); ret; call *(%rbx)");
static void targets_must_be_canonical(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;
	uint64_t rsp = r[X86_RSP] -= 8, bad = 1ull << 47;

	harness_asm(h, code_near64);
	r[X86_RAX] = bad;
	r[X86_RBX] = HARNESS_DATA;
	harness_write(h, HARNESS_DATA, &bad, 8);
	harness_write(h, rsp, &bad, 8);
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->rip += 2;
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->rip += 2;
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->rip += 2;
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->rip += 1;
	harness_expect_fault(h, X86_VEC_GP);
	assert_int_equal(r[X86_RSP], rsp);
	assert_int_equal(harness_u64(h, rsp), bad); /* nothing was pushed */
	harness_free(h);
}

HARNESS_ASM(code_call_fault, 64, "call 1f; 1: nop");
static void a_call_that_cannot_push_stays(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_call_fault);
	h->cpu->gpr[X86_RSP] = 0x40000000;
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(h->cpu->gpr[X86_RSP], 0x40000000);
	h->cpu->gpr[X86_RSP] = 1ull << 50; /* not canonical: the stack's */
	harness_expect_fault(h, X86_VEC_SS);
	harness_free(h);
}

HARNESS_ASM(code_limit, 32, "jmp 1f; nop; nop; nop; 1: nop; nop");
static void targets_must_be_inside_the_limit(void **state)
{
	struct harness *h = harness_new(32);

	harness_asm(h, code_limit);
	h->cpu->seg[X86_CS].limit = HARNESS_CODE + 4;
	x86_mode_changed(h->cpu);
	harness_expect_fault(h, X86_VEC_GP);
	h->cpu->seg[X86_CS].limit = HARNESS_CODE + 5;
	assert_true(harness_step(h, 2));
	harness_expect_fault(h, X86_VEC_GP); /* running off the end */
	harness_free(h);
}

/* The same through the cache: the limit shrinks behind its back. */
HARNESS_ASM(code_shrink, 32, "nop; nop; hlt");
static void a_shrunk_limit_is_noticed(void **state)
{
	struct harness *h = harness_new(32);
	struct err err;

	harness_asm(h, code_shrink);
	h->cpu->seg[X86_CS].limit = HARNESS_CODE + 2;
	x86_mode_changed(h->cpu);
	harness_run(h);
	h->cpu->seg[X86_CS].limit = HARNESS_CODE + 1;
	h->cpu->rip = HARNESS_CODE;
	h->cpu->activity = X86_ACTIVE;
	h->cpu->idtr.limit = 0;
	assert_int_equal(interpreter_engine.run(h->cpu, &err),
			 VCPU_EXIT_SHUTDOWN);
	assert_int_equal(h->cpu->rip, HARNESS_CODE + 2);
	harness_free(h);
}

HARNESS_ASM(code_sixteen, 16,
	    "call 1f; hlt; 1: incw %ax; data32 call 2f; ret\n"
	    "2: incw %bx; data32 ret");
static void operand_size_cuts_targets_in_16_bit_code(void **state)
{
	struct harness *h = harness_new(16);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_sixteen);
	r[X86_RAX] = r[X86_RBX] = 0;
	harness_run(h);
	assert_int_equal(r[X86_RAX], 1);
	assert_int_equal(r[X86_RBX], 1);
	assert_int_equal(r[X86_RSP], 0x8000);
	harness_free(h);
}

HARNESS_ASM(code_loops, 64,
	    "1: incq %rax; loop 1b\n"
	    "movl $5, %ecx; 2: incq %rbx; cmpl $3, %ebx; loopne 2b\n"
	    "jrcxz 3f; jmp 4f; 3: ud2; 4: movabsq $0x100000000, %rcx\n"
	    "jecxz 5f; ud2; 5: jrcxz 3b; hlt");
static void loops_count_in_rcx(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_loops);
	r[X86_RAX] = r[X86_RBX] = 0;
	r[X86_RCX] = 10;
	harness_run(h);
	assert_int_equal(r[X86_RAX], 10);
	assert_int_equal(r[X86_RBX], 3);
	harness_free(h);
}

HARNESS_ASM(code_far, 64, "lcall *(%rbx); hlt; 1: incl %eax; lretq");
static void far_calls_through_memory(void **state)
{
	struct harness *h = harness_new(64);
	struct {
		uint32_t off;
		uint16_t sel;
	} far = { HARNESS_CODE + 3, HARNESS_CS };

	harness_asm(h, code_far);
	harness_write(h, HARNESS_DATA, &far, 6);
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	h->cpu->gpr[X86_RAX] = 0;
	assert_true(harness_step(h, 2));
	assert_int_equal(h->cpu->gpr[X86_RAX], 1);
	assert_int_equal(harness_u32(h, HARNESS_STACK - 8), HARNESS_CODE + 2);
	assert_int_equal(harness_u32(h, HARNESS_STACK - 4), HARNESS_CS);
	harness_free(h);
}

HARNESS_ASM(code_into, 32, "into; bound %eax, (%ebx)");
static void into_and_bound(void **state)
{
	struct harness *h = harness_new(32);
	static const int32_t bounds[] = { -5, 5 };

	harness_asm(h, code_into);
	harness_write(h, HARNESS_DATA, bounds, sizeof(bounds));
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	h->cpu->gpr[X86_RAX] = (uint32_t)-5;
	assert_true(harness_step(h, 2));
	h->cpu->rip = HARNESS_CODE + 1;
	h->cpu->gpr[X86_RAX] = 6;
	harness_expect_fault(h, X86_VEC_BR);
	h->cpu->rip = HARNESS_CODE;
	h->cpu->rflags |= X86_FLAG_OF;
	assert_false(harness_step(h, 1));
	assert_int_equal(h->cpu->fault.vector, X86_VEC_OF);
	assert_int_equal(h->cpu->fault.type, X86_EV_SOFT_TRAP);
	assert_int_equal(h->cpu->rip, HARNESS_CODE + 1);
	harness_free(h);
}

/* Each condition against what the manual's table says it tests. */
static void conditions(void **state)
{
	struct harness *h = harness_new(64);
	unsigned cond, bits;

	for (cond = 0; cond < 16; cond++)
		for (bits = 0; bits < 32; bits++) {
			bool cf = bits & 1, zf = bits & 2, sf = bits & 4,
			     of = bits & 8, pf = bits & 16;
			const bool want[8] = {
				of, cf, zf,       cf || zf,
				sf, pf, sf != of, zf || sf != of
			};
			uint8_t code[] = { 0x70 | cond, 0x10 };

			harness_code(h, code, sizeof(code));
			h->cpu->rflags = 2 | (cf ? X86_FLAG_CF : 0) |
					 (zf ? X86_FLAG_ZF : 0) |
					 (sf ? X86_FLAG_SF : 0) |
					 (of ? X86_FLAG_OF : 0) |
					 (pf ? X86_FLAG_PF : 0);
			assert_true(harness_step(h, 1));
			assert_int_equal(h->cpu->rip == HARNESS_CODE + 0x12,
					 want[cond / 2] != (cond & 1));
		}
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_must_be_canonical),
		cmocka_unit_test(a_call_that_cannot_push_stays),
		cmocka_unit_test(targets_must_be_inside_the_limit),
		cmocka_unit_test(a_shrunk_limit_is_noticed),
		cmocka_unit_test(operand_size_cuts_targets_in_16_bit_code),
		cmocka_unit_test(loops_count_in_rcx),
		cmocka_unit_test(far_calls_through_memory),
		cmocka_unit_test(into_and_bound),
		cmocka_unit_test(conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
