/* trace_filter.c - see trace_filter.h. */
#include "machine/trace_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_WORD_MAX 64

static const struct {
	const char *word;
	enum trace_kind kind;
} trace_kinds[] = {
	{ "insn", TRACE_INSN },
	{ "event", TRACE_EVENT },
	{ "port", TRACE_PORT },
	{ "mmio", TRACE_MMIO },
};

#define TRACE_KIND_COUNT (sizeof(trace_kinds) / sizeof(*trace_kinds))

static int trace_bad_word(const char *word, struct err *err)
{
	return err_set(err, EINVAL,
		       "--trace-filter: '%s' is not one of insn, event, port, "
		       "mmio, user, kernel, cpu=N or an address range like "
		       "0x1000-0x2000",
		       word);
}

/* A number as C writes it, up to `end`. */
static bool trace_number(const char *s, char end, const char **next,
			 uint64_t *out)
{
	char *p;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &p, 0);
	*next = p + 1;
	return !errno && *p == end;
}

static int trace_add_cpu(struct trace_filter *f, const char *word,
			 struct err *err)
{
	const char *next;
	uint64_t n;

	if (!trace_number(word + 4, 0, &next, &n))
		return trace_bad_word(word, err);
	if (n >= TRACE_CPUS_MAX)
		return err_set(
			err, EINVAL,
			"--trace-filter: there is no vCPU '%s': they are "
			"numbered from 0",
			word);
	f->any_cpu = false;
	f->cpus[n / 64] |= 1ull << n % 64;
	return 0;
}

static int trace_add_range(struct trace_filter *f, const char *word,
			   struct err *err)
{
	uint64_t from, to;
	const char *next;

	if (!trace_number(word, '-', &next, &from) ||
	    !trace_number(next, 0, &next, &to))
		return trace_bad_word(word, err);
	if (from >= to)
		return err_set(err, EINVAL,
			       "--trace-filter: the range '%s' is empty: give "
			       "the lower address first",
			       word);
	if (f->range_count == TRACE_RANGES_MAX)
		return err_set(err, EINVAL,
			       "--trace-filter: more than %d address ranges: "
			       "give fewer or larger ones",
			       TRACE_RANGES_MAX);
	f->range[f->range_count].from = from;
	f->range[f->range_count++].to = to;
	return 0;
}

static int trace_add_word(struct trace_filter *f, const char *word,
			  struct err *err)
{
	for (size_t i = 0; i < TRACE_KIND_COUNT; i++)
		if (strcmp(word, trace_kinds[i].word) == 0) {
			f->kinds |= (uint8_t)(1 << trace_kinds[i].kind);
			return 0;
		}
	if (strcmp(word, "user") == 0) {
		f->user = true;
		return 0;
	}
	if (strcmp(word, "kernel") == 0) {
		f->kernel = true;
		return 0;
	}
	if (strncmp(word, "cpu=", 4) == 0)
		return trace_add_cpu(f, word, err);
	return trace_add_range(f, word, err);
}

/* Copies the word at s, cut if it is too long to be any; returns its length. */
static size_t trace_next_word(const char *s, char word[TRACE_WORD_MAX])
{
	size_t len = strcspn(s, ",");
	size_t n = len < TRACE_WORD_MAX ? len : TRACE_WORD_MAX - 1;

	memcpy(word, s, n);
	word[n] = 0;
	return len;
}

int trace_filter_parse(struct trace_filter *f, const char *list,
		       struct err *err)
{
	char word[TRACE_WORD_MAX];

	*f = (struct trace_filter){ .any_cpu = true };
	for (const char *s = list; s && *s;) {
		size_t len = trace_next_word(s, word);
		int rc = trace_add_word(f, word, err);

		if (rc)
			return rc;
		s += len;
		if (*s == ',' && !*++s)
			return trace_bad_word("", err);
	}
	if (!f->kinds)
		f->kinds = 0xf;
	if (!f->user && !f->kernel)
		f->user = f->kernel = true;
	return 0;
}

static bool trace_filter_address(const struct trace_filter *f, uint64_t rip)
{
	for (unsigned i = 0; i < f->range_count; i++)
		if (rip >= f->range[i].from && rip < f->range[i].to)
			return true;
	return !f->range_count;
}

bool trace_filter_match(const struct trace_filter *f, unsigned cpu, bool user,
			uint64_t rip)
{
	if (!(user ? f->user : f->kernel))
		return false;
	if (!f->any_cpu &&
	    (cpu >= TRACE_CPUS_MAX || !(f->cpus[cpu / 64] >> cpu % 64 & 1)))
		return false;
	return trace_filter_address(f, rip);
}

bool trace_filter_match_other(const struct trace_filter *f)
{
	return f->any_cpu && f->user && f->kernel && !f->range_count;
}
