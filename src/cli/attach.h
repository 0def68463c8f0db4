/*
 * attach.h - a person's end of a running guest.
 */
#ifndef HOSTEL_CLI_ATTACH_H
#define HOSTEL_CLI_ATTACH_H

#include "base/err.h"
#include "cli/launch.h"

/*
 * Relays stdin and stdout until the guest has ended, however it ends; passes
 * on signals that ask us to stop; prints what --stats asks for.  Closes what
 * is in *l and reaps the process.  Returns hostel's exit status, with a
 * sentence in *err (else empty) if there is something to say.
 */
int attach_run(struct launch *l, const struct vm_config *config,
	       struct err *err);

#endif
