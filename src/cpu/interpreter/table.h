/*
 * table.h - the generic handler of every operation, by enum x86_op.
 */
#ifndef HOSTEL_CPU_INTERPRETER_TABLE_H
#define HOSTEL_CPU_INTERPRETER_TABLE_H

#include "cpu/x86/insn.h"

/* NULL only for X86_OP_INVALID. */
extern x86_exec_fn *const interp_exec[X86_OP_COUNT];

#endif
