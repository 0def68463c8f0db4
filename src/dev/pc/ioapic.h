/*
 * ioapic.h - the I/O APIC: 24 interrupt inputs that become messages.
 *
 * Source: Intel 82093AA data sheet (290566); version 0x20 with the EOI
 * register as in ICH9 (316972, 13.5).  MMIO at IOAPIC_BASE.
 *
 * A message leaves as the MSI write that has the same meaning (SDM 3A 11.11),
 * so this file knows nothing of processors.
 *
 * Threads: all functions from any thread; messages are sent with the mutex
 * held: local APICs lock below it.
 */
#ifndef HOSTEL_DEV_PC_IOAPIC_H
#define HOSTEL_DEV_PC_IOAPIC_H

#include "dev/dev.h"

#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_PINS 24

struct ioapic;

int ioapic_new(struct ioapic **out, const struct dev_env *env,
	       struct msi_bus bus, struct err *err);

/* Input pin changes level; high is active whatever the polarity bit says. */
void ioapic_set_irq(struct ioapic *io, unsigned pin, bool level);

/*
 * For who keeps the local APICs elsewhere: called, with the mutex held, when
 * entries change, with the message of each level-triggered pin (IOAPIC_PINS of
 * them), masked or not: the EOIs that are wanted.
 */
struct ioapic_route {
	uint64_t addr;
	uint32_t data;
	uint32_t level; /* 0: no EOI is wanted of this pin */
};
typedef void ioapic_route_fn(void *opaque, const struct ioapic_route *route);
void ioapic_set_route_hook(struct ioapic *io, ioapic_route_fn *fn,
			   void *opaque);

/* A local APIC's EOI broadcast, for lapic_set_eoi_hook(). */
void ioapic_eoi(void *opaque, uint8_t vector);

#endif
