/*
 * main.c - the table of measurements, and how one is taken.
 *
 *	programs NAME [SCALE]           one measurement, of SCALE percent
 *	programs list                   names
 *	programs run NAME TIMES CMD...  a command as a measurement (command.c)
 *	programs data BYTES             text to work on, to stdout
 *	programs clock                  tells the clock, to bench/drive.c
 *	programs nothing                ends at once: what `exec` starts
 *
 * A measurement is many short batches of the same work; the shortest counts,
 * as the one that other load on the host disturbed least.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define BENCH_NS      400000000 /* for all batches of a measurement */
#define BENCH_BATCHES 4         /* at least */

struct bench_program {
	const char *name;
	uint64_t (*work)(uint64_t n);
	uint64_t n; /* operations a batch: a few ms on an emulator */
};

static const struct bench_program bench_programs[] = {
	{ "syscall", bench_syscall, 6000 },  { "pipe", bench_pipe_one_cpu, 40 },
	{ "fork", bench_fork, 4 },           { "exec", bench_exec, 1 },
	{ "newpage", bench_newpage, 256 },   { "memcpy", bench_memcpy, 1 },
	{ "qsort", bench_qsort, 1 },         { "chase", bench_chase, 131072 },
	{ "integer", bench_integer, 120 },   { "bytecode", bench_bytecode, 1 },
	{ "nbody", bench_nbody, 1500 },      { "matrix", bench_matrix, 1 },
	{ "sha256", bench_sha256, 1 },       { "aes", bench_aes, 1 },
	{ "parallel", bench_parallel, 400 }, { "pipe2", bench_pipe, 40 },
};

#define BENCH_COUNT (sizeof(bench_programs) / sizeof(*bench_programs))

_Noreturn void bench_die(const char *what)
{
	perror(what);
	exit(1);
}

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_sum(uint64_t sum, const void *data, uint64_t size)
{
	const uint8_t *p = data;

	for (uint64_t i = 0; i < size; i++)
		sum = (sum ^ p[i]) * 0x100000001b3;
	return sum;
}

void bench_report(const char *name, double ns, uint64_t sum)
{
	printf("row %s %.3f %016lx\n", name, ns, (unsigned long)sum);
	fflush(stdout);
}

static void bench_measure(const struct bench_program *p, unsigned percent)
{
	uint64_t begin = bench_now_ns(), took, best = UINT64_MAX, sum = 0;
	uint64_t budget = BENCH_NS / 100 * percent;

	for (unsigned i = 0;
	     i < BENCH_BATCHES || bench_now_ns() - begin < budget; i++) {
		uint64_t from = bench_now_ns(), s = p->work(p->n);

		took = bench_now_ns() - from;
		if (i && s != sum) {
			fprintf(stderr, "%s: two batches differ\n", p->name);
			exit(1);
		}
		sum = s;
		best = took < best ? took : best;
	}
	bench_report(p->name, (double)best / (double)p->n, sum);
}

static int bench_usage(void)
{
	fprintf(stderr, "usage: programs NAME [SCALE] | list | "
			"run NAME TIMES COMMAND... | data BYTES\n");
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return bench_usage();
	if (!strcmp(argv[1], "nothing"))
		return 0;
	if (!strcmp(argv[1], "clock"))
		return printf("bench: clock %lu\n",
			      (unsigned long)bench_now_ns()) < 0;
	if (!strcmp(argv[1], "run"))
		return bench_command(argc - 2, argv + 2);
	if (!strcmp(argv[1], "data"))
		return bench_data(argc - 2, argv + 2);
	for (size_t i = 0; i < BENCH_COUNT; i++) {
		const struct bench_program *p = &bench_programs[i];

		if (!strcmp(argv[1], "list"))
			puts(p->name);
		else if (!strcmp(argv[1], p->name)) {
			int percent = argc > 2 ? atoi(argv[2]) : 100;

			bench_measure(p, percent > 0 ? (unsigned)percent : 100);
			return 0;
		}
	}
	return strcmp(argv[1], "list") ? bench_usage() : 0;
}
