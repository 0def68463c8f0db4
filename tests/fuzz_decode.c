/*
 * fuzz_decode.c - any bytes, any mode: the decoder stays inside its input and
 * what it says of an instruction holds together.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "insn_gen.h"

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

static const unsigned fuzz_modes[] = {
	X86_MODE_CODE64,
	X86_MODE_CODE32,
	X86_MODE_CODE16,
	X86_MODE_CODE16 | X86_MODE_REAL,
};

static void fuzz_check(const struct x86_insn *in, size_t len)
{
	if (in->len == 0 || in->len > len || in->len > X86_INSN_MAX)
		abort();
	if (in->op != in->desc->op || in->seg > X86_GS)
		abort();
	for (unsigned i = 0; i < 4; i++)
		if (in->o[i].reg > 15 || in->o[i].size > 32)
			abort();
}

/* First byte: the mode; the rest, on the heap so that ASan sees its end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct x86_insn in;
	uint8_t *copy;

	if (len < 1)
		return 0;
	copy = malloc(len);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, len - 1);
	if (x86_decode(&in, copy, (unsigned)len - 1, fuzz_modes[data[0] & 3]) ==
	    X86_DECODE_OK)
		fuzz_check(&in, len - 1);
	free(copy);
	return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct rng rng = { i };
	unsigned len = 0;

	if (!x86_desc_at(i / 4) || cap < 1 + X86_INSN_MAX)
		return 0;
	buf[0] = i & 3;
	if (!insn_gen(&rng, i / 4, fuzz_modes[i & 3], buf + 1, &len))
		len = 1;
	return 1 + len;
}
