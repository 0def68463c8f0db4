#include "cpu/x86/paging.h"

#include "cpu/x86/mmu.h"

/* What the levels so far allow. */
struct walk_rights {
	bool write, user, nx;
};

#define PTE_ADDR_MASK (((1ull << X86_PHYS_BITS) - 1) & ~0xfffull)
#define PTE_RESERVED  (((1ull << 52) - 1) & ~((1ull << X86_PHYS_BITS) - 1))

/* Entries outside memory read as an empty bus does; those in ROM, as outside,
 * cannot be updated. */
static uint64_t pte_read(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
	const void *p = mem_host_read(cpu->mem, gpa, size);

	if (!p)
		return size == 8 ? UINT64_MAX : UINT32_MAX;
	return size == 8
		       ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
		       : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}

/* A and D live in the low byte. False: the entry changed under us. */
static bool pte_set_bits(struct x86_cpu *cpu, uint64_t gpa, unsigned size,
			 uint64_t seen, uint64_t bits)
{
	void *p;

	if ((seen & bits) == bits)
		return true;
	p = mem_host(cpu->mem, gpa, size);
	if (!p)
		return true;
	if (size == 8)
		return __atomic_compare_exchange_n(
			(uint64_t *)p, &seen, seen | bits, false,
			__ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	uint32_t seen32 = seen;
	return __atomic_compare_exchange_n((uint32_t *)p, &seen32,
					   (uint32_t)(seen | bits), false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool page_fault(struct x86_cpu *cpu, const struct page_access *a,
		       struct page_result *r, uint32_t error)
{
	if (a->write)
		error |= X86_PF_W;
	if (a->user)
		error |= X86_PF_U;
	if (a->fetch &&
	    ((cpu->msr.efer & X86_EFER_NXE && cpu->cr4 & X86_CR4_PAE) ||
	     cpu->cr4 & X86_CR4_SMEP))
		error |= X86_PF_I;
	r->error = error;
	return false;
}

/* SDM 3A 4.6.1: is the access allowed, and would a write be? */
static bool page_allows_write(const struct x86_cpu *cpu,
			      const struct page_access *a,
			      const struct walk_rights *w)
{
	if (a->user)
		return w->user && w->write;
	return w->write || !(cpu->cr0 & X86_CR0_WP);
}

static bool page_allowed(const struct x86_cpu *cpu, const struct page_access *a,
			 const struct walk_rights *w)
{
	if (a->debug)
		return true;
	if (a->user && !w->user)
		return false;
	if (a->fetch) {
		if (w->nx)
			return false;
		return a->user || !w->user || !(cpu->cr4 & X86_CR4_SMEP);
	}
	if (!a->user && w->user && cpu->cr4 & X86_CR4_SMAP && !a->ac)
		return false;
	return !a->write || page_allows_write(cpu, a, w);
}

static void walk_restrict(struct walk_rights *w, uint64_t pte)
{
	w->write &= !!(pte & X86_PTE_W);
	w->user &= !!(pte & X86_PTE_U);
	w->nx |= !!(pte & X86_PTE_NX);
}

/* Reserved bits of an 8-byte entry at a level (1: PTE ... 4: PML4E). */
static uint64_t pte_reserved(const struct x86_cpu *cpu, unsigned level,
			     bool large, bool long_mode)
{
	uint64_t rsvd = PTE_RESERVED;

	if (!(cpu->msr.efer & X86_EFER_NXE))
		rsvd |= X86_PTE_NX;
	if (!long_mode)
		rsvd |= 0x7ff0000000000000ull; /* PAE: 62..52 too */
	if (large && level == 2)
		rsvd |= 0x1fe000; /* 20..13 */
	if (large && level == 3)
		rsvd |= 0x3fffe000; /* 29..13 */
	if (level == 4)
		rsvd |= X86_PTE_PS;
	return rsvd;
}

/* The last step of every walk: permission, A and D, the result. */
static bool walk_finish(struct x86_cpu *cpu, uint64_t linear,
			const struct page_access *a, struct page_result *r,
			const struct walk_rights *w, uint64_t pte_gpa,
			unsigned size, uint64_t pte, unsigned shift,
			bool *again)
{
	uint64_t bits = X86_PTE_A | (a->write ? X86_PTE_D : 0);

	if (!page_allowed(cpu, a, w))
		return page_fault(cpu, a, r, X86_PF_P);
	if (!a->debug && !pte_set_bits(cpu, pte_gpa, size, pte, bits)) {
		*again = true;
		return false;
	}
	r->shift = shift;
	r->global = pte & X86_PTE_G && cpu->cr4 & X86_CR4_PGE;
	r->writable =
		page_allows_write(cpu, a, w) && (a->write || pte & X86_PTE_D);
	r->gpa |= linear & ((1ull << shift) - 1);
	return true;
}

/* PAE and 4-level paging: 8-byte entries. */
static bool walk_long(struct x86_cpu *cpu, uint64_t linear,
		      const struct page_access *a, struct page_result *r,
		      bool *again)
{
	bool lm = x86_long_mode(cpu);
	struct walk_rights w = { true, true, false };
	unsigned level = lm ? 4 : 2;
	uint64_t table = cpu->cr3 & PTE_ADDR_MASK;
	uint64_t pte, gpa;
	bool large;

	if (!lm) {
		pte = cpu->pdpte[linear >> 30 & 3];
		if (!(pte & X86_PTE_P))
			return page_fault(cpu, a, r, 0);
		table = pte & PTE_ADDR_MASK;
	}
	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1);

		gpa = table + (linear >> shift & 511) * 8;
		pte = pte_read(cpu, gpa, 8);
		if (!(pte & X86_PTE_P))
			return page_fault(cpu, a, r, 0);
		large = level > 1 && level < 4 && pte & X86_PTE_PS;
		if (pte & pte_reserved(cpu, level, large, lm))
			return page_fault(cpu, a, r, X86_PF_P | X86_PF_R);
		walk_restrict(&w, pte);
		if (level == 1 || large) {
			r->gpa = pte & PTE_ADDR_MASK & ~((1ull << shift) - 1);
			return walk_finish(cpu, linear, a, r, &w, gpa, 8, pte,
					   shift, again);
		}
		if (!a->debug && !pte_set_bits(cpu, gpa, 8, pte, X86_PTE_A)) {
			*again = true;
			return false;
		}
		table = pte & PTE_ADDR_MASK;
	}
}

/* 32-bit paging: 4-byte entries, 4 MiB pages with PSE-36. */
static bool walk_legacy(struct x86_cpu *cpu, uint64_t linear,
			const struct page_access *a, struct page_result *r,
			bool *again)
{
	struct walk_rights w = { true, true, false };
	uint64_t gpa = (cpu->cr3 & 0xfffff000) + (linear >> 22 & 1023) * 4;
	uint64_t pte = pte_read(cpu, gpa, 4);

	if (!(pte & X86_PTE_P))
		return page_fault(cpu, a, r, 0);
	walk_restrict(&w, pte);
	if (pte & X86_PTE_PS && cpu->cr4 & X86_CR4_PSE) {
		/* 39..32 of the address in 20..13; bit 21 is reserved */
		if (pte & 0x200000)
			return page_fault(cpu, a, r, X86_PF_P | X86_PF_R);
		r->gpa = (pte & 0xffc00000) | (pte >> 13 & 0xff) << 32;
		return walk_finish(cpu, linear, a, r, &w, gpa, 4, pte, 22,
				   again);
	}
	if (!a->debug && !pte_set_bits(cpu, gpa, 4, pte, X86_PTE_A)) {
		*again = true;
		return false;
	}
	gpa = (pte & 0xfffff000) + (linear >> 12 & 1023) * 4;
	pte = pte_read(cpu, gpa, 4);
	if (!(pte & X86_PTE_P))
		return page_fault(cpu, a, r, 0);
	walk_restrict(&w, pte);
	r->gpa = pte & 0xfffff000;
	return walk_finish(cpu, linear, a, r, &w, gpa, 4, pte, 12, again);
}

bool page_walk(struct x86_cpu *cpu, uint64_t linear,
	       const struct page_access *a, struct page_result *r)
{
	bool again, ok;

	if (!(cpu->cr0 & X86_CR0_PG)) {
		*r = (struct page_result){ .gpa = linear,
					   .writable = true,
					   .shift = 12 };
		return true;
	}
	cpu->page_walk_count++;
	do {
		again = false;
		r->gpa = 0;
		if (cpu->cr4 & X86_CR4_PAE)
			ok = walk_long(cpu, linear, a, r, &again);
		else
			ok = walk_legacy(cpu, linear, a, r, &again);
	} while (again);
	return ok;
}
