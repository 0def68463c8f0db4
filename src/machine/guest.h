/*
 * guest.h - what a guest finds in memory when it starts, and where it starts.
 *
 * Files are opened when the vm is made and stay mapped, so that a reset loads
 * the guest again without the file system.  While no vCPU runs.
 */
#ifndef HOSTEL_MACHINE_GUEST_H
#define HOSTEL_MACHINE_GUEST_H

#include "machine/boot/boot.h"
#include "machine/firmware.h"

struct vm;

struct guest {
	struct boot_blob kernel, initrd;
	struct firmware *firmware; /* NULL: the kernel starts at once */
};

/* Opens the files that the configuration names. */
int guest_open(struct guest *g, const struct vm *vm, struct err *err);
void guest_close(struct guest *g);
/* Writes tables and kernel; puts the boot processor at its entry. */
int guest_load(const struct guest *g, struct vm *vm, struct err *err);

#endif
