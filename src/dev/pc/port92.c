/*
 * port92.c - system control port A.
 *
 *	bit 0	fast reset: going from 0 to 1 resets
 *	bit 1	A20 gate
 *
 * The other bits (security lock, disk light) are kept as written.
 */
#include "dev/pc/port92.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PORT92_PORT  0x92
#define PORT92_RESET 0x01
#define PORT92_A20   0x02

struct port92 {
	struct dev dev;
	struct dev_hook reset;
	atomic_uchar value;
};

bool port92_a20(struct port92 *p)
{
	return atomic_load(&p->value) & PORT92_A20;
}

void port92_set_a20(struct port92 *p, bool on)
{
	if (on)
		atomic_fetch_or(&p->value, PORT92_A20);
	else
		atomic_fetch_and(&p->value, (unsigned char)~PORT92_A20);
}

static uint64_t port92_read(void *dev, uint64_t offset, unsigned size)
{
	struct port92 *p = dev;

	return atomic_load(&p->value);
}

static void port92_write(void *dev, uint64_t offset, unsigned size,
			 uint64_t value)
{
	struct port92 *p = dev;
	uint8_t old = atomic_exchange(&p->value, (unsigned char)value);

	if (value & ~old & PORT92_RESET)
		dev_hook_call(&p->reset, 0);
}

static const struct io_ops port92_ops = {
	.read = port92_read,
	.write = port92_write,
	.max_size = 1,
};

/* Firmware leaves the gate open; so does a machine without any. */
static void port92_dev_reset(struct dev *dev)
{
	atomic_store(&((struct port92 *)dev)->value, PORT92_A20);
}

static void port92_walk(struct dev *dev, struct walk *w)
{
	struct port92 *p = (struct port92 *)dev;
	uint8_t value = atomic_load(&p->value);

	if (!walk_section(w, "port92", 0, 1))
		return;
	walk_u8(w, "value", &value);
	walk_end(w);
	atomic_store(&p->value, value);
}

static void port92_free(struct dev *dev)
{
	free(dev);
}

int port92_new(struct port92 **out, const struct dev_env *env,
	       struct dev_hook reset, struct err *err)
{
	struct port92 *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(err, ENOMEM, "no memory for port 92h");
	p->dev = (struct dev){ .name = "port92",
			       .reset = port92_dev_reset,
			       .walk = port92_walk,
			       .free = port92_free };
	p->reset = reset;
	int rc = mem_map_ports(env->mem, PORT92_PORT, 1, &port92_ops, p,
			       "port92");
	if (rc < 0) {
		free(p);
		return err_set(err, -rc, "port 92h: in use");
	}
	port92_dev_reset(&p->dev);
	*out = p;
	return 0;
}
