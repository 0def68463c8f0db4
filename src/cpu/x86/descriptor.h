/*
 * descriptor.h - segment descriptors and gates as they lie in memory, and
 * stacks that are not yet the current one.  Private to cpu/x86.
 *
 * Source: Intel SDM volume 3A 3.4.5 (segments), 3.5 (system descriptors),
 * 5.8.3 (call gates), 6.11 and 6.14 (interrupt gates), 7.2 (TSS).
 *
 *	63..56    55 54 53  52  51..48     47 46..45 44 43..40 39..32  31..0
 *	base      G  DB L  AVL limit19:16  P  DPL    S  type   base  base limit
 *	gate:     offset 31..16 (63..48)   P  DPL    0  type  count/IST
 *		  selector (31..16) offset 15..0
 *
 * All functions: own thread; those that touch memory may raise.
 */
#ifndef HOSTEL_CPU_X86_DESCRIPTOR_H
#define HOSTEL_CPU_X86_DESCRIPTOR_H

#include "cpu/x86/cpu.h"

struct descriptor {
	uint64_t lo;
	uint64_t hi;     /* second half of a 16-byte descriptor, else 0 */
	uint64_t linear; /* where it lies */
	uint16_t sel;
};

/* S and type as one number: 0..15 system, 16..31 code and data. */
enum descriptor_type {
	DESCRIPTOR_TSS16 = 1,
	DESCRIPTOR_LDT = 2,
	DESCRIPTOR_TSS16_BUSY = 3,
	DESCRIPTOR_CALL16 = 4,
	DESCRIPTOR_TASK = 5,
	DESCRIPTOR_INT16 = 6,
	DESCRIPTOR_TRAP16 = 7,
	DESCRIPTOR_TSS32 = 9, /* also the 64-bit TSS */
	DESCRIPTOR_TSS32_BUSY = 11,
	DESCRIPTOR_CALL32 = 12, /* also the 64-bit call gate */
	DESCRIPTOR_INT32 = 14,
	DESCRIPTOR_TRAP32 = 15,
};

static inline unsigned descriptor_type(const struct descriptor *d)
{
	return d->lo >> 40 & 0x1f;
}

static inline unsigned descriptor_dpl(const struct descriptor *d)
{
	return d->lo >> 45 & 3;
}

static inline bool descriptor_present(const struct descriptor *d)
{
	return d->lo >> 47 & 1;
}

static inline bool descriptor_is_code(const struct descriptor *d)
{
	return (descriptor_type(d) & 0x18) == 0x18;
}

static inline bool descriptor_is_conforming(const struct descriptor *d)
{
	return (descriptor_type(d) & 0x1c) == 0x1c;
}

/* Data that can be read or code that can be. */
static inline bool descriptor_is_readable(const struct descriptor *d)
{
	unsigned type = descriptor_type(d);

	return (type & 0x18) == 0x10 || (type & 0x1a) == 0x1a;
}

static inline bool descriptor_is_writable(const struct descriptor *d)
{
	return (descriptor_type(d) & 0x1a) == 0x12;
}

/* L and D/B of a code segment. */
static inline bool descriptor_is_long(const struct descriptor *d)
{
	return d->lo >> 53 & 1;
}

static inline bool descriptor_is_big(const struct descriptor *d)
{
	return d->lo >> 54 & 1;
}

static inline uint16_t descriptor_gate_selector(const struct descriptor *d)
{
	return d->lo >> 16;
}

static inline uint64_t descriptor_gate_offset(const struct descriptor *d)
{
	return d->hi << 32 | (d->lo >> 32 & 0xffff0000) | (d->lo & 0xffff);
}

static inline bool descriptor_null(uint16_t sel)
{
	return !(sel & 0xfffc);
}

/* False if the selector is null or beyond its table. */
bool descriptor_fetch(struct x86_cpu *cpu, uint16_t sel, struct descriptor *d);
/* As above for LDT, TSS and call gates: 16 bytes in long mode. */
bool descriptor_fetch_wide(struct x86_cpu *cpu, struct descriptor *d);
/* Raises vector(sel) where descriptor_fetch() fails, vector(0) for null. */
void descriptor_require(struct x86_cpu *cpu, uint16_t sel, struct descriptor *d,
			uint8_t vector);

/* The hidden part; sel as given in d. */
void descriptor_to_seg(const struct descriptor *d, struct x86_seg *seg);
/* Sets the accessed bit in memory, if it is not set, and in d. */
void descriptor_mark_accessed(struct x86_cpu *cpu, struct descriptor *d);
/* Sets or clears the busy bit of a TSS descriptor in memory. */
void descriptor_set_busy(struct x86_cpu *cpu, struct descriptor *d, bool busy);

/* error code of a selector: without RPL */
static inline uint32_t descriptor_error(uint16_t sel)
{
	return sel & 0xfffc;
}

/*
 * The checks that far JMP, CALL and returns share for a code segment that is
 * entered at privilege cpl; `rpl` is what the selector asked for.  Raises
 * #GP(sel) or #NP(sel).
 */
void descriptor_check_code(struct x86_cpu *cpu, const struct descriptor *d,
			   unsigned cpl, unsigned rpl);
/* Offset within the limit, or canonical in a 64-bit segment; else #GP(0). */
void descriptor_check_offset(struct x86_cpu *cpu, const struct x86_seg *cs,
			     uint64_t offset);

/*
 * A stack segment for privilege cpl, loaded from a TSS or popped: null,
 * RPL, DPL, type, presence; faults are vector(sel), absence #SS(sel).
 */
void descriptor_load_ss(struct x86_cpu *cpu, uint16_t sel, unsigned cpl,
			uint8_t vector, struct x86_seg *seg);

/*
 * A stack in preparation: pushes reach memory but not cpu->gpr[RSP], so that
 * a fault leaves the state as it was; stack_commit() makes it final.
 */
struct stack {
	struct x86_seg ss;
	uint64_t sp;
	uint64_t mask; /* 0xffff, 0xffffffff, ~0 */
	unsigned cpl;  /* whose rights its accesses have */
	bool is64;
	uint32_t error; /* of #SS: 0 for the current stack */
};

void stack_current(const struct x86_cpu *cpu, struct stack *st);
/* A stack switched to: its own SS, and #SS with its selector. */
void stack_init(struct stack *st, const struct x86_seg *ss, uint64_t sp,
		unsigned cpl);
void stack_init64(struct stack *st, uint64_t sp, unsigned cpl);
void stack_push(struct x86_cpu *cpu, struct stack *st, uint64_t value,
		unsigned size);
uint64_t stack_pop(struct x86_cpu *cpu, struct stack *st, unsigned size);
/*
 * Host address of the `bytes` above (pop) or below (push) the top, if the TLB
 * has them, else NULL: for 64-bit frames in one go.  SP does not move.
 */
void *stack_above(struct x86_cpu *cpu, const struct stack *st, unsigned bytes);
void *stack_below(struct x86_cpu *cpu, const struct stack *st, unsigned bytes);
/* Stores SP with its width; not SS. */
void stack_commit(struct x86_cpu *cpu, const struct stack *st);

/* Limit, type, and null check of one access; false if it must fault. */
bool x86_seg_allows(const struct x86_cpu *cpu, const struct x86_seg *seg,
		    uint64_t offset, unsigned size, bool write);

/* SS:SP for `cpl` out of the 16- or 32-bit TSS; raises #TS. */
void task_inner_stack(struct x86_cpu *cpu, unsigned cpl, uint16_t *ss,
		      uint64_t *sp);
/* RSPn (n = 0..2) or ISTn (n = 4..10: 3 + IST) of the 64-bit TSS. */
uint64_t task_stack64(struct x86_cpu *cpu, unsigned n);

#endif
