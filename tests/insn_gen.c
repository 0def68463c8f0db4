/*
 * insn_gen.c - random valid encodings of a row of the decoder's tables.
 *
 * A candidate is made from what the row says of prefixes, ModRM, W and L, the
 * rest at random; the decoder is asked whether it is the row.  What the row
 * does not say (LOCK on a register, CR5, a gather with equal registers) costs
 * another try.
 */
#include "insn_gen.h"

#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/optable.h"

#define GEN_TRIES 64

struct gen {
	struct rng *rng;
	const struct x86_desc *row;
	unsigned mode;
	bool code64;
	uint8_t *out;
	unsigned n;
};

static void gen_put(struct gen *g, uint8_t b)
{
	g->out[g->n++] = b;
}

/* Does the row ask for a certain value of these bits of the key? */
static bool gen_asks(const struct gen *g, unsigned mask)
{
	return (g->row->match >> 16 & mask) == mask;
}

/* The bits as the row wants them, or at random. */
static unsigned gen_key(const struct gen *g, unsigned mask)
{
	if (gen_asks(g, mask))
		return g->row->match & mask;
	return rng_next(g->rng) & mask;
}

static bool gen_has_operand(const struct gen *g, unsigned from)
{
	for (unsigned i = 0; i < 4; i++)
		if (optable_specs[g->row->spec[i]].from == from)
			return true;
	return false;
}

static bool gen_reads_vvvv(const struct gen *g)
{
	return gen_has_operand(g, OPTABLE_H) || gen_has_operand(g, OPTABLE_B);
}

/* The mandatory prefix, numbered as in VEX.pp; 66 as operand size is another
 * matter. */
static unsigned gen_pp(const struct gen *g)
{
	return gen_asks(g, 3) ? g->row->match & 3 : 0;
}

/* Gathers need 32-bit addresses at least. */
static bool gen_needs_67(const struct gen *g)
{
	return (g->row->attr & X86_ATTR_VSIB) &&
	       (g->mode & X86_MODE_CODE) == X86_MODE_CODE16;
}

static void gen_ignorable_prefixes(struct gen *g)
{
	static const uint8_t segments[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65
	};

	if (gen_needs_67(g) || rng_one_in(g->rng, 16))
		gen_put(g, 0x67);
	if (rng_one_in(g->rng, 16))
		gen_put(g, segments[rng_below(g->rng, 6)]);
}

static void gen_legacy_prefixes(struct gen *g)
{
	static const uint8_t byte[4] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned pp = gen_pp(g);
	bool string = g->row->cls == X86_CLASS_STRING;

	gen_ignorable_prefixes(g);
	if ((g->row->attr & X86_ATTR_LOCK) && rng_one_in(g->rng, 8))
		gen_put(g, 0xf0);
	/* as operand size, or to no effect beside F3 and F2 */
	if ((!gen_asks(g, 3) || pp > 1) && rng_one_in(g->rng, 4))
		gen_put(g, 0x66);
	if (pp)
		gen_put(g, byte[pp]);
	else if (string && rng_one_in(g->rng, 2))
		gen_put(g, byte[2 + rng_below(g->rng, 2)]);
}

static void gen_rex(struct gen *g)
{
	uint8_t rex = 0x40 | (rng_next(g->rng) & 7);
	bool w = gen_key(g, OPTABLE_KEY_W);

	if (gen_asks(g, OPTABLE_KEY_REXB))
		rex = (rex & ~1) | !!(g->row->match & OPTABLE_KEY_REXB);
	if (w)
		rex |= 8;
	if (g->code64 &&
	    (gen_asks(g, OPTABLE_KEY_W) ? w || rng_one_in(g->rng, 2)
					: !rng_one_in(g->rng, 3)))
		gen_put(g, rex);
}

static void gen_legacy(struct gen *g)
{
	gen_legacy_prefixes(g);
	gen_rex(g);
	if (g->row->map != OPTABLE_1BYTE)
		gen_put(g, 0x0f);
	if (g->row->map == OPTABLE_0F38)
		gen_put(g, 0x38);
	if (g->row->map == OPTABLE_0F3A)
		gen_put(g, 0x3a);
}

/* Outside 64-bit code, R, X and the top bit of vvvv must be as if unused. */
static void gen_vex(struct gen *g)
{
	unsigned rxb = g->code64 ? rng_next(g->rng) & 0xe0 : 0xe0;
	unsigned vvvv = gen_reads_vvvv(g) ? rng_below(g->rng, 16) : 15;
	bool w = gen_key(g, OPTABLE_KEY_W);
	unsigned last = gen_pp(g);

	if (!g->code64)
		vvvv |= 8;
	last |= vvvv << 3 | (gen_key(g, OPTABLE_KEY_L) ? 4 : 0);
	gen_ignorable_prefixes(g);
	if (g->row->map == OPTABLE_VEX_0F && !w && rng_one_in(g->rng, 2)) {
		gen_put(g, 0xc5);
		gen_put(g, (rxb & 0x80) | last);
		return;
	}
	gen_put(g, 0xc4);
	gen_put(g, rxb | (g->row->map - OPTABLE_VEX_0F + 1));
	gen_put(g, (w ? 0x80 : 0) | last);
}

/* Half of the operands in memory; of those, half with a SIB byte. */
static void gen_modrm(struct gen *g)
{
	unsigned reg = gen_key(g, 7 << OPTABLE_KEY_REG) >> OPTABLE_KEY_REG;
	unsigned rm = gen_key(g, 7 << OPTABLE_KEY_RM) >> OPTABLE_KEY_RM;
	unsigned mod = rng_below(g->rng, 3);
	bool vsib = g->row->attr & X86_ATTR_VSIB;

	if (gen_key(g, OPTABLE_KEY_MOD3))
		mod = 3;
	else if (vsib || rng_one_in(g->rng, 2))
		rm = gen_asks(g, 7 << OPTABLE_KEY_RM) ? rm : 4;
	gen_put(g, mod << 6 | reg << 3 | rm);
}

/* SIB, displacement and immediates: random, with a liking for the edges. */
static void gen_rest(struct gen *g)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	bool edgy = rng_one_in(g->rng, 4);

	while (g->n < X86_INSN_MAX)
		gen_put(g, edgy && !rng_one_in(g->rng, 3)
				   ? edges[rng_below(g->rng, 5)]
				   : rng_next(g->rng));
}

static void gen_candidate(struct gen *g)
{
	const struct x86_desc *row = g->row;

	g->n = 0;
	if (row->map >= OPTABLE_VEX_0F)
		gen_vex(g);
	else
		gen_legacy(g);
	gen_put(g, row->first + rng_below(g->rng, row->last - row->first + 1));
	if (!(row->match & OPTABLE_NO_MODRM))
		gen_modrm(g);
	gen_rest(g);
}

bool insn_gen(struct rng *rng, unsigned row, unsigned mode, uint8_t out[15],
	      unsigned *len)
{
	struct gen g = {
		.rng = rng,
		.row = x86_desc_at(row),
		.mode = mode,
		.code64 = (mode & X86_MODE_CODE) == X86_MODE_CODE64,
		.out = out,
	};
	struct x86_insn insn;

	if (!g.row || (g.row->feature && !x86_has(g.row->feature)))
		return false;
	for (unsigned i = 0; i < GEN_TRIES; i++) {
		gen_candidate(&g);
		if (x86_decode(&insn, out, X86_INSN_MAX, mode) ==
			    X86_DECODE_OK &&
		    insn.desc == g.row) {
			*len = insn.len;
			return true;
		}
	}
	return false;
}
