/*
 * test_qcow2_crash.c - the power goes at any write: crash.c's question, asked
 * of a file in memory, thousands of times, and while the structure changes.
 *
 * The file below the image keeps what was written since the last flush apart.
 * At random writes a photo is taken of what a power cut there could leave:
 * the flushed bytes and each later sector or not.  The photo must be an image
 * without an error, in which nothing flushed is lost (crash_model.h).
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/iov.h"
#include "crash_model.h"
#include "memdisk.h"
#include "rng.h"

#define QX_DISK    (4u << 20)
#define QX_SECTORS (QX_DISK / CRASH_SECTOR)
#define QX_FILE    (12u << 20)

struct qx_write {
	struct qx_write *next;
	uint64_t offset, length;
	uint8_t data[];
};

struct qx {
	struct block *now;    /* the file as it reads */
	struct block *stable; /* as it was at the last flush */
	struct qx_write *first, **last;
	struct crash_model *model;
	struct rng rng;
	unsigned every; /* a photo at one in so many writes */
	unsigned photos;
	bool structure; /* a snapshot is being made or deleted */
	const struct block_create *how;
};

/* --- The file ------------------------------------------------------------- */

static int qx_read(struct block *b, const struct iovec *iov, int iovcnt,
		   uint64_t offset, uint64_t length, unsigned flags)
{
	struct qx *x = b->opaque;

	return block_readv(x->now, iov, iovcnt, offset, length, flags);
}

static void qx_stabilise(struct qx *x)
{
	while (x->first) {
		struct qx_write *w = x->first;

		assert_int_equal(
			block_write(x->stable, w->data, w->offset, w->length),
			0);
		x->first = w->next;
		free(w);
	}
	x->last = &x->first;
}

static int qx_flush(struct block *b)
{
	qx_stabilise(b->opaque);
	return 0;
}

/* What may be left: sector by sector. */
static struct block *qx_left(struct qx *x)
{
	size_t len;
	const void *p = memdisk_bytes(x->stable, &len);
	struct block *left = memdisk_new(p, len, QX_FILE);
	unsigned odds = 1 + rng_below(&x->rng, 4);

	for (struct qx_write *w = x->first; w; w = w->next)
		for (uint64_t at = 0; at < w->length; at += 512) {
			uint64_t n = w->length - at;

			if (rng_below(&x->rng, 4) < odds)
				block_write(left, w->data + at, w->offset + at,
					    n < 512 ? n : 512);
		}
	return left;
}

static void qx_verify_data(struct qx *x, struct block *b)
{
	uint8_t *buf = malloc(QX_DISK);

	assert_int_equal(block_read(b, buf, 0, QX_DISK), 0);
	assert_true(crash_verify(x->model, 0, QX_SECTORS, buf, false));
	free(buf);
}

static void qx_photo(struct qx *x)
{
	struct block_open how = { .path = "photo",
				  .readonly = true,
				  .no_backing = true };
	struct block *b, *file = qx_left(x);
	struct block_check c;
	struct err err;

	x->photos++;
	if (memdisk_open(&b, file, &block_qcow2, &how, &err))
		fail_msg("photo %u: %s", x->photos, err.msg);
	assert_int_equal(b->ops->check(b, 0, &c, NULL, &err), 0);
	if (c.errors && !x->structure)
		b->ops->check(b, 0, &c, stderr, &err); /* which? */
	qx_verify_data(x, b);
	file = memdisk_detach(b);
	if (c.errors && !x->structure)
		fail_msg("photo %u: %llu errors", x->photos,
			 (unsigned long long)c.errors);
	/* Flags that do not fit the counts: mended. */
	how.readonly = false;
	how.repair = true;
	assert_int_equal(memdisk_open(&b, file, &block_qcow2, &how, &err), 0);
	assert_int_equal(b->ops->check(b, 2, &c, NULL, &err), 0);
	assert_int_equal(c.errors + c.leaks, 0);
	qx_verify_data(x, b);
	block_close(b);
}

static int qx_write_op(struct block *b, const struct iovec *iov, int iovcnt,
		       uint64_t offset, uint64_t length, unsigned flags)
{
	struct qx *x = b->opaque;
	struct qx_write *w = malloc(sizeof(*w) + length);

	assert_non_null(w);
	w->next = NULL;
	w->offset = offset;
	w->length = length;
	iov_to_buf(iov, iovcnt, 0, w->data, length);
	*x->last = w;
	x->last = &w->next;
	assert_int_equal(block_write(x->now, w->data, offset, length), 0);
	b->size = x->now->size;
	if (rng_one_in(&x->rng, x->every))
		qx_photo(x);
	return 0;
}

static int qx_resize(struct block *b, uint64_t size, struct err *err)
{
	struct qx *x = b->opaque;
	int rc = block_resize(x->now, size, err);

	b->size = x->now->size;
	return rc;
}

static const struct block_ops qx_ops = {
	.name = "crash",
	.read = qx_read,
	.write = qx_write_op,
	.flush = qx_flush,
	.resize = qx_resize,
};

/* --- The guest ------------------------------------------------------------ */

/* What a flush makes sure of. */
struct qx_done {
	uint64_t sector, count, version;
};

static void qx_one(struct qx *x, struct block *b, struct qx_done *done,
		   unsigned *dones)
{
	static uint8_t buf[QX_DISK];
	uint64_t count =
		1 + rng_below(&x->rng, rng_one_in(&x->rng, 4) ? 300 : 12);
	uint64_t sector = rng_below(&x->rng, QX_SECTORS - 300), version;
	struct iovec iov = { buf, 0 };
	unsigned what = rng_below(&x->rng, 10);
	unsigned flags = 0;

	if (what == 0) { /* whole clusters, packed */
		count = x->how->cluster_size / 512;
		sector -= sector % count;
		flags = BLOCK_COMPRESS;
	}
	version = crash_issue(x->model);
	iov.iov_len = count * 512;
	if (what < 7) {
		crash_fill(x->model, sector, count, version, buf);
		assert_int_equal(block_writev(b, &iov, 1, sector * 512,
					      count * 512, flags),
				 0);
	} else {
		crash_zeroing(x->model, sector, count, version);
		if (what == 7)
			block_discard(b, sector * 512, count * 512);
		else
			assert_int_equal(
				block_zero(b, sector * 512, count * 512,
					   what == 8 ? BLOCK_UNMAP : 0),
				0);
		/* A discard is advice: what it leaves is not known. */
		if (what == 7)
			return;
	}
	done[(*dones)++] = (struct qx_done){ sector, count, version };
}

static void qx_structure(struct qx *x, struct block *b, unsigned i)
{
	char name[16];
	struct err err = { "" };
	int rc;

	x->structure = true;
	sprintf(name, "s%u", i / 2);
	rc = i % 2 ? b->ops->snapshot_delete(b, name, &err)
		   : b->ops->snapshot_create(b, name, &err);
	if (rc)
		fail_msg("%s", err.msg);
	x->structure = false;
}

static void qx_guest(struct qx *x, struct block *b, unsigned ops)
{
	struct qx_done done[512];
	unsigned dones = 0, changes = 0;

	for (unsigned i = 0; i < ops; i++) {
		qx_one(x, b, done, &dones);
		if (!rng_one_in(&x->rng, 12) && dones < 500)
			continue;
		if (rng_one_in(&x->rng, 6))
			qx_structure(x, b, changes++);
		assert_int_equal(block_flush(b), 0);
		while (dones) {
			dones--;
			crash_raise(x->model, done[dones].sector,
				    done[dones].count, done[dones].version);
		}
	}
}

static void qx_run(const struct block_create *how, uint64_t seed, unsigned ops,
		   unsigned every)
{
	struct block file = { .ops = &qx_ops, .path = "crash", .grows = true };
	struct qx x = { .how = how, .every = every, .rng = { seed } };
	struct block_open open = { .path = "crash", .no_backing = true };
	struct block *b = calloc(1, sizeof(*b));
	struct block_create create = *how;
	struct err err;

	x.now = memdisk_new(NULL, 0, QX_FILE);
	x.stable = memdisk_new(NULL, 0, QX_FILE);
	x.last = &x.first;
	x.model = crash_model_new(QX_SECTORS, seed);
	x.every = 1u << 30;
	file.opaque = &x;
	create.path = "crash";
	/* Tables for a small disk: they must grow. */
	create.size = 512 << 10;
	assert_int_equal(block_qcow2.create(&file, &create, &err), 0);
	b->path = strdup("crash");
	b->file = &file;
	assert_int_equal(block_qcow2.open(b, &open, &err), 0);
	b->ops = block_qcow2.ops;
	assert_int_equal(block_resize(b, QX_DISK, &err), 0);
	assert_int_equal(block_flush(b), 0);
	x.every = every;
	qx_guest(&x, b, ops);
	memdisk_detach(b);
	qx_stabilise(&x);
	assert_true(x.photos > 20);
	block_close(x.now);
	block_close(x.stable);
}

static void small_clusters(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		qx_run(&(struct block_create){ .cluster_size = 512 }, seed, 300,
		       8);
}

static void clusters_of_4k(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		qx_run(&(struct block_create){ .cluster_size = 4096 }, seed,
		       300, 4);
}

static void clusters_of_64k(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		qx_run(&(struct block_create){ .cluster_size = 65536 }, seed,
		       300, 4);
}

static void version_2(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		qx_run(&(struct block_create){ .cluster_size = 4096,
					       .variant = "v2" },
		       seed, 300, 4);
}

static void wide_refcounts(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		qx_run(&(struct block_create){ .cluster_size = 1024,
					       .refcount_bits = 64 },
		       seed, 200, 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_clusters),
		cmocka_unit_test(clusters_of_4k),
		cmocka_unit_test(clusters_of_64k),
		cmocka_unit_test(version_2),
		cmocka_unit_test(wide_refcounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
