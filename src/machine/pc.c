/*
 * pc.c - the board: names every device, in the order of creation, and wires
 * them.  pc_build() is the list; pc_plug.c has those that are plugged in.
 */
#include "machine/pc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/x86/lapic.h"
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
#include "dev/virtio/console.h"
#include "machine/acpi.h"
#include "machine/bootorder.h"
#include "machine/disks.h"
#include "machine/e820.h"
#include "machine/firmware.h"
#include "machine/fw_items.h"
#include "machine/pc_impl.h"
#include "machine/run.h"
#include "machine/vgafont.h"
#include "machine/vm.h"

#define PC_COM1_BASE     0x3f8
#define PC_FLUSH_WAIT_MS 1000
/* Slot 0 is the host bridge, 1 is kept for a display, 31 the ISA bridge. */
#define PC_SLOT_VGA    1
#define PC_ECAM_LOWEST 0x80000000ull

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

/* Only for who asks: a kernel without firmware seldom looks for one. */
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
	if (!vm->run->guest.firmware)
		pc->font = vgafont_find();
	return vga_new(&pc->vga, &vm->env, pc->pci, PC_SLOT_VGA, err);
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
	pthread_mutex_init(&pc->wires.lock, NULL);
	vm->pc = pc;
	ret = pc_build(vm, pc, err);
	pc->built = true;
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
	if (vm->pc)
		free(vm->pc->font);
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

void pc_set_text(struct vm *vm)
{
	if (vm->pc->vga)
		vga_set_text(vm->pc->vga, vm->pc->font);
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
	return vm->pc->wires.count;
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
