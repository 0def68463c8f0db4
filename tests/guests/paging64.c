/* paging64: four-level paging: rights, A/D bits, large pages, PCID, globals. */
#include "paging.h"

extern uint64_t guest_pml4[512], guest_pdpt[512], guest_pd[2048];
static uint64_t pd[512] __attribute__((aligned(4096)));
static uint64_t pt[512] __attribute__((aligned(4096)));
static uint64_t pdpt2[512] __attribute__((aligned(4096)));

static void set_pte(uint64_t entry)
{
	pt[0] = entry;
	invlpg(PAGING_VA);
}

/* The same matrix by a directory entry above a table that allows all. */
static void set_pde(uint64_t entry)
{
	uint64_t flags = entry & (PTE_NX | 7);

	pd[0] = (unsigned long)pt | flags | (entry & 1ull << 51);
	invlpg(PAGING_VA);
}

static void test_matrix(void)
{
	pd[0] = (unsigned long)pt | 7;
	guest_pdpt[1] = (unsigned long)pd | 7;
	write_cr3(read_cr3());
	paging_matrix(set_pte, true, 1ull << 51);
	pt[0] = (unsigned long)paging_page | 7;
	paging_matrix(set_pde, true, 1ull << 51);
	pd[0] = (unsigned long)pt | 7;
}

static void test_accessed_dirty(void)
{
	set_pte((unsigned long)paging_page | 7);
	paging_check_ad(&pt[0], 8, false);
	paging_check_ad(&pt[0], 8, true);
	pd[0] = (unsigned long)pt | 7;
	write_cr3(read_cr3());
	paging_read(PAGING_VA);
	guest_check(pd[0] & PTE_A, "accessed bit of a directory");
}

/* A 2 MiB page onto paging_page's surroundings. */
static void test_large(void)
{
	unsigned long base = (unsigned long)paging_page & ~0x1ffffful;
	unsigned long at = PAGING_VA + ((unsigned long)paging_page - base);

	pd[0] = base | 7 | PTE_PS;
	write_cr3(read_cr3());
	paging_page[1] = 0x5a;
	guest_check_eq(*(volatile uint8_t *)(at + 1), 0x5a, "2 MiB page");
	guest_check_eq(pd[0] & PTE_D, 0, "no dirty bit from a read");
	paging_write(at);
	guest_check(pd[0] & PTE_D, "dirty bit of a large page");
	pd[0] = base | 7 | PTE_PS | 1 << 13; /* reserved below bit 21 */
	write_cr3(read_cr3());
	guest_expect(paging_read, at, 14, PF_P | PF_R, "reserved bit, 2 MiB");
	pd[0] = (unsigned long)pt | 7;
	write_cr3(read_cr3());
}

static void test_giant(void)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	if (!(r[3] >> 26 & 1))
		return;
	guest_pml4[1] = (unsigned long)pdpt2 | 7;
	pdpt2[0] = 3 | PTE_PS;
	write_cr3(read_cr3());
	paging_page[2] = 0x77;
	guest_check_eq(*(volatile uint8_t *)((1ul << 39) +
					     (unsigned long)paging_page + 2),
		       0x77, "1 GiB page");
	pdpt2[0] = 3 | PTE_PS | 1 << 29;
	write_cr3(read_cr3());
	guest_expect(paging_read, 1ul << 39, 14, PF_P | PF_R,
		     "reserved bit, 1 GiB");
	guest_pml4[1] = 3 | PTE_PS | (unsigned long)pdpt2;
	write_cr3(read_cr3());
	guest_expect(paging_read, 1ul << 39, 14, PF_P | PF_R, "PS in a PML4E");
	guest_pml4[1] = 0;
}

static void test_nxe(void)
{
	uint64_t efer = rdmsr(0xc0000080);

	set_pte((unsigned long)paging_page | 3 | PTE_NX);
	guest_expect(paging_exec, PAGING_VA, 14, PF_P | PF_I, "NX");
	wrmsr(0xc0000080, efer & ~0x800ull);
	guest_expect(paging_read, PAGING_VA, 14, PF_P | PF_R,
		     "bit 63 without EFER.NXE");
	wrmsr(0xc0000080, efer);
	guest_expect(paging_read, PAGING_VA, GUEST_NO_FAULT, 0, "NXE again");
}

static uint8_t other_page[4096] __attribute__((aligned(4096)));

/* Stale entries are allowed but not after what flushes them. */
static void test_flushes(void)
{
	volatile uint8_t *p = (uint8_t *)PAGING_VA;

	paging_page[3] = 1;
	other_page[3] = 2;
	set_pte((unsigned long)paging_page | 3);
	(void)p[3];
	pt[0] = (unsigned long)other_page | 3;
	invlpg(PAGING_VA + 5);
	guest_check_eq(p[3], 2, "INVLPG");
	pt[0] = (unsigned long)paging_page | 3;
	write_cr3(read_cr3());
	guest_check_eq(p[3], 1, "MOV CR3");
	pt[0] = (unsigned long)other_page | 3 | PTE_G;
	invlpg(PAGING_VA);
	write_cr4(read_cr4() | CR4_PGE);
	guest_check_eq(p[3], 2, "global");
	pt[0] = (unsigned long)paging_page | 3;
	write_cr4(read_cr4() & ~CR4_PGE);
	guest_check_eq(p[3], 1, "CR4.PGE flushes globals");
}

static void invpcid(unsigned long type, uint64_t pcid, uint64_t linear)
{
	struct {
		uint64_t pcid, linear;
	} d = { pcid, linear };

	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static void invpcid_bad(unsigned long type)
{
	invpcid(type, type == 9 ? 0x1000 : 1, type == 8 ? 1ull << 47 : 0);
}

static void set_pcid_with_cr3(unsigned long arg)
{
	write_cr4(read_cr4() | CR4_PCIDE);
}

static void test_pcid(void)
{
	volatile uint8_t *p = (uint8_t *)PAGING_VA;
	unsigned long cr3 = read_cr3();
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 17 & 1))
		return;
	write_cr3(cr3 | 0x18); /* PCD, PWT: low 12 bits not 0 */
	guest_expect(set_pcid_with_cr3, 0, 13, 0, "PCIDE with CR3[11:0]");
	write_cr3(cr3);
	write_cr4(read_cr4() | CR4_PCIDE);
	write_cr3(cr3 | 1);
	guest_check_eq(read_cr3(), cr3 | 1, "PCID in CR3");
	pt[0] = (unsigned long)other_page | 3;
	write_cr3(cr3 | 2 | 1ul << 63);
	guest_check_eq(read_cr3(), cr3 | 2, "bit 63 is not kept");
	write_cr3(cr3 | 2);
	guest_check_eq(p[3], 2, "after a flush");
	if (paging_has(10)) {
		pt[0] = (unsigned long)paging_page | 3;
		invpcid(0, 2, PAGING_VA);
		guest_check_eq(p[3], 1, "INVPCID of an address");
		pt[0] = (unsigned long)other_page | 3;
		invpcid(1, 2, 0);
		guest_check_eq(p[3], 2, "INVPCID of a context");
		pt[0] = (unsigned long)paging_page | 3 | PTE_G;
		invpcid(3, 0, 0);
		guest_check_eq(p[3], 1, "INVPCID of all but globals");
		pt[0] = (unsigned long)other_page | 3;
		invpcid(2, 0, 0);
		guest_check_eq(p[3], 2, "INVPCID of all");
		guest_expect(invpcid_bad, 4, 13, 0, "INVPCID type 4");
	}
	write_cr3(cr3);
	write_cr4(read_cr4() & ~CR4_PCIDE);
}

static void set_cr3(unsigned long arg)
{
	write_cr3(arg);
}

static void cross_pages(unsigned long arg)
{
	*(volatile uint64_t *)(PAGING_VA + 4092) = 0x1122334455667788;
}

/* A store across pages faults before either part is written. */
static void test_crossing(void)
{
	paging_page[4092] = 0;
	pt[1] = 0;
	set_pte((unsigned long)paging_page | 3);
	guest_expect(cross_pages, 0, 14, PF_W, "store across pages");
	guest_check_eq(guest_last_cr2, PAGING_VA + 4096, "its CR2");
	guest_check_eq(paging_page[4092], 0, "nothing written");
	pt[1] = (unsigned long)other_page | 3;
	guest_expect(cross_pages, 0, GUEST_NO_FAULT, 0, "mapped");
	guest_check_eq(paging_page[4092], 0x88, "low part");
	guest_check_eq(other_page[3], 0x11, "high part");
}

void guest_main(void)
{
	test_matrix();
	test_accessed_dirty();
	test_large();
	test_giant();
	test_nxe();
	test_flushes();
	test_pcid();
	test_crossing();
	guest_expect(set_cr3, 1ul << 52, 13, 0, "CR3 beyond MAXPHYADDR");
}
