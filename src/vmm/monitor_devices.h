/*
 * monitor_devices.h - verbs about devices, for the table in monitor_verbs.c.
 *
 * balloon	"memory" (may be absent): how much of its memory the guest may
 *		use, bytes or a string like "256M".  Answers with "memory" (in
 *		use by the guest now), "target", "maximum", "reported_free",
 *		"touched" (on the host), and "guest": what its kernel counts.
 */
#ifndef HOSTEL_VMM_MONITOR_DEVICES_H
#define HOSTEL_VMM_MONITOR_DEVICES_H

#include "vmm/monitor.h"

monitor_fn devices_balloon;

#endif
