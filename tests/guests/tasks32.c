/*
 * tasks32: hardware tasks: by JMP, CALL, IRET, interrupt and double fault;
 * busy bits, links, CR0.TS, the T bit, #TS in the right context.
 */
#include "guest.h"

struct tss {
	uint16_t link, pad0;
	uint32_t esp0, ss0, esp1, ss1, esp2, ss2;
	uint32_t cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "SDM 3A figure 7-2");

#define SEL_TASK  (SEL_FREE + 0)
#define SEL_GATE  (SEL_FREE + 8)
#define SEL_DFTSS (SEL_FREE + 16)

static struct tss task, df_task;
static uint8_t task_stack[4096] __attribute__((aligned(16)));
static uint8_t df_stack[4096] __attribute__((aligned(16)));
static volatile uint32_t runs, seen_flags, seen_tr, seen_error;

static uint64_t tss_descriptor(const struct tss *t, unsigned limit)
{
	uint64_t base = (uint32_t)t;

	return limit | (base & 0xffffff) << 16 | 0x89ull << 40 |
	       (base >> 24) << 56;
}

static unsigned task_type(unsigned sel)
{
	return *(volatile uint8_t *)((uint8_t *)guest_gdt + sel + 5) & 15;
}

static uint32_t str(void)
{
	uint32_t v;

	__asm__ volatile("str %0" : "=r"(v));
	return v;
}

static void note(void)
{
	runs++;
	seen_flags = read_flags();
	seen_tr = str();
}

/* The task: each time it is entered it notes and goes back by IRET. */
static void task_iret(void)
{
	for (;;) {
		note();
		__asm__ volatile("iret" : : : "memory");
	}
}

static void task_jmp(void)
{
	for (;;) {
		note();
		__asm__ volatile("ljmp %0, $0" : : "i"(SEL_TSS) : "memory");
	}
}

static void make_task(struct tss *t, unsigned sel, void (*fn)(void),
		      uint8_t *stack, unsigned size)
{
	memset(t, 0, sizeof(*t));
	t->eip = (uint32_t)fn;
	t->eflags = 2;
	t->esp = (uint32_t)stack + size;
	t->cs = SEL_CODE;
	t->ss = t->ds = t->es = SEL_DATA;
	t->io_map = sizeof(*t);
	guest_gdt[sel / 8] = tss_descriptor(t, sizeof(*t) - 1);
}

static void reset_task(void (*fn)(void))
{
	make_task(&task, SEL_TASK, fn, task_stack, sizeof(task_stack));
	runs = 0;
}

static void call_task(unsigned long arg)
{
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_TASK) : "memory");
}

static void call_gate(unsigned long arg)
{
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_GATE) : "memory");
}

static void jmp_task(unsigned long arg)
{
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_TASK) : "memory");
}

static void int_90(unsigned long arg)
{
	__asm__ volatile("int $0x90" : : : "memory");
}

static void test_call(void)
{
	reset_task(task_iret);
	write_cr0(read_cr0() & ~8ul);
	call_task(0);
	guest_check_eq(runs, 1, "CALL ran the task");
	guest_check_eq(seen_tr, SEL_TASK, "its TR");
	guest_check(seen_flags & 0x4000, "NT set");
	guest_check_eq(task.link, SEL_TSS, "back link");
	guest_check_eq(str(), SEL_TSS, "back");
	guest_check_eq(task_type(SEL_TASK), 9, "not busy after IRET");
	guest_check_eq(task_type(SEL_TSS), 11, "busy again");
	guest_check(!(read_flags() & 0x4000), "NT clear in the caller");
	guest_check(read_cr0() & 8, "CR0.TS");
	call_task(0);
	guest_check_eq(runs, 2, "CALL resumed it behind IRET");
	write_cr0(read_cr0() & ~8ul);
}

static void test_jmp(void)
{
	reset_task(task_jmp);
	jmp_task(0);
	guest_check_eq(runs, 1, "JMP ran the task");
	guest_check(!(seen_flags & 0x4000), "JMP does not nest");
	guest_check_eq(task_type(SEL_TASK), 9, "not busy after JMP away");
	jmp_task(0);
	guest_check_eq(runs, 2, "again");
}

static void test_gate(void)
{
	reset_task(task_iret);
	guest_gdt[SEL_GATE / 8] = (uint64_t)SEL_TASK << 16 | 0x85ull << 40;
	call_gate(0);
	guest_check_eq(runs, 1, "CALL through a task gate");
	guest_set_gate(0x90, (void *)0, SEL_TASK, 0x85, 0);
	int_90(0);
	guest_check_eq(runs, 2, "INT through a task gate");
	guest_check(seen_flags & 0x4000, "nested");
}

static void task_error(void)
{
	uint32_t error;

	for (;;) {
		runs++;
		__asm__ volatile("pop %0" : "=r"(error));
		seen_error = error;
		((struct tss *)guest_tss)->eip += 2; /* past the UD2's like */
		__asm__ volatile("iret" : : : "memory");
	}
}

/* A fault with error code through a task gate: pushed on the new stack. */
static void test_error_code(void)
{
	void *old = guest_stub(13);

	reset_task(task_error);
	guest_set_gate(13, (void *)0, SEL_TASK, 0x85, 0);
	__asm__ volatile("mov %w0, %%fs; nop" : : "r"(0x1000));
	guest_set_gate(13, old, SEL_CODE, 0x8e, 0);
	guest_check_eq(runs, 1, "#GP through a task gate");
	guest_check_eq(seen_error, 0x1000, "its error code");
}

static void test_refusals(void)
{
	reset_task(task_iret);
	guest_gdt[SEL_TASK / 8] |= 2ull << 40;
	guest_expect(call_task, 0, 13, SEL_TASK, "busy TSS");
	guest_gdt[SEL_TASK / 8] = tss_descriptor(&task, 102);
	guest_expect(call_task, 0, 10, SEL_TASK, "limit of 102");
	guest_gdt[SEL_TASK / 8] = tss_descriptor(&task, 103) & ~(1ull << 47);
	guest_expect(call_task, 0, 11, SEL_TASK, "absent TSS");
	guest_gdt[SEL_GATE / 8] = (uint64_t)SEL_TASK << 16 | 0x05ull << 40;
	guest_expect(call_gate, 0, 11, SEL_GATE, "absent task gate");
	guest_gdt[SEL_GATE / 8] = (uint64_t)SEL_DATA << 16 | 0x85ull << 40;
	guest_expect(call_gate, 0, 13, SEL_DATA, "gate to no TSS");
	guest_check_eq(str(), SEL_TSS, "still here");
}

static volatile uint32_t ts_error, ts_eip, ts_tr;

/* #TS in the new task: the frame lies on its stack, with its EIP. */
static bool note_ts(struct guest_frame *f)
{
	ts_error = f->error;
	ts_eip = f->rip;
	ts_tr = str();
	guest_hook[f->vector] = NULL;
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_TSS) : "memory");
	return true;
}

static void test_new_context(void)
{
	reset_task(task_iret);
	task.fs = 0x1000; /* beyond the GDT */
	guest_hook[10] = note_ts;
	jmp_task(0);
	guest_check_eq(ts_error, 0x1000, "#TS with the selector");
	guest_check_eq(ts_tr, SEL_TASK, "in the new task");
	guest_check_eq(ts_eip, (uint32_t)task_iret, "at its first instruction");
	guest_hook[10] = NULL;
}

static bool note_db(struct guest_frame *f)
{
	ts_eip = f->rip;
	ts_error = read_dr6();
	write_dr6(0xffff0ff0);
	return true;
}

static void test_trap(void)
{
	reset_task(task_iret);
	task.trap = 1;
	guest_hook[1] = note_db;
	ts_error = 0;
	call_task(0);
	guest_hook[1] = NULL;
	guest_check(ts_error & 0x8000, "DR6.BT");
	guest_check_eq(ts_eip, (uint32_t)task_iret, "before the first one");
	guest_check_eq(runs, 1, "and on");
}

static volatile bool df_seen;

/* The double fault's task never returns: it goes on from a saved place. */
static void df_task_fn(void)
{
	df_seen = true;
	__asm__ volatile("pop %%eax; mov %%eax, %0"
			 : "=m"(seen_error)
			 :
			 : "eax");
	guest_check_eq(seen_error, 0, "#DF's error code");
	guest_check_eq(str(), SEL_DFTSS, "#DF's task");
	guest_finish();
}

/* No stack at all: #PF is impossible here, so a bad SS0 from ring 3. */
static void GUEST_USER user_fault(unsigned long arg)
{
	__asm__ volatile("hlt");
}

static void test_double_fault(void)
{
	make_task(&df_task, SEL_DFTSS, df_task_fn, df_stack, sizeof(df_stack));
	guest_set_gate(8, (void *)0, SEL_DFTSS, 0x85, 0);
	*(uint16_t *)(guest_tss + 8) = 0x1000; /* SS0 beyond the GDT: #TS */
	guest_try_user(user_fault, 0);
	guest_check(false, "no double fault");
}

void guest_main(void)
{
	test_call();
	test_jmp();
	test_gate();
	test_error_code();
	test_refusals();
	test_new_context();
	test_trap();
	test_double_fault();
}
