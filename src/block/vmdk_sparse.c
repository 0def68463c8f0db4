/*
 * vmdk_sparse.c - a sparse extent: where its grains lie.
 *
 * Theory of operation
 *
 * An extent is cut into grains.  Each has an entry in a grain table, each
 * table an entry in the grain directory; there are two copies of both.
 *
 * Tables are read when they are needed, and kept.  A grain that is written
 * for the first time goes to the end of the file; its entry is put into the
 * table in memory once the data is written.  Entries go to the file with the
 * next flush, after the data is on stable storage: so a crash loses what was
 * not flushed, and nothing ever points to what is not there.  Of the copies
 * the redundant one is written first.
 *
 * While a grain is being written for the first time it is claimed: whoever
 * else wants to write it waits.  Data is written without the lock.
 *
 * Grains are never freed or moved, so a place in the file once found stays
 * right.  Deliberately missing: giving back space.
 */
#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/iov.h"
#include "block/vmdk.h"

#define SPARSE_GRAIN_MAX  4096 /* sectors */
#define SPARSE_TABLES_MAX (1u << 22)
#define SPARSE_NEW_MAX    (1u << 20) /* bytes of new grains at a time */
#define SPARSE_UNCLEAN_AT 72
#define SPARSE_FOOTER     1024 /* of the footer's header, from the end */

/* --- Header ----------------------------------------------------------------
 */

static uint64_t sparse_get(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)p[i] << i * 8;
	return v;
}

static void sparse_put(uint8_t *p, uint64_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(v >> i * 8);
}

bool vmdk_header_get(struct vmdk_header *h, const uint8_t s[512])
{
	*h = (struct vmdk_header){
		.version = (uint32_t)sparse_get(s + 4, 4),
		.flags = (uint32_t)sparse_get(s + 8, 4),
		.capacity = sparse_get(s + 12, 8),
		.grain = sparse_get(s + 20, 8),
		.desc_offset = sparse_get(s + 28, 8),
		.desc_size = sparse_get(s + 36, 8),
		.gtes = (uint32_t)sparse_get(s + 44, 4),
		.rgd_offset = sparse_get(s + 48, 8),
		.gd_offset = sparse_get(s + 56, 8),
		.overhead = sparse_get(s + 64, 8),
		.unclean = s[SPARSE_UNCLEAN_AT],
		.compression = (uint16_t)sparse_get(s + 77, 2),
	};
	return sparse_get(s, 4) == VMDK_MAGIC;
}

void vmdk_header_put(uint8_t s[512], const struct vmdk_header *h)
{
	memset(s, 0, 512);
	sparse_put(s, VMDK_MAGIC, 4);
	sparse_put(s + 4, h->version, 4);
	sparse_put(s + 8, h->flags, 4);
	sparse_put(s + 12, h->capacity, 8);
	sparse_put(s + 20, h->grain, 8);
	sparse_put(s + 28, h->desc_offset, 8);
	sparse_put(s + 36, h->desc_size, 8);
	sparse_put(s + 44, h->gtes, 4);
	sparse_put(s + 48, h->rgd_offset, 8);
	sparse_put(s + 56, h->gd_offset, 8);
	sparse_put(s + 64, h->overhead, 8);
	s[SPARSE_UNCLEAN_AT] = h->unclean;
	memcpy(s + 73, "\n \r\n", 4); /* broken by text-mode transfers */
	sparse_put(s + 77, h->compression, 2);
}

static int sparse_check_header(struct vmdk_sparse *s, struct err *err)
{
	const struct vmdk_header *h = &s->h;
	uint64_t span;

	if (h->version < 1 || h->version > 3)
		return err_set(err, ENOTSUP,
			       "%s: version %u of sparse extents is not known",
			       s->file->path, h->version);
	if (h->compression > 1 ||
	    ((h->flags & VMDK_FLAG_PACKED) && !(h->flags & VMDK_FLAG_MARKERS)))
		return err_set(err, ENOTSUP,
			       "%s: its kind of compression is not known",
			       s->file->path);
	if (!h->capacity || h->capacity > INT64_MAX / BLOCK_SECTOR ||
	    h->grain < 1 || h->grain > SPARSE_GRAIN_MAX ||
	    (h->grain & (h->grain - 1)) || h->gtes < 1 || h->gtes > VMDK_GTES)
		return err_set(err, EIO, "%s: its header is broken",
			       s->file->path);
	span = h->grain * h->gtes;
	if ((h->capacity - 1) / span >= SPARSE_TABLES_MAX)
		return err_set(err, EFBIG, "%s: too large for its grains",
			       s->file->path);
	s->tables = (uint32_t)((h->capacity - 1) / span + 1);
	s->grains = (h->capacity - 1) / h->grain + 1;
	s->grain_bytes = h->grain * BLOCK_SECTOR;
	return 0;
}

/* A stream's directory is known only at its end: in the footer. */
static int sparse_read_header(struct vmdk_sparse *s, struct err *err)
{
	uint8_t sector[512] = { 0 };
	uint64_t size = atomic_load(&s->file->size);
	int rc = block_read(s->file, sector, 0, sizeof(sector));

	if (rc == 0 && !vmdk_header_get(&s->h, sector))
		return err_set(err, EIO, "%s is not a sparse extent",
			       s->file->path);
	if (rc == 0 && s->h.gd_offset == VMDK_AT_END) {
		s->writer = size <= s->h.overhead * BLOCK_SECTOR;
		if (s->writer)
			return sparse_check_header(s, err);
		if (size < 2 * SPARSE_FOOTER)
			return err_set(err, EIO, "%s: cut off", s->file->path);
		rc = block_read(s->file, sector, size - SPARSE_FOOTER,
				sizeof(sector));
		if (rc == 0 && (!vmdk_header_get(&s->h, sector) ||
				s->h.gd_offset == VMDK_AT_END))
			return err_set(err, EIO,
				       "%s: its end is missing: the file is "
				       "not whole",
				       s->file->path);
	}
	if (rc < 0)
		return err_set(err, -rc, "%s: cannot read: %s", s->file->path,
			       strerror(-rc));
	return sparse_check_header(s, err);
}

static int sparse_read_directory(struct vmdk_sparse *s, uint64_t at,
				 uint32_t **out, struct err *err)
{
	uint64_t size = atomic_load(&s->file->size);
	uint64_t bytes = (uint64_t)s->tables * 4;
	int rc;

	if (at > size / BLOCK_SECTOR || bytes > size - at * BLOCK_SECTOR)
		return err_set(err, EIO,
			       "%s: its grain directory is outside the file",
			       s->file->path);
	*out = malloc(bytes);
	if (!*out)
		return err_set(err, ENOMEM, "out of memory");
	rc = block_read(s->file, *out, at * BLOCK_SECTOR, bytes);
	for (uint32_t i = 0; i < s->tables; i++)
		(*out)[i] = le32toh((*out)[i]);
	return rc ? err_set(err, -rc, "%s: cannot read: %s", s->file->path,
			    strerror(-rc))
		  : 0;
}

static int sparse_read_directories(struct vmdk_sparse *s, struct err *err)
{
	int rc;

	if (s->writer) {
		s->gd = calloc(s->tables, 4);
		return s->gd ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	rc = sparse_read_directory(s, s->h.gd_offset, &s->gd, err);
	if (rc == 0 && (s->h.flags & VMDK_FLAG_REDUNDANT))
		rc = sparse_read_directory(s, s->h.rgd_offset, &s->rgd, err);
	return rc;
}

int vmdk_sparse_open(struct vmdk_sparse **out, struct block *file,
		     bool readonly, struct err *err)
{
	struct vmdk_sparse *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->file = file;
	s->unpacked_grain = UINT64_MAX;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->flushing, NULL);
	pthread_cond_init(&s->claimed, NULL);
	rc = sparse_read_header(s, err);
	if (rc == 0)
		rc = sparse_read_directories(s, err);
	if (rc == 0) {
		s->gt = calloc(s->tables, sizeof(*s->gt));
		s->dirty = calloc(s->tables, sizeof(*s->dirty));
		s->next = (atomic_load(&file->size) + s->grain_bytes - 1) &
			  -s->grain_bytes;
		if (s->writer)
			s->next = s->h.overhead * BLOCK_SECTOR;
		if (!s->gt || !s->dirty)
			rc = err_set(err, ENOMEM, "out of memory");
	}
	if (rc < 0)
		vmdk_sparse_free(s);
	else
		*out = s;
	return rc;
}

void vmdk_sparse_free(struct vmdk_sparse *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; s->gt && i < s->tables; i++)
		free(s->gt[i]);
	free(s->gt);
	free(s->dirty);
	free(s->gd);
	free(s->rgd);
	free(s->unpacked);
	pthread_cond_destroy(&s->claimed);
	pthread_mutex_destroy(&s->flushing);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int vmdk_sparse_mark(struct vmdk_sparse *s, bool unclean)
{
	uint8_t byte = unclean;

	return s->writer ? 0
			 : block_write(s->file, &byte, SPARSE_UNCLEAN_AT, 1);
}

/* --- Tables ----------------------------------------------------------------
 */

/* False: the table would be outside the file (or `end`), or in its header. */
static bool sparse_table_fits(const struct vmdk_sparse *s, uint32_t sector,
			      uint64_t end)
{
	uint64_t size = atomic_load(&s->file->size);
	uint64_t at = (uint64_t)sector * BLOCK_SECTOR;

	size = size < end ? end : size;

	return sector && at < size && s->h.gtes * 4ull <= size - at;
}

int vmdk_sparse_table(struct vmdk_sparse *s, uint32_t n, unsigned flags,
		      uint32_t **out)
{
	uint32_t *gt;
	int rc = 0;

	*out = s->gt[n];
	if (*out)
		return 0;
	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	if (s->gd[n] && !sparse_table_fits(s, s->gd[n], 0))
		return -EIO;
	gt = calloc(s->h.gtes, 4);
	if (!gt)
		return -ENOMEM;
	if (s->gd[n])
		rc = block_read(s->file, gt, (uint64_t)s->gd[n] * BLOCK_SECTOR,
				s->h.gtes * 4ull);
	if (rc < 0) {
		free(gt);
		return rc;
	}
	for (uint32_t i = 0; i < s->h.gtes; i++)
		gt[i] = le32toh(gt[i]);
	s->gt[n] = gt;
	*out = gt;
	return 0;
}

static int sparse_entry(struct vmdk_sparse *s, uint64_t grain, unsigned flags,
			uint32_t *out)
{
	uint32_t n = (uint32_t)(grain / s->h.gtes), *gt;
	int rc;

	*out = 0;
	if (!s->gd[n] && !s->gt[n])
		return 0;
	rc = vmdk_sparse_table(s, n, flags, &gt);
	if (rc == 0)
		*out = gt[grain % s->h.gtes];
	return rc;
}

static enum vmdk_kind sparse_kind(const struct vmdk_sparse *s, uint32_t entry)
{
	if (!entry)
		return VMDK_HOLE;
	if (entry == VMDK_GRAIN_ZERO && (s->h.flags & VMDK_FLAG_ZEROES))
		return VMDK_ZEROES;
	return s->h.flags & VMDK_FLAG_PACKED ? VMDK_PACKED : VMDK_DATA;
}

/* Goes on over grains of the same kind, of data in one piece. */
static int sparse_extend(struct vmdk_sparse *s, uint64_t grain, uint64_t last,
			 unsigned flags, uint32_t entry, uint64_t *end)
{
	enum vmdk_kind kind = sparse_kind(s, entry);

	for (*end = grain + 1; *end <= last && kind != VMDK_PACKED; ++*end) {
		uint32_t next;
		int rc = sparse_entry(s, *end, flags, &next);

		if (rc < 0)
			return rc == -EAGAIN ? 0 : rc;
		if (sparse_kind(s, next) != kind ||
		    (kind == VMDK_DATA &&
		     next != entry + (*end - grain) * s->h.grain))
			return 0;
	}
	return 0;
}

int vmdk_sparse_run(struct vmdk_sparse *s, uint64_t offset, uint64_t length,
		    unsigned flags, struct vmdk_run *out)
{
	uint64_t grain = offset / s->grain_bytes, end = grain + 1;
	uint64_t last = (offset + length - 1) / s->grain_bytes;
	uint64_t in = offset % s->grain_bytes;
	uint32_t entry;
	int rc;

	pthread_mutex_lock(&s->lock);
	rc = sparse_entry(s, grain, flags, &entry);
	if (rc == 0)
		rc = sparse_extend(s, grain, last, flags, entry, &end);
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		return rc;
	out->kind = sparse_kind(s, entry);
	out->length = (end - grain) * s->grain_bytes - in;
	if (out->length > length)
		out->length = length;
	out->host = (uint64_t)entry * BLOCK_SECTOR;
	if (out->kind == VMDK_DATA)
		out->host += in;
	/* A broken entry must not make the header or a table data. */
	if (out->kind == VMDK_DATA &&
	    (entry < s->h.overhead || out->host >= s->next))
		return -EIO;
	return 0;
}

/* --- New grains ------------------------------------------------------------
 */

static struct vmdk_claim *sparse_find_claim(struct vmdk_sparse *s,
					    uint64_t first, uint64_t count)
{
	for (unsigned i = 0; i < VMDK_CLAIMS; i++) {
		struct vmdk_claim *c = &s->claim[i];

		if (c->count && first < c->first + c->count &&
		    c->first < first + count)
			return c;
	}
	return NULL;
}

/* Waits for others at work there, and for a free claim. */
static struct vmdk_claim *sparse_claim(struct vmdk_sparse *s, uint64_t first,
				       uint64_t count)
{
	for (;;) {
		struct vmdk_claim *c = sparse_find_claim(s, first, count);

		for (unsigned i = 0; !c && i < VMDK_CLAIMS; i++)
			if (!s->claim[i].count) {
				s->claim[i].first = first;
				s->claim[i].count = count;
				return &s->claim[i];
			}
		pthread_cond_wait(&s->claimed, &s->lock);
	}
}

/* Tables for these grains are in memory; makes those that do not exist. */
static int sparse_need_tables(struct vmdk_sparse *s, uint64_t first,
			      uint64_t last)
{
	for (uint64_t n = first / s->h.gtes; n <= last / s->h.gtes; n++) {
		uint64_t bytes = (s->h.gtes * 4ull + 511) & ~511ull;
		uint32_t *gt;
		int rc = vmdk_sparse_table(s, (uint32_t)n, 0, &gt);

		if (rc < 0)
			return rc;
		if (s->gd[n])
			continue;
		if (s->next / BLOCK_SECTOR > UINT32_MAX - 2 * s->h.grain)
			return -EFBIG;
		s->gd[n] = (uint32_t)(s->next / BLOCK_SECTOR);
		if (s->rgd)
			s->rgd[n] =
				(uint32_t)((s->next + bytes) / BLOCK_SECTOR);
		s->next += (2 * bytes + s->grain_bytes - 1) & -s->grain_bytes;
		s->dirty[n] = true;
		s->gd_dirty = true;
	}
	return 0;
}

/* How many grains from `first` on are still holes; 0: not even that one. */
static int sparse_holes(struct vmdk_sparse *s, uint64_t first, uint64_t count,
			uint64_t *holes)
{
	for (*holes = 0; *holes < count; ++*holes) {
		uint32_t entry;
		int rc = sparse_entry(s, first + *holes, 0, &entry);

		if (rc < 0)
			return rc;
		if (entry > VMDK_GRAIN_ZERO ||
		    (entry && !(s->h.flags & VMDK_FLAG_ZEROES)))
			return 0;
	}
	return 0;
}

/* A new place for `count` grains, claimed. */
static int sparse_reserve(struct vmdk_sparse *s, uint64_t first,
			  uint64_t *count, uint64_t *host,
			  struct vmdk_claim **claim)
{
	int rc;

	*claim = sparse_claim(s, first, *count);
	rc = sparse_holes(s, first, *count, count);
	if (rc == 0 && *count)
		rc = sparse_need_tables(s, first, first + *count - 1);
	if (rc == 0 &&
	    (s->next + *count * s->grain_bytes) / BLOCK_SECTOR > UINT32_MAX)
		rc = -EFBIG;
	if (rc < 0 || !*count) {
		(*claim)->count = 0;
		pthread_cond_broadcast(&s->claimed);
		return rc;
	}
	*host = s->next;
	s->next += *count * s->grain_bytes;
	return 0;
}

static void sparse_commit(struct vmdk_sparse *s, struct vmdk_claim *claim,
			  uint64_t first, uint64_t count, uint64_t host, int rc)
{
	pthread_mutex_lock(&s->lock);
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		uint64_t grain = first + i, n = grain / s->h.gtes;
		uint64_t at = host + i * s->grain_bytes;

		s->gt[n][grain % s->h.gtes] = (uint32_t)(at / BLOCK_SECTOR);
		s->dirty[n] = true;
	}
	claim->count = 0;
	pthread_cond_broadcast(&s->claimed);
	pthread_mutex_unlock(&s->lock);
}

/*
 * The part of a new grain that the guest does not write, from the backing
 * file.  Without one there is nothing to do: the file's end is zeroes.
 */
static int sparse_fill(struct vmdk_sparse *s, struct block *backing,
		       uint64_t from, uint64_t host, uint64_t length)
{
	uint64_t size = backing ? atomic_load(&backing->size) : 0;
	uint8_t *buf;
	int rc;

	if (!length || from >= size)
		return 0;
	buf = calloc(1, length);
	if (!buf)
		return -ENOMEM;
	rc = block_read(backing, buf, from,
			length < size - from ? length : size - from);
	if (rc == 0)
		rc = block_write(s->file, buf, host, length);
	free(buf);
	return rc;
}

int vmdk_sparse_write_new(struct vmdk_sparse *s, struct block *backing,
			  uint64_t base, const struct iovec *iov, int iovcnt,
			  uint64_t offset, uint64_t length, uint64_t *done)
{
	uint64_t first = offset / s->grain_bytes, host, from, count, end;
	uint64_t in = offset % s->grain_bytes;
	struct vmdk_claim *claim;
	int rc;

	*done = 0;
	count = (in + length + s->grain_bytes - 1) / s->grain_bytes;
	pthread_mutex_lock(&s->lock);
	rc = sparse_reserve(s, first, &count, &host, &claim);
	pthread_mutex_unlock(&s->lock);
	if (rc < 0 || !count)
		return rc;
	end = count * s->grain_bytes;
	length = length < end - in ? length : end - in;
	from = base + first * s->grain_bytes;
	rc = sparse_fill(s, backing, from, host, in);
	if (rc == 0)
		rc = block_writev(s->file, iov, iovcnt, host + in, length, 0);
	if (rc == 0)
		rc = sparse_fill(s, backing, from + in + length,
				 host + in + length, end - in - length);
	sparse_commit(s, claim, first, count, host, rc);
	*done = rc ? 0 : length;
	return rc;
}

/* --- Flush -----------------------------------------------------------------
 */

/* Tables as they were when the flush began: their data is written. */
struct sparse_dirty {
	uint32_t n;
	uint32_t gt[VMDK_GTES];
};

static int sparse_take_dirty(struct vmdk_sparse *s, struct sparse_dirty **out,
			     uint32_t *count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->tables; i++)
		n += s->dirty[i];
	*count = 0;
	*out = malloc((n + 1) * sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->tables; i++) {
		struct sparse_dirty *d = *out + *count;

		if (!s->dirty[i])
			continue;
		d->n = i;
		for (uint32_t k = 0; k < s->h.gtes; k++)
			d->gt[k] = htole32(s->gt[i][k]);
		s->dirty[i] = false;
		++*count;
	}
	return 0;
}

static int sparse_write_tables(struct vmdk_sparse *s, const uint32_t *gd,
			       uint64_t end, const struct sparse_dirty *d,
			       uint32_t count)
{
	int rc = 0;

	for (uint32_t i = 0; gd && i < count && rc == 0; i++) {
		if (!sparse_table_fits(s, gd[d[i].n], end))
			return -EIO;
		rc = block_write(s->file, d[i].gt,
				 (uint64_t)gd[d[i].n] * BLOCK_SECTOR,
				 s->h.gtes * 4ull);
	}
	return rc;
}

static int sparse_write_directory(struct vmdk_sparse *s, const uint32_t *gd,
				  uint64_t at)
{
	uint32_t *copy = gd ? malloc(s->tables * 4ull) : NULL;
	int rc;

	if (!gd)
		return 0;
	if (!copy)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->tables; i++)
		copy[i] = htole32(gd[i]);
	rc = block_write(s->file, copy, at * BLOCK_SECTOR, s->tables * 4ull);
	free(copy);
	return rc;
}

/* Data, then tables, then (new tables only) the directories. */
static int sparse_flush_dirty(struct vmdk_sparse *s, uint64_t end, bool gd,
			      const struct sparse_dirty *d, uint32_t count)
{
	int rc = block_flush(s->file);

	if (rc == 0)
		rc = sparse_write_tables(s, s->rgd, end, d, count);
	if (rc == 0)
		rc = sparse_write_tables(s, s->gd, end, d, count);
	if (rc == 0 && gd) {
		rc = block_flush(s->file);
		if (rc == 0)
			rc = sparse_write_directory(s, s->rgd, s->h.rgd_offset);
		if (rc == 0)
			rc = sparse_write_directory(s, s->gd, s->h.gd_offset);
	}
	return rc || !count ? rc : block_flush(s->file);
}

/* Whole grains to the file's end: nobody else writes now. */
int vmdk_sparse_pad(struct vmdk_sparse *s)
{
	return s->writer || atomic_load(&s->file->size) >= s->next
		       ? 0
		       : block_resize(s->file, s->next, NULL);
}

int vmdk_sparse_flush(struct vmdk_sparse *s)
{
	struct sparse_dirty *d;
	uint32_t count;
	uint64_t end;
	bool gd;
	int rc;

	if (s->writer)
		return block_flush(s->file);
	pthread_mutex_lock(&s->flushing);
	pthread_mutex_lock(&s->lock);
	gd = s->gd_dirty;
	end = s->next;
	rc = sparse_take_dirty(s, &d, &count);
	if (rc == 0)
		s->gd_dirty = false;
	pthread_mutex_unlock(&s->lock);
	if (rc == 0)
		rc = count ? sparse_flush_dirty(s, end, gd, d, count)
			   : block_flush(s->file);
	if (rc < 0) {
		pthread_mutex_lock(&s->lock);
		for (uint32_t i = 0; i < count; i++)
			s->dirty[d[i].n] = true;
		s->gd_dirty |= gd;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&s->flushing);
	free(d);
	return rc;
}
