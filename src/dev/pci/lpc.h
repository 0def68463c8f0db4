/*
 * lpc.h - the ISA bridge at 00:1f.0: names the ISA bus to the guest, and
 * routes PIRQs to the 8259s.
 *
 * Source: Intel ICH9 (316972), 13.1: PMBASE (40h, fixed at 600h), PIRQ
 * routing (60h-63h, 68h-6bh; bit 7 set: not routed to the 8259s).
 */
#ifndef HOSTEL_DEV_PCI_LPC_H
#define HOSTEL_DEV_PCI_LPC_H

#include "dev/pc/irqs.h"
#include "dev/pci/host.h"

struct lpc;

int lpc_new(struct lpc **out, const struct dev_env *env, struct pci_host *host,
	    struct irqs *irqs, struct err *err);

#endif
