#include "image/home.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOME_FTW_FDS 16

int home_path(char out[PATH_MAX], struct err *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, PATH_MAX, fmt, ap);
	va_end(ap);
	return n < PATH_MAX ? 0
			    : err_set(err, ENAMETOOLONG,
				      "the path is too long: %.100s...", out);
}

static int home_root(char out[PATH_MAX], struct err *err)
{
	const char *dir = getenv("HOSTEL_HOME");

	if (dir && dir[0] == '/')
		return home_path(out, err, "%s", dir);
	if (dir && dir[0])
		return err_set(err, EINVAL,
			       "HOSTEL_HOME must be an absolute path");
	if (!geteuid())
		return home_path(out, err, "/var/lib/hostel");
	dir = getenv("XDG_DATA_HOME");
	if (dir && dir[0] == '/')
		return home_path(out, err, "%s/hostel", dir);
	dir = getenv("HOME");
	if (!dir || dir[0] != '/')
		return err_set(err, ENOENT,
			       "HOME is not set: set it, or HOSTEL_HOME");
	return home_path(out, err, "%s/.local/share/hostel", dir);
}

static int home_make(char *path, struct err *err)
{
	for (char *at = path + 1;; at++) {
		char kept = *at;

		if (kept != '/' && kept)
			continue;
		*at = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return err_set(err, errno, "cannot make %s: %s", path,
				       strerror(errno));
		*at = kept;
		if (!kept)
			return 0;
	}
}

int home_dir(const char *sub, char out[PATH_MAX], struct err *err)
{
	char root[PATH_MAX];
	int rc = home_root(root, err);

	if (!rc)
		rc = home_path(out, err, "%s/%s", root, sub);
	return rc ? rc : home_make(out, err);
}

static int home_write_fd(int fd, const void *data, uint64_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (uint64_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

int home_sync_dir(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd, rc;

	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

int home_write(const char *path, const void *data, uint64_t len, unsigned mode,
	       struct err *err)
{
	char temp[PATH_MAX];
	int fd, rc = home_path(temp, err, "%s.XXXXXX", path);

	if (rc)
		return rc;
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "cannot make %s: %s", temp,
			       strerror(errno));
	rc = fchmod(fd, mode) ? -errno : home_write_fd(fd, data, len);
	close(fd);
	if (!rc && rename(temp, path))
		rc = -errno;
	if (rc) {
		unlink(temp);
		return err_set(err, -rc, "cannot write %s: %s", path,
			       strerror(-rc));
	}
	home_sync_dir(path);
	return 0;
}

static int home_remove_one(const char *path, const struct stat *st, int type,
			   struct FTW *ftw)
{
	remove(path);
	return 0;
}

/* A guest's directories may be of no right for their owner. */
static int home_open_one(const char *path, const struct stat *st, int type,
			 struct FTW *ftw)
{
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

void home_remove_tree(const char *path)
{
	if (geteuid())
		nftw(path, home_open_one, HOME_FTW_FDS, FTW_PHYS);
	/* Never into what is mounted there: that is somebody else's. */
	nftw(path, home_remove_one, HOME_FTW_FDS,
	     FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
