/*
 * vga_text.c - mode 3, 80 x 25 characters, as a video BIOS leaves it.
 *
 * Source: IBM VGA technical reference, "Programmable parameters" of mode 3+;
 * the palette of 64 colours is the EGA's: two bits each of red, green, blue.
 */
#include <string.h>

#include "dev/vga/vga_priv.h"

#define TEXT_GLYPHS 256
#define TEXT_LINES  16 /* of a glyph; in plane 2 each has room for 32 */
#define TEXT_CELLS  0x4000

static const uint8_t text_seq[] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t text_gc[] = { 0x00, 0x00, 0x00, 0x00, 0x00,
				   0x10, 0x0e, 0x00, 0xff };
static const uint8_t text_crtc[] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
	0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
	0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t text_ac[] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
	0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
};

/* Of 6 bits; colour bit n is the stronger one, n + 3 the weaker. */
static uint8_t text_level(unsigned colour, unsigned n)
{
	return (uint8_t)((colour >> n & 1) * 0x2a +
			 (colour >> (n + 3) & 1) * 0x15);
}

static void text_registers(struct vga *v)
{
	struct vga_regs *r = &v->r;

	vga_regs_reset(v);
	r->misc = 0x67;
	memcpy(r->seq, text_seq, sizeof(text_seq));
	memcpy(r->gc, text_gc, sizeof(text_gc));
	memcpy(r->crtc, text_crtc, sizeof(text_crtc));
	memcpy(r->ac, text_ac, sizeof(text_ac));
	r->ac_index = VGA_AC_ON;
	for (unsigned i = 0; i < 64; i++)
		for (unsigned c = 0; c < 3; c++)
			r->palette[i * 3 + c] = text_level(i, 2 - c);
}

static void text_memory(struct vga *v, const uint8_t *font)
{
	for (unsigned i = 0; i < TEXT_CELLS; i++) {
		vga_unit(v, i)[0] = ' ';
		vga_unit(v, i)[1] = 0x07;
	}
	for (unsigned i = 0; font && i < TEXT_GLYPHS * TEXT_LINES; i++)
		vga_unit(v, i / TEXT_LINES * 32 + i % TEXT_LINES)[2] = font[i];
}

void vga_set_text(struct vga *v, const uint8_t *font)
{
	pthread_mutex_lock(&v->lock);
	text_registers(v);
	text_memory(v, font);
	pthread_mutex_unlock(&v->lock);
}
