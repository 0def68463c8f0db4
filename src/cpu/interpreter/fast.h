/*
 * fast.h - handlers for the commonest forms of the commonest instructions.
 *
 * A fast handler does what the generic one does (interp_exec[]), for operands
 * of one form only and without asking; what is not plain (a TLB miss, say) it
 * hands to the generic one before it has changed anything.
 */
#ifndef HOSTEL_CPU_INTERPRETER_FAST_H
#define HOSTEL_CPU_INTERPRETER_FAST_H

#include "cpu/x86/insn.h"

/* The fast handler for insn, or NULL: none fits. */
x86_exec_fn *fast_select(const struct x86_insn *insn);

#endif
