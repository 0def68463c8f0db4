/*
 * vm.h - one guest: board, processors, and the loop that runs them.
 *
 * Everything hangs off struct vm.  Life: vm_new() builds the board (pc.c) and
 * loads the guest (boot/), vm_run() starts the vCPU threads and runs the I/O
 * loop in the calling thread until the guest ends, vm_free() gives all back.
 */
#ifndef HOSTEL_MACHINE_VM_H
#define HOSTEL_MACHINE_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/walk.h"
#include "cpu/x86/cpu.h"
#include "dev/dev.h"
#include "machine/config.h"

struct pc;

/* How a guest ended. */
enum vm_end {
	VM_END_NONE,
	VM_END_POWEROFF,
	VM_END_EXIT_PORT, /* status holds (v << 1) | 1 */
	VM_END_CRASH,     /* triple fault with no_reboot */
	VM_END_RESET,     /* reset with no_reboot: ends like a power-off */
	VM_END_TIMEOUT,
	VM_END_STOPPED, /* vm_stop() from outside: status 130 or 143 */
	VM_END_ERROR,
};

struct vm {
	struct vm_config config;
	struct dev_env env; /* mem, loop, clock */
	struct x86_machine xm;
	struct pc *pc;               /* the board: pc.h */
	struct dev *devs;            /* every device, in creation order */
	struct vcpu_thread *threads; /* xm.cpu_count of them: run.c */
	int console_in, console_out; /* descriptors; -1: none */
	/* guarded by lock: */
	enum vm_end end;
	int end_status;
	struct err end_err;
	uint64_t start_mono_ns;
	struct vm_run *run;  /* run.c's own */
	struct trace *trace; /* --trace, or NULL */
	struct gdb *gdb;     /* --gdb, or NULL */
	/*
	 * A vCPU met a breakpoint (VCPU_EXIT_DEBUG): called in its thread, in
	 * which it must not block; the guest is then stopped as by vm_pause(),
	 * and vm_resume() sets it going.  NULL: no debugger.
	 */
	void (*debug_stopped)(void *opaque, struct x86_cpu *cpu);
	void *debug_opaque;
	bool asked_to_pause; /* the monitor's thread's: it holds a pause */
};

/*
 * Takes over *config (and clears it).  console_in/out: where the
 * console's bytes come from and go to: the first serial port, or the virtio
 * console; not closed by the vm.
 */
int vm_new(struct vm **out, struct vm_config *config, int console_in,
	   int console_out, struct err *err);
/* Returns how it ended; *status is hostel's exit status for it. */
enum vm_end vm_run(struct vm *vm, int *status, struct err *err);
void vm_free(struct vm *vm);

/* --- From any thread ------------------------------------------------------ */

/* The guest is to end; the first caller's reason counts. */
void vm_end(struct vm *vm, enum vm_end end, int status);
/* Machine reset (keyboard controller, port cf9, ACPI, triple fault). */
void vm_request_reset(struct vm *vm);
/* Presses the ACPI power button. */
void vm_power_button(struct vm *vm);
/* Stops every vCPU between instructions; nests. Not from a vCPU thread. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/*
 * While paused: one instruction of one vCPU, executed in its own thread.
 * Not from a vCPU thread.
 */
enum vcpu_exit vm_step(struct vm *vm, unsigned cpu);

/* While paused: every section through the walker. */
void vm_walk(struct vm *vm, struct walk *w);

/* One JSON object, as --stats prints it. */
void vm_print_stats(struct vm *vm, FILE *f);

#endif
