/*
 * control.h - what hostel and hostel-vm say to each other.
 *
 * One AF_UNIX SOCK_SEQPACKET socket; each packet is one JSON object:
 *
 *	hostel -> hostel-vm	{"config": {...}}	first, once (config.h)
 *				{"stop": STATUS}	end the guest
 *				{"resize": [COLUMNS, ROWS]}	the terminal
 *	hostel-vm -> hostel	{"end": {...}}		last, once
 *
 * "end" holds "status" (hostel's exit status), "error" (the sentence; absent:
 * none), "stats" (a line to print; absent: none) and "reset" (true: it ended
 * where without no-reboot it would start again).  hostel-vm sends it after
 * the console's last byte.  End of file on the socket means that the other
 * side is gone: hostel-vm then ends at once.
 *
 * hostel-vm is started with these descriptors open beside 0 to 2:
 */
#ifndef HOSTEL_VMM_CONTROL_H
#define HOSTEL_VMM_CONTROL_H

#include <jansson.h>

#include "base/err.h"

#define CONTROL_FD         3 /* this socket */
#define CONTROL_CONSOLE_FD 4 /* a stream socket or file; may be absent */

#define CONTROL_PACKET_MAX (128 * 1024)

/* Hostel's exit statuses that are not the guest's own. */
enum control_status {
	CONTROL_STATUS_CRASH = 123,
	CONTROL_STATUS_TIMEOUT = 124,
	CONTROL_STATUS_ERROR = 125,
	CONTROL_STATUS_SIGNAL = 128, /* plus the signal's number */
};

/* Takes over j (NULL: out of memory).  Blocks until the packet is sent. */
int control_send(int fd, json_t *j, struct err *err);

/*
 * Waits for the next packet.  1: *j is a new object; 0: end of file; -errno
 * with a sentence for what is not a JSON object.
 */
int control_recv(int fd, json_t **j, struct err *err);

#endif
