/*
 * control.c - control, debug and extended control registers.
 *
 * Source: Intel SDM volume 3A 2.5 (CR), 2.6 (XCR0), 9.8.5 (entering IA-32e
 * mode), volume 3B 17.2 (DR).
 */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/msr.h"

#define CONTROL_CR0_KNOWN                                                 \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | \
	 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | \
	 X86_CR0_PG)
#define CONTROL_CR3_NOFLUSH (1ull << 63)

/* --- CR0 ----------------------------------------------------------------- */

static bool control_pae_legacy(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return cr0 & X86_CR0_PG && cr4 & X86_CR4_PAE && !(efer & X86_EFER_LMA);
}

/* Setting or clearing PG, and what it means for IA-32e mode. */
static void control_check_paging(struct x86_cpu *cpu, uint64_t value)
{
	bool code64 = cpu->seg[X86_CS].attr & X86_SEG_L;
	bool was = cpu->cr0 & X86_CR0_PG, is = value & X86_CR0_PG;

	if (is && !(value & X86_CR0_PE))
		x86_gp(cpu, 0);
	if (is && !was && cpu->msr.efer & X86_EFER_LME &&
	    (!(cpu->cr4 & X86_CR4_PAE) || code64))
		x86_gp(cpu, 0);
	if (was && !is && (x86_code64(cpu) || cpu->cr4 & X86_CR4_PCIDE))
		x86_gp(cpu, 0);
}

static uint64_t control_efer_with(const struct x86_cpu *cpu, uint64_t cr0)
{
	uint64_t efer = cpu->msr.efer & ~X86_EFER_LMA;

	if (cr0 & X86_CR0_PG && efer & X86_EFER_LME)
		efer |= X86_EFER_LMA;
	return efer;
}

void x86_write_cr0(struct x86_cpu *cpu, uint64_t value)
{
	const uint64_t flushing = X86_CR0_PG | X86_CR0_PE | X86_CR0_WP;
	const uint64_t pdpte = X86_CR0_PG | X86_CR0_CD | X86_CR0_NW;
	uint64_t old = cpu->cr0, efer;

	if (value >> 32)
		x86_gp(cpu, 0);
	value = (value & CONTROL_CR0_KNOWN) | X86_CR0_ET;
	if (value & X86_CR0_NW && !(value & X86_CR0_CD))
		x86_gp(cpu, 0);
	control_check_paging(cpu, value);
	efer = control_efer_with(cpu, value);
	if ((old ^ value) & pdpte && control_pae_legacy(value, cpu->cr4, efer))
		x86_load_pdptes(cpu, cpu->cr3);
	cpu->cr0 = value;
	cpu->msr.efer = efer;
	if ((old ^ value) & flushing)
		x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
}

/* --- CR3, CR4 ------------------------------------------------------------ */

void x86_write_cr3(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t address = value;

	if (cpu->cr4 & X86_CR4_PCIDE)
		address &= ~CONTROL_CR3_NOFLUSH;
	if (x86_long_mode(cpu) && address >> X86_PHYS_BITS)
		x86_gp(cpu, 0);
	x86_set_cr3(cpu, value);
}

/* Which CPUID bit offers which bits of CR4. */
static const struct control_cr4_row {
	uint8_t leaf;
	char reg; /* b, c, d */
	uint8_t bit;
	uint32_t cr4;
} control_cr4_rows[] = {
	{ 1, 'd', 1, X86_CR4_VME | X86_CR4_PVI },
	{ 1, 'd', 2, X86_CR4_DE },
	{ 1, 'd', 3, X86_CR4_PSE },
	{ 1, 'd', 4, X86_CR4_TSD },
	{ 1, 'd', 6, X86_CR4_PAE },
	{ 1, 'd', 7, X86_CR4_MCE },
	{ 1, 'd', 13, X86_CR4_PGE },
	{ 1, 'd', 24, X86_CR4_OSFXSR },
	{ 1, 'd', 25, X86_CR4_OSXMMEXCPT },
	{ 1, 'c', 17, X86_CR4_PCIDE },
	{ 1, 'c', 26, X86_CR4_OSXSAVE },
	{ 7, 'b', 0, X86_CR4_FSGSBASE },
	{ 7, 'b', 7, X86_CR4_SMEP },
	{ 7, 'b', 20, X86_CR4_SMAP },
	{ 7, 'c', 2, X86_CR4_UMIP },
	{ 7, 'c', 16, X86_CR4_LA57 },
};

static uint64_t control_cr4_allowed(struct x86_cpu *cpu)
{
	uint64_t allowed = X86_CR4_PCE;
	struct x86_cpuid_regs one, seven;

	x86_cpuid(cpu, 1, 0, &one);
	x86_cpuid(cpu, 7, 0, &seven);
	for (unsigned i = 0;
	     i < sizeof(control_cr4_rows) / sizeof(control_cr4_rows[0]); i++) {
		const struct control_cr4_row *row = &control_cr4_rows[i];
		const struct x86_cpuid_regs *r = row->leaf == 1 ? &one : &seven;
		uint32_t bits = row->reg == 'b'   ? r->ebx
				: row->reg == 'c' ? r->ecx
						  : r->edx;

		if (bits >> row->bit & 1)
			allowed |= row->cr4;
	}
	return allowed;
}

static void control_check_cr4(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t added = value & ~cpu->cr4;

	if (added && added & ~control_cr4_allowed(cpu))
		x86_gp(cpu, 0);
	if (x86_long_mode(cpu) &&
	    (!(value & X86_CR4_PAE) || (value ^ cpu->cr4) & X86_CR4_LA57))
		x86_gp(cpu, 0);
	if (added & X86_CR4_PCIDE && (!x86_long_mode(cpu) || cpu->cr3 & 0xfff))
		x86_gp(cpu, 0);
}

void x86_write_cr4(struct x86_cpu *cpu, uint64_t value)
{
	const uint64_t flushing = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE |
				  X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PCIDE |
				  X86_CR4_LA57;
	const uint64_t pdpte =
		X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_SMEP;
	uint64_t old = cpu->cr4;

	control_check_cr4(cpu, value);
	if ((old ^ value) & pdpte &&
	    control_pae_legacy(cpu->cr0, value, cpu->msr.efer))
		x86_load_pdptes(cpu, cpu->cr3);
	cpu->cr4 = value;
	if ((old ^ value) & flushing)
		x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
}

/* SDM volume 1, 13.3. */
void x86_write_xcr0(struct x86_cpu *cpu, uint64_t value)
{
	struct x86_cpuid_regs d;
	uint64_t offered;

	x86_cpuid(cpu, 0xd, 0, &d);
	offered = d.eax | (uint64_t)d.edx << 32;
	if (value & ~offered || !(value & X86_XCR0_X87) ||
	    (value & X86_XCR0_AVX && !(value & X86_XCR0_SSE)))
		x86_gp(cpu, 0);
	cpu->xcr0 = value;
	x86_mode_changed(cpu);
}

/* --- Debug registers ----------------------------------------------------- */

#define CONTROL_DR6_WRITABLE 0xe00full
#define CONTROL_DR7_WRITABLE 0xffff23ffull

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them undefined. */
static unsigned control_dr_index(struct x86_cpu *cpu, unsigned n)
{
	if (n != 4 && n != 5)
		return n;
	if (cpu->cr4 & X86_CR4_DE)
		x86_ud(cpu);
	return n + 2;
}

static void control_dr_access(struct x86_cpu *cpu)
{
	if (cpu->cpl)
		x86_gp(cpu, 0);
	if (cpu->dr[7] & X86_DR7_GD)
		x86_raise_db(cpu, X86_DR6_BD, false);
}

uint64_t x86_read_dr(struct x86_cpu *cpu, unsigned n)
{
	n = control_dr_index(cpu, n);
	control_dr_access(cpu);
	return cpu->dr[n];
}

void x86_write_dr(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
	n = control_dr_index(cpu, n);
	control_dr_access(cpu);
	if (n >= 6 && value >> 32)
		x86_gp(cpu, 0);
	if (n == 6)
		value = (value & CONTROL_DR6_WRITABLE) | X86_DR6_FIXED;
	if (n == 7)
		value = (value & CONTROL_DR7_WRITABLE) | X86_DR7_FIXED;
	if (cpu->dr[n] == value)
		return;
	cpu->dr[n] = value;
	if (n == 6)
		return;
	x86_tlb_flush_all(cpu); /* watched pages have no TLB entries */
	x86_mode_changed(cpu);
}

/*
 * DR7:  31..30 29..28  27..26 25..24 ...  7  6  5  4  3  2  1  0
 *	 LEN3   R/W3    LEN2   R/W2	   G3 L3 G2 L2 G1 L1 G0 L0
 */
enum control_rw { CONTROL_EXEC, CONTROL_WRITE, CONTROL_IO, CONTROL_ACCESS };

static bool control_armed(const struct x86_cpu *cpu, unsigned n)
{
	return cpu->dr[7] >> (2 * n) & 3;
}

static enum control_rw control_rw(const struct x86_cpu *cpu, unsigned n)
{
	return cpu->dr[7] >> (16 + 4 * n) & 3;
}

static unsigned control_len(const struct x86_cpu *cpu, unsigned n)
{
	static const uint8_t len[] = { 1, 2, 8, 4 };

	return len[cpu->dr[7] >> (18 + 4 * n) & 3];
}

/* Breakpoints are aligned to their length: low address bits are ignored. */
static bool control_overlaps(const struct x86_cpu *cpu, unsigned n,
			     uint64_t addr, unsigned size)
{
	uint64_t len = control_len(cpu, n);
	uint64_t start = cpu->dr[n] & ~(len - 1);

	return addr - start < len || start - addr < size;
}

uint64_t x86_code_breakpoint(const struct x86_cpu *cpu, uint64_t linear)
{
	uint64_t hit = 0;

	for (unsigned n = 0; n < 4; n++)
		if (control_armed(cpu, n) &&
		    control_rw(cpu, n) == CONTROL_EXEC && cpu->dr[n] == linear)
			hit |= 1u << n;
	return hit;
}

void x86_io_breakpoint(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	if (!(cpu->cr4 & X86_CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++)
		if (control_armed(cpu, n) && control_rw(cpu, n) == CONTROL_IO &&
		    control_overlaps(cpu, n, port, size))
			cpu->db_pending |= 1u << n;
}
