/*
 * ahci.h - a SATA host adapter of the ICH9 kind (8086:2922) with up to six
 * disks and CD-ROM drives: for systems without virtio drivers.
 *
 * Source: Serial ATA AHCI 1.3.1; Serial ATA 3.1.
 *
 *	BAR 5	 the HBA's memory registers, 4 KiB
 *	INTA or one MSI message
 *
 * Only ports with a drive are implemented (PI); no port multipliers, no
 * legacy (IDE) mode.
 *
 * Threads: registers from any vCPU, completions from the block queues'; one
 * mutex, never held while a request is submitted.
 */
#ifndef HOSTEL_DEV_ATA_AHCI_H
#define HOSTEL_DEV_ATA_AHCI_H

#include "block/block.h"
#include "dev/pci/host.h"

#define AHCI_PORTS 6
/* Where an ICH9 has it. */
#define AHCI_SLOT 0x1f
#define AHCI_FUNC 2

enum ahci_drive { AHCI_NONE, AHCI_DISK, AHCI_CDROM };

struct ahci_config {
	unsigned slot, func;
	unsigned instance; /* of several adapters: 0, 1, ... */
	struct {
		enum ahci_drive drive;
		/*
		 * Taken over by ahci_new(), also on failure.  NULL: a CD-ROM
		 * drive without medium.
		 */
		struct block *block;
		/*
		 * The host has no room for a write.  The command is kept until
		 * ahci_retry(); whoever is called should stop the guest.  Any
		 * thread; must not block.  Not set: the guest hears of it.
		 */
		struct dev_hook full;
	} port[AHCI_PORTS];
};

struct ahci;

int ahci_new(struct ahci **out, struct pci_host *host,
	     const struct ahci_config *config, struct err *err);

/*
 * Makes kept commands again and waits for them; how many ports keep some once
 * more.  Not from a vCPU's thread.
 */
unsigned ahci_retry(struct ahci *h);

/*
 * Another medium in a CD-ROM drive, or none (NULL); the former one is closed.
 * b is taken over unless this fails.  Not from a vCPU's thread.
 */
int ahci_set_medium(struct ahci *h, unsigned port, struct block *b,
		    struct err *err);

#endif
