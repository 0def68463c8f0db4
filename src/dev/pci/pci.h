/*
 * pci.h - what every PCI function is: configuration space, BARs,
 * capabilities, INTx and MSI.
 *
 * Source: PCI Local Bus specification 3.0, chapter 6; PCI Express base
 * specification 3.0, 7.2 (ECAM).
 *
 * A device embeds struct pci_dev, fills it with pci_init(), pci_add_bar() and
 * pci_add_cap() and gives it to the host with pci_attach(), all while the
 * machine is built.  After that the guest's accesses to configuration space
 * run under the host's mutex; BAR accesses come straight to the BAR's io_ops,
 * unlocked, from any vCPU.
 *
 * Where a guest places BARs is up to it; an access reaches a BAR only inside
 * the host's windows (host.h), so that none can hide RAM or the board.
 */
#ifndef HOSTEL_DEV_PCI_PCI_H
#define HOSTEL_DEV_PCI_PCI_H

#include <stdatomic.h>

#include "dev/dev.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS        6

/* Offsets in a type 0 header (PCI 3.0, figure 6-1). */
#define PCI_VENDOR_ID     0x00
#define PCI_DEVICE_ID     0x02
#define PCI_COMMAND       0x04
#define PCI_STATUS        0x06
#define PCI_REVISION      0x08
#define PCI_CLASS         0x09
#define PCI_HEADER_TYPE   0x0e
#define PCI_BAR0          0x10
#define PCI_SUBSYS_VENDOR 0x2c
#define PCI_SUBSYS_ID     0x2e
#define PCI_ROM_BAR       0x30
#define PCI_CAP_PTR       0x34
#define PCI_INT_LINE      0x3c
#define PCI_INT_PIN       0x3d

#define PCI_COMMAND_IO       0x0001
#define PCI_COMMAND_MEM      0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_PARITY   0x0040
#define PCI_COMMAND_SERR     0x0100
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS_INTX      0x0008
#define PCI_STATUS_CAPS      0x0010

struct pci_host;
struct pci_dev;

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_type type;
	bool prefetch;
	uint64_t size; /* a power of two */
	const struct io_ops *ops;
	void *opaque;
	_Atomic uint64_t addr; /* where it answers now; UINT64_MAX: nowhere */
};

struct pci_id {
	uint16_t vendor, device;
	uint16_t subsys_vendor, subsys;
	uint32_t class_code; /* class, subclass, interface: 0xccssii */
	uint8_t revision;
	uint8_t int_pin; /* 0: none, 1: INTA, ... */
};

/* MSI as the guest set it (msix.h). */
struct pci_msi {
	bool on;
	uint64_t addr;
	uint16_t data;
};

struct pci_dev {
	const char *name;
	struct pci_host *host;
	uint8_t slot, func;
	uint8_t config[PCI_CONFIG_SIZE];   /* guarded by the host's mutex */
	uint8_t wmask[PCI_CONFIG_SIZE];    /* bits that the guest may write */
	uint8_t w1c[PCI_CONFIG_SIZE];      /* bits that writing 1 clears */
	uint8_t defaults[PCI_CONFIG_SIZE]; /* config after reset */
	struct pci_bar bar[PCI_BARS];
	unsigned cap_end;
	bool intx;           /* guarded by the host's intx_lock */
	bool intx_off;       /* the same: command bit 10 */
	_Atomic bool master; /* command bit 2 */
	uint8_t msi_cap;     /* where the MSI capability lies; 0: none */
	struct pci_msi msi;  /* guarded by the host's intx_lock */
	/*
	 * After the guest wrote [offset, offset+size) of config space; NULL:
	 * nothing to do.  Under the host's mutex.
	 */
	void (*config_written)(struct pci_dev *pd, unsigned offset,
			       unsigned size);
	/*
	 * Before the guest reads it, the same; for bytes of config that are
	 * windows to something else.
	 */
	void (*config_reading)(struct pci_dev *pd, unsigned offset,
			       unsigned size);
};

void pci_init(struct pci_dev *pd, const char *name, const struct pci_id *id);
/* A 64-bit BAR takes n and n + 1.  -EINVAL: bad size or slot taken. */
int pci_add_bar(struct pci_dev *pd, unsigned n, enum pci_bar_type type,
		bool prefetch, uint64_t size, const struct io_ops *ops,
		void *opaque);
/* Reserves `len` bytes for a capability; its offset, or -ENOSPC. */
int pci_add_cap(struct pci_dev *pd, uint8_t id, unsigned len);

/* -EEXIST: slot.func is taken; -EINVAL. */
int pci_attach(struct pci_host *host, struct pci_dev *pd, unsigned slot,
	       unsigned func, struct err *err);

/* Takes it off the bus. While no vCPU runs. */
void pci_detach(struct pci_dev *pd);

/*
 * The device's own INTx output.  Any thread; the device may hold its own
 * mutex (lock order: configuration space, device, INTx, interrupt wires).
 */
void pci_set_intx(struct pci_dev *pd, bool level);

/*
 * May the device read and write memory now?  One that may not starts nothing,
 * and sends no message; config_written() says when that has changed.  Any
 * thread.
 */
static inline bool pci_is_master(const struct pci_dev *pd)
{
	return atomic_load_explicit(&pd->master, memory_order_acquire);
}

/* Little-endian access to config or a mask array while building. */
void pci_put(uint8_t *where, uint64_t value, unsigned size);
uint64_t pci_get(const uint8_t *where, unsigned size);

/* Called by the host for every function. */
void pci_dev_reset(struct pci_dev *pd);
void pci_dev_walk(struct pci_dev *pd, struct walk *w);
/* offset: 0..4095, within its dword; beyond 255 reads 0 (no ECAM extras). */
uint32_t pci_config_read(struct pci_dev *pd, unsigned offset, unsigned size);
void pci_config_write(struct pci_dev *pd, unsigned offset, unsigned size,
		      uint32_t value);

#endif
