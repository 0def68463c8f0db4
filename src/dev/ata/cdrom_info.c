/*
 * cdrom_info.c - a CD-ROM drive's answers that are tables.
 *
 * Source: MMC-6 (T10/1836-D), SPC-4 (T10/1731-D); ACS-3, 7.13 (IDENTIFY
 * PACKET DEVICE).  All fields are big-endian.
 */
#include <stdio.h>
#include <string.h>

#include "dev/ata/cdrom.h"

#define INFO_TYPE     0x05 /* CD/DVD */
#define INFO_LEAD_OUT 0xaa
#define INFO_MSF_GAP  150 /* frames before LBA 0 */

#define INFO_PROFILE_CD  0x0008
#define INFO_PROFILE_DVD 0x0010
#define INFO_CD_BLOCKS   450000u /* 100 minutes: more is a DVD */

void cdrom_identify(const struct cdrom *d, uint16_t id[256])
{
	char serial[21];
	unsigned mode = d->udma & 7;

	memset(id, 0, 256 * sizeof(*id));
	snprintf(serial, sizeof(serial), "HC%08u", d->number + 1);
	id[0] = 0x85c0; /* packet device, CD-ROM, removable, 12 bytes */
	ata_identify_common(id, "HOSTEL CD-ROM", serial);
	id[49] = 0x0f00; /* IORDY, LBA, DMA */
	id[71] = 30;     /* ns to release the bus, service */
	id[72] = 30;
	id[82] = 0x4218; /* NOP, DEVICE RESET, PACKET, power */
	id[83] = 0x4000;
	id[84] = 0x4000;
	id[85] = 0x4218;
	id[87] = 0x4000;
	id[88] = 0x003f;
	if (d->udma >> 3 == 8 && mode < 6)
		id[88] |= (uint16_t)(0x100 << mode);
	ata_identify_seal(id);
}

/* --- Primary commands (SPC-4) ----------------------------------------------
 */

/* Vital product data: the list of pages, and the serial number. */
static enum ata_result info_vpd(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[32] = { INFO_TYPE, c->cdb[2] };

	if (c->cdb[2] == 0x00) {
		r[3] = 2;
		r[5] = 0x80;
	} else if (c->cdb[2] == 0x80) {
		r[3] = (uint8_t)snprintf((char *)r + 4, 20, "HC%08u",
					 d->number + 1);
	} else {
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	}
	return cdrom_answer(d, c, r, 4u + r[3], cdrom_be16(c->cdb + 3));
}

enum ata_result cdrom_inquiry(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[36] = { INFO_TYPE, 0x80, 0x05, 0x32, sizeof(r) - 5 };

	if (c->cdb[1] & 1)
		return info_vpd(d, c);
	memcpy(r + 8, "HOSTEL  CD-ROM          1.0 ", 28);
	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 3));
}

enum ata_result cdrom_request_sense(struct cdrom *d, struct ata_cmd *c)
{
	uint32_t s = d->sense;
	uint8_t r[18] = {
		0x70, 0, (uint8_t)(s >> 16), 0, 0, 0, 0, sizeof(r) - 8
	};

	if (!s && d->changed) {
		d->changed = false;
		s = CDROM_CHANGED;
		r[2] = (uint8_t)(s >> 16);
	}
	r[12] = (uint8_t)(s >> 8);
	r[13] = (uint8_t)s;
	return cdrom_answer(d, c, r, sizeof(r), c->cdb[4]);
}

enum ata_result cdrom_report_luns(struct cdrom *d, struct ata_cmd *c)
{
	static const uint8_t r[16] = { 0, 0, 0, 8 };

	return cdrom_answer(d, c, r, sizeof(r), cdrom_be32(c->cdb + 6));
}

/* --- Mode pages ------------------------------------------------------------
 */

struct info_page {
	uint8_t code, len;
	uint8_t data[20]; /* from the page's byte 2 on */
};

static const struct info_page info_pages[] = {
	{ 0x01, 10, { 0x00, 5 } }, /* read error recovery: 5 retries */
	{ 0x0d, 6, { 0, 0x0d, 0, 60, 0, 75 } }, /* CD: 60 s, 75 frames */
	/* Capabilities (MMC-3, 5.5.10): reads CD-R/RW, DVD; tray, locks. */
	{ 0x2a,
	  20,
	  { 0x1b, 0x00, 0x00, 0x20, 0x29, 0x00, 0x2c, 0x20, 0, 2, 0x08, 0x00,
	    0x2c, 0x20 } },
};

/* All pages, or one; what may be changed: nothing. */
static unsigned info_mode_pages(const struct cdrom *d, unsigned which,
				bool changeable, uint8_t *r)
{
	unsigned at = 0;

	for (size_t i = 0; i < sizeof(info_pages) / sizeof(info_pages[0]);
	     i++) {
		const struct info_page *p = &info_pages[i];

		if (which != 0x3f && which != p->code)
			continue;
		r[at] = p->code;
		r[at + 1] = p->len;
		if (!changeable)
			memcpy(r + at + 2, p->data, p->len);
		if (p->code == 0x2a && d->locked)
			r[at + 6] |= 2;
		at += p->len + 2u;
	}
	return at;
}

/* Medium type: 01h a data CD, 70h the tray is empty, 71h it is open. */
static uint8_t info_medium_type(const struct cdrom *d)
{
	if (d->open)
		return 0x71;
	return d->blocks ? 0x01 : 0x70;
}

/* head: 4 for MODE SENSE(6), 8 for (10). */
static enum ata_result info_mode_sense(struct cdrom *d, struct ata_cmd *c,
				       unsigned head, unsigned wanted)
{
	uint8_t r[CDROM_REPLY] = { 0 };
	unsigned control = c->cdb[2] >> 6, n;

	if (control == 3) /* saved values: there are none */
		return cdrom_fail(d, c, 0x053900);
	n = info_mode_pages(d, c->cdb[2] & 0x3f, control == 1, r + head);
	if (!n)
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	n += head;
	if (head == 4) {
		r[0] = (uint8_t)(n - 1);
		r[1] = info_medium_type(d);
	} else {
		cdrom_put16(r, n - 2);
		r[2] = info_medium_type(d);
	}
	return cdrom_answer(d, c, r, n, wanted);
}

enum ata_result cdrom_mode_sense6(struct cdrom *d, struct ata_cmd *c)
{
	return info_mode_sense(d, c, 4, c->cdb[4]);
}

enum ata_result cdrom_mode_sense10(struct cdrom *d, struct ata_cmd *c)
{
	return info_mode_sense(d, c, 8, cdrom_be16(c->cdb + 7));
}

/* --- The medium ------------------------------------------------------------
 */

enum ata_result cdrom_read_capacity(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[8];

	cdrom_put32(r, d->blocks - 1);
	cdrom_put32(r + 4, CDROM_BLOCK);
	return cdrom_answer(d, c, r, sizeof(r), sizeof(r));
}

enum ata_result cdrom_format_capacities(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[12] = { 0, 0, 0, 8 };
	bool medium = d->blocks && !d->open;

	cdrom_put32(r + 4, medium ? d->blocks : 0x7fffffff);
	cdrom_put32(r + 8, CDROM_BLOCK);
	r[8] = medium ? 2 : 3; /* formatted; no medium */
	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 7));
}

/* An address as LBA, or as minute, second, frame (MMC-6, table 4). */
static void info_put_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint32_t f = lba + INFO_MSF_GAP;

	cdrom_put32(p, lba);
	if (!msf)
		return;
	p[0] = 0;
	p[1] = (uint8_t)(f / 75 / 60);
	p[2] = (uint8_t)(f / 75 % 60);
	p[3] = (uint8_t)(f % 75);
}

/* Formatted TOC: one data track and the lead-out. */
static unsigned info_toc(const struct cdrom *d, bool msf, unsigned first,
			 uint8_t *r)
{
	unsigned n = 4;

	r[2] = r[3] = 1; /* first and last track */
	if (first <= 1) {
		r[n + 1] = 0x14; /* data */
		r[n + 2] = 1;
		info_put_address(r + n + 4, 0, msf);
		n += 8;
	}
	r[n + 1] = 0x14;
	r[n + 2] = INFO_LEAD_OUT;
	info_put_address(r + n + 4, d->blocks, msf);
	return n + 8;
}

/* Format 1: where the last session begins. */
static unsigned info_sessions(bool msf, uint8_t *r)
{
	r[2] = r[3] = 1;
	r[5] = 0x14;
	r[6] = 1;
	info_put_address(r + 8, 0, msf);
	return 12;
}

/* Format 2: points A0, A1 (first, last track), A2 (lead-out), track 1. */
static unsigned info_raw_toc(const struct cdrom *d, uint8_t *r)
{
	static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
	unsigned n = 4;

	r[2] = r[3] = 1;
	for (unsigned i = 0; i < sizeof(points); i++, n += 11) {
		uint8_t *e = r + n;

		e[0] = 1;
		e[1] = 0x14;
		e[3] = points[i];
		if (i < 2)
			e[8] = 1;
		else
			info_put_address(e + 7, i == 2 ? d->blocks : 0, true);
	}
	return n;
}

enum ata_result cdrom_read_toc(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[64] = { 0 };
	bool msf = c->cdb[1] & 2;
	unsigned format = c->cdb[2] & 0xf, first = c->cdb[6], n;

	if (!format)
		format = c->cdb[9] >> 6; /* where SFF 8020 had it */
	if (format == 0 && (first <= 1 || first == INFO_LEAD_OUT))
		n = info_toc(d, msf, first, r);
	else if (format == 1)
		n = info_sessions(msf, r);
	else if (format == 2)
		n = info_raw_toc(d, r);
	else
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	cdrom_put16(r, n - 2);
	return cdrom_answer(d, c, r, n, cdrom_be16(c->cdb + 7));
}

/* A finished disc with one session. */
enum ata_result cdrom_disc_info(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[34] = { 0, 32, 0x0e, 1, 1, 1, 1, 0x20 };

	if (c->cdb[1] & 7)
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 7));
}

enum ata_result cdrom_track_info(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[36] = { 0, sizeof(r) - 2, 1, 1, 0, 4, 1 };

	cdrom_put32(r + 24, d->blocks);
	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 7));
}

/* Nobody plays audio: no status (15h). */
enum ata_result cdrom_subchannel(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[4] = { 0, 0x15 };

	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 7));
}

enum ata_result cdrom_mechanism(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[8] = { 0, d->open ? 0x10 : 0, 0, 0, 0, 1 };

	return cdrom_answer(d, c, r, sizeof(r), cdrom_be16(c->cdb + 8));
}

/* --- Configuration and events (MMC-6, 6.6, 6.7) ----------------------------
 */

static unsigned info_profile(const struct cdrom *d)
{
	if (!d->blocks || d->open)
		return 0;
	return d->blocks > INFO_CD_BLOCKS ? INFO_PROFILE_DVD : INFO_PROFILE_CD;
}

/* Features: profiles, core, morphing, removable medium, random readable. */
static unsigned info_features(const struct cdrom *d, uint8_t *r)
{
	static const uint8_t
		features[] = {
			0x00, 0x00, 0x03, 8, /* profile list; "current" follows
					      */
			0x00, 0x10, 0,    0, 0x00, 0x08, 0, 0, 0x00, 0x01, 0x0b,
			8,    0,    0,    0, 2,    1,    0, 0, 0, /* core: ATAPI
								   */
			0x00, 0x02, 0x07, 4, 1,    0,    0, 0,    /* morphing */
			0x00, 0x03, 0x0b, 4, 0x29, 0,    0, 0,    /* tray, lock,
								     eject */
			0x00, 0x10, 0x01, 8, 0,    0,    8, 0, 0,    1,    0,
			0,                                     /* 2048, 1 */
			0x00, 0x1e, 0x08, 4, 0,    0,    0, 0, /* CD read */
			0x00, 0x1f, 0x08, 4, 0,    0,    0, 0, /* DVD read */
		};
	unsigned profile = info_profile(d);

	memcpy(r, features, sizeof(features));
	r[6] = profile == INFO_PROFILE_DVD;
	r[10] = profile == INFO_PROFILE_CD;
	return sizeof(features);
}

/* RT 2: that feature alone; RT 0, 1: all from the starting one on. */
enum ata_result cdrom_configuration(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t all[CDROM_REPLY] = { 0 }, r[CDROM_REPLY] = { 0 };
	unsigned len = info_features(d, all), n = 8;
	unsigned only = c->cdb[1] & 3, from = cdrom_be16(c->cdb + 2);

	for (unsigned at = 0; at < len; at += all[at + 3] + 4u) {
		unsigned code = cdrom_be16(all + at);
		unsigned size = all[at + 3] + 4u;

		if (only == 2 ? code != from : code < from)
			continue;
		memcpy(r + n, all + at, size);
		n += size;
	}
	cdrom_put32(r, n - 4);
	cdrom_put16(r + 6, info_profile(d));
	return cdrom_answer(d, c, r, n, cdrom_be16(c->cdb + 7));
}

/* Media events only, and only by polling (MMC-6, 6.7). */
enum ata_result cdrom_event_status(struct cdrom *d, struct ata_cmd *c)
{
	uint8_t r[8] = { 0, 0, 0x80, 0x10 }; /* no event; class 4 exists */
	unsigned n = 4;

	if (!(c->cdb[1] & 1))
		return cdrom_fail(d, c, CDROM_BAD_FIELD);
	if (c->cdb[4] & 0x10) {
		r[2] = 4;
		r[4] = d->event;
		r[5] = (d->open ? 1 : 0) | (d->blocks && !d->open ? 2 : 0);
		n = 8;
		if (cdrom_be16(c->cdb + 7) >= 8)
			d->event = CDROM_EVENT_NONE;
	}
	cdrom_put16(r, n - 2);
	return cdrom_answer(d, c, r, n, cdrom_be16(c->cdb + 7));
}
