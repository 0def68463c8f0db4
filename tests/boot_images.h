/*
 * boot_images.h - kernels made up for tests: as small as a loader lets them
 * be, with bytes that can be recognised in guest memory.
 */
#ifndef HOSTEL_TESTS_BOOT_IMAGES_H
#define HOSTEL_TESTS_BOOT_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
	uint8_t *data; /* malloc'd; image_free() */
	size_t size;
};

void image_free(struct image *img);

/* An ELF kernel of one segment: `size` bytes of 0x5a, then as many zeros. */
struct elf_recipe {
	bool is64;
	uint64_t paddr, vaddr, entry;
	uint32_t size;
	bool pvh; /* a Xen note 18: entry */
	uint32_t pvh_entry;
	bool multiboot; /* a header at the start of the segment */
	uint32_t multiboot_flags;
};
struct image image_elf(const struct elf_recipe *r);

/* A flat Multiboot kernel by the header's address fields. */
struct image image_multiboot_flat(uint32_t load_addr, uint32_t size);

/* "gzip", "xz", "lzma", "zstd", "lz4", "bzip2": as Linux packs a payload,
 * the size word behind it included. */
struct image image_pack(const char *format, const void *data, size_t size);

struct bz_recipe {
	uint16_t version, xloadflags;
	uint32_t initrd_addr_max, cmdline_size, init_size;
	uint64_t pref_address;
	bool relocatable;
};
extern const struct bz_recipe bz_modern; /* protocol 2.15, as of Linux 6.1 */
/* The payload lies at 0x400 of the protected-mode part. */
struct image image_bz(const struct bz_recipe *r, const struct image *payload);

#endif
