#include "cpu/translator/asm.h"

#include <string.h>

void asm_u8(struct xl_asm *a, uint8_t v)
{
	if (a->w < a->end)
		*a->w++ = v;
	else
		a->full = true;
}

void asm_u32(struct xl_asm *a, uint32_t v)
{
	if (a->end - a->w >= 4) {
		memcpy(a->w, &v, 4);
		a->w += 4;
	} else {
		a->full = true;
	}
}

void asm_u64(struct xl_asm *a, uint64_t v)
{
	asm_u32(a, v);
	asm_u32(a, v >> 32);
}

/*
 * ModRM, SIB and displacement (SDM 2, 2.1.5).  Two holes in the scheme: base
 * RBP/R13 needs a displacement, base RSP/R12 needs a SIB byte.
 */
static void asm_modrm(struct xl_asm *a, unsigned reg, const struct xl_rm *rm)
{
	unsigned r = (reg & 7) << 3, mod;
	bool sib = rm->index != H_NONE || (rm->base & 7) == 4;

	if (rm->is_reg) {
		asm_u8(a, 0xc0 | r | (rm->reg & 7));
		return;
	}
	if (rm->base == H_NONE) { /* SIB without base: disp32, not RIP */
		asm_u8(a, r | 4);
		asm_u8(a, rm->scale << 6 |
				  (rm->index == H_NONE ? 4 : rm->index & 7)
					  << 3 |
				  5);
		asm_u32(a, rm->disp);
		return;
	}
	mod = rm->disp == 0 && (rm->base & 7) != 5  ? 0
	      : rm->disp >= -128 && rm->disp <= 127 ? 1
						    : 2;
	asm_u8(a, mod << 6 | r | (sib ? 4 : rm->base & 7));
	if (sib)
		asm_u8(a, rm->scale << 6 |
				  (rm->index == H_NONE ? 4 : rm->index & 7)
					  << 3 |
				  (rm->base & 7));
	if (mod == 1)
		asm_u8(a, rm->disp);
	else if (mod == 2)
		asm_u32(a, rm->disp);
}

static unsigned rm_x(const struct xl_rm *rm)
{
	return !rm->is_reg && rm->index != H_NONE && rm->index & 8;
}

static unsigned rm_b(const struct xl_rm *rm)
{
	if (rm->is_reg)
		return rm->reg >> 3 & 1;
	return rm->base != H_NONE && rm->base & 8;
}

static void asm_vex(struct xl_asm *a, const struct xl_op *op, unsigned reg,
		    const struct xl_rm *rm)
{
	unsigned r = !(reg & 8), x = !rm_x(rm), b = !rm_b(rm);
	unsigned low = (~op->vvvv & 15u) << 3 | op->l << 2 | op->pp;

	if (x && b && !op->w && op->map == 1) {
		asm_u8(a, 0xc5);
		asm_u8(a, r << 7 | low);
		return;
	}
	asm_u8(a, 0xc4);
	asm_u8(a, r << 7 | x << 6 | b << 5 | op->map);
	asm_u8(a, op->w << 7 | low);
}

static void asm_legacy(struct xl_asm *a, const struct xl_op *op, unsigned reg,
		       const struct xl_rm *rm)
{
	static const uint8_t pp_byte[4] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned rex =
		op->w << 3 | (reg >> 3 & 1) << 2 | rm_x(rm) << 1 | rm_b(rm);
	bool need = rex || (op->byte_reg && reg >= 4) ||
		    (op->byte_rm && rm->is_reg && rm->reg >= 4);

	if (op->lock)
		asm_u8(a, 0xf0);
	if (op->p66)
		asm_u8(a, 0x66);
	if (op->pp)
		asm_u8(a, pp_byte[op->pp]);
	if (need)
		asm_u8(a, 0x40 | rex);
	if (op->map)
		asm_u8(a, 0x0f);
	if (op->map == 2)
		asm_u8(a, 0x38);
	else if (op->map == 3)
		asm_u8(a, 0x3a);
}

void asm_op(struct xl_asm *a, struct xl_op op, unsigned reg, struct xl_rm rm)
{
	if (!rm.is_reg && rm.gs)
		asm_u8(a, 0x65);
	if (op.vex)
		asm_vex(a, &op, reg, &rm);
	else
		asm_legacy(a, &op, reg, &rm);
	asm_u8(a, op.opcode);
	asm_modrm(a, reg, &rm);
}

void asm_mov_rr(struct xl_asm *a, unsigned dst, unsigned src)
{
	if (dst != src)
		asm_op(a, OPW(0, 0x8b), dst, RM_REG(src));
}

void asm_mov32_rr(struct xl_asm *a, unsigned dst, unsigned src)
{
	asm_op(a, OP(0, 0x8b), dst, RM_REG(src));
}

void asm_mov_imm(struct xl_asm *a, unsigned dst, uint64_t v)
{
	if (v <= UINT32_MAX) {
		if (dst & 8)
			asm_u8(a, 0x41);
		asm_u8(a, 0xb8 | (dst & 7));
		asm_u32(a, v);
	} else if ((int64_t)v == (int32_t)v) {
		asm_op(a, OPW(0, 0xc7), 0, RM_REG(dst));
		asm_u32(a, v);
	} else {
		asm_u8(a, 0x48 | (dst >> 3));
		asm_u8(a, 0xb8 | (dst & 7));
		asm_u64(a, v);
	}
}

void asm_load(struct xl_asm *a, unsigned dst, struct xl_rm rm)
{
	asm_op(a, OPW(0, 0x8b), dst, rm);
}

void asm_load32(struct xl_asm *a, unsigned dst, struct xl_rm rm)
{
	asm_op(a, OP(0, 0x8b), dst, rm);
}

void asm_store(struct xl_asm *a, struct xl_rm rm, unsigned src)
{
	asm_op(a, OPW(0, 0x89), src, rm);
}

void asm_lea(struct xl_asm *a, unsigned dst, struct xl_rm rm)
{
	asm_op(a, OPW(0, 0x8d), dst, rm);
}

void asm_lea32(struct xl_asm *a, unsigned dst, struct xl_rm rm)
{
	asm_op(a, OP(0, 0x8d), dst, rm);
}

void asm_shrx(struct xl_asm *a, unsigned dst, unsigned src, unsigned count)
{
	struct xl_op op = { .map = 2,
			    .opcode = 0xf7,
			    .pp = 3,
			    .w = true,
			    .vex = true,
			    .vvvv = count };

	asm_op(a, op, dst, RM_REG(src));
}

void asm_shrx32(struct xl_asm *a, unsigned dst, unsigned src, unsigned count)
{
	struct xl_op op = {
		.map = 2, .opcode = 0xf7, .pp = 3, .vex = true, .vvvv = count
	};

	asm_op(a, op, dst, RM_REG(src));
}

void asm_patch(uint8_t *site, ptrdiff_t rx_delta, const uint8_t *target)
{
	int32_t rel = target - (site + rx_delta + 4);

	__atomic_store_n((int32_t *)site, rel, __ATOMIC_RELAXED);
}

uint8_t *asm_jmp_site(struct xl_asm *a)
{
	asm_u8(a, 0xe9);
	asm_u32(a, 0);
	return a->w - 4;
}

uint8_t *asm_jcc_site(struct xl_asm *a, unsigned cond)
{
	asm_u8(a, 0x0f);
	asm_u8(a, 0x80 | cond);
	asm_u32(a, 0);
	return a->w - 4;
}

void asm_jmp(struct xl_asm *a, const uint8_t *target)
{
	uint8_t *site = asm_jmp_site(a);

	if (!a->full)
		asm_patch(site, a->rx_delta, target);
}

void asm_call(struct xl_asm *a, const uint8_t *target)
{
	asm_u8(a, 0xe8);
	asm_u32(a, 0);
	if (!a->full)
		asm_patch(a->w - 4, a->rx_delta, target);
}

uint8_t *asm_jrcxz(struct xl_asm *a)
{
	asm_u8(a, 0xe3);
	asm_u8(a, 0);
	return a->w - 1;
}

uint8_t *asm_jmp8(struct xl_asm *a)
{
	asm_u8(a, 0xeb);
	asm_u8(a, 0);
	return a->w - 1;
}

void asm_land8(struct xl_asm *a, uint8_t *mark)
{
	if (!a->full)
		*mark = a->w - (mark + 1);
}
