/*
 * posix_direct.c - O_DIRECT: transfers that do not fit the device's blocks go
 * through a buffer.
 */
#include "block/posix_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/iov.h"

#define DIRECT_ALIGN  4096u /* where the host does not tell */
#define DIRECT_BUFFER (1u << 20)

/* --- The gate ------------------------------------------------------------- */

bool direct_share(struct posix *p, bool wait)
{
	bool in;

	pthread_mutex_lock(&p->lock);
	while (p->alone && wait)
		pthread_cond_wait(&p->changed, &p->lock);
	in = !p->alone;
	p->sharing += in;
	pthread_mutex_unlock(&p->lock);
	return in;
}

void direct_unshare(struct posix *p)
{
	pthread_mutex_lock(&p->lock);
	if (--p->sharing == 0)
		pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static void direct_enter_alone(struct posix *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->alone)
		pthread_cond_wait(&p->changed, &p->lock);
	p->alone = true; /* nobody new comes in */
	while (p->sharing)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static void direct_leave_alone(struct posix *p)
{
	pthread_mutex_lock(&p->lock);
	p->alone = false;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* --- What fits ------------------------------------------------------------ */

static bool direct_good(unsigned align)
{
	return align && !(align & (align - 1)) && align <= DIRECT_BUFFER / 2;
}

int direct_setup(struct posix *p, const char *path, struct err *err)
{
	unsigned sector;

	p->align = p->mem_align = DIRECT_ALIGN;
	if (p->device && !ioctl(p->fd, BLKSSZGET, &sector) &&
	    direct_good(sector))
		p->align = sector;
#ifdef STATX_DIOALIGN
	struct statx st;

	if (statx(p->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) ||
	    !(st.stx_mask & STATX_DIOALIGN))
		return 0;
	if (!direct_good(st.stx_dio_offset_align) ||
	    !direct_good(st.stx_dio_mem_align))
		return err_set(err, EINVAL,
			       "%s: its file system has no direct I/O; use "
			       "cache=writeback",
			       path);
	p->align = st.stx_dio_offset_align;
	p->mem_align = st.stx_dio_mem_align;
#endif
	return 0;
}

bool direct_fits(const struct posix *p, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length)
{
	if ((offset | length) & (p->align - 1))
		return false;
	for (int i = 0; i < iovcnt; i++)
		if (((uintptr_t)iov[i].iov_base & (p->mem_align - 1)) ||
		    (iov[i].iov_len & (p->align - 1)))
			return false;
	return true;
}

/* --- Through a buffer ----------------------------------------------------- */

static void *direct_buffer(const struct posix *p)
{
	unsigned align = p->mem_align > 4096 ? p->mem_align : 4096;

	return aligned_alloc(align, DIRECT_BUFFER);
}

/* The blocks that hold [offset, offset+length), as far as one buffer goes. */
struct direct_part {
	uint64_t start;
	unsigned skip, length; /* in it, of what was asked for */
	unsigned blocks;       /* bytes */
};

static struct direct_part direct_part(const struct posix *p, uint64_t offset,
				      uint64_t length)
{
	struct direct_part d = { .start = offset & ~(uint64_t)(p->align - 1) };
	uint64_t room;

	d.skip = (unsigned)(offset - d.start);
	room = DIRECT_BUFFER - d.skip;
	d.length = (unsigned)(length < room ? length : room);
	d.blocks = (d.skip + d.length + p->align - 1) & ~(p->align - 1);
	return d;
}

int direct_read(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length)
{
	struct posix *p = b->opaque;
	uint64_t done = 0;
	char *buf = direct_buffer(p);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && done < length) {
		struct direct_part d =
			direct_part(p, offset + done, length - done);
		struct iovec whole = { buf, d.blocks };

		rc = posix_read_all(b, &whole, 1, d.start, d.blocks, 0);
		if (rc == 0)
			iov_from_buf(iov, iovcnt, done, buf + d.skip, d.length);
		done += d.length;
	}
	free(buf);
	return rc;
}

/* The old contents of blocks that are replaced only in part. */
static int direct_fill(struct block *b, const struct direct_part *d, char *buf)
{
	struct posix *p = b->opaque;
	unsigned last = d->blocks - p->align;
	struct iovec head = { buf, p->align };
	struct iovec tail = { buf + last, p->align };
	int rc = 0;

	if (d->skip)
		rc = posix_read_all(b, &head, 1, d->start, p->align, 0);
	if (rc == 0 && d->skip + d->length < d->blocks && (last || !d->skip))
		rc = posix_read_all(b, &tail, 1, d->start + last, p->align, 0);
	return rc;
}

static int direct_replace(struct block *b, const struct direct_part *d,
			  char *buf, uint64_t size, unsigned flags)
{
	struct posix *p = b->opaque;
	struct iovec whole = { buf, d->blocks };
	uint64_t end = d->start + d->skip + d->length;
	int rc = posix_write_all(b, &whole, 1, d->start, d->blocks, flags);

	if (end < size)
		end = size;
	/* The block's end was past the file's: that is not ours to move. */
	if (rc == 0 && d->start + d->blocks > end && !p->device) {
		if (ftruncate(p->fd, (off_t)end))
			return -errno;
		atomic_store(&b->size, end);
	}
	return rc;
}

int direct_write(struct block *b, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length, unsigned flags)
{
	struct posix *p = b->opaque;
	uint64_t done = 0;
	char *buf = direct_buffer(p);
	int rc = buf ? 0 : -ENOMEM;

	direct_enter_alone(p);
	while (rc == 0 && done < length) {
		struct direct_part d =
			direct_part(p, offset + done, length - done);
		uint64_t size = atomic_load(&b->size);

		rc = direct_fill(b, &d, buf);
		if (rc == 0) {
			iov_to_buf(iov, iovcnt, done, buf + d.skip, d.length);
			rc = direct_replace(b, &d, buf, size, flags);
		}
		done += d.length;
	}
	direct_leave_alone(p);
	free(buf);
	return rc;
}
