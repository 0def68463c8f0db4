/*
 * insn.h - a decoded x86 instruction, and the decoder.
 *
 * Source: Intel SDM volume 2 chapters 2-5 and appendix A (opcode maps), AMD
 * APM volume 3.
 *
 * The decoder is one set of tables (optable_*.inc): every opcode is a row that
 * says which operation it is, its operands, what it does to flags and what it
 * needs.  Interpreter, translator, traces and tests read the same rows.
 *
 * Operands are those of the Intel syntax in its order, with these notes:
 * - String instructions and XLAT have none: op, opsize, addrsize, seg tell.
 *   Likewise MASKMOVQ/MASKMOVDQU's destination seg:[rDI].
 * - LES, LDS, LSS, LFS, LGS (X86_LSS): register, memory, segment register.
 * - Implicit rAX/rDX of MUL, DIV, CMPXCHG8B, CBW, CWD, RDTSC, ... are absent;
 *   CL, AL/eAX, DX of shifts and I/O, and XMM0 of BLENDV and SHA256RNDS2 are
 *   operands.  D0/D1 shifts have an IMM of 1.
 * - size is what the instruction uses of the operand: MOVZX has 1 or 2 for its
 *   source.  A vector register is 16 or 32, also where only a part of it is
 *   used (ADDSD); the memory operand's size is exact (8).
 * - An immediate is sign-extended to 64 bits where the instruction extends it,
 *   and has the operand size; MOV r64, imm64 has all of it.  Moffs (A0..A3)
 *   is memory without base and index; 64 bits of offset: X86_REG_MOFFS.
 */
#ifndef HOSTEL_CPU_X86_INSN_H
#define HOSTEL_CPU_X86_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/x86/op.h"

#define X86_INSN_MAX 15

struct x86_cpu;
struct x86_insn;
/*
 * Executes one instruction. On entry cpu->rip is already the address of the
 * next instruction and cpu->insn == insn.  Faults do not return (cpu.h).
 */
typedef void x86_exec_fn(struct x86_cpu *cpu, const struct x86_insn *insn);

enum x86_operand_kind {
	X86_OPND_NONE,
	X86_OPND_GPR, /* reg 0..15; with high8: AH CH DH BH are reg 0..3 */
	X86_OPND_GPR_HIGH8,
	X86_OPND_MEM,  /* the insn's base/index/scale/disp/seg */
	X86_OPND_IMM,  /* insn->imm, sign-extended as the instruction does */
	X86_OPND_REL,  /* insn->imm: branch displacement from the next rip */
	X86_OPND_FAR,  /* ptr16:16/32: imm = offset, insn->sel = selector */
	X86_OPND_SREG, /* reg: enum x86_sreg */
	X86_OPND_CREG, /* reg: 0, 2, 3, 4, 8 */
	X86_OPND_DREG, /* reg: 0..7 */
	X86_OPND_MMX,  /* reg 0..7 */
	X86_OPND_VEC,  /* XMM or YMM by size: reg 0..15 */
	X86_OPND_ST,   /* x87 stack register: reg 0..7 */
};

/* access, from the row's point of view */
#define X86_ACC_R 1
#define X86_ACC_W 2

struct x86_operand {
	uint8_t kind; /* enum x86_operand_kind */
	uint8_t reg;
	uint8_t size;   /* bytes: 1, 2, 4, 6, 8, 10, 16, 32; 0: LEA-like, or
			 * larger areas (FXSAVE...) */
	uint8_t access; /* X86_ACC_* */
};

/* Prefixes and encoding found (x86_insn.prefix) */
#define X86_PFX_LOCK  0x0001
#define X86_PFX_REPE  0x0002 /* F3, where it is REP/REPE, or ignored */
#define X86_PFX_REPNE 0x0004
#define X86_PFX_66    0x0008
#define X86_PFX_67    0x0010
#define X86_PFX_SEG   0x0020 /* an effective segment override */
#define X86_PFX_REX   0x0040
#define X86_PFX_REXW  0x0080 /* REX.W or VEX.W */
#define X86_PFX_VEX   0x0100
#define X86_PFX_VEXL  0x0200

#define X86_NO_REG    0xff
#define X86_REG_RIP   0x10 /* base: RIP-relative */
#define X86_REG_MOFFS 0x11 /* base: the offset is imm, 64 bits, and no disp */

/* What class of execution an instruction belongs to. */
enum x86_class {
	X86_CLASS_INT,    /* integer, user mode: interpreter/int_*.c */
	X86_CLASS_FLOW,   /* branches, calls, interrupts: interpreter/flow.c */
	X86_CLASS_STRING, /* MOVS, STOS, ... INS, OUTS */
	X86_CLASS_SYSTEM, /* privileged or sensitive: interpreter/system.c */
	X86_CLASS_X87,    /* run on the host through a thunk: x86/thunk.h */
	X86_CLASS_MMX,
	X86_CLASS_SSE,     /* legacy encoding */
	X86_CLASS_AVX,     /* VEX encoding */
	X86_CLASS_FPSTATE, /* FXSAVE, XSAVE, LDMXCSR, VZEROUPPER, FNSAVE, ...:
			    * interpreter/fpstate.c */
};

/* Row attributes (x86_desc.attr) */
#define X86_ATTR_LOCK   0x0001 /* LOCK is allowed with a memory operand 0 */
#define X86_ATTR_NO64   0x0002 /* #UD in 64-bit code */
#define X86_ATTR_ONLY64 0x0004 /* #UD outside 64-bit code */
#define X86_ATTR_END    0x0008 /* ends a block: control flow or mode change */
/* memory operand must be aligned to its size: #GP(0) (legacy SSE 16-byte,
 * VMOVDQA...) */
#define X86_ATTR_ALIGN    0x0010
#define X86_ATTR_PROT     0x0020 /* #UD in real and virtual-8086 mode */
#define X86_ATTR_D64      0x0040 /* operand size defaults to 64 in 64-bit */
#define X86_ATTR_F64      0x0080 /* operand size forced to 64 in 64-bit */
#define X86_ATTR_PRIV     0x0100 /* #GP(0) unless CPL = 0 */
#define X86_ATTR_IO       0x0200 /* IOPL / I/O bitmap checked */
#define X86_ATTR_VSIB     0x0400 /* index is a vector register */
#define X86_ATTR_XM       0x0800 /* may raise a SIMD floating-point exception */
#define X86_ATTR_X87_WAIT 0x1000 /* checks pending x87 exceptions (#MF) */
#define X86_ATTR_BYTE     0x2000 /* byte form that operand 0 does not show */
#define X86_ATTR_LEVEL    0x4000 /* ENTER: a second immediate */

/*
 * One row of the opcode tables: static, shared, read-only.  The encoding of
 * operands inside the row is optable.c's own affair; readers use x86_insn.o[].
 */
struct x86_desc {
	const char *name;    /* Intel mnemonic in lower case */
	uint16_t op;         /* enum x86_op */
	uint8_t cls;         /* enum x86_class */
	uint8_t spec[4];     /* operand encodings: optable.h */
	uint8_t access;      /* X86_ACC_* of operand i at bit 2 * i */
	uint8_t first, last; /* opcodes that the row stands for */
	uint8_t map;         /* enum optable_map */
	uint8_t feature;     /* CPUID feature needed: enum x86_feature;
			      * 0: always present */
	uint16_t attr;       /* X86_ATTR_* */
	uint32_t match;      /* prefixes and ModRM fields: optable.h */
	/* Arithmetic flags (X86_FLAG_* bits fit 12 bits), unconditionally
	 * read, written (defined result), and left undefined.  For shifts and
	 * rotates by a variable count, and REP CMPS/SCAS, written flags may
	 * stay as they were: `maybe` says which. */
	uint16_t flags_read, flags_written, flags_undefined, flags_maybe;
};

struct x86_insn {
	x86_exec_fn *fn; /* interpreter's handler, set by it */
	const struct x86_desc *desc;
	uint64_t imm;
	int32_t disp;
	uint16_t op;      /* = desc->op */
	uint16_t prefix;  /* X86_PFX_* */
	uint8_t len;      /* bytes, 1..15 */
	uint8_t opsize;   /* operand size in bytes: 2, 4, 8 (1 for byte
			   * forms) */
	uint8_t addrsize; /* 2, 4, 8 */
	uint8_t map;      /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
	uint8_t opcode;   /* last opcode byte */
	uint8_t modrm;    /* raw, valid if has_modrm */
	bool has_modrm;
	bool has_mem;        /* one operand is X86_OPND_MEM */
	uint8_t seg;         /* effective segment of the memory operand */
	uint8_t base, index; /* gpr, X86_REG_RIP, _MOFFS, X86_NO_REG; index may
			      * be a vector register (VSIB) */
	uint8_t scale;       /* shift: 0..3 */
	uint8_t cond;        /* Jcc, SETcc, CMOVcc: low 4 bits of opcode */
	uint8_t imm_bytes;   /* size of the encoded immediate(s) */
	uint8_t vvvv;        /* VEX.vvvv as register number */
	uint8_t is4;         /* register in imm8[7:4], or X86_NO_REG */
	uint8_t rex;         /* W R X B as in REX (8, 4, 2, 1), VEX's too */
	uint8_t pp;          /* prefix that selected the row, numbered as
			      * VEX.pp: 0 none, 1 66, 2 F3, 3 F2 */
	uint16_t sel;        /* selector of a far pointer; ENTER's level */
	struct x86_operand o[4];
	void *thunk; /* NULL; thunk.c's own, set when executed */
};

enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_MORE, /* len bytes were not enough (and len < 15) */
	X86_DECODE_UD,   /* undefined: raise #UD; insn->len is not valid */
	X86_DECODE_GP,   /* longer than 15 bytes: #GP(0) */
};

/*
 * Decodes the instruction in bytes[0..len), in the code mode of `mode`
 * (X86_MODE_* of cpu.h; CODE16/32/64, REAL and VM86 matter).  Undefined
 * opcodes, LOCK where it is not allowed, VEX.vvvv != 1111 where it must be,
 * VEX with 66/F2/F3/LOCK/REX, and opcodes of features that the host or the
 * CPUID policy does not offer, are X86_DECODE_UD.  What depends on other
 * state (CR0.TS, CPL, ...) is the handler's affair.  No allocation, no state.
 */
enum x86_decode_result x86_decode(struct x86_insn *insn, const uint8_t *bytes,
				  unsigned len, unsigned mode);

/* The table, for tests and coverage: row i, NULL past the end. */
const struct x86_desc *x86_desc_at(unsigned i);

/*
 * Disassembly in Intel syntax by Zydis (disasm.c), for traces and gdb; writes
 * "(bad)" where Zydis knows none.  rip: for RIP-relative operands.
 */
void x86_disasm(char *out, unsigned out_len, const uint8_t *bytes, unsigned len,
		unsigned mode, uint64_t rip);

/* The effective address, without segment base, wrapped to addrsize. */
uint64_t x86_effective(const struct x86_cpu *cpu, const struct x86_insn *insn);

/*
 * Linear address of the memory operand for an access of `size` bytes: segment
 * base added; limit, type, null and canonical checks done (#GP/#SS).  Inline
 * for the common case is segment.h's affair.
 */
uint64_t x86_linear(struct x86_cpu *cpu, const struct x86_insn *insn,
		    unsigned size, bool write);
/* The same; #GP(0) unless it is a multiple of align, a power of two. */
uint64_t x86_linear_aligned(struct x86_cpu *cpu, const struct x86_insn *insn,
			    unsigned size, unsigned align, bool write);

#endif
