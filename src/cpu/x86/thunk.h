/*
 * thunk.h - running a guest instruction on the host's processor.
 *
 * x87, MMX, SSE and AVX instructions (X86_THUNK) are executed by the host
 * itself: a thunk is a few bytes of host code that loads the vector (or x87)
 * registers involved from cpu->fpu, runs the same instruction with its memory
 * operand redirected to a buffer or a checked host address, and stores what
 * it changed.  One thunk per distinct instruction encoding, made when the
 * instruction is decoded first, kept in a bounded cache.
 *
 * A SIMD floating-point exception that the guest has unmasked arrives as
 * SIGFPE on the host and becomes the guest's #XM (or #UD without
 * CR4.OSXMMEXCPT); an unmasked x87 exception becomes pending in FSW and is
 * #MF (or IRQ 13) at the next waiting instruction, as on hardware.
 */
#ifndef HOSTEL_CPU_X86_THUNK_H
#define HOSTEL_CPU_X86_THUNK_H

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

/* Once per process: signal handling, code memory (never W and X at once in
 * one mapping).  Idempotent. */
int thunk_init(struct err *err);

/*
 * Executes insn (op X86_THUNK): checks CR0.EM/TS, CR4, XCR0 (#UD/#NM), the
 * operand's alignment, pending x87 exceptions; loads and stores memory by
 * mmu.h.  An x86_exec_fn.
 */
void thunk_exec(struct x86_cpu *cpu, const struct x86_insn *insn);

/*
 * x87 instructions leave the guest's x87 registers in the host's, for the next
 * one.  To be called by code that changes the thread's x87 registers itself.
 */
void thunk_forget_x87(void);

/* #UD / #NM for the class of insn, in the manual's order; else returns. */
void thunk_check_available(struct x86_cpu *cpu, const struct x86_insn *insn);
/* The same for an instruction of class cls (X87, MMX, SSE or AVX). */
void thunk_check_class(struct x86_cpu *cpu, enum x86_class cls);

#endif
