#include "nettest.h"

#include <errno.h>
#include <string.h>

#include "net/offload.h"

int net_attach(struct net_link *l, const struct net_nic_ops *ops, void *opaque,
	       struct err *err)
{
	l->ops = ops;
	l->opaque = opaque;
	return 0;
}

void net_close(struct net_link *l)
{
	l->closed = true;
}

void net_set_can(struct net_link *l, unsigned can)
{
	l->can = can;
}

unsigned net_peer_can(const struct net_link *l)
{
	return NET_CAN_ALL;
}

/* A card may hold its lock when it kicks: the test runs what follows. */
void net_kick(struct net_link *l)
{
	l->kicks++;
}

/* No engine here writes to it. */
int net_kick_fd(const struct net_link *l)
{
	return -1;
}

bool net_room(struct net_link *l)
{
	return !l->full;
}

int net_send(struct net_link *l, const struct net_hdr *hdr, uint8_t *frame,
	     size_t len)
{
	struct net_hdr h = *hdr;

	if (offload_check(&h, frame, len))
		return -EINVAL;
	l->sent++;
	l->hdr = h;
	l->len = len;
	memcpy(l->frame, frame, len);
	return 0;
}

void net_pause(struct net_link *l)
{
	l->pauses++;
}

void net_resume(struct net_link *l)
{
	l->pauses--;
}

int nettest_give(struct net_link *l, const struct net_hdr *hdr,
		 const uint8_t *frame, size_t len)
{
	int rc = l->ops->receive(l->opaque, hdr, frame, len);

	if (l->ops->received)
		l->ops->received(l->opaque);
	return rc;
}

/* For what a test happens to link: networks themselves are not there. */
int net_open(struct net_link **out, const struct net_config *config,
	     struct err *err)
{
	return err_set(err, ENOSYS, "no network in this test");
}
