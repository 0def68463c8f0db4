/*
 * multiboot.c - loading a Multiboot kernel.
 *
 * Source: Multiboot Specification 0.6.96.  ELF (32-bit, and 64-bit as GRUB
 * takes it) or any format that the header's address fields describe (the
 * "a.out kludge").  The initrd becomes the one module.  The kernel starts in
 * 32-bit protected mode: eax holds the magic, ebx points at the information.
 *
 * Deliberately missing: video modes (flag 2 is a wish), drives, APM, symbols.
 */
#include <errno.h>
#include <string.h>

#include "machine/boot/boot.h"
#include "machine/boot/elf.h"
#include "machine/boot/place.h"

#define MB_SEARCH      8192 /* the header lies in the first 8 KiB */
#define MB_MAGIC       0x1badb002u
#define MB_LOADER      0x2badb002u
#define MB_HDR_REQUIRE 0xffffu /* requirements, of which these are met: */
#define MB_HDR_KNOWN   0x0007u
#define MB_HDR_ADDRESS 0x10000u

#define MB_INFO_MEMORY  0x001u
#define MB_INFO_CMDLINE 0x004u
#define MB_INFO_MODS    0x008u
#define MB_INFO_MMAP    0x040u
#define MB_INFO_LOADER  0x200u

struct mb_header {
	uint32_t magic, flags, checksum;
	/* with MB_HDR_ADDRESS */
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry;
};

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
	uint32_t mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
	uint32_t drives_length, drives_addr, config_table, loader_name;
	uint32_t apm_table;
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size; /* of the rest */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

/* What the kernel takes up, and where it starts. */
struct mb_kernel {
	struct mb_header h;
	uint64_t offset; /* of the header in the file */
	uint64_t end, entry;
};

/* False: no header in the first 8 KiB. */
static bool mb_find(const struct boot_blob *k, struct mb_kernel *mb)
{
	uint64_t limit = k->size < MB_SEARCH ? k->size : MB_SEARCH;

	for (uint64_t off = 0; off + 12 <= limit; off += 4) {
		struct mb_header *h = &mb->h;

		*h = (struct mb_header){ 0 };
		memcpy(h, k->data + off, 12);
		if (h->magic != MB_MAGIC || h->magic + h->flags + h->checksum)
			continue;
		mb->offset = off;
		if (off + sizeof(*h) <= k->size)
			memcpy(h, k->data + off, sizeof(*h));
		return true;
	}
	return false;
}

/* 3.1.3: the file's bytes from load_addr to load_end_addr, then zeros. */
static int mb_load_flat(const struct boot_params *p, struct mb_kernel *mb,
			struct err *err)
{
	const struct boot_blob *k = &p->kernel;
	const struct mb_header *h = &mb->h;
	uint64_t before = (uint64_t)h->header_addr - h->load_addr, off, len;
	uint64_t end = h->load_end_addr, bss = h->bss_end_addr;

	if (h->load_addr > h->header_addr || before > mb->offset ||
	    mb->offset + sizeof(*h) > k->size)
		return err_set(err, EINVAL,
			       "kernel %s: its Multiboot header contradicts "
			       "itself",
			       k->name);
	off = mb->offset - before;
	if (end == 0)
		end = h->load_addr + (k->size - off);
	len = end - h->load_addr;
	if (end < h->load_addr || len > k->size - off)
		return err_set(err, EINVAL,
			       "kernel %s is truncated: its Multiboot header "
			       "promises more bytes than the file has",
			       k->name);
	if (bss < end)
		bss = end;
	if (h->load_addr < PLACE_KERNEL_MIN || bss > p->low_end)
		return err_set(err, ENOMEM,
			       "kernel %s does not fit into the guest's "
			       "memory: it wants 0x%x to 0x%llx",
			       k->name, h->load_addr, (unsigned long long)bss);
	mb->end = bss;
	mb->entry = h->entry;
	if (mem_write(p->mem, h->load_addr, k->data + off, len) ||
	    mem_zero(p->mem, end, bss - end))
		return err_set(err, EFAULT, "kernel %s: not guest memory",
			       k->name);
	return 0;
}

static int mb_load_elf(const struct boot_params *p, struct mb_kernel *mb,
		       struct err *err)
{
	struct elf_image elf;
	struct elf_span span;
	int ret = elf_open(&elf, p->kernel.data, p->kernel.size, p->kernel.name,
			   err);

	if (ret < 0)
		return ret == -ENOEXEC ? -EINVAL : ret;
	ret = elf_plan(&elf, PLACE_KERNEL_MIN, p->low_end, &span, err);
	if (ret < 0)
		return ret;
	mb->end = span.hi;
	mb->entry = elf_entry_physical(&elf);
	if (mb->entry < span.lo || mb->entry >= span.hi)
		return err_set(err, EINVAL,
			       "kernel %s: its entry 0x%llx lies outside its "
			       "segments",
			       elf.name, (unsigned long long)mb->entry);
	return elf_load(&elf, p->mem, err);
}

/* --- The information ---------------------------------------------------- */

#define MB_LOADER_NAME (PLACE_INFO + 0x100)
#define MB_MODULE_NAME (PLACE_INFO + 0x200)

static int mb_mmap(const struct boot_params *p, struct mb_info *info,
		   struct err *err)
{
	struct mb_mmap map[BOOT_E820_MAX];

	for (unsigned i = 0; i < p->e820_count; i++)
		map[i] = (struct mb_mmap){ sizeof(map[i]) - 4, p->e820[i].base,
					   p->e820[i].size, p->e820[i].type };
	info->flags |= MB_INFO_MMAP;
	info->mmap_addr = PLACE_MEMMAP;
	info->mmap_length = p->e820_count * sizeof(map[0]);
	return place_write(p, PLACE_MEMMAP, map, info->mmap_length,
			   "memory map", err);
}

/* The module's string is the file's name without its directory. */
static int mb_module(const struct boot_params *p, uint64_t at,
		     struct mb_info *info, struct err *err)
{
	const char *path = p->initrd.name ? p->initrd.name : "";
	const char *slash = strrchr(path, '/');
	char name[256] = { 0 };
	struct mb_module mod = { .start = at,
				 .end = at + p->initrd.size,
				 .string = MB_MODULE_NAME };
	int ret;

	strncpy(name, slash ? slash + 1 : path, sizeof(name) - 1);
	info->flags |= MB_INFO_MODS;
	info->mods_count = at ? 1 : 0;
	info->mods_addr = PLACE_MODLIST;
	ret = place_write(p, PLACE_MODLIST, &mod, sizeof(mod), "module list",
			  err);
	return ret ? ret
		   : place_write(p, MB_MODULE_NAME, name, sizeof(name),
				 "module list", err);
}

static int mb_info(const struct boot_params *p, uint64_t initrd,
		   struct err *err)
{
	static const char loader[] = "Hostel " HOSTEL_VERSION;
	struct mb_info info = {
		.flags = MB_INFO_MEMORY | MB_INFO_CMDLINE | MB_INFO_LOADER,
		.mem_lower = 639,
		.mem_upper = (p->low_end - PLACE_KERNEL_MIN) >> 10,
		.cmdline = PLACE_CMDLINE,
		.loader_name = MB_LOADER_NAME,
	};
	int ret = mb_mmap(p, &info, err);

	if (ret == 0)
		ret = mb_module(p, initrd, &info, err);
	if (ret == 0)
		ret = place_write(p, MB_LOADER_NAME, loader, sizeof(loader),
				  "boot loader name", err);
	if (ret == 0)
		ret = place_write(p, PLACE_INFO, &info, sizeof(info),
				  "Multiboot information", err);
	return ret;
}

static int mb_check(const struct boot_params *p, const struct mb_kernel *mb,
		    struct err *err)
{
	uint32_t unmet = mb->h.flags & MB_HDR_REQUIRE & ~MB_HDR_KNOWN;

	if (unmet)
		return err_set(err, EINVAL,
			       "kernel %s: its Multiboot header requires "
			       "features that Hostel does not have (flags "
			       "0x%x)",
			       p->kernel.name, unmet);
	return 0;
}

int boot_load_multiboot(const struct boot_params *p, struct boot_entry *e,
			struct err *err)
{
	struct mb_kernel mb = { 0 };
	uint64_t initrd;
	int ret;

	if (p->e820_count > BOOT_E820_MAX)
		return -EINVAL;
	if (!mb_find(&p->kernel, &mb))
		return -ENOEXEC;
	ret = mb_check(p, &mb, err);
	if (ret == 0)
		ret = mb.h.flags & MB_HDR_ADDRESS ? mb_load_flat(p, &mb, err)
						  : mb_load_elf(p, &mb, err);
	/* Low: such kernels often map only what lies just behind them. */
	if (ret == 0)
		ret = place_initrd(p, mb.end, p->low_end, true, &initrd, err);
	if (ret == 0)
		ret = place_cmdline(p, PLACE_CMDLINE_MAX, err);
	if (ret == 0)
		ret = mb_info(p, initrd, err);
	if (ret == 0)
		ret = place_gdt(p, e, false, err);
	e->kind = BOOT_PROT32;
	e->rip = mb.entry;
	e->rax = MB_LOADER;
	e->rbx = PLACE_INFO;
	e->how = mb.h.flags & MB_HDR_ADDRESS ? "Multiboot, flat"
					     : "Multiboot, ELF";
	return ret;
}
