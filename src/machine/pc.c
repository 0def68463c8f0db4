/*
 * pc.c - the board: names every device, in the order of creation, and wires
 * them.  pc_build() is the list.
 */
#include "machine/pc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/x86/lapic.h"
#include "dev/e1000/e1000.h"
#include "dev/pc/acpi_pm.h"
#include "dev/pc/debug.h"
#include "dev/pc/fw_cfg.h"
#include "dev/pc/i8042.h"
#include "dev/pc/ioapic.h"
#include "dev/pc/irqs.h"
#include "dev/pc/pflash.h"
#include "dev/pc/pic.h"
#include "dev/pc/pit.h"
#include "dev/pc/port92.h"
#include "dev/pc/rtc.h"
#include "dev/pc/uart.h"
#include "dev/pci/host.h"
#include "dev/pci/hotplug.h"
#include "dev/pci/lpc.h"
#include "dev/vga/vga.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/blk.h"
#include "dev/virtio/console.h"
#include "dev/virtio/p9.h"
#include "dev/virtio/rng.h"
#include "dev/virtio/virtio_net.h"
#include "dev/virtio/vsock.h"
#include "machine/acpi.h"
#include "machine/bootorder.h"
#include "machine/config_list.h"
#include "machine/disks.h"
#include "machine/e820.h"
#include "machine/firmware.h"
#include "machine/fw_items.h"
#include "machine/nics.h"
#include "machine/pc_impl.h"
#include "machine/run.h"
#include "machine/sata.h"
#include "machine/vm.h"

#define PC_COM1_BASE     0x3f8
#define PC_FLUSH_WAIT_MS 1000
/* Slot 0 is the host bridge, 1 is kept for a display, 31 the ISA bridge. */
#define PC_SLOT_VGA     1
#define PC_SLOT_CONSOLE (PCI_HOTPLUG_END - 1)
#define PC_SLOT_VSOCK   (PCI_HOTPLUG_END - 2)
#define PC_DISK_QUEUES  4
#define PC_ECAM_LOWEST  0x80000000ull

/* --- What devices ask of the board ---------------------------------------- */

static void pc_on_reset(void *opaque, uint32_t value)
{
	vm_request_reset(opaque);
}

static void pc_on_power_off(void *opaque, uint32_t value)
{
	vm_end(opaque, VM_END_POWEROFF, 0);
}

static void pc_on_exit_port(void *opaque, uint32_t value)
{
	vm_end(opaque, VM_END_EXIT_PORT, (value << 1 | 1) & 0xff);
}

static void pc_pic_output(void *opaque, unsigned n, bool level)
{
	lapic_extint(opaque, level);
}

static void pc_send_msi(void *opaque, uint64_t addr, uint32_t data)
{
	lapic_deliver_msi(opaque, addr, data);
}

/* An engine that keeps the local APICs must know whose EOIs come back. */
static void pc_routes(void *opaque, const struct ioapic_route *from)
{
	struct x86_machine *xm = opaque;
	struct x86_route route[IOAPIC_PINS] = { 0 };

	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (from[i].level)
			route[i] = (struct x86_route){ from[i].addr,
						       from[i].data, 1 };
	xm->engine_ops->set_routes(xm, route, IOAPIC_PINS);
}

/* --- The devices --------------------------------------------------------- */

static int pc_interrupts(struct vm *vm, struct pc *pc, struct err *err)
{
	const struct dev_env *env = &vm->env;
	struct irq intr = { pc_pic_output, &vm->xm, 0 };
	struct msi_bus msi = { pc_send_msi, &vm->xm };
	int ret = pic_new(&pc->pic, env, intr, err);

	if (ret == 0)
		ret = ioapic_new(&pc->ioapic, env, msi, err);
	if (ret == 0)
		ret = irqs_new(&pc->irqs, env, pc->pic, pc->ioapic, err);
	if (ret < 0)
		return ret;
	vm->xm.pic = pc->pic;
	vm->xm.pic_pending = pic_pending;
	vm->xm.pic_ack = pic_ack;
	lapic_set_eoi_hook(&vm->xm, ioapic_eoi, pc->ioapic);
	if (vm->xm.engine_ops->set_routes)
		ioapic_set_route_hook(pc->ioapic, pc_routes, &vm->xm);
	return 0;
}

static int pc_rtc(struct vm *vm, struct pc *pc, struct err *err)
{
	uint64_t low = e820_low_end(vm->env.mem);
	struct rtc_config config = {
		.irq = irqs_isa(pc->irqs, 8),
		.ram_low = low,
		.ram_high = mem_ram_bytes(vm->env.mem) - low,
	};

	return rtc_new(&pc->rtc, &vm->env, &config, err);
}

static int pc_keyboard(struct vm *vm, struct pc *pc, struct err *err)
{
	struct dev_hook reset = { pc_on_reset, vm };
	struct i8042_config config = {
		.kbd_irq = irqs_isa(pc->irqs, 1),
		.aux_irq = irqs_isa(pc->irqs, 12),
		.has_aux = true, /* Linux warns of a keyboard alone */
		.reset = reset,
	};
	int ret = port92_new(&pc->port92, &vm->env, reset, err);

	config.port92 = pc->port92;
	return ret ? ret : i8042_new(&pc->i8042, &vm->env, &config, err);
}

static int pc_com1(struct vm *vm, struct pc *pc, struct err *err)
{
	bool has_console = vm->config.console != VM_CONSOLE_VIRTIO;
	struct uart_config config = {
		.base = PC_COM1_BASE,
		.irq = irqs_isa(pc->irqs, 4),
		.in_fd = has_console ? vm->console_in : -1,
		.out_fd = has_console ? vm->console_out : -1,
	};

	return uart_new(&pc->com1, &vm->env, &config, err);
}

static int pc_firmware(struct vm *vm, struct pc *pc, struct err *err)
{
	struct firmware *firmware = vm->run->guest.firmware;
	int ret = fw_cfg_new(&pc->fw_cfg, &vm->env, err);

	if (ret == 0)
		ret = fw_items_add(pc->fw_cfg, vm, err);
	if (ret == 0 && firmware)
		ret = firmware_map(firmware, &vm->env, pc->flash, err);
	return ret;
}

static int pc_pci(struct vm *vm, struct pc *pc, struct err *err)
{
	struct pci_host_config config = {
		.msi = { pc_send_msi, &vm->xm },
		.reset = { pc_on_reset, vm },
		.pam_opaque = vm->run->guest.firmware,
	};
	int ret;

	if (config.pam_opaque)
		config.pam = firmware_shadow;
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		config.pirq[i] = irqs_pirq(pc->irqs, i);
	ret = pci_host_new(&pc->pci, &vm->env, &config, err);
	return ret ? ret : lpc_new(&pc->lpc, &vm->env, pc->pci, pc->irqs, err);
}

/*
 * The debug console of a bare-metal guest is its console; a firmware's talk
 * is not for there.
 */
static int pc_debug(struct vm *vm, struct pc *pc, struct err *err)
{
	struct dev_hook exit_port = { pc_on_exit_port, vm };
	const char *log = vm->config.firmware_log;
	int fd = vm->run->guest.firmware ? -1 : vm->console_out;

	if (log) {
		fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_set(err, errno,
				       "cannot write firmware log %s: %s", log,
				       strerror(errno));
		pc->log_fd = fd;
	}
	return debug_new(&pc->debug, &vm->env, fd, exit_port, err);
}

/* A kernel that was started without firmware finds no text mode there. */
static int pc_display(struct vm *vm, struct pc *pc, struct err *err)
{
	const char *which = vm->config.vga;

	if (!which)
		which = vm->run->guest.firmware ? "std" : "none";
	if (!strcmp(which, "none"))
		return 0;
	if (strcmp(which, "std"))
		return err_set(err, EINVAL,
			       "unknown display \"%s\"; --vga takes std or "
			       "none",
			       which);
	return vga_new(&pc->vga, &vm->env, pc->pci, PC_SLOT_VGA, err);
}

/* --- What is plugged into the PCI bus ------------------------------------- */

/* Puts a device at the end of a list, which is in creation order. */
static void pc_add(struct dev **list, void *device)
{
	if (!device)
		return;
	while (*list)
		list = &(*list)->next;
	*list = DEV(device);
}

/*
 * The slot that is asked for, or (0) the lowest that is free: in the order of
 * the list in pc_build().
 */
static int pc_take_slot(struct pc *pc, uint64_t wanted, struct err *err)
{
	unsigned slot = wanted ? (unsigned)wanted : PCI_HOTPLUG_FIRST;

	if (wanted && (wanted < PCI_HOTPLUG_FIRST || wanted >= PCI_HOTPLUG_END))
		return err_set(err, EINVAL,
			       "slot %llu is not one for this: take %u to %u",
			       (unsigned long long)wanted, PCI_HOTPLUG_FIRST,
			       PCI_HOTPLUG_END - 1);
	while (!wanted && slot < PCI_HOTPLUG_END && pc->slot[slot].dev)
		slot++;
	if (slot == PCI_HOTPLUG_END)
		return err_set(err, ENOSPC,
			       "more devices than the PCI bus has slots: "
			       "at most %u",
			       PCI_HOTPLUG_END - PCI_HOTPLUG_FIRST);
	if (pc->slot[slot].dev)
		return err_set(err, EEXIST, "slot %u is taken by %s", slot,
			       pc->slot[slot].dev->name);
	return (int)slot;
}

/*
 * Takes vd over, also on failure.  The instance is the slot, so that a state
 * is found again whatever was plugged in and out.  Returns the slot.
 */
static int pc_plug_virtio(struct pc *pc, struct virtio_dev *vd, uint64_t wanted,
			  struct err *err)
{
	int slot = pc_take_slot(pc, wanted, err);
	struct virtio_pci *v;
	int ret;

	if (slot < 0) {
		vd->ops->free(vd);
		return slot;
	}
	vd->instance = (unsigned)slot;
	ret = virtio_pci_new(&v, pc->pci, (unsigned)slot, vd, err);
	if (ret < 0)
		return ret;
	pc->slot[slot].dev = DEV(v);
	pc->slot[slot].vd = vd;
	pc_add(&pc->plugged, v);
	return slot;
}

/*
 * The same for one that is on no bus; it stays.  Instances are behind those
 * of slots.  Returns 0.
 */
static int pc_place_virtio(struct vm *vm, struct pc *pc, struct virtio_dev *vd,
			   struct err *err)
{
	static_assert(ACPI_VIRTIO_GSI == 16 + 4, "PIRQ E is pin 20");
	unsigned n = pc->mmio_count;
	struct virtio_mmio *v;
	int ret;

	if (n == ACPI_VIRTIO_MAX) {
		vd->ops->free(vd);
		return err_set(err, ENOSPC,
			       "at most %u disks can have bus=mmio",
			       ACPI_VIRTIO_MAX);
	}
	vd->instance = PCI_SLOTS + n;
	ret = virtio_mmio_new(&v, &vm->env,
			      ACPI_VIRTIO_BASE + n * ACPI_VIRTIO_STEP,
			      irqs_pirq(pc->irqs, 4 + n), vd, err);
	if (ret < 0)
		return ret;
	pc->mmio_count++;
	pc_add(&pc->plugged, v);
	return 0;
}

static int pc_rng(struct vm *vm, struct pc *pc, struct err *err)
{
	struct virtio_dev *vd;
	int ret = virtio_rng_new(&vd, &vm->env, err);

	if (ret == 0)
		ret = pc_plug_virtio(pc, vd, 0, err);
	return ret < 0 ? ret : 0;
}

static int pc_new_balloon(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = virtio_balloon_new(&pc->balloon, &vm->env, err);

	if (ret == 0)
		ret = pc_plug_virtio(pc, pc->balloon, 0, err);
	return ret < 0 ? ret : 0;
}

/* What a terminal has if nobody says otherwise. */
static int pc_console(struct vm *vm, struct pc *pc, struct err *err)
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
		ret = pc_plug_virtio(pc, vd, PC_SLOT_CONSOLE, err);
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
		      : pc_plug_virtio(pc, vd, disk->slot, err);
	if (ret < 0) {
		disks_remove(&pc->disks, vd);
		return ret;
	}
	disk->slot = (unsigned)ret;
	return ret;
}

static int pc_disks(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = disks_init(&pc->disks, vm, err);

	for (unsigned i = 0; i < vm->config.disk_count && ret >= 0; i++) {
		ret = 0;
		if (!disks_on_bus(&vm->config.disks[i], "ahci"))
			ret = pc_disk(vm, pc, &vm->config.disks[i], err);
		if (ret > 0)
			bootorder_virtio_disk(&pc->boot, (unsigned)ret);
	}
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
	return pc_plug_virtio(pc, vd, net ? net->slot : 0, err);
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
			      : pc_e1000(vm, pc, &card,
					 net ? net->slot : 0, err);
	if (ret > 0 && net)
		net->slot = (unsigned)ret;
	return ret;
}

static int pc_nics(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = nics_check(&vm->config, err);

	for (unsigned i = 0; i < nics_count(&vm->config) && ret >= 0; i++) {
		ret = pc_nic(vm, pc, i, err);
		if (ret > 0)
			bootorder_nic(&pc->boot, (unsigned)ret);
	}
	return ret < 0 ? ret : 0;
}

/* Ports go in the order that sata.h has. */
static void pc_sata_order(const struct vm_config *c, struct bootorder *boot)
{
	unsigned port = 0;

	for (unsigned i = 0; i < c->disk_count; i++)
		if (disks_on_bus(&c->disks[i], "ahci"))
			bootorder_ahci(boot, BOOTORDER_DISK, AHCI_SLOT,
				       AHCI_FUNC, port++);
	if (c->cdrom)
		bootorder_ahci(boot, BOOTORDER_CDROM, AHCI_SLOT, AHCI_FUNC,
			       port);
}

static int pc_sata(struct vm *vm, struct pc *pc, struct err *err)
{
	struct ahci *ahci = NULL;
	int ret = sata_new(&ahci, vm, pc->pci, &pc->disks, &pc->boot, err);

	pc_add(&pc->plugged, ahci);
	pc_sata_order(&vm->config, &pc->boot);
	return ret;
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
		ret = pc_plug_virtio(pc, vd, 0, err);
	return ret < 0 ? ret : 0;
}

static int pc_volumes(struct vm *vm, struct pc *pc, struct err *err)
{
	int ret = 0;

	for (unsigned i = 0; i < vm->config.volume_count && ret == 0; i++)
		ret = pc_volume(vm, pc, vm->config.volumes[i], err);
	return ret;
}

static int pc_vsock(struct vm *vm, struct pc *pc, struct err *err)
{
	const struct vm_vsock *c = vm->config.vsocks;
	struct virtio_dev *vd;
	int ret;

	if (!vm->config.vsock_count)
		return 0;
	ret = virtio_vsock_new(&vd, &vm->env, c->cid ? c->cid : VSOCK_CID_DEFAULT,
			       c->path, err);
	if (ret < 0) {
		err_prefix(err, "--vsock");
		return ret;
	}
	if (c->packed)
		vd->offered |= VIRTIO_F_RING_PACKED;
	ret = pc_plug_virtio(pc, vd, PC_SLOT_VSOCK, err);
	return ret < 0 ? ret : 0;
}

/* --- The list ------------------------------------------------------------- */

/* Every device of the machine. */
static int pc_build(struct vm *vm, struct pc *pc, struct err *err)
{
	const struct dev_env *env = &vm->env;
	struct dev_hook power_off = { pc_on_power_off, vm };
	int ret = pc_interrupts(vm, pc, err);

	if (ret == 0)
		ret = pit_new(&pc->pit, env, irqs_isa(pc->irqs, 0), err);
	if (ret == 0)
		ret = pc_rtc(vm, pc, err);
	if (ret == 0)
		ret = pc_keyboard(vm, pc, err);
	if (ret == 0)
		ret = pc_com1(vm, pc, err);
	if (ret == 0)
		ret = pc_debug(vm, pc, err);
	if (ret == 0)
		ret = acpi_pm_new(&pc->pm, env,
				  irqs_isa(pc->irqs, ACPI_PM_SCI_IRQ),
				  power_off, err);
	if (ret == 0)
		ret = pc_firmware(vm, pc, err);
	if (ret == 0)
		ret = pc_pci(vm, pc, err);
	if (ret == 0)
		ret = pc_display(vm, pc, err);
	if (ret == 0)
		ret = pc_hotplug(vm, pc, err);
	/* What every guest has comes first: its slots never change. */
	if (ret == 0)
		ret = pc_rng(vm, pc, err);
	if (ret == 0)
		ret = pc_new_balloon(vm, pc, err);
	if (ret == 0)
		ret = pc_console(vm, pc, err);
	if (ret == 0)
		ret = pc_disks(vm, pc, err);
	if (ret == 0)
		ret = pc_nics(vm, pc, err);
	if (ret == 0)
		ret = pc_sata(vm, pc, err);
	if (ret == 0)
		ret = pc_volumes(vm, pc, err);
	if (ret == 0)
		ret = pc_vsock(vm, pc, err);
	if (ret == 0)
		ret = bootorder_finish(&pc->boot, vm->config.boot, pc->fw_cfg,
				       err);
	return ret;
}

static void pc_list(struct vm *vm, struct pc *pc)
{
	void *devices[] = { pc->pic,      pc->ioapic, pc->irqs,   pc->pit,
			    pc->rtc,      pc->port92, pc->i8042,  pc->com1,
			    pc->debug,    pc->pm,     pc->fw_cfg, pc->flash[0],
			    pc->flash[1], pc->pci,    pc->lpc,    pc->vga,
			    pc->hotplug };

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		pc_add(&vm->devs, devices[i]);
	pc_add(&vm->devs, pc->plugged);
}

/* --- Life -------------------------------------------------------------------
 */

int pc_new(struct vm *vm, struct err *err)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	int ret;

	if (!pc)
		return err_set(err, ENOMEM, "out of memory");
	pc->log_fd = -1;
	pc->disks.timer_fd = -1;
	pthread_mutex_init(&pc->plugging, NULL);
	vm->pc = pc;
	ret = pc_build(vm, pc, err);
	pc_list(vm, pc);
	if (ret < 0)
		pc_free(vm);
	return ret;
}

/* In the reverse order of creation. */
static void pc_free_from(struct dev *dev)
{
	if (!dev)
		return;
	pc_free_from(dev->next);
	dev->free(dev);
}

void pc_free(struct vm *vm)
{
	if (vm->pc && vm->pc->ejected.loop)
		timer_disarm(&vm->pc->ejected);
	pc_free_from(vm->devs);
	vm->devs = NULL;
	if (vm->pc)
		disks_exit(&vm->pc->disks);
	if (vm->pc && vm->pc->log_fd >= 0)
		close(vm->pc->log_fd);
	free(vm->pc);
	vm->pc = NULL;
}

void pc_reset(struct vm *vm)
{
	pc_lock_devices(vm);
	for (struct dev *dev = vm->devs; dev; dev = dev->next)
		if (dev->reset)
			dev->reset(dev);
	pc_unlock_devices(vm);
}

void pc_walk(struct vm *vm, struct walk *w)
{
	for (struct dev *dev = vm->devs; dev; dev = dev->next)
		if (dev->walk)
			dev->walk(dev, w);
}

struct vga *pc_vga(struct vm *vm)
{
	return vm->pc->vga;
}

void pc_describe(struct vm *vm, struct acpi_config *c)
{
	struct mem_range ecam = pci_host_ecam(vm->pc->pci);

	/* ECAM that is off, or in the way of the board: as after reset. */
	if (ecam.size == PCI_ECAM_SIZE && ecam.base >= PC_ECAM_LOWEST &&
	    ecam.base + ecam.size <= PCI_MMIO2_END)
		c->ecam = ecam.base;
	c->vga = vm->pc->vga;
	c->virtio_mmio = pc_virtio_mmio(vm);
	if (vm->xm.phys_bits) { /* the upper half of what a guest can reach */
		c->mem64_end = 1ull << vm->xm.phys_bits;
		c->mem64_base = c->mem64_end / 2;
	}
	pci_host_mem64(vm->pc->pci, &c->mem64_base, &c->mem64_end);
}

unsigned pc_virtio_mmio(const struct vm *vm)
{
	return vm->pc->mmio_count;
}

bool pc_resume_disks(struct vm *vm)
{
	return disks_resume(&vm->pc->disks);
}

const char *pc_full_disk(struct vm *vm)
{
	return disks_full(&vm->pc->disks);
}

json_t *pc_disk_stats(struct vm *vm)
{
	return disks_stats(&vm->pc->disks);
}

void pc_hold_disks(struct vm *vm)
{
	pc_lock_devices(vm);
	disks_hold(&vm->pc->disks);
}

void pc_release_disks(struct vm *vm)
{
	disks_release(&vm->pc->disks);
	pc_unlock_devices(vm);
}

struct virtio_dev *pc_balloon(struct vm *vm)
{
	return vm->pc->balloon;
}

void pc_power_button(struct vm *vm)
{
	acpi_pm_power_button(vm->pc->pm);
}

bool pc_keys(struct vm *vm, const uint8_t *bytes, size_t n)
{
	return i8042_scancodes(vm->pc->i8042, bytes, n);
}

void pc_resize_console(struct vm *vm, uint16_t columns, uint16_t rows)
{
	if (vm->pc->console)
		virtio_console_resize(vm->pc->console, columns, rows);
}

void pc_flush_console(struct vm *vm)
{
	uart_flush(vm->pc->com1, PC_FLUSH_WAIT_MS);
	if (vm->pc->console)
		virtio_console_flush(vm->pc->console, PC_FLUSH_WAIT_MS);
}
