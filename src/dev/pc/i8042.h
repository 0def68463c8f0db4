/*
 * i8042.h - the keyboard controller, with an AT keyboard and, if wanted, a
 * PS/2 mouse behind it.
 *
 * Source: IBM PS/2 hardware interface reference, "Keyboard and auxiliary
 * device controller"; scan code set 2 with translation to set 1.
 * Ports 60 and 64.
 *
 * Threads: ports and injection from any thread.
 */
#ifndef HOSTEL_DEV_PC_I8042_H
#define HOSTEL_DEV_PC_I8042_H

#include "dev/dev.h"
#include "dev/pc/port92.h"

struct i8042;

struct i8042_config {
	struct irq kbd_irq;    /* IRQ 1 */
	struct irq aux_irq;    /* IRQ 12 */
	bool has_aux;          /* a mouse is there */
	struct dev_hook reset; /* output port bit 0, command fe */
	struct port92 *port92; /* shares the A20 gate; NULL: own */
};

int i8042_new(struct i8042 **out, const struct dev_env *env,
	      const struct i8042_config *config, struct err *err);

/*
 * The keyboard sends scan codes (set 2 bytes, as a keyboard does).  False: its
 * buffer has no room for all of them; none were taken.
 */
bool i8042_scancodes(struct i8042 *k, const uint8_t *codes, size_t n);
/* The mouse moved (dx right, dy up) or its buttons changed (1 L, 2 R, 4 M). */
bool i8042_mouse(struct i8042 *k, int dx, int dy, int dz, unsigned buttons);

#endif
