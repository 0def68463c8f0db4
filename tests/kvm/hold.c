/*
 * hold.c - keeps KVM's static keys as they are while it runs.
 *
 * The first virtual machine on a host and the last one's end patch the
 * scheduler (preempt_notifier_key), a processor without a local APIC or with
 * one that is off patches KVM (kvm_has_noapic_vcpu, apic_hw_disabled,
 * apic_sw_disabled).  QEMU 7.2 now and then goes on with the INT3 that stood
 * there for a moment: both processors then run into it for ever, with
 * interrupts off.  So one of each exists all the time.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define APIC_ENABLED (1ull << 11)

static int hold_vm(int kvm)
{
	return ioctl(kvm, KVM_CREATE_VM, 0);
}

/* The second one has a local APIC, which is off. */
static int hold_apic(int vm)
{
	struct kvm_enable_cap c = { .cap = KVM_CAP_SPLIT_IRQCHIP,
				    .args = { 24 } };
	struct kvm_sregs s;
	int cpu;

	if (ioctl(vm, KVM_ENABLE_CAP, &c))
		return -1;
	cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (cpu < 0 || ioctl(cpu, KVM_GET_SREGS, &s))
		return -1;
	s.apic_base &= ~APIC_ENABLED;
	return ioctl(cpu, KVM_SET_SREGS, &s);
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (ioctl(hold_vm(kvm), KVM_CREATE_VCPU, 0) < 0 ||
	    hold_apic(hold_vm(kvm))) {
		perror("hold");
		return 1;
	}
	for (;;)
		pause();
}
