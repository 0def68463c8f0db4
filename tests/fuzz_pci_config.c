/*
 * fuzz_pci_config.c - a guest that writes what it likes to configuration
 * space, to the BARs of a virtio device wherever they have gone, and to the
 * rings: nothing may crash or hang, and the state can always be saved and
 * restored.
 *
 * Input: steps of 8 bytes: what, size, where (16 bits), value.
 */
#include "fuzz.h"

#include "vpci.h"

#define STEPS_MAX 300

struct step {
	uint8_t what, size;
	uint16_t where;
	uint32_t value;
};

/* Registers that lead somewhere are met more often. */
static unsigned fuzz_reg(struct vpci *v, const struct step *s)
{
	static const uint8_t often[] = { PCI_COMMAND, PCI_BAR0, PCI_BAR0 + 4,
					 0x40,        0x50,     0x60,
					 0x70,        0x80,     0x90 };

	if (s->where & 0x8000)
		return often[s->where % sizeof(often)];
	return s->where & 0xff;
}

static void fuzz_config(struct vpci *v, const struct step *s, unsigned slot)
{
	static const uint8_t sizes[] = { 1, 2, 4 };
	unsigned size = sizes[s->size % 3];
	unsigned reg = fuzz_reg(v, s) & ~(size - 1);

	vpci_config_put(v, slot, reg, size, s->value);
	vpci_config_get(v, slot, reg, size);
}

static void fuzz_bar(struct vpci *v, const struct step *s, uint32_t base)
{
	unsigned size = 1u << (s->size & 3);

	vpci_put(v, base + (s->where & 0x3fff), size,
		 s->value * 0x100000001ull);
	vpci_get(v, base + (s->where & 0x3fff), size);
}

/* A common register, aligned, with small values: gets on in the order. */
static void fuzz_common(struct vpci *v, const struct step *s)
{
	static const struct {
		uint8_t reg, size;
	} regs[] = { { 0x08, 4 }, { 0x0c, 4 }, { 0x14, 1 }, { 0x14, 1 },
		     { 0x16, 2 }, { 0x18, 2 }, { 0x1a, 2 }, { 0x10, 2 },
		     { 0x1c, 2 }, { 0x20, 8 }, { 0x28, 8 }, { 0x30, 8 } };
	unsigned i = s->where % (sizeof(regs) / sizeof(regs[0]));

	vpci_put(v, VPCI_BAR0 + regs[i].reg, regs[i].size, s->value);
}

static void fuzz_step(struct vpci *v, const struct step *s)
{
	switch (s->what % 8) {
	case 0:
		fuzz_config(v, s, VPCI_SLOT);
		break;
	case 1:
		fuzz_config(v, s, s->size >> 4);
		break;
	case 2:
		fuzz_bar(v, s, VPCI_BAR0);
		break;
	case 3:
		fuzz_bar(v, s, VPCI_BAR1);
		break;
	case 4:
		fuzz_common(v, s);
		break;
	case 5: /* notify */
		vpci_put(v, VPCI_BAR0 + 0x3000, 2, s->value);
		break;
	case 6: /* the rings, if they are where the seeds put them */
		mem_write(v->dt.env.mem, 0x10000 + (s->where & 0x2fff),
			  &s->value, 4);
		break;
	case 7:
		vpci_map(v);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vpci *v = malloc(sizeof(*v)), *copy;

	vpci_open(v);
	for (size_t i = 0; i < STEPS_MAX && (i + 1) * 8 <= len; i++) {
		struct step s;

		memcpy(&s, data + i * 8, sizeof(s));
		fuzz_step(v, &s);
	}
	copy = malloc(sizeof(*copy));
	vpci_open(copy);
	dt_copy_state(DEV(v->host), DEV(copy->host));
	dt_copy_state(DEV(v->rng), DEV(copy->rng));
	DEV(v->host)->reset(DEV(v->host));
	DEV(v->rng)->reset(DEV(v->rng));
	vpci_close(copy);
	vpci_close(v);
	free(copy);
	free(v);
	return 0;
}

/* A driver that starts the device and makes requests. */
static const struct step fuzz_start[] = {
	{ 7, 0, 0, 0 },
	{ 4, 0, 2, 3 },   /* ACKNOWLEDGE, DRIVER */
	{ 4, 0, 0, 1 },   /* features 63..32 */
	{ 4, 0, 1, 1 },   /* VERSION_1 */
	{ 4, 0, 2, 0xb }, /* FEATURES_OK */
	{ 4, 0, 5, 4 },   /* queue size */
	{ 4, 0, 6, 1 },   /* vectors */
	{ 4, 0, 7, 0 },
	{ 4, 0, 9, 0x10000 },
	{ 4, 0, 10, 0x11000 },
	{ 4, 0, 11, 0x12000 },
	{ 4, 0, 8, 1 },
	{ 4, 0, 2, 0xf },          /* DRIVER_OK */
	{ 6, 0, 0, 0x20000 },      /* descriptor 0: address, */
	{ 6, 0, 8, 0x40 },         /* length, */
	{ 6, 0, 12, 2 },           /* for the device to write */
	{ 6, 0, 0x1000, 0x10000 }, /* one is available */
	{ 5, 0, 0, 0 },
	{ 3, 2, 0x1c, 0 }, /* a vector unmasked */
	{ 0, 1, 0x8003, 0x80000000 },
	{ 5, 0, 0, 0 },
};

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	if (i || sizeof(fuzz_start) > cap)
		return 0;
	memcpy(buf, fuzz_start, sizeof(fuzz_start));
	return sizeof(fuzz_start);
}
