/*
 * gen_sys.c - the privileged and sensitive instructions that kernels live in.
 *
 * RFLAGS is divided: arithmetic flags are the host's, the rest lies in
 * cpu->rflags, where the arithmetic bits are stale.  Bits are masked by PEXT
 * and PDEP with the same mask, which change no flags (or see gen_plain.c).
 * Kernel mode here means CPL 0: code at CPL 1 and 2 is interpreted
 * (xl_must_step).
 */
#include "cpu/translator/xl.h"

#define SYS_RFLAGS RM_GS(XL_OFF(rflags))
/* What POPF may change without further ado. */
#define SYS_POPF_EASY                                                \
	(X86_FLAGS_ARITH | X86_FLAG_IF | X86_FLAG_DF | X86_FLAG_NT | \
	 X86_FLAG_ID)

void gen_and_word(struct xl_gen *g, unsigned dst, unsigned src,
		  enum xl_word mask)
{
	struct xl_op pext = { .map = 2,
			      .opcode = 0xf5,
			      .pp = 2,
			      .w = true,
			      .vex = true,
			      .vvvv = src };
	struct xl_op pdep = pext;

	if (!g->x->has_bmi2) {
		gen_plain_and_word(g, dst, src, mask);
		return;
	}
	pdep.pp = 3;
	pdep.vvvv = dst;
	asm_op(g->a, pext, dst, RM_GS(XL_WORD(mask)));
	asm_op(g->a, pdep, dst, RM_GS(XL_WORD(mask)));
}

static void sys_and_word(struct xl_gen *g, unsigned reg, enum xl_word mask)
{
	gen_and_word(g, reg, reg, mask);
}

/* An interrupt that waits for IF (x86_take_pending): not for us. */
static void sys_unless_masked(struct xl_gen *g)
{
	uint8_t *none;

	asm_op(g->a, OP(1, 0xb6), XL_CX, RM_GS(XL_OFF(intr_masked)));
	none = asm_jrcxz(g->a);
	gen_slow(g, asm_jmp_site(g->a))->what = XL_SLOW_INSN;
	asm_land8(g->a, none);
}

static void sys_set_if(struct xl_gen *g, bool on)
{
	if (on)
		sys_unless_masked(g);
	asm_load(g->a, XL_CX, SYS_RFLAGS);
	sys_and_word(g, XL_CX, XL_MASK_NOT_IF);
	if (on)
		asm_lea(g->a, XL_CX, RM_MEM(XL_CX, X86_FLAG_IF));
	asm_store(g->a, SYS_RFLAGS, XL_CX);
}

/* The whole of RFLAGS into RCX; clobbers T0. */
static void sys_read_rflags(struct xl_gen *g)
{
	asm_u8(g->a, 0x9c); /* pushf */
	asm_u8(g->a, 0x59); /* pop rcx */
	sys_and_word(g, XL_CX, XL_MASK_ARITH);
	asm_load(g->a, XL_T0, SYS_RFLAGS);
	sys_and_word(g, XL_T0, XL_MASK_NOT_ARITH);
	asm_lea(g->a, XL_CX, RM_SIB(XL_CX, XL_T0, 0, 0));
}

static bool sys_pushf(struct xl_gen *g, const struct x86_insn *insn)
{
	struct xl_rm word = RM_GS(XL_WORD(XL_RESUME)), slot;

	if (insn->opsize != 8)
		return false;
	sys_read_rflags(g);
	asm_store(g->a, word, XL_CX);
	slot = gen_stack(g, xl_map[X86_RSP], -8, true);
	asm_load(g->a, XL_CX, word);
	asm_store(g->a, slot, XL_CX);
	asm_lea(g->a, xl_map[X86_RSP], RM_MEM(xl_map[X86_RSP], -8));
	return true;
}

static bool sys_popf(struct xl_gen *g, const struct x86_insn *insn)
{
	uint32_t easy = SYS_POPF_EASY;
	struct xl_asm *a = g->a;
	unsigned rsp = xl_map[X86_RSP];

	if (insn->opsize != 8)
		return false;
	if (g->page->mode & X86_MODE_USER)
		easy &= ~X86_FLAG_IF;
	sys_unless_masked(g);
	asm_load(a, XL_T0, gen_stack(g, rsp, 0, false));
	/* From here on the old flags are not wanted, unless it is not easy. */
	asm_u8(a, 0x9c); /* pushf */
	asm_mov_rr(a, XL_CX, XL_T0);
	asm_op(a, OPW(0, 0x33), XL_CX, SYS_RFLAGS);
	asm_op(a, OPW(0, 0xf7), 0, RM_REG(XL_CX)); /* test rcx, imm32 */
	asm_u32(a, ~easy);
	gen_slow(g, asm_jcc_site(a, 5))->what = XL_SLOW_POPF;
	asm_lea(a, H_RSP, RM_MEM(H_RSP, 8));
	asm_store(a, SYS_RFLAGS, XL_T0);
	asm_op(a, OP(0, 0x81), 4, RM_REG(XL_T0));
	asm_u32(a, X86_FLAGS_ARITH);
	asm_lea(a, rsp, RM_MEM(rsp, 8));
	asm_u8(a, 0x41); /* push t0; popf */
	asm_u8(a, 0x50 | (XL_T0 & 7));
	asm_u8(a, 0x9d);
	gen_poll(g, g->next_rip);
	return true;
}

static bool sys_swapgs(struct xl_gen *g)
{
	struct xl_rm gs = RM_GS(XL_OFF(seg[X86_GS].base));
	struct xl_rm kernel = RM_GS(XL_OFF(msr.kernel_gs_base));

	asm_load(g->a, XL_T0, gs);
	asm_load(g->a, XL_CX, kernel);
	asm_store(g->a, gs, XL_CX);
	asm_store(g->a, kernel, XL_T0);
	return true;
}

/* EDX:EAX += offset, by additions that leave flags alone. */
static void sys_add_offset(struct xl_gen *g)
{
	struct xl_op rorx = {
		.map = 3, .opcode = 0xf0, .pp = 3, .w = true, .vex = true
	};
	struct xl_asm *a = g->a;

	if (!g->x->has_bmi2) {
		gen_plain_rdtsc(g);
		return;
	}
	asm_op(a, rorx, H_RDX, RM_REG(H_RDX));
	asm_u8(a, 32);
	asm_lea(a, H_RAX, RM_SIB(H_RAX, H_RDX, 0, 0));
	asm_load(a, XL_CX, RM_GS(XL_OFF(tsc_offset)));
	asm_lea(a, H_RAX, RM_SIB(H_RAX, XL_CX, 0, 0));
	asm_op(a, rorx, H_RDX, RM_REG(H_RAX));
	asm_u8(a, 32);
	asm_mov32_rr(a, H_RDX, H_RDX);
	asm_mov32_rr(a, H_RAX, H_RAX);
}

/* The interpreter looks at CR4.TSD, which CPL 0 need not. */
static bool sys_rdtsc(struct xl_gen *g, const struct x86_insn *insn)
{
	bool user = g->page->mode & X86_MODE_USER;
	struct xl_asm *a = g->a;

	if ((user && g->x->cr4 & X86_CR4_TSD) || g->x->lockstep ||
	    g->x->cpu->xm->tsc_ratio)
		return false;
	if (insn->op == X86_RDTSCP) { /* all before is done: lfence */
		asm_op(a, OP(1, 0xae), 5, RM_REG(0));
		asm_load32(a, xl_map[X86_RCX], RM_GS(XL_OFF(msr.tsc_aux)));
	}
	asm_u8(a, 0x0f);
	asm_u8(a, 0x31);
	sys_add_offset(g);
	return true;
}

/* With SMAP on, the mode says what EFLAGS.AC is, and changes with it. */
static bool sys_set_ac(struct xl_gen *g, bool on)
{
	bool is = g->page->mode & X86_MODE_AC;
	int32_t sign = on ? 1 : -1;

	if (!(g->x->cpu->cr4 & X86_CR4_SMAP))
		return false;
	if (is == on)
		return true;
	asm_load(g->a, XL_CX, SYS_RFLAGS);
	asm_lea(g->a, XL_CX, RM_MEM(XL_CX, sign * (int32_t)X86_FLAG_AC));
	asm_store(g->a, SYS_RFLAGS, XL_CX);
	asm_load32(g->a, XL_CX, RM_GS(XL_OFF(mode)));
	asm_lea(g->a, XL_CX, RM_MEM(XL_CX, sign * X86_MODE_AC));
	asm_op(g->a, OP(0, 0x89), XL_CX, RM_GS(XL_OFF(mode)));
	g->link_mode ^= X86_MODE_AC;
	gen_jump(g, g->next_rip);
	return true;
}

bool gen_sys(struct xl_gen *g, const struct x86_insn *insn)
{
	bool kernel = !(g->page->mode & X86_MODE_USER);

	switch (insn->op) {
	case X86_PUSHF:
		return sys_pushf(g, insn);
	case X86_POPF:
		return sys_popf(g, insn);
	case X86_RDTSC:
	case X86_RDTSCP:
		return sys_rdtsc(g, insn);
	case X86_CLD:
		asm_load(g->a, XL_CX, SYS_RFLAGS);
		sys_and_word(g, XL_CX, XL_MASK_NOT_DF);
		asm_store(g->a, SYS_RFLAGS, XL_CX);
		return true;
	}
	if (!kernel)
		return false;
	switch (insn->op) {
	case X86_CLI:
		sys_set_if(g, false);
		return true;
	case X86_STI:
		sys_set_if(g, true);
		g->sti = true;
		return true;
	}
	if (g->x->lockstep) /* what follows is more than lockstep undoes */
		return false;
	switch (insn->op) {
	case X86_SWAPGS:
		return sys_swapgs(g);
	case X86_STAC:
		return sys_set_ac(g, true);
	case X86_CLAC:
		return sys_set_ac(g, false);
	default:
		return false;
	}
}
