/* test_ioapic.c - dev/pc/ioapic.c, irqs.c: pins, messages, wires. */
#include "devtest.h"

#include "dev/pc/irqs.h"

struct fix {
	struct dt dt;
	struct pic *pic;
	struct ioapic *io;
	struct irqs *irqs;
	struct dt_line intr;
	unsigned sent;
	uint64_t addr;
	uint32_t data;
};

static void send(void *opaque, uint64_t addr, uint32_t data)
{
	struct fix *f = opaque;

	f->sent++;
	f->addr = addr;
	f->data = data;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct msi_bus bus = { send, f };

	dt_init(&f->dt);
	*state = f;
	return pic_new(&f->pic, &f->dt.env, dt_irq(&f->intr), NULL) ||
	       ioapic_new(&f->io, &f->dt.env, bus, NULL) ||
	       irqs_new(&f->irqs, &f->dt.env, f->pic, f->io, NULL);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	DEV(f->irqs)->free(DEV(f->irqs));
	DEV(f->io)->free(DEV(f->io));
	DEV(f->pic)->free(DEV(f->pic));
	dt_exit(&f->dt);
	free(f);
	return 0;
}

static uint32_t rd(struct fix *f, uint8_t reg)
{
	mem_mmio_write(f->dt.env.mem, IOAPIC_BASE, 4, reg);
	return (uint32_t)mem_mmio_read(f->dt.env.mem, IOAPIC_BASE + 0x10, 4);
}

static void wr(struct fix *f, uint8_t reg, uint32_t value)
{
	mem_mmio_write(f->dt.env.mem, IOAPIC_BASE, 4, reg);
	mem_mmio_write(f->dt.env.mem, IOAPIC_BASE + 0x10, 4, value);
}

static void entry(struct fix *f, unsigned pin, uint32_t high, uint32_t low)
{
	wr(f, (uint8_t)(0x11 + pin * 2), high);
	wr(f, (uint8_t)(0x10 + pin * 2), low);
}

static void registers(void **state)
{
	struct fix *f = *state;

	assert_int_equal(rd(f, 1), 0x00170020);
	wr(f, 0, 0xffffffff);
	assert_int_equal(rd(f, 0), 0x0f000000);
	assert_int_equal(rd(f, 2), 0x0f000000);
	assert_int_equal(rd(f, 0x10), 0x00010000); /* masked after reset */
	assert_int_equal(rd(f, 0x3f), 0);
	entry(f, 23, 0xffffffff, 0xffffffff);
	assert_int_equal(rd(f, 0x3f), 0xff000000);
	assert_int_equal(rd(f, 0x3e), 0x0001afff); /* no status, remote IRR */
	assert_int_equal(rd(f, 0x40), 0);
	assert_int_equal(mem_mmio_read(f->dt.env.mem, IOAPIC_BASE, 4), 0x40);
}

static void edge(void **state)
{
	struct fix *f = *state;

	entry(f, 4, 0x02000000, 0x34);
	ioapic_set_irq(f->io, 4, true);
	assert_int_equal(f->sent, 1);
	assert_int_equal(f->addr, 0xfee02000);
	assert_int_equal(f->data, 0x4034);
	ioapic_set_irq(f->io, 4, true);
	assert_int_equal(f->sent, 1);
	ioapic_set_irq(f->io, 4, false);
	ioapic_set_irq(f->io, 4, true);
	assert_int_equal(f->sent, 2);
}

static void masked_edge_is_lost(void **state)
{
	struct fix *f = *state;

	entry(f, 4, 0, 0x10034);
	ioapic_set_irq(f->io, 4, true);
	entry(f, 4, 0, 0x34);
	assert_int_equal(f->sent, 0);
}

static void level(void **state)
{
	struct fix *f = *state;

	entry(f, 16, 0, 0x8040 | 0x2000);
	ioapic_set_irq(f->io, 16, true);
	assert_int_equal(f->sent, 1);
	assert_int_equal(f->data, 0xc040);
	assert_int_equal(rd(f, 0x30), 0xe040); /* remote IRR */
	ioapic_set_irq(f->io, 16, false);
	ioapic_set_irq(f->io, 16, true);
	assert_int_equal(f->sent, 1); /* not before the EOI */
	ioapic_eoi(f->io, 0x41);
	assert_int_equal(f->sent, 1);
	ioapic_eoi(f->io, 0x40);
	assert_int_equal(f->sent, 2); /* still up */
	ioapic_set_irq(f->io, 16, false);
	ioapic_eoi(f->io, 0x40);
	assert_int_equal(f->sent, 2);
	assert_int_equal(rd(f, 0x30), 0xa040);
}

static void masked_level_waits(void **state)
{
	struct fix *f = *state;

	entry(f, 16, 0, 0x18040);
	ioapic_set_irq(f->io, 16, true);
	assert_int_equal(f->sent, 0);
	entry(f, 16, 0, 0x8040);
	assert_int_equal(f->sent, 1);
}

static void eoi_register(void **state)
{
	struct fix *f = *state;

	entry(f, 16, 0, 0x8040);
	ioapic_set_irq(f->io, 16, true);
	mem_mmio_write(f->dt.env.mem, IOAPIC_BASE + 0x40, 4, 0x40);
	assert_int_equal(f->sent, 2);
}

/* How kernels clear a stuck remote IRR on controllers without EOI. */
static void edge_and_back_clears_remote_irr(void **state)
{
	struct fix *f = *state;

	entry(f, 16, 0, 0x8040);
	ioapic_set_irq(f->io, 16, true);
	ioapic_set_irq(f->io, 16, false);
	entry(f, 16, 0, 0x10040);
	entry(f, 16, 0, 0x8040);
	assert_int_equal(rd(f, 0x30), 0x8040);
	ioapic_set_irq(f->io, 16, true);
	assert_int_equal(f->sent, 2);
}

static void modes_become_messages(void **state)
{
	struct fix *f = *state;

	entry(f, 1, 0xff000000, 0x0931); /* lowest priority, logical */
	ioapic_set_irq(f->io, 1, true);
	assert_int_equal(f->addr, 0xfeeff00c);
	assert_int_equal(f->data, 0x4131);
	entry(f, 2, 0, 0x8700); /* ExtINT: an edge whatever it says */
	ioapic_set_irq(f->io, 2, true);
	assert_int_equal(rd(f, 0x14) & 0x4000, 0);
}

static void isa_wires(void **state)
{
	struct fix *f = *state;
	struct irq irq0 = irqs_isa(f->irqs, 0), irq4 = irqs_isa(f->irqs, 4);

	dt_out(&f->dt, 0x20, 0x11);
	dt_out(&f->dt, 0x21, 0x20);
	dt_out(&f->dt, 0x21, 0x04);
	dt_out(&f->dt, 0x21, 0x01);
	entry(f, 2, 0, 0x30);
	entry(f, 4, 0, 0x34);
	irq_set(&irq0, true);
	assert_int_equal(f->data & 0xff, 0x30); /* the timer is pin 2 */
	assert_int_equal(pic_ack(f->pic), 0x20);
	dt_out(&f->dt, 0x20, 0x20);
	irq_set(&irq4, true);
	assert_int_equal(f->data & 0xff, 0x34);
	assert_int_equal(pic_ack(f->pic), 0x24);
	assert_null(irqs_isa(f->irqs, 2).set);
	assert_null(irqs_isa(f->irqs, 16).set);
	assert_null(irqs_pirq(f->irqs, 8).set);
}

static void pirqs_share_an_8259_input(void **state)
{
	struct fix *f = *state;
	struct irq a = irqs_pirq(f->irqs, 0), b = irqs_pirq(f->irqs, 1);

	dt_out(&f->dt, 0x20, 0x11);
	dt_out(&f->dt, 0x21, 0x20);
	dt_out(&f->dt, 0x21, 0x04);
	dt_out(&f->dt, 0x21, 0x01);
	dt_out(&f->dt, 0x4d0, 0x20);
	entry(f, 16, 0, 0x8040);
	irq_set(&a, true);
	assert_int_equal(f->sent, 1);
	assert_false(f->intr.level); /* not routed */
	irqs_route_pirq(f->irqs, 0, 5);
	assert_true(f->intr.level);
	irqs_route_pirq(f->irqs, 1, 5);
	irq_set(&b, true);
	irq_set(&a, false);
	assert_true(f->intr.level); /* b holds it */
	irq_set(&b, false);
	assert_false(f->intr.level);
	irq_set(&a, true);
	irqs_route_pirq(f->irqs, 0, 0);
	assert_false(f->intr.level);
}

/* Firmware's MP table names the ISA pin to which it routed a PIRQ. */
static void a_routed_pirq_is_at_the_isa_pin_too(void **state)
{
	struct fix *f = *state;
	struct irq a = irqs_pirq(f->irqs, 0);

	entry(f, 10, 0, 0x8041);
	irq_set(&a, true);
	assert_int_equal(f->sent, 0);
	irqs_route_pirq(f->irqs, 0, 10);
	assert_int_equal(f->sent, 1);
	assert_int_equal(f->data & 0xff, 0x41);
	irqs_route_pirq(f->irqs, 0, 0);
}

static void state_survives(void **state)
{
	struct fix *f = *state;
	struct dt other = f->dt;
	struct msi_bus bus = { send, f };
	struct ioapic *io;

	entry(f, 16, 0x01000000, 0x8040);
	ioapic_set_irq(f->io, 16, true);
	ioapic_set_irq(f->io, 3, true);
	assert_int_equal(mem_new(&other.env.mem, 1 << 20, NULL), 0);
	assert_int_equal(ioapic_new(&io, &other.env, bus, NULL), 0);
	dt_copy_state(DEV(f->io), DEV(io));
	f->sent = 0;
	ioapic_eoi(io, 0x40);
	assert_int_equal(f->sent, 1); /* remote IRR and the line came along */
	dt_copy_state(DEV(f->irqs), DEV(f->irqs));
	DEV(io)->free(DEV(io));
	mem_free(other.env.mem);
}

static void random_accesses(void **state)
{
	struct fix *f = *state;
	uint64_t seed = 11;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = dt_random(&seed);
		uint64_t at = IOAPIC_BASE + (r >> 8 & 0xfff);

		switch (r & 7) {
		case 0:
			mem_mmio_write(f->dt.env.mem, at, 1u << (r >> 3 & 3),
				       dt_random(&seed));
			break;
		case 1:
			mem_mmio_read(f->dt.env.mem, at, 1u << (r >> 3 & 3));
			break;
		case 2:
		case 3:
			wr(f, (uint8_t)(r >> 8 & 0x3f), (uint32_t)(r >> 16));
			break;
		case 4:
			rd(f, (uint8_t)(r >> 8));
			break;
		case 5:
			ioapic_eoi(f->io, (uint8_t)(r >> 8));
			break;
		default:
			ioapic_set_irq(f->io, r >> 8 & 31, r >> 16 & 1);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(registers),
		T(edge),
		T(masked_edge_is_lost),
		T(level),
		T(masked_level_waits),
		T(eoi_register),
		T(edge_and_back_clears_remote_irr),
		T(modes_become_messages),
		T(isa_wires),
		T(pirqs_share_an_8259_input),
		T(a_routed_pirq_is_at_the_isa_pin_too),
		T(state_survives),
		T(random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
