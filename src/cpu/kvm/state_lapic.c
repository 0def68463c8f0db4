/*
 * state_lapic.c - the local APIC's registers, in the kernel's page and ours.
 *
 * The page (API, KVM_GET_LAPIC) is the processor's own: a register every 16
 * bytes.  KVM's timer runs at 1 GHz, as ours does.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* Registers by number: SDM table 11-6. */
enum {
	PAGE_ID = 0x02,
	PAGE_VERSION = 0x03,
	PAGE_PPR = 0x0a,
	PAGE_LVT_TIMER = 0x32,
	PAGE_TMICT = 0x38,
	PAGE_TMCCT = 0x39,
};

#define PAGE_VERSION_VALUE 0x01050014u
#define PAGE_BASE_EXTD     0x400u
#define PAGE_TIMER_MODE    0x60000u
#define PAGE_MASKED        0x10000u

static uint32_t page_read(const struct kvm_lapic_state *s, unsigned reg)
{
	uint32_t v;

	memcpy(&v, s->regs + 16 * reg, sizeof(v));
	return v;
}

static void page_write(struct kvm_lapic_state *s, unsigned reg, uint32_t v)
{
	memcpy(s->regs + 16 * reg, &v, sizeof(v));
}

/* Registers that are made up on each side. */
static bool page_is_derived(unsigned reg)
{
	return reg == PAGE_ID || reg == PAGE_VERSION || reg == PAGE_PPR ||
	       reg == PAGE_TMCCT;
}

static void page_to_regs(struct x86_cpu *cpu, const struct kvm_lapic_state *s,
			 struct lapic_regs *r)
{
	uint32_t count = page_read(s, PAGE_TMCCT);

	for (unsigned i = 0; i < 64; i++)
		if (!page_is_derived(i))
			r->reg[i] = page_read(s, i);
	/*
	 * A one-shot that has run out may not have raised its interrupt yet,
	 * which nothing tells: as if it were about to.  One too many does no
	 * harm.
	 */
	if (!(r->reg[PAGE_LVT_TIMER] & PAGE_TIMER_MODE) && !count &&
	    r->reg[PAGE_LVT_TIMER] & PAGE_MASKED)
		r->running = 0;
	else
		lapic_place_timer(cpu->lapic, r, count);
}

int lapic_state_get(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	struct kvm_lapic_state s;
	struct kvm_sregs2 sregs;
	struct lapic_regs r;

	if (ioctl(v->fd, KVM_GET_LAPIC, &s) ||
	    ioctl(v->fd, KVM_GET_SREGS2, &sregs))
		return err_set(err, errno, "KVM cannot read the local APIC: %s",
			       strerror(errno));
	lapic_get_regs(cpu->lapic, &r);
	r.base = sregs.apic_base;
	page_to_regs(cpu, &s, &r);
	lapic_set_regs(cpu->lapic, &r);
	return 0;
}

int lapic_state_set(struct x86_cpu *cpu, const struct lapic_regs *r,
		    struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	struct kvm_lapic_state s;
	uint32_t count = lapic_timer_count(cpu->lapic);

	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i < 64; i++)
		page_write(&s, i, r->reg[i]);
	page_write(&s, PAGE_ID,
		   r->base & PAGE_BASE_EXTD ? cpu->index : cpu->index << 24);
	page_write(&s, PAGE_VERSION, PAGE_VERSION_VALUE);
	page_write(&s, PAGE_TMCCT, count);
	/* The kernel would take a count of 0 for one that ends now. */
	if (!r->running)
		page_write(&s, PAGE_TMICT, 0);
	else if (!count)
		page_write(&s, PAGE_TMCCT, 1);
	if (ioctl(v->fd, KVM_SET_LAPIC, &s))
		return -errno;
	return 0;
}
