/* state_file.h - numbers that save.c and load.c share. */
#ifndef HOSTEL_STATE_STATE_FILE_H
#define HOSTEL_STATE_STATE_FILE_H

#include <stdint.h>

#define STATE_FILE_MAGIC      "HOSTELST"
#define STATE_FILE_VERSION    1u
#define STATE_FILE_CONFIG_MAX (1u << 20)
#define STATE_FILE_STREAM_MAX (256ull << 20)
#define STATE_FILE_PIECE_MAX  (4ull << 20)
#define STATE_FILE_END        UINT64_MAX

struct state_file_head {
	char magic[8];
	uint32_t version; /* little-endian, as the host */
	uint32_t config_bytes;
};

struct state_file_piece {
	uint64_t at, len;
};

#endif
