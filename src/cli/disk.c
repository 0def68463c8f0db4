/* disk.c - `hostel disk VERB`: finds the verb and reads its command line. */
#include "cli/disk.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "machine/config.h"

static const struct disk_verb *const disk_verbs[] = {
	&disk_create, &disk_info, &disk_check,    &disk_repair, &disk_convert,
	&disk_resize, &disk_map,  &disk_snapshot, &disk_commit, &disk_rebase,
};

#define DISK_VERBS (sizeof(disk_verbs) / sizeof(disk_verbs[0]))

static const struct disk_verb *disk_find(const char *name)
{
	for (size_t i = 0; i < DISK_VERBS; i++)
		if (!strcmp(disk_verbs[i]->name, name))
			return disk_verbs[i];
	return NULL;
}

static int disk_help(void)
{
	puts("Usage: hostel disk VERB [OPTION]... WORD...\n\n"
	     "Makes, looks at and changes disk images.\n");
	for (size_t i = 0; i < DISK_VERBS; i++)
		printf("  %-10s %s\n", disk_verbs[i]->name,
		       disk_verbs[i]->help);
	puts("\n`hostel disk VERB --help` lists the options of a verb.");
	return 0;
}

static int disk_verb_help(const struct disk_verb *v)
{
	printf("Usage: hostel disk %s [OPTION]... %s\n\n%s.\n\n", v->name,
	       v->usage, v->help);
	opts_help(v->opts, stdout);
	return 0;
}

/* Does this word begin an option?  "-1G" is a size. */
static bool disk_is_option(const char *s)
{
	return s[0] == '-' && s[1] && !isdigit((unsigned char)s[1]);
}

static const struct opt *disk_option(const struct disk_verb *v, const char *s)
{
	size_t n;

	s += strspn(s, "-");
	n = strcspn(s, "=");
	for (const struct opt *o = v->opts; o->name; o++)
		if (strlen(o->name) == n && !strncmp(o->name, s, n))
			return o;
	return NULL;
}

/*
 * Sorts words from options, which go to opts_parse(); -1: --help.  options:
 * room for argc of them, the verb's name first.
 */
static int disk_sort(const struct disk_verb *v, int argc, char **argv,
		     struct disk_args *a, char **options, int *count,
		     struct err *err)
{
	*count = 1;
	options[0] = argv[0];
	for (int i = 1; i < argc; i++) {
		const struct opt *o;

		if (!disk_is_option(argv[i])) {
			if (a->words == v->max)
				return err_set(err, EINVAL,
					       "'%.64s' is one word too many; "
					       "try hostel disk %s --help",
					       argv[i], v->name);
			a->word[a->words++] = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return -1;
		o = disk_option(v, argv[i]);
		if (!o)
			return err_set(err, EINVAL,
				       "there is no option '%.64s'; try hostel "
				       "disk %s --help",
				       argv[i], v->name);
		options[(*count)++] = argv[i];
		if (o->arg && !strchr(argv[i], '=') && i + 1 < argc)
			options[(*count)++] = argv[++i];
	}
	return 0;
}

static int disk_run_parsed(const struct disk_verb *v, struct disk_args *a,
			   int argc, char **options, struct err *err)
{
	int rc;

	if (a->words < v->min)
		return err_set(err, EINVAL, "usage: hostel disk %s %s", v->name,
			       v->usage);
	a->opts = json_object();
	rc = a->opts ? opts_parse(v->opts, argc, options, a->opts, err)
		     : err_set(err, ENOMEM, "out of memory");
	if (!rc)
		rc = v->fn(a, err);
	json_decref(a->opts);
	return rc;
}

static int disk_run(const struct disk_verb *v, int argc, char **argv)
{
	struct disk_args a = { .words = 0 };
	char **options = calloc((size_t)argc + 1, sizeof(*options));
	struct err err = { "" };
	int rc, count = 0;

	rc = options ? disk_sort(v, argc, argv, &a, options, &count, &err)
		     : err_set(&err, ENOMEM, "out of memory");
	if (rc == -1)
		rc = disk_verb_help(v);
	else if (!rc)
		rc = disk_run_parsed(v, &a, count, options, &err);
	free(options);
	if (rc < 0)
		rc = cli_fail(&err);
	interrupt_let();
	return rc;
}

int cli_disk(int argc, char **argv)
{
	const struct disk_verb *v = argc > 1 ? disk_find(argv[1]) : NULL;
	struct err err;

	if (v)
		return disk_run(v, argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
			 !strcmp(argv[1], "help")))
		return disk_help();
	err_set(&err, EINVAL, "disk: %s%.64s%s; try hostel disk --help",
		argc > 1 ? "there is no verb '" : "a verb is missing",
		argc > 1 ? argv[1] : "", argc > 1 ? "'" : "");
	return cli_fail(&err);
}

/* --- What the verbs share ------------------------------------------------- */

const char *disk_string(const struct disk_args *a, const char *name)
{
	return json_string_value(json_object_get(a->opts, name));
}

bool disk_flag(const struct disk_args *a, const char *name)
{
	return json_is_true(json_object_get(a->opts, name));
}

int disk_size(const struct disk_args *a, const char *name, uint64_t usual,
	      uint64_t *out, struct err *err)
{
	const char *s = disk_string(a, name);

	*out = usual;
	return s ? vm_parse_size(s, out, err) : 0;
}

int disk_count(const struct disk_args *a, const char *name, unsigned max,
	       unsigned *out, struct err *err)
{
	json_t *j = json_object_get(a->opts, name);
	json_int_t n = json_integer_value(j);

	*out = 0;
	if (j && (n < 1 || n > (json_int_t)max))
		return err_set(err, EINVAL, "--%s is 1 to %u", name, max);
	*out = (unsigned)n;
	return 0;
}

int disk_print_json(json_t *j)
{
	int rc = j ? json_dumpf(j, stdout, JSON_INDENT(2)) : -1;

	json_decref(j);
	return rc ? -ENOMEM : puts("") < 0 ? -EIO : 0;
}

int disk_progress(void *opaque, uint64_t done, uint64_t total)
{
	unsigned percent =
		total ? (unsigned)(100.0 * (double)done / (double)total) : 100;

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%3u%%%s", percent, done < total ? "" : "\n");
	if (!interrupt_waits())
		return 0;
	if (isatty(STDERR_FILENO) && done < total)
		fputs("\r\033[K", stderr);
	return 1;
}
