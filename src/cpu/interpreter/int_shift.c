/*
 * int_shift.c - shifts and rotates.
 *
 * The host masks counts and leaves flags alone for a count of 0 by itself.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

HOST_SHIFT(shift_rol, "rol")
HOST_SHIFT(shift_ror, "ror")
HOST_SHIFT(shift_rcl, "rcl")
HOST_SHIFT(shift_rcr, "rcr")
HOST_SHIFT(shift_shl, "shl")
HOST_SHIFT(shift_shr, "shr")
HOST_SHIFT(shift_sar, "sar")

#define SHIFT_OP(NAME, fn)                                                   \
	void interp_op_##NAME(struct x86_cpu *cpu,                           \
			      const struct x86_insn *insn)                   \
	{                                                                    \
		interp_modify(cpu, insn, fn, interp_read_reg(cpu, insn, 1)); \
	}

SHIFT_OP(ROL, shift_rol)
SHIFT_OP(ROR, shift_ror)
SHIFT_OP(RCL, shift_rcl)
SHIFT_OP(RCR, shift_rcr)
SHIFT_OP(SHL, shift_shl)
SHIFT_OP(SHR, shift_shr)
SHIFT_OP(SAR, shift_sar)

/* --- SHLD, SHRD ---------------------------------------------------------- */

/* Three inputs: what is shifted in, and the count, are packed to be one. */
struct shift_double {
	uint64_t fill;
	uint64_t count;
};

#define SHIFT_DOUBLE(text)                                    \
	__asm__ volatile(HOST_FLAGS_LOAD text HOST_FLAGS_SAVE \
			 : [a] "+r"(a), "+a"(ax)              \
			 : [fill] "r"(d->fill), "c"(d->count) \
			 : "cc")

#define SHIFT_DOUBLE_FN(name, mnemonic)                                   \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a, \
			     uint64_t b)                                  \
	{                                                                 \
		const struct shift_double *d = (void *)(uintptr_t)b;      \
		uint32_t ax = host_flags_pack(*rflags);                   \
		switch (size) {                                           \
		case 2:                                                   \
			SHIFT_DOUBLE(mnemonic "w %%cl, %w[fill], %w[a]"); \
			break;                                            \
		case 4:                                                   \
			SHIFT_DOUBLE(mnemonic "l %%cl, %k[fill], %k[a]"); \
			break;                                            \
		default:                                                  \
			SHIFT_DOUBLE(mnemonic "q %%cl, %q[fill], %q[a]"); \
		}                                                         \
		*rflags = host_flags_merge(*rflags, ax);                  \
		return a;                                                 \
	}

SHIFT_DOUBLE_FN(shift_shld, "shld")
SHIFT_DOUBLE_FN(shift_shrd, "shrd")

static void shift_double(struct x86_cpu *cpu, const struct x86_insn *insn,
			 host_alu_fn *fn)
{
	struct shift_double d = {
		.fill = interp_read_reg(cpu, insn, 1),
		.count = interp_read_reg(cpu, insn, 2),
	};

	interp_modify(cpu, insn, fn, (uintptr_t)&d);
}

void interp_op_SHLD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_double(cpu, insn, shift_shld);
}

void interp_op_SHRD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_double(cpu, insn, shift_shrd);
}

/* --- BMI2: no flags ------------------------------------------------------ */

static void shift_bmi2(struct x86_cpu *cpu, const struct x86_insn *insn,
		       host_alu_fn *fn)
{
	uint64_t a = interp_read(cpu, insn, 1);
	uint64_t count = interp_read_reg(cpu, insn, 2);
	uint64_t flags = 0;

	interp_write_reg(cpu, insn, 0, fn(&flags, insn->o[0].size, a, count));
}

void interp_op_RORX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_bmi2(cpu, insn, shift_ror);
}

void interp_op_SARX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_bmi2(cpu, insn, shift_sar);
}

void interp_op_SHLX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_bmi2(cpu, insn, shift_shl);
}

void interp_op_SHRX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	shift_bmi2(cpu, insn, shift_shr);
}
