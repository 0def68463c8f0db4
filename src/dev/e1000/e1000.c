/*
 * e1000.c - the 82540EM's registers and life.
 *
 * Registers are an array of words; those that do something when they are read
 * or written stand in a table.  The rest keeps what was written, which is all
 * that drivers ask of it.
 */
#include "dev/e1000/e1000.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dev/e1000/e1000_impl.h"

#define E1000_BAR_MEM 0
#define E1000_BAR_IO  1
#define E1000_IO_SIZE 64

/* --- Interrupts ----------------------------------------------------------- */

void e1000_interrupt(struct e1000 *e, uint32_t causes)
{
	uint32_t *icr = e1000_reg(e, E1000_ICR);

	*icr |= causes;
	pci_set_intx(&e->pci, *icr & *e1000_reg(e, E1000_IMS));
}

/* --- Reset ---------------------------------------------------------------- */

static void e1000_clear(struct e1000 *e)
{
	uint32_t low, high;

	memset(e->reg, 0, sizeof(e->reg));
	memset(e->context, 0, sizeof(e->context));
	e->eeprom = (struct e1000_eeprom){ 0 };
	e->tx_started = e->rx_new = false;
	e->io_addr = 0;
	e1000_phy_reset(e);
	/* Full duplex, link up, 1000 Mbit/s (SDM 13.4.2). */
	*e1000_reg(e, E1000_CTRL) = 0x00140240;
	*e1000_reg(e, E1000_STATUS) = 0x00000783;
	*e1000_reg(e, E1000_PBA) = 0x00100030;
	*e1000_reg(e, E1000_VET) = 0x8100;
	memcpy(&low, e->own_mac, 4);
	high = e->own_mac[4] | (uint32_t)e->own_mac[5] << 8 | 1u << 31;
	*e1000_reg(e, E1000_RAL) = low;
	*e1000_reg(e, E1000_RAL + 4) = high;
	e1000_interrupt(e, 0);
}

/* --- Registers ------------------------------------------------------------ */

static uint32_t e1000_read_icr(struct e1000 *e)
{
	uint32_t value = *e1000_reg(e, E1000_ICR);

	*e1000_reg(e, E1000_ICR) = 0; /* reading acknowledges (SDM 13.4.17) */
	e1000_interrupt(e, 0);
	return value;
}

static uint32_t e1000_read_ims(struct e1000 *e)
{
	return *e1000_reg(e, E1000_IMS);
}

static void e1000_write_ctrl(struct e1000 *e, uint32_t value)
{
	if (value & E1000_CTRL_PHY)
		e1000_phy_reset(e);
	if (value & E1000_CTRL_RST)
		e1000_clear(e);
	else
		*e1000_reg(e, E1000_CTRL) = value & ~E1000_CTRL_PHY;
}

static void e1000_write_icr(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_ICR) &= ~value;
	e1000_interrupt(e, 0);
}

static void e1000_write_ims(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_IMS) |= value;
	e1000_interrupt(e, 0);
}

static void e1000_write_imc(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_IMS) &= ~value;
	e1000_interrupt(e, 0);
}

static void e1000_write_nothing(struct e1000 *e, uint32_t value)
{
}

static void e1000_write_rctl(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_RCTL) = value;
	net_kick(e->link);
}

static void e1000_write_tctl(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_TCTL) = value;
	net_kick(e->link);
}

static void e1000_write_rdt(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_RDT) = value & 0xffff;
	net_kick(e->link);
}

static void e1000_write_tdt(struct e1000 *e, uint32_t value)
{
	*e1000_reg(e, E1000_TDT) = value & 0xffff;
	net_kick(e->link);
}

static const struct {
	unsigned offset;
	uint32_t (*read)(struct e1000 *e);
	void (*write)(struct e1000 *e, uint32_t value);
} e1000_regs[] = {
	{ E1000_CTRL, NULL, e1000_write_ctrl },
	{ E1000_STATUS, NULL, e1000_write_nothing },
	{ E1000_EECD, e1000_read_eecd, e1000_write_eecd },
	{ E1000_EERD, NULL, e1000_write_eerd },
	{ E1000_MDIC, NULL, e1000_write_mdic },
	{ E1000_ICR, e1000_read_icr, e1000_write_icr },
	{ E1000_ICS, NULL, e1000_interrupt },
	{ E1000_IMS, NULL, e1000_write_ims },
	{ E1000_IMC, e1000_read_ims, e1000_write_imc },
	{ E1000_RCTL, NULL, e1000_write_rctl },
	{ E1000_TCTL, NULL, e1000_write_tctl },
	{ E1000_RDT, NULL, e1000_write_rdt },
	{ E1000_TDT, NULL, e1000_write_tdt },
};

#define E1000_SPECIAL (sizeof(e1000_regs) / sizeof(e1000_regs[0]))

/* Registers of which not all bits are there: the others read as zero. */
static const struct {
	uint16_t offset;
	uint32_t mask;
} e1000_masks[] = {
	{ 0x002c, 0xffff },                              /* FCAH */
	{ 0x0030, 0xffff },                              /* FCT */
	{ E1000_VET, 0xffff },       { 0x0170, 0xffff }, /* FCTTV */
	{ 0x0178, 0xc000ffff },                          /* TXCW */
	{ 0x0410, 0x3fffffff },                          /* TIPG */
	{ 0x2160, 0x8000fff8 },                          /* FCRTL */
	{ 0x2168, 0xfff8 },                              /* FCRTH */
	{ E1000_RDBAL, 0xfffffff0 }, { E1000_RDLEN, 0x000fff80 },
	{ E1000_RDH, 0xffff },       { 0x2820, 0xffff }, /* RDTR */
	{ 0x282c, 0xffff },                              /* RADV */
	{ E1000_TDBAL, 0xfffffff0 }, { E1000_TDLEN, 0x000fff80 },
	{ E1000_TDH, 0xffff },       { 0x3820, 0xffff }, /* TIDV */
	{ 0x382c, 0xffff },                              /* TADV */
};

static uint32_t e1000_mask(uint64_t offset)
{
	if (offset >= E1000_RAL && offset < E1000_RAL + 16 * 8)
		return offset & 4 ? 0x8003ffff : UINT32_MAX; /* RAH */
	for (size_t i = 0; i < sizeof(e1000_masks) / sizeof(e1000_masks[0]);
	     i++)
		if (e1000_masks[i].offset == offset)
			return e1000_masks[i].mask;
	return UINT32_MAX;
}

static uint32_t e1000_read_reg(struct e1000 *e, uint64_t offset)
{
	offset &= ~3ull;
	for (size_t i = 0; i < E1000_SPECIAL; i++)
		if (e1000_regs[i].offset == offset && e1000_regs[i].read)
			return e1000_regs[i].read(e);
	if (e1000_is_statistic(offset))
		return e1000_read_statistic(e, offset);
	return offset < sizeof(e->reg) ? e->reg[offset / 4] : 0;
}

static void e1000_write_reg(struct e1000 *e, uint64_t offset, uint32_t value)
{
	for (size_t i = 0; i < E1000_SPECIAL; i++)
		if (e1000_regs[i].offset == offset) {
			e1000_regs[i].write(e, value);
			return;
		}
	if (offset < sizeof(e->reg) && !e1000_is_statistic(offset))
		e->reg[offset / 4] = value & e1000_mask(offset);
}

static uint64_t e1000_mem_read(void *dev, uint64_t offset, unsigned size)
{
	struct e1000 *e = dev;
	uint32_t value;

	pthread_mutex_lock(&e->lock);
	value = e1000_read_reg(e, offset);
	pthread_mutex_unlock(&e->lock);
	return value >> (offset & 3) * 8;
}

/* Registers are written whole (SDM 13.2). */
static void e1000_mem_write(void *dev, uint64_t offset, unsigned size,
			    uint64_t value)
{
	struct e1000 *e = dev;

	if (size != 4 || offset & 3)
		return;
	pthread_mutex_lock(&e->lock);
	e1000_write_reg(e, offset, (uint32_t)value);
	pthread_mutex_unlock(&e->lock);
}

static const struct io_ops e1000_mem_ops = {
	.read = e1000_mem_read,
	.write = e1000_mem_write,
	.max_size = 4,
};

/* SDM 13.2.2: IOADDR at 0, IODATA at 4. */
static uint64_t e1000_io_read(void *dev, uint64_t offset, unsigned size)
{
	struct e1000 *e = dev;
	uint32_t value = 0;

	pthread_mutex_lock(&e->lock);
	if (offset == 0)
		value = e->io_addr;
	else if (offset == 4)
		value = e1000_read_reg(e, e->io_addr);
	pthread_mutex_unlock(&e->lock);
	return value;
}

static void e1000_io_write(void *dev, uint64_t offset, unsigned size,
			   uint64_t value)
{
	struct e1000 *e = dev;

	if (size != 4)
		return;
	pthread_mutex_lock(&e->lock);
	if (offset == 0)
		e->io_addr = (uint32_t)value & (E1000_REGS_SIZE - 4);
	else if (offset == 4)
		e1000_write_reg(e, e->io_addr, (uint32_t)value);
	pthread_mutex_unlock(&e->lock);
}

static const struct io_ops e1000_io_ops = {
	.read = e1000_io_read,
	.write = e1000_io_write,
	.max_size = 4,
};

/* --- Saving --------------------------------------------------------------- */

/* As virtio-net does it: guest time ends what drain() began. */
static void e1000_drain(struct dev *dev)
{
	struct e1000 *e = (struct e1000 *)dev;
	bool first;

	pthread_mutex_lock(&e->lock);
	first = !e->drained;
	e->drained = true;
	pthread_mutex_unlock(&e->lock);
	if (first)
		net_pause(e->link);
	timer_arm(&e->resume, vclock_now(e->env->clock));
}

static void e1000_on_resume(void *opaque)
{
	struct e1000 *e = opaque;
	bool drained;

	pthread_mutex_lock(&e->lock);
	drained = e->drained;
	e->drained = false;
	pthread_mutex_unlock(&e->lock);
	if (drained)
		net_resume(e->link);
}

static void e1000_walk_context(struct walk *w, const char *field,
			       struct e1000_context *c)
{
	uint8_t b[9] = { c->ipcss, c->ipcso, c->tucss, c->tucso, c->tucmd };

	memcpy(b + 5, &c->ipcse, 2);
	memcpy(b + 7, &c->mss, 2);
	walk_bytes(w, field, b, sizeof(b));
	*c = (struct e1000_context){ b[0], b[1], b[2], b[3], 0, 0, b[4] };
	memcpy(&c->ipcse, b + 5, 2);
	memcpy(&c->mss, b + 7, 2);
}

static void e1000_walk_fields(struct e1000 *e, struct walk *w)
{
	uint8_t half[sizeof(e->phy)];

	memcpy(half, e->phy, sizeof(half));
	walk_u32s(w, "registers", e->reg, E1000_REGS);
	walk_bytes(w, "phy", half, sizeof(half));
	memcpy(e->phy, half, sizeof(half));
	walk_u32(w, "io_addr", &e->io_addr);
	walk_u32(w, "eeprom_wires", &e->eeprom.wires);
	walk_u16(w, "eeprom_shift", &e->eeprom.shift);
	walk_u8(w, "eeprom_bits", &e->eeprom.bits);
	walk_bool(w, "eeprom_out", &e->eeprom.out);
	e1000_walk_context(w, "context", &e->context[0]);
	e1000_walk_context(w, "tso_context", &e->context[1]);
	walk_bool(w, "tx_started", &e->tx_started);
	walk_bool(w, "tx_skip", &e->tx_skip);
	walk_u8(w, "tx_popts", &e->tx_popts);
	walk_u8(w, "tx_dcmd", &e->tx_dcmd);
	walk_u32(w, "tx_len", &e->tx_len);
	walk_bytes(w, "tx_frame", e->tx_frame, sizeof(e->tx_frame));
}

static void e1000_walk(struct dev *dev, struct walk *w)
{
	struct e1000 *e = (struct e1000 *)dev;

	net_pause(e->link);
	pthread_mutex_lock(&e->lock);
	if (walk_section(w, "e1000", dev->instance, 1)) {
		e1000_walk_fields(e, w);
		walk_end(w);
	}
	if (e->tx_len > NET_FRAME_MAX || e->eeprom.bits > 16) {
		walk_fail(w, "e1000: impossible state");
		e->tx_len = 0;
		e->eeprom.bits = 0;
	}
	pthread_mutex_unlock(&e->lock);
	net_resume(e->link);
}

/* --- Life ----------------------------------------------------------------- */

static void e1000_reset(struct dev *dev)
{
	struct e1000 *e = (struct e1000 *)dev;

	net_pause(e->link);
	pthread_mutex_lock(&e->lock);
	e1000_clear(e);
	pthread_mutex_unlock(&e->lock);
	net_resume(e->link);
}

static void e1000_free(struct dev *dev)
{
	struct e1000 *e = (struct e1000 *)dev;

	timer_disarm(&e->resume);
	net_close(e->link);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* It may be a bus master now: what waited goes. */
static void e1000_config_written(struct pci_dev *pd, unsigned offset,
				 unsigned size)
{
	struct e1000 *e =
		(struct e1000 *)((char *)pd - offsetof(struct e1000, pci));

	if (offset <= PCI_COMMAND && pci_is_master(pd))
		net_kick(e->link);
}

static int e1000_attach(struct e1000 *e, struct pci_host *host, unsigned slot,
			struct err *err)
{
	static const struct pci_id id = {
		.vendor = 0x8086,
		.device = 0x100e,
		.subsys_vendor = 0x8086,
		.subsys = 0x001e,
		.class_code = 0x020000,
		.revision = 3,
		.int_pin = 1,
	};

	pci_init(&e->pci, "e1000", &id);
	pci_add_bar(&e->pci, E1000_BAR_MEM, PCI_BAR_MEM32, false,
		    E1000_REGS_SIZE, &e1000_mem_ops, e);
	pci_add_bar(&e->pci, E1000_BAR_IO, PCI_BAR_IO, false, E1000_IO_SIZE,
		    &e1000_io_ops, e);
	e->pci.config_written = e1000_config_written;
	return pci_attach(host, &e->pci, slot, 0, err);
}

int e1000_new(struct e1000 **out, const struct dev_env *env,
	      struct pci_host *host, const struct e1000_config *config,
	      struct net_link *link, struct err *err)
{
	struct e1000 *e = calloc(1, sizeof(*e));
	int rc;

	if (!e) {
		net_close(link);
		return err_set(err, ENOMEM, "out of memory");
	}
	e->dev = (struct dev){ .name = "e1000",
			       .instance = config->instance,
			       .reset = e1000_reset,
			       .walk = e1000_walk,
			       .drain = e1000_drain,
			       .free = e1000_free };
	e->env = env;
	e->link = link;
	memcpy(e->own_mac, config->mac, NET_MAC_LEN);
	pthread_mutex_init(&e->lock, NULL);
	timer_init(&e->resume, env->loop, e1000_on_resume, e);
	e1000_eeprom_init(e);
	rc = e1000_attach(e, host, config->slot, err);
	if (rc == 0)
		e1000_clear(e);
	if (rc == 0)
		rc = net_attach(link, &e1000_nic, e, err);
	if (rc < 0)
		e1000_free(&e->dev);
	else
		*out = e;
	return rc;
}
