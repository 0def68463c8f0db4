/*
 * pit.h - the 8254 interval timer, and port 61h with the speaker gate.
 *
 * Source: Intel 8254 data sheet (231164); port 61h: Intel ICH9 13.7 (NMI_SC).
 * Ports 40-43 and 61.  Channel 0's output is IRQ 0, channel 1's is the
 * refresh toggle in port 61h, channel 2's is the speaker.
 *
 * Counters are computed from guest time when they are looked at; only
 * channel 0 has a timer, and only while its output can change.
 *
 * Threads: ports from any vCPU; timer from the loop.
 */
#ifndef HOSTEL_DEV_PC_PIT_H
#define HOSTEL_DEV_PC_PIT_H

#include "dev/dev.h"

#define PIT_HZ 1193182u

struct pit;

int pit_new(struct pit **out, const struct dev_env *env, struct irq irq,
	    struct err *err);

#endif
