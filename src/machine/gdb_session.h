/*
 * gdb_session.h - one gdb that is connected: its commands and breakpoints.
 *
 * No sockets and no threads: bytes in, bytes out, and a machine behind an
 * interface, so that tests and the fuzzer need neither.  Used by one thread.
 *
 * A session begins and ends with a stopped machine in its hands: it owns every
 * vCPU's state while it is not `running`.
 */
#ifndef HOSTEL_MACHINE_GDB_SESSION_H
#define HOSTEL_MACHINE_GDB_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cpu/x86/cpu.h"
#include "machine/rsp.h"

/* What a session may do to the machine and to its peer. */
struct gdb_host {
	struct x86_machine *xm;
	/* All vCPUs stop; returns when they have.  All go on. */
	void (*stop)(void *opaque);
	void (*go)(void *opaque);
	/* One instruction of one vCPU, while stopped. */
	enum vcpu_exit (*step)(void *opaque, unsigned cpu);
	/* Reset, or end of the guest; takes effect once it goes on. */
	void (*reset)(void *opaque);
	void (*end)(void *opaque);
	void (*send)(void *opaque, const void *p, size_t n);
	void *opaque;
};

/* Z packets' types. */
enum gdb_point_type {
	GDB_SOFTWARE_BREAK,
	GDB_HARDWARE_BREAK,
	GDB_WATCH_WRITE,
	GDB_WATCH_READ,
	GDB_WATCH_ACCESS,
};

struct gdb_point {
	uint8_t type; /* enum gdb_point_type */
	uint64_t addr, len;
};

#define GDB_POINTS_MAX (X86_DEBUG_MAX_BP + 16)

struct gdb_session {
	const struct gdb_host *host;
	bool running;        /* the machine runs; gdb waits for a stop */
	bool over;           /* detached or killed: close the connection */
	bool no_ack;         /* QStartNoAckMode */
	bool reports_breaks; /* gdb understands swbreak and hwbreak */
	unsigned cpu;        /* that Hg chose */
	unsigned step_cpu;   /* that Hc chose */
	char *xml;           /* target.xml */
	struct gdb_point point[GDB_POINTS_MAX];
	unsigned point_count;
	/*
	 * A step of a halted vCPU: all run until this one is back behind its
	 * HLT, where a breakpoint of our own waits.
	 */
	bool waking;
	unsigned waking_cpu;
	uint64_t waking_addr;
	struct x86_debug debug; /* what the engines see of the above */
	/* The breakpoints with which the machine last went on. */
	unsigned known_count;
	uint64_t known[X86_DEBUG_MAX_BP];
	struct rsp_reader in;
	struct rsp_writer out;
};

/* The machine is stopped.  -ENOMEM. */
int gdb_session_begin(struct gdb_session *s, const struct gdb_host *host);
/* Untrusted bytes from the peer. */
void gdb_session_input(struct gdb_session *s, const void *p, size_t n);
/*
 * The machine, running until now, was stopped by vCPU `cpu` (a breakpoint or
 * watchpoint).  Reports it.
 */
void gdb_session_stopped(struct gdb_session *s, unsigned cpu);
/* The guest ended. */
void gdb_session_exited(struct gdb_session *s, int status);
/* Forgets all breakpoints; a machine that was stopped goes on. */
void gdb_session_end(struct gdb_session *s);

/* --- gdb_points.c --------------------------------------------------------- */

/* Sets s->debug anew; false: more points than the engines take. */
bool gdb_point_apply(struct gdb_session *s);
/* Adding one that is there, or removing one that is not, changes nothing. */
/* -ENOSPC: more than the engines take. */
int gdb_point_add(struct gdb_session *s, const struct gdb_point *p);
void gdb_point_remove(struct gdb_session *s, const struct gdb_point *p);
void gdb_point_remove_all(struct gdb_session *s);
/*
 * The machine goes on: engines that have built breakpoints into code of theirs
 * forget it, but not if gdb has merely removed all and inserted them again.
 */
void gdb_point_commit(struct gdb_session *s);
/* The breakpoint, or the watchpoint, at this very address; or NULL. */
const struct gdb_point *gdb_point_at(const struct gdb_session *s, uint64_t addr,
				     bool watch);

/* --- gdb_monitor.c -------------------------------------------------------- */

/* `monitor LINE`: writes the answer to f. */
void gdb_monitor(struct gdb_session *s, const char *line, FILE *f);

#endif
