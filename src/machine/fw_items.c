/*
 * fw_items.c - what firmware is told about the machine; see fw_items.h.
 *
 * Theory of operation, of the ACPI tables
 *
 * Where tables go is the firmware's choice, and what they say depends on what
 * it did to PCI before it asks.  So they are made when it selects one of
 * their files, at address 0, together with a script: allocate the files, add
 * their addresses to each pointer in them, mend the checksums.  Each command
 * of the script has 128 bytes:
 *
 *	1 allocate	file[56] align32 zone8 (1: anywhere, 2: f0000-fffff)
 *	2 add pointer	in file[56], to file[56], offset32, size8
 *	3 add checksum	file[56] offset32 start32 length32
 */
#include "machine/fw_items.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/pc/fw_cfg.h"
#include "dev/pci/host.h"
#include "machine/acpi.h"
#include "machine/e820.h"
#include "machine/firmware.h"
#include "machine/pc.h"
#include "machine/run.h"
#include "machine/smbios.h"
#include "machine/vm.h"

#define ITEMS_RSDP     "etc/acpi/rsdp"
#define ITEMS_TABLES   "etc/acpi/tables"
#define ITEMS_SCRIPT   "etc/table-loader"
#define ITEMS_ALIGN    4096
#define ITEMS_COM1     0x3f8
#define ITEMS_ROM_MAX  0x10000
#define ITEMS_COMMANDS (2 + 2 * ACPI_LINKS_MAX + 4)

enum { ITEMS_ALLOCATE = 1, ITEMS_POINTER, ITEMS_CHECKSUM };
enum { ITEMS_ANYWHERE = 1, ITEMS_FSEG };

struct items_command {
	uint32_t command;
	union {
		struct {
			char file[56];
			uint32_t align;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char in[56], to[56];
			uint32_t offset;
			uint8_t size;
		} __attribute__((packed)) pointer;
		struct {
			char file[56];
			uint32_t offset, start, length;
		} __attribute__((packed)) checksum;
		uint8_t pad[124];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct items_command) == 128, "loader's command");

/* --- ACPI: the tables, made when they are asked for ----------------------- */

#define ITEMS_RSDP_SUM  8  /* over the first 20 bytes */
#define ITEMS_RSDP_SUM2 32 /* over all */

/* Checksums are left to the script: OVMF takes them to be 0 before. */
static int items_tables(struct vm *vm, uint8_t *buf, struct acpi_links *links)
{
	struct acpi_config c;
	int len;

	acpi_config_init(&c, vm->xm.cpu_count);
	c.base = 0;
	pc_describe(vm, &c);
	*links = (struct acpi_links){ 0 };
	len = acpi_build(buf, &c, links, NULL);
	for (unsigned i = 0; len > 0 && i < links->checksum_count; i++)
		buf[links->checksum[i].at] = 0;
	buf[ITEMS_RSDP_SUM] = buf[ITEMS_RSDP_SUM2] = 0;
	return len;
}

static void items_make_tables(void *opaque, uint8_t *data, uint32_t len)
{
	struct acpi_links links;

	memset(data, 0, len);
	items_tables(opaque, data, &links);
}

/* The RSDP is a file of its own; its checksums are the script's. */
static void items_make_rsdp(void *opaque, uint8_t *data, uint32_t len)
{
	uint8_t *tables = calloc(1, ACPI_SIZE);
	struct acpi_links links;

	if (!tables)
		return;
	items_tables(opaque, tables, &links);
	memcpy(data, tables, len);
	free(tables);
}

/* --- ACPI: the script ----------------------------------------------------- */

struct items_script {
	struct items_command *next;
	unsigned left;
	struct items_command spare; /* what does not fit: never, by count */
};

static struct items_command *items_command(struct items_script *s,
					   uint32_t kind)
{
	struct items_command *c = s->left ? s->next : &s->spare;

	if (s->left) {
		s->next++;
		s->left--;
	}
	memset(c, 0, sizeof(*c));
	c->command = htole32(kind);
	return c;
}

static void items_allocate(struct items_script *s, const char *file,
			   uint32_t align, uint8_t zone)
{
	struct items_command *c = items_command(s, ITEMS_ALLOCATE);

	strcpy(c->allocate.file, file);
	c->allocate.align = htole32(align);
	c->allocate.zone = zone;
}

static void items_pointer(struct items_script *s, const char *in, uint32_t at,
			  uint8_t size)
{
	struct items_command *c = items_command(s, ITEMS_POINTER);

	strcpy(c->pointer.in, in);
	strcpy(c->pointer.to, ITEMS_TABLES);
	c->pointer.offset = htole32(at);
	c->pointer.size = size;
}

static void items_checksum(struct items_script *s, const char *file,
			   uint32_t at, uint32_t start, uint32_t len)
{
	struct items_command *c = items_command(s, ITEMS_CHECKSUM);

	strcpy(c->checksum.file, file);
	c->checksum.offset = htole32(at);
	c->checksum.start = htole32(start);
	c->checksum.length = htole32(len);
}

static void items_make_script(void *opaque, uint8_t *data, uint32_t len)
{
	struct items_script s = {
		.next = (struct items_command *)(void *)data,
		.left = len / sizeof(struct items_command),
	};
	uint8_t *tables = calloc(1, ACPI_SIZE);
	struct acpi_links links;

	memset(data, 0, len);
	if (!tables || items_tables(opaque, tables, &links) < 0)
		goto out;
	items_allocate(&s, ITEMS_RSDP, 16, ITEMS_FSEG);
	items_allocate(&s, ITEMS_TABLES, ITEMS_ALIGN, ITEMS_ANYWHERE);
	for (unsigned i = 0; i < links.pointer_count; i++)
		items_pointer(&s, ITEMS_TABLES, links.pointer[i].at,
			      links.pointer[i].size);
	for (unsigned i = 0; i < links.checksum_count; i++)
		items_checksum(&s, ITEMS_TABLES, links.checksum[i].at,
			       links.checksum[i].start, links.checksum[i].len);
	items_pointer(&s, ITEMS_RSDP, ACPI_RSDP_RSDT, 4);
	items_pointer(&s, ITEMS_RSDP, ACPI_RSDP_XSDT, 8);
	items_checksum(&s, ITEMS_RSDP, ITEMS_RSDP_SUM, 0, 20);
	items_checksum(&s, ITEMS_RSDP, ITEMS_RSDP_SUM2, 0, ACPI_RSDP_SIZE);
out:
	free(tables);
}

static int items_acpi(struct fw_cfg *f, struct vm *vm)
{
	int ret = fw_cfg_add_made(f, ITEMS_RSDP, ACPI_RSDP_SIZE,
				  items_make_rsdp, vm);

	if (ret == 0)
		ret = fw_cfg_add_made(f, ITEMS_TABLES, ACPI_SIZE,
				      items_make_tables, vm);
	if (ret == 0)
		ret = fw_cfg_add_made(f, ITEMS_SCRIPT,
				      ITEMS_COMMANDS *
					      sizeof(struct items_command),
				      items_make_script, vm);
	return ret;
}

/* --- The rest ---------------------------------------------------------------
 */

/* With firmware, RAM alone: it adds what is reserved by itself. */
static int items_e820(struct fw_cfg *f, struct vm *vm)
{
	struct e820_entry map[BOOT_E820_MAX];
	struct mem_range ram[2];
	unsigned n;

	if (!vm->run->guest.firmware) {
		n = e820_build(vm->env.mem, map);
	} else {
		n = mem_ram_ranges(vm->env.mem, ram);
		for (unsigned i = 0; i < n; i++)
			map[i] = (struct e820_entry){ ram[i].base, ram[i].size,
						      E820_RAM };
	}
	return fw_cfg_add_file(f, "etc/e820", map, n * sizeof(map[0]));
}

/* What SeaBIOS alone looks at, and what both do. */
static int items_settings(struct fw_cfg *f)
{
	/* [3], [4]: bit 7 set would say that there are S3 and S4 */
	static const uint8_t states[6] = { 0x80, 0, 0, 1, 2, 0x80 };
	static const uint8_t com1[8] = { ITEMS_COM1 & 0xff, ITEMS_COM1 >> 8 };
	static const uint8_t for_ever[4] = { 0xff, 0xff, 0xff, 0xff };
	int ret =
		fw_cfg_add_file(f, "etc/system-states", states, sizeof(states));

	if (ret == 0)
		ret = fw_cfg_add_file(f, "etc/sercon-port", com1, sizeof(com1));
	if (ret == 0)
		ret = fw_cfg_add_file(f, "etc/boot-fail-wait", for_ever,
				      sizeof(for_ever));
	return ret;
}

/*
 * SeaBIOS takes a card's ROM from a file of the card's name.  Without one
 * there is no text mode, but a system by serial port or UEFI.
 */
static int items_vga_bios(struct fw_cfg *f)
{
	static const char *const paths[] = {
		"/usr/share/seabios/vgabios-stdvga.bin",
		"/usr/share/qemu/vgabios-stdvga.bin",
	};
	struct boot_blob rom;
	int ret = -ENOENT;

	for (size_t i = 0; ret && i < sizeof(paths) / sizeof(paths[0]); i++)
		ret = boot_blob_open(&rom, paths[i], "VGA BIOS", NULL);
	if (ret || rom.size > ITEMS_ROM_MAX)
		return 0;
	ret = fw_cfg_add_file(f, "pci1234,1111.rom", rom.data,
			      (uint32_t)rom.size);
	boot_blob_close(&rom);
	return ret;
}

static int items_smbios(struct fw_cfg *f, const struct vm *vm)
{
	struct smbios_config c = { .name = vm->config.name,
				   .cpus = vm->xm.cpu_count,
				   .memory = vm->config.memory };
	uint8_t anchor[SMBIOS_ANCHOR_SIZE], tables[SMBIOS_TABLES_MAX];
	uint32_t len = smbios_build(&c, anchor, tables);
	int ret = fw_cfg_add_file(f, "etc/smbios/smbios-anchor", anchor,
				  sizeof(anchor));

	return ret ? ret
		   : fw_cfg_add_file(f, "etc/smbios/smbios-tables", tables,
				     len);
}

static int items_numbers(struct fw_cfg *f, struct vm *vm)
{
	int ret =
		fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, mem_ram_bytes(vm->env.mem));

	if (ret == 0)
		ret = fw_cfg_add_u16(f, FW_CFG_NB_CPUS, vm->xm.cpu_count);
	if (ret == 0)
		ret = fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, vm->xm.cpu_count);
	if (ret == 0)
		ret = fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 1);
	return ret;
}

int fw_items_add(struct fw_cfg *f, struct vm *vm, struct err *err)
{
	int ret = items_numbers(f, vm);
	bool firmware = vm->run->guest.firmware;

	if (ret == 0)
		ret = items_e820(f, vm);
	if (ret == 0 && firmware)
		ret = items_settings(f);
	if (ret == 0 && firmware)
		ret = items_vga_bios(f);
	if (ret == 0 && firmware)
		ret = items_smbios(f, vm);
	if (ret == 0 && firmware)
		ret = items_acpi(f, vm);
	return ret ? err_set(err, -ret, "fw_cfg cannot hold its items") : 0;
}
