#include "machine/aml.h"

#include <assert.h>
#include <string.h>

/* Opcodes, ACPI 6.5 table 20.2 */
#define AML_ZERO    0x00
#define AML_ONE     0x01
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_WORD    0x0b
#define AML_DWORD   0x0c
#define AML_STRING  0x0d
#define AML_QWORD   0x0e
#define AML_SCOPE   0x10
#define AML_BUFFER  0x11
#define AML_PACKAGE 0x12
#define AML_METHOD  0x14
#define AML_DUAL    0x2e
#define AML_MULTI   0x2f
#define AML_EXT     0x5b
#define AML_REGION  0x80 /* after AML_EXT */
#define AML_FIELD   0x81 /* after AML_EXT */
#define AML_DEVICE  0x82 /* after AML_EXT */

void aml_init(struct aml *a, void *buf, size_t cap)
{
	*a = (struct aml){ .buf = buf, .cap = cap };
}

static void aml_put(struct aml *a, const void *data, size_t len)
{
	if (len > a->cap - a->len) {
		a->overflow = true;
		return;
	}
	memcpy(a->buf + a->len, data, len);
	a->len += len;
}

/* Little-endian, as AML is. */
static void aml_le(struct aml *a, uint64_t value, unsigned bytes)
{
	uint8_t b[8];

	for (unsigned i = 0; i < bytes; i++)
		b[i] = value >> 8 * i;
	aml_put(a, b, bytes);
}

static void aml_u8(struct aml *a, uint8_t value)
{
	aml_put(a, &value, 1);
}

/* --- Data ------------------------------------------------------------- */

void aml_int(struct aml *a, uint64_t value)
{
	static const struct {
		uint64_t max;
		uint8_t op, bytes;
	} forms[] = {
		{ 0, AML_ZERO, 0 },           { 1, AML_ONE, 0 },
		{ UINT8_MAX, AML_BYTE, 1 },   { UINT16_MAX, AML_WORD, 2 },
		{ UINT32_MAX, AML_DWORD, 4 }, { UINT64_MAX, AML_QWORD, 8 },
	};
	unsigned i = 0;

	while (value > forms[i].max)
		i++;
	aml_u8(a, forms[i].op);
	aml_le(a, value, forms[i].bytes);
}

void aml_string(struct aml *a, const char *s)
{
	aml_u8(a, AML_STRING);
	aml_put(a, s, strlen(s) + 1);
}

static unsigned aml_hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/*
 * ACPI 6.5, 19.3.4: three letters of five bits and four hexadecimal digits,
 * the whole big-endian.
 */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t v = (id[0] - 0x40u) << 26 | (id[1] - 0x40u) << 21 |
		     (id[2] - 0x40u) << 16 | aml_hex(id[3]) << 12 |
		     aml_hex(id[4]) << 8 | aml_hex(id[5]) << 4 | aml_hex(id[6]);

	assert(strlen(id) == 7);
	aml_u8(a, AML_DWORD);
	aml_le(a, __builtin_bswap32(v), 4);
}

/* --- Names ---------------------------------------------------------------- */

static void aml_segment(struct aml *a, const char *name, size_t len)
{
	assert(len >= 1 && len <= 4);
	aml_put(a, name, len);
	aml_put(a, "___", 4 - len);
}

/* 20.2.2: two segments have a prefix of their own, more are counted. */
static void aml_namestring(struct aml *a, const char *name)
{
	unsigned dots = 0;

	if (*name == '\\') {
		aml_u8(a, '\\');
		name++;
	}
	for (const char *p = name; (p = strchr(p, '.')); p++)
		dots++;
	if (dots)
		aml_u8(a, dots == 1 ? AML_DUAL : AML_MULTI);
	if (dots > 1)
		aml_u8(a, dots + 1);
	for (; dots--; name = strchr(name, '.') + 1)
		aml_segment(a, name, strcspn(name, "."));
	aml_segment(a, name, strlen(name));
}

void aml_ref(struct aml *a, const char *name)
{
	aml_namestring(a, name);
}

void aml_op(struct aml *a, enum aml_op op)
{
	aml_u8(a, op);
}

void aml_name(struct aml *a, const char *name)
{
	aml_u8(a, AML_NAME);
	aml_namestring(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
	aml_name(a, name);
	aml_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
	aml_name(a, name);
	aml_string(a, s);
}

void aml_name_eisa_id(struct aml *a, const char *name, const char *id)
{
	aml_name(a, name);
	aml_eisa_id(a, id);
}

/* --- Constructs ------------------------------------------------------------
 */

/*
 * PkgLength (20.2.4) is always written in its three-byte form, so that it can
 * be filled in at the end: bits 7..6 of the first byte say two more follow,
 * bits 3..0 are the lowest four bits of the length.  It counts itself.
 */
#define AML_PKG_LEN 3
#define AML_PKG_MAX 0xfffff

static void aml_open(struct aml *a)
{
	assert(a->depth < AML_DEPTH);
	a->open[a->depth++] = a->len;
	aml_le(a, 0, AML_PKG_LEN);
}

void aml_end(struct aml *a)
{
	size_t at, len;

	assert(a->depth > 0);
	at = a->open[--a->depth];
	len = a->len - at;
	if (a->overflow)
		return;
	assert(len <= AML_PKG_MAX);
	a->buf[at] = 0x80 | (len & 0xf);
	a->buf[at + 1] = len >> 4;
	a->buf[at + 2] = len >> 12;
}

void aml_begin_scope(struct aml *a, const char *name)
{
	aml_u8(a, AML_SCOPE);
	aml_open(a);
	aml_namestring(a, name);
}

void aml_begin_device(struct aml *a, const char *name)
{
	aml_u8(a, AML_EXT);
	aml_u8(a, AML_DEVICE);
	aml_open(a);
	aml_namestring(a, name);
}

void aml_begin_method(struct aml *a, const char *name, unsigned args)
{
	aml_u8(a, AML_METHOD);
	aml_open(a);
	aml_namestring(a, name);
	aml_u8(a, (uint8_t)(args | 8)); /* serialized */
}

void aml_begin_if(struct aml *a)
{
	aml_u8(a, 0xa0);
	aml_open(a);
}

void aml_begin_else(struct aml *a)
{
	aml_u8(a, 0xa1);
	aml_open(a);
}

void aml_pci_bytes(struct aml *a, const char *region, uint8_t offset,
		   const char *const *names, uint8_t count)
{
	aml_u8(a, AML_EXT);
	aml_u8(a, AML_REGION);
	aml_namestring(a, region);
	aml_u8(a, 2); /* PCI_Config */
	aml_int(a, offset);
	aml_int(a, count);
	aml_u8(a, AML_EXT);
	aml_u8(a, AML_FIELD);
	aml_open(a);
	aml_namestring(a, region);
	aml_u8(a, 1); /* byte accesses */
	for (uint8_t i = 0; i < count; i++) {
		aml_namestring(a, names[i]);
		aml_u8(a, 8); /* bits */
	}
	aml_end(a);
}

void aml_begin_package(struct aml *a, uint8_t elements)
{
	aml_u8(a, AML_PACKAGE);
	aml_open(a);
	aml_u8(a, elements);
}

/* --- Regions ----------------------------------------------------------------
 */

void aml_region_io(struct aml *a, const char *name, uint16_t base, uint16_t len)
{
	aml_u8(a, AML_EXT);
	aml_u8(a, AML_REGION);
	aml_namestring(a, name);
	aml_u8(a, 1); /* SystemIO */
	aml_int(a, base);
	aml_int(a, len);
}

void aml_begin_field(struct aml *a, const char *region)
{
	aml_u8(a, AML_EXT);
	aml_u8(a, AML_FIELD);
	aml_open(a);
	aml_namestring(a, region);
	aml_u8(a, 0x03); /* dword access, no lock, preserve */
}

void aml_field_dword(struct aml *a, const char *name)
{
	aml_namestring(a, name);
	aml_u8(a, 32); /* bits, as a PkgLength of one byte */
}

/* --- Resources ---------------------------------------------------------- */

void aml_begin_resources(struct aml *a, const char *name)
{
	aml_name(a, name);
	aml_u8(a, AML_BUFFER);
	aml_open(a);
	aml_u8(a, AML_WORD);
	a->resources = a->len;
	aml_le(a, 0, 2);
}

/* End tag (6.4.2.9); checksum 0 means: not to be checked. */
void aml_end_resources(struct aml *a)
{
	size_t size;

	aml_u8(a, 0x79);
	aml_u8(a, 0);
	size = a->len - a->resources - 2;
	if (!a->overflow) {
		a->buf[a->resources] = size;
		a->buf[a->resources + 1] = size >> 8;
	}
	aml_end(a);
}

/* 6.4.2.5, I/O port descriptor */
void aml_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_u8(a, 0x47);
	aml_u8(a, 1); /* decodes 16 bits */
	aml_le(a, base, 2);
	aml_le(a, base, 2);
	aml_u8(a, 1); /* alignment */
	aml_u8(a, len);
}

/* 6.4.2.1, IRQ descriptor without flags */
void aml_irq(struct aml *a, unsigned irq)
{
	aml_u8(a, 0x22);
	aml_le(a, 1u << irq, 2);
}

/* The same with flags: level, active low, shared. */
void aml_irqs_shared(struct aml *a, uint16_t irqs)
{
	aml_u8(a, 0x23);
	aml_le(a, irqs, 2);
	aml_u8(a, 0x18);
}

/* 6.4.3.6, extended interrupt: the device consumes it */
void aml_gsi(struct aml *a, uint32_t gsi)
{
	aml_u8(a, 0x89);
	aml_le(a, 6, 2);
	aml_u8(a, 9); /* consumed, level, active high, shared */
	aml_u8(a, 1); /* one of them */
	aml_le(a, gsi, 4);
}

/* 6.4.3.4, 32-bit fixed memory range */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_u8(a, 0x86);
	aml_le(a, 9, 2);
	aml_u8(a, 1); /* writable */
	aml_le(a, base, 4);
	aml_le(a, len, 4);
}

/* 6.4.3.5, address space descriptors: three widths of one layout */
enum aml_space { AML_SPACE_MEM = 0, AML_SPACE_IO = 1, AML_SPACE_BUS = 2 };

static void aml_window(struct aml *a, enum aml_space space, unsigned bytes,
		       uint64_t min, uint64_t max)
{
	static const uint8_t tag[] = { [2] = 0x88, [4] = 0x87, [8] = 0x8a };
	/* I/O: the entire range; memory: writable, not cacheable. */
	static const uint8_t flags[] = {
		[AML_SPACE_MEM] = 1, [AML_SPACE_IO] = 3, [AML_SPACE_BUS] = 0
	};

	aml_u8(a, tag[bytes]);
	aml_le(a, 3 + 5 * bytes, 2);
	aml_u8(a, space);
	aml_u8(a, 0x0c); /* min and max fixed, positive decode, producer */
	aml_u8(a, flags[space]);
	aml_le(a, 0, bytes); /* granularity */
	aml_le(a, min, bytes);
	aml_le(a, max, bytes);
	aml_le(a, 0, bytes); /* translation */
	aml_le(a, max - min + 1, bytes);
}

void aml_window_bus(struct aml *a, uint16_t min, uint16_t max)
{
	aml_window(a, AML_SPACE_BUS, 2, min, max);
}

void aml_window_io(struct aml *a, uint16_t min, uint16_t max)
{
	aml_window(a, AML_SPACE_IO, 2, min, max);
}

void aml_window_mem32(struct aml *a, uint32_t min, uint32_t max)
{
	aml_window(a, AML_SPACE_MEM, 4, min, max);
}

void aml_window_mem64(struct aml *a, uint64_t min, uint64_t max)
{
	aml_window(a, AML_SPACE_MEM, 8, min, max);
}
