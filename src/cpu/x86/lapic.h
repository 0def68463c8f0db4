/*
 * lapic.h - the local APIC, one per vCPU, and the bus between them.
 *
 * Source: Intel SDM volume 3A chapter 11 (xAPIC and x2APIC).
 *
 * Threads: register accesses, lapic_ack() and lapic_pending() from the owner's
 * vCPU thread; delivery from any thread, without a lock.  The timer has a
 * mutex, a leaf in the lock order but for the loop's; a halted vCPU also
 * wakes by it.
 */
#ifndef HOSTEL_CPU_X86_LAPIC_H
#define HOSTEL_CPU_X86_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/walk.h"

struct x86_cpu;
struct x86_machine;
struct lapic;

#define LAPIC_BASE     0xfee00000ull
#define LAPIC_TIMER_HZ 1000000000ull /* the timer's input clock */

struct lapic *lapic_new(struct x86_cpu *cpu, struct err *err);
void lapic_free(struct lapic *l);
void lapic_reset(struct lapic *l, bool init);
void lapic_walk(struct lapic *l, struct walk *w);
/*
 * xAPIC MMIO page at LAPIC_BASE: mmu.c passes accesses of a vCPU to its own
 * local APIC's page (IA32_APIC_BASE may have moved it) here before the bus.
 * True: handled.
 */
bool lapic_mmio(struct lapic *l, uint64_t gpa, unsigned size, bool write,
		uint64_t *value);

/* MSRs 1b, 6e0 and 800..8ff; false: #GP. */
bool lapic_rdmsr(struct lapic *l, uint32_t index, uint64_t *value);
bool lapic_wrmsr(struct lapic *l, uint32_t index, uint64_t value);
uint8_t lapic_get_tpr(struct lapic *l); /* CR8: bits 7..4 of TPR */
void lapic_set_tpr(struct lapic *l, uint8_t cr8);

/*
 * The INTA cycle: highest-priority deliverable vector moves from IRR to ISR;
 * -1: none.  ExtINT from the 8259 comes through LINT0 or, with the APIC
 * disabled, directly.
 */
int lapic_ack(struct lapic *l);
/* Would lapic_ack() return a vector?  Cheap; own thread. */
bool lapic_pending(struct lapic *l);
/* INTR from the 8259 pair changed level. Any thread. */
void lapic_extint(struct x86_machine *xm, bool level);

enum lapic_delivery {
	LAPIC_FIXED,
	LAPIC_LOWEST,
	LAPIC_SMI,
	LAPIC_RES,
	LAPIC_NMI,
	LAPIC_INIT,
	LAPIC_SIPI,
	LAPIC_EXTINT,
};
/* A message from IOAPIC, MSI or IPI to every local APIC it addresses. */
struct lapic_msg {
	uint32_t dest;
	bool logical;
	uint8_t mode; /* enum lapic_delivery */
	uint8_t vector;
	bool level; /* trigger mode */
};
void lapic_deliver(struct x86_machine *xm, const struct lapic_msg *msg);
/* An MSI write: address FEExxxxx and data. */
void lapic_deliver_msi(struct x86_machine *xm, uint64_t addr, uint32_t data);
/* --- Registers, for an engine that runs the APIC elsewhere --------------- */

/*
 * Registers by number (SDM table 11-6: MMIO offset / 16), and what they do not
 * hold.  ID, version, PPR and TMCCT are 0.  No padding: may be compared.
 */
struct lapic_regs {
	uint64_t base;  /* IA32_APIC_BASE */
	uint64_t start; /* one-shot, periodic: guest ns of the last start */
	uint64_t running;
	uint32_t reg[64];
};
/*
 * outside: the engine's copy counts; the timer here stands still, and the
 * registers here change by these functions and the walker only.  While the
 * vCPU stands.
 */
void lapic_set_outside(struct lapic *l, bool outside);
void lapic_get_regs(struct lapic *l, struct lapic_regs *r);
void lapic_set_regs(struct lapic *l, const struct lapic_regs *r);
/* Fills in `running` and `start` for a TMCCT of `count`. */
void lapic_place_timer(struct lapic *l, struct lapic_regs *r, uint32_t count);
uint32_t lapic_timer_count(struct lapic *l); /* TMCCT now */
/* EOI of a level-triggered vector there: calls the EOI hook. */
void lapic_tell_eoi(struct lapic *l, uint8_t vector);
uint64_t lapic_get_deadline(struct lapic *l);
void lapic_set_deadline(struct lapic *l, uint64_t tsc);

/* The guest's TSC jumped (written, restored): place its deadline anew. */
void lapic_tsc_moved(struct lapic *l);
/*
 * EOI of a level-triggered vector: called with the vector; any vCPU thread.
 * To be set when all vCPUs exist.
 */
void lapic_set_eoi_hook(struct x86_machine *xm,
			void (*fn)(void *opaque, uint8_t vector), void *opaque);

#endif
