/*
 * jail.h - what a guest's process gives up, so that a guest that takes it over
 * has gained little.  Called once, first thing in main, by the only thread.
 */
#ifndef HOSTEL_VMM_JAIL_H
#define HOSTEL_VMM_JAIL_H

#include "base/err.h"

/*
 * Before anything is read: ends with the parent, gains no privileges by exec,
 * keeps of root's capabilities those that files and networks need, keeps no
 * descriptor above last_fd, writes no core file (it would hold the guest's
 * memory) and makes no file that others can read. sandbox.h is the second half,
 * once everything is open.
 */
int jail_enter(int last_fd, struct err *err);

#endif
