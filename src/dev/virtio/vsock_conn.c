/*
 * vsock_conn.c - connections as the guest sees them (VIRTIO 1.2, 5.10.6).
 *
 * Theory of operation
 *
 * A connection is a pair of ports.  A packet from the guest finds it by them
 * and goes to the operation's function in a table; whatever does not fit the
 * connection's state, or lies about lengths or credit, resets it, and a
 * packet for no connection is answered with RST.
 *
 * Credit (5.10.6.3).  Each side says in every packet how large its buffer is
 * (buf_alloc) and how many bytes it has passed on in all (fwd_cnt); the other
 * side never has more than the buffer's size on its way.  Ours is VSOCK_BUF;
 * a guest that sends more is reset.  We tell of a quarter that became free.
 * The guest's counters are held against what we have sent, and older ones
 * than we know already are left out: packets of several of its CPUs may
 * overtake each other.
 *
 * To the guest go, in this order: resets (`reply`), then connections in turn
 * (`ready`), one packet each: what is pending, then data straight from the
 * program's socket, which is not read while credit or buffers are missing.
 *
 * Nothing here grows without bound: connections are at most VSOCK_CONNS_MAX;
 * while VSOCK_REPLIES_SOFT resets wait, nothing is taken from the guest and
 * nobody is let in, so that beyond that each connection adds one at most.
 *
 * Deliberately missing: SEQPACKET (a stream of bytes is what every program
 * has for a Unix socket); it is not offered, and answered with RST.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/virtio/vsock_impl.h"

/* More than anybody needs; keeps differences of counters apart. */
#define VSOCK_CREDIT_MAX (1u << 30)

/* --- The table ------------------------------------------------------------ */

static struct vsock_conn **vsock_bucket(struct vsock *v, uint32_t guest_port,
					uint32_t host_port)
{
	uint32_t hash = (guest_port ^ host_port * 31) * 0x9e3779b1u;

	return &v->bucket[hash % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_find(struct vsock *v, uint32_t guest_port,
			      uint32_t host_port)
{
	struct vsock_conn *c = *vsock_bucket(v, guest_port, host_port);

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->next;
	return c;
}

void vsock_name(struct vsock *v, struct vsock_conn *c, uint32_t guest_port,
		uint32_t host_port)
{
	struct vsock_conn **bucket = vsock_bucket(v, guest_port, host_port);

	c->guest_port = guest_port;
	c->host_port = host_port;
	c->next = *bucket;
	*bucket = c;
	c->hashed = true;
}

static void vsock_forget_name(struct vsock *v, struct vsock_conn *c)
{
	struct vsock_conn **at = vsock_bucket(v, c->guest_port, c->host_port);

	if (!c->hashed)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->hashed = false;
}

/* Over for the host, and the guest takes its time: these are given up. */
bool vsock_make_room(struct vsock *v)
{
	if (v->count < VSOCK_CONNS_MAX)
		return true;
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		if (v->conn[i]->host_shut == VSOCK_SHUT_BOTH) {
			vsock_reset_conn(v, v->conn[i]);
			return true;
		}
	return false;
}

struct vsock_conn *vsock_open(struct vsock *v, int fd, enum vsock_state state)
{
	struct vsock_conn *c = NULL;
	unsigned slot = 0;

	if (vsock_make_room(v))
		c = calloc(1, sizeof(*c));
	if (!c) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	while (v->conn[slot])
		slot++;
	c->slot = slot;
	c->serial = v->next_serial++;
	c->state = state;
	c->fd = fd;
	v->conn[slot] = c;
	v->count++;
	return c;
}

static void vsock_unready(struct vsock *v, struct vsock_conn *c)
{
	struct vsock_conn **at = &v->ready_first;

	if (!c->ready)
		return;
	while (*at != c)
		at = &(*at)->ready_next;
	*at = c->ready_next;
	if (!*at)
		v->ready_last = at;
	c->ready = false;
}

void vsock_close(struct vsock *v, struct vsock_conn *c)
{
	vsock_unready(v, c);
	vsock_forget_name(v, c);
	if (c->fd >= 0)
		close(c->fd);
	v->conn[c->slot] = NULL;
	v->count--;
	v->acceptable = true; /* there is room for one more */
	free(c->buf);
	free(c);
}

void vsock_close_all(struct vsock *v)
{
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		if (v->conn[i])
			vsock_close(v, v->conn[i]);
	v->reply_count = 0;
}

/* --- Resets --------------------------------------------------------------- */

static void vsock_reply_rst(struct vsock *v, uint64_t cid, uint16_t type,
			    uint32_t guest_port, uint32_t host_port)
{
	unsigned at = (v->reply_first + v->reply_count) % VSOCK_REPLIES;

	if (v->reply_count == VSOCK_REPLIES)
		return; /* never: see above */
	v->reply_count++;
	v->reply[at] = (struct vsock_hdr){
		.src_cid = cid,
		.dst_cid = v->cid,
		.src_port = host_port,
		.dst_port = guest_port,
		.type = type,
		.op = VSOCK_RST,
	};
}

void vsock_reset_conn(struct vsock *v, struct vsock_conn *c)
{
	if (c->hashed)
		vsock_reply_rst(v, VSOCK_CID_HOST, VSOCK_STREAM, c->guest_port,
				c->host_port);
	vsock_close(v, c);
}

/* --- Credit --------------------------------------------------------------- */

static uint32_t vsock_credit(const struct vsock_conn *c)
{
	uint32_t out = c->tx_cnt - c->peer_fwd;

	return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

/* False: more has arrived than was sent. */
static bool vsock_take_credit(struct vsock_conn *c, const struct vsock_hdr *h)
{
	uint32_t alloc = h->buf_alloc < VSOCK_CREDIT_MAX ? h->buf_alloc
							 : VSOCK_CREDIT_MAX;

	if (c->tx_cnt - h->fwd_cnt > VSOCK_CREDIT_MAX)
		return false;
	if (h->fwd_cnt - c->peer_fwd <= VSOCK_CREDIT_MAX) {
		c->asked &= c->peer_fwd == h->fwd_cnt;
		c->peer_fwd = h->fwd_cnt;
	}
	c->asked &= c->peer_alloc == alloc;
	c->peer_alloc = alloc;
	return true;
}

static bool vsock_wants_to_read(const struct vsock_conn *c)
{
	return c->state == VSOCK_CONNECTED && c->readable &&
	       !(c->host_shut & VSOCK_SHUT_SEND) &&
	       !(c->guest_shut & VSOCK_SHUT_RECEIVE);
}

void vsock_set_ready(struct vsock *v, struct vsock_conn *c)
{
	bool wants = vsock_wants_to_read(c);

	if (c->state == VSOCK_LINGERING)
		return;
	if (c->state == VSOCK_CONNECTED &&
	    c->fwd_cnt - c->fwd_told >= VSOCK_BUF / 4)
		c->pending |= 1u << VSOCK_CREDIT_UPDATE;
	if (wants && !vsock_credit(c) && !c->asked) {
		c->pending |= 1u << VSOCK_CREDIT_REQUEST;
		c->asked = true;
	}
	if (c->ready || !(c->pending || (wants && vsock_credit(c))))
		return;
	c->ready = true;
	c->ready_next = NULL;
	*v->ready_last = c;
	v->ready_last = &c->ready_next;
}

/* --- From the guest: one function an operation ---------------------------- */

enum vsock_verdict {
	VSOCK_KEEP,
	VSOCK_RESET,
	VSOCK_GONE, /* closed already, or not to be told */
};

typedef enum vsock_verdict vsock_op_fn(struct vsock *v, struct vsock_conn *c,
				       const struct vsock_hdr *h,
				       const struct virtq_chain *chain);

static enum vsock_verdict vsock_op_response(struct vsock *v,
					    struct vsock_conn *c,
					    const struct vsock_hdr *h,
					    const struct virtq_chain *chain)
{
	if (c->state != VSOCK_REQUESTED)
		return VSOCK_RESET;
	c->state = VSOCK_CONNECTED;
	return vsock_host_greet(c) ? VSOCK_KEEP : VSOCK_RESET;
}

static enum vsock_verdict vsock_op_rst(struct vsock *v, struct vsock_conn *c,
				       const struct vsock_hdr *h,
				       const struct virtq_chain *chain)
{
	vsock_close(v, c);
	return VSOCK_GONE;
}

/*
 * 5.10.6.5: who has heard both flags answers with RST, which ends it.  What
 * the program has not read yet it still gets.
 */
static void vsock_finish(struct vsock *v, struct vsock_conn *c)
{
	vsock_reply_rst(v, VSOCK_CID_HOST, VSOCK_STREAM, c->guest_port,
			c->host_port);
	vsock_unready(v, c);
	vsock_forget_name(v, c);
	c->state = VSOCK_LINGERING;
	if (!c->buf_len)
		vsock_close(v, c);
}

static enum vsock_verdict vsock_op_shutdown(struct vsock *v,
					    struct vsock_conn *c,
					    const struct vsock_hdr *h,
					    const struct virtq_chain *chain)
{
	if (c->state != VSOCK_CONNECTED)
		return VSOCK_RESET;
	c->guest_shut |= h->flags & VSOCK_SHUT_BOTH;
	if (c->guest_shut == VSOCK_SHUT_BOTH) {
		vsock_finish(v, c);
		return VSOCK_GONE;
	}
	if (c->guest_shut & VSOCK_SHUT_RECEIVE)
		shutdown(c->fd, SHUT_RD);
	vsock_host_flush(c);
	return VSOCK_KEEP;
}

static enum vsock_verdict vsock_op_rw(struct vsock *v, struct vsock_conn *c,
				      const struct vsock_hdr *h,
				      const struct virtq_chain *chain)
{
	uint32_t done = 0, n;

	if (c->state != VSOCK_CONNECTED || c->guest_shut & VSOCK_SHUT_SEND ||
	    h->len > chain->out_len - sizeof(*h) ||
	    h->len > VSOCK_BUF - (c->rx_cnt - c->fwd_cnt))
		return VSOCK_RESET;
	while (done < h->len) {
		n = h->len - done < VSOCK_PIECE ? h->len - done : VSOCK_PIECE;
		virtq_read(chain, sizeof(*h) + done, v->bounce, n);
		if (!vsock_host_write(c, v->bounce, n))
			return VSOCK_RESET;
		done += n;
	}
	return VSOCK_KEEP;
}

static enum vsock_verdict vsock_op_credit(struct vsock *v, struct vsock_conn *c,
					  const struct vsock_hdr *h,
					  const struct virtq_chain *chain)
{
	if (c->state != VSOCK_CONNECTED)
		return VSOCK_RESET;
	if (h->op == VSOCK_CREDIT_REQUEST)
		c->pending |= 1u << VSOCK_CREDIT_UPDATE;
	return VSOCK_KEEP;
}

/* NULL: nothing that a connection can hear, or a second REQUEST. */
static vsock_op_fn *const vsock_op_fns[VSOCK_OPS] = {
	[VSOCK_RESPONSE] = vsock_op_response,
	[VSOCK_RST] = vsock_op_rst,
	[VSOCK_SHUTDOWN] = vsock_op_shutdown,
	[VSOCK_RW] = vsock_op_rw,
	[VSOCK_CREDIT_UPDATE] = vsock_op_credit,
	[VSOCK_CREDIT_REQUEST] = vsock_op_credit,
};

/* --- From the guest ------------------------------------------------------- */

static void vsock_guest_connects(struct vsock *v, const struct vsock_hdr *h)
{
	struct vsock_conn *c = NULL;
	int rc = -ENOMEM;

	if (h->len == 0)
		c = vsock_open(v, -1, VSOCK_CONNECTING);
	if (c) {
		vsock_name(v, c, h->src_port, h->dst_port);
		if (vsock_take_credit(c, h))
			rc = vsock_host_connect(v, c);
	}
	if (rc == -EAGAIN) {
		timer_arm(&v->retry,
			  vclock_now(v->vd.env->clock) + VSOCK_RETRY_NS);
		return;
	}
	if (rc == 0)
		vsock_set_ready(v, c);
	else if (c)
		vsock_reset_conn(v, c);
	else
		vsock_reply_rst(v, VSOCK_CID_HOST, VSOCK_STREAM, h->src_port,
				h->dst_port);
}

static void vsock_take_for(struct vsock *v, struct vsock_conn *c,
			   const struct vsock_hdr *h,
			   const struct virtq_chain *chain)
{
	vsock_op_fn *fn = h->op < VSOCK_OPS ? vsock_op_fns[h->op] : NULL;
	enum vsock_verdict verdict = VSOCK_RESET;

	if (fn && (h->op == VSOCK_RW || !h->len) &&
	    (h->op == VSOCK_RST || vsock_take_credit(c, h)))
		verdict = fn(v, c, h, chain);
	if (verdict == VSOCK_RESET)
		vsock_reset_conn(v, c);
	else if (verdict == VSOCK_KEEP)
		vsock_set_ready(v, c);
}

void vsock_take_packet(struct vsock *v, const struct virtq_chain *chain)
{
	struct vsock_conn *c = NULL;
	struct vsock_hdr h;

	/* 5.10.6.4: from a guest that we do not have nothing can be right. */
	if (virtq_read(chain, 0, &h, sizeof(h)) < sizeof(h) ||
	    h.src_cid != v->cid) {
		log_guest("vsock: a packet makes no sense");
		return;
	}
	if (h.dst_cid == VSOCK_CID_HOST && h.type == VSOCK_STREAM) {
		c = vsock_find(v, h.src_port, h.dst_port);
		if (!c && h.op == VSOCK_REQUEST) {
			vsock_guest_connects(v, &h);
			return;
		}
	}
	if (c)
		vsock_take_for(v, c, &h, chain);
	else if (h.op != VSOCK_RST)
		vsock_reply_rst(v, h.dst_cid, h.type, h.src_port, h.dst_port);
}

/* --- To the guest --------------------------------------------------------- */

bool vsock_has_packet(const struct vsock *v)
{
	return v->reply_count || v->ready_first;
}

static uint32_t vsock_put_reply(struct vsock *v,
				const struct virtq_chain *chain)
{
	const struct vsock_hdr *h = &v->reply[v->reply_first];

	v->reply_first = (v->reply_first + 1) % VSOCK_REPLIES;
	v->reply_count--;
	return (uint32_t)virtq_write(chain, 0, h, sizeof(*h));
}

/* Every packet tells how far we are. */
static uint32_t vsock_put(struct vsock *v, struct vsock_conn *c,
			  const struct virtq_chain *chain, enum vsock_op op,
			  uint32_t len)
{
	struct vsock_hdr h = {
		.src_cid = VSOCK_CID_HOST,
		.dst_cid = v->cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = VSOCK_STREAM,
		.op = (uint16_t)op,
		.flags = op == VSOCK_SHUTDOWN ? c->host_shut : 0,
		.buf_alloc = VSOCK_BUF,
		.fwd_cnt = c->fwd_cnt,
	};

	c->fwd_told = c->fwd_cnt;
	c->pending &= ~(1u << VSOCK_CREDIT_UPDATE);
	return (uint32_t)virtq_write(chain, 0, &h, sizeof(h)) + len;
}

/* The connection's data, or that there will be none any more. */
static uint32_t vsock_put_data(struct vsock *v, struct vsock_conn *c,
			       const struct virtq_chain *chain)
{
	size_t room = chain->in_len - sizeof(struct vsock_hdr);
	uint32_t max = vsock_credit(c), n;

	if (max > VSOCK_PIECE)
		max = VSOCK_PIECE;
	if (max > room)
		max = (uint32_t)room;
	if (!max || !vsock_wants_to_read(c))
		return 0;
	n = vsock_host_read(c, v->bounce, max);
	if (!n)
		return 0;
	virtq_write(chain, sizeof(struct vsock_hdr), v->bounce, n);
	c->tx_cnt += n;
	return vsock_put(v, c, chain, VSOCK_RW, n);
}

/* Operations in the order of their numbers, which is the right one. */
static uint32_t vsock_put_pending(struct vsock *v, struct vsock_conn *c,
				  const struct virtq_chain *chain)
{
	unsigned op = (unsigned)__builtin_ctz(c->pending);

	c->pending &= ~(1u << op);
	return vsock_put(v, c, chain, op, 0);
}

uint32_t vsock_put_packet(struct vsock *v, const struct virtq_chain *chain)
{
	struct vsock_conn *c = v->ready_first;
	uint32_t n = 0;

	if (v->reply_count)
		return vsock_put_reply(v, chain);
	if (!c)
		return 0;
	vsock_unready(v, c);
	if (!c->pending)
		n = vsock_put_data(v, c, chain);
	if (!n && c->pending)
		n = vsock_put_pending(v, c, chain);
	vsock_set_ready(v, c);
	return n;
}
