/* cpuid_bits.h - the table of feature flags, for cpuid.c and model.c only. */
#ifndef HOSTEL_CPU_X86_CPUID_BITS_H
#define HOSTEL_CPU_X86_CPUID_BITS_H

#include <stdbool.h>
#include <stdint.h>

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

struct cpuid_bit {
	uint32_t leaf;
	uint8_t subleaf;
	uint8_t reg; /* enum cpuid_reg */
	uint8_t bit;
	bool host;       /* offered only if the host shows the same bit */
	uint8_t feature; /* enum x86_feature */
};

#define CPUID_BITS 82
extern const struct cpuid_bit cpuid_bits[CPUID_BITS];

/* What VEX-encoded vector instructions need AVX for. */
#define CPUID_NEEDS_AVX                                                        \
	(1ull << X86_FEAT_AVX | 1ull << X86_FEAT_F16C | 1ull << X86_FEAT_FMA | \
	 1ull << X86_FEAT_AVX2 | 1ull << X86_FEAT_VAES |                       \
	 1ull << X86_FEAT_VPCLMUL)

#endif
