/*
 * mmu.c - linear addresses to bytes: what a TLB miss leads to.
 *
 * Theory of operation.  A hit in the TLB (tlb.h) is the fast path and lives
 * in the callers.  Everything else comes here: mmu_translate() walks the page
 * tables and says what lies behind an address, a `struct mmu_page`: plain
 * RAM, RAM that must be watched (cached code, breakpoints), or a device.
 * Plain RAM goes into the TLB.  Multi-page accesses are cut into pieces, all
 * of which are translated before the first byte is written.
 *
 * Invariants
 * - A writable entry exists only for a page whose D bit is set, without
 *   MEM_PAGE_CODE, and with MEM_PAGE_WRITTEN (sync.c has the order).
 * - No entry exists for a page on which a data breakpoint lies.
 * - An entry of kind KERNEL is valid with EFLAGS.AC = 0 and for implicit
 *   supervisor accesses from CPL 3, which SMAP treats alike.
 *
 * PCIDs are accepted, but the TLB is not tagged: each MOV to CR3 flushes what
 * is not global, which SDM 3A 4.10.4.1 allows.
 */
#include "cpu/x86/mmu.h"

#include <string.h>

#include "cpu/x86/host_mem.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/paging.h"
#include "cpu/x86/segment.h"

/* ROM: memory for reading; writes are the device's. */
enum mmu_what { MMU_RAM, MMU_CODE, MMU_WATCHED, MMU_ROM, MMU_DEVICE };

struct mmu_page {
	enum mmu_what what;
	uint64_t gpa;  /* of the byte asked for */
	uint8_t *host; /* its host address, unless a device */
};

/* --- Translation ------------------------------------------------------- */

static struct page_access mmu_access(unsigned kind)
{
	return (struct page_access){
		.write = kind & 1,
		.user = kind < X86_TLB_KERNEL_READ,
		.ac = kind >= X86_TLB_KERNEL_AC_READ,
	};
}

/* Does a data breakpoint or a debugger's watchpoint lie on the page? */
static bool mmu_page_watched(const struct x86_cpu *cpu, uint64_t linear)
{
	const struct x86_debug *dbg = cpu->xm ? cpu->xm->debug : NULL;
	uint64_t page = linear & ~MEM_PAGE_MASK;
	unsigned i;

	if (cpu->dr[7] & 0xff)
		for (i = 0; i < 4; i++)
			if (cpu->dr[7] >> (2 * i) & 3 &&
			    cpu->dr[7] >> (16 + 4 * i) & 1 &&
			    (cpu->dr[i] & ~MEM_PAGE_MASK) == page)
				return true;
	for (i = 0; dbg && i < dbg->watch_count; i++)
		if (dbg->watch[i].addr < page + MEM_PAGE_SIZE &&
		    page < dbg->watch[i].addr + dbg->watch[i].len)
			return true;
	return false;
}

/* Marks the page as written before its flags are looked at: see sync.c. */
static bool mmu_may_write(struct x86_cpu *cpu, uint64_t gpa)
{
	uint64_t page = mem_page(cpu->mem, gpa);
	uint8_t want = MEM_PAGE_WRITTEN | MEM_PAGE_DIRTY;
	uint8_t *flags, seen;

	if (page == UINT64_MAX)
		return false; /* a window that was taken away meanwhile */
	flags = &mem_page_flags(cpu->mem)[page];
	seen = __atomic_load_n(flags, __ATOMIC_SEQ_CST);
	if ((seen & want) != want)
		seen = __atomic_fetch_or(flags, want, __ATOMIC_SEQ_CST);
	return !(seen & MEM_PAGE_CODE);
}

/* The page's bytes; NULL: a device's registers. */
static uint8_t *mmu_page_of(struct x86_cpu *cpu, uint64_t gpa, bool *writable)
{
	uint8_t *page = mem_host(cpu->mem, gpa & ~MEM_PAGE_MASK, MEM_PAGE_SIZE);

	*writable = page;
	if (page)
		return page;
	return (uint8_t *)(uintptr_t)mem_host_read(
		cpu->mem, gpa & ~MEM_PAGE_MASK, MEM_PAGE_SIZE);
}

/* What lies at linear; plain RAM goes into the TLB. False: page fault. */
static bool mmu_translate(struct x86_cpu *cpu, uint64_t linear, unsigned kind,
			  struct mmu_page *p, uint32_t *error)
{
	struct page_access a = mmu_access(kind);
	struct page_result r;
	bool writable;
	uint8_t *page;

	cpu->tlb_miss_count++;
	if (!page_walk(cpu, linear, &a, &r)) {
		*error = r.error;
		return false;
	}
	p->gpa = r.gpa;
	page = mmu_page_of(cpu, r.gpa, &writable);
	p->host = page ? page + (r.gpa & MEM_PAGE_MASK) : NULL;
	if (!page) {
		p->what = MMU_DEVICE;
	} else if (a.write && !writable) {
		p->what = MMU_ROM;
	} else if (mmu_page_watched(cpu, linear)) {
		p->what = MMU_WATCHED;
	} else if (a.write && !mmu_may_write(cpu, r.gpa)) {
		p->what = MMU_CODE;
	} else {
		p->what = MMU_RAM;
		if (a.write && cpu->write_hook)
			cpu->write_hook(cpu, page, kind, linear);
		tlb_insert(cpu, kind, linear, page, r.global);
		if (r.shift > 12) {
			tlb_note_large(&cpu->tlb, linear, 21);
			tlb_note_large(&cpu->tlb, linear, 30);
		}
		if (!a.write && r.writable && writable && !cpu->write_hook &&
		    mmu_may_write(cpu, r.gpa))
			tlb_insert(cpu, kind | 1, linear, page, r.global);
	}
	return true;
}

/* Is the reference one to the stack (#SS) rather than to data (#GP)? */
static bool mmu_is_stack(const struct x86_insn *insn)
{
	if (!insn)
		return false;
	if (insn->has_mem && insn->seg == X86_SS)
		return true;
	switch (insn->op) {
	case X86_PUSH:
	case X86_POP:
	case X86_PUSHF:
	case X86_POPF:
	case X86_CALL:
	case X86_CALL_IND:
	case X86_RET:
	case X86_RETF:
	case X86_ENTER:
	case X86_LEAVE:
	case X86_IRET:
	case X86_PUSH_SREG:
	case X86_POP_SREG:
		return !insn->has_mem;
	default:
		return false;
	}
}

static void mmu_check_canonical(struct x86_cpu *cpu, uint64_t linear,
				unsigned len)
{
	if (!x86_long_mode(cpu) || (x86_canonical(cpu, linear) &&
				    x86_canonical(cpu, linear + len - 1)))
		return;
	x86_raise_error(cpu, mmu_is_stack(cpu->insn) ? X86_VEC_SS : X86_VEC_GP,
			0);
}

/* SDM 3A 6.15, interrupt 17.  Larger operands have checks of their own. */
static void mmu_check_aligned(struct x86_cpu *cpu, uint64_t linear,
			      unsigned len, unsigned kind)
{
	if (!(cpu->mode & X86_MODE_ALIGN) || kind >= X86_TLB_KERNEL_READ)
		return;
	if ((len == 2 || len == 4 || len == 8) && linear & (len - 1))
		x86_raise_error(cpu, X86_VEC_AC, 0);
}

static void mmu_translate_or_raise(struct x86_cpu *cpu, uint64_t linear,
				   unsigned kind, struct mmu_page *p)
{
	uint32_t error;

	if (!mmu_translate(cpu, linear, kind, p, &error))
		x86_raise_pf(cpu, linear, error);
}

/* --- Watched, code and device memory ------------------------------------- */

/* SDM 3B 17.2.5: do [linear, +size) and DRn's range overlap? */
static void mmu_note_breakpoints(struct x86_cpu *cpu, uint64_t linear,
				 unsigned size, bool write)
{
	static const uint8_t len_of[4] = { 1, 2, 8, 4 };
	struct x86_debug *dbg = cpu->xm ? cpu->xm->debug : NULL;
	unsigned i;

	for (i = 0; i < 4; i++) {
		unsigned ctl = cpu->dr[7] >> (16 + 4 * i) & 15;
		uint64_t len = len_of[ctl >> 2];
		uint64_t base = cpu->dr[i] & ~(len - 1);

		if (!(cpu->dr[7] >> (2 * i) & 3))
			continue;
		if (!((ctl & 3) == 3 || ((ctl & 3) == 1 && write)))
			continue;
		if (base < linear + size && linear < base + len)
			cpu->db_pending |= 1ull << i;
	}
	for (i = 0; dbg && i < dbg->watch_count; i++) {
		if (!(write ? dbg->watch[i].write : dbg->watch[i].read) ||
		    dbg->watch[i].addr >= linear + size ||
		    linear >= dbg->watch[i].addr + dbg->watch[i].len)
			continue;
		dbg->watch_hit = dbg->watch[i].addr;
		cpu->watch_pending = true;
	}
}

static void mmu_code_written(struct x86_cpu *cpu, uint64_t gpa, unsigned len)
{
	if (cpu->park_vectors)
		cpu->park_vectors(cpu);
	if (cpu->xm && cpu->xm->engine_ops && cpu->xm->engine_ops->code_written)
		cpu->xm->engine_ops->code_written(cpu->xm, gpa, len);
}

static bool mmu_is_code(struct x86_cpu *cpu, uint64_t gpa)
{
	uint64_t page = mem_page(cpu->mem, gpa);

	return page != UINT64_MAX &&
	       __atomic_load_n(&mem_page_flags(cpu->mem)[page],
			       __ATOMIC_SEQ_CST) &
		       MEM_PAGE_CODE;
}

static uint64_t mmu_device_read(struct x86_cpu *cpu, uint64_t gpa,
				unsigned size)
{
	uint64_t v;

	if (cpu->lapic && lapic_mmio(cpu->lapic, gpa, size, false, &v)) {
		mem_show_mmio(cpu->mem, false, gpa, size, v, "lapic");
		return v;
	}
	if (cpu->park_vectors)
		cpu->park_vectors(cpu);
	return mem_mmio_read(cpu->mem, gpa, size);
}

static void mmu_device_write(struct x86_cpu *cpu, uint64_t gpa, unsigned size,
			     uint64_t v)
{
	if (cpu->lapic && lapic_mmio(cpu->lapic, gpa, size, true, &v)) {
		mem_show_mmio(cpu->mem, true, gpa, size, v, "lapic");
		return;
	}
	if (cpu->park_vectors)
		cpu->park_vectors(cpu);
	mem_mmio_write(cpu->mem, gpa, size, v);
}

/* Device accesses of odd sizes go in the largest power-of-two pieces. */
static unsigned mmu_piece(unsigned len)
{
	return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

static void mmu_read_piece(struct x86_cpu *cpu, uint64_t linear,
			   const struct mmu_page *p, uint8_t *buf, unsigned len)
{
	unsigned n, at;

	if (p->what == MMU_DEVICE) {
		for (at = 0; at < len; at += n) {
			n = mmu_piece(len - at);
			uint64_t v = mmu_device_read(cpu, p->gpa + at, n);
			memcpy(buf + at, &v, n);
		}
		return;
	}
	if (p->what == MMU_WATCHED)
		mmu_note_breakpoints(cpu, linear, len, false);
	memcpy(buf, p->host, len);
}

static void mmu_write_piece(struct x86_cpu *cpu, uint64_t linear,
			    const struct mmu_page *p, const uint8_t *buf,
			    unsigned len)
{
	unsigned n, at;

	if (p->what >= MMU_ROM) {
		for (at = 0; at < len; at += n) {
			uint64_t v = 0;

			n = mmu_piece(len - at);
			memcpy(&v, buf + at, n);
			mmu_device_write(cpu, p->gpa + at, n, v);
		}
		return;
	}
	if (p->what == MMU_WATCHED)
		mmu_note_breakpoints(cpu, linear, len, true);
	/* Aligned words must not tear: other vCPUs may look. */
	if (len == 8 && !((uintptr_t)p->host & 7)) {
		uint64_t v;

		memcpy(&v, buf, 8);
		__atomic_store_n((uint64_t *)p->host, v, __ATOMIC_RELEASE);
	} else {
		memcpy(p->host, buf, len);
	}
	if (p->what != MMU_RAM && mmu_is_code(cpu, p->gpa))
		mmu_code_written(cpu, p->gpa, len);
}

/* --- Accesses of any kind --------------------------------------------------
 */

static unsigned mmu_in_page(uint64_t linear, unsigned len)
{
	unsigned left = MEM_PAGE_SIZE - (linear & MEM_PAGE_MASK);

	return len < left ? len : left;
}

static void mmu_read(struct x86_cpu *cpu, uint64_t linear, void *buf,
		     unsigned len, unsigned kind)
{
	unsigned n = mmu_in_page(linear, len);
	struct mmu_page p, q;

	mmu_check_canonical(cpu, linear, len);
	mmu_translate_or_raise(cpu, linear, kind, &p);
	if (n < len)
		mmu_translate_or_raise(cpu, linear + n, kind, &q);
	mmu_check_aligned(cpu, linear, len, kind);
	mmu_read_piece(cpu, linear, &p, buf, n);
	if (n < len)
		mmu_read_piece(cpu, linear + n, &q, (uint8_t *)buf + n,
			       len - n);
}

static void mmu_write(struct x86_cpu *cpu, uint64_t linear, const void *buf,
		      unsigned len, unsigned kind)
{
	unsigned n = mmu_in_page(linear, len);
	struct mmu_page p, q;

	mmu_check_canonical(cpu, linear, len);
	mmu_translate_or_raise(cpu, linear, kind, &p);
	if (n < len)
		mmu_translate_or_raise(cpu, linear + n, kind, &q);
	mmu_check_aligned(cpu, linear, len, kind);
	mmu_write_piece(cpu, linear, &p, buf, n);
	if (n < len)
		mmu_write_piece(cpu, linear + n, &q, (const uint8_t *)buf + n,
				len - n);
}

uint64_t x86_load_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	mmu_read(cpu, linear, &v, size, x86_tlb_kind(cpu));
	return v;
}

void x86_store_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		    uint64_t value)
{
	mmu_write(cpu, linear, &value, size, x86_tlb_kind(cpu) | 1);
}

uint64_t x86_load(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	void *p = x86_tlb_lookup(cpu, linear, size, x86_tlb_kind(cpu));

	if (!p)
		return x86_load_slow(cpu, linear, size);
	return host_mem_load(p, size);
}

void x86_store(struct x86_cpu *cpu, uint64_t linear, unsigned size,
	       uint64_t value)
{
	switch (size) {
	case 1:
		x86_store8(cpu, linear, value);
		break;
	case 2:
		x86_store16(cpu, linear, value);
		break;
	case 4:
		x86_store32(cpu, linear, value);
		break;
	default:
		x86_store64(cpu, linear, value);
		break;
	}
}

void x86_load_bytes(struct x86_cpu *cpu, uint64_t linear, void *buf,
		    unsigned len)
{
	void *p = x86_tlb_lookup(cpu, linear, len, x86_tlb_kind(cpu));

	if (p)
		memcpy(buf, p, len);
	else
		mmu_read(cpu, linear, buf, len, x86_tlb_kind(cpu));
}

void x86_store_bytes(struct x86_cpu *cpu, uint64_t linear, const void *buf,
		     unsigned len)
{
	void *p = x86_tlb_lookup(cpu, linear, len, x86_tlb_kind(cpu) | 1);

	if (p)
		memcpy(p, buf, len);
	else
		mmu_write(cpu, linear, buf, len, x86_tlb_kind(cpu) | 1);
}

uint64_t x86_load_sys(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	void *p = x86_tlb_lookup(cpu, linear, size, X86_TLB_KERNEL_READ);
	uint64_t v = 0;

	if (p)
		return host_mem_load(p, size);
	mmu_read(cpu, linear, &v, size, X86_TLB_KERNEL_READ);
	return v;
}

void x86_store_sys(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		   uint64_t value)
{
	void *p = x86_tlb_lookup(cpu, linear, size, X86_TLB_KERNEL_WRITE);

	if (p)
		host_mem_store(p, size, value);
	else
		mmu_write(cpu, linear, &value, size, X86_TLB_KERNEL_WRITE);
}

void x86_probe(struct x86_cpu *cpu, uint64_t linear, unsigned len, bool write)
{
	unsigned kind = x86_tlb_kind(cpu) | write;
	unsigned n = mmu_in_page(linear, len);
	struct mmu_page p;

	if (x86_tlb_lookup(cpu, linear, len, kind))
		return;
	mmu_check_canonical(cpu, linear, len);
	mmu_translate_or_raise(cpu, linear, kind, &p);
	if (n < len)
		mmu_translate_or_raise(cpu, linear + n, kind, &p);
}

/* --- Read-modify-write ------------------------------------------------------
 */

void *x86_rmw_begin(struct x86_cpu *cpu, struct x86_rmw *r, uint64_t linear,
		    unsigned size)
{
	unsigned kind = x86_tlb_kind(cpu) | 1;
	void *host = x86_tlb_lookup(cpu, linear, size, kind);
	struct mmu_page p, q;

	r->bounced = false;
	r->code_gpa = UINT64_MAX;
	if (host)
		return host;
	r->linear = linear;
	r->size = size;
	mmu_check_canonical(cpu, linear, size);
	mmu_translate_or_raise(cpu, linear, kind, &p);
	if (mmu_in_page(linear, size) < size)
		mmu_translate_or_raise(cpu, linear + mmu_in_page(linear, size),
				       kind, &q);
	mmu_check_aligned(cpu, linear, size, kind);
	if (mmu_in_page(linear, size) == size && p.what < MMU_ROM) {
		if (p.what == MMU_WATCHED)
			mmu_note_breakpoints(cpu, linear, size, true);
		if (p.what != MMU_RAM && mmu_is_code(cpu, p.gpa))
			r->code_gpa = p.gpa;
		return p.host;
	}
	r->bounced = true;
	pthread_mutex_lock(&cpu->xm->bounce_lock);
	cpu->bounce_held = true;
	mmu_read(cpu, linear, r->buf, size, kind);
	return r->buf;
}

void x86_rmw_end(struct x86_cpu *cpu, struct x86_rmw *r)
{
	if (r->bounced) {
		mmu_write(cpu, r->linear, r->buf, r->size,
			  x86_tlb_kind(cpu) | 1);
		x86_rmw_abort(cpu);
	} else if (r->code_gpa != UINT64_MAX) {
		mmu_code_written(cpu, r->code_gpa, r->size);
	}
}

void x86_rmw_cancel(struct x86_cpu *cpu, struct x86_rmw *r)
{
	if (r->bounced)
		x86_rmw_abort(cpu);
}

/*
 * The operand was translated before the lock was taken, but another vCPU may
 * change the page tables since, so that reading or writing it raises.
 */
void x86_rmw_abort(struct x86_cpu *cpu)
{
	if (!cpu->bounce_held)
		return;
	cpu->bounce_held = false;
	pthread_mutex_unlock(&cpu->xm->bounce_lock);
}

void *x86_span(struct x86_cpu *cpu, uint64_t linear, uint64_t len, bool write,
	       uint64_t *got)
{
	unsigned kind = x86_tlb_kind(cpu) | write;
	uint64_t left = MEM_PAGE_SIZE - (linear & MEM_PAGE_MASK);
	void *host = x86_tlb_lookup(cpu, linear, 1, kind);
	struct mmu_page p;

	*got = len < left ? len : left;
	if (host)
		return host;
	mmu_check_canonical(cpu, linear, 1);
	mmu_translate_or_raise(cpu, linear, kind, &p);
	if (cpu->mode & X86_MODE_ALIGN)
		return NULL; /* each element is checked */
	return p.what == MMU_RAM ? p.host : NULL;
}

void *x86_tlb_fill(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		   unsigned kind)
{
	struct mmu_page p;
	uint32_t error;

	if (mmu_in_page(linear, size) < size || cpu->mode & X86_MODE_ALIGN)
		return NULL;
	if (x86_long_mode(cpu) && !x86_canonical(cpu, linear))
		return NULL;
	if (!mmu_translate(cpu, linear, kind, &p, &error))
		return NULL;
	return p.what == MMU_RAM ? p.host : NULL;
}

/* --- Code
 * --------------------------------------------------------------------- */

static bool mmu_fetch(struct x86_cpu *cpu, uint64_t linear, uint64_t *gpa,
		      uint32_t *error)
{
	bool user = cpu->mode & X86_MODE_USER;
	uint64_t page = (linear & ~MEM_PAGE_MASK) | 2 | user;
	struct x86_itlb_entry *e =
		&cpu->tlb.code[linear >> 12 & (X86_ITLB_SIZE - 1)];
	struct page_access a = { .fetch = true, .user = user };
	struct page_result r;

	if ((e->page & ~4ull) != page) {
		if (!page_walk(cpu, linear, &a, &r)) {
			*error = r.error;
			return false;
		}
		if (r.shift > 12) {
			tlb_note_large(&cpu->tlb, linear, 21);
			tlb_note_large(&cpu->tlb, linear, 30);
		}
		e->page = page | (r.global ? 4 : 0);
		e->gpa = r.gpa & ~MEM_PAGE_MASK;
	}
	*gpa = e->gpa | (linear & MEM_PAGE_MASK);
	return true;
}

uint64_t x86_fetch_gpa(struct x86_cpu *cpu, uint64_t linear)
{
	uint32_t error;
	uint64_t gpa;

	if (x86_long_mode(cpu) && !x86_canonical(cpu, linear))
		x86_gp(cpu, 0);
	if (!mmu_fetch(cpu, linear, &gpa, &error))
		x86_raise_pf(cpu, linear, error);
	return gpa;
}

uint64_t x86_fetch_gpa_quiet(struct x86_cpu *cpu, uint64_t linear)
{
	uint32_t error;
	uint64_t gpa;

	if (x86_long_mode(cpu) && !x86_canonical(cpu, linear))
		return UINT64_MAX;
	return mmu_fetch(cpu, linear, &gpa, &error) ? gpa : UINT64_MAX;
}

bool x86_translate_debug(struct x86_cpu *cpu, uint64_t linear, uint64_t *gpa)
{
	struct page_access a = { .debug = true };
	struct page_result r;

	if (x86_long_mode(cpu) && !x86_canonical(cpu, linear))
		return false;
	if (!page_walk(cpu, linear, &a, &r))
		return false;
	*gpa = r.gpa;
	return true;
}

void x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3)
{
	uint64_t p[4];
	unsigned i;

	if (mem_read(cpu->mem, cr3 & 0xffffffe0, p, sizeof(p)))
		memset(p, 0xff, sizeof(p));
	for (i = 0; i < 4; i++) /* SDM 3A 4.4.1 */
		if (p[i] & X86_PTE_P &&
		    p[i] & (0x1e6 | ~((1ull << X86_PHYS_BITS) - 1)))
			x86_gp(cpu, 0);
	memcpy(cpu->pdpte, p, sizeof(p));
}

void x86_set_cr3(struct x86_cpu *cpu, uint64_t value)
{
	if (cpu->cr0 & X86_CR0_PG && cpu->cr4 & X86_CR4_PAE &&
	    !x86_long_mode(cpu))
		x86_load_pdptes(cpu, value);
	cpu->cr3 = value & ~(1ull << 63);
	x86_tlb_flush_nonglobal(cpu);
}
