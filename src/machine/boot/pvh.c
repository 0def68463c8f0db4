/*
 * pvh.c - loading an ELF kernel with a PVH entry note.
 *
 * Source: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
 * The kernel starts in 32-bit protected mode without paging; ebx points at
 * the start info, which points at everything else.
 */
#include <elf.h>
#include <errno.h>

#include "machine/boot/boot.h"
#include "machine/boot/elf.h"
#include "machine/boot/place.h"

#define PVH_NOTE_OWNER "Xen"
#define PVH_NOTE_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MAGIC      0x336ec578
#define PVH_VERSION    1 /* the first with a memory map */

struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
} __attribute__((packed));

struct pvh_module {
	uint64_t paddr, size, cmdline_paddr, reserved;
} __attribute__((packed));

struct pvh_memmap {
	uint64_t addr, size;
	uint32_t type, reserved; /* types are those of e820 */
} __attribute__((packed));

static int pvh_memmap(const struct boot_params *p, struct err *err)
{
	struct pvh_memmap map[BOOT_E820_MAX] = { { 0 } };

	for (unsigned i = 0; i < p->e820_count; i++)
		map[i] = (struct pvh_memmap){ p->e820[i].base, p->e820[i].size,
					      p->e820[i].type, 0 };
	return place_write(p, PLACE_MEMMAP, map, sizeof(map), "memory map",
			   err);
}

static int pvh_start_info(const struct boot_params *p, uint64_t initrd,
			  struct err *err)
{
	struct pvh_module mod = { .paddr = initrd, .size = p->initrd.size };
	struct pvh_start_info info = {
		.magic = PVH_MAGIC,
		.version = PVH_VERSION,
		.nr_modules = initrd ? 1 : 0,
		.modlist_paddr = initrd ? PLACE_MODLIST : 0,
		.cmdline_paddr = PLACE_CMDLINE,
		.rsdp_paddr = p->rsdp,
		.memmap_paddr = PLACE_MEMMAP,
		.memmap_entries = p->e820_count,
	};
	int ret = pvh_memmap(p, err);

	if (ret == 0)
		ret = place_write(p, PLACE_MODLIST, &mod, sizeof(mod),
				  "module list", err);
	if (ret == 0)
		ret = place_write(p, PLACE_INFO, &info, sizeof(info),
				  "start info", err);
	return ret;
}

static int pvh_load(const struct boot_params *p, const struct elf_image *elf,
		    uint64_t entry, struct boot_entry *e, struct err *err)
{
	struct elf_span span;
	uint64_t initrd;
	int ret = elf_plan(elf, PLACE_KERNEL_MIN, p->low_end, &span, err);

	if (ret < 0)
		return ret;
	if (entry < span.lo || entry >= span.hi)
		return err_set(err, EINVAL,
			       "kernel %s: its PVH entry 0x%llx lies outside "
			       "its segments",
			       elf->name, (unsigned long long)entry);
	ret = place_initrd(p, span.hi, p->low_end, false, &initrd, err);
	if (ret == 0)
		ret = place_cmdline(p, PLACE_CMDLINE_MAX, err);
	if (ret == 0)
		ret = elf_load(elf, p->mem, err);
	if (ret == 0)
		ret = pvh_start_info(p, initrd, err);
	if (ret == 0)
		ret = place_gdt(p, e, false, err);
	e->kind = BOOT_PROT32;
	e->rip = entry;
	e->rbx = PLACE_INFO;
	e->how = elf->is64 ? "PVH, 64-bit ELF" : "PVH, 32-bit ELF";
	return ret;
}

int boot_load_pvh(const struct boot_params *p, struct boot_entry *e,
		  struct err *err)
{
	struct elf_image elf;
	uint64_t entry;
	int ret;

	if (p->e820_count > BOOT_E820_MAX)
		return -EINVAL;
	ret = elf_open(&elf, p->kernel.data, p->kernel.size, p->kernel.name,
		       err);
	if (ret < 0)
		return ret;
	if (!elf_note(&elf, PVH_NOTE_OWNER, PVH_NOTE_ENTRY, &entry))
		return -ENOEXEC;
	return pvh_load(p, &elf, entry, e, err);
}
