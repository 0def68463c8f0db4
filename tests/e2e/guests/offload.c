/*
 * offload.c - offload DEVICE NAME on|off: turns a network card's feature on or
 * off, by the name that ethtool(8) has for it.  Status 3: the driver has it as
 * it is.
 */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define OFFLOAD_MOST 256

struct offload {
	int fd;
	struct ifreq ifr;
};

static int offload_ask(struct offload *o, void *what)
{
	o->ifr.ifr_data = what;
	return ioctl(o->fd, SIOCETHTOOL, &o->ifr);
}

/* The feature's number, or -1. */
static int offload_find(struct offload *o, const char *name)
{
	size_t most = OFFLOAD_MOST * ETH_GSTRING_LEN;
	struct ethtool_gstrings *s = calloc(1, sizeof(*s) + most);
	int at = -1;

	s->cmd = ETHTOOL_GSTRINGS;
	s->string_set = ETH_SS_FEATURES;
	if (offload_ask(o, s))
		perror("strings");
	else
		for (unsigned i = 0; i < s->len && at < 0; i++)
			if (!strcmp((char *)s->data + i * ETH_GSTRING_LEN,
				    name))
				at = (int)i;
	free(s);
	return at;
}

static int offload_set(struct offload *o, unsigned bit, int on)
{
	size_t blocks = OFFLOAD_MOST / 32;
	struct ethtool_sfeatures *s =
		calloc(1, sizeof(*s) + blocks * sizeof(s->features[0]));
	int rc;

	s->cmd = ETHTOOL_SFEATURES;
	s->size = bit / 32 + 1;
	/* The kernel wants as many blocks as it has: two. */
	s->size = s->size < 2 ? 2 : s->size;
	s->features[bit / 32].valid = 1u << bit % 32;
	s->features[bit / 32].requested = on ? 1u << bit % 32 : 0;
	rc = offload_ask(o, s);
	free(s);
	return rc;
}

int main(int argc, char **argv)
{
	struct offload o = { .fd = socket(AF_INET, SOCK_DGRAM, 0) };
	int bit, rc;

	if (argc < 4)
		return 2;
	strncpy(o.ifr.ifr_name, argv[1], IFNAMSIZ - 1);
	bit = offload_find(&o, argv[2]);
	if (bit < 0) {
		fprintf(stderr, "offload: no %s\n", argv[2]);
		return 1;
	}
	rc = offload_set(&o, (unsigned)bit, !strcmp(argv[3], "on"));
	if (rc < 0)
		perror("offload");
	return rc < 0 ? 1 : rc ? 3 : 0;
}
