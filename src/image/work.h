/*
 * work.h - long work in the store that can be ended at any moment.
 */
#ifndef HOSTEL_IMAGE_WORK_H
#define HOSTEL_IMAGE_WORK_H

#include "base/err.h"

typedef int work_fn(void *opaque, struct err *err);

/*
 * Calls fn in a process of its own, which ends with ours, and returns what it
 * returned, with its sentence.  SIGINT, SIGTERM and SIGHUP end it and all that
 * it started; when none of that runs any more `ended` is called here, and the
 * process dies of the signal, as its parent expects.  What fn did to memory is
 * not seen here.  No other thread may be there, and no other child.
 */
int work_run(work_fn *fn, void (*ended)(void *opaque), void *opaque,
	     struct err *err);

#endif
