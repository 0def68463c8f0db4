/*
 * glue.c - the generated helpers between C and translated code.
 *
 * All are made once, at the start of the code memory.  Helpers that come back
 * to translated code ("light") keep every guest register including flags, and
 * call only C that is compiled without vector registers (light.c, mmu.c), so
 * that those may go on holding the guest's.
 */
#include "cpu/translator/light.h"
#include "cpu/translator/xl.h"

#define GLUE_RFLAGS_ARITH 0x8d5 /* OF SF ZF AF PF CF */

static const uint8_t glue_saved[] = { H_RAX, H_RDX, H_RSI, H_RDI,
				      H_R8,  H_R9,  H_R10, H_R11 };
#define GLUE_SAVED ((int)sizeof(glue_saved))

static void glue_push(struct xl_asm *a, unsigned r)
{
	if (r & 8)
		asm_u8(a, 0x41);
	asm_u8(a, 0x50 | (r & 7));
}

static void glue_pop(struct xl_asm *a, unsigned r)
{
	if (r & 8)
		asm_u8(a, 0x41);
	asm_u8(a, 0x58 | (r & 7));
}

static void glue_pushf(struct xl_asm *a)
{
	asm_u8(a, 0x9c);
}

static void glue_popf(struct xl_asm *a)
{
	asm_u8(a, 0x9d);
}

/* --- Into and out of translated code ------------------------------------- */

static const uint8_t glue_callee_saved[] = { H_RBX, H_RBP, H_R12,
					     H_R13, H_R14, H_R15 };

/* The stack of translated code: 12 modulo 64, below C's. */
static void glue_code_stack(struct xl_asm *a)
{
	asm_op(a, OPW(0, 0x83), 4, RM_REG(H_RSP)); /* and rsp, -64 */
	asm_u8(a, 0xc0);
	asm_op(a, OPW(0, 0x83), 5, RM_REG(H_RSP)); /* sub rsp, 52 */
	asm_u8(a, 52);
}

/* The guest's flags and registers; then to the host address in T0. */
static void glue_load_state(struct xl_asm *a)
{
	unsigned i;

	asm_load(a, H_RCX, RM_GS(XL_OFF(rflags)));
	asm_op(a, OP(0, 0x81), 4, RM_REG(H_RCX)); /* and ecx, arith */
	asm_u32(a, GLUE_RFLAGS_ARITH);
	glue_push(a, H_RCX);
	glue_popf(a);
	for (i = 0; i < 16; i++)
		if (xl_map[i] != H_NONE)
			asm_load(a, xl_map[i], RM_GS(XL_GPR(i)));
	asm_op(a, OP(0, 0xff), 4, RM_REG(XL_T0)); /* jmp T0 */
}

/* Clobbers RCX, RDX, flags. */
static void glue_store_state(struct xl_asm *a)
{
	unsigned i;

	for (i = 0; i < 16; i++)
		if (xl_map[i] != H_NONE)
			asm_store(a, RM_GS(XL_GPR(i)), xl_map[i]);
	glue_pushf(a);
	glue_pop(a, H_RCX);
	asm_op(a, OP(0, 0x81), 4, RM_REG(H_RCX));
	asm_u32(a, GLUE_RFLAGS_ARITH);
	asm_load(a, H_RDX, RM_GS(XL_OFF(rflags)));
	asm_op(a, OPW(0, 0x81), 4, RM_REG(H_RDX));
	asm_u32(a, ~GLUE_RFLAGS_ARITH);
	asm_op(a, OPW(0, 0x09), H_RCX, RM_REG(H_RDX));
	asm_store(a, RM_GS(XL_OFF(rflags)), H_RDX);
}

/* void enter(struct x86_cpu *rdi, const uint8_t *rsi) */
static void glue_enter(struct xl_asm *a)
{
	unsigned i;

	for (i = 0; i < sizeof(glue_callee_saved); i++)
		glue_push(a, glue_callee_saved[i]);
	asm_store(a, RM_GS(XL_WORD(XL_STACK)), H_RSP);
	glue_code_stack(a);
	asm_mov_rr(a, XL_T0, H_RSI);
	glue_load_state(a);
}

static void glue_vec_moves(struct xl_asm *a, const struct xl *x, bool load)
{
	struct xl_op xmm = { .map = 1, .opcode = load ? 0x10 : 0x11 };
	struct xl_op vxmm = { .map = 1,
			      .opcode = load ? 0x10 : 0x11,
			      .vex = true };
	struct xl_op half = { .map = 3,
			      .opcode = load ? 0x18 : 0x19,
			      .pp = 1,
			      .vex = true,
			      .l = true };
	unsigned i;

	for (i = 0; i < 16; i++) {
		int32_t low = XL_OFF(fpu) + X86_XMM_OFFSET + 16 * i;
		int32_t high = XL_OFF(fpu) + X86_YMMH_OFFSET + 16 * i;

		asm_op(a, x->has_avx ? vxmm : xmm, i, RM_GS(low));
		if (!x->has_avx)
			continue;
		half.vvvv = load ? i : 0; /* VINSERTF128, VEXTRACTF128 */
		asm_op(a, half, i, RM_GS(high));
		asm_u8(a, 1);
	}
}

static void glue_mxcsr(struct xl_asm *a, bool load, int32_t offset)
{
	asm_op(a, OP(1, 0xae), load ? 2 : 3, RM_GS(offset));
}

/*
 * If the vector registers are the guest's: into its state, and the host's
 * control word back.  Clobbers RCX, flags.
 */
static void glue_park_vectors(struct xl_asm *a, const struct xl *x)
{
	uint8_t *skip;

	asm_load(a, H_RCX, RM_GS(XL_WORD(XL_VEC_OFF)));
	asm_op(a, OPW(0, 0x85), H_RCX, RM_REG(H_RCX));
	asm_u8(a, 0x74); /* jz +5 */
	asm_u8(a, 5);
	skip = asm_jmp_site(a);
	glue_vec_moves(a, x, false);
	glue_mxcsr(a, false, XL_OFF(fpu) + 24);
	glue_mxcsr(a, true, XL_WORD(XL_HOST_MXCSR));
	asm_op(a, OPW(0, 0xc7), 0, RM_GS(XL_WORD(XL_VEC_OFF)));
	asm_u32(a, 1);
	if (x->has_avx) { /* vzeroupper */
		asm_u8(a, 0xc5);
		asm_u8(a, 0xf8);
		asm_u8(a, 0x77);
	}
	asm_patch(skip, a->rx_delta, asm_here(a));
}

/* The state is stored; T1: enum xl_exit, to be returned. */
static uint8_t *glue_leave(struct xl_asm *a, const struct xl *x)
{
	uint8_t *here = asm_here(a);
	unsigned i;

	glue_park_vectors(a, x);
	asm_mov32_rr(a, H_RAX, XL_T1);
	asm_load(a, H_RSP, RM_GS(XL_WORD(XL_STACK)));
	for (i = sizeof(glue_callee_saved); i-- > 0;)
		glue_pop(a, glue_callee_saved[i]);
	asm_u8(a, 0xc3);
	return here;
}

/* For C: void park(struct x86_cpu *) */
static void glue_park(struct xl *x)
{
	uint8_t *here = asm_here(&x->a);

	glue_park_vectors(&x->a, x);
	asm_u8(&x->a, 0xc3);
	x->glue.park = (xl_park_fn *)(uintptr_t)here;
}

/*
 * T0 = xl_ref() of a struct xl_insn, executed by its interpreter handler; goes
 * on in translated code if there is any.  park: vector registers go to memory
 * before, for handlers that need them there; else they stay.
 */
static uint8_t *glue_insn(struct xl *x, const uint8_t *leave, bool park)
{
	struct xl_asm *a = &x->a;
	uint8_t *here = asm_here(a);

	glue_store_state(a);
	if (park)
		glue_park_vectors(a, x);
	asm_load(a, H_RDI, RM_GS(XL_WORD(XL_SELF)));
	asm_mov_rr(a, H_RSI, XL_T0);
	asm_op(a, OPW(0, 0x83), 4, RM_REG(H_RSP)); /* and rsp, -16 */
	asm_u8(a, 0xf0);
	asm_mov_imm(a, H_RAX, (uintptr_t)xl_light_insn);
	asm_op(a, OP(0, 0xff), 2, RM_REG(H_RAX));
	asm_load(a, H_RSP, RM_GS(XL_WORD(XL_STACK)));
	glue_code_stack(a);
	asm_mov_imm(a, XL_T1, XL_EXIT_DONE);
	asm_op(a, OPW(0, 0x85), H_RAX, RM_REG(H_RAX));
	asm_u8(a, 0x75); /* jnz +5 */
	asm_u8(a, 5);
	asm_jmp(a, leave);
	asm_mov_rr(a, XL_T0, H_RAX);
	glue_load_state(a);
	return here;
}

static void glue_exits(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *common = asm_here(a), *leave;
	unsigned i;

	glue_store_state(a);
	leave = glue_leave(a, x);
	x->glue.insn = glue_insn(x, leave, false);
	x->glue.insn_parked = glue_insn(x, leave, true);
	for (i = 0; i < sizeof(x->glue.exit) / sizeof(*x->glue.exit); i++) {
		x->glue.exit[i] = asm_here(a);
		asm_store(a, RM_GS(XL_WORD(XL_ARG)), XL_T0);
		asm_mov_imm(a, XL_T1, i);
		asm_jmp(a, common);
	}
}

/* --- Light calls --------------------------------------------------------- */

/*
 * Keeps all that C may change, aligns the stack, calls fn(cpu, T0, ecx, and the
 * address that the helper returns to); RCX: what it returned.
 */
static void glue_light_call(struct xl_asm *a, const void *fn)
{
	int i;

	glue_pushf(a);
	for (i = 0; i < GLUE_SAVED; i++)
		glue_push(a, glue_saved[i]);
	asm_load(a, H_RDI, RM_GS(XL_WORD(XL_SELF)));
	asm_mov_rr(a, H_RSI, XL_T0);
	asm_mov32_rr(a, H_RDX, H_RCX);
	asm_load(a, H_RCX, RM_MEM(H_RSP, 8 * (GLUE_SAVED + 1)));
	asm_mov_rr(a, H_RAX, H_RSP);
	asm_op(a, OPW(0, 0x83), 4, RM_REG(H_RSP)); /* and rsp, -16 */
	asm_u8(a, 0xf0);
	glue_push(a, H_RAX);
	glue_push(a, H_RAX);
	asm_mov_imm(a, H_RAX, (uintptr_t)fn);
	asm_op(a, OP(0, 0xff), 2, RM_REG(H_RAX));
	asm_load(a, H_RSP, RM_MEM(H_RSP, 0));
	asm_mov_rr(a, H_RCX, H_RAX);
	for (i = GLUE_SAVED - 1; i >= 0; i--)
		glue_pop(a, glue_saved[i]);
	glue_popf(a);
}

/* Called with T0 = address; ECX = kind << 16 | size. */
static void glue_miss(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *fail, *filled;

	x->glue.miss = asm_here(a);
	glue_light_call(a, (const void *)xl_light_miss);
	fail = asm_jrcxz(a);
	asm_u8(a, 0xc3);
	asm_land8(a, fail);
	glue_pop(a, XL_T0);
	asm_jmp(a, x->glue.exit[XL_EXIT_FAULT]);

	x->glue.view = asm_here(a);
	glue_light_call(a, (const void *)xl_light_view);
	asm_u8(a, 0xc3);

	x->glue.group_miss = asm_here(a);
	glue_light_call(a, (const void *)xl_light_group);
	fail = asm_jrcxz(a);
	asm_lea(a, H_RCX, RM_MEM(H_RCX, -XL_LIGHT_FILLED));
	filled = asm_jrcxz(a);
	glue_pop(a, XL_T0);
	asm_lea(a, H_RCX, RM_MEM(H_RCX, XL_LIGHT_FILLED));
	asm_op(a, OP(0, 0xff), 4, RM_REG(H_RCX));
	asm_land8(a, filled);
	asm_u8(a, 0xc3);
	asm_land8(a, fail);
	glue_pop(a, XL_T0);
	asm_jmp(a, x->glue.exit[XL_EXIT_FAULT]);
}

/* Called with T0 = linear target: returns once its slot is filled. */
static void glue_indirect(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *common = asm_here(a), *fail;
	unsigned kind;

	glue_light_call(a, (const void *)xl_light_indirect);
	fail = asm_jrcxz(a);
	asm_u8(a, 0xc3);
	asm_land8(a, fail);
	glue_pop(a, XL_T0);
	asm_jmp(a, x->glue.exit[XL_EXIT_FAULT]);
	for (kind = 0; kind < X86_CODE_KINDS; kind++) {
		x->glue.indirect[kind] = asm_here(a);
		asm_mov_imm(a, H_RCX, kind);
		asm_jmp(a, common);
	}
}

/* T0 = xl_ref() of a struct xl_link: its target may have been translated by
 * now. */
static void glue_link(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *fail;

	x->glue.link = asm_here(a);
	glue_light_call(a, (const void *)xl_light_link);
	fail = asm_jrcxz(a);
	asm_op(a, OP(0, 0xff), 4, RM_REG(H_RCX));
	asm_land8(a, fail);
	asm_jmp(a, x->glue.exit[XL_EXIT_LINK]);
}

/* T0 = xl_ref() of a struct xl_block: its page may be mapped still, only not
 * noted. */
static void glue_check(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *fail;

	x->glue.check = asm_here(a);
	glue_light_call(a, (const void *)xl_light_check);
	fail = asm_jrcxz(a);
	asm_op(a, OP(0, 0xff), 4, RM_REG(H_RCX));
	asm_land8(a, fail);
	asm_jmp(a, x->glue.exit[XL_EXIT_CHECK]);
}

/*
 * Called before the first vector instruction while XL_VEC_OFF.  With an
 * exception unmasked in MXCSR the instruction is interpreted instead.
 */
static void glue_vec_load(struct xl *x)
{
	struct xl_asm *a = &x->a;
	uint8_t *ok;

	x->glue.vec_load = asm_here(a);
	glue_light_call(a, (const void *)xl_light_mxcsr_masked);
	asm_u8(a, 0xe3); /* jrcxz +2: not masked */
	asm_u8(a, 2);
	ok = asm_jmp8(a);
	glue_pop(a, XL_T0);
	asm_jmp(a, x->glue.exit[XL_EXIT_FAULT]);
	asm_land8(a, ok);
	glue_vec_moves(a, x, true);
	glue_mxcsr(a, true, XL_OFF(fpu) + 24);
	asm_op(a, OPW(0, 0xc7), 0, RM_GS(XL_WORD(XL_VEC_OFF)));
	asm_u32(a, 0);
	asm_u8(a, 0xc3);
}

void xl_glue_make(struct xl *x)
{
	uint8_t *enter = asm_here(&x->a);

	glue_enter(&x->a);
	x->glue.enter = (xl_enter_fn *)(uintptr_t)enter;
	glue_exits(x);
	glue_park(x);
	glue_miss(x);
	glue_indirect(x);
	glue_check(x);
	glue_link(x);
	glue_vec_load(x);
	x->glue_size = x->a.w - x->rw;
}
