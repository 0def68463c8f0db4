/*
 * host.c - the PCI host bridge and bus 0.
 *
 * Theory of operation
 *
 * Two ways lead to configuration space: CF8/CFC, which keeps an address, and
 * ECAM, where the address is the offset.  Both end in pci_host_config_*(),
 * under `lock`.
 *
 * The windows in which ECAM and BARs may lie are mapped once and for all; an
 * access is matched against where they are now, which are atomics, so that
 * the way to a device's registers takes no lock and moving a BAR never
 * changes the memory map.  Few BARs exist: a linear search is fine.
 *
 * INTx has a lock of its own below the devices' (pci.h says why).
 *
 * The bridge calls itself an Intel 82G33 DRAM controller (8086:29c0) with the
 * subsystem ID by which firmware recognises a virtual machine's: PCIEXBAR
 * moves ECAM, the PAM registers (90h-96h) are the board's affair, SMRAM (9dh)
 * is storage, as that memory is RAM.
 */
#include "dev/pci/host.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PCI_PORT            0xcf8
#define PCI_PORT_RESET      1 /* offset of cf9 */
#define PCI_PORT_DATA       4
#define PCI_ADDRESS_ENABLE  0x80000000u
#define PCI_ADDRESS_DEFINED 0x80fffffcu
#define PCI_RESET_CPU       0x04
#define PCI_RESET_DEFINED   0x0e
#define PCI_MAX_BARS        256
#define PCI_ALL_ONES        UINT64_MAX

/* PCIEXBAR: 63..26 base, 2..1 size (256, 128, 64 MiB), 0 enable. */
#define PCI_MCH_PCIEXBAR 0x60
#define PCI_MCH_PAM0     0x90
#define PCI_MCH_PAM6     0x96
#define PCI_MCH_SMRAM    0x9d

#define PCI_HIGH_END (1ull << 46) /* MAXPHYADDR, as CPUID says */

enum pci_windows {
	PCI_WINDOW_LOW,
	PCI_WINDOW_HIGH,
	PCI_WINDOW_IO,
	PCI_WINDOWS
};

struct pci_window {
	struct pci_host *host;
	uint64_t base, end;
	bool io;
};

struct pci_host {
	struct dev dev;
	struct dev_env env;
	struct pci_host_config config;
	struct pci_dev bridge;
	struct pci_window window[PCI_WINDOWS];
	struct pci_dev *slot[PCI_SLOTS][PCI_FUNCS];
	struct pci_bar *bars[PCI_MAX_BARS];
	unsigned bar_count;
	_Atomic uint64_t ecam; /* where it is now; UINT64_MAX: nowhere */
	_Atomic uint64_t ecam_size;

	pthread_mutex_t lock; /* guards all configuration space, and: */
	uint32_t address;     /* CONFIG_ADDRESS */
	uint8_t reset_control;

	pthread_mutex_t intx_lock; /* guards pd->intx, pd->intx_off, wires */
	bool pirq[PCI_PIRQS];
};

struct dev_env *pci_host_env(struct pci_host *host)
{
	return &host->env;
}

const struct msi_bus *pci_host_msi(struct pci_host *host)
{
	return &host->config.msi;
}

/* --- INTx ----------------------------------------------------------------- */

unsigned pci_pirq(unsigned slot, unsigned pin)
{
	return (slot < PCI_SLOT_CHIPSET ? slot + pin - 1 : pin - 1) % PCI_PIRQS;
}

static bool pci_drives(const struct pci_dev *pd, unsigned pirq)
{
	unsigned pin = pd->config[PCI_INT_PIN]; /* fixed after building */

	return pd->intx && !pd->intx_off && pin &&
	       pci_pirq(pd->slot, pin) == pirq;
}

/* A wire is up while any function drives it. */
static void pci_update_pirq(struct pci_host *host, unsigned pirq)
{
	bool level = false;

	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCS; i++) {
		const struct pci_dev *pd =
			host->slot[i / PCI_FUNCS][i % PCI_FUNCS];

		level = level || (pd && pci_drives(pd, pirq));
	}
	if (level == host->pirq[pirq])
		return;
	host->pirq[pirq] = level;
	irq_set(&host->config.pirq[pirq], level);
}

void pci_host_set_intx(struct pci_dev *pd, const bool *intx, const bool *off)
{
	struct pci_host *host = pd->host;
	unsigned pin = pd->config[PCI_INT_PIN];

	pthread_mutex_lock(&host->intx_lock);
	if (intx)
		pd->intx = *intx;
	if (off)
		pd->intx_off = *off;
	if (pin)
		pci_update_pirq(host, pci_pirq(pd->slot, pin));
	pthread_mutex_unlock(&host->intx_lock);
}

bool pci_host_get_intx(struct pci_dev *pd)
{
	pthread_mutex_lock(&pd->host->intx_lock);
	bool intx = pd->intx;
	pthread_mutex_unlock(&pd->host->intx_lock);
	return intx;
}

void pci_host_set_msi(struct pci_dev *pd, const struct pci_msi *msi)
{
	pthread_mutex_lock(&pd->host->intx_lock);
	pd->msi = *msi;
	pthread_mutex_unlock(&pd->host->intx_lock);
}

struct pci_msi pci_host_get_msi(struct pci_dev *pd)
{
	pthread_mutex_lock(&pd->host->intx_lock);
	struct pci_msi msi = pd->msi;
	pthread_mutex_unlock(&pd->host->intx_lock);
	return msi;
}

/* --- Configuration space -------------------------------------------------- */

/* NULL: an empty slot. */
static struct pci_dev *pci_find(struct pci_host *host, unsigned bus,
				unsigned devfn)
{
	return bus ? NULL : host->slot[devfn >> 3 & 31][devfn & 7];
}

static uint64_t pci_host_config_read(struct pci_host *host, unsigned bus,
				     unsigned devfn, unsigned reg,
				     unsigned size)
{
	struct pci_dev *pd = pci_find(host, bus, devfn);
	uint64_t value = PCI_ALL_ONES;

	if (!pd || (reg & 3) + size > 4)
		return value;
	pthread_mutex_lock(&host->lock);
	value = pci_config_read(pd, reg, size);
	pthread_mutex_unlock(&host->lock);
	return value;
}

static void pci_host_config_write(struct pci_host *host, unsigned bus,
				  unsigned devfn, unsigned reg, unsigned size,
				  uint32_t value)
{
	struct pci_dev *pd = pci_find(host, bus, devfn);

	if (!pd || (reg & 3) + size > 4)
		return;
	pthread_mutex_lock(&host->lock);
	pci_config_write(pd, reg, size, value);
	pthread_mutex_unlock(&host->lock);
}

/* Is the address in ECAM?  Bus 27..20, devfn 19..12, register 11..0. */
static bool pci_in_ecam(struct pci_host *host, uint64_t addr, uint64_t *offset)
{
	*offset =
		addr - atomic_load_explicit(&host->ecam, memory_order_relaxed);
	return *offset <
	       atomic_load_explicit(&host->ecam_size, memory_order_relaxed);
}

/* More than a dword, or across dwords, is not for configuration space. */
static uint64_t pci_ecam_read(struct pci_host *host, uint64_t offset,
			      unsigned size)
{
	return pci_host_config_read(host, offset >> 20, offset >> 12 & 0xff,
				    offset & 0xfff, size);
}

static void pci_ecam_write(struct pci_host *host, uint64_t offset,
			   unsigned size, uint64_t value)
{
	pci_host_config_write(host, offset >> 20, offset >> 12 & 0xff,
			      offset & 0xfff, size, (uint32_t)value);
}

void pci_host_mem64(struct pci_host *host, uint64_t *base, uint64_t *end)
{
	for (unsigned i = 0; i < host->bar_count; i++) {
		const struct pci_bar *bar = host->bars[i];
		uint64_t at =
			atomic_load_explicit(&bar->addr, memory_order_acquire);

		if (bar->type == PCI_BAR_IO || at < MEM_HOLE_END ||
		    at >= PCI_HIGH_END)
			continue;
		if (at < *base)
			*base = at;
		if (at + bar->size > *end)
			*end = at + bar->size;
	}
}

struct mem_range pci_host_ecam(struct pci_host *host)
{
	return (struct mem_range){
		atomic_load_explicit(&host->ecam, memory_order_relaxed),
		atomic_load_explicit(&host->ecam_size, memory_order_relaxed),
	};
}

/* The bridge's own registers: PCIEXBAR may have moved ECAM. */
static void pci_bridge_written(struct pci_dev *pd, unsigned offset,
			       unsigned size)
{
	struct pci_host *host = pd->host;
	uint64_t reg = pci_get(pd->config + PCI_MCH_PCIEXBAR, 8);
	unsigned length = reg >> 1 & 3;
	uint64_t bytes = (reg & 1) && length < 3 ? PCI_ECAM_SIZE >> length : 0;

	atomic_store_explicit(&host->ecam_size, bytes, memory_order_relaxed);
	atomic_store_explicit(&host->ecam, reg & 0xffc000000ull & -bytes,
			      memory_order_relaxed);
	if (host->config.pam && offset <= PCI_MCH_PAM6 &&
	    offset + size > PCI_MCH_PAM0)
		host->config.pam(host->config.pam_opaque,
				 pd->config + PCI_MCH_PAM0);
}

/* --- CF8/CFC and CF9 ------------------------------------------------------ */

static uint32_t pci_get_address(struct pci_host *host)
{
	pthread_mutex_lock(&host->lock);
	uint32_t address = host->address;
	pthread_mutex_unlock(&host->lock);
	return address;
}

static uint8_t pci_get_reset(struct pci_host *host)
{
	pthread_mutex_lock(&host->lock);
	uint8_t control = host->reset_control;
	pthread_mutex_unlock(&host->lock);
	return control;
}

/* Only a dword at CF8 is CONFIG_ADDRESS; a byte at CF9 is its own register. */
static uint64_t pci_port_read(void *dev, uint64_t offset, unsigned size)
{
	struct pci_host *host = dev;
	uint32_t a = pci_get_address(host);

	if (offset == 0 && size == 4)
		return a;
	if (offset == PCI_PORT_RESET && size == 1)
		return pci_get_reset(host);
	if (offset < PCI_PORT_DATA || !(a & PCI_ADDRESS_ENABLE))
		return PCI_ALL_ONES;
	return pci_host_config_read(host, a >> 16 & 0xff, a >> 8 & 0xff,
				    (a & 0xfc) + (offset & 3), size);
}

/* A reset happens when bit 2 goes from 0 to 1 (ICH9 13.7.5). */
static void pci_write_reset(struct pci_host *host, uint8_t value)
{
	pthread_mutex_lock(&host->lock);
	bool go = (value & ~host->reset_control) & PCI_RESET_CPU;
	host->reset_control = value & PCI_RESET_DEFINED;
	pthread_mutex_unlock(&host->lock);
	if (go)
		dev_hook_call(&host->config.reset, value);
}

static void pci_port_write(void *dev, uint64_t offset, unsigned size,
			   uint64_t value)
{
	struct pci_host *host = dev;
	uint32_t a;

	if (offset == 0 && size == 4) {
		pthread_mutex_lock(&host->lock);
		host->address = (uint32_t)value & PCI_ADDRESS_DEFINED;
		pthread_mutex_unlock(&host->lock);
		return;
	}
	if (offset == PCI_PORT_RESET && size == 1)
		pci_write_reset(host, (uint8_t)value);
	a = pci_get_address(host);
	if (offset < PCI_PORT_DATA || !(a & PCI_ADDRESS_ENABLE))
		return;
	pci_host_config_write(host, a >> 16 & 0xff, a >> 8 & 0xff,
			      (a & 0xfc) + (offset & 3), size, (uint32_t)value);
}

/* --- BAR windows ---------------------------------------------------------- */

static struct pci_bar *pci_find_bar(struct pci_window *win, uint64_t addr,
				    unsigned size, uint64_t *offset)
{
	struct pci_host *host = win->host;

	for (unsigned i = 0; i < host->bar_count; i++) {
		struct pci_bar *bar = host->bars[i];
		uint64_t at =
			atomic_load_explicit(&bar->addr, memory_order_acquire);

		if (at == UINT64_MAX || (bar->type == PCI_BAR_IO) != win->io)
			continue;
		*offset = addr - at;
		if (addr >= at && *offset < bar->size &&
		    size <= bar->size - *offset)
			return bar;
	}
	return NULL;
}

/* Wider accesses than the BAR takes are done in pieces, lowest first. */
static unsigned pci_piece(const struct pci_bar *bar, unsigned size)
{
	unsigned max = bar->ops->max_size;

	return max && max < size ? max : size;
}

static uint64_t pci_window_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pci_window *win = opaque;
	uint64_t at, value = 0;
	struct pci_bar *bar;

	if (!win->io && pci_in_ecam(win->host, win->base + offset, &at))
		return pci_ecam_read(win->host, at, size);
	bar = pci_find_bar(win, win->base + offset, size, &at);
	if (!bar)
		return PCI_ALL_ONES;
	unsigned piece = pci_piece(bar, size);
	if (piece == size)
		return bar->ops->read(bar->opaque, at, size);
	for (unsigned i = 0; i < size; i += piece) {
		uint64_t v = bar->ops->read(bar->opaque, at + i, piece);

		value |= (v & ((1ull << piece * 8) - 1)) << i * 8;
	}
	return value;
}

static void pci_window_write(void *opaque, uint64_t offset, unsigned size,
			     uint64_t value)
{
	struct pci_window *win = opaque;
	uint64_t at;
	struct pci_bar *bar;

	if (!win->io && pci_in_ecam(win->host, win->base + offset, &at)) {
		pci_ecam_write(win->host, at, size, value);
		return;
	}
	bar = pci_find_bar(win, win->base + offset, size, &at);
	if (!bar)
		return;
	unsigned piece = pci_piece(bar, size);
	for (unsigned i = 0; i < size; i += piece)
		bar->ops->write(bar->opaque, at + i, piece, value >> i * 8);
}

static const struct io_ops pci_port_ops = {
	.read = pci_port_read,
	.write = pci_port_write,
	.max_size = 4,
};

static const struct io_ops pci_window_ops = {
	.read = pci_window_read,
	.write = pci_window_write,
};

/* --- Attaching ------------------------------------------------------------ */

int pci_attach(struct pci_host *host, struct pci_dev *pd, unsigned slot,
	       unsigned func, struct err *err)
{
	if (slot >= PCI_SLOTS || func >= PCI_FUNCS)
		return err_set(err, EINVAL, "PCI has no slot %u.%u", slot,
			       func);
	if (host->slot[slot][func])
		return err_set(err, EEXIST, "PCI slot %u.%u is taken by %s",
			       slot, func, host->slot[slot][func]->name);
	if (host->bar_count + PCI_BARS > PCI_MAX_BARS)
		return err_set(err, ENOSPC, "too many PCI devices");
	if (func && host->slot[slot][0]) {
		host->slot[slot][0]->config[PCI_HEADER_TYPE] |= 0x80;
		host->slot[slot][0]->defaults[PCI_HEADER_TYPE] |= 0x80;
	}
	for (unsigned n = 0; n < PCI_BARS; n++) {
		if (pd->bar[n].type != PCI_BAR_NONE)
			host->bars[host->bar_count++] = &pd->bar[n];
	}
	pd->host = host;
	pd->slot = (uint8_t)slot;
	pd->func = (uint8_t)func;
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		pd->defaults[i] = pd->config[i];
	host->slot[slot][func] = pd;
	return 0;
}

static bool pci_is_bar_of(const struct pci_bar *bar, const struct pci_dev *pd)
{
	return bar >= pd->bar && bar < pd->bar + PCI_BARS;
}

void pci_detach(struct pci_dev *pd)
{
	struct pci_host *host = pd->host;
	const bool no = false;
	unsigned kept = 0;

	pci_host_set_intx(pd, &no, NULL);
	pthread_mutex_lock(&host->lock);
	for (unsigned i = 0; i < host->bar_count; i++)
		if (!pci_is_bar_of(host->bars[i], pd))
			host->bars[kept++] = host->bars[i];
	host->bar_count = kept;
	pthread_mutex_lock(&host->intx_lock);
	host->slot[pd->slot][pd->func] = NULL;
	pthread_mutex_unlock(&host->intx_lock);
	pthread_mutex_unlock(&host->lock);
	pd->host = NULL;
}

static int pci_attach_bridge(struct pci_host *host, struct err *err)
{
	static const struct pci_id id = {
		.vendor = 0x8086,
		.device = 0x29c0,
		.class_code = 0x060000,
		.subsys_vendor = 0x1af4,
		.subsys = 0x1100,
	};
	struct pci_dev *pd = &host->bridge;
	int rc;

	pci_init(pd, "host bridge", &id);
	pd->config_written = pci_bridge_written;
	pci_put(pd->config + PCI_MCH_PCIEXBAR, PCI_ECAM_BASE | 1, 8);
	pci_put(pd->wmask + PCI_MCH_PCIEXBAR, 0xffc000007ull, 8);
	for (unsigned i = PCI_MCH_PAM0; i <= PCI_MCH_PAM6; i++)
		pd->wmask[i] = i == PCI_MCH_PAM0 ? 0x30 : 0x33;
	pd->config[PCI_MCH_SMRAM] = 0x02;
	pd->wmask[PCI_MCH_SMRAM] = 0x78;
	rc = pci_attach(host, pd, 0, 0, err);
	if (rc == 0)
		pci_bridge_written(pd, 0, PCI_CONFIG_SIZE);
	return rc;
}

/* --- Life ----------------------------------------------------------------- */

static void pci_host_reset(struct dev *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	pthread_mutex_lock(&host->lock);
	host->address = 0;
	host->reset_control = 0;
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCS; i++) {
		struct pci_dev *pd = host->slot[i / PCI_FUNCS][i % PCI_FUNCS];

		if (pd)
			pci_dev_reset(pd);
	}
	pthread_mutex_unlock(&host->lock);
}

static void pci_host_walk(struct dev *dev, struct walk *w)
{
	struct pci_host *host = (struct pci_host *)dev;

	pthread_mutex_lock(&host->lock);
	if (walk_section(w, "pci-host", 0, 1)) {
		walk_u32(w, "address", &host->address);
		walk_u8(w, "reset_control", &host->reset_control);
		walk_end(w);
		host->address &= PCI_ADDRESS_DEFINED;
	}
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCS; i++) {
		struct pci_dev *pd = host->slot[i / PCI_FUNCS][i % PCI_FUNCS];

		if (pd)
			pci_dev_walk(pd, w);
	}
	pthread_mutex_unlock(&host->lock);
}

static void pci_host_free(struct dev *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	pthread_mutex_destroy(&host->intx_lock);
	pthread_mutex_destroy(&host->lock);
	free(host);
}

/*
 * The hole between low RAM and the I/O APIC, in which ECAM lies, too: an OS
 * without ACPI places BARs just behind RAM, however little there is.
 */
static uint64_t pci_hole_base(struct mem *mem)
{
	struct mem_range ram[2];

	mem_ram_ranges(mem, ram);
	return (ram[0].base + ram[0].size + 0xfffff) & ~0xfffffull;
}

/* Firmware places 64-bit BARs where it likes, above RAM. */
static uint64_t pci_high_base(struct mem *mem)
{
	struct mem_range ram[2];
	uint64_t end = MEM_HOLE_END;

	if (mem_ram_ranges(mem, ram) == 2)
		end = ram[1].base + ram[1].size;
	return (end + 0x3fffffff) & ~0x3fffffffull;
}

static int pci_map_window(struct pci_host *host, enum pci_windows n,
			  uint64_t base, uint64_t end)
{
	struct pci_window *win = &host->window[n];
	bool io = n == PCI_WINDOW_IO;

	*win = (struct pci_window){ host, base, end, io };
	if (io)
		return mem_map_ports(host->env.mem, (uint16_t)base,
				     (unsigned)(end - base), &pci_window_ops,
				     win, "pci");
	return mem_map_mmio(host->env.mem, base, end - base, &pci_window_ops,
			    win, "pci");
}

static int pci_map(struct pci_host *host)
{
	struct mem *mem = host->env.mem;
	int rc = mem_map_ports(mem, PCI_PORT, 8, &pci_port_ops, host,
			       "pci-config");

	if (rc == 0)
		rc = pci_map_window(host, PCI_WINDOW_LOW, pci_hole_base(mem),
				    PCI_MMIO2_END);
	if (rc == 0)
		rc = pci_map_window(host, PCI_WINDOW_HIGH, pci_high_base(mem),
				    PCI_HIGH_END);
	if (rc == 0)
		rc = pci_map_window(host, PCI_WINDOW_IO, PCI_IO_BASE,
				    PCI_IO_END);
	return rc;
}

int pci_host_new(struct pci_host **out, const struct dev_env *env,
		 const struct pci_host_config *config, struct err *err)
{
	struct pci_host *host = calloc(1, sizeof(*host));

	if (!host)
		return err_set(err, ENOMEM, "no memory for the PCI host");
	host->dev = (struct dev){ .name = "pci-host",
				  .reset = pci_host_reset,
				  .walk = pci_host_walk,
				  .free = pci_host_free };
	host->env = *env;
	host->config = *config;
	pthread_mutex_init(&host->lock, NULL);
	pthread_mutex_init(&host->intx_lock, NULL);
	int rc = pci_map(host);
	if (rc < 0)
		err_set(err, -rc, "PCI host: addresses in use");
	else
		rc = pci_attach_bridge(host, err);
	if (rc < 0) {
		pci_host_free(&host->dev);
		return rc;
	}
	*out = host;
	return 0;
}
