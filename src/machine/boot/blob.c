/*
 * blob.c - a file that holds a guest's first program, mapped read-only.
 *
 * Mapped, not read: guests of one host that boot the same kernel share its
 * pages, and a reset loads the guest again without opening anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/boot/boot.h"

/* O_NONBLOCK: a FIFO must be refused below, not waited for. */
static int blob_check(int fd, const char *path, const char *what,
		      struct stat *st, struct err *err)
{
	if (fstat(fd, st) < 0)
		return err_set(err, errno, "%s %s: %s", what, path,
			       strerror(errno));
	if (S_ISDIR(st->st_mode))
		return err_set(err, EISDIR,
			       "%s %s is a directory; name a file in it", what,
			       path);
	if (!S_ISREG(st->st_mode))
		return err_set(err, EINVAL, "%s %s is not a regular file", what,
			       path);
	if (st->st_size == 0)
		return err_set(err, EINVAL, "%s %s is empty", what, path);
	return 0;
}

int boot_blob_open(struct boot_blob *b, const char *path, const char *what,
		   struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	void *map;
	int ret;

	*b = (struct boot_blob){ .name = path };
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ENOENT, "%s %s does not exist", what, path);
	if (fd < 0)
		return err_set(err, errno, "cannot open %s %s: %s", what, path,
			       strerror(errno));
	ret = blob_check(fd, path, what, &st, err);
	if (ret < 0)
		goto out;
	map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) {
		ret = err_set(err, errno, "cannot map %s %s: %s", what, path,
			      strerror(errno));
		goto out;
	}
	b->data = map;
	b->size = st.st_size;
out:
	close(fd);
	return ret;
}

void boot_blob_idle(const struct boot_blob *b)
{
	if (b->data)
		madvise((void *)b->data, b->size, MADV_DONTNEED);
}

void boot_blob_close(struct boot_blob *b)
{
	if (b->data)
		munmap((void *)b->data, b->size);
	*b = (struct boot_blob){ 0 };
}
