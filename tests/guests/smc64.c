/* smc64: code that is written while it runs, by every kind of store. */
#include "guest.h"

static uint8_t code[8192] __attribute__((aligned(4096)));

static unsigned call(const uint8_t *at)
{
	unsigned v;

	__asm__ volatile("call *%1" : "=a"(v) : "r"(at) : "memory", "cc");
	return v;
}

/* mov $v, %eax; ret */
static void put(uint8_t *at, uint32_t v)
{
	at[0] = 0xb8;
	memcpy(at + 1, &v, 4);
	at[5] = 0xc3;
}

static void test_simple(void)
{
	for (unsigned i = 0; i < 100; i++) {
		put(code, i);
		guest_check_eq(call(code), i, "rewritten code");
	}
}

/* Another part of the same page changes: what runs must stay right. */
static void test_data_in_page(void)
{
	put(code, 7);
	for (unsigned i = 0; i < 100; i++) {
		code[2048 + i] = i;
		guest_check_eq(call(code), 7, "code beside data");
		guest_check_eq(code[2048 + i], i, "data beside code");
	}
}

/* An instruction that changes the next one in its own block. */
static void test_next(void)
{
	unsigned v;

	for (unsigned i = 0; i < 4; i++) {
		__asm__ volatile("movl %1, 1f + 1(%%rip)\n"
				 "1: mov $0, %0"
				 : "=a"(v)
				 : "r"(i + 100)
				 : "memory");
		guest_check_eq(v, i + 100, "the next instruction");
	}
}

static void test_string(void)
{
	static uint8_t from[16];

	put(code, 1);
	guest_check_eq(call(code), 1, "before REP MOVS");
	put(from, 2);
	void *d = code;
	const void *s = from;
	unsigned long n = 6;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	guest_check_eq(call(code), 2, "after REP MOVS");
	__asm__ volatile("lock xaddl %0, %1"
			 :
			 : "r"(1), "m"(*(uint32_t *)(code + 1))
			 : "memory");
	guest_check_eq(call(code), 3, "after XADD");
	__asm__ volatile("push %0; pop %1"
			 :
			 : "r"(0xc300000004b8ul), "m"(*(uint64_t *)code)
			 : "memory");
	guest_check_eq(call(code), 4, "after POP");
}

/* An instruction that crosses a page, of which the second half changes. */
static void test_crossing(void)
{
	uint8_t *at = code + 4096 - 3;

	for (unsigned i = 0; i < 10; i++) {
		put(at, i << 16 | i << 8);
		guest_check_eq(call(at), i << 16 | i << 8, "across pages");
		code[4096 + 1] = i + 1;
		guest_check_eq(call(at) >> 24, i + 1, "its second half");
	}
}

extern uint64_t guest_pd[2048];

/* The same physical code by two linear addresses. */
static void test_alias(void)
{
	uint64_t base = (unsigned long)code & ~0x1ffffful;
	uint8_t *alias =
		(uint8_t *)(0x80000000ul + ((unsigned long)code - base));

	guest_pd[0x80000000ul >> 21] = base | 0x83;
	write_cr3(read_cr3());
	put(code, 11);
	guest_check_eq(call(alias), 11, "alias");
	put(alias, 12);
	guest_check_eq(call(code), 12, "written through the alias");
	put(code, 13);
	guest_check_eq(call(alias), 13, "called through the alias");
}

/* Other code appears at a linear address: mapping changes, no store. */
static void test_remap(void)
{
	static uint8_t a[4096] __attribute__((aligned(4096)));
	static uint8_t b[4096] __attribute__((aligned(4096)));
	static uint64_t pt[512] __attribute__((aligned(4096)));
	uint8_t *va = (uint8_t *)0x90000000ul;

	put(a, 21);
	put(b, 22);
	guest_pd[0x90000000ul >> 21] = (unsigned long)pt | 3;
	for (unsigned i = 0; i < 20; i++) {
		pt[0] = (unsigned long)(i & 1 ? b : a) | 3;
		if (i & 2)
			invlpg((unsigned long)va);
		else
			write_cr3(read_cr3());
		guest_check_eq(call(va), i & 1 ? 22 : 21, "remapped code");
	}
}

void guest_main(void)
{
	test_simple();
	test_data_in_page();
	test_next();
	test_string();
	test_crossing();
	test_alias();
	test_remap();
}
