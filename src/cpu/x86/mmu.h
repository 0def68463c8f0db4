/*
 * mmu.h - linear addresses: paging, permissions, and memory access.
 *
 * Source: Intel SDM volume 3A chapter 4.  Every access of a software engine
 * to guest memory by linear address goes through here.  Functions that can
 * fault do not return then (cpu.h, "how faults travel").  Own thread only.
 *
 * Accesses may be unaligned and may cross pages; a store that crosses pages
 * faults before either part is written.  Values are little-endian.
 */
#ifndef HOSTEL_CPU_X86_MMU_H
#define HOSTEL_CPU_X86_MMU_H

#include "cpu/x86/cpu.h"

#define X86_PHYS_BITS 46 /* MAXPHYADDR, as CPUID 80000008h says */

/* Whose rights: the CPL's, or the processor's own (GDT, IDT, TSS reads). */
uint64_t x86_load_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		    uint64_t value);

/* The table that loads with the current privilege use; stores: | 1. */
static inline unsigned x86_tlb_kind(const struct x86_cpu *cpu)
{
	/* USER -> 0, kernel -> 2, kernel with AC -> 4 */
	return cpu->mode & X86_MODE_USER ? X86_TLB_USER_READ
	       : cpu->mode & X86_MODE_AC ? X86_TLB_KERNEL_AC_READ
					 : X86_TLB_KERNEL_READ;
}

/* Host address of [linear, linear+size) if the TLB has it, else NULL. */
static inline void *x86_tlb_lookup(struct x86_cpu *cpu, uint64_t linear,
				   unsigned size, unsigned kind)
{
	unsigned i = linear >> 12 & (X86_TLB_SIZE - 1);

	if (__builtin_expect(linear + cpu->tlb.neg[kind][i] + size - 1 > 4095,
			     0))
		return 0;
	return (void *)(uintptr_t)(linear + cpu->tlb.addend[kind][i]);
}

#define X86_MMU_ACCESSORS(bits)                                               \
	static inline uint##bits##_t x86_load##bits(struct x86_cpu *cpu,      \
						    uint64_t linear)          \
	{                                                                     \
		uint##bits##_t v;                                             \
		void *p = x86_tlb_lookup(cpu, linear, bits / 8,               \
					 x86_tlb_kind(cpu));                  \
		if (!p)                                                       \
			return x86_load_slow(cpu, linear, bits / 8);          \
		__builtin_memcpy(&v, p, sizeof(v));                           \
		return v;                                                     \
	}                                                                     \
	static inline void x86_store##bits(struct x86_cpu *cpu,               \
					   uint64_t linear, uint##bits##_t v) \
	{                                                                     \
		void *p = x86_tlb_lookup(cpu, linear, bits / 8,               \
					 x86_tlb_kind(cpu) | 1);              \
		if (!p)                                                       \
			x86_store_slow(cpu, linear, bits / 8, v);             \
		else                                                          \
			__builtin_memcpy(p, &v, sizeof(v));                   \
	}
X86_MMU_ACCESSORS(8)
X86_MMU_ACCESSORS(16)
X86_MMU_ACCESSORS(32)
X86_MMU_ACCESSORS(64)

/* By size in bytes: 1, 2, 4, 8; loads are zero-extended. */
uint64_t x86_load(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store(struct x86_cpu *cpu, uint64_t linear, unsigned size,
	       uint64_t value);
/* Any length up to 4096. */
void x86_load_bytes(struct x86_cpu *cpu, uint64_t linear, void *buf,
		    unsigned len);
void x86_store_bytes(struct x86_cpu *cpu, uint64_t linear, const void *buf,
		     unsigned len);
/* With supervisor rights whatever the CPL: descriptor tables, TSS, IDT. */
uint64_t x86_load_sys(struct x86_cpu *cpu, uint64_t linear, unsigned size);
void x86_store_sys(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		   uint64_t value);

/*
 * Would the access fault?  Raises exactly what the access would raise
 * (permission and presence, A/D bits set as the access would), touches no
 * data.  len up to 4096.
 */
void x86_probe(struct x86_cpu *cpu, uint64_t linear, unsigned len, bool write);

/*
 * Read-modify-write of 1, 2, 4, 8 or 16 bytes.  x86_rmw_begin() returns a
 * pointer to the operand with write permission proven, raising what a write
 * would raise: the guest's own memory where it can (locked instructions must
 * then use atomic operations on it), else a bounce buffer in *r, in which
 * case other vCPUs' bounced operations are held off until x86_rmw_end().
 * x86_rmw_end() writes a bounce buffer back.  Nothing between may raise.
 */
struct x86_rmw {
	uint64_t linear;
	unsigned size;
	bool bounced;
	uint64_t code_gpa; /* page holds cached code; else UINT64_MAX */
	uint8_t buf[16] __attribute__((aligned(16)));
};
void *x86_rmw_begin(struct x86_cpu *cpu, struct x86_rmw *r, uint64_t linear,
		    unsigned size);
void x86_rmw_end(struct x86_cpu *cpu, struct x86_rmw *r);
/* Lets others go on if a fault comes in between after all: fault.c. */
void x86_rmw_abort(struct x86_cpu *cpu);
/* Gives the operand up unwritten (CMPXCHG may still write; this does not). */
void x86_rmw_cancel(struct x86_cpu *cpu, struct x86_rmw *r);

/*
 * For string instructions: host pointer to as much of [linear, linear+len) as
 * lies in one page of plain RAM with the wanted right; *got bytes (>= 1).
 * NULL: not plain RAM (MMIO, code page, watched): use x86_load/x86_store.
 * Raises page faults.
 */
void *x86_span(struct x86_cpu *cpu, uint64_t linear, uint64_t len, bool write,
	       uint64_t *got);

/* Guest-physical address of the code byte at linear; raises #PF. */
uint64_t x86_fetch_gpa(struct x86_cpu *cpu, uint64_t linear);

/* Translation for debuggers: no faults, no A/D bits; false if unmapped. */
bool x86_translate_debug(struct x86_cpu *cpu, uint64_t linear, uint64_t *gpa);

/*
 * Fills the TLB for an access without raising: the host address if the access
 * is allowed, in one page and plain RAM, else NULL (it would fault, cross a
 * page, or is not for the TLB: do it the slow way).
 */
void *x86_tlb_fill(struct x86_cpu *cpu, uint64_t linear, unsigned size,
		   unsigned kind);
/* Like x86_fetch_gpa(), but UINT64_MAX instead of a fault. */
uint64_t x86_fetch_gpa_quiet(struct x86_cpu *cpu, uint64_t linear);

/*
 * Notes `id` (not 0) as what is mapped at linear for code of `kind`; it stays
 * until the mapping may have changed.  The translation must be in the ITLB
 * (x86_fetch_gpa_quiet() was just called).
 */
void x86_code_map_set(struct x86_cpu *cpu, uint64_t linear, unsigned kind,
		      uint32_t id);
/* Every id is forgotten (the meaning of modes or ids changed). */
void x86_code_map_flush(struct x86_cpu *cpu);

/* --- Flushing ------------------------------------------------------------- */

/* Once, before the first access: every slot empty. */
void x86_tlb_init(struct x86_cpu *cpu);
void x86_tlb_flush_all(struct x86_cpu *cpu);                   /* globals too */
void x86_tlb_flush_nonglobal(struct x86_cpu *cpu);             /* MOV CR3 */
void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t linear); /* INVLPG */
/* All writable entries of a RAM page (host address range) go. */
void x86_tlb_drop_writable(struct x86_cpu *cpu, uint64_t gpa_page);
void x86_tlb_drop_writable_all(struct x86_cpu *cpu);
/* What the slot of this address holds, in one table. */
void x86_tlb_drop(struct x86_cpu *cpu, unsigned kind, uint64_t linear);
/*
 * MOV to CR3/CR0/CR4 paging side: PAE PDPTE loading (#GP on reserved bits),
 * PCID and flush rules of SDM 3A 4.10.4.1.  value is already checked against
 * reserved bits of the register itself.
 */
void x86_set_cr3(struct x86_cpu *cpu, uint64_t value);
void x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3);

#endif
