/*
 * test_decode_random.c - the decoder against Zydis, on random encodings.
 *
 *	test_decode_random [SEED [CASES]]
 *
 * Two sources: random bytes, half of them led by likely prefixes and escapes;
 * and every row of the tables through insn_gen.h.  Compared are validity,
 * length, and operands: kinds, registers, addresses, sizes, access.  Where the
 * two may differ is said below, case by case; all else is a failure.
 */
#include <Zydis/Zydis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "insn_gen.h"

#include "cpu/x86/cpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"

static uint64_t random_seed = 1;
static unsigned random_cases = 3000000;

static const struct random_mode {
	const char *name;
	unsigned mode;
	ZydisMachineMode machine;
	ZydisStackWidth stack;
} random_modes[] = {
	{ "64", X86_MODE_CODE64, ZYDIS_MACHINE_MODE_LONG_64,
	  ZYDIS_STACK_WIDTH_64 },
	{ "32", X86_MODE_CODE32, ZYDIS_MACHINE_MODE_LEGACY_32,
	  ZYDIS_STACK_WIDTH_32 },
	{ "16", X86_MODE_CODE16, ZYDIS_MACHINE_MODE_LEGACY_16,
	  ZYDIS_STACK_WIDTH_16 },
	{ "real", X86_MODE_CODE16 | X86_MODE_REAL, ZYDIS_MACHINE_MODE_REAL_16,
	  ZYDIS_STACK_WIDTH_16 },
};
#define RANDOM_MODES (sizeof(random_modes) / sizeof(random_modes[0]))

static ZydisDecoder random_decoders[RANDOM_MODES];

struct random_case {
	const struct random_mode *mode;
	uint8_t bytes[X86_INSN_MAX];
	struct x86_insn ours;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
};

static _Noreturn void random_fail(const struct random_case *c, const char *what)
{
	char hex[3 * X86_INSN_MAX + 1];

	for (unsigned i = 0; i < X86_INSN_MAX; i++)
		sprintf(hex + 3 * i, "%02x ", c->bytes[i]);
	print_error("%s in mode %s: %s(ours %s, Zydis %s)\n", what,
		    c->mode->name, hex,
		    c->ours.desc ? c->ours.desc->name : "none",
		    ZydisMnemonicGetString(c->z.mnemonic));
	fail();
	abort();
}

/* --- validity ----------------------------------------------------------------
 */

/* Extensions that guests are not offered, ever. */
static const uint8_t random_not_offered[] = {
	ZYDIS_ISA_EXT_AMD3DNOW,
	ZYDIS_ISA_EXT_AMD_INVLPGB,
	ZYDIS_ISA_EXT_AMX_BF16,
	ZYDIS_ISA_EXT_AMX_INT8,
	ZYDIS_ISA_EXT_AMX_TILE,
	ZYDIS_ISA_EXT_AVX512EVEX,
	ZYDIS_ISA_EXT_AVX512VEX,
	ZYDIS_ISA_EXT_AVX_VNNI,
	ZYDIS_ISA_EXT_CET,
	ZYDIS_ISA_EXT_CLZERO,
	ZYDIS_ISA_EXT_ENQCMD,
	ZYDIS_ISA_EXT_FMA4,
	ZYDIS_ISA_EXT_HRESET,
	ZYDIS_ISA_EXT_KEYLOCKER,
	ZYDIS_ISA_EXT_KEYLOCKER_WIDE,
	ZYDIS_ISA_EXT_KNC,
	ZYDIS_ISA_EXT_KNCE,
	ZYDIS_ISA_EXT_KNCV,
	ZYDIS_ISA_EXT_MCOMMIT,
	ZYDIS_ISA_EXT_MONITOR,
	ZYDIS_ISA_EXT_MONITORX,
	ZYDIS_ISA_EXT_MPX,
	ZYDIS_ISA_EXT_PADLOCK,
	ZYDIS_ISA_EXT_PCONFIG,
	ZYDIS_ISA_EXT_PKU,
	ZYDIS_ISA_EXT_PT,
	ZYDIS_ISA_EXT_RDPRU,
	ZYDIS_ISA_EXT_RTM,
	ZYDIS_ISA_EXT_SERIALIZE,
	ZYDIS_ISA_EXT_SGX,
	ZYDIS_ISA_EXT_SGX_ENCLV,
	ZYDIS_ISA_EXT_SMX,
	ZYDIS_ISA_EXT_SNP,
	ZYDIS_ISA_EXT_SSE4A,
	ZYDIS_ISA_EXT_SVM,
	ZYDIS_ISA_EXT_TBM,
	ZYDIS_ISA_EXT_TDX,
	ZYDIS_ISA_EXT_TSX_LDTRK,
	ZYDIS_ISA_EXT_UINTR,
	ZYDIS_ISA_EXT_VMFUNC,
	ZYDIS_ISA_EXT_VTX,
	ZYDIS_ISA_EXT_WAITPKG,
	ZYDIS_ISA_EXT_XOP,
	ZYDIS_ISA_EXT_XSAVES,
};

/* Those that hang on this host's processor. */
static const struct {
	uint8_t ext, feature;
} random_by_host[] = {
	{ ZYDIS_ISA_EXT_ADOX_ADCX, X86_FEAT_ADX },
	{ ZYDIS_ISA_EXT_AES, X86_FEAT_AES },
	{ ZYDIS_ISA_EXT_AVX, X86_FEAT_AVX },
	{ ZYDIS_ISA_EXT_AVX2, X86_FEAT_AVX2 },
	{ ZYDIS_ISA_EXT_AVX2GATHER, X86_FEAT_AVX2 },
	{ ZYDIS_ISA_EXT_AVXAES, X86_FEAT_AVX },
	{ ZYDIS_ISA_EXT_BMI1, X86_FEAT_BMI1 },
	{ ZYDIS_ISA_EXT_BMI2, X86_FEAT_BMI2 },
	{ ZYDIS_ISA_EXT_F16C, X86_FEAT_F16C },
	{ ZYDIS_ISA_EXT_FMA, X86_FEAT_FMA },
	{ ZYDIS_ISA_EXT_GFNI, X86_FEAT_GFNI },
	{ ZYDIS_ISA_EXT_MOVBE, X86_FEAT_MOVBE },
	{ ZYDIS_ISA_EXT_PCLMULQDQ, X86_FEAT_PCLMUL },
	{ ZYDIS_ISA_EXT_RDRAND, X86_FEAT_RDRAND },
	{ ZYDIS_ISA_EXT_RDSEED, X86_FEAT_RDSEED },
	{ ZYDIS_ISA_EXT_SHA, X86_FEAT_SHA },
	{ ZYDIS_ISA_EXT_SSE3, X86_FEAT_SSE3 },
	{ ZYDIS_ISA_EXT_SSSE3, X86_FEAT_SSSE3 },
	{ ZYDIS_ISA_EXT_SSE4, X86_FEAT_SSE42 },
	{ ZYDIS_ISA_EXT_VAES, X86_FEAT_VAES },
	{ ZYDIS_ISA_EXT_VPCLMULQDQ, X86_FEAT_VPCLMUL },
};

static bool random_may_refuse(const struct random_case *c)
{
	unsigned ext = c->z.meta.isa_ext;

	for (unsigned i = 0; i < sizeof(random_not_offered); i++)
		if (ext == random_not_offered[i])
			return true;
	for (unsigned i = 0;
	     i < sizeof(random_by_host) / sizeof(random_by_host[0]); i++)
		if (ext == random_by_host[i].ext &&
		    !x86_has(random_by_host[i].feature))
			return true;
	switch (c->z.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL: /* AMD: in 32-bit code too */
	case ZYDIS_MNEMONIC_SYSRET:
		return c->mode->mode != X86_MODE_CODE64;
	case ZYDIS_MNEMONIC_VPEXTRD: /* the processor's #UD */
	case ZYDIS_MNEMONIC_VPINSRD:
		return c->mode->mode != X86_MODE_CODE64 && c->z.raw.vex.W;
	case ZYDIS_MNEMONIC_MOVDIR64B:
	case ZYDIS_MNEMONIC_RSM: /* outside of SMM */
		return true;
	default:
		return false;
	}
}

/* Without MPX, 0F 1A and 0F 1B are NOPs in all forms. */
static bool random_may_accept(const struct random_case *c)
{
	return c->ours.map == 1 &&
	       (c->ours.opcode == 0x1a || c->ours.opcode == 0x1b);
}

/* --- operands
 * ------------------------------------------------------------------ */

static unsigned random_gpr8(ZydisRegister r, unsigned *reg)
{
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
		*reg = r - ZYDIS_REGISTER_AH;
		return X86_OPND_GPR_HIGH8;
	}
	*reg = r >= ZYDIS_REGISTER_SPL ? r - ZYDIS_REGISTER_SPL + 4u
				       : (unsigned)(r - ZYDIS_REGISTER_AL);
	return X86_OPND_GPR;
}

static unsigned random_register(ZydisRegister r, unsigned *reg)
{
	*reg = ZydisRegisterGetId(r);
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		return random_gpr8(r, reg);
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return X86_OPND_GPR;
	case ZYDIS_REGCLASS_X87:
		return X86_OPND_ST;
	case ZYDIS_REGCLASS_MMX:
		return X86_OPND_MMX;
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
		return X86_OPND_VEC;
	case ZYDIS_REGCLASS_SEGMENT:
		return X86_OPND_SREG;
	case ZYDIS_REGCLASS_CONTROL:
		return X86_OPND_CREG;
	case ZYDIS_REGCLASS_DEBUG:
		return X86_OPND_DREG;
	default:
		return X86_OPND_NONE;
	}
}

static unsigned random_kind(const ZydisDecodedOperand *o, unsigned *reg)
{
	*reg = 0;
	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return X86_OPND_MEM;
	case ZYDIS_OPERAND_TYPE_POINTER:
		return X86_OPND_FAR;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return o->imm.is_relative ? X86_OPND_REL : X86_OPND_IMM;
	default:
		return random_register(o->reg.value, reg);
	}
}

static unsigned random_address_register(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return X86_NO_REG;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return X86_REG_RIP;
	return ZydisRegisterGetId(r);
}

/* Zydis 4.0 takes REX.B for a base where mod = 0 and base = 101 mean none, if
 * addresses are of 32 bits; the processor does not. */
static bool random_zydis_base(const struct random_case *c)
{
	return c->ours.addrsize == 4 && (c->ours.rex & 1) &&
	       c->ours.base == X86_NO_REG;
}

/* 3E before an indirect branch is CET's NOTRACK to Zydis; without CET, DS. */
static bool random_notrack(const struct x86_insn *in)
{
	return (in->op == X86_CALL_IND || in->op == X86_JMP_IND) &&
	       in->seg == X86_DS && (in->prefix & X86_PFX_SEG);
}

static void random_check_memory(const struct random_case *c,
				const ZydisDecodedOperand *o)
{
	const struct x86_insn *in = &c->ours;
	uint64_t mask =
		in->addrsize == 8 ? ~0ull : (1ull << 8 * in->addrsize) - 1;
	uint64_t disp = (int64_t)in->disp;

	if (in->base == X86_REG_MOFFS)
		disp = in->imm;
	else if (in->base != random_address_register(o->mem.base) &&
		 !random_zydis_base(c))
		random_fail(c, "base");
	if (in->index != random_address_register(o->mem.index))
		random_fail(c, "index");
	if (in->index != X86_NO_REG && o->mem.scale != 1 << in->scale)
		random_fail(c, "scale");
	if ((disp ^ o->mem.disp.value) & mask && !random_zydis_base(c))
		random_fail(c, "displacement");
	if (in->seg != ZydisRegisterGetId(o->mem.segment) &&
	    in->op != X86_LEA && !random_notrack(in))
		random_fail(c, "segment");
	if (c->z.address_width / 8 != in->addrsize)
		random_fail(c, "address size");
}

/*
 * Ours says what is used: a whole vector register, 0 for areas of a size of
 * their own, one byte for what only names a cache line; selectors (LAR) and
 * UD0's operands have a size in Zydis that matters to nobody.
 */
static bool random_size_matters(const struct random_case *c,
				const struct x86_operand *o)
{
	switch (c->ours.op) {
	case X86_LEA:
	case X86_LAR:
	case X86_LSL:
	case X86_UD:
	case X86_CLFLUSH:
	case X86_PREFETCH:
	case X86_MOVSXD: /* with 66, Intel's m16; AMD's and Zydis' m32 */
		return false;
	}
	if (o->size == 0)
		return false;
	return o->kind == X86_OPND_MEM ||
	       (o->kind == X86_OPND_GPR && c->ours.desc->op != X86_THUNK) ||
	       o->kind == X86_OPND_GPR_HIGH8;
}

/*
 * What Zydis says is read or written must be so with us too; we may say
 * "read" in addition: of what is merged into (MOVLPS, CVTSS2SD), or written
 * only sometimes (CMOVcc, BSF, LAR).  FFREE writes the tag.
 */
static void random_check_access(const struct random_case *c,
				const ZydisDecodedOperand *z,
				const struct x86_operand *o)
{
	unsigned access = 0;

	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		access |= X86_ACC_R;
	if (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		access |= X86_ACC_W;
	if (o->kind == X86_OPND_IMM || o->kind == X86_OPND_REL ||
	    o->kind == X86_OPND_FAR || c->ours.op == X86_LEA ||
	    c->ours.op == X86_PREFETCH ||
	    c->z.mnemonic == ZYDIS_MNEMONIC_FFREE ||
	    c->z.mnemonic == ZYDIS_MNEMONIC_FFREEP || c->ours.op == X86_LSL)
		return;
	if (access != o->access &&
	    !(o->access == (X86_ACC_R | X86_ACC_W) && access == X86_ACC_W))
		random_fail(c, "access");
}

static void random_check_immediate(const struct random_case *c,
				   const ZydisDecodedOperand *z,
				   const struct x86_operand *o)
{
	uint64_t mask = o->size >= 8 || o->kind == X86_OPND_REL
				? ~0ull
				: (1ull << 8 * o->size) - 1;

	if (o->kind == X86_OPND_FAR ? c->ours.imm != z->ptr.offset ||
					      c->ours.sel != z->ptr.segment
				    : (c->ours.imm ^ z->imm.value.u) & mask)
		random_fail(c, "immediate");
}

static void random_check_operand(const struct random_case *c,
				 const ZydisDecodedOperand *z,
				 const struct x86_operand *o)
{
	unsigned reg, kind = random_kind(z, &reg);

	if (kind != o->kind)
		random_fail(c, "operand's kind");
	random_check_access(c, z, o);
	if (random_size_matters(c, o) && o->size != z->size / 8)
		random_fail(c, "operand's size");
	if (kind == X86_OPND_MEM)
		random_check_memory(c, z);
	else if (kind >= X86_OPND_IMM && kind <= X86_OPND_FAR)
		random_check_immediate(c, z, o);
	else if (reg != o->reg)
		random_fail(c, "register");
}

/* Operands written otherwise: strings, XLAT and NOP have none that count; x87
 * names ST(0) or not. */
static bool random_same_operands(const struct random_case *c)
{
	unsigned cls = c->ours.desc->cls;

	return cls != X86_CLASS_STRING && cls != X86_CLASS_X87 &&
	       c->ours.op != X86_NOP && c->z.mnemonic != ZYDIS_MNEMONIC_PAUSE;
}

static void random_check_operands(const struct random_case *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->z.operand_count; i++) {
		if (c->zo[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		if (c->ours.op == X86_ENTER && n == 1)
			continue; /* the level is in sel */
		if (n == 4 || c->ours.o[n].kind == X86_OPND_NONE)
			random_fail(c, "too few operands");
		random_check_operand(c, &c->zo[i], &c->ours.o[n++]);
	}
	/* ours alone: LSS' segment register, XMM0 of BLENDV */
	if (n < 4 && c->ours.o[n].kind != X86_OPND_NONE &&
	    c->ours.o[n].kind != X86_OPND_SREG &&
	    !(n == 2 && c->ours.o[n].kind == X86_OPND_VEC))
		random_fail(c, "too many operands");
}

/* --- the comparison
 * -------------------------------------------------------------- */

static void random_compare(struct random_case *c)
{
	enum x86_decode_result ours =
		x86_decode(&c->ours, c->bytes, sizeof(c->bytes), c->mode->mode);
	ZyanStatus zydis = ZydisDecoderDecodeFull(
		&random_decoders[c->mode - random_modes], c->bytes,
		sizeof(c->bytes), &c->z, c->zo);

	if (ours == X86_DECODE_MORE)
		random_fail(c, "MORE with 15 bytes");
	if (!ZYAN_SUCCESS(zydis)) {
		c->z.mnemonic = ZYDIS_MNEMONIC_INVALID;
		if (ours == X86_DECODE_OK && !random_may_accept(c))
			random_fail(c, "ours only");
		return;
	}
	if (ours != X86_DECODE_OK) {
		if (!random_may_refuse(c))
			random_fail(c, "Zydis only");
		return;
	}
	if (c->ours.len != c->z.length)
		random_fail(c, "length");
	if (random_same_operands(c))
		random_check_operands(c);
}

/* Prefixes and escapes that lead into every table. */
static unsigned random_lead(struct rng *r, uint8_t *b)
{
	static const uint8_t prefixes[] = {
		0x66, 0xf2, 0xf3, 0x48, 0x41, 0x4f,
		0x67, 0xf0, 0x2e, 0x64, 0x66, 0x44
	};
	unsigned n = 0, count = rng_below(r, rng_one_in(r, 8) ? 8 : 4);

	while (n < count)
		b[n++] = prefixes[rng_below(r, sizeof(prefixes))];
	switch (rng_below(r, 8)) {
	case 0:
	case 1:
		return n;
	case 2:
	case 3:
		b[n++] = 0x0f;
		return n;
	case 4:
		b[n++] = 0x0f;
		b[n++] = rng_one_in(r, 2) ? 0x38 : 0x3a;
		return n;
	case 5:
		b[n++] = 0xc5;
		b[n] |= rng_one_in(r, 2) ? 0xf8 : 0;
		return n;
	default:
		b[n++] = 0xc4;
		b[n] = (b[n] & 0xe0) | (1 + rng_below(r, 3));
		b[n] |= rng_one_in(r, 2) ? 0xe0 : 0;
		b[n + 1] |= rng_one_in(r, 2) ? 0x78 : 0;
		return n;
	}
}

static void random_fill(struct rng *r, uint8_t *b)
{
	uint64_t v[2] = { rng_next(r), rng_next(r) };

	memcpy(b, v, X86_INSN_MAX);
}

static void test_random_bytes(void **state)
{
	struct rng r = { random_seed };
	struct random_case c;

	for (unsigned i = 0; i < random_cases; i++) {
		c.mode = &random_modes[rng_below(&r, RANDOM_MODES)];
		random_fill(&r, c.bytes);
		if (rng_one_in(&r, 2))
			random_lead(&r, c.bytes);
		random_compare(&c);
	}
}

/* Every row that is offered has encodings, in one mode at least. */
static void test_random_rows(void **state)
{
	struct rng r = { random_seed };
	struct random_case c;
	unsigned len, made;

	for (unsigned row = 0; x86_desc_at(row); row++) {
		made = 0;
		for (unsigned i = 0; i < random_cases / 5000; i++) {
			c.mode = &random_modes[i % RANDOM_MODES];
			if (!insn_gen(&r, row, c.mode->mode, c.bytes, &len))
				continue;
			made++;
			random_compare(&c);
			assert_int_equal(c.ours.len, len);
			assert_ptr_equal(c.ours.desc, x86_desc_at(row));
		}
		if (!made && x86_has(x86_desc_at(row)->feature))
			fail_msg("row %u (%s) is out of reach", row,
				 x86_desc_at(row)->name);
	}
}

/* A prefix of an instruction is MORE, never another instruction or a fault. */
static void test_random_truncated(void **state)
{
	struct rng r = { random_seed };
	uint8_t bytes[X86_INSN_MAX];
	struct x86_insn in;
	unsigned len;

	for (unsigned row = 0; x86_desc_at(row); row++) {
		unsigned mode = random_modes[row % RANDOM_MODES].mode;

		if (!insn_gen(&r, row, mode, bytes, &len))
			continue;
		for (unsigned n = 0; n < len; n++)
			assert_int_equal(x86_decode(&in, bytes, n, mode),
					 X86_DECODE_MORE);
		assert_int_equal(x86_decode(&in, bytes, len, mode),
				 X86_DECODE_OK);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_random_rows),
		cmocka_unit_test(test_random_truncated),
	};

	if (argc > 1)
		random_seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		random_cases = strtoul(argv[2], NULL, 0);
	for (unsigned i = 0; i < RANDOM_MODES; i++)
		ZydisDecoderInit(&random_decoders[i], random_modes[i].machine,
				 random_modes[i].stack);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
