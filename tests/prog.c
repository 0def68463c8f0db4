/*
 * prog.c - random programs on two engines: command line, running, judging.
 *
 *	prog [--engine NAME] [--seed S] [--programs N] [--program NUMBER]
 *	     [--seconds T] [--trace EXCEPTION]
 *
 * The engine (default: translator) is held against the interpreter.  Each
 * difference is one line that starts with the options to replay it.  Status
 * 0: no difference; 1: there are some; 2: it could not run.
 */
#include "prog.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "x86_harness.h"

#define RUN_HANDLERS   0x2000ull /* HLTs, 16 bytes each */
#define RUN_TSS        0x3000ull
#define RUN_STACK_TOP  0x5000ull /* of exceptions: IST 1 */
#define RUN_EXCEPTIONS 400       /* then a program ends */
#define RUN_OUT_TRAP   3
#define RUN_STUCK      1000 /* vector: did not come back */

/* Where a program stopped. */
struct run_state {
	uint64_t gpr[16], rip, rflags, cr2, error;
	unsigned vector;
	uint8_t vec[512];
	uint32_t mxcsr;
};

struct run {
	struct harness *h[2];
	struct x86_seg seg[2][16]; /* by kernel */
	struct x86_xsave fpu;
	struct prog p;
	struct rng rng;
	unsigned exceptions, lost;
	unsigned trace; /* show the interpreter's way to this exception */
	uint64_t insns, stuck, different;
};

/* What the alarm kicks. */
static struct x86_cpu *volatile run_kicked[2];

static void run_alarm(int sig)
{
	(void)sig;
	for (unsigned i = 0; i < 2; i++)
		if (run_kicked[i])
			atomic_fetch_or(&run_kicked[i]->pending, X86_PEND_KICK);
}

/* --- Building ------------------------------------------------------------ */

static void run_gates(struct harness *h)
{
	uint8_t hlt = 0xf4, ist = 1, user = 0xee;

	for (unsigned v = 0; v < 32; v++) {
		harness_gate(h, v, RUN_HANDLERS + 16 * v);
		harness_write(h, RUN_HANDLERS + 16 * v, &hlt, 1);
		harness_write(h, HARNESS_IDT + 16 * v + 4, &ist, 1);
		if (v == X86_VEC_BP || v == X86_VEC_OF)
			harness_write(h, HARNESS_IDT + 16 * v + 5, &user, 1);
	}
}

static struct harness *run_build(const struct engine_ops *ops)
{
	struct harness *h = harness_new_on(ops, 64);
	uint64_t top = RUN_STACK_TOP;

	run_gates(h);
	harness_write(h, RUN_TSS + 0x24, &top, 8);
	h->cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x40, .attr = 0x8b, .limit = 0x67, .base = RUN_TSS
	};
	h->cpu->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_OSXMMEXCPT;
	h->cpu->xcr0 = 7;
	x86_mode_changed(h->cpu);
	return h;
}

static void run_keep_segments(struct run *r, unsigned kernel)
{
	memcpy(r->seg[kernel], r->h[0]->cpu->seg, sizeof(r->h[0]->cpu->seg));
}

/* --- Preparing a program ------------------------------------------------- */

static void run_page_tables(const struct prog *p, struct harness *h)
{
	uint64_t user = p->kernel ? 0 : X86_PTE_U;

	for (uint64_t at = 0; at < HARNESS_RAM; at += 4096) {
		uint64_t bits = 0;

		if (at >= PROG_DATA && at < PROG_DATA + 4096 * PROG_DATA_PAGES)
			bits = p->page[(at - PROG_DATA) >> 12] | user;
		else if ((at >= PROG_CODE && at < PROG_DATA) ||
			 (at >= PROG_STACK && at < PROG_STACK_END) ||
			 at == PROG_VARS)
			bits = X86_PTE_P | X86_PTE_W | user;
		else if (at >= 0x1000 && at < RUN_STACK_TOP)
			bits = X86_PTE_P |
			       (at >= RUN_TSS + 0x1000 ? X86_PTE_W : 0);
		*harness_pte(h, at) = at | bits;
	}
	x86_tlb_flush_all(h->cpu);
}

static void run_memory(const struct prog *p, struct harness *h)
{
	struct rng rng = { .state = p->seed ^ p->number };
	uint8_t buf[4096];
	uint32_t fuel = 300;

	harness_write(h, PROG_CODE, p->code, sizeof(p->code));
	for (uint64_t at = PROG_DATA; at < PROG_END; at += 4096) {
		for (unsigned i = 0; i < sizeof(buf); i += 8) {
			uint64_t v = rng_next(&rng);

			memcpy(buf + i, &v, 8);
		}
		harness_write(h, at, at == PROG_MIXED ? p->mixed : buf, 4096);
	}
	harness_write(h, PROG_VARS, &fuel, 4);
}

static void run_enter(struct run *r, struct x86_cpu *cpu)
{
	memcpy(cpu->seg, r->seg[r->p.kernel], sizeof(cpu->seg));
	cpu->seg[X86_FS].base = 0x40;
	cpu->seg[X86_GS].base = 0x1008;
	cpu->cpl = r->p.kernel ? 0 : 3;
	cpu->activity = X86_ACTIVE;
	cpu->int_shadow = 0;
	x86_mode_changed(cpu);
}

static void run_prepare(struct run *r, unsigned side)
{
	struct x86_cpu *cpu = r->h[side]->cpu;
	struct rng rng = { .state = r->p.seed + 77 * r->p.number };

	run_page_tables(&r->p, r->h[side]);
	run_memory(&r->p, r->h[side]);
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = rng_one_in(&rng, 3) ? rng_below(&rng, 64)
						  : rng_next(&rng);
	cpu->gpr[X86_RSP] = PROG_STACK_TOP;
	cpu->fpu = r->fpu;
	for (unsigned i = 0; i < 256; i++) {
		cpu->fpu.b[X86_XMM_OFFSET + i] = (uint8_t)rng_next(&rng);
		cpu->fpu.b[X86_YMMH_OFFSET + i] = (uint8_t)rng_next(&rng);
	}
	cpu->fpu.b[FPU_XSTATE_BV] = 7;
	if (rng_one_in(&rng, 4)) /* something is unmasked */
		cpu->fpu.b[25] &= (uint8_t)rng_next(&rng) | 0xe0;
	cpu->rip = r->p.entry;
	cpu->rflags = X86_FLAG_1 | (rng_next(&rng) & X86_FLAGS_ARITH);
	cpu->cr2 = 0;
	run_enter(r, cpu);
}

static void run_code_at(struct run *r, uint64_t rip, char *where, size_t size)
{
	uint8_t bytes[15] = { 0 };
	char dis[100];

	if (rip >= PROG_CODE && rip < PROG_END)
		memcpy(bytes, harness_ptr(r->h[0], rip), sizeof(bytes));
	x86_disasm(dis, sizeof(dis), bytes, sizeof(bytes), X86_MODE_CODE64,
		   rip);
	snprintf(where, size, "%llx %s", (unsigned long long)rip, dis);
}

/* --- Running ------------------------------------------------------------- */

/* One instruction after another, each shown. */
static enum vcpu_exit run_traced(struct run *r, struct x86_cpu *cpu)
{
	enum vcpu_exit exit = VCPU_EXIT_DEBUG;
	struct err err;
	char where[160];

	while (exit == VCPU_EXIT_DEBUG) {
		run_code_at(r, cpu->rip, where, sizeof(where));
		printf("\t%s\n", where);
		exit = r->h[0]->xm.engine_ops->step(cpu, &err);
	}
	return exit;
}

/* Until the next exception. */
static void run_go(struct run *r, unsigned side, struct run_state *s)
{
	struct harness *h = r->h[side];
	struct x86_cpu *cpu = h->cpu;
	uint64_t frame[5], used;
	struct err err;
	enum vcpu_exit exit;

	memset(s, 0, sizeof(*s));
	run_kicked[side] = cpu;
	alarm(5);
	if (side == 0 && r->trace == r->exceptions + 1)
		exit = run_traced(r, cpu);
	else
		exit = h->xm.engine_ops->run(cpu, &err);
	alarm(0);
	run_kicked[side] = NULL;
	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	memcpy(s->vec, cpu->fpu.b + X86_XMM_OFFSET, 256);
	memcpy(s->vec + 256, cpu->fpu.b + X86_YMMH_OFFSET, 256);
	memcpy(&s->mxcsr, cpu->fpu.b + 24, 4);
	s->vector = RUN_STUCK + exit;
	s->rip = cpu->rip;
	if (exit == VCPU_EXIT_ERROR)
		printf("%s\n", err.msg);
	if (exit != VCPU_EXIT_HALT)
		return;
	used = RUN_STACK_TOP - cpu->gpr[X86_RSP];
	memcpy(frame, harness_ptr(h, RUN_STACK_TOP - 40), sizeof(frame));
	if (used == 48)
		s->error = harness_u64(h, RUN_STACK_TOP - 48);
	s->vector = (unsigned)((cpu->rip - 1 - RUN_HANDLERS) / 16);
	s->cr2 = cpu->cr2;
	s->rip = frame[0];
	s->rflags = frame[2];
	s->gpr[X86_RSP] = frame[3];
}

/* --- Comparing ----------------------------------------------------------- */

static bool run_is(const char *what, uint64_t a, uint64_t b, char *text)
{
	size_t n = strlen(text);

	if (a == b)
		return true;
	if (n < 300)
		snprintf(text + n, 100, " %s: %llx, is %llx", what,
			 (unsigned long long)a, (unsigned long long)b);
	return false;
}

static bool run_same(const struct run_state *a, const struct run_state *b,
		     char *text)
{
	char name[16];

	run_is("vector", a->vector, b->vector, text);
	run_is("rip", a->rip, b->rip, text);
	run_is("error", a->error, b->error, text);
	run_is("cr2", a->cr2, b->cr2, text);
	run_is("rflags", a->rflags, b->rflags, text);
	run_is("mxcsr", a->mxcsr, b->mxcsr, text);
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		run_is(name, a->gpr[i], b->gpr[i], text);
	}
	for (unsigned i = 0; i < 512; i++) {
		snprintf(name, sizeof(name), "%s%u[%u]", i < 256 ? "x" : "y",
			 i / 16 % 16, i % 16);
		run_is(name, a->vec[i], b->vec[i], text);
	}
	return !*text;
}

static bool run_same_memory(struct run *r, char *text)
{
	char name[24];

	for (uint64_t at = PROG_CODE; at < PROG_END; at += 8) {
		snprintf(name, sizeof(name), "[%llx]", (unsigned long long)at);
		run_is(name, harness_u64(r->h[0], at), harness_u64(r->h[1], at),
		       text);
	}
	return !*text;
}

/*
 * Accessed and dirty bits.  The translator may set them for an access that an
 * exception or a jump then prevents: one check stands for several accesses,
 * and pages are looked up before operands are found misaligned.  It must not
 * make a page dirty that is not writable.
 */
static void run_same_tables(struct run *r, char *text)
{
	uint64_t may;
	char name[24];

	for (uint64_t at = PROG_CODE; at < PROG_END; at += 4096) {
		uint64_t *pte = harness_pte(r->h[0], at);
		uint64_t other = *harness_pte(r->h[1], at);

		may = X86_PTE_A | (*pte & X86_PTE_W ? X86_PTE_D : 0);
		*pte |= other & may;
		snprintf(name, sizeof(name), "pte %llx",
			 (unsigned long long)at);
		run_is(name, *pte, other, text);
	}
}

/* --- Going on ------------------------------------------------------------ */

/* At times the handler maps what was missing, or takes something away. */
static void run_change_pages(struct run *r, const struct run_state *s)
{
	uint64_t at = s->cr2 & ~4095ull, bits = 0;
	bool data = at >= PROG_DATA && at < PROG_DATA + 4096 * PROG_DATA_PAGES;

	if (s->vector == X86_VEC_PF && data && rng_one_in(&r->rng, 2)) {
		bits = X86_PTE_P | X86_PTE_W;
	} else if (rng_one_in(&r->rng, 16)) {
		at = PROG_DATA + 4096 * rng_below(&r->rng, PROG_DATA_PAGES);
		bits = rng_one_in(&r->rng, 2) ? X86_PTE_P : 0;
	} else {
		return;
	}
	if (at == PROG_MIXED)
		return;
	for (unsigned i = 0; i < 2; i++) {
		*harness_pte(r->h[i], at) =
			at | bits | (r->p.kernel ? 0 : X86_PTE_U);
		x86_tlb_flush_page(r->h[i]->cpu, at);
	}
}

/* Behind the instruction that raised, or at the next segment. */
static uint64_t run_where(struct run *r, struct run_state *s)
{
	uint64_t next = prog_next(&r->p, s->rip);

	if ((s->vector == X86_VEC_BP || s->vector == X86_VEC_OF) && next)
		return s->rip;
	if (next)
		return next;
	s->gpr[X86_RSP] = PROG_STACK_TOP - 64;
	return r->lost < r->p.segments ? r->p.segment[r->lost++] : PROG_OUT;
}

static void run_resume(struct run *r, struct run_state *s)
{
	uint64_t rip = run_where(r, s);

	run_change_pages(r, s);
	for (unsigned i = 0; i < 2; i++) {
		struct x86_cpu *cpu = r->h[i]->cpu;

		cpu->rip = rip;
		cpu->gpr[X86_RSP] = s->gpr[X86_RSP];
		cpu->rflags = X86_FLAG_1 |
			      (s->rflags & (X86_FLAGS_ARITH | X86_FLAG_DF));
		run_enter(r, cpu);
	}
}

static void run_show(struct run *r, const char *where, const char *text)
{
	printf("--seed %llu --program %llu: exception %u, %s:%s\n",
	       (unsigned long long)r->p.seed, (unsigned long long)r->p.number,
	       r->exceptions, where, text);
	fflush(stdout);
	r->different++;
}

/* Runs both to the next exception.  False: the program has ended. */
static bool run_on(struct run *r)
{
	struct run_state a, b;
	char text[512] = "", where[160];

	run_go(r, 0, &a);
	if (a.vector == RUN_STUCK + VCPU_EXIT_KICKED) {
		r->stuck++;
		return false;
	}
	run_go(r, 1, &b);
	run_same_tables(r, text);
	if (!run_same(&a, &b, text)) {
		run_code_at(r, a.rip, where, sizeof(where));
		run_show(r, where, text);
		return false;
	}
	if (a.vector >= 32 ||
	    (a.vector == X86_VEC_BP && a.rip == PROG_OUT + 1) ||
	    ++r->exceptions > RUN_EXCEPTIONS) {
		if (!run_same_memory(r, text))
			run_show(r, "at the end", text);
		return false;
	}
	run_resume(r, &a);
	return true;
}

static void run_program(struct run *r, uint64_t seed, uint64_t number)
{
	prog_make(&r->p, seed, number);
	r->rng = r->p.rng;
	r->exceptions = r->lost = 0;
	run_prepare(r, 0);
	run_prepare(r, 1);
	while (run_on(r))
		;
}

/* --- Command line -------------------------------------------------------- */

struct run_options {
	const char *engine;
	uint64_t seed, programs, first;
	double seconds;
	unsigned trace;
};

static bool run_parse(struct run_options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "engine", required_argument, NULL, 'e' },
		{ "seed", required_argument, NULL, 's' },
		{ "programs", required_argument, NULL, 'n' },
		{ "program", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 't' },
		{ "trace", required_argument, NULL, 'T' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'e')
			o->engine = optarg;
		else if (opt == 's')
			o->seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			o->programs = strtoull(optarg, NULL, 0);
		else if (opt == 't')
			o->seconds = strtod(optarg, NULL);
		else if (opt == 'T')
			o->trace = (unsigned)atoi(optarg) + 1;
		else if (opt == 'p')
			o->first = strtoull(optarg, NULL, 0), o->programs = 1;
		else
			return false;
	}
	return optind == argc;
}

static const struct engine_ops *run_engine(const char *name)
{
	static const struct engine_ops *const all[] = {
		&translator_engine,       &lockstep_engine,
		&translator_plain_engine, &lockstep_plain_engine,
		&translator_hot_engine,   &lockstep_hot_engine,
		&interpreter_engine
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

static void run_init(struct run *r, const struct engine_ops *ops)
{
	r->h[0] = run_build(&interpreter_engine);
	r->h[1] = run_build(ops);
	r->fpu = r->h[0]->cpu->fpu;
	run_keep_segments(r, 1);
	harness_user(r->h[0]);
	run_keep_segments(r, 0);
	signal(SIGALRM, run_alarm);
}

static void run_all(struct run *r, const struct run_options *o)
{
	uint64_t begin = clock_mono_ns(), faults = 0, i;
	double took = 0;

	for (i = 0; i < o->programs; i++) {
		run_program(r, o->seed, o->first + i);
		faults += r->exceptions;
		took = (double)(clock_mono_ns() - begin) / 1e9;
		if (o->seconds > 0 && took > o->seconds)
			break;
	}
	printf("prog: %llu programs, %llu exceptions, %.1f s: %llu "
	       "differences, %llu never ended\n",
	       (unsigned long long)i, (unsigned long long)faults, took,
	       (unsigned long long)r->different, (unsigned long long)r->stuck);
}

int main(int argc, char **argv)
{
	static struct run run;
	struct run_options o = { .engine = "translator",
				 .seed = 1,
				 .programs = 1000 };

	if (!run_parse(&o, argc, argv) || !run_engine(o.engine))
		return 2;
	run_init(&run, run_engine(o.engine));
	run.trace = o.trace;
	run_all(&run, &o);
	harness_free(run.h[0]);
	harness_free(run.h[1]);
	return run.different != 0;
}
