/*
 * test_probe.c - what the probe says of devices that are not a usable KVM, and
 * of the host's own, whatever that is.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/engine.h"
#include "cpu/kvm/probe.h"

static void without_a_device_it_says_what_to_load(void **state)
{
	struct probe p;

	probe_host(&p, "/nonexistent/kvm", true);
	assert_int_equal(p.verdict, PROBE_NO_DEVICE);
	assert_non_null(strstr(p.why.msg, "/dev/kvm"));
}

static void another_device_is_not_kvm(void **state)
{
	struct probe p;

	probe_host(&p, "/dev/null", true);
	assert_int_equal(p.verdict, PROBE_REFUSED);
	assert_non_null(strstr(p.why.msg, "not KVM's"));
}

/* In a child that is nobody: root may open everything. */
static void without_permission_it_names_the_group(void **state)
{
	char path[] = "/tmp/hostel-probe-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t pid;

	assert_true(fd >= 0);
	close(fd);
	chmod(path, 0);
	pid = fork();
	if (pid == 0) {
		struct probe p;

		if (getuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(2);
		probe_host(&p, path, true);
		_exit(p.verdict == PROBE_NO_PERMISSION &&
				      strstr(p.why.msg, "usermod -aG kvm")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(path);
	assert_int_equal(status, 0);
}

/* Measured or not, verdict, sentence and the engine's answer agree. */
static void the_hosts_own_gets_one_answer(void **state)
{
	struct err err = { "" };
	struct probe p;

	probe_kvm(&p);
	print_message("%s\n", p.why.msg);
	assert_true(p.why.msg[0]);
	if (p.verdict == PROBE_WORKS)
		assert_true(p.slowdown > 0 && p.slowdown < 10);
	if (p.verdict == PROBE_NO_HARDWARE && p.slowdown > 0)
		assert_true(p.slowdown > 10);
	assert_int_equal(kvm_engine.probe(&err) == 0,
			 p.verdict == PROBE_WORKS ||
				 p.verdict == PROBE_NO_HARDWARE);
	assert_int_equal(kvm_engine.advise(&err) == 0,
			 p.verdict == PROBE_WORKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_device_it_says_what_to_load),
		cmocka_unit_test(another_device_is_not_kvm),
		cmocka_unit_test(without_permission_it_names_the_group),
		cmocka_unit_test(the_hosts_own_gets_one_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
