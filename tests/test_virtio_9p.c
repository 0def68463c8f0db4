/*
 * test_virtio_9p.c - requests of 9P2000.L: attributes, and walls.
 *
 * A message is made of words: put*() behind its head, then serve().
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "dev/virtio/p9_impl.h"

#define RLERROR     7
#define LOPEN       12
#define LCREATE     14
#define READLINK    22
#define XATTRWALK   30
#define XATTRCREATE 32
#define ATTACH      104
#define WALK        110
#define READ        116
#define WRITE       118
#define CLUNK       120

struct fix {
	struct p9_fs fs;
	char dir[64];
	uint8_t in[P9_MSIZE_MAX], out[P9_MSIZE_MAX];
	struct p9_msg m;
	uint32_t len; /* of the answer */
};

static void begin(struct fix *f, uint8_t type)
{
	f->m = (struct p9_msg){ f->in, 4, sizeof(f->in), false };
	p9_put(&f->m, type, 1);
	p9_put(&f->m, 1, 2);
}

static void put(struct fix *f, uint64_t value, unsigned bytes)
{
	p9_put(&f->m, value, bytes);
}

static void text(struct fix *f, const char *s)
{
	p9_put_string(&f->m, s);
}

/* 0, or the number that is the answer's error. */
static int serve(struct fix *f)
{
	uint32_t len = f->m.at;
	int code;

	f->m.at = 0;
	p9_put(&f->m, len, 4);
	f->len = p9_serve(&f->fs, f->in, len, f->out, sizeof(f->out));
	assert_true(f->len >= P9_HEAD);
	if (f->out[4] != RLERROR)
		return 0;
	memcpy(&code, f->out + P9_HEAD, 4);
	return code;
}

static int walk(struct fix *f, uint32_t to, const char *name)
{
	begin(f, WALK);
	put(f, 0, 4);
	put(f, to, 4);
	put(f, *name != 0, 2);
	if (*name)
		text(f, name);
	return serve(f);
}

static int simple(struct fix *f, uint8_t type, uint32_t fid)
{
	begin(f, type);
	put(f, fid, 4);
	return serve(f);
}

static void path_of(struct fix *f, char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", f->dir, name);
}

static void fix_open(struct fix *f)
{
	char path[128];

	strcpy(f->dir, "/tmp/hostel-9p-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_of(f, path, "file");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	path_of(f, path, "link");
	assert_int_equal(symlink("file", path), 0);
	assert_int_equal(p9_fs_init(&f->fs, f->dir, false, NULL), 0);
	f->fs.msize = P9_MSIZE_MAX;
	begin(f, ATTACH);
	put(f, 0, 4);
	put(f, P9_NO_FID, 4);
	text(f, "");
	text(f, "");
	put(f, 1000, 4);
	assert_int_equal(serve(f), 0);
}

static void fix_close(struct fix *f)
{
	char cmd[128];

	p9_fs_exit(&f->fs);
	assert_int_equal(f->fs.xattrs, 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
}

/* tmpfs has none before Linux 6.6. */
static struct fix *fix_with_attributes(void)
{
	struct fix *f = calloc(1, sizeof(*f));
	char path[128];

	assert_non_null(f);
	fix_open(f);
	path_of(f, path, "file");
	if (setxattr(path, "user.b", "1", 1, 0) == 0)
		return f;
	fix_close(f);
	print_message("no attributes in /tmp\n");
	skip();
	return NULL;
}

static struct fix *fix_new(void)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fix_open(f);
	return f;
}

static int xattr_create(struct fix *f, uint32_t fid, const char *name,
			uint64_t len, uint32_t flags)
{
	begin(f, XATTRCREATE);
	put(f, fid, 4);
	text(f, name);
	put(f, len, 8);
	put(f, flags, 4);
	return serve(f);
}

static int xattr_walk(struct fix *f, uint32_t fid, uint32_t to,
		      const char *name)
{
	begin(f, XATTRWALK);
	put(f, fid, 4);
	put(f, to, 4);
	text(f, name);
	return serve(f);
}

static int file_write(struct fix *f, uint32_t fid, uint64_t at,
		      const char *bytes)
{
	begin(f, WRITE);
	put(f, fid, 4);
	put(f, at, 8);
	put(f, strlen(bytes), 4);
	for (; *bytes; bytes++)
		put(f, (uint8_t)*bytes, 1);
	return serve(f);
}

static int file_read(struct fix *f, uint32_t fid, uint64_t at, uint32_t count)
{
	begin(f, READ);
	put(f, fid, 4);
	put(f, at, 8);
	put(f, count, 4);
	return serve(f);
}

static void an_attribute_comes_back(void **state)
{
	struct fix *f = fix_with_attributes();
	char path[128], buf[16] = "";

	assert_int_equal(walk(f, 1, "file"), 0);
	assert_int_equal(xattr_create(f, 1, "user.a", 5, 0), 0);
	assert_int_equal(file_write(f, 1, 0, "val"), 0);
	assert_int_equal(file_write(f, 1, 3, "ue"), 0);
	path_of(f, path, "file");
	assert_int_equal(getxattr(path, "user.a", buf, sizeof(buf)), 5);
	assert_string_equal(buf, "value");
	assert_int_equal(simple(f, CLUNK, 1), 0);

	assert_int_equal(walk(f, 1, "file"), 0);
	assert_int_equal(xattr_walk(f, 1, 2, "user.a"), 0);
	assert_int_equal(f->out[P9_HEAD], 5);
	assert_int_equal(file_read(f, 2, 2, 100), 0);
	assert_int_equal(f->out[P9_HEAD], 3);
	assert_memory_equal(f->out + P9_HEAD + 4, "lue", 3);
	assert_int_equal(file_read(f, 2, UINT64_MAX, 100), 0);
	assert_int_equal(f->out[P9_HEAD], 0);
	fix_close(f);
}

static void only_users_attributes_are_there(void **state)
{
	static const char *const names[] = { "security.capability", "trusted.a",
					     "system.posix_acl_access", "user",
					     "userx.a" };
	struct fix *f = fix_with_attributes();
	char path[128];

	path_of(f, path, "file");
	setxattr(path, "trusted.a", "1", 1, 0); /* root's alone: may fail */
	assert_int_equal(walk(f, 1, "file"), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(xattr_create(f, 1, names[i], 1, 0),
				 EOPNOTSUPP);
		assert_int_equal(xattr_walk(f, 1, 2, names[i]), EOPNOTSUPP);
	}
	assert_int_equal(xattr_walk(f, 1, 2, ""), 0);
	assert_int_equal(f->out[P9_HEAD], 7); /* "user.b" */
	assert_int_equal(walk(f, 3, "link"), 0);
	assert_int_equal(xattr_walk(f, 3, 4, "user.b"), EOPNOTSUPP);
	fix_close(f);
}

static void attributes_that_lie(void **state)
{
	struct fix *f = fix_new();
	uint32_t id;

	assert_int_equal(walk(f, 1, "file"), 0);
	assert_int_equal(xattr_create(f, 1, "user.a", 1ull << 40, 0), E2BIG);
	assert_int_equal(xattr_create(f, 1, "user.a", 1, 99), EINVAL);
	assert_int_equal(xattr_walk(f, 1, 1, ""), EINVAL);
	assert_int_equal(xattr_create(f, 1, "user.a", 4, 0), 0);
	assert_int_equal(xattr_create(f, 1, "user.a", 4, 0), EINVAL);
	assert_int_equal(file_write(f, 1, 1, "x"), EINVAL);
	assert_int_equal(file_write(f, 1, 0, "12345"), EINVAL);
	assert_int_equal(file_read(f, 1, 0, 4), EBADF);
	/* Memory for values that nobody writes runs out, not the host's. */
	for (id = 10; id < 200; id++) {
		assert_int_equal(walk(f, id, "file"), 0);
		if (xattr_create(f, id, "user.a", 65536, 0))
			break;
	}
	assert_true(id < 200);
	fix_close(f);
}

static void nothing_is_written_where_it_is_read_only(void **state)
{
	struct fix *f = fix_new();

	f->fs.readonly = true;
	assert_int_equal(walk(f, 1, "file"), 0);
	assert_int_equal(xattr_create(f, 1, "user.a", 1, 0), EROFS);
	fix_close(f);
}

static void names_that_lead_out(void **state)
{
	static const char *const names[] = { "..",      ".",      "/",   "a/b",
					     "../file", "link/x", "/etc" };
	struct fix *f = fix_new();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(walk(f, 9, names[i]), ENOENT);
	assert_int_equal(walk(f, 9, "link"), 0); /* the link itself */
	assert_int_equal(simple(f, READLINK, 9), 0);
	fix_close(f);
}

/* What is made is its maker's; what was there stays whose it is. */
static void owners(void **state)
{
	struct fix *f = fix_new();
	struct stat st;
	char path[128];
	static const char *const names[] = { "new", "file" };

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(walk(f, 5, ""), 0);
		begin(f, LCREATE);
		put(f, 5, 4);
		text(f, names[i]);
		put(f, O_RDWR, 4);
		put(f, 04755, 4);
		put(f, 1001, 4);
		assert_int_equal(serve(f), 0);
		assert_int_equal(simple(f, CLUNK, 5), 0);
	}
	path_of(f, path, "file");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, getuid());
	path_of(f, path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07000, 0);
	assert_int_equal(st.st_uid, getuid() ? getuid() : 1000);
	assert_int_equal(st.st_gid, getuid() ? getgid() : 1001);
	fix_close(f);
}

static void walk_state(struct fix *f, struct walk *w)
{
	struct err err;

	assert_true(walk_section(w, "9p", 0, 1));
	p9_fs_walk(&f->fs, w);
	walk_end(w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
}

/* Files that are held stay held, for the same user. */
static void what_a_guest_holds_is_restored(void **state)
{
	struct fix *f = fix_new();
	struct stat st;
	char path[128];
	size_t len;
	char *buf;
	FILE *file = open_memstream(&buf, &len);

	assert_int_equal(walk(f, 1, "file"), 0);
	assert_int_equal(walk(f, 2, ""), 0);
	begin(f, LOPEN);
	put(f, 1, 4);
	put(f, O_RDWR, 4);
	assert_int_equal(serve(f), 0);
	walk_state(f, walk_save_to(file));
	fclose(file);
	p9_fs_forget(&f->fs);
	assert_int_equal(file_write(f, 1, 0, "x"), EBADF);

	walk_state(f, walk_restore_from(buf, len));
	assert_int_equal(file_write(f, 1, 0, "after"), 0);
	path_of(f, path, "file");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 5);
	begin(f, LCREATE);
	put(f, 2, 4);
	text(f, "mine");
	put(f, O_RDWR, 4);
	put(f, 0644, 4);
	put(f, UINT32_MAX, 4);
	assert_int_equal(serve(f), 0);
	path_of(f, path, "mine");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, getuid() ? getuid() : 1000);
	fix_close(f);
	free(buf);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_attribute_comes_back),
		cmocka_unit_test(only_users_attributes_are_there),
		cmocka_unit_test(attributes_that_lie),
		cmocka_unit_test(nothing_is_written_where_it_is_read_only),
		cmocka_unit_test(names_that_lead_out),
		cmocka_unit_test(owners),
		cmocka_unit_test(what_a_guest_holds_is_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
