#include "cpu/x86/sync.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "cpu/x86/mmu.h"

/*
 * The order that makes it right (all sequentially consistent):
 *
 *	marker			writer filling its TLB (mmu.c)
 *	------			------------------------------
 *	page |= CODE		page |= WRITTEN
 *	if page & WRITTEN:	if page & CODE: no entry
 *	    every vCPU drops
 *	    its entries
 *
 * Either the writer sees CODE, or the marker sees WRITTEN.  A vCPU outside
 * run() needs not answer: it looks at sync_count when it enters.
 */

void x86_sync_answer(struct x86_cpu *cpu)
{
	struct x86_machine *xm = cpu->xm;
	unsigned seen = atomic_load(&cpu->sync_seen);
	unsigned count;

	atomic_fetch_and(&cpu->pending, ~X86_PEND_SYNC);
	count = atomic_load(&xm->sync_count);
	if (count - seen > X86_SYNC_RING / 2)
		x86_tlb_flush_all(cpu);
	else
		for (; seen != count; seen++)
			x86_tlb_drop_writable(
				cpu, xm->sync_pages[seen % X86_SYNC_RING]);
	atomic_store(&cpu->sync_seen, count);
}

void x86_sync_enter(struct x86_cpu *cpu)
{
	cpu->thread = pthread_self();
	atomic_store(&cpu->running, true);
	if (atomic_load(&cpu->sync_seen) != atomic_load(&cpu->xm->sync_count))
		x86_sync_answer(cpu);
}

void x86_sync_leave(struct x86_cpu *cpu)
{
	atomic_store(&cpu->running, false);
}

static void sync_lock(struct x86_cpu *cpu)
{
	while (atomic_flag_test_and_set(&cpu->xm->sync_lock)) {
		if (atomic_load(&cpu->pending) & X86_PEND_SYNC)
			x86_sync_answer(cpu);
		sched_yield();
	}
}

static void sync_wait(struct x86_cpu *cpu, struct x86_cpu *other,
		      unsigned count)
{
	unsigned spins = 0;

	while (atomic_load(&other->running) &&
	       (int)(atomic_load(&other->sync_seen) - count) < 0) {
		if (atomic_load(&cpu->pending) & X86_PEND_SYNC)
			x86_sync_answer(cpu);
		if (++spins > 200)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}

/* Every other vCPU drops its writable entries of the page.  Under the lock. */
static void sync_shoot_down(struct x86_cpu *cpu, uint64_t gpa)
{
	struct x86_machine *xm = cpu->xm;
	unsigned i, count;

	count = atomic_load(&xm->sync_count);
	xm->sync_pages[count % X86_SYNC_RING] = gpa;
	atomic_store(&xm->sync_count, ++count);
	for (i = 0; i < xm->cpu_count; i++)
		if (xm->cpus[i] != cpu)
			atomic_fetch_or(&xm->cpus[i]->pending, X86_PEND_SYNC);
	for (i = 0; i < xm->cpu_count; i++)
		if (xm->cpus[i] != cpu)
			sync_wait(cpu, xm->cpus[i], count);
}

/*
 * The lock also makes a second vCPU that marks the same page wait until the
 * first one's shooting down is complete.
 */
/* --- Who holds code of a page ----------------------------------------------
 */

static size_t sync_pages_of(const struct x86_machine *xm)
{
	return mem_page_count(xm->mem);
}

static size_t sync_bitmap_bytes(const struct x86_machine *xm)
{
	return (sync_pages_of(xm) + 7) / 8;
}

static void *sync_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* --- Memory that changes its place ----------------------------------------
 */

/* The vCPU whose thread this is; NULL: another thread. */
static struct x86_cpu *sync_self(struct x86_machine *xm)
{
	pthread_t self = pthread_self();

	for (unsigned i = 0; i < xm->cpu_count; i++) {
		struct x86_cpu *cpu = xm->cpus ? xm->cpus[i] : NULL;

		if (cpu && atomic_load(&cpu->running) &&
		    pthread_equal(cpu->thread, self))
			return cpu;
	}
	return NULL;
}

/*
 * Nobody is waited for: the caller may hold a lock that a vCPU waits for.
 * Counting on by the whole ring makes every vCPU flush all when it answers.
 */
static void sync_forget_translations(struct x86_machine *xm)
{
	struct x86_cpu *self = sync_self(xm);

	while (atomic_flag_test_and_set(&xm->sync_lock))
		if (self && atomic_load(&self->pending) & X86_PEND_SYNC)
			x86_sync_answer(self);
	atomic_fetch_add(&xm->sync_count, X86_SYNC_RING);
	atomic_flag_clear(&xm->sync_lock);
	for (unsigned i = 0; i < xm->cpu_count; i++)
		if (xm->cpus && xm->cpus[i] && xm->cpus[i] != self)
			atomic_fetch_or(&xm->cpus[i]->pending, X86_PEND_SYNC);
	if (self)
		x86_sync_answer(self);
}

/* mem_remap_hook */
static void sync_remap(void *opaque, uint64_t gpa, uint64_t len, bool done)
{
	struct x86_machine *xm = opaque;

	if (done)
		sync_forget_translations(xm);
	else if (xm->engine_ops && xm->engine_ops->code_written)
		xm->engine_ops->code_written(xm, gpa, len);
}

int x86_sync_init(struct x86_machine *xm, struct err *err)
{
	mem_set_remap_hook(xm->mem, sync_remap, xm);
	xm->code_holders = sync_map(sync_pages_of(xm) * sizeof(uint16_t));
	xm->code_held = sync_map(sync_bitmap_bytes(xm) * (xm->cpu_count + 1));
	if (xm->code_holders && xm->code_held)
		return 0;
	return err_set(err, ENOMEM, "no memory for the marks of code pages");
}

void x86_sync_free(struct x86_machine *xm)
{
	mem_set_remap_hook(xm->mem, NULL, NULL);
	if (xm->code_holders)
		munmap(xm->code_holders, sync_pages_of(xm) * sizeof(uint16_t));
	if (xm->code_held)
		munmap(xm->code_held,
		       sync_bitmap_bytes(xm) * (xm->cpu_count + 1));
	xm->code_holders = NULL;
	xm->code_held = NULL;
}

/* A leaf: held for a few instructions, over nothing that waits. */
static void sync_code_lock(struct x86_machine *xm)
{
	while (atomic_flag_test_and_set(&xm->code_lock))
		__builtin_ia32_pause();
}

static void sync_code_unlock(struct x86_machine *xm)
{
	atomic_flag_clear(&xm->code_lock);
}

static uint8_t *sync_held_byte(struct x86_machine *xm, uint64_t page,
			       unsigned holder)
{
	return &xm->code_held[holder * sync_bitmap_bytes(xm) + page / 8];
}

/* Sets CODE; returns the page's flags from before. */
static uint8_t sync_take(struct x86_machine *xm, uint64_t page, unsigned holder)
{
	uint8_t bit = 1u << page % 8, *held, old;

	sync_code_lock(xm);
	if (xm->code_held) {
		held = sync_held_byte(xm, page, holder);
		xm->code_holders[page] += !(*held & bit);
		*held |= bit;
	}
	old = __atomic_fetch_or(&mem_page_flags(xm->mem)[page], MEM_PAGE_CODE,
				__ATOMIC_SEQ_CST);
	sync_code_unlock(xm);
	return old;
}

/* Takes the holder's bit away; true: nobody holds code of the page now. */
static bool sync_give_back(struct x86_machine *xm, uint64_t page,
			   unsigned holder)
{
	uint8_t bit = 1u << page % 8, *held;

	if (!xm->code_held)
		return !atomic_load(&xm->code_shared) &&
		       (xm->cpu_count == 1 || holder == xm->cpu_count);
	held = sync_held_byte(xm, page, holder);
	if (!(*held & bit))
		return false;
	*held &= (uint8_t)~bit;
	return --xm->code_holders[page] == 0;
}

void x86_drop_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder)
{
	struct x86_machine *xm = cpu->xm;
	uint64_t page = mem_page(cpu->mem, gpa);

	if (page == UINT64_MAX)
		return;
	sync_code_lock(xm);
	if (sync_give_back(xm, page, holder))
		__atomic_fetch_and(&mem_page_flags(cpu->mem)[page],
				   (uint8_t)~MEM_PAGE_CODE, __ATOMIC_SEQ_CST);
	sync_code_unlock(xm);
}

bool x86_holds_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder)
{
	struct x86_machine *xm = cpu->xm;
	uint64_t page = mem_page(cpu->mem, gpa);
	bool holds;

	if (page == UINT64_MAX)
		return false;
	sync_code_lock(xm);
	if (xm->code_held)
		holds = *sync_held_byte(xm, page, holder) >> page % 8 & 1;
	else
		holds = __atomic_load_n(&mem_page_flags(cpu->mem)[page],
					__ATOMIC_SEQ_CST) &
			MEM_PAGE_CODE;
	sync_code_unlock(xm);
	return holds;
}

void x86_hold_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder)
{
	uint64_t page = mem_page(cpu->mem, gpa);
	bool alone = cpu->xm->cpu_count == 1;
	uint8_t *flags, old;

	if (page == UINT64_MAX)
		return;
	gpa &= ~MEM_PAGE_MASK;
	flags = &mem_page_flags(cpu->mem)[page];
	if (!alone)
		sync_lock(cpu);
	old = sync_take(cpu->xm, page, holder);
	if (old & MEM_PAGE_WRITTEN) {
		__atomic_fetch_and(flags, (uint8_t)~MEM_PAGE_WRITTEN,
				   __ATOMIC_SEQ_CST);
		x86_tlb_drop_writable(cpu, gpa);
		if (!alone)
			sync_shoot_down(cpu, gpa);
	}
	if (!alone)
		atomic_flag_clear(&cpu->xm->sync_lock);
}
