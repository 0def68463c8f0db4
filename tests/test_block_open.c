/* test_block_open.c - block/format.c, create.c, lock.c: who may open what. */
#include "blocktest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct block_open image(const char *name)
{
	return (struct block_open){ .path = bt_path(name) };
}

static void a_missing_file_is_named(void **state)
{
	struct block_open how = image("none");

	assert_non_null(strstr(bt_open_fails(&how, ENOENT), how.path));
}

static void a_directory_is_no_disk(void **state)
{
	struct block_open how = image("");

	how.readonly = true;
	assert_non_null(strstr(bt_open_fails(&how, EINVAL), "neither a file"));
}

static void an_unknown_format_is_refused(void **state)
{
	struct block_open how = image("d");

	bt_create("d", "raw", BT_MIB);
	how.format = "vdi";
	assert_non_null(strstr(bt_open_fails(&how, EINVAL), "'vdi'"));
}

static void a_directory_without_permission_is_named(void **state)
{
	struct block_create how = { .path = bt_path("ro/d"),
				    .format = "raw",
				    .size = BT_MIB };
	struct err err;

	mkdir(bt_path("ro"), 0555);
	chmod(bt_path(""), 0755);
	if (geteuid() == 0 && seteuid(65534)) /* root may write anywhere */
		skip();
	assert_int_equal(block_create(&how, &err), -EACCES);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_non_null(strstr(err.msg, "no permission to write"));
}

static void writers_exclude_everyone(void **state)
{
	struct block_open how = image("d"), reader = how;
	struct block *a, *b;

	bt_create("d", "raw", BT_MIB);
	how.path = reader.path = bt_path("d");
	reader.readonly = true;
	a = bt_open(&how);
	assert_non_null(strstr(bt_open_fails(&how, EBUSY), "in use"));
	assert_non_null(strstr(bt_open_fails(&reader, EBUSY), "written"));
	reader.no_lock = true;
	b = bt_open(&reader);
	block_close(b);
	block_close(a);
	reader.no_lock = false;
	a = bt_open(&reader);
	b = bt_open(&reader);
	bt_open_fails(&how, EBUSY);
	block_close(a);
	block_close(b);
	block_close(bt_open(&how));
}

static void qemu_and_we_respect_each_other(void **state)
{
	struct block_open how = image("d");
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = bt_open(&how);
	assert_int_not_equal(bt_shell("qemu-img resize -f raw %s 2M "
				      ">/dev/null 2>&1",
				      how.path),
			     0);
	assert_int_equal(bt_shell("qemu-img info -U -f raw %s >/dev/null 2>&1",
				  how.path),
			 0);
	block_close(b);
	assert_int_equal(
		bt_shell("qemu-img info -f raw %s >/dev/null 2>&1", how.path),
		0);
}

static void qemu_io_holds_us_off(void **state)
{
	struct block_open how = image("d");
	char line[256], command[512];
	FILE *qemu;

	bt_create("d", "raw", BT_MIB);
	snprintf(command, sizeof(command),
		 "{ sleep 0.1; echo 'write 0 512'; echo 'sleep 700'; } | "
		 "qemu-io -f raw %s 2>&1",
		 how.path);
	qemu = popen(command, "r");
	assert_non_null(qemu);
	assert_non_null(fgets(line, sizeof(line), qemu));
	bt_open_fails(&how, EBUSY);
	while (fgets(line, sizeof(line), qemu))
		;
	pclose(qemu);
	block_close(bt_open(&how));
}

static void create_replaces_only_when_told(void **state)
{
	struct block_create how = { .path = bt_path("d"),
				    .format = "raw",
				    .size = BT_MIB };
	struct block_open open = image("d");
	struct block *b;
	struct err err;

	assert_int_equal(block_create(&how, &err), 0);
	assert_int_equal(block_create(&how, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "--force"));
	how.force = true;
	how.size = 2 * BT_MIB;
	open.path = how.path;
	b = bt_open(&open);
	assert_int_equal(block_create(&how, &err), -EBUSY);
	assert_int_equal(b->size, BT_MIB);
	block_close(b);
	assert_int_equal(block_create(&how, &err), 0);
	b = bt_open(&open);
	assert_int_equal(b->size, 2 * BT_MIB);
	block_close(b);
}

static int stop_at_once(void *opaque, uint64_t done, uint64_t total)
{
	return 1;
}

static void a_stopped_creation_leaves_nothing(void **state)
{
	struct block_create how = { .path = bt_path("d"),
				    .format = "raw",
				    .size = 8 * BT_MIB,
				    .prealloc = BLOCK_PREALLOC_FULL,
				    .progress = stop_at_once };
	struct err err;

	assert_int_equal(block_create(&how, &err), -ECANCELED);
	assert_int_equal(bt_shell("test -z \"$(ls -A %s)\"", bt_path("")), 0);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	struct block_create how = { .path = bt_path("d"), .format = "raw" };
	struct err err;

	assert_int_equal(block_create(&how, &err), -EINVAL);
	how.size = 1000;
	assert_int_equal(block_create(&how, &err), -EINVAL);
	how.size = UINT64_MAX & ~511ull;
	assert_int_equal(block_create(&how, &err), -EINVAL);
}

static const char *link_name(unsigned i)
{
	static char name[2][16];

	snprintf(name[i & 1], sizeof(name[0]), "l%u", i);
	return name[i & 1];
}

/* l0 is raw, each of the others has the one before it as backing file. */
static void make_chain(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		struct block_create how = { .path = bt_path(link_name(i)),
					    .format = "qcow2",
					    .backing = link_name(i - 1) };
		struct err err;

		how.backing_format = i == 1 ? "raw" : "qcow2";
		if (block_create(&how, &err))
			fail_msg("%s", err.msg);
	}
}

static void a_chain_has_an_end(void **state)
{
	struct block_open how = { .format = "qcow2" };
	struct block *b;

	bt_create("l0", "raw", BT_MIB);
	make_chain(1, BLOCK_CHAIN_MAX + 1);
	how.path = bt_path(link_name(BLOCK_CHAIN_MAX));
	b = bt_open(&how);
	assert_int_equal(b->size, BT_MIB);
	bt_assert_bytes(b, 0, BT_MIB, 0);
	block_close(b);
	make_chain(BLOCK_CHAIN_MAX + 1, BLOCK_CHAIN_MAX + 2);
	how.path = bt_path(link_name(BLOCK_CHAIN_MAX + 1));
	assert_non_null(strstr(bt_open_fails(&how, ELOOP), "64 backing"));
}

static void a_missing_backing_file_is_named(void **state)
{
	struct block_open how = { .format = "qcow2" };
	const char *said;

	bt_create("l0", "raw", BT_MIB);
	make_chain(1, 2);
	unlink(bt_path("l0"));
	how.path = bt_path("l1");
	said = bt_open_fails(&how, ENOENT);
	assert_non_null(strstr(said, "backing file of"));
	assert_non_null(strstr(said, "l0: No such file"));
}

static void a_loop_is_found_before_anything_is_locked(void **state)
{
	struct block_open how = { .format = "qcow2" };

	bt_create("l0", "raw", BT_MIB);
	make_chain(1, 3);
	unlink(bt_path("l1"));
	assert_int_equal(symlink("l2", bt_path("l1")), 0);
	how.path = bt_path("l2");
	assert_non_null(strstr(bt_open_fails(&how, ELOOP), "loop"));
}

/* Two guests may stand on one image, which nobody can write then. */
static void a_backing_file_is_shared_and_kept(void **state)
{
	struct block_open top = { .format = "qcow2" };
	struct block_open base = { .format = "raw" };
	struct block_create other = { .format = "qcow2",
				      .backing = "l0",
				      .backing_format = "raw" };
	struct block *a, *b;
	struct err err;

	bt_create("l0", "raw", BT_MIB);
	make_chain(1, 2);
	other.path = bt_path("o");
	assert_int_equal(block_create(&other, &err), 0);
	top.path = bt_path("l1");
	a = bt_open(&top);
	top.path = bt_path("o");
	b = bt_open(&top);
	base.path = bt_path("l0");
	assert_non_null(strstr(bt_open_fails(&base, EBUSY), "in use"));
	block_close(a);
	block_close(b);
	block_close(bt_open(&base));
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_missing_file_is_named),
		T(a_directory_is_no_disk),
		T(an_unknown_format_is_refused),
		T(a_directory_without_permission_is_named),
		T(writers_exclude_everyone),
		T(qemu_and_we_respect_each_other),
		T(qemu_io_holds_us_off),
		T(create_replaces_only_when_told),
		T(a_stopped_creation_leaves_nothing),
		T(sizes_that_cannot_be_are_refused),
		T(a_chain_has_an_end),
		T(a_missing_backing_file_is_named),
		T(a_loop_is_found_before_anything_is_locked),
		T(a_backing_file_is_shared_and_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
