/*
 * boot.h - putting a guest's first program into memory.
 *
 * One entry: boot_load() looks at the file and picks the loader.  Files are
 * untrusted: every size and offset is checked; on failure one sentence names
 * the file and what is wrong, and nothing is left half-done that matters.
 *
 * Sources: Linux Documentation/x86/boot.rst; Xen's PVH start info
 * (start_info.h); the Multiboot 0.6.96 specification.
 */
#ifndef HOSTEL_MACHINE_BOOT_BOOT_H
#define HOSTEL_MACHINE_BOOT_BOOT_H

#include <stdint.h>

#include "base/err.h"
#include "cpu/x86/cpu.h"
#include "mem/mem.h"

/* A file or blob held in memory; boot_file_open() maps it read-only. */
struct boot_blob {
	const uint8_t *data;
	uint64_t size;
	const char *name; /* for sentences */
};

struct e820_entry {
	uint64_t base, size;
	uint32_t type; /* 1 RAM, 2 reserved, 3 ACPI, 4 NVS */
} __attribute__((packed));
#define BOOT_E820_MAX 32

/* What the machine tells a loader. */
struct boot_params {
	struct mem *mem;
	struct boot_blob kernel;
	struct boot_blob initrd; /* size 0: none */
	const char *append;      /* never NULL */
	const struct e820_entry *e820;
	unsigned e820_count;
	uint64_t rsdp; /* gpa of the ACPI root pointer */
	/* RAM the loader may use: [0x10000, low_end), except the ACPI area. */
	uint64_t low_end;
	bool text; /* a display is there, in text mode 3 */
};

/* The state in which the boot processor starts. */
struct boot_entry {
	enum { BOOT_LONG64, BOOT_PROT32 } kind;
	uint64_t rip, rsp, rsi, rax, rbx;
	uint64_t cr3, gdt_base;
	uint16_t gdt_limit, cs, ds;
	const char *how; /* "bzImage, payload zstd, 64-bit entry", ... */
};

/* Maps a regular file; one sentence for missing, empty, directory, ... */
int boot_blob_open(struct boot_blob *b, const char *path, const char *what,
		   struct err *err);
void boot_blob_close(struct boot_blob *b);
/* Read for now: its pages need not stay in memory; they come back when used. */
void boot_blob_idle(const struct boot_blob *b);

int boot_load(const struct boot_params *p, struct boot_entry *entry,
	      struct err *err);
/* Puts a vCPU (after x86_reset) into the entry state. */
void boot_enter(struct x86_cpu *cpu, const struct boot_entry *entry);

/* The loaders; -ENOEXEC: not this format (no sentence needed). */
int boot_load_bzimage(const struct boot_params *p, struct boot_entry *e,
		      struct err *err);
int boot_load_pvh(const struct boot_params *p, struct boot_entry *e,
		  struct err *err);
int boot_load_multiboot(const struct boot_params *p, struct boot_entry *e,
			struct err *err);

/*
 * Unpacks a kernel payload by its magic (gzip, xz, lzma, zstd, lz4 legacy,
 * bzip2); *out is malloc'd, at most max bytes (-EFBIG).
 */
int boot_unpack(const uint8_t *in, uint64_t in_len, uint64_t max, uint8_t **out,
		uint64_t *out_len, const char **format, struct err *err);

#endif
