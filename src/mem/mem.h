/*
 * mem.h - what a guest-physical address means.
 *
 * The guest-physical address space (gpa, up to 2^46) holds RAM and MMIO
 * regions; beside it lies the 64 KiB port space.  RAM is one memory file,
 * mapped once, allocated lazily by the host: only touched pages cost.
 *
 *	0          .. 0xc0000000   RAM ("low"), at most 3 GiB
 *	0xc0000000 .. 0x100000000  the PCI hole: MMIO only
 *	0x100000000 ..             RAM ("high"): what did not fit below
 *
 * Beside RAM there is memory of devices ("windows": ROM, flash, frame
 * buffers), and 0xa0000..0x100000 can be given to it, see below.
 *
 * Everything the guest controls enters through here, once checked.
 * Regions are mapped while the machine is built (one thread, no vCPU
 * running); dispatch is lock-free and reentrant: each device locks itself.
 */
#ifndef HOSTEL_MEM_MEM_H
#define HOSTEL_MEM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MEM_PAGE_SHIFT 12
#define MEM_PAGE_SIZE  4096ull
#define MEM_PAGE_MASK  (MEM_PAGE_SIZE - 1)
#define MEM_HOLE_BASE  0xc0000000ull
#define MEM_HOLE_END   0x100000000ull
#define MEM_RAM_MIN    (1ull << 20)
#define MEM_RAM_MAX    (1ull << 40)

struct mem;

/*
 * ram_bytes: a multiple of 4096, MEM_RAM_MIN..MEM_RAM_MAX; else -EINVAL with
 * a sentence.  The memory file is called "hostel-ram"; never on disk.
 */
int mem_new(struct mem **out, uint64_t ram_bytes, struct err *err);
void mem_free(struct mem *m);

/*
 * Less RAM below the hole, so that more of it is free for devices: a multiple
 * of 1 MiB; what is not below is above.  At once after mem_new().
 */
void mem_limit_low(struct mem *m, uint64_t bytes);

/* --- RAM ------------------------------------------------------------- */

uint64_t mem_ram_bytes(const struct mem *m);
/* The two RAM ranges [base, base+size); returns how many (1 or 2). */
struct mem_range {
	uint64_t base;
	uint64_t size;
};
unsigned mem_ram_ranges(const struct mem *m, struct mem_range out[2]);
int mem_ram_fd(const struct mem *m);

/*
 * Host address of [gpa, gpa+len), or NULL unless all of it is RAM in one
 * range.  The pointer stays valid for the life of m.  Writers through it must
 * call mem_written() afterwards if vCPUs may run.
 */
void *mem_host(struct mem *m, uint64_t gpa, uint64_t len);
/* The way back, for a pointer that mem_host() gave (or into its range). */
uint64_t mem_gpa(const struct mem *m, const void *host);
/* How many bytes from gpa on mem_host() would give; 0: none. */
uint64_t mem_run(struct mem *m, uint64_t gpa);
/* Host bytes in use by touched guest pages. */
uint64_t mem_touched_bytes(const struct mem *m);

/* Checked copies: all or nothing; -EFAULT outside RAM.  Any thread. */
int mem_read(struct mem *m, uint64_t gpa, void *buf, size_t len);
int mem_write(struct mem *m, uint64_t gpa, const void *buf, size_t len);
int mem_zero(struct mem *m, uint64_t gpa, uint64_t len);

/*
 * Gives whole pages of RAM back to the host: they cost nothing until they are
 * touched again, and are zero then.  -EINVAL: not whole pages; -EFAULT.
 */
int mem_drop(struct mem *m, uint64_t gpa, uint64_t len);

/*
 * Maps the page of memory at `host` (of mem_host() or mem_host_read()) once
 * more, at `at`; replace: over an earlier one, else only where nothing is.
 * Who asks for it unmaps it, by munmap().  -errno.
 */
int mem_view(struct mem *m, const void *host, void *at, bool replace);

/*
 * Per-page flags, one byte a RAM page, at mem_page_flags(m)[mem_page(m, gpa)].
 * Accessed with __atomic builtins from any vCPU thread.
 */
#define MEM_PAGE_CODE    0x01 /* an engine holds decoded code of this page */
#define MEM_PAGE_WRITTEN 0x02 /* some vCPU may hold a writable TLB entry */
#define MEM_PAGE_DIRTY   0x04 /* dirty log, for migration and screens */
uint8_t *mem_page_flags(struct mem *m);
/* Index of a page of RAM or of a window; UINT64_MAX if gpa is neither. */
uint64_t mem_page(const struct mem *m, uint64_t gpa);
/* Indices are below this. */
uint64_t mem_page_count(const struct mem *m);

/*
 * Engines that cache code register here; mem_written() (called by mem_write()
 * and mem_zero() themselves, and by device DMA) calls it for each written
 * range that touches a page with MEM_PAGE_CODE.  The hook runs in the
 * writer's thread.
 */
typedef void mem_code_hook(void *opaque, uint64_t gpa, uint64_t len);
void mem_set_code_hook(struct mem *m, mem_code_hook *hook, void *opaque);
void mem_written(struct mem *m, uint64_t gpa, uint64_t len);

/* --- Windows: memory that is not RAM ----------------------------------- */

/*
 * A window is memory of a device that the guest reads, and perhaps writes,
 * without the device's noticing: a ROM, flash in its reading mode, a frame
 * buffer.  It lies behind RAM in the memory file, has page flags as RAM has,
 * and engines run code from it as from RAM.  Devices' DMA reaches only those
 * that can be written.
 *
 * How a place is accessed:
 *	MEM_DEVICE	every access goes to the MMIO region there, if any
 *	MEM_ROM		reads and fetches are memory, writes go to MMIO
 *	MEM_RW		plain memory
 *
 * Windows are made while the machine is built.  They are moved and change how
 * they are accessed at any time, in any thread, also a vCPU's during an
 * access: what is in the TLB of other vCPUs goes at their next look at
 * `pending`.  Where several cover an address, the first made counts, and RAM
 * before them.
 */
enum mem_how { MEM_DEVICE = 0, MEM_ROM = 1, MEM_RW = 3 };

#define MEM_NOWHERE UINT64_MAX
/* All windows together. */
#define MEM_WINDOW_BYTES (40ull << 20)
#define MEM_WINDOWS_MAX  16

struct mem_window;

/*
 * size: whole pages.  The memory is zero; the window is nowhere.  -ENOSPC: no
 * room.  It lives as long as m.
 */
int mem_window_new(struct mem *m, uint64_t size, struct mem_window **out);
/* The same memory once more, from offset on, at another place. */
int mem_window_alias(struct mem *m, const struct mem_window *of,
		     uint64_t offset, uint64_t size, struct mem_window **out);
/* For the owner's own reads and writes; the guest may look meanwhile. */
uint8_t *mem_window_host(struct mem *m, const struct mem_window *w);
uint64_t mem_window_size(const struct mem_window *w);
/* gpa: of a page, or MEM_NOWHERE. */
void mem_window_set(struct mem *m, struct mem_window *w, uint64_t gpa,
		    enum mem_how how);
/* The owner changed its bytes: engines forget code of them, at any alias. */
void mem_window_written(struct mem *m, const struct mem_window *w,
			uint64_t offset, uint64_t len);

/*
 * What [gpa, gpa+size) in 0xa0000..0x100000 is, in multiples of 16 KiB: RAM
 * (at first), RAM that cannot be written (how MEM_ROM), or, with w, that
 * window's bytes from offset on.  -EINVAL on other places.
 */
#define MEM_SHADOW_BASE 0xa0000ull
#define MEM_SHADOW_END  0x100000ull
#define MEM_SHADOW_UNIT 0x4000ull
int mem_shadow(struct mem *m, uint64_t gpa, uint64_t size,
	       const struct mem_window *w, uint64_t offset, enum mem_how how);

/*
 * Like mem_host(), but also memory that the guest cannot write; mem_read()
 * reads it, too.
 */
const void *mem_host_read(struct mem *m, uint64_t gpa, uint64_t len);

/* All that is memory now, in ascending order, nothing twice: for engines
 * that map it themselves.  Returns how many, at most MEM_SLOTS_MAX. */
#define MEM_SLOTS_MAX 48
struct mem_slot {
	uint64_t gpa, size;
	uint8_t *host;
	bool readonly;
};
unsigned mem_slots(struct mem *m, struct mem_slot out[MEM_SLOTS_MAX]);

/*
 * Called when what lies at [gpa, gpa+len) changes, in the changing thread:
 * before (done false: forget code of the range) and after (done: forget
 * translations).  One engine is there to listen; NULL removes it.
 */
typedef void mem_remap_hook(void *opaque, uint64_t gpa, uint64_t len,
			    bool done);
void mem_set_remap_hook(struct mem *m, mem_remap_hook *hook, void *opaque);

/* --- MMIO and ports -------------------------------------------------- */

/*
 * offset is relative to the region's base; size is 1, 2, 4 or 8 (ports: 1, 2,
 * 4).  Called from any vCPU thread, unlocked.  An access that straddles a
 * region's end is split into bytes by the dispatcher; wider accesses than
 * `max_size` are split into max_size pieces, lowest address first, and
 * narrower ones than min_size are passed as they are.
 */
struct io_ops {
	uint64_t (*read)(void *dev, uint64_t offset, unsigned size);
	void (*write)(void *dev, uint64_t offset, unsigned size,
		      uint64_t value);
	unsigned max_size; /* 0 means 8 */
};

/* -EEXIST on overlap, -EINVAL on a range that is empty or wraps. */
int mem_map_mmio(struct mem *m, uint64_t base, uint64_t size,
		 const struct io_ops *ops, void *dev, const char *name);
int mem_unmap_mmio(struct mem *m, uint64_t base);
int mem_map_ports(struct mem *m, uint16_t base, unsigned count,
		  const struct io_ops *ops, void *dev, const char *name);

/* Unclaimed addresses read as all ones and ignore writes, as on a PC. */
uint64_t mem_mmio_read(struct mem *m, uint64_t gpa, unsigned size);
void mem_mmio_write(struct mem *m, uint64_t gpa, unsigned size, uint64_t value);
uint32_t mem_port_read(struct mem *m, uint16_t port, unsigned size);
void mem_port_write(struct mem *m, uint16_t port, unsigned size,
		    uint32_t value);

/*
 * Doorbells: places in an MMIO region where a write, of whatever size and
 * value, says no more than "look", and ringing the eventfd fd says the same.
 * An engine that can rings it without leaving the guest; for the others, and
 * while a tap listens, the region's write() is called as ever.  Any thread.
 * 0; -errno: the write() will be called.
 */
typedef int mem_doorbell_hook(void *opaque, uint64_t gpa, int fd, bool there);
int mem_doorbell(struct mem *m, uint64_t gpa, int fd, bool there);
/* The engine, before any vCPU runs; NULL removes it. */
void mem_set_doorbell_hook(struct mem *m, mem_doorbell_hook *hook,
			   void *opaque);

/*
 * Writes to [at, at+len) of a space ('p' ports, 'm' MMIO) change nothing but
 * what the device itself shows, so an engine may keep some and do them later:
 * in their order, before any other access of a vCPU is seen, and before a vCPU
 * stands.  While the machine is built, behind the region's own mem_map_...().
 */
void mem_coalesce(struct mem *m, char space, uint64_t at, uint64_t len);
/*
 * Does now what was kept: for who looks at such a device by another way.  Any
 * thread, with no lock that the device's write() takes.
 */
void mem_coalesce_flush(struct mem *m);
/* The engine, before the devices are made; NULL removes it. */
struct mem_coalescer {
	void (*range)(void *opaque, char space, uint64_t at, uint64_t len);
	void (*flush)(void *opaque);
	void *opaque;
};
void mem_set_coalescer(struct mem *m, const struct mem_coalescer *c);

/*
 * A tap on every port and MMIO access, for --trace; NULL removes it.
 * space: 'p' or 'm'; name: the region's, or "unclaimed".
 */
typedef void mem_tap(void *opaque, char space, bool write, uint64_t addr,
		     unsigned size, uint64_t value, const char *name);
void mem_set_tap(struct mem *m, mem_tap *tap, void *opaque);
/* Shows the tap an MMIO access that did not come here: the local APIC's. */
void mem_show_mmio(struct mem *m, bool write, uint64_t gpa, unsigned size,
		   uint64_t value, const char *name);

#endif
