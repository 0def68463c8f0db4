/*
 * engines.h - which engine runs a guest.
 */
#ifndef HOSTEL_MACHINE_ENGINES_H
#define HOSTEL_MACHINE_ENGINES_H

#include "cpu/engine.h"

/*
 * The engine of this name, or for "auto" (and NULL) the fastest that this
 * host can run.  NULL with a sentence: unknown, or its probe() refused.
 */
const struct engine_ops *engines_choose(const char *name, struct err *err);

#endif
