/*
 * test_virtio_pci.c - dev/virtio/virtio_pci.c: the registers, in order and
 * out of it, the window in configuration space, resets.
 */
#include "vpci.h"

#include "dev/virtio/transport.h"

enum {
	FEATURE_SEL = 0x00,
	FEATURE = 0x04,
	DRIVER_SEL = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	STATUS = 0x14,
	QUEUE_SEL = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	NOTIFY = 0x3000,
};

static uint64_t get(struct vpci *v, unsigned reg, unsigned size)
{
	return vpci_get(v, VPCI_BAR0 + reg, size);
}

static void put(struct vpci *v, unsigned reg, unsigned size, uint64_t value)
{
	vpci_put(v, VPCI_BAR0 + reg, size, value);
}

static void take_features(struct vpci *v, uint64_t features)
{
	put(v, STATUS, 1, 1 | 2);
	for (unsigned i = 0; i < 2; i++) {
		put(v, DRIVER_SEL, 4, i);
		put(v, DRIVER_FEATURE, 4, features >> i * 32 & 0xffffffff);
	}
	put(v, STATUS, 1, 1 | 2 | 8);
}

static void set_queue(struct vpci *v)
{
	put(v, QUEUE_SEL, 2, 0);
	put(v, QUEUE_SIZE, 2, 4);
	put(v, QUEUE_DESC, 8, 0x10000);
	put(v, QUEUE_DRIVER, 4, 0x11000); /* by halves */
	put(v, QUEUE_DRIVER + 4, 4, 0);
	put(v, QUEUE_DEVICE, 8, 0x12000);
	put(v, QUEUE_ENABLE, 2, 1);
}

/* One buffer of n bytes at 20000h. */
static void offer(struct vpci *v, uint16_t count, uint32_t n)
{
	struct virtq_desc d = { .addr = 0x20000, .len = n };
	uint16_t avail[6] = { 0, count, 0, 0, 0, 0 };

	d.split.flags = VIRTQ_DESC_WRITE;
	mem_write(v->dt.env.mem, 0x10000, &d, sizeof(d));
	mem_write(v->dt.env.mem, 0x11000, avail, sizeof(avail));
}

static unsigned used(struct vpci *v)
{
	uint16_t idx;

	mem_read(v->dt.env.mem, 0x12002, &idx, 2);
	return idx;
}

static void start(struct vpci *v)
{
	vpci_open(v);
	vpci_map(v);
	take_features(v, VIRTIO_F_VERSION_1);
	set_queue(v);
	put(v, STATUS, 1, 1 | 2 | 8 | 4);
}

static void a_request_is_served(void **state)
{
	uint8_t bytes[32] = { 0 }, zeroes[32] = { 0 };
	struct vpci v;

	start(&v);
	offer(&v, 1, 32);
	put(&v, NOTIFY, 2, 0);
	assert_int_equal(used(&v), 1);
	mem_read(v.dt.env.mem, 0x20000, bytes, 32);
	assert_memory_not_equal(bytes, zeroes, 32);
	assert_int_equal(get(&v, 0x1000, 1), 1);
	vpci_close(&v);
}

static void features_need_version_1(void **state)
{
	struct vpci v;

	vpci_open(&v);
	vpci_map(&v);
	take_features(&v, VIRTIO_F_EVENT_IDX);
	assert_int_equal(get(&v, STATUS, 1), 1 | 2);
	take_features(&v, VIRTIO_F_VERSION_1 | 1ull << 60);
	assert_int_equal(get(&v, STATUS, 1), 1 | 2);
	take_features(&v, VIRTIO_F_VERSION_1);
	assert_int_equal(get(&v, STATUS, 1), 1 | 2 | 8);
	/* Too late for others. */
	put(&v, DRIVER_SEL, 4, 0);
	put(&v, DRIVER_FEATURE, 4, 1u << 29);
	assert_int_equal(get(&v, DRIVER_FEATURE, 4), 0);
	/* There are but two words of them. */
	put(&v, FEATURE_SEL, 4, 2);
	assert_int_equal(get(&v, FEATURE, 4), 0);
	put(&v, FEATURE_SEL, 4, 1);
	assert_true(get(&v, FEATURE, 4) & 1);
	vpci_close(&v);
}

static void nothing_before_driver_ok(void **state)
{
	struct vpci v;

	vpci_open(&v);
	vpci_map(&v);
	put(&v, STATUS, 1, 1 | 2 | 4);
	assert_int_equal(get(&v, STATUS, 1), 1 | 2);
	set_queue(&v); /* before FEATURES_OK */
	assert_int_equal(get(&v, QUEUE_ENABLE, 2), 0);
	take_features(&v, VIRTIO_F_VERSION_1);
	set_queue(&v);
	assert_int_equal(get(&v, QUEUE_ENABLE, 2), 1);
	offer(&v, 1, 32);
	put(&v, NOTIFY, 2, 0);
	assert_int_equal(used(&v), 0);
	/* What was there is found when it starts. */
	put(&v, STATUS, 1, 1 | 2 | 8 | 4);
	assert_int_equal(used(&v), 1);
	vpci_close(&v);
}

static void other_queues_are_not_there(void **state)
{
	struct vpci v;

	start(&v);
	assert_int_equal(get(&v, NUM_QUEUES, 2), 1);
	put(&v, QUEUE_SEL, 2, 1);
	assert_int_equal(get(&v, QUEUE_SIZE, 2), 0);
	put(&v, QUEUE_SIZE, 2, 4);
	put(&v, QUEUE_DESC, 8, 0x10000);
	put(&v, QUEUE_ENABLE, 2, 1);
	assert_int_equal(get(&v, QUEUE_ENABLE, 2), 0);
	put(&v, QUEUE_SEL, 2, 0xffff);
	assert_int_equal(get(&v, QUEUE_SIZE, 2), 0);
	for (unsigned n = 1; n < 0x400; n++)
		put(&v, NOTIFY + n * 4, 2, n);
	vpci_close(&v);
}

static void a_bad_ring_needs_a_reset(void **state)
{
	struct vpci v;

	start(&v);
	offer(&v, 9, 32); /* of four */
	put(&v, NOTIFY, 2, 0);
	assert_int_equal(get(&v, STATUS, 1), 1 | 2 | 8 | 4 | 0x40);
	assert_int_equal(get(&v, 0x1000, 1) & 2, 2);
	put(&v, STATUS, 1, 0);
	assert_int_equal(get(&v, STATUS, 1), 0);
	take_features(&v, VIRTIO_F_VERSION_1);
	set_queue(&v);
	offer(&v, 1, 32);
	put(&v, STATUS, 1, 1 | 2 | 8 | 4);
	assert_int_equal(used(&v), 1);
	vpci_close(&v);
}

/* 4.1.4.9 */
static void a_window_in_configuration_space(void **state)
{
	struct vpci v;
	unsigned cap;

	vpci_open(&v); /* no BAR in place */
	cap = vpci_cap(&v, VPCI_SLOT, 0x09, 0);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 3, 1), 5);
	vpci_config_put(&v, VPCI_SLOT, cap + 4, 1, 0);
	vpci_config_put(&v, VPCI_SLOT, cap + 8, 4, STATUS);
	vpci_config_put(&v, VPCI_SLOT, cap + 12, 4, 1);
	vpci_config_put(&v, VPCI_SLOT, cap + 16, 1, 3);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 16, 1), 3);
	vpci_config_put(&v, VPCI_SLOT, cap + 8, 4, NUM_QUEUES);
	vpci_config_put(&v, VPCI_SLOT, cap + 12, 4, 2);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, cap + 16, 2), 1);
	/* Elsewhere there is nothing, whatever is asked for. */
	vpci_config_put(&v, VPCI_SLOT, cap + 8, 4, 0xfffffffc);
	vpci_config_put(&v, VPCI_SLOT, cap + 12, 4, 4);
	vpci_config_get(&v, VPCI_SLOT, cap + 16, 4);
	vpci_config_put(&v, VPCI_SLOT, cap + 8, 4, 0x4000);
	vpci_config_put(&v, VPCI_SLOT, cap + 16, 4, 1);
	vpci_config_put(&v, VPCI_SLOT, cap + 4, 1, 1);
	vpci_config_put(&v, VPCI_SLOT, cap + 16, 4, 1);
	vpci_close(&v);
}

/* --- Drivers that are not Linux's ----------------------------------------- */

static void registers_at_any_width(void **state)
{
	struct vpci v;

	start(&v);
	assert_int_equal(get(&v, STATUS, 1), 15);
	assert_int_equal(get(&v, NUM_QUEUES, 4) & 0xffffff, 1 | 15 << 16);
	assert_int_equal(get(&v, STATUS, 4) & 0xffff00ff, 15);
	assert_int_equal(get(&v, QUEUE_SIZE, 1), 4);
	assert_int_equal(get(&v, QUEUE_SIZE + 1, 1), 0);
	assert_int_equal(get(&v, QUEUE_DESC, 8), 0x10000);
	assert_int_equal(get(&v, QUEUE_DESC + 2, 2), 1);
	assert_int_equal(get(&v, QUEUE_DRIVER + 1, 1), 0x10);
	/* Behind the last, and across the end. */
	assert_int_equal(get(&v, 0x38, 4), 0);
	assert_int_equal(get(&v, 0x34, 8), 0);
	/* A byte of a wider register is no write to it. */
	put(&v, QUEUE_SEL, 1, 1);
	assert_int_equal(get(&v, QUEUE_SEL, 2), 0);
	vpci_close(&v);
}

static void notified_at_any_width(void **state)
{
	struct vpci v;

	start(&v);
	for (unsigned i = 0; i < 4; i++) {
		offer(&v, (uint16_t)(i + 1), 8);
		put(&v, NOTIFY, 1u << i, 0);
		assert_int_equal(used(&v), i + 1);
	}
	vpci_close(&v);
}

static void interrupts_without_msix(void **state)
{
	struct virtio_transport *t;
	struct vpci v;

	start(&v);
	t = (struct virtio_transport *)v.rng;
	offer(&v, 1, 8);
	put(&v, NOTIFY, 2, 0);
	virtio_config_changed(t->vd);
	assert_true(v.pirq[0].level || v.pirq[1].level || v.pirq[2].level ||
		    v.pirq[3].level);
	assert_int_equal(v.messages, 0);
	/* Reading tells of both, and takes them back. */
	assert_int_equal(get(&v, 0x1000, 1), 3);
	assert_false(v.pirq[0].level || v.pirq[1].level || v.pirq[2].level ||
		     v.pirq[3].level);
	assert_int_equal(get(&v, 0x1000, 1), 0);
	/* Nothing is left of one that came before a reset. */
	offer(&v, 2, 8);
	put(&v, NOTIFY, 2, 0);
	put(&v, STATUS, 1, 0);
	assert_false(v.pirq[0].level || v.pirq[1].level || v.pirq[2].level ||
		     v.pirq[3].level);
	assert_int_equal(get(&v, 0x1000, 1), 0);
	vpci_close(&v);
}

static void a_changed_configuration_counts_up(void **state)
{
	struct virtio_transport *t;
	struct vpci v;
	uint64_t before;

	vpci_open(&v);
	vpci_map(&v);
	t = (struct virtio_transport *)v.rng;
	before = get(&v, 0x15, 1);
	virtio_config_changed(t->vd);
	assert_int_equal(get(&v, 0x15, 1), (before + 1) & 0xff);
	assert_int_equal(get(&v, 0x1000, 1), 0); /* nobody drives it */
	for (unsigned i = 0; i < 255; i++)
		virtio_config_changed(t->vd);
	assert_int_equal(get(&v, 0x15, 1), before);
	vpci_close(&v);
}

/* 4.1.2: what a driver of an older kind looks for is not there. */
static void it_is_a_modern_device_only(void **state)
{
	unsigned bars = PCI_BAR0 + 6 * 4;
	struct vpci v;

	vpci_open(&v);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, 0, 4),
			 0x1af4 | (0x1040 + VIRTIO_ID_RNG) << 16);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, 8, 1), 1);
	assert_true(vpci_config_get(&v, VPCI_SLOT, 0x2e, 2) >= 0x40);
	assert_int_equal(vpci_config_get(&v, VPCI_SLOT, 0x3d, 1), 1);
	for (unsigned reg = PCI_BAR0; reg < bars; reg += 4)
		assert_int_equal(vpci_config_get(&v, VPCI_SLOT, reg, 1) & 1, 0);
	for (unsigned type = 1, found = 0; type <= 5; type++, found = 0) {
		for (unsigned n = 0, at; (at = vpci_cap(&v, VPCI_SLOT, 9, n));
		     n++)
			found += vpci_config_get(&v, VPCI_SLOT, at + 3, 1) ==
				 type;
		assert_int_equal(found, 1);
	}
	vpci_close(&v);
}

/* An entry of the table: where its message goes, and if it may. */
static void set_entry(struct vpci *v, unsigned n, uint32_t data, bool masked)
{
	uint64_t at = VPCI_BAR1 + n * 16;

	vpci_put(v, at, 4, 0xfee00000);
	vpci_put(v, at + 4, 4, 0);
	vpci_put(v, at + 8, 4, data);
	vpci_put(v, at + 12, 4, masked);
}

/* The next request's message; 0: none came. */
static uint32_t message(struct vpci *v, uint16_t n)
{
	unsigned before = v->messages;

	offer(v, n, 8);
	put(v, NOTIFY, 2, 0);
	assert_int_equal(used(v), n);
	assert_true(v->messages <= before + 1);
	return v->messages > before ? v->data : 0;
}

static void vectors_change_while_it_works(void **state)
{
	struct virtio_transport *t;
	struct vpci v;
	unsigned cap;

	start(&v);
	t = (struct virtio_transport *)v.rng;
	cap = vpci_cap(&v, VPCI_SLOT, 0x11, 0);
	set_entry(&v, 0, 0x40, false);
	set_entry(&v, 1, 0x41, false);
	vpci_config_put(&v, VPCI_SLOT, cap + 2, 2, 0x8000);
	assert_int_equal(get(&v, QUEUE_VECTOR, 2), 0xffff);
	assert_int_equal(message(&v, 1), 0); /* no vector, no wire */
	assert_int_equal(get(&v, 0x1000, 1), 0);
	put(&v, QUEUE_VECTOR, 2, 1);
	assert_int_equal(get(&v, QUEUE_VECTOR, 2), 1);
	assert_int_equal(message(&v, 2), 0x41);
	put(&v, QUEUE_VECTOR, 2, 0);
	assert_int_equal(message(&v, 3), 0x40);
	set_entry(&v, 0, 0x50, false);
	assert_int_equal(message(&v, 4), 0x50);
	/* Masked it waits. */
	set_entry(&v, 0, 0x50, true);
	assert_int_equal(message(&v, 5), 0);
	set_entry(&v, 0, 0x51, false);
	assert_int_equal(v.data, 0x51);
	/* One for both, and one that there is not. */
	put(&v, CONFIG_VECTOR, 2, 0);
	virtio_config_changed(t->vd);
	assert_int_equal(v.data, 0x51);
	put(&v, CONFIG_VECTOR, 2, 2);
	assert_int_equal(get(&v, CONFIG_VECTOR, 2), 0xffff);
	put(&v, STATUS, 1, 0);
	assert_int_equal(get(&v, QUEUE_VECTOR, 2), 0xffff);
	vpci_close(&v);
}

static bool enables(struct vpci *v, unsigned size, uint64_t ring)
{
	bool enabled;

	vpci_open(v);
	vpci_map(v);
	((struct virtio_transport *)v->rng)->vd->offered |= ring;
	take_features(v, VIRTIO_F_VERSION_1 | ring);
	put(v, QUEUE_SEL, 2, 0);
	put(v, QUEUE_SIZE, 2, size);
	put(v, QUEUE_DESC, 8, 0x10000);
	put(v, QUEUE_DRIVER, 8, 0x11000);
	put(v, QUEUE_DEVICE, 8, 0x12000);
	put(v, QUEUE_ENABLE, 2, 1);
	enabled = get(v, QUEUE_ENABLE, 2);
	assert_int_equal(get(v, STATUS, 1) & 0x40, enabled ? 0 : 0x40);
	vpci_close(v);
	return enabled;
}

static void queues_of_other_sizes(void **state)
{
	struct vpci v;

	for (unsigned size = 0; size <= 17; size++) {
		bool power = size && !(size & (size - 1));

		assert_int_equal(enables(&v, size, 0), power && size <= 8);
		assert_int_equal(enables(&v, size, VIRTIO_F_RING_PACKED),
				 size && size <= 8);
	}
	assert_false(enables(&v, 0xffff, 0));
}

static void a_request_without_a_byte(void **state)
{
	struct vpci v;

	start(&v);
	offer(&v, 1, 0);
	put(&v, NOTIFY, 2, 0);
	assert_int_equal(used(&v), 1);
	assert_int_equal(get(&v, STATUS, 1), 15);
	vpci_close(&v);
}

static void a_working_device_is_saved(void **state)
{
	struct vpci *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));

	start(a);
	offer(a, 1, 32);
	put(a, NOTIFY, 2, 0);
	vpci_open(b);
	dt_copy_state(DEV(a->host), DEV(b->host));
	dt_copy_state(DEV(a->rng), DEV(b->rng));
	assert_int_equal(get(b, STATUS, 1), 1 | 2 | 8 | 4);
	offer(b, 2, 32);
	put(b, NOTIFY, 2, 0);
	assert_int_equal(used(b), 2);
	vpci_close(b);
	vpci_close(a);
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_served),
		cmocka_unit_test(features_need_version_1),
		cmocka_unit_test(nothing_before_driver_ok),
		cmocka_unit_test(other_queues_are_not_there),
		cmocka_unit_test(a_bad_ring_needs_a_reset),
		cmocka_unit_test(a_window_in_configuration_space),
		cmocka_unit_test(registers_at_any_width),
		cmocka_unit_test(notified_at_any_width),
		cmocka_unit_test(interrupts_without_msix),
		cmocka_unit_test(a_changed_configuration_counts_up),
		cmocka_unit_test(it_is_a_modern_device_only),
		cmocka_unit_test(vectors_change_while_it_works),
		cmocka_unit_test(queues_of_other_sizes),
		cmocka_unit_test(a_request_without_a_byte),
		cmocka_unit_test(a_working_device_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
