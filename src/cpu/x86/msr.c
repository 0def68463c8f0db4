/*
 * msr.c - RDMSR and WRMSR: one table.
 *
 * Source: Intel SDM volume 4; Linux msr.rst for 4b564dxx.  Rows are searched
 * in order, those that kernels use all the time first.  What has no row is
 * #GP, which kernels expect of a processor that is younger or older than they
 * thought.  Rows that read 0 and ignore writes are registers that some kernel
 * touches without asking CPUID first.
 */
#include "cpu/x86/msr.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/log.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

struct msr_row;
typedef bool msr_read_fn(struct x86_cpu *cpu, const struct msr_row *row,
			 uint32_t index, uint64_t *value);
typedef bool msr_write_fn(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t value);

struct msr_row {
	uint32_t first, last;
	msr_read_fn *read;   /* NULL: #GP */
	msr_write_fn *write; /* NULL: #GP */
	uint32_t offset;     /* of the field(s) in struct x86_cpu */
	uint64_t arg;        /* constant to read, or bits that may be set */
};

static uint64_t *msr_field(struct x86_cpu *cpu, const struct msr_row *row,
			   uint32_t index)
{
	return (uint64_t *)((char *)cpu + row->offset) + (index - row->first);
}

/* --- Plain kinds --------------------------------------------------------- */

static bool msr_get_field(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t *value)
{
	*value = *msr_field(cpu, row, index);
	return true;
}

static bool msr_set_masked(struct x86_cpu *cpu, const struct msr_row *row,
			   uint32_t index, uint64_t value)
{
	if (value & ~row->arg)
		return false;
	*msr_field(cpu, row, index) = value;
	return true;
}

static bool msr_set_canonical(struct x86_cpu *cpu, const struct msr_row *row,
			      uint32_t index, uint64_t value)
{
	if (!x86_canonical(cpu, value))
		return false;
	*msr_field(cpu, row, index) = value;
	return true;
}

static bool msr_get_const(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t *value)
{
	*value = row->arg;
	return true;
}

static bool msr_ignore(struct x86_cpu *cpu, const struct msr_row *row,
		       uint32_t index, uint64_t value)
{
	return true;
}

/* --- TSC ----------------------------------------------------------------- */

static bool msr_get_tsc(struct x86_cpu *cpu, const struct msr_row *row,
			uint32_t index, uint64_t *value)
{
	*value = x86_tsc(cpu);
	return true;
}

/* SDM 3B 17.17.3: writing one moves the other along. */
static void msr_move_tsc(struct x86_cpu *cpu, uint64_t delta)
{
	cpu->tsc_offset += delta;
	cpu->msr.tsc_adjust += delta;
	x86_kvmclock_refresh(cpu);
	if (cpu->lapic)
		lapic_tsc_moved(cpu->lapic);
}

static bool msr_set_tsc(struct x86_cpu *cpu, const struct msr_row *row,
			uint32_t index, uint64_t value)
{
	msr_move_tsc(cpu, value - x86_tsc(cpu));
	return true;
}

static bool msr_set_tsc_adjust(struct x86_cpu *cpu, const struct msr_row *row,
			       uint32_t index, uint64_t value)
{
	msr_move_tsc(cpu, value - cpu->msr.tsc_adjust);
	return true;
}

/* --- EFER, PAT, MTRRs ---------------------------------------------------- */

static bool msr_set_efer(struct x86_cpu *cpu, const struct msr_row *row,
			 uint32_t index, uint64_t value)
{
	uint64_t old = cpu->msr.efer, changed;

	if (value & ~row->arg)
		return false;
	value = (value & ~X86_EFER_LMA) | (old & X86_EFER_LMA);
	changed = value ^ old;
	if (changed & X86_EFER_LME && cpu->cr0 & X86_CR0_PG)
		return false;
	cpu->msr.efer = value;
	if (changed & X86_EFER_NXE)
		x86_tlb_flush_all(cpu);
	return true;
}

/* Eight memory types; 2 and 3 are reserved, 7 (UC-) is PAT's only. */
static bool msr_types_ok(uint64_t value, unsigned allowed)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8) {
		unsigned type = value & 0xff;

		if (type > 7 || !(allowed >> type & 1))
			return false;
	}
	return true;
}

#define MSR_PAT_TYPES  0xf3
#define MSR_MTRR_TYPES 0x73

static bool msr_set_types(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t value)
{
	if (!msr_types_ok(value, row->arg))
		return false;
	*msr_field(cpu, row, index) = value;
	return true;
}

static bool msr_set_mtrr_phys(struct x86_cpu *cpu, const struct msr_row *row,
			      uint32_t index, uint64_t value)
{
	uint64_t low = index & 1 ? 0x800 : 0x7;

	if (value >> X86_PHYS_BITS || value & 0xfff & ~low)
		return false;
	if (!(index & 1) && !(MSR_MTRR_TYPES >> (value & 7) & 1))
		return false;
	*msr_field(cpu, row, index) = value;
	return true;
}

static bool msr_set_mtrr_def(struct x86_cpu *cpu, const struct msr_row *row,
			     uint32_t index, uint64_t value)
{
	if (value & ~0xc07ull || !(MSR_MTRR_TYPES >> (value & 7) & 1))
		return false;
	cpu->msr.mtrr_def_type = value;
	return true;
}

#define MSR_MTRR_WB    6
#define MSR_MTRR_VALID 0x800
#define MSR_MTRR_ON    0xc00 /* E, FE: fixed ranges too */

/* SDM 3A 12.11.2: mtrr_fixed[2] is A0000..BFFFF. */
void x86_set_firmware_mtrrs(struct x86_cpu *cpu)
{
	const uint64_t phys = (1ull << X86_PHYS_BITS) - 1;
	const uint64_t hole = MEM_HOLE_END - MEM_HOLE_BASE;
	struct x86_msrs *msr = &cpu->msr;

	for (unsigned i = 0; i < 11; i++)
		msr->mtrr_fixed[i] = i == 2 ? 0 : 0x0606060606060606ull;
	msr->mtrr_phys[0] = MEM_HOLE_BASE; /* uncached */
	msr->mtrr_phys[1] = (phys & ~(hole - 1)) | MSR_MTRR_VALID;
	msr->mtrr_def_type = MSR_MTRR_ON | MSR_MTRR_WB;
}

/* --- Others -------------------------------------------------------------- */

/* Only what software may change is kept: fast strings, thermal, SpeedStep,
 * CPUID limit.  XD cannot be disabled. */
#define MSR_MISC_ENABLE_RW 0x410009ull
#define MSR_MISC_ENABLE_RO 0x1800ull /* no BTS, no PEBS */

static bool msr_get_misc_enable(struct x86_cpu *cpu, const struct msr_row *row,
				uint32_t index, uint64_t *value)
{
	*value = cpu->msr.misc_enable | MSR_MISC_ENABLE_RO;
	return true;
}

static bool msr_set_misc_enable(struct x86_cpu *cpu, const struct msr_row *row,
				uint32_t index, uint64_t value)
{
	cpu->msr.misc_enable = value & MSR_MISC_ENABLE_RW;
	return true;
}

static bool msr_get_base(struct x86_cpu *cpu, const struct msr_row *row,
			 uint32_t index, uint64_t *value)
{
	*value = cpu->seg[row->arg].base;
	return true;
}

static bool msr_set_base(struct x86_cpu *cpu, const struct msr_row *row,
			 uint32_t index, uint64_t value)
{
	if (!x86_canonical(cpu, value))
		return false;
	cpu->seg[row->arg].base = value;
	return true;
}

static bool msr_get_lapic(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t *value)
{
	return cpu->lapic && lapic_rdmsr(cpu->lapic, index, value);
}

static bool msr_set_lapic(struct x86_cpu *cpu, const struct msr_row *row,
			  uint32_t index, uint64_t value)
{
	return cpu->lapic && lapic_wrmsr(cpu->lapic, index, value);
}

static bool msr_set_kvmclock(struct x86_cpu *cpu, const struct msr_row *row,
			     uint32_t index, uint64_t value)
{
	return x86_kvmclock_wrmsr(cpu, index, value);
}

/* --- The table ----------------------------------------------------------- */

#ifndef X86_ARCH_CAPABILITIES
#define X86_ARCH_CAPABILITIES 0
#endif

#define MSR_EFER_KNOWN \
	(X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE)
#define MSR_MTRR_CAP  0x508 /* WC, fixed ranges, 8 variable ones */
#define MSR_AT(field) offsetof(struct x86_cpu, field)
#define MSR_FIELD(n, field, mask)                                        \
	{                                                                \
		n, n, msr_get_field, msr_set_masked, MSR_AT(field), mask \
	}
#define MSR_ADDRESS(n, field)                                            \
	{                                                                \
		n, n, msr_get_field, msr_set_canonical, MSR_AT(field), 0 \
	}
#define MSR_CONST(n, value)                         \
	{                                           \
		n, n, msr_get_const, NULL, 0, value \
	}
#define MSR_ZERO(first, last)                                \
	{                                                    \
		first, last, msr_get_const, msr_ignore, 0, 0 \
	}
#define MSR_LAPIC(first, last)                                  \
	{                                                       \
		first, last, msr_get_lapic, msr_set_lapic, 0, 0 \
	}
#define MSR_BASE(n, seg)                                 \
	{                                                \
		n, n, msr_get_base, msr_set_base, 0, seg \
	}
#define MSR_MTRR_FIXED(first, last, at)                            \
	{                                                          \
		first, last, msr_get_field, msr_set_types,         \
			MSR_AT(msr.mtrr_fixed[at]), MSR_MTRR_TYPES \
	}

static const struct msr_row msr_rows[] = {
	MSR_LAPIC(0x6e0, 0x6e0), /* TSC deadline */
	MSR_LAPIC(0x800, 0x8ff), /* x2APIC */
	MSR_BASE(0xc0000100, X86_FS),
	MSR_BASE(0xc0000101, X86_GS),
	MSR_ADDRESS(0xc0000102, msr.kernel_gs_base),
	MSR_LAPIC(0x1b, 0x1b), /* APIC base */
	MSR_ZERO(0x0, 0x1),    /* machine check, as on a P5 */
	{ 0x10, 0x10, msr_get_tsc, msr_set_tsc, 0, 0 },
	{ 0x11, 0x11, msr_get_field, msr_set_kvmclock,
	  MSR_AT(msr.kvm_wall_clock), 0 },
	{ 0x12, 0x12, msr_get_field, msr_set_kvmclock,
	  MSR_AT(msr.kvm_system_time), 0 },
	MSR_CONST(0x17, 0),   /* platform id */
	MSR_ZERO(0x2a, 0x2a), /* EBL_CR_POWERON */
	MSR_CONST(0x34, 0),   /* SMI count */
	{ 0x3a, 0x3a, msr_get_field, NULL, MSR_AT(msr.feature_control), 0 },
	{ 0x3b, 0x3b, msr_get_field, msr_set_tsc_adjust, MSR_AT(msr.tsc_adjust),
	  0 },
	{ 0x79, 0x79, NULL, msr_ignore, 0, 0 }, /* microcode update trigger */
	/* microcode revision in the upper half; writing 0 precedes CPUID */
	{ 0x8b, 0x8b, msr_get_const, msr_ignore, 0, 0x100000000ull },
	MSR_CONST(0xfe, MSR_MTRR_CAP),
	MSR_CONST(0x10a, X86_ARCH_CAPABILITIES),
	MSR_ZERO(0x11e, 0x11e), /* BBL_CR_CTL3 */
	MSR_FIELD(0x174, msr.sysenter_cs, UINT32_MAX),
	MSR_ADDRESS(0x175, msr.sysenter_esp),
	MSR_ADDRESS(0x176, msr.sysenter_eip),
	MSR_CONST(0x179, 0), /* MCG_CAP: no banks */
	MSR_FIELD(0x17a, msr.mcg_status, 7),
	MSR_ZERO(0x198, 0x19d), /* clock modulation, thermal */
	{ 0x1a0, 0x1a0, msr_get_misc_enable, msr_set_misc_enable, 0, 0 },
	MSR_FIELD(0x1d9, msr.debugctl, 3), /* LBR, BTF: kept, no effect */
	MSR_ZERO(0x1db, 0x1de),            /* last branch, last exception */
	MSR_ZERO(0x1fc, 0x1fc),            /* power control */
	{ 0x200, 0x20f, msr_get_field, msr_set_mtrr_phys,
	  MSR_AT(msr.mtrr_phys[0]), 0 },
	MSR_MTRR_FIXED(0x250, 0x250, 0),
	MSR_MTRR_FIXED(0x258, 0x259, 1),
	MSR_MTRR_FIXED(0x268, 0x26f, 3),
	{ 0x277, 0x277, msr_get_field, msr_set_types, MSR_AT(msr.pat),
	  MSR_PAT_TYPES },
	{ 0x2ff, 0x2ff, msr_get_field, msr_set_mtrr_def,
	  MSR_AT(msr.mtrr_def_type), 0 },
	MSR_CONST(0x606, 0), /* RAPL units and meters */
	MSR_CONST(0x611, 0),
	MSR_CONST(0x619, 0),
	MSR_CONST(0x639, 0),
	MSR_CONST(0x641, 0),
	{ 0x4b564d00, 0x4b564d00, msr_get_field, msr_set_kvmclock,
	  MSR_AT(msr.kvm_wall_clock), 0 },
	{ 0x4b564d01, 0x4b564d01, msr_get_field, msr_set_kvmclock,
	  MSR_AT(msr.kvm_system_time), 0 },
	{ 0xc0000080, 0xc0000080, msr_get_field, msr_set_efer, MSR_AT(msr.efer),
	  MSR_EFER_KNOWN },
	MSR_FIELD(0xc0000081, msr.star, UINT64_MAX),
	MSR_ADDRESS(0xc0000082, msr.lstar),
	MSR_ADDRESS(0xc0000083, msr.cstar),
	MSR_FIELD(0xc0000084, msr.fmask, UINT32_MAX),
	MSR_FIELD(0xc0000103, msr.tsc_aux, UINT32_MAX),
};

static const struct msr_row *msr_find(uint32_t index)
{
	for (size_t i = 0; i < sizeof(msr_rows) / sizeof(msr_rows[0]); i++)
		if (index - msr_rows[i].first <=
		    msr_rows[i].last - msr_rows[i].first)
			return &msr_rows[i];
	return NULL;
}

bool x86_rdmsr(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct msr_row *row = msr_find(index);

	if (row && row->read && row->read(cpu, row, index, value))
		return true;
	log_guest("cpu %u: RDMSR of %#x refused", cpu->index, index);
	return false;
}

bool x86_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	const struct msr_row *row = msr_find(index);

	if (row && row->write && row->write(cpu, row, index, value))
		return true;
	log_guest("cpu %u: WRMSR of %#lx to %#x refused", cpu->index,
		  (unsigned long)value, index);
	return false;
}
