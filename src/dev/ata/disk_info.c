/*
 * disk_info.c - what an ATA disk says of itself: IDENTIFY, SMART, logs.
 *
 * Source: ACS-3, 7.12.7 (IDENTIFY DEVICE), 7.48 (SMART), annex A (logs).
 */
#include <stdio.h>
#include <string.h>

#include "dev/ata/ata.h"

#define INFO_LBA28_MAX 0xfffffffu
#define INFO_MODEL     "HOSTEL HARDDISK"

/* SMART wants these in the LBA, and answers so while all is well. */
#define INFO_SMART_KEY 0xc24f00

/* --- IDENTIFY --------------------------------------------------------------
 */

static void info_capacity(const struct ata_disk *d, uint16_t *id)
{
	uint32_t small = d->sectors < INFO_LBA28_MAX ? (uint32_t)d->sectors
						     : INFO_LBA28_MAX;
	uint64_t cylinders = d->sectors / (16 * 63);

	id[1] = cylinders < 16383 ? (uint16_t)cylinders : 16383;
	id[3] = 16;
	id[6] = 63;
	id[60] = (uint16_t)small;
	id[61] = (uint16_t)(small >> 16);
	for (unsigned i = 0; i < 4; i++)
		id[100 + i] = (uint16_t)(d->sectors >> i * 16);
	id[106] = 0x6003; /* 2^3 logical sectors in a physical one */
	id[209] = 0x4000; /* the first one is aligned */
}

/* Words 82-84 say what there is, 85-87 what is on. */
static void info_features(const struct ata_disk *d, uint16_t *id)
{
	id[82] = 0x4069; /* NOP, look-ahead, write cache, power, SMART */
	id[83] = 0x7400; /* FLUSH CACHE (EXT), 48-bit addresses */
	id[84] = 0x4160; /* World Wide Name, FUA, general purpose logs */
	id[85] = (uint16_t)(0x4008 | (d->look_ahead ? 0x40 : 0) |
			    (d->write_cache ? 0x20 : 0) | (d->smart ? 1 : 0));
	id[86] = 0x3400;
	id[87] = id[84];
	id[105] = ATA_TRIM_PAGES;
	id[119] = 0x4000;
	id[120] = 0x4000;
	id[169] = 0x0001; /* TRIM */
	id[217] = 1;      /* does not rotate */
}

static void info_modes(const struct ata_disk *d, uint16_t *id)
{
	unsigned mode = d->udma & 7;

	id[47] = 0x8010; /* READ MULTIPLE: at most 16 sectors */
	id[49] = 0x2f00; /* standby timer, IORDY, LBA, DMA */
	id[50] = 0x4000;
	id[59] = d->multiple ? 0x0100 | d->multiple : 0;
	id[75] = 31;      /* queue depth - 1 */
	id[76] |= 0x0100; /* NCQ */
	id[88] = 0x003f;  /* UDMA 0-5 */
	if (d->udma >> 3 == 8 && mode < 6)
		id[88] |= (uint16_t)(0x100 << mode);
	else if (d->udma >> 3 == 4 && mode < 3)
		id[63] |= (uint16_t)(0x100 << mode);
}

void ata_disk_identify(const struct ata_disk *d, uint16_t id[256])
{
	char serial[21];

	memset(id, 0, 256 * sizeof(*id));
	snprintf(serial, sizeof(serial), "HS%08u", d->number + 1);
	id[0] = 0x0040; /* an ATA device, fixed */
	ata_identify_common(id, INFO_MODEL, serial);
	info_capacity(d, id);
	info_modes(d, id);
	info_features(d, id);
	id[108] = 0x5000; /* NAA 5 */
	id[111] = (uint16_t)(d->number + 1);
	ata_identify_seal(id);
}

/* --- Pages of 512 bytes ----------------------------------------------------
 */

static void info_seal(uint8_t page[ATA_SECTOR])
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < ATA_SECTOR - 1; i++)
		sum += page[i];
	page[ATA_SECTOR - 1] = (uint8_t)-sum;
}

/* SMART READ DATA: temperature and hours, so that tools show something. */
static void info_smart_data(uint8_t page[ATA_SECTOR])
{
	static const struct {
		uint8_t id, flags, value, raw;
	} attr[] = {
		{ 1, 0x03, 100, 0 },   /* raw read error rate */
		{ 5, 0x03, 100, 0 },   /* reallocated sectors */
		{ 9, 0x03, 100, 1 },   /* power-on hours */
		{ 12, 0x03, 100, 0 },  /* power cycles */
		{ 190, 0x03, 69, 31 }, /* air flow temperature */
	};

	page[0] = 1; /* revision */
	for (unsigned i = 0; i < sizeof(attr) / sizeof(attr[0]); i++) {
		uint8_t *a = page + 2 + i * 12;

		a[0] = attr[i].id;
		a[1] = attr[i].flags;
		a[3] = a[4] = attr[i].value;
		a[5] = attr[i].raw;
	}
	page[367] = 0x10; /* SMART capability: saves attributes */
	page[368] = 0x03;
	page[370] = 0x01; /* error logging */
	page[372] = 2;    /* minutes of the short self-test */
	page[373] = 2;
	info_seal(page);
}

static void info_smart_thresholds(uint8_t page[ATA_SECTOR])
{
	static const uint8_t ids[] = { 1, 5, 9, 12, 190 };

	page[0] = 1;
	for (unsigned i = 0; i < sizeof(ids); i++)
		page[2 + i * 12] = ids[i];
	info_seal(page);
}

/* The summary error log and the self-test log: empty. */
static bool info_smart_log(uint8_t log, uint8_t page[ATA_SECTOR])
{
	switch (log) {
	case 0x00: /* directory: one page of each of these */
		page[0] = 1;
		page[1 * 2] = page[6 * 2] = 1;
		return true;
	case 0x01:
	case 0x06:
		page[0] = 1;
		info_seal(page);
		return true;
	default:
		return false;
	}
}

static enum ata_result info_smart_page(struct ata_cmd *c)
{
	uint8_t page[ATA_SECTOR] = { 0 };
	uint8_t log = (uint8_t)(c->tf.lba & 0xff);

	c->reply = ATA_REPLY_PIO_IN;
	if ((c->tf.features & 0xff) == 0xd0)
		info_smart_data(page);
	else if ((c->tf.features & 0xff) == 0xd1)
		info_smart_thresholds(page);
	else if (!info_smart_log(log, page))
		return ata_fail(c, ATA_ERROR_ABRT);
	return ata_answer(c, page, sizeof(page));
}

enum ata_result ata_disk_smart(struct ata_disk *d, struct ata_cmd *c)
{
	uint8_t what = (uint8_t)c->tf.features;

	if ((c->tf.lba & 0xffff00) != INFO_SMART_KEY ||
	    (!d->smart && what != 0xd8))
		return ata_fail(c, ATA_ERROR_ABRT);
	switch (what) {
	case 0xd0:
	case 0xd1:
	case 0xd5:
		return info_smart_page(c);
	case 0xd2: /* autosave */
	case 0xd3:
	case 0xd4: /* self-test: passed */
	case 0xdb:
	case 0xda: /* status: the key comes back, all is well */
		return ata_ok(c);
	case 0xd8:
	case 0xd9:
		d->smart = what == 0xd8;
		return ata_ok(c);
	default:
		return ata_fail(c, ATA_ERROR_ABRT);
	}
}

/* --- READ LOG EXT ----------------------------------------------------------
 */

/* Log 10h, NCQ Command Error (ACS-3, A.14); reading it clears it. */
static void info_ncq_error(struct ata_disk *d, uint8_t page[ATA_SECTOR])
{
	const struct ata_tf *tf = &d->ncq_tf;

	page[0] = d->ncq_failed ? d->ncq_tag : 0x80; /* 80h: not queued */
	page[2] = tf->status;
	page[3] = tf->error;
	for (unsigned i = 0; i < 3; i++) {
		page[4 + i] = (uint8_t)(tf->lba >> i * 8);
		page[8 + i] = (uint8_t)(tf->lba >> (24 + i * 8));
	}
	page[7] = tf->device;
	page[12] = (uint8_t)tf->count;
	page[13] = (uint8_t)(tf->count >> 8);
	info_seal(page);
	d->ncq_failed = false;
}

static bool info_log(struct ata_disk *d, uint8_t log, uint8_t page[ATA_SECTOR])
{
	switch (log) {
	case 0x00:
		page[0] = 1;
		page[0x10 * 2] = 1;
		return true;
	case 0x10:
		info_ncq_error(d, page);
		return true;
	default:
		return false;
	}
}

/* LBA 7..0 log, 39..32 and 15..8 page; one page of each log exists. */
enum ata_result ata_disk_read_log(struct ata_disk *d, struct ata_cmd *c)
{
	uint8_t page[ATA_SECTOR] = { 0 };
	uint64_t first = (c->tf.lba >> 8 & 0xff) | (c->tf.lba >> 24 & 0xff00);

	if (first || c->tf.count != 1 || !info_log(d, (uint8_t)c->tf.lba, page))
		return ata_fail(c, ATA_ERROR_ABRT);
	return ata_answer(c, page, sizeof(page));
}
