/*
 * port92.h - system control port A: fast A20 gate and fast reset.
 *
 * Source: IBM PS/2 hardware interface reference; ICH9 13.7.3.
 *
 * The A20 gate is kept as a bit that reads back (here and in the keyboard
 * controller's output port), but address line 20 is never masked: no system
 * still needs the wrap at 1 MiB, and every program that tests for an open
 * gate finds it open.
 *
 * Threads: any.
 */
#ifndef HOSTEL_DEV_PC_PORT92_H
#define HOSTEL_DEV_PC_PORT92_H

#include "dev/dev.h"

struct port92;

int port92_new(struct port92 **out, const struct dev_env *env,
	       struct dev_hook reset, struct err *err);

bool port92_a20(struct port92 *p);
void port92_set_a20(struct port92 *p, bool on);

#endif
