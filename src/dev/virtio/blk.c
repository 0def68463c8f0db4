/*
 * blk.c - virtio-blk: requests from virtqueues to a block queue.
 *
 * Theory of operation
 *
 * A notification is handled in the vCPU's own thread: everything that the ring
 * holds is popped, checked and handed to the block queue, in bunches.  What
 * the host has in its page cache is done by then, and its requests go back to
 * the driver in the same breath, with one interrupt for all; what is not comes
 * back in a thread of the block queue.
 *
 * A request is the driver's: its header is copied once, its sector and length
 * are checked here for sense and in block.c against the disk's size; data goes
 * straight from or to the pieces that the virtqueue has checked.  A chain
 * without room for a status byte cannot even be refused, and breaks the queue.
 *
 * A write for which the host has no room is parked, and the board told: it
 * stops the guest, and calls virtio_blk_retry() when there may be room.  The
 * guest sees a slow disk, never an error.  Parked requests are part of the
 * saved state, by the addresses of their pieces.
 *
 * Locks: each queue has one, held while its ring is emptied (so requests of a
 * queue are submitted by one thread at a time); `lock` guards lists, and is
 * taken below it.
 */
#include "dev/virtio/blk.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "block/iov.h"
#include "block/queue.h"

#define BLK_QUEUE_SIZE  256
#define BLK_SEG_MAX     (BLK_QUEUE_SIZE - 2) /* header and status */
#define BLK_BATCH       32
#define BLK_BYTES_MAX   (64u << 20) /* of one request */
#define BLK_RANGE_MAX   (1u << 22)  /* sectors: 2 GiB, of a discard */
#define BLK_CONFIG_SIZE 60
#define BLK_KEPT_MAX    (VIRTIO_BLK_QUEUES_MAX * BLK_QUEUE_SIZE)
#define BLK_ID_BYTES    20

/* 5.2.3 */
#define BLK_F_SEG_MAX      (1ull << 2)
#define BLK_F_RO           (1ull << 5)
#define BLK_F_BLK_SIZE     (1ull << 6)
#define BLK_F_FLUSH        (1ull << 9)
#define BLK_F_TOPOLOGY     (1ull << 10)
#define BLK_F_CONFIG_WCE   (1ull << 11)
#define BLK_F_MQ           (1ull << 12)
#define BLK_F_DISCARD      (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* 5.2.6 */
enum blk_type {
	BLK_IN = 0,
	BLK_OUT = 1,
	BLK_FLUSH = 4,
	BLK_GET_ID = 8,
	BLK_DISCARD = 11,
	BLK_WRITE_ZEROES = 13,
};

enum blk_status { BLK_OK, BLK_IOERR, BLK_UNSUPP };

struct blk_header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

struct blk_range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags; /* 1: unmap */
};

struct blk;

struct blk_request {
	struct block_request r; /* first: what the block queue gives back */
	struct blk *blk;
	unsigned queue;
	pthread_t submitter;
	struct iovec *pieces; /* data that needed a list of its own; or NULL */
	struct blk_request *next; /* free or parked */
	struct virtq_chain chain;
};

struct blk {
	struct virtio_dev vd;
	struct block *disk;
	struct block_queue *io;
	struct dev_hook full;
	char id[BLK_ID_BYTES];
	uint8_t config[BLK_CONFIG_SIZE];
	atomic_bool writeback;
	pthread_mutex_t queue_lock[VIRTIO_BLK_QUEUES_MAX];
	pthread_mutex_t lock; /* guards what follows */
	struct blk_request *free;
	struct blk_request *parked, **last_parked;
};

/* --- Requests' memory ----------------------------------------------------- */

static struct blk_request *blk_get(struct blk *blk, unsigned queue)
{
	struct blk_request *req;

	pthread_mutex_lock(&blk->lock);
	req = blk->free;
	if (req)
		blk->free = req->next;
	pthread_mutex_unlock(&blk->lock);
	/* The ring bounds how many there are; the chain needs no clearing. */
	if (!req)
		req = malloc(sizeof(*req));
	if (!req)
		return NULL;
	memset(&req->r, 0, sizeof(req->r));
	req->blk = blk;
	req->queue = queue;
	req->pieces = NULL;
	return req;
}

static void blk_put(struct blk_request *req)
{
	struct blk *blk = req->blk;

	free(req->pieces);
	pthread_mutex_lock(&blk->lock);
	req->next = blk->free;
	blk->free = req;
	pthread_mutex_unlock(&blk->lock);
}

/* --- Completion ----------------------------------------------------------- */

static void blk_push(struct blk_request *req, uint8_t status)
{
	struct virtq_chain *chain = &req->chain;
	size_t len = chain->in_len;

	virtq_write(chain, len - 1, &status, 1);
	virtq_push(req->blk->vd.queue[req->queue], chain,
		   len < UINT32_MAX ? (uint32_t)len : UINT32_MAX);
	blk_put(req);
}

static void blk_park(struct blk_request *req)
{
	struct blk *blk = req->blk;

	pthread_mutex_lock(&blk->lock);
	req->next = NULL;
	*blk->last_parked = req;
	blk->last_parked = &req->next;
	pthread_mutex_unlock(&blk->lock);
	dev_hook_call(&blk->full, blk->vd.instance);
}

static bool blk_is_full(int result)
{
	return result == -ENOSPC || result == -EDQUOT;
}

/* In the submitter's thread, which interrupts by itself, or another. */
static void blk_done(struct block_request *r, int result)
{
	struct blk_request *req = (struct blk_request *)r;
	struct virtq *q = req->blk->vd.queue[req->queue];
	bool later = pthread_equal(req->submitter, pthread_self());

	if (blk_is_full(result) && req->blk->full.fn) {
		blk_park(req);
		return;
	}
	blk_push(req, result == 0          ? BLK_OK
		      : result == -ENOTSUP ? BLK_UNSUPP
					   : BLK_IOERR);
	if (!later)
		virtq_interrupt(q);
}

/* --- What a request asks -------------------------------------------------- */

/* Bytes [skip, skip + r.length) of the pieces become r.iov. */
static int blk_data(struct blk_request *req, const struct iovec *iov,
		    unsigned count, size_t skip)
{
	struct block_request *r = &req->r;
	/* As drivers do it: header and status have pieces of their own. */
	unsigned first = count && skip == iov[0].iov_len;
	unsigned n = count - first;
	size_t got;

	if (n && iov[count - 1].iov_len == 1)
		n--;
	if ((first || !skip) && iov_length(iov + first, (int)n) == r->length) {
		r->iov = iov + first;
		r->iovcnt = (int)n;
		return 0;
	}
	req->pieces = calloc(count + 1, sizeof(*req->pieces));
	if (!req->pieces)
		return -ENOMEM;
	r->iov = req->pieces;
	r->iovcnt = iov_slice(req->pieces, (int)count, iov, (int)count, skip,
			      r->length, &got);
	return got == r->length ? 0 : -EINVAL;
}

/* 5.2.5.1: how a write is to be done in the mode that was agreed upon. */
static unsigned blk_flags(const struct blk *blk)
{
	const struct virtio_dev *vd = &blk->vd;

	if (virtio_has(vd, BLK_F_CONFIG_WCE))
		return atomic_load(&blk->writeback) ? 0 : BLOCK_FUA;
	return virtio_has(vd, BLK_F_FLUSH) ? 0 : BLOCK_FUA;
}

/*
 * Each of these fills in req->r and returns BLK_SUBMIT, or says at once what
 * becomes of the request.
 */
#define BLK_SUBMIT (-1)

static int blk_sectors(struct block_request *r, uint64_t sector,
		       uint64_t length)
{
	if (sector > UINT64_MAX / BLOCK_SECTOR || length % BLOCK_SECTOR)
		return BLK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	r->length = length;
	return BLK_SUBMIT;
}

static int blk_read(struct blk_request *req, const struct blk_header *h)
{
	struct virtq_chain *c = &req->chain;
	int status = blk_sectors(&req->r, h->sector, c->in_len - 1);

	if (status != BLK_SUBMIT || req->r.length > BLK_BYTES_MAX)
		return BLK_IOERR;
	req->r.op = BLOCK_OP_READ;
	return blk_data(req, c->in, c->in_count, 0) ? BLK_IOERR : BLK_SUBMIT;
}

static int blk_write(struct blk_request *req, const struct blk_header *h)
{
	struct virtq_chain *c = &req->chain;
	int status = blk_sectors(&req->r, h->sector, c->out_len - sizeof(*h));

	if (status != BLK_SUBMIT || req->r.length > BLK_BYTES_MAX)
		return BLK_IOERR;
	req->r.op = BLOCK_OP_WRITE;
	req->r.flags = blk_flags(req->blk);
	return blk_data(req, c->out, c->out_count, sizeof(*h)) ? BLK_IOERR
							       : BLK_SUBMIT;
}

static int blk_flush(struct blk_request *req, const struct blk_header *h)
{
	req->r.op = BLOCK_OP_FLUSH;
	return BLK_SUBMIT;
}

static int blk_get_id(struct blk_request *req, const struct blk_header *h)
{
	const struct virtq_chain *c = &req->chain;
	size_t room = c->in_len - 1;

	virtq_write(c, 0, req->blk->id,
		    room < BLK_ID_BYTES ? room : BLK_ID_BYTES);
	return BLK_OK;
}

/* 5.2.6.2: one range, as max_discard_seg says. */
static int blk_range(struct blk_request *req, const struct blk_header *h)
{
	const struct virtq_chain *c = &req->chain;
	bool zero = h->type == BLK_WRITE_ZEROES;
	struct blk_range range;

	if (c->out_len != sizeof(*h) + sizeof(range) ||
	    virtq_read(c, sizeof(*h), &range, sizeof(range)) != sizeof(range))
		return BLK_IOERR;
	if (range.flags & ~(zero ? 1u : 0u))
		return BLK_UNSUPP;
	if (range.sectors > BLK_RANGE_MAX)
		return BLK_IOERR;
	req->r.op = zero ? BLOCK_OP_ZERO : BLOCK_OP_DISCARD;
	req->r.flags = (range.flags ? BLOCK_UNMAP : 0) |
		       (zero ? blk_flags(req->blk) : 0);
	return blk_sectors(&req->r, range.sector,
			   range.sectors * (uint64_t)BLOCK_SECTOR);
}

static const struct {
	enum blk_type type;
	int (*prepare)(struct blk_request *req, const struct blk_header *h);
} blk_types[] = {
	{ BLK_IN, blk_read },       { BLK_OUT, blk_write },
	{ BLK_FLUSH, blk_flush },   { BLK_GET_ID, blk_get_id },
	{ BLK_DISCARD, blk_range }, { BLK_WRITE_ZEROES, blk_range },
};

static int blk_prepare(struct blk_request *req)
{
	struct blk_header h;

	if (virtq_read(&req->chain, 0, &h, sizeof(h)) != sizeof(h))
		return BLK_IOERR;
	req->r.done = blk_done;
	for (size_t i = 0; i < sizeof(blk_types) / sizeof(blk_types[0]); i++)
		if (blk_types[i].type == h.type)
			return blk_types[i].prepare(req, &h);
	return BLK_UNSUPP;
}

/* --- A queue -------------------------------------------------------------- */

struct blk_batch {
	struct block_request *r[BLK_BATCH];
	unsigned count;
};

static void blk_submit(struct blk *blk, struct blk_batch *batch)
{
	if (batch->count)
		block_submit_many(blk->io, batch->r, batch->count);
	batch->count = 0;
}

/* False: the ring is empty, or broken. */
static bool blk_next(struct blk *blk, unsigned n, struct blk_batch *batch)
{
	struct virtq *q = blk->vd.queue[n];
	struct blk_request *req = blk_get(blk, n);
	int status;

	if (!req)
		return false;
	if (virtq_pop(q, &req->chain) != 1) {
		blk_put(req);
		return false;
	}
	if (!req->chain.in_len) {
		virtq_break(q);
		blk_put(req);
		return false;
	}
	status = blk_prepare(req);
	if (status != BLK_SUBMIT) {
		blk_push(req, (uint8_t)status);
		return true;
	}
	req->submitter = pthread_self();
	batch->r[batch->count++] = &req->r;
	if (batch->count == BLK_BATCH)
		blk_submit(blk, batch);
	return true;
}

static void blk_notify(struct virtio_dev *vd, unsigned n)
{
	struct blk *blk = (struct blk *)vd;
	struct virtq *q = vd->queue[n];
	struct blk_batch batch = { .count = 0 };

	pthread_mutex_lock(&blk->queue_lock[n]);
	do {
		virtq_disable_notify(q);
		while (blk_next(blk, n, &batch))
			;
		blk_submit(blk, &batch);
	} while (!virtq_enable_notify(q));
	pthread_mutex_unlock(&blk->queue_lock[n]);
	virtq_interrupt(q);
}

/* --- Parked requests ------------------------------------------------------ */

static struct blk_request *blk_take_parked(struct blk *blk)
{
	struct blk_request *req;

	pthread_mutex_lock(&blk->lock);
	req = blk->parked;
	blk->parked = NULL;
	blk->last_parked = &blk->parked;
	pthread_mutex_unlock(&blk->lock);
	return req;
}

static void blk_forget_parked(struct blk *blk)
{
	struct blk_request *req = blk_take_parked(blk), *next;

	for (; req; req = next) {
		next = req->next;
		blk_put(req);
	}
}

static unsigned blk_count_parked(struct blk *blk)
{
	unsigned n = 0;

	pthread_mutex_lock(&blk->lock);
	for (struct blk_request *req = blk->parked; req; req = req->next)
		n++;
	pthread_mutex_unlock(&blk->lock);
	return n;
}

/* One that came out of a saved state: it may be answered at once. */
static bool blk_understand(struct blk_request *req)
{
	int status = blk_prepare(req);

	if (status != BLK_SUBMIT)
		blk_push(req, (uint8_t)status);
	return status == BLK_SUBMIT;
}

unsigned virtio_blk_retry(struct virtio_dev *vd)
{
	struct blk *blk = (struct blk *)vd;
	struct blk_request *req = blk_take_parked(blk), *next;

	for (; req; req = next) {
		next = req->next;
		req->submitter = pthread_self();
		if (req->r.done || blk_understand(req))
			block_submit(blk->io, &req->r);
	}
	block_queue_drain(blk->io);
	for (unsigned i = 0; i < vd->queue_count; i++)
		virtq_interrupt(vd->queue[i]);
	return blk_count_parked(blk);
}

void virtio_blk_stats(struct virtio_dev *vd, struct block_queue_stats *out)
{
	block_queue_stats(((struct blk *)vd)->io, out);
}

struct block *virtio_blk_disk(struct virtio_dev *vd)
{
	return ((struct blk *)vd)->disk;
}

/* --- The device ----------------------------------------------------------- */

/* A vCPU that is still in blk_notify() comes out first. */
static void blk_reset(struct virtio_dev *vd)
{
	struct blk *blk = (struct blk *)vd;

	for (unsigned i = 0; i < vd->queue_count; i++) {
		pthread_mutex_lock(&blk->queue_lock[i]);
		pthread_mutex_unlock(&blk->queue_lock[i]);
	}
	block_queue_drain(blk->io);
	blk_forget_parked(blk);
	atomic_store(&blk->writeback, !blk->disk->writethrough);
}

static void blk_drain(struct virtio_dev *vd)
{
	struct blk *blk = (struct blk *)vd;

	block_queue_drain(blk->io);
}

/* The one byte that the driver may change: 5.2.4, writeback. */
#define BLK_CONFIG_WRITEBACK 32

static void blk_write_config(struct virtio_dev *vd, unsigned offset,
			     const void *buf, unsigned len)
{
	struct blk *blk = (struct blk *)vd;

	if (offset != BLK_CONFIG_WRITEBACK || len != 1 ||
	    !virtio_has(vd, BLK_F_CONFIG_WCE))
		return;
	atomic_store(&blk->writeback, *(const uint8_t *)buf & 1);
}

static void blk_read_config(struct virtio_dev *vd, unsigned offset, void *buf,
			    unsigned len)
{
	struct blk *blk = (struct blk *)vd;
	uint8_t config[BLK_CONFIG_SIZE];

	memcpy(config, blk->config, sizeof(config));
	config[BLK_CONFIG_WRITEBACK] = atomic_load(&blk->writeback);
	memcpy(buf, config + offset, len);
}

static void blk_free(struct virtio_dev *vd)
{
	struct blk *blk = (struct blk *)vd;
	struct blk_request *req, *next;

	block_queue_free(blk->io);
	blk_forget_parked(blk);
	for (req = blk->free; req; req = next) {
		next = req->next;
		free(req);
	}
	block_close(blk->disk);
	for (unsigned i = 0; i < VIRTIO_BLK_QUEUES_MAX; i++)
		pthread_mutex_destroy(&blk->queue_lock[i]);
	pthread_mutex_destroy(&blk->lock);
	free(blk);
}

/* --- State ---------------------------------------------------------------- */

/* A piece is an address and a length. */
static void blk_walk_pieces(struct blk_request *req, struct walk *w,
			    unsigned count)
{
	struct mem *mem = req->blk->vd.env->mem;
	uint64_t piece[2 * VIRTQ_SEGMENTS_MAX];

	for (unsigned i = 0; i < count && !walk_restoring(w); i++) {
		piece[2 * i] = mem_gpa(mem, req->chain.iov[i].iov_base);
		piece[2 * i + 1] = req->chain.iov[i].iov_len;
	}
	walk_u64s(w, "pieces", piece, 2 * (size_t)count);
	for (unsigned i = 0; i < count && walk_restoring(w); i++) {
		void *host = mem_host(mem, piece[2 * i], piece[2 * i + 1]);

		if (!host)
			walk_fail(w, "virtio-blk: a request outside RAM");
		req->chain.iov[i].iov_base = host;
		req->chain.iov[i].iov_len = host ? piece[2 * i + 1] : 0;
	}
}

static void blk_walk_counts(struct blk_request *req, struct walk *w)
{
	struct virtq_chain *c = &req->chain;
	uint32_t out = c->out_count, in = c->in_count, queue = req->queue;

	walk_u32(w, "queue", &queue);
	walk_u16(w, "head", &c->head);
	walk_u16(w, "slots", &c->slots);
	walk_u32(w, "out", &out);
	walk_u32(w, "in", &in);
	if (!walk_restoring(w))
		return;
	if (queue >= req->blk->vd.queue_count || !in ||
	    out > VIRTQ_SEGMENTS_MAX || in > VIRTQ_SEGMENTS_MAX - out) {
		walk_fail(w, "virtio-blk: an impossible request");
		queue = out = in = 0;
	}
	req->queue = queue;
	c->out_count = out;
	c->in_count = in;
}

static void blk_walk_request(struct blk_request *req, struct walk *w,
			     unsigned n)
{
	struct virtq_chain *c = &req->chain;
	unsigned instance = req->blk->vd.instance * BLK_KEPT_MAX + n;

	if (!walk_section(w, "virtio-blk-kept", instance, 1))
		return;
	blk_walk_counts(req, w);
	blk_walk_pieces(req, w, c->out_count + c->in_count);
	walk_end(w);
	if (!walk_restoring(w))
		return;
	c->out = c->iov;
	c->in = c->iov + c->out_count;
	c->out_len = iov_length(c->out, (int)c->out_count);
	c->in_len = iov_length(c->in, (int)c->in_count);
}

/* Requests are understood again by virtio_blk_retry(), when RAM is there. */
static void blk_restore_kept(struct blk *blk, struct walk *w, unsigned kept)
{
	for (unsigned i = 0; i < kept; i++) {
		struct blk_request *req = blk_get(blk, 0);

		if (!req)
			return walk_fail(w, "out of memory");
		memset(&req->chain, 0, offsetof(struct virtq_chain, iov));
		blk_walk_request(req, w, i);
		if (req->chain.in_len)
			blk_park(req);
		else
			blk_put(req);
	}
}

static void blk_walk(struct virtio_dev *vd, struct walk *w)
{
	struct blk *blk = (struct blk *)vd;
	bool writeback = atomic_load(&blk->writeback);
	uint32_t kept = blk_count_parked(blk), i = 0;

	if (!walk_section(w, "virtio-blk", vd->instance, 1))
		return;
	walk_bool(w, "writeback", &writeback);
	walk_u32(w, "kept", &kept);
	walk_end(w);
	atomic_store(&blk->writeback, writeback);
	if (walk_restoring(w)) {
		blk_forget_parked(blk);
		if (kept > BLK_KEPT_MAX)
			walk_fail(w, "virtio-blk: too many requests");
		else
			blk_restore_kept(blk, w, kept);
		return;
	}
	for (struct blk_request *req = blk->parked; req; req = req->next)
		blk_walk_request(req, w, i++);
}

static const struct virtio_ops blk_ops = {
	.read_config = blk_read_config,
	.write_config = blk_write_config,
	.notify = blk_notify,
	.reset = blk_reset,
	.drain = blk_drain,
	.walk = blk_walk,
	.free = blk_free,
};

/* --- Creation ------------------------------------------------------------- */

static void blk_put_config(struct blk *blk, unsigned offset, uint64_t value,
			   unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		blk->config[offset + i] = (uint8_t)(value >> i * 8);
}

/* 5.2.4; what is not set is 0. */
static void blk_fill_config(struct blk *blk, unsigned queues)
{
	uint64_t sectors = atomic_load(&blk->disk->size) / BLOCK_SECTOR;

	blk_put_config(blk, 0, sectors, 8);
	blk_put_config(blk, 12, BLK_SEG_MAX, 4);
	blk_put_config(blk, 20, BLOCK_SECTOR, 4);
	blk_put_config(blk, 24, 3, 1); /* physical blocks of 2^3 sectors */
	blk_put_config(blk, 26, 8, 2); /* smallest good I/O: 4 KiB */
	blk_put_config(blk, 34, queues, 2);
	blk_put_config(blk, 36, BLK_RANGE_MAX, 4);
	blk_put_config(blk, 40, 1, 4); /* ranges in a discard */
	blk_put_config(blk, 44, 8, 4); /* aligned to 4 KiB */
	blk_put_config(blk, 48, BLK_RANGE_MAX, 4);
	blk_put_config(blk, 52, 1, 4); /* ranges in a write-zeroes */
	blk_put_config(blk, 56, 1, 1); /* which may unmap */
}

static void blk_init(struct blk *blk, struct dev_env *env,
		     const struct virtio_blk_config *config)
{
	blk->vd = (struct virtio_dev){
		.ops = &blk_ops,
		.name = "virtio-blk",
		.env = env,
		.id = VIRTIO_ID_BLOCK,
		.class_code = 0x010000,
		.offered = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH |
			   BLK_F_TOPOLOGY | BLK_F_CONFIG_WCE | BLK_F_MQ |
			   (blk->disk->readonly
				    ? BLK_F_RO
				    : BLK_F_DISCARD | BLK_F_WRITE_ZEROES),
		.queue_count = config->queues,
		.queue_size = BLK_QUEUE_SIZE,
		.config_size = BLK_CONFIG_SIZE,
	};
	blk->full = config->full;
	if (config->serial)
		memcpy(blk->id, config->serial,
		       strnlen(config->serial, BLK_ID_BYTES));
	atomic_init(&blk->writeback, !blk->disk->writethrough);
	blk_fill_config(blk, config->queues);
}

int virtio_blk_new(struct virtio_dev **out, struct dev_env *env,
		   const struct virtio_blk_config *config, struct err *err)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int rc;

	if (!blk) {
		block_close(config->disk);
		return err_set(err, ENOMEM, "out of memory");
	}
	blk->disk = config->disk;
	blk->last_parked = &blk->parked;
	pthread_mutex_init(&blk->lock, NULL);
	for (unsigned i = 0; i < VIRTIO_BLK_QUEUES_MAX; i++)
		pthread_mutex_init(&blk->queue_lock[i], NULL);
	blk_init(blk, env, config);
	rc = block_queue_new(&blk->io, blk->disk, err);
	if (rc < 0)
		blk_free(&blk->vd);
	else
		*out = &blk->vd;
	return rc;
}
