/* format.h - for files of src/block only: which format content looks like. */
#ifndef HOSTEL_BLOCK_FORMAT_H
#define HOSTEL_BLOCK_FORMAT_H

#include "block/block.h"

/* The surest of all formats; raw if no other fits. */
const struct block_format *format_probe(const void *head, size_t len);

#endif
