/*
 * p9_make.c - requests of 9P2000.L that open and make files, and that change
 * the names of what there is.  What would change something is refused first
 * where the directory is read-only.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "dev/virtio/p9_op.h"

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

int op_lopen(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint32_t flags = (uint32_t)p9_get(&op->in, 4);
	int fd;

	if (!f || op->in.bad)
		return f ? -EINVAL : -EBADF;
	if (f->file >= 0 || f->xattr)
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

/* Makes it, or opens what is there if it may be: that keeps its owner. */
static int op_create_file(struct op *op, const struct p9_fid *dir,
			  const char *name, uint32_t flags, mode_t mode,
			  uint32_t gid)
{
	int keep = (int)(flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC));
	int fd = openat(dir->path, name,
			keep | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
				O_NONBLOCK,
			mode & 07777 & ~OP_UNSAFE_MODE);
	int path;

	if (fd >= 0)
		op_give(fd, dir->uid, gid);
	if (fd >= 0 || errno != EEXIST || (flags & O_EXCL))
		return fd < 0 ? -errno : fd;
	path = p9_open_name(dir->path, name);
	if (path < 0)
		return path;
	fd = p9_open_file(op->fs, path, flags);
	close(path);
	return fd;
}

int op_lcreate(struct op *op)
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
	if (f->file >= 0 || f->xattr)
		return -EBUSY;
	fd = op_create_file(op, f, name, flags, mode, gid);
	if (fd < 0)
		return fd;
	path = openat(op->fs->self_fds, p9_fd_name(self, fd),
		      O_PATH | O_CLOEXEC);
	if (path < 0) {
		close(fd);
		return -EMFILE;
	}
	close(f->path);
	f->path = path;
	f->file = fd;
	f->flags = flags;
	return op_put_open(op, f);
}

/* After something was made: its owner, and the qid that is the answer. */
static int op_made(struct op *op, const struct p9_fid *dir, const char *name,
		   uint32_t gid)
{
	int rc, fd = p9_open_name(dir->path, name);

	if (fd < 0)
		return fd;
	op_give(fd, dir->uid, gid);
	rc = op_put_qid_of(op, fd);
	close(fd);
	return rc;
}

int op_symlink(struct op *op)
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
	return op_made(op, f, name, gid);
}

/* Pipes and sockets, which live in the guest; no devices. */
int op_mknod(struct op *op)
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
	return op_made(op, f, name, gid);
}

int op_mkdir(struct op *op)
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
	return op_made(op, f, name, gid);
}

/* --- Names -----------------------------------------------------------------
 */

int op_link(struct op *op)
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

int op_renameat(struct op *op)
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

int op_unlinkat(struct op *op)
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

int op_readlink(struct op *op)
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
