/* fuzz_elf.c - any bytes as an ELF kernel with a PVH note. */
#include "fuzz_boot.h"

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct elf_recipe r = {
		.is64 = i == 0,
		.paddr = 0x200000,
		.entry = 0x200000,
		.size = 0x100,
		.pvh = true,
		.pvh_entry = 0x200010,
	};

	return i < 2 ? fuzz_boot_seed(image_elf(&r), buf, cap) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_boot_run(boot_load_pvh, data, len);
	return 0;
}
