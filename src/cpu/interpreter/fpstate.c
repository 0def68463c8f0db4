/*
 * fpstate.c - saving and restoring x87, SSE and AVX state as a whole.
 *
 * Source: Intel SDM volume 1, 10.5 (FXSAVE) and chapter 13 (XSAVE), volume 2.
 *
 * cpu->fpu lies in memory as FXSAVE64 and XSAVE (standard form) would write
 * it, so an image is built by copying; only the pointers FIP and FDP have a
 * second layout, used without REX.W.  Images are built and read in a buffer,
 * so that all of an area is proven accessible, and its contents checked,
 * before anything changes.
 *
 * XINUSE (13.6) is not tracked but computed when asked for: a component is in
 * use if it differs from its initial state.  XSAVEOPT's modified
 * optimization is not used; the architecture leaves both open.
 */
#include "cpu/interpreter/ops.h"

#include <string.h>

#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk.h"

#define FPSTATE_LEGACY_BYTES 512
#define FPSTATE_HEADER       512
#define FPSTATE_XCOMP_BV     520
#define FPSTATE_AVX          X86_YMMH_OFFSET
#define FPSTATE_COMPACT      (1ull << 63)
#define FPSTATE_XCR0_ALL     (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX)

void interp_op_THUNK(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	thunk_exec(cpu, insn);
}

static uint32_t fpstate_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t fpstate_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* XMM registers that the current mode can reach. */
static unsigned fpstate_vec_count(const struct x86_cpu *cpu)
{
	return x86_code64(cpu) ? 16 : 8;
}

/* --- The x87 part of an image: bytes 0..23 and 32..159 ------------------- */

static void fpstate_put_x87(const struct x86_cpu *cpu,
			    const struct x86_insn *insn, uint8_t *image)
{
	memcpy(image, cpu->fpu.b, FPU_MXCSR);
	if (!fpu_pointers_visible(cpu))
		memset(image + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
	if (!(insn->prefix & X86_PFX_REXW)) { /* FIP, FCS; FDP, FDS */
		memset(image + FPU_FIP + 4, 0, 4);
		memset(image + FPU_FDP + 4, 0, 4);
	}
	memcpy(image + FPU_ST, cpu->fpu.b + FPU_ST, 128);
}

/* ES and B say what flags and masks say, whatever the image claims. */
static void fpstate_fix_fsw(struct x86_cpu *cpu)
{
	uint16_t fsw =
		fpu_get16(cpu, FPU_FSW) & (uint16_t) ~(FPU_FSW_ES | FPU_FSW_B);

	fpu_set16(cpu, FPU_FCW, (fpu_get16(cpu, FPU_FCW) & 0x1f3f) | 0x40);
	fpu_set16(cpu, FPU_FSW, fsw);
	if (fpu_x87_pending(cpu))
		fpu_set16(cpu, FPU_FSW, fsw | FPU_FSW_ES | FPU_FSW_B);
}

static void fpstate_get_x87(struct x86_cpu *cpu, const struct x86_insn *insn,
			    const uint8_t *image)
{
	memcpy(cpu->fpu.b, image, FPU_MXCSR);
	if (!(insn->prefix & X86_PFX_REXW)) {
		memset(cpu->fpu.b + FPU_FIP + 4, 0, 4);
		memset(cpu->fpu.b + FPU_FDP + 4, 0, 4);
	}
	cpu->fpu.b[FPU_FTW + 1] = 0;
	fpu_set16(cpu, FPU_FOP, fpu_get16(cpu, FPU_FOP) & 0x7ff);
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fpu.b + FPU_ST + 16 * i, image + FPU_ST + 16 * i,
		       10);
	fpstate_fix_fsw(cpu);
}

static void fpstate_init_x87(struct x86_cpu *cpu)
{
	memset(cpu->fpu.b, 0, FPU_MXCSR);
	memset(cpu->fpu.b + FPU_ST, 0, 128);
	fpu_set16(cpu, FPU_FCW, FPU_FCW_INIT);
}

/* --- FXSAVE and FXRSTOR -------------------------------------------------- */

static void fpstate_check_fx(struct x86_cpu *cpu)
{
	if (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))
		x86_raise(cpu, X86_VEC_NM);
}

/* Unlike XSAVE's, a bad address comes before misalignment. */
static uint64_t fpstate_fx_area(struct x86_cpu *cpu,
				const struct x86_insn *insn, bool write)
{
	uint64_t linear = x86_linear(cpu, insn, FPSTATE_LEGACY_BYTES, write);

	if (linear & 15)
		x86_gp(cpu, 0);
	return linear;
}

static void fpstate_put_mxcsr(const struct x86_cpu *cpu, uint8_t *image)
{
	uint32_t mask = FPU_MXCSR_VALID;

	memcpy(image + FPU_MXCSR, cpu->fpu.b + FPU_MXCSR, 4);
	memcpy(image + FPU_MXCSR_MASK, &mask, 4);
}

void interp_op_FXSAVE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned len = X86_XMM_OFFSET + 16 * fpstate_vec_count(cpu);
	uint8_t image[FPSTATE_LEGACY_BYTES];
	uint64_t linear;

	fpstate_check_fx(cpu);
	linear = fpstate_fx_area(cpu, insn, true);
	x86_probe(cpu, linear, FPSTATE_LEGACY_BYTES, true);
	fpstate_put_x87(cpu, insn, image);
	fpstate_put_mxcsr(cpu, image);
	memcpy(image + X86_XMM_OFFSET, cpu->fpu.b + X86_XMM_OFFSET, 256);
	x86_store_bytes(cpu, linear, image, len);
}

void interp_op_FXRSTOR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t image[FPSTATE_LEGACY_BYTES];
	uint64_t linear;

	fpstate_check_fx(cpu);
	linear = fpstate_fx_area(cpu, insn, false);
	x86_load_bytes(cpu, linear, image, FPSTATE_LEGACY_BYTES);
	if (fpstate_u32(image + FPU_MXCSR) & ~FPU_MXCSR_VALID)
		x86_gp(cpu, 0);
	fpstate_get_x87(cpu, insn, image);
	memcpy(cpu->fpu.b + FPU_MXCSR, image + FPU_MXCSR, 4);
	memcpy(cpu->fpu.b + X86_XMM_OFFSET, image + X86_XMM_OFFSET,
	       16 * fpstate_vec_count(cpu));
}

/* --- XSAVE family -------------------------------------------------------- */

static bool fpstate_is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static bool fpstate_x87_in_use(const struct x86_cpu *cpu)
{
	const uint8_t *b = cpu->fpu.b;

	return fpu_get16(cpu, FPU_FCW) != FPU_FCW_INIT ||
	       !fpstate_is_zero(b + FPU_FSW, FPU_MXCSR - FPU_FSW) ||
	       !fpstate_is_zero(b + FPU_ST, 128);
}

static uint64_t fpstate_xinuse(const struct x86_cpu *cpu)
{
	const uint8_t *b = cpu->fpu.b;
	uint64_t in_use = 0;

	if (fpstate_x87_in_use(cpu))
		in_use |= X86_XCR0_X87;
	if (!fpstate_is_zero(b + X86_XMM_OFFSET, 256))
		in_use |= X86_XCR0_SSE;
	if (!fpstate_is_zero(b + FPSTATE_AVX, 256))
		in_use |= X86_XCR0_AVX;
	return in_use;
}

/* Availability, then the requested-feature bitmap. */
static uint64_t fpstate_rfbm(struct x86_cpu *cpu)
{
	if (!(cpu->cr4 & X86_CR4_OSXSAVE))
		x86_ud(cpu);
	if (cpu->cr0 & X86_CR0_TS)
		x86_raise(cpu, X86_VEC_NM);
	return (cpu->gpr[X86_RDX] << 32 | (uint32_t)cpu->gpr[X86_RAX]) &
	       cpu->xcr0;
}

/* Bytes from the area's start that components in `which` reach. */
static unsigned fpstate_extent(uint64_t which)
{
	return which & X86_XCR0_AVX ? FPSTATE_AVX + 256 : FPSTATE_AVX;
}

/*
 * Writes the components of `save` and, with `mxcsr`, MXCSR into the image,
 * which holds what memory held before: only parts written change.
 */
static void fpstate_put_components(struct x86_cpu *cpu,
				   const struct x86_insn *insn, uint8_t *image,
				   uint64_t save, bool mxcsr)
{
	unsigned count = fpstate_vec_count(cpu);

	if (save & X86_XCR0_X87)
		fpstate_put_x87(cpu, insn, image);
	if (mxcsr)
		fpstate_put_mxcsr(cpu, image);
	if (save & X86_XCR0_SSE)
		memcpy(image + X86_XMM_OFFSET, cpu->fpu.b + X86_XMM_OFFSET,
		       16 * count);
	if (save & X86_XCR0_AVX)
		memcpy(image + FPSTATE_AVX, cpu->fpu.b + FPSTATE_AVX,
		       16 * count);
}

struct fpstate_save {
	uint8_t image[X86_XSAVE_SIZE];
	uint64_t linear;
	unsigned len;
};

/*
 * Proves the area writable and reads it.  A page that can be written can be
 * read, so writing all of it back is invisible, but to another processor
 * that writes the gaps meanwhile; so stores go by component.
 */
static void fpstate_save_begin(struct x86_cpu *cpu, const struct x86_insn *insn,
			       struct fpstate_save *s, uint64_t rfbm)
{
	s->len = fpstate_extent(rfbm);
	s->linear = x86_linear_aligned(cpu, insn, s->len, 64, true);
	x86_probe(cpu, s->linear, s->len, true);
	x86_load_bytes(cpu, s->linear + FPSTATE_HEADER,
		       s->image + FPSTATE_HEADER, 16);
}

static void fpstate_store(struct x86_cpu *cpu, const struct fpstate_save *s,
			  unsigned offset, unsigned len)
{
	x86_store_bytes(cpu, s->linear + offset, s->image + offset, len);
}

static void fpstate_save_end(struct x86_cpu *cpu, const struct fpstate_save *s,
			     uint64_t save, bool mxcsr, unsigned header_len)
{
	unsigned vec_bytes = 16 * fpstate_vec_count(cpu);

	if (save & X86_XCR0_X87) {
		fpstate_store(cpu, s, 0, FPU_MXCSR);
		fpstate_store(cpu, s, FPU_ST, 128);
	}
	if (mxcsr)
		fpstate_store(cpu, s, FPU_MXCSR, 8);
	if (save & X86_XCR0_SSE)
		fpstate_store(cpu, s, X86_XMM_OFFSET, vec_bytes);
	if (save & X86_XCR0_AVX)
		fpstate_store(cpu, s, FPSTATE_AVX, vec_bytes);
	fpstate_store(cpu, s, FPSTATE_HEADER, header_len);
}

static void fpstate_xsave(struct x86_cpu *cpu, const struct x86_insn *insn,
			  bool optimize)
{
	uint64_t rfbm = fpstate_rfbm(cpu), in_use = fpstate_xinuse(cpu);
	bool mxcsr = rfbm & (X86_XCR0_SSE | X86_XCR0_AVX);
	uint64_t save = optimize ? rfbm & in_use : rfbm;
	struct fpstate_save s;
	uint64_t bv;

	fpstate_save_begin(cpu, insn, &s, rfbm);
	fpstate_put_components(cpu, insn, s.image, save, mxcsr);
	bv = fpstate_u64(s.image + FPSTATE_HEADER);
	bv = (bv & ~rfbm) | (in_use & rfbm);
	memcpy(s.image + FPSTATE_HEADER, &bv, 8);
	fpstate_save_end(cpu, &s, save, mxcsr, 8);
}

void interp_op_XSAVE(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	fpstate_xsave(cpu, insn, false);
}

void interp_op_XSAVEOPT(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	fpstate_xsave(cpu, insn, true);
}

/* SDM 1, 13.10: compacted; AVX is the first extended component, at 576. */
void interp_op_XSAVEC(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t rfbm = fpstate_rfbm(cpu), save = rfbm & fpstate_xinuse(cpu);
	uint64_t comp = rfbm | FPSTATE_COMPACT;
	struct fpstate_save s;

	if (rfbm & X86_XCR0_SSE && fpu_get32(cpu, FPU_MXCSR) != FPU_MXCSR_INIT)
		save |= X86_XCR0_SSE;
	fpstate_save_begin(cpu, insn, &s, rfbm);
	fpstate_put_components(cpu, insn, s.image, save, save & X86_XCR0_SSE);
	memcpy(s.image + FPSTATE_HEADER, &save, 8);
	memcpy(s.image + FPSTATE_XCOMP_BV, &comp, 8);
	fpstate_save_end(cpu, &s, save, save & X86_XCR0_SSE, 16);
}

/* Header rules of SDM 1, 13.8.1 (standard) and 13.8.2 (compacted). */
static bool fpstate_header_ok(const struct x86_cpu *cpu, const uint8_t *header)
{
	uint64_t bv = fpstate_u64(header), comp = fpstate_u64(header + 8);

	if (comp & FPSTATE_COMPACT)
		return !(comp & ~FPSTATE_COMPACT & ~cpu->xcr0) &&
		       !(bv & ~comp) && !(bv & FPSTATE_COMPACT) &&
		       fpstate_is_zero(header + 16, 48);
	return !(bv & ~cpu->xcr0) && fpstate_is_zero(header + 8, 16);
}

static void fpstate_restore_vec(struct x86_cpu *cpu, const uint8_t *image,
				unsigned offset, bool present)
{
	unsigned len = 16 * fpstate_vec_count(cpu);

	if (present)
		memcpy(cpu->fpu.b + offset, image + offset, len);
	else
		memset(cpu->fpu.b + offset, 0, len);
}

static void fpstate_restore(struct x86_cpu *cpu, const struct x86_insn *insn,
			    const uint8_t *image, uint64_t rfbm)
{
	uint64_t bv = fpstate_u64(image + FPSTATE_HEADER);

	if (rfbm & X86_XCR0_X87) {
		if (bv & X86_XCR0_X87)
			fpstate_get_x87(cpu, insn, image);
		else
			fpstate_init_x87(cpu);
	}
	if (rfbm & X86_XCR0_SSE)
		fpstate_restore_vec(cpu, image, X86_XMM_OFFSET,
				    bv & X86_XCR0_SSE);
	if (rfbm & X86_XCR0_AVX)
		fpstate_restore_vec(cpu, image, FPSTATE_AVX, bv & X86_XCR0_AVX);
}

void interp_op_XRSTOR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t rfbm = fpstate_rfbm(cpu), linear, bv;
	uint8_t image[X86_XSAVE_SIZE];
	bool compact, from_image;
	uint32_t mxcsr;

	linear = x86_linear_aligned(cpu, insn, fpstate_extent(rfbm), 64, false);
	x86_load_bytes(cpu, linear, image, FPSTATE_AVX);
	if (!fpstate_header_ok(cpu, image + FPSTATE_HEADER))
		x86_gp(cpu, 0);
	bv = fpstate_u64(image + FPSTATE_HEADER);
	if (rfbm & bv & X86_XCR0_AVX)
		x86_load_bytes(cpu, linear + FPSTATE_AVX, image + FPSTATE_AVX,
			       256);
	/* MXCSR belongs to SSE; in standard form AVX loads it too, and what
	 * XSTATE_BV says does not matter. */
	compact = fpstate_u64(image + FPSTATE_XCOMP_BV) & FPSTATE_COMPACT;
	from_image = compact ? bv & X86_XCR0_SSE : true;
	mxcsr = from_image ? fpstate_u32(image + FPU_MXCSR) : FPU_MXCSR_INIT;
	if (!(rfbm & X86_XCR0_SSE) && (compact || !(rfbm & X86_XCR0_AVX)))
		mxcsr = fpu_get32(cpu, FPU_MXCSR);
	if (mxcsr & ~FPU_MXCSR_VALID)
		x86_gp(cpu, 0);
	fpstate_restore(cpu, insn, image, rfbm);
	fpu_set32(cpu, FPU_MXCSR, mxcsr);
}

/* Supervisor forms: IA32_XSS is not offered. */
void interp_op_XSAVES(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}

void interp_op_XRSTORS(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_ud(cpu);
}

/* --- MXCSR --------------------------------------------------------------- */

static void fpstate_check_vec(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	thunk_check_class(cpu, insn->prefix & X86_PFX_VEX ? X86_CLASS_AVX
							  : X86_CLASS_SSE);
}

void interp_op_LDMXCSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint32_t mxcsr;

	fpstate_check_vec(cpu, insn);
	mxcsr = x86_load32(cpu, x86_linear(cpu, insn, 4, false));
	if (mxcsr & ~FPU_MXCSR_VALID)
		x86_gp(cpu, 0);
	fpu_set32(cpu, FPU_MXCSR, mxcsr);
}

void interp_op_STMXCSR(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	fpstate_check_vec(cpu, insn);
	x86_store32(cpu, x86_linear(cpu, insn, 4, true),
		    fpu_get32(cpu, FPU_MXCSR));
}
