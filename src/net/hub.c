/*
 * hub.c - the process of a switch: sockets around switch.c.
 *
 * Theory of operation
 *
 * One thread polls the listening socket and every port.  A port that has not
 * said hello yet is not of the switch.  What a port sends is read in batches,
 * so that none keeps the others waiting; what is to leave by a port goes out
 * at once if the socket takes it, else into the port's bounded queue, whose
 * tail is dropped.
 *
 * NAT, if asked for, is a port that is no socket but a link (net.h) with a
 * thread of its own: it calls the switch as frames come (hub_uplink_receive),
 * and takes from the uplink's queue what goes there.  `lock` keeps the two
 * threads apart: it is held while frames are handled, not while polling.
 *
 * All that ports say is untrusted: a hello is checked once, frames pass the
 * switch's parser here and the receiver's own checks there.
 */
#include "net/hub.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define HUB_BATCH       32
#define HUB_QUEUE_BYTES (4u << 20)
#define HUB_FIRST_MS    10000 /* for the guest that started it to come */
#define HUB_NS_PER_MS   1000000u

struct hub_frame {
	struct hub_frame *next;
	struct net_hdr hdr;
	size_t len;
	uint8_t data[];
};

struct hub_port {
	int fd;   /* -1: free, or the uplink's */
	int port; /* the switch's; -1: no hello yet */
	int poll; /* its index in this turn's set; -1: not in it */
	bool gone;
	bool full; /* its socket, when last tried */
	struct hub_frame *queue, **tail;
	size_t queued;
};

struct hub {
	struct switch_core *core;
	const char *path;
	int listen_fd;
	int event; /* eventfd: the uplink's thread has queued something */
	pthread_mutex_t lock; /* guards what follows, but for polling */
	struct net_link *uplink;
	int uplink_slot;
	struct hub_port slot[SWITCH_PORTS_MAX];
	int slot_of[SWITCH_PORTS_MAX]; /* by the switch's number */
	uint64_t now;
	bool queued; /* by this call of the switch */
	struct pollfd poll[SWITCH_PORTS_MAX + 2];
	unsigned polls;
	uint64_t wake;
	uint8_t frame[NET_FRAME_MAX];
};

/* --- Out ------------------------------------------------------------------ */

static void hub_pop(struct hub_port *p)
{
	struct hub_frame *f = p->queue;

	p->queue = f->next;
	if (!p->queue)
		p->tail = &p->queue;
	p->queued -= f->len;
	free(f);
}

static void hub_push(struct hub_port *p, const struct net_hdr *hdr,
		     const uint8_t *frame, size_t len)
{
	struct hub_frame *f;

	if (p->queued + len > HUB_QUEUE_BYTES)
		return;
	f = malloc(sizeof(*f) + len);
	if (!f)
		return;
	*f = (struct hub_frame){ .hdr = *hdr, .len = len };
	memcpy(f->data, frame, len);
	*p->tail = f;
	p->tail = &f->next;
	p->queued += len;
}

/* False: not now; the frame stays its owner's. */
static bool hub_put(struct hub *h, struct hub_port *p,
		    const struct net_hdr *hdr, const uint8_t *frame, size_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) },
				{ (void *)frame, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	uint64_t when;

	if (!switch_may_go(h->core, (unsigned)p->port, h->now, len, &when)) {
		if (when < h->wake)
			h->wake = when;
		return false;
	}
	if (sendmsg(p->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	p->full = errno == EAGAIN || errno == ENOBUFS;
	p->gone |= !p->full && errno != EMSGSIZE;
	return !p->full;
}

/* switch_emit */
static void hub_emit(void *opaque, unsigned port, const struct net_hdr *hdr,
		     uint8_t *frame, size_t len)
{
	struct hub *h = opaque;
	struct hub_port *p = &h->slot[h->slot_of[port]];

	if (p->fd < 0) {
		hub_push(p, hdr, frame, len);
		net_kick(h->uplink);
	} else if (p->queue || !hub_put(h, p, hdr, frame, len)) {
		hub_push(p, hdr, frame, len);
		h->queued = true;
	}
}

static void hub_flush(struct hub *h, struct hub_port *p)
{
	p->full = false;
	while (p->queue && !p->gone &&
	       hub_put(h, p, &p->queue->hdr, p->queue->data, p->queue->len))
		hub_pop(p);
}

/* --- The uplink ----------------------------------------------------------- */

static int hub_uplink_receive(void *opaque, const struct net_hdr *hdr,
			      const uint8_t *frame, size_t len)
{
	struct hub *h = opaque;
	bool queued;

	pthread_mutex_lock(&h->lock);
	h->now = clock_mono_ns();
	h->queued = false;
	switch_frame(h->core, (unsigned)h->slot[h->uplink_slot].port, h->now,
		     hdr, (uint8_t *)frame, len);
	queued = h->queued;
	pthread_mutex_unlock(&h->lock);
	/* The other thread is to wait for that port's socket, too. */
	if (queued)
		eventfd_write(h->event, 1);
	return 0;
}

static void hub_uplink_transmit(void *opaque)
{
	struct hub *h = opaque;
	struct hub_port *p = &h->slot[h->uplink_slot];
	struct hub_frame *f;

	for (;;) {
		pthread_mutex_lock(&h->lock);
		f = p->queue;
		if (f) {
			p->queue = f->next;
			p->tail = p->queue ? p->tail : &p->queue;
			p->queued -= f->len;
		}
		pthread_mutex_unlock(&h->lock);
		if (!f)
			return;
		net_send(h->uplink, &f->hdr, f->data, f->len);
		free(f);
	}
}

static const struct net_nic_ops hub_uplink_ops = {
	.receive = hub_uplink_receive,
	.transmit = hub_uplink_transmit,
};

static int hub_free_slot(const struct hub *h)
{
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		if (h->slot[i].fd < 0 && h->slot[i].port < 0)
			return i;
	return -1;
}

/* NAT joins the network without a number. */
static int hub_add_uplink(struct hub *h, bool loopback, struct err *err)
{
	struct net_config nat = { .kind = "nat", .loopback = loopback };
	struct switch_port_config port = { 0 };
	int slot = hub_free_slot(h), rc;

	if (h->uplink)
		return 0;
	if (slot < 0)
		return err_set(err, ENOSPC, "the switch has no port left");
	rc = net_open(&h->uplink, &nat, err);
	if (rc < 0)
		return rc;
	rc = switch_add_port(h->core, &port);
	if (rc >= 0) {
		h->slot[slot].port = rc;
		h->slot_of[rc] = slot;
		h->uplink_slot = slot;
		net_set_can(h->uplink, NET_CAN_ALL);
		rc = net_attach(h->uplink, &hub_uplink_ops, h, err);
	}
	return rc;
}

/* --- Ports come and go ---------------------------------------------------- */

static void hub_drop(struct hub *h, struct hub_port *p)
{
	if (p->port >= 0)
		switch_remove_port(h->core, (unsigned)p->port);
	while (p->queue)
		hub_pop(p);
	close(p->fd);
	*p = (struct hub_port){ .fd = -1, .port = -1, .tail = &p->queue };
}

static int hub_welcome(struct hub *h, struct hub_port *p,
		       const struct hub_hello *hello, struct err *err)
{
	int rc = 0;

	if (hello->magic != HUB_MAGIC)
		return err_set(err, EPROTO,
			       "this switch is of another version of Hostel; "
			       "end its guests first");
	if (hello->uplink)
		rc = hub_add_uplink(h, hello->loopback, err);
	if (rc < 0)
		return rc;
	rc = switch_add_port(h->core, &hello->port);
	if (rc < 0)
		return err_set(err, -rc, "the switch cannot have this port");
	p->port = rc;
	h->slot_of[rc] = (int)(p - h->slot);
	return 0;
}

static void hub_hello(struct hub *h, struct hub_port *p)
{
	struct hub_answer answer = { 0 };
	struct hub_hello hello;
	struct err err = { "" };
	ssize_t n = recv(p->fd, &hello, sizeof(hello), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(hello)) {
		p->gone = true;
		return;
	}
	answer.error = hub_welcome(h, p, &hello, &err);
	memcpy(answer.why, err.msg, sizeof(answer.why));
	p->gone = send(p->fd, &answer, sizeof(answer),
		       MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ||
		  answer.error;
}

static void hub_accept(struct hub *h)
{
	int fd =
		accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int slot = hub_free_slot(h), size = 4 << 20;

	if (fd < 0)
		return;
	if (slot < 0) {
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	h->slot[slot].fd = fd;
	h->slot[slot].poll = -1;
}

/* --- In ------------------------------------------------------------------- */

static void hub_read(struct hub *h, struct hub_port *p)
{
	struct net_hdr hdr;
	struct iovec iov[2] = { { &hdr, sizeof(hdr) },
				{ h->frame, sizeof(h->frame) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	uint64_t when;

	for (int i = 0; i < HUB_BATCH; i++) {
		ssize_t n;

		if (!switch_ready(h->core, (unsigned)p->port, h->now, &when))
			return;
		n = recvmsg(p->fd, &msg, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			p->gone = true;
			return;
		}
		if ((size_t)n > sizeof(hdr) && !(msg.msg_flags & MSG_TRUNC))
			switch_frame(h->core, (unsigned)p->port, h->now, &hdr,
				     h->frame, (size_t)n - sizeof(hdr));
	}
}

static void hub_serve(struct hub *h, struct hub_port *p)
{
	short got = p->poll < 0 ? 0 : h->poll[p->poll].revents;

	if (p->fd < 0)
		return;
	if (got & (POLLIN | POLLHUP | POLLERR) && p->port < 0)
		hub_hello(h, p);
	else if (got & (POLLIN | POLLHUP | POLLERR))
		hub_read(h, p);
	if (p->queue)
		hub_flush(h, p);
}

/* --- The loop ------------------------------------------------------------- */

static void hub_fill_port(struct hub *h, struct hub_port *p)
{
	uint64_t when;
	short events = POLLIN;

	p->poll = -1;
	if (p->fd < 0)
		return;
	if (p->port >= 0 &&
	    !switch_ready(h->core, (unsigned)p->port, h->now, &when)) {
		events = 0;
		if (when < h->wake)
			h->wake = when;
	}
	if (p->full)
		events |= POLLOUT;
	p->poll = (int)h->polls;
	h->poll[h->polls++] = (struct pollfd){ .fd = p->fd, .events = events };
}

static void hub_fill(struct hub *h)
{
	h->polls = 0;
	h->poll[h->polls++] =
		(struct pollfd){ .fd = h->listen_fd, .events = POLLIN };
	h->poll[h->polls++] =
		(struct pollfd){ .fd = h->event, .events = POLLIN };
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		hub_fill_port(h, &h->slot[i]);
}

static unsigned hub_ports(const struct hub *h)
{
	unsigned n = 0;

	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		n += h->slot[i].fd >= 0;
	return n;
}

static void hub_wait(struct hub *h)
{
	uint64_t now = clock_mono_ns(), ns = 0;
	struct timespec ts;

	if (h->wake > now)
		ns = h->wake - now;
	ts.tv_sec = (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	if (ppoll(h->poll, h->polls, h->wake == UINT64_MAX ? NULL : &ts, NULL) <
	    0)
		for (unsigned i = 0; i < h->polls; i++)
			h->poll[i].revents = 0;
}

static void hub_turn(struct hub *h)
{
	eventfd_t rung;

	pthread_mutex_lock(&h->lock);
	h->now = clock_mono_ns();
	hub_fill(h);
	pthread_mutex_unlock(&h->lock);
	hub_wait(h);
	pthread_mutex_lock(&h->lock);
	h->now = clock_mono_ns();
	h->wake = UINT64_MAX;
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		hub_serve(h, &h->slot[i]);
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		if (h->slot[i].gone)
			hub_drop(h, &h->slot[i]);
	if (h->poll[0].revents)
		hub_accept(h);
	if (h->poll[1].revents)
		eventfd_read(h->event, &rung);
	pthread_mutex_unlock(&h->lock);
}

/*
 * Nobody is left: whoever comes from now on holds the lock until it has been
 * let in, so with the lock in hand and nobody waiting at the door it is over.
 */
static bool hub_may_end(struct hub *h)
{
	struct pollfd door = { .fd = h->listen_fd, .events = POLLIN };
	int lock = hub_lock(h->path, false, NULL);

	if (lock < 0) {
		poll(&door, 1, 10);
		return false;
	}
	if (poll(&door, 1, 0) > 0) {
		close(lock);
		return false;
	}
	hub_remove(h->path);
	close(lock);
	return true;
}

static void hub_free(struct hub *h)
{
	net_close(h->uplink);
	for (int i = 0; i < SWITCH_PORTS_MAX; i++) {
		while (h->slot[i].queue)
			hub_pop(&h->slot[i]);
		if (h->slot[i].fd >= 0)
			hub_drop(h, &h->slot[i]);
	}
	close(h->event);
	if (h->core)
		switch_free(h->core);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static void hub_serve_all(struct hub *h)
{
	uint64_t patience =
		clock_mono_ns() + (uint64_t)HUB_FIRST_MS * HUB_NS_PER_MS;
	bool came = false;

	do {
		if (!came && patience < h->wake)
			h->wake = patience;
		hub_turn(h);
		came |= hub_ports(h) || clock_mono_ns() >= patience;
	} while (!came || hub_ports(h) || !hub_may_end(h));
}

int hub_run(int listen_fd, const char *path, struct err *err)
{
	struct hub *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(err, ENOMEM, "out of memory");
	h->path = path;
	h->listen_fd = listen_fd;
	h->wake = UINT64_MAX;
	pthread_mutex_init(&h->lock, NULL);
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		h->slot[i] = (struct hub_port){ .fd = -1,
						.port = -1,
						.tail = &h->slot[i].queue };
	h->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->core = switch_new(hub_emit, h);
	if (h->core && h->event >= 0)
		hub_serve_all(h);
	hub_free(h);
	return 0;
}
