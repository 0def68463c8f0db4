/*
 * qcow2.h - what the files of the qcow2 format share; nobody else includes it.
 *
 * Source of every layout here: qemu's docs/interop/qcow2.txt ("the format"),
 * versions 2 and 3.
 *
 *	guest offset = | L1 index | L2 index | offset in cluster |
 *
 *	L1 table ---> L2 table ---> data cluster
 *	snapshot's L1 ---^              ^		(shared: refcount > 1)
 *	refcount table ---> refcount block: how many refer to each cluster
 *
 * Theory of operation
 *
 * Looking up.  L2 tables are cached in slices of at most 4 KiB
 * (qcow2_cache.c), found through an array per L1 entry, without a lock: who
 * looks holds a pin (qcow2_pin.c), and whatever he might still use (a slice
 * that was evicted, a cluster that was freed) goes away only after the pins
 * of its time are gone.  Entries change under q->lock, by atomic stores.
 *
 * Writing.  A cluster that only the active L1 refers to (flag COPIED) is
 * written in place.  Everything else is allocated: the guest's clusters are
 * entered in q->inflight (which makes others wait for the same cluster, and
 * nobody else), host clusters are taken in a run, data and what must be
 * copied around it are written without a lock, and the L2 entries follow.
 *
 * Ordering.  Changed metadata stays in memory until a flush, a commit:
 *
 *	refcount blocks -> sync -> reference table (if changed) -> sync ->
 *	L2 slices -> sync -> L1 -> sync
 *
 * with each step left out where there is nothing to write.  The first sync
 * makes the data stable before an L2 entry refers to it.  A refcount that
 * falls is changed, even in memory, only after the commit that wrote the last
 * reference away; so refcount blocks may be written at any time, a cluster is
 * never used again while the disk's tables name it, and a crash at any moment
 * leaves leaked clusters at worst.
 *
 * Structure (snapshots, size, repair) changes with the image frozen: no pin
 * is held, and nobody gets one.
 *
 * Missing on purpose: encryption, external data files (refused); images with
 * subclusters are only read; bitmaps are kept, but marked as out of date when
 * an image is opened for writing; lazy refcounts are never lazy here (the
 * cache writes them once per flush), the flag is kept.
 */
#ifndef HOSTEL_BLOCK_QCOW2_H
#define HOSTEL_BLOCK_QCOW2_H

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>

#include "block/block.h"

#define QCOW2_MAGIC 0x514649fbu

/* Incompatible features; others refuse the image. */
#define QCOW2_DIRTY       (1ull << 0)
#define QCOW2_CORRUPT     (1ull << 1)
#define QCOW2_EXTERNAL    (1ull << 2)
#define QCOW2_COMPRESSION (1ull << 3)
#define QCOW2_SUBCLUSTERS (1ull << 4)
/* Compatible and autoclear features. */
#define QCOW2_LAZY    (1ull << 0)
#define QCOW2_BITMAPS (1ull << 0)

enum qcow2_extension {
	QCOW2_EXT_END = 0,
	QCOW2_EXT_BACKING_FORMAT = 0xe2792aca,
	QCOW2_EXT_FEATURE_NAMES = 0x6803f857,
	QCOW2_EXT_BITMAPS = 0x23852875,
	QCOW2_EXT_ENCRYPTION = 0x0537be77,
	QCOW2_EXT_DATA_FILE = 0x44415441,
};

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

/* Bits of L1 and L2 entries; the offset is a multiple of 512 at least. */
#define QCOW2_COPIED      (1ull << 63)
#define QCOW2_COMPRESSED  (1ull << 62)
#define QCOW2_ZERO        1ull
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull

#define QCOW2_MIN_BITS      9
#define QCOW2_MAX_BITS      21
#define QCOW2_MAX_L1        (32u << 20) /* bytes */
#define QCOW2_MAX_REFTABLE  (8u << 20)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_SLICE         4096
#define QCOW2_DIRTY_MAX     2048 /* slices that wait for a flush: 8 MiB */

/* The header, in the host's byte order. */
struct qcow2_header {
	uint32_t version, cluster_bits, crypt_method;
	uint64_t backing_offset, size;
	uint32_t backing_size;
	uint32_t l1_size;
	uint64_t l1_offset, reftable_offset;
	uint32_t reftable_clusters, nb_snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, header_length;
	uint8_t compression;
	/* Strings are malloced; NULL: none. */
	char *backing, *backing_format;
	/* Extensions that are not ours, as they stand in the file. */
	void *extensions;
	size_t extensions_len;
	struct {
		uint32_t count;
		uint64_t dir_size, dir_offset;
	} bitmaps;
};

/* Part of an L2 table. */
struct qcow2_slice {
	uint32_t l1_index, number; /* in its table */
	_Atomic bool used;         /* since the clock hand passed */
	/* guarded by q->lock: */
	bool dirty, busy; /* busy: a commit is writing a copy */
	unsigned refs;    /* by allocations under way */
	struct qcow2_slice *next_dirty;
	_Atomic uint64_t *entries; /* big-endian, as in the file */
};

/* A refcount block.  All guarded by q->lock. */
struct qcow2_rblock {
	uint32_t dirty_lo, dirty_hi; /* bytes; lo < hi: dirty */
	bool busy, used;
	uint8_t *data;
};

/* Clusters that lose one reference each. */
struct qcow2_run {
	uint64_t first, count;
};

struct qcow2_frees {
	struct qcow2_frees *next;
	size_t count, cap;
	struct qcow2_run *runs;
};

/* What goes away once the pins of its time are gone. */
struct qcow2_retired {
	struct qcow2_retired *next;
	unsigned epoch;
	void *memory; /* to free; or */
	struct qcow2_slice *slice;
	struct qcow2_frees *frees; /* to apply */
};

/* Guest clusters that somebody is allocating. */
struct qcow2_inflight {
	struct qcow2_inflight *next;
	uint64_t first, count;
};

/* Host clusters of metadata: open addressing, read without a lock. */
struct qcow2_set {
	size_t mask, count;
	_Atomic uint64_t slot[]; /* cluster + 1; 0: empty */
};

struct qcow2_snapshot {
	uint64_t l1_offset;
	uint32_t l1_size;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock_ns, vm_state_size, disk_size;
	uint64_t icount;
	unsigned extra_len; /* of what the file has */
	char *id, *name;
};

#define QCOW2_CCACHE 8 /* clusters kept decompressed */

struct qcow2 {
	struct block *b;
	struct qcow2_header h; /* its offsets: guarded by lock */
	uint32_t cluster_size;
	unsigned cluster_bits, l2_bits, slice_bits; /* log2 of entries */
	unsigned entry_shift;                       /* log2 of entry bytes */
	unsigned rb_bits;                           /* refcounts in a block */
	bool discard;                               /* pass on what was freed */
	_Atomic bool broken;                        /* no more writing */
	_Atomic uint64_t end; /* of the file: nothing lies beyond */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* inflight, frozen, committing */

	/* qcow2_pin.c */
	_Atomic unsigned epoch, pins[2];
	_Atomic bool frozen;
	/* guarded by lock, as what follows where it does not say else */
	struct qcow2_retired *retired, *retired_last;

	/* qcow2_cache.c; l1 and dir: changed under lock, read by anybody */
	_Atomic uint64_t *l1;
	struct qcow2_slice *_Atomic *_Atomic *dir;
	struct qcow2_slice **slices;
	size_t nslices, slices_cap, slices_max, hand, dirty_count;
	struct qcow2_slice *dirty;
	uint32_t l1_dirty_lo, l1_dirty_hi;
	unsigned evictions;
	struct qcow2_set *_Atomic metadata;

	/* qcow2_refcount.c */
	uint64_t *reftable;
	uint32_t reftable_size, reftable_dirty_lo, reftable_dirty_hi;
	struct qcow2_rblock **rblocks;
	size_t nrblocks, rblocks_max;
	uint32_t rblock_hand;
	bool rblocks_dirty;
	uint64_t free_hint; /* no free cluster below */
	uint64_t fresh;     /* clusters from here on were never used */
	struct qcow2_frees *frees, *ready;
	uint64_t packed; /* where compressed data goes on; 0: nowhere */

	/* qcow2_commit.c */
	bool committing;
	uint64_t commits_begun, commits_done;
	int commit_result;

	struct qcow2_inflight *inflight;
	uint64_t no_try_until; /* clock_mono_ns() */

	pthread_mutex_t ccache_lock; /* guards: */
	struct {
		uint64_t entry;
		uint8_t *data;
	} ccache[QCOW2_CCACHE];
	unsigned ccache_next;

	struct qcow2_snapshot *snapshots; /* h.nb_snapshots */
};

static inline uint64_t qcow2_cluster(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits;
}

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + !!(bytes & (q->cluster_size - 1));
}

static inline uint32_t qcow2_l1_index(const struct qcow2 *q, uint64_t offset)
{
	return (uint32_t)(offset >> (q->cluster_bits + q->l2_bits));
}

static inline uint32_t qcow2_l2_index(const struct qcow2 *q, uint64_t offset)
{
	return offset >> q->cluster_bits & ((1u << q->l2_bits) - 1);
}

/*
 * The image is broken: says so once, marks it if it is written, and refuses
 * further writes.  Returns -EIO.
 */
int qcow2_broken(struct qcow2 *q, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- qcow2_header.c: the header and its extensions ----------------------- */

/* Reads and checks all that does not need other parts of the file. */
int qcow2_header_read(struct block *file, struct qcow2_header *h,
		      const char *path, struct err *err);
/* Writes cluster 0 anew, with the same extensions.  Not synced. */
int qcow2_header_write(struct block *file, const struct qcow2_header *h,
		       struct err *err);
/* Changes the feature words alone (version 3), and syncs. */
int qcow2_header_features(struct qcow2 *q);
void qcow2_header_free(struct qcow2_header *h);

/* --- qcow2_pin.c ---------------------------------------------------------- */

/* 0 or 1 to unpin with; -EAGAIN: frozen, and BLOCK_NOWAIT in flags. */
int qcow2_pin(struct qcow2 *q, unsigned flags);
void qcow2_unpin(struct qcow2 *q, int pin);
/* lock held.  r: filled in by the caller, malloced, ours from now on. */
void qcow2_retire(struct qcow2 *q, struct qcow2_retired *r);
/* lock held: drops what no pin can see any more. */
void qcow2_reclaim(struct qcow2 *q);
/* Waits until nobody holds a pin; then takes the lock. */
void qcow2_freeze(struct qcow2 *q);
void qcow2_thaw(struct qcow2 *q);

/* --- qcow2_cache.c: L1, L2 slices, and what is metadata ------------------- */

enum qcow2_kind {
	QCOW2_HOLE,
	QCOW2_ZEROES, /* no cluster behind, or none that counts */
	QCOW2_DATA,
	QCOW2_PACKED, /* compressed */
};

struct qcow2_extent {
	enum qcow2_kind kind;
	uint64_t length; /* from the asked offset on */
	uint64_t host;   /* DATA: where it starts */
	bool writable;   /* DATA: in place */
	uint64_t entry;  /* PACKED: the L2 entry */
};

int qcow2_cache_init(struct qcow2 *q);
void qcow2_cache_free(struct qcow2 *q);
/* pin held, not the lock.  -EAGAIN: BLOCK_NOWAIT, and not cached. */
int qcow2_lookup(struct qcow2 *q, uint64_t offset, uint64_t length,
		 unsigned flags, struct qcow2_extent *out);
/*
 * lock held: the slice for `offset` to be changed, its table the active L1's
 * own.  1: the lock was dropped meanwhile, look at everything again.
 */
int qcow2_slice_for_write(struct qcow2 *q, uint64_t offset,
			  struct qcow2_slice **out);
/* lock held: would qcow2_slice_for_write() have nothing to do? */
bool qcow2_slice_cached(struct qcow2 *q, uint64_t offset,
			struct qcow2_slice **out);
/* lock held: drops every clean slice (after the structure changed). */
void qcow2_cache_drop(struct qcow2 *q);
/* lock held */
uint64_t qcow2_entry(const struct qcow2 *q, const struct qcow2_slice *s,
		     uint64_t offset);
void qcow2_entry_set(struct qcow2 *q, struct qcow2_slice *s, uint64_t offset,
		     uint64_t entry);
static inline uint32_t qcow2_slice_entries(const struct qcow2 *q)
{
	return 1u << q->slice_bits;
}

/*
 * The classification of one L2 entry.  -EIO: it cannot be; the sentence was
 * said.
 */
int qcow2_classify(struct qcow2 *q, uint64_t entry, uint64_t guest,
		   struct qcow2_extent *out);
/* Where compressed data lies: [*offset, *offset+*length). */
void qcow2_packed_place(const struct qcow2 *q, uint64_t entry, uint64_t *offset,
			uint64_t *length);

/* Host clusters [first, first+count) hold metadata that is in use. */
bool qcow2_is_metadata(struct qcow2 *q, uint64_t first, uint64_t count);
int qcow2_metadata_add(struct qcow2 *q, uint64_t first, uint64_t count);
void qcow2_metadata_remove(struct qcow2 *q, uint64_t first, uint64_t count);
/*
 * Builds the set anew (frozen, or opening).  Metadata that overlaps other
 * metadata: -EIO with a sentence.
 */
int qcow2_metadata_build(struct qcow2 *q, struct err *err);

/* --- qcow2_refcount.c: all with the lock held ----------------------------- */

int qcow2_refcount_init(struct qcow2 *q, struct err *err);
void qcow2_refcount_free(struct qcow2 *q);
uint64_t qcow2_refcount_max(const struct qcow2 *q);
int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *out);
/* -EOVERFLOW: the image's refcounts are too narrow. */
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, int delta);
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value);
/*
 * A run of at most `want` clusters, refcount 1; *fresh: it reads as zeroes.
 * -EAGAIN: the lock was dropped meanwhile, and nothing taken.
 */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *got,
		bool *fresh);
/* All in one run; may drop the lock. */
int qcow2_alloc_run(struct qcow2 *q, uint64_t count, uint64_t *first);
/* Gives back at once: what nothing on the disk refers to. */
void qcow2_alloc_undo(struct qcow2 *q, uint64_t first, uint64_t count);
/* Gives back one reference to each after the next commit. */
void qcow2_free_later(struct qcow2 *q, uint64_t first, uint64_t count);
/* Applies q->ready; drops the lock while punching holes. */
void qcow2_free_now(struct qcow2 *q);
/* The field of a block's bytes, of any width (q->h.refcount_order). */
uint64_t qcow2_refcount_field(const uint8_t *data, uint64_t i, unsigned order);
void qcow2_refcount_put(uint8_t *data, uint64_t i, unsigned order,
			uint64_t value);

/* --- qcow2_commit.c ------------------------------------------------------- */

/* No lock, no pin: everything so far on stable storage. */
int qcow2_commit(struct qcow2 *q);
/* Frozen, lock held: the same. */
int qcow2_commit_frozen(struct qcow2 *q);
/* lock held: waits until no commit runs; 1 if it waited. */
int qcow2_commit_wait(struct qcow2 *q);
/*
 * lock held, no commit running: writes the changed refcount blocks, and
 * syncs.
 */
int qcow2_rblocks_write(struct qcow2 *q);
/* lock held: is there metadata to write? */
bool qcow2_is_dirty(const struct qcow2 *q);

/* --- qcow2_io.c, qcow2_alloc.c: the guest's requests ---------------------- */

int qcow2_read(struct block *b, const struct iovec *iov, int iovcnt,
	       uint64_t offset, uint64_t length, unsigned flags);
int qcow2_write(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length, unsigned flags);
int qcow2_zero(struct block *b, uint64_t offset, uint64_t length,
	       unsigned flags);
int qcow2_discard(struct block *b, uint64_t offset, uint64_t length);
int qcow2_flush(struct block *b);
int qcow2_map(struct block *b, uint64_t offset, uint64_t length, bool for_write,
	      unsigned flags, struct block_extent *out);
void qcow2_map_done(struct block *b, const struct block_extent *e);

/* pin held: the guest's bytes as they are, into one buffer. */
int qcow2_read_buf(struct qcow2 *q, void *buf, uint64_t offset,
		   uint64_t length);
/*
 * pin held: writes a prefix of the range to newly allocated clusters;
 * *done says how much (0: somebody else was faster; look again).  With
 * BLOCK_NOWAIT in flags -EAGAIN if it would have to wait or read.
 */
int qcow2_write_alloc(struct qcow2 *q, const struct iovec *iov, int iovcnt,
		      uint64_t skip, uint64_t offset, uint64_t length,
		      unsigned flags, uint64_t *done);
/* Bytes of the iovecs from `skip` on, to or from the file at `host`. */
int qcow2_file_rw(struct qcow2 *q, bool write, const struct iovec *iov,
		  int iovcnt, uint64_t skip, uint64_t host, uint64_t length,
		  unsigned flags);
/*
 * lock held: waits for allocations of these guest clusters; 1 if it waited.
 */
int qcow2_inflight_wait(struct qcow2 *q, uint64_t first, uint64_t count);
/* Forgets what [from, to) holds (whole clusters): behind a new end. */
int qcow2_drop(struct qcow2 *q, uint64_t from, uint64_t to);
/* lock held: the clusters behind an L2 entry lose a reference (later). */
void qcow2_free_entry(struct qcow2 *q, uint64_t entry);

/* --- qcow2_compress.c ----------------------------------------------------- */

/* pin held: [offset, offset+length) lies in one compressed cluster. */
int qcow2_read_packed(struct qcow2 *q, uint64_t entry, const struct iovec *iov,
		      int iovcnt, uint64_t skip, uint64_t offset,
		      uint64_t length);
/* pin held: one whole cluster (or the last); 1: it does not shrink. */
int qcow2_write_packed(struct qcow2 *q, const void *data, uint64_t offset);
void qcow2_ccache_clear(struct qcow2 *q);

/* --- qcow2_resize.c: frozen, lock held ------------------------------------ */

/* Writes an L1 table of any owner, whole clusters. */
int qcow2_l1_write(struct qcow2 *q, uint64_t offset, const uint64_t *l1,
		   uint32_t size);
int qcow2_l1_grow(struct qcow2 *q, uint32_t size, struct err *err);

/* --- the rest ------------------------------------------------------------- */

int qcow2_create(struct block *file, const struct block_create *how,
		 struct err *err);
int qcow2_resize(struct block *b, uint64_t size, struct err *err);
int qcow2_set_backing(struct block *b, const char *file, const char *format,
		      struct err *err);
int qcow2_check(struct block *b, unsigned repair, struct block_check *out,
		FILE *report, struct err *err);
/* Opening, the dirty bit set: counts anew. */
int qcow2_recover(struct qcow2 *q, struct err *err);
int qcow2_snapshots_read(struct qcow2 *q, struct err *err);
void qcow2_snapshots_free(struct qcow2 *q);
int qcow2_snapshot_list(struct block *b, struct block_snapshot **out,
			unsigned *count, struct err *err);
int qcow2_snapshot_create(struct block *b, const char *name, struct err *err);
int qcow2_snapshot_apply(struct block *b, const char *name, struct err *err);
int qcow2_snapshot_delete(struct block *b, const char *name, struct err *err);
/* Bytes of a snapshot's entry in the table, padded. */
size_t qcow2_snapshot_bytes(const struct qcow2_snapshot *s);

#endif
