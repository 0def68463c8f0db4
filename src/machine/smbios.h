/*
 * smbios.h - what a PC says of itself: maker, chassis, processors, memory.
 *
 * Source: DMTF DSP0134 (SMBIOS) 3.6; entry point of version 2.8, which every
 * firmware and OS reads.  Firmware places the tables and mends the entry
 * point's address and checksums.
 */
#ifndef HOSTEL_MACHINE_SMBIOS_H
#define HOSTEL_MACHINE_SMBIOS_H

#include <stdint.h>

#define SMBIOS_ANCHOR_SIZE 31
#define SMBIOS_TABLES_MAX  8192

struct smbios_config {
	const char *name; /* the guest's; NULL: none */
	unsigned cpus;
	uint64_t memory; /* bytes */
};

/* Returns the tables' bytes, at most SMBIOS_TABLES_MAX. */
uint32_t smbios_build(const struct smbios_config *c,
		      uint8_t anchor[SMBIOS_ANCHOR_SIZE],
		      uint8_t tables[SMBIOS_TABLES_MAX]);

#endif
