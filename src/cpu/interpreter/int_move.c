/*
 * int_move.c - moving, exchanging and converting data; conditional moves.
 */
#include "cpu/interpreter/operand.h"
#include "cpu/interpreter/ops.h"
#include "cpu/x86/host_mem.h"

/* --- Moves --------------------------------------------------------------- */

void interp_op_MOV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_write(cpu, insn, 0, interp_read(cpu, insn, 1));
}

void interp_op_MOVZX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_write_reg(cpu, insn, 0, interp_read(cpu, insn, 1));
}

void interp_op_MOVSX(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v = interp_read(cpu, insn, 1);

	interp_write_reg(cpu, insn, 0, interp_sext(v, insn->o[1].size));
}

void interp_op_MOVSXD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_op_MOVSX(cpu, insn);
}

void interp_op_MOVNTI(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_op_MOV(cpu, insn);
}

void interp_op_MOVDIRI(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_op_MOV(cpu, insn);
}

void interp_op_LEA(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_write_reg(cpu, insn, 0, x86_effective(cpu, insn));
}

/* The memory operand is read even if it is not wanted. */
void interp_op_CMOVCC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v = interp_read(cpu, insn, 1);

	if (!interp_cond(cpu->rflags, insn->cond))
		v = interp_read_reg(cpu, insn, 0);
	interp_write_reg(cpu, insn, 0, v);
}

void interp_op_SETCC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_write(cpu, insn, 0, interp_cond(cpu->rflags, insn->cond));
}

static uint64_t move_bswap(uint64_t v, unsigned size)
{
	switch (size) {
	case 2:
		return __builtin_bswap16((uint16_t)v);
	case 4:
		return __builtin_bswap32((uint32_t)v);
	default:
		return __builtin_bswap64(v);
	}
}

/* A 16-bit BSWAP is undefined; processors clear the register's low half. */
void interp_op_BSWAP(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint64_t v = interp_read_reg(cpu, insn, 0);

	interp_write_reg(cpu, insn, 0, size == 2 ? 0 : move_bswap(v, size));
}

void interp_op_MOVBE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v = interp_read(cpu, insn, 1);

	interp_write(cpu, insn, 0, move_bswap(v, insn->o[0].size));
}

/* AL = DS:[rBX + AL]; the segment can be overridden (SDM 2D). */
void interp_op_XLAT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t off = cpu->gpr[X86_RBX] + (uint8_t)cpu->gpr[X86_RAX];
	uint64_t linear = x86_seg_linear(
		cpu, insn->seg, off & interp_mask(insn->addrsize), 1, false);

	interp_set_gpr(cpu, X86_RAX, 1, x86_load8(cpu, linear));
}

/* --- Conversion ---------------------------------------------------------- */

/* CBW, CWDE, CDQE */
void interp_op_CBW(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned half = insn->opsize / 2;
	uint64_t v = interp_gpr(cpu, X86_RAX, half);

	interp_set_gpr(cpu, X86_RAX, insn->opsize, interp_sext(v, half));
}

/* CWD, CDQ, CQO */
void interp_op_CWD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t v = interp_gpr(cpu, X86_RAX, insn->opsize);

	interp_set_gpr(cpu, X86_RDX, insn->opsize,
		       interp_sext(v, insn->opsize) < 0 ? UINT64_MAX : 0);
}

/* --- Exchange ------------------------------------------------------------ */

/* With memory it is locked, prefix or not (SDM 3A, 9.1.2.1). */
void interp_op_XCHG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t b = interp_read_reg(cpu, insn, 1);
	unsigned size = insn->o[0].size;
	struct x86_rmw rmw;
	uint64_t linear;
	uint64_t a;
	void *p;

	if (interp_is_mem(insn, 0)) {
		linear = x86_linear(cpu, insn, size, true);
		p = x86_rmw_begin(cpu, &rmw, linear, size);
		a = interp_host_xchg(p, size, b);
		x86_rmw_end(cpu, &rmw);
	} else {
		a = interp_read_reg(cpu, insn, 0);
		interp_write_reg(cpu, insn, 0, b);
	}
	interp_write_reg(cpu, insn, 1, a);
}

HOST_BINARY(move_add, "add")

/* The source gets the old value first: XADD of a register with itself. */
static void move_xadd_mem(struct x86_cpu *cpu, const struct x86_insn *insn,
			  uint64_t b)
{
	unsigned size = insn->o[0].size;
	struct x86_rmw rmw;
	void *p = x86_rmw_begin(cpu, &rmw, x86_linear(cpu, insn, size, true),
				size);
	uint64_t old = host_mem_load(p, size);
	uint64_t flags, sum;

	do {
		flags = cpu->rflags;
		sum = move_add(&flags, size, old, b);
		if (!interp_locked(insn)) {
			host_mem_store(p, size, sum);
			break;
		}
	} while (!interp_host_cas(p, size, &old, sum));
	cpu->rflags = flags;
	x86_rmw_end(cpu, &rmw);
	interp_write_reg(cpu, insn, 1, old);
}

void interp_op_XADD(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t b = interp_read_reg(cpu, insn, 1);
	uint64_t a;

	if (interp_is_mem(insn, 0)) {
		move_xadd_mem(cpu, insn, b);
		return;
	}
	a = interp_read_reg(cpu, insn, 0);
	interp_write_reg(cpu, insn, 1, a);
	interp_write_reg(cpu, insn, 0,
			 move_add(&cpu->rflags, insn->o[0].size, a, b));
}

/* --- Compare and exchange ------------------------------------------------ */

/*
 * CMPXCHG on host memory, flags and all.  Always locked: the difference is
 * not to be seen by a guest.
 */
#define MOVE_CMPXCHG(text)                                        \
	__asm__ volatile("lock cmpxchg" text                      \
			 "\n\tmovq %%rax, %[old]" HOST_FLAGS_SAVE \
			 : "+a"(ax), [old] "=&r"(old)             \
			 : [p] "r"(p), [b] "r"(b)                 \
			 : "memory", "cc")

static void move_cmpxchg(struct x86_cpu *cpu, unsigned size, void *p,
			 uint64_t *rax, uint64_t b)
{
	uint64_t ax = *rax, old;

	switch (size) {
	case 1:
		MOVE_CMPXCHG("b %b[b], (%[p])");
		break;
	case 2:
		MOVE_CMPXCHG("w %w[b], (%[p])");
		break;
	case 4:
		MOVE_CMPXCHG("l %k[b], (%[p])");
		break;
	default:
		MOVE_CMPXCHG("q %q[b], (%[p])");
	}
	*rax = old;
	cpu->rflags = host_flags_merge(cpu->rflags, (uint32_t)ax);
}

/*
 * On registers.  Whether an unequal 32-bit comparison clears the operand's
 * upper half is up to the processor, so the whole registers are handed to it.
 */
static void move_cmpxchg_reg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint64_t rax = cpu->gpr[X86_RAX], b = interp_read_reg(cpu, insn, 1);
	uint64_t *dest = &cpu->gpr[insn->o[0].reg & 15], a;

	if (size != 4 || dest == &cpu->gpr[X86_RAX]) {
		a = interp_read_reg(cpu, insn, 0);
		move_cmpxchg(cpu, size, &a, &rax, b);
		interp_write_reg(cpu, insn, 0, a);
		if (!(cpu->rflags & X86_FLAG_ZF))
			interp_set_gpr(cpu, X86_RAX, size, rax);
		return;
	}
	__asm__ volatile(
		"cmpxchgl %k[b], %k[a]\n\tmovq %%rax, %[old]" HOST_FLAGS_SAVE
		: [a] "+r"(*dest), "+a"(rax), [old] "=&r"(a)
		: [b] "r"(b)
		: "cc");
	cpu->gpr[X86_RAX] = a;
	cpu->rflags = host_flags_merge(cpu->rflags, (uint32_t)rax);
}

void interp_op_CMPXCHG(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->o[0].size;
	uint64_t b = interp_read_reg(cpu, insn, 1);
	uint64_t rax = cpu->gpr[X86_RAX];
	struct x86_rmw rmw;
	void *p;

	if (!interp_is_mem(insn, 0)) {
		move_cmpxchg_reg(cpu, insn);
		return;
	}
	p = x86_rmw_begin(cpu, &rmw, x86_linear(cpu, insn, size, true), size);
	move_cmpxchg(cpu, size, p, &rax, b);
	x86_rmw_end(cpu, &rmw);
	if (!(cpu->rflags & X86_FLAG_ZF))
		interp_set_gpr(cpu, X86_RAX, size, rax);
}

static void move_set_zf(struct x86_cpu *cpu, bool zf)
{
	cpu->rflags &= ~X86_FLAG_ZF;
	if (zf)
		cpu->rflags |= X86_FLAG_ZF;
}

void interp_op_CMPXCHG8B(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t want =
		interp_gpr(cpu, X86_RDX, 4) << 32 | interp_gpr(cpu, X86_RAX, 4);
	uint64_t value =
		interp_gpr(cpu, X86_RCX, 4) << 32 | interp_gpr(cpu, X86_RBX, 4);
	struct x86_rmw rmw;
	void *p = x86_rmw_begin(cpu, &rmw, x86_linear(cpu, insn, 8, true), 8);
	bool equal = interp_host_cas(p, 8, &want, value);

	x86_rmw_end(cpu, &rmw);
	move_set_zf(cpu, equal);
	if (!equal) {
		interp_set_gpr(cpu, X86_RAX, 4, want);
		interp_set_gpr(cpu, X86_RDX, 4, want >> 32);
	}
}

/* Memory that is not aligned to 16 is #GP(0). */
void interp_op_CMPXCHG16B(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t linear = x86_linear_aligned(cpu, insn, 16, 16, true);
	uint64_t lo = cpu->gpr[X86_RAX], hi = cpu->gpr[X86_RDX];
	struct x86_rmw rmw;
	bool equal;
	void *p;

	p = x86_rmw_begin(cpu, &rmw, linear, 16);
	__asm__ volatile("lock cmpxchg16b (%[p])"
			 : "+a"(lo), "+d"(hi), "=@ccz"(equal)
			 : [p] "r"(p), "b"(cpu->gpr[X86_RBX]),
			   "c"(cpu->gpr[X86_RCX])
			 : "memory");
	x86_rmw_end(cpu, &rmw);
	move_set_zf(cpu, equal);
	cpu->gpr[X86_RAX] = lo;
	cpu->gpr[X86_RDX] = hi;
}
