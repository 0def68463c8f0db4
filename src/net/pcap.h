/*
 * pcap.h - a capture file: every frame that a guest sends and gets.
 *
 * Format: libpcap's (draft-ietf-opsawg-pcap), with nanoseconds, Ethernet.
 * Frames whose checksum was left to the other end are written with it filled
 * in; those left to be segmented are written whole.
 */
#ifndef HOSTEL_NET_PCAP_H
#define HOSTEL_NET_PCAP_H

#include "net/net.h"

struct pcap;

int pcap_open(struct pcap **out, const char *file, struct err *err);
void pcap_close(struct pcap *c);
/* A file that takes no more is left as it is, with one warning. */
void pcap_frame(struct pcap *c, const struct net_hdr *hdr, const uint8_t *frame,
		size_t len);
/* Nothing comes for a while: what is buffered goes to the file. */
void pcap_flush(struct pcap *c);

#endif
