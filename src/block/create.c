/*
 * create.c - new images: made under another name in the same directory and
 * renamed when they are whole and on stable storage.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "block/lock.h"
#include "block/posix.h"

struct create {
	const struct block_create *how;
	char *dir;  /* where the image will lie */
	char *temp; /* its name until then */
};

static int create_names(struct create *c)
{
	const char *path = c->how->path;
	const char *slash = strrchr(path, '/');
	int n = slash ? (int)(slash - path) + 1 : 0;

	c->dir = n ? strndup(path, (size_t)n) : strdup(".");
	if (asprintf(&c->temp, "%.*s.%s.%d.%llx", n, path, path + n, getpid(),
		     (unsigned long long)clock_mono_ns()) < 0)
		c->temp = NULL;
	return c->dir && c->temp ? 0 : -ENOMEM;
}

/* An image that is there already is replaced only if nobody uses it. */
int block_create_check(const struct block_create *how, struct err *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(how->path, &st))
		return 0;
	if (!how->force)
		return err_set(err, EEXIST,
			       "%s exists already; remove it, or use --force "
			       "to replace it",
			       how->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is not a regular file",
			       how->path);
	fd = open(how->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0; /* whoever may write the directory may replace it */
	rc = lock_image(fd, true, how->path, err);
	close(fd);
	return rc;
}

/* size 0 with a backing file is the backing file's. */
static int create_size(struct block_create *how, struct err *err)
{
	struct block top = { .path = (char *)how->path };
	struct block_open open = { .path = how->path, .no_lock = true };
	int rc;

	if (how->backing) {
		rc = block_open_backing(&top, &open, how->backing,
					how->backing_format, err);
		if (rc < 0)
			return rc;
		if (!how->size)
			how->size = atomic_load(&top.backing->size);
		block_close(top.backing);
	}
	if (!how->size)
		return err_set(err, EINVAL, "%s: a disk needs a size",
			       how->path);
	if (how->size > INT64_MAX || how->size % BLOCK_SECTOR)
		return err_set(err, EINVAL,
			       "%s: a disk's size is a multiple of %d bytes, "
			       "below 8 EiB",
			       how->path, BLOCK_SECTOR);
	return 0;
}

static int create_open(struct create *c, struct block **file, struct err *err)
{
	int fd = open(c->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 && errno == EACCES)
		return err_set(err, EACCES,
			       "cannot create %s: no permission to write in "
			       "the directory %s",
			       c->how->path, c->dir);
	if (fd < 0)
		return err_set(err, errno, "cannot create %s: %s", c->how->path,
			       strerror(errno));
	return posix_adopt(file, fd, c->how->path, err);
}

static int create_rename(struct create *c, struct err *err)
{
	unsigned flags = c->how->force ? 0 : RENAME_NOREPLACE;
	int rc = renameat2(AT_FDCWD, c->temp, AT_FDCWD, c->how->path, flags);
	int dir;

	if (rc && errno == EINVAL && flags) /* a file system without it */
		rc = rename(c->temp, c->how->path);
	if (rc)
		return err_set(err, errno, "cannot create %s: %s", c->how->path,
			       strerror(errno));
	dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		fsync(dir);
		close(dir);
	}
	return 0;
}

static int create_image(struct create *c, const struct block_format *format,
			struct err *err)
{
	struct block *file = NULL;
	int rc = create_open(c, &file, err);

	if (rc == 0) {
		rc = format->create(file, c->how, err);
		if (rc < 0)
			err_prefix(err, "cannot create %s", c->how->path);
	}
	if (rc == 0) {
		rc = block_flush(file);
		if (rc < 0)
			err_set(err, -rc, "cannot create %s: %s", c->how->path,
				strerror(-rc));
	}
	block_close(file);
	return rc ? rc : create_rename(c, err);
}

int block_create(const struct block_create *asked, struct err *err)
{
	struct block_create how = *asked;
	struct create c = { .how = &how };
	const char *name = how.format ? how.format : "raw";
	const struct block_format *format = block_format_find(name);
	int rc;

	if (!format || !format->create)
		return err_set(err, EINVAL,
			       "%s: there is no disk format called '%s'",
			       how.path, name);
	rc = block_create_check(&how, err);
	if (rc == 0)
		rc = create_size(&how, err);
	if (rc == 0 && create_names(&c))
		rc = err_set(err, ENOMEM, "out of memory");
	if (rc == 0) {
		rc = create_image(&c, format, err);
		if (rc < 0)
			unlink(c.temp);
	}
	free(c.dir);
	free(c.temp);
	return rc;
}
