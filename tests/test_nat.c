/*
 * NAT from the guest's side: a client in the test that speaks just enough
 * Ethernet, DHCP, ARP and TCP.
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/packet.h"

#define FRAMES 64
#define WAIT_S 10

struct frame {
	struct net_hdr hdr;
	size_t len;
	uint8_t data[NET_FRAME_MAX];
};

/* The guest: frames that came, and one that is to go. */
struct guest {
	struct net_link *link;
	pthread_mutex_t lock;
	pthread_cond_t came;
	struct frame *got; /* FRAMES of them */
	unsigned first, count;
	struct frame out;
	bool sending;
	uint16_t port;
	uint8_t gateway[6];
};

static const uint8_t own_mac[6] = { 0x52, 1, 2, 3, 4, 5 };

static int guest_receive(void *opaque, const struct net_hdr *hdr,
			 const uint8_t *frame, size_t len)
{
	struct guest *g = opaque;
	struct frame *f;
	int rc = -EAGAIN;

	pthread_mutex_lock(&g->lock);
	if (g->count < FRAMES) {
		f = &g->got[(g->first + g->count++) % FRAMES];
		f->hdr = *hdr;
		f->len = len;
		memcpy(f->data, frame, len);
		pthread_cond_broadcast(&g->came);
		rc = 0;
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static void guest_transmit(void *opaque)
{
	struct guest *g = opaque;
	struct frame f;

	pthread_mutex_lock(&g->lock);
	f = g->out;
	bool sending = g->sending;
	g->sending = false;
	pthread_cond_broadcast(&g->came);
	pthread_mutex_unlock(&g->lock);
	if (sending)
		net_send(g->link, &f.hdr, f.data, f.len);
}

static const struct net_nic_ops guest_ops = {
	.receive = guest_receive,
	.transmit = guest_transmit,
};

static void guest_send(struct guest *g, const uint8_t *data, size_t len)
{
	pthread_mutex_lock(&g->lock);
	while (g->sending)
		pthread_cond_wait(&g->came, &g->lock);
	g->out.hdr = (struct net_hdr){ 0 };
	g->out.len = len;
	memcpy(g->out.data, data, len);
	g->sending = true;
	pthread_mutex_unlock(&g->lock);
	net_kick(g->link);
}

/* The next frame that `want` likes, into *f; false: none within WAIT_S. */
static bool guest_wait(struct guest *g, struct frame *f,
		       bool (*want)(const struct frame *f), unsigned seconds)
{
	struct timespec until;
	bool found = false;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&g->lock);
	while (!found) {
		while (!g->count)
			if (pthread_cond_timedwait(&g->came, &g->lock, &until))
				goto out;
		*f = g->got[g->first];
		g->first = (g->first + 1) % FRAMES;
		g->count--;
		found = want(f);
	}
out:
	pthread_mutex_unlock(&g->lock);
	net_kick(g->link);
	return found;
}

static bool is_tcp(const struct frame *f)
{
	const struct packet p = { (uint8_t *)f->data, f->len };
	struct packet_info i;

	return packet_parse(&p, &i) && i.ip == 4 && i.payload &&
	       i.protocol == IP_PROTO_TCP;
}

static bool is_udp(const struct frame *f)
{
	const struct packet p = { (uint8_t *)f->data, f->len };
	struct packet_info i;

	return packet_parse(&p, &i) && i.ip == 4 && i.payload &&
	       i.protocol == IP_PROTO_UDP;
}

static bool is_arp_reply(const struct frame *f)
{
	return f->len >= 42 && packet_get16(f->data + 12) == ETH_TYPE_ARP &&
	       packet_get16(f->data + 20) == 2;
}

/* --- Packets -------------------------------------------------------------- */

static void make_eth(struct guest *g, uint8_t *f, uint16_t type)
{
	memcpy(f, g->gateway, 6);
	memcpy(f + 6, own_mac, 6);
	packet_put16(f + 12, type);
}

static void make_ip(uint8_t *ip, uint8_t protocol, const char *from,
		    const char *to, size_t len)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	packet_put16(ip + 2, (uint16_t)len);
	ip[8] = 64;
	ip[9] = protocol;
	inet_pton(AF_INET, from, ip + 12);
	inet_pton(AF_INET, to, ip + 16);
	packet_ipv4_checksum(ip, 20);
}

static void send_tcp(struct guest *g, const char *to, uint16_t port,
		     uint32_t seq, uint32_t ack, uint8_t flags,
		     const char *data)
{
	size_t n = strlen(data), options = flags & TCP_FLAG_SYN ? 4 : 0;
	size_t len = 54 + options + n;
	uint8_t f[200] = { 0 };
	struct packet p = { f, len };
	struct packet_info i;

	make_eth(g, f, ETH_TYPE_IPV4);
	make_ip(f + 14, IP_PROTO_TCP, "10.0.2.15", to, len - 14);
	packet_put16(f + 34, g->port);
	packet_put16(f + 36, port);
	packet_put32(f + 38, seq);
	packet_put32(f + 42, ack);
	f[46] = (uint8_t)((20 + options) << 2);
	f[47] = flags;
	packet_put16(f + 48, 60000);
	if (options)
		memcpy(f + 54, "\2\4\5\264", 4); /* MSS 1460 */
	memcpy(f + 54 + options, data, n);
	assert_true(packet_parse(&p, &i));
	packet_put16(f + 50, packet_fold(packet_sum(
				     f + 34, len - 34,
				     packet_pseudo_sum(&p, &i, len - 34))));
	guest_send(g, f, len);
}

static void resolve_gateway(struct guest *g)
{
	uint8_t f[42] = { 0 };
	struct frame reply;

	memset(g->gateway, 255, 6);
	make_eth(g, f, ETH_TYPE_ARP);
	memcpy(f + 14, "\0\1\10\0\6\4\0\1", 8);
	memcpy(f + 22, own_mac, 6);
	inet_pton(AF_INET, "10.0.2.15", f + 28);
	inet_pton(AF_INET, "10.0.2.2", f + 38);
	guest_send(g, f, sizeof(f));
	assert_true(guest_wait(g, &reply, is_arp_reply, WAIT_S));
	memcpy(g->gateway, reply.data + 22, 6);
}

/* --- Tests ---------------------------------------------------------------- */

static void guest_start(struct guest *g, struct net_config *config)
{
	struct err err;

	g->got = calloc(FRAMES, sizeof(*g->got));
	g->port = 40000;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->came, NULL);
	config->kind = "nat";
	memcpy(config->mac, own_mac, 6);
	assert_int_equal(net_open(&g->link, config, &err), 0);
	assert_int_equal(net_attach(g->link, &guest_ops, g, &err), 0);
}

static void guest_end(struct guest *g)
{
	net_close(g->link);
	free(g->got);
	free(g);
}

/* A listening socket of the host's on 127.0.0.1; *port is its number. */
static int host_listen(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void test_dhcp_gives_the_address(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct net_config config = { 0 };
	uint8_t f[342] = { 0 }, *dhcp = f + 42;
	struct frame reply;

	guest_start(g, &config);
	memset(g->gateway, 255, 6);
	make_eth(g, f, ETH_TYPE_IPV4);
	make_ip(f + 14, IP_PROTO_UDP, "0.0.0.0", "255.255.255.255",
		sizeof(f) - 14);
	packet_put16(f + 34, 68);
	packet_put16(f + 36, 67);
	packet_put16(f + 38, sizeof(f) - 34);
	memcpy(dhcp, "\1\1\6\0\1\2\3\4", 8);
	memcpy(dhcp + 28, own_mac, 6);
	memcpy(dhcp + 236, "\143\202\123\143\65\1\1\377", 8); /* discover */
	guest_send(g, f, sizeof(f));
	assert_true(guest_wait(g, &reply, is_udp, WAIT_S));
	assert_memory_equal(reply.data + 42 + 16, "\12\0\2\17", 4);
	guest_end(g);
}

/* SYN to the host's listener by way of the gateway; the answer's flags. */
static uint8_t try_connect(struct guest *g, const char *to, uint16_t port,
			   unsigned seconds, struct frame *reply)
{
	resolve_gateway(g);
	send_tcp(g, to, port, 1000, 0, TCP_FLAG_SYN, "");
	return guest_wait(g, reply, is_tcp, seconds) ? reply->data[47] : 0;
}

static void test_a_connection_carries_data(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct net_config config = { .loopback = true };
	struct frame f;
	char word[8] = "";
	uint16_t port;
	int listener = host_listen(&port), fd;
	uint32_t seq;

	guest_start(g, &config);
	assert_int_equal(try_connect(g, "10.0.2.2", port, WAIT_S, &f), 0x12);
	seq = packet_get32(f.data + 38);
	send_tcp(g, "10.0.2.2", port, 1001, seq + 1, 0x10, "");
	send_tcp(g, "10.0.2.2", port, 1001, seq + 1, 0x18, "hello");
	fd = accept(listener, NULL, NULL);
	assert_int_equal(recv(fd, word, 5, MSG_WAITALL), 5);
	assert_string_equal(word, "hello");
	assert_int_equal(send(fd, "world", 5, 0), 5);
	do
		assert_true(guest_wait(g, &f, is_tcp, WAIT_S));
	while (f.len < 59);
	assert_memory_equal(f.data + 54, "world", 5);
	close(fd);
	close(listener);
	guest_end(g);
}

static void test_the_hosts_loopback_is_out_of_reach(void **state)
{
	static const char *const to[] = { "10.0.2.2", "127.0.0.1", "127.1.2.3",
					  "0.0.0.0" };
	uint16_t port;
	int listener = host_listen(&port);

	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		struct guest *g = calloc(1, sizeof(*g));
		struct net_config config = { 0 };
		struct frame f;

		guest_start(g, &config);
		assert_int_not_equal(try_connect(g, to[i], port, 1, &f) & 0x12,
				     0x12);
		guest_end(g);
	}
	close(listener);
}

static void test_a_forward_reaches_the_guest(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct net_forward forward = { .host_addr = "127.0.0.1",
				       .guest_port = 22 };
	struct net_config config = { .forwards = &forward, .forward_count = 1 };
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = host_listen(&forward.host_port), fd;
	struct frame f;

	close(listener); /* a port that was free a moment ago */
	guest_start(g, &config);
	resolve_gateway(g); /* libslirp learns our address, too */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	a.sin_port = htons(forward.host_port);
	connect(fd, (struct sockaddr *)&a, sizeof(a));
	assert_true(guest_wait(g, &f, is_tcp, WAIT_S));
	assert_int_equal(f.data[47], TCP_FLAG_SYN);
	assert_int_equal(packet_get16(f.data + 36), 22);
	close(fd);
	guest_end(g);
}

static void test_a_port_that_is_taken_is_a_sentence(void **state)
{
	struct net_forward forward = { .host_addr = "127.0.0.1",
				       .guest_port = 22 };
	struct net_config config = { .kind = "nat",
				     .forwards = &forward,
				     .forward_count = 1 };
	int listener = host_listen(&forward.host_port);
	struct net_link *link;
	struct err err;

	assert_int_equal(net_open(&link, &config, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "already taken"));
	close(listener);
}

static void test_no_frame_comes_while_paused(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct net_config config = { 0 };
	uint8_t f[42] = { 0 };
	struct frame reply;

	guest_start(g, &config);
	resolve_gateway(g);
	net_pause(g->link);
	net_pause(g->link);
	make_eth(g, f, ETH_TYPE_ARP);
	memset(f, 255, 6);
	memcpy(f + 14, "\0\1\10\0\6\4\0\1", 8);
	memcpy(f + 22, own_mac, 6);
	inet_pton(AF_INET, "10.0.2.3", f + 38);
	guest_send(g, f, sizeof(f));
	net_resume(g->link);
	assert_true(g->sending);
	net_resume(g->link);
	assert_true(guest_wait(g, &reply, is_arp_reply, WAIT_S));
	net_pause(g->link); /* and it ends while paused */
	guest_end(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dhcp_gives_the_address),
		cmocka_unit_test(test_a_connection_carries_data),
		cmocka_unit_test(test_the_hosts_loopback_is_out_of_reach),
		cmocka_unit_test(test_a_forward_reaches_the_guest),
		cmocka_unit_test(test_a_port_that_is_taken_is_a_sentence),
		cmocka_unit_test(test_no_frame_comes_while_paused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
