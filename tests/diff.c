/*
 * diff.c - the differential test's command line and loop.
 *
 *	diff [--engine NAME] [--seed S] [--cases N] [--only MNEMONIC]
 *	     [--code32] [--length N] [--case NUMBER] [--seconds T] [--max-shown
 *N]
 *[--coverage]
 *
 * Each difference is one line that starts with the options to replay it.
 * Status 0: no difference; 1: there are some; 2: it could not run; 77: not on
 * this host.
 */
#include "diff.h"
#include "diff_rand.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/x86/cpuid.h"

struct diff_options {
	const char *engine, *only;
	uint64_t seed, cases, first;
	double seconds;
	unsigned max_shown;
	unsigned length, mode;
	bool coverage, verbose;
};

struct diff_run {
	const struct diff_options *o;
	struct diff_gen *gen;
	struct diff_guest *guest;
	uint8_t *host_data, *guest_data;
	uint8_t base[DIFF_DATA_BYTES]; /* the data pages before every case */
	struct diff_case c;
	struct diff_state host, out;
	uint64_t done, different, vanished, faults;
};

/* The writable pages hold the same before each case, but for its patch. */
static void diff_restore_data(struct diff_run *run)
{
	const uint8_t *base = run->base + 4096;
	uint8_t *host = run->host_data + 4096, *guest = run->guest_data + 4096;

	if (memcmp(host, base, DIFF_DATA_BYTES - 4096) != 0)
		memcpy(host, base, DIFF_DATA_BYTES - 4096);
	if (memcmp(guest, base, DIFF_DATA_BYTES - 4096) != 0)
		memcpy(guest, base, DIFF_DATA_BYTES - 4096);
}

static void diff_apply_patch(struct diff_run *run)
{
	uint64_t at = run->c.patch_at - DIFF_DATA;

	memcpy(run->host_data + at, run->c.patch, run->c.patch_len);
	memcpy(run->guest_data + at, run->c.patch, run->c.patch_len);
}

/* Before the engine runs it, which may not come back. */
static void diff_tell(const struct diff_run *run)
{
	const struct diff_case *c = &run->c;

	fprintf(stderr, "case %llu %s", (unsigned long long)c->number,
		c->insn.desc->name);
	for (unsigned i = 0; i < c->len; i++)
		fprintf(stderr, " %02x", c->bytes[i]);
	fprintf(stderr, ": vector %d rip %llx\n", run->host.vector,
		(unsigned long long)run->host.rip);
	for (unsigned i = 0; i < 16; i++)
		fprintf(stderr, " r%u=%llx/%llx", i,
			(unsigned long long)c->in.gpr[i],
			(unsigned long long)run->host.gpr[i]);
	fprintf(stderr, " fs=%llx gs=%llx\n", (unsigned long long)c->in.fs,
		(unsigned long long)c->in.gs);
}

static void diff_show_code(const struct diff_case *c)
{
	char dis[128];

	for (unsigned i = 0; i < c->count; i++) {
		x86_disasm(dis, sizeof(dis), c->bytes + c->start[i],
			   c->seq[i].len, c->mode, DIFF_INSN + c->start[i]);
		printf("%s%s", i ? "; " : "", dis);
	}
	printf(" |");
	for (unsigned i = 0; i < c->len; i++)
		printf(" %02x", c->bytes[i]);
}

static void diff_show(struct diff_run *run, const char *text)
{
	const struct diff_options *o = run->o;
	const struct diff_case *c = &run->c;

	if ((*c->shown)++ >= o->max_shown)
		return;
	printf("--seed %llu --case %llu", (unsigned long long)c->seed,
	       (unsigned long long)c->number);
	if (o->only)
		printf(" --only %s", o->only);
	if (o->mode == X86_MODE_CODE32)
		printf(" --code32");
	if (o->length > 1)
		printf(" --length %u", o->length);
	printf(": ");
	diff_show_code(c);
	printf(" |%s\n", text);
	fflush(stdout);
}

/*
 * AMD's MXCSR_MASK has bit 17 (misaligned SSE mode), which guests do not get;
 * FXSAVE and XSAVE store the mask at 28 from the operand's start.
 */
static void diff_normalize_mask(struct diff_run *run)
{
	const struct x86_insn *in = &run->c.insn;
	uint64_t at = run->c.operand + 30 - DIFF_DATA;

	if (in->op >= X86_FXSAVE && in->op <= X86_XSAVEC &&
	    in->op != X86_FXRSTOR && run->host.vector == DIFF_NO_VECTOR &&
	    at < DIFF_DATA_BYTES && run->host_data[at] == 2 &&
	    run->guest_data[at] == 0)
		run->host_data[at] = 0;
}

/* Runs the case on both sides; does anything differ? */
static bool diff_attempt(struct diff_run *run, char *text, size_t size)
{
	unsigned n;

	diff_apply_patch(run);
	diff_native_run(&run->c, &run->host);
	if (run->o->verbose)
		diff_tell(run);
	diff_guest_run(run->guest, &run->c, &run->out);
	diff_normalize_mask(run);
	n = diff_compare(&run->c, &run->host, &run->out, run->host_data,
			 run->guest_data, text, size);
	diff_restore_data(run);
	return n != 0;
}

/*
 * AMD's XSAVE drops x87 pointers while no exception is pending, so a context
 * switch of the host in the wrong moment makes a difference that no later
 * attempt shows.
 */
static void diff_one(struct diff_run *run, uint64_t number)
{
	char text[4096];
	unsigned attempts = 0;

	diff_gen_case(run->gen, &run->c, run->o->seed, number);
	while (diff_attempt(run, text, sizeof(text)) && ++attempts < 3)
		;
	run->done++;
	run->faults += run->host.vector != DIFF_NO_VECTOR;
	if (attempts == 3) {
		run->different++;
		diff_show(run, text);
	} else if (attempts) {
		run->vanished++;
	}
}

/* The stubs need these of the host. */
static bool diff_host_can(void)
{
	return x86_has(X86_FEAT_AVX) && x86_has(X86_FEAT_XSAVE) &&
	       getauxval(AT_HWCAP2) & 2; /* FSGSBASE */
}

static int diff_setup(struct diff_run *run)
{
	struct diff_rand r;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	fprintf(stderr, "diff: wild pointers of cases would hit the "
			"sanitizer's shadow memory\n");
	return 77;
#endif
	if (!diff_host_can()) {
		fprintf(stderr, "diff: this host has no AVX or FSGSBASE\n");
		return 77; /* skipped */
	}

	run->gen = diff_gen_new(run->o->mode, run->o->only, run->o->length);
	if (!run->gen) {
		fprintf(stderr, "diff: no instruction to test\n");
		return 2;
	}
	if (!run->o->only && diff_gen_missing(run->gen, stderr))
		return 2;
	run->guest = diff_guest_new(run->o->engine, run->o->mode);
	if (!run->guest) {
		fprintf(stderr, "diff: cannot make a guest with engine %s\n",
			run->o->engine);
		return 2;
	}
	/* After the engine, whose signal handlers it covers. */
	if (diff_native_init(run->o->mode) < 0) {
		fprintf(stderr, "diff: cannot prepare the native side\n");
		return 2;
	}
	run->host_data = diff_native_data();
	run->guest_data = diff_guest_data(run->guest);
	diff_rand_seed(&r, run->o->seed, ~0ull);
	for (unsigned i = 0; i < DIFF_DATA_BYTES; i += 16)
		diff_value_vector(&r, run->base + i, 16);
	memcpy(run->host_data, run->base, DIFF_DATA_BYTES);
	memcpy(run->guest_data, run->base, DIFF_DATA_BYTES);
	return diff_native_protect() < 0 ? 2 : 0;
}

static void diff_loop(struct diff_run *run)
{
	uint64_t start = clock_mono_ns();
	uint64_t limit = (uint64_t)(run->o->seconds * 1e9);
	double took;

	for (uint64_t i = 0; i < run->o->cases; i++) {
		diff_one(run, run->o->first + i);
		if (limit && i % 1024 == 0 && clock_mono_ns() - start > limit)
			break;
	}
	took = (double)(clock_mono_ns() - start) / 1e9;
	printf("diff: %llu cases of %u rows, %llu faults, %.0f cases/s: "
	       "%llu differences (%llu vanished when repeated)\n",
	       (unsigned long long)run->done, diff_gen_rows(run->gen),
	       (unsigned long long)run->faults, (double)run->done / took,
	       (unsigned long long)run->different,
	       (unsigned long long)run->vanished);
	if (run->o->coverage)
		diff_gen_report(run->gen, stdout);
}

static bool diff_parse(struct diff_options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "engine", required_argument, NULL, 'e' },
		{ "seed", required_argument, NULL, 's' },
		{ "cases", required_argument, NULL, 'n' },
		{ "case", required_argument, NULL, 'c' },
		{ "only", required_argument, NULL, 'o' },
		{ "seconds", required_argument, NULL, 't' },
		{ "max-shown", required_argument, NULL, 'm' },
		{ "length", required_argument, NULL, 'l' },
		{ "code32", no_argument, NULL, '3' },
		{ "coverage", no_argument, NULL, 'v' },
		{ "verbose", no_argument, NULL, 'V' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (opt) {
		case 'e':
			o->engine = optarg;
			break;
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			o->cases = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->first = strtoull(optarg, NULL, 0);
			o->cases = 1;
			break;
		case 'o':
			o->only = optarg;
			break;
		case 't':
			o->seconds = strtod(optarg, NULL);
			break;
		case '3':
			o->mode = X86_MODE_CODE32;
			break;
		case 'l':
			o->length = (unsigned)atoi(optarg);
			break;
		case 'm':
			o->max_shown = (unsigned)atoi(optarg);
			break;
		case 'v':
			o->coverage = true;
			break;
		case 'V':
			o->verbose = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc;
}

int main(int argc, char **argv)
{
	static struct diff_run run;
	struct diff_options o = { .engine = "interpreter",
				  .seed = 1,
				  .cases = 1000000,
				  .length = 1,
				  .mode = X86_MODE_CODE64,
				  .max_shown = 2 };
	int rc;

	if (!diff_parse(&o, argc, argv))
		return 2;
#ifdef __SANITIZE_ADDRESS__
	puts("skipped: AddressSanitizer's shadow lies where random addresses "
	     "are to fault; `make sanitize` runs this with UBSan alone");
	return 77;
#endif
	run.o = &o;
	rc = diff_setup(&run);
	if (rc == 0)
		diff_loop(&run);
	diff_guest_free(run.guest);
	diff_gen_free(run.gen);
	return rc ? rc : run.different != 0;
}
