/*
 * vga_draw.c - from registers and memory to pixels.
 *
 * Theory of operation
 *
 * A frame is drawn from a copy of the registers, and from memory as it is,
 * which the guest may change meanwhile.  Registers are the guest's: sizes are
 * cut to VGA_X_MAX and VGA_Y_MAX, and each address is taken modulo the size of
 * memory, so no combination reads outside it.
 *
 *	dispi on	rows of 4 to 32 bits a pixel
 *	text		plane 0 characters, 1 attributes, 2 fonts
 *	16 colours	a bit in each plane
 *	4 colours	two bits, four pixels of plane 0, then four of plane 1
 *	256 colours	bytes, each pixel twice as wide as the clock
 *
 * Deliberately missing: split screens and smooth scrolling of text, blinking
 * (what blinks is shown).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/vga/vga_priv.h"

struct draw {
	struct vga *v;
	struct vga_regs r;
	struct vga_frame *f;
	uint32_t palette[256];
};

/* --- Colours -------------------------------------------------------------- */

static void draw_palette(struct draw *d)
{
	bool wide = d->r.dispi[VGA_DISPI_ENABLE] & VGA_DISPI_DAC8;

	for (unsigned i = 0; i < 256; i++) {
		uint32_t rgb = 0;

		for (unsigned c = 0; c < 3; c++) {
			uint8_t x = d->r.palette[i * 3 + c];

			if (!wide)
				x = (uint8_t)(x << 2 | (x >> 4 & 3));
			rgb = rgb << 8 | x;
		}
		d->palette[i] = rgb;
	}
}

/* A colour of 4 bits through the attribute controller and the DAC. */
static uint32_t draw_colour(const struct draw *d, unsigned colour)
{
	const uint8_t *ac = d->r.ac;
	unsigned i = ac[colour & 15] & 0x3f;

	if (ac[VGA_AC_MODE] & 0x80)
		i = (i & 15) | (ac[VGA_AC_SELECT] & 3) << 4;
	i |= (ac[VGA_AC_SELECT] & 0x0c) << 4;
	return d->palette[i & d->r.dac_mask];
}

/* --- The frame ------------------------------------------------------------ */

static int draw_size(struct vga_frame *f, unsigned width, unsigned height)
{
	size_t need;

	f->width = width > VGA_X_MAX ? VGA_X_MAX : width;
	f->height = height > VGA_Y_MAX ? VGA_Y_MAX : height;
	need = (size_t)f->width * f->height;
	if (need > f->room) {
		free(f->pixel);
		f->room = 0;
		f->pixel = malloc(need * sizeof(*f->pixel));
		if (!f->pixel)
			return -ENOMEM;
		f->room = need;
	}
	if (need)
		memset(f->pixel, 0, need * sizeof(*f->pixel));
	return 0;
}

static uint32_t *draw_row(const struct draw *d, unsigned y)
{
	return d->f->pixel + (size_t)y * d->f->width;
}

static uint8_t draw_byte(const struct draw *d, uint32_t at)
{
	return d->v->vram[at % VGA_MEMORY];
}

/* --- Frame buffer modes --------------------------------------------------- */

/* bits of red, green and blue in a pixel of 15 or 16 bits */
static uint32_t draw_hicolour(unsigned x, unsigned bits)
{
	unsigned green_bits = bits == 15 ? 5 : 6;
	unsigned b = x & 31, g = x >> 5 & ((1u << green_bits) - 1);
	unsigned r = x >> (5 + green_bits) & 31;

	g = green_bits == 5 ? g << 3 | g >> 2 : g << 2 | g >> 4;
	return (r << 3 | r >> 2) << 16 | g << 8 | (b << 3 | b >> 2);
}

static uint32_t draw_dispi_pixel(const struct draw *d, uint32_t at,
				 unsigned bits)
{
	switch (bits) {
	case 15:
	case 16:
		return draw_hicolour(
			draw_byte(d, at) | draw_byte(d, at + 1) << 8, bits);
	case 24:
	case 32:
		return draw_byte(d, at) | draw_byte(d, at + 1) << 8 |
		       (uint32_t)draw_byte(d, at + 2) << 16;
	default:
		return d->palette[draw_byte(d, at) & d->r.dac_mask];
	}
}

static uint32_t draw_planar_pixel(const struct draw *d, uint32_t unit,
				  unsigned bit)
{
	const uint8_t *p = vga_unit(d->v, unit);
	unsigned colour = 0;

	for (unsigned i = 0; i < 4; i++)
		colour |= (p[i] >> (7 - bit) & 1u) << i;
	return draw_colour(d, colour & d->r.ac[VGA_AC_PLANES]);
}

static void draw_dispi_row(const struct draw *d, unsigned y)
{
	const uint16_t *dispi = d->r.dispi;
	unsigned bits = dispi[VGA_DISPI_BPP], bytes = (bits + 7) / 8;
	uint32_t line = y + dispi[VGA_DISPI_Y];
	uint32_t *row = draw_row(d, y);
	uint32_t at, x0 = dispi[VGA_DISPI_X];

	if (bits == 4) {
		at = line * (dispi[VGA_DISPI_VIRT_WIDTH] / 8);
		for (unsigned x = 0; x < d->f->width; x++)
			row[x] = draw_planar_pixel(d, at + (x0 + x) / 8,
						   (x0 + x) % 8);
		return;
	}
	at = (line * dispi[VGA_DISPI_VIRT_WIDTH] + x0) * bytes;
	for (unsigned x = 0; x < d->f->width; x++)
		row[x] = draw_dispi_pixel(d, at + x * bytes, bits);
}

static int draw_dispi(struct draw *d)
{
	int ret = draw_size(d->f, d->r.dispi[VGA_DISPI_XRES],
			    d->r.dispi[VGA_DISPI_YRES]);

	for (unsigned y = 0; ret == 0 && y < d->f->height; y++)
		draw_dispi_row(d, y);
	return ret;
}

/* --- The CRTC's view ------------------------------------------------------ */

static unsigned crtc_lines(const struct vga_regs *r)
{
	unsigned n = r->crtc[0x12];

	n |= (r->crtc[7] & 0x02u) << 7 | (r->crtc[7] & 0x40u) << 3;
	return n + 1;
}

static unsigned crtc_start(const struct vga_regs *r)
{
	return (unsigned)r->crtc[0x0c] << 8 | r->crtc[0x0d];
}

/* In units. */
static unsigned crtc_pitch(const struct vga_regs *r)
{
	return r->crtc[0x13] * 2u;
}

static unsigned crtc_columns(const struct vga_regs *r)
{
	return r->crtc[1] + 1u;
}

static unsigned crtc_row_height(const struct vga_regs *r)
{
	return (r->crtc[9] & 0x1fu) + 1;
}

/*
 * How often each line of memory is shown.  Where the lines of a row are each
 * somewhere else (17h bits 0 and 1 are clear: CGA), once.
 */
static unsigned crtc_repeat(const struct vga_regs *r)
{
	unsigned n = (r->crtc[0x17] & 3) == 3 ? crtc_row_height(r) : 1;

	return r->crtc[9] & 0x80 ? n * 2 : n;
}

/* The last line of the upper screen, if there are two. */
static unsigned crtc_compare(const struct vga_regs *r)
{
	return r->crtc[0x18] | (r->crtc[7] & 0x10u) << 4 |
	       (r->crtc[9] & 0x40u) << 3;
}

static bool crtc_is_graphics(const struct vga_regs *r)
{
	return r->gc[VGA_GC_MISC] & 1;
}

/* --- Text ----------------------------------------------------------------- */

struct cell {
	const struct draw *d;
	unsigned x, y; /* of its upper left pixel */
	unsigned width, height;
	uint8_t character, attribute;
	bool cursor;
};

/*
 * Which of the eight fonts in plane 2: attribute bit 3 picks one of the two
 * that sequencer 3 names.  They are the same where the bit is brightness.
 */
static uint32_t text_font(const struct vga_regs *r, unsigned which)
{
	static const uint16_t at[8] = { 0x0000, 0x4000, 0x8000, 0xc000,
					0x2000, 0x6000, 0xa000, 0xe000 };
	uint8_t sel = r->seq[VGA_SEQ_FONTS];

	if (which)
		return at[(sel >> 2 & 3) | (sel >> 3 & 4)];
	return at[(sel & 3) | (sel >> 2 & 4)];
}

static unsigned text_glyph_row(const struct cell *c, unsigned line)
{
	const struct vga_regs *r = &c->d->r;
	uint32_t font = text_font(r, c->attribute >> 3 & 1);
	unsigned bits;

	bits = vga_unit(c->d->v, font + c->character * 32u + line)[2];
	bits <<= 1;
	if (c->character >= 0xc0 && c->character < 0xe0 &&
	    r->ac[VGA_AC_MODE] & 4)
		bits |= bits >> 1 & 1; /* lines join across the gap */
	return bits;
}

static bool text_under_cursor(const struct cell *c, unsigned line)
{
	const struct vga_regs *r = &c->d->r;

	return c->cursor && line >= (r->crtc[0x0a] & 0x1fu) &&
	       line <= (r->crtc[0x0b] & 0x1fu);
}

static void text_draw_cell(const struct cell *c)
{
	uint32_t fg = draw_colour(c->d, c->attribute & 15);
	bool blinks = c->d->r.ac[VGA_AC_MODE] & 8;
	uint32_t bg = draw_colour(c->d, c->attribute >> 4 & (blinks ? 7 : 15));

	for (unsigned line = 0; line < c->height; line++) {
		unsigned y = c->y + line, bits = text_glyph_row(c, line);
		uint32_t *row;

		if (y >= c->d->f->height)
			return;
		row = draw_row(c->d, y);
		if (text_under_cursor(c, line))
			bits = ~0u;
		for (unsigned i = 0; i < c->width; i++)
			if (c->x + i < c->d->f->width)
				row[c->x + i] = bits >> (8 - i) & 1 ? fg : bg;
	}
}

/* Of the whole screen: columns, rows, and the height of a character. */
struct text_shape {
	unsigned columns, rows, height;
};

static struct text_shape text_shape(const struct vga_regs *r)
{
	struct text_shape s = {
		.columns = crtc_columns(r),
		.height = (r->crtc[9] & 0x1fu) + 1,
	};

	s.rows = crtc_lines(r) / s.height;
	return s;
}

static uint32_t text_unit(const struct vga_regs *r, unsigned column,
			  unsigned row)
{
	return crtc_start(r) + row * crtc_pitch(r) + column;
}

static int draw_text(struct draw *d)
{
	struct text_shape s = text_shape(&d->r);
	unsigned width = d->r.seq[VGA_SEQ_CLOCKING] & 1 ? 8 : 9;
	uint32_t cursor = (uint32_t)d->r.crtc[0x0e] << 8 | d->r.crtc[0x0f];
	bool shown = !(d->r.crtc[0x0a] & 0x20);
	int ret = draw_size(d->f, s.columns * width, s.rows * s.height);

	for (unsigned i = 0; ret == 0 && i < s.rows * s.columns; i++) {
		unsigned column = i % s.columns, row = i / s.columns;
		uint32_t unit = text_unit(&d->r, column, row);
		const uint8_t *p = vga_unit(d->v, unit);
		struct cell c = {
			.d = d,
			.x = column * width,
			.y = row * s.height,
			.width = width,
			.height = s.height,
			.character = p[0],
			.attribute = p[1],
			.cursor = shown && unit == cursor,
		};

		text_draw_cell(&c);
	}
	return ret;
}

/* --- Graphics of the VGA -------------------------------------------------- */

/* Where a line is, and how many pixels it is moved to the left. */
struct scan {
	uint32_t unit;
	unsigned pan;
};

/*
 * CRTC 17h bits 0 and 1: the row counter's bits instead of the address's.
 * In odd/even modes a unit is two bytes of address.
 */
static uint32_t scan_in_row(const struct vga_regs *r, uint32_t unit,
			    unsigned line)
{
	unsigned shift = r->gc[VGA_GC_MODE] & 0x10 ? 12 : 13;

	for (unsigned i = 0; i < 2; i++) {
		if (r->crtc[0x17] >> i & 1)
			continue;
		unit &= ~(1u << (shift + i));
		unit |= (line >> i & 1) << (shift + i);
	}
	return unit;
}

/* Of the screen's lines, each of which the CRTC counts. */
static struct scan scan_of(const struct vga_regs *r, unsigned line)
{
	unsigned compare = crtc_compare(r);
	bool lower = line > compare;
	struct scan s = { .pan = r->ac[VGA_AC_PAN] & 7 };

	if (lower)
		line -= compare + 1;
	if (lower && r->ac[VGA_AC_MODE] & 0x20)
		s.pan = 0;
	if (r->crtc[9] & 0x80)
		line /= 2;
	if (!lower) {
		s.unit = crtc_start(r) + (r->crtc[8] >> 5 & 3);
		line += r->crtc[8] & 0x1f;
	}
	s.unit += line / crtc_row_height(r) * crtc_pitch(r);
	s.unit = scan_in_row(r, s.unit, line % crtc_row_height(r));
	return s;
}

/* Pixel x of the line that begins with this unit. */
typedef uint32_t scan_pixel_fn(const struct draw *d, uint32_t unit, unsigned x);

static uint32_t scan_planar(const struct draw *d, uint32_t unit, unsigned x)
{
	return draw_planar_pixel(d, unit + x / 8, x % 8);
}

static uint32_t scan_bytes(const struct draw *d, uint32_t unit, unsigned x)
{
	return d->palette[draw_byte(d, unit * 4 + x) & d->r.dac_mask];
}

/* Planes 2 and 3 have the upper two bits of what 0 and 1 show. */
static uint32_t scan_pairs(const struct draw *d, uint32_t unit, unsigned x)
{
	const uint8_t *p = vga_unit(d->v, unit + x / 8) + (x >> 2 & 1);
	unsigned shift = 6 - x % 4 * 2;
	unsigned colour = (p[0] >> shift & 3) | (p[2] >> shift & 3) << 2;

	return draw_colour(d, colour & d->r.ac[VGA_AC_PLANES]);
}

static int draw_graphics(struct draw *d)
{
	const struct vga_regs *r = &d->r;
	bool bytes = r->gc[VGA_GC_MODE] & 0x40;
	scan_pixel_fn *fn = bytes                       ? scan_bytes
			    : r->gc[VGA_GC_MODE] & 0x20 ? scan_pairs
							: scan_planar;
	unsigned repeat = crtc_repeat(r);
	int ret = draw_size(d->f, crtc_columns(r) * (bytes ? 4 : 8),
			    crtc_lines(r) / repeat);

	for (unsigned y = 0; ret == 0 && y < d->f->height; y++) {
		struct scan s = scan_of(r, y * repeat);
		uint32_t *row = draw_row(d, y);

		if (bytes)
			s.pan /= 2;
		for (unsigned x = 0; x < d->f->width; x++)
			row[x] = fn(d, s.unit, x + s.pan);
	}
	return ret;
}

/* --- The interface -------------------------------------------------------- */

static bool draw_is_off(const struct vga_regs *r)
{
	return r->seq[VGA_SEQ_CLOCKING] & 0x20 || !(r->ac_index & VGA_AC_ON);
}

static void draw_copy_regs(struct vga *v, struct vga_regs *r)
{
	pthread_mutex_lock(&v->lock);
	*r = v->r;
	pthread_mutex_unlock(&v->lock);
}

int vga_take_frame(struct vga *v, struct vga_frame *f)
{
	struct draw d = { .v = v, .f = f };

	draw_copy_regs(v, &d.r);
	draw_palette(&d);
	if (vga_dispi_on(&d.r))
		return draw_dispi(&d);
	if (draw_is_off(&d.r))
		return draw_size(f, 640, 400);
	if (!crtc_is_graphics(&d.r))
		return draw_text(&d);
	return draw_graphics(&d);
}

void vga_free_frame(struct vga_frame *f)
{
	free(f->pixel);
	*f = (struct vga_frame){ 0 };
}

bool vga_frames_differ(const struct vga_frame *a, const struct vga_frame *b,
		       unsigned *from, unsigned *to)
{
	size_t row = (size_t)a->width * sizeof(*a->pixel);

	*from = 0;
	*to = b->height;
	if (a->width != b->width || a->height != b->height)
		return true;
	while (*from < *to && !memcmp(a->pixel + (size_t)*from * a->width,
				      b->pixel + (size_t)*from * a->width, row))
		++*from;
	while (*from < *to &&
	       !memcmp(a->pixel + (size_t)(*to - 1) * a->width,
		       b->pixel + (size_t)(*to - 1) * a->width, row))
		--*to;
	return *from < *to;
}

/* What the character generator of a PC has (code page 437). */
static unsigned text_unicode(uint8_t c)
{
	static const uint16_t low[32] = {
		0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022,
		0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
		0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8,
		0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc,
	};
	static const uint16_t high[128] = {
		0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7,
		0x00ea, 0x00eb, 0x00e8, 0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5,
		0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
		0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192,
		0x00e1, 0x00ed, 0x00f3, 0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba,
		0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
		0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556,
		0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
		0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
		0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
		0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b,
		0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
		0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4,
		0x03a6, 0x0398, 0x03a9, 0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229,
		0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
		0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x0020,
	};

	if (c >= 0x80)
		return high[c - 0x80];
	return c < 0x20 ? low[c] : c == 0x7f ? 0x2302 : c;
}

/* At most three bytes. */
static unsigned text_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | c >> 12);
	out[1] = (char)(0x80 | (c >> 6 & 0x3f));
	out[2] = (char)(0x80 | (c & 0x3f));
	return 3;
}

/* One line of text; returns its bytes without trailing blanks. */
static size_t text_line(struct vga *v, const struct vga_regs *r, unsigned row,
			char *out, unsigned columns)
{
	size_t len = 0, end = 0;

	for (unsigned i = 0; i < columns; i++) {
		unsigned c = text_unicode(vga_unit(v, text_unit(r, i, row))[0]);

		len += text_utf8(out + len, c);
		if (c != ' ')
			end = len;
	}
	return end;
}

size_t vga_take_text(struct vga *v, char *out, size_t size)
{
	struct vga_regs r;
	struct text_shape s;
	char line[256 * 3];
	size_t at = 0;

	draw_copy_regs(v, &r);
	if (vga_dispi_on(&r) || crtc_is_graphics(&r))
		return 0;
	s = text_shape(&r);
	for (unsigned row = 0; row < s.rows; row++) {
		size_t n = text_line(v, &r, row, line, s.columns);

		if (n + 1 > size - at)
			break;
		memcpy(out + at, line, n);
		out[at + n] = '\n';
		at += n + 1;
	}
	return at;
}
