/*
 * tap.c - a tap interface of the host's, for those who may use it: made by
 * its owner (`ip tuntap add dev NAME mode tap user USER`), or on the fly with
 * CAP_NET_ADMIN.  Source: Linux, Documentation/networking/tuntap.rst.
 *
 * Frames carry the kernel's virtio_net_hdr, so that checksums and segments
 * stay undone all the way between two guests or to a real card.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/backend.h"

#define TAP_BATCH 32

struct tap {
	struct net_backend backend;
	int fd;
	int index;
	uint8_t frame[NET_FRAME_MAX];
};

/* A full interface drops, as a wire without flow control does. */
static void tap_send(struct net_backend *b, const struct net_hdr *hdr,
		     uint8_t *frame, size_t len)
{
	struct iovec iov[2] = { { (void *)hdr, sizeof(*hdr) }, { frame, len } };

	while (writev(((struct tap *)b)->fd, iov, 2) < 0 && errno == EINTR)
		;
}

static void tap_fill(struct net_backend *b, struct net_poll *p)
{
	struct tap *tap = (struct tap *)b;

	tap->index = net_poll_add(p, tap->fd, net_wanted(b->link) ? POLLIN : 0);
}

static void tap_polled(struct net_backend *b, const struct net_poll *p)
{
	struct tap *tap = (struct tap *)b;
	struct net_hdr hdr;
	struct iovec iov[2] = { { &hdr, sizeof(hdr) },
				{ tap->frame, sizeof(tap->frame) } };

	if (!(net_poll_got(p, tap->index) & POLLIN))
		return;
	for (int i = 0; i < TAP_BATCH && net_wanted(b->link); i++) {
		ssize_t n = readv(tap->fd, iov, 2);

		if (n <= (ssize_t)sizeof(hdr))
			return;
		net_deliver(b->link, &hdr, tap->frame, (size_t)n - sizeof(hdr));
	}
}

static void tap_free(struct net_backend *b)
{
	struct tap *tap = (struct tap *)b;

	if (tap->fd >= 0)
		close(tap->fd);
	free(tap);
}

static const struct net_backend_ops tap_ops = {
	.send = tap_send,
	.fill = tap_fill,
	.polled = tap_polled,
	.free = tap_free,
};

static int tap_refuse(const char *name, int code, struct err *err)
{
	if (code == EPERM || code == EACCES)
		return err_set(err, code,
			       "tap %s: not permitted; let root run 'ip tuntap "
			       "add dev %s mode tap user %u' first",
			       name, name, geteuid());
	return err_set(err, code, "tap %s: %s", name,
		       code == EBUSY ? "another guest has it" : strerror(code));
}

static int tap_open(struct tap *tap, const char *name, struct err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int size = sizeof(struct net_hdr);

	if (!name || !*name || strlen(name) >= sizeof(ifr.ifr_name))
		return err_set(err, EINVAL,
			       "write tap:DEVICE, with a name of at most %zu "
			       "letters",
			       sizeof(ifr.ifr_name) - 1);
	memcpy(ifr.ifr_name, name, strlen(name));
	tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0)
		return err_set(err, errno, "cannot open /dev/net/tun: %s",
			       strerror(errno));
	if (ioctl(tap->fd, TUNSETIFF, &ifr) ||
	    ioctl(tap->fd, TUNSETVNETHDRSZ, &size) ||
	    ioctl(tap->fd, TUNSETOFFLOAD, offload))
		return tap_refuse(name, errno, err);
	return 0;
}

int tap_new(struct net_backend **out, const struct net_config *config,
	    struct err *err)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int rc;

	if (!tap)
		return err_set(err, ENOMEM, "out of memory");
	tap->backend.ops = &tap_ops;
	tap->backend.can = NET_CAN_ALL;
	tap->fd = -1;
	rc = tap_open(tap, config->name, err);
	if (rc < 0)
		tap_free(&tap->backend);
	else
		*out = &tap->backend;
	return rc;
}
