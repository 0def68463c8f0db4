/*
 * clock.h - host time, guest time, and the host's time stamp counter.
 *
 * Guest time (`struct vclock`) runs at the host's CLOCK_MONOTONIC rate, but
 * stands still while the guest is paused; every device timer counts in it.
 * Unit everywhere: nanoseconds, uint64_t.
 */
#ifndef HOSTEL_BASE_CLOCK_H
#define HOSTEL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* CLOCK_MONOTONIC and CLOCK_REALTIME of the host. Any thread. */
uint64_t clock_mono_ns(void);
uint64_t clock_real_ns(void);

/* RDTSC, unserialised. */
static inline uint64_t clock_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/*
 * The host's TSC frequency in kHz, from the processor's own leaves where they
 * tell (CPUID 15h, hypervisor leaf 40000010h), else measured once against
 * CLOCK_MONOTONIC (to better than 20 ppm; at most 20 ms, less if
 * clock_tsc_start() was called early).  Any thread.
 */
void clock_tsc_start(void);
uint32_t clock_tsc_khz(void);

/* Guest time.  Starts running at 0. All functions: any thread. */
struct vclock;
struct vclock *vclock_new(void);
void vclock_free(struct vclock *vc);
uint64_t vclock_now(const struct vclock *vc);
bool vclock_paused(const struct vclock *vc);
/* Pausing a paused clock and resuming a running one change nothing. */
void vclock_pause(struct vclock *vc);
void vclock_resume(struct vclock *vc);
/* For restoring a saved guest: guest time becomes `now` (while paused). */
void vclock_set(struct vclock *vc, uint64_t now);
/*
 * The CLOCK_MONOTONIC time at which guest time is `t`: 0 if that was before
 * the host's boot, UINT64_MAX if never (paused, or past 2^63 ns).
 */
uint64_t vclock_to_mono(const struct vclock *vc, uint64_t t);

#endif
