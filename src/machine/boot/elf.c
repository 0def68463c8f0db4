#include "machine/boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* [off, off+len) lies in the file, without wrapping. */
static bool elf_inside(const struct elf_image *elf, uint64_t off, uint64_t len)
{
	return off <= elf->size && len <= elf->size - off;
}

static int elf_header64(struct elf_image *elf)
{
	Elf64_Ehdr h;

	if (elf->size < sizeof(h))
		return -EINVAL;
	memcpy(&h, elf->data, sizeof(h));
	elf->machine = h.e_machine;
	elf->entry = h.e_entry;
	elf->phoff = h.e_phoff;
	elf->phnum = h.e_phnum;
	elf->phentsize = h.e_phentsize;
	return h.e_phentsize < sizeof(Elf64_Phdr) ? -EINVAL : 0;
}

static int elf_header32(struct elf_image *elf)
{
	Elf32_Ehdr h;

	if (elf->size < sizeof(h))
		return -EINVAL;
	memcpy(&h, elf->data, sizeof(h));
	elf->machine = h.e_machine;
	elf->entry = h.e_entry;
	elf->phoff = h.e_phoff;
	elf->phnum = h.e_phnum;
	elf->phentsize = h.e_phentsize;
	return h.e_phentsize < sizeof(Elf32_Phdr) ? -EINVAL : 0;
}

int elf_open(struct elf_image *elf, const uint8_t *data, uint64_t size,
	     const char *name, struct err *err)
{
	*elf = (struct elf_image){ .data = data, .size = size, .name = name };
	if (size < EI_NIDENT || memcmp(data, ELFMAG, SELFMAG) ||
	    data[EI_DATA] != ELFDATA2LSB)
		return err_set(err, ENOEXEC, "%s is not an ELF file", name);
	elf->is64 = data[EI_CLASS] == ELFCLASS64;
	if ((elf->is64 ? elf_header64(elf) : elf_header32(elf)) < 0 ||
	    !elf_inside(elf, elf->phoff, (uint64_t)elf->phnum * elf->phentsize))
		return err_set(err, EINVAL,
			       "%s is truncated: its ELF headers lie outside "
			       "the file",
			       name);
	if (elf->machine != EM_X86_64 && elf->machine != EM_386)
		return err_set(err, ENOEXEC,
			       "%s is an ELF file for another processor "
			       "(machine %u); x86 is needed",
			       name, elf->machine);
	return 0;
}

void elf_segment(const struct elf_image *elf, unsigned i, struct elf_segment *s)
{
	const uint8_t *p =
		elf->data + elf->phoff + (uint64_t)i * elf->phentsize;
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	if (elf->is64) {
		memcpy(&p64, p, sizeof(p64));
		*s = (struct elf_segment){ p64.p_type,   p64.p_offset,
					   p64.p_vaddr,  p64.p_paddr,
					   p64.p_filesz, p64.p_memsz };
	} else {
		memcpy(&p32, p, sizeof(p32));
		*s = (struct elf_segment){ p32.p_type,   p32.p_offset,
					   p32.p_vaddr,  p32.p_paddr,
					   p32.p_filesz, p32.p_memsz };
	}
}

static bool elf_loadable(const struct elf_segment *s)
{
	return s->type == PT_LOAD && s->memsz > 0;
}

static int elf_check(const struct elf_image *elf, const struct elf_segment *s,
		     uint64_t lo, uint64_t hi, struct err *err)
{
	if (s->filesz > s->memsz || !elf_inside(elf, s->offset, s->filesz))
		return err_set(err, EINVAL,
			       "%s is truncated: a segment lies outside the "
			       "file",
			       elf->name);
	if (s->paddr < lo)
		return err_set(err, EINVAL,
			       "%s wants to lie at 0x%llx; kernels are loaded "
			       "at 0x%llx or above",
			       elf->name, (unsigned long long)s->paddr,
			       (unsigned long long)lo);
	if (s->paddr > hi || s->memsz > hi - s->paddr)
		return err_set(err, ENOMEM,
			       "%s does not fit into the guest's memory: it "
			       "wants 0x%llx bytes at 0x%llx; raise --memory",
			       elf->name, (unsigned long long)s->memsz,
			       (unsigned long long)s->paddr);
	return 0;
}

int elf_plan(const struct elf_image *elf, uint64_t lo, uint64_t hi,
	     struct elf_span *span, struct err *err)
{
	*span = (struct elf_span){ UINT64_MAX, 0 };
	for (unsigned i = 0; i < elf->phnum; i++) {
		struct elf_segment s;
		int ret;

		elf_segment(elf, i, &s);
		if (!elf_loadable(&s))
			continue;
		ret = elf_check(elf, &s, lo, hi, err);
		if (ret < 0)
			return ret;
		if (s.paddr < span->lo)
			span->lo = s.paddr;
		if (s.paddr + s.memsz > span->hi)
			span->hi = s.paddr + s.memsz;
	}
	if (span->hi == 0)
		return err_set(err, EINVAL,
			       "%s is an ELF file with nothing to load",
			       elf->name);
	return 0;
}

#define ELF_CHUNK (4ull << 20)

/* Whole pages of [p, p+len) only: what lies beside them may be in use. */
static void elf_give_back(const uint8_t *p, uint64_t len)
{
	uintptr_t from = ((uintptr_t)p + MEM_PAGE_MASK) & ~MEM_PAGE_MASK;
	uintptr_t to = ((uintptr_t)p + len) & ~MEM_PAGE_MASK;

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Headers first, then segments one behind the other: nothing is read twice. */
static bool elf_in_order(const struct elf_image *elf)
{
	uint64_t end = elf->phoff + (uint64_t)elf->phnum * elf->phentsize;

	for (unsigned i = 0; i < elf->phnum; i++) {
		struct elf_segment s;

		elf_segment(elf, i, &s);
		if (!elf_loadable(&s))
			continue;
		if (s.offset < end)
			return false;
		end = s.offset + s.filesz;
	}
	return true;
}

static int elf_copy(const struct elf_image *elf, struct mem *mem,
		    const struct elf_segment *s, bool consume)
{
	for (uint64_t pos = 0; pos < s->filesz; pos += ELF_CHUNK) {
		const uint8_t *from = elf->data + s->offset + pos;
		uint64_t len = s->filesz - pos;

		if (len > ELF_CHUNK)
			len = ELF_CHUNK;
		if (mem_write(mem, s->paddr + pos, from, len))
			return -EFAULT;
		if (consume)
			elf_give_back(from, len);
	}
	/* .bss must be zero after a reset, too. */
	return mem_zero(mem, s->paddr + s->filesz, s->memsz - s->filesz);
}

int elf_load(const struct elf_image *elf, struct mem *mem, struct err *err)
{
	bool consume = elf->consume && elf_in_order(elf);

	for (unsigned i = 0; i < elf->phnum; i++) {
		struct elf_segment s;

		elf_segment(elf, i, &s);
		if (!elf_loadable(&s))
			continue;
		if (elf_copy(elf, mem, &s, consume))
			return err_set(err, EFAULT,
				       "%s: 0x%llx is not guest memory",
				       elf->name, (unsigned long long)s.paddr);
	}
	return 0;
}

uint64_t elf_entry_physical(const struct elf_image *elf)
{
	uint64_t translated = elf->entry;

	for (unsigned i = 0; i < elf->phnum; i++) {
		struct elf_segment s;

		elf_segment(elf, i, &s);
		if (!elf_loadable(&s))
			continue;
		if (elf->entry - s.paddr < s.memsz)
			return elf->entry;
		if (elf->entry - s.vaddr < s.memsz)
			translated = elf->entry - s.vaddr + s.paddr;
	}
	return translated;
}

static uint64_t elf_align4(uint64_t n)
{
	return (n + 3) & ~3ull;
}

/* One PT_NOTE: name and descriptor follow each header, padded to 4. */
static bool elf_note_in(const struct elf_image *elf,
			const struct elf_segment *s, const char *owner,
			uint32_t type, uint64_t *value)
{
	uint64_t pos = s->offset, end = s->offset + s->filesz;
	size_t owner_len = strlen(owner) + 1;
	Elf32_Nhdr n; /* the same in 64-bit files */

	while (end - pos >= sizeof(n)) {
		uint64_t name, desc;

		memcpy(&n, elf->data + pos, sizeof(n));
		name = pos + sizeof(n);
		desc = name + elf_align4(n.n_namesz);
		if (desc > end || n.n_descsz > end - desc)
			return false;
		if (n.n_type == type && n.n_namesz == owner_len &&
		    !memcmp(elf->data + name, owner, owner_len) &&
		    (n.n_descsz == 4 || n.n_descsz == 8)) {
			*value = 0;
			memcpy(value, elf->data + desc, n.n_descsz);
			return true;
		}
		if (elf_align4(n.n_descsz) > end - desc)
			return false;
		pos = desc + elf_align4(n.n_descsz);
	}
	return false;
}

bool elf_note(const struct elf_image *elf, const char *owner, uint32_t type,
	      uint64_t *value)
{
	for (unsigned i = 0; i < elf->phnum; i++) {
		struct elf_segment s;

		elf_segment(elf, i, &s);
		if (s.type == PT_NOTE && elf_inside(elf, s.offset, s.filesz) &&
		    elf_note_in(elf, &s, owner, type, value))
			return true;
	}
	return false;
}
