/*
 * run.h - a guest's threads: one per vCPU, and the I/O loop.
 *
 * Private to src/machine; vm.h holds what others call.
 */
#ifndef HOSTEL_MACHINE_RUN_H
#define HOSTEL_MACHINE_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "machine/guest.h"
#include "machine/vm.h"

#define RUN_EXIT_KINDS (VCPU_EXIT_ERROR + 1)

struct vcpu_thread {
	struct vm *vm;
	struct x86_cpu *cpu;
	pthread_t thread;
	bool started;
	bool step; /* guarded by vm_run.lock */
	enum vcpu_exit step_exit;
	uint64_t exits[RUN_EXIT_KINDS]; /* own thread; read when stopped */
};

struct vm_run {
	struct guest guest;
	struct timer timeout;
	/*
	 * Says that a vCPU which comes out of its engine must look at the
	 * fields below.  Written with the lock held.
	 */
	atomic_bool hold;
	pthread_mutex_t lock;   /* docs/locking.md: machine */
	pthread_cond_t changed; /* live, parked, step_exit */
	pthread_cond_t go;      /* hold and its reasons */
	/* guarded by lock: */
	unsigned live;   /* vCPU threads that run */
	unsigned parked; /* of these, waiting in run_park() */
	unsigned pause_depth;
	bool reset_wanted;
	uint64_t end_mono_ns;
};

int run_init(struct vm *vm, struct err *err);
void run_free(struct vm *vm);
/* For struct x86_machine. */
void run_wake(void *opaque, struct x86_cpu *cpu);
void run_request_reset(void *opaque);

#endif
