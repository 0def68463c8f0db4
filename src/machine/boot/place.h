/*
 * place.h - where the loaders put things in guest memory.
 *
 *	0x00010000  GDT
 *	0x00011000  Linux boot_params ("zero page")
 *	0x00012000  page tables: PML4, PDPT, four page directories (4 GiB)
 *	0x00018000  PVH start info, or Multiboot information
 *	0x00019000  module list
 *	0x0001a000  memory map
 *	0x00020000  command line (64 KiB)
 *	0x00040000  top of the stack
 *	0x000e0000  ACPI (machine/acpi.h)
 *	0x00100000  kernel and above; initrd as high as it may
 */
#ifndef HOSTEL_MACHINE_BOOT_PLACE_H
#define HOSTEL_MACHINE_BOOT_PLACE_H

#include "machine/boot/boot.h"

#define PLACE_GDT         0x10000ull
#define PLACE_ZERO_PAGE   0x11000ull
#define PLACE_PML4        0x12000ull
#define PLACE_INFO        0x18000ull
#define PLACE_MODLIST     0x19000ull
#define PLACE_MEMMAP      0x1a000ull
#define PLACE_CMDLINE     0x20000ull
#define PLACE_CMDLINE_MAX 0xffffull /* characters, without the NUL */
#define PLACE_STACK       0x40000ull
#define PLACE_KERNEL_MIN  0x100000ull

/* Selectors of the GDT, as the Linux boot protocol names them. */
#define PLACE_BOOT_CS 0x10
#define PLACE_BOOT_DS 0x18

/*
 * Writes the command line; max: what the kernel takes.  -E2BIG with a
 * sentence.
 */
int place_cmdline(const struct boot_params *p, uint64_t max, struct err *err);
/*
 * Writes the initrd page-aligned, as high as possible in [floor, ceiling)
 * (and below low_end), or at floor if `low`; *at is 0 without an initrd.
 */
int place_initrd(const struct boot_params *p, uint64_t floor, uint64_t ceiling,
		 bool low, uint64_t *at, struct err *err);
/* Writes a GDT with flat segments and points the entry at it. */
int place_gdt(const struct boot_params *p, struct boot_entry *e, bool code64,
	      struct err *err);
/* Identity mapping of the low 4 GiB by 2 MiB pages; sets e->cr3. */
int place_page_tables(const struct boot_params *p, struct boot_entry *e,
		      struct err *err);
/* mem_write() for what must be there: the error says which. */
int place_write(const struct boot_params *p, uint64_t gpa, const void *data,
		uint64_t len, const char *what, struct err *err);

#endif
