/*
 * decode.c - from bytes to struct x86_insn.
 *
 * Theory of operation.  An instruction is read once, left to right: prefixes,
 * opcode, ModRM, (SIB, displacement), immediates.  What is read is kept in a
 * struct decode, whose only way to the bytes is decode_byte() and kin: they
 * note an attempt to read past the end, and return 0 from there on, so that
 * the outcome is looked at once, at the end.
 *
 * Between ModRM and the rest the row is chosen: prefix, ModRM fields, W, L
 * and code size make a key, and the opcode's rows (optable.h) are tried from
 * the last to the first for a mask and value that fit.  Then each operand of
 * the row is made by one small function of operand.c.
 *
 * Vendor differences are decided as Intel does: 66 does not shrink near
 * branches in 64-bit code, REX.W with far pointers makes them m16:64, SYSCALL
 * is for 64-bit code alone.
 *
 * Source: SDM volume 2, chapter 2, and appendix A.
 */
#include <string.h>

#include "cpu/x86/cpu.h"
#include "cpu/x86/decode.h"

/* --- prefixes ----------------------------------------------------------- */

/*
 * What a byte is in front of an opcode.  0: none; segment overrides are
 * 1 + enum x86_sreg.
 */
enum {
	DECODE_PFX_66 = 8,
	DECODE_PFX_67,
	DECODE_PFX_LOCK,
	DECODE_PFX_REP,
	DECODE_PFX_REX,
};

static const uint8_t decode_prefix[256] = {
	[0x26] = 1 + X86_ES,      [0x2e] = 1 + X86_CS,
	[0x36] = 1 + X86_SS,      [0x3e] = 1 + X86_DS,
	[0x64] = 1 + X86_FS,      [0x65] = 1 + X86_GS,
	[0x66] = DECODE_PFX_66,   [0x67] = DECODE_PFX_67,
	[0xf0] = DECODE_PFX_LOCK, [0xf2] = DECODE_PFX_REP,
	[0xf3] = DECODE_PFX_REP,  [0x40 ... 0x4f] = DECODE_PFX_REX,
};

/* 64-bit code ignores the overrides of segments without a base. */
static void decode_segment(struct decode *d, unsigned seg)
{
	if (d->code64 && seg != X86_FS && seg != X86_GS)
		return;
	d->in->seg = seg;
	d->in->prefix |= X86_PFX_SEG;
}

/* Takes one prefix; false: it is the opcode. REX counts only right before. */
static bool decode_one_prefix(struct decode *d, uint8_t b)
{
	unsigned p = decode_prefix[b];

	if (p == 0 || (p == DECODE_PFX_REX && !d->code64))
		return false;
	d->rex = 0;
	d->in->prefix &= ~X86_PFX_REX;
	switch (p) {
	case DECODE_PFX_66:
		d->has66 = true;
		d->in->prefix |= X86_PFX_66;
		break;
	case DECODE_PFX_67:
		d->in->prefix |= X86_PFX_67;
		break;
	case DECODE_PFX_LOCK:
		d->lock = true;
		d->in->prefix |= X86_PFX_LOCK;
		break;
	case DECODE_PFX_REP:
		d->rep = b;
		break;
	case DECODE_PFX_REX:
		d->rex = b & 15;
		d->in->prefix |= X86_PFX_REX;
		break;
	default:
		decode_segment(d, p - 1);
	}
	return true;
}

/* --- opcode ----------------------------------------------------------------
 */

/*
 * VEX (SDM volume 2, 2.3.5):
 *
 *	C5  R vvvv L pp
 *	C4  R X B mmmmm  W vvvv L pp
 *
 * R, X, B and vvvv are inverted.  Outside 64-bit code only the eight low
 * registers exist; what would name others is ignored.
 */
static void decode_vex(struct decode *d, uint8_t first)
{
	uint8_t b = decode_byte(d), map = 1;

	if (d->has66 || d->rep || d->lock || (d->in->prefix & X86_PFX_REX))
		d->bad = true;
	d->rex = b & 0x80 ? 0 : DECODE_REX_R;
	if (first == 0xc4) {
		d->rex |= (b & 0x40 ? 0 : DECODE_REX_X) |
			  (b & 0x20 ? 0 : DECODE_REX_B);
		map = b & 0x1f;
		b = decode_byte(d);
		d->rex |= b & 0x80 ? DECODE_REX_W : 0;
	}
	if (!d->code64)
		d->rex &= DECODE_REX_W;
	d->mandatory = b & 3;
	d->vex_l = b & 4;
	d->in->vvvv = (b >> 3 & 15) ^ 15;
	d->vvvv_used = d->in->vvvv != 0;
	if (!d->code64)
		d->in->vvvv &= 7;
	d->in->prefix |= X86_PFX_VEX | (d->vex_l ? X86_PFX_VEXL : 0);
	d->in->map = map;
	d->veclen = d->vex_l ? 32 : 16;
	if (map < 1 || map > 3)
		d->bad = true;
	else
		d->table = OPTABLE_VEX_0F + map - 1;
	d->in->opcode = decode_byte(d);
}

/* C4 and C5 outside 64-bit code are LES and LDS if a memory operand follows. */
static bool decode_is_vex(struct decode *d, uint8_t b)
{
	if (b != 0xc4 && b != 0xc5)
		return false;
	if (d->code64)
		return true;
	if (d->pos >= d->len)
		return false; /* LES will find that too */
	return d->bytes[d->pos] >= 0xc0 && !d->legacy_mode;
}

static void decode_opcode(struct decode *d, uint8_t b)
{
	struct x86_insn *in = d->in;

	d->mandatory = d->rep ? (d->rep == 0xf3 ? 2 : 3) : d->has66;
	if (decode_is_vex(d, b)) {
		decode_vex(d, b);
		return;
	}
	if (b == 0x0f) {
		b = decode_byte(d);
		in->map = 1;
		if (b == 0x38 || b == 0x3a) {
			in->map = b == 0x38 ? 2 : 3;
			b = decode_byte(d);
		}
	}
	d->table = OPTABLE_1BYTE + in->map;
	in->opcode = b;
}

/* --- choosing the row --------------------------------------------------------
 */

static uint16_t decode_key(const struct decode *d)
{
	unsigned modrm = d->in->modrm;
	unsigned key = d->mandatory;

	if (modrm >= 0xc0)
		key |= OPTABLE_KEY_MOD3;
	key |= (modrm >> 3 & 7) << OPTABLE_KEY_REG;
	key |= (modrm & 7) << OPTABLE_KEY_RM;
	if (d->rex & DECODE_REX_W)
		key |= OPTABLE_KEY_W;
	if (d->rex & DECODE_REX_B)
		key |= OPTABLE_KEY_REXB;
	if (d->vex_l)
		key |= OPTABLE_KEY_L;
	if (d->code64)
		key |= OPTABLE_KEY_CODE64;
	return key;
}

/* NULL: undefined. Reads ModRM where the opcode has one. */
static const struct x86_desc *decode_row(struct decode *d)
{
	struct x86_insn *in = d->in;
	unsigned i = optable_index[d->table][in->opcode];
	uint16_t key;

	if (i == 0)
		return NULL;
	if (!(optable_rows[i - 1].match & OPTABLE_NO_MODRM)) {
		in->has_modrm = true;
		in->modrm = decode_byte(d);
	}
	key = decode_key(d);
	for (; i > 0; i--) {
		const struct x86_desc *row = &optable_rows[i - 1];

		if (row->map != d->table || in->opcode < row->first ||
		    in->opcode > row->last)
			return NULL;
		if (((key ^ row->match) & row->match >> 16 & 0x7fff) == 0 &&
		    (!row->feature || x86_has(row->feature)))
			return row;
	}
	return NULL;
}

/* --- sizes -------------------------------------------------------------------
 */

/* Operand and address size; SDM volume 1, 3.6; volume 2, 2.2.1.7. */
static void decode_sizes(struct decode *d)
{
	struct x86_insn *in = d->in;
	unsigned attr = in->desc->attr;
	bool small = (d->code == X86_MODE_CODE16) != d->has66;

	if (!d->code64)
		in->opsize = small ? 2 : 4;
	else if ((d->rex & DECODE_REX_W) || (attr & X86_ATTR_F64))
		in->opsize = 8;
	else if (d->has66)
		in->opsize = 2;
	else
		in->opsize = attr & X86_ATTR_D64 ? 8 : 4;
	if ((attr & X86_ATTR_IO) && in->opsize == 8)
		in->opsize = 4;
	if (attr & X86_ATTR_BYTE)
		in->opsize = 1;
}

static void decode_address_size(struct decode *d)
{
	bool other = d->in->prefix & X86_PFX_67;

	if (d->code64)
		d->in->addrsize = other ? 4 : 8;
	else
		d->in->addrsize = (d->code == X86_MODE_CODE16) != other ? 2 : 4;
}

/* --- putting it together
 * ---------------------------------------------------------- */

/* LOCK needs an instruction that allows it, and memory to lock. */
static bool decode_lock_ok(const struct decode *d)
{
	const struct x86_insn *in = d->in;

	return !d->lock || ((in->desc->attr & X86_ATTR_LOCK) &&
			    in->o[0].kind == X86_OPND_MEM);
}

/* Does the code's mode know the row? */
static bool decode_mode_ok(const struct decode *d)
{
	unsigned attr = d->in->desc->attr;

	if (d->code64)
		return !(attr & X86_ATTR_NO64);
	if (attr & X86_ATTR_ONLY64)
		return false;
	return !(d->legacy_mode && (attr & X86_ATTR_PROT));
}

/* VEX.vvvv must be 1111 where no operand is made of it. */
static bool decode_vvvv_ok(const struct decode *d)
{
	const struct x86_insn *in = d->in;

	if (!d->vvvv_used)
		return true;
	for (unsigned i = 0; i < 4; i++) {
		unsigned from = optable_specs[in->desc->spec[i]].from;

		if (from == OPTABLE_H || from == OPTABLE_B)
			return true;
	}
	return false;
}

static void decode_prefixes_and_opcode(struct decode *d)
{
	uint8_t b;

	do {
		b = decode_byte(d);
	} while (!d->overrun && decode_one_prefix(d, b));
	decode_opcode(d, b);
}

/* What the row makes of the prefixes, for the handlers. */
static void decode_finish(struct decode *d)
{
	struct x86_insn *in = d->in;

	if (in->desc->match & OPTABLE_PREFIX)
		in->pp = d->mandatory;
	else if (d->rep)
		in->prefix |= d->rep == 0xf3 ? X86_PFX_REPE : X86_PFX_REPNE;
	in->rex = d->rex;
	if (d->rex & DECODE_REX_W)
		in->prefix |= X86_PFX_REXW;
	if (optable_specs[in->desc->spec[0]].size == OPTABLE_S1 &&
	    in->o[0].kind != X86_OPND_IMM)
		in->opsize = 1;
	in->cond = in->opcode & 15;
	in->len = d->pos;
}

static void decode_start(struct decode *d, unsigned mode)
{
	struct x86_insn *in = d->in;

	d->code = mode & X86_MODE_CODE;
	d->code64 = d->code == X86_MODE_CODE64;
	d->legacy_mode = mode & (X86_MODE_REAL | X86_MODE_VM86);
	memset(in, 0, sizeof(*in));
	in->seg = X86_DS;
	in->base = in->index = in->is4 = X86_NO_REG;
}

enum x86_decode_result x86_decode(struct x86_insn *insn, const uint8_t *bytes,
				  unsigned len, unsigned mode)
{
	struct decode d = {
		.in = insn,
		.bytes = bytes,
		.len = len < X86_INSN_MAX ? len : X86_INSN_MAX,
	};

	decode_start(&d, mode);
	decode_prefixes_and_opcode(&d);
	if (!d.overrun && !d.bad)
		insn->desc = decode_row(&d);
	if (!d.overrun && !d.bad && insn->desc) {
		insn->op = insn->desc->op;
		decode_sizes(&d);
		decode_address_size(&d);
		decode_operands(&d);
	}
	if (d.overrun)
		return len < X86_INSN_MAX ? X86_DECODE_MORE : X86_DECODE_GP;
	if (d.bad || !insn->desc || !decode_mode_ok(&d) ||
	    !decode_lock_ok(&d) || !decode_vvvv_ok(&d))
		return X86_DECODE_UD;
	decode_finish(&d);
	return X86_DECODE_OK;
}

const struct x86_desc *x86_desc_at(unsigned i)
{
	return i < optable_row_count ? &optable_rows[i] : NULL;
}
