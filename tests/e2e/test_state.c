/*
 * test_state.c GUESTS KERNELS - a whole machine's state goes through the
 * walker into another machine, on another engine, which then goes on where the
 * first stood: saved state does not depend on the engine.
 *
 * GUESTS holds the monitor guest, KERNELS a stock kernel with its initramfs.
 */
#include "../test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/vm.h"

static const char *guests_dir, *kernels_dir;

/* --- A machine in a thread, and its console ------------------------------- */

struct machine {
	struct vm *vm;
	pthread_t thread;
	int console, far_end;
	char said[1 << 17];
	size_t said_len;
};

static void *run_thread(void *opaque)
{
	struct machine *m = opaque;
	int status;

	vm_run(m->vm, &status, NULL);
	return NULL;
}

static struct machine *make(const struct vm_config *like)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct vm_config c;
	struct err err = { "" };
	int fds[2];

	vm_config_init(&c);
	c.memory = like->memory;
	c.cpus = like->cpus;
	c.kernel = strdup(like->kernel);
	c.initrd = like->initrd ? strdup(like->initrd) : NULL;
	c.append = strdup(like->append);
	c.engine = strdup(like->engine);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	m->console = fds[0];
	m->far_end = fds[1];
	if (vm_new(&m->vm, &c, fds[1], dup(fds[1]), &err))
		fail_msg("%s", err.msg);
	return m;
}

static void start(struct machine *m)
{
	assert_int_equal(pthread_create(&m->thread, NULL, run_thread, m), 0);
}

static void end(struct machine *m)
{
	vm_end(m->vm, VM_END_STOPPED, 130);
	pthread_join(m->thread, NULL);
	close(m->vm->console_out);
	vm_free(m->vm);
	close(m->console);
	close(m->far_end);
	free(m);
}

/* Reads the console until it says so, for a minute without a word at most. */
static void expect(struct machine *m, const char *text)
{
	struct pollfd p = { m->console, POLLIN, 0 };

	while (!strstr(m->said, text)) {
		ssize_t n;

		if (poll(&p, 1, 60000) <= 0 ||
		    m->said_len > sizeof(m->said) - 2)
			fail_msg("no '%s' in '%s'", text, m->said);
		n = read(m->console, m->said + m->said_len,
			 sizeof(m->said) - 1 - m->said_len);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++) /* NULs end no string */
			if (!m->said[m->said_len + (size_t)i])
				m->said[m->said_len + (size_t)i] = '?';
		m->said_len += (size_t)n;
		m->said[m->said_len] = 0;
	}
	m->said_len = 0;
	m->said[0] = 0;
}

static void type(struct machine *m, const char *text)
{
	assert_int_equal(write(m->console, text, strlen(text)), strlen(text));
}

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
	b = make(like);

	vm_pause(a->vm);
	s = save(a);
	assert_same(a, s);
	vm_pause(b->vm);
	restore(b, s);
	assert_same(b, s);
	copy_ram(b, a);
	vm_resume(a->vm);
	end(a);
	start(b);
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
	m = make(&like);
	start(m);
	expect(m, "monitor ready");
	for (char n = '1'; n < '6'; n++) {
		char want[] = { 'r', ' ', n, 0 };

		type(m, "N");
		expect(m, want);
		m = move(m, &like, n & 1 ? "translator" : "interpreter");
	}
	end(m);
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
	m = make(&like);
	start(m);
	expect(m, "guest:/root#");
	/* A loop in the background is what the first machine is stopped in. */
	type(m, "a=40; (while :; do b=$((b + 1)); done) &\n");
	expect(m, "guest:/root#");
	for (int i = 0; i < 3; i++) {
		m = move(m, &like, i & 1 ? "translator" : "interpreter");
		type(m, "a=$((a + 1)); echo it is $a\n");
		expect(m, i == 0   ? "it is 41"
			  : i == 1 ? "it is 42"
				   : "it is 43");
	}
	type(m, "sleep 0.2 && echo slept; dmesg | grep -cE "
		"'WARN|BUG|Oops|stall|unstable' | sed s/^/odd:/\n");
	expect(m, "slept");
	expect(m, "odd:0");
	end(m);
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
