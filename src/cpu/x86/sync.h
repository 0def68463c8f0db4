/*
 * sync.h - making code pages known to every vCPU.
 *
 * Engines cache decoded code by physical page.  Before code of a page is
 * cached, the page is marked MEM_PAGE_CODE, and every vCPU must have lost its
 * writable TLB entries for it; from then on each write to it goes through the
 * slow path of mmu.c, which calls engine_ops.code_written.
 */
#ifndef HOSTEL_CPU_X86_SYNC_H
#define HOSTEL_CPU_X86_SYNC_H

#include "cpu/x86/cpu.h"

/*
 * A page stays marked while anybody holds code of it: a vCPU with a cache of
 * its own (the translator's; holder = its index), or the cache that all share
 * (the interpreter's; X86_HOLDER_SHARED).  So a page that is data again, as
 * freed memory soon is, becomes cheap to write again.
 */
#define X86_HOLDER_SHARED(xm) ((xm)->cpu_count)

/*
 * Room for the counts, once the number of vCPUs is known.  Without it (tests
 * of parts) marks stay where several might hold code.
 */
int x86_sync_init(struct x86_machine *xm, struct err *err);
void x86_sync_free(struct x86_machine *xm);

/*
 * Marks the RAM page of gpa as code; returns once no vCPU can write it
 * unnoticed.  The caller is a vCPU inside its engine's run(); it must hold no
 * lock that a vCPU takes while running.
 */
void x86_hold_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder);
/* The holder has no cached code left on the page. Any thread. */
void x86_drop_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder);
/* Held, and nobody has dropped it for the holder since. */
bool x86_holds_code(struct x86_cpu *cpu, uint64_t gpa, unsigned holder);

/* For the shared cache. */
static inline void x86_mark_code(struct x86_cpu *cpu, uint64_t gpa)
{
	x86_hold_code(cpu, gpa, X86_HOLDER_SHARED(cpu->xm));
}

static inline void x86_unmark_code(struct x86_cpu *cpu, uint64_t gpa)
{
	x86_drop_code(cpu, gpa, X86_HOLDER_SHARED(cpu->xm));
}

/* Bracket run(): outside, a vCPU is quiescent and needs not answer. */
void x86_sync_enter(struct x86_cpu *cpu);
void x86_sync_leave(struct x86_cpu *cpu);
/* X86_PEND_SYNC was set: answer. Called from x86_take_pending(). */
void x86_sync_answer(struct x86_cpu *cpu);

#endif
