/*
 * kvmclock.c - KVM's paravirtual clock: system time and wall clock.
 *
 * Source: Linux Documentation/virt/kvm/x86/msr.rst.  The guest computes
 *
 *	ns = system_time + ((tsc - tsc_timestamp) << shift) * mul >> 32
 *
 * All vCPUs' pages are derived from one pair (host TSC, guest time), kept in
 * x86_machine.kvmclock, so that TSC_STABLE may be claimed: readings of two
 * vCPUs never contradict each other.  The first vCPU renews the pair when
 * guest time was moved; the others follow.
 *
 * A page lies wherever the guest said; what is not RAM is not written.
 */
#include "cpu/x86/msr.h"

#include <string.h>

#include "base/clock.h"
#include "mem/mem.h"

#define KVMCLOCK_ENABLE     1ull
#define KVMCLOCK_TSC_STABLE 1

struct kvmclock_page { /* pvclock_vcpu_time_info */
	uint32_t version;
	uint32_t pad;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad2[2];
};
_Static_assert(sizeof(struct kvmclock_page) == 32, "pvclock ABI");

struct kvmclock_wall { /* pvclock_wall_clock */
	uint32_t version;
	uint32_t sec;
	uint32_t nsec;
};

/* mul in [2^31, 2^32): as many significant bits as there are. */
static void kvmclock_scale(uint32_t tsc_khz, uint32_t *mul, int8_t *shift)
{
	uint64_t hz = tsc_khz ? tsc_khz * 1000ull : 1000000000ull;

	*shift = 0;
	for (; hz > 2000000000ull; hz >>= 1)
		--*shift;
	for (; hz <= 1000000000ull; hz <<= 1)
		++*shift;
	*mul = (1000000000ull << 32) / hz;
}

/* The pair with the least time between its two readings of the TSC. */
static void kvmclock_sample(const struct x86_machine *xm, uint64_t *tsc,
			    uint64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = x86_scale_tsc(xm, clock_tsc());
		uint64_t now = vclock_now(xm->clock);
		uint64_t after = x86_scale_tsc(xm, clock_tsc());

		if (after - before < best) {
			best = after - before;
			*tsc = before + best / 2;
			*ns = now;
		}
	}
}

static void kvmclock_base(struct x86_cpu *cpu, bool renew, uint64_t *tsc,
			  uint64_t *ns)
{
	struct x86_machine *xm = cpu->xm;

	while (atomic_flag_test_and_set(&xm->kvmclock.lock))
		__builtin_ia32_pause();
	if (!xm->kvmclock.valid || renew) {
		kvmclock_sample(xm, &xm->kvmclock.tsc, &xm->kvmclock.ns);
		xm->kvmclock.valid = true;
	}
	*tsc = xm->kvmclock.tsc;
	*ns = xm->kvmclock.ns;
	atomic_flag_clear(&xm->kvmclock.lock);
}

static void *kvmclock_map(struct x86_cpu *cpu, uint64_t msr, size_t size)
{
	return mem_host(cpu->mem, msr & ~3ull, size);
}

/*
 * The version is odd while the fields change; the guest's reader retries then.
 * x86 keeps stores in order, so compiler barriers are enough.
 */
static void kvmclock_write(struct x86_cpu *cpu, bool renew)
{
	uint64_t msr = cpu->msr.kvm_system_time, tsc, ns;
	volatile struct kvmclock_page *page;
	uint32_t mul, version;
	int8_t shift;

	if (!(msr & KVMCLOCK_ENABLE))
		return;
	page = kvmclock_map(cpu, msr & ~KVMCLOCK_ENABLE, sizeof(*page));
	if (!page)
		return;
	kvmclock_base(cpu, renew, &tsc, &ns);
	kvmclock_scale(cpu->xm->tsc_khz, &mul, &shift);
	version = page->version | 1;
	page->version = version;
	atomic_signal_fence(memory_order_seq_cst);
	page->tsc_timestamp = tsc + cpu->tsc_offset;
	page->system_time = ns;
	page->tsc_to_system_mul = mul;
	page->tsc_shift = shift;
	page->flags = KVMCLOCK_TSC_STABLE;
	atomic_signal_fence(memory_order_seq_cst);
	page->version = version + 1;
	mem_written(cpu->mem, msr & ~3ull, sizeof(*page));
}

/* Wall clock time at which guest time was 0. */
static void kvmclock_write_wall(struct x86_cpu *cpu, uint64_t gpa)
{
	uint64_t boot = clock_real_ns() - vclock_now(cpu->xm->clock);
	volatile struct kvmclock_wall *wall;
	uint32_t version;

	wall = kvmclock_map(cpu, gpa, sizeof(*wall));
	if (!wall)
		return;
	version = wall->version | 1;
	wall->version = version;
	atomic_signal_fence(memory_order_seq_cst);
	wall->sec = boot / 1000000000u;
	wall->nsec = boot % 1000000000u;
	atomic_signal_fence(memory_order_seq_cst);
	wall->version = version + 1;
	mem_written(cpu->mem, gpa & ~3ull, sizeof(*wall));
}

bool x86_kvmclock_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	switch (index) {
	case 0x11:
	case 0x4b564d00:
		cpu->msr.kvm_wall_clock = value;
		kvmclock_write_wall(cpu, value);
		return true;
	case 0x12:
	case 0x4b564d01:
		cpu->msr.kvm_system_time = value;
		kvmclock_write(cpu, false);
		return true;
	default:
		return false;
	}
}

void x86_kvmclock_refresh(struct x86_cpu *cpu)
{
	kvmclock_write(cpu, cpu->index == 0);
}
