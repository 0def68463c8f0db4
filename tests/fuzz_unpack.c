/* fuzz_unpack.c - any bytes as a packed payload. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_boot.h"

#define FUZZ_UNPACK_MAX (4u << 20)

size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const char *const formats[] = { "gzip", "xz",  "lzma",
					       "zstd", "lz4", "bzip2" };
	char text[512];

	if (i >= sizeof(formats) / sizeof(formats[0]))
		return 0;
	for (unsigned n = 0; n < sizeof(text); n++)
		text[n] = n * n >> 3;
	return fuzz_boot_seed(image_pack(formats[i], text, sizeof(text)), buf,
			      cap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1), *out;
	struct err err = { "" };
	const char *format;
	uint64_t out_len;
	int ret;

	memcpy(copy, data, len);
	ret = boot_unpack(copy, len, FUZZ_UNPACK_MAX, &out, &out_len, &format,
			  &err);
	if (out_len > FUZZ_UNPACK_MAX || (ret < 0 && (out || !err.msg[0])))
		abort();
	free(out);
	free(copy);
	return 0;
}
