/*
 * gen_plain.c - what stands for BMI2 on processors without it.
 *
 * SHRX, SARX, RORX, PEXT and PDEP change no flags; what is used here instead
 * does.  So the guest's flags, which are the host's, are put aside by LAHF and
 * SETO, in a scratch register that holds RAX meanwhile, and come back by an
 * addition that overflows or not, and SAHF:
 *
 *	mov s, rax; lahf; seto al; xchg rax, s
 *	...
 *	xchg rax, s; add al, 127; sahf; mov rax, s
 *
 * They need not come back where the next instructions overwrite them and
 * nothing can look at them before.  When a check fails they always come back.
 */
#include "cpu/translator/xl.h"

#define PLAIN_PAGE_SHIFT 12

static void plain_xchg_rax(struct xl_gen *g, unsigned r)
{
	asm_op(g->a, OPW(0, 0x87), r, RM_REG(H_RAX));
}

static void plain_shift(struct xl_gen *g, bool wide, unsigned op, unsigned r,
			unsigned count)
{
	struct xl_op shift = { .opcode = 0xc1, .w = wide };

	asm_op(g->a, shift, op, RM_REG(r));
	asm_u8(g->a, count);
}

enum { PLAIN_SHL = 4, PLAIN_SHR = 5, PLAIN_SAR = 7 };

void gen_flags_save(struct xl_gen *g, unsigned scratch)
{
	asm_mov_rr(g->a, scratch, H_RAX);
	asm_u8(g->a, 0x9f);                          /* lahf */
	asm_op(g->a, OP(1, 0x90), 0, RM_REG(H_RAX)); /* seto al */
	plain_xchg_rax(g, scratch);
}

void gen_flags_restore(struct xl_gen *g, unsigned scratch)
{
	plain_xchg_rax(g, scratch);
	asm_u8(g->a, 0x04); /* add al, 127 */
	asm_u8(g->a, 127);
	asm_u8(g->a, 0x9e); /* sahf */
	asm_mov_rr(g->a, H_RAX, scratch);
}

/* --- Are the flags wanted? ------------------------------------------------ */

/* Two plain registers, or one and a constant. */
static bool plain_registers(const struct x86_insn *insn)
{
	return insn->o[0].kind == X86_OPND_GPR &&
	       (insn->o[1].kind == X86_OPND_GPR ||
		insn->o[1].kind == X86_OPND_IMM) &&
	       gen_can_copy(insn);
}

/* Overwrites all arithmetic flags, looks at none. */
static bool plain_sets_flags(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_ADD:
	case X86_OR:
	case X86_AND:
	case X86_SUB:
	case X86_XOR:
	case X86_CMP:
	case X86_TEST:
		return true;
	default:
		return false;
	}
}

/* Neither looks at flags nor lets anybody else: no faults, no exits. */
static bool plain_passes(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_MOV:
	case X86_MOVZX:
	case X86_MOVSX:
	case X86_MOVSXD:
		return plain_registers(insn);
	case X86_LEA:
		return insn->opsize > 2;
	default:
		return false;
	}
}

/*
 * Behind the access of the instruction at hand.  An instruction with two
 * accesses does not set flags, and so is not asked about.
 */
static bool plain_flags_dead(const struct xl_gen *g)
{
	const struct plan *p = &g->plan;
	unsigned i = g->i;

	if (plain_sets_flags(&p->insn[i]))
		return true;
	if (p->insn[i].op != X86_MOV && p->insn[i].op != X86_MOVZX)
		return false;
	if (i && p->insn[i - 1].op == X86_STI) /* interrupts come behind it */
		return false;
	for (i++; i < p->count; i++) {
		if (xl_breakpoint_at(g->x->cpu,
				     g->page->linear + p->offset[i]) ||
		    (p->crosses && i == p->count - 1))
			return false;
		if (plain_sets_flags(&p->insn[i]))
			return plain_registers(&p->insn[i]);
		if (!plain_passes(&p->insn[i]))
			return false;
	}
	return false;
}

/* --- The check of an access ----------------------------------------------- */

static void plain_index(struct xl_gen *g, unsigned ea)
{
	asm_mov32_rr(g->a, XL_T1, ea);
	plain_shift(g, false, PLAIN_SHR, XL_T1, PLAIN_PAGE_SHIFT);
}

/*
 *	(save flags)
 *	mov t1d, ea; shr t1d, 12
 *	mov t1, gs:[t1 * 8 + neg]
 *	lea t1, [t1 + ea + size - 1]
 *	shr t1, 12
 *	jnz miss
 *	mov t1d, ea; shr t1d, 12
 *	(restore flags)
 */
uint8_t *gen_plain_check(struct xl_gen *g, unsigned ea, unsigned size,
			 int32_t neg)
{
	uint8_t *miss;

	gen_flags_save(g, XL_CX);
	plain_index(g, ea);
	asm_load(g->a, XL_T1, RM_GS8(XL_T1, neg));
	asm_lea(g->a, XL_T1, RM_SIB(XL_T1, ea, 0, (int32_t)size - 1));
	plain_shift(g, true, PLAIN_SHR, XL_T1, PLAIN_PAGE_SHIFT);
	miss = asm_jcc_site(g->a, 5);
	plain_index(g, ea);
	if (!plain_flags_dead(g))
		gen_flags_restore(g, XL_CX);
	return miss;
}

/* --- The rest ------------------------------------------------------------- */

void gen_plain_and_word(struct xl_gen *g, unsigned dst, unsigned src,
			enum xl_word mask)
{
	gen_t1_changed(g);
	asm_mov_rr(g->a, dst, src);
	gen_flags_save(g, XL_T1);
	asm_op(g->a, OPW(0, 0x23), dst, RM_GS(XL_WORD(mask)));
	gen_flags_restore(g, XL_T1);
}

void gen_plain_sar(struct xl_gen *g, unsigned dst, unsigned src, unsigned count)
{
	asm_mov_rr(g->a, dst, src);
	gen_flags_save(g, XL_CX);
	plain_shift(g, true, PLAIN_SAR, dst, count);
	gen_flags_restore(g, XL_CX);
}

void gen_plain_rdtsc(struct xl_gen *g)
{
	struct xl_asm *a = g->a;

	gen_t1_changed(g);
	gen_flags_save(g, XL_T1);
	plain_shift(g, true, PLAIN_SHL, H_RDX, 32);
	asm_lea(a, H_RAX, RM_SIB(H_RAX, H_RDX, 0, 0));
	asm_load(a, XL_CX, RM_GS(XL_OFF(tsc_offset)));
	asm_lea(a, H_RAX, RM_SIB(H_RAX, XL_CX, 0, 0));
	asm_mov_rr(a, H_RDX, H_RAX);
	plain_shift(g, true, PLAIN_SHR, H_RDX, 32);
	asm_mov32_rr(a, H_RAX, H_RAX);
	gen_flags_restore(g, XL_T1);
}
