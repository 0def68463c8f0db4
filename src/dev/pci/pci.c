/*
 * pci.c - configuration space of one function.
 *
 * What the guest may write is data: wmask says which bits take the written
 * value, w1c which are cleared by writing 1; everything else is fixed.  The
 * size of a BAR is nothing but its writable address bits (PCI 3.0, 6.2.5.1).
 */
#include "dev/pci/pci.h"

#include <errno.h>
#include <string.h>

#include "dev/pci/host.h"
#include "dev/pci/msix.h"

#define PCI_CAPS_START 0x40
#define PCI_BAR_IO_BIT 0x1
#define PCI_BAR_64_BIT 0x4
#define PCI_BAR_PREF   0x8

void pci_put(uint8_t *where, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		where[i] = (uint8_t)(value >> i * 8);
}

uint64_t pci_get(const uint8_t *where, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)where[i] << i * 8;
	return value;
}

/* --- Building ------------------------------------------------------------- */

void pci_init(struct pci_dev *pd, const char *name, const struct pci_id *id)
{
	memset(pd, 0, sizeof(*pd));
	pd->name = name;
	pd->cap_end = PCI_CAPS_START;
	pci_put(pd->config + PCI_VENDOR_ID, id->vendor, 2);
	pci_put(pd->config + PCI_DEVICE_ID, id->device, 2);
	pci_put(pd->config + PCI_REVISION, id->revision, 1);
	pci_put(pd->config + PCI_CLASS, id->class_code, 3);
	pci_put(pd->config + PCI_SUBSYS_VENDOR, id->subsys_vendor, 2);
	pci_put(pd->config + PCI_SUBSYS_ID, id->subsys, 2);
	pci_put(pd->config + PCI_INT_PIN, id->int_pin, 1);
	pci_put(pd->wmask + PCI_COMMAND,
		PCI_COMMAND_IO | PCI_COMMAND_MEM | PCI_COMMAND_MASTER |
			PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			PCI_COMMAND_INTX_OFF,
		2);
	pd->wmask[0x0c] = 0xff; /* cache line size: storage only */
	pd->wmask[PCI_INT_LINE] = 0xff;
	for (unsigned n = 0; n < PCI_BARS; n++)
		pd->bar[n].addr = UINT64_MAX;
}

static bool pci_bar_fits(const struct pci_dev *pd, unsigned n,
			 enum pci_bar_type type, uint64_t size)
{
	uint64_t most = type == PCI_BAR_IO      ? 0x100
			: type == PCI_BAR_MEM32 ? 0x80000000ull
						: 1ull << 40;

	if (n + (type == PCI_BAR_MEM64) >= PCI_BARS || pd->host)
		return false;
	if (size & (size - 1) || size > most)
		return false;
	if (size < (type == PCI_BAR_IO ? 4 : 16))
		return false;
	return pd->bar[n].type == PCI_BAR_NONE &&
	       !(n && pd->bar[n - 1].type == PCI_BAR_MEM64);
}

int pci_add_bar(struct pci_dev *pd, unsigned n, enum pci_bar_type type,
		bool prefetch, uint64_t size, const struct io_ops *ops,
		void *opaque)
{
	uint8_t *reg = pd->config + PCI_BAR0 + n * 4;
	uint8_t *mask = pd->wmask + PCI_BAR0 + n * 4;

	if (!pci_bar_fits(pd, n, type, size))
		return -EINVAL;
	pd->bar[n].type = type;
	pd->bar[n].prefetch = prefetch;
	pd->bar[n].size = size;
	pd->bar[n].ops = ops;
	pd->bar[n].opaque = opaque;
	if (type == PCI_BAR_IO)
		*reg = PCI_BAR_IO_BIT;
	else
		*reg = (type == PCI_BAR_MEM64 ? PCI_BAR_64_BIT : 0) |
		       (prefetch ? PCI_BAR_PREF : 0);
	pci_put(mask, ~(size - 1), type == PCI_BAR_MEM64 ? 8 : 4);
	return 0;
}

int pci_add_cap(struct pci_dev *pd, uint8_t id, unsigned len)
{
	unsigned at = pd->cap_end;

	if (len < 2 || at + len > PCI_CONFIG_SIZE)
		return -ENOSPC;
	pd->config[at] = id;
	pd->config[at + 1] = pd->config[PCI_CAP_PTR];
	pd->config[PCI_CAP_PTR] = (uint8_t)at;
	pd->config[PCI_STATUS] |= PCI_STATUS_CAPS;
	pd->cap_end = (at + len + 3) & ~3u;
	return (int)at;
}

/* --- BARs and INTx -------------------------------------------------------- */

/* A BAR of all ones is being sized; it answers nowhere then. */
static uint64_t pci_bar_addr(const struct pci_dev *pd, unsigned n)
{
	const struct pci_bar *bar = &pd->bar[n];
	unsigned width = bar->type == PCI_BAR_MEM64 ? 8 : 4;
	uint64_t value = pci_get(pd->config + PCI_BAR0 + n * 4, width);
	uint64_t mask = pci_get(pd->wmask + PCI_BAR0 + n * 4, width);
	uint16_t command = (uint16_t)pci_get(pd->config + PCI_COMMAND, 2);
	uint16_t need =
		bar->type == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEM;

	if (bar->type == PCI_BAR_NONE || !(command & need))
		return UINT64_MAX;
	return (value & mask) == mask ? UINT64_MAX : value & mask;
}

static void pci_update_bars(struct pci_dev *pd)
{
	for (unsigned n = 0; n < PCI_BARS; n++)
		atomic_store_explicit(&pd->bar[n].addr, pci_bar_addr(pd, n),
				      memory_order_release);
}

static bool pci_intx_off(const struct pci_dev *pd)
{
	return pci_get(pd->config + PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF;
}

static void pci_written(struct pci_dev *pd, unsigned offset, unsigned size)
{
	atomic_store_explicit(&pd->master,
			      pd->config[PCI_COMMAND] & PCI_COMMAND_MASTER,
			      memory_order_release);
	if (pd->msi_cap)
		msi_config_written(pd);
	if (pd->config_written)
		pd->config_written(pd, offset, size);
}

/* --- Access --------------------------------------------------------------- */

uint32_t pci_config_read(struct pci_dev *pd, unsigned offset, unsigned size)
{
	uint8_t bytes[4] = { 0 };

	if (pd->config_reading)
		pd->config_reading(pd, offset, size);
	for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++) {
		bytes[i] = pd->config[offset + i];
		if (offset + i == PCI_STATUS && pci_host_get_intx(pd))
			bytes[i] |= PCI_STATUS_INTX;
	}
	return (uint32_t)pci_get(bytes, size);
}

void pci_config_write(struct pci_dev *pd, unsigned offset, unsigned size,
		      uint32_t value)
{
	for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++) {
		uint8_t byte = (uint8_t)(value >> i * 8);
		uint8_t mask = pd->wmask[offset + i];
		uint8_t *reg = &pd->config[offset + i];

		*reg = (*reg & ~mask) | (byte & mask);
		*reg &= ~(byte & pd->w1c[offset + i]);
	}
	if (offset < PCI_BAR0 + PCI_BARS * 4)
		pci_update_bars(pd);
	if (offset <= PCI_COMMAND + 1 && offset + size > PCI_COMMAND) {
		bool off = pci_intx_off(pd);

		pci_host_set_intx(pd, NULL, &off);
	}
	pci_written(pd, offset, size);
}

void pci_set_intx(struct pci_dev *pd, bool level)
{
	pci_host_set_intx(pd, &level, NULL);
}

void pci_dev_reset(struct pci_dev *pd)
{
	const bool no = false;

	memcpy(pd->config, pd->defaults, sizeof(pd->config));
	pci_update_bars(pd);
	pci_host_set_intx(pd, &no, &no);
	pci_written(pd, 0, PCI_CONFIG_SIZE);
}

/* From a stream only what a guest could have written is taken. */
static void pci_restored(struct pci_dev *pd, const uint8_t *config)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t mask = pd->wmask[i] | pd->w1c[i];

		pd->config[i] = (pd->defaults[i] & ~mask) | (config[i] & mask);
	}
	pci_update_bars(pd);
	pci_written(pd, 0, PCI_CONFIG_SIZE);
}

void pci_dev_walk(struct pci_dev *pd, struct walk *w)
{
	uint8_t config[PCI_CONFIG_SIZE];
	bool intx = pci_host_get_intx(pd);

	if (!walk_section(w, "pci", pd->slot * PCI_FUNCS + pd->func, 1))
		return;
	memcpy(config, pd->config, sizeof(config));
	walk_bytes(w, "config", config, sizeof(config));
	walk_bool(w, "intx", &intx);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	pci_restored(pd, config);
	bool off = pci_intx_off(pd);
	pci_host_set_intx(pd, &intx, &off);
}
