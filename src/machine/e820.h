/*
 * e820.h - the memory map that firmware and loaders hand to a guest.
 *
 * Source: ACPI specification 6.5, chapter 15 (INT 15h, E820h).
 *
 *	0          .. 0x9fc00	RAM
 *	0x9fc00    .. 0xa0000	reserved: extended BIOS data area
 *	0xe0000    .. 0x100000	reserved: BIOS, here the ACPI tables
 *	0x100000   .. low end	RAM
 *	ECAM			reserved: MCFG must point into such a range
 *	4 GiB      ..		RAM, if there is any
 */
#ifndef HOSTEL_MACHINE_E820_H
#define HOSTEL_MACHINE_E820_H

#include "machine/boot/boot.h"

#define E820_RAM      1
#define E820_RESERVED 2
#define E820_EBDA     0x9fc00ull

/* Ascending, without overlaps; returns how many. */
unsigned e820_build(const struct mem *mem,
		    struct e820_entry map[BOOT_E820_MAX]);
/* Where RAM below the PCI hole ends. */
uint64_t e820_low_end(const struct mem *mem);

#endif
