/*
 * qcow2_meta.c - the set of host clusters that hold metadata, so that a
 * broken or hostile image cannot have its own tables overwritten with data.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>

#define QCOW2_SET_GONE UINT64_MAX /* was removed; the search goes on */

static size_t qcow2_set_hash(uint64_t cluster)
{
	return (size_t)((cluster * 0x9e3779b97f4a7c15ull) >> 20);
}

static bool qcow2_set_has(const struct qcow2_set *s, uint64_t cluster)
{
	for (size_t i = qcow2_set_hash(cluster);; i++) {
		uint64_t v = atomic_load_explicit(&s->slot[i & s->mask],
						  memory_order_acquire);

		if (!v)
			return false;
		if (v == cluster + 1)
			return true;
	}
}

static void qcow2_set_put(struct qcow2_set *s, uint64_t cluster)
{
	size_t i = qcow2_set_hash(cluster);

	while (atomic_load(&s->slot[i & s->mask]))
		i++;
	atomic_store(&s->slot[i & s->mask], cluster + 1);
	s->count++;
}

static struct qcow2_set *qcow2_set_new(size_t slots)
{
	struct qcow2_set *s = calloc(1, sizeof(*s) + slots * 8);

	if (s)
		s->mask = slots - 1;
	return s;
}

/* Readers may still be in the old one. */
static int qcow2_set_replace(struct qcow2 *q, struct qcow2_set *s)
{
	struct qcow2_retired *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->memory = atomic_exchange(&q->metadata, s);
	qcow2_retire(q, r);
	return 0;
}

static struct qcow2_set *qcow2_set_copy(const struct qcow2_set *old,
					size_t slots)
{
	struct qcow2_set *s = qcow2_set_new(slots);

	for (size_t i = 0; s && i <= old->mask; i++) {
		uint64_t v = atomic_load(&old->slot[i]);

		if (v && v != QCOW2_SET_GONE)
			qcow2_set_put(s, v - 1);
	}
	return s;
}

static bool qcow2_set_full(const struct qcow2_set *s)
{
	return 2 * (s->count + 1) > s->mask;
}

bool qcow2_is_metadata(struct qcow2 *q, uint64_t first, uint64_t count)
{
	const struct qcow2_set *s = atomic_load(&q->metadata);

	if (!s)
		return false;
	while (count--)
		if (qcow2_set_has(s, first++))
			return true;
	return false;
}

int qcow2_metadata_add(struct qcow2 *q, uint64_t first, uint64_t count)
{
	while (count--) {
		struct qcow2_set *s = atomic_load(&q->metadata);

		if (qcow2_set_has(s, first))
			return qcow2_broken(q,
					    "cluster %#llx would hold "
					    "metadata twice",
					    (unsigned long long)first);
		if (qcow2_set_full(s)) {
			s = qcow2_set_copy(s, 2 * (s->mask + 1));
			if (!s || qcow2_set_replace(q, s)) {
				free(s);
				return -ENOMEM;
			}
		}
		qcow2_set_put(s, first++);
	}
	return 0;
}

void qcow2_metadata_remove(struct qcow2 *q, uint64_t first, uint64_t count)
{
	struct qcow2_set *s = atomic_load(&q->metadata);

	for (; count; count--, first++)
		for (size_t i = qcow2_set_hash(first);; i++) {
			uint64_t v = atomic_load(&s->slot[i & s->mask]);

			if (v == first + 1)
				atomic_store(&s->slot[i & s->mask],
					     QCOW2_SET_GONE);
			if (!v || v == first + 1)
				break;
		}
}

/* --- Building it ---------------------------------------------------------- */

struct qcow2_meta {
	struct qcow2 *q;
	struct qcow2_set *set;
	struct err *err;
};

static int qcow2_meta_bad(struct qcow2_meta *m, uint64_t offset,
			  const char *what, const char *how)
{
	return err_set(m->err, EIO,
		       "%s: broken qcow2 image: %s (at %#llx) %s; see "
		       "`hostel disk check`",
		       m->q->b->path, what, (unsigned long long)offset, how);
}

static int qcow2_meta_put(struct qcow2_meta *m, uint64_t cluster)
{
	if (qcow2_set_full(m->set)) {
		struct qcow2_set *s =
			qcow2_set_copy(m->set, 2 * (m->set->mask + 1));

		if (!s)
			return err_set(m->err, ENOMEM, "%s: out of memory",
				       m->q->b->path);
		free(m->set);
		m->set = s;
	}
	qcow2_set_put(m->set, cluster);
	return 0;
}

static int qcow2_meta_table(struct qcow2_meta *m, uint64_t offset,
			    uint64_t bytes, const char *what)
{
	struct qcow2 *q = m->q;
	uint64_t end = atomic_load(&q->end);
	uint64_t first = qcow2_cluster(q, offset);
	uint64_t count = qcow2_clusters(q, bytes);
	int rc = 0;

	if (offset & (q->cluster_size - 1) || offset >= end ||
	    bytes > end - offset)
		return qcow2_meta_bad(m, offset, what,
				      "is not inside the file");
	for (; !rc && count; count--, first++) {
		if (qcow2_set_has(m->set, first))
			return qcow2_meta_bad(m, offset, what,
					      "lies on other metadata");
		rc = qcow2_meta_put(m, first);
	}
	return rc;
}

static int qcow2_meta_tables(struct qcow2_meta *m)
{
	struct qcow2 *q = m->q;
	int rc = qcow2_meta_table(m, 0, 1, "the header");

	if (!rc && q->h.l1_size)
		rc = qcow2_meta_table(m, q->h.l1_offset, 8ull * q->h.l1_size,
				      "the L1 table");
	if (!rc)
		rc = qcow2_meta_table(m, q->h.reftable_offset,
				      8ull * q->reftable_size,
				      "the refcount table");
	for (uint32_t i = 0; !rc && i < q->reftable_size; i++)
		if (q->reftable[i])
			rc = qcow2_meta_table(m, q->reftable[i],
					      q->cluster_size,
					      "a refcount block");
	for (uint32_t i = 0; !rc && i < q->h.l1_size; i++)
		if (atomic_load(&q->l1[i]))
			rc = qcow2_meta_table(
				m, atomic_load(&q->l1[i]) & ~QCOW2_COPIED,
				q->cluster_size, "an L2 table");
	return rc;
}

static int qcow2_meta_snapshots(struct qcow2_meta *m)
{
	struct qcow2 *q = m->q;
	size_t bytes = 0;
	int rc = 0;

	for (uint32_t i = 0; i < q->h.nb_snapshots; i++)
		bytes += qcow2_snapshot_bytes(&q->snapshots[i]);
	if (bytes)
		rc = qcow2_meta_table(m, q->h.snapshots_offset, bytes,
				      "the snapshot table");
	for (uint32_t i = 0; !rc && i < q->h.nb_snapshots; i++)
		if (q->snapshots[i].l1_size)
			rc = qcow2_meta_table(m, q->snapshots[i].l1_offset,
					      8ull * q->snapshots[i].l1_size,
					      "a snapshot's L1 table");
	return rc;
}

int qcow2_metadata_build(struct qcow2 *q, struct err *err)
{
	struct qcow2_meta m = { q, qcow2_set_new(256), err };
	int rc;

	if (!m.set)
		return err_set(err, ENOMEM, "%s: out of memory", q->b->path);
	rc = qcow2_meta_tables(&m);
	if (!rc)
		rc = qcow2_meta_snapshots(&m);
	if (!rc && qcow2_set_replace(q, m.set))
		rc = err_set(err, ENOMEM, "%s: out of memory", q->b->path);
	if (rc)
		free(m.set);
	return rc;
}
