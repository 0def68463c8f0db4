/*
 * net.h - networks: frames between a guest's NIC and what it is plugged into.
 *
 * Two ends share a link: the NIC's end and the network's.  Networks: NAT
 * (nat.c, libslirp in a thread or process of its own), a switch of this host
 * (switch.c: ports of several guests' processes, over Unix sockets), tap.
 * Filters stack on a link as they do on disks: throttle, capture (pcap),
 * fault injection.
 *
 * A frame is an Ethernet frame without FCS, with a virtio_net_hdr before it
 * (VIRTIO 1.2, 5.1.6) that says what is left undone: checksum, segmentation.
 * Each end says what it can take; the link completes the rest in software.
 *
 * Frames come from guests and from the world: every length is checked by one
 * accessor (packet.h), and nothing reads past it.
 *
 * Threads: send from any; a link calls `receive` in the network's thread.
 */
#ifndef HOSTEL_NET_NET_H
#define HOSTEL_NET_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define NET_FRAME_MAX (65536 + 64) /* with segmentation offload */
#define NET_MTU       1500
#define NET_MAC_LEN   6

/* VIRTIO 1.2, 5.1.6: little-endian; num_buffers is the NIC's business. */
struct net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

#define NET_HDR_NEEDS_CSUM 1
#define NET_HDR_DATA_VALID 2
#define NET_GSO_NONE       0
#define NET_GSO_TCPV4      1
#define NET_GSO_UDP        3
#define NET_GSO_TCPV6      4
#define NET_GSO_ECN        0x80

/* What an end can take undone. */
#define NET_CAN_CSUM 0x1
#define NET_CAN_TSO4 0x2
#define NET_CAN_TSO6 0x4
#define NET_CAN_ECN  0x8

struct net_link;

/* The NIC's side of a link, called by the network. */
struct net_nic_ops {
	/*
	 * One frame for the guest.  0: taken; -EAGAIN: no buffer now, the link
	 * keeps it (a bounded queue) until net_ready(); -EPIPE: NIC is off,
	 * dropped.  Not kept: the memory is the network's.
	 */
	int (*receive)(void *opaque, const struct net_hdr *hdr,
		       const struct iovec *iov, int iovcnt, size_t len);
	/* Up or down (cable). May be NULL. */
	void (*link)(void *opaque, bool up);
};

/* One port forward of NAT: host to guest. */
struct net_forward {
	char *host_addr; /* NULL: 127.0.0.1 */
	uint16_t host_port;
	uint16_t guest_port;
	bool udp;
};

struct net_config {
	const char *kind; /* "nat", "switch", "tap", "none" */
	const char *name; /* of the switch or the tap device */
	uint8_t mac[NET_MAC_LEN];
	uint16_t vlan;     /* switch: access VLAN; 0: none */
	const char *trunk; /* switch: list of VLANs carried tagged; or NULL */
	uint64_t rate, burst; /* bytes a second, bucket; 0: no limit */
	const char *pcap;     /* capture file; or NULL */
	const char *fault;    /* rules of the fault filter; or NULL */
	bool mirror;          /* switch: this port gets a copy of all */
	const struct net_forward *forwards; /* NAT */
	unsigned forward_count;
};

int net_open(struct net_link **out, const struct net_config *config,
	     struct err *err);
void net_close(struct net_link *l);

/* Before the first frame, and when the driver changes its mind. */
void net_attach(struct net_link *l, const struct net_nic_ops *ops,
		void *opaque);
void net_set_can(struct net_link *l, unsigned can);
/* What the guest may leave undone in what it sends. */
unsigned net_peer_can(const struct net_link *l);

/*
 * A frame from the guest; copied or sent before it returns.  0; -EAGAIN: the
 * network is full, drop it (a NIC does not wait); -EINVAL: malformed, dropped.
 */
int net_send(struct net_link *l, const struct net_hdr *hdr,
	     const struct iovec *iov, int iovcnt, size_t len);
/* The guest has given buffers: what waited may come. */
void net_ready(struct net_link *l);
/* vCPUs are stopped: no receive() runs when it returns, until resume. */
void net_pause(struct net_link *l);
void net_resume(struct net_link *l);

#endif
