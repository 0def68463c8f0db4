/*
 * pic.h - the pair of 8259A interrupt controllers and their ELCR.
 *
 * Source: Intel 8259A data sheet (231468); ELCR: Intel 82371 (PIIX) 4.2.
 * Ports 20-21 (master, IRQ 0-7), a0-a1 (slave, IRQ 8-15), 4d0-4d1.
 *
 * Threads: all functions from any thread; the output line is changed with the
 * pair's mutex held, so what it drives must not call back.
 */
#ifndef HOSTEL_DEV_PC_PIC_H
#define HOSTEL_DEV_PC_PIC_H

#include "dev/dev.h"

struct pic;

/* intr: the master's INT output, level (to lapic_extint()). */
int pic_new(struct pic **out, const struct dev_env *env, struct irq intr,
	    struct err *err);

/* Input line n (0..15, not 2) changes level. */
void pic_set_irq(struct pic *pic, unsigned n, bool level);

/* For struct x86_machine: opaque is the struct pic. */
bool pic_pending(void *opaque); /* INTR is raised; lock-free */
int pic_ack(void *opaque);      /* INTA cycle; spurious gives IRQ 7's vector */

#endif
