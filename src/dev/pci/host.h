/*
 * host.h - the PCI host bridge (00:00.0) and bus 0 behind it.
 *
 * Source: PCI Local Bus specification 3.0, 3.2.2.3.2 (CF8/CFC); Intel 3 Series
 * chipset (316966), DRAM controller; ICH9 (316972), port cf9 and LPC bridge.
 *
 *	cf8	 CONFIG_ADDRESS, only as a dword
 *	cf9	 reset control: 06 resets, as a byte
 *	cfc-cff	 CONFIG_DATA, byte, word or dword
 *	PCI_ECAM_BASE	 ECAM, 1 MiB for bus 0 .. PCI_ECAM_BUSES - 1, until
 *			 firmware moves it with PCIEXBAR (60h of the bridge)
 *	windows in which BARs answer: see PCI_MMIO*, PCI_IO_* and acpi.c's
 *			 _CRS; in truth all of the hole above low RAM, and all
 *			 above high RAM
 *
 * Empty slots and other buses read as all ones.
 *
 * INTx routing (for acpi.c's _PRT): function in slot s with pin p (1 = INTA)
 * drives PIRQ (s + p - 1) % 4, from slot 25 on, which are the chipset's own,
 * p - 1 (ICH9 10.1.21 and on, D31IR; SeaBIOS and OVMF set interrupt lines
 * by that).  PIRQ n is IOAPIC pin 16 + n, level, active low in ACPI's terms; in
 * 8259 mode the ISA bridge's registers 60h..63h choose the IRQ (lpc.h).
 *
 * Threads: ports and ECAM from any vCPU; one mutex for all of configuration
 * space; BARs are found without a lock.
 */
#ifndef HOSTEL_DEV_PCI_HOST_H
#define HOSTEL_DEV_PCI_HOST_H

#include "dev/pci/pci.h"

#define PCI_ECAM_BASE    0xe0000000ull
#define PCI_ECAM_BUSES   256
#define PCI_ECAM_SIZE    (PCI_ECAM_BUSES * 0x100000ull)
#define PCI_MMIO_BASE    0xc0000000ull /* below ECAM */
#define PCI_MMIO_END     0xe0000000ull
#define PCI_MMIO2_BASE   0xf0000000ull /* above ECAM */
#define PCI_MMIO2_END    0xfec00000ull
#define PCI_MMIO64_BASE  0x200000000000ull /* 32 TiB: above any RAM */
#define PCI_MMIO64_END   0x210000000000ull
#define PCI_IO_BASE      0xd00u
#define PCI_IO_END       0x10000u
#define PCI_SLOTS        32
#define PCI_FUNCS        8
#define PCI_PIRQS        4
#define PCI_PAMS         7
#define PCI_SLOT_CHIPSET 25

struct pci_host_config {
	struct irq pirq[PCI_PIRQS]; /* irqs_pirq(0..3) */
	struct msi_bus msi;
	struct dev_hook reset; /* port cf9 */
	/*
	 * The PAM registers (90h-96h) were written, or reset.  Under the lock
	 * of configuration space.  NULL: they are storage.
	 */
	void (*pam)(void *opaque, const uint8_t pam[PCI_PAMS]);
	void *pam_opaque;
};

int pci_host_new(struct pci_host **out, const struct dev_env *env,
		 const struct pci_host_config *config, struct err *err);

/* What devices need of it. */
struct dev_env *pci_host_env(struct pci_host *host);
const struct msi_bus *pci_host_msi(struct pci_host *host);
/* Where ECAM is now (its size is 0: nowhere). Any thread. */
struct mem_range pci_host_ecam(struct pci_host *host);
/* Widens [*base, *end) to what BARs above 4 GiB take now. Any thread. */
void pci_host_mem64(struct pci_host *host, uint64_t *base, uint64_t *end);
/* PIRQ 0..3 of a function's INTx pin (1..4). */
unsigned pci_pirq(unsigned slot, unsigned pin);
/* For pci.c: sets pd->intx and pd->intx_off (NULL: as is) and the wires. */
void pci_host_set_intx(struct pci_dev *pd, const bool *intx, const bool *off);
bool pci_host_get_intx(struct pci_dev *pd);
/* For msix.c. */
void pci_host_set_msi(struct pci_dev *pd, const struct pci_msi *msi);
struct pci_msi pci_host_get_msi(struct pci_dev *pd);

#endif
