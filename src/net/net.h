/*
 * net.h - networks: frames between a guest's NIC and what it is plugged into.
 *
 * Two ends share a link: the NIC's end and the network's.  Networks: NAT
 * (nat.c, libslirp), a switch of this host (port.c: a port of hostel-switch,
 * over a Unix socket), tap (tap.c).  backend.h is what each of them fulfils.
 * On the link between the two lie filters: capture (pcap.c), fault injection
 * (fault.c), throttle (bucket.h).
 *
 * A frame is an Ethernet frame without FCS, with a net_hdr beside it (VIRTIO
 * 1.2, 5.1.6) that says what is left undone: checksum, segmentation.  Each end
 * says what it can take; the link completes the rest in software (offload.h).
 *
 * Frames come from guests and from the world: every length is checked by one
 * accessor (packet.h), and nothing reads past it.
 *
 * Threads: a link has one, "the network's thread".  In it run the network and
 * every net_nic_ops callback, so that a NIC's data path needs no lock.  Others
 * call only net_kick(), net_pause() and net_resume().
 */
#ifndef HOSTEL_NET_NET_H
#define HOSTEL_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define NET_FRAME_MAX (65536 + 64) /* with segmentation offload */
#define NET_MTU       1500
#define NET_MAC_LEN   6

/* VIRTIO 1.2, 5.1.6; host order here; num_buffers is the NIC's business. */
struct net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len; /* a hint, not trusted */
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
#define NET_CAN_ALL  0xf

struct net_link;

/* The NIC's side of a link; all run in the network's thread. */
struct net_nic_ops {
	/*
	 * One frame for the guest.  0: taken, or dropped by the NIC's own
	 * rules; -EAGAIN: no buffer now, the link keeps it (a bounded queue)
	 * and tries again after the next net_kick().  The memory is the
	 * network's.
	 */
	int (*receive)(void *opaque, const struct net_hdr *hdr,
		       const uint8_t *frame, size_t len);
	/* Some receive() calls are over: interrupt the guest. May be NULL. */
	void (*received)(void *opaque);
	/*
	 * Take what the guest wants sent, while net_room(), and net_send() it.
	 * Called after net_kick(), and when there is room again.
	 */
	void (*transmit)(void *opaque);
	/* Up or down (cable). May be NULL. */
	void (*link)(void *opaque, bool up);
};

/* One port forward of NAT: host to guest. */
struct net_forward {
	char host_addr[64]; /* numeric, IPv4 or IPv6 */
	uint16_t host_port;
	uint16_t guest_port;
	bool udp;
};

/*
 * [ADDR:]HOSTPORT:GUESTPORT[/tcp|/udp]; an IPv6 address in brackets.  Without
 * ADDR it is 127.0.0.1.  -EINVAL with a sentence.
 */
int net_parse_forward(struct net_forward *f, const char *s, struct err *err);

struct net_config {
	const char *kind; /* "nat", "switch", "tap" */
	const char *name; /* of the switch or the tap device */
	uint8_t mac[NET_MAC_LEN];
	uint16_t vlan;     /* switch: access VLAN; 0: none */
	const char *trunk; /* switch: VLANs carried tagged, "10+20"; or NULL */
	uint64_t rate, burst; /* bytes a second, bucket; 0: no limit */
	const char *pcap;     /* capture file; or NULL */
	const char *fault;    /* rules of the fault filter; or NULL */
	bool mirror;          /* switch: this port gets a copy of all */
	const char *uplink;   /* switch: "nat" joins NAT to it; or NULL */
	bool loopback;        /* NAT: 10.0.2.2 is the host's 127.0.0.1 */
	const char *tftp;     /* NAT: directory that 10.0.2.2 serves; or NULL */
	const char *bootfile; /* NAT: what DHCP tells firmware of it; or NULL */
	const struct net_forward *forwards; /* NAT */
	unsigned forward_count;
};

/* 52:..., locally administered, the same for the same name and index. */
void net_mac_from_name(uint8_t mac[NET_MAC_LEN], const char *name,
		       unsigned index);
/* "02:00:00:aa:bb:cc"; -EINVAL: malformed, or a group address. */
int net_parse_mac(uint8_t mac[NET_MAC_LEN], const char *s, struct err *err);

/*
 * Everything that a person can be the cause of fails here: a port that is
 * taken, a tap that is not permitted.  Frames flow from net_attach() on.
 */
int net_open(struct net_link **out, const struct net_config *config,
	     struct err *err);
/* Ends the thread; no callback runs any more. */
void net_close(struct net_link *l);

/* Once, when the NIC is complete: starts the thread. */
int net_attach(struct net_link *l, const struct net_nic_ops *ops, void *opaque,
	       struct err *err);
/* What the guest takes undone; in the network's thread, or paused. */
void net_set_can(struct net_link *l, unsigned can);
/* What the guest may leave undone in what it sends: all, on any link. */
unsigned net_peer_can(const struct net_link *l);

/* The guest gave something: frames to send or buffers.  Any thread. */
void net_kick(struct net_link *l);
/* An eventfd, the link's: ringing it is net_kick(). */
int net_kick_fd(const struct net_link *l);

/* --- In the network's thread, from transmit() ----------------------------- */

/* May a frame be sent now?  If not, transmit() is called again once it may. */
bool net_room(struct net_link *l);
/*
 * A frame from the guest; sent or copied before it returns, and the memory may
 * be changed.  -EINVAL: malformed, dropped.
 */
int net_send(struct net_link *l, const struct net_hdr *hdr, uint8_t *frame,
	     size_t len);

/* --- Any thread but the network's ----------------------------------------- */

/* No callback runs when it returns, until net_resume(); they nest. */
void net_pause(struct net_link *l);
void net_resume(struct net_link *l);

#endif
