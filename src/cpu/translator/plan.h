/*
 * plan.h - what is known of a block before code is made for it.
 *
 * The plan groups memory accesses: those off the same value (of a base
 * register, give or take constants) whose offsets lie close together share
 * one TLB check, made at the first, for all the bytes from the lowest to the
 * highest.  When it fails, because the bytes cross a page or one of them may
 * not be touched, the instruction and those behind it run in another
 * translation that checks each access by itself, so faults stay precise.
 */
#ifndef HOSTEL_CPU_TRANSLATOR_PLAN_H
#define HOSTEL_CPU_TRANSLATOR_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/x86/insn.h"

#define PLAN_INSNS  64
#define PLAN_JCCS   4   /* conditional jumps passed: more are not generated */
#define PLAN_GROUPS 8   /* one word of state each */
#define PLAN_RANGE  128 /* bytes: larger ones cross pages too often */

struct plan_group {
	uint32_t sym;
	uint64_t lo, hi; /* offsets from the symbol's value */
	bool write;
	unsigned epoch; /* conditional jumps before the first access */
	unsigned count; /* accesses */
	bool chases;    /* one of them does */
};

/* One access of an instruction: [0] the memory operand, [1] the stack. */
struct plan_access {
	int8_t group; /* -1: checked by itself */
	bool first;
	bool chases; /* its address was loaded by the loop that it is in */
	uint64_t offset;
};

struct plan {
	unsigned count;
	struct x86_insn insn[PLAN_INSNS];
	uint16_t offset[PLAN_INSNS + 1]; /* in the guest's page */
	struct plan_access access[PLAN_INSNS][2];
	struct plan_group group[PLAN_GROUPS];
	unsigned group_count;
	unsigned crosses; /* bytes of the last instruction on the next page */
	enum { PLAN_FULL, PLAN_FLOW, PLAN_BAD } end; /* why it ends */
};

/*
 * next: the page that follows in linear memory, or NULL if that is not to be
 * had.  Decodes from bytes[offset] of a guest page at `linear`, and groups the
 * accesses if `group` is set.  At least one instruction, or end == PLAN_BAD.
 */
void plan_make(struct plan *p, const uint8_t *bytes, const uint8_t *next,
	       unsigned offset, uint64_t linear, uint32_t mode, bool group);

/* Finds the accesses that chase, once plan_make() is done; all: they do. */
void plan_chase(struct plan *p, bool all);

#endif
