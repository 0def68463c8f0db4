/*
 * fpenv.c - the x87 environment: FNSTENV, FLDENV, FNSAVE, FRSTOR, FWAIT, EMMS.
 *
 * Source: Intel SDM volume 1, 8.1.10, figures 8-9 to 8-12.  Memory holds the
 * full tag word, two bits a register, which is computed from the abridged
 * one and the registers' contents.
 *
 *	32-bit protected	16-bit protected	real and virtual-8086
 *	 0 FCW			 0 FCW			as left, but FIP and
 *	 4 FSW			 2 FSW			FDP are linear and the
 *	 8 FTW			 4 FTW			selectors' places hold
 *	12 FIP			 6 FIP			their upper bits, in
 *	16 FOP:FCS		 8 FCS			bits 12 and up, with
 *	20 FDP			10 FDP			FOP in bits 0..10
 *	24 FDS			12 FDS
 */
#include "cpu/interpreter/ops.h"

#include <string.h>

#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk.h"

#define FPENV_REGS_BYTES 80
#define FPENV_MAX        (28 + FPENV_REGS_BYTES)

static bool fpenv_linear_pointers(const struct x86_cpu *cpu)
{
	return !x86_protected(cpu);
}

static unsigned fpenv_bytes(const struct x86_insn *insn)
{
	return insn->opsize == 2 ? 14 : 28;
}

/* --- Tag word ------------------------------------------------------------ */

/* SDM 1, 8.1.7: 0 valid, 1 zero, 2 special (NaN, infinity, denormal). */
static unsigned fpenv_classify(const uint8_t *st)
{
	uint64_t mantissa;
	uint16_t exponent;

	memcpy(&mantissa, st, 8);
	memcpy(&exponent, st + 8, 2);
	exponent &= 0x7fff;
	if (exponent == 0 && mantissa == 0)
		return 1;
	if (exponent == 0 || exponent == 0x7fff || !(mantissa >> 63))
		return 2;
	return 0;
}

static uint16_t fpenv_full_tags(const struct x86_cpu *cpu)
{
	unsigned top = fpu_get16(cpu, FPU_FSW) >> 11 & 7;
	uint8_t used = cpu->fpu.b[FPU_FTW];
	unsigned tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *st = cpu->fpu.b + FPU_ST + 16 * ((i - top) & 7);

		tags |= (used >> i & 1 ? fpenv_classify(st) : 3) << 2 * i;
	}
	return (uint16_t)tags;
}

static uint8_t fpenv_abridged(uint16_t tags)
{
	uint8_t used = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != 3)
			used |= (uint8_t)(1 << i);
	return used;
}

/* --- The environment image ----------------------------------------------- */

/* As seven 32-bit words; the 16-bit layout is their lower halves. */
static void fpenv_words(const struct x86_cpu *cpu, uint32_t w[7])
{
	uint32_t fip = (uint32_t)fpu_get64(cpu, FPU_FIP);
	uint32_t fdp = (uint32_t)fpu_get64(cpu, FPU_FDP);
	uint32_t fop = fpu_get16(cpu, FPU_FOP);
	w[0] = 0xffff0000 | fpu_get16(cpu, FPU_FCW);
	w[1] = 0xffff0000 | fpu_get16(cpu, FPU_FSW);
	w[2] = 0xffff0000 | fpenv_full_tags(cpu);
	w[3] = fip;
	w[4] = fop << 16;
	w[5] = fdp;
	w[6] = 0xffff0000;
	if (fpenv_linear_pointers(cpu)) {
		w[3] = fip & 0xffff;
		w[4] = (fip >> 16) << 12 | fop;
		w[5] = fdp & 0xffff;
		w[6] = (fdp >> 16) << 12;
	}
}

static void fpenv_put(const struct x86_cpu *cpu, const struct x86_insn *insn,
		      uint8_t *image)
{
	uint32_t w[7];

	fpenv_words(cpu, w);
	if (insn->opsize != 2) {
		memcpy(image, w, sizeof(w));
		return;
	}
	for (unsigned i = 0; i < 7; i++)
		memcpy(image + 2 * i, &w[i], 2);
}

static void fpenv_get_pointers(struct x86_cpu *cpu, const struct x86_insn *insn,
			       const uint32_t w[7])
{
	bool linear = fpenv_linear_pointers(cpu);
	bool wide = insn->opsize != 2;
	uint32_t fip = w[3], fdp = w[5];
	uint16_t fop = 0;

	if (linear) {
		fip = (fip & 0xffff) | (w[4] >> 12) << 16;
		fdp = (fdp & 0xffff) | (w[6] >> 12) << 16;
		fop = (uint16_t)w[4];
	} else if (wide) {
		fop = (uint16_t)(w[4] >> 16);
	}
	fpu_set16(cpu, FPU_FOP, fop & 0x7ff);
	fpu_set64(cpu, FPU_FIP, fip);
	fpu_set64(cpu, FPU_FDP, fdp);
}

/* ES and B follow from flags and masks. */
static void fpenv_set_fsw(struct x86_cpu *cpu, uint16_t fsw)
{
	fsw &= (uint16_t) ~(FPU_FSW_ES | FPU_FSW_B);
	fpu_set16(cpu, FPU_FSW, fsw);
	if (fpu_x87_pending(cpu))
		fpu_set16(cpu, FPU_FSW, fsw | FPU_FSW_ES | FPU_FSW_B);
}

static void fpenv_get(struct x86_cpu *cpu, const struct x86_insn *insn,
		      const uint8_t *image)
{
	uint32_t w[7] = { 0 };

	if (insn->opsize == 2)
		for (unsigned i = 0; i < 7; i++)
			memcpy(&w[i], image + 2 * i, 2);
	else
		memcpy(w, image, sizeof(w));
	fpu_set16(cpu, FPU_FCW, ((uint16_t)w[0] & 0x1f3f) | 0x40);
	fpenv_set_fsw(cpu, (uint16_t)w[1]);
	cpu->fpu.b[FPU_FTW] = fpenv_abridged((uint16_t)w[2]);
	fpenv_get_pointers(cpu, insn, w);
}

static unsigned fpenv_image_top(const struct x86_insn *insn,
				const uint8_t *image)
{
	return image[insn->opsize == 2 ? 3 : 5] >> 3 & 7;
}

/* --- Instructions -------------------------------------------------------- */

void interp_op_FNSTENV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t image[FPENV_MAX];
	unsigned len = fpenv_bytes(insn);

	thunk_check_class(cpu, X86_CLASS_X87);
	fpenv_put(cpu, insn, image);
	x86_store_bytes(cpu, x86_linear(cpu, insn, len, true), image, len);
	fpu_set16(cpu, FPU_FCW, fpu_get16(cpu, FPU_FCW) | 0x3f);
	fpenv_set_fsw(cpu, fpu_get16(cpu, FPU_FSW));
}

void interp_op_FLDENV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t image[FPENV_MAX];
	unsigned len = fpenv_bytes(insn);

	thunk_check_class(cpu, X86_CLASS_X87);
	if (fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
	x86_load_bytes(cpu, x86_linear(cpu, insn, len, false), image, len);
	fpu_change_top(cpu, fpenv_image_top(insn, image));
	fpenv_get(cpu, insn, image);
}

static void fpenv_init(struct x86_cpu *cpu)
{
	fpu_change_top(cpu, 0);
	memset(cpu->fpu.b, 0, FPU_MXCSR);
	fpu_set16(cpu, FPU_FCW, FPU_FCW_INIT);
}

void interp_op_FNSAVE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned env = fpenv_bytes(insn);
	uint8_t image[FPENV_MAX];

	thunk_check_class(cpu, X86_CLASS_X87);
	fpenv_put(cpu, insn, image);
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + env + 10 * i, cpu->fpu.b + FPU_ST + 16 * i, 10);
	x86_store_bytes(cpu,
			x86_linear(cpu, insn, env + FPENV_REGS_BYTES, true),
			image, env + FPENV_REGS_BYTES);
	fpenv_init(cpu);
}

void interp_op_FRSTOR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned env = fpenv_bytes(insn);
	uint8_t image[FPENV_MAX];

	thunk_check_class(cpu, X86_CLASS_X87);
	if (fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
	x86_load_bytes(cpu,
		       x86_linear(cpu, insn, env + FPENV_REGS_BYTES, false),
		       image, env + FPENV_REGS_BYTES);
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fpu.b + FPU_ST + 16 * i, image + env + 10 * i, 10);
	fpenv_get(cpu, insn, image);
}

void interp_op_FWAIT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t both = X86_CR0_MP | X86_CR0_TS;

	if ((cpu->cr0 & both) == both)
		x86_raise(cpu, X86_VEC_NM);
	if (fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
}

void interp_op_EMMS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	thunk_check_class(cpu, X86_CLASS_MMX);
	if (fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
	fpu_change_top(cpu, 0);
	cpu->fpu.b[FPU_FTW] = 0;
}
