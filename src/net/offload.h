/*
 * offload.h - what a frame's sender left undone: checked, and completed in
 * software for a receiver that cannot.
 *
 * Source: VIRTIO 1.2, 5.1.6.2 (transmission), 5.1.6.4 (receiving).
 */
#ifndef HOSTEL_NET_OFFLOAD_H
#define HOSTEL_NET_OFFLOAD_H

#include "net/net.h"

/* One frame out; may be called many times. */
typedef void offload_emit(void *opaque, const struct net_hdr *hdr,
			  uint8_t *frame, size_t len);

/*
 * Is the header possible for this frame?  The checksum's place lies inside,
 * the kind of segmentation is that of the packet.  -EINVAL: drop it.  Unknown
 * flags are taken away.
 */
int offload_check(struct net_hdr *hdr, uint8_t *frame, size_t len);

/*
 * For a frame that passed offload_check(): hands it on so that nothing is left
 * undone but what `can` names.  Changes the frame's memory.
 */
void offload_complete(const struct net_hdr *hdr, uint8_t *frame, size_t len,
		      unsigned can, offload_emit *emit, void *opaque);

/* Fills in the checksum that NET_HDR_NEEDS_CSUM names. */
void offload_checksum(const struct net_hdr *hdr, uint8_t *frame, size_t len);

#endif
