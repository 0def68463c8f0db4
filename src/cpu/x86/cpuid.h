/*
 * cpuid.h - the processor that a guest sees, on every engine.
 *
 * Policy: what the host's processor can do, cut to what every software engine
 * implements, under an identity that stock kernels know to be free of
 * speculation bugs, so that they leave out page-table isolation, retpolines
 * and their like (docs/cpuid.md says which identity and why).
 */
#ifndef HOSTEL_CPU_X86_CPUID_H
#define HOSTEL_CPU_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpu;

struct x86_cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};
/* Includes what is dynamic: OSXSAVE, APIC id, XSAVE size, KVM leaves. */
void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	       struct x86_cpuid_regs *out);

/* Features an instruction may need (x86_desc.feature). */
enum x86_feature {
	X86_FEAT_NONE,
	X86_FEAT_CX16, X86_FEAT_SSE3, X86_FEAT_SSSE3, X86_FEAT_SSE41,
	X86_FEAT_SSE42, X86_FEAT_AES, X86_FEAT_PCLMUL, X86_FEAT_SHA,
	X86_FEAT_AVX, X86_FEAT_F16C, X86_FEAT_FMA, X86_FEAT_AVX2,
	X86_FEAT_BMI1, X86_FEAT_BMI2, X86_FEAT_ADX, X86_FEAT_MOVBE,
	X86_FEAT_POPCNT, X86_FEAT_LZCNT, X86_FEAT_RDRAND, X86_FEAT_RDSEED,
	X86_FEAT_RDPID, X86_FEAT_FSGSBASE, X86_FEAT_XSAVE, X86_FEAT_XSAVEOPT,
	X86_FEAT_XSAVEC, X86_FEAT_INVPCID, X86_FEAT_CLFLUSHOPT, X86_FEAT_CLWB,
	X86_FEAT_VAES, X86_FEAT_VPCLMUL, X86_FEAT_GFNI, X86_FEAT_MOVDIRI,
	X86_FEAT_NEVER, /* decoded, never offered */
	X86_FEAT_COUNT,
};
/* Offered to guests on this host?  Constant for the process' life. */
bool x86_has(enum x86_feature f);

#endif
