/*
 * bootorder.h - what firmware tries to boot from, and in which order.
 *
 * --boot takes kinds of devices, comma-separated; those of a kind come in the
 * order of the command line, kinds that are not named behind those that are.
 * Firmware reads Open Firmware device paths, a line each (fw_cfg's
 * "bootorder"); both SeaBIOS and OVMF know those written here, but for those on
 * no bus.
 */
#ifndef HOSTEL_MACHINE_BOOTORDER_H
#define HOSTEL_MACHINE_BOOTORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BOOTORDER_MAX 48

enum bootorder_kind {
	BOOTORDER_DISK,
	BOOTORDER_CDROM,
	BOOTORDER_NET,
	BOOTORDER_KINDS
};

/* Zeroed at first. */
struct bootorder {
	unsigned count;
	struct {
		enum bootorder_kind kind;
		char path[80];
	} entry[BOOTORDER_MAX];
};

/*
 * Adds a device, while the board is built; more than there is room for are
 * left out.  slot: PCI.
 */
void bootorder_virtio_disk(struct bootorder *b, unsigned slot);
/* One on no bus, whose registers lie there; SeaBIOS knows it. */
void bootorder_mmio_disk(struct bootorder *b, uint64_t gpa);
void bootorder_nic(struct bootorder *b, unsigned slot);
/* A port of an AHCI controller (ICH9's, 8086:2922). */
void bootorder_ahci(struct bootorder *b, enum bootorder_kind kind,
		    unsigned slot, unsigned func, unsigned port);

/*
 * Reads --boot (NULL: not given) into order[BOOTORDER_KINDS] and *menu.
 * -EINVAL with a sentence.
 */
int bootorder_parse(const char *boot, enum bootorder_kind *order, bool *menu,
		    struct err *err);

struct fw_cfg;
/* The fw_cfg items, once all devices are there. */
int bootorder_finish(const struct bootorder *b, const char *boot,
		     struct fw_cfg *f, struct err *err);

#endif
