/*
 * switch.h - a learning switch with VLANs: which frame goes to which ports.
 *
 * Source: IEEE 802.1Q (VLANs, tags), 802.1D (learning, aging).
 *
 * A port is an access port (untagged frames of one VLAN; 0, the default, is
 * the network that has no number) or a trunk (tagged frames of the VLANs in
 * its list; untagged ones belong to its own `vlan`).  A frame comes in if its
 * VLAN is one of the port's, and goes out by the ports that carry that VLAN,
 * tagged or not as each wants it.  Addresses are learnt for each VLAN, forgot
 * after SWITCH_AGE_NS, and are bounded for each port and in all, so that no
 * guest can push out another's.
 *
 * Rates: a token bucket for each direction.  In: switch_ready() says whether
 * the port may be read.  Out: switch_may_go(), for whoever holds the queue.
 *
 * Not locked, keeps no time of its own, does no I/O: hub.h does.
 */
#ifndef HOSTEL_NET_SWITCH_H
#define HOSTEL_NET_SWITCH_H

#include "net/bucket.h"
#include "net/net.h"

#define SWITCH_PORTS_MAX 256
#define SWITCH_VLANS     4096
#define SWITCH_AGE_NS    300000000000ull
#define SWITCH_PORT_MACS 256 /* of the table's entries, at most */

struct switch_port_config {
	uint16_t vlan;
	bool trunk;
	bool mirror;                         /* gets what comes in by others */
	uint32_t carried[SWITCH_VLANS / 32]; /* trunk: tagged */
	uint64_t rate, burst;                /* 0: no limit */
};

/* "10+20+30"; -EINVAL with a sentence. */
int switch_parse_trunk(struct switch_port_config *c, const char *list,
		       struct err *err);

/* A frame leaves by a port; hdr's offsets fit the frame as it is. */
typedef void switch_emit(void *opaque, unsigned port, const struct net_hdr *hdr,
			 uint8_t *frame, size_t len);

struct switch_core;

struct switch_core *switch_new(switch_emit *emit, void *opaque);
void switch_free(struct switch_core *s);
/* The port's number; -ENOSPC, -EINVAL (a VLAN that cannot be). */
int switch_add_port(struct switch_core *s, const struct switch_port_config *c);
void switch_remove_port(struct switch_core *s, unsigned port);

/* A frame came in by a port.  Calls emit; frame's memory is not changed. */
void switch_frame(struct switch_core *s, unsigned port, uint64_t now,
		  const struct net_hdr *hdr, uint8_t *frame, size_t len);

/* May the port be read?  If not: from *when on. */
bool switch_ready(const struct switch_core *s, unsigned port, uint64_t now,
		  uint64_t *when);
/* May a frame of len bytes go out?  If so it is counted. */
bool switch_may_go(struct switch_core *s, unsigned port, uint64_t now,
		   size_t len, uint64_t *when);

#endif
