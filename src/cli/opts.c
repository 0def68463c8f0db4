#include "cli/opts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct opts_word {
	const char *name; /* not NUL-terminated */
	int name_len;
	const char *value; /* NULL: none in this word */
};

static struct opts_word opts_split(const char *arg)
{
	const char *name = arg + strspn(arg, "-");
	const char *eq = strchr(name, '=');

	return (struct opts_word){
		.name = name,
		.name_len = (int)(eq ? (size_t)(eq - name) : strlen(name)),
		.value = eq ? eq + 1 : NULL,
	};
}

static const struct opt *opts_find(const struct opt *table, const char *arg,
				   const struct opts_word *w)
{
	/* One dash for one letter, two for words. */
	int dashes = w->name_len == 1 ? 1 : 2;

	if (w->name - arg != dashes)
		return NULL;
	for (; table->name; table++)
		if ((int)strlen(table->name) == w->name_len &&
		    !strncmp(table->name, w->name, (size_t)w->name_len))
			return table;
	return NULL;
}

static json_t *opts_value(const struct opt *o, const char *s, struct err *err)
{
	char *end;
	json_t *j = NULL;

	errno = 0;
	switch (o->kind) {
	case OPT_COUNT:
		j = json_integer(strtoll(s, &end, 10));
		break;
	case OPT_SECONDS:
		j = json_real(strtod(s, &end));
		break;
	default:
		j = json_string(s);
		if (!j)
			err_set(err, EINVAL, "--%s: '%.64s' is not UTF-8",
				o->name, s);
		return j;
	}
	if (j && end != s && !*end && errno != ERANGE)
		return j;
	json_decref(j);
	err_set(err, EINVAL, "--%s: '%.64s' is not a number", o->name, s);
	return NULL;
}

/* Takes over j. */
static int opts_append(const struct opt *o, json_t *j, json_t *out,
		       struct err *err)
{
	json_t *list = json_object_get(out, o->name);

	if (!list) {
		list = json_array();
		if (json_object_set_new(out, o->name, list))
			list = NULL;
	}
	return json_array_append_new(list, j)
		       ? err_set(err, ENOMEM, "out of memory")
		       : 0;
}

static int opts_one(const struct opt *o, const char *value, json_t *out,
		    struct err *err)
{
	json_t *j = o->arg ? opts_value(o, value, err) : json_true();

	if (!j)
		return -EINVAL;
	if (o->kind == OPT_LIST)
		return opts_append(o, j, out, err);
	return json_object_set_new(out, o->name, j)
		       ? err_set(err, ENOMEM, "out of memory")
		       : 0;
}

static int opts_unknown(const char *arg, struct err *err)
{
	if (arg[0] == '-' && arg[1])
		return err_set(err, EINVAL,
			       "there is no option '%.64s'; --help shows them",
			       arg);
	return err_set(err, EINVAL,
		       "'%.64s' is no option; give files by name, as in "
		       "--kernel FILE",
		       arg);
}

static int opts_later(const struct opt *o, const char *value, struct err *err)
{
	if (o->arg && value && !strcmp(value, o->arg))
		return 0;
	return err_set(err, EINVAL, "%s%s: %s", o->name[1] ? "--" : "-",
		       o->name, o->help);
}

int opts_parse_words(const struct opt *table, int argc, char **argv,
		     json_t *out, json_t *words, struct err *err)
{
	for (int i = 1; i < argc; i++) {
		struct opts_word w = opts_split(argv[i]);
		const struct opt *o = opts_find(table, argv[i], &w);
		int rc;

		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return 1;
		if (words && argv[i][0] != '-' && argv[i][0] &&
		    !json_array_append_new(words, json_string(argv[i])))
			continue;
		if (!o)
			return opts_unknown(argv[i], err);
		if (!o->arg && o->kind == OPT_LATER)
			return opts_later(o, NULL, err);
		if (!o->arg && w.value)
			return err_set(err, EINVAL, "--%s takes no value",
				       o->name);
		if (o->arg && !w.value) {
			w.value = argv[++i];
			if (!w.value)
				return err_set(err, EINVAL,
					       "--%s needs a value: --%s %s",
					       o->name, o->name, o->arg);
		}
		rc = o->kind == OPT_LATER ? opts_later(o, w.value, err)
					  : opts_one(o, w.value, out, err);
		if (rc)
			return rc;
	}
	return 0;
}

int opts_parse(const struct opt *table, int argc, char **argv, json_t *out,
	       struct err *err)
{
	return opts_parse_words(table, argc, argv, out, NULL, err);
}

void opts_help(const struct opt *table, FILE *f)
{
	char left[64];

	for (; table->name; table++) {
		if (table->kind == OPT_LATER)
			continue;
		snprintf(left, sizeof(left), "%s%s%s%s",
			 table->name[1] ? "--" : "-", table->name,
			 table->arg ? " " : "", table->arg ? table->arg : "");
		fprintf(f, "  %-24s %s\n", left, table->help);
	}
}
