/* test_uart.c - dev/pc/uart.c: registers, interrupts, FIFO, flow control. */
#include "devtest.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/pc/uart.h"

#define BASE 0x3f8
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct fix {
	struct dt dt;
	struct uart *u;
	struct dt_line irq;
	int peer; /* the other end of the line */
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	int sv[2];
	struct err err;

	dt_init(&f->dt);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	f->peer = sv[1];
	fcntl(f->peer, F_SETFL, O_NONBLOCK);
	struct uart_config config = { .base = BASE,
				      .irq = dt_irq(&f->irq),
				      .in_fd = sv[0],
				      .out_fd = sv[0] };
	if (uart_new(&f->u, &f->dt.env, &config, &err))
		fail_msg("%s", err.msg);
	dt_loop(&f->dt);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->u)->free(DEV(f->u));
	close(f->peer);
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static uint32_t in(struct fix *f, unsigned reg)
{
	return dt_in(&f->dt, BASE + reg);
}

static void out(struct fix *f, unsigned reg, uint8_t value)
{
	dt_out(&f->dt, BASE + reg, value);
}

static void type(struct fix *f, const char *s)
{
	assert_int_equal(write(f->peer, s, strlen(s)), strlen(s));
	dt_loop(&f->dt);
}

static void reset_state(void **state)
{
	struct fix *f = *state;

	assert_int_equal(in(f, IER), 0);
	assert_int_equal(in(f, IIR), 0x01);
	assert_int_equal(in(f, LCR), 0);
	assert_int_equal(in(f, MCR), 0);
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, MSR), 0xb0);
}

static void registers_hold_what_exists(void **state)
{
	struct fix *f = *state;

	out(f, SCR, 0xa5);
	assert_int_equal(in(f, SCR), 0xa5);
	out(f, IER, 0xff);
	assert_int_equal(in(f, IER), 0x0f);
	out(f, MCR, 0xff);
	assert_int_equal(in(f, MCR), 0x1f);
	out(f, LCR, 0x83);
	out(f, RBR, 0x34);
	out(f, IER, 0x12);
	assert_int_equal(in(f, RBR), 0x34);
	assert_int_equal(in(f, IER), 0x12);
	out(f, LCR, 0x03);
	assert_int_equal(in(f, IER), 0x0f);
	out(f, IIR, 0x01);
	assert_int_equal(in(f, IIR) & 0xc0, 0xc0);
	out(f, IIR, 0x00);
	assert_int_equal(in(f, IIR) & 0xc0, 0x00);
}

static void bytes_go_out_through_the_loop(void **state)
{
	struct fix *f = *state;
	char buf[8];

	out(f, RBR, 'h');
	out(f, RBR, 'i');
	assert_int_equal(read(f->peer, buf, sizeof(buf)), -1);
	dt_loop(&f->dt);
	assert_int_equal(read(f->peer, buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "hi", 2);
}

static void thre_interrupt(void **state)
{
	struct fix *f = *state;

	out(f, MCR, 0x0b);
	out(f, IER, 0x02); /* enabling with THRE set interrupts at once */
	assert_true(f->irq.level);
	assert_int_equal(in(f, IIR), 0x02);
	assert_false(f->irq.level); /* reading IIR cleared it */
	assert_int_equal(in(f, IIR), 0x01);
	unsigned rises = f->irq.rises;
	out(f, RBR, 'x'); /* each byte is an edge */
	assert_true(f->irq.level);
	out(f, RBR, 'y');
	assert_int_equal(f->irq.rises, rises + 2);
	out(f, IER, 0x00);
	assert_false(f->irq.level);
	in(f, IIR);
	out(f, IER, 0x02); /* enabling again re-asserts */
	assert_int_equal(in(f, IIR), 0x02);
}

static void out2_gates_the_interrupt(void **state)
{
	struct fix *f = *state;

	out(f, IER, 0x02);
	assert_false(f->irq.level);
	out(f, MCR, 0x08);
	assert_true(f->irq.level);
	out(f, MCR, 0x18);
	assert_false(f->irq.level);
}

static void receive_without_fifo(void **state)
{
	struct fix *f = *state;

	out(f, MCR, 0x0b);
	out(f, IER, 0x01);
	type(f, "ab");
	assert_true(f->irq.level);
	assert_int_equal(in(f, LSR), 0x61);
	assert_int_equal(in(f, IIR), 0x04);
	assert_int_equal(in(f, RBR), 'a');
	assert_int_equal(in(f, LSR), 0x61); /* the next one has come in */
	assert_int_equal(in(f, RBR), 'b');
	assert_int_equal(in(f, LSR), 0x60);
	assert_false(f->irq.level);
}

static void trigger_level_and_timeout(void **state)
{
	struct fix *f = *state;

	out(f, LCR, 0x83);
	out(f, RBR, 1); /* 115200 baud */
	out(f, IER, 0);
	out(f, LCR, 0x03);
	out(f, MCR, 0x0b);
	out(f, IIR, 0x81); /* FIFO, trigger 8 */
	out(f, IER, 0x01);
	type(f, "abc");
	assert_false(f->irq.level);
	dt_advance(&f->dt, 340 * DT_US);
	assert_false(f->irq.level);
	dt_advance(&f->dt, 10 * DT_US); /* 4 characters of 10 bits: 347 us */
	assert_true(f->irq.level);
	assert_int_equal(in(f, IIR), 0xcc);
	assert_int_equal(in(f, RBR), 'a');
	assert_false(f->irq.level); /* reading restarts the timeout */
	dt_advance(&f->dt, 350 * DT_US);
	assert_int_equal(in(f, IIR), 0xcc);
	type(f, "defghi");
	assert_int_equal(in(f, IIR), 0xc4); /* eight are there */
}

static void fifo_reset_drops_received(void **state)
{
	struct fix *f = *state;

	out(f, IIR, 0x01);
	type(f, "abc");
	assert_int_equal(in(f, LSR) & 1, 1);
	out(f, IIR, 0x03);
	assert_int_equal(in(f, LSR) & 1, 0);
}

static void nothing_is_lost_when_the_guest_is_slow(void **state)
{
	struct fix *f = *state;
	char sent[20000];
	size_t n = 0, got = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 7 + i / 251);
	out(f, IIR, 0x01);
	while (got < sizeof(sent)) {
		if (n < sizeof(sent)) {
			ssize_t w = write(f->peer, sent + n, sizeof(sent) - n);
			n += w > 0 ? (size_t)w : 0;
		}
		dt_loop(&f->dt);
		for (int i = 0; i < 16 && (in(f, LSR) & 1); i++)
			assert_int_equal((char)in(f, RBR), sent[got++]);
	}
}

static void thre_is_withheld_when_nobody_reads(void **state)
{
	struct fix *f = *state;
	static char buf[1 << 20];
	size_t sent = 0, got = 0;
	ssize_t n;

	out(f, MCR, 0x0b);
	while (in(f, LSR) & 0x20) {
		out(f, RBR, (uint8_t)sent++);
		if (sent % 64 == 0)
			dt_loop(&f->dt);
		assert_true(sent < sizeof(buf));
	}
	out(f, IER, 0x02);
	assert_false(f->irq.level);
	while ((n = read(f->peer, buf + got, sizeof(buf) - got)) > 0) {
		got += (size_t)n;
		dt_loop(&f->dt);
	}
	assert_int_equal(got, sent);
	for (size_t i = 0; i < got; i++)
		assert_int_equal((uint8_t)buf[i], (uint8_t)i);
	assert_int_equal(in(f, LSR), 0x60);
	assert_true(f->irq.level);
}

static void loopback(void **state)
{
	struct fix *f = *state;
	char c;

	out(f, MCR, 0x10);
	in(f, MSR);
	out(f, RBR, 'z');
	dt_loop(&f->dt);
	assert_int_equal(read(f->peer, &c, 1), -1);
	assert_int_equal(in(f, LSR), 0x61);
	out(f, RBR, 'y'); /* overrun: no FIFO */
	assert_int_equal(in(f, LSR), 0x63);
	assert_int_equal(in(f, LSR), 0x61); /* reading clears OE */
	assert_int_equal(in(f, RBR), 'z');
	out(f, MCR, 0x1a); /* OUT2 -> DCD, RTS -> CTS */
	assert_int_equal(in(f, MSR), 0x99);
	assert_int_equal(in(f, MSR), 0x90);
	out(f, MCR, 0x15); /* DTR -> DSR, OUT1 -> RI; no TERI on rising */
	assert_int_equal(in(f, MSR), 0x6b);
	out(f, MCR, 0x11);
	assert_int_equal(in(f, MSR), 0x24); /* RI fell: TERI */
}

static void line_status_interrupt_comes_first(void **state)
{
	struct fix *f = *state;

	out(f, MCR, 0x10);
	out(f, IER, 0x0f);
	out(f, RBR, 1);
	out(f, RBR, 2);
	assert_int_equal(in(f, IIR), 0x06);
	in(f, LSR);
	assert_int_equal(in(f, IIR), 0x04);
	in(f, RBR);
	assert_int_equal(in(f, IIR), 0x02);
	assert_int_equal(in(f, IIR), 0x00); /* modem lines changed */
	in(f, MSR);
	assert_int_equal(in(f, IIR), 0x01);
}

static void end_of_file_leaves_the_port_working(void **state)
{
	struct fix *f = *state;
	char c;

	shutdown(f->peer, SHUT_WR);
	dt_loop(&f->dt);
	out(f, RBR, 'q');
	dt_loop(&f->dt);
	assert_int_equal(read(f->peer, &c, 1), 1);
	assert_int_equal(c, 'q');
}

static void a_reader_that_is_gone(void **state)
{
	struct fix *f = *state;

	close(f->peer);
	f->peer = -1;
	for (int i = 0; i < 200000; i++) {
		out(f, RBR, 'x');
		if (i % 1000 == 0)
			dt_loop(&f->dt);
	}
	dt_loop(&f->dt);
	assert_int_equal(in(f, LSR), 0x60);
}

static void regular_files_work(void **state)
{
	struct fix *f = *state;
	char name[] = "/tmp/hostel-uart-XXXXXX";
	int fd = mkstemp(name);
	struct uart_config config = { .base = 0x2f8,
				      .in_fd = fd,
				      .out_fd = -1 };
	struct uart *u;
	char got[7] = { 0 };

	unlink(name);
	assert_int_equal(pwrite(fd, "hello!", 6, 0), 6);
	assert_int_equal(uart_new(&u, &f->dt.env, &config, NULL), 0);
	dt_loop(&f->dt);
	for (int i = 0; i < 6; i++) {
		got[i] = (char)dt_in(&f->dt, 0x2f8);
		dt_loop(&f->dt);
	}
	assert_string_equal(got, "hello!");
	DEV(u)->free(DEV(u));
	close(fd);
}

static void flush_writes_what_is_left(void **state)
{
	struct fix *f = *state;
	char buf[4];

	out(f, RBR, 'b');
	out(f, RBR, 'y');
	out(f, RBR, 'e');
	uart_flush(f->u, 100);
	assert_int_equal(read(f->peer, buf, 4), 3);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct uart_config config = { .base = 0x2f8,
				      .in_fd = -1,
				      .out_fd = -1 };
	struct uart *u;

	out(f, IIR, 0x41);
	out(f, IER, 0x03);
	out(f, MCR, 0x0b);
	out(f, SCR, 0x77);
	type(f, "0123456789abcdefghijk");
	in(f, RBR);
	assert_int_equal(uart_new(&u, &f->dt.env, &config, NULL), 0);
	dt_copy_state(DEV(f->u), DEV(u));
	for (const char *p = "123456789abcdefghijk"; *p; p++)
		assert_int_equal(dt_in(&f->dt, 0x2f8), *p);
	DEV(u)->free(DEV(u));
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 7;
	char buf[256];

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t r = dt_random(&seed);

		if (r & 1)
			out(f, r >> 8 & 7, (uint8_t)(r >> 16));
		else
			in(f, r >> 8 & 7);
		if ((r >> 1 & 15) == 0)
			dt_advance(&f->dt, r >> 40);
		if ((r >> 5 & 63) == 0 && write(f->peer, &r, 8) == 8)
			dt_loop(&f->dt);
		if ((r >> 11 & 63) == 0 && read(f->peer, buf, 256) > 0)
			dt_loop(&f->dt);
		if (i % 16384 == 0)
			DEV(f->u)->reset(DEV(f->u));
		if (i % 32 == 0)
			dt_loop(&f->dt);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reset_state),
		T(registers_hold_what_exists),
		T(bytes_go_out_through_the_loop),
		T(thre_interrupt),
		T(out2_gates_the_interrupt),
		T(receive_without_fifo),
		T(trigger_level_and_timeout),
		T(fifo_reset_drops_received),
		T(nothing_is_lost_when_the_guest_is_slow),
		T(thre_is_withheld_when_nobody_reads),
		T(loopback),
		T(line_status_interrupt_comes_first),
		T(end_of_file_leaves_the_port_working),
		T(a_reader_that_is_gone),
		T(regular_files_work),
		T(flush_writes_what_is_left),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
