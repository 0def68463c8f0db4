/*
 * ioapic.c - the I/O APIC.
 *
 * A pin's redirection entry (82093AA, 3.2.4):
 *
 *	63..56 destination	16 mask		 13 polarity
 *	 15 trigger (1 level)	14 remote IRR	 12 delivery status
 *	 11 logical		10..8 mode	 7..0 vector
 *
 * Polarity reads back but is not looked at: whoever drives a pin calls it
 * high when it is active.  Delivery status is always 0, a message leaves at
 * once.  An edge on a masked pin is lost, as the data sheet says.
 */
#include "dev/pc/ioapic.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define IOAPIC_REGSEL 0x00
#define IOAPIC_WIN    0x10
#define IOAPIC_EOI    0x40

#define IOAPIC_REG_ID    0x00
#define IOAPIC_REG_VER   0x01
#define IOAPIC_REG_ARB   0x02
#define IOAPIC_REG_TABLE 0x10

#define IOAPIC_VERSION 0x20 /* has the EOI register */

#define IOAPIC_RTE_VECTOR     0x00ffull
#define IOAPIC_RTE_MODE       0x0700ull
#define IOAPIC_RTE_LOGICAL    0x0800ull
#define IOAPIC_RTE_STATUS     0x1000ull
#define IOAPIC_RTE_REMOTE_IRR 0x4000ull
#define IOAPIC_RTE_LEVEL      0x8000ull
#define IOAPIC_RTE_MASK       0x10000ull
#define IOAPIC_RTE_READONLY   (IOAPIC_RTE_STATUS | IOAPIC_RTE_REMOTE_IRR)
#define IOAPIC_RTE_DEFINED    (0xff0000000001ffffull)

#define IOAPIC_MODE_LOWEST 1
#define IOAPIC_MSI_ADDRESS 0xfee00000ull
#define IOAPIC_MSI_ASSERT  0x4000u

struct ioapic {
	struct dev dev;
	struct msi_bus bus;
	ioapic_route_fn *route_fn;
	void *route_opaque;
	pthread_mutex_t lock; /* guards all below */
	uint8_t regsel;
	uint32_t id;
	uint32_t lines; /* pins' levels */
	uint64_t rte[IOAPIC_PINS];
};

/* The MSI that means the same as the entry (SDM 3A 11.11). */
static uint64_t ioapic_msi_addr(uint64_t rte)
{
	uint64_t addr = IOAPIC_MSI_ADDRESS | (rte >> 56) << 12;

	if (rte & IOAPIC_RTE_LOGICAL)
		addr |= 0x4;
	if ((rte & IOAPIC_RTE_MODE) >> 8 == IOAPIC_MODE_LOWEST)
		addr |= 0x8;
	return addr;
}

static uint32_t ioapic_msi_data(uint64_t rte)
{
	return (rte &
		(IOAPIC_RTE_VECTOR | IOAPIC_RTE_MODE | IOAPIC_RTE_LEVEL)) |
	       IOAPIC_MSI_ASSERT;
}

static void ioapic_send(struct ioapic *io, uint64_t rte)
{
	msi_send(&io->bus, ioapic_msi_addr(rte), ioapic_msi_data(rte));
}

/* Only fixed and lowest-priority messages are acknowledged with an EOI. */
static bool ioapic_is_level(uint64_t rte)
{
	return (rte & IOAPIC_RTE_LEVEL) && (rte & IOAPIC_RTE_MODE) >> 8 <= 1;
}

/* Sends a level-triggered pin's message if it is due. */
static void ioapic_service(struct ioapic *io, unsigned pin)
{
	uint64_t rte = io->rte[pin];

	if (!ioapic_is_level(rte) || !(io->lines & 1u << pin) ||
	    (rte & (IOAPIC_RTE_MASK | IOAPIC_RTE_REMOTE_IRR)))
		return;
	io->rte[pin] |= IOAPIC_RTE_REMOTE_IRR;
	ioapic_send(io, rte);
}

/* With the lock held. */
static void ioapic_tell_routes(struct ioapic *io)
{
	struct ioapic_route route[IOAPIC_PINS] = { 0 };

	if (!io->route_fn)
		return;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!ioapic_is_level(io->rte[pin]))
			continue;
		route[pin].addr = ioapic_msi_addr(io->rte[pin]);
		route[pin].data = ioapic_msi_data(io->rte[pin]);
		route[pin].level = 1;
	}
	io->route_fn(io->route_opaque, route);
}

void ioapic_set_route_hook(struct ioapic *io, ioapic_route_fn *fn, void *opaque)
{
	io->route_fn = fn;
	io->route_opaque = opaque;
}

void ioapic_set_irq(struct ioapic *io, unsigned pin, bool level)
{
	if (pin >= IOAPIC_PINS)
		return;
	pthread_mutex_lock(&io->lock);
	bool rising = level && !(io->lines & 1u << pin);
	uint64_t rte = io->rte[pin];

	io->lines &= ~(1u << pin);
	io->lines |= (uint32_t)level << pin;
	if (ioapic_is_level(rte))
		ioapic_service(io, pin);
	else if (rising && !(rte & IOAPIC_RTE_MASK))
		ioapic_send(io, rte);
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_eoi_locked(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if ((io->rte[pin] & IOAPIC_RTE_VECTOR) != vector ||
		    !(io->rte[pin] & IOAPIC_RTE_REMOTE_IRR))
			continue;
		io->rte[pin] &= ~IOAPIC_RTE_REMOTE_IRR;
		ioapic_service(io, pin);
	}
}

void ioapic_eoi(void *opaque, uint8_t vector)
{
	struct ioapic *io = opaque;

	pthread_mutex_lock(&io->lock);
	ioapic_eoi_locked(io, vector);
	pthread_mutex_unlock(&io->lock);
}

/*
 * An entry that becomes edge-triggered loses remote IRR: the way in which
 * software clears it on controllers without the EOI register.
 */
static void ioapic_write_rte(struct ioapic *io, unsigned pin, uint64_t value,
			     uint64_t mask)
{
	uint64_t *rte = &io->rte[pin];

	mask &= IOAPIC_RTE_DEFINED & ~IOAPIC_RTE_READONLY;
	*rte = (*rte & ~mask) | (value & mask);
	if (!ioapic_is_level(*rte))
		*rte &= ~IOAPIC_RTE_REMOTE_IRR;
	ioapic_tell_routes(io);
	ioapic_service(io, pin);
}

static uint32_t ioapic_read_reg(struct ioapic *io)
{
	unsigned n = io->regsel - IOAPIC_REG_TABLE;

	switch (io->regsel) {
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARB:
		return io->id;
	case IOAPIC_REG_VER:
		return IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (io->regsel < IOAPIC_REG_TABLE || n / 2 >= IOAPIC_PINS)
		return 0;
	return (uint32_t)(io->rte[n / 2] >> (n & 1) * 32);
}

static void ioapic_write_reg(struct ioapic *io, uint32_t value)
{
	unsigned n = io->regsel - IOAPIC_REG_TABLE;
	unsigned shift = (n & 1) * 32;

	if (io->regsel == IOAPIC_REG_ID)
		io->id = value & 0x0f000000;
	if (io->regsel < IOAPIC_REG_TABLE || n / 2 >= IOAPIC_PINS)
		return;
	ioapic_write_rte(io, n / 2, (uint64_t)value << shift,
			 0xffffffffull << shift);
}

static uint64_t ioapic_read(void *dev, uint64_t offset, unsigned size)
{
	struct ioapic *io = dev;
	uint32_t value = 0;

	pthread_mutex_lock(&io->lock);
	switch (offset & 0xfc) {
	case IOAPIC_REGSEL:
		value = io->regsel;
		break;
	case IOAPIC_WIN:
		value = ioapic_read_reg(io);
		break;
	}
	pthread_mutex_unlock(&io->lock);
	return value >> (offset & 3) * 8;
}

static void ioapic_write(void *dev, uint64_t offset, unsigned size,
			 uint64_t value)
{
	struct ioapic *io = dev;

	pthread_mutex_lock(&io->lock);
	switch (offset & 0xff) {
	case IOAPIC_REGSEL:
		io->regsel = (uint8_t)value;
		break;
	case IOAPIC_WIN:
		ioapic_write_reg(io, (uint32_t)value);
		break;
	case IOAPIC_EOI:
		ioapic_eoi_locked(io, (uint8_t)value);
		break;
	}
	pthread_mutex_unlock(&io->lock);
}

static const struct io_ops ioapic_ops = {
	.read = ioapic_read,
	.write = ioapic_write,
	.max_size = 4,
};

static void ioapic_reset(struct dev *dev)
{
	struct ioapic *io = (struct ioapic *)dev;

	pthread_mutex_lock(&io->lock);
	io->regsel = 0;
	io->id = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		io->rte[pin] = IOAPIC_RTE_MASK;
	ioapic_tell_routes(io);
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_walk(struct dev *dev, struct walk *w)
{
	struct ioapic *io = (struct ioapic *)dev;

	if (!walk_section(w, "ioapic", 0, 1))
		return;
	pthread_mutex_lock(&io->lock);
	walk_u8(w, "regsel", &io->regsel);
	walk_u32(w, "id", &io->id);
	walk_u32(w, "lines", &io->lines);
	walk_u64s(w, "rte", io->rte, IOAPIC_PINS);
	walk_end(w);
	for (unsigned pin = 0; walk_restoring(w) && pin < IOAPIC_PINS; pin++)
		io->rte[pin] &= IOAPIC_RTE_DEFINED & ~IOAPIC_RTE_STATUS;
	if (walk_restoring(w))
		ioapic_tell_routes(io);
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_free(struct dev *dev)
{
	struct ioapic *io = (struct ioapic *)dev;

	pthread_mutex_destroy(&io->lock);
	free(io);
}

int ioapic_new(struct ioapic **out, const struct dev_env *env,
	       struct msi_bus bus, struct err *err)
{
	struct ioapic *io = calloc(1, sizeof(*io));

	if (!io)
		return err_set(err, ENOMEM, "no memory for the I/O APIC");
	io->dev = (struct dev){ .name = "ioapic",
				.reset = ioapic_reset,
				.walk = ioapic_walk,
				.free = ioapic_free };
	io->bus = bus;
	pthread_mutex_init(&io->lock, NULL);
	int rc = mem_map_mmio(env->mem, IOAPIC_BASE, 0x1000, &ioapic_ops, io,
			      "ioapic");
	if (rc < 0) {
		ioapic_free(&io->dev);
		return err_set(err, -rc, "I/O APIC: address in use");
	}
	ioapic_reset(&io->dev);
	*out = io;
	return 0;
}
