/*
 * fuzz_9p.c - 9P requests of a guest that lies: nothing may crash, hang, or
 * touch what lies outside of the directory.
 *
 * An input is messages, each behind its size.  Beside the directory lies a
 * file that must stay as it is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/p9_impl.h"
#include "fuzz.h"

static struct p9_fs fuzz_fs;
static char fuzz_top[64];

static void fuzz_cleanup(void)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -rf %s", fuzz_top,
		 fuzz_top);
	if (system(cmd))
		_exit(1);
}

static void fuzz_path(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", fuzz_top, name);
}

static void fuzz_init(void)
{
	char path[128];
	FILE *f;

	snprintf(fuzz_top, sizeof(fuzz_top), "/tmp/hostel-fuzz-9p.%d",
		 getpid());
	mkdir(fuzz_top, 0700);
	atexit(fuzz_cleanup);
	fuzz_path(path, "out");
	f = fopen(path, "w");
	fputs("secret", f);
	fclose(f);
	fuzz_path(path, "in");
	mkdir(path, 0700);
	if (p9_fs_init(&fuzz_fs, path, false, NULL))
		abort();
	fuzz_path(path, "in/up");
	if (symlink("..", path))
		abort();
	fuzz_path(path, "in/secret");
	if (symlink("../out", path))
		abort();
	fuzz_path(path, "in/a");
	mkdir(path, 0700);
}

static void fuzz_check_outside(void)
{
	char path[128];
	struct stat st;

	fuzz_path(path, "out");
	if (stat(path, &st) || st.st_size != 6 || (st.st_mode & 0777) == 0)
		abort();
	fuzz_path(path, "a");
	if (!access(path, F_OK))
		abort();
}

/* --- Seeds -----------------------------------------------------------------
 */

static void put_msg(struct p9_msg *m, uint8_t type, uint32_t *start)
{
	*start = m->at;
	p9_put(m, 0, 4);
	p9_put(m, type, 1);
	p9_put(m, 1, 2);
}

static void end_msg(struct p9_msg *m, uint32_t start)
{
	uint32_t end = m->at;

	m->at = start;
	p9_put(m, end - start, 4);
	m->at = end;
}

static void put_session(struct p9_msg *m)
{
	uint32_t s;

	put_msg(m, 100, &s);
	p9_put(m, 65536, 4);
	p9_put_string(m, "9P2000.L");
	end_msg(m, s);
	put_msg(m, 104, &s);
	p9_put(m, 0, 4);
	p9_put(m, P9_NO_FID, 4);
	p9_put_string(m, "root");
	p9_put_string(m, "");
	p9_put(m, 0, 4);
	end_msg(m, s);
}

static void put_walk(struct p9_msg *m, uint32_t to, const char *name)
{
	uint32_t s;

	put_msg(m, 110, &s);
	p9_put(m, 0, 4);
	p9_put(m, to, 4);
	p9_put(m, name ? 1 : 0, 2);
	if (name)
		p9_put_string(m, name);
	end_msg(m, s);
}

/* A request on fid 1 with a name and some numbers. */
static void put_named(struct p9_msg *m, uint8_t type, const char *name)
{
	uint32_t s;

	put_msg(m, type, &s);
	p9_put(m, 1, 4);
	p9_put_string(m, name);
	for (unsigned i = 0; i < 4; i++)
		p9_put(m, i == 1 ? 0100644 : 2, 4);
	end_msg(m, s);
}

static void put_plain(struct p9_msg *m, uint8_t type, uint32_t fid)
{
	uint32_t s;

	put_msg(m, type, &s);
	p9_put(m, fid, 4);
	for (unsigned i = 0; i < 16; i++)
		p9_put(m, i == 2 ? 512 : 0, 4);
	end_msg(m, s);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const uint8_t plain[] = { 8,  12, 22, 24, 26,  40,  50,
					 52, 54, 74, 76, 116, 118, 120 };
	static const char *const names[] = { "a", "up", "secret", NULL };
	static const uint8_t named[] = { 14, 16, 18, 70, 72, 76 };
	struct p9_msg m = { buf, 0, (uint32_t)cap, false };

	if (i >= 12)
		return 0;
	put_session(&m);
	put_walk(&m, 1, names[i % 4]);
	put_named(&m, named[i % 6], i & 1 ? "new" : "..");
	put_plain(&m, 12, 1);
	for (unsigned k = 0; k < sizeof(plain); k++)
		put_plain(&m, plain[(k + i) % sizeof(plain)], 1);
	return m.at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t in[65536], out[P9_MSIZE_MAX];
	size_t at = 0;

	if (!fuzz_top[0])
		fuzz_init();
	while (len - at >= P9_HEAD) {
		uint32_t size = (uint32_t)(data[at] | data[at + 1] << 8);
		uint32_t n;

		if (size < P9_HEAD || size > len - at)
			size = (uint32_t)(len - at < 65535 ? len - at : 65535);
		memcpy(in, data + at, size);
		n = p9_serve(&fuzz_fs, in, size, out, 8192);
		if (n > 8192)
			abort();
		at += size;
	}
	p9_fs_forget(&fuzz_fs);
	fuzz_check_outside();
	return 0;
}
