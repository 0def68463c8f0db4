#include "machine/smbios.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SMBIOS_STRINGS_MAX 4
#define SMBIOS_STRING_LEN  64

/* One structure while it is built: fields, then its strings. */
struct smbios_block {
	uint8_t *out;
	uint32_t len;
	uint16_t count, largest;
	uint32_t start; /* of the structure */
	unsigned strings;
	char string[SMBIOS_STRINGS_MAX][SMBIOS_STRING_LEN];
};

static void smbios_put(struct smbios_block *b, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes && b->len < SMBIOS_TABLES_MAX; i++)
		b->out[b->len++] = (uint8_t)(value >> i * 8);
}

/* Header (6.1.2); its length is filled in at the end. */
static void smbios_begin(struct smbios_block *b, uint8_t type, uint16_t handle)
{
	b->start = b->len;
	b->strings = 0;
	smbios_put(b, type, 1);
	smbios_put(b, 0, 1);
	smbios_put(b, handle, 2);
}

/* A field that is the number of a string (6.1.3). */
static void smbios_string(struct smbios_block *b, const char *s)
{
	if (!s || !*s || b->strings == SMBIOS_STRINGS_MAX) {
		smbios_put(b, 0, 1);
		return;
	}
	snprintf(b->string[b->strings++], SMBIOS_STRING_LEN, "%s", s);
	smbios_put(b, b->strings, 1);
}

static void smbios_end(struct smbios_block *b)
{
	b->out[b->start + 1] = (uint8_t)(b->len - b->start);
	for (unsigned i = 0; i < b->strings; i++)
		for (const char *p = b->string[i];; p++) {
			smbios_put(b, (uint8_t)*p, 1);
			if (!*p)
				break;
		}
	smbios_put(b, 0, b->strings ? 1 : 2);
	b->count++;
	if (b->len - b->start > b->largest)
		b->largest = (uint16_t)(b->len - b->start);
}

/* --- The structures (7.1, 7.2, 7.4, 7.5, 7.17, 7.18, 7.20, 7.33, 7.45)
 * ----------
 */

static void smbios_bios(struct smbios_block *b)
{
	smbios_begin(b, 0, 0x000);
	smbios_string(b, "Hostel");
	smbios_string(b, "1");
	smbios_put(b, 0xe000, 2); /* segment */
	smbios_string(b, "01/01/2026");
	smbios_put(b, 1, 1);          /* 128 KiB */
	smbios_put(b, 0x08, 8);       /* characteristics not told */
	smbios_put(b, 0x1000, 2);     /* a virtual machine's */
	smbios_put(b, UINT32_MAX, 4); /* releases: none */
	smbios_end(b);
}

static void smbios_system(struct smbios_block *b, const char *name)
{
	smbios_begin(b, 1, 0x100);
	smbios_string(b, "Hostel");
	smbios_string(b, "Hostel virtual machine");
	smbios_string(b, "1");
	smbios_string(b, name);
	smbios_put(b, 0, 8); /* UUID: zeros, not set */
	smbios_put(b, 0, 8);
	smbios_put(b, 6, 1); /* woken by the power switch */
	smbios_put(b, 0, 2);
	smbios_end(b);
}

static void smbios_chassis(struct smbios_block *b)
{
	smbios_begin(b, 3, 0x300);
	smbios_string(b, "Hostel");
	smbios_put(b, 1, 1); /* other */
	smbios_string(b, NULL);
	smbios_string(b, NULL);
	smbios_string(b, NULL);
	smbios_put(b, 0x030303, 3); /* boot, power, heat: safe */
	smbios_put(b, 2, 1);        /* security: unknown */
	smbios_put(b, 0, 4 + 4);    /* OEM; height, cords, elements, size */
	smbios_end(b);
}

/* All virtual processors are cores of one. */
static void smbios_processor(struct smbios_block *b, unsigned cpus)
{
	uint8_t cores = cpus > 0xff ? 0xff : (uint8_t)cpus;

	smbios_begin(b, 4, 0x400);
	smbios_string(b, "CPU 0");
	smbios_put(b, 3, 1); /* central processor */
	smbios_put(b, 1, 1); /* family: other */
	smbios_string(b, "Hostel");
	smbios_put(b, 0, 8); /* ID */
	smbios_string(b, "Hostel Virtual CPU");
	smbios_put(b, 0, 1 + 2 + 2 + 2); /* voltage, clocks */
	smbios_put(b, 0x41, 1);          /* populated, enabled */
	smbios_put(b, 1, 1);             /* upgrade: other */
	smbios_put(b, UINT64_MAX, 6);    /* no caches named */
	smbios_put(b, 0, 3);
	smbios_put(b, cores, 1);
	smbios_put(b, cores, 1);
	smbios_put(b, cores, 1);
	smbios_put(b, 0x04, 2); /* 64 bits */
	smbios_put(b, 1, 2);
	smbios_put(b, cpus, 2); /* the counts in words */
	smbios_put(b, cpus, 2);
	smbios_put(b, cpus, 2);
	smbios_end(b);
}

static void smbios_memory_array(struct smbios_block *b, uint64_t bytes)
{
	bool large = bytes >> 10 >= 0x80000000ull;

	smbios_begin(b, 16, 0x1000);
	smbios_put(b, 0x01, 1); /* other location */
	smbios_put(b, 0x03, 1); /* system memory */
	smbios_put(b, 0x06, 1); /* corrects several bits */
	smbios_put(b, large ? 0x80000000u : bytes >> 10, 4);
	smbios_put(b, 0xfffe, 2);
	smbios_put(b, 1, 2);
	smbios_put(b, large ? bytes : 0, 8);
	smbios_end(b);
}

static void smbios_memory_device(struct smbios_block *b, uint64_t bytes)
{
	uint64_t mib = bytes >> 20;

	smbios_begin(b, 17, 0x1100);
	smbios_put(b, 0x1000, 2);
	smbios_put(b, 0xfffe, 2);
	smbios_put(b, UINT32_MAX, 4); /* widths: unknown */
	smbios_put(b, mib < 0x7fff ? mib : 0x7fff, 2);
	smbios_put(b, 0x09, 1); /* DIMM */
	smbios_put(b, 0, 1);
	smbios_string(b, "DIMM 0");
	smbios_string(b, NULL);
	smbios_put(b, 0x07, 1); /* RAM */
	smbios_put(b, 0x02, 2);
	smbios_put(b, 0, 2);
	smbios_string(b, "Hostel");
	smbios_put(b, 0, 4); /* serial, tag, part, attributes */
	smbios_put(b, mib < 0x7fff ? 0 : mib, 4);
	smbios_put(b, 0, 8); /* speed, voltages */
	smbios_end(b);
}

static void smbios_memory_range(struct smbios_block *b, uint64_t bytes)
{
	smbios_begin(b, 19, 0x1300);
	smbios_put(b, UINT32_MAX, 4); /* see the wide fields */
	smbios_put(b, UINT32_MAX, 4);
	smbios_put(b, 0x1000, 2);
	smbios_put(b, 1, 1);
	smbios_put(b, 0, 8);
	smbios_put(b, bytes - 1, 8);
	smbios_end(b);
}

static void smbios_boot(struct smbios_block *b)
{
	smbios_begin(b, 32, 0x2000);
	smbios_put(b, 0, 7); /* no errors */
	smbios_end(b);
}

/* --- The entry point (5.2.1) ---------------------------------------------- */

static uint8_t smbios_sum(const uint8_t *p, unsigned len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return (uint8_t)-sum;
}

static void smbios_anchor(const struct smbios_block *b, uint32_t base,
			  uint8_t *a)
{
	memset(a, 0, SMBIOS_ANCHOR_SIZE);
	memcpy(a, "_SM_", 4);
	a[5] = SMBIOS_ANCHOR_SIZE;
	a[6] = 2; /* version 2.8 */
	a[7] = 8;
	memcpy(a + 8, &b->largest, 2);
	memcpy(a + 0x10, "_DMI_", 5);
	memcpy(a + 0x16, &b->len, 2);
	memcpy(a + 0x18, &base, 4);
	memcpy(a + 0x1c, &b->count, 2);
	a[0x1e] = 0x28;
	a[0x15] = smbios_sum(a + 0x10, 15);
	a[4] = smbios_sum(a, SMBIOS_ANCHOR_SIZE);
}

uint32_t smbios_build(const struct smbios_config *c,
		      uint8_t anchor[SMBIOS_ANCHOR_SIZE],
		      uint8_t tables[SMBIOS_TABLES_MAX])
{
	struct smbios_block b = { .out = tables };

	if (c->base)
		smbios_bios(&b);
	smbios_system(&b, c->name);
	smbios_chassis(&b);
	smbios_processor(&b, c->cpus);
	smbios_memory_array(&b, c->memory);
	smbios_memory_device(&b, c->memory);
	smbios_memory_range(&b, c->memory);
	smbios_boot(&b);
	smbios_begin(&b, 127, 0x7f00); /* the end */
	smbios_end(&b);
	smbios_anchor(&b, c->base, anchor);
	return b.len;
}
