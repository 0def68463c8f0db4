/* test_pit.c - dev/pc/pit.c: the 8254 and port 61h. */
#include "devtest.h"

#include "dev/pc/pit.h"

struct fix {
	struct dt dt;
	struct pit *p;
	struct dt_line irq;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	*state = f;
	return pit_new(&f->p, &f->dt.env, dt_irq(&f->irq), NULL);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->p)->free(DEV(f->p));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

/* The first guest time at which so many ticks have passed since power-on. */
static uint64_t tick_ns(uint64_t ticks)
{
	return (uint64_t)(((__uint128_t)ticks * DT_S + PIT_HZ - 1) / PIT_HZ);
}

static uint64_t tick_now(struct fix *f)
{
	__uint128_t ns = vclock_now(f->dt.env.clock);

	return (uint64_t)(ns * PIT_HZ / DT_S);
}

/* Goes on by whole ticks, ending at a tick's beginning. */
static void ticks(struct fix *f, uint64_t n)
{
	uint64_t to = tick_ns(tick_now(f) + n);

	dt_advance(&f->dt, to - vclock_now(f->dt.env.clock));
}

static void program(struct fix *f, unsigned ch, unsigned mode, uint16_t count)
{
	ticks(f, 1);
	dt_out(&f->dt, 0x43, (uint8_t)(ch << 6 | 0x30 | mode << 1));
	dt_out(&f->dt, 0x40 + ch, (uint8_t)count);
	dt_out(&f->dt, 0x40 + ch, count >> 8);
}

static uint16_t latched(struct fix *f, unsigned ch)
{
	dt_out(&f->dt, 0x43, (uint8_t)(ch << 6));
	uint16_t low = (uint16_t)dt_in(&f->dt, 0x40 + ch);

	return (uint16_t)(low | dt_in(&f->dt, 0x40 + ch) << 8);
}

static uint8_t status(struct fix *f, unsigned ch)
{
	dt_out(&f->dt, 0x43, (uint8_t)(0xe0 | 2 << ch));
	return (uint8_t)dt_in(&f->dt, 0x40 + ch);
}

static void rate_generator_interrupts(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 1193);
	unsigned rises = f->irq.rises;
	ticks(f, 1193);
	assert_int_equal(f->irq.rises, rises); /* loaded a clock later */
	ticks(f, 1);
	assert_int_equal(f->irq.rises, rises + 1);
	dt_advance(&f->dt, DT_S);
	assert_in_range(f->irq.rises, rises + 1000, rises + 1002);
}

static void square_wave_interrupts(void **state)
{
	struct fix *f = *state;

	program(f, 0, 3, 0); /* 65536: 18.2 Hz */
	unsigned rises = f->irq.rises;
	dt_advance(&f->dt, 10 * DT_S);
	assert_int_equal(f->irq.rises - rises, 182);
}

static void counts_down(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 1000);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 1000);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 999);
	ticks(f, 998);
	assert_int_equal(latched(f, 0), 1);
	assert_int_equal(status(f, 0), 0x34); /* out is low for one clock */
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 1000);
	assert_int_equal(status(f, 0), 0xb4);
}

static void square_counts_by_two(void **state)
{
	struct fix *f = *state;

	program(f, 0, 3, 10);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 10);
	ticks(f, 4);
	assert_int_equal(latched(f, 0), 2);
	assert_int_equal(status(f, 0) & 0x80, 0x80);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 10);
	assert_int_equal(status(f, 0) & 0x80, 0);
	program(f, 0, 3, 5); /* high 3 clocks: 4 2 0; low 2: 4 2 */
	static const uint8_t want[] = { 4, 2, 0, 4, 2, 4 };
	static const uint8_t outs[] = { 1, 1, 1, 0, 0, 1 };
	for (unsigned i = 0; i < 6; i++) {
		ticks(f, 1);
		assert_int_equal(latched(f, 0), want[i]);
		assert_int_equal(status(f, 0) >> 7, outs[i]);
	}
}

static void terminal_count(void **state)
{
	struct fix *f = *state;

	program(f, 0, 0, 100);
	assert_false(f->irq.level);
	ticks(f, 100);
	assert_false(f->irq.level);
	ticks(f, 1);
	assert_true(f->irq.level);
	assert_int_equal(latched(f, 0), 0);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 0xffff); /* it goes on counting */
	dt_advance(&f->dt, DT_S);
	assert_int_equal(f->irq.rises, 2); /* at reset, and now */
	dt_out(&f->dt, 0x40, 50); /* the first byte lowers the output */
	assert_false(f->irq.level);
	dt_out(&f->dt, 0x40, 0);
	ticks(f, 51);
	assert_true(f->irq.level);
}

static void software_strobe(void **state)
{
	struct fix *f = *state;

	program(f, 0, 4, 100);
	unsigned rises = f->irq.rises;
	ticks(f, 101);
	assert_int_equal(status(f, 0) & 0x80, 0);
	ticks(f, 1);
	assert_int_equal(f->irq.rises, rises + 1);
	assert_int_equal(status(f, 0) & 0x80, 0x80);
	dt_advance(&f->dt, DT_S);
	assert_int_equal(f->irq.rises, rises + 1);
}

static void hardware_one_shot(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x61, 0);
	program(f, 2, 1, 100);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0x20);
	ticks(f, 500); /* nothing before the gate rises */
	assert_int_equal(status(f, 2), 0xf2);
	dt_out(&f->dt, 0x61, 1);
	ticks(f, 1);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0);
	assert_int_equal(latched(f, 2), 100);
	ticks(f, 100);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0x20);
	dt_out(&f->dt, 0x61, 0);
	dt_out(&f->dt, 0x61, 1); /* again */
	ticks(f, 51);
	assert_int_equal(latched(f, 2), 50);
	dt_out(&f->dt, 0x61, 0);
	dt_out(&f->dt, 0x61, 1); /* retriggered */
	ticks(f, 100);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0);
	ticks(f, 1);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0x20);
}

static void hardware_strobe(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x61, 0);
	program(f, 2, 5, 10);
	dt_out(&f->dt, 0x61, 1);
	ticks(f, 11);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0);
	ticks(f, 1);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0x20);
}

/* What kernels do to measure the processor: mode 0, gate, poll OUT2. */
static void calibration_with_channel_2(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x61, 1);
	program(f, 2, 0, 11932); /* 10 ms */
	uint64_t start = vclock_now(f->dt.env.clock);
	while (!(dt_in(&f->dt, 0x61) & 0x20))
		dt_advance(&f->dt, 1000);
	assert_in_range(vclock_now(f->dt.env.clock) - start, 10000000,
			10002500);
}

static void gate_pauses_and_restarts(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x61, 1);
	program(f, 2, 0, 100);
	ticks(f, 41);
	dt_out(&f->dt, 0x61, 0);
	assert_int_equal(latched(f, 2), 60);
	ticks(f, 1000);
	assert_int_equal(latched(f, 2), 60);
	dt_out(&f->dt, 0x61, 1);
	ticks(f, 60);
	assert_int_equal(latched(f, 2), 0);
	program(f, 2, 2, 100);
	ticks(f, 31);
	dt_out(&f->dt, 0x61, 0); /* modes 2, 3: gate low, out high */
	assert_int_equal(dt_in(&f->dt, 0x61) & 0x20, 0x20);
	dt_out(&f->dt, 0x61, 1);
	ticks(f, 1);
	assert_int_equal(latched(f, 2), 100); /* reloaded */
}

static void bcd(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x43, 0x35);
	dt_out(&f->dt, 0x40, 0x34);
	dt_out(&f->dt, 0x40, 0x12);
	ticks(f, 36);
	assert_int_equal(latched(f, 0), 0x1199);
	dt_out(&f->dt, 0x43, 0x35);
	dt_out(&f->dt, 0x40, 0x00);
	dt_out(&f->dt, 0x40, 0x00); /* 10000 */
	ticks(f, 2);
	assert_int_equal(latched(f, 0), 0x9999);
}

static void single_byte_access(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x43, 0x14); /* LSB only */
	dt_out(&f->dt, 0x40, 200);
	ticks(f, 11);
	assert_int_equal(dt_in(&f->dt, 0x40), 190);
	assert_int_equal(dt_in(&f->dt, 0x40), 190);
	dt_out(&f->dt, 0x43, 0x24); /* MSB only */
	dt_out(&f->dt, 0x40, 0x12);
	ticks(f, 1);
	assert_int_equal(dt_in(&f->dt, 0x40), 0x12);
	ticks(f, 1);
	assert_int_equal(dt_in(&f->dt, 0x40), 0x11);
}

static void latch_holds_until_read(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 1000);
	ticks(f, 11);
	dt_out(&f->dt, 0x43, 0xc2); /* read-back: count and status */
	ticks(f, 100);
	dt_out(&f->dt, 0x43, 0xc2); /* ignored: latched already */
	assert_int_equal(dt_in(&f->dt, 0x40), 0xb4);
	assert_int_equal(dt_in(&f->dt, 0x40), 990 & 0xff);
	assert_int_equal(dt_in(&f->dt, 0x40), 990 >> 8);
	assert_int_equal(dt_in(&f->dt, 0x40), 890 & 0xff);
}

static void null_count(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0x43, 0x34);
	assert_int_equal(status(f, 0) & 0x40, 0x40);
	dt_out(&f->dt, 0x40, 0xe8);
	dt_out(&f->dt, 0x40, 0x03);
	ticks(f, 1);
	assert_int_equal(status(f, 0) & 0x40, 0);
}

static void new_count_at_the_end_of_the_period(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 1000);
	ticks(f, 501);
	dt_out(&f->dt, 0x40, 2000 & 0xff);
	dt_out(&f->dt, 0x40, 2000 >> 8);
	assert_int_equal(latched(f, 0), 500);
	assert_int_equal(status(f, 0) & 0x40, 0x40);
	unsigned rises = f->irq.rises;
	ticks(f, 500);
	assert_int_equal(latched(f, 0), 2000);
	assert_int_equal(f->irq.rises, rises + 1);
	ticks(f, 1999);
	assert_int_equal(f->irq.rises, rises + 1);
	ticks(f, 1);
	assert_int_equal(f->irq.rises, rises + 2);
}

static void lost_ticks_are_made_up_without_a_storm(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 11932); /* 100 Hz */
	unsigned rises = f->irq.rises;
	dt_jump(&f->dt, 205 * DT_MS); /* the host was busy */
	assert_int_equal(f->irq.rises, rises + 1);
	dt_advance(&f->dt, 50 * DT_MS);
	assert_in_range(f->irq.rises - rises, 10, 12); /* twice the rate */
	dt_advance(&f->dt, 745 * DT_MS);
	assert_in_range(f->irq.rises - rises, 99, 101);
	dt_jump(&f->dt, 3600 * DT_S); /* at most a second is owed */
	rises = f->irq.rises;
	dt_advance(&f->dt, 10 * DT_S);
	assert_in_range(f->irq.rises - rises, 1000, 1102);
}

static void tiny_period_is_no_storm(void **state)
{
	struct fix *f = *state;

	program(f, 0, 2, 2);
	unsigned runs = dt_timer_runs(&f->dt);
	dt_advance(&f->dt, 100 * DT_MS);
	assert_in_range(dt_timer_runs(&f->dt) - runs, 100, 2001);
}

static void idle_without_programming(void **state)
{
	struct fix *f = *state;

	dt_advance(&f->dt, 10 * DT_S);
	assert_int_equal(dt_timer_runs(&f->dt), 0);
}

static void refresh_toggles(void **state)
{
	struct fix *f = *state;
	unsigned toggles = 0;
	uint32_t last = dt_in(&f->dt, 0x61) & 0x10;

	for (int i = 0; i < 1000; i++) {
		dt_advance(&f->dt, 1000);
		uint32_t now = dt_in(&f->dt, 0x61) & 0x10;
		toggles += now != last;
		last = now;
	}
	assert_in_range(toggles, 64, 68); /* every 15.1 us */
	dt_out(&f->dt, 0x61, 0xff);
	assert_int_equal(dt_in(&f->dt, 0x61) & 0xcf, 0x0f);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct dt other = f->dt;
	struct dt_line line = { 0 };
	struct pit *p;

	program(f, 0, 2, 1193);
	program(f, 2, 3, 5000);
	ticks(f, 300);
	dt_out(&f->dt, 0x43, 0x80);
	dt_in(&f->dt, 0x42);
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(pit_new(&p, &other.env, dt_irq(&line), NULL), 0);
	dt_copy_state(DEV(f->p), DEV(p));
	assert_int_equal(dt_in(&f->dt, 0x42), dt_in(&other, 0x42));
	unsigned rises = line.rises, had = f->irq.rises;
	dt_advance(&f->dt, 100 * DT_MS);
	assert_int_equal(line.rises - rises, f->irq.rises - had);
	assert_in_range(line.rises - rises, 99, 101);
	DEV(p)->free(DEV(p));
	mem_free(other.env.mem);
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 5;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = dt_random(&seed);
		uint16_t port = (r >> 8 & 7) < 5 ? 0x40 + (r >> 8 & 3) : 0x61;

		if (r & 1)
			dt_out(&f->dt, port, (uint8_t)(r >> 16));
		else
			dt_in(&f->dt, port);
		if ((r >> 1 & 7) == 0)
			dt_advance(&f->dt, r >> 44);
		if ((r >> 4 & 1023) == 0)
			dt_jump(&f->dt, r >> 30);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(rate_generator_interrupts),
		T(square_wave_interrupts),
		T(counts_down),
		T(square_counts_by_two),
		T(terminal_count),
		T(software_strobe),
		T(hardware_one_shot),
		T(hardware_strobe),
		T(calibration_with_channel_2),
		T(gate_pauses_and_restarts),
		T(bcd),
		T(single_byte_access),
		T(latch_holds_until_read),
		T(null_count),
		T(new_count_at_the_end_of_the_period),
		T(lost_ticks_are_made_up_without_a_storm),
		T(tiny_period_is_no_storm),
		T(idle_without_programming),
		T(refresh_toggles),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
