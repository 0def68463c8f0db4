/*
 * lockstep.h - the translator held against the interpreter, block by block.
 *
 * A test tool, as --engine lockstep: each translated block runs unchained,
 * is undone, and is run again by the interpreter from the same state;
 * registers, flags, vectors and the pages written must come out the same.
 * The first difference ends the guest with a report.
 */
#ifndef HOSTEL_CPU_TRANSLATOR_LOCKSTEP_H
#define HOSTEL_CPU_TRANSLATOR_LOCKSTEP_H

#include "base/err.h"
#include "cpu/translator/xl.h"

struct lockstep;

int lockstep_new(struct lockstep **out, struct xl *x, struct err *err);
void lockstep_free(struct lockstep *l);
/* Before a block is entered: from here on writes can be undone. */
void lockstep_begin(struct lockstep *l);
/*
 * After it left, with cpu->rip set: runs the same instructions on the
 * interpreter.  why: the exit.  -EBADMSG with a report if the two differ; 1:
 * the last, an indirect branch, is still to be interpreted: it raises.
 */
int lockstep_check(struct lockstep *l, const struct xl_block *b,
		   enum xl_exit why, struct err *err);

#endif
