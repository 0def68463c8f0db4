/*
 * x86_stubs.c - stands in for CPUID until there is one.
 */
#include "cpu/x86/cpuid.h"

__attribute__((weak)) void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf,
				     uint32_t subleaf,
				     struct x86_cpuid_regs *out)
{
	*out = (struct x86_cpuid_regs){ ~0u, ~0u, ~0u, ~0u };
}
