/*
 * fuzz_vmdk.c - an image is untrusted: opened, read, written and checked,
 * whatever its header, tables and descriptor say.
 *
 * Beside the mutated bytes some table entries and header fields are replaced
 * by such as mean something there.
 */
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"
#include "fuzz.h"
#include "memdisk.h"
#include "rng.h"

#define FUZZ_DISK (256u << 10)
#define FUZZ_FILE (2u << 20)

static const struct block_open fuzz_open = { .path = "memory",
					     .no_backing = true };

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct block_create how = { .path = "memory",
				    .size = FUZZ_DISK,
				    .cluster_size = 4096,
				    .variant = i & 1 ? "stream" : "sparse" };
	uint8_t data[3 * 4096];
	struct block *b, *file;
	const void *bytes;
	size_t len;

	if (i >= 4)
		return 0;
	file = memdisk_new(NULL, 0, FUZZ_FILE);
	if (block_vmdk.create(file, &how, NULL) ||
	    memdisk_open(&b, file, &block_vmdk, &fuzz_open, NULL))
		abort();
	memset(data, 0x41, sizeof(data));
	block_write(b, data, 4096 * i, 9000);
	if (i & 2)
		block_write(b, data, 20 * 4096, 3 * 4096);
	file = memdisk_detach(b);
	bytes = memdisk_bytes(file, &len);
	len = len < cap ? len : cap;
	memcpy(buf, bytes, len);
	block_close(file);
	return len;
}

static void fuzz_patch(struct rng *r, uint8_t *p, size_t len)
{
	for (unsigned n = rng_below(r, 4); n && len >= 512; n--) {
		unsigned at = rng_below(
			r, rng_below(r, 2) ? 80 : (unsigned)len / 4 * 4 - 8);
		uint32_t v = rng_below(r, (unsigned)(len >> 9) + 4);

		if (rng_one_in(r, 3))
			v = (uint32_t)rng_next(r);
		memcpy(p + (at & ~3u), &v, 4);
	}
}

static void fuzz_use(struct rng *r, struct block *b, uint8_t *buf)
{
	uint64_t size = b->size < FUZZ_DISK ? b->size : FUZZ_DISK;
	struct block_extent e;

	for (unsigned n = 0; n < 24 && size; n++) {
		uint64_t offset = rng_next(r) % size;
		uint64_t length = 1 + rng_below(r, 16384);

		if (length > size - offset)
			length = size - offset;
		switch (rng_below(r, 6)) {
		case 0:
			block_write(b, buf, offset, length);
			break;
		case 1:
			block_zero(b, offset, length, 0);
			break;
		case 2:
			block_flush(b);
			break;
		case 3:
			if (!block_map(b, offset, length, rng_below(r, 2), 0,
				       &e))
				block_map_done(b, &e);
			break;
		default:
			block_read(b, buf, offset, length);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rng r = { len };
	struct block_open how = fuzz_open;
	struct block_check check = { 0 };
	struct block *b, *file = memdisk_new(data, len, FUZZ_FILE);
	static uint8_t buf[16384];
	size_t n;

	for (size_t i = 0; i < len; i++)
		r.state = r.state * 31 + data[i];
	fuzz_patch(&r, (uint8_t *)memdisk_bytes(file, &n), len);
	how.readonly = rng_one_in(&r, 3);
	if (memdisk_open(&b, file, &block_vmdk, &how, NULL))
		return 0;
	fuzz_use(&r, b, buf);
	b->ops->check(b, how.readonly ? 0 : rng_below(&r, 3), &check, NULL,
		      NULL);
	fuzz_use(&r, b, buf);
	block_close(b);
	return 0;
}
