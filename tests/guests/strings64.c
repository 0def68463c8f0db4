/* strings64: REP instructions across page faults, limits and directions. */
#include "guest.h"

extern uint64_t guest_pd[2048];
static uint64_t pt[512] __attribute__((aligned(4096)));
static uint8_t pages[4][4096] __attribute__((aligned(4096)));
static uint8_t source[8192] __attribute__((aligned(4096)));

#define VA 0x80000000ul

/* What REP instructions left when a fault stopped them. */
static volatile uint64_t at_fault_rcx, at_fault_rsi, at_fault_rdi;
static volatile unsigned faults;

/* Maps the missing page, or gives up. */
static bool fix_page(struct guest_frame *f)
{
	unsigned i = (read_cr2() - VA) >> 12;

	if (read_cr2() < VA || i >= 4)
		return false;
	faults++;
	at_fault_rcx = f->rcx;
	at_fault_rsi = f->rsi;
	at_fault_rdi = f->rdi;
	pt[i] = (unsigned long)pages[i] | 3;
	return true;
}

static void unmap(void)
{
	for (unsigned i = 0; i < 4; i++)
		pt[i] = 0;
	write_cr3(read_cr3());
	faults = 0;
}

static void map_all(void)
{
	for (unsigned i = 0; i < 4; i++)
		pt[i] = (unsigned long)pages[i] | 3;
	write_cr3(read_cr3());
}

static void test_movs(void)
{
	void *d = (void *)(VA + 100);
	const void *s = source;
	unsigned long n = 8000;

	for (unsigned i = 0; i < sizeof(source); i++)
		source[i] = i * 7 + (i >> 8);
	unmap();
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	guest_check_eq(faults, 2, "one fault a page");
	guest_check_eq(n, 0, "RCX");
	guest_check_eq((uint64_t)d, VA + 8100, "RDI");
	guest_check_eq(at_fault_rdi, VA + 4096, "RDI at the second fault");
	guest_check_eq(at_fault_rcx, 8000 - 3996, "RCX there");
	guest_check_eq(at_fault_rsi, (uint64_t)source + 3996, "RSI there");
	for (unsigned i = 0; i < 8000; i++)
		if (((uint8_t *)VA)[100 + i] != source[i]) {
			guest_check(false, "contents");
			break;
		}
}

static void test_stos(void)
{
	void *d = (void *)(VA + 8);
	unsigned long n = 1023;

	unmap();
	__asm__ volatile("rep stosq"
			 : "+D"(d), "+c"(n)
			 : "a"(0x1122334455667788ul)
			 : "memory");
	guest_check_eq(faults, 2, "REP STOS: one fault a page");
	guest_check_eq(*(uint64_t *)(VA + 8184), 0x1122334455667788, "end");
	guest_check_eq(*(uint64_t *)(VA + 4092), 0x5566778811223344,
		       "across the boundary");
}

static void test_backward(void)
{
	void *d = (void *)(VA + 8191);
	const void *s = source + 8191;
	unsigned long n = 8192;

	unmap();
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(d), "+S"(s), "+c"(n)
			 :
			 : "memory");
	guest_check_eq(faults, 2, "downward");
	guest_check_eq((uint64_t)d, VA - 1, "RDI");
	guest_check_eq(*(uint8_t *)VA, source[0], "first byte");
	guest_check_eq(*(uint8_t *)(VA + 4095), source[4095], "last of a page");
}

/* Forward overlapping copy by bytes replicates a pattern. */
static void test_overlap(void)
{
	uint8_t *b = (uint8_t *)VA;
	void *d = b + 3;
	const void *s = b;
	unsigned long n = 5000;

	map_all();
	b[0] = 1, b[1] = 2, b[2] = 3;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	for (unsigned i = 0; i < 5000; i++)
		if (b[i] != i % 3 + 1) {
			guest_check(false, "pattern");
			break;
		}
}

static void test_scan(void)
{
	uint8_t *b = (uint8_t *)VA;
	void *d = b;
	unsigned long n = 9000;
	bool zf;

	unmap();
	for (unsigned i = 0; i < 4; i++)
		memset(pages[i], 0, 4096);
	pages[1][77] = 9;
	__asm__ volatile("repne scasb"
			 : "=@ccz"(zf), "+D"(d), "+c"(n)
			 : "a"(9)
			 : "memory");
	guest_check(zf, "found");
	guest_check_eq((uint64_t)d, VA + 4096 + 78, "behind it");
	guest_check_eq(n, 9000 - 4096 - 78, "RCX");
	guest_check_eq(faults, 2, "faults of a scan");
}

static void test_compare(void)
{
	const void *s = source;
	void *d = (void *)VA;
	unsigned long n = 4096 * 2;
	bool zf;

	map_all();
	memcpy((void *)VA, source, 8192);
	((uint8_t *)VA)[5000] ^= 1;
	__asm__ volatile("repe cmpsb"
			 : "=@ccz"(zf), "+S"(s), "+D"(d), "+c"(n)
			 :
			 : "memory");
	guest_check(!zf, "differs");
	guest_check_eq((uint64_t)d - VA, 5001, "where");
}

/* RCX of 0 touches nothing and changes no flag. */
static void test_zero(void)
{
	void *d = (void *)0x7ffffffff000;
	unsigned long n = 0;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(0) : "memory");
	guest_check_eq((uint64_t)d, 0x7ffffffff000, "RDI stays");
}

static void big_store(unsigned long arg)
{
	void *d = (void *)(0x800000000000 - 64);
	unsigned long n = 100;

	pt[511] = 0;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(0) : "memory");
}

/* 32-bit addresses wrap; the upper half of RDI goes. */
static void test_addr32(void)
{
	void *d = (void *)(VA | 1ul << 40);
	unsigned long n = 4 | 1ul << 32;

	map_all();
	__asm__ volatile("addr32 rep stosb"
			 : "+D"(d), "+c"(n)
			 : "a"(0x5a)
			 : "memory");
	guest_check_eq((uint64_t)d, VA + 4, "EDI zero-extended");
	guest_check_eq(n, 0, "ECX zero-extended");
	guest_check_eq(*(uint32_t *)VA, 0x5a5a5a5a, "stored");
}

void guest_main(void)
{
	guest_pd[VA >> 21] = (unsigned long)pt | 3;
	write_cr3(read_cr3());
	guest_hook[14] = fix_page;
	test_movs();
	test_stos();
	test_backward();
	test_overlap();
	test_scan();
	test_compare();
	test_zero();
	test_addr32();
	guest_check_eq(guest_try(big_store, 0), 14, "into unmapped memory");
}
