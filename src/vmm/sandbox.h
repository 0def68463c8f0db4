/*
 * sandbox.h - the second half of the jail (jail.h): once all that the
 * description names is open, a seccomp filter over every thread.
 *
 * Three answers to a system call:
 *
 *	allowed		it stands beside the code that makes it, in a comment
 *			"#syscalls: NAME..."; tools/syscalls.sh gathers them
 *	refused		everything else, with ENOSYS, or EPERM for a new
 *			process or program: a C library that tries a newer call
 *			falls back to an older one, and no guest dies of it
 *	the end		what no virtual machine ever does and an intruder wants
 *			(ptrace, mount, kernel modules...): the process ends,
 *			and says which call it was
 *
 * HOSTEL_SANDBOX=off in the environment leaves the filter out, =strict ends
 * the process for refused calls too: for who looks for a call that is missing.
 */
#ifndef HOSTEL_VMM_SANDBOX_H
#define HOSTEL_VMM_SANDBOX_H

#include "base/err.h"

enum sandbox_mode { SANDBOX_OFF, SANDBOX_ON, SANDBOX_STRICT };

/* As the environment says; a sentence for what it cannot say. */
int sandbox_mode(enum sandbox_mode *mode, struct err *err);

/*
 * Closes it; for ever.  `end` is called with a sentence, in a signal handler
 * on the offending thread, and must not return.  A kernel without seccomp is
 * no failure but with SANDBOX_STRICT.
 */
int sandbox_enter(enum sandbox_mode mode, void (*end)(const char *why),
		  struct err *err);

#endif
