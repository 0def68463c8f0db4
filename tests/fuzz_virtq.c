/*
 * fuzz_virtq.c - a driver that writes what it likes into a virtqueue's rings
 * between the device's steps: every piece that comes out lies in RAM, a queue
 * never yields more than it holds, and nothing hangs.
 *
 * Input: a byte of kind (packed, features, size), then steps of 8 bytes: what,
 * where (16 bits), value.
 */
#include "fuzz.h"

#include "vring.h"

#define HELD_MAX  VIRTQ_SIZE_MAX
#define STEPS_MAX 400

struct step {
	uint8_t what, area;
	uint16_t where;
	uint32_t value;
};

struct fuzz {
	struct vring r;
	struct virtq_chain *held[HELD_MAX];
	unsigned count;
	struct virtq_chain scratch;
};

static void fuzz_check(const struct fuzz *f, const struct virtq_chain *c)
{
	size_t out = 0, in = 0;

	if (c->out_count + c->in_count > VIRTQ_SEGMENTS_MAX)
		abort();
	for (unsigned i = 0; i < c->out_count + c->in_count; i++) {
		const uint8_t *at = c->iov[i].iov_base;
		size_t len = c->iov[i].iov_len;

		if (at < f->r.ram || at + len > f->r.ram + VRING_RAM)
			abort();
		*(i < c->out_count ? &out : &in) += len;
	}
	if (out != c->out_len || in != c->in_len)
		abort();
}

static void fuzz_pop(struct fuzz *f)
{
	if (virtq_pop(f->r.q, &f->scratch) != 1)
		return;
	fuzz_check(f, &f->scratch);
	if (f->count == f->r.size) /* more than the ring holds */
		abort();
	f->held[f->count] = malloc(sizeof(f->scratch));
	*f->held[f->count] = f->scratch;
	f->held[f->count]->out = f->held[f->count]->iov;
	f->held[f->count]->in = f->held[f->count]->iov + f->scratch.out_count;
	f->count++;
}

static void fuzz_push(struct fuzz *f, uint32_t value)
{
	struct virtq_chain *c;
	unsigned at;

	if (!f->count)
		return;
	at = value % f->count;
	c = f->held[at];
	f->held[at] = f->held[--f->count];
	virtq_push(f->r.q, c, value);
	free(c);
}

/* Rings, tables: anything, anywhere. */
static void fuzz_scribble(struct fuzz *f, const struct step *s)
{
	static const uint32_t base[] = { VRING_DESC, VRING_DRIVER, VRING_DEVICE,
					 VRING_TABLES };
	uint32_t at = base[s->area % 4] + s->where % (f->r.size * 16 + 8);

	memcpy(f->r.ram + at, &s->value, s->area & 0x80 ? 2 : 4);
}

static void fuzz_add(struct fuzz *f, const struct step *s)
{
	struct vring_piece p[4];
	unsigned n = 1 + s->where % 4;

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct vring_piece){ VRING_DATA + s->value % 0x1000,
					     1 + (s->value >> 16) % 5000,
					     i * 2 >= n };
	vring_add(&f->r, p, n, s->area & 1);
}

static void fuzz_step(struct fuzz *f, const struct step *s)
{
	switch (s->what % 8) {
	case 0:
	case 1:
		fuzz_add(f, s);
		break;
	case 2:
		fuzz_scribble(f, s);
		break;
	case 3:
	case 4:
		fuzz_pop(f);
		break;
	case 5:
		fuzz_push(f, s->value);
		virtq_interrupt(f->r.q);
		break;
	case 6:
		if (f->count) {
			virtq_unpop(f->r.q, 1);
			free(f->held[--f->count]);
		}
		break;
	case 7:
		virtq_disable_notify(f->r.q);
		virtq_enable_notify(f->r.q);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned sizes[] = { 1, 4, 16, 256 };
	struct fuzz *f;
	uint64_t features = VIRTIO_F_VERSION_1;

	if (len < 1)
		return 0;
	features |= data[0] & 1 ? VIRTIO_F_RING_PACKED : 0;
	features |= data[0] & 2 ? VIRTIO_F_EVENT_IDX : 0;
	features |= data[0] & 4 ? VIRTIO_F_INDIRECT_DESC : 0;
	f = calloc(1, sizeof(*f));
	vring_open(&f->r, sizes[data[0] >> 3 & 3], features);
	for (size_t i = 0; i < STEPS_MAX && 9 + i * 8 <= len; i++) {
		struct step s;

		memcpy(&s, data + 1 + i * 8, sizeof(s));
		fuzz_step(f, &s);
	}
	while (f->count)
		free(f->held[--f->count]);
	vring_close(&f->r);
	free(f);
	return 0;
}

/* Requests that go through, on each kind of ring. */
size_t fuzz_seed(unsigned i, uint8_t *buf, size_t cap)
{
	static const uint8_t turn[] = { 0, 0, 1, 3, 3, 5, 7, 0, 3, 6, 3, 5, 5 };
	size_t len = 1;

	if (i >= 32)
		return 0;
	buf[0] = (uint8_t)i;
	for (unsigned n = 0; n < 100 && len + 8 <= cap; n++) {
		struct step s = { .what = turn[n % sizeof(turn)],
				  .area = (uint8_t)(n / 3),
				  .where = (uint16_t)(n * 7),
				  .value = n * 0x01010101u };

		memcpy(buf + len, &s, sizeof(s));
		len += sizeof(s);
	}
	return len;
}
