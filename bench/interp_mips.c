/*
 * interp_mips.c - how many guest instructions a second does the interpreter do?
 *
 * Runs workload.c natively, and in a guest without devices, and prints one
 * line of figures.  Usage: interp_mips [ROUNDS [translator]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "workload.h"
#include "x86_harness.h"

__asm__(".pushsection .rodata\n"
	"guest_image: .incbin \"" WORKLOAD_IMAGE "\"\n"
	"guest_image_end:\n"
	".popsection");
extern const uint8_t guest_image[], guest_image_end[];

/* workload(SCRATCH, rounds), returning to a HLT. */
static uint32_t run_guest(struct harness *h, uint32_t rounds)
{
	uint64_t hlt_at = HARNESS_CODE;
	uint64_t *r = h->cpu->gpr;

	harness_write(h, hlt_at, "\xf4", 1);
	harness_write(h, WORKLOAD_BASE, guest_image,
		      (size_t)(guest_image_end - guest_image));
	r[X86_RSP] = HARNESS_STACK - 8;
	harness_write(h, r[X86_RSP], &hlt_at, 8);
	r[X86_RDI] = WORKLOAD_SCRATCH;
	r[X86_RSI] = rounds;
	h->cpu->rip = WORKLOAD_BASE;
	harness_run(h);
	return (uint32_t)r[X86_RAX];
}

/* Of this thread: other work on the machine shall not count. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 5000;
	void *scratch = aligned_alloc(64, WORKLOAD_SIZE);
	const struct engine_ops *ops = argc > 2 ? &translator_engine :
						  &interpreter_engine;
	struct harness *h = harness_new_on(ops, 64);
	uint64_t t0, t1, t2;
	uint32_t a, b;

	t0 = cpu_ns();
	a = workload(scratch, rounds);
	t1 = cpu_ns();
	b = run_guest(h, rounds);
	t2 = cpu_ns();
	printf("%llu guest instructions, %.1f million a second, %.1f times "
	       "native time%s\n",
	       (unsigned long long)h->cpu->insn_count,
	       (double)h->cpu->insn_count * 1e3 / (double)(t2 - t1),
	       (double)(t2 - t1) / (double)(t1 - t0),
	       a == b ? "" : ", WRONG RESULT");
	harness_free(h);
	free(scratch);
	return a != b;
}
