/*
 * prog_gen.c - making random programs.
 *
 * Code is emitted front to back: first functions, then segments, each a loop
 * of some statements whose counter lies in memory.  Most statements are an
 * instruction of the decoder's tables (insn_gen.h) whose memory operand is
 * aimed at the data pages: by loading its base register before it, or, where
 * the register's value is known from before, by its displacement alone, so
 * that several accesses go off one register.
 *
 * Every way back (loop, return) counts down the fuel, so that programs end
 * also when a return went astray.
 */
#include "prog.h"

#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"
#include "insn_gen.h"

#define PROG_FUEL     PROG_VARS
#define PROG_COUNTER  (PROG_VARS + 8)
#define PROG_RSP      4
#define PROG_ROWS     4096
#define PROG_CODE_MAX 0xe000u

struct prog_gen {
	struct prog *p;
	uint8_t *to;   /* what is being written: code or mixed page */
	uint64_t base; /* its address */
	unsigned n, size;
	bool known[16]; /* does the register hold `value`? */
	uint64_t value[16];
	uint64_t function[PROG_FUNCTIONS];
	unsigned functions;
	uint64_t patch[16]; /* immediates of instructions, to be patched */
	unsigned patches;
	unsigned depth;
};

static unsigned prog_below(struct prog_gen *g, unsigned n)
{
	return rng_below(&g->p->rng, n);
}

static bool prog_percent(struct prog_gen *g, unsigned percent)
{
	return prog_below(g, 100) < percent;
}

/* --- Emitting ------------------------------------------------------------ */

static uint64_t prog_here(const struct prog_gen *g)
{
	return g->base + g->n;
}

static void prog_put(struct prog_gen *g, const void *bytes, unsigned len)
{
	if (g->n + len + 16 > g->size)
		return;
	g->p->start[prog_here(g) - PROG_CODE] = 1;
	memcpy(g->to + g->n, bytes, len);
	g->n += len;
}

static void prog_put_le(uint8_t *b, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> 8 * i);
}

/* opcode bytes, then a 32-bit value, then perhaps an 8-bit immediate */
static void prog_put32(struct prog_gen *g, const char *opcode, unsigned len,
		       uint32_t v, int imm)
{
	uint8_t b[16];

	memcpy(b, opcode, len);
	prog_put_le(b + len, v, 4);
	if (imm >= 0)
		b[len + 4] = (uint8_t)imm;
	prog_put(g, b, len + 4 + (imm >= 0));
}

static void prog_forget(struct prog_gen *g)
{
	memset(g->known, 0, sizeof(g->known));
}

static void prog_mov_imm(struct prog_gen *g, unsigned reg, uint64_t v)
{
	uint8_t b[10];
	unsigned n = 0;
	bool wide = v > UINT32_MAX || prog_percent(g, 10);

	if (wide || reg & 8)
		b[n++] = (uint8_t)(0x40 | (wide ? 8 : 0) | reg >> 3);
	b[n++] = (uint8_t)(0xb8 | (reg & 7));
	prog_put_le(b + n, v, wide ? 8 : 4);
	prog_put(g, b, n + (wide ? 8 : 4));
	g->known[reg] = true;
	g->value[reg] = v;
}

/* --- Where memory operands lie ------------------------------------------- */

/* Not into the functions of the mixed page: that is prog_patch()'s affair. */
static uint64_t prog_off_functions(uint64_t at)
{
	return at > PROG_MIXED - 200 && at < PROG_MIXED + 1300 ? at + 1500 : at;
}

static uint64_t prog_place(struct prog_gen *g)
{
	uint64_t page = PROG_DATA + 4096ull * prog_below(g, PROG_DATA_PAGES);
	unsigned how = prog_below(g, 100);

	if (how < 35)
		return page + 16 * prog_below(g, 256);
	if (how < 55)
		return page + prog_below(g, 4096);
	if (how < 90)
		return page + prog_below(g, 80) - 40;
	if (how < 98)
		return page + 64 * prog_below(g, 64);
	return how < 99 ? PROG_STACK + prog_below(g, 0x1000)
			: rng_next(&g->p->rng);
}

static uint64_t prog_target(struct prog_gen *g)
{
	return prog_off_functions(prog_place(g));
}

static uint64_t prog_segment_base(const struct x86_insn *in)
{
	return in->seg == X86_FS ? 0x40 : in->seg == X86_GS ? 0x1008 : 0;
}

static void prog_set_disp(uint8_t *b, const struct x86_insn *in, uint64_t v)
{
	prog_put_le(b + in->len - in->imm_bytes - 4, v, 4);
}

static bool prog_has_disp32(const struct x86_insn *in)
{
	return in->has_modrm && in->modrm >> 6 == 2;
}

/* The stack pointer as base stays as it is: only small displacements. */
static void prog_aim_stack(struct prog_gen *g, uint8_t *b,
			   const struct x86_insn *in)
{
	if (in->index != X86_NO_REG)
		prog_mov_imm(g, in->index, prog_below(g, 8));
	if (prog_has_disp32(in))
		prog_set_disp(b, in, prog_below(g, 160) - 32ull);
}

static void prog_aim_base(struct prog_gen *g, uint8_t *b,
			  const struct x86_insn *in, uint64_t at)
{
	uint64_t index = 0, disp = (uint64_t)(int64_t)in->disp;
	bool vsib = in->desc->attr & X86_ATTR_VSIB;

	if (in->base < 16 && g->known[in->base] && prog_has_disp32(in) &&
	    prog_percent(g, 80)) {
		at = g->value[in->base] + prog_below(g, 160) - 80;
		prog_set_disp(b, in, at - g->value[in->base]);
		if (in->index == X86_NO_REG || prog_percent(g, 50))
			return;
		prog_mov_imm(g, in->index, prog_below(g, 16));
		return;
	}
	if (in->base < 16 && g->known[in->base] && prog_percent(g, 60))
		return;
	if (in->index != X86_NO_REG && !vsib && in->index != in->base) {
		index = prog_below(g, 40);
		prog_mov_imm(g, in->index, index);
		index <<= in->scale;
	}
	if (in->base < 16)
		prog_mov_imm(g, in->base, at - disp - index);
}

static void prog_aim(struct prog_gen *g, uint8_t *b, struct x86_insn *in)
{
	uint64_t at = prog_target(g) - prog_segment_base(in);

	if (in->base == X86_REG_MOFFS) {
		prog_put_le(b + in->len - in->imm_bytes, at, in->imm_bytes);
	} else if (!in->has_modrm) {
		prog_put_le(b + in->len - in->imm_bytes, at, 4);
	} else if (in->base == X86_REG_RIP) {
		prog_set_disp(b, in, at - prog_here(g) - in->len);
	} else if (in->base == X86_NO_REG) {
		if (in->index != X86_NO_REG &&
		    !(in->desc->attr & X86_ATTR_VSIB))
			prog_mov_imm(g, in->index, prog_below(g, 40));
		prog_set_disp(b, in, at);
	} else if (in->base == PROG_RSP) {
		prog_aim_stack(g, b, in);
	} else {
		prog_aim_base(g, b, in, at);
	}
}

/* --- Instructions from the tables ---------------------------------------- */

static bool prog_writes_gpr(const struct x86_insn *in, unsigned reg)
{
	for (unsigned i = 0; i < 4; i++)
		if ((in->o[i].kind == X86_OPND_GPR ||
		     in->o[i].kind == X86_OPND_GPR_HIGH8) &&
		    in->o[i].reg == reg && in->o[i].access & X86_ACC_W)
			return true;
	return false;
}

static bool prog_wants_int(struct prog_gen *g, const struct x86_insn *in)
{
	switch (in->op) {
	case X86_RDRAND:
	case X86_RDSEED:
	case X86_POPF:
	case X86_ENTER:
	case X86_LEAVE:
	case X86_UD:
	case X86_RDPID:
		return false;
	case X86_PUSH:
	case X86_POP:
	case X86_PUSHF:
		return prog_percent(g, 20);
	default:
		return true;
	}
}

static bool prog_wants(struct prog_gen *g, const struct x86_insn *in)
{
	if (prog_writes_gpr(in, PROG_RSP) && !prog_percent(g, 2))
		return false;
	switch (in->desc->cls) {
	case X86_CLASS_INT:
		return prog_wants_int(g, in);
	case X86_CLASS_SSE:
	case X86_CLASS_AVX:
		return prog_percent(g, 40);
	case X86_CLASS_MMX:
		return prog_percent(g, 4);
	case X86_CLASS_FPSTATE:
		return in->op == X86_STMXCSR || in->op == X86_VZEROUPPER ||
		       in->op == X86_VZEROALL;
	default:
		return false;
	}
}

static void prog_after(struct prog_gen *g, const struct x86_insn *in)
{
	for (unsigned i = 0; i < 16; i++)
		if (prog_writes_gpr(in, i))
			g->known[i] = false;
	g->known[X86_RAX] = g->known[X86_RDX] = false;
}

static void prog_random_insn(struct prog_gen *g)
{
	struct x86_insn in;
	unsigned len, tries = 0;
	uint8_t b[X86_INSN_MAX];

	do {
		unsigned row = prog_below(g, PROG_ROWS);

		if (!x86_desc_at(row) ||
		    !insn_gen(&g->p->rng, row, X86_MODE_CODE64, b, &len) ||
		    x86_decode(&in, b, len, X86_MODE_CODE64) != X86_DECODE_OK)
			continue;
		if (prog_wants(g, &in))
			break;
	} while (++tries < 200);
	if (tries == 200)
		return;
	if (in.has_mem)
		prog_aim(g, b, &in);
	prog_put(g, b, len);
	prog_after(g, &in);
}

/* --- Statements ---------------------------------------------------------- */

/* Any register but RSP. */
static unsigned prog_reg(struct prog_gen *g)
{
	unsigned r = prog_below(g, 15);

	return r >= PROG_RSP ? r + 1 : r;
}

/* mov, add, movzx, movups, ... between a register and [base + disp8]. */
static void prog_access(struct prog_gen *g, unsigned base, int disp)
{
	static const uint8_t op[] = { 0x8b, 0x89, 0x03, 0x01, 0x3b, 0x8a,
				      0x88, 0x33, 0x11, 0x13, 0x87, 0x63 };
	unsigned reg = prog_reg(g), n = 0;
	uint8_t b[8];

	b[n++] = (uint8_t)(0x40 | prog_below(g, 2) << 3 | reg >> 3 << 2 |
			   base >> 3);
	if (prog_percent(g, 20)) { /* movups, loads and stores */
		b[n++] = 0x0f;
		b[n++] = (uint8_t)(0x10 + prog_below(g, 2));
	} else {
		b[n++] = op[prog_below(g, sizeof(op))];
		g->known[reg] = false;
	}
	b[n++] = (uint8_t)(0x40 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		b[n++] = 0x24;
	b[n++] = (uint8_t)disp;
	prog_put(g, b, n);
}

/* Several accesses off one register, around a page's border or not. */
static void prog_group(struct prog_gen *g)
{
	unsigned base = prog_reg(g), count = 2 + prog_below(g, 6);
	int spread = prog_percent(g, 50) ? 24 : 100;

	prog_mov_imm(g, base, prog_target(g));
	while (count--) {
		prog_access(g, base, (int)prog_below(g, 2 * spread) - spread);
		if (prog_percent(g, 25))
			prog_random_insn(g);
		if (!g->known[base] && prog_percent(g, 70))
			prog_mov_imm(g, base, prog_target(g));
	}
}

static void prog_push(struct prog_gen *g)
{
	unsigned reg = prog_reg(g);
	uint8_t b[2] = { 0x41, (uint8_t)(0x50 | (reg & 7)) };

	if (prog_percent(g, 20))
		prog_put32(g, "\x68", 1, (uint32_t)rng_next(&g->p->rng), -1);
	else if (prog_percent(g, 15))
		prog_put32(g, "\xff\x34\x25", 3, (uint32_t)prog_target(g), -1);
	else
		prog_put(g, b + (reg < 8), 2 - (reg < 8));
}

static void prog_pop(struct prog_gen *g)
{
	unsigned reg = prog_reg(g);
	uint8_t b[2] = { 0x41, (uint8_t)(0x58 | (reg & 7)) };

	if (prog_percent(g, 10)) {
		prog_put32(g, "\x8f\x04\x25", 3, (uint32_t)prog_target(g), -1);
		return;
	}
	prog_put(g, b + (reg < 8), 2 - (reg < 8));
	g->known[reg] = false;
}

/* Some pushes and as many pops; at times memory below by moving RSP. */
static void prog_stack(struct prog_gen *g)
{
	unsigned count = 1 + prog_below(g, 6);
	uint8_t n = (uint8_t)(8 * prog_below(g, 14));
	bool frame = prog_percent(g, 40);

	for (unsigned i = 0; i < count; i++)
		prog_push(g);
	if (frame)
		prog_put(g, (uint8_t[]){ 0x48, 0x83, 0xec, n }, 4);
	for (unsigned i = prog_below(g, 4); i > 0; i--) /* mov [rsp + d], r */
		prog_put(g,
			 (uint8_t[]){ 0x48, 0x89,
				      (uint8_t)(0x44 | prog_below(g, 8) << 3),
				      0x24, (uint8_t)prog_below(g, 64) },
			 5);
	if (frame)
		prog_put(g, (uint8_t[]){ 0x48, 0x8d, 0x64, 0x24, n }, 5);
	for (unsigned i = 0; i < count; i++)
		prog_pop(g);
}

/* rel32 at `at`, to here */
static void prog_land(struct prog_gen *g, unsigned at)
{
	prog_put_le(g->to + at, g->n - (at + 4), 4);
	prog_forget(g);
}

static void prog_statements(struct prog_gen *g, unsigned count);

/* jcc, jrcxz, loop or an indirect jump over some statements */
static void prog_skip(struct prog_gen *g)
{
	static const uint8_t shorts[] = { 0xe3, 0xe0, 0xe1, 0xe2 };
	unsigned at, how = prog_below(g, 10);
	uint8_t cc = (uint8_t)(0x80 | prog_below(g, 16));

	if (how < 7) {
		prog_put(g, (uint8_t[]){ 0x0f, cc, 0, 0, 0, 0 }, 6);
		at = g->n - 4;
		prog_statements(g, 1 + prog_below(g, 4));
		prog_land(g, at);
	} else if (how < 9) {
		prog_put(g, (uint8_t[]){ shorts[prog_below(g, 4)], 0 }, 2);
		at = g->n;
		prog_random_insn(g);
		g->to[at - 1] = (uint8_t)(g->n - at);
		prog_forget(g);
	} else {
		unsigned r = prog_below(g, 3);

		prog_put(g, (uint8_t[]){ 0x48, 0x8d, 5 | r << 3, 0, 0, 0, 0 },
			 7); /* lea r, [rip + .] */
		at = g->n - 4;
		prog_put(g, (uint8_t[]){ 0xff, 0xe0 | r }, 2);
		prog_statements(g, 1 + prog_below(g, 2));
		prog_land(g, at);
	}
}

static void prog_call(struct prog_gen *g)
{
	uint64_t to;
	unsigned r = prog_below(g, 3);

	if (!g->functions)
		return;
	to = g->function[prog_below(g, g->functions)];
	if (prog_percent(g, 60)) {
		prog_put32(g, "\xe8", 1, (uint32_t)(to - prog_here(g) - 5), -1);
	} else {
		prog_mov_imm(g, r, to);
		prog_put(g, (uint8_t[]){ 0xff, 0xd0 | r }, 2);
	}
	prog_forget(g);
}

/* An instruction whose immediate is patched: add eax, imm32 or mov cl, imm8 */
static void prog_patchable(struct prog_gen *g)
{
	if (prog_percent(g, 50))
		prog_put(g, (uint8_t[]){ 0x05, 1, 2, 3, 4 }, 5);
	else
		prog_put(g, (uint8_t[]){ 0xb1, 5 }, 2);
	g->patch[g->patches++ % 16] = prog_here(g) - 1;
	g->known[X86_RAX] = g->known[X86_RCX] = false;
}

static void prog_patch(struct prog_gen *g)
{
	uint32_t at;

	if (!g->patches)
		return;
	at = (uint32_t)
		     g->patch[prog_below(g, g->patches < 16 ? g->patches : 16)];
	if (prog_percent(g, 50)) /* mov byte [at], imm8; inc byte [at] */
		prog_put32(g, "\xc6\x04\x25", 3, at, (int)prog_below(g, 256));
	else
		prog_put32(g, "\xfe\x04\x25", 3, at, -1);
}

static void prog_string(struct prog_gen *g)
{
	static const uint8_t op[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa,
				      0xab, 0xac, 0xad, 0xae, 0xaf };
	uint8_t b[3] = { (uint8_t)(0xf2 + prog_below(g, 2)), 0x48,
			 op[prog_below(g, sizeof(op))] };

	prog_mov_imm(g, X86_RSI, prog_target(g));
	prog_mov_imm(g, X86_RDI, prog_target(g));
	prog_mov_imm(g, X86_RCX, prog_below(g, 40));
	prog_put(g, b, 3);
	prog_forget(g);
}

static void prog_popf(struct prog_gen *g)
{
	uint32_t flags = rng_next(&g->p->rng) & 0x8d5;

	if (prog_percent(g, 10))
		flags |= X86_FLAG_DF;
	prog_put32(g, "\x68", 1, flags, -1);
	prog_put(g, (uint8_t[]){ 0x9d }, 1);
}

static void prog_statement(struct prog_gen *g)
{
	unsigned how = prog_below(g, 100);

	if (how < 62)
		prog_random_insn(g);
	else if (how < 73)
		prog_group(g);
	else if (how < 79)
		prog_stack(g);
	else if (how < 86 && g->depth < 3)
		prog_skip(g);
	else if (how < 90)
		prog_call(g);
	else if (how < 93)
		prog_patchable(g);
	else if (how < 95)
		prog_patch(g);
	else if (how < 98)
		prog_string(g);
	else
		prog_popf(g);
}

static void prog_statements(struct prog_gen *g, unsigned count)
{
	g->depth++;
	while (count--)
		prog_statement(g);
	g->depth--;
}

/* --- The program --------------------------------------------------------- */

/* sub dword [fuel], 1; js out */
static void prog_burn(struct prog_gen *g)
{
	prog_put32(g, "\x83\x2c\x25", 3, PROG_FUEL, 1);
	prog_put32(g, "\x0f\x88", 2, (uint32_t)(PROG_OUT - prog_here(g) - 6),
		   -1);
}

static void prog_function(struct prog_gen *g)
{
	uint64_t at = prog_here(g);

	prog_forget(g);
	prog_burn(g);
	prog_statements(g, 1 + prog_below(g, 8));
	if (prog_percent(g, 10)) {
		prog_put(g, (uint8_t[]){ 0x6a, 0 }, 2); /* push 0; ret 8 */
		prog_put(g, (uint8_t[]){ 0x58 }, 1);
	}
	prog_put(g, (uint8_t[]){ 0xc3 }, 1);
	g->function[g->functions++] = at;
}

static void prog_segment(struct prog_gen *g)
{
	struct prog *p = g->p;
	uint32_t counter = (uint32_t)PROG_COUNTER + 4 * p->segments;
	unsigned times = prog_percent(g, 20) ? 30 : 1 + prog_below(g, 5), top;
	uint8_t b[11] = { 0xc7, 0x04, 0x25 }; /* mov dword [counter], times */

	p->segment[p->segments++] = prog_here(g);
	prog_put_le(b + 3, counter, 4);
	prog_put_le(b + 7, times, 4);
	prog_put(g, b, 11);
	top = g->n;
	prog_forget(g);
	prog_statements(g, 3 + prog_below(g, 14));
	prog_burn(g);
	prog_put32(g, "\xff\x0c\x25", 3, counter, -1); /* dec, jnz top */
	prog_put32(g, "\x0f\x85", 2, top - (g->n + 6), -1);
}

static void prog_pages(struct prog_gen *g)
{
	for (unsigned i = 0; i < PROG_DATA_PAGES; i++)
		g->p->page[i] = prog_percent(g, 75)   ? X86_PTE_P | X86_PTE_W
				: prog_percent(g, 50) ? X86_PTE_P
						      : 0;
	g->p->page[3] = X86_PTE_P | X86_PTE_W;
}

static void prog_into(struct prog_gen *g, uint8_t *to, uint64_t base,
		      unsigned size)
{
	g->to = to;
	g->base = base;
	g->size = size;
	g->n = 0;
}

static void prog_main(struct prog_gen *g)
{
	struct prog *p = g->p;
	unsigned segments = 2 + prog_below(g, PROG_SEGMENTS - 2);

	prog_put(g, (uint8_t[]){ 0xcc }, 1);
	g->n = 16 + prog_below(g, 4096);
	while (g->functions < 2 + prog_below(g, PROG_FUNCTIONS - 2))
		prog_function(g);
	p->entry = prog_here(g);
	while (p->segments < segments && g->n < PROG_CODE_MAX)
		prog_segment(g);
	prog_put32(g, "\xe9", 1, (uint32_t)(PROG_OUT - prog_here(g) - 5), -1);
}

void prog_make(struct prog *p, uint64_t seed, uint64_t number)
{
	struct prog_gen g = { .p = p };

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	p->number = number;
	p->rng.state =
		seed * 0xd1342543de82ef95ull ^ number * 0x9e3779b97f4a7c15ull;
	p->kernel = prog_percent(&g, 50);
	prog_pages(&g);
	memset(p->code, 0xcc, sizeof(p->code));
	for (unsigned i = 0; i < sizeof(p->mixed); i++)
		p->mixed[i] = (uint8_t)rng_next(&p->rng);
	prog_into(&g, p->mixed, PROG_MIXED, 1024);
	prog_function(&g);
	prog_into(&g, p->code, PROG_CODE, sizeof(p->code));
	prog_main(&g);
}

uint64_t prog_next(const struct prog *p, uint64_t addr)
{
	uint64_t at = addr - PROG_CODE;

	if (at >= sizeof(p->start) || !p->start[at])
		return 0;
	while (++at < sizeof(p->start))
		if (p->start[at])
			return at + PROG_CODE;
	return 0;
}
