/*
 * nics.h - the networks of a guest's description: --net and -p.
 */
#ifndef HOSTEL_MACHINE_NICS_H
#define HOSTEL_MACHINE_NICS_H

#include "machine/config.h"
#include "net/net.h"

struct nics_card {
	struct net_link *link;
	uint8_t mac[NET_MAC_LEN];
	unsigned pairs;  /* of queues */
	const char *nic; /* "virtio", "e1000" */
};

/* What can be said without opening anything: -p needs NAT to go through. */
int nics_check(const struct vm_config *c, struct err *err);
/* -p alone means --net nat; --net none is no card. */
unsigned nics_count(const struct vm_config *c);
/* Card i, its network opened; the link is the caller's. */
int nics_open(struct nics_card *card, const struct vm_config *c, unsigned i,
	      struct err *err);

#endif
