/* debug64: single-step, breakpoints on code, data and ports, GD, DR4/5. */
#include "guest.h"

#define DR6_BD  0x2000ul
#define DR6_BS  0x4000ul
#define FLAG_TF 0x100ul
#define FLAG_RF 0x10000ul

static volatile unsigned hits;
static volatile unsigned long hit_rip[64], hit_dr6[64], hit_flags[64];
static volatile bool stop_step;

static bool note(struct guest_frame *f)
{
	if (hits < 64) {
		hit_rip[hits] = f->rip;
		hit_dr6[hits] = read_dr6();
		hit_flags[hits] = f->flags;
	}
	hits++;
	write_dr6(0xffff0ff0);
	if (stop_step)
		f->flags &= ~FLAG_TF;
	f->flags |= FLAG_RF; /* past an instruction breakpoint */
	return true;
}

static void start(void)
{
	hits = 0;
	write_dr6(0xffff0ff0);
	guest_hook[1] = note;
}

extern uint8_t step_1[], step_2[], step_3[], step_4[];

/* TF is sampled before an instruction: the POPF that sets it traps not. */
static void test_step(void)
{
	start();
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "nop\n"
			 "step_1: inc %%rax\n"
			 "step_2: pushfq; andq $~0x100, (%%rsp)\n"
			 "step_3: popfq\n"
			 "step_4: nop"
			 :
			 :
			 : "rax", "memory", "cc");
	guest_check_eq(hits, 5, "steps");
	guest_check_eq(hit_rip[0], (uint64_t)step_1, "behind the first");
	guest_check_eq(hit_rip[1], (uint64_t)step_2, "behind the second");
	guest_check_eq(hit_rip[3], (uint64_t)step_3, "before POPF");
	guest_check_eq(hit_rip[4], (uint64_t)step_4, "behind POPF");
	guest_check(hit_dr6[0] & DR6_BS, "DR6.BS");
	guest_check(hit_flags[0] & FLAG_TF, "TF in the image");
}

extern uint8_t ss_1[], ss_2[];

/* MOV SS holds #DB off for one instruction. */
static void test_shadow(void)
{
	start();
	__asm__ volatile("mov %%ss, %%eax\n"
			 "pushfq; orq $0x100, (%%rsp); popfq\n"
			 "mov %%eax, %%ss\n"
			 "nop\n"
			 "ss_1: nop\n"
			 "ss_2: pushfq; andq $~0x100, (%%rsp); popfq"
			 :
			 :
			 : "rax", "memory", "cc");
	guest_check_eq(hit_rip[0], (uint64_t)ss_1, "first step is behind both");
	guest_check_eq(hit_rip[1], (uint64_t)ss_2, "then one by one");
}

/* A REP string instruction traps after each iteration. */
static void test_rep(void)
{
	static uint8_t from[8], to[8];
	const void *s = from;
	void *d = to;
	unsigned long n = 3;
	extern uint8_t rep_at[];

	start();
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "rep_at: rep movsb\n"
			 "pushfq; andq $~0x100, (%%rsp); popfq"
			 : "+S"(s), "+D"(d), "+c"(n)
			 :
			 : "memory", "cc");
	guest_check_eq(hit_rip[0], (uint64_t)rep_at, "after one iteration");
	guest_check_eq(hit_rip[1], (uint64_t)rep_at, "after two");
	guest_check_eq(hit_rip[2], (uint64_t)rep_at + 2, "after the last");
}

extern uint8_t code_bp[];

static void __attribute__((noinline)) run_bp(void)
{
	__asm__ volatile("nop\ncode_bp: nop\nnop");
}

static void test_code(void)
{
	start();
	write_dr0((uint64_t)code_bp);
	write_dr7(0x402 | 1);
	run_bp();
	write_dr7(0x400);
	guest_check_eq(hits, 1, "instruction breakpoint");
	guest_check_eq(hit_rip[0], (uint64_t)code_bp, "before it");
	guest_check_eq(hit_dr6[0] & 15, 1, "DR6.B0");
	run_bp();
	guest_check_eq(hits, 1, "not armed any more");
}

static volatile uint64_t watched[4] __attribute__((aligned(32)));
extern uint8_t data_1[];

static void test_data(void)
{
	start();
	write_dr1((uint64_t)&watched[1]);
	/* DR1: write, 8 bytes; local */
	write_dr7(0x404 | (1ul << 20) | (2ul << 22));
	watched[0] = 1;
	(void)watched[1];
	guest_check_eq(hits, 0, "neighbours and reads do not hit");
	__asm__ volatile("movq $5, %0\ndata_1: nop" : "=m"(watched[1]));
	guest_check_eq(hits, 1, "write hits");
	guest_check_eq(hit_rip[0], (uint64_t)data_1, "behind the store");
	guest_check_eq(hit_dr6[0] & 15, 2, "DR6.B1");
	guest_check_eq(watched[1], 5, "the store is done");
	*((volatile uint8_t *)watched + 15) = 1;
	guest_check_eq(hits, 2, "a byte of it");
	/* an access that overlaps from below */
	*(volatile uint64_t *)((volatile uint8_t *)watched + 4) = 1;
	guest_check_eq(hits, 3, "an overlapping store");
	/* read or write, 4 bytes */
	write_dr7(0x404 | (3ul << 20) | (3ul << 22));
	(void)*(volatile uint32_t *)&watched[1];
	guest_check_eq(hits, 4, "read hits");
	(void)*((volatile uint32_t *)&watched[1] + 1);
	guest_check_eq(hits, 4, "the dword above does not");
	write_dr7(0x400);
	watched[1] = 1;
	guest_check_eq(hits, 4, "not armed any more");
}

static void test_io(void)
{
	start();
	write_cr4(read_cr4() | 8);
	write_dr2(0x80);
	write_dr7(0x420 | (2ul << 24));
	(void)inb(0x80);
	guest_check_eq(hits, 1, "I/O breakpoint");
	guest_check_eq(hit_dr6[0] & 15, 4, "DR6.B2");
	(void)inb(0x84);
	guest_check_eq(hits, 1, "another port");
	write_dr7(0x400);
	write_cr4(read_cr4() & ~8ul);
}

static void read_dr4(unsigned long arg)
{
	unsigned long v;

	__asm__ volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(v)); /* mov dr4, rax */
	guest_check_eq(v, read_dr6(), "DR4 is DR6");
}

static void write_dr7_high(unsigned long arg)
{
	write_dr7(1ul << 32);
}

static void touch_dr(unsigned long arg)
{
	(void)read_dr0();
}

static void GUEST_USER user_dr(unsigned long arg)
{
	(void)read_dr0();
}

static volatile unsigned long gd_dr6, gd_dr7;

static bool note_gd(struct guest_frame *f)
{
	gd_dr7 = read_dr7();
	gd_dr6 = read_dr6();
	write_dr6(0xffff0ff0);
	return false;
}

static void test_registers(void)
{
	guest_hook[1] = NULL;
	guest_expect(read_dr4, 0, GUEST_NO_FAULT, 0, "DR4 without CR4.DE");
	write_cr4(read_cr4() | 8);
	guest_expect(read_dr4, 0, 6, 0, "DR4 with CR4.DE");
	write_cr4(read_cr4() & ~8ul);
	guest_expect(write_dr7_high, 0, 13, 0, "upper half of DR7");
	guest_check_eq(guest_try_user(user_dr, 0), 13, "DR0 in ring 3");
	guest_hook[1] = note_gd;
	write_dr7(0x400 | 1 << 13);
	guest_expect(touch_dr, 0, 1, 0, "general detect");
	guest_check(gd_dr6 & DR6_BD, "DR6.BD");
	guest_check_eq(gd_dr7 & 1 << 13, 0, "the fault clears GD");
	write_dr6(0);
	guest_check_eq(read_dr6(), 0xffff0ff0, "fixed bits of DR6");
	write_dr7(0);
	guest_check_eq(read_dr7(), 0x400, "fixed bit of DR7");
}

void guest_main(void)
{
	test_step();
	test_shadow();
	test_rep();
	test_code();
	test_data();
	test_io();
	test_registers();
}
