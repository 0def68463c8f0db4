/*
 * cpuid.c - the processor that a guest sees.
 *
 * Theory of operation.  cpuid_bits[] lists every feature flag that guests may
 * see: where CPUID shows it, and what it hangs on: nothing (every engine does
 * it by itself), or the host's processor, which executes the instruction.
 * Flags and x86_has() come from this one table, so that an instruction is
 * offered exactly where it is decoded.  The remaining leaves are numbers; a
 * table of functions makes them.
 *
 * Nothing depends on the engine, so a guest may go on under another one.
 *
 * Source: SDM volume 2A, CPUID; Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "cpu/x86/cpuid.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/cpuid_bits.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/mmu.h"

#define CPUID_MAX_BASIC    0x16u
#define CPUID_KVM          0x40000000u
#define CPUID_KVM_TIMING   0x40000010u
#define CPUID_EXTENDED     0x80000000u
#define CPUID_MAX_EXTENDED 0x80000008u

/* --- Feature flags ------------------------------------------------------- */

#define CPUID_OWN(leaf, sub, reg, bit, feat)                        \
	{                                                           \
		leaf, sub, CPUID_##reg, bit, false, X86_FEAT_##feat \
	}
#define CPUID_HOST(leaf, sub, reg, bit, feat)                      \
	{                                                          \
		leaf, sub, CPUID_##reg, bit, true, X86_FEAT_##feat \
	}
#define CPUID_PLAIN(leaf, sub, reg, bit) CPUID_OWN(leaf, sub, reg, bit, NONE)

const struct cpuid_bit cpuid_bits[CPUID_BITS] = {
	CPUID_HOST(1, 0, ECX, 0, SSE3),
	CPUID_HOST(1, 0, ECX, 1, PCLMUL),
	CPUID_HOST(1, 0, ECX, 9, SSSE3),
	CPUID_HOST(1, 0, ECX, 12, FMA),
	CPUID_HOST(1, 0, ECX, 13, CX16),
	CPUID_PLAIN(1, 0, ECX, 17), /* PCID */
	CPUID_HOST(1, 0, ECX, 19, SSE41),
	CPUID_HOST(1, 0, ECX, 20, SSE42),
	CPUID_PLAIN(1, 0, ECX, 21), /* x2APIC */
	CPUID_HOST(1, 0, ECX, 22, MOVBE),
	CPUID_HOST(1, 0, ECX, 23, POPCNT),
	CPUID_PLAIN(1, 0, ECX, 24), /* TSC deadline */
	CPUID_HOST(1, 0, ECX, 25, AES),
	CPUID_OWN(1, 0, ECX, 26, XSAVE),
	CPUID_HOST(1, 0, ECX, 28, AVX),
	CPUID_HOST(1, 0, ECX, 29, F16C),
	CPUID_HOST(1, 0, ECX, 30, RDRAND),
	CPUID_PLAIN(1, 0, ECX, 31), /* hypervisor */
	CPUID_PLAIN(1, 0, EDX, 0),  /* x87 */
	CPUID_PLAIN(1, 0, EDX, 1),  /* VME */
	CPUID_PLAIN(1, 0, EDX, 2),  /* DE */
	CPUID_PLAIN(1, 0, EDX, 3),  /* PSE */
	CPUID_PLAIN(1, 0, EDX, 4),  /* TSC */
	CPUID_PLAIN(1, 0, EDX, 5),  /* MSR */
	CPUID_PLAIN(1, 0, EDX, 6),  /* PAE */
	CPUID_PLAIN(1, 0, EDX, 7),  /* MCE */
	CPUID_PLAIN(1, 0, EDX, 8),  /* CMPXCHG8B */
	CPUID_PLAIN(1, 0, EDX, 9),  /* APIC */
	CPUID_PLAIN(1, 0, EDX, 11), /* SYSENTER */
	CPUID_PLAIN(1, 0, EDX, 12), /* MTRR */
	CPUID_PLAIN(1, 0, EDX, 13), /* PGE */
	CPUID_PLAIN(1, 0, EDX, 14), /* MCA */
	CPUID_PLAIN(1, 0, EDX, 15), /* CMOV */
	CPUID_PLAIN(1, 0, EDX, 16), /* PAT */
	CPUID_PLAIN(1, 0, EDX, 17), /* PSE-36 */
	CPUID_PLAIN(1, 0, EDX, 19), /* CLFLUSH */
	CPUID_PLAIN(1, 0, EDX, 23), /* MMX */
	CPUID_PLAIN(1, 0, EDX, 24), /* FXSAVE */
	CPUID_PLAIN(1, 0, EDX, 25), /* SSE */
	CPUID_PLAIN(1, 0, EDX, 26), /* SSE2 */
	CPUID_PLAIN(1, 0, EDX, 27), /* self-snoop */
	CPUID_PLAIN(6, 0, EAX, 2),  /* ARAT */
	CPUID_OWN(7, 0, EBX, 0, FSGSBASE),
	CPUID_PLAIN(7, 0, EBX, 1), /* TSC_ADJUST */
	CPUID_HOST(7, 0, EBX, 3, BMI1),
	CPUID_HOST(7, 0, EBX, 5, AVX2),
	CPUID_PLAIN(7, 0, EBX, 7), /* SMEP */
	CPUID_HOST(7, 0, EBX, 8, BMI2),
	CPUID_PLAIN(7, 0, EBX, 9), /* ERMS: REP MOVSB is done in bulk */
	CPUID_OWN(7, 0, EBX, 10, INVPCID),
	CPUID_PLAIN(7, 0, EBX, 13), /* no FCS and FDS */
	CPUID_HOST(7, 0, EBX, 18, RDSEED),
	CPUID_HOST(7, 0, EBX, 19, ADX),
	CPUID_PLAIN(7, 0, EBX, 20), /* SMAP */
	CPUID_OWN(7, 0, EBX, 23, CLFLUSHOPT),
	CPUID_OWN(7, 0, EBX, 24, CLWB),
	CPUID_HOST(7, 0, EBX, 29, SHA),
	CPUID_PLAIN(7, 0, ECX, 2), /* UMIP */
	CPUID_HOST(7, 0, ECX, 8, GFNI),
	CPUID_HOST(7, 0, ECX, 9, VAES),
	CPUID_HOST(7, 0, ECX, 10, VPCLMUL),
	CPUID_OWN(7, 0, ECX, 22, RDPID),
	CPUID_OWN(7, 0, ECX, 27, MOVDIRI),
	CPUID_PLAIN(7, 0, EDX, 4),  /* FSRM */
	CPUID_PLAIN(7, 0, EDX, 29), /* IA32_ARCH_CAPABILITIES */
	CPUID_OWN(0xd, 1, EAX, 0, XSAVEOPT),
	CPUID_OWN(0xd, 1, EAX, 1, XSAVEC),
	CPUID_PLAIN(0xd, 1, EAX, 2),                /* XGETBV with ECX = 1 */
	CPUID_PLAIN(CPUID_KVM + 1, 0, EAX, 0),      /* kvmclock, old MSRs */
	CPUID_PLAIN(CPUID_KVM + 1, 0, EAX, 1),      /* no delay for port I/O */
	CPUID_PLAIN(CPUID_KVM + 1, 0, EAX, 3),      /* kvmclock */
	CPUID_PLAIN(CPUID_KVM + 1, 0, EAX, 7),      /* KVM_HC_KICK_CPU */
	CPUID_PLAIN(CPUID_KVM + 1, 0, EAX, 24),     /* kvmclock is stable */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, ECX, 0), /* LAHF in 64-bit code */
	CPUID_HOST(CPUID_EXTENDED + 1, 0, ECX, 5, LZCNT),
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, ECX, 8),  /* PREFETCHW */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, EDX, 11), /* SYSCALL */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, EDX, 20), /* NX */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, EDX, 26), /* 1 GiB pages */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, EDX, 27), /* RDTSCP */
	CPUID_PLAIN(CPUID_EXTENDED + 1, 0, EDX, 29), /* long mode */
	CPUID_PLAIN(CPUID_EXTENDED + 7, 0, EDX, 8),  /* invariant TSC */
};

/* --- The host ------------------------------------------------------------ */

static bool cpuid_host_bit(const struct cpuid_bit *b)
{
	unsigned r[4];

	return __get_cpuid_count(b->leaf, b->subleaf, &r[0], &r[1], &r[2],
				 &r[3]) &&
	       r[b->reg] >> b->bit & 1;
}

/* Has the host's kernel switched AVX on?  SDM volume 1, 14.3. */
static bool cpuid_host_avx(void)
{
	unsigned a, b, c, d, lo, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (lo & 6) == 6;
}

static uint64_t cpuid_find_features(void)
{
	uint64_t found = 1ull << X86_FEAT_NONE;

	_Static_assert(X86_FEAT_COUNT < 63, "features fit a word");
	for (unsigned i = 0; i < CPUID_BITS; i++)
		if (!cpuid_bits[i].host || cpuid_host_bit(&cpuid_bits[i]))
			found |= 1ull << cpuid_bits[i].feature;
	if (!cpuid_host_avx())
		found &= ~CPUID_NEEDS_AVX;
	return found;
}

/*
 * Found once: CPUID is slow, and slower in a virtual machine.  Threads that
 * race find the same; bit 63 says that it is there.
 */
static atomic_ullong cpuid_features;

bool x86_has(enum x86_feature f)
{
	uint64_t found =
		atomic_load_explicit(&cpuid_features, memory_order_relaxed);

	if (!found) {
		found = cpuid_find_features() | 1ull << 63;
		atomic_store_explicit(&cpuid_features, found,
				      memory_order_relaxed);
	}
	return found >> f & 1;
}

/* --- Leaves --------------------------------------------------------------- */

typedef void cpuid_fn(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		      struct x86_cpuid_regs *r);

static void cpuid_flags(const struct x86_cpu *cpu, uint32_t leaf,
			uint32_t subleaf, struct x86_cpuid_regs *r)
{
	uint32_t *const reg[] = { &r->eax, &r->ebx, &r->ecx, &r->edx };

	if (cpu->xm && cpu->xm->has_model) {
		x86_model_flags(&cpu->xm->model, leaf, subleaf, r);
		return;
	}
	for (unsigned i = 0; i < CPUID_BITS; i++) {
		const struct cpuid_bit *b = &cpuid_bits[i];

		if (b->leaf == leaf && b->subleaf == subleaf &&
		    x86_has(b->feature))
			*reg[b->reg] |= 1u << b->bit;
	}
}

static unsigned cpuid_cpu_count(const struct x86_cpu *cpu)
{
	return cpu->xm && cpu->xm->cpu_count ? cpu->xm->cpu_count : 1;
}

static uint32_t cpuid_tsc_khz(const struct x86_cpu *cpu)
{
	return cpu->xm ? cpu->xm->tsc_khz : 0;
}

/* Bits of the APIC id that number the cores of the one package. */
static unsigned cpuid_core_bits(const struct x86_cpu *cpu)
{
	unsigned n = cpuid_cpu_count(cpu), bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static uint32_t cpuid_word(const char *s)
{
	uint32_t w;

	memcpy(&w, s, 4);
	return w;
}

static void cpuid_vendor(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			 struct x86_cpuid_regs *r)
{
	r->eax = CPUID_MAX_BASIC;
	r->ebx = cpuid_word("Genu");
	r->edx = cpuid_word("ineI");
	r->ecx = cpuid_word("ntel");
}

/* IA32_APIC_BASE.EN = 0 hides the local APIC: SDM volume 3A, 11.4.3. */
static bool cpuid_apic_off(struct x86_cpu *cpu)
{
	uint64_t base;

	return cpu->lapic && lapic_rdmsr(cpu->lapic, 0x1b, &base) &&
	       !(base & 1 << 11);
}

static void cpuid_version(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			  struct x86_cpuid_regs *r)
{
	unsigned n = 1u << cpuid_core_bits(cpu);

	r->eax = X86_CPUID_SIGNATURE;
	r->ebx = (cpu->index & 0xff) << 24 | (n & 0xff) << 16 | 8 << 8;
	if (n > 1)
		r->edx |= 1u << 28;
	if (cpu->cr4 & X86_CR4_OSXSAVE)
		r->ecx |= 1u << 27;
	if (cpuid_apic_off(cpu))
		r->edx &= ~(1u << 9);
}

/* Descriptor ff: see leaf 4 for caches; the others describe TLBs. */
static void cpuid_tlb(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		      struct x86_cpuid_regs *r)
{
	*r = (struct x86_cpuid_regs){ 0x76036301, 0x00f0b5ff, 0, 0x00c30000 };
}

struct cpuid_cache {
	uint8_t type, level; /* 1 data, 2 code, 3 both */
	bool shared;         /* by all cores of the package */
	uint16_t ways;
	uint32_t sets;
};

static void cpuid_caches(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			 struct x86_cpuid_regs *r)
{
	static const struct cpuid_cache caches[] = {
		{ 1, 1, false, 8, 64 },    /* 32 KiB */
		{ 2, 1, false, 8, 64 },    /* 32 KiB */
		{ 3, 2, false, 16, 1024 }, /* 1 MiB */
		{ 3, 3, true, 16, 32768 }, /* 32 MiB */
	};
	const struct cpuid_cache *c;
	uint32_t cores = (1u << cpuid_core_bits(cpu)) - 1;

	if (subleaf >= sizeof(caches) / sizeof(caches[0]))
		return;
	c = &caches[subleaf];
	r->eax = c->type | c->level << 5 | 1 << 8 | (cores & 0x3f) << 26;
	if (c->shared)
		r->eax |= (cores & 0xfff) << 14;
	r->ebx = (c->ways - 1u) << 22 | (64 - 1); /* 64 bytes a line */
	r->ecx = c->sets - 1;
}

/* Threads, one a core; then cores, all in one package. */
static void cpuid_topology(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			   struct x86_cpuid_regs *r)
{
	r->ecx = subleaf & 0xff;
	r->edx = cpu->index;
	if (subleaf == 0) {
		r->ebx = 1;
		r->ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r->eax = cpuid_core_bits(cpu);
		r->ebx = cpuid_cpu_count(cpu);
		r->ecx |= 2 << 8;
	}
}

static uint32_t cpuid_xsave_size(uint64_t xcr0)
{
	return xcr0 & X86_XCR0_AVX ? X86_XSAVE_SIZE : X86_YMMH_OFFSET;
}

/* SDM volume 1, 13.2. */
static void cpuid_xsave(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			struct x86_cpuid_regs *r)
{
	uint64_t all = X86_XCR0_X87 | X86_XCR0_SSE;
	struct x86_cpuid_regs one = { 0, 0, 0, 0 };

	cpuid_flags(cpu, 1, 0, &one);
	if (one.ecx & bit_AVX)
		all |= X86_XCR0_AVX;
	switch (subleaf) {
	case 0:
		r->eax = all;
		r->ebx = cpuid_xsave_size(cpu->xcr0);
		r->ecx = cpuid_xsave_size(all);
		break;
	case 1: /* the compacted form is no smaller: there are no gaps */
		r->ebx = cpuid_xsave_size(cpu->xcr0);
		break;
	case 2:
		if (all & X86_XCR0_AVX) {
			r->eax = X86_XSAVE_SIZE - X86_YMMH_OFFSET;
			r->ebx = X86_YMMH_OFFSET;
		}
	}
}

/*
 * The fraction for tsc_khz : LAPIC_TIMER_HZ whose numerator times the crystal's
 * kHz stays within 32 bits, since kernels multiply so.  The best of them is
 * mostly off by less than 1 in 10^6, near simple fractions by up to 27.
 */
static void cpuid_tsc_ratio(uint32_t khz, uint32_t *num, uint32_t *den)
{
	const uint64_t crystal = LAPIC_TIMER_HZ / 1000;
	const uint64_t most = UINT32_MAX / crystal;
	uint64_t best = UINT64_MAX;

	for (uint64_t d = 1; d * khz / crystal < most; d++) {
		uint64_t n = (d * khz + crystal / 2) / crystal;
		uint64_t got = n * crystal, want = d * khz;
		uint64_t off =
			(got > want ? got - want : want - got) * crystal / d;

		if (n && off < best) {
			best = off;
			*num = (uint32_t)n;
			*den = (uint32_t)d;
		}
		if (off == 0)
			break;
	}
}

/*
 * TSC = crystal * EBX / EAX.  The crystal also drives the local APIC timer,
 * as Linux takes for granted.
 */
static void cpuid_crystal(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			  struct x86_cpuid_regs *r)
{
	if (cpuid_tsc_khz(cpu) == 0)
		return;
	cpuid_tsc_ratio(cpuid_tsc_khz(cpu), &r->ebx, &r->eax);
	r->ecx = LAPIC_TIMER_HZ;
}

static void cpuid_frequency(struct x86_cpu *cpu, uint32_t leaf,
			    uint32_t subleaf, struct x86_cpuid_regs *r)
{
	r->eax = cpuid_tsc_khz(cpu) / 1000 & 0xffff;
	r->ebx = r->eax;
	r->ecx = 100;
}

static void cpuid_kvm(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		      struct x86_cpuid_regs *r)
{
	r->eax = CPUID_KVM_TIMING;
	r->ebx = cpuid_word("KVMK");
	r->ecx = cpuid_word("VMKV");
	r->edx = cpuid_word("M\0\0");
}

static void cpuid_kvm_timing(struct x86_cpu *cpu, uint32_t leaf,
			     uint32_t subleaf, struct x86_cpuid_regs *r)
{
	r->eax = cpuid_tsc_khz(cpu);
	r->ebx = LAPIC_TIMER_HZ / 1000;
}

static void cpuid_extended(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			   struct x86_cpuid_regs *r)
{
	r->eax = CPUID_MAX_EXTENDED;
}

/* Intel shows SYSCALL only where it works, in 64-bit code. */
static void cpuid_extended_features(struct x86_cpu *cpu, uint32_t leaf,
				    uint32_t subleaf, struct x86_cpuid_regs *r)
{
	if (!x86_code64(cpu))
		r->edx &= ~(1u << 11);
}

static void cpuid_brand(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			struct x86_cpuid_regs *r)
{
	static const char brand[48] = "Hostel Virtual CPU";

	memcpy(r, brand + 16 * (leaf - CPUID_EXTENDED - 2), 16);
}

static void cpuid_l2(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		     struct x86_cpuid_regs *r)
{
	r->ecx = 1024 << 16 | 8 << 12 | 64; /* KiB, 16 ways, bytes a line */
}

static void cpuid_address(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
			  struct x86_cpuid_regs *r)
{
	unsigned fewer = cpu->xm ? cpu->xm->phys_bits : 0;

	r->eax = X86_CPUID_LINEAR_BITS << 8 | (fewer ? fewer : X86_PHYS_BITS);
}

static const struct {
	uint32_t first, last;
	cpuid_fn *fn;
} cpuid_leaves[] = {
	{ 0, 0, cpuid_vendor },
	{ 1, 1, cpuid_version },
	{ 2, 2, cpuid_tlb },
	{ 4, 4, cpuid_caches },
	{ 0xb, 0xb, cpuid_topology },
	{ 0xd, 0xd, cpuid_xsave },
	{ 0x15, 0x15, cpuid_crystal },
	{ 0x16, 0x16, cpuid_frequency },
	{ CPUID_KVM, CPUID_KVM, cpuid_kvm },
	{ CPUID_KVM_TIMING, CPUID_KVM_TIMING, cpuid_kvm_timing },
	{ CPUID_EXTENDED, CPUID_EXTENDED, cpuid_extended },
	{ CPUID_EXTENDED + 1, CPUID_EXTENDED + 1, cpuid_extended_features },
	{ CPUID_EXTENDED + 2, CPUID_EXTENDED + 4, cpuid_brand },
	{ CPUID_EXTENDED + 6, CPUID_EXTENDED + 6, cpuid_l2 },
	{ CPUID_EXTENDED + 8, CPUID_EXTENDED + 8, cpuid_address },
};

/* Leaves without subleaves show the same whatever ECX is. */
static bool cpuid_has_subleaf(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;
}

void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	       struct x86_cpuid_regs *out)
{
	*out = (struct x86_cpuid_regs){ 0, 0, 0, 0 };
	if (!cpuid_has_subleaf(leaf))
		subleaf = 0;
	cpuid_flags(cpu, leaf, subleaf, out);
	for (unsigned i = 0; i < sizeof(cpuid_leaves) / sizeof(cpuid_leaves[0]);
	     i++)
		if (leaf >= cpuid_leaves[i].first &&
		    leaf <= cpuid_leaves[i].last) {
			cpuid_leaves[i].fn(cpu, leaf, subleaf, out);
			return;
		}
}
