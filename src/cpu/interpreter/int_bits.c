/*
 * int_bits.c - bit tests, scans, counts, and the BMI instructions.
 *
 * Those that only some processors have are run by the host too: the decoder
 * lets them pass only where the host has them.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

/* --- BT, BTS, BTR, BTC --------------------------------------------------- */

HOST_BINARY_WLQ(bits_bt, "bt")
HOST_BINARY_WLQ(bits_bts, "bts")
HOST_BINARY_WLQ(bits_btr, "btr")
HOST_BINARY_WLQ(bits_btc, "btc")

/*
 * A bit offset in a register reaches beyond the operand: it is signed, and
 * the word that holds the bit is what is accessed (SDM 2A, BT).
 */
static uint64_t bits_linear(struct x86_cpu *cpu, const struct x86_insn *insn,
			    uint64_t offset, unsigned size, bool write)
{
	int64_t word = interp_sext(offset, size) >> (size == 2   ? 4
						     : size == 4 ? 5
								 : 6);
	uint64_t ea = x86_effective(cpu, insn) + word * (int64_t)size;

	return x86_seg_linear(cpu, insn->seg, ea & interp_mask(insn->addrsize),
			      size, write);
}

static void bits_modify(struct x86_cpu *cpu, const struct x86_insn *insn,
			host_alu_fn *fn)
{
	uint64_t offset = interp_read_reg(cpu, insn, 1);
	unsigned size = insn->o[0].size;

	if (interp_is_mem(insn, 0) && insn->o[1].kind != X86_OPND_IMM)
		interp_modify_at(cpu, insn,
				 bits_linear(cpu, insn, offset, size, true),
				 size, fn, offset);
	else
		interp_modify(cpu, insn, fn, offset);
}

void interp_op_BT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t offset = interp_read_reg(cpu, insn, 1);
	unsigned size = insn->o[0].size;
	uint64_t a;

	if (interp_is_mem(insn, 0) && insn->o[1].kind != X86_OPND_IMM)
		a = interp_load(
			cpu, bits_linear(cpu, insn, offset, size, false), size);
	else
		a = interp_read(cpu, insn, 0);
	bits_bt(&cpu->rflags, size, a, offset);
}

void interp_op_BTS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_modify(cpu, insn, bits_bts);
}

void interp_op_BTR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_modify(cpu, insn, bits_btr);
}

void interp_op_BTC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_modify(cpu, insn, bits_btc);
}

/* --- Scans and counts ---------------------------------------------------- */

HOST_BINARY_WLQ(bits_bsf, "bsf")
HOST_BINARY_WLQ(bits_bsr, "bsr")
HOST_BINARY_WLQ(bits_tzcnt, "tzcnt")
HOST_BINARY_WLQ(bits_lzcnt, "lzcnt")
HOST_BINARY_WLQ(bits_popcnt, "popcnt")

/*
 * BSF and BSR of 0 leave the register alone, also its upper half where a
 * 32-bit result would clear it: the whole register goes in and comes out.
 */
static void bits_scan(struct x86_cpu *cpu, const struct x86_insn *insn,
		      host_alu_fn *fn)
{
	uint64_t b = interp_read(cpu, insn, 1);
	uint64_t *r = &cpu->gpr[insn->o[0].reg & 15];

	*r = fn(&cpu->rflags, insn->o[0].size, *r, b);
}

void interp_op_BSF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_scan(cpu, insn, bits_bsf);
}

void interp_op_BSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_scan(cpu, insn, bits_bsr);
}

void interp_op_TZCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_scan(cpu, insn, bits_tzcnt);
}

void interp_op_LZCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_scan(cpu, insn, bits_lzcnt);
}

void interp_op_POPCNT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bits_scan(cpu, insn, bits_popcnt);
}

/* The second operand's size is what counts; no flags. */
void interp_op_CRC32(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t b = interp_read(cpu, insn, 1);
	uint64_t a = cpu->gpr[insn->o[0].reg & 15];

	switch (insn->o[1].size) {
	case 1:
		__asm__("crc32b %b[b], %k[a]" : [a] "+r"(a) : [b] "r"(b));
		break;
	case 2:
		__asm__("crc32w %w[b], %k[a]" : [a] "+r"(a) : [b] "r"(b));
		break;
	case 4:
		__asm__("crc32l %k[b], %k[a]" : [a] "+r"(a) : [b] "r"(b));
		break;
	default:
		__asm__("crc32q %q[b], %q[a]" : [a] "+r"(a) : [b] "r"(b));
	}
	interp_set_gpr(cpu, insn->o[0].reg, 8, a);
}

/* --- BMI1, BMI2 ---------------------------------------------------------- */

/* a = a OP b into another register; 4 and 8 bytes only. */
#define BITS_BMI(name, args_l, args_q)                                    \
	static uint64_t name(uint64_t *rflags, unsigned size, uint64_t a, \
			     uint64_t b)                                  \
	{                                                                 \
		uint32_t ax = host_flags_pack(*rflags);                   \
		if (size == 4)                                            \
			HOST_ALU(args_l);                                 \
		else                                                      \
			HOST_ALU(args_q);                                 \
		*rflags = host_flags_merge(*rflags, ax);                  \
		return a;                                                 \
	}

BITS_BMI(bits_andn, "andnl %k[b], %k[a], %k[a]", "andnq %q[b], %q[a], %q[a]")
BITS_BMI(bits_bextr, "bextrl %k[b], %k[a], %k[a]", "bextrq %q[b], %q[a], %q[a]")
BITS_BMI(bits_bzhi, "bzhil %k[b], %k[a], %k[a]", "bzhiq %q[b], %q[a], %q[a]")
BITS_BMI(bits_pdep, "pdepl %k[b], %k[a], %k[a]", "pdepq %q[b], %q[a], %q[a]")
BITS_BMI(bits_pext, "pextl %k[b], %k[a], %k[a]", "pextq %q[b], %q[a], %q[a]")
BITS_BMI(bits_blsi, "blsil %k[a], %k[a]", "blsiq %q[a], %q[a]")
BITS_BMI(bits_blsmsk, "blsmskl %k[a], %k[a]", "blsmskq %q[a], %q[a]")
BITS_BMI(bits_blsr, "blsrl %k[a], %k[a]", "blsrq %q[a], %q[a]")

/* Three operands: the result goes to operand 0. */
#define BITS_BMI_OP(NAME, fn)                                \
	void interp_op_##NAME(struct x86_cpu *cpu,           \
			      const struct x86_insn *insn)   \
	{                                                    \
		uint64_t a = interp_read(cpu, insn, 1);      \
		uint64_t b = interp_read(cpu, insn, 2);      \
		a = fn(&cpu->rflags, insn->o[0].size, a, b); \
		interp_write_reg(cpu, insn, 0, a);           \
	}

BITS_BMI_OP(ANDN, bits_andn)
BITS_BMI_OP(BEXTR, bits_bextr)
BITS_BMI_OP(BZHI, bits_bzhi)
BITS_BMI_OP(PDEP, bits_pdep)
BITS_BMI_OP(PEXT, bits_pext)

/* Two operands. */
#define BITS_BMI_UNARY(NAME, fn)                             \
	void interp_op_##NAME(struct x86_cpu *cpu,           \
			      const struct x86_insn *insn)   \
	{                                                    \
		uint64_t a = interp_read(cpu, insn, 1);      \
		a = fn(&cpu->rflags, insn->o[0].size, a, 0); \
		interp_write_reg(cpu, insn, 0, a);           \
	}

BITS_BMI_UNARY(BLSI, bits_blsi)
BITS_BMI_UNARY(BLSMSK, bits_blsmsk)
BITS_BMI_UNARY(BLSR, bits_blsr)
