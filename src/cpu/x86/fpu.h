/*
 * fpu.h - fields of the x87/SSE/AVX state as it lies in struct x86_xsave.
 *
 * Source: Intel SDM volume 1, 10.5.1 (legacy region, 64-bit FXSAVE layout)
 * and 13.4.  FIP and FDP are kept as 64-bit offsets; the selectors FCS and
 * FDS are deprecated (CPUID.7.EBX[13]) and always read as 0.
 *
 *	0 FCW  2 FSW  4 FTW (abridged: bit i set: R(i) is not empty)
 *	6 FOP  8 FIP  16 FDP  24 MXCSR  28 MXCSR_MASK
 *	32 ST(0)..ST(7), 16 bytes each   160 XMM0..XMM15   576 YMM high halves
 */
#ifndef HOSTEL_CPU_X86_FPU_H
#define HOSTEL_CPU_X86_FPU_H

#include <stdint.h>
#include <string.h>

#include "cpu/x86/cpu.h"

enum {
	FPU_FCW = 0,
	FPU_FSW = 2,
	FPU_FTW = 4,
	FPU_FOP = 6,
	FPU_FIP = 8,
	FPU_FDP = 16,
	FPU_MXCSR = 24,
	FPU_MXCSR_MASK = 28,
	FPU_ST = 32,
	FPU_XSTATE_BV = 512,
};

#define FPU_FSW_ES     0x0080
#define FPU_FSW_B      0x8000
#define FPU_FSW_TOP    0x3800
#define FPU_FCW_INIT   0x037f
#define FPU_MXCSR_INIT 0x1f80u
/* Bits of MXCSR that exist; writing others is #GP(0). */
#define FPU_MXCSR_VALID 0xffffu
#define FPU_MXCSR_FLAGS 0x3fu

static inline uint16_t fpu_get16(const struct x86_cpu *cpu, unsigned off)
{
	uint16_t v;

	memcpy(&v, cpu->fpu.b + off, sizeof(v));
	return v;
}

static inline uint32_t fpu_get32(const struct x86_cpu *cpu, unsigned off)
{
	uint32_t v;

	memcpy(&v, cpu->fpu.b + off, sizeof(v));
	return v;
}

static inline uint64_t fpu_get64(const struct x86_cpu *cpu, unsigned off)
{
	uint64_t v;

	memcpy(&v, cpu->fpu.b + off, sizeof(v));
	return v;
}

static inline void fpu_set16(struct x86_cpu *cpu, unsigned off, uint16_t v)
{
	memcpy(cpu->fpu.b + off, &v, sizeof(v));
}

static inline void fpu_set32(struct x86_cpu *cpu, unsigned off, uint32_t v)
{
	memcpy(cpu->fpu.b + off, &v, sizeof(v));
}

static inline void fpu_set64(struct x86_cpu *cpu, unsigned off, uint64_t v)
{
	memcpy(cpu->fpu.b + off, &v, sizeof(v));
}

/* An x87 exception is flagged and not masked: ES is, or will be, set. */
static inline bool fpu_x87_pending(const struct x86_cpu *cpu)
{
	return fpu_get16(cpu, FPU_FSW) & ~fpu_get16(cpu, FPU_FCW) & 0x3f;
}

/*
 * Does the host report FOP, FIP and FDP always (Intel), or only while an
 * unmasked exception is pending and as 0 otherwise (AMD)?  Guests see what
 * the host's processor does.  thunk.c; after thunk_init().
 */
bool fpu_host_keeps_pointers(void);

static inline bool fpu_pointers_visible(const struct x86_cpu *cpu)
{
	return fpu_x87_pending(cpu) || fpu_host_keeps_pointers();
}

/*
 * The image holds registers by distance from TOP; the registers themselves
 * stay where they are when TOP alone changes.
 */
void fpu_change_top(struct x86_cpu *cpu, unsigned top);

static inline uint8_t *fpu_xmm(struct x86_cpu *cpu, unsigned reg)
{
	return cpu->fpu.b + X86_XMM_OFFSET + 16 * reg;
}

static inline uint8_t *fpu_ymm_high(struct x86_cpu *cpu, unsigned reg)
{
	return cpu->fpu.b + X86_YMMH_OFFSET + 16 * reg;
}

#endif
