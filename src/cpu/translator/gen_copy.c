/*
 * gen_copy.c - an instruction as it is, with its operands mapped.
 *
 * Most instructions are copied: the same opcode with the guest's registers
 * replaced by the host registers that hold them, a memory operand by
 * [ea + T1] after its check, and registers that live in memory by scratch
 * registers, loaded before and stored behind.  Nothing is emitted until it is
 * certain that it can be done.
 */
#include "cpu/translator/xl.h"
#include "cpu/x86/optable.h"

/* Where an operand stands in the encoding. */
enum copy_place { COPY_RM, COPY_REG, COPY_VVVV, COPY_LOW, COPY_PLACES };

struct copy {
	const struct x86_insn *insn;
	struct xl_op op;
	/* By place: operand, or NULL; its host register. */
	const struct x86_operand *o[COPY_PLACES];
	uint8_t host[COPY_PLACES];
	const struct x86_operand *mem;
	bool uses_cl;
	bool is4;
	bool byte_low;   /* 8-bit register in the opcode: SPL.. need REX */
	unsigned high8;  /* places that are AH.. */
	uint8_t pool[3]; /* scratch registers left */
	unsigned pool_count;
};

static int copy_place(unsigned from)
{
	switch (from) {
	case OPTABLE_E:
	case OPTABLE_R:
	case OPTABLE_M:
	case OPTABLE_W:
	case OPTABLE_U:
		return COPY_RM;
	case OPTABLE_G:
	case OPTABLE_V:
		return COPY_REG;
	case OPTABLE_B:
	case OPTABLE_H:
		return COPY_VVVV;
	case OPTABLE_Z:
		return COPY_LOW;
	default:
		return -1;
	}
}

/* One operand of the row; false: not one that can be copied. */
static bool copy_operand(struct copy *c, unsigned from,
			 const struct x86_operand *o)
{
	int place = copy_place(from);

	if (o->kind == X86_OPND_MEM &&
	    !(o->size && o->size <= 32 && !(o->size & (o->size - 1))))
		return false;
	if (o->kind == X86_OPND_GPR_HIGH8)
		c->high8 |= 1u << (place < 0 ? 0 : place);
	if (place >= 0) {
		if (o->kind == X86_OPND_MEM)
			c->mem = o;
		else
			c->o[place] = o;
		return true;
	}
	switch (from) {
	case OPTABLE_NONE:
	case OPTABLE_IMM:
	case OPTABLE_SIMM:
	case OPTABLE_ONE:
	case OPTABLE_XMM0:
		return true;
	case OPTABLE_OFFS:
		c->mem = o;
		return true;
	case OPTABLE_FIXED:
		if (o->reg == X86_RCX)
			c->uses_cl = true;
		return o->reg == X86_RAX || o->reg == X86_RDX ||
		       (o->reg == X86_RCX && o->size == 1 &&
			!(o->access & X86_ACC_W));
	case OPTABLE_L:
		return c->is4 = true;
	default:
		return false;
	}
}

static bool copy_look(struct copy *c, const struct x86_insn *insn)
{
	unsigned i;

	c->insn = insn;
	for (i = 0; i < 4; i++)
		if (!copy_operand(c, optable_specs[insn->desc->spec[i]].from,
				  &insn->o[i]))
			return false;
	if (insn->base == X86_REG_MOFFS && !c->mem)
		return false;
	return true;
}

static bool copy_is_gpr(const struct x86_operand *o)
{
	return o && o->kind == X86_OPND_GPR;
}

static void copy_op(struct copy *c)
{
	const struct x86_insn *insn = c->insn;
	bool simd = insn->desc->cls == X86_CLASS_SSE ||
		    insn->desc->cls == X86_CLASS_AVX;

	c->op = (struct xl_op){
		.map = insn->map,
		.opcode = insn->opcode,
		.pp = insn->pp,
		.w = insn->rex & 8,
		.lock = insn->prefix & X86_PFX_LOCK,
		.vex = insn->prefix & X86_PFX_VEX,
		.l = insn->prefix & X86_PFX_VEXL,
		.vvvv = insn->vvvv,
	};
	if (!c->op.vex && !simd && insn->opsize == 2 && insn->pp != 1)
		c->op.p66 = true;
	c->op.byte_reg = c->o[COPY_REG] && c->o[COPY_REG]->size == 1;
	c->op.byte_rm = c->o[COPY_RM] && c->o[COPY_RM]->size == 1;
	c->byte_low = copy_is_gpr(c->o[COPY_LOW]) && c->o[COPY_LOW]->size == 1;
}

/* How many scratch registers the operands want. */
static unsigned copy_wants(const struct copy *c)
{
	unsigned i, n = 0;

	for (i = 0; i < COPY_PLACES; i++)
		if (copy_is_gpr(c->o[i]) && xl_map[c->o[i]->reg] == H_NONE)
			n++;
	return n;
}

static void copy_fill_pool(struct copy *c)
{
	if (!c->uses_cl)
		c->pool[c->pool_count++] = XL_CX;
	c->pool[c->pool_count++] = XL_T1;
	if (!c->mem)
		c->pool[c->pool_count++] = XL_T0;
}

static void copy_load(struct xl_gen *g, struct copy *c)
{
	unsigned i, j;

	for (i = 0; i < COPY_PLACES; i++) {
		if (!c->o[i])
			continue;
		c->host[i] = c->o[i]->reg;
		if (!copy_is_gpr(c->o[i]))
			continue;
		c->host[i] = xl_map[c->o[i]->reg];
		for (j = 0; j < i && c->host[i] == H_NONE; j++)
			if (copy_is_gpr(c->o[j]) &&
			    c->o[j]->reg == c->o[i]->reg)
				c->host[i] = c->host[j];
		if (c->host[i] == H_NONE)
			c->host[i] = gen_read(g, c->o[i]->reg,
					      c->pool[--c->pool_count]);
	}
}

static void copy_store(struct xl_gen *g, const struct copy *c)
{
	unsigned i;

	for (i = 0; i < COPY_PLACES; i++)
		if (copy_is_gpr(c->o[i]) && c->o[i]->access & X86_ACC_W &&
		    xl_map[c->o[i]->reg] == H_NONE)
			asm_store(g->a, RM_GS(XL_GPR(c->o[i]->reg)),
				  c->host[i]);
}

static void copy_emit(struct xl_gen *g, struct copy *c, struct xl_rm mem)
{
	const struct x86_insn *insn = c->insn;
	struct xl_asm *a = g->a;
	unsigned reg = insn->modrm >> 3 & 7, i;

	if (c->o[COPY_REG])
		reg = c->host[COPY_REG];
	if (copy_is_gpr(c->o[COPY_VVVV]))
		c->op.vvvv = c->host[COPY_VVVV];
	if (c->mem && insn->has_modrm) {
		asm_op(a, c->op, reg, mem);
	} else if (insn->has_modrm) {
		unsigned rm =
			c->o[COPY_RM] ? c->host[COPY_RM] : insn->modrm & 7u;

		asm_op(a, c->op, reg, RM_REG(rm));
	} else { /* register in the opcode's low bits, or none */
		unsigned low = c->o[COPY_LOW] ? c->host[COPY_LOW] : 0;

		if (c->op.p66)
			asm_u8(a, 0x66);
		if (c->op.w || low & 8 || (c->byte_low && low >= 4))
			asm_u8(a, 0x40 | c->op.w << 3 | low >> 3);
		if (insn->map)
			asm_u8(a, 0x0f);
		asm_u8(a, c->o[COPY_LOW] ? (insn->opcode & ~7u) | (low & 7)
					 : insn->opcode);
	}
	for (i = 0; i < insn->imm_bytes; i++)
		asm_u8(a, insn->imm >> (8 * i));
}

/*
 * AH, CH, DH, BH can be named only without REX: then every other register
 * must be one of the low eight.  CH is in a register that has no high byte.
 */
static bool copy_high8(struct xl_gen *g, struct copy *c)
{
	struct xl_rm mem = RM_MEM(H_NONE, 0);
	unsigned i;

	for (i = 0; i < COPY_PLACES; i++) {
		const struct x86_operand *o = c->o[i];

		if (!o)
			continue;
		if (o->kind == X86_OPND_GPR_HIGH8 && o->reg == X86_RCX)
			return false;
		if (o->kind == X86_OPND_GPR &&
		    (xl_map[o->reg] & 8 || (o->size == 1 && o->reg >= 4)))
			return false;
	}
	if (c->uses_cl || c->insn->rex || c->op.w)
		return false;
	if (c->mem) {
		bool write = c->mem->access & X86_ACC_W;

		mem = gen_mem(g, c->insn, c->mem->size, write);
		asm_lea(g->a, XL_CX, mem);
		mem = RM_MEM(XL_CX, 0);
	}
	for (i = 0; i < COPY_PLACES; i++)
		if (c->o[i])
			c->host[i] =
				c->o[i]->reg +
				(c->o[i]->kind == X86_OPND_GPR_HIGH8 ? 4 : 0);
	c->op.byte_reg = c->op.byte_rm = false;
	copy_emit(g, c, mem);
	return true;
}

bool gen_can_copy(const struct x86_insn *insn)
{
	struct copy c = { 0 };

	return copy_look(&c, insn) && !(c.mem && !insn->has_modrm) &&
	       copy_wants(&c) < 2;
}

bool gen_copy(struct xl_gen *g, const struct x86_insn *insn)
{
	struct copy c = { 0 };
	struct xl_rm mem = RM_MEM(H_NONE, 0);
	unsigned wants;

	if (!copy_look(&c, insn))
		return false;
	if (c.mem && !insn->has_modrm) /* MOV with an absolute offset */
		return false;
	copy_op(&c);
	if (c.high8)
		return copy_high8(g, &c);
	copy_fill_pool(&c);
	wants = copy_wants(&c);
	if (wants > c.pool_count)
		return false;
	if (c.mem) {
		mem = gen_mem(g, insn, c.mem->size, c.mem->access & X86_ACC_W);
		if (wants > 1 || (wants && c.uses_cl)) { /* frees T1 */
			asm_lea(g->a, XL_T0, mem);
			mem = RM_MEM(XL_T0, 0);
		} else { /* T1 is part of the address */
			c.pool[0] = XL_CX;
			c.pool_count = 1;
		}
	}
	if (c.uses_cl)
		asm_mov32_rr(g->a, XL_CX, xl_map[X86_RCX]);
	if (wants > (c.mem && !c.uses_cl))
		gen_t1_changed(g);
	copy_load(g, &c);
	copy_emit(g, &c, mem);
	copy_store(g, &c);
	return true;
}
