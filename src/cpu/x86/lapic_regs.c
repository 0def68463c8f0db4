/*
 * lapic_regs.c - a local APIC's registers, for an engine whose hardware or
 * kernel runs the APIC itself and only borrows the state from here.
 */
#include "cpu/x86/lapic_impl.h"

#include <string.h>

void lapic_set_outside(struct lapic *l, bool outside)
{
	l->outside = outside;
}

static void lapic_regs_get_sets(struct lapic *l, struct lapic_regs *r)
{
	for (unsigned i = 0; i < 8; i++) {
		r->reg[LAPIC_ISR + i] = l->isr[i];
		r->reg[LAPIC_TMR + i] = l->tmr[i];
		r->reg[LAPIC_IRR + i] = l->irr[i];
	}
}

static void lapic_regs_get_timer(struct lapic *l, struct lapic_regs *r)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	r->reg[LAPIC_TMICT] = t->initial;
	r->reg[LAPIC_TDCR] = t->divide;
	r->running = t->running;
	r->start = t->running ? t->start : 0;
	pthread_mutex_unlock(&t->lock);
}

void lapic_get_regs(struct lapic *l, struct lapic_regs *r)
{
	memset(r, 0, sizeof(*r));
	r->base = l->base;
	r->reg[LAPIC_TPR] = l->tpr;
	r->reg[LAPIC_LDR] = l->ldr;
	r->reg[LAPIC_DFR] = l->dfr;
	r->reg[LAPIC_SVR] = l->svr;
	r->reg[LAPIC_ESR] = l->esr;
	r->reg[LAPIC_ICR] = (uint32_t)l->icr;
	r->reg[LAPIC_ICR2] = (uint32_t)(l->icr >> 32);
	for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
		r->reg[LAPIC_LVT_FIRST + n] = l->lvt[n];
	lapic_regs_get_sets(l, r);
	lapic_regs_get_timer(l, r);
}

uint32_t lapic_timer_count(struct lapic *l)
{
	return lapic_timer_current(l);
}

static void lapic_regs_set_timer(struct lapic *l, const struct lapic_regs *r)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	t->initial = r->reg[LAPIC_TMICT];
	t->divide = r->reg[LAPIC_TDCR] & 0xb;
	t->running = r->running && t->initial;
	t->start = r->start;
	pthread_mutex_unlock(&t->lock);
}

void lapic_set_regs(struct lapic *l, const struct lapic_regs *r)
{
	l->base = r->base;
	l->tpr = (uint8_t)r->reg[LAPIC_TPR];
	l->ldr = r->reg[LAPIC_LDR];
	l->dfr = r->reg[LAPIC_DFR];
	l->svr = r->reg[LAPIC_SVR];
	l->esr = r->reg[LAPIC_ESR];
	l->icr = r->reg[LAPIC_ICR] | (uint64_t)r->reg[LAPIC_ICR2] << 32;
	for (unsigned n = 0; n < LAPIC_LVT_COUNT; n++)
		l->lvt[n] = r->reg[LAPIC_LVT_FIRST + n];
	for (unsigned i = 0; i < 8; i++) {
		l->isr[i] = r->reg[LAPIC_ISR + i];
		l->tmr[i] = r->reg[LAPIC_TMR + i];
		l->irr[i] = r->reg[LAPIC_IRR + i];
	}
	lapic_regs_set_timer(l, r);
	lapic_update_ppr(l);
}

/* TMCCT was `count` just now. */
void lapic_place_timer(struct lapic *l, struct lapic_regs *r, uint32_t count)
{
	unsigned n = (r->reg[LAPIC_TDCR] & 3) | (r->reg[LAPIC_TDCR] & 8) >> 1;
	uint64_t done = r->reg[LAPIC_TMICT] - count;

	r->running = r->reg[LAPIC_TMICT] && count <= r->reg[LAPIC_TMICT];
	r->start = vclock_now(l->cpu->xm->clock) - (done << ((n + 1) & 7));
}

uint64_t lapic_get_deadline(struct lapic *l)
{
	return lapic_timer_get_deadline(l);
}

void lapic_set_deadline(struct lapic *l, uint64_t tsc)
{
	pthread_mutex_lock(&l->timer.lock);
	l->timer.deadline = tsc;
	pthread_mutex_unlock(&l->timer.lock);
}

void lapic_tell_eoi(struct lapic *l, uint8_t vector)
{
	if (l->eoi_fn)
		l->eoi_fn(l->eoi_opaque, vector);
}
