/* fuzz_multiboot.c - any bytes as a Multiboot kernel, ELF or flat. */
#include "fuzz_boot.h"

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct elf_recipe r = {
		.is64 = i == 0,
		.paddr = 0x100000,
		.entry = 0x100020,
		.size = 0x100,
		.multiboot = true,
		.multiboot_flags = 3,
	};

	if (i < 2)
		return fuzz_boot_seed(image_elf(&r), buf, cap);
	if (i == 2)
		return fuzz_boot_seed(image_multiboot_flat(0x100000, 0x100),
				      buf, cap);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_boot_run(boot_load_multiboot, data, len);
	return 0;
}
