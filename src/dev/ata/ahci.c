/*
 * ahci.c - the AHCI adapter: its own registers, interrupts, life.
 *
 * Theory of operation
 *
 * A driver puts commands into a list in memory and sets their bits in a
 * port's PxCI.  The write ends in ahci_run() (ahci_cmd.c), which copies each
 * command once, asks the drive (ata.h) what to do, and hands the requests to
 * the disk's queue without the lock.  A completion writes the answering FIS
 * to memory, clears the bit, and raises the interrupt, in that order.
 *
 * Nothing here waits.  What a reset or a cleared ST bit has to wait for (the
 * requests that are with the queue may still write to guest memory) the guest
 * sees as time that the hardware takes: PxCMD.CR, PxSSTS.DET and GHC.HR
 * change when the last request has come back.
 *
 * IS latches: a port's bit goes up with a cause and down when written, unless
 * the cause is still there (AHCI 10.7.2.1); a message is sent for every new
 * bit and for what a write of IS leaves.
 */
#include "dev/ata/ahci.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "dev/ata/ahci_impl.h"
#include "dev/pci/msix.h"

#define AHCI_BAR       5
#define AHCI_BAR_SIZE  0x1000
#define AHCI_PORT_BASE 0x100
#define AHCI_PORT_SIZE 0x80

/* Generic host control (AHCI 3.1). */
#define AHCI_CAP 0x00
#define AHCI_GHC 0x04
#define AHCI_IS  0x08
#define AHCI_PI  0x0c
#define AHCI_VS  0x10

#define AHCI_GHC_HR (1u << 0)
#define AHCI_GHC_IE (1u << 1)
#define AHCI_GHC_AE (1u << 31)

/*
 * 64-bit addresses, NCQ, command list override, AHCI only, 3 Gbit/s, PIO of
 * several blocks, 32 slots.
 */
#define AHCI_CAP_BITS                                                      \
	(1u << 31 | 1u << 30 | 1u << 24 | 1u << 18 | 2u << 20 | 1u << 15 | \
	 (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1))
#define AHCI_VERSION 0x00010300u

static struct ahci *ahci_of(struct dev *dev)
{
	return (struct ahci *)dev;
}

/* --- Interrupts ------------------------------------------------------------
 */

static uint32_t ahci_asserting(const struct ahci *h)
{
	uint32_t ports = 0;

	for (unsigned n = 0; n < AHCI_PORTS; n++) {
		const struct ahci_port *p = &h->port[n];

		if (p->ata && (ahci_port_causes(p) & p->reg[PX_IE]))
			ports |= 1u << n;
	}
	return ports;
}

static void ahci_set_level(struct ahci *h, bool level)
{
	if (level != h->level)
		pci_set_intx(&h->pci, level);
	h->level = level;
}

void ahci_update_irq(struct ahci *h, bool again)
{
	uint32_t before = h->is;
	bool on = h->ghc & AHCI_GHC_IE;
	bool msi = msi_enabled(&h->pci);

	h->is |= ahci_asserting(h);
	ahci_set_level(h, h->is && on && !msi);
	if (msi && on && h->is && (again || h->is & ~before))
		msi_raise(&h->pci);
}

/*
 * MSI may have been turned on or off: INTx follows.  Commands wait while the
 * adapter may not fetch them.
 */
static void ahci_config_written(struct pci_dev *pd, unsigned offset,
				unsigned size)
{
	struct ahci *h =
		(struct ahci *)((char *)pd - offsetof(struct ahci, pci));

	pthread_mutex_lock(&h->lock);
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].ata && h->port[n].reg[PX_CI])
			ahci_run(&h->port[n]);
	ahci_update_irq(h, false);
	pthread_mutex_unlock(&h->lock);
}

/* --- Registers -------------------------------------------------------------
 */

static bool ahci_active(const struct ahci *h)
{
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].active || h->port[n].running)
			return true;
	return false;
}

/* Everything but CLB and FB is as after power-on (AHCI 10.4.3). */
static void ahci_reset_hba(struct ahci *h, bool power_on)
{
	h->ghc = AHCI_GHC_AE;
	h->is = 0;
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].ata)
			ahci_port_reset(&h->port[n], power_on);
	ahci_update_irq(h, false);
}

static void ahci_start_reset(struct ahci *h)
{
	h->ghc |= AHCI_GHC_HR;
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].ata)
			ahci_port_abort(&h->port[n]);
	if (!ahci_active(h))
		ahci_reset_hba(h, false);
}

void ahci_port_idle(struct ahci_port *p)
{
	struct ahci *h = p->hba;

	pthread_cond_broadcast(&h->idle);
	if ((h->ghc & AHCI_GHC_HR) && !ahci_active(h))
		ahci_reset_hba(h, false);
}

static void ahci_write_ghc(struct ahci *h, uint32_t v)
{
	bool on = v & ~h->ghc & AHCI_GHC_IE;

	if (h->ghc & AHCI_GHC_HR)
		return;
	h->ghc = (v & AHCI_GHC_IE) | AHCI_GHC_AE;
	if (v & AHCI_GHC_HR)
		ahci_start_reset(h);
	ahci_update_irq(h, on);
}

static uint32_t ahci_read_hba(struct ahci *h, unsigned reg)
{
	switch (reg) {
	case AHCI_CAP:
		return AHCI_CAP_BITS;
	case AHCI_GHC:
		return h->ghc;
	case AHCI_IS:
		return h->is;
	case AHCI_PI:
		return h->pi;
	case AHCI_VS:
		return AHCI_VERSION;
	default:
		return 0;
	}
}

static void ahci_write_hba(struct ahci *h, unsigned reg, uint32_t v)
{
	if (reg == AHCI_GHC) {
		ahci_write_ghc(h, v);
	} else if (reg == AHCI_IS) {
		h->is &= ~v;
		ahci_update_irq(h, true);
	}
}

/* NULL: the offset is none of a port's registers. */
static struct ahci_port *ahci_find_port(struct ahci *h, unsigned offset)
{
	unsigned n = (offset - AHCI_PORT_BASE) / AHCI_PORT_SIZE;

	if (offset < AHCI_PORT_BASE || n >= AHCI_PORTS || !h->port[n].ata)
		return NULL;
	return &h->port[n];
}

static uint32_t ahci_read_dword(struct ahci *h, unsigned offset)
{
	struct ahci_port *p = ahci_find_port(h, offset);

	if (p)
		return ahci_port_read(p, offset % AHCI_PORT_SIZE / 4);
	return ahci_read_hba(h, offset);
}

static void ahci_write_dword(struct ahci *h, unsigned offset, uint32_t v)
{
	struct ahci_port *p = ahci_find_port(h, offset);

	if (p)
		ahci_port_write(p, offset % AHCI_PORT_SIZE / 4, v);
	else
		ahci_write_hba(h, offset, v);
}

static uint64_t ahci_read(void *dev, uint64_t offset, unsigned size)
{
	struct ahci *h = dev;

	pthread_mutex_lock(&h->lock);
	uint32_t v = ahci_read_dword(h, (unsigned)offset & ~3u);
	pthread_mutex_unlock(&h->lock);
	return v >> (offset & 3) * 8;
}

/* Bits in which a written 1 acts and a 0 does nothing. */
static bool ahci_acts(unsigned offset)
{
	unsigned reg = offset % AHCI_PORT_SIZE / 4;

	if (offset < AHCI_PORT_BASE)
		return offset == AHCI_IS;
	return reg == PX_IS || reg == PX_SERR || reg == PX_SACT || reg == PX_CI;
}

static void ahci_write(void *dev, uint64_t offset, unsigned size,
		       uint64_t value)
{
	struct ahci *h = dev;
	unsigned at = (unsigned)offset & ~3u, shift = (offset & 3) * 8;
	uint32_t mask = (uint32_t)((1ull << size * 8) - 1) << shift;
	uint32_t v = (uint32_t)value << shift & mask;

	pthread_mutex_lock(&h->lock);
	if (size < 4 && !ahci_acts(at))
		v |= ahci_read_dword(h, at) & ~mask;
	ahci_write_dword(h, at, v);
	pthread_mutex_unlock(&h->lock);
}

static const struct io_ops ahci_io_ops = {
	.read = ahci_read,
	.write = ahci_write,
	.max_size = 4,
};

/* --- Life ------------------------------------------------------------------
 */

static void ahci_wait_idle(struct ahci *h)
{
	while (ahci_active(h))
		pthread_cond_wait(&h->idle, &h->lock);
}

static void ahci_drain(struct dev *dev)
{
	struct ahci *h = ahci_of(dev);

	pthread_mutex_lock(&h->lock);
	ahci_wait_idle(h);
	pthread_mutex_unlock(&h->lock);
}

static void ahci_reset(struct dev *dev)
{
	struct ahci *h = ahci_of(dev);

	pthread_mutex_lock(&h->lock);
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].ata)
			ahci_port_abort(&h->port[n]);
	ahci_wait_idle(h);
	ahci_reset_hba(h, true);
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		for (unsigned r = PX_CLB; r <= PX_FBU; r++)
			h->port[n].reg[r] = 0;
	pthread_mutex_unlock(&h->lock);
}

static void ahci_walk_port(struct ahci_port *p, struct walk *w, unsigned id)
{
	if (walk_section(w, "ahci-port", id, 1)) {
		walk_u32s(w, "reg", p->reg, PX_REGS);
		walk_bool(w, "halted", &p->halted);
		walk_bool(w, "srst", &p->srst);
		walk_bool(w, "fis_waits", &p->fis_waits);
		walk_u8(w, "sig_status", &p->sig.status);
		walk_u8(w, "sig_error", &p->sig.error);
		walk_u16(w, "sig_count", &p->sig.count);
		walk_u64(w, "sig_lba", &p->sig.lba);
		walk_end(w);
	}
	p->ata->ops->walk(p->ata, w, id);
}

/* A command that was saved is one that waited for room: it goes on waiting. */
static void ahci_restored(struct ahci *h)
{
	h->ghc = (h->ghc & AHCI_GHC_IE) | AHCI_GHC_AE;
	h->is &= h->pi;
	for (unsigned n = 0; n < AHCI_PORTS; n++) {
		struct ahci_port *p = &h->port[n];

		p->full = p->ata && p->reg[PX_CI] && !p->halted;
		if (p->full)
			dev_hook_call(&p->on_full, 0);
	}
	ahci_update_irq(h, false);
}

static void ahci_walk(struct dev *dev, struct walk *w)
{
	struct ahci *h = ahci_of(dev);

	pthread_mutex_lock(&h->lock);
	if (walk_section(w, "ahci", dev->instance, 1)) {
		walk_u32(w, "ghc", &h->ghc);
		walk_u32(w, "is", &h->is);
		walk_end(w);
	}
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		if (h->port[n].ata)
			ahci_walk_port(&h->port[n], w,
				       dev->instance * AHCI_PORTS + n);
	if (walk_restoring(w))
		ahci_restored(h);
	pthread_mutex_unlock(&h->lock);
}

static void ahci_free_port(struct ahci_port *p)
{
	if (p->queue)
		block_queue_free(p->queue);
	block_close(p->block);
	for (unsigned s = 0; p->slot && s < AHCI_SLOTS; s++)
		dma_free(&p->slot[s].ata.dma);
	free(p->slot);
	if (p->ata)
		p->ata->ops->free(p->ata);
}

static void ahci_free(struct dev *dev)
{
	struct ahci *h = ahci_of(dev);

	pthread_mutex_lock(&h->lock);
	ahci_wait_idle(h);
	pthread_mutex_unlock(&h->lock);
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		ahci_free_port(&h->port[n]);
	pthread_cond_destroy(&h->idle);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static int ahci_new_port(struct ahci *h, unsigned n,
			 const struct ahci_config *config, struct err *err)
{
	struct ahci_port *p = &h->port[n];
	unsigned number = config->instance * AHCI_PORTS + n;
	int rc;

	if (config->port[n].drive == AHCI_NONE)
		return 0;
	p->on_full = config->port[n].full;
	p->slot = calloc(AHCI_SLOTS, sizeof(*p->slot));
	if (!p->slot)
		return err_set(err, ENOMEM, "no memory for an AHCI port");
	for (unsigned s = 0; s < AHCI_SLOTS; s++) {
		p->slot[s].port = p;
		p->slot[s].ata.tag = s;
		dma_init(&p->slot[s].ata.dma, h->env->mem);
	}
	rc = p->block ? block_queue_new(&p->queue, p->block, err) : 0;
	if (rc < 0)
		return rc;
	h->pi |= 1u << n;
	return config->port[n].drive == AHCI_DISK
		       ? ata_disk_new(&p->ata, p->block, number, err)
		       : ata_cdrom_new(&p->ata, p->block, number, err);
}

static int ahci_init_pci(struct ahci *h)
{
	static const struct pci_id id = {
		.vendor = 0x8086,
		.device = 0x2922,
		.subsys_vendor = 0x1af4,
		.subsys = 0x1100,
		.class_code = 0x010601,
		.revision = 2,
		.int_pin = 1,
	};

	pci_init(&h->pci, "ahci", &id);
	h->pci.config_written = ahci_config_written;
	if (msi_init(&h->pci, NULL))
		return -ENOSPC;
	return pci_add_bar(&h->pci, AHCI_BAR, PCI_BAR_MEM32, false,
			   AHCI_BAR_SIZE, &ahci_io_ops, h);
}

static int ahci_build(struct ahci *h, struct pci_host *host,
		      const struct ahci_config *config, struct err *err)
{
	int rc = 0;

	for (unsigned n = 0; n < AHCI_PORTS && rc == 0; n++)
		rc = ahci_new_port(h, n, config, err);
	if (rc < 0)
		return rc;
	rc = ahci_init_pci(h);
	if (rc < 0)
		return err_set(err, -rc, "the AHCI adapter has no place");
	return pci_attach(host, &h->pci, config->slot, config->func, err);
}

int ahci_new(struct ahci **out, struct pci_host *host,
	     const struct ahci_config *config, struct err *err)
{
	struct ahci *h = calloc(1, sizeof(*h));
	int rc;

	if (!h) {
		for (unsigned n = 0; n < AHCI_PORTS; n++)
			block_close(config->port[n].block);
		return err_set(err, ENOMEM, "no memory for an AHCI adapter");
	}
	for (unsigned n = 0; n < AHCI_PORTS; n++) {
		h->port[n].hba = h;
		h->port[n].n = n;
		h->port[n].block = config->port[n].block;
	}
	h->dev = (struct dev){ .name = "ahci",
			       .instance = config->instance,
			       .reset = ahci_reset,
			       .walk = ahci_walk,
			       .drain = ahci_drain,
			       .free = ahci_free };
	h->env = pci_host_env(host);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->idle, NULL);
	rc = ahci_build(h, host, config, err);
	if (rc < 0) {
		ahci_free(&h->dev);
		return rc;
	}
	ahci_reset_hba(h, true);
	*out = h;
	return 0;
}

/* --- From outside ----------------------------------------------------------
 */

/* Under the lock: nothing of the port is active, and p->queue may be changed.
 */
static int ahci_swap_medium(struct ahci_port *p, struct block **b,
			    struct block_queue **queue, struct err *err)
{
	struct block *block = p->block;
	struct block_queue *former = p->queue;
	int rc;

	while (p->active || p->running)
		pthread_cond_wait(&p->hba->idle, &p->hba->lock);
	rc = p->ata->ops->set_medium(p->ata, *b, err);
	if (rc < 0)
		return rc;
	p->block = *b;
	p->queue = *queue;
	*b = block;
	*queue = former;
	return 0;
}

int ahci_set_medium(struct ahci *h, unsigned port, struct block *b,
		    struct err *err)
{
	struct ahci_port *p = port < AHCI_PORTS ? &h->port[port] : NULL;
	struct block_queue *queue = NULL;
	int rc;

	if (!p || !p->ata || !p->ata->ops->set_medium)
		return err_set(err, EINVAL, "port %u has no CD-ROM drive",
			       port);
	rc = b ? block_queue_new(&queue, b, err) : 0;
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&h->lock);
	rc = ahci_swap_medium(p, &b, &queue, err);
	pthread_mutex_unlock(&h->lock);
	if (queue)
		block_queue_free(queue);
	if (rc == 0)
		block_close(b);
	return rc;
}

unsigned ahci_retry(struct ahci *h)
{
	unsigned full = 0;

	pthread_mutex_lock(&h->lock);
	for (unsigned n = 0; n < AHCI_PORTS; n++) {
		h->port[n].full = false;
		if (h->port[n].ata)
			ahci_run(&h->port[n]);
	}
	ahci_wait_idle(h);
	for (unsigned n = 0; n < AHCI_PORTS; n++)
		full += h->port[n].full;
	ahci_update_irq(h, false);
	pthread_mutex_unlock(&h->lock);
	return full;
}
