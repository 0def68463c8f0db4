/* test_rtc.c - dev/pc/rtc.c: clock, alarm, interrupts, CMOS. */
#include "devtest.h"

#include "dev/pc/rtc.h"

/* 2026-03-01 23:59:58 UTC, a Sunday, is this many seconds after the epoch. */
#define START 1772409598ull

struct fix {
	struct dt dt;
	struct rtc *r;
	struct dt_line irq;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct rtc_config config = { .irq = dt_irq(&f->irq),
				     .ram_low = 512ull << 20,
				     .ram_high = 1ull << 30 };

	dt_init(&f->dt);
	/* The bench's clock stands at 1 s. */
	dt_set_real(&f->dt, (START - 1) * DT_S);
	*state = f;
	return rtc_new(&f->r, &f->dt.env, &config, NULL);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->r)->free(DEV(f->r));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static uint32_t rd(struct fix *f, uint8_t reg)
{
	dt_out(&f->dt, 0x70, reg);
	return dt_in(&f->dt, 0x71);
}

static void wr(struct fix *f, uint8_t reg, uint8_t value)
{
	dt_out(&f->dt, 0x70, reg);
	dt_out(&f->dt, 0x71, value);
}

static void expect(struct fix *f, unsigned h, unsigned m, unsigned s,
		   unsigned dow, unsigned d, unsigned mon, unsigned y)
{
	assert_int_equal(rd(f, 0), s);
	assert_int_equal(rd(f, 2), m);
	assert_int_equal(rd(f, 4), h);
	assert_int_equal(rd(f, 6), dow);
	assert_int_equal(rd(f, 7), d);
	assert_int_equal(rd(f, 8), mon);
	assert_int_equal(rd(f, 9), y & 0xff);
	assert_int_equal(rd(f, 0x32), y >> 8);
}

static void starts_at_the_hosts_time(void **state)
{
	struct fix *f = *state;

	assert_int_equal(rd(f, 10), 0x26);
	assert_int_equal(rd(f, 11), 0x02);
	assert_int_equal(rd(f, 13), 0x80);
	expect(f, 0x23, 0x59, 0x58, 1, 0x01, 0x03, 0x2026);
	dt_advance(&f->dt, 2 * DT_S);
	expect(f, 0x00, 0x00, 0x00, 2, 0x02, 0x03, 0x2026);
}

static void formats(void **state)
{
	struct fix *f = *state;

	wr(f, 11, 0x06); /* binary, 24 h */
	expect(f, 23, 59, 58, 1, 1, 3, 0x141a);
	wr(f, 11, 0x00);                  /* BCD, 12 h */
	assert_int_equal(rd(f, 4), 0x91); /* 11 pm */
	dt_advance(&f->dt, 2 * DT_S);
	assert_int_equal(rd(f, 4), 0x12); /* 12 am */
	dt_advance(&f->dt, 12 * 3600 * DT_S);
	assert_int_equal(rd(f, 4), 0x92);
}

static void setting_with_set(void **state)
{
	struct fix *f = *state;
	static const uint8_t regs[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };
	static const uint8_t values[] = { 0x30, 0x15, 0x12, 0x07,
					  0x29, 0x02, 0x24, 0x20 };

	dt_advance(&f->dt, 300 * DT_MS);
	wr(f, 11, 0x82);
	for (unsigned i = 0; i < 8; i++)
		wr(f, regs[i], values[i]);
	dt_advance(&f->dt, 10 * DT_S); /* held */
	assert_int_equal(rd(f, 0), 0x30);
	wr(f, 11, 0x02);
	expect(f, 0x12, 0x15, 0x30, 7, 0x29, 0x02, 0x2024);
	dt_advance(&f->dt, 699 * DT_MS);
	assert_int_equal(rd(f, 0), 0x30);
	dt_advance(&f->dt, 1 * DT_MS);
	assert_int_equal(rd(f, 0), 0x31);
	dt_advance(&f->dt, 12 * 3600 * DT_S);
	expect(f, 0x00, 0x15, 0x31, 1, 0x01, 0x03, 0x2024);
}

static void divider_reset_starts_half_a_second(void **state)
{
	struct fix *f = *state;

	dt_advance(&f->dt, 900 * DT_MS);
	wr(f, 10, 0x76);
	wr(f, 0, 0x10);
	dt_advance(&f->dt, 5 * DT_S);
	assert_int_equal(rd(f, 0), 0x10);
	wr(f, 10, 0x26);
	dt_advance(&f->dt, 499 * DT_MS);
	assert_int_equal(rd(f, 0), 0x10);
	dt_advance(&f->dt, 1 * DT_MS);
	assert_int_equal(rd(f, 0), 0x11);
}

static void update_in_progress(void **state)
{
	struct fix *f = *state;

	dt_advance(&f->dt, 999 * DT_MS);
	assert_int_equal(rd(f, 10) & 0x80, 0);
	dt_advance(&f->dt, 800 * DT_US);
	assert_int_equal(rd(f, 10) & 0x80, 0x80);
	dt_advance(&f->dt, 200 * DT_US);
	assert_int_equal(rd(f, 10) & 0x80, 0);
	assert_int_equal(rd(f, 0), 0x59);
	wr(f, 11, 0x82);
	dt_advance(&f->dt, 999900 * DT_US);
	assert_int_equal(rd(f, 10) & 0x80, 0); /* SET aborts updates */
}

static void update_ended_interrupt(void **state)
{
	struct fix *f = *state;

	wr(f, 11, 0x12);
	dt_advance(&f->dt, 999 * DT_MS);
	assert_false(f->irq.level);
	dt_advance(&f->dt, 1 * DT_MS);
	assert_true(f->irq.level);
	dt_advance(&f->dt, 5 * DT_S);
	assert_int_equal(f->irq.rises, 1); /* until C is read */
	assert_int_equal(rd(f, 12) & 0x90, 0x90);
	assert_false(f->irq.level);
	assert_int_equal(rd(f, 12), 0);
	dt_advance(&f->dt, 1 * DT_S);
	assert_true(f->irq.level);
}

static void periodic_interrupt(void **state)
{
	struct fix *f = *state;
	unsigned n = 0;

	wr(f, 11, 0x42); /* 1024 Hz */
	for (unsigned i = 0; i < 10000; i++) {
		dt_advance(&f->dt, 100 * DT_US);
		if (f->irq.level) {
			assert_int_equal(rd(f, 12) & 0xc0, 0xc0);
			n++;
		}
	}
	assert_in_range(n, 1023, 1025);
	wr(f, 10, 0x20); /* no rate */
	dt_advance(&f->dt, 1 * DT_S);
	assert_false(f->irq.level);
}

static void flags_are_set_without_enables(void **state)
{
	struct fix *f = *state;

	rd(f, 12);
	dt_advance(&f->dt, 1 * DT_S);
	assert_int_equal(rd(f, 12), 0x50);
	assert_int_equal(dt_timer_runs(&f->dt), 0); /* idle costs nothing */
}

static void alarm_interrupt(void **state)
{
	struct fix *f = *state;

	wr(f, 1, 0x30);
	wr(f, 3, 0x00);
	wr(f, 5, 0x07);
	wr(f, 11, 0x22);
	dt_advance(&f->dt, (7 * 3600 + 31) * DT_S);
	assert_false(f->irq.level);
	dt_advance(&f->dt, 1 * DT_S);
	assert_true(f->irq.level);
	assert_int_equal(rd(f, 12) & 0xa0, 0xa0);
	dt_advance(&f->dt, 86399 * DT_S);
	assert_false(f->irq.level);
	dt_advance(&f->dt, 1 * DT_S);
	assert_true(f->irq.level);
}

static void alarm_wildcards(void **state)
{
	struct fix *f = *state;

	wr(f, 1, 0x05);
	wr(f, 3, 0xff);
	wr(f, 5, 0xc0);
	wr(f, 11, 0x22);
	for (unsigned i = 0; i < 3; i++) { /* each minute, at :05 */
		dt_advance(&f->dt, (i ? 59 : 6) * DT_S);
		assert_false(f->irq.level);
		dt_advance(&f->dt, 1 * DT_S);
		assert_true(f->irq.level);
		rd(f, 12);
	}
	wr(f, 1, 0x77); /* never */
	dt_advance(&f->dt, 86400 * DT_S);
	assert_false(f->irq.level);
}

static void reset_clears_enables(void **state)
{
	struct fix *f = *state;

	wr(f, 11, 0x72);
	wr(f, 0x40, 0x5a);
	dt_advance(&f->dt, 1 * DT_S);
	assert_true(f->irq.level);
	DEV(f->r)->reset(DEV(f->r));
	assert_false(f->irq.level);
	assert_int_equal(rd(f, 11), 0x02);
	assert_int_equal(rd(f, 0x40), 0x5a);
	expect(f, 0x23, 0x59, 0x59, 1, 0x01, 0x03, 0x2026);
}

static void nvram(void **state)
{
	struct fix *f = *state;

	assert_int_equal(rd(f, 0x15) | rd(f, 0x16) << 8, 640);
	assert_int_equal(rd(f, 0x17) | rd(f, 0x18) << 8, 0xffff);
	assert_int_equal(rd(f, 0x34) | rd(f, 0x35) << 8, 496 * 16);
	assert_int_equal(rd(f, 0x5b) | rd(f, 0x5c) << 8, 0x4000);
	wr(f, 0x0f, 0x0a);
	assert_int_equal(rd(f, 0x8f), 0x0a); /* bit 7 is the NMI mask */
	rtc_set_nvram(f->r, 0x3d, 0x21);
	assert_int_equal(rd(f, 0x3d), 0x21);
	dt_out(&f->dt, 0x72, 0x05);
	dt_out(&f->dt, 0x73, 0x99);
	assert_int_equal(dt_in(&f->dt, 0x73), 0x99);
	assert_int_equal(rtc_get_nvram(f->r, 0x85), 0x99);
	assert_int_equal(rd(f, 0x05), 0);
}

static void absurd_dates_do_no_harm(void **state)
{
	struct fix *f = *state;

	wr(f, 11, 0x92);
	for (unsigned reg = 0; reg < 10; reg++)
		wr(f, (uint8_t)reg, 0xff);
	wr(f, 0x32, 0xff);
	wr(f, 11, 0x72);
	unsigned runs = dt_timer_runs(&f->dt);
	dt_advance(&f->dt, 10 * DT_S);
	assert_in_range(dt_timer_runs(&f->dt) - runs, 0, 12000);
	wr(f, 0x32, 0x00);
	wr(f, 11, 0x72);
	dt_advance(&f->dt, 10 * DT_S);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct dt other = f->dt;
	struct dt_line line = { 0 };
	struct rtc_config config = { .irq = dt_irq(&line) };
	struct rtc *r;

	wr(f, 4, 0x11);
	wr(f, 0x50, 0x12);
	wr(f, 11, 0x12);
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(rtc_new(&r, &other.env, &config, NULL), 0);
	dt_copy_state(DEV(f->r), DEV(r));
	dt_out(&other, 0x70, 4);
	assert_int_equal(dt_in(&other, 0x71), 0x11);
	dt_advance(&f->dt, 1 * DT_S);
	assert_true(line.level);
	DEV(r)->free(DEV(r));
	mem_free(other.env.mem);
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 13;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = dt_random(&seed);

		if (r & 1)
			dt_out(&f->dt, 0x70 + (r >> 8 & 3), (uint8_t)(r >> 16));
		else
			wr(f, r >> 8 & 15, (uint8_t)(r >> 16));
		dt_in(&f->dt, 0x70 + (r >> 24 & 3));
		if ((r >> 1 & 15) == 0)
			dt_advance(&f->dt, r >> 36);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(starts_at_the_hosts_time),
		T(formats),
		T(setting_with_set),
		T(divider_reset_starts_half_a_second),
		T(update_in_progress),
		T(update_ended_interrupt),
		T(periodic_interrupt),
		T(flags_are_set_without_enables),
		T(alarm_interrupt),
		T(alarm_wildcards),
		T(reset_clears_enables),
		T(nvram),
		T(absurd_dates_do_no_harm),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
