/* test_virtio_console.c - dev/virtio/console.c: bytes, waiting, nonsense. */
#include "devtest.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/virtio/console.h"
#include "dev/virtio/transport.h"
#include "vdriver.h"

#define DATA VDRIVER_DATA
#define LONG (1u << 20) /* more than line and socket hold */

enum { RX, TX };

struct fix {
	struct dt dt;
	struct vdriver d;
	struct virtio_transport t;
	unsigned changes; /* configuration interrupts */
	int ours, peer;
	uint32_t got; /* bytes that the peer has read */
};

static void count_change(struct virtio_transport *t)
{
	((struct fix *)((char *)t - offsetof(struct fix, t)))->changes++;
}

static void fix_open(struct fix *f)
{
	struct virtio_console_config config = { .columns = 132, .rows = 43 };
	int sv[2], small = 4096;
	struct virtio_dev *vd;

	memset(f, 0, sizeof(*f));
	dt_init(&f->dt);
	assert_int_equal(vdriver_ram(&f->d), 0);
	f->d.env.clock = f->dt.env.clock;
	f->d.env.loop = f->dt.env.loop;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fcntl(sv[1], F_SETFL, O_NONBLOCK);
	config.in_fd = config.out_fd = f->ours = sv[0];
	f->peer = sv[1];
	assert_int_equal(virtio_console_new(&vd, &f->d.env, &config, NULL), 0);
	f->t.vd = vd;
	f->t.config_interrupt = count_change;
	f->t.status = VIRTIO_STATUS_DRIVER_OK;
	vd->transport = &f->t;
	vdriver_start(&f->d, vd, VIRTIO_F_EVENT_IDX);
	for (uint32_t i = 0; i < LONG; i++)
		f->d.ram[DATA + i] = (uint8_t)(i * 7 >> 3);
	dt_loop(&f->dt);
}

/* The driver's terminal is ready. */
static void fix_ready(struct fix *f)
{
	fix_open(f);
	dt_advance(&f->dt, DT_S);
}

static void fix_close(struct fix *f)
{
	vdriver_stop(&f->d);
	close(f->ours);
	close(f->peer);
	dt_exit(&f->dt);
}

static void add(struct fix *f, unsigned queue, uint32_t gpa, uint32_t len)
{
	struct vpiece p = { gpa, len, queue == RX };

	vdriver_add(&f->d, queue, &p, 1);
	vdriver_notify(&f->d, queue);
	dt_loop(&f->dt);
}

/* How many chains came back that nobody has looked at. */
static unsigned waiting(struct fix *f, unsigned queue)
{
	struct vdriver_ring *r = &f->d.ring[queue];

	return (uint16_t)(r->used[1] - r->seen);
}

/* The peer takes what there is: it must be what follows in memory. */
static void peer_reads(struct fix *f)
{
	uint8_t buf[4096];
	ssize_t n;

	do {
		dt_loop(&f->dt);
		n = read(f->peer, buf, sizeof(buf));
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], f->d.ram[DATA + f->got++]);
	} while (n > 0);
}

static void peer_writes(struct fix *f, const char *text)
{
	size_t n = strlen(text);

	assert_int_equal(write(f->peer, text, n), n);
	dt_loop(&f->dt);
}

static void bytes_go_both_ways(void **state)
{
	struct fix f;

	fix_ready(&f);
	add(&f, TX, DATA, 100);
	assert_int_equal(vdriver_used(&f.d, TX), 0);
	add(&f, TX, DATA + 100, 1);
	peer_reads(&f);
	assert_int_equal(f.got, 101);
	add(&f, RX, DATA, 3);
	add(&f, RX, DATA + 16, 16);
	assert_int_equal(waiting(&f, RX), 0);
	peer_writes(&f, "hello");
	assert_int_equal(vdriver_used(&f.d, RX), 3);
	assert_int_equal(vdriver_used(&f.d, RX), 2);
	assert_memory_equal(f.d.ram + DATA, "hel", 3);
	assert_memory_equal(f.d.ram + DATA + 16, "lo", 2);
	assert_true(f.d.interrupts >= 2);
	fix_close(&f);
}

static void bytes_wait_for_the_driver(void **state)
{
	struct fix f;

	fix_ready(&f);
	peer_writes(&f, "early");
	assert_int_equal(waiting(&f, RX), 0);
	add(&f, RX, DATA, 4);
	assert_int_equal(vdriver_used(&f.d, RX), 4);
	peer_writes(&f, "late");
	add(&f, RX, DATA + 4, 64);
	assert_int_equal(vdriver_used(&f.d, RX), 1);
	add(&f, RX, DATA + 5, 64);
	assert_int_equal(vdriver_used(&f.d, RX), 4);
	assert_memory_equal(f.d.ram + DATA, "earlylate", 9);
	fix_close(&f);
}

/* A driver that has just started would lose them. */
static void bytes_wait_for_its_terminal(void **state)
{
	struct fix f;

	fix_open(&f);
	peer_writes(&f, "early");
	add(&f, RX, DATA, 64);
	assert_int_equal(waiting(&f, RX), 0);
	add(&f, TX, DATA, 1);
	assert_int_equal(waiting(&f, TX), 1);
	dt_advance(&f.dt, DT_S);
	assert_int_equal(vdriver_used(&f.d, RX), 5);
	fix_close(&f);
}

static void a_slow_reader_gets_all(void **state)
{
	struct fix f;

	fix_ready(&f);
	add(&f, TX, DATA, LONG - 10);
	add(&f, TX, DATA + LONG - 10, 10);
	assert_int_equal(waiting(&f, TX), 0);
	peer_reads(&f);
	assert_int_equal(f.got, LONG);
	assert_int_equal(waiting(&f, TX), 2);
	fix_close(&f);
}

/* A guest that is paused in the middle of a chain, and goes on. */
static void draining_loses_nothing(void **state)
{
	struct fix f;

	fix_ready(&f);
	add(&f, TX, DATA, LONG);
	f.d.vd->ops->drain(f.d.vd);
	peer_writes(&f, "x");
	add(&f, RX, DATA + LONG, 8);
	peer_reads(&f);
	assert_true(f.got < LONG);
	assert_int_equal(waiting(&f, RX), 0);
	dt_advance(&f.dt, 1);
	peer_reads(&f);
	assert_int_equal(f.got, LONG);
	assert_int_equal(waiting(&f, TX), 1);
	assert_int_equal(vdriver_used(&f.d, RX), 1);
	fix_close(&f);
}

/* The same into another device: it sends the rest, and only that. */
static void a_state_moves(void **state)
{
	struct vpiece rest = { DATA, LONG, false };
	struct fix a, b;
	struct walk *w;
	struct err err;
	size_t len;
	char *buf;
	FILE *file = open_memstream(&buf, &len);

	fix_open(&a);
	add(&a, TX, DATA, LONG);
	a.d.vd->ops->drain(a.d.vd);
	w = walk_save_to(file);
	a.d.vd->ops->walk(a.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fclose(file);
	/* What was still in a's buffer is in the state: it goes nowhere. */
	uint8_t byte;
	while (read(a.peer, &byte, 1) == 1)
		a.got++;
	fix_open(&b);
	vdriver_add(&b.d, TX, &rest, 1);
	w = walk_restore_from(buf, len);
	b.d.vd->ops->walk(b.d.vd, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	b.got = a.got;
	dt_advance(&b.dt, 1);
	peer_reads(&b);
	assert_int_equal(b.got, LONG);
	assert_int_equal(waiting(&b, TX), 1);
	fix_close(&a);
	fix_close(&b);
	free(buf);
}

static void hostile_lengths(void **state)
{
	struct vpiece wrong[] = { { DATA, 8, false }, { DATA + 8, 8, true } };
	struct fix f;

	fix_ready(&f);
	add(&f, TX, DATA, 0);
	assert_int_equal(vdriver_used(&f.d, TX), 0);
	/* Nothing to receive into, and something to send in its place. */
	add(&f, RX, DATA, 0);
	add(&f, RX, DATA, 4);
	peer_writes(&f, "ab");
	assert_int_equal(vdriver_used(&f.d, RX), 0);
	assert_int_equal(vdriver_used(&f.d, RX), 2);
	vdriver_add(&f.d, TX, wrong, 2);
	vdriver_notify(&f.d, TX);
	assert_int_equal(vdriver_used(&f.d, TX), 0);
	/* Longer than any driver sends: the queue is given up. */
	add(&f, TX, DATA, LONG + 1);
	assert_int_equal(waiting(&f, TX), 0);
	assert_false(virtq_ready(f.d.vd->queue[TX]));
	vdriver_notify(&f.d, 2);
	vdriver_notify(&f.d, 63);
	fix_close(&f);
}

/* A chain that was under way is forgotten; so is a line that is heard. */
static void reset_forgets(void **state)
{
	struct fix f;

	fix_ready(&f);
	add(&f, TX, DATA, LONG);
	f.d.vd->ops->reset(f.d.vd);
	peer_reads(&f);
	assert_true(f.got < LONG);
	assert_int_equal(waiting(&f, TX), 0);
	add(&f, RX, DATA, 8);
	peer_writes(&f, "x");
	assert_int_equal(waiting(&f, RX), 0);
	fix_close(&f);
}

static void the_configuration_space(void **state)
{
	const struct virtio_ops *ops;
	uint8_t space[12], letter = '!';
	uint16_t size[2];
	struct fix f;

	fix_ready(&f);
	ops = f.d.vd->ops;
	assert_int_equal(f.d.vd->config_size, sizeof(space));
	ops->read_config(f.d.vd, 0, space, sizeof(space));
	memcpy(size, space, sizeof(size));
	assert_int_equal(size[0], 132);
	assert_int_equal(size[1], 43);
	assert_int_equal(f.changes, 1); /* for Linux to read it */
	virtio_console_resize(f.d.vd, 100, 50);
	assert_int_equal(f.changes, 2);
	ops->read_config(f.d.vd, 0, size, sizeof(size));
	assert_int_equal(size[0], 100);
	assert_int_equal(size[1], 50);
	f.d.ram[DATA] = letter;
	ops->write_config(f.d.vd, 0, &letter, 1);
	ops->write_config(f.d.vd, 8, &letter, 1);
	peer_reads(&f);
	assert_int_equal(f.got, 1);
	fix_close(&f);
}

/* 5.3.4: without queues, without the feature, without a driver. */
static void a_byte_in_an_emergency(void **state)
{
	const char *text = "oops";
	char buf[16] = "";
	struct fix f;

	fix_open(&f);
	f.d.vd->ops->reset(f.d.vd);
	f.t.status = 0;
	for (const char *c = text; *c; c++)
		virtio_config_write(&f.t, 8, 4, (uint8_t)*c);
	virtio_config_write(&f.t, 8, 1, '!');
	virtio_config_write(&f.t, 0, 4, 'x');
	virtio_config_write(&f.t, 11, 4, 'x');
	dt_loop(&f.dt);
	assert_int_equal(read(f.peer, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "oops!");
	assert_int_equal(virtio_config_read(&f.t, 0, 2), 132);
	fix_close(&f);
}

/* As drivers of other systems read it: bytes, halves, and across its end. */
static void the_configuration_space_at_any_width(void **state)
{
	struct fix f;

	fix_ready(&f);
	assert_int_equal(virtio_config_read(&f.t, 0, 1), 132);
	assert_int_equal(virtio_config_read(&f.t, 2, 2), 43);
	assert_int_equal(virtio_config_read(&f.t, 1, 2), 43 << 8);
	assert_int_equal(virtio_config_read(&f.t, 0, 4), 132 | 43 << 16);
	assert_int_equal(virtio_config_read(&f.t, 2, 8), 43);
	assert_int_equal(virtio_config_read(&f.t, 8, 8), 0);
	assert_int_equal(virtio_config_read(&f.t, 12, 1), 0);
	assert_int_equal(virtio_config_read(&f.t, UINT64_MAX, 8), 0);
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways),
		cmocka_unit_test(bytes_wait_for_the_driver),
		cmocka_unit_test(bytes_wait_for_its_terminal),
		cmocka_unit_test(a_slow_reader_gets_all),
		cmocka_unit_test(draining_loses_nothing),
		cmocka_unit_test(a_state_moves),
		cmocka_unit_test(hostile_lengths),
		cmocka_unit_test(reset_forgets),
		cmocka_unit_test(the_configuration_space),
		cmocka_unit_test(the_configuration_space_at_any_width),
		cmocka_unit_test(a_byte_in_an_emergency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
