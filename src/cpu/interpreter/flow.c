/*
 * flow.c - branches, calls, returns and software interrupts.
 *
 * A near target is checked against the segment's limit, or for canonicity,
 * before anything is pushed or popped, as the manual's pseudo code has it.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

/* The operand size cuts the target; #GP(0) if it is out of bounds. */
static uint64_t flow_check(struct x86_cpu *cpu, uint64_t target,
			   unsigned opsize)
{
	target &= interp_mask(opsize);
	if (x86_code64(cpu)) {
		if (!x86_canonical(cpu, target))
			x86_gp(cpu, 0);
	} else if (target > cpu->seg[X86_CS].limit) {
		x86_gp(cpu, 0);
	}
	return target;
}

static void flow_jump(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rip = flow_check(cpu, cpu->rip + insn->imm, insn->opsize);
}

/* --- Near ---------------------------------------------------------------- */

void interp_op_JMP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_jump(cpu, insn);
}

void interp_op_JCC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (interp_cond(cpu->rflags, insn->cond))
		flow_jump(cpu, insn);
}

void interp_op_JMP_IND(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rip = flow_check(cpu, interp_read(cpu, insn, 0), insn->opsize);
}

/* AMD's processors find the stack's #PF before the target's #GP. */
static void flow_probe_push(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t rsp = cpu->gpr[X86_RSP] - insn->opsize;

	x86_probe(cpu, x86_seg_linear(cpu, X86_SS, rsp, insn->opsize, true),
		  insn->opsize, true);
}

static void flow_call(struct x86_cpu *cpu, const struct x86_insn *insn,
		      uint64_t target)
{
	if (x86_code64(cpu) && !x86_canonical(cpu, target))
		flow_probe_push(cpu, insn);
	target = flow_check(cpu, target, insn->opsize);
	x86_push(cpu, cpu->rip, insn->opsize);
	cpu->rip = target;
}

void interp_op_CALL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_call(cpu, insn, cpu->rip + insn->imm);
}

void interp_op_CALL_IND(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_call(cpu, insn, interp_read(cpu, insn, 0));
}

static unsigned flow_ret_bytes(const struct x86_insn *insn)
{
	return insn->o[0].kind == X86_OPND_IMM ? (uint16_t)insn->imm : 0;
}

void interp_op_RET(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t target = interp_stack_peek(cpu, 0, insn->opsize);

	cpu->rip = flow_check(cpu, target, insn->opsize);
	interp_stack_add(cpu, insn->opsize + flow_ret_bytes(insn));
}

/* --- Loops --------------------------------------------------------------- */

/* CX, ECX or RCX, by address size. */
static void flow_loop(struct x86_cpu *cpu, const struct x86_insn *insn,
		      bool cond)
{
	unsigned size = insn->addrsize;
	uint64_t count = interp_gpr(cpu, X86_RCX, size) - 1;

	if (count & interp_mask(size) && cond)
		flow_jump(cpu, insn);
	interp_set_gpr(cpu, X86_RCX, size, count);
}

void interp_op_LOOP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_loop(cpu, insn, true);
}

void interp_op_LOOPE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_loop(cpu, insn, cpu->rflags & X86_FLAG_ZF);
}

void interp_op_LOOPNE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_loop(cpu, insn, !(cpu->rflags & X86_FLAG_ZF));
}

void interp_op_JCXZ(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!interp_gpr(cpu, X86_RCX, insn->addrsize))
		flow_jump(cpu, insn);
}

/* --- Far ----------------------------------------------------------------- */

struct flow_far {
	uint16_t sel;
	uint64_t off;
};

/* ptr16:n in the instruction, or m16:n: the offset first. */
static struct flow_far flow_far_operand(struct x86_cpu *cpu,
					const struct x86_insn *insn)
{
	struct flow_far far = { .sel = insn->sel, .off = insn->imm };
	unsigned size = insn->opsize;
	uint64_t linear;

	if (interp_is_mem(insn, 0)) {
		linear = x86_linear(cpu, insn, size + 2, false);
		far.off = interp_load(cpu, linear, size);
		far.sel = x86_load16(cpu, linear + size);
	}
	return far;
}

void interp_op_JMP_FAR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct flow_far far = flow_far_operand(cpu, insn);

	x86_jmp_far(cpu, far.sel, far.off, insn->opsize);
}

void interp_op_CALL_FAR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct flow_far far = flow_far_operand(cpu, insn);

	x86_call_far(cpu, far.sel, far.off, insn->opsize);
}

void interp_op_RETF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ret_far(cpu, insn->opsize, flow_ret_bytes(insn));
}

void interp_op_IRET(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_iret(cpu, insn->opsize);
}

/* --- Interrupts and traps ------------------------------------------------ */

static void flow_interrupt(struct x86_cpu *cpu, uint8_t vector, uint8_t type)
{
	struct x86_event ev = { .vector = vector, .type = type };

	x86_raise_event(cpu, &ev);
}

void interp_op_INT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_interrupt(cpu, (uint8_t)insn->imm, X86_EV_SOFT);
}

void interp_op_INT3(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_interrupt(cpu, X86_VEC_BP, X86_EV_SOFT_TRAP);
}

void interp_op_INTO(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (cpu->rflags & X86_FLAG_OF)
		flow_interrupt(cpu, X86_VEC_OF, X86_EV_SOFT_TRAP);
}

void interp_op_INT1(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	flow_interrupt(cpu, X86_VEC_DB, X86_EV_ICEBP);
}

void interp_op_UD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}
