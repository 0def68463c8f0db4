/* test_bootorder.c - machine/bootorder.c: --boot, and the paths firmware reads.
 */
#include "devtest.h"

#include <errno.h>

#include "dev/pc/fw_cfg.h"
#include "machine/bootorder.h"

static void default_is_disk_cdrom_net(void **state)
{
	enum bootorder_kind order[BOOTORDER_KINDS];
	bool menu = true;

	assert_int_equal(bootorder_parse(NULL, order, &menu, NULL), 0);
	assert_int_equal(order[0], BOOTORDER_DISK);
	assert_int_equal(order[1], BOOTORDER_CDROM);
	assert_int_equal(order[2], BOOTORDER_NET);
	assert_false(menu);
}

static void named_kinds_come_first(void **state)
{
	enum bootorder_kind order[BOOTORDER_KINDS];
	bool menu;

	assert_int_equal(bootorder_parse("net,menu,cdrom", order, &menu, NULL),
			 0);
	assert_int_equal(order[0], BOOTORDER_NET);
	assert_int_equal(order[1], BOOTORDER_CDROM);
	assert_int_equal(order[2], BOOTORDER_DISK);
	assert_true(menu);
}

static void nonsense_is_refused(void **state)
{
	static const char *const bad[] = { "floppy", "disk,disk", "disk,,net",
					   ",disk",  "dis",       "disks" };
	enum bootorder_kind order[BOOTORDER_KINDS];
	struct err err;
	bool menu;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(bootorder_parse(bad[i], order, &menu, &err),
				 -EINVAL);
		assert_non_null(strstr(err.msg, "--boot takes"));
	}
}

/* The file's text, as a guest reads it. */
static void read_file(struct dt *dt, char *out, unsigned n)
{
	mem_port_write(dt->env.mem, 0x510, 2, 0x20);
	for (unsigned i = 0; i < n; i++)
		out[i] = (char)dt_in(dt, 0x511);
}

static void paths_are_in_the_order_wanted(void **state)
{
	static const char want[] =
		"/pci@i0cf8/pci8086,2922@1f,2/drive@1/disk@0\n"
		"/pci@i0cf8/scsi@3/disk@0,0\n"
		"/pci@i0cf8/scsi@1a/disk@0,0\n"
		"/virtio-mmio@00000000fec12000/disk@0,0\n"
		"/pci@i0cf8/ethernet@5/ethernet-phy@0";
	struct bootorder b = { 0 };
	char got[sizeof(want)];
	struct fw_cfg *f;
	struct dt dt;

	dt_init(&dt);
	assert_int_equal(fw_cfg_new(&f, &dt.env, NULL), 0);
	bootorder_virtio_disk(&b, 3);
	bootorder_nic(&b, 5);
	bootorder_ahci(&b, BOOTORDER_CDROM, 0x1f, 2, 1);
	bootorder_virtio_disk(&b, 0x1a);
	bootorder_mmio_disk(&b, 0xfec12000);
	assert_int_equal(bootorder_finish(&b, "cdrom", f, NULL), 0);
	read_file(&dt, got, sizeof(got));
	assert_string_equal(got, want);
	DEV(f)->free(DEV(f));
	dt_exit(&dt);
}

static void too_many_devices_are_left_out(void **state)
{
	struct bootorder b = { 0 };

	for (unsigned i = 0; i < 2 * BOOTORDER_MAX; i++)
		bootorder_ahci(&b, BOOTORDER_DISK, UINT32_MAX, UINT32_MAX,
			       UINT32_MAX);
	assert_int_equal(b.count, BOOTORDER_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_is_disk_cdrom_net),
		cmocka_unit_test(named_kinds_come_first),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(paths_are_in_the_order_wanted),
		cmocka_unit_test(too_many_devices_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
