/*
 * descriptor.c - fetching and checking descriptors; stacks in preparation.
 */
#include "cpu/x86/descriptor.h"

#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

/* --- Descriptors --------------------------------------------------------- */

static bool descriptor_locate(const struct x86_cpu *cpu, uint16_t sel,
			      unsigned size, uint64_t *linear)
{
	uint64_t base = cpu->gdtr.base;
	uint32_t limit = cpu->gdtr.limit;

	if (sel & 4) {
		const struct x86_seg *ldt = &cpu->seg[X86_LDTR];

		if (ldt->attr & X86_SEG_UNUSABLE || !(ldt->attr & X86_SEG_P))
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	*linear = base + (sel & 0xfff8);
	if (!x86_long_mode(cpu))
		*linear = (uint32_t)*linear;
	return (sel & 0xfff8) + size - 1 <= limit;
}

bool descriptor_fetch(struct x86_cpu *cpu, uint16_t sel, struct descriptor *d)
{
	if (descriptor_null(sel) || !descriptor_locate(cpu, sel, 8, &d->linear))
		return false;
	d->sel = sel;
	d->lo = x86_load_sys(cpu, d->linear, 8);
	d->hi = 0;
	return true;
}

bool descriptor_fetch_wide(struct x86_cpu *cpu, struct descriptor *d)
{
	uint64_t linear;

	if (!x86_long_mode(cpu))
		return true;
	if (!descriptor_locate(cpu, d->sel, 16, &linear))
		return false;
	d->hi = x86_load_sys(cpu, linear + 8, 8);
	return true;
}

void descriptor_require(struct x86_cpu *cpu, uint16_t sel, struct descriptor *d,
			uint8_t vector)
{
	if (descriptor_null(sel))
		x86_raise_error(cpu, vector, 0);
	if (!descriptor_fetch(cpu, sel, d))
		x86_raise_error(cpu, vector, descriptor_error(sel));
}

void descriptor_to_seg(const struct descriptor *d, struct x86_seg *seg)
{
	seg->sel = d->sel;
	seg->attr = d->lo >> 40 & 0xf0ff;
	seg->base = (d->lo >> 16 & 0xffffff) | (d->lo >> 32 & 0xff000000) |
		    d->hi << 32;
	seg->limit = (d->lo & 0xffff) | (d->lo >> 32 & 0xf0000);
	if (seg->attr & X86_SEG_G)
		seg->limit = seg->limit << 12 | 0xfff;
}

static void descriptor_store_type(struct x86_cpu *cpu,
				  const struct descriptor *d)
{
	x86_store_sys(cpu, d->linear + 5, 1, d->lo >> 40 & 0xff);
}

void descriptor_mark_accessed(struct x86_cpu *cpu, struct descriptor *d)
{
	if (d->lo >> 40 & 1)
		return;
	d->lo |= 1ull << 40;
	descriptor_store_type(cpu, d);
}

void descriptor_set_busy(struct x86_cpu *cpu, struct descriptor *d, bool busy)
{
	d->lo = busy ? d->lo | 2ull << 40 : d->lo & ~(2ull << 40);
	descriptor_store_type(cpu, d);
}

void descriptor_check_code(struct x86_cpu *cpu, const struct descriptor *d,
			   unsigned cpl, unsigned rpl)
{
	unsigned dpl = descriptor_dpl(d);
	bool ok = descriptor_is_code(d);

	if (descriptor_is_conforming(d))
		ok = ok && dpl <= cpl;
	else
		ok = ok && dpl == cpl && rpl <= cpl;
	if (ok && x86_long_mode(cpu) && descriptor_is_long(d) &&
	    descriptor_is_big(d))
		ok = false;
	if (!ok)
		x86_gp(cpu, descriptor_error(d->sel));
	if (!descriptor_present(d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(d->sel));
}

void descriptor_check_offset(struct x86_cpu *cpu, const struct x86_seg *cs,
			     uint64_t offset)
{
	if (x86_long_mode(cpu) && cs->attr & X86_SEG_L) {
		if (!x86_canonical(cpu, offset))
			x86_gp(cpu, 0);
	} else if (offset > cs->limit) {
		x86_gp(cpu, 0);
	}
}

void descriptor_load_ss(struct x86_cpu *cpu, uint16_t sel, unsigned cpl,
			uint8_t vector, struct x86_seg *seg)
{
	struct descriptor d;

	descriptor_require(cpu, sel, &d, vector);
	if ((sel & 3) != cpl || descriptor_dpl(&d) != cpl ||
	    !descriptor_is_writable(&d))
		x86_raise_error(cpu, vector, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_SS, descriptor_error(sel));
	descriptor_mark_accessed(cpu, &d);
	descriptor_to_seg(&d, seg);
}

/* --- Stacks -------------------------------------------------------------- */

void stack_current(const struct x86_cpu *cpu, struct stack *st)
{
	st->ss = cpu->seg[X86_SS];
	st->cpl = cpu->cpl;
	st->is64 = x86_code64(cpu);
	st->error = 0;
	st->mask = st->is64                       ? UINT64_MAX
		   : cpu->mode & X86_MODE_STACK32 ? UINT32_MAX
						  : 0xffff;
	st->sp = cpu->gpr[X86_RSP] & st->mask;
}

void stack_init(struct stack *st, const struct x86_seg *ss, uint64_t sp,
		unsigned cpl)
{
	st->ss = *ss;
	st->mask = ss->attr & X86_SEG_DB ? UINT32_MAX : 0xffff;
	st->sp = sp & st->mask;
	st->cpl = cpl;
	st->is64 = false;
	st->error = descriptor_error(ss->sel);
}

void stack_init64(struct stack *st, uint64_t sp, unsigned cpl)
{
	*st = (struct stack){
		.ss = { .sel = cpl,
			.attr = X86_SEG_UNUSABLE | cpl << X86_SEG_DPL_SHIFT },
		.sp = sp,
		.mask = UINT64_MAX,
		.cpl = cpl,
		.is64 = true,
	};
}

static uint64_t stack_linear(struct x86_cpu *cpu, const struct stack *st,
			     uint64_t offset, unsigned size, bool write)
{
	if (st->is64) {
		if (!x86_canonical(cpu, offset) ||
		    !x86_canonical(cpu, offset + size - 1))
			x86_raise_error(cpu, X86_VEC_SS, st->error);
		return offset;
	}
	if (!x86_seg_allows(cpu, &st->ss, offset, size, write))
		x86_raise_error(cpu, X86_VEC_SS, st->error);
	return (uint32_t)(st->ss.base + offset);
}

/* The current rights do, unless this is the stack of an inner level. */
static bool stack_is_inner(const struct x86_cpu *cpu, const struct stack *st)
{
	return st->cpl < 3 && cpu->mode & X86_MODE_USER;
}

void stack_push(struct x86_cpu *cpu, struct stack *st, uint64_t value,
		unsigned size)
{
	uint64_t sp = (st->sp - size) & st->mask;
	uint64_t linear = stack_linear(cpu, st, sp, size, true);

	if (stack_is_inner(cpu, st))
		x86_store_sys(cpu, linear, size, value);
	else
		x86_store(cpu, linear, size, value);
	st->sp = sp;
}

uint64_t stack_pop(struct x86_cpu *cpu, struct stack *st, unsigned size)
{
	uint64_t linear = stack_linear(cpu, st, st->sp, size, false);

	st->sp = (st->sp + size) & st->mask;
	return x86_load(cpu, linear, size);
}

void *stack_above(struct x86_cpu *cpu, const struct stack *st, unsigned bytes)
{
	if (!st->is64)
		return NULL;
	return x86_tlb_lookup(cpu, st->sp, bytes, x86_tlb_kind(cpu));
}

void *stack_below(struct x86_cpu *cpu, const struct stack *st, unsigned bytes)
{
	unsigned kind = stack_is_inner(cpu, st) ? X86_TLB_KERNEL_READ
						: x86_tlb_kind(cpu);

	if (!st->is64)
		return NULL;
	return x86_tlb_lookup(cpu, st->sp - bytes, bytes, kind | 1);
}

void stack_commit(struct x86_cpu *cpu, const struct stack *st)
{
	uint64_t *rsp = &cpu->gpr[X86_RSP];

	if (st->mask == 0xffff)
		*rsp = (*rsp & ~st->mask) | st->sp;
	else
		*rsp = st->sp;
}
