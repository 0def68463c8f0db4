/*
 * test_interp_fast.c - the fast handlers do what the generic ones do.
 *
 * Random instructions, on random registers of which some point into memory
 * and some nowhere; each that has a fast handler is executed by both, from
 * the same state, and registers, flags, memory and faults must agree.
 * Seeded: INTERP_FAST_SEED and INTERP_FAST_CASES in the environment.
 */
#include "x86_harness.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/interpreter/fast.h"
#include "cpu/interpreter/table.h"
#include "cpu/x86/mmu.h"

#define FAST_CASES 200000u

struct outcome {
	uint64_t gpr[16], rip, rflags;
	bool raised;
	uint8_t vector;
	uint64_t cr2;
	uint8_t data[4096];
};

static uint64_t fast_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Prefixes, one of the opcodes that matter, and noise. */
static void fast_random_code(uint64_t *seed, uint8_t code[16])
{
	static const uint8_t two_bytes[] = { 0xb6, 0xb7, 0xbe, 0xbf,
					     0xaf, 0x84, 0x90, 0x40 };
	uint64_t r = fast_random(seed);
	unsigned i, n = 0;

	for (i = 0; i < 16; i++)
		code[i] = (uint8_t)fast_random(seed);
	if (!(r & 7))
		code[n++] = r & 8 ? 0x64 : 0x66;
	if (r & 16)
		code[n++] = 0x40 | (r >> 8 & 15);
	if ((r & 0x60) == 0x60) {
		code[n++] = 0x0f;
		code[n] = two_bytes[r >> 16 & 7];
		if (!(code[n] & 15)) /* a row of conditions */
			code[n] |= r >> 20 & 15;
	}
	/* small displacements, so that memory is hit */
	code[n + 3] = r & 128 ? 0 : code[n + 3];
	code[n + 4] = code[n + 5] = code[n + 6] = r & 128 ? 0 : 0xff;
}

static void fast_random_state(struct harness *h, uint64_t *seed)
{
	struct x86_cpu *cpu = h->cpu;
	uint8_t *data = harness_ptr(h, HARNESS_DATA);
	unsigned i;

	for (i = 0; i < 16; i++) {
		uint64_t r = fast_random(seed);

		cpu->gpr[i] = r & 1          ? HARNESS_DATA + (r >> 8 & 0xfff)
			      : (r & 6) == 2 ? r >> 60
					     : fast_random(seed);
	}
	for (i = 0; i < 4096; i++)
		data[i] = (uint8_t)fast_random(seed);
	cpu->rflags = 2 | (fast_random(seed) & X86_FLAGS_ARITH);
	cpu->seg[X86_FS].base = fast_random(seed) & 0xf0;
}

static void fast_save(struct harness *h, struct outcome *o)
{
	memcpy(o->gpr, h->cpu->gpr, sizeof(o->gpr));
	o->rip = h->cpu->rip;
	o->rflags = h->cpu->rflags;
	memcpy(o->data, harness_ptr(h, HARNESS_DATA), sizeof(o->data));
}

static void fast_restore(struct harness *h, const struct outcome *o)
{
	memcpy(h->cpu->gpr, o->gpr, sizeof(o->gpr));
	h->cpu->rip = o->rip;
	h->cpu->rflags = o->rflags;
	memcpy(harness_ptr(h, HARNESS_DATA), o->data, sizeof(o->data));
}

static void fast_execute(struct harness *h, const struct x86_insn *insn,
			 x86_exec_fn *fn, struct outcome *out)
{
	struct x86_cpu *cpu = h->cpu;

	memset(out, 0, sizeof(*out));
	cpu->insn = insn;
	if (!setjmp(cpu->fault_jmp)) {
		fn(cpu, insn);
	} else {
		out->raised = true;
		out->vector = cpu->fault.vector;
		out->cr2 = cpu->fault.cr2;
	}
	cpu->insn = NULL;
	fast_save(h, out);
}

static bool fast_try_one(struct harness *h, uint64_t *seed)
{
	static struct outcome before, fast, generic;
	x86_exec_fn *fn;
	struct x86_insn insn;
	uint8_t code[16];

	fast_random_code(seed, code);
	if (x86_decode(&insn, code, 15, h->cpu->mode) != X86_DECODE_OK)
		return false;
	fn = fast_select(&insn);
	if (!fn)
		return false;
	assert_ptr_not_equal(fn, interp_exec[insn.op]);
	fast_random_state(h, seed);
	h->cpu->rip = HARNESS_DATA + 0x800;
	fast_save(h, &before);
	fast_execute(h, &insn, interp_exec[insn.op], &generic);
	fast_restore(h, &before);
	fast_execute(h, &insn, fn, &fast);
	if (memcmp(&fast, &generic, sizeof(fast)))
		fail_msg("%s: %02x %02x %02x %02x %02x %02x differs",
			 insn.desc->name, code[0], code[1], code[2], code[3],
			 code[4], code[5]);
	return true;
}

static uint64_t fast_from_environment(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
}

static void fast_handlers_agree_with_generic_ones(void **state)
{
	struct harness *h = harness_new(64);
	uint64_t seed = fast_from_environment("INTERP_FAST_SEED", 1);
	uint64_t cases = fast_from_environment("INTERP_FAST_CASES", FAST_CASES);
	uint64_t i, tried = 0;

	/* one page is all there is: what goes elsewhere faults */
	for (i = 0; i < HARNESS_RAM; i += 4096)
		if (i != HARNESS_DATA)
			*harness_pte(h, i) = 0;
	for (i = 0; i < cases; i++) {
		uint64_t start = seed;

		tried += fast_try_one(h, &seed);
		if (seed == 0)
			seed = start + 1;
	}
	assert_true(tried > cases / 10);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_handlers_agree_with_generic_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
