#include "machine/guest.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/x86/msr.h"
#include "machine/acpi.h"
#include "machine/bios.h"
#include "machine/e820.h"
#include "machine/mptable.h"
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
	config.vga = pc_vga(vm);
	len = acpi_build(tables, &config, NULL, err);
	if (len >= 0)
		mem_write(vm->env.mem, ACPI_BASE, tables, len);
	free(tables);
	if (len <= (int)(SMBIOS_BASE - ACPI_BASE)) /* beside 1000s of vCPUs */
		guest_smbios(vm);
	bios_leave(vm, len <= (int)(MPTABLE_BASE - ACPI_BASE));
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
		.text = pc_vga(vm),
	};
	struct boot_entry entry;
	int ret;

	if (g->firmware)
		return 0; /* a processor starts in it by itself */
	if (!g->kernel.data)
		return guest_without_kernel(vm, err);
	pc_set_text(vm);
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
