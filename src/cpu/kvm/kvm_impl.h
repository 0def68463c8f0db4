/*
 * kvm_impl.h - what the files of the KVM engine share.  Nobody else includes
 * it; engine.h is the contract.
 *
 * Source: Linux Documentation/virt/kvm/api.rst ("API" below) and x86.
 */
#ifndef HOSTEL_CPU_KVM_KVM_IMPL_H
#define HOSTEL_CPU_KVM_KVM_IMPL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cpu/engine.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/lapic.h"
#include "mem/mem.h"

#define KVM_DEVICE      "/dev/kvm"
#define KVM_IOAPIC_PINS 24
/* Gets a vCPU's thread out of KVM_RUN; blocked everywhere else. */
#define KVM_KICK_SIGNAL SIGUSR1

/* x86_machine.engine */
struct kvm_guest {
	int kvm;          /* /dev/kvm */
	int fd;           /* the virtual machine */
	size_t run_bytes; /* of each vCPU's struct kvm_run */
	uint32_t tsc_khz; /* the host's, as the kernel has it */
	struct kvm_cpuid2 *supported;

	pthread_mutex_t slot_lock;           /* guards the slots; a leaf */
	struct mem_slot slot[MEM_SLOTS_MAX]; /* size 0: free */
	bool logging;                        /* dirty log */

	pthread_mutex_t route_lock; /* guards the routes; a leaf */
	struct x86_route route[KVM_IOAPIC_PINS];

	pthread_mutex_t ring_lock;            /* guards taking from the ring */
	struct kvm_coalesced_mmio_ring *ring; /* in vCPU 0's pages; or NULL */
	bool ring_takes_ports;
};

#define STATE_MSRS 10
struct state_msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[STATE_MSRS];
};

/*
 * A vCPU's state in KVM's words.  `known` below is what the kernel has, as
 * far as it differs from struct x86_cpu only by what somebody changed there
 * since: so a vCPU that comes back unchanged costs no system call.
 */
struct state_parts {
	struct kvm_sregs2 sregs;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_regs regs;
	struct kvm_debugregs debug;
	struct state_msrs msrs;
	uint64_t tsc_offset;
	struct lapic_regs lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
};

/* x86_cpu.engine */
struct kvm_vcpu {
	struct x86_cpu *cpu;
	int fd;
	struct kvm_run *run;
	atomic_int tid;   /* the thread inside run(); 0: none */
	pthread_t thread; /* the same; valid if tid is not 0 */
	bool unfinished;  /* an access waits for KVM_RUN to complete it */
	bool debugging;   /* KVM_SET_GUEST_DEBUG is on */
	bool have_known;
	bool deadline_armed;       /* the kernel has the TSC deadline */
	struct engine_stats stats; /* own thread writes */
	struct state_parts known, scratch;
};

static inline struct kvm_guest *kvm_guest(const struct x86_machine *xm)
{
	return xm->engine;
}

/* --- state.c ----------------------------------------------------------------
 */

/*
 * From *cpu to the kernel and back.  Own thread, not in KVM_RUN.  0 or -errno
 * with a sentence.  An event that was on its way into the guest is delivered
 * to *cpu by state_pull(): *shutdown says that this was one fault too many.
 */
int state_push(struct x86_cpu *cpu, struct err *err);
/* The same, but for its timer: the vCPU is not to run yet.  Any thread. */
int state_give(struct x86_cpu *cpu, struct err *err);
int state_pull(struct x86_cpu *cpu, bool *shutdown, struct err *err);
/* cpu->tsc_offset changed while run() is inside. */
int state_tsc_moved(struct x86_cpu *cpu);
/* The vCPU stands, and what came for it since: interrupts. Any thread. */
int state_refresh(struct x86_cpu *cpu, struct err *err);

/* --- state_lapic.c -----------------------------------------------------------
 */

int lapic_state_get(struct x86_cpu *cpu, struct err *err);
int lapic_state_set(struct x86_cpu *cpu, const struct lapic_regs *r,
		    struct err *err);

/* --- slots.c
 * ------------------------------------------------------------------ */

int slots_update(struct x86_machine *xm, struct err *err);
void slots_remapped(void *opaque, uint64_t gpa, uint64_t len, bool done);
int slots_dirty_log(struct x86_machine *xm, bool on, struct err *err);
int slots_dirty_collect(struct x86_machine *xm, struct err *err);

/* --- coalesce.c
 * --------------------------------------------------------------- */

/* run: vCPU 0's pages; before its end, coalesce_end(). */
void coalesce_start(struct x86_machine *xm, void *run);
void coalesce_end(struct x86_machine *xm);
/* Does what was kept.  Any thread; opaque: struct x86_machine. */
void coalesce_flush(void *opaque);

/* --- scale.c
 * ------------------------------------------------------------------ */

/* engine_ops.scale_tsc */
int scale_tsc(struct x86_machine *xm, uint32_t khz, struct err *err);
/* What KVM_SET_TSC_KHZ makes of it, with this many bits behind the point. */
uint64_t scale_ratio(uint32_t khz, uint32_t host_khz, unsigned bits);

/* --- setup.c: vm_init, vcpu_init
 * ---------------------------------------------- */

int setup_guest(struct x86_machine *xm, struct err *err);
void setup_guest_free(struct x86_machine *xm);
int setup_vcpu(struct x86_cpu *cpu, struct err *err);
void setup_vcpu_free(struct x86_cpu *cpu);
/* All signals are blocked but the kick, while the guest runs. */
int setup_signal_mask(int vcpu);
/* KVM_GET_SUPPORTED_CPUID; NULL: out of memory or refused.  free() it. */
struct kvm_cpuid2 *setup_supported(int kvm);
void setup_limit_model(struct x86_model *model);
/* CPUID as the guest has it now (a restored one may have another). */
int setup_cpuid(struct x86_cpu *cpu, struct err *err);

/* --- quirks.c
 * ------------------------------------------------------------------ */

/* A guest's XSETBV goes past this KVM: none may have XSAVE.  Any thread. */
bool quirks_lose_xcr0(int kvm, struct kvm_cpuid2 *supported);

/* --- exits.c
 * ------------------------------------------------------------------- */

/* KVM_RUN came back: does what the guest asked.  EXITS_ON: go on. */
#define EXITS_ON ((enum vcpu_exit) - 1)
enum vcpu_exit exits_handle(struct x86_cpu *cpu, struct err *err);
/* A guest's write to what is not memory, or not at the moment. */
void exits_write(struct mem *mem, uint64_t gpa, const uint8_t *data,
		 unsigned len);
/* The whole vCPU on stderr, and the sentence in err. */
void exits_dump(struct x86_cpu *cpu, const char *what);

/* --- debug.c: gdb's points
 * --------------------------------------------------------- */

/* Before KVM_RUN.  step: one instruction. */
int debug_arm(struct x86_cpu *cpu, bool step);
/* KVM_EXIT_DEBUG: is it for gdb?  else go on. */
bool debug_is_hit(struct x86_cpu *cpu);

/* --- probe.c
 * -------------------------------------------------------------------- */

/* What engine_ops has under these names. */
int probe_usable(struct err *err);
int probe_advise(struct err *why);

#endif
