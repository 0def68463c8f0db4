/* hub_path.c - where switches of this user are, and who may start them. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/hub.h"

/* A directory that nobody else can have put there or can look into. */
static int hub_make_dir(const char *path, struct err *err)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(err, errno, "cannot make %s: %s", path,
			       strerror(errno));
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) ||
	    st.st_uid != geteuid() || st.st_mode & 022)
		return err_set(err, EPERM,
			       "%s is not a directory of this user's alone",
			       path);
	return 0;
}

static int hub_dir(char *out, size_t size, struct err *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n, rc;

	if (runtime && *runtime == '/')
		n = snprintf(out, size, "%s/hostel", runtime);
	else if (geteuid() == 0)
		n = snprintf(out, size, "/run/hostel");
	else
		n = snprintf(out, size, "/tmp/hostel-%u", geteuid());
	/* Room for "/.switches/", the name and ".lock". */
	if (n < 0 || (size_t)n + 17 + HUB_NAME_MAX > size)
		return err_set(err, ENAMETOOLONG,
			       "the path %s is too long for a socket", out);
	rc = hub_make_dir(out, err);
	strcat(out, "/.switches");
	return rc ? rc : hub_make_dir(out, err);
}

static bool hub_name_ok(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-' &&
		    name[i] != '_')
			return false;
	return len && len <= HUB_NAME_MAX;
}

int hub_path(char path[HUB_PATH_MAX], const char *name, struct err *err)
{
	int rc;

	if (!name || !hub_name_ok(name))
		return err_set(err, EINVAL,
			       "a switch's name is 1 to %d letters, digits, "
			       "'-' or '_'; write switch:NAME",
			       HUB_NAME_MAX);
	rc = hub_dir(path, HUB_PATH_MAX, err);
	if (rc == 0)
		strcat(strcat(path, "/"), name);
	return rc;
}

static int hub_lock_once(const char *file, bool wait)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat held, there;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	/* Who held it before may have removed it: then it locks nothing. */
	if (!fstat(fd, &held) && !stat(file, &there) &&
	    held.st_ino == there.st_ino && held.st_dev == there.st_dev)
		return fd;
	close(fd);
	return -EAGAIN;
}

int hub_lock(const char *path, bool wait, struct err *err)
{
	char file[HUB_PATH_MAX + 8];
	int fd;

	snprintf(file, sizeof(file), "%s.lock", path);
	do
		fd = hub_lock_once(file, wait);
	while (fd == -EINTR || (fd == -EAGAIN && wait));
	return fd < 0 ? err_set(err, -fd, "cannot lock %s: %s", file,
				strerror(-fd))
		      : fd;
}

void hub_remove(const char *path)
{
	char file[HUB_PATH_MAX + 8];

	unlink(path);
	snprintf(file, sizeof(file), "%s.lock", path);
	unlink(file);
}
