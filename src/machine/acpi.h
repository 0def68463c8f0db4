/*
 * acpi.h - the tables by which a guest learns of the board.
 *
 * Source: ACPI specification 6.5, chapter 5; PCI firmware specification 3.0
 * (MCFG).  RSDP, XSDT, FADT, FACS, DSDT, MADT and MCFG, in one block that
 * lies where PCs have their BIOS, so that a guest without help finds the
 * RSDP by its signature.
 */
#ifndef HOSTEL_MACHINE_ACPI_H
#define HOSTEL_MACHINE_ACPI_H

#include <stdint.h>

#include "base/err.h"
#include "machine/aml.h"

#define ACPI_BASE 0xe0000ull
#define ACPI_SIZE 0x20000u

/*
 * Builds the tables for a board with `cpus` processors, as they lie at
 * ACPI_BASE: buf holds ACPI_SIZE bytes.  The RSDP comes first.  Returns the
 * bytes used, or -ENOSPC with a sentence (too many processors).
 */
int acpi_build(uint8_t *buf, unsigned cpus, struct err *err);

/* The DSDT's body (acpi_dsdt.c). */
void acpi_dsdt(struct aml *a, unsigned cpus);

#endif
