/*
 * int_arith.c - addition to division, logic and comparison.
 * Source: Intel SDM volume 2; flags as hostflags.h has them.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

HOST_BINARY(arith_add, "add")
HOST_BINARY(arith_or, "or")
HOST_BINARY(arith_adc, "adc")
HOST_BINARY(arith_sbb, "sbb")
HOST_BINARY(arith_and, "and")
HOST_BINARY(arith_sub, "sub")
HOST_BINARY(arith_xor, "xor")
HOST_BINARY(arith_cmp, "cmp")
HOST_BINARY(arith_test, "test")
HOST_UNARY(arith_inc, "inc")
HOST_UNARY(arith_dec, "dec")
HOST_UNARY(arith_not, "not")
HOST_UNARY(arith_neg, "neg")
HOST_BINARY_WLQ(arith_imul, "imul")

/* --- Two operands, the first one changes --------------------------------- */

#define ARITH_BINARY(NAME, fn)                                           \
	void interp_op_##NAME(struct x86_cpu *cpu,                       \
			      const struct x86_insn *insn)               \
	{                                                                \
		interp_modify(cpu, insn, fn, interp_read(cpu, insn, 1)); \
	}

ARITH_BINARY(ADD, arith_add)
ARITH_BINARY(OR, arith_or)
ARITH_BINARY(ADC, arith_adc)
ARITH_BINARY(SBB, arith_sbb)
ARITH_BINARY(AND, arith_and)
ARITH_BINARY(SUB, arith_sub)
ARITH_BINARY(XOR, arith_xor)

/* --- One operand --------------------------------------------------------- */

#define ARITH_UNARY(NAME, fn)                              \
	void interp_op_##NAME(struct x86_cpu *cpu,         \
			      const struct x86_insn *insn) \
	{                                                  \
		interp_modify(cpu, insn, fn, 0);           \
	}

ARITH_UNARY(INC, arith_inc)
ARITH_UNARY(DEC, arith_dec)
ARITH_UNARY(NOT, arith_not)
ARITH_UNARY(NEG, arith_neg)

/* --- Nothing but flags --------------------------------------------------- */

static void arith_compare(struct x86_cpu *cpu, const struct x86_insn *insn,
			  host_alu_fn *fn)
{
	uint64_t a = interp_read(cpu, insn, 0);
	uint64_t b = interp_read(cpu, insn, 1);

	fn(&cpu->rflags, insn->o[0].size, a, b);
}

void interp_op_CMP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_compare(cpu, insn, arith_cmp);
}

void interp_op_TEST(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_compare(cpu, insn, arith_test);
}

/* --- Multiplication ------------------------------------------------------ */

/* IMUL r, r/m and IMUL r, r/m, imm: the factors are the last two operands. */
void interp_op_IMUL2(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned first = insn->o[2].kind == X86_OPND_NONE ? 0 : 1;
	uint64_t a = interp_read(cpu, insn, first);
	uint64_t b = interp_read(cpu, insn, first + 1);

	interp_write_reg(cpu, insn, 0,
			 arith_imul(&cpu->rflags, insn->o[0].size, a, b));
}

/*
 * MUL, IMUL, DIV, IDIV with RDX:RAX, by the host.  They want RAX for
 * themselves, so the flags wait in another register; MOV leaves flags alone.
 */
#define ARITH_WIDE(text)                                             \
	__asm__ volatile("movl %[f], %%eax\n\t" HOST_FLAGS_LOAD      \
			 "movq %[lo], %%rax\n\t" text "\n\t"         \
			 "movq %%rax, %[lo]" HOST_FLAGS_SAVE "\n\t"  \
			 "movl %%eax, %[f]"                          \
			 : [lo] "+&r"(*lo), "+&d"(*hi), [f] "+&r"(f) \
			 : [b] "r"(b)                                \
			 : "rax", "cc")

#define ARITH_WIDE_FN(name, mnemonic)                                   \
	static void name(uint64_t *rflags, unsigned size, uint64_t *lo, \
			 uint64_t *hi, uint64_t b)                      \
	{                                                               \
		uint32_t f = host_flags_pack(*rflags);                  \
		switch (size) {                                         \
		case 1:                                                 \
			ARITH_WIDE(mnemonic "b %b[b]");                 \
			break;                                          \
		case 2:                                                 \
			ARITH_WIDE(mnemonic "w %w[b]");                 \
			break;                                          \
		case 4:                                                 \
			ARITH_WIDE(mnemonic "l %k[b]");                 \
			break;                                          \
		default:                                                \
			ARITH_WIDE(mnemonic "q %q[b]");                 \
		}                                                       \
		*rflags = host_flags_merge(*rflags, f);                 \
	}

typedef void arith_wide_fn(uint64_t *rflags, unsigned size, uint64_t *lo,
			   uint64_t *hi, uint64_t b);

ARITH_WIDE_FN(arith_mul_wide, "mul")
ARITH_WIDE_FN(arith_imul_wide, "imul")
ARITH_WIDE_FN(arith_div_wide, "div")
ARITH_WIDE_FN(arith_idiv_wide, "idiv")

/* Byte forms use AX, and have nothing in DX. */
static void arith_wide(struct x86_cpu *cpu, unsigned size, arith_wide_fn *fn,
		       uint64_t b)
{
	uint64_t lo = cpu->gpr[X86_RAX], hi = cpu->gpr[X86_RDX];

	fn(&cpu->rflags, size, &lo, &hi, b);
	if (size == 1) {
		interp_set_gpr(cpu, X86_RAX, 2, lo);
		return;
	}
	interp_set_gpr(cpu, X86_RAX, size, lo);
	interp_set_gpr(cpu, X86_RDX, size, hi);
}

void interp_op_MUL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_wide(cpu, insn->o[0].size, arith_mul_wide,
		   interp_read(cpu, insn, 0));
}

void interp_op_IMUL1(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_wide(cpu, insn->o[0].size, arith_imul_wide,
		   interp_read(cpu, insn, 0));
}

/* MULX: high half to operand 0, low half to 1; the same register: high. */
void interp_op_MULX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t b = interp_read(cpu, insn, 2);
	uint64_t lo = cpu->gpr[X86_RDX], hi = 0, flags = 0;

	arith_mul_wide(&flags, insn->o[2].size, &lo, &hi, b);
	interp_write_reg(cpu, insn, 1, lo);
	interp_write_reg(cpu, insn, 0, hi);
}

/* --- Division ------------------------------------------------------------ */

/* The dividend: AX, DX:AX, EDX:EAX or RDX:RAX. */
static unsigned __int128 arith_dividend(const struct x86_cpu *cpu,
					unsigned size)
{
	if (size == 1)
		return interp_gpr(cpu, X86_RAX, 2);
	return (unsigned __int128)interp_gpr(cpu, X86_RDX, size) << size * 8 |
	       interp_gpr(cpu, X86_RAX, size);
}

/* The quotient fits just if the dividend's high half is below the divisor. */
void interp_op_DIV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint64_t b = interp_read(cpu, insn, 0);

	if ((uint64_t)(arith_dividend(cpu, size) >> size * 8) >= b)
		x86_raise(cpu, X86_VEC_DE);
	arith_wide(cpu, size, arith_div_wide, b);
}

/*
 * Does n / d fit into bits?  In magnitudes: the quotient may reach
 * 2^(bits-1) - 1, or 2^(bits-1) if it is negative.
 */
static bool arith_idiv_fits(__int128 n, int64_t d, unsigned bits)
{
	bool negative = (n < 0) != (d < 0);
	unsigned __int128 un =
		n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
	uint64_t ud = d < 0 ? -(uint64_t)d : (uint64_t)d;
	uint64_t limit = (1ull << (bits - 1)) - !negative;

	if (!ud)
		return false;
	/* un / ud <= limit, without dividing */
	return un < ((unsigned __int128)limit + 1) * ud;
}

void interp_op_IDIV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	unsigned shift = 128 - size * 16;
	uint64_t b = interp_read(cpu, insn, 0);
	__int128 n = (__int128)(arith_dividend(cpu, size) << shift) >> shift;

	if (!arith_idiv_fits(n, interp_sext(b, size), size * 8))
		x86_raise(cpu, X86_VEC_DE);
	arith_wide(cpu, size, arith_idiv_wide, b);
}

/* --- ADCX, ADOX: a carry chain in one flag only -------------------------- */

static void arith_carry(struct x86_cpu *cpu, const struct x86_insn *insn,
			uint64_t flag)
{
	unsigned size = insn->o[0].size;
	uint64_t a = interp_read_reg(cpu, insn, 0);
	uint64_t b = interp_read(cpu, insn, 1);
	unsigned __int128 sum =
		(unsigned __int128)a + b + !!(cpu->rflags & flag);

	interp_write_reg(cpu, insn, 0, (uint64_t)sum);
	cpu->rflags &= ~flag;
	if (sum >> size * 8)
		cpu->rflags |= flag;
}

void interp_op_ADCX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_carry(cpu, insn, X86_FLAG_CF);
}

void interp_op_ADOX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	arith_carry(cpu, insn, X86_FLAG_OF);
}
