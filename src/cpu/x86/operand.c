/*
 * operand.c - the second half of decoding: sizes, memory operands, immediates.
 *
 * Source: SDM volume 2, 2.1, 2.2, 2.3.
 */
#include "cpu/x86/cpu.h"
#include "cpu/x86/decode.h"

/* Little-endian, n = 0..8 bytes, zero-extended. */
static uint64_t operand_bytes(struct decode *d, unsigned n)
{
	const uint8_t *p = d->bytes + d->pos;
	uint64_t v = 0;

	if (n > d->len - d->pos) {
		d->overrun = true;
		return 0;
	}
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	d->pos += n;
	return v;
}

static uint64_t operand_sign_extend(uint64_t v, unsigned n)
{
	unsigned shift = 64 - 8 * n;

	return n ? (uint64_t)((int64_t)(v << shift) >> shift) : 0;
}

static unsigned operand_size(const struct decode *d, unsigned size)
{
	static const uint8_t fixed[] = { 0, 1, 2, 4, 6, 8, 10, 16, 32 };
	unsigned opsize = d->in->opsize;
	unsigned native = d->code64 ? 8 : 4;

	switch (size) {
	case OPTABLE_SV:
		return opsize;
	case OPTABLE_SZ:
		return opsize < 4 ? opsize : 4;
	case OPTABLE_SY:
		return d->code64 && (d->rex & DECODE_REX_W) ? 8 : 4;
	case OPTABLE_SN:
		return native;
	case OPTABLE_SX:
		return d->veclen;
	case OPTABLE_SX2:
		return d->veclen / 2;
	case OPTABLE_SX4:
		return d->veclen / 4;
	case OPTABLE_SX8:
		return d->veclen / 8;
	case OPTABLE_SP:
		return opsize + 2;
	case OPTABLE_SG:
		return native + 2;
	case OPTABLE_SA:
		return 2 * opsize;
	default:
		return fixed[size];
	}
}

/* --- memory ------------------------------------------------------------------
 */

/* SDM volume 2, table 2-1. */
static void operand_mem16(struct decode *d, unsigned mod, unsigned rm)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
					 X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[8] = { X86_RSI,    X86_RDI,    X86_RSI,
					  X86_RDI,    X86_NO_REG, X86_NO_REG,
					  X86_NO_REG, X86_NO_REG };
	struct x86_insn *in = d->in;

	in->base = base[rm];
	in->index = index[rm];
	if (mod == 0 && rm == 6) {
		in->base = X86_NO_REG;
		mod = 2;
	}
	if (mod)
		in->disp = operand_sign_extend(operand_bytes(d, mod), mod);
}

/* The SIB byte; returns the size of the displacement. */
static unsigned operand_sib(struct decode *d, unsigned mod)
{
	struct x86_insn *in = d->in;
	uint8_t sib = decode_byte(d);
	unsigned index = (sib >> 3 & 7) | (d->rex & DECODE_REX_X ? 8 : 0);

	in->scale = sib >> 6;
	if (index != X86_RSP || (in->desc->attr & X86_ATTR_VSIB))
		in->index = index;
	if (mod == 0 && (sib & 7) == X86_RBP)
		return 4;
	in->base = (sib & 7) | (d->rex & DECODE_REX_B ? 8 : 0);
	return mod == 2 ? 4 : mod;
}

/* SDM volume 2, tables 2-2 and 2-3, and 2.2.1.6. */
static void operand_mem32(struct decode *d, unsigned mod, unsigned rm)
{
	struct x86_insn *in = d->in;
	unsigned n = mod == 2 ? 4 : mod;

	if (rm == 4) {
		n = operand_sib(d, mod);
	} else if (mod == 0 && rm == 5) {
		in->base = d->code64 ? X86_REG_RIP : X86_NO_REG;
		n = 4;
	} else {
		in->base = rm | (d->rex & DECODE_REX_B ? 8 : 0);
	}
	if (n)
		in->disp = operand_sign_extend(operand_bytes(d, n), n);
}

static void operand_mem(struct decode *d)
{
	struct x86_insn *in = d->in;
	unsigned mod = in->modrm >> 6, rm = in->modrm & 7;

	if (in->addrsize == 2)
		operand_mem16(d, mod, rm);
	else
		operand_mem32(d, mod, rm);
	if (!(in->prefix & X86_PFX_SEG) &&
	    (in->base == X86_RSP || in->base == X86_RBP))
		in->seg = X86_SS;
}

/* --- registers, immediates
 * ---------------------------------------------------- */

static unsigned operand_rm(const struct decode *d)
{
	return (d->in->modrm & 7) | (d->rex & DECODE_REX_B ? 8 : 0);
}

static unsigned operand_reg(const struct decode *d)
{
	return (d->in->modrm >> 3 & 7) | (d->rex & DECODE_REX_R ? 8 : 0);
}

static bool operand_is_mem(const struct decode *d)
{
	return d->in->modrm < 0xc0;
}

/* Without REX, byte registers 4..7 are AH, CH, DH, BH. */
static void operand_gpr(const struct decode *d, struct x86_operand *o,
			unsigned reg)
{
	o->kind = X86_OPND_GPR;
	o->reg = reg;
	if (o->size == 1 && reg >= 4 && reg < 8 &&
	    !(d->in->prefix & (X86_PFX_REX | X86_PFX_VEX))) {
		o->kind = X86_OPND_GPR_HIGH8;
		o->reg = reg - 4;
	}
}

/* One way to make an operand; o->size and o->access are already set. */
typedef void operand_fn(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec);

static void operand_set(struct x86_operand *o, unsigned kind, unsigned reg)
{
	o->kind = kind;
	o->reg = reg;
}

/* ModRM's memory operand. */
static void operand_m(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_MEM, 0);
	o->size = operand_size(d, spec->size2);
	d->in->has_mem = true;
	if (operand_is_mem(d))
		operand_mem(d);
	else
		d->bad = true;
}

static void operand_none(struct decode *d, struct x86_operand *o,
			 const struct optable_spec *spec)
{
	o->access = 0;
}

static void operand_e(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	if (operand_is_mem(d))
		operand_m(d, o, spec);
	else
		operand_gpr(d, o, operand_rm(d));
}

static void operand_g(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_gpr(d, o, operand_reg(d));
}

static void operand_r(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_gpr(d, o, operand_rm(d));
}

static void operand_z(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	unsigned high = d->rex & DECODE_REX_B ? 8 : 0;

	operand_gpr(d, o, (d->in->opcode & 7) | high);
}

static void operand_b(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_gpr(d, o, d->in->vvvv);
}

static void operand_fixed(struct decode *d, struct x86_operand *o,
			  const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_GPR, spec->size2);
}

static void operand_seg(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_SREG, spec->size2);
}

/* MOV cannot load CS. */
static void operand_s(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_SREG, d->in->modrm >> 3 & 7);
	if (o->reg > X86_GS || (o->reg == X86_CS && (o->access & X86_ACC_W)))
		d->bad = true;
}

static void operand_c(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	static const uint16_t known =
		1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8;

	operand_set(o, X86_OPND_CREG, operand_reg(d));
	if (!(known >> o->reg & 1))
		d->bad = true;
}

static void operand_d(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_DREG, operand_reg(d));
	if (o->reg > 7)
		d->bad = true;
}

static void operand_imm(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	struct x86_insn *in = d->in;
	unsigned n = operand_size(d, spec->size2);

	operand_set(o, X86_OPND_IMM, 0);
	in->imm = operand_bytes(d, n);
	in->imm_bytes = n;
	if (in->desc->attr & X86_ATTR_LEVEL) {
		in->sel = decode_byte(d);
		in->imm_bytes++;
	}
}

static void operand_simm(struct decode *d, struct x86_operand *o,
			 const struct optable_spec *spec)
{
	operand_imm(d, o, spec);
	d->in->imm = operand_sign_extend(d->in->imm, d->in->imm_bytes);
}

static void operand_one(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_IMM, 0);
	d->in->imm = 1;
}

static void operand_rel(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	operand_simm(d, o, spec);
	o->kind = X86_OPND_REL;
}

static void operand_far(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	unsigned n = operand_size(d, spec->size2);

	operand_set(o, X86_OPND_FAR, 0);
	d->in->imm = operand_bytes(d, n);
	d->in->sel = operand_bytes(d, 2);
	d->in->imm_bytes = n + 2;
}

/* Memory at an absolute offset, which has no room in disp if it is 64 bits. */
static void operand_offs(struct decode *d, struct x86_operand *o,
			 const struct optable_spec *spec)
{
	struct x86_insn *in = d->in;

	operand_set(o, X86_OPND_MEM, 0);
	in->has_mem = true;
	in->imm = operand_bytes(d, in->addrsize);
	in->imm_bytes = in->addrsize;
	if (in->addrsize == 8)
		in->base = X86_REG_MOFFS;
	else
		in->disp = (int32_t)in->imm;
}

/* --- vectors
 * -------------------------------------------------------------------- */

/* MMX registers take no heed of REX. */
static void operand_p(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_MMX, d->in->modrm >> 3 & 7);
}

static void operand_n(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_MMX, d->in->modrm & 7);
	if (operand_is_mem(d))
		d->bad = true;
}

static void operand_q(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	if (operand_is_mem(d))
		operand_m(d, o, spec);
	else
		operand_n(d, o, spec);
}

static void operand_v(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_VEC, operand_reg(d));
}

static void operand_u(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_VEC, operand_rm(d));
	if (operand_is_mem(d))
		d->bad = true;
}

static void operand_w(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	if (operand_is_mem(d))
		operand_m(d, o, spec);
	else
		operand_u(d, o, spec);
}

static void operand_h(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_VEC, d->in->vvvv);
}

static void operand_l(struct decode *d, struct x86_operand *o,
		      const struct optable_spec *spec)
{
	struct x86_insn *in = d->in;

	in->imm = decode_byte(d);
	in->imm_bytes = 1;
	in->is4 = in->imm >> 4 & (d->code64 ? 15 : 7);
	operand_set(o, X86_OPND_VEC, in->is4);
}

static void operand_xmm0(struct decode *d, struct x86_operand *o,
			 const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_VEC, 0);
}

static void operand_st0(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_ST, 0);
}

static void operand_sti(struct decode *d, struct x86_operand *o,
			const struct optable_spec *spec)
{
	operand_set(o, X86_OPND_ST, d->in->modrm & 7);
}

/*
 * Gathers: a SIB byte is a must, and destination, index and mask must differ
 * (SDM volume 2, 2.3.12).
 */
static void operand_vsib(struct decode *d, struct x86_operand *o,
			 const struct optable_spec *spec)
{
	struct x86_insn *in = d->in;
	unsigned reg = operand_reg(d);

	operand_m(d, o, spec);
	if ((in->modrm & 7) != 4 || in->addrsize == 2 || reg == in->index ||
	    reg == in->vvvv || in->index == in->vvvv)
		d->bad = true;
}

static operand_fn *const operand_from[] = {
	[OPTABLE_NONE] = operand_none, [OPTABLE_E] = operand_e,
	[OPTABLE_G] = operand_g,       [OPTABLE_R] = operand_r,
	[OPTABLE_M] = operand_m,       [OPTABLE_Z] = operand_z,
	[OPTABLE_B] = operand_b,       [OPTABLE_FIXED] = operand_fixed,
	[OPTABLE_SEG] = operand_seg,   [OPTABLE_S] = operand_s,
	[OPTABLE_C] = operand_c,       [OPTABLE_D] = operand_d,
	[OPTABLE_IMM] = operand_imm,   [OPTABLE_SIMM] = operand_simm,
	[OPTABLE_ONE] = operand_one,   [OPTABLE_REL] = operand_rel,
	[OPTABLE_FAR] = operand_far,   [OPTABLE_OFFS] = operand_offs,
	[OPTABLE_P] = operand_p,       [OPTABLE_Q] = operand_q,
	[OPTABLE_N] = operand_n,       [OPTABLE_V] = operand_v,
	[OPTABLE_W] = operand_w,       [OPTABLE_U] = operand_u,
	[OPTABLE_H] = operand_h,       [OPTABLE_L] = operand_l,
	[OPTABLE_XMM0] = operand_xmm0, [OPTABLE_ST0] = operand_st0,
	[OPTABLE_STI] = operand_sti,   [OPTABLE_VSIB] = operand_vsib,
};

void decode_operands(struct decode *d)
{
	const struct x86_desc *desc = d->in->desc;

	for (unsigned i = 0; i < 4 && desc->spec[i]; i++) {
		const struct optable_spec *s = &optable_specs[desc->spec[i]];
		struct x86_operand *o = &d->in->o[i];

		o->size = operand_size(d, s->size);
		o->access = desc->access >> 2 * i & 3;
		operand_from[s->from](d, o, s);
	}
}
