/*
 * opts.h - command lines, read by a table.
 *
 * What an option means is checked where its value is used (config.h), so that
 * command line and API refuse the same things with the same words; here only
 * its form is checked.
 */
#ifndef HOSTEL_CLI_OPTS_H
#define HOSTEL_CLI_OPTS_H

#include <stdio.h>
#include <jansson.h>

#include "base/err.h"

enum opt_kind {
	OPT_FLAG,   /* no argument; true */
	OPT_STRING, /* as it is */
	OPT_LIST,   /* the same, given many times: an array */
	OPT_COUNT,  /* whole number */
	OPT_SECONDS,
	/*
	 * Known, not built yet: refused with `help` as reason.  If it has an
	 * argument, that one value says what is the case anyway, and passes.
	 */
	OPT_LATER,
};

struct opt {
	const char *name; /* without the dashes; also the key in *out */
	const char *arg;  /* how --help calls the argument; NULL: none */
	enum opt_kind kind;
	const char *help;
};

/* Tables end with an entry whose name is NULL. */

/*
 * Reads argv[1..] into the object `out`: "--name VALUE" or "--name=VALUE".
 * 1: --help was asked for; 0: done; -EINVAL with a sentence.
 */
int opts_parse(const struct opt *table, int argc, char **argv, json_t *out,
	       struct err *err);
/* The same where words beside the options mean something: an array of them. */
int opts_parse_words(const struct opt *table, int argc, char **argv,
		     json_t *out, json_t *words, struct err *err);
void opts_help(const struct opt *table, FILE *f);

#endif
