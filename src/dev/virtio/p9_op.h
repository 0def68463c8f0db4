/*
 * p9_op.h - inside of the 9P server: a request in the making, and what the
 * files of requests (p9_op.c has the table of them) share.
 */
#ifndef HOSTEL_DEV_VIRTIO_P9_OP_H
#define HOSTEL_DEV_VIRTIO_P9_OP_H

#include <sys/stat.h>

#include "dev/virtio/p9_impl.h"

#define OP_QID_DIR     0x80
#define OP_QID_LINK    0x02
#define OP_UNSAFE_MODE (S_ISUID | S_ISGID)

/* in: the arguments, not yet read; out: the answer behind its header. */
struct op {
	struct p9_fs *fs;
	struct p9_msg in, out;
};

/* The fid that is the next argument, or NULL. */
struct p9_fid *op_fid(struct op *op);

/* 0, or what errno says when rc < 0. */
int op_errno(int rc);

void op_put_qid(struct op *op, const struct stat *st);
int op_put_qid_of(struct op *op, int fd);

/* Owners as the guest wants them, UINT32_MAX for as they are; what the host
 * refuses stays. */
void op_give(int fd, uint32_t uid, uint32_t gid);

/* Each reads its arguments and puts its answer: 0 or -errno. */
int op_statfs(struct op *op);
int op_lopen(struct op *op);
int op_lcreate(struct op *op);
int op_symlink(struct op *op);
int op_mknod(struct op *op);
int op_readlink(struct op *op);
int op_getattr(struct op *op);
int op_setattr(struct op *op);
int op_readdir(struct op *op);
int op_fsync(struct op *op);
int op_lock(struct op *op);
int op_getlock(struct op *op);
int op_link(struct op *op);
int op_mkdir(struct op *op);
int op_renameat(struct op *op);
int op_unlinkat(struct op *op);
int op_read(struct op *op);
int op_write(struct op *op);
int op_xattrwalk(struct op *op);
int op_xattrcreate(struct op *op);

/* Reading and writing where the fid is an attribute's value. */
int p9_xattr_read(struct op *op, const struct p9_fid *f, uint64_t offset,
		  uint32_t count);
int p9_xattr_write(struct op *op, struct p9_fid *f, uint64_t offset,
		   uint32_t count);

#endif
