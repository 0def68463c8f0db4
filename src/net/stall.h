/*
 * stall.h - reopens TCP windows that libslirp has closed.
 *
 * When the host's socket takes no more, libslirp buffers and closes the
 * guest's window; when the buffer has drained it does not say so.  The guest
 * would find out by its zero-window probe, 200 ms later, again and again.  So
 * we send libslirp that probe (RFC 9293, 3.8.6.1) in the guest's name, soon:
 * a segment without data one byte before the window, which TCP answers with
 * what its window is now.
 *
 * Used by nat.c, in its thread.
 */
#ifndef HOSTEL_NET_STALL_H
#define HOSTEL_NET_STALL_H

#include "net/packet.h"

#define STALL_FLOWS    32
#define STALL_HEAD_MAX 128
#define STALL_WINDOW   32768 /* closed, or so small that senders wait */
#define STALL_FIRST_NS 100000ull
#define STALL_LAST_NS  5000000ull
#define STALL_TRIES    200 /* then it is the guest's own timers' business */

struct stall_flow {
	bool used;
	unsigned tries;
	uint64_t next, wait;
	struct packet_info info;
	size_t len;
	uint8_t head[STALL_HEAD_MAX]; /* of the last segment to the guest */
};

struct stalls {
	struct stall_flow flow[STALL_FLOWS];
};

/* A frame for the guest: has its sender's window closed, or opened? */
void stall_note(struct stalls *s, uint64_t now, const struct packet *p,
		const struct packet_info *info);
/* A probe that is due, for libslirp; its length, or 0: none. */
size_t stall_probe(struct stalls *s, uint64_t now, uint8_t out[STALL_HEAD_MAX]);
/* When the next will be; UINT64_MAX: never. */
uint64_t stall_when(const struct stalls *s);

#endif
