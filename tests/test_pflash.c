/* test_pflash.c - dev/pc/pflash.c: commands, windows, and the file. */
#include "devtest.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "dev/pc/pflash.h"

#define BASE 0xffc00000ull
#define SIZE (8 * PFLASH_BLOCK)

struct fix {
	struct dt dt;
	struct pflash *p;
	int fd;
};

static int make(struct fix *f, bool readonly)
{
	char name[] = "/tmp/test_pflash.XXXXXX";
	struct pflash_config c = {
		.base = BASE, .size = SIZE, .readonly = readonly, .name = "test"
	};
	uint8_t data[SIZE];

	for (unsigned i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i % 251);
	f->fd = mkstemp(name);
	unlink(name);
	assert_int_equal(write(f->fd, data, SIZE), SIZE);
	c.fd = dup(f->fd);
	return pflash_new(&f->p, &f->dt.env, &c, data, NULL);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	*state = f;
	return make(f, false);
}

static int setup_readonly(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	*state = f;
	return make(f, true);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	if (f->p)
		DEV(f->p)->free(DEV(f->p));
	close(f->fd);
	dt_exit(&f->dt);
	free(f);
	return 0;
}

/* As a guest does: memory where there is some, else the device. */
static uint8_t get(struct fix *f, uint32_t at)
{
	const uint8_t *p = mem_host_read(f->dt.env.mem, BASE + at, 1);

	return p ? *p : (uint8_t)mem_mmio_read(f->dt.env.mem, BASE + at, 1);
}

static void put(struct fix *f, uint32_t at, uint8_t value)
{
	assert_null(mem_host(f->dt.env.mem, BASE + at, 1));
	mem_mmio_write(f->dt.env.mem, BASE + at, 1, value);
}

static uint8_t in_file(struct fix *f, uint32_t at)
{
	uint8_t v = 0;

	assert_int_equal(pread(f->fd, &v, 1, at), 1);
	return v;
}

static bool is_memory(struct fix *f)
{
	return mem_host_read(f->dt.env.mem, BASE, SIZE);
}

static void array_is_plain_memory(void **state)
{
	struct fix *f = *state;

	assert_true(is_memory(f));
	assert_int_equal(get(f, 252), 1);
	put(f, 0, 0x70);
	assert_false(is_memory(f));
	assert_int_equal(get(f, 252), 0x80);
	put(f, 0, 0xff);
	assert_true(is_memory(f));
	assert_int_equal(get(f, 252), 1);
}

/* How OVMF finds out whether it has flash, RAM or ROM before it. */
static void is_known_as_flash(void **state)
{
	struct fix *f = *state;
	uint8_t before = get(f, 100);

	put(f, 100, 0x50);
	assert_int_equal(get(f, 100), before);
	put(f, 100, 0x70);
	assert_int_equal(get(f, 100), 0);
	put(f, 100, 0xff);
	assert_int_equal(get(f, 100), before);
}

static void programming_clears_bits_only(void **state)
{
	struct fix *f = *state;

	put(f, 0xff, 0x40); /* the byte there is 4 */
	put(f, 0xff, 0xfb);
	assert_int_equal(get(f, 0) & 0x80, 0x80);
	put(f, 0, 0xff);
	assert_int_equal(get(f, 0xff), 0);
	put(f, 0x100, 0x10); /* it is 5 */
	put(f, 0x100, 0xff);
	put(f, 0, 0xff);
	assert_int_equal(get(f, 0x100), 5);
}

static void erasing_sets_a_block(void **state)
{
	struct fix *f = *state;

	put(f, PFLASH_BLOCK + 77, 0x20);
	put(f, PFLASH_BLOCK + 77, 0xd0);
	put(f, 0, 0xff);
	assert_int_equal(get(f, PFLASH_BLOCK - 1), (PFLASH_BLOCK - 1) % 251);
	assert_int_equal(get(f, PFLASH_BLOCK), 0xff);
	assert_int_equal(get(f, 2 * PFLASH_BLOCK - 1), 0xff);
	assert_int_equal(get(f, 2 * PFLASH_BLOCK), 2 * PFLASH_BLOCK % 251);
	/* without its confirmation it is an error, and nothing is erased */
	put(f, 0, 0x20);
	put(f, 0, 0x00);
	assert_int_equal(get(f, 0) & 0x30, 0x30);
	put(f, 0, 0xff);
	assert_int_equal(get(f, 1), 1);
}

static void buffered_program_stays_in_the_chip(void **state)
{
	struct fix *f = *state;

	put(f, 0, 0x20);
	put(f, 0, 0xd0);
	put(f, 16, 0xe8);
	assert_int_equal(get(f, 16) & 0x80, 0x80);
	put(f, 16, 3);
	for (unsigned i = 0; i < 4; i++)
		put(f, 16 + i, 0x10 + i);
	put(f, 16, 0xd0);
	put(f, 0, 0xff);
	assert_int_equal(get(f, 15), 0xff);
	assert_int_equal(get(f, 16), 0x10);
	assert_int_equal(get(f, 19), 0x13);
	assert_int_equal(get(f, 20), 0xff);
	/* over the end, and too long */
	put(f, SIZE - 1, 0xe8);
	put(f, SIZE - 1, 1);
	assert_int_equal(get(f, 0) & 0x30, 0x30);
	put(f, 0, 0x50);
	put(f, 0, 0xe8);
	put(f, 0, 0xff);
	assert_int_equal(get(f, 0) & 0x30, 0x30);
}

static void identity_and_query(void **state)
{
	struct fix *f = *state;

	put(f, 0, 0x90);
	assert_int_equal(get(f, 0), 0x89);
	assert_int_equal(get(f, 1), 0x18);
	assert_int_equal(get(f, SIZE - 1), 0);
	put(f, 0x55, 0x98);
	assert_int_equal(get(f, 0x10), 'Q');
	assert_int_equal(get(f, 0x27), 15); /* 2^15 bytes */
	assert_int_equal(get(f, 0x2d), 7);  /* 8 blocks */
	assert_int_equal(get(f, SIZE - 1), 0);
}

static void is_in_the_file_when_back_in_array_mode(void **state)
{
	struct fix *f = *state;

	put(f, 9, 0x40);
	put(f, 9, 0x01);
	put(f, 9, 0xff);
	assert_int_equal(in_file(f, 9), 1);
	assert_int_equal(in_file(f, 10), 10);
	put(f, PFLASH_BLOCK, 0x20);
	put(f, PFLASH_BLOCK, 0xd0);
	DEV(f->p)->reset(DEV(f->p));
	assert_true(is_memory(f));
	assert_int_equal(in_file(f, PFLASH_BLOCK), 0xff);
	put(f, 11, 0x40);
	put(f, 11, 0x00);
	DEV(f->p)->free(DEV(f->p));
	f->p = NULL;
	assert_int_equal(in_file(f, 11), 0);
}

static void code_cannot_be_changed(void **state)
{
	struct fix *f = *state;

	put(f, 5, 0x20);
	put(f, 5, 0xd0);
	put(f, 5, 0x40);
	put(f, 5, 0x00);
	assert_true(is_memory(f));
	assert_int_equal(get(f, 5), 5);
}

static void state_is_restored_in_the_middle(void **state)
{
	struct fix *f = *state;
	struct fix g = { 0 };

	dt_init(&g.dt);
	assert_int_equal(make(&g, false), 0);
	put(f, 0, 0x20);
	put(f, 0, 0xd0);
	put(f, 32, 0xe8);
	put(f, 32, 1);
	put(f, 32, 0xaa);
	dt_copy_state(DEV(f->p), DEV(g.p));
	assert_false(is_memory(&g));
	put(&g, 33, 0xbb);
	put(&g, 32, 0xd0);
	put(&g, 0, 0xff);
	assert_int_equal(get(&g, 32), 0xaa);
	assert_int_equal(get(&g, 33), 0xbb);
	assert_int_equal(in_file(&g, 0), 0xff);
	DEV(g.p)->free(DEV(g.p));
	close(g.fd);
	dt_exit(&g.dt);
}

/* Whatever a guest writes, the chip stays inside itself. */
static void random_commands_do_no_harm(void **state)
{
	static const uint8_t likely[] = { 0x10, 0x20, 0x40, 0x50, 0x70,
					  0x90, 0x98, 0xd0, 0xe8, 0xff };
	struct fix *f = *state;
	uint64_t seed = 20261121;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = dt_random(&seed);
		uint32_t at = (r >> 8) % SIZE;
		unsigned size = 1u << (r >> 40 & 3);

		if (r & 0x80)
			mem_mmio_read(f->dt.env.mem, BASE + at, size);
		else if (r & 0x40)
			mem_mmio_write(f->dt.env.mem, BASE + at, size, r >> 16);
		else
			mem_mmio_write(f->dt.env.mem, BASE + at, 1,
				       likely[r % sizeof(likely)]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(array_is_plain_memory),
		T(is_known_as_flash),
		T(programming_clears_bits_only),
		T(erasing_sets_a_block),
		T(buffered_program_stays_in_the_chip),
		T(identity_and_query),
		T(is_in_the_file_when_back_in_array_mode),
		cmocka_unit_test_setup_teardown(code_cannot_be_changed,
						setup_readonly, teardown),
		T(state_is_restored_in_the_middle),
		T(random_commands_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
