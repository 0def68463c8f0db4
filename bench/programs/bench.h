/*
 * bench.h - the programs that `make bench` runs in guests and natively.
 *
 * One static program holds them all (main.c has the table).  A work function
 * does its operation n times and returns a checksum that depends on every
 * result and on nothing else, so that equal sums mean equal results.  Failures
 * end the program (bench_die): a row without a figure is seen.
 */
#ifndef HOSTEL_BENCH_BENCH_H
#define HOSTEL_BENCH_BENCH_H

#include <stdint.h>

_Noreturn void bench_die(const char *what);
uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC */

#define BENCH_SUM_START 0xcbf29ce484222325
/* FNV-1a; start from BENCH_SUM_START. */
uint64_t bench_sum(uint64_t sum, const void *data, uint64_t size);

/* The same numbers on every machine. */
static inline uint32_t bench_random(uint32_t *seed)
{
	uint32_t x = *seed;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *seed = x;
}

/* process.c */
uint64_t bench_syscall(uint64_t n);
uint64_t bench_pipe(uint64_t n);
uint64_t bench_pipe_one_cpu(uint64_t n);
uint64_t bench_fork(uint64_t n);
uint64_t bench_exec(uint64_t n);
uint64_t bench_parallel(uint64_t n);

/* memory.c */
uint64_t bench_newpage(uint64_t n);
uint64_t bench_memcpy(uint64_t n);
uint64_t bench_qsort(uint64_t n);
uint64_t bench_chase(uint64_t n);

/* integer.c */
uint64_t bench_integer(uint64_t n);
uint64_t bench_bytecode(uint64_t n);

/* simd.c: with the CPU's instructions where CPUID shows them. */
uint64_t bench_nbody(uint64_t n);
uint64_t bench_matrix(uint64_t n);
uint64_t bench_sha256(uint64_t n);
uint64_t bench_aes(uint64_t n);

/* command.c: `run NAME TIMES COMMAND...` and `data SIZE`. */
int bench_command(int argc, char **argv);
int bench_data(int argc, char **argv);

/* Prints a result: what one operation took, and the checksum. */
void bench_report(const char *name, double ns, uint64_t sum);

#endif
