/* test_mem.c - mem/mem.c and mem/bus.c. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem/mem.h"

#define MiB (1ull << 20)
#define GiB (1ull << 30)

static struct mem *make(uint64_t bytes)
{
	struct mem *m = NULL;
	struct err err = { "" };

	if (mem_new(&m, bytes, &err))
		fail_msg("%s", err.msg);
	return m;
}

/* --- RAM ------------------------------------------------------------------ */

static void bad_sizes_get_a_sentence(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *says;
	} bad[] = {
		{ 0, "too little" },
		{ MiB - 4096, "too little" },
		{ MiB + 1, "not a multiple of 4096" },
		{ MEM_RAM_MAX + 4096, "too much" },
		{ UINT64_MAX, "too much" },
	};
	struct mem *m = NULL;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(mem_new(&m, bad[i].bytes, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i].says));
		assert_null(m);
	}
}

static void refusal_of_the_host_gets_a_sentence(void **state)
{
	struct rlimit old, tight = { 256 * MiB, RLIM_INFINITY };
	struct mem *m = NULL;
	struct err err;
	int rc;

	getrlimit(RLIMIT_AS, &old);
	tight.rlim_max = old.rlim_max;
	if (getenv("HOSTEL_SANITIZED") || setrlimit(RLIMIT_AS, &tight))
		skip(); /* a sanitizer's shadow needs the address space */
	rc = mem_new(&m, GiB, &err);
	setrlimit(RLIMIT_AS, &old);
	assert_int_equal(rc, -ENOMEM);
	assert_non_null(strstr(err.msg, "refuses 1024 MiB"));
	assert_non_null(strstr(err.msg, "give the guest less"));
}

static void small_ram_is_one_range(void **state)
{
	struct mem *m = make(64 * MiB);
	struct mem_range r[2];

	assert_int_equal(mem_ram_ranges(m, r), 1);
	assert_int_equal(r[0].base, 0);
	assert_int_equal(r[0].size, 64 * MiB);
	assert_non_null(mem_host(m, 64 * MiB - 1, 1));
	assert_null(mem_host(m, 64 * MiB - 1, 2));
	assert_null(mem_host(m, 64 * MiB, 1));
	assert_null(mem_host(m, MEM_HOLE_END, 1));
	assert_null(mem_host(m, 1, UINT64_MAX));
	assert_null(mem_host(m, UINT64_MAX, 1));
	assert_int_equal(mem_page(m, 64 * MiB - 1), 64 * MiB / 4096 - 1);
	assert_int_equal(mem_page(m, 64 * MiB), UINT64_MAX);
	mem_free(m);
}

static void large_ram_goes_around_the_hole(void **state)
{
	struct mem *m = make(4 * GiB);
	struct mem_range r[2];

	assert_int_equal(mem_ram_ranges(m, r), 2);
	assert_int_equal(r[0].size, MEM_HOLE_BASE);
	assert_int_equal(r[1].base, MEM_HOLE_END);
	assert_int_equal(r[1].size, GiB);
	assert_null(mem_host(m, MEM_HOLE_BASE - 1, 2));
	assert_null(mem_host(m, MEM_HOLE_BASE, 1));
	assert_null(mem_host(m, MEM_HOLE_END - 1, 2));
	assert_non_null(mem_host(m, MEM_HOLE_END, GiB));
	assert_null(mem_host(m, MEM_HOLE_END + GiB - 1, 2));
	assert_int_equal(mem_page(m, MEM_HOLE_END), MEM_HOLE_BASE / 4096);
	mem_free(m);
}

static void ram_exactly_up_to_the_hole(void **state)
{
	struct mem *m = make(MEM_HOLE_BASE);
	struct mem_range r[2];

	assert_int_equal(mem_ram_ranges(m, r), 1);
	assert_null(mem_host(m, MEM_HOLE_END, 1));
	mem_free(m);
}

static void only_touched_pages_cost(void **state)
{
	struct mem *m = make(64 * GiB);

	assert_int_equal(mem_touched_bytes(m), 0);
	assert_int_equal(mem_write(m, 60 * GiB, "x", 1), 0);
	assert_in_range(mem_touched_bytes(m), 4096, 2 * MiB);
	mem_free(m);
}

static void copies_are_all_or_nothing(void **state)
{
	struct mem *m = make(MiB);
	char buf[8] = "........";

	assert_int_equal(mem_write(m, MiB - 4, "abcd", 4), 0);
	assert_int_equal(mem_write(m, MiB - 4, "ABCDE", 5), -EFAULT);
	assert_int_equal(mem_read(m, MiB - 4, buf, 5), -EFAULT);
	assert_memory_equal(buf, "........", 8);
	assert_int_equal(mem_read(m, MiB - 4, buf, 4), 0);
	assert_memory_equal(buf, "abcd....", 8);
	assert_int_equal(mem_read(m, UINT64_MAX, buf, 0), 0);
	assert_int_equal(mem_zero(m, MiB - 4, 5), -EFAULT);
	mem_free(m);
}

static void zero_clears_exactly_the_range(void **state)
{
	static const struct {
		uint64_t from, len;
	} z[] = { { 1, 1 },
		  { 4095, 2 },
		  { 100, 65436 },
		  { 4097, 200000 },
		  { 8192, 131072 } };
	struct mem *m = make(MiB);
	uint8_t *p = mem_host(m, 0, MiB);

	for (size_t i = 0; i < sizeof(z) / sizeof(*z); i++) {
		memset(p, 0x55, MiB);
		assert_int_equal(mem_zero(m, z[i].from, z[i].len), 0);
		for (uint64_t at = 0; at < MiB; at++)
			if (p[at] != (at - z[i].from < z[i].len ? 0 : 0x55))
				fail_msg("case %zu, byte %#llx", i,
					 (unsigned long long)at);
	}
	mem_free(m);
}

static void zeroing_gives_pages_back(void **state)
{
	struct mem *m = make(4 * MiB);

	memset(mem_host(m, 0, 4 * MiB), 1, 4 * MiB);
	assert_int_equal(mem_touched_bytes(m), 4 * MiB);
	assert_int_equal(mem_zero(m, 0, 4 * MiB), 0);
	assert_int_equal(mem_touched_bytes(m), 0);
	mem_free(m);
}

struct hook {
	int calls;
	uint64_t gpa, len;
};

static void on_code(void *opaque, uint64_t gpa, uint64_t len)
{
	struct hook *h = opaque;

	h->calls++;
	h->gpa = gpa;
	h->len = len;
}

static void writes_to_code_call_the_hook(void **state)
{
	struct mem *m = make(MiB);
	struct hook h = { 0 };
	uint8_t *flags = mem_page_flags(m);

	mem_set_code_hook(m, on_code, &h);
	flags[5] = MEM_PAGE_CODE;
	mem_write(m, 4 * 4096, "x", 1);
	mem_write(m, 6 * 4096, "x", 1);
	assert_int_equal(h.calls, 0);
	mem_write(m, 5 * 4096 - 1, "xy", 2);
	assert_int_equal(h.calls, 1);
	assert_int_equal(h.gpa, 5 * 4096 - 1);
	assert_int_equal(h.len, 2);
	mem_zero(m, 0, MiB);
	assert_int_equal(h.calls, 2);
	mem_written(m, 5 * 4096, 0);
	mem_written(m, MiB, 1);
	assert_int_equal(h.calls, 2);
	mem_free(m);
}

static void writes_mark_pages_dirty(void **state)
{
	struct mem *m = make(MiB);
	uint8_t *flags = mem_page_flags(m);

	mem_write(m, 2 * 4096 - 1, "xy", 2);
	assert_int_equal(flags[0] & MEM_PAGE_DIRTY, 0);
	assert_int_equal(flags[1] & MEM_PAGE_DIRTY, MEM_PAGE_DIRTY);
	assert_int_equal(flags[2] & MEM_PAGE_DIRTY, MEM_PAGE_DIRTY);
	assert_int_equal(flags[3] & MEM_PAGE_DIRTY, 0);
	mem_free(m);
}

/* --- The I/O spaces ------------------------------------------------------- */

/* Writes down each access as text. */
struct recorder {
	char log[512];
	uint64_t answer;
};

static uint64_t rec_read(void *dev, uint64_t offset, unsigned size)
{
	struct recorder *r = dev;
	size_t n = strlen(r->log);

	snprintf(r->log + n, sizeof(r->log) - n, "r%llx.%u ",
		 (unsigned long long)offset, size);
	return r->answer++;
}

static void rec_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct recorder *r = dev;
	size_t n = strlen(r->log);

	snprintf(r->log + n, sizeof(r->log) - n, "w%llx.%u=%llx ",
		 (unsigned long long)offset, size, (unsigned long long)value);
}

static const struct io_ops rec_ops = { rec_read, rec_write, 0 };
static const struct io_ops rec_byte_ops = { rec_read, rec_write, 1 };
static const struct io_ops rec_dword_ops = { rec_read, rec_write, 4 };

static void unclaimed_reads_ones(void **state)
{
	struct mem *m = make(MiB);

	assert_int_equal(mem_port_read(m, 0x1234, 1), 0xff);
	assert_int_equal(mem_port_read(m, 0x1234, 2), 0xffff);
	assert_int_equal(mem_port_read(m, 0xffff, 4), 0xffffffff);
	assert_int_equal(mem_mmio_read(m, 0xfee00000, 4), 0xffffffff);
	assert_int_equal(mem_mmio_read(m, UINT64_MAX, 8), UINT64_MAX);
	mem_port_write(m, 0xffff, 4, 1);
	mem_mmio_write(m, UINT64_MAX, 8, 1);
	mem_free(m);
}

static void overlap_and_empty_are_refused(void **state)
{
	struct mem *m = make(MiB);
	struct recorder r = { 0 };

	assert_int_equal(mem_map_mmio(m, 0x1000, 0x100, &rec_ops, &r, "a"), 0);
	assert_int_equal(mem_map_mmio(m, 0x10ff, 1, &rec_ops, &r, "b"),
			 -EEXIST);
	assert_int_equal(mem_map_mmio(m, 0xfff, 2, &rec_ops, &r, "b"), -EEXIST);
	assert_int_equal(mem_map_mmio(m, 0, 0x2000, &rec_ops, &r, "b"),
			 -EEXIST);
	assert_int_equal(mem_map_mmio(m, 0x1100, 1, &rec_ops, &r, "c"), 0);
	assert_int_equal(mem_map_mmio(m, 0x5000, 0, &rec_ops, &r, "d"),
			 -EINVAL);
	assert_int_equal(mem_map_mmio(m, UINT64_MAX, 2, &rec_ops, &r, "d"),
			 -EINVAL);
	assert_int_equal(mem_map_mmio(m, UINT64_MAX, 1, &rec_ops, &r, "e"), 0);
	assert_int_equal(mem_map_ports(m, 0x60, 1, &rec_ops, &r, "p"), 0);
	assert_int_equal(mem_map_ports(m, 0x5f, 2, &rec_ops, &r, "q"), -EEXIST);
	assert_int_equal(mem_map_ports(m, 0xffff, 2, &rec_ops, &r, "q"),
			 -EINVAL);
	assert_int_equal(mem_map_ports(m, 0x10, 0, &rec_ops, &r, "q"), -EINVAL);
	mem_free(m);
}

static void right_device_among_many(void **state)
{
	enum { N = 40 };
	struct mem *m = make(MiB);
	struct recorder r[N];

	memset(r, 0, sizeof(r));
	for (unsigned i = 0; i < N; i++) { /* in a scattered order */
		unsigned at = i * 17 % N;

		r[at].answer = at;
		assert_int_equal(mem_map_mmio(m, 0xd0000000 + at * 0x1000,
					      0x800, &rec_ops, &r[at], "x"),
				 0);
		assert_int_equal(mem_map_ports(m, (uint16_t)(0x200 + at * 8), 8,
					       &rec_ops, &r[at], "x"),
				 0);
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(
			mem_mmio_read(m, 0xd0000000 + i * 0x1000 + 0x7ff, 1),
			i);
		assert_int_equal(
			mem_mmio_read(m, 0xd0000000 + i * 0x1000 + 0x800, 1),
			0xff);
		assert_int_equal(mem_port_read(m, (uint16_t)(0x207 + i * 8), 1),
				 i + 1);
		assert_string_equal(r[i].log, "r7ff.1 r7.1 ");
	}
	mem_free(m);
}

static void unmapped_is_unclaimed_again(void **state)
{
	struct mem *m = make(MiB);
	struct recorder r = { 0 };

	mem_map_mmio(m, 0x1000, 8, &rec_ops, &r, "a");
	mem_map_mmio(m, 0x2000, 8, &rec_ops, &r, "b");
	assert_int_equal(mem_unmap_mmio(m, 0x1004), -ENOENT);
	assert_int_equal(mem_unmap_mmio(m, 0x1000), 0);
	assert_int_equal(mem_unmap_mmio(m, 0x1000), -ENOENT);
	assert_int_equal(mem_mmio_read(m, 0x1000, 1), 0xff);
	assert_int_equal(mem_mmio_read(m, 0x2000, 1), 0);
	mem_free(m);
}

static void wide_access_is_split_lowest_first(void **state)
{
	struct mem *m = make(MiB);
	struct recorder r = { .answer = 0x11 };

	mem_map_ports(m, 0x70, 4, &rec_byte_ops, &r, "bytes");
	mem_map_mmio(m, 0x1000, 0x100, &rec_dword_ops, &r, "dwords");
	assert_int_equal(mem_port_read(m, 0x70, 4), 0x14131211);
	mem_port_write(m, 0x71, 2, 0xbbaa);
	mem_mmio_write(m, 0x1008, 8, 0x1122334455667788);
	assert_int_equal(mem_mmio_read(m, 0x1010, 8), 0x1600000015);
	assert_string_equal(r.log, "r0.1 r1.1 r2.1 r3.1 w1.1=aa w2.1=bb "
				   "w8.4=55667788 wc.4=11223344 r10.4 r14.4 ");
	mem_free(m);
}

static void straddling_access_goes_in_bytes(void **state)
{
	struct mem *m = make(MiB);
	struct recorder a = { .answer = 1 }, b = { .answer = 0x21 };

	mem_map_mmio(m, 0x1000, 0x10, &rec_ops, &a, "a");
	mem_map_mmio(m, 0x1010, 1, &rec_ops, &b, "b");
	/* 2 bytes of a, 1 of b, 1 of nobody */
	assert_int_equal(mem_mmio_read(m, 0x100e, 4), 0xff210201);
	/* nobody at both ends */
	assert_int_equal(mem_unmap_mmio(m, 0x1000), 0);
	assert_int_equal(mem_mmio_read(m, 0x100c, 8), 0xffffff22ffffffff);
	mem_mmio_write(m, 0x100e, 4, 0xddccbbaa);
	assert_string_equal(a.log, "re.1 rf.1 ");
	assert_string_equal(b.log, "r0.1 r0.1 w0.1=cc ");
	mem_free(m);
}

static void answer_is_cut_to_size(void **state)
{
	struct mem *m = make(MiB);
	struct recorder r = { .answer = 0x1122334455667788 };

	mem_map_ports(m, 0x80, 1, &rec_ops, &r, "p");
	assert_int_equal(mem_port_read(m, 0x80, 1), 0x88);
	mem_port_write(m, 0x80, 1, 0xfffff);
	assert_string_equal(r.log, "r0.1 w0.1=ff ");
	mem_free(m);
}

static void missing_handlers_are_harmless(void **state)
{
	static const struct io_ops none = { 0 };
	struct mem *m = make(MiB);

	mem_map_ports(m, 0x80, 1, &none, NULL, "none");
	assert_int_equal(mem_port_read(m, 0x80, 1), 0xff);
	mem_port_write(m, 0x80, 1, 0);
	mem_free(m);
}

static void on_tap(void *opaque, char space, bool write, uint64_t addr,
		   unsigned size, uint64_t value, const char *name)
{
	char *log = opaque;
	size_t n = strlen(log);

	snprintf(log + n, 512 - n, "%c%c %llx.%u %llx %s;", space,
		 write ? 'w' : 'r', (unsigned long long)addr, size,
		 (unsigned long long)value, name);
}

static void tap_sees_each_access_once(void **state)
{
	struct mem *m = make(MiB);
	struct recorder r = { .answer = 1 };
	char log[512] = "";

	mem_map_ports(m, 0x70, 4, &rec_byte_ops, &r, "rtc");
	mem_set_tap(m, on_tap, log);
	mem_port_read(m, 0x70, 2);
	mem_port_write(m, 0x99, 1, 5);
	mem_mmio_write(m, 0xfee00000, 4, 0xffffffff00000001);
	mem_show_mmio(m, true, 0xfee000b0, 4, ~0ull, "lapic");
	mem_set_tap(m, NULL, NULL);
	mem_show_mmio(m, true, 0xfee000b0, 4, 0, "lapic");
	mem_port_read(m, 0x70, 1);
	assert_string_equal(log, "pr 70.2 201 rtc;pw 99.1 5 unclaimed;"
				 "mw fee00000.4 1 unclaimed;"
				 "mw fee000b0.4 ffffffff lapic;");
	mem_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_sizes_get_a_sentence),
		cmocka_unit_test(refusal_of_the_host_gets_a_sentence),
		cmocka_unit_test(small_ram_is_one_range),
		cmocka_unit_test(large_ram_goes_around_the_hole),
		cmocka_unit_test(ram_exactly_up_to_the_hole),
		cmocka_unit_test(only_touched_pages_cost),
		cmocka_unit_test(copies_are_all_or_nothing),
		cmocka_unit_test(zero_clears_exactly_the_range),
		cmocka_unit_test(zeroing_gives_pages_back),
		cmocka_unit_test(writes_to_code_call_the_hook),
		cmocka_unit_test(writes_mark_pages_dirty),
		cmocka_unit_test(unclaimed_reads_ones),
		cmocka_unit_test(overlap_and_empty_are_refused),
		cmocka_unit_test(right_device_among_many),
		cmocka_unit_test(unmapped_is_unclaimed_again),
		cmocka_unit_test(wide_access_is_split_lowest_first),
		cmocka_unit_test(straddling_access_goes_in_bytes),
		cmocka_unit_test(answer_is_cut_to_size),
		cmocka_unit_test(missing_handlers_are_harmless),
		cmocka_unit_test(tap_sees_each_access_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
