/* test_virtio_blk.c - dev/virtio/blk.c: requests good, odd and hostile. */
#include "blocktest.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/blk.h"
#include "vdriver.h"

#define SIZE BT_MIB
#define HEAD VDRIVER_DATA
#define DATA (VDRIVER_DATA + 0x1000)
#define STAT (VDRIVER_DATA + 0xfff0)

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NONE = 0xee };

#define F_FLUSH      (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)

struct fix {
	struct vdriver d;
	unsigned full; /* how often the hook was called */
};

static void count_full(void *opaque, uint32_t value)
{
	((struct fix *)opaque)->full++;
}

static void fix_open(struct fix *f, const struct block_open *how)
{
	struct virtio_blk_config config = { .serial = "0123456789",
					    .queues = 2,
					    .full = { count_full, f } };
	struct block_open o = *how;
	struct virtio_dev *vd;
	struct err err;

	memset(f, 0, sizeof(*f));
	bt_create("d", "raw", SIZE);
	o.path = bt_path("d");
	o.format = "raw";
	config.disk = bt_open(&o);
	assert_int_equal(vdriver_ram(&f->d), 0);
	if (virtio_blk_new(&vd, &f->d.env, &config, &err))
		fail_msg("%s", err.msg);
	vdriver_start(&f->d, vd, VIRTIO_F_EVENT_IDX);
}

static void head(struct fix *f, uint32_t type, uint64_t sector)
{
	uint8_t *p = f->d.ram + HEAD;

	memcpy(p, &type, 4);
	memset(p + 4, 0, 4);
	memcpy(p + 8, &sector, 8);
	f->d.ram[STAT] = NONE;
}

/* The usual three pieces; returns the status byte. */
static int ask(struct fix *f, uint32_t type, uint64_t sector, uint32_t len)
{
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, len, type == IN || type == GET_ID },
			      { STAT, 1, true } };

	head(f, type, sector);
	vdriver_add(&f->d, 0, p, 3);
	vdriver_notify(&f->d, 0);
	if (vdriver_used(&f->d, 0) < 0)
		return -1;
	return f->d.ram[STAT];
}

static int ask_range(struct fix *f, uint32_t type, uint64_t sector,
		     uint32_t sectors, uint32_t flags)
{
	memcpy(f->d.ram + DATA, &sector, 8);
	memcpy(f->d.ram + DATA + 8, &sectors, 4);
	memcpy(f->d.ram + DATA + 12, &flags, 4);
	return ask(f, type, 0, 16);
}

static const struct block_open plain = { .discard = true };

static void bytes_go_both_ways(void **state)
{
	struct fix f;

	fix_open(&f, &plain);
	memset(f.d.ram + DATA, 0x5a, 4096);
	assert_int_equal(ask(&f, OUT, 8, 4096), OK);
	assert_true(f.d.interrupts > 0);
	memset(f.d.ram + DATA, 0, 8192);
	assert_int_equal(ask(&f, IN, 7, 8192), OK);
	assert_int_equal(f.d.ram[DATA + 511], 0);
	assert_int_equal(f.d.ram[DATA + 512], 0x5a);
	assert_int_equal(f.d.ram[DATA + 512 + 4095], 0x5a);
	assert_int_equal(f.d.ram[DATA + 512 + 4096], 0);
	assert_int_equal(ask(&f, FLUSH, 0, 0), OK);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 8 * 512, 4096, 0x5a);
	vdriver_stop(&f.d);
}

/* Header and data share pieces, the status hangs on the data. */
static void pieces_may_lie_as_they_like(void **state)
{
	struct vpiece out[] = { { HEAD, 5, false },
				{ HEAD + 5, 11 + 1, false },
				{ DATA + 1, 1023, false },
				{ STAT, 1, true } };
	struct vpiece in[] = { { HEAD, 16, false },
			       { DATA, 100, true },
			       { DATA + 100, 924 + 1, true } };
	struct fix f;

	fix_open(&f, &plain);
	head(&f, OUT, 2);
	f.d.ram[HEAD + 16] = 1;
	memset(f.d.ram + DATA, 2, 1024);
	vdriver_add(&f.d, 0, out, 4);
	vdriver_notify(&f.d, 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(f.d.ram[STAT], OK);
	memset(f.d.ram + DATA, 0xff, 2048);
	head(&f, IN, 2);
	vdriver_add(&f.d, 0, in, 3);
	vdriver_notify(&f.d, 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1025);
	assert_int_equal(f.d.ram[DATA], 1);
	assert_int_equal(f.d.ram[DATA + 1], 2);
	assert_int_equal(f.d.ram[DATA + 1023], 2);
	assert_int_equal(f.d.ram[DATA + 1024], OK);
	assert_int_equal(f.d.ram[DATA + 1025], 0xff);
	vdriver_stop(&f.d);
}

/* 2.7.4: a header byte by byte, and pieces of no bytes between. */
static void a_header_of_single_bytes(void **state)
{
	struct vpiece p[2 * 16 + 2];
	struct fix f;

	fix_open(&f, &plain);
	head(&f, OUT, 5);
	memset(f.d.ram + DATA, 7, 512);
	for (unsigned i = 0; i < 16; i++) {
		p[2 * i] = (struct vpiece){ HEAD + i, 1, false };
		p[2 * i + 1] = (struct vpiece){ 0xfffffff0, 0, false };
	}
	p[32] = (struct vpiece){ DATA, 512, false };
	p[33] = (struct vpiece){ STAT, 1, true };
	vdriver_add(&f.d, 0, p, 34);
	vdriver_notify(&f.d, 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(f.d.ram[STAT], OK);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 5 * 512, 512, 7);
	vdriver_stop(&f.d);
}

/* 2.7.5.3: pieces in the ring, the rest in a table behind them. */
static void a_chain_that_ends_in_a_table(void **state)
{
	struct vpiece p[] = { { HEAD, 16, false }, { HEAD + 64, 32, false } };
	struct virtq_desc table[] = {
		{ .addr = DATA, .len = 512, .split = { VIRTQ_DESC_NEXT, 1 } },
		{ .addr = STAT, .len = 1, .split = { VIRTQ_DESC_WRITE, 0 } },
	};
	struct fix f;

	fix_open(&f, &plain);
	f.d.vd->queue[0]->indirect = true;
	head(&f, OUT, 6);
	memset(f.d.ram + DATA, 8, 512);
	memcpy(f.d.ram + HEAD + 64, table, sizeof(table));
	vdriver_add(&f.d, 0, p, 2);
	f.d.ring[0].desc[1].split.flags = VIRTQ_DESC_INDIRECT;
	vdriver_notify(&f.d, 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(f.d.ram[STAT], OK);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 6 * 512, 512, 8);
	vdriver_stop(&f.d);
}

/* After a reset the driver's memory is its own again. */
static void a_reset_waits_for_what_is_under_way(void **state)
{
	struct block_open how = { .fault = "read:delay=100" };
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, 512, true },
			      { STAT, 1, true } };
	struct fix f;

	fix_open(&f, &how);
	head(&f, IN, 3);
	memset(f.d.ram + DATA, 0x77, 512);
	vdriver_add(&f.d, 0, p, 3);
	vdriver_notify(&f.d, 0);
	assert_int_equal(f.d.ram[STAT], NONE);
	f.d.vd->ops->reset(f.d.vd);
	assert_int_equal(f.d.ram[DATA], 0);
	virtq_reset(f.d.vd->queue[0]);
	memset(f.d.ram + DATA, 0x66, 512);
	f.d.ram[STAT] = NONE;
	usleep(200000);
	assert_int_equal(f.d.ram[DATA], 0x66);
	assert_int_equal(f.d.ram[STAT], NONE);
	vdriver_stop(&f.d);
}

static void nothing_outside_the_disk(void **state)
{
	uint64_t end = SIZE / 512;
	struct stat st;
	struct fix f;

	fix_open(&f, &plain);
	memset(f.d.ram + DATA, 1, 4096);
	assert_int_equal(ask(&f, OUT, end, 512), IOERR);
	assert_int_equal(ask(&f, OUT, end - 1, 1024), IOERR);
	assert_int_equal(ask(&f, OUT, UINT64_MAX / 512, 512), IOERR);
	assert_int_equal(ask(&f, OUT, UINT64_MAX, 512), IOERR);
	assert_int_equal(ask(&f, IN, end, 512), IOERR);
	assert_int_equal(ask(&f, OUT, 0, 511), IOERR);
	assert_int_equal(ask(&f, IN, 0, 513), IOERR);
	assert_int_equal(ask_range(&f, ZEROES, end - 1, 2, 0), IOERR);
	assert_int_equal(ask_range(&f, DISCARD, end, 1, 0), IOERR);
	assert_int_equal(ask_range(&f, DISCARD, 1ull << 55, 1, 0), IOERR);
	assert_int_equal(ask_range(&f, ZEROES, 0, UINT32_MAX, 0), IOERR);
	assert_int_equal(stat(bt_path("d"), &st), 0);
	assert_int_equal(st.st_size, SIZE);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 0, SIZE, 0);
	vdriver_stop(&f.d);
}

static void ranges_are_zeroed(void **state)
{
	struct fix f;

	fix_open(&f, &plain);
	memset(f.d.ram + DATA, 1, 32768);
	assert_int_equal(ask(&f, OUT, 0, 32768), OK);
	assert_int_equal(ask_range(&f, ZEROES, 8, 8, 1), OK);
	assert_int_equal(ask_range(&f, ZEROES, 24, 1, 0), OK);
	assert_int_equal(ask_range(&f, DISCARD, 32, 8, 0), OK);
	assert_int_equal(ask_range(&f, DISCARD, 32, 8, 1), UNSUPP);
	assert_int_equal(ask_range(&f, ZEROES, 32, 8, 2), UNSUPP);
	assert_int_equal(ask(&f, ZEROES, 0, 15), IOERR);
	assert_int_equal(ask(&f, ZEROES, 0, 32), IOERR);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 0, 4096, 1);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 4096, 4096, 0);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 8192, 4096, 1);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 12288, 512, 0);
	vdriver_stop(&f.d);
}

static void other_requests(void **state)
{
	struct vpiece bare[] = { { HEAD, 8, false }, { STAT, 1, true } };
	struct fix f;

	fix_open(&f, &plain);
	assert_int_equal(ask(&f, GET_ID, 0, 20), OK);
	assert_memory_equal(f.d.ram + DATA, "0123456789\0\0\0\0\0\0\0\0\0\0",
			    20);
	assert_int_equal(ask(&f, 99, 0, 512), UNSUPP);
	head(&f, IN, 0);
	vdriver_add(&f.d, 0, bare, 2);
	vdriver_notify(&f.d, 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(f.d.ram[STAT], IOERR);
	vdriver_stop(&f.d);
}

static void no_room_for_a_status_breaks_the_queue(void **state)
{
	struct vpiece p[] = { { HEAD, 16, false }, { DATA, 512, false } };
	struct fix f;

	fix_open(&f, &plain);
	head(&f, OUT, 0);
	memset(f.d.ram + DATA, 1, 512);
	vdriver_add(&f.d, 0, p, 2);
	vdriver_notify(&f.d, 0);
	assert_false(virtq_ready(f.d.vd->queue[0]));
	assert_true(virtq_ready(f.d.vd->queue[1]));
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 0, 512, 0);
	vdriver_stop(&f.d);
}

static void a_readonly_disk_stays(void **state)
{
	struct block_open how = { .readonly = true };
	struct fix f;

	fix_open(&f, &how);
	assert_true(virtio_has(f.d.vd, 1ull << 5));
	memset(f.d.ram + DATA, 1, 512);
	assert_int_equal(ask(&f, OUT, 0, 512), IOERR);
	assert_int_equal(ask_range(&f, ZEROES, 0, 1, 0), IOERR);
	assert_int_equal(ask(&f, IN, 0, 512), OK);
	assert_int_equal(f.d.ram[DATA], 0);
	vdriver_stop(&f.d);
}

static void a_batch_is_one_interrupt(void **state)
{
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, 512, true },
			      { STAT, 1, true } };
	struct fix f;

	fix_open(&f, &plain);
	head(&f, IN, 0);
	for (unsigned i = 0; i < 20; i++)
		vdriver_add(&f.d, 1, p, 3);
	vdriver_notify(&f.d, 1);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(vdriver_used(&f.d, 1), 513);
	assert_true(f.d.interrupts < 3);
	vdriver_stop(&f.d);
}

static void the_driver_sets_the_cache_mode(void **state)
{
	uint8_t mode = 0xff, off = 0;
	struct fix f;

	fix_open(&f, &plain);
	f.d.vd->ops->read_config(f.d.vd, 32, &mode, 1);
	assert_int_equal(mode, 1);
	f.d.vd->ops->write_config(f.d.vd, 32, &off, 1);
	f.d.vd->ops->write_config(f.d.vd, 0, &off, 1);
	f.d.vd->ops->read_config(f.d.vd, 32, &mode, 1);
	assert_int_equal(mode, 0);
	f.d.vd->ops->read_config(f.d.vd, 1, &mode, 1);
	assert_int_equal(mode, SIZE / 512 >> 8);
	assert_int_equal(ask(&f, OUT, 0, 512), OK);
	f.d.vd->ops->reset(f.d.vd);
	f.d.vd->ops->read_config(f.d.vd, 32, &mode, 1);
	assert_int_equal(mode, 1);
	vdriver_stop(&f.d);
}

static void errors_are_the_guests(void **state)
{
	struct block_open how = { .fault = "write:error=EIO;flush:error=EIO" };
	struct fix f;

	fix_open(&f, &how);
	assert_int_equal(ask(&f, OUT, 0, 512), IOERR);
	assert_int_equal(ask(&f, FLUSH, 0, 0), IOERR);
	assert_int_equal(ask(&f, IN, 0, 512), OK);
	assert_int_equal(f.full, 0);
	vdriver_stop(&f.d);
}

/* The request is seen by nobody until it can be done. */
static void a_full_host_disk_keeps_requests(void **state)
{
	struct block_open how = { .fault = "write:count=3:error=ENOSPC" };
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, 512, false },
			      { STAT, 1, true } };
	struct fix f;

	fix_open(&f, &how);
	head(&f, OUT, 3);
	memset(f.d.ram + DATA, 9, 512);
	vdriver_add(&f.d, 0, p, 3);
	vdriver_add(&f.d, 1, p, 3);
	vdriver_notify(&f.d, 0);
	vdriver_notify(&f.d, 1);
	f.d.vd->ops->drain(f.d.vd);
	assert_int_equal(f.full, 2);
	assert_int_equal(f.d.ring[0].used[1], 0);
	assert_int_equal(virtio_blk_retry(f.d.vd), 1);
	assert_int_equal(f.full, 3);
	assert_int_equal(virtio_blk_retry(f.d.vd), 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(vdriver_used(&f.d, 1), 1);
	assert_int_equal(f.d.ram[STAT], OK);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 3 * 512, 512, 9);
	vdriver_stop(&f.d);
}

static void a_reset_forgets_kept_requests(void **state)
{
	struct block_open how = { .fault = "write:error=ENOSPC" };
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, 512, false },
			      { STAT, 1, true } };
	struct fix f;

	fix_open(&f, &how);
	head(&f, OUT, 3);
	vdriver_add(&f.d, 0, p, 3);
	vdriver_notify(&f.d, 0);
	f.d.vd->ops->drain(f.d.vd);
	f.d.vd->ops->reset(f.d.vd);
	assert_int_equal(virtio_blk_retry(f.d.vd), 0);
	assert_int_equal(f.d.ring[0].used[1], 0);
	vdriver_stop(&f.d);
}

/* The other side has the same memory, as after a restore. */
static void kept_requests_are_part_of_the_state(void **state)
{
	struct block_open how = { .fault = "write:count=1:error=ENOSPC" };
	struct vpiece p[] = { { HEAD, 16, false },
			      { DATA, 1024, false },
			      { STAT, 1, true } };
	struct walk *w;
	struct fix f;
	char *buf;
	size_t len;
	FILE *file = open_memstream(&buf, &len);

	fix_open(&f, &how);
	head(&f, OUT, 3);
	memset(f.d.ram + DATA, 9, 1024);
	vdriver_add(&f.d, 0, p, 3);
	vdriver_notify(&f.d, 0);
	f.d.vd->ops->drain(f.d.vd);
	w = walk_save_to(file);
	f.d.vd->ops->walk(f.d.vd, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(file);
	f.d.vd->ops->reset(f.d.vd);
	w = walk_restore_from(buf, len);
	f.d.vd->ops->walk(f.d.vd, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	assert_int_equal(f.full, 2); /* so that somebody tries again */
	assert_int_equal(virtio_blk_retry(f.d.vd), 0);
	assert_int_equal(vdriver_used(&f.d, 0), 1);
	assert_int_equal(f.d.ram[STAT], OK);
	bt_assert_bytes(virtio_blk_disk(f.d.vd), 3 * 512, 1024, 9);
	vdriver_stop(&f.d);
	free(buf);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways),
		T(pieces_may_lie_as_they_like),
		T(a_header_of_single_bytes),
		T(a_chain_that_ends_in_a_table),
		T(a_reset_waits_for_what_is_under_way),
		T(nothing_outside_the_disk),
		T(ranges_are_zeroed),
		T(other_requests),
		T(no_room_for_a_status_breaks_the_queue),
		T(a_readonly_disk_stays),
		T(a_batch_is_one_interrupt),
		T(the_driver_sets_the_cache_mode),
		T(errors_are_the_guests),
		T(a_full_host_disk_keeps_requests),
		T(a_reset_forgets_kept_requests),
		T(kept_requests_are_part_of_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
