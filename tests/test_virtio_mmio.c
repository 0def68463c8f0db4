/*
 * test_virtio_mmio.c - dev/virtio/mmio.c: what its registers say, a request,
 * the wire, resets, saved state.
 */
#include "devtest.h"

#include "dev/virtio/rng.h"
#include "dev/virtio/transport.h"

#define BASE 0xfec10000u

enum {
	FEATURE = 0x10,
	FEATURE_SEL = 0x14,
	DRIVER_FEATURE = 0x20,
	DRIVER_SEL = 0x24,
	QUEUE_SEL = 0x30,
	QUEUE_MAX = 0x34,
	QUEUE_SIZE = 0x38,
	QUEUE_READY = 0x44,
	NOTIFY = 0x50,
	ISR = 0x60,
	ISR_ACK = 0x64,
	STATUS = 0x70,
	QUEUE_DESC = 0x80,
	QUEUE_DRIVER = 0x90,
	QUEUE_DEVICE = 0xa0,
};

struct board {
	struct dt dt;
	struct dt_line line;
	struct virtio_mmio *rng;
};

static uint64_t get(struct board *b, unsigned reg)
{
	return mem_mmio_read(b->dt.env.mem, BASE + reg, 4);
}

static void put(struct board *b, unsigned reg, uint32_t value)
{
	mem_mmio_write(b->dt.env.mem, BASE + reg, 4, value);
}

static void board_open(struct board *b)
{
	struct virtio_dev *vd;
	struct err err;

	memset(b, 0, sizeof(*b));
	dt_init(&b->dt);
	if (virtio_rng_new(&vd, &b->dt.env, &err) ||
	    virtio_mmio_new(&b->rng, &b->dt.env, BASE, dt_irq(&b->line), vd,
			    &err))
		fail_msg("%s", err.msg);
}

static void board_close(struct board *b)
{
	DEV(b->rng)->free(DEV(b->rng));
	/* The place is free again. */
	assert_int_equal(get(b, 0), UINT32_MAX);
	dt_exit(&b->dt);
}

static void board_start(struct board *b)
{
	board_open(b);
	put(b, STATUS, 1 | 2);
	put(b, DRIVER_SEL, 1);
	put(b, DRIVER_FEATURE, 1);
	put(b, STATUS, 1 | 2 | 8);
	put(b, QUEUE_SEL, 0);
	put(b, QUEUE_SIZE, 4);
	put(b, QUEUE_DESC, 0x10000);
	put(b, QUEUE_DRIVER, 0x11000);
	put(b, QUEUE_DEVICE, 0x12000);
	put(b, QUEUE_DEVICE + 4, 0);
	put(b, QUEUE_READY, 1);
	put(b, STATUS, 1 | 2 | 8 | 4);
}

/* One buffer of 32 bytes at 20000h. */
static void request(struct board *b, uint16_t count)
{
	struct virtq_desc d = { .addr = 0x20000, .len = 32 };
	uint16_t avail[6] = { 0, count, 0, 0, 0, 0 };

	d.split.flags = VIRTQ_DESC_WRITE;
	mem_write(b->dt.env.mem, 0x10000, &d, sizeof(d));
	mem_write(b->dt.env.mem, 0x11000, avail, sizeof(avail));
	put(b, NOTIFY, 0);
}

static unsigned used(struct board *b)
{
	uint16_t idx;

	mem_read(b->dt.env.mem, 0x12002, &idx, 2);
	return idx;
}

static void it_says_what_it_is(void **state)
{
	struct board b;

	board_open(&b);
	assert_int_equal(get(&b, 0), 0x74726976);
	assert_int_equal(get(&b, 4), 2);
	assert_int_equal(get(&b, 8), VIRTIO_ID_RNG);
	put(&b, FEATURE_SEL, 1);
	assert_int_equal(get(&b, FEATURE), 1);
	assert_int_equal(get(&b, QUEUE_MAX), 8);
	put(&b, QUEUE_SEL, 1); /* there is but one */
	assert_int_equal(get(&b, QUEUE_MAX), 0);
	put(&b, QUEUE_SEL, 0x10000); /* nor is this the first */
	assert_int_equal(get(&b, QUEUE_MAX), 0);
	assert_int_equal(get(&b, 0xb0), UINT32_MAX);
	/* Registers are whole. */
	assert_int_equal(mem_mmio_read(b.dt.env.mem, BASE, 1), 0);
	board_close(&b);
}

static void a_request_is_served(void **state)
{
	uint8_t bytes[32] = { 0 }, zeroes[32] = { 0 };
	struct board b;

	board_start(&b);
	assert_int_equal(get(&b, QUEUE_READY), 1);
	request(&b, 1);
	assert_int_equal(used(&b), 1);
	mem_read(b.dt.env.mem, 0x20000, bytes, 32);
	assert_memory_not_equal(bytes, zeroes, 32);
	assert_true(b.line.level);
	assert_int_equal(get(&b, ISR), 1);
	assert_int_equal(get(&b, ISR), 1); /* reading does not clear it */
	put(&b, ISR_ACK, 2);
	assert_true(b.line.level);
	put(&b, ISR_ACK, 1);
	assert_false(b.line.level);
	board_close(&b);
}

static void a_reset_forgets(void **state)
{
	struct board b;

	board_start(&b);
	request(&b, 1);
	put(&b, STATUS, 0);
	assert_false(b.line.level);
	assert_int_equal(get(&b, STATUS), 0);
	assert_int_equal(get(&b, QUEUE_READY), 0);
	request(&b, 2);
	assert_int_equal(used(&b), 1);
	board_close(&b);
}

/* 4.2.2.2: until the device works. */
static void a_queue_is_taken_back(void **state)
{
	struct board b;

	board_start(&b);
	put(&b, QUEUE_READY, 0);
	assert_int_equal(get(&b, QUEUE_READY), 1);
	put(&b, STATUS, 0);
	put(&b, STATUS, 1 | 2);
	put(&b, DRIVER_SEL, 1);
	put(&b, DRIVER_FEATURE, 1);
	put(&b, STATUS, 1 | 2 | 8);
	put(&b, QUEUE_SIZE, 4);
	put(&b, QUEUE_DESC, 0x10000);
	put(&b, QUEUE_DRIVER, 0x11000);
	put(&b, QUEUE_DEVICE, 0x12000);
	put(&b, QUEUE_READY, 1);
	assert_int_equal(get(&b, QUEUE_READY), 1);
	put(&b, QUEUE_READY, 0);
	assert_int_equal(get(&b, QUEUE_READY), 0);
	board_close(&b);
}

static void a_bad_ring_needs_a_reset(void **state)
{
	struct board b;

	board_start(&b);
	put(&b, STATUS, 0);
	put(&b, STATUS, 1 | 2);
	put(&b, DRIVER_SEL, 1);
	put(&b, DRIVER_FEATURE, 1);
	put(&b, STATUS, 1 | 2 | 8);
	put(&b, QUEUE_DESC + 4, 0xffffffff);
	put(&b, QUEUE_READY, 1);
	assert_int_equal(get(&b, QUEUE_READY), 0);
	assert_int_equal(get(&b, STATUS) & 0x40, 0x40);
	board_close(&b);
}

static void state_moves(void **state)
{
	struct board a, b;

	board_start(&a);
	request(&a, 1);
	board_open(&b);
	dt_copy_state(DEV(a.rng), DEV(b.rng));
	assert_int_equal(get(&b, STATUS), 15);
	assert_int_equal(get(&b, ISR), 1);
	assert_true(b.line.level); /* others may share it */
	assert_int_equal(get(&b, QUEUE_READY), 1);
	board_close(&a);
	board_close(&b);
}

static void any_access_is_survived(void **state)
{
	uint64_t seed = 1;
	struct board b;

	board_start(&b);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = dt_random(&seed);
		unsigned size = 1u << (r & 3);
		uint64_t gpa = BASE + (r >> 8) % VIRTIO_MMIO_SIZE;

		if (r & 4)
			mem_mmio_read(b.dt.env.mem, gpa, size);
		else
			mem_mmio_write(b.dt.env.mem, gpa, size, r >> 20);
	}
	board_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_what_it_is),
		cmocka_unit_test(a_request_is_served),
		cmocka_unit_test(a_reset_forgets),
		cmocka_unit_test(a_queue_is_taken_back),
		cmocka_unit_test(a_bad_ring_needs_a_reset),
		cmocka_unit_test(state_moves),
		cmocka_unit_test(any_access_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
