/*
 * virtio_net_impl.h - between virtio_net.c (rings) and virtio_net_ctrl.c
 * (what the driver commands, and the filter that comes of it).
 */
#ifndef HOSTEL_DEV_VIRTIO_VIRTIO_NET_IMPL_H
#define HOSTEL_DEV_VIRTIO_VIRTIO_NET_IMPL_H

#include <pthread.h>

#include "dev/virtio/virtio_net.h"

/* Feature bits (5.1.3). */
#define VIRTIO_NET_F_CSUM           (1ull << 0)
#define VIRTIO_NET_F_GUEST_CSUM     (1ull << 1)
#define VIRTIO_NET_F_GUEST_OFFLOADS (1ull << 2)
#define VIRTIO_NET_F_MAC            (1ull << 5)
#define VIRTIO_NET_F_GUEST_TSO4     (1ull << 7)
#define VIRTIO_NET_F_GUEST_TSO6     (1ull << 8)
#define VIRTIO_NET_F_GUEST_ECN      (1ull << 9)
#define VIRTIO_NET_F_HOST_TSO4      (1ull << 11)
#define VIRTIO_NET_F_HOST_TSO6      (1ull << 12)
#define VIRTIO_NET_F_HOST_ECN       (1ull << 13)
#define VIRTIO_NET_F_MRG_RXBUF      (1ull << 15)
#define VIRTIO_NET_F_STATUS         (1ull << 16)
#define VIRTIO_NET_F_CTRL_VQ        (1ull << 17)
#define VIRTIO_NET_F_CTRL_RX        (1ull << 18)
#define VIRTIO_NET_F_CTRL_VLAN      (1ull << 19)
#define VIRTIO_NET_F_CTRL_RX_EXTRA  (1ull << 20)
#define VIRTIO_NET_F_ANNOUNCE       (1ull << 21)
#define VIRTIO_NET_F_MQ             (1ull << 22)
#define VIRTIO_NET_F_CTRL_MAC       (1ull << 23)

#define VIRTIO_NET_S_LINK_UP  1
#define VIRTIO_NET_S_ANNOUNCE 2

#define VIRTIO_NET_MACS_MAX  64
#define VIRTIO_NET_VLANS     4096
#define VIRTIO_NET_FLOWS     256
#define VIRTIO_NET_RX_CHAINS 64 /* 64 KiB in the smallest usual buffers */

/* Configuration space (5.1.4): little-endian, as the host is. */
struct virtio_net_space {
	uint8_t mac[NET_MAC_LEN];
	uint16_t status;
	uint16_t max_pairs;
};

/* One list of the MAC filter (5.1.6.5.2). */
struct virtio_net_macs {
	uint32_t count;
	bool overflow; /* longer than we keep: all pass */
	uint8_t mac[VIRTIO_NET_MACS_MAX][NET_MAC_LEN];
};

/* 5.1.6.5.1: receive modes, in the order of their commands. */
enum virtio_net_mode {
	VIRTIO_NET_PROMISC,
	VIRTIO_NET_ALLMULTI,
	VIRTIO_NET_ALLUNI,
	VIRTIO_NET_NOMULTI,
	VIRTIO_NET_NOUNI,
	VIRTIO_NET_NOBCAST,
	VIRTIO_NET_MODES,
};

struct virtio_net {
	struct virtio_dev vd;
	struct net_link *link;
	struct timer resume; /* ends what drain() began */
	pthread_mutex_t lock;
	bool drained; /* guarded by lock */
	/* The rest is the network's thread's, or of who has paused it. */
	bool running; /* between DRIVER_OK and reset */
	struct virtio_net_space space;
	uint8_t own_mac[NET_MAC_LEN];
	uint16_t pairs;    /* in use */
	uint64_t offloads; /* GUEST_* that the driver has left on */
	uint8_t mode[VIRTIO_NET_MODES];
	struct virtio_net_macs uni, multi;
	uint32_t vlans[VIRTIO_NET_VLANS / 32];
	uint8_t flow[VIRTIO_NET_FLOWS]; /* the pair that a flow is sent on */
	bool rx_waits[VIRTIO_NET_PAIRS_MAX]; /* notifications are on */
	bool rx_pushed[VIRTIO_NET_PAIRS_MAX];
	struct virtq_chain chain; /* transmit and control */
	uint8_t frame[NET_FRAME_MAX];
	struct virtq_chain rx[VIRTIO_NET_RX_CHAINS];
	uint32_t rx_written[VIRTIO_NET_RX_CHAINS];
};

/* Filter and modes as after reset: everything passes. */
void virtio_net_ctrl_reset(struct virtio_net *n);
/* Takes all commands that are there. */
void virtio_net_ctrl_run(struct virtio_net *n);
void virtio_net_ctrl_walk(struct virtio_net *n, struct walk *w);
/* Does the guest want this frame? */
bool virtio_net_accepts(const struct virtio_net *n, uint8_t *frame, size_t len);
/* Tells the link what the driver takes now. */
void virtio_net_set_can(struct virtio_net *n);

#endif
