/*
 * ata.h - what a drive is, whatever host adapter it is attached to.
 *
 * Source: ATA/ATAPI Command Set 3 (ACS-3, T13/2161-D), Serial ATA 3.1.
 *
 * The adapter fills a struct ata_cmd with what the host wrote and the memory
 * that it named, and calls start().  ATA_DONE: tf holds the answer, data have
 * been copied.  ATA_PENDING: the adapter submits c->requests, and once all
 * are done calls finish() with the first error or 0; then tf holds the answer.
 * ATA_SHORT: the host's memory is smaller than the data.
 *
 * Threads: the adapter's lock is held for every call here; nothing blocks.
 */
#ifndef HOSTEL_DEV_ATA_ATA_H
#define HOSTEL_DEV_ATA_ATA_H

#include "base/walk.h"
#include "block/queue.h"
#include "dev/dma.h"

/* Status and error (ACS-3, 6.2, 6.3). */
#define ATA_STATUS_ERR  0x01
#define ATA_STATUS_DRQ  0x08
#define ATA_STATUS_DSC  0x10 /* obsolete; what old drivers wait for */
#define ATA_STATUS_DF   0x20
#define ATA_STATUS_DRDY 0x40
#define ATA_STATUS_BSY  0x80
#define ATA_ERROR_ABRT  0x04
#define ATA_ERROR_IDNF  0x10
#define ATA_ERROR_UNC   0x40

#define ATA_STATUS_OK  (ATA_STATUS_DRDY | ATA_STATUS_DSC)
#define ATA_STATUS_BAD (ATA_STATUS_OK | ATA_STATUS_ERR)

#define ATA_SECTOR     512
#define ATA_IOV_MAX    1024 /* pieces of one request: the host's IOV_MAX */
#define ATA_TRIM_PAGES 8    /* of 64 ranges each, in one command */

/* The registers, as the host wrote them and as the drive answers. */
struct ata_tf {
	uint8_t command;
	uint8_t device;
	uint8_t status;
	uint8_t error;
	uint16_t features;
	uint16_t count;
	uint64_t lba;
};

/* How the answer travels (Serial ATA 3.1, 11). */
enum ata_reply {
	ATA_REPLY_REGS,      /* Register D2H FIS */
	ATA_REPLY_PIO_IN,    /* data after PIO Setup, which ends the command */
	ATA_REPLY_PACKET_IN, /* data after PIO Setup, then Register D2H */
	ATA_REPLY_NCQ,       /* Set Device Bits FIS */
};

enum ata_result { ATA_DONE, ATA_PENDING, ATA_SHORT };

struct ata_request {
	struct block_request block; /* first */
	struct ata_cmd *cmd;
};

struct ata_cmd {
	struct ata_tf tf;
	uint8_t cdb[16]; /* PACKET */
	unsigned tag;    /* the adapter's slot */
	struct dma dma;  /* the host's memory */
	enum ata_reply reply;
	uint64_t moved; /* bytes of data, once done */
	/* When pending: */
	struct ata_request *requests; /* &own, or malloced */
	unsigned request_count;
	struct ata_request own;
};

struct ata;

struct ata_ops {
	bool packet; /* ATAPI: class and signature of its own */
	/* Power-on, or a reset from the bus; tf: the signature. */
	void (*reset)(struct ata *a, bool power_on, struct ata_tf *tf);
	enum ata_result (*start)(struct ata *a, struct ata_cmd *c);
	void (*finish)(struct ata *a, struct ata_cmd *c, int result);
	void (*walk)(struct ata *a, struct walk *w, unsigned instance);
	/* NULL: the medium cannot be changed. */
	int (*set_medium)(struct ata *a, struct block *b, struct err *err);
	void (*free)(struct ata *a);
};

/* Embedded first in every drive. */
struct ata {
	const struct ata_ops *ops;
	struct block *block; /* the caller's; NULL: no medium */
};

/* `number` makes the serial number; b outlives the drive. */
int ata_disk_new(struct ata **out, struct block *b, unsigned number,
		 struct err *err);
/* b may be NULL: an empty drive. */
int ata_cdrom_new(struct ata **out, struct block *b, unsigned number,
		  struct err *err);

/* --- For drives ------------------------------------------------------------
 */

enum ata_result ata_ok(struct ata_cmd *c);
enum ata_result ata_fail(struct ata_cmd *c, uint8_t error);
/* One request without data, or the transfer of all of c->dma at `offset`. */
enum ata_result ata_request(struct ata_cmd *c, enum block_op op,
			    uint64_t offset, unsigned flags);
/* Room for `count` requests, zeroed; false: no memory. */
bool ata_reserve(struct ata_cmd *c, unsigned count);
/* Gives back what ata_reserve() took. */
void ata_release(struct ata_cmd *c);
/* Copies a data-in answer out, cut to what the host wants. */
enum ata_result ata_answer(struct ata_cmd *c, const void *buf, uint64_t len);
/* A string field of IDENTIFY: 2 bytes a word, swapped, padded with blanks. */
void ata_string(uint16_t *words, unsigned count, const char *s);
/* Puts signature and checksum into word 255. */
void ata_identify_seal(uint16_t *id);
/* What SATA drives of either kind say of themselves. */
void ata_identify_common(uint16_t *id, const char *model, const char *serial);

/* --- IDENTIFY, SMART and log pages of a disk: disk_info.c ------------------
 */

struct ata_disk {
	struct ata ata;
	unsigned number;
	uint64_t sectors;
	bool write_cache;
	bool look_ahead;
	bool smart;
	bool standby;
	uint8_t multiple; /* sectors a block of READ MULTIPLE; 0: not set */
	uint8_t udma;     /* transfer mode, as SET FEATURES 03h gives it */
	/* The queued command that failed (ACS-3, A.14 NCQ Command Error). */
	bool ncq_failed;
	uint8_t ncq_tag;
	struct ata_tf ncq_tf;
};

void ata_disk_identify(const struct ata_disk *d, uint16_t id[256]);
enum ata_result ata_disk_smart(struct ata_disk *d, struct ata_cmd *c);
enum ata_result ata_disk_read_log(struct ata_disk *d, struct ata_cmd *c);

#endif
