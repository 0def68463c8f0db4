/* test_window.c - mem/window.c: memory that is not RAM. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/mem.h"

#define MiB  (1ull << 20)
#define RAM  (16 * MiB)
#define ROM  0xfffc0000ull
#define PAGE MEM_PAGE_SIZE

static struct mem *make(void)
{
	struct mem *m = NULL;

	assert_int_equal(mem_new(&m, RAM, NULL), 0);
	return m;
}

static struct mem_window *make_rom(struct mem *m)
{
	struct mem_window *w = NULL;

	assert_int_equal(mem_window_new(m, 256 << 10, &w), 0);
	mem_window_host(m, w)[0] = 0xea;
	mem_window_host(m, w)[0x3ffff] = 0x55;
	return w;
}

static uint8_t byte_at(struct mem *m, uint64_t gpa)
{
	uint8_t v = 0;

	assert_int_equal(mem_read(m, gpa, &v, 1), 0);
	return v;
}

static void rom_is_read_but_not_written(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m);
	uint8_t v = 1;

	assert_int_equal(mem_read(m, ROM, &v, 1), -EFAULT);
	mem_window_set(m, w, ROM, MEM_ROM);
	assert_int_equal(byte_at(m, ROM), 0xea);
	assert_int_equal(byte_at(m, 0xffffffff), 0x55);
	assert_int_equal(mem_write(m, ROM, &v, 1), -EFAULT);
	assert_int_equal(mem_zero(m, ROM, 1), -EFAULT);
	assert_null(mem_host(m, ROM, 1));
	assert_ptr_equal(mem_host_read(m, ROM, 1), mem_window_host(m, w));
	assert_null(mem_host_read(m, ROM, (256 << 10) + 1));
	mem_free(m);
}

static void frame_buffer_is_memory_where_it_is(void **state)
{
	struct mem *m = make();
	struct mem_window *w = NULL;
	uint8_t v = 7;

	assert_int_equal(mem_window_new(m, MiB, &w), 0);
	mem_window_set(m, w, 0xe0000000, MEM_RW);
	assert_int_equal(mem_write(m, 0xe0000010, &v, 1), 0);
	mem_window_set(m, w, 0xd0000000, MEM_RW);
	assert_int_equal(mem_write(m, 0xe0000010, &v, 1), -EFAULT);
	assert_int_equal(byte_at(m, 0xd0000010), 7);
	mem_window_set(m, w, 0xd0000000, MEM_DEVICE);
	assert_null(mem_host_read(m, 0xd0000010, 1));
	mem_window_set(m, w, MEM_NOWHERE, MEM_RW);
	assert_null(mem_host_read(m, 0, RAM + 1));
	mem_free(m);
}

/* The guest chooses where a BAR lies: nothing of RAM is hidden by it. */
static void ram_wins_over_a_window(void **state)
{
	struct mem *m = make();
	struct mem_window *w = NULL;

	assert_int_equal(mem_window_new(m, MiB, &w), 0);
	memset(mem_window_host(m, w), 0xcc, MiB);
	mem_window_set(m, w, RAM - MiB / 2, MEM_RW);
	assert_int_equal(byte_at(m, RAM - 1), 0);
	assert_int_equal(byte_at(m, RAM), 0xcc);
	/* at the end of the address space it would wrap */
	mem_window_set(m, w, -(uint64_t)PAGE, MEM_RW);
	assert_null(mem_host_read(m, -(uint64_t)PAGE, 1));
	assert_null(mem_host_read(m, RAM, 1));
	mem_free(m);
}

static void shadow_goes_from_rom_to_ram(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m);
	uint8_t v = 0x11;

	assert_int_equal(mem_write(m, 0xfffff, &v, 1), 0);
	assert_int_equal(mem_shadow(m, 0xe0000, 0x20000, w, 0x20000, MEM_ROM),
			 0);
	assert_int_equal(byte_at(m, 0xfffff), 0x55);
	assert_int_equal(mem_write(m, 0xfffff, &v, 1), -EFAULT);
	assert_null(mem_host(m, 0x9f000, 0x2000 + 0x40000));
	assert_non_null(mem_host(m, 0x100000, RAM - 0x100000));
	/* two units that follow each other are one piece */
	assert_non_null(mem_host_read(m, 0xf0000, 0x8000));
	assert_null(mem_host_read(m, 0xf0000, 0x10001));

	assert_int_equal(mem_shadow(m, 0xe0000, 0x20000, NULL, 0, MEM_RW), 0);
	assert_int_equal(byte_at(m, 0xfffff), 0x11);
	assert_non_null(mem_host(m, 0, RAM));
	assert_int_equal(mem_shadow(m, 0xf0000, 0x10000, NULL, 0, MEM_ROM), 0);
	assert_int_equal(byte_at(m, 0xfffff), 0x11);
	assert_int_equal(mem_write(m, 0xfffff, &v, 1), -EFAULT);
	mem_free(m);
}

static void shadow_refuses_what_it_cannot_do(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m);

	assert_int_equal(mem_shadow(m, 0x9c000, 0x4000, NULL, 0, MEM_RW),
			 -EINVAL);
	assert_int_equal(mem_shadow(m, 0xfc000, 0x8000, NULL, 0, MEM_RW),
			 -EINVAL);
	assert_int_equal(mem_shadow(m, 0xc1000, 0x4000, NULL, 0, MEM_RW),
			 -EINVAL);
	assert_int_equal(mem_shadow(m, 0xc0000, 0, NULL, 0, MEM_RW), -EINVAL);
	assert_int_equal(mem_shadow(m, 0xc0000, 0x40000, w, PAGE, MEM_ROM),
			 -EINVAL);
	mem_free(m);
}

static void room_for_windows_ends(void **state)
{
	struct mem *m = make();
	struct mem_window *w = NULL;
	unsigned n = 0;

	assert_int_equal(mem_window_new(m, MEM_WINDOW_BYTES + PAGE, &w),
			 -ENOSPC);
	assert_int_equal(mem_window_new(m, 100, &w), -EINVAL);
	while (mem_window_new(m, PAGE, &w) == 0)
		n++;
	assert_int_equal(n, MEM_WINDOWS_MAX);
	assert_int_equal(mem_window_alias(m, w, PAGE, PAGE, &w), -EINVAL);
	mem_free(m);
}

/* --- What engines are told ------------------------------------------------ */

struct told {
	unsigned before, after;
	uint64_t gpa[16], len[16];
};

static void on_remap(void *opaque, uint64_t gpa, uint64_t len, bool done)
{
	struct told *t = opaque;

	if (done) {
		t->after++;
		return;
	}
	assert_true(t->before < 16);
	t->gpa[t->before] = gpa;
	t->len[t->before++] = len;
}

static void a_change_is_told_before_and_after(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m);
	struct told t = { 0 };

	mem_set_remap_hook(m, on_remap, &t);
	mem_window_set(m, w, ROM, MEM_ROM); /* nothing was there */
	assert_int_equal(t.before, 0);
	assert_int_equal(t.after, 1);
	mem_window_set(m, w, ROM, MEM_ROM); /* no change */
	assert_int_equal(t.after, 1);
	mem_window_set(m, w, ROM, MEM_DEVICE);
	assert_int_equal(t.before, 1);
	assert_int_equal(t.gpa[0], ROM);
	assert_int_equal(t.len[0], 256 << 10);
	mem_free(m);
}

static void written_bytes_are_told_at_every_alias(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m), *alias = NULL;
	struct told t = { 0 };

	assert_int_equal(mem_window_alias(m, w, 0x20000, 0x20000, &alias), 0);
	mem_window_set(m, w, ROM, MEM_ROM);
	mem_window_set(m, alias, 0xd0000000, MEM_ROM);
	assert_int_equal(mem_shadow(m, 0xfc000, 0x4000, w, 0x3c000, MEM_ROM),
			 0);
	assert_ptr_equal(mem_host_read(m, 0xd001ffff, 1),
			 mem_host_read(m, 0xfffff, 1));
	mem_set_remap_hook(m, on_remap, &t);
	mem_window_written(m, w, 0x3f000, 16);
	assert_int_equal(t.before, 3);
	assert_int_equal(t.gpa[0], 0xfffff000);
	assert_int_equal(t.gpa[1], 0xd001f000);
	assert_int_equal(t.gpa[2], 0xfc000);
	mem_window_written(m, w, 0x40000, 16);
	mem_window_written(m, w, 16, UINT64_MAX);
	assert_int_equal(t.before, 3);
	mem_free(m);
}

static void slots_list_all_memory_once(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m), *fb = NULL;
	struct mem_slot s[MEM_SLOTS_MAX];

	assert_int_equal(mem_slots(m, s), 1);
	assert_int_equal(s[0].size, RAM);
	assert_int_equal(mem_window_new(m, MiB, &fb), 0);
	mem_window_set(m, w, ROM, MEM_ROM);
	mem_window_set(m, fb, 0xd0000000, MEM_RW);
	mem_shadow(m, 0xa0000, 0x20000, NULL, 0, MEM_DEVICE);
	mem_shadow(m, 0xe0000, 0x20000, w, 0x20000, MEM_ROM);
	assert_int_equal(mem_slots(m, s), 6);
	static const struct {
		uint64_t gpa, size;
		bool readonly;
	} want[] = {
		{ 0, 0xa0000, false },      { 0xc0000, 0x20000, false },
		{ 0xe0000, 0x20000, true }, { 0x100000, RAM - MiB, false },
		{ 0xd0000000, MiB, false }, { ROM, 0x40000, true },
	};
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(s[i].gpa, want[i].gpa);
		assert_int_equal(s[i].size, want[i].size);
		assert_int_equal(s[i].readonly, want[i].readonly);
		assert_ptr_equal(s[i].host, mem_host_read(m, s[i].gpa, 1));
	}
	/* one that lies over RAM's end is left to its device */
	mem_window_set(m, fb, RAM - PAGE, MEM_RW);
	assert_int_equal(mem_slots(m, s), 5);
	mem_free(m);
}

static void pages_of_windows_have_flags(void **state)
{
	struct mem *m = make();
	struct mem_window *w = make_rom(m);

	assert_int_equal(mem_page(m, ROM), UINT64_MAX);
	mem_window_set(m, w, ROM, MEM_ROM);
	assert_true(mem_page(m, ROM) >= RAM / PAGE);
	assert_true(mem_page(m, 0xffffffff) < mem_page_count(m));
	mem_page_flags(m)[mem_page_count(m) - 1] = 0;
	mem_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rom_is_read_but_not_written),
		cmocka_unit_test(frame_buffer_is_memory_where_it_is),
		cmocka_unit_test(ram_wins_over_a_window),
		cmocka_unit_test(shadow_goes_from_rom_to_ram),
		cmocka_unit_test(shadow_refuses_what_it_cannot_do),
		cmocka_unit_test(room_for_windows_ends),
		cmocka_unit_test(a_change_is_told_before_and_after),
		cmocka_unit_test(written_bytes_are_told_at_every_alias),
		cmocka_unit_test(slots_list_all_memory_once),
		cmocka_unit_test(pages_of_windows_have_flags),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
