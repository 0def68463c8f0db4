/*
 * mptable.h - what a PC said of itself before ACPI: the MultiProcessor table
 * and the PCI IRQ routing table, for kernels that are entered without firmware
 * and do not read ACPI (acpi=off).
 *
 * Source: Intel MultiProcessor Specification 1.4, chapter 4; Microsoft, PCI
 * IRQ Routing Table Specification 1.0.
 */
#ifndef HOSTEL_MACHINE_MPTABLE_H
#define HOSTEL_MACHINE_MPTABLE_H

#include <stdint.h>

/* Between the tables of SMBIOS and the stubs of bios.c. */
#define MPTABLE_BASE  0xf8000u
#define MPTABLE_SIZE  0x4000u
#define PIRTABLE_BASE 0xfc000u
#define PIRTABLE_SIZE 0x400u

/*
 * The floating pointer, at MPTABLE_BASE, and behind it the configuration.
 * Processors whose APIC ID does not fit into a byte are left out.  Returns the
 * bytes used.
 */
uint32_t mptable_build(uint8_t buf[MPTABLE_SIZE], unsigned cpus);
uint32_t pirtable_build(uint8_t buf[PIRTABLE_SIZE]);

#endif
