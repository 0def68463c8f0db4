/* test_virtio_net.c - dev/virtio/virtio_net.c: frames, commands, nonsense. */
#include "nettest.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/virtio/transport.h"
#include "dev/virtio/virtio_net_impl.h"
#include "net/packet.h"
#include "rng.h"
#include "vdriver.h"

#define HLEN 12
#define HEAD VDRIVER_DATA
#define DATA (VDRIVER_DATA + 0x1000)
#define BUFS (VDRIVER_DATA + 0x40000) /* for receiving: 4 KiB each */
#define ACK  (VDRIVER_DATA + 0xff0)

enum { RX, TX, CTRL, TX2 = 3, CTRL2 };

struct fix {
	struct vdriver d;
	struct net_link link;
	struct virtio_transport t; /* as much of one as it needs */
	unsigned config_interrupts;
};

static const uint8_t own[6] = { 0x52, 1, 2, 3, 4, 5 };
static const uint8_t other[6] = { 0x52, 1, 2, 3, 4, 6 };

static void on_config(struct virtio_transport *t)
{
	((struct fix *)((uint8_t *)t - offsetof(struct fix, t)))
		->config_interrupts++;
}

static struct fix *fix_new(unsigned pairs, uint64_t not_taken)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct virtio_net_config config = { .pairs = pairs };
	struct virtio_dev *vd;

	memcpy(config.mac, own, 6);
	assert_int_equal(vdriver_ram(&f->d), 0);
	f->d.env.clock = vclock_new();
	f->d.env.loop = loop_new(f->d.env.clock, NULL);
	assert_int_equal(
		virtio_net_new(&vd, &f->d.env, &config, &f->link, NULL), 0);
	vd->offered &= ~not_taken;
	f->t.vd = vd;
	f->t.status = VIRTIO_STATUS_DRIVER_OK;
	f->t.config_interrupt = on_config;
	vd->transport = &f->t;
	vdriver_start(&f->d, vd, VIRTIO_F_EVENT_IDX);
	return f;
}

static int setup(void **state)
{
	*state = fix_new(1, 0);
	return 0;
}

static int setup_pairs(void **state)
{
	*state = fix_new(2, 0);
	return 0;
}

static int setup_single_buffers(void **state)
{
	*state = fix_new(1, VIRTIO_NET_F_MRG_RXBUF);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;
	struct loop *loop = f->d.env.loop;
	struct vclock *clock = f->d.env.clock;

	vdriver_stop(&f->d);
	assert_true(f->link.closed);
	assert_int_equal(f->link.pauses, 0);
	loop_free(loop);
	vclock_free(clock);
	free(f);
	return 0;
}

/* The network's thread comes round. */
static void turn(struct fix *f)
{
	f->link.ops->transmit(f->link.opaque);
}

static void add_buffers(struct fix *f, unsigned count, uint32_t len)
{
	for (unsigned i = 0; i < count; i++) {
		struct vpiece p = { BUFS + i * 4096, len, true };

		vdriver_add(&f->d, RX, &p, 1);
	}
}

static int give(struct fix *f, const uint8_t *mac, size_t len)
{
	uint8_t frame[9000] = { 0 };
	struct net_hdr hdr = { .flags = NET_HDR_DATA_VALID };

	for (size_t i = 14; i < len; i++)
		frame[i] = (uint8_t)(i * 3);
	memcpy(frame, mac, 6);
	frame[12] = 0x12;
	return nettest_give(&f->link, &hdr, frame, len);
}

/* The ack of a command of `len` bytes at HEAD. */
static int command_on(struct fix *f, unsigned queue, const void *bytes,
		      size_t len)
{
	struct vpiece p[] = { { HEAD, (uint32_t)len, false },
			      { ACK, 1, true } };

	memcpy(f->d.ram + HEAD, bytes, len);
	f->d.ram[ACK] = 0xee;
	vdriver_add(&f->d, queue, p, 2);
	vdriver_notify(&f->d, queue);
	turn(f);
	assert_int_equal(vdriver_used(&f->d, queue), 1);
	return f->d.ram[ACK];
}

static int command(struct fix *f, const void *bytes, size_t len)
{
	return command_on(f, CTRL, bytes, len);
}

/* --- Sending -------------------------------------------------------------- */

static void sends_frames_in_pieces(void **state)
{
	struct fix *f = *state;
	struct vpiece p[] = { { HEAD, HLEN, false },
			      { DATA, 14, false },
			      { DATA + 100, 46, false } };

	memset(f->d.ram + HEAD, 0, HLEN);
	memset(f->d.ram + DATA, 1, 14);
	memset(f->d.ram + DATA + 100, 2, 46);
	vdriver_add(&f->d, TX, p, 3);
	vdriver_notify(&f->d, TX);
	assert_true(f->link.kicks > 0);
	turn(f);
	assert_int_equal(vdriver_used(&f->d, TX), 0);
	assert_int_equal(f->link.sent, 1);
	assert_int_equal(f->link.len, 60);
	assert_int_equal(f->link.frame[13], 1);
	assert_int_equal(f->link.frame[14], 2);
}

static void a_full_network_leaves_frames_in_the_ring(void **state)
{
	struct fix *f = *state;
	struct vpiece p = { HEAD, HLEN + 60, false };

	memset(f->d.ram + HEAD, 0, HLEN);
	f->link.full = true;
	vdriver_add(&f->d, TX, &p, 1);
	turn(f);
	assert_int_equal(f->link.sent, 0);
	f->link.full = false;
	turn(f);
	assert_int_equal(f->link.sent, 1);
}

static void impossible_frames_are_dropped(void **state)
{
	static const uint32_t lengths[] = { HLEN, HLEN + 13, 200000 };
	struct fix *f = *state;

	memset(f->d.ram + HEAD, 0, HLEN);
	for (int i = 0; i < 3; i++) {
		struct vpiece p = { HEAD, lengths[i], false };

		vdriver_add(&f->d, TX, &p, 1);
		turn(f);
		assert_int_equal(vdriver_used(&f->d, TX), 0);
	}
	memset(f->d.ram + HEAD, 0xff, HLEN); /* offloads of no kind */
	vdriver_add(&f->d, TX, &(struct vpiece){ HEAD, HLEN + 60, false }, 1);
	turn(f);
	assert_int_equal(vdriver_used(&f->d, TX), 0);
	assert_int_equal(f->link.sent, 0);
	/* Shorter than its header: the driver is broken. */
	vdriver_add(&f->d, TX, &(struct vpiece){ HEAD, 5, false }, 1);
	f->d.vd->queue[TX]->report = NULL;
	turn(f);
	assert_false(virtq_ready(f->d.vd->queue[TX]));
}

/* --- Receiving ------------------------------------------------------------ */

static void a_frame_fills_as_many_buffers_as_it_needs(void **state)
{
	struct fix *f = *state;
	uint16_t buffers;

	add_buffers(f, 6, 2000);
	assert_int_equal(give(f, own, 4500), 0);
	assert_int_equal(vdriver_used(&f->d, RX), 2000);
	assert_int_equal(vdriver_used(&f->d, RX), 2000);
	assert_int_equal(vdriver_used(&f->d, RX), 4512 - 4000);
	memcpy(&buffers, f->d.ram + BUFS + 10, 2);
	assert_int_equal(buffers, 3);
	assert_int_equal(f->d.ram[BUFS], NET_HDR_DATA_VALID);
	assert_int_equal(f->d.ram[BUFS + HLEN + 100], (uint8_t)300);
	assert_int_equal(f->d.ram[BUFS + 4096], (uint8_t)(1988 * 3));
	assert_true(f->d.interrupts > 0);
}

static void too_few_buffers_are_all_or_nothing(void **state)
{
	struct fix *f = *state;

	assert_int_equal(give(f, own, 100), -EAGAIN);
	add_buffers(f, 2, 2000);
	assert_int_equal(give(f, own, 4500), -EAGAIN);
	assert_int_equal(f->d.ring[RX].used[1], 0);
	add_buffers(f, 1, 2000);
	assert_int_equal(give(f, own, 4500), 0);
	assert_int_equal(f->d.ring[RX].used[1], 3);
}

/* --- Commands ------------------------------------------------------------- */

static void filters_do_as_commanded(void **state)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	static const uint8_t group[6] = { 1, 0, 0x5e, 1, 2, 3 };
	uint8_t table[] = { 1, 0, 1, 0, 0, 0, 0x52, 1, 2, 3, 4, 6, 0, 0, 0, 0 };
	struct fix *f = *state;
	_Atomic uint16_t *used = &f->d.ring[RX].used[1];

	add_buffers(f, 20, 2000);
	give(f, other, 60); /* promiscuous until told */
	assert_int_equal(*used, 1);
	assert_int_equal(command(f, "\0\0\0", 3), 0);
	give(f, other, 60);
	give(f, group, 60);
	assert_int_equal(*used, 1);
	give(f, own, 60);
	give(f, all, 60);
	assert_int_equal(*used, 3);
	assert_int_equal(command(f, table, sizeof(table)), 0);
	give(f, other, 60);
	assert_int_equal(*used, 4);
	assert_int_equal(command(f, "\0\1\1", 3), 0); /* all groups */
	give(f, group, 60);
	assert_int_equal(*used, 5);
	assert_int_equal(command(f, "\0\5\1", 3), 0); /* no broadcasts */
	give(f, all, 60);
	assert_int_equal(*used, 5);
	assert_int_equal(command(f, "\1\1\x52\1\2\3\4\7", 8), 0);
	give(f, own, 60);
	assert_int_equal(*used, 5);
	assert_int_equal(f->d.vd->config[5], 7);
}

static void vlans_pass_once_added(void **state)
{
	struct fix *f = *state;
	struct net_hdr hdr = { 0 };
	uint8_t frame[64] = { 0 };

	memcpy(frame, own, 6);
	packet_put16(frame + 12, ETH_TYPE_VLAN);
	packet_put16(frame + 14, 0x2007);
	add_buffers(f, 4, 2000);
	command(f, "\0\0\0", 3);
	nettest_give(&f->link, &hdr, frame, sizeof(frame));
	assert_int_equal(f->d.ring[RX].used[1], 0);
	assert_int_equal(command(f, "\2\0\7\0", 4), 0);
	nettest_give(&f->link, &hdr, frame, sizeof(frame));
	assert_int_equal(f->d.ring[RX].used[1], 1);
	assert_int_equal(command(f, "\2\1\7\0", 4), 0);
	nettest_give(&f->link, &hdr, frame, sizeof(frame));
	assert_int_equal(f->d.ring[RX].used[1], 1);
}

static void commands_that_are_none_are_refused(void **state)
{
	struct fix *f = *state;

	assert_int_equal(command(f, "\0", 1), 1);
	assert_int_equal(command(f, "\0\0", 2), 1);
	assert_int_equal(command(f, "\0\6\1", 3), 1);
	assert_int_equal(command(f, "\1\0\377\377\377\377", 6), 1);
	assert_int_equal(command(f, "\1\0\1\0\0\0", 6), 1);
	assert_int_equal(command(f, "\2\0\0\20", 4), 1); /* VLAN 4096 */
	assert_int_equal(command(f, "\4\0\1\0", 4), 1);  /* MQ: not taken */
	assert_int_equal(command(f, "\5\0\0\0\0\0\0\0\1\0", 10), 0 + 1);
	assert_int_equal(command(f, "\11\0\0", 3), 1);
}

static void offloads_can_be_turned_off(void **state)
{
	struct fix *f = *state;

	assert_int_equal(f->link.can, NET_CAN_ALL);
	assert_int_equal(command(f, "\5\0\2\0\0\0\0\0\0\0", 10), 0);
	assert_int_equal(f->link.can, NET_CAN_CSUM);
	assert_int_equal(command(f, "\5\0\0\0\0\0\0\0\0\0", 10), 0);
	assert_int_equal(f->link.can, 0);
}

/* 5.1.6.5.5: what was given to a pair is sent, though it is laid off. */
static void pairs_come_and_go(void **state)
{
	struct vpiece p = { DATA, HLEN + 60, false };
	struct fix *f = *state;

	memset(f->d.ram + DATA, 0, HLEN);
	assert_int_equal(command_on(f, CTRL2, "\4\0\2\0", 4), 0);
	vdriver_add(&f->d, TX2, &p, 1);
	turn(f);
	assert_int_equal(f->link.sent, 1);
	vdriver_add(&f->d, TX2, &p, 1);
	vdriver_add(&f->d, TX2, &p, 1);
	assert_int_equal(command_on(f, CTRL2, "\4\0\1\0", 4), 0);
	assert_int_equal(f->link.sent, 3);
	assert_int_equal(command_on(f, CTRL2, "\4\0\0\0", 4), 1);
	assert_int_equal(command_on(f, CTRL2, "\4\0\3\0", 4), 1);
	/* What comes in goes to the first one now. */
	add_buffers(f, 1, 2000);
	assert_int_equal(give(f, own, 60), 0);
	assert_int_equal(vdriver_used(&f->d, RX), HLEN + 60);
}

/* 5.1.6.4: one chain a frame, and 1 says so. */
static void without_mergeable_buffers(void **state)
{
	struct fix *f = *state;
	uint16_t buffers;

	add_buffers(f, 3, 2000);
	assert_int_equal(give(f, own, 1500), 0);
	assert_int_equal(vdriver_used(&f->d, RX), HLEN + 1500);
	memcpy(&buffers, f->d.ram + BUFS + 10, 2);
	assert_int_equal(buffers, 1);
	/* Too long for a buffer: lost, the buffer is not. */
	assert_int_equal(give(f, own, 3000), 0);
	assert_int_equal(f->d.ring[RX].used[1], 1);
	assert_int_equal(give(f, own, 60), 0);
	assert_int_equal(vdriver_used(&f->d, RX), HLEN + 60);
}

static void a_reset_stops_all(void **state)
{
	struct vpiece p = { DATA, HLEN + 60, false };
	struct fix *f = *state;

	memset(f->d.ram + DATA, 0, HLEN);
	add_buffers(f, 2, 2000);
	command(f, "\0\0\0", 3);
	assert_int_equal(command(f, "\1\1\x52\1\2\3\4\7", 8), 0);
	vdriver_add(&f->d, TX, &p, 1);
	f->d.vd->ops->reset(f->d.vd);
	turn(f);
	assert_int_equal(give(f, own, 60), 0);
	assert_int_equal(f->link.sent, 0);
	assert_int_equal(f->d.ring[RX].used[1], 0);
	assert_memory_equal(f->d.vd->config, own, 6);
}

static void walk_through(struct fix *f, char **buf, size_t *len)
{
	FILE *file = *buf ? NULL : open_memstream(buf, len);
	struct walk *w =
		file ? walk_save_to(file) : walk_restore_from(*buf, *len);
	struct err err;

	f->d.vd->ops->walk(f->d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	if (file)
		fclose(file);
}

/* 5.1.6.5.4: it may be elsewhere; filters and modes are as they were. */
static void restored_it_asks_to_be_announced(void **state)
{
	struct fix *f = *state, *g;
	_Atomic uint16_t *used;
	char *buf = NULL;
	void *other_state;
	size_t len;

	assert_int_equal(command(f, "\0\0\0", 3), 0);
	assert_int_equal(f->d.vd->config[6] & 2, 0);
	walk_through(f, &buf, &len);
	assert_int_equal(f->d.vd->config[6] & 2, 0);
	setup(&other_state);
	g = other_state;
	walk_through(g, &buf, &len);
	assert_int_equal(g->d.vd->config[6] & 3, 3);
	assert_int_equal(atomic_load(&g->t.generation), 1);
	assert_int_equal(g->config_interrupts, 1);
	used = &g->d.ring[RX].used[1];
	add_buffers(g, 2, 2000);
	give(g, other, 60); /* not promiscuous, as before */
	assert_int_equal(*used, 0);
	assert_int_equal(command(g, "\3\0", 2), 0);
	assert_int_equal(g->d.vd->config[6] & 3, 1);
	free(buf);
	teardown(&other_state);
}

/* Any bytes as descriptors: nothing is touched outside the guest. */
static void wild_rings_harm_nothing(void **state)
{
	struct fix *f = *state;
	struct rng rng = { 4 };

	for (unsigned i = 0; i < 3; i++)
		f->d.vd->queue[i]->report = NULL;
	for (unsigned n = 0; n < 20000; n++) {
		unsigned queue = rng_below(&rng, 3);
		struct vdriver_ring *r = &f->d.ring[queue];
		uint8_t *at = (uint8_t *)r->desc;

		for (int k = 0; k < 8; k++)
			at[rng_below(&rng, 1024)] = (uint8_t)rng_next(&rng);
		r->avail[2 + rng_below(&rng, VDRIVER_SIZE)] =
			(uint16_t)rng_below(&rng, 80);
		r->avail[1] += rng_below(&rng, 3);
		turn(f);
		give(f, own, 14 + rng_below(&rng, 5000));
		if (rng_one_in(&rng, 16))
			for (unsigned i = 0; i < 3; i++)
				f->d.vd->queue[i]->broken = false;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sends_frames_in_pieces),
		TEST(a_full_network_leaves_frames_in_the_ring),
		TEST(impossible_frames_are_dropped),
		TEST(a_frame_fills_as_many_buffers_as_it_needs),
		TEST(too_few_buffers_are_all_or_nothing),
		TEST(filters_do_as_commanded),
		TEST(vlans_pass_once_added),
		TEST(commands_that_are_none_are_refused),
		TEST(offloads_can_be_turned_off),
		TEST(a_reset_stops_all),
		TEST(restored_it_asks_to_be_announced),
		TEST(wild_rings_harm_nothing),
		cmocka_unit_test_setup_teardown(pairs_come_and_go, setup_pairs,
						teardown),
		cmocka_unit_test_setup_teardown(without_mergeable_buffers,
						setup_single_buffers, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
