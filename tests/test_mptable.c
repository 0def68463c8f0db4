/* test_mptable.c - machine/mptable.c: the tables as their manuals lay them out.
 */
#include "test.h"

#include <string.h>

#include "dev/pci/host.h"
#include "machine/mptable.h"

static uint8_t mp[MPTABLE_SIZE], pir[PIRTABLE_SIZE];
static const uint8_t *const conf = mp + 16;

static uint8_t sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static unsigned word(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

/* The n-th entry of a type (4.3); NULL: there are fewer. */
static const uint8_t *entry(uint8_t type, unsigned n)
{
	const uint8_t *e = conf + 44;

	for (unsigned i = 0; i < word(conf + 34); i++) {
		if (*e == type && !n--)
			return e;
		e += *e ? 8 : 20;
	}
	return NULL;
}

static void sums_and_lengths(void **state)
{
	uint32_t len = mptable_build(mp, 4);

	assert_memory_equal(mp, "_MP_", 4);
	assert_int_equal(sum(mp, 16), 0);
	assert_memory_equal(conf, "PCMP", 4);
	assert_int_equal(word(conf + 4), len - 16);
	assert_int_equal(sum(conf, len - 16), 0);
}

static void one_boot_processor(void **state)
{
	mptable_build(mp, 3);
	assert_int_equal(entry(0, 0)[3], 3);
	assert_int_equal(entry(0, 2)[3], 1);
	assert_int_equal(entry(0, 2)[1], 2);
	assert_null(entry(0, 3));
}

/* The widest table fits, and leaves out what xAPIC cannot name. */
static void more_processors_than_names(void **state)
{
	assert_true(mptable_build(mp, 4096) <= MPTABLE_SIZE);
	assert_int_equal(entry(0, 254)[1], 254);
	assert_null(entry(0, 255));
}

static const uint8_t *source(uint8_t bus, uint8_t irq)
{
	const uint8_t *e;

	for (unsigned n = 0; (e = entry(3, n)); n++)
		if (e[4] == bus && e[5] == irq)
			return e;
	return NULL;
}

static void interrupts_go_where_the_wires_do(void **state)
{
	mptable_build(mp, 1);
	assert_int_equal(source(1, 0)[7], 2);
	assert_int_equal(source(1, 4)[7], 4);
	assert_null(source(1, 2));
	assert_int_equal(source(0, 31 << 2)[7], 16 + pci_pirq(31, 1));
	assert_int_equal(source(0, 2 << 2 | 3)[7], 16 + pci_pirq(2, 4));
}

static void routing_table_names_the_router(void **state)
{
	uint32_t len = pirtable_build(pir);

	assert_memory_equal(pir, "$PIR", 4);
	assert_int_equal(word(pir + 6), len);
	assert_true(len <= PIRTABLE_SIZE);
	assert_int_equal(sum(pir, len), 0);
	assert_int_equal(pir[9], 31 << 3);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		const uint8_t *e = pir + 32 + (slot - 1) * 16;

		assert_int_equal(e[1], slot << 3);
		assert_int_equal(e[2], 0x60 + pci_pirq(slot, 1));
		assert_int_equal(e[11], 0x60 + pci_pirq(slot, 4));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_and_lengths),
		cmocka_unit_test(one_boot_processor),
		cmocka_unit_test(more_processors_than_names),
		cmocka_unit_test(interrupts_go_where_the_wires_do),
		cmocka_unit_test(routing_table_names_the_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
