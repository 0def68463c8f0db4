/*
 * pc.h - the board: every device of the machine, wired.
 *
 * Built, reset, walked and freed while no vCPU runs.
 */
#ifndef HOSTEL_MACHINE_PC_H
#define HOSTEL_MACHINE_PC_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/walk.h"

struct vm;
struct acpi_pm;
struct uart;
struct virtio_dev;

/*
 * Creates every device; vm->xm (with its vCPUs), vm->env and the console
 * descriptors must be there.  On failure nothing is left.
 */
int pc_new(struct vm *vm, struct err *err);
void pc_free(struct vm *vm);
/* Every device to its power-on state, in creation order. */
void pc_reset(struct vm *vm);
void pc_walk(struct vm *vm, struct walk *w);

struct acpi_config;
/* What the tables say of PCI, as it is now. Any thread, no locks. */
void pc_describe(struct vm *vm, struct acpi_config *c);

/* How many virtio devices are on no bus. */
unsigned pc_virtio_mmio(const struct vm *vm);

struct vga;
/* The display; NULL: there is none. */
struct vga *pc_vga(struct vm *vm);
/* Puts it, if there is one, into the text mode that firmware would. */
void pc_set_text(struct vm *vm);

/* The guest's memory balloon; every guest has one. */
struct virtio_dev *pc_balloon(struct vm *vm);

/* --- Hot plug; hold the devices' lock, from the monitor's thread only ------
 */

/*
 * Plugs in entry `index` of the description's disks, or networks.  Returns
 * the slot.
 */
int pc_plug_disk(struct vm *vm, unsigned index, struct err *err);
int pc_plug_nic(struct vm *vm, unsigned index, struct err *err);
/* The device in a slot where such are; NULL: none. */
const char *pc_slot(struct vm *vm, unsigned slot);
/* Is it a device that can be taken out? */
bool pc_can_eject(struct vm *vm, unsigned slot);
/* The guest empties it when it likes to: then it is no longer described. */
void pc_ask_to_eject(struct vm *vm, unsigned slot);
void pc_lock_devices(struct vm *vm);
void pc_unlock_devices(struct vm *vm);

/*
 * Another CD in the drive, or "none"; the guest hears of it.  -EBUSY while it
 * has locked the tray: then it hears that somebody wants to open it.  From the
 * monitor's thread.
 */
int pc_set_cdrom(struct vm *vm, const char *file, struct err *err);

void pc_power_button(struct vm *vm);
/*
 * Bytes from the keyboard (dev/pc/keys.h).  False: it has no room for all of
 * them now.  Any thread.
 */
bool pc_keys(struct vm *vm, const uint8_t *bytes, size_t n);
/* A disk of the host was full: try again.  False: none was.  Any thread. */
bool pc_resume_disks(struct vm *vm);
/* The image for which the host has no room; NULL: the guest goes on. */
const char *pc_full_disk(struct vm *vm);
json_t *pc_disk_stats(struct vm *vm);
/* Around saving: no disk changes by itself.  The same thread does both. */
void pc_hold_disks(struct vm *vm);
void pc_release_disks(struct vm *vm);
/* The terminal's size, for a virtio console.  Any thread. */
void pc_resize_console(struct vm *vm, uint16_t columns, uint16_t rows);
/* Writes out what the guest sent to its console: at the end of a run. */
void pc_flush_console(struct vm *vm);

#endif
