/*
 * vme.h - virtual-8086 mode extensions (CR4.VME, CR4.PVI).  Private to cpu.
 *
 * Source: Intel SDM volume 3A 20.3 and 20.4.  Below IOPL 3, VIF stands in for
 * IF: 8086 programs believe that they mask interrupts.  VIP says that the
 * monitor has one waiting; setting VIF then is #GP(0), which calls it.
 *
 * Functions may raise; own thread only.
 */
#ifndef HOSTEL_CPU_X86_VME_H
#define HOSTEL_CPU_X86_VME_H

#include "cpu/x86/cpu.h"

/* CLI and STI work on VIF: VME in VM86 mode, PVI in ring 3, IOPL < CPL. */
static inline bool vme_virtual_if(const struct x86_cpu *cpu)
{
	if (cpu->mode & X86_MODE_IOPL)
		return false;
	if (cpu->mode & X86_MODE_VM86)
		return cpu->cr4 & X86_CR4_VME;
	return cpu->cpl == 3 && cpu->cr4 & X86_CR4_PVI;
}

/* STI; #GP(0) while VIP is set. */
void vme_set_vif(struct x86_cpu *cpu);

/*
 * IRET's (and POPF's) 16-bit flags below IOPL 3: the rest of them by mask, IF
 * into VIF.  #GP(0) for TF, and for IF while VIP is set.
 */
void vme_check_flags(struct x86_cpu *cpu, uint64_t flags);
void vme_load_flags(struct x86_cpu *cpu, uint64_t flags, uint64_t mask);

/*
 * INT n in VM86 mode: does the TSS's redirection map give it to the 8086
 * program's own handler?  Then vme_interrupt() goes there.
 */
bool vme_redirected(struct x86_cpu *cpu, uint8_t vector);
void vme_interrupt(struct x86_cpu *cpu, uint8_t vector);

#endif
