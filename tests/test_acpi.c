/* The ACPI tables: checksums, links between them, and what iasl says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/acpi.h"
#include "test.h"

static uint8_t tables[ACPI_SIZE];

static int build(unsigned cpus, struct err *err)
{
	struct acpi_config c;

	acpi_config_init(&c, cpus);
	c.virtio_mmio = ACPI_VIRTIO_MAX;
	return acpi_build(tables, &c, NULL, err);
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

static unsigned sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s += *p++;
	return s;
}

static const uint8_t *at(uint64_t gpa)
{
	assert_true(gpa >= ACPI_BASE && gpa < ACPI_BASE + ACPI_SIZE);
	return tables + (gpa - ACPI_BASE);
}

/* The table with this signature, by way of RSDP and XSDT. */
static const uint8_t *find(const char *sig)
{
	const uint8_t *xsdt = at(get(tables + 24, 8));
	unsigned n = (get(xsdt + 4, 4) - 36) / 8;

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *t = at(get(xsdt + 36 + i * 8, 8));

		if (!memcmp(t, sig, 4))
			return t;
	}
	return NULL;
}

static void check_table(const uint8_t *t, const char *sig)
{
	assert_non_null(t);
	assert_memory_equal(t, sig, 4);
	assert_int_equal(sum(t, get(t + 4, 4)), 0);
}

static void test_every_checksum_is_right(void **state)
{
	assert_true(build(3, NULL) > 0);
	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	check_table(at(get(tables + 24, 8)), "XSDT");
	check_table(find("FACP"), "FACP");
	check_table(find("APIC"), "APIC");
	check_table(find("MCFG"), "MCFG");
	check_table(at(get(find("FACP") + 140, 8)), "DSDT");
}

static void test_fadt_names_the_power_management_ports(void **state)
{
	const uint8_t *f;

	assert_true(build(1, NULL) > 0);
	f = find("FACP");
	assert_int_equal(get(f + 56, 4), 0x600);  /* PM1a_EVT_BLK */
	assert_int_equal(get(f + 76, 4), 0x608);  /* PM_TMR_BLK */
	assert_int_equal(get(f + 120, 8), 0xcf9); /* RESET_REG address */
	assert_int_equal(f[128], 6);              /* RESET_VALUE */
	assert_memory_equal(at(get(f + 36, 4)), "FACS", 4);
	assert_int_equal(get(f + 36, 4) % 64, 0);
}

/* Counts MADT structures of a type. */
static unsigned madt_count(unsigned type)
{
	const uint8_t *m = find("APIC");
	unsigned len = get(m + 4, 4), n = 0;

	for (unsigned pos = 44; pos < len; pos += m[pos + 1]) {
		assert_true(m[pos + 1] >= 2);
		n += m[pos] == type;
	}
	return n;
}

static void test_madt_lists_every_processor(void **state)
{
	assert_true(build(5, NULL) > 0);
	assert_int_equal(madt_count(0), 5);
	assert_int_equal(madt_count(9), 0);
	assert_int_equal(madt_count(1), 1);
	assert_true(build(300, NULL) > 0);
	assert_int_equal(madt_count(0), 255);
	assert_int_equal(madt_count(9), 45);
	assert_int_equal(madt_count(10), 1);
}

static void test_too_many_processors_are_refused(void **state)
{
	struct err err = { "" };

	assert_true(build(100000, &err) < 0);
	assert_string_not_equal(err.msg, "");
}

static void test_aml_integers_take_their_shortest_form(void **state)
{
	uint8_t buf[64];
	struct aml a;

	aml_init(&a, buf, sizeof(buf));
	aml_int(&a, 0);
	aml_int(&a, 1);
	aml_int(&a, 0xff);
	aml_int(&a, 0x100);
	aml_int(&a, 0x10000);
	aml_int(&a, 1ull << 32);
	assert_int_equal(a.len, 1 + 1 + 2 + 3 + 5 + 9);
	assert_int_equal(buf[2], 0x0a);
	assert_int_equal(buf[4], 0x0b);
}

static void test_aml_that_does_not_fit_is_cut(void **state)
{
	uint8_t buf[8] = { 0 };
	struct aml a;

	aml_init(&a, buf, 4);
	aml_begin_device(&a, "DEV");
	aml_name_int(&a, "_UID", 5);
	aml_end(&a);
	assert_true(a.overflow);
	assert_true(a.len <= 4);
	assert_int_equal(get(buf + 4, 4), 0);
}

/* --- What ACPI's own compiler says ---------------------------------------- */

static void write_table(const char *dir, const char *name, const uint8_t *t)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite(t, 1, get(t + 4, 4), f);
	fclose(f);
}

static void run(const char *dir, const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "cd %s && { %s; } >>log 2>&1", dir,
		 command);
	if (system(line) == 0)
		return;
	snprintf(line, sizeof(line), "cat %s/log; rm -rf %s", dir, dir);
	(void)!system(line);
	fail_msg("%s", command);
}

/* Taken apart and compiled again with every warning an error. */
static void test_iasl_accepts_the_tables(void **state)
{
	char dir[] = "/tmp/hostel-acpi-XXXXXX";
	char line[128];

	if (system("command -v iasl >/dev/null 2>&1") != 0) {
		print_message("skipped: iasl (acpica-tools) is not there\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	assert_true(build(2, NULL) > 0);
	write_table(dir, "dsdt", at(get(find("FACP") + 140, 8)));
	write_table(dir, "facp", find("FACP"));
	write_table(dir, "apic", find("APIC"));
	write_table(dir, "mcfg", find("MCFG"));
	run(dir, "iasl -d dsdt.dat facp.dat apic.dat mcfg.dat");
	run(dir, "! grep -iE 'error|warning|incorrect|invalid' log");
	run(dir, "iasl -we dsdt.dsl");
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	assert_int_equal(system(line), 0);
}

/* Boot loaders read the RSDT alone: the same tables, 4 bytes each. */
static void test_rsdt_lists_what_the_xsdt_does(void **state)
{
	const uint8_t *xsdt, *rsdt;
	unsigned n;

	assert_true(build(2, NULL) > 0);
	xsdt = at(get(tables + 24, 8));
	rsdt = at(get(tables + 16, 4));
	check_table(rsdt, "RSDT");
	n = (get(rsdt + 4, 4) - 36) / 4;
	assert_int_equal(n, (get(xsdt + 4, 4) - 36) / 8);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(get(rsdt + 36 + i * 4, 4),
				 get(xsdt + 36 + i * 8, 8));
}

static void move_pointer(uint8_t *p, unsigned size, uint64_t by)
{
	uint64_t v = get(p, size) + by;

	memcpy(p, &v, size);
}

/* What firmware does with the links gives what we would have built there. */
static void test_links_move_the_block(void **state)
{
	static uint8_t there[ACPI_SIZE];
	const uint64_t base = 0x1ffd0000;
	struct acpi_links l = { 0 };
	struct acpi_config c;
	int len;

	acpi_config_init(&c, 4);
	c.vga = true;
	c.base = base;
	len = acpi_build(there, &c, NULL, NULL);
	c.base = 0;
	assert_int_equal(acpi_build(tables, &c, &l, NULL), len);
	assert_in_range(l.pointer_count, 9, ACPI_LINKS_MAX);
	for (unsigned i = 0; i < l.pointer_count; i++)
		move_pointer(tables + l.pointer[i].at, l.pointer[i].size, base);
	for (unsigned i = 0; i < l.checksum_count; i++) {
		struct acpi_checksum *k = &l.checksum[i];

		tables[k->at] = 0;
		tables[k->at] = (uint8_t)-sum(tables + k->start, k->len);
	}
	/* the RSDP is a file of its own, and its pointers with it */
	assert_memory_equal(tables + ACPI_RSDP_SIZE, there + ACPI_RSDP_SIZE,
			    len - ACPI_RSDP_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsdt_lists_what_the_xsdt_does),
		cmocka_unit_test(test_links_move_the_block),
		cmocka_unit_test(test_every_checksum_is_right),
		cmocka_unit_test(test_fadt_names_the_power_management_ports),
		cmocka_unit_test(test_madt_lists_every_processor),
		cmocka_unit_test(test_too_many_processors_are_refused),
		cmocka_unit_test(test_aml_integers_take_their_shortest_form),
		cmocka_unit_test(test_aml_that_does_not_fit_is_cut),
		cmocka_unit_test(test_iasl_accepts_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
