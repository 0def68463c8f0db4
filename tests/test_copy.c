/* test_copy.c - block/copy.c: whole disks, by several threads. */
#include "diskmodel.h"

#include <errno.h>

#include "block/copy.h"

#define CP_SIZE (24 * BT_MIB)

static struct block *cp_new(const char *name, const char *format, uint64_t size,
			    const char *fault)
{
	struct block_open how = { .path = bt_path(name),
				  .cache = BLOCK_CACHE_UNSAFE,
				  .fault = fault };

	bt_create(name, format, size);
	return bt_open(&how);
}

/* A disk of random content in the model, and in `name`. */
static struct block *cp_source(struct diskmodel *m, const char *name)
{
	struct block *b = cp_new(name, "qcow2", CP_SIZE, NULL);

	diskmodel_init(m, CP_SIZE);
	diskmodel_run(m, b, 1, 150);
	return b;
}

static void copies_are_the_same(void **state)
{
	static const char *const formats[] = { "raw", "qcow2" };
	struct block_copy how = { .workers = 4 };
	struct diskmodel m;
	struct block *from = cp_source(&m, "from"), *to;
	struct err err;

	for (int i = 0; i < 2; i++) {
		how.compress = i;
		to = cp_new(formats[i], formats[i], CP_SIZE, NULL);
		if (copy_disk(from, to, &how, &err))
			fail_msg("%s", err.msg);
		diskmodel_compare(&m, to);
		block_close(to);
		diskmodel_qemu(&m, bt_path(formats[i]), formats[i]);
	}
	block_close(from);
	diskmodel_free(&m);
}

static int cp_stop(void *opaque, uint64_t done, uint64_t total)
{
	unsigned *calls = opaque;

	assert_true(done <= total);
	return ++*calls == 3;
}

static void progress_may_stop_it(void **state)
{
	unsigned calls = 0;
	struct block_copy how = { .workers = 1,
				  .progress = cp_stop,
				  .opaque = &calls };
	struct block *from = cp_new("from", "raw", CP_SIZE, NULL);
	struct block *to = cp_new("to", "qcow2", CP_SIZE, NULL);
	struct err err = { "" };

	assert_int_equal(copy_disk(from, to, &how, &err), -ECANCELED);
	assert_int_equal(calls, 3);
	assert_string_not_equal(err.msg, "");
	block_close(to);
	block_close(from);
}

static void failures_name_the_image(void **state)
{
	struct block_copy how = { .workers = 2 };
	struct diskmodel m;
	struct block *from, *to;
	struct err err = { "" };

	block_close(cp_source(&m, "good"));
	diskmodel_free(&m);
	from = bt_open(&(struct block_open){ .path = bt_path("good"),
					     .readonly = true });
	to = cp_new("full", "qcow2", CP_SIZE, "write:after=3:error=ENOSPC");
	assert_int_equal(copy_disk(from, to, &how, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "full: cannot write"));
	block_close(to);
	block_close(from);
	from = bt_open(&(struct block_open){ .path = bt_path("good"),
					     .readonly = true,
					     .fault = "read:after=2" });
	to = cp_new("to", "qcow2", CP_SIZE, NULL);
	assert_int_equal(copy_disk(from, to, &how, &err), -EIO);
	assert_non_null(strstr(err.msg, "good: cannot read"));
	block_close(to);
	block_close(from);
}

static void a_commit_makes_the_base_longer(void **state)
{
	struct block_copy how = { .workers = 2 };
	struct diskmodel m;
	struct block *top = cp_source(&m, "top");
	struct block *base = cp_new("base", "raw", 2 * BT_MIB, NULL);
	struct err err;

	assert_int_equal(bt_fill(base, 0, 2 * BT_MIB, 0x77), 0);
	if (copy_commit(top, base, &how, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(base->size, CP_SIZE);
	/* Where the top holds nothing the base keeps what it has. */
	for (uint64_t at = 0; at < 2 * BT_MIB; at += 65536) {
		struct block_extent e;

		assert_int_equal(block_map(top, at, 65536, false, 0, &e), 0);
		block_map_done(top, &e);
		if (e.type == BLOCK_EXTENT_HOLE)
			memset(m.bytes + at, 0x77, 65536);
	}
	diskmodel_compare(&m, base);
	block_close(base);
	block_close(top);
	diskmodel_free(&m);
}

int main(void)
{
#define CP_TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		CP_TEST(copies_are_the_same),
		CP_TEST(progress_may_stop_it),
		CP_TEST(failures_name_the_image),
		CP_TEST(a_commit_makes_the_base_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
