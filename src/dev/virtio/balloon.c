/*
 * balloon.c - virtio-balloon: see balloon.h.
 *
 * Pages in the balloon, and free ones that are reported, are punched out of
 * the memory file: they cost nothing until the guest touches them again, and
 * read as zeroes then.  Deflating needs nothing from us.
 *
 * Free page hints (5.5.6.5) are asked for: with a new command ID the driver
 * hands over all that is free, and keeps its hands off it until it reads
 * DONE; meanwhile the pages are dropped.  A driver that poisons free pages
 * (PAGE_POISON) relies on what is in them: of those nothing is dropped.
 *
 * Statistics (5.5.6.3): the driver hands over a buffer with what it counts;
 * we keep it, and giving it back is the request for a new one.
 */
#include "dev/virtio/balloon.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BALLOON_F_STATS     (1ull << 1)
#define BALLOON_F_OOM       (1ull << 2)
#define BALLOON_F_HINT      (1ull << 3)
#define BALLOON_F_POISON    (1ull << 4)
#define BALLOON_F_REPORTING (1ull << 5)

#define BALLOON_INFLATE 0
#define BALLOON_DEFLATE 1
#define BALLOON_STATSQ  2 /* if taken; hints and reports come behind */

#define BALLOON_PFN_SHIFT  12
#define BALLOON_PFNS_MAX   16384 /* a request; Linux sends 256 */
#define BALLOON_PFNS_BLOCK 256

/* 5.5.4: num_pages, actual, free_page_hint_cmd_id, poison_val. */
struct balloon_config {
	uint32_t num_pages, actual, hint, poison;
};

/* free_page_hint_cmd_id: these, and behind them commands. */
#define BALLOON_HINT_STOP  0
#define BALLOON_HINT_DONE  1
#define BALLOON_HINT_FIRST 2

struct balloon_stat {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

const char *const balloon_stat_names[BALLOON_STATS] = {
	"swap_in",          "swap_out", "major_faults",
	"minor_faults",     "free",     "total",
	"available",        "caches",   "hugetlb_allocations",
	"hugetlb_failures",
};

struct balloon {
	struct virtio_dev vd;
	pthread_mutex_t lock; /* guards: */
	pthread_cond_t fresh; /* stats_count went up, hints ended */
	struct balloon_config config;
	struct balloon_state state;
	uint32_t next_hint, hinting; /* command IDs; 0: none is under way */
	unsigned stats_count;
	bool held; /* `stats` is the driver's buffer */
	struct virtq_chain stats;
	struct virtq_chain chain;
};

/* --- Giving pages back ---------------------------------------------------- */

static void balloon_drop(struct balloon *b, uint64_t gpa, uint64_t len)
{
	if (len)
		mem_drop(b->vd.env->mem, gpa, len);
}

/* Does the driver not care for what is in its free pages? */
static bool balloon_may_drop(const struct balloon *b)
{
	return !virtio_has(&b->vd, BALLOON_F_POISON) || !b->config.poison;
}

/* Page numbers, in runs: up or down, as they come. */
static void balloon_drop_pfns(struct balloon *b, const uint32_t *pfn,
			      unsigned n)
{
	uint64_t from = 0, len = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t gpa = (uint64_t)pfn[i] << BALLOON_PFN_SHIFT;

		if (len && gpa == from + len) {
			len += MEM_PAGE_SIZE;
		} else if (len && gpa + MEM_PAGE_SIZE == from) {
			from = gpa;
			len += MEM_PAGE_SIZE;
		} else {
			balloon_drop(b, from, len);
			from = gpa;
			len = MEM_PAGE_SIZE;
		}
	}
	balloon_drop(b, from, len);
}

static void balloon_inflate(struct balloon *b)
{
	uint32_t pfn[BALLOON_PFNS_BLOCK];
	size_t at = 0, got;

	while (at < BALLOON_PFNS_MAX * sizeof(*pfn)) {
		got = virtq_read(&b->chain, at, pfn, sizeof(pfn));
		balloon_drop_pfns(b, pfn, (unsigned)(got / sizeof(*pfn)));
		if (got < sizeof(pfn))
			break;
		at += got;
	}
}

/* The pieces are the free pages themselves; how many bytes went. */
static uint64_t balloon_drop_pieces(struct balloon *b)
{
	uint64_t dropped = 0;
	uint64_t budget = mem_ram_bytes(b->vd.env->mem);

	for (unsigned i = 0; i < b->chain.in_count; i++) {
		const struct iovec *v = &b->chain.in[i];
		uint64_t gpa = mem_gpa(b->vd.env->mem, v->iov_base);
		uint64_t end = (gpa + v->iov_len) & ~MEM_PAGE_MASK;

		gpa = (gpa + MEM_PAGE_MASK) & ~MEM_PAGE_MASK;
		if (end <= gpa || end - gpa > budget)
			continue;
		budget -= end - gpa;
		balloon_drop(b, gpa, end - gpa);
		dropped += end - gpa;
	}
	return dropped;
}

/* 5.5.6.6 */
static void balloon_report(struct balloon *b)
{
	if (balloon_may_drop(b))
		b->state.reported += balloon_drop_pieces(b);
}

static void balloon_end_hints(struct balloon *b)
{
	b->hinting = 0;
	b->config.hint = BALLOON_HINT_DONE;
	pthread_cond_broadcast(&b->fresh);
}

/* 5.5.6.5: a command ID that starts or stops, or pages. */
static void balloon_hint(struct balloon *b)
{
	uint32_t id;

	if (virtq_read(&b->chain, 0, &id, sizeof(id)) == sizeof(id)) {
		if (b->hinting && id == BALLOON_HINT_STOP) {
			balloon_end_hints(b);
			virtio_config_changed(&b->vd);
		}
	} else if (b->hinting && balloon_may_drop(b)) {
		b->state.hinted += balloon_drop_pieces(b);
	}
}

/* --- Statistics ----------------------------------------------------------- */

static void balloon_take_stats(struct balloon *b)
{
	struct balloon_stat s;
	size_t at = 0;

	memset(b->state.has, 0, sizeof(b->state.has));
	for (unsigned i = 0; i < 2 * BALLOON_STATS; i++, at += sizeof(s)) {
		if (virtq_read(&b->stats, at, &s, sizeof(s)) < sizeof(s))
			break;
		if (s.tag >= BALLOON_STATS)
			continue;
		b->state.has[s.tag] = true;
		b->state.stat[s.tag] = s.value;
	}
	b->state.has_stats = true;
	b->stats_count++;
	pthread_cond_broadcast(&b->fresh);
}

static void balloon_hold_stats(struct balloon *b, struct virtq *q)
{
	do {
		virtq_disable_notify(q);
		while (!b->held && virtq_pop(q, &b->stats) == 1) {
			b->held = true;
			balloon_take_stats(b);
		}
	} while (!virtq_enable_notify(q) && !b->held);
}

/* --- Queues --------------------------------------------------------------- */

static void balloon_serve(struct balloon *b, struct virtq *q,
			  void (*serve)(struct balloon *b))
{
	do {
		virtq_disable_notify(q);
		while (virtq_pop(q, &b->chain) == 1) {
			if (serve)
				serve(b);
			virtq_push(q, &b->chain, 0);
		}
	} while (!virtq_enable_notify(q));
	virtq_interrupt(q);
}

static void balloon_notify(struct virtio_dev *vd, unsigned n)
{
	struct balloon *b = (struct balloon *)vd;
	bool stats = virtio_has(vd, BALLOON_F_STATS);
	unsigned hint = stats ? BALLOON_STATSQ + 1 : BALLOON_STATSQ;
	unsigned reporting = virtio_has(vd, BALLOON_F_HINT) ? hint + 1 : hint;

	pthread_mutex_lock(&b->lock);
	if (n == BALLOON_INFLATE)
		balloon_serve(b, vd->queue[n], balloon_inflate);
	else if (n == BALLOON_DEFLATE)
		balloon_serve(b, vd->queue[n], NULL);
	else if (stats && n == BALLOON_STATSQ)
		balloon_hold_stats(b, vd->queue[n]);
	else if (n == hint && virtio_has(vd, BALLOON_F_HINT))
		balloon_serve(b, vd->queue[n], balloon_hint);
	else if (n == reporting && virtio_has(vd, BALLOON_F_REPORTING))
		balloon_serve(b, vd->queue[n], balloon_report);
	pthread_mutex_unlock(&b->lock);
}

/* --- From the host -------------------------------------------------------- */

void virtio_balloon_set(struct virtio_dev *vd, uint64_t bytes)
{
	struct balloon *b = (struct balloon *)vd;
	uint64_t ram = mem_ram_bytes(vd->env->mem);

	if (bytes > ram)
		bytes = ram;
	pthread_mutex_lock(&b->lock);
	b->config.num_pages = (uint32_t)(bytes >> BALLOON_PFN_SHIFT);
	virtio_config_changed(vd);
	pthread_mutex_unlock(&b->lock);
}

/* The driver's buffer goes back, if there is one: it fills it anew. */
static bool balloon_ask_stats(struct balloon *b)
{
	struct virtq *q = b->vd.queue[BALLOON_STATSQ];

	if (!virtio_has(&b->vd, BALLOON_F_STATS))
		return false;
	if (!b->held)
		balloon_hold_stats(b, q);
	if (!b->held)
		return false;
	b->held = false;
	virtq_push(q, &b->stats, 0);
	virtq_interrupt(q);
	return true;
}

static struct timespec balloon_until(unsigned wait_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return until;
}

int virtio_balloon_reclaim(struct virtio_dev *vd, unsigned wait_ms)
{
	struct balloon *b = (struct balloon *)vd;
	struct timespec until = balloon_until(wait_ms);
	int rc = -EOPNOTSUPP;

	pthread_mutex_lock(&b->lock);
	if (virtio_has(vd, BALLOON_F_HINT)) {
		if (b->next_hint < BALLOON_HINT_FIRST)
			b->next_hint = BALLOON_HINT_FIRST;
		b->hinting = b->config.hint = b->next_hint++;
		virtio_config_changed(vd);
		rc = 0;
	}
	while (rc == 0 && b->hinting)
		rc = -pthread_cond_timedwait(&b->fresh, &b->lock, &until);
	if (b->hinting) { /* it is not to keep them for nothing */
		balloon_end_hints(b);
		virtio_config_changed(vd);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

void virtio_balloon_get(struct virtio_dev *vd, unsigned wait_ms,
			struct balloon_state *out)
{
	struct balloon *b = (struct balloon *)vd;
	struct timespec until = balloon_until(wait_ms);

	pthread_mutex_lock(&b->lock);
	if (wait_ms && balloon_ask_stats(b)) {
		unsigned seen = b->stats_count;

		while (seen == b->stats_count &&
		       !pthread_cond_timedwait(&b->fresh, &b->lock, &until))
			;
	}
	*out = b->state;
	out->target = (uint64_t)b->config.num_pages << BALLOON_PFN_SHIFT;
	out->actual = (uint64_t)b->config.actual << BALLOON_PFN_SHIFT;
	pthread_mutex_unlock(&b->lock);
}

/* --- The device ----------------------------------------------------------- */

static void balloon_read_config(struct virtio_dev *vd, unsigned offset,
				void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)vd;

	pthread_mutex_lock(&b->lock);
	memcpy(buf, (uint8_t *)&b->config + offset, len);
	pthread_mutex_unlock(&b->lock);
}

/* Only `actual` and `poison_val` are the driver's. */
static void balloon_write_config(struct virtio_dev *vd, unsigned offset,
				 const void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)vd;

	if (len != 4)
		return;
	pthread_mutex_lock(&b->lock);
	if (offset == offsetof(struct balloon_config, actual))
		memcpy(&b->config.actual, buf, 4);
	else if (offset == offsetof(struct balloon_config, poison))
		memcpy(&b->config.poison, buf, 4);
	pthread_mutex_unlock(&b->lock);
}

/* The target stays: a guest that starts again is to have no more. */
static void balloon_reset(struct virtio_dev *vd)
{
	struct balloon *b = (struct balloon *)vd;

	pthread_mutex_lock(&b->lock);
	b->config.actual = 0;
	b->config.poison = 0;
	b->config.hint = BALLOON_HINT_STOP;
	b->hinting = 0;
	pthread_cond_broadcast(&b->fresh);
	b->held = false;
	b->state.has_stats = false;
	pthread_mutex_unlock(&b->lock);
}

/* The buffer that we hold is left in the ring, to be found again. */
static void balloon_drain(struct virtio_dev *vd)
{
	struct balloon *b = (struct balloon *)vd;

	pthread_mutex_lock(&b->lock);
	if (b->held)
		virtq_unpop(vd->queue[BALLOON_STATSQ], 1);
	b->held = false;
	pthread_mutex_unlock(&b->lock);
}

static void balloon_walk(struct virtio_dev *vd, struct walk *w)
{
	struct balloon *b = (struct balloon *)vd;

	if (!walk_section(w, vd->name, vd->instance, 1))
		return;
	walk_u32(w, "num_pages", &b->config.num_pages);
	walk_u32(w, "actual", &b->config.actual);
	walk_u64(w, "reported", &b->state.reported);
	walk_u64(w, "hinted", &b->state.hinted);
	walk_u32(w, "hint", &b->config.hint);
	walk_u32(w, "next_hint", &b->next_hint);
	walk_u32(w, "poison", &b->config.poison);
	walk_end(w);
	/* Hints that were under way are over for this driver. */
	if (walk_restoring(w) && b->config.hint >= BALLOON_HINT_FIRST)
		balloon_end_hints(b);
}

static void balloon_free(struct virtio_dev *vd)
{
	struct balloon *b = (struct balloon *)vd;

	pthread_cond_destroy(&b->fresh);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static const struct virtio_ops balloon_ops = {
	.read_config = balloon_read_config,
	.write_config = balloon_write_config,
	.notify = balloon_notify,
	.reset = balloon_reset,
	.drain = balloon_drain,
	.walk = balloon_walk,
	.free = balloon_free,
};

int virtio_balloon_new(struct virtio_dev **out, struct dev_env *env,
		       struct err *err)
{
	struct balloon *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->fresh, NULL);
	b->vd = (struct virtio_dev){
		.ops = &balloon_ops,
		.name = "virtio-balloon",
		.env = env,
		.id = VIRTIO_ID_BALLOON,
		.class_code = 0xff0000,
		.offered = BALLOON_F_STATS | BALLOON_F_OOM | BALLOON_F_HINT |
			   BALLOON_F_POISON | BALLOON_F_REPORTING,
		.queue_count = 5,
		.queue_size = 128,
		.config_size = sizeof(struct balloon_config),
	};
	*out = &b->vd;
	return 0;
}
