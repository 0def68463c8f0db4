#include "vpci.h"

static void vpci_message(void *opaque, uint64_t addr, uint32_t data)
{
	struct vpci *v = opaque;

	v->messages++;
	v->addr = addr;
	v->data = data;
}

static void vpci_add_card(struct vpci *v)
{
	static const struct pci_id id = { .vendor = 0x1234,
					  .device = 0x5678,
					  .int_pin = 1 };

	pci_init(&v->card, "card", &id);
	assert_int_equal(msi_init(&v->card, NULL), 0);
	assert_int_equal(pci_attach(v->host, &v->card, VPCI_CARD, 0, NULL), 0);
}

void vpci_open(struct vpci *v)
{
	struct pci_host_config config = { .msi = { vpci_message, v } };
	struct virtio_dev *vd;
	struct err err;

	memset(v, 0, sizeof(*v));
	dt_init(&v->dt);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		config.pirq[i] = dt_irq(&v->pirq[i]);
	if (pci_host_new(&v->host, &v->dt.env, &config, &err) ||
	    virtio_rng_new(&vd, &v->dt.env, &err) ||
	    virtio_pci_new(&v->rng, v->host, VPCI_SLOT, vd, &err))
		fail_msg("%s", err.msg);
	vpci_add_card(v);
}

void vpci_close(struct vpci *v)
{
	DEV(v->rng)->free(DEV(v->rng));
	DEV(v->host)->free(DEV(v->host));
	dt_exit(&v->dt);
}

static uint16_t vpci_select(struct vpci *v, unsigned slot, unsigned reg)
{
	mem_port_write(v->dt.env.mem, 0xcf8, 4,
		       0x80000000u | slot << 11 | (reg & 0xfc));
	return (uint16_t)(0xcfc + (reg & 3));
}

uint32_t vpci_config_get(struct vpci *v, unsigned slot, unsigned reg,
			 unsigned size)
{
	return mem_port_read(v->dt.env.mem, vpci_select(v, slot, reg), size);
}

void vpci_config_put(struct vpci *v, unsigned slot, unsigned reg, unsigned size,
		     uint32_t value)
{
	mem_port_write(v->dt.env.mem, vpci_select(v, slot, reg), size, value);
}

unsigned vpci_cap(struct vpci *v, unsigned slot, uint8_t id, unsigned nth)
{
	unsigned at = vpci_config_get(v, slot, PCI_CAP_PTR, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		if (vpci_config_get(v, slot, at, 1) == id && !nth--)
			return at;
		at = vpci_config_get(v, slot, at + 1, 1);
	}
	return 0;
}

void vpci_map(struct vpci *v)
{
	vpci_config_put(v, VPCI_SLOT, PCI_BAR0, 4, VPCI_BAR0);
	vpci_config_put(v, VPCI_SLOT, PCI_BAR0 + 4, 4, VPCI_BAR1);
	vpci_config_put(v, VPCI_SLOT, PCI_COMMAND, 2,
			PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
}
