/*
 * diff_case.c - making cases.
 *
 * At the start every encoding is tried: each map, prefix, W, L, opcode, and
 * ModRM field that can select a row; those the decoder accepts become
 * templates, gathered by row.  A case takes a row, one of its templates, and
 * varies what a template leaves open: registers, addressing form, prefixes
 * that the row ignores or obeys, immediates.  So each row gets the same share,
 * however many encodings it has, and a row that is added to the tables is
 * tested without a word here.
 *
 * Registers are then set so that the memory operand lies where we want it:
 * mostly in the two writable pages, often across them, sometimes over an end.
 */
#include "diff.h"
#include "diff_rand.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/x86/cpuid.h"
#include "cpu/x86/fpu.h"

/* --- What is left out, and why -----------------------------------------------
 */

static const struct {
	uint16_t op;
	const char *why;
} diff_left_out[] = {
	/* Different each time, or on each processor */
	{ X86_RDTSC, "time" },
	{ X86_RDTSCP, "time" },
	{ X86_RDPMC, "counters; the host decides who may read them" },
	{ X86_RDRAND, "random" },
	{ X86_RDSEED, "random" },
	{ X86_RDPID, "which processor" },
	{ X86_CPUID, "the guest's processor is another model" },
	{ X86_XGETBV, "the host's XCR0 has more" },
	/* Enter the host's kernel or hypervisor */
	{ X86_SYSCALL, "host system call" },
	{ X86_SYSENTER, "host system call" },
	{ X86_INT, "host's IDT" },
	{ X86_VMCALL, "host's hypervisor" },
	{ X86_INT1, "hypervisors report it as fault or as trap" },
	/* Depend on the host's descriptor tables, or are emulated by its
	 * kernel (UMIP); guests test them */
	{ X86_SGDT, "UMIP" },
	{ X86_SIDT, "UMIP" },
	{ X86_SLDT, "UMIP" },
	{ X86_STR, "UMIP" },
	{ X86_SMSW, "UMIP" },
	{ X86_LAR, "host's GDT" },
	{ X86_LSL, "host's GDT" },
	{ X86_VERR, "host's GDT" },
	{ X86_VERW, "host's GDT" },
	{ X86_ARPL, "32-bit only" },
	{ X86_POP_SREG, "host's GDT" },
	{ X86_LSS, "host's GDT" },
	{ X86_JMP_FAR, "host's GDT" },
	{ X86_CALL_FAR, "host's GDT" },
	{ X86_RETF, "host's GDT" },
	{ X86_IRET, "host's GDT" },
	/* Intel and AMD differ: which exception in long mode */
	{ X86_SYSEXIT, "#UD on AMD, #GP on Intel" },
};

static bool diff_op_left_out(unsigned op)
{
	for (unsigned i = 0;
	     i < sizeof(diff_left_out) / sizeof(diff_left_out[0]); i++)
		if (diff_left_out[i].op == op)
			return true;
	return false;
}

/*
 * What AMD's processors do otherwise than Intel's, whom the decoder follows:
 * 66 makes a near branch 16 bits wide in 64-bit code too; register forms of
 * 0F 0D are #UD.  And F2 and F3, which mean nothing there, turn the condition
 * of LOOPcc round.
 */
static bool diff_is_vendors(const struct x86_insn *insn)
{
	if (insn->desc->cls == X86_CLASS_FLOW && insn->prefix & X86_PFX_66 &&
	    insn->op <= X86_JCXZ)
		return true;
	if ((insn->op == X86_LOOPE || insn->op == X86_LOOPNE) &&
	    insn->prefix & (X86_PFX_REPE | X86_PFX_REPNE))
		return true;
	return insn->map == 1 && insn->opcode == 0x0d && insn->modrm >= 0xc0;
}

static bool diff_host_is_amd(void)
{
	uint32_t a, b, c, d;

	__cpuid(0, a, b, c, d);
	return b == signature_AMD_ebx;
}

/* MOV from a segment register is tested, to it is not. */
static bool diff_is_left_out(const struct x86_insn *insn)
{
	if (insn->op == X86_MOV_SREG && insn->o[0].kind == X86_OPND_SREG)
		return true;
	return diff_op_left_out(insn->op);
}

/* --- Templates ---------------------------------------------------------------
 */

struct diff_template {
	const struct x86_desc *desc;
	bool vex, w, l, has_modrm;
	uint8_t map, pp, opcode, modrm;
};

struct diff_row {
	unsigned first, count; /* templates */
	unsigned shown;
	uint64_t cases;
};

struct diff_gen {
	unsigned mode;
	bool host_is_amd;
	struct diff_template *t;
	unsigned count, room;
	struct diff_row *rows;
	unsigned row_count;
};

static const uint8_t diff_pp[4] = { 0, 0x66, 0xf3, 0xf2 };

/* Prefixes and opcode; rex: R X B bits to set (inverted in VEX by us). */
static unsigned diff_put_opcode(uint8_t *b, const struct diff_template *t,
				unsigned rex, unsigned vvvv)
{
	unsigned n = 0;

	if (t->vex) {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)((~rex & 7) << 5 | t->map);
		b[n++] = (uint8_t)(t->w << 7 | (~vvvv & 15) << 3 | t->l << 2 |
				   t->pp);
		b[n++] = t->opcode;
		return n;
	}
	if (t->pp)
		b[n++] = diff_pp[t->pp];
	if (rex || t->w)
		b[n++] = (uint8_t)(0x40 | t->w << 3 | rex);
	if (t->map)
		b[n++] = 0x0f;
	if (t->map == 2)
		b[n++] = 0x38;
	if (t->map == 3)
		b[n++] = 0x3a;
	b[n++] = t->opcode;
	return n;
}

static void diff_gen_add(struct diff_gen *g, const struct diff_template *t)
{
	if (g->count == g->room) {
		g->room = g->room ? 2 * g->room : 65536;
		g->t = realloc(g->t, g->room * sizeof(*g->t));
		if (!g->t)
			abort();
	}
	g->t[g->count++] = *t;
}

/* Does the decoder know it?  Gathers need an index, so SIB has one. */
static bool diff_try_vvvv(struct diff_gen *g, struct diff_template *t,
			  const char *only, unsigned vvvv)
{
	uint8_t b[24] = { 0 };
	struct x86_insn insn;
	unsigned n = diff_put_opcode(b, t, 0, vvvv);

	b[n++] = t->modrm;
	b[n++] = 0x20 | 3; /* index 4 (none; xmm4), base 3 */
	if (x86_decode(&insn, b, X86_INSN_MAX, g->mode) != X86_DECODE_OK)
		return false;
	if (insn.opcode != t->opcode || insn.map != t->map)
		return false; /* the "opcode" is a prefix */
	t->desc = insn.desc;
	t->has_modrm = insn.has_modrm;
	if (diff_is_left_out(&insn) ||
	    (g->host_is_amd && diff_is_vendors(&insn)) ||
	    (only && strcmp(only, insn.desc->name) != 0))
		return false;
	diff_gen_add(g, t);
	return true;
}

/* Gathers want a mask that is no other operand, others perhaps no vvvv. */
static bool diff_try(struct diff_gen *g, struct diff_template *t,
		     const char *only)
{
	return diff_try_vvvv(g, t, only, 0) ||
	       (t->vex && diff_try_vvvv(g, t, only, 9));
}

static void diff_try_modrm(struct diff_gen *g, struct diff_template *t,
			   const char *only)
{
	for (unsigned reg = 0; reg < 8; reg++) {
		t->modrm = (uint8_t)(reg << 3 | 4);
		if (diff_try(g, t, only) && !t->has_modrm)
			return;
		for (unsigned rm = 0; rm < 8; rm++) {
			t->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
			diff_try(g, t, only);
		}
	}
}

static bool diff_is_prefix(const struct diff_template *t)
{
	static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64,
					    0x65, 0x66, 0x67, 0xf0, 0xf2,
					    0xf3, 0x0f, 0xc4, 0xc5 };

	if (t->map == 1 && !t->vex)
		return t->opcode == 0x38 || t->opcode == 0x3a;
	if (t->map)
		return false;
	return memchr(prefixes, t->opcode, sizeof(prefixes)) ||
	       (t->opcode & 0xf0) == 0x40;
}

static void diff_try_all(struct diff_gen *g, const char *only)
{
	/* bits: 0..7 opcode, 8..9 pp, 10 W, 11..12 map, 13 L, 14 VEX */
	for (unsigned i = 0; i < 1u << 15; i++) {
		struct diff_template t = {
			.opcode = (uint8_t)i,
			.pp = i >> 8 & 3,
			.w = i >> 10 & 1,
			.map = i >> 11 & 3,
			.l = i >> 13 & 1,
			.vex = i >> 14 & 1,
		};

		if ((t.vex ? t.map == 0 : t.l) || diff_is_prefix(&t))
			continue;
		diff_try_modrm(g, &t, only);
	}
}

static int diff_template_order(const void *a, const void *b)
{
	const struct diff_template *x = a, *y = b;

	if (x->desc != y->desc)
		return x->desc < y->desc ? -1 : 1;
	return memcmp(x, y, sizeof(*x));
}

static void diff_gather_rows(struct diff_gen *g)
{
	g->rows = calloc(g->count + 1, sizeof(*g->rows));
	if (!g->rows)
		abort();
	for (unsigned i = 0; i < g->count; i++) {
		if (i == 0 || g->t[i].desc != g->t[i - 1].desc)
			g->rows[g->row_count++].first = i;
		g->rows[g->row_count - 1].count++;
	}
}

struct diff_gen *diff_gen_new(unsigned mode, const char *only)
{
	struct diff_gen *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->mode = mode;
	g->host_is_amd = diff_host_is_amd();
	diff_try_all(g, only);
	if (g->count == 0) {
		free(g);
		return NULL;
	}
	qsort(g->t, g->count, sizeof(*g->t), diff_template_order);
	diff_gather_rows(g);
	return g;
}

void diff_gen_free(struct diff_gen *g)
{
	if (!g)
		return;
	free(g->t);
	free(g->rows);
	free(g);
}

unsigned diff_gen_rows(const struct diff_gen *g)
{
	return g->row_count;
}

/* Rows of which diff_is_left_out() and diff_is_vendors() leave nothing. */
static bool diff_row_left_out(const struct diff_gen *g,
			      const struct x86_desc *d)
{
	return diff_op_left_out(d->op) ||
	       (d->op == X86_MOV_SREG && d->first == 0x8e) ||
	       (d->op == X86_NOP && d->first == 0x0d && g->host_is_amd);
}

static bool diff_gen_has(const struct diff_gen *g, const struct x86_desc *d)
{
	for (unsigned i = 0; i < g->row_count; i++)
		if (g->t[g->rows[i].first].desc == d)
			return true;
	return false;
}

unsigned diff_gen_missing(const struct diff_gen *g, FILE *out)
{
	unsigned wrong_mode =
		g->mode == X86_MODE_CODE64 ? X86_ATTR_NO64 : X86_ATTR_ONLY64;
	unsigned missing = 0;
	const struct x86_desc *d;

	for (unsigned i = 0; (d = x86_desc_at(i)); i++) {
		if (d->attr & wrong_mode || diff_row_left_out(g, d) ||
		    (d->feature && !x86_has(d->feature)) || diff_gen_has(g, d))
			continue;
		fprintf(out, "diff: row %u, %s (opcode %02x), is not tested\n",
			i, d->name, d->first);
		missing++;
	}
	return missing;
}

void diff_gen_report(const struct diff_gen *g, FILE *out)
{
	for (unsigned i = 0; i < g->row_count; i++)
		fprintf(out, "%-20s %6u encodings %10llu cases\n",
			g->t[g->rows[i].first].desc->name, g->rows[i].count,
			(unsigned long long)g->rows[i].cases);
}

/* --- The instruction's bytes
 * --------------------------------------------------- */

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
	c->bytes[c->insn.len - 2] &= 1;
	c->bytes[c->insn.len - 1] &= 0xe7;
	x86_decode(&c->insn, c->bytes, X86_INSN_MAX, c->mode);
}

/* One try; false if the decoder refuses what came out. */
static bool diff_make_insn(struct diff_gen *g, struct diff_rand *r,
			   struct diff_case *c, const struct diff_template *t)
{
	unsigned rex = g->mode == X86_MODE_CODE64 && diff_rand_percent(r, 60)
			       ? diff_rand_below(r, 8)
			       : 0;
	unsigned n = diff_put_prefixes(r, c->bytes, t);
	uint64_t tail = diff_rand64(r);
	unsigned vvvv = diff_rand_percent(r, 50) ? diff_rand_below(r, 16) : 0;

	n += diff_put_opcode(c->bytes + n, t, rex, vvvv);
	if (t->has_modrm)
		n += diff_put_modrm(r, c->bytes + n, t);
	memcpy(c->bytes + n, &tail, 8);
	if (x86_decode(&c->insn, c->bytes, X86_INSN_MAX, g->mode) !=
	    X86_DECODE_OK)
		return false;
	if (c->insn.op == X86_ENTER)
		diff_tame_enter(r, c);
	if (g->host_is_amd && diff_is_vendors(&c->insn))
		return false;
	if (diff_is_xsave(&c->insn) &&
	    ((c->insn.base & ~2) == 0 || (c->insn.index & ~2) == 0))
		return false; /* RAX and RDX are the mask */
	return c->insn.desc == t->desc && !diff_is_left_out(&c->insn);
}

/* --- State -------------------------------------------------------------------
 */

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
	/* Upper halves clean in some cases: nothing may dirty them. */
	if (diff_rand_percent(r, 75))
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

	memcpy(c->bytes + c->insn.len - c->insn.imm_bytes - 4, &d, 4);
	c->insn.disp = (int32_t)d;
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
		memcpy(c->bytes + in->len - in->imm_bytes, &want,
		       in->imm_bytes);
		c->insn.imm = want;
	} else if (!in->has_modrm) { /* the same with a 32-bit offset */
		memcpy(c->bytes + in->len - in->imm_bytes, &want, 4);
	} else if (in->base == X86_REG_RIP) {
		diff_patch_disp(c, at - diff_segment_base(c) - DIFF_INSN -
					   in->len);
	} else if (in->base == X86_NO_REG && !has_index) {
		diff_patch_disp(c, at - diff_segment_base(c));
	} else if (in->base == X86_NO_REG) {
		gpr[in->index] = want >> in->scale;
	} else if (has_index && in->base == in->index) {
		gpr[in->base] = want / (1 + (1ull << in->scale));
	} else {
		gpr[in->base] = want - scaled;
	}
}

static uint64_t diff_effective(const struct diff_case *c)
{
	const struct x86_insn *in = &c->insn;
	uint64_t ea = (uint64_t)(int64_t)in->disp;

	if (in->base == X86_REG_MOFFS)
		ea = in->imm;
	else if (in->base == X86_REG_RIP)
		ea += DIFF_INSN + in->len;
	else if (in->base != X86_NO_REG)
		ea += c->in.gpr[in->base & 15];
	if (in->index != X86_NO_REG && !(in->desc->attr & X86_ATTR_VSIB))
		ea += c->in.gpr[in->index & 15] << in->scale;
	return in->addrsize == 8 ? ea : (uint32_t)ea;
}

/* Where an indirect branch leads: an INT3, or anywhere. */
static uint64_t diff_random_target(struct diff_rand *r)
{
	unsigned how = diff_rand_below(r, 10);

	if (how < 6)
		return DIFF_CODE + diff_rand_below(r, 0x700);
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
	c->in.rip = DIFF_INSN;
	c->in.vector = DIFF_NO_VECTOR;
}

/* --- Memory ------------------------------------------------------------------
 */

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

/* --- The case ----------------------------------------------------------------
 */

/* A branch into the instruction or the jump behind it would run on. */
static bool diff_branch_ok(const struct diff_case *c)
{
	uint64_t target = DIFF_INSN + c->insn.len + c->insn.imm;

	if (c->insn.o[0].kind != X86_OPND_REL)
		return true;
	return target < DIFF_INSN || target >= DIFF_INSN + 40 ||
	       target == DIFF_INSN + c->insn.len;
}

static void diff_pick_insn(struct diff_gen *g, struct diff_rand *r,
			   struct diff_case *c)
{
	struct diff_row *row;
	const struct diff_template *t;

	do {
		row = &g->rows[diff_rand_below(r, g->row_count)];
		t = &g->t[row->first + diff_rand_below(r, row->count)];
	} while (!diff_make_insn(g, r, c, t) || !diff_branch_ok(c));
	row->cases++;
	c->shown = &row->shown;
}

void diff_gen_case(struct diff_gen *g, struct diff_case *c, uint64_t seed,
		   uint64_t number)
{
	struct diff_rand r;
	uint64_t at;

	diff_rand_seed(&r, seed, number);
	c->seed = seed;
	c->number = number;
	c->mode = g->mode;
	diff_pick_insn(g, &r, c);
	c->len = c->insn.len;
	diff_random_gprs(&r, c);
	c->uses_fpu = diff_uses_fpu(&c->insn);
	if (c->uses_fpu)
		diff_random_fpu(&r, c->in.fpu);
	diff_tame_bit_offset(&r, c);
	diff_tame_divide(&r, c);
	diff_aim_implicit(&r, c);
	diff_tame_xsave(c);
	if (c->insn.desc->attr & X86_ATTR_VSIB)
		diff_tame_vsib(&r, c);
	at = diff_random_address(&r);
	if (c->insn.op >= X86_FXSAVE && c->insn.op <= X86_XRSTORS &&
	    diff_rand_percent(&r, 70))
		at = DIFF_DATA_RW + 64 * diff_rand_below(&r, 116);
	if (c->insn.has_mem)
		diff_aim(c, at);
	else
		at = c->in.gpr[c->insn.desc->cls == X86_CLASS_STRING ? X86_RSI
								     : X86_RSP];
	if (c->insn.has_mem)
		c->operand = diff_effective(c) + diff_segment_base(c);
	diff_random_memory(&r, c, at);
	diff_tame_branch(&r, c);
}
