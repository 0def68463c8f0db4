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
 *	hit: linear + neg + size - 1 < 4096	(unsigned; neg = -page, so
 *						 that page crossing misses)
 *
 * Two arrays rather than one of pairs, because the translator's check indexes
 * with scale 8 and touches no flags.  An empty slot i holds the negative of a
 * page that can never be looked up in slot i, nor crossed into from it: page
 * 0 suits all but the first and the last slot, so fresh zeroed memory is empty.
 */
#ifndef HOSTEL_CPU_X86_TLB_H
#define HOSTEL_CPU_X86_TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/x86/view.h"

#define X86_TLB_BITS 20 /* what a 32-bit shift leaves of an address */
#define X86_TLB_SIZE (1u << X86_TLB_BITS)
#define X86_TLB_NONE 1ull /* for x86_itlb_entry.page */

static inline uint64_t x86_tlb_empty(unsigned i)
{
	if (i != 0 && i != X86_TLB_SIZE - 1)
		return 0;
	return -((uint64_t)(i ^ (X86_TLB_SIZE / 2)) << 12);
}

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

/* Code fetch: small, by page: linear -> guest-physical. */
#define X86_ITLB_SIZE 256
struct x86_itlb_entry {
	/* linear | 2 | user (bit 0) | 4 if global; or X86_TLB_NONE */
	uint64_t page;
	uint64_t gpa;
};

/*
 * The code side for engines that cache code by address: id[kind][slot] is the
 * engine's number for what is mapped at a linear page now (0: not known), to
 * be compared on entry to code of that page; flushed with everything else.
 * kind: enum x86_tlb_kind / 2; slot: low bits of the page number.
 */
#define X86_CODE_KINDS 3
#define X86_CODE_SLOTS 16384u
struct x86_code_map {
	uint32_t id[X86_CODE_KINDS][X86_CODE_SLOTS];
	uint8_t listed[X86_CODE_KINDS][X86_CODE_SLOTS];
	uint32_t used_count[2]; /* [0] not global, [1] global */
	uint16_t used[2][X86_CODE_KINDS * X86_CODE_SLOTS];
};

/* Where indirect branches go: by the low 16 bits of the target. */
#define X86_JUMP_SLOTS 65536u
struct x86_jump {
	uint64_t neg_rip; /* -target; slot 0 empty: 1, others: 0 */
	uint64_t host;
};

/*
 * Every slot in use is listed, so that a flush costs what was used.  The list
 * a slot is in outlives the entry; listed[] keeps it from being listed twice.
 */
#define X86_TLB_LISTED_OTHER  0x1 /* in used[0]: not global */
#define X86_TLB_LISTED_GLOBAL 0x2 /* in used[1] */
#define X86_TLB_IS_GLOBAL     0x4 /* what the slot holds now */

struct x86_tlb {
	uint64_t neg[X86_TLB_KINDS][X86_TLB_SIZE];    /* -page */
	uint64_t addend[X86_TLB_KINDS][X86_TLB_SIZE]; /* host - linear */
	struct x86_itlb_entry code[X86_ITLB_SIZE];
	uint8_t listed[X86_TLB_KINDS * X86_TLB_SIZE];
	uint32_t used_count[2];
	uint32_t used[2][X86_TLB_KINDS * X86_TLB_SIZE]; /* kind * SIZE + i */
	/* Where pieces of large pages may be, by hash of 2 MiB and 1 GiB
	 * regions: INVLPG there must look at more than one slot. */
	uint64_t large[64];
	/* Which runs of 512 slots (a page of each table) were touched since
	 * memory was given back last. */
	uint8_t touched[X86_TLB_KINDS][X86_TLB_SIZE / 512];
	unsigned touched_count;
	struct x86_code_map map;
	struct x86_view view;
};

/*
 * Filling, by mmu.c alone: host is the page's address.  Pieces of large pages
 * are noted with the large page's shift.
 */
struct x86_cpu;
void tlb_insert(struct x86_cpu *cpu, unsigned kind, uint64_t linear,
		uint8_t *host, bool global);
void tlb_note_large(struct x86_tlb *t, uint64_t linear, unsigned shift);

/*
 * For view.c.  The host's page that an entry leads to, among all of RAM; NULL:
 * no entry for that page.
 */
uint8_t *tlb_host_of(const struct x86_tlb *t, unsigned kind, uint64_t linear);
/* The view has that page now: entries that lead to it go through the view. */
void tlb_view_page(struct x86_cpu *cpu, uint64_t linear);
/* It will not have it any more: such entries go. */
void tlb_unview_page(struct x86_cpu *cpu, uint64_t linear);

#endif
