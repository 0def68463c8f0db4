#include "net/offload.h"

#include <errno.h>

#include "net/packet.h"

#define OFFLOAD_HEADERS_MAX 256 /* Ethernet to TCP, with all options */

/* --- Checking ------------------------------------------------------------- */

static int offload_check_gso(const struct net_hdr *hdr, uint8_t *frame,
			     size_t len)
{
	const struct packet p = { frame, len };
	unsigned type = hdr->gso_type & ~NET_GSO_ECN;
	struct packet_info i;

	if (type != NET_GSO_TCPV4 && type != NET_GSO_TCPV6)
		return -EINVAL; /* UDP fragmentation is not offered */
	if (!hdr->gso_size || !(hdr->flags & NET_HDR_NEEDS_CSUM))
		return -EINVAL;
	if (!packet_parse(&p, &i) || i.protocol != IP_PROTO_TCP || !i.payload)
		return -EINVAL;
	if (i.ip != (type == NET_GSO_TCPV4 ? 4u : 6u) || i.end != len)
		return -EINVAL;
	if (hdr->csum_start != i.l4 || hdr->csum_offset != TCP_CSUM_AT)
		return -EINVAL;
	return i.payload <= OFFLOAD_HEADERS_MAX ? 0 : -EINVAL;
}

int offload_check(struct net_hdr *hdr, uint8_t *frame, size_t len)
{
	if (len < ETH_FRAME_MIN || len > NET_FRAME_MAX)
		return -EINVAL;
	hdr->flags &= NET_HDR_NEEDS_CSUM | NET_HDR_DATA_VALID;
	if (hdr->flags & NET_HDR_NEEDS_CSUM) {
		size_t at = (size_t)hdr->csum_start + hdr->csum_offset;

		if (hdr->csum_start < ETH_HLEN_MIN || at + 2 > len)
			return -EINVAL;
	}
	if (hdr->gso_type == NET_GSO_NONE)
		return 0;
	return offload_check_gso(hdr, frame, len);
}

/* --- Completing ----------------------------------------------------------- */

void offload_checksum(const struct net_hdr *hdr, uint8_t *frame, size_t len)
{
	uint8_t *at = frame + hdr->csum_start + hdr->csum_offset;
	size_t n = len - hdr->csum_start;
	uint16_t sum;

	/* The field holds the pseudo header's sum: it adds itself. */
	sum = packet_fold(packet_sum(frame + hdr->csum_start, n, 0));
	/* 0 would mean "none" to UDP (RFC 768); to TCP both are the same. */
	packet_put16(at, sum ? sum : 0xffff);
}

/* One segment: headers of the whole, changed where they must be. */
struct offload_segment {
	struct packet whole;
	struct packet_info info;
	size_t payload; /* offset in the whole's payload */
	size_t len;
	unsigned n; /* 0: the first */
	bool last;
};

static void offload_segment_ip(const struct offload_segment *s, uint8_t *out)
{
	uint8_t *ip = out + s->info.l3;
	size_t headers = s->info.payload - s->info.l3;

	if (s->info.ip == 6) {
		packet_put16(ip + 4, (uint16_t)(headers - 40 + s->len));
		return;
	}
	packet_put16(ip + 2, (uint16_t)(headers + s->len));
	/* RFC 6864 asks for a new one only where a packet may be split. */
	packet_put16(ip + 4, (uint16_t)(packet_get16(ip + 4) + s->n));
	packet_ipv4_checksum(ip, s->info.l4 - s->info.l3);
}

static void offload_segment_tcp(const struct offload_segment *s, uint8_t *out)
{
	const struct packet p = { out, s->info.payload + s->len };
	uint8_t *tcp = out + s->info.l4;
	size_t len = p.len - s->info.l4;
	uint64_t sum = packet_pseudo_sum(&p, &s->info, len);

	packet_put32(tcp + 4, packet_get32(tcp + 4) + (uint32_t)s->payload);
	if (!s->last)
		tcp[13] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
	if (s->n)
		tcp[13] &= (uint8_t)~TCP_FLAG_CWR; /* RFC 3168, 6.1.2 */
	packet_put16(tcp + TCP_CSUM_AT, (uint16_t)~packet_fold(sum));
}

static void offload_segment(const struct offload_segment *s, unsigned can,
			    offload_emit *emit, void *opaque)
{
	uint8_t out[NET_FRAME_MAX];
	struct net_hdr hdr = {
		.flags = NET_HDR_NEEDS_CSUM,
		.hdr_len = (uint16_t)s->info.payload,
		.csum_start = (uint16_t)s->info.l4,
		.csum_offset = TCP_CSUM_AT,
	};
	const uint8_t *from = s->whole.data + s->info.payload + s->payload;
	size_t len = s->info.payload + s->len;

	memcpy(out, s->whole.data, s->info.payload);
	memcpy(out + s->info.payload, from, s->len);
	offload_segment_ip(s, out);
	offload_segment_tcp(s, out);
	if (!(can & NET_CAN_CSUM)) {
		offload_checksum(&hdr, out, len);
		hdr = (struct net_hdr){ .flags = NET_HDR_DATA_VALID };
	}
	emit(opaque, &hdr, out, len);
}

static void offload_split(const struct net_hdr *hdr, uint8_t *frame, size_t len,
			  unsigned can, offload_emit *emit, void *opaque)
{
	struct offload_segment s = { .whole = { frame, len } };
	size_t total;

	packet_parse(&s.whole, &s.info);
	total = s.info.end - s.info.payload;
	do {
		s.len = total - s.payload;
		if (s.len > hdr->gso_size)
			s.len = hdr->gso_size;
		s.last = s.payload + s.len == total;
		offload_segment(&s, can, emit, opaque);
		s.payload += s.len;
		s.n++;
	} while (!s.last);
}

static bool offload_can_gso(unsigned gso_type, unsigned can)
{
	unsigned need = 0;

	if (gso_type == NET_GSO_NONE)
		return true;
	if (gso_type & NET_GSO_ECN)
		need |= NET_CAN_ECN;
	gso_type &= ~NET_GSO_ECN;
	need |= gso_type == NET_GSO_TCPV4 ? NET_CAN_TSO4 : NET_CAN_TSO6;
	return (can & need) == need;
}

void offload_complete(const struct net_hdr *hdr, uint8_t *frame, size_t len,
		      unsigned can, offload_emit *emit, void *opaque)
{
	struct net_hdr done = *hdr;

	if (!offload_can_gso(hdr->gso_type, can)) {
		offload_split(hdr, frame, len, can, emit, opaque);
		return;
	}
	if (!(can & NET_CAN_CSUM)) {
		if (hdr->flags & NET_HDR_NEEDS_CSUM)
			offload_checksum(hdr, frame, len);
		done = (struct net_hdr){ 0 };
	}
	emit(opaque, &done, frame, len);
}
