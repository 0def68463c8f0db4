/*
 * test_image_ext4.c - image/ext4.c and image/kernel.c on file systems that
 * mke2fs made, whole and with bytes changed.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/ext4.h"
#include "image/gpt.h"
#include "image/home.h"
#include "image/kernel.h"
#include "image/proc.h"
#include "rng.h"

#define FS_SIZE  (16u << 20)
#define PART_AT  (1u << 20)
#define BIG_SIZE 3000000
#define ROUNDS   300

struct bench {
	char dir[64];
	char file[96];
	int fd;
	struct source s;
};

static void make_tree(const struct bench *b)
{
	static const char script[] =
		"set -eu; cd \"$0\"; mkdir -p t/boot/grub t/many; cd t\n"
		"echo hello >short; ln -s short link; ln -s loop loop\n"
		"ln -s /boot/kernel-1 vmlinuz; echo the-kernel >boot/kernel-1\n"
		"echo the-initrd >boot/initrd-1\n"
		"ln -s ../boot/../short boot/up\n"
		"ln -s /boot/grub/../../boot/grub/../../boot/grub/../../boot/"
		"grub/../../short boot/long\n"
		"i=0; while [ $i -lt 400 ]; do : >many/file-$i; i=$((i+1)); "
		"done; echo found >many/last\n"
		"head -c 3000000 /dev/urandom >big; truncate -s 2000000 hole; "
		"echo end >>hole\n"
		"printf '%s\\n' 'set default=0' \"menuentry 'A' {\" "
		"'  linux /vmlinuz root=LABEL=x console=ttyS0' "
		"'  initrd /boot/initrd-1' '}' \"menuentry 'B' {\" "
		"'  linux /other' '}' >boot/grub/grub.cfg\n"
		"cd ..; mke2fs -q -F -t ext4 -E offset=1048576 -d t disk "
		"16384k";
	const char *argv[] = { "sh", "-c", script, b->dir, NULL };
	struct proc p = { argv, -1, NULL, NULL };
	struct err err = { "" };

	proc_set_path();
	if (proc_run(&p, &err))
		fail_msg("%s", err.msg);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct gpt_part part = { .number = 1,
				 .first = PART_AT / GPT_SECTOR,
				 .last = (PART_AT + FS_SIZE) / GPT_SECTOR - 1 };
	uint64_t size = PART_AT + FS_SIZE + (1u << 20);
	struct err err;

	strcpy(b->dir, "/tmp/hostel-ext4-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->file, sizeof(b->file), "%s/disk", b->dir);
	b->fd = open(b->file, O_RDWR | O_CREAT, 0600);
	assert_false(ftruncate(b->fd, (off_t)size));
	make_tree(b);
	gpt_set_type(&part, GPT_TYPE_LINUX);
	assert_false(gpt_write(b->fd, size, part.uuid, &part, 1, &err));
	b->s = source_of_fd(&b->fd, size);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close(b->fd);
	home_remove_tree(b->dir);
	free(b);
	return 0;
}

static int read_one(struct bench *b, const char *path, uint8_t **data,
		    size_t *len)
{
	struct ext4 *fs;
	struct err err;
	int rc = ext4_open(&fs, &b->s, PART_AT, FS_SIZE, &err);

	if (rc)
		return rc;
	rc = ext4_read_file(fs, path, BIG_SIZE, data, len, &err);
	ext4_close(fs);
	return rc;
}

static void expect(struct bench *b, const char *path, const char *want)
{
	uint8_t *data;
	size_t len;

	assert_int_equal(read_one(b, path, &data, &len), 0);
	assert_string_equal((char *)data, want);
	assert_int_equal(len, strlen(want));
	free(data);
}

static void expect_error(struct bench *b, const char *path, int error)
{
	uint8_t *data;
	size_t len;

	assert_int_equal(read_one(b, path, &data, &len), error);
}

static void files_and_links(void **state)
{
	expect(*state, "/short", "hello\n");
	expect(*state, "short", "hello\n");
	expect(*state, "//boot//kernel-1", "the-kernel\n");
	expect(*state, "/link", "hello\n");
	expect(*state, "/vmlinuz", "the-kernel\n");
	expect(*state, "/boot/up", "hello\n");
	expect(*state, "/boot/long", "hello\n");
	expect(*state, "/many/last", "found\n");
}

static void what_is_not_there(void **state)
{
	expect_error(*state, "/none", -ENOENT);
	expect_error(*state, "/short/none", -ENOTDIR);
	expect_error(*state, "/boot", -EINVAL);
	expect_error(*state, "/loop", -ELOOP);
}

static void big_and_sparse_files(void **state)
{
	struct bench *b = *state;
	char path[96];
	uint8_t *data, *want = malloc(BIG_SIZE);
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/t/big", b->dir);
	f = fopen(path, "r");
	assert_int_equal(fread(want, 1, BIG_SIZE, f), BIG_SIZE);
	fclose(f);
	assert_int_equal(read_one(b, "/big", &data, &len), 0);
	assert_int_equal(len, BIG_SIZE);
	assert_memory_equal(data, want, BIG_SIZE);
	free(data);
	free(want);
	assert_int_equal(read_one(b, "/hole", &data, &len), 0);
	assert_int_equal(len, 2000004);
	assert_int_equal(data[0] | data[1000000] | data[1999999], 0);
	assert_memory_equal(data + 2000000, "end\n", 4);
	free(data);
}

static void the_kernel_of_a_disk(void **state)
{
	struct bench *b = *state;
	struct kernel_entry e;
	struct err err = { "" };
	char path[96], text[32] = "";
	FILE *f;

	assert_int_equal(kernel_extract(&b->s, b->dir, &e, &err), 0);
	assert_string_equal(e.append, "root=LABEL=x console=ttyS0");
	snprintf(path, sizeof(path), "%s/kernel", b->dir);
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "the-kernel\n");
}

/* No crash, no hang, nothing read past its end (sanitizers see that). */
static void damaged_file_systems(void **state)
{
	static const char *const paths[] = { "/big", "/boot/long", "/many/last",
					     "/vmlinuz" };
	struct bench *b = *state;
	struct rng rng = { 12 };
	uint8_t was[4096], now[4096];

	for (unsigned round = 0; round < ROUNDS; round++) {
		/* The metadata lies in the first blocks and at random. */
		uint64_t block = rng_next(&rng) % (round % 2 ? 64 : 4000);
		off_t at = (off_t)(PART_AT + block * 4096);
		uint8_t *data;
		size_t len;

		assert_int_equal(pread(b->fd, was, 4096, at), 4096);
		memcpy(now, was, 4096);
		for (unsigned i = 0; i < 1 + round % 8; i++)
			now[rng_next(&rng) % 4096] = (uint8_t)rng_next(&rng);
		assert_int_equal(pwrite(b->fd, now, 4096, at), 4096);
		for (unsigned i = 0; i < 4; i++)
			if (!read_one(b, paths[i], &data, &len))
				free(data);
		assert_int_equal(pwrite(b->fd, was, 4096, at), 4096);
	}
	files_and_links(state);
}

static int parse(const char *text, struct kernel_entry *e)
{
	struct err err;

	return kernel_parse_grub(text, e, &err);
}

static void the_first_entry_of_grub_cfg(void **state)
{
	struct kernel_entry e;

	assert_int_equal(parse("set default=\"0\"\n"
			       "menuentry 'x' --class y {\n"
			       "\techo 'Loading'\n"
			       "\tlinux\t/boot/vmlinuz-6 root=UUID=1 ro  a=b \n"
			       "\tinitrd\t/boot/initrd-6\n}\n"
			       "menuentry 'y' {\n linux /b\n initrd /c\n}\n",
			       &e),
			 0);
	assert_string_equal(e.linux_path, "/boot/vmlinuz-6");
	assert_string_equal(e.append, "root=UUID=1 ro  a=b");
	assert_string_equal(e.initrd_path, "/boot/initrd-6");
	assert_int_equal(parse("linux /a\n}\ninitrd /of-another\n", &e), 0);
	assert_string_equal(e.initrd_path, "");
}

static void what_only_grub_understands(void **state)
{
	struct kernel_entry e;
	char long_line[4096];

	assert_int_equal(parse("", &e), -ENOENT);
	assert_int_equal(parse("linuxes /a\nlinux\n", &e), -ENOENT);
	assert_int_equal(parse("linux /a root=$x\n", &e), -ENOTSUP);
	assert_int_equal(parse("linux '/a b'\n", &e), -ENOTSUP);
	assert_int_equal(parse("linux /a\ninitrd /b /c\n}\n", &e), -ENOTSUP);
	assert_int_equal(parse("set default=\"2\"\nlinux /a\n", &e), -ENOTSUP);
	assert_int_equal(parse("set default=\"${saved_entry}\"\n", &e),
			 -ENOTSUP);
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = '\0';
	memcpy(long_line, "linux /a ", 9);
	assert_int_not_equal(parse(long_line, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_links),
		cmocka_unit_test(what_is_not_there),
		cmocka_unit_test(big_and_sparse_files),
		cmocka_unit_test(the_kernel_of_a_disk),
		cmocka_unit_test(damaged_file_systems),
		cmocka_unit_test(the_first_entry_of_grub_cfg),
		cmocka_unit_test(what_only_grub_understands),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
