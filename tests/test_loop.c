/* test_loop.c - base/loop.c: timers, descriptors, calls from other threads. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/loop.h"

#define MS 1000000ull

struct fixture {
	struct vclock *vc;
	struct loop *loop;
	struct timer end; /* ends the loop, so that no test hangs */
	pthread_t thread;
};

static void on_end(void *opaque)
{
	loop_stop(opaque);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->vc = vclock_new();
	f->loop = loop_new(f->vc, NULL);
	timer_init(&f->end, f->loop, on_end, f->loop);
	*state = f;
	return f->loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	vclock_free(f->vc);
	free(f);
	return 0;
}

static void run_for(struct fixture *f, uint64_t ns)
{
	timer_arm(&f->end, vclock_now(f->vc) + ns);
	assert_int_equal(loop_run(f->loop), 0);
}

static void *run_thread(void *opaque)
{
	struct fixture *f = opaque;

	loop_run(f->loop);
	return NULL;
}

static void start_thread(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, run_thread, f), 0);
}

static void stop_thread(struct fixture *f)
{
	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
}

/* --- Timers --------------------------------------------------------------- */

struct shot {
	struct timer t;
	struct fixture *f;
	uint64_t due, fired;
	int order, *counter;
};

static void on_shot(void *opaque)
{
	struct shot *s = opaque;

	s->fired = vclock_now(s->f->vc);
	s->order = ++*s->counter;
}

static void init_shot(struct shot *s, struct fixture *f, int *counter)
{
	*s = (struct shot){ .f = f, .counter = counter };
	timer_init(&s->t, f->loop, on_shot, s);
}

/* Seeded: deadlines in random order, some moved, some disarmed. */
static void timers_fire_in_order_and_not_early(void **state)
{
	enum { N = 200 };
	struct fixture *f = *state;
	struct shot *s = calloc(N, sizeof(*s));
	uint64_t now = vclock_now(f->vc);
	int counter = 0, fired = 0;

	srand(7);
	for (int i = 0; i < N; i++) {
		init_shot(&s[i], f, &counter);
		timer_arm(&s[i].t, now + (uint64_t)rand() % (20 * MS));
	}
	for (int i = 0; i < N; i += 3) {
		s[i].due = now + (uint64_t)rand() % (20 * MS);
		timer_arm(&s[i].t, s[i].due);
	}
	for (int i = 0; i < N; i += 5)
		timer_disarm(&s[i].t);
	run_for(f, 30 * MS);
	for (int i = 0; i < N; i++) {
		if (i % 5 == 0) {
			assert_int_equal(s[i].order, 0);
			continue;
		}
		fired++;
		assert_true(s[i].order > 0);
		assert_true(s[i].fired >= s[i].t.deadline);
		for (int j = 0; j < N; j++)
			if (s[j].order && s[j].t.deadline < s[i].t.deadline)
				assert_true(s[j].order < s[i].order);
	}
	assert_int_equal(counter, fired);
	free(s);
}

static void moved_nearer_fires_nearer(void **state)
{
	struct fixture *f = *state;
	struct shot s;
	int counter = 0;
	uint64_t now = vclock_now(f->vc);

	init_shot(&s, f, &counter);
	timer_arm(&s.t, now + 3600000 * MS);
	timer_arm(&s.t, now + 1 * MS);
	run_for(f, 20 * MS);
	assert_int_equal(counter, 1);
}

static void past_deadline_fires_at_once(void **state)
{
	struct fixture *f = *state;
	struct shot s;
	int counter = 0;

	init_shot(&s, f, &counter);
	timer_arm(&s.t, 0);
	run_for(f, 10 * MS);
	assert_int_equal(counter, 1);
}

struct again {
	struct timer t;
	int left;
};

static void on_again(void *opaque)
{
	struct again *a = opaque;

	if (a->left-- > 0)
		timer_arm(&a->t, 0); /* hostile: always due */
	else
		timer_disarm(&a->t); /* of itself: must not wait */
}

static void on_readable_stop(void *opaque, int fd, uint32_t events)
{
	struct fixture *f = opaque;

	loop_stop(f->loop);
}

static void endless_timer_leaves_room_for_descriptors(void **state)
{
	struct fixture *f = *state;
	struct again a = { .left = 1 << 30 };
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	timer_init(&a.t, f->loop, on_again, &a);
	timer_arm(&a.t, 0);
	assert_int_equal(
		loop_add_fd(f->loop, p[0], EPOLLIN, on_readable_stop, f), 0);
	assert_int_equal(loop_run(f->loop), 0);
	timer_disarm(&a.t);
	loop_del_fd(f->loop, p[0]);
	close(p[0]);
	close(p[1]);
}

static void timer_may_rearm_and_disarm_itself(void **state)
{
	struct fixture *f = *state;
	struct again a = { .left = 1000 };

	timer_init(&a.t, f->loop, on_again, &a);
	timer_arm(&a.t, 0);
	run_for(f, 50 * MS);
	assert_int_equal(a.left, -1);
	assert_int_equal(a.t.heap_pos, 0);
}

static void nothing_fires_while_paused(void **state)
{
	struct fixture *f = *state;
	struct shot s;
	int counter = 0;
	uint64_t now = vclock_now(f->vc);

	init_shot(&s, f, &counter);
	vclock_pause(f->vc);
	timer_arm(&s.t, now); /* due already, but time stands still */
	start_thread(f);
	loop_clock_moved(f->loop);
	usleep(10000);
	stop_thread(f);
	assert_int_equal(counter, 0);
	vclock_resume(f->vc);
	loop_clock_moved(f->loop);
	run_for(f, 1 * MS);
	assert_int_equal(counter, 1);
	assert_true(s.fired >= s.t.deadline);
}

struct slow {
	struct timer t;
	atomic_int began, hold, done;
};

static void on_slow(void *opaque)
{
	struct slow *s = opaque;

	atomic_store(&s->began, 1);
	usleep(10000);
	while (atomic_load(&s->hold))
		usleep(100);
	timer_arm(&s->t, 0); /* and arms itself again at the end */
	atomic_store(&s->done, 1);
}

static void disarm_waits_for_a_running_callback(void **state)
{
	struct fixture *f = *state;
	struct slow s = { 0 };

	timer_init(&s.t, f->loop, on_slow, &s);
	start_thread(f);
	timer_arm(&s.t, 0);
	while (!atomic_load(&s.began))
		usleep(100);
	timer_disarm(&s.t);
	assert_int_equal(atomic_load(&s.done), 1);
	atomic_store(&s.began, 0);
	usleep(5000);
	assert_int_equal(atomic_load(&s.began), 0);
	stop_thread(f);
}

static void cancel_does_not_wait(void **state)
{
	struct fixture *f = *state;
	struct slow s = { .hold = 1 };

	timer_init(&s.t, f->loop, on_slow, &s);
	start_thread(f);
	timer_arm(&s.t, 0);
	while (!atomic_load(&s.began))
		usleep(100);
	timer_cancel(&s.t); /* waiting would never end */
	assert_int_equal(atomic_load(&s.done), 0);
	atomic_store(&s.hold, 0);
	timer_disarm(&s.t);
	stop_thread(f);
}

/* Two threads arm and disarm while the loop fires. */
struct storm {
	struct shot s[4];
	atomic_bool stop;
};

static void *storm_thread(void *opaque)
{
	struct storm *st = opaque;

	for (unsigned i = 0; !atomic_load(&st->stop); i++) {
		struct shot *s = &st->s[i % 4];

		if (i % 7 == 0)
			timer_disarm(&s->t);
		else
			timer_arm(&s->t, vclock_now(s->f->vc) + i % 50000);
	}
	return NULL;
}

static void arming_from_many_threads(void **state)
{
	struct fixture *f = *state;
	struct storm st = { 0 };
	pthread_t a, b;
	int counter = 0;

	for (int i = 0; i < 4; i++)
		init_shot(&st.s[i], f, &counter);
	pthread_create(&a, NULL, storm_thread, &st);
	pthread_create(&b, NULL, storm_thread, &st);
	run_for(f, 50 * MS);
	atomic_store(&st.stop, true);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	for (int i = 0; i < 4; i++)
		timer_disarm(&st.s[i].t);
	assert_true(counter > 0);
}

/* --- Descriptors and calls ------------------------------------------------ */

struct reader {
	struct fixture *f;
	char got[8];
	int count;
};

static void on_read(void *opaque, int fd, uint32_t events)
{
	struct reader *r = opaque;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(fd, &r->got[r->count++], 1), 1);
	if (r->count == 3)
		loop_stop(r->f->loop);
}

static void descriptor_is_told_while_readable(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .f = f };
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(loop_add_fd(f->loop, p[0], EPOLLIN, on_read, &r), 0);
	assert_int_equal(loop_add_fd(f->loop, p[0], EPOLLIN, on_read, &r),
			 -EEXIST);
	assert_int_equal(write(p[1], "abc", 3), 3);
	assert_int_equal(loop_run(f->loop), 0);
	assert_string_equal(r.got, "abc");
	loop_del_fd(f->loop, p[0]);
	assert_int_equal(loop_mod_fd(f->loop, p[0], EPOLLIN), -ENOENT);
	assert_int_equal(write(p[1], "d", 1), 1);
	run_for(f, 2 * MS);
	assert_int_equal(r.count, 3);
	close(p[0]);
	close(p[1]);
}

static void mod_stops_and_starts_events(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .f = f };
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "abc", 3), 3);
	assert_int_equal(loop_add_fd(f->loop, p[0], EPOLLIN, on_read, &r), 0);
	assert_int_equal(loop_mod_fd(f->loop, p[0], 0), 0);
	run_for(f, 2 * MS);
	assert_int_equal(r.count, 0);
	assert_int_equal(loop_mod_fd(f->loop, p[0], EPOLLIN), 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(r.count, 3);
	loop_del_fd(f->loop, p[0]);
	close(p[0]);
	close(p[1]);
}

static void bad_descriptors_are_refused(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/hostel-test-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(loop_add_fd(f->loop, -1, EPOLLIN, on_read, f), -EBADF);
	assert_int_equal(loop_add_fd(f->loop, fd, EPOLLIN, on_read, f), -EPERM);
	loop_del_fd(f->loop, 12345);
	close(fd);
	unlink(path);
}

/* The first of two ready descriptors deletes the other in the same batch. */
struct pair {
	struct fixture *f;
	int fd[2], calls;
};

static void on_pair(void *opaque, int fd, uint32_t events)
{
	struct pair *p = opaque;

	p->calls++;
	loop_del_fd(p->f->loop, p->fd[0]);
	loop_del_fd(p->f->loop, p->fd[1]);
}

static void deleted_descriptor_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct pair p = { .f = f };
	int a[2], b[2];

	assert_int_equal(pipe(a), 0);
	assert_int_equal(pipe(b), 0);
	p.fd[0] = a[0];
	p.fd[1] = b[0];
	assert_int_equal(write(a[1], "x", 1), 1);
	assert_int_equal(write(b[1], "x", 1), 1);
	loop_add_fd(f->loop, a[0], EPOLLIN, on_pair, &p);
	loop_add_fd(f->loop, b[0], EPOLLIN, on_pair, &p);
	run_for(f, 5 * MS);
	assert_int_equal(p.calls, 1);
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
}

struct call {
	struct fixture *f;
	int n;
	pthread_t in;
};

static void on_call(void *opaque)
{
	struct call *c = opaque;

	c->in = pthread_self();
	if (++c->n == 3)
		loop_stop(c->f->loop);
}

static void call_runs_in_the_loop_thread(void **state)
{
	struct fixture *f = *state;
	struct call c = { .f = f };

	start_thread(f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_call(f->loop, on_call, &c), 0);
	pthread_join(f->thread, NULL);
	assert_int_equal(c.n, 3);
	assert_true(pthread_equal(c.in, f->thread));
}

static void stop_before_run_counts(void **state)
{
	struct fixture *f = *state;

	loop_stop(f->loop);
	assert_int_equal(loop_run(f->loop), 0);
}

/* A loop with nothing to do sleeps. */
static void idle_loop_uses_no_cpu(void **state)
{
	struct fixture *f = *state;
	struct rusage a, b;
	struct shot s;
	int counter = 0;

	init_shot(&s, f, &counter);
	timer_arm(&s.t, vclock_now(f->vc) + 1 * MS);
	timer_disarm(&s.t); /* leaves one idle expiry behind */
	getrusage(RUSAGE_THREAD, &a);
	run_for(f, 100 * MS);
	getrusage(RUSAGE_THREAD, &b);
	assert_true(b.ru_nvcsw - a.ru_nvcsw < 10);
}

#define LOOP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(timers_fire_in_order_and_not_early),
		LOOP_TEST(moved_nearer_fires_nearer),
		LOOP_TEST(past_deadline_fires_at_once),
		LOOP_TEST(endless_timer_leaves_room_for_descriptors),
		LOOP_TEST(timer_may_rearm_and_disarm_itself),
		LOOP_TEST(nothing_fires_while_paused),
		LOOP_TEST(disarm_waits_for_a_running_callback),
		LOOP_TEST(cancel_does_not_wait),
		LOOP_TEST(arming_from_many_threads),
		LOOP_TEST(descriptor_is_told_while_readable),
		LOOP_TEST(mod_stops_and_starts_events),
		LOOP_TEST(bad_descriptors_are_refused),
		LOOP_TEST(deleted_descriptor_is_not_called),
		LOOP_TEST(call_runs_in_the_loop_thread),
		LOOP_TEST(stop_before_run_counts),
		LOOP_TEST(idle_loop_uses_no_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
