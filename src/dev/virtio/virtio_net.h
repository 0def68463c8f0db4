/*
 * virtio_net.h - the virtio network card.
 *
 * Source: VIRTIO 1.2, 5.1.  Queues: receive and transmit for each pair, then
 * one for control.  Offered: checksum and segmentation both ways, mergeable
 * buffers, link status, several pairs, MAC filter, receive modes, VLAN filter,
 * announcement after a move.
 *
 * Threads: rings are worked on in the network's thread alone (net.h); a
 * notification only kicks it, reset and saving pause it.
 */
#ifndef HOSTEL_DEV_VIRTIO_VIRTIO_NET_H
#define HOSTEL_DEV_VIRTIO_VIRTIO_NET_H

#include "dev/virtio/virtio.h"
#include "net/net.h"

#define VIRTIO_NET_PAIRS_MAX 8

struct virtio_net_config {
	uint8_t mac[NET_MAC_LEN];
	unsigned pairs; /* 1..VIRTIO_NET_PAIRS_MAX */
};

/* Takes over the link, also on failure. */
int virtio_net_new(struct virtio_dev **out, struct dev_env *env,
		   const struct virtio_net_config *config,
		   struct net_link *link, struct err *err);

#endif
