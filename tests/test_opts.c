/* test_opts.c - cli/opts.c: command lines by a table. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "cli/opts.h"

static const struct opt table[] = {
	{ "file", "FILE", OPT_STRING, "a file" },
	{ "count", "N", OPT_COUNT, "a count" },
	{ "time", "S", OPT_SECONDS, "a time" },
	{ "flag", NULL, OPT_FLAG, "a flag" },
	{ "disk", NULL, OPT_LATER, "one day" },
	{ "net", "none", OPT_LATER, "one day" },
	{ "p", NULL, OPT_LATER, "one day" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

/* Up to four words after the verb; *text gets the object, compact. */
static int parse(char **text, struct err *err, const char *a, const char *b,
		 const char *c, const char *d)
{
	const char *argv[] = { "run", a, b, c, d, NULL };
	json_t *j = json_object();
	int argc = 1;
	int rc;

	while (argv[argc])
		argc++;
	rc = opts_parse(table, argc, (char **)argv, j, err);
	*text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(j);
	return rc;
}

static void values_come_either_way(void **state)
{
	char *text;

	assert_int_equal(
		parse(&text, NULL, "--file", "a=b", "--count=-3", "--flag"), 0);
	assert_string_equal(text,
			    "{\"count\":-3,\"file\":\"a=b\",\"flag\":true}");
	free(text);
	assert_int_equal(parse(&text, NULL, "--file=", "--time", "0.5", NULL),
			 0);
	assert_string_equal(text, "{\"file\":\"\",\"time\":0.5}");
	free(text);
	/* A value may look like an option. */
	assert_int_equal(parse(&text, NULL, "--file", "--flag", NULL, NULL), 0);
	assert_string_equal(text, "{\"file\":\"--flag\"}");
	free(text);
}

static void the_last_one_counts(void **state)
{
	char *text;

	assert_int_equal(parse(&text, NULL, "--file=a", "--file=b", NULL, NULL),
			 0);
	assert_string_equal(text, "{\"file\":\"b\"}");
	free(text);
}

static void what_is_the_case_anyway_passes(void **state)
{
	char *text;

	assert_int_equal(parse(&text, NULL, "--net", "none", "--flag", NULL),
			 0);
	assert_string_equal(text, "{\"flag\":true}");
	free(text);
}

static void help_stops_reading(void **state)
{
	char *text;

	assert_int_equal(parse(&text, NULL, "--flag", "--help", "--bad", NULL),
			 1);
	free(text);
	assert_int_equal(parse(&text, NULL, "-h", NULL, NULL, NULL), 1);
	free(text);
}

static void bad_lines_get_a_sentence(void **state)
{
	static const struct {
		const char *a, *b, *named;
	} cases[] = {
		{ "--bad", NULL, "'--bad'" },
		{ "--bad=1", NULL, "'--bad=1'" },
		{ "-file", "x", "'-file'" },
		{ "---file", "x", "'---file'" },
		{ "--fil", "x", "'--fil'" },
		{ "--", NULL, "'--'" },
		{ "-", NULL, "'-'" },
		{ "", NULL, "''" },
		{ "word", NULL, "'word'" },
		{ "--file", NULL, "--file FILE" },
		{ "--file", "\xff", "not UTF-8" },
		{ "--flag=1", NULL, "--flag" },
		{ "--count", "1x", "'1x'" },
		{ "--count", "", "''" },
		{ "--count", "99999999999999999999", "--count" },
		{ "--time", "soon", "'soon'" },
		{ "--time", "nan", "'nan'" },
		{ "--time", "1e999", "--time" },
		{ "--disk", "x", "--disk: one day" },
		{ "-p", "80:80", "-p: one day" },
		{ "--net", "nat", "--net: one day" },
		{ "--net", NULL, "--net none" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { "" };
		char *text;

		assert_int_equal(
			parse(&text, &err, cases[i].a, cases[i].b, NULL, NULL),
			-EINVAL);
		free(text);
		assert_non_null(strstr(err.msg, cases[i].named));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_either_way),
		cmocka_unit_test(the_last_one_counts),
		cmocka_unit_test(what_is_the_case_anyway_passes),
		cmocka_unit_test(help_stops_reading),
		cmocka_unit_test(bad_lines_get_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
