/*
 * acpi.h - the tables by which a guest learns of the board.
 *
 * Source: ACPI specification 6.5, chapter 5; PCI firmware specification 3.0
 * (MCFG).  RSDP, XSDT, FADT, FACS, DSDT, MADT and MCFG, in one block that
 * lies where PCs have their BIOS, so that a guest without help finds the
 * RSDP by its signature.
 */
#ifndef HOSTEL_MACHINE_ACPI_H
#define HOSTEL_MACHINE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/aml.h"

#define ACPI_BASE 0xe0000ull
#define ACPI_SIZE 0x20000u

/* Virtio devices that are on no bus: a page and an I/O APIC pin each. */
#define ACPI_VIRTIO_BASE 0xfec10000ull
#define ACPI_VIRTIO_STEP 0x1000u
#define ACPI_VIRTIO_GSI  20 /* PIRQ E, and up to H */
#define ACPI_VIRTIO_GSIS 4u /* device n has the (n modulo 4)th */
#define ACPI_VIRTIO_MAX  16u

/* The board, as far as the tables differ. */
struct acpi_config {
	unsigned cpus;
	bool vga;
	unsigned virtio_mmio;           /* devices, from ACPI_VIRTIO_BASE on */
	uint64_t base;                  /* where the block will lie */
	uint64_t ecam;                  /* where ECAM is */
	uint64_t mem64_base, mem64_end; /* where 64-bit BARs may lie */
};

/* No VGA, the block at ACPI_BASE, and PCI as it is after reset. */
void acpi_config_init(struct acpi_config *c, unsigned cpus);

/*
 * What must be done again if the block is moved: pointers into it, and bytes
 * by which ranges sum up to 0.  Offsets in the block.
 */
#define ACPI_LINKS_MAX 16
struct acpi_links {
	struct acpi_pointer {
		uint32_t at;
		uint8_t size; /* bytes: 4 or 8 */
	} pointer[ACPI_LINKS_MAX];
	unsigned pointer_count;
	struct acpi_checksum {
		uint32_t at, start, len;
	} checksum[ACPI_LINKS_MAX];
	unsigned checksum_count;
};

/*
 * Builds the tables as they lie at c->base: buf holds ACPI_SIZE bytes.  The
 * RSDP comes first, ACPI_RSDP_SIZE bytes.  links may be NULL; those of the
 * RSDP are not among them.  Returns the bytes used, or -ENOSPC with a
 * sentence (too many processors).
 */
#define ACPI_RSDP_SIZE 36
#define ACPI_RSDP_RSDT 16 /* offset of its pointer, 4 bytes */
#define ACPI_RSDP_XSDT 24 /* the same, 8 bytes */
int acpi_build(uint8_t *buf, const struct acpi_config *c,
	       struct acpi_links *links, struct err *err);

/* The DSDT's body (acpi_dsdt.c). */
void acpi_dsdt(struct aml *a, const struct acpi_config *c);
/*
 * PCI interrupts (acpi_routing.c): which controller the OS uses, in the root;
 * the ISA bridge's links; the PCI bus's table.
 */
void acpi_dsdt_mode(struct aml *a);
void acpi_dsdt_links(struct aml *a);
void acpi_dsdt_routing(struct aml *a);

#endif
