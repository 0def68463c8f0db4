/*
 * virtio_net.c - virtio-net's rings (VIRTIO 1.2, 5.1.6).
 *
 * Theory of operation
 *
 * The network's thread is the only one that touches rings; it comes when a
 * notification has kicked it.  While it works, notifications are off, so that
 * a guest that keeps sending does not exit for each frame.
 *
 * A frame from the guest is copied once, out of the driver's hands, then
 * checked by the link.  A frame for the guest goes into one chain, or with
 * mergeable buffers into as many as it needs, all or none: where too few are
 * there they are taken back and the link keeps the frame (-EAGAIN) until a
 * notification says that the driver gave more.
 *
 * With several pairs, what comes in goes to the pair on which the guest sends
 * that flow (5.1.6.5.6), so that one of its processors sees both ways.
 */
#include "dev/virtio/virtio_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/virtio_net_impl.h"
#include "net/packet.h"

#define VIRTIO_NET_QUEUE_SIZE 256
#define VIRTIO_NET_BUDGET     64 /* frames of a queue, then others' turn */

/* Before each frame (5.1.6); num_buffers is ours to fill in, receiving. */
struct virtio_net_hdr {
	struct net_hdr net;
	uint16_t num_buffers;
};
_Static_assert(sizeof(struct virtio_net_hdr) == 12, "5.1.6");

#define VIRTIO_NET_HLEN sizeof(struct virtio_net_hdr)

/* --- Sending -------------------------------------------------------------- */

static uint8_t virtio_net_flow(uint8_t *frame, size_t len, bool out)
{
	const struct packet p = { frame, len };
	struct packet_info i;
	uint32_t hash;

	if (!packet_parse(&p, &i) || !i.payload)
		return 0;
	/* The same for both ways: ports added, not in order. */
	hash = packet_get16(frame + i.l4) + packet_get16(frame + i.l4 + 2);
	return (uint8_t)(hash ^ hash >> 8);
}

static void virtio_net_send(struct virtio_net *n, struct virtq *q,
			    unsigned pair)
{
	struct virtq_chain *chain = &n->chain;
	struct virtio_net_hdr hdr;
	size_t len = chain->out_len - VIRTIO_NET_HLEN;
	bool good;

	if (chain->out_len < VIRTIO_NET_HLEN) {
		virtq_break(q);
		return;
	}
	good = len <= sizeof(n->frame);
	if (good) {
		virtq_read(chain, 0, &hdr, sizeof(hdr));
		virtq_read(chain, VIRTIO_NET_HLEN, n->frame, len);
	}
	virtq_push(q, chain, 0);
	if (!good)
		return;
	if (n->pairs > 1)
		n->flow[virtio_net_flow(n->frame, len, true)] = (uint8_t)pair;
	net_send(n->link, &hdr.net, n->frame, len); /* malformed: dropped */
}

/* True: there may be more, but others are to have their turn. */
static bool virtio_net_send_queue(struct virtio_net *n, unsigned pair)
{
	struct virtq *q = n->vd.queue[2 * pair + 1];
	unsigned count = 0;

	do {
		virtq_disable_notify(q);
		while (net_room(n->link)) {
			if (count == VIRTIO_NET_BUDGET)
				return true;
			if (virtq_pop(q, &n->chain) != 1)
				break;
			virtio_net_send(n, q, pair);
			count++;
		}
		if (!net_room(n->link))
			break; /* the link calls again; it needs no notice */
	} while (!virtq_enable_notify(q));
	virtq_interrupt(q);
	return false;
}

static void virtio_net_transmit(void *opaque)
{
	struct virtio_net *n = opaque;
	bool more = false;

	if (!n->running)
		return;
	virtio_net_ctrl_run(n);
	/* Also what waits in a pair that has just been laid off. */
	for (unsigned i = 0; i < n->space.max_pairs; i++)
		more |= virtio_net_send_queue(n, i);
	if (more)
		net_kick(n->link);
}

/* --- Receiving ------------------------------------------------------------ */

/* Chains that hold `need` bytes: their count; 0: too few; -1: never. */
static int virtio_net_take(struct virtio_net *n, struct virtq *q, size_t need)
{
	bool merge = virtio_has(&n->vd, VIRTIO_NET_F_MRG_RXBUF);
	unsigned max = merge ? VIRTIO_NET_RX_CHAINS : 1, count = 0;
	size_t have = 0;

	while (have < need && count < max) {
		int rc = virtq_pop(q, &n->rx[count]);

		if (rc < 0)
			return -1;
		if (rc > 0) {
			have += n->rx[count++].in_len;
		} else if (virtq_enable_notify(q)) {
			/* Asked while all are popped: it tells of one more. */
			virtq_unpop(q, count);
			return 0;
		}
	}
	if (have >= need && n->rx[0].in_len >= VIRTIO_NET_HLEN)
		return (int)count;
	virtq_unpop(q, count); /* buffers too small for this frame */
	return -1;
}

static void virtio_net_fill(struct virtio_net *n, unsigned count,
			    const struct net_hdr *net, const uint8_t *frame,
			    size_t len)
{
	struct virtio_net_hdr hdr = { *net, (uint16_t)count };
	size_t at = VIRTIO_NET_HLEN, written;

	virtq_write(&n->rx[0], 0, &hdr, sizeof(hdr));
	for (unsigned i = 0; i < count; i++) {
		written = virtq_write(&n->rx[i], at, frame, len);
		n->rx_written[i] = (uint32_t)(at + written);
		frame += written;
		len -= written;
		at = 0;
	}
}

static int virtio_net_receive(void *opaque, const struct net_hdr *hdr,
			      const uint8_t *frame, size_t len)
{
	struct virtio_net *n = opaque;
	unsigned pair = 0;
	struct virtq *q;
	int count;

	if (!n->running || !virtio_net_accepts(n, (uint8_t *)frame, len))
		return 0;
	if (n->pairs > 1)
		pair = n->flow[virtio_net_flow((uint8_t *)frame, len, false)] %
		       n->pairs;
	q = n->vd.queue[2 * pair];
	count = virtio_net_take(n, q, VIRTIO_NET_HLEN + len);
	if (count == 0) {
		n->rx_waits[pair] = true;
		return -EAGAIN;
	}
	if (n->rx_waits[pair])
		virtq_disable_notify(q);
	n->rx_waits[pair] = false;
	if (count < 0)
		return 0;
	virtio_net_fill(n, (unsigned)count, hdr, frame, len);
	virtq_push_many(q, n->rx, n->rx_written, (unsigned)count);
	n->rx_pushed[pair] = true;
	return 0;
}

static void virtio_net_received(void *opaque)
{
	struct virtio_net *n = opaque;

	for (unsigned i = 0; i < n->space.max_pairs; i++) {
		if (n->rx_pushed[i])
			virtq_interrupt(n->vd.queue[2 * i]);
		n->rx_pushed[i] = false;
	}
}

static void virtio_net_link(void *opaque, bool up)
{
	struct virtio_net *n = opaque;
	uint16_t old = n->space.status;

	n->space.status &= (uint16_t)~VIRTIO_NET_S_LINK_UP;
	n->space.status |= up ? VIRTIO_NET_S_LINK_UP : 0;
	if (n->space.status != old)
		virtio_config_changed(&n->vd);
}

static const struct net_nic_ops virtio_net_nic = {
	.receive = virtio_net_receive,
	.received = virtio_net_received,
	.transmit = virtio_net_transmit,
	.link = virtio_net_link,
};

/* --- From the driver ------------------------------------------------------ */

void virtio_net_set_can(struct virtio_net *n)
{
	static const struct {
		uint64_t feature;
		unsigned can;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, NET_CAN_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, NET_CAN_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, NET_CAN_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, NET_CAN_ECN },
	};
	unsigned can = 0;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (n->offloads & map[i].feature)
			can |= map[i].can;
	net_set_can(n->link, can);
}

/* 5.1.3.1 leaves no offload without the checksum's. */
static void virtio_net_driver_ok(struct virtio_dev *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	net_pause(n->link);
	n->offloads = 0;
	if (virtio_has(vd, VIRTIO_NET_F_GUEST_CSUM))
		n->offloads = vd->features;
	virtio_net_set_can(n);
	n->running = true;
	net_resume(n->link);
}

static void virtio_net_notify(struct virtio_dev *vd, unsigned queue)
{
	net_kick(((struct virtio_net *)vd)->link);
}

static int virtio_net_notify_fd(struct virtio_dev *vd, unsigned queue)
{
	return net_kick_fd(((struct virtio_net *)vd)->link);
}

static void virtio_net_forget(struct virtio_net *n)
{
	n->running = false;
	n->pairs = 1;
	n->offloads = 0;
	memcpy(n->space.mac, n->own_mac, NET_MAC_LEN);
	n->space.status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
	memset(n->flow, 0, sizeof(n->flow));
	memset(n->rx_waits, 0, sizeof(n->rx_waits));
	memset(n->rx_pushed, 0, sizeof(n->rx_pushed));
	virtio_net_ctrl_reset(n);
}

static void virtio_net_reset(struct virtio_dev *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	net_pause(n->link);
	virtio_net_forget(n);
	net_resume(n->link);
}

/* --- Saving --------------------------------------------------------------- */

/*
 * The network stops until guest time goes on: timers of the loop do not run
 * while the guest is paused, so this one is the first sign that it is not.
 */
static void virtio_net_drain(struct virtio_dev *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	pthread_mutex_lock(&n->lock);
	if (!n->drained)
		net_pause(n->link);
	n->drained = true;
	pthread_mutex_unlock(&n->lock);
	timer_arm(&n->resume, vclock_now(vd->env->clock));
}

static void virtio_net_on_resume(void *opaque)
{
	struct virtio_net *n = opaque;

	pthread_mutex_lock(&n->lock);
	if (n->drained)
		net_resume(n->link);
	n->drained = false;
	pthread_mutex_unlock(&n->lock);
}

static void virtio_net_restored(struct virtio_net *n, struct walk *w)
{
	if (!n->pairs || n->pairs > n->space.max_pairs)
		walk_fail(w, "virtio-net: %u pairs are not possible", n->pairs);
	if (n->offloads & ~n->vd.features)
		walk_fail(w, "virtio-net: offloads that were not agreed on");
	if (n->pairs > n->space.max_pairs)
		n->pairs = 1;
	memset(n->rx_waits, 0, sizeof(n->rx_waits));
	virtio_net_set_can(n);
	if (!n->running || !virtio_has(&n->vd, VIRTIO_NET_F_ANNOUNCE))
		return;
	/* It may be elsewhere now: switches are to learn where (5.1.6.5.4) */
	n->space.status |= VIRTIO_NET_S_ANNOUNCE;
	virtio_config_changed(&n->vd);
}

static void virtio_net_walk(struct virtio_dev *vd, struct walk *w)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	net_pause(n->link);
	if (walk_section(w, "virtio-net", vd->instance, 1)) {
		walk_bool(w, "running", &n->running);
		walk_bytes(w, "mac", n->space.mac, NET_MAC_LEN);
		walk_u16(w, "status", &n->space.status);
		walk_u16(w, "pairs", &n->pairs);
		walk_u64(w, "offloads", &n->offloads);
		walk_bytes(w, "flow", n->flow, sizeof(n->flow));
		virtio_net_ctrl_walk(n, w);
		walk_end(w);
		if (walk_restoring(w))
			virtio_net_restored(n, w);
	}
	net_resume(n->link);
}

/* --- Life ----------------------------------------------------------------- */

static void virtio_net_free(struct virtio_dev *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	timer_disarm(&n->resume);
	net_close(n->link);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

static const struct virtio_ops virtio_net_ops = {
	.driver_ok = virtio_net_driver_ok,
	.notify = virtio_net_notify,
	.notify_fd = virtio_net_notify_fd,
	.reset = virtio_net_reset,
	.drain = virtio_net_drain,
	.walk = virtio_net_walk,
	.free = virtio_net_free,
};

#define VIRTIO_NET_OFFERED                                                     \
	(VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM |                         \
	 VIRTIO_NET_F_GUEST_OFFLOADS | VIRTIO_NET_F_MAC |                      \
	 VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 |                   \
	 VIRTIO_NET_F_GUEST_ECN | VIRTIO_NET_F_HOST_TSO4 |                     \
	 VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |                      \
	 VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_CTRL_VQ | \
	 VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_VLAN |                       \
	 VIRTIO_NET_F_CTRL_RX_EXTRA | VIRTIO_NET_F_ANNOUNCE |                  \
	 VIRTIO_NET_F_CTRL_MAC)

static void virtio_net_init(struct virtio_net *n, struct dev_env *env,
			    const struct virtio_net_config *config)
{
	n->vd = (struct virtio_dev){
		.ops = &virtio_net_ops,
		.name = "virtio-net",
		.env = env,
		.id = VIRTIO_ID_NET,
		.class_code = 0x020000,
		.offered = VIRTIO_NET_OFFERED |
			   (config->pairs > 1 ? VIRTIO_NET_F_MQ : 0),
		.queue_count = 2 * config->pairs + 1,
		.queue_size = VIRTIO_NET_QUEUE_SIZE,
		.config = (uint8_t *)&n->space,
		.config_size = sizeof(n->space),
	};
	n->space.status = VIRTIO_NET_S_LINK_UP;
	n->space.max_pairs = (uint16_t)config->pairs;
	memcpy(n->own_mac, config->mac, NET_MAC_LEN);
	pthread_mutex_init(&n->lock, NULL);
	timer_init(&n->resume, env->loop, virtio_net_on_resume, n);
	virtio_net_forget(n);
}

int virtio_net_new(struct virtio_dev **out, struct dev_env *env,
		   const struct virtio_net_config *config,
		   struct net_link *link, struct err *err)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	int rc;

	if (!n) {
		net_close(link);
		return err_set(err, ENOMEM, "out of memory");
	}
	n->link = link;
	virtio_net_init(n, env, config);
	rc = net_attach(link, &virtio_net_nic, n, err);
	if (rc < 0)
		virtio_net_free(&n->vd);
	else
		*out = &n->vd;
	return rc;
}
