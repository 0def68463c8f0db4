#include "boot_images.h"

#include <assert.h>
#include <bzlib.h>
#include <elf.h>
#include <lz4hc.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

void image_free(struct image *img)
{
	free(img->data);
	*img = (struct image){ 0 };
}

static struct image image_new(size_t size)
{
	struct image img = { calloc(1, size), size };

	assert(img.data);
	return img;
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
	memcpy(p, &value, bytes);
}

/* --- ELF -------------------------------------------------------------------
 */

#define ELF_SEGMENT 0x240
#define ELF_NOTE    0x200

static void put_elf64(uint8_t *p, const struct elf_recipe *r)
{
	Elf64_Ehdr h = { .e_ident = ELFMAG,
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = 1,
			 .e_entry = r->entry,
			 .e_phoff = 0x40,
			 .e_ehsize = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = r->pvh ? 2 : 1 };
	Elf64_Phdr load = { .p_type = PT_LOAD,
			    .p_offset = ELF_SEGMENT,
			    .p_vaddr = r->vaddr,
			    .p_paddr = r->paddr,
			    .p_filesz = r->size,
			    .p_memsz = 2 * r->size };
	Elf64_Phdr note = { .p_type = PT_NOTE,
			    .p_offset = ELF_NOTE,
			    .p_filesz = 20 };

	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(p, &h, sizeof(h));
	memcpy(p + 0x40, &load, sizeof(load));
	memcpy(p + 0x40 + sizeof(load), &note, sizeof(note));
}

static void put_elf32(uint8_t *p, const struct elf_recipe *r)
{
	Elf32_Ehdr h = { .e_ident = ELFMAG,
			 .e_type = ET_EXEC,
			 .e_machine = EM_386,
			 .e_version = 1,
			 .e_entry = r->entry,
			 .e_phoff = 0x40,
			 .e_ehsize = sizeof(h),
			 .e_phentsize = sizeof(Elf32_Phdr),
			 .e_phnum = r->pvh ? 2 : 1 };
	Elf32_Phdr load = { .p_type = PT_LOAD,
			    .p_offset = ELF_SEGMENT,
			    .p_vaddr = r->vaddr,
			    .p_paddr = r->paddr,
			    .p_filesz = r->size,
			    .p_memsz = 2 * r->size };
	Elf32_Phdr note = { .p_type = PT_NOTE,
			    .p_offset = ELF_NOTE,
			    .p_filesz = 20 };

	h.e_ident[EI_CLASS] = ELFCLASS32;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(p, &h, sizeof(h));
	memcpy(p + 0x40, &load, sizeof(load));
	memcpy(p + 0x40 + sizeof(load), &note, sizeof(note));
}

static void put_note(uint8_t *p, uint32_t entry)
{
	put(p, 4, 4); /* "Xen\0" */
	put(p + 4, 4, 4);
	put(p + 8, 18, 4);
	memcpy(p + 12, "Xen", 4);
	put(p + 16, entry, 4);
}

#define MULTIBOOT_MAGIC 0x1badb002u

struct image image_elf(const struct elf_recipe *r)
{
	struct image img = image_new(ELF_SEGMENT + r->size);

	if (r->is64)
		put_elf64(img.data, r);
	else
		put_elf32(img.data, r);
	if (r->pvh)
		put_note(img.data + ELF_NOTE, r->pvh_entry);
	memset(img.data + ELF_SEGMENT, 0x5a, r->size);
	if (r->multiboot) {
		uint8_t *h = img.data + ELF_SEGMENT;

		put(h, MULTIBOOT_MAGIC, 4);
		put(h + 4, r->multiboot_flags, 4);
		put(h + 8, -(MULTIBOOT_MAGIC + r->multiboot_flags), 4);
	}
	return img;
}

struct image image_multiboot_flat(uint32_t load_addr, uint32_t size)
{
	struct image img = image_new(size);
	const uint32_t header[] = {
		MULTIBOOT_MAGIC,
		0x10003,
		-(MULTIBOOT_MAGIC + 0x10003),
		load_addr + 16,
		load_addr,
		load_addr + size,
		load_addr + 2 * size,
		load_addr + 0x40,
	};

	assert(size >= 0x40);
	memset(img.data, 0x5a, size);
	memcpy(img.data + 16, header, sizeof(header));
	return img;
}

/* --- Packing ------------------------------------------------------------- */

static size_t pack_gzip(const void *in, size_t n, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (Bytef *)in,
		       .avail_in = n,
		       .next_out = out,
		       .avail_out = cap };

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_bzip2(const void *in, size_t n, uint8_t *out, size_t cap)
{
	unsigned len = cap;

	BZ2_bzBuffToBuffCompress((char *)out, &len, (char *)in, n, 9, 0, 0);
	return len;
}

/* As scripts/xz_wrap.sh of Linux: the x86 filter before LZMA2. */
static size_t pack_xz(const void *in, size_t n, uint8_t *out, size_t cap)
{
	lzma_options_lzma opt;
	lzma_filter filters[] = { { LZMA_FILTER_X86, NULL },
				  { LZMA_FILTER_LZMA2, &opt },
				  { LZMA_VLI_UNKNOWN, NULL } };
	size_t len = 0;

	lzma_lzma_preset(&opt, 6);
	if (lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in, n,
				      out, &len, cap) != LZMA_OK)
		abort();
	return len;
}

static size_t pack_lzma(const void *in, size_t n, uint8_t *out, size_t cap)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma opt;

	lzma_lzma_preset(&opt, 6);
	if (lzma_alone_encoder(&z, &opt) != LZMA_OK)
		abort();
	z.next_in = in;
	z.avail_in = n;
	z.next_out = out;
	z.avail_out = cap;
	if (lzma_code(&z, LZMA_FINISH) != LZMA_STREAM_END)
		abort();
	lzma_end(&z);
	return z.total_out;
}

static size_t pack_zstd(const void *in, size_t n, uint8_t *out, size_t cap)
{
	return ZSTD_compress(out, cap, in, n, 19);
}

static size_t pack_lz4(const void *in, size_t n, uint8_t *out, size_t cap)
{
	const size_t block = 8u << 20;
	size_t len = 4;

	put(out, 0x184c2102, 4);
	for (size_t pos = 0; pos < n; pos += block) {
		size_t part = n - pos < block ? n - pos : block;
		int got = LZ4_compress_HC((const char *)in + pos,
					  (char *)out + len + 4, part,
					  cap - len - 4, 9);

		put(out + len, got, 4);
		len += 4 + got;
	}
	return len;
}

struct image image_pack(const char *format, const void *data, size_t size)
{
	static const struct {
		const char *name;
		size_t (*fn)(const void *, size_t, uint8_t *, size_t);
	} packers[] = {
		{ "gzip", pack_gzip }, { "bzip2", pack_bzip2 },
		{ "xz", pack_xz },     { "lzma", pack_lzma },
		{ "zstd", pack_zstd }, { "lz4", pack_lz4 },
	};
	size_t cap = size + size / 2 + 4096;
	struct image img = image_new(cap);

	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		if (strcmp(format, packers[i].name))
			continue;
		img.size = packers[i].fn(data, size, img.data, cap - 4);
		put(img.data + img.size, size, 4);
		img.size += 4;
	}
	assert(img.size < cap);
	return img;
}

/* --- bzImage ----------------------------------------------------------------
 */

const struct bz_recipe bz_modern = {
	.version = 0x20f,
	.xloadflags = 1,
	.initrd_addr_max = 0x7fffffff,
	.cmdline_size = 2047,
	.init_size = 0x100000,
	.pref_address = 0x1000000,
	.relocatable = true,
};

struct image image_bz(const struct bz_recipe *r, const struct image *payload)
{
	const size_t setup = 2 * 512, at = 0x400;
	size_t body = (at + payload->size + 15) & ~(size_t)15;
	struct image img = image_new(setup + body);
	uint8_t *d = img.data;

	d[0x1f1] = 1; /* setup_sects */
	put(d + 0x1f4, body / 16, 4);
	put(d + 0x1fe, 0xaa55, 2);
	d[0x200] = 0xeb;
	d[0x201] = 0x6a;
	memcpy(d + 0x202, "HdrS", 4);
	put(d + 0x206, r->version, 2);
	d[0x211] = 1; /* LOADED_HIGH */
	put(d + 0x214, 0x100000, 4);
	put(d + 0x22c, r->initrd_addr_max, 4);
	put(d + 0x230, 0x200000, 4);
	d[0x234] = r->relocatable;
	put(d + 0x236, r->xloadflags, 2);
	put(d + 0x238, r->cmdline_size, 4);
	put(d + 0x248, at, 4);
	put(d + 0x24c, payload->size, 4);
	put(d + 0x258, r->pref_address, 8);
	put(d + 0x260, r->init_size, 4);
	memset(d + setup, 0xcc, at);
	memcpy(d + setup + at, payload->data, payload->size);
	return img;
}
