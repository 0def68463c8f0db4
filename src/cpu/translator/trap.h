/*
 * trap.h - host faults inside translated code.
 *
 * An instruction that was copied may fault on the host as it would on the
 * guest's processor: a division, an unaligned SSE operand.  Then the guest's
 * state is that before the instruction, and the interpreter executes it, and
 * raises what is to be raised.
 */
#ifndef HOSTEL_CPU_TRANSLATOR_TRAP_H
#define HOSTEL_CPU_TRANSLATOR_TRAP_H

#include "base/err.h"

struct xl;

/* Once per process; signals that are not ours go to who had them before. */
int xl_trap_init(struct err *err);
/* The calling thread runs x's code from now on (NULL: none). */
void xl_trap_watch(struct xl *x);

#endif
