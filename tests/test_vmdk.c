/* test_vmdk.c - VMware disks: every kind, with qemu-img in both directions. */
#include "blocktest.h"

#include <errno.h>

#include "rng.h"

#define TV_SIZE    (8 * BT_MIB)
#define TV_SH(...) assert_int_equal(bt_shell(__VA_ARGS__), 0)

static uint8_t *tv_random(uint64_t seed, size_t len)
{
	struct rng r = { seed };
	uint8_t *p = malloc(len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(&r);
	return p;
}

static void tv_create(const char *name, const char *variant,
		      const char *backing)
{
	struct err err = { "" };
	struct block_create how = { .path = bt_path(name),
				    .format = "vmdk",
				    .size = backing ? 0 : TV_SIZE,
				    .backing = backing,
				    .variant = variant };

	if (block_create(&how, &err))
		fail_msg("%s", err.msg);
}

static struct block *tv_open(const char *name, bool readonly)
{
	struct block_open how = { .path = bt_path(name), .readonly = readonly };

	return bt_open(&how);
}

/* What we write, qemu reads. */
static void tv_ours(const char *variant)
{
	uint8_t *data = tv_random(1, BT_MIB);
	FILE *f = fopen(bt_path("raw"), "wb");
	struct block *b;

	assert_non_null(f);
	assert_int_equal(fseek(f, 3 << 16, SEEK_SET), 0);
	assert_int_equal(fwrite(data, 1, BT_MIB, f), BT_MIB);
	fclose(f);
	TV_SH("truncate -s %llu %s", TV_SIZE, bt_path("raw"));
	tv_create("d.vmdk", variant, NULL);
	b = tv_open("d.vmdk", false);
	assert_int_equal(block_write(b, data, 3 << 16, BT_MIB), 0);
	block_close(b);
	TV_SH("qemu-img compare -q -f raw -F vmdk %s %s", bt_path("raw"),
	      bt_path("d.vmdk"));
	TV_SH("qemu-img check -q -f vmdk %s", bt_path("d.vmdk"));
	b = tv_open("d.vmdk", true);
	bt_assert_bytes(b, 0, 3 << 16, 0);
	block_close(b);
	free(data);
}

static void sparse_of_ours(void **state)
{
	tv_ours("sparse");
}

static void stream_of_ours(void **state)
{
	tv_ours("stream");
}

static void flat_of_ours(void **state)
{
	tv_ours("flat");
}

/* What qemu writes, we read. */
static void kinds_of_theirs(void **state)
{
	static const char *const kinds[] = {
		"monolithicSparse", "streamOptimized", "monolithicFlat",
		"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"
	};

	TV_SH("head -c 1000000 /dev/zero | tr '\\0' '\\7' >%s", bt_path("r"));
	TV_SH("truncate -s %llu %s", TV_SIZE, bt_path("r"));
	for (unsigned i = 0; i < 5; i++) {
		struct block *b;

		TV_SH("qemu-img convert -f raw -O vmdk -o subformat=%s %s %s",
		      kinds[i], bt_path("r"), bt_path("q.vmdk"));
		b = tv_open("q.vmdk", true);
		assert_int_equal(b->size, TV_SIZE);
		bt_assert_bytes(b, 0, 1000000, 7);
		bt_assert_bytes(b, 1000000, BT_MIB, 0);
		block_close(b);
		TV_SH("rm -f %s*", bt_path("q"));
	}
}

static void a_child_reads_its_parent(void **state)
{
	struct block *b;

	tv_create("base.vmdk", NULL, NULL);
	b = tv_open("base.vmdk", false);
	bt_fill(b, 0, 200000, 1);
	block_close(b);
	tv_create("child.vmdk", NULL, "base.vmdk");
	b = tv_open("child.vmdk", false);
	bt_assert_bytes(b, 0, 200000, 1);
	bt_fill(b, 100, 1000, 2);
	block_close(b);
	b = tv_open("child.vmdk", true);
	bt_assert_bytes(b, 0, 100, 1);
	bt_assert_bytes(b, 100, 1000, 2);
	bt_assert_bytes(b, 1100, 150000, 1);
	block_close(b);
}

static void a_parent_that_changed_is_refused(void **state)
{
	struct block_open how = { 0 };
	struct block *b;

	tv_create("base.vmdk", NULL, NULL);
	tv_create("child.vmdk", NULL, "base.vmdk");
	b = tv_open("base.vmdk", false);
	bt_fill(b, 0, 512, 1);
	block_close(b);
	how.path = bt_path("child.vmdk");
	assert_non_null(strstr(bt_open_fails(&how, EIO), "written since"));
}

static void an_extent_elsewhere_is_refused(void **state)
{
	struct block_open how = { 0 };

	TV_SH("printf '# Disk DescriptorFile\\nCID=1\\nparentCID=ffffffff\\n"
	      "RW 8 FLAT \"/etc/passwd\" 0\\n' >%s",
	      bt_path("evil.vmdk"));
	how.path = bt_path("evil.vmdk");
	assert_non_null(strstr(bt_open_fails(&how, EPERM), "/etc/passwd"));
}

static void a_stream_is_only_read(void **state)
{
	struct block_open how = { 0 };
	struct block *b;

	tv_create("s.vmdk", "stream", NULL);
	b = tv_open("s.vmdk", false);
	bt_fill(b, 0, 65536, 3);
	block_close(b);
	how.path = bt_path("s.vmdk");
	assert_non_null(strstr(bt_open_fails(&how, EROFS), "convert"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(t) cmocka_unit_test_setup_teardown(t, bt_setup, bt_teardown)
		T(sparse_of_ours),
		T(stream_of_ours),
		T(flat_of_ours),
		T(kinds_of_theirs),
		T(a_child_reads_its_parent),
		T(a_parent_that_changed_is_refused),
		T(an_extent_elsewhere_is_refused),
		T(a_stream_is_only_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
