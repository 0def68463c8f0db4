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

/*
 * The interpreter as a part of an engine that runs 64-bit code alone: decoded
 * blocks for real, protected and compatibility mode.  The engine calls
 * interpreter_engine's vm_init, vm_free and code_written beside its own (the
 * latter while x86_machine.code_shared is set), and sets its own mem_code_hook
 * behind vm_init.  A part belongs to its vCPU's thread.
 */
struct interp_vcpu;
int interp_part_new(struct interp_vcpu **out, struct x86_cpu *cpu,
		    struct err *err);
void interp_part_free(struct interp_vcpu *iv, struct x86_cpu *cpu);
void interp_part_flush(struct interp_vcpu *iv, struct x86_cpu *cpu);
/* Runs until 64-bit code comes (false) or run() is to return (true, why). */
bool interp_part_run(struct interp_vcpu *iv, struct x86_cpu *cpu,
		     enum vcpu_exit *exit);

#endif
