/*
 * pc_plug.c - what is plugged into the board: virtio devices, network cards,
 * drives.
 *
 * The board's own devices have places that never change; these take the PCI
 * slot that the description names, or the lowest that is free, in the order
 * of the list in pc_build().  What a device needs from the host (an image, a
 * network, a directory) is opened here, and belongs to the device from then
 * on, also if plugging it in fails.
 */
#include "machine/pc_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/e1000/e1000.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/blk.h"
#include "dev/virtio/console.h"
#include "dev/virtio/p9.h"
#include "dev/virtio/rng.h"
#include "dev/virtio/virtio_net.h"
#include "dev/virtio/vsock.h"
#include "machine/bootorder.h"
#include "machine/config_list.h"
#include "machine/disks.h"
#include "machine/nics.h"
#include "machine/sata.h"
#include "machine/vm.h"

#define PC_SLOT_CONSOLE (PCI_HOTPLUG_END - 1)
#define PC_SLOT_VSOCK   (PCI_HOTPLUG_END - 2)
#define PC_DISK_QUEUES  4

/* Puts a device at the end of a list, which is in creation order. */
void pc_add(struct dev **list, void *device)
{
	if (!device)
		return;
	while (*list)
		list = &(*list)->next;
	*list = DEV(device);
}

int pc_rng(struct vm *vm, struct pc *pc, struct err *err)
{
	struct virtio_dev *vd;
	int ret = virtio_rng_new(&vd, &vm->env, err);

	if (ret == 0)
		ret = pc_plug_virtio(vm, pc, vd, 0, err);
	return ret < 0 ? ret : 0;
}

int pc_new_balloon(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = virtio_balloon_new(&pc->balloon, &vm->env, err);

	if (ret == 0)
		ret = pc_plug_virtio(vm, pc, pc->balloon, 0, err);
	return ret < 0 ? ret : 0;
}

/* What a terminal has if nobody says otherwise. */
int pc_console(struct vm *vm, struct pc *pc, struct err *err)
{
	struct virtio_console_config config = {
		.in_fd = vm->console_in,
		.out_fd = vm->console_out,
		.columns = 80,
		.rows = 24,
	};
	struct virtio_dev *vd;
	int ret;

	if (vm->config.console != VM_CONSOLE_VIRTIO)
		return 0;
	ret = virtio_console_new(&vd, &vm->env, &config, err);
	if (ret == 0)
		ret = pc_plug_usual(vm, pc, vd, PC_SLOT_CONSOLE, err);
	if (ret < 0)
		return ret;
	pc->console = vd;
	return 0;
}

/* As many queues as vCPUs may use at once; more cost memory only. */
static unsigned pc_disk_queues(const struct vm *vm, const struct vm_disk *disk)
{
	uint64_t n = disk->queues ? disk->queues : vm->xm.cpu_count;
	uint64_t max = disk->queues ? VIRTIO_BLK_QUEUES_MAX : PC_DISK_QUEUES;

	return (unsigned)(n < max ? n : max);
}

static unsigned pc_retry_disk(void *device)
{
	return virtio_blk_retry(device);
}

static void pc_stat_disk(void *device, struct block_queue_stats *out)
{
	virtio_blk_stats(device, out);
}

int pc_disk(struct vm *vm, struct pc *pc, struct vm_disk *disk, struct err *err)
{
	struct disks_entry *entry = disks_add(&pc->disks, disk);
	struct virtio_blk_config config = {
		.queues = pc_disk_queues(vm, disk),
	};
	char serial[32];
	struct virtio_dev *vd;
	int ret;

	if (!entry)
		return err_set(err, ENOSPC, "too many disks");
	config.full = disks_full_hook(entry);
	ret = disks_open(&config.disk, disk, err);
	if (ret < 0)
		return ret;
	snprintf(serial, sizeof(serial), "hostel-disk%u", pc->next_serial++);
	config.serial = serial;
	ret = virtio_blk_new(&vd, &vm->env, &config, err);
	if (ret < 0)
		return ret;
	if (disk->packed)
		vd->offered |= VIRTIO_F_RING_PACKED;
	entry->retry = pc_retry_disk;
	entry->stats = pc_stat_disk;
	entry->device = vd;
	ret = disks_on_bus(disk, "mmio")
		      ? pc_place_virtio(vm, pc, vd, err)
		      : pc_plug_virtio(vm, pc, vd, disk->slot, err);
	if (ret < 0) {
		disks_remove(&pc->disks, vd);
		return ret;
	}
	disk->slot = (unsigned)ret;
	return ret;
}

/*
 * In the order of the description, which firmware's is, too.  SATA drives are
 * made later, all at once: their ports are in the order that sata.h has.
 */
int pc_disks(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = disks_init(&pc->disks, vm, err);
	unsigned port = 0;

	for (unsigned i = 0; i < vm->config.disk_count && ret >= 0; i++) {
		struct vm_disk *disk = &vm->config.disks[i];

		if (disks_on_bus(disk, "ahci")) {
			bootorder_ahci(&pc->boot, BOOTORDER_DISK, AHCI_SLOT,
				       AHCI_FUNC, port++);
			continue;
		}
		ret = pc_disk(vm, pc, disk, err);
		if (ret > 0)
			bootorder_virtio_disk(&pc->boot, (unsigned)ret);
		else if (ret == 0)
			bootorder_mmio_disk(&pc->boot, pc_placed_at(pc));
	}
	pc->cdrom_port = port;
	if (vm->config.cdrom)
		bootorder_ahci(&pc->boot, BOOTORDER_CDROM, AHCI_SLOT, AHCI_FUNC,
			       port);
	return ret < 0 ? ret : 0;
}

/* Returns the slot. */
static int pc_virtio_nic(struct vm *vm, struct pc *pc, struct nics_card *card,
			 const struct vm_net *net, struct err *err)
{
	struct virtio_net_config config = { .pairs = card->pairs };
	struct virtio_dev *vd;
	int ret;

	memcpy(config.mac, card->mac, NET_MAC_LEN);
	ret = virtio_net_new(&vd, &vm->env, &config, card->link, err);
	if (ret < 0)
		return ret;
	if (net && net->packed)
		vd->offered |= VIRTIO_F_RING_PACKED;
	return pc_plug_virtio(vm, pc, vd, net ? net->slot : 0, err);
}

/* Returns the slot. */
static int pc_e1000(struct vm *vm, struct pc *pc, struct nics_card *card,
		    uint64_t wanted, struct err *err)
{
	int slot = pc_take_slot(pc, wanted, err), ret;
	struct e1000_config config = { .slot = (unsigned)slot,
				       .instance = (unsigned)slot };
	struct e1000 *e;

	if (slot < 0) {
		net_close(card->link);
		return slot;
	}
	memcpy(config.mac, card->mac, NET_MAC_LEN);
	ret = e1000_new(&e, &vm->env, pc->pci, &config, card->link, err);
	if (ret < 0)
		return ret;
	pc->slot[slot].dev = DEV(e);
	pc_add(&pc->plugged, e);
	return slot;
}

int pc_nic(struct vm *vm, struct pc *pc, unsigned i, struct err *err)
{
	bool listed = i < vm->config.net_count; /* else -p alone asks for it */
	struct vm_net *net = listed ? &vm->config.nets[i] : NULL;
	struct nics_card card;
	int ret = nics_open(&card, &vm->config, i, err);

	if (ret == 0)
		ret = strcmp(card.nic, "e1000")
			      ? pc_virtio_nic(vm, pc, &card, net, err)
			      : pc_e1000(vm, pc, &card, net ? net->slot : 0,
					 err);
	if (ret > 0 && net)
		net->slot = (unsigned)ret;
	return ret;
}

int pc_nics(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = nics_check(&vm->config, err);

	for (unsigned i = 0; i < nics_count(&vm->config) && ret >= 0; i++) {
		ret = pc_nic(vm, pc, i, err);
		if (ret > 0)
			bootorder_nic(&pc->boot, (unsigned)ret);
	}
	return ret < 0 ? ret : 0;
}

int pc_sata(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = sata_new(&pc->ahci, vm, pc->pci, &pc->disks, err);

	pc_add(&pc->plugged, pc->ahci);
	return ret;
}

int pc_set_cdrom(struct vm *vm, const char *file, struct err *err)
{
	struct pc *pc = vm->pc;
	struct block *medium;
	char *name;
	int ret;

	if (!vm->config.cdrom)
		return err_set(
			err, ENODEV,
			"the guest has no CD-ROM drive: start it with "
			"--cdrom FILE, or --cdrom none for an empty one");
	ret = sata_open_cdrom(&medium, file, err);
	if (ret < 0)
		return ret;
	name = strdup(file);
	ret = name ? ahci_set_medium(pc->ahci, pc->cdrom_port, medium, err)
		   : err_set(err, ENOMEM, "out of memory");
	if (ret < 0) {
		block_close(medium);
		free(name);
		return ret;
	}
	free(vm->config.cdrom);
	vm->config.cdrom = name;
	return 0;
}

/* -v HOSTDIR:TAG[:ro] */
static int pc_volume(struct vm *vm, struct pc *pc, const char *volume,
		     struct err *err)
{
	char *dir = strdup(volume), *colon;
	struct virtio_dev *vd;
	bool readonly = false;
	int ret;

	if (!dir)
		return err_set(err, ENOMEM, "out of memory");
	colon = strrchr(dir, ':');
	if (colon && !strcmp(colon, ":ro")) {
		readonly = true;
		*colon = '\0';
		colon = strrchr(dir, ':');
	}
	if (!colon || colon == dir) {
		free(dir);
		return err_set(err, EINVAL,
			       "-v %s: give HOSTDIR:TAG, or HOSTDIR:TAG:ro",
			       volume);
	}
	*colon = '\0';
	ret = virtio_9p_new(&vd, &vm->env, dir, colon + 1, readonly, err);
	free(dir);
	if (ret == 0)
		ret = pc_plug_virtio(vm, pc, vd, 0, err);
	return ret < 0 ? ret : 0;
}

int pc_volumes(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < vm->config.volume_count && ret == 0; i++)
		ret = pc_volume(vm, pc, vm->config.volumes[i], err);
	return ret;
}

int pc_vsock(struct vm *vm, struct pc *pc, struct err *err)
{
	const struct vm_vsock *c = vm->config.vsocks;
	struct virtio_dev *vd;
	int ret;

	if (!vm->config.vsock_count)
		return 0;
	ret = virtio_vsock_new(&vd, &vm->env,
			       c->cid ? c->cid : VSOCK_CID_DEFAULT, c->path,
			       err);
	if (ret < 0) {
		err_prefix(err, "--vsock");
		return ret;
	}
	if (c->packed)
		vd->offered |= VIRTIO_F_RING_PACKED;
	ret = pc_plug_usual(vm, pc, vd, PC_SLOT_VSOCK, err);
	return ret < 0 ? ret : 0;
}
