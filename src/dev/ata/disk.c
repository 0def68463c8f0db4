/*
 * disk.c - an ATA disk: the command set.
 *
 * Theory of operation
 *
 * Source: ACS-3 (T13/2161-D).  The table at the end of this file says for
 * each command code which function does it and how it counts: 28-bit or
 * 48-bit addresses, data by PIO or DMA or queued.  The adapter moves data in
 * the same way whichever protocol it is, so that the protocol matters only
 * for the answer (enum ata_reply).
 *
 * A sector is 512 bytes, eight of them a physical one, since the files that
 * disks lie in have pages and clusters of at least 4 KiB.
 *
 * Power states change nothing but what CHECK POWER MODE says.  Deliberately
 * missing: security, HPA, DCO, streaming, microcode.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ata/ata.h"

#define DISK_EXT   0x01 /* 48-bit LBA, 16-bit count */
#define DISK_NCQ   0x02 /* queued: count in FEATURES */
#define DISK_PIO   0x04 /* data after PIO Setup */
#define DISK_WRITE 0x08
#define DISK_FUA   0x10

#define DISK_HEADS     16
#define DISK_TRACK     63
#define DISK_DEV_LBA   0x40
#define DISK_DEV_FUA   0x80 /* FPDMA QUEUED: DEVICE bit 7 */
#define DISK_TRIM_BIT  0x01
#define DISK_TRIM_PAGE 64 /* ranges */
#define DISK_LBA_MASK  0xffffffffffffull

static struct ata_disk *disk_of(struct ata *a)
{
	return (struct ata_disk *)a;
}

/* --- Reading and writing ---------------------------------------------------
 */

/* CHS, for commands with the LBA bit clear, by the geometry in IDENTIFY. */
static uint64_t disk_chs(const struct ata_tf *tf)
{
	uint64_t cylinder = tf->lba >> 8 & 0xffff;
	uint64_t head = tf->device & 0xf;
	uint64_t sector = tf->lba & 0xff;

	if (!sector)
		return DISK_LBA_MASK;
	return (cylinder * DISK_HEADS + head) * DISK_TRACK + sector - 1;
}

static void disk_range(const struct ata_tf *tf, unsigned how, uint64_t *lba,
		       uint32_t *count)
{
	uint16_t n = how & DISK_NCQ ? tf->features : tf->count;

	if (how & DISK_EXT) {
		*lba = tf->lba;
		*count = n ? n : 0x10000;
		return;
	}
	*count = n & 0xff ? n & 0xff : 0x100;
	if (tf->device & DISK_DEV_LBA)
		*lba = (tf->lba & 0xffffff) | (tf->device & 0xfull) << 24;
	else
		*lba = disk_chs(tf);
}

static bool disk_holds(const struct ata_disk *d, uint64_t lba, uint64_t count)
{
	return lba <= d->sectors && count <= d->sectors - lba;
}

static enum ata_result disk_transfer(struct ata_disk *d, struct ata_cmd *c,
				     unsigned how)
{
	uint64_t lba;
	uint32_t count;
	bool write = how & DISK_WRITE;
	bool fua = how & DISK_FUA;

	disk_range(&c->tf, how, &lba, &count);
	if (how & DISK_NCQ) {
		c->reply = ATA_REPLY_NCQ;
		fua = c->tf.device & DISK_DEV_FUA;
		if ((c->tf.count & 0xffu) >> 3 != c->tag)
			return ata_fail(c, ATA_ERROR_ABRT);
	} else if ((how & DISK_PIO) && !write) {
		c->reply = ATA_REPLY_PIO_IN;
	}
	if (!disk_holds(d, lba, count))
		return ata_fail(c, ATA_ERROR_IDNF);
	if (write && d->ata.block->readonly)
		return ata_fail(c, ATA_ERROR_ABRT);
	c->moved = (uint64_t)count * ATA_SECTOR;
	if (c->dma.length < c->moved)
		return ATA_SHORT;
	dma_clip(&c->dma, c->moved);
	return ata_request(c, write ? BLOCK_OP_WRITE : BLOCK_OP_READ,
			   lba * ATA_SECTOR,
			   write && (fua || !d->write_cache) ? BLOCK_FUA : 0);
}

/* READ MULTIPLE and its kin need a block size (ACS-3, 7.26). */
static enum ata_result disk_multiple(struct ata_disk *d, struct ata_cmd *c,
				     unsigned how)
{
	return d->multiple ? disk_transfer(d, c, how | DISK_PIO)
			   : ata_fail(c, ATA_ERROR_ABRT);
}

/* READ VERIFY, SEEK: the sectors are as good as reading them would find. */
static enum ata_result disk_verify(struct ata_disk *d, struct ata_cmd *c,
				   unsigned how)
{
	uint64_t lba;
	uint32_t count;

	disk_range(&c->tf, how, &lba, &count);
	return disk_holds(d, lba, count) ? ata_ok(c)
					 : ata_fail(c, ATA_ERROR_IDNF);
}

static enum ata_result disk_flush(struct ata_disk *d, struct ata_cmd *c,
				  unsigned how)
{
	return ata_request(c, BLOCK_OP_FLUSH, 0, 0);
}

/* --- TRIM ------------------------------------------------------------------
 */

/*
 * DATA SET MANAGEMENT (ACS-3, 7.5; ranges: A.6): 8 bytes each, count 63..48,
 * LBA 47..0; a count of 0 is padding.
 */
static enum ata_result disk_trim_ranges(struct ata_disk *d, struct ata_cmd *c,
					const uint64_t *ranges, unsigned n)
{
	unsigned used = 0;

	if (!ata_reserve(c, n))
		return ata_fail(c, ATA_ERROR_ABRT);
	for (unsigned i = 0; i < n; i++) {
		uint64_t lba = ranges[i] & DISK_LBA_MASK;
		uint64_t count = ranges[i] >> 48;

		if (!count)
			continue;
		if (!disk_holds(d, lba, count)) {
			ata_release(c);
			return ata_fail(c, ATA_ERROR_IDNF);
		}
		c->requests[used].block.op = BLOCK_OP_DISCARD;
		c->requests[used].block.offset = lba * ATA_SECTOR;
		c->requests[used++].block.length = count * ATA_SECTOR;
	}
	c->request_count = used;
	if (used)
		return ATA_PENDING;
	ata_release(c);
	return ata_ok(c);
}

static enum ata_result disk_trim(struct ata_disk *d, struct ata_cmd *c,
				 unsigned how)
{
	uint64_t ranges[ATA_TRIM_PAGES * DISK_TRIM_PAGE];
	uint64_t bytes = (uint64_t)c->tf.count * ATA_SECTOR;

	if (!(c->tf.features & DISK_TRIM_BIT) || !bytes ||
	    bytes > sizeof(ranges) || d->ata.block->readonly)
		return ata_fail(c, ATA_ERROR_ABRT);
	c->moved = dma_read(&c->dma, 0, ranges, bytes);
	if (c->moved < bytes)
		return ATA_SHORT;
	return disk_trim_ranges(d, c, ranges, (unsigned)(bytes / 8));
}

/* --- Identity, features, power ---------------------------------------------
 */

static enum ata_result disk_identify(struct ata_disk *d, struct ata_cmd *c,
				     unsigned how)
{
	uint16_t id[256];

	ata_disk_identify(d, id);
	c->reply = ATA_REPLY_PIO_IN;
	return ata_answer(c, id, sizeof(id));
}

static enum ata_result disk_smart(struct ata_disk *d, struct ata_cmd *c,
				  unsigned how)
{
	return ata_disk_smart(d, c);
}

static enum ata_result disk_read_log(struct ata_disk *d, struct ata_cmd *c,
				     unsigned how)
{
	c->reply = how & DISK_PIO ? ATA_REPLY_PIO_IN : ATA_REPLY_REGS;
	return ata_disk_read_log(d, c);
}

/* The signature of an ATA disk (Serial ATA 3.1, 11.2.2). */
static void disk_signature(struct ata_tf *tf)
{
	*tf = (struct ata_tf){
		.status = ATA_STATUS_OK, .error = 1, .count = 1, .lba = 1
	};
}

/* IDENTIFY PACKET DEVICE, DEVICE RESET: says whose they are not. */
static enum ata_result disk_not_packet(struct ata_disk *d, struct ata_cmd *c,
				       unsigned how)
{
	disk_signature(&c->tf);
	return ata_fail(c, ATA_ERROR_ABRT);
}

static enum ata_result disk_diagnose(struct ata_disk *d, struct ata_cmd *c,
				     unsigned how)
{
	disk_signature(&c->tf);
	return ATA_DONE;
}

/* SET FEATURES (ACS-3, 7.45). */
static enum ata_result disk_set_features(struct ata_disk *d, struct ata_cmd *c,
					 unsigned how)
{
	switch (c->tf.features & 0xff) {
	case 0x02:
		d->write_cache = true;
		return ata_ok(c);
	case 0x82: /* what was cached must not be lost now */
		d->write_cache = false;
		return ata_request(c, BLOCK_OP_FLUSH, 0, 0);
	case 0x03:
		d->udma = (uint8_t)c->tf.count;
		return ata_ok(c);
	case 0x55:
	case 0xaa:
		d->look_ahead = (c->tf.features & 0xff) == 0xaa;
		return ata_ok(c);
	case 0x66: /* power-on defaults after soft reset or not */
	case 0xcc:
		return ata_ok(c);
	default:
		return ata_fail(c, ATA_ERROR_ABRT);
	}
}

static enum ata_result disk_set_multiple(struct ata_disk *d, struct ata_cmd *c,
					 unsigned how)
{
	uint8_t n = (uint8_t)c->tf.count;

	if (n > 16 || (n & (n - 1)))
		return ata_fail(c, ATA_ERROR_ABRT);
	d->multiple = n;
	return ata_ok(c);
}

static enum ata_result disk_standby(struct ata_disk *d, struct ata_cmd *c,
				    unsigned how)
{
	d->standby = true;
	return ata_request(c, BLOCK_OP_FLUSH, 0, 0);
}

static enum ata_result disk_idle(struct ata_disk *d, struct ata_cmd *c,
				 unsigned how)
{
	d->standby = false;
	return ata_ok(c);
}

/* CHECK POWER MODE: FFh active or idle, 00h standby (ACS-3, 7.3). */
static enum ata_result disk_power_mode(struct ata_disk *d, struct ata_cmd *c,
				       unsigned how)
{
	c->tf.count = d->standby ? 0 : 0xff;
	return ata_ok(c);
}

static enum ata_result disk_native_max(struct ata_disk *d, struct ata_cmd *c,
				       unsigned how)
{
	uint64_t last = d->sectors - 1;

	if (!(how & DISK_EXT)) {
		last = last < 0xfffffff ? last : 0xfffffff;
		c->tf.device = (uint8_t)((c->tf.device & 0xf0) | last >> 24);
		last &= 0xffffff;
	}
	c->tf.lba = last;
	return ata_ok(c);
}

static enum ata_result disk_nothing(struct ata_disk *d, struct ata_cmd *c,
				    unsigned how)
{
	return ata_ok(c);
}

/* --- The table -------------------------------------------------------------
 */

struct disk_op {
	enum ata_result (*fn)(struct ata_disk *d, struct ata_cmd *c,
			      unsigned how);
	unsigned how;
};

static const struct disk_op disk_ops[256] = {
	[0x06] = { disk_trim, 0 },
	[0x08] = { disk_not_packet, 0 },
	[0x10] = { disk_nothing, 0 }, /* RECALIBRATE */
	[0x20] = { disk_transfer, DISK_PIO },
	[0x21] = { disk_transfer, DISK_PIO },
	[0x24] = { disk_transfer, DISK_PIO | DISK_EXT },
	[0x25] = { disk_transfer, DISK_EXT },
	[0x27] = { disk_native_max, DISK_EXT },
	[0x29] = { disk_multiple, DISK_EXT },
	[0x2f] = { disk_read_log, DISK_PIO },
	[0x30] = { disk_transfer, DISK_PIO | DISK_WRITE },
	[0x31] = { disk_transfer, DISK_PIO | DISK_WRITE },
	[0x34] = { disk_transfer, DISK_PIO | DISK_WRITE | DISK_EXT },
	[0x35] = { disk_transfer, DISK_WRITE | DISK_EXT },
	[0x39] = { disk_multiple, DISK_WRITE | DISK_EXT },
	[0x3d] = { disk_transfer, DISK_WRITE | DISK_EXT | DISK_FUA },
	[0x40] = { disk_verify, 0 },
	[0x41] = { disk_verify, 0 },
	[0x42] = { disk_verify, DISK_EXT },
	[0x47] = { disk_read_log, 0 },
	[0x60] = { disk_transfer, DISK_NCQ | DISK_EXT },
	[0x61] = { disk_transfer, DISK_NCQ | DISK_EXT | DISK_WRITE },
	[0x70] = { disk_nothing, 0 }, /* SEEK */
	[0x90] = { disk_diagnose, 0 },
	[0x91] = { disk_nothing, 0 }, /* INITIALIZE DEVICE PARAMETERS */
	[0xa1] = { disk_not_packet, 0 },
	[0xb0] = { disk_smart, 0 },
	[0xc4] = { disk_multiple, 0 },
	[0xc5] = { disk_multiple, DISK_WRITE },
	[0xc6] = { disk_set_multiple, 0 },
	[0xc8] = { disk_transfer, 0 },
	[0xc9] = { disk_transfer, 0 },
	[0xca] = { disk_transfer, DISK_WRITE },
	[0xcb] = { disk_transfer, DISK_WRITE },
	[0xce] = { disk_multiple, DISK_WRITE | DISK_EXT | DISK_FUA },
	[0xe0] = { disk_standby, 0 },
	[0xe1] = { disk_idle, 0 },
	[0xe2] = { disk_standby, 0 },
	[0xe3] = { disk_idle, 0 },
	[0xe5] = { disk_power_mode, 0 },
	[0xe6] = { disk_standby, 0 }, /* SLEEP: any command wakes it here */
	[0xe7] = { disk_flush, 0 },
	[0xea] = { disk_flush, 0 },
	[0xec] = { disk_identify, 0 },
	[0xef] = { disk_set_features, 0 },
	[0xf8] = { disk_native_max, 0 },
};

/* For log page 10h, which drivers read after a queued command failed. */
static void disk_note_ncq(struct ata_disk *d, const struct ata_cmd *c)
{
	if (c->reply != ATA_REPLY_NCQ || !c->tf.error)
		return;
	d->ncq_failed = true;
	d->ncq_tag = (uint8_t)c->tag;
	d->ncq_tf = c->tf;
}

static enum ata_result disk_start(struct ata *a, struct ata_cmd *c)
{
	const struct disk_op *op = &disk_ops[c->tf.command];
	enum ata_result r;

	c->reply = ATA_REPLY_REGS;
	c->moved = 0;
	if (!op->fn)
		return ata_fail(c, ATA_ERROR_ABRT);
	r = op->fn(disk_of(a), c, op->how);
	if (r == ATA_DONE)
		disk_note_ncq(disk_of(a), c);
	return r;
}

static void disk_finish(struct ata *a, struct ata_cmd *c, int result)
{
	bool read = c->requests->block.op == BLOCK_OP_READ;

	if (read)
		dma_written(&c->dma, c->moved);
	ata_release(c);
	if (result)
		ata_fail(c, read ? ATA_ERROR_UNC : ATA_ERROR_ABRT);
	else
		ata_ok(c);
	disk_note_ncq(disk_of(a), c);
}

/* --- Life ------------------------------------------------------------------
 */

static void disk_defaults(struct ata_disk *d)
{
	d->write_cache = true;
	d->look_ahead = true;
	d->smart = true;
	d->multiple = 16;
	d->udma = 0x45; /* UDMA 5 */
	d->ncq_failed = false;
	d->ncq_tag = 0;
	memset(&d->ncq_tf, 0, sizeof(d->ncq_tf));
}

/* Settings outlive a reset from the bus (ACS-3, 7.45.1: by default here). */
static void disk_reset(struct ata *a, bool power_on, struct ata_tf *tf)
{
	struct ata_disk *d = disk_of(a);

	if (power_on)
		disk_defaults(d);
	d->standby = false;
	disk_signature(tf);
}

static void disk_walk(struct ata *a, struct walk *w, unsigned instance)
{
	struct ata_disk *d = disk_of(a);

	if (!walk_section(w, "ata-disk", instance, 1))
		return;
	walk_bool(w, "write_cache", &d->write_cache);
	walk_bool(w, "look_ahead", &d->look_ahead);
	walk_bool(w, "smart", &d->smart);
	walk_bool(w, "standby", &d->standby);
	walk_u8(w, "multiple", &d->multiple);
	walk_u8(w, "udma", &d->udma);
	walk_bool(w, "ncq_failed", &d->ncq_failed);
	walk_u8(w, "ncq_tag", &d->ncq_tag);
	walk_u8(w, "ncq_status", &d->ncq_tf.status);
	walk_u8(w, "ncq_error", &d->ncq_tf.error);
	walk_u8(w, "ncq_device", &d->ncq_tf.device);
	walk_u16(w, "ncq_count", &d->ncq_tf.count);
	walk_u64(w, "ncq_lba", &d->ncq_tf.lba);
	walk_end(w);
	if (walk_restoring(w) && (d->multiple > 16 || d->ncq_tag > 31))
		walk_fail(w, "ata-disk: impossible settings");
}

static void disk_free(struct ata *a)
{
	free(a);
}

static const struct ata_ops disk_ata_ops = {
	.reset = disk_reset,
	.start = disk_start,
	.finish = disk_finish,
	.walk = disk_walk,
	.free = disk_free,
};

int ata_disk_new(struct ata **out, struct block *b, unsigned number,
		 struct err *err)
{
	struct ata_disk *d = calloc(1, sizeof(*d));

	if (!d)
		return err_set(err, ENOMEM, "no memory for a disk");
	d->ata.ops = &disk_ata_ops;
	d->ata.block = b;
	d->number = number;
	d->sectors = b->size / ATA_SECTOR;
	disk_defaults(d);
	if (!d->sectors || d->sectors > DISK_LBA_MASK) {
		disk_free(&d->ata);
		return err_set(err, EINVAL,
			       "%s: an AHCI disk has 1 sector to 128 PiB",
			       b->path ? b->path : "disk");
	}
	*out = &d->ata;
	return 0;
}
