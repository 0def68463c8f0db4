#include "machine/mptable.h"

#include <string.h>

#include "dev/pci/host.h"

/* Entries of the configuration table (4.3) and interrupt types (4-11). */
enum { MP_CPU, MP_BUS, MP_IOAPIC, MP_INT, MP_LOCAL_INT };
enum { MP_TYPE_INT, MP_TYPE_NMI, MP_TYPE_SMI, MP_TYPE_EXTINT };

#define MP_POINTER_LEN    16
#define MP_HEADER_LEN     44
#define MP_REVISION       4   /* of 1.4 */
#define MP_CPUS_MAX       255 /* APIC ID ff is all of them */
#define MP_CPU_ENABLED    1
#define MP_CPU_BOOT       2
#define MP_LAPIC_VERSION  0x14
#define MP_IOAPIC_VERSION 0x20
#define MP_BUS_PCI        0 /* PCI's must be its bus number */
#define MP_BUS_ISA        1
#define MP_ALL_LAPICS     0xff
#define MP_TIMER_PIN      2
#define MP_FIRST_PIRQ     16
#define MP_ISA_IRQS       16

struct mp_out {
	uint8_t *buf;
	uint32_t len;
	uint16_t entries;
};

/* What is longer than a value is reserved: zeroes. */
static void mp_put(struct mp_out *o, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++, value >>= 8)
		o->buf[o->len++] = (uint8_t)value;
}

static void mp_text(struct mp_out *o, const char *text, unsigned bytes)
{
	memcpy(o->buf + o->len, text, bytes);
	o->len += bytes;
}

static uint8_t mp_sum(const uint8_t *p, uint32_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return (uint8_t)-sum;
}

/* --- The MP table --------------------------------------------------------- */

/* 4.3.1; signature and features are CPUID's, which everybody asks instead. */
static void mp_cpu(struct mp_out *o, unsigned id)
{
	mp_put(o, MP_CPU, 1);
	mp_put(o, id, 1);
	mp_put(o, MP_LAPIC_VERSION, 1);
	mp_put(o, MP_CPU_ENABLED | (id ? 0 : MP_CPU_BOOT), 1);
	mp_put(o, 0x600, 4); /* family 6 */
	mp_put(o, 0x201, 4); /* FPU, APIC */
	mp_put(o, 0, 8);
	o->entries++;
}

/* 4.3.2 */
static void mp_bus(struct mp_out *o, unsigned id, const char *name)
{
	mp_put(o, MP_BUS, 1);
	mp_put(o, id, 1);
	mp_text(o, name, 6);
	o->entries++;
}

/* 4.3.3; with the ID that ACPI's table has. */
static void mp_ioapic(struct mp_out *o)
{
	mp_put(o, MP_IOAPIC, 1);
	mp_put(o, 0, 1);
	mp_put(o, MP_IOAPIC_VERSION, 1);
	mp_put(o, 1, 1); /* usable */
	mp_put(o, 0xfec00000, 4);
	o->entries++;
}

/* 4.3.4, 4.3.5; polarity and trigger as the bus has them. */
static void mp_int(struct mp_out *o, unsigned entry, unsigned type,
		   unsigned bus, unsigned irq, unsigned apic, unsigned pin)
{
	mp_put(o, entry, 1);
	mp_put(o, type, 1);
	mp_put(o, 0, 2);
	mp_put(o, bus, 1);
	mp_put(o, irq, 1);
	mp_put(o, apic, 1);
	mp_put(o, pin, 1);
	o->entries++;
}

static void mp_interrupts(struct mp_out *o)
{
	for (unsigned i = 0; i < MP_ISA_IRQS; i++)
		if (i != MP_TIMER_PIN)
			mp_int(o, MP_INT, MP_TYPE_INT, MP_BUS_ISA, i, 0,
			       i ? i : MP_TIMER_PIN);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 1; pin <= PCI_PIRQS; pin++)
			mp_int(o, MP_INT, MP_TYPE_INT, MP_BUS_PCI,
			       slot << 2 | (pin - 1), 0,
			       MP_FIRST_PIRQ + pci_pirq(slot, pin));
	mp_int(o, MP_LOCAL_INT, MP_TYPE_EXTINT, MP_BUS_ISA, 0, MP_ALL_LAPICS,
	       0);
	mp_int(o, MP_LOCAL_INT, MP_TYPE_NMI, MP_BUS_ISA, 0, MP_ALL_LAPICS, 1);
}

/* 4.1: features 0: there is a table; IMCR is not there. */
static void mp_pointer(uint8_t *p)
{
	struct mp_out o = { .buf = p };

	mp_text(&o, "_MP_", 4);
	mp_put(&o, MPTABLE_BASE + MP_POINTER_LEN, 4);
	mp_put(&o, 1, 1); /* paragraph */
	mp_put(&o, MP_REVISION, 1);
	mp_put(&o, 0, 6);
	p[10] = mp_sum(p, MP_POINTER_LEN);
}

/* 4.2, once its entries are there. */
static void mp_header(uint8_t *p, uint32_t len, uint16_t entries)
{
	struct mp_out o = { .buf = p };

	mp_text(&o, "PCMP", 4);
	mp_put(&o, len, 2);
	mp_put(&o, MP_REVISION, 1);
	mp_put(&o, 0, 1);
	mp_text(&o, "HOSTEL  Virtual PC  ", 20);
	mp_put(&o, 0, 6); /* no OEM table */
	mp_put(&o, entries, 2);
	mp_put(&o, 0xfee00000, 4);
	mp_put(&o, 0, 4); /* nothing extended */
	p[7] = mp_sum(p, len);
}

uint32_t mptable_build(uint8_t buf[MPTABLE_SIZE], unsigned cpus)
{
	struct mp_out o = { .buf = buf, .len = MP_POINTER_LEN + MP_HEADER_LEN };

	for (unsigned i = 0; i < cpus && i < MP_CPUS_MAX; i++)
		mp_cpu(&o, i);
	mp_bus(&o, MP_BUS_PCI, "PCI   ");
	mp_bus(&o, MP_BUS_ISA, "ISA   ");
	mp_ioapic(&o);
	mp_interrupts(&o);
	mp_pointer(buf);
	mp_header(buf + MP_POINTER_LEN, o.len - MP_POINTER_LEN, o.entries);
	return o.len;
}

/* --- The PCI IRQ routing table -------------------------------------------- */

#define PIR_IRQS   0x0c20 /* 5, 10, 11: as acpi_routing.c */
#define PIR_ROUTER 0xf8   /* 00:1f.0 */
#define PIR_LINK   0x60   /* a link is its register in the router */
#define PIR_SUM    31
/* The router that all know whose registers are the same: the PIIX3. */
#define PIR_LIKE 0x70008086u

uint32_t pirtable_build(uint8_t buf[PIRTABLE_SIZE])
{
	const uint32_t len = 32 + (PCI_SLOTS - 1) * 16;
	struct mp_out o = { .buf = buf };

	mp_text(&o, "$PIR", 4);
	mp_put(&o, 0x0100, 2);
	mp_put(&o, len, 2);
	mp_put(&o, PIR_ROUTER << 8, 2); /* bus, device and function */
	mp_put(&o, 0, 2);               /* no IRQ is PCI's alone */
	mp_put(&o, PIR_LIKE, 4);
	mp_put(&o, 0, 16);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		mp_put(&o, slot << 3 << 8, 2);
		for (unsigned pin = 1; pin <= PCI_PIRQS; pin++) {
			mp_put(&o, PIR_LINK + pci_pirq(slot, pin), 1);
			mp_put(&o, PIR_IRQS, 2);
		}
		mp_put(&o, 0, 2); /* on the board, not in a numbered slot */
	}
	buf[PIR_SUM] = mp_sum(buf, len);
	return len;
}
