/*
 * optable.h - what decode.c and the opcode tables share.
 *
 * One row of a table (optable_*.inc) reads
 *
 *	ROW(first, last, match, name, op, class, o0, o1, o2, o3, access,
 *	    flags, attr, feature)
 *
 * for the opcodes first..last.  `match` says which encodings of the opcode
 * the row stands for: mandatory prefix, ModRM fields, W, L; 0 is all.  Rows of
 * one opcode stand together, and a later one is tried first; a row whose
 * feature is not offered is passed over, so that F3 0F BC is TZCNT with BMI1
 * and BSF without.
 */
#ifndef HOSTEL_CPU_X86_OPTABLE_H
#define HOSTEL_CPU_X86_OPTABLE_H

#include <stdint.h>

#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"

/*
 * x86_desc.match: which bits must match (high half) and their values:
 *
 *	 12    11   10  9  8..6 5..3  2    1..0
 *	REX.B code64 L  W   rm  reg  mod3  prefix (0 none, 1 66, 2 F3, 3 F2)
 *
 * Bit 31 is no condition: the opcode has no ModRM byte.
 */
#define OPTABLE_KEY_MOD3   0x0004
#define OPTABLE_KEY_REG    3
#define OPTABLE_KEY_RM     6
#define OPTABLE_KEY_W      0x0200
#define OPTABLE_KEY_L      0x0400
#define OPTABLE_KEY_CODE64 0x0800
#define OPTABLE_KEY_REXB   0x1000
#define OPTABLE_NO_MODRM   0x80000000u
#define OPTABLE_PREFIX     0x00030000u /* match looks at the prefix */

/* Tables: legacy maps 0..3, VEX maps 1..3. */
enum optable_map {
	OPTABLE_1BYTE,
	OPTABLE_0F,
	OPTABLE_0F38,
	OPTABLE_0F3A,
	OPTABLE_VEX_0F,
	OPTABLE_VEX_0F38,
	OPTABLE_VEX_0F3A,
	OPTABLE_MAPS,
};

/* Where an operand comes from. */
enum optable_from {
	OPTABLE_NONE,
	OPTABLE_E,     /* ModRM.rm: general register or memory */
	OPTABLE_G,     /* ModRM.reg: general register */
	OPTABLE_R,     /* ModRM.rm as general register, whatever mod says */
	OPTABLE_M,     /* ModRM.rm: memory; a register is #UD */
	OPTABLE_Z,     /* low three bits of the opcode: general register */
	OPTABLE_B,     /* VEX.vvvv: general register */
	OPTABLE_FIXED, /* one general register; size2 is its number */
	OPTABLE_SEG,   /* one segment register; size2 is its number */
	OPTABLE_S,     /* ModRM.reg: segment register */
	OPTABLE_C,     /* ModRM.reg: control register */
	OPTABLE_D,     /* ModRM.reg: debug register */
	OPTABLE_IMM,   /* unsigned immediate of size2, used as size */
	OPTABLE_SIMM,  /* signed immediate of size2, used as size */
	OPTABLE_ONE,   /* the number one */
	OPTABLE_REL,   /* branch displacement */
	OPTABLE_FAR,   /* far pointer */
	OPTABLE_OFFS,  /* memory at an absolute offset */
	OPTABLE_P,     /* ModRM.reg: MMX register */
	OPTABLE_Q,     /* ModRM.rm: MMX register or memory */
	OPTABLE_N,     /* ModRM.rm: MMX register; memory is #UD */
	OPTABLE_V,     /* ModRM.reg: XMM or YMM register */
	OPTABLE_W,     /* ModRM.rm: XMM or YMM register or memory */
	OPTABLE_U,     /* ModRM.rm: XMM or YMM register; memory is #UD */
	OPTABLE_H,     /* VEX.vvvv: XMM or YMM register */
	OPTABLE_L,     /* imm8[7:4]: XMM or YMM register */
	OPTABLE_XMM0,  /* XMM0 */
	OPTABLE_ST0,   /* ST(0) */
	OPTABLE_STI,   /* ModRM.rm: ST(i) */
	OPTABLE_VSIB,  /* memory with a vector index */
};

/* Operand sizes, resolved for the instruction at hand. */
enum optable_size {
	OPTABLE_S0, /* none, or an area of its own size */
	OPTABLE_S1,
	OPTABLE_S2,
	OPTABLE_S4,
	OPTABLE_S6,
	OPTABLE_S8,
	OPTABLE_S10,
	OPTABLE_S16,
	OPTABLE_S32,
	OPTABLE_SV,  /* operand size: 2, 4, 8 */
	OPTABLE_SZ,  /* operand size, at most 4 */
	OPTABLE_SY,  /* 8 with REX.W or VEX.W, else 4 */
	OPTABLE_SN,  /* 8 in 64-bit code, else 4 */
	OPTABLE_SX,  /* vector length: 16, 32 */
	OPTABLE_SX2, /* half of it */
	OPTABLE_SX4, /* a quarter */
	OPTABLE_SX8, /* an eighth */
	OPTABLE_SP,  /* far pointer: operand size + 2 */
	OPTABLE_SG,  /* GDT register: SN + 2 */
	OPTABLE_SA,  /* two of the operand size */
	OPTABLE_SIZES,
};

/* Registers of OPTABLE_FIXED and OPTABLE_SEG */
enum { OPTABLE_RAX, OPTABLE_RCX, OPTABLE_RDX };
enum {
	OPTABLE_ES,
	OPTABLE_CS,
	OPTABLE_SS,
	OPTABLE_DS,
	OPTABLE_FS,
	OPTABLE_GS,
};

/* size: as a register (or as used); size2: in memory (or as encoded). */
struct optable_spec {
	uint8_t from, size, size2;
};

extern const struct x86_desc optable_rows[];
extern const unsigned optable_row_count;
/* 1 + the last row of an opcode; 0: undefined */
extern const uint16_t optable_index[OPTABLE_MAPS][256];
extern const struct optable_spec optable_specs[];

#endif
