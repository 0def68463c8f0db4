/*
 * test_interp_int.c - integer instructions: results, flags, restartability.
 *
 * Broad coverage is the differential test's; here is what it cannot show
 * (faults, modes) and one plain case a family.
 */
#include "x86_harness.h"

#include "cpu/interpreter/table.h"
#include "cpu/x86/mmu.h"

static void every_operation_has_a_handler(void **state)
{
	unsigned op;

	for (op = X86_OP_INVALID + 1; op < X86_OP_COUNT; op++)
		if (!interp_exec[op])
			fail_msg("operation %u has no handler", op);
}

HARNESS_ASM(code_add, 64, "addl %ecx, %eax; addb %ch, %al; adcq $-1, %rax");
static void add_sets_flags_and_clears_the_upper_half(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_add);
	r[X86_RAX] = 0xffffffff00000001;
	r[X86_RCX] = 0xffffffff;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], 0);
	assert_int_equal(h->cpu->rflags & X86_FLAGS_ARITH,
			 X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF);
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], 0xff);
	assert_int_equal(h->cpu->rflags & X86_FLAGS_ARITH,
			 X86_FLAG_SF | X86_FLAG_PF);
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], 0xfe);
	assert_true(h->cpu->rflags & X86_FLAG_CF);
	harness_free(h);
}

HARNESS_ASM(code_mem, 64,
	    "addl %ecx, 8(%rbx); lock incw (%rbx); xchgb %cl, 1(%rbx,%rdx,4)");
static void memory_operands_are_read_and_written(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_mem);
	r[X86_RBX] = HARNESS_DATA;
	r[X86_RCX] = 5;
	r[X86_RDX] = 4;
	harness_write(h, HARNESS_DATA, "\xff\x7f\0\0\0\0\0\0\x01\0\0\0", 12);
	assert_true(harness_step(h, 3));
	assert_int_equal(harness_u32(h, HARNESS_DATA + 8), 6);
	assert_int_equal(harness_u32(h, HARNESS_DATA), 0x8000);
	assert_true(h->cpu->rflags & X86_FLAG_OF);
	assert_int_equal(r[X86_RCX], 0);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 16), 5 << 8);
	harness_free(h);
}

HARNESS_ASM(code_div, 64, "divq %rbx; idivl %ebx; divb %bl; idivq %rbx");
static void division_overflow_is_de_and_changes_nothing(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_div);
	r[X86_RAX] = 7;
	r[X86_RDX] = 3;
	r[X86_RBX] = 3;
	harness_expect_fault(h, X86_VEC_DE);
	assert_int_equal(r[X86_RAX], 7);
	r[X86_RDX] = 2;
	r[X86_RAX] = 1;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], (((unsigned __int128)2 << 64) | 1) / 3);
	/* -2^31 / -1 does not fit */
	r[X86_RAX] = 0x80000000;
	r[X86_RDX] = 0xffffffff;
	r[X86_RBX] = 0xffffffff;
	harness_expect_fault(h, X86_VEC_DE);
	r[X86_RBX] = 2;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], 0xc0000000);
	r[X86_RAX] = 0x1234;
	r[X86_RBX] = 0;
	harness_expect_fault(h, X86_VEC_DE);
	harness_free(h);
}

HARNESS_ASM(code_idiv, 64, "idivq %rbx");
static void idiv_takes_the_most_negative_quotient(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_idiv);
	r[X86_RAX] = 1ull << 63;
	r[X86_RDX] = UINT64_MAX;
	r[X86_RBX] = 1;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RAX], 1ull << 63);
	assert_int_equal(r[X86_RDX], 0);
	h->cpu->rip = HARNESS_CODE;
	r[X86_RDX] = UINT64_MAX; /* -2^63 / -1 */
	r[X86_RBX] = UINT64_MAX;
	harness_expect_fault(h, X86_VEC_DE);
	harness_free(h);
}

HARNESS_ASM(code_bt, 64, "btsq %rcx, (%rbx); btrl $33, (%rbx)");
static void bit_offsets_reach_beyond_the_operand(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_bt);
	r[X86_RBX] = HARNESS_DATA + 64;
	r[X86_RCX] = -65ll;
	harness_write(h, HARNESS_DATA + 64, "\x02", 1);
	assert_true(harness_step(h, 2));
	assert_int_equal(harness_u64(h, HARNESS_DATA + 48), 1ull << 63);
	assert_int_equal(harness_u64(h, HARNESS_DATA + 64), 0);
	assert_true(h->cpu->rflags & X86_FLAG_CF);
	harness_free(h);
}

HARNESS_ASM(code_cmpxchg, 64,
	    "cmpxchgq %rcx, (%rbx); cmpxchgq %rcx, (%rbx); cmpxchg16b (%rbx)");
static void cmpxchg_exchanges_or_loads(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_cmpxchg);
	r[X86_RBX] = HARNESS_DATA;
	r[X86_RCX] = 77;
	r[X86_RAX] = 5;
	assert_true(harness_step(h, 1));
	assert_false(h->cpu->rflags & X86_FLAG_ZF);
	assert_int_equal(r[X86_RAX], 0);
	assert_true(harness_step(h, 1));
	assert_true(h->cpu->rflags & X86_FLAG_ZF);
	assert_int_equal(harness_u64(h, HARNESS_DATA), 77);
	r[X86_RAX] = 77;
	r[X86_RDX] = 0;
	r[X86_RBX] = HARNESS_DATA;
	assert_true(harness_step(h, 1));
	assert_int_equal(harness_u64(h, HARNESS_DATA), HARNESS_DATA);
	assert_int_equal(harness_u64(h, HARNESS_DATA + 8), 77);
	harness_free(h);
}

static void cmpxchg16b_wants_alignment(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_cmpxchg);
	h->cpu->rip += 8; /* the third */
	h->cpu->gpr[X86_RBX] = HARNESS_DATA + 8;
	harness_expect_fault(h, X86_VEC_GP);
	harness_free(h);
}

HARNESS_ASM(code_rmw_fault, 64, "addq %rcx, (%rbx); pushq (%rbx); popq (%rbx)");
static void faults_leave_registers_and_memory_alone(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;
	uint64_t rsp = r[X86_RSP];

	harness_asm(h, code_rmw_fault);
	*harness_pte(h, HARNESS_DATA) &= ~X86_PTE_W;
	x86_tlb_flush_all(h->cpu);
	r[X86_RBX] = HARNESS_DATA;
	r[X86_RCX] = 1;
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(h->cpu->fault.error, X86_PF_P | X86_PF_W);
	assert_int_equal(h->cpu->fault.cr2, HARNESS_DATA);
	h->cpu->rip = HARNESS_CODE + 3;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RSP], rsp - 8);
	harness_expect_fault(h, X86_VEC_PF); /* POP to read-only memory */
	assert_int_equal(r[X86_RSP], rsp - 8);
	harness_free(h);
}

HARNESS_ASM(code_pop_rsp, 64, "popq 8(%rsp); pushq %rsp; popq %rsp");
static void pop_addresses_memory_with_the_new_rsp(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_pop_rsp);
	r[X86_RSP] -= 64;
	harness_write(h, r[X86_RSP], "\x2a", 1);
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RSP], HARNESS_STACK - 56);
	assert_int_equal(harness_u64(h, r[X86_RSP] + 8), 42);
	assert_true(harness_step(h, 2));
	assert_int_equal(r[X86_RSP], HARNESS_STACK - 56);
	harness_free(h);
}

HARNESS_ASM(code_enter, 32, "enter $16, $2; leave; pusha; popa");
static void enter_and_pusha_in_32_bit_code(void **state)
{
	struct harness *h = harness_new(32);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_enter);
	r[X86_RBP] = HARNESS_DATA + 0x100;
	harness_write(h, HARNESS_DATA + 0xfc, "\x44\x33\x22\x11", 4);
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RBP], HARNESS_STACK - 4);
	assert_int_equal(r[X86_RSP], HARNESS_STACK - 12 - 16);
	assert_int_equal(harness_u32(h, HARNESS_STACK - 8), 0x11223344);
	assert_int_equal(harness_u32(h, HARNESS_STACK - 12), HARNESS_STACK - 4);
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RSP], HARNESS_STACK);
	assert_int_equal(r[X86_RBP], HARNESS_DATA + 0x100);
	r[X86_RDI] = 99;
	assert_true(harness_step(h, 1));
	assert_int_equal(harness_u32(h, HARNESS_STACK - 32), 99);
	assert_int_equal(harness_u32(h, HARNESS_STACK - 20), HARNESS_STACK);
	r[X86_RDI] = 0;
	assert_true(harness_step(h, 1));
	assert_int_equal(r[X86_RDI], 99);
	assert_int_equal(r[X86_RSP], HARNESS_STACK);
	harness_free(h);
}

HARNESS_ASM(code_popf, 64, "popfq; pushfq");
static void popf_of_a_user_cannot_enable_interrupts(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_popf);
	harness_user(h);
	h->cpu->gpr[X86_RSP] -= 8;
	harness_write(h, h->cpu->gpr[X86_RSP], "\xd7\x3e\x24\0\0\0\0\0", 8);
	assert_true(harness_step(h, 2));
	assert_int_equal(harness_u32(h, HARNESS_STACK - 8), 0x240cd7);
	harness_free(h);
}

HARNESS_ASM(code_decimal, 32, "daa; aaa; aam; aad; das");
static void decimal_adjustments(void **state)
{
	struct harness *h = harness_new(32);
	uint64_t *rax = &h->cpu->gpr[X86_RAX];

	harness_asm(h, code_decimal);
	*rax = 0x79 + 0x35;
	h->cpu->rflags &= ~X86_FLAG_AF;
	assert_true(harness_step(h, 1));
	assert_int_equal(*rax, 0x14);
	assert_true(h->cpu->rflags & X86_FLAG_CF);
	*rax = 0x10b;
	h->cpu->rflags &= ~X86_FLAG_AF;
	assert_true(harness_step(h, 1));
	assert_int_equal(*rax, 0x201);
	*rax = 63;
	assert_true(harness_step(h, 1));
	assert_int_equal(*rax, 0x603);
	assert_true(harness_step(h, 1));
	assert_int_equal(*rax, 63);
	harness_free(h);
}

HARNESS_ASM(code_real, 16, "movb $0x12, (%bx,%si); movl (%bx,%si), %eax");
static void sixteen_bit_addresses_wrap(void **state)
{
	struct harness *h = harness_new(16);
	uint64_t *r = h->cpu->gpr;

	harness_asm(h, code_real);
	r[X86_RBX] = 0xfff0;
	r[X86_RSI] = 0x2010;
	assert_true(harness_step(h, 2));
	assert_int_equal(r[X86_RAX], 0x12);
	assert_int_equal(harness_u32(h, 0x2000), 0x12);
	harness_free(h);
}

HARNESS_ASM(code_ud, 64, "ud2; .byte 0x06; lock; nop");
static void undefined_opcodes_raise_ud(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_ud);
	harness_expect_fault(h, X86_VEC_UD);
	h->cpu->rip += 2;
	harness_expect_fault(h, X86_VEC_UD);
	h->cpu->rip += 1;
	harness_expect_fault(h, X86_VEC_UD);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_operation_has_a_handler),
		cmocka_unit_test(add_sets_flags_and_clears_the_upper_half),
		cmocka_unit_test(memory_operands_are_read_and_written),
		cmocka_unit_test(division_overflow_is_de_and_changes_nothing),
		cmocka_unit_test(idiv_takes_the_most_negative_quotient),
		cmocka_unit_test(bit_offsets_reach_beyond_the_operand),
		cmocka_unit_test(cmpxchg_exchanges_or_loads),
		cmocka_unit_test(cmpxchg16b_wants_alignment),
		cmocka_unit_test(faults_leave_registers_and_memory_alone),
		cmocka_unit_test(pop_addresses_memory_with_the_new_rsp),
		cmocka_unit_test(enter_and_pusha_in_32_bit_code),
		cmocka_unit_test(popf_of_a_user_cannot_enable_interrupts),
		cmocka_unit_test(decimal_adjustments),
		cmocka_unit_test(sixteen_bit_addresses_wrap),
		cmocka_unit_test(undefined_opcodes_raise_ud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
