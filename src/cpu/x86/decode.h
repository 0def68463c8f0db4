/*
 * decode.h - what decode.c and operand.c share: an instruction half decoded.
 */
#ifndef HOSTEL_CPU_X86_DECODE_H
#define HOSTEL_CPU_X86_DECODE_H

#include "cpu/x86/insn.h"
#include "cpu/x86/optable.h"

#define DECODE_REX_B 1
#define DECODE_REX_X 2
#define DECODE_REX_R 4
#define DECODE_REX_W 8

struct decode {
	struct x86_insn *in;
	const uint8_t *bytes;
	unsigned pos, len; /* len: at most 15 */
	bool overrun;      /* a byte past len was wanted */
	bool bad;          /* undefined for a reason of its own */
	bool code64;
	bool legacy_mode;  /* real or virtual-8086: no VEX */
	uint8_t code;      /* X86_MODE_CODE16, 32, 64 */
	uint8_t rex;       /* DECODE_REX_*; of VEX too */
	uint8_t rep;       /* last of F2, F3; or 0 */
	uint8_t mandatory; /* prefix in the key: 0, 1 (66), 2 (F3), 3 (F2) */
	uint8_t table;     /* enum optable_map */
	uint8_t veclen;    /* 16, 32 */
	bool has66, lock, vex_l;
	bool vvvv_used; /* VEX.vvvv is not 1111 */
};

/* The next byte; 0 and `overrun` past the end. */
static inline uint8_t decode_byte(struct decode *d)
{
	if (d->pos >= d->len) {
		d->overrun = true;
		return 0;
	}
	return d->bytes[d->pos++];
}

/* operand.c: reads ModRM's memory operand and immediates as the row's operands
 * need them, and fills in->o[]. */
void decode_operands(struct decode *d);

#endif
