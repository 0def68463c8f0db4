/*
 * asm.h - the host assembler: x86-64 instructions into a buffer.
 *
 * Emits through the writable view of the code memory; addresses that code
 * refers to are those of the executable view (w + rx_delta).  A full buffer
 * sets `full` and drops the rest: the caller looks once, at the end.
 */
#ifndef HOSTEL_CPU_TRANSLATOR_ASM_H
#define HOSTEL_CPU_TRANSLATOR_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_reg {
	H_RAX,
	H_RCX,
	H_RDX,
	H_RBX,
	H_RSP,
	H_RBP,
	H_RSI,
	H_RDI,
	H_R8,
	H_R9,
	H_R10,
	H_R11,
	H_R12,
	H_R13,
	H_R14,
	H_R15,
	H_NONE = 0xff,
};

struct xl_asm {
	uint8_t *w, *end;
	ptrdiff_t rx_delta;
	bool full;
};

/* What a ModRM byte's r/m side names. */
struct xl_rm {
	bool is_reg;
	bool gs;                    /* memory: relative to the vCPU state */
	uint8_t reg;                /* is_reg */
	uint8_t base, index, scale; /* H_NONE: none */
	int32_t disp;
};

#define RM_REG(r) ((struct xl_rm){ .is_reg = true, .reg = (r) })
/* [base + disp] */
#define RM_MEM(b, d) \
	((struct xl_rm){ .base = (b), .index = H_NONE, .disp = (d) })
/* [base + index << scale + disp] */
#define RM_SIB(b, i, s, d) \
	((struct xl_rm){ .base = (b), .index = (i), .scale = (s), .disp = (d) })
/* A field of struct x86_cpu by offset. */
#define RM_GS(off)       \
	((struct xl_rm){ \
		.gs = true, .base = H_NONE, .index = H_NONE, .disp = (off) })
/* gs:[index * 8 + off] */
#define RM_GS8(i, off)                   \
	((struct xl_rm){ .gs = true,     \
			 .base = H_NONE, \
			 .index = (i),   \
			 .scale = 3,     \
			 .disp = (off) })

/* An instruction's encoding apart from its operands. */
struct xl_op {
	uint8_t map; /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	uint8_t opcode;
	uint8_t pp; /* 0 none, 1 66, 2 F3, 3 F2 */
	bool w;     /* REX.W, VEX.W */
	bool lock;
	/* the operand is an 8-bit register: SPL.. need REX */
	bool byte_reg, byte_rm;
	bool p66; /* 66 beside pp F2/F3 (16-bit POPCNT, ...) */
	bool vex, l;
	uint8_t vvvv; /* vex: register, 0 if unused */
};

#define OP(m, o)  ((struct xl_op){ .map = (m), .opcode = (o) })
#define OPW(m, o) ((struct xl_op){ .map = (m), .opcode = (o), .w = true })

void asm_u8(struct xl_asm *a, uint8_t v);
void asm_u32(struct xl_asm *a, uint32_t v);
void asm_u64(struct xl_asm *a, uint64_t v);
/* The executable address of the next byte. */
static inline uint8_t *asm_here(const struct xl_asm *a)
{
	return a->w + a->rx_delta;
}

/* reg: register number or opcode extension. */
void asm_op(struct xl_asm *a, struct xl_op op, unsigned reg, struct xl_rm rm);

void asm_mov_rr(struct xl_asm *a, unsigned dst, unsigned src); /* 64-bit */
void asm_mov32_rr(struct xl_asm *a, unsigned dst, unsigned src);
void asm_mov_imm(struct xl_asm *a, unsigned dst, uint64_t v);   /* shortest */
void asm_load(struct xl_asm *a, unsigned dst, struct xl_rm rm); /* 64-bit */
void asm_load32(struct xl_asm *a, unsigned dst, struct xl_rm rm);
void asm_store(struct xl_asm *a, struct xl_rm rm, unsigned src); /* 64-bit */
void asm_lea(struct xl_asm *a, unsigned dst, struct xl_rm rm);   /* 64-bit */
void asm_lea32(struct xl_asm *a, unsigned dst, struct xl_rm rm);
void asm_shrx(struct xl_asm *a, unsigned dst, unsigned src, unsigned count);
void asm_shrx32(struct xl_asm *a, unsigned dst, unsigned src, unsigned count);

/* Jumps to executable addresses; asm_jmp_site returns where its rel32 is. */
void asm_jmp(struct xl_asm *a, const uint8_t *target);
void asm_call(struct xl_asm *a, const uint8_t *target);
uint8_t *asm_jmp_site(struct xl_asm *a);
uint8_t *asm_jcc_site(struct xl_asm *a, unsigned cond);
/* Points the rel32 at site (writable view) to target (executable view). */
void asm_patch(uint8_t *site, ptrdiff_t rx_delta, const uint8_t *target);
/* Short forward jumps: asm_jrcxz returns a mark for asm_land8. */
uint8_t *asm_jrcxz(struct xl_asm *a);
uint8_t *asm_jmp8(struct xl_asm *a);
void asm_land8(struct xl_asm *a, uint8_t *mark);

#endif
