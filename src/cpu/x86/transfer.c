/*
 * transfer.c - far JMP, CALL, RET and IRET.
 *
 * Source: Intel SDM volume 2 (each instruction's operation), volume 3A 5.8
 * (privilege), 20.2 (VM86).
 *
 * Everything that can fault comes first, on copies: the target's descriptor,
 * a struct stack, segments to be loaded; then one commit function changes the
 * state.  On entry cpu->rip is the address behind the instruction.
 */
#include "cpu/x86/descriptor.h"

#include <string.h>

#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/vme.h"

static uint64_t transfer_cut(uint64_t value, unsigned size)
{
	return size == 2   ? (uint16_t)value
	       : size == 4 ? (uint32_t)value
			   : value;
}

/* CS (with the RPL it is to have), RIP and CPL in one go. */
static void transfer_commit(struct x86_cpu *cpu, const struct x86_seg *cs,
			    uint64_t rip, unsigned cpl)
{
	cpu->seg[X86_CS] = *cs;
	cpu->seg[X86_CS].sel = (cs->sel & 0xfffc) | cpl;
	cpu->rip = rip;
	cpu->cpl = cpl;
	x86_mode_changed(cpu);
}

/* The hidden CS for a checked descriptor; the offset is checked too. */
static void transfer_load_cs(struct x86_cpu *cpu, struct descriptor *d,
			     uint64_t rip, struct x86_seg *cs)
{
	descriptor_mark_accessed(cpu, d);
	descriptor_to_seg(d, cs);
	descriptor_check_offset(cpu, cs, rip);
}

/* --- Real and VM86 mode -------------------------------------------------- */

static void transfer_real(struct x86_cpu *cpu, uint16_t sel, uint64_t rip)
{
	if (rip > cpu->seg[X86_CS].limit)
		x86_gp(cpu, 0);
	x86_load_sreg_real(cpu, X86_CS, sel);
	cpu->rip = rip;
}

static void transfer_call_real(struct x86_cpu *cpu, uint16_t sel, uint64_t rip,
			       unsigned opsize)
{
	struct stack st;

	stack_current(cpu, &st);
	stack_push(cpu, &st, cpu->seg[X86_CS].sel, opsize);
	stack_push(cpu, &st, cpu->rip, opsize);
	transfer_real(cpu, sel, rip);
	stack_commit(cpu, &st);
}

/* --- Gates and tasks ----------------------------------------------------- */

/* A call gate, task gate or TSS: privilege, then presence. */
static void transfer_check_gate(struct x86_cpu *cpu, const struct descriptor *d)
{
	unsigned dpl = descriptor_dpl(d);

	if (dpl < cpu->cpl || dpl < (d->sel & 3u))
		x86_gp(cpu, descriptor_error(d->sel));
	if (!descriptor_present(d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(d->sel));
}

/* The code segment behind a call gate. */
static void transfer_gate_target(struct x86_cpu *cpu, struct descriptor *gate,
				 struct descriptor *code)
{
	uint16_t sel = descriptor_gate_selector(gate);

	if (!descriptor_fetch_wide(cpu, gate) || gate->hi >> 40 & 0x1f)
		x86_gp(cpu, descriptor_error(gate->sel));
	descriptor_require(cpu, sel, code, X86_VEC_GP);
	if (!descriptor_is_code(code) || descriptor_dpl(code) > cpu->cpl)
		x86_gp(cpu, descriptor_error(sel));
	if (x86_long_mode(cpu) &&
	    (!descriptor_is_long(code) || descriptor_is_big(code)))
		x86_gp(cpu, descriptor_error(sel));
	if (!descriptor_present(code))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
}

static uint64_t transfer_gate_offset(const struct descriptor *gate)
{
	uint64_t offset = descriptor_gate_offset(gate);

	return descriptor_type(gate) == DESCRIPTOR_CALL16 ? offset & 0xffff
							  : offset;
}

static void transfer_task(struct x86_cpu *cpu, struct descriptor *d,
			  enum x86_task_source source)
{
	uint16_t sel = d->sel;

	if (descriptor_type(d) == DESCRIPTOR_TASK)
		sel = descriptor_gate_selector(d);
	x86_task_switch(cpu, sel, source, false, 0);
}

static bool transfer_is_call_gate(const struct x86_cpu *cpu, unsigned type)
{
	return type == DESCRIPTOR_CALL32 ||
	       (type == DESCRIPTOR_CALL16 && !x86_long_mode(cpu));
}

static bool transfer_is_task(const struct x86_cpu *cpu, unsigned type)
{
	return !x86_long_mode(cpu) &&
	       (type == DESCRIPTOR_TASK || type == DESCRIPTOR_TSS16 ||
		type == DESCRIPTOR_TSS32);
}

/* --- JMP ----------------------------------------------------------------- */

static void transfer_jmp_gate(struct x86_cpu *cpu, struct descriptor *gate)
{
	struct descriptor code;
	struct x86_seg cs;
	uint64_t rip;

	transfer_gate_target(cpu, gate, &code);
	rip = transfer_gate_offset(gate);
	if (!descriptor_is_conforming(&code) &&
	    descriptor_dpl(&code) != cpu->cpl)
		x86_gp(cpu, descriptor_error(code.sel));
	transfer_load_cs(cpu, &code, rip, &cs);
	transfer_commit(cpu, &cs, rip, cpu->cpl);
}

void x86_jmp_far(struct x86_cpu *cpu, uint16_t sel, uint64_t off,
		 unsigned opsize)
{
	struct descriptor d;
	struct x86_seg cs;
	unsigned type;

	off = transfer_cut(off, opsize);
	if (!x86_protected(cpu)) {
		transfer_real(cpu, sel, off);
		return;
	}
	descriptor_require(cpu, sel, &d, X86_VEC_GP);
	type = descriptor_type(&d);
	if (type < 16 &&
	    (transfer_is_call_gate(cpu, type) || transfer_is_task(cpu, type))) {
		transfer_check_gate(cpu, &d);
		if (transfer_is_task(cpu, type))
			transfer_task(cpu, &d, X86_TASK_JMP);
		else
			transfer_jmp_gate(cpu, &d);
		return;
	}
	descriptor_check_code(cpu, &d, cpu->cpl, sel & 3);
	transfer_load_cs(cpu, &d, off, &cs);
	transfer_commit(cpu, &cs, off, cpu->cpl);
}

/* --- CALL ---------------------------------------------------------------- */

#define TRANSFER_MAX_PARAMS 31

static void transfer_push_return(struct x86_cpu *cpu, struct stack *st,
				 unsigned size)
{
	stack_push(cpu, st, cpu->seg[X86_CS].sel, size);
	stack_push(cpu, st, cpu->rip, size);
}

/* Copies the gate's parameters from the old stack to the new. */
static void transfer_copy_params(struct x86_cpu *cpu, struct stack *st,
				 unsigned count, unsigned size)
{
	uint64_t param[TRANSFER_MAX_PARAMS];
	struct stack old;

	stack_current(cpu, &old);
	for (unsigned i = 0; i < count; i++)
		param[i] = stack_pop(cpu, &old, size);
	for (unsigned i = count; i-- > 0;)
		stack_push(cpu, st, param[i], size);
}

static unsigned transfer_gate_width(const struct x86_cpu *cpu,
				    const struct descriptor *gate)
{
	if (x86_long_mode(cpu))
		return 8;
	return descriptor_type(gate) == DESCRIPTOR_CALL16 ? 2 : 4;
}

/* To an inner level: the stack comes from the TSS (SDM 3A 5.8.5). */
static void transfer_call_inner(struct x86_cpu *cpu,
				const struct descriptor *gate,
				struct descriptor *code, uint64_t rip)
{
	unsigned width = transfer_gate_width(cpu, gate);
	unsigned cpl = descriptor_dpl(code);
	struct x86_seg cs, ss;
	struct stack st;

	if (x86_long_mode(cpu)) {
		stack_init64(&st, task_stack64(cpu, cpl), cpl);
	} else {
		uint16_t sel;
		uint64_t sp;

		task_inner_stack(cpu, cpl, &sel, &sp);
		descriptor_load_ss(cpu, sel, cpl, X86_VEC_TS, &ss);
		stack_init(&st, &ss, sp, cpl);
	}
	stack_push(cpu, &st, cpu->seg[X86_SS].sel, width);
	stack_push(cpu, &st, cpu->gpr[X86_RSP], width);
	if (!x86_long_mode(cpu))
		transfer_copy_params(cpu, &st, gate->lo >> 32 & 31, width);
	transfer_push_return(cpu, &st, width);
	transfer_load_cs(cpu, code, rip, &cs);
	cpu->seg[X86_SS] = st.ss;
	stack_commit(cpu, &st);
	transfer_commit(cpu, &cs, rip, cpl);
}

/* To the same level. */
static void transfer_call_same(struct x86_cpu *cpu, struct descriptor *code,
			       uint64_t rip, unsigned width, bool to64)
{
	struct x86_seg cs;
	struct stack st;

	stack_current(cpu, &st);
	if (to64 && !st.is64) /* from compatibility mode through a gate */
		stack_init64(&st, cpu->gpr[X86_RSP], cpu->cpl);
	transfer_push_return(cpu, &st, width);
	transfer_load_cs(cpu, code, rip, &cs);
	stack_commit(cpu, &st);
	transfer_commit(cpu, &cs, rip, cpu->cpl);
}

static void transfer_call_gate(struct x86_cpu *cpu, struct descriptor *gate)
{
	struct descriptor code;
	uint64_t rip;

	transfer_gate_target(cpu, gate, &code);
	rip = transfer_gate_offset(gate);
	if (!descriptor_is_conforming(&code) &&
	    descriptor_dpl(&code) < cpu->cpl)
		transfer_call_inner(cpu, gate, &code, rip);
	else
		transfer_call_same(cpu, &code, rip,
				   transfer_gate_width(cpu, gate),
				   x86_long_mode(cpu));
}

void x86_call_far(struct x86_cpu *cpu, uint16_t sel, uint64_t off,
		  unsigned opsize)
{
	struct descriptor d;
	unsigned type;

	off = transfer_cut(off, opsize);
	if (!x86_protected(cpu)) {
		transfer_call_real(cpu, sel, off, opsize);
		return;
	}
	descriptor_require(cpu, sel, &d, X86_VEC_GP);
	type = descriptor_type(&d);
	if (type < 16 &&
	    (transfer_is_call_gate(cpu, type) || transfer_is_task(cpu, type))) {
		transfer_check_gate(cpu, &d);
		if (transfer_is_task(cpu, type))
			transfer_task(cpu, &d, X86_TASK_CALL);
		else
			transfer_call_gate(cpu, &d);
		return;
	}
	descriptor_check_code(cpu, &d, cpu->cpl, sel & 3);
	transfer_call_same(cpu, &d, off, opsize, false);
}

/* --- Returns ------------------------------------------------------------- */

/* The target of RET or IRET: its CPL is the selector's RPL. */
static void transfer_return_cs(struct x86_cpu *cpu, uint16_t sel, uint64_t rip,
			       struct x86_seg *cs)
{
	struct descriptor d;

	descriptor_require(cpu, sel, &d, X86_VEC_GP);
	if ((sel & 3) < cpu->cpl)
		x86_gp(cpu, descriptor_error(sel));
	descriptor_check_code(cpu, &d, sel & 3, sel & 3);
	transfer_load_cs(cpu, &d, rip, cs);
}

/* SS for a return; null is allowed in 64-bit code above CPL 3. */
static void transfer_return_ss(struct x86_cpu *cpu, uint16_t sel,
			       const struct x86_seg *cs, unsigned cpl,
			       struct x86_seg *ss)
{
	bool to64 = x86_long_mode(cpu) && cs->attr & X86_SEG_L;

	if (descriptor_null(sel) && to64 && cpl < 3 && (sel & 3) == cpl) {
		*ss = (struct x86_seg){
			.sel = sel,
			.attr = X86_SEG_UNUSABLE | cpl << X86_SEG_DPL_SHIFT,
		};
		return;
	}
	descriptor_load_ss(cpu, sel, cpl, X86_VEC_GP, ss);
}

/* What the outer level may not see is made null (SDM 3A 5.8.6). */
static void transfer_null_data(struct x86_cpu *cpu)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < 4; i++) {
		struct x86_seg *s = &cpu->seg[data[i]];
		unsigned dpl = (s->attr & X86_SEG_DPL) >> X86_SEG_DPL_SHIFT;
		bool conforming = (s->attr & 0xc) == 0xc;

		if (!(s->attr & X86_SEG_UNUSABLE) && !conforming &&
		    dpl < cpu->cpl)
			*s = (struct x86_seg){ .attr = X86_SEG_UNUSABLE };
	}
}

/* RSP gets the width of the stack returned to. */
static void transfer_set_sp(struct x86_cpu *cpu, uint64_t sp)
{
	struct stack st;

	stack_current(cpu, &st);
	st.sp = sp & st.mask;
	stack_commit(cpu, &st);
}

static void transfer_commit_outer(struct x86_cpu *cpu, const struct x86_seg *cs,
				  uint64_t rip, const struct x86_seg *ss,
				  uint64_t sp)
{
	cpu->seg[X86_SS] = *ss;
	transfer_commit(cpu, cs, rip, cs->sel & 3);
	transfer_set_sp(cpu, sp);
	transfer_null_data(cpu);
}

static void transfer_ret_real(struct x86_cpu *cpu, unsigned opsize,
			      unsigned pop_bytes)
{
	struct stack st;
	uint64_t rip;
	uint16_t sel;

	stack_current(cpu, &st);
	rip = stack_pop(cpu, &st, opsize);
	sel = stack_pop(cpu, &st, opsize);
	transfer_real(cpu, sel, rip);
	st.sp = (st.sp + pop_bytes) & st.mask;
	stack_commit(cpu, &st);
}

void x86_ret_far(struct x86_cpu *cpu, unsigned opsize, unsigned pop_bytes)
{
	struct x86_seg cs, ss;
	struct stack st;
	uint64_t rip, sp;
	uint16_t sel;

	if (!x86_protected(cpu)) {
		transfer_ret_real(cpu, opsize, pop_bytes);
		return;
	}
	stack_current(cpu, &st);
	rip = stack_pop(cpu, &st, opsize);
	sel = stack_pop(cpu, &st, opsize);
	transfer_return_cs(cpu, sel, rip, &cs);
	st.sp = (st.sp + pop_bytes) & st.mask;
	if ((sel & 3) == cpu->cpl) {
		stack_commit(cpu, &st);
		transfer_commit(cpu, &cs, rip, cpu->cpl);
		return;
	}
	sp = stack_pop(cpu, &st, opsize);
	transfer_return_ss(cpu, stack_pop(cpu, &st, opsize), &cs, sel & 3, &ss);
	transfer_commit_outer(cpu, &cs, rip, &ss, sp + pop_bytes);
}

/* --- IRET ---------------------------------------------------------------- */

struct transfer_frame {
	struct stack st;
	uint64_t rip, flags, sp;
	uint16_t cs, ss;
	unsigned size;
	bool whole; /* sp and ss were popped, too */
};

/* IRETQ's frame, read in one go where the TLB has its page. */
static bool transfer_pop_frame64(struct x86_cpu *cpu, struct transfer_frame *f)
{
	uint64_t frame[5];
	const void *p = stack_above(cpu, &f->st, sizeof(frame));

	if (!p)
		return false;
	memcpy(frame, p, sizeof(frame));
	f->st.sp += sizeof(frame);
	f->rip = frame[0];
	f->cs = frame[1];
	f->flags = frame[2];
	f->sp = frame[3];
	f->ss = frame[4];
	return true;
}

static void transfer_pop_frame(struct x86_cpu *cpu, struct transfer_frame *f,
			       unsigned opsize)
{
	f->size = opsize;
	stack_current(cpu, &f->st);
	f->whole = opsize == 8 && transfer_pop_frame64(cpu, f);
	if (f->whole)
		return;
	f->rip = stack_pop(cpu, &f->st, opsize);
	f->cs = stack_pop(cpu, &f->st, opsize);
	f->flags = stack_pop(cpu, &f->st, opsize);
}

/*
 * Which flags IRET loads; RF only while a breakpoint is armed (cpu.h).  VM is
 * for the return to VM86 alone; VIF and VIP belong to CPL 0.
 */
static uint64_t transfer_iret_mask(const struct x86_cpu *cpu, unsigned size)
{
	uint64_t mask =
		X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

	if (size > 2) {
		mask |= X86_FLAG_AC | X86_FLAG_ID;
		if (cpu->mode & X86_MODE_DEBUG)
			mask |= X86_FLAG_RF;
		if (cpu->cpl == 0)
			mask |= X86_FLAG_VIF | X86_FLAG_VIP;
	}
	if (cpu->mode & X86_MODE_IOPL)
		mask |= X86_FLAG_IF;
	if (cpu->cpl == 0)
		mask |= X86_FLAG_IOPL;
	return mask;
}

/* Real mode, and VM86, where IOPL stays and below 3 VIF is loaded for IF. */
static void transfer_iret_real(struct x86_cpu *cpu, unsigned opsize)
{
	bool sensitive =
		cpu->mode & X86_MODE_VM86 && !(cpu->mode & X86_MODE_IOPL);
	struct transfer_frame f;
	uint64_t mask = transfer_iret_mask(cpu, opsize);

	if (sensitive && (opsize != 2 || !vme_virtual_if(cpu)))
		x86_gp(cpu, 0);
	transfer_pop_frame(cpu, &f, opsize);
	if (sensitive)
		vme_check_flags(cpu, f.flags);
	transfer_real(cpu, f.cs, f.rip);
	stack_commit(cpu, &f.st);
	if (sensitive)
		vme_load_flags(cpu, f.flags, mask);
	else
		x86_set_rflags(cpu, f.flags, mask);
}

static void transfer_iret_task(struct x86_cpu *cpu)
{
	if (x86_long_mode(cpu))
		x86_gp(cpu, 0);
	x86_task_switch(cpu, x86_load_sys(cpu, cpu->seg[X86_TR].base, 2),
			X86_TASK_IRET, false, 0);
}

/* SDM volume 2, IRET, RETURN-TO-VIRTUAL-8086-MODE. */
static void transfer_iret_vm86(struct x86_cpu *cpu, struct transfer_frame *f)
{
	static const uint8_t order[] = { X86_SS, X86_ES, X86_DS, X86_FS,
					 X86_GS };
	uint16_t sel[5];
	uint64_t sp;

	sp = stack_pop(cpu, &f->st, 4);
	for (unsigned i = 0; i < 5; i++)
		sel[i] = stack_pop(cpu, &f->st, 4);
	if (f->rip > 0xffff)
		x86_gp(cpu, 0);
	x86_set_rflags(cpu, f->flags, ~0ull);
	x86_load_sreg_real(cpu, X86_CS, f->cs);
	for (unsigned i = 0; i < 5; i++)
		x86_load_sreg_real(cpu, order[i], sel[i]);
	cpu->rip = f->rip;
	cpu->gpr[X86_RSP] = sp;
}

static void transfer_pop_stack(struct x86_cpu *cpu, struct transfer_frame *f)
{
	if (f->whole)
		return;
	f->sp = stack_pop(cpu, &f->st, f->size);
	f->ss = stack_pop(cpu, &f->st, f->size);
}

static void transfer_iret_protected(struct x86_cpu *cpu,
				    struct transfer_frame *f)
{
	uint64_t mask = transfer_iret_mask(cpu, f->size);
	bool with_stack = x86_code64(cpu) || (f->cs & 3) != cpu->cpl;
	struct x86_seg cs, ss;

	transfer_return_cs(cpu, f->cs, f->rip, &cs);
	if (!with_stack) {
		stack_commit(cpu, &f->st);
		transfer_commit(cpu, &cs, f->rip, cpu->cpl);
		x86_set_rflags(cpu, f->flags, mask);
		return;
	}
	transfer_pop_stack(cpu, f);
	transfer_return_ss(cpu, f->ss, &cs, f->cs & 3, &ss);
	transfer_commit_outer(cpu, &cs, f->rip, &ss, f->sp);
	x86_set_rflags(cpu, f->flags, mask);
}

void x86_iret(struct x86_cpu *cpu, unsigned opsize)
{
	struct transfer_frame f;

	cpu->nmi_blocked = false; /* SDM 3A 6.7.1: even if it faults */
	if (!x86_protected(cpu)) {
		transfer_iret_real(cpu, opsize);
		return;
	}
	if (cpu->rflags & X86_FLAG_NT) {
		transfer_iret_task(cpu);
		return;
	}
	transfer_pop_frame(cpu, &f, opsize);
	if (f.flags & X86_FLAG_VM && cpu->cpl == 0 && opsize == 4 &&
	    !x86_long_mode(cpu))
		transfer_iret_vm86(cpu, &f);
	else
		transfer_iret_protected(cpu, &f);
}
