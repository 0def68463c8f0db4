/*
 * test_model.c - which flags a guest is shown: names, limits, saved state.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_bits.h"

static struct x86_cpuid_regs model_leaf(const struct x86_model *m,
					uint32_t leaf, uint32_t subleaf)
{
	struct x86_cpuid_regs r = { 0, 0, 0, 0 };

	x86_model_flags(m, leaf, subleaf, &r);
	return r;
}

/* A model of all that could be, whatever this host has. */
static void model_all(struct x86_model *m)
{
	memset(m, 0xff, sizeof(*m));
}

static void every_flag_has_a_word(void **state)
{
	struct x86_model m;

	model_all(&m);
	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];
		struct x86_cpuid_regs r = model_leaf(&m, b->leaf, b->subleaf);
		const uint32_t reg[] = { r.eax, r.ebx, r.ecx, r.edx };

		assert_true(reg[b->reg] >> b->bit & 1);
	}
}

static void the_hosts_model_is_what_cpuid_shows(void **state)
{
	struct x86_machine xm = { .cpu_count = 1 };
	struct x86_cpu *cpu = calloc(1, sizeof(*cpu));
	static const uint32_t leaves[] = { 1, 7, 0xd, 0x80000001 };
	struct x86_cpuid_regs plain, modelled;

	cpu->xm = &xm;
	x86_model_host(&xm.model);
	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		xm.has_model = false;
		x86_cpuid(cpu, leaves[i], 0, &plain);
		xm.has_model = true;
		x86_cpuid(cpu, leaves[i], 0, &modelled);
		assert_memory_equal(&plain, &modelled, sizeof(plain));
	}
	free(cpu);
}

static void without_avx_there_is_no_area_for_it(void **state)
{
	struct x86_machine xm = { .cpu_count = 1, .has_model = true };
	struct x86_cpu *cpu = calloc(1, sizeof(*cpu));
	struct x86_cpuid_regs d;

	cpu->xm = &xm;
	model_all(&xm.model);
	x86_cpuid(cpu, 0xd, 0, &d);
	assert_int_equal(d.eax, 7);
	assert_int_equal(x86_model_choose(&xm.model, "v2", NULL), 0);
	x86_cpuid(cpu, 0xd, 0, &d);
	assert_int_equal(d.eax, 3);
	free(cpu);
}

static void without_xsave_goes_what_needs_it(void **state)
{
	struct x86_model m, none;
	const char *missing = "";

	memset(&none, 0, sizeof(none));
	model_all(&m);
	x86_model_without_xsave(&m);
	assert_int_equal(model_leaf(&m, 1, 0).ecx & 0x34001000, 0);
	assert_int_equal(model_leaf(&m, 7, 0).ebx & 0x20, 0);
	assert_int_equal(model_leaf(&m, 7, 0).ecx & 0x600, 0);
	assert_int_equal(model_leaf(&m, 0xd, 1).eax & 3, 0);
	assert_int_equal(x86_model_choose(&m, "v2", NULL), 0);
	assert_false(x86_model_within(&m, &none, &missing));
	model_all(&m);
	x86_model_without_xsave(&m);
	assert_int_equal(x86_model_choose(&m, "v3", NULL), -EINVAL);
}

static void names_stand_for_features(void **state)
{
	static const char *const names[] = { "v1",      "v2",       "v3",
					     "nehalem", "westmere", "haswell",
					     "skylake", "zen" };
	struct x86_model all, m;
	const char *missing;

	model_all(&all);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		m = all;
		assert_int_equal(x86_model_choose(&m, names[i], NULL), 0);
		assert_true(x86_model_within(&m, &all, &missing));
		assert_false(x86_model_within(&all, &m, &missing));
	}
	m = all;
	x86_model_choose(&m, "v2", NULL);
	assert_true(model_leaf(&m, 1, 0).ecx & 1u << 20);  /* SSE4.2 */
	assert_false(model_leaf(&m, 1, 0).ecx & 1u << 28); /* AVX */
	m = all;
	x86_model_choose(&m, "v3", NULL);
	assert_true(model_leaf(&m, 7, 0).ebx & 1u << 5);   /* AVX2 */
	assert_false(model_leaf(&m, 1, 0).ecx & 1u << 25); /* AES */
}

static void what_is_not_there_is_refused_by_name(void **state)
{
	struct x86_cpuid_regs none = { 0, 0, 0, 0 };
	struct err err = { "" };
	struct x86_model m;

	model_all(&m);
	x86_model_mask(&m, 7, 0, &none); /* AVX2 is among these */
	assert_int_not_equal(x86_model_choose(&m, "v3", &err), 0);
	assert_non_null(strstr(err.msg, "avx2") ?: strstr(err.msg, "bmi1"));
	model_all(&m);
	assert_int_not_equal(x86_model_choose(&m, "v4", &err), 0);
	assert_non_null(strstr(err.msg, "AVX-512"));
	assert_int_not_equal(x86_model_choose(&m, "vax", &err), 0);
	assert_non_null(strstr(err.msg, "vax"));
}

static void host_and_nothing_leave_all(void **state)
{
	struct x86_model all, m;

	model_all(&all);
	m = all;
	assert_int_equal(x86_model_choose(&m, NULL, NULL), 0);
	assert_int_equal(x86_model_choose(&m, "host", NULL), 0);
	assert_memory_equal(&m, &all, sizeof(m));
}

static void more_than_is_offered_is_found_and_named(void **state)
{
	struct x86_cpuid_regs keep = { .ecx = ~(1u << 25), .edx = ~0u };
	struct x86_model all, less;
	const char *missing = "";

	model_all(&all);
	less = all;
	x86_model_mask(&less, 1, 0, &keep);
	assert_true(x86_model_within(&less, &all, &missing));
	assert_false(x86_model_within(&all, &less, &missing));
	assert_string_equal(missing, "aes");
}

static void a_model_goes_through_the_walker(void **state)
{
	struct x86_model a, b;
	char *buf;
	size_t len;
	FILE *f = open_memstream(&buf, &len);
	struct walk *w = walk_save_to(f);

	for (unsigned i = 0; i < X86_MODEL_WORDS; i++)
		a.word[i] = 0x01010101u * (i + 1);
	assert_true(walk_section(w, "machine", 0, 1));
	x86_model_walk(&a, w);
	walk_end(w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(f);
	w = walk_restore_from(buf, len);
	assert_true(walk_section(w, "machine", 0, 1));
	x86_model_walk(&b, w);
	walk_end(w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	assert_memory_equal(&a, &b, sizeof(a));
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flag_has_a_word),
		cmocka_unit_test(the_hosts_model_is_what_cpuid_shows),
		cmocka_unit_test(without_avx_there_is_no_area_for_it),
		cmocka_unit_test(without_xsave_goes_what_needs_it),
		cmocka_unit_test(names_stand_for_features),
		cmocka_unit_test(what_is_not_there_is_refused_by_name),
		cmocka_unit_test(host_and_nothing_leave_all),
		cmocka_unit_test(more_than_is_offered_is_found_and_named),
		cmocka_unit_test(a_model_goes_through_the_walker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
