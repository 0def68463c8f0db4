/* test_line.c - dev/line.c: descriptors, buffers, flow control. */
#include "devtest.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/line.h"

struct fix {
	struct dt dt;
	struct line *l;
	int ours, peer;
	unsigned inputs, rooms;
};

static void input(void *opaque)
{
	((struct fix *)opaque)->inputs++;
}

static void room(void *opaque)
{
	((struct fix *)opaque)->rooms++;
}

static const struct line_ops ops = { .input = input, .room = room };

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	int sv[2];

	dt_init(&f->dt);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		return -1;
	f->ours = sv[0];
	f->peer = sv[1];
	fcntl(f->peer, F_SETFL, O_NONBLOCK);
	*state = f;
	return line_new(&f->l, f->dt.env.loop, f->ours, f->ours, &ops, f);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	line_free(f->l);
	close(f->ours);
	close(f->peer);
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static void received_bytes_come_in_order(void **state)
{
	struct fix *f = *state;
	uint8_t c;

	assert_false(line_get(f->l, &c));
	assert_int_equal(write(f->peer, "abc", 3), 3);
	dt_loop(&f->dt);
	assert_int_equal(f->inputs, 1);
	for (const char *p = "abc"; *p; p++) {
		assert_true(line_get(f->l, &c));
		assert_int_equal(c, *p);
	}
	assert_false(line_get(f->l, &c));
}

static void input_waits_until_the_buffer_is_empty(void **state)
{
	struct fix *f = *state;
	uint8_t c;

	assert_int_equal(write(f->peer, "ab", 2), 2);
	dt_loop(&f->dt);
	assert_int_equal(write(f->peer, "c", 1), 1);
	dt_loop(&f->dt);
	assert_true(line_get(f->l, &c));
	dt_loop(&f->dt);
	assert_int_equal(f->inputs, 1); /* 'b' is still there */
	assert_true(line_get(f->l, &c));
	dt_loop(&f->dt);
	assert_int_equal(f->inputs, 2);
	assert_true(line_get(f->l, &c));
	assert_int_equal(c, 'c');
}

/* dt_loop() fails if the loop never comes to rest. */
static void a_hang_up_does_not_spin(void **state)
{
	struct fix *f = *state;
	uint8_t c;

	assert_int_equal(write(f->peer, "x", 1), 1);
	shutdown(f->peer, SHUT_RDWR);
	dt_loop(&f->dt);
	assert_true(line_get(f->l, &c));
	dt_loop(&f->dt);
	assert_false(line_get(f->l, &c));
	line_put(f->l, 'y');
	dt_loop(&f->dt);
}

static void room_is_told_once(void **state)
{
	struct fix *f = *state;
	static char buf[1 << 20];
	size_t sent = 0, got = 0;
	ssize_t n;

	while (line_has_room(f->l) && sent < sizeof(buf)) {
		line_put(f->l, (uint8_t)sent++);
		if (sent % 4096 == 0)
			dt_loop(&f->dt);
	}
	assert_false(line_has_room(f->l));
	assert_int_equal(f->rooms, 0);
	while ((n = read(f->peer, buf + got, sizeof(buf) - got)) > 0) {
		got += (size_t)n;
		dt_loop(&f->dt);
	}
	assert_int_equal(got, sent);
	assert_int_equal(f->rooms, 1);
	for (size_t i = 0; i < got; i++)
		assert_int_equal((uint8_t)buf[i], (uint8_t)i);
}

static void overflow_is_dropped(void **state)
{
	struct fix *f = *state;

	for (unsigned i = 0; i < 200000; i++) /* nobody drains */
		line_put(f->l, 'x');
	assert_false(line_has_room(f->l));
	dt_loop(&f->dt);
}

static void flush_gives_up_in_time(void **state)
{
	struct fix *f = *state;
	char buf[8];

	line_put(f->l, 'a');
	line_flush(f->l, 100);
	assert_int_equal(read(f->peer, buf, sizeof(buf)), 1);
	for (unsigned i = 0; i < 400000; i++) {
		line_put(f->l, 'x');
		if (i % 4096 == 0)
			dt_loop(&f->dt);
	}
	line_flush(f->l, 0); /* nobody reads */
}

static void without_descriptors(void **state)
{
	struct fix *f = *state;
	struct line *l;
	uint8_t c;

	assert_int_equal(line_new(&l, f->dt.env.loop, -1, -1, &ops, f), 0);
	for (unsigned i = 0; i < 100000; i++)
		line_put(l, 'x');
	assert_true(line_has_room(l));
	assert_false(line_get(l, &c));
	assert_int_equal(line_inject(l, (const uint8_t *)"hi", 2), 2);
	assert_true(line_get(l, &c));
	line_flush(l, 10);
	line_free(l);
}

static void status_flags_are_given_back(void **state)
{
	struct fix *f = *state;
	struct line *l;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(line_new(&l, f->dt.env.loop, p[0], p[1], &ops, f), 0);
	assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	dt_loop(&f->dt);
	line_free(l);
	assert_false(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(received_bytes_come_in_order),
		T(input_waits_until_the_buffer_is_empty),
		T(a_hang_up_does_not_spin),
		T(room_is_told_once),
		T(overflow_is_dropped),
		T(flush_gives_up_in_time),
		T(without_descriptors),
		T(status_flags_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
