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
	if (insn->addrsize == 4)
		*out = (uint32_t)*out;
	return true;
}

/* LEA dst, [base + index << scale + disp], without the segment. */
void gen_lea(struct xl_gen *g, const struct x86_insn *insn, unsigned dst)
{
	struct xl_rm rm = RM_MEM(H_NONE, insn->disp);
	uint64_t addr;

	if (gen_const_address(g, insn, &addr)) {
		asm_mov_imm(g->a, dst, addr);
		return;
	}
	if (insn->base != X86_NO_REG)
		rm.base = gen_read(g, insn->base, XL_T0);
	if (insn->index != X86_NO_REG) {
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
	s->guest = g->rip & MEM_PAGE_MASK;
	return s;
}

static void gen_pc(struct xl_gen *g, unsigned guest)
{
	g->pcs[g->pc_count].host = asm_here(g->a) - g->b->host;
	g->pcs[g->pc_count++].guest = guest;
}

/*
 *	shrx	t1, ea, 12
 *	movzx	t1d, t1w
 *	mov	rcx, gs:[t1 * 8 + neg]
 *	lea	rcx, [rcx + ea + size - 1]
 *	shrx	rcx, rcx, 12
 *	jrcxz	hit
 *	jmp	miss
 * hit:	mov	t1, gs:[t1 * 8 + addend]
 */
struct xl_rm gen_check(struct xl_gen *g, unsigned ea, unsigned size, bool write)
{
	unsigned kind = g->tlb_kind | write;
	int32_t at = (int32_t)(kind * X86_TLB_SIZE * 8);
	struct xl_asm *a = g->a;
	struct xl_slow *s;
	uint8_t *hit;

	asm_shrx(a, XL_T1, ea, XL_SHIFT);
	asm_op(a, OP(1, 0xb7), XL_T1, RM_REG(XL_T1));
	asm_load(a, XL_CX, RM_GS8(XL_T1, XL_OFF(tlb.neg) + at));
	asm_lea(a, XL_CX, RM_SIB(XL_CX, ea, 0, (int32_t)size - 1));
	asm_shrx(a, XL_CX, XL_CX, XL_SHIFT);
	hit = asm_jrcxz(a);
	s = gen_slow(g, asm_jmp_site(a));
	asm_land8(a, hit);
	s->what = XL_SLOW_MISS;
	s->back = asm_here(a);
	s->kind = kind;
	s->log2 = __builtin_ctz(size);
	s->ea = ea;
	asm_load(a, XL_T1, RM_GS8(XL_T1, XL_OFF(tlb.addend) + at));
	return RM_SIB(ea, XL_T1, 0, 0);
}

static void gen_slow_miss(struct xl_gen *g, const struct xl_slow *s)
{
	asm_mov_rr(g->a, XL_T0, s->ea);
	asm_call(g->a, g->x->glue.miss[s->kind][s->log2]);
	asm_jmp(g->a, s->back);
}

static void gen_slow_vec(struct xl_gen *g, const struct xl_slow *s)
{
	asm_call(g->a, g->x->glue.vec_load);
	asm_jmp(g->a, s->back);
}

static void gen_slow_link(struct xl_gen *g, const struct xl_slow *s)
{
	struct xl_link *l = &g->b->out[s->kind];

	l->unlinked = asm_here(g->a);
	asm_mov_imm(g->a, XL_T0, (uintptr_t)l);
	asm_jmp(g->a, g->x->glue.exit[XL_EXIT_LINK]);
}

static void gen_slow_parts(struct xl_gen *g)
{
	unsigned i;

	for (i = 0; i < g->slow_count && !g->a->full; i++) {
		const struct xl_slow *s = &g->slow[i];

		gen_pc(g, s->guest);
		asm_patch(s->site, g->a->rx_delta, asm_here(g->a));
		if (s->what == XL_SLOW_MISS)
			gen_slow_miss(g, s);
		else if (s->what == XL_SLOW_VEC)
			gen_slow_vec(g, s);
		else
			gen_slow_link(g, s);
	}
}

/* --- Leaving
 * ------------------------------------------------------------------ */

void gen_exit(struct xl_gen *g, enum xl_exit why, uint64_t arg)
{
	asm_mov_imm(g->a, XL_T0, arg);
	asm_jmp(g->a, g->x->glue.exit[why]);
	g->ended = true;
}

void gen_link_site(struct xl_gen *g, unsigned link, uint64_t target,
		   uint8_t *site)
{
	struct xl_link *l = &g->b->out[link];
	struct xl_slow *s = gen_slow(g, site);

	l->from = g->b;
	l->site = site;
	l->target = target;
	l->same_page = (target & ~MEM_PAGE_MASK) == g->page->linear;
	s->what = XL_SLOW_LINK;
	s->kind = link;
}

void gen_jump(struct xl_gen *g, unsigned link, uint64_t target)
{
	gen_link_site(g, link, target, asm_jmp_site(g->a));
	g->ended = true;
}

/* Jumps to the linear address in T0 by the jump cache. */
void gen_indirect(struct xl_gen *g)
{
	unsigned kind = xl_code_kind(g->page->mode);
	int32_t at = XL_OFF(jump) +
		     (int32_t)(kind * X86_JUMP_SLOTS * sizeof(struct x86_jump));
	struct xl_asm *a = g->a;
	uint8_t *hit;

	g->ended = true;
	if (g->x->lockstep) {
		asm_jmp(a, g->x->glue.exit[XL_EXIT_RIP]);
		return;
	}
	asm_op(a, OP(1, 0xb7), XL_T1, RM_REG(XL_T0));
	asm_lea32(a, XL_T1, RM_SIB(XL_T1, XL_T1, 0, 0));
	asm_load(a, XL_CX, RM_GS8(XL_T1, at));
	asm_lea(a, XL_CX, RM_SIB(XL_CX, XL_T0, 0, 0));
	hit = asm_jrcxz(a);
	asm_jmp(a, g->x->glue.indirect[kind]);
	asm_land8(a, hit);
	asm_op(a, OP(0, 0xff), 4, RM_GS8(XL_T1, at + 8));
}

/* --- Blocks
 * -------------------------------------------------------------------- */

/*
 * checked: mov ecx, gs:[id]; mov t1d, gs:[pending]; lea rcx, [rcx+t1-id];
 *	    jrcxz body; jmp check
 * poll:    mov ecx, gs:[pending]; jrcxz body; jmp check
 *
 * Ids are multiples of 4096 and pending is less, so no sum of differences
 * cancels.  check: T0 = block; jmp glue.
 */
static void gen_entries(struct xl_gen *g)
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
	asm_mov_imm(a, XL_T0, (uintptr_t)g->b);
	asm_jmp(a, g->x->glue.check);
	g->b->poll = asm_here(a) - g->b->host;
	asm_load32(a, XL_CX, RM_GS(XL_OFF(pending)));
	to_body[1] = asm_jrcxz(a);
	asm_jmp(a, check);
	asm_land8(a, to_body[0]);
	asm_land8(a, to_body[1]);
	g->b->body = asm_here(a) - g->b->host;
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
	case X86_CLASS_SSE:
	case X86_CLASS_AVX:
	case X86_CLASS_FPSTATE:
		return gen_vec(g, insn);
	default:
		return false;
	}
}

/*
 * Instructions that their interpreter handlers execute in passing.  Not those
 * that reach devices, or need the vector registers in memory; nor ENTER, which
 * after a fault in its middle must not be tried twice: it copies stack slots
 * that it may have written itself.
 */
static bool gen_light(struct xl_gen *g, const struct x86_insn *insn)
{
	struct xl_insn *xi;

	if (g->x->lockstep)
		return false;
	switch (insn->desc->cls) {
	case X86_CLASS_INT: case X86_CLASS_FLOW:
	case X86_CLASS_STRING: case X86_CLASS_SYSTEM:
		break;
	default:
		return false;
	}
	if (insn->desc->attr & X86_ATTR_IO || insn->op == X86_HLT ||
	    insn->op == X86_ENTER)
		return false;
	xi = xl_alloc(g->x, sizeof(*xi));
	if (!xi)
		return false;
	xi->insn = *insn;
	xi->rip = g->rip;
	interp_select(&xi->insn);
	asm_mov_imm(g->a, XL_T0, (uintptr_t)xi);
	asm_jmp(g->a, g->x->glue.insn);
	g->ended = true;
	return true;
}

/* Instructions until the block ends, is full, or one is not for us. */
static void gen_body(struct xl_gen *g, unsigned offset, const uint8_t *bytes)
{
	struct x86_insn insn;

	while (!g->ended) {
		unsigned left = MEM_PAGE_SIZE - offset;

		g->rip = g->page->linear + offset;
		if (g->b->insn_count == XL_BLOCK_INSNS || left == 0) {
			gen_jump(g, 0, g->rip);
			break;
		}
		gen_pc(g, offset);
		if (xl_breakpoint_at(g->x->cpu, g->rip) ||
		    x86_decode(&insn, bytes + offset, left, g->page->mode) !=
			    X86_DECODE_OK) {
			gen_exit(g, XL_EXIT_INSN, g->rip);
			offset += left < 15 ? left : 15;
			break;
		}
		offset += insn.len;
		g->next_rip = g->rip + insn.len;
		g->b->insn_count++;
		if (!gen_insn(g, &insn) && !gen_light(g, &insn))
			gen_exit(g, XL_EXIT_INSN, g->rip);
	}
	g->b->len = offset - g->b->offset;
}

static bool gen_finish(struct xl_gen *g)
{
	struct xl *x = g->x;
	struct xl_block *b = g->b;

	gen_slow_parts(g);
	b->host_len = asm_here(g->a) - b->host;
	b->pcs = xl_alloc(x, g->pc_count * sizeof(*b->pcs));
	if (g->a->full || !b->pcs || x->order_count == x->order_max)
		return false;
	memcpy(b->pcs, g->pcs, g->pc_count * sizeof(*b->pcs));
	b->pc_count = g->pc_count;
	xl_add(x, b);
	return true;
}

struct xl_block *xl_translate(struct xl *x, struct xl_page *page,
			      unsigned offset, const uint8_t *bytes)
{
	struct xl_gen *g = &x->gen;

	memset(g, 0, offsetof(struct xl_gen, slow));
	g->slow_count = g->pc_count = 0;
	g->x = x;
	g->a = &x->a;
	g->page = page;
	g->tlb_kind = 2 * xl_code_kind(page->mode);
	g->b = xl_alloc(x, sizeof(*g->b));
	if (!g->b || x->a.end - x->a.w < 16384)
		return NULL;
	g->b->page = page;
	g->b->offset = offset;
	g->b->host = asm_here(&x->a);
	gen_entries(g);
	gen_body(g, offset, bytes);
	return gen_finish(g) ? g->b : NULL;
}
