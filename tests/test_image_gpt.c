/* test_image_gpt.c - image/gpt.c: written, read again, damaged. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/gpt.h"

#define DISK_SIZE (64u << 20)

static const uint8_t disk_uuid[GPT_UUID_LEN] = { 1, 2, 3 };

struct disk {
	int fd;
	struct source s;
};

static int setup(void **state)
{
	struct disk *d = calloc(1, sizeof(*d));

	d->fd = memfd_create("disk", 0);
	assert_false(ftruncate(d->fd, DISK_SIZE));
	d->s = source_of_fd(&d->fd, DISK_SIZE);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct disk *d = *state;

	close(d->fd);
	free(d);
	return 0;
}

static void put(struct disk *d, uint64_t at, uint8_t byte)
{
	assert_int_equal(pwrite(d->fd, &byte, 1, (off_t)at), 1);
}

static void write_two(struct disk *d)
{
	struct gpt_part parts[2] = {
		{ .number = 14, .first = 2048, .last = 4095, .name = "bios" },
		{ .number = 1, .first = 4096, .last = 100000, .name = "root" },
	};
	struct err err;

	gpt_set_type(&parts[0], GPT_TYPE_BIOS_BOOT);
	gpt_set_type(&parts[1], GPT_TYPE_ROOT_X86_64);
	parts[0].uuid[0] = 7;
	assert_int_equal(gpt_write(d->fd, DISK_SIZE, disk_uuid, parts, 2, &err),
			 0);
}

static void expect_two(struct disk *d)
{
	struct gpt_part parts[4];
	struct err err = { "" };
	unsigned count;

	assert_int_equal(gpt_read(&d->s, parts, 4, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(parts[0].number, 1);
	assert_true(gpt_is_type(&parts[0], GPT_TYPE_ROOT_X86_64));
	assert_string_equal(parts[0].name, "root");
	assert_int_equal(parts[1].number, 14);
	assert_int_equal(parts[1].first, 2048);
	assert_int_equal(parts[1].last, 4095);
	assert_int_equal(parts[1].uuid[0], 7);
}

static void what_was_written_is_read(void **state)
{
	write_two(*state);
	expect_two(*state);
}

static void boot_code_is_left_alone(void **state)
{
	struct disk *d = *state;
	uint8_t mbr[GPT_SECTOR];

	put(d, 439, 0xab);
	write_two(d);
	assert_int_equal(source_read(&d->s, mbr, 0, sizeof(mbr)), 0);
	assert_int_equal(mbr[439], 0xab);
	assert_int_equal(mbr[450], 0xee);
	assert_int_equal(mbr[510], 0x55);
	assert_int_equal(mbr[511], 0xaa);
}

static void a_damaged_first_table_is_read_from_the_end(void **state)
{
	struct disk *d = *state;

	write_two(d);
	put(d, GPT_SECTOR + 40, 99); /* header: its sum is wrong now */
	expect_two(d);
	put(d, 2 * GPT_SECTOR + 3, 99);
	expect_two(d);
}

static void two_damaged_tables_are_refused(void **state)
{
	struct disk *d = *state;
	struct gpt_part parts[4];
	struct err err;
	unsigned count;

	write_two(d);
	put(d, GPT_SECTOR, 'X');
	put(d, DISK_SIZE - GPT_SECTOR, 'X');
	assert_int_equal(gpt_read(&d->s, parts, 4, &count, &err), -EINVAL);
	assert_string_equal(err.msg, "the disk has no GPT");
	assert_int_equal(count, 0);
}

static void a_partition_past_the_end_is_left_out(void **state)
{
	struct disk *d = *state;
	struct gpt_part p = { .number = 1, .first = 2048, .last = 1ull << 40 };
	struct gpt_part parts[4];
	struct err err;
	unsigned count;

	gpt_set_type(&p, GPT_TYPE_LINUX);
	gpt_write(d->fd, DISK_SIZE, disk_uuid, &p, 1, &err);
	assert_int_equal(gpt_read(&d->s, parts, 4, &count, &err), 0);
	assert_int_equal(count, 0);
}

static void uuids_are_mixed_endian(void **state)
{
	static const uint8_t want[GPT_UUID_LEN] = {
		3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15
	};
	uint8_t out[GPT_UUID_LEN];

	assert_int_equal(
		gpt_parse_uuid("00010203-0405-0607-0809-0a0b0c0d0e0f", out), 0);
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(gpt_parse_uuid("00010203", out), -EINVAL);
	assert_int_equal(
		gpt_parse_uuid("00010203-0405-0607-0809-0a0b0c0d0e0fx", out),
		-EINVAL);
	assert_int_equal(
		gpt_parse_uuid("0001020g-0405-0607-0809-0a0b0c0d0e0f", out),
		-EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_was_written_is_read),
		T(boot_code_is_left_alone),
		T(a_damaged_first_table_is_read_from_the_end),
		T(two_damaged_tables_are_refused),
		T(a_partition_past_the_end_is_left_out),
		T(uuids_are_mixed_endian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
