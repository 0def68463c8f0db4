/*
 * state.c - a vCPU's state between struct x86_cpu and the kernel.
 *
 * Theory of operation
 *
 * struct x86_cpu is what the world knows of a vCPU: the debugger, saved state,
 * reset, the other engines.  While run() is inside, the kernel's copy counts;
 * on the way in and out the two are made the same.  The state has parts, each
 * with a system call to read and one to write it (state_parts[]).  A part is
 * written only if what *cpu says now differs from what the kernel is known to
 * have, so that nobody has to tell which parts he changed, and nothing that
 * the kernel did meanwhile (an interrupt that came for a vCPU that stood) is
 * overwritten without need.
 *
 * What is ours alone and never the kernel's: MSRs without effect on the
 * processor (setup.c), kvmclock, the TSC's offset (the guest's writes to the
 * TSC come out to us).
 *
 * Events.  A vCPU can stop while an exception or interrupt is on its way into
 * the guest.  Other engines know no such state, so state_pull() delivers it
 * itself (x86_deliver): the vCPU then stands before the handler's first
 * instruction.
 *
 * The TSC deadline is taken out of the kernel while the vCPU stands: guest
 * time stands still then, but the kernel's timer would not.
 */
#include "cpu/kvm/kvm_impl.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"

#define STATE_MSR_DEADLINE 0x6e0

/* --- General registers ---------------------------------------------------- */

static const size_t state_gprs[16] = {
#define STATE_GPR(n) offsetof(struct kvm_regs, n)
	STATE_GPR(rax), STATE_GPR(rcx), STATE_GPR(rdx), STATE_GPR(rbx),
	STATE_GPR(rsp), STATE_GPR(rbp), STATE_GPR(rsi), STATE_GPR(rdi),
	STATE_GPR(r8),  STATE_GPR(r9),  STATE_GPR(r10), STATE_GPR(r11),
	STATE_GPR(r12), STATE_GPR(r13), STATE_GPR(r14), STATE_GPR(r15),
#undef STATE_GPR
};

static void state_make_regs(struct x86_cpu *cpu, struct state_parts *p)
{
	for (unsigned i = 0; i < 16; i++)
		memcpy((char *)&p->regs + state_gprs[i], &cpu->gpr[i], 8);
	p->regs.rip = cpu->rip;
	p->regs.rflags = cpu->rflags;
}

static void state_take_regs(struct x86_cpu *cpu, const struct state_parts *p)
{
	for (unsigned i = 0; i < 16; i++)
		memcpy(&cpu->gpr[i], (const char *)&p->regs + state_gprs[i], 8);
	cpu->rip = p->regs.rip;
	cpu->rflags = p->regs.rflags | X86_FLAG_1;
}

/* --- Segments, control registers --------------------------------------------
 */

static const size_t state_segs[X86_SEG_COUNT] = {
#define STATE_SEG(n, f) [X86_##n] = offsetof(struct kvm_sregs2, f)
	STATE_SEG(ES, es), STATE_SEG(CS, cs),    STATE_SEG(SS, ss),
	STATE_SEG(DS, ds), STATE_SEG(FS, fs),    STATE_SEG(GS, gs),
	STATE_SEG(TR, tr), STATE_SEG(LDTR, ldt),
#undef STATE_SEG
};

/* attr: cpu.h has the picture. */
static struct kvm_segment state_make_seg(const struct x86_seg *s)
{
	return (struct kvm_segment){
		.selector = s->sel,
		.base = s->base,
		.limit = s->limit,
		.type = s->attr & 0xf,
		.s = s->attr >> 4 & 1,
		.dpl = s->attr >> 5 & 3,
		.present = s->attr >> 7 & 1,
		.avl = s->attr >> 12 & 1,
		.l = s->attr >> 13 & 1,
		.db = s->attr >> 14 & 1,
		.g = s->attr >> 15 & 1,
		.unusable = s->attr >> 16 & 1,
	};
}

static struct x86_seg state_take_seg(const struct kvm_segment *k)
{
	return (struct x86_seg){
		.sel = k->selector,
		.base = k->base,
		.limit = k->limit,
		.attr = (k->type & 0xfu) | (k->s & 1u) << 4 |
			(k->dpl & 3u) << 5 | (k->present & 1u) << 7 |
			(k->avl & 1u) << 12 | (k->l & 1u) << 13 |
			(k->db & 1u) << 14 | (k->g & 1u) << 15 |
			(k->unusable & 1u) << 16,
	};
}

/* Legacy PAE paging: the PDPTEs are registers. */
static bool state_has_pdptes(const struct x86_cpu *cpu)
{
	return cpu->cr0 & X86_CR0_PG && cpu->cr4 & X86_CR4_PAE &&
	       !x86_long_mode(cpu);
}

static void state_make_sregs(struct x86_cpu *cpu, struct state_parts *p)
{
	struct kvm_sregs2 *s = &p->sregs;
	uint64_t base = 0;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		struct kvm_segment k = state_make_seg(&cpu->seg[i]);

		memcpy((char *)s + state_segs[i], &k, sizeof(k));
	}
	s->gdt = (struct kvm_dtable){ cpu->gdtr.base, cpu->gdtr.limit, { 0 } };
	s->idt = (struct kvm_dtable){ cpu->idtr.base, cpu->idtr.limit, { 0 } };
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->cr8 = lapic_get_tpr(cpu->lapic);
	s->efer = cpu->msr.efer;
	lapic_rdmsr(cpu->lapic, 0x1b, &base);
	s->apic_base = base;
	if (state_has_pdptes(cpu)) {
		s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s->pdptrs, cpu->pdpte, sizeof(s->pdptrs));
	}
}

static void state_take_sregs(struct x86_cpu *cpu, const struct state_parts *p)
{
	const struct kvm_sregs2 *s = &p->sregs;

	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		struct kvm_segment k;

		memcpy(&k, (const char *)s + state_segs[i], sizeof(k));
		cpu->seg[i] = state_take_seg(&k);
	}
	cpu->gdtr = (struct x86_dtr){ s->gdt.base, s->gdt.limit };
	cpu->idtr = (struct x86_dtr){ s->idt.base, s->idt.limit };
	cpu->cr0 = s->cr0;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->msr.efer = s->efer;
	cpu->cpl = s->ss.dpl;
	if (s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		memcpy(cpu->pdpte, s->pdptrs, sizeof(cpu->pdpte));
}

/* --- Vector and debug registers
 * ------------------------------------------------ */

static void state_make_xcrs(struct x86_cpu *cpu, struct state_parts *p)
{
	memset(&p->xcrs, 0, sizeof(p->xcrs));
	p->xcrs.nr_xcrs = 1;
	p->xcrs.xcrs[0].value = cpu->xcr0;
}

static void state_take_xcrs(struct x86_cpu *cpu, const struct state_parts *p)
{
	for (unsigned i = 0; i < p->xcrs.nr_xcrs; i++)
		if (p->xcrs.xcrs[i].xcr == 0)
			cpu->xcr0 = p->xcrs.xcrs[i].value;
}

/* The kernel takes the image of what it lets the guest use: leaf d. */
static void state_make_xsave(struct x86_cpu *cpu, struct state_parts *p)
{
	struct x86_cpuid_regs d;
	uint64_t have;

	_Static_assert(sizeof(p->xsave) >= X86_XSAVE_SIZE,
		       "room for the image");
	x86_cpuid(cpu, 0xd, 0, &d);
	have = d.eax & 7;
	memset(&p->xsave, 0, sizeof(p->xsave));
	memcpy(&p->xsave, cpu->fpu.b, X86_XSAVE_SIZE);
	memcpy((char *)&p->xsave + FPU_XSTATE_BV, &have, sizeof(have));
}

static void state_take_xsave(struct x86_cpu *cpu, const struct state_parts *p)
{
	static const uint64_t everything = 7;

	memcpy(cpu->fpu.b, &p->xsave, X86_XSAVE_SIZE);
	memcpy(cpu->fpu.b + FPU_XSTATE_BV, &everything, sizeof(everything));
	memset(cpu->fpu.b + FPU_XSTATE_BV + 8, 0, 56);
	/* The kernel's own words in the legacy area. */
	memset(cpu->fpu.b + 416, 0, 96);
	fpu_set32(cpu, FPU_MXCSR_MASK, FPU_MXCSR_VALID);
}

static void state_make_debug(struct x86_cpu *cpu, struct state_parts *p)
{
	memset(&p->debug, 0, sizeof(p->debug));
	memcpy(p->debug.db, cpu->dr, sizeof(p->debug.db));
	p->debug.dr6 = cpu->dr[6];
	p->debug.dr7 = cpu->dr[7];
}

static void state_take_debug(struct x86_cpu *cpu, const struct state_parts *p)
{
	memcpy(cpu->dr, p->debug.db, sizeof(p->debug.db));
	cpu->dr[6] = p->debug.dr6;
	cpu->dr[7] = p->debug.dr7;
}

/* --- MSRs
 * --------------------------------------------------------------------- */

static const struct {
	uint32_t index;
	size_t offset; /* in struct x86_msrs */
} state_msrs[STATE_MSRS] = {
#define STATE_MSR(n, f)                         \
	{                                       \
		n, offsetof(struct x86_msrs, f) \
	}
	STATE_MSR(0x174, sysenter_cs),         STATE_MSR(0x175, sysenter_esp),
	STATE_MSR(0x176, sysenter_eip),        STATE_MSR(0x277, pat),
	STATE_MSR(0xc0000081, star),           STATE_MSR(0xc0000082, lstar),
	STATE_MSR(0xc0000083, cstar),          STATE_MSR(0xc0000084, fmask),
	STATE_MSR(0xc0000102, kernel_gs_base), STATE_MSR(0xc0000103, tsc_aux),
#undef STATE_MSR
};

/* Without RDTSCP and RDPID there is no TSC_AUX: the table's end. */
static unsigned state_msr_count(struct x86_cpu *cpu)
{
	struct x86_cpuid_regs ext, seven;

	x86_cpuid(cpu, 0x80000001, 0, &ext);
	x86_cpuid(cpu, 7, 0, &seven);
	if (ext.edx & 1u << 27 || seven.ecx & 1u << 22)
		return 10;
	return 9;
}

static void state_make_msrs(struct x86_cpu *cpu, struct state_parts *p)
{
	memset(&p->msrs, 0, sizeof(p->msrs));
	p->msrs.head.nmsrs = state_msr_count(cpu);
	for (unsigned i = 0; i < p->msrs.head.nmsrs; i++) {
		p->msrs.entry[i].index = state_msrs[i].index;
		memcpy(&p->msrs.entry[i].data,
		       (char *)&cpu->msr + state_msrs[i].offset, 8);
	}
}

static void state_take_msrs(struct x86_cpu *cpu, const struct state_parts *p)
{
	for (unsigned i = 0; i < p->msrs.head.nmsrs; i++)
		memcpy((char *)&cpu->msr + state_msrs[i].offset,
		       &p->msrs.entry[i].data, 8);
}

/* --- Events and activity
 * --------------------------------------------------------- */

static void state_make_events(struct x86_cpu *cpu, struct state_parts *p)
{
	struct kvm_vcpu_events *e = &p->events;

	memset(e, 0, sizeof(*e));
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	e->nmi.masked = cpu->nmi_blocked;
	e->nmi.pending = !!(atomic_load(&cpu->pending) & X86_PEND_NMI);
	if (cpu->int_shadow)
		e->interrupt.shadow = cpu->int_shadow == 2
					      ? KVM_X86_SHADOW_INT_MOV_SS
					      : KVM_X86_SHADOW_INT_STI;
}

static void state_take_events(struct x86_cpu *cpu, const struct state_parts *p)
{
	const struct kvm_vcpu_events *e = &p->events;

	cpu->nmi_blocked = e->nmi.masked;
	if (e->nmi.pending)
		atomic_fetch_or(&cpu->pending, X86_PEND_NMI);
	cpu->int_shadow = 0;
	if (e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS)
		cpu->int_shadow = 2;
	else if (e->interrupt.shadow)
		cpu->int_shadow = 1;
}

static void state_make_mp(struct x86_cpu *cpu, struct state_parts *p)
{
	static const uint32_t mp[] = {
		[X86_ACTIVE] = KVM_MP_STATE_RUNNABLE,
		[X86_HALTED] = KVM_MP_STATE_HALTED,
		[X86_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	};

	p->mp.mp_state = mp[cpu->activity];
}

static void state_take_mp(struct x86_cpu *cpu, const struct state_parts *p)
{
	switch (p->mp.mp_state) {
	case KVM_MP_STATE_HALTED:
		cpu->activity = X86_HALTED;
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		cpu->activity = X86_WAIT_SIPI;
		break;
	default:
		cpu->activity = X86_ACTIVE;
	}
}

/* --- The TSC, the local APIC
 * --------------------------------------------------- */

static void state_make_tsc(struct x86_cpu *cpu, struct state_parts *p)
{
	p->tsc_offset = cpu->tsc_offset;
}

/* Where the host's TSC is not to be relied on, the kernel moves it. */
static void state_take_tsc(struct x86_cpu *cpu, const struct state_parts *p)
{
	cpu->tsc_offset = p->tsc_offset;
}

static int state_get_tsc(struct x86_cpu *cpu, struct state_parts *p)
{
	struct kvm_vcpu *v = cpu->engine;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)&p->tsc_offset,
	};

	return ioctl(v->fd, KVM_GET_DEVICE_ATTR, &attr) ? -errno : 0;
}

static int state_set_tsc(struct x86_cpu *cpu, struct state_parts *p)
{
	struct kvm_vcpu *v = cpu->engine;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)&p->tsc_offset,
	};

	return ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr) ? -errno : 0;
}

static void state_make_lapic(struct x86_cpu *cpu, struct state_parts *p)
{
	lapic_get_regs(cpu->lapic, &p->lapic);
}

static int state_set_lapic(struct x86_cpu *cpu, struct state_parts *p)
{
	return lapic_state_set(cpu, &p->lapic, NULL);
}

static int state_get_lapic(struct x86_cpu *cpu, struct state_parts *p)
{
	return lapic_state_get(cpu, NULL);
}

/* --- The parts, in the order in which they are written
 * -------------------------- */

struct state_part {
	const char *name;
	size_t offset, size; /* in struct state_parts */
	void (*make)(struct x86_cpu *cpu, struct state_parts *p);
	void (*take)(struct x86_cpu *cpu, const struct state_parts *p);
	unsigned long get_call, set_call;
	/* Instead of the calls. */
	int (*get)(struct x86_cpu *cpu, struct state_parts *p);
	int (*set)(struct x86_cpu *cpu, struct state_parts *p);
};

#define STATE_AT(field)                      \
	offsetof(struct state_parts, field), \
		sizeof(((struct state_parts *)0)->field)

/* CR4 and the segments' meaning first; the MSRs' call returns a count. */
static const struct state_part state_parts[] = {
	{ "segments", STATE_AT(sregs), state_make_sregs, state_take_sregs,
	  KVM_GET_SREGS2, KVM_SET_SREGS2, NULL, NULL },
	{ "XCR0", STATE_AT(xcrs), state_make_xcrs, state_take_xcrs,
	  KVM_GET_XCRS, KVM_SET_XCRS, NULL, NULL },
	{ "XSAVE area", STATE_AT(xsave), state_make_xsave, state_take_xsave,
	  KVM_GET_XSAVE, KVM_SET_XSAVE, NULL, NULL },
	{ "registers", STATE_AT(regs), state_make_regs, state_take_regs,
	  KVM_GET_REGS, KVM_SET_REGS, NULL, NULL },
	{ "debug registers", STATE_AT(debug), state_make_debug,
	  state_take_debug, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, NULL, NULL },
	{ "MSRs", STATE_AT(msrs), state_make_msrs, state_take_msrs,
	  KVM_GET_MSRS, KVM_SET_MSRS, NULL, NULL },
	{ "TSC", STATE_AT(tsc_offset), state_make_tsc, state_take_tsc, 0, 0,
	  state_get_tsc, state_set_tsc },
	{ "local APIC", STATE_AT(lapic), state_make_lapic, NULL, 0, 0,
	  state_get_lapic, state_set_lapic },
	{ "events", STATE_AT(events), state_make_events, state_take_events,
	  KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, NULL, NULL },
	{ "activity", STATE_AT(mp), state_make_mp, state_take_mp,
	  KVM_GET_MP_STATE, KVM_SET_MP_STATE, NULL, NULL },
};

#define STATE_PARTS (sizeof(state_parts) / sizeof(state_parts[0]))

static void *state_at(struct state_parts *p, const struct state_part *part)
{
	return (char *)p + part->offset;
}

static int state_call(struct kvm_vcpu *v, const struct state_part *part,
		      unsigned long call, struct state_parts *p)
{
	int rc = ioctl(v->fd, call, state_at(p, part));

	if (rc < 0)
		return -errno;
	/* The count of MSRs that it did; the next one was refused. */
	if ((call == KVM_SET_MSRS || call == KVM_GET_MSRS) &&
	    (uint32_t)rc != p->msrs.head.nmsrs)
		return -EINVAL;
	return 0;
}

static int state_fail(struct x86_cpu *cpu, const char *verb,
		      const struct state_part *part, int rc, struct err *err)
{
	return err_set(err, -rc, "KVM cannot %s the %s of vCPU %u: %s", verb,
		       part->name, cpu->index, strerror(-rc));
}

/* --- In
 * ---------------------------------------------------------------------------
 */

static int state_push_part(struct x86_cpu *cpu, const struct state_part *part)
{
	struct kvm_vcpu *v = cpu->engine;
	struct state_parts *now = &v->scratch;
	int rc;

	part->make(cpu, now);
	if (v->have_known &&
	    !memcmp(state_at(now, part), state_at(&v->known, part), part->size))
		return 0;
	rc = part->set ? part->set(cpu, now)
		       : state_call(v, part, part->set_call, now);
	part->make(cpu, &v->known);
	return rc;
}

static int state_deadline(struct kvm_vcpu *v, unsigned long call, uint64_t *tsc)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1,
		.entry = { .index = STATE_MSR_DEADLINE, .data = *tsc } };

	if (ioctl(v->fd, call, &m) != 1)
		return -EIO;
	*tsc = m.entry.data;
	return 0;
}

static void state_start_deadline(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	uint64_t tsc = lapic_get_deadline(cpu->lapic);

	if (!v->deadline_armed && tsc)
		state_deadline(v, KVM_SET_MSRS, &tsc);
	v->deadline_armed = true;
}

static void state_stop_deadline(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	uint64_t tsc = 0, none = 0;

	if (!v->deadline_armed)
		return;
	v->deadline_armed = false;
	if (state_deadline(v, KVM_GET_MSRS, &tsc))
		return;
	lapic_set_deadline(cpu->lapic, tsc);
	if (tsc)
		state_deadline(v, KVM_SET_MSRS, &none);
}

int state_tsc_moved(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	uint64_t tsc = 0;
	int rc;

	if (cpu->tsc_offset == v->known.tsc_offset)
		return 0;
	v->known.tsc_offset = cpu->tsc_offset;
	rc = state_set_tsc(cpu, &v->known);
	/* The kernel's timer does not hear of it. */
	if (rc == 0 && state_deadline(v, KVM_GET_MSRS, &tsc) == 0 && tsc)
		rc = state_deadline(v, KVM_SET_MSRS, &tsc);
	return rc;
}

int state_give(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	int rc = v->have_known ? 0 : setup_cpuid(cpu, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < STATE_PARTS; i++) {
		rc = state_push_part(cpu, &state_parts[i]);
		if (rc)
			return state_fail(cpu, "set", &state_parts[i], rc, err);
	}
	v->have_known = true;
	return 0;
}

int state_push(struct x86_cpu *cpu, struct err *err)
{
	int rc = state_give(cpu, err);

	if (rc)
		return rc;
	atomic_fetch_and(&cpu->pending, ~X86_PEND_NMI);
	state_start_deadline(cpu);
	return 0;
}

/* --- Out
 * -------------------------------------------------------------------------- */

static int state_pull_part(struct x86_cpu *cpu, const struct state_part *part)
{
	struct kvm_vcpu *v = cpu->engine;
	int rc = 0;

	if (part->get)
		rc = part->get(cpu, &v->scratch);
	else if (part->get_call)
		rc = state_call(v, part, part->get_call, &v->scratch);
	if (rc == 0 && part->take)
		part->take(cpu, &v->scratch);
	return rc;
}

/*
 * Faults and software interrupts come again by themselves when the instruction
 * is executed again, at which rip points; what has no instruction to repeat is
 * to be delivered.
 */
static bool state_event(const struct kvm_vcpu_events *e, struct x86_event *ev)
{
	memset(ev, 0, sizeof(*ev));
	if (e->nmi.injected) {
		*ev = (struct x86_event){ .vector = X86_VEC_NMI,
					  .type = X86_EV_NMI };
		return true;
	}
	if (e->interrupt.injected && !e->interrupt.soft) {
		*ev = (struct x86_event){ .vector = e->interrupt.nr,
					  .type = X86_EV_INTR };
		return true;
	}
	if ((e->exception.injected || e->exception.pending) &&
	    e->exception.nr == X86_VEC_DB) {
		*ev = (struct x86_event){ .vector = X86_VEC_DB,
					  .type = X86_EV_TRAP };
		return true;
	}
	return false;
}

int state_pull(struct x86_cpu *cpu, bool *shutdown, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	struct x86_event ev;

	*shutdown = false;
	for (size_t i = 0; i < STATE_PARTS; i++) {
		int rc = state_pull_part(cpu, &state_parts[i]);

		if (rc)
			return state_fail(cpu, "read", &state_parts[i], rc,
					  err);
	}
	state_stop_deadline(cpu);
	cpu->insn = NULL;
	x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
	for (size_t i = 0; i < STATE_PARTS; i++)
		state_parts[i].make(cpu, &v->known);
	if (!state_event(&v->scratch.events, &ev))
		return 0;
	cpu->activity = X86_ACTIVE;
	*shutdown = !x86_deliver(cpu, &ev);
	/* Only now: what was on its way must go, too. */
	memset(&v->known.events, 0xff, sizeof(v->known.events));
	return 0;
}

int state_refresh(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	int rc;

	if (!v->have_known)
		return 0;
	rc = lapic_state_get(cpu, err);
	if (rc == 0)
		state_make_lapic(cpu, &v->known);
	return rc;
}
