/*
 * fast.c - handlers for the commonest forms of the commonest instructions.
 */
#include "cpu/interpreter/fast.h"

#include <stddef.h>

x86_exec_fn *fast_select(const struct x86_insn *insn)
{
	return NULL;
}
