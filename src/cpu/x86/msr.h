/*
 * msr.h - model specific registers and control registers.
 * Source: Intel SDM volume 4, AMD APM volume 2; Linux' kvm msr.rst.
 */
#ifndef HOSTEL_CPU_X86_MSR_H
#define HOSTEL_CPU_X86_MSR_H

#include "cpu/x86/cpu.h"

/* False: no such MSR, or a value it refuses: the instruction raises #GP(0). */
bool x86_rdmsr(struct x86_cpu *cpu, uint32_t index, uint64_t *value);
bool x86_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value);

/*
 * The memory types that firmware leaves behind: everything cached but the PCI
 * hole and the VGA window.  For every vCPU of a guest whose kernel is entered
 * without firmware; kernels switch PAT off where MTRRs are.
 */
void x86_set_firmware_mtrrs(struct x86_cpu *cpu);

/* MOV to CRn / XSETBV with all checks (#GP), side effects and flushes. */
void x86_write_cr0(struct x86_cpu *cpu, uint64_t value);
void x86_write_cr3(struct x86_cpu *cpu, uint64_t value);
void x86_write_cr4(struct x86_cpu *cpu, uint64_t value);
void x86_write_xcr0(struct x86_cpu *cpu, uint64_t value);
void x86_write_dr(struct x86_cpu *cpu, unsigned n, uint64_t value);
uint64_t x86_read_dr(struct x86_cpu *cpu, unsigned n);

/* kvmclock.c: MSRs 4b564d00..; page contents (struct pvclock_vcpu_time_info).
 */
bool x86_kvmclock_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value);
/* Guest time was set or the guest resumed: write the page anew. */
void x86_kvmclock_refresh(struct x86_cpu *cpu);

#endif
