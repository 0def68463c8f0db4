/*
 * nettest.h - a network for tests of cards: what a card sends is kept, and
 * what it gets is what the test gives.  nettest.c stands in for net/link.c, in
 * the test's own thread: a kick is done at once.
 */
#ifndef HOSTEL_TESTS_NETTEST_H
#define HOSTEL_TESTS_NETTEST_H

#include "net/net.h"

struct net_link {
	const struct net_nic_ops *ops;
	void *opaque;
	unsigned can, pauses, kicks, sent;
	bool full, closed;
	struct net_hdr hdr; /* of the last frame */
	size_t len;
	uint8_t frame[NET_FRAME_MAX];
};

/* As if it had come from the network; receive()'s result. */
int nettest_give(struct net_link *l, const struct net_hdr *hdr,
		 const uint8_t *frame, size_t len);

#endif
