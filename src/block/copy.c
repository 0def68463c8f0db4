/*
 * copy.c - see copy.h.
 *
 * A disk is cut into chunks; each worker takes the next one that nobody has.
 * What is done with a chunk is the only difference between the three jobs.
 */
#include "block/copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_CHUNK   (2u << 20)
#define COPY_GRAIN   4096u /* zeroes are looked for in pieces of this */
#define COPY_WORKERS 16u

struct copy_worker;

struct copy_job {
	struct block *from, *to;
	const struct block_copy *how;
	int (*chunk)(struct copy_worker *w, uint64_t offset, uint64_t length);
	uint64_t size;
	uint32_t step;  /* of a chunk */
	uint32_t grain; /* that is written or left out as a whole */
	_Atomic uint64_t next, done;
	_Atomic int rc;
	_Atomic bool writing; /* what failed, for the sentence */
	pthread_mutex_t progress_lock;
};

struct copy_worker {
	struct copy_job *job;
	uint8_t *buf, *other;
	pthread_t thread;
};

/* Reads as a disk of any length would: zeroes behind the end, or no disk. */
static int copy_read(struct block *b, void *buf, uint64_t offset,
		     uint64_t length)
{
	uint64_t size = b ? atomic_load(&b->size) : 0;
	uint64_t n = offset < size ? size - offset : 0;

	n = n < length ? n : length;
	memset((char *)buf + n, 0, length - n);
	return n ? block_read(b, buf, offset, n) : 0;
}

static bool copy_is_zero(const uint8_t *p, uint64_t length)
{
	return !length || (!p[0] && !memcmp(p, p + 1, length - 1));
}

static int copy_write(struct copy_worker *w, struct block *to, const void *buf,
		      uint64_t offset, uint64_t length)
{
	struct iovec iov = { (void *)buf, length };
	unsigned flags = w->job->how->compress ? BLOCK_COMPRESS : 0;
	int rc = block_writev(to, &iov, 1, offset, length, flags);

	if (rc)
		atomic_store(&w->job->writing, true);
	return rc;
}

static int copy_zero(struct copy_worker *w, struct block *to, uint64_t offset,
		     uint64_t length)
{
	int rc = block_zero(to, offset, length, BLOCK_UNMAP);

	if (rc)
		atomic_store(&w->job->writing, true);
	return rc;
}

/* How long the pieces at p are all to be written (or all not). */
static uint64_t copy_run(const struct copy_worker *w, const uint8_t *p,
			 const uint8_t *other, uint64_t length, bool *same)
{
	uint64_t grain = w->job->grain, n;

	for (n = 0; n < length; n += grain) {
		uint64_t piece = length - n < grain ? length - n : grain;
		bool eq = other ? !memcmp(p + n, other + n, piece)
				: copy_is_zero(p + n, piece);

		if (n && eq != *same)
			return n;
		*same = eq;
	}
	return length;
}

/* Writes of w->buf what differs from `other` (NULL: from zeroes). */
static int copy_difference(struct copy_worker *w, struct block *to,
			   const uint8_t *other, uint64_t offset,
			   uint64_t length)
{
	for (uint64_t at = 0, n; at < length; at += n) {
		bool same = false;
		int rc = 0;

		n = copy_run(w, w->buf + at, other ? other + at : NULL,
			     length - at, &same);
		if (same)
			continue;
		if (copy_is_zero(w->buf + at, n))
			rc = copy_zero(w, to, offset + at, n);
		else
			rc = copy_write(w, to, w->buf + at, offset + at, n);
		if (rc)
			return rc;
	}
	return 0;
}

/* --- A new image ---------------------------------------------------------- */

/* Is all of it known to read as zeroes, without reading? */
static int copy_known_zero(struct block *b, uint64_t offset, uint64_t length,
			   bool *zero)
{
	struct block_extent e;

	for (*zero = true; length && *zero; length -= e.length) {
		int rc = block_map(b, offset, length, false, 0, &e);

		if (rc)
			return rc;
		block_map_done(b, &e);
		*zero = e.type != BLOCK_EXTENT_DATA;
		offset += e.length;
	}
	return 0;
}

static int copy_chunk_new(struct copy_worker *w, uint64_t offset,
			  uint64_t length)
{
	struct copy_job *j = w->job;
	const uint8_t *other = NULL;
	bool zero = false;
	int rc = 0;

	if (!j->to->backing)
		rc = copy_known_zero(j->from, offset, length, &zero);
	if (rc || zero)
		return rc;
	rc = copy_read(j->from, w->buf, offset, length);
	if (!rc && j->to->backing) {
		other = w->other;
		rc = copy_read(j->to->backing, w->other, offset, length);
	}
	return rc ? rc : copy_difference(w, j->to, other, offset, length);
}

/* --- Into the backing file ------------------------------------------------ */

static int copy_chunk_commit(struct copy_worker *w, uint64_t offset,
			     uint64_t length)
{
	struct copy_job *j = w->job;
	struct block_extent e;

	for (; length; length -= e.length, offset += e.length) {
		int rc = block_map(j->from, offset, length, false, 0, &e);

		if (rc)
			return rc;
		block_map_done(j->from, &e);
		if (e.type == BLOCK_EXTENT_HOLE)
			continue;
		if (e.type == BLOCK_EXTENT_ZERO) {
			rc = copy_zero(w, j->to, offset, e.length);
		} else {
			rc = copy_read(j->from, w->buf, offset, e.length);
			if (!rc)
				rc = copy_write(w, j->to, w->buf, offset,
						e.length);
		}
		if (rc)
			return rc;
	}
	return 0;
}

/* --- Another backing file ------------------------------------------------- */

/* from: the new base, or NULL; to: the top. */
static int copy_chunk_rebase(struct copy_worker *w, uint64_t offset,
			     uint64_t length)
{
	struct copy_job *j = w->job;
	struct block_extent e;

	for (; length; length -= e.length, offset += e.length) {
		int rc = block_map(j->to, offset, length, false, 0, &e);

		if (rc)
			return rc;
		block_map_done(j->to, &e);
		/* What the top holds itself stays as it is. */
		if (e.depth == 0 && e.type != BLOCK_EXTENT_HOLE)
			continue;
		rc = copy_read(j->to, w->buf, offset, e.length);
		if (!rc)
			rc = copy_read(j->from, w->other, offset, e.length);
		if (!rc)
			rc = copy_difference(w, j->to, w->other, offset,
					     e.length);
		if (rc)
			return rc;
	}
	return 0;
}

/* --- The workers ---------------------------------------------------------- */

static int copy_progress(struct copy_job *j, uint64_t done)
{
	int rc = 0;

	/* Who finds somebody telling has nothing to add. */
	if (!j->how->progress || pthread_mutex_trylock(&j->progress_lock))
		return 0;
	if (j->how->progress(j->how->opaque, done, j->size))
		rc = -ECANCELED;
	pthread_mutex_unlock(&j->progress_lock);
	return rc;
}

static void *copy_work(void *opaque)
{
	struct copy_worker *w = opaque;
	struct copy_job *j = w->job;

	while (!atomic_load(&j->rc)) {
		uint64_t at = atomic_fetch_add(&j->next, j->step);
		uint64_t n = at < j->size ? j->size - at : 0;
		int rc, ok = 0;

		if (!n)
			break;
		n = n < j->step ? n : j->step;
		rc = j->chunk(w, at, n);
		if (!rc)
			rc = copy_progress(j,
					   atomic_fetch_add(&j->done, n) + n);
		if (rc)
			atomic_compare_exchange_strong(&j->rc, &ok, rc);
	}
	return NULL;
}

static unsigned copy_workers(const struct block_copy *how)
{
	long n = how->workers ? (long)how->workers
			      : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > (long)COPY_WORKERS ? COPY_WORKERS : (unsigned)n;
}

/* One works in this thread; the others may fail to start. */
static int copy_run_workers(struct copy_job *j)
{
	struct copy_worker w[COPY_WORKERS];
	unsigned n = copy_workers(j->how), ready = 0, started = 1;

	for (; ready < n; ready++) {
		w[ready].job = j;
		w[ready].buf = malloc(j->step);
		w[ready].other = malloc(j->step);
		if (!w[ready].buf || !w[ready].other) {
			free(w[ready].buf);
			free(w[ready].other);
			break;
		}
	}
	while (started < ready && !pthread_create(&w[started].thread, NULL,
						  copy_work, &w[started]))
		started++;
	if (ready)
		copy_work(&w[0]);
	else
		atomic_store(&j->rc, -ENOMEM);
	for (unsigned i = 1; i < started && ready; i++)
		pthread_join(w[i].thread, NULL);
	while (ready--) {
		free(w[ready].buf);
		free(w[ready].other);
	}
	return atomic_load(&j->rc);
}

static int copy_job_run(struct copy_job *j, struct err *err)
{
	const char *at;
	int rc;

	pthread_mutex_init(&j->progress_lock, NULL);
	rc = copy_run_workers(j);
	pthread_mutex_destroy(&j->progress_lock);
	at = atomic_load(&j->writing) || !j->from ? j->to->path : j->from->path;
	if (rc == -ECANCELED)
		return err_set(err, ECANCELED, "interrupted");
	if (rc)
		return err_set(err, -rc, "%s: cannot %s: %s", at,
			       atomic_load(&j->writing) ? "write" : "read",
			       strerror(-rc));
	rc = block_flush(j->to);
	return rc ? err_set(err, -rc, "%s: cannot write: %s", j->to->path,
			    strerror(-rc))
		  : 0;
}

/* Chunks and grains of whole clusters: none is written by two workers. */
static void copy_steps(struct copy_job *j, const struct block *target)
{
	struct block_info info = { 0 };

	j->step = COPY_CHUNK;
	j->grain = COPY_GRAIN;
	if (block_get_info((struct block *)target, &info))
		return;
	free(info.backing);
	free(info.backing_format);
	if (info.cluster_size > j->step)
		j->step = info.cluster_size;
	/* A cluster that is written is written whole: one write, not many. */
	if (info.cluster_size > j->grain)
		j->grain = info.cluster_size;
}

int copy_disk(struct block *from, struct block *to,
	      const struct block_copy *how, struct err *err)
{
	uint64_t a = atomic_load(&from->size), b = atomic_load(&to->size);
	struct copy_job j = { .from = from,
			      .to = to,
			      .how = how,
			      .chunk = copy_chunk_new,
			      .size = a < b ? a : b };

	copy_steps(&j, to);
	return copy_job_run(&j, err);
}

int copy_commit(struct block *top, struct block *base,
		const struct block_copy *how, struct err *err)
{
	struct block_copy plain = *how;
	struct copy_job j = { .from = top,
			      .to = base,
			      .how = &plain,
			      .chunk = copy_chunk_commit,
			      .size = atomic_load(&top->size) };
	int rc = 0;

	plain.compress = false;
	if (atomic_load(&base->size) < j.size)
		rc = block_resize(base, j.size, err);
	if (rc)
		return rc;
	copy_steps(&j, base);
	return copy_job_run(&j, err);
}

int copy_rebase(struct block *top, struct block *base,
		const struct block_copy *how, struct err *err)
{
	struct block_copy plain = *how;
	struct copy_job j = { .from = base,
			      .to = top,
			      .how = &plain,
			      .chunk = copy_chunk_rebase,
			      .size = atomic_load(&top->size) };

	plain.compress = false;
	copy_steps(&j, top);
	return copy_job_run(&j, err);
}
