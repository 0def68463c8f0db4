/*
 * bus.c - dispatch of MMIO and port accesses to devices; see mem.h.
 *
 * Ports are found through a table of tables by the port's two bytes, MMIO
 * regions by binary search.  Both are built before the first vCPU runs.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/mem.h"
#include "mem/mem_priv.h"

#define BUS_PORT_COUNT 0x10000ull

static const char bus_unclaimed[] = "unclaimed";

/* --- Building ------------------------------------------------------------- */

static struct bus_region *bus_new_region(uint64_t base, uint64_t size,
					 const struct io_ops *ops, void *dev,
					 const char *name)
{
	struct bus_region *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct bus_region){ base, size, *ops, dev, name };
	if (!r->ops.max_size)
		r->ops.max_size = 8;
	return r;
}

/* Makes room for one more pointer. */
static int bus_grow(struct bus_region ***list, unsigned count)
{
	void *p = reallocarray(*list, count + 1, sizeof(**list));

	if (!p)
		return -ENOMEM;
	*list = p;
	return 0;
}

/* Index of the first MMIO region that ends behind gpa. */
static unsigned bus_lower(const struct bus *bus, uint64_t gpa)
{
	unsigned lo = 0, hi = bus->mmio_count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_region *r = bus->mmio[mid];

		if (r->base + (r->size - 1) < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int mem_map_mmio(struct mem *m, uint64_t base, uint64_t size,
		 const struct io_ops *ops, void *dev, const char *name)
{
	struct bus *bus = &m->bus;
	struct bus_region *r;
	unsigned at;

	if (!size || base + (size - 1) < base)
		return -EINVAL;
	at = bus_lower(bus, base);
	if (at < bus->mmio_count && bus->mmio[at]->base <= base + (size - 1))
		return -EEXIST;
	if (bus_grow(&bus->mmio, bus->mmio_count))
		return -ENOMEM;
	r = bus_new_region(base, size, ops, dev, name);
	if (!r)
		return -ENOMEM;
	memmove(bus->mmio + at + 1, bus->mmio + at,
		(bus->mmio_count - at) * sizeof(*bus->mmio));
	bus->mmio[at] = r;
	bus->mmio_count++;
	return 0;
}

int mem_unmap_mmio(struct mem *m, uint64_t base)
{
	struct bus *bus = &m->bus;
	unsigned at = bus_lower(bus, base);

	if (at == bus->mmio_count || bus->mmio[at]->base != base)
		return -ENOENT;
	free(bus->mmio[at]);
	bus->mmio_count--;
	memmove(bus->mmio + at, bus->mmio + at + 1,
		(bus->mmio_count - at) * sizeof(*bus->mmio));
	return 0;
}

static struct bus_region *bus_find_port(const struct bus *bus, unsigned port)
{
	const struct bus_ports *table;

	if (port >= BUS_PORT_COUNT)
		return NULL;
	table = bus->ports[port / BUS_PORT_SLOTS];
	return table ? table->slot[port % BUS_PORT_SLOTS] : NULL;
}

/* Every table that [base, base+count) needs; all ports in it free. */
static int bus_port_tables(struct bus *bus, unsigned base, unsigned count)
{
	for (unsigned port = base; port < base + count; port++) {
		struct bus_ports **table = &bus->ports[port / BUS_PORT_SLOTS];

		if (!*table)
			*table = calloc(1, sizeof(**table));
		if (!*table)
			return -ENOMEM;
		if ((*table)->slot[port % BUS_PORT_SLOTS])
			return -EEXIST;
	}
	return 0;
}

int mem_map_ports(struct mem *m, uint16_t base, unsigned count,
		  const struct io_ops *ops, void *dev, const char *name)
{
	struct bus *bus = &m->bus;
	struct bus_region *r;
	int rc;

	if (!count || count > BUS_PORT_COUNT - base)
		return -EINVAL;
	rc = bus_port_tables(bus, base, count);
	if (rc)
		return rc;
	if (bus_grow(&bus->port_regions, bus->port_region_count))
		return -ENOMEM;
	r = bus_new_region(base, count, ops, dev, name);
	if (!r)
		return -ENOMEM;
	bus->port_regions[bus->port_region_count++] = r;
	for (unsigned port = base; port < base + count; port++)
		bus->ports[port / BUS_PORT_SLOTS]->slot[port % BUS_PORT_SLOTS] =
			r;
	return 0;
}

void bus_free(struct bus *bus)
{
	for (unsigned i = 0; i < bus->mmio_count; i++)
		free(bus->mmio[i]);
	for (unsigned i = 0; i < bus->port_region_count; i++)
		free(bus->port_regions[i]);
	for (unsigned i = 0; i < BUS_PORT_TABLES; i++)
		free(bus->ports[i]);
	free(bus->mmio);
	free(bus->port_regions);
}

void mem_set_tap(struct mem *m, mem_tap *tap, void *opaque)
{
	m->bus.tap = tap;
	m->bus.tap_opaque = opaque;
}

void mem_set_doorbell_hook(struct mem *m, mem_doorbell_hook *hook, void *opaque)
{
	m->bus.doorbell = hook;
	m->bus.doorbell_opaque = opaque;
}

int mem_doorbell(struct mem *m, uint64_t gpa, int fd, bool there)
{
	if (!m->bus.doorbell || (there && m->bus.tap))
		return -ENOSYS;
	return m->bus.doorbell(m->bus.doorbell_opaque, gpa, fd, there);
}

void mem_set_coalescer(struct mem *m, const struct mem_coalescer *c)
{
	m->bus.coalescer = c ? *c : (struct mem_coalescer){ 0 };
}

void mem_coalesce(struct mem *m, char space, uint64_t at, uint64_t len)
{
	const struct mem_coalescer *c = &m->bus.coalescer;

	if (c->range)
		c->range(c->opaque, space, at, len);
}

void mem_coalesce_flush(struct mem *m)
{
	const struct mem_coalescer *c = &m->bus.coalescer;

	if (c->flush)
		c->flush(c->opaque);
}

/* --- Dispatch ------------------------------------------------------------- */

static struct bus_region *bus_find(const struct bus *bus, char space,
				   uint64_t addr)
{
	unsigned at;

	if (space == 'p')
		return bus_find_port(bus, (unsigned)addr);
	at = bus_lower(bus, addr);
	if (at == bus->mmio_count || bus->mmio[at]->base > addr)
		return NULL;
	return bus->mmio[at];
}

static uint64_t bus_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << size * 8) - 1;
}

/*
 * In which pieces does the access go?  Whole where the device takes it, in
 * bytes where it leaves a region or meets none, and may enter one.
 */
static unsigned bus_piece(const struct bus *bus, char space, uint64_t addr,
			  unsigned size, const struct bus_region *r)
{
	if (!r) {
		for (unsigned i = 1; i < size; i++)
			if (bus_find(bus, space, addr + i))
				return 1;
		return size;
	}
	if (r->size - (addr - r->base) < size)
		return 1;
	return size < r->ops.max_size ? size : r->ops.max_size;
}

static uint64_t bus_read(const struct bus *bus, char space, uint64_t addr,
			 unsigned size)
{
	const struct bus_region *r = bus_find(bus, space, addr);
	unsigned piece = bus_piece(bus, space, addr, size, r);
	uint64_t v = 0;

	if (piece < size) {
		for (unsigned i = 0; i < size; i += piece)
			v |= bus_read(bus, space, addr + i, piece) << i * 8;
		return v;
	}
	if (!r || !r->ops.read)
		return bus_ones(size);
	return r->ops.read(r->dev, addr - r->base, size) & bus_ones(size);
}

static void bus_write(const struct bus *bus, char space, uint64_t addr,
		      unsigned size, uint64_t value)
{
	const struct bus_region *r = bus_find(bus, space, addr);
	unsigned piece = bus_piece(bus, space, addr, size, r);

	if (piece < size) {
		for (unsigned i = 0; i < size; i += piece)
			bus_write(bus, space, addr + i, piece, value >> i * 8);
		return;
	}
	if (r && r->ops.write)
		r->ops.write(r->dev, addr - r->base, size,
			     value & bus_ones(size));
}

static void bus_tap(const struct bus *bus, char space, bool write,
		    uint64_t addr, unsigned size, uint64_t value)
{
	const struct bus_region *r;

	if (!bus->tap)
		return;
	r = bus_find(bus, space, addr);
	bus->tap(bus->tap_opaque, space, write, addr, size,
		 value & bus_ones(size), r ? r->name : bus_unclaimed);
}

void mem_show_mmio(struct mem *m, bool write, uint64_t gpa, unsigned size,
		   uint64_t value, const char *name)
{
	if (m->bus.tap)
		m->bus.tap(m->bus.tap_opaque, 'm', write, gpa, size,
			   value & bus_ones(size), name);
}

static bool bus_size_ok(unsigned size, unsigned max)
{
	return size && size <= max && !(size & (size - 1));
}

uint64_t mem_mmio_read(struct mem *m, uint64_t gpa, unsigned size)
{
	uint64_t v;

	assert(bus_size_ok(size, 8));
	v = bus_read(&m->bus, 'm', gpa, size);
	bus_tap(&m->bus, 'm', false, gpa, size, v);
	return v;
}

void mem_mmio_write(struct mem *m, uint64_t gpa, unsigned size, uint64_t value)
{
	assert(bus_size_ok(size, 8));
	bus_tap(&m->bus, 'm', true, gpa, size, value);
	bus_write(&m->bus, 'm', gpa, size, value);
}

uint32_t mem_port_read(struct mem *m, uint16_t port, unsigned size)
{
	uint32_t v;

	assert(bus_size_ok(size, 4));
	v = (uint32_t)bus_read(&m->bus, 'p', port, size);
	bus_tap(&m->bus, 'p', false, port, size, v);
	return v;
}

void mem_port_write(struct mem *m, uint16_t port, unsigned size, uint32_t value)
{
	assert(bus_size_ok(size, 4));
	bus_tap(&m->bus, 'p', true, port, size, value);
	bus_write(&m->bus, 'p', port, size, value);
}
