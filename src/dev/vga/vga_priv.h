/* vga_priv.h - what vga.c, vga_regs.c, vga_mem.c and vga_draw.c share. */
#ifndef HOSTEL_DEV_VGA_VGA_PRIV_H
#define HOSTEL_DEV_VGA_VGA_PRIV_H

#include <pthread.h>

#include "dev/vga/vga.h"

#define VGA_PLANE_BYTES 65536u /* of each of the four planes */
#define VGA_UNITS       (VGA_MEMORY / 4)

/* Sequencer, graphics controller, attribute controller: indices. */
#define VGA_SEQ_CLOCKING 1
#define VGA_SEQ_PLANES   2
#define VGA_SEQ_FONTS    3
#define VGA_SEQ_MEMORY   4
#define VGA_GC_SET       0
#define VGA_GC_SET_ON    1
#define VGA_GC_COMPARE   2
#define VGA_GC_ROTATE    3
#define VGA_GC_READ      4
#define VGA_GC_MODE      5
#define VGA_GC_MISC      6
#define VGA_GC_IGNORE    7
#define VGA_GC_MASK      8
#define VGA_AC_MODE      0x10
#define VGA_AC_PLANES    0x12
#define VGA_AC_PAN       0x13
#define VGA_AC_SELECT    0x14
#define VGA_AC_ON        0x20 /* in ac_index: the palette is in use */

enum vga_dispi {
	VGA_DISPI_ID,
	VGA_DISPI_XRES,
	VGA_DISPI_YRES,
	VGA_DISPI_BPP,
	VGA_DISPI_ENABLE,
	VGA_DISPI_BANK,
	VGA_DISPI_VIRT_WIDTH,
	VGA_DISPI_VIRT_HEIGHT,
	VGA_DISPI_X,
	VGA_DISPI_Y,
	VGA_DISPI_MEMORY,
	VGA_DISPI_COUNT
};

#define VGA_DISPI_ON      0x01 /* bits of ENABLE */
#define VGA_DISPI_GETCAPS 0x02
#define VGA_DISPI_DAC8    0x20
#define VGA_DISPI_LFB     0x40
#define VGA_DISPI_KEEP    0x80

/* All that a guest sees of the chip but for its memory. */
struct vga_regs {
	uint8_t misc, feature, status;
	uint8_t seq_index, seq[8];
	uint8_t gc_index, gc[16];
	uint8_t crtc_index, crtc[32];
	uint8_t ac_index, ac[32];
	bool ac_data; /* the next write to 3c0 is data */
	uint8_t dac_mask, dac_state;
	uint8_t dac_read, dac_write, dac_sub; /* entry, and which third */
	uint8_t dac_cache[3];
	uint8_t palette[768];
	uint16_t dispi_index, dispi[VGA_DISPI_COUNT];
	uint8_t latch[4];
};

struct vga {
	struct dev dev;
	struct pci_dev pci;
	struct mem *mem;
	struct mem_window *window; /* the frame buffer of BAR 0 */
	uint8_t *vram;
	pthread_mutex_t lock; /* guards r */
	struct vga_regs r;
};

/* vga_regs.c: with the lock held; port: 3b0..3df. */
uint8_t vga_port_get(struct vga *v, unsigned port);
void vga_port_put(struct vga *v, unsigned port, uint8_t value);
uint16_t vga_dispi_get(const struct vga *v, unsigned index);
void vga_dispi_put(struct vga *v, unsigned index, uint16_t value);
void vga_regs_reset(struct vga *v);
/* After a restore: nothing that a guest could not have reached. */
void vga_regs_restored(struct vga *v);

/* vga_mem.c: offset from a0000. */
extern const struct io_ops vga_mem_ops;

static inline bool vga_dispi_on(const struct vga_regs *r)
{
	return r->dispi[VGA_DISPI_ENABLE] & VGA_DISPI_ON;
}

/* The four planes of an address lie beside each other. */
static inline uint8_t *vga_unit(struct vga *v, uint32_t unit)
{
	return v->vram + unit % VGA_UNITS * 4;
}

#endif
