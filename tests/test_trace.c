/* test_trace.c - machine/trace.c and machine/trace_filter.c. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/trace.h"
#include "machine/trace_filter.h"

/* --- The filter ----------------------------------------------------------- */

static struct trace_filter parse(const char *list)
{
	struct trace_filter f;
	struct err err = { "" };

	if (trace_filter_parse(&f, list, &err))
		fail_msg("%s", err.msg);
	return f;
}

static void empty_filter_shows_everything(void **state)
{
	struct trace_filter f = parse(NULL);

	assert_int_equal(f.kinds, 0xf);
	assert_true(trace_filter_match(&f, 0, true, 0));
	assert_true(trace_filter_match(&f, 9999, false, UINT64_MAX));
	assert_true(trace_filter_match_other(&f));
	f = parse("");
	assert_int_equal(f.kinds, 0xf);
}

static void kinds_add_up(void **state)
{
	struct trace_filter f = parse("port,insn");

	assert_true(trace_filter_kind(&f, TRACE_INSN));
	assert_true(trace_filter_kind(&f, TRACE_PORT));
	assert_false(trace_filter_kind(&f, TRACE_EVENT));
	assert_false(trace_filter_kind(&f, TRACE_MMIO));
}

static void privilege_selects(void **state)
{
	struct trace_filter f = parse("user");

	assert_true(trace_filter_match(&f, 0, true, 0));
	assert_false(trace_filter_match(&f, 0, false, 0));
	assert_false(trace_filter_match_other(&f));
	f = parse("kernel");
	assert_false(trace_filter_match(&f, 0, true, 0));
	f = parse("kernel,user");
	assert_true(trace_filter_match(&f, 0, true, 0));
	assert_true(trace_filter_match(&f, 0, false, 0));
}

static void vcpus_select(void **state)
{
	struct trace_filter f = parse("cpu=1,cpu=200");

	assert_false(trace_filter_match(&f, 0, true, 0));
	assert_true(trace_filter_match(&f, 1, true, 0));
	assert_true(trace_filter_match(&f, 200, true, 0));
	assert_false(trace_filter_match(&f, 256, true, 0));
	assert_false(trace_filter_match_other(&f));
}

static void ranges_are_half_open(void **state)
{
	struct trace_filter f =
		parse("0xffffffff81000000-0xffffffff82000000,16-17");

	assert_true(trace_filter_match(&f, 0, false, 0xffffffff81000000));
	assert_true(trace_filter_match(&f, 0, false, 0xffffffff81ffffff));
	assert_false(trace_filter_match(&f, 0, false, 0xffffffff82000000));
	assert_true(trace_filter_match(&f, 0, false, 16));
	assert_false(trace_filter_match(&f, 0, false, 17));
}

static void bad_filters_get_a_sentence(void **state)
{
	static const char *const bad[] = {
		"foo",
		",",
		"insn,",
		",insn",
		"insn,,port",
		"cpu=",
		"cpu=x",
		"cpu=-1",
		"cpu=256",
		"cpu=99999999999999999999",
		"1-",
		"-1",
		"5-5",
		"6-5",
		"0x10-0xzz",
		"1-2-3",
		"99999999999999999999-1",
		"insnx",
		" insn",
		"1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,1-2,"
		"1-2,1-2",
	};
	struct trace_filter f;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err.msg[0] = 0;
		if (trace_filter_parse(&f, bad[i], &err) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(strstr(err.msg, "--trace-filter: "));
	}
}

static void endless_word_is_refused(void **state)
{
	char *s = malloc(100001);
	struct trace_filter f;

	memset(s, 'a', 100000);
	s[100000] = 0;
	assert_int_equal(trace_filter_parse(&f, s, NULL), -EINVAL);
	free(s);
}

/* --- The trace ------------------------------------------------------------ */

struct fixture {
	char path[32];
	struct mem *mem;
	struct x86_machine xm;
	struct x86_cpu *cpu;
	struct trace *trace;
	char text[8192];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	strcpy(f->path, "/tmp/hostel-trace-XXXXXX");
	fd = mkstemp(f->path);
	close(fd);
	assert_int_equal(mem_new(&f->mem, MEM_RAM_MIN, NULL), 0);
	f->xm.mem = f->mem;
	f->cpu = aligned_alloc(4096, (sizeof(*f->cpu) + 4095) & ~4095ull);
	memset(f->cpu, 0, sizeof(*f->cpu));
	f->cpu->index = 3;
	f->cpu->insn_count = 42;
	f->cpu->mode = X86_MODE_CODE64;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	mem_free(f->mem);
	free(f->cpu);
	free(f);
	return 0;
}

static void begin(struct fixture *f, const char *filter)
{
	assert_int_equal(trace_open(&f->trace, f->path, filter, NULL), 0);
	trace_attach(f->trace, &f->xm);
	trace_thread(f->trace, f->cpu);
}

static const char *end(struct fixture *f)
{
	FILE *file;
	size_t n;

	assert_int_equal(trace_close(f->trace, NULL), 0);
	file = fopen(f->path, "r");
	n = fread(f->text, 1, sizeof(f->text) - 1, file);
	f->text[n] = 0;
	fclose(file);
	return f->text;
}

static void instruction_line(void **state)
{
	static const uint8_t mov[] = { 0x48, 0x89, 0xe5 };
	struct fixture *f = *state;

	begin(f, NULL);
	f->xm.trace->insn(f->xm.trace_opaque, f->cpu, 0xffffffff81000000, mov,
			  sizeof(mov));
	assert_string_equal(end(f), "3         42 insn   ffffffff81000000 "
				    "4889e5               mov rbp, rsp\n");
	assert_null(f->xm.trace);
}

static void event_lines(void **state)
{
	static const struct x86_event ev[] = {
		{ .vector = X86_VEC_PF,
		  .type = X86_EV_FAULT,
		  .has_error = true,
		  .error = 2,
		  .cr2 = 0x1234 },
		{ .vector = 0x30, .type = X86_EV_INTR },
		{ .vector = 0x80, .type = X86_EV_SOFT },
		{ .vector = X86_VEC_NMI, .type = X86_EV_NMI },
		{ .vector = X86_VEC_UD, .type = X86_EV_FAULT },
		{ .vector = 9, .type = X86_EV_FAULT },
	};
	struct fixture *f = *state;

	f->cpu->rip = 0x7c00;
	begin(f, "event");
	assert_null(f->xm.trace->insn);
	for (size_t i = 0; i < sizeof(ev) / sizeof(*ev); i++)
		f->xm.trace->event(f->xm.trace_opaque, f->cpu, &ev[i]);
	assert_string_equal(
		end(f),
		"3         42 event  0000000000007c00 #PF error 0x2 cr2 "
		"0x1234\n"
		"3         42 event  0000000000007c00 interrupt 0x30\n"
		"3         42 event  0000000000007c00 int 0x80\n"
		"3         42 event  0000000000007c00 NMI\n"
		"3         42 event  0000000000007c00 #UD\n"
		"3         42 event  0000000000007c00 exception 0x9\n");
}

static void access_lines(void **state)
{
	struct fixture *f = *state;

	begin(f, "port,mmio");
	assert_null(f->xm.trace);
	mem_port_write(f->mem, 0x3f8, 1, 0x41);
	mem_mmio_read(f->mem, 0xfec00000, 4);
	assert_string_equal(
		end(f), "3         42 port   write 0x3f8.1 = 0x41 unclaimed\n"
			"3         42 mmio   read 0xfec00000.4 = 0xffffffff "
			"unclaimed\n");
	mem_port_write(f->mem, 0x3f8, 1, 0x41); /* no tap any more */
}

static void other_kinds_are_not_shown(void **state)
{
	struct fixture *f = *state;

	begin(f, "mmio");
	mem_port_write(f->mem, 0x3f8, 1, 0x41);
	assert_string_equal(end(f), "");
}

static void range_and_privilege_apply_to_accesses(void **state)
{
	struct fixture *f = *state;

	begin(f, "port,kernel,0x1000-0x2000");
	f->cpu->rip = 0x1800;
	mem_port_write(f->mem, 1, 1, 1);
	f->cpu->rip = 0x2800;
	mem_port_write(f->mem, 2, 1, 1);
	f->cpu->rip = 0x1800;
	f->cpu->cpl = 3;
	mem_port_write(f->mem, 3, 1, 1);
	assert_string_equal(end(f), "3         42 port   write 0x1.1 = 0x1 "
				    "unclaimed\n");
}

static void *write_port(void *opaque)
{
	mem_port_write(opaque, 0x80, 1, 7);
	return NULL;
}

static void thread_without_vcpu(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	begin(f, NULL);
	pthread_create(&thread, NULL, write_port, f->mem);
	pthread_join(thread, NULL);
	assert_string_equal(end(f), "-          - port   write 0x80.1 = 0x7 "
				    "unclaimed\n");
}

static void unopenable_file_gets_a_sentence(void **state)
{
	struct trace *t;
	struct err err;

	assert_int_equal(trace_open(&t, "/nonexistent/t", NULL, &err), -ENOENT);
	assert_string_equal(err.msg,
			    "cannot open the trace file /nonexistent/t: "
			    "No such file or directory");
}

static void full_disk_gets_a_sentence(void **state)
{
	struct fixture *f = *state;
	struct err err;

	assert_int_equal(trace_open(&f->trace, "/dev/full", NULL, NULL), 0);
	trace_attach(f->trace, &f->xm);
	mem_port_write(f->mem, 0x80, 1, 7);
	assert_int_equal(trace_close(f->trace, &err), -EIO);
	assert_non_null(strstr(err.msg, "/dev/full is not complete"));
	assert_int_equal(trace_close(NULL, NULL), 0);
}

#define TRACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_filter_shows_everything),
		cmocka_unit_test(kinds_add_up),
		cmocka_unit_test(privilege_selects),
		cmocka_unit_test(vcpus_select),
		cmocka_unit_test(ranges_are_half_open),
		cmocka_unit_test(bad_filters_get_a_sentence),
		cmocka_unit_test(endless_word_is_refused),
		TRACE_TEST(instruction_line),
		TRACE_TEST(event_lines),
		TRACE_TEST(access_lines),
		TRACE_TEST(other_kinds_are_not_shown),
		TRACE_TEST(range_and_privilege_apply_to_accesses),
		TRACE_TEST(thread_without_vcpu),
		cmocka_unit_test(unopenable_file_gets_a_sentence),
		TRACE_TEST(full_disk_gets_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
