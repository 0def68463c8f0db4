/*
 * realmode32: drops back to real mode, runs there, and returns: segments, IVT
 * interrupts, flags, limits, "unreal" mode.
 */
#include "guest.h"

#define REAL_SEG  0x6000
#define REAL_BASE (REAL_SEG * 16)

/*
 * The routine lies in the image and is copied to 0x60000.  Far jumps first
 * go to a 16-bit protected segment, then PE goes away.  Results are words at
 * DS:0 (segment 0x7000).
 */
extern uint8_t real_code[], real_code_end[];
extern void real_call(void);
__asm__(".pushsection .rodata\n"
	".code16\n"
	"real_code:\n"
	/* 16-bit protected mode, based at 0x60000 */
	"	mov $0x58, %ax\n" /* 64 KiB data, base 0x60000 */
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov $0x60, %ax\n" /* 4 GiB data: FS goes unreal */
	"	mov %ax, %fs\n"
	"	mov %cr0, %eax\n"
	"	and $0xfffffffe, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmp $0x6000, $1f - real_code\n"
	"1:	mov $0x7000, %ax\n"
	"	mov %ax, %ds\n"
	"	mov $0x5000, %ax\n"
	"	mov %ax, %ss\n"
	"	mov $0xfff0, %sp\n"
	"	lidtl %cs:(real_ivt - real_code)\n"
	"	movw %cs, (0)\n"
	"	smsw %ax; movw %ax, (2)\n"
	/* an interrupt and its return */
	"	xor %ax, %ax; mov %ax, %es\n"
	"	movw $real_int - real_code, %es:(0x60 * 4)\n"
	"	movw $0x6000, %es:(0x60 * 4 + 2)\n"
	"	movw $real_gp - real_code, %es:(13 * 4)\n"
	"	movw $0x6000, %es:(13 * 4 + 2)\n"
	"	movw $real_ud - real_code, %es:(6 * 4)\n"
	"	movw $0x6000, %es:(6 * 4 + 2)\n"
	/* a BIOS service, whoever provides it, comes back */
	"	mov $0xff, %ah; clc; int $0x15; mov $0x1515, %ax; mov %ax, "
	"(26)\n"
	"	pushw $0x0a03; popf\n" /* OF, IF, CF */
	"	int $0x60\n"
	"	pushf; popw (4)\n"
	"	cli\n"
	/* a word at offset FFFF is beyond the limit */
	"	mov (0xffff), %ax\n"
	"	movw $0x5555, (8)\n"
	/* FS still has its 4 GiB limit, but a new base */
	"	mov $0x7000, %ax\n"
	"	mov %ax, %fs\n"
	"	mov $0x20000, %ebx\n"
	"	movw $0x600d, %fs:(%ebx)\n" /* linear 0x90000 */
	/* protected-mode instructions are undefined */
	"	sldt %ax\n"
	"	movw $0x6666, (12)\n"
	/* 32-bit operands, string, loop */
	"	mov $0x12345678, %eax; rol $16, %eax; mov %eax, (16)\n"
	"	mov $0x7000, %ax; mov %ax, %es\n"
	"	mov $16, %si; mov $32, %di; mov $2, %cx; cld; rep movsw\n"
	"	xor %ax, %ax; mov $5, %cx\n"
	"2:	add $3, %ax; loop 2b\n"
	"	mov %ax, (20)\n"
	/* far call and return */
	"	lcall $0x6000, $real_far - real_code\n"
	"	mov %ax, (22)\n"
	/* and back */
	"	mov %cr0, %eax\n"
	"	or $1, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $0x08, $real_back\n"
	"real_int: movw $0x1111, (6)\n"
	"	pushf; popw (24)\n"
	"	iret\n"
	"real_gp: movw $0xdddd, (10)\n"
	"	push %bp; mov %sp, %bp; addw $3, 2(%bp); pop %bp\n"
	"	iret\n"
	"real_ud: movw $0xbbbb, (14)\n"
	"	push %bp; mov %sp, %bp; addw $3, 2(%bp); pop %bp\n"
	"	iret\n"
	"real_far: mov $0xfafa, %ax; lret\n"
	"real_ivt: .word 0x3ff; .long 0\n"
	"real_code_end:\n"
	".code32\n"
	".popsection\n"
	".pushsection .text\n"
	"real_call:\n"
	"	pusha\n"
	"	sidt real_idt\n"
	"	mov %esp, real_sp\n"
	"	ljmp $0x50, $0\n"
	"real_back:\n"
	"	mov $0x10, %ax\n"
	"	mov %ax, %ds; mov %ax, %es; mov %ax, %ss\n"
	"	xor %ax, %ax; mov %ax, %fs\n"
	"	mov real_sp, %esp\n"
	"	lidt real_idt\n"
	"	popa\n"
	"	ret\n"
	".popsection\n"
	".pushsection .bss\n"
	"real_sp: .skip 4\n"
	"real_idt: .skip 8\n"
	".popsection");

static uint16_t word(unsigned offset)
{
	return *(volatile uint16_t *)(0x70000 + offset);
}

void guest_main(void)
{
	guest_gdt[0x50 / 8] = 0x00009b060000ffff; /* 16-bit code at 0x60000 */
	guest_gdt[0x58 / 8] = 0x000093060000ffff; /* 16-bit data there */
	guest_gdt[0x60 / 8] = 0x008f93000000ffff; /* 4 GiB data */
	memset((void *)0x70000, 0, 64);
	memcpy((void *)REAL_BASE, real_code, real_code_end - real_code);
	real_call();
	guest_check_eq(word(0), REAL_SEG, "CS");
	guest_check_eq(word(2) & 1, 0, "PE clear");
	guest_check_eq(word(6), 0x1111, "INT 60h");
	guest_check_eq(word(26), 0x1515, "INT 15h returns");
	guest_check_eq(word(24) & 0x300, 0, "IF and TF clear in the handler");
	guest_check_eq(word(4) & 0xa01, 0xa01, "flags after IRET");
	guest_check_eq(word(10), 0xdddd, "#GP by the IVT");
	guest_check_eq(word(8), 0x5555, "and on behind it");
	guest_check_eq(*(volatile uint16_t *)0x90000, 0x600d, "unreal FS");
	guest_check_eq(word(14), 0xbbbb, "SLDT is undefined");
	guest_check_eq(word(12), 0x6666, "and on behind it");
	guest_check_eq(word(16), 0x1234, "ROL of a dword");
	guest_check_eq(word(32), 0x1234, "REP MOVSW");
	guest_check_eq(word(34), 0x5678, "REP MOVSW");
	guest_check_eq(word(20), 15, "LOOP");
	guest_check_eq(word(22), 0xfafa, "far call");
	guest_check(read_cr0() & 1, "protected again");
}
