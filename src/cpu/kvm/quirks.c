/*
 * quirks.c - what a KVM offers to guests and does not do.
 *
 * XCR0.  A guest's XSETBV has to leave the guest (SDM 26.1.2; APM 15.9, the
 * XSETBV intercept), so that KVM knows the guest's XCR0 and switches it with
 * the host's.  QEMU's AMD-V (7.2) lets it pass: KVM puts the old XCR0 back
 * when it enters the guest the next time, whose AVX instructions are undefined
 * then, CPUID tells another size than XSAVE writes, and what is saved and moved
 * is not what the guest had.  Only a host that is itself virtual is asked.
 */
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "cpu/kvm/kvm_impl.h"
#include "cpu/kvm/probe_guest.h"

/*
 *	mov %cr4, %rax; or $0x40000, %eax; mov %rax, %cr4	OSXSAVE
 *	xor %ecx, %ecx; xor %edx, %edx; mov $3, %eax; xsetbv	x87 and SSE
 *	out %al, $0x10
 */
static const uint8_t quirks_xsetbv[] = {
	0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x00, 0x04, 0x00, 0x0f,
	0x22, 0xe0, 0x31, 0xc9, 0x31, 0xd2, 0xb8, 0x03, 0x00,
	0x00, 0x00, 0x0f, 0x01, 0xd1, 0xe6, 0x10,
};
#define QUIRKS_XCR0 3

static bool quirks_host_is_virtual(void)
{
	unsigned a, b, c = 0, d;

	__get_cpuid(1, &a, &b, &c, &d);
	return c & 1u << 31;
}

/* Does KVM believe in another XCR0?  No, where nothing can be asked. */
static bool quirks_try_xcr0(int kvm, struct kvm_cpuid2 *supported)
{
	struct probe_guest g;
	struct kvm_xcrs x = { 0 };
	bool lost = false;
	uint64_t took;

	if (probe_guest_open(&g, kvm, quirks_xsetbv, sizeof(quirks_xsetbv)) ==
		    0 &&
	    ioctl(g.vcpu, KVM_SET_CPUID2, supported) == 0 &&
	    probe_guest_run(&g, 0, &took) == 0 &&
	    ioctl(g.vcpu, KVM_GET_XCRS, &x) == 0 && x.nr_xcrs)
		lost = x.xcrs[0].value != QUIRKS_XCR0;
	probe_guest_close(&g);
	return lost;
}

/* Asked once: when a guest is restored, the sandbox allows no asking. */
bool quirks_lose_xcr0(int kvm, struct kvm_cpuid2 *supported)
{
	static atomic_bool asked, lost;

	if (!atomic_load(&asked)) {
		atomic_store(&lost, quirks_host_is_virtual() &&
					    quirks_try_xcr0(kvm, supported));
		atomic_store(&asked, true);
	}
	return atomic_load(&lost);
}
