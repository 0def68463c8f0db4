/* blocktest.c - see blocktest.h. */
#include "blocktest.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char bt_dir[64];
static struct err bt_err;

int bt_setup(void **state)
{
	strcpy(bt_dir, "/tmp/hostel-block.XXXXXX");
	return mkdtemp(bt_dir) ? 0 : -1;
}

int bt_teardown(void **state)
{
	return bt_shell("chmod -R u+w %s; rm -rf %s", bt_dir, bt_dir);
}

const char *bt_path(const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", bt_dir, name);
	return p;
}

struct block *bt_open(const struct block_open *how)
{
	struct block *b = NULL;

	if (block_open(&b, how, &bt_err))
		fail_msg("%s", bt_err.msg);
	return b;
}

const char *bt_open_fails(const struct block_open *how, int code)
{
	struct block *b = NULL;

	strcpy(bt_err.msg, "");
	assert_int_equal(block_open(&b, how, &bt_err), -code);
	assert_null(b);
	assert_string_not_equal(bt_err.msg, "");
	return bt_err.msg;
}

void bt_create(const char *name, const char *format, uint64_t size)
{
	struct block_create how = { .path = bt_path(name),
				    .format = format,
				    .size = size };

	if (block_create(&how, &bt_err))
		fail_msg("%s", bt_err.msg);
}

void bt_assert_bytes(struct block *b, uint64_t offset, size_t length,
		     uint8_t byte)
{
	uint8_t *buf = malloc(length);

	assert_int_equal(block_read(b, buf, offset, length), 0);
	for (size_t i = 0; i < length; i++)
		if (buf[i] != byte)
			fail_msg("byte %zu of %zu at %llu is %02x, not %02x", i,
				 length, (unsigned long long)offset, buf[i],
				 byte);
	free(buf);
}

int bt_fill(struct block *b, uint64_t offset, size_t length, uint8_t byte)
{
	uint8_t *buf = malloc(length);
	int rc;

	memset(buf, byte, length);
	rc = block_write(b, buf, offset, length);
	free(buf);
	return rc;
}

int bt_shell(const char *fmt, ...)
{
	char command[1024];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
