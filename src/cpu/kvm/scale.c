/*
 * scale.c - a guest whose TSC runs at another rate than this host's.
 *
 * The processor multiplies what a guest reads (SDM 26.6.5, APM 15.30.5).  The
 * factor is the kernel's: it is worked out here as there, to the bit, since
 * kvmclock and the local APIC's deadlines are ours and count on it.
 */
#include "cpu/kvm/kvm_impl.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* Behind the binary point: VT-x 48, AMD-V 32. */
static unsigned scale_bits(void)
{
	unsigned a, b, c = 0, d;

	__get_cpuid(0, &a, &b, &c, &d);
	return c == 0x6c65746e /* GenuineI-ntel */ ? 48 : 32;
}

uint64_t scale_ratio(uint32_t khz, uint32_t host_khz, unsigned bits)
{
	return (uint64_t)(((unsigned __int128)khz << bits) / host_khz);
}

int scale_tsc(struct x86_machine *xm, uint32_t khz, struct err *err)
{
	struct kvm_guest *g = kvm_guest(xm);

	if (ioctl(g->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0 ||
	    !g->tsc_khz)
		return err_set(
			err, EOPNOTSUPP,
			"the guest's time stamp counter runs at %u kHz, "
			"this host's at %u kHz, and its processor cannot "
			"scale it; --engine translator can",
			khz, g->tsc_khz);
	for (unsigned i = 0; i < xm->cpu_count; i++) {
		struct kvm_vcpu *v = xm->cpus[i]->engine;

		if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)khz))
			return err_set(err, errno,
				       "KVM cannot run the guest's time stamp "
				       "counter at %u kHz: %s",
				       khz, strerror(errno));
	}
	xm->tsc_shift = scale_bits();
	xm->tsc_ratio = scale_ratio(khz, g->tsc_khz, xm->tsc_shift);
	return 0;
}
