/* test_i8042.c - dev/pc/i8042.c, ps2.c, port92.c. */
#include "devtest.h"

#include <errno.h>

#include "dev/pc/i8042.h"
#include "dev/pc/keys.h"

struct fix {
	struct dt dt;
	struct i8042 *k;
	struct port92 *p92;
	struct dt_line irq1, irq12;
	struct dt_hook reset;
};

static int make(void **state, bool has_aux)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct i8042_config config = {
		.kbd_irq = dt_irq(&f->irq1),
		.aux_irq = dt_irq(&f->irq12),
		.has_aux = has_aux,
		.reset = dt_dev_hook(&f->reset),
	};

	dt_init(&f->dt);
	*state = f;
	if (port92_new(&f->p92, &f->dt.env, config.reset, NULL))
		return -1;
	config.port92 = f->p92;
	return i8042_new(&f->k, &f->dt.env, &config, NULL);
}

static int setup(void **state)
{
	return make(state, true);
}

static int setup_no_aux(void **state)
{
	return make(state, false);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->k)->free(DEV(f->k));
	DEV(f->p92)->free(DEV(f->p92));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static void cmd(struct fix *f, uint8_t c)
{
	dt_out(&f->dt, 0x64, c);
}

static void data(struct fix *f, uint8_t c)
{
	dt_out(&f->dt, 0x60, c);
}

static uint32_t status(struct fix *f)
{
	return dt_in(&f->dt, 0x64);
}

static uint32_t get(struct fix *f)
{
	assert_int_equal(status(f) & 1, 1);
	return dt_in(&f->dt, 0x60);
}

static void probe_like_a_driver(void **state)
{
	struct fix *f = *state;

	assert_int_equal(status(f), 0x14);
	cmd(f, 0x20);
	assert_int_equal(get(f), 0x47);
	cmd(f, 0x60);
	assert_int_equal(status(f) & 0x08, 0x08);
	data(f, 0x74);
	assert_int_equal(status(f) & 0x08, 0);
	cmd(f, 0xaa);
	assert_int_equal(get(f), 0x55);
	cmd(f, 0xab);
	assert_int_equal(get(f), 0x00);
	cmd(f, 0xa9);
	assert_int_equal(get(f), 0x00);
	cmd(f, 0xd3);
	data(f, 0x5a);
	assert_int_equal(status(f) & 0x21, 0x21);
	assert_int_equal(get(f), 0x5a);
	cmd(f, 0xa7);
	cmd(f, 0x20);
	assert_int_equal(get(f) & 0x20, 0x20);
	cmd(f, 0xa8);
	cmd(f, 0x20);
	assert_int_equal(get(f) & 0x20, 0x00);
	assert_int_equal(status(f) & 1, 0);
}

static void keyboard_reset_and_identify(void **state)
{
	struct fix *f = *state;

	data(f, 0xff);
	assert_true(f->irq1.level);
	assert_int_equal(get(f), 0xfa);
	assert_int_equal(f->irq1.rises, 2); /* an edge for each byte */
	assert_int_equal(get(f), 0xaa);
	assert_false(f->irq1.level);
	data(f, 0xf2);
	assert_int_equal(get(f), 0xfa);
	assert_int_equal(get(f), 0xab);
	assert_int_equal(get(f), 0x41); /* translated 83 */
	data(f, 0xed);
	assert_int_equal(get(f), 0xfa);
	data(f, 0x07);
	assert_int_equal(get(f), 0xfa);
	data(f, 0xee);
	assert_int_equal(get(f), 0xee);
	data(f, 0xf0);
	get(f);
	data(f, 0x00);
	assert_int_equal(get(f), 0xfa);
	assert_int_equal(get(f), 0x41); /* set 2, translated */
	data(f, 0x05);
	assert_int_equal(get(f), 0xfe);
}

static void scan_codes_are_translated(void **state)
{
	struct fix *f = *state;
	static const uint8_t codes[] = { 0x1c, 0xf0, 0x1c, 0xe0,
					 0x75, 0xe0, 0xf0, 0x75 };
	static const uint8_t set1[] = { 0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8 };

	assert_true(i8042_scancodes(f->k, codes, sizeof(codes)));
	for (unsigned i = 0; i < sizeof(set1); i++)
		assert_int_equal(get(f), set1[i]);
	cmd(f, 0x60);
	data(f, 0x05); /* no translation */
	assert_true(i8042_scancodes(f->k, codes, sizeof(codes)));
	for (unsigned i = 0; i < sizeof(codes); i++)
		assert_int_equal(get(f), codes[i]);
	data(f, 0xf5);
	get(f);
	i8042_scancodes(f->k, codes, 1); /* scanning is off */
	assert_int_equal(status(f) & 1, 0);
}

/* Every name: its press and its release, through the controller. */
static void keys_have_names(void **state)
{
	static const struct {
		const char *name;
		uint8_t make[3], n;
	} rows[] = {
		{ "a", { 0x1e }, 1 },        { "ENTER", { 0x1c }, 1 },
		{ "f7", { 0x41 }, 1 },       { "f12", { 0x58 }, 1 },
		{ "up", { 0xe0, 0x48 }, 2 }, { "delete", { 0xe0, 0x53 }, 2 },
		{ "kp_5", { 0x4c }, 1 },     { "altgr", { 0xe0, 0x38 }, 2 },
		{ "shift", { 0x2a }, 1 },    { "backslash", { 0x2b }, 1 },
	};
	struct fix *f = *state;
	uint8_t bytes[KEYS_BYTES_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct key *key =
			keys_find(rows[i].name, strlen(rows[i].name));

		assert_non_null(key);
		for (unsigned up = 0; up < 2; up++) {
			size_t n = keys_bytes(key, !up, bytes);

			assert_true(i8042_scancodes(f->k, bytes, n));
			for (unsigned b = 0; b < rows[i].n; b++)
				assert_int_equal(
					get(f),
					rows[i].make[b] |
						(b + 1u == rows[i].n && up
							 ? 0x80
							 : 0));
		}
		assert_int_equal(status(f) & 1, 0);
	}
}

static void chords_and_characters(void **state)
{
	const struct key *keys[KEYS_CHORD_MAX];
	struct err err = { "" };
	uint8_t bytes[KEYS_BYTES_MAX];

	assert_int_equal(keys_parse("ctrl-alt-delete", keys, &err), 3);
	assert_ptr_equal(keys[2], keys_find("delete", 6));
	assert_int_equal(keys_parse("ctrl-", keys, &err), -EINVAL);
	assert_int_equal(keys_parse("", keys, &err), -EINVAL);
	assert_int_equal(keys_parse("a-b-c-d-e", keys, &err), -EINVAL);
	assert_int_equal(keys_parse("hyper", keys, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "\"hyper\""));
	for (char c = ' '; c < 0x7f; c++) /* all that ASCII has */
		assert_in_range(keys_of_char(c, keys), 1, 2);
	assert_int_equal(keys_of_char('?', keys), 2);
	assert_ptr_equal(keys[0], keys_find("shift", 5));
	assert_int_equal(keys_of_char('\n', keys), 1);
	assert_ptr_equal(keys[0], keys_find("enter", 5));
	assert_int_equal(keys_of_char('\xe4', keys), 0);
	assert_int_equal(keys_bytes(keys_find("pause", 5), true, bytes), 8);
	assert_int_equal(keys_bytes(keys_find("pause", 5), false, bytes), 0);
}

/* A system that has switched translation off may ask for set 1 itself. */
static void the_keyboard_knows_set_1(void **state)
{
	struct fix *f = *state;
	static const uint8_t codes[] = { 0x1c, 0xf0, 0x1c, 0xe0, 0xf0, 0x75 };
	static const uint8_t set1[] = { 0x1e, 0x9e, 0xe0, 0xc8 };

	cmd(f, 0x60);
	data(f, 0x05);
	data(f, 0xf0);
	assert_int_equal(get(f), 0xfa);
	data(f, 0x01);
	assert_int_equal(get(f), 0xfa);
	i8042_scancodes(f->k, codes, sizeof(codes));
	for (unsigned i = 0; i < sizeof(set1); i++)
		assert_int_equal(get(f), set1[i]);
	data(f, 0xf0);
	get(f);
	data(f, 0x03); /* not had: stays what it was */
	get(f);
	data(f, 0xf0);
	get(f);
	data(f, 0x00);
	get(f);
	assert_int_equal(get(f), 1);
}

static void a_full_keyboard_refuses(void **state)
{
	struct fix *f = *state;
	uint8_t codes[40] = { 0x1c };

	assert_true(i8042_scancodes(f->k, codes, 40));
	assert_false(i8042_scancodes(f->k, codes, 40));
	data(f, 0xed); /* but a command is answered */
	for (int i = 0; i < 41; i++)
		if (get(f) == 0xfa)
			return;
	fail();
}

static void disabled_keyboard_holds_bytes(void **state)
{
	struct fix *f = *state;
	uint8_t code = 0x1c;

	cmd(f, 0xad);
	i8042_scancodes(f->k, &code, 1);
	assert_int_equal(status(f) & 1, 0);
	cmd(f, 0xae);
	assert_int_equal(get(f), 0x1e);
}

static void mouse(void **state)
{
	struct fix *f = *state;
	static const uint8_t wheel[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80 };

	cmd(f, 0xd4);
	data(f, 0xff);
	assert_true(f->irq12.level);
	assert_int_equal(status(f) & 0x21, 0x21);
	assert_int_equal(get(f), 0xfa);
	assert_int_equal(get(f), 0xaa);
	assert_int_equal(get(f), 0x00);
	for (unsigned i = 0; i < sizeof(wheel); i++) {
		cmd(f, 0xd4);
		data(f, wheel[i]);
		assert_int_equal(get(f), 0xfa);
	}
	cmd(f, 0xd4);
	data(f, 0xf2);
	get(f);
	assert_int_equal(get(f), 0x03);
	i8042_mouse(f->k, 1, 1, 0, 0); /* reporting is off */
	assert_int_equal(status(f) & 1, 0);
	cmd(f, 0xd4);
	data(f, 0xf4);
	get(f);
	assert_true(i8042_mouse(f->k, -3, 5, 1, 1));
	assert_int_equal(get(f), 0x19);
	assert_int_equal(get(f), 0xfd);
	assert_int_equal(get(f), 0x05);
	assert_int_equal(get(f), 0x01);
	cmd(f, 0xd4);
	data(f, 0xe9);
	assert_int_equal(get(f), 0xfa);
	assert_int_equal(get(f), 0x24);
	assert_int_equal(get(f), 2);
	assert_int_equal(get(f), 80);
}

static void absent_aux_fails_at_once(void **state)
{
	struct fix *f = *state;

	cmd(f, 0xd3);
	data(f, 0x5a);
	assert_int_equal(status(f) & 0x21, 0x01); /* no auxiliary byte */
	get(f);
	cmd(f, 0xa9);
	assert_int_equal(get(f), 0x02);
	cmd(f, 0xd4);
	data(f, 0xff);
	assert_int_equal(status(f) & 1, 0);
	assert_int_equal(f->irq12.rises, 0);
}

static void a20_and_reset(void **state)
{
	struct fix *f = *state;

	assert_int_equal(dt_in(&f->dt, 0x92), 0x02);
	cmd(f, 0xd1);
	data(f, 0xdd); /* gate closed: a bit that reads back */
	assert_int_equal(dt_in(&f->dt, 0x92) & 2, 0);
	cmd(f, 0xd0);
	assert_int_equal(get(f) & 0x03, 0x01);
	dt_out(&f->dt, 0x92, 0x02);
	cmd(f, 0xd0);
	assert_int_equal(get(f) & 0x03, 0x03);
	cmd(f, 0xdd);
	assert_false(port92_a20(f->p92));
	cmd(f, 0xdf);
	assert_true(port92_a20(f->p92));
	assert_int_equal(f->reset.calls, 0);
	cmd(f, 0xfe);
	assert_int_equal(f->reset.calls, 1);
	cmd(f, 0xff);
	assert_int_equal(f->reset.calls, 1);
	cmd(f, 0xd1);
	data(f, 0xde);
	assert_int_equal(f->reset.calls, 2);
	dt_out(&f->dt, 0x92, 0x03);
	assert_int_equal(f->reset.calls, 3);
	dt_out(&f->dt, 0x92, 0x03); /* no new edge */
	assert_int_equal(f->reset.calls, 3);
}

static void controller_ram(void **state)
{
	struct fix *f = *state;

	cmd(f, 0x65);
	data(f, 0x99);
	cmd(f, 0x25);
	assert_int_equal(get(f), 0x99);
	cmd(f, 0xc0);
	assert_int_equal(get(f), 0xa0);
	cmd(f, 0xd2);
	data(f, 0x33);
	assert_int_equal(status(f) & 0x21, 0x01);
	assert_int_equal(get(f), 0x33);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	uint8_t codes[] = { 0x1c, 0xf0, 0x1c };
	struct dt other = f->dt;
	struct i8042_config config = { .has_aux = true };
	struct i8042 *k;

	i8042_scancodes(f->k, codes, 3);
	cmd(f, 0x63);
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(i8042_new(&k, &other.env, &config, NULL), 0);
	dt_copy_state(DEV(f->k), DEV(k));
	assert_int_equal(dt_in(&other, 0x60), 0x1e);
	assert_int_equal(dt_in(&other, 0x60), 0x9e);
	DEV(k)->free(DEV(k));
	mem_free(other.env.mem);
	dt_copy_state(DEV(f->p92), DEV(f->p92));
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 17;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed);
		uint8_t codes[8];

		memcpy(codes, &r, 8);
		switch (r & 7) {
		case 0:
		case 1:
			cmd(f, (uint8_t)(r >> 8));
			break;
		case 2:
		case 3:
			data(f, (uint8_t)(r >> 8));
			break;
		case 4:
			i8042_scancodes(f->k, codes, r >> 8 & 7);
			break;
		case 5:
			i8042_mouse(f->k, (int)(r >> 8), (int)(r >> 16),
				    (int)(r >> 24), r >> 32 & 255);
			break;
		default:
			dt_in(&f->dt, r & 8 ? 0x60 : 0x64);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(probe_like_a_driver),
		T(keyboard_reset_and_identify),
		T(scan_codes_are_translated),
		T(keys_have_names),
		T(chords_and_characters),
		T(the_keyboard_knows_set_1),
		T(a_full_keyboard_refuses),
		T(disabled_keyboard_holds_bytes),
		T(mouse),
		cmocka_unit_test_setup_teardown(absent_aux_fails_at_once,
						setup_no_aux, teardown),
		T(a20_and_reset),
		T(controller_ram),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
