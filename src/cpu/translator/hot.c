/*
 * hot.c - blocks that the guest spends its time in.
 *
 * Each interrupt finds the vCPU at the start of some block, mostly of a loop.
 * A block that was found so, or that the one found jumps to, a few times is
 * hot.  It is dropped and made once more, then with what pays only there:
 * plan_chase() and gen_view.c.  Of code that runs a little while, no block is.
 */
#include "cpu/translator/xl.h"

#define HOT_TICKS 3

bool xl_is_hot(const struct xl *x, uint64_t linear)
{
	unsigned i;

	if (x->all_hot)
		return true;
	for (i = 0; i < XL_HOT; i++)
		if (x->hot.at[i] == linear)
			return linear;
	return false;
}

static void hot_count(struct xl *x, struct xl_block *b)
{
	if (b->hot || !(b->page->mode & X86_MODE_USER) ||
	    ++b->ticks < HOT_TICKS)
		return;
	x->hot.at[x->hot.next++ % XL_HOT] = b->page->linear + b->offset;
	xl_drop(x, b);
}

void xl_hot_tick(struct xl *x, struct xl_block *b)
{
	unsigned i;

	for (i = 0; i < b->link_count; i++)
		if (b->out[i].to && b->out[i].to != b)
			hot_count(x, b->out[i].to);
	hot_count(x, b);
}
