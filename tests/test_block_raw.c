/* test_block_raw.c - block/raw.c and posix.c: bytes, space, cache modes. */
#include "blocktest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "block/iov.h"
#include "rng.h"

static struct block_open writable(const char *name)
{
	return (struct block_open){ .path = bt_path(name), .format = "raw" };
}

static uint64_t allocated(const char *name)
{
	struct stat st;

	assert_int_equal(stat(bt_path(name), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void bytes_come_back_after_reopening(void **state)
{
	struct block_open how = writable("d");
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = bt_open(&how);
	assert_int_equal(b->size, BT_MIB);
	assert_int_equal(bt_fill(b, 1000, 5000, 0xa5), 0);
	assert_int_equal(block_flush(b), 0);
	block_close(b);
	b = bt_open(&how);
	bt_assert_bytes(b, 0, 1000, 0);
	bt_assert_bytes(b, 1000, 5000, 0xa5);
	bt_assert_bytes(b, 6000, BT_MIB - 6000, 0);
	block_close(b);
}

static void nothing_is_touched_outside_the_size(void **state)
{
	struct block_open how = writable("d");
	struct block *b;
	char c = 1;

	bt_create("d", "raw", BT_MIB);
	b = bt_open(&how);
	assert_int_equal(block_write(b, &c, BT_MIB, 1), -EINVAL);
	assert_int_equal(block_read(b, &c, BT_MIB, 1), -EINVAL);
	assert_int_equal(block_read(b, &c, UINT64_MAX, 1), -EINVAL);
	assert_int_equal(bt_fill(b, BT_MIB - 1, 2, 1), -EINVAL);
	assert_int_equal(block_zero(b, BT_MIB - 1, 2, 0), -EINVAL);
	assert_int_equal(block_discard(b, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(block_write(b, &c, BT_MIB - 1, 1), 0);
	block_close(b);
	how.readonly = true;
	b = bt_open(&how);
	assert_int_equal(block_write(b, &c, 0, 1), -EROFS);
	assert_int_equal(block_zero(b, 0, 1, 0), -EROFS);
	assert_int_equal(block_discard(b, 0, 1), -EROFS);
	block_close(b);
}

static void half_a_sector_at_the_end_reads_as_zero(void **state)
{
	struct block_open how = writable("d");
	struct block *b;

	bt_shell("head -c 700 /dev/zero | tr '\\0' x > %s", how.path);
	b = bt_open(&how);
	assert_int_equal(b->size, 1024);
	bt_assert_bytes(b, 0, 700, 'x');
	bt_assert_bytes(b, 700, 324, 0);
	block_close(b);
}

static void provisioning(void **state)
{
	struct block_create how = { .format = "raw", .size = 4 * BT_MIB };
	struct err err;

	how.path = bt_path("thin");
	assert_int_equal(block_create(&how, &err), 0);
	assert_true(allocated("thin") < 65536);
	how.prealloc = BLOCK_PREALLOC_FALLOC;
	how.path = bt_path("lazy");
	assert_int_equal(block_create(&how, &err), 0);
	assert_true(allocated("lazy") >= 4 * BT_MIB);
	how.prealloc = BLOCK_PREALLOC_FULL;
	how.path = bt_path("eager");
	assert_int_equal(block_create(&how, &err), 0);
	assert_true(allocated("eager") >= 4 * BT_MIB);
}

static void zeroing_keeps_or_gives_back_space(void **state)
{
	struct block_open how = writable("d");
	struct block *b;

	bt_create("d", "raw", 4 * BT_MIB);
	how.discard = true;
	b = bt_open(&how);
	assert_int_equal(block_zero(b, 0, 4 * BT_MIB, 0), 0);
	assert_true(allocated("d") < 65536); /* was a hole: still is */
	assert_int_equal(bt_fill(b, 0, 4 * BT_MIB, 1), 0);
	block_flush(b);
	assert_int_equal(block_zero(b, BT_MIB, BT_MIB, 0), 0);
	bt_assert_bytes(b, BT_MIB, BT_MIB, 0);
	assert_true(allocated("d") >= 4 * BT_MIB);
	assert_int_equal(block_zero(b, BT_MIB, BT_MIB, BLOCK_UNMAP), 0);
	assert_int_equal(block_zero(b, 2 * BT_MIB, BT_MIB, BLOCK_UNMAP), 0);
	assert_int_equal(block_discard(b, 3 * BT_MIB, BT_MIB), 0);
	bt_assert_bytes(b, 0, BT_MIB, 1);
	bt_assert_bytes(b, 2 * BT_MIB, BT_MIB, 0);
	assert_true(allocated("d") < 2 * BT_MIB);
	block_close(b);
}

static void discards_stay_with_the_guest_unless_asked(void **state)
{
	struct block_open how = writable("d");
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	b = bt_open(&how);
	bt_fill(b, 0, BT_MIB, 1);
	assert_int_equal(block_discard(b, 0, BT_MIB), 0);
	bt_assert_bytes(b, 0, BT_MIB, 1);
	block_close(b);
}

static void holes_show_in_the_map(void **state)
{
	struct block_open how = writable("d");
	struct block_extent e;
	struct block *b;

	bt_create("d", "raw", 4 * BT_MIB);
	b = bt_open(&how);
	bt_fill(b, BT_MIB, BT_MIB, 1);
	assert_int_equal(block_map(b, 0, 4 * BT_MIB, false, 0, &e), 0);
	assert_int_equal(e.type, BLOCK_EXTENT_ZERO);
	assert_int_equal(e.length, BT_MIB);
	assert_int_equal(block_map(b, BT_MIB, 3 * BT_MIB, false, 0, &e), 0);
	assert_int_equal(e.type, BLOCK_EXTENT_DATA);
	assert_int_equal(e.length, BT_MIB);
	assert_true(e.fd >= 0);
	assert_int_equal(e.fd_offset, BT_MIB);
	block_map_done(b, &e);
	assert_int_equal(block_map(b, 5, 100, true, 0, &e), 0);
	assert_int_equal(e.type, BLOCK_EXTENT_DATA);
	assert_int_equal(e.length, 100);
	block_map_done(b, &e);
	block_close(b);
}

/* A guessed raw disk must not become an image that names other files. */
static void guessed_raw_refuses_another_formats_header(void **state)
{
	static const struct {
		const char *format, *head;
		size_t len;
	} magics[] = {
		{ "qcow2", "QFI\xfb\0\0\0\3", 8 },
		{ "vmdk", "KDMV\1\0\0\0", 8 },
		{ "vmdk", "# Disk DescriptorFile\nversion=1\n", 32 },
	};
	struct block_open how = writable("d");
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	how.format = NULL;
	b = bt_open(&how);
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		char sector[512] = "";

		memcpy(sector, magics[i].head, magics[i].len);
		assert_non_null(block_format_find(magics[i].format));
		assert_int_equal(block_write(b, sector, 0, 512), -EPERM);
		assert_int_equal(block_write(b, sector, 0, magics[i].len),
				 -EPERM);
		assert_int_equal(block_write(b, sector, 512, 512), 0);
	}
	assert_int_equal(bt_fill(b, 0, 4096, 0x55), 0);
	block_close(b);
}

static void random_operations_match_a_model(enum block_cache cache)
{
	struct block_open how = writable("d");
	struct rng rng = { 1 };
	uint8_t *model = calloc(1, BT_MIB), *buf = malloc(BT_MIB);
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	how.cache = cache;
	how.discard = true;
	b = bt_open(&how);
	for (unsigned i = 0; i < 400; i++) {
		unsigned at = rng_below(&rng, BT_MIB);
		unsigned n =
			1 + rng_below(&rng, BT_MIB - at < 20000 ? BT_MIB - at
								: 20000);
		struct iovec iov[3] = { { buf, n / 3 },
					{ buf + n / 3, n / 3 },
					{ buf + n / 3 * 2, n - n / 3 * 2 } };

		switch (rng_below(&rng, 4)) {
		case 0:
			assert_int_equal(block_zero(b, at, n, BLOCK_UNMAP), 0);
			memset(model + at, 0, n);
			break;
		case 1:
			assert_int_equal(block_readv(b, iov, 3, at, n, 0), 0);
			assert_memory_equal(buf, model + at, n);
			break;
		default:
			memset(buf, (int)rng_next(&rng), n);
			memcpy(model + at, buf, n);
			assert_int_equal(
				block_writev(b, iov, 3, at, n, i & BLOCK_FUA),
				0);
		}
	}
	assert_int_equal(block_read(b, buf, 0, BT_MIB), 0);
	assert_memory_equal(buf, model, BT_MIB);
	block_close(b);
	free(model);
	free(buf);
}

static void writeback_matches_a_model(void **state)
{
	random_operations_match_a_model(BLOCK_CACHE_WRITEBACK);
}

static void writethrough_matches_a_model(void **state)
{
	random_operations_match_a_model(BLOCK_CACHE_WRITETHROUGH);
}

static void direct_io_bounces_what_does_not_fit(void **state)
{
	random_operations_match_a_model(BLOCK_CACHE_NONE);
}

static void direct_io_keeps_an_odd_file_length(void **state)
{
	struct block_open how = writable("d");
	struct stat st;
	struct block *b;

	bt_shell("head -c 5120 /dev/zero > %s", how.path);
	how.cache = BLOCK_CACHE_NONE;
	b = bt_open(&how);
	assert_int_equal(bt_fill(b, 4608, 512, 7), 0);
	bt_assert_bytes(b, 4608, 512, 7);
	bt_assert_bytes(b, 0, 4608, 0);
	assert_int_equal(stat(how.path, &st), 0);
	assert_int_equal(st.st_size, 5120);
	block_close(b);
}

/* A full disk, made with a limit on the size of files. */
static void a_full_disk_is_enospc_or_efbig(void **state)
{
	struct rlimit old, small = { 65536, RLIM_INFINITY };
	struct block_open how = writable("d");
	struct block *b;

	bt_create("d", "raw", BT_MIB);
	assert_int_equal(truncate(how.path, 0), 0);
	assert_int_equal(truncate(how.path, BT_MIB), 0);
	b = bt_open(&how);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(bt_fill(b, 0, 4096, 1), 0);
	assert_int_equal(bt_fill(b, 65536, 4096, 1), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(bt_fill(b, 65536, 4096, 1), 0);
	block_close(b);
}

/* Zeroing at the end of a file while another thread writes behind it. */
struct grower {
	struct block *file;
	unsigned lost;
};

#define GROW_STEPS 400u
#define GROW_STEP  4096u

static void *grow_by_zeroes(void *opaque)
{
	struct grower *g = opaque;

	for (unsigned i = 0; i < GROW_STEPS; i += 2)
		g->lost += block_zero(g->file, (uint64_t)i * GROW_STEP,
				      GROW_STEP, 0) != 0;
	return NULL;
}

static void growing_cuts_nothing_off(void **state)
{
	struct block_open how = writable("d");
	struct grower g = { NULL, 0 };
	pthread_t t;
	struct err err;

	bt_shell(": >%s", how.path);
	assert_int_equal(block_open_file(&g.file, &how, &err), 0);
	pthread_create(&t, NULL, grow_by_zeroes, &g);
	for (unsigned i = 1; i < GROW_STEPS; i += 2)
		bt_fill(g.file, (uint64_t)i * GROW_STEP, GROW_STEP, 7);
	pthread_join(t, NULL);
	assert_int_equal(g.lost, 0);
	for (unsigned i = 0; i < GROW_STEPS; i++)
		bt_assert_bytes(g.file, (uint64_t)i * GROW_STEP, GROW_STEP,
				i & 1 ? 7 : 0);
	block_close(g.file);
}

static void a_vectored_piece_is_found_anywhere(void **state)
{
	char a[3] = "abc", b[4] = "defg", c[2] = "hi", out[10] = "";
	struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, 4 }, { c, 2 } };
	struct iovec part[4];
	size_t got;

	assert_int_equal(iov_length(iov, 4), 9);
	assert_int_equal(iov_slice(part, 4, iov, 4, 2, 6, &got), 3);
	assert_int_equal(got, 6);
	assert_ptr_equal(part[0].iov_base, a + 2);
	assert_int_equal(part[2].iov_len, 1);
	assert_int_equal(iov_slice(part, 1, iov, 4, 2, 6, &got), 1);
	assert_int_equal(got, 1);
	iov_to_buf(iov, 4, 1, out, 7);
	assert_memory_equal(out, "bcdefgh", 7);
	iov_from_buf(iov, 4, 2, "XYZ", 3);
	iov_zero(iov, 4, 8, 1);
	assert_memory_equal(a, "abX", 3);
	assert_memory_equal(b, "YZfg", 4);
	assert_memory_equal(c, "h\0", 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(bytes_come_back_after_reopening),
		T(nothing_is_touched_outside_the_size),
		T(half_a_sector_at_the_end_reads_as_zero),
		T(provisioning),
		T(zeroing_keeps_or_gives_back_space),
		T(discards_stay_with_the_guest_unless_asked),
		T(holes_show_in_the_map),
		T(guessed_raw_refuses_another_formats_header),
		T(writeback_matches_a_model),
		T(writethrough_matches_a_model),
		T(direct_io_bounces_what_does_not_fit),
		T(direct_io_keeps_an_odd_file_length),
		T(a_full_disk_is_enospc_or_efbig),
		T(growing_cuts_nothing_off),
		T(a_vectored_piece_is_found_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
