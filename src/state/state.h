/*
 * state.h - a whole guest in a file, from which it goes on: later, on another
 * engine, on another host.
 *
 *	"HOSTELST"			8 bytes
 *	u32 version, u32 n		little-endian, as all numbers
 *	n bytes				JSON: the guest's description (config.h)
 *	u64 m, m bytes			processors and devices (walk.h)
 *	u64 at, u64 len, len bytes	pieces of the memory file, in whole
 *	...				pages, ascending; zero pages are
 *					left out
 *	u64 ~0, u64 0			end
 *
 * Disks are not in it: they must be as the guest left them, which is why
 * saving ends the guest unless it is told otherwise.  The file is written to
 * and read from a descriptor in one go, so a pipe will do.  What is read is
 * untrusted.
 */
#ifndef HOSTEL_STATE_STATE_H
#define HOSTEL_STATE_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "machine/vm.h"

/*
 * Stops the guest and writes it; go_on: it continues afterwards, and also if
 * writing failed; else it has ended (VM_END_STOPPED, status 0).  Any thread
 * but a vCPU's and the I/O loop's.
 */
int state_save(struct vm *vm, int fd, bool go_on, struct err *err);

/*
 * The description in the file, without what belongs to a run and not to the
 * guest (engine, console, name ...).  *config is the caller's.
 */
int state_read_config(const char *path, json_t **config, struct err *err);

/*
 * Puts the state into a vm that was made from that description and does not
 * run yet.  After a failure it must not.
 */
int state_load(struct vm *vm, const char *path, struct err *err);

#endif
