/* control64: what writes to control registers and MSRs are refused. */
#include "guest.h"

static void cr0(unsigned long arg)
{
	write_cr0(arg);
}

static void cr3(unsigned long arg)
{
	write_cr3(arg);
}

static void cr4(unsigned long arg)
{
	write_cr4(arg);
}

static void cr8(unsigned long arg)
{
	write_cr8(arg);
}

struct msr_write {
	uint32_t index;
	uint64_t value;
};

static void msr(unsigned long arg)
{
	const struct msr_write *w = (void *)arg;

	wrmsr(w->index, w->value);
}

static void msr_read(unsigned long arg)
{
	(void)rdmsr(arg);
}

static void refuse(uint32_t index, uint64_t value, const char *what)
{
	struct msr_write w = { index, value };

	guest_expect(msr, (unsigned long)&w, 13, 0, what);
}

static void accept(uint32_t index, uint64_t value, const char *what)
{
	struct msr_write w = { index, value };

	guest_expect(msr, (unsigned long)&w, GUEST_NO_FAULT, 0, what);
	guest_check_eq(rdmsr(index), value, what);
}

static void xsetbv(unsigned long arg)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"(arg), "d"(0));
}

static void xgetbv(unsigned long arg)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(arg));
}

static void test_cr0(void)
{
	unsigned long v = read_cr0();

	guest_expect(cr0, v | 1ul << 32, 13, 0, "CR0 bit 32");
	guest_expect(cr0, v & ~1ul, 13, 0, "PG without PE");
	guest_expect(cr0, v | 1ul << 29, 13, 0, "NW without CD");
	guest_expect(cr0, v & ~(1ul << 31), 13, 0, "PG cleared in 64-bit code");
	guest_check_eq(read_cr0(), v, "CR0 as it was");
}

static void test_cr4(void)
{
	unsigned long v = read_cr4();

	guest_expect(cr4, v & ~0x20ul, 13, 0, "PAE cleared in long mode");
	guest_expect(cr4, v | 1ul << 31, 13, 0, "reserved bit of CR4");
	guest_expect(cr4, v | 1ul << 12, 13, 0, "LA57 in long mode");
	guest_expect(cr8, 16, 13, 0, "CR8 of 16");
	guest_check_eq(read_cr4(), v, "CR4 as it was");
}

static void test_efer(void)
{
	uint64_t v = rdmsr(0xc0000080);

	guest_check_eq(v & 0xd00, 0xd00, "LME, LMA, NXE");
	refuse(0xc0000080, v & ~0x100ull, "LME cleared while paging");
	refuse(0xc0000080, v | 2, "reserved bit of EFER");
	accept(0xc0000080, v | 1, "SCE");
}

static void test_msrs(void)
{
	refuse(0xc0000082, 1ul << 47, "LSTAR, non-canonical");
	accept(0xc0000082, 0xffff800000000000, "LSTAR");
	refuse(0x176, 1ul << 47, "SYSENTER_EIP, non-canonical");
	refuse(0x277, 2, "PAT of type 2");
	accept(0x277, 0x0007040600070406, "PAT");
	refuse(0xc0000103, 1ul << 32, "upper half of TSC_AUX");
	accept(0xc0000103, 5, "TSC_AUX");
	guest_expect(msr_read, 0x12345, 13, 0, "no such MSR");
	refuse(0x12345, 0, "no such MSR");
	refuse(0xfe, 0, "MTRRcap is read-only");
	accept(0x2ff, 0xc06, "MTRR default type");
	refuse(0x2ff, 2, "MTRR type 2");
}

static void test_tsc(void)
{
	uint64_t before = rdtsc();

	wrmsr(0x10, before + (1ull << 40));
	guest_check(rdtsc() >= before + (1ull << 40), "TSC written");
	guest_check(rdmsr(0x3b) >= 1ull << 39, "TSC_ADJUST moved along");
	wrmsr(0x3b, 0);
	guest_check(rdtsc() < before + (1ull << 39), "TSC_ADJUST written");
}

static void test_xcr0(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 26 & 1))
		return;
	guest_expect(xsetbv, 1, 6, 0, "XSETBV without OSXSAVE");
	write_cr4(read_cr4() | 0x40000);
	cpuid(1, 0, r);
	guest_check(r[2] >> 27 & 1, "CPUID shows OSXSAVE");
	guest_expect(xsetbv, 0, 13, 0, "XCR0 without x87");
	guest_expect(xsetbv, 5, 13, 0, "AVX without SSE");
	guest_expect(xsetbv, 3, GUEST_NO_FAULT, 0, "x87 and SSE");
	guest_expect(xgetbv, 0, GUEST_NO_FAULT, 0, "XGETBV");
	cpuid(0xd, 1, r);
	if (r[0] & 4)
		guest_expect(xgetbv, 1, GUEST_NO_FAULT, 0, "XGETBV of 1");
	guest_expect(xgetbv, 5, 13, 0, "XGETBV of 5");
}

static void GUEST_USER user_sgdt(unsigned long arg)
{
	uint8_t d[10];

	__asm__ volatile("sgdt %0" : "=m"(d));
}

static void GUEST_USER user_smsw(unsigned long arg)
{
	unsigned long v;

	__asm__ volatile("smsw %0" : "=r"(v));
}

static void GUEST_USER user_rdtsc(unsigned long arg)
{
	(void)rdtsc();
}

static void GUEST_USER user_cr(unsigned long arg)
{
	(void)read_cr0();
}

static void GUEST_USER user_msr(unsigned long arg)
{
	(void)rdmsr(0x10);
}

static void GUEST_USER user_invlpg(unsigned long arg)
{
	__asm__ volatile("invlpg (%0)" : : "r"(arg));
}

static void test_user(void)
{
	uint32_t r[4];

	guest_check_eq(guest_try_user(user_sgdt, 0), GUEST_NO_FAULT, "SGDT");
	guest_check_eq(guest_try_user(user_smsw, 0), GUEST_NO_FAULT, "SMSW");
	cpuid(7, 0, r);
	if (r[2] & 4) {
		write_cr4(read_cr4() | 0x800);
		guest_check_eq(guest_try_user(user_sgdt, 0), 13, "UMIP: SGDT");
		guest_check_eq(guest_try_user(user_smsw, 0), 13, "UMIP: SMSW");
		write_cr4(read_cr4() & ~0x800ul);
	}
	guest_check_eq(guest_try_user(user_rdtsc, 0), GUEST_NO_FAULT, "RDTSC");
	write_cr4(read_cr4() | 4);
	guest_check_eq(guest_try_user(user_rdtsc, 0), 13, "RDTSC with TSD");
	write_cr4(read_cr4() & ~4ul);
	guest_check_eq(guest_try_user(user_cr, 0), 13, "MOV CR0");
	guest_check_eq(guest_try_user(user_msr, 0), 13, "RDMSR");
	guest_check_eq(guest_try_user(user_invlpg, 0), 13, "INVLPG");
}

void guest_main(void)
{
	test_cr0();
	guest_expect(cr3, 1ul << 52, 13, 0, "CR3 beyond MAXPHYADDR");
	test_cr4();
	test_efer();
	test_msrs();
	test_tsc();
	test_xcr0();
	test_user();
}
