/*
 * cdrom.h - what the files of the CD-ROM drive share: cdrom.c (ATA commands,
 * medium, reading) and cdrom_info.c (answers that are tables).
 */
#ifndef HOSTEL_DEV_ATA_CDROM_H
#define HOSTEL_DEV_ATA_CDROM_H

#include "dev/ata/ata.h"

#define CDROM_BLOCK 2048
#define CDROM_REPLY 512 /* the longest answer that is not a read */

/* Sense key << 16 | additional code << 8 | qualifier (MMC-6, annex F). */
#define CDROM_NO_SENSE      0x000000u
#define CDROM_NO_MEDIUM     0x023a01u /* tray closed */
#define CDROM_NO_MEDIUM_OUT 0x023a02u /* tray open */
#define CDROM_READ_ERROR    0x031100u
#define CDROM_BAD_OPCODE    0x052000u
#define CDROM_BAD_LBA       0x052100u
#define CDROM_BAD_FIELD     0x052400u
#define CDROM_LOCKED        0x055302u
#define CDROM_CHANGED       0x062800u

enum cdrom_event {
	CDROM_EVENT_NONE,
	CDROM_EVENT_EJECT,
	CDROM_EVENT_NEW,
	CDROM_EVENT_REMOVED
};

struct cdrom {
	struct ata ata;
	unsigned number;
	uint32_t blocks; /* of 2048 bytes; 0: no medium */
	bool open;       /* the tray */
	bool locked;
	bool changed;  /* unit attention is due */
	uint8_t event; /* enum cdrom_event, not yet reported */
	uint8_t udma;
	uint32_t sense;
};

/* CHECK CONDITION with this sense. */
enum ata_result cdrom_fail(struct cdrom *d, struct ata_cmd *c, uint32_t sense);
enum ata_result cdrom_good(struct cdrom *d, struct ata_cmd *c);
/* len bytes, of which the packet asks for at most `wanted`. */
enum ata_result cdrom_answer(struct cdrom *d, struct ata_cmd *c,
			     const void *buf, unsigned len, unsigned wanted);

static inline uint32_t cdrom_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t cdrom_be32(const uint8_t *p)
{
	return cdrom_be16(p) << 16 | cdrom_be16(p + 2);
}

static inline void cdrom_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void cdrom_put32(uint8_t *p, uint32_t v)
{
	cdrom_put16(p, v >> 16);
	cdrom_put16(p + 2, v);
}

/* --- cdrom_info.c: one function a packet command ---------------------------
 */

typedef enum ata_result cdrom_fn(struct cdrom *d, struct ata_cmd *c);

cdrom_fn cdrom_inquiry, cdrom_request_sense, cdrom_mode_sense6,
	cdrom_mode_sense10, cdrom_read_capacity, cdrom_read_toc,
	cdrom_configuration, cdrom_event_status, cdrom_disc_info,
	cdrom_track_info, cdrom_mechanism, cdrom_report_luns,
	cdrom_format_capacities, cdrom_subchannel;
void cdrom_identify(const struct cdrom *d, uint16_t id[256]);

#endif
