/* The switch: learning, aging, VLANs, mirrors, rates; in virtual time. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/packet.h"
#include "net/switch.h"

#define PORTS 5
#define S     1000000000ull

struct bench {
	struct switch_core *core;
	unsigned got[PORTS];
	bool tagged[PORTS];
	uint16_t vlan[PORTS];
	size_t len[PORTS];
	uint16_t csum_start[PORTS];
	uint64_t now;
};

static void bench_emit(void *opaque, unsigned port, const struct net_hdr *hdr,
		       uint8_t *frame, size_t len)
{
	struct bench *b = opaque;
	struct packet p = { frame, len };
	struct packet_info i;

	assert_true(port < PORTS);
	assert_true(packet_parse(&p, &i));
	b->got[port]++;
	b->tagged[port] = i.tagged;
	b->vlan[port] = i.vlan;
	b->len[port] = len;
	b->csum_start[port] = hdr->csum_start;
	assert_int_equal(frame[len - 1], 0xee);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->core = switch_new(bench_emit, b);
	b->now = 1;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	switch_free(b->core);
	free(b);
	return 0;
}

static void add(struct bench *b, uint16_t vlan, const char *trunk, bool mirror)
{
	struct switch_port_config c = { .vlan = vlan, .mirror = mirror };

	if (trunk)
		assert_int_equal(switch_parse_trunk(&c, trunk, NULL), 0);
	assert_true(switch_add_port(b->core, &c) >= 0);
}

/* From station `from` (its last byte) to `to`; 255: to all. */
static void send_tagged(struct bench *b, unsigned port, uint8_t from,
			uint8_t to, int vlan)
{
	struct net_hdr hdr = { .flags = NET_HDR_NEEDS_CSUM, .csum_start = 34 };
	uint8_t f[100] = { 0 };
	size_t len = 60;

	memcpy(f, (uint8_t[]){ 2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from }, 12);
	if (to == 255)
		memset(f, 255, 6);
	f[12] = 0x12;
	if (vlan >= 0) {
		packet_put16(f + 12, ETH_TYPE_VLAN);
		packet_put16(f + 14, (uint16_t)vlan);
		f[16] = 0x12;
		len += 4;
		hdr.csum_start += 4;
	}
	f[len - 1] = 0xee;
	memset(b->got, 0, sizeof(b->got));
	switch_frame(b->core, port, b->now, &hdr, f, len);
}

static void send_plain(struct bench *b, unsigned port, uint8_t from, uint8_t to)
{
	send_tagged(b, port, from, to, -1);
}

static void expect(const struct bench *b, const char *ports)
{
	for (unsigned i = 0; i < PORTS; i++)
		assert_int_equal(b->got[i],
				 strchr(ports, '0' + (int)i) ? 1 : 0);
}

static void test_learns_where_stations_are(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 3; i++)
		add(b, 0, NULL, false);
	send_plain(b, 0, 10, 11);
	expect(b, "12"); /* unknown: to all others */
	send_plain(b, 1, 11, 10);
	expect(b, "0");
	send_plain(b, 0, 10, 11);
	expect(b, "1");
	send_plain(b, 0, 10, 255);
	expect(b, "12");
	send_plain(b, 1, 10, 255); /* the station has moved */
	send_plain(b, 2, 12, 10);
	expect(b, "1");
	send_plain(b, 1, 11, 10); /* on the sender's own port: nowhere */
	expect(b, "");
}

static void test_forgets_in_time_and_with_the_port(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 3; i++)
		add(b, 0, NULL, false);
	send_plain(b, 0, 10, 255);
	b->now += SWITCH_AGE_NS - 1;
	send_plain(b, 1, 11, 10);
	expect(b, "0");
	b->now += 1;
	send_plain(b, 1, 11, 10);
	expect(b, "02");
	send_plain(b, 0, 10, 255);
	switch_remove_port(b->core, 0);
	send_plain(b, 1, 11, 10);
	expect(b, "2");
}

static void test_vlans_are_apart(void **state)
{
	struct bench *b = *state;

	add(b, 0, NULL, false);
	add(b, 10, NULL, false);
	add(b, 10, NULL, false);
	add(b, 20, NULL, false);
	send_plain(b, 0, 10, 255);
	expect(b, "");
	send_plain(b, 1, 11, 255);
	expect(b, "2");
	send_plain(b, 3, 13, 11); /* known, but on another VLAN */
	expect(b, "");
	/* A tag does not lead out of an access port's VLAN. */
	send_tagged(b, 1, 11, 255, 20);
	expect(b, "");
	send_tagged(b, 1, 11, 255, 10);
	expect(b, "");
	send_tagged(b, 1, 11, 255, 0);
	expect(b, "2");
}

static void test_trunks_carry_tags(void **state)
{
	struct bench *b = *state;

	add(b, 10, NULL, false);
	add(b, 20, NULL, false);
	add(b, 0, "10+20", false);
	add(b, 30, NULL, false);
	add(b, 0, NULL, false);
	send_plain(b, 0, 10, 255);
	expect(b, "2");
	assert_true(b->tagged[2]);
	assert_int_equal(b->vlan[2], 10);
	assert_int_equal(b->len[2], 64);
	assert_int_equal(b->csum_start[2], 38);
	send_tagged(b, 2, 12, 255, 20);
	expect(b, "1");
	assert_false(b->tagged[1]);
	assert_int_equal(b->len[1], 60);
	assert_int_equal(b->csum_start[1], 34);
	send_tagged(b, 2, 12, 255, 30); /* not in its list */
	expect(b, "");
	send_plain(b, 2, 12, 255); /* untagged: the network without number */
	expect(b, "4");
}

static void test_mirrors_see_all_once(void **state)
{
	struct bench *b = *state;

	add(b, 10, NULL, false);
	add(b, 10, NULL, false);
	add(b, 0, NULL, true);
	send_plain(b, 0, 10, 255);
	expect(b, "12");
	assert_true(b->tagged[2]);
	assert_int_equal(b->vlan[2], 10);
	send_plain(b, 1, 11, 10);
	expect(b, "02");
}

/* A guest that invents addresses pushes out none of the others'. */
static void test_floods_push_out_nobody(void **state)
{
	struct bench *b = *state;
	struct net_hdr hdr = { 0 };

	for (int i = 0; i < 3; i++)
		add(b, 0, NULL, false);
	send_plain(b, 0, 10, 255);
	for (unsigned n = 0; n < 100000; n++) {
		uint8_t f[60] = { 2, 0, 0, 0, 0, 10, 6 };

		b->now++;
		memcpy(f + 7, &n, 4);
		f[59] = 0xee;
		switch_frame(b->core, 1, b->now, &hdr, f, sizeof(f));
	}
	send_plain(b, 2, 12, 10);
	expect(b, "0");
}

static void test_rates_hold_in_virtual_time(void **state)
{
	struct bench *b = *state;
	struct switch_port_config c = { .rate = 60000, .burst = 600 };
	uint64_t when, frames = 0;

	assert_int_equal(switch_add_port(b->core, &c), 0);
	add(b, 0, NULL, false);
	for (b->now = S; b->now < 11 * S;) {
		if (!switch_ready(b->core, 0, b->now, &when)) {
			assert_true(when > b->now);
			b->now = when;
			continue;
		}
		send_plain(b, 0, 10, 255);
		frames++;
	}
	assert_in_range(frames, 10000, 10015);
	for (frames = 0, b->now = S; b->now < 11 * S; b->now += S / 10000)
		frames += switch_may_go(b->core, 0, b->now, 60, &when);
	assert_in_range(frames, 10000, 10015);
	assert_true(switch_ready(b->core, 1, b->now, &when));
}

static void test_ports_that_cannot_be(void **state)
{
	static const char *const bad[] = { "",   "x",   "0",  "4095",
					   "1+", "1,2", "-1", " 1" };
	struct bench *b = *state;
	struct switch_port_config c = { .vlan = 4095 };
	struct err err;

	assert_int_equal(switch_add_port(b->core, &c), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(switch_parse_trunk(&c, bad[i], &err), -EINVAL);
	c.vlan = 0;
	for (int i = 0; i < SWITCH_PORTS_MAX; i++)
		assert_int_equal(switch_add_port(b->core, &c), i);
	assert_int_equal(switch_add_port(b->core, &c), -ENOSPC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_learns_where_stations_are),
		TEST(test_forgets_in_time_and_with_the_port),
		TEST(test_vlans_are_apart),
		TEST(test_trunks_carry_tags),
		TEST(test_mirrors_see_all_once),
		TEST(test_floods_push_out_nobody),
		TEST(test_rates_hold_in_virtual_time),
		TEST(test_ports_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
