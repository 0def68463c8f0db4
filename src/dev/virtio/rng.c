/* rng.c - virtio-rng: see rng.h.  The shortest device, a start for others. */
#include "dev/virtio/rng.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

/* A request gets this much at most: it is served in the vCPU's own thread. */
#define RNG_BYTES_MAX 4096

struct rng {
	struct virtio_dev vd;
	pthread_mutex_t lock; /* guards chain */
	struct virtq_chain chain;
};

/* getrandom() neither blocks nor fails once the host has booted. */
static uint32_t rng_fill(const struct virtq_chain *chain)
{
	uint8_t bytes[RNG_BYTES_MAX];
	size_t want =
		chain->in_len < sizeof(bytes) ? chain->in_len : sizeof(bytes);
	ssize_t got = getrandom(bytes, want, 0);

	return got > 0 ? (uint32_t)virtq_write(chain, 0, bytes, (size_t)got)
		       : 0;
}

static void rng_notify(struct virtio_dev *vd, unsigned n)
{
	struct rng *rng = (struct rng *)vd;
	struct virtq *q = vd->queue[n];

	pthread_mutex_lock(&rng->lock);
	do {
		virtq_disable_notify(q);
		while (virtq_pop(q, &rng->chain) == 1)
			virtq_push(q, &rng->chain, rng_fill(&rng->chain));
	} while (!virtq_enable_notify(q));
	pthread_mutex_unlock(&rng->lock);
	virtq_interrupt(q);
}

static void rng_free(struct virtio_dev *vd)
{
	struct rng *rng = (struct rng *)vd;

	pthread_mutex_destroy(&rng->lock);
	free(rng);
}

static const struct virtio_ops rng_ops = {
	.notify = rng_notify,
	.free = rng_free,
};

int virtio_rng_new(struct virtio_dev **out, struct dev_env *env,
		   struct err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));

	if (!rng)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_init(&rng->lock, NULL);
	rng->vd = (struct virtio_dev){
		.ops = &rng_ops,
		.name = "virtio-rng",
		.env = env,
		.id = VIRTIO_ID_RNG,
		.class_code = 0xff0000,
		.queue_count = 1,
		.queue_size = 8,
	};
	*out = &rng->vd;
	return 0;
}
