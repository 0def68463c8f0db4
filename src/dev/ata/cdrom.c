/*
 * cdrom.c - an ATAPI CD-ROM drive: ATA commands, medium and tray, reading.
 *
 * Theory of operation
 *
 * Source: ACS-3, 7.18 (PACKET); MMC-6 (T10/1836-D), SPC-4.
 *
 * A packet's first byte chooses a line of cdrom_ops: what does it, and
 * whether it needs a medium.  Every answer that is not a read is built in a
 * small buffer and cut to what the packet asks for; reads go to the disk's
 * queue as any disk's.  A failed command ends with CHECK CONDITION: the ERR
 * bit, the sense key in the error register, and the whole sense kept for
 * REQUEST SENSE.
 *
 * A new medium is announced in the three ways that systems look for: unit
 * attention with the next command that reports it, a media event, and what
 * TEST UNIT READY says.
 */
#include "dev/ata/cdrom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CDROM_REASON_DONE 0x03 /* IO and CoD: command complete */
#define CDROM_REASON_IN   0x02
#define CDROM_DMA         0x01 /* FEATURES of PACKET */
#define CDROM_PIO_MOST    0xfffeu

static struct cdrom *cdrom_of(struct ata *a)
{
	return (struct cdrom *)a;
}

/* --- Ends of a packet command ----------------------------------------------
 */

enum ata_result cdrom_good(struct cdrom *d, struct ata_cmd *c)
{
	c->tf.count = CDROM_REASON_DONE;
	d->sense = CDROM_NO_SENSE;
	return ata_ok(c);
}

enum ata_result cdrom_fail(struct cdrom *d, struct ata_cmd *c, uint32_t sense)
{
	d->sense = sense;
	c->tf.count = CDROM_REASON_DONE;
	return ata_fail(c, (uint8_t)(sense >> 16 << 4 | ATA_ERROR_ABRT));
}

/* By PIO the byte count register says how much comes (ACS-3, 7.18). */
static void cdrom_data_in(struct ata_cmd *c)
{
	uint64_t n = c->moved < CDROM_PIO_MOST ? c->moved : CDROM_PIO_MOST;

	if (!(c->tf.features & CDROM_DMA) && c->moved)
		c->reply = ATA_REPLY_PACKET_IN;
	c->tf.lba = (c->tf.lba & 0xff) | n << 8;
}

enum ata_result cdrom_answer(struct cdrom *d, struct ata_cmd *c,
			     const void *buf, unsigned len, unsigned wanted)
{
	c->moved = dma_write(&c->dma, 0, buf, len < wanted ? len : wanted);
	cdrom_data_in(c);
	return cdrom_good(d, c);
}

/* --- Reading ---------------------------------------------------------------
 */

static enum ata_result cdrom_read_blocks(struct cdrom *d, struct ata_cmd *c,
					 uint32_t lba, uint32_t count)
{
	if (lba > d->blocks || count > d->blocks - lba)
		return cdrom_fail(d, c, CDROM_BAD_LBA);
	if (!count)
		return cdrom_good(d, c);
	c->moved = (uint64_t)count * CDROM_BLOCK;
	if (c->dma.length < c->moved)
		return ATA_SHORT;
	dma_clip(&c->dma, c->moved);
	cdrom_data_in(c);
	return ata_request(c, BLOCK_OP_READ, (uint64_t)lba * CDROM_BLOCK, 0);
}

static enum ata_result cdrom_read10(struct cdrom *d, struct ata_cmd *c)
{
	return cdrom_read_blocks(d, c, cdrom_be32(c->cdb + 2),
				 cdrom_be16(c->cdb + 7));
}

static enum ata_result cdrom_read12(struct cdrom *d, struct ata_cmd *c)
{
	return cdrom_read_blocks(d, c, cdrom_be32(c->cdb + 2),
				 cdrom_be32(c->cdb + 6));
}

/* READ CD: user data of mode 1 sectors, or nothing (MMC-6, 6.19). */
static enum ata_result cdrom_read_cd(struct cdrom *d, struct ata_cmd *c)
{
	uint32_t count = cdrom_be32(c->cdb + 5) & 0xffffff;
	unsigned type = c->cdb[1] >> 2 & 7;
	unsigned parts = c->cdb[9] & 0xf8;

	if ((type != 0 && type != 2) || (c->cdb[10] & 7))
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	if (parts == 0)
		return cdrom_good(d, c);
	if (parts != 0x10)
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	return cdrom_read_blocks(d, c, cdrom_be32(c->cdb + 2), count);
}

static enum ata_result cdrom_seek(struct cdrom *d, struct ata_cmd *c)
{
	return cdrom_be32(c->cdb + 2) < d->blocks
		       ? cdrom_good(d, c)
		       : cdrom_fail(d, c, CDROM_BAD_LBA);
}

/* --- Medium and tray -------------------------------------------------------
 */

static void cdrom_measure(struct cdrom *d)
{
	uint64_t blocks = d->ata.block ? d->ata.block->size / CDROM_BLOCK : 0;

	d->blocks = blocks < UINT32_MAX ? (uint32_t)blocks : UINT32_MAX;
}

static bool cdrom_ready(const struct cdrom *d)
{
	return d->blocks && !d->open;
}

static enum ata_result cdrom_nothing(struct cdrom *d, struct ata_cmd *c)
{
	return cdrom_good(d, c);
}

static enum ata_result cdrom_prevent(struct cdrom *d, struct ata_cmd *c)
{
	d->locked = c->cdb[4] & 1;
	return cdrom_good(d, c);
}

/* START STOP UNIT: bit 1 tray, bit 0 start (MMC-6, 6.42). */
static enum ata_result cdrom_start_stop(struct cdrom *d, struct ata_cmd *c)
{
	bool tray = c->cdb[4] & 2, start = c->cdb[4] & 1;

	if (c->cdb[4] >> 4 || !tray) /* a power condition, or only the motor */
		return cdrom_good(d, c);
	if (!start && d->locked)
		return cdrom_fail(d, c, CDROM_LOCKED);
	if (d->open && start && d->blocks) {
		d->changed = true;
		d->event = CDROM_EVENT_NEW;
	} else if (!d->open && !start && d->blocks) {
		d->event = CDROM_EVENT_REMOVED;
	}
	d->open = !start;
	return cdrom_good(d, c);
}

static int cdrom_set_medium(struct ata *a, struct block *b, struct err *err)
{
	struct cdrom *d = cdrom_of(a);

	if (d->locked && d->blocks && !d->open) {
		d->event = CDROM_EVENT_EJECT; /* the button was pressed */
		return err_set(err, EBUSY,
			       "the guest has locked the CD-ROM's tray");
	}
	a->block = b;
	cdrom_measure(d);
	d->open = false;
	d->changed = d->blocks;
	d->event = d->blocks ? CDROM_EVENT_NEW : CDROM_EVENT_REMOVED;
	return 0;
}

/* --- Packets ---------------------------------------------------------------
 */

#define CDROM_MEDIUM 0x1 /* needs one */
#define CDROM_QUIET  0x2 /* done even if unit attention is due (SPC-4, 5.14) */

struct cdrom_op {
	cdrom_fn *fn;
	unsigned how;
};

static const struct cdrom_op cdrom_ops[256] = {
	[0x00] = { cdrom_nothing, CDROM_MEDIUM }, /* TEST UNIT READY */
	[0x03] = { cdrom_request_sense, CDROM_QUIET },
	[0x12] = { cdrom_inquiry, CDROM_QUIET },
	[0x1a] = { cdrom_mode_sense6, 0 },
	[0x1b] = { cdrom_start_stop, 0 },
	[0x1e] = { cdrom_prevent, 0 },
	[0x23] = { cdrom_format_capacities, 0 },
	[0x25] = { cdrom_read_capacity, CDROM_MEDIUM },
	[0x28] = { cdrom_read10, CDROM_MEDIUM },
	[0x2b] = { cdrom_seek, CDROM_MEDIUM },
	[0x2f] = { cdrom_nothing, CDROM_MEDIUM }, /* VERIFY */
	[0x35] = { cdrom_nothing, 0 },            /* SYNCHRONIZE CACHE */
	[0x42] = { cdrom_subchannel, CDROM_MEDIUM },
	[0x43] = { cdrom_read_toc, CDROM_MEDIUM },
	[0x46] = { cdrom_configuration, CDROM_QUIET },
	[0x4a] = { cdrom_event_status, CDROM_QUIET },
	[0x51] = { cdrom_disc_info, CDROM_MEDIUM },
	[0x52] = { cdrom_track_info, CDROM_MEDIUM },
	[0x5a] = { cdrom_mode_sense10, 0 },
	[0xa0] = { cdrom_report_luns, CDROM_QUIET },
	[0xa8] = { cdrom_read12, CDROM_MEDIUM },
	[0xbb] = { cdrom_nothing, 0 }, /* SET CD SPEED */
	[0xbd] = { cdrom_mechanism, 0 },
	[0xbe] = { cdrom_read_cd, CDROM_MEDIUM },
};

static enum ata_result cdrom_packet(struct cdrom *d, struct ata_cmd *c)
{
	const struct cdrom_op *op = &cdrom_ops[c->cdb[0]];

	if (!op->fn)
		return cdrom_fail(d, c, CDROM_BAD_OPCODE);
	if (d->changed && !(op->how & CDROM_QUIET)) {
		d->changed = false;
		return cdrom_fail(d, c, CDROM_CHANGED);
	}
	if ((op->how & CDROM_MEDIUM) && !cdrom_ready(d))
		return cdrom_fail(
			d, c, d->open ? CDROM_NO_MEDIUM_OUT : CDROM_NO_MEDIUM);
	return op->fn(d, c);
}

/* --- ATA commands ----------------------------------------------------------
 */

/* The signature of a packet device (Serial ATA 3.1, 11.2.2). */
static void cdrom_signature(struct ata_tf *tf)
{
	*tf = (struct ata_tf){ .error = 1, .count = 1, .lba = 0xeb1401 };
}

static enum ata_result cdrom_not_disk(struct ata_cmd *c)
{
	cdrom_signature(&c->tf);
	return ata_fail(c, ATA_ERROR_ABRT);
}

static enum ata_result cdrom_ata_identify(struct cdrom *d, struct ata_cmd *c)
{
	uint16_t id[256];

	cdrom_identify(d, id);
	c->reply = ATA_REPLY_PIO_IN;
	return ata_answer(c, id, sizeof(id));
}

static enum ata_result cdrom_set_features(struct cdrom *d, struct ata_cmd *c)
{
	switch (c->tf.features & 0xff) {
	case 0x03:
		d->udma = (uint8_t)c->tf.count;
		return ata_ok(c);
	case 0x66:
	case 0xcc:
		return ata_ok(c);
	default:
		return ata_fail(c, ATA_ERROR_ABRT);
	}
}

static enum ata_result cdrom_start(struct ata *a, struct ata_cmd *c)
{
	struct cdrom *d = cdrom_of(a);

	c->reply = ATA_REPLY_REGS;
	c->moved = 0;
	switch (c->tf.command) {
	case 0xa0:
		return cdrom_packet(d, c);
	case 0xa1:
		return cdrom_ata_identify(d, c);
	case 0x08: /* DEVICE RESET */
	case 0x90: /* EXECUTE DEVICE DIAGNOSTIC */
		cdrom_signature(&c->tf);
		return ATA_DONE;
	case 0xef:
		return cdrom_set_features(d, c);
	case 0xe5: /* CHECK POWER MODE */
		c->tf.count = 0xff;
		return ata_ok(c);
	case 0xe0 ... 0xe3: /* STANDBY, IDLE */
	case 0xe6:
	case 0xe7: /* FLUSH CACHE */
		return ata_ok(c);
	case 0xec: /* IDENTIFY DEVICE, READ SECTORS: say whose they are not */
	case 0x20:
	case 0x21:
		return cdrom_not_disk(c);
	default:
		return ata_fail(c, ATA_ERROR_ABRT);
	}
}

/* Only reads are ever pending. */
static void cdrom_finish(struct ata *a, struct ata_cmd *c, int result)
{
	struct cdrom *d = cdrom_of(a);

	dma_written(&c->dma, c->moved);
	ata_release(c);
	if (result)
		cdrom_fail(d, c, CDROM_READ_ERROR);
	else
		cdrom_good(d, c);
}

/* --- Life ------------------------------------------------------------------
 */

static void cdrom_reset(struct ata *a, bool power_on, struct ata_tf *tf)
{
	struct cdrom *d = cdrom_of(a);

	d->locked = false;
	d->sense = CDROM_NO_SENSE;
	if (power_on) { /* a tray that is open stays so, until it is pushed */
		d->open = false;
		d->changed = false;
		d->event = CDROM_EVENT_NONE;
		d->udma = 0x45;
	}
	cdrom_signature(tf);
}

static void cdrom_walk(struct ata *a, struct walk *w, unsigned instance)
{
	struct cdrom *d = cdrom_of(a);

	if (!walk_section(w, "ata-cdrom", instance, 1))
		return;
	walk_bool(w, "open", &d->open);
	walk_bool(w, "locked", &d->locked);
	walk_bool(w, "changed", &d->changed);
	walk_u8(w, "event", &d->event);
	walk_u8(w, "udma", &d->udma);
	walk_u32(w, "sense", &d->sense);
	walk_end(w);
	if (walk_restoring(w) && d->event > CDROM_EVENT_REMOVED)
		walk_fail(w, "ata-cdrom: no such event");
}

static void cdrom_free(struct ata *a)
{
	free(a);
}

static const struct ata_ops cdrom_ata_ops = {
	.packet = true,
	.reset = cdrom_reset,
	.start = cdrom_start,
	.finish = cdrom_finish,
	.walk = cdrom_walk,
	.set_medium = cdrom_set_medium,
	.free = cdrom_free,
};

int ata_cdrom_new(struct ata **out, struct block *b, unsigned number,
		  struct err *err)
{
	struct cdrom *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ENOMEM, "no memory for a CD-ROM drive");
	d->ata.ops = &cdrom_ata_ops;
	d->ata.block = b;
	d->number = number;
	d->udma = 0x45;
	cdrom_measure(d);
	*out = &d->ata;
	return 0;
}
