/*
 * diff.h - the differential test: an engine held against the host's processor.
 *
 * The processor we run on is the specification: any user-mode instruction can
 * be run natively, in a guarded stub, and by an engine, from the same state,
 * at the same linear addresses; then everything a program can see must agree.
 *
 *	linear		host and guest			what for
 *	0x15357000	r-x, 1 page			the instruction, int3s
 *	0x35359000	host alone, r-x			to 32-bit code and back
 *	0x1ffff000	r--				stores fault (#PF, P=1)
 *	0x20000000	rw-				memory operands, stack
 *	0x20001000	rw-
 *	0x20002000	nothing				#PF, P=0
 *
 * Where the manuals leave room (how far an instruction got before it faulted,
 * which of two faults comes first) the engines do as AMD's processors do; on
 * another host only the vectors of faults are compared.
 *
 * A case is a function of (seed, number): the instruction, every register,
 * the flags and the memory around the operand.  diff_case.c makes it,
 * diff_native.c and diff_guest.c run it, diff_compare.c judges.
 */
#ifndef HOSTEL_TESTS_DIFF_H
#define HOSTEL_TESTS_DIFF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

#define DIFF_CODE       0x15357000ull
#define DIFF_INSN       (DIFF_CODE + 0x800)
#define DIFF_DATA       0x1ffff000ull /* the read-only page */
#define DIFF_GATE       0x35359000ull
#define DIFF_DATA_RW    0x20000000ull
#define DIFF_DATA_END   0x20002000ull
#define DIFF_DATA_BYTES (DIFF_DATA_END - DIFF_DATA)
#define DIFF_SEQ_MAX    8   /* instructions of a case */
#define DIFF_CODE_BYTES 160 /* written for each case; then INT3s */
#define DIFF_PATCH_MAX  1024
#define DIFF_NO_VECTOR  (-1)

/* What a program can see; vector, error, cr2: how the instruction ended. */
struct diff_state {
	uint64_t gpr[16], rip, rflags, fs, gs;
	int vector; /* DIFF_NO_VECTOR: it completed */
	uint32_t error;
	uint64_t cr2;
	uint8_t fpu[X86_XSAVE_SIZE] __attribute__((aligned(64)));
};

struct diff_case {
	uint64_t seed, number;
	unsigned mode;        /* X86_MODE_CODE64 or X86_MODE_CODE32 */
	struct x86_insn insn; /* the last one */
	unsigned count;       /* instructions; 1, but for --length */
	struct x86_insn seq[DIFF_SEQ_MAX];
	unsigned start[DIFF_SEQ_MAX]; /* offsets in bytes */
	unsigned at;                  /* of the one being made */
	uint16_t aimed; /* registers that hold addresses already */
	uint8_t bytes[DIFF_CODE_BYTES + 32];
	unsigned len;    /* of the code */
	unsigned *shown; /* differences shown of the same row */
	bool uses_fpu;   /* fpu is loaded and compared */
	struct diff_state in;
	uint64_t operand; /* linear address of the memory operand */
	/* Memory at patch_at, within the writable pages. */
	uint64_t patch_at;
	unsigned patch_len;
	uint8_t patch[DIFF_PATCH_MAX];
};

/* --- diff_case.c --------------------------------------------------------- */

struct diff_gen;
/* length: instructions of a case.  only: NULL, a name, or "f*" for names. NULL:
 * there is none of that name. */
struct diff_gen *diff_gen_new(unsigned mode, const char *only, unsigned length);
void diff_gen_free(struct diff_gen *g);
unsigned diff_gen_rows(const struct diff_gen *g);
/* Names rows that no case can reach though nothing says why; how many. */
unsigned diff_gen_missing(const struct diff_gen *g, FILE *out);
/* How many cases a row had so far; for coverage. */
void diff_gen_report(const struct diff_gen *g, FILE *out);
void diff_gen_case(struct diff_gen *g, struct diff_case *c, uint64_t seed,
		   uint64_t number);

bool diff_host_is_amd(void);

/* --- diff_native.c ------------------------------------------------------- */

/* mode: X86_MODE_CODE64 or X86_MODE_CODE32, for the rest of its life. */
int diff_native_init(unsigned mode);
/* The two writable pages, and the page before them. */
uint8_t *diff_native_data(void);
/* From now on the first page is read-only. */
int diff_native_protect(void);
void diff_native_run(const struct diff_case *c, struct diff_state *out);

/*
 * From vector and rip as an exception reports them: what an instruction
 * raised stays; INT3s and faults behind or elsewhere mean that it completed.
 */
void diff_outcome(const struct diff_case *c, struct diff_state *s);

/* --- diff_guest.c -------------------------------------------------------- */

struct diff_guest;
/* engine: "interpreter" (one instruction), "interpreter-run", "translator" */
struct diff_guest *diff_guest_new(const char *engine, unsigned mode);
void diff_guest_free(struct diff_guest *g);
uint8_t *diff_guest_data(struct diff_guest *g);
void diff_guest_run(struct diff_guest *g, const struct diff_case *c,
		    struct diff_state *out);

/* --- diff_compare.c ------------------------------------------------------ */

/* Writes what differs into text; returns how many things do. */
unsigned diff_compare(const struct diff_case *c, const struct diff_state *host,
		      const struct diff_state *guest, const uint8_t *host_data,
		      const uint8_t *guest_data, char *text, size_t size);

#endif
