/* gen_flow.c - branches, calls and returns. */
#include "cpu/translator/xl.h"

static uint64_t flow_target(const struct xl_gen *g, const struct x86_insn *insn)
{
	return g->next_rip + insn->imm;
}

static bool flow_jcc(struct xl_gen *g, const struct x86_insn *insn)
{
	gen_link_site(g, flow_target(g, insn), asm_jcc_site(g->a, insn->cond));
	return true; /* and on with what follows */
}

static void flow_count(struct xl_gen *g, const struct x86_insn *insn)
{
	if (insn->addrsize == 4)
		asm_mov32_rr(g->a, XL_CX, xl_map[X86_RCX]);
	else
		asm_mov_rr(g->a, XL_CX, xl_map[X86_RCX]);
}

static bool flow_jcxz(struct xl_gen *g, const struct x86_insn *insn)
{
	uint8_t *zero;

	flow_count(g, insn);
	zero = asm_jrcxz(g->a);
	gen_jump(g, g->next_rip);
	asm_land8(g->a, zero);
	gen_jump(g, flow_target(g, insn));
	return true;
}

static bool flow_loop(struct xl_gen *g, const struct x86_insn *insn)
{
	unsigned rcx = xl_map[X86_RCX];
	uint8_t *zero;

	if (insn->addrsize == 4)
		asm_lea32(g->a, rcx, RM_MEM(rcx, -1));
	else
		asm_lea(g->a, rcx, RM_MEM(rcx, -1));
	flow_count(g, insn);
	zero = asm_jrcxz(g->a);
	gen_jump(g, flow_target(g, insn));
	asm_land8(g->a, zero);
	gen_jump(g, g->next_rip);
	return true;
}

/* The target of an indirect branch into T0. */
static void flow_load_target(struct xl_gen *g, const struct x86_insn *insn)
{
	const struct x86_operand *o = &insn->o[0];

	if (o->kind == X86_OPND_GPR)
		asm_mov_rr(g->a, XL_T0, gen_read(g, o->reg, XL_T0));
	else
		asm_load(g->a, XL_T0, gen_mem(g, insn, 8, false));
}

static bool flow_jmp_ind(struct xl_gen *g, const struct x86_insn *insn)
{
	flow_load_target(g, insn);
	gen_indirect(g, 0);
	return true;
}

static bool flow_call_ind(struct xl_gen *g, const struct x86_insn *insn)
{
	flow_load_target(g, insn);
	gen_indirect_call(g);
	return true;
}

static bool flow_call(struct xl_gen *g, const struct x86_insn *insn)
{
	gen_push_const(g, g->next_rip, true);
	gen_jump(g, flow_target(g, insn));
	return true;
}

static bool flow_ret(struct xl_gen *g, const struct x86_insn *insn)
{
	unsigned rsp = xl_map[X86_RSP];
	int32_t pop = 8;

	if (insn->o[0].kind == X86_OPND_IMM)
		pop += (uint16_t)insn->imm;
	asm_load(g->a, XL_T0, gen_stack(g, rsp, 0, false));
	gen_indirect(g, pop);
	return true;
}

bool gen_flow(struct xl_gen *g, const struct x86_insn *insn)
{
	if (insn->opsize != 8 && insn->op != X86_JCC && insn->op != X86_JCXZ &&
	    insn->op != X86_LOOP)
		return false;
	switch (insn->op) {
	case X86_JCC:
		return flow_jcc(g, insn);
	case X86_JMP:
		gen_jump(g, flow_target(g, insn));
		return true;
	case X86_CALL:
		return flow_call(g, insn);
	case X86_RET:
		return flow_ret(g, insn);
	case X86_JMP_IND:
		return flow_jmp_ind(g, insn);
	case X86_CALL_IND:
		return flow_call_ind(g, insn);
	case X86_JCXZ:
		return flow_jcxz(g, insn);
	case X86_LOOP:
		return flow_loop(g, insn);
	default:
		return false;
	}
}
