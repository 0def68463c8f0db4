/*
 * vpci.h - a virtio random number generator on a PCI bus, and a bare card
 * with MSI, reached as a guest does: through ports and BARs.
 */
#ifndef HOSTEL_TESTS_VPCI_H
#define HOSTEL_TESTS_VPCI_H

#include "devtest.h"

#include "dev/pci/host.h"
#include "dev/pci/msix.h"
#include "dev/virtio/rng.h"

#define VPCI_SLOT 2
#define VPCI_CARD 3
#define VPCI_BAR0 0xc0000000u /* where the tests put it: virtio */
#define VPCI_BAR1 0xc0010000u /* MSI-X */

struct vpci {
	struct dt dt;
	struct pci_host *host;
	struct virtio_pci *rng;
	struct pci_dev card;
	struct dt_line pirq[PCI_PIRQS];
	unsigned messages;
	uint64_t addr; /* of the last message */
	uint32_t data;
};

void vpci_open(struct vpci *v);
void vpci_close(struct vpci *v);

uint32_t vpci_config_get(struct vpci *v, unsigned slot, unsigned reg,
			 unsigned size);
void vpci_config_put(struct vpci *v, unsigned slot, unsigned reg, unsigned size,
		     uint32_t value);
/* Offset of the nth capability of that kind; 0: none. */
unsigned vpci_cap(struct vpci *v, unsigned slot, uint8_t id, unsigned nth);
/* BARs in place, memory decoding on. */
void vpci_map(struct vpci *v);

static inline uint64_t vpci_get(struct vpci *v, uint64_t gpa, unsigned size)
{
	return mem_mmio_read(v->dt.env.mem, gpa, size);
}

static inline void vpci_put(struct vpci *v, uint64_t gpa, unsigned size,
			    uint64_t value)
{
	mem_mmio_write(v->dt.env.mem, gpa, size, value);
}

#endif
