/* callgates32: gates of 16 and 32 bits, parameters, outer returns. */
#include "guest.h"

#define SEL_GATE32 (SEL_FREE + 3) /* DPL 3 */
#define SEL_GATE16 (SEL_FREE + 8 + 3)
#define SEL_CONF   (SEL_FREE + 16) /* conforming ring-0 code */

extern volatile uint32_t g_cs, g_ss, g_args[3], g_esp;
extern uint8_t gate_entry[], user_caller[], user_caller_end[];

/* The procedure behind the gate: notes where it is and its parameters. */
__asm__(".pushsection .text\n"
	"gate_entry:\n"
	"	mov %cs, %eax; mov %eax, %ss:g_cs\n"
	"	mov %ss, %eax; mov %eax, %ss:g_ss\n"
	"	mov %esp, %ss:g_esp\n"
	"	mov 8(%esp), %eax; mov %eax, %ss:g_args\n"
	"	mov 12(%esp), %eax; mov %eax, %ss:g_args + 4\n"
	"	lret $8\n"
	".popsection\n"
	".pushsection .bss\n"
	"g_cs: .skip 4\n"
	"g_ss: .skip 4\n"
	"g_esp: .skip 4\n"
	"g_args: .skip 12\n"
	".popsection");

static uint64_t call_gate(unsigned type, uint16_t sel, uint32_t offset,
			  unsigned params)
{
	return (offset & 0xffff) | (uint64_t)sel << 16 |
	       (uint64_t)params << 32 | (uint64_t)type << 40 |
	       (uint64_t)(offset >> 16) << 48;
}

static volatile uint32_t user_esp_diff GUEST_USER_DATA;
static volatile uint32_t user_ds_after GUEST_USER_DATA;

static void GUEST_USER user_call32(unsigned long arg)
{
	uint32_t before, after, es;

	__asm__ volatile("mov %%esp, %0\n"
			 "pushl $0x22222222\n"
			 "pushl $0x11111111\n"
			 "lcall %3, $0\n"
			 "mov %%esp, %1\n"
			 "mov %%es, %2"
			 : "=&b"(before), "=&r"(after), "=&r"(es)
			 : "i"(SEL_GATE32)
			 : "eax", "memory", "cc");
	user_esp_diff = before - after;
	user_ds_after = es;
}

static void GUEST_USER user_call_absent(unsigned long arg)
{
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_GATE16) : "memory");
}

static void GUEST_USER user_jmp_gate(unsigned long arg)
{
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_GATE32) : "memory");
}

static void GUEST_USER user_call_conforming(unsigned long arg)
{
	uint32_t cs;

	__asm__ volatile("lcall %1, $1f\n"
			 "jmp 2f\n"
			 "1: mov %%cs, %0; lret\n"
			 "2:"
			 : "=&r"(cs)
			 : "i"(SEL_CONF)
			 : "memory");
	user_ds_after = cs;
}

static void fix_entry(void)
{
	/* ring 0 code reaches its data by SS: DS is still the user's */
	guest_gdt[(SEL_GATE32 & ~7) / 8] =
		call_gate(0xec, SEL_CODE, (uint32_t)gate_entry, 2);
}

static void test_inner(void)
{
	uint32_t esp0 = *(uint32_t *)(guest_tss + 4);

	fix_entry();
	guest_check_eq(guest_try_user(user_call32, 0), GUEST_NO_FAULT,
		       "call gate");
	guest_check_eq(g_cs & 0xffff, SEL_CODE, "ring 0 CS");
	guest_check_eq(g_ss & 0xffff, SEL_DATA, "ring 0 SS");
	guest_check_eq(esp0 - g_esp, 6 * 4, "SS ESP 2 parameters CS EIP");
	guest_check_eq(g_args[0], 0x11111111, "first parameter");
	guest_check_eq(g_args[1], 0x22222222, "second parameter");
	guest_check_eq(user_esp_diff, 0, "RET 8 pops both stacks");
	guest_check_eq(user_ds_after & 0xffff, SEL_UDATA, "ES stays");
}

static void test_refusals(void)
{
	guest_check_eq(guest_try_user(user_jmp_gate, 0), 13,
		       "JMP to inner code");
	guest_check_eq(guest_last.error, SEL_CODE, "names the code");
	guest_gdt[SEL_GATE16 / 8] =
		call_gate(0x6c, SEL_CODE, (uint32_t)gate_entry, 0);
	guest_check_eq(guest_try_user(user_call_absent, 0), 11, "absent gate");
	guest_check_eq(guest_last.error, SEL_GATE16 & ~3, "its selector");
	guest_gdt[SEL_GATE16 / 8] =
		call_gate(0x8c, SEL_CODE, (uint32_t)gate_entry, 0);
	guest_check_eq(guest_try_user(user_call_absent, 0), 13, "DPL 0 gate");
	guest_gdt[SEL_GATE16 / 8] = call_gate(0xec, SEL_DATA, 0, 0);
	guest_check_eq(guest_try_user(user_call_absent, 0), 13, "gate to data");
	guest_check_eq(guest_last.error, SEL_DATA, "names the data");
}

static void test_conforming(void)
{
	guest_gdt[SEL_CONF / 8] = 0x00cf9f000000ffff;
	guest_check_eq(guest_try_user(user_call_conforming, 0), GUEST_NO_FAULT,
		       "conforming code");
	guest_check_eq(user_ds_after & 0xffff, SEL_CONF | 3, "CPL stays 3");
}

/* The inner stack is bad: #TS, delivered in ring 0 through a task-less gate
 * would need that stack too, so the selector is bad for ring 1 only. */
static void GUEST_USER user_call_ring1(unsigned long arg)
{
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_GATE16) : "memory");
}

static void test_bad_stack(void)
{
	uint32_t *tss = (uint32_t *)guest_tss;

	guest_gdt[SEL_CONF / 8] = 0x00cfbb000000ffff; /* ring 1 code */
	guest_gdt[SEL_GATE16 / 8] = call_gate(0xec, SEL_CONF | 1, 0, 0);
	tss[3] = 0x1000;
	tss[4] = SEL_DATA;
	guest_check_eq(guest_try_user(user_call_ring1, 0), 10, "SS1 of DPL 0");
	guest_check_eq(guest_last.error, SEL_DATA, "its selector");
	tss[4] = 0;
	guest_check_eq(guest_try_user(user_call_ring1, 0), 10, "null SS1");
	guest_check_eq(guest_last.error, 0, "no selector");
}

static void ret_inward(unsigned long arg)
{
	/* RPL below CPL cannot happen in ring 0; a null CS can */
	__asm__ volatile("pushl $0; pushl $0; lret");
}

static void iret_bad_ss(unsigned long arg)
{
	__asm__ volatile("pushl %0; pushl $0; pushl $2; pushl %1; pushl $0;"
			 "iret"
			 :
			 : "i"(SEL_DATA), "i"(SEL_UCODE));
}

/* What the outer ring may not use is made null on the way out. */
static volatile uint32_t gs_after GUEST_USER_DATA;

static void GUEST_USER user_note_segs(unsigned long arg)
{
	uint32_t gs, fs;

	__asm__ volatile("mov %%gs, %0; mov %%fs, %1" : "=r"(gs), "=r"(fs));
	gs_after = (gs & 0xffff) << 16 | (fs & 0xffff);
}

static void test_returns(void)
{
	guest_expect(ret_inward, 0, 13, 0, "RETF to null");
	guest_expect(iret_bad_ss, 0, 13, SEL_DATA, "IRET with SS of DPL 0");
	__asm__ volatile("mov %w0, %%gs; mov %w1, %%fs"
			 :
			 : "r"(SEL_DATA), "r"(SEL_UDATA));
	guest_try_user(user_note_segs, 0);
	guest_check_eq(gs_after, SEL_UDATA, "GS of DPL 0 is null, FS stays");
}

void guest_main(void)
{
	test_inner();
	test_refusals();
	test_conforming();
	test_bad_stack();
	test_returns();
}
