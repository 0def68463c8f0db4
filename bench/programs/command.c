/*
 * command.c - whole programs as measurements, and text for them to work on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* Runs argv, sums what it writes to stdout; a status but 0 is an error. */
static uint64_t command_once(char **argv)
{
	uint64_t sum = BENCH_SUM_START;
	static uint8_t buffer[65536];
	int out[2], status;
	ssize_t got;
	pid_t pid;

	if (pipe(out) || (pid = fork()) < 0)
		bench_die("run");
	if (!pid) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(out[1]);
	while ((got = read(out[0], buffer, sizeof(buffer))) > 0)
		sum = bench_sum(sum, buffer, (uint64_t)got);
	close(out[0]);
	if (waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "%s: status %#x\n", argv[0], status);
		exit(1);
	}
	return sum;
}

static double command_processor_time(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return ((double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
		(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)) *
	       1e3;
}

/*
 * NAME TIMES COMMAND...: the shortest of so many runs.  How much processor time
 * a run took, only a host can say: drive.c, told by the first line, or we,
 * told by BENCH_NATIVE.
 */
int bench_command(int argc, char **argv)
{
	int times = argc > 2 ? atoi(argv[1]) : 0;
	uint64_t sum = 0, best = UINT64_MAX;

	if (times < 1)
		return 2;
	printf("bench: begin %s %d\n", argv[0], times);
	fflush(stdout);
	for (int i = 0; i < times; i++) {
		uint64_t from = bench_now_ns(), took;

		sum = command_once(argv + 2);
		took = bench_now_ns() - from;
		best = took < best ? took : best;
	}
	bench_report(argv[0], (double)best, sum);
	if (getenv("BENCH_NATIVE"))
		printf("cpu %s %.0f\n", argv[0],
		       command_processor_time() / times);
	return 0;
}

/* BYTES: lines of words, which compress about as text does. */
int bench_data(int argc, char **argv)
{
	static const char *const word[] = {
		"page", "table", "guest", "interrupt", "the",      "of",
		"a",    "in",    "and",   "block",     "register", "to",
		"flag", "is",    "it",    "memory"
	};
	long left = argc > 0 ? atol(argv[0]) : 0;
	uint32_t seed = 11;

	while (left > 0) {
		uint32_t x = bench_random(&seed);
		int n = x % 7 ? printf("%s ", word[x >> 8 & 15])
			      : printf("%u\n", x >> 16);

		left -= n;
	}
	return 0;
}
