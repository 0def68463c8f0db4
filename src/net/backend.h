/*
 * backend.h - what a network is to its link: nat.c, port.c, tap.c.
 *
 * All callbacks run in the link's thread (net.h), but `free`, which runs when
 * that has ended.
 */
#ifndef HOSTEL_NET_BACKEND_H
#define HOSTEL_NET_BACKEND_H

#include <poll.h>

#include "net/net.h"

/* What the thread waits for next. */
struct net_poll {
	struct pollfd *fds;
	unsigned count, cap;
	uint64_t wake_ns; /* CLOCK_MONOTONIC, at the latest; UINT64_MAX */
};

/* Index for net_poll_got(); -ENOMEM. */
int net_poll_add(struct net_poll *p, int fd, short events);
/* What happened there; 0 for an index that is none. */
short net_poll_got(const struct net_poll *p, int index);
static inline void net_poll_until(struct net_poll *p, uint64_t ns)
{
	if (ns < p->wake_ns)
		p->wake_ns = ns;
}

struct net_backend;

struct net_backend_ops {
	/* A frame for the network: sent or copied. Its memory may change. */
	void (*send)(struct net_backend *b, const struct net_hdr *hdr,
		     uint8_t *frame, size_t len);
	/*
	 * May send() be called?  If not, fill() must ask for the event that
	 * changes it.  NULL: always.
	 */
	bool (*room)(struct net_backend *b);
	/* Adds descriptors and the latest time; then polled() looks at them. */
	void (*fill)(struct net_backend *b, struct net_poll *p);
	void (*polled)(struct net_backend *b, const struct net_poll *p);
	void (*free)(struct net_backend *b);
};

/* First member of every network. */
struct net_backend {
	const struct net_backend_ops *ops;
	struct net_link *link;
	unsigned can; /* NET_CAN_* of send() */
};

int nat_new(struct net_backend **out, const struct net_config *config,
	    struct err *err);
int port_new(struct net_backend **out, const struct net_config *config,
	     struct err *err);
int tap_new(struct net_backend **out, const struct net_config *config,
	    struct err *err);

/* --- From the network's callbacks ----------------------------------------- */

/* A frame for the guest, copied or dropped; checked here (offload_check). */
void net_deliver(struct net_link *l, const struct net_hdr *hdr, uint8_t *frame,
		 size_t len);
/* Is there room for more?  A network that can wait asks, and leaves it. */
bool net_wanted(const struct net_link *l);
/* The cable: the NIC tells its guest. */
void net_set_link(struct net_link *l, bool up);

#endif
