#include "dev/pci/hotplug.h"

#include <pthread.h>
#include <errno.h>
#include <stdlib.h>

enum { HOTPLUG_UP = 0, HOTPLUG_DOWN = 4, HOTPLUG_EJECT = 8 };

struct pci_hotplug {
	struct dev dev;
	struct dev_hook gpe, eject;
	pthread_mutex_t lock; /* guards: */
	uint32_t up, down;
};

static void hotplug_tell(struct pci_hotplug *h, uint32_t *what, unsigned slot)
{
	pthread_mutex_lock(&h->lock);
	*what |= 1u << slot;
	pthread_mutex_unlock(&h->lock);
	dev_hook_call(&h->gpe, PCI_HOTPLUG_GPE);
}

void pci_hotplug_filled(struct pci_hotplug *h, unsigned slot)
{
	hotplug_tell(h, &h->up, slot);
}

void pci_hotplug_ask(struct pci_hotplug *h, unsigned slot)
{
	hotplug_tell(h, &h->down, slot);
}

static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_hotplug *h = opaque;
	uint32_t *what = offset == HOTPLUG_UP     ? &h->up
			 : offset == HOTPLUG_DOWN ? &h->down
						  : NULL;
	uint32_t value;

	if (!what || size != 4)
		return 0;
	pthread_mutex_lock(&h->lock);
	value = *what;
	*what = 0;
	pthread_mutex_unlock(&h->lock);
	return value;
}

static void hotplug_write(void *opaque, uint64_t offset, unsigned size,
			  uint64_t value)
{
	struct pci_hotplug *h = opaque;

	if (offset != HOTPLUG_EJECT || size != 4)
		return;
	for (unsigned slot = PCI_HOTPLUG_FIRST; slot < PCI_HOTPLUG_END; slot++)
		if (value >> slot & 1)
			dev_hook_call(&h->eject, slot);
}

static const struct io_ops hotplug_ops = {
	.read = hotplug_read,
	.write = hotplug_write,
	.max_size = 4,
};

/* A guest that starts again finds what is there by itself. */
static void hotplug_reset(struct dev *dev)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	pthread_mutex_lock(&h->lock);
	h->up = h->down = 0;
	pthread_mutex_unlock(&h->lock);
}

static void hotplug_walk(struct dev *dev, struct walk *w)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	if (!walk_section(w, "pci-hotplug", 0, 1))
		return;
	walk_u32(w, "up", &h->up);
	walk_u32(w, "down", &h->down);
	walk_end(w);
}

static void hotplug_free(struct dev *dev)
{
	struct pci_hotplug *h = (struct pci_hotplug *)dev;

	pthread_mutex_destroy(&h->lock);
	free(h);
}

int pci_hotplug_new(struct pci_hotplug **out, const struct dev_env *env,
		    struct dev_hook gpe, struct dev_hook eject, struct err *err)
{
	struct pci_hotplug *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return err_set(err, ENOMEM, "out of memory");
	h->dev = (struct dev){ .name = "pci-hotplug",
			       .reset = hotplug_reset,
			       .walk = hotplug_walk,
			       .free = hotplug_free };
	h->gpe = gpe;
	h->eject = eject;
	pthread_mutex_init(&h->lock, NULL);
	rc = mem_map_ports(env->mem, PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE,
			   &hotplug_ops, h, "pci-hotplug");
	if (rc < 0) {
		hotplug_free(&h->dev);
		return err_set(err, -rc, "PCI hot plug: ports in use");
	}
	*out = h;
	return 0;
}
