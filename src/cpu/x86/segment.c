/*
 * segment.c - linear addresses, and loading segment registers.
 *
 * Source: Intel SDM volume 3A chapter 3 and 5; the checks of each load are
 * those of MOV, LLDT, LTR, LAR, LSL, VERR in volume 2.
 *
 * A segment register's hidden part (struct x86_seg) is all that accesses look
 * at; descriptor tables are read when a selector is loaded, and never again.
 * A null selector leaves an unusable segment.  In real and VM86 mode loads
 * need no table: the base is sixteen times the selector.  In 64-bit code only
 * FS and GS have a base, and canonicity takes the place of limits and types.
 */
#include "cpu/x86/segment.h"

#include "cpu/x86/descriptor.h"
#include "cpu/x86/mmu.h"

/* --- Addresses ----------------------------------------------------------- */

/* SDM 3A 5.3, 5.5.  Real mode checks limits only: types are left over. */
bool x86_seg_allows(const struct x86_cpu *cpu, const struct x86_seg *seg,
		    uint64_t offset, unsigned size, bool write)
{
	uint64_t last = offset + size - 1;
	uint32_t top = seg->attr & X86_SEG_DB ? UINT32_MAX : 0xffff;

	if (!(cpu->mode & X86_MODE_REAL)) {
		bool code = seg->attr & 8;
		bool rw = seg->attr & 2; /* writable data, readable code */

		if (seg->attr & X86_SEG_UNUSABLE)
			return false;
		if (write ? code || !rw : code && !rw)
			return false;
		if (!code && seg->attr & 4) /* expand-down */
			return offset > seg->limit && last <= top;
	}
	return last <= seg->limit;
}

static _Noreturn void segment_fault(struct x86_cpu *cpu, unsigned seg)
{
	x86_raise_error(cpu, seg == X86_SS ? X86_VEC_SS : X86_VEC_GP, 0);
}

uint64_t x86_seg_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset,
			unsigned size, bool write)
{
	const struct x86_seg *s = &cpu->seg[seg];

	if (x86_code64(cpu)) {
		if (seg == X86_FS || seg == X86_GS)
			offset += s->base;
		if (!x86_canonical(cpu, offset) ||
		    (size && !x86_canonical(cpu, offset + size - 1)))
			segment_fault(cpu, seg);
		return offset;
	}
	if (!x86_seg_allows(cpu, s, offset, size ? size : 1, write))
		segment_fault(cpu, seg);
	return (uint32_t)(s->base + offset);
}

uint64_t x86_effective(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t ea = (int64_t)insn->disp;

	if (insn->base == X86_REG_RIP)
		ea += cpu->rip;
	else if (insn->base == X86_REG_MOFFS)
		ea = insn->imm;
	else if (insn->base != X86_NO_REG)
		ea += cpu->gpr[insn->base & 15];
	if (insn->index != X86_NO_REG && !(insn->desc->attr & X86_ATTR_VSIB))
		ea += cpu->gpr[insn->index & 15] << insn->scale;
	if (insn->addrsize == 2)
		return (uint16_t)ea;
	return insn->addrsize == 4 ? (uint32_t)ea : ea;
}

uint64_t x86_linear(struct x86_cpu *cpu, const struct x86_insn *insn,
		    unsigned size, bool write)
{
	return x86_seg_linear(cpu, insn->seg, x86_effective(cpu, insn), size,
			      write);
}

uint64_t x86_linear_aligned(struct x86_cpu *cpu, const struct x86_insn *insn,
			    unsigned size, unsigned align, bool write)
{
	uint64_t linear;

	/* Found before #SS of an address beyond the segment. */
	linear = x86_effective(cpu, insn) + cpu->seg[X86_SS].base;
	if (insn->seg == X86_SS && linear & (align - 1))
		x86_gp(cpu, 0);
	linear = x86_linear(cpu, insn, size, write);
	if (linear & (align - 1))
		x86_gp(cpu, 0);
	return linear;
}

/* --- Stack --------------------------------------------------------------- */

void x86_push(struct x86_cpu *cpu, uint64_t value, unsigned opsize)
{
	struct stack st;

	stack_current(cpu, &st);
	stack_push(cpu, &st, value, opsize);
	stack_commit(cpu, &st);
}

uint64_t x86_pop(struct x86_cpu *cpu, unsigned opsize)
{
	struct stack st;
	uint64_t value;

	stack_current(cpu, &st);
	value = stack_pop(cpu, &st, opsize);
	stack_commit(cpu, &st);
	return value;
}

/* --- Loading ------------------------------------------------------------- */

/*
 * SDM 3A 20.1.1 and 3.4.3: real mode replaces selector and base only, so a
 * limit set in protected mode survives ("unreal mode"); VM86 sets all.
 */
void x86_load_sreg_real(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	struct x86_seg *s = &cpu->seg[seg];

	s->sel = sel;
	s->base = (uint64_t)sel << 4;
	if (cpu->rflags & X86_FLAG_VM && cpu->cr0 & X86_CR0_PE) {
		s->attr = 0xf3;
		s->limit = 0xffff;
	} else if (s->attr & X86_SEG_UNUSABLE) {
		s->attr = 0x93;
		s->limit = 0xffff;
	}
	x86_mode_changed(cpu);
}

static void segment_load_null(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	cpu->seg[seg] = (struct x86_seg){
		.sel = sel,
		.attr = X86_SEG_UNUSABLE,
	};
	if (seg == X86_SS) /* keeps CPL readable from SS.DPL */
		cpu->seg[seg].attr |= cpu->cpl << X86_SEG_DPL_SHIFT;
}

static void segment_load_ss(struct x86_cpu *cpu, uint16_t sel)
{
	struct x86_seg seg;

	if (!descriptor_null(sel)) {
		descriptor_load_ss(cpu, sel, cpu->cpl, X86_VEC_GP, &seg);
		cpu->seg[X86_SS] = seg;
	} else if (x86_code64(cpu) && cpu->cpl < 3 && (sel & 3) == cpu->cpl) {
		segment_load_null(cpu, X86_SS, sel);
	} else {
		x86_gp(cpu, 0);
	}
}

static void segment_load_data(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	struct descriptor d;
	unsigned dpl;

	if (descriptor_null(sel)) {
		segment_load_null(cpu, seg, sel);
		return;
	}
	descriptor_require(cpu, sel, &d, X86_VEC_GP);
	dpl = descriptor_dpl(&d);
	if (!descriptor_is_readable(&d) ||
	    (!descriptor_is_conforming(&d) &&
	     (dpl < (sel & 3u) || dpl < cpu->cpl)))
		x86_gp(cpu, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	descriptor_mark_accessed(cpu, &d);
	descriptor_to_seg(&d, &cpu->seg[seg]);
}

void x86_load_sreg(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	if (!x86_protected(cpu)) {
		x86_load_sreg_real(cpu, seg, sel);
		return;
	}
	if (seg == X86_SS)
		segment_load_ss(cpu, sel);
	else
		segment_load_data(cpu, seg, sel);
	if (seg != X86_FS && seg != X86_GS)
		x86_mode_changed(cpu);
}

/* A 16-byte descriptor's upper half: base 63..32, and type bits that are 0. */
static void segment_check_wide(struct x86_cpu *cpu, struct descriptor *d)
{
	uint64_t base;

	if (!x86_long_mode(cpu))
		return;
	if (!descriptor_fetch_wide(cpu, d) || d->hi >> 40 & 0x1f)
		x86_gp(cpu, descriptor_error(d->sel));
	d->hi &= UINT32_MAX;
	base = (d->lo >> 32 & 0xff000000) | d->hi << 32;
	if (!x86_canonical(cpu, base))
		x86_gp(cpu, descriptor_error(d->sel));
}

void x86_load_ldtr(struct x86_cpu *cpu, uint16_t sel)
{
	struct descriptor d;

	if (descriptor_null(sel)) {
		segment_load_null(cpu, X86_LDTR, sel);
		return;
	}
	if (sel & 4 || !descriptor_fetch(cpu, sel, &d) ||
	    descriptor_type(&d) != DESCRIPTOR_LDT)
		x86_gp(cpu, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	segment_check_wide(cpu, &d);
	descriptor_to_seg(&d, &cpu->seg[X86_LDTR]);
}

void x86_load_tr(struct x86_cpu *cpu, uint16_t sel)
{
	struct descriptor d;
	unsigned type;

	if (descriptor_null(sel))
		x86_gp(cpu, 0);
	if (sel & 4 || !descriptor_fetch(cpu, sel, &d))
		x86_gp(cpu, descriptor_error(sel));
	type = descriptor_type(&d);
	if (type != DESCRIPTOR_TSS32 &&
	    (type != DESCRIPTOR_TSS16 || x86_long_mode(cpu)))
		x86_gp(cpu, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	segment_check_wide(cpu, &d);
	descriptor_set_busy(cpu, &d, true);
	descriptor_to_seg(&d, &cpu->seg[X86_TR]);
}

/* 4 GiB, accessed, present; code readable, data writable. */
static void segment_flat(struct x86_seg *s, uint16_t sel, unsigned dpl,
			 uint32_t attr)
{
	*s = (struct x86_seg){
		.sel = sel,
		.limit = UINT32_MAX,
		.attr = attr | X86_SEG_S | X86_SEG_P | X86_SEG_G |
			dpl << X86_SEG_DPL_SHIFT,
	};
}

void x86_set_flat_cs(struct x86_cpu *cpu, uint16_t sel, unsigned dpl,
		     bool long_mode)
{
	segment_flat(&cpu->seg[X86_CS], sel, dpl,
		     0xb | (long_mode ? X86_SEG_L : X86_SEG_DB));
	cpu->cpl = dpl;
}

void x86_set_flat_ss(struct x86_cpu *cpu, uint16_t sel, unsigned dpl)
{
	segment_flat(&cpu->seg[X86_SS], sel, dpl, 0x3 | X86_SEG_DB);
}

/* --- LAR, LSL, VERR, VERW ------------------------------------------------ */

/* System types that the instructions accept, as bit sets by type. */
#define SEGMENT_LAR_LEGACY 0x1a3e /* 1..5, 9, 11, 12 */
#define SEGMENT_LAR_LONG   0x1a04 /* 2, 9, 11, 12 */
#define SEGMENT_LSL_LEGACY 0x0a0e /* 1, 2, 3, 9, 11 */
#define SEGMENT_LSL_LONG   0x0a04 /* 2, 9, 11 */

/* Visible at CPL and RPL; conforming code always is. */
static bool segment_visible(struct x86_cpu *cpu, const struct descriptor *d)
{
	unsigned dpl = descriptor_dpl(d);

	return descriptor_is_conforming(d) ||
	       (dpl >= cpu->cpl && dpl >= (d->sel & 3u));
}

static bool segment_query(struct x86_cpu *cpu, struct descriptor *d,
			  uint16_t sel, unsigned legacy, unsigned longs)
{
	unsigned allowed = x86_long_mode(cpu) ? longs : legacy;
	unsigned type;

	if (!descriptor_fetch(cpu, sel, d) || !segment_visible(cpu, d))
		return false;
	type = descriptor_type(d);
	if (type >= 16)
		return true;
	if (!(allowed >> type & 1))
		return false;
	return type == DESCRIPTOR_TASK || descriptor_fetch_wide(cpu, d);
}

bool x86_lar(struct x86_cpu *cpu, uint16_t sel, uint32_t *out)
{
	struct descriptor d;

	if (!segment_query(cpu, &d, sel, SEGMENT_LAR_LEGACY, SEGMENT_LAR_LONG))
		return false;
	*out = d.lo >> 32 & 0xf0ff00;
	return true;
}

bool x86_lsl(struct x86_cpu *cpu, uint16_t sel, uint32_t *out)
{
	struct descriptor d;
	struct x86_seg seg;

	if (!segment_query(cpu, &d, sel, SEGMENT_LSL_LEGACY, SEGMENT_LSL_LONG))
		return false;
	descriptor_to_seg(&d, &seg);
	*out = seg.limit;
	return true;
}

bool x86_verify(struct x86_cpu *cpu, uint16_t sel, bool write)
{
	struct descriptor d;

	if (!descriptor_fetch(cpu, sel, &d) || descriptor_type(&d) < 16 ||
	    !segment_visible(cpu, &d))
		return false;
	return write ? descriptor_is_writable(&d) : descriptor_is_readable(&d);
}

/* --- I/O permission ------------------------------------------------------ */

/*
 * SDM volume 1, 19.5.2: the map's offset is at 66h of a 32-bit TSS; two bytes
 * are read always, so both must lie within the limit.
 */
static bool segment_io_bitmap_allows(struct x86_cpu *cpu, uint16_t port,
				     unsigned size)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	unsigned type = tr->attr & 0xf, offset, bits;

	if (type != DESCRIPTOR_TSS32 && type != DESCRIPTOR_TSS32_BUSY)
		return false;
	if (tr->attr & X86_SEG_UNUSABLE || tr->limit < 0x67)
		return false;
	offset = x86_load_sys(cpu, tr->base + 0x66, 2) + port / 8;
	if (offset + 1 > tr->limit)
		return false;
	bits = x86_load_sys(cpu, tr->base + offset, 2) >> port % 8;
	return !(bits & ((1u << size) - 1));
}

void x86_check_io(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	if (cpu->cr0 & X86_CR0_PE &&
	    (cpu->rflags & X86_FLAG_VM || !(cpu->mode & X86_MODE_IOPL)) &&
	    !segment_io_bitmap_allows(cpu, port, size))
		x86_gp(cpu, 0);
	if (cpu->mode & X86_MODE_DEBUG)
		x86_io_breakpoint(cpu, port, size);
}
