/*
 * debug.c - gdb's breakpoints and watchpoints in the processor's own debug
 * registers (API, KVM_SET_GUEST_DEBUG).
 *
 * There are four.  Watchpoints come first; breakpoints that find no room are
 * looked for by stepping, which is slow and right.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <sys/ioctl.h>

#define DEBUG_REGS 4
#define DEBUG_DR7  0x700ull /* bit 10 is fixed; LE, GE */

/* DR7: bits 16 + 4i: 0 execute, 1 write, 3 access; 18 + 4i: length - 1. */
static void debug_set_reg(struct kvm_guest_debug *d, unsigned i, uint64_t addr,
			  unsigned kind, uint64_t len)
{
	uint64_t size = len >= 8 ? 2 : len >= 4 ? 3 : len >= 2 ? 1 : 0;

	d->arch.debugreg[i] = addr;
	d->arch.debugreg[7] |= 2ull << 2 * i | (uint64_t)kind << (16 + 4 * i) |
			       size << (18 + 4 * i);
}

static void debug_set_points(struct kvm_guest_debug *d,
			     const struct x86_debug *points)
{
	unsigned n = 0;

	for (unsigned i = 0; i < points->watch_count && n < DEBUG_REGS; i++)
		debug_set_reg(d, n++, points->watch[i].addr,
			      points->watch[i].read ? 3 : 1,
			      points->watch[i].len);
	if (points->bp_count > DEBUG_REGS - n)
		d->control |= KVM_GUESTDBG_SINGLESTEP;
	else
		for (unsigned i = 0; i < points->bp_count; i++)
			debug_set_reg(d, n++, points->bp[i], 0, 1);
	if (n)
		d->control |= KVM_GUESTDBG_USE_HW_BP;
}

static bool debug_has_points(const struct x86_debug *points)
{
	return points && (points->bp_count || points->watch_count);
}

int debug_arm(struct x86_cpu *cpu, bool step)
{
	struct kvm_vcpu *v = cpu->engine;
	const struct x86_debug *points = cpu->xm->debug;
	struct kvm_guest_debug d = { 0 };
	bool want = step || debug_has_points(points);

	if (!want && !v->debugging)
		return 0;
	if (want)
		d.control = KVM_GUESTDBG_ENABLE;
	d.arch.debugreg[7] = DEBUG_DR7;
	if (step)
		d.control |= KVM_GUESTDBG_SINGLESTEP;
	else if (want)
		debug_set_points(&d, points);
	v->debugging = want;
	return ioctl(v->fd, KVM_SET_GUEST_DEBUG, &d) ? -errno : 0;
}

static bool debug_at_breakpoint(const struct x86_debug *points, uint64_t pc)
{
	for (unsigned i = 0; i < points->bp_count; i++)
		if (points->bp[i] == pc)
			return true;
	return false;
}

bool debug_is_hit(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	struct x86_debug *points = cpu->xm->debug;
	const struct kvm_debug_exit_arch *a = &v->run->debug.arch;

	if (!debug_has_points(points))
		return true;
	for (unsigned i = 0; i < points->watch_count && i < DEBUG_REGS; i++)
		if (a->dr6 >> i & 1) {
			points->watch_hit = points->watch[i].addr;
			return true;
		}
	return a->dr6 & 0xf || debug_at_breakpoint(points, a->pc);
}
