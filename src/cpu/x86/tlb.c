/*
 * tlb.c - filling and flushing the software TLB (tlb.h has its shape).
 *
 * A flush walks the lists of slots in use, so it costs what was used since
 * the last one.  INVLPG in a region where a large page was seen flushes all:
 * pieces of that page may lie in any slot.
 */
#include <string.h>
#include <sys/mman.h>

#include "cpu/x86/mmu.h"
#include "cpu/x86/tlb.h"

/* Runs of 512 slots, 8 KiB each, before memory is given back: 5 MiB. */
#define TLB_TOUCHED_MAX 640

/* --- Large pages --------------------------------------------------------- */

void tlb_note_large(struct x86_tlb *t, uint64_t linear, unsigned shift)
{
	uint64_t h = (linear >> shift) * 0x9e3779b97f4a7c15ull + shift;

	t->large[h >> 58] |= 1ull << (h >> 52 & 63);
}

static bool tlb_maybe_large(const struct x86_tlb *t, uint64_t linear,
			    unsigned shift)
{
	uint64_t h = (linear >> shift) * 0x9e3779b97f4a7c15ull + shift;

	return t->large[h >> 58] >> (h >> 52 & 63) & 1;
}

/* --- Entries ------------------------------------------------------------- */

static void tlb_clear(struct x86_tlb *t, unsigned slot)
{
	unsigned i = slot % X86_TLB_SIZE;

	t->neg[slot / X86_TLB_SIZE][i] = x86_tlb_empty(i);
}

/* In a slot that is listed: linear is at host from now on. */
static void tlb_set(struct x86_tlb *t, unsigned slot, uint64_t linear,
		    uint8_t *host)
{
	unsigned kind = slot / X86_TLB_SIZE, i = slot % X86_TLB_SIZE;
	uint64_t viewed = view_addend(&t->view, linear, host);

	t->neg[kind][i] = -linear;
	t->addend[kind][i] = viewed ? viewed : (uintptr_t)host - linear;
}

/* Of a slot that is not empty. */
static uint8_t *tlb_host(const struct x86_tlb *t, unsigned slot)
{
	unsigned kind = slot / X86_TLB_SIZE, i = slot % X86_TLB_SIZE;

	return view_host(&t->view, -t->neg[kind][i], t->addend[kind][i]);
}

uint8_t *tlb_host_of(const struct x86_tlb *t, unsigned kind, uint64_t linear)
{
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1);

	if (t->neg[kind][i] != -linear)
		return NULL;
	return tlb_host(t, kind * X86_TLB_SIZE + i);
}

void tlb_view_page(struct x86_cpu *cpu, uint64_t linear)
{
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1), kind;
	struct x86_tlb *t = &cpu->tlb;
	uint8_t *host;

	for (kind = 0; kind < X86_TLB_KINDS; kind++) {
		host = tlb_host_of(t, kind, linear);
		if (host)
			tlb_set(t, kind * X86_TLB_SIZE + i, linear, host);
	}
}

void tlb_unview_page(struct x86_cpu *cpu, uint64_t linear)
{
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1), kind;
	struct x86_tlb *t = &cpu->tlb;

	for (kind = 0; kind < X86_TLB_KINDS; kind++) {
		uint64_t addend = t->view.addend[x86_view_side(linear)];

		if (t->neg[kind][i] == -linear && t->addend[kind][i] == addend)
			tlb_clear(t, kind * X86_TLB_SIZE + i);
	}
}

void tlb_insert(struct x86_cpu *cpu, unsigned kind, uint64_t linear,
		uint8_t *host, bool global)
{
	struct x86_tlb *t = &cpu->tlb;
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1);
	unsigned slot = kind * X86_TLB_SIZE + i;
	uint8_t list = global ? X86_TLB_LISTED_GLOBAL : X86_TLB_LISTED_OTHER;

	if (cpu->mode & X86_MODE_ALIGN && kind < X86_TLB_KERNEL_READ)
		return;
	linear &= ~MEM_PAGE_MASK;
	if (!(t->listed[slot] & list)) {
		t->listed[slot] |= list;
		t->used[global][t->used_count[global]++] = slot;
	}
	t->listed[slot] &= ~X86_TLB_IS_GLOBAL;
	if (global)
		t->listed[slot] |= X86_TLB_IS_GLOBAL;
	if (!t->touched[kind][i / 512]) {
		t->touched[kind][i / 512] = 1;
		t->touched_count++;
	}
	tlb_set(t, slot, linear, host);
}

/* --- Flushing ------------------------------------------------------------ */

static void code_map_flush_list(struct x86_code_map *m, unsigned global)
{
	unsigned i;

	for (i = 0; i < m->used_count[global]; i++) {
		unsigned kind = m->used[global][i] / X86_CODE_SLOTS;
		unsigned slot = m->used[global][i] % X86_CODE_SLOTS;

		m->listed[kind][slot] &= ~(1u << global);
		if ((m->listed[kind][slot] >> 2 & 1) == global)
			m->id[kind][slot] = 0;
	}
	m->used_count[global] = 0;
}

void x86_code_map_flush(struct x86_cpu *cpu)
{
	code_map_flush_list(&cpu->tlb.map, 0);
	code_map_flush_list(&cpu->tlb.map, 1);
}

void x86_code_map_set(struct x86_cpu *cpu, uint64_t linear, unsigned kind,
		      uint32_t id)
{
	struct x86_code_map *m = &cpu->tlb.map;
	unsigned slot = linear >> 12 & (X86_CODE_SLOTS - 1);
	struct x86_itlb_entry *e =
		&cpu->tlb.code[linear >> 12 & (X86_ITLB_SIZE - 1)];
	unsigned global = e->page >> 2 & 1;
	uint8_t *listed = &m->listed[kind][slot];

	if (!(*listed >> global & 1))
		m->used[global][m->used_count[global]++] =
			kind * X86_CODE_SLOTS + slot;
	*listed = (*listed & 3) | 1u << global | global << 2;
	m->id[kind][slot] = id;
}

/* Code: what is not global, or all. */
static void tlb_flush_code(struct x86_tlb *t, bool all)
{
	unsigned i;

	for (i = 0; i < X86_ITLB_SIZE; i++)
		if (all || !(t->code[i].page & 4))
			t->code[i].page = X86_TLB_NONE;
	code_map_flush_list(&t->map, 0);
	if (all)
		code_map_flush_list(&t->map, 1);
}

static void tlb_flush_list(struct x86_tlb *t, unsigned global)
{
	uint8_t list = global ? X86_TLB_LISTED_GLOBAL : X86_TLB_LISTED_OTHER;
	unsigned i;

	for (i = 0; i < t->used_count[global]; i++) {
		unsigned slot = t->used[global][i];

		t->listed[slot] &= ~list;
		if (!(t->listed[slot] & X86_TLB_IS_GLOBAL) == !global)
			tlb_clear(t, slot);
	}
	t->used_count[global] = 0;
}

/* Whole pages of [p, p+len) back to the host; they read as zeros again. */
static void tlb_give_back(void *p, size_t len)
{
	uintptr_t from = ((uintptr_t)p + 4095) & ~4095ul;
	uintptr_t to = ((uintptr_t)p + len) & ~4095ul;

	madvise((void *)from, to - from, MADV_DONTNEED);
}

/*
 * Each program lies elsewhere (address randomisation), so that the tables
 * would fill up with pages that no one uses any more.  All is empty after it.
 */
static void tlb_trim(struct x86_cpu *cpu)
{
	struct x86_tlb *t = &cpu->tlb;
	unsigned kind;

	x86_tlb_flush_all(cpu);
	tlb_give_back(t->neg, sizeof(t->neg));
	tlb_give_back(t->addend, sizeof(t->addend));
	tlb_give_back(t->listed, sizeof(t->listed));
	for (kind = 0; kind < X86_TLB_KINDS; kind++) {
		tlb_clear(t, kind * X86_TLB_SIZE);
		tlb_clear(t, kind * X86_TLB_SIZE + X86_TLB_SIZE - 1);
	}
	memset(t->touched, 0, sizeof(t->touched));
	t->touched_count = 0;
}

void x86_tlb_flush_nonglobal(struct x86_cpu *cpu)
{
	if (cpu->tlb.touched_count >= TLB_TOUCHED_MAX) {
		tlb_trim(cpu);
		return;
	}
	tlb_flush_list(&cpu->tlb, 0);
	tlb_flush_code(&cpu->tlb, false);
	if (view_unsettled(&cpu->tlb.view))
		view_settle(cpu);
}

void x86_tlb_flush_all(struct x86_cpu *cpu)
{
	tlb_flush_list(&cpu->tlb, 0);
	tlb_flush_list(&cpu->tlb, 1);
	tlb_flush_code(&cpu->tlb, true);
	memset(cpu->tlb.large, 0, sizeof(cpu->tlb.large));
	if (view_unsettled(&cpu->tlb.view))
		view_settle(cpu);
}

void x86_tlb_init(struct x86_cpu *cpu)
{
	unsigned kind;

	for (kind = 0; kind < X86_TLB_KINDS; kind++) {
		tlb_clear(&cpu->tlb, kind * X86_TLB_SIZE);
		tlb_clear(&cpu->tlb, kind * X86_TLB_SIZE + X86_TLB_SIZE - 1);
	}
	x86_view_init(cpu);
	tlb_flush_code(&cpu->tlb, true);
	for (kind = 0; kind < X86_CODE_KINDS; kind++)
		cpu->jump[kind][0].neg_rip = 1;
}

void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_tlb *t = &cpu->tlb;
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1), kind;
	struct x86_itlb_entry *c = &t->code[linear >> 12 & (X86_ITLB_SIZE - 1)];

	linear &= ~MEM_PAGE_MASK;
	if (tlb_maybe_large(t, linear, 21) || tlb_maybe_large(t, linear, 30)) {
		x86_tlb_flush_all(cpu);
		return;
	}
	for (kind = 0; kind < X86_TLB_KINDS; kind++)
		if (t->neg[kind][i] == -linear)
			tlb_clear(t, kind * X86_TLB_SIZE + i);
	if ((c->page & ~MEM_PAGE_MASK) == linear)
		c->page = X86_TLB_NONE;
	for (kind = 0; kind < X86_CODE_KINDS; kind++)
		t->map.id[kind][linear >> 12 & (X86_CODE_SLOTS - 1)] = 0;
}

void x86_tlb_drop_writable(struct x86_cpu *cpu, uint64_t gpa_page)
{
	const uint8_t *host = mem_host_read(cpu->mem, gpa_page, MEM_PAGE_SIZE);
	struct x86_tlb *t = &cpu->tlb;
	unsigned global, i;

	for (global = 0; global < 2; global++)
		for (i = 0; i < t->used_count[global]; i++) {
			unsigned slot = t->used[global][i];

			if (slot / X86_TLB_SIZE & 1 &&
			    tlb_host(t, slot) == host)
				tlb_clear(t, slot);
		}
}

void x86_tlb_drop(struct x86_cpu *cpu, unsigned kind, uint64_t linear)
{
	tlb_clear(&cpu->tlb,
		  kind * X86_TLB_SIZE + (linear >> 12 & (X86_TLB_SIZE - 1)));
}

void x86_tlb_drop_writable_all(struct x86_cpu *cpu)
{
	struct x86_tlb *t = &cpu->tlb;
	unsigned global, i;

	for (global = 0; global < 2; global++)
		for (i = 0; i < t->used_count[global]; i++)
			if (t->used[global][i] / X86_TLB_SIZE & 1)
				tlb_clear(t, t->used[global][i]);
}
