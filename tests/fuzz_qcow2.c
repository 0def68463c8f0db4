/*
 * fuzz_qcow2.c - an image is untrusted: opened, read, written, snapshotted,
 * checked, mended, whatever its tables say.
 *
 * Beside the mutated bytes, some words of the image that are not zero are
 * replaced by such as mean something there (other tables' places, flags), as
 * blind mutation hardly ever does.  All that follows is a function of the
 * input alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fuzz.h"
#include "memdisk.h"
#include "rng.h"

#define FUZZ_DISK (256u << 10)
#define FUZZ_FILE (2u << 20)

static const struct block_open fuzz_write = { .path = "memory",
					      .no_backing = true };

/* --- Seeds ---------------------------------------------------------------- */

static const struct block_create fuzz_creates[] = {
	{ .cluster_size = 512 },
	{ .cluster_size = 512, .variant = "v2" },
	{ .cluster_size = 1024, .refcount_bits = 2, .lazy_refcounts = true },
	{ .cluster_size = 512, .refcount_bits = 64, .compression = "zstd" },
	{ .cluster_size = 512,
	  .prealloc = BLOCK_PREALLOC_METADATA,
	  .size = 40 << 10 },
};

static void fuzz_seed_fill(struct block *b, unsigned i)
{
	uint8_t buf[3000];
	struct iovec iov = { buf, 1024 };

	memset(buf, 0x41 + (int)i, sizeof(buf));
	block_write(b, buf, 700, sizeof(buf));
	if (b->size > 100 << 10)
		block_write(b, buf, 100 << 10, 512);
	block_zero(b, 1024, 1024, BLOCK_UNMAP);
	block_writev(b, &iov, 1, 8192, 1024, BLOCK_COMPRESS);
	block_writev(b, &iov, 1, 16384, 1024, BLOCK_COMPRESS);
	if (i != 1)
		b->ops->snapshot_create(b, "one", NULL);
	block_write(b, buf, 2048, 1024);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct block_create how;
	struct block *b, *file;
	const void *bytes;
	size_t len;

	if (i >= sizeof(fuzz_creates) / sizeof(*fuzz_creates))
		return 0;
	how = fuzz_creates[i];
	how.path = "memory";
	if (!how.size)
		how.size = FUZZ_DISK;
	file = memdisk_new(NULL, 0, FUZZ_FILE);
	if (block_qcow2.create(file, &how, NULL) ||
	    memdisk_open(&b, file, &block_qcow2, &fuzz_write, NULL))
		abort();
	fuzz_seed_fill(b, i);
	file = memdisk_detach(b);
	bytes = memdisk_bytes(file, &len);
	len = len < cap ? len : cap;
	memcpy(buf, bytes, len);
	block_close(file);
	return len;
}

/* --- Changes that mean something ------------------------------------------ */

static uint64_t fuzz_word(struct rng *r, uint64_t old, size_t len)
{
	uint64_t place = rng_below(r, (unsigned)(len >> 9) + 4) * 512ull;

	switch (rng_below(r, 10)) {
	case 0:
		return old ^ 1ull << 63;
	case 1:
		return old ^ 1ull << 62;
	case 2:
		return old ^ 1;
	case 3:
		return old ^ 1ull << rng_below(r, 64);
	case 4:
		return 0;
	case 5:
		return old + 512 * (rng_below(r, 9) - 4ull);
	case 6:
		return place | 1ull << 62 |
		       (uint64_t)rng_below(r, 8) << (61 - rng_below(r, 13));
	case 7:
		return rng_next(r);
	case 8:
		return place;
	default:
		return place | 1ull << 63;
	}
}

static void fuzz_patch(struct rng *r, uint8_t *p, size_t len)
{
	for (unsigned n = rng_below(r, 4); n && len >= 8; n--) {
		size_t words = len / 8, i = rng_below(r, (unsigned)words);
		size_t tries = words;
		uint64_t v = 0;

		/* From there on the next one that says something. */
		for (; tries--; i = (i + 1) % words) {
			memcpy(&v, p + 8 * i, 8);
			if (v && v != 0x4141414141414141ull)
				break;
		}
		v = htobe64(fuzz_word(r, be64toh(v), len));
		memcpy(p + 8 * i, &v, 8);
	}
}

/* --- Use ------------------------------------------------------------------ */

static void fuzz_one_op(struct rng *r, struct block *b, uint8_t *buf)
{
	uint64_t size = b->size < FUZZ_DISK ? b->size : FUZZ_DISK;
	uint64_t offset, length = 1 + rng_below(r, 8192);
	struct iovec iov = { buf, 0 };
	struct block_extent e;

	if (!size)
		return;
	/* Mostly where the seeds have something. */
	offset = rng_below(r, rng_one_in(r, 4) ? (unsigned)size : 20480) % size;
	if (length > size - offset)
		length = size - offset;
	iov.iov_len = length;
	switch (rng_below(r, 12)) {
	case 0:
	case 1:
	case 2:
		block_write(b, buf, offset, length);
		return;
	case 3:
		block_writev(b, &iov, 1, offset, length, BLOCK_COMPRESS);
		return;
	case 4:
		block_zero(b, offset, length,
			   rng_below(r, 2) ? BLOCK_UNMAP : 0);
		return;
	case 5:
		block_discard(b, offset, length);
		return;
	case 6:
		block_flush(b);
		return;
	case 7:
		if (!block_map(b, offset, length, rng_below(r, 2), 0, &e))
			block_map_done(b, &e);
		return;
	default:
		block_read(b, buf, offset, length);
		return;
	}
}

static void fuzz_structure(struct rng *r, struct block *b)
{
	struct block_snapshot *list;
	struct err err = { "" };
	unsigned n;
	int rc = 0;

	switch (rng_below(r, 8)) {
	case 0:
		rc = b->ops->snapshot_create(b, "two", &err);
		break;
	case 1:
		rc = b->ops->snapshot_apply(b, "one", &err);
		break;
	case 2:
		rc = b->ops->snapshot_delete(b, "one", &err);
		break;
	case 3:
		rc = block_resize(b, FUZZ_DISK * (1 + rng_below(r, 3)), &err);
		break;
	case 4:
		rc = block_resize(b, 4096, &err);
		break;
	case 5:
		rc = b->ops->set_backing(b, "other", "raw", &err);
		break;
	default:
		rc = b->ops->snapshot_list(b, &list, &n, &err);
		if (!rc)
			free(list);
		break;
	}
	if (rc && !err.msg[0])
		abort(); /* a failure has its sentence */
}

static void fuzz_use(struct rng *r, struct block *b)
{
	static uint8_t buf[FUZZ_DISK];
	uint64_t size = b->size < FUZZ_DISK ? b->size : FUZZ_DISK;
	struct block_check c;
	struct err err = { "" };

	if (size)
		block_read(b, buf, 0, size);
	if (b->ops->check(b, 0, &c, NULL, &err) && !err.msg[0])
		abort();
	if (b->readonly)
		return;
	for (unsigned i = rng_below(r, 24); i; i--)
		fuzz_one_op(r, b, buf);
	fuzz_structure(r, b);
	for (unsigned i = rng_below(r, 12); i; i--)
		fuzz_one_op(r, b, buf);
}

/* Opens, uses and closes; the file as it is then. */
static struct block *fuzz_session(struct rng *r, struct block *file,
				  const struct block_open *how)
{
	struct err err = { "" };
	struct block *b;
	size_t len;
	const void *p = memdisk_bytes(file, &len);
	struct block *copy = memdisk_new(p, len, FUZZ_FILE);
	struct block_check c;

	if (memdisk_open(&b, file, &block_qcow2, how, &err)) {
		if (!err.msg[0])
			abort();
		return copy;
	}
	block_close(copy);
	if (how->repair)
		b->ops->check(b, 2, &c, NULL, &err);
	else
		fuzz_use(r, b);
	return memdisk_detach(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct block_open read = { .path = "memory",
						.readonly = true,
						.no_backing = true };
	static const struct block_open repair = { .path = "memory",
						  .repair = true,
						  .no_backing = true };
	struct rng r = { len };
	struct block *file = memdisk_new(data, len, FUZZ_FILE);

	log_set_level((enum log_level) - 1);
	for (size_t i = 0; i < len; i++)
		r.state = (r.state ^ data[i]) * 0x100000001b3ull;
	fuzz_patch(&r, (uint8_t *)memdisk_bytes(file, &len), len);
	file = fuzz_session(&r, file, &read);
	file = fuzz_session(&r, file, &fuzz_write);
	file = fuzz_session(&r, file, &repair);
	file = fuzz_session(&r, file, &fuzz_write);
	block_close(file);
	return 0;
}
