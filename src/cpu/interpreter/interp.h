/*
 * interp.h - the interpreter: the reference that other engines are held to.
 */
#ifndef HOSTEL_CPU_INTERPRETER_INTERP_H
#define HOSTEL_CPU_INTERPRETER_INTERP_H

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

/* The handler for a decoded instruction (generic or specialised); never NULL
 * for what x86_decode() accepts.  Sets insn->fn. */
x86_exec_fn *interp_select(struct x86_insn *insn);

/*
 * Executes exactly one instruction at cpu->rip, including delivery of a fault
 * or trap that it raises.  Does not take interrupts.  Used by the translator
 * for what it does not translate, and by gdb and tests; cpu->engine is not
 * looked at.  VCPU_EXIT_KICKED: go on; HALT: it was a HLT; SHUTDOWN: delivery
 * ended in a triple fault.  A REP may have done only a part, when something is
 * pending; then rip is still at the instruction.
 */
enum vcpu_exit interp_one(struct x86_cpu *cpu);

/*
 * Like interp_one() but for one instruction whose fault is not delivered:
 * returns false and leaves it in cpu->fault (state as before it).  For the
 * differential tests.
 */
bool interp_one_raw(struct x86_cpu *cpu);

#endif
