/*
 * dma.h - a guest's buffer in pieces (PRDs, descriptors), each checked once
 * and from then on host memory.
 *
 * Neighbours in guest memory are one piece.  What lies in the pieces may
 * change while it is used: copy once, then check.
 *
 * Threads: one at a time for each list.
 */
#ifndef HOSTEL_DEV_DMA_H
#define HOSTEL_DEV_DMA_H

#include <sys/uio.h>

#include "mem/mem.h"

/* 32 MiB, the most that an ATA command moves, in pages of their own. */
#define DMA_PIECES_MAX 8256

struct dma {
	struct mem *mem;
	struct iovec *iov; /* count of them, owned */
	uint64_t *gpa;     /* where each lies for the guest; owned */
	unsigned count, capacity;
	uint64_t length; /* bytes in all */
};

void dma_init(struct dma *d, struct mem *mem);
void dma_free(struct dma *d);
/* Empty again; keeps its arrays unless they are large. */
void dma_clear(struct dma *d);

/* -EFAULT: not all RAM; -E2BIG: too many pieces; -ENOMEM. */
int dma_add(struct dma *d, uint64_t gpa, uint64_t length);
/* Cuts the list to its first `length` bytes, if it is longer. */
void dma_clip(struct dma *d, uint64_t length);

/* Copies at most len bytes at offset; how many there were. */
uint64_t dma_read(const struct dma *d, uint64_t offset, void *buf,
		  uint64_t len);
uint64_t dma_write(struct dma *d, uint64_t offset, const void *buf,
		   uint64_t len);
/* Somebody else filled the first len bytes through iov. */
void dma_written(struct dma *d, uint64_t len);

#endif
