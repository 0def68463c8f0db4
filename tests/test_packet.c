/* Frames: headers found or refused, checksums, segments, faults, forwards. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/bucket.h"
#include "net/fault.h"
#include "net/offload.h"
#include "net/packet.h"
#include "rng.h"

#define PAYLOAD 5000

/* A TCP segment over IPv4 or IPv6, checksum left undone; returns its length. */
static size_t make_tcp(uint8_t *f, unsigned ip, size_t payload,
		       struct net_hdr *hdr)
{
	size_t l3 = 14, l4 = l3 + (ip == 4 ? 20 : 40), len = l4 + 20 + payload;
	struct packet p = { f, len };
	struct packet_info i;

	memset(f, 0, len);
	memcpy(f, "\x52\1\2\3\4\5\x52\1\2\3\4\6", 12);
	packet_put16(f + 12, ip == 4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
	if (ip == 4) {
		memcpy(f + l3, "\x45\0\0\0\0\7\0\0\x40\6\0\0\12\0\2\17\1\2\3\4",
		       20);
		packet_put16(f + l3 + 2, (uint16_t)(len - l3));
		packet_ipv4_checksum(f + l3, 20);
	} else {
		f[l3] = 0x60;
		packet_put16(f + l3 + 4, (uint16_t)(20 + payload));
		f[l3 + 6] = IP_PROTO_TCP;
		f[l3 + 8] = 0xfd;
		f[l3 + 24] = 0x20;
	}
	packet_put16(f + l4, 1234);
	packet_put16(f + l4 + 2, 80);
	packet_put32(f + l4 + 4, 0xfffffff0);
	f[l4 + 12] = 0x50;
	f[l4 + 13] = TCP_FLAG_PSH | TCP_FLAG_FIN | 0x10;
	for (size_t n = 0; n < payload; n++)
		f[l4 + 20 + n] = (uint8_t)(n * 7);
	assert_true(packet_parse(&p, &i));
	packet_put16(
		f + l4 + TCP_CSUM_AT,
		(uint16_t)~packet_fold(packet_pseudo_sum(&p, &i, len - l4)));
	*hdr = (struct net_hdr){
		.flags = NET_HDR_NEEDS_CSUM,
		.gso_type = ip == 4 ? NET_GSO_TCPV4 : NET_GSO_TCPV6,
		.gso_size = 1400,
		.csum_start = (uint16_t)l4,
		.csum_offset = TCP_CSUM_AT,
	};
	return len;
}

/* RFC 1071 by the book, sixteen bits at a time. */
static uint16_t plain_sum(const uint8_t *b, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)b[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void test_sum_is_that_of_the_rfc(void **state)
{
	struct rng rng = { 1 };
	uint8_t b[600];

	for (int n = 0; n < 2000; n++) {
		size_t len = rng_below(&rng, sizeof(b));

		for (size_t i = 0; i < len; i++)
			b[i] = n & 1 ? 0xff : (uint8_t)rng_next(&rng);
		assert_int_equal(packet_fold(packet_sum(b, len, 0)),
				 plain_sum(b, len));
	}
}

static void test_headers_are_found(void **state)
{
	uint8_t f[PAYLOAD + 100];
	struct net_hdr hdr;

	for (unsigned ip = 4; ip <= 6; ip += 2) {
		size_t len = make_tcp(f, ip, PAYLOAD, &hdr);
		struct packet p = { f, len };
		struct packet_info i;

		assert_true(packet_parse(&p, &i));
		assert_int_equal(i.ip, ip);
		assert_int_equal(i.protocol, IP_PROTO_TCP);
		assert_int_equal(i.payload, len - PAYLOAD);
		assert_int_equal(i.end, len);
	}
}

/* However short a frame is cut, nothing is found beyond its end. */
static void test_short_frames_have_no_headers(void **state)
{
	uint8_t whole[200];
	struct net_hdr hdr;
	size_t len = make_tcp(whole, 4, 60, &hdr);

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *f = malloc(cut + 1); /* for the sanitizer */
		struct packet p = { f, cut };
		struct packet_info i;
		struct net_hdr h = hdr;

		memcpy(f, whole, cut);
		if (packet_parse(&p, &i)) {
			assert_int_equal(i.ip, 0);
			assert_int_equal(i.payload, 0);
		}
		assert_int_equal(offload_check(&h, f, cut), -EINVAL);
		free(f);
	}
}

static void test_impossible_offloads_are_refused(void **state)
{
	uint8_t f[PAYLOAD + 100];
	struct net_hdr good, h;
	size_t len = make_tcp(f, 4, PAYLOAD, &good);

	h = good;
	assert_int_equal(offload_check(&h, f, len), 0);
	h.gso_size = 0;
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
	h = good;
	h.gso_type = NET_GSO_TCPV6;
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
	h = good;
	h.gso_type = 77;
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
	h = good;
	h.csum_start = (uint16_t)(len - 1);
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
	h = good;
	h.csum_offset = 0xffff;
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
	h = good;
	h.flags = 0;
	assert_int_equal(offload_check(&h, f, len), -EINVAL);
}

struct collected {
	unsigned count;
	size_t payload;
	uint32_t next;
	unsigned can, ip;
	uint8_t last_flags;
};

static void collect(void *opaque, const struct net_hdr *hdr, uint8_t *f,
		    size_t len)
{
	struct collected *c = opaque;
	struct packet p = { f, len };
	struct packet_info i;
	uint64_t sum;

	assert_true(packet_parse(&p, &i));
	assert_int_equal(i.ip, c->ip);
	assert_int_equal(i.end, len);
	assert_int_equal(hdr->gso_type, NET_GSO_NONE);
	if (i.ip == 4)
		assert_int_equal(plain_sum(f + i.l3, 20), 0);
	assert_true(len - i.payload <= 1400);
	if (c->count)
		assert_int_equal(packet_get32(f + i.l4 + 4), c->next);
	c->next = packet_get32(f + i.l4 + 4) + (uint32_t)(len - i.payload);
	for (size_t n = i.payload; n < len; n++)
		assert_int_equal(f[n],
				 (uint8_t)((c->payload + n - i.payload) * 7));
	if (!(c->can & NET_CAN_CSUM)) {
		sum = packet_pseudo_sum(&p, &i, len - i.l4);
		sum = packet_sum(f + i.l4, len - i.l4, sum);
		assert_int_equal(packet_fold(sum), 0);
	} else {
		assert_int_equal(hdr->flags, NET_HDR_NEEDS_CSUM);
	}
	c->payload += len - i.payload;
	c->last_flags = i.tcp_flags;
	c->count++;
}

static void test_segments_carry_all_and_are_right(void **state)
{
	uint8_t f[PAYLOAD + 100];
	struct net_hdr hdr;

	for (unsigned ip = 4; ip <= 6; ip += 2)
		for (unsigned can = 0; can < 2; can++) {
			struct collected c = { .can = can, .ip = ip };
			size_t len = make_tcp(f, ip, PAYLOAD, &hdr);

			offload_complete(&hdr, f, len, can, collect, &c);
			assert_int_equal(c.count, 4);
			assert_int_equal(c.payload, PAYLOAD);
			assert_true(c.last_flags & TCP_FLAG_FIN);
		}
}

/* --- Faults --------------------------------------------------------------- */

struct tally {
	unsigned frames, damaged, swapped;
	uint32_t last;
};

static void tally_frame(void *opaque, const struct net_hdr *hdr, uint8_t *f,
			size_t len)
{
	struct tally *t = opaque;
	uint32_t n;

	memcpy(&n, f, 4);
	t->frames++;
	for (size_t i = 4; i < len; i++)
		t->damaged += f[i] != 0;
	t->swapped += n < t->last;
	t->last = n;
}

static struct tally run_faults(const char *rules)
{
	struct net_hdr hdr = { 0 };
	struct tally t = { 0 };
	uint8_t frame[64] = { 0 };
	struct fault *f;

	assert_int_equal(fault_new(&f, rules, NULL), 0);
	for (uint32_t n = 0; n < 10000; n++) {
		memcpy(frame, &n, 4);
		fault_frame(f, FAULT_OUT, n, &hdr, frame, sizeof(frame),
			    tally_frame, &t);
	}
	fault_expire(f, FAULT_OUT, UINT64_MAX, tally_frame, &t);
	assert_true(fault_when(f) == UINT64_MAX);
	fault_free(f);
	return t;
}

static void test_faults_are_as_often_as_told(void **state)
{
	struct tally t = run_faults("seed:5");

	assert_int_equal(t.frames, 10000);
	t = run_faults("loss:10+seed:5");
	assert_in_range(t.frames, 8800, 9200);
	t = run_faults("dup:10+seed:5");
	assert_in_range(t.frames, 10800, 11200);
	t = run_faults("reorder:10+seed:5");
	assert_int_equal(t.frames, 10000);
	assert_in_range(t.swapped, 600, 1100);
	t = run_faults("corrupt:10+seed:5");
	assert_in_range(t.damaged, 800, 1200);
}

static void test_the_same_seed_gives_the_same_faults(void **state)
{
	struct tally a = run_faults("loss:3+dup:4+reorder:5+corrupt:6+seed:9");
	struct tally b = run_faults("loss:3+dup:4+reorder:5+corrupt:6+seed:9");

	assert_memory_equal(&a, &b, sizeof(a));
}

static void test_rules_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"",        "loss",     "loss:", "loss:x",  "loss:101",
		"loss:-1", "loss:nan", "cut:3", "loss:1+", "seed:x"
	};
	struct fault *f;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(fault_new(&f, bad[i], &err), -EINVAL);
}

/* --- What people write ---------------------------------------------------- */

static void test_forwards(void **state)
{
	static const char *const bad[] = {
		"",          "80",           "80:",
		":80",       "0:80",         "80:0",
		"65536:80",  "80:80/sctp",   "1.2.3:80:80",
		"::1:80:80", "[::1:80:80",   "a:b",
		"80:80:80",  "-1:80",        " 80:80",
		"80:80 ",    "99999999999:1"
	};
	struct net_forward f;
	struct err err;

	assert_int_equal(net_parse_forward(&f, "8080:80", &err), 0);
	assert_string_equal(f.host_addr, "127.0.0.1");
	assert_int_equal(f.host_port, 8080);
	assert_int_equal(f.guest_port, 80);
	assert_false(f.udp);
	assert_int_equal(net_parse_forward(&f, "0.0.0.0:53:5353/udp", &err), 0);
	assert_string_equal(f.host_addr, "0.0.0.0");
	assert_true(f.udp);
	assert_int_equal(net_parse_forward(&f, "[::1]:2222:22/tcp", &err), 0);
	assert_string_equal(f.host_addr, "::1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_parse_forward(&f, bad[i], &err), -EINVAL);
}

static void test_addresses_of_cards(void **state)
{
	static const char *const bad[] = { "",
					   "52:54:00:12:34",
					   "52:54:00:12:34:5",
					   "x",
					   "52:54:00:12:34:56:78",
					   "01:54:00:12:34:56",
					   "52-54-00-12-34-56" };
	uint8_t a[6], b[6];
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_parse_mac(a, bad[i], &err), -EINVAL);
	assert_int_equal(net_parse_mac(a, "52:54:00:12:34:ff", &err), 0);
	assert_int_equal(a[5], 0xff);
	net_mac_from_name(a, "web", 0);
	net_mac_from_name(b, "web", 0);
	assert_memory_equal(a, b, 6);
	assert_int_equal(a[0] & 3, 2);
	net_mac_from_name(b, "web", 1);
	assert_memory_not_equal(a, b, 6);
	net_mac_from_name(b, "web2", 0);
	assert_memory_not_equal(a, b, 6);
}

/* 1 MB/s with bursts of 100 kB, in virtual time. */
static void test_a_bucket_holds_its_rate(void **state)
{
	uint64_t now = 1000000000, bytes = 0;
	struct bucket b;

	bucket_init(&b, 1000000, 100000);
	while (now < 11000000000) {
		while (bucket_ready(&b, now)) {
			bucket_take(&b, now, 1500);
			bytes += 1500;
		}
		assert_true(bucket_when(&b) > now);
		now = bucket_when(&b);
	}
	assert_in_range(bytes, 10000000 + 90000, 10000000 + 120000);
	bucket_init(&b, 0, 0);
	assert_true(bucket_ready(&b, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum_is_that_of_the_rfc),
		cmocka_unit_test(test_headers_are_found),
		cmocka_unit_test(test_short_frames_have_no_headers),
		cmocka_unit_test(test_impossible_offloads_are_refused),
		cmocka_unit_test(test_segments_carry_all_and_are_right),
		cmocka_unit_test(test_faults_are_as_often_as_told),
		cmocka_unit_test(test_the_same_seed_gives_the_same_faults),
		cmocka_unit_test(test_rules_that_are_none_are_refused),
		cmocka_unit_test(test_forwards),
		cmocka_unit_test(test_addresses_of_cards),
		cmocka_unit_test(test_a_bucket_holds_its_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
