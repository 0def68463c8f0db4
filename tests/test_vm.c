/*
 * A whole machine under small guests: how runs end, reset, pause, sleep.
 *
 * The guests are flat Multiboot kernels of a few instructions, written as
 * bytes; each starts at 0x100040 in 32-bit protected mode.  0x300000 is theirs
 * to count in, and survives a reset.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "boot_images.h"
#include "machine/vm.h"
#include "test.h"

#define COUNTER 0x300000

/* The program's argument: tests run on every engine. */
static const char *engine = "interpreter";

struct guest_run {
	struct vm *vm;
	int status;
	enum vm_end end;
	struct err err;
	pthread_t thread;
};

/* clang-format off */
#define EXIT(v)	 0xb0, v, 0xe6, 0xf4, 0xeb, 0xfe /* out 0xf4, v; jmp . */
#define HALT	 0xf4, 0xeb, 0xfd		 /* hlt; jmp back */
#define RESET	 0xb0, 0xfe, 0xe6, 0x64		 /* out 0x64, 0xfe */
#define COUNT	 0xff, 0x05, 0x00, 0x00, 0x30, 0x00 /* inc dword [COUNTER] */
#define COUNT_IS(n) 0x83, 0x3d, 0x00, 0x00, 0x30, 0x00, n /* cmp, n */
/* clang-format on */

static char *write_kernel(const uint8_t *code, size_t len)
{
	struct image img = image_multiboot_flat(0x100000, 0x200);
	char *path = strdup("/tmp/hostel-vm-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	memcpy(img.data + 0x40, code, len);
	assert_int_equal(write(fd, img.data, img.size), img.size);
	close(fd);
	image_free(&img);
	return path;
}

static void configure(struct vm_config *c, const uint8_t *code, size_t len)
{
	vm_config_init(c);
	c->memory = 16u << 20;
	c->kernel = write_kernel(code, len);
	c->timeout = 20;
	c->engine = strdup(engine);
}

static struct vm *make(struct vm_config *c, int out)
{
	struct err err = { "" };
	char *kernel = strdup(c->kernel);
	struct vm *vm;

	if (vm_new(&vm, c, -1, out, &err))
		fail_msg("%s", err.msg);
	unlink(kernel);
	free(kernel);
	return vm;
}

/* Runs to the end; returns the exit status. */
static int run(struct vm_config *c, int out, enum vm_end want)
{
	struct vm *vm = make(c, out);
	struct err err = { "" };
	int status = -1;
	enum vm_end end = vm_run(vm, &status, &err);

	vm_free(vm);
	assert_int_equal(end, want);
	return status;
}

static void *run_thread(void *opaque)
{
	struct guest_run *g = opaque;

	g->end = vm_run(g->vm, &g->status, &g->err);
	return NULL;
}

static void start(struct guest_run *g, struct vm_config *c)
{
	g->vm = make(c, -1);
	assert_int_equal(pthread_create(&g->thread, NULL, run_thread, g), 0);
}

static void finish(struct guest_run *g)
{
	vm_end(g->vm, VM_END_STOPPED, 130);
	pthread_join(g->thread, NULL);
	vm_free(g->vm);
	assert_int_equal(g->end, VM_END_STOPPED);
	assert_int_equal(g->status, 130);
}

static uint32_t counter(struct vm *vm)
{
	uint32_t v = 0;

	mem_read(vm->env.mem, COUNTER, &v, sizeof(v));
	return v;
}

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000l }, NULL);
}

/* Until the guest counts past `from`. */
static uint32_t wait_counter(struct vm *vm, uint32_t from)
{
	for (unsigned i = 0; i < 10000 && counter(vm) <= from; i++)
		sleep_ms(1);
	assert_true(counter(vm) > from);
	return counter(vm);
}

/* --- How a guest ends ----------------------------------------------------- */

static void test_exit_port_gives_the_status(void **state)
{
	static const uint8_t code[] = { EXIT(5) };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	assert_int_equal(run(&c, -1, VM_END_EXIT_PORT), 11);
}

static void test_acpi_power_off_gives_status_0(void **state)
{
	static const uint8_t code[] = { 0x66, 0xba, 0x04, 0x06, /* dx = 604 */
					0x66, 0xb8, 0x00, 0x20, /* ax = 2000 */
					0x66, 0xef, HALT };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	assert_int_equal(run(&c, -1, VM_END_POWEROFF), 0);
}

/* lidt of zeros, then int3: #GP, #DF, shutdown. */
#define TRIPLE_FAULT 0x0f, 0x01, 0x1d, 0x00, 0x10, 0x30, 0x00, 0xcc

static void test_triple_fault_without_reboot_is_a_crash(void **state)
{
	static const uint8_t code[] = { TRIPLE_FAULT };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	c.no_reboot = true;
	assert_int_equal(run(&c, -1, VM_END_CRASH), 123);
}

static void test_timeout_ends_a_guest(void **state)
{
	static const uint8_t code[] = { 0xeb, 0xfe };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	c.timeout = 0.1;
	assert_int_equal(run(&c, -1, VM_END_TIMEOUT), 124);
}

static void test_serial_port_reaches_the_console(void **state)
{
	static const uint8_t code[] = {
		0x66,   0xba, 0xf8, 0x03,            /* mov dx, 0x3f8 */
		0xb0,   'H',  0xee, 0xb0, 'i', 0xee, /* out dx, "Hi" */
		EXIT(0)
	};
	struct vm_config c;
	char got[8] = "";
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	configure(&c, code, sizeof(code));
	assert_int_equal(run(&c, fds[1], VM_END_EXIT_PORT), 1);
	assert_int_equal(read(fds[0], got, sizeof(got)), 2);
	assert_string_equal(got, "Hi");
	close(fds[0]);
	close(fds[1]);
}

/* --- Reset -----------------------------------------------------------------
 */

static void test_reset_loads_the_guest_again(void **state)
{
	/* The third life ends; the code is damaged before each reset. */
	static const uint8_t code[] = {
		COUNT, COUNT_IS(3), 0x73, 0x0d, /* jae exit */
		0xc6,  0x05,        0x40, 0x00,
		0x10,  0x00,        0xf4, /* entry := hlt */
		RESET, 0xeb,        0xfe, EXIT(7)
	};
	struct vm_config c;

	configure(&c, code, sizeof(code));
	assert_int_equal(run(&c, -1, VM_END_EXIT_PORT), 15);
}

static void test_triple_fault_resets(void **state)
{
	static const uint8_t code[] = { COUNT, COUNT_IS(2),  0x73,
					8,     TRIPLE_FAULT, EXIT(0) };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	assert_int_equal(run(&c, -1, VM_END_EXIT_PORT), 1);
}

static void test_reset_without_reboot_ends_like_power_off(void **state)
{
	static const uint8_t code[] = { RESET, 0xeb, 0xfe };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	c.no_reboot = true;
	assert_int_equal(run(&c, -1, VM_END_RESET), 0);
}

/* --- Pause -----------------------------------------------------------------
 */

static void test_paused_guest_stands_still(void **state)
{
	static const uint8_t code[] = { COUNT, 0xeb, 0xf8 };
	struct guest_run g = { 0 };
	struct vm_config c;
	uint32_t before;
	uint64_t time;

	configure(&c, code, sizeof(code));
	start(&g, &c);
	wait_counter(g.vm, 0);
	vm_pause(g.vm);
	vm_pause(g.vm);
	before = counter(g.vm);
	time = vclock_now(g.vm->env.clock);
	sleep_ms(20);
	vm_resume(g.vm);
	sleep_ms(20);
	assert_int_equal(counter(g.vm), before);
	assert_true(vclock_now(g.vm->env.clock) == time);
	vm_resume(g.vm);
	wait_counter(g.vm, before);
	finish(&g);
}

static void test_step_executes_one_instruction(void **state)
{
	static const uint8_t code[] = { COUNT, 0xeb, 0xf8 };
	struct guest_run g = { 0 };
	struct vm_config c;
	uint64_t insns;
	uint32_t before;

	configure(&c, code, sizeof(code));
	start(&g, &c);
	wait_counter(g.vm, 0);
	vm_pause(g.vm);
	before = counter(g.vm);
	insns = g.vm->xm.cpus[0]->insn_count;
	for (unsigned i = 0; i < 10; i++)
		vm_step(g.vm, 0);
	assert_int_equal(counter(g.vm), before + 5);
	assert_int_equal(g.vm->xm.cpus[0]->insn_count - insns, 10);
	vm_resume(g.vm);
	finish(&g);
}

/* Pauses race with each other and with a guest that resets all the time. */
static void test_pause_and_reset_do_not_deadlock(void **state)
{
	static const uint8_t code[] = { COUNT, RESET, 0xeb, 0xfe };
	struct guest_run g = { 0 };
	struct vm_config c;

	configure(&c, code, sizeof(code));
	start(&g, &c);
	for (unsigned i = 0; i < 50; i++) {
		vm_pause(g.vm);
		vm_resume(g.vm);
	}
	wait_counter(g.vm, counter(g.vm));
	finish(&g);
}

/* --- State ---------------------------------------------------------------- */

static void save(struct vm *vm, char **state, size_t *len)
{
	FILE *f = open_memstream(state, len);
	struct walk *w = walk_save_to(f);
	struct err err = { "" };

	vm_walk(vm, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
	fclose(f);
}

/* How many fields of the vm differ from a saved state. */
static unsigned differences(struct vm *vm, const char *state, size_t len)
{
	struct walk *w = walk_diff_with(state, len, stderr);
	struct err err = { "" };
	unsigned n;

	vm_walk(vm, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	n = walk_diff_count(w);
	walk_free(w);
	return n;
}

static void restore(struct vm *vm, const char *state, size_t len)
{
	struct walk *w = walk_restore_from(state, len);
	struct err err = { "" };

	vm_walk(vm, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
}

/* The guest starts the 8254 and sets flags and a register, then counts. */
static void test_state_goes_through_the_walker_unchanged(void **state)
{
	static const uint8_t code[] = { 0xb0, 0x34, 0xe6, 0x43,  0xb0, 0x99,
					0xe6, 0x40, 0xe6, 0x40,  0xbb, 0x78,
					0x56, 0x34, 0x12, COUNT, 0xeb, 0xf8 };
	static const uint8_t other[] = { 0xfa, COUNT, HALT };
	struct guest_run g = { 0 }, h = { 0 };
	struct vm_config c;
	char *saved;
	size_t len;

	configure(&c, code, sizeof(code));
	start(&g, &c);
	wait_counter(g.vm, 0);
	vm_pause(g.vm);
	save(g.vm, &saved, &len);
	assert_int_equal(differences(g.vm, saved, len), 0);

	configure(&c, other, sizeof(other));
	start(&h, &c);
	wait_counter(h.vm, 0);
	vm_pause(h.vm);
	restore(h.vm, saved, len);
	assert_int_equal(h.vm->xm.cpus[0]->gpr[X86_RBX], 0x12345678);
	assert_int_equal(differences(h.vm, saved, len), 0);
	free(saved);
	finish(&g);
	finish(&h);
}

/* --- Sleep -----------------------------------------------------------------
 */

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void test_halted_guest_uses_no_processor(void **state)
{
	static const uint8_t code[] = { 0xfa, COUNT, HALT };
	struct guest_run g = { 0 };
	struct vm_config c;
	double before;

	configure(&c, code, sizeof(code));
	start(&g, &c);
	wait_counter(g.vm, 0);
	sleep_ms(10);
	before = cpu_seconds();
	sleep_ms(300);
	assert_true(cpu_seconds() - before < 0.03);
	finish(&g);
}

/* INIT and SIPI to all others; each AP counts at 0x500 + its own id. */
static void test_other_processors_start_by_sipi(void **state)
{
	static const uint8_t code[] = {
		/* mov dword [0xfee00300], 0x000c4500; ..., 0x000c4608 */
		0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x0c, 0x00,
		0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0x0c, 0x00,
		/* cmp word [0x500], 2; jne back */
		0x66, 0x83, 0x3d, 0x00, 0x05, 0x00, 0x00, 0x02, 0x75, 0xf6,
		EXIT(0)
	};
	/* At 0x8000, real mode: lock inc word [0x500]; hlt */
	static const uint8_t ap[] = { 0xf0, 0xff, 0x06, 0x00, 0x05, HALT };
	struct err err = { "" };
	struct vm_config c;
	int status = -1;
	struct vm *vm;

	configure(&c, code, sizeof(code));
	c.cpus = 3;
	vm = make(&c, -1);
	mem_write(vm->env.mem, 0x8000, ap, sizeof(ap));
	assert_int_equal(vm_run(vm, &status, &err), VM_END_EXIT_PORT);
	assert_int_equal(status, 1);
	vm_free(vm);
}

/* --- Refusals ------------------------------------------------------------- */

static void refuse(struct vm_config *c, const char *word)
{
	struct err err = { "" };
	struct vm *vm;

	assert_true(vm_new(&vm, c, -1, -1, &err) < 0);
	assert_null(vm);
	if (!strstr(err.msg, word))
		fail_msg("\"%s\" does not speak of \"%s\"", err.msg, word);
}

static void test_impossible_machines_are_refused_with_a_sentence(void **state)
{
	static const uint8_t code[] = { HALT };
	struct vm_config c;
	char *kernel;

	configure(&c, code, sizeof(code));
	kernel = strdup(c.kernel);
	free(c.engine);
	c.engine = strdup("warp");
	refuse(&c, "unknown engine");
	unlink(kernel);
	free(kernel);

	vm_config_init(&c);
	refuse(&c, "--kernel");

	vm_config_init(&c);
	c.kernel = strdup("/nonexistent/kernel");
	refuse(&c, "does not exist");
}

static void test_stats_are_one_json_object(void **state)
{
	static const uint8_t code[] = { EXIT(0) };
	struct vm_config c;
	struct err err;
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct vm *vm;
	json_t *j;
	int status;

	configure(&c, code, sizeof(code));
	vm = make(&c, -1);
	vm_run(vm, &status, &err);
	vm_print_stats(vm, f);
	fclose(f);
	j = json_loads(text, 0, NULL);
	assert_non_null(j);
	assert_true(json_is_real(json_object_get(j, "wall_seconds")));
	assert_true(json_is_object(json_object_get(j, "exits")));
	assert_true(json_integer_value(json_object_get(j, "memory_touched")) >
		    0);
	json_decref(j);
	free(text);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	struct err why = { "" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_port_gives_the_status),
		cmocka_unit_test(test_acpi_power_off_gives_status_0),
		cmocka_unit_test(test_triple_fault_without_reboot_is_a_crash),
		cmocka_unit_test(test_timeout_ends_a_guest),
		cmocka_unit_test(test_serial_port_reaches_the_console),
		cmocka_unit_test(test_reset_loads_the_guest_again),
		cmocka_unit_test(test_triple_fault_resets),
		cmocka_unit_test(test_reset_without_reboot_ends_like_power_off),
		cmocka_unit_test(test_paused_guest_stands_still),
		cmocka_unit_test(test_step_executes_one_instruction),
		cmocka_unit_test(test_pause_and_reset_do_not_deadlock),
		cmocka_unit_test(test_state_goes_through_the_walker_unchanged),
		cmocka_unit_test(test_halted_guest_uses_no_processor),
		cmocka_unit_test(test_other_processors_start_by_sipi),
		cmocka_unit_test(
			test_impossible_machines_are_refused_with_a_sentence),
		cmocka_unit_test(test_stats_are_one_json_object),
	};

	if (argc > 1)
		engine = argv[1];
	if (!strcmp(engine, "kvm") && kvm_engine.probe(&why)) {
		fprintf(stderr, "skipped: %s\n", why.msg);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
