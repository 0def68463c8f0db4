/* test_vga.c - dev/vga: registers, memory modes, what is drawn, the PNG. */
#include "devtest.h"

#include <errno.h>
#include <png.h>
#include <unistd.h>

#include "dev/vga/vga.h"
#include "machine/screenshot.h"

#define LFB 0xd0000000u

struct fix {
	struct dt dt;
	struct pci_host *host;
	struct vga *v;
	struct vga_frame f;
};

static void fix_init(struct fix *f)
{
	struct pci_host_config config = { 0 };

	dt_init(&f->dt);
	assert_int_equal(pci_host_new(&f->host, &f->dt.env, &config, NULL), 0);
	assert_int_equal(vga_new(&f->v, &f->dt.env, f->host, 1, NULL), 0);
}

static void fix_exit(struct fix *f)
{
	vga_free_frame(&f->f);
	DEV(f->v)->free(DEV(f->v));
	DEV(f->host)->free(DEV(f->host));
	dt_exit(&f->dt);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	fix_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fix_exit(*state);
	free(*state);
	return 0;
}

/* --- As a guest reaches it ------------------------------------------------ */

static void out(struct fix *f, uint16_t port, uint8_t value)
{
	dt_out(&f->dt, port, value);
}

static void indexed(struct fix *f, uint16_t port, uint8_t index, uint8_t value)
{
	out(f, port, index);
	out(f, port + 1, value);
}

static void dispi(struct fix *f, uint16_t index, uint16_t value)
{
	mem_port_write(f->dt.env.mem, 0x1ce, 2, index);
	mem_port_write(f->dt.env.mem, 0x1cf, 2, value);
}

static uint16_t dispi_get(struct fix *f, uint16_t index)
{
	mem_port_write(f->dt.env.mem, 0x1ce, 2, index);
	return (uint16_t)mem_port_read(f->dt.env.mem, 0x1cf, 2);
}

static void poke(struct fix *f, uint32_t at, uint8_t value)
{
	assert_null(mem_host_read(f->dt.env.mem, at, 1));
	mem_mmio_write(f->dt.env.mem, at, 1, value);
}

static uint8_t peek(struct fix *f, uint32_t at)
{
	return (uint8_t)mem_mmio_read(f->dt.env.mem, at, 1);
}

static void config(struct fix *f, unsigned reg, uint32_t value)
{
	mem_port_write(f->dt.env.mem, 0xcf8, 4, 0x80000800 | reg);
	mem_port_write(f->dt.env.mem, 0xcfc, 4, value);
}

static void set_ac(struct fix *f, uint8_t index, uint8_t value)
{
	dt_in(&f->dt, 0x3da);
	out(f, 0x3c0, index);
	out(f, 0x3c0, value);
}

/* Palette as after a mode set: the 16 colours, dimmed RGB by their bits. */
static void colours(struct fix *f)
{
	out(f, 0x3c8, 0);
	for (unsigned i = 0; i < 16; i++) {
		out(f, 0x3c9, i & 4 ? 0x3f : 0);
		out(f, 0x3c9, i & 2 ? 0x3f : 0);
		out(f, 0x3c9, i & 1 ? 0x3f : 0);
	}
	for (uint8_t i = 0; i < 16; i++)
		set_ac(f, i, i);
	set_ac(f, 0x12, 0x0f);
	dt_in(&f->dt, 0x3da);
	out(f, 0x3c0, 0x20); /* screen on */
}

/* 4 columns, 2 rows of cells 8x16; memory at b8000. */
static void text_mode(struct fix *f)
{
	indexed(f, 0x3c4, 1, 0x01);
	indexed(f, 0x3c4, 2, 0x03);
	indexed(f, 0x3c4, 4, 0x02);
	indexed(f, 0x3ce, 5, 0x10);
	indexed(f, 0x3ce, 6, 0x0e);
	indexed(f, 0x3d4, 1, 3);
	indexed(f, 0x3d4, 9, 15);
	indexed(f, 0x3d4, 0x0a, 0x20); /* no cursor */
	indexed(f, 0x3d4, 0x12, 31);
	indexed(f, 0x3d4, 0x13, 2);
	colours(f);
}

/* As a BIOS does: plane 2, one after the other. */
static void load_glyph(struct fix *f, uint8_t c, uint8_t line, uint8_t bits)
{
	indexed(f, 0x3c4, 2, 0x04);
	indexed(f, 0x3c4, 4, 0x06);
	indexed(f, 0x3ce, 5, 0x00);
	indexed(f, 0x3ce, 6, 0x04);
	indexed(f, 0x3ce, 8, 0xff);
	poke(f, 0xa0000 + c * 32 + line, bits);
	indexed(f, 0x3c4, 2, 0x03);
	indexed(f, 0x3c4, 4, 0x02);
	indexed(f, 0x3ce, 5, 0x10);
	indexed(f, 0x3ce, 6, 0x0e);
}

static uint32_t pixel(struct fix *f, unsigned x, unsigned y)
{
	assert_true(x < f->f.width && y < f->f.height);
	return f->f.pixel[y * f->f.width + x];
}

static void take(struct fix *f, unsigned width, unsigned height)
{
	assert_int_equal(vga_take_frame(f->v, &f->f), 0);
	assert_int_equal(f->f.width, width);
	assert_int_equal(f->f.height, height);
}

/* --- Registers ------------------------------------------------------------ */

static void registers_keep_what_they_have(void **state)
{
	struct fix *f = *state;

	indexed(f, 0x3c4, 2, 0xff);
	assert_int_equal(dt_in(&f->dt, 0x3c5), 0x0f);
	indexed(f, 0x3ce, 8, 0xa5);
	assert_int_equal(dt_in(&f->dt, 0x3cf), 0xa5);
	out(f, 0x3d4, 0xff);
	assert_int_equal(dt_in(&f->dt, 0x3d4), 0x1f);
	set_ac(f, 0x14, 0x0c);
	assert_int_equal(dt_in(&f->dt, 0x3c1), 0x0c);
}

static void crtc_can_be_protected(void **state)
{
	struct fix *f = *state;

	indexed(f, 0x3d4, 1, 79);
	indexed(f, 0x3d4, 7, 0x1f);
	indexed(f, 0x3d4, 0x11, 0x80);
	indexed(f, 0x3d4, 1, 39);
	assert_int_equal(dt_in(&f->dt, 0x3d5), 79);
	indexed(f, 0x3d4, 7, 0);
	assert_int_equal(dt_in(&f->dt, 0x3d5), 0x0f);
	indexed(f, 0x3d4, 0x0e, 7);
	assert_int_equal(dt_in(&f->dt, 0x3d5), 7);
}

static void crtc_moves_with_misc_bit_0(void **state)
{
	struct fix *f = *state;

	indexed(f, 0x3d4, 0x0c, 0x12);
	assert_int_equal(dt_in(&f->dt, 0x3b5), 0xff);
	out(f, 0x3c2, 0);
	assert_int_equal(dt_in(&f->dt, 0x3d5), 0xff);
	assert_int_equal(dt_in(&f->dt, 0x3b5), 0x12);
}

static void dac_takes_three_bytes(void **state)
{
	struct fix *f = *state;

	out(f, 0x3c8, 255);
	out(f, 0x3c9, 0xff);
	out(f, 0x3c9, 0x20);
	out(f, 0x3c9, 0x10);
	out(f, 0x3c7, 255);
	assert_int_equal(dt_in(&f->dt, 0x3c7), 3);
	assert_int_equal(dt_in(&f->dt, 0x3c9), 0x3f); /* 6 bits */
	assert_int_equal(dt_in(&f->dt, 0x3c9), 0x20);
	assert_int_equal(dt_in(&f->dt, 0x3c9), 0x10);
	assert_int_equal(dt_in(&f->dt, 0x3c9), 0); /* entry 0 follows */
}

static void retrace_comes_for_who_waits(void **state)
{
	struct fix *f = *state;
	uint8_t a = dt_in(&f->dt, 0x3da), b = dt_in(&f->dt, 0x3da);

	assert_int_equal(a ^ b, 0x09);
}

static void dispi_is_recognised(void **state)
{
	struct fix *f = *state;

	assert_int_equal(dispi_get(f, 0), 0xb0c5);
	dispi(f, 0, 0xb0c2);
	assert_int_equal(dispi_get(f, 0), 0xb0c2);
	dispi(f, 0, 0x1234);
	assert_int_equal(dispi_get(f, 0), 0xb0c2);
	assert_int_equal(dispi_get(f, 10), 256);
	dispi(f, 4, 2);
	assert_int_equal(dispi_get(f, 1), VGA_X_MAX);
	assert_int_equal(dispi_get(f, 2), VGA_Y_MAX);
	assert_int_equal(dispi_get(f, 3), 32);
	assert_int_equal(dispi_get(f, 0xffff), 0);
}

static void bar_2_has_the_registers(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	config(f, 0x18, 0xd1000000);
	config(f, 0x04, 2);
	assert_int_equal(mem_mmio_read(m, 0xd1000500, 2), 0xb0c5);
	mem_mmio_write(m, 0xd1000502, 2, 800);
	assert_int_equal(dispi_get(f, 1), 800);
	mem_mmio_write(m, 0xd1000414, 2, 0x0902); /* 3d4 and 3d5 */
	assert_int_equal(mem_mmio_read(m, 0xd1000415, 1), 9);
	mem_mmio_write(m, 0xd1000404, 2, 0x0902); /* 3c4 and 3c5 */
	assert_int_equal(dt_in(&f->dt, 0x3c5), 0x09);
	assert_int_equal(mem_mmio_read(m, 0xd1000600, 4), 0);
	assert_int_equal(mem_mmio_read(m, 0xd1000ffc, 4), 0);
}

/* --- Memory --------------------------------------------------------------- */

static void planes_are_written_by_mask(void **state)
{
	struct fix *f = *state;

	indexed(f, 0x3c4, 2, 0x05);
	indexed(f, 0x3c4, 4, 0x06);
	indexed(f, 0x3ce, 6, 0x05);
	indexed(f, 0x3ce, 8, 0xff);
	poke(f, 0xa0010, 0x5a);
	for (uint8_t p = 0; p < 4; p++) {
		indexed(f, 0x3ce, 4, p);
		assert_int_equal(peek(f, 0xa0010), p & 1 ? 0 : 0x5a);
	}
	/* only some bits, the others from the latches */
	indexed(f, 0x3ce, 4, 0);
	indexed(f, 0x3ce, 8, 0x0f);
	peek(f, 0xa0010);
	poke(f, 0xa0010, 0xff);
	assert_int_equal(peek(f, 0xa0010), 0x5f);
	assert_int_equal(peek(f, 0xb0010), 0xff); /* not mapped there */
}

static void write_modes_and_compare(void **state)
{
	struct fix *f = *state;

	indexed(f, 0x3c4, 2, 0x0f);
	indexed(f, 0x3c4, 4, 0x06);
	indexed(f, 0x3ce, 6, 0x05);
	indexed(f, 0x3ce, 8, 0xff);
	indexed(f, 0x3ce, 5, 0x02); /* mode 2: a colour */
	poke(f, 0xa0000, 0x09);
	indexed(f, 0x3ce, 5, 0x08); /* read mode 1 */
	indexed(f, 0x3ce, 2, 0x09);
	indexed(f, 0x3ce, 7, 0x0f);
	assert_int_equal(peek(f, 0xa0000), 0xff);
	indexed(f, 0x3ce, 2, 0x08);
	assert_int_equal(peek(f, 0xa0000), 0x00);
	indexed(f, 0x3ce, 5, 0x01); /* mode 1: copy the latches */
	peek(f, 0xa0000);
	poke(f, 0xa0100, 0x00);
	indexed(f, 0x3ce, 5, 0x00);
	indexed(f, 0x3ce, 4, 3);
	assert_int_equal(peek(f, 0xa0100), 0xff);
	indexed(f, 0x3ce, 3, 0x18); /* exclusive or, rotated by 0 */
	peek(f, 0xa0100);
	poke(f, 0xa0100, 0x0f);
	assert_int_equal(peek(f, 0xa0100), 0xf0);
}

static void frame_buffer_is_memory_at_bar_0(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;
	uint32_t v = 0x00c0ffee;

	config(f, 0x10, LFB);
	assert_null(mem_host(m, LFB, 4));
	config(f, 0x04, 2);
	assert_non_null(mem_host(m, LFB, VGA_MEMORY));
	assert_int_equal(mem_write(m, LFB + 8, &v, 4), 0);
	config(f, 0x10, 0xfd000000);
	assert_null(mem_host(m, LFB, 4));
	v = 0;
	assert_int_equal(mem_read(m, 0xfd000008, &v, 4), 0);
	assert_int_equal(v, 0x00c0ffee);
	config(f, 0x10, 0xfe000000); /* over the interrupt controllers */
	assert_null(mem_host(m, 0xfe000000, 4));
	config(f, 0x04, 0);
	assert_null(mem_host(m, 0xfd000000, 4));
}

/* --- What is on the screen ------------------------------------------------ */

static void text_is_drawn_with_the_guests_font(void **state)
{
	struct fix *f = *state;
	char text[64];

	text_mode(f);
	load_glyph(f, 'A', 0, 0x81);
	load_glyph(f, 'A', 15, 0xff);
	poke(f, 0xb8000 + 2 * 5, 'A');  /* row 1, column 1 */
	poke(f, 0xb8001 + 2 * 5, 0x1c); /* red on blue */
	take(f, 32, 32);
	assert_int_equal(pixel(f, 8, 16), 0xff0000);
	assert_int_equal(pixel(f, 9, 16), 0x0000ff);
	assert_int_equal(pixel(f, 15, 16), 0xff0000);
	assert_int_equal(pixel(f, 12, 31), 0xff0000);
	assert_int_equal(pixel(f, 0, 16), 0);
	assert_int_equal(vga_take_text(f->v, text, sizeof(text)), 4);
	assert_memory_equal(text, "\n A\n", 4);
}

static void cursor_is_drawn_where_it_is(void **state)
{
	struct fix *f = *state;

	text_mode(f);
	poke(f, 0xb8001 + 2 * 2, 0x07);
	indexed(f, 0x3d4, 0x0a, 14);
	indexed(f, 0x3d4, 0x0b, 15);
	indexed(f, 0x3d4, 0x0f, 2);
	take(f, 32, 32);
	assert_int_equal(pixel(f, 16, 13), 0);
	assert_int_equal(pixel(f, 16, 14), 0xffffff);
	assert_int_equal(pixel(f, 23, 15), 0xffffff);
	assert_int_equal(pixel(f, 24, 15), 0);
}

static void screen_that_is_off_is_black(void **state)
{
	struct fix *f = *state;

	take(f, 640, 400);
	assert_int_equal(pixel(f, 639, 399), 0);
}

static void sixteen_colours_come_from_four_planes(void **state)
{
	struct fix *f = *state;

	colours(f);
	indexed(f, 0x3c4, 4, 0x06);
	indexed(f, 0x3c4, 2, 0x0f);
	indexed(f, 0x3ce, 6, 0x05);
	indexed(f, 0x3ce, 5, 0x02);
	indexed(f, 0x3ce, 8, 0x40);
	indexed(f, 0x3d4, 1, 1);
	indexed(f, 0x3d4, 0x12, 9);
	indexed(f, 0x3d4, 0x13, 1);
	indexed(f, 0x3d4, 0x17, 0xe3);
	indexed(f, 0x3d4, 0x18, 0xff);
	peek(f, 0xa0002);
	poke(f, 0xa0002, 5);
	take(f, 16, 10);
	assert_int_equal(pixel(f, 1, 1), 0xff00ff);
	assert_int_equal(pixel(f, 0, 1), 0);
}

static void mode_13_is_bytes(void **state)
{
	struct fix *f = *state;

	colours(f);
	indexed(f, 0x3c4, 2, 0x0f);
	indexed(f, 0x3c4, 4, 0x0e);
	indexed(f, 0x3ce, 5, 0x40);
	indexed(f, 0x3ce, 6, 0x05);
	indexed(f, 0x3d4, 1, 79);
	indexed(f, 0x3d4, 7, 0x12);
	indexed(f, 0x3d4, 9, 0x41);
	indexed(f, 0x3d4, 0x12, 0x8f);
	indexed(f, 0x3d4, 0x17, 0xa3);
	indexed(f, 0x3d4, 0x18, 0xff);
	indexed(f, 0x3d4, 0x13, 40);
	poke(f, 0xa0000 + 199 * 320 + 319, 4);
	take(f, 320, 200);
	assert_int_equal(pixel(f, 319, 199), 0xff0000);
	assert_int_equal(pixel(f, 318, 199), 0);
}

static void dispi_modes_of_all_depths(void **state)
{
	static const struct {
		uint16_t bits;
		uint32_t raw, rgb;
	} depths[] = {
		{ 8, 2, 0x00ff00 },         { 15, 0x7c1f, 0xff00ff },
		{ 16, 0x07e0, 0x00ff00 },   { 24, 0x123456, 0x123456 },
		{ 32, 0x654321, 0x654321 },
	};
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	config(f, 0x10, LFB);
	config(f, 0x04, 2);
	colours(f);
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		unsigned bytes = (depths[i].bits + 7) / 8;

		dispi(f, 4, 0);
		dispi(f, 1, 64);
		dispi(f, 2, 48);
		dispi(f, 3, depths[i].bits);
		dispi(f, 4, 0x41);
		take(f, 64, 48);
		assert_int_equal(pixel(f, 63, 47), 0); /* cleared */
		mem_write(m, LFB + (47 * 64 + 63) * bytes, &depths[i].raw,
			  bytes);
		take(f, 64, 48);
		assert_int_equal(pixel(f, 63, 47), depths[i].rgb);
	}
}

static void dispi_scrolls_and_banks(void **state)
{
	struct fix *f = *state;

	colours(f);
	dispi(f, 1, 64);
	dispi(f, 2, 48);
	dispi(f, 3, 8);
	dispi(f, 4, 1);
	dispi(f, 6, 256);
	assert_int_equal(dispi_get(f, 7), 65535); /* rows that there are */
	dispi(f, 8, 100);
	dispi(f, 9, 256);
	dispi(f, 5, 1); /* row 256 is in bank 1 */
	poke(f, 0xa0000 + 100, 7);
	take(f, 64, 48);
	assert_int_equal(pixel(f, 0, 0), 0xffffff);
	/* a running mode does not change its size */
	dispi(f, 1, 32);
	assert_int_equal(dispi_get(f, 1), 64);
}

static void changed_rows_are_found(void **state)
{
	uint32_t p[2][6] = { { 1, 2, 3, 4, 5, 6 }, { 1, 2, 3, 9, 5, 6 } };
	struct vga_frame a = { 2, 3, p[0], 6 }, b = { 2, 3, p[1], 6 };
	unsigned from, to;

	assert_true(vga_frames_differ(&a, &b, &from, &to));
	assert_int_equal(from, 1);
	assert_int_equal(to, 2);
	assert_false(vga_frames_differ(&a, &a, &from, &to));
	b.height = 2;
	assert_true(vga_frames_differ(&a, &b, &from, &to));
	assert_int_equal(from, 0);
	assert_int_equal(to, 2);
}

static void png_holds_the_pixels(void **state)
{
	uint32_t p[6] = { 0xff0000, 0x00ff00, 0x0000ff, 0, 0x123456, 0xffffff };
	struct vga_frame f = { 3, 2, p, 6 }, none = { 0 };
	char name[] = "/tmp/test_vga.XXXXXX";
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t rgb[18];
	struct err err;
	int fd = mkstemp(name);

	assert_int_equal(screenshot_write_png(&f, fd, NULL), 0);
	close(fd);
	assert_true(png_image_begin_read_from_file(&image, name));
	assert_int_equal(image.width, 3);
	assert_int_equal(image.height, 2);
	image.format = PNG_FORMAT_RGB;
	assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
	assert_memory_equal(rgb, "\xff\0\0\0\xff\0\0\0\xff\0\0\0\x12\x34\x56",
			    15);
	unlink(name);
	assert_true(screenshot_write_png(&none, 1, &err) < 0);
	assert_true(screenshot_write_png(&f, -1, &err) < 0);
	assert_non_null(strstr(err.msg, "cannot write the screen's picture"));
}

/* --- State and hostile guests --------------------------------------------- */

static void state_goes_with_its_memory(void **state)
{
	struct fix *f = *state, g = { 0 };

	fix_init(&g);
	text_mode(&g);
	poke(&g, 0xb8000, 'x'); /* is to be gone afterwards */
	text_mode(f);
	load_glyph(f, 'B', 3, 0x3c);
	poke(f, 0xb8002, 'B');
	poke(f, 0xb8003, 0x0f);
	dt_copy_state(DEV(f->v), DEV(g.v));
	take(f, 32, 32);
	take(&g, 32, 32);
	assert_memory_equal(f->f.pixel, g.f.pixel, 32 * 32 * 4);
	fix_exit(&g);
}

/* Sanitizers would tell of a pixel outside memory. */
static void random_registers_draw_something(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 42;
	char text[4096];

	for (unsigned i = 0; i < 40000; i++) {
		uint64_t r = dt_random(&seed);
		uint32_t at = 0xa0000 + (r >> 8) % 0x20000;

		switch (r & 7) {
		case 0:
			mem_port_read(f->dt.env.mem, 0x3b0 + (r >> 8) % 0x30,
				      1u << (r >> 16 & 1));
			break;
		case 1:
		case 2:
		case 3:
			mem_port_write(f->dt.env.mem, 0x3b0 + (r >> 8) % 0x30,
				       2, (uint32_t)(r >> 32));
			break;
		case 4:
			dispi(f, (r >> 8) % 12, (uint16_t)(r >> 32));
			break;
		default:
			mem_mmio_write(f->dt.env.mem, at, 8, r);
			mem_mmio_read(f->dt.env.mem, at, 8);
		}
		if (i % 400 == 0) {
			assert_int_equal(vga_take_frame(f->v, &f->f), 0);
			assert_true(f->f.width <= VGA_X_MAX);
			assert_true(f->f.height <= VGA_Y_MAX);
			assert_true(vga_take_text(f->v, text, sizeof(text)) <=
				    sizeof(text));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(registers_keep_what_they_have),
		T(crtc_can_be_protected),
		T(crtc_moves_with_misc_bit_0),
		T(dac_takes_three_bytes),
		T(retrace_comes_for_who_waits),
		T(dispi_is_recognised),
		T(bar_2_has_the_registers),
		T(planes_are_written_by_mask),
		T(write_modes_and_compare),
		T(frame_buffer_is_memory_at_bar_0),
		T(text_is_drawn_with_the_guests_font),
		T(cursor_is_drawn_where_it_is),
		T(screen_that_is_off_is_black),
		T(sixteen_colours_come_from_four_planes),
		T(mode_13_is_bytes),
		T(dispi_modes_of_all_depths),
		T(dispi_scrolls_and_banks),
		T(changed_rows_are_found),
		T(png_holds_the_pixels),
		T(state_goes_with_its_memory),
		T(random_registers_draw_something),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
