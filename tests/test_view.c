/*
 * The view (cpu/x86/view.h): whatever is mapped a second time, each access
 * gets what the guest's page tables say.
 */
#include "x86_harness.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "cpu/x86/mmu.h"
#include "cpu/x86/sync.h"

#define PAGE     0x1000ull
#define A        0x20000ull /* linear pages, scattered over the frames */
#define B        0x21000ull
#define C        0x22000ull
#define FRAME_A  0x150000ull
#define FRAME_B  0x130000ull
#define FRAME_C  0x140000ull
#define FRAME_D  0x160000ull
#define HANDLERS 0x2000ull
#define TSS      0x3000ull
#define TSS_TOP  0x5000ull

static struct x86_view *view_of(struct x86_cpu *cpu)
{
	return &cpu->tlb.view;
}

static void map(struct harness *h, uint64_t linear, uint64_t frame)
{
	uint64_t *pte = harness_pte(h, linear);

	*pte = frame | X86_PTE_P | X86_PTE_W | X86_PTE_U | X86_PTE_A |
	       X86_PTE_D;
}

static void set(struct harness *h, uint64_t gpa, uint64_t value)
{
	harness_write(h, gpa, &value, sizeof(value));
}

static int setup_on(void **state, const struct engine_ops *ops)
{
	struct harness *h = harness_new_smp(ops, 64, 2);

	harness_user(h);
	h->cpu->seg[X86_TR] = (struct x86_seg){
		.sel = 0x40, .attr = 0x8b, .limit = 0x67, .base = TSS
	};
	map(h, A, FRAME_A);
	map(h, B, FRAME_B);
	map(h, C, FRAME_C);
	set(h, FRAME_A, 0xaaaa);
	set(h, FRAME_B, 0xbbbb);
	set(h, FRAME_C, 0xcccc);
	set(h, FRAME_D, 0xdddd);
	*state = h;
	return 0;
}

static int setup(void **state)
{
	return setup_on(state, &interpreter_engine);
}

static int setup_hot(void **state)
{
	return setup_on(state, &translator_hot_engine);
}

static int setup_translator(void **state)
{
	return setup_on(state, &translator_engine);
}

static int teardown(void **state)
{
	harness_free(*state);
	return 0;
}

/* Read, and looked at often enough. */
static void view(struct x86_cpu *cpu, uint64_t linear)
{
	for (unsigned i = 0; i < 2; i++) {
		x86_load64(cpu, linear);
		x86_view_sample(cpu, linear);
	}
}

static uint8_t *reads(struct x86_cpu *cpu, uint64_t linear)
{
	x86_load64(cpu, linear);
	return x86_tlb_lookup(cpu, linear, 8, X86_TLB_USER_READ);
}

static bool is_viewed(struct x86_cpu *cpu, uint64_t linear)
{
	return reads(cpu, linear) ==
	       (uint8_t *)(uintptr_t)(linear + view_of(cpu)->addend[1]);
}

/* --- What is viewed --------------------------------------------------------
 */

static void test_viewed_pages_lie_side_by_side(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	view(cpu, B);
	assert_true(is_viewed(cpu, A));
	assert_ptr_equal(reads(cpu, B), reads(cpu, A) + PAGE);
	assert_int_equal(x86_load64(cpu, A), 0xaaaa);
	assert_int_equal(x86_load64(cpu, B), 0xbbbb);
	assert_false(is_viewed(cpu, C));
}

static void test_one_look_is_not_enough(void **state)
{
	struct harness *h = *state;

	x86_load64(h->cpu, A);
	x86_view_sample(h->cpu, A);
	assert_int_equal(view_of(h->cpu)->count, 0);
}

static void test_kernel_addresses_are_not_viewed(void **state)
{
	struct harness *h = *state;

	view(h->cpu, A);
	x86_view_sample(h->cpu, 0xffff800000000000ull);
	x86_view_sample(h->cpu, 0xffff800000000000ull);
	assert_int_equal(view_of(h->cpu)->count, 1);
}

static void test_writes_go_through_the_view_and_come_back(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	x86_store64(cpu, A + 8, 0x1234);
	assert_ptr_equal(x86_tlb_lookup(cpu, A, 8, X86_TLB_USER_WRITE),
			 reads(cpu, A));
	assert_int_equal(harness_u64(h, FRAME_A + 8), 0x1234);
	set(h, FRAME_A + 8, 0x5678);
	assert_int_equal(x86_load64(cpu, A + 8), 0x5678);
}

/* --- Changes of what is mapped ----------------------------------------------
 */

static void test_a_remapped_page_is_read_where_it_is(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	map(h, A, FRAME_D);
	x86_tlb_flush_page(cpu, A);
	assert_int_equal(x86_load64(cpu, A), 0xdddd);
	assert_ptr_equal(reads(cpu, A), harness_ptr(h, FRAME_D));
	x86_store64(cpu, A, 1);
	assert_int_equal(harness_u64(h, FRAME_A), 0xaaaa);
	assert_int_equal(harness_u64(h, FRAME_D), 1);
}

/* Code may still know the addend: what is mapped there has to stay. */
static void test_a_remapped_page_is_viewed_after_a_flush(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;
	uint64_t *old;

	view(cpu, A);
	old = (uint64_t *)reads(cpu, A);
	map(h, A, FRAME_D);
	x86_tlb_flush_page(cpu, A);
	view(cpu, A);
	assert_false(is_viewed(cpu, A));
	assert_int_equal(*old, 0xaaaa);
	x86_tlb_flush_nonglobal(cpu);
	assert_true(is_viewed(cpu, A));
	assert_int_equal(x86_load64(cpu, A), 0xdddd);
	assert_int_equal(view_of(cpu)->count, 1);
}

static void test_two_address_spaces_share_no_page(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	for (unsigned i = 0; i < 4; i++) {
		bool other = i & 1;

		map(h, A, other ? FRAME_D : FRAME_A);
		x86_tlb_flush_nonglobal(cpu);
		assert_int_equal(x86_load64(cpu, A), other ? 0xdddd : 0xaaaa);
		assert_int_equal(is_viewed(cpu, A), !other);
	}
}

static void test_a_page_given_back_reads_as_zeros(void **state)
{
	struct harness *h = *state;

	view(h->cpu, A);
	assert_int_equal(mem_drop(h->mem, FRAME_A, PAGE), 0);
	assert_true(is_viewed(h->cpu, A));
	assert_int_equal(x86_load64(h->cpu, A), 0);
	x86_store64(h->cpu, A, 7);
	assert_int_equal(harness_u64(h, FRAME_A), 7);
}

static void test_a_read_only_page_stays_so(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	*harness_pte(h, A) &= ~(uint64_t)X86_PTE_W;
	x86_tlb_flush_page(cpu, A);
	assert_true(is_viewed(cpu, A));
	assert_null(x86_tlb_fill(cpu, A, 8, X86_TLB_USER_WRITE));
}

/* --- Who watches writes -----------------------------------------------------
 */

static void test_code_on_a_viewed_page_takes_writes_away(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;

	view(cpu, A);
	view(cpu, B);
	x86_store64(cpu, A, 1);
	x86_store64(cpu, B, 1);
	x86_mark_code(cpu, FRAME_A);
	assert_null(x86_tlb_lookup(cpu, A, 8, X86_TLB_USER_WRITE));
	assert_non_null(x86_tlb_lookup(cpu, B, 8, X86_TLB_USER_WRITE));
	assert_true(is_viewed(cpu, A));
}

static void test_a_viewed_page_gets_dirty(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;
	uint8_t *flags = &mem_page_flags(h->mem)[mem_page(h->mem, FRAME_A)];

	view(cpu, A);
	x86_store64(cpu, A, 1);
	assert_true(*flags & MEM_PAGE_DIRTY);
	*flags = 0; /* as who saves the guest does */
	x86_tlb_drop_writable(cpu, FRAME_A);
	assert_true(is_viewed(cpu, A));
	assert_int_equal(*flags & MEM_PAGE_DIRTY, 0);
	x86_store64(cpu, A, 2);
	assert_true(*flags & MEM_PAGE_DIRTY);
}

/* --- Limits ------------------------------------------------------------------
 */

static void test_a_full_view_is_emptied_by_a_flush(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;
	struct x86_view *v = view_of(cpu);

	v->max = 2;
	view(cpu, A);
	view(cpu, B);
	view(cpu, C);
	assert_true(is_viewed(cpu, A) && is_viewed(cpu, B));
	assert_false(is_viewed(cpu, C));
	x86_tlb_flush_nonglobal(cpu);
	assert_int_equal(v->count, 0);
	assert_int_equal(x86_load64(cpu, A), 0xaaaa);
	view(cpu, C);
	assert_true(is_viewed(cpu, C));
	assert_int_equal(x86_load64(cpu, C), 0xcccc);
}

static void test_what_was_emptied_is_unmapped(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu;
	unsigned char in_core;
	uint8_t *at;

	view_of(cpu)->max = 1;
	view(cpu, A);
	view(cpu, B);
	at = reads(cpu, A);
	x86_tlb_flush_all(cpu);
	assert_int_equal(mincore(at, PAGE, &in_core), -1);
	assert_ptr_equal(reads(cpu, A), harness_ptr(h, FRAME_A));
}

static void test_regions_are_counted(void **state)
{
	struct harness *h = *state;
	struct x86_view *v = view_of(h->cpu);

	view(h->cpu, A);
	view(h->cpu, B);
	assert_int_equal(v->region_count, 1);
	v->region_count = X86_VIEW_REGIONS;
	view(h->cpu, 0x220000);
	assert_true(v->full);
	assert_int_equal(v->count, 2);
}

static void test_a_place_in_use_is_left_alone(void **state)
{
	struct harness *h = *state;
	struct x86_view *v = view_of(h->cpu);
	void *at = (void *)(uintptr_t)(A + v->addend[X86_VIEW_LOW]);
	void *p =
		mmap(at, PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(p, at);
	for (unsigned i = 0; i < 100; i++)
		view(h->cpu, A);
	assert_int_equal(v->count, 0);
	assert_true(v->off);
	view(h->cpu, B);
	assert_int_equal(v->count, 0);
	assert_int_equal(x86_load64(h->cpu, A), 0xaaaa);
	munmap(p, PAGE);
}

static void test_each_vcpu_has_a_view_of_its_own(void **state)
{
	struct harness *h = *state;
	struct x86_cpu *cpu = h->cpu, *other = h->cpus[1];

	other->cpl = 3;
	other->seg[X86_CS] = cpu->seg[X86_CS];
	x86_mode_changed(other);
	view(cpu, A);
	assert_true(is_viewed(cpu, A));
	assert_false(is_viewed(other, A));
	view(other, A);
	assert_ptr_not_equal(reads(cpu, A), reads(other, A));
	x86_store64(cpu, A, 5);
	assert_int_equal(x86_load64(other, A), 5);
	x86_view_free(cpu);
	assert_int_equal(x86_load64(other, A), 5);
}

/* --- Translated code ---------------------------------------------------------
 */

/* User code; it ends by HLT, whose #GP is handled by the kernel's HLT. */
static void run(struct harness *h)
{
	uint64_t top = TSS_TOP;
	uint8_t hlt = 0xf4, ist = 1;

	harness_gate(h, X86_VEC_GP, HANDLERS);
	harness_write(h, HARNESS_IDT + 16 * X86_VEC_GP + 4, &ist, 1);
	harness_write(h, HANDLERS, &hlt, 1);
	harness_write(h, TSS + 0x24, &top, 8);
	harness_run(h);
}

/* A -> B -> C -> A, a value behind each pointer. */
static void make_list(struct harness *h)
{
	set(h, FRAME_A, B);
	set(h, FRAME_B, C);
	set(h, FRAME_C, A);
	set(h, FRAME_A + 8, 1);
	set(h, FRAME_B + 8, 10);
	set(h, FRAME_C + 8, 100);
}

HARNESS_ASM(walk_list, 64,
	    "mov $300, %ecx; mov $0x20000, %ebx; xor %eax, %eax;"
	    "1: add 8(%rbx), %rax; mov (%rbx), %rbx; dec %ecx; jnz 1b; hlt");

static void test_a_list_is_walked_through_the_view(void **state)
{
	struct harness *h = *state;

	make_list(h);
	harness_asm(h, walk_list);
	run(h);
	assert_int_equal(h->cpu->gpr[X86_RAX], 11100);
	harness_user(h);
	assert_true(is_viewed(h->cpu, A) && is_viewed(h->cpu, B) &&
		    is_viewed(h->cpu, C));
}

/* Calls code on page A, which lies beside data that it reads and changes. */
HARNESS_ASM(
	modify_code, 64,
	"mov $9, %ecx; mov $0x20000, %ebx; mov $0x61000, %esp; xor %eax, %eax;"
	"1: mov (%rbx), %rdx; add 8(%rbx), %rax; call *%rbp;"
	"incb 0x101(%rbx); mov %rdx, %rbx; mov $0x20000, %ebx;"
	"dec %ecx; jnz 1b; hlt");

static void test_code_changed_through_the_view_is_new_code(void **state)
{
	/* add $1, %rax; ret */
	static const uint8_t code[] = { 0x48, 0x83, 0xc0, 0x01, 0xc3 };
	struct harness *h = *state;

	make_list(h);
	harness_write(h, FRAME_A + 0xfe, code, sizeof(code));
	harness_asm(h, modify_code);
	h->cpu->gpr[X86_RBP] = A + 0xfe;
	run(h);
	/* 9 values of 1, and 1 + 2 + ... + 9 */
	assert_int_equal(h->cpu->gpr[X86_RAX], 9 + 45);
}

HARNESS_ASM(walk_on, 64,
	    "mov $0x20000, %ebx; 1: mov (%rbx), %rbx; test %rbx, %rbx; jnz 1b");

static struct x86_cpu *volatile kicked;

static void kick(int sig)
{
	atomic_fetch_or(&kicked->pending, X86_PEND_KICK);
}

/* A loop that interrupts keep finding is hot; others have no views. */
static void test_interrupts_find_the_hot_loop(void **state)
{
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, off = { 0 };
	struct harness *h = *state;
	struct err err;
	unsigned i;

	make_list(h);
	harness_asm(h, walk_on);
	h->cpu->activity = X86_ACTIVE;
	kicked = h->cpu;
	signal(SIGALRM, kick);
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; i < 5000 && view_of(h->cpu)->count < 3; i++)
		assert_int_equal(h->xm.engine_ops->run(h->cpu, &err),
				 VCPU_EXIT_KICKED);
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, SIG_IGN);
	assert_in_range(i, 3, 4999);
	assert_true(is_viewed(h->cpu, A) && is_viewed(h->cpu, C));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define HOT(name)  cmocka_unit_test_setup_teardown(name, setup_hot, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_viewed_pages_lie_side_by_side),
		TEST(test_one_look_is_not_enough),
		TEST(test_kernel_addresses_are_not_viewed),
		TEST(test_writes_go_through_the_view_and_come_back),
		TEST(test_a_remapped_page_is_read_where_it_is),
		TEST(test_a_remapped_page_is_viewed_after_a_flush),
		TEST(test_two_address_spaces_share_no_page),
		TEST(test_a_page_given_back_reads_as_zeros),
		TEST(test_a_read_only_page_stays_so),
		TEST(test_code_on_a_viewed_page_takes_writes_away),
		TEST(test_a_viewed_page_gets_dirty),
		TEST(test_a_full_view_is_emptied_by_a_flush),
		TEST(test_what_was_emptied_is_unmapped),
		TEST(test_regions_are_counted),
		TEST(test_a_place_in_use_is_left_alone),
		TEST(test_each_vcpu_has_a_view_of_its_own),
		HOT(test_a_list_is_walked_through_the_view),
		HOT(test_code_changed_through_the_view_is_new_code),
		cmocka_unit_test_setup_teardown(
			test_interrupts_find_the_hot_loop, setup_translator,
			teardown),
	};

#ifdef __SANITIZE_THREAD__
	puts("skipped: there is no view under TSan (cpu/x86/view.c)");
	return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
