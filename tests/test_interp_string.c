/*
 * test_interp_string.c - string instructions: overlap, direction, progress at
 * faults, interruptibility, ports.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/mmu.h"

HARNESS_ASM(code_movsb, 64, "rep movsb; hlt");
HARNESS_ASM(code_movsq, 64, "rep movsq; hlt");
HARNESS_ASM(code_stosl, 64, "rep stosl; hlt");

static struct harness *string_machine(uint64_t rsi, uint64_t rdi, uint64_t rcx)
{
	struct harness *h = harness_new(64);
	uint8_t *p = harness_ptr(h, HARNESS_DATA);
	unsigned i;

	for (i = 0; i < 0x4000; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 8));
	h->cpu->gpr[X86_RSI] = rsi;
	h->cpu->gpr[X86_RDI] = rdi;
	h->cpu->gpr[X86_RCX] = rcx;
	return h;
}

/* What REP MOVS does, byte by byte. */
static void move_elements(uint8_t *d, const uint8_t *s, size_t n, int step)
{
	for (; n; n--, d += step, s += step)
		*d = *s;
}

static void check_move(int64_t distance, bool down)
{
	uint64_t from = HARNESS_DATA + 0x1000 + (down ? 5000 : 0);
	struct harness *h = string_machine(from, from + distance, 5000);
	uint8_t *want = test_malloc(0x4000);
	uint8_t *p = harness_ptr(h, HARNESS_DATA);

	memcpy(want, p, 0x4000);
	move_elements(want + (from - HARNESS_DATA) + distance,
		      want + (from - HARNESS_DATA), 5000, down ? -1 : 1);
	if (down)
		h->cpu->rflags |= X86_FLAG_DF;
	harness_asm(h, code_movsb);
	harness_run(h);
	assert_memory_equal(p, want, 0x4000);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0);
	assert_int_equal(h->cpu->gpr[X86_RSI], from + (down ? -5000 : 5000));
	test_free(want);
	harness_free(h);
}

static void overlapping_moves(void **state)
{
	static const int64_t distances[] = { 1,    2,  7,  8,   100,  4096,
					     4500, -1, -3, -64, -4000 };
	unsigned i;

	for (i = 0; i < sizeof(distances) / sizeof(distances[0]); i++) {
		check_move(distances[i], false);
		check_move(distances[i], true);
	}
}

static void elements_across_pages(void **state)
{
	struct harness *h =
		string_machine(HARNESS_DATA + 3, HARNESS_DATA + 0x2005, 700);

	harness_asm(h, code_movsq);
	harness_run(h);
	assert_memory_equal(harness_ptr(h, HARNESS_DATA + 0x2005),
			    harness_ptr(h, HARNESS_DATA + 3), 5600);
	harness_free(h);
}

static void stores_fill_memory(void **state)
{
	struct harness *h = string_machine(0, HARNESS_DATA + 0xff2, 2000);

	h->cpu->gpr[X86_RAX] = 0x55aa1234;
	harness_asm(h, code_stosl);
	harness_run(h);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 0xff2), 0x55aa1234);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 0xff2 + 7996),
			 0x55aa1234);
	assert_int_equal(h->cpu->gpr[X86_RDI], HARNESS_DATA + 0xff2 + 8000);
	harness_free(h);
}

/* RCX, RSI and RDI tell how far it came. */
static void a_fault_keeps_the_progress(void **state)
{
	struct harness *h = string_machine(HARNESS_DATA + 0x10,
					   HARNESS_DATA + 0x2f00, 0x300);

	harness_asm(h, code_movsb);
	*harness_pte(h, HARNESS_DATA + 0x3000) &= ~X86_PTE_W;
	x86_tlb_flush_all(h->cpu);
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(h->cpu->fault.cr2, HARNESS_DATA + 0x3000);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0x200);
	assert_int_equal(h->cpu->gpr[X86_RSI], HARNESS_DATA + 0x110);
	assert_int_equal(h->cpu->gpr[X86_RDI], HARNESS_DATA + 0x3000);
	*harness_pte(h, HARNESS_DATA + 0x3000) |= X86_PTE_W;
	assert_true(harness_step(h, 1));
	assert_memory_equal(harness_ptr(h, HARNESS_DATA + 0x2f00),
			    harness_ptr(h, HARNESS_DATA + 0x10), 0x300);
	harness_free(h);
}

static void a_pending_event_pauses_it(void **state)
{
	struct harness *h =
		string_machine(HARNESS_DATA, HARNESS_DATA + 0x2000, 0x2000);
	struct err err;

	harness_asm(h, code_movsb);
	/* what waits is seen after the first page */
	atomic_store(&h->cpu->pending, X86_PEND_KICK);
	assert_true(interp_one_raw(h->cpu));
	assert_int_equal(h->cpu->rip, HARNESS_CODE);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0x1000);
	assert_int_equal(interpreter_engine.run(h->cpu, &err),
			 VCPU_EXIT_KICKED);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0);
	harness_free(h);
}

HARNESS_ASM(code_cmpsb, 64, "repe cmpsb; hlt");
HARNESS_ASM(code_scasw, 64, "repne scasw; hlt");
static void comparisons_stop_where_they_should(void **state)
{
	struct harness *h =
		string_machine(HARNESS_DATA, HARNESS_DATA + 0x2000, 0x1800);

	memcpy(harness_ptr(h, HARNESS_DATA + 0x2000),
	       harness_ptr(h, HARNESS_DATA), 0x1800);
	*(uint8_t *)harness_ptr(h, HARNESS_DATA + 0x3234) += 1;
	harness_asm(h, code_cmpsb);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RSI], HARNESS_DATA + 0x1235);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0x1800 - 0x1235);
	assert_false(h->cpu->rflags & X86_FLAG_ZF);
	assert_true(h->cpu->rflags & X86_FLAG_CF);
	harness_asm(h, code_scasw);
	memset(harness_ptr(h, HARNESS_DATA), 1, 0x2000);
	memcpy(harness_ptr(h, HARNESS_DATA + 0x1100), "\x05\x06", 2);
	h->cpu->gpr[X86_RAX] = 0x0605;
	h->cpu->gpr[X86_RDI] = HARNESS_DATA;
	h->cpu->gpr[X86_RCX] = 0x1000;
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RDI], HARNESS_DATA + 0x1102);
	assert_true(h->cpu->rflags & X86_FLAG_ZF);
	harness_free(h);
}

static void a_count_of_zero_does_nothing(void **state)
{
	struct harness *h = string_machine(1ull << 40, 1ull << 41, 0);
	uint64_t flags = h->cpu->rflags;

	harness_asm(h, code_cmpsb);
	harness_run(h);
	assert_int_equal(h->cpu->rflags, flags);
	assert_int_equal(h->cpu->gpr[X86_RSI], 1ull << 40);
	harness_free(h);
}

HARNESS_ASM(code_addr32, 64, "addr32 rep stosb; hlt");
static void address_size_cuts_the_registers(void **state)
{
	struct harness *h = string_machine(0, 0xffff000000000000 | HARNESS_DATA,
					   0xff00000000000010);

	h->cpu->gpr[X86_RAX] = 0x99;
	harness_asm(h, code_addr32);
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RDI], HARNESS_DATA + 16);
	assert_int_equal(h->cpu->gpr[X86_RCX], 0);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 12), 0x99999999);
	harness_free(h);
}

/* A destination that holds code: what was written is what runs. */
HARNESS_ASM(code_over, 64,
	    "call 1f; leaq 1f-code_over(%rbx), %rdi; movl $1, %ecx\n"
	    "rep stosb; call 1f; hlt\n"
	    "1: nop; ret");
static void storing_over_code(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t rsp = h->cpu->gpr[X86_RSP];

	harness_asm(h, code_over);
	h->cpu->gpr[X86_RBX] = HARNESS_CODE;
	h->cpu->gpr[X86_RAX] = 0xf4; /* HLT */
	harness_run(h);
	assert_int_equal(h->cpu->gpr[X86_RSP], rsp - 8);
	harness_free(h);
}

/* --- Ports --------------------------------------------------------------- */

struct port_log {
	unsigned count;
	uint32_t last;
};

static uint64_t port_read(void *dev, uint64_t offset, unsigned size)
{
	struct port_log *log = dev;

	return ++log->count;
}

static void port_write(void *dev, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct port_log *log = dev;

	log->count++;
	log->last = (uint32_t)value;
}

static const struct io_ops port_ops = {
	.read = port_read,
	.write = port_write,
};

HARNESS_ASM(code_ports, 64, "rep insb; rep outsl; hlt");
static void ports_by_string(void **state)
{
	struct harness *h =
		string_machine(HARNESS_DATA, HARNESS_DATA + 0xffe, 4);
	struct port_log log = { 0 };

	mem_map_ports(h->mem, 0x80, 4, &port_ops, &log, "test");
	h->cpu->gpr[X86_RDX] = 0x80;
	harness_asm(h, code_ports);
	/* the page that cannot be written is found before the port is read */
	*harness_pte(h, HARNESS_DATA + 0x1000) &= ~X86_PTE_W;
	x86_tlb_flush_all(h->cpu);
	harness_expect_fault(h, X86_VEC_PF);
	assert_int_equal(log.count, 2);
	*harness_pte(h, HARNESS_DATA + 0x1000) |= X86_PTE_W;
	assert_true(harness_step(h, 1));
	assert_int_equal(log.count, 4);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 0xffe), 0x04030201);
	h->cpu->gpr[X86_RCX] = 2;
	h->cpu->gpr[X86_RSI] = HARNESS_DATA + 0xffe;
	assert_true(harness_step(h, 1));
	assert_int_equal(log.count, 6);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlapping_moves),
		cmocka_unit_test(elements_across_pages),
		cmocka_unit_test(stores_fill_memory),
		cmocka_unit_test(a_fault_keeps_the_progress),
		cmocka_unit_test(a_pending_event_pauses_it),
		cmocka_unit_test(comparisons_stop_where_they_should),
		cmocka_unit_test(a_count_of_zero_does_nothing),
		cmocka_unit_test(address_size_cuts_the_registers),
		cmocka_unit_test(storing_over_code),
		cmocka_unit_test(ports_by_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
