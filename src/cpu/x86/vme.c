/*
 * vme.c - virtual-8086 mode extensions.
 */
#include "cpu/x86/vme.h"

#include "cpu/x86/descriptor.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

void vme_set_vif(struct x86_cpu *cpu)
{
	if (cpu->rflags & X86_FLAG_VIP)
		x86_gp(cpu, 0);
	cpu->rflags |= X86_FLAG_VIF;
}

void vme_check_flags(struct x86_cpu *cpu, uint64_t flags)
{
	if (flags & X86_FLAG_TF ||
	    (flags & X86_FLAG_IF && cpu->rflags & X86_FLAG_VIP))
		x86_gp(cpu, 0);
}

void vme_load_flags(struct x86_cpu *cpu, uint64_t flags, uint64_t mask)
{
	flags &= ~X86_FLAG_VIF;
	if (flags & X86_FLAG_IF)
		flags |= X86_FLAG_VIF;
	x86_set_rflags(cpu, flags, (mask & ~X86_FLAG_IF) | X86_FLAG_VIF);
}

/*
 * The map's 32 bytes lie below the I/O permission map (SDM 3A figure 20-5).
 * A bit beyond the TSS's limit counts as set.
 */
bool vme_redirected(struct x86_cpu *cpu, uint8_t vector)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	uint32_t at;

	if (!(cpu->cr4 & X86_CR4_VME) || tr->limit < 0x67)
		return false;
	at = x86_load_sys(cpu, tr->base + 0x66, 2) - 32 + vector / 8;
	if (at > tr->limit)
		return false;
	return !(x86_load_sys(cpu, tr->base + at, 1) >> vector % 8 & 1);
}

/* SDM 3A 20.3.3.1, methods 5 (IOPL 3) and 6. */
void vme_interrupt(struct x86_cpu *cpu, uint8_t vector)
{
	bool iopl3 = cpu->mode & X86_MODE_IOPL;
	uint64_t flags = cpu->rflags;
	uint32_t entry;
	struct stack st;

	if (!iopl3) {
		flags &= ~X86_FLAG_IF;
		flags |= X86_FLAG_IOPL;
		if (cpu->rflags & X86_FLAG_VIF)
			flags |= X86_FLAG_IF;
	}
	entry = x86_load(cpu, vector * 4u, 4);
	stack_current(cpu, &st);
	stack_push(cpu, &st, flags, 2);
	stack_push(cpu, &st, cpu->seg[X86_CS].sel, 2);
	stack_push(cpu, &st, cpu->rip, 2);
	stack_commit(cpu, &st);
	x86_set_rflags(cpu, 0,
		       X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF |
			       (iopl3 ? X86_FLAG_IF : X86_FLAG_VIF));
	cpu->rip = entry & 0xffff;
	x86_load_sreg_real(cpu, X86_CS, entry >> 16);
}
