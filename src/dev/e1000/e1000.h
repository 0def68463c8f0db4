/*
 * e1000.h - Intel 82540EM, the network card that every system has a driver
 * for: for guests without virtio's.
 *
 * Source: Intel, PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual (317453); sections are named as "SDM".
 *
 * INTx only, as the real one in a PCI slot.  Legacy and extended transmit
 * descriptors with checksum and TCP segmentation offload; legacy receive
 * descriptors; EEPROM by EERD and by its wires; one PHY that has a link.
 * Statistics that can be other than zero; loopback, for self tests.
 * Missing: wake on LAN, flow control, interrupt moderation by the card (the
 * link gives frames in batches).
 *
 * Threads: registers from any vCPU; rings in the network's thread (net.h);
 * one mutex for both, held over no call of the network.
 */
#ifndef HOSTEL_DEV_E1000_E1000_H
#define HOSTEL_DEV_E1000_E1000_H

#include "dev/dev.h"
#include "dev/pci/host.h"
#include "net/net.h"

struct e1000;

struct e1000_config {
	uint8_t mac[NET_MAC_LEN];
	unsigned slot;
	unsigned instance;
};

/* Takes over the link, also on failure. */
int e1000_new(struct e1000 **out, const struct dev_env *env,
	      struct pci_host *host, const struct e1000_config *config,
	      struct net_link *link, struct err *err);

#endif
