/* syscall64: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, compatibility mode. */
#include "guest.h"

#define MSR_EFER   0xc0000080
#define MSR_STAR   0xc0000081
#define MSR_LSTAR  0xc0000082
#define MSR_FMASK  0xc0000084
#define MSR_FS     0xc0000100
#define MSR_GS     0xc0000101
#define MSR_KGS    0xc0000102
#define MSR_SE_CS  0x174
#define MSR_SE_ESP 0x175
#define MSR_SE_EIP 0x176

/*
 * SYSCALL and SYSENTER take fixed distances between selectors: the ring-0
 * pair is SEL_CODE, SEL_DATA; SYSRET wants user 32-bit code, data, 64-bit code
 * in a row; SYSEXIT wants all behind the ring-0 pair.  Copies in free slots:
 */
#define SEL_R0C 0x48 /* ring 0 code, 64-bit */
#define SEL_R0D 0x50
#define SEL_U32 0x58 /* SYSEXIT 32-bit: +16; SYSRET base */
#define SEL_UD  0x60 /* +24 */
#define SEL_U64 0x68 /* +32; SYSRET + 16 */
#define SEL_UD2 0x70 /* +40 */

static void setup(void)
{
	guest_gdt[SEL_R0C / 8] = 0x00af9b000000ffff;
	guest_gdt[SEL_R0D / 8] = 0x00cf93000000ffff;
	guest_gdt[SEL_U32 / 8] = 0x00cffb000000ffff;
	guest_gdt[SEL_UD / 8] = 0x00cff3000000ffff;
	guest_gdt[SEL_U64 / 8] = 0x00affb000000ffff;
	guest_gdt[SEL_UD2 / 8] = 0x00cff3000000ffff;
	wrmsr(MSR_STAR, (uint64_t)SEL_U32 << 48 | (uint64_t)SEL_R0C << 32);
	wrmsr(MSR_FMASK, 0x40700);
	wrmsr(MSR_SE_CS, SEL_R0C);
}

struct seen {
	uint64_t cs, ss, rsp, rcx, r11, flags;
};
extern volatile struct seen seen;
extern uint8_t sys_entry[], sys_back32[], senter_entry[], sexit32_entry[];
/*
 * What SYSCALL enters: notes the state, then SYSRETs (REX.W).  It runs on the
 * user's stack, which is mapped.
 */
__asm__(".pushsection .text\n"
	"sys_entry:\n"
	"	mov %cs, seen\n"
	"	mov %ss, seen + 8\n"
	"	mov %rsp, seen + 16\n"
	"	mov %rcx, seen + 24\n"
	"	mov %r11, seen + 32\n"
	"	pushfq; popq seen + 40\n"
	"	sysretq\n"
	"sys_back32:\n" /* the same with a 32-bit SYSRET */
	"	mov $user32_after, %ecx\n"
	"	sysretl\n"
	"senter_entry:\n"
	"	mov %cs, seen\n"
	"	mov %ss, seen + 8\n"
	"	mov %rsp, seen + 16\n"
	"	pushfq; popq seen + 40\n"
	"	mov %rdi, %rcx\n" /* RSP and RIP to return to */
	"	mov %rsi, %rdx\n"
	"	rex.w sysexit\n"
	".popsection\n"
	".pushsection .user.text, \"ax\"\n"
	".code32\n"
	"user32_after:\n" /* compatibility mode, ring 3 */
	"	xor %eax, %eax\n"
	"	.byte 0x48\n" /* DEC EAX here, REX.W in 64-bit code */
	"	mov %eax, %ebx\n"
	"	mov %cs, %ecx\n"
	"	int $0x81\n"
	".code64\n"
	".popsection\n"
	".pushsection .bss\n"
	"seen: .skip 48\n"
	".popsection");

static volatile uint64_t user_cs, user_ss, user_flags, user_ok;

static void GUEST_USER user_syscall(unsigned long arg)
{
	uint64_t cs, ss, flags;

	__asm__ volatile("syscall\n"
			 "mov %%cs, %0; mov %%ss, %1; pushfq; popq %2"
			 : "=&r"(cs), "=&r"(ss), "=&r"(flags)
			 :
			 : "rcx", "r11", "memory");
	__asm__ volatile("int $0x81" : : "a"(cs), "b"(ss), "c"(flags));
}

/* INT 81h from ring 3: notes RAX, RBX, RCX and ends the attempt. */
static bool note_user(struct guest_frame *f)
{
	user_cs = f->rax;
	user_ss = f->rbx;
	user_flags = f->rcx;
	user_ok = f->cs;
	return false;
}

static void GUEST_USER user_syscall32(unsigned long arg)
{
	__asm__ volatile("syscall" : : : "rcx", "r11", "memory");
}

static void sysret_noncanonical(unsigned long arg)
{
	__asm__ volatile("mov %0, %%rcx; sysretq"
			 :
			 : "r"(0x800000000000ul)
			 : "rcx");
}

static void do_syscall(unsigned long arg)
{
	__asm__ volatile("syscall" : : : "rcx", "r11", "memory");
}

static void GUEST_USER user_sysret(unsigned long arg)
{
	__asm__ volatile("sysretq");
}

static void test_syscall(void)
{
	guest_expect(do_syscall, 0, 6, 0, "SYSCALL without EFER.SCE");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	wrmsr(MSR_LSTAR, (unsigned long)sys_entry);
	guest_check_eq(guest_try_user(user_syscall, 0), 0x81, "round trip");
	guest_check_eq(seen.cs & 0xffff, SEL_R0C, "CS in SYSCALL");
	guest_check_eq(seen.ss & 0xffff, SEL_R0D, "SS in SYSCALL");
	guest_check(seen.rsp >= (uint64_t)guest_user_stack &&
			    seen.rsp < (uint64_t)guest_user_stack + 8192,
		    "RSP stays");
	guest_check_eq(*(uint16_t *)(seen.rcx - 2), 0x050f, "RCX is behind it");
	guest_check_eq(seen.flags & 0x40700, 0, "FMASK");
	guest_check_eq(user_cs & 0xffff, SEL_U64 | 3, "CS after SYSRET");
	guest_check_eq(user_ss & 0xffff, SEL_UD | 3, "SS after SYSRET");
	guest_check_eq(user_flags & ~0xd5ull, seen.r11 & ~0xd5ull, "flags");
	guest_expect(sysret_noncanonical, 0, 13, 0, "SYSRET, bad RCX");
	guest_check_eq(guest_last.cs, SEL_CODE, "in ring 0, as Intel has it");
	guest_check_eq(guest_try_user(user_sysret, 0), 13, "SYSRET in ring 3");
}

/* Single steps over a system call: none in ring 0, one right behind it. */
static volatile unsigned steps, kernel_steps;
static volatile uint64_t step_rip[8];
extern uint8_t stepped_syscall[], stepped_after[];

static bool note_step(struct guest_frame *f)
{
	write_dr6(0xffff0ff0);
	if (!(f->cs & 3))
		kernel_steps++;
	else if (steps < 8)
		step_rip[steps++] = f->rip;
	return true;
}

static void GUEST_USER user_stepped(unsigned long arg)
{
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "nop\n"
			 "stepped_syscall: syscall\n"
			 "stepped_after: nop\n"
			 "pushfq; andq $~0x100, (%%rsp); popfq"
			 :
			 :
			 : "rcx", "r11", "memory", "cc");
}

static void test_step(void)
{
	guest_hook[1] = note_step;
	wrmsr(MSR_FMASK, 0x40700);
	guest_try_user(user_stepped, 0);
	guest_check_eq(kernel_steps, 0, "steps where FMASK clears TF");
	guest_check_eq(steps, 6, "steps in ring 3");
	guest_check_eq(step_rip[0], (uint64_t)stepped_syscall, "to SYSCALL");
	guest_check_eq(step_rip[1], (uint64_t)stepped_after, "behind it");
	guest_check_eq(step_rip[2], (uint64_t)stepped_after + 1, "and on");
	wrmsr(MSR_FMASK, 0x40600);
	steps = 0;
	guest_try_user(user_stepped, 0);
	guest_check(kernel_steps, "steps where it does not");
	guest_check_eq(step_rip[1], (uint64_t)stepped_after, "behind it");
	wrmsr(MSR_FMASK, 0x40700);
	guest_hook[1] = NULL;
}

static void test_compat(void)
{
	wrmsr(MSR_LSTAR, (unsigned long)sys_back32);
	guest_check_eq(guest_try_user(user_syscall32, 0), 0x81,
		       "32-bit SYSRET");
	guest_check_eq(user_ok, SEL_U32 | 3, "in compatibility mode");
	guest_check_eq(user_ss, 0xffffffff, "48h is DEC there");
	guest_check_eq(user_flags & 0xffff, SEL_U32 | 3, "CS as it sees it");
}

extern uint8_t user_se_back[];
__asm__(".pushsection .user.text, \"ax\"\n"
	"user_se_back: mov %cs, %eax; mov %ss, %ebx; int $0x81\n"
	".popsection");

static void GUEST_USER user_sysenter(unsigned long arg)
{
	__asm__ volatile("mov %%rsp, %%rdi; mov %0, %%rsi; sysenter"
			 :
			 : "r"(arg)
			 : "rdi", "rsi", "memory");
}

static void do_sysenter(unsigned long arg)
{
	__asm__ volatile("sysenter" : : : "memory");
}

static void test_sysenter(void)
{
	static uint8_t stack[512] __attribute__((aligned(16)));
	uint64_t top = (uint64_t)stack + sizeof(stack);

	wrmsr(MSR_SE_ESP, top);
	wrmsr(MSR_SE_EIP, (unsigned long)senter_entry);
	guest_check_eq(
		guest_try_user(user_sysenter, (unsigned long)user_se_back),
		0x81, "SYSENTER and SYSEXIT");
	guest_check_eq(seen.cs & 0xffff, SEL_R0C, "CS in SYSENTER");
	guest_check_eq(seen.ss & 0xffff, SEL_R0D, "SS in SYSENTER");
	guest_check_eq(seen.rsp, top, "RSP from the MSR");
	guest_check_eq(seen.flags & 0x200, 0, "IF clear");
	guest_check_eq(user_cs & 0xffff, SEL_U64 | 3, "CS after SYSEXIT");
	guest_check_eq(user_ss & 0xffff, SEL_UD2 | 3, "SS after SYSEXIT");
	wrmsr(MSR_SE_CS, 0);
	guest_expect(do_sysenter, 0, 13, 0, "SYSENTER with a null CS");
}

static void write_kgs(unsigned long arg)
{
	wrmsr(MSR_KGS, arg);
}

static void swapgs(unsigned long arg)
{
	__asm__ volatile("swapgs" : : : "memory");
}

static void GUEST_USER user_swapgs(unsigned long arg)
{
	__asm__ volatile("swapgs" : : : "memory");
}

static void rdfsbase(unsigned long arg)
{
	uint64_t v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	guest_check_eq(v, arg, "RDFSBASE");
}

static void wrgsbase(unsigned long arg)
{
	__asm__ volatile("wrgsbase %0" : : "r"(arg) : "memory");
}

static void test_bases(void)
{
	static uint64_t a = 1, b = 2;
	uint64_t v;

	wrmsr(MSR_GS, (unsigned long)&a);
	wrmsr(MSR_KGS, (unsigned long)&b);
	swapgs(0);
	__asm__ volatile("mov %%gs:0, %0" : "=r"(v));
	guest_check_eq(v, 2, "SWAPGS");
	guest_check_eq(rdmsr(MSR_KGS), (unsigned long)&a, "KERNEL_GS_BASE");
	guest_expect(write_kgs, 1ul << 47, 13, 0, "non-canonical base");
	guest_check_eq(guest_try_user(user_swapgs, 0), 13, "SWAPGS, ring 3");
	guest_expect(rdfsbase, 0, 6, 0, "RDFSBASE without CR4.FSGSBASE");
	write_cr4(read_cr4() | 0x10000);
	wrmsr(MSR_FS, 0x123456789a);
	guest_expect(rdfsbase, 0x123456789a, GUEST_NO_FAULT, 0, "RDFSBASE");
	guest_expect(wrgsbase, 1ul << 47, 13, 0, "WRGSBASE, non-canonical");
	guest_expect(wrgsbase, 0x1000, GUEST_NO_FAULT, 0, "WRGSBASE");
	guest_check_eq(rdmsr(MSR_GS), 0x1000, "GS base");
	__asm__ volatile("mov %w0, %%fs" : : "r"(SEL_DATA));
	guest_check_eq(rdmsr(MSR_FS), 0, "loading FS sets its base");
}

void guest_main(void)
{
	setup();
	guest_set_gate(0x81, guest_stub(0x81), SEL_CODE, 0xee, 0);
	guest_hook[0x81] = note_user;
	test_syscall();
	test_step();
	test_compat();
	test_sysenter();
	test_bases();
}
