/* Code marks: a page stays marked as long as anybody holds code of it. */
#include "cpu/x86/sync.h"
#include "test.h"

#define PAGE 0x5000ull

struct bench {
	struct x86_machine xm;
	struct x86_cpu *cpus[2];
};

static int setup(void **state)
{
	static struct bench b;

	b = (struct bench){ .xm.cpu_count = 2 };
	b.xm.cpus = b.cpus;
	pthread_mutex_init(&b.xm.bounce_lock, NULL);
	assert_int_equal(mem_new(&b.xm.mem, 16 << 20, NULL), 0);
	assert_int_equal(x86_sync_init(&b.xm, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		b.cpus[i] = x86_cpu_new(&b.xm, i, NULL);
		assert_non_null(b.cpus[i]);
	}
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	x86_sync_free(&b->xm);
	for (unsigned i = 0; i < 2; i++)
		x86_cpu_free(b->cpus[i]);
	mem_free(b->xm.mem);
	return 0;
}

static bool marked(struct bench *b)
{
	return mem_page_flags(b->xm.mem)[PAGE / MEM_PAGE_SIZE] & MEM_PAGE_CODE;
}

static void test_mark_goes_with_the_last_holder(void **state)
{
	struct bench *b = *state;

	x86_hold_code(b->cpus[0], PAGE, 0);
	x86_hold_code(b->cpus[1], PAGE + 5, 1);
	x86_mark_code(b->cpus[1], PAGE);
	assert_true(marked(b));
	x86_drop_code(b->cpus[0], PAGE, 0);
	x86_drop_code(b->cpus[1], PAGE, 1);
	assert_true(marked(b));
	x86_unmark_code(b->cpus[0], PAGE + 9);
	assert_false(marked(b));
}

static void test_holding_and_dropping_twice_counts_once(void **state)
{
	struct bench *b = *state;

	x86_hold_code(b->cpus[0], PAGE, 0);
	x86_hold_code(b->cpus[0], PAGE, 0);
	x86_hold_code(b->cpus[1], PAGE, 1);
	x86_drop_code(b->cpus[0], PAGE, 0);
	x86_drop_code(b->cpus[0], PAGE, 0);
	assert_true(marked(b));
	assert_false(x86_holds_code(b->cpus[0], PAGE, 0));
	assert_true(x86_holds_code(b->cpus[1], PAGE, 1));
	x86_drop_code(b->cpus[1], PAGE, 1);
	assert_false(marked(b));
}

static void test_dropping_what_is_not_held_changes_nothing(void **state)
{
	struct bench *b = *state;

	x86_drop_code(b->cpus[0], PAGE, 0);
	x86_hold_code(b->cpus[1], PAGE, 1);
	x86_drop_code(b->cpus[0], PAGE, 0);
	x86_drop_code(b->cpus[0], 1ull << 40, 0); /* not RAM */
	assert_true(marked(b));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mark_goes_with_the_last_holder),
		T(test_holding_and_dropping_twice_counts_once),
		T(test_dropping_what_is_not_held_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
