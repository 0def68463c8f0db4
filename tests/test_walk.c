/* test_walk.c - base/walk.c: save, restore, dump, diff, bad streams. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/walk.h"

struct toy {
	bool on;
	uint8_t a;
	uint16_t b;
	uint32_t c, regs[3];
	uint64_t d, big[2];
	uint8_t fifo[40];
};

static void toy_walk(struct toy *t, struct walk *w)
{
	if (!walk_section(w, "toy", 3, 2))
		return;
	walk_bool(w, "on", &t->on);
	walk_u8(w, "a", &t->a);
	walk_u16(w, "b", &t->b);
	walk_u32(w, "c", &t->c);
	walk_u64(w, "d", &t->d);
	walk_u32s(w, "regs", t->regs, 3);
	walk_u64s(w, "big", t->big, 2);
	walk_bytes(w, "fifo", t->fifo, sizeof(t->fifo));
	walk_end(w);
	if (walk_restoring(w) && t->b == 0xdead)
		walk_fail(w, "toy[3]: b is impossible");
}

static const struct toy example = {
	.on = true,
	.a = 0x12,
	.b = 0x3456,
	.c = 0x789abcde,
	.regs = { 1, 0, 0xffffffff },
	.d = 0x1122334455667788,
	.big = { 5, 6 },
	.fifo = { 0xaa, [39] = 0xbb },
};

struct stream {
	char *buf;
	size_t len;
};

static struct stream save(void (*walk)(struct toy *, struct walk *),
			  struct toy t)
{
	struct stream s;
	FILE *f = open_memstream(&s.buf, &s.len);
	struct walk *w = walk_save_to(f);

	walk(&t, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(f);
	return s;
}

static int restore(struct stream s, void (*walk)(struct toy *, struct walk *),
		   struct toy *t, struct err *err)
{
	struct walk *w = walk_restore_from(s.buf, s.len);
	int rc;

	walk(t, w);
	rc = walk_result(w, err);
	walk_free(w);
	return rc;
}

static void assert_toy_equal(const struct toy *a, const struct toy *b)
{
	assert_int_equal(a->on, b->on);
	assert_int_equal(a->a, b->a);
	assert_int_equal(a->b, b->b);
	assert_int_equal(a->c, b->c);
	assert_int_equal(a->d, b->d);
	assert_memory_equal(a->regs, b->regs, sizeof(a->regs));
	assert_memory_equal(a->big, b->big, sizeof(a->big));
	assert_memory_equal(a->fifo, b->fifo, sizeof(a->fifo));
}

static void restores_what_was_saved(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };

	assert_int_equal(restore(s, toy_walk, &t, NULL), 0);
	assert_toy_equal(&t, &example);
	free(s.buf);
}

/* The format is a promise to older and newer programs: pin its bytes. */
static void small_walk(struct toy *t, struct walk *w)
{
	if (!walk_section(w, "toy", 3, 2))
		return;
	walk_u16(w, "b", &t->b);
	walk_end(w);
}

static void format_is_little_endian_and_named(void **state)
{
	static const char want[] = "HSTLwlk1"
				   "S\003toy\3\0\0\0\2\0\0\0"
				   "\x08\0\0\0\0\0\0\0"
				   "\001b\2\0\0\0\x56\x34"
				   "E";
	struct stream s = save(small_walk, example);

	assert_int_equal(s.len, sizeof(want) - 1);
	assert_memory_equal(s.buf, want, s.len);
	free(s.buf);
}

static void missing_field_keeps_its_default(void **state)
{
	struct stream s = save(small_walk, example);
	struct toy t = { .a = 9 };

	assert_int_equal(restore(s, toy_walk, &t, NULL), 0);
	assert_int_equal(t.b, 0x3456);
	assert_int_equal(t.a, 9);
	free(s.buf);
}

static void unknown_field_is_skipped(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };

	assert_int_equal(restore(s, small_walk, &t, NULL), 0);
	assert_int_equal(t.b, 0x3456);
	free(s.buf);
}

static void backward_walk(struct toy *t, struct walk *w)
{
	if (!walk_section(w, "toy", 3, 2))
		return;
	walk_u64(w, "d", &t->d);
	walk_u8(w, "a", &t->a);
	walk_end(w);
}

static void order_of_fields_does_not_matter(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };

	assert_int_equal(restore(s, backward_walk, &t, NULL), 0);
	assert_int_equal(t.d, example.d);
	assert_int_equal(t.a, example.a);
	free(s.buf);
}

static void other_instance_walk(struct toy *t, struct walk *w)
{
	if (walk_section(w, "toy", 4, 2))
		fail();
	if (walk_section(w, "to", 3, 2))
		fail();
	toy_walk(t, w);
	if (walk_section(w, "toy", 3, 2))
		fail(); /* taken already */
}

static void section_is_found_by_name_and_instance(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };

	assert_int_equal(restore(s, other_instance_walk, &t, NULL), 0);
	assert_toy_equal(&t, &example);
	free(s.buf);
}

static void old_walk(struct toy *t, struct walk *w)
{
	if (walk_section(w, "toy", 3, 1))
		fail();
}

static void newer_version_is_refused(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };
	struct err err;

	assert_int_equal(restore(s, old_walk, &t, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "toy[3]"));
	assert_non_null(strstr(err.msg, "version 2"));
	free(s.buf);
}

static void wide_walk(struct toy *t, struct walk *w)
{
	if (!walk_section(w, "toy", 3, 2))
		return;
	walk_u32(w, "b", &t->c);
	walk_u64(w, "d", &t->d); /* a no-op after the error */
	walk_end(w);
}

static void size_mismatch_is_an_error_that_sticks(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { .c = 1 };
	struct err err;

	assert_int_equal(restore(s, wide_walk, &t, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "toy[3]: b has 2 bytes"));
	assert_int_equal(t.c, 1);
	assert_int_equal(t.d, 0);
	free(s.buf);
}

static void impossible_value_fails(void **state)
{
	struct toy t = example;
	struct stream s;
	struct err err;

	t.b = 0xdead;
	s = save(toy_walk, t);
	assert_int_equal(restore(s, toy_walk, &t, &err), -EINVAL);
	assert_string_equal(err.msg, "toy[3]: b is impossible");
	free(s.buf);
}

static void bool_is_0_or_1(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };
	char *at = memmem(s.buf, s.len, "\002on\1\0\0\0", 7);

	assert_non_null(at);
	at[7] = 2;
	assert_int_equal(restore(s, toy_walk, &t, NULL), -EINVAL);
	assert_false(t.on);
	free(s.buf);
}

static void every_truncation_is_refused(void **state)
{
	struct stream s = save(toy_walk, example), cut = s;
	struct toy t;
	struct err err;

	for (cut.len = 0; cut.len < s.len; cut.len++) {
		memset(&t, 0, sizeof(t));
		assert_int_equal(restore(cut, toy_walk, &t, &err), -EINVAL);
		assert_int_equal(t.c, 0); /* nothing was changed */
	}
	free(s.buf);
}

static void trailing_bytes_are_refused(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = { 0 };

	s.buf = realloc(s.buf, s.len + 1);
	s.buf[s.len++] = 0;
	assert_int_equal(restore(s, toy_walk, &t, NULL), -EINVAL);
	free(s.buf);
}

static void write_error_is_reported(void **state)
{
	FILE *f = fopen("/dev/full", "wb");
	struct walk *w = walk_save_to(f);
	struct toy t = example;
	struct err err;

	toy_walk(&t, w);
	assert_int_equal(walk_result(w, &err), -EIO);
	assert_non_null(strstr(err.msg, "cannot write"));
	walk_free(w);
	fclose(f);
}

/* --- For people ----------------------------------------------------------- */

static void dump_names_every_field(void **state)
{
	static const char want[] =
		"toy[3].on = 0x1\n"
		"toy[3].a = 0x12\n"
		"toy[3].b = 0x3456\n"
		"toy[3].c = 0x789abcde\n"
		"toy[3].d = 0x1122334455667788\n"
		"toy[3].regs[0] = 0x1\n"
		"toy[3].regs[1] = 0\n"
		"toy[3].regs[2] = 0xffffffff\n"
		"toy[3].big[0] = 0x5\n"
		"toy[3].big[1] = 0x6\n"
		"toy[3].fifo+0 = aa00000000000000000000000000000000000000"
		"000000000000000000000000\n"
		"toy[3].fifo+0x20 = 00000000000000bb\n";
	struct toy t = example;
	struct stream s;
	FILE *f = open_memstream(&s.buf, &s.len);
	struct walk *w = walk_dump_to(f);

	toy_walk(&t, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(f);
	assert_string_equal(s.buf, want);
	free(s.buf);
}

static unsigned diff(struct stream s, struct toy t,
		     void (*walk)(struct toy *, struct walk *), char **text)
{
	size_t len;
	FILE *f = open_memstream(text, &len);
	struct walk *w = walk_diff_with(s.buf, s.len, f);
	unsigned n;

	walk(&t, w);
	assert_int_equal(walk_result(w, NULL), 0);
	n = walk_diff_count(w);
	walk_free(w);
	fclose(f);
	return n;
}

static void diff_of_equal_states_is_empty(void **state)
{
	struct stream s = save(toy_walk, example);
	char *text;

	assert_int_equal(diff(s, example, toy_walk, &text), 0);
	assert_string_equal(text, "");
	free(text);
	free(s.buf);
}

static void diff_names_what_differs(void **state)
{
	struct stream s = save(toy_walk, example);
	struct toy t = example;
	char *text;

	t.a = 0x13;
	t.big[1] = 7;
	assert_int_equal(diff(s, t, toy_walk, &text), 2);
	assert_string_equal(text, "toy[3].a: 0x13 here, 0x12 there\n"
				  "toy[3].big: differs from byte 0x8 on\n");
	free(text);
	free(s.buf);
}

static void diff_names_what_one_side_lacks(void **state)
{
	struct stream s = save(small_walk, example);
	char *text;

	assert_int_equal(diff(s, example, backward_walk, &text), 3);
	assert_string_equal(text, "toy[3].d: not there\n"
				  "toy[3].a: not there\n"
				  "toy[3].b: not here\n");
	free(text);
	free(s.buf);
}

static void no_walk(struct toy *t, struct walk *w)
{
	if (walk_section(w, "other", 0, 1))
		walk_end(w);
}

static void diff_names_missing_sections(void **state)
{
	struct stream s = save(small_walk, example);
	char *text;

	assert_int_equal(diff(s, example, no_walk, &text), 2);
	assert_string_equal(text, "other[0]: not there\n"
				  "toy[3]: not here\n");
	free(text);
	free(s.buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restores_what_was_saved),
		cmocka_unit_test(format_is_little_endian_and_named),
		cmocka_unit_test(missing_field_keeps_its_default),
		cmocka_unit_test(unknown_field_is_skipped),
		cmocka_unit_test(order_of_fields_does_not_matter),
		cmocka_unit_test(section_is_found_by_name_and_instance),
		cmocka_unit_test(newer_version_is_refused),
		cmocka_unit_test(size_mismatch_is_an_error_that_sticks),
		cmocka_unit_test(impossible_value_fails),
		cmocka_unit_test(bool_is_0_or_1),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(trailing_bytes_are_refused),
		cmocka_unit_test(write_error_is_reported),
		cmocka_unit_test(dump_names_every_field),
		cmocka_unit_test(diff_of_equal_states_is_empty),
		cmocka_unit_test(diff_names_what_differs),
		cmocka_unit_test(diff_names_what_one_side_lacks),
		cmocka_unit_test(diff_names_missing_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
