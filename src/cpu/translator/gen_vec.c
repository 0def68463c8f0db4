/* gen_vec.c - SSE and AVX instructions: copied, once the registers are in. */
#include "cpu/translator/xl.h"
#include "cpu/x86/optable.h"

/* The vector registers hold the guest's values from here on. */
static void vec_ready(struct xl_gen *g)
{
	struct xl_slow *s;
	uint8_t *ready;

	if (g->vec_ready)
		return;
	asm_load(g->a, XL_CX, RM_GS(XL_WORD(XL_VEC_OFF)));
	ready = asm_jrcxz(g->a);
	s = gen_slow(g, asm_jmp_site(g->a));
	asm_land8(g->a, ready);
	s->what = XL_SLOW_VEC;
	s->back = asm_here(g->a);
	g->vec_ready = true;
}

static bool vec_available(const struct xl_gen *g, const struct x86_insn *insn)
{
	unsigned need =
		insn->prefix & X86_PFX_VEX ? X86_MODE_AVX : X86_MODE_SSE;

	return g->page->mode & need;
}

/* MMX registers are not kept in the host's. */
static bool vec_touches_mmx(const struct x86_insn *insn)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		if (insn->o[i].kind == X86_OPND_MMX ||
		    insn->o[i].kind == X86_OPND_ST)
			return true;
	return false;
}

/* PCMPxSTRx: RAX, RDX and RCX, which lie elsewhere in the host. */
static bool vec_has_implicit_gpr(const struct x86_insn *insn)
{
	return insn->map == 3 && insn->opcode >= 0x60 && insn->opcode <= 0x63;
}

bool gen_vec(struct xl_gen *g, const struct x86_insn *insn)
{
	if (!vec_available(g, insn) || vec_touches_mmx(insn) ||
	    insn->desc->attr & X86_ATTR_VSIB)
		return false;
	if (insn->op == X86_VZEROUPPER) {
		vec_ready(g);
		asm_u8(g->a, 0xc5);
		asm_u8(g->a, 0xf8);
		asm_u8(g->a, 0x77);
		return true;
	}
	if (insn->op != X86_THUNK || vec_has_implicit_gpr(insn) ||
	    !gen_can_copy(insn))
		return false;
	vec_ready(g);
	return gen_copy(g, insn);
}
