/*
 * plan_chase.c - loops that wait for memory: which addresses were loaded.
 *
 * In `p = p->next` the next address is known only when the load before it is
 * done, and whatever stands between the two counts.  For each register, what
 * its value depends on is followed through the block, as a set of registers
 * as they were at its start.  Where control jumps back, a register that
 * depends on itself by way of a load's address is one that chases.  This is
 * a guess about speed, not about meaning: nothing goes wrong if it is wrong.
 */

#include "cpu/translator/plan.h"

/* Loops longer than that have other things to wait for. */
#define CHASE_LOOP 256

/* Bits by register. */
struct chase_value {
	uint16_t on; /* depends on what these held at the start */
	uint16_t by; /* of them: by way of an address that was loaded from */
};

struct chase {
	struct chase_value reg[16];
	uint16_t address[PLAN_INSNS]; /* what memory operands depend on */
	uint16_t chasing;
};

static bool chase_jumps_back(const struct x86_insn *in)
{
	int64_t by = (int64_t)in->imm;

	return (in->op == X86_JCC || in->op == X86_JMP) && by < 0 &&
	       by > -CHASE_LOOP;
}

static void chase_add(struct chase_value *v, const struct chase *c,
		      unsigned reg)
{
	if (reg >= 16)
		return;
	v->on |= c->reg[reg].on;
	v->by |= c->reg[reg].by;
}

/* What the instruction's result depends on. */
static struct chase_value chase_result(const struct chase *c,
				       const struct x86_insn *in,
				       struct chase_value address)
{
	struct chase_value v = { 0 };
	unsigned i;

	for (i = 0; i < 4; i++) {
		const struct x86_operand *o = &in->o[i];

		if (o->kind == X86_OPND_GPR && o->access & X86_ACC_R)
			chase_add(&v, c, o->reg);
		if (o->kind != X86_OPND_MEM)
			continue;
		v.on |= address.on;
		v.by |= in->op == X86_LEA ? address.by : address.on;
	}
	return v;
}

static void chase_insn(struct chase *c, const struct x86_insn *in, unsigned i)
{
	struct chase_value address = { 0 }, v;
	unsigned j;

	if (in->has_mem) {
		chase_add(&address, c, in->base);
		chase_add(&address, c, in->index);
		c->address[i] = address.on;
	}
	v = chase_result(c, in, address);
	for (j = 0; j < 4; j++)
		if (in->o[j].kind == X86_OPND_GPR &&
		    in->o[j].access & X86_ACC_W)
			c->reg[in->o[j].reg] = v;
	if (!chase_jumps_back(in))
		return;
	for (j = 0; j < 16; j++)
		c->chasing |= c->reg[j].by & 1u << j;
}

static bool chase_loops(const struct plan *p)
{
	unsigned i;

	for (i = 0; i < p->count; i++)
		if (chase_jumps_back(&p->insn[i]))
			return true;
	return false;
}

void plan_chase(struct plan *p, bool all)
{
	struct chase c = { 0 };
	unsigned i;

	if (!all && !chase_loops(p))
		return;
	for (i = 0; i < 16; i++)
		c.reg[i].on = 1u << i;
	for (i = 0; i < p->count; i++)
		chase_insn(&c, &p->insn[i], i);
	for (i = 0; i < p->count; i++) {
		struct plan_access *a = &p->access[i][0];

		a->chases = all || c.address[i] & c.chasing;
		if (a->chases && a->group >= 0)
			p->group[a->group].chases = true;
	}
}
