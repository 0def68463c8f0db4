/*
 * p9_data.c - requests of 9P2000.L on open files: reading, writing, the entries
 * of directories, locks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/virtio/p9_op.h"

/* Linux's dirent64, as getdents64(2) fills it. */
struct op_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

static uint32_t op_room(const struct op *op)
{
	return op->out.end - op->out.at - 4;
}

int op_read(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint64_t offset = p9_get(&op->in, 8);
	uint32_t count = (uint32_t)p9_get(&op->in, 4), at = op->out.at;
	ssize_t n;

	count = count < op_room(op) ? count : op_room(op);
	if (f && f->xattr && !op->in.bad)
		return p9_xattr_read(op, f, offset, count);
	if (!f || f->file < 0 || op->in.bad)
		return -EBADF;
	if (offset > INT64_MAX)
		return -EINVAL;
	n = pread(f->file, op->out.buf + at + 4, count, (off_t)offset);
	if (n < 0)
		return -errno;
	p9_put(&op->out, (uint64_t)n, 4);
	op->out.at += (uint32_t)n;
	return 0;
}

int op_write(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint64_t offset = p9_get(&op->in, 8);
	uint32_t count = (uint32_t)p9_get(&op->in, 4);
	ssize_t n;

	if (!f || (f->file < 0 && !f->xattr) || op->in.bad)
		return -EBADF;
	if (offset > INT64_MAX || count > op->in.end - op->in.at)
		return -EINVAL;
	if (f->xattr)
		return p9_xattr_write(op, f, offset, count);
	n = pwrite(f->file, op->in.buf + op->in.at, count, (off_t)offset);
	if (n < 0)
		return -errno;
	p9_put(&op->out, (uint64_t)n, 4);
	return 0;
}

int op_fsync(struct op *op)
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
int op_readdir(struct op *op)
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

int op_lock(struct op *op)
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

int op_getlock(struct op *op)
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
