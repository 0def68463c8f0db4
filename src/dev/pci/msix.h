/*
 * msix.h - message-signalled interrupts of a PCI function: MSI-X and MSI.
 *
 * Source: PCI Local Bus specification 3.0, 6.8.
 *
 * Building: msix_init() adds the capability and a memory BAR of its own with
 * table and pending bits; msi_init() adds the plain MSI capability (one
 * message), for devices that predate MSI-X.
 *
 * Threads: msix_raise() any, also with the device's lock held (it takes a
 * leaf lock, and the interrupt wires below).
 */
#ifndef HOSTEL_DEV_PCI_MSIX_H
#define HOSTEL_DEV_PCI_MSIX_H

#include "dev/pci/pci.h"

#define MSIX_VECTORS_MAX 128

struct msix;

/* vectors: 1..MSIX_VECTORS_MAX; bar: 0..5, 32-bit memory. */
int msix_init(struct msix **out, struct pci_dev *pd, unsigned vectors,
	      unsigned bar, struct err *err);
void msix_free(struct msix *m);
bool msix_enabled(const struct msix *m);
/* Sends the vector's message, or keeps it pending while masked. */
void msix_raise(struct msix *m, unsigned vector);
/* To be called from pd->config_written and at reset. */
void msix_config_written(struct msix *m);
void msix_reset(struct msix *m);
void msix_walk(struct msix *m, struct walk *w, unsigned instance);

/* msi_init() before pci_attach(); pci.c hears of the guest's writes itself. */
int msi_init(struct pci_dev *pd, struct err *err);
bool msi_enabled(struct pci_dev *pd);
/* False: MSI is off; raise INTx instead. */
bool msi_raise(struct pci_dev *pd);
void msi_config_written(struct pci_dev *pd);

#endif
