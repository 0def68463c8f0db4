/*
 * dev.h - what every device is.
 *
 * A device is created by machine/pc.c, which names every device in order; it
 * maps its ports and MMIO (mem.h), raises interrupts through `struct irq`
 * lines that it was given, keeps time with timers (loop.h), and lists its
 * state in one walk function (walk.h).
 *
 * Threads: port and MMIO callbacks come from any vCPU thread, timer callbacks
 * from the loop's thread.  Each device has its own mutex; it may raise an irq
 * line while holding it (interrupt controllers lock below devices and never
 * call back up), but must not access guest memory's MMIO.
 */
#ifndef HOSTEL_DEV_DEV_H
#define HOSTEL_DEV_DEV_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/walk.h"
#include "mem/mem.h"

/* One end of an interrupt wire. A zeroed irq is not connected. */
struct irq {
	void (*set)(void *opaque, unsigned n, bool level);
	void *opaque;
	unsigned n;
};

static inline void irq_set(const struct irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->opaque, irq->n, level);
}

/* An edge: up and down again. */
static inline void irq_pulse(const struct irq *irq)
{
	irq_set(irq, true);
	irq_set(irq, false);
}

/* A message-signalled interrupt: the write that a device would do. */
struct msi_bus {
	void (*send)(void *opaque, uint64_t addr, uint32_t data);
	void *opaque;
};

static inline void msi_send(const struct msi_bus *bus, uint64_t addr,
			    uint32_t data)
{
	if (bus->send)
		bus->send(bus->opaque, addr, data);
}

/* Something that a device asks of the board (power off, reset, ...). */
struct dev_hook {
	void (*fn)(void *opaque, uint32_t value);
	void *opaque;
};

static inline void dev_hook_call(const struct dev_hook *hook, uint32_t value)
{
	if (hook->fn)
		hook->fn(hook->opaque, value);
}

/* What a device may use of its surroundings; outlives every device. */
struct dev_env {
	struct mem *mem;
	struct loop *loop;
	struct vclock *clock;
};

/* Embedded first in every device. */
struct dev {
	const char *name; /* static string; also the section's name */
	unsigned instance;
	void (*reset)(struct dev *dev); /* power-on state; vCPUs are stopped */
	void (*walk)(struct dev *dev, struct walk *w); /* vCPUs are stopped */
	/*
	 * vCPUs are stopped: returns when no I/O of the device is in flight,
	 * before its state is walked.  NULL: none ever is.
	 */
	void (*drain)(struct dev *dev);
	void (*free)(struct dev *dev);
	struct dev *next; /* the board's list, in creation order */
};

/* The struct dev of any device: it is always the first member. */
#define DEV(device) ((struct dev *)(device))

/*
 * Creation, everywhere the same: X_new(&x, env, ..., err) maps the device's
 * ports and MMIO and leaves it in its power-on state; 0 or -errno with the
 * sentence.  It is given back with DEV(x)->free(DEV(x)), in the reverse order
 * of creation, once no vCPU runs and the loop has stopped.
 */

#endif
