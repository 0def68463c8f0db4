/*
 * elf.h - reading ELF files that nobody vouches for.
 *
 * Source: System V ABI, "Object Files"; ELF-64 Object File Format 1.5.
 * 32- and 64-bit, little-endian only.  elf_open() checks the header and that
 * the program headers lie in the file; every segment and note is checked when
 * it is used.  Used in one thread; nothing is allocated.
 */
#ifndef HOSTEL_MACHINE_BOOT_ELF_H
#define HOSTEL_MACHINE_BOOT_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/mem.h"

struct elf_image {
	const uint8_t *data;
	uint64_t size;
	const char *name; /* for sentences */
	bool is64;
	uint16_t machine; /* EM_386, EM_X86_64 */
	uint64_t entry;
	uint64_t phoff;
	unsigned phnum, phentsize;
	/*
	 * data is private memory that nobody reads after elf_load(), which
	 * gives its pages back as it goes: kernel and copy together would be
	 * the peak of a guest's process.
	 */
	bool consume;
};

struct elf_segment {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

/* Guest-physical range that the loadable segments cover: [lo, hi). */
struct elf_span {
	uint64_t lo, hi;
};

/* -ENOEXEC: not an ELF file for x86 (sentence set all the same). */
int elf_open(struct elf_image *elf, const uint8_t *data, uint64_t size,
	     const char *name, struct err *err);
/* i < elf->phnum. */
void elf_segment(const struct elf_image *elf, unsigned i,
		 struct elf_segment *s);
/*
 * Where the segments want to lie; -EINVAL with a sentence if a segment's
 * bytes lie outside the file, its addresses outside [lo, hi), or there is
 * nothing to load.
 */
int elf_plan(const struct elf_image *elf, uint64_t lo, uint64_t hi,
	     struct elf_span *span, struct err *err);
/* Copies the segments to their physical addresses; after elf_plan(). */
int elf_load(const struct elf_image *elf, struct mem *mem, struct err *err);
/* The entry point as a physical address, if it is a virtual one. */
uint64_t elf_entry_physical(const struct elf_image *elf);
/* First note of this owner and type: its 4- or 8-byte value. */
bool elf_note(const struct elf_image *elf, const char *owner, uint32_t type,
	      uint64_t *value);

#endif
