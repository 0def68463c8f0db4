/*
 * operand.c - conditions; operands in memory that are read and written in one
 * step.
 */
#include "cpu/interpreter/operand.h"

#include "cpu/x86/host_mem.h"

/* --- Conditions ------------------------------------------------------------
 */

#define OPERAND_HOLDS(even, cond) ((even) ? 1u << (cond) : 2u << (cond))
#define OPERAND_ROW_OF(cf, pf, zf, sf, of)                                    \
	(OPERAND_HOLDS(of, 0) | OPERAND_HOLDS(cf, 2) | OPERAND_HOLDS(zf, 4) | \
	 OPERAND_HOLDS((cf) || (zf), 6) | OPERAND_HOLDS(sf, 8) |              \
	 OPERAND_HOLDS(pf, 10) | OPERAND_HOLDS((sf) != (of), 12) |            \
	 OPERAND_HOLDS((zf) || (sf) != (of), 14))
#define OPERAND_ROW(i)                                                  \
	OPERAND_ROW_OF((i)&1, (i) >> 1 & 1, (i) >> 2 & 1, (i) >> 3 & 1, \
		       (i) >> 4 & 1)
#define OPERAND_ROWS4(i)                                            \
	OPERAND_ROW(i), OPERAND_ROW((i) + 1), OPERAND_ROW((i) + 2), \
		OPERAND_ROW((i) + 3)
#define OPERAND_ROWS16(i)                                                 \
	OPERAND_ROWS4(i), OPERAND_ROWS4((i) + 4), OPERAND_ROWS4((i) + 8), \
		OPERAND_ROWS4((i) + 12)

const uint16_t interp_cond_rows[32] = { OPERAND_ROWS16(0), OPERAND_ROWS16(16) };

/* --- Host memory -----------------------------------------------------------
 */

/*
 * Assembly and not __atomic builtins: a guest may lock what is not aligned,
 * which C has no word for and the processor does.
 */
#define HOST_CAS(suffix, reg)                                         \
	__asm__ volatile("lock cmpxchg" suffix " %" reg "[n], (%[p])" \
			 : "+a"(*old), "=@ccz"(done)                  \
			 : [p] "r"(p), [n] "r"(new_value)             \
			 : "memory")

bool interp_host_cas(void *p, unsigned size, uint64_t *old, uint64_t new_value)
{
	bool done;

	switch (size) {
	case 1:
		HOST_CAS("b", "b");
		break;
	case 2:
		HOST_CAS("w", "w");
		break;
	case 4:
		HOST_CAS("l", "k");
		break;
	default:
		HOST_CAS("q", "q");
	}
	return done;
}

#define HOST_XCHG(suffix, reg)                                \
	__asm__ volatile("xchg" suffix " %" reg "[v], (%[p])" \
			 : [v] "+r"(v)                        \
			 : [p] "r"(p)                         \
			 : "memory")

uint64_t interp_host_xchg(void *p, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		HOST_XCHG("b", "b");
		break;
	case 2:
		HOST_XCHG("w", "w");
		break;
	case 4:
		HOST_XCHG("l", "k");
		break;
	default:
		HOST_XCHG("q", "q");
	}
	return v & interp_mask(size);
}

void interp_modify_at(struct x86_cpu *cpu, const struct x86_insn *insn,
		      uint64_t linear, unsigned size, host_alu_fn *fn,
		      uint64_t b)
{
	struct x86_rmw rmw;
	void *p = x86_rmw_begin(cpu, &rmw, linear, size);
	uint64_t old = host_mem_load(p, size);
	uint64_t flags = cpu->rflags;
	uint64_t v = fn(&flags, size, old, b);

	if (interp_locked(insn)) {
		while (!interp_host_cas(p, size, &old, v)) {
			flags = cpu->rflags;
			v = fn(&flags, size, old, b);
		}
	} else {
		host_mem_store(p, size, v);
	}
	cpu->rflags = flags;
	x86_rmw_end(cpu, &rmw);
}

void interp_modify(struct x86_cpu *cpu, const struct x86_insn *insn,
		   host_alu_fn *fn, uint64_t b)
{
	unsigned size = insn->o[0].size;
	uint64_t a;

	if (interp_is_mem(insn, 0)) {
		interp_modify_at(cpu, insn, x86_linear(cpu, insn, size, true),
				 size, fn, b);
		return;
	}
	a = interp_read_reg(cpu, insn, 0);
	interp_write_reg(cpu, insn, 0, fn(&cpu->rflags, size, a, b));
}
