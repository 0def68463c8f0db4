/*
 * diff_gen.h - what makes cases, between diff_rows.c and diff_case.c.
 */
#ifndef HOSTEL_TESTS_DIFF_GEN_H
#define HOSTEL_TESTS_DIFF_GEN_H

#include "diff.h"

/* One encoding that the decoder accepts. */
struct diff_template {
	const struct x86_desc *desc;
	bool vex, w, l, has_modrm;
	uint8_t map, pp, opcode, modrm;
};

struct diff_row {
	unsigned first, count; /* templates */
	unsigned shown;
	uint64_t cases;
};

struct diff_gen {
	unsigned mode, length;
	bool host_is_amd;
	struct diff_template *t;
	unsigned count, room;
	struct diff_row *rows;
	unsigned row_count;
};

/* Not to be run natively; or done otherwise by AMD's processors. */
bool diff_is_left_out(const struct x86_insn *insn);
bool diff_is_vendors(const struct x86_insn *insn, unsigned mode);
/* Writes prefixes, VEX and opcode; returns how many bytes. */
unsigned diff_put_opcode(uint8_t *b, const struct diff_template *t,
			 unsigned rex, unsigned vvvv);

#endif
