/*
 * test_state.c GUESTS KERNELS - a whole machine's state goes through the
 * walker into another machine, on another engine, which then goes on where the
 * first stood: saved state does not depend on the engine.
 *
 * GUESTS holds the monitor guest, KERNELS a stock kernel with its initramfs.
 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *guests_dir, *kernels_dir;

/* --- State ---------------------------------------------------------------- */

struct state {
	char *buf;
	size_t len;
};

static struct state save(struct machine *m)
{
	struct state s;
	FILE *f = open_memstream(&s.buf, &s.len);
	struct walk *w = walk_save_to(f);
	struct err err = { "" };

	vm_walk(m->vm, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
	fclose(f);
	return s;
}

static void restore(struct machine *m, struct state s)
{
	struct walk *w = walk_restore_from(s.buf, s.len);
	struct err err = { "" };

	vm_walk(m->vm, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
}

static bool is_line_of_time(const char *line)
{
	return strstr(line, ".tsc:") || strstr(line, "clock[0].now");
}

/* Nothing differs but what goes on while the machine stands. */
static void assert_same(struct machine *m, struct state s)
{
	char *text, *line, *rest;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct walk *w = walk_diff_with(s.buf, s.len, f);

	vm_walk(m->vm, w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(f);
	for (line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		if (!is_line_of_time(line))
			fail_msg("%s", line);
	free(text);
}

static void copy_ram(struct machine *to, struct machine *from)
{
	struct mem_range r[2];
	unsigned n = mem_ram_ranges(from->vm->env.mem, r);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(mem_write(to->vm->env.mem, r[i].base,
					   mem_host(from->vm->env.mem,
						    r[i].base, r[i].size),
					   r[i].size),
				 0);
}

/* Another machine, in the state of this one, which ends. */
static struct machine *move(struct machine *a, struct vm_config *like,
			    char *engine)
{
	struct machine *b;
	struct state s;

	like->engine = engine;
	b = machine_make(like);

	vm_pause(a->vm);
	s = save(a);
	assert_same(a, s);
	vm_pause(b->vm);
	restore(b, s);
	assert_same(b, s);
	copy_ram(b, a);
	vm_resume(a->vm);
	machine_end(a);
	machine_start(b);
	vm_resume(b->vm);
	free(s.buf);
	return b;
}

/* --- Tests ---------------------------------------------------------------- */

static void small_guest_goes_on_elsewhere(void **state)
{
	struct vm_config like = { .memory = 32 << 20,
				  .cpus = 1,
				  .engine = "interpreter" };
	struct machine *m;
	char kernel[4096];

	snprintf(kernel, sizeof(kernel), "%s/monitor", guests_dir);
	like.kernel = kernel;
	like.append = "";
	m = machine_make(&like);
	machine_start(m);
	machine_expect(m, "monitor ready");
	for (char n = '1'; n < '6'; n++) {
		char want[] = { 'r', ' ', n, 0 };

		machine_type(m, "N");
		machine_expect(m, want);
		m = move(m, &like, n & 1 ? "translator" : "interpreter");
	}
	machine_end(m);
}

static void kernel_goes_on_elsewhere(void **state)
{
	struct vm_config like = { .memory = 256 << 20,
				  .cpus = 2,
				  .engine = "translator" };
	char kernel[4096], initrd[4096];
	struct machine *m;

	snprintf(kernel, sizeof(kernel), "%s/vmlinuz-cloud-amd64", kernels_dir);
	snprintf(initrd, sizeof(initrd), "%s/initramfs.cpio.gz", kernels_dir);
	if (access(kernel, R_OK) || access(initrd, R_OK)) {
		print_message("no kernel in %s; run tools/guest.sh\n",
			      kernels_dir);
		skip();
	}
	like.kernel = kernel;
	like.initrd = initrd;
	like.append = "console=ttyS0 panic=-1";
	m = machine_make(&like);
	machine_start(m);
	machine_expect(m, "guest:/root#");
	/* A loop in the background is what the first machine is stopped in. */
	machine_type(m, "a=40; (while :; do b=$((b + 1)); done) &\n");
	machine_expect(m, "guest:/root#");
	for (int i = 0; i < 3; i++) {
		m = move(m, &like, i & 1 ? "translator" : "interpreter");
		machine_type(m, "a=$((a + 1)); echo it is $a\n");
		machine_expect(m, i == 0   ? "it is 41"
				  : i == 1 ? "it is 42"
					   : "it is 43");
	}
	machine_type(m, "sleep 0.2 && echo slept; dmesg | grep -cE "
			"'WARN|BUG|Oops|stall|unstable' | sed s/^/odd:/\n");
	machine_expect(m, "slept");
	machine_expect(m, "odd:0");
	machine_end(m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_guest_goes_on_elsewhere),
		cmocka_unit_test(kernel_goes_on_elsewhere),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: test_state GUESTS KERNELS\n");
		return 2;
	}
	guests_dir = argv[1];
	kernels_dir = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
