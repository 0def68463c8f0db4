#include "fuzz_boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_BOOT_RAM (32ull << 20)

static const struct e820_entry fuzz_boot_e820[] = {
	{ 0, 0x9fc00, 1 },
	{ 0x100000, FUZZ_BOOT_RAM - 0x100000, 1 },
};

void fuzz_boot_run(fuzz_boot_fn *load, const uint8_t *data, size_t len)
{
	static uint8_t initrd[100];
	static struct mem *mem;
	/* Exactly as long as the file, so that a sanitizer sees its end. */
	uint8_t *copy = malloc(len ? len : 1);
	struct boot_params p = {
		.kernel = { copy, len, "k" },
		.initrd = { initrd, sizeof(initrd), "rd" },
		.append = "quiet",
		.e820 = fuzz_boot_e820,
		.e820_count = 2,
		.low_end = FUZZ_BOOT_RAM,
	};
	struct boot_entry e = { 0 };
	struct err err = { "" };
	int ret;

	if (!mem && mem_new(&mem, FUZZ_BOOT_RAM, NULL) < 0)
		abort();
	p.mem = mem;
	memcpy(copy, data, len);
	ret = load(&p, &e, &err);
	if (ret < 0 && ret != -ENOEXEC && !err.msg[0])
		abort();
	free(copy);
}

size_t fuzz_boot_seed(struct image img, uint8_t *buf, size_t cap)
{
	size_t len = img.size <= cap ? img.size : 0;

	memcpy(buf, img.data, len);
	image_free(&img);
	return len;
}
