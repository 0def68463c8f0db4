/*
 * vsock_impl.h - virtio-vsock from inside: for vsock*.c.
 *
 *	vsock.c		the device: queues, the loop's calls, life, state
 *	vsock_conn.c	connections as the guest sees them: packets, credit
 *	vsock_host.c	the host's end of one: Unix sockets, buffer
 *
 * All functions: with v->lock held.
 */
#ifndef HOSTEL_DEV_VIRTIO_VSOCK_IMPL_H
#define HOSTEL_DEV_VIRTIO_VSOCK_IMPL_H

#include <assert.h>
#include <pthread.h>
#include <sys/types.h>
#include <sys/un.h>

#include "dev/virtio/vsock.h"

#define VSOCK_CONNS_MAX 512
#define VSOCK_BUCKETS   128
/* Bytes that we hold for one connection: the credit that its guest has. */
#define VSOCK_BUF (256u << 10)
/* What is sent at once; also the most that one packet carries. */
#define VSOCK_PIECE (64u << 10)
/* Resets that wait for a buffer; beyond this the guest is not heard. */
#define VSOCK_REPLIES_SOFT 128
#define VSOCK_REPLIES      (VSOCK_REPLIES_SOFT + VSOCK_CONNS_MAX + 8)
/* Ports of ours, where the host's programs have none; up to 2^31. */
#define VSOCK_PORT_FIRST (1u << 30)
#define VSOCK_PORT_LAST  ((1u << 31) - 1)
#define VSOCK_PORT_ANY   UINT32_MAX
/* A listener whose backlog is full is tried again. */
#define VSOCK_RETRIES  200
#define VSOCK_RETRY_NS 10000000ull

/* 5.10.6 */
struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
} __attribute__((packed));
static_assert(sizeof(struct vsock_hdr) == 44, "as in memory");

#define VSOCK_STREAM 1 /* type */

enum vsock_op {
	VSOCK_INVALID,
	VSOCK_REQUEST,
	VSOCK_RESPONSE,
	VSOCK_RST,
	VSOCK_SHUTDOWN,
	VSOCK_RW,
	VSOCK_CREDIT_UPDATE,
	VSOCK_CREDIT_REQUEST,
	VSOCK_OPS
};

/* Flags of SHUTDOWN (5.10.6.5): what the sender will not do any more. */
#define VSOCK_SHUT_RECEIVE 1u
#define VSOCK_SHUT_SEND    2u
#define VSOCK_SHUT_BOTH    3u

enum vsock_state {
	VSOCK_HELLO,      /* a program of the host has yet to say CONNECT */
	VSOCK_REQUESTED,  /* the guest has yet to answer it */
	VSOCK_CONNECTING, /* the guest waits for a full backlog */
	VSOCK_CONNECTED,
	VSOCK_LINGERING, /* over for the guest; its last bytes are not out */
};

struct vsock_conn {
	struct vsock_conn *next;       /* in its bucket */
	struct vsock_conn *ready_next; /* of those with something to send */
	bool ready;
	bool hashed;
	enum vsock_state state;
	unsigned slot;
	uint32_t serial; /* tells events of an earlier one in this slot */
	uint32_t guest_port, host_port;
	unsigned pending; /* 1 << op: packets to be sent */
	unsigned retries;

	/* To the guest (5.10.6.3): counters run freely. */
	uint32_t tx_cnt, peer_alloc, peer_fwd;
	bool asked; /* for credit, and nothing new was heard */
	/* From the guest. */
	uint32_t rx_cnt, fwd_cnt, fwd_told;
	unsigned guest_shut, host_shut; /* VSOCK_SHUT_* as said by each */

	/* The host's end. */
	int fd; /* -1: gone */
	bool readable, writable;
	bool shut_write; /* the program was told that no more comes */
	uint8_t *buf;    /* a ring of VSOCK_BUF bytes; NULL: none yet */
	uint32_t buf_at, buf_len;
};

struct vsock {
	struct virtio_dev vd;
	uint64_t cid; /* all of configuration space */
	struct sockaddr_un addr;
	dev_t file_dev; /* the socket file that is ours to remove */
	ino_t file_ino;
	int listener, epoll, kick;
	struct timer resume; /* ends `drained` */
	struct timer retry;

	pthread_mutex_t lock; /* guards: */
	bool running;         /* from DRIVER_OK to reset */
	bool drained;
	bool event; /* TRANSPORT_RESET is to be sent */
	/* Until then the driver may reset what is new; 0: it has done so. */
	uint64_t unsettled_until;
	unsigned events_left; /* buffers for events when it was sent */
	bool acceptable;      /* somebody may be waiting at the listener */
	uint32_t next_port, next_serial;
	unsigned count;
	struct vsock_conn *conn[VSOCK_CONNS_MAX];
	struct vsock_conn *bucket[VSOCK_BUCKETS];
	struct vsock_conn *ready_first, **ready_last;
	struct vsock_hdr reply[VSOCK_REPLIES];
	unsigned reply_first, reply_count;
	struct virtq_chain chain;
	uint8_t bounce[VSOCK_PIECE];
};

/* --- vsock_conn.c --------------------------------------------------------- */

/* NULL: there are too many, or no memory.  Takes fd over, also then. */
struct vsock_conn *vsock_open(struct vsock *v, int fd, enum vsock_state state);
/* For one more connection; false: all that there are are wanted. */
bool vsock_make_room(struct vsock *v);
void vsock_close(struct vsock *v, struct vsock_conn *c);
void vsock_close_all(struct vsock *v);
/* Tells the guest, if it knows of it, and closes. */
void vsock_reset_conn(struct vsock *v, struct vsock_conn *c);
void vsock_name(struct vsock *v, struct vsock_conn *c, uint32_t guest_port,
		uint32_t host_port);
struct vsock_conn *vsock_find(struct vsock *v, uint32_t guest_port,
			      uint32_t host_port);
/* It may have something to send to the guest now. */
void vsock_set_ready(struct vsock *v, struct vsock_conn *c);
/* A packet from the guest. */
void vsock_take_packet(struct vsock *v, const struct virtq_chain *chain);
/* Is there anything for the guest? */
bool vsock_has_packet(const struct vsock *v);
/* Into a chain with room: bytes written; 0: there was nothing after all. */
uint32_t vsock_put_packet(struct vsock *v, const struct virtq_chain *chain);

/* --- vsock_host.c --------------------------------------------------------- */

int vsock_host_listen(struct vsock *v, const char *path, struct err *err);
void vsock_host_exit(struct vsock *v);
/* Watches a descriptor; what names it in events. */
int vsock_host_watch(struct vsock *v, int fd, unsigned slot, uint32_t serial);
void vsock_host_accept(struct vsock *v);
/* A guest's wish: 0; -EAGAIN: later; -errno: nobody is there. */
int vsock_host_connect(struct vsock *v, struct vsock_conn *c);
/* The guest has taken the connection. */
bool vsock_host_greet(struct vsock_conn *c);
/* Bytes for the program; within the credit.  False: no memory. */
bool vsock_host_write(struct vsock_conn *c, const uint8_t *p, uint32_t n);
void vsock_host_flush(struct vsock_conn *c);
/* Bytes from it: their number; 0: none now, or none any more. */
uint32_t vsock_host_read(struct vsock_conn *c, void *to, uint32_t max);
/* Something happened to its socket. */
void vsock_host_event(struct vsock *v, struct vsock_conn *c, uint32_t events);

#endif
