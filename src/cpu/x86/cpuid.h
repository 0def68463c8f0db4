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

#include "base/err.h"
#include "base/walk.h"

struct x86_cpu;

/* Family 6, model 36h (Saltwell), stepping 1, as CPUID.1:EAX has it. */
#define X86_CPUID_SIGNATURE 0x00030661u

/* Linear address bits, as CPUID.80000008h:EAX has them. */
#define X86_CPUID_LINEAR_BITS 48

/*
 * IA32_ARCH_CAPABILITIES (MSR 10Ah): which bugs the processor does not have.
 * SDM volume 4, table 2-2.
 */
#define X86_ARCH_CAP_RDCL_NO      (1ull << 0) /* Meltdown, L1TF */
#define X86_ARCH_CAP_SKIP_L1DFL   (1ull << 3)
#define X86_ARCH_CAP_SSB_NO       (1ull << 4)
#define X86_ARCH_CAP_MDS_NO       (1ull << 5)
#define X86_ARCH_CAP_PSCHANGE_NO  (1ull << 6) /* iTLB multihit */
#define X86_ARCH_CAP_TAA_NO       (1ull << 8)
#define X86_ARCH_CAP_SBDR_SSDP_NO (1ull << 13) /* MMIO stale data */
#define X86_ARCH_CAP_FBSDP_NO     (1ull << 14)
#define X86_ARCH_CAP_PSDP_NO      (1ull << 15)
#define X86_ARCH_CAP_BHI_NO       (1ull << 20)
#define X86_ARCH_CAP_PBRSB_NO     (1ull << 24)
#define X86_ARCH_CAP_GDS_NO       (1ull << 26)
#define X86_ARCH_CAP_RFDS_NO      (1ull << 27)
#define X86_ARCH_CAP_ITS_NO       (1ull << 62)
#define X86_ARCH_CAPABILITIES                                                 \
	(X86_ARCH_CAP_RDCL_NO | X86_ARCH_CAP_SKIP_L1DFL |                     \
	 X86_ARCH_CAP_SSB_NO | X86_ARCH_CAP_MDS_NO |                          \
	 X86_ARCH_CAP_PSCHANGE_NO | X86_ARCH_CAP_TAA_NO |                     \
	 X86_ARCH_CAP_SBDR_SSDP_NO | X86_ARCH_CAP_FBSDP_NO |                  \
	 X86_ARCH_CAP_PSDP_NO | X86_ARCH_CAP_BHI_NO | X86_ARCH_CAP_PBRSB_NO | \
	 X86_ARCH_CAP_GDS_NO | X86_ARCH_CAP_RFDS_NO | X86_ARCH_CAP_ITS_NO)

struct x86_cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};
/*
 * Includes what is dynamic: OSXSAVE, APIC id, XSAVE size, KVM leaves.  A leaf
 * beyond the last is zeros, not the last one's contents.
 */
void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	       struct x86_cpuid_regs *out);

/* --- model.c: which flags a guest is shown -------------------------------- */

/* One word for each register of CPUID that holds flags: model_words[]. */
#define X86_MODEL_WORDS 11
struct x86_model {
	uint32_t word[X86_MODEL_WORDS];
};

/* All that the policy offers on this host. */
void x86_model_host(struct x86_model *m);
/*
 * --cpu: "host" (or NULL), "v2", "v3" or a name of model.c.  *m holds what may
 * be offered, and then what is.  -EINVAL with a sentence: no such name, or
 * something that it stands for is not on offer.
 */
int x86_model_choose(struct x86_model *m, const char *name, struct err *err);
/* All of a's flags are in b; else *missing names one of the others. */
bool x86_model_within(const struct x86_model *a, const struct x86_model *b,
		      const char **missing);
/* The flags that a register of a leaf has in m, into a cleared *out. */
void x86_model_flags(const struct x86_model *m, uint32_t leaf, uint32_t subleaf,
		     struct x86_cpuid_regs *out);
/* Keeps of a leaf's flags those that *keep has. */
void x86_model_mask(struct x86_model *m, uint32_t leaf, uint32_t subleaf,
		    const struct x86_cpuid_regs *keep);
/* Takes XSAVE away, and what needs it. */
void x86_model_without_xsave(struct x86_model *m);
/* Within a section. */
void x86_model_walk(struct x86_model *m, struct walk *w);

/* Features an instruction may need (x86_desc.feature). */
enum x86_feature {
	X86_FEAT_NONE,
	X86_FEAT_CX16,
	X86_FEAT_SSE3,
	X86_FEAT_SSSE3,
	X86_FEAT_SSE41,
	X86_FEAT_SSE42,
	X86_FEAT_AES,
	X86_FEAT_PCLMUL,
	X86_FEAT_SHA,
	X86_FEAT_AVX,
	X86_FEAT_F16C,
	X86_FEAT_FMA,
	X86_FEAT_AVX2,
	X86_FEAT_BMI1,
	X86_FEAT_BMI2,
	X86_FEAT_ADX,
	X86_FEAT_MOVBE,
	X86_FEAT_POPCNT,
	X86_FEAT_LZCNT,
	X86_FEAT_RDRAND,
	X86_FEAT_RDSEED,
	X86_FEAT_RDPID,
	X86_FEAT_FSGSBASE,
	X86_FEAT_XSAVE,
	X86_FEAT_XSAVEOPT,
	X86_FEAT_XSAVEC,
	X86_FEAT_INVPCID,
	X86_FEAT_CLFLUSHOPT,
	X86_FEAT_CLWB,
	X86_FEAT_VAES,
	X86_FEAT_VPCLMUL,
	X86_FEAT_GFNI,
	X86_FEAT_MOVDIRI,
	X86_FEAT_NEVER, /* decoded, never offered */
	X86_FEAT_COUNT,
};
/* Offered to guests on this host?  Constant for the process' life. */
bool x86_has(enum x86_feature f);

#endif
