/*
 * packet.h - the one way to look into a frame: nothing reads past its end.
 *
 * Frames come from guests, from other processes and from the world.  A packet
 * is a pointer and a length; packet_at() gives bytes only where they all are,
 * and packet_parse() finds the headers or says that they are not there.
 *
 * Sources: IEEE 802.3, 802.1Q; RFC 791 (IPv4), 8200 (IPv6), 9293 (TCP),
 * 768 (UDP), 1071 (checksum).
 */
#ifndef HOSTEL_NET_PACKET_H
#define HOSTEL_NET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/net.h"

#define ETH_HLEN_MIN  14
#define ETH_FRAME_MIN 14 /* we do not pad to 60: nobody here needs it */
#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP  0x0806
#define ETH_TYPE_VLAN 0x8100
#define ETH_TYPE_IPV6 0x86dd
#define IP_PROTO_ICMP 1
#define IP_PROTO_TCP  6
#define IP_PROTO_UDP  17
#define TCP_HLEN_MIN  20
#define TCP_FLAG_FIN  0x01
#define TCP_FLAG_SYN  0x02
#define TCP_FLAG_PSH  0x08
#define TCP_FLAG_CWR  0x80
#define TCP_CSUM_AT   16
#define UDP_CSUM_AT   6

struct packet {
	uint8_t *data;
	size_t len;
};

/* Bytes [offset, offset + n), or NULL if they are not all there. */
static inline uint8_t *packet_at(const struct packet *p, size_t offset,
				 size_t n)
{
	if (offset > p->len || n > p->len - offset)
		return NULL;
	return p->data + offset;
}

/* Network byte order, at any alignment. */
static inline uint16_t packet_get16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t packet_get32(const uint8_t *b)
{
	return (uint32_t)packet_get16(b) << 16 | packet_get16(b + 2);
}

static inline void packet_put16(uint8_t *b, uint16_t v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static inline void packet_put32(uint8_t *b, uint32_t v)
{
	packet_put16(b, (uint16_t)(v >> 16));
	packet_put16(b + 2, (uint16_t)v);
}

static inline bool packet_is_group(const uint8_t mac[NET_MAC_LEN])
{
	return mac[0] & 1;
}

static inline bool packet_is_broadcast(const uint8_t mac[NET_MAC_LEN])
{
	static const uint8_t all[] = { 255, 255, 255, 255, 255, 255 };

	return !memcmp(mac, all, sizeof(all));
}

/* Where the headers of a frame are; offsets lie inside it. */
struct packet_info {
	uint16_t type;    /* EtherType behind the tag, if any */
	bool tagged;      /* one 802.1Q tag */
	uint16_t vlan;    /* its VLAN, 0..4095 */
	size_t l3;        /* IP header, or what comes instead */
	unsigned ip;      /* 4, 6, or 0: none, or broken */
	uint8_t protocol; /* IP_PROTO_* */
	bool fragment;    /* not the whole datagram: l4 is not to be used */
	size_t l4;        /* header of protocol, if ip */
	size_t end;       /* of the IP datagram as its header says, in bounds */
	size_t payload;   /* TCP, UDP: what follows the header; else 0 */
	uint8_t tcp_flags; /* TCP: byte 13 */
};

/* False: not even an Ethernet header. */
bool packet_parse(const struct packet *p, struct packet_info *out);

/*
 * RFC 1071 over len bytes, added to `sum`; packet_fold() makes the 16 bits.
 * Only pieces of even length may be followed by another.
 */
uint64_t packet_sum(const uint8_t *data, size_t len, uint64_t sum);
uint16_t packet_fold(uint64_t sum);
/* The pseudo header's sum for len bytes of TCP or UDP behind info->l4. */
uint64_t packet_pseudo_sum(const struct packet *p,
			   const struct packet_info *info, size_t len);
/* Sets an IPv4 header's own checksum. */
void packet_ipv4_checksum(uint8_t *header, size_t len);

#endif
