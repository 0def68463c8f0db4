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
 * If the page has not been in use where it was for a while (its program has
 * ended, most likely), its record and its blocks are moved instead, so that
 * they do not pile up.  Jumps within the page stay linked.
 *
 * A block is current as long as it is in the hash: writes to its bytes take it
 * out (xl_invalidate).
 */
#include <string.h>

#include "cpu/translator/xl.h"

/* How many of a physical page's other places are looked at. */
#define CLONE_TRIES 8
/* Periods without use after which a page is taken away. */
#define CLONE_STALE 2

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

static struct xl_insn *clone_insn(struct xl *x, uint32_t ref,
				  uint64_t linear_delta)
{
	const struct xl_insn *from = xl_deref(&x->arena, ref);
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
		struct xl_insn *xi;
		uint64_t v;
		uint32_t w;

		memcpy(&v, at, sizeof(v));
		w = (uint32_t)v;
		switch ((enum xl_fix)(from->fix[i] >> 14)) {
		case XL_FIX_LINEAR:
			v += linear_delta;
			memcpy(at, &v, sizeof(v));
			continue;
		case XL_FIX_REL:
			w -= (uint32_t)(b->host - from->host);
			break;
		case XL_FIX_BLOCK:
			w += xl_ref(&x->arena, b) - xl_ref(&x->arena, from);
			break;
		case XL_FIX_INSN:
			xi = clone_insn(x, w, linear_delta);
			if (!xi)
				return false;
			w = xl_ref(&x->arena, xi);
			break;
		}
		memcpy(at, &w, sizeof(w));
	}
	return true;
}

static void clone_links(struct xl *x, struct xl_block *b,
			const struct xl_block *from)
{
	unsigned i;

	b->link_count = from->link_count;
	for (i = 0; i < from->link_count; i++) {
		struct xl_link *l = &b->out[i];

		*l = from->out[i];
		l->next_in = NULL;
		l->target += b->page->linear - from->page->linear;
		xl_unlink(x, l);
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

/* Breakpoints are at linear addresses, and compiled in. */
static bool clone_has_breakpoints(const struct xl *x)
{
	const struct x86_debug *d = x->cpu->xm->debug;

	return d && d->bp_count;
}

struct xl_block *xl_clone(struct xl *x, struct xl_page *page, unsigned offset)
{
	const struct xl_block *from = clone_source(x, page, offset);
	uint8_t *code = x->a.w;
	struct xl_block *b;

	if (!from || clone_has_breakpoints(x) || x->order_count == x->order_max)
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

/* --- Moving ------------------------------------------------------------------
 */

/* Single-access code is used where the page's other code is. */
static bool move_is_stale(struct xl *x, const struct xl_page *p)
{
	const struct xl_page *used = p;

	if (p->mode & XL_MODE_SINGLE)
		used = xl_page_find(x, p->linear, p->gpa,
				    p->mode & ~XL_MODE_SINGLE);
	return !used || xl_epoch() - used->used >= CLONE_STALE;
}

static struct xl_page *move_source(struct xl *x, const struct xl_phys *phys,
				   uint32_t mode, const struct xl_page *keep)
{
	struct xl_page *p = phys->pages;
	unsigned i;

	for (i = 0; p && i < CLONE_TRIES; p = p->next_phys, i++)
		if (p->mode == mode && p->blocks && p != keep &&
		    move_is_stale(x, p))
			return p;
	return NULL;
}

static void move_fix(const struct xl *x, const struct xl_block *b,
		     uint8_t *code, uint64_t delta)
{
	unsigned i;

	for (i = 0; i < b->fix_count; i++) {
		uint8_t *at = code + (b->fix[i] & XL_FIX_AT);
		struct xl_insn *xi;
		uint64_t v;

		memcpy(&v, at, sizeof(v));
		switch ((enum xl_fix)(b->fix[i] >> 14)) {
		case XL_FIX_LINEAR:
			v += delta;
			memcpy(at, &v, sizeof(v));
			break;
		case XL_FIX_INSN:
			xi = xl_deref(&x->arena, (uint32_t)v);
			xi->rip += delta;
			break;
		case XL_FIX_REL:
		case XL_FIX_BLOCK:
			break;
		}
	}
}

static void move_block(struct xl *x, struct xl_block *b, uint64_t delta)
{
	uint8_t *code = b->host - x->a.rx_delta;
	struct xl_asm a = x->a;
	unsigned i;

	x->a.w = code;
	clone_entries(x, b, b);
	x->a = a;
	move_fix(x, b, code, delta);
	for (i = 0; i < b->link_count; i++)
		b->out[i].target += delta;
	b->single = NULL;
	b->ticks = 0;
	x->moved++;
}

struct xl_page *xl_move_page(struct xl *x, uint64_t linear, uint64_t gpa,
			     uint32_t mode, const struct xl_page *keep)
{
	const struct xl_phys *phys;
	struct xl_page *p;
	struct xl_block *b;
	uint64_t delta;

	if (!(mode & X86_MODE_USER) || clone_has_breakpoints(x))
		return NULL;
	phys = xl_phys_find(x, gpa);
	p = phys ? move_source(x, phys, mode, keep) : NULL;
	if (!p)
		return NULL;
	delta = linear - p->linear;
	if (!xl_page_rekey(x, p, linear))
		return NULL;
	for (b = p->blocks; b; b = b->next_page)
		move_block(x, b, delta);
	p->used = xl_epoch();
	return p;
}
