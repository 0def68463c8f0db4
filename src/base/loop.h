/*
 * loop.h - the event loop of a guest's process: descriptors and timers.
 *
 * One loop, run by one thread (the I/O thread).  Callbacks run in that thread
 * and must not block.  Arming, disarming, adding and waking: any thread.
 * Timers count in guest time (clock.h) and are one-shot.
 */
#ifndef HOSTEL_BASE_LOOP_H
#define HOSTEL_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;

struct loop *loop_new(struct vclock *vc, struct err *err);
void loop_free(struct loop *loop);

/* Runs until loop_stop(); returns 0, or -errno if the kernel refuses. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * events: EPOLLIN, EPOLLOUT, ...; the caller keeps owning fd, and closes it
 * only after loop_del_fd().  A regular file cannot be polled: -EPERM.  After
 * loop_del_fd() returns, the callback is not running and will not run, unless
 * called from the loop's thread itself; so, as with timer_disarm(), not with
 * a lock held that the callback takes.
 */
typedef void loop_fd_fn(void *opaque, int fd, uint32_t events);
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
		void *opaque);
int loop_mod_fd(struct loop *loop, int fd, uint32_t events);
void loop_del_fd(struct loop *loop, int fd);

/*
 * A timer, embedded in its owner and owned by it.  Arming an armed timer
 * moves it.  After timer_disarm() returns, the callback is not running and
 * will not run, unless disarmed from the callback itself.  Guarantee: the
 * callback never runs before vclock_now() >= deadline, nor begins while guest
 * time is paused.  Arming to a later time costs no system call.
 */
struct timer {
	struct loop *loop;
	void (*fn)(void *opaque);
	void *opaque;
	uint64_t deadline; /* guest ns; guarded by the loop's lock */
	unsigned heap_pos; /* 0: not armed; guarded by the loop's lock */
};

void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *opaque),
		void *opaque);
void timer_arm(struct timer *t, uint64_t deadline);
void timer_disarm(struct timer *t);
/*
 * Disarms without waiting: for callers that hold a lock which the callback
 * takes, where timer_disarm() would deadlock.  A callback that was already
 * due may still run once; it must look under its lock whether it is wanted.
 */
void timer_cancel(struct timer *t);
/* Guest time moved (pause, resume, restore): look at every deadline anew. */
void loop_clock_moved(struct loop *loop);

/* Runs fn(opaque) once in the loop's thread, soon. */
int loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque);

#endif
