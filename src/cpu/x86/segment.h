/*
 * segment.h - segmentation: descriptors, loading, far transfers, tasks.
 *
 * Source: Intel SDM volume 3A chapters 3, 5, 7.  Functions raise (do not
 * return) on faults; own thread only.
 */
#ifndef HOSTEL_CPU_X86_SEGMENT_H
#define HOSTEL_CPU_X86_SEGMENT_H

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

/*
 * offset in segment -> linear address for an access of size bytes, with every
 * check of the current mode.  In 64-bit code only FS and GS have a base and
 * only canonicity is checked (#SS for stack references, else #GP).
 */
uint64_t x86_seg_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset,
			unsigned size, bool write);

static inline bool x86_canonical(const struct x86_cpu *cpu, uint64_t a)
{
	(void)cpu; /* 48 bits until 5-level paging is offered */
	return (int64_t)(a << 16) >> 16 == (int64_t)a;
}

/* MOV/POP/Lxx to ES, SS, DS, FS, GS: all checks; sets int_shadow not. */
void x86_load_sreg(struct x86_cpu *cpu, unsigned seg, uint16_t sel);
void x86_load_ldtr(struct x86_cpu *cpu, uint16_t sel);
void x86_load_tr(struct x86_cpu *cpu, uint16_t sel);
/* Real-mode/VM86 style: base = sel * 16. */
void x86_load_sreg_real(struct x86_cpu *cpu, unsigned seg, uint16_t sel);

/* Far JMP and CALL through segments, call gates, task gates and TSSs; return
 * and interrupt return.  opsize: 2, 4, 8.  They set cs, rip, ss, rsp, flags. */
void x86_jmp_far(struct x86_cpu *cpu, uint16_t sel, uint64_t off,
		 unsigned opsize);
void x86_call_far(struct x86_cpu *cpu, uint16_t sel, uint64_t off,
		  unsigned opsize);
void x86_ret_far(struct x86_cpu *cpu, unsigned opsize, unsigned pop_bytes);
void x86_iret(struct x86_cpu *cpu, unsigned opsize);

enum x86_task_source {
	X86_TASK_JMP,
	X86_TASK_CALL,
	X86_TASK_IRET,
	X86_TASK_INT
};
/* SDM 3A 7.3. has_error: pushed on the new task's stack. */
void x86_task_switch(struct x86_cpu *cpu, uint16_t tss_sel,
		     enum x86_task_source source, bool has_error,
		     uint32_t error);

/* LAR, LSL, VERR, VERW: true (ZF=1) and the value. */
bool x86_lar(struct x86_cpu *cpu, uint16_t sel, uint32_t *out);
bool x86_lsl(struct x86_cpu *cpu, uint16_t sel, uint32_t *out);
bool x86_verify(struct x86_cpu *cpu, uint16_t sel, bool write);

/* Stack helpers with the stack's address size; opsize 2, 4, 8. */
void x86_push(struct x86_cpu *cpu, uint64_t value, unsigned opsize);
uint64_t x86_pop(struct x86_cpu *cpu, unsigned opsize);

/* Fills CS, SS as SYSCALL/SYSENTER/... do: flat, given selector and DPL. */
void x86_set_flat_cs(struct x86_cpu *cpu, uint16_t sel, unsigned dpl,
		     bool long_mode);
void x86_set_flat_ss(struct x86_cpu *cpu, uint16_t sel, unsigned dpl);

/* I/O permission: CPL, IOPL, TSS bitmap; raises #GP(0). */
void x86_check_io(struct x86_cpu *cpu, uint16_t port, unsigned size);

#endif
