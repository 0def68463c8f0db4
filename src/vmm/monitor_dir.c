#include "vmm/monitor_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/monitor.h"

static const char *const dir_files[] = { "monitor", "config.json", "pid",
					 "lock" };

/* --- Names ---------------------------------------------------------------- */

int monitor_dir_base(char *out, size_t size, struct err *err)
{
	const char *own = getenv("HOSTEL_RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && *own == '/')
		n = snprintf(out, size, "%s", own);
	else if (!geteuid())
		n = snprintf(out, size, "/run/hostel");
	else if (xdg && *xdg == '/')
		n = snprintf(out, size, "%s/hostel", xdg);
	else
		n = snprintf(out, size, "/tmp/hostel-%u", (unsigned)geteuid());
	if (n < 0 || (size_t)n >= size)
		return err_set(err, ENAMETOOLONG,
			       "the directory for guests has too long a name");
	return 0;
}

/* Letters, digits, dot, dash and underscore; no hidden or odd ones. */
static bool dir_name_ok(const char *name)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);

	return len && len <= MONITOR_NAME_MAX && name[0] != '.' &&
	       name[0] != '-' && strspn(name, set) == len;
}

int monitor_dir(const char *name, char *out, size_t size, struct err *err)
{
	size_t used;
	int rc;

	if (!dir_name_ok(name))
		return err_set(err, EINVAL,
			       "'%.80s' cannot be a guest's name: take up to "
			       "%d letters, digits, '.', '-' and '_', a letter "
			       "or digit first",
			       name, MONITOR_NAME_MAX);
	rc = monitor_dir_base(out, size, err);
	if (rc)
		return rc;
	used = strlen(out);
	if (used + strlen(name) + 2 > size)
		return err_set(err, ENAMETOOLONG,
			       "the directory for guests has too long a name");
	snprintf(out + used, size - used, "/%s", name);
	return 0;
}

/* --- Directories ---------------------------------------------------------- */

/*
 * Made if it is not there; refused if somebody else could have put things
 * into it: /tmp is everybody's.
 */
static int dir_make(const char *path, struct err *err)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(err, errno,
			       "cannot make the directory %s: %s; "
			       "HOSTEL_RUNTIME_DIR may name another place",
			       path, strerror(errno));
	if (lstat(path, &st))
		return err_set(err, errno, "cannot use %s: %s", path,
			       strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, EPERM,
			       "%s is not a directory of this user alone; "
			       "remove it",
			       path);
	return 0;
}

static int dir_open(const char *path, struct err *err)
{
	int fd = open(path, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? err_set(err, errno, "cannot open %s: %s", path,
				strerror(errno))
		      : fd;
}

/* 1: ours now; 0: somebody's.  create: O_CREAT, or 0. */
static int dir_lock(int dir, int create, int *lock)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat ours, there;

	*lock = openat(dir, "lock", O_RDWR | create | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (*lock < 0)
		return -errno;
	if (fcntl(*lock, F_OFD_SETLK, &whole)) {
		close(*lock);
		return 0;
	}
	/* It may have been removed by the last owner before we had it. */
	if (!fstat(*lock, &ours) && !fstatat(dir, "lock", &there, 0) &&
	    ours.st_ino == there.st_ino)
		return 1;
	close(*lock);
	return -EAGAIN;
}

static int dir_own_once(struct monitor_dir *d, const char *name,
			struct err *err)
{
	int rc = dir_make(d->path, err);

	if (rc)
		return rc;
	d->dir = dir_open(d->path, err);
	if (d->dir < 0)
		return d->dir == -ENOENT ? -EAGAIN : d->dir;
	rc = dir_lock(d->dir, O_CREAT, &d->lock);
	if (rc == 1)
		return 0;
	close(d->dir);
	if (rc == 0)
		return err_set(err, EBUSY,
			       "a guest named %s is running; take another "
			       "name, or end it: hostel stop %s",
			       name, name);
	if (rc == -EAGAIN || rc == -ENOENT)
		return -EAGAIN;
	return err_set(err, -rc, "cannot lock %s: %s", d->path, strerror(-rc));
}

int monitor_dir_own(struct monitor_dir *d, const char *name, struct err *err)
{
	char base[sizeof(d->path)];
	int rc = monitor_dir(name, d->path, sizeof(d->path), err);

	if (rc == 0)
		rc = monitor_dir_base(base, sizeof(base), err);
	if (rc == 0)
		rc = dir_make(base, err);
	if (rc)
		return rc;
	/* The last owner may be removing it right now. */
	for (unsigned i = 0; i < 100; i++) {
		rc = dir_own_once(d, name, err);
		if (rc != -EAGAIN)
			return rc;
		usleep(1000);
	}
	return err_set(err, EBUSY, "cannot lock %s", d->path);
}

/* The lock goes last: until then nobody else makes anything in there. */
void monitor_dir_drop(struct monitor_dir *d)
{
	for (size_t i = 0; i < sizeof(dir_files) / sizeof(*dir_files); i++)
		unlinkat(d->dir, dir_files[i], 0);
	rmdir(d->path);
	close(d->lock);
	close(d->dir);
}

int monitor_dir_write(struct monitor_dir *d, const char *file, const char *text,
		      struct err *err)
{
	size_t len = strlen(text);
	int fd = openat(d->dir, file,
			O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len;
	int rc = ok ? 0
		    : err_set(err, errno, "cannot write %s/%s: %s", d->path,
			      file, strerror(errno));

	if (fd >= 0)
		close(fd);
	return rc;
}

void monitor_dir_address(int dir, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(out->sun_path, sizeof(out->sun_path),
		 "/proc/self/fd/%d/monitor", dir);
}

/* --- All guests ----------------------------------------------------------- */

/* Is somebody holding the lock?  What nobody holds is removed. */
static bool dir_runs(const char *name)
{
	struct monitor_dir d;
	int rc;

	if (monitor_dir(name, d.path, sizeof(d.path), NULL))
		return false;
	d.dir = dir_open(d.path, NULL);
	if (d.dir < 0)
		return false;
	rc = dir_lock(d.dir, 0, &d.lock);
	if (rc == 1)
		monitor_dir_drop(&d);
	else
		close(d.dir);
	return rc == 0;
}

void monitor_sweep(const char *name)
{
	dir_runs(name);
}

static int dir_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int monitor_list(char ***names, struct err *err)
{
	char base[PATH_MAX];
	struct dirent *entry;
	unsigned count = 0;
	char **list = NULL, **more;
	DIR *dir;

	*names = NULL;
	if (monitor_dir_base(base, sizeof(base), err))
		return -ENAMETOOLONG;
	dir = opendir(base);
	if (!dir)
		return errno == ENOENT
			       ? 0
			       : err_set(err, errno, "cannot read %s: %s", base,
					 strerror(errno));
	while ((entry = readdir(dir))) {
		if (!dir_runs(entry->d_name))
			continue;
		more = reallocarray(list, count + 1, sizeof(*list));
		if (!more)
			break;
		list = more;
		list[count] = strdup(entry->d_name);
		count += list[count] != NULL;
	}
	closedir(dir);
	if (count)
		qsort(list, count, sizeof(*list), dir_compare);
	*names = list;
	return (int)count;
}
