/*
 * probe_guest.h - a guest of a few instructions, to ask a KVM something.
 *
 * One thread throughout, the one that opened it; KVM's kick signal is blocked
 * in it meanwhile.
 */
#ifndef HOSTEL_CPU_KVM_PROBE_GUEST_H
#define HOSTEL_CPU_KVM_PROBE_GUEST_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct probe_guest {
	int vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_bytes;
	timer_t timer; /* ends a run */
	bool armed;
	sigset_t old;
};

/*
 * code: for long mode and ring 0; it writes to a port when it has done.  kvm
 * stays the caller's.  0 or -errno; close it in either case.
 */
int probe_guest_open(struct probe_guest *g, int kvm, const uint8_t *code,
		     size_t len);
void probe_guest_close(struct probe_guest *g);
/*
 * From the code's start, with count in RCX, a word of memory at RDI, a stack
 * and all else 0; *took in ns.  -EINTR: it took 0.2 s of this thread's time;
 * -EIO: it did something else.
 */
int probe_guest_run(struct probe_guest *g, uint64_t count, uint64_t *took);

#endif
