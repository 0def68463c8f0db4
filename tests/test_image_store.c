/*
 * test_image_store.c - the store, guests' directories, seeds, checksums: each
 * in a home of its own.
 */
#include "test.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/block.h"
#include "image/fetch.h"
#include "image/home.h"
#include "image/import.h"
#include "image/instance.h"
#include "image/seed.h"
#include "image/store.h"
#include "image/work.h"

/* sha256sum of "content". */
#define CONTENT_SHA \
	"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"

struct bench {
	char dir[64];
	struct store *s;
	struct progress quiet;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct err err = { "" };

	strcpy(b->dir, "/tmp/hostel-store-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	setenv("HOSTEL_HOME", b->dir, 1);
	progress_init(&b->quiet, NULL);
	if (store_open(&b->s, &err))
		fail_msg("%s", err.msg);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	store_close(b->s);
	home_remove_tree(b->dir);
	free(b);
	return 0;
}

static void write_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static void add(struct bench *b, const char *name, const char *content)
{
	struct image image = { .format = "raw", .user = "debian" };
	char dir[PATH_MAX], file[PATH_MAX];
	struct err err = { "" };

	strcpy(image.name, name);
	assert_int_equal(store_temp(b->s, dir, &err), 0);
	home_path(file, NULL, "%s/x", dir);
	write_file(file, content, strlen(content));
	if (store_add(b->s, &image, file, &b->quiet, &err))
		fail_msg("%s", err.msg);
	store_drop_temp(b->s);
	assert_int_equal(access(dir, F_OK), -1);
}

static bool unused(const char *sha256, void *opaque)
{
	return false;
}

static bool used(const char *sha256, void *opaque)
{
	return true;
}

static int blobs(struct bench *b)
{
	char path[PATH_MAX];

	home_path(path, NULL, "%s/images/blobs/" CONTENT_SHA ".raw", b->dir);
	return !access(path, F_OK);
}

static void an_image_is_found_again(void **state)
{
	struct bench *b = *state;
	struct image image;
	struct err err;

	add(b, "debian:12", "content");
	assert_int_equal(store_find(b->s, "debian:12", &image, &err), 0);
	assert_string_equal(image.sha256, CONTENT_SHA);
	assert_string_equal(image.user, "debian");
	assert_int_equal(image.file_size, 7);
	assert_int_equal(store_verify(b->s, &image, &b->quiet, &err), 0);
	assert_int_equal(store_find(b->s, "debian:13", &image, &err), -ENOENT);
}

static void a_damaged_blob_is_found_out(void **state)
{
	struct bench *b = *state;
	struct image image;
	char path[PATH_MAX];
	struct err err;

	add(b, "a", "content");
	assert_int_equal(store_find(b->s, "a", &image, &err), 0);
	assert_int_equal(store_blob(b->s, &image, path, &err), 0);
	chmod(path, 0600);
	write_file(path, "c0ntent", 7);
	assert_int_equal(store_verify(b->s, &image, &b->quiet, &err), -EBADMSG);
}

static void names_share_a_blob(void **state)
{
	struct bench *b = *state;
	struct image *images;
	unsigned count;
	struct err err;

	add(b, "b", "content");
	add(b, "a:1", "content");
	assert_int_equal(store_list(b->s, &images, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(images[0].name, "a:1");
	assert_string_equal(images[1].sha256, images[0].sha256);
	free(images);
	assert_int_equal(store_remove(b->s, "b", unused, NULL, &err), 0);
	assert_true(blobs(b));
	assert_int_equal(store_remove(b->s, "a:1", unused, NULL, &err), 0);
	assert_false(blobs(b));
	assert_int_equal(store_remove(b->s, "a:1", unused, NULL, &err),
			 -ENOENT);
}

static void a_blob_in_use_outlives_its_name(void **state)
{
	struct bench *b = *state;
	struct err err;

	add(b, "a", "content");
	assert_int_equal(store_remove(b->s, "a", used, NULL, &err), 0);
	assert_true(blobs(b));
	store_collect(b->s, unused, NULL);
	assert_false(blobs(b));
}

static void interrupted_work_is_swept(void **state)
{
	struct bench *b = *state;
	char held[PATH_MAX], left[PATH_MAX];
	struct store *other;
	struct err err;

	assert_int_equal(store_temp(b->s, held, &err), 0);
	home_path(left, NULL, "%s/images/tmp/left", b->dir);
	assert_int_equal(mkdir(left, 0700), 0);
	assert_int_equal(store_open(&other, &err), 0);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(held, F_OK), 0);
	store_close(other);
}

static int work_that_lasts(void *opaque, struct err *err)
{
	struct bench *b = opaque;
	char dir[PATH_MAX];

	assert_int_equal(store_temp(b->s, dir, err), 0);
	if (fork())
		pause();
	/* As programs that it starts would: there longer than it is. */
	execlp("sleep", "sleep", "60", NULL);
	return 0;
}

static void work_ended(void *opaque)
{
	struct bench *b = opaque;

	store_sweep(b->s);
}

static int work_files(struct bench *b)
{
	char path[PATH_MAX];
	struct stat st;

	home_path(path, NULL, "%s/images/tmp", b->dir);
	assert_int_equal(stat(path, &st), 0);
	return (int)st.st_nlink - 2;
}

static void ended_work_leaves_nothing(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct bench *b = *state;
	int status;

	for (size_t i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(work_run(work_that_lasts, work_ended, b, NULL));
		while (!work_files(b))
			usleep(1000);
		usleep(50000);
		kill(pid, signals[i]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_int_equal(work_files(b), 0);
	}
}

static int work_that_fails(void *opaque, struct err *err)
{
	return err_set(err, ENOSPC, "too little of %s", "it");
}

static int work_that_dies(void *opaque, struct err *err)
{
	raise(SIGKILL);
	return 0;
}

static void work_says_what_went_wrong(void **state)
{
	struct err err = { "" };

	assert_int_equal(work_run(work_that_fails, work_ended, *state, &err),
			 -ENOSPC);
	assert_string_equal(err.msg, "too little of it");
	assert_int_equal(work_run(work_that_dies, work_ended, *state, &err),
			 -EIO);
	assert_non_null(strstr(err.msg, "signal 9"));
}

static void names_of_images(void **state)
{
	assert_true(store_name_ok("debian:12"));
	assert_true(store_name_ok("debian-12.generic_x"));
	assert_false(store_name_ok(""));
	assert_false(store_name_ok("../etc"));
	assert_false(store_name_ok("a/b"));
	assert_false(store_name_ok("a:"));
	assert_false(store_name_ok("a:b:c"));
	assert_false(store_name_ok(".a"));
	assert_false(store_name_ok("-a"));
}

/* A name's file is a person's to edit, and must not lead elsewhere. */
static void a_name_file_that_lies(void **state)
{
	static const char text[] = "{\"sha256\": \"../../../etc/shadow\", "
				   "\"format\": \"raw\"}";
	struct bench *b = *state;
	char path[PATH_MAX];
	struct image image;
	struct err err;

	home_path(path, NULL, "%s/images/names/x.json", b->dir);
	write_file(path, text, strlen(text));
	assert_int_equal(store_find(b->s, "x", &image, &err), -EBADMSG);
	write_file(path, "[", 1);
	assert_int_equal(store_find(b->s, "x", &image, &err), -EBADMSG);
}

/* --- Guests --------------------------------------------------------------- */

static void make_guest(const char *name, struct instance *in)
{
	struct err err = { "" };

	assert_int_equal(instance_create(in, name, &err), 0);
	strcpy(in->image, "debian:12");
	strcpy(in->sha256, CONTENT_SHA);
	in->options = json_pack("{s:s}", "memory", "1G");
	assert_int_equal(instance_save(in, &err), 0);
}

static void a_guest_is_loaded_as_it_was_saved(void **state)
{
	struct instance in, out;
	struct err err;

	make_guest("web", &in);
	assert_int_equal(instance_load(&out, "web", &err), 0);
	assert_string_equal(out.image, "debian:12");
	assert_string_equal(
		json_string_value(json_object_get(out.options, "memory")),
		"1G");
	instance_free(&out);
	instance_free(&in);
	assert_int_equal(instance_load(&out, "mail", &err), -ENOENT);
	assert_true(instance_uses(CONTENT_SHA, NULL));
	assert_false(instance_uses("00", NULL));
}

static void a_running_guest_is_nobody_elses(void **state)
{
	struct instance in, other;
	unsigned port = 0;
	struct err err;

	make_guest("web", &in);
	assert_true(instance_running("web"));
	assert_int_equal(instance_load(&other, "web", &err), 0);
	assert_int_equal(instance_lock(&other, &err), -EBUSY);
	instance_free(&other);
	assert_int_equal(instance_set_running(&in, 2222, &err), 0);
	assert_int_equal(instance_running_ssh("web", &port, &err), 0);
	assert_int_equal(port, 2222);
	assert_int_equal(instance_remove("web", &err), -EBUSY);
	instance_free(&in);
	assert_int_equal(instance_running_ssh("web", &port, &err), -ENOENT);
	assert_int_equal(instance_remove("web", &err), 0);
	assert_int_equal(instance_remove("web", &err), -ENOENT);
}

static void names_of_guests(void **state)
{
	char name[INSTANCE_NAME_MAX + 1];

	instance_default_name("debian:12", name);
	assert_string_equal(name, "debian-12");
	assert_true(instance_name_ok(name));
	assert_false(instance_name_ok("../x"));
	assert_false(instance_name_ok(""));
	assert_false(instance_name_ok("-x"));
	assert_false(instance_name_ok("a.b"));
}

/* --- Seeds, lists of checksums, foreign images ---------------------------- */

static char *read_seed(const char *path, const char *name)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char *text = calloc(1, 4096);

	archive_read_support_format_iso9660(a);
	assert_int_equal(archive_read_open_filename(a, path, 2048), ARCHIVE_OK);
	while (archive_read_next_header(a, &e) == ARCHIVE_OK)
		if (!strcmp(archive_entry_pathname(e), name))
			archive_read_data(a, text, 4095);
	archive_read_free(a);
	return text;
}

static void a_seed_says_what_it_should(void **state)
{
	struct bench *b = *state;
	const char *keys[] = { "ssh-ed25519 AAAA a \"b\"\n", "ssh-rsa BBBB" };
	struct seed seed = { .name = "web",
			     .instance_id = "web-1",
			     .user_data = "#!/bin/sh\n",
			     .keys = keys,
			     .key_count = 2 };
	char path[PATH_MAX], label[32];
	struct err err = { "" };
	char *text;
	int fd;

	home_path(path, NULL, "%s/seed.iso", b->dir);
	if (seed_write(path, &seed, &err))
		fail_msg("%s", err.msg);
	text = read_seed(path, "meta-data");
	assert_string_equal(text, "instance-id: web-1\nlocal-hostname: web\n"
				  "public-keys:\n"
				  "  - \"ssh-ed25519 AAAA a b\"\n"
				  "  - \"ssh-rsa BBBB\"\n");
	free(text);
	text = read_seed(path, "user-data");
	assert_string_equal(text, "#!/bin/sh\n");
	free(text);
	/* ECMA-119, 8.4.7: the volume's label. */
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, label, 32, 16 * 2048 + 40), 32);
	close(fd);
	assert_memory_equal(label, "CIDATA", 6);
}

static void sums_are_found_by_whole_names(void **state)
{
	static const char list[] = "aabb  other.qcow2\n"
				   "CCDD *a.qcow2\n"
				   "eeff  a.qcow2.old\n"
				   "0011  b.qcow2";
	char hex[8];

	assert_true(fetch_find_sum(list, "a.qcow2", 4, hex));
	assert_string_equal(hex, "ccdd");
	assert_true(fetch_find_sum(list, "b.qcow2", 4, hex));
	assert_string_equal(hex, "0011");
	assert_false(fetch_find_sum(list, "qcow2", 4, hex));
	assert_false(fetch_find_sum(list, "a.qcow2", 6, hex));
	assert_false(fetch_find_sum("", "a", 4, hex));
}

static int probe(struct bench *b, const uint8_t *head, struct image *image)
{
	char path[PATH_MAX];
	struct err err;

	home_path(path, NULL, "%s/foreign", b->dir);
	write_file(path, head, 512);
	return import_probe(path, image, &err);
}

static void images_that_name_other_files_are_refused(void **state)
{
	uint8_t head[512] = { 'Q', 'F', 'I', 0xfb, 0, 0, 0, 3 };
	struct bench *b = *state;
	struct image image = { .format = "" };

	head[29] = 0x10; /* 1 MiB */
	assert_int_equal(probe(b, head, &image), 0);
	assert_string_equal(image.format, "qcow2");
	assert_int_equal(image.disk_size, 1 << 20);
	head[15] = 200; /* a backing file */
	assert_int_equal(probe(b, head, &image), -EINVAL);
	head[15] = 0;
	head[79] = 4; /* its data in another file */
	assert_int_equal(probe(b, head, &image), -EINVAL);
	head[79] = 0;
	head[35] = 1; /* encrypted */
	assert_int_equal(probe(b, head, &image), -ENOTSUP);
}

static void raw_images_have_a_boot_sector(void **state)
{
	uint8_t head[512] = { 0 };
	struct image image = { .format = "" };

	assert_int_equal(probe(*state, head, &image), -EINVAL);
	head[510] = 0x55;
	head[511] = 0xaa;
	assert_int_equal(probe(*state, head, &image), 0);
	assert_string_equal(image.format, "raw");
}

/* --- Packed ones ---------------------------------------------------------- */

#define PACKED_SIZE (1 << 20)

/* A disk of which most is zero, packed in memory as a filter and a format do.
 */
static void put_packed(struct bench *b, const char *name, const char *filter,
		       const char *tar_name, char path[PATH_MAX])
{
	uint8_t *disk = calloc(1, PACKED_SIZE);
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();

	disk[510] = 0x55;
	disk[511] = 0xaa;
	srand(1);
	for (size_t i = 0; i < PACKED_SIZE / 4; i++)
		disk[PACKED_SIZE / 2 + i] = (uint8_t)rand();
	memcpy(disk + PACKED_SIZE / 2 - 3, "middle", 6);
	home_path(path, NULL, "%s/%s", b->dir, name);
	if (filter)
		assert_int_equal(archive_write_add_filter_by_name(a, filter),
				 0);
	assert_int_equal(tar_name ? archive_write_set_format_ustar(a)
				  : archive_write_set_format_raw(a),
			 0);
	assert_int_equal(archive_write_open_filename(a, path), 0);
	archive_entry_set_pathname(e, tar_name ? tar_name : "x");
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, PACKED_SIZE);
	assert_int_equal(archive_write_header(a, e), 0);
	assert_int_equal(archive_write_data(a, disk, PACKED_SIZE), PACKED_SIZE);
	archive_entry_free(e);
	assert_int_equal(archive_write_free(a), 0);
	free(disk);
}

static int take(struct bench *b, const char *path, struct image *image,
		struct err *err)
{
	char dir[PATH_MAX], out[PATH_MAX];
	int rc;

	assert_int_equal(store_temp(b->s, dir, err), 0);
	rc = import_take(path, false, dir, out, image, &b->quiet, err);
	if (!rc && !strcmp(image->format, "raw")) {
		char text[7] = "";
		int fd = open(out, O_RDONLY);

		assert_int_equal(pread(fd, text, 6, PACKED_SIZE / 2 - 3), 6);
		assert_string_equal(text, "middle");
		close(fd);
	}
	store_drop_temp(b->s);
	return rc;
}

static void packed_images_are_unpacked(void **state)
{
	static const struct {
		const char *filter, *tar_name;
	} ways[] = {
		{ "gzip", NULL },
		{ "bzip2", NULL },
		{ "xz", NULL },
		{ "zstd", NULL },
		{ "lz4", NULL },
		{ NULL, "a.raw" },
		{ "gzip", "../../x/a.img" },
	};
	struct bench *b = *state;
	char path[PATH_MAX];
	struct err err = { "" };

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct image image = { .format = "" };

		put_packed(b, "packed", ways[i].filter, ways[i].tar_name, path);
		if (take(b, path, &image, &err))
			fail_msg("%zu: %s", i, err.msg);
		assert_string_equal(image.format, "raw");
		assert_int_equal(image.disk_size, PACKED_SIZE);
	}
}

static void packed_images_that_are_cut_off_are_refused(void **state)
{
	static const char *const filters[] = { "gzip", "bzip2", "xz", "zstd",
					       "lz4" };
	struct bench *b = *state;
	struct image image = { .format = "" };
	char path[PATH_MAX];
	struct stat st;
	struct err err;

	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		put_packed(b, "packed", filters[i], NULL, path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(truncate(path, st.st_size / 2), 0);
		if (take(b, path, &image, &err) != -EBADMSG)
			fail_msg("%s: %s", filters[i], err.msg);
		assert_non_null(strstr(err.msg, "packed"));
	}
}

static void an_archive_without_a_disk_is_refused(void **state)
{
	struct bench *b = *state;
	struct image image = { .format = "" };
	char path[PATH_MAX];
	struct err err;

	put_packed(b, "packed", "xz", "README", path);
	assert_int_equal(take(b, path, &image, &err), -ENOENT);
	assert_non_null(strstr(err.msg, ".qcow2"));
}

/* copy_file_range(2) refuses that between some. */
static void images_come_from_other_file_systems(void **state)
{
	char path[] = "/dev/shm/hostel-import-XXXXXX";
	struct bench *b = *state;
	struct image image = { .format = "" };
	struct err err = { "" };
	int fd = mkstemp(path);

	if (fd < 0)
		skip();
	assert_int_equal(ftruncate(fd, PACKED_SIZE), 0);
	assert_int_equal(pwrite(fd, "\x55\xaa", 2, 510), 2);
	assert_int_equal(pwrite(fd, "middle", 6, PACKED_SIZE / 2 - 3), 6);
	close(fd);
	if (take(b, path, &image, &err))
		fail_msg("%s", err.msg);
	unlink(path);
}

static void vmdk_images_become_qcow2(void **state)
{
	static const char *const variants[] = { "sparse", "stream", "flat" };
	struct bench *b = *state;
	char path[PATH_MAX];
	struct err err = { "" };

	for (size_t i = 0; i < 3; i++) {
		struct block_create how = { .path = path,
					    .format = "vmdk",
					    .variant = variants[i],
					    .size = PACKED_SIZE };
		struct image image = { .format = "" };

		home_path(path, NULL, "%s/%zu.vmdk", b->dir, i);
		if (block_create(&how, &err) || take(b, path, &image, &err))
			fail_msg("%s: %s", variants[i], err.msg);
		assert_string_equal(image.format, "qcow2");
		assert_int_equal(image.disk_size, PACKED_SIZE);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_image_is_found_again),
		T(a_damaged_blob_is_found_out),
		T(names_share_a_blob),
		T(a_blob_in_use_outlives_its_name),
		T(interrupted_work_is_swept),
		T(ended_work_leaves_nothing),
		T(work_says_what_went_wrong),
		T(names_of_images),
		T(a_name_file_that_lies),
		T(a_guest_is_loaded_as_it_was_saved),
		T(a_running_guest_is_nobody_elses),
		T(names_of_guests),
		T(a_seed_says_what_it_should),
		T(sums_are_found_by_whole_names),
		T(images_that_name_other_files_are_refused),
		T(raw_images_have_a_boot_sector),
		T(packed_images_are_unpacked),
		T(packed_images_that_are_cut_off_are_refused),
		T(an_archive_without_a_disk_is_refused),
		T(images_come_from_other_file_systems),
		T(vmdk_images_become_qcow2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
