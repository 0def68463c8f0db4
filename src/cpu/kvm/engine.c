/*
 * engine.c - the KVM engine: the guest's instructions on the hardware.
 *
 * run() brings the vCPU's state into the kernel (state.c), then alternates
 * between KVM_RUN and what the guest asked for (exits.c) until somebody wants
 * the vCPU to stand, and fetches the state back.  HLT, and waiting for SIPI,
 * happen inside KVM_RUN.
 *
 * Getting in from outside: x86_pend() sets a bit, then calls engine_kick(),
 * which sends a signal that is blocked but during KVM_RUN: so it ends either
 * the one that runs or the next one at once, and no handler is needed.
 *
 *	vCPU's thread			any thread
 *	-------------			----------
 *	tid = own			pending |= bits
 *	pending? then look		tid? then signal
 *	KVM_RUN, signal unblocked
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/kvm/kvm_impl.h"

/* #syscalls: ppoll membarrier rt_sigtimedwait */

/* More pieces than an access has. */
#define ENGINE_FINISH_MAX 64

/* --- What came from outside ------------------------------------------------
 */

static void engine_kick(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	int tid;

	if (!v)
		return;
	/* Pairs with the store of tid in engine_enter(). */
	atomic_thread_fence(memory_order_seq_cst);
	tid = atomic_load(&v->tid);
	if (tid && !pthread_equal(v->thread, pthread_self()))
		syscall(SYS_tgkill, getpid(), tid, KVM_KICK_SIGNAL);
}

/* Takes the signal that ended KVM_RUN. */
static void engine_take_kick(void)
{
	static const struct timespec now = { 0, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KVM_KICK_SIGNAL);
	sigtimedwait(&set, NULL, &now);
}

static void engine_clear(struct x86_cpu *cpu, unsigned bits)
{
	atomic_fetch_and(&cpu->pending, ~bits);
}

/*
 * The 8259's output is raised: its vector is fetched only once the guest can
 * take it.  The kernel knows whether LINT0 lets it pass.
 */
static void engine_offer_pic(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	struct x86_machine *xm = cpu->xm;
	struct kvm_run *run = v->run;
	struct kvm_interrupt intr;
	int vector;

	engine_clear(cpu, X86_PEND_INTR);
	run->request_interrupt_window = 0;
	if (!xm->pic_pending || !xm->pic_pending(xm->pic))
		return;
	if (run->ready_for_interrupt_injection) {
		vector = xm->pic_ack(xm->pic);
		intr.irq = (uint32_t)vector;
		if (vector >= 0)
			ioctl(v->fd, KVM_INTERRUPT, &intr);
		run->ready_for_interrupt_injection = 0;
		if (!xm->pic_pending(xm->pic))
			return;
	}
	run->request_interrupt_window = 1;
	atomic_fetch_or(&cpu->pending, X86_PEND_INTR);
}

/* Between two KVM_RUNs. */
static enum vcpu_exit engine_between(struct x86_cpu *cpu)
{
	struct kvm_vcpu *v = cpu->engine;
	unsigned bits = atomic_load(&cpu->pending);

	if (!bits)
		return EXITS_ON;
	engine_clear(cpu, bits & (X86_PEND_SYNC | X86_PEND_UNHALT));
	if (bits & X86_PEND_KICK) {
		engine_clear(cpu, X86_PEND_KICK);
		return VCPU_EXIT_KICKED;
	}
	if (bits & X86_PEND_NMI) {
		engine_clear(cpu, X86_PEND_NMI);
		ioctl(v->fd, KVM_NMI);
	}
	if (bits & X86_PEND_INTR)
		engine_offer_pic(cpu);
	return EXITS_ON;
}

/* INIT and SIPI that a restored vCPU has yet to take. */
static void engine_take_init(struct x86_cpu *cpu)
{
	unsigned bits =
		atomic_load(&cpu->pending) & (X86_PEND_INIT | X86_PEND_SIPI);

	engine_clear(cpu, bits);
	if (bits & X86_PEND_INIT)
		x86_reset(cpu, true);
	if (bits & X86_PEND_SIPI)
		x86_start_sipi(cpu, atomic_load(&cpu->sipi_vector));
}

/* --- Running -----------------------------------------------------------------
 */

static enum vcpu_exit engine_refused(struct x86_cpu *cpu, int code,
				     struct err *err)
{
	err_set(err, code, "KVM refuses to run vCPU %u: %s", cpu->index,
		strerror(code));
	exits_dump(cpu, err->msg);
	return VCPU_EXIT_ERROR;
}

static enum vcpu_exit engine_once(struct x86_cpu *cpu, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	int code = ioctl(v->fd, KVM_RUN, 0) ? errno : 0;

	coalesce_flush(cpu->xm);
	if (!code)
		return exits_handle(cpu, err);
	v->unfinished = false;
	if (code == EINTR)
		engine_take_kick();
	else if (code != EAGAIN) /* a SIPI came */
		return engine_refused(cpu, code, err);
	return EXITS_ON;
}

/* Lets the kernel complete the access that it was left in. */
static enum vcpu_exit engine_finish(struct x86_cpu *cpu, enum vcpu_exit exit,
				    struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;

	v->run->immediate_exit = 1;
	for (unsigned i = 0; v->unfinished && i < ENGINE_FINISH_MAX; i++) {
		enum vcpu_exit more = engine_once(cpu, err);

		if (more != EXITS_ON)
			exit = more;
	}
	v->run->immediate_exit = 0;
	return exit;
}

static int engine_enter(struct x86_cpu *cpu, bool step, struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	int rc;

	v->thread = pthread_self();
	atomic_store(&v->tid, gettid());
	engine_take_init(cpu);
	/* What the last KVM_RUN said of a state that may have changed. */
	v->run->ready_for_interrupt_injection = 0;
	rc = state_push(cpu, err);
	if (rc == 0 && debug_arm(cpu, step))
		rc = err_set(err, EIO,
			     "KVM does not take the debugger's breakpoints");
	return rc;
}

static enum vcpu_exit engine_leave(struct x86_cpu *cpu, enum vcpu_exit exit,
				   struct err *err)
{
	struct kvm_vcpu *v = cpu->engine;
	bool shutdown = false;

	if (exit != VCPU_EXIT_ERROR)
		exit = engine_finish(cpu, exit, err);
	atomic_store(&v->tid, 0);
	if (exit != VCPU_EXIT_ERROR && state_pull(cpu, &shutdown, err))
		exit = VCPU_EXIT_ERROR;
	return shutdown ? VCPU_EXIT_SHUTDOWN : exit;
}

static enum vcpu_exit engine_run(struct x86_cpu *cpu, struct err *err)
{
	enum vcpu_exit exit = VCPU_EXIT_ERROR;

	if (engine_enter(cpu, false, err) == 0)
		do {
			exit = engine_between(cpu);
			if (exit == EXITS_ON)
				exit = engine_once(cpu, err);
		} while (exit == EXITS_ON);
	return engine_leave(cpu, exit, err);
}

/* A halted vCPU would keep the debugger waiting. */
static enum vcpu_exit engine_step(struct x86_cpu *cpu, struct err *err)
{
	enum vcpu_exit exit = VCPU_EXIT_ERROR;

	state_refresh(cpu, NULL);
	if (cpu->activity != X86_ACTIVE && !x86_wakeup_pending(cpu))
		return VCPU_EXIT_HALT;
	if (engine_enter(cpu, true, err) == 0)
		do {
			exit = engine_between(cpu);
			if (exit == EXITS_ON)
				exit = engine_once(cpu, err);
		} while (exit == EXITS_ON);
	exit = engine_leave(cpu, exit, err);
	cpu->insn_count += exit == VCPU_EXIT_DEBUG;
	if (exit == VCPU_EXIT_DEBUG && cpu->activity != X86_ACTIVE)
		return VCPU_EXIT_HALT;
	return exit;
}

/* --- Interrupts
 * ---------------------------------------------------------------- */

/*
 * A message in the kernel's words; more than 255 processors are not there, so
 * the upper half of the address says nothing.
 */
static void engine_send_msi(struct x86_machine *xm, uint64_t addr,
			    uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	ioctl(kvm_guest(xm)->fd, KVM_SIGNAL_MSI, &msi);
}

/* Virtual wire mode: only the boot processor's LINT0 is wired. */
static void engine_extint(struct x86_machine *xm)
{
	if (xm->cpus[0])
		x86_pend(xm->cpus[0], X86_PEND_INTR);
}

static int engine_install_routes(struct kvm_guest *g)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[KVM_IOAPIC_PINS];
	} r = { 0 };

	for (unsigned i = 0; i < KVM_IOAPIC_PINS; i++) {
		struct kvm_irq_routing_entry *e = &r.entry[r.head.nr];

		if (!g->route[i].valid)
			continue;
		e->gsi = i;
		e->type = KVM_IRQ_ROUTING_MSI;
		e->u.msi.address_lo = (uint32_t)g->route[i].addr;
		e->u.msi.data = g->route[i].data;
		r.head.nr++;
	}
	return ioctl(g->fd, KVM_SET_GSI_ROUTING, &r);
}

/* Only what changes is told: the kernel is slow to take it. */
static void engine_set_routes(struct x86_machine *xm,
			      const struct x86_route *route, unsigned count)
{
	struct kvm_guest *g = kvm_guest(xm);
	size_t bytes = count * sizeof(*route);

	if (count > KVM_IOAPIC_PINS)
		return;
	pthread_mutex_lock(&g->route_lock);
	if (memcmp(g->route, route, bytes)) {
		memcpy(g->route, route, bytes);
		engine_install_routes(g);
	}
	pthread_mutex_unlock(&g->route_lock);
}

/* --- Life
 * ---------------------------------------------------------------------- */

static void engine_code_written(struct x86_machine *xm, uint64_t gpa,
				uint64_t len)
{
}

static void engine_flush(struct x86_cpu *cpu)
{
}

static void engine_refresh(struct x86_cpu *cpu)
{
	state_refresh(cpu, NULL);
}

/* What it refuses, it refuses again when the vCPU is to run. */
static void engine_adopt(struct x86_cpu *cpu)
{
	state_give(cpu, NULL);
}

static void engine_stats(struct x86_cpu *cpu, struct engine_stats *out)
{
	struct kvm_vcpu *v = cpu->engine;

	*out = v->stats;
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.probe = probe_usable,
	.advise = probe_advise,
	.limit_model = setup_limit_model,
	.vm_init = setup_guest,
	.vm_free = setup_guest_free,
	.vcpu_init = setup_vcpu,
	.vcpu_free = setup_vcpu_free,
	.run = engine_run,
	.step = engine_step,
	.code_written = engine_code_written,
	.flush = engine_flush,
	.stats = engine_stats,
	.halts_inside = true,
	.sparse_cpu = true,
	.kick = engine_kick,
	.refresh = engine_refresh,
	.adopt = engine_adopt,
	.send_msi = engine_send_msi,
	.extint = engine_extint,
	.set_routes = engine_set_routes,
	.scale_tsc = scale_tsc,
	.dirty_log = slots_dirty_log,
	.dirty_collect = slots_dirty_collect,
};
