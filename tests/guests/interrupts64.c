/*
 * interrupts64: the 8259s and the 8254, the local APIC's timer in each mode,
 * priorities, self-IPIs, NMI, the IOAPIC, HLT, the shadow of STI.
 */
#include "guest.h"

#define APIC          0xfee00000ul
#define APIC_TPR      0x80
#define APIC_EOI      0xb0
#define APIC_SVR      0xf0
#define APIC_ICR      0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT      0x320
#define APIC_LINT0    0x350
#define APIC_INIT     0x380
#define APIC_NOW      0x390
#define APIC_DIV      0x3e0
#define IOAPIC        0xfec00000ul

#define VEC_TIMER 0x40
#define VEC_LOW   0x51
#define VEC_HIGH  0x71
#define VEC_PIT   0x60

static volatile unsigned count[256];
static volatile uint8_t order[16];
static volatile unsigned order_n;
static volatile unsigned long last_rip;

static volatile uint32_t *apic(unsigned reg)
{
	return (volatile uint32_t *)(APIC + reg);
}

static bool note_apic(struct guest_frame *f)
{
	count[f->vector]++;
	if (order_n < 16)
		order[order_n++] = f->vector;
	last_rip = f->rip;
	*apic(APIC_EOI) = 0;
	return true;
}

static bool note_pic(struct guest_frame *f)
{
	count[f->vector]++;
	last_rip = f->rip;
	outb(0x20, 0x20);
	return true;
}

static bool note_nmi(struct guest_frame *f)
{
	count[2]++;
	return true;
}

/* Waits with HLT, at most about two seconds, for count[v] to reach n. */
static bool wait_for(unsigned v, unsigned n)
{
	uint64_t end = rdtsc() + 8000000000ull;

	while (count[v] < n && rdtsc() < end)
		__asm__ volatile("sti; pause; nop; cli" : : : "memory");
	return count[v] >= n;
}

static void hlt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* --- 8259 and 8254 ------------------------------------------------------- */

static void pic_init(void)
{
	outb(0x20, 0x11);
	outb(0xa0, 0x11);
	outb(0x21, VEC_PIT);
	outb(0xa1, VEC_PIT + 8);
	outb(0x21, 4);
	outb(0xa1, 2);
	outb(0x21, 1);
	outb(0xa1, 1);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

static void pit_start(unsigned mode, unsigned reload)
{
	outb(0x43, 0x30 | mode << 1);
	outb(0x40, reload);
	outb(0x40, reload >> 8);
}

/* With the local APIC off, and with it in virtual wire mode (LINT0). */
static void test_pit(const char *what)
{
	count[VEC_PIT] = 0;
	guest_hook[VEC_PIT] = note_pic;
	outb(0x21, 0xfe);
	pit_start(2, 1193); /* 1 kHz */
	hlt();
	guest_check(count[VEC_PIT] >= 1, what);
	guest_check(wait_for(VEC_PIT, 5), what);
	outb(0x21, 0xff);
	pit_start(0, 0xffff);
	count[VEC_PIT] = 0;
	__asm__ volatile("sti; nop; nop; cli");
}

static void test_pic_masked(void)
{
	outb(0x21, 0xff);
	pit_start(0, 100);
	uint64_t end = rdtsc() + 8000000000ull;

	outb(0x20, 0x0a);
	while (!(inb(0x20) & 1) && rdtsc() < end)
		;
	__asm__ volatile("sti; nop; nop; cli");
	guest_check_eq(count[VEC_PIT], 0, "masked IRQ 0");
	guest_check_eq(inb(0x20) & 1, 1, "waits in the IRR");
	outb(0x21, 0xfe);
	__asm__ volatile("sti; nop; nop; cli");
	guest_check_eq(count[VEC_PIT], 1, "comes when unmasked");
	outb(0x21, 0xff);
}

/* --- Local APIC ---------------------------------------------------------- */

static void apic_on(void)
{
	wrmsr(0x1b, rdmsr(0x1b) | 0x800);
	*apic(APIC_SVR) = 0x1ff;
	*apic(APIC_TPR) = 0;
	for (unsigned v = VEC_TIMER; v < VEC_PIT; v++)
		guest_hook[v] = note_apic;
	guest_hook[VEC_HIGH] = note_apic;
}

static void test_one_shot(void)
{
	*apic(APIC_DIV) = 0xb;
	*apic(APIC_LVT) = VEC_TIMER;
	*apic(APIC_INIT) = 100000;
	guest_check(wait_for(VEC_TIMER, 1), "one-shot timer");
	guest_check_eq(*apic(APIC_NOW), 0, "its count stops at 0");
	for (unsigned i = 0; i < 1000; i++)
		__asm__ volatile("sti; pause; cli");
	guest_check_eq(count[VEC_TIMER], 1, "comes once");
}

static void test_periodic(void)
{
	count[VEC_TIMER] = 0;
	*apic(APIC_LVT) = VEC_TIMER | 1 << 17;
	*apic(APIC_INIT) = 1000000;
	guest_check(wait_for(VEC_TIMER, 5), "periodic timer");
	*apic(APIC_LVT) = VEC_TIMER | 1 << 16;
	*apic(APIC_INIT) = 0;
}

static void test_deadline(void)
{
	uint32_t r[4];
	uint64_t at;

	cpuid(1, 0, r);
	if (!(r[2] >> 24 & 1))
		return;
	for (unsigned i = 0; i < 1000; i++) /* a last periodic tick */
		__asm__ volatile("sti; pause; nop; cli" : : : "memory");
	count[VEC_TIMER] = 0;
	*apic(APIC_LVT) = VEC_TIMER | 2 << 17;
	__asm__ volatile("mfence");
	at = rdtsc() + 20000000;
	wrmsr(0x6e0, at);
	guest_check_eq(rdmsr(0x6e0), at, "TSC deadline reads back");
	guest_check(wait_for(VEC_TIMER, 1), "TSC deadline");
	guest_check(rdtsc() >= at, "not early");
	guest_check_eq(rdmsr(0x6e0), 0, "disarmed");
	count[VEC_TIMER] = 0;
	wrmsr(0x6e0, 1);
	guest_check(wait_for(VEC_TIMER, 1), "a deadline in the past");
	wrmsr(0x6e0, rdtsc() + 50000000);
	hlt();
	guest_check_eq(count[VEC_TIMER], 2, "wakes HLT");
}

static void ipi(unsigned icr)
{
	*apic(APIC_ICR) = icr;
	while (*apic(APIC_ICR) & 1 << 12)
		;
}
#define TO_SELF (1 << 18)

static void sti_nop(void)
{
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void test_ipi(void)
{
	order_n = 0;
	ipi(VEC_LOW | TO_SELF);
	ipi(VEC_HIGH | TO_SELF);
	guest_check_eq(order_n, 0, "nothing while IF is clear");
	sti_nop();
	guest_check_eq(order_n, 2, "both");
	guest_check_eq(order[0], VEC_HIGH, "higher priority first");
	guest_check_eq(order[1], VEC_LOW, "then the lower");
	order_n = 0;
	write_cr8(5);
	guest_check_eq(*apic(APIC_TPR), 0x50, "CR8 is the TPR");
	ipi(VEC_LOW | TO_SELF);
	ipi(VEC_HIGH | TO_SELF);
	sti_nop();
	guest_check_eq(order_n, 1, "TPR holds the lower off");
	guest_check_eq(order[0], VEC_HIGH, "not the higher");
	write_cr8(0);
	sti_nop();
	guest_check_eq(order_n, 2, "TPR lowered");
}

extern uint8_t shadow_1[], shadow_2[];

static void test_shadow(void)
{
	order_n = 0;
	ipi(VEC_LOW | TO_SELF);
	__asm__ volatile("sti\n"
			 "inc %%eax\n"
			 "shadow_1: inc %%eax\n"
			 "inc %%eax\n"
			 "shadow_2: cli"
			 :
			 :
			 : "eax", "memory", "cc");
	guest_check(last_rip >= (unsigned long)shadow_1 &&
			    last_rip <= (unsigned long)shadow_2,
		    "STI holds interrupts off for one instruction");
	guest_check_eq(order_n, 1, "then it comes");
	order_n = 0;
	ipi(VEC_LOW | TO_SELF);
	__asm__ volatile("sti; cli; nop" : : : "memory");
	guest_check_eq(order_n, 0, "STI, CLI leaves no room");
	sti_nop();
	guest_check_eq(order_n, 1, "now");
}

static void test_nmi(void)
{
	guest_hook[2] = note_nmi;
	/* the self shorthand knows fixed delivery only: by id */
	*apic(APIC_ICR_HIGH) = *apic(0x20);
	ipi(0x400);
	__asm__ volatile("nop; nop");
	guest_check(count[2] >= 1, "NMI with IF clear");
	guest_hook[2] = NULL;
}

/* --- IOAPIC -------------------------------------------------------------- */

static void ioapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC = reg;
	*(volatile uint32_t *)(IOAPIC + 0x10) = v;
}

static uint32_t ioapic_read(unsigned reg)
{
	*(volatile uint32_t *)IOAPIC = reg;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

/* The 8254 is on pin 2 (the MADT says so). */
static void test_ioapic(void)
{
	unsigned pins = (ioapic_read(1) >> 16 & 0xff) + 1;

	guest_check_eq(pins, 24, "pins");
	count[VEC_LOW + 1] = 0;
	ioapic_write(0x10 + 2 * 2 + 1, *apic(0x20));
	ioapic_write(0x10 + 2 * 2, VEC_LOW + 1);
	pit_start(2, 1193);
	guest_check(wait_for(VEC_LOW + 1, 3), "8254 through the IOAPIC");
	ioapic_write(0x10 + 2 * 2, 1 << 16);
	sti_nop();
	count[VEC_LOW + 1] = 0;
	for (unsigned i = 0; i < 2000; i++)
		(void)inb(0x80);
	sti_nop();
	guest_check_eq(count[VEC_LOW + 1], 0, "masked pin");
	pit_start(0, 0xffff);
}

/* --- x2APIC -------------------------------------------------------------- */

static bool note_x2(struct guest_frame *f)
{
	count[f->vector]++;
	wrmsr(0x80b, 0);
	return true;
}

static void test_x2apic(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 21 & 1))
		return;
	wrmsr(0x1b, rdmsr(0x1b) | 0xc00);
	count[VEC_TIMER] = 0;
	guest_hook[VEC_TIMER] = note_x2;
	guest_check_eq(rdmsr(0x802), 0, "x2APIC id");
	wrmsr(0x83f, VEC_TIMER); /* self-IPI register */
	sti_nop();
	guest_check_eq(count[VEC_TIMER], 1, "x2APIC self-IPI");
	wrmsr(0x830, VEC_TIMER);
	sti_nop();
	guest_check_eq(count[VEC_TIMER], 2, "x2APIC ICR to id 0");
}

void guest_main(void)
{
	pic_init();
	wrmsr(0x1b, rdmsr(0x1b) & ~0x800ull);
	test_pit("8254 and 8259, local APIC off");
	test_pic_masked();
	apic_on();
	*apic(APIC_LINT0) = 0x700; /* ExtINT */
	test_pit("8254 and 8259 through LINT0");
	*apic(APIC_LINT0) = 1 << 16;
	test_one_shot();
	test_periodic();
	test_deadline();
	test_ipi();
	test_shadow();
	test_nmi();
	test_ioapic();
	test_x2apic();
}
