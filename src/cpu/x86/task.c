/*
 * task.c - task state segments: inner stacks, and hardware task switching.
 *
 * Source: Intel SDM volume 3A chapter 7.
 *
 * A task switch goes in three stages.  Up to the commit point everything that
 * can fault is checked or read, and faults belong to the old task.  Then the
 * new task's registers, selectors, CR3 and TR are in force.  What comes after
 * (loading the segments' hidden parts, pushing an error code, the T bit)
 * faults in the context of the new task: those exceptions leave here as
 * X86_EV_TRAP, so that engines push the new EIP, not the address of an
 * instruction of the old task.
 *
 * The 32-bit TSS (SDM figure 7-2); the 16-bit one has its fields in the same
 * order (figure 7-10), so one table describes both.
 */
#include "cpu/x86/descriptor.h"

#include <string.h>

#include "cpu/x86/mmu.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/segment.h"

/* --- Stacks in the current TSS ------------------------------------------- */

static _Noreturn void task_bad_tss(struct x86_cpu *cpu)
{
	x86_raise_error(cpu, X86_VEC_TS,
			descriptor_error(cpu->seg[X86_TR].sel));
}

static bool task_is_wide(uint32_t attr)
{
	return attr & 8; /* types 9, 11; 16-bit: 1, 3 */
}

void task_inner_stack(struct x86_cpu *cpu, unsigned cpl, uint16_t *ss,
		      uint64_t *sp)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	unsigned size = task_is_wide(tr->attr) ? 4 : 2;
	uint32_t at = size + cpl * 2 * size;

	if (at + 2 * size - 1 > tr->limit)
		task_bad_tss(cpu);
	*sp = x86_load_sys(cpu, tr->base + at, size);
	*ss = x86_load_sys(cpu, tr->base + at + size, 2);
}

uint64_t task_stack64(struct x86_cpu *cpu, unsigned n)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	uint32_t at = 4 + 8 * n;

	if (at + 7 > tr->limit)
		task_bad_tss(cpu);
	return x86_load_sys(cpu, tr->base + at, 8);
}

/* --- The image of a task ------------------------------------------------- */

struct task_image {
	uint32_t cr3, eip, eflags;
	uint32_t gpr[8];
	uint16_t sel[7]; /* ES CS SS DS FS GS LDT, in the TSS's order */
	bool trap;
	bool wide;
};

struct task_layout {
	uint8_t size; /* of a register; selectors are 2 bytes anyway */
	uint8_t eip, eflags, gpr, sel, ldt;
	uint8_t sels; /* segment registers saved: 16-bit has no FS, GS */
	uint8_t min_limit;
};

static const struct task_layout task_layouts[2] = {
	{ 2, 14, 16, 18, 34, 42, 4, 0x2b },
	{ 4, 32, 36, 40, 72, 96, 6, 0x67 },
};

static const struct task_layout *task_layout(bool wide)
{
	return &task_layouts[wide];
}

static void task_read(struct x86_cpu *cpu, const struct x86_seg *tss,
		      struct task_image *t)
{
	const struct task_layout *l = task_layout(t->wide);
	unsigned size = l->size;
	uint64_t b = tss->base;

	t->cr3 = t->wide ? x86_load_sys(cpu, b + 28, 4) : 0;
	t->eip = x86_load_sys(cpu, b + l->eip, size);
	t->eflags = x86_load_sys(cpu, b + l->eflags, size);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = x86_load_sys(cpu, b + l->gpr + i * size, size);
	for (unsigned i = 0; i < 6; i++)
		t->sel[i] = i < l->sels ? x86_load_sys(cpu,
						       b + l->sel + i * size, 2)
					: 0;
	t->sel[6] = x86_load_sys(cpu, b + l->ldt, 2);
	t->trap = t->wide && x86_load_sys(cpu, b + 100, 2) & 1;
	if (!t->wide) { /* the upper halves are all ones (SDM 3A 7.6) */
		for (unsigned i = 0; i < 8; i++)
			t->gpr[i] |= 0xffff0000;
	}
}

/* Dynamic fields of the outgoing task; CR3 and LDT are static. */
static void task_save(struct x86_cpu *cpu, uint32_t eflags)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	const struct task_layout *l = task_layout(task_is_wide(tr->attr));
	unsigned size = l->size;

	x86_store_sys(cpu, tr->base + l->eip, size, cpu->rip);
	x86_store_sys(cpu, tr->base + l->eflags, size, eflags);
	for (unsigned i = 0; i < 8; i++)
		x86_store_sys(cpu, tr->base + l->gpr + i * size, size,
			      cpu->gpr[i]);
	for (unsigned i = 0; i < l->sels; i++)
		x86_store_sys(cpu, tr->base + l->sel + i * size, 2,
			      cpu->seg[i].sel);
}

/* Both TSSs must be mapped before anything is changed (SDM 3A 7.3 step 6). */
static void task_probe(struct x86_cpu *cpu, const struct x86_seg *tss,
		       bool write)
{
	uint32_t last = task_layout(task_is_wide(tss->attr))->min_limit;

	(void)x86_load_sys(cpu, tss->base, 1);
	(void)x86_load_sys(cpu, tss->base + last, 1);
	if (!write)
		return;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = tss->base + (i ? last : 0);

		x86_store_sys(cpu, at, 1, x86_load_sys(cpu, at, 1));
	}
}

/* --- Into the new task --------------------------------------------------- */

/* The TSS's own checks; on IRET faults are #TS, else #GP. */
static void task_check_tss(struct x86_cpu *cpu, uint16_t sel,
			   enum x86_task_source source, struct descriptor *d,
			   struct x86_seg *tss)
{
	bool iret = source == X86_TASK_IRET;
	uint8_t vector = iret ? X86_VEC_TS : X86_VEC_GP;
	unsigned type, busy = iret ? 2 : 0;

	if (sel & 4 || !descriptor_fetch(cpu, sel, d))
		x86_raise_error(cpu, vector, descriptor_error(sel));
	type = descriptor_type(d);
	if ((type & ~8u) != (DESCRIPTOR_TSS16 | busy))
		x86_raise_error(cpu, vector, descriptor_error(sel));
	if (!descriptor_present(d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	descriptor_to_seg(d, tss);
	if (tss->limit < task_layout(task_is_wide(tss->attr))->min_limit)
		x86_raise_error(cpu, X86_VEC_TS, descriptor_error(sel));
}

static void task_clear_busy(struct x86_cpu *cpu)
{
	struct descriptor old;

	if (descriptor_fetch(cpu, cpu->seg[X86_TR].sel, &old))
		descriptor_set_busy(cpu, &old, false);
}

static void task_load_registers(struct x86_cpu *cpu, const struct task_image *t)
{
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = t->gpr[i];
	cpu->rip = t->eip;
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){
			.sel = t->sel[i],
			.attr = X86_SEG_UNUSABLE,
		};
	cpu->seg[X86_LDTR] = (struct x86_seg){
		.sel = t->sel[6],
		.attr = X86_SEG_UNUSABLE,
	};
	x86_set_rflags(cpu, t->eflags, ~0ull);
}

static void task_load_ldt(struct x86_cpu *cpu, uint16_t sel)
{
	struct descriptor d;

	if (descriptor_null(sel))
		return;
	if (sel & 4 || !descriptor_fetch(cpu, sel, &d) ||
	    descriptor_type(&d) != DESCRIPTOR_LDT || !descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_TS, descriptor_error(sel));
	descriptor_to_seg(&d, &cpu->seg[X86_LDTR]);
}

static void task_load_cs(struct x86_cpu *cpu, uint16_t sel)
{
	unsigned rpl = sel & 3, dpl;
	struct descriptor d;
	bool ok;

	descriptor_require(cpu, sel, &d, X86_VEC_TS);
	dpl = descriptor_dpl(&d);
	ok = descriptor_is_conforming(&d) ? dpl <= rpl : dpl == rpl;
	if (!descriptor_is_code(&d) || !ok)
		x86_raise_error(cpu, X86_VEC_TS, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	descriptor_mark_accessed(cpu, &d);
	descriptor_to_seg(&d, &cpu->seg[X86_CS]);
}

static void task_load_data(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	struct descriptor d;
	unsigned dpl;

	if (descriptor_null(sel))
		return;
	descriptor_require(cpu, sel, &d, X86_VEC_TS);
	dpl = descriptor_dpl(&d);
	if (!descriptor_is_readable(&d) ||
	    (!descriptor_is_conforming(&d) &&
	     (dpl < cpu->cpl || dpl < (sel & 3u))))
		x86_raise_error(cpu, X86_VEC_TS, descriptor_error(sel));
	if (!descriptor_present(&d))
		x86_raise_error(cpu, X86_VEC_NP, descriptor_error(sel));
	descriptor_mark_accessed(cpu, &d);
	descriptor_to_seg(&d, &cpu->seg[seg]);
}

static void task_load_segments_vm86(struct x86_cpu *cpu)
{
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		x86_load_sreg_real(cpu, i, cpu->seg[i].sel);
}

/* Hidden parts, in the order of SDM 3A table 7-1. */
static void task_load_segments(struct x86_cpu *cpu, const struct task_image *t)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	task_load_ldt(cpu, t->sel[6]);
	if (cpu->rflags & X86_FLAG_VM) {
		task_load_segments_vm86(cpu);
		return;
	}
	task_load_cs(cpu, t->sel[X86_CS]);
	descriptor_load_ss(cpu, t->sel[X86_SS], cpu->cpl, X86_VEC_TS,
			   &cpu->seg[X86_SS]);
	for (unsigned i = 0; i < 4; i++)
		task_load_data(cpu, data[i], t->sel[data[i]]);
	x86_mode_changed(cpu);
	descriptor_check_offset(cpu, &cpu->seg[X86_CS], cpu->rip);
}

static void task_push_error(struct x86_cpu *cpu, bool wide, uint32_t error)
{
	x86_push(cpu, error, wide ? 4 : 2);
}

/* Everything that happens, and faults, in the new task. */
static void task_enter(struct x86_cpu *cpu, const struct task_image *t,
		       bool has_error, uint32_t error)
{
	task_load_segments(cpu, t);
	if (has_error)
		task_push_error(cpu, t->wide, error);
	if (t->trap)
		x86_raise_db(cpu, X86_DR6_BT, true);
}

/* Runs task_enter(); its faults go on as traps with EIP of the new task. */
static void task_enter_guarded(struct x86_cpu *cpu, const struct task_image *t,
			       bool has_error, uint32_t error)
{
	jmp_buf saved;

	memcpy(&saved, &cpu->fault_jmp, sizeof(saved));
	if (!setjmp(cpu->fault_jmp)) {
		task_enter(cpu, t, has_error, error);
		memcpy(&cpu->fault_jmp, &saved, sizeof(saved));
		return;
	}
	memcpy(&cpu->fault_jmp, &saved, sizeof(saved));
	cpu->fault.type = X86_EV_TRAP;
	x86_mode_changed(cpu);
	longjmp(cpu->fault_jmp, 1);
}

/* --- The switch ---------------------------------------------------------- */

static bool task_nests(enum x86_task_source source)
{
	return source == X86_TASK_CALL || source == X86_TASK_INT;
}

static void task_load_cr3(struct x86_cpu *cpu, const struct task_image *t)
{
	if (t->wide && cpu->cr0 & X86_CR0_PG)
		x86_set_cr3(cpu, t->cr3);
}

void x86_task_switch(struct x86_cpu *cpu, uint16_t tss_sel,
		     enum x86_task_source source, bool has_error,
		     uint32_t error)
{
	uint64_t eflags = cpu->rflags;
	struct task_image t;
	struct descriptor d;
	struct x86_seg tss;

	task_check_tss(cpu, tss_sel, source, &d, &tss);
	task_probe(cpu, &cpu->seg[X86_TR], true);
	task_probe(cpu, &tss, task_nests(source));
	t.wide = task_is_wide(tss.attr);
	task_read(cpu, &tss, &t);
	if (source == X86_TASK_IRET)
		eflags &= ~X86_FLAG_NT;
	if (!task_nests(source))
		task_clear_busy(cpu);
	task_save(cpu, eflags);
	if (task_nests(source)) {
		x86_store_sys(cpu, tss.base, 2, cpu->seg[X86_TR].sel);
		t.eflags |= X86_FLAG_NT;
	}
	if (source != X86_TASK_IRET)
		descriptor_set_busy(cpu, &d, true);
	/* The commit point. */
	task_load_cr3(cpu, &t);
	descriptor_to_seg(&d, &cpu->seg[X86_TR]);
	cpu->cr0 |= X86_CR0_TS;
	cpu->dr[7] &= ~0x55ull; /* local breakpoints end with the task */
	task_load_registers(cpu, &t);
	cpu->cpl = t.eflags & X86_FLAG_VM ? 3 : t.sel[X86_CS] & 3;
	x86_mode_changed(cpu);
	task_enter_guarded(cpu, &t, has_error, error);
}
