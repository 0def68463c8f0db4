/*
 * The translator against the interpreter: the same program on both, then the
 * same registers, flags and memory.
 */
#include "x86_harness.h"

#include <string.h>

#include "cpu/x86/bits.h"

static void same(struct harness *a, struct harness *b, const char *what)
{
	unsigned i;

	for (i = 0; i < 16; i++)
		if (a->cpu->gpr[i] != b->cpu->gpr[i])
			fail_msg("%s: r%u is %llx, should be %llx", what, i,
				 (unsigned long long)b->cpu->gpr[i],
				 (unsigned long long)a->cpu->gpr[i]);
	assert_int_equal(a->cpu->rip, b->cpu->rip);
	assert_int_equal(a->cpu->rflags, b->cpu->rflags);
	assert_memory_equal(a->cpu->fpu.b + X86_XMM_OFFSET,
			    b->cpu->fpu.b + X86_XMM_OFFSET, 256);
	assert_memory_equal(harness_ptr(a, HARNESS_DATA),
			    harness_ptr(b, HARNESS_DATA), 0x40000);
}

static void both(const struct engine_ops *ops, const uint8_t *code, size_t len,
		 const char *what)
{
	struct harness *a = harness_new_on(&interpreter_engine, 64);
	struct harness *b = harness_new_on(ops, 64);
	struct harness *h[2] = { a, b };
	unsigned i, j;

	for (i = 0; i < 2; i++) {
		for (j = 0; j < 16; j++)
			if (j != X86_RSP)
				h[i]->cpu->gpr[j] = 0x1111111111111111ull * j;
		h[i]->cpu->gpr[X86_RDI] = HARNESS_DATA;
		h[i]->cpu->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
		h[i]->cpu->xcr0 = 7;
		x86_mode_changed(h[i]->cpu);
		harness_code(h[i], code, len);
		harness_run(h[i]);
	}
	same(a, b, what);
	harness_free(a);
	harness_free(b);
}

#define PROGRAM(name, text)                                              \
	HARNESS_ASM(code_##name, 64, text "\n hlt\n");                   \
	static void test_##name(void **state)                            \
	{                                                                \
		size_t len = (size_t)(code_##name##_end - code_##name);  \
                                                                         \
		both(&translator_engine, code_##name, len, #name);       \
		both(&translator_plain_engine, code_##name, len, #name); \
	}

PROGRAM(arith,
	"mov $5, %eax; mov $7, %ecx; add %ecx, %eax; imul %rcx, %rax;"
	"sub $3, %r10; adc %r11, %r15; xor %r14d, %r10d; neg %rbx;"
	"shl %cl, %rdx; shrd $3, %rsi, %r9; bswap %r11; popcnt %r15, %r8;"
	"lea 5(%r10,%r11,4), %r14; lea (%rcx,%rdx), %r12d; cmp %r8, %r9")
PROGRAM(memory,
	"mov %rax, (%rdi); mov %r10, 8(%rdi); add %r11d, 8(%rdi);"
	"mov 4(%rdi), %r15; xchg %r14, 16(%rdi);"
	"lock xadd %r10, 16(%rdi); movzbl 3(%rdi), %ecx;"
	"movb %ch, 32(%rdi); mov %ah, 33(%rdi); mov 34(%rdi), %bh;"
	"movslq 8(%rdi), %rsi; lock cmpxchg %r11, 16(%rdi);"
	"incq 40(%rdi); shlq %cl, 40(%rdi); setc 50(%rdi);"
	"cmovz 8(%rdi), %r15d; mov %r10w, 60(%rdi); mov %r11b, 64(%rdi)")
PROGRAM(loop, "xor %eax, %eax; mov $1000, %ecx; 1: add %rcx, %rax;"
	      "rol $3, %rax; dec %ecx; jnz 1b; mov $10, %ecx;"
	      "2: add $3, %rdx; loop 2b; jrcxz 3f; inc %rbx; 3: nop")
PROGRAM(calls, "mov $20, %edi; call 1f; jmp 9f;"
	       "1: cmp $2, %edi; jae 2f; mov %edi, %eax; ret;"
	       "2: push %rbx; push %rdi; dec %edi; call 1b; mov %eax, %ebx;"
	       "pop %rdi; push %r10; sub $2, %edi; lea 1b(%rip), %r11;"
	       "call *%r11; add %ebx, %eax; pop %r10; pop %rbx; ret; 9: nop")
PROGRAM(crossing, "mov %rax, 4092(%rdi); mov %rbx, 8188(%rdi);"
		  "mov 4093(%rdi), %r10; add %r11, 4095(%rdi);"
		  "lea 4096(%rdi), %rsp; push $-5; push %rbp; pop %r14;"
		  "leaq 4100(%rdi), %rsp; push %rax; push %rbx; pop %rcx")
PROGRAM(vector, "movq %rax, %xmm0; movq %rbx, %xmm1; pxor %xmm2, %xmm2;"
		"paddb %xmm0, %xmm1; movdqu %xmm1, 64(%rdi);"
		"cvtsi2sd %ecx, %xmm3; addsd %xmm3, %xmm3; sqrtsd %xmm3, %xmm4;"
		"pmovmskb %xmm1, %r10d; ucomisd %xmm3, %xmm4;"
		"vpaddd %ymm0, %ymm1, %ymm5; vmovdqu %ymm5, 96(%rdi);"
		"vpxor 90(%rdi), %ymm5, %ymm6; cvttsd2si %xmm3, %r15;"
		"movups %xmm6, 4090(%rdi); andn %r10, %r11, %r14; vzeroupper")
PROGRAM(bits,
	"lock btrq $4, 8(%rdi); lock btsl $9, 16(%rdi); btcw $3, 24(%rdi);"
	"btq $70, 8(%rdi); btr %rcx, %rax; bts %r10, %r11;"
	"mov $1000, %edx; bt %rdx, (%rdi); lock bts %rdx, (%rdi);"
	"mov $-77, %r14; btr %r14, 64(%rdi); btcl %r14d, 64(%rdi);"
	"mov $35, %r10d; lock btsw %r10w, 128(%rdi)")
PROGRAM(divide, "mov $100, %eax; xor %edx, %edx; mov $7, %r10d; div %r10d;"
		"mov %rax, %r14; cqo; idivq %r14; mul %r11; imul $9, %r15, %r9")
PROGRAM(modify, "lea 1f+1(%rip), %rsi; mov $3, %ecx;"
		"1: mov $0, %al; incb (%rsi); add %al, %bl; dec %ecx; jnz 1b")

/*
 * Other vCPUs write beside code, thousands of times before this one looks:
 * what is translated stays.
 */
static void notes_of_one_range_are_one(void **state)
{
	struct harness *h = harness_new_on(&translator_engine, 64);
	struct engine_stats before = { 0 }, after = { 0 };

	harness_code(h, code_loop, (size_t)(code_loop_end - code_loop));
	harness_run(h);
	translator_engine.stats(h->cpu, &before);
	for (unsigned i = 0; i < 10000; i++)
		translator_engine.code_written(
			&h->xm, HARNESS_CODE + 0x800 + i % 64 * 8, 8);
	h->cpu->rip = HARNESS_CODE;
	harness_run(h);
	translator_engine.stats(h->cpu, &after);
	assert_int_equal(after.evicted, before.evicted);
	assert_int_equal(after.blocks, before.blocks);
	harness_free(h);
}

/* A hypervisor that has CR4.TSD on and off keeps its translations. */
static void tsd_by_turns_evicts_once(void **state)
{
	struct harness *h = harness_new_on(&translator_engine, 64);
	struct engine_stats first = { 0 }, last = { 0 };

	harness_code(h, code_loop, (size_t)(code_loop_end - code_loop));
	for (unsigned i = 0; i < 8; i++) {
		h->cpu->cr4 ^= X86_CR4_TSD;
		h->cpu->rip = HARNESS_CODE;
		harness_run(h);
		translator_engine.stats(h->cpu, i ? &last : &first);
	}
	assert_int_equal(last.evicted, first.evicted);
	assert_int_equal(last.blocks, first.blocks);
	harness_free(h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arith),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_crossing),
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_divide),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_modify),
		cmocka_unit_test(notes_of_one_range_are_one),
		cmocka_unit_test(tsd_by_turns_evicts_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
