/*
 * prog.h - random programs: one engine held against another.
 *
 * Where the differential test (diff.h) tries single cases against the host's
 * processor, this makes programs of some hundred instructions with loops,
 * calls, stores into code, stack traffic and accesses around the borders of
 * pages of which some are absent or read-only, and runs them on two engines.
 * Each exception stops both: every register, the vectors and what the
 * exception reports must agree; at the end memory and page tables too.
 *
 *	linear = guest-physical
 *	001000	GDT, IDT of HLT handlers, TSS, stack of exceptions: kernel's
 *	010000	code, 16 pages; writable, for programs that patch themselves
 *	020000	data, 10 pages; page 3 also holds functions
 *	030000	stack, 2 pages
 *	034000	counters
 *
 * A program is a function of (seed, number), so that it can be run again.
 */
#ifndef HOSTEL_TESTS_PROG_H
#define HOSTEL_TESTS_PROG_H

#include <stdbool.h>
#include <stdint.h>

#include "rng.h"

#define PROG_CODE       0x10000ull
#define PROG_CODE_BYTES 0x10000u
#define PROG_DATA       0x20000ull
#define PROG_DATA_PAGES 10u
#define PROG_MIXED      (PROG_DATA + 0x3000) /* functions and data */
#define PROG_STACK      0x30000ull
#define PROG_STACK_TOP  0x31040ull /* pushes cross pages */
#define PROG_STACK_END  0x32000ull
#define PROG_VARS       0x34000ull
#define PROG_END        0x35000ull
#define PROG_OUT        PROG_CODE /* an INT3: the program ends */
#define PROG_SEGMENTS   24
#define PROG_FUNCTIONS  6

struct prog {
	uint64_t seed, number;
	struct rng rng;
	bool kernel;                   /* CPL 0 */
	uint8_t page[PROG_DATA_PAGES]; /* PTE bits: P, W */
	uint64_t entry;
	uint64_t segment[PROG_SEGMENTS]; /* where to go on when lost */
	unsigned segments;
	/* What is loaded at PROG_CODE, and the mixed page. */
	uint8_t code[PROG_CODE_BYTES];
	uint8_t mixed[4096];
	/* Is there the start of an instruction?  By address - PROG_CODE. */
	uint8_t start[PROG_END - PROG_CODE];
};

/* Makes the program (seed, number). */
void prog_make(struct prog *p, uint64_t seed, uint64_t number);
/* The start of the first instruction behind addr; 0: addr is not ours. */
uint64_t prog_next(const struct prog *p, uint64_t addr);

#endif
