/*
 * p9_xattr.c - requests of 9P2000.L about extended attributes.
 *
 * Only those that begin with "user." exist for the guest: the others mean
 * something to the host (capabilities, labels, access lists).  A value is read
 * through a fid of its own, whole from the moment it was walked to; it is
 * written through a fid that has become the value, and set with its last
 * byte, while there is still an answer to say how that went.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "dev/virtio/p9_op.h"

#define XATTR_PREFIX "user."
#define XATTR_MOST   65536u
/* Of all fids: what they hold is the host's memory. */
#define XATTR_ALL_MOST (4u << 20)

static bool xattr_is_users(const char *name)
{
	return !strncmp(name, XATTR_PREFIX, strlen(XATTR_PREFIX));
}

/* Attributes need a descriptor that is more than a path. */
static int xattr_open(struct op *op, const struct p9_fid *f)
{
	int fd = p9_open_file(op->fs, f->path, O_RDONLY);

	return fd == -EPERM ? -EOPNOTSUPP : fd;
}

/* Leaves those of the user's in the list; returns their length. */
static size_t xattr_filter(char *list, size_t len)
{
	size_t to = 0;

	for (size_t at = 0, n; at < len; at += n) {
		n = strnlen(list + at, len - at) + 1;
		if (at + n > len || !xattr_is_users(list + at))
			continue;
		memmove(list + to, list + at, n);
		to += n;
	}
	return to;
}

/* An empty name means the list of names. */
static ssize_t xattr_get(int fd, const char *name, void *buf)
{
	ssize_t n = *name ? fgetxattr(fd, name, buf, XATTR_MOST)
			  : flistxattr(fd, buf, XATTR_MOST);

	if (n < 0)
		return -errno;
	return *name ? n : (ssize_t)xattr_filter(buf, (size_t)n);
}

/* Gives f memory for a value; *f has none yet. */
static int xattr_hold(struct op *op, struct p9_fid *f, uint32_t len)
{
	if (len > XATTR_ALL_MOST - op->fs->xattrs)
		return -ENOSPC;
	f->xattr = calloc(1, len ? len : 1);
	if (!f->xattr)
		return -ENOMEM;
	f->xattr_len = len;
	op->fs->xattrs += len;
	return 0;
}

static int xattr_walk_to(struct op *op, struct p9_fid *from, uint32_t id,
			 const void *value, uint32_t len)
{
	int path = fcntl(from->path, F_DUPFD_CLOEXEC, 0), rc;
	struct p9_fid *f;

	if (path < 0)
		return -errno;
	rc = p9_fid_add(op->fs, id, path, &f);
	if (rc == 0)
		rc = xattr_hold(op, f, len);
	else
		return rc;
	if (rc < 0) {
		p9_fid_drop(op->fs, f);
		return rc;
	}
	memcpy(f->xattr, value, len);
	p9_put(&op->out, len, 8);
	return 0;
}

int op_xattrwalk(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	uint32_t id = (uint32_t)p9_get(&op->in, 4);
	char name[P9_NAME_MAX + 1];
	bool good = p9_get_string(&op->in, name, sizeof(name));
	uint8_t *value;
	ssize_t n;
	int fd;

	if (!f || op->in.bad || !good)
		return f ? -EINVAL : -EBADF;
	if (*name && !xattr_is_users(name))
		return -EOPNOTSUPP;
	fd = xattr_open(op, f);
	if (fd < 0)
		return fd;
	value = malloc(XATTR_MOST);
	n = value ? xattr_get(fd, name, value) : -ENOMEM;
	if (n >= 0)
		n = xattr_walk_to(op, f, id, value, (uint32_t)n);
	free(value);
	close(fd);
	return (int)n;
}

/* Linux takes one away by setting it to nothing where it must be there. */
static int xattr_set(struct op *op, const struct p9_fid *f)
{
	int fd = xattr_open(op, f), rc;

	if (fd < 0)
		return fd;
	if (!f->xattr_len && f->flags == XATTR_REPLACE)
		rc = fremovexattr(fd, f->xattr_name);
	else
		rc = fsetxattr(fd, f->xattr_name, f->xattr, f->xattr_len,
			       (int)f->flags);
	rc = op_errno(rc);
	close(fd);
	return rc;
}

int op_xattrcreate(struct op *op)
{
	struct p9_fid *f = op_fid(op);
	char name[P9_NAME_MAX + 1];
	bool good = p9_get_string(&op->in, name, sizeof(name));
	uint64_t len = p9_get(&op->in, 8);
	uint32_t flags = (uint32_t)p9_get(&op->in, 4);
	int rc;

	if (!f || op->in.bad || !good || f->file >= 0 || f->xattr)
		return f ? -EINVAL : -EBADF;
	if (op->fs->readonly)
		return -EROFS;
	if (!xattr_is_users(name))
		return -EOPNOTSUPP;
	if (len > XATTR_MOST ||
	    flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return len > XATTR_MOST ? -E2BIG : -EINVAL;
	rc = xattr_hold(op, f, (uint32_t)len);
	if (rc < 0)
		return rc;
	f->xattr_name = strdup(name);
	f->flags = flags;
	if (!f->xattr_name)
		return -ENOMEM;
	return len ? 0 : xattr_set(op, f);
}

int p9_xattr_read(struct op *op, const struct p9_fid *f, uint64_t offset,
		  uint32_t count)
{
	uint32_t left = 0;

	if (f->xattr_name)
		return -EBADF;
	if (offset < f->xattr_len)
		left = f->xattr_len - (uint32_t)offset;
	if (left > count)
		left = count;
	p9_put(&op->out, left, 4);
	memcpy(op->out.buf + op->out.at, f->xattr + offset * (left > 0), left);
	op->out.at += left;
	return 0;
}

int p9_xattr_write(struct op *op, struct p9_fid *f, uint64_t offset,
		   uint32_t count)
{
	int rc = 0;

	if (!f->xattr_name)
		return -EBADF;
	if (offset != f->xattr_at || count > f->xattr_len - f->xattr_at)
		return -EINVAL;
	memcpy(f->xattr + f->xattr_at, op->in.buf + op->in.at, count);
	f->xattr_at += count;
	if (count && f->xattr_at == f->xattr_len)
		rc = xattr_set(op, f);
	p9_put(&op->out, count, 4);
	return rc;
}

void p9_xattr_drop(struct p9_fs *fs, struct p9_fid *f)
{
	if (f->xattr)
		fs->xattrs -= f->xattr_len;
	free(f->xattr);
	free(f->xattr_name);
}
