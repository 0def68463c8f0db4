#include "machine/nvram.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/boot/boot.h"

#define NVRAM_UNIT 4096u

/* --- Names ---------------------------------------------------------------- */

/* OVMF_CODE_4M.secboot.fd has OVMF_VARS_4M.fd; false: no such name. */
static bool nvram_template(const char *code, char out[PATH_MAX])
{
	const char *base = strrchr(code, '/');
	const char *at = strstr(base ? base : code, "CODE");
	char *variant;

	if (!at || strlen(code) >= PATH_MAX)
		return false;
	strcpy(out, code);
	memcpy(out + (at - code), "VARS", 4);
	variant = strstr(out + (at - code), ".secboot");
	if (access(out, R_OK) && variant)
		memmove(variant, variant + 8, strlen(variant + 8) + 1);
	return !access(out, R_OK);
}

/* Each directory of the path that is missing. */
static void nvram_make_dirs(char *path)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
}

/* Where a named guest's variables are; false: nowhere. */
static bool nvram_default(const struct vm_config *c, char out[PATH_MAX])
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");
	int n;

	if (!c->name || !*c->name || strchr(c->name, '/') || c->name[0] == '.')
		return false;
	if (geteuid() == 0)
		n = snprintf(out, PATH_MAX, "/var/lib/hostel/%s.nvram",
			     c->name);
	else if (state && state[0] == '/')
		n = snprintf(out, PATH_MAX, "%s/hostel/%s.nvram", state,
			     c->name);
	else if (home && home[0] == '/')
		n = snprintf(out, PATH_MAX, "%s/.local/state/hostel/%s.nvram",
			     home, c->name);
	else
		return false;
	if (n >= PATH_MAX)
		return false;
	nvram_make_dirs(out);
	return true;
}

/* --- Files ---------------------------------------------------------------- */

static int nvram_fail(const char *path, const char *what, struct err *err)
{
	return err_set(err, errno, "cannot %s NVRAM %s: %s", what, path,
		       strerror(errno));
}

/* The template becomes the guest's: all of it, or no file. */
static int nvram_create(const char *path, const struct boot_blob *b,
			struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint64_t at = 0;

	if (fd < 0)
		return nvram_fail(path, "make", err);
	while (at < b->size) {
		ssize_t n = write(fd, b->data + at, b->size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			nvram_fail(path, "write", err);
			close(fd);
			unlink(path);
			return -EIO;
		}
		at += (uint64_t)n;
	}
	return fd;
}

static int nvram_check(const char *path, uint64_t size, uint64_t room,
		       struct err *err)
{
	if (!size || size % NVRAM_UNIT || size > room)
		return err_set(err, EINVAL,
			       "NVRAM %s does not belong to this firmware: it "
			       "has %llu bytes",
			       path, (unsigned long long)size);
	return 0;
}

static int nvram_read(struct nvram *n, uint64_t size, struct err *err)
{
	n->data = malloc(size);
	if (!n->data)
		return err_set(err, ENOMEM, "out of memory");
	if (pread(n->fd, n->data, size, 0) != (ssize_t)size)
		return nvram_fail(n->name, "read", err);
	n->size = (uint32_t)size;
	return 0;
}

/* Takes over fd. */
static int nvram_use(struct nvram *n, int fd, const struct boot_blob *fresh,
		     uint64_t room, struct err *err)
{
	struct stat st;
	int ret;

	n->fd = fd;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return err_set(err, EBUSY,
			       "NVRAM %s is in use by another guest; give "
			       "this one a file of its own with --nvram",
			       n->name);
	if (fstat(fd, &st))
		return nvram_fail(n->name, "look at", err);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "NVRAM %s is not a regular file",
			       n->name);
	ret = nvram_check(n->name, (uint64_t)st.st_size, room, err);
	if (ret == 0 && fresh->data && (uint64_t)st.st_size != fresh->size)
		return err_set(err, EINVAL,
			       "NVRAM %s does not belong to this firmware: it "
			       "has %llu bytes, not %llu as %s",
			       n->name, (unsigned long long)st.st_size,
			       (unsigned long long)fresh->size, fresh->name);
	return ret ? ret : nvram_read(n, (uint64_t)st.st_size, err);
}

static int nvram_open_file(struct nvram *n, const char *path,
			   const struct boot_blob *fresh, uint64_t room,
			   struct err *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	n->name = strdup(path);
	if (!n->name)
		return err_set(err, ENOMEM, "out of memory");
	if (fd < 0 && errno != ENOENT)
		return nvram_fail(path, "open", err);
	if (fd < 0 && !fresh->data)
		return err_set(err, ENOENT,
			       "NVRAM %s does not exist, and this firmware "
			       "has no OVMF_VARS file to make it from",
			       path);
	if (fd < 0)
		fd = nvram_create(path, fresh, err);
	return fd < 0 ? fd : nvram_use(n, fd, fresh, room, err);
}

/* In memory only: nobody said where to keep them. */
static int nvram_volatile(struct nvram *n, const struct boot_blob *fresh,
			  struct err *err)
{
	if (!fresh->data)
		return 0;
	n->data = malloc(fresh->size);
	n->name = strdup(fresh->name);
	if (!n->data || !n->name)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(n->data, fresh->data, fresh->size);
	n->size = (uint32_t)fresh->size;
	return 0;
}

int nvram_open(struct nvram *n, const struct vm_config *c, const char *code,
	       uint64_t room, struct err *err)
{
	struct boot_blob fresh = { 0 };
	char source[PATH_MAX], path[PATH_MAX];
	int ret = 0;

	*n = (struct nvram){ .fd = -1 };
	if (nvram_template(code, source))
		ret = boot_blob_open(&fresh, source, "NVRAM", err);
	if (ret == 0 && fresh.data)
		ret = nvram_check(source, fresh.size, room, err);
	if (ret == 0 && c->nvram)
		ret = nvram_open_file(n, c->nvram, &fresh, room, err);
	else if (ret == 0 && fresh.data && nvram_default(c, path))
		ret = nvram_open_file(n, path, &fresh, room, err);
	else if (ret == 0)
		ret = nvram_volatile(n, &fresh, err);
	boot_blob_close(&fresh);
	return ret;
}

void nvram_close(struct nvram *n)
{
	if (n->fd >= 0)
		close(n->fd);
	free(n->data);
	free(n->name);
	*n = (struct nvram){ .fd = -1 };
}
