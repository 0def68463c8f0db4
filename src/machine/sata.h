/* sata.h - a guest's SATA drives: --disk with bus=ahci, and --cdrom. */
#ifndef HOSTEL_MACHINE_SATA_H
#define HOSTEL_MACHINE_SATA_H

#include "dev/ata/ahci.h"
#include "machine/disks.h"

/*
 * The adapter that the configuration asks for, disks first, then the CD-ROM;
 * NULL: it asks for none.  Not freed by disks_exit(), which comes after it.
 */
int sata_new(struct ahci **out, struct vm *vm, struct pci_host *host,
	     struct disks *disks, struct err *err);

/* What --cdrom names, for reading; NULL for "none", an empty drive. */
int sata_open_cdrom(struct block **out, const char *file, struct err *err);

#endif
