/*
 * link.c - the link between a NIC and its network, and the thread in it.
 *
 * Theory of operation
 *
 *	guest -> NIC -> net_send: check, capture, complete, fault -> network
 *	guest <- NIC <- queue <- capture, complete, fault, check <- net_deliver
 *
 * One thread does all of it.  It sleeps in ppoll() for the network's
 * descriptors, for an eventfd that net_kick() rings, and until the next time
 * of which somebody (network, throttle, held frame) has said that it wants to
 * be looked at.  `kicked` keeps a kick from ringing twice.
 *
 * The throttle is a token bucket for each direction.  Out, there is no queue:
 * the guest's own ring holds what may not go yet.  In, frames wait in the
 * link's queue, as they do for a guest that has given no buffers; the queue is
 * bounded, and what comes when it is full is dropped, unless the network can
 * wait (net_wanted).
 *
 * Pausing: the thread parks at the top of its loop, so no callback is under
 * way when net_pause() returns.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/backend.h"
#include "net/bucket.h"
#include "net/fault.h"
#include "net/offload.h"
#include "net/packet.h"
#include "net/pcap.h"

/* #syscalls: ppoll eventfd2 sendmmsg recvmmsg */

#define LINK_QUEUE_BYTES (4u << 20)
#define LINK_NO_LIMIT    UINT64_MAX

struct link_frame {
	struct link_frame *next;
	struct net_hdr hdr;
	size_t len;
	uint8_t data[];
};

struct net_link {
	struct net_backend *backend;
	const struct net_nic_ops *nic;
	void *opaque;
	unsigned nic_can;
	bool was_full;  /* transmit() stopped for want of room */
	bool delivered; /* nic->received() is due */
	struct pcap *pcap;
	struct fault *fault;
	struct bucket out, in;
	struct link_frame *queue, **queue_tail;
	size_t queued; /* bytes in queue */
	struct net_poll poll;
	uint64_t now; /* at the top of this turn */

	int event; /* eventfd */
	atomic_bool kicked;
	atomic_bool stop;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock: */
	unsigned pauses;
	bool parked;
};

/* --- Polling -------------------------------------------------------------- */

int net_poll_add(struct net_poll *p, int fd, short events)
{
	if (p->count == p->cap) {
		unsigned cap = p->cap ? p->cap * 2 : 16;
		struct pollfd *fds = reallocarray(p->fds, cap, sizeof(*fds));

		if (!fds)
			return -ENOMEM;
		p->fds = fds;
		p->cap = cap;
	}
	p->fds[p->count] = (struct pollfd){ .fd = fd, .events = events };
	return (int)p->count++;
}

short net_poll_got(const struct net_poll *p, int index)
{
	return index >= 0 && (unsigned)index < p->count ? p->fds[index].revents
							: 0;
}

/* --- Towards the guest ---------------------------------------------------- */

static int link_to_nic(struct net_link *l, const struct net_hdr *hdr,
		       const uint8_t *frame, size_t len)
{
	int rc;

	if (!bucket_ready(&l->in, l->now))
		return -EAGAIN;
	rc = l->nic->receive(l->opaque, hdr, frame, len);
	if (rc == -EAGAIN)
		return rc;
	l->delivered = true;
	bucket_take(&l->in, l->now, len);
	return 0;
}

static void link_enqueue(struct net_link *l, const struct net_hdr *hdr,
			 const uint8_t *frame, size_t len)
{
	struct link_frame *f;

	if (l->queued + len > LINK_QUEUE_BYTES)
		return; /* a full queue drops its tail */
	f = malloc(sizeof(*f) + len);
	if (!f)
		return;
	f->next = NULL;
	f->hdr = *hdr;
	f->len = len;
	memcpy(f->data, frame, len);
	*l->queue_tail = f;
	l->queue_tail = &f->next;
	l->queued += len;
}

static void link_dequeue(struct net_link *l)
{
	struct link_frame *f = l->queue;

	l->queue = f->next;
	if (!l->queue)
		l->queue_tail = &l->queue;
	l->queued -= f->len;
	free(f);
}

static void link_drain_queue(struct net_link *l)
{
	while (l->queue &&
	       !link_to_nic(l, &l->queue->hdr, l->queue->data, l->queue->len))
		link_dequeue(l);
}

/* offload_emit: ready for the guest. */
static void link_in(void *opaque, const struct net_hdr *hdr, uint8_t *frame,
		    size_t len)
{
	struct net_link *l = opaque;

	if (l->pcap)
		pcap_frame(l->pcap, hdr, frame, len);
	if (l->queue || link_to_nic(l, hdr, frame, len))
		link_enqueue(l, hdr, frame, len);
}

/* The same, by way of the bad cable. */
static void link_in_fault(void *opaque, const struct net_hdr *hdr,
			  uint8_t *frame, size_t len)
{
	struct net_link *l = opaque;

	fault_frame(l->fault, FAULT_IN, l->now, hdr, frame, len, link_in, l);
}

void net_deliver(struct net_link *l, const struct net_hdr *hdr, uint8_t *frame,
		 size_t len)
{
	struct net_hdr h = *hdr;

	if (offload_check(&h, frame, len))
		return;
	if (l->fault)
		offload_complete(&h, frame, len, 0, link_in_fault, l);
	else
		offload_complete(&h, frame, len, l->nic_can, link_in, l);
}

bool net_wanted(const struct net_link *l)
{
	return !l->queue;
}

void net_set_link(struct net_link *l, bool up)
{
	if (l->nic->link)
		l->nic->link(l->opaque, up);
}

/* --- From the guest ------------------------------------------------------- */

static void link_out(void *opaque, const struct net_hdr *hdr, uint8_t *frame,
		     size_t len)
{
	struct net_link *l = opaque;

	l->backend->ops->send(l->backend, hdr, frame, len);
}

static void link_out_fault(void *opaque, const struct net_hdr *hdr,
			   uint8_t *frame, size_t len)
{
	struct net_link *l = opaque;

	fault_frame(l->fault, FAULT_OUT, l->now, hdr, frame, len, link_out, l);
}

bool net_room(struct net_link *l)
{
	const struct net_backend_ops *ops = l->backend->ops;
	bool room = bucket_ready(&l->out, l->now) &&
		    (!ops->room || ops->room(l->backend));

	l->was_full |= !room;
	return room;
}

int net_send(struct net_link *l, const struct net_hdr *hdr, uint8_t *frame,
	     size_t len)
{
	struct net_hdr h = *hdr;

	if (offload_check(&h, frame, len))
		return -EINVAL;
	bucket_take(&l->out, l->now, len);
	if (l->pcap)
		pcap_frame(l->pcap, &h, frame, len);
	if (l->fault)
		offload_complete(&h, frame, len, 0, link_out_fault, l);
	else
		offload_complete(&h, frame, len, l->backend->can, link_out, l);
	return 0;
}

void net_set_can(struct net_link *l, unsigned can)
{
	l->nic_can = can;
}

unsigned net_peer_can(const struct net_link *l)
{
	return NET_CAN_ALL;
}

/* --- The thread ----------------------------------------------------------- */

void net_kick(struct net_link *l)
{
	uint64_t one = 1;

	/* Pairs with the exchange in link_turn(). */
	if (atomic_exchange(&l->kicked, true))
		return;
	while (write(l->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int net_kick_fd(const struct net_link *l)
{
	return l->event;
}

static void link_wait(struct net_link *l)
{
	struct timespec ts, *timeout = NULL;
	uint64_t now = clock_mono_ns(), wait;

	if (l->poll.wake_ns != LINK_NO_LIMIT) {
		wait = l->poll.wake_ns > now ? l->poll.wake_ns - now : 0;
		ts.tv_sec = (time_t)(wait / 1000000000);
		ts.tv_nsec = (long)(wait % 1000000000);
		timeout = &ts;
	}
	if (l->pcap && (!timeout || wait))
		pcap_flush(l->pcap);
	if (ppoll(l->poll.fds, l->poll.count, timeout, NULL) < 0)
		for (unsigned i = 0; i < l->poll.count; i++)
			l->poll.fds[i].revents = 0;
}

static void link_fill(struct net_link *l)
{
	l->poll.count = 0;
	l->poll.wake_ns = LINK_NO_LIMIT;
	net_poll_add(&l->poll, l->event, POLLIN);
	if (l->was_full && !bucket_ready(&l->out, l->now))
		net_poll_until(&l->poll, bucket_when(&l->out));
	if (l->queue && !bucket_ready(&l->in, l->now))
		net_poll_until(&l->poll, bucket_when(&l->in));
	if (l->fault)
		net_poll_until(&l->poll, fault_when(l->fault));
	l->backend->ops->fill(l->backend, &l->poll);
}

static void link_expire_faults(struct net_link *l)
{
	if (!l->fault || fault_when(l->fault) > l->now)
		return;
	fault_expire(l->fault, FAULT_OUT, l->now, link_out, l);
	fault_expire(l->fault, FAULT_IN, l->now, link_in, l);
}

static void link_turn(struct net_link *l)
{
	uint64_t count;

	link_fill(l);
	link_wait(l);
	l->now = clock_mono_ns();
	/* An engine rings without `kicked`; nothing: a kick that was seen. */
	if (net_poll_got(&l->poll, 0) &&
	    read(l->event, &count, sizeof(count)) == sizeof(count))
		atomic_store(&l->kicked, true);
	l->backend->ops->polled(l->backend, &l->poll);
	link_expire_faults(l);
	/* Pairs with net_kick(): what it announced is looked at from here. */
	if (atomic_exchange(&l->kicked, false) || l->was_full) {
		l->was_full = false;
		l->nic->transmit(l->opaque);
	}
	link_drain_queue(l);
	if (l->delivered && l->nic->received)
		l->nic->received(l->opaque);
	l->delivered = false;
}

/* True: go on. */
static bool link_park(struct net_link *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->pauses && !l->stop) {
		l->parked = true;
		pthread_cond_broadcast(&l->changed);
		pthread_cond_wait(&l->changed, &l->lock);
	}
	l->parked = false;
	pthread_mutex_unlock(&l->lock);
	return !l->stop;
}

static void *link_thread(void *opaque)
{
	struct net_link *l = opaque;

	pthread_setname_np(pthread_self(), "net");
	while (link_park(l))
		link_turn(l);
	return NULL;
}

int net_attach(struct net_link *l, const struct net_nic_ops *ops, void *opaque,
	       struct err *err)
{
	sigset_t all, old;
	int rc;

	l->nic = ops;
	l->opaque = opaque;
	l->now = clock_mono_ns();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&l->thread, NULL, link_thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(err, rc, "cannot start a thread: %s",
			       strerror(rc));
	l->started = true;
	return 0;
}

/* Rings whether or not a kick is under way: the thread must come round. */
static void link_ring(struct net_link *l)
{
	uint64_t one = 1;

	while (write(l->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void net_pause(struct net_link *l)
{
	pthread_mutex_lock(&l->lock);
	l->pauses++;
	link_ring(l);
	while (l->started && !l->parked)
		pthread_cond_wait(&l->changed, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

void net_resume(struct net_link *l)
{
	pthread_mutex_lock(&l->lock);
	if (!--l->pauses) {
		/* Waits count from now: the parked thread sees them anew. */
		l->parked = false;
		atomic_store(&l->kicked, true);
		link_ring(l);
		pthread_cond_broadcast(&l->changed);
	}
	pthread_mutex_unlock(&l->lock);
}

/* --- Life ----------------------------------------------------------------- */

static const struct {
	const char *kind;
	int (*make)(struct net_backend **out, const struct net_config *config,
		    struct err *err);
} link_kinds[] = {
	{ "nat", nat_new },
	{ "switch", port_new },
	{ "tap", tap_new },
};

static int link_open_backend(struct net_link *l, const struct net_config *c,
			     struct err *err)
{
	for (size_t i = 0; i < sizeof(link_kinds) / sizeof(link_kinds[0]); i++)
		if (!strcmp(link_kinds[i].kind, c->kind))
			return link_kinds[i].make(&l->backend, c, err);
	return err_set(err, EINVAL,
		       "there is no network '%.64s'; choose nat, "
		       "switch:NAME, tap:DEVICE or none",
		       c->kind);
}

static int link_open(struct net_link *l, const struct net_config *c,
		     struct err *err)
{
	/* A switch limits its ports itself, out of the guest's reach. */
	uint64_t rate = strcmp(c->kind, "switch") ? c->rate : 0;
	int rc = 0;

	bucket_init(&l->out, rate, c->burst);
	bucket_init(&l->in, rate, c->burst);
	l->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->event < 0)
		return err_set(err, errno, "cannot open the network: %s",
			       strerror(errno));
	if (c->pcap)
		rc = pcap_open(&l->pcap, c->pcap, err);
	if (rc == 0 && c->fault)
		rc = fault_new(&l->fault, c->fault, err);
	if (rc == 0)
		rc = link_open_backend(l, c, err);
	if (rc == 0)
		l->backend->link = l;
	return rc;
}

int net_open(struct net_link **out, const struct net_config *config,
	     struct err *err)
{
	struct net_link *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(err, ENOMEM, "out of memory");
	l->queue_tail = &l->queue;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	rc = link_open(l, config, err);
	if (rc < 0)
		net_close(l);
	else
		*out = l;
	return rc;
}

static void link_end_thread(struct net_link *l)
{
	if (!l->started)
		return;
	pthread_mutex_lock(&l->lock);
	atomic_store(&l->stop, true);
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	link_ring(l);
	pthread_join(l->thread, NULL);
}

void net_close(struct net_link *l)
{
	if (!l)
		return;
	link_end_thread(l);
	if (l->backend)
		l->backend->ops->free(l->backend);
	while (l->queue)
		link_dequeue(l);
	pcap_close(l->pcap);
	fault_free(l->fault);
	if (l->event >= 0)
		close(l->event);
	free(l->poll.fds);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
