/*
 * vmdk_stream.c - stream-optimized extents: compressed grains behind markers.
 *
 *	header | descriptor | (marker grain)* | (marker table)* |
 *	marker directory | marker footer | end marker
 *
 * A grain's marker is its first sector's number, the compressed size and the
 * zlib stream, padded to a sector; any other marker has size 0 and a type.
 *
 * Such a file is written once, front to back, by whoever converts into it:
 * each grain once and whole (its end may be missing: zeroes).  Tables are kept
 * in memory until the end.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "block/iov.h"
#include "block/vmdk.h"

#define STREAM_MARKER 12 /* bytes before a grain's data */

struct stream_marker {
	uint64_t value; /* LBA; or sectors that follow */
	uint32_t size;
	uint32_t type; /* if size is 0 */
} __attribute__((packed));

/* --- Reading ---------------------------------------------------------------
 */

static int stream_unpack(struct vmdk_sparse *s, const uint8_t *packed,
			 uint32_t size, uint64_t grain)
{
	uLongf got = s->grain_bytes;
	int rc;

	if (!s->unpacked)
		s->unpacked = malloc(s->grain_bytes);
	if (!s->unpacked)
		return -ENOMEM;
	s->unpacked_grain = UINT64_MAX;
	rc = uncompress(s->unpacked, &got, packed, size);
	if (rc != Z_OK)
		return rc == Z_MEM_ERROR ? -ENOMEM : -EIO;
	memset(s->unpacked + got, 0, s->grain_bytes - got);
	s->unpacked_grain = grain;
	return 0;
}

static int stream_load(struct vmdk_sparse *s, uint64_t host, uint64_t grain)
{
	uint64_t most = compressBound(s->grain_bytes);
	struct stream_marker m;
	uint8_t *packed;
	uint32_t size;
	int rc = block_read(s->file, &m, host, STREAM_MARKER);

	if (rc < 0)
		return rc;
	size = le32toh(m.size);
	if (!size || size > most || le64toh(m.value) != grain * s->h.grain)
		return -EIO;
	packed = malloc(size);
	if (!packed)
		return -ENOMEM;
	rc = block_read(s->file, packed, host + STREAM_MARKER, size);
	if (rc == 0)
		rc = stream_unpack(s, packed, size, grain);
	free(packed);
	return rc;
}

int vmdk_stream_read(struct vmdk_sparse *s, uint64_t host,
		     const struct iovec *iov, int iovcnt, size_t at,
		     uint64_t offset, uint64_t length)
{
	uint64_t grain = offset / s->grain_bytes;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (s->unpacked_grain != grain)
		rc = stream_load(s, host, grain);
	if (rc == 0)
		iov_from_buf(iov, iovcnt, at,
			     s->unpacked + offset % s->grain_bytes, length);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* --- Writing ---------------------------------------------------------------
 */

/* Appends marker and data; *at: where.  With the lock held. */
static int stream_append(struct vmdk_sparse *s, const struct stream_marker *m,
			 size_t head, const void *data, size_t len,
			 uint64_t *at)
{
	size_t whole = (head + len + 511) & ~511ul;
	uint8_t *buf = calloc(1, whole);
	int rc;

	if (!buf)
		return -ENOMEM;
	memcpy(buf, m, head < sizeof(*m) ? head : sizeof(*m));
	if (len)
		memcpy(buf + head, data, len);
	rc = block_write(s->file, buf, s->next, whole);
	free(buf);
	*at = s->next;
	if (rc == 0)
		s->next += whole;
	return rc;
}

static int stream_put_grain(struct vmdk_sparse *s, uint64_t grain,
			    const uint8_t *packed, uLong size)
{
	struct stream_marker m = { htole64(grain * s->h.grain),
				   htole32((uint32_t)size), 0 };
	uint64_t at, n = grain / s->h.gtes;
	uint32_t *gt;
	int rc = vmdk_sparse_table(s, (uint32_t)n, 0, &gt);

	if (rc < 0)
		return rc;
	if (gt[grain % s->h.gtes])
		return -ENOTSUP; /* each grain is written once */
	rc = stream_append(s, &m, STREAM_MARKER, packed, size, &at);
	if (rc == 0 && at / BLOCK_SECTOR > UINT32_MAX)
		rc = -EFBIG;
	if (rc == 0)
		gt[grain % s->h.gtes] = (uint32_t)(at / BLOCK_SECTOR);
	return rc;
}

static bool stream_is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* Packs without the lock, so that several threads do. */
static int stream_write_grain(struct vmdk_sparse *s, const uint8_t *plain,
			      uint64_t grain)
{
	uLongf size = compressBound(s->grain_bytes);
	uint8_t *packed;
	int rc;

	if (stream_is_zero(plain, s->grain_bytes))
		return 0;
	packed = malloc(size);
	if (!packed)
		return -ENOMEM;
	rc = compress(packed, &size, plain, s->grain_bytes) == Z_OK ? 0
								    : -ENOMEM;
	if (rc == 0) {
		pthread_mutex_lock(&s->lock);
		rc = stream_put_grain(s, grain, packed, size);
		pthread_mutex_unlock(&s->lock);
	}
	free(packed);
	return rc;
}

int vmdk_stream_write(struct vmdk_sparse *s, const struct iovec *iov,
		      int iovcnt, uint64_t offset, uint64_t length)
{
	uint8_t *plain = malloc(s->grain_bytes);
	uint64_t done = 0;
	int rc = plain ? 0 : -ENOMEM;

	while (done < length && rc == 0) {
		uint64_t in = (offset + done) % s->grain_bytes;
		uint64_t n = s->grain_bytes - in;

		n = n < length - done ? n : length - done;
		memset(plain, 0, s->grain_bytes);
		iov_to_buf(iov, iovcnt, done, plain + in, n);
		rc = stream_write_grain(s, plain,
					(offset + done) / s->grain_bytes);
		done += n;
	}
	free(plain);
	return rc;
}

static int stream_put_tables(struct vmdk_sparse *s)
{
	uint32_t buf[VMDK_GTES];
	struct stream_marker m = { htole64(s->h.gtes * 4 / 512), 0,
				   htole32(VMDK_MARKER_GT) };
	uint64_t at;
	int rc = 0;

	for (uint32_t n = 0; n < s->tables && rc == 0; n++) {
		if (!s->gt[n])
			continue;
		for (uint32_t i = 0; i < s->h.gtes; i++)
			buf[i] = htole32(s->gt[n][i]);
		rc = stream_append(s, &m, BLOCK_SECTOR, buf, s->h.gtes * 4ull,
				   &at);
		s->gd[n] = (uint32_t)(at / BLOCK_SECTOR + 1);
	}
	return rc;
}

static int stream_put_directory(struct vmdk_sparse *s)
{
	uint64_t bytes = (s->tables * 4ull + 511) & ~511ull, at;
	struct stream_marker m = { htole64(bytes / 512), 0,
				   htole32(VMDK_MARKER_GD) };
	uint32_t *buf = calloc(1, bytes);
	int rc;

	if (!buf)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->tables; i++)
		buf[i] = htole32(s->gd[i]);
	rc = stream_append(s, &m, BLOCK_SECTOR, buf, bytes, &at);
	free(buf);
	s->h.gd_offset = at / BLOCK_SECTOR + 1;
	return rc;
}

int vmdk_stream_finish(struct vmdk_sparse *s)
{
	struct stream_marker footer = { htole64(1), 0,
					htole32(VMDK_MARKER_FOOTER) };
	struct stream_marker end = { 0 };
	uint8_t header[512];
	uint64_t at;
	int rc = stream_put_tables(s);

	if (rc == 0)
		rc = stream_put_directory(s);
	if (rc < 0)
		return rc;
	vmdk_header_put(header, &s->h);
	rc = stream_append(s, &footer, BLOCK_SECTOR, header, sizeof(header),
			   &at);
	if (rc == 0)
		rc = stream_append(s, &end, BLOCK_SECTOR, NULL, 0, &at);
	s->writer = false;
	return rc ? rc : block_flush(s->file);
}
