/*
 * qcow2_snapshot.c - internal snapshots.
 *
 * A snapshot is a copy of the L1 table; all that can be reached from there
 * has one more reference.  COPIED, the permission to write in place, is a
 * flag of the active L1 and the L2 tables below it, and follows the counts.
 *
 * Order, so that a crash leaks at worst: counts go up, and are stable, before
 * anything names what they count; the header (or the active L1) changes; the
 * counts go down.  A crash between counts and COPIED flags leaves flags that
 * `hostel disk repair` sets right, and no reference that is not counted.
 *
 * Everything here runs with the image frozen and nothing dirty.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define QCOW2_SNAP_FIXED 40
#define QCOW2_SNAP_EXTRA 24 /* what we write: state size, disk size, icount */
#define QCOW2_SNAP_MAX   1024

/* --- The table ------------------------------------------------------------ */

static uint16_t qcow2_snap16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t qcow2_snap32(const uint8_t *p)
{
	return (uint32_t)qcow2_snap16(p) << 16 | qcow2_snap16(p + 2);
}

static uint64_t qcow2_snap64(const uint8_t *p)
{
	return (uint64_t)qcow2_snap32(p) << 32 | qcow2_snap32(p + 4);
}

static void qcow2_snap_put(uint8_t *p, unsigned bytes, uint64_t v)
{
	while (bytes--) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

size_t qcow2_snapshot_bytes(const struct qcow2_snapshot *s)
{
	size_t n = QCOW2_SNAP_FIXED + s->extra_len + strlen(s->id) +
		   strlen(s->name);

	return (n + 7) & ~(size_t)7;
}

static void qcow2_snapshot_free(struct qcow2_snapshot *s)
{
	free(s->id);
	free(s->name);
}

void qcow2_snapshots_free(struct qcow2 *q)
{
	for (uint32_t i = 0; q->snapshots && i < q->h.nb_snapshots; i++)
		qcow2_snapshot_free(&q->snapshots[i]);
	free(q->snapshots);
	q->snapshots = NULL;
}

static int qcow2_snapshot_bad(struct qcow2 *q, uint32_t i, struct err *err)
{
	return err_set(err, EIO,
		       "%s: broken qcow2 image: snapshot %u is impossible; "
		       "see `hostel disk check`",
		       q->b->path, i);
}

static void qcow2_snapshot_extra(struct qcow2_snapshot *s, const uint8_t *p,
				 uint32_t n)
{
	if (n >= 8)
		s->vm_state_size = qcow2_snap64(p);
	if (n >= 16)
		s->disk_size = qcow2_snap64(p + 8);
	s->icount = n >= 24 ? qcow2_snap64(p + 16) : UINT64_MAX;
	s->extra_len = n;
}

/* The snapshot at `at`; returns its length, or -errno. */
static int64_t qcow2_snapshot_read(struct qcow2 *q, uint32_t i, uint64_t at,
				   struct err *err)
{
	struct qcow2_snapshot *s = &q->snapshots[i];
	uint8_t p[QCOW2_SNAP_FIXED], extra[QCOW2_SNAP_MAX];
	uint32_t extra_len, id_len, name_len;
	int rc = block_read(q->b->file, p, at, sizeof(p));

	if (rc)
		return err_set(err, -rc, "%s: %s", q->b->path, strerror(-rc));
	s->l1_offset = qcow2_snap64(p);
	s->l1_size = qcow2_snap32(p + 8);
	id_len = qcow2_snap16(p + 12);
	name_len = qcow2_snap16(p + 14);
	s->date_sec = qcow2_snap32(p + 16);
	s->date_nsec = qcow2_snap32(p + 20);
	s->vm_clock_ns = qcow2_snap64(p + 24);
	s->vm_state_size = qcow2_snap32(p + 32);
	s->disk_size = q->h.size;
	extra_len = qcow2_snap32(p + 36);
	if (extra_len > sizeof(extra) || s->l1_size > QCOW2_MAX_L1 / 8 ||
	    s->l1_offset & (q->cluster_size - 1) ||
	    s->l1_offset > QCOW2_OFFSET_MASK)
		return qcow2_snapshot_bad(q, i, err);
	s->id = calloc(1, id_len + 1u);
	s->name = calloc(1, name_len + 1u);
	if (!s->id || !s->name)
		return err_set(err, ENOMEM, "%s: out of memory", q->b->path);
	at += sizeof(p);
	rc = block_read(q->b->file, extra, at, extra_len);
	at += extra_len;
	if (!rc)
		rc = block_read(q->b->file, s->id, at, id_len);
	if (!rc)
		rc = block_read(q->b->file, s->name, at + id_len, name_len);
	if (rc)
		return err_set(err, -rc, "%s: %s", q->b->path, strerror(-rc));
	qcow2_snapshot_extra(s, extra, extra_len);
	return (QCOW2_SNAP_FIXED + extra_len + id_len + name_len + 7) & ~7u;
}

int qcow2_snapshots_read(struct qcow2 *q, struct err *err)
{
	uint64_t at = q->h.snapshots_offset;

	if (!q->h.nb_snapshots)
		return 0;
	q->snapshots = calloc(q->h.nb_snapshots, sizeof(*q->snapshots));
	if (!q->snapshots)
		return err_set(err, ENOMEM, "%s: out of memory", q->b->path);
	for (uint32_t i = 0; i < q->h.nb_snapshots; i++) {
		int64_t n = at < atomic_load(&q->end)
				    ? qcow2_snapshot_read(q, i, at, err)
				    : qcow2_snapshot_bad(q, i, err);

		if (n < 0) {
			q->h.nb_snapshots = i + 1;
			return (int)n;
		}
		at += (uint64_t)n;
	}
	return 0;
}

static void qcow2_snapshot_put(const struct qcow2_snapshot *s, uint8_t *p)
{
	size_t id = strlen(s->id), name = strlen(s->name);
	uint8_t *extra = p + QCOW2_SNAP_FIXED;

	qcow2_snap_put(p, 8, s->l1_offset);
	qcow2_snap_put(p + 8, 4, s->l1_size);
	qcow2_snap_put(p + 12, 2, id);
	qcow2_snap_put(p + 14, 2, name);
	qcow2_snap_put(p + 16, 4, s->date_sec);
	qcow2_snap_put(p + 20, 4, s->date_nsec);
	qcow2_snap_put(p + 24, 8, s->vm_clock_ns);
	qcow2_snap_put(p + 32, 4,
		       s->vm_state_size > UINT32_MAX ? 0 : s->vm_state_size);
	qcow2_snap_put(p + 36, 4, s->extra_len);
	qcow2_snap_put(extra, 8, s->vm_state_size);
	qcow2_snap_put(extra + 8, 8, s->disk_size);
	qcow2_snap_put(extra + 16, 8, s->icount);
	memcpy(extra + s->extra_len, s->id, id);
	memcpy(extra + s->extra_len + id, s->name, name);
}

struct qcow2_snaptable {
	uint64_t offset, clusters; /* of the new one */
	uint64_t old_offset, old_clusters;
};

static uint64_t qcow2_snaptable_clusters(struct qcow2 *q,
					 const struct qcow2_snapshot *list,
					 uint32_t n)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += qcow2_snapshot_bytes(&list[i]);
	return qcow2_clusters(q, bytes);
}

/* Writes the list to new clusters; nothing names them yet. */
static int qcow2_snaptable_write(struct qcow2 *q, struct qcow2_snapshot *list,
				 uint32_t n, struct qcow2_snaptable *t)
{
	size_t at = 0;
	uint64_t first;
	uint8_t *p;
	int rc;

	t->old_offset = q->h.snapshots_offset;
	t->old_clusters =
		qcow2_snaptable_clusters(q, q->snapshots, q->h.nb_snapshots);
	t->offset = 0;
	for (uint32_t i = 0; i < n; i++)
		if (list[i].extra_len < QCOW2_SNAP_EXTRA)
			list[i].extra_len = QCOW2_SNAP_EXTRA;
	t->clusters = qcow2_snaptable_clusters(q, list, n);
	if (!t->clusters)
		return 0;
	rc = qcow2_alloc_run(q, t->clusters, &first);
	if (rc)
		return rc;
	p = calloc(t->clusters, q->cluster_size);
	if (!p)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		qcow2_snapshot_put(&list[i], p + at);
		at += qcow2_snapshot_bytes(&list[i]);
	}
	t->offset = first << q->cluster_bits;
	rc = block_write(q->b->file, p, t->offset,
			 t->clusters << q->cluster_bits);
	free(p);
	return rc;
}

/* The header names the new table, in one write of one sector; stable. */
static int qcow2_snaptable_switch(struct qcow2 *q, uint32_t n,
				  const struct qcow2_snaptable *t)
{
	uint8_t p[12];
	int rc = qcow2_commit_frozen(q); /* counts first; and syncs */

	qcow2_snap_put(p, 4, n);
	qcow2_snap_put(p + 4, 8, t->offset);
	if (!rc)
		rc = block_write(q->b->file, p, 60, sizeof(p));
	if (!rc)
		rc = block_flush(q->b->file);
	if (rc)
		return rc;
	q->h.snapshots_offset = t->offset;
	if (t->old_clusters)
		qcow2_free_later(q, qcow2_cluster(q, t->old_offset),
				 t->old_clusters);
	return 0;
}

/* --- Everything that an L1 table reaches ---------------------------------- */

struct qcow2_walk {
	int delta;   /* to every count */
	bool active; /* the active L1: set COPIED as the counts say */
	uint64_t *l1;
	uint32_t l1_size;
};

static int qcow2_walk_packed(struct qcow2 *q, uint64_t entry, int delta)
{
	uint64_t offset, length;
	int rc = 0;

	qcow2_packed_place(q, entry, &offset, &length);
	for (uint64_t c = qcow2_cluster(q, offset);
	     !rc && delta && c <= qcow2_cluster(q, offset + length - 1); c++)
		rc = qcow2_refcount_add(q, c, delta);
	return rc;
}

/* One reference; *copied: is it the only one now? */
static int qcow2_walk_ref(struct qcow2 *q, uint64_t at, int delta, bool *copied)
{
	uint64_t v;
	int rc = 0;

	*copied = false;
	if (at & (q->cluster_size - 1))
		return qcow2_broken(q, "%#llx is no place of a cluster",
				    (unsigned long long)at);
	if (delta)
		rc = qcow2_refcount_add(q, qcow2_cluster(q, at), delta);
	if (!rc)
		rc = qcow2_refcount_get(q, qcow2_cluster(q, at), &v);
	*copied = !rc && v == 1;
	return rc;
}

static int qcow2_walk_table(struct qcow2 *q, struct qcow2_walk *w, uint64_t at,
			    uint64_t *l2)
{
	bool changed = false, copied;
	int rc = block_read(q->b->file, l2, at, q->cluster_size);

	for (uint32_t i = 0; !rc && i < 1u << q->l2_bits; i++) {
		uint64_t entry = be64toh(l2[i]), new;

		if (entry & QCOW2_COMPRESSED) {
			rc = qcow2_walk_packed(q, entry, w->delta);
			continue;
		}
		if (!(entry & QCOW2_OFFSET_MASK))
			continue;
		rc = qcow2_walk_ref(q, entry & QCOW2_OFFSET_MASK, w->delta,
				    &copied);
		new = (entry & ~QCOW2_COPIED) | (copied ? QCOW2_COPIED : 0);
		changed |= new != entry;
		l2[i] = htobe64(new);
	}
	if (!rc && changed && w->active)
		rc = block_write(q->b->file, l2, at, q->cluster_size);
	return rc;
}

/* Flags are written to the file at once: only COPIED changes. */
static int qcow2_walk(struct qcow2 *q, struct qcow2_walk *w)
{
	uint64_t *l2 = NULL;
	bool copied;
	int rc = 0;

	if (posix_memalign((void **)&l2, 4096, q->cluster_size))
		return -ENOMEM;
	for (uint32_t i = 0; !rc && i < w->l1_size; i++) {
		uint64_t at = w->l1[i] & QCOW2_OFFSET_MASK;

		if (!at)
			continue;
		/* The data first: an L2 table's count falls last. */
		rc = at & (q->cluster_size - 1)
			     ? qcow2_broken(q, "%#llx is no place of a table",
					    (unsigned long long)at)
			     : qcow2_walk_table(q, w, at, l2);
		if (!rc)
			rc = qcow2_walk_ref(q, at, w->delta, &copied);
		if (!rc)
			w->l1[i] = at | (copied ? QCOW2_COPIED : 0);
	}
	free(l2);
	return rc;
}

/* The active L1: `delta`, and COPIED where it is right. */
static int qcow2_walk_active(struct qcow2 *q, int delta)
{
	struct qcow2_walk w = { .delta = delta,
				.active = true,
				.l1 = (uint64_t *)q->l1,
				.l1_size = q->h.l1_size };
	int rc = qcow2_walk(q, &w);

	qcow2_cache_drop(q);
	return rc ? rc : qcow2_l1_write(q, q->h.l1_offset, w.l1, w.l1_size);
}

static uint64_t *qcow2_snapshot_l1(struct qcow2 *q,
				   const struct qcow2_snapshot *s, int *rc)
{
	uint64_t *l1 = calloc(s->l1_size ? s->l1_size : 1, sizeof(*l1));

	*rc = l1 ? block_read(q->b->file, l1, s->l1_offset, 8ull * s->l1_size)
		 : -ENOMEM;
	for (uint32_t i = 0; !*rc && i < s->l1_size; i++)
		l1[i] = be64toh(l1[i]);
	return l1;
}

/* --- The operations ------------------------------------------------------- */

static struct qcow2_snapshot *qcow2_snapshot_find(struct qcow2 *q,
						  const char *name)
{
	for (uint32_t i = 0; i < q->h.nb_snapshots; i++)
		if (!strcmp(q->snapshots[i].name, name))
			return &q->snapshots[i];
	for (uint32_t i = 0; i < q->h.nb_snapshots; i++)
		if (!strcmp(q->snapshots[i].id, name))
			return &q->snapshots[i];
	return NULL;
}

static int qcow2_snapshot_failed(struct qcow2 *q, const char *what, int rc,
				 struct err *err)
{
	if (rc == -EOVERFLOW)
		return err_set(err, EOVERFLOW,
			       "%s: cannot %s: its refcounts are too narrow "
			       "(%u bits) for more snapshots; convert it with "
			       "wider ones",
			       q->b->path, what, 1u << q->h.refcount_order);
	return err_set(err, -rc, "%s: cannot %s: %s", q->b->path, what,
		       rc == -EIO ? "the image is broken; see `hostel disk "
				    "check`"
				  : strerror(-rc));
}

static int qcow2_snapshot_fill(struct qcow2 *q, struct qcow2_snapshot *s,
			       const char *name)
{
	uint64_t now = clock_real_ns();
	unsigned long id = 0;

	for (uint32_t i = 0; i < q->h.nb_snapshots; i++) {
		unsigned long n = strtoul(q->snapshots[i].id, NULL, 10);

		id = n > id ? n : id;
	}
	*s = (struct qcow2_snapshot){ .date_sec = (uint32_t)(now / 1000000000),
				      .date_nsec = now % 1000000000,
				      .disk_size = q->h.size,
				      .icount = UINT64_MAX,
				      .extra_len = QCOW2_SNAP_EXTRA,
				      .l1_size = q->h.l1_size };
	s->name = strdup(name);
	if (asprintf(&s->id, "%lu", id + 1) < 0)
		s->id = NULL;
	return s->name && s->id ? 0 : -ENOMEM;
}

/* list: the present ones and room for one more. */
static int qcow2_snapshot_add(struct qcow2 *q, struct qcow2_snapshot *list,
			      const char *name)
{
	uint32_t n = q->h.nb_snapshots;
	struct qcow2_snapshot *s = &list[n];
	struct qcow2_snaptable t;
	uint64_t first;
	int rc = qcow2_snapshot_fill(q, s, name);

	if (!rc)
		rc = qcow2_alloc_run(q, qcow2_clusters(q, 8ull * s->l1_size),
				     &first);
	if (rc)
		return rc;
	s->l1_offset = first << q->cluster_bits;
	rc = qcow2_walk_active(q, 1);
	/* A copy without flags, as they mean nothing there. */
	if (!rc)
		rc = qcow2_l1_write(q, s->l1_offset, (uint64_t *)q->l1,
				    s->l1_size);
	if (!rc)
		rc = qcow2_snaptable_write(q, list, n + 1, &t);
	if (!rc)
		rc = qcow2_snaptable_switch(q, n + 1, &t);
	if (rc)
		return rc;
	free(q->snapshots);
	q->snapshots = list;
	q->h.nb_snapshots = n + 1;
	return 0;
}

static int qcow2_snapshot_new(struct qcow2 *q, const char *name)
{
	uint32_t n = q->h.nb_snapshots;
	struct qcow2_snapshot *list = calloc(n + 1u, sizeof(*list));
	int rc;

	if (!list)
		return -ENOMEM;
	if (n)
		memcpy(list, q->snapshots, n * sizeof(*list));
	rc = qcow2_snapshot_add(q, list, name);
	if (rc) {
		qcow2_snapshot_free(&list[n]);
		free(list);
	}
	return rc;
}

/* Does every count have room for one more reference?  Wide ones do. */
static int qcow2_snapshot_room(struct qcow2 *q)
{
	uint64_t end = qcow2_clusters(q, atomic_load(&q->end)), v;

	for (uint64_t c = 0; q->h.refcount_order < 4 && c < end; c++) {
		int rc = qcow2_refcount_get(q, c, &v);

		if (rc || v == qcow2_refcount_max(q))
			return rc ? rc : -EOVERFLOW;
	}
	return 0;
}

static int qcow2_snapshot_check_name(struct qcow2 *q, const char *name,
				     struct err *err)
{
	if (!name[0] || strlen(name) > 255)
		return err_set(err, EINVAL,
			       "a snapshot's name has 1 to 255 "
			       "bytes");
	if (qcow2_snapshot_find(q, name))
		return err_set(err, EEXIST,
			       "%s: there is a snapshot '%s' "
			       "already",
			       q->b->path, name);
	if (q->h.nb_snapshots >= QCOW2_MAX_SNAPSHOTS)
		return err_set(err, ENOSPC, "%s: no more than %d snapshots",
			       q->b->path, QCOW2_MAX_SNAPSHOTS);
	return 0;
}

static int qcow2_snapshot_end(struct qcow2 *q, const char *what, int rc,
			      struct err *err)
{
	if (!rc)
		rc = qcow2_commit_frozen(q);
	if (rc) {
		/* Memory and file may differ now: only a new start helps. */
		atomic_store(&q->broken, true);
		return qcow2_snapshot_failed(q, what, rc, err);
	}
	return qcow2_metadata_build(q, err);
}

int qcow2_snapshot_create(struct block *b, const char *name, struct err *err)
{
	struct qcow2 *q = b->opaque;
	int rc;

	qcow2_freeze(q);
	rc = qcow2_snapshot_check_name(q, name, err);
	if (!rc) {
		rc = qcow2_snapshot_room(q);
		if (!rc)
			rc = qcow2_commit_frozen(q);
		if (rc)
			qcow2_snapshot_failed(q, "make a snapshot", rc, err);
	}
	if (!rc)
		rc = qcow2_snapshot_end(q, "make a snapshot",
					qcow2_snapshot_new(q, name), err);
	qcow2_thaw(q);
	return rc;
}

/*
 * The active L1 becomes the snapshot's: its counts go up, the table is
 * written, the old one's go down, flags follow.
 */
static int qcow2_snapshot_take(struct qcow2 *q, const struct qcow2_snapshot *s)
{
	struct qcow2_walk up = { .delta = 1 }, down = { .delta = -1 };
	uint64_t bytes = 8ull * q->h.l1_size;
	int rc;

	up.l1 = qcow2_snapshot_l1(q, s, &rc);
	up.l1_size = s->l1_size;
	down.l1 = calloc(1, bytes);
	down.l1_size = q->h.l1_size;
	if (!rc && !down.l1)
		rc = -ENOMEM;
	if (!rc) {
		memcpy(down.l1, (void *)q->l1, bytes);
		rc = qcow2_walk(q, &up);
	}
	if (!rc)
		rc = qcow2_commit_frozen(q);
	if (!rc) {
		memset((void *)q->l1, 0, bytes);
		for (uint32_t i = 0; i < s->l1_size; i++)
			atomic_store(&q->l1[i], up.l1[i] & ~QCOW2_COPIED);
		rc = qcow2_l1_write(q, q->h.l1_offset, (uint64_t *)q->l1,
				    q->h.l1_size);
	}
	if (!rc)
		rc = block_flush(q->b->file);
	qcow2_cache_drop(q);
	if (!rc)
		rc = qcow2_walk(q, &down);
	if (!rc)
		rc = qcow2_walk_active(q, 0);
	free(up.l1);
	free(down.l1);
	return rc;
}

static int qcow2_snapshot_find_err(struct qcow2 *q, const char *name,
				   struct qcow2_snapshot **out, struct err *err)
{
	*out = qcow2_snapshot_find(q, name);
	return *out ? 0
		    : err_set(err, ENOENT,
			      "%s: there is no snapshot "
			      "'%s'; `hostel disk snapshot list` names "
			      "them",
			      q->b->path, name);
}

static int qcow2_snapshot_size(struct qcow2 *q, const struct qcow2_snapshot *s,
			       struct err *err)
{
	uint64_t old = q->h.size;
	int rc = 0;

	if (s->l1_size > q->h.l1_size)
		rc = qcow2_l1_grow(q, s->l1_size, err);
	if (rc || s->disk_size == old)
		return rc;
	q->h.size = s->disk_size;
	rc = qcow2_header_write(q->b->file, &q->h, err);
	atomic_store(&q->b->size, q->h.size);
	return rc;
}

/* The sizes must fit: an L1 that has an entry for every byte. */
static int qcow2_snapshot_sane(struct qcow2 *q, const struct qcow2_snapshot *s,
			       struct err *err)
{
	unsigned bits = q->cluster_bits + q->l2_bits;

	if (s->disk_size > INT64_MAX || s->disk_size >> bits > s->l1_size ||
	    (s->disk_size + (1ull << bits) - 1) >> bits > s->l1_size ||
	    s->l1_offset + 8ull * s->l1_size > atomic_load(&q->end))
		return err_set(err, EIO,
			       "%s: broken qcow2 image: snapshot "
			       "'%s' does not hold the disk; see `hostel disk "
			       "check`",
			       q->b->path, s->name);
	return 0;
}

typedef int qcow2_snapshot_fn(struct qcow2 *q, struct qcow2_snapshot *s,
			      struct err *err);

/* Does with a snapshot what cannot be undone: on a disk at rest, from what the
 * file holds. */
static int qcow2_snapshot_change(struct block *b, const char *name,
				 const char *what, qcow2_snapshot_fn *change,
				 struct err *err)
{
	struct qcow2 *q = b->opaque;
	struct qcow2_snapshot *s;
	int rc;

	qcow2_freeze(q);
	rc = qcow2_snapshot_find_err(q, name, &s, err);
	if (!rc)
		rc = qcow2_snapshot_sane(q, s, err);
	if (!rc) {
		rc = qcow2_commit_frozen(q);
		if (rc)
			qcow2_snapshot_failed(q, what, rc, err);
	}
	if (!rc)
		rc = change(q, s, err);
	qcow2_ccache_clear(q);
	qcow2_thaw(q);
	return rc;
}

static int qcow2_snapshot_return(struct qcow2 *q, struct qcow2_snapshot *s,
				 struct err *err)
{
	int rc = qcow2_snapshot_size(q, s, err);

	if (rc)
		return rc;
	return qcow2_snapshot_end(q, "go back", qcow2_snapshot_take(q, s), err);
}

int qcow2_snapshot_apply(struct block *b, const char *name, struct err *err)
{
	return qcow2_snapshot_change(b, name, "go back", qcow2_snapshot_return,
				     err);
}

/* Off the list first, stable; then its references go. */
static int qcow2_snapshot_remove(struct qcow2 *q, struct qcow2_snapshot *s)
{
	uint32_t i = (uint32_t)(s - q->snapshots), n = q->h.nb_snapshots - 1;
	struct qcow2_snapshot gone = *s;
	struct qcow2_snapshot *list = calloc(n + 1u, sizeof(*list));
	struct qcow2_walk w = { .delta = -1, .l1_size = s->l1_size };
	struct qcow2_snaptable t;
	int rc = -ENOMEM;

	if (!list)
		return rc;
	memcpy(list, q->snapshots, i * sizeof(*list));
	memcpy(list + i, s + 1, (n - i) * sizeof(*list));
	w.l1 = qcow2_snapshot_l1(q, &gone, &rc);
	if (!rc)
		rc = qcow2_snaptable_write(q, list, n, &t);
	if (!rc)
		rc = qcow2_snaptable_switch(q, n, &t);
	if (rc) {
		free(w.l1);
		free(list);
		return rc;
	}
	free(q->snapshots);
	q->snapshots = list;
	q->h.nb_snapshots = n;
	rc = qcow2_walk(q, &w);
	if (!rc)
		qcow2_free_later(q, qcow2_cluster(q, gone.l1_offset),
				 qcow2_clusters(q, 8ull * gone.l1_size));
	if (!rc)
		rc = qcow2_walk_active(q, 0);
	free(w.l1);
	qcow2_snapshot_free(&gone);
	return rc;
}

static int qcow2_snapshot_drop(struct qcow2 *q, struct qcow2_snapshot *s,
			       struct err *err)
{
	return qcow2_snapshot_end(q, "delete a snapshot",
				  qcow2_snapshot_remove(q, s), err);
}

int qcow2_snapshot_delete(struct block *b, const char *name, struct err *err)
{
	return qcow2_snapshot_change(b, name, "delete a snapshot",
				     qcow2_snapshot_drop, err);
}

int qcow2_snapshot_list(struct block *b, struct block_snapshot **out,
			unsigned *count, struct err *err)
{
	struct qcow2 *q = b->opaque;

	pthread_mutex_lock(&q->lock);
	*count = q->h.nb_snapshots;
	*out = calloc(*count + 1u, sizeof(**out));
	for (unsigned i = 0; *out && i < *count; i++) {
		const struct qcow2_snapshot *s = &q->snapshots[i];
		struct block_snapshot *o = &(*out)[i];

		snprintf(o->id, sizeof(o->id), "%s", s->id);
		snprintf(o->name, sizeof(o->name), "%s", s->name);
		o->vm_state_size = s->vm_state_size;
		o->disk_size = s->disk_size;
		o->date_ns = s->date_sec * 1000000000ll + s->date_nsec;
	}
	pthread_mutex_unlock(&q->lock);
	return *out ? 0 : err_set(err, ENOMEM, "%s: out of memory", b->path);
}
