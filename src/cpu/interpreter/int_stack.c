/*
 * int_stack.c - the stack, by its address size (SDM 1, 6.2.3).
 *
 * A fault in the middle must leave RSP alone: all memory is read or written
 * before registers change.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

void interp_op_PUSH(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_push(cpu, interp_read(cpu, insn, 0), insn->opsize);
}

/*
 * POP to memory addresses its operand with RSP already moved (SDM 2B, POP);
 * 16-bit addresses have no SP in them.
 */
static void stack_pop_mem(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint64_t v = interp_stack_peek(cpu, 0, size);
	struct x86_insn moved = *insn;

	if (insn->base == X86_RSP)
		moved.disp += (int32_t)size;
	interp_store_mem(cpu, &moved, size, v);
	interp_stack_add(cpu, size);
}

void interp_op_POP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v;

	if (interp_is_mem(insn, 0)) {
		stack_pop_mem(cpu, insn);
		return;
	}
	v = x86_pop(cpu, insn->opsize); /* POP RSP: the value wins */
	interp_write_reg(cpu, insn, 0, v);
}

void interp_op_PUSHA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t sp = cpu->gpr[X86_RSP];
	unsigned i;

	for (i = 0; i < 8; i++)
		interp_store(cpu,
			     interp_stack_linear(cpu, sp - (i + 1) * size, size,
						 true),
			     size, cpu->gpr[i]);
	interp_stack_add(cpu, -8 * (int64_t)size);
}

/*
 * The stored SP is read, and dropped.  A fault in the middle of PUSHA and POPA
 * leaves what was stored or loaded so far, as AMD's processors do; SP moves at
 * the end only, so that the instruction can start again.
 */
void interp_op_POPA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t v;
	unsigned i;

	for (i = 0; i < 8; i++) {
		v = interp_stack_peek(cpu, i * size, size);
		if (7 - i != X86_RSP)
			interp_set_gpr(cpu, 7 - i, size, v);
	}
	interp_stack_add(cpu, 8 * size);
}

/* --- Flags --------------------------------------------------------------- */

static unsigned stack_iopl(const struct x86_cpu *cpu)
{
	return cpu->rflags >> 12 & 3;
}

/* Virtual-8086 code below IOPL 3 (SDM 3B, 21.2.9.1 and table 21-2). */
static bool stack_vm86_sensitive(const struct x86_cpu *cpu)
{
	return cpu->mode & X86_MODE_VM86 && stack_iopl(cpu) < 3;
}

static bool stack_vme(const struct x86_cpu *cpu, unsigned size)
{
	return cpu->cr4 & X86_CR4_VME && size == 2;
}

void interp_op_PUSHF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t f = cpu->rflags & ~(X86_FLAG_RF | X86_FLAG_VM);

	if (stack_vm86_sensitive(cpu)) {
		if (!stack_vme(cpu, insn->opsize))
			x86_gp(cpu, 0);
		f = (f & ~X86_FLAG_IF) | X86_FLAG_IOPL;
		if (cpu->rflags & X86_FLAG_VIF)
			f |= X86_FLAG_IF;
	}
	x86_push(cpu, f, insn->opsize);
}

/* Which flags may POPF change? */
static uint64_t stack_popf_mask(const struct x86_cpu *cpu, unsigned size)
{
	uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF |
			X86_FLAG_NT | X86_FLAG_AC | X86_FLAG_ID | X86_FLAG_RF;

	if (cpu->cpl == 0)
		mask |= X86_FLAG_IOPL;
	if (cpu->cpl <= stack_iopl(cpu))
		mask |= X86_FLAG_IF;
	return mask & interp_mask(size);
}

/* IF is VIF's; trying to set it while VIP, or TF, is set is refused. */
static void stack_popf_vme(struct x86_cpu *cpu, uint64_t f)
{
	uint64_t mask = stack_popf_mask(cpu, 2) & ~(X86_FLAG_IF);

	if (f & X86_FLAG_TF || (f & X86_FLAG_IF && cpu->rflags & X86_FLAG_VIP))
		x86_gp(cpu, 0);
	interp_stack_add(cpu, 2);
	if (f & X86_FLAG_IF)
		f |= X86_FLAG_VIF;
	x86_set_rflags(cpu, f, mask | X86_FLAG_VIF);
}

void interp_op_POPF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t f;

	if (stack_vm86_sensitive(cpu) && !stack_vme(cpu, size))
		x86_gp(cpu, 0);
	f = interp_stack_peek(cpu, 0, size);
	if (stack_vm86_sensitive(cpu)) {
		stack_popf_vme(cpu, f);
		return;
	}
	interp_stack_add(cpu, size);
	x86_set_rflags(cpu, f & ~X86_FLAG_RF, stack_popf_mask(cpu, size));
}

/* --- Frames -------------------------------------------------------------- */

/* Pushes `level` frame pointers: those of the callers, then the new one. */
static void stack_enter_display(struct x86_cpu *cpu, unsigned size,
				unsigned level, uint64_t frame)
{
	uint64_t bp = cpu->gpr[X86_RBP], sp = frame, v;
	unsigned i;

	for (i = 1; i < level; i++) {
		v = interp_load(
			cpu,
			interp_stack_linear(cpu, bp - i * size, size, false),
			size);
		sp -= size;
		interp_store(cpu, interp_stack_linear(cpu, sp, size, true),
			     size, v);
	}
	interp_store(cpu, interp_stack_linear(cpu, sp - size, size, true), size,
		     frame);
}

/* SDM 2A, ENTER.  A write to the new top is tried before RSP moves there. */
void interp_op_ENTER(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize, level = insn->sel & 31;
	uint64_t frame = cpu->gpr[X86_RSP] - size;
	uint64_t top = frame - level * size - (uint16_t)insn->imm;

	interp_store(cpu, interp_stack_linear(cpu, frame, size, true), size,
		     cpu->gpr[X86_RBP]);
	if (level)
		stack_enter_display(cpu, size, level, frame);
	x86_probe(cpu, interp_stack_linear(cpu, top, size, true), size, true);
	interp_stack_set(cpu, X86_RSP, top);
	interp_set_gpr(cpu, X86_RBP, size, frame);
}

void interp_op_LEAVE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t frame = cpu->gpr[X86_RBP];
	uint64_t v = interp_load(
		cpu, interp_stack_linear(cpu, frame, size, false), size);

	interp_stack_set(cpu, X86_RSP, frame + size);
	interp_set_gpr(cpu, X86_RBP, size, v);
}
