/*
 * p9_op.c - requests of 9P2000.L, one function each; the table is at the end.
 *
 * Theory of operation
 *
 * A function reads its arguments from `in` and puts its answer into `out`
 * behind the header; it returns 0 or -errno, which becomes Rlerror with the
 * same number (the protocol has Linux's, as the guest).  Arguments that run
 * out make the message bad, which is EINVAL, before anything is done.
 *
 * Names are single components (p9_get_name()); whatever a fid is, it was
 * reached from the directory by such names.  A request that would change
 * something is refused first where the directory is read-only.
 *
 * Deliberately missing: extended attributes, Trename and Tremove (a fid does
 * not know its name; Linux takes Trenameat and Tunlinkat), authentication.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/virtio/p9_impl.h"

#define OP_RLERROR  7
#define OP_READ_MAX (P9_MSIZE_MAX - P9_HEAD - 4)

#define OP_QID_DIR  0x80
#define OP_QID_LINK 0x02

/* Tsetattr's valid bits. */
#define OP_SET_MODE      0x001
#define OP_SET_UID       0x002
#define OP_SET_GID       0x004
#define OP_SET_SIZE      0x008
#define OP_SET_ATIME     0x010
#define OP_SET_MTIME     0x020
#define OP_SET_ATIME_NOW 0x080 /* bit clear: now */
#define OP_SET_MTIME_NOW 0x100

#define OP_GETATTR_BASIC 0x7ffull
#define OP_UNSAFE_MODE   (S_ISUID | S_ISGID)

/* Linux's dirent64, as getdents64(2) fills it. */
struct op_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

struct op {
	struct p9_fs *fs;
	struct p9_msg in, out;
};

static struct p9_fid *op_fid(struct op *op)
{
	return p9_fid_find(op->fs, (uint32_t)p9_get(&op->in, 4));
}

static int op_errno(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* --- Qids ------------------------------------------------------------------
 */

/* Inode numbers of other file systems below are moved out of the way. */
static uint64_t op_qid_path(const struct p9_fs *fs, dev_t dev, ino_t ino)
{
	return dev == fs->dev ? ino : ino ^ (uint64_t)dev << 40;
}

static void op_put_qid(struct op *op, const struct stat *st)
{
	uint8_t type = S_ISDIR(st->st_mode)   ? OP_QID_DIR
		       : S_ISLNK(st->st_mode) ? OP_QID_LINK
					      : 0;

	p9_put(&op->out, type, 1);
	p9_put(&op->out, (uint32_t)(st->st_mtim.tv_nsec ^ st->st_mtim.tv_sec),
	       4);
	p9_put(&op->out, op_qid_path(op->fs, st->st_dev, st->st_ino), 8);
}

static int op_put_qid_of(struct op *op, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	op_put_qid(op, &st);
	return 0;
}

/* --- Sessions --------------------------------------------------------------
 */

static int op_version(struct op *op)
{
	uint32_t msize = (uint32_t)p9_get(&op->in, 4);
	char version[32];
	bool known = p9_get_string(&op->in, version, sizeof(version)) &&
		     !strcmp(version, "9P2000.L");

	if (msize < P9_MSIZE_MIN)
		return -EINVAL;
	p9_fs_forget(op->fs);
	op->fs->msize = msize < P9_MSIZE_MAX ? msize : P9_MSIZE_MAX;
	p9_put(&op->out, op->fs->msize, 4);
	p9_put_string(&op->out, known ? "9P2000.L" : "unknown");
	return 0;
}

static int op_attach(struct op *op)
{
	uint32_t id = (uint32_t)p9_get(&op->in, 4);
	uint32_t auth = (uint32_t)p9_get(&op->in, 4);
	int fd, rc;

	if (op->in.bad || auth != P9_NO_FID)
		return -EINVAL;
	fd = fcntl(op->fs->root, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = op_put_qid_of(op, fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return p9_fid_add(op->fs, id, fd, NULL);
}

static int op_flush(struct op *op)
{
	return 0; /* in order: what it names is done */
}

static int op_clunk(struct op *op)
{
	struct p9_fid *f = op_fid(op);

	if (!f)
		return -EBADF;
	p9_fid_drop(op->fs, f);
	return 0;
}

/* A fid does not know its name; it is clunked all the same. */
static int op_remove(struct op *op)
{
	int rc = op_clunk(op);

	return rc ? rc : -EOPNOTSUPP;
}

static int op_refuse(struct op *op)
{
	return -EOPNOTSUPP;
}

/* --- Walking ---------------------------------------------------------------
 */

/* One step; takes fd over. */
static int op_step(struct op *op, int fd, const char *name)
{
	int next = p9_open_name(fd, name);
	int rc;

	close(fd);
	if (next < 0)
		return next;
	rc = op_put_qid_of(op, next);
	if (rc == 0)
		return next;
	close(next);
	return rc;
}

/* As far as it goes; *walked names were found.  A descriptor, or -errno. */
static int op_walk_names(struct op *op, int from, unsigned names,
			 unsigned *walked)
{
	int fd = fcntl(from, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	for (*walked = 0; *walked < names; ++*walked) {
		char name[P9_NAME_MAX + 1];
		bool good = p9_get_name(&op->in, name);

		if (!good) {
			close(fd);
			return op->in.bad ? -EINVAL : -ENOENT;
		}
		fd = op_step(op, fd, name);
		if (fd < 0)
			return fd;
	}
	return fd;
}

static int op_move_fid(struct op *op, struct p9_fid *f, uint32_t id, int fd)
{
	if (id != f->id)
		return p9_fid_add(op->fs, id, fd, NULL);
	if (f->file >= 0) {
		close(fd);
		return -EBUSY;
	}
	close(f->path);
	f->path = fd;
	return 0;
}

static int op_walk(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint32_t id = (uint32_t)p9_get(&op->in, 4);
	unsigned names = (unsigned)p9_get(&op->in, 2), walked = 0;
	uint32_t count_at = op->out.at;
	int fd;

	if (!f)
		return -EBADF;
	if (op->in.bad || names > P9_WALK_MAX ||
	    (id != f->id && p9_fid_find(op->fs, id)))
		return -EINVAL;
	p9_put(&op->out, 0, 2);
	fd = op_walk_names(op, f->path, names, &walked);
	op->out.buf[count_at] = (uint8_t)walked;
	if (fd < 0) /* part of the way: the fid is not made, no error */
		return walked && fd != -EINVAL ? 0 : fd;
	return op_move_fid(op, f, id, fd);
}

/* --- Opening and making ----------------------------------------------------
 */

static bool op_may_open(const struct op *op, uint32_t flags)
{
	return !op->fs->readonly ||
	       ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC));
}

static int op_put_open(struct op *op, struct p9_fid *f)
{
	int rc = op_put_qid_of(op, f->path);

	p9_put(&op->out, 0, 4); /* iounit: as msize allows */
	return rc;
}

static int op_lopen(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint32_t flags = (uint32_t)p9_get(&op->in, 4);
	int fd;

	if (!f || op->in.bad)
		return f ? -EINVAL : -EBADF;
	if (f->file >= 0)
		return -EBUSY;
	if (!op_may_open(op, flags))
		return -EROFS;
	fd = p9_open_file(op->fs, f->path, flags);
	if (fd < 0)
		return fd;
	f->file = fd;
	f->flags = flags;
	return op_put_open(op, f);
}

/* Makes it, or opens what is there if it may be. */
static int op_create_file(struct op *op, int dir, const char *name,
			  uint32_t flags, mode_t mode)
{
	int keep = (int)(flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC));
	int fd = openat(dir, name,
			keep | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
				O_NONBLOCK,
			mode & 07777 & ~OP_UNSAFE_MODE);
	int path;

	if (fd >= 0 || errno != EEXIST || (flags & O_EXCL))
		return fd < 0 ? -errno : fd;
	path = p9_open_name(dir, name);
	if (path < 0)
		return path;
	fd = p9_open_file(op->fs, path, flags);
	close(path);
	return fd;
}

/* The group that the guest wants; where the host refuses, its own. */
static void op_give(int fd, uint32_t uid, uint32_t gid)
{
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return;
}

static int op_lcreate(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1], self[16];
	bool good = p9_get_name(&op->in, name);
	uint32_t flags = (uint32_t)p9_get(&op->in, 4);
	uint32_t mode = (uint32_t)p9_get(&op->in, 4);
	uint32_t gid = (uint32_t)p9_get(&op->in, 4);
	int fd, path;

	if (!f || op->in.bad || !good)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	if (f->file >= 0)
		return -EBUSY;
	fd = op_create_file(op, f->path, name, flags, mode);
	if (fd < 0)
		return fd;
	path = openat(op->fs->self_fds, p9_fd_name(self, fd),
		      O_PATH | O_CLOEXEC);
	if (path < 0) {
		close(fd);
		return -EMFILE;
	}
	op_give(path, UINT32_MAX, gid);
	close(f->path);
	*f = (struct p9_fid){ f->next, f->id, path, fd, flags };
	return op_put_open(op, f);
}

/* After something was made: its group, and the qid that is the answer. */
static int op_made(struct op *op, int dir, const char *name, uint32_t gid)
{
	int rc, fd = p9_open_name(dir, name);

	if (fd < 0)
		return fd;
	op_give(fd, UINT32_MAX, gid);
	rc = op_put_qid_of(op, fd);
	close(fd);
	return rc;
}

static int op_symlink(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1], target[PATH_MAX];
	bool good = p9_get_name(&op->in, name);
	bool fits = p9_get_string(&op->in, target, sizeof(target));
	uint32_t gid = (uint32_t)p9_get(&op->in, 4);

	if (!f || op->in.bad || !good || !fits)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	if (symlinkat(target, f->path, name))
		return -errno;
	return op_made(op, f->path, name, gid);
}

/* Pipes and sockets, which live in the guest; no devices. */
static int op_mknod(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1];
	bool good = p9_get_name(&op->in, name);
	uint32_t mode = (uint32_t)p9_get(&op->in, 4);
	uint32_t gid;

	p9_get(&op->in, 8); /* major, minor */
	gid = (uint32_t)p9_get(&op->in, 4);
	if (!f || op->in.bad || !good)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	if (!S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISREG(mode))
		return -EPERM;
	if (mknodat(f->path, name, mode & ~OP_UNSAFE_MODE, 0))
		return -errno;
	return op_made(op, f->path, name, gid);
}

static int op_mkdir(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1];
	bool good = p9_get_name(&op->in, name);
	uint32_t mode = (uint32_t)p9_get(&op->in, 4);
	uint32_t gid = (uint32_t)p9_get(&op->in, 4);

	if (!f || op->in.bad || !good)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	if (mkdirat(f->path, name, mode & 01777))
		return -errno;
	return op_made(op, f->path, name, gid);
}

/* --- Names -----------------------------------------------------------------
 */

static int op_link(struct op *op)
{
	struct p9_fid *dir = op_fid(op), *f = op_fid(op);
	char name[P9_NAME_MAX + 1], self[16];
	bool good = p9_get_name(&op->in, name);
	struct stat st;

	if (!dir || !f)
		return -EBADF;
	if (op->in.bad || !good)
		return -EINVAL;
	if (op->fs->readonly)
		return -EROFS;
	if (fstat(f->path, &st))
		return -errno;
	if (S_ISLNK(st.st_mode)) /* /proc would follow it */
		return -EPERM;
	return op_errno(linkat(op->fs->self_fds, p9_fd_name(self, f->path),
			       dir->path, name, AT_SYMLINK_FOLLOW));
}

static int op_renameat(struct op *op)
{
	struct p9_fid *from = op_fid(op), *to;
	char old[P9_NAME_MAX + 1], new[P9_NAME_MAX + 1];
	bool good = p9_get_name(&op->in, old);

	to = op_fid(op);
	good = p9_get_name(&op->in, new) && good;
	if (!from || !to)
		return -EBADF;
	if (op->in.bad || !good)
		return -EINVAL;
	if (op->fs->readonly)
		return -EROFS;
	return op_errno(renameat(from->path, old, to->path, new));
}

static int op_unlinkat(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1];
	bool good = p9_get_name(&op->in, name);
	uint32_t flags = (uint32_t)p9_get(&op->in, 4);

	if (!f || op->in.bad || !good)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	return op_errno(unlinkat(f->path, name, (int)flags & AT_REMOVEDIR));
}

static int op_readlink(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char target[PATH_MAX];
	ssize_t n;

	if (!f)
		return -EBADF;
	n = readlinkat(f->path, "", target, sizeof(target) - 1);
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	target[n] = '\0';
	p9_put_string(&op->out, target);
	return 0;
}

/* --- Attributes ------------------------------------------------------------
 */

static void op_put_time(struct op *op, const struct timespec *t)
{
	p9_put(&op->out, (uint64_t)t->tv_sec, 8);
	p9_put(&op->out, (uint64_t)t->tv_nsec, 8);
}

static int op_getattr(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	const struct timespec none = { 0, 0 };
	struct stat st;

	if (!f)
		return -EBADF;
	if (fstat(f->path, &st))
		return -errno;
	p9_put(&op->out, OP_GETATTR_BASIC, 8);
	op_put_qid(op, &st);
	p9_put(&op->out, st.st_mode, 4);
	p9_put(&op->out, st.st_uid, 4);
	p9_put(&op->out, st.st_gid, 4);
	p9_put(&op->out, st.st_nlink, 8);
	p9_put(&op->out, st.st_rdev, 8);
	p9_put(&op->out, (uint64_t)st.st_size, 8);
	p9_put(&op->out, (uint64_t)st.st_blksize, 8);
	p9_put(&op->out, (uint64_t)st.st_blocks, 8);
	op_put_time(op, &st.st_atim);
	op_put_time(op, &st.st_mtim);
	op_put_time(op, &st.st_ctim);
	op_put_time(op, &none); /* birth, */
	p9_put(&op->out, 0, 8); /* generation, */
	p9_put(&op->out, 0, 8); /* data version: not known */
	return 0;
}

struct op_attr {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec time[2];
};

static int op_set_size(struct op *op, int path, uint64_t size)
{
	int rc, fd;

	if (size > INT64_MAX)
		return -EFBIG;
	fd = p9_open_file(op->fs, path, O_WRONLY);
	if (fd < 0)
		return fd;
	rc = op_errno(ftruncate(fd, (off_t)size));
	close(fd);
	return rc;
}

static int op_set_times(struct op *op, int path, struct op_attr *a, bool link)
{
	char self[16];

	if (!(a->valid & OP_SET_ATIME))
		a->time[0].tv_nsec = UTIME_OMIT;
	else if (!(a->valid & OP_SET_ATIME_NOW))
		a->time[0].tv_nsec = UTIME_NOW;
	if (!(a->valid & OP_SET_MTIME))
		a->time[1].tv_nsec = UTIME_OMIT;
	else if (!(a->valid & OP_SET_MTIME_NOW))
		a->time[1].tv_nsec = UTIME_NOW;
	if (link)
		return op_errno(utimensat(path, "", a->time, AT_EMPTY_PATH));
	return op_errno(utimensat(op->fs->self_fds, p9_fd_name(self, path),
				  a->time, 0));
}

static int op_apply(struct op *op, int path, struct op_attr *a)
{
	struct stat st;
	char self[16];
	bool link;
	int rc = 0;

	if (fstat(path, &st))
		return -errno;
	link = S_ISLNK(st.st_mode);
	if (a->valid & (OP_SET_UID | OP_SET_GID))
		op_give(path, a->valid & OP_SET_UID ? a->uid : UINT32_MAX,
			a->valid & OP_SET_GID ? a->gid : UINT32_MAX);
	if ((a->valid & OP_SET_MODE) && !link)
		rc = op_errno(fchmodat(op->fs->self_fds, p9_fd_name(self, path),
				       a->mode & 07777 & ~OP_UNSAFE_MODE, 0));
	if (rc == 0 && (a->valid & OP_SET_SIZE))
		rc = op_set_size(op, path, a->size);
	if (rc == 0 && (a->valid & (OP_SET_ATIME | OP_SET_MTIME)))
		rc = op_set_times(op, path, a, link);
	return rc;
}

static int op_setattr(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	struct op_attr a = { 0 };

	a.valid = (uint32_t)p9_get(&op->in, 4);
	a.mode = (uint32_t)p9_get(&op->in, 4);
	a.uid = (uint32_t)p9_get(&op->in, 4);
	a.gid = (uint32_t)p9_get(&op->in, 4);
	a.size = p9_get(&op->in, 8);
	for (unsigned i = 0; i < 2; i++) {
		a.time[i].tv_sec = (time_t)p9_get(&op->in, 8);
		a.time[i].tv_nsec = (long)(p9_get(&op->in, 8) % 1000000000);
	}
	if (!f || op->in.bad)
		return f ? -EINVAL : -EBADF;
	return op->fs->readonly ? -EROFS : op_apply(op, f->path, &a);
}

static int op_statfs(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	struct statfs st;

	if (!f)
		return -EBADF;
	if (fstatfs(f->path, &st))
		return -errno;
	p9_put(&op->out, (uint32_t)st.f_type, 4);
	p9_put(&op->out, (uint32_t)st.f_bsize, 4);
	p9_put(&op->out, st.f_blocks, 8);
	p9_put(&op->out, st.f_bfree, 8);
	p9_put(&op->out, st.f_bavail, 8);
	p9_put(&op->out, st.f_files, 8);
	p9_put(&op->out, st.f_ffree, 8);
	p9_put(&op->out, 0, 8);
	p9_put(&op->out, (uint32_t)st.f_namelen, 4);
	return 0;
}

/* --- Data ------------------------------------------------------------------
 */

static uint32_t op_room(const struct op *op)
{
	return op->out.end - op->out.at - 4;
}

static int op_read(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint64_t offset = p9_get(&op->in, 8);
	uint32_t count = (uint32_t)p9_get(&op->in, 4), at = op->out.at;
	ssize_t n;

	if (!f || f->file < 0 || op->in.bad)
		return -EBADF;
	if (offset > INT64_MAX)
		return -EINVAL;
	count = count < op_room(op) ? count : op_room(op);
	n = pread(f->file, op->out.buf + at + 4, count, (off_t)offset);
	if (n < 0)
		return -errno;
	p9_put(&op->out, (uint64_t)n, 4);
	op->out.at += (uint32_t)n;
	return 0;
}

static int op_write(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint64_t offset = p9_get(&op->in, 8);
	uint32_t count = (uint32_t)p9_get(&op->in, 4);
	ssize_t n;

	if (!f || f->file < 0 || op->in.bad)
		return -EBADF;
	if (offset > INT64_MAX || count > op->in.end - op->in.at)
		return -EINVAL;
	n = pwrite(f->file, op->in.buf + op->in.at, count, (off_t)offset);
	if (n < 0)
		return -errno;
	p9_put(&op->out, (uint64_t)n, 4);
	return 0;
}

static int op_fsync(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	bool data = p9_get(&op->in, 4);

	if (!f || f->file < 0)
		return -EBADF;
	return op_errno(data ? fdatasync(f->file) : fsync(f->file));
}

/* False: no room for this entry. */
static bool op_put_dirent(struct op *op, const struct op_dirent *d)
{
	uint32_t before = op->out.at;

	p9_put(&op->out,
	       d->type == DT_DIR   ? OP_QID_DIR
	       : d->type == DT_LNK ? OP_QID_LINK
				   : 0,
	       1);
	p9_put(&op->out, 0, 4);
	p9_put(&op->out, d->ino, 8);
	p9_put(&op->out, (uint64_t)d->off, 8);
	p9_put(&op->out, d->type, 1);
	p9_put_string(&op->out, d->name);
	if (!op->out.bad)
		return true;
	op->out.bad = false;
	op->out.at = before;
	return false;
}

/* The host's offsets are the protocol's: a reader goes on from the last. */
static int op_readdir(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint64_t offset = p9_get(&op->in, 8);
	uint32_t count = (uint32_t)p9_get(&op->in, 4), at = op->out.at;
	_Alignas(8) uint8_t buf[16384];
	bool room = true;

	if (!f || f->file < 0 || op->in.bad)
		return -EBADF;
	if (lseek(f->file, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	op->out.at += 4;
	if (count < op->out.end - op->out.at)
		op->out.end = op->out.at + count;
	while (room) {
		long n = syscall(SYS_getdents64, f->file, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		for (long i = 0; i < n && room;) {
			const struct op_dirent *d = (void *)(buf + i);

			room = op_put_dirent(op, d);
			i += d->reclen;
		}
		room = room && n > 0;
	}
	count = op->out.at - at - 4;
	for (unsigned i = 0; i < 4; i++)
		op->out.buf[at + i] = (uint8_t)(count >> i * 8);
	return 0;
}

/* --- Locks (of POSIX, as the whole guest is one owner) ---------------------
 */

/* Byte-range locks of the host, owned by the open file. */
static bool op_get_lock(struct op *op, struct flock *l)
{
	uint8_t type = (uint8_t)p9_get(&op->in, 1);

	*l = (struct flock){
		.l_type = (short)(type == 0   ? F_RDLCK
				  : type == 1 ? F_WRLCK
					      : F_UNLCK),
		.l_whence = SEEK_SET,
	};
	return type <= 2;
}

static int op_lock(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	struct flock l;
	bool good = op_get_lock(op, &l);

	p9_get(&op->in, 4); /* "block": the guest asks again by itself */
	l.l_start = (off_t)p9_get(&op->in, 8);
	l.l_len = (off_t)p9_get(&op->in, 8);
	if (!f || f->file < 0)
		return -EBADF;
	if (op->in.bad || !good)
		return -EINVAL;
	if (fcntl(f->file, F_OFD_SETLK, &l) == 0)
		p9_put(&op->out, 0, 1); /* success */
	else if (errno == EAGAIN || errno == EACCES)
		p9_put(&op->out, 1, 1); /* blocked */
	else
		return -errno;
	return 0;
}

static int op_getlock(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	struct flock l;
	bool good = op_get_lock(op, &l);

	l.l_start = (off_t)p9_get(&op->in, 8);
	l.l_len = (off_t)p9_get(&op->in, 8);
	if (!f || f->file < 0)
		return -EBADF;
	if (op->in.bad || !good || l.l_type == F_UNLCK)
		return -EINVAL;
	if (fcntl(f->file, F_OFD_GETLK, &l))
		return -errno;
	p9_put(&op->out,
	       l.l_type == F_RDLCK   ? 0
	       : l.l_type == F_WRLCK ? 1
				     : 2,
	       1);
	p9_put(&op->out, (uint64_t)l.l_start, 8);
	p9_put(&op->out, (uint64_t)l.l_len, 8);
	p9_put(&op->out, 0, 4);
	p9_put_string(&op->out, "");
	return 0;
}

/* --- The table -------------------------------------------------------------
 */

/* By the type of the request; the answer's is one more. */
static int (*const op_table[128])(struct op *op) = {
	[8] = op_statfs,    [12] = op_lopen,    [14] = op_lcreate,
	[16] = op_symlink,  [18] = op_mknod,    [20] = op_refuse, /* rename */
	[22] = op_readlink, [24] = op_getattr,  [26] = op_setattr,
	[30] = op_refuse, /* xattrwalk */
	[32] = op_refuse, /* xattrcreate */
	[40] = op_readdir,  [50] = op_fsync,    [52] = op_lock,
	[54] = op_getlock,  [70] = op_link,     [72] = op_mkdir,
	[74] = op_renameat, [76] = op_unlinkat, [100] = op_version,
	[102] = op_refuse, /* auth */
	[104] = op_attach,  [108] = op_flush,   [110] = op_walk,
	[116] = op_read,    [118] = op_write,   [120] = op_clunk,
	[122] = op_remove,
};

static void op_head(struct op *op, uint32_t size, uint8_t type, uint16_t tag)
{
	op->out.at = 0;
	p9_put(&op->out, size, 4);
	p9_put(&op->out, type, 1);
	p9_put(&op->out, tag, 2);
}

uint32_t p9_serve(struct p9_fs *fs, uint8_t *in, uint32_t len, uint8_t *out,
		  uint32_t room)
{
	struct op op = { fs, { in, 0, len, false }, { out, 0, room, false } };
	uint32_t size = (uint32_t)p9_get(&op.in, 4);
	uint8_t type = (uint8_t)p9_get(&op.in, 1);
	uint16_t tag = (uint16_t)p9_get(&op.in, 2);
	int rc = -EOPNOTSUPP;

	if (op.in.bad || size < P9_HEAD || size > len || room < P9_HEAD + 4)
		return 0;
	op.in.end = size;
	if (room > fs->msize && type != 100)
		op.out.end = fs->msize;
	op.out.at = P9_HEAD;
	if (type < 128 && op_table[type])
		rc = op_table[type](&op);
	if (rc == 0 && op.out.bad)
		rc = -ENOBUFS;
	op.out.bad = false;
	op.out.end = room;
	if (rc < 0) {
		op.out.at = P9_HEAD;
		p9_put(&op.out, (uint32_t)-rc, 4);
		type = OP_RLERROR - 1;
	}
	size = op.out.at;
	op_head(&op, size, (uint8_t)(type + 1), tag);
	return size;
}
