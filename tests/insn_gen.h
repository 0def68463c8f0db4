/*
 * insn_gen.h - random valid encodings of a row of the decoder's tables.
 */
#ifndef HOSTEL_TESTS_INSN_GEN_H
#define HOSTEL_TESTS_INSN_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

/*
 * Writes an instruction that x86_decode() takes in mode `mode` (X86_MODE_*)
 * and finds to be x86_desc_at(row), and its length; the bytes behind it are
 * random.  Prefixes, registers, addressing modes and immediates vary.  False:
 * the row has no encoding in this mode, or its feature is not offered.
 */
bool insn_gen(struct rng *rng, unsigned row, unsigned mode, uint8_t out[15],
	      unsigned *len);

#endif
