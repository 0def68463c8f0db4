/* test_qcow2_qemu.c - images between qemu-img and us, in both directions. */
#include "diskmodel.h"

#include <errno.h>

#include "rng.h"

#define QQ_SIZE (24 * BT_MIB)

static struct block *qq_open(const char *name)
{
	struct block_open how = { .path = bt_path(name),
				  .cache = BLOCK_CACHE_UNSAFE };

	return bt_open(&how);
}

#define QQ_SH(...) assert_int_equal(bt_shell(__VA_ARGS__), 0)

/* Random bytes and holes, as raw: what qemu-img converts from. */
static void qq_source(struct diskmodel *m, uint64_t seed)
{
	struct rng r = { seed };
	FILE *f = fopen(bt_path("source.raw"), "wb");

	diskmodel_init(m, QQ_SIZE);
	for (unsigned i = 0; i < 60; i++) {
		uint64_t at = rng_next(&r) % (QQ_SIZE - (256 << 10));
		uint64_t n = rng_below(&r, 256 << 10);

		/* Some shrinks, some does not. */
		for (uint64_t k = 0; k < n; k++)
			m->bytes[at + k] = i % 2 ? (uint8_t)(k >> 7)
						 : (uint8_t)rng_next(&r);
	}
	assert_non_null(f);
	assert_int_equal(fwrite(m->bytes, 1, QQ_SIZE, f), QQ_SIZE);
	fclose(f);
}

/* qemu makes it with these options; we read it, write it, and qemu agrees. */
static void qq_theirs(const char *options)
{
	struct diskmodel m;
	struct block *b;

	qq_source(&m, 5);
	QQ_SH("qemu-img convert -f raw -O qcow2 %s %s %s", options,
	      bt_path("source.raw"), bt_path("d"));
	b = qq_open("d");
	diskmodel_compare(&m, b);
	diskmodel_run(&m, b, 9, 150);
	diskmodel_compare(&m, b);
	block_close(b);
	diskmodel_qemu(&m, bt_path("d"), "qcow2");
	diskmodel_free(&m);
}

static void their_version_2(void **state)
{
	qq_theirs("-o compat=0.10");
}

static void their_version_3(void **state)
{
	qq_theirs("-o compat=1.1");
}

static void their_cluster_sizes(void **state)
{
	for (unsigned size = 512; size <= 2 << 20; size *= 8) {
		char options[64];

		sprintf(options, "-o cluster_size=%u", size);
		qq_theirs(options);
	}
}

static void their_refcount_widths(void **state)
{
	qq_theirs("-o refcount_bits=1");
	qq_theirs("-o refcount_bits=8");
	qq_theirs("-o refcount_bits=64,cluster_size=1k");
}

static void their_lazy_refcounts(void **state)
{
	qq_theirs("-o lazy_refcounts=on");
}

static void their_zlib(void **state)
{
	qq_theirs("-c");
	qq_theirs("-c -o cluster_size=2M");
	qq_theirs("-c -o cluster_size=512");
}

static void their_zstd(void **state)
{
	qq_theirs("-c -o compression_type=zstd");
}

static void their_preallocation(void **state)
{
	qq_theirs("-o preallocation=metadata");
	qq_theirs("-o preallocation=falloc");
}

static void their_subclusters_are_read_only(void **state)
{
	struct block_open how = { .path = bt_path("d") };
	struct diskmodel m;
	struct block *b;

	qq_source(&m, 5);
	QQ_SH("qemu-img create -q -f raw %s 24M; qemu-img create -q -f qcow2 "
	      "-o extended_l2=on,cluster_size=128k %s 24M",
	      bt_path("empty"), bt_path("d"));
	QQ_SH("qemu-img convert -n -f raw -O qcow2 %s %s",
	      bt_path("source.raw"), bt_path("d"));
	QQ_SH("qemu-io -f qcow2 -c 'write -z 4k 40k' -c 'write -P 7 60k 3k' "
	      "%s >/dev/null",
	      bt_path("d"));
	memset(m.bytes + 4096, 0, 40960);
	memset(m.bytes + 61440, 7, 3072);
	assert_non_null(strstr(bt_open_fails(&how, EROFS), "subclusters"));
	how.readonly = true;
	b = bt_open(&how);
	diskmodel_compare(&m, b);
	block_close(b);
	diskmodel_free(&m);
}

static void their_external_data_is_refused(void **state)
{
	struct block_open how = { .path = bt_path("d") };

	QQ_SH("qemu-img create -q -f qcow2 -o data_file=%s %s 8M",
	      bt_path("data"), bt_path("d"));
	assert_non_null(strstr(bt_open_fails(&how, ENOTSUP), "another file"));
}

static void their_chains(void **state)
{
	struct diskmodel m;
	struct block *b;

	qq_source(&m, 6);
	QQ_SH("cd %s && qemu-img convert -c -f raw -O qcow2 source.raw a && "
	      "qemu-img create -q -f qcow2 -F qcow2 -b a b && "
	      "qemu-io -c 'write -P 9 100k 70k' b >/dev/null && "
	      "qemu-img create -q -f qcow2 -F qcow2 -b b -o "
	      "cluster_size=4k,compat=0.10 d && "
	      "qemu-io -c 'write -P 11 130k 3k' -c 'write -z 1M 1M' d "
	      ">/dev/null",
	      bt_path(""));
	memset(m.bytes + (100 << 10), 9, 70 << 10);
	memset(m.bytes + (130 << 10), 11, 3 << 10);
	memset(m.bytes + BT_MIB, 0, BT_MIB);
	b = qq_open("d");
	diskmodel_compare(&m, b);
	diskmodel_run(&m, b, 3, 150);
	diskmodel_compare(&m, b);
	block_close(b);
	diskmodel_qemu(&m, bt_path("d"), "qcow2");
	diskmodel_free(&m);
}

static void their_header_extensions_survive(void **state)
{
	struct block *b;
	struct err err;

	QQ_SH("qemu-img create -q -f qcow2 %s 8M", bt_path("base"));
	QQ_SH("qemu-img create -q -f qcow2 -F qcow2 -b base %s", bt_path("d"));
	QQ_SH("qemu-img bitmap --add %s keepme", bt_path("d"));
	b = qq_open("d");
	if (b->ops->set_backing(b, "./base", "qcow2", &err))
		fail_msg("%s", err.msg);
	block_close(b);
	QQ_SH("strings -a %s | grep -q 'lazy refcounts'", bt_path("d"));
	QQ_SH("qemu-img info %s | grep -q 'backing file: ./base'",
	      bt_path("d"));
	QQ_SH("strings -a %s | grep -q keepme", bt_path("d"));
}

/* --- Snapshots, from both sides ------------------------------------------- */

static void snapshots_go_both_ways(void **state)
{
	struct diskmodel m[3];
	struct block *b;

	bt_create("d", "qcow2", QQ_SIZE);
	for (int i = 0; i < 3; i++) {
		diskmodel_init(&m[i], QQ_SIZE);
		if (i)
			memcpy(m[i].bytes, m[i - 1].bytes, QQ_SIZE);
		b = qq_open("d");
		diskmodel_run(&m[i], b, 20 + (unsigned)i, 100);
		if (i == 0)
			assert_int_equal(b->ops->snapshot_create(b, "s0", NULL),
					 0);
		block_close(b);
		if (i == 1)
			QQ_SH("qemu-img snapshot -c s1 %s", bt_path("d"));
		diskmodel_qemu(&m[i], bt_path("d"), "qcow2");
	}
	b = qq_open("d");
	assert_int_equal(b->ops->snapshot_apply(b, "s1", NULL), 0);
	diskmodel_compare(&m[1], b);
	block_close(b);
	diskmodel_qemu(&m[1], bt_path("d"), "qcow2");
	QQ_SH("qemu-img snapshot -a s0 %s", bt_path("d"));
	b = qq_open("d");
	diskmodel_compare(&m[0], b);
	diskmodel_run(&m[0], b, 30, 100);
	assert_int_equal(b->ops->snapshot_delete(b, "s0", NULL), 0);
	assert_int_equal(b->ops->snapshot_delete(b, "s1", NULL), 0);
	diskmodel_compare(&m[0], b);
	block_close(b);
	diskmodel_qemu(&m[0], bt_path("d"), "qcow2");
	for (int i = 0; i < 3; i++)
		diskmodel_free(&m[i]);
}

int main(void)
{
#define QQ_TEST(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)
	const struct CMUnitTest tests[] = {
		QQ_TEST(their_version_2),
		QQ_TEST(their_version_3),
		QQ_TEST(their_cluster_sizes),
		QQ_TEST(their_refcount_widths),
		QQ_TEST(their_lazy_refcounts),
		QQ_TEST(their_zlib),
		QQ_TEST(their_zstd),
		QQ_TEST(their_preallocation),
		QQ_TEST(their_subclusters_are_read_only),
		QQ_TEST(their_external_data_is_refused),
		QQ_TEST(their_chains),
		QQ_TEST(their_header_extensions_survive),
		QQ_TEST(snapshots_go_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
