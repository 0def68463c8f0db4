/*
 * test_cpuid.c - the processor that guests see.
 */
#include <cpuid.h>
#include <string.h>

#include "test.h"

#include "cpu/x86/cpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/mmu.h"

static struct x86_machine cpuid_machine = { .cpu_count = 1,
					    .tsc_khz = 2600123 };
static struct x86_cpu cpuid_cpu;

static struct x86_cpuid_regs cpuid_get(uint32_t leaf, uint32_t subleaf)
{
	struct x86_cpuid_regs r;

	x86_cpuid(&cpuid_cpu, leaf, subleaf, &r);
	return r;
}

static int cpuid_setup(void **state)
{
	memset(&cpuid_cpu, 0, sizeof(cpuid_cpu));
	cpuid_machine.cpu_count = 1;
	cpuid_cpu.xm = &cpuid_machine;
	cpuid_cpu.xcr0 = X86_XCR0_X87;
	return 0;
}

static void test_identity(void **state)
{
	struct x86_cpuid_regs r = cpuid_get(0, 0);
	char brand[48];

	assert_memory_equal(&r.ebx, "Genu", 4);
	assert_memory_equal(&r.edx, "ineI", 4);
	assert_memory_equal(&r.ecx, "ntel", 4);
	assert_int_equal(r.eax, 0x16);
	r = cpuid_get(1, 0);
	assert_int_equal(r.eax >> 8 & 15, 6);
	assert_int_equal((r.eax >> 4 & 15) | (r.eax >> 12 & 0xf0), 0x36);
	for (unsigned i = 0; i < 3; i++) {
		r = cpuid_get(0x80000002 + i, 0);
		memcpy(brand + 16 * i, &r, 16);
	}
	assert_string_equal(brand, "Hostel Virtual CPU");
}

static void test_kvm_leaves(void **state)
{
	struct x86_cpuid_regs r = cpuid_get(0x40000000, 0);

	assert_memory_equal(&r.ebx, "KVMKVMKVM\0\0\0", 12);
	assert_true(r.eax >= 0x40000001);
	r = cpuid_get(0x40000001, 0);
	assert_int_equal(r.eax, 1 << 0 | 1 << 1 | 1 << 3 | 1 << 7 | 1 << 24);
	r = cpuid_get(0x40000010, 0);
	assert_int_equal(r.eax, 2600123);
	assert_int_equal(r.ebx, LAPIC_TIMER_HZ / 1000);
}

/* What is never offered, whatever the host has. */
static void test_absent(void **state)
{
	struct x86_cpuid_regs r = cpuid_get(7, 0);

	/* HLE, MPX, AVX-512 (F, DQ, IFMA, PF, ER, CD, BW, VL), PT */
	assert_int_equal(r.ebx & 0xde234810, 0);
	/* PKU, WAITPKG, CET, LA57, KL */
	assert_int_equal(r.ecx & 0x8100b8, 0);
	assert_int_equal(r.edx, 1 << 4 | 1 << 29);
	r = cpuid_get(1, 0);
	assert_int_equal(r.ecx & (1 << 3 | 1 << 5), 0); /* MONITOR, VMX */
	assert_false(x86_has(X86_FEAT_NEVER));
	assert_true(x86_has(X86_FEAT_NONE));
	r = cpuid_get(5, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	r = cpuid_get(0x17, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	r = cpuid_get(0x80000009, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
}

/* Host features show exactly where the host has them. */
static void test_follows_host(void **state)
{
	static const struct {
		enum x86_feature feature;
		uint32_t leaf;
		unsigned reg, bit;
	} cases[] = {
		{ X86_FEAT_AVX2, 7, 1, 5 },
		{ X86_FEAT_BMI2, 7, 1, 8 },
		{ X86_FEAT_SHA, 7, 1, 29 },
		{ X86_FEAT_AES, 1, 2, 25 },
		{ X86_FEAT_RDRAND, 1, 2, 30 },
		{ X86_FEAT_GFNI, 7, 2, 8 },
		{ X86_FEAT_LZCNT, 0x80000001, 2, 5 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct x86_cpuid_regs ours = cpuid_get(cases[i].leaf, 0);
		unsigned host[4] = { 0 };
		const uint32_t *reg = &ours.eax;

		__get_cpuid_count(cases[i].leaf, 0, &host[0], &host[1],
				  &host[2], &host[3]);
		assert_int_equal(reg[cases[i].reg] >> cases[i].bit & 1,
				 host[cases[i].reg] >> cases[i].bit & 1);
		assert_int_equal(x86_has(cases[i].feature),
				 host[cases[i].reg] >> cases[i].bit & 1);
	}
}

static void test_osxsave_and_syscall(void **state)
{
	assert_int_equal(cpuid_get(1, 0).ecx >> 27 & 1, 0);
	cpuid_cpu.cr4 = X86_CR4_OSXSAVE;
	assert_int_equal(cpuid_get(1, 0).ecx >> 27 & 1, 1);
	cpuid_cpu.mode = X86_MODE_CODE32;
	assert_int_equal(cpuid_get(0x80000001, 0).edx >> 11 & 1, 0);
	cpuid_cpu.mode = X86_MODE_CODE64;
	assert_int_equal(cpuid_get(0x80000001, 0).edx >> 11 & 1, 1);
}

static void test_xsave(void **state)
{
	struct x86_cpuid_regs r = cpuid_get(0xd, 0);

	if (!x86_has(X86_FEAT_AVX))
		skip();
	assert_int_equal(r.eax, 7);
	assert_int_equal(r.ebx, 576);
	assert_int_equal(r.ecx, 832);
	cpuid_cpu.xcr0 = 7;
	assert_int_equal(cpuid_get(0xd, 0).ebx, 832);
	r = cpuid_get(0xd, 1);
	assert_int_equal(r.eax, 7); /* XSAVEOPT, XSAVEC, XGETBV; no XSAVES */
	assert_int_equal(r.ebx, 832);
	r = cpuid_get(0xd, 2);
	assert_int_equal(r.eax, 256);
	assert_int_equal(r.ebx, 576);
	r = cpuid_get(0xd, 3);
	assert_int_equal(r.eax, 0);
}

static void test_topology(void **state)
{
	struct x86_cpuid_regs r;

	cpuid_machine.cpu_count = 3;
	cpuid_cpu.index = 2;
	r = cpuid_get(1, 0);
	assert_int_equal(r.ebx >> 24, 2);
	assert_int_equal(r.ebx >> 16 & 0xff, 4);
	assert_true(r.edx & 1 << 28);
	r = cpuid_get(0xb, 0);
	assert_int_equal(r.eax, 0);
	assert_int_equal(r.ebx, 1);
	assert_int_equal(r.ecx, 0x100);
	assert_int_equal(r.edx, 2);
	r = cpuid_get(0xb, 1);
	assert_int_equal(r.eax, 2);
	assert_int_equal(r.ebx, 3);
	assert_int_equal(r.ecx, 0x201);
	r = cpuid_get(0xb, 2);
	assert_int_equal(r.eax, 0);
	assert_int_equal(r.ebx, 0);
	assert_int_equal(r.ecx, 2);
	assert_int_equal(r.edx, 2);
	cpuid_machine.cpu_count = 1;
	assert_int_equal(cpuid_get(1, 0).edx & 1 << 28, 0);
}

static void test_caches(void **state)
{
	static const unsigned kib[] = { 32, 32, 1024, 32768 };

	for (unsigned i = 0; i < 4; i++) {
		struct x86_cpuid_regs r = cpuid_get(4, i);
		unsigned ways = (r.ebx >> 22) + 1, line = (r.ebx & 0xfff) + 1;

		assert_int_equal(ways * line * (r.ecx + 1) / 1024, kib[i]);
	}
	assert_int_equal(cpuid_get(4, 4).eax, 0);
	assert_int_equal(cpuid_get(4, UINT32_MAX).eax, 0);
}

static void test_clock(void **state)
{
	struct x86_cpuid_regs r = cpuid_get(0x15, 0);

	/* As kernels do: kHz times the numerator, in 32 bits; to 1 ppm. */
	assert_in_range(r.ecx / 1000 * r.ebx / r.eax, 2600121, 2600125);
	assert_in_range((uint64_t)r.ecx / 1000 * r.ebx / r.eax, 2600121,
			2600125);
	assert_int_equal(r.ecx, LAPIC_TIMER_HZ);
	assert_int_equal(cpuid_get(0x16, 0).eax, 2600);
	assert_int_equal(cpuid_get(0x80000007, 0).edx, 1 << 8);
	assert_int_equal(cpuid_get(6, 0).eax, 1 << 2);
}

static void test_addresses(void **state)
{
	assert_int_equal(cpuid_get(0x80000008, 0).eax, 48 << 8 | X86_PHYS_BITS);
}

/* ECX is looked at by leaves with subleaves alone. */
static void test_subleaf(void **state)
{
	struct x86_cpuid_regs a = cpuid_get(1, 0), b = cpuid_get(1, 77);

	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(cpuid_get(7, 1).ebx, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_identity, cpuid_setup),
		cmocka_unit_test_setup(test_kvm_leaves, cpuid_setup),
		cmocka_unit_test_setup(test_absent, cpuid_setup),
		cmocka_unit_test_setup(test_follows_host, cpuid_setup),
		cmocka_unit_test_setup(test_osxsave_and_syscall, cpuid_setup),
		cmocka_unit_test_setup(test_xsave, cpuid_setup),
		cmocka_unit_test_setup(test_topology, cpuid_setup),
		cmocka_unit_test_setup(test_caches, cpuid_setup),
		cmocka_unit_test_setup(test_clock, cpuid_setup),
		cmocka_unit_test_setup(test_addresses, cpuid_setup),
		cmocka_unit_test_setup(test_subleaf, cpuid_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
