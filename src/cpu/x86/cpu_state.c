/*
 * cpu_state.c - a processor's state, enumerated once (walk.h).
 *
 * What is restored is untrusted: a state that no processor can be in, or that
 * would make a host instruction fault (MXCSR), is refused; what is merely odd
 * is the guest's own affair.
 */
#include "cpu/x86/cpu.h"

#include <string.h>

#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

static const char *const cpu_state_gprs[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
};

static const char *const cpu_state_segs[X86_SEG_COUNT] = {
	"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr",
};

static const struct cpu_state_msr {
	const char *name;
	uint32_t offset; /* in struct x86_msrs */
} cpu_state_msrs[] = {
#define CPU_STATE_MSR(field)                             \
	{                                                \
#field, offsetof(struct x86_msrs, field) \
	}
	CPU_STATE_MSR(efer),
	CPU_STATE_MSR(star),
	CPU_STATE_MSR(lstar),
	CPU_STATE_MSR(cstar),
	CPU_STATE_MSR(fmask),
	CPU_STATE_MSR(kernel_gs_base),
	CPU_STATE_MSR(sysenter_cs),
	CPU_STATE_MSR(sysenter_esp),
	CPU_STATE_MSR(sysenter_eip),
	CPU_STATE_MSR(pat),
	CPU_STATE_MSR(tsc_adjust),
	CPU_STATE_MSR(tsc_aux),
	CPU_STATE_MSR(misc_enable),
	CPU_STATE_MSR(debugctl),
	CPU_STATE_MSR(mtrr_def_type),
	CPU_STATE_MSR(mcg_status),
	CPU_STATE_MSR(mcg_ctl),
	CPU_STATE_MSR(feature_control),
	CPU_STATE_MSR(kvm_system_time),
	CPU_STATE_MSR(kvm_wall_clock),
	CPU_STATE_MSR(kvm_poll_control),
	CPU_STATE_MSR(spec_ctrl),
#undef CPU_STATE_MSR
};

static void cpu_state_walk_core(struct x86_cpu *cpu, struct walk *w)
{
	for (unsigned i = 0; i < 16; i++)
		walk_u64(w, cpu_state_gprs[i], &cpu->gpr[i]);
	walk_u64(w, "rip", &cpu->rip);
	walk_u64(w, "rflags", &cpu->rflags);
	walk_u8(w, "cpl", &cpu->cpl);
	walk_u8(w, "int_shadow", &cpu->int_shadow);
	walk_bool(w, "nmi_blocked", &cpu->nmi_blocked);
	walk_u8(w, "activity", &cpu->activity);
	walk_u64(w, "cr0", &cpu->cr0);
	walk_u64(w, "cr2", &cpu->cr2);
	walk_u64(w, "cr3", &cpu->cr3);
	walk_u64(w, "cr4", &cpu->cr4);
	walk_u64(w, "xcr0", &cpu->xcr0);
	walk_u64s(w, "dr", cpu->dr, 8);
	walk_u64s(w, "pdpte", cpu->pdpte, 4);
	walk_u64(w, "gdtr_base", &cpu->gdtr.base);
	walk_u16(w, "gdtr_limit", &cpu->gdtr.limit);
	walk_u64(w, "idtr_base", &cpu->idtr.base);
	walk_u16(w, "idtr_limit", &cpu->idtr.limit);
}

static void cpu_state_walk_seg(struct x86_cpu *cpu, struct walk *w, unsigned i)
{
	struct x86_seg *s = &cpu->seg[i];
	char name[16];

	snprintf(name, sizeof(name), "%s", cpu_state_segs[i]);
	walk_u16(w, name, &s->sel);
	snprintf(name, sizeof(name), "%s_attr", cpu_state_segs[i]);
	walk_u32(w, name, &s->attr);
	snprintf(name, sizeof(name), "%s_limit", cpu_state_segs[i]);
	walk_u32(w, name, &s->limit);
	snprintf(name, sizeof(name), "%s_base", cpu_state_segs[i]);
	walk_u64(w, name, &s->base);
}

static void cpu_state_walk_msrs(struct x86_cpu *cpu, struct walk *w)
{
	const unsigned n = sizeof(cpu_state_msrs) / sizeof(cpu_state_msrs[0]);

	for (unsigned i = 0; i < n; i++)
		walk_u64(w, cpu_state_msrs[i].name,
			 (uint64_t *)((char *)&cpu->msr +
				      cpu_state_msrs[i].offset));
	walk_u64s(w, "mtrr_fixed", cpu->msr.mtrr_fixed, 11);
	walk_u64s(w, "mtrr_phys", cpu->msr.mtrr_phys, 16);
}

/* NMI, INIT and SIPI that have arrived; interrupts are the local APIC's. */
#define CPU_STATE_PENDING (X86_PEND_NMI | X86_PEND_INIT | X86_PEND_SIPI)

static void cpu_state_walk_pending(struct x86_cpu *cpu, struct walk *w)
{
	uint32_t pending = atomic_load(&cpu->pending) & CPU_STATE_PENDING;
	uint32_t sipi = atomic_load(&cpu->sipi_vector);
	uint64_t tsc = x86_tsc(cpu);

	walk_u32(w, "pending", &pending);
	walk_u32(w, "sipi_vector", &sipi);
	walk_u64(w, "tsc", &tsc);
	if (!walk_restoring(w))
		return;
	atomic_store(&cpu->pending,
		     (pending & CPU_STATE_PENDING) | X86_PEND_INTR);
	atomic_store(&cpu->sipi_vector, sipi & 0xff);
	cpu->tsc_offset = tsc - x86_host_tsc(cpu->xm);
}

/* --- After restoring ----------------------------------------------------- */

static bool cpu_state_control_ok(const struct x86_cpu *cpu)
{
	uint64_t cr0 = cpu->cr0, efer = cpu->msr.efer;
	bool lma = cr0 & X86_CR0_PG && efer & X86_EFER_LME;

	return !(cr0 >> 32) && cr0 & X86_CR0_ET &&
	       (cr0 & X86_CR0_PE || !(cr0 & X86_CR0_PG)) &&
	       lma == !!(efer & X86_EFER_LMA) &&
	       (!lma || cpu->cr4 & X86_CR4_PAE) && cpu->cr3 < 1ull << 52 &&
	       cpu->xcr0 & X86_XCR0_X87 && !(cpu->xcr0 & ~7ull);
}

static bool cpu_state_fpu_ok(const struct x86_cpu *cpu)
{
	uint32_t mxcsr;
	uint64_t header[8];

	memcpy(&mxcsr, cpu->fpu.b + 24, 4);
	memcpy(header, cpu->fpu.b + 512, sizeof(header));
	if (mxcsr >> 16 || header[0] != 7)
		return false;
	for (unsigned i = 1; i < 8; i++)
		if (header[i])
			return false;
	return true;
}

static bool cpu_state_segs_ok(const struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		if (!x86_canonical(cpu, cpu->seg[i].base) ||
		    cpu->seg[i].attr & ~0x1f0ffu)
			return false;
	return x86_canonical(cpu, cpu->gdtr.base) &&
	       x86_canonical(cpu, cpu->idtr.base);
}

static void cpu_state_restored(struct x86_cpu *cpu, struct walk *w)
{
	if (!cpu_state_control_ok(cpu) || !cpu_state_segs_ok(cpu) ||
	    !cpu_state_fpu_ok(cpu) || cpu->cpl > 3 ||
	    cpu->activity > X86_WAIT_SIPI || !(cpu->rflags & X86_FLAG_1)) {
		walk_fail(w,
			  "virtual processor %u is in a state that no "
			  "processor can be in",
			  cpu->index);
		x86_reset(cpu, false);
		return;
	}
	cpu->intr_masked = false;
	cpu->insn = NULL;
	x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
}

void x86_walk(struct x86_cpu *cpu, struct walk *w)
{
	if (!walk_section(w, "cpu", cpu->index, 1))
		return;
	cpu_state_walk_core(cpu, w);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		cpu_state_walk_seg(cpu, w, i);
	cpu_state_walk_msrs(cpu, w);
	cpu_state_walk_pending(cpu, w);
	walk_bytes(w, "xsave", cpu->fpu.b, sizeof(cpu->fpu.b));
	walk_end(w);
	if (walk_restoring(w))
		cpu_state_restored(cpu, w);
}
