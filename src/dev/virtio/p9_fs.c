/*
 * p9_fs.c - the directory of the host, and what the guest holds of it.
 *
 * Each fid has an O_PATH descriptor: it names a file whatever it is renamed
 * to, cannot block and opens nothing.  An open file comes from it by way of
 * /proc/self/fd, after a look at what it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/virtio/p9_impl.h"

/*
 * #syscalls: openat2 getdents64 fchmod fchmodat fchown fchownat
 * #syscalls: mkdirat mknodat linkat symlinkat unlinkat renameat renameat2
 * #syscalls: utimensat statfs fstatfs ftruncate fsync fdatasync
 * #syscalls: pread64 pwrite64 preadv pwritev readlinkat
 * #syscalls: fsetxattr fgetxattr flistxattr fremovexattr
 * #syscalls: getxattr setxattr listxattr removexattr
 * #syscalls: lgetxattr lsetxattr llistxattr lremovexattr
 */

#define FS_STATE_MAX (64u << 20)

/* --- Descriptors -----------------------------------------------------------
 */

const char *p9_fd_name(char buf[16], int fd)
{
	snprintf(buf, 16, "%d", fd);
	return buf;
}

/* `name` is one component: it cannot lead out; a link is not followed. */
int p9_open_name(int dir, const char *name)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}

int p9_open_file(struct p9_fs *fs, int path, uint32_t flags)
{
	uint32_t keep = O_ACCMODE | O_APPEND | O_TRUNC | O_DSYNC | O_SYNC;
	struct stat st;
	char name[16];
	int fd;

	if (fstat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -EPERM;
	if (S_ISDIR(st.st_mode))
		fd = openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		fd = openat(fs->self_fds, p9_fd_name(name, path),
			    (int)(flags & keep) | O_CLOEXEC | O_NONBLOCK |
				    O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

bool p9_is_root(const struct p9_fs *fs, const struct stat *st)
{
	struct stat root;

	return !fstat(fs->root, &root) && root.st_dev == st->st_dev &&
	       root.st_ino == st->st_ino;
}

/* --- Fids ------------------------------------------------------------------
 */

static struct p9_fid **fs_bucket(struct p9_fs *fs, uint32_t id)
{
	return &fs->bucket[id % P9_BUCKETS];
}

struct p9_fid *p9_fid_find(struct p9_fs *fs, uint32_t id)
{
	struct p9_fid *f = *fs_bucket(fs, id);

	while (f && f->id != id)
		f = f->next;
	return f;
}

int p9_fid_add(struct p9_fs *fs, uint32_t id, int path, struct p9_fid **out)
{
	struct p9_fid *f = NULL;
	int rc = 0;

	if (id == P9_NO_FID || p9_fid_find(fs, id))
		rc = -EINVAL;
	else if (fs->count == P9_FIDS_MAX)
		rc = -EMFILE;
	else if (!(f = calloc(1, sizeof(*f))))
		rc = -ENOMEM;
	if (rc < 0) {
		close(path);
		return rc;
	}
	*f = (struct p9_fid){ .next = *fs_bucket(fs, id),
			      .id = id,
			      .path = path,
			      .file = -1,
			      .uid = UINT32_MAX };
	*fs_bucket(fs, id) = f;
	fs->count++;
	if (out)
		*out = f;
	return 0;
}

void p9_fid_drop(struct p9_fs *fs, struct p9_fid *f)
{
	struct p9_fid **link = fs_bucket(fs, f->id);

	while (*link != f)
		link = &(*link)->next;
	*link = f->next;
	fs->count--;
	close(f->path);
	if (f->file >= 0)
		close(f->file);
	p9_xattr_drop(fs, f);
	free(f);
}

void p9_fs_forget(struct p9_fs *fs)
{
	for (unsigned i = 0; i < P9_BUCKETS; i++)
		while (fs->bucket[i])
			p9_fid_drop(fs, fs->bucket[i]);
}

/* --- State -----------------------------------------------------------------
 */

/* "ID FLAGS:UID PATH\0", the path relative to the directory. */
static void fs_save_fid(const struct p9_fs *fs, const struct p9_fid *f,
			FILE *out)
{
	char root[PATH_MAX], path[PATH_MAX], name[16];
	ssize_t r = readlinkat(fs->self_fds, p9_fd_name(name, fs->root), root,
			       sizeof(root) - 1);
	ssize_t n = readlinkat(fs->self_fds, p9_fd_name(name, f->path), path,
			       sizeof(path) - 1);
	const char *rest = ".";

	if (r < 0 || n < r || memcmp(root, path, (size_t)r))
		return; /* it is gone: the guest will hear ESTALE */
	path[n] = '\0';
	if (n > r)
		rest = path + r + (path[r] == '/');
	fprintf(out, "%u %u:%u %s%c", f->id, f->file < 0 ? UINT_MAX : f->flags,
		f->uid, rest, '\0');
}

static void fs_restore_fid(struct p9_fs *fs, const char *text)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	struct p9_fid *f;
	unsigned id, flags, uid = UINT32_MAX;
	int at = 0;
	long path;

	/* Before there were owners: "ID FLAGS PATH" */
	if ((sscanf(text, "%u %u:%u %n", &id, &flags, &uid, &at) != 3 &&
	     sscanf(text, "%u %u %n", &id, &flags, &at) != 2) ||
	    !at)
		return;
	path = syscall(SYS_openat2, fs->root, text + at, &how, sizeof(how));
	if (path < 0 || p9_fid_add(fs, id, (int)path, &f))
		return;
	f->uid = uid;
	if (flags == UINT_MAX)
		return;
	if (fs->readonly && (flags & (O_ACCMODE | O_TRUNC)))
		return;
	f->flags = flags & ~(uint32_t)O_TRUNC;
	f->file = p9_open_file(fs, f->path, f->flags);
	if (f->file < 0)
		f->file = -1;
}

static char *fs_state(const struct p9_fs *fs, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (!out)
		return NULL;
	for (unsigned i = 0; i < P9_BUCKETS; i++)
		for (const struct p9_fid *f = fs->bucket[i]; f; f = f->next)
			fs_save_fid(fs, f, out);
	fclose(out);
	return text;
}

static void fs_restore(struct p9_fs *fs, const char *text, uint32_t len)
{
	p9_fs_forget(fs);
	for (uint32_t at = 0; at < len && !text[len - 1];
	     at += (uint32_t)strlen(text + at) + 1)
		fs_restore_fid(fs, text + at);
}

/* Fields of the caller's open section. */
void p9_fs_walk(struct p9_fs *fs, struct walk *w)
{
	size_t n = 0;
	char *text = fs_state(fs, &n);
	uint32_t len = text ? (uint32_t)n : 0;

	walk_u32(w, "msize", &fs->msize);
	walk_u32(w, "fids_len", &len);
	if (walk_restoring(w)) {
		free(text);
		text = len <= FS_STATE_MAX ? calloc(1, len + 1ull) : NULL;
		if (!text) {
			walk_fail(w, "9p: too many files are open");
			return;
		}
	}
	walk_bytes(w, "fids", text, len);
	if (walk_restoring(w))
		fs_restore(fs, text, len);
	free(text);
	if (fs->msize < P9_MSIZE_MIN || fs->msize > P9_MSIZE_MAX)
		fs->msize = P9_MSIZE_MIN;
}

/* --- Life ------------------------------------------------------------------
 */

/* Each fid needs a descriptor: as many as the host lets us have. */
static void fs_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) ||
	    limit.rlim_cur >= 2 * P9_FIDS_MAX)
		return;
	limit.rlim_cur = limit.rlim_max < 2 * P9_FIDS_MAX ? limit.rlim_max
							  : 2 * P9_FIDS_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int p9_fs_init(struct p9_fs *fs, const char *dir, bool readonly,
	       struct err *err)
{
	struct stat st;

	memset(fs, 0, sizeof(*fs));
	fs->readonly = readonly;
	fs->msize = P9_MSIZE_MIN;
	fs->self_fds = -1;
	fs->root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->root < 0 || fstat(fs->root, &st) ||
	    faccessat(fs->root, ".", R_OK | X_OK, 0)) {
		int code = errno;

		p9_fs_exit(fs);
		return err_set(err, code,
			       "-v: cannot open the directory %s: %s", dir,
			       strerror(code));
	}
	fs->dev = st.st_dev;
	fs->self_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->self_fds < 0) {
		p9_fs_exit(fs);
		return err_set(err, ENOENT,
			       "-v: needs /proc, which is not mounted here");
	}
	fs_raise_limit();
	return 0;
}

void p9_fs_exit(struct p9_fs *fs)
{
	p9_fs_forget(fs);
	if (fs->root >= 0)
		close(fs->root);
	if (fs->self_fds >= 0)
		close(fs->self_fds);
	fs->root = fs->self_fds = -1;
}
