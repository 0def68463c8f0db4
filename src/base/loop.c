/*
 * loop.c - the event loop.
 *
 * Theory of operation
 *
 * One epoll set holds every descriptor, an eventfd that other threads ring
 * (loop_stop, loop_call), and one timerfd for the earliest deadline.
 *
 * Timers lie in a binary heap by deadline, under `lock`.  The timerfd is set
 * only when the earliest deadline moves *forward in time*, that is, nearer:
 * `timerfd_at` is where it stands.  A deadline that moves away leaves it
 * alone; it then goes off for nothing once, and is set anew.  So re-arming,
 * which devices do all the time, mostly costs an uncontended mutex.
 *
 * Callbacks run with `lock` released.  `running` names what runs, so that
 * disarming and deleting from another thread can wait for its end on `idle`.
 * The loop lets these waiters through before it begins the next callback:
 * else a timer that arms itself anew could keep them waiting for ever.
 *
 * Descriptors are found by number in a table.  An event carries the number
 * and the generation of its registration: an event that was fetched before
 * its descriptor was deleted (and perhaps reused) finds another generation
 * and is dropped.
 */
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * #syscalls: epoll_create1 epoll_ctl epoll_wait epoll_pwait
 * #syscalls: eventfd2 timerfd_create timerfd_settime
 */

#define LOOP_EVENTS      16
#define LOOP_TIMER_BATCH 64 /* then descriptors get their turn */
#define LOOP_NEVER       UINT64_MAX

struct loop_fd {
	loop_fd_fn *fn; /* NULL: free */
	void *opaque;
	uint32_t gen;
};

struct loop_work {
	struct loop_work *next;
	void (*fn)(void *opaque);
	void *opaque;
};

struct loop {
	struct vclock *vc;
	int epoll, event, timer;
	atomic_bool stop;
	pthread_mutex_t lock; /* innermost; held over no callback */
	pthread_cond_t idle;  /* `running` ended, or `waiters` became 0 */
	/* guarded by lock: */
	const void *running; /* the timer or table slot whose callback runs */
	pthread_t thread;    /* valid while `running` */
	unsigned waiters;    /* threads in loop_wait_idle() */
	struct timer **heap; /* [1..heap_len] */
	unsigned heap_len, heap_cap;
	uint64_t timerfd_at; /* CLOCK_MONOTONIC, or LOOP_NEVER */
	struct loop_fd **fds;
	unsigned fd_cap;
	struct loop_work *work, **work_tail;
};

/* --- Life ----------------------------------------------------------------- */

static int loop_watch(struct loop *loop, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint32_t)fd };

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int loop_open(struct loop *loop)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epoll < 0 || loop->event < 0 || loop->timer < 0)
		return -errno;
	if (loop_watch(loop, loop->event) || loop_watch(loop, loop->timer))
		return -errno;
	return 0;
}

struct loop *loop_new(struct vclock *vc, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (!loop) {
		err_set(err, ENOMEM, "no memory for the event loop");
		return NULL;
	}
	loop->vc = vc;
	loop->timerfd_at = LOOP_NEVER;
	loop->work_tail = &loop->work;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->idle, NULL);
	rc = loop_open(loop);
	if (rc) {
		err_set(err, -rc, "cannot create the event loop: %s",
			strerror(-rc));
		loop_free(loop);
		return NULL;
	}
	return loop;
}

static void loop_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void loop_free(struct loop *loop)
{
	struct loop_work *next;

	if (!loop)
		return;
	for (; loop->work; loop->work = next) {
		next = loop->work->next;
		free(loop->work);
	}
	for (unsigned i = 0; i < loop->fd_cap; i++)
		free(loop->fds[i]);
	loop_close(loop->timer);
	loop_close(loop->event);
	loop_close(loop->epoll);
	pthread_cond_destroy(&loop->idle);
	pthread_mutex_destroy(&loop->lock);
	free(loop->fds);
	free(loop->heap);
	free(loop);
}

/* Rings the eventfd.  A counter that is full has rung already. */
static void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	while (write(loop->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	loop_wake(loop);
}

/* --- Running callbacks ---------------------------------------------------- */

/* Called locked; returns locked. */
static void loop_begin(struct loop *loop, const void *what)
{
	loop->running = what;
	pthread_mutex_unlock(&loop->lock);
}

static void loop_finish(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = NULL;
	if (loop->waiters)
		pthread_cond_broadcast(&loop->idle);
	while (loop->waiters)
		pthread_cond_wait(&loop->idle, &loop->lock);
}

/* Waits while `what` runs in another thread.  True if it had to wait. */
static bool loop_wait_idle(struct loop *loop, const void *what)
{
	if (loop->running != what ||
	    pthread_equal(loop->thread, pthread_self()))
		return false;
	loop->waiters++;
	while (loop->running == what)
		pthread_cond_wait(&loop->idle, &loop->lock);
	if (!--loop->waiters)
		pthread_cond_broadcast(&loop->idle);
	return true;
}

/* --- Timers --------------------------------------------------------------- */

static void loop_heap_put(struct loop *loop, unsigned pos, struct timer *t)
{
	loop->heap[pos] = t;
	t->heap_pos = pos;
}

/* Moves t, which may stand wrong at `pos`, to where it belongs. */
static void loop_heap_fix(struct loop *loop, unsigned pos, struct timer *t)
{
	struct timer **h = loop->heap;

	for (; pos > 1 && h[pos / 2]->deadline > t->deadline; pos /= 2)
		loop_heap_put(loop, pos, h[pos / 2]);
	for (;;) {
		unsigned kid = pos * 2;

		if (kid > loop->heap_len)
			break;
		if (kid < loop->heap_len &&
		    h[kid + 1]->deadline < h[kid]->deadline)
			kid++;
		if (h[kid]->deadline >= t->deadline)
			break;
		loop_heap_put(loop, pos, h[kid]);
		pos = kid;
	}
	loop_heap_put(loop, pos, t);
}

static void loop_heap_add(struct loop *loop, struct timer *t)
{
	if (loop->heap_len + 1 >= loop->heap_cap) {
		loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : 64;
		loop->heap = reallocarray(loop->heap, loop->heap_cap,
					  sizeof(*loop->heap));
		if (!loop->heap)
			abort(); /* a guest cannot go on without its timers */
	}
	loop_heap_fix(loop, ++loop->heap_len, t);
}

static void loop_heap_remove(struct loop *loop, struct timer *t)
{
	unsigned pos = t->heap_pos;
	struct timer *last = loop->heap[loop->heap_len--];

	t->heap_pos = 0;
	if (last != t)
		loop_heap_fix(loop, pos, last);
}

static void loop_set_timerfd(struct loop *loop, uint64_t mono)
{
	struct itimerspec its = { 0 };

	if (mono != LOOP_NEVER) {
		its.it_value.tv_sec = (time_t)(mono / 1000000000);
		/* All zero would disarm; 1 ns is as long past. */
		its.it_value.tv_nsec = (long)(mono % 1000000000) + !mono;
	}
	loop->timerfd_at = mono;
	timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &its, NULL);
}

/* The earliest deadline may be nearer than the timerfd stands. */
static void loop_earliest_changed(struct loop *loop)
{
	uint64_t mono = LOOP_NEVER;

	if (loop->heap_len)
		mono = vclock_to_mono(loop->vc, loop->heap[1]->deadline);
	if (mono < loop->timerfd_at)
		loop_set_timerfd(loop, mono);
}

void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *opaque),
		void *opaque)
{
	*t = (struct timer){ .loop = loop, .fn = fn, .opaque = opaque };
}

void timer_arm(struct timer *t, uint64_t deadline)
{
	struct loop *loop = t->loop;

	pthread_mutex_lock(&loop->lock);
	t->deadline = deadline;
	if (t->heap_pos)
		loop_heap_fix(loop, t->heap_pos, t);
	else
		loop_heap_add(loop, t);
	if (t->heap_pos == 1)
		loop_earliest_changed(loop);
	pthread_mutex_unlock(&loop->lock);
}

void timer_cancel(struct timer *t)
{
	pthread_mutex_lock(&t->loop->lock);
	if (t->heap_pos)
		loop_heap_remove(t->loop, t);
	pthread_mutex_unlock(&t->loop->lock);
}

void timer_disarm(struct timer *t)
{
	struct loop *loop = t->loop;

	pthread_mutex_lock(&loop->lock);
	do /* the callback that we wait for may arm the timer again */
		if (t->heap_pos)
			loop_heap_remove(loop, t);
	while (loop_wait_idle(loop, t));
	pthread_mutex_unlock(&loop->lock);
}

void loop_clock_moved(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->timerfd_at = LOOP_NEVER;
	loop_earliest_changed(loop);
	if (loop->timerfd_at == LOOP_NEVER)
		loop_set_timerfd(loop, LOOP_NEVER);
	pthread_mutex_unlock(&loop->lock);
}

static bool loop_timer_due(struct loop *loop)
{
	return loop->heap_len && !vclock_paused(loop->vc) &&
	       loop->heap[1]->deadline <= vclock_now(loop->vc);
}

static void loop_run_timers(struct loop *loop)
{
	uint64_t count;

	if (read(loop->timer, &count, sizeof(count)) < 0)
		count = 0; /* moved meanwhile: nothing may be due */
	pthread_mutex_lock(&loop->lock);
	for (int i = 0; i < LOOP_TIMER_BATCH && loop_timer_due(loop); i++) {
		struct timer *t = loop->heap[1];
		void (*fn)(void *opaque) = t->fn;
		void *opaque = t->opaque;

		loop_heap_remove(loop, t);
		loop_begin(loop, t);
		fn(opaque);
		loop_finish(loop);
	}
	loop->timerfd_at = LOOP_NEVER;
	loop_earliest_changed(loop);
	pthread_mutex_unlock(&loop->lock);
}

/* --- Descriptors ---------------------------------------------------------- */

static int loop_grow_fds(struct loop *loop, int fd)
{
	unsigned cap = loop->fd_cap ? loop->fd_cap : 64;
	struct loop_fd **fds;

	if ((unsigned)fd < loop->fd_cap)
		return 0;
	while (cap <= (unsigned)fd)
		cap *= 2;
	fds = reallocarray(loop->fds, cap, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	memset(fds + loop->fd_cap, 0, (cap - loop->fd_cap) * sizeof(*fds));
	loop->fds = fds;
	loop->fd_cap = cap;
	return 0;
}

static struct loop_fd *loop_find_fd(struct loop *loop, int fd)
{
	struct loop_fd *e;

	if (fd < 0 || (unsigned)fd >= loop->fd_cap)
		return NULL;
	e = loop->fds[fd];
	return e && e->fn ? e : NULL;
}

static int loop_ctl(struct loop *loop, int op, int fd, uint32_t events,
		    uint32_t gen)
{
	struct epoll_event ev = { .events = events };

	ev.data.u64 = (uint64_t)gen << 32 | (uint32_t)fd;
	return epoll_ctl(loop->epoll, op, fd, &ev) ? -errno : 0;
}

static int loop_add_locked(struct loop *loop, int fd, uint32_t events,
			   loop_fd_fn *fn, void *opaque)
{
	struct loop_fd *e;
	int rc = loop_grow_fds(loop, fd);

	if (rc)
		return rc;
	if (!loop->fds[fd])
		loop->fds[fd] = calloc(1, sizeof(*e));
	e = loop->fds[fd];
	if (!e)
		return -ENOMEM;
	if (e->fn)
		return -EEXIST;
	rc = loop_ctl(loop, EPOLL_CTL_ADD, fd, events, e->gen + 1);
	if (rc)
		return rc;
	e->gen++;
	e->fn = fn;
	e->opaque = opaque;
	return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
		void *opaque)
{
	int rc;

	if (fd < 0)
		return -EBADF;
	pthread_mutex_lock(&loop->lock);
	rc = loop_add_locked(loop, fd, events, fn, opaque);
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

int loop_mod_fd(struct loop *loop, int fd, uint32_t events)
{
	struct loop_fd *e;
	int rc = -ENOENT;

	pthread_mutex_lock(&loop->lock);
	e = loop_find_fd(loop, fd);
	if (e)
		rc = loop_ctl(loop, EPOLL_CTL_MOD, fd, events, e->gen);
	pthread_mutex_unlock(&loop->lock);
	return rc;
}

void loop_del_fd(struct loop *loop, int fd)
{
	struct loop_fd *e;

	pthread_mutex_lock(&loop->lock);
	e = loop_find_fd(loop, fd);
	if (e) {
		loop_ctl(loop, EPOLL_CTL_DEL, fd, 0, 0);
		e->fn = NULL;
		while (loop_wait_idle(loop, e))
			;
	}
	pthread_mutex_unlock(&loop->lock);
}

static void loop_run_fd(struct loop *loop, const struct epoll_event *ev)
{
	int fd = (int)(uint32_t)ev->data.u64;
	struct loop_fd *e;

	pthread_mutex_lock(&loop->lock);
	e = loop_find_fd(loop, fd);
	if (e && e->gen == ev->data.u64 >> 32) {
		loop_fd_fn *fn = e->fn;
		void *opaque = e->opaque;

		loop_begin(loop, e);
		fn(opaque, fd, ev->events);
		loop_finish(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* --- Work from other threads ---------------------------------------------- */

int loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
	struct loop_work *work = malloc(sizeof(*work));

	if (!work)
		return -ENOMEM;
	*work = (struct loop_work){ .fn = fn, .opaque = opaque };
	pthread_mutex_lock(&loop->lock);
	*loop->work_tail = work;
	loop->work_tail = &work->next;
	pthread_mutex_unlock(&loop->lock);
	loop_wake(loop);
	return 0;
}

static struct loop_work *loop_take_work(struct loop *loop)
{
	struct loop_work *work;

	pthread_mutex_lock(&loop->lock);
	work = loop->work;
	loop->work = NULL;
	loop->work_tail = &loop->work;
	pthread_mutex_unlock(&loop->lock);
	return work;
}

static void loop_run_work(struct loop *loop)
{
	struct loop_work *work, *next;
	uint64_t count;

	if (read(loop->event, &count, sizeof(count)) < 0)
		count = 0; /* another ring is on its way */
	for (work = loop_take_work(loop); work; work = next) {
		next = work->next;
		work->fn(work->opaque);
		free(work);
	}
}

/* --- The loop ------------------------------------------------------------- */

static void loop_dispatch(struct loop *loop, const struct epoll_event *ev)
{
	uint64_t tag =
		ev->data.u64; /* descriptors of ours have no generation */

	if (tag == (uint32_t)loop->timer)
		loop_run_timers(loop);
	else if (tag == (uint32_t)loop->event)
		loop_run_work(loop);
	else
		loop_run_fd(loop, ev);
}

int loop_run(struct loop *loop)
{
	struct epoll_event ev[LOOP_EVENTS];
	int n, rc = 0;

	pthread_mutex_lock(&loop->lock);
	loop->thread = pthread_self();
	pthread_mutex_unlock(&loop->lock);
	while (!atomic_exchange(&loop->stop, false)) {
		n = epoll_wait(loop->epoll, ev, LOOP_EVENTS, -1);
		if (n < 0 && errno != EINTR) {
			rc = -errno;
			break;
		}
		for (int i = 0; i < n; i++)
			loop_dispatch(loop, &ev[i]);
	}
	return rc;
}
