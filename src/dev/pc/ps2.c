/*
 * ps2.c - keyboard and mouse.
 *
 * Theory of operation
 *
 * A device answers every byte that it is sent, with ACK mostly; a parameter
 * is a byte after a command that takes one.  A mouse moved in remote mode
 * keeps quiet (its counters are not accumulated).
 */
#include "dev/pc/ps2.h"

#include <string.h>

#define PS2_ACK    0xfa
#define PS2_RESEND 0xfe
#define PS2_PASSED 0xaa
#define PS2_ECHO   0xee

/* --- Scan codes ----------------------------------------------------------- */

/* Set 2 to set 1, for codes below 80h (PS/2 reference, scan code tables). */
/* clang-format off */
static const uint8_t ps2_table1[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58,
	0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a,
	0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
	0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e,
	0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
	0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e,
	0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b,
	0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
	0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
/* clang-format on */

uint8_t ps2_set1(uint8_t code)
{
	switch (code) {
	case 0 ... 0x7f:
		return ps2_table1[code];
	case 0x83: /* F7 */
		return 0x41;
	case 0x84: /* Print Screen with Alt */
		return 0x54;
	default:
		return code;
	}
}

/* --- Queue ---------------------------------------------------------------- */

bool ps2_put(struct ps2_queue *q, const uint8_t *bytes, size_t n)
{
	if (n > PS2_QUEUE - q->count)
		return false;
	for (size_t i = 0; i < n; i++)
		q->bytes[(q->head + q->count++) % PS2_QUEUE] = bytes[i];
	return true;
}

uint8_t ps2_get(struct ps2_queue *q)
{
	uint8_t byte = q->bytes[q->head];

	q->head = (q->head + 1) % PS2_QUEUE;
	q->count--;
	return byte;
}

static void ps2_answer(struct ps2_queue *q, uint8_t byte)
{
	ps2_put(q, &byte, 1);
}

/* Old bytes make room: a command's answer is never lost. */
static void ps2_ack(struct ps2_queue *q)
{
	if (q->count > PS2_QUEUE - 8)
		q->count = 0;
	ps2_answer(q, PS2_ACK);
}

static void ps2_queue_walk(struct ps2_queue *q, struct walk *w)
{
	walk_bytes(w, "queue", q->bytes, sizeof(q->bytes));
	walk_u8(w, "queue_head", &q->head);
	walk_u8(w, "queue_count", &q->count);
}

static void ps2_queue_check(struct ps2_queue *q, struct walk *w)
{
	if (!walk_restoring(w))
		return;
	if (q->head >= PS2_QUEUE || q->count > PS2_QUEUE) {
		q->head = q->count = 0;
		walk_fail(w, "ps2: a queue index is out of range");
	}
}

/* --- Keyboard ------------------------------------------------------------- */

static void ps2_kbd_defaults(struct ps2_kbd *k)
{
	k->set = 2;
	k->rate = 0x2b; /* 10.9 a second after 500 ms */
	k->leds = 0;
}

void ps2_kbd_reset(struct ps2_kbd *k)
{
	memset(k, 0, sizeof(*k));
	ps2_kbd_defaults(k);
	k->scanning = true;
}

static void ps2_kbd_parameter(struct ps2_kbd *k, uint8_t byte)
{
	uint8_t command = k->command;

	k->command = 0;
	ps2_ack(&k->queue);
	switch (command) {
	case 0xed:
		k->leds = byte & 7;
		break;
	case 0xf0: /* 0 asks for the set in use */
		if (byte == 0)
			ps2_answer(&k->queue, k->set);
		else if (byte <= 2) /* there is no third */
			k->set = byte;
		break;
	case 0xf3:
		k->rate = byte & 0x7f;
		break;
	}
}

static void ps2_kbd_command(struct ps2_kbd *k, uint8_t byte)
{
	static const uint8_t id[] = { 0xab, 0x83 };

	ps2_ack(&k->queue);
	switch (byte) {
	case 0xed: /* LEDs */
	case 0xf0: /* scan code set */
	case 0xf3: /* typematic rate */
	case 0xfb: /* set 3: key types, each with a key */
	case 0xfc:
	case 0xfd:
		k->command = byte;
		break;
	case 0xf2:
		ps2_put(&k->queue, id, sizeof(id));
		break;
	case 0xf4:
		k->scanning = true;
		break;
	case 0xf5:
		ps2_kbd_defaults(k);
		k->scanning = false;
		break;
	case 0xf6:
		ps2_kbd_defaults(k);
		k->scanning = true;
		break;
	case 0xff:
		ps2_kbd_reset(k);
		ps2_ack(&k->queue);
		ps2_answer(&k->queue, PS2_PASSED);
		break;
	}
}

void ps2_kbd_write(struct ps2_kbd *k, uint8_t byte)
{
	if (k->command && byte < 0xed)
		ps2_kbd_parameter(k, byte);
	else if (byte == PS2_ECHO)
		ps2_answer(&k->queue, PS2_ECHO);
	else if (byte == PS2_RESEND)
		ps2_answer(&k->queue, k->last);
	else if (byte >= 0xed)
		ps2_kbd_command(k, byte);
	else
		ps2_answer(&k->queue, PS2_RESEND);
}

/* F0 and a code become one byte of set 1; where F0 ends, so does the press. */
static size_t ps2_kbd_convert(uint8_t *out, const uint8_t *codes, size_t n)
{
	size_t count = 0;
	uint8_t released = 0;

	for (size_t i = 0; i < n; i++) {
		if (codes[i] == 0xf0) {
			released = 0x80;
			continue;
		}
		out[count++] = ps2_set1(codes[i]) | released;
		released = 0;
	}
	return count;
}

bool ps2_kbd_keys(struct ps2_kbd *k, const uint8_t *codes, size_t n)
{
	uint8_t set1[PS2_QUEUE];

	if (!k->scanning)
		return true;
	if (n > PS2_QUEUE)
		return false;
	if (k->set != 1)
		return ps2_put(&k->queue, codes, n);
	return ps2_put(&k->queue, set1, ps2_kbd_convert(set1, codes, n));
}

void ps2_kbd_walk(struct ps2_kbd *k, struct walk *w)
{
	if (!walk_section(w, "ps2-kbd", 0, 1))
		return;
	ps2_queue_walk(&k->queue, w);
	walk_u8(w, "command", &k->command);
	walk_u8(w, "set", &k->set);
	walk_u8(w, "leds", &k->leds);
	walk_u8(w, "rate", &k->rate);
	walk_u8(w, "last", &k->last);
	walk_bool(w, "scanning", &k->scanning);
	walk_end(w);
	ps2_queue_check(&k->queue, w);
}

/* --- Mouse ---------------------------------------------------------------- */

static void ps2_mouse_defaults(struct ps2_mouse *m)
{
	m->rate = 100;
	m->resolution = 2;
	m->reporting = m->remote = m->wrap = m->scaling = false;
	m->knock = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
	memset(m, 0, sizeof(*m));
	ps2_mouse_defaults(m);
}

/* Rates 200, 100, 80 in a row turn the wheel on (IntelliMouse). */
static void ps2_mouse_set_rate(struct ps2_mouse *m, uint8_t rate)
{
	static const uint8_t knock[3] = { 200, 100, 80 };

	m->rate = rate;
	m->knock = rate == knock[m->knock] ? m->knock + 1 : rate == 200;
	if (m->knock == 3) {
		m->id = 3;
		m->knock = 0;
	}
}

static void ps2_mouse_status(struct ps2_mouse *m)
{
	uint8_t status[3] = { 0, m->resolution, m->rate };

	status[0] = (uint8_t)((m->buttons & 1) << 2 | (m->buttons & 2) >> 1 |
			      (m->buttons & 4) >> 1 | m->scaling << 4 |
			      m->reporting << 5 | m->remote << 6);
	ps2_put(&m->queue, status, sizeof(status));
}

/* Byte 0: Y and X overflow, Y and X sign, 1, middle, right, left. */
static bool ps2_mouse_packet(struct ps2_mouse *m, int dx, int dy, int dz)
{
	dx = dx < -255 ? -255 : dx > 255 ? 255 : dx;
	dy = dy < -255 ? -255 : dy > 255 ? 255 : dy;
	dz = dz < -8 ? -8 : dz > 7 ? 7 : dz;
	uint8_t packet[4] = {
		(uint8_t)(0x08 | m->buttons | (dx < 0) << 4 | (dy < 0) << 5),
		(uint8_t)dx,
		(uint8_t)dy,
		(uint8_t)dz,
	};

	return ps2_put(&m->queue, packet, m->id == 3 ? 4 : 3);
}

bool ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
		    unsigned buttons)
{
	m->buttons = buttons & 7;
	if (!m->reporting || m->remote || m->wrap)
		return true;
	return ps2_mouse_packet(m, dx, dy, dz);
}

static void ps2_mouse_parameter(struct ps2_mouse *m, uint8_t byte)
{
	uint8_t command = m->command;

	m->command = 0;
	ps2_ack(&m->queue);
	if (command == 0xf3)
		ps2_mouse_set_rate(m, byte);
	else
		m->resolution = byte & 3;
}

static void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte)
{
	static const uint8_t passed[] = { PS2_PASSED, 0x00 };

	ps2_ack(&m->queue);
	switch (byte) {
	case 0xe6: /* scaling 1:1 and 2:1 */
	case 0xe7:
		m->scaling = byte & 1;
		break;
	case 0xe8: /* resolution */
	case 0xf3: /* sample rate */
		m->command = byte;
		break;
	case 0xe9:
		ps2_mouse_status(m);
		break;
	case 0xea: /* stream and remote mode */
	case 0xf0:
		m->remote = byte == 0xf0;
		break;
	case 0xeb: /* read data */
		ps2_mouse_packet(m, 0, 0, 0);
		break;
	case 0xee:
		m->wrap = true;
		break;
	case 0xf2:
		ps2_answer(&m->queue, m->id);
		break;
	case 0xf4:
	case 0xf5:
		m->reporting = byte == 0xf4;
		break;
	case 0xf6:
		ps2_mouse_defaults(m);
		break;
	case 0xff:
		ps2_mouse_reset(m);
		ps2_ack(&m->queue);
		ps2_put(&m->queue, passed, sizeof(passed));
		break;
	}
}

/* In wrap mode everything but RESET and RESET WRAP is echoed. */
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
	if (m->wrap && byte != 0xff && byte != 0xec) {
		ps2_answer(&m->queue, byte);
	} else if (m->command) {
		ps2_mouse_parameter(m, byte);
	} else if (byte >= 0xe6) {
		m->wrap = false;
		ps2_mouse_command(m, byte);
	} else {
		ps2_answer(&m->queue, PS2_RESEND);
	}
}

void ps2_mouse_walk(struct ps2_mouse *m, struct walk *w)
{
	if (!walk_section(w, "ps2-mouse", 0, 1))
		return;
	ps2_queue_walk(&m->queue, w);
	walk_u8(w, "command", &m->command);
	walk_u8(w, "rate", &m->rate);
	walk_u8(w, "resolution", &m->resolution);
	walk_u8(w, "knock", &m->knock);
	walk_u8(w, "id", &m->id);
	walk_u8(w, "buttons", &m->buttons);
	walk_bool(w, "reporting", &m->reporting);
	walk_bool(w, "remote", &m->remote);
	walk_bool(w, "wrap", &m->wrap);
	walk_bool(w, "scaling", &m->scaling);
	walk_end(w);
	ps2_queue_check(&m->queue, w);
	if (walk_restoring(w) && (m->knock > 2 || m->buttons > 7)) {
		m->knock = m->buttons = 0;
		walk_fail(w, "ps2: the mouse is in an impossible state");
	}
}
