/*
 * vga.c - the display as a device: ports, BARs, reset, state.
 */
#include "dev/vga/vga.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/vga/vga_priv.h"

#define VGA_PORTS       0x3b0
#define VGA_PORT_COUNT  0x30
#define VGA_DISPI_PORT  0x1ce
#define VGA_BAR_FRAME   0
#define VGA_BAR_REGS    2
#define VGA_REGS_BYTES  4096
#define VGA_REGS_PORTS  0x400 /* in BAR 2: port 3c0 */
#define VGA_REGS_DISPI  0x500
#define VGA_LEGACY      0xa0000
#define VGA_LEGACY_SIZE 0x20000
#define VGA_CHUNK       0x10000u /* of memory, in saved state */

/* --- Ports ---------------------------------------------------------------- */

static uint64_t vga_ports_read(void *dev, uint64_t offset, unsigned size)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	uint8_t value = vga_port_get(v, VGA_PORTS + (unsigned)offset);
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void vga_ports_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	vga_port_put(v, VGA_PORTS + (unsigned)offset, (uint8_t)value);
	pthread_mutex_unlock(&v->lock);
}

/* 1ce is the index; 1cf, and 1d0 for who wants it aligned, the data. */
static uint64_t vga_dispi_read(void *dev, uint64_t offset, unsigned size)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	uint16_t value =
		offset ? vga_dispi_get(v, v->r.dispi_index) : v->r.dispi_index;
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void vga_dispi_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	if (offset)
		vga_dispi_put(v, v->r.dispi_index, (uint16_t)value);
	else
		v->r.dispi_index = (uint16_t)value;
	pthread_mutex_unlock(&v->lock);
}

static const struct io_ops vga_ports_ops = {
	.read = vga_ports_read,
	.write = vga_ports_write,
	.max_size = 1,
};

static const struct io_ops vga_dispi_ops = {
	.read = vga_dispi_read,
	.write = vga_dispi_write,
	.max_size = 2,
};

/* --- BARs ----------------------------------------------------------------- */

static uint16_t vga_regs_get(struct vga *v, uint64_t offset, unsigned size)
{
	if (offset >= VGA_REGS_DISPI)
		return vga_dispi_get(v, (offset - VGA_REGS_DISPI) / 2);
	if (offset >= VGA_REGS_PORTS && offset < VGA_REGS_PORTS + 0x20)
		return vga_port_get(v, 0x3c0 + (offset & 0x1f));
	return 0;
}

/* Words for dispi; of the ports, words are two bytes. */
static uint64_t vga_regs_read(void *dev, uint64_t offset, unsigned size)
{
	struct vga *v = dev;
	uint64_t value;

	pthread_mutex_lock(&v->lock);
	value = vga_regs_get(v, offset, size);
	if (size == 2 && offset < VGA_REGS_DISPI)
		value |= vga_regs_get(v, offset + 1, 1) << 8;
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void vga_regs_put(struct vga *v, uint64_t offset, uint8_t value)
{
	if (offset >= VGA_REGS_PORTS && offset < VGA_REGS_PORTS + 0x20)
		vga_port_put(v, 0x3c0 + (offset & 0x1f), value);
}

static void vga_regs_write(void *dev, uint64_t offset, unsigned size,
			   uint64_t value)
{
	struct vga *v = dev;

	pthread_mutex_lock(&v->lock);
	if (offset >= VGA_REGS_DISPI) {
		vga_dispi_put(v, (unsigned)(offset - VGA_REGS_DISPI) / 2,
			      (uint16_t)value);
	} else {
		for (unsigned i = 0; i < size; i++)
			vga_regs_put(v, offset + i, (uint8_t)(value >> i * 8));
	}
	pthread_mutex_unlock(&v->lock);
}

static const struct io_ops vga_regs_ops = {
	.read = vga_regs_read,
	.write = vga_regs_write,
	.max_size = 2,
};

/* Only where the window cannot be: under RAM, or to a device's DMA. */
static uint64_t vga_frame_read(void *dev, uint64_t offset, unsigned size)
{
	struct vga *v = dev;
	uint64_t value = 0;

	memcpy(&value, v->vram + offset, size);
	return value;
}

static void vga_frame_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct vga *v = dev;

	memcpy(v->vram + offset, &value, size);
}

static const struct io_ops vga_frame_ops = {
	.read = vga_frame_read,
	.write = vga_frame_write,
};

/* The frame buffer is memory where BAR 0 says. */
static void vga_config_written(struct pci_dev *pd, unsigned offset,
			       unsigned size)
{
	struct vga *v = (struct vga *)((char *)pd - offsetof(struct vga, pci));
	uint64_t at = atomic_load(&pd->bar[VGA_BAR_FRAME].addr);

	/* Not over the board (interrupt controllers, flash). */
	if (at < MEM_HOLE_END && at + VGA_MEMORY > PCI_MMIO2_END)
		at = MEM_NOWHERE;
	if (offset < PCI_BAR0 + PCI_BARS * 4)
		mem_window_set(v->mem, v->window, at, MEM_RW);
}

/* --- Reset and state ------------------------------------------------------ */

static void vga_reset(struct dev *dev)
{
	struct vga *v = (struct vga *)dev;

	pthread_mutex_lock(&v->lock);
	vga_regs_reset(v);
	pthread_mutex_unlock(&v->lock);
}

static bool vga_is_zero(const uint8_t *p, size_t len)
{
	return !p[0] && !memcmp(p, p + 1, len - 1);
}

/* Memory that was never drawn on is not in the stream. */
static void vga_walk_memory(struct vga *v, struct walk *w)
{
	for (unsigned i = 0; i < VGA_MEMORY / VGA_CHUNK; i++) {
		uint8_t *chunk = v->vram + i * VGA_CHUNK;
		bool zero = vga_is_zero(chunk, VGA_CHUNK);

		if (walk_restoring(w) && !zero)
			memset(chunk, 0, VGA_CHUNK);
		if (!walk_restoring(w) && zero)
			continue;
		if (!walk_section(w, "vga-memory", i, 1))
			continue;
		walk_bytes(w, "bytes", chunk, VGA_CHUNK);
		walk_end(w);
	}
}

static void vga_walk_dispi(struct vga_regs *r, struct walk *w)
{
	static const char *const names[VGA_DISPI_COUNT] = {
		"id",         "xres",        "yres", "bpp", "enable", "bank",
		"virt_width", "virt_height", "x",    "y",   "memory"
	};

	for (unsigned i = 0; i < VGA_DISPI_COUNT; i++)
		walk_u16(w, names[i], &r->dispi[i]);
	walk_u16(w, "dispi_index", &r->dispi_index);
}

static void vga_walk(struct dev *dev, struct walk *w)
{
	struct vga *v = (struct vga *)dev;
	struct vga_regs *r = &v->r;

	if (!walk_section(w, "vga", 0, 1))
		return;
	pthread_mutex_lock(&v->lock);
	walk_u8(w, "misc", &r->misc);
	walk_u8(w, "feature", &r->feature);
	walk_u8(w, "status", &r->status);
	walk_u8(w, "seq_index", &r->seq_index);
	walk_bytes(w, "seq", r->seq, sizeof(r->seq));
	walk_u8(w, "gc_index", &r->gc_index);
	walk_bytes(w, "gc", r->gc, sizeof(r->gc));
	walk_u8(w, "crtc_index", &r->crtc_index);
	walk_bytes(w, "crtc", r->crtc, sizeof(r->crtc));
	walk_u8(w, "ac_index", &r->ac_index);
	walk_bytes(w, "ac", r->ac, sizeof(r->ac));
	walk_bool(w, "ac_data", &r->ac_data);
	walk_u8(w, "dac_mask", &r->dac_mask);
	walk_u8(w, "dac_state", &r->dac_state);
	walk_u8(w, "dac_read", &r->dac_read);
	walk_u8(w, "dac_write", &r->dac_write);
	walk_u8(w, "dac_sub", &r->dac_sub);
	walk_bytes(w, "dac_cache", r->dac_cache, sizeof(r->dac_cache));
	walk_bytes(w, "palette", r->palette, sizeof(r->palette));
	walk_bytes(w, "latch", r->latch, sizeof(r->latch));
	vga_walk_dispi(r, w);
	walk_end(w);
	if (walk_restoring(w))
		vga_regs_restored(v);
	pthread_mutex_unlock(&v->lock);
	vga_walk_memory(v, w);
}

/* --- Life ----------------------------------------------------------------- */

static void vga_free(struct dev *dev)
{
	struct vga *v = (struct vga *)dev;

	pthread_mutex_destroy(&v->lock);
	free(v);
}

static int vga_map(struct vga *v)
{
	int rc = mem_window_new(v->mem, VGA_MEMORY, &v->window);

	if (rc < 0)
		return rc;
	v->vram = mem_window_host(v->mem, v->window);
	rc = mem_map_ports(v->mem, VGA_PORTS, VGA_PORT_COUNT, &vga_ports_ops, v,
			   "vga");
	if (rc == 0)
		rc = mem_map_ports(v->mem, VGA_DISPI_PORT, 4, &vga_dispi_ops, v,
				   "vga-dispi");
	if (rc == 0)
		rc = mem_map_mmio(v->mem, VGA_LEGACY, VGA_LEGACY_SIZE,
				  &vga_mem_ops, v, "vga");
	if (rc == 0)
		rc = mem_shadow(v->mem, VGA_LEGACY, VGA_LEGACY_SIZE, NULL, 0,
				MEM_DEVICE);
	mem_coalesce(v->mem, 'p', VGA_PORTS, VGA_PORT_COUNT);
	mem_coalesce(v->mem, 'm', VGA_LEGACY, VGA_LEGACY_SIZE);
	return rc;
}

static int vga_plug(struct vga *v, struct pci_host *host, unsigned slot,
		    struct err *err)
{
	static const struct pci_id id = {
		.vendor = 0x1234,
		.device = 0x1111,
		.class_code = 0x030000,
		.revision = 2,
		.subsys_vendor = 0x1af4,
		.subsys = 0x1100,
	};

	pci_init(&v->pci, "vga", &id);
	pci_add_bar(&v->pci, VGA_BAR_FRAME, PCI_BAR_MEM32, true, VGA_MEMORY,
		    &vga_frame_ops, v);
	pci_add_bar(&v->pci, VGA_BAR_REGS, PCI_BAR_MEM32, false, VGA_REGS_BYTES,
		    &vga_regs_ops, v);
	v->pci.config_written = vga_config_written;
	return pci_attach(host, &v->pci, slot, 0, err);
}

int vga_new(struct vga **out, const struct dev_env *env, struct pci_host *host,
	    unsigned slot, struct err *err)
{
	struct vga *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return err_set(err, ENOMEM, "no memory for the display");
	v->dev = (struct dev){ .name = "vga",
			       .reset = vga_reset,
			       .walk = vga_walk,
			       .free = vga_free };
	v->mem = env->mem;
	pthread_mutex_init(&v->lock, NULL);
	vga_regs_reset(v);
	rc = vga_map(v);
	if (rc < 0)
		err_set(err, -rc, "the display: addresses in use");
	else
		rc = vga_plug(v, host, slot, err);
	if (rc < 0) {
		vga_free(&v->dev);
		return rc;
	}
	*out = v;
	return 0;
}
