/* devtest.c - a bench for one device: see devtest.h. */
#include "devtest.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define DT_TIMERS 64
#define DT_FDS    8
#define DT_CALLS  64

struct vclock {
	uint64_t now;
	uint64_t real;
};

struct loop {
	struct vclock *vc;
	struct timer *timers[DT_TIMERS];
	unsigned timer_count, timer_runs;
	struct {
		int fd;
		uint32_t events;
		loop_fd_fn *fn;
		void *opaque;
	} fds[DT_FDS];
	unsigned fd_count;
	struct {
		void (*fn)(void *opaque);
		void *opaque;
	} calls[DT_CALLS];
	unsigned call_count;
};

/* The one clock that clock_real_ns() and clock_tsc_khz() follow. */
static struct vclock *dt_clock;

/* --- clock.h -------------------------------------------------------------- */

uint64_t clock_mono_ns(void)
{
	return dt_clock->now + 1000;
}

uint64_t clock_real_ns(void)
{
	return dt_clock->real + dt_clock->now;
}

void clock_tsc_start(void)
{
}

uint32_t clock_tsc_khz(void)
{
	return 1000000;
}

struct vclock *vclock_new(void)
{
	return calloc(1, sizeof(struct vclock));
}

void vclock_free(struct vclock *vc)
{
	free(vc);
}

uint64_t vclock_now(const struct vclock *vc)
{
	return vc->now;
}

bool vclock_paused(const struct vclock *vc)
{
	return false;
}

void vclock_pause(struct vclock *vc)
{
}

void vclock_resume(struct vclock *vc)
{
}

void vclock_set(struct vclock *vc, uint64_t now)
{
	vc->now = now;
}

uint64_t vclock_to_mono(const struct vclock *vc, uint64_t t)
{
	return t + 1000;
}

/* --- loop.h --------------------------------------------------------------- */

struct loop *loop_new(struct vclock *vc, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	loop->vc = vc;
	return loop;
}

void loop_free(struct loop *loop)
{
	free(loop);
}

int loop_run(struct loop *loop)
{
	return -ENOSYS;
}

void loop_stop(struct loop *loop)
{
}

void loop_clock_moved(struct loop *loop)
{
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
		void *opaque)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return -EPERM;
	for (unsigned i = 0; i < loop->fd_count; i++)
		if (loop->fds[i].fd == fd)
			return -EEXIST;
	assert_true(loop->fd_count < DT_FDS);
	loop->fds[loop->fd_count].fd = fd;
	loop->fds[loop->fd_count].events = events;
	loop->fds[loop->fd_count].fn = fn;
	loop->fds[loop->fd_count++].opaque = opaque;
	return 0;
}

int loop_mod_fd(struct loop *loop, int fd, uint32_t events)
{
	for (unsigned i = 0; i < loop->fd_count; i++)
		if (loop->fds[i].fd == fd)
			loop->fds[i].events = events;
	return 0;
}

void loop_del_fd(struct loop *loop, int fd)
{
	for (unsigned i = 0; i < loop->fd_count; i++) {
		if (loop->fds[i].fd == fd) {
			loop->fds[i] = loop->fds[--loop->fd_count];
			return;
		}
	}
}

int loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
	assert_true(loop->call_count < DT_CALLS);
	loop->calls[loop->call_count].fn = fn;
	loop->calls[loop->call_count++].opaque = opaque;
	return 0;
}

void timer_init(struct timer *t, struct loop *loop, void (*fn)(void *opaque),
		void *opaque)
{
	*t = (struct timer){ .loop = loop, .fn = fn, .opaque = opaque };
}

void timer_arm(struct timer *t, uint64_t deadline)
{
	struct loop *loop = t->loop;

	t->deadline = deadline;
	if (t->heap_pos)
		return;
	assert_true(loop->timer_count < DT_TIMERS);
	loop->timers[loop->timer_count++] = t;
	t->heap_pos = 1;
}

void timer_disarm(struct timer *t)
{
	struct loop *loop = t->loop;

	for (unsigned i = 0; i < loop->timer_count; i++) {
		if (loop->timers[i] == t) {
			loop->timers[i] = loop->timers[--loop->timer_count];
			t->heap_pos = 0;
			return;
		}
	}
}

void timer_cancel(struct timer *t)
{
	timer_disarm(t);
}

/* --- The bench ------------------------------------------------------------ */

void dt_init(struct dt *dt)
{
	struct err err;

	dt_clock = vclock_new();
	dt_clock->now = 1 * DT_S;
	dt->env.clock = dt_clock;
	dt->env.loop = loop_new(dt_clock, &err);
	if (mem_new(&dt->env.mem, 4 << 20, &err))
		fail_msg("%s", err.msg);
}

void dt_exit(struct dt *dt)
{
	assert_int_equal(dt->env.loop->timer_count, 0);
	assert_int_equal(dt->env.loop->fd_count, 0);
	mem_free(dt->env.mem);
	loop_free(dt->env.loop);
	vclock_free(dt->env.clock);
}

static struct timer *dt_due(struct loop *loop, uint64_t until)
{
	struct timer *best = NULL;

	for (unsigned i = 0; i < loop->timer_count; i++) {
		struct timer *t = loop->timers[i];

		if (t->deadline <= until &&
		    (!best || t->deadline < best->deadline))
			best = t;
	}
	return best;
}

static void dt_run_timers(struct dt *dt, uint64_t until, bool step)
{
	struct loop *loop = dt->env.loop;
	struct timer *t;

	for (unsigned i = 0; (t = dt_due(loop, until)); i++) {
		assert_true(i < 10000000);
		timer_disarm(t);
		if (step && t->deadline > dt_clock->now)
			dt_clock->now = t->deadline;
		loop->timer_runs++;
		t->fn(t->opaque);
	}
}

void dt_advance(struct dt *dt, uint64_t ns)
{
	uint64_t until = dt_clock->now + ns;

	dt_run_timers(dt, until, true);
	dt_clock->now = until;
}

void dt_jump(struct dt *dt, uint64_t ns)
{
	dt_clock->now += ns;
	dt_run_timers(dt, dt_clock->now, false);
}

unsigned dt_timer_runs(struct dt *dt)
{
	return dt->env.loop->timer_runs;
}

void dt_set_real(struct dt *dt, uint64_t ns)
{
	dt_clock->real = ns;
}

static bool dt_run_calls(struct loop *loop)
{
	unsigned n = loop->call_count;

	for (unsigned i = 0; i < n; i++)
		loop->calls[i].fn(loop->calls[i].opaque);
	memmove(loop->calls, loop->calls + n,
		(loop->call_count - n) * sizeof(loop->calls[0]));
	loop->call_count -= n;
	return n > 0;
}

static bool dt_run_fds(struct loop *loop)
{
	for (unsigned i = 0; i < loop->fd_count; i++) {
		struct pollfd p = { .fd = loop->fds[i].fd,
				    .events = (short)loop->fds[i].events };

		if (poll(&p, 1, 0) == 1) {
			loop->fds[i].fn(loop->fds[i].opaque, p.fd,
					(uint32_t)p.revents);
			return true;
		}
	}
	return false;
}

void dt_loop(struct dt *dt)
{
	for (unsigned i = 0; i < 1000; i++) {
		bool calls = dt_run_calls(dt->env.loop);

		if (!dt_run_fds(dt->env.loop) && !calls)
			return;
	}
	fail_msg("the loop spins");
}

static void dt_line_set(void *opaque, unsigned n, bool level)
{
	struct dt_line *line = opaque;

	if (level && !line->level)
		line->rises++;
	line->level = level;
}

struct irq dt_irq(struct dt_line *line)
{
	return (struct irq){ .set = dt_line_set, .opaque = line };
}

static void dt_hook_called(void *opaque, uint32_t value)
{
	struct dt_hook *hook = opaque;

	hook->calls++;
	hook->value = value;
}

struct dev_hook dt_dev_hook(struct dt_hook *hook)
{
	return (struct dev_hook){ .fn = dt_hook_called, .opaque = hook };
}

void dt_copy_state(struct dev *from, struct dev *to)
{
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	struct walk *w = walk_save_to(f);
	struct err err;

	from->walk(from, w);
	assert_int_equal(walk_result(w, &err), 0);
	walk_free(w);
	fclose(f);
	w = walk_restore_from(buf, len);
	to->walk(to, w);
	if (walk_result(w, &err))
		fail_msg("%s", err.msg);
	walk_free(w);
	w = walk_diff_with(buf, len, stderr);
	to->walk(to, w);
	assert_int_equal(walk_diff_count(w), 0);
	walk_free(w);
	free(buf);
}

uint64_t dt_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
