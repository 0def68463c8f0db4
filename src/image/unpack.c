#include "image/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNPACK_BLOCK (1u << 20)
#define UNPACK_GRAIN 4096
#define UNPACK_MAX   (16ll << 40) /* more is no disk but a bomb */

static const struct {
	unsigned offset, length;
	const char *magic;
} unpack_magics[] = {
	{ 0, 6,
	  "\xfd"
	  "7zXZ" },
	{ 0, 2, "\x1f\x8b" },
	{ 0, 4, "\x28\xb5\x2f\xfd" },
	{ 0, 3, "BZh" },
	{ 0, 4, "\x04\x22\x4d\x18" },
	{ 257, 5, "ustar" },
};

#define UNPACK_MAGICS (sizeof(unpack_magics) / sizeof(unpack_magics[0]))

bool unpack_is_packed(const char *path)
{
	char head[512] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (fd >= 0)
		close(fd);
	for (size_t i = 0; n > 0 && i < UNPACK_MAGICS; i++)
		if (!memcmp(head + unpack_magics[i].offset,
			    unpack_magics[i].magic, unpack_magics[i].length))
			return true;
	return false;
}

static int unpack_damaged(struct archive *a, const char *path, struct err *err)
{
	const char *why = archive_error_string(a);

	return err_set(err, EBADMSG, "%s is damaged or cut off: %s", path,
		       why ? why : "it cannot be unpacked");
}

static int unpack_open(struct archive *a, const char *path, struct err *err)
{
	/* By name: "all" would start programs for some. */
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_raw(a);
	return archive_read_open_filename(a, path, UNPACK_BLOCK) == ARCHIVE_OK
		       ? 0
		       : unpack_damaged(a, path, err);
}

static bool unpack_is_disk(const char *name)
{
	static const char *const ends[] = { ".raw", ".img", ".qcow2", ".vmdk" };
	const char *dot = name ? strrchr(name, '.') : NULL;

	for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!strcasecmp(dot, ends[i]))
			return true;
	return false;
}

/* What is packed without an archive is one entry that has no name. */
static int unpack_find(struct archive *a, const char *path, struct err *err)
{
	struct archive_entry *e;
	int rc;

	while ((rc = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
		if (archive_format(a) == ARCHIVE_FORMAT_RAW)
			return 0;
		if (archive_entry_filetype(e) == AE_IFREG &&
		    unpack_is_disk(archive_entry_pathname(e)))
			return 0;
	}
	if (rc == ARCHIVE_EOF)
		return err_set(err, ENOENT,
			       "%s: no file in it is named as a disk image is "
			       "(.raw, .img, .qcow2, .vmdk)",
			       path);
	return unpack_damaged(a, path, err);
}

static bool unpack_is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* Zeroes stay holes. */
static int unpack_write(int fd, const uint8_t *p, size_t len, off_t at)
{
	while (len) {
		size_t piece = len < UNPACK_GRAIN ? len : UNPACK_GRAIN;

		if (!unpack_is_zero(p, piece)) {
			ssize_t n = pwrite(fd, p, piece, at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n ? -errno : -EIO;
			piece = (size_t)n;
		}
		p += piece;
		at += (off_t)piece;
		len -= piece;
	}
	return 0;
}

static int unpack_data(struct archive *a, int fd, uint64_t packed,
		       struct progress *progress)
{
	const void *p;
	la_int64_t at, end = 0;
	size_t len;
	int rc = 0, got;

	while (!rc && (got = archive_read_data_block(a, &p, &len, &at)) ==
			      ARCHIVE_OK) {
		if (at < 0 || at > UNPACK_MAX - (la_int64_t)len)
			return -EFBIG;
		rc = unpack_write(fd, p, len, at);
		end = at + (la_int64_t)len > end ? at + (la_int64_t)len : end;
		progress_bytes(progress, (uint64_t)archive_filter_bytes(a, -1),
			       packed);
	}
	if (!rc && got != ARCHIVE_EOF)
		return -EBADMSG;
	return rc ? rc : ftruncate(fd, end) ? -errno : 0;
}

static int unpack_to(struct archive *a, const char *path, const char *to,
		     struct progress *progress, struct err *err)
{
	struct stat st = { 0 };
	int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return err_set(err, errno, "cannot make %s: %s", to,
			       strerror(errno));
	stat(path, &st);
	rc = unpack_data(a, fd, (uint64_t)st.st_size, progress);
	close(fd);
	if (rc == -EBADMSG)
		return unpack_damaged(a, path, err);
	return rc ? err_set(err, -rc, "cannot unpack %s: %s", path,
			    strerror(-rc))
		  : 0;
}

int unpack_disk(const char *path, const char *to, struct progress *progress,
		struct err *err)
{
	struct archive *a = archive_read_new();
	int rc = a ? unpack_open(a, path, err)
		   : err_set(err, ENOMEM, "out of memory");

	if (!rc)
		rc = unpack_find(a, path, err);
	if (!rc)
		rc = unpack_to(a, path, to, progress, err);
	archive_read_free(a);
	return rc;
}
