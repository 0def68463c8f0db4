/*
 * process.c - what the kernel does for processes: calls, pipes, fork, exec.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "../workload.h"

uint64_t bench_syscall(uint64_t n)
{
	long parent = getppid();
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += syscall(SYS_getppid) == parent;
	return sum;
}

static pid_t process_fork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		bench_die("fork");
	return pid;
}

static uint64_t process_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		bench_die("waitpid");
	return (uint64_t)WEXITSTATUS(status);
}

/* The other side of the ping-pong: each byte comes back as its successor. */
static _Noreturn void process_echo(int in, int out)
{
	uint8_t byte;

	while (read(in, &byte, 1) == 1) {
		byte++;
		if (write(out, &byte, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

/* Started once: it ends when our end of its pipe closes. */
static void process_start_echo(int *to_it, int *from_it)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		bench_die("pipe");
	if (!process_fork()) {
		close(to[1]);
		process_echo(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	*to_it = to[1];
	*from_it = from[0];
}

uint64_t bench_pipe(uint64_t n)
{
	static int to, from;
	uint64_t sum = 0;

	if (!to)
		process_start_echo(&to, &from);
	for (uint64_t i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)i;

		if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1)
			bench_die("ping-pong");
		sum += byte;
	}
	return sum;
}

/* On one CPU also where there are more, so that native compares to guests. */
uint64_t bench_pipe_one_cpu(uint64_t n)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all))
		bench_die("sched_getaffinity");
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	sched_setaffinity(0, sizeof(one), &one);
	return bench_pipe(n);
}

uint64_t bench_fork(uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = process_fork();

		if (!pid)
			_exit((int)(i & 63));
		sum += process_wait(pid);
	}
	return sum;
}

uint64_t bench_exec(uint64_t n)
{
	char *const argv[] = { "programs", "nothing", NULL };
	char *const envp[] = { NULL };
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = process_fork();

		if (!pid) {
			execve("/proc/self/exe", argv, envp);
			_exit(127);
		}
		sum += process_wait(pid);
	}
	return sum;
}

/* The same integer work twice, in two processes at once. */
uint64_t bench_parallel(uint64_t n)
{
	static uint64_t scratch[WORKLOAD_SIZE / 8];
	uint32_t rounds = (uint32_t)(n / 2);
	uint64_t sum = 0;
	pid_t pids[2];

	for (unsigned i = 0; i < 2; i++) {
		pids[i] = process_fork();
		if (!pids[i])
			_exit((int)(workload(scratch, rounds) & 0xff));
	}
	for (unsigned i = 0; i < 2; i++)
		sum = sum << 8 | process_wait(pids[i]);
	return sum;
}
