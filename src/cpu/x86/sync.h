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
 * Marks the RAM page of gpa as code; returns once no vCPU can write it
 * unnoticed.  The caller is a vCPU inside its engine's run(); it must hold no
 * lock that a vCPU takes while running.
 */
void x86_mark_code(struct x86_cpu *cpu, uint64_t gpa);
/*
 * No cached code is left on the page.  Without effect while code_shared is
 * set: another engine's may be.
 */
void x86_unmark_code(struct x86_cpu *cpu, uint64_t gpa);

/* Bracket run(): outside, a vCPU is quiescent and needs not answer. */
void x86_sync_enter(struct x86_cpu *cpu);
void x86_sync_leave(struct x86_cpu *cpu);
/* X86_PEND_SYNC was set: answer. Called from x86_take_pending(). */
void x86_sync_answer(struct x86_cpu *cpu);

#endif
