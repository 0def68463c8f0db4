/*
 * p9_attr.c - requests of 9P2000.L about attributes of files and file systems.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/virtio/p9_op.h"

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

static void op_put_time(struct op *op, const struct timespec *t)
{
	p9_put(&op->out, (uint64_t)t->tv_sec, 8);
	p9_put(&op->out, (uint64_t)t->tv_nsec, 8);
}

int op_getattr(struct op *op)
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

int op_setattr(struct op *op)
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

int op_statfs(struct op *op)
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
