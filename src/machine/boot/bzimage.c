/*
 * bzimage.c - loading a Linux bzImage.
 *
 * Source: Linux, Documentation/x86/boot.rst (arch/x86/boot.rst today), and
 * zero-page.rst.
 *
 *	+----------------+ 0
 *	| boot sector    |
 *	|  setup header  | 0x1f1: struct bz_header
 *	| real-mode code |
 *	+----------------+ (setup_sects + 1) * 512
 *	| decompressor   |	entry +0 (32 bit), +0x200 (64 bit)
 *	|  payload       | + payload_offset, payload_length bytes
 *	+----------------+
 *
 * The decompressor costs a guest thousands of millions of instructions (4.5e9
 * for xz and Debian's 6.1), which the host does better: the payload is
 * unpacked here to the ELF kernel inside, its segments are put at the physical
 * addresses it was linked for, and it is entered where the decompressor would
 * jump to, with the same registers: rsi (esi) points at the zero page, low
 * memory is mapped one to one.  At its linked address a kernel needs none of
 * the relocations that the decompressor would apply.
 *
 * Where that cannot be (unknown or damaged packing, no ELF inside, a kernel
 * that was linked for memory the guest has not), the image is loaded as a boot
 * loader would, and its own decompressor runs: by the 64-bit entry if
 * xloadflags offers it, else by the 32-bit one.
 *
 * Deliberately missing: zImages (not LOADED_HIGH, gone since the 1990s), the
 * real-mode entry, EFI handover, setup_data.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "machine/boot/boot.h"
#include "machine/boot/elf.h"
#include "machine/boot/place.h"

#define BZ_HEADER_OFFSET 0x1f1
#define BZ_MAGIC_OFFSET  0x202
#define BZ_MAGIC         "HdrS"

/* The setup header from 0x1f1 on; boot.rst, "Details of Header Fields". */
struct bz_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize;
	uint16_t ram_size, vid_mode, root_dev, boot_flag;
	uint8_t jump[2]; /* jump[1]: the header ends at 0x202 + this */
	char magic[4];
	uint16_t version;
	uint32_t realmode_switch;
	uint16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	uint32_t cmd_line_ptr;
	uint32_t initrd_addr_max;  /* 2.03 */
	uint32_t kernel_alignment; /* 2.05 */
	uint8_t relocatable_kernel;
	uint8_t min_alignment;     /* 2.10 */
	uint16_t xloadflags;       /* 2.12 */
	uint32_t cmdline_size;     /* 2.06 */
	uint32_t hardware_subarch; /* 2.07 */
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_length; /* 2.08 */
	uint64_t setup_data;                     /* 2.09 */
	uint64_t pref_address;                   /* 2.10 */
	uint32_t init_size;
	uint32_t handover_offset;    /* 2.11 */
	uint32_t kernel_info_offset; /* 2.15 */
} __attribute__((packed));

_Static_assert(offsetof(struct bz_header, magic) ==
		       BZ_MAGIC_OFFSET - BZ_HEADER_OFFSET,
	       "setup header layout");
_Static_assert(offsetof(struct bz_header, init_size) ==
		       0x260 - BZ_HEADER_OFFSET,
	       "setup header layout");

#define BZ_LOADED_HIGH    0x01 /* loadflags */
#define BZ_XLF_KERNEL_64  0x01 /* xloadflags */
#define BZ_LOADER_UNKNOWN 0xff
#define BZ_VID_NORMAL     0xffff
#define BZ_ENTRY64        0x200
#define BZ_SECTOR         512

/* Offsets in the zero page (zero-page.rst). */
/* screen_info, for vgacon: a VGA (1) with 80 x 25 characters of 16 lines. */
#define BZ_ZP_VIDEO_MODE   0x006
#define BZ_ZP_VIDEO_COLS   0x007
#define BZ_ZP_VIDEO_EGA_BX 0x00a
#define BZ_ZP_VIDEO_LINES  0x00e
#define BZ_ZP_VIDEO_IS_VGA 0x00f
#define BZ_ZP_VIDEO_POINTS 0x010
#define BZ_ZP_RSDP         0x070
#define BZ_ZP_E820_ENTRIES 0x1e8
#define BZ_ZP_E820_TABLE   0x2d0

struct bz_image {
	const struct boot_params *p;
	struct bz_header h; /* fields newer than h.version are 0 */
	unsigned header_len;
	const uint8_t *body; /* behind the setup sectors */
	uint64_t body_len;
};

/* Defaults for fields that the image's protocol version does not have. */
static void bz_defaults(struct bz_header *h)
{
	if (h->version < 0x203)
		h->initrd_addr_max = 0x37ffffff;
	if (h->version < 0x205)
		h->relocatable_kernel = 0;
	if (h->version < 0x206)
		h->cmdline_size = 255;
	if (h->version < 0x208)
		h->payload_length = 0;
	if (h->version < 0x20a) {
		h->pref_address = PLACE_KERNEL_MIN;
		h->init_size = 0;
	}
	if (h->version < 0x20c)
		h->xloadflags = 0;
}

static int bz_parse(struct bz_image *bz, const struct boot_params *p,
		    struct err *err)
{
	const struct boot_blob *k = &p->kernel;
	struct bz_header *h = &bz->h;
	uint64_t setup;
	unsigned end;

	*bz = (struct bz_image){ .p = p };
	if (k->size < BZ_MAGIC_OFFSET + 4 ||
	    memcmp(k->data + BZ_MAGIC_OFFSET, BZ_MAGIC, 4))
		return -ENOEXEC;
	end = BZ_MAGIC_OFFSET + k->data[BZ_MAGIC_OFFSET - 1];
	bz->header_len = end - BZ_HEADER_OFFSET;
	if (bz->header_len > sizeof(*h))
		bz->header_len = sizeof(*h);
	setup = (k->data[BZ_HEADER_OFFSET] ? k->data[BZ_HEADER_OFFSET] : 4) + 1;
	setup *= BZ_SECTOR;
	if (setup >= k->size || end > k->size)
		return err_set(err, EINVAL,
			       "kernel %s is truncated: it ends in its setup "
			       "code",
			       k->name);
	memcpy(h, k->data + BZ_HEADER_OFFSET, bz->header_len);
	bz_defaults(h);
	bz->body = k->data + setup;
	bz->body_len = k->size - setup;
	if (!(h->loadflags & BZ_LOADED_HIGH))
		return err_set(err, EINVAL,
			       "kernel %s is a zImage or older; a bzImage is "
			       "needed",
			       k->name);
	/* syssize counts the body in 16-byte paragraphs, rounded up. */
	if (h->version >= 0x204 &&
	    (uint64_t)h->syssize * 16 > ((bz->body_len + 15) & ~15ull))
		return err_set(err, EINVAL,
			       "kernel %s is truncated: its header promises "
			       "%llu bytes, the file has %llu",
			       k->name,
			       (unsigned long long)setup +
				       (uint64_t)h->syssize * 16,
			       (unsigned long long)k->size);
	return 0;
}

/* --- The kernel's surroundings ------------------------------------------- */

static void bz_text_screen(uint8_t *zp)
{
	zp[BZ_ZP_VIDEO_MODE] = 3;
	zp[BZ_ZP_VIDEO_COLS] = 80;
	zp[BZ_ZP_VIDEO_EGA_BX] = 3;
	zp[BZ_ZP_VIDEO_LINES] = 25;
	zp[BZ_ZP_VIDEO_IS_VGA] = 1;
	zp[BZ_ZP_VIDEO_POINTS] = 16;
}

static int bz_zero_page(struct bz_image *bz, uint64_t initrd, struct err *err)
{
	const struct boot_params *p = bz->p;
	struct bz_header *h = &bz->h;
	uint8_t zp[MEM_PAGE_SIZE] = { 0 };
	unsigned count = p->e820_count;

	if (count > BOOT_E820_MAX)
		count = BOOT_E820_MAX;
	h->vid_mode = BZ_VID_NORMAL;
	h->type_of_loader = BZ_LOADER_UNKNOWN;
	h->ramdisk_image = initrd;
	h->ramdisk_size = p->initrd.size;
	h->cmd_line_ptr = PLACE_CMDLINE;
	h->setup_data = 0;
	memcpy(zp + BZ_HEADER_OFFSET, h, bz->header_len);
	memcpy(zp + BZ_ZP_RSDP, &p->rsdp, sizeof(p->rsdp));
	memcpy(zp + BZ_ZP_E820_TABLE, p->e820, count * sizeof(*p->e820));
	zp[BZ_ZP_E820_ENTRIES] = count;
	if (p->text)
		bz_text_screen(zp);
	return place_write(p, PLACE_ZERO_PAGE, zp, sizeof(zp), "zero page",
			   err);
}

/* Everything but the kernel itself, which takes up [.., kernel_end). */
static int bz_surround(struct bz_image *bz, uint64_t kernel_end,
		       struct boot_entry *e, struct err *err)
{
	const struct boot_params *p = bz->p;
	bool long64 = e->kind == BOOT_LONG64;
	uint64_t initrd;
	int ret;

	ret = place_initrd(p, kernel_end, bz->h.initrd_addr_max + 1ull, false,
			   &initrd, err);
	if (ret == 0)
		ret = place_cmdline(p, bz->h.cmdline_size, err);
	if (ret == 0)
		ret = bz_zero_page(bz, initrd, err);
	if (ret == 0)
		ret = place_gdt(p, e, long64, err);
	if (ret == 0 && long64)
		ret = place_page_tables(p, e, err);
	e->rsi = PLACE_ZERO_PAGE;
	e->rsp = PLACE_STACK;
	return ret;
}

/* --- Direct entry ----------------------------------------------------------
 */

/* "bzImage, <format> payload unpacked, ..." as a static string. */
static const char *bz_how(const char *format)
{
	static const struct {
		const char *format, *how;
	} names[] = {
		{ "gzip", "bzImage, gzip payload unpacked on the host" },
		{ "xz", "bzImage, xz payload unpacked on the host" },
		{ "zstd", "bzImage, zstd payload unpacked on the host" },
		{ "lz4", "bzImage, lz4 payload unpacked on the host" },
		{ "bzip2", "bzImage, bzip2 payload unpacked on the host" },
		{ "lzma", "bzImage, lzma payload unpacked on the host" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(format, names[i].format))
			return names[i].how;
	}
	return "bzImage";
}

/*
 * Enters the ELF kernel; -ENOEXEC: it cannot be entered directly, the
 * decompressor may know better.
 */
static int bz_enter_elf(struct bz_image *bz, const uint8_t *data, uint64_t size,
			struct boot_entry *e, struct err *err)
{
	const struct boot_params *p = bz->p;
	struct elf_image elf;
	struct elf_span span;
	int ret;

	if (elf_open(&elf, data, size, p->kernel.name, NULL) < 0)
		return -ENOEXEC;
	ret = elf_plan(&elf, PLACE_KERNEL_MIN, p->low_end, &span, err);
	if (ret < 0)
		return bz->h.relocatable_kernel ? -ENOEXEC : ret;
	e->kind = elf.is64 ? BOOT_LONG64 : BOOT_PROT32;
	e->rip = elf_entry_physical(&elf);
	if (e->rip - span.lo >= span.hi - span.lo)
		return -ENOEXEC;
	elf.consume = true;
	ret = elf_load(&elf, p->mem, err);
	return ret < 0 ? ret : bz_surround(bz, span.hi, e, err);
}

/* An unpacked kernel never needs more than the guest has. */
static int bz_direct(struct bz_image *bz, struct boot_entry *e, struct err *err)
{
	struct bz_header *h = &bz->h;
	const char *format;
	uint8_t *elf;
	uint64_t len;
	int ret;

	if (h->payload_length == 0 || h->payload_offset > bz->body_len ||
	    h->payload_length > bz->body_len - h->payload_offset)
		return -ENOEXEC;
	if (boot_unpack(bz->body + h->payload_offset, h->payload_length,
			mem_ram_bytes(bz->p->mem), &elf, &len, &format,
			NULL) < 0)
		return -ENOEXEC;
	e->how = bz_how(format);
	ret = bz_enter_elf(bz, elf, len, e, err);
	free(elf);
	return ret;
}

/* --- By the image's own decompressor ----------------------------------------
 */

/* boot.rst, "kernel_alignment": where a relocatable kernel may lie. */
static uint64_t bz_load_address(const struct bz_image *bz)
{
	const struct bz_header *h = &bz->h;
	uint64_t align = h->kernel_alignment, addr = h->pref_address;
	uint64_t need =
		h->init_size > bz->body_len ? h->init_size : bz->body_len;

	if (!h->relocatable_kernel)
		return h->code32_start ? h->code32_start : PLACE_KERNEL_MIN;
	if (align == 0 || align & (align - 1) || align > 1u << 30)
		align = 1u << 21;
	/* Not where it would like to be: as low as its alignment allows. */
	if (addr < PLACE_KERNEL_MIN || addr > bz->p->low_end ||
	    need > bz->p->low_end - addr)
		addr = PLACE_KERNEL_MIN;
	return (addr + align - 1) & ~(align - 1);
}

static int bz_decompressor(struct bz_image *bz, struct boot_entry *e,
			   struct err *err)
{
	const struct boot_params *p = bz->p;
	uint64_t need = bz->body_len, at = bz_load_address(bz);
	int ret;

	if (bz->h.init_size > need)
		need = bz->h.init_size;
	if (at < PLACE_KERNEL_MIN || at > p->low_end || need > p->low_end - at)
		return err_set(err, ENOMEM,
			       "kernel %s does not fit into the guest's "
			       "memory: it wants %llu MiB at 0x%llx; raise "
			       "--memory",
			       p->kernel.name, (unsigned long long)need >> 20,
			       (unsigned long long)at);
	ret = place_write(p, at, bz->body, bz->body_len, "kernel", err);
	if (ret < 0)
		return ret;
	if (bz->h.xloadflags & BZ_XLF_KERNEL_64) {
		e->kind = BOOT_LONG64;
		e->rip = at + BZ_ENTRY64;
		e->how = "bzImage, its own decompressor, 64-bit entry";
	} else {
		e->kind = BOOT_PROT32;
		e->rip = at;
		e->how = "bzImage, its own decompressor, 32-bit entry";
	}
	bz->h.code32_start = at;
	return bz_surround(bz, at + need, e, err);
}

int boot_load_bzimage(const struct boot_params *p, struct boot_entry *e,
		      struct err *err)
{
	struct bz_image bz;
	int ret = bz_parse(&bz, p, err);

	if (ret < 0)
		return ret;
	ret = bz_direct(&bz, e, err);
	return ret == -ENOEXEC ? bz_decompressor(&bz, e, err) : ret;
}
