/*
 * test_move.c ENGINES MOVES KERNEL [INITRD] - a guest goes through saved state
 * (state/state.h) from machine to machine, MOVES times, around the list of
 * engines ("kvm,translator,kvm,interpreter"), and notices nothing.
 *
 * Without INITRD the kernel is the monitor guest; else a stock kernel whose
 * script "sums" checks itself (sums.sh).  Engines that do not run here are left
 * out.  In the environment: CPU_MODEL is --cpu; TSC_PERCENT: how fast the TSC
 * of the guest's first host is, against this one's.
 */
#include "machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/engines.h"
#include "state/state.h"

#define MOVE_ENGINES_MAX 8

static struct {
	char *engine[MOVE_ENGINES_MAX];
	unsigned engines, moves;
	char *kernel, *initrd;
} args;

/* Another machine, in the state of this one, which ends. */
static struct machine *move_to(struct machine *a, struct vm_config *like,
			       char *engine)
{
	char path[] = "/tmp/hostel-move-XXXXXX";
	int fd = mkstemp(path);
	struct err err = { "" };
	struct machine *b;

	assert_true(fd >= 0);
	if (state_save(a->vm, fd, false, &err))
		fail_msg("%s", err.msg);
	machine_end(a);
	like->engine = engine;
	b = machine_make(like);
	if (state_load(b->vm, path, &err))
		fail_msg("to %s: %s", engine, err.msg);
	close(fd);
	unlink(path);
	b->never = "WRONG";
	machine_start(b);
	return b;
}

/* The monitor guest counts the letters N. */
static void move_ask_monitor(struct machine *m, unsigned n)
{
	char want[32];

	machine_type(m, "N");
	snprintf(want, sizeof(want), "r %u", n % 10);
	machine_expect(m, n < 10 ? want : "monitor");
}

/* As if the guest came from a host with another TSC. */
static void move_scale_tsc(struct machine *m)
{
	const char *percent = getenv("TSC_PERCENT");
	struct err err = { "" };
	uint32_t khz;

	if (!percent)
		return;
	khz = m->vm->xm.tsc_khz / 100 * (uint32_t)atoi(percent);
	if (x86_set_tsc_khz(&m->vm->xm, khz, &err))
		fail_msg("%s", err.msg);
}

static void a_guest_goes_around_the_engines(void **state)
{
	struct vm_config like = { .memory = 32 << 20, .cpus = 1 };
	struct machine *m;

	if (args.engines < 2) {
		print_message("not two of these engines run here\n");
		skip();
	}
	if (args.initrd)
		like.memory = 192 << 20;
	like.kernel = args.kernel;
	like.initrd = args.initrd;
	like.append =
		args.initrd ? "console=ttyS0 panic=-1 hostel.script=sums" : "";
	like.engine = args.engine[0];
	like.cpu = getenv("CPU_MODEL");
	m = machine_make(&like);
	m->never = "WRONG";
	move_scale_tsc(m);
	machine_start(m);
	machine_expect(m, args.initrd ? "turn 1 done" : "monitor ready");
	for (unsigned i = 1; i <= args.moves; i++) {
		char *engine = args.engine[i % args.engines];

		m = move_to(m, &like, engine);
		if (args.initrd)
			machine_expect(m, " done");
		else
			move_ask_monitor(m, i);
		print_message("move %u: on %s\n", i, engine);
	}
	machine_end(m);
}

static void take_engines(char *list)
{
	char *rest, *name;

	for (name = strtok_r(list, ",", &rest);
	     name && args.engines < MOVE_ENGINES_MAX;
	     name = strtok_r(NULL, ",", &rest))
		if (engines_choose(name, NULL))
			args.engine[args.engines++] = name;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_goes_around_the_engines),
	};

	if (argc < 4) {
		fprintf(stderr, "usage: test_move ENGINES MOVES KERNEL "
				"[INITRD]\n");
		return 2;
	}
	take_engines(argv[1]);
	args.moves = (unsigned)atoi(argv[2]);
	args.kernel = argv[3];
	args.initrd = argv[4];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
