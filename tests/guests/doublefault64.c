/* doublefault64: which pairs of exceptions make a double fault (SDM 6-5). */
#include "guest.h"

static uint8_t df_stack[4096] __attribute__((aligned(16)));

static void set_present(unsigned vector, bool present)
{
	guest_set_gate(vector, guest_stub(vector), SEL_CODE,
		       present ? 0x8e : 0x0e, 0);
}

static void gp(unsigned long arg)
{
	__asm__ volatile("mov %w0, %%fs" : : "r"(0x1000));
}

static void pf(unsigned long arg)
{
	(void)*(volatile uint8_t *)0x7ffffffff000;
}

static void ud(unsigned long arg)
{
	__asm__ volatile("ud2");
}

static void de(unsigned long arg)
{
	__asm__ volatile("div %b0" : : "q"(0), "a"(1) : "cc");
}

static void int_13(unsigned long arg)
{
	__asm__ volatile("int $13");
}

/* A stack that is not mapped: the page fault cannot be delivered either. */
static void no_stack(unsigned long arg)
{
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax;"
			 "mov %%rbx, %%rsp"
			 :
			 : "r"(0x7fffffff0000)
			 : "rbx", "memory");
}

static void bad_stack(unsigned long arg)
{
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax;"
			 "mov %%rbx, %%rsp"
			 :
			 : "r"(1ul << 47)
			 : "rbx", "memory");
}

static void test_pairs(void)
{
	set_present(13, false);
	guest_expect(gp, 0, 8, 0, "#GP, then #NP");
	guest_expect(int_13, 0, 11, 13 * 8 + 2, "INT 13 is benign");
	set_present(13, true);
	set_present(14, false);
	guest_expect(pf, 0, 8, 0, "#PF, then #NP");
	guest_check_eq(guest_last_cr2, 0x7ffffffff000, "CR2 is set anyway");
	set_present(14, true);
	set_present(0, false);
	guest_expect(de, 0, 8, 0, "#DE, then #NP");
	set_present(0, true);
	set_present(6, false);
	guest_expect(ud, 0, 11, 6 * 8 + 2 + 1, "#UD is benign: #NP with EXT");
	set_present(6, true);
}

static void test_stacks(void)
{
	*(uint64_t *)(guest_tss + 0x24) = (uint64_t)df_stack + sizeof(df_stack);
	guest_set_gate(8, guest_stub(8), SEL_CODE, 0x8e, 1);
	guest_expect(no_stack, 0, 8, 0, "#PF on #PF");
	guest_expect(bad_stack, 0, 8, 0, "#SS on #SS");
}

void guest_main(void)
{
	test_pairs();
	test_stacks();
}
