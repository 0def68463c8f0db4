#include "machine/e820.h"

#include "dev/pci/host.h"
#include "machine/acpi.h"

#define E820_HIGH_BASE 0x100000ull

uint64_t e820_low_end(const struct mem *mem)
{
	struct mem_range r[2];

	mem_ram_ranges(mem, r);
	return r[0].base + r[0].size;
}

unsigned e820_build(const struct mem *mem, struct e820_entry map[BOOT_E820_MAX])
{
	uint64_t low_end = e820_low_end(mem);
	struct mem_range r[2];
	unsigned n = 0;

	map[n++] = (struct e820_entry){ 0, E820_EBDA, E820_RAM };
	map[n++] = (struct e820_entry){ E820_EBDA, 0xa0000 - E820_EBDA,
					E820_RESERVED };
	map[n++] = (struct e820_entry){ ACPI_BASE, ACPI_SIZE, E820_RESERVED };
	if (low_end > E820_HIGH_BASE)
		map[n++] = (struct e820_entry){ E820_HIGH_BASE,
						low_end - E820_HIGH_BASE,
						E820_RAM };
	map[n++] = (struct e820_entry){ PCI_ECAM_BASE, PCI_ECAM_SIZE,
					E820_RESERVED };
	if (mem_ram_ranges(mem, r) == 2)
		map[n++] =
			(struct e820_entry){ r[1].base, r[1].size, E820_RAM };
	return n;
}
