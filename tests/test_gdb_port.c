/*
 * test_gdb_port.c - machine/gdb.c: a debugger's connection to a guest that
 * runs, in threads, on the interpreter.
 *
 * The machine has no board: two vCPUs, of which the second waits for its
 * start-up IPI, and memory with this loop in real mode:
 *
 *	1000: 40		inc ax
 *	1001: a3 00 20		mov [2000h], ax
 *	1004: eb fa		jmp 1000h
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/x86/lapic.h"
#include "cpu/x86/thunk.h"
#include "machine/gdb.h"
#include "machine/pc.h"
#include "machine/rsp.h"
#include "machine/run.h"

/* --- A machine without a board -------------------------------------------- */

void pc_reset(struct vm *vm)
{
}

void pc_flush_console(struct vm *vm)
{
}

int guest_load(const struct guest *g, struct vm *vm, struct err *err)
{
	return 0;
}

void guest_close(struct guest *g)
{
}

struct fixture {
	struct vm vm;
	struct x86_cpu *cpus[2];
	struct gdb *gdb;
	pthread_t runner;
	bool started;
	int status, fd;
	struct rsp_reader in;
};

static void new_cpu(struct fixture *f, unsigned i)
{
	struct x86_cpu *cpu = x86_cpu_new(&f->vm.xm, i, NULL);

	f->cpus[i] = cpu;
	cpu->lapic = lapic_new(cpu, NULL);
	x86_reset(cpu, false);
	f->vm.threads[i].cpu = cpu;
	f->vm.threads[i].vm = &f->vm;
	assert_int_equal(f->vm.xm.engine_ops->vcpu_init(cpu, NULL), 0);
}

static void start_at_loop(struct x86_cpu *cpu)
{
	cpu->seg[X86_CS].sel = 0;
	cpu->seg[X86_CS].base = 0;
	cpu->rip = 0x1000;
	x86_mode_changed(cpu);
}

static int setup(void **state)
{
	static const uint8_t loop[] = { 0x40, 0xa3, 0x00, 0x20, 0xeb, 0xfa };
	struct fixture *f = calloc(1, sizeof(*f));
	struct vm *vm = &f->vm;
	struct x86_machine *xm = &vm->xm;

	*state = f;
	f->fd = -1;
	assert_int_equal(thunk_init(NULL), 0);
	assert_int_equal(mem_new(&vm->env.mem, MEM_RAM_MIN, NULL), 0);
	vm->env.clock = vclock_new();
	vm->env.loop = loop_new(vm->env.clock, NULL);
	xm->engine_ops = &interpreter_engine;
	xm->mem = vm->env.mem;
	xm->loop = vm->env.loop;
	xm->clock = vm->env.clock;
	xm->tsc_khz = clock_tsc_khz();
	xm->request_reset = run_request_reset;
	xm->wake = run_wake;
	xm->opaque = vm;
	xm->cpu_count = 2;
	xm->cpus = f->cpus;
	pthread_mutex_init(&xm->bounce_lock, NULL);
	assert_int_equal(run_init(vm, NULL), 0);
	assert_int_equal(xm->engine_ops->vm_init(xm, NULL), 0);
	new_cpu(f, 0);
	new_cpu(f, 1);
	start_at_loop(f->cpus[0]);
	mem_write(vm->env.mem, 0x1000, loop, sizeof(loop));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = &f->vm;

	if (f->started) {
		vm_end(vm, VM_END_POWEROFF, 7);
		pthread_join(f->runner, NULL);
	}
	gdb_stop(f->gdb, 7);
	if (f->fd >= 0)
		close(f->fd);
	for (unsigned i = 0; i < 2; i++)
		vm->xm.engine_ops->vcpu_free(f->cpus[i]);
	for (unsigned i = 0; i < 2; i++) {
		lapic_free(f->cpus[i]->lapic);
		x86_cpu_free(f->cpus[i]);
	}
	vm->xm.engine_ops->vm_free(&vm->xm);
	run_free(vm);
	loop_free(vm->env.loop);
	vclock_free(vm->env.clock);
	mem_free(vm->env.mem);
	pthread_mutex_destroy(&vm->xm.bounce_lock);
	free(f);
	return 0;
}

static void *run_machine(void *opaque)
{
	struct fixture *f = opaque;

	vm_run(&f->vm, &f->status, NULL);
	return NULL;
}

static void start(struct fixture *f, bool wait)
{
	struct err err = { "" };

	if (gdb_start(&f->gdb, &f->vm, "127.0.0.1:0", wait, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(pthread_create(&f->runner, NULL, run_machine, f), 0);
	f->started = true;
}

static uint16_t counter(struct fixture *f)
{
	uint16_t v;

	mem_read(f->vm.env.mem, 0x2000, &v, 2);
	return v;
}

/* Is the guest counting?  Waits up to 2 s for it to do so. */
static bool counts(struct fixture *f, int ms)
{
	uint16_t before = counter(f);

	for (int i = 0; i < ms; i++) {
		usleep(1000);
		if (counter(f) != before)
			return true;
	}
	return false;
}

/* --- gdb's side ----------------------------------------------------------- */

static void connect_gdb(struct fixture *f)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons(gdb_port(f->gdb));
	f->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(f->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	memset(&f->in, 0, sizeof(f->in));
}

static void hang_up(struct fixture *f)
{
	close(f->fd);
	f->fd = -1;
}

/* The next packet, within 10 s. */
static const char *answer(struct fixture *f)
{
	struct pollfd p = { f->fd, POLLIN, 0 };
	uint8_t byte;

	for (;;) {
		if (poll(&p, 1, 10000) <= 0)
			fail_msg("no answer");
		if (read(f->fd, &byte, 1) != 1)
			return "end";
		if (rsp_feed(&f->in, byte) == RSP_PACKET)
			return f->in.payload;
	}
}

static void say(struct fixture *f, const char *payload)
{
	static struct rsp_writer w;
	static char packet[RSP_PACKET_MAX];
	size_t n;

	rsp_clear(&w);
	rsp_put(&w, payload, strlen(payload));
	n = rsp_frame(&w, packet);
	assert_int_equal(write(f->fd, packet, n), n);
}

static const char *ask(struct fixture *f, const char *payload)
{
	say(f, payload);
	return answer(f);
}

static void asked(struct fixture *f, const char *payload, const char *want)
{
	assert_string_equal(ask(f, payload), want);
}

static void stops_with(const char *reply, const char *want)
{
	if (strncmp(reply, want, strlen(want)) != 0)
		fail_msg("'%s' is not '%s'", reply, want);
}

/* --- Tests ---------------------------------------------------------------- */

static void guest_stands_still_while_gdb_looks(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	assert_true(counts(f, 2000));
	connect_gdb(f);
	stops_with(ask(f, "?"), "T05thread:1;");
	assert_false(counts(f, 20));
	asked(f, "m1000,6", "40a30020ebfa");
	asked(f, "D", "OK");
	assert_string_equal(answer(f), "end");
	assert_true(counts(f, 2000));
}

static void lost_connection_sets_it_going(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	ask(f, "Z0,1000,1");
	hang_up(f);
	assert_true(counts(f, 2000));
	connect_gdb(f);
	stops_with(ask(f, "?"), "T05");
	assert_false(counts(f, 20));
}

static void breakpoint_stops_again_and_again(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	ask(f, "qSupported:swbreak+;hwbreak+");
	asked(f, "Z0,1004,1", "OK");
	for (int i = 0; i < 5; i++) {
		stops_with(ask(f, "vCont;c"), "T05thread:1;swbreak:;");
		stops_with(ask(f, "p10"), "0410000000000000");
		/* As gdb does: over the breakpoint with a step. */
		stops_with(ask(f, "vCont;s:1"), "T05thread:1;");
		stops_with(ask(f, "p10"), "0010000000000000");
	}
	asked(f, "z0,1004,1", "OK");
	say(f, "vCont;c");
	assert_true(counts(f, 2000));
}

static void steps_are_exact(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	connect_gdb(f);
	asked(f, "P0=ff00000000000000", "OK");
	ask(f, "s");
	asked(f, "p0", "0001000000000000");
	asked(f, "m2000,2", "0000");
	ask(f, "s");
	asked(f, "m2000,2", "0001");
	ask(f, "s");
	asked(f, "p10", "0010000000000000");
}

static void guest_waits_for_gdb(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	assert_false(counts(f, 20));
	connect_gdb(f);
	asked(f, "p10", "0010000000000000");
	asked(f, "m2000,2", "0000");
	say(f, "c");
	assert_true(counts(f, 2000));
}

static void interrupt_stops_the_guest(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	for (int i = 0; i < 5; i++) {
		say(f, "c");
		assert_true(counts(f, 2000));
		assert_int_equal(write(f->fd, "\3", 1), 1);
		stops_with(answer(f), "T02thread:1;");
		assert_false(counts(f, 5));
	}
}

static void watchpoint_stops_behind_the_write(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	asked(f, "Z2,2000,2", "OK");
	for (int i = 0; i < 3; i++) {
		stops_with(ask(f, "c"), "T05thread:1;watch:2000;");
		stops_with(ask(f, "p10"), "0410000000000000");
	}
	/* A step that writes is told as a watchpoint, once. */
	stops_with(ask(f, "s"), "T05thread:1;06:");
	stops_with(ask(f, "s"), "T05thread:1;06:");
	stops_with(ask(f, "s"), "T05thread:1;watch:2000;");
	asked(f, "z2,2000,2", "OK");
	say(f, "c");
	assert_true(counts(f, 2000));
}

/* New code is executed, although the old was cached. */
static void patched_code_is_executed(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	assert_true(counts(f, 2000));
	connect_gdb(f);
	asked(f, "M1000,1:90", "OK"); /* nop for inc ax */
	say(f, "c");
	usleep(2000);
	assert_false(counts(f, 20));
}

static void waiting_vcpu_can_be_looked_at(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	asked(f, "qfThreadInfo", "m1,2");
	asked(f, "Hg2", "OK");
	stops_with(ask(f, "p10"), "f0ff000000000000");
	stops_with(ask(f, "vCont;s:2"), "T05thread:2;");
}

static void end_of_guest_reaches_gdb(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	ask(f, "?"); /* from here on it stands still */
	say(f, "c");
	assert_true(counts(f, 2000));
	vm_end(&f->vm, VM_END_POWEROFF, 7);
	pthread_join(f->runner, NULL);
	f->started = false;
	gdb_stop(f->gdb, f->status);
	f->gdb = NULL;
	assert_string_equal(answer(f), "W07");
}

static void kill_ends_the_guest(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	connect_gdb(f);
	say(f, "k");
	pthread_join(f->runner, NULL);
	f->started = false;
	assert_int_equal(f->status, 143);
	assert_int_equal(f->vm.end, VM_END_STOPPED);
}

static void port_in_use_gets_a_sentence(void **state)
{
	struct fixture *f = *state;
	struct gdb *other;
	struct err err;
	char where[32];

	start(f, false);
	snprintf(where, sizeof(where), "%u", gdb_port(f->gdb));
	assert_int_equal(gdb_start(&other, &f->vm, where, false, &err),
			 -EADDRINUSE);
	assert_non_null(strstr(err.msg, "cannot listen for gdb on 127.0.0.1"));
	assert_non_null(strstr(err.msg, where));
}

#define PORT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PORT_TEST(guest_stands_still_while_gdb_looks),
		PORT_TEST(lost_connection_sets_it_going),
		PORT_TEST(breakpoint_stops_again_and_again),
		PORT_TEST(steps_are_exact),
		PORT_TEST(guest_waits_for_gdb),
		PORT_TEST(interrupt_stops_the_guest),
		PORT_TEST(watchpoint_stops_behind_the_write),
		PORT_TEST(patched_code_is_executed),
		PORT_TEST(waiting_vcpu_can_be_looked_at),
		PORT_TEST(end_of_guest_reaches_gdb),
		PORT_TEST(kill_ends_the_guest),
		PORT_TEST(port_in_use_gets_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
