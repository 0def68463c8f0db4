/*
 * run.c - THE loop: run_vcpu() runs a vCPU until the guest ends.
 *
 * Threads.  Each vCPU has a thread that calls the engine; the thread that
 * called vm_run() runs the I/O loop: descriptors, timers, resets.  There is no
 * lock around the machine; devices lock themselves.
 *
 * Stopping vCPUs.  Whoever wants them to stop (pause, reset, end) notes why
 * under run->lock, sets run->hold and kicks each vCPU (X86_PEND_KICK).  The
 * engine returns between two instructions, the thread sees `hold` and parks
 * until no reason is left.  While all are parked, the stopper owns every
 * vCPU's state.
 *
 * Sleeping.  A halted vCPU waits on the futex cpu->wait_word; nothing polls.
 *
 *	sleeper				waker (x86_pend(), any thread)
 *	-------				------------------------------
 *	wait_word = 1			pending |= bits
 *	pending? then go on		wait_word = 0, was 1? futex_wake
 *	futex_wait(wait_word, 1)
 *
 * Both sides are sequentially consistent: either the sleeper sees the bits, or
 * the waker sees the 1 and the futex call finds 0 or is woken.  The LAPIC
 * timer and devices come through x86_pend() like everything else.
 *
 * Reset.  vm_request_reset() may come from a vCPU in the middle of a port
 * access, so it only notes the wish; the I/O loop then waits for all to be
 * parked, resets devices and vCPUs, and loads the guest again.
 */
#include "machine/run.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/x86/lapic.h"
#include "cpu/x86/msr.h"
#include "machine/pc.h"
#include "machine/trace.h"

/* #syscalls: futex */

#define RUN_STACK_BYTES    (1u << 20)
#define RUN_STATUS_CRASH   123
#define RUN_STATUS_TIMEOUT 124
#define RUN_STATUS_ERROR   125

/* --- Sleeping and waking ----------------------------------------------- */

static void run_futex(atomic_int *word, int op, int value)
{
	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void run_wake(void *opaque, struct x86_cpu *cpu)
{
	/* Pairs with the fence in run_sleep(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&cpu->wait_word) && atomic_exchange(&cpu->wait_word, 0))
		run_futex(&cpu->wait_word, FUTEX_WAKE, 1);
}

/* Until an interrupt, or whatever else ends HLT, or a kick. */
static void run_sleep(struct x86_cpu *cpu)
{
	while (!x86_wakeup_pending(cpu)) {
		atomic_store(&cpu->wait_word, 1);
		atomic_thread_fence(memory_order_seq_cst);
		if (!x86_wakeup_pending(cpu))
			run_futex(&cpu->wait_word, FUTEX_WAIT, 1);
		atomic_store(&cpu->wait_word, 0);
	}
}

/* --- Stopping ----------------------------------------------------------- */

static bool run_must_stop(const struct vm *vm)
{
	return vm->run->pause_depth || vm->run->reset_wanted ||
	       vm->end != VM_END_NONE;
}

/* A reason came or went. With the lock held. */
static void run_update_hold(struct vm *vm)
{
	bool hold = run_must_stop(vm);

	atomic_store(&vm->run->hold, hold);
	if (hold) {
		for (unsigned i = 0; i < vm->xm.cpu_count; i++)
			x86_pend(vm->xm.cpus[i], X86_PEND_KICK);
	}
	pthread_cond_broadcast(&vm->run->go);
	pthread_cond_broadcast(&vm->run->changed);
}

/* With the lock held; also true while no thread has started. */
static void run_wait_parked(struct vm *vm)
{
	struct vm_run *run = vm->run;

	while (run->parked < run->live)
		pthread_cond_wait(&run->changed, &run->lock);
}

/* The debugger's single step, in the vCPU's own thread, among the parked. */
static void run_step(struct vcpu_thread *t)
{
	struct vm *vm = t->vm;
	struct err err = { "" };
	enum vcpu_exit exit;

	pthread_mutex_unlock(&vm->run->lock);
	/* What stopped it has been answered, and would end the step early. */
	atomic_fetch_and(&t->cpu->pending, ~X86_PEND_KICK);
	exit = vm->xm.engine_ops->step(t->cpu, &err);
	pthread_mutex_lock(&vm->run->lock);
	t->step = false;
	t->step_exit = exit;
	pthread_cond_broadcast(&vm->run->changed);
}

/* Waits until the vCPU may run; false: the guest has ended. */
static bool run_park(struct vcpu_thread *t)
{
	struct vm *vm = t->vm;
	struct vm_run *run = vm->run;
	bool go_on;

	if (!atomic_load(&run->hold))
		return true;
	pthread_mutex_lock(&run->lock);
	run->parked++;
	pthread_cond_broadcast(&run->changed);
	while (vm->end == VM_END_NONE && run_must_stop(vm)) {
		if (t->step)
			run_step(t);
		else
			pthread_cond_wait(&run->go, &run->lock);
	}
	run->parked--;
	go_on = vm->end == VM_END_NONE;
	pthread_mutex_unlock(&run->lock);
	return go_on;
}

/* --- A vCPU's thread ------------------------------------------------------ */

static void run_fail(struct vm *vm, const struct err *err)
{
	pthread_mutex_lock(&vm->run->lock);
	if (vm->end == VM_END_NONE)
		vm->end_err = *err;
	pthread_mutex_unlock(&vm->run->lock);
	vm_end(vm, VM_END_ERROR, RUN_STATUS_ERROR);
}

/* Triple fault: a PC's chipset answers with a reset. */
static void run_shutdown(struct vm *vm)
{
	if (vm->config.no_reboot)
		vm_end(vm, VM_END_CRASH, RUN_STATUS_CRASH);
	else
		vm_request_reset(vm);
}

/* A breakpoint: all stop, the debugger is told and will resume. */
static void run_debug(struct vcpu_thread *t)
{
	struct vm *vm = t->vm;

	if (!vm->debug_stopped)
		return;
	pthread_mutex_lock(&vm->run->lock);
	vm->run->pause_depth++;
	run_update_hold(vm);
	pthread_mutex_unlock(&vm->run->lock);
	vm->debug_stopped(vm->debug_opaque, t->cpu);
}

static void run_vcpu(struct vcpu_thread *t)
{
	const struct engine_ops *engine = t->vm->xm.engine_ops;
	struct x86_cpu *cpu = t->cpu;
	struct err err = { "" };
	enum vcpu_exit exit;

	while (run_park(t)) {
		if (cpu->activity != X86_ACTIVE && !engine->halts_inside)
			run_sleep(cpu);
		exit = engine->run(cpu, &err);
		t->exits[exit]++;
		switch (exit) {
		case VCPU_EXIT_KICKED:
			break;
		case VCPU_EXIT_HALT:
			run_sleep(cpu);
			break;
		case VCPU_EXIT_SHUTDOWN:
			run_shutdown(t->vm);
			break;
		case VCPU_EXIT_DEBUG:
			run_debug(t);
			break;
		case VCPU_EXIT_ERROR:
			run_fail(t->vm, &err);
			break;
		}
	}
}

static void *run_thread(void *opaque)
{
	struct vcpu_thread *t = opaque;
	struct vm *vm = t->vm;
	char name[16];

	snprintf(name, sizeof(name), "vcpu %u", t->cpu->index);
	pthread_setname_np(pthread_self(), name);
	if (vm->trace)
		trace_thread(vm->trace, t->cpu);
	run_vcpu(t);
	pthread_mutex_lock(&vm->run->lock);
	vm->run->live--;
	pthread_cond_broadcast(&vm->run->changed);
	pthread_mutex_unlock(&vm->run->lock);
	return NULL;
}

/* Signals are the main thread's affair, but faults of our own are not. */
static void run_block_signals(sigset_t *old)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGFPE);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, &set, old);
}

static int run_start_one(struct vcpu_thread *t, const pthread_attr_t *attr)
{
	struct vm_run *run = t->vm->run;
	int ret;

	pthread_mutex_lock(&run->lock);
	ret = pthread_create(&t->thread, attr, run_thread, t);
	t->started = ret == 0;
	run->live += t->started;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->lock);
	return ret;
}

static int run_start(struct vm *vm, struct err *err)
{
	pthread_attr_t attr;
	sigset_t old;
	int ret = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, RUN_STACK_BYTES);
	run_block_signals(&old);
	for (unsigned i = 0; i < vm->xm.cpu_count && ret == 0; i++)
		ret = run_start_one(&vm->threads[i], &attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret)
		return err_set(err, ret, "cannot start a vCPU's thread: %s",
			       strerror(ret));
	return 0;
}

static void run_join(struct vm *vm)
{
	for (unsigned i = 0; i < vm->xm.cpu_count; i++) {
		if (vm->threads[i].started)
			pthread_join(vm->threads[i].thread, NULL);
		vm->threads[i].started = false;
	}
}

/* --- The guest's end -------------------------------------------------------
 */

void vm_end(struct vm *vm, enum vm_end end, int status)
{
	pthread_mutex_lock(&vm->run->lock);
	if (vm->end == VM_END_NONE) {
		vm->end = end;
		vm->end_status = status;
		run_update_hold(vm);
	}
	pthread_mutex_unlock(&vm->run->lock);
	loop_stop(vm->env.loop);
}

static void run_on_timeout(void *opaque)
{
	vm_end(opaque, VM_END_TIMEOUT, RUN_STATUS_TIMEOUT);
}

/* --- Reset ------------------------------------------------------------------
 */

static void run_reset_machine(struct vm *vm)
{
	struct err err = { "" };

	pc_reset(vm);
	for (unsigned i = 0; i < vm->xm.cpu_count; i++) {
		x86_reset(vm->xm.cpus[i], false);
		vm->xm.engine_ops->flush(vm->xm.cpus[i]);
	}
	if (guest_load(&vm->run->guest, vm, &err) < 0)
		run_fail(vm, &err);
}

/* In the I/O loop's thread. */
static void run_reset(void *opaque)
{
	struct vm *vm = opaque;
	struct vm_run *run = vm->run;
	bool ended;

	pthread_mutex_lock(&run->lock);
	run_wait_parked(vm);
	ended = vm->end != VM_END_NONE;
	pthread_mutex_unlock(&run->lock);
	/* While reset_wanted is set, run_park() lets a vCPU only end. */
	if (!ended)
		run_reset_machine(vm);
	pthread_mutex_lock(&run->lock);
	run->reset_wanted = false;
	run_update_hold(vm);
	pthread_mutex_unlock(&run->lock);
}

void vm_request_reset(struct vm *vm)
{
	struct vm_run *run = vm->run;
	struct err err;
	bool first;

	if (vm->config.no_reboot) {
		vm_end(vm, VM_END_RESET, 0);
		return;
	}
	pthread_mutex_lock(&run->lock);
	first = !run->reset_wanted;
	run->reset_wanted = true;
	run_update_hold(vm);
	pthread_mutex_unlock(&run->lock);
	if (first && loop_call(vm->env.loop, run_reset, vm) < 0) {
		err_set(&err, ENOMEM, "out of memory for a reset");
		run_fail(vm, &err);
	}
}

void run_request_reset(void *opaque)
{
	vm_request_reset(opaque);
}

/* --- Pause ------------------------------------------------------------------
 */

/* Guest time, the TSC with it, stands still while the guest is paused. */
static void run_stop_time(struct vm *vm)
{
	vclock_pause(vm->env.clock);
	vm->xm.tsc_stopped = clock_tsc();
}

static void run_start_time(struct vm *vm)
{
	struct x86_machine *xm = &vm->xm;
	uint64_t paused = x86_scale_tsc(xm, clock_tsc()) -
			  x86_scale_tsc(xm, xm->tsc_stopped);

	vclock_resume(vm->env.clock);
	xm->tsc_stopped = 0;
	for (unsigned i = 0; i < xm->cpu_count; i++) {
		xm->cpus[i]->tsc_offset -= paused;
		x86_kvmclock_refresh(xm->cpus[i]);
		lapic_tsc_moved(xm->cpus[i]->lapic);
	}
	loop_clock_moved(vm->env.loop);
}

void vm_pause(struct vm *vm)
{
	struct vm_run *run = vm->run;

	pthread_mutex_lock(&run->lock);
	run->pause_depth++;
	run_update_hold(vm);
	run_wait_parked(vm);
	if (!vm->xm.tsc_stopped)
		run_stop_time(vm);
	pthread_mutex_unlock(&run->lock);
}

void vm_resume(struct vm *vm)
{
	struct vm_run *run = vm->run;

	pthread_mutex_lock(&run->lock);
	if (run->pause_depth == 1 && vm->xm.tsc_stopped)
		run_start_time(vm);
	if (run->pause_depth)
		run->pause_depth--;
	run_update_hold(vm);
	pthread_mutex_unlock(&run->lock);
}

enum vcpu_exit vm_step(struct vm *vm, unsigned cpu)
{
	struct vcpu_thread *t = &vm->threads[cpu];
	struct vm_run *run = vm->run;
	enum vcpu_exit exit = VCPU_EXIT_KICKED;

	pthread_mutex_lock(&run->lock);
	/* A debugger may be quicker than vm_run(). */
	while (!t->started && vm->end == VM_END_NONE)
		pthread_cond_wait(&run->changed, &run->lock);
	if (run->pause_depth && vm->end == VM_END_NONE) {
		t->step = true;
		pthread_cond_broadcast(&run->go);
		while (t->step && vm->end == VM_END_NONE)
			pthread_cond_wait(&run->changed, &run->lock);
		exit = t->step_exit;
	}
	pthread_mutex_unlock(&run->lock);
	return exit;
}

/* --- Life -------------------------------------------------------------------
 */

static void run_arm_timeout(struct vm *vm)
{
	uint64_t ns = vm->config.timeout * 1e9;

	timer_init(&vm->run->timeout, vm->env.loop, run_on_timeout, vm);
	if (ns)
		timer_arm(&vm->run->timeout, vclock_now(vm->env.clock) + ns);
}

/* A trace that is not whole must not look like one, however the guest ended. */
static void run_close_trace(struct vm *vm)
{
	pthread_mutex_lock(&vm->run->lock);
	if (vm->trace && trace_close(vm->trace, &vm->end_err) < 0) {
		vm->end = VM_END_ERROR;
		vm->end_status = RUN_STATUS_ERROR;
	}
	vm->trace = NULL;
	pthread_mutex_unlock(&vm->run->lock);
}

enum vm_end vm_run(struct vm *vm, int *status, struct err *err)
{
	int ret;

	vm->start_mono_ns = clock_mono_ns();
	run_arm_timeout(vm);
	ret = run_start(vm, &vm->end_err);
	if (ret == 0) {
		ret = loop_run(vm->env.loop);
		if (ret < 0)
			err_set(&vm->end_err, -ret, "the event loop failed: %s",
				strerror(-ret));
	}
	if (ret < 0)
		vm_end(vm, VM_END_ERROR, RUN_STATUS_ERROR);
	run_join(vm);
	run_close_trace(vm);
	timer_disarm(&vm->run->timeout);
	pc_flush_console(vm);
	vm->run->end_mono_ns = clock_mono_ns();
	*status = vm->end_status;
	if (vm->end == VM_END_ERROR && err)
		*err = vm->end_err;
	return vm->end;
}

int run_init(struct vm *vm, struct err *err)
{
	struct vm_run *run = calloc(1, sizeof(*run));

	vm->run = run;
	vm->threads = calloc(vm->xm.cpu_count, sizeof(*vm->threads));
	if (!run || !vm->threads)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_init(&run->lock, NULL);
	pthread_cond_init(&run->changed, NULL);
	pthread_cond_init(&run->go, NULL);
	return 0;
}

void run_free(struct vm *vm)
{
	if (vm->run) {
		guest_close(&vm->run->guest);
		pthread_mutex_destroy(&vm->run->lock);
		pthread_cond_destroy(&vm->run->changed);
		pthread_cond_destroy(&vm->run->go);
	}
	free(vm->run);
	free(vm->threads);
	vm->run = NULL;
	vm->threads = NULL;
}
