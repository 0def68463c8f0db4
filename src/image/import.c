/*
 * import.c - see import.h.
 *
 *	packed? ──> dir/unpacked ──> vmdk? ──> dir/converted ──┐
 *	     └──────────────────────────┴──> dir/copied ───────┴─> probed
 */
#include "image/import.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/copy.h"
#include "image/home.h"
#include "image/unpack.h"

#define IMPORT_CHUNK (8u << 20)
#define IMPORT_HEAD  512

/* qcow2's header, big-endian (QEMU's docs/interop/qcow2.txt). */
enum {
	IMPORT_QCOW2_VERSION = 4,
	IMPORT_QCOW2_BACKING = 8,
	IMPORT_QCOW2_SIZE = 24,
	IMPORT_QCOW2_CRYPT = 32,
	IMPORT_QCOW2_INCOMPAT = 72,
};

#define IMPORT_QCOW2_EXTERNAL 0x4 /* its data lies in another file */

static uint64_t import_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static int import_qcow2(const uint8_t *head, const char *path,
			struct image *image, struct err *err)
{
	if (import_be64(head + IMPORT_QCOW2_BACKING))
		return err_set(err, EINVAL,
			       "%s is an overlay of another image; merge them "
			       "first (hostel disk convert)",
			       path);
	if (head[IMPORT_QCOW2_VERSION + 3] >= 3 &&
	    (import_be64(head + IMPORT_QCOW2_INCOMPAT) & IMPORT_QCOW2_EXTERNAL))
		return err_set(err, EINVAL,
			       "%s has its data in another file; merge them "
			       "first (hostel disk convert)",
			       path);
	if (memcmp(head + IMPORT_QCOW2_CRYPT, "\0\0\0", 4))
		return err_set(err, ENOTSUP, "%s is encrypted", path);
	image->disk_size = import_be64(head + IMPORT_QCOW2_SIZE);
	strcpy(image->format, "qcow2");
	return 0;
}

static int import_raw(const uint8_t *head, const char *path,
		      struct image *image, struct err *err)
{
	if (head[510] != 0x55 || head[511] != 0xaa)
		return err_set(err, EINVAL,
			       "%s is neither qcow2 nor vmdk, nor a raw disk "
			       "with a boot sector",
			       path);
	if (image->file_size % IMPORT_HEAD)
		return err_set(err, EINVAL,
			       "%s is cut off: no whole number of sectors",
			       path);
	image->disk_size = image->file_size;
	strcpy(image->format, "raw");
	return 0;
}

int import_probe(const char *path, struct image *image, struct err *err)
{
	uint8_t head[IMPORT_HEAD];
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path,
			       strerror(errno));
	n = fstat(fd, &st) || !S_ISREG(st.st_mode)
		    ? -1
		    : pread(fd, head, sizeof(head), 0);
	close(fd);
	if (n != sizeof(head))
		return err_set(err, EINVAL, "%s is no disk image", path);
	image->file_size = (uint64_t)st.st_size;
	if (!memcmp(head, "QFI\xfb", 4))
		return import_qcow2(head, path, image, err);
	return import_raw(head, path, image, err);
}

/* --- Copying -------------------------------------------------------------- */

/* Some kernels refuse it between file systems, others everywhere. */
static ssize_t import_copy_piece(int in, off_t *from, int out, off_t *at,
				 size_t len)
{
	ssize_t n = copy_file_range(in, from, out, at, len, 0);
	char *buf;

	if (n >= 0 || (errno != EXDEV && errno != ENOSYS &&
		       errno != EOPNOTSUPP && errno != EINVAL))
		return n;
	buf = malloc(len);
	if (!buf)
		return -1;
	n = pread(in, buf, len, *from);
	if (n > 0)
		n = pwrite(out, buf, (size_t)n, *at);
	free(buf);
	if (n > 0) {
		*from += n;
		*at += n;
	}
	return n;
}

static int import_copy_run(int in, int out, off_t from, off_t to,
			   uint64_t *done, uint64_t total,
			   struct progress *progress)
{
	off_t at = from;

	while (from < to) {
		size_t len = to - from < (off_t)IMPORT_CHUNK
				     ? (size_t)(to - from)
				     : IMPORT_CHUNK;
		ssize_t n = import_copy_piece(in, &from, out, &at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		*done += (uint64_t)n;
		progress_bytes(progress, *done, total);
	}
	return 0;
}

static int import_copy_data(int in, int out, const struct stat *st,
			    struct progress *progress)
{
	uint64_t done = 0;
	off_t data = 0, hole;
	int rc = 0;

	if (!ioctl(out, FICLONE, in))
		return 0;
	if (ftruncate(out, st->st_size))
		return -errno;
	while (!rc && data < st->st_size) {
		data = lseek(in, data, SEEK_DATA);
		if (data < 0) /* ENXIO: only a hole is left */
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		rc = import_copy_run(in, out, data, hole, &done,
				     (uint64_t)st->st_blocks * 512, progress);
		data = hole;
	}
	return rc;
}

int import_copy(const char *from, const char *to, struct progress *progress,
		struct err *err)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out =
		in < 0 ? -1
		       : open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;
	int rc;

	if (in < 0 || out < 0 || fstat(in, &st))
		rc = -errno;
	else
		rc = import_copy_data(in, out, &st, progress);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	if (rc)
		return err_set(err, -rc, "cannot copy %s to %s: %s", from, to,
			       strerror(-rc));
	return 0;
}

/* --- All of it ------------------------------------------------------------ */

/*
 * VMDK 1.1: a sparse extent with its descriptor inside, or a descriptor that
 * names files, which are opened in its own directory only (block/vmdk.c).
 */
static bool import_is_vmdk(const char *path)
{
	char head[21] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	bool is = n == sizeof(head) &&
		  (!memcmp(head, "KDMV", 4) ||
		   !memcmp(head, "# Disk DescriptorFile", sizeof(head)));

	if (fd >= 0)
		close(fd);
	return is;
}

static int import_progress(void *opaque, uint64_t done, uint64_t total)
{
	progress_bytes(opaque, done, total);
	return 0;
}

/*
 * no_backing: a parent's name is never followed; a child is refused.  One
 * worker: the same disk always becomes the same file, with one checksum.
 */
static int import_convert(const char *from, const char *to,
			  struct progress *progress, struct err *err)
{
	struct block_open source = { .path = from,
				     .format = "vmdk",
				     .readonly = true,
				     .no_backing = true };
	struct block_open target = { .path = to, .format = "qcow2" };
	struct block_create how = { .path = to, .format = "qcow2" };
	struct block_copy copy = { .workers = 1,
				   .progress = import_progress,
				   .opaque = progress };
	struct block_info info = { 0 };
	struct block *a, *b = NULL;
	int rc = block_open(&a, &source, err);

	if (rc)
		return rc;
	if (!block_get_info(a, &info) && info.backing)
		rc = err_set(err, EINVAL,
			     "%s is an overlay of another image; merge them "
			     "first (hostel disk convert)",
			     from);
	how.size = a->size;
	if (!rc)
		rc = block_create(&how, err);
	if (!rc)
		rc = block_open(&b, &target, err);
	if (!rc)
		rc = copy_disk(a, b, &copy, err);
	free(info.backing);
	free(info.backing_format);
	block_close(b);
	block_close(a);
	return rc;
}

/* One step: *path becomes what it made; what was ours before goes. */
static int import_step(const char *dir, const char *name, const char *says,
		       int (*fn)(const char *from, const char *to,
				 struct progress *progress, struct err *err),
		       char path[PATH_MAX], bool *own,
		       struct progress *progress, struct err *err)
{
	char to[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int rc = home_path(to, err, "%s/%s", dir, name);

	if (rc)
		return rc;
	progress_step(progress, "%s %.80s", says, slash ? slash + 1 : path);
	rc = fn(path, to, progress, err);
	if (!rc && *own)
		unlink(path);
	*own = true;
	return rc ? rc : home_path(path, err, "%s", to);
}

int import_take(const char *path, bool own, const char *dir, char out[PATH_MAX],
		struct image *image, struct progress *progress, struct err *err)
{
	int rc = home_path(out, err, "%s", path);

	if (!rc && unpack_is_packed(out))
		rc = import_step(dir, "unpacked", "Unpacking", unpack_disk, out,
				 &own, progress, err);
	if (!rc && import_is_vmdk(out))
		rc = import_step(dir, "converted", "Converting", import_convert,
				 out, &own, progress, err);
	/* Before hours of copying, and again: of what is kept. */
	if (!rc)
		rc = import_probe(out, image, err);
	if (!rc && !own) {
		rc = import_step(dir, "copied", "Copying", import_copy, out,
				 &own, progress, err);
		if (!rc)
			rc = import_probe(out, image, err);
	}
	return rc;
}
