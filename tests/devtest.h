/*
 * devtest.h - a bench for one device: time that stands still until told,
 * an event loop that runs when told, and wires that remember.
 *
 * devtest.c stands in for base/clock.c and base/loop.c (it defines all of
 * their functions, so the linker leaves the real ones out); memory, walker
 * and errors are the real ones.
 */
#ifndef HOSTEL_TESTS_DEVTEST_H
#define HOSTEL_TESTS_DEVTEST_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/dev.h"

#define DT_US 1000ull
#define DT_MS 1000000ull
#define DT_S  1000000000ull

struct dt {
	struct dev_env env;
};

void dt_init(struct dt *dt);
void dt_exit(struct dt *dt);

/* Time goes on by ns; timers run at their deadlines, in order. */
void dt_advance(struct dt *dt, uint64_t ns);
/* The same in one step: timers find that they are late. */
void dt_jump(struct dt *dt, uint64_t ns);
/* How often timer callbacks have run so far. */
unsigned dt_timer_runs(struct dt *dt);
/* Runs queued calls and ready descriptors until nothing is left to do. */
void dt_loop(struct dt *dt);
/* Wall clock that clock_real_ns() gives at guest time 0. */
void dt_set_real(struct dt *dt, uint64_t ns);

static inline uint32_t dt_in(struct dt *dt, uint16_t port)
{
	return mem_port_read(dt->env.mem, port, 1);
}

static inline void dt_out(struct dt *dt, uint16_t port, uint8_t value)
{
	mem_port_write(dt->env.mem, port, 1, value);
}

/* A wire's end: its level and how often it rose. */
struct dt_line {
	bool level;
	unsigned rises;
};
struct irq dt_irq(struct dt_line *line);

/* A hook that counts and keeps the last value. */
struct dt_hook {
	unsigned calls;
	uint32_t value;
};
struct dev_hook dt_dev_hook(struct dt_hook *hook);

/* Saves `from`, restores into `to`, and asserts that nothing differs. */
void dt_copy_state(struct dev *from, struct dev *to);

/* A deterministic random number (splitmix64). */
uint64_t dt_random(uint64_t *seed);

#endif
