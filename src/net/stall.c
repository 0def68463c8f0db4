#include "net/stall.h"

#define STALL_TCP_WINDOW 14 /* offset in the header */
#define STALL_TCP_ACK    0x10
#define STALL_TCP_RST    0x04

/* Addresses and ports, which lie behind each other but for IP options. */
static bool stall_same(const struct stall_flow *f, const struct packet *p,
		       const struct packet_info *i)
{
	size_t at = i->ip == 4 ? 12 : 8, n = i->ip == 4 ? 8 : 32;

	return f->used && f->info.ip == i->ip && f->info.l3 == i->l3 &&
	       f->info.l4 == i->l4 &&
	       !memcmp(f->head + i->l3 + at, p->data + i->l3 + at, n) &&
	       !memcmp(f->head + i->l4, p->data + i->l4, 4);
}

static struct stall_flow *stall_find(struct stalls *s, const struct packet *p,
				     const struct packet_info *i)
{
	struct stall_flow *free = NULL;

	for (unsigned n = 0; n < STALL_FLOWS; n++) {
		if (stall_same(&s->flow[n], p, i))
			return &s->flow[n];
		if (!s->flow[n].used)
			free = &s->flow[n];
	}
	return free;
}

void stall_note(struct stalls *s, uint64_t now, const struct packet *p,
		const struct packet_info *i)
{
	size_t len = i->l4 + TCP_HLEN_MIN; /* without options */
	struct stall_flow *f;
	bool closed;

	if (!i->ip || i->protocol != IP_PROTO_TCP || !i->payload ||
	    len > STALL_HEAD_MAX)
		return;
	f = stall_find(s, p, i);
	if (!f)
		return;
	closed =
		packet_get16(p->data + i->l4 + STALL_TCP_WINDOW) <
			STALL_WINDOW &&
		!(i->tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_FIN | STALL_TCP_RST));
	if (closed && !f->used)
		*f = (struct stall_flow){ .next = now + STALL_FIRST_NS,
					  .wait = STALL_FIRST_NS };
	f->used = closed;
	f->info = *i;
	f->len = len;
	memcpy(f->head, p->data, len);
}

static void stall_swap(uint8_t *a, size_t n)
{
	uint8_t *b = a + n, t;

	for (size_t i = 0; i < n; i++) {
		t = a[i];
		a[i] = b[i];
		b[i] = t;
	}
}

/* The last segment to the guest, turned round. */
static void stall_make(const struct stall_flow *f, uint8_t *out)
{
	const struct packet p = { out, f->len };
	uint8_t *ip = out + f->info.l3, *tcp = out + f->info.l4;
	uint32_t seq = packet_get32(tcp + 4), ack = packet_get32(tcp + 8);

	stall_swap(out, NET_MAC_LEN);
	if (f->info.ip == 4) {
		stall_swap(ip + 12, 4);
		packet_put16(ip + 2, (uint16_t)(f->len - f->info.l3));
		packet_ipv4_checksum(ip, f->info.l4 - f->info.l3);
	} else {
		stall_swap(ip + 8, 16);
		packet_put16(ip + 4, (uint16_t)(f->len - f->info.l3 - 40));
	}
	stall_swap(tcp, 2);
	packet_put32(tcp + 4, ack - 1);
	packet_put32(tcp + 8, seq);
	tcp[12] = (TCP_HLEN_MIN / 4) << 4;
	tcp[13] = STALL_TCP_ACK;
	packet_put16(tcp + TCP_CSUM_AT, 0);
	packet_put16(tcp + TCP_CSUM_AT,
		     packet_fold(packet_sum(
			     tcp, TCP_HLEN_MIN,
			     packet_pseudo_sum(&p, &f->info, TCP_HLEN_MIN))));
}

size_t stall_probe(struct stalls *s, uint64_t now, uint8_t out[STALL_HEAD_MAX])
{
	for (unsigned n = 0; n < STALL_FLOWS; n++) {
		struct stall_flow *f = &s->flow[n];

		if (!f->used || f->next > now)
			continue;
		f->used = ++f->tries < STALL_TRIES;
		f->wait = f->wait * 2 < STALL_LAST_NS ? f->wait * 2
						      : STALL_LAST_NS;
		f->next = now + f->wait;
		memcpy(out, f->head, f->len);
		stall_make(f, out);
		return f->len;
	}
	return 0;
}

uint64_t stall_when(const struct stalls *s)
{
	uint64_t when = UINT64_MAX;

	for (unsigned n = 0; n < STALL_FLOWS; n++)
		if (s->flow[n].used && s->flow[n].next < when)
			when = s->flow[n].next;
	return when;
}
