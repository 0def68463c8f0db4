/*
 * vsock.c - virtio-vsock: see vsock.h.
 *
 * All work is done by the I/O loop's thread: the driver's notifications ring
 * an eventfd, which lies in the device's epoll with the sockets; the epoll is
 * one descriptor of the loop.  So sockets may be closed by whoever holds the
 * lock, without asking the loop.
 *
 * One round (vsock_pump) hears what happened, takes packets from the guest,
 * gives it what there is, and leaves after VSOCK_BUDGET of each: the loop has
 * timers to serve.  Where work is left it rings for itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/virtio/vsock_impl.h"

#define VSOCK_F_STREAM (1ull << 0)

#define VSOCK_RX    0 /* queues */
#define VSOCK_TX    1
#define VSOCK_EVENT 2

#define VSOCK_QUEUE_SIZE     256
#define VSOCK_BUDGET         256
#define VSOCK_EVENTS         64
#define VSOCK_SETTLE_NS      1000000000ull
#define VSOCK_SETTLE_STEP_NS 2000000ull

/* Slots of what is no connection, in events. */
#define VSOCK_SLOT_KICK   VSOCK_CONNS_MAX
#define VSOCK_SLOT_LISTEN (VSOCK_CONNS_MAX + 1)

/* 5.10.6.7 */
#define VSOCK_TRANSPORT_RESET 0u

int virtio_vsock_check_cid(uint64_t cid, struct err *err)
{
	if (cid > VSOCK_CID_HOST && cid < UINT32_MAX)
		return 0;
	return err_set(err, EINVAL,
		       "%llu cannot be a guest's context ID; choose one from "
		       "3 to 4294967294",
		       (unsigned long long)cid);
}

static void vsock_kick(struct vsock *v)
{
	eventfd_write(v->kick, 1);
}

/* --- Queues --------------------------------------------------------------- */

/* The next chain; false: there is none, and we shall hear of one. */
static bool vsock_pop(struct vsock *v, struct virtq *q)
{
	int rc = virtq_pop(q, &v->chain);

	while (rc == 0 && !virtq_enable_notify(q))
		rc = virtq_pop(q, &v->chain);
	return rc == 1;
}

/* While resets wait for buffers, nothing that may cause one is taken. */
static void vsock_take(struct vsock *v)
{
	struct virtq *q = v->vd.queue[VSOCK_TX];
	unsigned n = 0;

	virtq_disable_notify(q);
	while (n < VSOCK_BUDGET && v->reply_count < VSOCK_REPLIES_SOFT &&
	       vsock_pop(v, q)) {
		vsock_take_packet(v, &v->chain);
		virtq_push(q, &v->chain, 0);
		n++;
	}
	if (n)
		virtq_interrupt(q);
	if (n == VSOCK_BUDGET)
		vsock_kick(v);
}

/* A buffer without room for a byte behind the header is no buffer. */
static bool vsock_usable(struct virtq *q, const struct virtq_chain *chain)
{
	if (chain->in_len > sizeof(struct vsock_hdr))
		return true;
	virtq_break(q);
	return false;
}

static void vsock_give(struct vsock *v)
{
	struct virtq *q = v->vd.queue[VSOCK_RX];
	bool full = v->reply_count >= VSOCK_REPLIES_SOFT;
	unsigned n = 0;
	uint32_t len;

	virtq_disable_notify(q);
	while (n < VSOCK_BUDGET && vsock_has_packet(v) && vsock_pop(v, q)) {
		if (!vsock_usable(q, &v->chain))
			return;
		len = vsock_put_packet(v, &v->chain);
		if (len) {
			virtq_push(q, &v->chain, len);
			n++;
		} else {
			virtq_unpop(q, 1);
		}
	}
	if (n)
		virtq_interrupt(q);
	/* Work is left, or what stood still can go on. */
	if (n == VSOCK_BUDGET || (full && n))
		vsock_kick(v);
}

/* Buffers for events that wait; v->chain is used. */
static unsigned vsock_count_events(struct vsock *v)
{
	struct virtq *q = v->vd.queue[VSOCK_EVENT];
	unsigned n = 0;

	while (n < VSOCK_QUEUE_SIZE && virtq_pop(q, &v->chain) == 1)
		n++;
	virtq_unpop(q, n);
	return n;
}

/*
 * The driver resets all connections when it takes the event, and says nothing
 * of them, newer ones included.  So there is none until it has put the
 * event's buffer back, or has had time enough to.
 */
static bool vsock_settled(struct vsock *v)
{
	uint64_t now = vclock_now(v->vd.env->clock);

	if (!v->unsettled_until)
		return true;
	if (now < v->unsettled_until &&
	    (v->event || vsock_count_events(v) <= v->events_left)) {
		timer_arm(&v->resume, now + VSOCK_SETTLE_STEP_NS);
		return false;
	}
	v->unsettled_until = 0;
	return true;
}

/* 5.10.6.7: waits until the driver has put a buffer there. */
static void vsock_tell_event(struct vsock *v)
{
	struct virtq *q = v->vd.queue[VSOCK_EVENT];
	uint32_t id = VSOCK_TRANSPORT_RESET;

	if (!v->event)
		return;
	v->events_left = vsock_count_events(v);
	if (!vsock_pop(v, q))
		return;
	v->events_left -= v->events_left > 0;
	v->event = false;
	virtq_push(q, &v->chain,
		   (uint32_t)virtq_write(&v->chain, 0, &id, sizeof(id)));
	virtq_interrupt(q);
}

/* --- The loop ------------------------------------------------------------- */

static void vsock_event(struct vsock *v, const struct epoll_event *ev)
{
	unsigned slot = (uint32_t)ev->data.u64;
	struct vsock_conn *c;
	eventfd_t count;

	if (slot == VSOCK_SLOT_KICK) {
		eventfd_read(v->kick, &count);
		return;
	}
	if (slot == VSOCK_SLOT_LISTEN) {
		v->acceptable = true;
		return;
	}
	c = v->conn[slot];
	if (c && c->serial == (uint32_t)(ev->data.u64 >> 32))
		vsock_host_event(v, c, ev->events);
}

/* What happened to descriptors; they are edge-triggered, so never lost. */
static void vsock_hear(struct vsock *v)
{
	struct epoll_event ev[VSOCK_EVENTS];
	int n = epoll_wait(v->epoll, ev, VSOCK_EVENTS, 0);

	for (int i = 0; i < n; i++)
		vsock_event(v, &ev[i]);
}

static void vsock_pump(struct vsock *v)
{
	vsock_hear(v);
	if (v->drained)
		return;
	if (v->running)
		vsock_tell_event(v);
	if (vsock_settled(v))
		vsock_host_accept(v);
	if (!v->running) {
		vsock_close_all(v); /* nobody is there yet */
		return;
	}
	vsock_take(v);
	vsock_give(v);
}

/* Loop. */
static void vsock_on_loop(void *opaque, int fd, uint32_t events)
{
	struct vsock *v = opaque;

	pthread_mutex_lock(&v->lock);
	vsock_pump(v);
	pthread_mutex_unlock(&v->lock);
}

static void vsock_try_again(struct vsock *v, struct vsock_conn *c)
{
	int rc = vsock_host_connect(v, c);

	if (rc == -EAGAIN && ++c->retries < VSOCK_RETRIES)
		timer_arm(&v->retry,
			  vclock_now(v->vd.env->clock) + VSOCK_RETRY_NS);
	else if (rc < 0)
		vsock_reset_conn(v, c);
	else
		vsock_set_ready(v, c);
}

/* Loop: backlogs that were full may have room now. */
static void vsock_on_retry(void *opaque)
{
	struct vsock *v = opaque;

	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		if (v->conn[i] && v->conn[i]->state == VSOCK_CONNECTING)
			vsock_try_again(v, v->conn[i]);
	vsock_pump(v);
	pthread_mutex_unlock(&v->lock);
}

/* Timers stand still while the guest is paused: this one says that it runs. */
static void vsock_on_resume(void *opaque)
{
	struct vsock *v = opaque;

	pthread_mutex_lock(&v->lock);
	v->drained = false;
	vsock_pump(v);
	pthread_mutex_unlock(&v->lock);
}

/* --- The device ----------------------------------------------------------- */

static void vsock_notify(struct virtio_dev *vd, unsigned n)
{
	vsock_kick((struct vsock *)vd);
}

static int vsock_notify_fd(struct virtio_dev *vd, unsigned n)
{
	return ((struct vsock *)vd)->kick;
}

static void vsock_driver_ok(struct virtio_dev *vd)
{
	struct vsock *v = (struct vsock *)vd;

	pthread_mutex_lock(&v->lock);
	v->running = true;
	pthread_mutex_unlock(&v->lock);
}

static void vsock_reset(struct virtio_dev *vd)
{
	struct vsock *v = (struct vsock *)vd;

	pthread_mutex_lock(&v->lock);
	v->running = false;
	v->event = false;
	v->unsettled_until = 0;
	vsock_close_all(v);
	pthread_mutex_unlock(&v->lock);
}

/* Nothing is ever held but under the lock: the rings are complete. */
static void vsock_drain(struct virtio_dev *vd)
{
	struct vsock *v = (struct vsock *)vd;

	pthread_mutex_lock(&v->lock);
	v->drained = true;
	pthread_mutex_unlock(&v->lock);
	timer_arm(&v->resume, vclock_now(vd->env->clock));
}

static void vsock_walk(struct virtio_dev *vd, struct walk *w)
{
	struct vsock *v = (struct vsock *)vd;

	if (!walk_section(w, vd->name, vd->instance, 1))
		return;
	pthread_mutex_lock(&v->lock);
	walk_bool(w, "running", &v->running);
	walk_u32(w, "next_port", &v->next_port);
	walk_end(w);
	if (walk_restoring(w)) {
		vsock_close_all(v);
		v->event = v->running;
		v->unsettled_until = v->running ? vclock_now(vd->env->clock) +
							  VSOCK_SETTLE_NS
						: 0;
		v->drained = true;
		timer_arm(&v->resume, vclock_now(vd->env->clock));
	}
	pthread_mutex_unlock(&v->lock);
}

static void vsock_destroy(struct vsock *v)
{
	vsock_close_all(v);
	vsock_host_exit(v);
	if (v->epoll >= 0)
		close(v->epoll);
	if (v->kick >= 0)
		close(v->kick);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

static void vsock_free(struct virtio_dev *vd)
{
	struct vsock *v = (struct vsock *)vd;

	loop_del_fd(vd->env->loop, v->epoll);
	timer_disarm(&v->resume);
	timer_disarm(&v->retry);
	vsock_destroy(v);
}

static const struct virtio_ops vsock_ops = {
	.driver_ok = vsock_driver_ok,
	.notify = vsock_notify,
	.notify_fd = vsock_notify_fd,
	.reset = vsock_reset,
	.drain = vsock_drain,
	.walk = vsock_walk,
	.free = vsock_free,
};

static int vsock_open_loop(struct vsock *v, struct err *err)
{
	v->epoll = epoll_create1(EPOLL_CLOEXEC);
	v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->epoll < 0 || v->kick < 0 ||
	    vsock_host_watch(v, v->kick, VSOCK_SLOT_KICK, 0) ||
	    vsock_host_watch(v, v->listener, VSOCK_SLOT_LISTEN, 0) ||
	    loop_add_fd(v->vd.env->loop, v->epoll, EPOLLIN, vsock_on_loop, v))
		return err_set(err, EMFILE, "cannot watch vsock's sockets");
	return 0;
}

static void vsock_init(struct vsock *v, struct dev_env *env, uint64_t cid)
{
	pthread_mutex_init(&v->lock, NULL);
	timer_init(&v->resume, env->loop, vsock_on_resume, v);
	timer_init(&v->retry, env->loop, vsock_on_retry, v);
	v->cid = cid;
	v->listener = v->epoll = v->kick = -1;
	v->ready_last = &v->ready_first;
	v->vd = (struct virtio_dev){
		.ops = &vsock_ops,
		.name = "virtio-vsock",
		.env = env,
		.id = VIRTIO_ID_VSOCK,
		.class_code = 0x078000, /* a communication controller */
		.offered = VSOCK_F_STREAM,
		.queue_count = 3,
		.queue_size = VSOCK_QUEUE_SIZE,
		.config_size = sizeof(v->cid),
		.config = (uint8_t *)&v->cid,
	};
}

int virtio_vsock_new(struct virtio_dev **out, struct dev_env *env, uint64_t cid,
		     const char *path, struct err *err)
{
	struct vsock *v;
	int rc = virtio_vsock_check_cid(cid, err);

	if (rc)
		return rc;
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(err, ENOMEM, "out of memory");
	vsock_init(v, env, cid);
	rc = vsock_host_listen(v, path, err);
	if (rc == 0)
		rc = vsock_open_loop(v, err);
	if (rc) {
		vsock_destroy(v);
		return rc;
	}
	*out = &v->vd;
	return 0;
}
