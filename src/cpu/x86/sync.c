#include "cpu/x86/sync.h"

#include <sched.h>

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
void x86_mark_code(struct x86_cpu *cpu, uint64_t gpa)
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
	old = __atomic_fetch_or(flags, MEM_PAGE_CODE, __ATOMIC_SEQ_CST);
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

void x86_unmark_code(struct x86_cpu *cpu, uint64_t gpa)
{
	uint64_t page = mem_page(cpu->mem, gpa);

	if (page != UINT64_MAX && !atomic_load(&cpu->xm->code_shared))
		__atomic_fetch_and(&mem_page_flags(cpu->mem)[page],
				   (uint8_t)~MEM_PAGE_CODE, __ATOMIC_SEQ_CST);
}
