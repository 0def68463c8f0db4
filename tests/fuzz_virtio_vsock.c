/*
 * fuzz_virtio_vsock.c - vsock with a guest that lies and programs of the host
 * that come, go and do not read: nothing may crash, hang or grow.
 *
 * The input is steps of 8 bytes: what, which, a number, a value.  Packets are
 * good ones whose fields a step may replace; ports are few, so that they meet.
 */
#include "devtest.h"
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/virtio/transport.h"
#include "dev/virtio/vsock_impl.h"
#include "vdriver.h"

#define OUT       VDRIVER_DATA
#define IN        (VDRIVER_DATA + (1u << 20))
#define CID       3
#define PROGRAMS  8
#define STEPS_MAX 96

struct step {
	uint8_t what, which;
	uint16_t number;
	uint32_t value;
};

struct bench {
	struct dt dt;
	struct vdriver d;
	struct virtio_transport t;
	char dir[64], path[80];
	int listener, program[PROGRAMS];
};

static void fuzz_nothing(struct virtio_transport *t)
{
}

static void bench_address(struct bench *b, struct sockaddr_un *un,
			  const char *suffix)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(un->sun_path, sizeof(un->sun_path), "%s%s", b->path, suffix);
}

static void bench_open(struct bench *b)
{
	struct virtio_dev *vd;
	struct sockaddr_un un;

	memset(b, 0, sizeof(*b));
	dt_init(&b->dt);
	if (vdriver_ram(&b->d))
		abort();
	b->d.env.clock = b->dt.env.clock;
	b->d.env.loop = b->dt.env.loop;
	strcpy(b->dir, "/tmp/hostel-fuzz-vsock.XXXXXX");
	if (!mkdtemp(b->dir))
		abort();
	snprintf(b->path, sizeof(b->path), "%s/v", b->dir);
	if (virtio_vsock_new(&vd, &b->d.env, CID, b->path, NULL))
		abort();
	b->t.vd = vd;
	b->t.config_interrupt = fuzz_nothing;
	vd->transport = &b->t;
	vdriver_start(&b->d, vd, VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC);
	bench_address(b, &un, "_1");
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(b->listener, (struct sockaddr *)&un, sizeof(un)) ||
	    listen(b->listener, 2))
		abort();
	for (unsigned i = 0; i < PROGRAMS; i++)
		b->program[i] = -1;
}

static void bench_close(struct bench *b)
{
	struct sockaddr_un un;

	for (unsigned i = 0; i < PROGRAMS; i++)
		if (b->program[i] >= 0)
			close(b->program[i]);
	close(b->listener);
	vdriver_stop(&b->d);
	bench_address(b, &un, "_1");
	unlink(un.sun_path);
	if (rmdir(b->dir)) /* the device's own socket is gone */
		abort();
	dt_exit(&b->dt);
}

/* What no input may break. */
static void bench_check(struct bench *b)
{
	struct vsock *v = (struct vsock *)b->d.vd;
	unsigned count = 0;

	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		if (!v->conn[i])
			continue;
		count++;
		if (v->conn[i]->buf_len > VSOCK_BUF || v->conn[i]->slot != i)
			abort();
	}
	if (count != v->count || v->reply_count > VSOCK_REPLIES)
		abort();
}

/* --- The guest's steps ---------------------------------------------------- */

static void step_packet(struct bench *b, const struct step *s)
{
	struct vsock *v = (struct vsock *)b->d.vd;
	struct vsock_hdr h = {
		.src_cid = CID,
		.dst_cid = VSOCK_CID_HOST,
		.src_port = s->which & 3,
		/* Ours, those of programs that came, and nobody's. */
		.dst_port = s->which & 4 ? 1 : v->next_port - (s->which >> 6),
		.type = VSOCK_STREAM,
		.op = s->which >> 3 & 7,
		.flags = s->value & 3,
		.buf_alloc = s->value >> 8,
	};
	struct vpiece p[2] = { { OUT, sizeof(h), false } };

	if (h.op == VSOCK_RW)
		h.len = s->number;
	p[1] = (struct vpiece){ OUT + 0x1000, s->number, false };
	if (s->what & 0x80) /* one of the header's words */
		memcpy((uint8_t *)&h + s->number % 11 * 4, &s->value, 4);
	memcpy(b->d.ram + OUT, &h, sizeof(h));
	vdriver_add(&b->d, 1, p, s->number ? 2 : 1);
	vdriver_notify(&b->d, 1);
	dt_loop(&b->dt); /* before the memory is used again */
}

static void step_buffers(struct bench *b, const struct step *s)
{
	struct vpiece p = { IN + (s->value & 0xff) * 4096, s->number, true };

	for (unsigned i = 0; i < (s->which & 15); i++)
		vdriver_add(&b->d, s->which & 0x80 ? 2 : 0, &p, 1);
	vdriver_notify(&b->d, 0);
}

/* Anything, anywhere in a queue's rings. */
static void step_ring(struct bench *b, const struct step *s)
{
	uint32_t at = VDRIVER_RINGS * (1 + s->which % 3) +
		      (s->which >> 6) * 0x4000 + (s->number & 0x7fc);

	memcpy(b->d.ram + at, &s->value, 4);
	vdriver_notify(&b->d, s->which % 3);
}

/* --- The host's ----------------------------------------------------------- */

static void step_program(struct bench *b, const struct step *s)
{
	int *fd = &b->program[s->which % PROGRAMS];
	struct sockaddr_un un;
	char line[32];

	if (*fd >= 0)
		close(*fd);
	if (s->value & 1) {
		*fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK);
		return;
	}
	bench_address(b, &un, "");
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(*fd, (struct sockaddr *)&un, sizeof(un)))
		return;
	snprintf(line, sizeof(line), "CONNECT %u\n", s->number & 3);
	send(*fd, line, s->value & 2 ? s->number % 10 : strlen(line),
	     MSG_NOSIGNAL);
}

static void step_bytes(struct bench *b, const struct step *s)
{
	static uint8_t buf[65536];
	int fd = b->program[s->which % PROGRAMS];

	if (fd < 0)
		return;
	if (s->value & 1)
		send(fd, buf, s->number, MSG_NOSIGNAL);
	if (s->value & 2)
		recv(fd, buf, s->number, 0);
	if (s->value & 4)
		shutdown(fd, s->value >> 3 & 1);
}

static void step_life(struct bench *b, const struct step *s)
{
	const struct virtio_ops *ops = b->d.vd->ops;

	if (s->which & 1)
		ops->drain(b->d.vd);
	if (s->which & 2)
		dt_advance(&b->dt, s->number * DT_MS);
	if ((s->which & 0xfc) == 4)
		ops->reset(b->d.vd);
	if ((s->which & 0xf8) == 8)
		ops->driver_ok(b->d.vd);
}

static void bench_step(struct bench *b, const struct step *s)
{
	static void (*const steps[])(struct bench *, const struct step *) = {
		step_packet, step_packet, step_buffers, step_program,
		step_bytes,  step_bytes,  step_ring,    step_life,
	};

	steps[s->what & 7](b, s);
	dt_loop(&b->dt);
	bench_check(b);
}

/* Good runs: both sides connect, talk, and end. */
size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const struct step good[] = {
		{ 2, 15, 4096, 1 },
		{ 0, 4 | VSOCK_REQUEST << 3, 0, 0xffff00 },
		{ 3, 0, 0, 1 },
		{ 0, 4 | VSOCK_RW << 3, 5000, 0xffff00 },
		{ 4, 0, 3000, 3 },
		{ 3, 1, 2, 0 },
		{ 0, 2 | VSOCK_RESPONSE << 3, 0, 0xffff00 },
		{ 4, 1, 9000, 1 },
		{ 0, 2 | VSOCK_CREDIT_REQUEST << 3, 0, 0xffff00 },
		{ 4, 0, 10, 12 },
		{ 7, 3, 5, 0 },
		{ 0, 4 | VSOCK_SHUTDOWN << 3, 0, 0xffff03 },
		{ 0, 2 | VSOCK_RST << 3, 0, 0 },
		{ 3, 0, 0, 0 },
	};
	size_t n = sizeof(good) - i * sizeof(*good);

	if (i >= 4 || n > cap)
		return 0;
	memcpy(buf, good + i / 2, n);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bench b;
	struct step s;

	bench_open(&b);
	for (size_t n = 0; n < STEPS_MAX && len >= sizeof(s); n++) {
		memcpy(&s, data, sizeof(s));
		bench_step(&b, &s);
		data += sizeof(s);
		len -= sizeof(s);
	}
	bench_close(&b);
	return 0;
}
