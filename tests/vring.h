/*
 * vring.h - the driver's side of a virtqueue, split or packed, for tests of
 * the device's side alone (virtq.h).
 *
 * Memory: the three areas lie at VRING_DESC.., indirect tables at
 * VRING_TABLES, one for each id.
 */
#ifndef HOSTEL_TESTS_VRING_H
#define HOSTEL_TESTS_VRING_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "dev/virtio/virtio.h"
#include "dev/virtio/virtq_impl.h"

#define VRING_RAM    (4u << 20)
#define VRING_DESC   0x10000u
#define VRING_DRIVER 0x20000u
#define VRING_DEVICE 0x28000u
#define VRING_TABLES 0x40000u
#define VRING_TABLE  0x100u /* bytes a table: 16 entries */
#define VRING_DATA   0x200000u

struct vring_piece {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct vring {
	struct mem *mem;
	uint8_t *ram;
	struct virtq *q;
	unsigned size;
	bool packed, event_idx;
	unsigned interrupts, reports;
	unsigned free_slots;
	bool id_used[VIRTQ_SIZE_MAX];
	unsigned id_slots[VIRTQ_SIZE_MAX];
	/* The driver's positions. */
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
};

void vring_open(struct vring *r, unsigned size, uint64_t features);
void vring_close(struct vring *r);
struct virtq_desc *vring_desc(struct vring *r, unsigned index);
/* Makes a request available; its id, or -1 if there is no room. */
int vring_add(struct vring *r, const struct vring_piece *p, unsigned n,
	      bool indirect);
/* The next used one: its id and length; -1: none. */
int vring_used(struct vring *r, uint32_t *len);
/* Where the driver wants its next interrupt: `ahead` used slots from here. */
void vring_set_event(struct vring *r, unsigned ahead);
/* Split: words of the driver's area: flags, idx, ring... */
uint16_t *vring_avail(struct vring *r);

#endif
