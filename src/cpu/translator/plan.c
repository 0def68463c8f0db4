#include "cpu/translator/plan.h"

#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/mmu.h"

/*
 * A register's value as symbol + constant.  Equal symbols are equal values;
 * symbol PLAN_CONST is 0.
 */
#define PLAN_CONST 1u
struct plan_value {
	uint32_t sym;
	uint64_t delta;
};

/* A sum of two symbols, the second shifted, is a symbol of its own. */
#define PLAN_SUMS 32
struct plan_sum {
	uint32_t base, index, sym;
	uint8_t scale;
};

struct plan_state {
	struct plan *p;
	struct plan_value reg[16];
	struct plan_sum sum[PLAN_SUMS];
	unsigned sum_count;
	uint32_t next_sym;
	unsigned epoch;
	uint64_t next_rip;
};

static void plan_forget(struct plan_state *s, unsigned reg)
{
	s->reg[reg] = (struct plan_value){ s->next_sym++, 0 };
}

static void plan_forget_all(struct plan_state *s)
{
	unsigned i;

	for (i = 0; i < 16; i++)
		plan_forget(s, i);
}

/* --- Groups ----------------------------------------------------------------
 */

static uint64_t plan_min(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0 ? a : b;
}

static bool plan_fits(const struct plan_state *s, const struct plan_group *g,
		      const struct plan_value *at, unsigned size, bool write)
{
	uint64_t lo, hi;

	if (g->sym != at->sym)
		return false;
	if (write && !g->write && g->epoch != s->epoch)
		return false; /* the write may never come to pass */
	lo = plan_min(g->lo, at->delta);
	hi = g->hi - plan_min(0, g->hi - (at->delta + size));
	return hi - lo <= PLAN_RANGE;
}

static void plan_add(struct plan_state *s, struct plan_access *a,
		     const struct plan_value *at, unsigned size, bool write)
{
	struct plan *p = s->p;
	struct plan_group *g;
	unsigned i = p->group_count;

	while (i > 0 && !plan_fits(s, &p->group[i - 1], at, size, write))
		i--;
	if (i > 0) {
		g = &p->group[i - 1];
		g->lo = plan_min(g->lo, at->delta);
		g->hi -= plan_min(0, g->hi - (at->delta + size));
		g->write |= write;
		g->count++;
		a->group = i - 1;
		a->offset = at->delta;
		return;
	}
	if (p->group_count == PLAN_GROUPS)
		return;
	a->group = p->group_count++;
	a->first = true;
	a->offset = at->delta;
	p->group[a->group] = (struct plan_group){
		.sym = at->sym,
		.lo = at->delta,
		.hi = at->delta + size,
		.write = write,
		.epoch = s->epoch,
		.count = 1,
	};
}

/* --- What instructions access
 * ------------------------------------------------- */

/* base + index << scale; false: no room for another sum. */
static bool plan_indexed(struct plan_state *s, const struct x86_insn *in,
			 struct plan_value *at)
{
	struct plan_value base = { PLAN_CONST, 0 }, index;
	struct plan_sum *sum = s->sum;

	if (in->base < 16)
		base = s->reg[in->base];
	index = s->reg[in->index];
	while (sum < s->sum + s->sum_count &&
	       (sum->base != base.sym || sum->index != index.sym ||
		sum->scale != in->scale))
		sum++;
	if (sum == s->sum + PLAN_SUMS)
		return false;
	if (sum == s->sum + s->sum_count) {
		*sum = (struct plan_sum){ base.sym, index.sym, s->next_sym++,
					  in->scale };
		s->sum_count++;
	}
	at->sym = sum->sym;
	at->delta = base.delta + (index.delta << in->scale) + in->disp;
	return true;
}

static void plan_operand(struct plan_state *s, const struct x86_insn *in,
			 struct plan_access *a)
{
	struct plan_value at;
	unsigned i, size = 0;
	bool write = false;

	for (i = 0; i < 4; i++)
		if (in->o[i].kind == X86_OPND_MEM) {
			size = in->o[i].size;
			write = in->o[i].access & X86_ACC_W;
		}
	if (!size || size > 32 || size & (size - 1) || in->addrsize != 8 ||
	    in->seg == X86_FS || in->seg == X86_GS ||
	    in->desc->attr & X86_ATTR_VSIB ||
	    in->disp < INT32_MIN + PLAN_RANGE) /* its group may reach lower */
		return;
	if (in->index != X86_NO_REG) {
		if (!plan_indexed(s, in, &at))
			return;
	} else if (in->base == X86_REG_RIP)
		at = (struct plan_value){ PLAN_CONST, s->next_rip + in->disp };
	else if (in->base < 16)
		at = (struct plan_value){ s->reg[in->base].sym,
					  s->reg[in->base].delta + in->disp };
	else
		return;
	plan_add(s, a, &at, size, write);
}

static void plan_stack(struct plan_state *s, const struct x86_insn *in,
		       struct plan_access *a)
{
	struct plan_value at = s->reg[X86_RSP];

	if (in->opsize != 8)
		return;
	switch (in->op) {
	case X86_PUSH:
	case X86_CALL:
	case X86_CALL_IND:
	case X86_PUSHF:
		at.delta -= 8;
		plan_add(s, a, &at, 8, true);
		break;
	case X86_POP:
	case X86_RET:
	case X86_POPF:
		plan_add(s, a, &at, 8, false);
		break;
	case X86_LEAVE:
		plan_add(s, a, &s->reg[X86_RBP], 8, false);
		break;
	}
}

/* --- What instructions do to registers
 * ------------------------------------------ */

static void plan_written(struct plan_state *s, const struct x86_insn *in)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		if (in->o[i].access & X86_ACC_W) {
			if (in->o[i].kind == X86_OPND_GPR)
				plan_forget(s, in->o[i].reg);
			else if (in->o[i].kind == X86_OPND_GPR_HIGH8)
				plan_forget(s, in->o[i].reg);
		}
}

static bool plan_add_const(struct plan_state *s, const struct x86_insn *in)
{
	const struct x86_operand *o = in->o;

	if ((in->op != X86_ADD && in->op != X86_SUB) || in->opsize != 8 ||
	    o[0].kind != X86_OPND_GPR || o[1].kind != X86_OPND_IMM)
		return false;
	s->reg[o[0].reg].delta += in->op == X86_ADD ? in->imm : -in->imm;
	return true;
}

static bool plan_copy(struct plan_state *s, const struct x86_insn *in)
{
	const struct x86_operand *o = in->o;

	if (in->opsize != 8 || o[0].kind != X86_OPND_GPR)
		return false;
	if (in->op == X86_MOV && o[1].kind == X86_OPND_GPR) {
		s->reg[o[0].reg] = s->reg[o[1].reg];
		return true;
	}
	if (in->op == X86_LEA && in->addrsize == 8 && in->base < 16 &&
	    in->index == X86_NO_REG) {
		struct plan_value v = s->reg[in->base];

		v.delta += in->disp;
		s->reg[o[0].reg] = v;
		return true;
	}
	return false;
}

/* Registers that are written without being operands. */
static void plan_implicit(struct plan_state *s, const struct x86_insn *in)
{
	switch (in->op) {
	case X86_PUSH:
	case X86_CALL:
	case X86_CALL_IND:
	case X86_PUSHF:
		s->reg[X86_RSP].delta -= in->opsize;
		break;
	case X86_POP:
	case X86_POPF:
		s->reg[X86_RSP].delta += in->opsize;
		break;
	case X86_LEAVE:
		s->reg[X86_RSP] = s->reg[X86_RBP];
		s->reg[X86_RSP].delta += in->opsize;
		plan_forget(s, X86_RBP);
		break;
	case X86_MUL:
	case X86_IMUL1:
	case X86_DIV:
	case X86_IDIV:
	case X86_CMPXCHG8B:
	case X86_CMPXCHG16B:
	case X86_CWD:
	case X86_CBW:
	case X86_CMPXCHG:
	case X86_LAHF:
		plan_forget(s, X86_RAX);
		plan_forget(s, X86_RDX);
		break;
	case X86_LOOP:
		plan_forget(s, X86_RCX);
		break;
	}
}

static void plan_effects(struct plan_state *s, const struct x86_insn *in)
{
	switch (in->desc->cls) {
	case X86_CLASS_INT:
	case X86_CLASS_FLOW:
	case X86_CLASS_SSE:
	case X86_CLASS_AVX:
		break;
	default:
		if (in->op == X86_CLI || in->op == X86_STI ||
		    in->op == X86_SWAPGS)
			return;
		plan_forget_all(s);
		return;
	}
	if (plan_add_const(s, in) || plan_copy(s, in))
		return;
	plan_implicit(s, in);
	plan_written(s, in);
}

/* --- The block
 * ------------------------------------------------------------------- */

/* Does it access its memory operand? */
static bool plan_touches(const struct x86_insn *in)
{
	switch (in->op) {
	case X86_LEA:
	case X86_NOP:
	case X86_PREFETCH:
		return false;
	case X86_BT:
	case X86_BTS:
	case X86_BTR:
	case X86_BTC:
		return in->o[1].kind == X86_OPND_IMM; /* else elsewhere */
	default:
		return true;
	}
}

static void plan_group(struct plan *p, uint64_t linear)
{
	struct plan_state s = { .p = p, .next_sym = PLAN_CONST + 1 };
	unsigned i;

	plan_forget_all(&s);
	for (i = 0; i < p->count; i++) {
		const struct x86_insn *in = &p->insn[i];

		s.next_rip = linear + p->offset[i] + in->len;
		if (in->has_mem && plan_touches(in))
			plan_operand(&s, in, &p->access[i][0]);
		plan_stack(&s, in, &p->access[i][1]);
		plan_effects(&s, in);
		if (in->op == X86_JCC)
			s.epoch++;
	}
}

static bool plan_ends(const struct x86_insn *in)
{
	switch (in->op) { /* these are passed through: gen_sys.c */
	case X86_JCC:
	case X86_CLI:
	case X86_STI:
	case X86_SWAPGS:
	case X86_PUSHF:
	case X86_POPF:
	case X86_RDTSC:
	case X86_RDTSCP:
		return false;
	}
	return in->desc->cls == X86_CLASS_FLOW ||
	       in->desc->cls == X86_CLASS_SYSTEM ||
	       in->desc->cls == X86_CLASS_STRING ||
	       in->desc->attr & X86_ATTR_END;
}

/* The instruction that begins on this page and ends on the next. */
static bool plan_crossing(struct plan *p, const uint8_t *bytes,
			  const uint8_t *next, unsigned offset, uint32_t mode)
{
	unsigned here = MEM_PAGE_SIZE - offset;
	uint8_t both[X86_INSN_MAX];

	if (!next || here >= X86_INSN_MAX)
		return false;
	memcpy(both, bytes + offset, here);
	memcpy(both + here, next, X86_INSN_MAX - here);
	if (x86_decode(&p->insn[p->count], both, X86_INSN_MAX, mode) !=
	    X86_DECODE_OK)
		return false;
	p->crosses = p->insn[p->count].len - here;
	return true;
}

void plan_make(struct plan *p, const uint8_t *bytes, const uint8_t *next,
	       unsigned offset, uint64_t linear, uint32_t mode, bool group)
{
	unsigned i, jccs = 0;

	p->count = p->group_count = p->crosses = 0;
	p->end = PLAN_FULL;
	while (p->count < PLAN_INSNS && jccs < PLAN_JCCS &&
	       offset < MEM_PAGE_SIZE) {
		struct x86_insn *in = &p->insn[p->count];

		p->offset[p->count] = offset;
		if (x86_decode(in, bytes + offset, MEM_PAGE_SIZE - offset,
			       mode) != X86_DECODE_OK &&
		    !plan_crossing(p, bytes, next, offset, mode)) {
			p->end = PLAN_BAD;
			break;
		}
		offset += in->len;
		p->count++;
		jccs += in->op == X86_JCC;
		if (plan_ends(in)) {
			p->end = PLAN_FLOW;
			break;
		}
	}
	p->offset[p->count] = offset;
	for (i = 0; i < p->count; i++)
		p->access[i][0] = p->access[i][1] =
			(struct plan_access){ .group = -1 };
	if (group)
		plan_group(p, linear);
}
