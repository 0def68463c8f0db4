/*
 * firmware_smm.c - does a UEFI image insist on system management mode?
 *
 * An OVMF that was built so stops before it says a word where there is none.
 * Such a build is known by a module of its early phase, SmmAccessPei.  That
 * lies behind an LZMA stream, near its start: a section of the first volume
 * that names LZMA as its codec (PI 1.7, volume 3, 3.2.5.1).
 */
#include "machine/firmware.h"

#include <lzma.h>
#include <stdlib.h>
#include <string.h>

#define SMM_LOOK_AT   (1u << 20) /* of what is unpacked */
#define SMM_GUID_BYTE 16

static const uint8_t smm_lzma[SMM_GUID_BYTE] = {
	0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42,
	0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf,
};

static const uint8_t smm_module[SMM_GUID_BYTE] = {
	0xb4, 0x75, 0x0e, 0x6c, 0xb9, 0xb0, 0xd1, 0x44,
	0x82, 0x10, 0x33, 0x77, 0xd7, 0xb4, 0xe0, 0x66,
};

/* How many bytes come out; what is no stream gives none. */
static size_t smm_unpack(const uint8_t *in, size_t size, uint8_t *out,
			 size_t room)
{
	lzma_stream s = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&s, 64u << 20) != LZMA_OK)
		return 0;
	s.next_in = in;
	s.avail_in = size;
	s.next_out = out;
	s.avail_out = room;
	while (s.avail_out && lzma_code(&s, LZMA_RUN) == LZMA_OK)
		;
	lzma_end(&s);
	return room - s.avail_out;
}

/* The section's length is in the three bytes before; 16 behind: its offset. */
bool firmware_needs_smm(const uint8_t *data, size_t size)
{
	const uint8_t *at = memmem(data, size, smm_lzma, SMM_GUID_BYTE);
	size_t offset, left;
	uint8_t *out;
	bool found;

	if (!at || at < data + 4 || (size_t)(data + size - at) < 20)
		return false;
	offset = at[16] | (size_t)at[17] << 8;
	left = (size_t)(data + size - (at - 4));
	if (offset < 20 || offset >= left)
		return false;
	out = malloc(SMM_LOOK_AT);
	if (!out)
		return false;
	size_t n = smm_unpack(at - 4 + offset, left - offset, out, SMM_LOOK_AT);
	found = memmem(out, n, smm_module, SMM_GUID_BYTE) != NULL;
	free(out);
	return found;
}
