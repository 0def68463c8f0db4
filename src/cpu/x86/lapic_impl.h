/*
 * lapic_impl.h - what lapic.c (registers), lapic_bus.c (messages between
 * APICs) and lapic_timer.c share.  Nobody else includes it.
 *
 * Who may touch what, without a lock:
 *	- ISR and ICR belong to the owner's thread.
 *	- IRR and TMR: any thread sets bits, only the owner clears them.  A
 *	  sender sets TMR, then IRR, then calls x86_pend(); the owner clears
 *	  X86_PEND_INTR before it looks at IRR.
 *	- TPR, PPR, SVR, LDR, DFR, base, LVT: written by the owner, read by
 *	  senders who look for the addressee.
 *	- The timer is guarded by its mutex.
 */
#ifndef HOSTEL_CPU_X86_LAPIC_IMPL_H
#define HOSTEL_CPU_X86_LAPIC_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/lapic.h"

/* Registers by number: MMIO offset / 16, MSR - 0x800 (SDM table 11-6). */
enum lapic_reg {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_RRD = 0x0c,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10, /* 8 of them, as TMR and IRR */
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30,
	LAPIC_ICR2 = 0x31,
	LAPIC_LVT_FIRST = 0x32, /* timer, thermal, perf, LINT0, LINT1, error */
	LAPIC_LVT_LAST = 0x37,
	LAPIC_TMICT = 0x38,
	LAPIC_TMCCT = 0x39,
	LAPIC_TDCR = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};

enum lapic_lvt {
	LAPIC_LVT_TIMER,
	LAPIC_LVT_THERMAL,
	LAPIC_LVT_PERF,
	LAPIC_LVT_LINT0,
	LAPIC_LVT_LINT1,
	LAPIC_LVT_ERROR,
	LAPIC_LVT_COUNT,
};

#define LAPIC_LVT_MASKED     0x10000u
#define LAPIC_LVT_TIMER_MODE 0x60000u
#define LAPIC_TIMER_PERIODIC 0x20000u
#define LAPIC_TIMER_DEADLINE 0x40000u

#define LAPIC_BASE_BSP  0x100ull
#define LAPIC_BASE_EXTD 0x400ull
#define LAPIC_BASE_EN   0x800ull
#define LAPIC_BASE_ADDR 0x3ffffffff000ull /* 46 bits of address */

#define LAPIC_SVR_ENABLE       0x100u
#define LAPIC_SVR_SUPPRESS_EOI 0x1000u

#define LAPIC_ESR_SEND_VECTOR    0x20u
#define LAPIC_ESR_RECEIVE_VECTOR 0x40u
#define LAPIC_ESR_REGISTER       0x80u

struct lapic_timer {
	struct timer timer;   /* of the loop */
	pthread_mutex_t lock; /* guards all below */
	uint32_t initial;     /* TMICT */
	uint32_t divide;      /* TDCR */
	bool running;         /* counting (not in deadline mode) */
	uint64_t start;       /* guest ns at which `initial` was loaded */
	uint64_t deadline;    /* IA32_TSC_DEADLINE, guest TSC; 0: disarmed */
	uint64_t deadline_ns; /* the same in guest time */
	uint64_t host_tsc;    /* the same by the host's TSC */
};

struct lapic {
	struct x86_cpu *cpu;
	_Atomic uint32_t irr[8], tmr[8];
	uint32_t isr[8];
	_Atomic uint8_t tpr, ppr;
	_Atomic uint64_t base; /* IA32_APIC_BASE */
	_Atomic uint32_t svr, ldr, dfr;
	_Atomic uint32_t lvt[LAPIC_LVT_COUNT];
	_Atomic uint32_t esr_latch; /* errors since the last write of ESR */
	uint32_t esr;               /* what reading ESR gives */
	uint64_t icr;
	bool outside;       /* lapic.h: lapic_set_outside() */
	atomic_bool extint; /* an ExtINT message waits for its INTA cycle */
	struct lapic_timer timer;
	void (*eoi_fn)(void *opaque, uint8_t vector);
	void *eoi_opaque;
};

static inline bool lapic_enabled(struct lapic *l)
{
	return atomic_load_explicit(&l->base, memory_order_relaxed) &
	       LAPIC_BASE_EN;
}

static inline bool lapic_x2apic(struct lapic *l)
{
	return atomic_load_explicit(&l->base, memory_order_relaxed) &
	       LAPIC_BASE_EXTD;
}

/* Notes errors for ESR and raises LVT ERROR. Any thread. */
void lapic_error(struct lapic *l, uint32_t errors);
/* Puts a vector into IRR and tells the vCPU. Any thread. */
void lapic_accept(struct lapic *l, uint8_t vector, bool level);
/* The event of an LVT entry happened. Any thread. */
void lapic_local_event(struct lapic *l, enum lapic_lvt n);
/* After ISR or TPR changed. Own thread. */
void lapic_update_ppr(struct lapic *l);
/* Does the 8259's INTR reach this vCPU?  Any thread. */
bool lapic_takes_pic(struct lapic *l);

/* lapic_bus.c: ICR was written. Own thread. */
void lapic_send_ipi(struct lapic *l);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
void lapic_timer_free(struct lapic *l);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_walk(struct lapic *l, struct walk *w);
void lapic_timer_restored(struct lapic *l);
uint32_t lapic_timer_current(struct lapic *l); /* TMCCT */
void lapic_timer_set_initial(struct lapic *l, uint32_t count);
void lapic_timer_set_divide(struct lapic *l, uint32_t value);
void lapic_timer_set_lvt(struct lapic *l, uint32_t value);
uint64_t lapic_timer_get_deadline(struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc);

#endif
