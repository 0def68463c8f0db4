/*
 * rsp.h - packets of GDB's remote serial protocol.
 *
 * Source: "Debugging with GDB", appendix E.1.
 *
 *	$payload#cs	cs: the payload's bytes summed modulo 256, in hex
 *	+ -		the last packet arrived, or is to be sent again
 *	03		stop the target
 *
 * In binary payloads '}' escapes: the next byte is XORed with 20h.  The reader
 * leaves escapes in place, since only some commands have binary parts.
 */
#ifndef HOSTEL_MACHINE_RSP_H
#define HOSTEL_MACHINE_RSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest payload either way; told to gdb as PacketSize. */
#define RSP_PAYLOAD_MAX 0x4000

enum rsp_event {
	RSP_NONE,      /* more bytes are needed */
	RSP_PACKET,    /* payload[0..len) is whole, and NUL-terminated */
	RSP_DAMAGED,   /* bad checksum, or longer than RSP_PAYLOAD_MAX */
	RSP_INTERRUPT, /* 03 */
	RSP_NAK,       /* send the last packet again */
};

/* Zeroed is ready to use. */
struct rsp_reader {
	char payload[RSP_PAYLOAD_MAX + 1];
	size_t len;
	uint8_t state, sum, sent_sum;
	bool too_long;
};

/* Untrusted: any byte in any state. */
enum rsp_event rsp_feed(struct rsp_reader *r, uint8_t byte);

/* A payload under construction.  What does not fit sets `overflow`. */
struct rsp_writer {
	char payload[RSP_PAYLOAD_MAX + 1]; /* NUL-terminated */
	size_t len;
	bool overflow;
};

void rsp_clear(struct rsp_writer *w);
void rsp_put(struct rsp_writer *w, const void *p, size_t n);
void rsp_printf(struct rsp_writer *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void rsp_put_hex(struct rsp_writer *w, const void *p, size_t n);
/* Escaped; all or nothing. */
void rsp_put_binary(struct rsp_writer *w, const void *p, size_t n);

/*
 * The whole packet: out has room for RSP_PAYLOAD_MAX + 4 bytes; returns its
 * length.
 */
#define RSP_PACKET_MAX (RSP_PAYLOAD_MAX + 4)
size_t rsp_frame(const struct rsp_writer *w, char *out);

/*
 * Reads of a payload: each advances *p and returns false, leaving *p
 * somewhere, if what it wants is not there.  Payloads end with NUL.
 */
bool rsp_get_number(const char **p, uint64_t *out); /* hex, 1..16 digits */
bool rsp_get_char(const char **p, char c);
/* Exactly n bytes, 2n hex digits. */
bool rsp_get_hex(const char **p, void *out, size_t n);
/* Unescapes [p, end) into exactly n bytes. */
bool rsp_get_binary(const char *p, const char *end, void *out, size_t n);

#endif
