#include "image/source.h"

#include <errno.h>
#include <unistd.h>

int source_read(const struct source *s, void *buf, uint64_t offset, size_t len)
{
	if (offset > s->size || len > s->size - offset)
		return -EINVAL;
	return s->read(s->opaque, buf, offset, len);
}

static int source_fd_read(void *opaque, void *buf, uint64_t offset, size_t len)
{
	const int *fd = opaque;
	char *at = buf;

	while (len) {
		ssize_t n = pread(*fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

struct source source_of_fd(const int *fd, uint64_t size)
{
	return (struct source){ source_fd_read, (void *)fd, size };
}
