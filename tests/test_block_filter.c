/* test_block_filter.c - block/throttle.c, fault.c: limits and accidents. */
#include "blocktest.h"

#include <errno.h>

#include "base/clock.h"

#define SECOND 1000000000ull

static struct block *open_with(const char *fault)
{
	struct block_open how = { .path = bt_path("d"),
				  .format = "raw",
				  .fault = fault };

	return bt_open(&how);
}

static void bytes_are_limited(void **state)
{
	struct block_open how = { .path = bt_path("d"),
				  .format = "raw",
				  .throttle = { .bps = 10 * BT_MIB,
						.bps_burst = BT_MIB } };
	uint64_t start = clock_mono_ns();
	struct block *b;

	bt_create("d", "raw", 8 * BT_MIB);
	b = bt_open(&how);
	for (unsigned i = 0; i < 3; i++)
		bt_assert_bytes(b, i * BT_MIB, BT_MIB, 0);
	/* The bucket's one at once, a second on credit, one waits 0.1 s. */
	assert_true(clock_mono_ns() - start >= SECOND / 10);
	block_close(b);
}

/* So slow a disk that a busy host's pauses do not count. */
static void who_does_not_wait_is_told(void **state)
{
	struct block_open how = { .path = bt_path("d"),
				  .format = "raw",
				  .throttle = { .bps = 1024,
						.bps_burst = BT_MIB } };
	struct iovec iov = { malloc(BT_MIB), BT_MIB };
	struct block *b;

	bt_create("d", "raw", 8 * BT_MIB);
	b = bt_open(&how);
	for (unsigned i = 0; i < 2; i++)
		bt_assert_bytes(b, i * BT_MIB, BT_MIB, 0);
	assert_int_equal(block_readv(b, &iov, 1, 0, BT_MIB, BLOCK_NOWAIT),
			 -EAGAIN);
	block_close(b);
	free(iov.iov_base);
}

static void operations_are_limited(void **state)
{
	struct block_open how = { .path = bt_path("d"),
				  .format = "raw",
				  .throttle = { .iops = 100,
						.iops_burst = 5 } };
	uint64_t start = clock_mono_ns();
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = bt_open(&how);
	for (unsigned i = 0; i < 5; i++)
		bt_fill(b, i * 512, 512, 1);
	for (unsigned i = 0; i < 5; i++)
		block_zero(b, i * 512, 512, 0);
	for (unsigned i = 0; i < 5; i++)
		bt_assert_bytes(b, i * 512, 512, 0);
	assert_true(clock_mono_ns() - start >= SECOND * 9 / 100);
	block_close(b);
}

static void a_rule_hits_after_and_count(void **state)
{
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = open_with("write:after=2:count=1:error=ENOSPC");
	assert_int_equal(bt_fill(b, 0, 512, 1), 0);
	assert_int_equal(bt_fill(b, 512, 512, 1), 0);
	assert_int_equal(bt_fill(b, 1024, 512, 1), -ENOSPC);
	bt_assert_bytes(b, 1024, 512, 0);
	assert_int_equal(bt_fill(b, 1024, 512, 1), 0);
	assert_int_equal(block_flush(b), 0);
	block_close(b);
}

static unsigned failing_flushes(const char *rule)
{
	struct block *b = open_with(rule);
	unsigned n = 0;

	for (unsigned i = 0; i < 100; i++)
		n = n * 2 + (block_flush(b) == -EIO);
	block_close(b);
	return n;
}

static void chance_is_seeded(void **state)
{
	bt_create("d", "raw", BT_MIB);
	assert_int_equal(failing_flushes("flush:prob=0.3:seed=7"),
			 failing_flushes("flush:prob=0.3:seed=7"));
	assert_int_not_equal(failing_flushes("flush:prob=0.3:seed=7"),
			     failing_flushes("flush:prob=0.3:seed=8"));
	assert_int_equal(failing_flushes("flush:prob=0"), 0);
}

static void a_torn_write_leaves_its_beginning(void **state)
{
	unsigned sectors = 0;
	uint8_t buf[16 * 512];
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = open_with("write:torn:seed=3");
	assert_int_equal(bt_fill(b, 0, sizeof(buf), 1), -EIO);
	assert_int_equal(block_read(b, buf, 0, sizeof(buf)), 0);
	while (sectors < 16 && buf[sectors * 512])
		sectors++;
	assert_in_range(sectors, 1, 15);
	bt_assert_bytes(b, 0, sectors * 512, 1);
	bt_assert_bytes(b, sectors * 512, sizeof(buf) - sectors * 512, 0);
	block_close(b);
}

static void nonsense_is_refused(void **state)
{
	static const char *const rules[] = {
		"fly",          "write:after",   "write:after=x",
		"write:prob=2", "write:error=E", "write;flush:bad=1",
		"cut:kill=1"
	};
	struct block_open how = { .format = "raw" };

	bt_create("d", "raw", BT_MIB);
	how.path = bt_path("d");
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		how.fault = rules[i];
		assert_non_null(strstr(bt_open_fails(&how, EINVAL), "rules"));
	}
}

/* Sectors 0..63 flushed as 1, then written as 2, then the power goes. */
static void cut_and_count(const char *rule, unsigned *kept, unsigned *lost)
{
	uint8_t buf[64 * 512];
	struct block *b;

	*kept = *lost = 0;
	b = open_with(rule);
	assert_int_equal(bt_fill(b, 0, sizeof(buf), 1), 0);
	assert_int_equal(block_flush(b), 0);
	assert_int_equal(bt_fill(b, 0, sizeof(buf), 2), 0);
	assert_int_equal(bt_fill(b, 512, 512, 3), -EIO);
	assert_int_equal(block_flush(b), -EIO);
	assert_int_equal(block_read(b, buf, 0, 512), -EIO);
	block_close(b);
	b = open_with(NULL);
	assert_int_equal(block_read(b, buf, 0, sizeof(buf)), 0);
	for (unsigned i = 0; i < 64; i++) {
		uint8_t v = buf[i * 512];

		assert_true(v == 1 || v == 2 || (v == 3 && i == 1));
		bt_assert_bytes(b, i * 512, 512, v);
		*(v == 1 ? lost : kept) += 1;
	}
	block_close(b);
}

static void a_power_cut_loses_only_what_was_not_flushed(void **state)
{
	unsigned kept, lost;

	bt_create("d", "raw", BT_MIB);
	cut_and_count("cut:after=2:seed=5", &kept, &lost);
	assert_true(kept > 10 && lost > 10);
	cut_and_count("file.cut:after=2:seed=6", &kept, &lost);
	assert_true(kept > 10 && lost > 10);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(bytes_are_limited),
		T(who_does_not_wait_is_told),
		T(operations_are_limited),
		T(a_rule_hits_after_and_count),
		T(chance_is_seeded),
		T(a_torn_write_leaves_its_beginning),
		T(nonsense_is_refused),
		T(a_power_cut_loses_only_what_was_not_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
