/*
 * test_virtq.c - dev/virtio/virtq*.c: a random driver against a model, then
 * drivers that lie.  `test_virtq SEED` repeats one seed.
 */
#include "vring.h"

#include <errno.h>

#include "rng.h"

#define F_1     VIRTIO_F_VERSION_1
#define F_EVENT (F_1 | VIRTIO_F_EVENT_IDX)
#define F_IND   (F_EVENT | VIRTIO_F_INDIRECT_DESC)
#define F_PACK  (F_IND | VIRTIO_F_RING_PACKED)

#define PIECES_MAX 8
#define HELD_MAX   64

/* --- The model ------------------------------------------------------------ */

struct request {
	struct vring_piece p[PIECES_MAX];
	unsigned n;
	uint32_t written; /* what the device said */
	bool pushed;
};

struct model {
	struct vring r;
	struct rng rng;
	struct request req[VIRTQ_SIZE_MAX]; /* by id */
	int order[VIRTQ_SIZE_MAX];          /* ids as made available */
	unsigned first, waiting;            /* of these, not popped */
	struct virtq_chain *held[HELD_MAX];
	unsigned held_count;
	/* Used slots in all, and at the last interrupt decision. */
	unsigned event_ahead; /* wanted when more than so many are used */
	unsigned pushed_slots;
};

static void model_add(struct model *m)
{
	struct request req = { .n = 1 + rng_below(&m->rng, PIECES_MAX) };
	unsigned outs = rng_below(&m->rng, req.n + 1);
	int id;

	for (unsigned i = 0; i < req.n; i++) {
		req.p[i].write = i >= outs;
		req.p[i].len = 1 + rng_below(&m->rng, 5000);
		req.p[i].gpa = VRING_DATA + rng_below(&m->rng, 0x100000);
	}
	id = vring_add(&m->r, req.p, req.n, rng_one_in(&m->rng, 3));
	if (id < 0)
		return;
	m->req[id] = req;
	m->order[(m->first + m->waiting++) % VIRTQ_SIZE_MAX] = id;
}

static void check_pieces(struct model *m, const struct virtq_chain *c,
			 const struct request *req)
{
	unsigned out = 0, in = 0;

	for (unsigned i = 0; i < req->n; i++) {
		const struct vring_piece *p = &req->p[i];
		const struct iovec *v =
			p->write ? &c->in[in++] : &c->out[out++];

		assert_ptr_equal(v->iov_base, m->r.ram + p->gpa);
		assert_int_equal(v->iov_len, p->len);
	}
	assert_int_equal(c->out_count, out);
	assert_int_equal(c->in_count, in);
}

static bool model_pop(struct model *m)
{
	struct virtq_chain *c;
	int id, rc;

	if (m->held_count == HELD_MAX)
		return false;
	c = malloc(sizeof(*c));
	rc = virtq_pop(m->r.q, c);
	assert_int_equal(rc, m->waiting ? 1 : 0);
	if (!rc) {
		free(c);
		return false;
	}
	id = m->order[m->first++ % VIRTQ_SIZE_MAX];
	m->waiting--;
	assert_int_equal(c->head, id);
	check_pieces(m, c, &m->req[id]);
	m->held[m->held_count++] = c;
	return true;
}

/* The latest pops go back and are popped again. */
static void model_unpop(struct model *m)
{
	unsigned n = 0, want = 1 + rng_below(&m->rng, 4);

	while (n < want && model_pop(m))
		n++;
	virtq_unpop(m->r.q, n);
	m->first -= n;
	m->waiting += n;
	while (n--)
		free(m->held[--m->held_count]);
}

static uint32_t model_written(struct model *m, const struct virtq_chain *c)
{
	return c->in_len ? rng_below(&m->rng, (unsigned)c->in_len + 1) : 0;
}

static void model_push(struct model *m)
{
	struct virtq_chain *batch = malloc(4 * sizeof(*batch));
	uint32_t written[4];
	unsigned n = 0, want = 1 + rng_below(&m->rng, 4);

	for (; n < want && m->held_count; n++) {
		unsigned at = rng_below(&m->rng, m->held_count);
		struct virtq_chain *c = m->held[at];

		m->held[at] = m->held[--m->held_count];
		written[n] = model_written(m, c);
		m->req[c->head].written = written[n];
		m->req[c->head].pushed = true;
		m->pushed_slots += m->r.packed ? c->slots : 1;
		batch[n] = *c;
		batch[n].out = batch[n].iov;
		batch[n].in = batch[n].iov + batch[n].out_count;
		free(c);
	}
	if (n == 1)
		virtq_push(m->r.q, batch, written[0]);
	else if (n)
		virtq_push_many(m->r.q, batch, written, n);
	free(batch);
}

/* One interrupt, if and only if what was asked for has been passed. */
static void model_interrupt(struct model *m)
{
	unsigned circle = m->r.packed ? 2 * m->r.size : 0x10000;
	unsigned before = m->r.interrupts;
	bool expect = m->pushed_slots &&
		      (!m->r.event_idx || m->event_ahead < m->pushed_slots);

	virtq_interrupt(m->r.q);
	assert_int_equal(m->r.interrupts - before, expect);
	/* An event that was passed is met again on the next round. */
	m->event_ahead = (m->event_ahead + circle - m->pushed_slots) % circle;
	m->pushed_slots = 0;
}

static void model_collect(struct model *m)
{
	uint32_t len;
	int id;

	while ((id = vring_used(&m->r, &len)) >= 0) {
		assert_true(m->req[id].pushed);
		assert_int_equal(len, m->req[id].written);
		m->req[id].pushed = false;
		if (rng_one_in(&m->rng, 4))
			break;
	}
}

/* Only when the driver is up to date can it name an event exactly. */
static void model_set_event(struct model *m)
{
	uint32_t len;
	int id;

	if (!m->r.event_idx)
		return;
	model_interrupt(m);
	while ((id = vring_used(&m->r, &len)) >= 0)
		m->req[id].pushed = false;
	m->event_ahead = rng_below(&m->rng, m->r.size / 2 + 1);
	vring_set_event(&m->r, m->event_ahead);
}

static void model_notify(struct model *m)
{
	virtq_disable_notify(m->r.q);
	assert_int_equal(virtq_enable_notify(m->r.q), m->waiting == 0);
}

static void model_run(uint64_t seed, unsigned size, uint64_t features)
{
	struct model *m = calloc(1, sizeof(*m));

	m->rng.state = seed;
	vring_open(&m->r, size, features);
	assert_true(virtq_ready(m->r.q));
	model_set_event(m);
	for (unsigned i = 0; i < 20000; i++) {
		switch (rng_below(&m->rng, 9)) {
		case 0:
		case 1:
		case 2:
			model_add(m);
			break;
		case 3:
			model_pop(m);
			break;
		case 4:
			model_unpop(m);
			break;
		case 5:
			model_push(m);
			break;
		case 6:
			model_interrupt(m);
			break;
		case 7:
			model_collect(m);
			break;
		case 8:
			if (rng_one_in(&m->rng, 2))
				model_set_event(m);
			else
				model_notify(m);
			break;
		}
	}
	assert_int_equal(m->r.reports, 0);
	while (m->held_count)
		free(m->held[--m->held_count]);
	vring_close(&m->r);
	free(m);
}

static void split_rings_follow_the_model(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		model_run(seed, 4, F_IND);
		model_run(seed, 64, F_IND);
		model_run(seed, 1024, F_IND);
		model_run(seed, 16, F_1 | VIRTIO_F_INDIRECT_DESC);
	}
}

static void packed_rings_follow_the_model(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		model_run(seed, 9, F_PACK);
		model_run(seed, 64, F_PACK);
		model_run(seed, 1000, F_PACK);
		model_run(seed, 17, F_PACK & ~VIRTIO_F_EVENT_IDX);
	}
}

/* --- Drivers that lie ----------------------------------------------------- */

static const struct vring_piece good[] = { { VRING_DATA, 16, false },
					   { VRING_DATA + 64, 16, true } };

/* The queue yields nothing but -EPROTO, and the device was told. */
static void is_broken(struct vring *r)
{
	struct virtq_chain *c = malloc(sizeof(*c));

	assert_int_equal(virtq_pop(r->q, c), -EPROTO);
	assert_int_equal(virtq_pop(r->q, c), -EPROTO);
	assert_false(virtq_ready(r->q));
	assert_true(r->reports > 0);
	free(c);
}

/* Adds two pieces, then does what `lie` does to them. */
static void broken_by(uint64_t features, bool indirect,
		      void (*lie)(struct vring *r, struct virtq_desc *d))
{
	struct virtq_desc *d;
	struct vring r;

	vring_open(&r, 16, features);
	vring_add(&r, good, 2, indirect);
	d = indirect ? (struct virtq_desc *)(r.ram + VRING_TABLES)
		     : vring_desc(&r, 0);
	lie(&r, d);
	is_broken(&r);
	vring_close(&r);
}

static void to_itself(struct vring *r, struct virtq_desc *d)
{
	d[0].split.next = 0;
}
static void out_of_table(struct vring *r, struct virtq_desc *d)
{
	d[0].split.next = 16;
}
static void outside_ram(struct vring *r, struct virtq_desc *d)
{
	d[0].addr = VRING_RAM;
}
static void over_the_end(struct vring *r, struct virtq_desc *d)
{
	d[1].addr = VRING_RAM - 8;
}
static void around_the_end(struct vring *r, struct virtq_desc *d)
{
	d[1].addr = UINT64_MAX - 7;
}
static void four_gib(struct vring *r, struct virtq_desc *d)
{
	d[1].len = UINT32_MAX;
}
static void read_after_write(struct vring *r, struct virtq_desc *d)
{
	uint16_t *flags = r->packed ? &d[0].packed.flags : &d[0].split.flags;

	*flags |= VIRTQ_DESC_WRITE;
	flags = r->packed ? &d[1].packed.flags : &d[1].split.flags;
	*flags &= ~VIRTQ_DESC_WRITE;
}
static void unasked_table(struct vring *r, struct virtq_desc *d)
{
	uint16_t *flags = r->packed ? &d[1].packed.flags : &d[1].split.flags;

	*flags |= VIRTQ_DESC_INDIRECT;
}
static void more_than_all(struct vring *r, struct virtq_desc *d)
{
	vring_avail(r)[1] = 17;
}
static void head_outside(struct vring *r, struct virtq_desc *d)
{
	vring_avail(r)[2] = 16;
}

static void split_lies_break_the_queue(void **state)
{
	broken_by(F_IND, false, to_itself);
	broken_by(F_IND, false, out_of_table);
	broken_by(F_IND, false, outside_ram);
	broken_by(F_IND, false, over_the_end);
	broken_by(F_IND, false, around_the_end);
	broken_by(F_IND, false, four_gib);
	broken_by(F_IND, false, read_after_write);
	broken_by(F_EVENT, false, unasked_table);
	broken_by(F_IND, false, more_than_all);
	broken_by(F_IND, false, head_outside);
}

static void all_next(struct vring *r, struct virtq_desc *d)
{
	for (unsigned i = 0; i < r->size; i++) {
		vring_desc(r, i)->packed.flags |= VIRTQ_DESC_NEXT;
		vring_desc(r, i)->addr = VRING_DATA;
		vring_desc(r, i)->packed.flags &= ~VIRTQ_DESC_WRITE;
	}
}

static void packed_lies_break_the_queue(void **state)
{
	broken_by(F_PACK, false, outside_ram);
	broken_by(F_PACK, false, over_the_end);
	broken_by(F_PACK, false, four_gib);
	broken_by(F_PACK, false, read_after_write);
	broken_by(F_PACK & ~VIRTIO_F_INDIRECT_DESC, false, unasked_table);
	broken_by(F_PACK, false, all_next);
}

/* --- Indirect tables ------------------------------------------------------ */

static void table_odd(struct vring *r, struct virtq_desc *d)
{
	vring_desc(r, 0)->len = 17;
}
static void table_empty(struct vring *r, struct virtq_desc *d)
{
	vring_desc(r, 0)->len = 0;
}
static void table_outside(struct vring *r, struct virtq_desc *d)
{
	vring_desc(r, 0)->addr = VRING_RAM - 16;
}
static void table_huge(struct vring *r, struct virtq_desc *d)
{
	vring_desc(r, 0)->len = 0xfffffff0;
}
static void table_in_table(struct vring *r, struct virtq_desc *d)
{
	unasked_table(r, d);
}
static void table_goes_on(struct vring *r, struct virtq_desc *d)
{
	if (r->packed)
		vring_desc(r, 0)->packed.flags |= VIRTQ_DESC_NEXT;
	else
		vring_desc(r, 0)->split.flags |= VIRTQ_DESC_NEXT;
}
static void table_next_outside(struct vring *r, struct virtq_desc *d)
{
	d[0].split.next = 2;
}

static void tables_that_lie_break_the_queue(void **state)
{
	static void (*const lies[])(struct vring * r, struct virtq_desc * d) = {
		table_odd,      table_empty,      table_outside, table_huge,
		table_in_table, table_goes_on,    outside_ram,   over_the_end,
		four_gib,       read_after_write,
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		broken_by(F_IND, true, lies[i]);
		broken_by(F_PACK, true, lies[i]);
	}
	broken_by(F_IND, true, table_next_outside);
	broken_by(F_IND, true, to_itself);
}

/* More pieces than we take, in a table as long as RAM allows. */
static void a_table_of_too_many_pieces(void **state)
{
	static const uint64_t features[] = { F_IND, F_PACK };

	for (unsigned i = 0; i < 2; i++) {
		struct vring r;

		vring_open(&r, 16, features[i]);
		vring_add(&r, good, 2, true);
		vring_desc(&r, 0)->len = 2000 * 16;
		for (unsigned n = 0; n < 2000; n++) {
			struct virtq_desc *d =
				(struct virtq_desc *)(r.ram + VRING_TABLES) + n;

			*d = (struct virtq_desc){ .addr = VRING_DATA,
						  .len = 1 };
			if (!r.packed) {
				d->split.flags = VIRTQ_DESC_NEXT;
				d->split.next = (uint16_t)(n + 1);
			}
		}
		is_broken(&r);
		vring_close(&r);
	}
}

/* 2.7.5.3.1: normal pieces, then one table. */
static void pieces_before_a_table(void **state)
{
	struct virtq_chain *c = malloc(sizeof(*c));
	struct vring r;

	vring_open(&r, 16, F_IND);
	vring_add(&r, good, 2, true);
	*vring_desc(&r, 5) = *vring_desc(&r, 0);
	vring_desc(&r, 0)->addr = VRING_DATA + 4096;
	vring_desc(&r, 0)->len = 7;
	vring_desc(&r, 0)->split.flags = VIRTQ_DESC_NEXT;
	vring_desc(&r, 0)->split.next = 5;
	assert_int_equal(virtq_pop(r.q, c), 1);
	assert_int_equal(c->out_count, 2);
	assert_int_equal(c->out_len, 23);
	assert_int_equal(c->in_len, 16);
	vring_close(&r);
	free(c);
}

/* --- The rings themselves ------------------------------------------------- */

static bool can_enable(unsigned size, uint64_t features, unsigned area,
		       uint64_t where)
{
	struct vring r;
	bool ok;

	vring_open(&r, 16, features);
	virtq_reset(r.q);
	r.reports = 0;
	r.q->size = (uint16_t)size;
	r.q->area[VIRTQ_DESC] = VRING_DESC;
	r.q->area[VIRTQ_DRIVER] = VRING_DRIVER;
	r.q->area[VIRTQ_DEVICE] = VRING_DEVICE;
	if (area < VIRTQ_AREAS)
		r.q->area[area] = where;
	ok = virtq_enable(r.q, features);
	assert_int_equal(virtq_ready(r.q), ok);
	assert_int_equal(r.reports, !ok);
	vring_close(&r);
	return ok;
}

static void rings_must_be_in_ram_and_aligned(void **state)
{
	assert_true(can_enable(16, F_1, VIRTQ_AREAS, 0));
	assert_true(can_enable(1, F_1, VIRTQ_AREAS, 0));
	assert_true(can_enable(1024, F_1, VIRTQ_AREAS, 0));
	assert_false(can_enable(0, F_1, VIRTQ_AREAS, 0));
	assert_false(can_enable(24, F_1, VIRTQ_AREAS, 0));
	assert_true(can_enable(24, F_PACK, VIRTQ_AREAS, 0));
	assert_false(can_enable(2048, F_1, VIRTQ_AREAS, 0));
	assert_false(can_enable(2048, F_PACK, VIRTQ_AREAS, 0));
	for (unsigned a = 0; a < VIRTQ_AREAS; a++) {
		assert_false(can_enable(16, F_1, a, VRING_RAM));
		assert_false(can_enable(16, F_1, a, VRING_RAM - 16));
		assert_false(can_enable(16, F_1, a, VRING_DATA + 1));
		assert_false(can_enable(16, F_1, a, UINT64_MAX - 15));
		assert_false(can_enable(16, F_PACK, a, VRING_DATA + 2));
		assert_false(can_enable(16, F_PACK, a, VRING_RAM));
	}
}

/* The device's word on notifications, as the driver reads it. */
static uint16_t device_word(struct vring *r, unsigned n)
{
	return ((uint16_t *)(r->ram + VRING_DEVICE))[n];
}

/* One request, from its making to its end. */
static void one_request(struct vring *r)
{
	struct virtq_chain *c = malloc(sizeof(*c));
	uint32_t len;

	assert_true(vring_add(r, good, 1, false) >= 0);
	assert_int_equal(virtq_pop(r->q, c), 1);
	virtq_push(r->q, c, 0);
	virtq_interrupt(r->q);
	assert_true(vring_used(r, &len) >= 0);
	free(c);
}

/* 2.7.10: by flags, or by the index of the request that is waited for. */
static void split_sides_ask_each_other_for_silence(void **state)
{
	struct vring r;

	vring_open(&r, 16, F_1);
	virtq_disable_notify(r.q);
	assert_int_equal(device_word(&r, 0), 1);
	assert_true(virtq_enable_notify(r.q));
	assert_int_equal(device_word(&r, 0), 0);
	one_request(&r);
	assert_int_equal(r.interrupts, 1);
	vring_avail(&r)[0] = 1;
	one_request(&r);
	assert_int_equal(r.interrupts, 1);
	vring_avail(&r)[0] = 0;
	one_request(&r);
	assert_int_equal(r.interrupts, 2);
	vring_close(&r);

	/* With indexes flags mean nothing. */
	vring_open(&r, 16, F_1 | VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 40; i++) {
		vring_avail(&r)[0] = 1;
		assert_true(virtq_enable_notify(r.q));
		assert_int_equal(device_word(&r, 0), 0);
		assert_int_equal(device_word(&r, 2 + 16 * 4), i);
		vring_set_event(&r, i % 2);
		one_request(&r);
		assert_int_equal(r.interrupts, i / 2 + 1);
		virtq_interrupt(r.q);
		assert_int_equal(r.interrupts, i / 2 + 1);
	}
	vring_close(&r);
}

/* 2.8.10: enabled, disabled, or for one descriptor. */
static void packed_sides_ask_each_other_for_silence(void **state)
{
	struct vring r;

	vring_open(&r, 10, F_1 | VIRTIO_F_RING_PACKED);
	virtq_disable_notify(r.q);
	assert_int_equal(device_word(&r, 1), 1);
	assert_true(virtq_enable_notify(r.q));
	assert_int_equal(device_word(&r, 1), 0);
	one_request(&r);
	assert_int_equal(r.interrupts, 1);
	vring_avail(&r)[1] = 1;
	one_request(&r);
	assert_int_equal(r.interrupts, 1);
	vring_close(&r);

	vring_open(&r, 10, F_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
	for (unsigned i = 0; i < 40; i++) {
		unsigned wrap = !(i / 10 % 2);

		assert_true(virtq_enable_notify(r.q));
		assert_int_equal(device_word(&r, 1), 2);
		assert_int_equal(device_word(&r, 0), i % 10 | wrap << 15);
		virtq_disable_notify(r.q);
		assert_int_equal(device_word(&r, 1), 1);
		vring_set_event(&r, i % 2);
		one_request(&r);
		assert_int_equal(r.interrupts, i / 2 + 1);
	}
	vring_close(&r);
}

/* A device that keeps what it pops never holds more than the ring's size. */
static void no_more_in_flight_than_the_ring_holds(void **state)
{
	struct virtq_chain *c = malloc(sizeof(*c));
	struct vring r;

	vring_open(&r, 16, F_IND);
	vring_add(&r, good, 1, false);
	for (unsigned i = 0; i < 16; i++) {
		vring_avail(&r)[2 + i] = 0; /* the same one again and again */
		vring_avail(&r)[1] = (uint16_t)(i + 1);
		assert_int_equal(virtq_pop(r.q, c), 1);
	}
	vring_avail(&r)[1] = 17;
	is_broken(&r);
	vring_close(&r);
	free(c);
}

/* --- Pieces as bytes, state ----------------------------------------------- */

static void bytes_cross_pieces(void **state)
{
	static const struct vring_piece p[] = {
		{ VRING_DATA, 3, false },
		{ VRING_DATA + 100, 5, false },
		{ VRING_DATA + 200, 2, true },
		{ VRING_DATA + 300, 4, true },
	};
	struct virtq_chain *c = malloc(sizeof(*c));
	uint8_t buf[16] = { 0 };
	struct vring r;

	vring_open(&r, 16, F_IND);
	memcpy(r.ram + VRING_DATA, "abc", 3);
	memcpy(r.ram + VRING_DATA + 100, "defgh", 5);
	vring_add(&r, p, 4, false);
	assert_int_equal(virtq_pop(r.q, c), 1);
	assert_int_equal(virtq_read(c, 1, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "bcdefgh", 7);
	assert_int_equal(virtq_read(c, 8, buf, 1), 0);
	assert_int_equal(virtq_read(c, 4, buf, 2), 2);
	assert_memory_equal(buf, "ef", 2);
	assert_int_equal(virtq_write(c, 1, "123456789", 9), 5);
	assert_memory_equal(r.ram + VRING_DATA + 201, "1", 1);
	assert_memory_equal(r.ram + VRING_DATA + 300, "2345", 4);
	assert_int_equal(r.ram[VRING_DATA + 304], 0);
	vring_close(&r);
	free(c);
}

static void what_is_written_is_marked(void **state)
{
	struct virtq_chain *c = malloc(sizeof(*c));
	static const struct vring_piece p[] = {
		{ VRING_DATA + 0x1800, 0x1000, true },
	};
	struct vring r;
	uint8_t *flags;

	vring_open(&r, 16, F_IND);
	flags = mem_page_flags(r.mem);
	vring_add(&r, p, 1, false);
	assert_int_equal(virtq_pop(r.q, c), 1);
	memset(flags, 0, VRING_RAM >> MEM_PAGE_SHIFT);
	virtq_push(r.q, c, 0x700); /* the second page was not reached */
	assert_true(flags[mem_page(r.mem, VRING_DATA + 0x1000)]);
	assert_false(flags[mem_page(r.mem, VRING_DATA + 0x2000)]);
	assert_true(flags[mem_page(r.mem, VRING_DEVICE)]);
	vring_close(&r);
	free(c);
}

/* Half way through both rings' wraps, into another queue on the same RAM. */
static void a_queue_goes_on_after_restoring(uint64_t features)
{
	struct virtq_chain *c = malloc(sizeof(*c));
	struct vring r;
	struct virtq *old;
	char *buf = NULL;
	size_t size = 0;
	uint32_t len;
	FILE *f = open_memstream(&buf, &size);
	struct walk *w;

	vring_open(&r, 8, features);
	for (unsigned i = 0; i < 11; i++) {
		vring_add(&r, good, 2, false);
		assert_int_equal(virtq_pop(r.q, c), 1);
		virtq_push(r.q, c, i);
		assert_true(vring_used(&r, &len) >= 0);
	}
	w = walk_save_to(f);
	virtq_walk(r.q, w, 7, features);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	fclose(f);
	old = r.q;
	r.q = virtq_new(r.mem, 0, VIRTQ_SIZE_MAX);
	w = walk_restore_from(buf, size);
	virtq_walk(r.q, w, 7, features);
	assert_int_equal(walk_result(w, NULL), 0);
	walk_free(w);
	for (unsigned i = 0; i < 11; i++) {
		vring_add(&r, good, 2, false);
		assert_int_equal(virtq_pop(r.q, c), 1);
		virtq_push(r.q, c, 1000 + i);
		assert_true(vring_used(&r, &len) >= 0);
		assert_int_equal(len, 1000 + i);
	}
	virtq_free(old);
	vring_close(&r);
	free(buf);
	free(c);
}

static void queues_go_on_after_restoring(void **state)
{
	a_queue_goes_on_after_restoring(F_IND);
	a_queue_goes_on_after_restoring(F_PACK);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_follow_the_model),
		cmocka_unit_test(packed_rings_follow_the_model),
		cmocka_unit_test(split_lies_break_the_queue),
		cmocka_unit_test(packed_lies_break_the_queue),
		cmocka_unit_test(tables_that_lie_break_the_queue),
		cmocka_unit_test(a_table_of_too_many_pieces),
		cmocka_unit_test(pieces_before_a_table),
		cmocka_unit_test(rings_must_be_in_ram_and_aligned),
		cmocka_unit_test(split_sides_ask_each_other_for_silence),
		cmocka_unit_test(packed_sides_ask_each_other_for_silence),
		cmocka_unit_test(no_more_in_flight_than_the_ring_holds),
		cmocka_unit_test(bytes_cross_pieces),
		cmocka_unit_test(what_is_written_is_marked),
		cmocka_unit_test(queues_go_on_after_restoring),
	};

	if (argc > 1) {
		uint64_t seed = strtoull(argv[1], NULL, 0);

		model_run(seed, 64, F_IND);
		model_run(seed, 9, F_PACK);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
