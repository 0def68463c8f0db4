/*
 * posix.c - files and block devices of the host.
 *
 * Cache modes: with writeback a write is done when the host's page cache has
 * it, with none (O_DIRECT, posix_direct.c) when the device has; flush is
 * fdatasync in both.  writethrough is a flag of the whole stack (block.c) and
 * comes here as BLOCK_FUA; unsafe makes flush nothing.
 *
 * Once fdatasync has failed every later flush fails too: the kernel tells of
 * a lost page once, and a success afterwards would be a lie.
 */
#include "block/posix_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "block/iov.h"

/*
 * #syscalls: pread64 pwrite64 preadv pwritev preadv2 pwritev2
 * #syscalls: fsync fdatasync fallocate ftruncate statfs fstatfs
 * #syscalls: flock copy_file_range sync_file_range
 */

#define POSIX_PARTS    64
#define POSIX_ZEROES   (64u << 10)
#define POSIX_TRY_MAX  (256u << 10)
#define POSIX_SLOW_NS  1000000ull
#define POSIX_WATCH    32 /* writes that are looked at after a slow one */
#define POSIX_WAITS    4  /* of them: too many */
#define POSIX_AVOID_NS 100000000ull

static const char posix_zeroes[POSIX_ZEROES]
	__attribute__((aligned(POSIX_ZEROES)));

/* --- Transfers ------------------------------------------------------------ */

/* What the kernel says when it will not promise not to block. */
static bool posix_would_block(atomic_bool *never, int error)
{
	if (error == EOPNOTSUPP)
		atomic_store(never, true);
	return error == EAGAIN || error == EOPNOTSUPP;
}

static int posix_slice(struct iovec *part, const struct iovec *iov, int iovcnt,
		       uint64_t done, uint64_t length)
{
	size_t got;

	return iov_slice(part, POSIX_PARTS, iov, iovcnt, done, length - done,
			 &got);
}

int posix_read_all(struct block *b, const struct iovec *iov, int iovcnt,
		   uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;
	struct iovec part[POSIX_PARTS];
	uint64_t done = 0;

	while (done < length) {
		int n = posix_slice(part, iov, iovcnt, done, length);
		ssize_t got = preadv2(p->fd, part, n, (off_t)(offset + done),
				      flags & BLOCK_NOWAIT ? RWF_NOWAIT : 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && flags & BLOCK_NOWAIT &&
		    posix_would_block(&p->no_nowait_read, errno))
			return -EAGAIN;
		if (got < 0)
			return -errno;
		done += (uint64_t)got;
		/* The end; O_DIRECT shows it by half a block. */
		if (got == 0 || (p->direct && done & (p->align - 1)))
			break;
	}
	iov_zero(iov, iovcnt, done, length - done); /* past the end */
	return 0;
}

void posix_grown(struct block *b, uint64_t end)
{
	uint64_t size = atomic_load(&b->size);

	while (size < end &&
	       !atomic_compare_exchange_weak(&b->size, &size, end))
		;
}

int posix_write_all(struct block *b, const struct iovec *iov, int iovcnt,
		    uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;
	struct iovec part[POSIX_PARTS];
	int how = (flags & BLOCK_NOWAIT ? RWF_NOWAIT : 0) |
		  (flags & BLOCK_FUA && !p->unsafe ? RWF_DSYNC : 0);
	uint64_t done = 0;

	while (done < length) {
		int n = posix_slice(part, iov, iovcnt, done, length);
		ssize_t put =
			pwritev2(p->fd, part, n, (off_t)(offset + done), how);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && flags & BLOCK_NOWAIT &&
		    posix_would_block(&p->no_nowait_write, errno))
			return -EAGAIN;
		if (put <= 0)
			return put ? -errno : -ENOSPC;
		done += (uint64_t)put;
		posix_grown(b, offset + done);
	}
	return 0;
}

static int posix_read(struct block *b, const struct iovec *iov, int iovcnt,
		      uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;

	/* O_DIRECT waits for the device whatever the flag says. */
	if (flags & BLOCK_NOWAIT && (p->direct || p->no_nowait_read))
		return -EAGAIN;
	if (p->direct && !direct_fits(p, iov, iovcnt, offset, length))
		return direct_read(b, iov, iovcnt, offset, length);
	return posix_read_all(b, iov, iovcnt, offset, length, flags);
}

/*
 * A write to the page cache is a copy, which takes less time than handing it
 * to another thread: unless the host has too many dirty pages and makes its
 * writers wait.  ext4 refuses RWF_NOWAIT and cannot be asked, so: after a slow
 * write the next ones are watched, and if several of them gave the processor
 * up of their own accord none is tried for a while.  Slowness alone says
 * nothing: on a busy host the thread may just have lost its processor.
 */
static long posix_waits(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_THREAD, &usage) ? 0 : usage.ru_nvcsw;
}

static void posix_watch(struct posix *p, int waited)
{
	atomic_store(&p->waited, waited);
	atomic_store(&p->watch, POSIX_WATCH);
}

static void posix_watched(struct posix *p, bool waited)
{
	atomic_fetch_sub(&p->watch, 1);
	if (!waited || atomic_fetch_add(&p->waited, 1) + 1 < POSIX_WAITS)
		return;
	atomic_store(&p->slow_until, clock_mono_ns() + POSIX_AVOID_NS);
	posix_watch(p, POSIX_WAITS - 1); /* one more is enough then */
}

static int posix_watch_write(struct block *b, const struct iovec *iov,
			     int iovcnt, uint64_t offset, uint64_t length)
{
	struct posix *p = b->opaque;
	bool watch = atomic_load(&p->watch) > 0;
	uint64_t start = clock_mono_ns();
	long waits = watch ? posix_waits() : 0;
	int rc;

	if (start < atomic_load(&p->slow_until))
		return -EAGAIN;
	rc = posix_write_all(b, iov, iovcnt, offset, length, 0);
	if (watch)
		posix_watched(p, posix_waits() != waits);
	else if (clock_mono_ns() - start > POSIX_SLOW_NS)
		posix_watch(p, 0);
	return rc;
}

static int posix_try_write(struct block *b, const struct iovec *iov, int iovcnt,
			   uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;
	int rc;

	if (p->direct || flags & BLOCK_FUA || length > POSIX_TRY_MAX)
		return -EAGAIN;
	if (!atomic_load(&p->no_nowait_write)) {
		rc = posix_write_all(b, iov, iovcnt, offset, length, flags);
		if (rc != -EAGAIN || !atomic_load(&p->no_nowait_write))
			return rc;
	}
	if (p->device)
		return -EAGAIN;
	return posix_watch_write(b, iov, iovcnt, offset, length);
}

static int posix_write(struct block *b, const struct iovec *iov, int iovcnt,
		       uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;
	int rc;

	if (flags & BLOCK_NOWAIT)
		return posix_try_write(b, iov, iovcnt, offset, length, flags);
	if (!p->direct)
		return posix_write_all(b, iov, iovcnt, offset, length, flags);
	if (!direct_fits(p, iov, iovcnt, offset, length))
		return direct_write(b, iov, iovcnt, offset, length, flags);
	direct_share(p, true);
	rc = posix_write_all(b, iov, iovcnt, offset, length, flags);
	direct_unshare(p);
	return rc;
}

/* --- Space ---------------------------------------------------------------- */

static int posix_fallocate_mode(struct block *b, int mode, uint64_t offset,
				uint64_t length)
{
	struct posix *p = b->opaque;
	int rc;

	do {
		rc = fallocate(p->fd, mode, (off_t)offset, (off_t)length);
	} while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

/* A device or file system that has no such call, or not for this range. */
static bool posix_cannot(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL ||
	       rc == -ENODEV || rc == -EPERM;
}

static int posix_write_zeroes(struct block *b, uint64_t offset, uint64_t length)
{
	int rc = 0;

	while (rc == 0 && length) {
		size_t n = length < POSIX_ZEROES ? length : POSIX_ZEROES;
		struct iovec iov = { (void *)posix_zeroes, n };

		rc = posix_write(b, &iov, 1, offset, n, 0);
		offset += n;
		length -= n;
	}
	return rc;
}

/* Nothing but holes there: zero already, and thin may it stay. */
static bool posix_is_hole(struct block *b, uint64_t offset, uint64_t length)
{
	struct posix *p = b->opaque;
	off_t data;

	if (p->device || offset + length > atomic_load(&b->size))
		return false;
	data = lseek(p->fd, (off_t)offset, SEEK_DATA);
	return data < 0 ? errno == ENXIO : (uint64_t)data >= offset + length;
}

/*
 * By writing the last byte: ftruncate would cut off what another thread has
 * just written behind it.
 */
static int posix_grow_to(struct block *b, uint64_t end)
{
	struct iovec iov = { (void *)posix_zeroes, 1 };

	if (end <= atomic_load(&b->size))
		return 0;
	return posix_write(b, &iov, 1, end - 1, 1, 0);
}

static int posix_zero(struct block *b, uint64_t offset, uint64_t length,
		      unsigned flags)
{
	struct posix *p = b->opaque;
	bool unmap = flags & BLOCK_UNMAP && p->discard;
	int rc;

	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	if (posix_is_hole(b, offset, length))
		return 0;
	rc = posix_fallocate_mode(
		b,
		unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
		      : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		offset, length);
	if (posix_cannot(rc))
		rc = posix_write_zeroes(b, offset, length);
	return rc ? rc : posix_grow_to(b, offset + length);
}

static int posix_discard(struct block *b, uint64_t offset, uint64_t length)
{
	struct posix *p = b->opaque;
	int rc;

	if (!p->discard)
		return 0;
	rc = posix_fallocate_mode(b, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  offset, length);
	return posix_cannot(rc) ? 0 : rc;
}

static int posix_allocate(struct block *b, uint64_t offset, uint64_t length)
{
	struct posix *p = b->opaque;
	int rc;

	direct_share(p, true); /* the file may grow */
	rc = posix_fallocate_mode(b, 0, offset, length);
	if (rc == 0)
		posix_grown(b, offset + length);
	direct_unshare(p);
	return posix_cannot(rc) ? -EOPNOTSUPP : rc;
}

static int posix_resize(struct block *b, uint64_t size, struct err *err)
{
	struct posix *p = b->opaque;

	if (p->device && size <= atomic_load(&b->size))
		return 0;
	if (p->device)
		return err_set(err, ENOSPC, "%s: the device ends there",
			       b->path);
	if (ftruncate(p->fd, (off_t)size))
		return err_set(err, errno, "%s: cannot resize: %s", b->path,
			       strerror(errno));
	atomic_store(&b->size, size);
	return 0;
}

/* --- The rest of the operations ------------------------------------------- */

static int posix_flush(struct block *b)
{
	struct posix *p = b->opaque;
	int error = atomic_load(&p->sync_error);

	if (p->unsafe)
		return 0;
	if (!error && fdatasync(p->fd)) {
		error = errno;
		atomic_store(&p->sync_error, error);
	}
	return -error;
}

/* *length: how far the kind (data or hole) at offset goes. */
static bool posix_find_hole(struct posix *p, uint64_t offset, uint64_t *length)
{
	off_t data = lseek(p->fd, (off_t)offset, SEEK_DATA);
	bool hole = data < 0 ? errno == ENXIO : (uint64_t)data > offset;
	off_t end = hole ? data : lseek(p->fd, (off_t)offset, SEEK_HOLE);

	if (end >= 0 && (uint64_t)end > offset &&
	    (uint64_t)end - offset < *length)
		*length = (uint64_t)end - offset;
	return hole;
}

static int posix_map(struct block *b, uint64_t offset, uint64_t length,
		     bool for_write, unsigned flags, struct block_extent *out)
{
	struct posix *p = b->opaque;
	uint64_t size = atomic_load(&b->size);

	if (offset >= size) {
		out->type = BLOCK_EXTENT_HOLE;
		return 0;
	}
	if (out->length > size - offset)
		out->length = size - offset;
	/* Looking for holes costs more than reading one. */
	if (!for_write && !(flags & BLOCK_NOWAIT) && !p->device &&
	    posix_find_hole(p, offset, &out->length)) {
		out->type = BLOCK_EXTENT_ZERO;
		return 0;
	}
	if (p->direct && !direct_share(p, !(flags & BLOCK_NOWAIT)))
		return -EAGAIN;
	out->fd = p->fd;
	out->fd_offset = offset;
	return 0;
}

static void posix_map_done(struct block *b, const struct block_extent *e)
{
	struct posix *p = b->opaque;

	if (p->direct)
		direct_unshare(p);
}

static int posix_info(struct block *b, struct block_info *out)
{
	struct posix *p = b->opaque;
	struct stat st;

	if (fstat(p->fd, &st))
		return -errno;
	out->allocated = p->device ? out->size : (uint64_t)st.st_blocks * 512;
	return 0;
}

static void posix_close(struct block *b)
{
	struct posix *p = b->opaque;

	close(p->fd);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct block_ops posix_ops = {
	.name = "posix",
	.fua = true,
	.read = posix_read,
	.write = posix_write,
	.zero = posix_zero,
	.discard = posix_discard,
	.flush = posix_flush,
	.map = posix_map,
	.map_done = posix_map_done,
	.resize = posix_resize,
	.info = posix_info,
	.allocate = posix_allocate,
	.close = posix_close,
};

int posix_fd(const struct block *b)
{
	const struct posix *p = b->opaque;

	return p->fd;
}

/* --- Opening -------------------------------------------------------------- */

static int posix_new(struct block **out, const char *path, int fd)
{
	struct block *b = calloc(1, sizeof(*b));
	struct posix *p = calloc(1, sizeof(*p));
	char *name = strdup(path);

	if (!b || !p || !name) {
		free(b);
		free(p);
		free(name);
		close(fd);
		return -ENOMEM;
	}
	p->fd = fd;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	b->ops = &posix_ops;
	b->opaque = p;
	b->path = name;
	b->grows = true;
	*out = b;
	return 0;
}

static int posix_measure(struct block *b, struct err *err)
{
	struct posix *p = b->opaque;
	uint64_t size;
	struct stat st;

	if (fstat(p->fd, &st))
		return err_set(err, errno, "%s: %s", b->path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, EINVAL,
			       "%s is neither a file nor a block device",
			       b->path);
	size = (uint64_t)st.st_size;
	p->device = S_ISBLK(st.st_mode);
	if (p->device && ioctl(p->fd, BLKGETSIZE64, &size))
		return err_set(err, errno, "%s: cannot tell its size: %s",
			       b->path, strerror(errno));
	atomic_store(&b->size, size);
	b->grows = !p->device;
	return 0;
}

static int posix_cannot_open(const struct block_open *how, int error,
			     struct err *err)
{
	if (error == EINVAL && how->cache == BLOCK_CACHE_NONE)
		return err_set(err, error,
			       "%s: its file system has no direct I/O; use "
			       "cache=writeback",
			       how->path);
	if ((error == EACCES || error == EROFS) && !how->readonly)
		return err_set(err, error,
			       "cannot open %s for writing: %s; it can still "
			       "be used read-only if it may be read",
			       how->path, strerror(error));
	return err_set(err, error, "cannot open %s: %s", how->path,
		       strerror(error));
}

int posix_open(struct block **out, const struct block_open *how,
	       struct err *err)
{
	int flags = (how->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
		    O_NONBLOCK | O_NOCTTY;
	struct posix *p;
	int fd, rc;

	if (how->cache == BLOCK_CACHE_NONE)
		flags |= O_DIRECT;
	fd = open(how->path, flags);
	if (fd < 0)
		return posix_cannot_open(how, errno, err);
	rc = posix_new(out, how->path, fd);
	if (rc < 0)
		return err_set(err, -rc, "out of memory");
	/* It was for pipes; io_uring would take it for RWF_NOWAIT. */
	fcntl(fd, F_SETFL, flags & O_DIRECT);
	p = (*out)->opaque;
	p->direct = how->cache == BLOCK_CACHE_NONE;
	p->unsafe = how->cache == BLOCK_CACHE_UNSAFE;
	p->discard = how->discard;
	(*out)->readonly = how->readonly;
	rc = posix_measure(*out, err);
	if (rc == 0 && p->direct)
		rc = direct_setup(p, how->path, err);
	if (rc < 0) {
		block_close(*out);
		*out = NULL;
	}
	return rc;
}

int posix_adopt(struct block **out, int fd, const char *path, struct err *err)
{
	int rc = posix_new(out, path, fd);

	if (rc < 0)
		return err_set(err, -rc, "out of memory");
	return posix_measure(*out, err);
}
