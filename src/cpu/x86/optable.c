/*
 * optable.c - the opcode tables, put together from optable_*.inc.
 *
 * The row files are included twice: once for the rows, once for the index
 * that finds an opcode's last row.  Below are the words that they use.
 */
#include "cpu/x86/optable.h"
#include "cpu/x86/bits.h"

/* --- x86_desc.match ------------------------------------------------------- */

#define MATCH(mask, value) ((uint32_t)(mask) << 16 | (value))
#define NOMRM              OPTABLE_NO_MODRM
#define PNP                MATCH(3, 0) /* none of 66, F3, F2 */
#define P66                MATCH(3, 1)
#define PF3                MATCH(3, 2)
#define PF2                MATCH(3, 3)
#define PNF                MATCH(2, 0) /* neither F3 nor F2; 66: size */
#define MEM                MATCH(OPTABLE_KEY_MOD3, 0)
#define MOD3               MATCH(OPTABLE_KEY_MOD3, OPTABLE_KEY_MOD3)
#define REG(n)             MATCH(7 << OPTABLE_KEY_REG, (n) << OPTABLE_KEY_REG)
#define RM(n)              MATCH(7 << OPTABLE_KEY_RM, (n) << OPTABLE_KEY_RM)
#define RR(reg, rm)        (MOD3 | REG(reg) | RM(rm))
#define W0                 MATCH(OPTABLE_KEY_W, 0)
#define W1                 MATCH(OPTABLE_KEY_W, OPTABLE_KEY_W)
#define L0                 MATCH(OPTABLE_KEY_L, 0)
#define L1                 MATCH(OPTABLE_KEY_L, OPTABLE_KEY_L)
#define REXB(n)            MATCH(OPTABLE_KEY_REXB, (n)*OPTABLE_KEY_REXB)
#define CODE64             MATCH(OPTABLE_KEY_CODE64, OPTABLE_KEY_CODE64)

/* --- attributes ------------------------------------------------------------
 */

enum {
	LOCK = X86_ATTR_LOCK,
	NO64 = X86_ATTR_NO64,
	ONLY64 = X86_ATTR_ONLY64,
	END = X86_ATTR_END,
	ALIGN = X86_ATTR_ALIGN,
	PROT = X86_ATTR_PROT,
	D64 = X86_ATTR_D64,
	F64 = X86_ATTR_F64,
	PRIV = X86_ATTR_PRIV,
	IO = X86_ATTR_IO,
	VSIB = X86_ATTR_VSIB,
	XM = X86_ATTR_XM,
	WAIT = X86_ATTR_X87_WAIT,
	BYTE = X86_ATTR_BYTE,
	LEVEL = X86_ATTR_LEVEL,
};

/* --- operand access: W write, M modify; what is not said is read ------------
 */

enum {
	ACC_R = 0x55,
	ACC_W = 0x56,   /* write, read... */
	ACC_M = 0x57,   /* modify, read... */
	ACC_WW = 0x5a,  /* MULX */
	ACC_MM = 0x5f,  /* XCHG, XADD */
	ACC_WRW = 0x66, /* LSS */
	ACC_MRM = 0x77, /* gathers: the mask is cleared */
};

/* --- flags: read, written, undefined, maybe ----------------------------------
 */

enum {
	CF = X86_FLAG_CF,
	PF = X86_FLAG_PF,
	AF = X86_FLAG_AF,
	ZF = X86_FLAG_ZF,
	SF = X86_FLAG_SF,
	DF = X86_FLAG_DF,
	OF = X86_FLAG_OF,
	FLAGS = X86_FLAGS_ARITH,
};
#define FL_NONE  0, 0, 0, 0
#define FL_ARITH 0, FLAGS, 0, 0
#define FL_ALL   0, FLAGS, 0, 0
#define FL_CARRY CF, FLAGS, 0, 0
#define FL_LOGIC 0, FLAGS & ~AF, AF, 0
#define FL_INC   0, FLAGS & ~CF, 0, 0
#define FL_MUL   0, CF | OF, SF | ZF | AF | PF, 0
#define FL_UNDEF 0, 0, FLAGS, 0
/* By CL or imm8: OF is undefined unless the count is 1, nothing changes if it
 * is 0; CF of SHL, SHR and all of SHLD, SHRD also where it exceeds the size. */
#define FL_SHIFT_1 0, FLAGS & ~AF, AF, 0
#define FL_SHIFT_N 0, FLAGS & ~AF, AF | OF, FLAGS
#define FL_ROT_1   0, CF | OF, 0, 0
#define FL_ROT_N   0, CF | OF, OF, CF | OF
#define FL_RCL_1   CF, CF | OF, 0, 0
#define FL_RCL_N   CF, CF | OF, OF, CF | OF
#define FL_BT      0, CF, OF | SF | AF | PF, 0
#define FL_BSF     0, ZF, FLAGS & ~ZF, 0
#define FL_COUNT   0, CF | ZF, OF | SF | AF | PF, 0
#define FL_ZF      0, ZF, 0, 0
#define FL_CF      0, CF, 0, 0
#define FL_CMC     CF, CF, 0, 0
#define FL_ADCX    CF, CF, 0, 0
#define FL_ADOX    OF, OF, 0, 0
#define FL_DF      DF, 0, 0, 0
#define FL_WDF     0, DF, 0, 0
#define FL_SCAN    DF, FLAGS, 0, FLAGS
#define FL_DAA     AF | CF, FLAGS & ~OF, OF, 0
#define FL_AAA     AF, AF | CF, OF | SF | ZF | PF, 0
#define FL_AAM     0, SF | ZF | PF, OF | AF | CF, 0
#define FL_SAHF    0, FLAGS & ~OF, 0, 0
#define FL_LAHF    FLAGS & ~OF, 0, 0, 0
#define FL_READ    FLAGS | DF, 0, 0, 0
#define FL_WRITE   0, FLAGS | DF, 0, 0
#define FL_READ_CF CF, 0, 0, 0
#define FL_READ_ZF ZF, 0, 0, 0
#define FL_READ_OF OF, 0, 0, 0
#define FL_COMI    0, FLAGS, 0, 0
#define FL_ANDN    0, SF | ZF | OF | CF, AF | PF, 0
#define FL_BLS     0, ZF | SF | CF | OF, AF | PF, 0
#define FL_BEXTR   0, ZF | CF | OF, AF | SF | PF, 0
/* Conditions of Jcc, SETcc, CMOVcc */
#define FL_CC_O  OF, 0, 0, 0
#define FL_CC_B  CF, 0, 0, 0
#define FL_CC_Z  ZF, 0, 0, 0
#define FL_CC_BE CF | ZF, 0, 0, 0
#define FL_CC_S  SF, 0, 0, 0
#define FL_CC_P  PF, 0, 0, 0
#define FL_CC_L  SF | OF, 0, 0, 0
#define FL_CC_LE SF | OF | ZF, 0, 0, 0

/* --- families of rows
 * --------------------------------------------------------- */

#define ROW1(opcode, ...) ROW(opcode, opcode, __VA_ARGS__)

#define ARITH_TO(b, name, OP, flags, access, attr)                            \
	ROW1(b, 0, name, OP, INT, Eb, Gb, NO, NO, access, flags, attr, NONE)  \
	ROW1(b + 1, 0, name, OP, INT, Ev, Gv, NO, NO, access, flags, attr,    \
	     NONE)                                                            \
	ROW1(b + 2, 0, name, OP, INT, Gb, Eb, NO, NO, access, flags, 0, NONE) \
	ROW1(b + 3, 0, name, OP, INT, Gv, Ev, NO, NO, access, flags, 0, NONE) \
	ROW1(b + 4, NOMRM, name, OP, INT, AL, Ib, NO, NO, access, flags, 0,   \
	     NONE)                                                            \
	ROW1(b + 5, NOMRM, name, OP, INT, rAX, Iz, NO, NO, access, flags, 0,  \
	     NONE)
#define ARITH(b, name, OP, flags, attr) ARITH_TO(b, name, OP, flags, M, attr)
#define ARITH_CMP(b, name, OP, flags)   ARITH_TO(b, name, OP, flags, R, 0)

#define GROUP1_ROW(b, n, name, OP, E, I, access, flags, attr) \
	ROW1(b, REG(n), name, OP, INT, E, I, NO, NO, access, flags, attr, NONE)
#define GROUP1(b, E, I, attr)                                     \
	GROUP1_ROW(b, 0, add, ADD, E, I, M, ARITH, (attr) | LOCK) \
	GROUP1_ROW(b, 1, or, OR, E, I, M, LOGIC, (attr) | LOCK)   \
	GROUP1_ROW(b, 2, adc, ADC, E, I, M, CARRY, (attr) | LOCK) \
	GROUP1_ROW(b, 3, sbb, SBB, E, I, M, CARRY, (attr) | LOCK) \
	GROUP1_ROW(b, 4, and, AND, E, I, M, LOGIC, (attr) | LOCK) \
	GROUP1_ROW(b, 5, sub, SUB, E, I, M, ARITH, (attr) | LOCK) \
	GROUP1_ROW(b, 6, xor, XOR, E, I, M, LOGIC, (attr) | LOCK) \
	GROUP1_ROW(b, 7, cmp, CMP, E, I, R, ARITH, attr)

/* /6 is SHL once more (SAL). */
#define GROUP2(b, E, I, shift, rot, carry)            \
	GROUP1_ROW(b, 0, rol, ROL, E, I, M, rot, 0)   \
	GROUP1_ROW(b, 1, ror, ROR, E, I, M, rot, 0)   \
	GROUP1_ROW(b, 2, rcl, RCL, E, I, M, carry, 0) \
	GROUP1_ROW(b, 3, rcr, RCR, E, I, M, carry, 0) \
	GROUP1_ROW(b, 4, shl, SHL, E, I, M, shift, 0) \
	GROUP1_ROW(b, 5, shr, SHR, E, I, M, shift, 0) \
	GROUP1_ROW(b, 6, shl, SHL, E, I, M, shift, 0) \
	GROUP1_ROW(b, 7, sar, SAR, E, I, M, shift, 0)

#define GROUP3(b, E, I)                                   \
	GROUP1_ROW(b, 0, test, TEST, E, I, R, LOGIC, 0)   \
	GROUP1_ROW(b, 1, test, TEST, E, I, R, LOGIC, 0)   \
	GROUP1_ROW(b, 2, not, NOT, E, NO, M, NONE, LOCK)  \
	GROUP1_ROW(b, 3, neg, NEG, E, NO, M, ARITH, LOCK) \
	GROUP1_ROW(b, 4, mul, MUL, E, NO, R, MUL, 0)      \
	GROUP1_ROW(b, 5, imul, IMUL1, E, NO, R, MUL, 0)   \
	GROUP1_ROW(b, 6, div, DIV, E, NO, R, UNDEF, 0)    \
	GROUP1_ROW(b, 7, idiv, IDIV, E, NO, R, UNDEF, 0)

#define JCC_ROW(b, cc, flags, J)                                             \
	ROW1(b, NOMRM, j##cc, JCC, FLOW, J, NO, NO, NO, R, flags, F64 | END, \
	     NONE)
#define SETCC_ROW(b, cc, flags, E) \
	ROW1(b, 0, set##cc, SETCC, INT, E, NO, NO, NO, W, flags, 0, NONE)
#define CMOV_ROW(b, cc, flags, G) \
	ROW1(b, 0, cmov##cc, CMOVCC, INT, G, Ev, NO, NO, M, flags, 0, NONE)
#define COND16(row, base, opnd)                                               \
	row(base, o, CC_O, opnd) row(base + 1, no, CC_O, opnd) row(           \
		base + 2, b, CC_B, opnd) row(base + 3, nb, CC_B, opnd)        \
		row(base + 4, z, CC_Z, opnd) row(base + 5, nz, CC_Z, opnd)    \
			row(base + 6, be, CC_BE,                              \
			    opnd) row(base + 7, nbe, CC_BE,                   \
				      opnd) row(base + 8, s, CC_S, opnd)      \
				row(base + 9, ns, CC_S, opnd) row(            \
					base + 10, p, CC_P,                   \
					opnd) row(base + 11, np, CC_P, opnd)  \
					row(base + 12, l, CC_L, opnd) row(    \
						base + 13, nl, CC_L, opnd)    \
						row(base + 14, le, CC_LE,     \
						    opnd) row(base + 15, nle, \
							      CC_LE, opnd)

/* x87 */
#define X87(opcode, match, name, o0, o1, access, flags)                      \
	ROW1(opcode, match, name, THUNK, X87, o0, o1, NO, NO, access, flags, \
	     WAIT, NONE)
#define X87_NOWAIT(opcode, match, name, o0, o1, access)                        \
	ROW1(opcode, match, name, THUNK, X87, o0, o1, NO, NO, access, NONE, 0, \
	     NONE)
#define X87_ARITH(opcode, mem, r0, r1, r2, r3, r4, r5, r6, r7) \
	X87(opcode, MEM | REG(0), r0, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(1), r1, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(2), r2, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(3), r3, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(4), r4, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(5), r5, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(6), r6, mem, NO, R, NONE)        \
	X87(opcode, MEM | REG(7), r7, mem, NO, R, NONE)
#define X87_ARITH_REG(opcode, o0, o1, r0, r1, r4, r5, r6, r7) \
	X87(opcode, MOD3 | REG(0), r0, o0, o1, M, NONE)       \
	X87(opcode, MOD3 | REG(1), r1, o0, o1, M, NONE)       \
	X87(opcode, MOD3 | REG(4), r4, o0, o1, M, NONE)       \
	X87(opcode, MOD3 | REG(5), r5, o0, o1, M, NONE)       \
	X87(opcode, MOD3 | REG(6), r6, o0, o1, M, NONE)       \
	X87(opcode, MOD3 | REG(7), r7, o0, o1, M, NONE)

/* MMX and SSE */
#define SSE(opcode, match, name, o0, o1, o2, access, attr, feature)         \
	ROW1(opcode, match, name, THUNK, SSE, o0, o1, o2, NO, access, NONE, \
	     attr, feature)
#define MMX(opcode, match, name, o0, o1, o2, access, feature)               \
	ROW1(opcode, match, name, THUNK, MMX, o0, o1, o2, NO, access, NONE, \
	     WAIT, feature)
#define SSE_PACKED(opcode, name, access, attr)                              \
	SSE(opcode, PNP, name##s, Vo, Wo, NO, access, (attr) | ALIGN, NONE) \
	SSE(opcode, P66, name##d, Vo, Wo, NO, access, (attr) | ALIGN, NONE)
#define SSE_SCALAR(opcode, name)                           \
	SSE(opcode, PF3, name##s, Vo, Wd, NO, M, XM, NONE) \
	SSE(opcode, PF2, name##d, Vo, Wq, NO, M, XM, NONE)
#define SSE_COMI(opcode, match, name, mem)                                  \
	ROW1(opcode, match, name, THUNK, SSE, Vo, mem, NO, NO, R, COMI, XM, \
	     NONE)
#define MMX_SSE(opcode, name, access, feature)              \
	MMX(opcode, PNP, name, Pq, Qq, NO, access, feature) \
	SSE(opcode, P66, name, Vo, Wo, NO, access, ALIGN, feature)
#define MMX_SSE_LOW(opcode, name)                   \
	MMX(opcode, PNP, name, Pq, Qd, NO, M, NONE) \
	SSE(opcode, P66, name, Vo, Wo, NO, M, ALIGN, NONE)
#define MMX_SSE_SHIFT(opcode, reg, name)                       \
	MMX(opcode, PNP | REG(reg), name, Nq, Ib, NO, M, NONE) \
	SSE(opcode, P66 | REG(reg), name, Uo, Ib, NO, M, 0, NONE)

/* VEX: the destination is written whole. */
#define AVX(opcode, match, name, o0, o1, o2, o3, attr, feature)              \
	ROW1(opcode, match, name, THUNK, AVX, o0, o1, o2, o3, W, NONE, attr, \
	     feature)
/* 128 bits are AVX, 256 bits AVX2. */
#define AVX_BOTH(opcode, match, name, o0, o1, o2, o3)         \
	AVX(opcode, match | L0, name, o0, o1, o2, o3, 0, AVX) \
	AVX(opcode, match | L1, name, o0, o1, o2, o3, 0, AVX2)
#define AVX_INT(opcode, name) AVX_BOTH(opcode, P66, name, Vx, Hx, Wx, NO)
#define AVX_PACKED(opcode, name, attr)                       \
	AVX(opcode, PNP, name##s, Vx, Hx, Wx, NO, attr, AVX) \
	AVX(opcode, P66, name##d, Vx, Hx, Wx, NO, attr, AVX)
#define AVX_SCALAR(opcode, name)                           \
	AVX(opcode, PF3, name##s, Vo, Ho, Wd, NO, XM, AVX) \
	AVX(opcode, PF2, name##d, Vo, Ho, Wq, NO, XM, AVX)
#define AVX_COMI(opcode, match, name, o0, o1, attr)                          \
	ROW1(opcode, match, name, THUNK, AVX, o0, o1, NO, NO, R, COMI, attr, \
	     AVX)
#define FMA(opcode, match, name, o0, o1, o2) \
	ROW1(opcode, match, name, THUNK, AVX, o0, o1, o2, NO, M, NONE, XM, FMA)
#define FMA_PACKED(opcode, name)                   \
	FMA(opcode, P66 | W0, name##s, Vx, Hx, Wx) \
	FMA(opcode, P66 | W1, name##d, Vx, Hx, Wx)
#define FMA_SCALAR(opcode, name)                   \
	FMA(opcode, P66 | W0, name##s, Vo, Ho, Wd) \
	FMA(opcode, P66 | W1, name##d, Vo, Ho, Wq)
#define GATHER(opcode, match, name, o0, o1, o2)                            \
	ROW1(opcode, P66 | match, name, VGATHER, AVX, o0, o1, o2, NO, MRM, \
	     NONE, VSIB, AVX2)
#define BMI(opcode, match, name, OP, o0, o1, o2, flags, feature) \
	ROW1(opcode, match, name, OP, INT, o0, o1, o2, NO, W, flags, 0, feature)

/* --- operand encodings
 * ----------------------------------------------------------- */

enum {
#define SPEC(name, from, size, size2) SPEC_##name,
#include "optable_specs.inc"
#undef SPEC
};

const struct optable_spec optable_specs[] = {
#define SPEC(name, from, size, size2) \
	{ OPTABLE_##from, OPTABLE_##size, OPTABLE_##size2 },
#include "optable_specs.inc"
#undef SPEC
};

/* --- rows --------------------------------------------------------------------
 */

#define ROW(lo, hi, key, insn, OP, class, o0, o1, o2, o3, acc, flags, attrs, \
	    feat)                                                            \
	{ .name = #insn,                                                     \
	  .op = X86_##OP,                                                    \
	  .cls = X86_CLASS_##class,                                          \
	  .spec = { SPEC_##o0, SPEC_##o1, SPEC_##o2, SPEC_##o3 },            \
	  .access = ACC_##acc,                                               \
	  .first = lo,                                                       \
	  .last = hi,                                                        \
	  .map = MAP,                                                        \
	  .feature = X86_FEAT_##feat,                                        \
	  .attr = attrs,                                                     \
	  .match = key,                                                      \
	  .flags_read = FL_##flags },
const struct x86_desc optable_rows[] = {
#define MAP OPTABLE_1BYTE
#include "optable_1byte.inc"
#include "optable_x87.inc"
#undef MAP
#define MAP OPTABLE_0F
#include "optable_0f.inc"
#include "optable_0f_simd.inc"
#undef MAP
#define MAP OPTABLE_0F38
#include "optable_0f38.inc"
#include "optable_0f38_simd.inc"
#undef MAP
#define MAP OPTABLE_0F3A
#include "optable_0f3a.inc"
#undef MAP
#define MAP OPTABLE_VEX_0F
#include "optable_vex_0f.inc"
#undef MAP
#define MAP OPTABLE_VEX_0F38
#include "optable_vex_0f38.inc"
#undef MAP
#define MAP OPTABLE_VEX_0F3A
#include "optable_vex_0f3a.inc"
#undef MAP
};
#undef ROW

const unsigned optable_row_count =
	sizeof(optable_rows) / sizeof(optable_rows[0]);

/* --- index: 1 + the last row of every opcode
 * ----------------------------------- */

/* A later row of an opcode is meant to take an earlier one's place. */
#pragma GCC diagnostic ignored "-Woverride-init"

enum { optable_base = __COUNTER__ };
#define ROW(lo, hi, ...) [lo... hi] = __COUNTER__ - optable_base,
const uint16_t optable_index[OPTABLE_MAPS][256] = {
	[OPTABLE_1BYTE] = {
#include "optable_1byte.inc"
#include "optable_x87.inc"
	},
	[OPTABLE_0F] = {
#include "optable_0f.inc"
#include "optable_0f_simd.inc"
	},
	[OPTABLE_0F38] = {
#include "optable_0f38.inc"
#include "optable_0f38_simd.inc"
	},
	[OPTABLE_0F3A] = {
#include "optable_0f3a.inc"
	},
	[OPTABLE_VEX_0F] = {
#include "optable_vex_0f.inc"
	},
	[OPTABLE_VEX_0F38] = {
#include "optable_vex_0f38.inc"
	},
	[OPTABLE_VEX_0F3A] = {
#include "optable_vex_0f3a.inc"
	},
};
#undef ROW
