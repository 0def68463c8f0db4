/* The memory map: RAM is told of exactly once, the rest is not RAM. */
#include "dev/pci/host.h"
#include "machine/acpi.h"
#include "machine/e820.h"
#include "test.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static unsigned build(uint64_t ram, struct e820_entry *map, uint64_t *low_end)
{
	struct mem *mem;
	unsigned n;

	assert_int_equal(mem_new(&mem, ram, NULL), 0);
	n = e820_build(mem, map);
	*low_end = e820_low_end(mem);
	mem_free(mem);
	assert_true(n <= BOOT_E820_MAX);
	return n;
}

static void test_map_is_ascending_and_without_overlaps(void **state)
{
	static const uint64_t sizes[] = { 1 * MIB, 512 * MIB, 3 * GIB, 4 * GIB,
					  100 * GIB };
	struct e820_entry map[BOOT_E820_MAX];
	uint64_t low_end;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		unsigned n = build(sizes[s], map, &low_end);

		for (unsigned i = 0; i < n; i++) {
			assert_true(map[i].size > 0);
			assert_true(!i ||
				    map[i].base >=
					    map[i - 1].base + map[i - 1].size);
		}
	}
}

static void test_ram_is_all_but_the_holes_of_the_first_mib(void **state)
{
	struct e820_entry map[BOOT_E820_MAX];
	uint64_t low_end, ram = 0;
	unsigned n = build(5 * GIB, map, &low_end);

	for (unsigned i = 0; i < n; i++)
		if (map[i].type == E820_RAM)
			ram += map[i].size;
	assert_int_equal(low_end, 3 * GIB);
	assert_int_equal(ram, 5 * GIB - (0x100000 - E820_EBDA));
}

static void assert_reserved(uint64_t base, uint64_t size)
{
	struct e820_entry map[BOOT_E820_MAX];
	uint64_t low_end;
	unsigned n = build(4 * GIB, map, &low_end);

	for (unsigned i = 0; i < n; i++)
		if (map[i].type == E820_RESERVED && map[i].base <= base &&
		    base + size <= map[i].base + map[i].size)
			return;
	fail_msg("0x%llx is not reserved", (unsigned long long)base);
}

static void test_tables_and_ecam_are_reserved(void **state)
{
	assert_reserved(ACPI_BASE, ACPI_SIZE);
	assert_reserved(PCI_ECAM_BASE, PCI_ECAM_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_is_ascending_and_without_overlaps),
		cmocka_unit_test(
			test_ram_is_all_but_the_holes_of_the_first_mib),
		cmocka_unit_test(test_tables_and_ecam_are_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
