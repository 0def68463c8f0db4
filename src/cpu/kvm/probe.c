/*
 * probe.c - can this host run guests on KVM, and is it worth it?
 *
 * Theory of operation
 *
 * Some hosts offer a /dev/kvm without the hardware behind it: user-mode code
 * of a guest runs directly there, but every kernel instruction is emulated,
 * thousands of times slower, and a stock kernel gets nowhere.  So a guest of a
 * few instructions runs a loop as kernels do: long mode, paging, ring 0, flags
 * pushed and popped, memory.  The same loop runs in this process, and the two
 * are compared: not with a clock, since the host may itself be a slow machine
 * (one that QEMU emulates, say, in which KVM works as it should).
 *
 * The loop's time is that of many turns less that of few: what it takes to
 * enter and leave the guest does not count.  The least of some rounds is taken;
 * one may fail, since a busy host may keep the whole machine, if virtual,
 * waiting for longer than any guest should take.
 */
#include "cpu/kvm/probe.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/kvm/kvm_impl.h"
#include "cpu/kvm/probe_guest.h"

#define PROBE_ROUNDS 5
#define PROBE_FEW    50
#define PROBE_MANY   1000
/* Hardware comes to 1, nested hardware to little more; emulation to 100. */
#define PROBE_SLOWDOWN_MAX 10.0

/* --- The loop
 * ------------------------------------------------------------------ */

/*
 * 1:	pushf; addl $1, (%rdi); mov (%rdi), %eax; popf; xor %eax, %edx
 *	dec %ecx; jnz 1b
 *	out %al, $0x10; jmp back to the out
 * The native one ends with ret instead.
 */
static const uint8_t probe_code[] = {
	0x9c, 0x83, 0x07, 0x01, 0x8b, 0x07, 0x9d, 0x31, 0xc2,
	0xff, 0xc9, 0x75, 0xf3, 0xe6, 0x10, 0xeb, 0xfc,
};
#define PROBE_RET_AT 13

static uint64_t probe_native(unsigned turns)
{
	uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t data = 0;
	uint64_t best = UINT64_MAX;

	if (code == MAP_FAILED)
		return 0;
	memcpy(code, probe_code, sizeof(probe_code));
	code[PROBE_RET_AT] = 0xc3;
	mprotect(code, 4096, PROT_READ | PROT_EXEC);
	for (unsigned i = 0; i < PROBE_ROUNDS; i++) {
		uint64_t start = clock_mono_ns(), took;
		uint32_t count = turns;

		/* The red zone is not ours to push over. */
		__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
				 "call *%2\n\t"
				 "lea 128(%%rsp), %%rsp"
				 : "+c"(count)
				 : "D"(&data), "r"(code)
				 : "rax", "rdx", "memory", "cc");
		took = clock_mono_ns() - start;
		if (took < best)
			best = took;
	}
	munmap(code, 4096);
	return best;
}

/* --- A round
 * ----------------------------------------------------------------- */

static void probe_least(uint64_t *best, uint64_t took)
{
	if (took < *best)
		*best = took;
}

/* --- The verdict
 * ---------------------------------------------------------------- */

static void probe_say(struct probe *p, enum probe_verdict verdict, int code,
		      const char *text)
{
	p->verdict = verdict;
	err_set(&p->why, code, "%s", text);
}

static double probe_per_turn(uint64_t many, uint64_t few)
{
	if (many <= few)
		return 0.01;
	return (double)(many - few) / (PROBE_MANY - PROBE_FEW);
}

static void probe_no_hardware(struct probe *p)
{
	p->verdict = PROBE_NO_HARDWARE;
	if (p->slowdown > 0)
		err_set(&p->why, EOPNOTSUPP,
			"no hardware behind it: kernel code runs %.0f times "
			"slower in a guest than outside; where this machine is "
			"itself virtual, its host can give it nested "
			"virtualization",
			p->slowdown);
	else
		err_set(&p->why, EOPNOTSUPP,
			"no hardware behind it: a guest's kernel code makes no "
			"progress; where this machine is itself virtual, its "
			"host can give it nested virtualization");
}

/* One more round; false: the guest did something else, or nothing. */
static bool probe_round(struct probe_guest *g, uint64_t *few, uint64_t *many)
{
	uint64_t took = 0;

	if (probe_guest_run(g, PROBE_FEW, &took))
		return false;
	probe_least(few, took);
	if (probe_guest_run(g, PROBE_MANY, &took))
		return false;
	probe_least(many, took);
	return true;
}

/* Two rounds are enough where there is no doubt. */
static void probe_compare(struct probe *p, struct probe_guest *g)
{
	uint64_t few = UINT64_MAX, many = UINT64_MAX;
	double native = probe_per_turn(probe_native(PROBE_MANY),
				       probe_native(PROBE_FEW));

	for (unsigned i = 0, failed = 0; i < PROBE_ROUNDS; i++) {
		if (!probe_round(g, &few, &many)) {
			if (failed++ == 0)
				continue;
			p->slowdown = 0;
			probe_no_hardware(p);
			return;
		}
		p->slowdown = probe_per_turn(many, few) / native;
		if (i && p->slowdown > PROBE_SLOWDOWN_MAX * 20)
			break;
	}
	if (p->slowdown > PROBE_SLOWDOWN_MAX) {
		probe_no_hardware(p);
		return;
	}
	p->verdict = PROBE_WORKS;
	err_set(&p->why, 0, "kernel code runs in a guest as fast as outside");
}

static void probe_measure(struct probe *p, int kvm)
{
	struct probe_guest g;
	int rc = probe_guest_open(&g, kvm, probe_code, sizeof(probe_code));

	if (rc == 0) {
		probe_compare(p, &g);
	} else {
		p->verdict = PROBE_REFUSED;
		err_set(&p->why, -rc,
			"it cannot make a virtual machine (%s): is another "
			"hypervisor using the processor?",
			strerror(-rc));
	}
	probe_guest_close(&g);
}

/* --- Before a guest runs
 * ---------------------------------------------------------- */

static const struct {
	int cap;
	const char *name;
} probe_caps[] = {
	{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
	{ KVM_CAP_READONLY_MEM, "READONLY_MEM" },
	{ KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP" },
	{ KVM_CAP_X2APIC_API, "X2APIC_API" },
	{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER" },
	{ KVM_CAP_X86_USER_SPACE_MSR, "X86_USER_SPACE_MSR" },
	{ KVM_CAP_X86_MSR_FILTER, "X86_MSR_FILTER" },
	{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_XCRS, "XCRS" },
	{ KVM_CAP_SREGS2, "SREGS2" },
};

/* Linux 5.16 has the last of them, and the TSC's offset, too. */
static bool probe_has_caps(struct probe *p, int kvm)
{
	for (size_t i = 0; i < sizeof(probe_caps) / sizeof(*probe_caps); i++) {
		if (ioctl(kvm, KVM_CHECK_EXTENSION, probe_caps[i].cap) > 0)
			continue;
		p->verdict = PROBE_TOO_OLD;
		err_set(&p->why, ENOSYS,
			"this kernel's KVM lacks %s; Linux 5.16 or newer is "
			"needed",
			probe_caps[i].name);
		return false;
	}
	return true;
}

/* Why is there no /dev/kvm? */
static void probe_no_device(struct probe *p)
{
	unsigned a, b, c = 0, d;
	bool svm, vmx, virtual;

	__get_cpuid(1, &a, &b, &c, &d);
	vmx = c & 1u << 5;
	virtual = c & 1u << 31;
	c = 0;
	__get_cpuid(0x80000001, &a, &b, &c, &d);
	svm = c & 1u << 2;
	if (vmx || svm)
		err_set(&p->why, ENOENT,
			"there is no %s, but the processor could: load the "
			"module (modprobe %s); if that fails, enable %s in the "
			"BIOS setup; a container needs --device %s",
			KVM_DEVICE, svm ? "kvm-amd" : "kvm-intel",
			svm ? "SVM" : "VT-x", KVM_DEVICE);
	else if (virtual)
		err_set(&p->why, ENOENT,
			"there is no %s: this machine is itself virtual, and "
			"its host gives it no nested virtualization",
			KVM_DEVICE);
	else
		err_set(&p->why, ENOENT,
			"there is no %s: the processor shows neither VT-x nor "
			"AMD-V; look for them in the BIOS setup",
			KVM_DEVICE);
	p->verdict = PROBE_NO_DEVICE;
}

static int probe_open_device(struct probe *p, const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC), code = errno;

	if (fd >= 0)
		return fd;
	if (code == EACCES || code == EPERM)
		probe_say(p, PROBE_NO_PERMISSION, code,
			  "no permission to open " KVM_DEVICE ": put yourself "
			  "into its group (sudo usermod -aG kvm $USER) and log "
			  "in again");
	else if (code == ENOENT || code == ENODEV || code == ENXIO)
		probe_no_device(p);
	else
		probe_say(p, PROBE_REFUSED, code, strerror(code));
	return -1;
}

void probe_host(struct probe *p, const char *device, bool measure)
{
	int kvm;

	*p = (struct probe){ .verdict = PROBE_WORKS };
	kvm = probe_open_device(p, device);
	if (kvm < 0)
		return;
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		probe_say(p, PROBE_REFUSED, ENOTTY, "it is not KVM's device");
	else if (probe_has_caps(p, kvm) && measure)
		probe_measure(p, kvm);
	close(kvm);
}

void probe_kvm(struct probe *p)
{
	probe_host(p, KVM_DEVICE, true);
}

static int probe_answer(const struct probe *p, struct err *err)
{
	if (p->verdict == PROBE_WORKS)
		return 0;
	return err_set(err, EOPNOTSUPP, "KVM: %s", p->why.msg);
}

int probe_usable(struct err *err)
{
	struct probe p;

	probe_host(&p, KVM_DEVICE, false);
	return probe_answer(&p, err);
}

int probe_advise(struct err *why)
{
	struct probe p;

	probe_kvm(&p);
	return probe_answer(&p, why);
}
