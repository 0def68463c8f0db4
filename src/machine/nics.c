/* nics.c - see nics.h. */
#include "machine/nics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NICS_PAIRS_MAX 8
#define NICS_PAIRS     4 /* unless asked for more */

/* What `-p` alone stands for. */
static const struct vm_net nics_nat = { .kind = "nat" };

static bool nics_is(const struct vm_net *net, const char *kind)
{
	size_t n = strlen(kind);

	return !strncmp(net->kind, kind, n) &&
	       (!net->kind[n] || net->kind[n] == ':');
}

/* Card i, not counting those that are none; NULL: there are not so many. */
static const struct vm_net *nics_find(const struct vm_config *c, unsigned i)
{
	if (!c->net_count && c->forward_count)
		return i ? NULL : &nics_nat;
	for (unsigned n = 0; n < c->net_count; n++)
		if (!nics_is(&c->nets[n], "none") && !i--)
			return &c->nets[n];
	return NULL;
}

unsigned nics_count(const struct vm_config *c)
{
	unsigned n = 0;

	while (nics_find(c, n))
		n++;
	return n;
}

/* The card that -p belongs to: the first one with NAT. */
static const struct vm_net *nics_find_nat(const struct vm_config *c)
{
	const struct vm_net *net;

	for (unsigned i = 0; (net = nics_find(c, i)); i++)
		if (nics_is(net, "nat"))
			return net;
	return NULL;
}

static int nics_check_card(const struct vm_net *net, struct err *err)
{
	bool on_switch = nics_is(net, "switch");

	if (net->queues > NICS_PAIRS_MAX)
		return err_set(err, EINVAL, "--net: at most %u queues",
			       NICS_PAIRS_MAX);
	if (net->vlan > 4094)
		return err_set(err, EINVAL,
			       "--net: a VLAN is a number from 1 to 4094");
	if (!on_switch &&
	    (net->vlan || net->trunk || net->mirror || net->uplink))
		return err_set(err, EINVAL,
			       "--net: vlan, trunk, mirror and uplink are of "
			       "a switch; write switch:NAME,...");
	if (net->loopback && !nics_is(net, "nat") && !net->uplink)
		return err_set(err, EINVAL, "--net: loopback is of nat");
	if ((net->tftp || net->bootfile) && !nics_is(net, "nat"))
		return err_set(err, EINVAL,
			       "--net: tftp and bootfile are of nat");
	return 0;
}

int nics_check(const struct vm_config *c, struct err *err)
{
	const struct vm_net *net;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && (net = nics_find(c, i)); i++)
		rc = nics_check_card(net, err);
	if (rc == 0 && c->forward_count && !nics_find_nat(c))
		rc = err_set(err, EINVAL,
			     "-p forwards a port through NAT; add --net nat");
	return rc;
}

/*
 * The same name, the same address: leases and rules of the guest's stay true.
 * Guests without a name may meet on a switch; their addresses differ.
 */
static int nics_mac(uint8_t mac[NET_MAC_LEN], const struct vm_config *c,
		    const struct vm_net *net, unsigned i, struct err *err)
{
	char unnamed[32] = "guest";

	if (net->mac)
		return net_parse_mac(mac, net->mac, err);
	if (nics_is(net, "switch"))
		snprintf(unnamed, sizeof(unnamed), "guest %ld", (long)getpid());
	net_mac_from_name(mac, c->name ? c->name : unnamed, i);
	return 0;
}

static int nics_forwards(struct net_forward **out, const struct vm_config *c,
			 struct err *err)
{
	struct net_forward *f = calloc(c->forward_count + 1, sizeof(*f));
	int rc = f ? 0 : err_set(err, ENOMEM, "out of memory");

	for (unsigned i = 0; i < c->forward_count && rc == 0; i++) {
		rc = net_parse_forward(&f[i], c->forwards[i], err);
		if (rc < 0)
			err_prefix(err, "-p");
	}
	if (rc < 0)
		free(f);
	else
		*out = f;
	return rc;
}

static int nics_open_link(struct nics_card *card, const struct vm_config *c,
			  const struct vm_net *net, struct err *err)
{
	char kind[16] = "";
	const char *colon = strchr(net->kind, ':');
	struct net_forward *forwards = NULL;
	struct net_config config = {
		.kind = kind,
		.name = colon ? colon + 1 : NULL,
		.vlan = (uint16_t)net->vlan,
		.trunk = net->trunk,
		.rate = net->rate,
		.burst = net->burst,
		.pcap = net->pcap,
		.fault = net->fault,
		.mirror = net->mirror,
		.uplink = net->uplink,
		.loopback = net->loopback,
		.tftp = net->tftp,
		.bootfile = net->bootfile,
	};
	int rc = 0;

	snprintf(kind, sizeof(kind), "%.*s",
		 (int)(colon ? (size_t)(colon - net->kind) : strlen(net->kind)),
		 net->kind);
	memcpy(config.mac, card->mac, NET_MAC_LEN);
	if (net == nics_find_nat(c)) {
		rc = nics_forwards(&forwards, c, err);
		config.forwards = forwards;
		config.forward_count = c->forward_count;
	}
	if (rc == 0)
		rc = net_open(&card->link, &config, err);
	free(forwards);
	return rc;
}

int nics_open(struct nics_card *card, const struct vm_config *c, unsigned i,
	      struct err *err)
{
	const struct vm_net *net = nics_find(c, i);
	int rc;

	*card = (struct nics_card){ .nic = net->nic ? net->nic : "virtio" };
	card->pairs = net->queues            ? (unsigned)net->queues
		      : c->cpus < NICS_PAIRS ? c->cpus
					     : NICS_PAIRS;
	rc = nics_mac(card->mac, c, net, i, err);
	if (rc == 0)
		rc = nics_open_link(card, c, net, err);
	if (rc < 0 && err && strncmp(err->msg, "-p", 2))
		err_prefix(err, "--net");
	return rc;
}
