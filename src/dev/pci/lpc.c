/*
 * lpc.c - the ISA bridge: an ICH9 LPC function with nothing but its PIRQ
 * router; the devices on the ISA bus are wired by the board.
 */
#include "dev/pci/lpc.h"

#include <errno.h>
#include <stdlib.h>

#define LPC_SLOT      0x1f
#define LPC_PMBASE    0x40
#define LPC_ACPI_CNTL 0x44
#define LPC_PIRQ_A    0x60
#define LPC_PIRQ_E    0x68
#define LPC_PIRQ_OFF  0x80
#define LPC_PM_PORTS  0x600

struct lpc {
	struct dev dev;
	struct pci_dev pci;
	struct irqs *irqs;
};

static unsigned lpc_pirq_reg(unsigned n)
{
	return n < 4 ? LPC_PIRQ_A + n : LPC_PIRQ_E + n - 4;
}

/* IRQs 0, 1, 2, 8 and 13 are reserved in the router (ICH9 13.1.17). */
static unsigned lpc_route(uint8_t reg)
{
	unsigned irq = reg & 0xf;

	if ((reg & LPC_PIRQ_OFF) || !(0xdef8 >> irq & 1))
		return 0;
	return irq;
}

static void lpc_config_written(struct pci_dev *pd, unsigned offset,
			       unsigned size)
{
	struct lpc *lpc =
		(struct lpc *)((char *)pd - offsetof(struct lpc, pci));

	if (offset + size <= LPC_PIRQ_A || offset > LPC_PIRQ_E + 3)
		return;
	for (unsigned n = 0; n < 8; n++)
		irqs_route_pirq(lpc->irqs, n,
				lpc_route(pd->config[lpc_pirq_reg(n)]));
}

/* The state is configuration space, which the PCI host resets and walks. */
static void lpc_free(struct dev *dev)
{
	free(dev);
}

static void lpc_init(struct lpc *lpc)
{
	static const struct pci_id id = {
		.vendor = 0x8086,
		.device = 0x2918,
		.class_code = 0x060100,
		.revision = 2,
	};
	struct pci_dev *pd = &lpc->pci;

	pci_init(pd, "isa bridge", &id);
	pd->config_written = lpc_config_written;
	pci_put(pd->config + LPC_PMBASE, LPC_PM_PORTS | 1, 4);
	pd->config[LPC_ACPI_CNTL] = 0x80; /* enabled, SCI on IRQ 9 */
	for (unsigned n = 0; n < 8; n++) {
		pd->config[lpc_pirq_reg(n)] = LPC_PIRQ_OFF;
		pd->wmask[lpc_pirq_reg(n)] = LPC_PIRQ_OFF | 0xf;
	}
}

int lpc_new(struct lpc **out, const struct dev_env *env, struct pci_host *host,
	    struct irqs *irqs, struct err *err)
{
	struct lpc *lpc = calloc(1, sizeof(*lpc));

	if (!lpc)
		return err_set(err, ENOMEM, "no memory for the ISA bridge");
	lpc->dev = (struct dev){ .name = "lpc", .free = lpc_free };
	lpc->irqs = irqs;
	lpc_init(lpc);
	int rc = pci_attach(host, &lpc->pci, LPC_SLOT, 0, err);
	if (rc < 0) {
		free(lpc);
		return rc;
	}
	*out = lpc;
	return 0;
}
