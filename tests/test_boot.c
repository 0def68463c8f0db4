/* The loaders: what lies where in guest memory, and every refusal. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot_images.h"
#include "test.h"
#include "machine/boot/boot.h"

#define RAM       (64ull << 20)
#define ZERO_PAGE 0x11000

static const struct e820_entry e820[] = {
	{ 0, 0x9fc00, 1 },
	{ 0x9fc00, 0x60400, 2 },
	{ 0x100000, RAM - 0x100000, 1 },
};

struct fixture {
	struct boot_params p;
	struct boot_entry e;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->p = (struct boot_params){
		.append = "console=ttyS0",
		.e820 = e820,
		.e820_count = 3,
		.rsdp = 0xe0000,
		.low_end = RAM,
	};
	f->p.kernel.name = "/boot/k";
	return mem_new(&f->p.mem, RAM, &f->err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mem_free(f->p.mem);
	free(f);
	return 0;
}

static void use_kernel(struct fixture *f, const struct image *img)
{
	f->p.kernel.data = img->data;
	f->p.kernel.size = img->size;
}

static uint64_t guest(struct fixture *f, uint64_t gpa, unsigned bytes)
{
	uint64_t v = 0;

	assert_int_equal(mem_read(f->p.mem, gpa, &v, bytes), 0);
	return v;
}

static void assert_guest_string(struct fixture *f, uint64_t gpa,
				const char *want)
{
	char got[256] = "";

	mem_read(f->p.mem, gpa, got, strlen(want) + 1);
	assert_string_equal(got, want);
}

static void assert_refused(struct fixture *f, int ret, int code,
			   const char *word)
{
	assert_int_equal(ret, -code);
	if (!strstr(f->err.msg, word))
		fail_msg("\"%s\" does not speak of \"%s\"", f->err.msg, word);
}

/* --- bzImage ----------------------------------------------------------------
 */

static const struct elf_recipe linux64 = {
	.is64 = true,
	.paddr = 0x1000000,
	.vaddr = 0xffffffff81000000,
	.entry = 0x1000000,
	.size = 0x3000,
};

/* A bzImage that holds `elf`, packed. */
static struct image bz_of(const struct bz_recipe *r, const char *format,
			  const struct elf_recipe *recipe)
{
	struct image elf = image_elf(recipe);
	struct image packed = image_pack(format, elf.data, elf.size);
	struct image bz = image_bz(r, &packed);

	image_free(&elf);
	image_free(&packed);
	return bz;
}

static void test_bzimage_is_entered_directly_for_every_packing(void **state)
{
	static const char *const formats[] = { "gzip", "xz",  "lzma",
					       "zstd", "lz4", "bzip2" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct image bz = bz_of(&bz_modern, formats[i], &linux64);

		use_kernel(f, &bz);
		mem_zero(f->p.mem, 0x1000000, 0x6000);
		assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
		assert_int_equal(f->e.kind, BOOT_LONG64);
		assert_int_equal(f->e.rip, 0x1000000);
		assert_int_equal(f->e.rsi, ZERO_PAGE);
		assert_non_null(strstr(f->e.how, formats[i]));
		assert_int_equal(guest(f, 0x1002ff8, 8), 0x5a5a5a5a5a5a5a5a);
		image_free(&bz);
	}
}

static void test_bzimage_clears_bss(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);
	uint64_t junk = ~0ull;

	use_kernel(f, &bz);
	mem_write(f->p.mem, 0x1003000, &junk, 8);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(guest(f, 0x1003000, 8), 0);
	image_free(&bz);
}

/* Pages of the unpacked kernel are given back while it is copied. */
static void test_bzimage_large_kernel_arrives_whole(void **state)
{
	struct fixture *f = *state;
	struct elf_recipe r = linux64;
	struct image bz;

	r.size = 9 << 20;
	bz = bz_of(&bz_modern, "zstd", &r);
	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	for (uint64_t at = 0; at < r.size; at += 8)
		assert_int_equal(guest(f, 0x1000000 + at, 8),
				 0x5a5a5a5a5a5a5a5a);
	image_free(&bz);
}

static void test_bzimage_zero_page_tells_of_the_machine(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);

	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(guest(f, ZERO_PAGE + 0x070, 8), 0xe0000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x1e8, 1), 3);
	assert_int_equal(guest(f, ZERO_PAGE + 0x2d0 + 20, 8), 0x9fc00);
	assert_int_equal(guest(f, ZERO_PAGE + 0x202, 4), 0x53726448);
	assert_int_equal(guest(f, ZERO_PAGE + 0x210, 1), 0xff);
	assert_guest_string(f, guest(f, ZERO_PAGE + 0x228, 4), "console=ttyS0");
	image_free(&bz);
}

static void test_bzimage_initrd_lies_as_high_as_it_may(void **state)
{
	struct fixture *f = *state;
	struct bz_recipe r = bz_modern;
	struct image bz;
	static uint8_t initrd[5000] = "initrd";

	r.initrd_addr_max = 0x2ffffff;
	bz = bz_of(&r, "gzip", &linux64);
	use_kernel(f, &bz);
	f->p.initrd = (struct boot_blob){ initrd, sizeof(initrd), "rd" };
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(guest(f, ZERO_PAGE + 0x218, 4), 0x2ffe000);
	assert_int_equal(guest(f, ZERO_PAGE + 0x21c, 4), 5000);
	assert_guest_string(f, 0x2ffe000, "initrd");
	image_free(&bz);
}

/* Rights and addresses as the page walk sees them. */
static void test_bzimage_page_tables_map_one_to_one(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);
	uint64_t pdpt, pd;

	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	pdpt = guest(f, f->e.cr3, 8);
	assert_int_equal(pdpt & 0xfff, 3);
	pd = guest(f, (pdpt & ~0xfffull) + 3 * 8, 8);
	assert_int_equal(guest(f, (pd & ~0xfffull) + 511 * 8, 8),
			 0xffe00000 | 0x83);
	assert_int_equal(guest(f, f->e.gdt_base + f->e.cs, 8),
			 0x00af9b000000ffff);
	image_free(&bz);
}

static void test_bzimage_32_bit_kernel_is_entered_in_protected_mode(void **s)
{
	struct fixture *f = *s;
	struct elf_recipe r = { .paddr = 0x1000000,
				.vaddr = 0xc1000000,
				.entry = 0x1000000,
				.size = 0x1000 };
	struct bz_recipe old = bz_modern;
	struct image bz;

	old.xloadflags = 0;
	bz = bz_of(&old, "gzip", &r);
	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(f->e.kind, BOOT_PROT32);
	assert_int_equal(f->e.rip, 0x1000000);
	image_free(&bz);
}

/* A payload that is not understood: the image's own decompressor runs. */
static void test_bzimage_falls_back_to_its_decompressor(void **state)
{
	struct fixture *f = *state;
	struct image junk = { (uint8_t *)"not packed at all", 17 };
	struct bz_recipe r = bz_modern;
	struct image bz = image_bz(&r, &junk);

	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(f->e.kind, BOOT_LONG64);
	assert_int_equal(f->e.rip, 0x1000200);
	assert_int_equal(guest(f, 0x1000000, 1), 0xcc);
	image_free(&bz);

	r.xloadflags = 0;
	r.relocatable = false;
	bz = image_bz(&r, &junk);
	use_kernel(f, &bz);
	assert_int_equal(boot_load_bzimage(&f->p, &f->e, &f->err), 0);
	assert_int_equal(f->e.kind, BOOT_PROT32);
	assert_int_equal(f->e.rip, 0x100000);
	image_free(&bz);
}

static void test_bzimage_refuses_what_is_cut_short(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);

	use_kernel(f, &bz);
	f->p.kernel.size = 0x300;
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), EINVAL,
		       "truncated");
	f->p.kernel.size = bz.size - 100;
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), EINVAL,
		       "truncated");
	image_free(&bz);
}

static void test_bzimage_refuses_a_long_command_line(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);
	static char line[3000];

	memset(line, 'a', sizeof(line) - 1);
	f->p.append = line;
	use_kernel(f, &bz);
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), E2BIG,
		       "at most 2047");
	image_free(&bz);
}

static void test_bzimage_refuses_a_large_initrd(void **state)
{
	struct fixture *f = *state;
	struct image bz = bz_of(&bz_modern, "gzip", &linux64);

	use_kernel(f, &bz);
	f->p.initrd = (struct boot_blob){ bz.data, RAM + 1, "rd" };
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), ENOMEM,
		       "larger than the guest's memory");
	f->p.initrd.size = RAM - 0x1000000;
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), ENOMEM,
		       "--memory");
	image_free(&bz);
}

static void test_bzimage_refuses_a_kernel_larger_than_memory(void **state)
{
	struct fixture *f = *state;
	struct bz_recipe r = bz_modern;
	struct image junk = { (uint8_t *)"not packed at all", 17 }, bz;

	r.init_size = RAM;
	bz = image_bz(&r, &junk);
	use_kernel(f, &bz);
	assert_refused(f, boot_load_bzimage(&f->p, &f->e, &f->err), ENOMEM,
		       "does not fit");
	image_free(&bz);
}

static void test_unpacking_stops_at_the_limit(void **state)
{
	static uint8_t zeros[1 << 20];
	static const char *const formats[] = { "gzip", "xz",  "lzma",
					       "zstd", "lz4", "bzip2" };
	const char *format;
	uint64_t len;
	uint8_t *out;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct image p = image_pack(formats[i], zeros, sizeof(zeros));

		assert_int_equal(boot_unpack(p.data, p.size, 4096, &out, &len,
					     &format, NULL),
				 -EFBIG);
		assert_null(out);
		assert_int_equal(boot_unpack(p.data, p.size, sizeof(zeros),
					     &out, &len, &format, NULL),
				 0);
		assert_int_equal(len, sizeof(zeros));
		free(out);
		assert_int_equal(boot_unpack(p.data, p.size / 2, 1 << 20, &out,
					     &len, &format, NULL),
				 -EINVAL);
		image_free(&p);
	}
}

/* --- PVH ---------------------------------------------------------------------
 */

static void pvh_check(struct fixture *f, bool is64)
{
	static uint8_t initrd[] = "initrd";
	struct elf_recipe r = { .is64 = is64,
				.paddr = 0x200000,
				.vaddr = 0x200000,
				.entry = 0x200000,
				.size = 0x1000,
				.pvh = true,
				.pvh_entry = 0x200010 };
	struct image elf = image_elf(&r);
	uint64_t info, mod, map;

	use_kernel(f, &elf);
	f->p.initrd = (struct boot_blob){ initrd, sizeof(initrd), "rd" };
	assert_int_equal(boot_load_pvh(&f->p, &f->e, &f->err), 0);
	assert_int_equal(f->e.kind, BOOT_PROT32);
	assert_int_equal(f->e.rip, 0x200010);
	info = f->e.rbx;
	assert_int_equal(guest(f, info, 4), 0x336ec578);
	assert_int_equal(guest(f, info + 4, 4), 1);
	assert_int_equal(guest(f, info + 12, 4), 1);
	mod = guest(f, info + 16, 8);
	assert_guest_string(f, guest(f, mod, 8), "initrd");
	assert_guest_string(f, guest(f, info + 24, 8), "console=ttyS0");
	assert_int_equal(guest(f, info + 32, 8), 0xe0000);
	map = guest(f, info + 40, 8);
	assert_int_equal(guest(f, info + 48, 4), 3);
	assert_int_equal(guest(f, map + 24, 8), 0x9fc00);
	assert_int_equal(guest(f, map + 24 + 16, 4), 2);
	image_free(&elf);
}

static void test_pvh_start_info_tells_of_the_machine(void **state)
{
	pvh_check(*state, true);
	pvh_check(*state, false);
}

static void test_pvh_refuses_segments_outside_file_or_memory(void **state)
{
	struct fixture *f = *state;
	struct elf_recipe r = { .is64 = true,
				.paddr = 0x200000,
				.size = 0x1000,
				.pvh = true,
				.pvh_entry = 0x200000 };
	struct image elf = image_elf(&r);

	use_kernel(f, &elf);
	f->p.kernel.size -= 1;
	assert_refused(f, boot_load_pvh(&f->p, &f->e, &f->err), EINVAL,
		       "truncated");
	f->p.kernel.size = 70;
	assert_refused(f, boot_load_pvh(&f->p, &f->e, &f->err), EINVAL,
		       "truncated");
	image_free(&elf);

	r.paddr = RAM - 0x1000; /* its .bss reaches past the end */
	elf = image_elf(&r);
	use_kernel(f, &elf);
	assert_refused(f, boot_load_pvh(&f->p, &f->e, &f->err), ENOMEM,
		       "does not fit");
	image_free(&elf);

	r.paddr = 0x1000;
	elf = image_elf(&r);
	use_kernel(f, &elf);
	assert_refused(f, boot_load_pvh(&f->p, &f->e, &f->err), EINVAL,
		       "0x100000 or above");
	image_free(&elf);
}

static void test_pvh_refuses_an_entry_outside_the_kernel(void **state)
{
	struct fixture *f = *state;
	struct elf_recipe r = { .is64 = true,
				.paddr = 0x200000,
				.size = 0x1000,
				.pvh = true,
				.pvh_entry = 0x300000 };
	struct image elf = image_elf(&r);

	use_kernel(f, &elf);
	assert_refused(f, boot_load_pvh(&f->p, &f->e, &f->err), EINVAL,
		       "entry");
	image_free(&elf);
}

/* --- Multiboot -------------------------------------------------------------
 */

static void multiboot_check_info(struct fixture *f)
{
	uint64_t info = f->e.rbx, mods, map;

	assert_int_equal(f->e.kind, BOOT_PROT32);
	assert_int_equal(f->e.rax, 0x2badb002);
	assert_int_equal(guest(f, info, 4), 0x24d);
	assert_int_equal(guest(f, info + 4, 4), 639);
	assert_int_equal(guest(f, info + 8, 4), (RAM >> 10) - 1024);
	assert_guest_string(f, guest(f, info + 16, 4), "console=ttyS0");
	assert_int_equal(guest(f, info + 20, 4), 1);
	mods = guest(f, info + 24, 4);
	assert_int_equal(guest(f, mods, 4) & 0xfff, 0);
	assert_int_equal(guest(f, mods + 4, 4) - guest(f, mods, 4), 7);
	assert_guest_string(f, guest(f, mods, 4), "module");
	assert_guest_string(f, guest(f, mods + 8, 4), "file");
	map = guest(f, info + 48, 4);
	assert_int_equal(guest(f, info + 44, 4), 3 * 24);
	assert_int_equal(guest(f, map, 4), 20);
	assert_int_equal(guest(f, map + 24 + 4, 8), 0x9fc00);
}

static void test_multiboot_elf_gets_its_information(void **state)
{
	struct fixture *f = *state;
	static uint8_t module[] = "module";

	for (int is64 = 0; is64 < 2; is64++) {
		struct elf_recipe r = { .is64 = is64,
					.paddr = 0x100000,
					.vaddr = 0x100000,
					.entry = 0x100020,
					.size = 0x1000,
					.multiboot = true,
					.multiboot_flags = 3 };
		struct image elf = image_elf(&r);

		use_kernel(f, &elf);
		f->p.initrd = (struct boot_blob){ module, 7, "dir/file" };
		assert_int_equal(boot_load_multiboot(&f->p, &f->e, &f->err), 0);
		assert_int_equal(f->e.rip, 0x100020);
		multiboot_check_info(f);
		image_free(&elf);
	}
}

static void test_multiboot_flat_is_loaded_by_its_addresses(void **state)
{
	struct fixture *f = *state;
	struct image img = image_multiboot_flat(0x100000, 0x200);

	use_kernel(f, &img);
	assert_int_equal(boot_load_multiboot(&f->p, &f->e, &f->err), 0);
	assert_int_equal(f->e.rip, 0x100040);
	assert_int_equal(guest(f, 0x100010, 4), 0x1badb002);
	assert_int_equal(guest(f, 0x1001fc, 8), 0x5a5a5a5a);
	image_free(&img);
}

static void test_multiboot_refuses_unknown_requirements(void **state)
{
	struct fixture *f = *state;
	struct elf_recipe r = { .paddr = 0x100000,
				.entry = 0x100020,
				.size = 0x1000,
				.multiboot = true,
				.multiboot_flags = 0x8 };
	struct image elf = image_elf(&r);

	use_kernel(f, &elf);
	assert_refused(f, boot_load_multiboot(&f->p, &f->e, &f->err), EINVAL,
		       "requires");
	image_free(&elf);
}

static void test_multiboot_refuses_a_contradictory_header(void **state)
{
	struct fixture *f = *state;
	struct image img = image_multiboot_flat(0x100000, 0x200);
	uint32_t wrong;

	use_kernel(f, &img);
	wrong = 0x100000 - 4; /* header_addr below load_addr */
	memcpy(img.data + 16 + 12, &wrong, 4);
	assert_refused(f, boot_load_multiboot(&f->p, &f->e, &f->err), EINVAL,
		       "contradicts");
	wrong = 0x100000 + 16;
	memcpy(img.data + 16 + 12, &wrong, 4);
	wrong = 0x100000 + 0x201; /* load_end_addr past the file */
	memcpy(img.data + 16 + 20, &wrong, 4);
	assert_refused(f, boot_load_multiboot(&f->p, &f->e, &f->err), EINVAL,
		       "truncated");
	image_free(&img);
}

/* --- Any file ------------------------------------------------------------- */

static void test_foreign_file_is_named_with_what_is_accepted(void **state)
{
	struct fixture *f = *state;
	struct image img = { (uint8_t *)"#!/bin/sh\necho hello\n", 21 };

	use_kernel(f, &img);
	assert_refused(f, boot_load(&f->p, &f->e, &f->err), ENOEXEC, "bzImage");
}

static void test_blob_sentences(void **state)
{
	char dir[] = "/tmp/hostel-boot-XXXXXX", path[64];
	struct fixture *f = *state;
	struct boot_blob b;
	FILE *file;

	assert_non_null(mkdtemp(dir));
	assert_refused(f, boot_blob_open(&b, dir, "kernel", &f->err), EISDIR,
		       "is a directory");
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_refused(f, boot_blob_open(&b, path, "kernel", &f->err), ENOENT,
		       "does not exist");
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(f, boot_blob_open(&b, path, "kernel", &f->err), EINVAL,
		       "regular file");
	unlink(path);
	file = fopen(path, "w");
	assert_refused(f, boot_blob_open(&b, path, "kernel", &f->err), EINVAL,
		       "is empty");
	fputs("some", file);
	fclose(file);
	assert_int_equal(boot_blob_open(&b, path, "kernel", &f->err), 0);
	assert_int_equal(b.size, 4);
	assert_memory_equal(b.data, "some", 4);
	boot_blob_close(&b);
	unlink(path);
	rmdir(dir);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_bzimage_is_entered_directly_for_every_packing),
		T(test_bzimage_clears_bss),
		T(test_bzimage_large_kernel_arrives_whole),
		T(test_bzimage_zero_page_tells_of_the_machine),
		T(test_bzimage_initrd_lies_as_high_as_it_may),
		T(test_bzimage_page_tables_map_one_to_one),
		T(test_bzimage_32_bit_kernel_is_entered_in_protected_mode),
		T(test_bzimage_falls_back_to_its_decompressor),
		T(test_bzimage_refuses_what_is_cut_short),
		T(test_bzimage_refuses_a_long_command_line),
		T(test_bzimage_refuses_a_large_initrd),
		T(test_bzimage_refuses_a_kernel_larger_than_memory),
		T(test_unpacking_stops_at_the_limit),
		T(test_pvh_start_info_tells_of_the_machine),
		T(test_pvh_refuses_segments_outside_file_or_memory),
		T(test_pvh_refuses_an_entry_outside_the_kernel),
		T(test_multiboot_elf_gets_its_information),
		T(test_multiboot_flat_is_loaded_by_its_addresses),
		T(test_multiboot_refuses_unknown_requirements),
		T(test_multiboot_refuses_a_contradictory_header),
		T(test_foreign_file_is_named_with_what_is_accepted),
		T(test_blob_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
