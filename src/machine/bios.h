/*
 * bios.h - what a PC's BIOS leaves behind it, for a kernel that is entered
 * without one: its data area, its vectors, tables of the time before ACPI, and
 * a PCI bus whose functions have addresses and interrupts.
 *
 * Sources: IBM PC/AT technical reference (data area, FFFF0h); PCI Firmware
 * specification 3.0, 3.5 (the state of devices at handover); mptable.h.
 *
 * While no vCPU runs, at start and after each reset.
 */
#ifndef HOSTEL_MACHINE_BIOS_H
#define HOSTEL_MACHINE_BIOS_H

#include <stdbool.h>

struct vm;

/* tables: is there room for those of mptable.h? */
void bios_leave(struct vm *vm, bool tables);

#endif
