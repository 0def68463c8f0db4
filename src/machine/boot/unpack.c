/*
 * unpack.c - unpacking a kernel's payload on the host.
 *
 * The payload of a bzImage is what scripts/Makefile.lib of Linux makes: one
 * stream of gzip, bzip2, LZMA, xz, LZ4 (the legacy frame) or Zstandard,
 * followed by the unpacked size in four little-endian bytes (for gzip those
 * are part of the stream).  So bytes after the stream's end are no error, and
 * the size is a hint that is never trusted: output grows as it comes, up to
 * the caller's limit.
 */
#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "machine/boot/boot.h"

#define UNPACK_FIRST (1u << 20)

/* The output, growing. */
struct unpack_out {
	uint8_t *buf;
	uint64_t len, cap, max;
};

/*
 * Makes room for `want` more bytes, or for as many as the limit allows;
 * -EFBIG when that is none.
 */
static int unpack_reserve(struct unpack_out *o, uint64_t want)
{
	uint64_t cap = o->cap ? o->cap : UNPACK_FIRST;
	uint8_t *buf;

	if (o->cap - o->len >= want)
		return 0;
	while (cap - o->len < want && cap < o->max)
		cap *= 2;
	if (cap > o->max)
		cap = o->max;
	if (cap == o->len)
		return -EFBIG;
	buf = realloc(o->buf, cap);
	if (!buf)
		return -ENOMEM;
	o->buf = buf;
	o->cap = cap;
	return 0;
}

static int unpack_grow(struct unpack_out *o)
{
	return unpack_reserve(o, 1);
}

/* Free output space as the 32-bit counters of zlib and bzip2 can take it. */
static unsigned unpack_room(const struct unpack_out *o)
{
	uint64_t room = o->cap - o->len;

	return room > (1u << 30) ? 1u << 30 : room;
}

/* Each returns 0, -EINVAL (corrupt or cut short), -EFBIG or -ENOMEM. */
typedef int unpack_fn(const uint8_t *in, uint64_t len, struct unpack_out *o);

static int unpack_gzip(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	z_stream z = { .next_in = (Bytef *)in, .avail_in = len };
	int r = Z_OK, ret = 0;

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* 16: gzip header, not zlib */
		return -ENOMEM;
	while (r == Z_OK && (ret = unpack_grow(o)) == 0) {
		unsigned room = unpack_room(o);

		z.next_out = o->buf + o->len;
		z.avail_out = room;
		r = inflate(&z, Z_NO_FLUSH);
		o->len += room - z.avail_out;
	}
	inflateEnd(&z);
	return ret ? ret : r == Z_STREAM_END ? 0 : -EINVAL;
}

static int unpack_bzip2(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	bz_stream z = { .next_in = (char *)in, .avail_in = len };
	int r = BZ_OK, ret = 0;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -ENOMEM;
	while (r == BZ_OK && (ret = unpack_grow(o)) == 0) {
		unsigned room = unpack_room(o);

		z.next_out = (char *)o->buf + o->len;
		z.avail_out = room;
		r = BZ2_bzDecompress(&z);
		o->len += room - z.avail_out;
		/* bzip2 has no "needs more input" result: see it stand still */
		if (r == BZ_OK && z.avail_in == 0 && z.avail_out == room)
			r = BZ_UNEXPECTED_EOF;
	}
	BZ2_bzDecompressEnd(&z);
	return ret ? ret : r == BZ_STREAM_END ? 0 : -EINVAL;
}

static int unpack_lzma_run(lzma_stream *z, const uint8_t *in, uint64_t len,
			   struct unpack_out *o)
{
	lzma_ret r = LZMA_OK;
	int ret = 0;

	z->next_in = in;
	z->avail_in = len;
	while (r == LZMA_OK && (ret = unpack_grow(o)) == 0) {
		z->next_out = o->buf + o->len;
		z->avail_out = o->cap - o->len;
		r = lzma_code(z, LZMA_FINISH);
		o->len = o->cap - z->avail_out;
	}
	lzma_end(z);
	if (ret)
		return ret;
	if (r == LZMA_MEM_ERROR || r == LZMA_MEMLIMIT_ERROR)
		return -ENOMEM;
	return r == LZMA_STREAM_END ? 0 : -EINVAL;
}

/* Dictionaries of kernels are at most 64 MiB (xz -9 of scripts/xz_wrap.sh). */
#define UNPACK_LZMA_MEM (512ull << 20)

static int unpack_xz(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&z, UNPACK_LZMA_MEM, 0) != LZMA_OK)
		return -ENOMEM;
	return unpack_lzma_run(&z, in, len, o);
}

static int unpack_lzma(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&z, UNPACK_LZMA_MEM) != LZMA_OK)
		return -ENOMEM;
	return unpack_lzma_run(&z, in, len, o);
}

static int unpack_zstd(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_inBuffer src = { in, len, 0 };
	size_t r = 1;
	int ret = 0;

	if (!z)
		return -ENOMEM;
	/* Kernels are packed with --ultra -22: a window of 128 MiB. */
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 27);
	while (r && (ret = unpack_grow(o)) == 0) {
		ZSTD_outBuffer dst = { o->buf, o->cap, o->len };
		size_t in_before = src.pos;

		r = ZSTD_decompressStream(z, &dst, &src);
		if (ZSTD_isError(r))
			break;
		if (r && dst.pos == o->len && src.pos == in_before)
			break; /* the input ends before the frame does */
		o->len = dst.pos;
	}
	ZSTD_freeDCtx(z);
	return ret ? ret : r ? -EINVAL : 0;
}

static uint32_t unpack_le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * LZ4's legacy frame (lz4_Frame_format.md, "Legacy frame"): the magic, then
 * blocks of a size word and data, each unpacking to 8 MiB but the last.  It
 * has no end mark: the payload's size word follows the last block and looks
 * like a block's, but runs past the end of the input.
 */
#define UNPACK_LZ4_BLOCK (8u << 20)

static int unpack_lz4_block(const uint8_t *in, uint32_t len,
			    struct unpack_out *o)
{
	int ret = unpack_reserve(o, UNPACK_LZ4_BLOCK);
	unsigned room;
	int n;

	if (ret < 0)
		return ret;
	room = unpack_room(o);
	if (room > UNPACK_LZ4_BLOCK)
		room = UNPACK_LZ4_BLOCK;
	n = LZ4_decompress_safe((const char *)in, (char *)o->buf + o->len, len,
				room);
	if (n < 0)
		return room < UNPACK_LZ4_BLOCK ? -EFBIG : -EINVAL;
	o->len += n;
	return 0;
}

static int unpack_lz4(const uint8_t *in, uint64_t len, struct unpack_out *o)
{
	uint64_t pos = 4;
	bool any = false;

	while (len - pos >= 4) {
		uint32_t size = unpack_le32(in + pos);
		int ret;

		if (size > len - pos - 4 || size == 0)
			break;
		ret = unpack_lz4_block(in + pos + 4, size, o);
		if (ret < 0)
			return ret;
		pos += 4 + (uint64_t)size;
		any = true;
	}
	/* What is left must be the size word, or nothing. */
	return any && len - pos <= 4 ? 0 : -EINVAL;
}

static const struct unpack_format {
	const char *name;
	uint8_t magic[6];
	unsigned magic_len;
	unpack_fn *fn;
} unpack_formats[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, unpack_gzip },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, unpack_xz },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, unpack_zstd },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, unpack_lz4 },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, unpack_bzip2 },
	{ "lzma", { 0x5d, 0, 0 }, 3, unpack_lzma },
};

static const struct unpack_format *unpack_find(const uint8_t *in, uint64_t len)
{
	size_t n = sizeof(unpack_formats) / sizeof(unpack_formats[0]);

	for (size_t i = 0; i < n; i++) {
		const struct unpack_format *f = &unpack_formats[i];

		if (len > f->magic_len && !memcmp(in, f->magic, f->magic_len))
			return f;
	}
	return NULL;
}

int boot_unpack(const uint8_t *in, uint64_t in_len, uint64_t max, uint8_t **out,
		uint64_t *out_len, const char **format, struct err *err)
{
	const struct unpack_format *f = unpack_find(in, in_len);
	struct unpack_out o = { .max = max };
	int ret;

	*out = NULL;
	*out_len = 0;
	*format = f ? f->name : NULL;
	if (!f || in_len > UINT32_MAX)
		return err_set(err, ENOEXEC,
			       "the payload is packed in no known format "
			       "(gzip, xz, lzma, zstd, lz4, bzip2)");
	ret = f->fn(in, in_len, &o);
	if (ret == 0) {
		*out = o.buf;
		*out_len = o.len;
		return 0;
	}
	free(o.buf);
	if (ret == -EFBIG)
		return err_set(err, EFBIG,
			       "the %s payload unpacks to more than %llu MiB",
			       f->name, (unsigned long long)max >> 20);
	if (ret == -ENOMEM)
		return err_set(err, ENOMEM,
			       "not enough memory to unpack the %s payload",
			       f->name);
	return err_set(err, -ret, "the %s payload is damaged or cut short",
		       f->name);
}
