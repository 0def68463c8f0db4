/*
 * table.c - which handler executes which operation.
 */
#include "cpu/interpreter/table.h"

#include "cpu/interpreter/fast.h"
#include "cpu/interpreter/interp.h"
#include "cpu/interpreter/ops.h"

#define X(name) [X86_##name] = interp_op_##name,
x86_exec_fn *const interp_exec[X86_OP_COUNT] = { X86_OPS(X) };
#undef X

x86_exec_fn *interp_select(struct x86_insn *insn)
{
	x86_exec_fn *fn = fast_select(insn);

	if (!fn && insn->op < X86_OP_COUNT)
		fn = interp_exec[insn->op];
	insn->fn = fn ? fn : interp_op_UD;
	return insn->fn;
}
