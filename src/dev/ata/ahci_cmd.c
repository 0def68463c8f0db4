/*
 * ahci_cmd.c - commands: from the list in guest memory to the drive, and the
 * answers back.
 *
 * Theory of operation
 *
 * ahci_run() takes slots in order, starting behind the last one (AHCI 5.3.2
 * has PxCCS so), as long as the drive takes more: any number of queued
 * commands, or one other.  A command is copied once: header, FIS, packet, PRD
 * table; what the guest changes afterwards changes nothing.
 *
 * A command is "active" from when its requests are to be submitted until the
 * last of them is done.  Submitting happens without the lock, since requests
 * may be done at once, in the same thread; `running` keeps a completion that
 * finds more to start from recursing, whatever the guest's other processors
 * put into PxCI meanwhile.
 *
 * An error halts the port: it starts nothing until the driver clears ST
 * (AHCI 6.2.2).  Queued commands that are active then are aborted.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "dev/ata/ahci_impl.h"

#define CMD_HEADER_SIZE 32
#define CMD_TABLE_HEAD  0x80 /* FIS, packet; the PRDs follow */
#define CMD_TABLE_CDB   0x40
#define CMD_PRD_SIZE    16
#define CMD_PRD_CHUNK   32 /* PRDs that are copied at a time */
#define CMD_PRD_BYTES   0x3fffff
#define CMD_PRDBC       4 /* offset in the header */

/* FIS types and where received ones go (AHCI 4.2.1; Serial ATA 3.1, 10.3). */
#define FIS_REG_H2D      0x27
#define FIS_REG_D2H      0x34
#define FIS_DEVICE_BITS  0xa1
#define FIS_PIO_SETUP    0x5f
#define FIS_AT_PIO_SETUP 0x20
#define FIS_AT_REG       0x40
#define FIS_AT_BITS      0x58
#define FIS_H2D_COMMAND  0x80
#define FIS_CONTROL_SRST 0x04
#define FIS_INTERRUPT    0x40
#define FIS_D2H_DATA     0x20 /* PIO Setup: towards the host */

#define CMD_PACKET 0xa0
#define CMD_FPDMA0 0x60
#define CMD_FPDMA1 0x61

static uint32_t cmd_bit(const struct ahci_cmd *c)
{
	return 1u << c->ata.tag;
}

static void cmd_halt(struct ahci_port *p, uint32_t cause)
{
	p->halted = true;
	p->reg[PX_IS] |= cause;
}

/* --- Answers ---------------------------------------------------------------
 */

/* The type byte comes last: drivers without interrupts look for it. */
static void cmd_post(struct ahci_port *p, unsigned at, const uint8_t *fis,
		     unsigned len)
{
	uint64_t base = (uint64_t)p->reg[PX_FBU] << 32 | p->reg[PX_FB];
	struct mem *mem = p->hba->env->mem;

	if (!(p->reg[PX_CMD] & AHCI_CMD_FRE) || !pci_is_master(&p->hba->pci))
		return;
	if (mem_write(mem, base + at + 4, fis + 4, len - 4) ||
	    mem_write(mem, base + at, fis, 4))
		cmd_halt(p, AHCI_IS_HBFS);
}

static void cmd_put_tf(uint8_t fis[20], const struct ata_tf *tf)
{
	fis[2] = tf->status;
	fis[3] = tf->error;
	for (unsigned i = 0; i < 3; i++) {
		fis[4 + i] = (uint8_t)(tf->lba >> i * 8);
		fis[8 + i] = (uint8_t)(tf->lba >> (24 + i * 8));
	}
	fis[7] = tf->device;
	fis[12] = (uint8_t)tf->count;
	fis[13] = (uint8_t)(tf->count >> 8);
}

static void cmd_set_tfd(struct ahci_port *p, const struct ata_tf *tf)
{
	p->reg[PX_TFD] = (uint32_t)tf->error << 8 | tf->status;
	if (tf->status & ATA_STATUS_ERR)
		cmd_halt(p, AHCI_IS_TFES);
}

void ahci_post_regs(struct ahci_port *p, const struct ata_tf *tf, bool irq)
{
	uint8_t fis[20] = { FIS_REG_D2H, irq ? FIS_INTERRUPT : 0 };

	cmd_put_tf(fis, tf);
	cmd_post(p, FIS_AT_REG, fis, sizeof(fis));
	cmd_set_tfd(p, tf);
	if (irq)
		p->reg[PX_IS] |= AHCI_IS_DHRS;
}

/* Data towards the host: status with DRQ before them, `tf` after. */
static void cmd_post_pio(struct ahci_port *p, const struct ahci_cmd *c)
{
	uint8_t fis[20] = { FIS_PIO_SETUP, FIS_INTERRUPT | FIS_D2H_DATA };
	uint64_t moved = c->ata.moved;

	cmd_put_tf(fis, &c->ata.tf);
	fis[2] |= ATA_STATUS_DRQ;
	fis[15] = c->ata.tf.status; /* E_Status */
	fis[16] = (uint8_t)moved;
	fis[17] = (uint8_t)(moved >> 8);
	cmd_post(p, FIS_AT_PIO_SETUP, fis, sizeof(fis));
	cmd_set_tfd(p, &c->ata.tf);
	p->reg[PX_IS] |= AHCI_IS_PSS;
}

/* BSY and DRQ are not in this FIS (Serial ATA 3.1, 10.3.6). */
static void cmd_post_bits(struct ahci_port *p, const struct ahci_cmd *c)
{
	bool bad = c->ata.tf.status & ATA_STATUS_ERR;
	uint32_t done = bad ? 0 : cmd_bit(c);
	uint8_t fis[8] = { FIS_DEVICE_BITS, FIS_INTERRUPT,
			   c->ata.tf.status & 0x77, c->ata.tf.error };

	for (unsigned i = 0; i < 4; i++)
		fis[4 + i] = (uint8_t)(done >> i * 8);
	cmd_post(p, FIS_AT_BITS, fis, sizeof(fis));
	p->reg[PX_SACT] &= ~done;
	cmd_set_tfd(p, &c->ata.tf);
	p->reg[PX_IS] |= AHCI_IS_SDBS;
}

/* The count is there before the FIS that says so (AHCI 5.4.1). */
static void cmd_put_moved(struct ahci_port *p, const struct ahci_cmd *c)
{
	uint32_t moved = (uint32_t)c->ata.moved;

	if (mem_write(p->hba->env->mem, c->header + CMD_PRDBC, &moved, 4))
		cmd_halt(p, AHCI_IS_HBFS);
}

static void cmd_complete(struct ahci_port *p, struct ahci_cmd *c)
{
	if (c->ata.reply != ATA_REPLY_NCQ)
		cmd_put_moved(p, c);
	switch (c->ata.reply) {
	case ATA_REPLY_NCQ:
		cmd_post_bits(p, c);
		break;
	case ATA_REPLY_PIO_IN:
		cmd_post_pio(p, c);
		break;
	case ATA_REPLY_PACKET_IN:
		cmd_post_pio(p, c);
		ahci_post_regs(p, &c->ata.tf, true);
		break;
	case ATA_REPLY_REGS:
		ahci_post_regs(p, &c->ata.tf, true);
		break;
	}
	if (!p->halted)
		p->reg[PX_CI] &= ~cmd_bit(c);
	dma_clear(&c->ata.dma);
}

/* --- Fetching --------------------------------------------------------------
 */

/*
 * One PRD: dwords 0, 1 address, 3: bits 21..0 bytes - 1 (AHCI 4.2.3.3).  What
 * leaves RAM is cut off, and the list ends there (1): SeaBIOS gives commands
 * without data 4 MiB from 0 on.
 */
static int cmd_add_prd(struct mem *mem, struct ahci_cmd *c, const uint32_t *prd)
{
	uint64_t gpa = ((uint64_t)prd[1] << 32 | prd[0]) & ~1ull;
	uint64_t length = (prd[3] & CMD_PRD_BYTES & ~1u) + 2;
	uint64_t run = mem_run(mem, gpa);
	int rc;

	if (!run)
		return -EFAULT;
	if (length <= run)
		return dma_add(&c->ata.dma, gpa, length);
	rc = dma_add(&c->ata.dma, gpa, run);
	return rc ? rc : 1;
}

static int cmd_fetch_prds(struct ahci_port *p, struct ahci_cmd *c,
			  uint64_t table, unsigned count)
{
	uint32_t prd[CMD_PRD_CHUNK][4];

	for (unsigned i = 0; i < count; i += CMD_PRD_CHUNK) {
		unsigned n =
			count - i < CMD_PRD_CHUNK ? count - i : CMD_PRD_CHUNK;
		uint64_t at = table + CMD_TABLE_HEAD + (uint64_t)i * 16;
		int rc = mem_read(p->hba->env->mem, at, prd,
				  (size_t)n * CMD_PRD_SIZE);

		for (unsigned k = 0; k < n && rc == 0; k++)
			rc = cmd_add_prd(p->hba->env->mem, c, prd[k]);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return 0;
}

static void cmd_get_tf(struct ahci_cmd *c)
{
	const uint8_t *fis = c->fis;
	struct ata_tf *tf = &c->ata.tf;

	*tf = (struct ata_tf){
		.command = fis[2],
		.device = fis[7],
		.features = (uint16_t)(fis[3] | fis[11] << 8),
		.count = (uint16_t)(fis[12] | fis[13] << 8),
	};
	for (unsigned i = 0; i < 3; i++) {
		tf->lba |= (uint64_t)fis[4 + i] << i * 8;
		tf->lba |= (uint64_t)fis[8 + i] << (24 + i * 8);
	}
}

/* False: the port halts. */
static bool cmd_fetch(struct ahci_port *p, struct ahci_cmd *c)
{
	struct mem *mem = p->hba->env->mem;
	uint64_t list = (uint64_t)p->reg[PX_CLBU] << 32 | p->reg[PX_CLB];
	uint32_t header[4];
	uint8_t head[CMD_TABLE_HEAD];
	uint64_t table;

	c->header = list + c->ata.tag * CMD_HEADER_SIZE;
	dma_clear(&c->ata.dma);
	if (mem_read(mem, c->header, header, sizeof(header)))
		goto outside;
	table = ((uint64_t)header[3] << 32 | header[2]) & ~0x7full;
	if (mem_read(mem, table, head, sizeof(head)) ||
	    cmd_fetch_prds(p, c, table, header[0] >> 16))
		goto outside;
	memcpy(c->fis, head, sizeof(c->fis));
	memcpy(c->ata.cdb, head + CMD_TABLE_CDB, sizeof(c->ata.cdb));
	c->flags = (uint16_t)header[0];
	c->aborted = false;
	cmd_get_tf(c);
	c->ncq = !p->ata->ops->packet && (c->ata.tf.command == CMD_FPDMA0 ||
					  c->ata.tf.command == CMD_FPDMA1);
	if ((c->flags & AHCI_HDR_CFL) < 4 || c->fis[0] != FIS_REG_H2D) {
		cmd_halt(p, AHCI_IS_IFS);
		return false;
	}
	return true;
outside:
	log_guest("ahci: slot %u names memory that is not RAM", c->ata.tag);
	cmd_halt(p, AHCI_IS_HBFS);
	return false;
}

/* --- Starting --------------------------------------------------------------
 */

/* A FIS for the control register: software reset (Serial ATA 3.1, 11.4). */
static void cmd_control(struct ahci_port *p, struct ahci_cmd *c)
{
	bool srst = c->fis[15] & FIS_CONTROL_SRST;
	bool released = p->srst && !srst;

	p->reg[PX_CI] &= ~cmd_bit(c);
	p->srst = srst;
	if (!released)
		return;
	p->ata->ops->reset(p->ata, false, &p->sig);
	ahci_send_signature(p);
}

/* A queued command leaves PxCI when the drive has taken it (AHCI 5.6.4). */
static void cmd_activate(struct ahci_port *p, struct ahci_cmd *c)
{
	atomic_store(&c->left, c->ata.request_count);
	atomic_store(&c->result, 0);
	p->active |= cmd_bit(c);
	p->exclusive = !c->ncq;
	if (c->ncq)
		p->reg[PX_CI] &= ~cmd_bit(c);
	else
		p->reg[PX_TFD] |= ATA_STATUS_BSY;
}

/* True: it is active, and its requests are to be submitted. */
static bool cmd_start(struct ahci_port *p, struct ahci_cmd *c)
{
	p->last = c->ata.tag;
	p->reg[PX_CMD] &= ~AHCI_CMD_CCS;
	p->reg[PX_CMD] |= p->last << 8;
	if (!(c->fis[1] & FIS_H2D_COMMAND)) {
		cmd_control(p, c);
		return false;
	}
	switch (p->ata->ops->start(p->ata, &c->ata)) {
	case ATA_PENDING:
		cmd_activate(p, c);
		return true;
	case ATA_SHORT:
		cmd_halt(p, AHCI_IS_OFS);
		return false;
	case ATA_DONE:
		break;
	}
	if (c->ncq)
		p->reg[PX_CI] &= ~cmd_bit(c);
	cmd_complete(p, c);
	return false;
}

/* NULL: nothing can start now. */
static struct ahci_cmd *cmd_next(struct ahci_port *p)
{
	uint32_t ready = p->reg[PX_CI] & ~p->active;

	if (!ready || !pci_is_master(&p->hba->pci) ||
	    !(p->reg[PX_CMD] & AHCI_CMD_ST) || p->halted || p->full ||
	    p->aborted || (p->active && p->exclusive) ||
	    (p->reg[PX_SSTS] & AHCI_DET_MASK) != AHCI_SSTS_UP)
		return NULL;
	for (unsigned i = 1; i <= AHCI_SLOTS; i++) {
		unsigned s = (p->last + i) % AHCI_SLOTS;

		if (ready >> s & 1)
			return &p->slot[s];
	}
	return NULL;
}

static unsigned cmd_collect(struct ahci_port *p, struct ahci_cmd *out[])
{
	unsigned n = 0;
	struct ahci_cmd *c;

	while ((c = cmd_next(p)) && cmd_fetch(p, c)) {
		if (p->active && !c->ncq)
			break; /* when those are done */
		if (cmd_start(p, c))
			out[n++] = c;
	}
	return n;
}

/* --- Requests --------------------------------------------------------------
 */

static bool cmd_lacks_room(const struct ahci_port *p, int result)
{
	return p->on_full.fn && (result == -ENOSPC || result == -EDQUOT);
}

/*
 * The host has no room: the command goes back to where it was fetched from,
 * where the driver leaves it until it is done, and the board is told.
 */
static void cmd_put_back(struct ahci_port *p, struct ahci_cmd *c)
{
	p->full = true;
	p->reg[PX_CI] |= cmd_bit(c);
	ata_release(&c->ata);
	dma_clear(&c->ata.dma);
	dev_hook_call(&p->on_full, 0);
}

static void cmd_end(struct ahci_port *p, struct ahci_cmd *c)
{
	int result = atomic_load(&c->result);

	if (!c->aborted && !p->halted && cmd_lacks_room(p, result)) {
		cmd_put_back(p, c);
		return;
	}
	p->ata->ops->finish(p->ata, &c->ata, result);
	if (c->aborted || p->halted)
		dma_clear(&c->ata.dma);
	else
		cmd_complete(p, c);
}

static void cmd_done(struct ahci_cmd *c)
{
	struct ahci_port *p = c->port;
	struct ahci *h = p->hba;

	pthread_mutex_lock(&h->lock);
	p->active &= ~cmd_bit(c);
	p->aborted &= ~cmd_bit(c);
	cmd_end(p, c);
	ahci_port_settle(p);
	ahci_run(p);
	ahci_update_irq(h, false);
	pthread_mutex_unlock(&h->lock);
}

static void cmd_request_done(struct block_request *r, int result)
{
	struct ata_cmd *ata = ((struct ata_request *)r)->cmd;
	struct ahci_cmd *c = (struct ahci_cmd *)ata;
	int none = 0;

	if (result)
		atomic_compare_exchange_strong(&c->result, &none, result);
	if (atomic_fetch_sub(&c->left, 1) == 1)
		cmd_done(c);
}

/*
 * Without the lock.  A command belongs to its requests from when the last of
 * them is submitted: it is not touched after that.
 */
static void cmd_submit(struct block_queue *q, struct ahci_cmd *cmds[],
		       unsigned n)
{
	struct block_request *r[AHCI_SLOTS];
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++) {
		struct ata_cmd *c = &cmds[i]->ata;
		unsigned left = c->request_count;

		for (struct ata_request *a = c->requests; left; a++) {
			a->block.done = cmd_request_done;
			r[count++] = &a->block;
			left--;
			if (count < AHCI_SLOTS && (left || i + 1 < n))
				continue;
			block_submit_many(q, r, count);
			count = 0;
		}
	}
}

void ahci_run(struct ahci_port *p)
{
	struct ahci_cmd *cmds[AHCI_SLOTS];
	struct ahci *h = p->hba;
	unsigned n;

	p->again = true;
	if (p->running)
		return;
	p->running = true;
	while (p->again) {
		struct block_queue *q = p->queue;

		p->again = false;
		n = cmd_collect(p, cmds);
		if (!n)
			continue;
		ahci_update_irq(h, false);
		pthread_mutex_unlock(&h->lock);
		cmd_submit(q, cmds, n);
		pthread_mutex_lock(&h->lock);
	}
	p->running = false;
	if (!p->active)
		ahci_port_idle(p);
}
