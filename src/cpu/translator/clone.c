/*
 * clone.c - code of a page that is mapped somewhere else now.
 *
 * Every start of a program puts its libraries at other linear addresses, by
 * address space randomisation, while their pages are the same physical ones.
 * Translating is ten times as dear as copying: a block that was made of the
 * same bytes in the same mode is copied, and what depends on the linear
 * address or on where the code lies is changed (enum xl_fix).  The entries
 * check the new page, so they are made anew; the jumps out start unlinked.
 *
 * A block is current as long as it is in the hash: writes to its bytes take it
 * out (xl_invalidate).
 */
#include <string.h>

#include "cpu/translator/xl.h"

/* How many of a physical page's other places are looked at. */
#define CLONE_TRIES 8

static struct xl_block *clone_source(struct xl *x, const struct xl_page *page,
				     unsigned offset)
{
	const struct xl_page *p = page->phys->pages;
	struct xl_block *b;
	unsigned i;

	for (i = 0; p && i < CLONE_TRIES; p = p->next_phys, i++) {
		if (p == page || p->mode != page->mode)
			continue;
		b = xl_find(x, p, offset);
		if (b)
			return b->fix ? b : NULL;
	}
	return NULL;
}

static struct xl_insn *clone_insn(struct xl *x, const struct xl_insn *from,
				  uint64_t linear_delta)
{
	struct xl_insn *xi = xl_alloc_top(x, sizeof(*xi));

	if (!xi)
		return NULL;
	*xi = *from;
	xi->rip += linear_delta;
	return xi;
}

/* code: where the copy lies, in the writable view. */
static bool clone_fix(struct xl *x, const struct xl_block *b,
		      const struct xl_block *from, uint8_t *code)
{
	uint64_t linear_delta = b->page->linear - from->page->linear;
	unsigned i;

	for (i = 0; i < from->fix_count; i++) {
		uint8_t *at = code + (from->fix[i] & XL_FIX_AT);
		uint64_t v = 0;
		uint32_t rel;

		memcpy(&v, at, sizeof(v));
		switch ((enum xl_fix)(from->fix[i] >> 14)) {
		case XL_FIX_LINEAR:
			v += linear_delta;
			break;
		case XL_FIX_REL:
			rel = (uint32_t)v - (uint32_t)(b->host - from->host);
			memcpy(at, &rel, sizeof(rel));
			continue;
		case XL_FIX_BLOCK:
			v += (uintptr_t)b - (uintptr_t)from;
			break;
		case XL_FIX_INSN:
			v = (uintptr_t)clone_insn(
				x, (struct xl_insn *)(uintptr_t)v,
				linear_delta);
			if (!v)
				return false;
			break;
		}
		memcpy(at, &v, sizeof(v));
	}
	return true;
}

static void clone_links(struct xl *x, struct xl_block *b,
			const struct xl_block *from)
{
	ptrdiff_t moved = b->host - from->host;
	unsigned i;

	b->link_count = from->link_count;
	for (i = 0; i < from->link_count; i++) {
		struct xl_link *l = &b->out[i];

		*l = from->out[i];
		l->from = b;
		l->to = NULL;
		l->next_in = NULL;
		l->site += moved;
		l->unlinked += moved;
		l->target += b->page->linear - from->page->linear;
		asm_patch(l->site, x->a.rx_delta, l->unlinked);
	}
}

/* The generator makes the entries; false: they are not as long as those. */
static bool clone_entries(struct xl *x, struct xl_block *b,
			  const struct xl_block *from)
{
	struct xl_gen *g = &x->gen;

	g->x = x;
	g->a = &x->a;
	g->page = b->page;
	g->b = b;
	g->fix_count = 0;
	gen_entries(g);
	return b->body == from->body && b->poll == from->poll;
}

static bool clone_code(struct xl *x, struct xl_block *b,
		       const struct xl_block *from)
{
	uint8_t *code = x->a.w;

	if (x->a.end - code < (ptrdiff_t)from->host_len + 64 ||
	    !clone_entries(x, b, from))
		return false;
	memcpy(x->a.w, from->host + from->body, from->host_len - from->body);
	x->a.w = code + from->host_len;
	return clone_fix(x, b, from, code);
}

struct xl_block *xl_clone(struct xl *x, struct xl_page *page, unsigned offset)
{
	const struct xl_block *from = clone_source(x, page, offset);
	uint8_t *code = x->a.w;
	struct xl_block *b;

	/* Breakpoints are at linear addresses, and compiled in. */
	if (!from || (x->cpu->xm->debug && x->cpu->xm->debug->bp_count) ||
	    x->order_count == x->order_max)
		return NULL;
	b = xl_alloc(x, sizeof(*b) + from->link_count * sizeof(*b->out));
	if (!b)
		return NULL;
	*b = (struct xl_block){ .page = page,
				.offset = offset,
				.len = from->len,
				.insn_count = from->insn_count,
				.pc_count = from->pc_count,
				.host = asm_here(&x->a),
				.host_len = from->host_len,
				.pcs = from->pcs,
				.fix = from->fix,
				.fix_count = from->fix_count };
	if (!clone_code(x, b, from)) {
		x->a.w = code;
		return NULL;
	}
	clone_links(x, b, from);
	xl_add(x, b);
	x->copied++;
	if (!x->lockstep)
		gen_link_now(x, b);
	return b;
}
