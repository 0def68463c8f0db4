/*
 * launch.h - starting hostel-vm.
 */
#ifndef HOSTEL_CLI_LAUNCH_H
#define HOSTEL_CLI_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "machine/config.h"

/* A running hostel-vm; descriptors are ours to close. */
struct launch {
	pid_t pid;
	int control;
	int console; /* stream socket, not blocking; -1: none */
	bool reset;  /* by attach_run(): it ended where it would restart */
};

/*
 * Starts hostel-vm (beside this program, else in the libexec directory, else
 * on PATH) and sends it the description.  It dies with the calling thread.
 */
int launch_start(struct launch *l, const struct vm_config *config,
		 struct err *err);

#endif
