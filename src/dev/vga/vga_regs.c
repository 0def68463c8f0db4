/*
 * vga_regs.c - the registers of the display.
 *
 * The VGA's own are bytes behind index registers; dispi's are words.  Nothing
 * here draws: vga_draw.c looks at the registers when somebody wants to see.
 */
#include <string.h>

#include "dev/vga/vga_priv.h"

#define VGA_DISPI_ID_FIRST 0xb0c0
#define VGA_DISPI_ID_LAST  0xb0c5

/* --- The attribute controller and the DAC --------------------------------- */

static void vga_ac_put(struct vga_regs *r, uint8_t value)
{
	if (!r->ac_data)
		r->ac_index = value & 0x3f;
	else
		r->ac[r->ac_index & 0x1f] = value;
	r->ac_data = !r->ac_data;
}

static uint8_t vga_dac_get(struct vga_regs *r)
{
	uint8_t value = r->palette[r->dac_read * 3 + r->dac_sub];

	if (++r->dac_sub == 3) {
		r->dac_sub = 0;
		r->dac_read++;
	}
	return value;
}

/* An entry takes effect when its third byte has come. */
static void vga_dac_put(struct vga_regs *r, uint8_t value)
{
	if (!(r->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_DAC8))
		value &= 0x3f;
	r->dac_cache[r->dac_sub] = value;
	if (++r->dac_sub == 3) {
		memcpy(r->palette + r->dac_write * 3, r->dac_cache, 3);
		r->dac_sub = 0;
		r->dac_write++;
	}
}

/* --- Indexed registers ---------------------------------------------------- */

static void vga_seq_put(struct vga_regs *r, uint8_t value)
{
	static const uint8_t mask[8] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };

	r->seq[r->seq_index & 7] = value & mask[r->seq_index & 7];
}

static void vga_gc_put(struct vga_regs *r, uint8_t value)
{
	static const uint8_t mask[16] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03,
					  0x7b, 0x0f, 0x0f, 0xff };

	r->gc[r->gc_index & 15] = value & mask[r->gc_index & 15];
}

/* 11h bit 7 protects 0 to 7, but for the line compare bit of 7. */
static void vga_crtc_put(struct vga_regs *r, uint8_t value)
{
	uint8_t index = r->crtc_index & 31;

	if (r->crtc[0x11] & 0x80 && index < 7)
		return;
	if (r->crtc[0x11] & 0x80 && index == 7)
		value = (r->crtc[7] & ~0x10) | (value & 0x10);
	r->crtc[index] = value;
}

/* --- Ports ---------------------------------------------------------------- */

/* The CRTC and its neighbours are at 3dx in colour modes, else at 3bx. */
static bool vga_port_is_dead(const struct vga_regs *r, unsigned port)
{
	bool colour = r->misc & 1;

	return (port >= 0x3b0 && port < 0x3c0 && colour) ||
	       (port >= 0x3d0 && port < 0x3e0 && !colour);
}

/* Whoever waits for a retrace sees one at every other look. */
static uint8_t vga_status(struct vga_regs *r)
{
	r->ac_data = false;
	r->status ^= 0x09;
	return r->status;
}

uint8_t vga_port_get(struct vga *v, unsigned port)
{
	struct vga_regs *r = &v->r;

	if (vga_port_is_dead(r, port))
		return 0xff;
	switch (port) {
	case 0x3c0:
		return r->ac_data ? 0 : r->ac_index;
	case 0x3c1:
		return r->ac[r->ac_index & 0x1f];
	case 0x3c2:
		return 0x10; /* a monitor is there */
	case 0x3c4:
		return r->seq_index;
	case 0x3c5:
		return r->seq[r->seq_index & 7];
	case 0x3c6:
		return r->dac_mask;
	case 0x3c7:
		return r->dac_state;
	case 0x3c8:
		return r->dac_write;
	case 0x3c9:
		return vga_dac_get(r);
	case 0x3ca:
		return r->feature;
	case 0x3cc:
		return r->misc;
	case 0x3ce:
		return r->gc_index;
	case 0x3cf:
		return r->gc[r->gc_index & 15];
	case 0x3b4:
	case 0x3d4:
		return r->crtc_index;
	case 0x3b5:
	case 0x3d5:
		return r->crtc[r->crtc_index & 31];
	case 0x3ba:
	case 0x3da:
		return vga_status(r);
	default:
		return 0;
	}
}

static void vga_dac_select(struct vga_regs *r, unsigned port, uint8_t value)
{
	r->dac_sub = 0;
	r->dac_state = port == 0x3c7 ? 3 : 0;
	if (port == 0x3c7)
		r->dac_read = value;
	else
		r->dac_write = value;
}

void vga_port_put(struct vga *v, unsigned port, uint8_t value)
{
	struct vga_regs *r = &v->r;

	if (vga_port_is_dead(r, port))
		return;
	switch (port) {
	case 0x3c0:
		vga_ac_put(r, value);
		break;
	case 0x3c2:
		r->misc = value & ~0x10;
		break;
	case 0x3c4:
		r->seq_index = value & 7;
		break;
	case 0x3c5:
		vga_seq_put(r, value);
		break;
	case 0x3c6:
		r->dac_mask = value;
		break;
	case 0x3c7:
	case 0x3c8:
		vga_dac_select(r, port, value);
		break;
	case 0x3c9:
		vga_dac_put(r, value);
		break;
	case 0x3ce:
		r->gc_index = value & 15;
		break;
	case 0x3cf:
		vga_gc_put(r, value);
		break;
	case 0x3b4:
	case 0x3d4:
		r->crtc_index = value & 31;
		break;
	case 0x3b5:
	case 0x3d5:
		vga_crtc_put(r, value);
		break;
	case 0x3ba:
	case 0x3da:
		r->feature = value & 0x10;
		break;
	}
}

/* --- Dispi ---------------------------------------------------------------- */

static unsigned vga_dispi_pitch(const struct vga_regs *r)
{
	unsigned bits = r->dispi[VGA_DISPI_BPP];
	unsigned width = r->dispi[VGA_DISPI_VIRT_WIDTH];

	return bits == 4 ? width / 2 : width * ((bits + 7) / 8);
}

uint16_t vga_dispi_get(const struct vga *v, unsigned index)
{
	static const uint16_t most[VGA_DISPI_COUNT] = {
		[VGA_DISPI_XRES] = VGA_X_MAX,
		[VGA_DISPI_YRES] = VGA_Y_MAX,
		[VGA_DISPI_BPP] = 32,
	};
	const struct vga_regs *r = &v->r;
	unsigned pitch = vga_dispi_pitch(r);

	if (index >= VGA_DISPI_COUNT)
		return 0;
	if (r->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_GETCAPS && most[index])
		return most[index];
	if (index == VGA_DISPI_MEMORY)
		return VGA_MEMORY >> 16;
	if (index == VGA_DISPI_VIRT_HEIGHT && pitch) {
		unsigned rows = VGA_MEMORY / pitch;

		return rows > UINT16_MAX ? UINT16_MAX : (uint16_t)rows;
	}
	return r->dispi[index];
}

static bool vga_dispi_bits_ok(uint16_t bits)
{
	return bits == 0 || bits == 4 || bits == 8 || bits == 15 ||
	       bits == 16 || bits == 24 || bits == 32;
}

/* Wider than the screen, and not wider than memory is long. */
static uint16_t vga_dispi_width(const struct vga_regs *r, uint16_t width)
{
	uint16_t screen = r->dispi[VGA_DISPI_XRES];

	if (width < screen)
		return screen;
	return width > 0x4000 ? 0x4000 : width;
}

static void vga_dispi_enable(struct vga *v, uint16_t value)
{
	struct vga_regs *r = &v->r;
	bool was = vga_dispi_on(r);

	r->dispi[VGA_DISPI_ENABLE] =
		value & (VGA_DISPI_ON | VGA_DISPI_GETCAPS | VGA_DISPI_DAC8 |
			 VGA_DISPI_LFB | VGA_DISPI_KEEP);
	r->dispi[VGA_DISPI_BANK] = 0;
	if (was || !vga_dispi_on(r))
		return;
	r->dispi[VGA_DISPI_VIRT_WIDTH] = r->dispi[VGA_DISPI_XRES];
	r->dispi[VGA_DISPI_X] = r->dispi[VGA_DISPI_Y] = 0;
	if (!(value & VGA_DISPI_KEEP))
		memset(v->vram, 0,
		       vga_dispi_pitch(r) * r->dispi[VGA_DISPI_YRES]);
}

/* A mode cannot be changed while it is on. */
static void vga_dispi_mode(struct vga_regs *r, unsigned index, uint16_t value)
{
	if (vga_dispi_on(r))
		return;
	if ((index == VGA_DISPI_XRES && value <= VGA_X_MAX) ||
	    (index == VGA_DISPI_YRES && value <= VGA_Y_MAX) ||
	    (index == VGA_DISPI_BPP && vga_dispi_bits_ok(value)))
		r->dispi[index] = value;
}

void vga_dispi_put(struct vga *v, unsigned index, uint16_t value)
{
	struct vga_regs *r = &v->r;

	switch (index) {
	case VGA_DISPI_ID:
		if (value >= VGA_DISPI_ID_FIRST && value <= VGA_DISPI_ID_LAST)
			r->dispi[index] = value;
		break;
	case VGA_DISPI_XRES:
	case VGA_DISPI_YRES:
	case VGA_DISPI_BPP:
		vga_dispi_mode(r, index, value);
		break;
	case VGA_DISPI_ENABLE:
		vga_dispi_enable(v, value);
		break;
	case VGA_DISPI_BANK:
		r->dispi[index] = value % (VGA_MEMORY >> 16);
		break;
	case VGA_DISPI_VIRT_WIDTH:
		r->dispi[index] = vga_dispi_width(r, value);
		break;
	case VGA_DISPI_X:
	case VGA_DISPI_Y:
		r->dispi[index] = value;
		break;
	}
}

/* --- Reset ---------------------------------------------------------------- */

void vga_regs_reset(struct vga *v)
{
	v->r = (struct vga_regs){
		.misc = 1,
		.dac_mask = 0xff,
		.dispi[VGA_DISPI_ID] = VGA_DISPI_ID_LAST,
	};
}

void vga_regs_restored(struct vga *v)
{
	struct vga_regs *r = &v->r;
	uint16_t *d = r->dispi;

	r->seq_index &= 7;
	r->gc_index &= 15;
	r->crtc_index &= 31;
	r->ac_index &= 0x3f;
	r->dac_sub %= 3;
	d[VGA_DISPI_XRES] =
		d[VGA_DISPI_XRES] > VGA_X_MAX ? VGA_X_MAX : d[VGA_DISPI_XRES];
	d[VGA_DISPI_YRES] =
		d[VGA_DISPI_YRES] > VGA_Y_MAX ? VGA_Y_MAX : d[VGA_DISPI_YRES];
	if (!vga_dispi_bits_ok(d[VGA_DISPI_BPP]))
		d[VGA_DISPI_BPP] = 8;
	d[VGA_DISPI_BANK] %= VGA_MEMORY >> 16;
	d[VGA_DISPI_VIRT_WIDTH] = vga_dispi_width(r, d[VGA_DISPI_VIRT_WIDTH]);
}
