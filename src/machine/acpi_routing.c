/*
 * acpi_routing.c - where PCI interrupts go, in the DSDT.
 *
 * An OS tells by \_PIC whether it uses the I/O APIC (1) or the 8259s (0, as
 * at the start).  For the I/O APIC each pin of each slot has a fixed global
 * interrupt (pci/host.h).  For the 8259s it goes to one of four links, whose
 * IRQ is a register of the ISA bridge (pci/lpc.h): bits 3..0, bit 7 off.
 *
 * Source: ACPI 6.5, 5.8.1 (_PIC), 6.2.13 (_PRT), 6.2 (resources); ICH9
 * 13.1.17.
 */
#include "dev/pci/host.h"
#include "machine/acpi.h"

#define ROUTING_OFF  0x80
#define ROUTING_IRQS 0x0c20 /* 5, 10 and 11 */

static const char *const routing_link[PCI_PIRQS] = { "LNKA", "LNKB", "LNKC",
						     "LNKD" };
static const char *const routing_reg[PCI_PIRQS] = { "PRQA", "PRQB", "PRQC",
						    "PRQD" };

void acpi_dsdt_mode(struct aml *a)
{
	aml_name_int(a, "\\PICM", 0);
	aml_begin_method(a, "\\_PIC", 1);
	aml_op(a, AML_OP_STORE);
	aml_op(a, AML_OP_ARG0);
	aml_ref(a, "\\PICM");
	aml_end(a);
}

/* --- Links ---------------------------------------------------------------- */

/* If (reg & ROUTING_OFF) { */
static void routing_begin_if_off(struct aml *a, const char *reg)
{
	aml_begin_if(a);
	aml_op(a, AML_OP_AND);
	aml_ref(a, reg);
	aml_int(a, ROUTING_OFF);
	aml_op(a, AML_OP_NOTHING);
}

/* Present and working; enabled (bit 1) while it is routed. */
static void routing_status(struct aml *a, const char *reg)
{
	aml_begin_method(a, "_STA", 0);
	routing_begin_if_off(a, reg);
	aml_op(a, AML_OP_RETURN);
	aml_int(a, 0x9);
	aml_end(a);
	aml_op(a, AML_OP_RETURN);
	aml_int(a, 0xb);
	aml_end(a);
}

static void routing_disable(struct aml *a, const char *reg)
{
	aml_begin_method(a, "_DIS", 0);
	aml_op(a, AML_OP_OR);
	aml_ref(a, reg);
	aml_int(a, ROUTING_OFF);
	aml_ref(a, reg);
	aml_end(a);
}

/* IRQM names the descriptor's word of IRQ bits, its bytes 1 and 2. */
static void routing_word(struct aml *a, bool of_arg)
{
	aml_op(a, AML_OP_WORD_FIELD);
	if (of_arg)
		aml_op(a, AML_OP_ARG0);
	else
		aml_ref(a, "CRSB");
	aml_int(a, 1);
	aml_ref(a, "IRQM");
}

static void routing_current(struct aml *a, const char *reg)
{
	aml_begin_resources(a, "CRSB");
	aml_irqs_shared(a, 0);
	aml_end_resources(a);

	aml_begin_method(a, "_CRS", 0);
	routing_word(a, false);
	routing_begin_if_off(a, reg);
	aml_op(a, AML_OP_STORE);
	aml_int(a, 0);
	aml_ref(a, "IRQM");
	aml_end(a);
	aml_begin_else(a);
	aml_op(a, AML_OP_SHIFT_LEFT);
	aml_int(a, 1);
	aml_op(a, AML_OP_AND);
	aml_ref(a, reg);
	aml_int(a, 0xf);
	aml_op(a, AML_OP_NOTHING);
	aml_ref(a, "IRQM");
	aml_end(a);
	aml_op(a, AML_OP_RETURN);
	aml_ref(a, "CRSB");
	aml_end(a);
}

static void routing_set(struct aml *a, const char *reg)
{
	aml_begin_method(a, "_SRS", 1);
	routing_word(a, true);
	aml_op(a, AML_OP_FIND_RIGHT);
	aml_ref(a, "IRQM");
	aml_op(a, AML_OP_LOCAL0);
	aml_op(a, AML_OP_SUBTRACT);
	aml_op(a, AML_OP_LOCAL0);
	aml_int(a, 1);
	aml_ref(a, reg);
	aml_end(a);
}

void acpi_dsdt_links(struct aml *a)
{
	aml_pci_bytes(a, "PIRQ", 0x60, routing_reg, PCI_PIRQS);
	for (unsigned i = 0; i < PCI_PIRQS; i++) {
		aml_begin_device(a, routing_link[i]);
		aml_name_eisa_id(a, "_HID", "PNP0C0F");
		aml_name_int(a, "_UID", i + 1);
		aml_begin_resources(a, "_PRS");
		aml_irqs_shared(a, ROUTING_IRQS);
		aml_end_resources(a);
		routing_status(a, routing_reg[i]);
		routing_disable(a, routing_reg[i]);
		routing_current(a, routing_reg[i]);
		routing_set(a, routing_reg[i]);
		aml_end(a);
	}
}

/* --- The bus's table ------------------------------------------------------ */

/* {address, pin, source, index}: a link, or 0 and a global interrupt. */
static void routing_entry(struct aml *a, unsigned slot, unsigned pin, bool apic)
{
	static const char *const links[PCI_PIRQS] = { "ISA.LNKA", "ISA.LNKB",
						      "ISA.LNKC", "ISA.LNKD" };
	unsigned pirq = pci_pirq(slot, pin + 1);

	aml_begin_package(a, 4);
	aml_int(a, slot << 16 | 0xffff);
	aml_int(a, pin);
	if (apic)
		aml_int(a, 0);
	else
		aml_ref(a, links[pirq]);
	aml_int(a, apic ? 16 + pirq : 0);
	aml_end(a);
}

static void routing_table(struct aml *a, const char *name, bool apic)
{
	aml_name(a, name);
	aml_begin_package(a, PCI_SLOTS * PCI_PIRQS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < PCI_PIRQS; pin++)
			routing_entry(a, slot, pin, apic);
	aml_end(a);
}

void acpi_dsdt_routing(struct aml *a)
{
	routing_table(a, "PRTA", true);
	routing_table(a, "PRTP", false);
	aml_begin_method(a, "_PRT", 0);
	aml_begin_if(a);
	aml_ref(a, "\\PICM");
	aml_op(a, AML_OP_RETURN);
	aml_ref(a, "PRTA");
	aml_end(a);
	aml_op(a, AML_OP_RETURN);
	aml_ref(a, "PRTP");
	aml_end(a);
}
