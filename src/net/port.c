/*
 * port.c - a guest's end of a switch: one Unix socket, one packet a frame.
 *
 * The socket's own buffer is the queue towards the switch.  When it is full
 * one frame waits here and the guest's ring holds the others (room()): nothing
 * is lost on the way in, and a busy switch slows its senders.
 *
 * A switch that has died takes the cable with it; every second the port looks
 * for another, which its supervisor (vmm/switch.c) starts, or the next guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/backend.h"
#include "net/hub.h"

/*
 * #syscalls: socket connect sendmsg recvmsg recvfrom setsockopt
 * #syscalls: mkdir unlink flock
 */

#define PORT_BATCH    32
#define PORT_SOCKET   (4 << 20) /* what the kernel allows of it */
#define PORT_AGAIN_NS 1000000000ull

struct port {
	struct net_backend backend;
	int fd;
	int index;         /* in the link's poll set */
	bool gone;         /* the switch has ended */
	uint64_t again_ns; /* when another is looked for, if it has */
	char path[HUB_PATH_MAX];
	struct hub_hello hello;
	struct net_hdr hdr; /* of the frame that waits */
	size_t waiting;     /* its length; 0: none */
	uint8_t frame[NET_FRAME_MAX];
	uint8_t in[NET_FRAME_MAX];
};

/* --- Starting a switch ---------------------------------------------------- */

static int port_listen(const char *path, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	unlink(path); /* what a switch that crashed has left */
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&un, sizeof(un)) &&
	    !listen(fd, 64))
		return fd;
	err_set(err, errno, "cannot make the socket %s: %s", path,
		strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EIO;
}

/* hostel-switch lies beside hostel-vm, or where that lies, seen from hostel. */
static int port_program(char path[PATH_MAX])
{
	static const char *const names[] = {
		"/hostel-switch", "/../libexec/hostel/hostel-switch"
	};
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	for (size_t i = 0; slash && i < 2; i++) {
		if ((size_t)(path + PATH_MAX - slash) <= strlen(names[i]))
			return -ENAMETOOLONG;
		strcpy(slash, names[i]);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static int port_spawn(int listen_fd, char *path)
{
	char program[PATH_MAX];
	char *argv[] = { "hostel-switch", path, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	pid_t pid;
	int rc = port_program(program);

	if (rc < 0)
		return rc;
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	/* A session of its own: it outlives the guest that started it. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null",
						 O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&files, listen_fd, HUB_LISTEN_FD);
	rc = posix_spawn(&pid, program, &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -rc;
}

static int port_start_switch(char *path, struct err *err)
{
	int fd = port_listen(path, err), up, rc;

	if (fd < 0)
		return fd;
	/* dup2() onto itself would leave it close-on-exec. */
	up = fcntl(fd, F_DUPFD_CLOEXEC, HUB_LISTEN_FD + 1);
	close(fd);
	rc = up < 0 ? -errno : port_spawn(up, path);
	if (up >= 0)
		close(up);
	return rc ? err_set(err, -rc, "cannot start hostel-switch: %s",
			    strerror(-rc))
		  : 0;
}

/* --- Plugging in ---------------------------------------------------------- */

static int port_connect(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&un, sizeof(un)))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int port_greet(int fd, const struct hub_hello *hello, struct err *err)
{
	struct hub_answer answer = { 0 };
	struct timeval patience = { .tv_sec = 10 };
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, hello, sizeof(*hello), MSG_NOSIGNAL) < 0)
		return err_set(err, errno, "the switch has gone: %s",
			       strerror(errno));
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n != sizeof(answer))
		return err_set(err, EPIPE, "the switch does not answer");
	answer.why[sizeof(answer.why) - 1] = '\0';
	if (answer.error)
		return err_set(err, EINVAL, "%s", answer.why);
	return 0;
}

int hub_start(const char *name, struct err *err)
{
	char path[HUB_PATH_MAX];
	int lock, fd, rc = hub_path(path, name, err);

	if (rc < 0)
		return rc;
	lock = hub_lock(path, true, err);
	if (lock < 0)
		return lock;
	fd = port_connect(path);
	if (fd >= 0)
		close(fd);
	else
		rc = port_start_switch(path, err);
	close(lock);
	return rc;
}

/*
 * With the lock held, so that no switch ends and none is started twice.
 * start: there need not be one yet; not once the guest runs (vmm/sandbox.h).
 */
static int port_plug(char *path, const struct hub_hello *hello, bool start,
		     struct err *err)
{
	int fd = port_connect(path), rc;

	if (fd < 0 && start) {
		rc = port_start_switch(path, err);
		if (rc < 0)
			return rc;
		fd = port_connect(path);
	}
	if (fd < 0)
		return err_set(err, -fd, "cannot reach the switch: %s",
			       strerror(-fd));
	rc = port_greet(fd, hello, err);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

/* --- Frames --------------------------------------------------------------- */

/* False: the socket is full. */
static bool port_put(struct port *p, const struct net_hdr *hdr, uint8_t *frame,
		     size_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) }, { frame, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	return sendmsg(p->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	       (errno != EAGAIN && errno != ENOBUFS);
}

static bool port_room(struct net_backend *b)
{
	return !((struct port *)b)->waiting;
}

/* room() was asked before; segments of one frame may still be several. */
static void port_send(struct net_backend *b, const struct net_hdr *hdr,
		      uint8_t *frame, size_t len)
{
	struct port *p = (struct port *)b;

	if (p->gone || p->waiting || port_put(p, hdr, frame, len))
		return;
	p->hdr = *hdr;
	p->waiting = len;
	memcpy(p->frame, frame, len);
}

static void port_fill(struct net_backend *b, struct net_poll *poll)
{
	struct port *p = (struct port *)b;
	short events = net_wanted(b->link) ? POLLIN : 0;

	if (p->waiting)
		events |= POLLOUT;
	p->index = p->gone ? -1 : net_poll_add(poll, p->fd, events);
	if (p->gone)
		net_poll_until(poll, p->again_ns);
}

static void port_end(struct port *p)
{
	close(p->fd);
	p->fd = -1;
	p->gone = true;
	p->again_ns = clock_mono_ns() + PORT_AGAIN_NS;
	p->waiting = 0;
	net_set_link(p->backend.link, false);
}

static void port_read(struct port *p)
{
	struct net_hdr hdr;
	struct iovec iov[2] = { { &hdr, sizeof(hdr) },
				{ p->in, sizeof(p->in) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	for (unsigned i = 0; i < PORT_BATCH && net_wanted(p->backend.link);
	     i++) {
		ssize_t n = recvmsg(p->fd, &msg, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			port_end(p);
			return;
		}
		if ((size_t)n > sizeof(hdr) && !(msg.msg_flags & MSG_TRUNC))
			net_deliver(p->backend.link, &hdr, p->in,
				    (size_t)n - sizeof(hdr));
	}
}

/* again: others may be at it, too; their turn is over by the next try. */
static int port_plug_in(struct port *p, bool again, struct err *err)
{
	int lock = hub_lock(p->path, !again, err), size = PORT_SOCKET;

	if (lock < 0)
		return lock;
	p->fd = port_plug(p->path, &p->hello, !again, err);
	close(lock);
	if (p->fd < 0)
		return p->fd;
	setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static void port_again(struct port *p)
{
	struct err err;

	if (clock_mono_ns() < p->again_ns)
		return;
	p->again_ns = clock_mono_ns() + PORT_AGAIN_NS;
	if (port_plug_in(p, true, &err) < 0)
		return;
	p->gone = false;
	net_set_link(p->backend.link, true);
}

static void port_polled(struct net_backend *b, const struct net_poll *poll)
{
	struct port *p = (struct port *)b;
	short got = net_poll_got(poll, p->index);

	if (p->gone) {
		port_again(p);
		return;
	}
	if (p->waiting && port_put(p, &p->hdr, p->frame, p->waiting))
		p->waiting = 0;
	if (got & (POLLIN | POLLHUP | POLLERR))
		port_read(p);
}

static void port_free(struct net_backend *b)
{
	struct port *p = (struct port *)b;

	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

static const struct net_backend_ops port_ops = {
	.send = port_send,
	.room = port_room,
	.fill = port_fill,
	.polled = port_polled,
	.free = port_free,
};

static int port_open(struct port *p, const struct net_config *c,
		     struct err *err)
{
	int rc;

	p->hello = (struct hub_hello){
		.magic = HUB_MAGIC,
		.uplink = c->uplink != NULL,
		.loopback = c->loopback,
		.port = { .vlan = c->vlan,
			  .mirror = c->mirror,
			  .rate = c->rate,
			  .burst = c->burst },
	};
	rc = c->trunk ? switch_parse_trunk(&p->hello.port, c->trunk, err) : 0;
	if (rc == 0)
		rc = hub_path(p->path, c->name, err);
	return rc ? rc : port_plug_in(p, false, err);
}

int port_new(struct net_backend **out, const struct net_config *config,
	     struct err *err)
{
	struct port *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p->backend.ops = &port_ops;
	p->backend.can = NET_CAN_ALL;
	p->fd = -1;
	rc = port_open(p, config, err);
	if (rc < 0)
		port_free(&p->backend);
	else
		*out = &p->backend;
	return rc;
}
