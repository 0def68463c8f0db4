/*
 * code.c - where translated code lives: memory, lookup, links, invalidation.
 *
 * Code memory is one memory file mapped twice: a writable view for us, an
 * executable one for the processor, never both at one address.  Code and the
 * records about it are allocated by moving a pointer; when either is full,
 * everything is dropped and translated again as it is needed.
 *
 * Invalidation takes a block out of the hash, points the jumps that were
 * linked to it back at their exits, clears its slot in the jump cache, and
 * overwrites its checked entry, to which a vCPU may be on its way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/translator/xl.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/sync.h"

#define XL_CODE_SIZE  (19u << 20)
#define XL_ARENA_SIZE (14u << 20)
#define XL_ORDER_MAX  (128u << 10)
/* For each piece of code memory, how many blocks begin before its end; 0: none
 * begins in it. */
#define XL_PIECE_SHIFT 10
#define XL_PIECES      (XL_CODE_SIZE >> XL_PIECE_SHIFT)

static void *code_reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int code_map_views(struct xl *x)
{
	int fd = memfd_create("hostel-code", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, XL_CODE_SIZE) == 0) {
		x->rw = mmap(NULL, XL_CODE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED, fd, 0);
		x->rx = mmap(NULL, XL_CODE_SIZE, PROT_READ | PROT_EXEC,
			     MAP_SHARED, fd, 0);
	}
	close(fd);
	if (x->rw == MAP_FAILED || x->rx == MAP_FAILED || !x->rw || !x->rx)
		return -ENOMEM;
	x->code_size = XL_CODE_SIZE;
	return 0;
}

int xl_code_init(struct xl *x, struct err *err)
{
	int rc = code_map_views(x);

	x->arena.base = code_reserve(XL_ARENA_SIZE);
	x->arena.top = XL_ARENA_SIZE;
	x->order = code_reserve(XL_ORDER_MAX * sizeof(*x->order));
	x->order_max = XL_ORDER_MAX;
	x->order_at = code_reserve(XL_PIECES * sizeof(*x->order_at));
	if (rc || !x->arena.base || !x->order || !x->order_at)
		return err_set(err, ENOMEM,
			       "no memory for translated code: the host "
			       "refuses %u MiB (executable memory file)",
			       XL_CODE_SIZE >> 20);
	x->a = (struct xl_asm){ .w = x->rw,
				.end = x->rw + x->code_size,
				.rx_delta = x->rx - x->rw };
	x->next_id = 1;
	return 0;
}

void xl_code_free(struct xl *x)
{
	if (x->rw && x->rw != MAP_FAILED)
		munmap(x->rw, XL_CODE_SIZE);
	if (x->rx && x->rx != MAP_FAILED)
		munmap(x->rx, XL_CODE_SIZE);
	if (x->arena.base)
		munmap(x->arena.base, XL_ARENA_SIZE);
	if (x->order)
		munmap(x->order, XL_ORDER_MAX * sizeof(*x->order));
	if (x->order_at)
		munmap(x->order_at, XL_PIECES * sizeof(*x->order_at));
}

void *xl_alloc(struct xl *x, size_t size)
{
	void *p = x->arena.base + x->arena.used;

	size = (size + 7) & ~(size_t)7;
	if (x->arena.top - x->arena.used < size)
		return NULL;
	x->arena.used += size;
	return memset(p, 0, size);
}

void *xl_alloc_top(struct xl *x, size_t size)
{
	size = (size + 7) & ~(size_t)7;
	if (x->arena.top - x->arena.used < size)
		return NULL;
	x->arena.top -= size;
	return memset(x->arena.base + x->arena.top, 0, size);
}

void xl_shrink(struct xl *x, const void *end)
{
	x->arena.used = (size_t)((const uint8_t *)end - x->arena.base);
}

/* --- The jump cache ------------------------------------------------------- */

void xl_jump_flush(struct xl *x)
{
	struct x86_jump *all = &x->cpu->jump[0][0];
	unsigned i;

	if (x->jump_used_count > 8192) {
		memset(all, 0, sizeof(x->cpu->jump));
		for (i = 0; i < X86_CODE_KINDS; i++)
			x->cpu->jump[i][0].neg_rip = 1;
	}
	for (i = 0; i < x->jump_used_count && i < 8192; i++)
		all[x->jump_used[i]].neg_rip =
			x->jump_used[i] % X86_JUMP_SLOTS ? 0 : 1;
	x->jump_used_count = 0;
}

void xl_jump_note(struct xl *x, unsigned kind, uint64_t linear,
		  const uint8_t *host)
{
	unsigned i = linear & (X86_JUMP_SLOTS - 1);
	struct x86_jump *j = &x->cpu->jump[kind][i];

	if (x->jump_used_count < 8192)
		x->jump_used[x->jump_used_count] = kind * X86_JUMP_SLOTS + i;
	if (x->jump_used_count <= 8192)
		x->jump_used_count++;
	j->neg_rip = -linear;
	j->host = (uintptr_t)host;
}

/* --- Pages and blocks --------------------------------------------------------
 */

static unsigned page_slot(uint64_t linear, uint64_t gpa, uint32_t mode)
{
	uint64_t h = (linear >> 12) * 0x9e3779b97f4a7c15ull ^
		     (gpa >> 12) * 0xc2b2ae3d27d4eb4full ^ mode;

	return (h ^ h >> 29) % XL_PAGE_HASH;
}

static struct xl_phys **phys_slot(struct xl *x, uint64_t gpa)
{
	return &x->phys_hash[(gpa >> 12) % XL_PAGE_HASH];
}

struct xl_phys *xl_phys_find(struct xl *x, uint64_t gpa)
{
	struct xl_phys *p = *phys_slot(x, gpa);

	while (p && p->gpa != gpa)
		p = p->next_hash;
	return p;
}

static struct xl_phys *phys_get(struct xl *x, uint64_t gpa)
{
	struct xl_phys *p = xl_phys_find(x, gpa);

	if (p)
		return p;
	p = xl_alloc(x, sizeof(*p));
	if (!p)
		return NULL;
	p->gpa = gpa;
	p->next_hash = *phys_slot(x, gpa);
	*phys_slot(x, gpa) = p;
	return p;
}

static void page_hash_remove(struct xl *x, const struct xl_page *p)
{
	struct xl_page **at =
		&x->page_hash[page_slot(p->linear, p->gpa, p->mode)];

	while (*at != p)
		at = &(*at)->next_hash;
	*at = p->next_hash;
}

static void page_hash_add(struct xl *x, struct xl_page *p)
{
	struct xl_page **at =
		&x->page_hash[page_slot(p->linear, p->gpa, p->mode)];

	p->next_hash = *at;
	*at = p;
}

struct xl_page *xl_page_find(struct xl *x, uint64_t linear, uint64_t gpa,
			     uint32_t mode)
{
	struct xl_page *p = x->page_hash[page_slot(linear, gpa, mode)];

	while (p && (p->linear != linear || p->gpa != gpa || p->mode != mode))
		p = p->next_hash;
	return p;
}

struct xl_page *xl_page_get(struct xl *x, uint64_t linear, uint64_t gpa,
			    uint32_t mode)
{
	struct xl_page *p = xl_page_find(x, linear, gpa, mode);
	struct xl_phys *phys;

	if (p)
		return p;
	phys = phys_get(x, gpa);
	p = phys && x->next_id < XL_IDS ? xl_alloc(x, sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	*p = (struct xl_page){ .linear = linear,
			       .gpa = gpa,
			       .mode = mode,
			       .id = x->next_id++ << 12,
			       .phys = phys,
			       .used = xl_epoch(),
			       .next_phys = phys->pages };
	page_hash_add(x, p);
	phys->pages = p;
	return p;
}

static struct xl_block **hash_slot(struct xl *x, uint32_t id, unsigned offset)
{
	uint32_t h = (id + offset) * 0x9e3779b1u;

	return &x->hash[h >> (32 - XL_HASH_BITS)];
}

struct xl_block *xl_find(struct xl *x, const struct xl_page *page,
			 unsigned offset)
{
	struct xl_block *b = *hash_slot(x, page->id, offset);

	while (b && (b->page != page || b->offset != offset))
		b = b->next_hash;
	return b;
}

static void hash_remove(struct xl *x, struct xl_block *b)
{
	struct xl_block **at = hash_slot(x, b->page->id, b->offset);

	while (*at != b)
		at = &(*at)->next_hash;
	*at = b->next_hash;
}

static void hash_add(struct xl *x, struct xl_block *b)
{
	struct xl_block **at = hash_slot(x, b->page->id, b->offset);

	b->next_hash = *at;
	*at = b;
}

static uint64_t granule_mask(unsigned offset, unsigned len)
{
	unsigned first = offset >> 6, last = (offset + len - 1) >> 6;

	if (last > 63)
		last = 63;
	return (~0ull << first) & (~0ull >> (63 - last));
}

static unsigned order_piece(const struct xl *x, const uint8_t *pc)
{
	return (unsigned)(pc - x->rx) >> XL_PIECE_SHIFT;
}

static void order_add(struct xl *x, struct xl_block *b)
{
	x->order[x->order_count++] = b;
	x->order_at[order_piece(x, b->host)] = x->order_count;
}

/* The last block that begins at pc or before. */
static struct xl_block *order_find(const struct xl *x, const uint8_t *pc)
{
	unsigned piece, i;

	if (pc < x->rx || pc >= x->rx + x->code_size)
		return NULL;
	piece = order_piece(x, pc);
	while (piece > 0 && !x->order_at[piece])
		piece--;
	i = x->order_at[piece];
	while (i > 0 && x->order[i - 1]->host > pc)
		i--;
	return i ? x->order[i - 1] : NULL;
}

void xl_add(struct xl *x, struct xl_block *b)
{
	hash_add(x, b);
	b->next_page = b->page->blocks;
	b->page->blocks = b;
	b->page->phys->granules |= granule_mask(b->offset, b->len);
	order_add(x, b);
	x->blocks++;
}

bool xl_add_note(struct xl *x, struct xl_block *b, struct xl_page *page,
		 unsigned len)
{
	struct xl_block *note = xl_alloc(x, sizeof(*note));

	if (!note)
		return false;
	note->page = page;
	note->len = len;
	note->noted_for = b;
	note->next_page = page->blocks;
	page->blocks = note;
	page->phys->granules |= granule_mask(0, len);
	return true;
}

struct xl_block *xl_block_at(struct xl *x, const uint8_t *pc, uint16_t *guest)
{
	struct xl_block *b = order_find(x, pc);
	unsigned i;

	if (!b || pc >= b->host + b->host_len)
		return NULL;
	*guest = b->offset;
	for (i = 0; i < b->pc_count && b->host + b->pcs[i].host <= pc; i++)
		*guest = b->pcs[i].guest;
	return b;
}

/* --- Links
 * ------------------------------------------------------------------------ */

static void link_patch(struct xl *x, struct xl_link *l, const uint8_t *target)
{
	uint8_t *host = xl_link_from(l)->host - x->a.rx_delta;

	asm_patch(host + l->site, x->a.rx_delta, target);
}

void xl_unlink(struct xl *x, struct xl_link *l)
{
	l->to = NULL;
	link_patch(x, l, xl_link_from(l)->host + l->unlinked);
}

void xl_link(struct xl *x, struct xl_link *l, struct xl_block *to)
{
	const struct xl_block *from = xl_link_from(l);
	const uint8_t *target = to->host;

	if (l->same_page && from->page == to->page)
		target += to->offset <= from->offset ? to->poll : to->body;
	l->to = to;
	l->next_in = to->in;
	to->in = l;
	link_patch(x, l, target);
}

/* Jumps into b and out of it; kept: those from and to this page, or NULL. */
static void links_cut(struct xl *x, struct xl_block *b,
		      const struct xl_page *kept)
{
	struct xl_link *l, **at = &b->in;
	unsigned i;

	while ((l = *at)) {
		if (xl_link_from(l)->page == kept) {
			at = &l->next_in;
			continue;
		}
		*at = l->next_in;
		xl_unlink(x, l);
	}
	for (i = 0; i < b->link_count; i++) {
		l = &b->out[i];
		if (!l->to || l->to->page == kept)
			continue;
		for (at = &l->to->in; *at != l; at = &(*at)->next_in)
			;
		*at = l->next_in;
		xl_unlink(x, l);
	}
}

/* --- Invalidation
 * ------------------------------------------------------------------ */

static void jump_forget(struct xl *x, const struct xl_block *b)
{
	uint64_t linear = b->page->linear + b->offset;
	unsigned i = linear & (X86_JUMP_SLOTS - 1);
	struct x86_jump *j = &x->cpu->jump[xl_code_kind(b->page->mode)][i];

	if (j->neg_rip == -linear && j->host == (uintptr_t)b->host)
		j->neg_rip = i ? 0 : 1;
}

static void block_kill(struct xl *x, struct xl_block *b)
{
	struct xl_asm a = x->a;

	jump_forget(x, b);
	hash_remove(x, b);
	links_cut(x, b, NULL);
	b->dead = true;
	x->invalidated++;
	/* mov T0, rip; jmp exit: fits into the checked entry (gen.c). */
	a.w = b->host - a.rx_delta;
	asm_mov_imm(&a, XL_T0, b->page->linear + b->offset);
	asm_jmp(&a, x->glue.exit[XL_EXIT_RIP]);
}

void xl_drop(struct xl *x, struct xl_block *b)
{
	struct xl_block **at = &b->page->blocks;

	if (b->dead)
		return;
	while (*at != b)
		at = &(*at)->next_page;
	*at = b->next_page;
	block_kill(x, b);
}

static void page_invalidate(struct xl *x, struct xl_page *p, unsigned from,
			    unsigned to)
{
	struct xl_block **at = &p->blocks, *b;

	while ((b = *at)) {
		if (b->offset < to && from < b->offset + b->len) {
			*at = b->next_page;
			if (b->noted_for)
				xl_drop(x, b->noted_for);
			else
				block_kill(x, b);
		} else {
			at = &b->next_page;
		}
	}
}

/* --- Pages that have moved -------------------------------------------------
 */

/* Blocks that cannot be moved go, and those of other pages that reach here. */
static void page_drop_tied(struct xl *x, struct xl_page *p)
{
	struct xl_block **at = &p->blocks, *b;

	while ((b = *at)) {
		if (b->fix) {
			at = &b->next_page;
			continue;
		}
		*at = b->next_page;
		if (b->noted_for)
			xl_drop(x, b->noted_for);
		else
			block_kill(x, b);
	}
}

/*
 * A new id, for the code map may still know the old one where the page was.
 */
bool xl_page_rekey(struct xl *x, struct xl_page *p, uint64_t linear)
{
	struct xl_block *b;

	if (x->next_id == XL_IDS)
		return false;
	page_drop_tied(x, p);
	for (b = p->blocks; b; b = b->next_page) {
		jump_forget(x, b);
		hash_remove(x, b);
		links_cut(x, b, p);
	}
	page_hash_remove(x, p);
	p->linear = linear;
	p->id = x->next_id++ << 12;
	page_hash_add(x, p);
	for (b = p->blocks; b; b = b->next_page)
		hash_add(x, b);
	return true;
}

static void phys_recount(struct xl *x, struct xl_phys *phys)
{
	struct xl_page *p;
	struct xl_block *b;

	phys->granules = 0;
	for (p = phys->pages; p; p = p->next_phys)
		for (b = p->blocks; b; b = b->next_page)
			phys->granules |= granule_mask(b->offset, b->len);
	if (!phys->granules)
		x86_drop_code(x->cpu, phys->gpa, x->cpu->index);
}

void xl_invalidate(struct xl *x, uint64_t gpa, uint64_t len)
{
	while (len) {
		unsigned from = gpa & MEM_PAGE_MASK;
		uint64_t left = MEM_PAGE_SIZE - from;
		unsigned n = len < left ? len : left;
		struct xl_phys *phys = xl_phys_find(x, gpa - from);
		struct xl_page *p;

		if (phys && phys->granules & granule_mask(from, n)) {
			for (p = phys->pages; p; p = p->next_phys)
				page_invalidate(x, p, from, from + n);
			phys_recount(x, phys);
		} else if (!phys || !phys->granules) {
			x86_drop_code(x->cpu, gpa, x->cpu->index);
		}
		gpa += n;
		len -= n;
	}
}

static void phys_unmark_all(struct xl *x)
{
	struct xl_phys *p;
	unsigned i;

	for (i = 0; i < XL_PAGE_HASH; i++)
		for (p = x->phys_hash[i]; p; p = p->next_hash)
			x86_drop_code(x->cpu, p->gpa, x->cpu->index);
}

void xl_flush(struct xl *x)
{
	phys_unmark_all(x);
	x->evicted += x->order_count;
	x86_code_map_flush(x->cpu);
	xl_jump_flush(x);
	memset(x->hash, 0, sizeof(x->hash));
	memset(x->page_hash, 0, sizeof(x->page_hash));
	memset(x->phys_hash, 0, sizeof(x->phys_hash));
	x->order_count = 0;
	memset(x->order_at, 0, XL_PIECES * sizeof(*x->order_at));
	x->arena.used = 0;
	x->arena.top = XL_ARENA_SIZE;
	x->a.w = x->rw + x->glue_size;
	x->a.full = false;
	x->next_id = 1;
	x->flushes++;
}
