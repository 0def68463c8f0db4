/*
 * ps2.h - the keyboard and the mouse at the keyboard controller's ports.
 *
 * Source: IBM PS/2 hardware interface reference, "Keyboards (101- and
 * 102-key)" and "Mouse".  Embedded in i8042.c, under its mutex.
 */
#ifndef HOSTEL_DEV_PC_PS2_H
#define HOSTEL_DEV_PC_PS2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/walk.h"

#define PS2_QUEUE 64u

/* Bytes that a device has sent and the controller not yet taken. */
struct ps2_queue {
	uint8_t bytes[PS2_QUEUE];
	uint8_t head, count;
};

/* What a code of set 2, without E0 and F0, is in set 1. */
uint8_t ps2_set1(uint8_t code);

bool ps2_put(struct ps2_queue *q, const uint8_t *bytes, size_t n);
/* The next byte; only if count > 0. */
uint8_t ps2_get(struct ps2_queue *q);

struct ps2_kbd {
	struct ps2_queue queue;
	uint8_t command; /* waits for its parameter; 0: none */
	uint8_t set;     /* scan code set, 1 or 2 */
	uint8_t leds;
	uint8_t rate;
	uint8_t last; /* for RESEND */
	bool scanning;
};

void ps2_kbd_reset(struct ps2_kbd *k);
/* The host sends a byte. */
void ps2_kbd_write(struct ps2_kbd *k, uint8_t byte);
/*
 * Keys, as bytes of set 2: all of them or none; silently dropped while
 * scanning is off.
 */
bool ps2_kbd_keys(struct ps2_kbd *k, const uint8_t *codes, size_t n);
void ps2_kbd_walk(struct ps2_kbd *k, struct walk *w);

struct ps2_mouse {
	struct ps2_queue queue;
	uint8_t command;
	uint8_t rate, resolution;
	uint8_t knock; /* progress of the wheel's 200, 100, 80 */
	uint8_t id;    /* 0 plain, 3 with wheel */
	uint8_t buttons;
	bool reporting, remote, wrap, scaling;
};

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
bool ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
		    unsigned buttons);
void ps2_mouse_walk(struct ps2_mouse *m, struct walk *w);

#endif
