/*
 * gen_view.c - the addend of a page of the view (x86/view.h), known without
 * waiting for the TLB.
 *
 * The check has found the addend as always; here it is compared with the
 * view's, and where they are equal, the view's is used instead.  To the
 * guest that is the same; to the host's processor, which predicts the jump,
 * the access does not depend on the TLB any more.
 */
#include "cpu/translator/xl.h"

/* RCX = 0 if T1 is the side's addend. */
static void view_compare(struct xl_gen *g, enum x86_view_side side)
{
	int32_t minus = XL_OFF(tlb.view.minus) + (int32_t)(side * 8);

	asm_load(g->a, XL_CX, RM_GS(minus));
	asm_lea(g->a, XL_CX, RM_SIB(XL_CX, XL_T1, 0, 0));
}

static void view_load(struct xl_gen *g, enum x86_view_side side)
{
	int32_t addend = XL_OFF(tlb.view.addend) + (int32_t)(side * 8);

	asm_load(g->a, XL_T1, RM_GS(addend));
}

/* Where the register points now; a loop's next addresses mostly stay there. */
static enum x86_view_side view_guess(const struct xl_gen *g)
{
	unsigned base = g->plan.insn[g->i].base;

	return base < 16 && g->x->cpu->gpr[base]
		       ? x86_view_side(g->x->cpu->gpr[base])
		       : X86_VIEW_HIGH;
}

/*
 *	mov	rcx, gs:[minus]
 *	lea	rcx, [rcx + t1]
 *	jrcxz	same
 *	jmp	other
 * same:	mov	t1, gs:[addend]
 */
static void view_use(struct xl_gen *g, unsigned ea)
{
	enum x86_view_side side = view_guess(g);
	struct xl_slow *s;
	uint8_t *same;

	view_compare(g, side);
	same = asm_jrcxz(g->a);
	s = gen_slow(g, asm_jmp_site(g->a));
	asm_land8(g->a, same);
	view_load(g, side);
	s->what = XL_SLOW_VIEW;
	s->kind = side;
	s->ea = ea;
	s->back = asm_here(g->a);
}

struct xl_slow *gen_check_late(struct xl_gen *g, unsigned ea, unsigned size,
			       bool write, bool chases)
{
	struct xl_slow *s = gen_check(g, ea, size, write);

	if (chases && !write && g->tlb_kind == X86_TLB_USER_READ)
		view_use(g, ea);
	return s;
}

/* The other side's addend, or one of its own; one in many is looked at. */
void gen_slow_view(struct xl_gen *g, const struct xl_slow *s)
{
	struct xl_rm countdown = RM_GS(XL_OFF(tlb.view.countdown));
	struct xl_asm *a = g->a;
	uint8_t *same, *sample;

	view_compare(g, !s->kind);
	same = asm_jrcxz(a);
	asm_load32(a, XL_CX, countdown);
	asm_lea32(a, XL_CX, RM_MEM(XL_CX, -1));
	asm_op(a, OP(0, 0x89), XL_CX, countdown);
	sample = asm_jrcxz(a);
	asm_jmp(a, s->back);
	asm_land8(a, same);
	view_load(g, !s->kind);
	asm_jmp(a, s->back);
	asm_land8(a, sample);
	asm_mov_rr(a, XL_T0, s->ea);
	gen_glue_call(g, g->x->glue.view);
	asm_jmp(a, s->back);
}
