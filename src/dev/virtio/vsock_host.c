/*
 * vsock_host.c - the host's end of vsock connections: Unix sockets.
 *
 * Theory of operation
 *
 * No socket ever blocks.  All are watched by one epoll of the device's own,
 * edge-triggered: `readable` and `writable` say what was heard and not yet
 * used up, so that a connection which has to wait, for credit or for the
 * guest's buffers, costs no system call meanwhile.
 *
 * Bytes from the guest go straight out while the program takes them; what it
 * does not take waits in a ring of VSOCK_BUF bytes, which the guest's credit
 * keeps from overflowing.  fwd_cnt counts what has left us.  A program that
 * does not read any more swallows bytes; the guest is told (SHUTDOWN).
 *
 * End of file from a program that still reads is a half-close; hung up, it is
 * both directions.
 *
 * The listener's file.  Who makes one holds a lock on its directory, so that
 * of two guests which find a stale socket only one replaces it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/vsock_impl.h"

#define VSOCK_BACKLOG     128
#define VSOCK_HELLO_MAX   32 /* bytes of "CONNECT <port>\n" */
#define VSOCK_SUFFIX      11 /* the longest "_<port>" */
#define VSOCK_DESCRIPTORS 2048

/* --- The listener --------------------------------------------------------- */

static int vsock_address(struct sockaddr_un *addr, const char *path,
			 struct err *err)
{
	size_t max = sizeof(addr->sun_path) - 1 - VSOCK_SUFFIX;

	if (!*path)
		return err_set(err, EINVAL, "the socket's path is empty");
	if (strlen(path) > max)
		return err_set(err, ENAMETOOLONG,
			       "%s: the path of a socket has at most %zu bytes",
			       path, max);
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(addr->sun_path, path);
	return 0;
}

static int vsock_connect(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* Removes what a guest that crashed has left, and nothing else. */
static int vsock_clear_path(const struct sockaddr_un *addr, struct err *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return errno == ENOENT ? 0
				       : err_set(err, errno, "%s: %s", path,
						 strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, EEXIST,
			       "%s is there already and is not a socket; "
			       "choose another path",
			       path);
	fd = vsock_connect(addr);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return err_set(err, EADDRINUSE,
			       "%s is in use by another program; choose "
			       "another path",
			       path);
	if (unlink(path))
		return err_set(err, errno,
			       "cannot remove %s, which nobody "
			       "uses: %s",
			       path, strerror(errno));
	return 0;
}

/* The directory, locked; closing it unlocks. */
static int vsock_lock_dir(const char *path, struct err *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "cannot make %s: %s", path,
			       strerror(errno));
	flock(fd, LOCK_EX);
	return fd;
}

static int vsock_bind(struct vsock *v, struct err *err)
{
	const struct sockaddr *addr = (const struct sockaddr *)&v->addr;
	const char *path = v->addr.sun_path;
	struct stat st;
	int rc = vsock_clear_path(&v->addr, err);

	if (rc)
		return rc;
	if (bind(v->listener, addr, sizeof(v->addr)) ||
	    listen(v->listener, VSOCK_BACKLOG) || lstat(path, &st))
		return err_set(err, errno, "cannot make %s: %s", path,
			       strerror(errno));
	v->file_dev = st.st_dev;
	v->file_ino = st.st_ino;
	return 0;
}

int vsock_host_watch(struct vsock *v, int fd, unsigned slot, uint32_t serial)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = (uint64_t)serial << 32 | slot,
	};

	return epoll_ctl(v->epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* Each connection is one; 1024 is what most systems start with. */
static void vsock_want_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) ||
	    limit.rlim_cur >= VSOCK_DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < VSOCK_DESCRIPTORS ? limit.rlim_max
							    : VSOCK_DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int vsock_host_listen(struct vsock *v, const char *path, struct err *err)
{
	int rc = vsock_address(&v->addr, path, err), dir;

	if (rc)
		return rc;
	v->listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (v->listener < 0)
		return err_set(err, errno, "cannot make a socket: %s",
			       strerror(errno));
	vsock_want_descriptors();
	dir = vsock_lock_dir(path, err);
	if (dir < 0)
		return dir;
	rc = vsock_bind(v, err);
	close(dir);
	return rc;
}

/* The file goes only if it is the one that we made. */
void vsock_host_exit(struct vsock *v)
{
	const char *path = v->addr.sun_path;
	struct stat st;

	if (v->file_ino && !lstat(path, &st) && st.st_dev == v->file_dev &&
	    st.st_ino == v->file_ino)
		unlink(path);
	if (v->listener >= 0)
		close(v->listener);
}

/* --- Who comes ------------------------------------------------------------ */

/* Edge-triggered: all that wait are taken, but as far as there is room. */
void vsock_host_accept(struct vsock *v)
{
	struct vsock_conn *c;
	int fd;

	while (v->acceptable && v->reply_count < VSOCK_REPLIES_SOFT &&
	       vsock_make_room(v)) {
		fd = accept4(v->listener, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
			v->acceptable = false;
		if (fd < 0)
			continue;
		c = vsock_open(v, fd, VSOCK_HELLO);
		if (!c)
			continue;
		if (vsock_host_watch(v, fd, c->slot, c->serial))
			vsock_close(v, c);
	}
}

/* "CONNECT <port>\n": its length; 0: it is not complete; -EPROTO: nonsense. */
static int vsock_parse_hello(const char *line, size_t n, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	const char *end = memchr(line, '\n', n);
	size_t at = sizeof(word) - 1;
	uint64_t value = 0;

	if (!end)
		return n < VSOCK_HELLO_MAX ? 0 : -EPROTO;
	n = (size_t)(end - line);
	if (n <= at || n > at + 10 || memcmp(line, word, at))
		return -EPROTO;
	for (; at < n; at++) {
		if (line[at] < '0' || line[at] > '9')
			return -EPROTO;
		value = value * 10 + (uint64_t)(line[at] - '0');
	}
	*port = (uint32_t)value;
	return value < VSOCK_PORT_ANY ? (int)n + 1 : -EPROTO;
}

/* Connections are far fewer than ports. */
static uint32_t vsock_free_port(struct vsock *v, uint32_t guest_port)
{
	do {
		if (v->next_port < VSOCK_PORT_FIRST ||
		    v->next_port >= VSOCK_PORT_LAST)
			v->next_port = VSOCK_PORT_FIRST;
		else
			v->next_port++;
	} while (vsock_find(v, guest_port, v->next_port));
	return v->next_port;
}

/* The first line is looked at, then taken alone: what follows is data. */
static void vsock_hello(struct vsock *v, struct vsock_conn *c)
{
	char line[VSOCK_HELLO_MAX];
	ssize_t n = recv(c->fd, line, sizeof(line), MSG_PEEK);
	uint32_t port = 0;
	int len;

	if (n < 0 && errno == EAGAIN)
		return;
	len = n > 0 ? vsock_parse_hello(line, (size_t)n, &port) : -EPROTO;
	if (len == 0)
		return;
	if (len < 0 || recv(c->fd, line, (size_t)len, 0) != len) {
		vsock_close(v, c);
		return;
	}
	vsock_name(v, c, port, vsock_free_port(v, port));
	c->state = VSOCK_REQUESTED;
	c->pending |= 1u << VSOCK_REQUEST;
	vsock_set_ready(v, c);
}

bool vsock_host_greet(struct vsock_conn *c)
{
	char line[VSOCK_HELLO_MAX];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	/* Nothing was sent before: there is room. */
	return send(c->fd, line, (size_t)n, MSG_NOSIGNAL) == n;
}

/* --- Whom the guest calls ------------------------------------------------- */

int vsock_host_connect(struct vsock *v, struct vsock_conn *c)
{
	struct sockaddr_un addr = v->addr;
	size_t len = strlen(addr.sun_path);
	int rc;

	snprintf(addr.sun_path + len, sizeof(addr.sun_path) - len, "_%u",
		 c->host_port);
	c->fd = vsock_connect(&addr);
	if (c->fd < 0) {
		rc = c->fd;
		c->fd = -1;
		return rc;
	}
	rc = vsock_host_watch(v, c->fd, c->slot, c->serial);
	if (rc)
		return rc;
	c->readable = c->writable = true;
	c->state = VSOCK_CONNECTED;
	c->pending |= 1u << VSOCK_RESPONSE;
	return 0;
}

/* --- Bytes ---------------------------------------------------------------- */

/* The program reads no more: bytes for it count as read. */
static void vsock_deaf(struct vsock_conn *c)
{
	c->fwd_cnt += c->buf_len;
	c->buf_len = 0;
	if (c->host_shut & VSOCK_SHUT_RECEIVE)
		return;
	c->host_shut |= VSOCK_SHUT_RECEIVE;
	c->pending |= 1u << VSOCK_SHUTDOWN;
}

/* What the socket takes of them now. */
static uint32_t vsock_send(struct vsock_conn *c, const uint8_t *p, uint32_t n)
{
	ssize_t sent;

	if (!c->writable || c->host_shut & VSOCK_SHUT_RECEIVE)
		return 0;
	do
		sent = send(c->fd, p, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN)
		vsock_deaf(c);
	if (sent < (ssize_t)n)
		c->writable = false; /* heard again when there is room */
	if (sent <= 0)
		return 0;
	c->fwd_cnt += (uint32_t)sent;
	return (uint32_t)sent;
}

void vsock_host_flush(struct vsock_conn *c)
{
	uint32_t run, sent;

	while (c->buf_len && c->writable) {
		run = VSOCK_BUF - c->buf_at;
		if (run > c->buf_len)
			run = c->buf_len;
		sent = vsock_send(c, c->buf + c->buf_at, run);
		if (!c->buf_len) /* it is deaf */
			break;
		c->buf_at = (c->buf_at + sent) % VSOCK_BUF;
		c->buf_len -= sent;
	}
	if (!c->buf_len && c->guest_shut & VSOCK_SHUT_SEND && !c->shut_write) {
		shutdown(c->fd, SHUT_WR);
		c->shut_write = true;
	}
}

static bool vsock_keep(struct vsock_conn *c, const uint8_t *p, uint32_t n)
{
	uint32_t at = (c->buf_at + c->buf_len) % VSOCK_BUF;
	uint32_t run = VSOCK_BUF - at < n ? VSOCK_BUF - at : n;

	if (!c->buf)
		c->buf = malloc(VSOCK_BUF);
	if (!c->buf)
		return false;
	memcpy(c->buf + at, p, run);
	memcpy(c->buf, p + run, n - run);
	c->buf_len += n;
	return true;
}

bool vsock_host_write(struct vsock_conn *c, const uint8_t *p, uint32_t n)
{
	uint32_t sent = c->buf_len ? 0 : vsock_send(c, p, n);

	c->rx_cnt += n;
	if (c->host_shut & VSOCK_SHUT_RECEIVE) {
		c->fwd_cnt += n - sent;
		return true;
	}
	return sent == n || vsock_keep(c, p + sent, n - sent);
}

/* Does the program only not write any more, or is it gone? */
static void vsock_end_of_file(struct vsock_conn *c)
{
	struct pollfd p = { .fd = c->fd };

	c->readable = false;
	c->host_shut |= VSOCK_SHUT_SEND;
	c->pending |= 1u << VSOCK_SHUTDOWN;
	if (poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))
		vsock_deaf(c);
}

uint32_t vsock_host_read(struct vsock_conn *c, void *to, uint32_t max)
{
	ssize_t n;

	do
		n = recv(c->fd, to, max, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (uint32_t)n;
	if (n < 0 && errno == EAGAIN)
		c->readable = false;
	else
		vsock_end_of_file(c);
	return 0;
}

/*
 * A program that hung up may have left bytes to be read: the guest hears of
 * it when those are through.
 */
void vsock_host_event(struct vsock *v, struct vsock_conn *c, uint32_t events)
{
	bool hung = events & (EPOLLHUP | EPOLLERR);

	c->readable |= hung || events & (EPOLLIN | EPOLLRDHUP);
	c->writable |= hung || events & EPOLLOUT;
	if (c->state == VSOCK_HELLO) {
		vsock_hello(v, c);
		return;
	}
	if (c->state == VSOCK_REQUESTED && hung) {
		vsock_reset_conn(v, c);
		return;
	}
	vsock_host_flush(c);
	if (hung && c->guest_shut & VSOCK_SHUT_RECEIVE)
		c->host_shut |= VSOCK_SHUT_SEND; /* nobody reads to the end */
	if (hung && c->host_shut & VSOCK_SHUT_SEND)
		vsock_deaf(c);
	if (c->state == VSOCK_LINGERING && !c->buf_len)
		vsock_close(v, c);
	else
		vsock_set_ready(v, c);
}
