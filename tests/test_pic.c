/* test_pic.c - dev/pc/pic.c: the 8259A pair. */
#include "devtest.h"

#include "dev/pc/pic.h"

struct fix {
	struct dt dt;
	struct pic *p;
	struct dt_line intr;
};

static void init_pair(struct fix *f, uint8_t icw4)
{
	dt_out(&f->dt, 0x20, 0x11);
	dt_out(&f->dt, 0x21, 0x20);
	dt_out(&f->dt, 0x21, 0x04);
	dt_out(&f->dt, 0x21, icw4);
	dt_out(&f->dt, 0xa0, 0x11);
	dt_out(&f->dt, 0xa1, 0x28);
	dt_out(&f->dt, 0xa1, 0x02);
	dt_out(&f->dt, 0xa1, icw4);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	if (pic_new(&f->p, &f->dt.env, dt_irq(&f->intr), NULL))
		return -1;
	init_pair(f, 0x01);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->p)->free(DEV(f->p));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static void up(struct fix *f, unsigned n)
{
	pic_set_irq(f->p, n, true);
}

static void down(struct fix *f, unsigned n)
{
	pic_set_irq(f->p, n, false);
}

static uint8_t isr(struct fix *f, uint16_t port)
{
	dt_out(&f->dt, port, 0x0b);
	return (uint8_t)dt_in(&f->dt, port);
}

static uint8_t irr(struct fix *f, uint16_t port)
{
	dt_out(&f->dt, port, 0x0a);
	return (uint8_t)dt_in(&f->dt, port);
}

static void edge_and_eoi(void **state)
{
	struct fix *f = *state;

	up(f, 3);
	assert_true(f->intr.level);
	assert_true(pic_pending(f->p));
	assert_int_equal(irr(f, 0x20), 0x08);
	assert_int_equal(pic_ack(f->p), 0x23);
	assert_false(f->intr.level);
	assert_int_equal(isr(f, 0x20), 0x08);
	assert_int_equal(irr(f, 0x20), 0); /* still up, but no new edge */
	dt_out(&f->dt, 0x20, 0x20);
	assert_int_equal(isr(f, 0x20), 0);
	assert_false(f->intr.level);
	down(f, 3);
	up(f, 3);
	assert_true(f->intr.level);
}

static void priorities_nest(void **state)
{
	struct fix *f = *state;

	up(f, 4);
	assert_int_equal(pic_ack(f->p), 0x24);
	up(f, 5);
	assert_false(f->intr.level); /* lower */
	up(f, 1);
	assert_true(f->intr.level); /* higher */
	assert_int_equal(pic_ack(f->p), 0x21);
	dt_out(&f->dt, 0x20, 0x20); /* the highest in service: 1 */
	assert_int_equal(isr(f, 0x20), 0x10);
	dt_out(&f->dt, 0x20, 0x20);
	assert_int_equal(pic_ack(f->p), 0x25);
}

static void cascade(void **state)
{
	struct fix *f = *state;

	up(f, 12);
	assert_int_equal(pic_ack(f->p), 0x2c);
	assert_int_equal(isr(f, 0x20), 0x04);
	assert_int_equal(isr(f, 0xa0), 0x10);
	up(f, 8); /* higher on the slave, but the master has IR2 in service */
	assert_false(f->intr.level);
	dt_out(&f->dt, 0xa0, 0x20);
	dt_out(&f->dt, 0x20, 0x20);
	assert_true(f->intr.level);
	assert_int_equal(pic_ack(f->p), 0x28);
}

static void special_fully_nested(void **state)
{
	struct fix *f = *state;

	init_pair(f, 0x11);
	up(f, 12);
	assert_int_equal(pic_ack(f->p), 0x2c);
	up(f, 8);
	assert_true(f->intr.level);
	assert_int_equal(pic_ack(f->p), 0x28);
	up(f, 14); /* lower than what the slave serves */
	assert_false(f->intr.level);
}

static void spurious(void **state)
{
	struct fix *f = *state;

	up(f, 5);
	down(f, 5); /* withdrawn before INTA */
	assert_false(f->intr.level);
	assert_int_equal(pic_ack(f->p), 0x27);
	assert_int_equal(isr(f, 0x20), 0);
	up(f, 9); /* the slave's request goes between the chips' cycles */
	dt_out(&f->dt, 0xa1, 0x02);
	assert_int_equal(pic_ack(f->p), 0x27);
}

static void mask(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x21, 0x08);
	assert_int_equal(dt_in(&f->dt, 0x21), 0x08);
	up(f, 3);
	assert_false(f->intr.level);
	dt_out(&f->dt, 0x21, 0x00); /* the edge was remembered */
	assert_true(f->intr.level);
	assert_int_equal(pic_ack(f->p), 0x23);
}

static void level_triggered(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x4d0, 0xff);
	assert_int_equal(dt_in(&f->dt, 0x4d0), 0xf8);
	dt_out(&f->dt, 0x4d1, 0xff);
	assert_int_equal(dt_in(&f->dt, 0x4d1), 0xde);
	up(f, 10);
	assert_int_equal(pic_ack(f->p), 0x2a);
	dt_out(&f->dt, 0xa0, 0x20);
	dt_out(&f->dt, 0x20, 0x20);
	assert_true(f->intr.level); /* still up: again */
	assert_int_equal(pic_ack(f->p), 0x2a);
	down(f, 10);
	dt_out(&f->dt, 0xa0, 0x20);
	dt_out(&f->dt, 0x20, 0x20);
	assert_false(f->intr.level);
}

static void automatic_eoi(void **state)
{
	struct fix *f = *state;

	init_pair(f, 0x03);
	up(f, 3);
	assert_int_equal(pic_ack(f->p), 0x23);
	assert_int_equal(isr(f, 0x20), 0);
	up(f, 4);
	assert_int_equal(pic_ack(f->p), 0x24);
	/* Rotation: what was served becomes lowest. */
	dt_out(&f->dt, 0x20, 0x80);
	down(f, 3);
	down(f, 4);
	up(f, 3);
	assert_int_equal(pic_ack(f->p), 0x23);
	down(f, 3);
	up(f, 3);
	up(f, 4);
	assert_int_equal(pic_ack(f->p), 0x24);
	assert_int_equal(pic_ack(f->p), 0x23);
}

static void rotation(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x20, 0xc3); /* 3 is lowest, 4 highest */
	up(f, 1);
	up(f, 5);
	assert_int_equal(pic_ack(f->p), 0x25);
	dt_out(&f->dt, 0x20, 0xa0); /* rotate on EOI: 5 is lowest */
	up(f, 6);
	assert_int_equal(pic_ack(f->p), 0x26);
	dt_out(&f->dt, 0x20, 0xe6); /* specific EOI of 6, rotate */
	assert_int_equal(isr(f, 0x20), 0);
	assert_int_equal(pic_ack(f->p), 0x21);
	dt_out(&f->dt, 0x20, 0x61); /* specific EOI */
	assert_int_equal(isr(f, 0x20), 0);
}

static void special_mask_mode(void **state)
{
	struct fix *f = *state;

	up(f, 1);
	assert_int_equal(pic_ack(f->p), 0x21);
	up(f, 4);
	assert_false(f->intr.level);
	dt_out(&f->dt, 0x21, 0x02);
	dt_out(&f->dt, 0x20, 0x68); /* special mask: lower ones may come */
	assert_true(f->intr.level);
	assert_int_equal(pic_ack(f->p), 0x24);
	dt_out(&f->dt, 0x20, 0x20); /* does not mean the masked 1 */
	assert_int_equal(isr(f, 0x20), 0x02);
	dt_out(&f->dt, 0x20, 0x48); /* off */
	up(f, 5);
	assert_false(f->intr.level);
}

static void poll(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x20, 0x0c);
	assert_int_equal(dt_in(&f->dt, 0x20), 0);
	up(f, 6);
	dt_out(&f->dt, 0x20, 0x0c);
	assert_int_equal(dt_in(&f->dt, 0x20), 0x86);
	assert_false(f->intr.level);
	assert_int_equal(isr(f, 0x20), 0x40);
}

static void icw1_clears(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x21, 0xff);
	up(f, 3);
	dt_out(&f->dt, 0x20, 0x11);
	assert_false(f->intr.level); /* silent until ICW4 */
	dt_out(&f->dt, 0x21, 0x40);
	dt_out(&f->dt, 0x21, 0x04);
	dt_out(&f->dt, 0x21, 0x01);
	assert_int_equal(dt_in(&f->dt, 0x21), 0);
	assert_false(f->intr.level); /* the edge was before */
	down(f, 3);
	up(f, 3);
	assert_int_equal(pic_ack(f->p), 0x43);
}

static void masked_after_reset(void **state)
{
	struct fix *f = *state;

	DEV(f->p)->reset(DEV(f->p));
	up(f, 3);
	assert_false(f->intr.level);
	dt_out(&f->dt, 0x21, 0xfb); /* a driver's probe reads it back */
	assert_int_equal(dt_in(&f->dt, 0x21), 0xfb);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct dt other;
	struct dt_line line = { 0 };
	struct pic *p;

	up(f, 4);
	pic_ack(f->p);
	up(f, 1);
	dt_out(&f->dt, 0x20, 0xc5);
	other = f->dt;
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(pic_new(&p, &other.env, dt_irq(&line), NULL), 0);
	dt_copy_state(DEV(f->p), DEV(p));
	assert_int_equal(line.level, f->intr.level);
	assert_int_equal(pic_ack(p), pic_ack(f->p));
	DEV(p)->free(DEV(p));
	mem_free(other.env.mem);
}

static void random_accesses(void **state)
{
	static const uint16_t ports[] = { 0x20,  0x21,  0xa0, 0xa1,
					  0x4d0, 0x4d1, 0x20, 0xa0 };
	struct fix *f = *state;
	uint64_t seed = 3;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed);
		uint16_t port = ports[r >> 8 & 7];

		switch (r & 3) {
		case 0:
			dt_out(&f->dt, port, (uint8_t)(r >> 16));
			break;
		case 1:
			dt_in(&f->dt, port);
			break;
		case 2:
			pic_set_irq(f->p, r >> 16 & 31, r >> 32 & 1);
			break;
		default:
			assert_in_range(pic_ack(f->p), 0, 255);
		}
		assert_int_equal(f->intr.level, pic_pending(f->p));
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(edge_and_eoi),
		T(priorities_nest),
		T(cascade),
		T(special_fully_nested),
		T(spurious),
		T(mask),
		T(level_triggered),
		T(automatic_eoi),
		T(rotation),
		T(special_mask_mode),
		T(poll),
		T(icw1_clears),
		T(masked_after_reset),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
