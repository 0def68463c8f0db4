/* test_pci.c - dev/pci: configuration space, BARs, INTx, reset, routing. */
#include "devtest.h"

#include <errno.h>

#include "dev/pci/lpc.h"

struct fix {
	struct dt dt;
	struct pic *pic;
	struct ioapic *io;
	struct irqs *irqs;
	struct pci_host *host;
	struct lpc *lpc;
	struct dt_line intr, pirq[PCI_PIRQS];
	struct dt_hook reset;
	struct pci_dev card;
	uint64_t regs[4];
	unsigned reads, last_size;
};

static uint64_t card_read(void *dev, uint64_t offset, unsigned size)
{
	struct fix *f = dev;
	uint64_t v;

	f->reads++;
	f->last_size = size;
	memcpy(&v, (uint8_t *)f->regs + (offset & 15), 8);
	return v;
}

static void card_write(void *dev, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct fix *f = dev;

	f->last_size = size;
	memcpy((uint8_t *)f->regs + (offset & 15), &value, size);
}

static const struct io_ops card_ops = {
	.read = card_read,
	.write = card_write,
	.max_size = 4,
};

static void make_card(struct fix *f)
{
	static const struct pci_id id = {
		.vendor = 0x1234,
		.device = 0x5678,
		.class_code = 0x020000,
		.subsys_vendor = 0xaaaa,
		.subsys = 0xbbbb,
		.int_pin = 1,
	};
	struct pci_dev *pd = &f->card;

	pci_init(pd, "card", &id);
	assert_int_equal(
		pci_add_bar(pd, 0, PCI_BAR_MEM32, false, 0x1000, &card_ops, f),
		0);
	assert_int_equal(
		pci_add_bar(pd, 1, PCI_BAR_IO, false, 0x20, &card_ops, f), 0);
	assert_int_equal(
		pci_add_bar(pd, 2, PCI_BAR_MEM64, true, 0x4000, &card_ops, f),
		0);
	assert_int_equal(
		pci_add_bar(pd, 3, PCI_BAR_MEM32, false, 0x1000, &card_ops, f),
		-EINVAL);
	assert_int_equal(
		pci_add_bar(pd, 4, PCI_BAR_MEM32, false, 0x1800, &card_ops, f),
		-EINVAL);
	assert_int_equal(pci_add_cap(pd, 0x09, 16), 0x40);
	assert_int_equal(pci_add_cap(pd, 0x11, 12), 0x50);
	assert_int_equal(pci_attach(f->host, pd, 3, 0, NULL), 0);
	assert_int_equal(pci_attach(f->host, pd, 3, 0, NULL), -EEXIST);
	assert_int_equal(pci_attach(f->host, pd, 32, 0, NULL), -EINVAL);
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct msi_bus none = { 0 };
	struct pci_host_config config = { .reset = dt_dev_hook(&f->reset) };

	dt_init(&f->dt);
	*state = f;
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		config.pirq[i] = dt_irq(&f->pirq[i]);
	if (pic_new(&f->pic, &f->dt.env, dt_irq(&f->intr), NULL) ||
	    ioapic_new(&f->io, &f->dt.env, none, NULL) ||
	    irqs_new(&f->irqs, &f->dt.env, f->pic, f->io, NULL) ||
	    pci_host_new(&f->host, &f->dt.env, &config, NULL) ||
	    lpc_new(&f->lpc, &f->dt.env, f->host, f->irqs, NULL))
		return -1;
	make_card(f);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->lpc)->free(DEV(f->lpc));
	DEV(f->host)->free(DEV(f->host));
	DEV(f->irqs)->free(DEV(f->irqs));
	DEV(f->io)->free(DEV(f->io));
	DEV(f->pic)->free(DEV(f->pic));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static void address(struct fix *f, unsigned bus, unsigned slot, unsigned fn,
		    unsigned reg)
{
	mem_port_write(f->dt.env.mem, 0xcf8, 4,
		       1u << 31 | bus << 16 | slot << 11 | fn << 8 |
			       (reg & 0xfc));
}

static uint32_t rd(struct fix *f, unsigned slot, unsigned reg, unsigned size)
{
	address(f, 0, slot, 0, reg);
	return mem_port_read(f->dt.env.mem, 0xcfc + (reg & 3), size);
}

static void wr(struct fix *f, unsigned slot, unsigned reg, unsigned size,
	       uint32_t value)
{
	address(f, 0, slot, 0, reg);
	mem_port_write(f->dt.env.mem, 0xcfc + (reg & 3), size, value);
}

static void config_ports(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	assert_int_equal(rd(f, 0, 0, 4), 0x29c08086);
	assert_int_equal(rd(f, 31, 0, 4), 0x29188086);
	assert_int_equal(rd(f, 31, 8, 4) >> 8, 0x060100);
	assert_int_equal(rd(f, 3, 2, 2), 0x5678);
	assert_int_equal(rd(f, 3, 1, 1), 0x12);
	assert_int_equal(rd(f, 3, 0x2c, 4), 0xbbbbaaaa);
	assert_int_equal(rd(f, 4, 0, 4), 0xffffffff); /* empty */
	address(f, 1, 0, 0, 0);
	assert_int_equal(mem_port_read(m, 0xcfc, 4), 0xffffffff);
	address(f, 0, 3, 0, 0);
	assert_int_equal(mem_port_read(m, 0xcf8, 4), 0x80001800);
	assert_int_equal(mem_port_read(m, 0xcf8, 2), 0xffff);
	mem_port_write(m, 0xcf8, 2, 0); /* only a dword counts */
	assert_int_equal(mem_port_read(m, 0xcf8, 4), 0x80001800);
	mem_port_write(m, 0xcf8, 4, 0x1800); /* not enabled */
	assert_int_equal(mem_port_read(m, 0xcfc, 4), 0xffffffff);
}

static void ecam(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE + (3 << 15), 4),
			 0x56781234);
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE + (3 << 15) + 2, 2),
			 0x5678);
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE + (3 << 15) + 0x100, 4),
			 0);
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE + (4 << 15), 4),
			 0xffffffff);
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE + (1 << 20), 4),
			 0xffffffff);
	mem_mmio_write(m, PCI_ECAM_BASE + (3 << 15) + 0x3c, 1, 11);
	assert_int_equal(rd(f, 3, 0x3c, 1), 11);
	assert_int_equal(rd(f, 0, 0x60, 4), PCI_ECAM_BASE | 1);
}

static void ecam_moves(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	wr(f, 0, 0x64, 4, 0);
	wr(f, 0, 0x60, 4, 0); /* off */
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE, 4), 0xffffffff);
	wr(f, 0, 0x60, 4, 0xb0000001);
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE, 4), 0xffffffff);
	assert_int_equal(mem_mmio_read(m, 0xb0000000 + (3 << 15), 4),
			 0x56781234);
	wr(f, 0, 0x60, 4, 0xb0000005); /* 64 MiB */
	assert_int_equal(mem_mmio_read(m, 0xb0000000, 4), 0x29c08086);
	wr(f, 0, 0x60, 4, 0x00000001); /* onto RAM: RAM wins */
	assert_int_equal(mem_mmio_read(m, 0xb0000000, 4), 0xffffffff);
	DEV(f->host)->reset(DEV(f->host));
	assert_int_equal(mem_mmio_read(m, PCI_ECAM_BASE, 4), 0x29c08086);
}

static void read_only_stays(void **state)
{
	struct fix *f = *state;

	for (unsigned reg = 0; reg < 256; reg += 4)
		wr(f, 3, reg, 4, 0xffffffff);
	assert_int_equal(rd(f, 3, 0, 4), 0x56781234);
	assert_int_equal(rd(f, 3, 4, 2), 0x0547);
	assert_int_equal(rd(f, 3, 6, 2), 0x0010); /* capabilities */
	assert_int_equal(rd(f, 3, 8, 4), 0x02000000);
	assert_int_equal(rd(f, 3, 0x34, 1), 0x50);
	assert_int_equal(rd(f, 3, 0x50, 2), 0x4011);
	assert_int_equal(rd(f, 3, 0x40, 2), 0x0009);
}

static void bar_sizing(void **state)
{
	struct fix *f = *state;

	for (unsigned n = 0; n < 6; n++)
		wr(f, 3, 0x10 + n * 4, 4, 0xffffffff);
	assert_int_equal(rd(f, 3, 0x10, 4), 0xfffff000);
	assert_int_equal(rd(f, 3, 0x14, 4), 0xffffffe1);
	assert_int_equal(rd(f, 3, 0x18, 4), 0xffffc00c);
	assert_int_equal(rd(f, 3, 0x1c, 4), 0xffffffff);
	assert_int_equal(rd(f, 3, 0x20, 4), 0);
	assert_int_equal(rd(f, 3, 0x24, 4), 0);
	wr(f, 3, 4, 2, 7);
	assert_int_equal(mem_mmio_read(f->dt.env.mem, 0xfffff000, 4),
			 0xffffffff);
}

static void bars_answer_where_they_are_put(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;

	wr(f, 3, 0x10, 4, 0xc1234000);
	wr(f, 3, 0x14, 4, 0x2000);
	wr(f, 3, 0x18, 4, 0x00008000);
	wr(f, 3, 0x1c, 4, PCI_MMIO64_BASE >> 32);
	assert_int_equal(mem_mmio_read(m, 0xc1234000, 4), 0xffffffff);
	wr(f, 3, 4, 2, 3);
	mem_mmio_write(m, 0xc1234004, 4, 0x11223344);
	assert_int_equal(f->last_size, 4);
	assert_int_equal(mem_port_read(m, 0x2004, 4), 0x11223344);
	assert_int_equal(mem_mmio_read(m, PCI_MMIO64_BASE + 0x8004, 2), 0x3344);
	/* 8 bytes become two pieces of 4. */
	mem_mmio_write(m, 0xc1234008, 8, 0x8877665544332211);
	assert_int_equal(f->last_size, 4);
	assert_int_equal(mem_mmio_read(m, 0xc1234008, 8), 0x8877665544332211);
	assert_int_equal(mem_mmio_read(m, 0xc1235000, 4), 0xffffffff);
	wr(f, 3, 0x10, 4, 0xd0000000); /* moved */
	assert_int_equal(mem_mmio_read(m, 0xc1234004, 4), 0xffffffff);
	assert_int_equal(mem_mmio_read(m, 0xd0000004, 4), 0x11223344);
	wr(f, 3, 4, 2, 0);
	assert_int_equal(mem_mmio_read(m, 0xd0000004, 4), 0xffffffff);
	assert_int_equal(mem_port_read(m, 0x2004, 4), 0xffffffff);
}

static void a_bar_cannot_hide_ram(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;
	uint32_t v = 0x01020304;

	assert_int_equal(mem_write(m, 0x1000, &v, 4), 0);
	wr(f, 3, 4, 2, 2);
	wr(f, 3, 0x10, 4, 0x1000);
	assert_int_equal(mem_read(m, 0x1000, &v, 4), 0);
	assert_int_equal(v, 0x01020304);
	wr(f, 3, 0x10, 4, IOAPIC_BASE);
	assert_int_equal(mem_mmio_read(m, IOAPIC_BASE + 0x10, 4), 0);
}

static void intx(void **state)
{
	struct fix *f = *state;

	pci_set_intx(&f->card, true);
	assert_true(f->pirq[3].level); /* slot 3, INTA */
	assert_int_equal(rd(f, 3, 6, 2), 0x0018);
	wr(f, 3, 4, 2, PCI_COMMAND_INTX_OFF);
	assert_false(f->pirq[3].level);
	assert_int_equal(rd(f, 3, 6, 2), 0x0018); /* still pending */
	wr(f, 3, 4, 2, 0);
	assert_true(f->pirq[3].level);
	DEV(f->host)->reset(DEV(f->host));
	assert_false(f->pirq[3].level);
	assert_int_equal(pci_pirq(24, 1), 0);
	assert_int_equal(pci_pirq(25, 1), 0); /* the chipset's own */
	assert_int_equal(pci_pirq(31, 2), 1);
	assert_int_equal(pci_pirq(2, 4), 1);
}

static void reset_control(void **state)
{
	struct fix *f = *state;

	dt_out(&f->dt, 0xcf9, 0x02);
	assert_int_equal(dt_in(&f->dt, 0xcf9), 0x02);
	assert_int_equal(f->reset.calls, 0);
	dt_out(&f->dt, 0xcf9, 0x06);
	assert_int_equal(f->reset.calls, 1);
	dt_out(&f->dt, 0xcf9, 0x0e);
	assert_int_equal(f->reset.calls, 1);
	DEV(f->host)->reset(DEV(f->host));
	dt_out(&f->dt, 0xcf9, 0x06);
	assert_int_equal(f->reset.calls, 2);
}

static void lpc_routes_pirqs(void **state)
{
	struct fix *f = *state;
	struct irq a = irqs_pirq(f->irqs, 0);

	dt_out(&f->dt, 0x20, 0x11);
	dt_out(&f->dt, 0x21, 0x20);
	dt_out(&f->dt, 0x21, 0x04);
	dt_out(&f->dt, 0x21, 0x01);
	assert_int_equal(rd(f, 31, 0x60, 4), 0x80808080);
	assert_int_equal(rd(f, 31, 0x40, 4), 0x601);
	irq_set(&a, true);
	assert_false(f->intr.level);
	wr(f, 31, 0x60, 1, 0x05);
	assert_true(f->intr.level);
	wr(f, 31, 0x60, 1, 0x85);
	assert_false(f->intr.level);
	wr(f, 31, 0x60, 1, 0x0d); /* IRQ 13 is reserved */
	assert_false(f->intr.level);
	wr(f, 31, 0x60, 1, 0x05);
	DEV(f->host)->reset(DEV(f->host));
	assert_false(f->intr.level);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;
	char *buf = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&buf, &len);
	struct walk *w = walk_save_to(file);

	wr(f, 3, 0x10, 4, 0xc1234000);
	wr(f, 3, 4, 2, 2);
	pci_set_intx(&f->card, true);
	DEV(f->host)->walk(DEV(f->host), w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(file);
	DEV(f->host)->reset(DEV(f->host));
	assert_int_equal(mem_mmio_read(m, 0xc1234000, 4), 0xffffffff);
	w = walk_restore_from(buf, len);
	DEV(f->host)->walk(DEV(f->host), w);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	assert_int_equal(mem_mmio_read(m, 0xc1234000, 4), 0);
	assert_true(f->pirq[3].level);
	free(buf);
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	struct mem *m = f->dt.env.mem;
	uint64_t seed = 23;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed);
		unsigned size = 1u << (r >> 3) % 3;
		uint64_t at = PCI_ECAM_BASE + (r >> 8 & 0xfffff);

		switch (r & 7) {
		case 0:
		case 1:
			mem_port_write(m, 0xcf8 + (r >> 8 & 7), size,
				       (uint32_t)(r >> 32));
			break;
		case 2:
			mem_port_read(m, 0xcf8 + (r >> 8 & 7), size);
			break;
		case 3:
			mem_mmio_write(m, at, size, r >> 24);
			break;
		case 4:
			mem_mmio_read(m, at, size);
			break;
		case 5:
			mem_mmio_write(m, PCI_MMIO_BASE + (r >> 8 & 0x3fffffff),
				       size, r);
			break;
		case 6:
			mem_port_read(m, (uint16_t)(r >> 8), size);
			break;
		default:
			pci_set_intx(&f->card, r >> 8 & 1);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(config_ports),
		T(ecam),
		T(ecam_moves),
		T(read_only_stays),
		T(bar_sizing),
		T(bars_answer_where_they_are_put),
		T(a_bar_cannot_hide_ram),
		T(intx),
		T(reset_control),
		T(lpc_routes_pirqs),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
