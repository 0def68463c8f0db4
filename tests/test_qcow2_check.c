/* test_qcow2_check.c - block/qcow2_check.c, qcow2_repair.c: what is wrong is
 * found, as by qemu-img, and mended. */
#include "blocktest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define QC_CLUSTER 65536u
#define QC_COPIED  (1ull << 63)

/* 24 clusters of data, and a snapshot if asked for. */
static void qc_image(bool snapshot)
{
	struct block_open how = { .path = bt_path("d") };
	struct block *b;

	bt_shell("rm -f %s", how.path);
	bt_create("d", "qcow2", 32 * BT_MIB);
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 0, 24 * QC_CLUSTER, 0x5a), 0);
	if (snapshot)
		assert_int_equal(b->ops->snapshot_create(b, "s", NULL), 0);
	block_close(b);
}

static uint64_t qc_get(uint64_t offset, unsigned bytes)
{
	int fd = open(bt_path("d"), O_RDONLY);
	uint64_t v = 0;

	assert_int_equal(pread(fd, &v, bytes, (off_t)offset), bytes);
	close(fd);
	return be64toh(v) >> (64 - 8 * bytes);
}

static void qc_put(uint64_t offset, unsigned bytes, uint64_t v)
{
	int fd = open(bt_path("d"), O_WRONLY);

	v = htobe64(v << (64 - 8 * bytes));
	assert_int_equal(pwrite(fd, &v, bytes, (off_t)offset), bytes);
	close(fd);
}

static uint64_t qc_refcount_at(uint64_t cluster)
{
	return qc_get(qc_get(48, 8), 8) + 2 * cluster;
}

static uint64_t qc_l1(void)
{
	return qc_get(40, 8);
}

static uint64_t qc_l2_at(unsigned i)
{
	return (qc_get(qc_l1(), 8) & ~QC_COPIED) + 8ull * i;
}

static struct block_check qc_check(unsigned repair)
{
	struct block_open how = { .path = bt_path("d"),
				  .readonly = !repair,
				  .repair = repair };
	struct block *b = bt_open(&how);
	struct block_check c;
	struct err err;

	if (b->ops->check(b, repair, &c, NULL, &err))
		fail_msg("%s", err.msg);
	block_close(b);
	return c;
}

/* 0: all is well; 2: errors; 3: leaks. */
static int qc_qemu(void)
{
	return bt_shell("qemu-img check %s >/dev/null 2>&1", bt_path("d"));
}

/* Errors are found by both, mended, and the data is what it was. */
static void qc_finds_and_mends(void)
{
	struct block_open how = { .path = bt_path("d") };
	struct block *b;

	assert_true(qc_check(0).errors > 0);
	assert_int_equal(qc_qemu(), 2);
	assert_true(qc_check(2).fixed_errors > 0);
	assert_int_equal(qc_check(0).errors, 0);
	assert_int_equal(qc_qemu(), 0);
	b = bt_open(&how);
	bt_assert_bytes(b, 0, 24 * QC_CLUSTER, 0x5a);
	assert_int_equal(bt_fill(b, 2 * BT_MIB, 24 * QC_CLUSTER, 0x11), 0);
	bt_assert_bytes(b, 0, 24 * QC_CLUSTER, 0x5a);
	block_close(b);
	assert_int_equal(qc_qemu(), 0);
}

static void a_good_image_has_nothing_wrong(void **state)
{
	struct block_check c;

	qc_image(true);
	c = qc_check(0);
	assert_int_equal(c.errors, 0);
	assert_int_equal(c.leaks, 0);
	assert_int_equal(c.allocated_clusters, 24);
	assert_int_equal(c.total_clusters, 512);
}

static void leaks_are_found_and_mended(void **state)
{
	struct block_check c;

	qc_image(false);
	qc_put(qc_refcount_at(500), 2, 1);
	qc_put(qc_refcount_at(501), 2, 7);
	qc_put(qc_refcount_at(6), 2, 2);
	c = qc_check(0);
	assert_int_equal(c.leaks, 3);
	c = qc_check(2);
	assert_int_equal(c.fixed_leaks, 3);
	assert_int_equal(c.leaks + c.errors, 0);
	assert_int_equal(qc_qemu(), 0);
}

static void a_refcount_of_0_is_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_refcount_at(8), 2, 0);
	qc_finds_and_mends();
}

static void a_missing_refcount_block_is_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_get(48, 8), 8, 0);
	qc_finds_and_mends();
}

static void a_refcount_block_outside_the_file_is_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_get(48, 8), 8, 1ull << 40);
	qc_finds_and_mends();
}

static void copied_that_is_wrong_is_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_l2_at(3), 8, qc_get(qc_l2_at(3), 8) & ~QC_COPIED);
	qc_finds_and_mends();
	qc_image(true);
	qc_put(qc_l2_at(3), 8, qc_get(qc_l2_at(3), 8) | QC_COPIED);
	qc_finds_and_mends();
	qc_image(false);
	qc_put(qc_l1(), 8, qc_get(qc_l1(), 8) & ~QC_COPIED);
	qc_finds_and_mends();
}

static void two_references_to_one_cluster_are_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_l2_at(30), 8, qc_get(qc_l2_at(3), 8));
	qc_finds_and_mends();
}

static void an_entry_that_is_no_place_is_an_error(void **state)
{
	qc_image(false);
	qc_put(qc_l2_at(400), 8, QC_COPIED | (3 * QC_CLUSTER + 512));
	assert_int_equal(qc_check(0).errors, 1);
	assert_int_equal(qc_qemu(), 2);
	qc_put(qc_l2_at(400), 8, QC_COPIED | 1ull << 50);
	assert_int_equal(qc_check(0).errors, 1);
	assert_int_equal(qc_qemu(), 2);
	/* What data was meant nobody knows: it is left alone. */
	assert_int_equal(qc_check(2).errors, 1);
}

/* --- The guest's side ----------------------------------------------------- */

static void tables_are_not_overwritten_with_data(void **state)
{
	struct block_open how = { .path = bt_path("d") };
	struct block *b;

	qc_image(false);
	qc_put(qc_l2_at(30), 8, QC_COPIED | qc_l1());
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 30 * QC_CLUSTER, 512, 0xff), -EIO);
	/* From then on nothing is written, but all can be read. */
	assert_int_equal(bt_fill(b, 0, 512, 0xff), -EIO);
	bt_assert_bytes(b, 0, 24 * QC_CLUSTER, 0x5a);
	block_close(b);
	assert_non_null(strstr(bt_open_fails(&how, EIO), "hostel disk repair"));
	how.readonly = true;
	b = bt_open(&how);
	bt_assert_bytes(b, 0, 24 * QC_CLUSTER, 0x5a);
	block_close(b);
}

static void free_clusters_that_are_tables_are_not_taken(void **state)
{
	struct block_open how = { .path = bt_path("d") };
	struct block *b;

	qc_image(false);
	for (unsigned i = 0; i < 5; i++)
		qc_put(qc_refcount_at(i), 2, 0);
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 8 * BT_MIB, 512, 0xff), -EIO);
	block_close(b);
	qc_finds_and_mends();
}

static void tables_that_overlap_are_refused_for_writing(void **state)
{
	struct block_open how = { .path = bt_path("d") };

	qc_image(false);
	qc_put(qc_l1(), 8, QC_COPIED | qc_get(48, 8));
	assert_non_null(strstr(bt_open_fails(&how, EIO), "other metadata"));
}

static void places_outside_the_file_give_eio(void **state)
{
	struct block_open how = { .path = bt_path("d"), .readonly = true };
	struct block *b;
	char buf[512];

	qc_image(false);
	qc_put(qc_l2_at(3), 8, 1ull << 50);
	b = bt_open(&how);
	assert_int_equal(block_read(b, buf, 3 * QC_CLUSTER, 512), -EIO);
	bt_assert_bytes(b, 0, 3 * QC_CLUSTER, 0x5a);
	block_close(b);
}

static void impossible_headers_get_a_sentence(void **state)
{
	static const struct {
		unsigned offset, bytes;
		uint64_t value;
		int code;
		const char *word;
	} cases[] = {
		{ 4, 4, 4, ENOTSUP, "version" },
		{ 20, 4, 8, EIO, "cluster size" },
		{ 20, 4, 22, EIO, "cluster size" },
		{ 24, 8, UINT64_MAX, EIO, "size" },
		{ 32, 4, 1, ENOTSUP, "encrypted" },
		{ 36, 4, 0, EIO, "L1" },
		{ 36, 4, UINT32_MAX, EIO, "L1" },
		{ 40, 8, 512, EIO, "L1" },
		{ 40, 8, 1ull << 50, EIO, "L1" },
		{ 48, 8, 0, EIO, "refcount table" },
		{ 48, 8, 1ull << 50, EIO, "refcount table" },
		{ 56, 4, 0, EIO, "refcount table" },
		{ 56, 4, UINT32_MAX, EIO, "refcount table" },
		{ 60, 4, 70000, EIO, "snapshot" },
		{ 60, 4, 3, EIO, "snapshot" },
		{ 72, 8, 4, ENOTSUP, "another file" },
		{ 72, 8, 1 << 20, ENOTSUP, "features" },
		{ 96, 4, 7, EIO, "refcounts" },
		{ 100, 4, 3, EIO, "header" },
		{ 8, 8, 1ull << 40, EIO, "backing" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct block_open how = { .path = bt_path("d") };
		const char *said;

		bt_shell("rm -f %s", bt_path("d"));
		qc_image(false);
		qc_put(cases[i].offset, cases[i].bytes, cases[i].value);
		said = bt_open_fails(&how, cases[i].code);
		if (!strstr(said, cases[i].word) || !strstr(said, how.path))
			fail_msg("case %zu: %s", i, said);
	}
}

static void the_dirty_bit_has_counts_made_anew(void **state)
{
	struct block_open how = { .path = bt_path("d") };
	struct block *b;

	qc_image(false);
	qc_put(qc_refcount_at(8), 2, 0);
	qc_put(72, 8, 1);
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 8 * BT_MIB, 512, 0xff), 0);
	bt_assert_bytes(b, 0, 24 * QC_CLUSTER, 0x5a);
	block_close(b);
	assert_int_equal(qc_get(72, 8), 0);
	assert_int_equal(qc_qemu(), 0);
}

static void bitmaps_are_kept_and_marked_as_out_of_date(void **state)
{
	struct block_open how = { .path = bt_path("d"), .readonly = true };
	struct block *b;

	qc_image(false);
	assert_int_equal(bt_shell("qemu-img bitmap --add %s m", bt_path("d")),
			 0);
	assert_int_equal(qc_get(88, 8), 1);
	assert_int_equal(qc_check(0).leaks + qc_check(0).errors, 0);
	b = bt_open(&how);
	block_close(b);
	assert_int_equal(qc_get(88, 8), 1);
	how.readonly = false;
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 0, 512, 1), 0);
	block_close(b);
	assert_int_equal(qc_get(88, 8), 0);
}

int main(void)
{
#define QC_TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		QC_TEST(a_good_image_has_nothing_wrong),
		QC_TEST(leaks_are_found_and_mended),
		QC_TEST(a_refcount_of_0_is_an_error),
		QC_TEST(a_missing_refcount_block_is_an_error),
		QC_TEST(a_refcount_block_outside_the_file_is_an_error),
		QC_TEST(copied_that_is_wrong_is_an_error),
		QC_TEST(two_references_to_one_cluster_are_an_error),
		QC_TEST(an_entry_that_is_no_place_is_an_error),
		QC_TEST(tables_are_not_overwritten_with_data),
		QC_TEST(free_clusters_that_are_tables_are_not_taken),
		QC_TEST(tables_that_overlap_are_refused_for_writing),
		QC_TEST(places_outside_the_file_give_eio),
		QC_TEST(impossible_headers_get_a_sentence),
		QC_TEST(the_dirty_bit_has_counts_made_anew),
		QC_TEST(bitmaps_are_kept_and_marked_as_out_of_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
