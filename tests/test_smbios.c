/* test_smbios.c - machine/smbios.c: every structure as the manual lays it out.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "machine/smbios.h"

static uint8_t anchor[SMBIOS_ANCHOR_SIZE], tables[SMBIOS_TABLES_MAX];

static unsigned sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

/* The structure behind this one: its fields, its strings, and two zeros. */
static const uint8_t *next(const uint8_t *p)
{
	p += p[1];
	while (p[0] || p[1])
		p++;
	return p + 2;
}

static const uint8_t *find(uint8_t type)
{
	const uint8_t *p = tables;

	while (p[0] != type && p[0] != 127)
		p = next(p);
	return p[0] == type ? p : NULL;
}

static uint32_t build(const char *name, unsigned cpus, uint64_t memory)
{
	struct smbios_config c = { name, cpus, memory, 0 };

	memset(tables, 0xcc, sizeof(tables));
	return smbios_build(&c, anchor, tables);
}

static void anchor_counts_what_is_there(void **state)
{
	uint32_t len = build("guest", 2, 1 << 30);
	const uint8_t *p = tables;
	unsigned n = 1;

	for (; p[0] != 127; p = next(p))
		n++;
	assert_ptr_equal(next(p), tables + len);
	assert_int_equal(get(anchor + 0x16, 2), len);
	assert_int_equal(get(anchor + 0x1c, 2), n);
	assert_int_equal(sum(anchor, SMBIOS_ANCHOR_SIZE), 0);
	assert_int_equal(sum(anchor + 0x10, 15), 0);
}

static void lengths_are_the_manuals(void **state)
{
	static const uint8_t want[][2] = {
		{ 1, 0x1b },  { 3, 0x15 },  { 4, 0x30 },  { 16, 0x17 },
		{ 17, 0x28 }, { 19, 0x1f }, { 32, 0x0b },
	};

	build(NULL, 1, 1 << 30);
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_non_null(find(want[i][0]));
		assert_int_equal(find(want[i][0])[1], want[i][1]);
	}
}

/* Without firmware: the BIOS is ours, says "virtual", and lies at base. */
static void without_firmware_it_tells_of_a_bios(void **state)
{
	struct smbios_config c = { "g", 1, 1 << 30, SMBIOS_TABLES };

	build("g", 1, 1 << 30);
	assert_null(find(0));
	assert_int_equal(get(anchor + 0x18, 4), 0);
	smbios_build(&c, anchor, tables);
	assert_int_equal(get(anchor + 0x18, 4), SMBIOS_TABLES);
	assert_int_equal(sum(anchor, SMBIOS_ANCHOR_SIZE), 0);
	assert_int_equal(sum(anchor + 0x10, 15), 0);
	assert_non_null(find(0));
	assert_int_equal(find(0)[1], 0x18);
	assert_true(find(0)[0x13] & 0x10);
}

static void sizes_have_their_wide_forms(void **state)
{
	build(NULL, 300, 64ull << 30);
	assert_int_equal(find(17)[0x0c] | find(17)[0x0d] << 8, 0x7fff);
	assert_int_equal(get(find(17) + 0x1c, 4), 65536);
	assert_int_equal(find(4)[0x23], 0xff);
	assert_int_equal(get(find(4) + 0x2a, 2), 300);
	assert_int_equal(get(find(19) + 0x17, 8), (64ull << 30) - 1);
}

static void long_names_are_cut(void **state)
{
	char name[4096];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_true(build(name, 1, 1 << 20) < 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anchor_counts_what_is_there),
		cmocka_unit_test(lengths_are_the_manuals),
		cmocka_unit_test(without_firmware_it_tells_of_a_bios),
		cmocka_unit_test(sizes_have_their_wide_forms),
		cmocka_unit_test(long_names_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
