/*
 * nat.c - a network of the guest's own behind the host's address, without any
 * right: libslirp ends the guest's connections and makes them again with the
 * host's sockets.
 *
 * Theory of operation
 *
 * libslirp belongs to the link's thread alone; it says which descriptors it
 * waits for (nat_fill) and is told what happened to them (nat_polled).
 *
 *	10.0.2.0/24, fd68:6f73:7465:6c00::/64
 *	.2	the gateway		.3	the DNS server
 *	.15	the guest, by DHCP (IPv6: by router advertisement)
 *
 * What the guest may reach: all that the host's user can, but for the host's
 * own loopback.  libslirp keeps the gateway's address from being it, unless
 * the description says "loopback"; destinations that are loopback addresses
 * by themselves are dropped here (nat_forbidden), as libslirp would connect.
 *
 * Large packets: a link in memory loses nothing and TCP ends here, so there
 * is no reason to cut a stream into 1500 bytes.  Out, a frame that the guest
 * left to be segmented goes in as one TCP segment.  In, libslirp makes
 * segments as large as the guest's MSS option allows; where the guest says
 * what Ethernet allows, the option is raised on its way (nat_raise_mss) and
 * the large segments that come are marked as those of receive offload
 * (nat_mark).  A NIC that cannot take them gets them cut by the link.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <slirp/libslirp.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/backend.h"
#include "net/offload.h"
#include "net/packet.h"
#include "net/stall.h"

/*
 * #syscalls: socket connect bind listen accept accept4 shutdown
 * #syscalls: sendto recvfrom sendmsg recvmsg getsockopt setsockopt
 * #syscalls: getsockname getpeername select pselect6
 */

#define NAT_MTU    65521 /* libslirp's limit */
#define NAT_MSS    32768 /* two in the largest window without scaling */
#define NAT_MSS_V4 (NET_MTU - 20 - TCP_HLEN_MIN)
#define NAT_MSS_V6 (NET_MTU - 40 - TCP_HLEN_MIN)
#define NAT_TIMERS 4
#define NAT_MS     1000000ull

struct nat_timer {
	bool used;
	SlirpTimerId id;
	void *opaque;
	int64_t expire_ms; /* INT64_MAX: not set */
	struct nat *nat;
};

struct nat {
	struct net_backend backend;
	Slirp *slirp;
	struct nat_timer timers[NAT_TIMERS];
	struct stalls stalls;
	struct net_poll *filling;
	const struct net_poll *polling;
};

/* --- From libslirp -------------------------------------------------------- */

/* A TCP segment larger than the guest's MTU: as receive offload makes them. */
static void nat_mark(struct net_hdr *hdr, const struct packet *p,
		     const struct packet_info *i)
{
	*hdr = (struct net_hdr){ .flags = NET_HDR_DATA_VALID };
	if (p->len <= ETH_HLEN_MIN + NET_MTU || !i->ip ||
	    i->protocol != IP_PROTO_TCP || !i->payload || i->end != p->len)
		return;
	*hdr = (struct net_hdr){
		.flags = NET_HDR_NEEDS_CSUM,
		.gso_type = i->ip == 4 ? NET_GSO_TCPV4 : NET_GSO_TCPV6,
		.hdr_len = (uint16_t)i->payload,
		.gso_size = i->ip == 4 ? NAT_MSS_V4 : NAT_MSS_V6,
		.csum_start = (uint16_t)i->l4,
		.csum_offset = TCP_CSUM_AT,
	};
	packet_put16(p->data + i->l4 + TCP_CSUM_AT,
		     (uint16_t)~packet_fold(
			     packet_pseudo_sum(p, i, p->len - i->l4)));
}

static ssize_t nat_on_packet(const void *buf, size_t len, void *opaque)
{
	struct nat *nat = opaque;
	uint8_t frame[NET_FRAME_MAX];
	const struct packet p = { frame, len };
	struct packet_info i;
	struct net_hdr hdr;

	if (len > sizeof(frame))
		return (ssize_t)len;
	memcpy(frame, buf, len);
	if (!packet_parse(&p, &i))
		return (ssize_t)len;
	stall_note(&nat->stalls, clock_mono_ns(), &p, &i);
	nat_mark(&hdr, &p, &i);
	net_deliver(nat->backend.link, &hdr, frame, len);
	return (ssize_t)len;
}

static void nat_on_guest_error(const char *msg, void *opaque)
{
	log_guest("nat: %s", msg);
}

static int64_t nat_clock(void *opaque)
{
	return (int64_t)clock_mono_ns();
}

static void *nat_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct nat *nat = opaque;

	for (unsigned i = 0; i < NAT_TIMERS; i++)
		if (!nat->timers[i].used) {
			nat->timers[i] =
				(struct nat_timer){ true, id, cb_opaque,
						    INT64_MAX, nat };
			return &nat->timers[i];
		}
	abort(); /* libslirp has one kind of timer, one of it */
}

static void nat_timer_free(void *timer, void *opaque)
{
	((struct nat_timer *)timer)->used = false;
}

static void nat_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	((struct nat_timer *)timer)->expire_ms = expire_ms;
}

static void nat_ignore_fd(int fd, void *opaque)
{
}

/* All of libslirp runs in one thread: nobody is to be woken. */
static void nat_notify(void *opaque)
{
}

static const SlirpCb nat_callbacks = {
	.send_packet = nat_on_packet,
	.guest_error = nat_on_guest_error,
	.clock_get_ns = nat_clock,
	.timer_new_opaque = nat_timer_new,
	.timer_free = nat_timer_free,
	.timer_mod = nat_timer_mod,
	.register_poll_fd = nat_ignore_fd,
	.unregister_poll_fd = nat_ignore_fd,
	.notify = nat_notify,
};

/* --- Polling -------------------------------------------------------------- */

static const struct {
	int slirp;
	short poll;
} nat_events[] = {
	{ SLIRP_POLL_IN, POLLIN },   { SLIRP_POLL_OUT, POLLOUT },
	{ SLIRP_POLL_PRI, POLLPRI }, { SLIRP_POLL_ERR, POLLERR },
	{ SLIRP_POLL_HUP, POLLHUP },
};

#define NAT_EVENTS (sizeof(nat_events) / sizeof(nat_events[0]))

static int nat_add_poll(int fd, int events, void *opaque)
{
	struct nat *nat = opaque;
	short wanted = 0;

	for (size_t i = 0; i < NAT_EVENTS; i++)
		if (events & nat_events[i].slirp)
			wanted |= nat_events[i].poll;
	return net_poll_add(nat->filling, fd, wanted);
}

static int nat_get_revents(int index, void *opaque)
{
	struct nat *nat = opaque;
	short got = net_poll_got(nat->polling, index);
	int events = 0;

	for (size_t i = 0; i < NAT_EVENTS; i++)
		if (got & nat_events[i].poll)
			events |= nat_events[i].slirp;
	return events;
}

static void nat_fill(struct net_backend *b, struct net_poll *p)
{
	struct nat *nat = (struct nat *)b;
	uint32_t ms = UINT32_MAX;

	nat->filling = p;
	slirp_pollfds_fill(nat->slirp, &ms, nat_add_poll, nat);
	if (ms != UINT32_MAX)
		net_poll_until(p, clock_mono_ns() + ms * NAT_MS);
	net_poll_until(p, stall_when(&nat->stalls));
	for (unsigned i = 0; i < NAT_TIMERS; i++)
		if (nat->timers[i].used &&
		    nat->timers[i].expire_ms != INT64_MAX)
			net_poll_until(p, (uint64_t)nat->timers[i].expire_ms *
						  NAT_MS);
}

static void nat_run_timers(struct nat *nat)
{
	int64_t now = (int64_t)(clock_mono_ns() / NAT_MS);

	for (unsigned i = 0; i < NAT_TIMERS; i++) {
		struct nat_timer *t = &nat->timers[i];

		if (!t->used || t->expire_ms > now)
			continue;
		t->expire_ms = INT64_MAX;
		slirp_handle_timer(nat->slirp, t->id, t->opaque);
	}
}

/* Each at most once a turn, as a probe makes the next one later. */
static void nat_run_probes(struct nat *nat)
{
	uint64_t now = clock_mono_ns();
	uint8_t probe[STALL_HEAD_MAX];
	size_t len;

	while ((len = stall_probe(&nat->stalls, now, probe)))
		slirp_input(nat->slirp, probe, (int)len);
}

static void nat_polled(struct net_backend *b, const struct net_poll *p)
{
	struct nat *nat = (struct nat *)b;

	nat->polling = p;
	nat_run_timers(nat);
	slirp_pollfds_poll(nat->slirp, 0, nat_get_revents, nat);
	nat_run_probes(nat);
}

/* --- From the guest ------------------------------------------------------- */

/* 127/8 and "this host" of RFC 1122, 3.2.1.3; ::, ::1 and such mapped. */
static bool nat_is_loopback4(const uint8_t a[4])
{
	return a[0] == 127 || a[0] == 0;
}

static bool nat_is_loopback6(const uint8_t a[16])
{
	static const uint8_t zero[12], mapped[12] = { [10] = 255, [11] = 255 };

	if (!memcmp(a, mapped, 12))
		return nat_is_loopback4(a + 12);
	return !memcmp(a, zero, 12) && !a[12] && !a[13] && !a[14] && a[15] < 2;
}

static bool nat_forbidden(const struct packet *p, const struct packet_info *i)
{
	const uint8_t *ip = packet_at(p, i->l3, i->ip == 6 ? 40 : 20);

	if (!i->ip || !ip)
		return false;
	return i->ip == 4 ? nat_is_loopback4(ip + 16)
			  : nat_is_loopback6(ip + 24);
}

/* The 16 bits at `at` become `value`; the checksum follows (RFC 1624). */
static void nat_patch16(uint8_t *at, uint16_t value, uint8_t *csum)
{
	uint32_t sum = (uint16_t)~packet_get16(csum);

	sum += (uint16_t)~packet_get16(at) + (uint32_t)value;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	packet_put16(csum, (uint16_t)~sum);
	packet_put16(at, value);
}

/* The MSS option in `len` bytes of options; NULL: none (RFC 9293, 3.2). */
static uint8_t *nat_find_mss(uint8_t *options, size_t len)
{
	for (size_t at = 0; at < len && options[at] != 0;) {
		if (options[at] == 1) {
			at++;
			continue;
		}
		if (len - at < 2 || options[at + 1] < 2 ||
		    options[at + 1] > len - at)
			return NULL;
		if (options[at] == 2 && options[at + 1] == 4)
			return options + at + 2;
		at += options[at + 1];
	}
	return NULL;
}

static void nat_raise_mss(const struct packet *p, const struct packet_info *i)
{
	uint16_t usual = i->ip == 4 ? NAT_MSS_V4 : NAT_MSS_V6;
	uint8_t *tcp = p->data + i->l4, *mss;

	mss = nat_find_mss(tcp + TCP_HLEN_MIN,
			   i->payload - i->l4 - TCP_HLEN_MIN);
	/* At even offsets only, where checksums see it as one word. */
	if (!mss || (mss - tcp) & 1 || packet_get16(mss) < usual)
		return;
	nat_patch16(mss, NAT_MSS, tcp + TCP_CSUM_AT);
}

/* What was to be cut becomes one segment, with lengths that say so. */
static void nat_make_whole(const struct packet *p, const struct packet_info *i)
{
	uint8_t *ip = p->data + i->l3;
	uint64_t sum = packet_pseudo_sum(p, i, p->len - i->l4);

	if (i->ip == 4)
		packet_ipv4_checksum(ip, i->l4 - i->l3);
	packet_put16(p->data + i->l4 + TCP_CSUM_AT,
		     (uint16_t)~packet_fold(sum));
}

static void nat_send(struct net_backend *b, const struct net_hdr *hdr,
		     uint8_t *frame, size_t len)
{
	struct nat *nat = (struct nat *)b;
	const struct packet p = { frame, len };
	struct packet_info i;

	if (!packet_parse(&p, &i) || nat_forbidden(&p, &i))
		return;
	if (hdr->gso_type != NET_GSO_NONE)
		nat_make_whole(&p, &i);
	if (hdr->flags & NET_HDR_NEEDS_CSUM)
		offload_checksum(hdr, frame, len);
	if (i.protocol == IP_PROTO_TCP && i.payload &&
	    i.tcp_flags & TCP_FLAG_SYN)
		nat_raise_mss(&p, &i);
	slirp_input(nat->slirp, frame, (int)len);
}

/* --- Life ----------------------------------------------------------------- */

static void nat_free(struct net_backend *b)
{
	struct nat *nat = (struct nat *)b;

	if (nat->slirp)
		slirp_cleanup(nat->slirp);
	free(nat);
}

static const struct net_backend_ops nat_ops = {
	.send = nat_send,
	.fill = nat_fill,
	.polled = nat_polled,
	.free = nat_free,
};

#define NAT_PREFIX "fd68:6f73:7465:6c00::"

static void nat_configure(SlirpConfig *c, const struct net_config *config)
{
	*c = (SlirpConfig){
		.version = 4,
		.in_enabled = true,
		.in6_enabled = true,
		.vprefix_len = 64,
		.if_mtu = NAT_MTU,
		.if_mru = NAT_MTU,
		.disable_host_loopback = !config->loopback,
		.tftp_path = config->tftp,
		.bootfile = config->bootfile,
	};
	inet_pton(AF_INET, "10.0.2.0", &c->vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &c->vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &c->vhost);
	inet_pton(AF_INET, "10.0.2.3", &c->vnameserver);
	inet_pton(AF_INET, "10.0.2.15", &c->vdhcp_start);
	inet_pton(AF_INET6, NAT_PREFIX, &c->vprefix_addr6);
	inet_pton(AF_INET6, NAT_PREFIX "2", &c->vhost6);
	inet_pton(AF_INET6, NAT_PREFIX "3", &c->vnameserver6);
}

static int nat_check_tftp(const struct net_config *c, struct err *err)
{
	struct stat st;

	if (!c->tftp)
		return 0;
	if (stat(c->tftp, &st))
		return err_set(err, errno, "--net: tftp=%s: %s", c->tftp,
			       strerror(errno));
	return S_ISDIR(st.st_mode)
		       ? 0
		       : err_set(err, ENOTDIR,
				 "--net: tftp=%s: not a directory", c->tftp);
}

/* The address that the guest makes of its MAC (RFC 4291, appendix A). */
static void nat_guest_ipv6(struct in6_addr *a, const uint8_t mac[NET_MAC_LEN])
{
	inet_pton(AF_INET6, NAT_PREFIX, a);
	memcpy(a->s6_addr + 8, mac, 3);
	a->s6_addr[8] ^= 2;
	a->s6_addr[11] = 0xff;
	a->s6_addr[12] = 0xfe;
	memcpy(a->s6_addr + 13, mac + 3, 3);
}

static int nat_forward_ipv4(struct nat *nat, const struct net_forward *f,
			    const struct net_config *config)
{
	struct sockaddr_in host = { .sin_family = AF_INET,
				    .sin_port = htons(f->host_port) };
	struct sockaddr_in guest = { .sin_family = AF_INET,
				     .sin_port = htons(f->guest_port) };

	inet_pton(AF_INET, f->host_addr, &host.sin_addr);
	inet_pton(AF_INET, "10.0.2.15", &guest.sin_addr);
	return slirp_add_hostxfwd(nat->slirp, (struct sockaddr *)&host,
				  sizeof(host), (struct sockaddr *)&guest,
				  sizeof(guest),
				  f->udp ? SLIRP_HOSTFWD_UDP : 0);
}

static int nat_forward_ipv6(struct nat *nat, const struct net_forward *f,
			    const struct net_config *config)
{
	struct sockaddr_in6 host = { .sin6_family = AF_INET6,
				     .sin6_port = htons(f->host_port) };
	struct sockaddr_in6 guest = { .sin6_family = AF_INET6,
				      .sin6_port = htons(f->guest_port) };
	int flags = SLIRP_HOSTFWD_V6ONLY | (f->udp ? SLIRP_HOSTFWD_UDP : 0);

	inet_pton(AF_INET6, f->host_addr, &host.sin6_addr);
	nat_guest_ipv6(&guest.sin6_addr, config->mac);
	return slirp_add_hostxfwd(nat->slirp, (struct sockaddr *)&host,
				  sizeof(host), (struct sockaddr *)&guest,
				  sizeof(guest), flags);
}

static int nat_refuse(const struct net_forward *f, int code, struct err *err)
{
	const char *what = strerror(code);

	if (code == EADDRINUSE)
		what = "the port is already taken; choose another";
	else if (code == EADDRNOTAVAIL)
		what = "this host has no such address";
	else if (code == EACCES)
		what = "ports below 1024 are not for this user; choose another";
	return err_set(err, code, "-p: cannot listen on %s port %u%s: %s",
		       f->host_addr, f->host_port, f->udp ? "/udp" : "", what);
}

static int nat_forward(struct nat *nat, const struct net_config *config,
		       struct err *err)
{
	for (unsigned i = 0; i < config->forward_count; i++) {
		const struct net_forward *f = &config->forwards[i];
		bool v6 = strchr(f->host_addr, ':');
		int rc;

		errno = 0;
		rc = v6 ? nat_forward_ipv6(nat, f, config)
			: nat_forward_ipv4(nat, f, config);
		if (rc < 0)
			return nat_refuse(f, errno ? errno : EINVAL, err);
	}
	return 0;
}

int nat_new(struct net_backend **out, const struct net_config *config,
	    struct err *err)
{
	struct nat *nat = calloc(1, sizeof(*nat));
	SlirpConfig c;
	int rc;

	if (!nat)
		return err_set(err, ENOMEM, "out of memory");
	nat->backend.ops = &nat_ops;
	nat->backend.can = NET_CAN_ALL;
	nat_configure(&c, config);
	rc = nat_check_tftp(config, err);
	if (rc == 0)
		nat->slirp = slirp_new(&c, &nat_callbacks, nat);
	if (rc == 0)
		rc = nat->slirp ? nat_forward(nat, config, err)
				: err_set(err, ENOMEM, "cannot start NAT");
	if (rc < 0)
		nat_free(&nat->backend);
	else
		*out = &nat->backend;
	return rc;
}
