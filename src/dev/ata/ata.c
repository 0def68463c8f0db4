/* ata.c - what disk and CD-ROM drives share. */
#include "dev/ata/ata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum ata_result ata_ok(struct ata_cmd *c)
{
	c->tf.status = ATA_STATUS_OK;
	c->tf.error = 0;
	return ATA_DONE;
}

enum ata_result ata_fail(struct ata_cmd *c, uint8_t error)
{
	c->tf.status = ATA_STATUS_BAD;
	c->tf.error = error;
	c->moved = 0;
	if (c->reply != ATA_REPLY_NCQ)
		c->reply = ATA_REPLY_REGS;
	return ATA_DONE;
}

enum ata_result ata_answer(struct ata_cmd *c, const void *buf, uint64_t len)
{
	c->moved = dma_write(&c->dma, 0, buf, len);
	return c->moved < len ? ATA_SHORT : ata_ok(c);
}

/* --- Requests --------------------------------------------------------------
 */

bool ata_reserve(struct ata_cmd *c, unsigned count)
{
	c->requests =
		count > 1 ? malloc(count * sizeof(*c->requests)) : &c->own;
	if (!c->requests)
		return false;
	memset(c->requests, 0, count * sizeof(*c->requests));
	for (unsigned i = 0; i < count; i++)
		c->requests[i].cmd = c;
	c->request_count = count;
	return true;
}

void ata_release(struct ata_cmd *c)
{
	if (c->requests != &c->own)
		free(c->requests);
	c->requests = NULL;
	c->request_count = 0;
}

/* Requests of at most ATA_IOV_MAX pieces. */
static void ata_split(struct ata_cmd *c, enum block_op op, uint64_t offset,
		      unsigned flags)
{
	for (unsigned i = 0; i < c->request_count; i++) {
		struct block_request *r = &c->requests[i].block;
		unsigned first = i * ATA_IOV_MAX;
		unsigned left = c->dma.count - first;

		r->op = op;
		r->flags = flags;
		r->offset = offset;
		r->iov = c->dma.iov + first;
		r->iovcnt = (int)(left < ATA_IOV_MAX ? left : ATA_IOV_MAX);
		for (int k = 0; k < r->iovcnt; k++)
			r->length += r->iov[k].iov_len;
		offset += r->length;
	}
}

enum ata_result ata_request(struct ata_cmd *c, enum block_op op,
			    uint64_t offset, unsigned flags)
{
	bool data = op == BLOCK_OP_READ || op == BLOCK_OP_WRITE;
	unsigned count = (c->dma.count + ATA_IOV_MAX - 1) / ATA_IOV_MAX;

	if (data && !count)
		return ata_ok(c);
	if (!ata_reserve(c, data ? count : 1))
		return ata_fail(c, ATA_ERROR_ABRT);
	if (data)
		ata_split(c, op, offset, flags);
	else
		c->requests->block.op = op;
	return ATA_PENDING;
}

/* --- IDENTIFY --------------------------------------------------------------
 */

void ata_string(uint16_t *words, unsigned count, const char *s)
{
	size_t len = strlen(s);

	for (unsigned i = 0; i < count; i++) {
		uint8_t a = i * 2 < len ? (uint8_t)s[i * 2] : ' ';
		uint8_t b = i * 2 + 1 < len ? (uint8_t)s[i * 2 + 1] : ' ';

		words[i] = (uint16_t)(a << 8 | b);
	}
}

/* All 512 bytes sum up to 0 (ACS-3, 7.12.7.88). */
void ata_identify_seal(uint16_t *id)
{
	uint8_t sum = 0xa5;

	for (unsigned i = 0; i < 255; i++)
		sum += (uint8_t)(id[i] & 0xff) + (uint8_t)(id[i] >> 8);
	id[255] = (uint16_t)(0xa5 | (uint8_t)-sum << 8);
}

void ata_identify_common(uint16_t *id, const char *model, const char *serial)
{
	ata_string(id + 10, 10, serial);
	ata_string(id + 23, 4, HOSTEL_VERSION);
	ata_string(id + 27, 20, model);
	id[53] = 0x0006; /* words 64-70 and 88 hold something */
	id[63] = 0x0007; /* multiword DMA 0-2 */
	id[64] = 0x0003; /* PIO 3, 4 */
	for (unsigned i = 65; i <= 68; i++)
		id[i] = 120; /* ns a cycle */
	id[76] = 0x0006;     /* 1.5 and 3 Gbit/s */
	id[77] = 0x0004;     /* now 3 Gbit/s */
	id[80] = 0x03f0;     /* ATA/ATAPI-4 .. ACS-2 */
	id[222] = 0x103f;    /* Serial ATA up to 3.0 */
}
