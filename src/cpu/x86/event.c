/*
 * event.c - delivering exceptions and interrupts through the IDT.
 *
 * Source: Intel SDM volume 3A chapter 6 (6.12 delivery, 6.13 error codes, 6.14
 * long mode, 6.15 double faults), 20.1.4 (real mode), 20.3.1 (VM86).
 *
 * x86_deliver() is a loop around one attempt.  An attempt changes nothing but
 * memory below the stack pointer (and accessed bits) until everything that
 * can fault has been done; then it commits.  If it raises, longjmp lands in
 * the loop, which combines first and second event by table 6-5 into what is
 * to be delivered next: the second event, a double fault, or shutdown.  The
 * exception is a task gate: task.c commits in the middle, as the manual has
 * it, and raises what follows in the new task's context.
 *
 * Every #TS, #NP, #SS or #GP raised while an external event (a hardware
 * interrupt, or an exception) is delivered carries the EXT bit, so the loop
 * sets it, and code below needs not know what it works for.
 */
#include "cpu/x86/cpu.h"

#include <string.h>

#include "cpu/x86/descriptor.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/vme.h"

/* No chain of benign exceptions is longer on purpose. */
#define EVENT_MAX_NESTED 8

#define EVENT_EXT 1u
#define EVENT_IDT 2u

/* What one attempt works with. */
struct event_frame {
	const struct x86_event *ev;
	struct descriptor gate;
	struct x86_seg cs; /* the handler's */
	uint64_t rip;
	uint64_t flags; /* to push */
	unsigned cpl;   /* the handler's */
	unsigned width; /* bytes a push: 2, 4, 8 */
};

static uint32_t event_idt_error(const struct x86_event *ev)
{
	return ev->vector * 8u + EVENT_IDT;
}

static bool event_is_software(const struct x86_event *ev)
{
	return ev->type == X86_EV_SOFT || ev->type == X86_EV_SOFT_TRAP;
}

static bool event_is_external(const struct x86_event *ev)
{
	return !event_is_software(ev);
}

static bool event_is_exception(const struct x86_event *ev)
{
	return ev->type == X86_EV_FAULT || ev->type == X86_EV_TRAP;
}

/* --- Flags --------------------------------------------------------------- */

/*
 * SDM 3B 17.3.1.1: faults push RF set, so that the handler's IRET gets past
 * an instruction breakpoint; the breakpoint's own #DB is no exception here,
 * for it is raised with RF as it was.
 */
static uint64_t event_flags_to_push(const struct x86_cpu *cpu,
				    const struct x86_event *ev)
{
	uint64_t flags = cpu->rflags;

	if (ev->type == X86_EV_FAULT && ev->vector != X86_VEC_DB)
		flags |= X86_FLAG_RF;
	return flags;
}

static void event_enter_flags(struct x86_cpu *cpu, uint64_t also)
{
	cpu->rflags &=
		~(X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM | also);
}

/* --- Real mode ----------------------------------------------------------- */

static void event_real(struct x86_cpu *cpu, const struct x86_event *ev)
{
	uint32_t offset = ev->vector * 4u;
	struct stack st;
	uint32_t entry;

	if (offset + 3 > cpu->idtr.limit)
		x86_gp(cpu, event_idt_error(ev));
	entry = x86_load_sys(cpu, cpu->idtr.base + offset, 4);
	stack_current(cpu, &st);
	stack_push(cpu, &st, event_flags_to_push(cpu, ev), 2);
	stack_push(cpu, &st, cpu->seg[X86_CS].sel, 2);
	stack_push(cpu, &st, cpu->rip, 2);
	stack_commit(cpu, &st);
	event_enter_flags(cpu, X86_FLAG_IF | X86_FLAG_AC);
	cpu->rip = entry & 0xffff;
	x86_load_sreg_real(cpu, X86_CS, entry >> 16);
}

/* --- Gates --------------------------------------------------------------- */

static void event_load_gate(struct x86_cpu *cpu, struct event_frame *f)
{
	bool wide = x86_long_mode(cpu);
	uint32_t size = wide ? 16 : 8;
	uint32_t offset = f->ev->vector * size;
	uint32_t error = event_idt_error(f->ev);
	uint64_t linear = cpu->idtr.base + offset;
	unsigned type;

	if (offset + size - 1 > cpu->idtr.limit)
		x86_gp(cpu, error);
	f->gate.lo = x86_load_sys(cpu, wide ? linear : (uint32_t)linear, 8);
	f->gate.hi = wide ? x86_load_sys(cpu, linear + 8, 8) : 0;
	type = descriptor_type(&f->gate);
	if (type != DESCRIPTOR_INT32 && type != DESCRIPTOR_TRAP32 &&
	    (wide || (type != DESCRIPTOR_INT16 && type != DESCRIPTOR_TRAP16 &&
		      type != DESCRIPTOR_TASK)))
		x86_gp(cpu, error);
	if (event_is_software(f->ev) && descriptor_dpl(&f->gate) < cpu->cpl)
		x86_gp(cpu, error);
	if (!descriptor_present(&f->gate))
		x86_raise_error(cpu, X86_VEC_NP, error);
	f->width = wide ? 8 : type & 8 ? 4 : 2;
}

/* The code segment that the gate names, and the privilege it runs at. */
static void event_load_code(struct x86_cpu *cpu, struct event_frame *f)
{
	uint16_t sel = descriptor_gate_selector(&f->gate);
	struct descriptor d;
	unsigned dpl;

	descriptor_require(cpu, sel, &d, X86_VEC_GP);
	dpl = descriptor_dpl(&d);
	if (!descriptor_is_code(&d) || dpl > cpu->cpl)
		x86_gp(cpu, descriptor_error(sel));
	if (x86_long_mode(cpu) &&
	    (!descriptor_is_long(&d) || descriptor_is_big(&d)))
		x86_gp(cpu, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	f->cpl = descriptor_is_conforming(&d) ? cpu->cpl : dpl;
	if (cpu->rflags & X86_FLAG_VM && f->cpl != 0)
		x86_gp(cpu, descriptor_error(sel));
	descriptor_mark_accessed(cpu, &d);
	descriptor_to_seg(&d, &f->cs);
	f->cs.sel = (sel & 0xfffc) | f->cpl;
	f->rip = descriptor_gate_offset(&f->gate);
	if (f->width == 2)
		f->rip &= 0xffff;
	descriptor_check_offset(cpu, &f->cs, f->rip);
}

/* --- Protected mode ------------------------------------------------------ */

static void event_push_vm86(struct x86_cpu *cpu, struct stack *st,
			    unsigned width)
{
	static const uint8_t order[] = { X86_GS, X86_FS, X86_DS, X86_ES };

	for (unsigned i = 0; i < 4; i++)
		stack_push(cpu, st, cpu->seg[order[i]].sel, width);
}

static void event_push_frame(struct x86_cpu *cpu, const struct event_frame *f,
			     struct stack *st, bool with_stack)
{
	unsigned width = f->width;

	if (with_stack) {
		stack_push(cpu, st, cpu->seg[X86_SS].sel, width);
		stack_push(cpu, st, cpu->gpr[X86_RSP], width);
	}
	stack_push(cpu, st, f->flags, width);
	stack_push(cpu, st, cpu->seg[X86_CS].sel, width);
	stack_push(cpu, st, cpu->rip, width);
	if (f->ev->has_error)
		stack_push(cpu, st, f->ev->error, width);
}

static void event_commit(struct x86_cpu *cpu, const struct event_frame *f,
			 const struct stack *st)
{
	bool interrupt_gate = !(descriptor_type(&f->gate) & 1);
	bool vm86 = cpu->rflags & X86_FLAG_VM;

	if (vm86) { /* SDM 3A 20.3.1.1 */
		static const uint8_t data[] = { X86_ES, X86_DS, X86_FS,
						X86_GS };

		for (unsigned i = 0; i < 4; i++)
			cpu->seg[data[i]] =
				(struct x86_seg){ .attr = X86_SEG_UNUSABLE };
	}
	if (f->cpl != cpu->cpl)
		cpu->seg[X86_SS] = st->ss;
	stack_commit(cpu, st);
	cpu->seg[X86_CS] = f->cs;
	cpu->rip = f->rip;
	event_enter_flags(cpu, interrupt_gate ? X86_FLAG_IF : 0);
	cpu->cpl = f->cpl;
	x86_mode_changed(cpu);
}

static void event_protected(struct x86_cpu *cpu, struct event_frame *f)
{
	bool inner = f->cpl != cpu->cpl;
	struct stack st;

	if (inner) {
		struct x86_seg seg;
		uint16_t ss;
		uint64_t sp;

		task_inner_stack(cpu, f->cpl, &ss, &sp);
		descriptor_load_ss(cpu, ss, f->cpl, X86_VEC_TS, &seg);
		stack_init(&st, &seg, sp, f->cpl);
		if (cpu->rflags & X86_FLAG_VM)
			event_push_vm86(cpu, &st, f->width);
	} else {
		stack_current(cpu, &st);
	}
	event_push_frame(cpu, f, &st, inner);
	event_commit(cpu, f, &st);
}

/* The same frame for long mode, stored in one go where the TLB has its page. */
static void event_push_frame64(struct x86_cpu *cpu, const struct event_frame *f,
			       struct stack *st)
{
	const uint64_t frame[] = {
		f->ev->error, cpu->rip,          cpu->seg[X86_CS].sel,
		f->flags,     cpu->gpr[X86_RSP], cpu->seg[X86_SS].sel,
	};
	unsigned skip = f->ev->has_error ? 0 : 8;
	unsigned bytes = sizeof(frame) - skip;
	void *p = stack_below(cpu, st, bytes);

	if (!p) {
		event_push_frame(cpu, f, st, true);
		return;
	}
	memcpy(p, (const char *)frame + skip, bytes);
	st->sp -= bytes;
}

/* SDM 3A 6.14.2 to 6.14.5: the stack is always switched or aligned. */
static void event_long(struct x86_cpu *cpu, struct event_frame *f)
{
	unsigned ist = f->gate.lo >> 32 & 7;
	uint64_t rsp = cpu->gpr[X86_RSP];
	struct stack st;

	if (ist)
		rsp = task_stack64(cpu, 3 + ist);
	else if (f->cpl != cpu->cpl)
		rsp = task_stack64(cpu, f->cpl);
	stack_init64(&st, rsp & ~15ull, f->cpl);
	event_push_frame64(cpu, f, &st);
	event_commit(cpu, f, &st);
}

static void event_through_idt(struct x86_cpu *cpu, const struct x86_event *ev)
{
	struct event_frame f = { .ev = ev };

	if (ev->type == X86_EV_SOFT && cpu->mode & X86_MODE_VM86) {
		if (vme_redirected(cpu, ev->vector)) {
			vme_interrupt(cpu, ev->vector);
			return;
		}
		/* SDM 3A 20.2.7: INT n is sensitive to IOPL here. */
		if (!(cpu->mode & X86_MODE_IOPL))
			x86_gp(cpu, 0);
	}
	event_load_gate(cpu, &f);
	f.flags = event_flags_to_push(cpu, ev);
	if (descriptor_type(&f.gate) == DESCRIPTOR_TASK) {
		if (ev->type == X86_EV_FAULT)
			cpu->rflags = f.flags;
		x86_task_switch(cpu, descriptor_gate_selector(&f.gate),
				X86_TASK_INT, ev->has_error, ev->error);
		return;
	}
	event_load_code(cpu, &f);
	if (x86_long_mode(cpu))
		event_long(cpu, &f);
	else
		event_protected(cpu, &f);
}

/* --- Combining events ---------------------------------------------------- */

enum event_class { EVENT_BENIGN, EVENT_CONTRIBUTORY, EVENT_PAGE, EVENT_DOUBLE };

static enum event_class event_classify(const struct x86_event *ev)
{
	if (!event_is_exception(ev))
		return EVENT_BENIGN;
	switch (ev->vector) {
	case X86_VEC_DF:
		return EVENT_DOUBLE;
	case X86_VEC_PF:
		return EVENT_PAGE;
	case X86_VEC_DE:
	case X86_VEC_TS:
	case X86_VEC_NP:
	case X86_VEC_SS:
	case X86_VEC_GP:
		return EVENT_CONTRIBUTORY;
	default:
		return EVENT_BENIGN;
	}
}

/* SDM 3A table 6-5; false: shutdown. */
static bool event_combine(const struct x86_event *first,
			  const struct x86_event *second, struct x86_event *out)
{
	static const struct x86_event double_fault = {
		.vector = X86_VEC_DF,
		.type = X86_EV_FAULT,
		.has_error = true,
	};
	enum event_class a = event_classify(first), b = event_classify(second);
	bool external;

	if (a == EVENT_DOUBLE && b != EVENT_BENIGN)
		return false;
	if ((a == EVENT_CONTRIBUTORY && b == EVENT_CONTRIBUTORY) ||
	    (a == EVENT_PAGE && b != EVENT_BENIGN)) {
		*out = double_fault;
		return true;
	}
	external = event_is_external(first); /* *out may be *first */
	*out = *second;
	if (external && b == EVENT_CONTRIBUTORY && out->has_error)
		out->error |= EVENT_EXT;
	return true;
}

/* What an exception leaves in CR2 and the debug registers. */
static void event_note(struct x86_cpu *cpu, const struct x86_event *ev)
{
	if (!event_is_exception(ev))
		return;
	if (ev->vector == X86_VEC_PF)
		cpu->cr2 = ev->cr2;
	if (ev->vector == X86_VEC_DB) {
		/* SDM 3B 17.2.3: bits 0..3 tell of this #DB only. */
		if (ev->dr6 & 15)
			cpu->dr[6] &= ~15ull;
		cpu->dr[6] |= ev->dr6;
		cpu->dr[7] &= ~X86_DR7_GD;
	}
}

/* The address of a software interrupt's own instruction. */
static uint64_t event_insn_start(const struct x86_cpu *cpu,
				 const struct x86_event *ev)
{
	unsigned len = ev->type == X86_EV_SOFT ? 2 : 1;

	if (cpu->insn)
		len = cpu->insn->len;
	if (x86_code64(cpu))
		return cpu->rip - len;
	return (uint32_t)(cpu->rip - len);
}

static bool event_try(struct x86_cpu *cpu, const struct x86_event *ev)
{
	if (setjmp(cpu->fault_jmp))
		return false;
	event_note(cpu, ev);
	if (cpu->mode & X86_MODE_REAL)
		event_real(cpu, ev);
	else
		event_through_idt(cpu, ev);
	return true;
}

static void event_count(struct x86_cpu *cpu, const struct x86_event *ev)
{
	if (ev->type == X86_EV_INTR || ev->type == X86_EV_NMI)
		cpu->intr_count++;
	else
		cpu->exception_count++;
	if (cpu->xm->trace && cpu->xm->trace->event)
		cpu->xm->trace->event(cpu->xm->trace_opaque, cpu, ev);
}

/* event_try() until something sticks; false: shutdown. */
static bool event_loop(struct x86_cpu *cpu, struct x86_event *ev)
{
	bool at_next = ev->type == X86_EV_SOFT ||
		       ev->type == X86_EV_SOFT_TRAP || ev->type == X86_EV_ICEBP;
	uint64_t start = event_insn_start(cpu, ev);

	for (unsigned i = 0; i < EVENT_MAX_NESTED; i++) {
		event_count(cpu, ev);
		if (event_try(cpu, ev))
			return true;
		if (at_next && cpu->fault.type == X86_EV_FAULT)
			cpu->rip = start;
		/* CR2 tells of the second fault even if it ends as #DF. */
		if (cpu->fault.vector == X86_VEC_PF)
			cpu->cr2 = cpu->fault.cr2;
		at_next = false;
		if (!event_combine(ev, &cpu->fault, ev))
			return false;
	}
	return false;
}

bool x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev)
{
	struct x86_event current = *ev;
	jmp_buf saved;
	bool ok;

	memcpy(&saved, &cpu->fault_jmp, sizeof(saved));
	ok = event_loop(cpu, &current);
	memcpy(&cpu->fault_jmp, &saved, sizeof(saved));
	cpu->int_shadow = 0;
	cpu->db_pending = 0;
	if (ok)
		cpu->activity = X86_ACTIVE;
	return ok;
}
