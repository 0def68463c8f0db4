/*
 * irqs.h - the board's interrupt wires, by global number (GSI).
 *
 *	ISA IRQ n (0..15) drives 8259 input n and, except 2, IOAPIC pin n;
 *	IRQ 0 (the timer) drives IOAPIC pin 2 instead: ACPI's MADT says so
 *	PIRQ 0..7 (PCI INTx) drives IOAPIC pin 16 + n and, where the ISA
 *	bridge routes it, 8259 input irqs_route_pirq()
 *
 * An 8259 input that has several sources sees them ORed.
 * Threads: lines from any thread.
 */
#ifndef HOSTEL_DEV_PC_IRQS_H
#define HOSTEL_DEV_PC_IRQS_H

#include "dev/dev.h"
#include "dev/pc/ioapic.h"
#include "dev/pc/pic.h"

struct irqs;

int irqs_new(struct irqs **out, const struct dev_env *env, struct pic *pic,
	     struct ioapic *io, struct err *err);

/* The wire of an ISA IRQ (0..15), to give to a device. */
struct irq irqs_isa(struct irqs *irqs, unsigned n);
/* The wire of a PIRQ (0..7 for A..H), to give to the PCI host. */
struct irq irqs_pirq(struct irqs *irqs, unsigned n);
/* PIRQ n drives 8259 input isa_irq from now on; 0: none. */
void irqs_route_pirq(struct irqs *irqs, unsigned n, unsigned isa_irq);

#endif
