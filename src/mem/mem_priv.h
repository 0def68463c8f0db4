/* mem_priv.h - struct mem, for mem.c and bus.c only. */
#ifndef HOSTEL_MEM_MEM_PRIV_H
#define HOSTEL_MEM_MEM_PRIV_H

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
};

struct mem {
	uint64_t ram_bytes;
	uint64_t low_bytes; /* of ram_bytes, those below the hole */
	uint8_t *ram;       /* low, then high, as in the file */
	int fd;
	uint8_t *page_flags; /* a byte a page of the file */
	mem_code_hook *code_hook;
	void *code_hook_opaque;
	struct bus bus;
};

void bus_free(struct bus *bus);

#endif
