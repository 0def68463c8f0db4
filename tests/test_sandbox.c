/* test_sandbox.c - vmm/sandbox.c: what is allowed, refused, and the end. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/sandbox.h"

static void end(const char *why)
{
	if (write(STDOUT_FILENO, why, strlen(why)) < 0)
		_exit(2);
	_exit(125);
}

/* Runs fn in a process of its own, jailed; its status, and what it said. */
static int jailed(enum sandbox_mode mode, int (*fn)(void), char *said,
		  size_t size)
{
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		if (sandbox_enter(mode, end, NULL))
			_exit(3);
		_exit(fn());
	}
	close(fds[1]);
	n = read(fds[0], said, size - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void *do_nothing(void *opaque)
{
	return opaque;
}

static int work(void)
{
	pthread_t thread;
	void *p = malloc(1 << 20);
	FILE *f = fopen("/proc/self/status", "r");

	if (!p || !f || pthread_create(&thread, NULL, do_nothing, p))
		return 1;
	fclose(f);
	return pthread_join(thread, NULL);
}

static void threads_memory_and_files_work(void **state)
{
	char said[200];

	assert_int_equal(jailed(SANDBOX_ON, work, said, sizeof(said)), 0);
	assert_int_equal(jailed(SANDBOX_STRICT, work, said, sizeof(said)), 0);
}

static int start_programs(void)
{
	char *argv[] = { "true", NULL };

	if (fork() >= 0 || errno != EPERM)
		return 1;
	return execv("/bin/true", argv) < 0 && errno == EPERM ? 0 : 2;
}

static void no_program_is_started(void **state)
{
	char said[200];

	assert_int_equal(jailed(SANDBOX_ON, start_programs, said, sizeof(said)),
			 0);
}

static int call_unknown(void)
{
	long rc = syscall(SYS_mq_open, "/x", 0);

	return rc < 0 && errno == ENOSYS ? 0 : 1;
}

static void what_is_not_listed_is_not_there(void **state)
{
	char said[200];

	assert_int_equal(jailed(SANDBOX_ON, call_unknown, said, sizeof(said)),
			 0);
	assert_int_equal(
		jailed(SANDBOX_STRICT, call_unknown, said, sizeof(said)), 125);
	assert_non_null(strstr(said, "number 240"));
}

static int call_mount(void)
{
	return (int)syscall(SYS_mount, "", "", "", 0, NULL);
}

static void what_an_intruder_wants_is_the_end(void **state)
{
	char said[200];

	assert_int_equal(jailed(SANDBOX_ON, call_mount, said, sizeof(said)),
			 125);
	assert_string_equal(said, "the guest's process made a system call "
				  "that its jail forbids, and was ended: "
				  "mount");
}

static int signal_parent(void)
{
	if (syscall(SYS_tgkill, getpid(), gettid(), 0))
		return 1;
	if (syscall(SYS_tgkill, getppid(), getppid(), 0) != -1 ||
	    errno != ENOSYS)
		return 2;
	return kill(getppid(), 0) < 0 && errno == ENOSYS ? 0 : 3;
}

static void signals_reach_no_other_process(void **state)
{
	char said[200];

	assert_int_equal(jailed(SANDBOX_ON, signal_parent, said, sizeof(said)),
			 0);
}

static int unshare_umask(void)
{
	return unshare(CLONE_FS);
}

static int unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static void threads_part_with_their_umask_only(void **state)
{
	char said[200];

	for (enum sandbox_mode m = SANDBOX_ON; m <= SANDBOX_STRICT; m++) {
		assert_int_equal(jailed(m, unshare_umask, said, sizeof(said)),
				 0);
		assert_int_equal(jailed(m, unshare_user, said, sizeof(said)),
				 125);
	}
}

static void the_environment_chooses(void **state)
{
	enum sandbox_mode mode;
	struct err err;

	unsetenv("HOSTEL_SANDBOX");
	assert_int_equal(sandbox_mode(&mode, &err), 0);
	assert_int_equal(mode, SANDBOX_ON);
	setenv("HOSTEL_SANDBOX", "off", 1);
	assert_int_equal(sandbox_mode(&mode, &err), 0);
	assert_int_equal(mode, SANDBOX_OFF);
	setenv("HOSTEL_SANDBOX", "maybe", 1);
	assert_int_equal(sandbox_mode(&mode, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_memory_and_files_work),
		cmocka_unit_test(no_program_is_started),
		cmocka_unit_test(what_is_not_listed_is_not_there),
		cmocka_unit_test(what_an_intruder_wants_is_the_end),
		cmocka_unit_test(signals_reach_no_other_process),
		cmocka_unit_test(threads_part_with_their_umask_only),
		cmocka_unit_test(the_environment_chooses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
