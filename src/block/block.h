/*
 * block.h - virtual disks: formats and filters that stack, and the queue
 * through which a device uses them.
 *
 * A disk is a stack of nodes.  The top is what the guest sees; each node
 * answers from its lower nodes:
 *
 *	throttle			filter: tokens for bytes and operations
 *	   | file
 *	fault				filter: injects errors, for tests
 *	   | file
 *	qcow2 ---- backing ----> qcow2 (read-only) ---> raw
 *	   | file				| file	    | file
 *	posix				posix		posix
 *
 * Formats and filters are synchronous: a call returns when it is done, and
 * may be made by many threads at once (each node locks its own metadata,
 * never across the I/O of data).  What makes disks asynchronous is the queue
 * at the top (queue.h): it tries a request at once where that cannot block
 * (BLOCK_NOWAIT), else finds out where the bytes lie (map) and hands them to
 * io_uring, else gives the whole call to a pool of threads.
 *
 * Offsets and lengths are bytes; nodes accept any alignment and length
 * within their size (a node of O_DIRECT files bounces what does not fit).
 *
 * After flush returned 0, whatever was written before it began is on stable
 * storage, metadata included.  What was not flushed may be lost in a crash,
 * but never mixes in bytes of other places or breaks the image.
 *
 * What an image contains is untrusted: the formats check every offset and
 * size; a broken image gives -EIO and one sentence, never a crash.
 */
#ifndef HOSTEL_BLOCK_BLOCK_H
#define HOSTEL_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/err.h"

#define BLOCK_SECTOR 512

/* Flags of the operations. */
#define BLOCK_NOWAIT 0x1 /* -EAGAIN, nothing done, if it might block */
#define BLOCK_FUA    0x2 /* write: on stable storage when it returns */
#define BLOCK_UNMAP  0x4 /* zero: may give the space back */
/* write: compressed, where the format can and the range is whole clusters */
#define BLOCK_COMPRESS 0x8

/* What lies at a range, by block_map(). */
enum block_extent_type {
	BLOCK_EXTENT_DATA, /* in this node's own stack; fd/offset if direct */
	BLOCK_EXTENT_ZERO, /* reads as zeroes, known without reading */
	BLOCK_EXTENT_HOLE, /* not allocated in this node: backing or zeroes */
};

struct block_extent {
	enum block_extent_type type;
	uint64_t length; /* from the asked offset on; at least 1 */
	/*
	 * DATA that lies as it is in a file: another thread (io_uring) may
	 * read it there, or, with for_write, write it there.  -1: go through
	 * the node.  Valid until block_map_done().
	 */
	int fd;
	uint64_t fd_offset;
	unsigned depth; /* 0: this node; 1: its backing; ... */
	int pin;        /* of the node that answered, until block_map_done() */
};

struct block_info {
	const char *format;
	uint64_t size;         /* that the guest sees */
	uint64_t allocated;    /* bytes on the host, this file alone */
	uint32_t cluster_size; /* 0: none */
	char *backing;         /* as the image names it; malloced or NULL */
	char *backing_format;
	char detail[256]; /* of the format, for people; may be empty */
};

struct block_check {
	uint64_t errors; /* data or metadata may be wrong */
	uint64_t leaks;  /* space nobody refers to: harmless */
	uint64_t fixed_errors;
	uint64_t fixed_leaks;
	uint64_t allocated_clusters, total_clusters;
};

struct block_snapshot {
	char id[32];
	char name[256];
	uint64_t vm_state_size;
	int64_t date_ns; /* since 1970, UTC */
	uint64_t disk_size;
};

struct block;

/*
 * What a node is.  NULL where a format cannot; block_*() then answers
 * -ENOTSUP (flush, discard: 0).  Each is called with offset + length checked
 * against the size (but grow).  Return 0 or -errno.
 */
struct block_ops {
	const char *name; /* "raw", "qcow2", "vmdk", "throttle", ... */
	/*
	 * write honours BLOCK_FUA by itself; else block_writev() leaves the
	 * flag out and flushes afterwards.
	 */
	bool fua;

	int (*read)(struct block *b, const struct iovec *iov, int iovcnt,
		    uint64_t offset, uint64_t length, unsigned flags);
	int (*write)(struct block *b, const struct iovec *iov, int iovcnt,
		     uint64_t offset, uint64_t length, unsigned flags);
	int (*zero)(struct block *b, uint64_t offset, uint64_t length,
		    unsigned flags);
	int (*discard)(struct block *b, uint64_t offset, uint64_t length);
	int (*flush)(struct block *b);

	/*
	 * Where [offset, offset+length) lies; the answer covers a prefix of
	 * it.  for_write: only what may be overwritten in place is DATA with
	 * a descriptor.  An answer with a descriptor pins the mapping until
	 * map_done (may be NULL: nothing to unpin).  With BLOCK_NOWAIT in
	 * flags: -EAGAIN if finding out might block.
	 */
	int (*map)(struct block *b, uint64_t offset, uint64_t length,
		   bool for_write, unsigned flags, struct block_extent *out);
	void (*map_done)(struct block *b, const struct block_extent *e);

	int (*resize)(struct block *b, uint64_t size, struct err *err);
	int (*info)(struct block *b, struct block_info *out);
	/* repair: 0 look only, 1 leaks, 2 all. */
	int (*check)(struct block *b, unsigned repair, struct block_check *out,
		     FILE *report, struct err *err);
	int (*snapshot_list)(struct block *b, struct block_snapshot **out,
			     unsigned *count, struct err *err);
	int (*snapshot_create)(struct block *b, const char *name,
			       struct err *err);
	int (*snapshot_apply)(struct block *b, const char *name,
			      struct err *err);
	int (*snapshot_delete)(struct block *b, const char *name,
			       struct err *err);
	/* Rewrites which backing file the image names (no data moves). */
	int (*set_backing)(struct block *b, const char *file,
			   const char *format, struct err *err);
	/*
	 * Reserves the host's space for a range, which reads as before;
	 * -EOPNOTSUPP where the host cannot.
	 */
	int (*allocate)(struct block *b, uint64_t offset, uint64_t length);
	/* See block_hurry(). */
	void (*hurry)(struct block *b, bool on);
	/* Flushes what it can, frees opaque; lower nodes are closed after. */
	void (*close)(struct block *b);
};

/* A node.  Fields are set while it is opened; size changes by resize. */
struct block {
	const struct block_ops *ops;
	void *opaque;
	struct block *file;    /* what this node's bytes lie in; NULL: posix */
	struct block *backing; /* read where a format has nothing; or NULL */
	_Atomic uint64_t size;
	bool readonly;
	/*
	 * A file of the host, or a filter on one: a write past the end makes
	 * it longer, a read there gives zeroes.
	 */
	bool grows;
	bool writethrough; /* block_writev() and block_zero() imply FUA */
	char *path;        /* for sentences; of the file below */
};

enum block_cache {
	BLOCK_CACHE_WRITEBACK,    /* host page cache; flush is fdatasync */
	BLOCK_CACHE_NONE,         /* O_DIRECT; flush is fdatasync */
	BLOCK_CACHE_WRITETHROUGH, /* each write is FUA */
	BLOCK_CACHE_UNSAFE, /* flush is nothing: for builds, not for data */
};

struct block_throttle {
	uint64_t bps, iops;             /* 0: no limit */
	uint64_t bps_burst, iops_burst; /* bucket size; 0: a tenth second */
};

struct block_open {
	const char *path;
	const char *format; /* NULL: by its content; raw only if named or if
			     * nothing else fits and the file says nothing */
	bool readonly;
	bool no_backing; /* only this file: for info, rebase, check */
	bool no_lock;    /* for info while a guest runs */
	bool discard;    /* pass discards on to the host */
	bool repair;     /* for check alone: also what is marked as broken */
	enum block_cache cache;
	struct block_throttle throttle;
	const char *fault; /* rules of the fault filter (fault.h); or NULL */
	const struct block_chain *chain; /* format.c's own: files on top */
};

#define BLOCK_CHAIN_MAX 64 /* backing files */

/*
 * Opens a whole stack.  Locks it: the top for writing (or reading if
 * readonly), backing files for reading, by open-file-description locks that
 * qemu respects as well; -EBUSY with the sentence if another uses it.  A
 * backing chain that loops, is missing or too long is refused with a
 * sentence.
 */
int block_open(struct block **out, const struct block_open *how,
	       struct err *err);
/*
 * The same for a file alone, as formats see it in b->file: for the files
 * that an image has beside the one it was opened by.
 */
int block_open_file(struct block **out, const struct block_open *how,
		    struct err *err);
/* Closes the node and all below; NULL is fine.  No call may be running. */
void block_close(struct block *b);

/*
 * The iovecs together hold `length` bytes.  Outside the size: -EINVAL;
 * readonly: -EROFS; where the host's disk is full: -ENOSPC.
 */
int block_read(struct block *b, void *buf, uint64_t offset, uint64_t length);
int block_write(struct block *b, const void *buf, uint64_t offset,
		uint64_t length);
int block_readv(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length, unsigned flags);
int block_writev(struct block *b, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length, unsigned flags);
int block_zero(struct block *b, uint64_t offset, uint64_t length,
	       unsigned flags);
int block_discard(struct block *b, uint64_t offset, uint64_t length);
int block_flush(struct block *b);
int block_map(struct block *b, uint64_t offset, uint64_t length, bool for_write,
	      unsigned flags, struct block_extent *out);
void block_map_done(struct block *b, const struct block_extent *e);
/* Not while others may write past the end: it would be cut off. */
int block_resize(struct block *b, uint64_t size, struct err *err);
int block_allocate(struct block *b, uint64_t offset, uint64_t length);
/*
 * Somebody waits for what is in flight (a reset, the guest's end): calls that
 * wait for their turn go on at once, until as many hurries ended.
 */
void block_hurry(struct block *b, bool on);
/* out->backing and out->backing_format are the caller's. */
int block_get_info(struct block *b, struct block_info *out);

/* --- Formats ------------------------------------------------------------- */

enum block_prealloc {
	BLOCK_PREALLOC_OFF,      /* thin */
	BLOCK_PREALLOC_METADATA, /* thin, tables in place */
	BLOCK_PREALLOC_FALLOC,   /* thick, lazily zeroed */
	BLOCK_PREALLOC_FULL,     /* thick, eagerly zeroed */
};

struct block_create {
	const char *path;
	const char *format;
	uint64_t size;       /* 0 with backing: its size */
	const char *backing; /* as the image shall name it; or NULL */
	const char *backing_format;
	enum block_prealloc prealloc;
	uint32_t cluster_size;   /* 0: the format's own choice */
	const char *variant;     /* vmdk: "sparse", "stream", "flat";
				  * qcow2: "v2", "v3"; NULL: usual */
	const char *compression; /* qcow2: "zlib", "zstd"; NULL: zlib */
	unsigned refcount_bits;  /* qcow2: 1..64; 0: 16 */
	bool lazy_refcounts, compressed, force;
	/* Long work tells how far it is; may be NULL. Non-zero: stop. */
	int (*progress)(void *opaque, uint64_t done, uint64_t total);
	void *opaque;
};

/*
 * A format as the table in format.c lists it.  probe: how sure the first
 * `len` bytes (at most 64 KiB) make one, 0..100.  open: b->file is open,
 * how->path names it; sets b->ops' node, b->size, and opens b->backing by
 * block_open_backing().
 */
struct block_format {
	const struct block_ops *ops;
	int (*probe)(const void *head, size_t len);
	int (*open)(struct block *b, const struct block_open *how,
		    struct err *err);
	/* Makes the image in an open, empty file, size 0. */
	int (*create)(struct block *file, const struct block_create *how,
		      struct err *err);
};

extern const struct block_format block_raw;
extern const struct block_format block_qcow2;
extern const struct block_format block_vmdk;
/* All of them, NULL at the end. */
extern const struct block_format *const block_formats[];

const struct block_format *block_format_find(const char *name);
/*
 * For a format's open: opens the file that it names, relative to the image's
 * own directory, and puts it into b->backing.
 */
int block_open_backing(struct block *b, const struct block_open *how,
		       const char *file, const char *format, struct err *err);
/* Never leaves a half-written image: a temporary file, renamed when whole. */
int block_create(const struct block_create *how, struct err *err);
/* Would block_create() be allowed to make that path, as far as it exists? */
int block_create_check(const struct block_create *how, struct err *err);

#endif
