/* exceptions32: vectors, gates and frames in protected mode. */
#include "guest.h"

static void bound(unsigned long arg)
{
	int32_t limits[2] = { 0, 9 };

	__asm__ volatile("bound %0, %1" : : "r"(arg), "m"(limits));
}

static void into(unsigned long arg)
{
	__asm__ volatile("mov %0, %%eax; add $0x7fffffff, %%eax; into"
			 :
			 : "r"(arg)
			 : "eax", "cc");
}

static void undefined(unsigned long arg)
{
	__asm__ volatile("ud2");
}

static void int_90(unsigned long arg)
{
	__asm__ volatile("int $0x90");
}

static void GUEST_USER user_int_90(unsigned long arg)
{
	__asm__ volatile("int $0x90");
}

static void GUEST_USER user_sti(unsigned long arg)
{
	__asm__ volatile("sti");
}

static void GUEST_USER user_popf(unsigned long arg)
{
	write_flags(0x3202);
}

static void test_simple(void)
{
	guest_expect(bound, 10, 5, 0, "BOUND");
	guest_expect(bound, 9, GUEST_NO_FAULT, 0, "BOUND inside");
	guest_expect(into, 1, 4, 0, "INTO");
	guest_expect(into, 0, GUEST_NO_FAULT, 0, "INTO without OF");
}

extern uint8_t gate16[];
extern volatile uint16_t gate16_frame[4];
__asm__(".pushsection .text\n"
	"gate16: mov %esp, %eax\n"
	"	movw (%eax), %cx; movw %cx, gate16_frame\n"
	"	movw 2(%eax), %cx; movw %cx, gate16_frame + 2\n"
	"	movw 4(%eax), %cx; movw %cx, gate16_frame + 4\n"
	"	jmp gate16_done\n"
	".popsection\n"
	".pushsection .bss\n"
	"gate16_frame: .skip 8\n"
	".popsection");

/* A 16-bit gate pushes words; its offset has 16 bits, so use a low segment. */
static void test_gate16(void)
{
	uint32_t base = (uint32_t)gate16 & ~0xfffful;
	bool if_before;

	guest_gdt[SEL_FREE / 8] =
		0x00cf9b000000ffffull | (uint64_t)(base & 0xffffff) << 16;
	guest_set_gate(0x90, (void *)((uint32_t)gate16 & 0xffff), SEL_FREE,
		       0x86, 0);
	if_before = read_flags() & 0x200;
	__asm__ volatile("pusha\n"
			 "mov %%esp, gate16_sp\n"
			 "int $0x90\n"
			 "gate16_back: nop\n"
			 /* the handler comes here, still in its own CS */
			 ".globl gate16_done\n"
			 "gate16_done:\n"
			 "mov gate16_sp, %%ebx; sub %%esp, %%ebx\n"
			 "mov %%ebx, gate16_used\n"
			 "mov gate16_sp, %%esp\n"
			 "ljmp $0x08, $1f\n"
			 "1: popa\n"
			 ".pushsection .bss\n"
			 "gate16_sp: .skip 4\n"
			 ".globl gate16_used\n"
			 "gate16_used: .skip 4\n"
			 ".popsection"
			 :
			 :
			 : "memory", "cc");
	extern volatile uint32_t gate16_used;

	guest_check_eq(gate16_used, 6, "a 16-bit gate pushes three words");
	guest_check_eq(gate16_frame[1], SEL_CODE, "CS");
	guest_check_eq(gate16_frame[2] & 0x200, if_before ? 0x200 : 0, "FLAGS");
}

static void test_gates(void)
{
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x0e, 0);
	guest_expect(int_90, 0, 11, 0x90 * 8 + 2, "absent gate");
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x8c, 0);
	guest_expect(int_90, 0, 13, 0x90 * 8 + 2, "call gate in the IDT");
	guest_set_gate(0x90, guest_stub(0x90), SEL_DATA, 0x8e, 0);
	guest_expect(int_90, 0, 13, SEL_DATA, "data as CS");
	guest_set_gate(0x90, guest_stub(0x90), SEL_UCODE, 0x8e, 0);
	guest_expect(int_90, 0, 13, SEL_UCODE & ~3, "outer CS");
	guest_set_gate(6, guest_stub(6), SEL_UCODE, 0x8e, 0);
	guest_expect(undefined, 0, 13, (SEL_UCODE & ~3) | 1, "EXT");
	guest_set_gate(6, guest_stub(6), SEL_CODE, 0x8e, 0);
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x8f, 0);
	write_flags(read_flags() | 0x4000);
	guest_expect(int_90, 0, 0x90, 0, "trap gate");
	write_flags(2);
}

static void test_user(void)
{
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0x8e, 0);
	guest_check_eq(guest_try_user(user_int_90, 0), 13, "DPL 0 from ring 3");
	guest_check_eq(guest_last.error, 0x90 * 8 + 2, "its error code");
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0xee, 0);
	guest_check_eq(guest_try_user(user_int_90, 0), 0x90, "DPL 3");
	guest_check_eq(guest_last.ss, SEL_UDATA, "SS of ring 3");
	guest_check_eq(guest_try_user(user_sti, 0), 13, "STI in ring 3");
	guest_check_eq(guest_try_user(user_popf, 0), GUEST_NO_FAULT, "POPF");
	guest_check_eq(guest_last.flags & 0x3200, 0, "keeps IF and IOPL");
}

void guest_main(void)
{
	test_simple();
	test_gate16();
	test_gates();
	test_user();
}
