/* paging32: two-level paging: rights, A/D bits, 4 MiB pages. */
#include "paging.h"

static uint32_t pd[1024] __attribute__((aligned(4096)));
static uint32_t pt[1024] __attribute__((aligned(4096)));

static void set_pte(uint64_t entry)
{
	pt[0] = entry;
	invlpg(PAGING_VA);
}

static void set_pde(uint64_t entry)
{
	pd[PAGING_VA >> 22] = (unsigned long)pt | (entry & 7);
	invlpg(PAGING_VA);
}

static void setup(void)
{
	for (unsigned i = 0; i < 1024; i++)
		pd[i] = i << 22 | PTE_PS | PTE_P | PTE_W;
	for (unsigned i = 4; i < 8; i++)
		pd[i] |= PTE_U;
	pd[PAGING_VA >> 22] = (unsigned long)pt | 7;
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((unsigned long)pd);
	write_cr0(read_cr0() | 0x80000000ul | CR0_WP);
}

static void test_large(void)
{
	unsigned long base = (unsigned long)paging_page & ~0x3ffffful;
	unsigned long at = PAGING_VA + ((unsigned long)paging_page - base);
	uint32_t *pde = &pd[PAGING_VA >> 22];

	*pde = base | 3 | PTE_PS;
	write_cr3((unsigned long)pd);
	paging_page[1] = 0x5a;
	guest_check_eq(*(volatile uint8_t *)(at + 1), 0x5a, "4 MiB page");
	guest_check_eq(*pde & PTE_D, 0, "no dirty bit from a read");
	paging_write(at);
	guest_check(*pde & PTE_D, "dirty bit of a large page");
	*pde = base | 3 | PTE_PS | 1 << 21; /* reserved */
	write_cr3((unsigned long)pd);
	guest_expect(paging_read, at, 14, PF_P | PF_R, "reserved bit 21");
	*pde = (unsigned long)pt | 7;
	write_cr3((unsigned long)pd);
}

void guest_main(void)
{
	setup();
	paging_matrix(set_pte, false, 0);
	set_pte((unsigned long)paging_page | 7);
	paging_matrix(set_pde, false, 0);
	pd[PAGING_VA >> 22] = (unsigned long)pt | 7;
	set_pte((unsigned long)paging_page | 7);
	paging_check_ad(&pt[0], 4, false);
	paging_check_ad(&pt[0], 4, true);
	test_large();
}
