/*
 * uart.c - a 16550A serial port.
 *
 * Theory of operation
 *
 *	line_get() --> receive FIFO --> RBR
 *	THR --> line_put()
 *
 * Time on the line is not modelled: a byte written to THR has left at once,
 * one that has been received enters the FIFO as soon as that has room.  What
 * software can observe of the FIFO remains: trigger levels, the character
 * timeout (four characters of silence below the trigger), and a new THRE edge
 * for each write.
 *
 * Flow control (line.h): THRE and TEMT are withheld while the line has no
 * room, and come back, with their interrupt, when it has.
 *
 * Loopback goes straight from THR to the receive FIFO, and is the only way to
 * overrun it.
 *
 * Missing: parity, framing and break errors, which a perfect line never has.
 */
#include "dev/pc/uart.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "dev/line.h"

#define UART_CLOCK_HZ 1843200ull
#define UART_FIFO     16u

/* Register offsets (data sheet, table II). */
enum uart_reg {
	UART_RBR_THR,
	UART_IER,
	UART_IIR_FCR,
	UART_LCR,
	UART_MCR,
	UART_LSR,
	UART_MSR,
	UART_SCR,
};

#define UART_IER_RX   0x01
#define UART_IER_THRE 0x02
#define UART_IER_LINE 0x04
#define UART_IER_MSR  0x08

#define UART_IIR_NONE    0x01
#define UART_IIR_MSR     0x00
#define UART_IIR_THRE    0x02
#define UART_IIR_RX      0x04
#define UART_IIR_TIMEOUT 0x0c
#define UART_IIR_LINE    0x06
#define UART_IIR_FIFO    0xc0

#define UART_FCR_ENABLE   0x01
#define UART_FCR_CLEAR_RX 0x02
#define UART_FCR_KEPT     0xc9 /* trigger, DMA mode, enable */

#define UART_LCR_DLAB 0x80

#define UART_MCR_DTR  0x01
#define UART_MCR_RTS  0x02
#define UART_MCR_OUT1 0x04
#define UART_MCR_OUT2 0x08
#define UART_MCR_LOOP 0x10

#define UART_LSR_DR   0x01
#define UART_LSR_OE   0x02
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40

#define UART_MSR_DELTA 0x0f
#define UART_MSR_TERI  0x04
#define UART_MSR_CTS   0x10
#define UART_MSR_DSR   0x20
#define UART_MSR_RI    0x40
#define UART_MSR_DCD   0x80

struct uart {
	struct dev dev;
	struct vclock *clock;
	struct irq irq;
	struct line *line;
	struct timer timeout;

	pthread_mutex_t lock; /* guards everything below */
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
	uint16_t divisor;
	bool thre_pending;    /* THRE is to interrupt */
	bool timeout_pending; /* character timeout */
	uint64_t timeout_at;  /* guest ns; 0: no timeout under way */
	uint8_t fifo[UART_FIFO];
	uint32_t fifo_head, fifo_count;
};

/* --- Interrupts ----------------------------------------------------------- */

static unsigned uart_trigger(const struct uart *u)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };

	return u->fcr & UART_FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority (data sheet, table V). */
static uint8_t uart_iir(const struct uart *u)
{
	if ((u->ier & UART_IER_LINE) && (u->lsr & UART_LSR_OE))
		return UART_IIR_LINE;
	if ((u->ier & UART_IER_RX) && u->fifo_count >= uart_trigger(u))
		return UART_IIR_RX;
	if ((u->ier & UART_IER_RX) && u->timeout_pending)
		return UART_IIR_TIMEOUT;
	if ((u->ier & UART_IER_THRE) && u->thre_pending)
		return UART_IIR_THRE;
	if ((u->ier & UART_IER_MSR) && (u->msr & UART_MSR_DELTA))
		return UART_IIR_MSR;
	return UART_IIR_NONE;
}

/*
 * On a PC, OUT2 connects the interrupt to the bus; the pin is inactive in
 * loopback.
 */
static void uart_update_irq(struct uart *u)
{
	uint8_t gate = u->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP);

	irq_set(&u->irq, gate == UART_MCR_OUT2 && uart_iir(u) != UART_IIR_NONE);
}

/* Four characters: start, 5..8 data, parity, 1..2 stop bits each. */
static uint64_t uart_timeout_ns(const struct uart *u)
{
	unsigned bits =
		1 + 5 + (u->lcr & 3) + !!(u->lcr & 8) + 1 + !!(u->lcr & 4);
	uint64_t divisor = u->divisor ? u->divisor : 65536;

	return 4 * bits * divisor * 16 * 1000000000ull / UART_CLOCK_HZ;
}

/* The receive FIFO was read or filled: the silence starts anew. */
static void uart_restart_timeout(struct uart *u)
{
	u->timeout_pending = false;
	u->timeout_at = 0;
	if (!(u->fcr & UART_FCR_ENABLE) || u->fifo_count == 0)
		return;
	u->timeout_at = vclock_now(u->clock) + uart_timeout_ns(u);
	if (u->ier & UART_IER_RX)
		timer_arm(&u->timeout, u->timeout_at);
}

static void uart_timeout(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	if (u->timeout_at && vclock_now(u->clock) >= u->timeout_at) {
		u->timeout_at = 0;
		u->timeout_pending = u->fifo_count > 0;
		uart_update_irq(u);
	} else if (u->timeout_at) {
		timer_arm(&u->timeout, u->timeout_at);
	}
	pthread_mutex_unlock(&u->lock);
}

/* --- Receiving ------------------------------------------------------------ */

static unsigned uart_fifo_size(const struct uart *u)
{
	return u->fcr & UART_FCR_ENABLE ? UART_FIFO : 1;
}

static void uart_fifo_put(struct uart *u, uint8_t byte)
{
	if (u->fifo_count >= uart_fifo_size(u)) {
		u->lsr |= UART_LSR_OE;
		return;
	}
	u->fifo[(u->fifo_head + u->fifo_count++) % UART_FIFO] = byte;
	u->lsr |= UART_LSR_DR;
}

static void uart_fifo_clear(struct uart *u)
{
	u->fifo_count = 0;
	u->lsr &= ~UART_LSR_DR;
	u->timeout_pending = false;
	u->timeout_at = 0;
}

/* Moves what arrived into the FIFO. */
static void uart_fill_fifo(struct uart *u)
{
	bool moved = false;
	uint8_t byte;

	if (u->mcr & UART_MCR_LOOP)
		return;
	while (u->fifo_count < uart_fifo_size(u) && line_get(u->line, &byte)) {
		uart_fifo_put(u, byte);
		moved = true;
	}
	if (moved)
		uart_restart_timeout(u);
}

/* Loop: bytes have come. */
static void uart_input(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	uart_fill_fifo(u);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

size_t uart_receive(struct uart *u, const uint8_t *buf, size_t len)
{
	size_t n = line_inject(u->line, buf, len);

	uart_input(u);
	return n;
}

/* --- Sending -------------------------------------------------------------- */

static void uart_update_thre(struct uart *u)
{
	bool empty = line_has_room(u->line);

	if (empty && !(u->lsr & UART_LSR_THRE))
		u->thre_pending = true;
	u->lsr &= ~(UART_LSR_THRE | UART_LSR_TEMT);
	if (empty)
		u->lsr |= UART_LSR_THRE | UART_LSR_TEMT;
}

/* Loop: the line has room again. */
static void uart_room(void *opaque)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	uart_update_thre(u);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static const struct line_ops uart_line_ops = {
	.input = uart_input,
	.room = uart_room,
};

void uart_flush(struct uart *u, unsigned timeout_ms)
{
	line_flush(u->line, timeout_ms);
}

/*
 * Each write drops the THRE interrupt and, as the byte leaves at once, raises
 * it again: an edge, which the 8259 needs.
 */
static void uart_write_thr(struct uart *u, uint8_t byte)
{
	u->thre_pending = false;
	u->lsr &= ~(UART_LSR_THRE | UART_LSR_TEMT);
	uart_update_irq(u);
	if (u->mcr & UART_MCR_LOOP) {
		uart_fifo_put(u, byte);
		uart_restart_timeout(u);
	} else {
		line_put(u->line, byte);
	}
	uart_update_thre(u);
}

/* --- Registers ------------------------------------------------------------ */

/* What the modem lines are: a peer that is always there, or MCR's outputs. */
static uint8_t uart_modem_lines(const struct uart *u)
{
	uint8_t lines = 0;

	if (!(u->mcr & UART_MCR_LOOP))
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	if (u->mcr & UART_MCR_RTS)
		lines |= UART_MSR_CTS;
	if (u->mcr & UART_MCR_DTR)
		lines |= UART_MSR_DSR;
	if (u->mcr & UART_MCR_OUT1)
		lines |= UART_MSR_RI;
	if (u->mcr & UART_MCR_OUT2)
		lines |= UART_MSR_DCD;
	return lines;
}

/* Deltas: any change of CTS, DSR, DCD; RI only when it goes inactive. */
static void uart_update_modem(struct uart *u)
{
	uint8_t old = u->msr & ~UART_MSR_DELTA;
	uint8_t lines = uart_modem_lines(u);
	uint8_t delta = (old ^ lines) >> 4;

	if (lines & UART_MSR_RI)
		delta &= ~UART_MSR_TERI;
	u->msr = lines | (u->msr & UART_MSR_DELTA) | delta;
}

static uint8_t uart_read_rbr(struct uart *u)
{
	uint8_t byte = u->fifo[u->fifo_head];

	if (u->fifo_count == 0)
		return 0;
	u->fifo_head = (u->fifo_head + 1) % UART_FIFO;
	if (--u->fifo_count == 0)
		u->lsr &= ~UART_LSR_DR;
	uart_restart_timeout(u);
	uart_fill_fifo(u);
	return byte;
}

static uint8_t uart_read_iir(struct uart *u)
{
	uint8_t iir = uart_iir(u);

	if (iir == UART_IIR_THRE)
		u->thre_pending = false;
	return iir | (u->fcr & UART_FCR_ENABLE ? UART_IIR_FIFO : 0);
}

static uint8_t uart_read_reg(struct uart *u, enum uart_reg reg)
{
	bool dlab = u->lcr & UART_LCR_DLAB;
	uint8_t value;

	switch (reg) {
	case UART_RBR_THR:
		return dlab ? u->divisor & 0xff : uart_read_rbr(u);
	case UART_IER:
		return dlab ? u->divisor >> 8 : u->ier;
	case UART_IIR_FCR:
		return uart_read_iir(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		value = u->lsr;
		u->lsr &= ~UART_LSR_OE;
		return value;
	case UART_MSR:
		value = u->msr;
		u->msr &= ~UART_MSR_DELTA;
		return value;
	case UART_SCR:
		return u->scr;
	}
	return 0xff;
}

/* Enabling THRE interrupts while THRE is set raises one at once. */
static void uart_write_ier(struct uart *u, uint8_t value)
{
	uint8_t on = value & ~u->ier;

	u->ier = value & 0x0f;
	if ((on & UART_IER_THRE) && (u->lsr & UART_LSR_THRE))
		u->thre_pending = true;
	if ((on & UART_IER_RX) && u->timeout_at)
		timer_arm(&u->timeout, u->timeout_at);
}

/* Bit 0 must be set for the others to be programmed; changing it clears. */
static void uart_write_fcr(struct uart *u, uint8_t value)
{
	bool toggled = (value ^ u->fcr) & UART_FCR_ENABLE;

	if (toggled || (value & UART_FCR_CLEAR_RX))
		uart_fifo_clear(u);
	u->fcr = value & UART_FCR_ENABLE ? value & UART_FCR_KEPT : 0;
	uart_fill_fifo(u);
}

static void uart_write_mcr(struct uart *u, uint8_t value)
{
	u->mcr = value & 0x1f;
	uart_update_modem(u);
	uart_fill_fifo(u);
}

static void uart_write_reg(struct uart *u, enum uart_reg reg, uint8_t value)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RBR_THR:
		if (dlab)
			u->divisor = (u->divisor & 0xff00) | value;
		else
			uart_write_thr(u, value);
		break;
	case UART_IER:
		if (dlab)
			u->divisor = (u->divisor & 0xff) | value << 8;
		else
			uart_write_ier(u, value);
		break;
	case UART_IIR_FCR:
		uart_write_fcr(u, value);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		uart_write_mcr(u, value);
		break;
	case UART_LSR: /* factory test only */
	case UART_MSR:
		break;
	case UART_SCR:
		u->scr = value;
		break;
	}
}

static uint64_t uart_read(void *dev, uint64_t offset, unsigned size)
{
	struct uart *u = dev;

	pthread_mutex_lock(&u->lock);
	uint8_t value = uart_read_reg(u, (enum uart_reg)(offset & 7));
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
	return value;
}

static void uart_write(void *dev, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct uart *u = dev;

	pthread_mutex_lock(&u->lock);
	uart_write_reg(u, (enum uart_reg)(offset & 7), (uint8_t)value);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static const struct io_ops uart_ops = {
	.read = uart_read,
	.write = uart_write,
	.max_size = 1,
};

/* --- Life ----------------------------------------------------------------- */

/* Data sheet, table I.  Bytes on their way in either direction stay. */
static void uart_reset(struct dev *dev)
{
	struct uart *u = (struct uart *)dev;

	pthread_mutex_lock(&u->lock);
	u->ier = u->fcr = u->lcr = u->mcr = u->lsr = u->scr = 0;
	u->divisor = 12; /* 9600 baud */
	uart_fifo_clear(u);
	uart_update_thre(u);
	u->thre_pending = false;
	u->msr = uart_modem_lines(u);
	uart_fill_fifo(u);
	uart_update_irq(u);
	pthread_mutex_unlock(&u->lock);
}

static void uart_restored(struct uart *u, struct walk *w)
{
	if (u->fifo_head >= UART_FIFO || u->fifo_count > UART_FIFO) {
		u->fifo_head = u->fifo_count = 0;
		walk_fail(w, "uart: a FIFO index is out of range");
	}
	line_restored(u->line, w);
	if (u->timeout_at)
		timer_arm(&u->timeout, u->timeout_at);
}

static void uart_walk(struct dev *dev, struct walk *w)
{
	struct uart *u = (struct uart *)dev;

	if (!walk_section(w, "uart", dev->instance, 1))
		return;
	pthread_mutex_lock(&u->lock);
	walk_u8(w, "ier", &u->ier);
	walk_u8(w, "fcr", &u->fcr);
	walk_u8(w, "lcr", &u->lcr);
	walk_u8(w, "mcr", &u->mcr);
	walk_u8(w, "lsr", &u->lsr);
	walk_u8(w, "msr", &u->msr);
	walk_u8(w, "scr", &u->scr);
	walk_u16(w, "divisor", &u->divisor);
	walk_bool(w, "thre_pending", &u->thre_pending);
	walk_bool(w, "timeout_pending", &u->timeout_pending);
	walk_u64(w, "timeout_at", &u->timeout_at);
	walk_bytes(w, "fifo", u->fifo, sizeof(u->fifo));
	walk_u32(w, "fifo_head", &u->fifo_head);
	walk_u32(w, "fifo_count", &u->fifo_count);
	line_walk(u->line, w);
	walk_end(w);
	if (walk_restoring(w))
		uart_restored(u, w);
	pthread_mutex_unlock(&u->lock);
}

static void uart_free(struct dev *dev)
{
	struct uart *u = (struct uart *)dev;

	timer_disarm(&u->timeout);
	line_free(u->line);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

int uart_new(struct uart **out, const struct dev_env *env,
	     const struct uart_config *config, struct err *err)
{
	struct uart *u = calloc(1, sizeof(*u));

	if (!u)
		return err_set(err, ENOMEM, "no memory for a serial port");
	u->dev = (struct dev){ .name = "uart",
			       .instance = config->instance,
			       .reset = uart_reset,
			       .walk = uart_walk,
			       .free = uart_free };
	u->clock = env->clock;
	u->irq = config->irq;
	pthread_mutex_init(&u->lock, NULL);
	timer_init(&u->timeout, env->loop, uart_timeout, u);
	int rc = line_new(&u->line, env->loop, config->in_fd, config->out_fd,
			  &uart_line_ops, u);
	if (rc == 0)
		rc = mem_map_ports(env->mem, config->base, 8, &uart_ops, u,
				   "uart");
	if (rc < 0) {
		uart_free(&u->dev);
		return err_set(err, -rc, "serial port at %#x: %s", config->base,
			       rc == -ENOMEM ? "no memory" : "ports in use");
	}
	uart_reset(&u->dev);
	*out = u;
	return 0;
}
