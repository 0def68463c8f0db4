/* test_qcow2.c - block/qcow2*.c: images that we make and write. */
#include "diskmodel.h"

#include <errno.h>
#include <pthread.h>

#include "rng.h"

#define Q2_SIZE (24 * BT_MIB)

static struct block *q2_open(const char *name)
{
	struct block_open how = { .path = bt_path(name) };

	return bt_open(&how);
}

static void q2_create(const struct block_create *how)
{
	struct block_create c = *how;
	struct err err = { "" };

	c.path = bt_path(how->path ? how->path : "d");
	c.format = "qcow2";
	c.force = true;
	if (!c.size && !c.backing)
		c.size = Q2_SIZE;
	if (block_create(&c, &err))
		fail_msg("%s", err.msg);
}

/* Random requests in three sessions; qemu agrees after each. */
static void q2_exercise(const struct block_create *how)
{
	struct diskmodel m;

	q2_create(how);
	diskmodel_init(&m, Q2_SIZE);
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct block *b = q2_open("d");

		diskmodel_run(&m, b, seed, 150);
		diskmodel_compare(&m, b);
		block_close(b);
		diskmodel_qemu(&m, bt_path("d"), "qcow2");
	}
	diskmodel_free(&m);
}

static void random_writes_version_3(void **state)
{
	q2_exercise(&(struct block_create){ 0 });
}

static void random_writes_version_2(void **state)
{
	q2_exercise(&(struct block_create){ .variant = "v2" });
}

static void random_writes_clusters_of_512_bytes(void **state)
{
	q2_exercise(&(struct block_create){ .cluster_size = 512 });
}

static void random_writes_clusters_of_2_mib(void **state)
{
	q2_exercise(&(struct block_create){ .cluster_size = 2 << 20 });
}

static void random_writes_every_refcount_width(void **state)
{
	for (unsigned bits = 1; bits <= 64; bits *= 2)
		q2_exercise(&(struct block_create){ .cluster_size = 4096,
						    .refcount_bits = bits });
}

static void random_writes_thick_disks(void **state)
{
	for (int p = BLOCK_PREALLOC_METADATA; p <= BLOCK_PREALLOC_FULL; p++)
		q2_exercise(&(struct block_create){ .prealloc = p });
}

/* --- Threads -------------------------------------------------------------- */

#define Q2_THREADS 4

struct q2_thread {
	struct block *b;
	unsigned number;
};

/*
 * Each thread owns every fourth sector and fills them in random order, so
 * that all allocate in the same clusters at once.
 */
static void *q2_interleave(void *opaque)
{
	struct q2_thread *t = opaque;
	struct rng r = { t->number };
	uint8_t sector[512];

	for (unsigned i = 0; i < 4000; i++) {
		uint64_t s = rng_below(&r, 4 * BT_MIB / 512 / Q2_THREADS);

		s = s * Q2_THREADS + t->number;
		memset(sector, (int)(s % 251 + 1), sizeof(sector));
		if (block_write(t->b, sector, s * 512, 512))
			return opaque;
		if (rng_one_in(&r, 200) && block_flush(t->b))
			return opaque;
	}
	return NULL;
}

static void threads_may_write_the_same_clusters(void **state)
{
	struct q2_thread t[Q2_THREADS];
	pthread_t id[Q2_THREADS];
	uint8_t sector[512];
	struct block *b;
	void *failed;

	q2_create(&(struct block_create){ 0 });
	b = q2_open("d");
	for (unsigned i = 0; i < Q2_THREADS; i++) {
		t[i] = (struct q2_thread){ b, i };
		pthread_create(&id[i], NULL, q2_interleave, &t[i]);
	}
	for (unsigned i = 0; i < Q2_THREADS; i++) {
		pthread_join(id[i], &failed);
		assert_null(failed);
	}
	for (uint64_t s = 0; s < 4 * BT_MIB / 512; s++) {
		assert_int_equal(block_read(b, sector, s * 512, 512), 0);
		assert_true(sector[0] == 0 || sector[0] == s % 251 + 1);
		assert_memory_equal(sector, sector + 1, 511);
	}
	block_close(b);
	assert_int_equal(bt_shell("qemu-img check -q %s", bt_path("d")), 0);
}

/* --- Overlays ------------------------------------------------------------- */

static void an_overlay_reads_through_and_keeps_its_own(void **state)
{
	struct diskmodel m;
	struct block *b;

	q2_create(&(struct block_create){ .path = "base" });
	b = q2_open("base");
	assert_int_equal(bt_fill(b, 12345, 5 * BT_MIB, 0x77), 0);
	block_close(b);
	q2_create(&(struct block_create){ .backing = "base",
					  .backing_format = "qcow2" });
	diskmodel_init(&m, Q2_SIZE);
	b = q2_open("d");
	assert_int_equal(b->size, Q2_SIZE);
	diskmodel_load(&m, b);
	assert_int_equal(m.bytes[12345], 0x77);
	diskmodel_run(&m, b, 7, 200);
	diskmodel_compare(&m, b);
	block_close(b);
	diskmodel_qemu(&m, bt_path("d"), "qcow2");
	diskmodel_free(&m);
	b = q2_open("base");
	bt_assert_bytes(b, 12345, 5 * BT_MIB, 0x77);
	block_close(b);
}

static void an_overlay_longer_than_its_base_ends_in_zeroes(void **state)
{
	struct block *b;

	q2_create(
		&(struct block_create){ .path = "base", .size = BT_MIB + 512 });
	b = q2_open("base");
	assert_int_equal(bt_fill(b, 0, BT_MIB + 512, 0x55), 0);
	block_close(b);
	q2_create(&(struct block_create){ .backing = "base",
					  .size = 3 * BT_MIB });
	b = q2_open("d");
	bt_assert_bytes(b, BT_MIB, 512, 0x55);
	bt_assert_bytes(b, BT_MIB + 512, BT_MIB, 0);
	/* A copy of the cluster across the end. */
	assert_int_equal(bt_fill(b, BT_MIB + 8192, 512, 0x66), 0);
	bt_assert_bytes(b, BT_MIB, 512, 0x55);
	bt_assert_bytes(b, BT_MIB + 512, 7680, 0);
	bt_assert_bytes(b, BT_MIB + 8192, 512, 0x66);
	block_close(b);
}

static void a_discard_hides_the_base(void **state)
{
	struct block *b;

	q2_create(&(struct block_create){ .path = "base" });
	b = q2_open("base");
	assert_int_equal(bt_fill(b, 0, BT_MIB, 0x55), 0);
	block_close(b);
	q2_create(&(struct block_create){ .backing = "base" });
	b = q2_open("d");
	assert_int_equal(block_discard(b, 65536, 65536), 0);
	bt_assert_bytes(b, 0, 65536, 0x55);
	bt_assert_bytes(b, 65536, 65536, 0);
	bt_assert_bytes(b, 131072, 65536, 0x55);
	block_close(b);
}

/* --- Where it lies -------------------------------------------------------- */

static void map_gives_data_that_may_be_overwritten(void **state)
{
	struct block_extent e;
	struct block *b;

	q2_create(&(struct block_create){ 0 });
	b = q2_open("d");
	assert_int_equal(block_map(b, 0, BT_MIB, true, 0, &e), 0);
	assert_int_equal(e.type, BLOCK_EXTENT_HOLE);
	assert_int_equal(bt_fill(b, 0, BT_MIB, 0x11), 0);
	assert_int_equal(
		block_map(b, 4096, BT_MIB - 4096, true, BLOCK_NOWAIT, &e), 0);
	assert_int_equal(e.type, BLOCK_EXTENT_DATA);
	assert_true(e.fd >= 0);
	assert_int_equal(e.length, BT_MIB - 4096);
	block_map_done(b, &e);
	assert_int_equal(block_zero(b, 0, 65536, BLOCK_UNMAP), 0);
	assert_int_equal(block_map(b, 0, BT_MIB, false, 0, &e), 0);
	assert_int_not_equal(e.type, BLOCK_EXTENT_DATA);
	assert_int_equal(e.length, 65536);
	block_close(b);
}

static void what_is_pinned_is_not_used_again(void **state)
{
	struct block_extent e, again;
	struct block *b;

	q2_create(&(struct block_create){ 0 });
	b = q2_open("d");
	assert_int_equal(bt_fill(b, 0, 65536, 0x11), 0);
	assert_int_equal(block_map(b, 0, 65536, true, 0, &e), 0);
	assert_int_equal(block_discard(b, 0, 65536), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(block_flush(b), 0);
	assert_int_equal(bt_fill(b, 65536, 65536, 0x22), 0);
	assert_int_equal(block_map(b, 65536, 65536, true, 0, &again), 0);
	assert_int_not_equal(e.fd_offset, again.fd_offset);
	block_map_done(b, &again);
	block_map_done(b, &e);
	for (int i = 0; i < 3; i++)
		assert_int_equal(block_flush(b), 0);
	assert_int_equal(bt_fill(b, 131072, 65536, 0x33), 0);
	assert_int_equal(block_map(b, 131072, 65536, true, 0, &again), 0);
	assert_int_equal(e.fd_offset, again.fd_offset);
	block_map_done(b, &again);
	block_close(b);
}

int main(void)
{
#define Q2_TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		Q2_TEST(random_writes_version_3),
		Q2_TEST(random_writes_version_2),
		Q2_TEST(random_writes_clusters_of_512_bytes),
		Q2_TEST(random_writes_clusters_of_2_mib),
		Q2_TEST(random_writes_every_refcount_width),
		Q2_TEST(random_writes_thick_disks),
		Q2_TEST(threads_may_write_the_same_clusters),
		Q2_TEST(an_overlay_reads_through_and_keeps_its_own),
		Q2_TEST(an_overlay_longer_than_its_base_ends_in_zeroes),
		Q2_TEST(a_discard_hides_the_base),
		Q2_TEST(map_gives_data_that_may_be_overwritten),
		Q2_TEST(what_is_pinned_is_not_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
