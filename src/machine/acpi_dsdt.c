/*
 * acpi_dsdt.c - the differentiated system description table: what no bus can
 * enumerate.
 */
#include <assert.h>
#include <stdio.h>

#include "dev/pc/acpi_pm.h"
#include "dev/pci/host.h"
#include "dev/pci/hotplug.h"
#include "dev/virtio/virtio.h"
#include "machine/acpi.h"

/* The devices behind the ISA bridge, with the resources of the PC/AT. */
static const struct dsdt_isa {
	const char *name, *hid;
	struct {
		uint16_t base;
		uint8_t len;
	} io[2];
	uint8_t irq; /* 0: none */
} dsdt_isa[] = {
	{ "COM1", "PNP0501", { { 0x3f8, 8 } }, 4 },
	{ "KBD", "PNP0303", { { 0x60, 1 }, { 0x64, 1 } }, 1 },
	{ "MOU", "PNP0F13", { { 0 } }, 12 },
	{ "RTC", "PNP0B00", { { 0x70, 2 } }, 8 },
};

static void dsdt_isa_device(struct aml *a, const struct dsdt_isa *d)
{
	aml_begin_device(a, d->name);
	aml_name_eisa_id(a, "_HID", d->hid);
	aml_name_int(a, "_UID", 1);
	aml_name_int(a, "_STA", 0xf); /* present, enabled, shown, working */
	aml_begin_resources(a, "_CRS");
	for (unsigned i = 0; i < 2 && d->io[i].len; i++)
		aml_io(a, d->io[i].base, d->io[i].len);
	if (d->irq)
		aml_irq(a, d->irq);
	aml_end_resources(a);
	aml_end(a);
}

/* 00:1f.0, dev/pci/lpc.h */
static void dsdt_isa_bridge(struct aml *a)
{
	aml_begin_device(a, "ISA");
	aml_name_int(a, "_ADR", 0x001f0000);
	acpi_dsdt_links(a);
	for (size_t i = 0; i < sizeof(dsdt_isa) / sizeof(dsdt_isa[0]); i++)
		dsdt_isa_device(a, &dsdt_isa[i]);
	aml_end(a);
}

/* What the bridge decodes; everything else below 4 GiB is the board's. */
static void dsdt_windows(struct aml *a, const struct acpi_config *c)
{
	uint64_t ecam_end = c->ecam + PCI_ECAM_SIZE;

	aml_begin_resources(a, "_CRS");
	aml_window_bus(a, 0, PCI_ECAM_BUSES - 1);
	aml_io(a, 0xcf8, 8);
	aml_window_io(a, 0, 0xcf7);
	aml_window_io(a, 0xd00, 0xffff);
	if (c->vga)
		aml_window_mem32(a, 0xa0000, 0xbffff);
	if (c->ecam > PCI_MMIO_BASE)
		aml_window_mem32(a, PCI_MMIO_BASE, c->ecam - 1);
	if (ecam_end < PCI_MMIO2_END)
		aml_window_mem32(
			a, ecam_end > PCI_MMIO_BASE ? ecam_end : PCI_MMIO_BASE,
			PCI_MMIO2_END - 1);
	aml_window_mem64(a, c->mem64_base, c->mem64_end - 1);
	aml_end_resources(a);
}

/* --- Hot plug (dev/pci/hotplug.h) ------------------------------------------
 */

/* Notifications of ACPI 6.5, table 5.155. */
#define DSDT_DEVICE_CHECK  1
#define DSDT_EJECT_REQUEST 3

static void dsdt_slot_name(char name[5], unsigned slot)
{
	snprintf(name, 5, "S%02X", slot & 0xff);
}

/* A slot that can be emptied: _EJ0 is what tells an OS so. */
static void dsdt_slot(struct aml *a, unsigned slot)
{
	char name[5];

	dsdt_slot_name(name, slot);
	aml_begin_device(a, name);
	aml_name_int(a, "_ADR", slot << 16);
	aml_name_int(a, "_SUN", slot);
	aml_begin_method(a, "_EJ0", 1);
	aml_op(a, AML_OP_STORE);
	aml_int(a, 1u << slot);
	aml_ref(a, "HPEJ");
	aml_end(a);
	aml_end(a);
}

/* Method HPLG: looks what has happened and says so to the slots. */
static void dsdt_look_at_slots(struct aml *a)
{
	static const struct {
		const char *field;
		unsigned what;
	} news[] = { { "HPUP", DSDT_DEVICE_CHECK },
		     { "HPDN", DSDT_EJECT_REQUEST } };
	char name[5];

	aml_begin_method(a, "HPLG", 0);
	for (unsigned i = 0; i < 2; i++) {
		aml_op(a, AML_OP_STORE);
		aml_ref(a, news[i].field);
		aml_op(a, AML_OP_LOCAL0 + i);
		for (unsigned slot = PCI_HOTPLUG_FIRST; slot < PCI_HOTPLUG_END;
		     slot++) {
			dsdt_slot_name(name, slot);
			aml_begin_if(a);
			aml_op(a, AML_OP_AND);
			aml_op(a, AML_OP_LOCAL0 + i);
			aml_int(a, 1u << slot);
			aml_op(a, AML_OP_NOTHING);
			aml_op(a, AML_OP_NOTIFY);
			aml_ref(a, name);
			aml_int(a, news[i].what);
			aml_end(a);
		}
	}
	aml_end(a);
}

static void dsdt_hotplug(struct aml *a)
{
	aml_region_io(a, "HPRG", PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE);
	aml_begin_field(a, "HPRG");
	aml_field_dword(a, "HPUP");
	aml_field_dword(a, "HPDN");
	aml_field_dword(a, "HPEJ");
	aml_end(a);
	for (unsigned slot = PCI_HOTPLUG_FIRST; slot < PCI_HOTPLUG_END; slot++)
		dsdt_slot(a, slot);
	dsdt_look_at_slots(a);
}

/* An edge on general purpose event 1. */
static void dsdt_events(struct aml *a)
{
	static_assert(PCI_HOTPLUG_GPE == 1, "the method's name says which");
	aml_begin_scope(a, "\\_GPE");
	aml_begin_method(a, "_E01", 0);
	aml_ref(a, "\\_SB.PCI0.HPLG");
	aml_end(a);
	aml_end(a);
}

static void dsdt_pci(struct aml *a, const struct acpi_config *c)
{
	aml_begin_device(a, "PCI0");
	aml_name_eisa_id(a, "_HID", "PNP0A08");
	aml_name_eisa_id(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	dsdt_windows(a, c);
	acpi_dsdt_routing(a);
	dsdt_isa_bridge(a);
	dsdt_hotplug(a);
	aml_end(a);
}

/*
 * Taken by the board: an OS must not put anything there (PNP0C02).  The power
 * management ports are not: the ISA bridge's PMBASE tells of them.
 */
static void dsdt_board(struct aml *a, const struct acpi_config *c)
{
	aml_begin_device(a, "BRD");
	aml_name_eisa_id(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 1);
	aml_begin_resources(a, "_CRS");
	aml_memory32(a, (uint32_t)c->ecam, PCI_ECAM_SIZE);
	aml_end_resources(a);
	aml_end(a);
}

static void dsdt_processor(struct aml *a, unsigned n)
{
	char name[5];

	snprintf(name, sizeof(name), "C%03X", n & 0xfff);
	aml_begin_device(a, name);
	aml_name_string(a, "_HID", "ACPI0007");
	aml_name_int(a, "_UID", n);
	aml_end(a);
}

/* LNRO0005 is what Linux knows virtio over MMIO by. */
static void dsdt_virtio(struct aml *a, unsigned n)
{
	char name[5];

	snprintf(name, sizeof(name), "VIO%X", n & 0xf);
	aml_begin_device(a, name);
	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_int(a, "_UID", n);
	aml_begin_resources(a, "_CRS");
	aml_memory32(a, (uint32_t)ACPI_VIRTIO_BASE + n * ACPI_VIRTIO_STEP,
		     VIRTIO_MMIO_SIZE);
	aml_gsi(a, ACPI_VIRTIO_GSI + n % ACPI_VIRTIO_GSIS);
	aml_end_resources(a);
	aml_end(a);
}

void acpi_dsdt(struct aml *a, const struct acpi_config *c)
{
	aml_name(a, "\\_S5");
	aml_begin_package(a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(a, ACPI_PM_SLP_TYP_S5);
	aml_end(a);

	acpi_dsdt_mode(a);
	aml_begin_scope(a, "\\_SB");
	for (unsigned i = 0; i < c->cpus; i++)
		dsdt_processor(a, i);
	dsdt_board(a, c);
	dsdt_pci(a, c);
	for (unsigned i = 0; i < c->virtio_mmio; i++)
		dsdt_virtio(a, i);
	aml_end(a);
	dsdt_events(a);
}
