/* test_virtio_balloon.c - dev/virtio/balloon.c: pages, counts, hints. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "dev/virtio/balloon.h"
#include "dev/virtio/transport.h"
#include "vdriver.h"

#define DATA  VDRIVER_DATA
#define PAGES 0x200000u /* what the tests give away */

#define F_STATS     (1ull << 1)
#define F_OOM       (1ull << 2)
#define F_HINT      (1ull << 3)
#define F_POISON    (1ull << 4)
#define F_REPORTING (1ull << 5)

enum { INFLATE, DEFLATE, STATS, HINT, REPORT };

struct config {
	uint32_t num_pages, actual, hint, poison;
};

struct fix {
	struct vdriver d;
	struct virtio_transport t;
	unsigned changes;
	int reclaimed; /* of the thread that asks */
};

static void count_change(struct virtio_transport *t)
{
	__atomic_fetch_add(
		&((struct fix *)((char *)t - offsetof(struct fix, t)))->changes,
		1, __ATOMIC_SEQ_CST);
}

static void fix_open_without(struct fix *f, uint64_t not_taken)
{
	struct virtio_dev *vd;

	memset(f, 0, sizeof(*f));
	assert_int_equal(vdriver_ram(&f->d), 0);
	assert_int_equal(virtio_balloon_new(&vd, &f->d.env, NULL), 0);
	assert_true((vd->offered &
		     (F_STATS | F_OOM | F_HINT | F_POISON | F_REPORTING)) ==
		    (F_STATS | F_OOM | F_HINT | F_POISON | F_REPORTING));
	vd->offered &= ~not_taken;
	f->t.vd = vd;
	f->t.config_interrupt = count_change;
	f->t.status = VIRTIO_STATUS_DRIVER_OK;
	vd->transport = &f->t;
	vdriver_start(&f->d, vd, VIRTIO_F_EVENT_IDX);
	memset(f->d.ram + PAGES, 0x55, 0x100000);
}

static void fix_open(struct fix *f)
{
	fix_open_without(f, 0);
}

static void fix_close(struct fix *f)
{
	vdriver_stop(&f->d);
}

static struct config space(struct fix *f)
{
	struct config c;

	f->d.vd->ops->read_config(f->d.vd, 0, &c, sizeof(c));
	return c;
}

static void ask(struct fix *f, unsigned queue, uint32_t gpa, uint32_t len,
		bool in)
{
	struct vpiece p = { gpa, len, in };

	vdriver_add(&f->d, queue, &p, 1);
	vdriver_notify(&f->d, queue);
}

static bool is_dropped(struct fix *f, uint32_t gpa)
{
	return f->d.ram[gpa] == 0;
}

static void inflating_drops_pages(void **state)
{
	static const uint32_t pfn[] = {
		(PAGES >> 12) + 3, (PAGES >> 12) + 4, (PAGES >> 12) + 1,
		0xffffffff,        0x12345678, /* not RAM */
	};
	struct fix f;

	fix_open(&f);
	virtio_balloon_set(f.d.vd, 5 << 12);
	assert_int_equal(space(&f).num_pages, 5);
	assert_int_equal(f.changes, 1);
	memcpy(f.d.ram + DATA, pfn, sizeof(pfn));
	ask(&f, INFLATE, DATA, sizeof(pfn), false);
	assert_int_equal(vdriver_used(&f.d, INFLATE), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(is_dropped(&f, PAGES + (i << 12)),
				 i == 1 || i == 3 || i == 4);
	ask(&f, DEFLATE, DATA, sizeof(pfn), false);
	assert_int_equal(vdriver_used(&f.d, DEFLATE), 0);
	/* Half a number, none at all, and more than RAM for a target. */
	ask(&f, INFLATE, DATA, 3, false);
	assert_int_equal(vdriver_used(&f.d, INFLATE), 0);
	ask(&f, INFLATE, DATA, 0, false);
	assert_int_equal(vdriver_used(&f.d, INFLATE), 0);
	virtio_balloon_set(f.d.vd, UINT64_MAX);
	assert_int_equal(space(&f).num_pages, VDRIVER_RAM >> 12);
	fix_close(&f);
}

static void the_driver_tells_what_it_has(void **state)
{
	struct balloon_state s;
	uint32_t actual = 77;
	struct fix f;

	fix_open(&f);
	f.d.vd->ops->write_config(f.d.vd, 4, &actual, 4);
	f.d.vd->ops->write_config(f.d.vd, 0, &actual, 4); /* not the driver's */
	f.d.vd->ops->write_config(f.d.vd, 8, &actual, 4);
	f.d.vd->ops->write_config(f.d.vd, 4, &actual, 1);
	assert_int_equal(space(&f).num_pages, 0);
	assert_int_equal(space(&f).hint, 0);
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.actual, 77 << 12);
	assert_false(s.has_stats);
	f.d.vd->ops->reset(f.d.vd);
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.actual, 0);
	fix_close(&f);
}

static void put_stat(struct fix *f, unsigned n, uint16_t tag, uint64_t value)
{
	memcpy(f->d.ram + DATA + n * 10, &tag, 2);
	memcpy(f->d.ram + DATA + n * 10 + 2, &value, 8);
}

/* The buffer that we hold goes back as the wish for new counts. */
static void statistics(void **state)
{
	struct balloon_state s;
	struct fix f;

	fix_open(&f);
	put_stat(&f, 0, 4, 1234);
	put_stat(&f, 1, 99, 5); /* a tag of the future */
	put_stat(&f, 2, 5, 5678);
	ask(&f, STATS, DATA, 30, false);
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_true(s.has_stats && s.has[4] && s.has[5] && !s.has[0]);
	assert_int_equal(s.stat[4], 1234);
	assert_int_equal(s.stat[5], 5678);
	assert_int_equal(f.d.ring[STATS].used[1], 0);
	virtio_balloon_get(f.d.vd, 1, &s); /* nobody answers: the old ones */
	assert_int_equal(f.d.ring[STATS].used[1], 1);
	assert_int_equal(s.stat[4], 1234);
	put_stat(&f, 0, 4, 4321);
	ask(&f, STATS, DATA, 30, false);
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.stat[4], 4321);
	/* Saved while we hold it: it is in the ring again. */
	f.d.vd->ops->drain(f.d.vd);
	vdriver_notify(&f.d, STATS);
	virtio_balloon_get(f.d.vd, 1, &s);
	assert_int_equal(f.d.ring[STATS].used[1], 2);
	fix_close(&f);
}

static void reported_pages_are_dropped(void **state)
{
	struct balloon_state s;
	struct fix f;

	fix_open(&f);
	/* From the middle of a page to the middle of another. */
	ask(&f, REPORT, PAGES + 0x800, 0x3000, true);
	assert_int_equal(vdriver_used(&f.d, REPORT), 0);
	assert_false(is_dropped(&f, PAGES));
	assert_true(is_dropped(&f, PAGES + 0x1000));
	assert_true(is_dropped(&f, PAGES + 0x2000));
	assert_false(is_dropped(&f, PAGES + 0x3000));
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.reported, 0x2000);
	fix_close(&f);
}

/* Whose driver relies on what is in free pages keeps it. */
static void poisoned_pages_stay(void **state)
{
	uint32_t poison = 0xaaaaaaaa;
	struct balloon_state s;
	struct fix f;

	fix_open(&f);
	f.d.vd->ops->write_config(f.d.vd, 12, &poison, 4);
	assert_int_equal(space(&f).poison, poison);
	ask(&f, REPORT, PAGES, 0x2000, true);
	assert_int_equal(vdriver_used(&f.d, REPORT), 0);
	assert_false(is_dropped(&f, PAGES));
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.reported, 0);
	fix_close(&f);
}

static void *reclaim(void *opaque)
{
	struct fix *f = opaque;

	f->reclaimed = virtio_balloon_reclaim(f->d.vd, 5000);
	return NULL;
}

static void put_id(struct fix *f, uint32_t id)
{
	memcpy(f->d.ram + DATA, &id, 4);
	ask(f, HINT, DATA, 4, false);
	assert_int_equal(vdriver_used(&f->d, HINT), 0);
}

static void hints_are_asked_for(void **state)
{
	struct balloon_state s;
	pthread_t asker;
	struct fix f;

	fix_open(&f);
	/* Unasked they are not taken. */
	ask(&f, HINT, PAGES, 0x1000, true);
	assert_false(is_dropped(&f, PAGES));
	assert_int_equal(vdriver_used(&f.d, HINT), 0);
	pthread_create(&asker, NULL, reclaim, &f);
	while (!__atomic_load_n(&f.changes, __ATOMIC_SEQ_CST))
		usleep(1000);
	assert_true(space(&f).hint >= 2);
	put_id(&f, space(&f).hint);
	ask(&f, HINT, PAGES, 0x4000, true);
	ask(&f, HINT, PAGES + 0x8000, 0x1000, true);
	put_id(&f, 0);
	pthread_join(asker, NULL);
	assert_int_equal(f.reclaimed, 0);
	assert_int_equal(space(&f).hint, 1); /* DONE */
	assert_int_equal(f.changes, 2);
	assert_true(is_dropped(&f, PAGES));
	assert_true(is_dropped(&f, PAGES + 0x8000));
	assert_false(is_dropped(&f, PAGES + 0x4000));
	virtio_balloon_get(f.d.vd, 0, &s);
	assert_int_equal(s.hinted, 0x5000);
	/* Over: they may be in use again. */
	ask(&f, HINT, PAGES + 0x9000, 0x1000, true);
	assert_false(is_dropped(&f, PAGES + 0x9000));
	fix_close(&f);
}

static void a_driver_that_gives_no_hints(void **state)
{
	struct fix f;

	fix_open(&f);
	assert_int_equal(virtio_balloon_reclaim(f.d.vd, 10), -ETIMEDOUT);
	assert_int_equal(space(&f).hint, 1);
	fix_close(&f);
	fix_open_without(&f, F_HINT);
	assert_int_equal(virtio_balloon_reclaim(f.d.vd, 10), -EOPNOTSUPP);
	/* Then reports are one queue lower. */
	ask(&f, HINT, PAGES, 0x1000, true);
	assert_true(is_dropped(&f, PAGES));
	fix_close(&f);
	fix_open_without(&f, F_HINT | F_STATS);
	ask(&f, STATS, PAGES, 0x1000, true);
	assert_true(is_dropped(&f, PAGES));
	fix_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inflating_drops_pages),
		cmocka_unit_test(the_driver_tells_what_it_has),
		cmocka_unit_test(statistics),
		cmocka_unit_test(reported_pages_are_dropped),
		cmocka_unit_test(poisoned_pages_stay),
		cmocka_unit_test(hints_are_asked_for),
		cmocka_unit_test(a_driver_that_gives_no_hints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
