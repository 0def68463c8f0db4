/*
 * lapic.c - the local APIC: registers, priorities, acknowledge and EOI.
 *
 * Theory of operation
 *
 * An interrupt is a bit in IRR, set by whoever sends it (lapic_impl.h says how
 * threads share the state); x86_pend(X86_PEND_INTR) then makes the vCPU ask
 * lapic_pending() and lapic_ack().  What IRR holds back because of TPR or ISR
 * is asked for again whenever the processor priority falls: on EOI and on
 * writes of TPR.  So nothing needs a lock but the timer.
 *
 * The two faces of the registers, xAPIC's page and x2APIC's MSRs, share
 * lapic_read_reg() and lapic_write_reg(); MSRs refuse (#GP) what lapic_msr[]
 * does not list, the page notes an error in ESR.
 *
 * LINT0 of the boot processor starts as ExtINT, unmasked: firmware leaves it
 * so (virtual wire mode), and a guest may be started without any.  LINT1 has
 * no source.
 */
#include "cpu/x86/lapic_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Version 14h, 6 LVT entries, EOI broadcast suppression. */
#define LAPIC_VERSION_VALUE (0x14u | (LAPIC_LVT_COUNT - 1) << 16 | 1u << 24)

#define LAPIC_MSR_BASE     0x1b
#define LAPIC_MSR_DEADLINE 0x6e0
#define LAPIC_MSR_X2APIC   0x800

#define LAPIC_MODE_EXTINT 0x700u
#define LAPIC_LVT_MODE    0x700u

/* Bits of each LVT entry that exist (SDM figure 11-8). */
static const uint32_t lapic_lvt_bits[LAPIC_LVT_COUNT] = {
	[LAPIC_LVT_TIMER] = 0x700ff, [LAPIC_LVT_THERMAL] = 0x107ff,
	[LAPIC_LVT_PERF] = 0x107ff,  [LAPIC_LVT_LINT0] = 0x1a7ff,
	[LAPIC_LVT_LINT1] = 0x1a7ff, [LAPIC_LVT_ERROR] = 0x100ff,
};

/* --- Priorities ----------------------------------------------------------- */

/* The highest bit of a 256-bit set; 0 if none (vectors 0..15 never occur). */
static uint8_t lapic_highest(const _Atomic uint32_t *words)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t w =
			atomic_load_explicit(&words[i], memory_order_relaxed);
		if (w)
			return (uint8_t)(i * 32 + 31 - __builtin_clz(w));
	}
	return 0;
}

static uint8_t lapic_highest_isr(const struct lapic *l)
{
	for (int i = 7; i >= 0; i--) {
		if (l->isr[i])
			return (uint8_t)(i * 32 + 31 -
					 __builtin_clz(l->isr[i]));
	}
	return 0;
}

/* PPR is the higher of TPR and the class in service (SDM 11.8.3.1). */
void lapic_update_ppr(struct lapic *l)
{
	uint8_t tpr = atomic_load_explicit(&l->tpr, memory_order_relaxed);
	uint8_t isrv = lapic_highest_isr(l);
	uint8_t ppr = tpr >> 4 >= isrv >> 4 ? tpr : isrv & 0xf0;

	atomic_store_explicit(&l->ppr, ppr, memory_order_relaxed);
}

/* The vector that may be dispatched now; 0: none. Own thread. */
static uint8_t lapic_deliverable(struct lapic *l)
{
	uint8_t vector = lapic_highest(l->irr);
	uint8_t ppr = atomic_load_explicit(&l->ppr, memory_order_relaxed);

	return vector >> 4 > ppr >> 4 ? vector : 0;
}

/* The processor priority may have fallen. Own thread. */
static void lapic_reconsider(struct lapic *l)
{
	lapic_update_ppr(l);
	if (lapic_deliverable(l))
		x86_pend(l->cpu, X86_PEND_INTR);
}

/* --- Accepting ------------------------------------------------------------ */

void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	unsigned word = vector / 32;
	uint32_t bit = 1u << vector % 32;

	if (vector < 16) {
		lapic_error(l, LAPIC_ESR_RECEIVE_VECTOR);
		return;
	}
	if (level)
		atomic_fetch_or(&l->tmr[word], bit);
	else if (atomic_load(&l->tmr[word]) & bit)
		atomic_fetch_and(&l->tmr[word], ~bit);
	atomic_fetch_or(&l->irr[word], bit);
	x86_pend(l->cpu, X86_PEND_INTR);
}

void lapic_local_event(struct lapic *l, enum lapic_lvt n)
{
	uint32_t lvt = l->lvt[n];

	if ((lvt & LAPIC_LVT_MASKED) || !lapic_enabled(l))
		return;
	switch ((enum lapic_delivery)((lvt & LAPIC_LVT_MODE) >> 8)) {
	case LAPIC_FIXED:
		lapic_accept(l, (uint8_t)lvt, false);
		break;
	case LAPIC_NMI:
		x86_pend(l->cpu, X86_PEND_NMI);
		break;
	default:
		break;
	}
}

/* An illegal vector in LVT ERROR itself must not report itself for ever. */
void lapic_error(struct lapic *l, uint32_t errors)
{
	uint32_t old = atomic_fetch_or(&l->esr_latch, errors);

	if (errors & ~old)
		lapic_local_event(l, LAPIC_LVT_ERROR);
}

/* --- The INTA cycle ------------------------------------------------------- */

bool lapic_takes_pic(struct lapic *l)
{
	uint32_t lint0 = l->lvt[LAPIC_LVT_LINT0];

	if (!lapic_enabled(l))
		return true;
	return (lint0 & (LAPIC_LVT_MASKED | LAPIC_LVT_MODE)) ==
	       LAPIC_MODE_EXTINT;
}

static bool lapic_extint_pending(struct lapic *l)
{
	struct x86_machine *xm = l->cpu->xm;

	if (!xm->pic_pending || !xm->pic_pending(xm->pic))
		return false;
	return lapic_takes_pic(l) ||
	       atomic_load_explicit(&l->extint, memory_order_relaxed);
}

bool lapic_pending(struct lapic *l)
{
	return lapic_deliverable(l) || lapic_extint_pending(l);
}

static void lapic_into_service(struct lapic *l, uint8_t vector)
{
	atomic_fetch_and(&l->irr[vector / 32], ~(1u << vector % 32));
	l->isr[vector / 32] |= 1u << vector % 32;
	/* It was above PPR: it is the highest in service now. */
	atomic_store_explicit(&l->ppr, vector & 0xf0, memory_order_relaxed);
}

int lapic_ack(struct lapic *l)
{
	struct x86_machine *xm = l->cpu->xm;
	uint8_t vector;

	if (lapic_extint_pending(l)) {
		atomic_store_explicit(&l->extint, false, memory_order_relaxed);
		return xm->pic_ack(xm->pic);
	}
	vector = lapic_deliverable(l);
	if (!vector)
		return -1;
	lapic_into_service(l, vector);
	return vector;
}

/* The highest in service is done (SDM 11.8.5). */
static void lapic_eoi(struct lapic *l)
{
	uint8_t vector = lapic_highest_isr(l);
	uint32_t bit = 1u << vector % 32;

	if (!vector)
		return;
	l->isr[vector / 32] &= ~bit;
	lapic_reconsider(l);
	if ((atomic_load(&l->tmr[vector / 32]) & bit) &&
	    !(l->svr & LAPIC_SVR_SUPPRESS_EOI) && l->eoi_fn)
		l->eoi_fn(l->eoi_opaque, vector);
}

uint8_t lapic_get_tpr(struct lapic *l)
{
	return l->tpr >> 4;
}

static void lapic_write_tpr(struct lapic *l, uint8_t tpr)
{
	atomic_store_explicit(&l->tpr, tpr, memory_order_relaxed);
	lapic_reconsider(l);
}

void lapic_set_tpr(struct lapic *l, uint8_t cr8)
{
	lapic_write_tpr(l, (uint8_t)(cr8 << 4));
}

void lapic_set_eoi_hook(struct x86_machine *xm,
			void (*fn)(void *opaque, uint8_t vector), void *opaque)
{
	for (unsigned i = 0; i < xm->cpu_count; i++) {
		xm->cpus[i]->lapic->eoi_fn = fn;
		xm->cpus[i]->lapic->eoi_opaque = opaque;
	}
}

/* --- Registers ------------------------------------------------------------ */

static uint32_t lapic_read_reg(struct lapic *l, unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
		return lapic_x2apic(l) ? l->cpu->index : l->cpu->index << 24;
	case LAPIC_VERSION:
		return LAPIC_VERSION_VALUE;
	case LAPIC_TPR:
		return l->tpr;
	case LAPIC_APR: /* not kept since the Pentium 4 */
		return 0;
	case LAPIC_PPR:
		return l->ppr;
	case LAPIC_LDR:
		return l->ldr;
	case LAPIC_DFR:
		return l->dfr;
	case LAPIC_SVR:
		return l->svr;
	case LAPIC_ISR ... LAPIC_ISR + 7:
		return l->isr[reg - LAPIC_ISR];
	case LAPIC_TMR ... LAPIC_TMR + 7:
		return l->tmr[reg - LAPIC_TMR];
	case LAPIC_IRR ... LAPIC_IRR + 7:
		return l->irr[reg - LAPIC_IRR];
	case LAPIC_ESR:
		return l->esr;
	case LAPIC_ICR:
		return (uint32_t)l->icr;
	case LAPIC_ICR2:
		return (uint32_t)(l->icr >> 32);
	case LAPIC_LVT_FIRST ... LAPIC_LVT_LAST:
		return l->lvt[reg - LAPIC_LVT_FIRST];
	case LAPIC_TMICT:
		return l->timer.initial;
	case LAPIC_TMCCT:
		return lapic_timer_current(l);
	case LAPIC_TDCR:
		return l->timer.divide;
	}
	return 0;
}

/* Bits 31..20 reserved, 17..16, 13; 12 (delivery status) reads 0. */
#define LAPIC_ICR_DEFINED 0x000ccfffu

static void lapic_write_icr(struct lapic *l, uint64_t value)
{
	l->icr = value & (LAPIC_ICR_DEFINED | 0xffffffff00000000ull);
	lapic_send_ipi(l);
}

/* An LVT entry stays masked while the APIC is disabled by software. */
static void lapic_write_lvt(struct lapic *l, enum lapic_lvt n, uint32_t value)
{
	struct x86_machine *xm = l->cpu->xm;

	value &= lapic_lvt_bits[n];
	if (!(l->svr & LAPIC_SVR_ENABLE))
		value |= LAPIC_LVT_MASKED;
	if (n == LAPIC_LVT_TIMER)
		lapic_timer_set_lvt(l, value);
	else
		l->lvt[n] = value;
	if (n == LAPIC_LVT_LINT0 && lapic_takes_pic(l) && xm->pic_pending &&
	    xm->pic_pending(xm->pic))
		x86_pend(l->cpu, X86_PEND_INTR);
}

static void lapic_write_svr(struct lapic *l, uint32_t value)
{
	l->svr = value & 0x11ff;
	if (value & LAPIC_SVR_ENABLE)
		return;
	for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
		lapic_write_lvt(l, n, l->lvt[n] | LAPIC_LVT_MASKED);
}

/* x2APIC: ICR is written whole, LDR and DFR are not: see the callers. */
static void lapic_write_reg(struct lapic *l, unsigned reg, uint32_t value)
{
	switch (reg) {
	case LAPIC_TPR:
		lapic_write_tpr(l, (uint8_t)value);
		break;
	case LAPIC_EOI:
		lapic_eoi(l);
		break;
	case LAPIC_LDR:
		l->ldr = value & 0xff000000;
		break;
	case LAPIC_DFR:
		l->dfr = value | 0x0fffffff;
		break;
	case LAPIC_SVR:
		lapic_write_svr(l, value);
		break;
	case LAPIC_ESR: /* a write fetches what was noted since the last */
		l->esr = atomic_exchange(&l->esr_latch, 0);
		break;
	case LAPIC_ICR:
		lapic_write_icr(l, (l->icr & ~0xffffffffull) | value);
		break;
	case LAPIC_ICR2:
		l->icr = (uint32_t)l->icr | (uint64_t)(value & 0xff000000)
						    << 32;
		break;
	case LAPIC_LVT_FIRST ... LAPIC_LVT_LAST:
		lapic_write_lvt(l, reg - LAPIC_LVT_FIRST, value);
		break;
	case LAPIC_TMICT:
		lapic_timer_set_initial(l, value);
		break;
	case LAPIC_TDCR:
		lapic_timer_set_divide(l, value);
		break;
	case LAPIC_SELF_IPI:
		lapic_accept(l, (uint8_t)value, false);
		break;
	}
}

/* --- xAPIC: the page ------------------------------------------------------ */

/*
 * Registers that the page has, read or written, as bits by number.  Others
 * are illegal register addresses (SDM 11.5.3).
 */
#define LAPIC_PAGE_READ                                      \
	(0x1000000000000ull * 0x3ff | 0x1ull << LAPIC_TDCR | \
	 0x1ffffff0000ull | 0xe70cull)
#define LAPIC_PAGE_WRITE                                     \
	(0x1000000000000ull * 0x1ff | 0x1ull << LAPIC_TDCR | \
	 0x1ull << LAPIC_ESR | 0xe900ull)

static uint64_t lapic_page_read(struct lapic *l, unsigned offset, unsigned size)
{
	unsigned reg = offset >> 4;
	uint64_t value;

	if (reg > 0x3f || !(LAPIC_PAGE_READ >> reg & 1)) {
		lapic_error(l, LAPIC_ESR_REGISTER);
		return 0;
	}
	/* Only bytes 0..3 of each 16 hold anything. */
	value = (offset & 0xf) < 4 ? lapic_read_reg(l, reg) : 0;
	value >>= (offset & 3) * 8;
	return size < 8 ? value & ((1ull << size * 8) - 1) : value;
}

static void lapic_page_write(struct lapic *l, unsigned offset, uint32_t value)
{
	unsigned reg = offset >> 4;

	if (offset & 0xf)
		return;
	if (reg > 0x3f || !((LAPIC_PAGE_WRITE | 1ull << LAPIC_ID) >> reg & 1))
		lapic_error(l, LAPIC_ESR_REGISTER);
	else
		lapic_write_reg(l, reg, value); /* the ID does not change */
}

bool lapic_mmio(struct lapic *l, uint64_t gpa, unsigned size, bool write,
		uint64_t *value)
{
	uint64_t base = atomic_load_explicit(&l->base, memory_order_relaxed);

	if ((gpa ^ base) & LAPIC_BASE_ADDR)
		return false;
	if ((base & (LAPIC_BASE_EN | LAPIC_BASE_EXTD)) != LAPIC_BASE_EN)
		return false;
	if (write)
		lapic_page_write(l, gpa & 0xfff, (uint32_t)*value);
	else
		*value = lapic_page_read(l, gpa & 0xfff, size);
	return true;
}

/* --- x2APIC: MSRs --------------------------------------------------------- */

/* What may be written; reserved bits raise #GP (SDM table 11-6, 11.12.1.3). */
struct lapic_msr {
	bool read, write;
	uint64_t bits;
};

#define LAPIC_RO               \
	{                      \
		true, false, 0 \
	}
#define LAPIC_RO8                                                             \
	LAPIC_RO, LAPIC_RO, LAPIC_RO, LAPIC_RO, LAPIC_RO, LAPIC_RO, LAPIC_RO, \
		LAPIC_RO
static const struct lapic_msr lapic_msr[0x40] = {
	[LAPIC_ID] = LAPIC_RO,
	[LAPIC_VERSION] = LAPIC_RO,
	[LAPIC_TPR] = { true, true, 0xff },
	[LAPIC_PPR] = LAPIC_RO,
	[LAPIC_EOI] = { false, true, 0 },
	[LAPIC_LDR] = LAPIC_RO,
	[LAPIC_SVR] = { true, true, 0x11ff },
	[LAPIC_ISR] = LAPIC_RO8,
	[LAPIC_TMR] = LAPIC_RO8,
	[LAPIC_IRR] = LAPIC_RO8,
	[LAPIC_ESR] = { true, true, 0 },
	[LAPIC_ICR] = { true, true, 0xffffffff000cdfff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_TIMER] = { true, true, 0x710ff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_THERMAL] = { true, true, 0x117ff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_PERF] = { true, true, 0x117ff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_LINT0] = { true, true, 0x1f7ff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_LINT1] = { true, true, 0x1f7ff },
	[LAPIC_LVT_FIRST + LAPIC_LVT_ERROR] = { true, true, 0x110ff },
	[LAPIC_TMICT] = { true, true, 0xffffffff },
	[LAPIC_TMCCT] = LAPIC_RO,
	[LAPIC_TDCR] = { true, true, 0xb },
	[LAPIC_SELF_IPI] = { false, true, 0xff },
};

static uint32_t lapic_x2apic_ldr(const struct lapic *l)
{
	uint32_t id = l->cpu->index;

	return id >> 4 << 16 | 1u << (id & 15);
}

static bool lapic_x2apic_read(struct lapic *l, unsigned reg, uint64_t *value)
{
	if (!lapic_x2apic(l) || reg > 0x3f || !lapic_msr[reg].read)
		return false;
	*value = reg == LAPIC_ICR ? l->icr : lapic_read_reg(l, reg);
	return true;
}

static bool lapic_x2apic_write(struct lapic *l, unsigned reg, uint64_t value)
{
	if (!lapic_x2apic(l) || reg > 0x3f || !lapic_msr[reg].write ||
	    (value & ~lapic_msr[reg].bits))
		return false;
	if (reg == LAPIC_ICR)
		lapic_write_icr(l, value);
	else
		lapic_write_reg(l, reg, (uint32_t)value);
	return true;
}

static void lapic_clear(struct lapic *l);

/*
 * The modes and their changes (SDM 11.12.5):
 *
 *	disabled <-> xAPIC --> x2APIC --> disabled
 */
static bool lapic_write_base(struct lapic *l, uint64_t value)
{
	const uint64_t modes = LAPIC_BASE_EN | LAPIC_BASE_EXTD;
	uint64_t old = l->base & modes, new = value &modes;

	if (value & ~(LAPIC_BASE_ADDR | modes | LAPIC_BASE_BSP))
		return false;
	if (new == LAPIC_BASE_EXTD)
		return false;
	if (old == modes && new == LAPIC_BASE_EN)
		return false;
	if (old == 0 && new == modes)
		return false;
	l->base = (value & ~LAPIC_BASE_BSP) | (l->base & LAPIC_BASE_BSP);
	if (new == 0 && old != 0)
		lapic_clear(l);
	if (new == modes && old != modes) {
		l->ldr = lapic_x2apic_ldr(l);
		l->icr &= 0xffffffff;
	}
	return true;
}

bool lapic_rdmsr(struct lapic *l, uint32_t index, uint64_t *value)
{
	if (index - LAPIC_MSR_X2APIC < 0x100)
		return lapic_x2apic_read(l, index - LAPIC_MSR_X2APIC, value);
	if (index == LAPIC_MSR_BASE)
		*value = l->base;
	else if (index == LAPIC_MSR_DEADLINE)
		*value = lapic_timer_get_deadline(l);
	else
		return false;
	return true;
}

bool lapic_wrmsr(struct lapic *l, uint32_t index, uint64_t value)
{
	if (index - LAPIC_MSR_X2APIC < 0x100)
		return lapic_x2apic_write(l, index - LAPIC_MSR_X2APIC, value);
	if (index == LAPIC_MSR_BASE)
		return lapic_write_base(l, value);
	if (index != LAPIC_MSR_DEADLINE)
		return false;
	lapic_timer_set_deadline(l, value);
	return true;
}

/* --- Life ----------------------------------------------------------------- */

/* Table 11-1 and 11.4.7: all but the ID and IA32_APIC_BASE. */
static void lapic_clear(struct lapic *l)
{
	for (unsigned i = 0; i < 8; i++)
		l->irr[i] = l->tmr[i] = l->isr[i] = 0;
	l->tpr = l->ppr = 0;
	l->svr = 0xff;
	l->ldr = lapic_x2apic(l) ? lapic_x2apic_ldr(l) : 0;
	l->dfr = 0xffffffff;
	l->esr_latch = 0;
	l->esr = 0;
	l->icr = 0;
	l->extint = false;
	for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
		l->lvt[n] = LAPIC_LVT_MASKED;
	lapic_timer_reset(l);
}

void lapic_reset(struct lapic *l, bool init)
{
	bool bsp = l->cpu->index == 0;

	if (!init)
		l->base =
			LAPIC_BASE | LAPIC_BASE_EN | (bsp ? LAPIC_BASE_BSP : 0);
	lapic_clear(l);
	if (!init && bsp)
		l->lvt[LAPIC_LVT_LINT0] = LAPIC_MODE_EXTINT;
}

/* The walker knows no atomics; nobody else looks while it runs. */
static void lapic_walk_set(struct walk *w, const char *field,
			   _Atomic uint32_t *words, size_t n)
{
	uint32_t copy[8];

	for (size_t i = 0; i < n; i++)
		copy[i] = words[i];
	walk_u32s(w, field, copy, n);
	for (size_t i = 0; i < n; i++)
		words[i] = copy[i];
}

static void lapic_walk_fields(struct lapic *l, struct walk *w)
{
	uint8_t tpr = l->tpr;
	uint64_t base = l->base;
	bool extint = l->extint;

	walk_u64(w, "base", &base);
	walk_u8(w, "tpr", &tpr);
	lapic_walk_set(w, "irr", l->irr, 8);
	lapic_walk_set(w, "tmr", l->tmr, 8);
	walk_u32s(w, "isr", l->isr, 8);
	lapic_walk_set(w, "svr", &l->svr, 1);
	lapic_walk_set(w, "ldr", &l->ldr, 1);
	lapic_walk_set(w, "dfr", &l->dfr, 1);
	lapic_walk_set(w, "lvt", l->lvt, LAPIC_LVT_COUNT);
	lapic_walk_set(w, "esr_latch", &l->esr_latch, 1);
	walk_u32(w, "esr", &l->esr);
	walk_u64(w, "icr", &l->icr);
	walk_bool(w, "extint", &extint);
	lapic_timer_walk(l, w);
	l->base = base;
	l->tpr = tpr;
	l->extint = extint;
}

void lapic_walk(struct lapic *l, struct walk *w)
{
	if (!walk_section(w, "lapic", l->cpu->index, 1))
		return;
	lapic_walk_fields(l, w);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	l->irr[0] &= 0xffff0000;
	l->isr[0] &= 0xffff0000;
	for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
		l->lvt[n] &= lapic_lvt_bits[n];
	lapic_timer_restored(l);
	lapic_reconsider(l);
}

struct lapic *lapic_new(struct x86_cpu *cpu, struct err *err)
{
	struct lapic *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(err, ENOMEM, "no memory for a local APIC");
		return NULL;
	}
	l->cpu = cpu;
	lapic_timer_init(l);
	lapic_reset(l, false);
	return l;
}

void lapic_free(struct lapic *l)
{
	if (!l)
		return;
	lapic_timer_free(l);
	free(l);
}
