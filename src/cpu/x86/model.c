/*
 * model.c - which of the flags that cpuid.c knows a guest is shown.
 *
 * A guest keeps the flags it was started with, wherever it goes: they are part
 * of its saved state.  So a processor with fewer of them ("--cpu v3") can be
 * continued in more places than one with all that a host has.
 */
#include "cpu/x86/cpuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cpu/x86/cpuid_bits.h"

static const struct model_word {
	const char *name; /* in saved state */
	uint32_t leaf;
	uint8_t subleaf;
	uint8_t reg;
} model_words[X86_MODEL_WORDS] = {
	{ "1_ecx", 1, 0, CPUID_ECX },
	{ "1_edx", 1, 0, CPUID_EDX },
	{ "6_eax", 6, 0, CPUID_EAX },
	{ "7_ebx", 7, 0, CPUID_EBX },
	{ "7_ecx", 7, 0, CPUID_ECX },
	{ "7_edx", 7, 0, CPUID_EDX },
	{ "d_1_eax", 0xd, 1, CPUID_EAX },
	{ "40000001_eax", 0x40000001, 0, CPUID_EAX },
	{ "80000001_ecx", 0x80000001, 0, CPUID_ECX },
	{ "80000001_edx", 0x80000001, 0, CPUID_EDX },
	{ "80000007_edx", 0x80000007, 0, CPUID_EDX },
};

/* As /proc/cpuinfo calls them; what has no name is in every model. */
static const char *const model_features[X86_FEAT_COUNT] = {
	[X86_FEAT_CX16] = "cx16",
	[X86_FEAT_SSE3] = "sse3",
	[X86_FEAT_SSSE3] = "ssse3",
	[X86_FEAT_SSE41] = "sse4_1",
	[X86_FEAT_SSE42] = "sse4_2",
	[X86_FEAT_AES] = "aes",
	[X86_FEAT_PCLMUL] = "pclmulqdq",
	[X86_FEAT_SHA] = "sha_ni",
	[X86_FEAT_AVX] = "avx",
	[X86_FEAT_F16C] = "f16c",
	[X86_FEAT_FMA] = "fma",
	[X86_FEAT_AVX2] = "avx2",
	[X86_FEAT_BMI1] = "bmi1",
	[X86_FEAT_BMI2] = "bmi2",
	[X86_FEAT_ADX] = "adx",
	[X86_FEAT_MOVBE] = "movbe",
	[X86_FEAT_POPCNT] = "popcnt",
	[X86_FEAT_LZCNT] = "lzcnt",
	[X86_FEAT_RDRAND] = "rdrand",
	[X86_FEAT_RDSEED] = "rdseed",
	[X86_FEAT_RDPID] = "rdpid",
	[X86_FEAT_FSGSBASE] = "fsgsbase",
	[X86_FEAT_XSAVE] = "xsave",
	[X86_FEAT_XSAVEOPT] = "xsaveopt",
	[X86_FEAT_XSAVEC] = "xsavec",
	[X86_FEAT_INVPCID] = "invpcid",
	[X86_FEAT_CLFLUSHOPT] = "clflushopt",
	[X86_FEAT_CLWB] = "clwb",
	[X86_FEAT_VAES] = "vaes",
	[X86_FEAT_VPCLMUL] = "vpclmulqdq",
	[X86_FEAT_GFNI] = "gfni",
	[X86_FEAT_MOVDIRI] = "movdiri",
};

#define MODEL_F(f) (1ull << X86_FEAT_##f)

/* x86-64 psABI, table 3.1 (microarchitecture levels). */
#define MODEL_V2                                                           \
	(MODEL_F(CX16) | MODEL_F(SSE3) | MODEL_F(SSSE3) | MODEL_F(SSE41) | \
	 MODEL_F(SSE42) | MODEL_F(POPCNT))
#define MODEL_V3                                                        \
	(MODEL_V2 | MODEL_F(XSAVE) | MODEL_F(AVX) | MODEL_F(AVX2) |     \
	 MODEL_F(BMI1) | MODEL_F(BMI2) | MODEL_F(F16C) | MODEL_F(FMA) | \
	 MODEL_F(LZCNT) | MODEL_F(MOVBE))
#define MODEL_WESTMERE (MODEL_V2 | MODEL_F(AES) | MODEL_F(PCLMUL))
#define MODEL_HASWELL                                                  \
	(MODEL_V3 | MODEL_F(AES) | MODEL_F(PCLMUL) | MODEL_F(RDRAND) | \
	 MODEL_F(FSGSBASE) | MODEL_F(XSAVEOPT))
#define MODEL_SKYLAKE                                                       \
	(MODEL_HASWELL | MODEL_F(RDSEED) | MODEL_F(ADX) | MODEL_F(XSAVEC) | \
	 MODEL_F(CLFLUSHOPT))
#define MODEL_ZEN (MODEL_SKYLAKE | MODEL_F(SHA))

static const struct model_name {
	const char *name;
	uint64_t features; /* 1 << enum x86_feature */
} model_names[] = {
	{ "v1", 0 },
	{ "v2", MODEL_V2 },
	{ "v3", MODEL_V3 },
	{ "nehalem", MODEL_V2 },
	{ "westmere", MODEL_WESTMERE },
	{ "haswell", MODEL_HASWELL },
	{ "skylake", MODEL_SKYLAKE },
	{ "zen", MODEL_ZEN },
};

#define MODEL_NAMES (sizeof(model_names) / sizeof(model_names[0]))

/* --- Words and bits ------------------------------------------------------- */

static uint32_t *model_word(struct x86_model *m, const struct cpuid_bit *b)
{
	for (unsigned i = 0; i < X86_MODEL_WORDS; i++) {
		const struct model_word *w = &model_words[i];

		if (w->leaf == b->leaf && w->subleaf == b->subleaf &&
		    w->reg == b->reg)
			return &m->word[i];
	}
	return NULL; /* a test holds the tables to each other */
}

void x86_model_host(struct x86_model *m)
{
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];
		uint32_t *word = model_word(m, b);

		if (word && x86_has(b->feature))
			*word |= 1u << b->bit;
	}
}

void x86_model_flags(const struct x86_model *m, uint32_t leaf, uint32_t subleaf,
		     struct x86_cpuid_regs *out)
{
	uint32_t *const reg[] = { &out->eax, &out->ebx, &out->ecx, &out->edx };

	for (unsigned i = 0; i < X86_MODEL_WORDS; i++)
		if (model_words[i].leaf == leaf &&
		    model_words[i].subleaf == subleaf)
			*reg[model_words[i].reg] = m->word[i];
}

void x86_model_mask(struct x86_model *m, uint32_t leaf, uint32_t subleaf,
		    const struct x86_cpuid_regs *keep)
{
	const uint32_t reg[] = { keep->eax, keep->ebx, keep->ecx, keep->edx };

	for (unsigned i = 0; i < X86_MODEL_WORDS; i++)
		if (model_words[i].leaf == leaf &&
		    model_words[i].subleaf == subleaf)
			m->word[i] &= reg[model_words[i].reg];
}

void x86_model_without_xsave(struct x86_model *m)
{
	const uint64_t gone = MODEL_F(XSAVE) | MODEL_F(XSAVEOPT) |
			      MODEL_F(XSAVEC) | CPUID_NEEDS_AVX;

	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];
		uint32_t *word = model_word(m, b);

		if (word && gone >> b->feature & 1)
			*word &= ~(1u << b->bit);
	}
}

void x86_model_walk(struct x86_model *m, struct walk *w)
{
	for (unsigned i = 0; i < X86_MODEL_WORDS; i++)
		walk_u32(w, model_words[i].name, &m->word[i]);
}

/* What a bit is called: a feature, or its place. */
static const char *model_bit_name(unsigned word, uint32_t bits)
{
	const struct model_word *w = &model_words[word];

	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];

		if (b->leaf == w->leaf && b->subleaf == w->subleaf &&
		    b->reg == w->reg && bits >> b->bit & 1 &&
		    model_features[b->feature])
			return model_features[b->feature];
	}
	return w->name;
}

bool x86_model_within(const struct x86_model *a, const struct x86_model *b,
		      const char **missing)
{
	for (unsigned i = 0; i < X86_MODEL_WORDS; i++) {
		uint32_t more = a->word[i] & ~b->word[i];

		if (!more)
			continue;
		*missing = model_bit_name(i, more);
		return false;
	}
	return true;
}

/* --- Names ------------------------------------------------------------------
 */

static const struct model_name *model_find(const char *name)
{
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		if (!strcmp(model_names[i].name, name))
			return &model_names[i];
	return NULL;
}

static int model_unknown(const char *name, struct err *err)
{
	if (!strcmp(name, "v4"))
		return err_set(err, EINVAL,
			       "--cpu v4: this version has no AVX-512 for "
			       "guests; take v3 or host");
	return err_set(err, EINVAL,
		       "--cpu: there is no processor '%.32s'; choose host, v1, "
		       "v2, v3, nehalem, westmere, haswell, skylake or zen",
		       name);
}

/* Features of *m that the name does not stand for go; others must be there. */
static int model_cut(struct x86_model *m, const struct model_name *n,
		     struct err *err)
{
	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];
		uint32_t *word = model_word(m, b);

		if (!word || !model_features[b->feature])
			continue;
		if (!(n->features >> b->feature & 1))
			*word &= ~(1u << b->bit);
		else if (!(*word >> b->bit & 1))
			return err_set(err, EINVAL,
				       "--cpu %s: this host, or its KVM, has "
				       "no %s for guests; choose less, or host",
				       n->name, model_features[b->feature]);
	}
	return 0;
}

int x86_model_choose(struct x86_model *m, const char *name, struct err *err)
{
	const struct model_name *n;

	if (!name || !strcmp(name, "host"))
		return 0;
	n = model_find(name);
	return n ? model_cut(m, n, err) : model_unknown(name, err);
}
