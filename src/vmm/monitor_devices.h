/*
 * monitor_devices.h - verbs about devices, for the table in monitor_verbs.c.
 *
 * balloon	"memory" (may be absent): how much of its memory the guest may
 *		use, bytes or a string like "256M".  Answers with "memory" (in
 *		use by the guest now), "target", "maximum", "reported_free",
 *		"reclaimed", "touched" (on the host), and "guest": what its
 *		kernel counts.  "reclaim": true asks for its free pages first.
 *
 * device-add	"disk" or "net": as --disk and --net describe it.  Answers with
 *		"slot".
 * device-remove "slot", or "disk": the file's name as it was given.  Answers
 *		when the guest has let it go, or refuses after 10 s.
 * cdrom	"file": what is put into the drive; "none": nothing.
 * device-list	answers with "devices": what is in the slots of the PCI bus.
 */
#ifndef HOSTEL_VMM_MONITOR_DEVICES_H
#define HOSTEL_VMM_MONITOR_DEVICES_H

#include "vmm/monitor.h"

monitor_fn devices_balloon;
/* What it answers with; waits for the guest's counts at most wait_ms. */
void devices_put_balloon(struct vm *vm, unsigned wait_ms, json_t *out);
monitor_fn devices_add;
monitor_fn devices_remove;
monitor_fn devices_list;
monitor_fn devices_cdrom;

#endif
