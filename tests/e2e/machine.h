/*
 * machine.h - a machine in a thread of the test, and its console, for tests
 * that move a guest from one machine into another.
 */
#ifndef TESTS_E2E_MACHINE_H
#define TESTS_E2E_MACHINE_H

#include "../test.h"

#include <pthread.h>
#include <stddef.h>

#include "machine/vm.h"

struct machine {
	struct vm *vm;
	pthread_t thread;
	int console, far_end;
	const char *never; /* it must not say this; NULL: nothing */
	char said[1 << 17];
	size_t said_len;
};

/* Copies what it needs of *like.  Does not run yet. */
struct machine *machine_make(const struct vm_config *like);
void machine_start(struct machine *m);
void machine_end(struct machine *m);
/*
 * Reads the console until it says so; without a word for PATIENCE seconds at
 * most (environment; default 60).
 */
void machine_expect(struct machine *m, const char *text);
void machine_type(struct machine *m, const char *text);

#endif
