/*
 * debug.c - debug console, POST code and exit port.
 */
#include "dev/pc/debug.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEBUG_PORT      0x402
#define DEBUG_PORT_E9   0xe9
#define DEBUG_PORT_POST 0x80
#define DEBUG_PORT_EXIT 0xf4
#define DEBUG_ID        0xe9
#define DEBUG_LINE      256

struct debug {
	struct dev dev;
	struct dev_hook exit;
	int fd;
	pthread_mutex_t lock; /* guards all below */
	uint8_t post;
	char line[DEBUG_LINE]; /* written out whole, so that lines stay whole */
	unsigned len;
};

/* A pipe or terminal that is ready takes a line without blocking. */
static void debug_flush(struct debug *d)
{
	struct pollfd p = { .fd = d->fd, .events = POLLOUT };

	if (d->fd >= 0 && d->len && poll(&p, 1, 0) == 1 &&
	    (p.revents & POLLOUT)) {
		ssize_t n = write(d->fd, d->line, d->len);

		(void)n; /* what does not fit is dropped */
	}
	d->len = 0;
}

static uint64_t debug_read(void *dev, uint64_t offset, unsigned size)
{
	return DEBUG_ID;
}

static void debug_write(void *dev, uint64_t offset, unsigned size,
			uint64_t value)
{
	struct debug *d = dev;

	pthread_mutex_lock(&d->lock);
	d->line[d->len++] = (char)value;
	if ((char)value == '\n' || d->len == DEBUG_LINE)
		debug_flush(d);
	pthread_mutex_unlock(&d->lock);
}

static uint64_t debug_read_post(void *dev, uint64_t offset, unsigned size)
{
	return debug_post_code(dev);
}

static void debug_write_post(void *dev, uint64_t offset, unsigned size,
			     uint64_t value)
{
	struct debug *d = dev;

	pthread_mutex_lock(&d->lock);
	d->post = (uint8_t)value;
	pthread_mutex_unlock(&d->lock);
}

uint8_t debug_post_code(struct debug *d)
{
	pthread_mutex_lock(&d->lock);
	uint8_t post = d->post;
	pthread_mutex_unlock(&d->lock);
	return post;
}

static uint64_t debug_read_exit(void *dev, uint64_t offset, unsigned size)
{
	return 0;
}

static void debug_write_exit(void *dev, uint64_t offset, unsigned size,
			     uint64_t value)
{
	struct debug *d = dev;

	pthread_mutex_lock(&d->lock);
	debug_flush(d);
	pthread_mutex_unlock(&d->lock);
	dev_hook_call(&d->exit, (uint32_t)value);
}

static const struct io_ops debug_ops = {
	.read = debug_read,
	.write = debug_write,
	.max_size = 1,
};

static const struct io_ops debug_post_ops = {
	.read = debug_read_post,
	.write = debug_write_post,
	.max_size = 1,
};

static const struct io_ops debug_exit_ops = {
	.read = debug_read_exit,
	.write = debug_write_exit,
	.max_size = 4,
};

static void debug_reset(struct dev *dev)
{
	struct debug *d = (struct debug *)dev;

	pthread_mutex_lock(&d->lock);
	d->post = 0;
	debug_flush(d);
	pthread_mutex_unlock(&d->lock);
}

static void debug_walk(struct dev *dev, struct walk *w)
{
	struct debug *d = (struct debug *)dev;

	if (!walk_section(w, "debug", 0, 1))
		return;
	pthread_mutex_lock(&d->lock);
	walk_u8(w, "post", &d->post);
	pthread_mutex_unlock(&d->lock);
	walk_end(w);
}

static void debug_free(struct dev *dev)
{
	struct debug *d = (struct debug *)dev;

	debug_flush(d);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int debug_map(struct debug *d, struct mem *mem)
{
	int rc = mem_map_ports(mem, DEBUG_PORT, 1, &debug_ops, d, "debug");

	if (rc == 0)
		rc = mem_map_ports(mem, DEBUG_PORT_E9, 1, &debug_ops, d,
				   "debug");
	if (rc == 0)
		rc = mem_map_ports(mem, DEBUG_PORT_POST, 1, &debug_post_ops, d,
				   "post");
	if (rc == 0)
		rc = mem_map_ports(mem, DEBUG_PORT_EXIT, 4, &debug_exit_ops, d,
				   "exit");
	mem_coalesce(mem, 'p', DEBUG_PORT, 1);
	mem_coalesce(mem, 'p', DEBUG_PORT_POST, 1);
	return rc;
}

int debug_new(struct debug **out, const struct dev_env *env, int fd,
	      struct dev_hook exit, struct err *err)
{
	struct debug *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ENOMEM, "no memory for the debug ports");
	d->dev = (struct dev){ .name = "debug",
			       .reset = debug_reset,
			       .walk = debug_walk,
			       .free = debug_free };
	d->fd = fd;
	d->exit = exit;
	pthread_mutex_init(&d->lock, NULL);
	int rc = debug_map(d, env->mem);
	if (rc < 0) {
		debug_free(&d->dev);
		return err_set(err, -rc, "debug ports: in use");
	}
	*out = d;
	return 0;
}
