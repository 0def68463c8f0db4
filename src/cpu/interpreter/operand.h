/*
 * operand.h - reading and writing the operands of a decoded instruction.
 *
 * Values travel as uint64_t: zero-extended when read, cut when written.
 * Whatever touches memory may raise and then does not return, so a handler
 * reads everything before it changes anything.
 */
#ifndef HOSTEL_CPU_INTERPRETER_OPERAND_H
#define HOSTEL_CPU_INTERPRETER_OPERAND_H

#include "cpu/interpreter/hostflags.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"

static inline uint64_t interp_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

static inline int64_t interp_sext(uint64_t v, unsigned size)
{
	unsigned shift = 64 - size * 8;

	return (int64_t)(v << shift) >> shift;
}

static inline uint64_t interp_gpr(const struct x86_cpu *cpu, unsigned reg,
				  unsigned size)
{
	return cpu->gpr[reg & 15] & interp_mask(size);
}

/* 4 bytes zero-extend, 1 and 2 leave the rest (SDM 1, 3.4.1.1). */
static inline void interp_set_gpr(struct x86_cpu *cpu, unsigned reg,
				  unsigned size, uint64_t v)
{
	uint64_t *r = &cpu->gpr[reg & 15];

	switch (size) {
	case 1:
		*r = (*r & ~0xffull) | (uint8_t)v;
		break;
	case 2:
		*r = (*r & ~0xffffull) | (uint16_t)v;
		break;
	case 4:
		*r = (uint32_t)v;
		break;
	default:
		*r = v;
	}
}

static inline bool interp_is_mem(const struct x86_insn *insn, unsigned n)
{
	return insn->o[n].kind == X86_OPND_MEM;
}

/* A register or immediate operand. */
static inline uint64_t interp_read_reg(const struct x86_cpu *cpu,
				       const struct x86_insn *insn, unsigned n)
{
	const struct x86_operand *o = &insn->o[n];

	switch (o->kind) {
	case X86_OPND_GPR:
		return interp_gpr(cpu, o->reg, o->size);
	case X86_OPND_GPR_HIGH8:
		return cpu->gpr[o->reg & 3] >> 8 & 0xff;
	default:
		return insn->imm;
	}
}

static inline uint64_t interp_load(struct x86_cpu *cpu, uint64_t linear,
				   unsigned size)
{
	switch (size) {
	case 1:
		return x86_load8(cpu, linear);
	case 2:
		return x86_load16(cpu, linear);
	case 4:
		return x86_load32(cpu, linear);
	default:
		return x86_load64(cpu, linear);
	}
}

static inline void interp_store(struct x86_cpu *cpu, uint64_t linear,
				unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		x86_store8(cpu, linear, (uint8_t)v);
		break;
	case 2:
		x86_store16(cpu, linear, (uint16_t)v);
		break;
	case 4:
		x86_store32(cpu, linear, (uint32_t)v);
		break;
	default:
		x86_store64(cpu, linear, v);
	}
}

static inline uint64_t
interp_load_mem(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size)
{
	return interp_load(cpu, x86_linear(cpu, insn, size, false), size);
}

static inline void interp_store_mem(struct x86_cpu *cpu,
				    const struct x86_insn *insn, unsigned size,
				    uint64_t v)
{
	interp_store(cpu, x86_linear(cpu, insn, size, true), size, v);
}

static inline uint64_t interp_read(struct x86_cpu *cpu,
				   const struct x86_insn *insn, unsigned n)
{
	if (interp_is_mem(insn, n))
		return interp_load_mem(cpu, insn, insn->o[n].size);
	return interp_read_reg(cpu, insn, n);
}

static inline void interp_write_reg(struct x86_cpu *cpu,
				    const struct x86_insn *insn, unsigned n,
				    uint64_t v)
{
	const struct x86_operand *o = &insn->o[n];
	uint64_t *r;

	if (o->kind == X86_OPND_GPR_HIGH8) {
		r = &cpu->gpr[o->reg & 3];
		*r = (*r & ~0xff00ull) | (uint64_t)(uint8_t)v << 8;
	} else {
		interp_set_gpr(cpu, o->reg, o->size, v);
	}
}

static inline void interp_write(struct x86_cpu *cpu,
				const struct x86_insn *insn, unsigned n,
				uint64_t v)
{
	if (interp_is_mem(insn, n))
		interp_store_mem(cpu, insn, insn->o[n].size, v);
	else
		interp_write_reg(cpu, insn, n, v);
}

static inline bool interp_locked(const struct x86_insn *insn)
{
	return insn->prefix & X86_PFX_LOCK;
}

/* operand 0 = fn(operand 0, b), atomically with a LOCK prefix. */
void interp_modify(struct x86_cpu *cpu, const struct x86_insn *insn,
		   host_alu_fn *fn, uint64_t b);
/* The same for a memory operand at a linear address of the caller's. */
void interp_modify_at(struct x86_cpu *cpu, const struct x86_insn *insn,
		      uint64_t linear, unsigned size, host_alu_fn *fn,
		      uint64_t b);

/* LOCK CMPXCHG of 1, 2, 4 or 8 bytes at any host address; *old becomes what was
 * there. */
bool interp_host_cas(void *p, unsigned size, uint64_t *old, uint64_t new_value);
/* XCHG; returns what was there. */
uint64_t interp_host_xchg(void *p, unsigned size, uint64_t v);

/*
 * The condition of Jcc, SETcc, CMOVcc (SDM 1, appendix B); this one for a
 * condition that the compiler knows.
 */
static inline bool interp_cond_fixed(uint64_t f, unsigned cond)
{
	bool sf_ne_of = !(f & X86_FLAG_SF) != !(f & X86_FLAG_OF);
	bool r;

	switch (cond >> 1 & 7) {
	case 0:
		r = f & X86_FLAG_OF;
		break;
	case 1:
		r = f & X86_FLAG_CF;
		break;
	case 2:
		r = f & X86_FLAG_ZF;
		break;
	case 3:
		r = f & (X86_FLAG_CF | X86_FLAG_ZF);
		break;
	case 4:
		r = f & X86_FLAG_SF;
		break;
	case 5:
		r = f & X86_FLAG_PF;
		break;
	case 6:
		r = sf_ne_of;
		break;
	default:
		r = sf_ne_of || (f & X86_FLAG_ZF);
	}
	return r != (cond & 1);
}

/*
 * The same for any: bit `cond` of the row for OF SF ZF PF CF says whether the
 * condition holds.
 */
extern const uint16_t interp_cond_rows[32];

static inline bool interp_cond(uint64_t f, unsigned cond)
{
	unsigned row = (f & 1) | (f >> 1 & 2) | (f >> 4 & 12) | (f >> 7 & 16);

	return interp_cond_rows[row] >> (cond & 15) & 1;
}

/* --- The stack ----------------------------------------------------------- */

/* Bits of RSP that count (SDM 1, 6.2.3). */
static inline uint64_t interp_stack_mask(const struct x86_cpu *cpu)
{
	if (x86_code64(cpu))
		return UINT64_MAX;
	return cpu->mode & X86_MODE_STACK32 ? UINT32_MAX : UINT16_MAX;
}

/* RSP or RBP moves by n; the bits that do not count stay. */
static inline void interp_stack_set(struct x86_cpu *cpu, unsigned reg,
				    uint64_t v)
{
	interp_set_gpr(cpu, reg,
		       x86_code64(cpu)                ? 8
		       : cpu->mode & X86_MODE_STACK32 ? 4
						      : 2,
		       v);
}

static inline void interp_stack_add(struct x86_cpu *cpu, int64_t n)
{
	interp_stack_set(cpu, X86_RSP, cpu->gpr[X86_RSP] + n);
}

/* Linear address of the stack at an offset in SS. */
static inline uint64_t interp_stack_linear(struct x86_cpu *cpu, uint64_t off,
					   unsigned size, bool write)
{
	return x86_seg_linear(cpu, X86_SS, off & interp_stack_mask(cpu), size,
			      write);
}

/* The value `skip` bytes above the stack pointer, which stays. */
static inline uint64_t interp_stack_peek(struct x86_cpu *cpu, unsigned skip,
					 unsigned size)
{
	uint64_t off = cpu->gpr[X86_RSP] + skip;

	return interp_load(cpu, interp_stack_linear(cpu, off, size, false),
			   size);
}

#endif
