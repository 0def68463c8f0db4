/*
 * system.c - privileged and sensitive instructions.
 *
 * Source: Intel SDM volume 2, each under its name.  The handlers check
 * privilege themselves, in the manual's order: #UD for what the mode does not
 * know comes before #GP for what the privilege forbids.
 *
 * They are thin: what an instruction means for the processor's state is in
 * cpu/x86 (control.c, msr.c, segment.c), where the translator finds it too.
 */
#include "base/clock.h"
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/vme.h"

static void system_require_cpl0(struct x86_cpu *cpu)
{
	if (cpu->cpl)
		x86_gp(cpu, 0);
}

/* SGDT, SIDT, SLDT, SMSW, STR: SDM 3A 2.5, CR4.UMIP. */
static void system_check_umip(struct x86_cpu *cpu)
{
	if (cpu->cpl && cpu->cr4 & X86_CR4_UMIP)
		x86_gp(cpu, 0);
}

static unsigned system_address_size(const struct x86_cpu *cpu)
{
	return x86_code64(cpu) ? 8 : 4;
}

/* --- Ports --------------------------------------------------------------- */

static uint16_t system_port(struct x86_cpu *cpu, const struct x86_insn *insn,
			    unsigned n)
{
	if (insn->o[n].kind == X86_OPND_IMM)
		return insn->imm & 0xff;
	return cpu->gpr[X86_RDX];
}

void interp_op_IN(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint16_t port = system_port(cpu, insn, 1);

	x86_check_io(cpu, port, size);
	interp_write(cpu, insn, 0, mem_port_read(cpu->mem, port, size));
}

void interp_op_OUT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[1].size;
	uint16_t port = system_port(cpu, insn, 0);

	x86_check_io(cpu, port, size);
	mem_port_write(cpu->mem, port, size, interp_read(cpu, insn, 1));
}

/* --- Interrupt flag, HLT ------------------------------------------------- */

void interp_op_CLI(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (vme_virtual_if(cpu))
		cpu->rflags &= ~X86_FLAG_VIF;
	else if (cpu->mode & X86_MODE_IOPL)
		cpu->rflags &= ~X86_FLAG_IF;
	else
		x86_gp(cpu, 0);
}

void interp_op_STI(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (vme_virtual_if(cpu)) {
		vme_set_vif(cpu);
		return;
	}
	if (!(cpu->mode & X86_MODE_IOPL))
		x86_gp(cpu, 0);
	if (cpu->rflags & X86_FLAG_IF)
		return;
	x86_set_rflags(cpu, X86_FLAG_IF, X86_FLAG_IF);
	cpu->int_shadow = 1;
}

void interp_op_HLT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_cpl0(cpu);
	cpu->halt_count++;
	cpu->activity = X86_HALTED;
}

/* --- CPUID, time stamps, MSRs -------------------------------------------- */

void interp_op_CPUID(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_cpuid_regs r;

	x86_cpuid(cpu, cpu->gpr[X86_RAX], cpu->gpr[X86_RCX], &r);
	cpu->gpr[X86_RAX] = r.eax;
	cpu->gpr[X86_RBX] = r.ebx;
	cpu->gpr[X86_RCX] = r.ecx;
	cpu->gpr[X86_RDX] = r.edx;
}

static void system_set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
	cpu->gpr[X86_RAX] = (uint32_t)value;
	cpu->gpr[X86_RDX] = value >> 32;
}

static uint64_t system_edx_eax(const struct x86_cpu *cpu)
{
	return (uint32_t)cpu->gpr[X86_RAX] | cpu->gpr[X86_RDX] << 32;
}

static void system_check_tsd(struct x86_cpu *cpu)
{
	if (cpu->cpl && cpu->cr4 & X86_CR4_TSD)
		x86_gp(cpu, 0);
}

void interp_op_RDTSC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_check_tsd(cpu);
	system_set_edx_eax(cpu, x86_tsc(cpu));
}

void interp_op_RDTSCP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_check_tsd(cpu);
	system_set_edx_eax(cpu, x86_tsc(cpu));
	cpu->gpr[X86_RCX] = (uint32_t)cpu->msr.tsc_aux;
}

/* There are no performance counters, so every index is beyond them. */
void interp_op_RDPMC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_gp(cpu, 0);
}

void interp_op_RDMSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value;

	system_require_cpl0(cpu);
	if (!x86_rdmsr(cpu, cpu->gpr[X86_RCX], &value))
		x86_gp(cpu, 0);
	system_set_edx_eax(cpu, value);
}

void interp_op_WRMSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_cpl0(cpu);
	if (!x86_wrmsr(cpu, cpu->gpr[X86_RCX], system_edx_eax(cpu)))
		x86_gp(cpu, 0);
}

/* --- Control and debug registers ----------------------------------------- */

static uint64_t system_read_cr(struct x86_cpu *cpu, unsigned n)
{
	switch (n) {
	case 0:
		return cpu->cr0;
	case 2:
		return cpu->cr2;
	case 3:
		return cpu->cr3;
	case 4:
		return cpu->cr4;
	case 8:
		return cpu->lapic ? lapic_get_tpr(cpu->lapic) : 0;
	default:
		x86_ud(cpu);
	}
}

static void system_write_cr8(struct x86_cpu *cpu, uint64_t value)
{
	if (value > 15)
		x86_gp(cpu, 0);
	if (cpu->lapic)
		lapic_set_tpr(cpu->lapic, value);
}

static void system_write_cr(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
	switch (n) {
	case 0:
		x86_write_cr0(cpu, value);
		break;
	case 2:
		cpu->cr2 = value;
		break;
	case 3:
		x86_write_cr3(cpu, value);
		break;
	case 4:
		x86_write_cr4(cpu, value);
		break;
	case 8:
		system_write_cr8(cpu, value);
		break;
	default:
		x86_ud(cpu);
	}
}

void interp_op_MOV_CR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = system_address_size(cpu);

	system_require_cpl0(cpu);
	if (insn->o[0].kind == X86_OPND_CREG)
		system_write_cr(cpu, insn->o[0].reg,
				interp_gpr(cpu, insn->o[1].reg, size));
	else
		interp_set_gpr(cpu, insn->o[0].reg, size,
			       system_read_cr(cpu, insn->o[1].reg));
}

void interp_op_MOV_DR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = system_address_size(cpu);

	if (insn->o[0].kind == X86_OPND_DREG)
		x86_write_dr(cpu, insn->o[0].reg,
			     interp_gpr(cpu, insn->o[1].reg, size));
	else
		interp_set_gpr(cpu, insn->o[0].reg, size,
			       x86_read_dr(cpu, insn->o[1].reg));
}

void interp_op_CLTS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_cpl0(cpu);
	x86_write_cr0(cpu, cpu->cr0 & ~X86_CR0_TS);
}

/* MP, EM, TS as given; PE can be set but not cleared. */
void interp_op_LMSW(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t low;

	system_require_cpl0(cpu);
	low = interp_read(cpu, insn, 0) & 15;
	x86_write_cr0(cpu, (cpu->cr0 & ~14ull) | low);
}

void interp_op_SMSW(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_check_umip(cpu);
	interp_write(cpu, insn, 0, cpu->cr0);
}

/*
 * ECX = 0: XCR0; 1: those of its components that may not be in their initial
 * state, which is what x86_xsave's header says: all.
 */
void interp_op_XGETBV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!(cpu->cr4 & X86_CR4_OSXSAVE))
		x86_ud(cpu);
	if ((uint32_t)cpu->gpr[X86_RCX] > 1)
		x86_gp(cpu, 0);
	system_set_edx_eax(cpu, cpu->xcr0);
}

void interp_op_XSETBV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!(cpu->cr4 & X86_CR4_OSXSAVE))
		x86_ud(cpu);
	if (cpu->cpl || (uint32_t)cpu->gpr[X86_RCX])
		x86_gp(cpu, 0);
	x86_write_xcr0(cpu, system_edx_eax(cpu));
}

/* --- Descriptor tables --------------------------------------------------- */

static void system_load_dtr(struct x86_cpu *cpu, const struct x86_insn *insn,
			    struct x86_dtr *dtr)
{
	unsigned size = system_address_size(cpu);
	uint64_t linear, base;
	uint16_t limit;

	system_require_cpl0(cpu);
	linear = x86_linear(cpu, insn, 2 + size, false);
	limit = x86_load16(cpu, linear);
	base = x86_load(cpu, linear + 2, size);
	if (size == 4 && insn->opsize == 2)
		base &= 0xffffff;
	if (!x86_canonical(cpu, base))
		x86_gp(cpu, 0);
	dtr->limit = limit;
	dtr->base = base;
}

static void system_store_dtr(struct x86_cpu *cpu, const struct x86_insn *insn,
			     const struct x86_dtr *dtr)
{
	unsigned size = system_address_size(cpu);
	uint8_t image[10];

	system_check_umip(cpu);
	__builtin_memcpy(image, &dtr->limit, 2);
	__builtin_memcpy(image + 2, &dtr->base, 8);
	x86_store_bytes(cpu, x86_linear(cpu, insn, 2 + size, true), image,
			2 + size);
}

void interp_op_LGDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_load_dtr(cpu, insn, &cpu->gdtr);
}

void interp_op_LIDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_load_dtr(cpu, insn, &cpu->idtr);
}

void interp_op_SGDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_store_dtr(cpu, insn, &cpu->gdtr);
}

void interp_op_SIDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_store_dtr(cpu, insn, &cpu->idtr);
}

/* #UD in real and VM86 mode, also where the decoder was not told. */
static void system_require_protected(struct x86_cpu *cpu)
{
	if (!x86_protected(cpu))
		x86_ud(cpu);
}

void interp_op_LLDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_protected(cpu);
	system_require_cpl0(cpu);
	x86_load_ldtr(cpu, interp_read(cpu, insn, 0));
}

void interp_op_LTR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_protected(cpu);
	system_require_cpl0(cpu);
	x86_load_tr(cpu, interp_read(cpu, insn, 0));
}

void interp_op_SLDT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_protected(cpu);
	system_check_umip(cpu);
	interp_write(cpu, insn, 0, cpu->seg[X86_LDTR].sel);
}

void interp_op_STR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_protected(cpu);
	system_check_umip(cpu);
	interp_write(cpu, insn, 0, cpu->seg[X86_TR].sel);
}

/* --- TLB and caches ------------------------------------------------------ */

/* No limit or canonical check: a bad address is a no-op. */
void interp_op_INVLPG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t linear = x86_effective(cpu, insn);

	system_require_cpl0(cpu);
	if (!x86_code64(cpu))
		linear = (uint32_t)(linear + cpu->seg[insn->seg].base);
	else if (insn->seg == X86_FS || insn->seg == X86_GS)
		linear += cpu->seg[insn->seg].base;
	if (x86_canonical(cpu, linear))
		x86_tlb_flush_page(cpu, linear);
}

enum {
	SYSTEM_INVPCID_ADDRESS,
	SYSTEM_INVPCID_ONE,
	SYSTEM_INVPCID_ALL_GLOBAL,
	SYSTEM_INVPCID_ALL
};

/* The TLB holds entries of the current PCID only: others are gone already. */
static void system_invpcid(struct x86_cpu *cpu, uint64_t type, uint64_t pcid,
			   uint64_t linear)
{
	bool current =
		pcid == (cpu->cr4 & X86_CR4_PCIDE ? cpu->cr3 & 0xfff : 0);

	if (type == SYSTEM_INVPCID_ALL_GLOBAL)
		x86_tlb_flush_all(cpu);
	else if (type == SYSTEM_INVPCID_ADDRESS && current)
		x86_tlb_flush_page(cpu, linear);
	else
		x86_tlb_flush_nonglobal(cpu);
}

void interp_op_INVPCID(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t at, type, pcid, linear;

	system_require_cpl0(cpu);
	type = interp_gpr(cpu, insn->o[0].reg, system_address_size(cpu));
	at = x86_linear(cpu, insn, 16, false);
	pcid = x86_load64(cpu, at);
	linear = x86_load64(cpu, at + 8);
	if (type > SYSTEM_INVPCID_ALL || pcid >> 12)
		x86_gp(cpu, 0);
	if (type <= SYSTEM_INVPCID_ONE && pcid && !(cpu->cr4 & X86_CR4_PCIDE))
		x86_gp(cpu, 0);
	if (type == SYSTEM_INVPCID_ADDRESS && !x86_canonical(cpu, linear))
		x86_gp(cpu, 0);
	system_invpcid(cpu, type, pcid, linear);
}

void interp_op_INVD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_cpl0(cpu);
}

void interp_op_WBINVD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	system_require_cpl0(cpu);
}

/* --- Hypercalls ---------------------------------------------------------- */

#define SYSTEM_HC_KICK_CPU 5
#define SYSTEM_HC_EPERM    -1
#define SYSTEM_HC_ENOSYS   -1000

static int64_t system_kick_cpu(struct x86_machine *xm, uint32_t apic_id)
{
	if (xm->cpus && apic_id < xm->cpu_count)
		x86_pend(xm->cpus[apic_id], X86_PEND_UNHALT);
	return 0;
}

/* Linux Documentation/virt/kvm/x86/hypercalls.rst. */
void interp_op_VMCALL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = system_address_size(cpu);
	int64_t result = SYSTEM_HC_ENOSYS;

	if (cpu->cpl)
		result = SYSTEM_HC_EPERM;
	else if (interp_gpr(cpu, X86_RAX, size) == SYSTEM_HC_KICK_CPU)
		result = system_kick_cpu(cpu->xm, cpu->gpr[X86_RCX]);
	interp_set_gpr(cpu, X86_RAX, size, result);
}

/* Neither is offered, and there is no system management mode. */
void interp_op_MONITOR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}

void interp_op_MWAIT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}

void interp_op_RSM(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}
