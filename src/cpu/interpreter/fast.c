/*
 * fast.c - handlers for the commonest forms of the commonest instructions.
 *
 * The generic handlers ask for each operand what it is; these are made, by
 * macros, for one operation, one width and one form each:
 *
 *	rr	register, register	rm	register, memory
 *	ri	register, immediate	mr	memory, register
 *					mi	memory, immediate
 *
 * fast_select() picks one when an instruction is decoded.  Invariants:
 * - Registers here are never AH..DH; memory operands have 64-bit addresses, so
 *   that the code is 64-bit code and only FS and GS have a base.
 * - Memory is touched only through a TLB entry that allows it.  Without one,
 *   and for anything else out of the ordinary, the handler has changed nothing
 *   yet and calls the generic one, which raises what there is to raise.
 * - LOCK is not for them.
 *
 * Memory operands of 16- and 32-bit code are left to the generic handlers.
 */
#include "cpu/interpreter/fast.h"

#include <stddef.h>
#include <string.h>

#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/table.h"

/* --- Operands ------------------------------------------------------------ */

static inline uint64_t fast_ea(const struct x86_cpu *cpu,
			       const struct x86_insn *insn)
{
	uint64_t ea = (uint64_t)(int64_t)insn->disp;

	if (insn->base < X86_REG_RIP)
		ea += cpu->gpr[insn->base];
	else if (insn->base == X86_REG_RIP)
		ea += cpu->rip;
	if (insn->index < 16)
		ea += cpu->gpr[insn->index] << insn->scale;
	return ea;
}

/* Where the memory operand lies in the host, or NULL. */
static inline void *fast_mem(struct x86_cpu *cpu, const struct x86_insn *insn,
			     unsigned size, unsigned write)
{
	uint64_t linear = fast_ea(cpu, insn);

	if (insn->seg >= X86_FS)
		linear += cpu->seg[insn->seg].base;
	return x86_tlb_lookup(cpu, linear, size, x86_tlb_kind(cpu) | write);
}

static inline void fast_set8(struct x86_cpu *cpu, unsigned reg, uint8_t v)
{
	cpu->gpr[reg] = (cpu->gpr[reg] & ~0xffull) | v;
}

static inline void fast_set16(struct x86_cpu *cpu, unsigned reg, uint16_t v)
{
	cpu->gpr[reg] = (cpu->gpr[reg] & ~0xffffull) | v;
}

static inline void fast_set32(struct x86_cpu *cpu, unsigned reg, uint32_t v)
{
	cpu->gpr[reg] = v;
}

static inline void fast_set64(struct x86_cpu *cpu, unsigned reg, uint64_t v)
{
	cpu->gpr[reg] = v;
}

#define FAST_LOAD(bits)                                                \
	static inline uint##bits##_t fast_load##bits(const void *p)    \
	{                                                              \
		uint##bits##_t v;                                      \
		memcpy(&v, p, sizeof(v));                              \
		return v;                                              \
	}                                                              \
	static inline void fast_store##bits(void *p, uint##bits##_t v) \
	{                                                              \
		memcpy(p, &v, sizeof(v));                              \
	}
FAST_LOAD(8)
FAST_LOAD(16)
FAST_LOAD(32)
FAST_LOAD(64)

static void fast_generic(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_exec[insn->op](cpu, insn);
}

#define FAST_FN(name) \
	static void name(struct x86_cpu *cpu, const struct x86_insn *insn)

/* Names p, the host address of the memory operand; or leaves. */
#define FAST_MEM(bits, write)                           \
	void *p = fast_mem(cpu, insn, bits / 8, write); \
	if (__builtin_expect(!p, 0)) {                  \
		fast_generic(cpu, insn);                \
		return;                                 \
	}

#define FAST_REG(n) (insn->o[n].reg)
#define FAST_GPR(n) (cpu->gpr[FAST_REG(n)])

/* --- Two operands, arithmetic -------------------------------------------- */

/* writes: the result goes to operand 0; else only flags. */
#define FAST_ALU_OPS(X)  \
	X(ADD, "add", 1) \
	X(OR, "or", 1)   \
	X(AND, "and", 1) \
	X(SUB, "sub", 1) \
	X(XOR, "xor", 1) \
	X(CMP, "cmp", 0) \
	X(TEST, "test", 0)

#define FAST_ALU_FNS(NAME, mnemonic, writes, bits)                             \
	static inline uint##bits##_t fast_##NAME##bits(                        \
		struct x86_cpu *cpu, uint##bits##_t a, uint##bits##_t b)       \
	{                                                                      \
		uint32_t ax;                                                   \
		__asm__(mnemonic " %[b], %[a]" HOST_FLAGS_SAVE                 \
			: [a] "+r"(a), "=&a"(ax)                               \
			: [b] "r"(b)                                           \
			: "cc");                                               \
		cpu->rflags = host_flags_merge(cpu->rflags, ax);               \
		return a;                                                      \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_rr)                                        \
	{                                                                      \
		uint##bits##_t v =                                             \
			fast_##NAME##bits(cpu, (uint##bits##_t)FAST_GPR(0),    \
					  (uint##bits##_t)FAST_GPR(1));        \
		if (writes)                                                    \
			fast_set##bits(cpu, FAST_REG(0), v);                   \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_ri)                                        \
	{                                                                      \
		uint##bits##_t v =                                             \
			fast_##NAME##bits(cpu, (uint##bits##_t)FAST_GPR(0),    \
					  (uint##bits##_t)insn->imm);          \
		if (writes)                                                    \
			fast_set##bits(cpu, FAST_REG(0), v);                   \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_rm)                                        \
	{                                                                      \
		FAST_MEM(bits, 0)                                              \
		uint##bits##_t v = fast_##NAME##bits(                          \
			cpu, (uint##bits##_t)FAST_GPR(0), fast_load##bits(p)); \
		if (writes)                                                    \
			fast_set##bits(cpu, FAST_REG(0), v);                   \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_mr)                                        \
	{                                                                      \
		FAST_MEM(bits, writes)                                         \
		uint##bits##_t v = fast_##NAME##bits(                          \
			cpu, fast_load##bits(p), (uint##bits##_t)FAST_GPR(1)); \
		if (writes)                                                    \
			fast_store##bits(p, v);                                \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_mi)                                        \
	{                                                                      \
		FAST_MEM(bits, writes)                                         \
		uint##bits##_t v = fast_##NAME##bits(                          \
			cpu, fast_load##bits(p), (uint##bits##_t)insn->imm);   \
		if (writes)                                                    \
			fast_store##bits(p, v);                                \
	}

#define X(NAME, mnemonic, writes)                \
	FAST_ALU_FNS(NAME, mnemonic, writes, 8)  \
	FAST_ALU_FNS(NAME, mnemonic, writes, 16) \
	FAST_ALU_FNS(NAME, mnemonic, writes, 32) \
	FAST_ALU_FNS(NAME, mnemonic, writes, 64)
FAST_ALU_OPS(X)
#undef X

/* ADC and SBB need the guest's CF first. */
#define FAST_CARRY_FNS(NAME, mnemonic, bits)                                 \
	static inline void fast_##NAME##bits(struct x86_cpu *cpu,            \
					     unsigned reg, uint##bits##_t b) \
	{                                                                    \
		uint##bits##_t a = (uint##bits##_t)cpu->gpr[reg];            \
		uint32_t ax;                                                 \
		__asm__("btl $0, %k[f]\n\t" mnemonic                         \
			" %[b], %[a]" HOST_FLAGS_SAVE                        \
			: [a] "+r"(a), "=&a"(ax)                             \
			: [b] "r"(b), [f] "r"(cpu->rflags)                   \
			: "cc");                                             \
		cpu->rflags = host_flags_merge(cpu->rflags, ax);             \
		fast_set##bits(cpu, reg, a);                                 \
	}                                                                    \
	FAST_FN(fast_##NAME##bits##_rr)                                      \
	{                                                                    \
		fast_##NAME##bits(cpu, FAST_REG(0),                          \
				  (uint##bits##_t)FAST_GPR(1));              \
	}                                                                    \
	FAST_FN(fast_##NAME##bits##_ri)                                      \
	{                                                                    \
		fast_##NAME##bits(cpu, FAST_REG(0),                          \
				  (uint##bits##_t)insn->imm);                \
	}                                                                    \
	FAST_FN(fast_##NAME##bits##_rm)                                      \
	{                                                                    \
		FAST_MEM(bits, 0)                                            \
		fast_##NAME##bits(cpu, FAST_REG(0), fast_load##bits(p));     \
	}

FAST_CARRY_FNS(ADC, "adc", 32)
FAST_CARRY_FNS(ADC, "adc", 64)
FAST_CARRY_FNS(SBB, "sbb", 32)
FAST_CARRY_FNS(SBB, "sbb", 64)

/* CMOVcc writes in either case: a 32-bit one clears the upper half. */
#define FAST_CMOV_FNS(bits)                                               \
	FAST_FN(fast_CMOV##bits##_r)                                      \
	{                                                                 \
		bool c = interp_cond(cpu->rflags, insn->cond);            \
		fast_set##bits(                                           \
			cpu, FAST_REG(0),                                 \
			(uint##bits##_t)(c ? FAST_GPR(1) : FAST_GPR(0))); \
	}                                                                 \
	FAST_FN(fast_CMOV##bits##_m)                                      \
	{                                                                 \
		FAST_MEM(bits, 0)                                         \
		bool c = interp_cond(cpu->rflags, insn->cond);            \
		fast_set##bits(cpu, FAST_REG(0),                          \
			       c ? fast_load##bits(p)                     \
				 : (uint##bits##_t)FAST_GPR(0));          \
	}

FAST_CMOV_FNS(32)
FAST_CMOV_FNS(64)

FAST_FN(fast_SETCC_r)
{
	fast_set8(cpu, FAST_REG(0), interp_cond(cpu->rflags, insn->cond));
}

/* --- One operand --------------------------------------------------------- */

/* INC and DEC leave CF alone. */
#define FAST_INC_FNS(NAME, mnemonic, bits)                                    \
	static inline uint##bits##_t fast_##NAME##bits(struct x86_cpu *cpu,   \
						       uint##bits##_t a)      \
	{                                                                     \
		uint64_t cf = cpu->rflags & X86_FLAG_CF;                      \
		uint32_t ax;                                                  \
		__asm__(mnemonic " %[a]" HOST_FLAGS_SAVE                      \
			: [a] "+r"(a), "=&a"(ax)                              \
			:                                                     \
			: "cc");                                              \
		cpu->rflags =                                                 \
			host_flags_merge(cpu->rflags, ax & ~0x100u) | cf;     \
		return a;                                                     \
	}                                                                     \
	FAST_FN(fast_##NAME##bits##_r)                                        \
	{                                                                     \
		fast_set##bits(                                               \
			cpu, FAST_REG(0),                                     \
			fast_##NAME##bits(cpu, (uint##bits##_t)FAST_GPR(0))); \
	}                                                                     \
	FAST_FN(fast_##NAME##bits##_m)                                        \
	{                                                                     \
		FAST_MEM(bits, 1)                                             \
		fast_store##bits(p,                                           \
				 fast_##NAME##bits(cpu, fast_load##bits(p))); \
	}

FAST_INC_FNS(INC, "inc", 32)
FAST_INC_FNS(INC, "inc", 64)
FAST_INC_FNS(DEC, "dec", 32)
FAST_INC_FNS(DEC, "dec", 64)

/* --- Moves --------------------------------------------------------------- */

#define FAST_MOV_FNS(bits)                                                     \
	FAST_FN(fast_MOV##bits##_rr)                                           \
	{                                                                      \
		fast_set##bits(cpu, FAST_REG(0), (uint##bits##_t)FAST_GPR(1)); \
	}                                                                      \
	FAST_FN(fast_MOV##bits##_ri)                                           \
	{                                                                      \
		fast_set##bits(cpu, FAST_REG(0), (uint##bits##_t)insn->imm);   \
	}                                                                      \
	FAST_FN(fast_MOV##bits##_rm)                                           \
	{                                                                      \
		FAST_MEM(bits, 0)                                              \
		fast_set##bits(cpu, FAST_REG(0), fast_load##bits(p));          \
	}                                                                      \
	FAST_FN(fast_MOV##bits##_mr)                                           \
	{                                                                      \
		FAST_MEM(bits, 1)                                              \
		fast_store##bits(p, (uint##bits##_t)FAST_GPR(1));              \
	}                                                                      \
	FAST_FN(fast_MOV##bits##_mi)                                           \
	{                                                                      \
		FAST_MEM(bits, 1)                                              \
		fast_store##bits(p, (uint##bits##_t)insn->imm);                \
	}

FAST_MOV_FNS(8)
FAST_MOV_FNS(16)
FAST_MOV_FNS(32)
FAST_MOV_FNS(64)

FAST_FN(fast_LEA32)
{
	fast_set32(cpu, FAST_REG(0), (uint32_t)fast_ea(cpu, insn));
}

FAST_FN(fast_LEA64)
{
	fast_set64(cpu, FAST_REG(0), fast_ea(cpu, insn));
}

/* MOVZX, MOVSX, MOVSXD: from `from` bits; type gives the sign. */
#define FAST_EXTEND_FNS(NAME, type, from, bits)                           \
	FAST_FN(fast_##NAME##from##_##bits##_r)                           \
	{                                                                 \
		fast_set##bits(cpu, FAST_REG(0),                          \
			       (uint##bits##_t)(type)FAST_GPR(1));        \
	}                                                                 \
	FAST_FN(fast_##NAME##from##_##bits##_m)                           \
	{                                                                 \
		FAST_MEM(from, 0)                                         \
		fast_set##bits(cpu, FAST_REG(0),                          \
			       (uint##bits##_t)(type)fast_load##from(p)); \
	}

/* Zero-extending to 64 bits is the same as to 32. */
FAST_EXTEND_FNS(MOVZX, uint8_t, 8, 32)
FAST_EXTEND_FNS(MOVZX, uint16_t, 16, 32)
FAST_EXTEND_FNS(MOVSX, int8_t, 8, 32)
FAST_EXTEND_FNS(MOVSX, int16_t, 16, 32)
FAST_EXTEND_FNS(MOVSX, int8_t, 8, 64)
FAST_EXTEND_FNS(MOVSX, int16_t, 16, 64)
FAST_EXTEND_FNS(MOVSX, int32_t, 32, 64)

/* --- Shifts of a register, multiplication -------------------------------- */

/* The count may be 0, which keeps the flags: they are loaded first. */
#define FAST_SHIFT_FNS(NAME, mnemonic, bits)                                   \
	static inline void fast_##NAME##bits(struct x86_cpu *cpu,              \
					     unsigned reg, uint8_t count)      \
	{                                                                      \
		uint##bits##_t a = (uint##bits##_t)cpu->gpr[reg];              \
		uint32_t ax = host_flags_pack(cpu->rflags);                    \
		__asm__(HOST_FLAGS_LOAD mnemonic " %%cl, %[a]" HOST_FLAGS_SAVE \
			: [a] "+r"(a), "+a"(ax)                                \
			: "c"(count)                                           \
			: "cc");                                               \
		cpu->rflags = host_flags_merge(cpu->rflags, ax);               \
		fast_set##bits(cpu, reg, a);                                   \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_ri)                                        \
	{                                                                      \
		fast_##NAME##bits(cpu, FAST_REG(0), (uint8_t)insn->imm);       \
	}                                                                      \
	FAST_FN(fast_##NAME##bits##_rr)                                        \
	{                                                                      \
		fast_##NAME##bits(cpu, FAST_REG(0), (uint8_t)FAST_GPR(1));     \
	}

#define FAST_SHIFT_OPS(X) \
	X(SHL, "shl")     \
	X(SHR, "shr")     \
	X(SAR, "sar")     \
	X(ROL, "rol")     \
	X(ROR, "ror")

#define X(NAME, mnemonic)                  \
	FAST_SHIFT_FNS(NAME, mnemonic, 32) \
	FAST_SHIFT_FNS(NAME, mnemonic, 64)
FAST_SHIFT_OPS(X)
#undef X

#define FAST_IMUL_FNS(bits)                                                    \
	static inline void fast_IMUL##bits(struct x86_cpu *cpu, unsigned reg,  \
					   uint##bits##_t a, uint##bits##_t b) \
	{                                                                      \
		uint32_t ax = host_flags_pack(cpu->rflags);                    \
		__asm__(HOST_FLAGS_LOAD "imul %[b], %[a]" HOST_FLAGS_SAVE      \
			: [a] "+r"(a), "+a"(ax)                                \
			: [b] "r"(b)                                           \
			: "cc");                                               \
		cpu->rflags = host_flags_merge(cpu->rflags, ax);               \
		fast_set##bits(cpu, reg, a);                                   \
	}                                                                      \
	FAST_FN(fast_IMUL##bits##_rr)                                          \
	{                                                                      \
		fast_IMUL##bits(cpu, FAST_REG(0), (uint##bits##_t)FAST_GPR(0), \
				(uint##bits##_t)FAST_GPR(1));                  \
	}                                                                      \
	FAST_FN(fast_IMUL##bits##_rm)                                          \
	{                                                                      \
		FAST_MEM(bits, 0)                                              \
		fast_IMUL##bits(cpu, FAST_REG(0), (uint##bits##_t)FAST_GPR(0), \
				fast_load##bits(p));                           \
	}                                                                      \
	FAST_FN(fast_IMUL##bits##_rri)                                         \
	{                                                                      \
		fast_IMUL##bits(cpu, FAST_REG(0), (uint##bits##_t)FAST_GPR(1), \
				(uint##bits##_t)insn->imm);                    \
	}

FAST_IMUL_FNS(32)
FAST_IMUL_FNS(64)

/* --- Flow, 64-bit code --------------------------------------------------- */

#define FAST_JCC(cond)                                     \
	FAST_FN(fast_JCC##cond)                            \
	{                                                  \
		uint64_t target = cpu->rip + insn->imm;    \
		if (!interp_cond_fixed(cpu->rflags, cond)) \
			return;                            \
		if (x86_canonical(cpu, target))            \
			cpu->rip = target;                 \
		else                                       \
			fast_generic(cpu, insn);           \
	}
FAST_JCC(0)
FAST_JCC(1)
FAST_JCC(2)
FAST_JCC(3)
FAST_JCC(4)
FAST_JCC(5)
FAST_JCC(6)
FAST_JCC(7)
FAST_JCC(8)
FAST_JCC(9)
FAST_JCC(10)
FAST_JCC(11)
FAST_JCC(12)
FAST_JCC(13)
FAST_JCC(14)
FAST_JCC(15)

FAST_FN(fast_JMP)
{
	uint64_t target = cpu->rip + insn->imm;

	if (x86_canonical(cpu, target))
		cpu->rip = target;
	else
		fast_generic(cpu, insn);
}

/* Host address of the 8 bytes at RSP + off, or NULL. */
static inline void *fast_stack(struct x86_cpu *cpu, int off, unsigned write)
{
	return x86_tlb_lookup(cpu, cpu->gpr[X86_RSP] + (int64_t)off, 8,
			      x86_tlb_kind(cpu) | write);
}

static inline bool fast_push(struct x86_cpu *cpu, uint64_t v)
{
	void *p = fast_stack(cpu, -8, 1);

	if (__builtin_expect(!p, 0))
		return false;
	fast_store64(p, v);
	cpu->gpr[X86_RSP] -= 8;
	return true;
}

FAST_FN(fast_PUSH_r)
{
	if (!fast_push(cpu, FAST_GPR(0)))
		fast_generic(cpu, insn);
}

FAST_FN(fast_PUSH_i)
{
	if (!fast_push(cpu, insn->imm))
		fast_generic(cpu, insn);
}

FAST_FN(fast_POP_r)
{
	void *p = fast_stack(cpu, 0, 0);

	if (__builtin_expect(!p, 0)) {
		fast_generic(cpu, insn);
		return;
	}
	cpu->gpr[X86_RSP] += 8;
	FAST_GPR(0) = fast_load64(p);
}

FAST_FN(fast_CALL)
{
	uint64_t target = cpu->rip + insn->imm;

	if (x86_canonical(cpu, target) && fast_push(cpu, cpu->rip))
		cpu->rip = target;
	else
		fast_generic(cpu, insn);
}

FAST_FN(fast_RET)
{
	void *p = fast_stack(cpu, 0, 0);
	uint64_t target = p ? fast_load64(p) : 0;

	if (__builtin_expect(!p || !x86_canonical(cpu, target), 0)) {
		fast_generic(cpu, insn);
		return;
	}
	cpu->gpr[X86_RSP] += 8;
	cpu->rip = target;
}

#define FAST_IND_FNS(NAME, act)                                          \
	static inline void fast_##NAME##_to(struct x86_cpu *cpu,         \
					    const struct x86_insn *insn, \
					    uint64_t target)             \
	{                                                                \
		if (x86_canonical(cpu, target) && (act))                 \
			cpu->rip = target;                               \
		else                                                     \
			fast_generic(cpu, insn);                         \
	}                                                                \
	FAST_FN(fast_##NAME##_r)                                         \
	{                                                                \
		fast_##NAME##_to(cpu, insn, FAST_GPR(0));                \
	}                                                                \
	FAST_FN(fast_##NAME##_m)                                         \
	{                                                                \
		FAST_MEM(64, 0)                                          \
		fast_##NAME##_to(cpu, insn, fast_load64(p));             \
	}

FAST_IND_FNS(JMP_IND, true)
FAST_IND_FNS(CALL_IND, fast_push(cpu, cpu->rip))

/* --- Tables -------------------------------------------------------------- */

enum fast_width { FAST_8, FAST_16, FAST_32, FAST_64, FAST_WIDTHS };
enum fast_form { FAST_RR, FAST_RI, FAST_RM, FAST_MR, FAST_MI, FAST_FORMS };

/* clang-format off */
#define FAST_ROW(name) { name##_rr, name##_ri, name##_rm, name##_mr, name##_mi }
#define FAST_ROWS(NAME) \
	{ FAST_ROW(fast_##NAME##8), FAST_ROW(fast_##NAME##16), \
	  FAST_ROW(fast_##NAME##32), FAST_ROW(fast_##NAME##64) }

static x86_exec_fn *const fast_two[X86_OP_COUNT][FAST_WIDTHS][FAST_FORMS] = {
#define X(NAME, mnemonic, writes) [X86_##NAME] = FAST_ROWS(NAME),
	FAST_ALU_OPS(X)
#undef X
	[X86_MOV] = FAST_ROWS(MOV),
#define X(NAME, mnemonic) [X86_##NAME] = { \
	[FAST_32] = { fast_##NAME##32_rr, fast_##NAME##32_ri }, \
	[FAST_64] = { fast_##NAME##64_rr, fast_##NAME##64_ri } },
	FAST_SHIFT_OPS(X)
#undef X
#define X(NAME) [X86_##NAME] = { \
	[FAST_32] = { fast_##NAME##32_rr, fast_##NAME##32_ri, \
		      fast_##NAME##32_rm }, \
	[FAST_64] = { fast_##NAME##64_rr, fast_##NAME##64_ri, \
		      fast_##NAME##64_rm } },
	X(ADC) X(SBB)
#undef X
	[X86_CMOVCC] = {
		[FAST_32] = { fast_CMOV32_r, NULL, fast_CMOV32_m },
		[FAST_64] = { fast_CMOV64_r, NULL, fast_CMOV64_m },
	},
	[X86_IMUL2] = {
		[FAST_32] = { fast_IMUL32_rr, NULL, fast_IMUL32_rm },
		[FAST_64] = { fast_IMUL64_rr, NULL, fast_IMUL64_rm },
	},
};

/* [memory][from 16 bits] */
static x86_exec_fn *const fast_movzx[2][2] = {
	{ fast_MOVZX8_32_r, fast_MOVZX16_32_r },
	{ fast_MOVZX8_32_m, fast_MOVZX16_32_m },
};
/* [to 64 bits][memory][from 16 bits] */
static x86_exec_fn *const fast_movsx[2][2][2] = {
	{ { fast_MOVSX8_32_r, fast_MOVSX16_32_r },
	  { fast_MOVSX8_32_m, fast_MOVSX16_32_m } },
	{ { fast_MOVSX8_64_r, fast_MOVSX16_64_r },
	  { fast_MOVSX8_64_m, fast_MOVSX16_64_m } },
};

static x86_exec_fn *const fast_jcc[16] = {
	fast_JCC0, fast_JCC1, fast_JCC2, fast_JCC3, fast_JCC4, fast_JCC5,
	fast_JCC6, fast_JCC7, fast_JCC8, fast_JCC9, fast_JCC10, fast_JCC11,
	fast_JCC12, fast_JCC13, fast_JCC14, fast_JCC15,
};
/* clang-format on */

/* --- Selection ----------------------------------------------------------- */

/* Registers and 64-bit addresses only; see the invariants above. */
static bool fast_operands_fit(const struct x86_insn *insn)
{
	unsigned n;

	if (insn->prefix & X86_PFX_LOCK ||
	    (insn->has_mem &&
	     (insn->addrsize != 8 || insn->base == X86_REG_MOFFS)))
		return false;
	for (n = 0; n < 3; n++)
		switch (insn->o[n].kind) {
		case X86_OPND_NONE:
		case X86_OPND_GPR:
		case X86_OPND_MEM:
		case X86_OPND_IMM:
		case X86_OPND_REL:
			break;
		default:
			return false;
		}
	return true;
}

static int fast_width_of(unsigned size)
{
	return size == 1   ? FAST_8
	       : size == 2 ? FAST_16
	       : size == 4 ? FAST_32
	       : size == 8 ? FAST_64
			   : -1;
}

static int fast_form_of(const struct x86_insn *insn)
{
	unsigned a = insn->o[0].kind, b = insn->o[1].kind;

	if (insn->o[2].kind != X86_OPND_NONE)
		return -1;
	if (a == X86_OPND_GPR)
		return b == X86_OPND_GPR   ? FAST_RR
		       : b == X86_OPND_IMM ? FAST_RI
		       : b == X86_OPND_MEM ? FAST_RM
					   : -1;
	if (a == X86_OPND_MEM)
		return b == X86_OPND_GPR   ? FAST_MR
		       : b == X86_OPND_IMM ? FAST_MI
					   : -1;
	return -1;
}

static x86_exec_fn *fast_select_two(const struct x86_insn *insn)
{
	int width = fast_width_of(insn->o[0].size), form = fast_form_of(insn);

	if (insn->op == X86_IMUL2 && insn->o[2].kind == X86_OPND_IMM &&
	    insn->o[1].kind == X86_OPND_GPR && width > FAST_16)
		return width == FAST_32 ? fast_IMUL32_rri : fast_IMUL64_rri;
	if (width < 0 || form < 0)
		return NULL;
	return fast_two[insn->op][width][form];
}

static x86_exec_fn *fast_select_extend(const struct x86_insn *insn)
{
	bool mem = interp_is_mem(insn, 1), from16 = insn->o[1].size == 2;
	bool to64 = insn->o[0].size == 8;

	if (insn->o[0].size < 4)
		return NULL;
	if (insn->op == X86_MOVZX)
		return fast_movzx[mem][from16];
	if (insn->op == X86_MOVSX)
		return fast_movsx[to64][mem][from16];
	if (!to64)
		return NULL;
	return mem ? fast_MOVSX32_64_m : fast_MOVSX32_64_r;
}

static x86_exec_fn *fast_select_one(const struct x86_insn *insn)
{
	bool mem = interp_is_mem(insn, 0), wide = insn->o[0].size == 8;

	if (insn->o[0].size < 4)
		return NULL;
	if (insn->op == X86_INC)
		return mem    ? wide ? fast_INC64_m : fast_INC32_m
		       : wide ? fast_INC64_r
			      : fast_INC32_r;
	return mem    ? wide ? fast_DEC64_m : fast_DEC32_m
	       : wide ? fast_DEC64_r
		      : fast_DEC32_r;
}

/* Stack and flow: 64-bit operands, thus 64-bit code. */
static x86_exec_fn *fast_select_flow(const struct x86_insn *insn)
{
	unsigned kind = insn->o[0].kind;

	if (insn->opsize != 8)
		return NULL;
	switch (insn->op) {
	case X86_JCC:
		return fast_jcc[insn->cond & 15];
	case X86_JMP:
		return fast_JMP;
	case X86_CALL:
		return fast_CALL;
	case X86_JMP_IND:
		return kind == X86_OPND_GPR ? fast_JMP_IND_r : fast_JMP_IND_m;
	case X86_CALL_IND:
		return kind == X86_OPND_GPR ? fast_CALL_IND_r : fast_CALL_IND_m;
	case X86_RET:
		return kind == X86_OPND_NONE ? fast_RET : NULL;
	case X86_POP:
		return kind == X86_OPND_GPR ? fast_POP_r : NULL;
	default:
		return kind == X86_OPND_GPR   ? fast_PUSH_r
		       : kind == X86_OPND_IMM ? fast_PUSH_i
					      : NULL;
	}
}

x86_exec_fn *fast_select(const struct x86_insn *insn)
{
	if (!fast_operands_fit(insn))
		return NULL;
	switch (insn->op) {
	case X86_MOVZX:
	case X86_MOVSX:
	case X86_MOVSXD:
		return fast_select_extend(insn);
	case X86_INC:
	case X86_DEC:
		return fast_select_one(insn);
	case X86_SETCC:
		return interp_is_mem(insn, 0) ? NULL : fast_SETCC_r;
	case X86_LEA:
		return insn->addrsize != 8    ? NULL
		       : insn->o[0].size == 8 ? fast_LEA64
		       : insn->o[0].size == 4 ? fast_LEA32
					      : NULL;
	case X86_JCC:
	case X86_JMP:
	case X86_JMP_IND:
	case X86_CALL:
	case X86_CALL_IND:
	case X86_RET:
	case X86_PUSH:
	case X86_POP:
		return fast_select_flow(insn);
	default:
		return insn->op < X86_OP_COUNT ? fast_select_two(insn) : NULL;
	}
}
