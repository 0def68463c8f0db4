/*
 * fuzz_pci.c - a guest that writes anything into PCI configuration space, and
 * uses what it finds: BARs that move, PAM, ECAM, VGA, flash, MSI-X.
 *
 * The input is a row of steps of 12 bytes: what, where, value.  After each,
 * memory must still be what mem.h promises.
 */
#include "devtest.h"

#include "dev/pc/pflash.h"
#include "dev/pci/lpc.h"
#include "dev/vga/vga.h"
#include "dev/virtio/rng.h"
#include "fuzz.h"

#define STEP     12
#define STEPS    256
#define FLASH    0xffc00000u
#define FLASH_SZ 0x20000u

enum {
	WHAT_CONFIG,
	WHAT_READ,
	WHAT_ECAM,
	WHAT_PORT,
	WHAT_MMIO,
	WHAT_BAR,
	WHAT_RESET,
	WHAT_DRAW,
	WHATS
};

struct board {
	struct dt dt;
	struct pic *pic;
	struct ioapic *io;
	struct irqs *irqs;
	struct dt_line intr;
	struct dt_hook hook;
	struct pci_host *pci;
	struct lpc *lpc;
	struct vga *vga;
	struct pflash *flash;
	struct virtio_pci *rng;
	struct vga_frame frame;
};

static void board_fail(int rc)
{
	if (rc)
		abort();
}

/* What machine/firmware.c does, in short. */
static void board_pam(void *opaque, const uint8_t pam[PCI_PAMS])
{
	struct board *b = opaque;
	struct mem *m = b->dt.env.mem;

	for (unsigned i = 1; i < PCI_PAMS; i++) {
		uint64_t gpa = 0xc0000 + (i - 1) * 0x8000;

		mem_shadow(m, gpa, 0x4000, NULL, 0,
			   (enum mem_how)(pam[i] & 1 ? pam[i] & 3 : 0));
		mem_shadow(m, gpa + 0x4000, 0x4000,
			   pam[i] & 0x20 ? pflash_window(b->flash) : NULL, 0,
			   MEM_ROM);
	}
}

static void board_interrupts(struct board *b)
{
	struct dev_env *env = &b->dt.env;
	struct msi_bus none = { 0 };

	board_fail(pic_new(&b->pic, env, dt_irq(&b->intr), NULL));
	board_fail(ioapic_new(&b->io, env, none, NULL));
	board_fail(irqs_new(&b->irqs, env, b->pic, b->io, NULL));
}

static void board_new(struct board *b)
{
	static uint8_t flash[FLASH_SZ];
	struct pflash_config rom = {
		.base = FLASH, .size = FLASH_SZ, .fd = -1, .name = "flash"
	};
	struct pci_host_config pci = { .reset = dt_dev_hook(&b->hook),
				       .pam = board_pam,
				       .pam_opaque = b };
	struct virtio_dev *vd;

	dt_init(&b->dt);
	board_interrupts(b);
	board_fail(pflash_new(&b->flash, &b->dt.env, &rom, flash, NULL));
	for (unsigned i = 0; i < PCI_PIRQS; i++)
		pci.pirq[i] = irqs_pirq(b->irqs, i);
	board_fail(pci_host_new(&b->pci, &b->dt.env, &pci, NULL));
	board_fail(lpc_new(&b->lpc, &b->dt.env, b->pci, b->irqs, NULL));
	board_fail(vga_new(&b->vga, &b->dt.env, b->pci, 1, NULL));
	board_fail(virtio_rng_new(&vd, &b->dt.env, NULL));
	board_fail(virtio_pci_new(&b->rng, b->pci, 2, vd, NULL));
}

static struct board *board_get(void)
{
	static struct board *b;

	if (!b) {
		b = calloc(1, sizeof(*b));
		board_new(b);
	}
	return b;
}

static void board_reset(struct board *b)
{
	DEV(b->flash)->reset(DEV(b->flash));
	DEV(b->pci)->reset(DEV(b->pci));
	DEV(b->vga)->reset(DEV(b->vga));
	DEV(b->rng)->reset(DEV(b->rng));
}

/* --- What must hold ------------------------------------------------------- */

static void board_check(struct board *b)
{
	struct mem *m = b->dt.env.mem;
	struct mem_slot s[MEM_SLOTS_MAX];
	unsigned n = mem_slots(m, s);
	uint64_t end = 0;

	if (!mem_host(m, 0, 0xa0000) || !mem_host(m, 0x100000, 0x100000))
		abort(); /* nothing hides RAM */
	if (mem_host_read(m, 0xa0000, 1) || mem_host_read(m, 0xfec00000, 1) ||
	    mem_host_read(m, 0xfee00000, 1))
		abort(); /* nor the board */
	for (unsigned i = 0; i < n; i++) {
		if (s[i].gpa < end || !s[i].size ||
		    mem_host_read(m, s[i].gpa, s[i].size) != s[i].host)
			abort();
		end = s[i].gpa + s[i].size;
	}
}

/* --- Steps ---------------------------------------------------------------- */

static uint32_t step_config(struct board *b, bool write, uint32_t where,
			    unsigned size, uint32_t value)
{
	static const uint8_t slots[] = { 0, 1, 2, 31 };
	struct mem *m = b->dt.env.mem;
	unsigned slot = slots[where >> 8 & 3];
	uint16_t port = 0xcfc + (where & 3);

	mem_port_write(m, 0xcf8, 4, 0x80000000u | slot << 11 | (where & 0xfc));
	if (!write)
		return mem_port_read(m, port, size);
	mem_port_write(m, port, size, value);
	return 0;
}

static uint64_t step_address(uint32_t where)
{
	static const uint32_t bases[] = { 0xa0000,    0xc0000,    0xe0000000,
					  0xd0000000, 0xfeb00000, FLASH,
					  0xb0000000, 0xfffffff0 };

	return (uint64_t)bases[where & 7] + (where >> 3 & 0x1fffff);
}

static uint16_t step_port(uint32_t where)
{
	static const uint16_t bases[] = { 0x3b0, 0x3c0, 0x3d0,  0x1ce,
					  0xcf8, 0xd00, 0xc000, 0x3c8 };

	return (uint16_t)(bases[where & 7] + (where >> 3 & 0xf));
}

/* The guest places a BAR and turns it on; the value decides where. */
static void step_bar(struct board *b, uint32_t where, uint32_t value)
{
	step_config(b, true, (where & 0x300) | (0x10 + (where & 0x1c)), 4,
		    value);
	step_config(b, true, (where & 0x300) | 4, 2, where >> 16 & 7);
}

static void step_mmio(struct board *b, uint32_t where, unsigned size,
		      uint64_t value)
{
	struct mem *m = b->dt.env.mem;

	if (value & 1)
		mem_mmio_write(m, step_address(where), size, value);
	else
		mem_mmio_read(m, step_address(where), size);
}

static void step_take(struct board *b, const uint8_t *p)
{
	unsigned size = 1u << (p[1] & 3), port_size = size > 4 ? 4 : size;
	struct mem *m = b->dt.env.mem;
	uint32_t where, value;

	memcpy(&where, p + 4, 4);
	memcpy(&value, p + 8, 4);
	switch (p[0] % WHATS) {
	case WHAT_CONFIG:
		step_config(b, true, where, port_size, value);
		break;
	case WHAT_READ:
		step_config(b, false, where, port_size, 0);
		break;
	case WHAT_ECAM:
		mem_mmio_write(m, 0xe0000000 + (where & 0xfffff), size, value);
		break;
	case WHAT_PORT:
		mem_port_write(m, step_port(where), port_size, value);
		mem_port_read(m, step_port(where), port_size);
		break;
	case WHAT_MMIO:
		step_mmio(b, where, size, value);
		break;
	case WHAT_BAR:
		step_bar(b, where, value);
		break;
	case WHAT_RESET:
		if (value % 16 == 0)
			board_reset(b);
		break;
	case WHAT_DRAW:
		if (value % 64 == 0)
			board_fail(vga_take_frame(b->vga, &b->frame));
		break;
	}
}

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	uint64_t seed = i;

	if (i >= 8)
		return 0;
	for (size_t at = 0; at + STEP <= cap && at < 64 * STEP; at += STEP) {
		uint64_t a = dt_random(&seed), b = dt_random(&seed);

		memcpy(buf + at, &a, 4);
		memcpy(buf + at + 4, &b, 8);
	}
	return 64 * STEP;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct board *b = board_get();

	board_reset(b);
	for (size_t at = 0; at + STEP <= len && at < STEPS * STEP; at += STEP) {
		step_take(b, data + at);
		board_check(b);
	}
	return 0;
}
