/*
 * ops.h - the instruction handlers of the interpreter, by file.
 *
 * Each file fills its part of interp_exec[] (table.c), one handler an
 * operation: x86_exec_fn (insn.h).
 */
#ifndef HOSTEL_CPU_INTERPRETER_OPS_H
#define HOSTEL_CPU_INTERPRETER_OPS_H

#include "cpu/x86/insn.h"

/* clang-format off */
/* int_arith.c int_shift.c int_bits.c int_move.c int_stack.c int_misc.c
 * flow.c string.c system.c sysflow.c fpstate.c fpenv.c vecmem.c: each named
 * interp_op_<OP>. */
/* clang-format on */
#define X(name) x86_exec_fn interp_op_##name;
X86_OPS(X)
#undef X

#endif
