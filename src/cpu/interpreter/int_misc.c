/*
 * int_misc.c - single flags, decimal arithmetic, hints, random numbers.
 */
#include <sched.h>

#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"

/* --- Single flags -------------------------------------------------------- */

void interp_op_CLC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags &= ~X86_FLAG_CF;
}

void interp_op_STC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags |= X86_FLAG_CF;
}

void interp_op_CMC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags ^= X86_FLAG_CF;
}

void interp_op_CLD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags &= ~X86_FLAG_DF;
}

void interp_op_STD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags |= X86_FLAG_DF;
}

#define MISC_AH_FLAGS \
	(X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF)

void interp_op_LAHF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t ah = (cpu->rflags & MISC_AH_FLAGS) | X86_FLAG_1;

	cpu->gpr[X86_RAX] = (cpu->gpr[X86_RAX] & ~0xff00ull) | ah << 8;
}

void interp_op_SAHF(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags = (cpu->rflags & ~MISC_AH_FLAGS) |
		      (cpu->gpr[X86_RAX] >> 8 & MISC_AH_FLAGS);
}

void interp_op_SALC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_set_gpr(cpu, X86_RAX, 1, cpu->rflags & X86_FLAG_CF ? 0xff : 0);
}

/* --- Decimal arithmetic (SDM 2A: AAA ... DAS) ---------------------------- */

/*
 * The host cannot run these in 64-bit mode.  Each is an addition or a
 * subtraction, which SF, ZF, PF and OF tell of, also where the manual leaves
 * them undefined: as an AMD Zen 5 does in 32-bit code.
 */
HOST_BINARY(misc_add, "add")
HOST_BINARY(misc_sub, "sub")

#define MISC_RESULT_FLAGS \
	(X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_PF | X86_FLAG_OF)

static void misc_set_flags(struct x86_cpu *cpu, uint64_t flags)
{
	cpu->rflags = (cpu->rflags & ~X86_FLAGS_ARITH) | flags;
}

/* AAA, AAS: all of AX takes part. */
static void misc_ascii_adjust(struct x86_cpu *cpu, host_alu_fn *fn)
{
	uint64_t ax = interp_gpr(cpu, X86_RAX, 2), f = 0;
	bool adjust = (ax & 15) > 9 || cpu->rflags & X86_FLAG_AF;

	ax = fn(&f, 2, ax, adjust ? 0x106 : 0);
	f &= MISC_RESULT_FLAGS;
	if (adjust)
		f |= X86_FLAG_AF | X86_FLAG_CF;
	interp_set_gpr(cpu, X86_RAX, 2, ax & 0xff0f);
	misc_set_flags(cpu, f);
}

void interp_op_AAA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	misc_ascii_adjust(cpu, misc_add);
}

void interp_op_AAS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	misc_ascii_adjust(cpu, misc_sub);
}

/* DAA, DAS; subtracting 6 may borrow, too. */
static void misc_decimal_adjust(struct x86_cpu *cpu, host_alu_fn *fn,
				bool borrows)
{
	uint64_t al = interp_gpr(cpu, X86_RAX, 1), f = 0, adjust = 0, also = 0;
	bool cf = cpu->rflags & X86_FLAG_CF;

	if ((al & 15) > 9 || cpu->rflags & X86_FLAG_AF) {
		adjust = 6;
		also = X86_FLAG_AF;
		if (borrows && al < 6)
			also |= X86_FLAG_CF;
	}
	if (al > 0x99 || cf) {
		adjust |= 0x60;
		also |= X86_FLAG_CF;
	}
	al = fn(&f, 1, al, adjust);
	interp_set_gpr(cpu, X86_RAX, 1, al);
	misc_set_flags(cpu, (f & MISC_RESULT_FLAGS) | also);
}

void interp_op_DAA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	misc_decimal_adjust(cpu, misc_add, false);
}

void interp_op_DAS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	misc_decimal_adjust(cpu, misc_sub, true);
}

void interp_op_AAM(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t base = (uint8_t)insn->imm, al = (uint8_t)cpu->gpr[X86_RAX];
	uint64_t f = 0;

	if (!base)
		x86_raise(cpu, X86_VEC_DE);
	interp_set_gpr(cpu, X86_RAX, 2, al / base << 8 | al % base);
	misc_add(&f, 1, al % base, 0);
	misc_set_flags(cpu, f);
}

void interp_op_AAD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t ax = interp_gpr(cpu, X86_RAX, 2), f = 0;
	uint64_t al = misc_add(&f, 1, ax, (ax >> 8) * (uint8_t)insn->imm);

	interp_set_gpr(cpu, X86_RAX, 2, al & 0xff);
	misc_set_flags(cpu, f);
}

/* --- BOUND --------------------------------------------------------------- */

/* Each bound is an access of its own. */
static int64_t misc_bound(struct x86_cpu *cpu, const struct x86_insn *insn,
			  unsigned at)
{
	uint64_t ea =
		(x86_effective(cpu, insn) + at) & interp_mask(insn->addrsize);
	uint64_t linear =
		x86_seg_linear(cpu, insn->seg, ea, insn->opsize, false);

	return interp_sext(interp_load(cpu, linear, insn->opsize),
			   insn->opsize);
}

void interp_op_BOUND(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	int64_t low = misc_bound(cpu, insn, 0);
	int64_t high = misc_bound(cpu, insn, size);
	int64_t index = interp_sext(interp_read_reg(cpu, insn, 0), size);

	if (index < low || index > high)
		x86_raise(cpu, X86_VEC_BR);
}

/* --- Hints and caches ---------------------------------------------------- */

void interp_op_NOP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
}

void interp_op_PREFETCH(struct x86_cpu *cpu, const struct x86_insn *insn)
{
}

/*
 * A vCPU that spins may keep the one that it waits for off the host's cores,
 * so it gives up its own.
 */
void interp_op_PAUSE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (cpu->xm->cpu_count > 1)
		sched_yield();
}

void interp_op_FENCE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Caches are not seen; that the address can be read is (SDM 2A, CLFLUSH). */
void interp_op_CLFLUSH(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_probe(cpu, x86_linear(cpu, insn, 1, false), 1, false);
}

/* --- Random numbers; the processor's number ------------------------------ */

static void misc_random(struct x86_cpu *cpu, const struct x86_insn *insn,
			uint64_t v, bool ok)
{
	interp_write_reg(cpu, insn, 0, ok ? v : 0);
	misc_set_flags(cpu, ok ? X86_FLAG_CF : 0);
}

void interp_op_RDRAND(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v;
	bool ok;

	__asm__ volatile("rdrand %0" : "=r"(v), "=@ccc"(ok));
	misc_random(cpu, insn, v, ok);
}

void interp_op_RDSEED(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v;
	bool ok;

	__asm__ volatile("rdseed %0" : "=r"(v), "=@ccc"(ok));
	misc_random(cpu, insn, v, ok);
}

void interp_op_RDPID(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->gpr[insn->o[0].reg & 15] = (uint32_t)cpu->msr.tsc_aux;
}
