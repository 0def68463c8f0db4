/*
 * fuzz_virtio_small.c - console, balloon and random numbers: drivers that
 * write what they like into rings and buffers.
 *
 * The first byte of an input chooses the device and its features; then steps
 * of 8 bytes: what, queue, where, value.
 */
#include "devtest.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/virtio/balloon.h"
#include "dev/virtio/console.h"
#include "dev/virtio/rng.h"
#include "dev/virtio/transport.h"
#include "fuzz.h"
#include "vdriver.h"

#define STEPS_MAX 96

enum { CONSOLE, BALLOON, RNG, KINDS };

struct step {
	uint8_t what, queue;
	uint16_t where;
	uint32_t value;
};

struct bench {
	struct dt dt;
	struct vdriver d;
	struct virtio_transport t;
	unsigned kind;
	int fd[2]; /* the console's, and who is at its other end */
};

static void bench_changed(struct virtio_transport *t)
{
}

static int bench_make(struct bench *b, struct virtio_dev **vd)
{
	struct virtio_console_config config = { .columns = 80, .rows = 25 };
	int small = 4096;

	if (b->kind == BALLOON)
		return virtio_balloon_new(vd, &b->d.env, NULL);
	if (b->kind == RNG)
		return virtio_rng_new(vd, &b->d.env, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->fd))
		return -1;
	setsockopt(b->fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	config.in_fd = config.out_fd = b->fd[0];
	return virtio_console_new(vd, &b->d.env, &config, NULL);
}

static void bench_open(struct bench *b, uint8_t how)
{
	struct virtio_dev *vd = NULL;

	memset(b, 0, sizeof(*b));
	b->kind = how % KINDS;
	b->fd[0] = b->fd[1] = -1;
	dt_init(&b->dt);
	if (vdriver_ram(&b->d))
		abort();
	b->d.env.clock = b->dt.env.clock;
	b->d.env.loop = b->dt.env.loop;
	if (bench_make(b, &vd))
		abort();
	b->t.vd = vd;
	b->t.config_interrupt = bench_changed;
	b->t.status = VIRTIO_STATUS_DRIVER_OK;
	vd->transport = &b->t;
	vdriver_start(&b->d, vd,
		      VIRTIO_F_INDIRECT_DESC |
			      (how & 0x80 ? VIRTIO_F_EVENT_IDX : 0));
}

static void bench_close(struct bench *b)
{
	vdriver_stop(&b->d);
	for (int i = 0; i < 2; i++)
		if (b->fd[i] >= 0)
			close(b->fd[i]);
	dt_exit(&b->dt);
}

/* A chain of up to three pieces; bits of `where` bend it. */
static void step_chain(struct bench *b, const struct step *s, unsigned queue)
{
	uint32_t base = VDRIVER_DATA + (s->where & 0xff) * 0x1000u;
	bool in = s->where >> 8 & 1;
	struct vpiece p[] = { { base, s->value & 0xfff, in },
			      { base + 0x800, s->value >> 12 & 0xfff, in },
			      { base + 0x1000, s->value >> 24, true } };

	if (s->where & 0x200)
		p[1].gpa = s->value;
	/* Page numbers, sometimes good ones; or a statistic. */
	for (unsigned i = 0; i < 64; i++) {
		uint32_t pfn = (s->value * (i + 1)) % (VDRIVER_RAM >> 11);

		memcpy(b->d.ram + base + i * 4, &pfn, 4);
	}
	vdriver_add(&b->d, queue, p, 1 + (s->where >> 10) % 3);
}

/* What others do to it meanwhile. */
static void step_outside(struct bench *b, const struct step *s)
{
	struct balloon_state state;
	char buf[4096];

	if (b->kind == BALLOON) {
		virtio_balloon_set(b->d.vd, s->value);
		virtio_balloon_get(b->d.vd, 0, &state);
	} else if (b->kind == CONSOLE && s->queue & 1) {
		if (write(b->fd[1], b->d.ram, s->where % 4096) < 0)
			return;
	} else if (b->kind == CONSOLE) {
		if (read(b->fd[1], buf, sizeof(buf)) < 0)
			virtio_console_resize(b->d.vd, s->where,
					      (uint16_t)s->value);
	}
}

static void step_do(struct bench *b, const struct step *s)
{
	struct virtio_dev *vd = b->d.vd;
	unsigned queue = s->queue % vd->queue_count;

	switch (s->what & 7) {
	case 0: /* anything in the rings */
		memcpy(b->d.ram + VDRIVER_RINGS * (queue + 1) + (s->where & ~3),
		       &s->value, 4);
		break;
	case 1: /* anything in the buffers */
		memcpy(b->d.ram + VDRIVER_DATA + s->where, &s->value, 4);
		break;
	case 2:
		step_outside(b, s);
		break;
	case 3:
		if (vd->ops->write_config && s->where + 4u <= vd->config_size)
			vd->ops->write_config(vd, s->where, &s->value, 4);
		break;
	case 4:
		dt_advance(&b->dt, s->value);
		break;
	default:
		step_chain(b, s, queue);
	}
	if (s->what & 0x80)
		vdriver_notify(&b->d, queue);
	dt_loop(&b->dt);
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct step s[20];

	if (i >= 3 * KINDS || cap < sizeof(s) + 1)
		return 0;
	buf[0] = (uint8_t)(i | (i & 1) << 7);
	for (unsigned k = 0; k < 20; k++)
		s[k] = (struct step){ k % 5 == 4 ? 2 : 0x85, (uint8_t)k,
				      (uint16_t)(k | (k * i & 5) << 8),
				      k * 0x101u * (i + 1) };
	memcpy(buf + 1, s, sizeof(s));
	return sizeof(s) + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bench b;
	struct step s;

	bench_open(&b, len ? data[0] : 0);
	for (size_t at = 1, n = 0; at + sizeof(s) <= len && n < STEPS_MAX;
	     at += sizeof(s), n++) {
		memcpy(&s, data + at, sizeof(s));
		step_do(&b, &s);
	}
	bench_close(&b);
	return 0;
}
