/*
 * hub.h - hostel-switch: the process in which a switch runs, and how a
 * guest's process plugs itself in.
 *
 *	$XDG_RUNTIME_DIR/hostel/.switches/	(root: /run/hostel/..., else
 *						/tmp/hostel-UID/...), mode 0700
 *		NAME		AF_UNIX SOCK_SEQPACKET
 *		NAME.lock	held while somebody starts or ends the switch
 *
 * The first guest that needs a switch starts it; it ends with its last port.
 * Nobody else's process can come in: the directory is one user's own.
 *
 * On the socket the guest's process sends a hub_hello, and gets a hub_answer;
 * from then on each packet is one frame behind its net_hdr, in host order.
 * A port that goes away takes its addresses with it.
 */
#ifndef HOSTEL_NET_HUB_H
#define HOSTEL_NET_HUB_H

#include "net/switch.h"

#define HUB_MAGIC     0x68737731 /* with the layout's version */
#define HUB_NAME_MAX  32
#define HUB_LISTEN_FD 3
#define HUB_PATH_MAX  108

struct hub_hello {
	uint32_t magic;
	uint8_t uplink;   /* 1: join NAT to the switch, if it is not yet */
	uint8_t loopback; /* for that NAT */
	struct switch_port_config port;
};

struct hub_answer {
	int32_t error; /* 0: welcome; else -errno, and why: */
	char why[ERR_MSG_MAX];
};

/* Where the switch of that name is; makes the directory. */
int hub_path(char path[HUB_PATH_MAX], const char *name, struct err *err);
/* Takes NAME.lock; its descriptor. Closing gives it back. */
int hub_lock(const char *path, bool wait, struct err *err);
/*
 * Starts the switch if it does not run: for a guest that is to be plugged into
 * it and may start no program itself any more (vmm/sandbox.h).  It waits some
 * seconds for its first port.
 */
int hub_start(const char *name, struct err *err);
/* For the holder of the lock: the switch is gone, its files go. */
void hub_remove(const char *path);

/* hostel-switch's life: serves the listening socket until nobody is left. */
int hub_run(int listen_fd, const char *path, struct err *err);

#endif
