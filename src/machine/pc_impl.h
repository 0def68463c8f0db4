/*
 * pc_impl.h - the board from inside: for pc.c and the pc_*.c files.
 */
#ifndef HOSTEL_MACHINE_PC_IMPL_H
#define HOSTEL_MACHINE_PC_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "dev/pci/host.h"
#include "dev/pci/hotplug.h"
#include "dev/virtio/virtio.h"
#include "machine/bootorder.h"
#include "machine/disks.h"
#include "machine/pc.h"
#include "machine/vm.h"

struct pc {
	struct pic *pic;
	struct ioapic *ioapic;
	struct irqs *irqs;
	struct pit *pit;
	struct rtc *rtc;
	struct port92 *port92;
	struct i8042 *i8042;
	struct uart *com1;
	struct debug *debug;
	struct acpi_pm *pm;
	struct fw_cfg *fw_cfg;
	struct pflash *flash[2]; /* code and variables; NULL: none */
	struct pci_host *pci;
	struct lpc *lpc;
	struct bootorder boot;
	struct vga *vga; /* NULL: none */
	uint8_t *font;   /* for it; NULL: none */
	struct pci_hotplug *hotplug;
	unsigned next_serial; /* of disks */
	bool built;           /* from now on devices come and go */
	struct dev *plugged;  /* into the PCI bus, in order of creation */
	struct {
		struct dev *dev; /* NULL: none of them is in the slot */
		struct virtio_dev *vd;
	} slot[PCI_SLOTS];
	struct timer ejected;   /* looks at `eject` */
	_Atomic uint32_t eject; /* slots that the guest has let go */
	struct {
		unsigned count;       /* virtio devices on no bus */
		pthread_mutex_t lock; /* guards: */
		uint32_t levels;      /* what each wants of its pin */
	} wires;
	pthread_mutex_t plugging; /* held while devices come and go */
	int log_fd;               /* --firmware-log; -1: none */
	struct virtio_dev *balloon;
	struct virtio_dev *console; /* NULL: the serial port has it */
	struct disks disks;
	struct ahci *ahci;   /* NULL: no SATA drives */
	unsigned cdrom_port; /* of it, if the description has one */
};

/*
 * A disk, or network i, of the description: made and plugged into the slot
 * that it names, or the next.  Returns the slot; 0: the disk is on no bus.
 */
int pc_disk(struct vm *vm, struct pc *pc, struct vm_disk *disk,
	    struct err *err);
int pc_nic(struct vm *vm, struct pc *pc, unsigned i, struct err *err);
/* The registers by which a guest hears of it: pc_hotplug.c */
int pc_hotplug(struct vm *vm, struct pc *pc, struct err *err);

/* --- pc_plug.c: all that the description asks for, in this order ---------- */

int pc_rng(struct vm *vm, struct pc *pc, struct err *err);
int pc_new_balloon(struct vm *vm, struct pc *pc, struct err *err);
int pc_console(struct vm *vm, struct pc *pc, struct err *err);
int pc_disks(struct vm *vm, struct pc *pc, struct err *err);
int pc_nics(struct vm *vm, struct pc *pc, struct err *err);
int pc_sata(struct vm *vm, struct pc *pc, struct err *err);
int pc_volumes(struct vm *vm, struct pc *pc, struct err *err);
int pc_vsock(struct vm *vm, struct pc *pc, struct err *err);
/* Puts a device (or none) at the end of a list. */
void pc_add(struct dev **list, void *device);

/* --- pc_place.c: where they go -------------------------------------------- */

/*
 * The slot that is asked for, or (0) the lowest that is free: in the order of
 * the list in pc_build().
 */
int pc_take_slot(struct pc *pc, uint64_t wanted, struct err *err);
/*
 * All take vd over, also on failure, and return the slot; 0: on no bus.
 * In the slot that is wanted, or (0) where --virtio says; there, but in this
 * slot if that is the PCI bus; on no bus.
 */
int pc_plug_virtio(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		   uint64_t wanted, struct err *err);
int pc_plug_usual(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		  unsigned slot, struct err *err);
int pc_place_virtio(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
		    struct err *err);
/* Where the registers of the last one are that was put on no bus. */
uint64_t pc_placed_at(const struct pc *pc);

#endif
