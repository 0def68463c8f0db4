/*
 * smbios.h - what a PC says of itself: maker, chassis, processors, memory.
 *
 * Source: DMTF DSP0134 (SMBIOS) 3.6; entry point of version 2.8, which every
 * firmware and OS reads.  Firmware places the tables, mends the entry point's
 * address and checksums, and tells of itself (type 0); without one, `base` says
 * where they lie and type 0 is ours.
 */
#ifndef HOSTEL_MACHINE_SMBIOS_H
#define HOSTEL_MACHINE_SMBIOS_H

#include <stdint.h>

#define SMBIOS_ANCHOR_SIZE 31
#define SMBIOS_TABLES_MAX  8192

/* Without firmware: where PCs have it, behind ACPI in the same reservation. */
#define SMBIOS_BASE   0xf0000u
#define SMBIOS_TABLES (SMBIOS_BASE + 0x20u)

struct smbios_config {
	const char *name; /* the guest's; NULL: none */
	unsigned cpus;
	uint64_t memory; /* bytes */
	uint32_t base;   /* where the tables will lie; 0: firmware's concern */
};

/* Returns the tables' bytes, at most SMBIOS_TABLES_MAX. */
uint32_t smbios_build(const struct smbios_config *c,
		      uint8_t anchor[SMBIOS_ANCHOR_SIZE],
		      uint8_t tables[SMBIOS_TABLES_MAX]);

#endif
