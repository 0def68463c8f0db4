/*
 * p9_impl.h - what the files of virtio-9p share: p9.c (device, thread),
 * p9_msg.c (messages), p9_fs.c (files that a guest holds), p9_op.c (requests,
 * as p9_attr.c, p9_data.c, p9_make.c and p9_xattr.c).
 * All but p9.c run in the device's thread alone.
 */
#ifndef HOSTEL_DEV_VIRTIO_P9_IMPL_H
#define HOSTEL_DEV_VIRTIO_P9_IMPL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/walk.h"

#define P9_MSIZE_MIN 4096u
#define P9_MSIZE_MAX (512u * 1024)
#define P9_FIDS_MAX  65536u
#define P9_BUCKETS   1024u
#define P9_NAME_MAX  255
#define P9_HEAD      7 /* size[4] type[1] tag[2] */
#define P9_WALK_MAX  16
#define P9_NO_FID    0xffffffffu

/* --- Messages: p9_msg.c ----------------------------------------------------
 */

/* A request that is read, or an answer that is written; bad: it ran out. */
struct p9_msg {
	uint8_t *buf;
	uint32_t at, end;
	bool bad;
};

uint64_t p9_get(struct p9_msg *m, unsigned bytes);
/* A name: one path component.  False: none that could be (m->bad or not). */
bool p9_get_name(struct p9_msg *m, char name[P9_NAME_MAX + 1]);
/* Any string; false: longer than size - 1. */
bool p9_get_string(struct p9_msg *m, char *s, size_t size);
void p9_put(struct p9_msg *m, uint64_t value, unsigned bytes);
void p9_put_string(struct p9_msg *m, const char *s);

/* --- What the guest holds: p9_fs.c -----------------------------------------
 */

struct p9_fid {
	struct p9_fid *next; /* in its bucket */
	uint32_t id;
	int path;       /* O_PATH */
	int file;       /* open for I/O; -1: not */
	uint32_t flags; /* Linux open flags of `file`, or setxattr(2)'s */
	uint32_t uid;   /* of whom the guest acts for; UINT32_MAX: not known */
	/* The value of an attribute, not a file: p9_xattr.c */
	uint8_t *xattr;
	uint32_t xattr_len, xattr_at; /* in all; as far as it is written */
	char *xattr_name;             /* NULL: to be read */
};

struct p9_fs {
	int root;     /* O_PATH */
	int self_fds; /* /proc/self/fd: a way from O_PATH to an open file */
	bool readonly;
	dev_t dev;
	char *dir; /* for sentences */
	uint32_t msize;
	unsigned count;
	uint32_t xattrs; /* bytes of values that fids hold */
	struct p9_fid *bucket[P9_BUCKETS];
};

int p9_fs_init(struct p9_fs *fs, const char *dir, bool readonly,
	       struct err *err);
void p9_fs_exit(struct p9_fs *fs);
/* All fids go: Tversion, reset. */
void p9_fs_forget(struct p9_fs *fs);
void p9_fs_walk(struct p9_fs *fs, struct walk *w);

struct p9_fid *p9_fid_find(struct p9_fs *fs, uint32_t id);
/* Takes `path` over, also on failure. */
int p9_fid_add(struct p9_fs *fs, uint32_t id, int path, struct p9_fid **out);
void p9_fid_drop(struct p9_fs *fs, struct p9_fid *f);
/* What it has of p9_xattr.c's. */
void p9_xattr_drop(struct p9_fs *fs, struct p9_fid *f);

/* Descriptors or -errno. */
int p9_open_name(int dir, const char *name);
int p9_open_file(struct p9_fs *fs, int path, uint32_t flags);
/* "N", for the *at() calls that follow self_fds. */
const char *p9_fd_name(char buf[16], int fd);
bool p9_is_root(const struct p9_fs *fs, const struct stat *st);

/* --- Requests: p9_op.h -----------------------------------------------------
 */

/*
 * One request of `len` bytes in `in`; the answer goes to out (msize bytes of
 * room).  Returns its length; 0: nothing that could be answered.
 */
uint32_t p9_serve(struct p9_fs *fs, uint8_t *in, uint32_t len, uint8_t *out,
		  uint32_t room);

#endif
