/*
 * irqs.c - the board's interrupt wires.
 */
#include "dev/pc/irqs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define IRQS_ISA       16
#define IRQS_PIRQS     8
#define IRQS_PIRQ_PIN  16 /* IOAPIC pin of PIRQ A */
#define IRQS_TIMER_PIN 2

struct irqs {
	struct dev dev;
	struct pic *pic;
	struct ioapic *io;
	pthread_mutex_t lock; /* guards all below; held while driving inputs */
	uint16_t isa;         /* levels of the ISA wires */
	uint8_t pirq;         /* levels of the PIRQ wires */
	uint8_t route[IRQS_PIRQS]; /* 8259 input of each PIRQ; 0: none */
};

/*
 * An ISA interrupt is the OR of its wire and the PIRQs routed to it.  So it is
 * at the I/O APIC, too, whose pin of the same number firmware's MP table names
 * for a routed PIRQ (SeaBIOS).
 */
static void irqs_drive(struct irqs *irqs, unsigned n)
{
	bool level = irqs->isa >> n & 1;

	for (unsigned i = 0; i < IRQS_PIRQS; i++) {
		if (n && irqs->route[i] == n)
			level |= irqs->pirq >> i & 1;
	}
	pic_set_irq(irqs->pic, n, level);
	ioapic_set_irq(irqs->io, n == 0 ? IRQS_TIMER_PIN : n, level);
}

static void irqs_set_isa(void *opaque, unsigned n, bool level)
{
	struct irqs *irqs = opaque;

	pthread_mutex_lock(&irqs->lock);
	irqs->isa &= ~(1u << n);
	irqs->isa |= (uint16_t)(level << n);
	irqs_drive(irqs, n);
	pthread_mutex_unlock(&irqs->lock);
}

static void irqs_set_pirq(void *opaque, unsigned n, bool level)
{
	struct irqs *irqs = opaque;

	pthread_mutex_lock(&irqs->lock);
	irqs->pirq &= ~(1u << n);
	irqs->pirq |= (uint8_t)(level << n);
	if (irqs->route[n])
		irqs_drive(irqs, irqs->route[n]);
	ioapic_set_irq(irqs->io, IRQS_PIRQ_PIN + n, level);
	pthread_mutex_unlock(&irqs->lock);
}

struct irq irqs_isa(struct irqs *irqs, unsigned n)
{
	if (n >= IRQS_ISA || n == 2)
		return (struct irq){ 0 };
	return (struct irq){ .set = irqs_set_isa, .opaque = irqs, .n = n };
}

struct irq irqs_pirq(struct irqs *irqs, unsigned n)
{
	if (n >= IRQS_PIRQS)
		return (struct irq){ 0 };
	return (struct irq){ .set = irqs_set_pirq, .opaque = irqs, .n = n };
}

void irqs_route_pirq(struct irqs *irqs, unsigned n, unsigned isa_irq)
{
	if (n >= IRQS_PIRQS || isa_irq >= IRQS_ISA)
		return;
	pthread_mutex_lock(&irqs->lock);
	unsigned old = irqs->route[n];
	irqs->route[n] = (uint8_t)isa_irq;
	if (old)
		irqs_drive(irqs, old);
	if (isa_irq)
		irqs_drive(irqs, isa_irq);
	pthread_mutex_unlock(&irqs->lock);
}

/* Wires have no state of their own at reset: their drivers set them. */
static void irqs_reset(struct dev *dev)
{
	for (unsigned i = 0; i < IRQS_PIRQS; i++)
		irqs_route_pirq((struct irqs *)dev, i, 0);
}

static void irqs_walk(struct dev *dev, struct walk *w)
{
	struct irqs *irqs = (struct irqs *)dev;

	if (!walk_section(w, "irqs", 0, 1))
		return;
	pthread_mutex_lock(&irqs->lock);
	walk_u16(w, "isa", &irqs->isa);
	walk_u8(w, "pirq", &irqs->pirq);
	walk_bytes(w, "route", irqs->route, sizeof(irqs->route));
	walk_end(w);
	for (unsigned i = 0; walk_restoring(w) && i < IRQS_PIRQS; i++)
		irqs->route[i] %= IRQS_ISA;
	pthread_mutex_unlock(&irqs->lock);
}

static void irqs_free(struct dev *dev)
{
	struct irqs *irqs = (struct irqs *)dev;

	pthread_mutex_destroy(&irqs->lock);
	free(irqs);
}

int irqs_new(struct irqs **out, const struct dev_env *env, struct pic *pic,
	     struct ioapic *io, struct err *err)
{
	struct irqs *irqs = calloc(1, sizeof(*irqs));

	if (!irqs)
		return err_set(err, ENOMEM, "no memory for interrupt wires");
	irqs->dev = (struct dev){ .name = "irqs",
				  .reset = irqs_reset,
				  .walk = irqs_walk,
				  .free = irqs_free };
	irqs->pic = pic;
	irqs->io = io;
	pthread_mutex_init(&irqs->lock, NULL);
	*out = irqs;
	return 0;
}
