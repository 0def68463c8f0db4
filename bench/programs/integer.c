/*
 * integer.c - integer work, and an interpreter for a tiny register machine.
 */
#include "bench.h"
#include "../workload.h"

/* bench/workload.c: list, matrix, state machine, CRC. */
uint64_t bench_integer(uint64_t n)
{
	static uint64_t scratch[WORKLOAD_SIZE / 8];

	return workload(scratch, (uint32_t)n);
}

/*
 * The register machine: an instruction is an opcode and three operands, the
 * last a register or a small number.  The program counts primes by trial
 * division: an indirect jump every few instructions, as in any interpreter.
 */
enum {
	OP_LOAD,
	OP_ADD,
	OP_ADDI,
	OP_MUL,
	OP_REM,
	OP_JEQ,
	OP_JGT,
	OP_JUMP,
	OP_HALT
};

struct integer_op {
	uint8_t op, a, b;
	int8_t c;
};

/* r0 limit, r1 candidate, r2 divisor, r3 square/rest, r4 count, r5 zero */
static const struct integer_op integer_primes[] = {
	{ OP_LOAD, 1, 0, 2 },   /*  0: r1 = 2 */
	{ OP_LOAD, 4, 0, 0 },   /*  1: r4 = 0 */
	{ OP_LOAD, 5, 0, 0 },   /*  2: r5 = 0 */
	{ OP_JGT, 1, 0, 10 },   /*  3: r1 > r0: to 14 */
	{ OP_LOAD, 2, 0, 2 },   /*  4: r2 = 2 */
	{ OP_MUL, 3, 2, 2 },    /*  5: r3 = r2 * r2 */
	{ OP_JGT, 3, 1, 4 },    /*  6: r3 > r1: prime, to 11 */
	{ OP_REM, 3, 1, 2 },    /*  7: r3 = r1 % r2 */
	{ OP_JEQ, 3, 5, 3 },    /*  8: r3 == 0: not prime, to 12 */
	{ OP_ADDI, 2, 2, 1 },   /*  9: r2 = r2 + 1 */
	{ OP_JUMP, 0, 0, -6 },  /* 10: to 5 */
	{ OP_ADD, 4, 4, 1 },    /* 11: r4 = r4 + r1 */
	{ OP_ADDI, 1, 1, 1 },   /* 12: r1 = r1 + 1 */
	{ OP_JUMP, 0, 0, -11 }, /* 13: to 3 */
	{ OP_HALT, 4, 0, 0 },   /* 14: the sum of the primes */
};

static uint64_t integer_interpret(const struct integer_op *pc, uint64_t limit)
{
	static const void *const labels[] = {
		[OP_LOAD] = &&load, [OP_ADD] = &&add,   [OP_ADDI] = &&addi,
		[OP_MUL] = &&mul,   [OP_REM] = &&rem,   [OP_JEQ] = &&jeq,
		[OP_JGT] = &&jgt,   [OP_JUMP] = &&jump, [OP_HALT] = &&halt,
	};
	uint64_t r[8] = { limit };

	goto *labels[pc->op];
load:
	r[pc->a] = (uint64_t)pc->c;
	pc++;
	goto *labels[pc->op];
add:
	r[pc->a] = r[pc->b] + r[pc->c];
	pc++;
	goto *labels[pc->op];
addi:
	r[pc->a] = r[pc->b] + (uint64_t)pc->c;
	pc++;
	goto *labels[pc->op];
mul:
	r[pc->a] = r[pc->b] * r[pc->c];
	pc++;
	goto *labels[pc->op];
rem:
	r[pc->a] = (uint32_t)r[pc->b] % (uint32_t)r[pc->c];
	pc++;
	goto *labels[pc->op];
jeq:
	pc += r[pc->a] == r[pc->b] ? 1 + pc->c : 1;
	goto *labels[pc->op];
jgt:
	pc += r[pc->a] > r[pc->b] ? 1 + pc->c : 1;
	goto *labels[pc->op];
jump:
	pc += 1 + pc->c;
	goto *labels[pc->op];
halt:
	return r[pc->a];
}

uint64_t bench_bytecode(uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += integer_interpret(integer_primes, 3000 + i);
	return sum;
}
