/*
 * bios32: without firmware a kernel finds what a BIOS would have left: PCI
 * functions with addresses and interrupts, the MP table, the PCI IRQ
 * routing table.
 */
#include "guest.h"

static uint32_t pci_read(unsigned fn, unsigned reg)
{
	uint32_t v;

	outl(0xcf8, 0x80000000u | fn << 8 | reg);
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((uint16_t)0xcfc));
	return v;
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static const uint8_t *find(const char *name)
{
	for (uint32_t at = 0xf0000; at < 0x100000; at += 16)
		if (*(uint32_t *)at == *(const uint32_t *)name)
			return (const uint8_t *)at;
	return NULL;
}

/* Every function with a pin has a line; memory lies in the hole, once. */
static void pci_is_set_up(void)
{
	uint32_t last = 0;
	unsigned pins = 0, bars = 0;

	for (unsigned fn = 8; fn < 0x100; fn += 8) {
		uint32_t irq, bar;

		if (pci_read(fn, 0) == UINT32_MAX)
			continue;
		irq = pci_read(fn, 0x3c);
		pins += irq >> 8 & 0xff ? 1 : 0;
		if (irq >> 8 & 0xff)
			guest_check((irq & 0xff) == 10 || (irq & 0xff) == 11,
				    "an interrupt line");
		guest_check_eq(pci_read(fn, 4) & 3, 3, "decodes");
		bar = pci_read(fn, 0x10);
		if (!bar)
			continue;
		bars++;
		guest_check(bar >= 0xf0000000 && bar < 0xfec00000,
			    "BAR 0 is in the window");
		guest_check((bar & ~15u) > last, "and in no other");
		last = bar & ~15u;
	}
	guest_check(pins >= 2 && bars >= 2, "there are functions");
	guest_check_eq(pci_read(0xf8, 0x60), 0x0b0a0b0a, "PIRQs are routed");
	guest_check_eq(inb(0x4d1), 0x0c, "and level-triggered");
}

static void mp_table_counts(void)
{
	const uint8_t *mp = find("_MP_");
	const uint8_t *conf, *e;
	unsigned entries, cpus = 0;

	guest_check(mp, "there is an MP table");
	if (!mp)
		return;
	guest_check_eq(sum(mp, 16), 0, "its pointer's sum");
	conf = (const uint8_t *)*(const uint32_t *)(mp + 4);
	guest_check_eq(sum(conf, *(const uint16_t *)(conf + 4)), 0, "its sum");
	entries = *(const uint16_t *)(conf + 34);
	e = conf + 44;
	for (unsigned i = 0; i < entries; i++) {
		cpus += !*e;
		e += *e ? 8 : 20;
	}
	guest_check_eq(e - conf, *(const uint16_t *)(conf + 4), "its length");
	guest_check_eq(cpus, 2, "processors");
}

static void irq_routing_table_is_there(void)
{
	const uint8_t *pir = find("$PIR");

	guest_check(pir, "there is a $PIR");
	if (!pir)
		return;
	guest_check_eq(sum(pir, *(const uint16_t *)(pir + 6)), 0, "its sum");
	guest_check_eq(pir[33], 1 << 3, "slot 1 first");
	guest_check_eq(pir[34], 0x61, "its INTA is PIRQ B");
}

void guest_main(void)
{
	pci_is_set_up();
	mp_table_counts();
	irq_routing_table_is_there();
}
