#include "net/packet.h"

/* --- Headers -------------------------------------------------------------- */

static void packet_parse_ipv4(const struct packet *p, struct packet_info *i)
{
	const uint8_t *h = packet_at(p, i->l3, 20);
	size_t hlen, total;

	if (!h || h[0] >> 4 != 4)
		return;
	hlen = (h[0] & 15) * 4u;
	total = packet_get16(h + 2);
	if (hlen < 20 || total < hlen || !packet_at(p, i->l3, total))
		return;
	i->ip = 4;
	i->protocol = h[9];
	i->fragment = packet_get16(h + 6) & 0x3fff;
	i->l4 = i->l3 + hlen;
	i->end = i->l3 + total;
}

static bool packet_is_ipv6_extension(uint8_t next)
{
	return next == 0 || next == 43 || next == 60; /* RFC 8200, 4.1 */
}

/* Hop-by-hop, routing and destination options are stepped over. */
static void packet_parse_ipv6(const struct packet *p, struct packet_info *i)
{
	const uint8_t *h = packet_at(p, i->l3, 40);
	size_t at = i->l3 + 40, end;
	uint8_t next;

	if (!h || h[0] >> 4 != 6)
		return;
	end = at + packet_get16(h + 4);
	next = h[6];
	if (end > p->len)
		return;
	while (packet_is_ipv6_extension(next)) {
		h = packet_at(p, at, 8);
		if (!h || at + (h[1] + 1u) * 8 > end)
			return;
		next = h[0];
		at += (h[1] + 1u) * 8;
	}
	i->ip = 6;
	i->protocol = next;
	i->fragment = next == 44;
	i->l4 = at;
	i->end = end;
}

static void packet_parse_l4(const struct packet *p, struct packet_info *i)
{
	const struct packet ip = { p->data, i->end };
	const uint8_t *h;
	size_t hlen;

	if (i->protocol == IP_PROTO_UDP && packet_at(&ip, i->l4, 8))
		i->payload = i->l4 + 8;
	if (i->protocol != IP_PROTO_TCP)
		return;
	h = packet_at(&ip, i->l4, TCP_HLEN_MIN);
	if (!h)
		return;
	hlen = (h[12] >> 4) * 4u;
	if (hlen < TCP_HLEN_MIN || !packet_at(&ip, i->l4, hlen))
		return;
	i->payload = i->l4 + hlen;
	i->tcp_flags = h[13];
}

bool packet_parse(const struct packet *p, struct packet_info *out)
{
	const uint8_t *h = packet_at(p, 0, ETH_HLEN_MIN);

	*out = (struct packet_info){ .l3 = ETH_HLEN_MIN };
	if (!h)
		return false;
	out->type = packet_get16(h + 12);
	if (out->type == ETH_TYPE_VLAN) {
		h = packet_at(p, ETH_HLEN_MIN, 4);
		if (!h)
			return false;
		out->tagged = true;
		out->vlan = packet_get16(h) & 0xfff;
		out->type = packet_get16(h + 2);
		out->l3 += 4;
	}
	if (out->type == ETH_TYPE_IPV4)
		packet_parse_ipv4(p, out);
	else if (out->type == ETH_TYPE_IPV6)
		packet_parse_ipv6(p, out);
	if (out->ip && !out->fragment)
		packet_parse_l4(p, out);
	return true;
}

/* --- Checksums ------------------------------------------------------------ */

/*
 * Words are added as the host sees them and swapped at the end: the sum is
 * the same in either byte order but for the place of its bytes (RFC 1071, 2B).
 * 32-bit pieces in a 64-bit sum: no carry is lost within 2^32 of them.  Four
 * sums of their own let the processor (and the compiler's vectors) add at
 * once.
 */
uint64_t packet_sum(const uint8_t *data, size_t len, uint64_t sum)
{
	uint64_t part[4] = { 0, 0, 0, 0 };
	uint32_t v[4];
	uint16_t w;

	for (; len >= 16; data += 16, len -= 16) {
		memcpy(v, data, 16);
		for (int i = 0; i < 4; i++)
			part[i] += v[i];
	}
	for (; len >= 2; data += 2, len -= 2) {
		memcpy(&w, data, 2);
		part[0] += w;
	}
	if (len)
		part[1] += data[0]; /* followed by a zero, little-endian */
	return sum + part[0] + part[1] + part[2] + part[3];
}

uint16_t packet_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~__builtin_bswap16((uint16_t)sum);
}

uint64_t packet_pseudo_sum(const struct packet *p,
			   const struct packet_info *info, size_t len)
{
	const uint8_t *h = p->data + info->l3;
	uint64_t sum;

	if (info->ip == 4)
		sum = packet_sum(h + 12, 8, 0);
	else
		sum = packet_sum(h + 8, 32, 0);
	sum += __builtin_bswap16((uint16_t)len);
	sum += __builtin_bswap16((uint16_t)(len >> 16));
	return sum + ((uint64_t)info->protocol << 8);
}

void packet_ipv4_checksum(uint8_t *header, size_t len)
{
	packet_put16(header + 10, 0);
	packet_put16(header + 10, packet_fold(packet_sum(header, len, 0)));
}
