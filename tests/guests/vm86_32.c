/*
 * vm86_32: virtual-8086 mode: entry by IRET, exits by faults and interrupts,
 * IOPL-sensitive instructions, segments, the I/O map.
 */
#include "guest.h"

#define VM_SEG   0x6000 /* code at 0x60000 */
#define VM_STACK 0x5000
#define FLAG_VM  0x20000u

struct vm_entry {
	uint32_t ip, flags, ax;
	uint16_t ds;
};

extern void vm86_enter(struct vm_entry *e);
__asm__(".pushsection .text\n"
	"vm86_enter:\n"
	"	mov 4(%esp), %ebx\n"
	"	pushl $0x7000\n" /* GS FS DS ES SS */
	"	pushl $0x7100\n"
	"	movzwl 12(%ebx), %eax; push %eax\n"
	"	pushl $0x7300\n"
	"	pushl $0x5000\n"
	"	pushl $0xfff0\n"
	"	pushl 4(%ebx)\n"
	"	pushl $0x6000\n"
	"	pushl (%ebx)\n"
	"	mov 8(%ebx), %eax\n"
	"	iret\n"
	".popsection");

/* Code of each attempt; copied to VM_SEG:0. */
#define VM_CODE(name, text)                                                  \
	extern uint8_t name[], name##_end[];                                 \
	__asm__(".pushsection .rodata\n.code16\n" #name ": " text "\n" #name \
		"_end:\n.code32\n.popsection")

VM_CODE(vm_regs, "mov %cs, %ax; mov %ds, %bx; mov %ss, %cx; mov %sp, %dx;"
		 "mov %es, %si; mov %fs, %di; mov %gs, %bp; int $0x90");
VM_CODE(vm_memory, "movw $0xbeef, (0x10); mov %ss:(0xfff0), %ax;"
		   "push %cs; pop %ds; int $0x90");
VM_CODE(vm_cli, "cli; nop; int $0x90");
VM_CODE(vm_pushf, "pushf; pop %ax; int $0x90");
VM_CODE(vm_iret, "iret");
VM_CODE(vm_hlt, "hlt");
VM_CODE(vm_in, "in $0x80, %al; int $0x90");
VM_CODE(vm_lgdt, "lgdt (0)");
VM_CODE(vm_sldt, "sldt %ax");
VM_CODE(vm_cr, "mov %cr0, %eax");
VM_CODE(vm_far, "lcall $0x6000, $1f - vm_far; int $0x90; 1: mov $0x1234, %ax;"
		"lret");
VM_CODE(vm_limit, "mov (0xffff), %ax");
VM_CODE(vm_int3, "int3; nop");
VM_CODE(vm_retfar, "pushw $0x6000; pushw $1f - vm_retfar; lret; hlt;"
		   "1: mov $0x77, %ax; int $0x90");

static struct guest_frame vm_seen;
static unsigned vm_vector;

static bool vm_stop(struct guest_frame *f)
{
	vm_seen = *f;
	vm_vector = f->vector;
	return false; /* on to guest_try() */
}

static void vm_go(unsigned long arg)
{
	vm86_enter((struct vm_entry *)arg);
}

/* Runs code in VM86; the vector that ended it is in vm_vector. */
static unsigned vm_run(const uint8_t *code, const uint8_t *end, uint32_t iopl,
		       uint32_t ax)
{
	struct vm_entry e = {
		.flags = FLAG_VM | iopl << 12 | 0x202,
		.ax = ax,
		.ds = 0x7200,
	};

	memcpy((void *)(VM_SEG * 16), code, end - code);
	return guest_try(vm_go, (unsigned long)&e);
}
#define RUN(name, iopl) vm_run(name, name##_end, iopl, 0)

static void test_state(void)
{
	guest_check_eq(RUN(vm_regs, 3), 0x90, "INT n with IOPL 3");
	guest_check(vm_seen.flags & FLAG_VM, "VM in the image");
	guest_check_eq(vm_seen.cs & 0xffff, VM_SEG, "CS");
	guest_check_eq(vm_seen.rax & 0xffff, VM_SEG, "CS as seen");
	guest_check_eq(vm_seen.rbx & 0xffff, 0x7200, "DS as seen");
	guest_check_eq(vm_seen.rcx & 0xffff, VM_STACK, "SS as seen");
	guest_check_eq(vm_seen.rdx & 0xffff, 0xfff0, "SP as seen");
	guest_check_eq(vm_seen.rsi & 0xffff, 0x7300, "ES as seen");
	guest_check_eq(vm_seen.rdi & 0xffff, 0x7100, "FS as seen");
	guest_check_eq(vm_seen.rbp & 0xffff, 0x7000, "GS as seen");
	guest_check_eq(vm_seen.vm_ds & 0xffff, 0x7200, "DS pushed");
	guest_check_eq(vm_seen.vm_es & 0xffff, 0x7300, "ES pushed");
	guest_check_eq(vm_seen.vm_fs & 0xffff, 0x7100, "FS pushed");
	guest_check_eq(vm_seen.vm_gs & 0xffff, 0x7000, "GS pushed");
	guest_check_eq(vm_seen.ss & 0xffff, VM_STACK, "SS pushed");
	guest_check_eq(vm_seen.rsp & 0xffff, 0xfff0, "SP pushed");
	/* data segments of the handler were null before the stub loaded them */
	guest_check_eq(vm_seen.fs & 0xffff, 0, "FS null in the handler");
	guest_check_eq(vm_seen.gs & 0xffff, 0, "GS null in the handler");
}

static void test_memory(void)
{
	*(volatile uint16_t *)0x72010 = 0;
	*(volatile uint16_t *)0x5fff0 = 0x4321;
	guest_check_eq(RUN(vm_memory, 3), 0x90, "memory");
	guest_check_eq(*(volatile uint16_t *)0x72010, 0xbeef, "store by DS");
	guest_check_eq(vm_seen.rax & 0xffff, 0x4321, "load by SS");
	guest_check_eq(vm_seen.vm_ds & 0xffff, VM_SEG, "POP DS");
	guest_check_eq(RUN(vm_limit, 3), 13, "word at FFFF");
	guest_check_eq(RUN(vm_far, 3), 0x90, "far CALL and RET");
	guest_check_eq(vm_seen.rax & 0xffff, 0x1234, "ran");
	guest_check_eq(RUN(vm_retfar, 3), 0x90, "far RET");
	guest_check_eq(vm_seen.rax & 0xffff, 0x77, "ran");
}

static void test_sensitive(void)
{
	guest_check_eq(RUN(vm_cli, 3), 0x90, "CLI with IOPL 3");
	guest_check(!(vm_seen.flags & 0x200), "clears IF");
	guest_check_eq(RUN(vm_cli, 0), 13, "CLI with IOPL 0");
	guest_check_eq(vm_seen.error, 0, "error code 0");
	guest_check_eq(vm_seen.rip, 0, "at the CLI");
	guest_check_eq(RUN(vm_pushf, 3), 0x90, "PUSHF with IOPL 3");
	guest_check_eq(vm_seen.rax & 0x7202, 0x3202, "its value");
	guest_check_eq(RUN(vm_pushf, 2), 13, "PUSHF with IOPL 2");
	guest_check_eq(RUN(vm_iret, 1), 13, "IRET with IOPL 1");
	guest_check_eq(RUN(vm_regs, 0), 13, "INT n with IOPL 0");
	guest_check_eq(vm_seen.error, 0, "error code 0");
	guest_check_eq(RUN(vm_int3, 0), 3, "INT3 is not sensitive");
}

static void test_privileged(void)
{
	guest_check_eq(RUN(vm_hlt, 3), 13, "HLT");
	guest_check_eq(RUN(vm_lgdt, 3), 13, "LGDT");
	guest_check_eq(RUN(vm_cr, 3), 13, "MOV CR0");
	guest_check_eq(RUN(vm_sldt, 3), 6, "SLDT");
	guest_check_eq(RUN(vm_in, 3), 13, "IN without a map, IOPL 3");
	*(uint16_t *)(guest_tss + 0x66) = 0x68;
	guest_check_eq(RUN(vm_in, 3), 0x90, "IN with a map");
	*(uint16_t *)(guest_tss + 0x66) = sizeof(guest_tss);
}

/* --- VME: VIF for IF, and INT n to the 8086 program's own handlers ------- */

#define FLAG_VIF 0x80000u
#define FLAG_VIP 0x100000u
#define CR4_VME  1

VM_CODE(vm_sti_cli, "sti; pushf; pop %ax; cli; pushf; pop %bx; int $0x91");
VM_CODE(vm_redirect, "sti; int $0x92; nop; int $0x91;"
		     "vm_handler: pushf; pop %cx; mov $0x99, %dx; iret");
VM_CODE(vm_popf, "pushw $0x202; popf; int $0x91");
extern uint8_t vm_handler[];

static uint8_t *redirection(void)
{
	return guest_tss + *(uint16_t *)(guest_tss + 0x66) - 32;
}

static void test_vme(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[3] & 2))
		return;
	write_cr4(read_cr4() | CR4_VME);
	*(uint16_t *)(guest_tss + 0x66) = 0x88;
	memset(redirection(), 0xff, 32 + 0x2000);
	guest_set_gate(0x91, guest_stub(0x91), SEL_CODE, 0xee, 0);
	guest_hook[0x91] = vm_stop;
	guest_check_eq(RUN(vm_sti_cli, 0), 13, "INT n is refused still");
	guest_check_eq(vm_seen.rax & 0x3200, 0x3200, "STI sets VIF, PUSHF");
	guest_check_eq(vm_seen.rbx & 0x3200, 0x3000, "CLI clears it");
	guest_check(vm_seen.flags & 0x200, "IF as it was");
	guest_check(!(vm_seen.flags & FLAG_VIF), "VIF in the image");
	redirection()[0x92 / 8] = ~(1 << 0x92 % 8);
	*(volatile uint16_t *)(0x92 * 4) = vm_handler - vm_redirect;
	*(volatile uint16_t *)(0x92 * 4 + 2) = VM_SEG;
	guest_check_eq(RUN(vm_redirect, 0), 13, "redirected, then INT 91h");
	guest_check_eq(vm_seen.rdx & 0xff, 0x99, "the handler ran");
	guest_check_eq(vm_seen.rcx & 0x200, 0, "with VIF clear");
	guest_check(vm_seen.flags & FLAG_VIF, "its IRET set VIF again");
	guest_check_eq(RUN(vm_redirect, 3), 0x91, "IOPL 3: redirected too");
	guest_check_eq(vm_seen.rdx & 0xff, 0x99, "the handler ran");
	write_cr4(read_cr4() & ~1ul);
	*(uint16_t *)(guest_tss + 0x66) = sizeof(guest_tss);
}

static void test_vip(void)
{
	struct vm_entry e = { .flags = FLAG_VM | FLAG_VIP | 2, .ds = 0x7200 };

	write_cr4(read_cr4() | CR4_VME);
	memcpy((void *)(VM_SEG * 16), vm_sti_cli, 16);
	guest_check_eq(guest_try(vm_go, (unsigned long)&e), 13, "STI with VIP");
	guest_check_eq(vm_seen.rip, 0, "at the STI");
	memcpy((void *)(VM_SEG * 16), vm_popf, 16);
	guest_check_eq(guest_try(vm_go, (unsigned long)&e), 13,
		       "POPF with VIP");
	guest_check_eq(vm_seen.rip, 3, "at the POPF");
	write_cr4(read_cr4() & ~1ul);
}

void guest_main(void)
{
	guest_set_gate(0x90, guest_stub(0x90), SEL_CODE, 0xee, 0);
	guest_set_gate(3, guest_stub(3), SEL_CODE, 0xee, 0);
	guest_hook[0x90] = guest_hook[13] = guest_hook[6] = vm_stop;
	guest_hook[3] = vm_stop;
	test_state();
	test_memory();
	test_sensitive();
	test_privileged();
	test_vme();
	test_vip();
}
