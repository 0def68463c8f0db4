/*
 * e1000_ring.c - the 82540's descriptors (SDM 3).
 *
 * Theory of operation
 *
 * The network's thread runs both rings, after a write to a tail register has
 * kicked it.  The lock is held while descriptors are read and written, and
 * given back for each net_send(), which may come back as receive().  So all
 * of a ring's state is in the registers and the device, and is looked at anew
 * after each frame: the guest may have reset the card meanwhile.
 *
 * Descriptors and what they point to are hostile.  Addresses go through
 * mem_read() and mem_write(); what is not RAM reads as nothing.  A turn takes
 * at most RING_BUDGET descriptors.
 */
#include <errno.h>
#include <string.h>

#include "dev/e1000/e1000_impl.h"
#include "net/packet.h"

#define RING_BUDGET 256
#define RING_FCS    4
#define RING_MIN    60 /* without FCS: shorter frames are padded */
#define RING_MAX    1518

#define TX_EOP       0x01 /* commands (SDM 3.3.3, 3.3.7) */
#define TX_TSE       0x04
#define TX_RS        0x08
#define TX_DEXT      0x20
#define TX_VLE       0x40
#define TX_LEGACY_IC 0x04
#define TX_POPT_IXSM 0x01
#define TX_POPT_TXSM 0x02
#define TX_TUCMD_TCP 0x01
#define TX_TUCMD_IP  0x02

#define RX_DD   0x01
#define RX_EOP  0x02
#define RX_IXSM 0x04
#define RX_VP   0x08

/* Any descriptor: sixteen bytes, of which two words of eight. */
struct ring_desc {
	uint64_t addr;
	uint64_t rest;
};

struct ring {
	uint64_t base;
	uint32_t count, head, tail;
};

static struct ring ring_of(struct e1000 *e, unsigned first)
{
	struct ring r = {
		.base = (*e1000_reg(e, first) & ~15u) |
			(uint64_t)*e1000_reg(e, first + 4) << 32,
		.count = (*e1000_reg(e, first + 8) & 0xfff80) / 16,
		.head = *e1000_reg(e, first + 0x10) & 0xffff,
		.tail = *e1000_reg(e, first + 0x18) & 0xffff,
	};

	/* Outside the ring: as if it were empty. */
	if (r.head >= r.count || r.tail >= r.count)
		r.head = r.tail = 0;
	return r;
}

static void ring_read(struct e1000 *e, const struct ring *r, uint32_t n,
		      struct ring_desc *d)
{
	if (mem_read(e->env->mem, r->base + n * 16ull, d, sizeof(*d)) < 0)
		memset(d, 0, sizeof(*d));
}

/* --- Sending -------------------------------------------------------------- */

/* SDM 3.3.6 */
static void tx_context(struct e1000 *e, const struct ring_desc *d)
{
	uint8_t tucmd = (uint8_t)(d->rest >> 24);

	e->context[(tucmd & TX_TSE) != 0] = (struct e1000_context){
		.ipcss = (uint8_t)d->addr,
		.ipcso = (uint8_t)(d->addr >> 8),
		.ipcse = (uint16_t)(d->addr >> 16),
		.tucss = (uint8_t)(d->addr >> 32),
		.tucso = (uint8_t)(d->addr >> 40),
		.mss = (uint16_t)(d->rest >> 48),
		.tucmd = tucmd,
	};
}

static void tx_append(struct e1000 *e, const struct ring_desc *d, uint32_t len)
{
	if (len > NET_FRAME_MAX - e->tx_len) {
		e->tx_skip = true;
		return;
	}
	if (mem_read(e->env->mem, d->addr, e->tx_frame + e->tx_len, len) < 0)
		e->tx_skip = true;
	e->tx_len += len;
}

/* Bytes [start, end] of the frame, if they are there, summed into `at`. */
static void tx_ip_checksum(struct e1000 *e, const struct e1000_context *c)
{
	size_t end = c->ipcse ? c->ipcse + 1u : e->tx_len;
	uint8_t *f = e->tx_frame;

	if (end > e->tx_len || c->ipcss >= end || c->ipcso + 2u > e->tx_len)
		return;
	packet_put16(f + c->ipcso, 0);
	packet_put16(f + c->ipcso,
		     packet_fold(packet_sum(f + c->ipcss, end - c->ipcss, 0)));
}

/*
 * The driver leaves lengths out of the headers and of the checksum's start,
 * as hardware fills them in for each segment (SDM 3.5.5); a whole frame has
 * its own.
 */
static void tx_whole(struct e1000 *e, struct net_hdr *hdr)
{
	const struct packet p = { e->tx_frame, e->tx_len };
	const struct e1000_context *c = &e->context[1];
	uint8_t *ip = packet_at(&p, c->ipcss, 40);
	struct packet_info i;

	if (!ip)
		return;
	if (c->tucmd & TX_TUCMD_IP)
		packet_put16(ip + 2, (uint16_t)(e->tx_len - c->ipcss));
	else
		packet_put16(ip + 4, (uint16_t)(e->tx_len - c->ipcss - 40));
	if (!packet_parse(&p, &i) || !i.payload || i.l4 != c->tucss ||
	    i.protocol != IP_PROTO_TCP)
		return; /* the link refuses what this makes of it */
	if (i.ip == 4)
		packet_ipv4_checksum(p.data + i.l3, i.l4 - i.l3);
	packet_put16(p.data + i.l4 + TCP_CSUM_AT,
		     (uint16_t)~packet_fold(
			     packet_pseudo_sum(&p, &i, p.len - i.l4)));
	/* One that needs no cutting is none to be cut. */
	if (p.len - i.payload <= c->mss)
		return;
	hdr->gso_type = i.ip == 4 ? NET_GSO_TCPV4 : NET_GSO_TCPV6;
	hdr->gso_size = c->mss;
}

static void tx_checksum_at(struct net_hdr *hdr, unsigned start, unsigned at)
{
	if (at < start)
		return;
	hdr->flags = NET_HDR_NEEDS_CSUM;
	hdr->csum_start = (uint16_t)start;
	hdr->csum_offset = (uint16_t)(at - start);
}

static struct net_hdr tx_offload(struct e1000 *e)
{
	bool tse = e->tx_dcmd & TX_DEXT && e->tx_dcmd & TX_TSE;
	const struct e1000_context *c = &e->context[tse];
	struct net_hdr hdr = { 0 };

	if (!(e->tx_dcmd & TX_DEXT))
		return hdr;
	if (e->tx_popts & TX_POPT_TXSM)
		tx_checksum_at(&hdr, c->tucss, c->tucso);
	if (tse)
		tx_whole(e, &hdr);
	else if (e->tx_popts & TX_POPT_IXSM)
		tx_ip_checksum(e, c);
	return hdr;
}

/* SDM 3.3.5: the tag goes in behind the addresses. */
static void tx_insert_tag(struct e1000 *e, struct net_hdr *hdr, uint16_t tag)
{
	uint8_t *f = e->tx_frame;

	if (e->tx_len < ETH_HLEN_MIN)
		return;
	memmove(f + 16, f + 12, e->tx_len - 12);
	packet_put16(f + 12, ETH_TYPE_VLAN);
	packet_put16(f + 14, tag);
	e->tx_len += 4;
	if (hdr->flags)
		hdr->csum_start += 4;
}

/* Loopback, in the MAC or the PHY (SDM 13.4.22, 13.4.7.1). */
static bool tx_comes_back(struct e1000 *e)
{
	return (*e1000_reg(e, E1000_RCTL) & E1000_RCTL_LBM) == E1000_RCTL_LBM ||
	       e->phy[0] & E1000_PHY_LOOPBACK;
}

static int ring_receive(void *opaque, const struct net_hdr *hdr,
			const uint8_t *frame, size_t len);

/* The last descriptor of a frame.  With the lock held; gives it back once. */
static void tx_send(struct e1000 *e, const struct ring_desc *d)
{
	uint8_t cmd = (uint8_t)(d->rest >> 24), cso = (uint8_t)(d->rest >> 16);
	uint8_t css = (uint8_t)(d->rest >> 40);
	struct net_hdr hdr = tx_offload(e);

	if (!(cmd & TX_DEXT) && cmd & TX_LEGACY_IC)
		tx_checksum_at(&hdr, css, cso);
	if (cmd & TX_VLE)
		tx_insert_tag(e, &hdr, (uint16_t)(d->rest >> 48));
	if (e->tx_skip || e->tx_len < ETH_HLEN_MIN)
		return;
	e1000_count_sent(e, e->tx_frame, e->tx_len);
	bool back = tx_comes_back(e);
	pthread_mutex_unlock(&e->lock);
	/* tx_frame and tx_len are this thread's alone. */
	if (back)
		ring_receive(e, &hdr, e->tx_frame, e->tx_len);
	else
		net_send(e->link, &hdr, e->tx_frame, e->tx_len);
	pthread_mutex_lock(&e->lock);
}

/* True: a frame ends here. */
static bool tx_take(struct e1000 *e, const struct ring_desc *d)
{
	uint8_t cmd = (uint8_t)(d->rest >> 24);
	bool extended = cmd & TX_DEXT;
	unsigned type = extended ? (unsigned)(d->rest >> 20) & 15 : 0;

	if (extended && type == 0) {
		tx_context(e, d);
		return false;
	}
	if (!e->tx_started) {
		e->tx_started = true;
		e->tx_skip = false;
		e->tx_len = 0;
		e->tx_dcmd = cmd;
		e->tx_popts = (uint8_t)(d->rest >> 40);
	}
	tx_append(e, d, (uint32_t)d->rest & (extended ? 0xfffff : 0xffff));
	return cmd & TX_EOP;
}

static bool tx_one(struct e1000 *e, uint32_t *causes)
{
	struct ring r = ring_of(e, E1000_TDBAL);
	uint32_t next;
	struct ring_desc d;
	bool ends;

	if (!(*e1000_reg(e, E1000_TCTL) & E1000_TCTL_EN) || r.head == r.tail ||
	    !pci_is_master(&e->pci))
		return false;
	ring_read(e, &r, r.head, &d);
	next = r.head + 1 == r.count ? 0 : r.head + 1;
	ends = tx_take(e, &d);
	if (d.rest >> 24 & TX_RS) {
		uint8_t status = 1; /* DD */

		mem_write(e->env->mem, r.base + r.head * 16ull + 12, &status,
			  1);
		*causes |= E1000_TXDW;
	}
	*e1000_reg(e, E1000_TDH) = next;
	if (next == r.tail)
		*causes |= E1000_TXQE;
	if (ends) {
		tx_send(e, &d);
		e->tx_started = false;
	}
	return true;
}

static void ring_transmit(void *opaque)
{
	struct e1000 *e = opaque;
	uint32_t causes = 0;
	unsigned n = 0;

	pthread_mutex_lock(&e->lock);
	while (n < RING_BUDGET && net_room(e->link) && tx_one(e, &causes))
		n++;
	if (e->rx_new) /* by loopback */
		causes |= E1000_RXT0;
	e->rx_new = false;
	if (causes)
		e1000_interrupt(e, causes);
	pthread_mutex_unlock(&e->lock);
	if (n == RING_BUDGET)
		net_kick(e->link);
}

/* --- Receiving ------------------------------------------------------------ */

/* SDM 3.2.1.1: sixteen exact addresses, and a table of 4096 hash bits. */
static bool rx_wants_mac(struct e1000 *e, const uint8_t *mac)
{
	uint32_t rctl = *e1000_reg(e, E1000_RCTL), low, high;
	static const uint8_t shift[4] = { 4, 3, 2, 0 };
	unsigned hash;

	if (packet_is_group(mac) ? rctl & E1000_RCTL_MPE
				 : rctl & E1000_RCTL_UPE)
		return true;
	if (packet_is_broadcast(mac) && rctl & E1000_RCTL_BAM)
		return true;
	memcpy(&low, mac, 4);
	high = mac[4] | (uint32_t)mac[5] << 8 | 1u << 31;
	for (unsigned i = 0; i < 16; i++)
		if (*e1000_reg(e, E1000_RAL + i * 8) == low &&
		    (*e1000_reg(e, E1000_RAL + i * 8 + 4) & 0x8000ffff) == high)
			return true;
	hash = (unsigned)(mac[4] | mac[5] << 8) >> shift[rctl >> 12 & 3] &
	       0xfff;
	return packet_is_group(mac) &&
	       *e1000_reg(e, E1000_MTA + hash / 32 * 4) >> hash % 32 & 1;
}

static bool rx_wants(struct e1000 *e, const uint8_t *frame, size_t len)
{
	const struct packet p = { (uint8_t *)frame, len };
	uint32_t rctl = *e1000_reg(e, E1000_RCTL);
	struct packet_info i;

	if (!(rctl & E1000_RCTL_EN) || !pci_is_master(&e->pci) ||
	    !packet_parse(&p, &i))
		return false;
	if (len > RING_MAX && !(rctl & E1000_RCTL_LPE))
		return false;
	if (i.tagged && rctl & E1000_RCTL_VFE &&
	    !(*e1000_reg(e, E1000_VFTA + i.vlan / 32 * 4) >> i.vlan % 32 & 1))
		return false;
	return rx_wants_mac(e, frame);
}

/* SDM 13.4.22, BSIZE and BSEX */
static uint32_t rx_buffer_size(struct e1000 *e)
{
	uint32_t rctl = *e1000_reg(e, E1000_RCTL);
	unsigned bsize = rctl >> 16 & 3;

	if (rctl & E1000_RCTL_BSEX && bsize)
		return 32768u >> bsize;
	return 2048u >> bsize;
}

/* A frame as the guest is to see it. */
struct rx_frame {
	uint8_t data[NET_FRAME_MAX + RING_FCS];
	uint32_t len;
	uint16_t special;
	uint8_t status;
};

/* With the tag taken out, padded, and with a place for the FCS. */
static void rx_prepare(struct e1000 *e, struct rx_frame *out,
		       const uint8_t *frame, size_t len)
{
	bool strip = *e1000_reg(e, E1000_CTRL) & E1000_CTRL_VME && len >= 16 &&
		     packet_get16(frame + 12) == ETH_TYPE_VLAN;
	size_t tag = strip ? 4 : 0;

	memcpy(out->data, frame, 12);
	memcpy(out->data + 12, frame + 12 + tag, len - 12 - tag);
	out->len = (uint32_t)(len - tag);
	out->special = strip ? packet_get16(frame + 14) : 0;
	out->status = RX_DD | RX_IXSM | (strip ? RX_VP : 0);
	if (out->len < RING_MIN) {
		memset(out->data + out->len, 0, RING_MIN - out->len);
		out->len = RING_MIN;
	}
	if (*e1000_reg(e, E1000_RCTL) & E1000_RCTL_CRC)
		return;
	memset(out->data + out->len, 0, RING_FCS);
	out->len += RING_FCS;
}

static void rx_put(struct e1000 *e, const struct ring *r, uint32_t at,
		   const struct rx_frame *f, uint32_t offset, uint32_t n)
{
	bool last = offset + n == f->len;
	struct ring_desc d;

	ring_read(e, r, at, &d);
	mem_write(e->env->mem, d.addr, f->data + offset, n);
	d.rest = n | (uint64_t)(f->status | (last ? RX_EOP : 0)) << 32 |
		 (uint64_t)f->special << 48;
	mem_write(e->env->mem, r->base + at * 16ull, &d, sizeof(d));
}

static int rx_fill(struct e1000 *e, const struct rx_frame *f)
{
	struct ring r = ring_of(e, E1000_RDBAL);
	uint32_t size = rx_buffer_size(e), at = r.head;
	uint32_t need = (f->len + size - 1) / size;
	uint32_t free = r.count ? (r.tail + r.count - r.head) % r.count : 0;

	if (free < need)
		return -EAGAIN;
	for (uint32_t offset = 0; offset < f->len; offset += size) {
		uint32_t n = f->len - offset < size ? f->len - offset : size;

		rx_put(e, &r, at, f, offset, n);
		at = at + 1 == r.count ? 0 : at + 1;
	}
	*e1000_reg(e, E1000_RDH) = at;
	return 0;
}

static int ring_receive(void *opaque, const struct net_hdr *hdr,
			const uint8_t *frame, size_t len)
{
	struct e1000 *e = opaque;
	struct rx_frame f;
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	if (rx_wants(e, frame, len)) {
		rx_prepare(e, &f, frame, len);
		rc = rx_fill(e, &f);
		e->rx_new |= rc == 0;
		if (rc == 0)
			e1000_count_received(e, frame, len);
		else
			e1000_count_missed(e);
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

static void ring_received(void *opaque)
{
	struct e1000 *e = opaque;

	pthread_mutex_lock(&e->lock);
	if (e->rx_new)
		e1000_interrupt(e, E1000_RXT0);
	e->rx_new = false;
	pthread_mutex_unlock(&e->lock);
}

static void ring_link(void *opaque, bool up)
{
	struct e1000 *e = opaque;

	pthread_mutex_lock(&e->lock);
	*e1000_reg(e, E1000_STATUS) &= ~2u;
	*e1000_reg(e, E1000_STATUS) |= up ? 2 : 0;
	e->phy[1] = (uint16_t)((e->phy[1] & ~4) | (up ? 4 : 0));
	e1000_interrupt(e, E1000_LSC);
	pthread_mutex_unlock(&e->lock);
}

const struct net_nic_ops e1000_nic = {
	.receive = ring_receive,
	.received = ring_received,
	.transmit = ring_transmit,
	.link = ring_link,
};
