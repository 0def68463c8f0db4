/*
 * fuzz_virtio_net.c - a network card whose driver writes what it likes into
 * rings, frames' headers and commands, while frames come in: nothing may
 * crash, hang, or leave the card with more than a frame has room for.
 *
 * The first byte of an input chooses features; then steps of 8 bytes: what,
 * queue, where, value.  Some make good frames and commands, so that odd ones
 * find a card that works.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "dev/virtio/virtio_net_impl.h"
#include "nettest.h"
#include "vdriver.h"

#define STEPS_MAX 96
#define HLEN      12u
#define BUFFERS   (VDRIVER_DATA + 0x100000u)

enum { RX, TX, CTRL, QUEUES };

struct step {
	uint8_t what, queue;
	uint16_t where;
	uint32_t value;
};

struct bench {
	struct vdriver d;
	struct net_link link;
};

static void bench_open(struct bench *b, uint8_t how)
{
	static const uint64_t without[] = { 0, VIRTIO_NET_F_MRG_RXBUF,
					    VIRTIO_NET_F_CTRL_RX,
					    VIRTIO_NET_F_GUEST_CSUM |
						    VIRTIO_NET_F_GUEST_TSO4 };
	struct virtio_net_config config = { .mac = { 0x52, 1, 2, 3, 4, 5 },
					    .pairs = 1 };
	struct virtio_dev *vd = NULL;

	if (vdriver_ram(&b->d))
		abort();
	b->d.env.clock = vclock_new();
	b->d.env.loop = loop_new(b->d.env.clock, NULL);
	if (virtio_net_new(&vd, &b->d.env, &config, &b->link, NULL))
		abort();
	vd->offered &= ~without[how >> 1 & 3];
	vdriver_start(&b->d, vd,
		      VIRTIO_F_INDIRECT_DESC |
			      (how & 1 ? VIRTIO_F_EVENT_IDX : 0));
}

static void bench_close(struct bench *b)
{
	vdriver_stop(&b->d);
	if (!b->link.closed || b->link.pauses)
		abort();
	loop_free(b->d.env.loop);
	vclock_free(b->d.env.clock);
	free(b);
}

static uint32_t data_at(const struct step *s)
{
	return VDRIVER_DATA + (s->where & 0xff) * 0x1000u;
}

/* The header is what `value` and memory make of it. */
static void step_send(struct bench *b, const struct step *s)
{
	uint32_t base = data_at(s), len = s->value & 0xffff;
	struct net_hdr hdr = { .flags = s->value >> 16 & 1,
			       .gso_type = s->value >> 17 & 7,
			       .gso_size = (uint16_t)(s->value >> 20),
			       .csum_start = 34,
			       .csum_offset = 16 };
	struct vpiece p[] = { { base, HLEN, false },
			      { base + HLEN, len % 128, false },
			      { base + 256, len, false } };

	if (s->where & 0x100)
		p[0].len = s->value & 15;
	if (s->where & 0x200)
		p[1].in = true;
	if (s->where & 0x400)
		p[2].gpa = s->value;
	memcpy(b->d.ram + base, &hdr, sizeof(hdr));
	memcpy(b->d.ram + base + HLEN, "\x52\1\2\3\4\6\x52\1\2\3\4\5\x08\0\x45",
	       15);
	vdriver_add(&b->d, TX, p, 1 + (s->where >> 11) % 3);
}

static void step_command(struct bench *b, const struct step *s)
{
	uint32_t base = data_at(s);
	struct vpiece p[] = { { base, 2, false },
			      { base + 16, s->value >> 16 & 0x3ff, false },
			      { base + 2048, 1, true } };

	if (s->where & 0x100)
		p[0].len = s->value >> 16;
	if (s->where & 0x200)
		p[2].in = false;
	b->d.ram[base] = s->value & 7;
	b->d.ram[base + 1] = s->value >> 3 & 7;
	memcpy(b->d.ram + base + 16, &s->value, 4);
	memcpy(b->d.ram + base + 20, &s->where, 2);
	vdriver_add(&b->d, CTRL, p, 3);
}

static void step_give(struct bench *b, const struct step *s)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct net_hdr hdr = { .flags = s->where & 3,
			       .gso_type = s->where >> 2 & 7,
			       .gso_size = (uint16_t)(s->value >> 16) };
	size_t len = s->value % sizeof(frame);

	memset(frame, s->queue & 1 ? 0xff : 0x52, 6);
	frame[12] = s->where >> 8 & 1 ? 0x81 : 0x08;
	frame[15] = (uint8_t)(s->where >> 9);
	nettest_give(&b->link, &hdr, frame, len < 14 ? 14 : len);
}

static void step_buffer(struct bench *b, const struct step *s)
{
	struct vpiece p[] = {
		{ BUFFERS + (s->where & 0xff) * 0x800u, s->value & 0xffff,
		  true },
		{ BUFFERS + (s->where & 0xff) * 0x700u, s->value >> 16, true },
	};

	if (s->where & 0x100)
		p[1].gpa = s->value;
	vdriver_add(&b->d, RX, p, 1 + (s->where >> 9 & 1));
}

static void step_do(struct bench *b, const struct step *s)
{
	struct virtio_dev *vd = b->d.vd;
	unsigned queue = s->queue % QUEUES;

	switch (s->what & 15) {
	case 0: /* anything in the rings */
		memcpy(b->d.ram + VDRIVER_RINGS * (queue + 1) + (s->where & ~3),
		       &s->value, 4);
		break;
	case 1: /* anything in what they name */
		memcpy(b->d.ram + VDRIVER_DATA + s->where, &s->value, 4);
		break;
	case 2:
		vdriver_notify(&b->d, queue);
		b->link.ops->transmit(b->link.opaque);
		break;
	case 3:
		b->link.full = s->value & 1;
		break;
	case 4:
		if (vd->ops->write_config)
			vd->ops->write_config(vd, s->where % vd->config_size,
					      &s->value, 1);
		break;
	case 5:
	case 6:
		step_command(b, s);
		break;
	case 7:
	case 8:
	case 9:
		step_buffer(b, s);
		break;
	case 10:
	case 11:
		step_give(b, s);
		break;
	default:
		step_send(b, s);
	}
	if (s->what & 0x80)
		b->link.ops->transmit(b->link.opaque);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const uint8_t what[] = { 12, 7, 10, 5, 12, 8, 11, 0x8c };
	struct step s[24];

	if (i >= 8 || cap < sizeof(s) + 1)
		return 0;
	buf[0] = (uint8_t)i;
	for (unsigned k = 0; k < 24; k++)
		s[k] = (struct step){ what[(k * (i + 1)) % 8] | 0x80,
				      (uint8_t)k,
				      (uint16_t)(k * 5 | (k & i ? 0x1000 : 0)),
				      0x05dc | k << 16 | i << 19 };
	memcpy(buf + 1, s, sizeof(s));
	return sizeof(s) + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct step s;

	bench_open(b, len ? data[0] : 0);
	for (size_t at = 1, n = 0; at + sizeof(s) <= len && n < STEPS_MAX;
	     at += sizeof(s), n++) {
		memcpy(&s, data + at, sizeof(s));
		step_do(b, &s);
	}
	bench_close(b);
	return 0;
}
