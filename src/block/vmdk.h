/*
 * vmdk.h - for vmdk*.c only: VMware disks.
 *
 * Source: VMware, Virtual Disk Format 5.0 (2011).  All numbers are
 * little-endian; "sector" is 512 bytes.
 *
 * A disk is a descriptor (text: identity, parent, a list of extents) and its
 * extents, one after the other.  The descriptor is a file of its own, or lies
 * inside the one sparse extent that it describes.
 *
 *	vmdk_desc.c	the text
 *	vmdk_sparse.c	a sparse extent: header, directory, tables, grains
 *	vmdk_stream.c	compressed grains
 *	vmdk.c		the node: extents as one disk
 *	vmdk_create.c	new images
 *	vmdk_check.c	looking for damage
 */
#ifndef HOSTEL_BLOCK_VMDK_H
#define HOSTEL_BLOCK_VMDK_H

#include <pthread.h>

#include "block/block.h"

#define VMDK_MAGIC      0x564d444bu /* "KDMV" */
#define VMDK_NO_PARENT  0xffffffffu
#define VMDK_AT_END     UINT64_MAX /* gdOffset: see the footer */
#define VMDK_DESC_MAX   (1u << 20)
#define VMDK_EXTENTS    4096
#define VMDK_GTES       512
#define VMDK_GRAIN      128 /* sectors, where we choose */
#define VMDK_DESC_ROOM  20  /* sectors of an embedded descriptor */
#define VMDK_NAME_MAX   1024
#define VMDK_GRAIN_ZERO 1 /* a table's entry: reads as zeroes */

#define VMDK_FLAG_NEWLINES  0x1u
#define VMDK_FLAG_REDUNDANT 0x2u
#define VMDK_FLAG_ZEROES    0x4u
#define VMDK_FLAG_PACKED    0x10000u
#define VMDK_FLAG_MARKERS   0x20000u

#define VMDK_MARKER_END    0
#define VMDK_MARKER_GT     1
#define VMDK_MARKER_GD     2
#define VMDK_MARKER_FOOTER 3

/* --- The descriptor --------------------------------------------------------
 */

enum vmdk_type { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_line {
	enum vmdk_type type;
	bool writable;
	uint64_t sectors;
	uint64_t offset; /* FLAT: sectors into the file */
	char *file;      /* NULL: ZERO */
};

struct vmdk_desc {
	uint32_t cid, parent_cid;
	char create_type[64];
	char *parent; /* parentFileNameHint; NULL: none */
	struct vmdk_line *line;
	unsigned lines;
};

/* text is NUL-terminated and untrusted. */
int vmdk_desc_parse(struct vmdk_desc *d, const char *text, const char *path,
		    struct err *err);
void vmdk_desc_free(struct vmdk_desc *d);
/* Malloced text; `extents` holds whole lines.  NULL: no memory. */
char *vmdk_desc_text(const struct vmdk_desc *d, const char *extents,
		     uint64_t sectors);
/* Where the eight digits of CID= stand in a text; -1: nowhere. */
long vmdk_desc_cid_at(const char *text);

/* --- A sparse extent --------------------------------------------------------
 */

/* The header's fields, in the file's order (0..78). */
struct vmdk_header {
	uint32_t version, flags;
	uint64_t capacity, grain; /* sectors */
	uint64_t desc_offset, desc_size;
	uint32_t gtes;
	uint64_t rgd_offset, gd_offset, overhead;
	uint8_t unclean;
	uint16_t compression; /* 1: deflate */
};

void vmdk_header_put(uint8_t sector[512], const struct vmdk_header *h);
/* False: no magic. */
bool vmdk_header_get(struct vmdk_header *h, const uint8_t sector[512]);

struct vmdk_claim {
	uint64_t first, count; /* grains that are being written for the first
				* time; count 0: free */
};

#define VMDK_CLAIMS 32

struct vmdk_sparse {
	struct block *file;
	struct vmdk_header h;
	uint64_t grain_bytes, grains;
	uint32_t tables;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t claimed;
	uint32_t *gd, *rgd; /* where tables lie; rgd NULL: one copy */
	bool gd_dirty;
	uint32_t **gt; /* as read so far */
	bool *dirty;   /* tables with entries that are not in the file */
	uint64_t next; /* where the next grain goes, bytes */
	struct vmdk_claim claim[VMDK_CLAIMS];
	pthread_mutex_t flushing; /* one at a time; taken before lock */
	/* Compressed grains: */
	bool writer; /* a new stream, written front to back */
	uint8_t *unpacked;
	uint64_t unpacked_grain; /* UINT64_MAX: none */
};

enum vmdk_kind { VMDK_HOLE, VMDK_ZEROES, VMDK_DATA, VMDK_PACKED };

/* A run of bytes that lie in one piece. */
struct vmdk_run {
	enum vmdk_kind kind;
	uint64_t length;
	uint64_t host; /* DATA: offset in the file; PACKED: of the marker */
};

/* file stays the caller's. */
int vmdk_sparse_open(struct vmdk_sparse **out, struct block *file,
		     bool readonly, struct err *err);
/* NULL is fine. */
void vmdk_sparse_free(struct vmdk_sparse *s);
/* What lies at offset, for at most length bytes. */
int vmdk_sparse_run(struct vmdk_sparse *s, uint64_t offset, uint64_t length,
		    unsigned flags, struct vmdk_run *out);
/*
 * Writes grains that do not exist.  [offset, offset+length) is within them;
 * what of the first and last one is not covered comes from `backing` at
 * base + offset (NULL: zeroes).  *done: how much; 0: look again, they exist
 * now.
 */
int vmdk_sparse_write_new(struct vmdk_sparse *s, struct block *backing,
			  uint64_t base, const struct iovec *iov, int iovcnt,
			  uint64_t offset, uint64_t length, uint64_t *done);
int vmdk_sparse_flush(struct vmdk_sparse *s);
/* Before it is closed: some readers want the last grain whole. */
int vmdk_sparse_pad(struct vmdk_sparse *s);
/* Writes the header's unclean byte. */
int vmdk_sparse_mark(struct vmdk_sparse *s, bool unclean);
/* Table n, read if need be.  With the lock held. */
int vmdk_sparse_table(struct vmdk_sparse *s, uint32_t n, unsigned flags,
		      uint32_t **out);

/* --- Compressed grains ------------------------------------------------------
 */

/* The grain that holds `offset`, unpacked, to iov.  Within one grain. */
int vmdk_stream_read(struct vmdk_sparse *s, uint64_t host,
		     const struct iovec *iov, int iovcnt, size_t at,
		     uint64_t offset, uint64_t length);
int vmdk_stream_write(struct vmdk_sparse *s, const struct iovec *iov,
		      int iovcnt, uint64_t offset, uint64_t length);
/* Tables, directory, footer. */
int vmdk_stream_finish(struct vmdk_sparse *s);

/* --- The node ---------------------------------------------------------------
 */

struct vmdk_extent {
	enum vmdk_type type;
	bool writable;
	bool own; /* file is closed with the node */
	struct block *file;
	uint64_t start, bytes; /* in the disk */
	uint64_t offset;       /* FLAT: in the file */
	struct vmdk_sparse *sparse;
};

struct vmdk {
	struct block *b;
	struct vmdk_desc desc;
	struct vmdk_extent *extent;
	unsigned extents;
	uint64_t desc_at;    /* of the text in b->file */
	uint64_t desc_bytes; /* its room */
	pthread_mutex_t lock;
	_Atomic bool touched; /* marked as in use, with a new CID */
};

uint32_t vmdk_random_cid(void);
int vmdk_create(struct block *file, const struct block_create *how,
		struct err *err);
int vmdk_check(struct block *b, unsigned repair, struct block_check *out,
	       FILE *report, struct err *err);

#endif
