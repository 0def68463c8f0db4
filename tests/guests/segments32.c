/* segments32: limits, types, expand-down, LAR, LSL, VERR, VERW, the LDT. */
#include "guest.h"

static uint8_t area[0x3000] __attribute__((aligned(4096)));

static uint64_t segment(uint32_t base, uint32_t limit, unsigned attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 8 & 0xf0) << 48 |
	       (uint64_t)(base >> 24) << 56;
}

/* attr: 0xGDLA00TT as in struct above: flags in 15..12, type byte below */
#define BIG  0x4000
#define GRAN 0x8000

static void set(uint64_t d)
{
	guest_gdt[SEL_FREE / 8] = d;
}

static void load_fs(unsigned long arg)
{
	__asm__ volatile("mov %w0, %%fs" : : "r"(arg) : "memory");
}

static void load_ss(unsigned long arg)
{
	__asm__ volatile("mov %%ss, %%dx; mov %w0, %%ss; mov %%dx, %%ss"
			 :
			 : "r"(arg)
			 : "edx");
}

static void fs_read1(unsigned long arg)
{
	__asm__ volatile("movb %%fs:(%0), %%al" : : "r"(arg) : "eax");
}

static void fs_read4(unsigned long arg)
{
	__asm__ volatile("movl %%fs:(%0), %%eax" : : "r"(arg) : "eax");
}

static void fs_write1(unsigned long arg)
{
	__asm__ volatile("movb $1, %%fs:(%0)" : : "r"(arg) : "memory");
}

static void use(uint64_t d)
{
	set(d);
	guest_expect(load_fs, SEL_FREE, GUEST_NO_FAULT, 0, "load");
}

#define OK GUEST_NO_FAULT, 0
#define GP 13, 0

static void test_limits(void)
{
	uint32_t base = (uint32_t)area;

	use(segment(base, 0xfff, BIG | 0x93));
	guest_expect(fs_read1, 0xfff, OK, "last byte");
	guest_expect(fs_read1, 0x1000, GP, "beyond the limit");
	guest_expect(fs_read4, 0xffc, OK, "last dword");
	guest_expect(fs_read4, 0xffd, GP, "dword across the limit");
	guest_expect(fs_read4, 0xfffffffe, GP, "wrapping dword");
	use(segment(base, 1, GRAN | BIG | 0x93));
	guest_expect(fs_read1, 0x1fff, OK, "page-granular limit");
	guest_expect(fs_read1, 0x2000, GP, "beyond it");
	use(segment(base, 0xfff, BIG | 0x97));
	guest_expect(fs_read1, 0xfff, GP, "expand-down: inside");
	guest_expect(fs_read1, 0x1000, OK, "expand-down: above");
	guest_expect(fs_read4, 0xfff, GP, "expand-down: across");
	guest_expect(fs_read1, 0x10000, OK, "expand-down, big: 64 KiB");
	use(segment(base, 0xfff, 0x97));
	guest_expect(fs_read1, 0xffff, OK, "expand-down, small: top");
	guest_expect(fs_read1, 0x10000, GP, "expand-down, small: 64 KiB");
	guest_expect(fs_read4, 0xfffd, GP, "expand-down, small: across");
}

static void test_types(void)
{
	uint32_t base = (uint32_t)area;

	use(segment(base, 0xfff, BIG | 0x91));
	guest_expect(fs_read1, 0, OK, "read-only data: read");
	guest_expect(fs_write1, 0, GP, "read-only data: write");
	use(segment(base, 0xfff, BIG | 0x9b));
	guest_expect(fs_read1, 0, OK, "code: read");
	guest_expect(fs_write1, 0, GP, "code: write");
	set(segment(base, 0xfff, BIG | 0x99));
	guest_expect(load_fs, SEL_FREE, 13, SEL_FREE, "execute-only as data");
	set(segment(base, 0xfff, 0x89));
	guest_expect(load_fs, SEL_FREE, 13, SEL_FREE, "TSS as data");
	set(segment(base, 0xfff, BIG | 0x13));
	guest_expect(load_fs, SEL_FREE, 11, SEL_FREE, "absent");
	guest_expect(load_ss, SEL_FREE, 12, SEL_FREE, "absent SS");
	guest_expect(load_ss, 0, GP, "null SS");
	set(segment(base, 0xfff, BIG | 0x91));
	guest_expect(load_ss, SEL_FREE, 13, SEL_FREE, "read-only SS");
	set(segment(base, 0xfff, BIG | 0xf3));
	guest_expect(load_ss, SEL_FREE, 13, SEL_FREE, "SS of DPL 3");
	guest_expect(load_fs, SEL_FREE | 3, OK, "FS with RPL 3, DPL 3");
	set(segment(base, 0xfff, BIG | 0x93));
	guest_expect(load_fs, SEL_FREE | 3, 13, SEL_FREE, "RPL 3, DPL 0");
	set(segment(base, 0xfff, BIG | 0x9f));
	guest_expect(load_fs, SEL_FREE | 3, OK, "conforming code, RPL 3");
	guest_expect(load_fs, 0, OK, "null FS");
	guest_expect(fs_read1, 0, GP, "access through null");
	set(segment(base, 0xfff, BIG | 0x92));
	load_fs(SEL_FREE);
	guest_check_eq(guest_gdt[SEL_FREE / 8] >> 40 & 0xff, 0x93,
		       "accessed bit");
}

static void GUEST_USER user_load_fs(unsigned long arg)
{
	__asm__ volatile("mov %w0, %%fs" : : "r"(arg) : "memory");
}

static void test_user(void)
{
	set(segment(0, 0xfff, BIG | 0x93));
	guest_check_eq(guest_try_user(user_load_fs, SEL_FREE), 13, "DPL 0");
	set(segment(0, 0xfff, BIG | 0xf3));
	guest_check_eq(guest_try_user(user_load_fs, SEL_FREE | 3),
		       GUEST_NO_FAULT, "DPL 3");
}

static bool lar(unsigned sel, uint32_t *v)
{
	bool zf;

	__asm__ volatile("lar %2, %1" : "=@ccz"(zf), "=r"(*v) : "r"(sel));
	return zf;
}

static bool lsl(unsigned sel, uint32_t *v)
{
	bool zf;

	__asm__ volatile("lsl %2, %1" : "=@ccz"(zf), "=r"(*v) : "r"(sel));
	return zf;
}

static bool verr(unsigned sel)
{
	bool zf;

	__asm__ volatile("verr %w1" : "=@ccz"(zf) : "r"(sel));
	return zf;
}

static bool verw(unsigned sel)
{
	bool zf;

	__asm__ volatile("verw %w1" : "=@ccz"(zf) : "r"(sel));
	return zf;
}

static void test_queries(void)
{
	uint32_t v;

	set(segment(0x12345678, 0xabcde, GRAN | BIG | 0x93));
	guest_check(lar(SEL_FREE, &v), "LAR");
	guest_check_eq(v & 0xf0ff00, 0xc09300, "its value");
	guest_check(lsl(SEL_FREE, &v), "LSL");
	guest_check_eq(v, 0xabcdefff, "its value");
	guest_check(!lar(SEL_FREE | 3, &v), "LAR with RPL 3");
	guest_check(!lar(0, &v), "LAR of null");
	guest_check(!lar(0x2000, &v), "LAR beyond the GDT");
	guest_check(lar(SEL_TSS, &v), "LAR of a TSS");
	guest_check_eq(v & 0xff00, 0x8b00, "busy");
	guest_check(lsl(SEL_TSS, &v), "LSL of a TSS");
	guest_check_eq(v, 0x20ff, "its limit");
	guest_check(verr(SEL_FREE) && verw(SEL_FREE), "VERR, VERW of data");
	guest_check(verr(SEL_CODE) && !verw(SEL_CODE), "of code");
	guest_check(!verr(SEL_TSS), "of a TSS");
	set(0x00008c0000080000ull); /* call gate */
	guest_check(lar(SEL_FREE, &v), "LAR of a call gate");
	guest_check(!lsl(SEL_FREE, &v), "LSL of a call gate");
	set(0x00008e0000080000ull); /* interrupt gate */
	guest_check(!lar(SEL_FREE, &v), "LAR of an interrupt gate");
}

static void lldt(unsigned long arg)
{
	__asm__ volatile("lldt %w0" : : "r"(arg));
}

static void ltr(unsigned long arg)
{
	__asm__ volatile("ltr %w0" : : "r"(arg));
}

static void test_tables(void)
{
	static uint64_t ldt[4];

	ldt[1] = segment((uint32_t)area, 0xfff, BIG | 0x93);
	set(segment((uint32_t)ldt, sizeof(ldt) - 1, 0x82));
	guest_expect(load_fs, 0xc, 13, 0xc, "no LDT");
	guest_expect(lldt, SEL_FREE, OK, "LLDT");
	guest_expect(load_fs, 0xc, OK, "from the LDT");
	guest_expect(load_fs, 0x24, 13, 0x24, "beyond the LDT");
	guest_expect(lldt, SEL_DATA, 13, SEL_DATA, "LLDT of data");
	guest_expect(lldt, 0xc, 13, 0xc, "LLDT of the LDT");
	guest_expect(lldt, 0, OK, "LLDT of null");
	guest_expect(load_fs, 0xc, 13, 0xc, "no LDT again");
	guest_expect(ltr, SEL_TSS, 13, SEL_TSS, "LTR of a busy TSS");
	guest_expect(ltr, 0, GP, "LTR of null");
	load_fs(0);
}

/* ARPL raises the RPL and tells by ZF. */
static void test_arpl(void)
{
	uint16_t sel = 0x40;
	bool zf;

	__asm__ volatile("arpl %2, %1"
			 : "=@ccz"(zf), "+r"(sel)
			 : "r"((uint16_t)3));
	guest_check(zf && sel == 0x43, "ARPL raises");
	__asm__ volatile("arpl %2, %1"
			 : "=@ccz"(zf), "+r"(sel)
			 : "r"((uint16_t)1));
	guest_check(!zf && sel == 0x43, "ARPL leaves");
}

void guest_main(void)
{
	test_limits();
	test_types();
	test_user();
	test_queries();
	test_tables();
	test_arpl();
}
