/* test_virtio_vsock.c - dev/virtio/vsock*.c: ports, credit, ends, nonsense. */
#include "devtest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/transport.h"
#include "dev/virtio/vsock_impl.h"
#include "vdriver.h"

#define OUT  VDRIVER_DATA                /* packets to the device */
#define IN   (VDRIVER_DATA + (1u << 20)) /* 32 buffers of 4 KiB */
#define CID  7
#define BUFS 32

enum { RX, TX, EVENT };

struct fix {
	struct dt dt;
	struct vdriver d;
	struct virtio_transport t;
	char dir[64], path[80];
	unsigned next_out, next_in; /* buffers in turn */
	struct vsock_hdr h;         /* what came last */
	const uint8_t *data;
};

static void no_interrupt(struct virtio_transport *t)
{
}

static struct virtio_dev *fix_new(struct fix *f)
{
	struct virtio_dev *vd;
	struct err err = { "" };

	if (virtio_vsock_new(&vd, &f->d.env, CID, f->path, &err))
		fail_msg("%s", err.msg);
	return vd;
}

static void fix_open_features(struct fix *f, uint64_t features)
{
	struct virtio_dev *vd;

	memset(f, 0, sizeof(*f));
	dt_init(&f->dt);
	assert_int_equal(vdriver_ram(&f->d), 0);
	f->d.env.clock = f->dt.env.clock;
	f->d.env.loop = f->dt.env.loop;
	strcpy(f->dir, "/tmp/hostel-vsock.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/v", f->dir);
	vd = fix_new(f);
	f->t.vd = vd;
	f->t.config_interrupt = no_interrupt;
	f->t.status = VIRTIO_STATUS_DRIVER_OK;
	vd->transport = &f->t;
	vdriver_start(&f->d, vd, features);
}

static void fix_open(struct fix *f)
{
	fix_open_features(f, VIRTIO_F_EVENT_IDX);
}

static void fix_close(struct fix *f)
{
	char cmd[128];

	vdriver_stop(&f->d);
	assert_int_not_equal(access(f->path, F_OK), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", f->dir);
	assert_int_equal(system(cmd), 0);
	dt_exit(&f->dt);
}

static void kick(struct fix *f, unsigned queue)
{
	vdriver_notify(&f->d, queue);
	dt_loop(&f->dt);
}

/* Buffers to receive into. */
static void give(struct fix *f, unsigned n)
{
	while (n--) {
		struct vpiece p = { IN + f->next_in++ % BUFS * 4096, 4096,
				    true };

		vdriver_add(&f->d, RX, &p, 1);
	}
	kick(f, RX);
}

static void send_raw(struct fix *f, const struct vsock_hdr *h, uint32_t len)
{
	uint32_t at = OUT + f->next_out++ % 8 * 0x12000;
	struct vpiece p = { at, sizeof(*h) + len, false };

	memcpy(f->d.ram + at, h, sizeof(*h));
	for (uint32_t i = 0; i < len; i++)
		f->d.ram[at + sizeof(*h) + i] = (uint8_t)(i * 13 >> 2);
	vdriver_add(&f->d, TX, &p, 1);
	kick(f, TX);
	assert_int_equal(vdriver_used(&f->d, TX), 0);
}

static struct vsock_hdr hdr(uint32_t guest_port, uint32_t host_port,
			    uint16_t op)
{
	return (struct vsock_hdr){ .src_cid = CID,
				   .dst_cid = VSOCK_CID_HOST,
				   .src_port = guest_port,
				   .dst_port = host_port,
				   .type = VSOCK_STREAM,
				   .op = op,
				   .buf_alloc = 100000 };
}

static void send_op(struct fix *f, uint32_t guest_port, uint32_t host_port,
		    uint16_t op)
{
	struct vsock_hdr h = hdr(guest_port, host_port, op);

	send_raw(f, &h, 0);
}

static void send_data(struct fix *f, uint32_t guest_port, uint32_t host_port,
		      uint32_t len)
{
	struct vsock_hdr h = hdr(guest_port, host_port, VSOCK_RW);

	h.len = len;
	send_raw(f, &h, len);
}

static bool waiting(struct fix *f)
{
	dt_loop(&f->dt);
	return f->d.ring[RX].used[1] != f->d.ring[RX].seen;
}

/* The next packet must be this; its buffer is used again. */
static void expect(struct fix *f, uint16_t op)
{
	uint32_t at = IN + f->d.ring[RX].seen % BUFS * 4096;

	if (!waiting(f))
		fail_msg("no packet with operation %u came", op);
	int64_t n = vdriver_used(&f->d, RX);
	memcpy(&f->h, f->d.ram + at, sizeof(f->h));
	f->data = f->d.ram + at + sizeof(f->h);
	assert_int_equal(f->h.op, op);
	assert_int_equal(n, sizeof(f->h) + f->h.len);
	assert_int_equal(f->h.dst_cid, CID);
	give(f, 1);
}

static void expect_none(struct fix *f)
{
	if (waiting(f))
		expect(f, VSOCK_INVALID);
}

static int host_listen(struct fix *f, unsigned port, int backlog)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s_%u", f->path, port);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* A connection from the guest's port 50 to the host's 9. */
static int guest_connects(struct fix *f)
{
	int listener = host_listen(f, 9, 1), fd;

	send_op(f, 50, 9, VSOCK_REQUEST);
	expect(f, VSOCK_RESPONSE);
	assert_int_equal(f->h.src_port, 9);
	assert_int_equal(f->h.dst_port, 50);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static int host_connects(struct fix *f, const char *line)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	dt_loop(&f->dt);
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		assert_int_equal(errno, EPIPE);
	dt_loop(&f->dt);
	return fd;
}

/* What it reads now: the number of bytes; 0: the end; -1: none yet. */
static ssize_t host_reads(struct fix *f, int fd, void *buf, size_t len)
{
	dt_loop(&f->dt);
	return recv(fd, buf, len, 0);
}

static void host_has(struct fix *f, int fd, const char *text)
{
	char buf[64] = "";

	host_reads(f, fd, buf, sizeof(buf) - 1);
	assert_string_equal(buf, text);
}

/* fd is at its end; the device that held the other side may be gone. */
static void fd_is_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	if (n < 0)
		assert_int_equal(errno, ECONNRESET);
	else
		assert_int_equal(n, 0);
	close(fd);
}

static void host_is_closed(struct fix *f, int fd)
{
	dt_loop(&f->dt);
	fd_is_closed(fd);
}

/* --- Connections ---------------------------------------------------------- */

static void the_guest_reaches_a_listener(void **state)
{
	uint8_t buf[100];
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	assert_int_equal(f.h.src_cid, VSOCK_CID_HOST);
	assert_int_equal(f.h.type, VSOCK_STREAM);
	assert_int_equal(f.h.buf_alloc, VSOCK_BUF);
	send_data(&f, 50, 9, 100);
	assert_int_equal(host_reads(&f, fd, buf, sizeof(buf)), 100);
	assert_int_equal(buf[99], (uint8_t)(99 * 13 >> 2));
	assert_int_equal(write(fd, "back", 4), 4);
	expect(&f, VSOCK_RW);
	assert_int_equal(f.h.len, 4);
	assert_int_equal(f.h.fwd_cnt, 100);
	assert_memory_equal(f.data, "back", 4);
	close(fd);
	expect(&f, VSOCK_SHUTDOWN);
	assert_int_equal(f.h.flags, VSOCK_SHUT_BOTH);
	send_op(&f, 50, 9, VSOCK_RST);
	send_op(&f, 50, 9, VSOCK_CREDIT_UPDATE);
	expect(&f, VSOCK_RST);
	fix_close(&f);
}

static void a_program_reaches_the_guest(void **state)
{
	char ok[32];
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = host_connects(&f, "CONNECT 1234\nfirst");
	expect(&f, VSOCK_REQUEST);
	assert_int_equal(f.h.dst_port, 1234);
	assert_true(f.h.src_port >= VSOCK_PORT_FIRST);
	expect_none(&f);
	snprintf(ok, sizeof(ok), "OK %u\n", f.h.src_port);
	send_op(&f, 1234, f.h.src_port, VSOCK_RESPONSE);
	host_has(&f, fd, ok);
	expect(&f, VSOCK_RW);
	assert_memory_equal(f.data, "first", 5);
	/* The same answer again fits nothing. */
	send_op(&f, 1234, f.h.src_port, VSOCK_RESPONSE);
	expect(&f, VSOCK_RST);
	host_is_closed(&f, fd);
	fix_close(&f);
}

static void a_line_in_pieces(void **state)
{
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = host_connects(&f, "CONN");
	expect_none(&f);
	assert_int_equal(write(fd, "ECT 5", 5), 5);
	expect_none(&f);
	assert_int_equal(write(fd, "\n", 1), 1);
	expect(&f, VSOCK_REQUEST);
	assert_int_equal(f.h.dst_port, 5);
	/* Gone before the guest has answered. */
	close(fd);
	expect(&f, VSOCK_RST);
	fix_close(&f);
}

static void lines_that_are_no_wish(void **state)
{
	static const char *const bad[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT -1\n",
		"CONNECT 1 \n",
		"CONNECT 4294967295\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999\n",
		"connect 1\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT 00000000000000000000000000000000000000000001\n",
	};
	struct fix f;

	fix_open(&f);
	give(&f, BUFS);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		host_is_closed(&f, host_connects(&f, bad[i]));
	expect_none(&f);
	fix_close(&f);
}

static void nobody_is_there(void **state)
{
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	send_op(&f, 50, 9, VSOCK_REQUEST);
	expect(&f, VSOCK_RST);
	assert_int_equal(f.h.src_port, 9);
	assert_int_equal(f.h.dst_port, 50);
	fd = host_connects(&f, "CONNECT 1\n");
	expect(&f, VSOCK_REQUEST);
	send_op(&f, 1, f.h.src_port, VSOCK_RST);
	host_is_closed(&f, fd);
	expect_none(&f);
	fix_close(&f);
}

/* A listener that is busy is waited for, but not for ever. */
static void a_full_backlog_is_waited_for(void **state)
{
	struct fix f;
	int listener;

	fix_open(&f);
	give(&f, BUFS);
	listener = host_listen(&f, 9, 0);
	for (unsigned i = 0; i < 4; i++)
		send_op(&f, 50 + i, 9, VSOCK_REQUEST);
	expect(&f, VSOCK_RESPONSE);
	expect_none(&f);
	for (unsigned i = 1; i < 3; i++) {
		assert_true(accept(listener, NULL, NULL) >= 0);
		dt_advance(&f.dt, 20 * DT_MS);
		expect(&f, VSOCK_RESPONSE);
	}
	dt_advance(&f.dt, 5 * DT_S);
	expect(&f, VSOCK_RST);
	close(listener);
	fix_close(&f);
}

static void connections_are_bounded(void **state)
{
	static int fd[VSOCK_CONNS_MAX + 1];
	struct fix f;
	unsigned n = 0;

	fix_open(&f);
	for (; n <= VSOCK_CONNS_MAX; n++) {
		fd[n] = host_connects(&f, "CONNECT 1\n");
		if (fd[n] < 0)
			break;
	}
	give(&f, BUFS);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		expect(&f, VSOCK_REQUEST);
	expect_none(&f);
	send_op(&f, 50, 9, VSOCK_REQUEST);
	expect(&f, VSOCK_RST);
	/* One goes: the last that waits comes in. */
	close(fd[0]);
	expect(&f, VSOCK_RST);
	expect(&f, VSOCK_REQUEST);
	for (unsigned i = 1; i <= VSOCK_CONNS_MAX; i++)
		close(fd[i]);
	fix_close(&f);
}

/* --- Credit --------------------------------------------------------------- */

static void a_slow_program_holds_the_guest(void **state)
{
	static uint8_t buf[65536];
	uint32_t sent = 0, got = 0;
	struct fix f;
	ssize_t n;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	/* All the credit that there is, as far as it is told. */
	while (sent - f.h.fwd_cnt + 65536 <= VSOCK_BUF) {
		send_data(&f, 50, 9, 65536);
		sent += 65536;
		while (waiting(&f))
			expect(&f, VSOCK_CREDIT_UPDATE);
	}
	assert_true(sent > VSOCK_BUF);
	assert_true(f.h.fwd_cnt < sent);
	while ((n = host_reads(&f, fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(buf[i],
					 (uint8_t)(got % 65536 * 13 >> 2));
	assert_int_equal(got, sent);
	while (waiting(&f))
		expect(&f, VSOCK_CREDIT_UPDATE);
	assert_true(sent - f.h.fwd_cnt < VSOCK_BUF / 4);
	send_op(&f, 50, 9, VSOCK_CREDIT_REQUEST);
	expect(&f, VSOCK_CREDIT_UPDATE);
	assert_int_equal(f.h.fwd_cnt, sent);
	close(fd);
	fix_close(&f);
}

static void more_than_its_credit_resets(void **state)
{
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	for (unsigned i = 0; i < 100 && !waiting(&f); i++) {
		while (waiting(&f))
			expect(&f, VSOCK_CREDIT_UPDATE);
		send_data(&f, 50, 9, 65536);
		if (waiting(&f) &&
		    f.d.ram[IN + f.d.ring[RX].seen % BUFS * 4096 + 30] ==
			    VSOCK_CREDIT_UPDATE)
			expect(&f, VSOCK_CREDIT_UPDATE);
	}
	expect(&f, VSOCK_RST);
	close(fd);
	fix_close(&f);
}

static void a_slow_guest_holds_the_program(void **state)
{
	struct vsock_hdr h = hdr(50, 9, VSOCK_REQUEST);
	uint8_t buf[10000] = { 0 };
	struct fix f;
	int listener, fd;

	fix_open(&f);
	give(&f, BUFS);
	listener = host_listen(&f, 9, 1);
	h.buf_alloc = 1000;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RESPONSE);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	expect(&f, VSOCK_RW);
	assert_int_equal(f.h.len, 1000);
	expect(&f, VSOCK_CREDIT_REQUEST);
	expect_none(&f);
	/* The same as before is no news: it is not asked again. */
	h.op = VSOCK_CREDIT_UPDATE;
	send_raw(&f, &h, 0);
	expect_none(&f);
	h.fwd_cnt = 300;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RW);
	assert_int_equal(f.h.len, 300);
	expect(&f, VSOCK_CREDIT_REQUEST);
	/* An older packet that was overtaken. */
	h.fwd_cnt = 100;
	send_raw(&f, &h, 0);
	expect_none(&f);
	/* The buffer shrinks under what is on its way, then grows. */
	h.fwd_cnt = 1300;
	h.buf_alloc = 0;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_CREDIT_REQUEST);
	h.buf_alloc = UINT32_MAX;
	send_raw(&f, &h, 0);
	for (unsigned left = 8700; left; left -= f.h.len)
		expect(&f, VSOCK_RW);
	/* More than was ever sent. */
	h.fwd_cnt = 10001;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RST);
	host_is_closed(&f, fd);
	close(listener);
	fix_close(&f);
}

static void data_waits_for_buffers(void **state)
{
	uint8_t buf[20000];
	unsigned got = 0;
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, 1);
	fd = guest_connects(&f);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	close(fd);
	while (got < sizeof(buf)) {
		expect(&f, VSOCK_RW);
		assert_memory_equal(f.data, buf + got, f.h.len);
		got += f.h.len;
	}
	expect(&f, VSOCK_SHUTDOWN);
	fix_close(&f);
}

/* --- Ends ----------------------------------------------------------------- */

static void the_guest_ends_its_half(void **state)
{
	struct vsock_hdr h = hdr(50, 9, VSOCK_SHUTDOWN);
	struct fix f;
	char c;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	h.flags = VSOCK_SHUT_SEND;
	send_raw(&f, &h, 0);
	assert_int_equal(host_reads(&f, fd, &c, 1), 0);
	assert_int_equal(write(fd, "more", 4), 4);
	expect(&f, VSOCK_RW);
	shutdown(fd, SHUT_WR);
	expect(&f, VSOCK_SHUTDOWN);
	assert_true(f.h.flags & VSOCK_SHUT_SEND);
	/* It said that there is no more. */
	send_data(&f, 50, 9, 1);
	expect(&f, VSOCK_RST);
	close(fd);
	fix_close(&f);
}

static void the_program_ends_its_half(void **state)
{
	struct vsock_hdr h = hdr(50, 9, VSOCK_SHUTDOWN);
	uint8_t buf[10];
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	assert_int_equal(write(fd, "x", 1), 1);
	shutdown(fd, SHUT_WR);
	expect(&f, VSOCK_RW);
	expect(&f, VSOCK_SHUTDOWN);
	assert_int_equal(f.h.flags, VSOCK_SHUT_SEND);
	send_data(&f, 50, 9, 10);
	assert_int_equal(host_reads(&f, fd, buf, 10), 10);
	h.flags = VSOCK_SHUT_BOTH;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RST);
	host_is_closed(&f, fd);
	expect_none(&f);
	fix_close(&f);
}

/* One that does not read any more: the guest hears of it. */
static void a_deaf_program(void **state)
{
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	shutdown(fd, SHUT_RD);
	send_data(&f, 50, 9, 100);
	expect(&f, VSOCK_SHUTDOWN);
	assert_int_equal(f.h.flags, VSOCK_SHUT_RECEIVE);
	send_data(&f, 50, 9, 100);
	send_op(&f, 50, 9, VSOCK_CREDIT_REQUEST);
	expect(&f, VSOCK_CREDIT_UPDATE);
	assert_int_equal(f.h.fwd_cnt, 200);
	close(fd);
	expect(&f, VSOCK_SHUTDOWN);
	assert_int_equal(f.h.flags, VSOCK_SHUT_BOTH);
	fix_close(&f);
}

static void what_was_sent_before_the_end_arrives(void **state)
{
	struct vsock_hdr h = hdr(50, 9, VSOCK_SHUTDOWN);
	static uint8_t buf[65536];
	uint32_t sent = 0, got = 0;
	struct fix f;
	ssize_t n;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	while (sent < 6 * 65536) {
		send_data(&f, 50, 9, 65536);
		sent += 65536;
		while (waiting(&f))
			expect(&f, VSOCK_CREDIT_UPDATE);
	}
	h.flags = VSOCK_SHUT_BOTH;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RST);
	/* The ports are free again. */
	send_op(&f, 50, 9, VSOCK_CREDIT_UPDATE);
	expect(&f, VSOCK_RST);
	while ((n = host_reads(&f, fd, buf, sizeof(buf))) > 0)
		got += (uint32_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(got, sent);
	close(fd);
	expect_none(&f);
	fix_close(&f);
}

/* --- Nonsense ------------------------------------------------------------- */

static void packets_that_fit_nothing(void **state)
{
	struct vsock_hdr h;
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, BUFS);
	fd = guest_connects(&f);
	for (uint16_t op = 0; op < 12; op++) {
		send_op(&f, 51, 9, op);
		if (op != VSOCK_RST)
			expect(&f, VSOCK_RST);
	}
	h = hdr(50, 9, VSOCK_RW);
	h.type = 2;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RST);
	assert_int_equal(f.h.type, 2);
	h = hdr(50, 9, VSOCK_REQUEST);
	h.dst_cid = 1ull << 32 | VSOCK_CID_HOST;
	send_raw(&f, &h, 0);
	expect(&f, VSOCK_RST);
	assert_int_equal(f.h.src_cid, h.dst_cid);
	h = hdr(50, 9, VSOCK_RW);
	h.src_cid = CID + 1;
	send_raw(&f, &h, 0);
	expect_none(&f);
	/* The connection is still there, until it hears nonsense itself. */
	send_op(&f, 50, 9, VSOCK_CREDIT_REQUEST);
	expect(&f, VSOCK_CREDIT_UPDATE);
	send_op(&f, 50, 9, VSOCK_OPS);
	expect(&f, VSOCK_RST);
	host_is_closed(&f, fd);
	fix_close(&f);
}

/* A length beyond the packet, and a payload where none belongs. */
static void lengths_that_lie(void **state)
{
	static const struct {
		uint16_t op;
		uint32_t len, bytes;
	} bad[] = {
		{ VSOCK_RW, 101, 100 },
		{ VSOCK_RW, UINT32_MAX, 100 },
		{ VSOCK_CREDIT_UPDATE, 100, 100 },
		{ VSOCK_REQUEST, 0, 0 },
	};
	struct vpiece shorter = { OUT, 43, false }, in = { OUT, 100, true };
	char name[100];
	struct fix f;

	fix_open(&f);
	give(&f, BUFS);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = guest_connects(&f);
		struct vsock_hdr h = hdr(50, 9, bad[i].op);

		h.len = bad[i].len;
		send_raw(&f, &h, bad[i].bytes);
		expect(&f, VSOCK_RST);
		host_is_closed(&f, fd);
		snprintf(name, sizeof(name), "%s_9", f.path);
		unlink(name);
	}
	vdriver_add(&f.d, TX, &shorter, 1);
	vdriver_add(&f.d, TX, &in, 1);
	kick(&f, TX);
	assert_int_equal(vdriver_used(&f.d, TX), 0);
	assert_int_equal(vdriver_used(&f.d, TX), 0);
	expect_none(&f);
	fix_close(&f);
}

static void a_header_in_pieces(void **state)
{
	struct vsock_hdr h = hdr(50, 9, VSOCK_RW);
	struct vpiece p[] = { { OUT, 1, false },
			      { OUT + 1, 42, false },
			      { OUT + 43, 3, false },
			      { OUT + 46, 6, false } };
	struct vpiece in[] = { { IN, 20, true },
			       { IN + 20, 26, true },
			       { IN + 46, 100, true } };
	struct fix f;
	int fd;

	fix_open(&f);
	give(&f, 1);
	fd = guest_connects(&f);
	h.len = 8;
	memcpy(f.d.ram + OUT, &h, sizeof(h));
	memcpy(f.d.ram + OUT + sizeof(h), "abcdefgh", 8);
	vdriver_add(&f.d, TX, p, 4);
	kick(&f, TX);
	host_has(&f, fd, "abcdefgh");
	assert_int_equal(write(fd, "x", 1), 1);
	expect(&f, VSOCK_RW); /* into the buffer that was given first */
	vdriver_add(&f.d, RX, in, 3);
	assert_int_equal(write(fd, "y", 1), 1);
	expect(&f, VSOCK_RW);
	assert_int_equal(write(fd, "split", 5), 5);
	dt_loop(&f.dt);
	assert_int_equal(vdriver_used(&f.d, RX), 49);
	assert_memory_equal(f.d.ram + IN + 44, "split", 5);
	close(fd);
	fix_close(&f);
}

static void a_buffer_too_small_breaks_the_queue(void **state)
{
	struct vpiece p = { IN, 44, true };
	struct fix f;

	fix_open(&f);
	vdriver_add(&f.d, RX, &p, 1);
	kick(&f, RX);
	send_op(&f, 50, 9, VSOCK_REQUEST);
	assert_false(virtq_ready(f.d.vd->queue[RX]));
	fix_close(&f);
}

/* Who does not take our answers is not heard: nothing grows. */
static void a_guest_that_takes_no_answers(void **state)
{
	struct vsock_hdr h = hdr(1, 2, VSOCK_RW);
	struct vpiece p = { OUT, sizeof(h), false };
	unsigned taken = 0, answers = 0;
	struct fix f;

	fix_open(&f);
	memcpy(f.d.ram + OUT, &h, sizeof(h));
	for (unsigned i = 0; i < 2 * VSOCK_REPLIES_SOFT; i++) {
		if (i >= VDRIVER_SIZE &&
		    f.d.ring[TX].used[1] == f.d.ring[TX].seen)
			break;
		if (i >= VDRIVER_SIZE) {
			vdriver_used(&f.d, TX);
			taken++;
		}
		vdriver_add(&f.d, TX, &p, 1);
		kick(&f, TX);
	}
	taken = f.d.ring[TX].used[1];
	assert_int_equal(taken, VSOCK_REPLIES_SOFT);
	give(&f, BUFS);
	while (waiting(&f)) {
		expect(&f, VSOCK_RST);
		answers++;
	}
	assert_int_equal(answers, f.d.ring[TX].avail[1]);
	fix_close(&f);
}

/* --- Life ----------------------------------------------------------------- */

static void reset_closes_all(void **state)
{
	struct fix f;
	int a, b;

	fix_open(&f);
	give(&f, BUFS);
	a = guest_connects(&f);
	b = host_connects(&f, "CONNECT 1\n");
	f.d.vd->ops->reset(f.d.vd);
	host_is_closed(&f, a);
	host_is_closed(&f, b);
	/* Without a driver nobody is let in. */
	host_is_closed(&f, host_connects(&f, "CONNECT 1\n"));
	fix_close(&f);
}

static void nothing_moves_while_drained(void **state)
{
	struct fix f;
	int a, b;

	fix_open(&f);
	give(&f, BUFS);
	a = guest_connects(&f);
	f.d.vd->ops->drain(f.d.vd);
	assert_int_equal(write(a, "x", 1), 1);
	b = host_connects(&f, "CONNECT 1\n");
	expect_none(&f);
	dt_advance(&f.dt, 1);
	expect(&f, VSOCK_RW);
	expect(&f, VSOCK_REQUEST);
	close(a);
	close(b);
	fix_close(&f);
}

static void a_restored_guest_is_told(void **state)
{
	struct vpiece event = { IN, 4, true };
	uint32_t id = 99;
	struct fix a, b;
	struct walk *w;
	struct err err;
	size_t len;
	char *buf;
	FILE *file = open_memstream(&buf, &len);
	int fd;

	fix_open(&a);
	give(&a, BUFS);
	fd = guest_connects(&a);
	a.d.vd->ops->drain(a.d.vd);
	w = walk_save_to(file);
	a.d.vd->ops->walk(a.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fclose(file);
	/* Whoever saves may go on. */
	dt_advance(&a.dt, 1);
	assert_int_equal(write(fd, "x", 1), 1);
	expect(&a, VSOCK_RW);
	fix_close(&a);
	fd_is_closed(fd);

	fix_open(&b);
	w = walk_restore_from(buf, len);
	b.d.vd->ops->walk(b.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	dt_advance(&b.dt, 1);
	memcpy(b.d.ram + IN, &id, 4);
	vdriver_add(&b.d, EVENT, &event, 1);
	kick(&b, EVENT);
	assert_int_equal(vdriver_used(&b.d, EVENT), 4);
	memcpy(&id, b.d.ram + IN, 4);
	assert_int_equal(id, 0); /* TRANSPORT_RESET */
	give(&b, BUFS);
	send_op(&b, 50, 9, VSOCK_CREDIT_UPDATE);
	expect(&b, VSOCK_RST);
	fix_close(&b);
	free(buf);
}

/* Linux resets, without a word, what is newer than the event, too. */
static void nobody_is_let_in_until_the_event_is_taken(void **state)
{
	struct vpiece event = { IN + 0x8000, 4, true };
	struct fix a, b;
	struct walk *w;
	struct err err;
	size_t len;
	char *buf;
	FILE *file = open_memstream(&buf, &len);
	int fd;

	fix_open(&a);
	give(&a, BUFS);
	a.d.vd->ops->driver_ok(a.d.vd);
	a.d.vd->ops->drain(a.d.vd);
	w = walk_save_to(file);
	a.d.vd->ops->walk(a.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fclose(file);
	fix_close(&a);
	fix_open(&b);
	give(&b, BUFS);
	for (unsigned i = 0; i < 3; i++)
		vdriver_add(&b.d, EVENT, &event, 1);
	w = walk_restore_from(buf, len);
	b.d.vd->ops->walk(b.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fd = host_connects(&b, "CONNECT 1\n");
	dt_advance(&b.dt, 50000000);
	assert_int_equal(vdriver_used(&b.d, EVENT), 4);
	expect_none(&b);
	vdriver_add(&b.d, EVENT, &event, 1);
	dt_advance(&b.dt, 50000000);
	expect(&b, VSOCK_REQUEST);
	close(fd);
	fix_close(&b);
	free(buf);
}

static void the_configuration_space(void **state)
{
	uint64_t cid;
	struct fix f;

	fix_open(&f);
	assert_int_equal(f.d.vd->config_size, 8);
	memcpy(&cid, f.d.vd->config, 8);
	assert_int_equal(cid, CID);
	assert_int_equal(virtio_vsock_check_cid(3, NULL), 0);
	assert_int_equal(virtio_vsock_check_cid(UINT32_MAX - 1ull, NULL), 0);
	for (uint64_t bad = 0; bad < 3; bad++)
		assert_true(virtio_vsock_check_cid(bad, NULL) < 0);
	assert_true(virtio_vsock_check_cid(UINT32_MAX, NULL) < 0);
	assert_true(virtio_vsock_check_cid(1ull << 32 | 3, NULL) < 0);
	fix_close(&f);
}

/* A stale socket is replaced; one that lives, or another file, is not. */
static void the_socket_file(void **state)
{
	struct virtio_dev *vd;
	struct err err;
	struct stat before, after;
	char path[100];
	struct fix f;

	fix_open(&f);
	assert_int_equal(stat(f.path, &before), 0);
	assert_int_equal(virtio_vsock_new(&vd, &f.d.env, 9, f.path, &err),
			 -EADDRINUSE);
	assert_int_equal(stat(f.path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	close(host_listen(&f, 1, 1));
	snprintf(path, sizeof(path), "%s_1", f.path);
	assert_int_equal(virtio_vsock_new(&vd, &f.d.env, 9, path, &err), 0);
	/* Somebody else has put a file of theirs there. */
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	vd->ops->free(vd);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(virtio_vsock_new(&vd, &f.d.env, 9, path, &err),
			 -EEXIST);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(virtio_vsock_new(&vd, &f.d.env, 9, path, &err),
			 -ENAMETOOLONG);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_reaches_a_listener),
		cmocka_unit_test(a_program_reaches_the_guest),
		cmocka_unit_test(a_line_in_pieces),
		cmocka_unit_test(lines_that_are_no_wish),
		cmocka_unit_test(nobody_is_there),
		cmocka_unit_test(a_full_backlog_is_waited_for),
		cmocka_unit_test(connections_are_bounded),
		cmocka_unit_test(a_slow_program_holds_the_guest),
		cmocka_unit_test(more_than_its_credit_resets),
		cmocka_unit_test(a_slow_guest_holds_the_program),
		cmocka_unit_test(data_waits_for_buffers),
		cmocka_unit_test(the_guest_ends_its_half),
		cmocka_unit_test(the_program_ends_its_half),
		cmocka_unit_test(a_deaf_program),
		cmocka_unit_test(what_was_sent_before_the_end_arrives),
		cmocka_unit_test(packets_that_fit_nothing),
		cmocka_unit_test(lengths_that_lie),
		cmocka_unit_test(a_header_in_pieces),
		cmocka_unit_test(a_buffer_too_small_breaks_the_queue),
		cmocka_unit_test(a_guest_that_takes_no_answers),
		cmocka_unit_test(reset_closes_all),
		cmocka_unit_test(nothing_moves_while_drained),
		cmocka_unit_test(a_restored_guest_is_told),
		cmocka_unit_test(nobody_is_let_in_until_the_event_is_taken),
		cmocka_unit_test(the_configuration_space),
		cmocka_unit_test(the_socket_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
