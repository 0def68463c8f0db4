/* mem_priv.h - struct mem, for mem.c, window.c and bus.c only. */
#ifndef HOSTEL_MEM_MEM_PRIV_H
#define HOSTEL_MEM_MEM_PRIV_H

#include <stdatomic.h>

#include "mem/mem.h"

/* A range of the MMIO or port space that a device claimed. */
struct bus_region {
	uint64_t base;
	uint64_t size;
	struct io_ops ops; /* copied; max_size is not 0 */
	void *dev;
	const char *name;
};

#define BUS_PORT_TABLES 256
#define BUS_PORT_SLOTS  256
struct bus_ports {
	struct bus_region *slot[BUS_PORT_SLOTS];
};

/*
 * Changed only while the machine is built, read by every vCPU thread: so no
 * locks.
 */
struct bus {
	struct bus_region **mmio; /* sorted by base */
	unsigned mmio_count;
	struct bus_ports *ports[BUS_PORT_TABLES]; /* by port bits 15..8 */
	struct bus_region **port_regions;         /* all, for freeing */
	unsigned port_region_count;
	mem_tap *tap;
	void *tap_opaque;
	mem_doorbell_hook *doorbell;
	void *doorbell_opaque;
	struct mem_coalescer coalescer; /* range NULL: none */
};

struct mem_window {
	uint64_t offset, size; /* in the memory file */
	/* gpa | enum mem_how in one word, so that both are seen together */
	_Atomic uint64_t where;
};

#define MEM_HOW_MASK     3ull
#define MEM_SHADOW_UNITS ((MEM_SHADOW_END - MEM_SHADOW_BASE) / MEM_SHADOW_UNIT)

struct mem {
	uint64_t ram_bytes;
	uint64_t low_bytes;  /* of ram_bytes, those below the hole */
	uint8_t *ram;        /* low, then high, as in the file */
	uint64_t file_bytes; /* RAM, then windows */
	int fd;
	/* file offset | enum mem_how, of each unit of the shadow range */
	_Atomic uint64_t shadow[MEM_SHADOW_UNITS];
	_Atomic bool shadowed; /* not all of it is plain RAM */
	struct mem_window window[MEM_WINDOWS_MAX];
	unsigned window_count;
	uint64_t window_bytes; /* taken, behind RAM */
	mem_remap_hook *remap_hook;
	void *remap_opaque;
	uint8_t *page_flags; /* a byte a page of the file */
	mem_code_hook *code_hook;
	void *code_hook_opaque;
	struct bus bus;
};

void bus_free(struct bus *bus);

/* Where memory lies, and how much follows without a break. */
struct mem_place {
	uint64_t offset; /* in the file */
	uint64_t left;
	bool writable;
};
/* window.c: gpa in the shadow range, or outside RAM. */
bool mem_find_shadow(const struct mem *m, uint64_t gpa, struct mem_place *p);
bool mem_find_window(const struct mem *m, uint64_t gpa, struct mem_place *p);
/* mem.c: anywhere. */
bool mem_find(const struct mem *m, uint64_t gpa, struct mem_place *p);
void mem_shadow_init(struct mem *m);

#endif
