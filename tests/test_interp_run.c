/*
 * test_interp_run.c - the run loop: blocks, faults, interrupts, code that
 * changes under it, single-stepping and breakpoints.
 */
#include "x86_harness.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "cpu/interpreter/cache.h"
#include "cpu/x86/mmu.h"

HARNESS_ASM(code_sum, 64,
	    "xorl %eax, %eax; movl $1000, %ecx\n"
	    "1: addq %rcx, %rax; decl %ecx; jnz 1b\n"
	    "call 2f; hlt\n"
	    "2: incq %rax; ret");
static void blocks_follow_each_other(void **state)
{
	struct harness *h = harness_new(64);
	struct engine_stats st;

	harness_asm(h, code_sum);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 500501);
	assert_int_equal(h->cpu->insn_count, 2 + 3000 + 4);
	interpreter_engine.stats(h->cpu, &st);
	assert_int_equal(st.insns, h->cpu->insn_count);
	assert_int_equal(st.blocks, 5);
	harness_free(h);
}

HARNESS_ASM(code_handler, 64,
	    "movq (%rbx), %rax; movl $7, %edx; hlt\n"
	    ".org code_handler+0x100\n"
	    "incl %ecx; movq $0x20000, %rbx; addq $8, %rsp; iretq");
static void faults_are_delivered_and_the_instruction_restarts(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_handler);
	harness_gate(h, X86_VEC_PF, HARNESS_CODE + 0x100);
	h->cpu->gpr[X86_RBX] = 0x40000000; /* not mapped */
	harness_write(h, HARNESS_DATA, "\x2a", 1);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RCX], 1);
	assert_int_equal(h->cpu->gpr[X86_RAX], 42);
	assert_int_equal(h->cpu->cr2, 0x40000000);
	assert_int_equal(h->cpu->insn_count, 3 + 4);
	assert_int_equal(h->cpu->exception_count, 1);
	harness_free(h);
}

static void no_handler_is_a_triple_fault(void **state)
{
	struct harness *h = harness_new(64);
	struct err err;

	harness_asm(h, code_handler);
	h->cpu->gpr[X86_RBX] = 0x40000000;
	h->cpu->idtr.limit = 0;
	assert_int_equal(interpreter_engine.run(h->cpu, &err),
			 VCPU_EXIT_SHUTDOWN);
	harness_free(h);
}

/* --- Code that changes --------------------------------------------------- */

/* The store changes the immediate of the MOV right behind it. */
HARNESS_ASM(code_smc_next, 64,
	    "movl $0x2a, %ecx; movb %cl, 1f+1-code_smc_next(%rbx)\n"
	    "1: movl $1, %eax; hlt");
static void a_store_to_the_next_instruction_counts_at_once(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_smc_next);
	h->cpu->gpr[X86_RBX] = HARNESS_CODE;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 42);
	assert_int_equal(h->cpu->insn_count, 4);
	harness_free(h);
}

HARNESS_ASM(code_smc_loop, 64,
	    "movl $200, %ecx\n"
	    "1: movb %cl, 2f+1-code_smc_loop(%rbx); call 2f\n"
	    "addq %rax, %rdx; decl %ecx; jnz 1b; hlt\n"
	    "2: movl $0, %eax; ret");
static void a_function_rewritten_in_a_loop(void **state)
{
	struct harness *h = harness_new(64);
	struct engine_stats st;

	harness_asm(h, code_smc_loop);
	h->cpu->gpr[X86_RBX] = HARNESS_CODE;
	h->cpu->gpr[X86_RDX] = 0;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RDX], 200 * 201 / 2);
	interpreter_engine.stats(h->cpu, &st);
	assert_true(st.invalidated >= 199);
	harness_free(h);
}

HARNESS_ASM(code_twice, 64, "movl $1, %eax; hlt");
static void a_device_that_writes_code_is_noticed(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_twice);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 1);
	harness_write(h, HARNESS_CODE + 1, "\x02", 1);
	h->cpu->rip = HARNESS_CODE;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 2);
	harness_free(h);
}

/* A page without code is not marked any more: data in it is cheap. */
static void a_page_that_lost_its_code_is_unmarked(void **state)
{
	struct harness *h = harness_new(64);
	uint8_t *flags = mem_page_flags(h->mem);
	uint64_t page = mem_page(h->mem, HARNESS_CODE);

	harness_asm(h, code_smc_next);
	h->cpu->gpr[X86_RBX] = HARNESS_CODE;
	harness_run(h);
	assert_true(flags[page] & MEM_PAGE_CODE);
	mem_zero(h->mem, HARNESS_CODE, 4096);
	assert_false(flags[page] & MEM_PAGE_CODE);
	harness_free(h);
}

/* The instruction's second half is remapped. */
static void an_instruction_on_two_pages(void **state)
{
	struct harness *h = harness_new(64);
	/* mov eax, imm32; hlt */
	static const uint8_t first[] = { 0xb8, 0x11, 0x22 };
	static const uint8_t second[] = { 0x33, 0x44, 0xf4 };
	uint64_t at = HARNESS_CODE + 0x1000 - sizeof(first);

	harness_write(h, at, first, sizeof(first));
	harness_write(h, HARNESS_CODE + 0x1000, second, sizeof(second));
	harness_write(h, HARNESS_CODE + 0x2000, "\x55\x66\xf4", 3);
	h->cpu->rip = at;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 0x44332211);
	/* the same linear page, elsewhere */
	*harness_pte(h, HARNESS_CODE + 0x1000) += 0x1000;
	x86_tlb_flush_all(h->cpu);
	h->cpu->rip = at;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 0x66552211);
	/* a write to the second half */
	harness_write(h, HARNESS_CODE + 0x2000, "\x77", 1);
	h->cpu->rip = at;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 0x66772211);
	/* and absent: the fault's address is the second page */
	*harness_pte(h, HARNESS_CODE + 0x1000) = 0;
	x86_tlb_flush_all(h->cpu);
	h->cpu->rip = at;
	assert_false(harness_step(h, 1));
	assert_int_equal(h->cpu->fault.vector, X86_VEC_PF);
	assert_int_equal(h->cpu->fault.cr2, HARNESS_CODE + 0x1000);
	assert_int_equal(h->cpu->rip, at);
	harness_free(h);
}

/* The same physical code in 64-bit and in 32-bit mode means other things. */
static void blocks_are_keyed_by_mode(void **state)
{
	struct harness *h = harness_new(64);
	/* 64-bit: dec of R8 and so on; 32-bit: dec eax; inc ecx */
	static const uint8_t code[] = { 0x48, 0xff, 0xc1, 0xf4 };

	harness_code(h, code, sizeof(code));
	h->cpu->gpr[X86_RAX] = h->cpu->gpr[X86_RCX] = 10;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 10);
	assert_int_equal(h->cpu->gpr[X86_RCX], 11);
	h->cpu->seg[X86_CS].attr &= ~X86_SEG_L;
	h->cpu->seg[X86_CS].attr |= X86_SEG_DB;
	x86_mode_changed(h->cpu);
	h->cpu->rip = HARNESS_CODE;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 9);
	assert_int_equal(h->cpu->gpr[X86_RCX], 12);
	harness_free(h);
}

/* --- Interrupts ---------------------------------------------------------- */

HARNESS_ASM(code_spin, 64, "1: incq %rax; jmp 1b");

static void *kick_later(void *arg)
{
	struct harness *h = arg;

	usleep(20000);
	x86_pend(h->cpu, X86_PEND_KICK);
	return NULL;
}

static void a_kick_ends_a_tight_loop(void **state)
{
	struct harness *h = harness_new(64);
	pthread_t t;
	struct err err;

	harness_asm(h, code_spin);
	pthread_create(&t, NULL, kick_later, h);
	assert_int_equal(interpreter_engine.run(h->cpu, &err),
			 VCPU_EXIT_KICKED);
	pthread_join(t, NULL);
	assert_true(h->cpu->gpr[X86_RAX] > 1000);
	harness_free(h);
}

static bool pic_has_interrupt(void *opaque)
{
	return *(bool *)opaque;
}

static int pic_give_interrupt(void *opaque)
{
	*(bool *)opaque = false;
	return 0x20;
}

HARNESS_ASM(code_sti, 64,
	    "sti; movl $1, %eax; movl $2, %eax; hlt\n"
	    ".org code_sti+0x100\n"
	    "movl %eax, %ecx; incl %edx; iretq");
static void interrupts_wait_for_sti_and_its_shadow(void **state)
{
	struct harness *h = harness_new(64);
	bool raised = true;

	harness_asm(h, code_sti);
	harness_gate(h, 0x20, HARNESS_CODE + 0x100);
	h->xm.pic_pending = pic_has_interrupt;
	h->xm.pic_ack = pic_give_interrupt;
	h->xm.pic = &raised;
	h->cpu->gpr[X86_RDX] = 0;
	x86_pend(h->cpu, X86_PEND_INTR);
	harness_run(h);
	assert_false(raised);
	assert_int_equal(h->cpu->gpr[X86_RDX], 1);
	assert_int_equal(h->cpu->gpr[X86_RCX], 1); /* one instruction behind */
	assert_int_equal(h->cpu->intr_count, 1);
	harness_free(h);
}

/* --- Stepping ------------------------------------------------------------ */

HARNESS_ASM(code_tf, 64,
	    "pushfq; orl $0x100, (%rsp); popfq; nop; nop; pushfq\n"
	    "andl $~0x100, (%rsp); popfq; nop; hlt\n"
	    ".org code_tf+0x100\n"
	    "incl %ecx; iretq");
static void tf_traps_after_each_instruction(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_tf);
	harness_gate(h, X86_VEC_DB, HARNESS_CODE + 0x100);
	h->cpu->gpr[X86_RCX] = 0;
	harness_run(h);
	/* nop, nop, pushf, and, popf: POPF that clears TF still traps */
	assert_int_equal(h->cpu->gpr[X86_RCX], 5);
	assert_true(h->cpu->dr[6] & X86_DR6_BS);
	harness_free(h);
}

HARNESS_ASM(code_bp, 64,
	    "nop; nop; 1: nop; hlt\n"
	    ".org code_bp+0x100\n"
	    "incl %ecx; orl $0x10000, 16(%rsp); iretq");
static void an_instruction_breakpoint_hits_once_with_rf(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_bp);
	harness_gate(h, X86_VEC_DB, HARNESS_CODE + 0x100);
	h->cpu->gpr[X86_RCX] = 0;
	h->cpu->dr[0] = HARNESS_CODE + 2;
	h->cpu->dr[7] |= 1;
	x86_mode_changed(h->cpu);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RCX], 1);
	assert_int_equal(h->cpu->dr[6] & 15, 1);
	assert_false(h->cpu->rflags & X86_FLAG_RF);
	harness_free(h);
}

HARNESS_ASM(code_data_bp, 64,
	    "movl %eax, (%rbx); nop; hlt\n"
	    ".org code_data_bp+0x100\n"
	    "incl %ecx; movq (%rsp), %rsi; iretq");
static void a_data_breakpoint_traps_behind_the_store(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_data_bp);
	harness_gate(h, X86_VEC_DB, HARNESS_CODE + 0x100);
	h->cpu->gpr[X86_RCX] = 0;
	h->cpu->gpr[X86_RBX] = HARNESS_DATA;
	h->cpu->dr[1] = HARNESS_DATA;
	h->cpu->dr[7] |= 4 | 0xdull << 20; /* local 1, write, 4 bytes */
	x86_mode_changed(h->cpu);
	x86_tlb_flush_all(h->cpu);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RCX], 1);
	assert_int_equal(h->cpu->gpr[X86_RSI], HARNESS_CODE + 2);
	assert_int_equal(h->cpu->dr[6] & 15, 2);
	harness_free(h);
}

static void a_debugger_stops_and_steps(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_debug debug = { .bp_count = 1 };
	struct err err;

	harness_asm(h, code_sum);
	debug.bp[0] = HARNESS_CODE + 7; /* the loop */
	h->xm.debug = &debug;
	assert_int_equal(interpreter_engine.run(h->cpu, &err), VCPU_EXIT_DEBUG);
	assert_int_equal(h->cpu->rip, HARNESS_CODE + 7);
	assert_int_equal(h->cpu->gpr[X86_RCX], 1000);
	assert_int_equal(interpreter_engine.step(h->cpu, &err),
			 VCPU_EXIT_DEBUG);
	assert_int_equal(h->cpu->rip, HARNESS_CODE + 10);
	assert_int_equal(h->cpu->gpr[X86_RAX], 1000);
	assert_int_equal(interpreter_engine.run(h->cpu, &err), VCPU_EXIT_DEBUG);
	assert_int_equal(h->cpu->gpr[X86_RCX], 999);
	debug.bp_count = 0;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 500501);
	harness_free(h);
}

HARNESS_ASM(code_int, 64,
	    "int $0x30; int3; hlt\n.org code_int+0x100\n"
	    "movq (%rsp), %rax; addq %rax, %rcx; iretq");
static void software_interrupts_push_the_next_address(void **state)
{
	struct harness *h = harness_new(64);

	harness_asm(h, code_int);
	harness_gate(h, 0x30, HARNESS_CODE + 0x100);
	harness_gate(h, X86_VEC_BP, HARNESS_CODE + 0x100);
	h->cpu->gpr[X86_RCX] = 0;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RCX], 2 * HARNESS_CODE + 2 + 3);
	/* a missing gate is #GP on the instruction itself */
	h->cpu->rip = HARNESS_CODE;
	h->cpu->gpr[X86_RCX] = 0;
	memset(harness_ptr(h, HARNESS_IDT + 0x30 * 16), 0, 16);
	harness_gate(h, X86_VEC_GP, HARNESS_CODE + 0x200);
	harness_write(h, HARNESS_CODE + 0x200, "\xf4", 1);
	harness_run(h);
	assert_int_equal(harness_u64(h, h->cpu->gpr[X86_RSP]), 0x30 * 8 + 2);
	assert_int_equal(harness_u64(h, h->cpu->gpr[X86_RSP] + 8),
			 HARNESS_CODE);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_follow_each_other),
		cmocka_unit_test(
			faults_are_delivered_and_the_instruction_restarts),
		cmocka_unit_test(no_handler_is_a_triple_fault),
		cmocka_unit_test(
			a_store_to_the_next_instruction_counts_at_once),
		cmocka_unit_test(a_function_rewritten_in_a_loop),
		cmocka_unit_test(a_device_that_writes_code_is_noticed),
		cmocka_unit_test(a_page_that_lost_its_code_is_unmarked),
		cmocka_unit_test(an_instruction_on_two_pages),
		cmocka_unit_test(blocks_are_keyed_by_mode),
		cmocka_unit_test(a_kick_ends_a_tight_loop),
		cmocka_unit_test(interrupts_wait_for_sti_and_its_shadow),
		cmocka_unit_test(tf_traps_after_each_instruction),
		cmocka_unit_test(an_instruction_breakpoint_hits_once_with_rf),
		cmocka_unit_test(a_data_breakpoint_traps_behind_the_store),
		cmocka_unit_test(a_debugger_stops_and_steps),
		cmocka_unit_test(software_interrupts_push_the_next_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
