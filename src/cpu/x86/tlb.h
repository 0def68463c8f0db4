/*
 * tlb.h - the software TLB that every software engine shares.
 *
 * For each way of accessing memory (enum x86_tlb_kind) there is one
 * direct-mapped table, indexed by the low bits of the linear page number.  An
 * entry that matches says: this access is allowed, and its byte lies at host
 * address linear + addend.  What must not be fast never gets an entry and so
 * always takes the slow path (mmu.c): MMIO, pages watched by a debug
 * register or by gdb, writes to pages that hold cached code, writes to a page
 * whose dirty bit is clear.
 *
 *	hit: linear - entry.page <= 4096 - size   (unsigned; catches page
 *						   crossing and absent alike)
 *
 * An empty entry's page is X86_TLB_NONE, 4096 bytes below the top of a
 * non-canonical range, which no access can match.
 */
#ifndef HOSTEL_CPU_X86_TLB_H
#define HOSTEL_CPU_X86_TLB_H

#include <stdint.h>

#define X86_TLB_BITS 12
#define X86_TLB_SIZE (1u << X86_TLB_BITS)
#define X86_TLB_NONE 0x7ffffffffffff000ull

/*
 * One table per privilege and direction.  KERNEL_AC: supervisor with
 * EFLAGS.AC set under SMAP; KERNEL holds no user pages while CR4.SMAP is set.
 */
enum x86_tlb_kind {
	X86_TLB_USER_READ,
	X86_TLB_USER_WRITE,
	X86_TLB_KERNEL_READ,
	X86_TLB_KERNEL_WRITE,
	X86_TLB_KERNEL_AC_READ,
	X86_TLB_KERNEL_AC_WRITE,
	X86_TLB_KINDS,
};

struct x86_tlb_entry {
	uint64_t page;	 /* linear address of the page, or X86_TLB_NONE */
	uint64_t addend; /* host address - linear address */
};

/* Code fetch: small, by page: linear -> guest-physical. */
#define X86_ITLB_SIZE 256
struct x86_itlb_entry {
	uint64_t page; /* linear | privilege (bit 0: user); or X86_TLB_NONE */
	uint64_t gpa;
};

/* The slots in use, so that a flush costs what was used. */
#define X86_TLB_USED_MAX 2048
struct x86_tlb {
	struct x86_tlb_entry e[X86_TLB_KINDS][X86_TLB_SIZE];
	struct x86_itlb_entry code[X86_ITLB_SIZE];
	/* Slots filled since the last flush: kind << 16 | index. */
	uint32_t used_count[2];			 /* [0] global, [1] others */
	uint32_t used[2][X86_TLB_USED_MAX];
	uint64_t large_mask, large_base; /* linear range with large pages */
};

#endif
