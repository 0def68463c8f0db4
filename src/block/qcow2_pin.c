/*
 * qcow2_pin.c - who still looks: pins, and what waits for them.
 *
 * Two counters, one for even and one for odd epochs.  The epoch may go from
 * n to n+1 when nobody of n-1 is left; so what was unlinked in epoch n can be
 * seen by nobody once n+2 is reached.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void qcow2_pin_wait_thaw(struct qcow2 *q)
{
	pthread_mutex_lock(&q->lock);
	while (atomic_load(&q->frozen))
		pthread_cond_wait(&q->changed, &q->lock);
	pthread_mutex_unlock(&q->lock);
}

int qcow2_pin(struct qcow2 *q, unsigned flags)
{
	for (;;) {
		unsigned e = atomic_load(&q->epoch);

		atomic_fetch_add(&q->pins[e & 1], 1);
		/* Pairs with qcow2_freeze() and qcow2_reclaim(): all of them
		 * sequentially consistent, one sees the other. */
		if (atomic_load(&q->epoch) == e && !atomic_load(&q->frozen))
			return (int)(e & 1);
		atomic_fetch_sub(&q->pins[e & 1], 1);
		if (!atomic_load(&q->frozen))
			continue;
		if (flags & BLOCK_NOWAIT)
			return -EAGAIN;
		qcow2_pin_wait_thaw(q);
	}
}

void qcow2_unpin(struct qcow2 *q, int pin)
{
	atomic_fetch_sub(&q->pins[pin & 1], 1);
}

void qcow2_retire(struct qcow2 *q, struct qcow2_retired *r)
{
	r->epoch = atomic_load(&q->epoch);
	r->next = NULL;
	if (q->retired)
		q->retired_last->next = r;
	else
		q->retired = r;
	q->retired_last = r;
}

static void qcow2_retired_end(struct qcow2 *q, struct qcow2_retired *r)
{
	free(r->memory);
	if (r->slice) {
		free((void *)r->slice->entries);
		free(r->slice);
	}
	if (r->frees) {
		r->frees->next = q->ready;
		q->ready = r->frees;
	}
	free(r);
}

void qcow2_reclaim(struct qcow2 *q)
{
	for (int i = 0; i < 2 && q->retired; i++) {
		unsigned e = atomic_load(&q->epoch);

		if (atomic_load(&q->pins[(e + 1) & 1]))
			break;
		atomic_store(&q->epoch, e + 1);
	}
	while (q->retired) {
		struct qcow2_retired *r = q->retired;

		if (atomic_load(&q->epoch) - r->epoch < 2)
			return;
		q->retired = r->next;
		qcow2_retired_end(q, r);
	}
}

void qcow2_freeze(struct qcow2 *q)
{
	pthread_mutex_lock(&q->lock);
	while (atomic_load(&q->frozen))
		pthread_cond_wait(&q->changed, &q->lock);
	atomic_store(&q->frozen, true);
	/* Rare, and no longer than one request takes: looking is enough. */
	while (atomic_load(&q->pins[0]) || atomic_load(&q->pins[1])) {
		pthread_mutex_unlock(&q->lock);
		usleep(100);
		pthread_mutex_lock(&q->lock);
	}
	qcow2_commit_wait(q);
}

void qcow2_thaw(struct qcow2 *q)
{
	atomic_store(&q->frozen, false);
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
}
