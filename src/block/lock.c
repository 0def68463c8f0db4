/* lock.c - see lock.h. */
#include "block/lock.h"

#include <errno.h>
#include <fcntl.h>

#define LOCK_DOES    100
#define LOCK_FORBIDS 200

enum lock_right { LOCK_TO_READ = 0, LOCK_TO_WRITE = 1, LOCK_TO_RESIZE = 3 };

#define LOCK_BIT(right) (1u << (right))
#define LOCK_RIGHTS     4
#define LOCK_NOT_ALONE  (LOCK_BIT(LOCK_TO_WRITE) | LOCK_BIT(LOCK_TO_RESIZE))

static int lock_set(int fd, unsigned base, unsigned rights)
{
	for (unsigned i = 0; i < LOCK_RIGHTS; i++) {
		struct flock lock = { .l_type = F_RDLCK,
				      .l_whence = SEEK_SET,
				      .l_start = base + i,
				      .l_len = 1 };

		if (rights & LOCK_BIT(i) && fcntl(fd, F_OFD_SETLK, &lock))
			return -errno;
	}
	return 0;
}

/* Does another description hold a lock on one of these bytes? */
static bool lock_held(int fd, unsigned base, unsigned rights)
{
	for (unsigned i = 0; i < LOCK_RIGHTS; i++) {
		struct flock lock = { .l_type = F_WRLCK,
				      .l_whence = SEEK_SET,
				      .l_start = base + i,
				      .l_len = 1 };

		if (rights & LOCK_BIT(i) && !fcntl(fd, F_OFD_GETLK, &lock) &&
		    lock.l_type != F_UNLCK)
			return true;
	}
	return false;
}

static int lock_busy(const char *path, bool write, struct err *err)
{
	return err_set(err, EBUSY,
		       write ? "%s is in use by another guest or program; "
			       "stop that, or open the image read-only if "
			       "the other one does too"
			     : "%s is being written by another guest or "
			       "program; stop that first",
		       path);
}

int lock_image(int fd, bool write, const char *path, struct err *err)
{
	unsigned does = LOCK_BIT(LOCK_TO_READ) | (write ? LOCK_NOT_ALONE : 0);
	int rc = lock_set(fd, LOCK_DOES, does);

	if (rc == 0)
		rc = lock_set(fd, LOCK_FORBIDS, LOCK_NOT_ALONE);
	if (rc == -EAGAIN || rc == -EACCES)
		return lock_busy(path, write, err);
	if (rc < 0)
		return 0; /* no locks there */
	if (lock_held(fd, LOCK_FORBIDS, does) ||
	    lock_held(fd, LOCK_DOES, LOCK_NOT_ALONE))
		return lock_busy(path, write, err);
	return 0;
}
