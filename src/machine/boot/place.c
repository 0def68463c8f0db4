#include "machine/boot/place.h"

#include <errno.h>
#include <string.h>

int place_write(const struct boot_params *p, uint64_t gpa, const void *data,
		uint64_t len, const char *what, struct err *err)
{
	if (mem_write(p->mem, gpa, data, len) == 0)
		return 0;
	return err_set(err, ENOMEM,
		       "the %s does not fit into the guest's memory; raise "
		       "--memory",
		       what);
}

int place_cmdline(const struct boot_params *p, uint64_t max, struct err *err)
{
	uint64_t len = strlen(p->append);

	if (max > PLACE_CMDLINE_MAX)
		max = PLACE_CMDLINE_MAX;
	if (len > max)
		return err_set(err, E2BIG,
			       "the command line (--append) is %llu characters "
			       "long; %s takes at most %llu",
			       (unsigned long long)len, p->kernel.name,
			       (unsigned long long)max);
	return place_write(p, PLACE_CMDLINE, p->append, len + 1, "command line",
			   err);
}

int place_initrd(const struct boot_params *p, uint64_t floor, uint64_t ceiling,
		 bool low, uint64_t *at, struct err *err)
{
	const struct boot_blob *rd = &p->initrd;

	*at = 0;
	if (rd->size == 0)
		return 0;
	if (rd->size > mem_ram_bytes(p->mem))
		return err_set(err, ENOMEM,
			       "initrd %s (%llu MiB) is larger than the "
			       "guest's memory (%llu MiB); raise --memory",
			       rd->name, (unsigned long long)rd->size >> 20,
			       (unsigned long long)mem_ram_bytes(p->mem) >> 20);
	if (ceiling > p->low_end)
		ceiling = p->low_end;
	floor = (floor + MEM_PAGE_MASK) & ~MEM_PAGE_MASK;
	if (floor > ceiling || rd->size > ceiling - floor)
		return err_set(err, ENOMEM,
			       "initrd %s (%llu KiB) does not fit into the "
			       "guest's memory beside the kernel; raise "
			       "--memory",
			       rd->name, (unsigned long long)rd->size >> 10);
	*at = low ? floor : (ceiling - rd->size) & ~MEM_PAGE_MASK;
	return place_write(p, *at, rd->data, rd->size, "initrd", err);
}

/* SDM 3A 3.4.5: base 0, limit 4 GiB, present, DPL 0. */
#define PLACE_CODE64 0x00af9b000000ffffull
#define PLACE_CODE32 0x00cf9b000000ffffull
#define PLACE_DATA   0x00cf93000000ffffull

int place_gdt(const struct boot_params *p, struct boot_entry *e, bool code64,
	      struct err *err)
{
	uint64_t gdt[] = { 0, 0, code64 ? PLACE_CODE64 : PLACE_CODE32,
			   PLACE_DATA };

	e->gdt_base = PLACE_GDT;
	e->gdt_limit = sizeof(gdt) - 1;
	e->cs = PLACE_BOOT_CS;
	e->ds = PLACE_BOOT_DS;
	return place_write(p, PLACE_GDT, gdt, sizeof(gdt), "GDT", err);
}

int place_page_tables(const struct boot_params *p, struct boot_entry *e,
		      struct err *err)
{
	static const uint64_t link = X86_PTE_P | X86_PTE_W;
	uint64_t table[6][512] = { { 0 } };

	table[0][0] = (PLACE_PML4 + 0x1000) | link;
	for (unsigned i = 0; i < 4; i++)
		table[1][i] = (PLACE_PML4 + 0x2000 + i * 0x1000ull) | link;
	for (uint64_t i = 0; i < 4 * 512; i++)
		table[2 + i / 512][i % 512] = i << 21 | link | X86_PTE_PS;
	e->cr3 = PLACE_PML4;
	return place_write(p, PLACE_PML4, table, sizeof(table), "page tables",
			   err);
}
