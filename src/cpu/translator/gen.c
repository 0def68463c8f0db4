/*
 * gen.c - from a guest block to host code: the frame.
 *
 * xl_translate() decodes one instruction after another and hands each to the
 * generator of its class.  What a generator declines is left to the
 * interpreter: the block ends there with XL_EXIT_INSN.  Paths that are taken
 * rarely (TLB misses, exits) are collected and emitted behind the block.
 */
#include "cpu/translator/xl.h"

#include <string.h>

#include "cpu/interpreter/interp.h"
#include "cpu/x86/sync.h"

const uint8_t xl_map[16] = {
	[X86_RAX] = H_RAX,  [X86_RCX] = H_R14,  [X86_RDX] = H_RDX,
	[X86_RBX] = H_RBX,  [X86_RSP] = H_R15,  [X86_RBP] = H_RBP,
	[X86_RSI] = H_RSI,  [X86_RDI] = H_RDI,  [X86_R8] = H_R8,
	[X86_R9] = H_R9,    [X86_R10] = H_NONE, [X86_R11] = H_NONE,
	[X86_R12] = H_R12,  [X86_R13] = H_R13,  [X86_R14] = H_NONE,
	[X86_R15] = H_NONE,
};

/* --- Registers and addresses --------------------------------------------- */

unsigned gen_read(struct xl_gen *g, unsigned gpr, unsigned scratch)
{
	if (xl_map[gpr] != H_NONE)
		return xl_map[gpr];
	asm_load(g->a, scratch, RM_GS(XL_GPR(gpr)));
	return scratch;
}

void gen_write(struct xl_gen *g, unsigned gpr, unsigned src)
{
	if (xl_map[gpr] != H_NONE)
		asm_mov_rr(g->a, xl_map[gpr], src);
	else
		asm_store(g->a, RM_GS(XL_GPR(gpr)), src);
}

/* --- What a copy of the block must change ----------------------------------
 */

static void gen_fix(struct xl_gen *g, enum xl_fix what, unsigned size)
{
	size_t at = (size_t)(asm_here(g->a) - size - g->b->host);

	if (at > XL_FIX_AT || g->fix_count == XL_FIXES)
		g->tied = true;
	else
		g->fix[g->fix_count++] = (uint16_t)(what << 14 | at);
}

/* The constant of an asm_mov_imm() just made; only the long form has room. */
static void gen_fix_imm(struct xl_gen *g, enum xl_fix what, uint64_t v)
{
	if (v <= UINT32_MAX || (int64_t)v == (int32_t)v)
		g->tied = true;
	else
		gen_fix(g, what, 8);
}

void gen_mov_linear(struct xl_gen *g, unsigned dst, uint64_t linear)
{
	asm_mov_imm(g->a, dst, linear);
	gen_fix_imm(g, XL_FIX_LINEAR, linear);
}

static void gen_mov_ref(struct xl_gen *g, enum xl_fix what, const void *p)
{
	asm_mov_imm(g->a, XL_T0, xl_ref(&g->x->arena, p));
	gen_fix(g, what, 4);
}

/* Out of the block. */
static void gen_glue_jmp(struct xl_gen *g, const uint8_t *target)
{
	asm_jmp(g->a, target);
	gen_fix(g, XL_FIX_REL, 4);
}

void gen_glue_call(struct xl_gen *g, const uint8_t *target)
{
	asm_call(g->a, target);
	gen_fix(g, XL_FIX_REL, 4);
}

/* --- Addresses ------------------------------------------------------------ */

/* A constant address; RIP-relative or absolute. */
static bool gen_const_address(struct xl_gen *g, const struct x86_insn *insn,
			      uint64_t *out)
{
	if (insn->base == X86_REG_RIP)
		*out = g->next_rip + insn->disp;
	else if (insn->base == X86_REG_MOFFS)
		*out = insn->imm;
	else if (insn->base == X86_NO_REG && insn->index == X86_NO_REG)
		*out = (int64_t)insn->disp;
	else
		return false;
	if (insn->addrsize == 4) {
		*out = (uint32_t)*out;
		g->tied = true; /* where it wraps depends on where it is */
	}
	return true;
}

/* LEA dst, [base + index << scale + disp], without the segment. */
void gen_lea(struct xl_gen *g, const struct x86_insn *insn, unsigned dst)
{
	struct xl_rm rm = RM_MEM(H_NONE, insn->disp);
	uint64_t addr;

	if (gen_const_address(g, insn, &addr)) {
		if (insn->base == X86_REG_RIP)
			gen_mov_linear(g, dst, addr);
		else
			asm_mov_imm(g->a, dst, addr);
		return;
	}
	if (insn->base != X86_NO_REG)
		rm.base = gen_read(g, insn->base, XL_T0);
	if (insn->index != X86_NO_REG) {
		if (xl_map[insn->index] == H_NONE)
			gen_t1_changed(g);
		rm.index = gen_read(g, insn->index, XL_T1);
		rm.scale = insn->scale;
	}
	if (insn->addrsize == 4)
		asm_lea32(g->a, dst, rm);
	else
		asm_lea(g->a, dst, rm);
}

static bool gen_has_segment(const struct x86_insn *insn)
{
	return insn->seg == X86_FS || insn->seg == X86_GS;
}

unsigned gen_address(struct xl_gen *g, const struct x86_insn *insn)
{
	if (insn->addrsize == 8 && insn->base < 16 &&
	    xl_map[insn->base] != H_NONE && insn->index == X86_NO_REG &&
	    !insn->disp && !gen_has_segment(insn))
		return xl_map[insn->base];
	gen_lea(g, insn, XL_T0);
	if (gen_has_segment(insn)) {
		gen_t1_changed(g);
		asm_load(g->a, XL_T1,
			 RM_GS(XL_OFF(seg) +
			       (int32_t)(insn->seg * sizeof(struct x86_seg) +
					 offsetof(struct x86_seg, base))));
		asm_lea(g->a, XL_T0, RM_SIB(XL_T0, XL_T1, 0, 0));
	}
	return XL_T0;
}

/* --- Out-of-line parts -----------------------------------------------------
 */

struct xl_slow *gen_slow(struct xl_gen *g, uint8_t *site)
{
	struct xl_slow *s = &g->slow[g->slow_count++];

	s->site = site;
	s->guest = g->rip - g->page->linear;
	return s;
}

static void gen_pc(struct xl_gen *g, unsigned guest)
{
	g->pcs[g->pc_count].host = asm_here(g->a) - g->b->host;
	g->pcs[g->pc_count++].guest = guest;
}

/* T1: the index of the entry that was found. */
static struct xl_slow *gen_checked(struct xl_gen *g, struct xl_slow *s,
				   unsigned ea, unsigned size, unsigned kind)
{
	int32_t at = (int32_t)(kind * X86_TLB_SIZE * 8);

	s->what = XL_SLOW_MISS;
	s->kind = kind;
	s->size = size;
	s->ea = ea;
	s->group = false;
	asm_load(g->a, XL_T1, RM_GS8(XL_T1, XL_OFF(tlb.addend) + at));
	return s;
}

/* After a miss it is made once more, for the index is lost. */
static struct xl_slow *gen_check_plain(struct xl_gen *g, unsigned ea,
				       unsigned size, unsigned kind)
{
	int32_t at = (int32_t)(kind * X86_TLB_SIZE * 8);
	uint8_t *back = asm_here(g->a);
	uint8_t *miss = gen_plain_check(g, ea, size, XL_OFF(tlb.neg) + at);
	struct xl_slow *s = gen_slow(g, miss);

	s->back = back;
	return gen_checked(g, s, ea, size, kind);
}

/*
 *	shrx	t1d, ea, 12
 *	mov	rcx, gs:[t1 * 8 + neg]
 *	lea	rcx, [rcx + ea + size - 1]
 *	shrx	rcx, rcx, 12
 *	jrcxz	hit
 *	jmp	miss
 * hit:	mov	t1, gs:[t1 * 8 + addend]
 */
struct xl_slow *gen_check(struct xl_gen *g, unsigned ea, unsigned size,
			  bool write)
{
	unsigned kind = g->tlb_kind | write;
	int32_t at = (int32_t)(kind * X86_TLB_SIZE * 8);
	struct xl_asm *a = g->a;
	struct xl_slow *s;
	uint8_t *hit;

	gen_t1_changed(g);
	if (!g->x->has_bmi2)
		return gen_check_plain(g, ea, size, kind);
	asm_shrx32(a, XL_T1, ea, XL_SHIFT);
	asm_load(a, XL_CX, RM_GS8(XL_T1, XL_OFF(tlb.neg) + at));
	asm_lea(a, XL_CX, RM_SIB(XL_CX, ea, 0, (int32_t)size - 1));
	asm_shrx(a, XL_CX, XL_CX, XL_SHIFT);
	hit = asm_jrcxz(a);
	s = gen_slow(g, asm_jmp_site(a));
	asm_land8(a, hit);
	s->back = asm_here(a);
	return gen_checked(g, s, ea, size, kind);
}

static void gen_slow_miss(struct xl_gen *g, const struct xl_slow *s)
{
	const struct xl_glue *glue = &g->x->glue;

	if (!g->x->has_bmi2)
		gen_flags_restore(g, XL_CX);
	asm_mov_rr(g->a, XL_T0, s->ea);
	asm_mov_imm(g->a, XL_CX, (uint32_t)s->kind << 16 | s->size);
	gen_glue_call(g, s->group ? glue->group_miss : glue->miss);
	asm_jmp(g->a, s->back);
	if (s->group) { /* for xl_light_group(): where to go on */
		asm_u32(g->a, xl_ref(&g->x->arena, g->b));
		gen_fix(g, XL_FIX_BLOCK, 4);
		asm_u32(g->a, s->guest);
	}
}

/* --- Memory operands
 * ---------------------------------------------------------- */

/* Where an access lies: base register and constant, or a constant alone. */
struct gen_place {
	unsigned base; /* host register; H_NONE: none */
	uint64_t disp;
	const struct x86_insn *indexed; /* or: as this operand says */
};

static bool gen_fits32(uint64_t v)
{
	return (int64_t)v == (int32_t)v;
}

static int32_t gen_group_word(unsigned group)
{
	return XL_WORD(XL_GROUP + group);
}

/* The first access of a group: one check for all of them. */
static struct xl_rm gen_group_first(struct xl_gen *g,
				    const struct plan_access *acc,
				    const struct gen_place *at)
{
	const struct plan_group *group = &g->plan.group[acc->group];
	uint64_t up = acc->offset - group->lo; /* from the lowest byte */
	unsigned ea = at->base;

	if (at->indexed) {
		struct x86_insn lowest = *at->indexed;

		lowest.disp -= (int32_t)up;
		gen_lea(g, &lowest, XL_T0);
		ea = XL_T0;
	} else if (at->base == H_NONE) {
		gen_mov_linear(g, XL_T0, at->disp - up);
		ea = XL_T0;
	} else if (at->disp != up) {
		asm_lea(g->a, XL_T0,
			RM_MEM(at->base, (int32_t)(at->disp - up)));
		ea = XL_T0;
	}
	gen_check_late(g, ea, group->hi - group->lo, group->write,
		       group->chases)
		->group = group->count > 1;
	if (group->count > 1)
		asm_store(g->a, RM_GS(gen_group_word(acc->group)), XL_T1);
	g->groups_ready |= 1u << acc->group;
	g->t1_group = acc->group;
	return RM_SIB(ea, XL_T1, 0, (int32_t)up);
}

/* A later one: the addend is known. */
static struct xl_rm gen_group_next(struct xl_gen *g,
				   const struct plan_access *acc,
				   const struct gen_place *at)
{
	if (at->indexed)
		gen_lea(g, at->indexed, XL_T0);
	if (g->t1_group != acc->group)
		asm_load(g->a, XL_T1, RM_GS(gen_group_word(acc->group)));
	g->t1_group = acc->group;
	if (at->indexed)
		return RM_SIB(XL_T0, XL_T1, 0, 0);
	if (at->base != H_NONE)
		return RM_SIB(at->base, XL_T1, 0, (int32_t)at->disp);
	if (gen_fits32(at->disp)) {
		g->tied = true;
		return RM_MEM(XL_T1, (int32_t)at->disp);
	}
	gen_mov_linear(g, XL_T0, at->disp);
	return RM_SIB(XL_T0, XL_T1, 0, 0);
}

/* A group counts only if code was made for its first access. */
static bool gen_in_group(const struct xl_gen *g, const struct plan_access *acc)
{
	return acc->group >= 0 &&
	       (acc->first || g->groups_ready >> acc->group & 1);
}

struct xl_rm gen_mem(struct xl_gen *g, const struct x86_insn *insn,
		     unsigned size, bool write)
{
	const struct plan_access *acc = &g->plan.access[g->i][0];
	struct gen_place at = { H_NONE, 0, NULL };
	unsigned ea;

	if (!gen_in_group(g, acc)) {
		ea = gen_address(g, insn);
		gen_check_late(g, ea, size, write, acc->chases);
		return RM_SIB(ea, XL_T1, 0, 0);
	}
	if (insn->index != X86_NO_REG) {
		at.indexed = insn;
	} else if (!gen_const_address(g, insn, &at.disp)) {
		at.disp = (int64_t)insn->disp;
		at.base = gen_read(g, insn->base, XL_T0);
	}
	return acc->first ? gen_group_first(g, acc, &at)
			  : gen_group_next(g, acc, &at);
}

struct xl_rm gen_stack(struct xl_gen *g, unsigned base, int32_t disp,
		       bool write)
{
	const struct plan_access *acc = &g->plan.access[g->i][1];
	struct gen_place at = { base, (int64_t)disp, NULL };

	if (gen_in_group(g, acc))
		return acc->first ? gen_group_first(g, acc, &at)
				  : gen_group_next(g, acc, &at);
	if (disp) {
		asm_lea(g->a, XL_T0, RM_MEM(base, disp));
		base = XL_T0;
	}
	gen_check(g, base, 8, write);
	return RM_SIB(base, XL_T1, 0, 0);
}

static void gen_slow_vec(struct xl_gen *g, const struct xl_slow *s)
{
	gen_glue_call(g, g->x->glue.vec_load);
	asm_jmp(g->a, s->back);
}

static void gen_slow_link(struct xl_gen *g, const struct xl_slow *s)
{
	g->link[s->kind].unlinked = asm_here(g->a) - g->b->host;
	gen_mov_ref(g, XL_FIX_BLOCK, &g->b->out[s->kind]);
	gen_glue_jmp(g, g->x->glue.link);
}

void gen_poll(struct xl_gen *g, uint64_t rip)
{
	struct xl_slow *s;
	uint8_t *quiet;

	if (g->x->lockstep) /* blocks end soon enough, and only at their end */
		return;
	asm_load32(g->a, XL_CX, RM_GS(XL_OFF(pending)));
	quiet = asm_jrcxz(g->a);
	s = gen_slow(g, asm_jmp_site(g->a));
	asm_land8(g->a, quiet);
	s->what = XL_SLOW_POLL;
	s->guest = rip - g->page->linear;
}

static void gen_slow_poll(struct xl_gen *g, const struct xl_slow *s)
{
	gen_mov_linear(g, XL_T0, g->page->linear + s->guest);
	gen_glue_jmp(g, g->x->glue.exit[XL_EXIT_RIP]);
}

static void gen_slow_insn(struct xl_gen *g, const struct xl_slow *s)
{
	gen_mov_linear(g, XL_T0, g->page->linear + s->guest);
	gen_glue_jmp(g, g->x->glue.exit[XL_EXIT_INSN]);
}

/* The flags of before are on the host's stack. */
static void gen_slow_popf(struct xl_gen *g, const struct xl_slow *s)
{
	asm_u8(g->a, 0x9d);
	gen_slow_insn(g, s);
}

static void gen_slow_parts(struct xl_gen *g)
{
	unsigned i;

	for (i = 0; i < g->slow_count && !g->a->full; i++) {
		const struct xl_slow *s = &g->slow[i];

		gen_pc(g, s->guest | (s->what == XL_SLOW_MISS && s->group
					      ? XL_PC_GROUP
					      : 0));
		asm_patch(s->site, g->a->rx_delta, asm_here(g->a));
		if (s->what == XL_SLOW_MISS)
			gen_slow_miss(g, s);
		else if (s->what == XL_SLOW_VIEW)
			gen_slow_view(g, s);
		else if (s->what == XL_SLOW_VEC)
			gen_slow_vec(g, s);
		else if (s->what == XL_SLOW_POLL)
			gen_slow_poll(g, s);
		else if (s->what == XL_SLOW_POPF)
			gen_slow_popf(g, s);
		else if (s->what == XL_SLOW_INSN)
			gen_slow_insn(g, s);
		else
			gen_slow_link(g, s);
	}
}

/* --- Leaving
 * ------------------------------------------------------------------ */

void gen_exit(struct xl_gen *g, enum xl_exit why, uint64_t linear)
{
	gen_mov_linear(g, XL_T0, linear);
	gen_glue_jmp(g, g->x->glue.exit[why]);
	g->ended = true;
}

void gen_link_site(struct xl_gen *g, uint64_t target, uint8_t *site)
{
	struct xl_link *l = &g->link[g->b->link_count];
	struct xl_slow *s = gen_slow(g, site);

	l->index = g->b->link_count;
	l->site = site + g->a->rx_delta - g->b->host;
	l->target = target;
	l->mode = g->link_mode;
	l->same_page = (target & ~MEM_PAGE_MASK) == g->page->linear;
	s->what = XL_SLOW_LINK;
	s->kind = g->b->link_count++;
}

void gen_jump(struct xl_gen *g, uint64_t target)
{
	gen_link_site(g, target, asm_jmp_site(g->a));
	g->ended = true;
}

/*
 * The jump cache's slot for the linear address in T0: its offset into T1, and
 * where it is in the state.  Nothing of the instruction has happened yet, so
 * that the interpreter can execute it if nothing is translated there, or
 * nothing can be (the address is not canonical).
 */
static struct xl_rm gen_slot(struct xl_gen *g)
{
	unsigned kind = xl_code_kind(g->page->mode);
	int32_t at = XL_OFF(jump) +
		     (int32_t)(kind * X86_JUMP_SLOTS * sizeof(struct x86_jump));
	struct xl_asm *a = g->a;
	uint8_t *hit;

	gen_t1_changed(g);
	asm_op(a, OP(1, 0xb7), XL_T1, RM_REG(XL_T0));
	asm_lea32(a, XL_T1, RM_SIB(XL_T1, XL_T1, 0, 0));
	asm_load(a, XL_CX, RM_GS8(XL_T1, at));
	asm_lea(a, XL_CX, RM_SIB(XL_CX, XL_T0, 0, 0));
	hit = asm_jrcxz(a);
	gen_glue_call(g, g->x->glue.indirect[kind]);
	asm_land8(a, hit);
	return RM_GS8(XL_T1, at + 8);
}

void gen_indirect(struct xl_gen *g, int32_t pop)
{
	unsigned rsp = xl_map[X86_RSP];
	struct xl_rm to = RM_GS(0);

	g->ended = true;
	if (!g->x->lockstep)
		to = gen_slot(g);
	if (pop)
		asm_lea(g->a, rsp, RM_MEM(rsp, pop));
	if (g->x->lockstep)
		gen_glue_jmp(g, g->x->glue.exit[XL_EXIT_RIP]);
	else
		asm_op(g->a, OP(0, 0xff), 4, to);
}

void gen_indirect_call(struct xl_gen *g)
{
	struct xl_rm word = RM_GS(XL_WORD(XL_RESUME));

	g->ended = true;
	if (!g->x->lockstep)
		asm_load(g->a, XL_T0, gen_slot(g));
	asm_store(g->a, word, XL_T0);
	gen_push_const(g, g->next_rip, true);
	if (g->x->lockstep) {
		asm_load(g->a, XL_T0, word);
		gen_glue_jmp(g, g->x->glue.exit[XL_EXIT_RIP]);
	} else {
		asm_op(g->a, OP(0, 0xff), 4, word);
	}
}

/* --- Blocks
 * -------------------------------------------------------------------- */

/*
 * checked: mov ecx, gs:[id]; mov t1d, gs:[pending]; lea rcx, [rcx+t1-id];
 *	    jrcxz body; jmp check
 * poll:    mov ecx, gs:[pending]; jrcxz body; jmp check
 *
 * Ids are multiples of 4096 and pending is less, so no sum of differences
 * cancels.  check: T0 = block's xl_ref(); jmp glue.
 */
void gen_entries(struct xl_gen *g)
{
	unsigned kind = xl_code_kind(g->page->mode);
	unsigned slot = g->page->linear >> 12 & (X86_CODE_SLOTS - 1);
	struct xl_asm *a = g->a;
	uint8_t *to_body[2], *check;

	asm_load32(a, XL_CX,
		   RM_GS(XL_OFF(tlb.map.id) +
			 (int32_t)(kind * X86_CODE_SLOTS + slot) * 4));
	asm_load32(a, XL_T1, RM_GS(XL_OFF(pending)));
	asm_lea(a, XL_CX, RM_SIB(XL_CX, XL_T1, 0, -(int32_t)g->page->id));
	to_body[0] = asm_jrcxz(a);
	check = asm_here(a);
	asm_mov_imm(a, XL_T0, xl_ref(&g->x->arena, g->b));
	asm_jmp(a, g->x->glue.check);
	g->b->poll = asm_here(a) - g->b->host;
	asm_load32(a, XL_CX, RM_GS(XL_OFF(pending)));
	to_body[1] = asm_jrcxz(a);
	asm_u8(a, 0xeb); /* jmp check */
	asm_u8(a, check - (asm_here(a) + 1));
	asm_land8(a, to_body[0]);
	asm_land8(a, to_body[1]);
	g->b->body = asm_here(a) - g->b->host;
}

/* Bytes of the instruction lie on the next page: mapped as it was? */
static void gen_next_page_guard(struct xl_gen *g)
{
	unsigned kind = xl_code_kind(g->page->mode);
	unsigned slot = g->next_page->linear >> 12 & (X86_CODE_SLOTS - 1);
	uint8_t *same;

	asm_load32(g->a, XL_CX,
		   RM_GS(XL_OFF(tlb.map.id) +
			 (int32_t)(kind * X86_CODE_SLOTS + slot) * 4));
	asm_lea(g->a, XL_CX, RM_MEM(XL_CX, -(int32_t)g->next_page->id));
	same = asm_jrcxz(g->a);
	gen_slow(g, asm_jmp_site(g->a))->what = XL_SLOW_INSN;
	asm_land8(g->a, same);
}

static bool gen_insn(struct xl_gen *g, const struct x86_insn *insn)
{
	switch (insn->desc->cls) {
	case X86_CLASS_INT:
		if (g->x->lockstep &&
		    (insn->op == X86_RDRAND || insn->op == X86_RDSEED))
			return false; /* never the same twice */
		return gen_int(g, insn);
	case X86_CLASS_FLOW:
		return gen_flow(g, insn);
	case X86_CLASS_SYSTEM:
		return gen_sys(g, insn);
	case X86_CLASS_SSE:
	case X86_CLASS_AVX:
	case X86_CLASS_FPSTATE:
		return gen_vec(g, insn);
	default:
		return false;
	}
}

/* Handlers that reach devices or use the vector registers' memory image. */
static bool gen_wants_parked(const struct x86_insn *insn)
{
	switch (insn->desc->cls) {
	case X86_CLASS_INT:
	case X86_CLASS_FLOW:
	case X86_CLASS_STRING:
	case X86_CLASS_SYSTEM:
		return insn->desc->attr & X86_ATTR_IO;
	default:
		return true;
	}
}

/* An instruction that its interpreter handler executes in passing. */
static bool gen_light(struct xl_gen *g, const struct x86_insn *insn)
{
	struct xl_insn *xi;

	/* After a fault it is tried again; ENTER has then overwritten slots
	 * that it reads. */
	if (g->x->lockstep || insn->op == X86_HLT || insn->op == X86_ENTER)
		return false;
	xi = xl_alloc_top(g->x, sizeof(*xi));
	if (!xi)
		return false;
	xi->insn = *insn;
	xi->rip = g->rip;
	interp_select(&xi->insn);
	gen_mov_ref(g, XL_FIX_INSN, xi);
	gen_glue_jmp(g, gen_wants_parked(insn) ? g->x->glue.insn_parked
					       : g->x->glue.insn);
	g->ended = true;
	return true;
}

/* The planned instructions, until one is not for us. */
static void gen_body(struct xl_gen *g)
{
	const struct plan *p = &g->plan;
	bool sti;

	for (g->i = 0; g->i < p->count && !g->ended; g->i++) {
		const struct x86_insn *insn = &p->insn[g->i];

		g->rip = g->page->linear + p->offset[g->i];
		g->next_rip = g->rip + insn->len;
		gen_pc(g, p->offset[g->i]);
		if (p->crosses && g->i == p->count - 1)
			gen_next_page_guard(g);
		sti = g->sti;
		g->sti = false;
		if (xl_breakpoint_at(g->x->cpu, g->rip) ||
		    (!gen_insn(g, insn) && !gen_light(g, insn)))
			gen_exit(g, XL_EXIT_INSN, g->rip);
		/* Interrupts are let in one instruction behind STI. */
		if (sti && !g->ended)
			gen_poll(g, g->next_rip);
	}
	g->b->insn_count = g->i;
	g->b->len = p->offset[g->i] - g->b->offset;
	if (p->crosses && g->i == p->count)
		g->b->len -= p->crosses;
	if (g->ended)
		return;
	g->rip = g->page->linear + p->offset[g->i];
	if (p->end == PLAN_BAD) {
		gen_pc(g, p->offset[g->i]);
		gen_exit(g, XL_EXIT_INSN, g->rip);
		g->b->len = MEM_PAGE_SIZE - g->b->offset;
		if (p->offset[g->i] < MEM_PAGE_SIZE - X86_INSN_MAX)
			g->b->len =
				p->offset[g->i] + X86_INSN_MAX - g->b->offset;
	} else {
		gen_jump(g, g->rip);
	}
}

/*
 * Kernel code stays where it is: it is not worth the memory.  A block with
 * bytes of another page depends on where that is mapped.
 */
static void gen_keep_fixes(struct xl_gen *g)
{
	size_t size = g->fix_count * sizeof(*g->fix);

	if (g->tied || g->plan.crosses || !(g->page->mode & X86_MODE_USER))
		return;
	g->b->fix = xl_alloc(g->x, size ? size : 1);
	g->b->fix_count = g->fix_count;
	if (g->b->fix)
		memcpy(g->b->fix, g->fix, size);
}

static bool gen_finish(struct xl_gen *g)
{
	struct xl *x = g->x;
	struct xl_block *b = g->b;

	gen_slow_parts(g);
	b->host_len = asm_here(g->a) - b->host;
	xl_shrink(x, b->out + b->link_count);
	b->pcs = xl_alloc(x, g->pc_count * sizeof(*b->pcs));
	if (g->a->full || !b->pcs || x->order_count == x->order_max)
		return false;
	memcpy(b->pcs, g->pcs, g->pc_count * sizeof(*b->pcs));
	memcpy(b->out, g->link, b->link_count * sizeof(*b->out));
	b->pc_count = g->pc_count;
	gen_keep_fixes(g);
	xl_add(x, b);
	return true;
}

/* Jumps within the page whose targets exist already need no first time. */
void gen_link_now(struct xl *x, struct xl_block *b)
{
	const struct xl_page *p = b->page;
	struct xl_block *to;
	unsigned i;

	if (p->mode & XL_MODE_SINGLE)
		p = xl_page_find(x, p->linear, p->gpa,
				 p->mode & ~XL_MODE_SINGLE);
	for (i = 0; p && i < b->link_count; i++) {
		struct xl_link *l = &b->out[i];

		if (!l->same_page || l->mode != p->mode)
			continue;
		to = xl_find(x, p, l->target & MEM_PAGE_MASK);
		if (to)
			xl_link(x, l, to);
	}
}

static void gen_plan(struct xl_gen *g, const uint8_t *bytes,
		     const uint8_t *next_bytes, unsigned offset)
{
	plan_make(&g->plan, bytes, next_bytes, offset, g->page->linear,
		  g->page->mode, !(g->page->mode & XL_MODE_SINGLE));
	g->hot = xl_is_hot(g->x, g->page->linear + offset);
	if (g->hot)
		plan_chase(&g->plan, g->x->all_hot);
}

struct xl_block *xl_translate(struct xl *x, struct xl_page *page,
			      unsigned offset, const uint8_t *bytes,
			      struct xl_page *next, const uint8_t *next_bytes)
{
	struct xl_gen *g = &x->gen;

	memset(g, 0, offsetof(struct xl_gen, slow));
	g->x = x;
	g->a = &x->a;
	g->page = page;
	g->tlb_kind = 2 * xl_code_kind(page->mode);
	g->t1_group = -1;
	g->link_mode = page->mode & ~XL_MODE_SINGLE;
	g->next_page = next;
	gen_plan(g, bytes, next_bytes, offset);
	if (g->plan.crosses) { /* its bytes count only once it is marked */
		x86_hold_code(x->cpu, next->gpa, x->cpu->index);
		gen_plan(g, bytes, next_bytes, offset);
	}
	g->b = xl_alloc(x, sizeof(*g->b) + XL_LINKS * sizeof(*g->b->out));
	if (!g->b || x->a.end - x->a.w < 32768)
		return NULL;
	g->b->page = page;
	g->b->offset = offset;
	g->b->hot = g->hot;
	g->b->host = asm_here(&x->a);
	gen_entries(g);
	g->fix_count = 0; /* a copy has entries of its own */
	g->tied = false;
	gen_body(g);
	if (!gen_finish(g))
		return NULL;
	if (!x->lockstep)
		gen_link_now(x, g->b);
	if (g->plan.crosses && g->i == g->plan.count &&
	    !xl_add_note(x, g->b, next, g->plan.crosses))
		return NULL;
	return g->b;
}
