/*
 * i8042.c - the keyboard controller.
 *
 * Theory of operation
 *
 * The output buffer (port 60 read) holds one byte.  It is filled, when empty,
 * from three sources in this order: answers of the controller itself, the
 * keyboard, the mouse; the latter two only while their interface is enabled.
 * A filled buffer raises IRQ 1, or IRQ 12 if the byte came from the mouse;
 * reading it lowers the line before the next byte raises it, so that each
 * byte is an edge.
 *
 * Keyboard bytes are translated from set 2 to set 1 while command byte bit 6
 * says so, break prefixes included.
 *
 * Without a mouse the auxiliary commands behave as on a controller that has
 * no such port: its test fails, and "write auxiliary output buffer" gives a
 * keyboard byte.  Drivers then give up at once, not after a timeout.
 */
#include "dev/pc/i8042.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/pc/ps2.h"

#define I8042_PORT_DATA   0x60
#define I8042_PORT_STATUS 0x64

#define I8042_STATUS_OBF  0x01
#define I8042_STATUS_SYS  0x04
#define I8042_STATUS_CMD  0x08
#define I8042_STATUS_OPEN 0x10 /* the keylock is not locked */
#define I8042_STATUS_AUX  0x20

/* Command byte. */
#define I8042_CB_KBD_INT   0x01
#define I8042_CB_AUX_INT   0x02
#define I8042_CB_SYS       0x04
#define I8042_CB_KBD_OFF   0x10
#define I8042_CB_AUX_OFF   0x20
#define I8042_CB_TRANSLATE 0x40

#define I8042_OUT_NO_RESET 0x01
#define I8042_OUT_A20      0x02
#define I8042_OUT_KBD      0x10
#define I8042_OUT_AUX      0x20
#define I8042_OUT_LINES    0xc0 /* clock and data high */

enum i8042_source { I8042_NONE, I8042_CTL, I8042_KBD, I8042_AUX };

struct i8042 {
	struct dev dev;
	struct irq kbd_irq, aux_irq;
	struct dev_hook reset;
	struct port92 *port92;
	bool has_aux;
	pthread_mutex_t lock; /* guards all below */
	uint8_t ram[32];      /* ram[0] is the command byte */
	uint8_t command;      /* waits for its data byte at port 60; 0: none */
	bool cmd_last;        /* the last write was to port 64 */
	uint8_t out;          /* output buffer */
	uint8_t source;       /* where it came from; I8042_NONE: empty */
	bool break_seen;      /* translation: F0 came */
	bool a20;             /* without port 92 */
	bool wants_reset;     /* to be asked for once the lock is dropped */
	struct ps2_queue answers;
	struct ps2_kbd kbd;
	struct ps2_mouse mouse;
};

/* --- The output buffer ---------------------------------------------------- */

static void i8042_update_irqs(struct i8042 *k)
{
	bool aux = k->source == I8042_AUX;
	bool full = k->source != I8042_NONE;

	irq_set(&k->kbd_irq, full && !aux && (k->ram[0] & I8042_CB_KBD_INT));
	irq_set(&k->aux_irq, aux && (k->ram[0] & I8042_CB_AUX_INT));
}

static void i8042_fill(struct i8042 *k, enum i8042_source source, uint8_t byte)
{
	k->out = byte;
	k->source = source;
}

/* False: the byte was a break prefix, which translation swallows. */
static bool i8042_translate(struct i8042 *k, uint8_t *byte)
{
	uint8_t b = *byte;

	if (!(k->ram[0] & I8042_CB_TRANSLATE))
		return true;
	if (b == 0xf0) {
		k->break_seen = true;
		return false;
	}
	b = ps2_set1(b);
	if (k->break_seen)
		b |= 0x80;
	k->break_seen = false;
	*byte = b;
	return true;
}

static bool i8042_take_kbd(struct i8042 *k)
{
	while (k->kbd.queue.count && !(k->ram[0] & I8042_CB_KBD_OFF)) {
		uint8_t byte = ps2_get(&k->kbd.queue);

		k->kbd.last = byte;
		if (i8042_translate(k, &byte)) {
			i8042_fill(k, I8042_KBD, byte);
			return true;
		}
	}
	return false;
}

static void i8042_refill(struct i8042 *k)
{
	if (k->source != I8042_NONE)
		return;
	if (k->answers.count)
		i8042_fill(k, I8042_CTL, ps2_get(&k->answers));
	else if (!i8042_take_kbd(k) && k->mouse.queue.count &&
		 !(k->ram[0] & I8042_CB_AUX_OFF))
		i8042_fill(k, I8042_AUX, ps2_get(&k->mouse.queue));
}

/* An answer of the controller goes before what the devices have sent. */
static void i8042_answer(struct i8042 *k, uint8_t byte)
{
	ps2_put(&k->answers, &byte, 1);
}

/* --- Output port ---------------------------------------------------------- */

static bool i8042_a20(struct i8042 *k)
{
	return k->port92 ? port92_a20(k->port92) : k->a20;
}

static void i8042_set_a20(struct i8042 *k, bool on)
{
	k->a20 = on;
	if (k->port92)
		port92_set_a20(k->port92, on);
}

static uint8_t i8042_output_port(struct i8042 *k)
{
	uint8_t value = I8042_OUT_NO_RESET | I8042_OUT_LINES;

	if (i8042_a20(k))
		value |= I8042_OUT_A20;
	if (k->source == I8042_AUX)
		value |= I8042_OUT_AUX;
	else if (k->source != I8042_NONE)
		value |= I8042_OUT_KBD;
	return value;
}

static void i8042_write_output_port(struct i8042 *k, uint8_t value)
{
	i8042_set_a20(k, value & I8042_OUT_A20);
	if (!(value & I8042_OUT_NO_RESET))
		k->wants_reset = true;
}

/* --- Commands (port 64) --------------------------------------------------- */

static void i8042_aux_command(struct i8042 *k, uint8_t byte)
{
	switch (byte) {
	case 0xa7:
		k->ram[0] |= k->has_aux ? I8042_CB_AUX_OFF : 0;
		break;
	case 0xa8:
		k->ram[0] &= ~I8042_CB_AUX_OFF;
		break;
	case 0xa9: /* 0: passed; 2: clock line stuck high */
		i8042_answer(k, k->has_aux ? 0x00 : 0x02);
		break;
	}
}

static void i8042_self_test(struct i8042 *k)
{
	k->source = I8042_NONE;
	k->answers.count = 0;
	k->ram[0] = I8042_CB_SYS | I8042_CB_TRANSLATE | I8042_CB_KBD_OFF |
		    (k->has_aux ? I8042_CB_AUX_OFF : 0);
	i8042_answer(k, 0x55);
}

static void i8042_command(struct i8042 *k, uint8_t byte)
{
	k->command = 0;
	switch (byte) {
	case 0x20 ... 0x3f:
		i8042_answer(k, k->ram[byte & 0x1f]);
		break;
	case 0x60 ... 0x7f: /* these wait for a data byte */
	case 0xd1 ... 0xd4:
		k->command = byte;
		break;
	case 0xa7 ... 0xa9:
		i8042_aux_command(k, byte);
		break;
	case 0xaa:
		i8042_self_test(k);
		break;
	case 0xab: /* keyboard interface test: passed */
		i8042_answer(k, 0x00);
		break;
	case 0xad:
		k->ram[0] |= I8042_CB_KBD_OFF;
		break;
	case 0xae:
		k->ram[0] &= ~I8042_CB_KBD_OFF;
		break;
	case 0xc0: /* input port: not locked, colour display, no jumper */
		i8042_answer(k, 0xa0);
		break;
	case 0xd0:
		i8042_answer(k, i8042_output_port(k));
		break;
	case 0xdd:
	case 0xdf:
		i8042_set_a20(k, byte == 0xdf);
		break;
	case 0xe0: /* test inputs: clock and data lines high */
		i8042_answer(k, 0x03);
		break;
	case 0xf0 ... 0xff: /* pulses output port bits 3..0 that are 0 */
		if (!(byte & I8042_OUT_NO_RESET))
			k->wants_reset = true;
		break;
	}
}

/* The data byte of a command at port 60. */
static void i8042_command_data(struct i8042 *k, uint8_t byte)
{
	uint8_t command = k->command;

	k->command = 0;
	switch (command) {
	case 0x60 ... 0x7f:
		k->ram[command & 0x1f] = byte;
		break;
	case 0xd1:
		i8042_write_output_port(k, byte);
		break;
	case 0xd2:
		i8042_fill(k, I8042_KBD, byte);
		break;
	case 0xd3:
		i8042_fill(k, k->has_aux ? I8042_AUX : I8042_KBD, byte);
		break;
	case 0xd4:
		if (!k->has_aux)
			break;
		ps2_mouse_write(&k->mouse, byte);
		k->ram[0] &= ~I8042_CB_AUX_OFF;
		break;
	}
}

/* --- Ports ---------------------------------------------------------------- */

static uint8_t i8042_read_data(struct i8042 *k)
{
	uint8_t value = k->out;

	k->source = I8042_NONE;
	i8042_update_irqs(k); /* down, before the next byte */
	return value;
}

static uint8_t i8042_read_status(struct i8042 *k)
{
	uint8_t status = I8042_STATUS_OPEN | (k->ram[0] & I8042_CB_SYS);

	if (k->source != I8042_NONE)
		status |= I8042_STATUS_OBF;
	if (k->source == I8042_AUX)
		status |= I8042_STATUS_AUX;
	if (k->cmd_last)
		status |= I8042_STATUS_CMD;
	return status;
}

static void i8042_write_data(struct i8042 *k, uint8_t byte)
{
	if (k->command) {
		i8042_command_data(k, byte);
	} else {
		ps2_kbd_write(&k->kbd, byte);
		k->ram[0] &= ~I8042_CB_KBD_OFF; /* talking enables it */
	}
}

static uint64_t i8042_data_in(void *dev, uint64_t offset, unsigned size)
{
	struct i8042 *k = dev;

	pthread_mutex_lock(&k->lock);
	uint8_t value = i8042_read_data(k);
	i8042_refill(k);
	i8042_update_irqs(k);
	pthread_mutex_unlock(&k->lock);
	return value;
}

static uint64_t i8042_status_in(void *dev, uint64_t offset, unsigned size)
{
	struct i8042 *k = dev;

	pthread_mutex_lock(&k->lock);
	uint8_t value = i8042_read_status(k);
	pthread_mutex_unlock(&k->lock);
	return value;
}

static void i8042_out(struct i8042 *k, bool command, uint8_t value)
{
	pthread_mutex_lock(&k->lock);
	k->cmd_last = command;
	if (command)
		i8042_command(k, value);
	else
		i8042_write_data(k, value);
	i8042_refill(k);
	i8042_update_irqs(k);
	bool reset = k->wants_reset;
	k->wants_reset = false;
	pthread_mutex_unlock(&k->lock);
	if (reset)
		dev_hook_call(&k->reset, 0);
}

static void i8042_data_out(void *dev, uint64_t offset, unsigned size,
			   uint64_t value)
{
	i8042_out(dev, false, (uint8_t)value);
}

static void i8042_command_out(void *dev, uint64_t offset, unsigned size,
			      uint64_t value)
{
	i8042_out(dev, true, (uint8_t)value);
}

static const struct io_ops i8042_data_ops = {
	.read = i8042_data_in,
	.write = i8042_data_out,
	.max_size = 1,
};

static const struct io_ops i8042_status_ops = {
	.read = i8042_status_in,
	.write = i8042_command_out,
	.max_size = 1,
};

/* --- From outside --------------------------------------------------------- */

bool i8042_scancodes(struct i8042 *k, const uint8_t *codes, size_t n)
{
	pthread_mutex_lock(&k->lock);
	bool taken = ps2_kbd_keys(&k->kbd, codes, n);
	i8042_refill(k);
	i8042_update_irqs(k);
	pthread_mutex_unlock(&k->lock);
	return taken;
}

bool i8042_mouse(struct i8042 *k, int dx, int dy, int dz, unsigned buttons)
{
	if (!k->has_aux)
		return true;
	pthread_mutex_lock(&k->lock);
	bool taken = ps2_mouse_move(&k->mouse, dx, dy, dz, buttons);
	i8042_refill(k);
	i8042_update_irqs(k);
	pthread_mutex_unlock(&k->lock);
	return taken;
}

/* --- Life ----------------------------------------------------------------- */

static void i8042_dev_reset(struct dev *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	pthread_mutex_lock(&k->lock);
	memset(k->ram, 0, sizeof(k->ram));
	k->ram[0] = I8042_CB_SYS | I8042_CB_TRANSLATE | I8042_CB_KBD_INT |
		    (k->has_aux ? I8042_CB_AUX_INT : 0);
	k->command = 0;
	k->cmd_last = k->break_seen = k->wants_reset = false;
	k->a20 = true;
	k->out = 0;
	k->source = I8042_NONE;
	memset(&k->answers, 0, sizeof(k->answers));
	ps2_kbd_reset(&k->kbd);
	ps2_mouse_reset(&k->mouse);
	i8042_update_irqs(k);
	pthread_mutex_unlock(&k->lock);
}

static void i8042_walk_fields(struct i8042 *k, struct walk *w)
{
	if (!walk_section(w, "i8042", 0, 1))
		return;
	walk_bytes(w, "ram", k->ram, sizeof(k->ram));
	walk_u8(w, "command", &k->command);
	walk_bool(w, "cmd_last", &k->cmd_last);
	walk_u8(w, "out", &k->out);
	walk_u8(w, "source", &k->source);
	walk_bool(w, "break_seen", &k->break_seen);
	walk_bool(w, "a20", &k->a20);
	walk_bytes(w, "answers", k->answers.bytes, sizeof(k->answers.bytes));
	walk_u8(w, "answers_head", &k->answers.head);
	walk_u8(w, "answers_count", &k->answers.count);
	walk_end(w);
	if (walk_restoring(w) &&
	    (k->source > I8042_AUX || k->answers.head >= PS2_QUEUE ||
	     k->answers.count > PS2_QUEUE)) {
		k->source = k->answers.head = k->answers.count = 0;
		walk_fail(w, "i8042: impossible output buffer");
	}
}

static void i8042_walk(struct dev *dev, struct walk *w)
{
	struct i8042 *k = (struct i8042 *)dev;

	pthread_mutex_lock(&k->lock);
	i8042_walk_fields(k, w);
	ps2_kbd_walk(&k->kbd, w);
	ps2_mouse_walk(&k->mouse, w);
	pthread_mutex_unlock(&k->lock);
}

static void i8042_free(struct dev *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	pthread_mutex_destroy(&k->lock);
	free(k);
}

int i8042_new(struct i8042 **out, const struct dev_env *env,
	      const struct i8042_config *config, struct err *err)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return err_set(err, ENOMEM, "no memory for the i8042");
	k->dev = (struct dev){ .name = "i8042",
			       .reset = i8042_dev_reset,
			       .walk = i8042_walk,
			       .free = i8042_free };
	k->kbd_irq = config->kbd_irq;
	k->aux_irq = config->aux_irq;
	k->has_aux = config->has_aux;
	k->reset = config->reset;
	k->port92 = config->port92;
	pthread_mutex_init(&k->lock, NULL);
	rc = mem_map_ports(env->mem, I8042_PORT_DATA, 1, &i8042_data_ops, k,
			   "i8042");
	if (rc == 0)
		rc = mem_map_ports(env->mem, I8042_PORT_STATUS, 1,
				   &i8042_status_ops, k, "i8042");
	if (rc < 0) {
		i8042_free(&k->dev);
		return err_set(err, -rc, "i8042: ports in use");
	}
	i8042_dev_reset(&k->dev);
	*out = k;
	return 0;
}
