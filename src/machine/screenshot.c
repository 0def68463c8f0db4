#include "machine/screenshot.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/pc.h"
#include "machine/vm.h"

#define SCREENSHOT_TEXT_MAX (256 * 1024)

struct screenshot {
	int fd;
	int error;
	struct err *err;
};

static int screenshot_put(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int screenshot_fail(int code, struct err *err)
{
	return err_set(err, code, "cannot write the screen's picture: %s",
		       strerror(code));
}

/* --- PNG ------------------------------------------------------------------ */

/* libpng goes on after an error of ours; the first one is kept. */
static void screenshot_png_put(png_structp png, png_bytep data, png_size_t len)
{
	struct screenshot *s = png_get_io_ptr(png);

	if (!s->error)
		s->error = -screenshot_put(s->fd, data, len);
}

static void screenshot_png_flush(png_structp png)
{
}

static void screenshot_png_error(png_structp png, png_const_charp message)
{
	struct screenshot *s = png_get_error_ptr(png);

	if (!s->error)
		s->error = EIO;
	longjmp(png_jmpbuf(png), 1);
}

static void screenshot_png_warning(png_structp png, png_const_charp message)
{
}

static void screenshot_rows(png_structp png, const struct vga_frame *f,
			    uint8_t *row)
{
	for (unsigned y = 0; y < f->height; y++) {
		const uint32_t *p = f->pixel + (size_t)y * f->width;

		for (unsigned x = 0; x < f->width; x++) {
			row[x * 3] = (uint8_t)(p[x] >> 16);
			row[x * 3 + 1] = (uint8_t)(p[x] >> 8);
			row[x * 3 + 2] = (uint8_t)p[x];
		}
		png_write_row(png, row);
	}
}

/* setjmp() is libpng's way to report errors: nothing here changes after it. */
static void screenshot_encode(png_structp png, png_infop info,
			      const struct vga_frame *f, uint8_t *row)
{
	if (setjmp(png_jmpbuf(png)))
		return;
	png_set_IHDR(png, info, f->width, f->height, 8, PNG_COLOR_TYPE_RGB,
		     PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		     PNG_FILTER_TYPE_DEFAULT);
	png_set_compression_level(png, 3);
	png_write_info(png, info);
	screenshot_rows(png, f, row);
	png_write_end(png, NULL);
}

int screenshot_write_png(const struct vga_frame *f, int fd, struct err *err)
{
	struct screenshot s = { .fd = fd };
	uint8_t *row = malloc((size_t)f->width * 3 + 1);
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &s,
						  screenshot_png_error,
						  screenshot_png_warning);
	png_infop info = png ? png_create_info_struct(png) : NULL;

	if (!info || !row) {
		s.error = ENOMEM;
	} else if (!f->width || !f->height) {
		s.error = ENODATA;
	} else {
		png_set_write_fn(png, &s, screenshot_png_put,
				 screenshot_png_flush);
		screenshot_encode(png, info, f, row);
	}
	png_destroy_write_struct(&png, &info);
	free(row);
	return s.error ? screenshot_fail(s.error, err) : 0;
}

/* --- The guest's ------------------------------------------------------------
 */

static struct vga *screenshot_vga(struct vm *vm, struct err *err)
{
	struct vga *vga = pc_vga(vm);

	if (!vga)
		err_set(err, ENODEV,
			"the guest has no display: start it with --vga std");
	mem_coalesce_flush(vm->env.mem);
	return vga;
}

int screenshot_png(struct vm *vm, int fd, struct err *err)
{
	struct vga *vga = screenshot_vga(vm, err);
	struct vga_frame f = { 0 };
	int ret;

	if (!vga)
		return -ENODEV;
	ret = vga_take_frame(vga, &f);
	ret = ret ? screenshot_fail(-ret, err)
		  : screenshot_write_png(&f, fd, err);
	vga_free_frame(&f);
	return ret;
}

int screenshot_text(struct vm *vm, int fd, struct err *err)
{
	struct vga *vga = screenshot_vga(vm, err);
	char *text;
	size_t len;
	int ret;

	if (!vga)
		return -ENODEV;
	text = malloc(SCREENSHOT_TEXT_MAX);
	if (!text)
		return screenshot_fail(ENOMEM, err);
	len = vga_take_text(vga, text, SCREENSHOT_TEXT_MAX);
	ret = len ? -screenshot_put(fd, text, len) : 0;
	free(text);
	if (!len)
		return err_set(err, ENODATA,
			       "the screen is in a graphics mode: ask for a "
			       "picture (FILE.png)");
	return ret ? screenshot_fail(ret, err) : 0;
}

bool screenshot_is_text(const char *path)
{
	size_t len = strlen(path);

	return len >= 4 && !strcmp(path + len - 4, ".txt");
}

int screenshot_file(struct vm *vm, const char *path, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int ret;

	if (fd < 0)
		return err_set(err, errno, "cannot write screenshot %s: %s",
			       path, strerror(errno));
	ret = screenshot_is_text(path) ? screenshot_text(vm, fd, err)
				       : screenshot_png(vm, fd, err);
	if (close(fd) && ret == 0)
		ret = screenshot_fail(errno, err);
	return ret;
}
