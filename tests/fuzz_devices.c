/*
 * fuzz_devices.c - every device restored from a damaged saved state, then
 * used: whatever the stream says, nothing may crash, hang or spin.
 *
 * The first byte of the input seeds the accesses that follow.
 */
#include "devtest.h"

#include "dev/pc/acpi_pm.h"
#include "dev/pc/fw_cfg.h"
#include "dev/pc/i8042.h"
#include "dev/pc/pit.h"
#include "dev/pc/rtc.h"
#include "dev/pc/uart.h"
#include "dev/pci/lpc.h"
#include "fuzz.h"

#define DEVICES    11
#define BOARD_UART 4

struct board {
	struct dt dt;
	struct dev *devs[DEVICES];
	struct pic *pic;
	struct ioapic *io;
	struct irqs *irqs;
	struct pci_host *pci;
	struct dt_line intr;
	struct dt_hook hook;
};

static void board_fail(int rc)
{
	if (rc)
		abort();
}

static void board_small(struct board *b)
{
	struct dev_env *env = &b->dt.env;
	struct dev_hook hook = dt_dev_hook(&b->hook);
	struct uart_config uart = { .base = 0x3f8,
				    .in_fd = -1,
				    .out_fd = -1,
				    .irq = irqs_isa(b->irqs, 4) };
	struct rtc_config rtc = { .irq = irqs_isa(b->irqs, 8),
				  .ram_low = 4 << 20 };
	struct i8042_config kbd = { .kbd_irq = irqs_isa(b->irqs, 1),
				    .aux_irq = irqs_isa(b->irqs, 12),
				    .has_aux = true,
				    .reset = hook };

	board_fail(pit_new((struct pit **)&b->devs[3], env,
			   irqs_isa(b->irqs, 0), NULL));
	board_fail(uart_new((struct uart **)&b->devs[4], env, &uart, NULL));
	board_fail(rtc_new((struct rtc **)&b->devs[5], env, &rtc, NULL));
	board_fail(port92_new(&kbd.port92, env, hook, NULL));
	b->devs[6] = DEV(kbd.port92);
	board_fail(i8042_new((struct i8042 **)&b->devs[7], env, &kbd, NULL));
	board_fail(acpi_pm_new((struct acpi_pm **)&b->devs[8], env,
			       irqs_isa(b->irqs, 9), hook, NULL));
	board_fail(fw_cfg_new((struct fw_cfg **)&b->devs[9], env, NULL));
}

static void board_new(struct board *b)
{
	struct dev_env *env = &b->dt.env;
	struct msi_bus none = { 0 };
	struct pci_host_config pci = { .reset = dt_dev_hook(&b->hook) };
	struct lpc *lpc;

	memset(b, 0, sizeof(*b));
	dt_init(&b->dt);
	board_fail(pic_new(&b->pic, env, dt_irq(&b->intr), NULL));
	board_fail(ioapic_new(&b->io, env, none, NULL));
	board_fail(irqs_new(&b->irqs, env, b->pic, b->io, NULL));
	b->devs[0] = DEV(b->pic);
	b->devs[1] = DEV(b->io);
	b->devs[2] = DEV(b->irqs);
	board_small(b);
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci.pirq[i] = irqs_pirq(b->irqs, i);
	board_fail(pci_host_new(&b->pci, env, &pci, NULL));
	board_fail(lpc_new(&lpc, env, b->pci, b->irqs, NULL));
	b->devs[10] = DEV(b->pci);
	/* lpc has no state of its own; it is freed with the process. */
}

static uint16_t board_port(uint64_t r)
{
	static const struct {
		uint16_t base, count;
	} ranges[] = {
		{ 0x20, 2 },   { 0x40, 4 },     { 0x60, 5 },  { 0x70, 4 },
		{ 0x92, 1 },   { 0xa0, 2 },     { 0x3f8, 8 }, { 0x4d0, 2 },
		{ 0x510, 12 }, { 0x600, 0x30 }, { 0xcf8, 8 },
	};
	unsigned n = r % (sizeof(ranges) / sizeof(ranges[0]));

	return (uint16_t)(ranges[n].base + (r >> 16) % ranges[n].count);
}

static void board_use(struct board *b, uint64_t seed, unsigned n)
{
	struct mem *m = b->dt.env.mem;

	for (unsigned i = 0; i < n; i++) {
		uint64_t r = dt_random(&seed), v = dt_random(&seed);
		unsigned size = 1u << (r >> 60) % 3;

		if (r >> 56 & 1)
			mem_port_write(m, board_port(r), size, (uint32_t)v);
		else
			mem_port_read(m, board_port(r), size);
		if ((r >> 48 & 15) == 0)
			mem_mmio_write(m, IOAPIC_BASE + (v >> 32 & 0x50), 4,
				       (uint32_t)v & 0x3f);
		if ((r >> 52 & 7) == 0)
			dt_advance(&b->dt, v >> 40);
		if (b->intr.level)
			pic_ack(b->pic);
	}
	dt_loop(&b->dt);
}

static struct board *board_get(void)
{
	static struct board board;

	if (!board.pic)
		board_new(&board);
	return &board;
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	struct board *b = board_get();
	FILE *f = fmemopen(buf + 1, cap - 1, "w");
	struct walk *w;
	size_t len;

	if (i >= 8 || !f)
		return 0;
	board_use(b, i, i * 100);
	w = walk_save_to(f);
	/* The serial port's buffers would drown the rest: it is seed 7. */
	for (unsigned n = 0; n < DEVICES; n++)
		if ((n == BOARD_UART) == (i == 7))
			b->devs[n]->walk(b->devs[n], w);
	if (walk_result(w, NULL))
		abort();
	walk_free(w);
	fflush(f);
	len = (size_t)ftell(f);
	fclose(f);
	buf[0] = (uint8_t)i;
	return len + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct board *b = board_get();
	struct walk *w;

	if (len < 1)
		return 0;
	for (unsigned n = 0; n < DEVICES; n++)
		if (b->devs[n]->reset)
			b->devs[n]->reset(b->devs[n]);
	w = walk_restore_from(data + 1, len - 1);
	for (unsigned n = 0; n < DEVICES; n++)
		b->devs[n]->walk(b->devs[n], w);
	walk_free(w);
	board_use(b, data[0], 100);
	return 0;
}
