/*
 * lapic_timer.c - the local APIC's timer.
 *
 * Theory of operation
 *
 * Source: SDM 3A 11.5.4.  The input clock is 1 GHz (LAPIC_TIMER_HZ), so a
 * count is a number of guest nanoseconds, shifted by the divider.
 *
 * One host timer serves all three modes.  It is never disarmed when the guest
 * stops the timer: its callback looks at the state anew under the mutex, and
 * an idle wake-up is cheaper than disarming each time.
 *
 * A TSC deadline is turned into guest time when it is written; the callback
 * holds it against the host's TSC once more, since CLOCK_MONOTONIC is slewed
 * and the TSC is not: the interrupt must not come early.
 */
#include "cpu/x86/lapic_impl.h"

#define LAPIC_TIMER_MIN_NS 50000ull /* shorter periods are stretched */

static uint32_t lapic_timer_mode(struct lapic *l)
{
	return l->lvt[LAPIC_LVT_TIMER] & LAPIC_LVT_TIMER_MODE;
}

/* TDCR bits 3, 1, 0: divide by 2, 4, .. 128, 1. */
static unsigned lapic_timer_shift(const struct lapic_timer *t)
{
	unsigned n = (t->divide & 3) | (t->divide & 8) >> 1;

	return (n + 1) & 7;
}

static uint64_t lapic_timer_period(const struct lapic_timer *t)
{
	return (uint64_t)t->initial << lapic_timer_shift(t);
}

static void lapic_timer_arm(struct lapic *l, uint64_t deadline)
{
	if (l->timer.timer.loop && !l->outside)
		timer_arm(&l->timer.timer, deadline);
}

static uint64_t lapic_timer_now(struct lapic *l)
{
	return vclock_now(l->cpu->xm->clock);
}

/* --- One-shot and periodic ------------------------------------------------ */

static uint32_t lapic_timer_current_locked(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	uint64_t period = lapic_timer_period(t);
	uint64_t elapsed;

	if (!t->running)
		return 0;
	elapsed = lapic_timer_now(l) - t->start;
	if (lapic_timer_mode(l) == LAPIC_TIMER_PERIODIC)
		elapsed %= period;
	if (elapsed >= period)
		return 0;
	return (uint32_t)((period - elapsed) >> lapic_timer_shift(t));
}

uint32_t lapic_timer_current(struct lapic *l)
{
	pthread_mutex_lock(&l->timer.lock);
	uint32_t count = lapic_timer_current_locked(l);
	pthread_mutex_unlock(&l->timer.lock);
	return count;
}

static void lapic_timer_start(struct lapic *l, uint64_t start)
{
	struct lapic_timer *t = &l->timer;

	t->start = start;
	t->running = t->initial != 0;
	if (t->running)
		lapic_timer_arm(l, start + lapic_timer_period(t));
}

/* In TSC-deadline mode TMICT ignores writes (SDM 3A 11.5.4.1). */
void lapic_timer_set_initial(struct lapic *l, uint32_t count)
{
	pthread_mutex_lock(&l->timer.lock);
	if (lapic_timer_mode(l) != LAPIC_TIMER_DEADLINE) {
		l->timer.initial = count;
		lapic_timer_start(l, lapic_timer_now(l));
	}
	pthread_mutex_unlock(&l->timer.lock);
}

/* The count goes on from where it is, at the new speed. */
void lapic_timer_set_divide(struct lapic *l, uint32_t value)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	uint32_t left = lapic_timer_current_locked(l);
	t->divide = value & 0xb;
	if (t->running) {
		uint64_t done = (uint64_t)(t->initial - left)
				<< lapic_timer_shift(t);

		lapic_timer_start(l, lapic_timer_now(l) - done);
	}
	pthread_mutex_unlock(&t->lock);
}

/* --- TSC deadline --------------------------------------------------------- */

uint64_t lapic_timer_get_deadline(struct lapic *l)
{
	pthread_mutex_lock(&l->timer.lock);
	uint64_t deadline = l->timer.deadline;
	pthread_mutex_unlock(&l->timer.lock);
	return deadline;
}

/* Works out when the deadline is; true if it is over. */
static bool lapic_timer_place_deadline(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	uint64_t host = x86_scale_tsc(l->cpu->xm, clock_tsc());
	uint64_t now = x86_tsc(l->cpu);
	uint32_t khz = l->cpu->xm->tsc_khz ? l->cpu->xm->tsc_khz : 1000000;
	__uint128_t ns;

	if (now >= t->deadline)
		return true;
	ns = (__uint128_t)(t->deadline - now) * 1000000u / khz + 1;
	if (ns > INT64_MAX)
		ns = INT64_MAX; /* 292 years */
	t->host_tsc = host + (t->deadline - now);
	t->deadline_ns = lapic_timer_now(l) + (uint64_t)ns;
	return false;
}

/* True: it is over already, and the interrupt is due. */
static bool lapic_timer_set_locked(struct lapic *l, uint64_t tsc)
{
	struct lapic_timer *t = &l->timer;

	t->deadline = tsc;
	if (!tsc)
		return false;
	if (lapic_timer_place_deadline(l)) {
		t->deadline = 0;
		return true;
	}
	lapic_timer_arm(l, t->deadline_ns);
	return false;
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	bool due;

	if (lapic_timer_mode(l) != LAPIC_TIMER_DEADLINE)
		return;
	pthread_mutex_lock(&l->timer.lock);
	due = lapic_timer_set_locked(l, tsc);
	pthread_mutex_unlock(&l->timer.lock);
	if (due)
		lapic_local_event(l, LAPIC_LVT_TIMER);
}

void lapic_tsc_moved(struct lapic *l)
{
	bool due;

	if (l->outside)
		return;
	pthread_mutex_lock(&l->timer.lock);
	due = lapic_timer_set_locked(l, l->timer.deadline);
	pthread_mutex_unlock(&l->timer.lock);
	if (due)
		lapic_local_event(l, LAPIC_LVT_TIMER);
}

/* Changing to or from TSC-deadline mode disarms the timer. */
void lapic_timer_set_lvt(struct lapic *l, uint32_t value)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	if ((l->lvt[LAPIC_LVT_TIMER] ^ value) & LAPIC_TIMER_DEADLINE) {
		t->running = false;
		t->deadline = 0;
		t->initial = 0;
	}
	l->lvt[LAPIC_LVT_TIMER] = value;
	pthread_mutex_unlock(&t->lock);
}

/* --- Expiry --------------------------------------------------------------- */

static bool lapic_timer_deadline_due(struct lapic *l, uint64_t now)
{
	struct lapic_timer *t = &l->timer;
	uint64_t host = x86_scale_tsc(l->cpu->xm, clock_tsc());
	uint32_t khz = l->cpu->xm->tsc_khz ? l->cpu->xm->tsc_khz : 1000000;

	if (!t->deadline)
		return false;
	if (now < t->deadline_ns) {
		lapic_timer_arm(l, t->deadline_ns);
		return false;
	}
	if (host < t->host_tsc) { /* the clock was slewed forward */
		__uint128_t d = t->host_tsc - host;

		lapic_timer_arm(l, now + (uint64_t)(d * 1000000u / khz) + 1);
		return false;
	}
	t->deadline = 0;
	return true;
}

/* Periods that were missed are dropped; the phase stays. */
static bool lapic_timer_count_due(struct lapic *l, uint64_t now)
{
	struct lapic_timer *t = &l->timer;
	uint64_t period = lapic_timer_period(t);

	if (!t->running)
		return false;
	if (now < t->start + period) {
		lapic_timer_arm(l, t->start + period);
		return false;
	}
	if (lapic_timer_mode(l) != LAPIC_TIMER_PERIODIC) {
		t->running = false;
		return true;
	}
	t->start += (now - t->start) / period * period;
	uint64_t next = t->start + period;
	if (next < now + LAPIC_TIMER_MIN_NS / 2)
		next = now + LAPIC_TIMER_MIN_NS;
	lapic_timer_arm(l, next);
	return true;
}

static void lapic_timer_expired(void *opaque)
{
	struct lapic *l = opaque;
	uint64_t now = lapic_timer_now(l);
	bool due;

	pthread_mutex_lock(&l->timer.lock);
	if (lapic_timer_mode(l) == LAPIC_TIMER_DEADLINE)
		due = lapic_timer_deadline_due(l, now);
	else
		due = lapic_timer_count_due(l, now);
	pthread_mutex_unlock(&l->timer.lock);
	if (due)
		lapic_local_event(l, LAPIC_LVT_TIMER);
}

/* --- Life ----------------------------------------------------------------- */

void lapic_timer_init(struct lapic *l)
{
	pthread_mutex_init(&l->timer.lock, NULL);
	timer_init(&l->timer.timer, l->cpu->xm->loop, lapic_timer_expired, l);
}

void lapic_timer_free(struct lapic *l)
{
	if (l->timer.timer.loop)
		timer_disarm(&l->timer.timer);
	pthread_mutex_destroy(&l->timer.lock);
}

void lapic_timer_reset(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	t->running = false;
	t->deadline = 0;
	t->initial = t->divide = 0;
	l->lvt[LAPIC_LVT_TIMER] = LAPIC_LVT_MASKED;
	pthread_mutex_unlock(&t->lock);
}

void lapic_timer_walk(struct lapic *l, struct walk *w)
{
	struct lapic_timer *t = &l->timer;

	walk_u32(w, "timer_initial", &t->initial);
	walk_u32(w, "timer_divide", &t->divide);
	walk_bool(w, "timer_running", &t->running);
	walk_u64(w, "timer_start", &t->start);
	walk_u64(w, "timer_deadline", &t->deadline);
}

/* Sets the host's timer for what was restored. */
void lapic_timer_restored(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;

	t->divide &= 0xb;
	t->running &= t->initial != 0;
	if (t->running)
		lapic_timer_arm(l, t->start + lapic_timer_period(t));
	lapic_tsc_moved(l);
}
