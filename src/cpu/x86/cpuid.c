/*
 * cpuid.c - the processor that a guest sees.
 */
#include "cpu/x86/cpuid.h"

bool x86_has(enum x86_feature f)
{
	return f != X86_FEAT_NEVER;
}
