/* fuzz_main.c - a main function for fuzz harnesses; see fuzz.h. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define FUZZ_SEEDS_MAX 64

struct fuzz_options {
	uint64_t seed, runs, first, max_len;
};

struct fuzz_corpus {
	uint8_t *data[FUZZ_SEEDS_MAX];
	size_t len[FUZZ_SEEDS_MAX];
	unsigned count;
};

/* For the crash handler, which gets no argument. */
static struct fuzz_options fuzz_opt = { 1, 10000, 0, 4096 };
static uint64_t fuzz_run_number;

static uint64_t fuzz_random(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* --- Mutation ------------------------------------------------------------- */

static void fuzz_put_edge(uint8_t *p, size_t left, uint64_t r)
{
	static const uint64_t edge[] = {
		0,
		1,
		0x7f,
		0x80,
		0xff,
		0x7fff,
		0xffff,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x7fffffffffffffff,
		UINT64_MAX,
		4096,
		0xfffff000,
	};
	uint64_t v = edge[r % (sizeof(edge) / sizeof(*edge))];
	size_t width = (size_t)1 << (r >> 32) % 4;

	memcpy(p, &v, width < left ? width : left);
}

/* One change of buf[0..len); returns the new length, at most max. */
static size_t fuzz_mutate(uint8_t *buf, size_t len, size_t max, uint64_t *state)
{
	uint64_t r = fuzz_random(state);
	size_t at = len ? fuzz_random(state) % len : 0;
	size_t n = 1 + fuzz_random(state) % 16;

	if (!len) {
		buf[0] = (uint8_t)r;
		return 1;
	}
	switch (r % 7) {
	case 0: /* flip a bit */
		buf[at] ^= (uint8_t)(1u << (r >> 8) % 8);
		break;
	case 1: /* another byte */
		buf[at] = (uint8_t)(r >> 8);
		break;
	case 2: /* an edge value */
		fuzz_put_edge(buf + at, len - at, r >> 8);
		break;
	case 3: /* cut the end */
		return at;
	case 4: /* take some bytes out */
		n = n < len - at ? n : len - at;
		memmove(buf + at, buf + at + n, len - at - n);
		return len - n;
	case 5: /* repeat some bytes */
		n = n < len - at ? n : len - at;
		n = n < max - len ? n : max - len;
		memmove(buf + at + n, buf + at, len - at);
		return len + n;
	case 6: /* copy some bytes elsewhere */
		n = n < len - at ? n : len - at;
		memmove(buf + (r >> 8) % (len - n + 1), buf + at, n);
		break;
	}
	return len;
}

/* --- Inputs --------------------------------------------------------------- */

static void fuzz_load_corpus(struct fuzz_corpus *c)
{
	uint8_t *buf = malloc(fuzz_opt.max_len);

	while (buf && fuzz_seed && c->count < FUZZ_SEEDS_MAX) {
		size_t n = fuzz_seed(c->count, buf, fuzz_opt.max_len);

		if (!n)
			break;
		c->data[c->count] = malloc(n);
		memcpy(c->data[c->count], buf, n);
		c->len[c->count++] = n;
	}
	free(buf);
}

/* Input number `run` depends on the seed and on nothing else. */
static void fuzz_one(const struct fuzz_corpus *c, uint64_t run)
{
	uint64_t state = fuzz_opt.seed * 0x100000001b3 + run;
	uint8_t *buf = malloc(fuzz_opt.max_len), *exact;
	uint64_t changes = fuzz_random(&state) % 8;
	size_t len = 0;

	fuzz_run_number = run;
	if (c->count) {
		unsigned i = (unsigned)(fuzz_random(&state) % c->count);

		len = c->len[i];
		memcpy(buf, c->data[i], len);
	} else {
		len = fuzz_random(&state) % fuzz_opt.max_len;
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)fuzz_random(&state);
	}
	for (uint64_t i = 0; i < changes; i++)
		len = fuzz_mutate(buf, len, fuzz_opt.max_len, &state);
	/* Exactly as long, so that a sanitizer sees reads past the end. */
	exact = malloc(len ? len : 1);
	memcpy(exact, buf, len);
	free(buf);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

static int fuzz_replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *buf = NULL;
	size_t len = 0, n;

	if (!f) {
		perror(path);
		return 1;
	}
	do {
		buf = realloc(buf, len + 65536);
		n = fread(buf + len, 1, 65536, f);
		len += n;
	} while (n);
	fclose(f);
	LLVMFuzzerTestOneInput(buf, len);
	free(buf);
	return 0;
}

/* --- Crashes -------------------------------------------------------------- */

static void fuzz_say_where(void)
{
	char line[96];
	int n = snprintf(line, sizeof(line),
			 "fuzz: crashed; again: -seed=%llu -first=%llu "
			 "-runs=1\n",
			 (unsigned long long)fuzz_opt.seed,
			 (unsigned long long)fuzz_run_number);

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void fuzz_on_signal(int sig)
{
	fuzz_say_where();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* With a sanitizer, its own report comes first. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void fuzz_catch(void)
{
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(fuzz_say_where);
		return;
	}
	signal(SIGSEGV, fuzz_on_signal);
	signal(SIGBUS, fuzz_on_signal);
	signal(SIGILL, fuzz_on_signal);
	signal(SIGFPE, fuzz_on_signal);
	signal(SIGABRT, fuzz_on_signal);
	signal(SIGALRM, fuzz_on_signal); /* one input took too long */
}

/* --- Options -------------------------------------------------------------- */

static bool fuzz_option(const char *arg)
{
	static const struct {
		const char *name;
		uint64_t *value;
	} table[] = {
		{ "-seed=", &fuzz_opt.seed },
		{ "-runs=", &fuzz_opt.runs },
		{ "-first=", &fuzz_opt.first },
		{ "-max_len=", &fuzz_opt.max_len },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		size_t n = strlen(table[i].name);

		if (strncmp(arg, table[i].name, n) == 0) {
			*table[i].value = strtoull(arg + n, NULL, 0);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	struct fuzz_corpus corpus = { 0 };
	bool replayed = false;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		if (!fuzz_option(argv[i])) {
			failed |= fuzz_replay(argv[i]);
			replayed = true;
		}
	if (replayed)
		return failed;
	fuzz_catch();
	fuzz_load_corpus(&corpus);
	for (uint64_t i = 0; i < fuzz_opt.runs; i++) {
		alarm(10);
		fuzz_one(&corpus, fuzz_opt.first + i);
	}
	for (unsigned i = 0; i < corpus.count; i++)
		free(corpus.data[i]);
	printf("fuzz: %llu inputs\n", (unsigned long long)fuzz_opt.runs);
	return 0;
}
