/*
 * smp64: starts the second processor by INIT and SIPI, and has both of them
 * count under a lock, write code for each other and send each other IPIs.
 */
#include "guest.h"

#define APIC   0xfee00000ul
#define ROUNDS 20000

extern uint8_t ap_code[], ap_code_end[];
extern uint64_t guest_pml4[512];
void ap_main(void);
uint8_t ap_stack[8192] __attribute__((aligned(16)));

/* Real mode at 0x8000, straight into long mode with the BSP's tables. */
__asm__(".pushsection .rodata\n"
	".code16\n"
	"ap_code:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %cs, %ax\n"
	"	mov %ax, (0x7ff0)\n"
	"	lgdtl (0x8000 + ap_gdtr - ap_code)\n"
	"	mov $0x20, %eax; mov %eax, %cr4\n"
	"	mov $guest_pml4, %eax; mov %eax, %cr3\n"
	"	mov $0xc0000080, %ecx; mov $0x900, %eax; xor %edx, %edx; "
	"wrmsr\n"
	"	mov $0x80010031, %eax; mov %eax, %cr0\n"
	"	ljmpl $0x08, $0x8000 + ap_long - ap_code\n"
	".code64\n"
	"ap_long:\n"
	"	mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss\n"
	"	mov $ap_stack + 8192, %rsp\n"
	"	mov $ap_main, %rax; call *%rax\n"
	"ap_gdtr: .word 255; .long guest_gdt\n"
	"ap_code_end:\n"
	".popsection");

static volatile unsigned ap_state; /* 1: up, 2: counting done, 3: got IPI */
static volatile unsigned counter, lock, ipis, turn, mismatch;
static uint8_t shared_code[16];

static void counting(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		while (__sync_lock_test_and_set(&lock, 1))
			__asm__ volatile("pause");
		counter++;
		__sync_lock_release(&lock);
		__sync_fetch_and_add(&ipis, 1);
	}
}

static bool note_ipi(struct guest_frame *f)
{
	ap_state = 3;
	*(volatile uint32_t *)(APIC + 0xb0) = 0;
	return true;
}

static unsigned call_shared(void)
{
	unsigned v;

	__asm__ volatile("call *%1" : "=a"(v) : "r"(shared_code) : "memory");
	return v;
}

/* Each in turn calls what the other wrote, and writes anew. */
static void take_turns(unsigned me)
{
	for (unsigned i = me; i < 200; i += 2) {
		while (turn != i)
			__asm__ volatile("pause");
		if (i && call_shared() != i - 1)
			mismatch++;
		*(volatile uint32_t *)(shared_code + 1) = i;
		__sync_synchronize();
		turn = i + 1;
	}
}

void ap_main(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { 4095, (uint64_t)guest_idt };

	__asm__ volatile("lidt %0" : : "m"(idtr));
	ap_state = 1;
	counting();
	take_turns(1);
	/* Until then it takes no IPI: SDM 11.4.7.2. */
	*(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
	ap_state = 2;
	for (;;)
		__asm__ volatile("sti; hlt");
}

static void icr(uint32_t dest, uint32_t v)
{
	*(volatile uint32_t *)(APIC + 0x310) = dest << 24;
	*(volatile uint32_t *)(APIC + 0x300) = v;
	while (*(volatile uint32_t *)(APIC + 0x300) & 1 << 12)
		;
}

static bool wait_state(unsigned state)
{
	uint64_t end = rdtsc() + 20000000000ull;

	while (ap_state < state && rdtsc() < end)
		__asm__ volatile("pause");
	return ap_state >= state;
}

void guest_main(void)
{
	memcpy((void *)0x8000, ap_code, ap_code_end - ap_code);
	memcpy(shared_code, "\xb8\0\0\0\0\xc3", 6);
	guest_hook[0x55] = note_ipi;
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	*(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
	icr(1, 0x4500);
	for (unsigned i = 0; i < 10000; i++)
		(void)inb(0x80);
	icr(1, 0x4608);
	icr(1, 0x4608);
	if (!wait_state(1)) {
		guest_check(false, "the second processor starts");
		return;
	}
	guest_check_eq(*(volatile uint16_t *)0x7ff0, 0x800, "CS at the start");
	counting();
	take_turns(0);
	guest_check(wait_state(2), "it counts");
	guest_check_eq(counter, 2 * ROUNDS, "under a lock");
	guest_check_eq(ipis, 2 * ROUNDS, "by locked additions");
	guest_check_eq(mismatch, 0, "each runs what the other wrote");
	icr(1, 0x4055);
	guest_check(wait_state(3), "an IPI wakes its HLT");
}
