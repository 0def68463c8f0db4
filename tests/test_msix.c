/* test_msix.c - dev/pci/msix.c: MSI-X and MSI, masked, pending, restored. */
#include "vpci.h"

#define MSIX_CAP 0x11
#define MSI_CAP  0x05
#define ON       0x8000
#define MASK_ALL 0x4000
#define PBA      (VPCI_BAR1 + 0x800)

static unsigned control(struct vpci *v)
{
	return vpci_cap(v, VPCI_SLOT, MSIX_CAP, 0) + 2;
}

static void set_vector(struct vpci *v, unsigned n, bool masked)
{
	vpci_put(v, VPCI_BAR1 + n * 16, 8, 0xfee00000 + n * 0x1000);
	vpci_put(v, VPCI_BAR1 + n * 16 + 8, 4, 0x40 + n);
	vpci_put(v, VPCI_BAR1 + n * 16 + 12, 4, masked);
}

/* The configuration interrupt, by a change that the device makes up. */
static void raise_config(struct vpci *v)
{
	vpci_put(v, VPCI_BAR0 + 0x14, 1, 1 | 2);
	vpci_put(v, VPCI_BAR0 + 0x08, 4, 1);
	vpci_put(v, VPCI_BAR0 + 0x0c, 4, 1);
	vpci_put(v, VPCI_BAR0 + 0x14, 1, 1 | 2 | 8);
	vpci_put(v, VPCI_BAR0 + 0x14, 1, 1 | 2 | 8 | 4);
	/* A ring outside RAM. */
	vpci_put(v, VPCI_BAR0 + 0x20, 8, 0xf000000000);
	vpci_put(v, VPCI_BAR0 + 0x1c, 2, 1);
}

static void open_mapped(struct vpci *v)
{
	vpci_open(v);
	vpci_map(v);
}

static void the_capability_says_where(void **state)
{
	struct vpci v;
	unsigned cap;

	open_mapped(&v);
	cap = vpci_cap(&v, VPCI_SLOT, MSIX_CAP, 0);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 2, 2), 1);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 4, 4), 1);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 8, 4), 0x801);
	/* Only the two bits of control can be written. */
	vpci_config_put(&v, VPCI_SLOT, cap + 2, 2, 0xffff);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 2, 2), 0xc001);
	vpci_close(&v);
}

static void after_reset_all_is_masked(void **state)
{
	struct vpci v;

	open_mapped(&v);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(vpci_get(&v, VPCI_BAR1 + n * 16 + 12, 4), 1);
	vpci_put(&v, VPCI_BAR1 + 12, 4, 0xfffffffe);
	assert_int_equal(vpci_get(&v, VPCI_BAR1 + 12, 4), 0);
	DEV(v.rng)->reset(DEV(v.rng));
	assert_int_equal(vpci_get(&v, VPCI_BAR1 + 12, 4), 1);
	vpci_close(&v);
}

static void a_message_goes_out(void **state)
{
	struct vpci v;

	open_mapped(&v);
	set_vector(&v, 1, false);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	vpci_put(&v, VPCI_BAR0 + 0x10, 2, 1); /* configuration: vector 1 */
	raise_config(&v);
	assert_int_equal(v.messages, 1);
	assert_int_equal(v.addr, 0xfee01000);
	assert_int_equal(v.data, 0x41);
	assert_int_equal(v.pirq[pci_pirq(VPCI_SLOT, 1)].rises, 0);
	vpci_close(&v);
}

static void a_masked_one_waits(void **state)
{
	struct vpci v;

	open_mapped(&v);
	set_vector(&v, 1, true);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	vpci_put(&v, VPCI_BAR0 + 0x10, 2, 1);
	raise_config(&v);
	assert_int_equal(v.messages, 0);
	assert_int_equal(vpci_get(&v, PBA, 4), 2);
	vpci_put(&v, PBA, 4, 0); /* is not for the driver to write */
	assert_int_equal(vpci_get(&v, PBA, 4), 2);
	vpci_put(&v, VPCI_BAR1 + 16 + 12, 4, 0);
	assert_int_equal(v.messages, 1);
	assert_int_equal(vpci_get(&v, PBA, 4), 0);
	vpci_close(&v);
}

/* A message is a write to memory. */
static void only_a_bus_master_sends(void **state)
{
	struct vpci v;
	unsigned cap;

	open_mapped(&v);
	set_vector(&v, 1, false);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	vpci_put(&v, VPCI_BAR0 + 0x10, 2, 1);
	vpci_config_put(&v, VPCI_SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEM);
	raise_config(&v);
	assert_int_equal(v.messages, 0);
	vpci_config_put(&v, VPCI_SLOT, PCI_COMMAND, 2,
			PCI_COMMAND_MEM | PCI_COMMAND_MASTER);
	assert_int_equal(v.messages, 1);

	cap = vpci_cap(&v, VPCI_CARD, MSI_CAP, 0);
	vpci_config_put(&v, VPCI_CARD, cap + 2, 2, 1);
	assert_true(msi_raise(&v.card)); /* not INTx instead */
	assert_int_equal(v.messages, 1);
	vpci_config_put(&v, VPCI_CARD, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	msi_raise(&v.card);
	assert_int_equal(v.messages, 2);
	vpci_close(&v);
}

static void the_function_mask_holds_all(void **state)
{
	struct vpci v;

	open_mapped(&v);
	set_vector(&v, 1, false);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON | MASK_ALL);
	vpci_put(&v, VPCI_BAR0 + 0x10, 2, 1);
	raise_config(&v);
	assert_int_equal(v.messages, 0);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	assert_int_equal(v.messages, 1);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	assert_int_equal(v.messages, 1);
	vpci_close(&v);
}

static void a_vector_that_is_not_there(void **state)
{
	struct vpci v;

	open_mapped(&v);
	vpci_config_put(&v, VPCI_SLOT, control(&v), 2, ON);
	vpci_put(&v, VPCI_BAR0 + 0x10, 2, 2);
	assert_int_equal(vpci_get(&v, VPCI_BAR0 + 0x10, 2), 0xffff);
	raise_config(&v);
	assert_int_equal(v.messages, 0);
	vpci_close(&v);
}

static void without_messages_intx_follows_the_isr(void **state)
{
	struct dt_line *line;
	struct vpci v;

	open_mapped(&v);
	line = &v.pirq[pci_pirq(VPCI_SLOT, 1)];
	raise_config(&v);
	assert_int_equal(v.messages, 0);
	assert_true(line->level);
	assert_int_equal(vpci_get(&v, VPCI_BAR0 + 0x1000, 1), 2);
	assert_false(line->level);
	assert_int_equal(vpci_get(&v, VPCI_BAR0 + 0x1000, 1), 0);
	vpci_close(&v);
}

static void plain_msi(void **state)
{
	struct vpci v;
	unsigned cap;

	vpci_open(&v);
	cap = vpci_cap(&v, VPCI_CARD, MSI_CAP, 0);
	vpci_config_put(&v, VPCI_CARD, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(vpci_config_get(&v, VPCI_CARD, cap + 2, 2), 0x80);
	assert_false(msi_raise(&v.card));
	vpci_config_put(&v, VPCI_CARD, cap + 4, 4, 0xfee02003);
	vpci_config_put(&v, VPCI_CARD, cap + 12, 2, 0x55);
	vpci_config_put(&v, VPCI_CARD, cap + 2, 2, 0xffff);
	assert_int_equal(vpci_config_get(&v, VPCI_CARD, cap + 2, 2), 0x81);
	assert_true(msi_enabled(&v.card));
	assert_true(msi_raise(&v.card));
	assert_int_equal(v.addr, 0xfee02000);
	assert_int_equal(v.data, 0x55);
	DEV(v.host)->reset(DEV(v.host));
	assert_false(msi_raise(&v.card));
	vpci_close(&v);
}

static void what_is_pending_is_saved(void **state)
{
	struct vpci a, b;

	open_mapped(&a);
	set_vector(&a, 1, true);
	vpci_config_put(&a, VPCI_SLOT, control(&a), 2, ON);
	vpci_put(&a, VPCI_BAR0 + 0x10, 2, 1);
	raise_config(&a);
	vpci_open(&b);
	dt_copy_state(DEV(a.host), DEV(b.host));
	dt_copy_state(DEV(a.rng), DEV(b.rng));
	assert_int_equal(vpci_get(&b, PBA, 4), 2);
	vpci_put(&b, VPCI_BAR1 + 16 + 12, 4, 0);
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.data, 0x41);
	vpci_close(&b);
	vpci_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_capability_says_where),
		cmocka_unit_test(after_reset_all_is_masked),
		cmocka_unit_test(a_message_goes_out),
		cmocka_unit_test(a_masked_one_waits),
		cmocka_unit_test(only_a_bus_master_sends),
		cmocka_unit_test(the_function_mask_holds_all),
		cmocka_unit_test(a_vector_that_is_not_there),
		cmocka_unit_test(without_messages_intx_follows_the_isr),
		cmocka_unit_test(plain_msi),
		cmocka_unit_test(what_is_pending_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
