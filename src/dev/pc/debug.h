/*
 * debug.h - ports by which a guest talks to who watches it.
 *
 *	402, e9  debug console: bytes written go to a descriptor; reading
 *		 gives e9, by which firmware finds the port
 *	80	 POST code: the last byte written can be read back
 *	f4	 exit port: a write calls `exit` with the value
 *
 * Threads: any vCPU.
 */
#ifndef HOSTEL_DEV_PC_DEBUG_H
#define HOSTEL_DEV_PC_DEBUG_H

#include "dev/dev.h"

struct debug;

/*
 * fd: where debug console bytes go, -1: nowhere; stays the caller's.  What
 * does not fit without blocking is dropped.
 */
int debug_new(struct debug **out, const struct dev_env *env, int fd,
	      struct dev_hook exit, struct err *err);

/* The last POST code. */
uint8_t debug_post_code(struct debug *d);

#endif
