/*
 * diskmodel.h - what a disk should hold: random requests to a disk and to
 * plain memory, and the comparison, by us and by qemu-img.
 */
#ifndef HOSTEL_TESTS_DISKMODEL_H
#define HOSTEL_TESTS_DISKMODEL_H

#include "blocktest.h"

struct diskmodel {
	uint64_t size;
	uint8_t *bytes;
};

void diskmodel_init(struct diskmodel *m, uint64_t size);
void diskmodel_free(struct diskmodel *m);
/* Becomes what the disk reads as now. */
void diskmodel_load(struct diskmodel *m, struct block *b);
/*
 * `count` random requests: writes, zeroes, flushes, reads that must give what
 * the model holds.  Same seed, same requests.
 */
void diskmodel_run(struct diskmodel *m, struct block *b, uint64_t seed,
		   unsigned count);
/* Every byte, through the node. */
void diskmodel_compare(const struct diskmodel *m, struct block *b);
/* qemu-img finds nothing wrong in the (closed) file, and the same bytes. */
void diskmodel_qemu(const struct diskmodel *m, const char *path,
		    const char *format);

#endif
