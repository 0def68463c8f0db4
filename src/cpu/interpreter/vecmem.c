/*
 * vecmem.c - vector instructions that touch memory element by element, and
 * VZEROUPPER, VZEROALL.
 *
 * Source: Intel SDM volume 2: MASKMOVQ, MASKMOVDQU, VMASKMOV, VPMASKMOV,
 * VPGATHER, VGATHER.  An element whose mask is clear is not accessed and
 * cannot fault; but MASKMOVQ and MASKMOVDQU, which leave that open, check
 * all of their operand, as AMD's processors do.  Stores prove every element
 * writable first.  Gathers keep what was loaded before a fault and clear its
 * mask, so that the instruction goes on where it stopped.
 */
#include "cpu/interpreter/ops.h"

#include <string.h>

#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/thunk.h"

#define VECMEM_BYTES 32

static void vecmem_get(struct x86_cpu *cpu, unsigned reg, uint8_t *v)
{
	memcpy(v, fpu_xmm(cpu, reg & 15), 16);
	memcpy(v + 16, fpu_ymm_high(cpu, reg & 15), 16);
}

static void vecmem_set(struct x86_cpu *cpu, unsigned reg, const uint8_t *v)
{
	memcpy(fpu_xmm(cpu, reg & 15), v, 16);
	memcpy(fpu_ymm_high(cpu, reg & 15), v + 16, 16);
}

static unsigned vecmem_bytes(const struct x86_insn *insn)
{
	return insn->prefix & X86_PFX_VEXL ? 32 : 16;
}

static bool vecmem_selected(const uint8_t *mask, unsigned i, unsigned size)
{
	return mask[i * size + size - 1] & 0x80;
}

static bool vecmem_any(const uint8_t *mask, unsigned size, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (vecmem_selected(mask, i, size))
			return true;
	return false;
}

/* Stores the selected elements of v, after proving that all can be. */
static void vecmem_store(struct x86_cpu *cpu, uint64_t linear, const uint8_t *v,
			 const uint8_t *mask, unsigned size, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (vecmem_selected(mask, i, size))
			x86_probe(cpu, linear + i * size, size, true);
	for (unsigned i = 0; i < count; i++)
		if (vecmem_selected(mask, i, size))
			x86_store_bytes(cpu, linear + i * size, v + i * size,
					size);
}

/* --- MASKMOVQ, (V)MASKMOVDQU: to DS:[rDI] -------------------------------- */

/* An MMX instruction leaves TOP 0 and every register valid (SDM 1, 9.6.2). */
static void vecmem_enter_mmx(struct x86_cpu *cpu)
{
	fpu_change_top(cpu, 0);
	cpu->fpu.b[FPU_FTW] = 0xff;
}

/* MMi lies in R(i). */
static void vecmem_get_mmx(const struct x86_cpu *cpu, unsigned reg, uint8_t *v)
{
	unsigned top = fpu_get16(cpu, FPU_FSW) >> 11 & 7;

	memcpy(v, cpu->fpu.b + FPU_ST + 16 * ((reg - top) & 7), 8);
}

static uint64_t vecmem_rdi(struct x86_cpu *cpu, const struct x86_insn *insn,
			   unsigned size)
{
	uint64_t offset = cpu->gpr[X86_RDI];

	if (insn->addrsize != 8)
		offset &= insn->addrsize == 2 ? 0xffff : 0xffffffff;
	return x86_seg_linear(cpu, insn->seg, offset, size, true);
}

static void vecmem_maskmovq(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t v[8], mask[8];
	uint64_t linear;

	thunk_check_class(cpu, X86_CLASS_MMX);
	if (fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
	vecmem_get_mmx(cpu, insn->modrm >> 3 & 7, v);
	vecmem_get_mmx(cpu, insn->modrm & 7, mask);
	vecmem_enter_mmx(cpu); /* even if it faults */
	linear = vecmem_rdi(cpu, insn, 8);
	x86_probe(cpu, linear, 8, true);
	vecmem_store(cpu, linear, v, mask, 1, 8);
}

void interp_op_MASKMOV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bool vex = insn->prefix & X86_PFX_VEX;
	uint8_t v[VECMEM_BYTES], mask[VECMEM_BYTES];
	unsigned r = insn->rex & 4 ? 8 : 0, b = insn->rex & 1 ? 8 : 0;
	uint64_t linear;

	if (insn->pp != 1) {
		vecmem_maskmovq(cpu, insn);
		return;
	}
	thunk_check_class(cpu, vex ? X86_CLASS_AVX : X86_CLASS_SSE);
	vecmem_get(cpu, (insn->modrm >> 3 & 7) | r, v);
	vecmem_get(cpu, (insn->modrm & 7) | b, mask);
	linear = vecmem_rdi(cpu, insn, 16);
	x86_probe(cpu, linear, 16, true);
	vecmem_store(cpu, linear, v, mask, 1, 16);
}

/* --- VMASKMOVPS/PD, VPMASKMOVD/Q ----------------------------------------- */

static unsigned vecmem_mask_size(const struct x86_insn *insn)
{
	if (insn->opcode == 0x8c || insn->opcode == 0x8e) /* VPMASKMOVD/Q */
		return insn->prefix & X86_PFX_REXW ? 8 : 4;
	return insn->opcode & 1 ? 8 : 4; /* 2C, 2E: PS; 2D, 2F: PD */
}

static bool vecmem_mask_stores(const struct x86_insn *insn)
{
	return insn->opcode == 0x8e || insn->opcode == 0x2e ||
	       insn->opcode == 0x2f;
}

void interp_op_VMASKMOV(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned bytes = vecmem_bytes(insn), size = vecmem_mask_size(insn);
	unsigned reg = (insn->modrm >> 3 & 7) | (insn->rex & 4 ? 8 : 0);
	bool store = vecmem_mask_stores(insn);
	uint8_t v[VECMEM_BYTES] = { 0 }, mask[VECMEM_BYTES];
	uint64_t linear = 0;

	thunk_check_class(cpu, X86_CLASS_AVX);
	vecmem_get(cpu, insn->vvvv, mask);
	if (vecmem_any(mask, size, bytes / size)) /* else no address at all */
		linear = x86_linear(cpu, insn, bytes, store);
	if (store) {
		vecmem_get(cpu, reg, v);
		vecmem_store(cpu, linear, v, mask, size, bytes / size);
		return;
	}
	for (unsigned i = 0; i < bytes / size; i++)
		if (vecmem_selected(mask, i, size))
			x86_load_bytes(cpu, linear + i * size, v + i * size,
				       size);
	vecmem_set(cpu, reg, v);
}

/* --- Gathers ------------------------------------------------------------- */

struct vecmem_gather {
	uint8_t dest[VECMEM_BYTES], mask[VECMEM_BYTES], index[VECMEM_BYTES];
	unsigned size, index_size, count; /* bytes, bytes, elements */
	unsigned dest_reg, mask_reg;
};

static uint64_t vecmem_gather_address(struct x86_cpu *cpu,
				      const struct x86_insn *insn,
				      const struct vecmem_gather *g, unsigned i)
{
	uint64_t base = insn->base == X86_NO_REG ? 0 : cpu->gpr[insn->base];
	int64_t index;
	int32_t index32;
	uint64_t offset;

	if (g->index_size == 4) {
		memcpy(&index32, g->index + 4 * i, 4);
		index = index32;
	} else {
		memcpy(&index, g->index + 8 * i, 8);
	}
	offset = base + ((uint64_t)index << insn->scale) +
		 (uint64_t)(int64_t)insn->disp;
	if (insn->addrsize != 8)
		offset = (uint32_t)offset;
	return x86_seg_linear(cpu, insn->seg, offset, g->size, false);
}

static void vecmem_gather_begin(struct x86_cpu *cpu,
				const struct x86_insn *insn,
				struct vecmem_gather *g)
{
	unsigned bytes = vecmem_bytes(insn), wider;

	g->size = insn->prefix & X86_PFX_REXW ? 8 : 4;
	g->index_size = insn->opcode & 1 ? 8 : 4;
	wider = g->size > g->index_size ? g->size : g->index_size;
	g->count = bytes / wider;
	g->dest_reg = (insn->modrm >> 3 & 7) | (insn->rex & 4 ? 8 : 0);
	g->mask_reg = insn->vvvv;
	vecmem_get(cpu, g->dest_reg, g->dest);
	vecmem_get(cpu, g->mask_reg, g->mask);
	vecmem_get(cpu, insn->index, g->index);
}

/*
 * Elements are done from the lowest up; each that is done, or passed over,
 * has its mask cleared.  What lies above the last one is cleared at the end
 * (the SDM would let masks also become all ones first; AMD's do not).
 */
void interp_op_VGATHER(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct vecmem_gather g;

	thunk_check_class(cpu, X86_CLASS_AVX);
	vecmem_gather_begin(cpu, insn, &g);
	for (unsigned i = 0; i < g.count; i++) {
		unsigned at = i * g.size;
		uint64_t v;

		if (vecmem_selected(g.mask, i, g.size)) {
			v = x86_load(cpu,
				     vecmem_gather_address(cpu, insn, &g, i),
				     g.size);
			memcpy(g.dest + at, &v, g.size);
			vecmem_set(cpu, g.dest_reg, g.dest);
		}
		memset(g.mask + at, 0, g.size);
		vecmem_set(cpu, g.mask_reg, g.mask);
	}
	memset(g.dest + g.count * g.size, 0, VECMEM_BYTES - g.count * g.size);
	memset(g.mask, 0, VECMEM_BYTES);
	vecmem_set(cpu, g.dest_reg, g.dest);
	vecmem_set(cpu, g.mask_reg, g.mask);
}

/* --- VZEROUPPER, VZEROALL ------------------------------------------------ */

void interp_op_VZEROUPPER(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	thunk_check_class(cpu, X86_CLASS_AVX);
	memset(fpu_ymm_high(cpu, 0), 0, x86_code64(cpu) ? 256 : 128);
}

void interp_op_VZEROALL(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	interp_op_VZEROUPPER(cpu, insn);
	memset(fpu_xmm(cpu, 0), 0, x86_code64(cpu) ? 256 : 128);
}
