/*
 * p9_op.c - requests of 9P2000.L, one function each: sessions, walking, and the
 * table of all of them.
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
 * Deliberately missing: Trename and Tremove (a fid does
 * not know its name; Linux takes Trenameat and Tunlinkat), authentication.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "dev/virtio/p9_op.h"

#define OP_RLERROR 7

struct p9_fid *op_fid(struct op *op)
{
	return p9_fid_find(op->fs, (uint32_t)p9_get(&op->in, 4));
}

int op_errno(int rc)
{
	return rc < 0 ? -errno : 0;
}

void op_give(int fd, uint32_t uid, uint32_t gid)
{
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return;
}

/* --- Qids ------------------------------------------------------------------
 */

/* Inode numbers of other file systems below are moved out of the way. */
static uint64_t op_qid_path(const struct p9_fs *fs, dev_t dev, ino_t ino)
{
	return dev == fs->dev ? ino : ino ^ (uint64_t)dev << 40;
}

void op_put_qid(struct op *op, const struct stat *st)
{
	uint8_t type = S_ISDIR(st->st_mode)   ? OP_QID_DIR
		       : S_ISLNK(st->st_mode) ? OP_QID_LINK
					      : 0;

	p9_put(&op->out, type, 1);
	p9_put(&op->out, (uint32_t)(st->st_mtim.tv_nsec ^ st->st_mtim.tv_sec),
	       4);
	p9_put(&op->out, op_qid_path(op->fs, st->st_dev, st->st_ino), 8);
}

int op_put_qid_of(struct op *op, int fd)
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
	char uname[P9_NAME_MAX + 1], aname[PATH_MAX];
	struct p9_fid *f;
	uint32_t uid;
	int fd, rc;

	p9_get_string(&op->in, uname, sizeof(uname));
	p9_get_string(&op->in, aname, sizeof(aname));
	uid = (uint32_t)p9_get(&op->in, 4);
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
	rc = p9_fid_add(op->fs, id, fd, &f);
	if (rc == 0)
		f->uid = uid;
	return rc;
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
	if (id != f->id) {
		struct p9_fid *to;
		int rc = p9_fid_add(op->fs, id, fd, &to);

		if (rc == 0)
			to->uid = f->uid;
		return rc;
	}
	if (f->file >= 0 || f->xattr) {
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

/* --- The table -------------------------------------------------------------
 */

/* By the type of the request; the answer's is one more. */
static int (*const op_table[128])(struct op *op) = {
	[8] = op_statfs,       [12] = op_lopen,
	[14] = op_lcreate,     [16] = op_symlink,
	[18] = op_mknod,       [20] = op_refuse, /* rename */
	[22] = op_readlink,    [24] = op_getattr,
	[26] = op_setattr,     [30] = op_xattrwalk,
	[32] = op_xattrcreate, [40] = op_readdir,
	[50] = op_fsync,       [52] = op_lock,
	[54] = op_getlock,     [70] = op_link,
	[72] = op_mkdir,       [74] = op_renameat,
	[76] = op_unlinkat,    [100] = op_version,
	[102] = op_refuse, /* auth */
	[104] = op_attach,     [108] = op_flush,
	[110] = op_walk,       [116] = op_read,
	[118] = op_write,      [120] = op_clunk,
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
