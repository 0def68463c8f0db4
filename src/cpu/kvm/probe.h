/*
 * probe.h - can this host run guests on KVM, and is it worth it?
 *
 * Quick (a few milliseconds) and honest: what counts is not that /dev/kvm is
 * there but that kernel code runs on it at the processor's speed.
 */
#ifndef HOSTEL_CPU_KVM_PROBE_H
#define HOSTEL_CPU_KVM_PROBE_H

#include <stdbool.h>

#include "base/err.h"

enum probe_verdict {
	PROBE_WORKS,
	PROBE_NO_DEVICE, /* no module, or no such hardware */
	PROBE_NO_PERMISSION,
	PROBE_TOO_OLD,     /* the kernel lacks what the engine needs */
	PROBE_REFUSED,     /* it is there and cannot make a machine */
	PROBE_NO_HARDWARE, /* kernel code is emulated */
};

struct probe {
	enum probe_verdict verdict;
	struct err why; /* what is so, and what to change; PROBE_WORKS: how fast
			 */
	/* Guest kernel code by the same code outside; 0: not measured. */
	double slowdown;
};

/* device: KVM_DEVICE, or another for tests.  measure: run the probe guest. */
void probe_host(struct probe *p, const char *device, bool measure);
/* The host's KVM, measured. */
void probe_kvm(struct probe *p);

#endif
