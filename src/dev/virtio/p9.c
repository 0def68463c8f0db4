/*
 * p9.c - virtio-9p: the device and its thread.
 *
 * Theory of operation
 *
 * A notification wakes the device's thread, which takes requests from the
 * queue one by one: each is copied out whole, served (p9_op.c), and its answer
 * copied in.  So nothing of the host's file system ever holds up a vCPU, and
 * a slow directory delays only who looks at it.
 *
 * Reset and drain wait until the thread has laid down its request.  The
 * thread has a umask of its own (the guest's modes are the guest's).
 */
#include "dev/virtio/p9.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dev/virtio/p9_impl.h"

#define P9_QUEUE_SIZE 128
#define P9_MOUNT_TAG  (1ull << 0)

struct p9 {
	struct virtio_dev vd;
	uint8_t config[2 + P9_TAG_MAX];
	struct p9_fs fs; /* the thread's; others' while it is idle and held */
	uint8_t *in, *out;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake, idle;
	bool work;  /* look at the queue */
	bool again; /* once more after this time */
	bool busy, stop;
	struct virtq_chain chain; /* the thread's */
};

/* --- The thread ------------------------------------------------------------
 */

/* An answer that does not fit, or a request without sense: no answer. */
static void p9_one(struct p9 *p, struct virtq *q)
{
	struct virtq_chain *c = &p->chain;
	uint32_t room =
		c->in_len < P9_MSIZE_MAX ? (uint32_t)c->in_len : P9_MSIZE_MAX;
	size_t len = virtq_read(c, 0, p->in, P9_MSIZE_MAX);
	uint32_t n = p9_serve(&p->fs, p->in, (uint32_t)len, p->out, room);

	virtq_write(c, 0, p->out, n);
	virtq_push(q, c, n);
	virtq_interrupt(q);
}

static bool p9_is_wanted(struct p9 *p)
{
	pthread_mutex_lock(&p->lock);
	bool wanted = p->work;
	pthread_mutex_unlock(&p->lock);
	return wanted;
}

static void p9_work(struct p9 *p)
{
	struct virtq *q = p->vd.queue[0];

	do {
		virtq_disable_notify(q);
		while (p9_is_wanted(p) && virtq_pop(q, &p->chain) == 1)
			p9_one(p, q);
	} while (!virtq_enable_notify(q) && p9_is_wanted(p));
}

static void *p9_main(void *opaque)
{
	struct p9 *p = opaque;

	/* Where that is refused, the guest's files are for one user only. */
	if (unshare(CLONE_FS) == 0)
		umask(0);
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (!p->work) {
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		p->busy = true;
		pthread_mutex_unlock(&p->lock);
		p9_work(p);
		pthread_mutex_lock(&p->lock);
		p->busy = false;
		p->work = p->again;
		p->again = false;
		pthread_cond_broadcast(&p->idle);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* --- The device ------------------------------------------------------------
 */

static void p9_notify(struct virtio_dev *vd, unsigned n)
{
	struct p9 *p = (struct p9 *)vd;

	pthread_mutex_lock(&p->lock);
	p->work = true;
	p->again = p->busy;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

/* With the lock held: the request at hand is the last one. */
static void p9_lay_down(struct p9 *p)
{
	p->work = false;
	p->again = false;
	while (p->busy)
		pthread_cond_wait(&p->idle, &p->lock);
}

static void p9_reset(struct virtio_dev *vd)
{
	struct p9 *p = (struct p9 *)vd;

	pthread_mutex_lock(&p->lock);
	p9_lay_down(p);
	p9_fs_forget(&p->fs);
	pthread_mutex_unlock(&p->lock);
}

/* What the ring holds stays there; the next notification finds it. */
static void p9_drain(struct virtio_dev *vd)
{
	struct p9 *p = (struct p9 *)vd;

	pthread_mutex_lock(&p->lock);
	while (p->busy || p->work)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static void p9_walk(struct virtio_dev *vd, struct walk *w)
{
	struct p9 *p = (struct p9 *)vd;

	if (!walk_section(w, "virtio-9p", vd->instance, 1))
		return;
	pthread_mutex_lock(&p->lock);
	p9_fs_walk(&p->fs, w);
	pthread_mutex_unlock(&p->lock);
	walk_end(w);
}

static void p9_free(struct virtio_dev *vd)
{
	struct p9 *p = (struct p9 *)vd;

	pthread_mutex_lock(&p->lock);
	p->stop = true;
	p->work = false;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (p->started)
		pthread_join(p->thread, NULL);
	p9_fs_exit(&p->fs);
	pthread_cond_destroy(&p->idle);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->in);
	free(p->out);
	free(p);
}

static const struct virtio_ops p9_ops = {
	.notify = p9_notify,
	.reset = p9_reset,
	.drain = p9_drain,
	.walk = p9_walk,
	.free = p9_free,
};

/* --- Creation --------------------------------------------------------------
 */

static int p9_check_tag(const char *tag, struct err *err)
{
	size_t n = strlen(tag);

	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)tag[i]) || tag[i] == ',')
			n = 0;
	if (n && n <= P9_TAG_MAX)
		return 0;
	return err_set(err, EINVAL,
		       "-v: '%.64s' is no name to mount by: 1 to %d letters, "
		       "digits or signs",
		       tag, P9_TAG_MAX);
}

static void p9_init(struct p9 *p, struct dev_env *env, const char *tag)
{
	size_t n = strlen(tag);

	p->config[0] = (uint8_t)n;
	memcpy(p->config + 2, tag, n);
	p->vd = (struct virtio_dev){
		.ops = &p9_ops,
		.name = "virtio-9p",
		.env = env,
		.id = VIRTIO_ID_9P,
		.class_code = 0x018000,
		.offered = P9_MOUNT_TAG,
		.queue_count = 1,
		.queue_size = P9_QUEUE_SIZE,
		.config_size = (unsigned)(2 + n),
		.config = p->config,
	};
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->idle, NULL);
	p->fs.root = p->fs.self_fds = -1;
}

static int p9_start(struct p9 *p, struct err *err)
{
	int rc;

	p->in = malloc(P9_MSIZE_MAX);
	p->out = malloc(P9_MSIZE_MAX);
	if (!p->in || !p->out)
		return err_set(err, ENOMEM, "out of memory");
	rc = pthread_create(&p->thread, NULL, p9_main, p);
	if (rc)
		return err_set(err, rc, "-v: cannot start a thread: %s",
			       strerror(rc));
	p->started = true;
	return 0;
}

int virtio_9p_new(struct virtio_dev **out, struct dev_env *env, const char *dir,
		  const char *tag, bool readonly, struct err *err)
{
	struct p9 *p;
	int rc = p9_check_tag(tag, err);

	if (rc < 0)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p9_init(p, env, tag);
	rc = p9_fs_init(&p->fs, dir, readonly, err);
	if (rc == 0)
		rc = p9_start(p, err);
	if (rc < 0)
		p9_free(&p->vd);
	else
		*out = &p->vd;
	return rc;
}
