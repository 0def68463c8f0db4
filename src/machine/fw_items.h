/*
 * fw_items.h - what firmware is told about the machine through fw_cfg.
 *
 * Sources: QEMU's docs/specs/fw_cfg and acpi's "bios-linker-loader" as SeaBIOS
 * and OVMF implement it; SeaBIOS's Runtime_config.
 *
 *	etc/e820		RAM
 *	etc/acpi/rsdp, etc/acpi/tables, etc/table-loader
 *				the tables of acpi.h, and how to place them
 *	etc/system-states	S3 and S4 are not there
 *	etc/sercon-port		the BIOS's screen also on the first serial port
 *	etc/boot-fail-wait	nothing to boot: say so, and stay there
 *	bootorder		what to boot from: bootorder.h
 *	pci1234,1111.rom	the VGA BIOS
 *	etc/smbios/...		smbios.h
 */
#ifndef HOSTEL_MACHINE_FW_ITEMS_H
#define HOSTEL_MACHINE_FW_ITEMS_H

#include "base/err.h"

struct vm;
struct fw_cfg;

/* While the board is built; the PCI host comes later. */
int fw_items_add(struct fw_cfg *f, struct vm *vm, struct err *err);

#endif
