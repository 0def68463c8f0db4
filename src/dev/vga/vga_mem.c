/*
 * vga_mem.c - what accesses to a0000-bffff do.
 *
 * Video memory is kept with the four planes of an address beside each other
 * (vga_unit()), so that 256-colour modes, which use the planes in turn
 * ("chain 4"), and frame buffer modes are plain bytes:
 *
 *	chain 4		address a is byte a
 *	odd/even	address a is unit a / 2, plane a & 1 (or 2 and 3)
 *	planar		address a is unit a, all planes at once
 *
 * Source: IBM VGA technical reference, graphics controller.
 */
#include <string.h>

#include "dev/vga/vga_priv.h"

#define VGA_NOT_HERE UINT32_MAX

/* The graphics controller's register 6: where memory is seen. */
static uint32_t vga_mem_address(const struct vga_regs *r, uint64_t offset)
{
	static const struct {
		uint32_t base, size;
	} maps[4] = {
		{ 0, 0x20000 },
		{ 0, 0x10000 },
		{ 0x10000, 0x8000 },
		{ 0x18000, 0x8000 },
	};
	unsigned map = r->gc[VGA_GC_MISC] >> 2 & 3;

	if (vga_dispi_on(r))
		map = 1;
	if (offset < maps[map].base ||
	    offset - maps[map].base >= maps[map].size)
		return VGA_NOT_HERE;
	return (uint32_t)offset - maps[map].base +
	       ((uint32_t)r->dispi[VGA_DISPI_BANK] << 16);
}

static bool vga_is_linear(const struct vga_regs *r)
{
	return r->seq[VGA_SEQ_MEMORY] & 8 ||
	       (vga_dispi_on(r) && r->dispi[VGA_DISPI_BPP] >= 8);
}

static bool vga_is_odd_even(const struct vga_regs *r)
{
	return r->gc[VGA_GC_MODE] & 0x10;
}

/* --- Reading -------------------------------------------------------------- */

/* Read mode 1: a bit is set where all planes that count have the colour. */
static uint8_t vga_compare(const struct vga_regs *r)
{
	uint8_t differs = 0;

	for (unsigned p = 0; p < 4; p++) {
		uint8_t want = r->gc[VGA_GC_COMPARE] >> p & 1 ? 0xff : 0;

		if (r->gc[VGA_GC_IGNORE] >> p & 1)
			differs |= r->latch[p] ^ want;
	}
	return ~differs;
}

static uint8_t vga_mem_get(struct vga *v, uint64_t offset)
{
	struct vga_regs *r = &v->r;
	uint32_t at = vga_mem_address(r, offset);

	if (at == VGA_NOT_HERE)
		return 0xff;
	if (vga_is_linear(r))
		return v->vram[at % VGA_MEMORY];
	if (vga_is_odd_even(r)) {
		memcpy(r->latch, vga_unit(v, at / 2), 4);
		return r->latch[(r->gc[VGA_GC_READ] & 2) | (at & 1)];
	}
	memcpy(r->latch, vga_unit(v, at), 4);
	if (r->gc[VGA_GC_MODE] & 8)
		return vga_compare(r);
	return r->latch[r->gc[VGA_GC_READ] & 3];
}

/* --- Writing -------------------------------------------------------------- */

static uint8_t vga_rotate(const struct vga_regs *r, uint8_t value)
{
	unsigned n = r->gc[VGA_GC_ROTATE] & 7;

	return (uint8_t)(value >> n | value << (8 - n));
}

static uint8_t vga_combine(const struct vga_regs *r, uint8_t value,
			   uint8_t latch)
{
	switch (r->gc[VGA_GC_ROTATE] >> 3 & 3) {
	case 1:
		return value & latch;
	case 2:
		return value | latch;
	case 3:
		return value ^ latch;
	default:
		return value;
	}
}

/* What goes to a plane, and under which mask of bits. */
static uint8_t vga_plane_value(const struct vga_regs *r, unsigned plane,
			       uint8_t value, uint8_t *mask)
{
	uint8_t set = r->gc[VGA_GC_SET] >> plane & 1 ? 0xff : 0;
	uint8_t rotated = vga_rotate(r, value);

	*mask = r->gc[VGA_GC_MASK];
	switch (r->gc[VGA_GC_MODE] & 3) {
	case 0:
		if (r->gc[VGA_GC_SET_ON] >> plane & 1)
			rotated = set;
		return vga_combine(r, rotated, r->latch[plane]);
	case 1:
		*mask = 0xff;
		return r->latch[plane];
	case 2:
		return vga_combine(r, value >> plane & 1 ? 0xff : 0,
				   r->latch[plane]);
	default:
		*mask &= rotated;
		return set;
	}
}

static void vga_planar_put(struct vga *v, uint32_t at, uint8_t value)
{
	uint8_t *unit = vga_unit(v, at), mask, new;
	struct vga_regs *r = &v->r;

	for (unsigned p = 0; p < 4; p++) {
		if (!(r->seq[VGA_SEQ_PLANES] >> p & 1))
			continue;
		new = vga_plane_value(r, p, value, &mask);
		unit[p] = (new &mask) | (r->latch[p] & ~mask);
	}
}

static void vga_mem_put(struct vga *v, uint64_t offset, uint8_t value)
{
	struct vga_regs *r = &v->r;
	uint32_t at = vga_mem_address(r, offset);
	unsigned plane;

	if (at == VGA_NOT_HERE)
		return;
	if (vga_is_linear(r)) {
		if (vga_dispi_on(r) || r->seq[VGA_SEQ_PLANES] >> (at & 3) & 1)
			v->vram[at % VGA_MEMORY] = value;
	} else if (vga_is_odd_even(r)) {
		plane = (r->gc[VGA_GC_READ] & 2) | (at & 1);
		if (r->seq[VGA_SEQ_PLANES] >> plane & 1)
			vga_unit(v, at / 2)[plane] = value;
	} else {
		vga_planar_put(v, at, value);
	}
}

/* --- Access --------------------------------------------------------------- */

static uint64_t vga_mem_read(void *dev, uint64_t offset, unsigned size)
{
	struct vga *v = dev;
	uint64_t value = 0;

	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)vga_mem_get(v, offset + i) << i * 8;
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void vga_mem_write(void *dev, uint64_t offset, unsigned size,
			  uint64_t value)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < size; i++)
		vga_mem_put(v, offset + i, (uint8_t)(value >> i * 8));
	pthread_mutex_unlock(&v->lock);
}

const struct io_ops vga_mem_ops = {
	.read = vga_mem_read,
	.write = vga_mem_write,
};
