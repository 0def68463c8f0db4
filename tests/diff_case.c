/*
 * diff_case.c - making cases.
 *
 * A case takes rows, of each one of its templates (diff_rows.c), and varies
 * what a template leaves open: registers, addressing form, prefixes that the
 * row ignores or obeys, immediates.  So each row gets the same share, however
 * many encodings it has.
 *
 * Registers are then set so that the memory operand lies where we want it:
 * mostly in the two writable pages, often across them, sometimes over an end.
 * In a case of several instructions the first use of a base register counts.
 */
#include "diff_gen.h"
#include "diff_rand.h"

#include <string.h>

#include "cpu/x86/fpu.h"

/* The instruction being made: its bytes, and its address. */
static uint8_t *diff_code(struct diff_case *c)
{
	return c->bytes + c->at;
}

static uint64_t diff_here(const struct diff_case *c)
{
	return DIFF_INSN + c->at;
}

/* --- The instruction's bytes --------------------------------------------- */

/* LOCK, or before VEX also 66, F2, F3.  AMD's LOCK MOV CR0 is MOV CR8. */
static uint8_t diff_bad_prefix(struct diff_rand *r,
			       const struct diff_template *t)
{
	static const uint8_t bad[] = { 0xf0, 0x66, 0xf2, 0xf3 };

	if (t->desc->op == X86_MOV_CR)
		return 0x3e;
	return bad[t->vex ? diff_rand_below(r, sizeof(bad)) : 0];
}

static unsigned diff_put_prefixes(struct diff_rand *r, uint8_t *b,
				  const struct diff_template *t)
{
	static const uint8_t seg[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned n = 0;

	if (diff_rand_percent(r, 8))
		b[n++] = seg[diff_rand_below(r, sizeof(seg))];
	if (diff_rand_percent(r, 4))
		b[n++] = 0x67;
	if (t->desc->attr & X86_ATTR_LOCK && t->modrm < 0xc0 &&
	    diff_rand_percent(r, 15))
		b[n++] = 0xf0;
	if (diff_rand_percent(r, 1)) /* undefined, as a rule */
		b[n++] = diff_bad_prefix(r, t);
	return n;
}

/* ModRM, SIB and displacement; a register form keeps the template's fields
 * where they choose the row, and a memory form gets any addressing. */
static unsigned diff_put_modrm(struct diff_rand *r, uint8_t *b,
			       const struct diff_template *t)
{
	unsigned mod = diff_rand_below(r, 3), rm = diff_rand_below(r, 8);
	unsigned n = 0;
	uint32_t disp = (uint32_t)diff_value_int(r);

	if (t->modrm >= 0xc0) {
		b[n++] = t->modrm;
		return n;
	}
	if (t->desc->attr & X86_ATTR_VSIB)
		rm = 4;
	b[n++] = (uint8_t)(mod << 6 | (t->modrm & 0x38) | rm);
	if (rm == 4)
		b[n++] = (uint8_t)diff_rand64(r);
	if (mod == 1)
		b[n++] = (uint8_t)disp;
	if (mod == 2 || (mod == 0 && rm == 5) ||
	    (mod == 0 && rm == 4 && (b[1] & 7) == 5)) {
		memcpy(b + n, &disp, 4);
		n += 4;
	}
	return n;
}

static bool diff_is_xsave(const struct x86_insn *insn)
{
	return insn->op >= X86_XSAVE && insn->op <= X86_XRSTOR;
}

/* A frame that fits into the data pages, mostly. */
static void diff_tame_enter(struct diff_rand *r, struct diff_case *c)
{
	if (diff_rand_percent(r, 20))
		return;
	diff_code(c)[c->insn.len - 2] &= 1;
	diff_code(c)[c->insn.len - 1] &= 0xe7;
	x86_decode(&c->insn, diff_code(c), X86_INSN_MAX, c->mode);
}

/* The host must find it undefined too. */
static void diff_make_undefined(struct diff_case *c,
				const struct diff_template *t, unsigned len)
{
	c->insn = (struct x86_insn){ .desc = t->desc,
				     .op = X86_UD,
				     .len = (uint8_t)len,
				     .base = X86_NO_REG,
				     .index = X86_NO_REG };
}

/* One try; false if the decoder refuses what came out. */
static bool diff_make_insn(struct diff_gen *g, struct diff_rand *r,
			   struct diff_case *c, const struct diff_template *t)
{
	unsigned rex = g->mode == X86_MODE_CODE64 && diff_rand_percent(r, 60)
			       ? diff_rand_below(r, 8)
			       : 0;
	unsigned n = diff_put_prefixes(r, diff_code(c), t);
	uint64_t tail = diff_rand64(r);
	unsigned vvvv = diff_rand_percent(r, 50) ? diff_rand_below(r, 16) : 0;

	n += diff_put_opcode(diff_code(c) + n, t, rex, vvvv);
	if (t->has_modrm)
		n += diff_put_modrm(r, diff_code(c) + n, t);
	memcpy(diff_code(c) + n, &tail, 8);
	switch (x86_decode(&c->insn, diff_code(c), X86_INSN_MAX, g->mode)) {
	case X86_DECODE_OK:
		break;
	case X86_DECODE_UD: /* a bad prefix, or vvvv that must be 1111 */
		diff_make_undefined(c, t, n);
		return diff_rand_percent(r, 10);
	default:
		return false;
	}
	if (c->insn.op == X86_ENTER)
		diff_tame_enter(r, c);
	if (g->host_is_amd && diff_is_vendors(&c->insn, g->mode))
		return false;
	if (diff_is_xsave(&c->insn) &&
	    ((c->insn.base & ~2) == 0 || (c->insn.index & ~2) == 0))
		return false; /* RAX and RDX are the mask */
	return c->insn.desc == t->desc && !diff_is_left_out(&c->insn);
}

/* --- State --------------------------------------------------------------- */

#define DIFF_FLAGS_RANDOM (X86_FLAGS_ARITH | X86_FLAG_DF)

static uint32_t diff_random_mxcsr(struct diff_rand *r)
{
	uint32_t v = (uint32_t)diff_rand64(r) & 0xe07f; /* RC, FTZ, DAZ */

	if (diff_rand_percent(r, 60))
		v &= 0x603f;
	if (diff_rand_percent(r, 40))
		v &= 0xffc0;
	if (diff_rand_percent(r, 80))
		return v | 0x1f80;
	return v | (diff_rand64(r) & 0x1f80);
}

/* FOP; FIP and FDP of 47 bits, of which all processors keep that many. */
static void diff_random_pointers(struct diff_rand *r, uint8_t *fpu)
{
	uint16_t fop = diff_rand64(r) & 0x7ff;
	uint64_t fip = diff_rand64(r) >> 17, fdp = diff_rand64(r) >> 17;

	memcpy(fpu + FPU_FOP, &fop, 2);
	memcpy(fpu + FPU_FIP, &fip, 8);
	memcpy(fpu + FPU_FDP, &fdp, 8);
}

static void diff_random_x87(struct diff_rand *r, uint8_t *fpu)
{
	uint16_t fcw = (uint16_t)(0x40 | (diff_rand64(r) & 0x0f00) | 0x3f);
	uint16_t fsw = (uint16_t)(diff_rand64(r) & 0x7f7f);
	uint8_t ftw = (uint8_t)diff_rand64(r);

	if (diff_rand_percent(r, 50))
		fcw |= 0x0300; /* extended precision */
	if (diff_rand_percent(r, 20))
		fcw &= (uint16_t)(diff_rand64(r) | 0xffc0);
	if (diff_rand_percent(r, 60))
		ftw |= (uint8_t)(ftw << 1) | (uint8_t)(ftw >> 3);
	if (diff_rand_percent(r, 85))
		fsw &= (uint16_t)(fcw | 0xffc0); /* nothing is pending */
	if (fsw & ~fcw & 0x3f)
		fsw |= FPU_FSW_ES | FPU_FSW_B;
	diff_random_pointers(r, fpu);
	memcpy(fpu + FPU_FCW, &fcw, 2);
	memcpy(fpu + FPU_FSW, &fsw, 2);
	fpu[FPU_FTW] = ftw;
	for (unsigned i = 0; i < 8; i++)
		diff_value_st(r, fpu + FPU_ST + 16 * i);
}

static void diff_random_fpu(struct diff_rand *r, uint8_t *fpu)
{
	uint32_t mxcsr = diff_random_mxcsr(r), mask = 0xffff;
	uint64_t present = 7;

	memset(fpu, 0, X86_XSAVE_SIZE);
	diff_random_x87(r, fpu);
	memcpy(fpu + FPU_MXCSR, &mxcsr, 4);
	memcpy(fpu + FPU_MXCSR_MASK, &mask, 4);
	for (unsigned i = 0; i < 16; i++)
		diff_value_vector(r, fpu + X86_XMM_OFFSET + 16 * i, 16);
	/* Upper halves in their initial state in some cases. */
	if (diff_rand_percent(r, 25))
		present = X86_XCR0_X87 | X86_XCR0_SSE;
	else
		for (unsigned i = 0; i < 16; i++)
			diff_value_vector(r, fpu + X86_YMMH_OFFSET + 16 * i,
					  16);
	memcpy(fpu + FPU_XSTATE_BV, &present, 8);
}

static bool diff_uses_fpu(const struct x86_insn *insn)
{
	return insn->desc->cls >= X86_CLASS_X87;
}

/* Where a memory operand shall lie. */
static uint64_t diff_random_address(struct diff_rand *r)
{
	unsigned how = diff_rand_below(r, 100);
	unsigned near = diff_rand_below(r, 80);

	if (how < 50) /* aligned */
		return DIFF_DATA_RW + 64 * diff_rand_below(r, 112);
	if (how < 72)
		return DIFF_DATA_RW + diff_rand_below(r, 8192 - 1100);
	if (how < 84) /* across the two pages */
		return DIFF_DATA_RW + 0x1000 - near;
	if (how < 92) /* over the end */
		return DIFF_DATA_END - near;
	if (how < 96) /* over the read-only page's end */
		return DIFF_DATA_RW - near;
	if (how < 98)
		return DIFF_DATA + diff_rand_below(r, 4096);
	if (how < 99)
		return DIFF_DATA_END + diff_rand_below(r, 4096);
	return diff_value_int(r);
}

static uint64_t diff_segment_base(const struct diff_case *c)
{
	return c->insn.seg == X86_FS   ? c->in.fs
	       : c->insn.seg == X86_GS ? c->in.gs
				       : 0;
}

/* Writes disp into the bytes: it ends imm_bytes before the instruction does. */
static void diff_patch_disp(struct diff_case *c, uint64_t disp)
{
	uint32_t d = (uint32_t)disp;

	memcpy(diff_code(c) + c->insn.len - c->insn.imm_bytes - 4, &d, 4);
	c->insn.disp = (int32_t)d;
}

static void diff_aim_gpr(struct diff_case *c, unsigned reg, uint64_t value)
{
	if (!(c->aimed >> reg & 1))
		c->in.gpr[reg] = value;
	c->aimed |= (uint16_t)(1 << reg);
}

/* Sets base, index or displacement so that the operand lies at `at`. */
static void diff_aim(struct diff_case *c, uint64_t at)
{
	const struct x86_insn *in = &c->insn;
	uint64_t *gpr = c->in.gpr;
	bool vsib = in->desc->attr & X86_ATTR_VSIB;
	bool has_index = in->index != X86_NO_REG && !vsib;
	uint64_t scaled = has_index ? gpr[in->index & 15] << in->scale : 0;
	uint64_t want = at - diff_segment_base(c) -
			(in->has_modrm ? (uint64_t)(int64_t)in->disp : 0);

	if (in->base == X86_REG_MOFFS) {
		memcpy(diff_code(c) + in->len - in->imm_bytes, &want,
		       in->imm_bytes);
		c->insn.imm = want;
	} else if (!in->has_modrm) { /* the same with a shorter offset */
		memcpy(diff_code(c) + in->len - in->imm_bytes, &want,
		       in->imm_bytes);
	} else if (in->base == X86_REG_RIP) {
		diff_patch_disp(c, at - diff_segment_base(c) - DIFF_INSN -
					   in->len);
	} else if (in->base == X86_NO_REG && !has_index && in->addrsize == 2) {
		memcpy(diff_code(c) + in->len - in->imm_bytes - 2, &want, 2);
		c->insn.disp = (int16_t)at;
	} else if (in->base == X86_NO_REG && !has_index) {
		diff_patch_disp(c, at - diff_segment_base(c));
	} else if (in->base == X86_NO_REG) {
		diff_aim_gpr(c, in->index, want >> in->scale);
	} else if (has_index && in->base == in->index) {
		diff_aim_gpr(c, in->base, want / (1 + (1ull << in->scale)));
	} else {
		diff_aim_gpr(c, in->base, want - scaled);
	}
}

static uint64_t diff_effective(const struct diff_case *c)
{
	const struct x86_insn *in = &c->insn;
	uint64_t ea = (uint64_t)(int64_t)in->disp;

	if (in->base == X86_REG_MOFFS)
		ea = in->imm;
	else if (in->base == X86_REG_RIP)
		ea += diff_here(c) + in->len;
	else if (in->base != X86_NO_REG)
		ea += c->in.gpr[in->base & 15];
	if (in->index != X86_NO_REG && !(in->desc->attr & X86_ATTR_VSIB))
		ea += c->in.gpr[in->index & 15] << in->scale;
	return in->addrsize == 8   ? ea
	       : in->addrsize == 4 ? (uint32_t)ea
				   : (uint16_t)ea;
}

/* Where an indirect branch leads: an INT3, or anywhere. */
static uint64_t diff_random_target(struct diff_rand *r)
{
	unsigned how = diff_rand_below(r, 10);

	if (how < 6)
		return DIFF_CODE + diff_rand_below(r, 0x400);
	return how < 8 ? diff_rand64(r) >> 17 : diff_value_int(r);
}

static void diff_tame_branch(struct diff_rand *r, struct diff_case *c)
{
	const struct x86_insn *in = &c->insn;
	uint64_t to = diff_random_target(r);

	if (in->op != X86_JMP_IND && in->op != X86_CALL_IND &&
	    in->op != X86_RET)
		return;
	if (in->o[0].kind == X86_OPND_GPR)
		c->in.gpr[in->o[0].reg] = to;
	else
		memcpy(c->patch, &to, 8);
}

/* BT and kin with a register: the bit's number moves the address. */
static void diff_tame_bit_offset(struct diff_rand *r, struct diff_case *c)
{
	const struct x86_insn *in = &c->insn;
	bool bt = in->op == X86_BT || in->op == X86_BTS || in->op == X86_BTR ||
		  in->op == X86_BTC;

	if (bt && in->o[1].kind == X86_OPND_GPR && diff_rand_percent(r, 90))
		c->in.gpr[in->o[1].reg] =
			(uint64_t)(int64_t)((int)diff_rand_below(r, 4096) -
					    2048);
}

/* The index of a gather: small numbers around the base. */
static void diff_tame_vsib(struct diff_rand *r, struct diff_case *c)
{
	unsigned reg = c->insn.index & 15;
	bool wide = c->insn.opcode & 1;

	c->in.fpu[FPU_XSTATE_BV] |= X86_XCR0_AVX;

	for (unsigned i = 0; i < 8; i++) {
		uint8_t *p = c->in.fpu +
			     (i < 4 ? X86_XMM_OFFSET : X86_YMMH_OFFSET - 16) +
			     16 * reg + 4 * i;
		int32_t v = (int32_t)diff_rand_below(r, 256) - 128;

		if (wide && i & 1)
			v = diff_rand_percent(r, 97) ? -(p[-1] >> 7) : v;
		memcpy(p, &v, 4);
	}
}

/* Operands that no operand says: strings, stack, XLAT, MASKMOV. */
static void diff_aim_implicit(struct diff_rand *r, struct diff_case *c)
{
	uint64_t *gpr = c->in.gpr;
	bool string = c->insn.desc->cls == X86_CLASS_STRING;

	gpr[X86_RSP] =
		diff_rand_percent(r, 70)
			? DIFF_DATA_RW + 0x100 + 8 * diff_rand_below(r, 960)
			: diff_random_address(r);
	if (c->insn.op == X86_LEAVE || c->insn.op == X86_ENTER)
		gpr[X86_RBP] = diff_random_address(r);
	if (string || c->insn.op == X86_MASKMOV) {
		gpr[X86_RSI] = diff_random_address(r);
		gpr[X86_RDI] = diff_random_address(r);
		if (diff_rand_percent(r, 90))
			gpr[X86_RCX] = diff_rand_below(r, 40);
	}
	if (c->insn.op == X86_XLAT)
		gpr[X86_RBX] = diff_random_address(r) - (gpr[X86_RAX] & 0xff);
	if (string || c->insn.op == X86_MASKMOV || c->insn.op == X86_XLAT)
		gpr[X86_RSI] -= diff_segment_base(c);
	if (c->insn.op == X86_MASKMOV || c->insn.op == X86_XLAT) {
		gpr[X86_RDI] -= diff_segment_base(c);
		gpr[X86_RBX] -= diff_segment_base(c);
	}
}

/* Quotients that fit are rare among random numbers. */
static void diff_tame_divide(struct diff_rand *r, struct diff_case *c)
{
	if ((c->insn.op == X86_DIV || c->insn.op == X86_IDIV) &&
	    diff_rand_percent(r, 60))
		c->in.gpr[X86_RDX] =
			diff_rand_percent(r, 50) ? 0 : diff_rand_below(r, 256);
	if (c->insn.op == X86_IDIV && diff_rand_percent(r, 30))
		c->in.gpr[X86_RDX] =
			(uint64_t)((int64_t)c->in.gpr[X86_RAX] >> 63);
}

/* The host's XCR0 has components that the guest's has not: not asked for. */
static void diff_tame_xsave(struct diff_case *c)
{
	if (diff_is_xsave(&c->insn)) {
		c->in.gpr[X86_RAX] &= 7;
		c->in.gpr[X86_RDX] &= 0x80000000;
	}
}

static void diff_random_gprs(struct diff_rand *r, struct diff_case *c)
{
	for (unsigned i = 0; i < 16; i++)
		c->in.gpr[i] = diff_value_int(r);
	c->in.fs = diff_rand_percent(r, 50) ? DIFF_DATA_RW : 0x1000;
	c->in.gs = diff_rand_percent(r, 50) ? DIFF_DATA_RW + 0x800
					    : diff_rand64(r) >> 17;
	c->in.rflags =
		(diff_rand64(r) & DIFF_FLAGS_RANDOM) | X86_FLAG_1 | X86_FLAG_IF;
	if (diff_rand_percent(r, 70))
		c->in.rflags &= ~X86_FLAG_DF;
	if (c->mode != X86_MODE_CODE64)
		c->in.fs = c->in.gs = 0; /* null selectors */
	c->in.rip = DIFF_INSN;
	c->in.vector = DIFF_NO_VECTOR;
}

/* --- Memory -------------------------------------------------------------- */

static void diff_clip_patch(struct diff_case *c, uint64_t at, unsigned len)
{
	if (at < DIFF_DATA_RW || at >= DIFF_DATA_END)
		at = DIFF_DATA_RW;
	if (len > DIFF_DATA_END - at)
		len = (unsigned)(DIFF_DATA_END - at);
	c->patch_at = at;
	c->patch_len = len;
}

/* One bit that no processor's XCR0 has, or the compact format's. */
static void diff_spoil_header(struct diff_rand *r, uint8_t *header)
{
	unsigned i = diff_rand_below(r, 64);

	header[i] ^= i == 0 || i == 8 ? 0x10 : 0x80;
}

/* XRSTOR: a header that is legal, or nearly so. */
static void diff_patch_xsave(struct diff_rand *r, struct diff_case *c)
{
	uint64_t bv = diff_rand64(r) & 7, comp = 0;
	uint32_t mxcsr = diff_random_mxcsr(r);

	if (c->patch_len < 576)
		return;
	if (diff_rand_percent(r, 30))
		comp = 1ull << 63 | bv | (diff_rand64(r) & 7);
	memset(c->patch + 512, 0, 64);
	if (diff_rand_percent(r, 90)) {
		memcpy(c->patch + FPU_MXCSR, &mxcsr, 4);
		if (diff_rand_percent(r, 5)) /* compact, or illegal */
			diff_spoil_header(r, c->patch + 512);
	}
	for (unsigned i = 0; i < 8; i++)
		c->patch[512 + i] ^= (uint8_t)(bv >> 8 * i);
	for (unsigned i = 0; i < 8; i++)
		c->patch[520 + i] ^= (uint8_t)(comp >> 8 * i);
}

static void diff_random_memory(struct diff_rand *r, struct diff_case *c,
			       uint64_t at)
{
	unsigned cls = c->insn.desc->cls, op = c->insn.op;
	bool area = op >= X86_FXSAVE && op <= X86_XRSTORS;
	bool env = op >= X86_FNSTENV && op <= X86_FRSTOR;
	uint32_t mxcsr = diff_random_mxcsr(r);

	diff_clip_patch(c, at, area ? X86_XSAVE_SIZE : env ? 128 : 64);
	for (unsigned i = 0; i < c->patch_len; i += 16)
		if (cls == X86_CLASS_X87 || env)
			diff_value_st(r, c->patch + i);
		else
			diff_value_vector(r, c->patch + i, 16);
	if (op == X86_FXRSTOR && diff_rand_percent(r, 90))
		memcpy(c->patch + FPU_MXCSR, &mxcsr, 4);
	if (op == X86_LDMXCSR && diff_rand_percent(r, 80))
		memcpy(c->patch, &mxcsr, 4);
	if (area && op != X86_FXSAVE && op != X86_FXRSTOR)
		diff_patch_xsave(r, c);
}

/* --- The case ------------------------------------------------------------ */

/* Outside everything that the host has behind the instructions. */
static bool diff_branch_ok(const struct diff_case *c)
{
	uint64_t target = diff_here(c) + c->insn.len + c->insn.imm;

	if (c->mode != X86_MODE_CODE64)
		target = (uint32_t)target;

	if (c->insn.o[0].kind != X86_OPND_REL)
		return true;
	return target < DIFF_INSN || target >= DIFF_INSN + DIFF_CODE_BYTES ||
	       (c->count == 1 && target == diff_here(c) + c->insn.len);
}

/*
 * What a case of several instructions cannot have: INT3 ends it, POPF may set
 * TF, state areas are compared by their place in the case, FNSTENV shows the
 * selectors of the pointers (which guests are told not to have), and what SHLD
 * and SHRD by too much give is undefined.
 */
static bool diff_fits_sequence(const struct x86_insn *in)
{
	return in->op != X86_INT3 && in->op != X86_POPF && in->op != X86_SHLD &&
	       in->op != X86_SHRD && in->op != X86_FNSTENV &&
	       in->op != X86_FNSAVE &&
	       !(in->op >= X86_FXSAVE && in->op <= X86_XRSTORS);
}

static void diff_pick_insn(struct diff_gen *g, struct diff_rand *r,
			   struct diff_case *c)
{
	struct diff_row *row;
	const struct diff_template *t;

	do {
		row = &g->rows[diff_rand_below(r, g->row_count)];
		t = &g->t[row->first + diff_rand_below(r, row->count)];
	} while (!diff_make_insn(g, r, c, t) || !diff_branch_ok(c) ||
		 (g->length > 1 && !diff_fits_sequence(&c->insn)));
	row->cases++;
	c->shown = &row->shown;
}

/* Registers for the instruction just made; where its memory lies. */
static uint64_t diff_prepare(struct diff_rand *r, struct diff_case *c)
{
	unsigned op = c->insn.op;
	uint64_t at = diff_random_address(r);
	bool string = c->insn.desc->cls == X86_CLASS_STRING;

	diff_tame_bit_offset(r, c);
	diff_tame_divide(r, c);
	if (c->at == 0 || string || op == X86_MASKMOV || op == X86_XLAT)
		diff_aim_implicit(r, c);
	diff_tame_xsave(c);
	if (c->insn.desc->attr & X86_ATTR_VSIB)
		diff_tame_vsib(r, c);
	if (op >= X86_FXSAVE && op <= X86_XRSTORS && diff_rand_percent(r, 70))
		at = DIFF_DATA_RW + 64 * diff_rand_below(r, 116);
	if (!c->insn.has_mem)
		return c->in.gpr[string ? X86_RSI : X86_RSP];
	diff_aim(c, at);
	c->operand = diff_effective(c) + diff_segment_base(c);
	return at;
}

static void diff_add_insn(struct diff_gen *g, struct diff_rand *r,
			  struct diff_case *c)
{
	uint64_t at;

	c->at = c->len;
	diff_pick_insn(g, r, c);
	at = diff_prepare(r, c);
	if (c->count == 0)
		diff_random_memory(r, c, at);
	diff_tame_branch(r, c);
	c->uses_fpu |= diff_uses_fpu(&c->insn);
	c->start[c->count] = c->at;
	c->seq[c->count++] = c->insn;
	c->len += c->insn.len;
}

/* Half of a sequence's relative branches lead to a later instruction. */
static void diff_link_branches(struct diff_rand *r, struct diff_case *c)
{
	for (unsigned i = 0; i + 1 < c->count; i++) {
		struct x86_insn *in = &c->seq[i];
		unsigned to = i + 1 + diff_rand_below(r, c->count - i);
		unsigned target = to < c->count ? c->start[to] : c->len;
		uint32_t rel = target - c->start[i] - in->len;

		if (in->o[0].kind != X86_OPND_REL || diff_rand_percent(r, 50))
			continue;
		in->imm = rel;
		memcpy(c->bytes + c->start[i] + in->len - in->imm_bytes, &rel,
		       in->imm_bytes);
	}
}

void diff_gen_case(struct diff_gen *g, struct diff_case *c, uint64_t seed,
		   uint64_t number)
{
	struct diff_rand r;

	diff_rand_seed(&r, seed, number);
	c->seed = seed;
	c->number = number;
	c->mode = g->mode;
	c->count = c->len = 0;
	c->uses_fpu = false;
	c->aimed = 0;
	diff_random_gprs(&r, c);
	diff_random_fpu(&r, c->in.fpu);
	while (c->count < g->length)
		diff_add_insn(g, &r, c);
	diff_link_branches(&r, c);
	if (g->mode == X86_MODE_CODE64)
		return;
	for (unsigned i = 0; i < 16; i++)
		c->in.gpr[i] = i < 8 ? (uint32_t)c->in.gpr[i] : 0;
}
