#include "image/gpt.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "image/bytes.h"

#define GPT_ENTRY_LEN   128
#define GPT_TABLE_LEN   (GPT_PARTS_MAX * GPT_ENTRY_LEN)
#define GPT_HEADER_LEN  92
#define GPT_REVISION    0x10000
#define GPT_MBR_PART    446
#define GPT_MBR_GPT     0xee
#define GPT_ENTRIES_TOP 1024 /* as many as we read of others' tables */

/* Offsets in the header: table 5.5. */
enum {
	GPT_H_SIGNATURE = 0,
	GPT_H_REVISION = 8,
	GPT_H_LEN = 12,
	GPT_H_CRC = 16,
	GPT_H_SELF = 24,
	GPT_H_OTHER = 32,
	GPT_H_FIRST = 40,
	GPT_H_LAST = 48,
	GPT_H_UUID = 56,
	GPT_H_TABLE = 72,
	GPT_H_ENTRIES = 80,
	GPT_H_ENTRY_LEN = 84,
	GPT_H_TABLE_CRC = 88,
};

static const char gpt_signature[] = "EFI PART";

static const char *const gpt_types[] = {
	[GPT_TYPE_ROOT_X86_64] = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
	[GPT_TYPE_LINUX] = "0fc63daf-8483-4772-8e79-3d69d8477de4",
	[GPT_TYPE_BIOS_BOOT] = "21686148-6449-6e6f-744e-656564454649",
	[GPT_TYPE_ESP] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
};

static int gpt_hex_byte(const char *s)
{
	char two[3] = { s[0], s[1], '\0' };

	if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
		return -EINVAL;
	return (int)strtol(two, NULL, 16);
}

int gpt_parse_uuid(const char *s, uint8_t out[GPT_UUID_LEN])
{
	/* Where each pair of digits goes: the first three fields are turned. */
	static const uint8_t to[GPT_UUID_LEN] = {
		3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15
	};

	for (unsigned i = 0; i < GPT_UUID_LEN; i++) {
		int byte;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *s++ != '-')
			return -EINVAL;
		byte = gpt_hex_byte(s);
		if (byte < 0)
			return -EINVAL;
		out[to[i]] = (uint8_t)byte;
		s += 2;
	}
	return *s ? -EINVAL : 0;
}

void gpt_set_type(struct gpt_part *p, enum gpt_type type)
{
	gpt_parse_uuid(gpt_types[type], p->type);
}

int gpt_is_type(const struct gpt_part *p, enum gpt_type type)
{
	struct gpt_part other;

	gpt_set_type(&other, type);
	return !memcmp(p->type, other.type, GPT_UUID_LEN);
}

static uint32_t gpt_crc(const void *p, size_t len)
{
	return (uint32_t)crc32(0, p, (uInt)len);
}

/* --- Writing -------------------------------------------------------------- */

static int gpt_pwrite(int fd, const void *buf, size_t len, uint64_t sector)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)(sector * GPT_SECTOR));

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int gpt_write_mbr(int fd, uint64_t sectors)
{
	uint8_t rest[GPT_SECTOR - GPT_MBR_PART] = { 0 };
	ssize_t n;

	/* One partition from sector 1 to the end, or as far as 32 bits go. */
	rest[2] = 0x02; /* its first sector as cylinder, head, sector */
	rest[4] = GPT_MBR_GPT;
	memset(rest + 5, 0xff, 3);
	bytes_put32(rest + 8, 1);
	bytes_put32(rest + 12, sectors - 1 > UINT32_MAX
				       ? UINT32_MAX
				       : (uint32_t)(sectors - 1));
	rest[sizeof(rest) - 2] = 0x55;
	rest[sizeof(rest) - 1] = 0xaa;
	n = pwrite(fd, rest, sizeof(rest), GPT_MBR_PART);
	return n == (ssize_t)sizeof(rest) ? 0 : n < 0 ? -errno : -ENOSPC;
}

static void gpt_fill_table(uint8_t *table, const struct gpt_part *parts,
			   unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t *e = table + (parts[i].number - 1) * GPT_ENTRY_LEN;

		memcpy(e, parts[i].type, GPT_UUID_LEN);
		memcpy(e + 16, parts[i].uuid, GPT_UUID_LEN);
		bytes_put64(e + 32, parts[i].first);
		bytes_put64(e + 40, parts[i].last);
		for (unsigned c = 0; parts[i].name[c]; c++)
			e[56 + 2 * c] = (uint8_t)parts[i].name[c];
	}
}

static void gpt_fill_header(uint8_t h[GPT_SECTOR], uint64_t self,
			    uint64_t other, uint64_t sectors, uint64_t table,
			    const uint8_t disk_uuid[], uint32_t table_crc)
{
	memset(h, 0, GPT_SECTOR);
	memcpy(h, gpt_signature, 8);
	bytes_put32(h + GPT_H_REVISION, GPT_REVISION);
	bytes_put32(h + GPT_H_LEN, GPT_HEADER_LEN);
	bytes_put64(h + GPT_H_SELF, self);
	bytes_put64(h + GPT_H_OTHER, other);
	bytes_put64(h + GPT_H_FIRST, 1 + GPT_TABLE_SECTORS);
	bytes_put64(h + GPT_H_LAST, sectors - GPT_TABLE_SECTORS - 1);
	memcpy(h + GPT_H_UUID, disk_uuid, GPT_UUID_LEN);
	bytes_put64(h + GPT_H_TABLE, table);
	bytes_put32(h + GPT_H_ENTRIES, GPT_PARTS_MAX);
	bytes_put32(h + GPT_H_ENTRY_LEN, GPT_ENTRY_LEN);
	bytes_put32(h + GPT_H_TABLE_CRC, table_crc);
	bytes_put32(h + GPT_H_CRC, gpt_crc(h, GPT_HEADER_LEN));
}

int gpt_write(int fd, uint64_t disk_bytes, const uint8_t disk_uuid[],
	      const struct gpt_part *parts, unsigned count, struct err *err)
{
	uint64_t sectors = disk_bytes / GPT_SECTOR;
	uint64_t last = sectors - 1;
	uint64_t second = last - (GPT_TABLE_SECTORS - 1);
	uint8_t h[GPT_SECTOR], table[GPT_TABLE_LEN] = { 0 };
	uint32_t crc;
	int rc;

	gpt_fill_table(table, parts, count);
	crc = gpt_crc(table, sizeof(table));
	rc = gpt_write_mbr(fd, sectors);
	gpt_fill_header(h, 1, last, sectors, 2, disk_uuid, crc);
	if (!rc)
		rc = gpt_pwrite(fd, h, sizeof(h), 1);
	if (!rc)
		rc = gpt_pwrite(fd, table, sizeof(table), 2);
	if (!rc)
		rc = gpt_pwrite(fd, table, sizeof(table), second);
	gpt_fill_header(h, last, 1, sectors, second, disk_uuid, crc);
	if (!rc)
		rc = gpt_pwrite(fd, h, sizeof(h), last);
	if (rc)
		return err_set(err, -rc, "cannot write a partition table: %s",
			       strerror(-rc));
	return 0;
}

/* --- Reading -------------------------------------------------------------- */

/* Reads and checks the header at a sector, then its table into *table. */
static int gpt_read_table(const struct source *s, uint64_t sector,
			  uint8_t **table, uint32_t *entries,
			  uint32_t *entry_len)
{
	uint8_t h[GPT_SECTOR];
	uint32_t len, crc;
	int rc = source_read(s, h, sector * GPT_SECTOR, sizeof(h));

	if (rc)
		return rc;
	len = bytes_get32(h + GPT_H_LEN);
	crc = bytes_get32(h + GPT_H_CRC);
	if (memcmp(h, gpt_signature, 8) || len < GPT_HEADER_LEN ||
	    len > sizeof(h))
		return -EINVAL;
	bytes_put32(h + GPT_H_CRC, 0);
	*entries = bytes_get32(h + GPT_H_ENTRIES);
	*entry_len = bytes_get32(h + GPT_H_ENTRY_LEN);
	if (crc != gpt_crc(h, len) || !*entries || *entries > GPT_ENTRIES_TOP ||
	    *entry_len < GPT_ENTRY_LEN || *entry_len > 4096 ||
	    bytes_get64(h + GPT_H_TABLE) > s->size / GPT_SECTOR)
		return -EINVAL;
	*table = malloc((size_t)*entries * *entry_len);
	if (!*table)
		return -ENOMEM;
	rc = source_read(s, *table, bytes_get64(h + GPT_H_TABLE) * GPT_SECTOR,
			 (size_t)*entries * *entry_len);
	if (!rc && bytes_get32(h + GPT_H_TABLE_CRC) !=
			   gpt_crc(*table, (size_t)*entries * *entry_len))
		rc = -EINVAL;
	if (rc)
		free(*table);
	return rc;
}

/* False: an empty entry, or one that does not fit the disk. */
static bool gpt_get_entry(const uint8_t *e, uint64_t sectors,
			  struct gpt_part *p)
{
	static const uint8_t none[GPT_UUID_LEN];

	if (!memcmp(e, none, sizeof(none)))
		return false;
	memcpy(p->type, e, GPT_UUID_LEN);
	memcpy(p->uuid, e + 16, GPT_UUID_LEN);
	p->first = bytes_get64(e + 32);
	p->last = bytes_get64(e + 40);
	for (unsigned c = 0; c < GPT_NAME_MAX; c++) {
		uint16_t unit = bytes_get16(e + 56 + 2 * c);

		p->name[c] = unit < 0x7f ? (char)unit : '?';
	}
	p->name[GPT_NAME_MAX] = '\0';
	return p->first <= p->last && p->last < sectors;
}

int gpt_read(const struct source *s, struct gpt_part *parts, unsigned max,
	     unsigned *count, struct err *err)
{
	uint64_t sectors = s->size / GPT_SECTOR;
	uint32_t entries, entry_len;
	uint8_t *table;

	*count = 0;
	if (sectors < 3 ||
	    (gpt_read_table(s, 1, &table, &entries, &entry_len) &&
	     gpt_read_table(s, sectors - 1, &table, &entries, &entry_len)))
		return err_set(err, EINVAL, "the disk has no GPT");
	for (uint32_t i = 0; i < entries && *count < max; i++) {
		struct gpt_part *p = &parts[*count];

		p->number = i + 1;
		if (gpt_get_entry(table + (size_t)i * entry_len, sectors, p))
			(*count)++;
	}
	free(table);
	return 0;
}
