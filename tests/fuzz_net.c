/*
 * fuzz_net.c - frames and their headers, as a guest or another process could
 * send them: through the link's checks, the offloads, and a switch with VLANs.
 *
 * Input: a net_hdr, then the frame.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "net/offload.h"
#include "net/packet.h"
#include "net/stall.h"
#include "net/switch.h"

struct bench {
	struct switch_core *core;
	unsigned out;
};

/* Reads every byte, for the sanitizer. */
static void fuzz_out(void *opaque, const struct net_hdr *hdr, uint8_t *frame,
		     size_t len)
{
	volatile uint64_t sum = packet_sum(frame, len, 0);

	(void)sum;
	if (len > NET_FRAME_MAX)
		abort();
}

static void fuzz_port(void *opaque, unsigned port, const struct net_hdr *hdr,
		      uint8_t *frame, size_t len)
{
	fuzz_out(opaque, hdr, frame, len);
}

static struct switch_core *fuzz_switch(void)
{
	struct switch_core *core = switch_new(fuzz_port, NULL);
	struct switch_port_config c[4] = {
		{ 0 }, { .vlan = 10 }, { .trunk = true }, { .mirror = true }
	};

	memset(c[2].carried, 0xff, sizeof(c[2].carried));
	for (int i = 0; i < 4; i++)
		if (!core || switch_add_port(core, &c[i]) != i)
			abort();
	return core;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct switch_core *core;
	struct stalls stalls = { 0 };
	uint8_t probe[STALL_HEAD_MAX];
	struct packet_info info;
	struct packet p;
	struct net_hdr hdr;
	uint8_t *frame;

	if (!core)
		core = fuzz_switch();
	if (len <= sizeof(hdr) || len - sizeof(hdr) > NET_FRAME_MAX)
		return 0;
	memcpy(&hdr, data, sizeof(hdr));
	len -= sizeof(hdr);
	for (unsigned can = 0; can <= NET_CAN_ALL; can += NET_CAN_ALL) {
		frame = malloc(len); /* of just this size */
		memcpy(frame, data + sizeof(hdr), len);
		p = (struct packet){ frame, len };
		for (unsigned port = 0; port < 4; port++)
			switch_frame(core, port, can, &hdr, frame, len);
		if (packet_parse(&p, &info))
			stall_note(&stalls, 0, &p, &info);
		if (stall_probe(&stalls, UINT64_MAX, probe) > STALL_HEAD_MAX)
			abort();
		if (offload_check(&hdr, frame, len) == 0)
			offload_complete(&hdr, frame, len, can, fuzz_out, NULL);
		free(frame);
	}
	return 0;
}

/* Well-formed: ARP, TCP to be cut over IPv4 and IPv6, tagged or not. */
size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	unsigned tag = i & 1 ? 4 : 0, v6 = i & 2, l3 = 14 + tag;
	unsigned l4 = l3 + (v6 ? 40 : 20), len = l4 + 20 + 900;
	uint8_t *f = buf + sizeof(struct net_hdr);
	struct net_hdr hdr = { .flags = NET_HDR_NEEDS_CSUM,
			       .gso_type = v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4,
			       .gso_size = 300,
			       .csum_start = (uint16_t)l4,
			       .csum_offset = TCP_CSUM_AT };

	if (i >= 4 || cap < sizeof(hdr) + len)
		return 0;
	memset(buf, 0, sizeof(hdr) + len);
	memcpy(buf, &hdr, sizeof(hdr));
	f[0] = f[6] = 2;
	f[11] = (uint8_t)i;
	packet_put16(f + 12, ETH_TYPE_VLAN);
	packet_put16(f + 14, 10);
	packet_put16(f + 12 + tag, v6 ? ETH_TYPE_IPV6 : ETH_TYPE_IPV4);
	f[l3] = v6 ? 0x60 : 0x45;
	packet_put16(f + l3 + (v6 ? 4 : 2),
		     (uint16_t)(len - l3 - (v6 ? 40 : 0)));
	f[l3 + (v6 ? 6 : 9)] = IP_PROTO_TCP;
	f[l4 + 12] = 0x50;
	return sizeof(hdr) + len;
}
