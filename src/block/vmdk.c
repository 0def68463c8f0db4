/*
 * vmdk.c - VMware disks: extents as one disk.
 *
 * Theory of operation
 *
 * An operation is cut where extents end, and within a sparse extent into runs
 * that lie in one piece (vmdk_sparse_run()).  Each kind of run is read and
 * written in its own way; what no extent holds comes from the parent.
 *
 * The descriptor is text that anyone may have written: its extents are opened
 * only in the image's own directory, by plain names.
 *
 * The first write marks sparse extents as in use and gives the disk a new
 * content ID, by which children see that their parent has changed.  Closing
 * takes the mark away.
 */
#include "block/vmdk.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "block/iov.h"

#define VMDK_TEXT_MAGIC "# Disk DescriptorFile"

static int vmdk_probe(const void *head, size_t len)
{
	const char *text = head;
	size_t n = 0;

	if (len >= 4 && !memcmp(head, "KDMV", 4))
		return 100;
	if (len >= 4 && !memcmp(head, "COWD", 4))
		return 90;
	while (n < len && strchr(" \t\r\n", text[n]) && text[n])
		n++;
	return len - n >= sizeof(VMDK_TEXT_MAGIC) - 1 &&
			       !strncasecmp(text + n, VMDK_TEXT_MAGIC,
					    sizeof(VMDK_TEXT_MAGIC) - 1)
		       ? 100
		       : 0;
}

uint32_t vmdk_random_cid(void)
{
	uint32_t cid = 0;

	if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
		cid = 1;
	/* These two have meanings of their own. */
	return cid >= 0xfffffffe ? 0x12345678 : cid;
}

/* --- Which extent ----------------------------------------------------------
 */

static struct vmdk_extent *vmdk_find(struct vmdk *v, uint64_t offset)
{
	unsigned low = 0, high = v->extents;

	while (high - low > 1) {
		unsigned mid = (low + high) / 2;

		if (v->extent[mid].start <= offset)
			low = mid;
		else
			high = mid;
	}
	return &v->extent[low];
}

/* What lies at an offset of the disk, in one piece, in one extent. */
struct vmdk_piece {
	struct vmdk_extent *e;
	uint64_t at; /* in the extent */
	struct vmdk_run run;
};

static int vmdk_look(struct vmdk *v, uint64_t offset, uint64_t length,
		     unsigned flags, struct vmdk_piece *p)
{
	struct vmdk_extent *e = vmdk_find(v, offset);
	uint64_t left = e->start + e->bytes - offset;

	p->e = e;
	p->at = offset - e->start;
	p->run.length = length < left ? length : left;
	p->run.kind = e->type == VMDK_ZERO ? VMDK_ZEROES : VMDK_DATA;
	p->run.host = e->offset + p->at;
	if (e->type != VMDK_SPARSE)
		return 0;
	return vmdk_sparse_run(e->sparse, p->at, p->run.length, flags, &p->run);
}

/* --- Reading ---------------------------------------------------------------
 */

/* Several pieces of one request: the iovecs of each in turn. */
struct vmdk_io {
	const struct iovec *iov;
	int iovcnt;
	struct iovec *part; /* room for iovcnt of them */
	int parts;
};

static void vmdk_slice(struct vmdk_io *io, uint64_t at, uint64_t length)
{
	size_t got;

	io->parts = iov_slice(io->part, io->iovcnt, io->iov, io->iovcnt, at,
			      length, &got);
}

static int vmdk_read_hole(struct vmdk *v, struct vmdk_io *io, uint64_t done,
			  uint64_t offset, uint64_t length, unsigned flags)
{
	struct block *backing = v->b->backing;
	uint64_t size = backing ? atomic_load(&backing->size) : 0;
	uint64_t n = offset < size ? size - offset : 0;

	n = n < length ? n : length;
	iov_zero(io->iov, io->iovcnt, done + n, length - n);
	if (!n)
		return 0;
	vmdk_slice(io, done, n);
	return block_readv(backing, io->part, io->parts, offset, n, flags);
}

static int vmdk_read_piece(struct vmdk *v, const struct vmdk_piece *p,
			   struct vmdk_io *io, uint64_t done, unsigned flags)
{
	uint64_t length = p->run.length, grain;

	switch (p->run.kind) {
	case VMDK_HOLE:
		return vmdk_read_hole(v, io, done, p->e->start + p->at, length,
				      flags);
	case VMDK_ZEROES:
		iov_zero(io->iov, io->iovcnt, done, length);
		return 0;
	case VMDK_DATA:
		vmdk_slice(io, done, length);
		return block_readv(p->e->file, io->part, io->parts, p->run.host,
				   length, flags);
	case VMDK_PACKED:
		if (flags & BLOCK_NOWAIT)
			return -EAGAIN;
		grain = p->e->sparse->grain_bytes -
			p->at % p->e->sparse->grain_bytes;
		return vmdk_stream_read(p->e->sparse, p->run.host, io->iov,
					io->iovcnt, done, p->at,
					length < grain ? length : grain);
	}
	return -EIO;
}

static int vmdk_read(struct block *b, const struct iovec *iov, int iovcnt,
		     uint64_t offset, uint64_t length, unsigned flags)
{
	struct vmdk *v = b->opaque;
	struct vmdk_io io = { iov, iovcnt, NULL, 0 };
	struct vmdk_piece p;
	int rc = 0;

	io.part = malloc(((size_t)iovcnt + 1) * sizeof(*io.part));
	if (!io.part)
		return -ENOMEM;
	for (uint64_t done = 0; done < length && rc == 0;
	     done += p.run.length) {
		rc = vmdk_look(v, offset + done, length - done, flags, &p);
		if (rc == 0)
			rc = vmdk_read_piece(v, &p, &io, done, flags);
	}
	free(io.part);
	return rc;
}

/* --- Writing ---------------------------------------------------------------
 */

static int vmdk_new_cid(struct vmdk *v)
{
	char digits[9], *text = calloc(1, v->desc_bytes + 1);
	long at = -1;
	int rc = text ? block_read(v->b->file, text, v->desc_at, v->desc_bytes)
		      : -ENOMEM;

	if (rc == 0)
		at = vmdk_desc_cid_at(text);
	if (rc == 0 && at >= 0) {
		v->desc.cid = vmdk_random_cid();
		snprintf(digits, sizeof(digits), "%08x", v->desc.cid);
		rc = block_write(v->b->file, digits, v->desc_at + (uint64_t)at,
				 8);
	}
	free(text);
	return rc;
}

static int vmdk_mark(struct vmdk *v, bool unclean)
{
	int rc = 0;

	for (unsigned i = 0; i < v->extents && rc == 0; i++)
		if (v->extent[i].sparse && v->extent[i].writable) {
			rc = vmdk_sparse_mark(v->extent[i].sparse, unclean);
			if (rc == 0 && !unclean)
				rc = vmdk_sparse_pad(v->extent[i].sparse);
		}
	return rc;
}

static bool vmdk_is_writer(const struct vmdk *v)
{
	return v->extents == 1 && v->extent[0].sparse &&
	       v->extent[0].sparse->writer;
}

static int vmdk_touch(struct vmdk *v, unsigned flags)
{
	int rc = 0;

	if (atomic_load(&v->touched))
		return 0;
	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	pthread_mutex_lock(&v->lock);
	if (!atomic_load(&v->touched)) {
		if (!vmdk_is_writer(v))
			rc = vmdk_mark(v, true);
		if (rc == 0 && !vmdk_is_writer(v))
			rc = vmdk_new_cid(v);
		atomic_store(&v->touched, rc == 0);
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static int vmdk_write_piece(struct vmdk *v, struct vmdk_piece *p,
			    struct vmdk_io *io, uint64_t done, unsigned flags)
{
	struct block *backing = p->run.kind == VMDK_HOLE ? v->b->backing : NULL;

	vmdk_slice(io, done, p->run.length);
	if (p->run.kind == VMDK_DATA)
		return block_writev(p->e->file, io->part, io->parts,
				    p->run.host, p->run.length, flags);
	if (p->e->type != VMDK_SPARSE || p->run.kind == VMDK_PACKED)
		return -ENOTSUP;
	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	return vmdk_sparse_write_new(p->e->sparse, backing, p->e->start,
				     io->part, io->parts, p->at, p->run.length,
				     &p->run.length);
}

static int vmdk_write_some(struct vmdk *v, struct vmdk_io *io, uint64_t offset,
			   uint64_t length, unsigned flags)
{
	struct vmdk_piece p;
	int rc = 0;

	for (uint64_t done = 0; done < length && rc == 0;
	     done += p.run.length) {
		rc = vmdk_look(v, offset + done, length - done, flags, &p);
		if (rc == 0 && !p.e->writable)
			rc = -EROFS;
		if (rc == 0)
			rc = vmdk_write_piece(v, &p, io, done, flags);
	}
	return rc;
}

static int vmdk_write(struct block *b, const struct iovec *iov, int iovcnt,
		      uint64_t offset, uint64_t length, unsigned flags)
{
	struct vmdk *v = b->opaque;
	struct vmdk_io io = { iov, iovcnt, NULL, 0 };
	int rc = vmdk_touch(v, flags);

	flags &= BLOCK_NOWAIT;
	if (rc < 0)
		return rc;
	if (vmdk_is_writer(v))
		return flags ? -EAGAIN
			     : vmdk_stream_write(v->extent[0].sparse, iov,
						 iovcnt, offset, length);
	io.part = malloc(((size_t)iovcnt + 1) * sizeof(*io.part));
	if (!io.part)
		return -ENOMEM;
	rc = vmdk_write_some(v, &io, offset, length, flags);
	free(io.part);
	return rc;
}

/* Zeroes that are there already are not written. */
static int vmdk_zero_piece(struct vmdk *v, struct vmdk_piece *p)
{
	static const uint8_t zeroes[1 << 16];
	struct iovec iov = { (void *)zeroes, sizeof(zeroes) };

	if (p->run.kind == VMDK_ZEROES ||
	    (p->run.kind == VMDK_HOLE && !v->b->backing))
		return 0;
	if (p->run.kind == VMDK_DATA && p->e->type == VMDK_FLAT)
		return block_zero(p->e->file, p->run.host, p->run.length, 0);
	if (p->run.length > sizeof(zeroes))
		p->run.length = sizeof(zeroes);
	iov.iov_len = p->run.length;
	return vmdk_write(v->b, &iov, 1, p->e->start + p->at, p->run.length, 0);
}

static int vmdk_zero(struct block *b, uint64_t offset, uint64_t length,
		     unsigned flags)
{
	struct vmdk *v = b->opaque;
	struct vmdk_piece p;
	int rc;

	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	rc = vmdk_touch(v, 0);
	if (rc < 0 || vmdk_is_writer(v)) /* a new stream: zeroes already */
		return rc;
	for (uint64_t done = 0; done < length && rc == 0;
	     done += p.run.length) {
		rc = vmdk_look(v, offset + done, length - done, 0, &p);
		if (rc == 0)
			rc = p.e->writable ? vmdk_zero_piece(v, &p) : -EROFS;
	}
	return rc;
}

static int vmdk_flush(struct block *b)
{
	struct vmdk *v = b->opaque;
	int rc = 0;

	for (unsigned i = 0; i < v->extents && rc == 0; i++) {
		struct vmdk_extent *e = &v->extent[i];

		if (e->sparse && e->writable)
			rc = vmdk_sparse_flush(e->sparse);
		else if (e->file && e->writable)
			rc = block_flush(e->file);
	}
	return rc ? rc : block_flush(b->file);
}

/* --- Where it lies ---------------------------------------------------------
 */

static int vmdk_map_hole(struct vmdk *v, const struct vmdk_piece *p,
			 bool for_write, unsigned flags,
			 struct block_extent *out)
{
	struct block *backing = v->b->backing;
	uint64_t offset = p->e->start + p->at;
	uint64_t size = backing ? atomic_load(&backing->size) : 0;
	int rc;

	out->type = BLOCK_EXTENT_HOLE;
	if (for_write || offset >= size)
		return 0;
	rc = block_map(backing, offset,
		       out->length < size - offset ? out->length
						   : size - offset,
		       false, flags, out);
	out->depth++;
	return rc;
}

static int vmdk_map_data(struct vmdk_piece *p, bool for_write, unsigned flags,
			 struct block_extent *out)
{
	uint64_t size = atomic_load(&p->e->file->size);
	int rc;

	out->type = BLOCK_EXTENT_DATA;
	/* Behind the file's end are zeroes, but not to another reader. */
	if (p->run.host >= size || (for_write && !p->e->writable))
		return 0;
	if (out->length > size - p->run.host)
		out->length = size - p->run.host;
	rc = block_map(p->e->file, p->run.host, out->length, for_write, flags,
		       out);
	if (out->type != BLOCK_EXTENT_DATA)
		out->type = BLOCK_EXTENT_ZERO;
	out->depth = 0;
	return rc;
}

static int vmdk_map(struct block *b, uint64_t offset, uint64_t length,
		    bool for_write, unsigned flags, struct block_extent *out)
{
	struct vmdk *v = b->opaque;
	struct vmdk_piece p;
	int rc = for_write ? vmdk_touch(v, flags) : 0;

	if (rc == 0)
		rc = vmdk_look(v, offset, length, flags, &p);
	if (rc < 0)
		return rc;
	out->length = p.run.length;
	switch (p.run.kind) {
	case VMDK_HOLE:
		return vmdk_map_hole(v, &p, for_write, flags, out);
	case VMDK_ZEROES:
		out->type = BLOCK_EXTENT_ZERO;
		return 0;
	case VMDK_DATA:
		return vmdk_map_data(&p, for_write, flags, out);
	case VMDK_PACKED:
		out->type = BLOCK_EXTENT_DATA;
		return 0;
	}
	return -EIO;
}

/* Grains never move: nothing is pinned but what lies below. */
static void vmdk_map_done(struct block *b, const struct block_extent *e)
{
	struct vmdk *v = b->opaque;
	struct block_extent below = *e;

	if (e->depth) {
		below.depth--;
		block_map_done(b->backing, &below);
		return;
	}
	/* Every extent's file is a file of the host: they do the same. */
	for (unsigned i = 0; i < v->extents; i++)
		if (v->extent[i].file) {
			block_map_done(v->extent[i].file, &below);
			return;
		}
}

static int vmdk_info(struct block *b, struct block_info *out)
{
	struct vmdk *v = b->opaque;
	struct block_info file;

	for (unsigned i = 0; i < v->extents; i++) {
		struct vmdk_extent *e = &v->extent[i];

		if (e->file && block_get_info(e->file, &file) == 0)
			out->allocated += file.allocated;
		if (e->sparse)
			out->cluster_size = (uint32_t)e->sparse->grain_bytes;
	}
	if (v->desc.parent) {
		out->backing = strdup(v->desc.parent);
		out->backing_format = strdup("vmdk");
	}
	snprintf(out->detail, sizeof(out->detail),
		 "%s, %u extent%s, content ID %08x%s",
		 v->desc.create_type[0] ? v->desc.create_type : "sparse",
		 v->extents, v->extents == 1 ? "" : "s", v->desc.cid,
		 v->extents && v->extent[0].sparse &&
				 v->extent[0].sparse->h.unclean
			 ? ", not closed properly"
			 : "");
	return 0;
}

/* --- Opening ---------------------------------------------------------------
 */

static void vmdk_close(struct block *b)
{
	struct vmdk *v = b->opaque;
	int rc = 0;

	if (atomic_load(&v->touched) && vmdk_is_writer(v))
		rc = vmdk_stream_finish(v->extent[0].sparse);
	else if (atomic_load(&v->touched))
		rc = vmdk_flush(b);
	if (rc == 0 && atomic_load(&v->touched) && vmdk_mark(v, false) == 0)
		vmdk_flush(b);
	for (unsigned i = 0; i < v->extents; i++) {
		vmdk_sparse_free(v->extent[i].sparse);
		if (v->extent[i].own)
			block_close(v->extent[i].file);
	}
	free(v->extent);
	vmdk_desc_free(&v->desc);
	pthread_mutex_destroy(&v->lock);
	free(v);
	b->opaque = NULL;
}

/* NUL-terminated; what follows the text in its room is NULs or blanks. */
static int vmdk_read_text(struct vmdk *v, char **out, struct err *err)
{
	int rc;

	if (v->desc_bytes > VMDK_DESC_MAX)
		return err_set(err, EIO, "%s: its descriptor is too large",
			       v->b->path);
	*out = calloc(1, v->desc_bytes + 1);
	if (!*out)
		return err_set(err, ENOMEM, "out of memory");
	rc = block_read(v->b->file, *out, v->desc_at, v->desc_bytes);
	if (rc == 0)
		return 0;
	free(*out);
	return err_set(err, -rc, "%s: cannot read: %s", v->b->path,
		       strerror(-rc));
}

/* Only a plain name: an image must not point anywhere else. */
static int vmdk_open_file(struct vmdk *v, struct vmdk_extent *e,
			  const char *name, const struct block_open *how,
			  struct err *err)
{
	const char *slash = strrchr(how->path, '/');
	int n = slash ? (int)(slash - how->path) + 1 : 0;
	struct block_open open = *how;
	char *path;
	int rc;

	if (strchr(name, '/') || !strcmp(name, "..") || !strcmp(name, "."))
		return err_set(err, EPERM,
			       "%s: its extent '%s' is not in the image's own "
			       "directory, and is not opened",
			       how->path, name);
	if (asprintf(&path, "%.*s%s", n, how->path, name) < 0)
		return err_set(err, ENOMEM, "out of memory");
	open.path = path;
	open.format = NULL;
	open.fault = NULL;
	open.readonly = how->readonly || !e->writable;
	rc = block_open_file(&e->file, &open, err);
	e->own = rc == 0;
	free(path);
	if (rc < 0)
		err_prefix(err, "extent of %s", how->path);
	return rc;
}

static int vmdk_open_extent(struct vmdk *v, struct vmdk_extent *e,
			    const struct vmdk_line *l, bool embedded,
			    const struct block_open *how, struct err *err)
{
	int rc = 0;

	e->type = l->type;
	e->writable = l->writable && !how->readonly;
	e->bytes = l->sectors * BLOCK_SECTOR;
	e->offset = l->offset * BLOCK_SECTOR;
	if (e->type == VMDK_ZERO)
		return 0;
	if (embedded)
		e->file = v->b->file;
	else
		rc = vmdk_open_file(v, e, l->file, how, err);
	if (rc < 0 || e->type == VMDK_FLAT)
		return rc;
	rc = vmdk_sparse_open(&e->sparse, e->file, !e->writable, err);
	if (rc < 0)
		return rc;
	if (e->sparse->h.capacity < l->sectors)
		return err_set(err, EIO,
			       "%s: an extent is smaller than its descriptor "
			       "says",
			       how->path);
	if ((e->sparse->h.flags & VMDK_FLAG_PACKED) && !e->sparse->writer)
		e->writable = false;
	return 0;
}

static int vmdk_open_extents(struct vmdk *v, bool embedded,
			     const struct block_open *how, struct err *err)
{
	uint64_t at = 0;

	v->extent = calloc(v->desc.lines, sizeof(*v->extent));
	if (!v->extent)
		return err_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < v->desc.lines; i++) {
		struct vmdk_extent *e = &v->extent[v->extents++];
		int rc = vmdk_open_extent(v, e, &v->desc.line[i], embedded, how,
					  err);

		if (rc < 0)
			return rc;
		e->start = at;
		at += e->bytes;
		if (at > INT64_MAX)
			return err_set(err, EIO, "%s: too large", how->path);
	}
	atomic_store(&v->b->size, at);
	return 0;
}

/* A stream can be written only where it is made; elsewhere it is read. */
static int vmdk_check_writable(struct vmdk *v, const struct block_open *how,
			       struct err *err)
{
	for (unsigned i = 0; i < v->extents && !how->readonly; i++) {
		const struct vmdk_sparse *s = v->extent[i].sparse;

		if (s && (s->h.flags & VMDK_FLAG_PACKED) && !s->writer)
			return err_set(err, EROFS,
				       "%s is stream-optimized: it can only "
				       "be read; convert it to write to it, or "
				       "open it readonly",
				       how->path);
	}
	return 0;
}

static int vmdk_open_parent(struct vmdk *v, const struct block_open *how,
			    struct err *err)
{
	struct block *b = v->b;
	const struct vmdk *parent;
	int rc;

	if (!v->desc.parent || v->desc.parent_cid == VMDK_NO_PARENT ||
	    how->no_backing)
		return 0;
	rc = block_open_backing(b, how, v->desc.parent, NULL, err);
	if (rc < 0 || b->backing->ops != b->ops || !b->backing->opaque)
		return rc;
	parent = b->backing->opaque;
	if (parent->desc.cid == v->desc.parent_cid)
		return 0;
	return err_set(err, EIO,
		       "%s: its parent %s was written since (its content ID is "
		       "%08x, not %08x): the two do not fit any more",
		       how->path, b->backing->path, parent->desc.cid,
		       v->desc.parent_cid);
}

/* An extent with the descriptor inside; without, it is all of a disk. */
static int vmdk_find_embedded(struct vmdk *v, const struct vmdk_header *h,
			      struct err *err)
{
	if (h->desc_offset > INT64_MAX / BLOCK_SECTOR ||
	    h->desc_size > VMDK_DESC_MAX / BLOCK_SECTOR || !h->desc_offset ||
	    !h->desc_size)
		return err_set(err, EIO,
			       "%s: this extent has no descriptor; open the "
			       "disk by the file that describes it",
			       v->b->path);
	v->desc_at = h->desc_offset * BLOCK_SECTOR;
	v->desc_bytes = h->desc_size * BLOCK_SECTOR;
	return 0;
}

/* Where the text is; *embedded: in a sparse extent. */
static int vmdk_find_text(struct vmdk *v, bool *embedded, struct err *err)
{
	uint8_t sector[BLOCK_SECTOR] = { 0 };
	uint64_t size = atomic_load(&v->b->file->size);
	struct vmdk_header h;
	int rc = block_read(v->b->file, sector, 0,
			    size < sizeof(sector) ? size : sizeof(sector));

	if (rc < 0)
		return err_set(err, -rc, "%s: cannot read: %s", v->b->path,
			       strerror(-rc));
	if (!memcmp(sector, "COWD", 4))
		return err_set(err, ENOTSUP,
			       "%s: VMDK of version 3 (COWD) is not supported",
			       v->b->path);
	*embedded = vmdk_header_get(&h, sector);
	if (*embedded)
		return vmdk_find_embedded(v, &h, err);
	v->desc_bytes = size;
	return 0;
}

static int vmdk_open_all(struct vmdk *v, const struct block_open *how,
			 struct err *err)
{
	bool embedded = false;
	char *text = NULL;
	int rc = vmdk_find_text(v, &embedded, err);

	if (rc == 0)
		rc = vmdk_read_text(v, &text, err);
	if (rc < 0)
		return rc;
	rc = vmdk_desc_parse(&v->desc, text, how->path, err);
	free(text);
	if (rc == 0 && embedded &&
	    (v->desc.lines != 1 || v->desc.line[0].type != VMDK_SPARSE))
		rc = err_set(err, EIO,
			     "%s: a descriptor inside an extent describes that "
			     "extent alone",
			     how->path);
	if (rc == 0)
		rc = vmdk_open_extents(v, embedded, how, err);
	if (rc == 0)
		rc = vmdk_check_writable(v, how, err);
	return rc ? rc : vmdk_open_parent(v, how, err);
}

static const struct block_ops vmdk_ops = {
	.name = "vmdk",
	.read = vmdk_read,
	.write = vmdk_write,
	.zero = vmdk_zero,
	.flush = vmdk_flush,
	.map = vmdk_map,
	.map_done = vmdk_map_done,
	.info = vmdk_info,
	.check = vmdk_check,
	.close = vmdk_close,
};

static int vmdk_open(struct block *b, const struct block_open *how,
		     struct err *err)
{
	struct vmdk *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return err_set(err, ENOMEM, "out of memory");
	v->b = b;
	b->opaque = v;
	b->ops = &vmdk_ops; /* to know a parent of the same kind */
	pthread_mutex_init(&v->lock, NULL);
	rc = vmdk_open_all(v, how, err);
	b->ops = NULL;
	if (rc < 0)
		vmdk_close(b);
	return rc;
}

const struct block_format block_vmdk = {
	.ops = &vmdk_ops,
	.probe = vmdk_probe,
	.open = vmdk_open,
	.create = vmdk_create,
};
