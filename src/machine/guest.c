#include "machine/guest.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "cpu/x86/msr.h"
#include "machine/acpi.h"
#include "machine/e820.h"
#include "machine/vm.h"

int guest_open(struct guest *g, const struct vm *vm, struct err *err)
{
	const struct vm_config *c = &vm->config;
	int ret;

	*g = (struct guest){ 0 };
	if (!c->kernel)
		return err_set(err, EINVAL,
			       "nothing to boot: name a kernel with --kernel");
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

static int guest_tables(struct vm *vm, struct err *err)
{
	uint8_t *tables = malloc(ACPI_SIZE);
	int len;

	if (!tables)
		return err_set(err, ENOMEM, "out of memory");
	len = acpi_build(tables, vm->xm.cpu_count, err);
	if (len >= 0)
		mem_write(vm->env.mem, ACPI_BASE, tables, len);
	free(tables);
	guest_bios_data(vm->env.mem);
	return len < 0 ? len : 0;
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
	int ret = guest_tables(vm, err);

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
