/*
 * interrupt.h - Ctrl-C and its like during long work that must leave nothing
 * half-made: they wait until the work has seen them and cleaned up.
 */
#ifndef HOSTEL_CLI_INTERRUPT_H
#define HOSTEL_CLI_INTERRUPT_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM and SIGHUP wait.  Before threads are started. */
void interrupt_hold(void);
/* Does one of them?  Any thread. */
bool interrupt_waits(void);
/* If one does, the process ends of it here, as its parent expects. */
void interrupt_let(void);

#endif
