/* paging_pae32: PAE paging: rights, NX, PDPTEs, 2 MiB pages. */
#include "paging.h"

static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pds[4][512] __attribute__((aligned(4096)));
static uint64_t pt[512] __attribute__((aligned(4096)));

static void set_pte(uint64_t entry)
{
	pt[0] = entry;
	invlpg(PAGING_VA);
}

static void set_pde(uint64_t entry)
{
	pds[1][0] = (unsigned long)pt | (entry & (PTE_NX | 7 | 1ull << 51));
	invlpg(PAGING_VA);
}

static void setup(void)
{
	for (unsigned i = 0; i < 4; i++) {
		pdpt[i] = (unsigned long)pds[i] | PTE_P;
		for (unsigned k = 0; k < 512; k++)
			pds[i][k] = (uint64_t)i << 30 | k << 21 | PTE_PS |
				    PTE_P | PTE_W;
	}
	for (unsigned k = 8; k < 16; k++)
		pds[0][k] |= PTE_U;
	pds[1][0] = (unsigned long)pt | 7;
	write_cr4(read_cr4() | CR4_PAE);
	write_cr3((unsigned long)pdpt);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
	write_cr0(read_cr0() | 0x80000000ul | CR0_WP);
}

static void load_cr3(unsigned long arg)
{
	write_cr3(arg);
}

/* PDPTEs live in the processor until CR3 is written. */
static void test_pdptes(void)
{
	uint64_t old = pdpt[1];

	set_pte((unsigned long)paging_page | 3);
	pdpt[1] = 0;
	invlpg(PAGING_VA);
	guest_expect(paging_read, PAGING_VA, GUEST_NO_FAULT, 0,
		     "PDPTE as loaded");
	write_cr3((unsigned long)pdpt);
	guest_expect(paging_read, PAGING_VA, 14, 0, "PDPTE gone");
	pdpt[1] = old | PTE_W; /* reserved */
	guest_expect(load_cr3, (unsigned long)pdpt, 13, 0,
		     "reserved bit in a PDPTE");
	pdpt[1] = old;
	write_cr3((unsigned long)pdpt);
	guest_expect(paging_read, PAGING_VA, GUEST_NO_FAULT, 0, "again");
}

void guest_main(void)
{
	setup();
	paging_matrix(set_pte, true, 1ull << 51);
	set_pte((unsigned long)paging_page | 7);
	paging_matrix(set_pde, true, 1ull << 51);
	pds[1][0] = (unsigned long)pt | 7;
	set_pte((unsigned long)paging_page | 7);
	paging_check_ad(&pt[0], 8, false);
	paging_check_ad(&pt[0], 8, true);
	test_pdptes();
}
