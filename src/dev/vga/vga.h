/*
 * vga.h - the display: a VGA with text and planar modes, and the Bochs
 * extensions ("dispi") for a linear frame buffer.
 *
 * Source: IBM VGA technical reference (XGA manual, chapter 2); Bochs VBE
 * extensions (vbe_display_api.txt); QEMU's docs/specs/standard-vga for the
 * PCI function 1234:1111.
 *
 *	3b0-3df		VGA registers
 *	1ce, 1cf/1d0	dispi index and data, 16 bits
 *	a0000-bffff	VGA memory, as the registers say
 *	BAR 0		16 MiB of video memory, a window (mem.h)
 *	BAR 2		400-41f: ports 3c0-3df; 500-515: dispi registers
 *
 * Threads: registers from any vCPU; frames from any thread.
 */
#ifndef HOSTEL_DEV_VGA_VGA_H
#define HOSTEL_DEV_VGA_VGA_H

#include "dev/pci/host.h"

#define VGA_MEMORY (16u << 20)
#define VGA_X_MAX  2560u
#define VGA_Y_MAX  1600u

struct vga;

int vga_new(struct vga **out, const struct dev_env *env, struct pci_host *host,
	    unsigned slot, struct err *err);

/*
 * Text mode 3, blank, as a video BIOS leaves it, for guests without one: after
 * a reset, while no vCPU runs.  font: 256 characters of 16 bytes; NULL: none.
 */
void vga_set_text(struct vga *v, const uint8_t *font);

/* --- What is on the screen ------------------------------------------------ */

/* Zeroed at first; the memory is used again by the next vga_take_frame(). */
struct vga_frame {
	unsigned width, height; /* at most VGA_X_MAX, VGA_Y_MAX */
	uint32_t *pixel;        /* 00rrggbb, row by row */
	size_t room;            /* pixels */
};

/* The screen as it is now; -ENOMEM.  A guest that draws may be half-way. */
int vga_take_frame(struct vga *v, struct vga_frame *f);
void vga_free_frame(struct vga_frame *f);

/*
 * Which rows differ, for screens far away: false: none; else [*from, *to).
 * All of them where the sizes differ.
 */
bool vga_frames_differ(const struct vga_frame *a, const struct vga_frame *b,
		       unsigned *from, unsigned *to);

/*
 * The characters of a text mode, a line each, trailing blanks left out, in
 * UTF-8 as a PC's font has them; returns bytes, 0 in a graphics mode.
 */
size_t vga_take_text(struct vga *v, char *out, size_t size);

#endif
