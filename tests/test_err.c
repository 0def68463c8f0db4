/* test_err.c - base/err.c and base/log.c. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

static void set_returns_minus_code(void **state)
{
	struct err err;

	assert_int_equal(err_set(&err, ENOENT, "no %s", "such"), -ENOENT);
	assert_string_equal(err.msg, "no such");
	assert_int_equal(err_set(NULL, EINVAL, "nobody reads"), -EINVAL);
}

static void long_sentence_is_cut(void **state)
{
	struct err err;

	err_set(&err, EINVAL, "%0*d", 2 * ERR_MSG_MAX, 7);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
	err_prefix(&err, "%0*d", 2 * ERR_MSG_MAX, 7);
	assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
}

static void prefix_goes_before(void **state)
{
	struct err err;

	err_set(&err, EINVAL, "is empty");
	err_prefix(&err, "kernel %s", "vmlinuz");
	assert_string_equal(err.msg, "kernel vmlinuz: is empty");
	err_prefix(NULL, "nobody");
}

/* What log_* writes to stderr while fn runs. */
static size_t capture(void (*fn)(void), char *buf, size_t cap)
{
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fd[1]);
	n = read(pipe_fd[0], buf, cap - 1);
	close(pipe_fd[0]);
	assert_true(n >= 0);
	buf[n] = 0;
	return (size_t)n;
}

static void log_some(void)
{
	log_error("one %d", 1);
	log_info("hidden");
}

static void level_hides_what_is_above(void **state)
{
	char buf[256];

	capture(log_some, buf, sizeof(buf));
	assert_string_equal(buf, "hostel: error: one 1\n");
}

static void log_long(void)
{
	log_error("%0*d", 5000, 1);
}

static void long_line_is_cut_with_its_newline(void **state)
{
	char buf[8192];
	size_t n = capture(log_long, buf, sizeof(buf));

	assert_true(n <= 1024);
	assert_int_equal(buf[n - 1], '\n');
}

static void log_flood(void)
{
	for (int i = 0; i < 1000; i++)
		log_guest("the guest did %d", i);
}

static void guest_cannot_flood(void **state)
{
	char buf[65536];
	int lines = 0;

	log_set_level(LOG_INFO);
	capture(log_flood, buf, sizeof(buf));
	log_set_level(LOG_WARN);
	for (char *p = buf; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_minus_code),
		cmocka_unit_test(long_sentence_is_cut),
		cmocka_unit_test(prefix_goes_before),
		cmocka_unit_test(level_hides_what_is_above),
		cmocka_unit_test(long_line_is_cut_with_its_newline),
		cmocka_unit_test(guest_cannot_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
