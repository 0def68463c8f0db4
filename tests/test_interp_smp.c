/*
 * test_interp_smp.c - several vCPUs: locked operations, and code that one
 * writes while another runs it.
 *
 * Each vCPU runs to HLT in a thread of its own.
 */
#include "x86_harness.h"

#include <pthread.h>

#define SMP_CPUS 3

struct smp_thread {
	pthread_t thread;
	struct x86_cpu *cpu;
	enum vcpu_exit exit;
};

static void *smp_main(void *arg)
{
	struct smp_thread *t = arg;
	struct err err;

	do {
		t->exit = interpreter_engine.run(t->cpu, &err);
	} while (t->exit == VCPU_EXIT_KICKED);
	return NULL;
}

static void smp_run(struct harness *h)
{
	struct smp_thread t[HARNESS_CPUS];
	unsigned i;

	for (i = 0; i < h->xm.cpu_count; i++) {
		t[i].cpu = h->cpus[i];
		pthread_create(&t[i].thread, NULL, smp_main, &t[i]);
	}
	for (i = 0; i < h->xm.cpu_count; i++) {
		pthread_join(t[i].thread, NULL);
		assert_int_equal(t[i].exit, VCPU_EXIT_HALT);
	}
}

/* Aligned, across a cache line, and across a page; by every kind of LOCK. */
HARNESS_ASM(code_count, 64,
	    "movl $20000, %ecx\n"
	    "1: lock incq (%rbx); lock addl $1, 0x3e(%rbx)\n"
	    "lock incl 0xffe(%rbx); movl $1, %edx; lock xaddq %rdx, 8(%rbx)\n"
	    "2: movq 16(%rbx), %rax; leaq 1(%rax), %rdx\n"
	    "lock cmpxchgq %rdx, 16(%rbx); jnz 2b\n"
	    "loop 1b; hlt");
static void locked_operations_lose_nothing(void **state)
{
	struct harness *h = harness_new_smp(&interpreter_engine, 64, SMP_CPUS);
	unsigned i;

	harness_asm(h, code_count);
	for (i = 0; i < SMP_CPUS; i++)
		h->cpus[i]->gpr[X86_RBX] = HARNESS_DATA;
	smp_run(h);
	assert_int_equal(harness_u64(h, HARNESS_DATA), 20000 * SMP_CPUS);
	assert_int_equal(harness_u64(h, HARNESS_DATA + 8), 20000 * SMP_CPUS);
	assert_int_equal(harness_u64(h, HARNESS_DATA + 16), 20000 * SMP_CPUS);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 0x3e), 20000 * SMP_CPUS);
	assert_int_equal(harness_u32(h, HARNESS_DATA + 0xffe),
			 20000 * SMP_CPUS);
	harness_free(h);
}

/*
 * The first vCPU writes 1..2000 into the immediate of a function that the
 * others call all the while: they must see it grow, and reach the last value.
 */
HARNESS_ASM(code_writer, 64,
	    "xorl %eax, %eax\n"
	    "1: incl %eax; movl %eax, 0x1001(%rbx); cmpl $2000, %eax; jb 1b\n"
	    "hlt\n.org code_writer+0x100\n"
	    "xorl %ecx, %ecx\n"
	    "2: call code_writer+0x1000; cmpl %ecx, %eax; jb 3f\n"
	    "movl %eax, %ecx; cmpl $2000, %ecx; jb 2b; xorl %edi, %edi; hlt\n"
	    "3: movl $1, %edi; hlt\n.org code_writer+0x1000\n"
	    "movl $0, %eax; ret");
static void code_of_others_can_be_changed(void **state)
{
	struct harness *h = harness_new_smp(&interpreter_engine, 64, SMP_CPUS);
	unsigned i;

	harness_asm(h, code_writer);
	h->cpus[0]->gpr[X86_RBX] = HARNESS_CODE;
	for (i = 1; i < SMP_CPUS; i++) {
		h->cpus[i]->rip = HARNESS_CODE + 0x100;
		h->cpus[i]->gpr[X86_RDI] = 2;
	}
	smp_run(h);
	for (i = 1; i < SMP_CPUS; i++) {
		assert_int_equal(h->cpus[i]->gpr[X86_RDI], 0);
		assert_int_equal(h->cpus[i]->gpr[X86_RCX], 2000);
	}
	harness_free(h);
}

/* Two vCPUs rewrite and run the same page, each its own half. */
HARNESS_ASM(code_both, 64,
	    "xorl %ecx, %ecx\n"
	    "1: incl %ecx; movl %ecx, 1(%rbx); call *%rbx\n"
	    "cmpl %ecx, %eax; jne 2f; cmpl $1000, %ecx; jb 1b\n"
	    "xorl %edi, %edi; hlt\n"
	    "2: movl $1, %edi; hlt\n.org code_both+0x1000\n"
	    "movl $0, %eax; ret\n.org code_both+0x1800\n"
	    "movl $0, %eax; ret");
static void a_page_written_and_run_by_two(void **state)
{
	struct harness *h = harness_new_smp(&interpreter_engine, 64, 2);
	unsigned i;

	harness_asm(h, code_both);
	for (i = 0; i < 2; i++) {
		h->cpus[i]->gpr[X86_RBX] = HARNESS_CODE + 0x1000 + i * 0x800;
		h->cpus[i]->gpr[X86_RDI] = 2;
	}
	smp_run(h);
	for (i = 0; i < 2; i++)
		assert_int_equal(h->cpus[i]->gpr[X86_RDI], 0);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locked_operations_lose_nothing),
		cmocka_unit_test(code_of_others_can_be_changed),
		cmocka_unit_test(a_page_written_and_run_by_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
