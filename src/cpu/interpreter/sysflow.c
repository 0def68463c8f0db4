/*
 * sysflow.c - fast system calls, segment registers, descriptor queries.
 *
 * Source: Intel SDM volume 2.  Where Intel and AMD differ (SYSCALL outside
 * 64-bit mode, SYSENTER in long mode, SYSRET to a non-canonical address), a
 * guest sees Intel's behaviour, as CPUID says.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"
#include "cpu/x86/msr.h"

/* --- SYSCALL, SYSRET -------------------------------------------------------
 *
 * Both look at TF when they are done, unlike any other instruction: a kernel
 * that masks it sees no step in its entry, and a program that is stepped
 * traps behind its SYSCALL.
 */

/* What SYSRET loads from R11: all but RF, VM and the reserved bits. */
#define SYSFLOW_SYSRET_FLAGS 0x3c7fd7ull

static void sysflow_check_sce(struct x86_cpu *cpu)
{
	if (!x86_code64(cpu) || !(cpu->msr.efer & X86_EFER_SCE))
		x86_ud(cpu);
}

void interp_op_SYSCALL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t sel = cpu->msr.star >> 32 & 0xfffc;

	sysflow_check_sce(cpu);
	cpu->gpr[X86_RCX] = cpu->rip;
	cpu->gpr[X86_R11] = cpu->rflags & ~X86_FLAG_RF;
	cpu->rip = cpu->msr.lstar;
	cpu->rflags &= ~(cpu->msr.fmask | X86_FLAG_RF);
	cpu->rflags |= X86_FLAG_1;
	x86_set_flat_cs(cpu, sel, 0, true);
	x86_set_flat_ss(cpu, sel + 8, 0);
	x86_mode_changed(cpu);
}

void interp_op_SYSRET(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t sel = cpu->msr.star >> 48;
	bool wide = insn->opsize == 8;

	sysflow_check_sce(cpu);
	if (cpu->cpl)
		x86_gp(cpu, 0);
	if (wide && !x86_canonical(cpu, cpu->gpr[X86_RCX]))
		x86_gp(cpu, 0);
	cpu->rip = interp_gpr(cpu, X86_RCX, wide ? 8 : 4);
	x86_set_flat_cs(cpu, (sel + (wide ? 16 : 0)) | 3, 3, wide);
	x86_set_flat_ss(cpu, (sel + 8) | 3, 3);
	x86_set_rflags(cpu, cpu->gpr[X86_R11] & SYSFLOW_SYSRET_FLAGS, ~0ull);
	x86_mode_changed(cpu);
	/* As if the SYSCALL had only now been completed. */
	if (cpu->rflags & X86_FLAG_TF)
		x86_raise_db(cpu, X86_DR6_BS, true);
}

/* --- SYSENTER, SYSEXIT --------------------------------------------------- */

void interp_op_SYSENTER(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t sel = cpu->msr.sysenter_cs & 0xfffc;
	bool wide = x86_long_mode(cpu);

	if (cpu->mode & X86_MODE_REAL || !sel)
		x86_gp(cpu, 0);
	cpu->rflags &= ~(X86_FLAG_VM | X86_FLAG_IF | X86_FLAG_RF);
	cpu->gpr[X86_RSP] =
		wide ? cpu->msr.sysenter_esp : (uint32_t)cpu->msr.sysenter_esp;
	cpu->rip =
		wide ? cpu->msr.sysenter_eip : (uint32_t)cpu->msr.sysenter_eip;
	x86_set_flat_cs(cpu, sel, 0, wide);
	x86_set_flat_ss(cpu, sel + 8, 0);
	x86_mode_changed(cpu);
}

void interp_op_SYSEXIT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t sel = cpu->msr.sysenter_cs & 0xfffc;
	bool wide = insn->opsize == 8;
	unsigned size = wide ? 8 : 4;

	if (cpu->mode & X86_MODE_REAL || !sel || cpu->cpl)
		x86_gp(cpu, 0);
	if (wide && (!x86_canonical(cpu, cpu->gpr[X86_RCX]) ||
		     !x86_canonical(cpu, cpu->gpr[X86_RDX])))
		x86_gp(cpu, 0);
	cpu->rip = interp_gpr(cpu, X86_RDX, size);
	cpu->gpr[X86_RSP] = interp_gpr(cpu, X86_RCX, size);
	sel += wide ? 32 : 16;
	x86_set_flat_cs(cpu, sel | 3, 3, wide);
	x86_set_flat_ss(cpu, (sel + 8) | 3, 3);
	x86_mode_changed(cpu);
}

/* --- FS and GS bases ----------------------------------------------------- */

void interp_op_SWAPGS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t base = cpu->seg[X86_GS].base;

	if (!x86_code64(cpu))
		x86_ud(cpu);
	if (cpu->cpl)
		x86_gp(cpu, 0);
	cpu->seg[X86_GS].base = cpu->msr.kernel_gs_base;
	cpu->msr.kernel_gs_base = base;
}

static void sysflow_check_fsgsbase(struct x86_cpu *cpu)
{
	if (!x86_code64(cpu) || !(cpu->cr4 & X86_CR4_FSGSBASE))
		x86_ud(cpu);
}

static void sysflow_write_base(struct x86_cpu *cpu, const struct x86_insn *insn,
			       unsigned seg)
{
	uint64_t base;

	sysflow_check_fsgsbase(cpu);
	base = interp_read(cpu, insn, 0);
	if (!x86_canonical(cpu, base))
		x86_gp(cpu, 0);
	cpu->seg[seg].base = base;
}

void interp_op_RDFSBASE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_check_fsgsbase(cpu);
	interp_write(cpu, insn, 0, cpu->seg[X86_FS].base);
}

void interp_op_RDGSBASE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_check_fsgsbase(cpu);
	interp_write(cpu, insn, 0, cpu->seg[X86_GS].base);
}

void interp_op_WRFSBASE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_write_base(cpu, insn, X86_FS);
}

void interp_op_WRGSBASE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_write_base(cpu, insn, X86_GS);
}

/* --- SMAP ---------------------------------------------------------------- */

static void sysflow_set_ac(struct x86_cpu *cpu, uint64_t ac)
{
	if (cpu->cpl)
		x86_ud(cpu);
	x86_set_rflags(cpu, ac, X86_FLAG_AC);
}

void interp_op_CLAC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_set_ac(cpu, 0);
}

void interp_op_STAC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_set_ac(cpu, X86_FLAG_AC);
}

/* --- Segment registers --------------------------------------------------- */

/* SDM 3A 6.8.3: a stack pointer can be loaded right behind SS undisturbed. */
static void sysflow_shadow(struct x86_cpu *cpu, unsigned seg)
{
	if (seg == X86_SS)
		cpu->int_shadow = 2;
}

void interp_op_MOV_SREG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->o[0].reg;

	if (insn->o[0].kind != X86_OPND_SREG) {
		interp_write(cpu, insn, 0, cpu->seg[insn->o[1].reg].sel);
		return;
	}
	if (seg == X86_CS || seg > X86_GS)
		x86_ud(cpu);
	x86_load_sreg(cpu, seg, interp_read(cpu, insn, 1));
	sysflow_shadow(cpu, seg);
}

void interp_op_PUSH_SREG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_push(cpu, cpu->seg[insn->o[0].reg].sel, insn->opsize);
}

/* RSP moves by the width it had when the instruction began, and only if the
 * load succeeds. */
void interp_op_POP_SREG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->o[0].reg;
	uint64_t old = cpu->gpr[X86_RSP], new;
	uint16_t sel = x86_pop(cpu, insn->opsize);

	new = cpu->gpr[X86_RSP];
	cpu->gpr[X86_RSP] = old;
	x86_load_sreg(cpu, seg, sel);
	cpu->gpr[X86_RSP] = new;
	sysflow_shadow(cpu, seg);
}

/* LDS, LES, LFS, LGS, LSS: offset, then selector. */
void interp_op_LSS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t linear = x86_linear(cpu, insn, size + 2, false);
	uint64_t offset = x86_load(cpu, linear, size);

	x86_load_sreg(cpu, insn->o[2].reg, x86_load16(cpu, linear + size));
	interp_set_gpr(cpu, insn->o[0].reg, size, offset);
}

/* --- Descriptor queries -------------------------------------------------- */

static void sysflow_require_protected(struct x86_cpu *cpu)
{
	if (!x86_protected(cpu))
		x86_ud(cpu);
}

static void sysflow_set_zf(struct x86_cpu *cpu, bool zf)
{
	cpu->rflags &= ~X86_FLAG_ZF;
	if (zf)
		cpu->rflags |= X86_FLAG_ZF;
}

typedef bool sysflow_query_fn(struct x86_cpu *cpu, uint16_t sel, uint32_t *out);

static void sysflow_query(struct x86_cpu *cpu, const struct x86_insn *insn,
			  sysflow_query_fn *query)
{
	uint32_t value;
	bool ok;

	sysflow_require_protected(cpu);
	ok = query(cpu, interp_read(cpu, insn, 1), &value);
	if (ok)
		interp_write(cpu, insn, 0, value);
	sysflow_set_zf(cpu, ok);
}

void interp_op_LAR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_query(cpu, insn, x86_lar);
}

void interp_op_LSL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_query(cpu, insn, x86_lsl);
}

void interp_op_VERR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_require_protected(cpu);
	sysflow_set_zf(cpu, x86_verify(cpu, interp_read(cpu, insn, 0), false));
}

void interp_op_VERW(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	sysflow_require_protected(cpu);
	sysflow_set_zf(cpu, x86_verify(cpu, interp_read(cpu, insn, 0), true));
}

void interp_op_ARPL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t dst, src;
	bool raise;

	sysflow_require_protected(cpu);
	dst = interp_read(cpu, insn, 0);
	src = interp_read(cpu, insn, 1);
	raise = (dst & 3) < (src & 3);
	if (raise)
		interp_write(cpu, insn, 0, (dst & ~3) | (src & 3));
	sysflow_set_zf(cpu, raise);
}
