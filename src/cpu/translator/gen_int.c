/* gen_int.c - integer instructions. */
#include "cpu/translator/xl.h"
#include "cpu/x86/optable.h"

/* What can be copied as it is. */
static const bool gen_copied[X86_OP_COUNT] = {
	[X86_ADD] = true,     [X86_OR] = true,     [X86_ADC] = true,
	[X86_SBB] = true,     [X86_AND] = true,    [X86_SUB] = true,
	[X86_XOR] = true,     [X86_CMP] = true,    [X86_TEST] = true,
	[X86_INC] = true,     [X86_DEC] = true,    [X86_NOT] = true,
	[X86_NEG] = true,     [X86_MUL] = true,    [X86_IMUL1] = true,
	[X86_IMUL2] = true,   [X86_DIV] = true,    [X86_IDIV] = true,
	[X86_ROL] = true,     [X86_ROR] = true,    [X86_RCL] = true,
	[X86_RCR] = true,     [X86_SHL] = true,    [X86_SHR] = true,
	[X86_SAR] = true,     [X86_SHLD] = true,   [X86_SHRD] = true,
	[X86_MOV] = true,     [X86_MOVZX] = true,  [X86_MOVSX] = true,
	[X86_MOVSXD] = true,  [X86_XCHG] = true,   [X86_XADD] = true,
	[X86_CMPXCHG] = true, [X86_BSWAP] = true,  [X86_MOVBE] = true,
	[X86_CBW] = true,     [X86_CWD] = true,    [X86_SETCC] = true,
	[X86_CMOVCC] = true,  [X86_BSF] = true,    [X86_BSR] = true,
	[X86_TZCNT] = true,   [X86_LZCNT] = true,  [X86_POPCNT] = true,
	[X86_CRC32] = true,   [X86_ADCX] = true,   [X86_ADOX] = true,
	[X86_ANDN] = true,    [X86_BEXTR] = true,  [X86_BLSI] = true,
	[X86_BLSMSK] = true,  [X86_BLSR] = true,   [X86_BZHI] = true,
	[X86_MULX] = true,    [X86_PDEP] = true,   [X86_PEXT] = true,
	[X86_RORX] = true,    [X86_SARX] = true,   [X86_SHLX] = true,
	[X86_SHRX] = true,    [X86_LAHF] = true,   [X86_SAHF] = true,
	[X86_CLC] = true,     [X86_STC] = true,    [X86_CMC] = true,
	[X86_RDRAND] = true,  [X86_RDSEED] = true, [X86_MOVNTI] = true,
};

static bool int_lea(struct xl_gen *g, const struct x86_insn *insn)
{
	unsigned dst = xl_map[insn->o[0].reg];

	if (insn->opsize == 2)
		return false;
	if (dst == H_NONE)
		dst = XL_T0;
	if (insn->opsize == 4 && insn->addrsize == 8) {
		struct x86_insn narrow = *insn;

		narrow.addrsize = 4; /* the low half is all that is wanted */
		gen_lea(g, &narrow, dst);
	} else {
		gen_lea(g, insn, dst);
	}
	if (xl_map[insn->o[0].reg] == H_NONE)
		gen_write(g, insn->o[0].reg, dst);
	return true;
}

static struct xl_rm int_push_slot(struct xl_gen *g)
{
	return gen_stack(g, xl_map[X86_RSP], -8, true);
}

static void int_add_rsp(struct xl_gen *g, int32_t n)
{
	asm_lea(g->a, xl_map[X86_RSP], RM_MEM(xl_map[X86_RSP], n));
}

void gen_push_const(struct xl_gen *g, uint64_t value, bool linear)
{
	struct xl_rm slot = int_push_slot(g);

	if ((int64_t)value == (int32_t)value) {
		asm_op(g->a, OPW(0, 0xc7), 0, slot);
		asm_u32(g->a, value);
		g->tied |= linear;
	} else {
		if (linear)
			gen_mov_linear(g, XL_CX, value);
		else
			asm_mov_imm(g->a, XL_CX, value);
		asm_store(g->a, slot, XL_CX);
	}
	int_add_rsp(g, -8);
}

static bool int_push(struct xl_gen *g, const struct x86_insn *insn)
{
	const struct x86_operand *o = &insn->o[0];
	struct xl_rm slot;

	if (insn->opsize != 8)
		return false;
	if (o->kind == X86_OPND_IMM) {
		gen_push_const(g, insn->imm, false);
		return true;
	}
	if (o->kind == X86_OPND_MEM) {
		struct xl_rm from = gen_mem(g, insn, 8, false);

		asm_load(g->a, XL_CX, from);
		asm_store(g->a, RM_GS(XL_WORD(XL_RESUME)), XL_CX);
		slot = int_push_slot(g);
		asm_load(g->a, XL_CX, RM_GS(XL_WORD(XL_RESUME)));
		asm_store(g->a, slot, XL_CX);
	} else if (o->kind == X86_OPND_GPR) {
		slot = int_push_slot(g);
		asm_store(g->a, slot, gen_read(g, o->reg, XL_CX));
	} else {
		return false;
	}
	int_add_rsp(g, -8);
	return true;
}

static bool int_pop(struct xl_gen *g, const struct x86_insn *insn)
{
	const struct x86_operand *o = &insn->o[0];
	unsigned rsp = xl_map[X86_RSP], dst;
	struct xl_rm slot;

	if (insn->opsize != 8 || o->kind != X86_OPND_GPR || o->reg == X86_RSP)
		return false;
	slot = gen_stack(g, rsp, 0, false);
	dst = xl_map[o->reg] == H_NONE ? XL_T0 : xl_map[o->reg];
	asm_load(g->a, dst, slot);
	if (xl_map[o->reg] == H_NONE)
		gen_write(g, o->reg, dst);
	int_add_rsp(g, 8);
	return true;
}

static bool int_leave(struct xl_gen *g, const struct x86_insn *insn)
{
	unsigned rbp = xl_map[X86_RBP];
	struct xl_rm slot;

	if (insn->opsize != 8)
		return false;
	slot = gen_stack(g, rbp, 0, false);
	asm_lea(g->a, xl_map[X86_RSP], RM_MEM(rbp, 8));
	asm_load(g->a, rbp, slot);
	return true;
}

/* T1 = bits >> count; clobbers RCX. */
static void int_bit_unit(struct xl_gen *g, unsigned bits, unsigned count)
{
	struct xl_op sarx = { .map = 2,
			      .opcode = 0xf7,
			      .pp = 2,
			      .w = true,
			      .vex = true,
			      .vvvv = XL_CX };

	if (!g->x->has_bmi2) {
		gen_plain_sar(g, XL_T1, bits, count);
		return;
	}
	asm_mov_imm(g->a, XL_CX, count);
	asm_op(g->a, sarx, XL_T1, RM_REG(bits));
}

/*
 * With a register as bit offset, memory is reached beyond the operand: at
 * (offset >> 5 or 6) units from it; the unit's bit is offset modulo its size.
 */
static bool int_bit_test_far(struct xl_gen *g, const struct x86_insn *insn)
{
	bool wide = insn->opsize == 8;
	struct xl_op op = { .map = 1,
			    .opcode = insn->opcode,
			    .w = wide,
			    .lock = insn->prefix & X86_PFX_LOCK };
	struct xl_asm *a = g->a;
	unsigned bits = insn->o[1].reg, ea, low = XL_CX;
	struct xl_rm mem;

	if (insn->opsize == 2 || insn->o[1].kind != X86_OPND_GPR)
		return false;
	ea = gen_address(g, insn);
	gen_t1_changed(g);
	bits = gen_read(g, bits, XL_T1);
	if (!wide) {
		asm_op(a, OPW(0, 0x63), XL_T1, RM_REG(bits)); /* MOVSXD */
		bits = XL_T1;
	}
	int_bit_unit(g, bits, wide ? 6 : 5);
	asm_lea(a, XL_T0, RM_SIB(ea, XL_T1, wide ? 3 : 2, 0));
	gen_check(g, XL_T0, insn->opsize, insn->op != X86_BT);
	mem = RM_SIB(XL_T0, XL_T1, 0, 0);
	asm_lea(a, XL_T0, mem);
	bits = gen_read(g, insn->o[1].reg, XL_T1);
	gen_and_word(g, low, bits, wide ? XL_MASK_63 : XL_MASK_31);
	asm_op(a, op, low, RM_MEM(XL_T0, 0));
	return true;
}

static bool int_bit_test(struct xl_gen *g, const struct x86_insn *insn)
{
	if (insn->has_mem && insn->o[1].kind != X86_OPND_IMM)
		return int_bit_test_far(g, insn);
	return gen_copy(g, insn);
}

/* RDX:RAX are mapped to themselves, RCX:RBX half. */
static bool int_cmpxchg_wide(struct xl_gen *g, const struct x86_insn *insn)
{
	struct xl_op op = { .map = 1,
			    .opcode = 0xc7,
			    .w = insn->op == X86_CMPXCHG16B,
			    .lock = insn->prefix & X86_PFX_LOCK };
	struct xl_rm mem;

	mem = gen_mem(g, insn, op.w ? 16 : 8, true);
	asm_mov_rr(g->a, XL_CX, xl_map[X86_RCX]);
	asm_op(g->a, op, 1, mem);
	return true;
}

static bool int_fence(struct xl_gen *g, const struct x86_insn *insn)
{
	asm_op(g->a, OP(1, 0xae), insn->modrm >> 3 & 7, RM_REG(0));
	return true;
}

bool gen_int(struct xl_gen *g, const struct x86_insn *insn)
{
	if (gen_copied[insn->op])
		return gen_copy(g, insn);
	switch (insn->op) {
	case X86_NOP:
	case X86_PREFETCH:
		return true;
	case X86_LEA:
		return int_lea(g, insn);
	case X86_PUSH:
		return int_push(g, insn);
	case X86_POP:
		return int_pop(g, insn);
	case X86_LEAVE:
		return int_leave(g, insn);
	case X86_BT:
	case X86_BTS:
	case X86_BTR:
	case X86_BTC:
		return int_bit_test(g, insn);
	case X86_CMPXCHG8B:
	case X86_CMPXCHG16B:
		return int_cmpxchg_wide(g, insn);
	case X86_FENCE:
		return int_fence(g, insn);
	default:
		return gen_sys(g, insn); /* PUSHF, POPF */
	}
}
