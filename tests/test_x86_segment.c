/*
 * test_x86_segment.c - addresses, segment loads, far transfers, tasks, the
 * I/O map: what guests/ does not reach.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/bits.h"
#include "cpu/x86/segment.h"
#include "x86_try.h"

#define NO_FAULT (-1)

static void set_descriptor(struct harness *h, uint16_t sel, uint64_t d)
{
	harness_write(h, HARNESS_GDT + (sel & ~7u), &d, 8);
	if (h->cpu->gdtr.limit < sel + 7)
		h->cpu->gdtr.limit = (sel | 7) + 8;
}

/* --- Addresses ----------------------------------------------------------- */

static void test_canonical(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t top = 0x7fffffffffff;

	assert_int_equal(X86_TRY(cpu, x86_seg_linear(cpu, X86_DS, top, 1, 0)),
			 NO_FAULT);
	assert_int_equal(X86_TRY(cpu, x86_seg_linear(cpu, X86_DS, top, 2, 0)),
			 X86_VEC_GP);
	assert_int_equal(
		X86_TRY(cpu, x86_seg_linear(cpu, X86_SS, top + 1, 1, 0)),
		X86_VEC_SS);
	assert_int_equal(cpu->fault.error, 0);
	harness_free(h);
}

/* In 64-bit code only FS and GS have a base; limits and types are ignored. */
static void test_bases_64(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	cpu->seg[X86_DS] = (struct x86_seg){ .attr = X86_SEG_UNUSABLE };
	cpu->seg[X86_ES].base = 0x1000;
	cpu->seg[X86_GS].base = 0xffff800000000000;
	assert_int_equal(x86_seg_linear(cpu, X86_DS, 0x5000, 8, true), 0x5000);
	assert_int_equal(x86_seg_linear(cpu, X86_ES, 0x5000, 8, true), 0x5000);
	assert_int_equal(x86_seg_linear(cpu, X86_GS, 0x5000, 8, true),
			 0xffff800000005000);
	harness_free(h);
}

/* Linear addresses wrap at 4 GiB outside 64-bit code. */
static void test_wrap_32(void **state)
{
	struct harness *h = harness_new(32);

	h->cpu->seg[X86_DS].base = 0xfffff000;
	assert_int_equal(x86_seg_linear(h->cpu, X86_DS, 0x2000, 4, false),
			 0x1000);
	harness_free(h);
}

/* --- Loads --------------------------------------------------------------- */

static void test_load_sets_accessed(void **state)
{
	struct harness *h = harness_new(32);

	set_descriptor(h, 0x28, 0x00cf92000000ffff);
	x86_load_sreg(h->cpu, X86_FS, 0x28);
	assert_int_equal(harness_u64(h, HARNESS_GDT + 0x28),
			 0x00cf93000000ffff);
	assert_int_equal(h->cpu->seg[X86_FS].limit, 0xffffffff);
	harness_free(h);
}

/* A null selector clears the base, as on Intel's processors. */
static void test_null_clears_base(void **state)
{
	struct harness *h = harness_new(64);

	h->cpu->seg[X86_FS].base = 0x1234;
	x86_load_sreg(h->cpu, X86_FS, 3);
	assert_int_equal(h->cpu->seg[X86_FS].base, 0);
	assert_int_equal(h->cpu->seg[X86_FS].sel, 3);
	assert_true(h->cpu->seg[X86_FS].attr & X86_SEG_UNUSABLE);
	harness_free(h);
}

static void test_null_ss_in_ring3(void **state)
{
	struct harness *h = harness_new(64);

	harness_user(h);
	assert_int_equal(X86_TRY(h->cpu, x86_load_sreg(h->cpu, X86_SS, 3)),
			 X86_VEC_GP);
	harness_free(h);
}

static void test_wide_tss(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	set_descriptor(h, 0x28, 0x0000890000000067 | 0x3000ull << 16);
	set_descriptor(h, 0x30, 0xffff8000);
	x86_load_tr(cpu, 0x28);
	assert_int_equal(cpu->seg[X86_TR].base, 0xffff800000003000);
	assert_int_equal(harness_u64(h, HARNESS_GDT + 0x28) >> 40 & 0xff, 0x8b);
	/* its upper half beyond the table */
	set_descriptor(h, 0x28, 0x0000890000000067);
	cpu->gdtr.limit = 0x2f;
	assert_int_equal(X86_TRY(cpu, x86_load_tr(cpu, 0x28)), X86_VEC_GP);
	assert_int_equal(cpu->fault.error, 0x28);
	harness_free(h);
}

static void test_real_load_keeps_limit(void **state)
{
	struct harness *h = harness_new(16);

	h->cpu->seg[X86_DS].limit = 0xffffffff;
	x86_load_sreg(h->cpu, X86_DS, 0x1234);
	assert_int_equal(h->cpu->seg[X86_DS].base, 0x12340);
	assert_int_equal(h->cpu->seg[X86_DS].limit, 0xffffffff);
	harness_free(h);
}

/* --- Stacks -------------------------------------------------------------- */

static void test_push_widths(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	cpu->seg[X86_SS].attr &= ~X86_SEG_DB;
	x86_mode_changed(cpu);
	cpu->gpr[X86_RSP] = 0x12340002;
	x86_push(cpu, 0x1122, 2);
	assert_int_equal(cpu->gpr[X86_RSP], 0x12340000);
	x86_push(cpu, 0x3344, 2); /* SP wraps, the upper half stays */
	assert_int_equal(cpu->gpr[X86_RSP], 0x1234fffe);
	assert_int_equal(harness_u32(h, 0xfffe) & 0xffff, 0x3344);
	assert_int_equal(x86_pop(cpu, 2), 0x3344);
	assert_int_equal(cpu->gpr[X86_RSP], 0x12340000);
	harness_free(h);
}

static void test_push_limit(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	cpu->seg[X86_SS].limit = 0xfff;
	x86_mode_changed(cpu);
	cpu->gpr[X86_RSP] = 0x1001;
	assert_int_equal(X86_TRY(cpu, x86_push(cpu, 1, 4)), X86_VEC_SS);
	assert_int_equal(cpu->gpr[X86_RSP], 0x1001);
	harness_free(h);
}

/* --- Far transfers ------------------------------------------------------- */

static void test_jmp_offset_limit(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;

	set_descriptor(h, 0x28, 0x00409b0000000fff);
	cpu->rip = 0x55;
	assert_int_equal(X86_TRY(cpu, x86_jmp_far(cpu, 0x28, 0x1000, 4)),
			 X86_VEC_GP);
	assert_int_equal(cpu->fault.error, 0);
	assert_int_equal(cpu->rip, 0x55);
	assert_int_equal(cpu->seg[X86_CS].sel, HARNESS_CS);
	x86_jmp_far(cpu, 0x28, 0xfff, 4);
	assert_int_equal(cpu->rip, 0xfff);
	harness_free(h);
}

/* 64-bit IRET pops SS and RSP always; to ring 3 with a null SS it refuses. */
static void test_iret_64(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t frame[5] = { 0x4000, HARNESS_CS, 0x202, 0x1000, 0 };
	uint64_t at = HARNESS_STACK - sizeof(frame);

	harness_write(h, at, frame, sizeof(frame));
	cpu->gpr[X86_RSP] = at;
	x86_iret(cpu, 8);
	assert_int_equal(cpu->rip, 0x4000);
	assert_int_equal(cpu->gpr[X86_RSP], 0x1000);
	assert_int_equal(cpu->seg[X86_SS].sel, 0);
	assert_int_equal(cpu->rflags, 0x202);
	frame[1] = HARNESS_CS3;
	harness_write(h, at, frame, sizeof(frame));
	cpu->gpr[X86_RSP] = at;
	assert_int_equal(X86_TRY(cpu, x86_iret(cpu, 8)), X86_VEC_GP);
	assert_int_equal(cpu->gpr[X86_RSP], at);
	assert_int_equal(cpu->cpl, 0);
	harness_free(h);
}

/* IRET in ring 3 changes neither IOPL nor, above IOPL, IF. */
static void test_iret_flags_user(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;
	uint64_t frame[5] = { 0x4000, HARNESS_CS3, 0x3002 | X86_FLAG_CF, 0x1000,
			      HARNESS_DS3 };

	harness_write(h, HARNESS_DATA, frame, sizeof(frame));
	harness_user(h);
	cpu->rflags = X86_FLAG_1 | X86_FLAG_IF;
	x86_mode_changed(cpu);
	cpu->gpr[X86_RSP] = HARNESS_DATA;
	x86_iret(cpu, 8);
	assert_int_equal(cpu->rflags, X86_FLAG_1 | X86_FLAG_IF | X86_FLAG_CF);
	harness_free(h);
}

static void test_iret_unblocks_nmi(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	cpu->nmi_blocked = true;
	cpu->gpr[X86_RSP] = HARNESS_DATA; /* zeroes: null CS */
	assert_int_equal(X86_TRY(cpu, x86_iret(cpu, 8)), X86_VEC_GP);
	assert_false(cpu->nmi_blocked); /* even if it faults */
	harness_free(h);
}

static void test_nt_in_long_mode(void **state)
{
	struct harness *h = harness_new(64);

	x86_set_rflags(h->cpu, X86_FLAG_NT, X86_FLAG_NT);
	assert_int_equal(X86_TRY(h->cpu, x86_iret(h->cpu, 8)), X86_VEC_GP);
	harness_free(h);
}

/* No task gates or TSSs as targets in long mode. */
static void test_no_tasks_in_long_mode(void **state)
{
	struct harness *h = harness_new(64);
	struct x86_cpu *cpu = h->cpu;

	set_descriptor(h, 0x28, 0x0000890000000067);
	assert_int_equal(X86_TRY(cpu, x86_call_far(cpu, 0x28, 0, 8)),
			 X86_VEC_GP);
	assert_int_equal(cpu->fault.error, 0x28);
	set_descriptor(h, 0x28, 0x0000850000080000);
	assert_int_equal(X86_TRY(cpu, x86_jmp_far(cpu, 0x28, 0, 8)),
			 X86_VEC_GP);
	harness_free(h);
}

/* --- Tasks of 16 bits ---------------------------------------------------- */

#define TSS_OLD 0x30000ull
#define TSS_NEW 0x31000ull

static void test_task16(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;
	uint16_t tss[22] = { 0 };

	tss[7] = 0x4444;                          /* IP */
	tss[8] = 2;                               /* FLAGS */
	tss[9] = 0x1111;                          /* AX */
	tss[13] = 0x8000;                         /* SP */
	tss[17] = tss[19] = tss[20] = HARNESS_DS; /* ES SS DS */
	tss[18] = HARNESS_CS;
	harness_write(h, TSS_NEW, tss, sizeof(tss));
	set_descriptor(h, 0x28, 0x000083000000002b | TSS_OLD << 16);
	set_descriptor(h, 0x30, 0x000081000000002b | TSS_NEW << 16);
	cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x28, .attr = 0x83, .base = TSS_OLD, .limit = 0x2b
	};
	cpu->gpr[X86_RBX] = 0x12345678;
	cpu->rip = 0x10203;
	x86_task_switch(cpu, 0x30, X86_TASK_CALL, false, 0);
	assert_int_equal(cpu->rip, 0x4444);
	assert_int_equal((uint16_t)cpu->gpr[X86_RAX], 0x1111);
	assert_int_equal((uint16_t)cpu->gpr[X86_RSP], 0x8000);
	assert_true(cpu->rflags & X86_FLAG_NT);
	assert_true(cpu->cr0 & X86_CR0_TS);
	assert_int_equal(harness_u32(h, TSS_NEW) & 0xffff, 0x28); /* link */
	assert_int_equal(harness_u32(h, TSS_OLD + 14) & 0xffff, 0x0203);
	assert_int_equal(harness_u32(h, TSS_OLD + 24) & 0xffff, 0x5678);
	x86_iret(cpu, 4); /* back by the link */
	assert_int_equal(cpu->seg[X86_TR].sel, 0x28);
	assert_int_equal(cpu->rip, 0x0203);
	assert_int_equal((uint16_t)cpu->gpr[X86_RBX], 0x5678);
	harness_free(h);
}

/* Behind the commit point faults are the new task's: traps at its EIP. */
static void test_task_fault_in_new(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;
	uint32_t eip = 0x4444;

	harness_write(h, TSS_NEW + 32, &eip, 4);
	set_descriptor(h, 0x28, 0x00008b0000000067 | TSS_OLD << 16);
	set_descriptor(h, 0x30, 0x0000890000000067 | TSS_NEW << 16);
	cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x28, .attr = 0x8b, .base = TSS_OLD, .limit = 0x67
	};
	/* CS is null there */
	assert_int_equal(X86_TRY(cpu, x86_task_switch(cpu, 0x30, X86_TASK_JMP,
						      false, 0)),
			 X86_VEC_TS);
	assert_int_equal(cpu->fault.type, X86_EV_TRAP);
	assert_int_equal(cpu->rip, 0x4444);
	assert_int_equal(cpu->seg[X86_TR].sel, 0x30);
	harness_free(h);
}

/* --- I/O map ------------------------------------------------------------- */

static void test_io_map(void **state)
{
	struct harness *h = harness_new(32);
	struct x86_cpu *cpu = h->cpu;
	uint16_t map = 0x68;

	memset(harness_ptr(h, TSS_OLD), 0xff, 0x100);
	harness_write(h, TSS_OLD + 0x66, &map, 2);
	*(uint8_t *)harness_ptr(h, TSS_OLD + 0x68) = 0xf0; /* ports 0..3 */
	cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x28, .attr = 0x8b, .base = TSS_OLD, .limit = 0x69
	};
	harness_user(h);
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 0, 4)), NO_FAULT);
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 1, 4)), X86_VEC_GP);
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 3, 1)), NO_FAULT);
	/* the byte behind the port's is beyond the limit */
	*(uint8_t *)harness_ptr(h, TSS_OLD + 0x69) = 0;
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 8, 1)), X86_VEC_GP);
	cpu->seg[X86_TR].limit = 0x6a;
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 8, 1)), NO_FAULT);
	cpu->seg[X86_TR].attr = 0x83; /* a 16-bit TSS has none */
	assert_int_equal(X86_TRY(cpu, x86_check_io(cpu, 8, 1)), X86_VEC_GP);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_bases_64),
		cmocka_unit_test(test_wrap_32),
		cmocka_unit_test(test_load_sets_accessed),
		cmocka_unit_test(test_null_clears_base),
		cmocka_unit_test(test_null_ss_in_ring3),
		cmocka_unit_test(test_wide_tss),
		cmocka_unit_test(test_real_load_keeps_limit),
		cmocka_unit_test(test_push_widths),
		cmocka_unit_test(test_push_limit),
		cmocka_unit_test(test_jmp_offset_limit),
		cmocka_unit_test(test_iret_64),
		cmocka_unit_test(test_iret_flags_user),
		cmocka_unit_test(test_iret_unblocks_nmi),
		cmocka_unit_test(test_nt_in_long_mode),
		cmocka_unit_test(test_no_tasks_in_long_mode),
		cmocka_unit_test(test_task16),
		cmocka_unit_test(test_task_fault_in_new),
		cmocka_unit_test(test_io_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
