/*
 * fault.c - raising exceptions: note them in cpu->fault, jump to the engine.
 */
#include "cpu/x86/cpu.h"
#include "cpu/x86/mmu.h"

void x86_raise_event(struct x86_cpu *cpu, const struct x86_event *ev)
{
	cpu->fault = *ev;
	x86_rmw_abort(cpu);
	longjmp(cpu->fault_jmp, 1);
}

void x86_raise(struct x86_cpu *cpu, uint8_t vector)
{
	struct x86_event ev = { .vector = vector, .type = X86_EV_FAULT };

	x86_raise_event(cpu, &ev);
}

void x86_raise_error(struct x86_cpu *cpu, uint8_t vector, uint32_t error)
{
	struct x86_event ev = {
		.vector = vector,
		.type = X86_EV_FAULT,
		.has_error = true,
		.error = error,
	};

	x86_raise_event(cpu, &ev);
}

void x86_raise_pf(struct x86_cpu *cpu, uint64_t linear, uint32_t error)
{
	struct x86_event ev = {
		.vector = X86_VEC_PF,
		.type = X86_EV_FAULT,
		.has_error = true,
		.error = error,
		.cr2 = linear,
	};

	x86_raise_event(cpu, &ev);
}

void x86_raise_db(struct x86_cpu *cpu, uint64_t dr6, bool trap)
{
	struct x86_event ev = {
		.vector = X86_VEC_DB,
		.type = trap ? X86_EV_TRAP : X86_EV_FAULT,
		.dr6 = dr6,
	};

	x86_raise_event(cpu, &ev);
}
