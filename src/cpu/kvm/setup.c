/*
 * setup.c - a virtual machine and its vCPUs as KVM knows them.
 *
 * The board's interrupt controllers stay ours (API, KVM_CAP_SPLIT_IRQCHIP):
 * only the local APICs are the kernel's, which is where it pays.  Of the MSRs
 * the kernel keeps those that the processor itself uses; the guest's accesses
 * to all others come to x86/msr.c, as on the other engines: so there is one
 * policy, and one kvmclock.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/x86/cpuid.h"

#define SETUP_CPUID_MAX 128
/* Three pages below 4 GiB that VT-x wants for itself, and one more: API. */
#define SETUP_IDENTITY_MAP 0xfeffc000ull
#define SETUP_TSS          0xfeffd000ull

static int setup_failed(const char *what, struct err *err)
{
	int code = errno;

	return err_set(err, code, "KVM: %s: %s", what, strerror(code));
}

/* --- CPUID ---------------------------------------------------------------- */

struct kvm_cpuid2 *setup_supported(int kvm)
{
	size_t size = sizeof(struct kvm_cpuid2) +
		      SETUP_CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *c = calloc(1, size);

	if (!c)
		return NULL;
	c->nent = SETUP_CPUID_MAX;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c)) {
		free(c);
		return NULL;
	}
	return c;
}

/*
 * Flags that do not ask anything of KVM: they tell of what is so anyway
 * (ERMS), or what we do ourselves (MSRs, kvmclock, TSC deadline, which has a
 * capability of its own).
 */
static const struct {
	uint32_t leaf, subleaf;
	struct x86_cpuid_regs regs;
} setup_ours[] = {
	{ 1,
	  0,
	  { .ecx = 1u << 21 | 1u << 24 | 1u << 31,
	    .edx = 1u << 9 | 1u << 27 } },
	{ 6, 0, { .eax = 1u << 2 } },
	{ 7,
	  0,
	  { .ebx = 1u << 1 | 1u << 9 | 1u << 13, .edx = 1u << 4 | 1u << 29 } },
	{ 0xd, 1, { 0, 0, 0, 0 } },
	{ 0x40000001, 0, { .eax = ~(1u << 7) } },
	{ 0x80000001, 0, { .ecx = 1u << 8 } },
	{ 0x80000007, 0, { .edx = 1u << 8 } },
};

/* VMCALL is Intel's; a guest of our identity would use it: docs/cpuid.md. */
static bool setup_host_is_intel(const struct kvm_cpuid2 *c)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == 0)
			return c->entries[i].ecx == 0x6c65746e; /* ntel */
	return false;
}

static void setup_limit(struct x86_model *m, const struct kvm_cpuid2 *c)
{
	for (size_t n = 0; n < sizeof(setup_ours) / sizeof(*setup_ours); n++) {
		struct x86_cpuid_regs keep = setup_ours[n].regs;

		for (unsigned i = 0; i < c->nent; i++) {
			const struct kvm_cpuid_entry2 *e = &c->entries[i];

			if (e->function != setup_ours[n].leaf ||
			    e->index != setup_ours[n].subleaf)
				continue;
			keep.eax |= e->eax;
			keep.ebx |= e->ebx;
			keep.ecx |= e->ecx;
			keep.edx |= e->edx;
		}
		if (setup_ours[n].leaf == 0x40000001) {
			keep = setup_ours[n].regs;
			if (setup_host_is_intel(c))
				keep.eax = ~0u;
		}
		x86_model_mask(m, setup_ours[n].leaf, setup_ours[n].subleaf,
			       &keep);
	}
}

void setup_limit_model(struct x86_model *model)
{
	int kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	struct kvm_cpuid2 *c = kvm < 0 ? NULL : setup_supported(kvm);

	if (c)
		setup_limit(model, c);
	if (c && quirks_lose_xcr0(kvm, c))
		x86_model_without_xsave(model);
	free(c);
	if (kvm >= 0)
		close(kvm);
}

/* Leaves without subleaves have one row whatever ECX is. */
static unsigned setup_subleaves(uint32_t leaf)
{
	switch (leaf) {
	case 4:
		return 5;
	case 0xb:
	case 0xd:
		return 3;
	case 7:
		return 1;
	}
	return 0;
}

static void setup_add_leaf(struct x86_cpu *cpu, struct kvm_cpuid2 *c,
			   uint32_t leaf)
{
	unsigned n = setup_subleaves(leaf);

	for (unsigned sub = 0; sub < (n ? n : 1); sub++) {
		struct kvm_cpuid_entry2 *e = &c->entries[c->nent];
		struct x86_cpuid_regs r;

		if (c->nent == SETUP_CPUID_MAX)
			return;
		x86_cpuid(cpu, leaf, sub, &r);
		*e = (struct kvm_cpuid_entry2){
			.function = leaf,
			.index = sub,
			.flags = n ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = r.eax,
			.ebx = r.ebx,
			.ecx = r.ecx,
			.edx = r.edx,
		};
		c->nent++;
	}
}

/* The last leaf of a range is what its first one says. */
static void setup_add_range(struct x86_cpu *cpu, struct kvm_cpuid2 *c,
			    uint32_t first)
{
	struct x86_cpuid_regs r;

	x86_cpuid(cpu, first, 0, &r);
	for (uint32_t leaf = first; leaf <= r.eax && leaf - first < 64; leaf++)
		setup_add_leaf(cpu, c, leaf);
}

/* Intel shows SYSCALL in 64-bit code only; KVM's table knows no modes. */
static void setup_show_syscall(struct kvm_cpuid2 *c)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == 0x80000001)
			c->entries[i].edx |= 1u << 11;
}

int setup_cpuid(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	size_t size = sizeof(struct kvm_cpuid2) +
		      SETUP_CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *c = calloc(1, size);
	int rc = 0;

	if (!c)
		return err_set(err, ENOMEM, "no memory for CPUID");
	setup_add_range(cpu, c, 0);
	setup_add_range(cpu, c, 0x40000000);
	setup_add_range(cpu, c, 0x80000000);
	setup_show_syscall(c);
	if (ioctl(v->fd, KVM_SET_CPUID2, c))
		rc = setup_failed("cannot set CPUID", err);
	free(c);
	return rc;
}

/* --- MSRs -------------------------------------------------------------------
 */

static int setup_enable(int fd, unsigned cap, uint64_t arg, struct err *err)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };
	char what[48];

	if (!ioctl(fd, KVM_ENABLE_CAP, &c))
		return 0;
	snprintf(what, sizeof(what), "cannot enable capability %u", cap);
	return setup_failed(what, err);
}

#define SETUP_MSRS(from, bits)                                          \
	{                                                               \
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,    \
		.base = from, .nmsrs = 8 * sizeof(bits), .bitmap = bits \
	}

/*
 * Bits of the MSRs that stay with the kernel.  The x2APIC's cannot be filtered
 * and are the kernel's, too (API, 4.97).
 */
static int setup_msrs(int fd, struct err *err)
{
	uint8_t apic[] = { 0, 0, 0, 8 }; /* 1b: APIC base */
	uint8_t sysenter[] = { 0x70 };   /* 174..176 */
	uint8_t pat[] = { 0x80 };        /* 277 */
	uint8_t deadline[] = { 0x01 };   /* 6e0 */
	uint8_t efer[] = { 0x1f };       /* c0000080..84 */
	uint8_t bases[] = { 0x0f };      /* c0000100..103 */
	struct kvm_msr_filter f = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges = {
			SETUP_MSRS(0, apic),
			SETUP_MSRS(0x170, sysenter),
			SETUP_MSRS(0x270, pat),
			SETUP_MSRS(0x6e0, deadline),
			SETUP_MSRS(0xc0000080, efer),
			SETUP_MSRS(0xc0000100, bases),
		},
	};
	int rc = setup_enable(fd, KVM_CAP_X86_USER_SPACE_MSR,
			      KVM_MSR_EXIT_REASON_FILTER |
				      KVM_MSR_EXIT_REASON_UNKNOWN |
				      KVM_MSR_EXIT_REASON_INVAL,
			      err);

	if (rc == 0 && ioctl(fd, KVM_X86_SET_MSR_FILTER, &f))
		rc = setup_failed("cannot filter MSRs", err);
	return rc;
}

/* --- Doorbells --------------------------------------------------------------
 */

/* mem_doorbell_hook: the kernel rings (API, KVM_IOEVENTFD). */
static int setup_doorbell(void *opaque, uint64_t gpa, int fd, bool there)
{
	struct x86_machine *xm = opaque;
	struct kvm_ioeventfd e = {
		.addr = gpa,
		.fd = fd,
		.flags = there ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return ioctl(kvm_guest(xm)->fd, KVM_IOEVENTFD, &e) ? -errno : 0;
}

/* --- A guest ----------------------------------------------------------------
 */

/* What the kernel does not know about, it does not need. */
static void setup_optional(struct kvm_guest *g)
{
	uint64_t identity = SETUP_IDENTITY_MAP;

	ioctl(g->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(g->fd, KVM_SET_TSS_ADDR, SETUP_TSS);
}

static int setup_interrupts(struct kvm_guest *g, struct err *err)
{
	int rc = setup_enable(g->fd, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_PINS,
			      err);

	return rc ? rc
		  : setup_enable(g->fd, KVM_CAP_X2APIC_API,
				 KVM_X2APIC_API_USE_32BIT_IDS |
					 KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
				 err);
}

static int setup_create(struct kvm_guest *g, struct err *err)
{
	int n;

	g->kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (g->kvm < 0)
		return setup_failed(KVM_DEVICE, err);
	do { /* a signal on its way ends it early */
		g->fd = ioctl(g->kvm, KVM_CREATE_VM, 0);
	} while (g->fd < 0 && errno == EINTR);
	if (g->fd < 0)
		return setup_failed("cannot create a virtual machine", err);
	n = ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (n < (int)sizeof(struct kvm_run))
		return setup_failed("no size of a vCPU's page", err);
	g->run_bytes = (size_t)n;
	setup_optional(g);
	return 0;
}

static void setup_hooks(struct x86_machine *xm, struct kvm_guest *g)
{
	mem_set_remap_hook(xm->mem, slots_remapped, xm);
	if (ioctl(g->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) >
	    0)
		mem_set_doorbell_hook(xm->mem, setup_doorbell, xm);
}

int setup_guest(struct x86_machine *xm, struct err *err)
{
	struct kvm_guest *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return err_set(err, ENOMEM, "no memory for a KVM guest");
	g->kvm = g->fd = -1;
	pthread_mutex_init(&g->slot_lock, NULL);
	pthread_mutex_init(&g->route_lock, NULL);
	pthread_mutex_init(&g->ring_lock, NULL);
	xm->engine = g;
	rc = setup_create(g, err);
	if (rc == 0)
		rc = setup_interrupts(g, err);
	if (rc == 0)
		rc = setup_msrs(g->fd, err);
	if (rc == 0)
		rc = slots_update(xm, err);
	if (rc)
		setup_guest_free(xm);
	else
		setup_hooks(xm, g);
	return rc;
}

void setup_guest_free(struct x86_machine *xm)
{
	struct kvm_guest *g = kvm_guest(xm);

	mem_set_remap_hook(xm->mem, NULL, NULL);
	mem_set_doorbell_hook(xm->mem, NULL, NULL);
	if (g->fd >= 0)
		close(g->fd);
	if (g->kvm >= 0)
		close(g->kvm);
	pthread_mutex_destroy(&g->slot_lock);
	pthread_mutex_destroy(&g->route_lock);
	pthread_mutex_destroy(&g->ring_lock);
	free(g);
	xm->engine = NULL;
}

/* --- A vCPU
 * -------------------------------------------------------------------- */

int setup_signal_mask(int vcpu)
{
	union {
		struct kvm_signal_mask head;
		uint8_t bytes[sizeof(struct kvm_signal_mask) + 8];
	} mask = { .head.len = 8 };
	const uint64_t set = ~(1ull << (KVM_KICK_SIGNAL - 1));

	memcpy(mask.bytes + offsetof(struct kvm_signal_mask, sigset), &set, 8);
	return ioctl(vcpu, KVM_SET_SIGNAL_MASK, &mask.head) ? -errno : 0;
}

static int setup_map_run(struct kvm_vcpu *v, size_t bytes, struct err *err)
{
	void *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);

	if (p == MAP_FAILED)
		return setup_failed("cannot map a vCPU", err);
	v->run = p;
	return 0;
}

int setup_vcpu(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_guest *g = kvm_guest(cpu->xm);
	struct kvm_vcpu *v = NULL;
	int rc;

	if (posix_memalign((void **)&v, 64, sizeof(*v)))
		return err_set(err, ENOMEM, "no memory for a vCPU");
	memset(v, 0, sizeof(*v));
	v->cpu = cpu;
	cpu->engine = v;
	v->fd = ioctl(g->fd, KVM_CREATE_VCPU, (unsigned long)cpu->index);
	if (v->fd < 0)
		rc = setup_failed("cannot create a vCPU", err);
	else
		rc = setup_map_run(v, g->run_bytes, err);
	if (rc == 0 && setup_signal_mask(v->fd))
		rc = setup_failed("cannot set a signal mask", err);
	if (rc)
		setup_vcpu_free(cpu);
	else
		lapic_set_outside(cpu->lapic, true);
	if (rc == 0 && cpu->index == 0)
		g->tsc_khz = (uint32_t)ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	if (rc == 0 && !g->ring)
		coalesce_start(cpu->xm, v->run);
	return rc;
}

void setup_vcpu_free(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	struct kvm_guest *g = kvm_guest(cpu->xm);

	if (v->run && cpu->index == 0)
		coalesce_end(cpu->xm);
	if (v->run)
		munmap(v->run, g->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	free(v);
	cpu->engine = NULL;
}
