/*
 * virtio_net_ctrl.c - the control queue (VIRTIO 1.2, 5.1.6.5) and the filter
 * that it sets.  All in the network's thread.
 */
#include <string.h>

#include "dev/virtio/virtio_net_impl.h"
#include "net/packet.h"

#define CTRL_OK   0
#define CTRL_ERR  1
#define CTRL_HEAD 2 /* class, command */

struct ctrl_command {
	uint8_t class, command;
	uint64_t feature; /* that must have been taken */
	size_t len;       /* of the data; 0: as it comes */
	bool (*run)(struct virtio_net *n, uint8_t command,
		    const struct virtq_chain *chain);
};

/* Data of a command, behind its head. */
static bool ctrl_data(const struct virtq_chain *chain, size_t offset, void *buf,
		      size_t len)
{
	return virtq_read(chain, CTRL_HEAD + offset, buf, len) == len;
}

static bool ctrl_mode(struct virtio_net *n, uint8_t command,
		      const struct virtq_chain *chain)
{
	uint8_t on;

	if (command >= VIRTIO_NET_MODES || !ctrl_data(chain, 0, &on, 1))
		return false;
	n->mode[command] = on != 0;
	return true;
}

/* le32 count, then as many addresses; *at moves behind it. */
static bool ctrl_macs(struct virtio_net_macs *macs,
		      const struct virtq_chain *chain, size_t *at)
{
	uint32_t count;
	size_t len;

	if (!ctrl_data(chain, *at, &count, 4))
		return false;
	*at += 4;
	len = (size_t)count * NET_MAC_LEN;
	if (len > chain->out_len || *at > chain->out_len - len)
		return false;
	macs->overflow = count > VIRTIO_NET_MACS_MAX;
	macs->count = macs->overflow ? 0 : count;
	if (!ctrl_data(chain, *at, macs->mac, macs->count * NET_MAC_LEN))
		return false;
	*at += len;
	return true;
}

static bool ctrl_mac_table(struct virtio_net *n, uint8_t command,
			   const struct virtq_chain *chain)
{
	size_t at = 0;

	return ctrl_macs(&n->uni, chain, &at) &&
	       ctrl_macs(&n->multi, chain, &at);
}

static bool ctrl_mac_addr(struct virtio_net *n, uint8_t command,
			  const struct virtq_chain *chain)
{
	return ctrl_data(chain, 0, n->space.mac, NET_MAC_LEN);
}

static bool ctrl_vlan(struct virtio_net *n, uint8_t command,
		      const struct virtq_chain *chain)
{
	uint16_t vlan;

	if (!ctrl_data(chain, 0, &vlan, 2) || vlan >= VIRTIO_NET_VLANS)
		return false;
	if (command == 0)
		n->vlans[vlan / 32] |= 1u << vlan % 32;
	else
		n->vlans[vlan / 32] &= ~(1u << vlan % 32);
	return true;
}

static bool ctrl_announce(struct virtio_net *n, uint8_t command,
			  const struct virtq_chain *chain)
{
	n->space.status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	return true;
}

static bool ctrl_pairs(struct virtio_net *n, uint8_t command,
		       const struct virtq_chain *chain)
{
	uint16_t pairs;

	if (!ctrl_data(chain, 0, &pairs, 2) || !pairs ||
	    pairs > n->space.max_pairs)
		return false;
	n->pairs = pairs;
	return true;
}

static bool ctrl_offloads(struct virtio_net *n, uint8_t command,
			  const struct virtq_chain *chain)
{
	uint64_t offloads;

	if (!ctrl_data(chain, 0, &offloads, 8) || offloads & ~n->vd.features)
		return false;
	n->offloads = offloads;
	virtio_net_set_can(n);
	return true;
}

static const struct ctrl_command ctrl_commands[] = {
	{ 0, 0, VIRTIO_NET_F_CTRL_RX, 1, ctrl_mode },
	{ 0, 1, VIRTIO_NET_F_CTRL_RX, 1, ctrl_mode },
	{ 0, 2, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, ctrl_mode },
	{ 0, 3, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, ctrl_mode },
	{ 0, 4, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, ctrl_mode },
	{ 0, 5, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, ctrl_mode },
	{ 1, 0, VIRTIO_NET_F_CTRL_RX, 0, ctrl_mac_table },
	{ 1, 1, VIRTIO_NET_F_CTRL_MAC, 6, ctrl_mac_addr },
	{ 2, 0, VIRTIO_NET_F_CTRL_VLAN, 2, ctrl_vlan },
	{ 2, 1, VIRTIO_NET_F_CTRL_VLAN, 2, ctrl_vlan },
	{ 3, 0, VIRTIO_NET_F_ANNOUNCE, 0, ctrl_announce },
	{ 4, 0, VIRTIO_NET_F_MQ, 2, ctrl_pairs },
	{ 5, 0, VIRTIO_NET_F_GUEST_OFFLOADS, 8, ctrl_offloads },
};

#define CTRL_COMMANDS (sizeof(ctrl_commands) / sizeof(ctrl_commands[0]))

static uint8_t ctrl_one(struct virtio_net *n, const struct virtq_chain *chain)
{
	uint8_t head[CTRL_HEAD];

	if (virtq_read(chain, 0, head, sizeof(head)) != sizeof(head))
		return CTRL_ERR;
	for (size_t i = 0; i < CTRL_COMMANDS; i++) {
		const struct ctrl_command *c = &ctrl_commands[i];

		if (c->class != head[0] || c->command != head[1])
			continue;
		if (!virtio_has(&n->vd, c->feature) ||
		    (c->len && chain->out_len != CTRL_HEAD + c->len))
			return CTRL_ERR;
		return c->run(n, head[1], chain) ? CTRL_OK : CTRL_ERR;
	}
	return CTRL_ERR;
}

void virtio_net_ctrl_run(struct virtio_net *n)
{
	bool mq = virtio_has(&n->vd, VIRTIO_NET_F_MQ);
	struct virtq *q = n->vd.queue[mq ? 2 * n->space.max_pairs : 2];
	uint8_t ack;

	if (!virtio_has(&n->vd, VIRTIO_NET_F_CTRL_VQ))
		return;
	do {
		virtq_disable_notify(q);
		while (virtq_pop(q, &n->chain) == 1) {
			ack = ctrl_one(n, &n->chain);
			virtq_push(
				q, &n->chain,
				(uint32_t)virtq_write(&n->chain, 0, &ack, 1));
		}
	} while (!virtq_enable_notify(q));
	virtq_interrupt(q);
}

/* --- The filter ----------------------------------------------------------- */

static bool ctrl_listed(const struct virtio_net_macs *macs, const uint8_t *mac)
{
	for (uint32_t i = 0; i < macs->count; i++)
		if (!memcmp(macs->mac[i], mac, NET_MAC_LEN))
			return true;
	return macs->overflow;
}

static bool ctrl_vlan_passes(const struct virtio_net *n,
			     const struct packet_info *i)
{
	return !i->tagged || !virtio_has(&n->vd, VIRTIO_NET_F_CTRL_VLAN) ||
	       n->vlans[i->vlan / 32] >> i->vlan % 32 & 1;
}

bool virtio_net_accepts(const struct virtio_net *n, uint8_t *frame, size_t len)
{
	const struct packet p = { frame, len };
	struct packet_info i;

	if (n->mode[VIRTIO_NET_PROMISC])
		return true;
	if (!packet_parse(&p, &i) || !ctrl_vlan_passes(n, &i))
		return false;
	if (packet_is_broadcast(frame))
		return !n->mode[VIRTIO_NET_NOBCAST];
	if (packet_is_group(frame))
		return !n->mode[VIRTIO_NET_NOMULTI] &&
		       (n->mode[VIRTIO_NET_ALLMULTI] ||
			ctrl_listed(&n->multi, frame));
	return !n->mode[VIRTIO_NET_NOUNI] &&
	       (n->mode[VIRTIO_NET_ALLUNI] ||
		!memcmp(n->space.mac, frame, NET_MAC_LEN) ||
		ctrl_listed(&n->uni, frame));
}

void virtio_net_ctrl_reset(struct virtio_net *n)
{
	memset(n->mode, 0, sizeof(n->mode));
	n->mode[VIRTIO_NET_PROMISC] = 1;
	n->uni = n->multi = (struct virtio_net_macs){ 0 };
	memset(n->vlans, 0, sizeof(n->vlans));
}

static void ctrl_walk_macs(struct virtio_net_macs *macs, struct walk *w,
			   const char *count, const char *overflow,
			   const char *list)
{
	walk_u32(w, count, &macs->count);
	walk_bool(w, overflow, &macs->overflow);
	walk_bytes(w, list, macs->mac, sizeof(macs->mac));
	if (macs->count > VIRTIO_NET_MACS_MAX)
		macs->count = 0;
}

void virtio_net_ctrl_walk(struct virtio_net *n, struct walk *w)
{
	walk_bytes(w, "mode", n->mode, sizeof(n->mode));
	ctrl_walk_macs(&n->uni, w, "uni_count", "uni_overflow", "uni");
	ctrl_walk_macs(&n->multi, w, "multi_count", "multi_overflow", "multi");
	walk_u32s(w, "vlans", n->vlans, VIRTIO_NET_VLANS / 32);
}
