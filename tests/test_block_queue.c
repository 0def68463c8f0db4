/* test_block_queue.c - block/queue.h: every way, many at once, drained. */
#include "blocktest.h"

#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "block/queue.h"
#include "rng.h"

#define SLOTS   64
#define SLOT    (64u << 10)
#define PATTERN 0x40

struct slot {
	struct block_request r; /* first: done() gets back to the slot */
	struct iovec iov;
	atomic_int result; /* 1: not done */
	uint8_t *buf;
};

static void slot_done(struct block_request *r, int result)
{
	struct slot *s = (struct slot *)r;

	atomic_store(&s->result, result);
}

static void slot_init(struct slot *s, enum block_op op, uint64_t offset,
		      unsigned length)
{
	s->buf = s->buf ? s->buf : aligned_alloc(4096, SLOT);
	s->iov = (struct iovec){ s->buf, length };
	s->r = (struct block_request){ .op = op,
				       .offset = offset,
				       .length = length,
				       .iov = &s->iov,
				       .iovcnt = 1,
				       .done = slot_done };
	atomic_store(&s->result, 1);
}

struct fix {
	struct block *b;
	struct block_queue *q;
	struct slot slot[SLOTS];
};

static void fix_open(struct fix *f, enum block_cache cache)
{
	struct block_open how = { .path = bt_path("d"),
				  .format = "raw",
				  .cache = cache };
	struct err err;

	memset(f, 0, sizeof(*f));
	bt_create("d", "raw", SLOTS * (uint64_t)SLOT);
	f->b = bt_open(&how);
	if (block_queue_new(&f->q, f->b, &err))
		fail_msg("%s", err.msg);
}

static void fix_close(struct fix *f)
{
	block_queue_free(f->q);
	block_close(f->b);
	for (unsigned i = 0; i < SLOTS; i++)
		free(f->slot[i].buf);
}

static void fix_run_all(struct fix *f)
{
	struct block_request *r[SLOTS];

	for (unsigned i = 0; i < SLOTS; i++)
		r[i] = &f->slot[i].r;
	block_submit_many(f->q, r, SLOTS);
	block_queue_drain(f->q);
	for (unsigned i = 0; i < SLOTS; i++)
		assert_int_equal(atomic_load(&f->slot[i].result), 0);
}

static void assert_counted(struct block_queue *q)
{
	struct block_queue_stats s;

	block_queue_stats(q, &s);
	assert_int_equal(s.ops[BLOCK_OP_READ], SLOTS);
	assert_int_equal(s.ops[BLOCK_OP_WRITE], SLOTS);
	assert_int_equal(s.read_bytes, SLOTS * SLOT);
	assert_int_equal(s.written_bytes, SLOTS * SLOT);
	assert_int_equal(s.at_once + s.ring + s.pool, 2 * SLOTS);
}

static void all_at_once(enum block_cache cache, unsigned flags)
{
	struct fix f;

	fix_open(&f, cache);
	for (unsigned i = 0; i < SLOTS; i++) {
		slot_init(&f.slot[i], BLOCK_OP_WRITE, i * (uint64_t)SLOT, SLOT);
		f.slot[i].r.flags = flags;
		memset(f.slot[i].buf, PATTERN + (int)i, SLOT);
	}
	fix_run_all(&f);
	for (unsigned i = 0; i < SLOTS; i++) {
		slot_init(&f.slot[i], BLOCK_OP_READ, i * (uint64_t)SLOT, SLOT);
		memset(f.slot[i].buf, 0, SLOT);
	}
	fix_run_all(&f);
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned n = 0; n < SLOT; n++)
			assert_int_equal(f.slot[i].buf[n],
					 (uint8_t)(PATTERN + i));
	assert_counted(f.q);
	fix_close(&f);
}

static void page_cache(void **state)
{
	all_at_once(BLOCK_CACHE_WRITEBACK, 0);
}

static void direct_io(void **state)
{
	all_at_once(BLOCK_CACHE_NONE, 0);
}

static void stable_writes(void **state)
{
	all_at_once(BLOCK_CACHE_WRITEBACK, BLOCK_FUA);
	bt_shell("rm %s", bt_path("d"));
	all_at_once(BLOCK_CACHE_WRITETHROUGH, 0);
}

static void misaligned_direct_io(void **state)
{
	struct fix f;

	fix_open(&f, BLOCK_CACHE_NONE);
	for (unsigned i = 0; i < SLOTS; i++) {
		slot_init(&f.slot[i], BLOCK_OP_WRITE, i * 512, 512);
		f.slot[i].iov.iov_base = f.slot[i].buf + 8;
		memset(f.slot[i].buf, PATTERN + (int)i, 1024);
	}
	fix_run_all(&f);
	for (unsigned i = 0; i < SLOTS; i++)
		bt_assert_bytes(f.b, i * 512, 512, (uint8_t)(PATTERN + i));
	fix_close(&f);
}

static void other_operations(void **state)
{
	struct fix f;

	fix_open(&f, BLOCK_CACHE_WRITEBACK);
	bt_fill(f.b, 0, 2 * SLOT, 1);
	for (unsigned i = 0; i < SLOTS; i++)
		slot_init(&f.slot[i], BLOCK_OP_FLUSH, 0, 0);
	slot_init(&f.slot[1], BLOCK_OP_ZERO, SLOT, SLOT);
	slot_init(&f.slot[2], BLOCK_OP_DISCARD, 4 * SLOT, SLOT);
	fix_run_all(&f);
	bt_assert_bytes(f.b, 0, SLOT, 1);
	bt_assert_bytes(f.b, SLOT, SLOT, 0);
	fix_close(&f);
}

/* A guest's end does not wait for a disk of one byte a second. */
static void a_drain_hurries_limited_requests(void **state)
{
	struct block_open how = { .format = "raw",
				  .throttle = { .bps = 1, .iops = 1 } };
	uint64_t start = clock_mono_ns();
	struct err err;
	struct fix f;

	memset(&f, 0, sizeof(f));
	bt_create("d", "raw", SLOTS * (uint64_t)SLOT);
	how.path = bt_path("d");
	f.b = bt_open(&how);
	assert_int_equal(block_queue_new(&f.q, f.b, &err), 0);
	for (unsigned i = 0; i < SLOTS; i++)
		slot_init(&f.slot[i], BLOCK_OP_WRITE, i * (uint64_t)SLOT, SLOT);
	fix_run_all(&f);
	assert_true(clock_mono_ns() - start < 20000000000);
	fix_close(&f);
}

static void a_bad_range_is_refused(void **state)
{
	struct fix f;

	fix_open(&f, BLOCK_CACHE_WRITEBACK);
	slot_init(&f.slot[0], BLOCK_OP_WRITE, SLOTS * (uint64_t)SLOT - 1, 2);
	block_submit(f.q, &f.slot[0].r);
	block_queue_drain(f.q);
	assert_int_equal(f.slot[0].result, -EINVAL);
	fix_close(&f);
}

/* Each thread has slots of its own, and a place of its own on the disk. */
struct worker {
	struct fix *f;
	unsigned n;
	unsigned wrong;
};

static void *worker_run(void *opaque)
{
	struct worker *w = opaque;
	struct slot *s = &w->f->slot[w->n];
	struct rng rng = { w->n };

	for (unsigned i = 0; i < 300; i++) {
		unsigned len = 512 * (1 + rng_below(&rng, 16));

		slot_init(s, i & 1 ? BLOCK_OP_READ : BLOCK_OP_WRITE,
			  w->n * (uint64_t)SLOT, 8192);
		s->r.length = s->iov.iov_len = len;
		memset(s->buf, (int)w->n, len);
		block_submit(w->f->q, &s->r);
		while (atomic_load(&s->result) == 1)
			sched_yield();
		w->wrong += s->result != 0 || s->buf[len - 1] != w->n;
		if (!(i & 1)) /* what the next read will find */
			s->r.length = 0;
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct worker w[4];
	pthread_t t[4];
	struct fix f;

	fix_open(&f, BLOCK_CACHE_NONE);
	for (unsigned i = 0; i < 4; i++) {
		bt_fill(f.b, i * (uint64_t)SLOT, SLOT, (uint8_t)i);
		w[i] = (struct worker){ &f, i, 0 };
		pthread_create(&t[i], NULL, worker_run, &w[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(w[i].wrong, 0);
	}
	fix_close(&f);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bt_setup, bt_teardown)

/* As on hosts whose containers may not have io_uring. */
static void no_io_uring(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (!filter ||
	    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
			     SCMP_SYS(io_uring_setup), 0) ||
	    seccomp_load(filter))
		exit(77);
	seccomp_release(filter);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		T(page_cache),
		T(direct_io),
		T(stable_writes),
		T(misaligned_direct_io),
		T(other_operations),
		T(a_drain_hurries_limited_requests),
		T(a_bad_range_is_refused),
		T(many_threads),
	};

	if (argc > 1)
		no_io_uring();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
