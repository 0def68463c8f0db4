/*
 * pit.c - the 8254 interval timer, and port 61h.
 *
 * Theory of operation
 *
 * A tick is one period of the 1.193182 MHz clock; tick numbers follow from
 * guest time.  A channel remembers the tick at which its counter was loaded
 * and the count N; counter value and output are functions of the ticks that
 * have elapsed since (`pit_value`, `pit_out`), computed when looked at.
 *
 * Only channel 0's output is connected to something that must be told, so
 * only it has a timer.  In the periodic modes the interrupt is one pulse for
 * each period.  When the timer comes late (the host was busy), the periods
 * missed are counted in `backlog` and made up at twice the rate, at most one
 * second's worth: clocks that count ticks stay right, and no storm of
 * interrupts ever comes.  Periods under PIT_MIN_TICKS are not followed.
 *
 * Gates of channels 0 and 1 are tied high; channel 2's is bit 0 of port 61h.
 *
 * Deliberate simplification: in mode 3 a new count takes effect at the end of
 * the period, not of the half-period.
 */
#include "dev/pc/pit.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PIT_PORT      0x40
#define PIT_PORT61    0x61
#define PIT_CHANNELS  3
#define PIT_MIN_TICKS 60 /* 50 us */
#define PIT_REFRESH   18 /* ticks for one toggle of the refresh bit: 15 us */

#define PIT_61_GATE2    0x01
#define PIT_61_SPEAKER  0x02
#define PIT_61_WRITABLE 0x0f
#define PIT_61_REFRESH  0x10
#define PIT_61_OUT2     0x20

/* Control word: SC1 SC0 RW1 RW0 M2 M1 M0 BCD. */
#define PIT_RW_LSB  1
#define PIT_RW_MSB  2
#define PIT_RW_BOTH 3

#define PIT_STATUS_OUT  0x80
#define PIT_STATUS_NULL 0x40

struct pit_channel {
	uint8_t mode; /* 0..5 */
	uint8_t rw;   /* PIT_RW_* */
	bool bcd;
	bool gate;
	bool written;     /* a whole count was written since the control word */
	bool loaded;      /* it is in the counter (modes 1, 5: triggered) */
	bool stopped;     /* loaded, but the gate holds it */
	uint32_t count;   /* N, 1..65536, of the counter */
	uint32_t next;    /* N to be loaded next; 0: none */
	uint64_t start;   /* tick at which the counter held N */
	uint64_t held;    /* ticks elapsed when stopped */
	uint64_t periods; /* periodic modes: periods accounted for */
	uint8_t lsb;      /* first byte of a count being written */
	bool write_msb, read_msb; /* the second byte comes next */
	bool status_latched;
	uint8_t status;
	uint8_t latched; /* bytes of `latch` still to be read: 0, 1, 2 */
	uint16_t latch;
};

struct pit {
	struct dev dev;
	struct vclock *clock;
	struct irq irq;
	struct timer timer;
	pthread_mutex_t lock; /* guards all below */
	struct pit_channel ch[PIT_CHANNELS];
	uint8_t port61;
	bool fired;       /* channel 0, one-shot modes: the edge is done */
	uint32_t backlog; /* channel 0: pulses owed */
};

/* --- Time ----------------------------------------------------------------- */

static uint64_t pit_tick(const struct pit *p)
{
	__uint128_t ns = vclock_now(p->clock);

	return (uint64_t)(ns * PIT_HZ / 1000000000u);
}

/* The first nanosecond of a tick. */
static uint64_t pit_tick_ns(uint64_t tick)
{
	__uint128_t t = (__uint128_t)tick * 1000000000u;

	return (uint64_t)((t + PIT_HZ - 1) / PIT_HZ);
}

static bool pit_periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint64_t pit_elapsed(const struct pit_channel *c, uint64_t tick)
{
	if (c->stopped)
		return c->held;
	return tick > c->start ? tick - c->start : 0;
}

/* --- What a counter shows ------------------------------------------------- */

/*
 * Mode 3 counts by two: N, N-2, .. 2 in each half for an even N; for an odd
 * one N-1 .. 0 while the output is high, N-1 .. 2 while it is low.
 */
static uint32_t pit_square_value(uint32_t n, uint32_t d)
{
	uint32_t high = (n + 1) / 2;
	uint32_t top = n & ~1u;

	return top - 2 * (d < high ? d : d - high);
}

static uint16_t pit_value(const struct pit_channel *c, uint64_t tick)
{
	uint64_t d = pit_elapsed(c, tick);
	uint32_t n = c->count;
	uint32_t modulus = c->bcd ? 10000 : 65536;
	uint32_t v;

	if (c->mode == 2)
		v = n - (uint32_t)(d % n);
	else if (c->mode == 3)
		v = pit_square_value(n, (uint32_t)(d % n));
	else
		v = n + modulus - (uint32_t)(d % modulus);
	v %= modulus;
	if (!c->bcd)
		return (uint16_t)v;
	return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 << 12;
}

static bool pit_out(const struct pit_channel *c, uint64_t tick)
{
	uint64_t d = pit_elapsed(c, tick);

	if (!c->loaded)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return d >= c->count;
	case 2:
		return c->stopped || d % c->count != c->count - 1;
	case 3:
		return c->stopped || d % c->count < (c->count + 1) / 2;
	default:
		return d != c->count;
	}
}

/* --- Loading and gates ---------------------------------------------------- */

/* The counter takes the new count with the next clock. */
static void pit_load(struct pit_channel *c, uint64_t tick)
{
	if (c->next)
		c->count = c->next;
	c->next = 0;
	c->start = tick + 1;
	c->held = 0;
	c->periods = 0;
	c->loaded = true;
	c->stopped = !c->gate && c->mode != 1 && c->mode != 5;
}

static void pit_set_gate(struct pit_channel *c, bool gate, uint64_t tick)
{
	bool rising = gate && !c->gate;
	bool falling = !gate && c->gate;

	c->gate = gate;
	if (c->mode == 1 || c->mode == 5) {
		if (rising && c->written)
			pit_load(c, tick);
	} else if (falling && c->loaded) {
		c->held = pit_elapsed(c, tick);
		c->stopped = true;
	} else if (rising && c->loaded && pit_periodic(c)) {
		pit_load(c, tick);
	} else if (rising && c->loaded) {
		c->start = tick - c->held;
		c->stopped = false;
	}
}

/*
 * Periodic modes: the periods that ended since last asked.  A count that was
 * written meanwhile replaces the old one at the first of those ends.
 */
static uint64_t pit_periods_ended(struct pit_channel *c, uint64_t tick)
{
	uint64_t ended = 0;

	if (!pit_periodic(c) || !c->loaded || c->stopped)
		return 0;
	if (c->next && tick >= c->start + (c->periods + 1) * c->count) {
		c->start += (c->periods + 1) * c->count;
		c->count = c->next;
		c->next = 0;
		c->periods = 0;
		ended = 1;
	}
	uint64_t all = pit_elapsed(c, tick) / c->count;
	ended += all - c->periods;
	c->periods = all;
	return ended;
}

/* --- Channel 0's interrupt ------------------------------------------------ */

/* Tick of the next edge; UINT64_MAX: none comes. */
static uint64_t pit_next_edge(const struct pit *p)
{
	const struct pit_channel *c = &p->ch[0];

	if (!c->loaded || c->stopped)
		return UINT64_MAX;
	if (pit_periodic(c))
		return c->start + (c->periods + 1) * c->count;
	if (p->fired)
		return UINT64_MAX;
	/* Modes 4 and 5: the edge is the strobe's end. */
	return c->start + c->count + (c->mode >= 4);
}

static void pit_arm(struct pit *p, uint64_t tick)
{
	uint64_t next = pit_next_edge(p);
	uint64_t soon = tick + p->ch[0].count / 2;

	if (p->backlog && soon < next)
		next = soon;
	if (next == UINT64_MAX)
		return;
	if (pit_periodic(&p->ch[0]) && next < tick + PIT_MIN_TICKS)
		next = tick + PIT_MIN_TICKS;
	timer_arm(&p->timer, pit_tick_ns(next));
}

static void pit_pulse(struct pit *p)
{
	irq_set(&p->irq, false);
	irq_set(&p->irq, true);
}

static void pit_periodic_due(struct pit *p, uint64_t tick)
{
	struct pit_channel *c = &p->ch[0];
	uint64_t owed = p->backlog + pit_periods_ended(c, tick);
	uint64_t most = PIT_HZ / c->count + 1;

	p->backlog = (uint32_t)(owed < most ? owed : most);
}

/* Brings channel 0's line up to date.  From the timer: also pays one pulse. */
static void pit_catch_up(struct pit *p, uint64_t tick, bool pay)
{
	struct pit_channel *c = &p->ch[0];

	if (pit_periodic(c) && c->loaded) {
		bool first = !p->backlog;

		pit_periodic_due(p, tick);
		if (p->backlog && (pay || first)) {
			p->backlog--;
			pit_pulse(p);
		}
	} else if (!p->fired && tick >= pit_next_edge(p)) {
		p->fired = true;
		if (c->mode >= 4)
			pit_pulse(p);
		else
			irq_set(&p->irq, true);
	}
}

static void pit_timer(void *opaque)
{
	struct pit *p = opaque;

	pthread_mutex_lock(&p->lock);
	uint64_t tick = pit_tick(p);
	pit_catch_up(p, tick, true);
	pit_arm(p, tick);
	pthread_mutex_unlock(&p->lock);
}

/* Channel 0 was programmed: its line and timer start anew. */
static void pit_restart(struct pit *p, uint64_t tick)
{
	p->fired = false;
	p->backlog = 0;
	irq_set(&p->irq, pit_out(&p->ch[0], tick));
	pit_arm(p, tick);
}

/* --- Reading -------------------------------------------------------------- */

static void pit_latch_count(struct pit_channel *c, uint64_t tick)
{
	if (c->latched)
		return;
	c->latch = pit_value(c, tick);
	c->latched = c->rw == PIT_RW_BOTH ? 2 : 1;
	if (c->rw == PIT_RW_MSB)
		c->latch >>= 8;
	c->read_msb = false;
}

static void pit_latch_status(struct pit_channel *c, uint64_t tick)
{
	if (c->status_latched)
		return;
	c->status_latched = true;
	c->status = (uint8_t)(c->rw << 4 | c->mode << 1 | c->bcd);
	if (pit_out(c, tick))
		c->status |= PIT_STATUS_OUT;
	if (!c->loaded || c->next || tick < c->start)
		c->status |= PIT_STATUS_NULL;
}

static uint8_t pit_read_channel(struct pit_channel *c, uint64_t tick)
{
	uint16_t v;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->latched) {
		v = c->latch;
		c->latch >>= 8;
		c->latched--;
		return (uint8_t)v;
	}
	v = pit_value(c, tick);
	if (c->rw == PIT_RW_MSB || (c->rw == PIT_RW_BOTH && c->read_msb))
		v >>= 8;
	if (c->rw == PIT_RW_BOTH)
		c->read_msb = !c->read_msb;
	return (uint8_t)v;
}

/* --- Writing -------------------------------------------------------------- */

/* Bits 3..1 select channels; bits 5 and 4 clear latch count and status. */
static void pit_read_back(struct pit *p, uint8_t value, uint64_t tick)
{
	for (unsigned i = 0; i < PIT_CHANNELS; i++) {
		if (!(value & 2u << i))
			continue;
		if (!(value & 0x20))
			pit_latch_count(&p->ch[i], tick);
		if (!(value & 0x10))
			pit_latch_status(&p->ch[i], tick);
	}
}

static void pit_control(struct pit *p, uint8_t value, uint64_t tick)
{
	unsigned n = value >> 6;
	struct pit_channel *c = &p->ch[n % PIT_CHANNELS];
	uint8_t mode = value >> 1 & 7;

	if (n == 3) {
		pit_read_back(p, value, tick);
		return;
	}
	if (!(value & 0x30)) {
		pit_latch_count(c, tick);
		return;
	}
	c->rw = value >> 4 & 3;
	c->mode = mode > 5 ? mode - 4 : mode;
	c->bcd = value & 1;
	c->written = c->loaded = c->stopped = false;
	c->next = 0;
	c->write_msb = c->read_msb = c->status_latched = false;
	c->latched = 0;
	if (n == 0)
		pit_restart(p, tick);
}

static uint32_t pit_decode_count(const struct pit_channel *c, uint16_t raw)
{
	uint32_t v = raw;

	if (c->bcd)
		v = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 +
		    (raw >> 4 & 15) * 10 + (raw & 15);
	if (v == 0)
		v = c->bcd ? 10000 : 65536;
	return v;
}

/* A whole count has come; returns whether it is in force at once. */
static bool pit_count_written(struct pit_channel *c, uint16_t raw,
			      uint64_t tick)
{
	c->next = pit_decode_count(c, raw);
	c->written = true;
	if (c->mode == 1 || c->mode == 5 || (pit_periodic(c) && c->loaded))
		return false;
	pit_load(c, tick);
	return true;
}

static void pit_write_channel(struct pit *p, unsigned n, uint8_t value,
			      uint64_t tick)
{
	struct pit_channel *c = &p->ch[n];
	uint16_t raw = value;
	bool loaded;

	if (c->rw == PIT_RW_BOTH && !c->write_msb) {
		c->lsb = value;
		c->write_msb = true;
		if (c->mode == 0) { /* the first byte stops counting */
			c->loaded = false;
			if (n == 0)
				irq_set(&p->irq, false);
		}
		return;
	}
	if (c->rw == PIT_RW_BOTH)
		raw = (uint16_t)(value << 8 | c->lsb);
	else if (c->rw == PIT_RW_MSB)
		raw = (uint16_t)(value << 8);
	c->write_msb = false;
	loaded = pit_count_written(c, raw, tick);
	if (n == 0 && loaded)
		pit_restart(p, tick);
}

/* --- Ports ---------------------------------------------------------------- */

static uint64_t pit_read(void *dev, uint64_t offset, unsigned size)
{
	struct pit *p = dev;
	uint8_t value = 0xff; /* the control word cannot be read */

	pthread_mutex_lock(&p->lock);
	uint64_t tick = pit_tick(p);
	pit_catch_up(p, tick, false);
	if (offset < PIT_CHANNELS) {
		pit_periods_ended(&p->ch[offset], tick);
		value = pit_read_channel(&p->ch[offset], tick);
	}
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pit_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pit *p = dev;

	pthread_mutex_lock(&p->lock);
	uint64_t tick = pit_tick(p);
	pit_catch_up(p, tick, false);
	pit_periods_ended(&p->ch[1], tick);
	pit_periods_ended(&p->ch[2], tick);
	if (offset == 3)
		pit_control(p, (uint8_t)value, tick);
	else
		pit_write_channel(p, (unsigned)offset, (uint8_t)value, tick);
	pthread_mutex_unlock(&p->lock);
}

static uint64_t pit_read61(void *dev, uint64_t offset, unsigned size)
{
	struct pit *p = dev;

	pthread_mutex_lock(&p->lock);
	uint64_t tick = pit_tick(p);
	uint8_t value = p->port61;
	pit_periods_ended(&p->ch[2], tick);
	if (pit_out(&p->ch[2], tick))
		value |= PIT_61_OUT2;
	if (tick / PIT_REFRESH & 1)
		value |= PIT_61_REFRESH;
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pit_write61(void *dev, uint64_t offset, unsigned size,
			uint64_t value)
{
	struct pit *p = dev;

	pthread_mutex_lock(&p->lock);
	uint64_t tick = pit_tick(p);
	pit_periods_ended(&p->ch[2], tick);
	p->port61 = (uint8_t)value & PIT_61_WRITABLE;
	pit_set_gate(&p->ch[2], value & PIT_61_GATE2, tick);
	pthread_mutex_unlock(&p->lock);
}

static const struct io_ops pit_ops = {
	.read = pit_read,
	.write = pit_write,
	.max_size = 1,
};

static const struct io_ops pit_61_ops = {
	.read = pit_read61,
	.write = pit_write61,
	.max_size = 1,
};

/* --- Life ----------------------------------------------------------------- */

/* Power-on: no channel counts before it is programmed. */
static void pit_reset(struct dev *dev)
{
	struct pit *p = (struct pit *)dev;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		p->ch[i] = (struct pit_channel){ .mode = 3,
						 .rw = PIT_RW_BOTH,
						 .gate = i < 2,
						 .count = 65536 };
	p->port61 = 0;
	pit_restart(p, pit_tick(p));
	pthread_mutex_unlock(&p->lock);
}

static void pit_channel_walk(struct pit_channel *c, unsigned i, struct walk *w)
{
	if (!walk_section(w, "pit-channel", i, 1))
		return;
	walk_u8(w, "mode", &c->mode);
	walk_u8(w, "rw", &c->rw);
	walk_bool(w, "bcd", &c->bcd);
	walk_bool(w, "gate", &c->gate);
	walk_bool(w, "written", &c->written);
	walk_bool(w, "loaded", &c->loaded);
	walk_bool(w, "stopped", &c->stopped);
	walk_u32(w, "count", &c->count);
	walk_u32(w, "next", &c->next);
	walk_u64(w, "start", &c->start);
	walk_u64(w, "held", &c->held);
	walk_u64(w, "periods", &c->periods);
	walk_u8(w, "lsb", &c->lsb);
	walk_bool(w, "write_msb", &c->write_msb);
	walk_bool(w, "read_msb", &c->read_msb);
	walk_bool(w, "status_latched", &c->status_latched);
	walk_u8(w, "status", &c->status);
	walk_u8(w, "latched", &c->latched);
	walk_u16(w, "latch", &c->latch);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	if (c->mode > 5 || c->rw < 1 || c->rw > 3 || c->latched > 2 ||
	    c->count < 1 || c->count > 65536 || c->next > 65536) {
		c->loaded = false;
		c->count = 65536;
		c->mode = 3;
		walk_fail(w, "pit: channel %u is in an impossible state", i);
	}
}

static void pit_walk(struct dev *dev, struct walk *w)
{
	struct pit *p = (struct pit *)dev;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < PIT_CHANNELS; i++)
		pit_channel_walk(&p->ch[i], i, w);
	if (walk_section(w, "pit", 0, 1)) {
		walk_u8(w, "port61", &p->port61);
		walk_bool(w, "fired", &p->fired);
		walk_u32(w, "backlog", &p->backlog);
		walk_end(w);
	}
	if (walk_restoring(w))
		pit_arm(p, pit_tick(p));
	pthread_mutex_unlock(&p->lock);
}

static void pit_free(struct dev *dev)
{
	struct pit *p = (struct pit *)dev;

	timer_disarm(&p->timer);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int pit_new(struct pit **out, const struct dev_env *env, struct irq irq,
	    struct err *err)
{
	struct pit *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(err, ENOMEM, "no memory for the 8254");
	p->dev = (struct dev){ .name = "pit",
			       .reset = pit_reset,
			       .walk = pit_walk,
			       .free = pit_free };
	p->clock = env->clock;
	p->irq = irq;
	pthread_mutex_init(&p->lock, NULL);
	timer_init(&p->timer, env->loop, pit_timer, p);
	rc = mem_map_ports(env->mem, PIT_PORT, 4, &pit_ops, p, "pit");
	if (rc == 0)
		rc = mem_map_ports(env->mem, PIT_PORT61, 1, &pit_61_ops, p,
				   "port61");
	if (rc < 0) {
		pit_free(&p->dev);
		return err_set(err, -rc, "8254: ports in use");
	}
	pit_reset(&p->dev);
	*out = p;
	return 0;
}
