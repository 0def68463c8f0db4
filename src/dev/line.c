/*
 * line.c - bytes from and to the world outside.
 *
 * Theory of operation
 *
 *	in_fd --loop--> in buffer --> line_get()
 *	line_put() --> out buffer --loop--> out_fd
 *
 * The loop is called (loop_call) when the first byte is put into an empty out
 * buffer and when the in buffer has run empty; `*_scheduled` say that a call
 * is on its way, so that there is never more than one.  A descriptor is in the
 * loop's set only while there is something to do with it: in_fd while the in
 * buffer is empty, out_fd while it would block.  (Left in the set, one that
 * was hung up would keep the loop spinning.)  A regular file, which epoll
 * cannot watch, is always ready.
 */
#include "dev/line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_IN    4096u /* bytes; powers of two */
#define LINE_OUT   65536u
#define LINE_LOW   4096u /* less room than this is none */
#define LINE_PIECE 4096u /* written in one go */
#define LINE_TURN  16    /* pieces, then the loop's other work */

struct line {
	struct loop *loop;
	const struct line_ops *ops;
	void *opaque;
	int in_fd, out_fd;       /* out_fd: a duplicate, our own */
	int in_flags, out_flags; /* file status flags to restore; -1: none */
	/* Loop's thread only: */
	bool in_watched;  /* in_fd is in the loop */
	bool in_regular;  /* epoll cannot watch it */
	bool out_watched; /* out_fd is in the loop */

	pthread_mutex_t lock; /* guards all below */
	uint8_t in[LINE_IN];
	uint32_t in_head, in_count;
	uint8_t out[LINE_OUT];
	uint32_t out_head, out_count;
	bool in_scheduled;
	bool in_eof;
	bool out_scheduled; /* or out_fd is watched */
	bool out_dead;      /* the reader is gone */
};

/* --- Receiving ------------------------------------------------------------ */

static void line_input_ready(void *opaque, int fd, uint32_t events);
static void line_input_call(void *opaque);

static void line_want_input(struct line *l)
{
	if (l->in_fd >= 0 && !l->in_eof && !l->in_scheduled)
		l->in_scheduled = !loop_call(l->loop, line_input_call, l);
}

bool line_get(struct line *l, uint8_t *byte)
{
	pthread_mutex_lock(&l->lock);
	bool got = l->in_count > 0;
	if (got) {
		*byte = l->in[l->in_head];
		l->in_head = (l->in_head + 1) % LINE_IN;
		if (--l->in_count == 0)
			line_want_input(l);
	}
	pthread_mutex_unlock(&l->lock);
	return got;
}

size_t line_inject(struct line *l, const uint8_t *buf, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&l->lock);
	while (n < len && l->in_count < LINE_IN)
		l->in[(l->in_head + l->in_count++) % LINE_IN] = buf[n++];
	pthread_mutex_unlock(&l->lock);
	return n;
}

/* Loop: reads what there is, as far as there is room. */
static void line_read_fd(struct line *l)
{
	uint8_t buf[LINE_IN];

	pthread_mutex_lock(&l->lock);
	size_t room = l->in_eof ? 0 : LINE_IN - l->in_count;
	pthread_mutex_unlock(&l->lock);
	if (room == 0)
		return;
	ssize_t n = read(l->in_fd, buf, room);
	if (n > 0) {
		line_inject(l, buf, (size_t)n);
		l->ops->input(l->opaque);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		pthread_mutex_lock(&l->lock);
		l->in_eof = true;
		pthread_mutex_unlock(&l->lock);
	}
}

static void line_watch_input(struct line *l)
{
	pthread_mutex_lock(&l->lock);
	bool want = l->in_count == 0 && !l->in_eof && !l->in_regular;
	pthread_mutex_unlock(&l->lock);
	if (want && !l->in_watched) {
		int rc = loop_add_fd(l->loop, l->in_fd, EPOLLIN,
				     line_input_ready, l);
		l->in_watched = rc == 0;
		l->in_regular = rc == -EPERM;
		if (l->in_regular)
			line_read_fd(l);
	} else if (!want && l->in_watched) {
		loop_del_fd(l->loop, l->in_fd);
		l->in_watched = false;
	}
}

static void line_input_ready(void *opaque, int fd, uint32_t events)
{
	struct line *l = opaque;

	line_read_fd(l);
	line_watch_input(l);
}

/* Loop: the in buffer has become empty. */
static void line_input_call(void *opaque)
{
	struct line *l = opaque;

	pthread_mutex_lock(&l->lock);
	l->in_scheduled = false;
	pthread_mutex_unlock(&l->lock);
	if (l->in_regular)
		line_read_fd(l);
	line_watch_input(l);
}

/* --- Sending -------------------------------------------------------------- */

static void line_output_ready(void *opaque, int fd, uint32_t events);
static void line_drain(void *opaque);

void line_put(struct line *l, uint8_t byte)
{
	pthread_mutex_lock(&l->lock);
	if (l->out_fd >= 0 && !l->out_dead && l->out_count < LINE_OUT) {
		l->out[(l->out_head + l->out_count++) % LINE_OUT] = byte;
		if (!l->out_scheduled)
			l->out_scheduled = !loop_call(l->loop, line_drain, l);
	}
	pthread_mutex_unlock(&l->lock);
}

static bool line_room_locked(const struct line *l)
{
	return LINE_OUT - l->out_count >= LINE_LOW;
}

bool line_has_room(struct line *l)
{
	pthread_mutex_lock(&l->lock);
	bool room = line_room_locked(l);
	pthread_mutex_unlock(&l->lock);
	return room;
}

/* -EAGAIN: would block; other errors: nobody reads any more. */
static ssize_t line_write_fd(int fd, const uint8_t *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, buf, len);
	if (n < 0 && (errno == EINTR || errno == EWOULDBLOCK))
		return -EAGAIN;
	return n < 0 ? -errno : n;
}

/* Copies what comes next in the out buffer. */
static size_t line_peek_out(struct line *l, uint8_t buf[LINE_PIECE])
{
	size_t n;

	pthread_mutex_lock(&l->lock);
	n = l->out_count < LINE_PIECE ? l->out_count : LINE_PIECE;
	for (size_t i = 0; i < n; i++)
		buf[i] = l->out[(l->out_head + i) % LINE_OUT];
	pthread_mutex_unlock(&l->lock);
	return n;
}

/*
 * Writes one piece.  1: there is more; 0: all is written; -EAGAIN.  Only the
 * loop's thread takes bytes out, so what was peeked is still there.
 */
static int line_drain_some(struct line *l)
{
	uint8_t buf[LINE_PIECE];
	size_t n = line_peek_out(l, buf);
	ssize_t done = n ? line_write_fd(l->out_fd, buf, n) : 0;

	if (done == -EAGAIN)
		return -EAGAIN;
	pthread_mutex_lock(&l->lock);
	bool had_room = line_room_locked(l);
	if (done < 0) {
		l->out_dead = true;
		done = l->out_count;
	}
	l->out_head = (l->out_head + (uint32_t)done) % LINE_OUT;
	l->out_count -= (uint32_t)done;
	bool has_room = line_room_locked(l), more = l->out_count > 0;
	if (!more)
		l->out_scheduled = false;
	pthread_mutex_unlock(&l->lock);
	if (has_room && !had_room)
		l->ops->room(l->opaque);
	return more;
}

/* Waits for out_fd, or stops; false: epoll cannot watch it. */
static bool line_watch_output(struct line *l, bool watch)
{
	if (watch && !l->out_watched)
		l->out_watched = !loop_add_fd(l->loop, l->out_fd, EPOLLOUT,
					      line_output_ready, l);
	else if (!watch && l->out_watched) {
		loop_del_fd(l->loop, l->out_fd);
		l->out_watched = false;
	}
	return l->out_watched == watch;
}

/* Loop: empties the out buffer, or waits for the descriptor. */
static void line_drain(void *opaque)
{
	struct line *l = opaque;
	int rc = 1;

	for (int i = 0; rc == 1 && i < LINE_TURN; i++)
		rc = line_drain_some(l);
	if (!line_watch_output(l, rc == -EAGAIN) || rc == 1)
		loop_call(l->loop, line_drain, l);
}

static void line_output_ready(void *opaque, int fd, uint32_t events)
{
	line_drain(opaque);
}

void line_flush(struct line *l, unsigned timeout_ms)
{
	uint64_t end = clock_mono_ns() + timeout_ms * 1000000ull;
	int rc;

	while (l->out_fd >= 0 && (rc = line_drain_some(l)) != 0) {
		struct pollfd p = { .fd = l->out_fd, .events = POLLOUT };
		uint64_t now = clock_mono_ns();

		if (now >= end)
			break;
		if (rc == -EAGAIN)
			poll(&p, 1, (int)((end - now) / 1000000) + 1);
	}
}

/* --- State ---------------------------------------------------------------- */

void line_walk(struct line *l, struct walk *w)
{
	pthread_mutex_lock(&l->lock);
	walk_bytes(w, "in", l->in, sizeof(l->in));
	walk_u32(w, "in_head", &l->in_head);
	walk_u32(w, "in_count", &l->in_count);
	walk_bytes(w, "out", l->out, sizeof(l->out));
	walk_u32(w, "out_head", &l->out_head);
	walk_u32(w, "out_count", &l->out_count);
	pthread_mutex_unlock(&l->lock);
}

void line_restored(struct line *l, struct walk *w)
{
	pthread_mutex_lock(&l->lock);
	if (l->in_head >= LINE_IN || l->in_count > LINE_IN ||
	    l->out_head >= LINE_OUT || l->out_count > LINE_OUT) {
		l->in_head = l->in_count = l->out_head = l->out_count = 0;
		walk_fail(w, "line: a buffer index is out of range");
	}
	if (l->out_fd < 0)
		l->out_count = 0;
	if (l->out_count && !l->out_scheduled)
		l->out_scheduled = !loop_call(l->loop, line_drain, l);
	line_want_input(l);
	pthread_mutex_unlock(&l->lock);
}

/* --- Life ----------------------------------------------------------------- */

/* Old status flags if they were changed, else -1. */
static int line_set_nonblocking(int fd)
{
	struct stat st;
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_NONBLOCK) || fstat(fd, &st) < 0 ||
	    S_ISREG(st.st_mode))
		return -1;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : flags;
}

int line_new(struct line **out, struct loop *loop, int in_fd, int out_fd,
	     const struct line_ops *ops, void *opaque)
{
	struct line *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->ops = ops;
	l->opaque = opaque;
	pthread_mutex_init(&l->lock, NULL);
	l->in_fd = in_fd;
	/* epoll takes a descriptor once; in and out may be the same socket. */
	l->out_fd = fcntl(out_fd, F_DUPFD_CLOEXEC, 0);
	l->in_flags = line_set_nonblocking(l->in_fd);
	l->out_flags = line_set_nonblocking(l->out_fd);
	line_want_input(l);
	*out = l;
	return 0;
}

void line_free(struct line *l)
{
	if (!l)
		return;
	if (l->in_watched)
		loop_del_fd(l->loop, l->in_fd);
	if (l->out_watched)
		loop_del_fd(l->loop, l->out_fd);
	if (l->in_flags >= 0)
		fcntl(l->in_fd, F_SETFL, l->in_flags);
	if (l->out_flags >= 0)
		fcntl(l->out_fd, F_SETFL, l->out_flags);
	if (l->out_fd >= 0)
		close(l->out_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
