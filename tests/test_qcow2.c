/* test_qcow2.c - block/qcow2*.c: images that we make and write. */
#include "diskmodel.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "rng.h"

#define Q2_SIZE (24 * BT_MIB)

/* What a flush costs is not what is tested here (crash.c does). */
static struct block *q2_open(const char *name)
{
	struct block_open how = { .path = bt_path(name),
				  .cache = BLOCK_CACHE_UNSAFE };

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

struct q2_load {
	struct q2_thread t;
	_Atomic bool stop;
};

/* Requests of every kind, also such as a queue hands to io_uring. */
static void *q2_any_request(void *opaque)
{
	struct q2_load *l = opaque;
	struct rng r = { l->t.number };
	struct block_extent e;
	uint8_t buf[8192];

	memset(buf, (int)l->t.number + 1, sizeof(buf));
	while (!l->stop) {
		uint64_t at = rng_below(&r, Q2_SIZE / 4096 - 1) * 4096ull;
		struct iovec iov = { buf, 1 + rng_below(&r, sizeof(buf)) };
		int rc = 0;

		switch (rng_below(&r, 7)) {
		case 0:
			rc = block_discard(l->t.b, at,
					   BT_MIB < Q2_SIZE - at ? BT_MIB
								 : 4096);
			break;
		case 1:
			rc = block_map(l->t.b, at, 4096, true, BLOCK_NOWAIT,
				       &e);
			if (!rc)
				block_map_done(l->t.b, &e);
			break;
		case 2:
			rc = block_readv(l->t.b, &iov, 1, at, iov.iov_len, 0);
			memset(buf, (int)l->t.number + 1, sizeof(buf));
			break;
		case 3:
			rc = rng_one_in(&r, 20) ? block_flush(l->t.b) : 0;
			break;
		default:
			rc = block_writev(l->t.b, &iov, 1, at, iov.iov_len,
					  rng_below(&r, 2) ? BLOCK_NOWAIT : 0);
			break;
		}
		if (rc && rc != -EAGAIN)
			return opaque;
	}
	return NULL;
}

static void structure_changes_under_load(void **state)
{
	struct q2_load l[Q2_THREADS];
	pthread_t id[Q2_THREADS];
	struct block_check c;
	struct block *b;
	void *failed;

	q2_create(&(struct block_create){ .cluster_size = 4096 });
	b = q2_open("d");
	for (unsigned i = 0; i < Q2_THREADS; i++) {
		l[i].t = (struct q2_thread){ b, i };
		l[i].stop = false;
		pthread_create(&id[i], NULL, q2_any_request, &l[i]);
	}
	for (unsigned i = 0; i < 5; i++) {
		usleep(10000);
		assert_int_equal(b->ops->snapshot_create(b, "a", NULL), 0);
		usleep(10000);
		assert_int_equal(block_resize(b, Q2_SIZE + i * BT_MIB, NULL),
				 0);
		assert_int_equal(b->ops->check(b, 0, &c, NULL, NULL), 0);
		assert_int_equal(c.errors + c.leaks, 0);
		if (i % 2)
			assert_int_equal(b->ops->snapshot_apply(b, "a", NULL),
					 0);
		assert_int_equal(b->ops->snapshot_delete(b, "a", NULL), 0);
	}
	for (unsigned i = 0; i < Q2_THREADS; i++) {
		l[i].stop = true;
		pthread_join(id[i], &failed);
		assert_null(failed);
	}
	block_close(b);
	assert_int_equal(bt_shell("qemu-img check -q %s", bt_path("d")), 0);
}

/* --- Snapshots ------------------------------------------------------------ */

static void a_snapshot_brings_everything_back(void **state)
{
	struct diskmodel m[2];
	struct block *b;

	q2_create(&(struct block_create){ 0 });
	b = q2_open("d");
	for (int i = 0; i < 2; i++) {
		diskmodel_init(&m[i], Q2_SIZE);
		if (i)
			memcpy(m[1].bytes, m[0].bytes, Q2_SIZE);
		diskmodel_run(&m[i], b, 40 + (unsigned)i, 120);
		if (!i)
			assert_int_equal(b->ops->snapshot_create(b, "s", NULL),
					 0);
	}
	diskmodel_compare(&m[1], b);
	assert_int_equal(b->ops->snapshot_apply(b, "s", NULL), 0);
	diskmodel_compare(&m[0], b);
	diskmodel_run(&m[0], b, 44, 120);
	assert_int_equal(b->ops->snapshot_delete(b, "s", NULL), 0);
	diskmodel_compare(&m[0], b);
	block_close(b);
	diskmodel_qemu(&m[0], bt_path("d"), "qcow2");
	diskmodel_free(&m[0]);
	diskmodel_free(&m[1]);
}

static void snapshots_that_cannot_be_get_a_sentence(void **state)
{
	struct err err = { "" };
	struct block *b;

	q2_create(&(struct block_create){ .refcount_bits = 1 });
	b = q2_open("d");
	assert_int_equal(b->ops->snapshot_create(b, "s", &err), -EOVERFLOW);
	assert_non_null(strstr(err.msg, "1 bits"));
	assert_int_equal(b->ops->snapshot_apply(b, "none", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "no snapshot 'none'"));
	assert_int_equal(bt_fill(b, 0, 65536, 1), 0);
	block_close(b);
	q2_create(&(struct block_create){ 0 });
	b = q2_open("d");
	assert_int_equal(b->ops->snapshot_create(b, "s", &err), 0);
	assert_int_equal(b->ops->snapshot_create(b, "s", &err), -EEXIST);
	assert_int_equal(b->ops->snapshot_create(b, "", &err), -EINVAL);
	block_close(b);
}

/* --- Sizes ---------------------------------------------------------------- */

static void growing_adds_zeroes(void **state)
{
	struct block *b;
	struct err err;

	q2_create(&(struct block_create){ .cluster_size = 512 });
	b = q2_open("d");
	assert_int_equal(bt_fill(b, 0, Q2_SIZE, 0x31), 0);
	/* A larger L1 table, and refcounts for all of it. */
	if (block_resize(b, 60 * BT_MIB, &err))
		fail_msg("%s", err.msg);
	bt_assert_bytes(b, 0, Q2_SIZE, 0x31);
	bt_assert_bytes(b, Q2_SIZE, 36 * BT_MIB, 0);
	assert_int_equal(bt_fill(b, Q2_SIZE, 36 * BT_MIB, 0x32), 0);
	block_close(b);
	assert_int_equal(bt_shell("qemu-img check -q %s", bt_path("d")), 0);
	b = q2_open("d");
	assert_int_equal(b->size, 60 * BT_MIB);
	bt_assert_bytes(b, 0, Q2_SIZE, 0x31);
	bt_assert_bytes(b, Q2_SIZE, 36 * BT_MIB, 0x32);
	block_close(b);
}

static void shrinking_gives_back_and_forgets(void **state)
{
	struct block_info info;
	struct block_open how = { .path = bt_path("d"), .discard = true };
	struct block *b;

	q2_create(&(struct block_create){ 0 });
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 0, Q2_SIZE, 0x31), 0);
	assert_int_equal(block_resize(b, BT_MIB + 512, NULL), 0);
	assert_int_equal(bt_fill(b, BT_MIB + 512, 512, 1), -EINVAL);
	assert_int_equal(block_resize(b, Q2_SIZE, NULL), 0);
	bt_assert_bytes(b, 0, BT_MIB + 512, 0x31);
	bt_assert_bytes(b, BT_MIB + 512, 2 * BT_MIB, 0);
	assert_int_equal(block_get_info(b, &info), 0);
	assert_true(info.allocated < 2 * BT_MIB);
	block_close(b);
	assert_int_equal(bt_shell("qemu-img check -q %s", bt_path("d")), 0);
}

static void growing_over_a_longer_base_does_not_show_it(void **state)
{
	struct block *b;

	q2_create(&(struct block_create){ .path = "base" });
	b = q2_open("base");
	assert_int_equal(bt_fill(b, 0, Q2_SIZE, 0x55), 0);
	block_close(b);
	q2_create(&(struct block_create){ .backing = "base",
					  .size = 2 * BT_MIB });
	b = q2_open("d");
	assert_int_equal(block_resize(b, 3 * BT_MIB, NULL), 0);
	bt_assert_bytes(b, BT_MIB, BT_MIB, 0x55);
	bt_assert_bytes(b, 2 * BT_MIB, BT_MIB, 0);
	block_close(b);
}

/* --- Compression ---------------------------------------------------------- */

static void q2_packed(const struct block_create *how)
{
	struct block_check c;
	uint8_t *buf = malloc(BT_MIB);
	struct iovec iov = { buf, BT_MIB };
	struct rng r = { 1 };
	struct block *b;

	for (size_t i = 0; i < BT_MIB; i++)
		buf[i] = i < BT_MIB / 2 ? (uint8_t)(i >> 10)
					: (uint8_t)rng_next(&r);
	q2_create(how);
	b = q2_open("d");
	for (int i = 0; i < 3; i++)
		assert_int_equal(block_writev(b, &iov, 1, (uint64_t)i * BT_MIB,
					      BT_MIB, BLOCK_COMPRESS),
				 0);
	/* Over one, and into the middle of one. */
	assert_int_equal(
		block_writev(b, &iov, 1, BT_MIB, BT_MIB, BLOCK_COMPRESS), 0);
	assert_int_equal(bt_fill(b, 1000, 100, 0xee), 0);
	bt_assert_bytes(b, 1000, 100, 0xee);
	assert_int_equal(block_read(b, buf, 0, 1000), 0);
	assert_int_equal(buf[999], 0);
	bt_assert_bytes(b, 1100, 900, 1);
	block_close(b);
	assert_int_equal(bt_shell("qemu-img check -q %s", bt_path("d")), 0);
	b = q2_open("d");
	bt_assert_bytes(b, 2 * BT_MIB + 5120, 1024, 5);
	assert_int_equal(b->ops->check(b, 0, &c, NULL, NULL), 0);
	assert_int_equal(c.errors + c.leaks, 0);
	block_close(b);
	free(buf);
}

static void compressed_writes_zlib(void **state)
{
	q2_packed(&(struct block_create){ 0 });
	q2_packed(&(struct block_create){ .cluster_size = 2 << 20 });
	q2_packed(&(struct block_create){ .cluster_size = 1024 });
	/* Each host cluster can hold parts of one only. */
	q2_packed(&(struct block_create){ .refcount_bits = 1 });
}

static void compressed_writes_zstd(void **state)
{
	q2_packed(&(struct block_create){ .compression = "zstd" });
}

/* --- A host that fails ---------------------------------------------------- */

static void a_full_host_disk_breaks_nothing(void **state)
{
	struct block_open how = { .cache = BLOCK_CACHE_UNSAFE };
	struct diskmodel m;
	struct block *b;
	char rules[64];

	for (unsigned after = 0; after < 60; after++) {
		int rc = 0;

		/* In every other round the tables are small and must grow. */
		q2_create(&(struct block_create){
			.cluster_size = after % 2 ? 512 : 4096,
			.size = BT_MIB });
		b = q2_open("d");
		assert_int_equal(block_resize(b, Q2_SIZE, NULL), 0);
		block_close(b);
		sprintf(rules, "file.write:after=%u:count=3:error=ENOSPC",
			after);
		how.fault = rules;
		how.path = bt_path("d");
		b = bt_open(&how);
		diskmodel_init(&m, Q2_SIZE);
		for (unsigned i = 0; i < 30; i++) {
			uint64_t at = i * 700000ull;

			/* What failed may be tried again, and works. */
			for (unsigned k = 0; k < 9; k++) {
				rc = bt_fill(b, at, 9000, (uint8_t)(i + 1));
				if (!rc)
					rc = i % 7 ? 0 : block_flush(b);
				if (rc != -ENOSPC)
					break;
			}
			assert_int_equal(rc, 0);
			memset(m.bytes + at, (int)i + 1, 9000);
		}
		assert_int_equal(block_flush(b), 0);
		diskmodel_compare(&m, b);
		block_close(b);
		if (after % 10 < 2)
			diskmodel_qemu(&m, bt_path("d"), "qcow2");
		diskmodel_free(&m);
	}
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
		Q2_TEST(structure_changes_under_load),
		Q2_TEST(a_snapshot_brings_everything_back),
		Q2_TEST(snapshots_that_cannot_be_get_a_sentence),
		Q2_TEST(growing_adds_zeroes),
		Q2_TEST(shrinking_gives_back_and_forgets),
		Q2_TEST(growing_over_a_longer_base_does_not_show_it),
		Q2_TEST(compressed_writes_zlib),
		Q2_TEST(compressed_writes_zstd),
		Q2_TEST(a_full_host_disk_breaks_nothing),
		Q2_TEST(an_overlay_reads_through_and_keeps_its_own),
		Q2_TEST(an_overlay_longer_than_its_base_ends_in_zeroes),
		Q2_TEST(a_discard_hides_the_base),
		Q2_TEST(map_gives_data_that_may_be_overwritten),
		Q2_TEST(what_is_pinned_is_not_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
