#include "machine/guest.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/x86/msr.h"
#include "machine/acpi.h"
#include "machine/e820.h"
#include "machine/pc.h"
#include "machine/smbios.h"
#include "machine/vm.h"

/* What was restored needs its kernel for a reboot only. */
static bool guest_can_do_without(const struct vm_config *c)
{
	return c->restore && (!c->kernel || access(c->kernel, R_OK) ||
			      (c->initrd && access(c->initrd, R_OK)));
}

int guest_open(struct guest *g, const struct vm *vm, struct err *err)
{
	const struct vm_config *c = &vm->config;
	int ret;

	*g = (struct guest){ 0 };
	ret = firmware_open(&g->firmware, c, err);
	if (ret < 0 || g->firmware)
		return ret;
	if (guest_can_do_without(c))
		return 0;
	if (!c->kernel)
		return err_set(err, EINVAL,
			       "nothing to boot: name a kernel with --kernel, "
			       "or a disk with --disk");
	ret = boot_blob_open(&g->kernel, c->kernel, "kernel", err);
	if (ret < 0 || !c->initrd)
		return ret;
	ret = boot_blob_open(&g->initrd, c->initrd, "initrd", err);
	if (ret < 0)
		boot_blob_close(&g->kernel);
	return ret;
}

void guest_close(struct guest *g)
{
	boot_blob_close(&g->kernel);
	boot_blob_close(&g->initrd);
	firmware_free(g->firmware);
	g->firmware = NULL;
}

/* BIOS data area: what programs read there without asking a BIOS. */
static void guest_bios_data(struct mem *mem)
{
	const uint16_t com1 = 0x3f8, ebda = E820_EBDA >> 4;
	const uint16_t base_kib = E820_EBDA >> 10;

	mem_write(mem, 0x400, &com1, 2);
	mem_write(mem, 0x40e, &ebda, 2);
	mem_write(mem, 0x413, &base_kib, 2);
}

/*
 * Interrupt handlers for kernels that call a BIOS on their way (Xen's
 * trampoline): services fail with CF and "function not supported", hardware
 * interrupts are acknowledged, all else returns.
 */
#define GUEST_STUBS 0xfff00u
enum { GUEST_STUB_IRET, GUEST_STUB_SERVICE, GUEST_STUB_PIC, GUEST_STUB_PIC2 };

static const uint8_t guest_stubs[][16] = {
	[GUEST_STUB_IRET] = { 0xcf },
	/* push bp; mov bp, sp; or byte [bp+6], 1; pop bp; mov ah, 86h; iret */
	[GUEST_STUB_SERVICE] = { 0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d,
				 0xb4, 0x86, 0xcf },
	/* push ax; mov al, 20h; out 20h, al; pop ax; iret */
	[GUEST_STUB_PIC] = { 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf },
	[GUEST_STUB_PIC2] = { 0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58,
			      0xcf },
};

static void guest_bios_vectors(struct mem *mem)
{
	for (uint32_t v = 0; v < 256; v++) {
		unsigned stub = v >= 0x08 && v < 0x10   ? GUEST_STUB_PIC
				: v >= 0x10 && v < 0x1c ? GUEST_STUB_SERVICE
				: v >= 0x70 && v < 0x78 ? GUEST_STUB_PIC2
							: GUEST_STUB_IRET;
		uint32_t at = GUEST_STUBS + stub * sizeof(guest_stubs[0]);
		uint32_t far = 0xf000u << 16 | (at & 0xffff);

		mem_write(mem, v * 4, &far, 4);
	}
	mem_write(mem, GUEST_STUBS, guest_stubs, sizeof(guest_stubs));
}

static void guest_smbios(struct vm *vm)
{
	struct smbios_config c = { .name = vm->config.name,
				   .cpus = vm->xm.cpu_count,
				   .memory = vm->config.memory,
				   .base = SMBIOS_TABLES };
	uint8_t anchor[SMBIOS_ANCHOR_SIZE], tables[SMBIOS_TABLES_MAX];
	uint32_t len = smbios_build(&c, anchor, tables);

	mem_write(vm->env.mem, SMBIOS_BASE, anchor, sizeof(anchor));
	mem_write(vm->env.mem, SMBIOS_TABLES, tables, len);
}

static int guest_tables(struct vm *vm, struct err *err)
{
	uint8_t *tables = malloc(ACPI_SIZE);
	struct acpi_config config;
	int len;

	if (!tables)
		return err_set(err, ENOMEM, "out of memory");
	acpi_config_init(&config, vm->xm.cpu_count);
	config.virtio_mmio = pc_virtio_mmio(vm);
	len = acpi_build(tables, &config, NULL, err);
	if (len >= 0)
		mem_write(vm->env.mem, ACPI_BASE, tables, len);
	free(tables);
	if (len <= (int)(SMBIOS_BASE - ACPI_BASE)) /* beside 1000s of vCPUs */
		guest_smbios(vm);
	guest_bios_data(vm->env.mem);
	guest_bios_vectors(vm->env.mem);
	return len < 0 ? len : 0;
}

static int guest_without_kernel(const struct vm *vm, struct err *err)
{
	if (!vm->start_mono_ns) /* not yet running: to be restored */
		return 0;
	return err_set(err, ENOENT,
		       "the guest wants to reboot, and its kernel %s is not "
		       "there",
		       vm->config.kernel ? vm->config.kernel : "");
}

int guest_load(const struct guest *g, struct vm *vm, struct err *err)
{
	struct e820_entry map[BOOT_E820_MAX];
	struct boot_params p = {
		.mem = vm->env.mem,
		.kernel = g->kernel,
		.initrd = g->initrd,
		.append = vm->config.append ? vm->config.append : "",
		.e820 = map,
		.rsdp = ACPI_BASE,
		.low_end = e820_low_end(vm->env.mem),
	};
	struct boot_entry entry;
	int ret;

	if (g->firmware)
		return 0; /* a processor starts in it by itself */
	if (!g->kernel.data)
		return guest_without_kernel(vm, err);
	ret = guest_tables(vm, err);
	p.e820_count = e820_build(p.mem, map);
	if (ret == 0)
		ret = boot_load(&p, &entry, err);
	if (ret < 0)
		return ret;
	boot_blob_idle(&g->kernel);
	boot_blob_idle(&g->initrd);
	log_info("%s: %s", g->kernel.name, entry.how);
	for (unsigned i = 0; i < vm->xm.cpu_count; i++)
		x86_set_firmware_mtrrs(vm->xm.cpus[i]);
	boot_enter(vm->xm.cpus[0], &entry);
	return 0;
}
