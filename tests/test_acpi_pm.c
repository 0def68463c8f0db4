/* test_acpi_pm.c - dev/pc/acpi_pm.c: timer, SCI, button, S5. */
#include "devtest.h"

#include "dev/pc/acpi_pm.h"

struct fix {
	struct dt dt;
	struct acpi_pm *pm;
	struct dt_line sci;
	struct dt_hook off;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	dt_init(&f->dt);
	*state = f;
	return acpi_pm_new(&f->pm, &f->dt.env, dt_irq(&f->sci),
			   dt_dev_hook(&f->off), NULL);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->pm)->free(DEV(f->pm));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static uint32_t in16(struct fix *f, uint16_t port)
{
	return mem_port_read(f->dt.env.mem, port, 2);
}

static void out16(struct fix *f, uint16_t port, uint16_t value)
{
	mem_port_write(f->dt.env.mem, port, 2, value);
}

static uint32_t timer(struct fix *f)
{
	return mem_port_read(f->dt.env.mem, ACPI_PM_TMR, 4);
}

static void timer_counts(void **state)
{
	struct fix *f = *state;
	uint32_t start = timer(f);

	dt_advance(&f->dt, DT_S);
	assert_in_range(timer(f) - start, 3579545, 3579546);
	dt_advance(&f->dt, 1200 * DT_S); /* past 2^32 ticks */
	assert_int_equal(timer(f), (uint32_t)(1202ull * 3579545));
	assert_int_equal(dt_in(&f->dt, ACPI_PM_TMR + 1), timer(f) >> 8 & 0xff);
}

static void timer_overflow(void **state)
{
	struct fix *f = *state;

	out16(f, ACPI_PM_EVT + 2, 0x0001);
	dt_advance(&f->dt, 598 * DT_S);
	assert_false(f->sci.level);
	dt_advance(&f->dt, 1 * DT_S); /* 2^31 / 3579545 Hz: 599.9 s from 0 */
	assert_true(f->sci.level);
	assert_int_equal(in16(f, ACPI_PM_EVT), 0x0001);
	out16(f, ACPI_PM_EVT, 0x0001);
	assert_false(f->sci.level);
	dt_advance(&f->dt, 600 * DT_S);
	assert_true(f->sci.level);
}

static void power_button(void **state)
{
	struct fix *f = *state;

	acpi_pm_power_button(f->pm);
	assert_false(f->sci.level);
	assert_int_equal(in16(f, ACPI_PM_EVT), 0x0100);
	out16(f, ACPI_PM_EVT + 2, 0x0100);
	assert_true(f->sci.level);
	out16(f, ACPI_PM_EVT, 0x0001); /* another bit */
	assert_true(f->sci.level);
	out16(f, ACPI_PM_EVT, 0x0100);
	assert_false(f->sci.level);
	assert_int_equal(in16(f, ACPI_PM_EVT + 2), 0x0100);
}

static void sleep_s5(void **state)
{
	struct fix *f = *state;

	assert_int_equal(in16(f, ACPI_PM_CNT), 0x0001); /* SCI_EN */
	out16(f, ACPI_PM_CNT, 0x1401);
	assert_int_equal(in16(f, ACPI_PM_CNT), 0x1401);
	out16(f, ACPI_PM_CNT, 0x3401); /* another sleep type */
	assert_int_equal(f->off.calls, 0);
	out16(f, ACPI_PM_CNT, 0x2001);
	assert_int_equal(f->off.calls, 1);
	assert_int_equal(in16(f, ACPI_PM_CNT), 0x0001); /* SLP_EN reads 0 */
	dt_out(&f->dt, ACPI_PM_CNT + 1, 0x20);
	assert_int_equal(f->off.calls, 2);
	mem_port_write(f->dt.env.mem, ACPI_PM_CNT, 4, 0x2000);
	assert_int_equal(f->off.calls, 3);
}

static void general_events(void **state)
{
	struct fix *f = *state;

	acpi_pm_gpe(f->pm, 9);
	acpi_pm_gpe(f->pm, 64);
	assert_int_equal(dt_in(&f->dt, ACPI_PM_GPE0 + 1), 0x02);
	assert_false(f->sci.level);
	dt_out(&f->dt, ACPI_PM_GPE0 + 9, 0x02);
	assert_true(f->sci.level);
	dt_out(&f->dt, ACPI_PM_GPE0 + 1, 0x02);
	assert_false(f->sci.level);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct dt other = f->dt;
	struct dt_line line = { 0 };
	struct acpi_pm *pm;

	out16(f, ACPI_PM_EVT + 2, 0x0101);
	acpi_pm_gpe(f->pm, 3);
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(acpi_pm_new(&pm, &other.env, dt_irq(&line),
				     dt_dev_hook(&f->off), NULL),
			 0);
	dt_copy_state(DEV(f->pm), DEV(pm));
	acpi_pm_power_button(pm);
	assert_true(line.level);
	DEV(pm)->free(DEV(pm));
	mem_free(other.env.mem);
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 19;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed);
		uint16_t port = ACPI_PM_BASE + (r >> 8) % 0x30;

		if (r & 1)
			mem_port_write(f->dt.env.mem, port, 1u << (r >> 1) % 3,
				       (uint32_t)(r >> 16));
		else
			mem_port_read(f->dt.env.mem, port, 1u << (r >> 1) % 3);
		if ((r >> 3 & 15) == 0)
			dt_advance(&f->dt, r >> 28);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(timer_counts),    T(timer_overflow), T(power_button),
		T(sleep_s5),        T(general_events), T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
