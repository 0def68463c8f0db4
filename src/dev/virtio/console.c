/*
 * console.c - virtio-console: see console.h.
 *
 *	receive queue <-- line_get()
 *	transmit queue --> line_put()
 *
 * A chain that is to be sent may be longer than the line has room: it is held
 * (`tx`, the first tx_at bytes of it sent) until the line says that there is
 * room again.  A chain to receive into is taken only for bytes that are there.
 *
 * Draining puts the held chain back into its ring, where
 * the restored device, or this one when the guest goes on, finds it again.
 */
#include "dev/virtio/console.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dev/line.h"

#define CONSOLE_F_SIZE        (1ull << 0)
#define CONSOLE_F_EMERG_WRITE (1ull << 2)

#define CONSOLE_RX 0 /* queues */
#define CONSOLE_TX 1

#define CONSOLE_QUEUE_SIZE 64
#define CONSOLE_EARLY_NS   500000000ull
#define CONSOLE_PIECE      4096 /* no more than line_has_room() promises */
/* Linux sends at most 32 KiB; beyond this a chain makes no sense. */
#define CONSOLE_CHAIN_MAX (1u << 20)

/* 5.3.4 */
struct console_space {
	uint16_t columns, rows;
	uint32_t max_ports; /* with MULTIPORT only */
	uint32_t emerg_write;
};

struct console {
	struct virtio_dev vd;
	struct line *line;
	struct timer resume; /* ends `drained` and `early` */

	pthread_mutex_t lock; /* guards: */
	struct console_space space;
	bool running; /* from DRIVER_OK to reset */
	bool early;   /* the driver has only just started */
	bool drained;
	bool tx_held;   /* `tx` is a chain of the driver's */
	uint32_t tx_at; /* bytes of the next chain that were sent */
	struct virtq_chain tx;
	struct virtq_chain rx;
};

/* --- Sending -------------------------------------------------------------- */

/* False: the line has no room for the rest of the chain. */
static bool console_send(struct console *c)
{
	uint8_t buf[CONSOLE_PIECE];
	size_t n;

	while (c->tx_at < c->tx.out_len) {
		if (!line_has_room(c->line))
			return false;
		n = virtq_read(&c->tx, c->tx_at, buf, sizeof(buf));
		for (size_t i = 0; i < n; i++)
			line_put(c->line, buf[i]);
		c->tx_at += (uint32_t)n;
	}
	return true;
}

/* Sends chains as far as there is room; false: there is none. */
static bool console_send_all(struct console *c, struct virtq *q)
{
	while (c->tx_held || virtq_pop(q, &c->tx) == 1) {
		c->tx_held = true;
		if (c->tx.out_len > CONSOLE_CHAIN_MAX) {
			c->tx_held = false;
			virtq_break(q);
			return true;
		}
		if (!console_send(c))
			return false;
		c->tx_held = false;
		c->tx_at = 0;
		virtq_push(q, &c->tx, 0);
	}
	return true;
}

/* Without room the line's call starts it again, not the driver. */
static void console_transmit(struct console *c)
{
	struct virtq *q = c->vd.queue[CONSOLE_TX];

	do
		virtq_disable_notify(q);
	while (console_send_all(c, q) && !virtq_enable_notify(q));
	virtq_interrupt(q);
}

/* --- Receiving ------------------------------------------------------------ */

/* Fills a chain; 0: nothing is there to fill it with. */
static uint32_t console_fill(struct console *c)
{
	uint8_t buf[CONSOLE_PIECE];
	size_t room = c->rx.in_len < sizeof(buf) ? c->rx.in_len : sizeof(buf);
	size_t n = 0;

	while (n < room && line_get(c->line, &buf[n]))
		n++;
	return (uint32_t)virtq_write(&c->rx, 0, buf, n);
}

/* False: the line has nothing more, and will say when it has. */
static bool console_receive_all(struct console *c, struct virtq *q)
{
	uint32_t n;

	while (virtq_pop(q, &c->rx) == 1) {
		n = console_fill(c);
		if (!n && c->rx.in_len) {
			virtq_unpop(q, 1);
			return false;
		}
		virtq_push(q, &c->rx, n);
	}
	return true;
}

static void console_receive(struct console *c)
{
	struct virtq *q = c->vd.queue[CONSOLE_RX];

	do
		virtq_disable_notify(q);
	while (console_receive_all(c, q) && !virtq_enable_notify(q));
	virtq_interrupt(q);
}

/* --- Who calls ------------------------------------------------------------ */

static void console_notify(struct virtio_dev *vd, unsigned n)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	if (c->running && !c->drained) {
		if (n == CONSOLE_RX && !c->early)
			console_receive(c);
		else if (n == CONSOLE_TX)
			console_transmit(c);
	}
	pthread_mutex_unlock(&c->lock);
}

/* Loop: bytes have come. */
static void console_input(void *opaque)
{
	console_notify(opaque, CONSOLE_RX);
}

/* Loop: the line has room again. */
static void console_room(void *opaque)
{
	console_notify(opaque, CONSOLE_TX);
}

static const struct line_ops console_line_ops = {
	.input = console_input,
	.room = console_room,
};

/* --- Configuration -------------------------------------------------------- */

static void console_read_config(struct virtio_dev *vd, unsigned offset,
				void *buf, unsigned len)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	memcpy(buf, (uint8_t *)&c->space + offset, len);
	pthread_mutex_unlock(&c->lock);
}

/* 5.3.4: a byte sent before, or instead of, the queues. */
static void console_write_config(struct virtio_dev *vd, unsigned offset,
				 const void *buf, unsigned len)
{
	struct console *c = (struct console *)vd;

	if (len && offset == offsetof(struct console_space, emerg_write))
		line_put(c->line, *(const uint8_t *)buf);
}

void virtio_console_resize(struct virtio_dev *vd, uint16_t columns,
			   uint16_t rows)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	c->space.columns = columns;
	c->space.rows = rows;
	virtio_config_changed(vd);
	pthread_mutex_unlock(&c->lock);
}

void virtio_console_flush(struct virtio_dev *vd, unsigned timeout_ms)
{
	line_flush(((struct console *)vd)->line, timeout_ms);
}

/* --- State ---------------------------------------------------------------- */

/*
 * Two things that Linux (6.1) wants.  It reads the size when that changes
 * only, so it is told at once.  And it throws away what it receives until its
 * terminal is set up, which takes a while after DRIVER_OK: what was typed
 * before waits for that.
 */
static void console_driver_ok(struct virtio_dev *vd)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	c->running = true;
	c->early = true;
	pthread_mutex_unlock(&c->lock);
	timer_arm(&c->resume, vclock_now(vd->env->clock) + CONSOLE_EARLY_NS);
	virtio_config_changed(vd);
}

static void console_reset(struct virtio_dev *vd)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	c->running = false;
	c->tx_held = false;
	c->tx_at = 0;
	pthread_mutex_unlock(&c->lock);
}

/* Timers stand still while the guest is paused: this one says that it runs. */
static void console_drain(struct virtio_dev *vd)
{
	struct console *c = (struct console *)vd;

	pthread_mutex_lock(&c->lock);
	if (c->tx_held)
		virtq_unpop(vd->queue[CONSOLE_TX], 1);
	c->tx_held = false;
	c->drained = true;
	pthread_mutex_unlock(&c->lock);
	timer_arm(&c->resume, vclock_now(vd->env->clock));
}

static void console_on_resume(void *opaque)
{
	struct console *c = opaque;

	pthread_mutex_lock(&c->lock);
	c->drained = false;
	c->early = false;
	pthread_mutex_unlock(&c->lock);
	console_notify(&c->vd, CONSOLE_RX);
	console_notify(&c->vd, CONSOLE_TX);
}

/* The size is this terminal's, not the one's where it was saved. */
static void console_walk(struct virtio_dev *vd, struct walk *w)
{
	struct console *c = (struct console *)vd;

	if (!walk_section(w, vd->name, vd->instance, 1))
		return;
	pthread_mutex_lock(&c->lock);
	walk_bool(w, "running", &c->running);
	walk_u32(w, "tx_at", &c->tx_at);
	line_walk(c->line, w);
	walk_end(w);
	if (walk_restoring(w)) {
		c->tx_held = false;
		c->drained = true;
		line_restored(c->line, w);
		timer_arm(&c->resume, vclock_now(vd->env->clock));
	}
	pthread_mutex_unlock(&c->lock);
}

/* --- Life ----------------------------------------------------------------- */

static void console_free(struct virtio_dev *vd)
{
	struct console *c = (struct console *)vd;

	timer_disarm(&c->resume);
	line_free(c->line);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static const struct virtio_ops console_ops = {
	.read_config = console_read_config,
	.write_config = console_write_config,
	.driver_ok = console_driver_ok,
	.notify = console_notify,
	.reset = console_reset,
	.drain = console_drain,
	.walk = console_walk,
	.free = console_free,
};

int virtio_console_new(struct virtio_dev **out, struct dev_env *env,
		       const struct virtio_console_config *config,
		       struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(err, ENOMEM, "out of memory");
	if (line_new(&c->line, env->loop, config->in_fd, config->out_fd,
		     &console_line_ops, c) < 0) {
		free(c);
		return err_set(err, ENOMEM, "out of memory");
	}
	pthread_mutex_init(&c->lock, NULL);
	timer_init(&c->resume, env->loop, console_on_resume, c);
	c->space.columns = config->columns;
	c->space.rows = config->rows;
	c->vd = (struct virtio_dev){
		.ops = &console_ops,
		.name = "virtio-console",
		.env = env,
		.id = VIRTIO_ID_CONSOLE,
		.class_code = 0x078000, /* a communication controller */
		.offered = CONSOLE_F_SIZE | CONSOLE_F_EMERG_WRITE,
		.queue_count = 2,
		.queue_size = CONSOLE_QUEUE_SIZE,
		.config_size = sizeof(struct console_space),
	};
	*out = &c->vd;
	return 0;
}
