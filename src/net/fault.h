/*
 * fault.h - a bad cable: frames are lost, doubled, swapped, damaged, late.
 *
 * Rules: "loss:2+dup:1+reorder:5+corrupt:0.1+seed:7", in percent of the
 * frames of each direction.  The same seed and the same frames give the same
 * faults.  Frames must be complete (offload.h), so that a damaged one has a
 * wrong checksum.
 */
#ifndef HOSTEL_NET_FAULT_H
#define HOSTEL_NET_FAULT_H

#include "net/offload.h"

/* A frame that is held until another has overtaken it, or this has passed. */
#define FAULT_HOLD_NS 20000000ull

struct fault;
enum fault_way { FAULT_OUT, FAULT_IN, FAULT_WAYS };

int fault_new(struct fault **out, const char *rules, struct err *err);
void fault_free(struct fault *f);
/* Calls emit 0 to 3 times, at once. */
void fault_frame(struct fault *f, enum fault_way way, uint64_t now,
		 const struct net_hdr *hdr, const uint8_t *frame, size_t len,
		 offload_emit *emit, void *opaque);
/* When fault_expire() wants to be called; UINT64_MAX: never. */
uint64_t fault_when(const struct fault *f);
void fault_expire(struct fault *f, enum fault_way way, uint64_t now,
		  offload_emit *emit, void *opaque);

#endif
