/* fuzz_bzimage.c - any bytes as a bzImage. */
#include "fuzz_boot.h"

static const struct elf_recipe fuzz_kernel = {
	.is64 = true,
	.paddr = 0x1000000,
	.vaddr = 0xffffffff81000000,
	.entry = 0x1000000,
	.size = 0x200,
};

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const char *const formats[] = { "gzip", "xz",  "lzma",
					       "zstd", "lz4", "bzip2" };
	struct image elf, packed, bz;

	if (i >= sizeof(formats) / sizeof(formats[0]))
		return 0;
	elf = image_elf(&fuzz_kernel);
	packed = image_pack(formats[i], elf.data, elf.size);
	bz = image_bz(&bz_modern, &packed);
	image_free(&elf);
	image_free(&packed);
	return fuzz_boot_seed(bz, buf, cap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_boot_run(boot_load_bzimage, data, len);
	return 0;
}
