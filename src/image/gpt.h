/*
 * gpt.h - the partition table of a disk (UEFI specification 2.10, 5.3).
 */
#ifndef HOSTEL_IMAGE_GPT_H
#define HOSTEL_IMAGE_GPT_H

#include <stdint.h>

#include "base/err.h"
#include "image/source.h"

#define GPT_SECTOR    512
#define GPT_PARTS_MAX 128
#define GPT_UUID_LEN  16
#define GPT_NAME_MAX  36 /* UTF-16 units; ours are ASCII */
/* What the table takes at each end of a disk, in sectors (the MBR apart). */
#define GPT_TABLE_SECTORS 33

struct gpt_part {
	unsigned number;            /* 1..GPT_PARTS_MAX */
	uint8_t type[GPT_UUID_LEN]; /* as it lies on disk */
	uint8_t uuid[GPT_UUID_LEN];
	uint64_t first, last; /* sectors, inclusive */
	char name[GPT_NAME_MAX + 1];
};

enum gpt_type {
	GPT_TYPE_ROOT_X86_64,
	GPT_TYPE_LINUX,
	GPT_TYPE_BIOS_BOOT,
	GPT_TYPE_ESP
};

void gpt_set_type(struct gpt_part *p, enum gpt_type type);
int gpt_is_type(const struct gpt_part *p, enum gpt_type type);
/* "01234567-89ab-...": the mixed-endian bytes on disk.  -EINVAL: no UUID. */
int gpt_parse_uuid(const char *s, uint8_t out[GPT_UUID_LEN]);

/*
 * Writes the protective MBR (its first 440 bytes, the boot code, are left as
 * they are), both headers and both tables.
 */
int gpt_write(int fd, uint64_t disk_bytes, const uint8_t disk_uuid[],
	      const struct gpt_part *parts, unsigned count, struct err *err);

/*
 * Untrusted: reads the first table, or the one at the end if that is broken;
 * checks both sums and that each partition lies within the disk.  At most
 * `max` partitions, in the table's order; *count says how many.
 */
int gpt_read(const struct source *s, struct gpt_part *parts, unsigned max,
	     unsigned *count, struct err *err);

#endif
