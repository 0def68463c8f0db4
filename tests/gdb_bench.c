/* gdb_bench.c - see gdb_bench.h. */
#include "gdb_bench.h"

#include <stdlib.h>
#include <string.h>

static void bench_stop(void *opaque)
{
	((struct gdb_bench *)opaque)->stops++;
}

static void bench_go(void *opaque)
{
	((struct gdb_bench *)opaque)->goes++;
}

static enum vcpu_exit bench_step(void *opaque, unsigned cpu)
{
	struct gdb_bench *b = opaque;

	b->steps++;
	b->stepped = cpu;
	b->cpus[cpu]->rip++;
	return b->step_exit;
}

static void bench_reset(void *opaque)
{
	((struct gdb_bench *)opaque)->resets++;
}

static void bench_end(void *opaque)
{
	((struct gdb_bench *)opaque)->ends++;
}

static void bench_flush(struct x86_cpu *cpu)
{
	((struct gdb_bench *)cpu->xm->opaque)->flushes++;
}

/* What does not fit is dropped: only the fuzzer sends that much. */
static void bench_send(void *opaque, const void *p, size_t n)
{
	struct gdb_bench *b = opaque;

	if (n >= sizeof(b->sent) - b->sent_len)
		return;
	memcpy(b->sent + b->sent_len, p, n);
	b->sent_len += n;
	b->sent[b->sent_len] = 0;
}

struct gdb_bench *gdb_bench_new(void)
{
	static const struct engine_ops engine = { .flush = bench_flush };
	struct gdb_bench *b = calloc(1, sizeof(*b));

	if (mem_new(&b->xm.mem, MEM_RAM_MIN, NULL))
		abort();
	b->xm.cpus = b->cpus;
	b->xm.engine_ops = &engine;
	b->xm.opaque = b;
	b->xm.cpu_count = 2;
	for (unsigned i = 0; i < 2; i++) {
		b->cpus[i] = x86_cpu_new(&b->xm, i, NULL);
		/* Flat, with rip as the whole address. */
		b->cpus[i]->seg[X86_CS].base = 0;
		b->cpus[i]->rip = 0x1000;
	}
	b->host = (struct gdb_host){
		.xm = &b->xm,
		.stop = bench_stop,
		.go = bench_go,
		.step = bench_step,
		.reset = bench_reset,
		.end = bench_end,
		.send = bench_send,
		.opaque = b,
	};
	b->step_exit = VCPU_EXIT_DEBUG;
	if (gdb_session_begin(&b->s, &b->host))
		abort();
	return b;
}

void gdb_bench_free(struct gdb_bench *b)
{
	gdb_session_end(&b->s);
	for (unsigned i = 0; i < 2; i++)
		x86_cpu_free(b->cpus[i]);
	mem_free(b->xm.mem);
	free(b);
}
