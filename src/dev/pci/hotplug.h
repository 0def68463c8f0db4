/*
 * hotplug.h - the registers behind ACPI's PCI hot plug (ACPI 6.5, 6.3.3): the
 * board tells of slots that were filled or are to be emptied, the guest's
 * interpreter of the DSDT asks and ejects.
 *
 *	+0 (dword, read)   slots that were filled; reading clears
 *	+4 (dword, read)   slots that are to be emptied; reading clears
 *	+8 (dword, write)  slots that the guest has let go
 *
 * Bit n is slot n.  Threads: the functions from any; the hooks are called in
 * the caller's thread (gpe), a vCPU's (eject: value is the slot).
 */
#ifndef HOSTEL_DEV_PCI_HOTPLUG_H
#define HOSTEL_DEV_PCI_HOTPLUG_H

#include "dev/dev.h"

#define PCI_HOTPLUG_BASE 0xcc0
#define PCI_HOTPLUG_SIZE 12
#define PCI_HOTPLUG_GPE  1 /* value of the gpe hook */
/* Slots that can be filled and emptied. */
#define PCI_HOTPLUG_FIRST 2
#define PCI_HOTPLUG_END   31

struct pci_hotplug;

int pci_hotplug_new(struct pci_hotplug **out, const struct dev_env *env,
		    struct dev_hook gpe, struct dev_hook eject,
		    struct err *err);
/* The slot has been filled. */
void pci_hotplug_filled(struct pci_hotplug *h, unsigned slot);
/* Asks the guest to let go of what is in the slot. */
void pci_hotplug_ask(struct pci_hotplug *h, unsigned slot);

#endif
