/* Until there is a local APIC: tests of the processor need none. */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/lapic.h"

void lapic_reset(struct lapic *l, bool init)
{
}
uint8_t lapic_get_tpr(struct lapic *l)
{
	return 0;
}
void lapic_set_tpr(struct lapic *l, uint8_t cr8)
{
}
bool lapic_rdmsr(struct lapic *l, uint32_t index, uint64_t *value)
{
	return false;
}
bool lapic_wrmsr(struct lapic *l, uint32_t index, uint64_t value)
{
	return false;
}
bool lapic_mmio(struct lapic *l, uint64_t gpa, unsigned size, bool write,
		uint64_t *value)
{
	return false;
}
bool lapic_pending(struct lapic *l)
{
	return false;
}
int lapic_ack(struct lapic *l)
{
	return -1;
}
void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	       struct x86_cpuid_regs *out)
{
	*out = (struct x86_cpuid_regs){ ~0u, ~0u, ~0u, ~0u };
}
