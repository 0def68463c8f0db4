/*
 * cpu.h - the state of one x86-64 processor, shared by every engine.
 *
 * Source: Intel SDM volume 3A chapters 2-6, AMD APM volume 2.
 *
 * Ownership: a struct x86_cpu belongs to its vCPU's thread; other threads may
 * touch only the fields marked "shared" (atomics) and the local APIC through
 * lapic.h.
 *
 * How faults travel: code that executes guest instructions calls x86_raise()
 * or one of its kin, which do not return; they jump to the engine's
 * cpu->fault_jmp with the exception noted in cpu->fault.  So an instruction
 * handler must do everything that can fault before it changes any state.
 */
#ifndef HOSTEL_CPU_X86_CPU_H
#define HOSTEL_CPU_X86_CPU_H

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdatomic.h>

#include "base/walk.h"
#include "cpu/engine.h"
#include "cpu/x86/bits.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/tlb.h"
#include "mem/mem.h"

struct lapic;
struct x86_insn;
struct x86_machine;

enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
};

enum x86_sreg {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
	X86_LDTR,
	X86_TR,
	X86_SEG_COUNT,
};

/*
 * A segment register with its hidden part.
 *
 *	attr:  15 14 13 12 11..8   7  6..5  4  3..0
 *	        G D/B L AVL   0    P  DPL   S  type	(descriptor bits 55..40)
 *	       bit 16: unusable (null selector loaded)
 *
 * limit is in bytes, already scaled by G.
 */
struct x86_seg {
	uint16_t sel;
	uint32_t attr;
	uint32_t limit;
	uint64_t base;
};

struct x86_dtr { /* GDTR, IDTR */
	uint64_t base;
	uint16_t limit;
};

/* An exception or interrupt on its way to the guest. */
struct x86_event {
	uint8_t vector;
	uint8_t type; /* enum x86_event_type */
	bool has_error;
	uint32_t error;
	uint64_t cr2; /* #PF: linear address */
	uint64_t dr6; /* #DB: bits to set */
};

enum x86_event_type {
	X86_EV_INTR, /* external interrupt */
	X86_EV_NMI,
	X86_EV_FAULT,     /* exception; rip points at the instruction */
	X86_EV_TRAP,      /* exception; rip points behind it (#DB traps) */
	X86_EV_SOFT,      /* INT n */
	X86_EV_SOFT_TRAP, /* INT3, INTO: DPL is checked, not ICEBP */
	X86_EV_ICEBP,     /* INT1: DPL is not checked */
};

/*
 * x87, SSE and AVX state in the processor's own XSAVE layout, standard form
 * (SDM volume 1, 13.4), so that FXRSTOR, XRSTOR and host instructions can
 * use it as it lies: legacy area 0..511, header 512..575, YMM_Hi128 at 576.
 * The header's XSTATE_BV here always says "everything present".
 */
#define X86_XSAVE_SIZE  832
#define X86_XMM_OFFSET  160
#define X86_YMMH_OFFSET 576
struct x86_xsave {
	uint8_t b[X86_XSAVE_SIZE];
} __attribute__((aligned(64)));

/* Model specific registers that are plain storage; others live elsewhere. */
struct x86_msrs {
	uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_adjust, tsc_aux, misc_enable, debugctl;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys[16];
	uint64_t mcg_status, mcg_ctl, feature_control;
	uint64_t kvm_system_time, kvm_wall_clock, kvm_poll_control;
	uint64_t spec_ctrl;
};

/*
 * What the code at CS:RIP means depends on this word: it is part of the key
 * of every cached block.  Recomputed by x86_mode_changed().
 */
#define X86_MODE_CODE16  0x0000 /* bits 0..1: default operand/address size */
#define X86_MODE_CODE32  0x0001
#define X86_MODE_CODE64  0x0002
#define X86_MODE_CODE    0x0003
#define X86_MODE_STACK32 0x0004 /* SS.B (meaningless in 64-bit code) */
#define X86_MODE_USER    0x0008 /* CPL = 3 */
#define X86_MODE_AC      0x0010 /* CPL < 3, CR4.SMAP, EFLAGS.AC: see tlb.h */
#define X86_MODE_FLAT    0x0020 /* CS DS ES SS: base 0, limit 4G, plain rw/rx */
#define X86_MODE_REAL    0x0040 /* CR0.PE = 0 */
#define X86_MODE_VM86    0x0080
#define X86_MODE_X87     0x0100 /* CR0.EM = CR0.TS = 0 */
#define X86_MODE_SSE     0x0200 /* + CR4.OSFXSAVE */
#define X86_MODE_AVX     0x0400 /* CR4.OSXSAVE, XCR0 has SSE and AVX, TS = 0 */
#define X86_MODE_TF      0x0800 /* EFLAGS.TF, or the debugger steps */
#define X86_MODE_IOPL    0x1000 /* CLI/STI allowed: CPL <= IOPL */
/* DR7 arms a breakpoint: single-step inside (see "Debug registers" below) */
#define X86_MODE_DEBUG 0x2000
/* CPL = 3, CR0.AM, EFLAGS.AC: misaligned data is #AC; no TLB entry for users */
#define X86_MODE_ALIGN 0x4000

/* Bits of x86_cpu.pending: reasons to leave the fast path. Shared. */
#define X86_PEND_INTR   0x01 /* the local APIC or PIC may have an interrupt */
#define X86_PEND_NMI    0x02
#define X86_PEND_INIT   0x04
#define X86_PEND_SIPI   0x08 /* vector in sipi_vector */
#define X86_PEND_KICK   0x10 /* return VCPU_EXIT_KICKED */
#define X86_PEND_SYNC   0x20 /* a code page was marked: see x86/sync.h */
#define X86_PEND_SMI    0x40 /* never set today */
#define X86_PEND_UNHALT 0x80 /* KVM_HC_KICK_CPU: HLT ends, whatever IF is */

enum x86_activity {
	X86_ACTIVE,
	X86_HALTED,
	X86_WAIT_SIPI, /* an AP after INIT */
};

struct x86_cpu {
	/* --- Hot: what every instruction touches ----------------------- */
	uint64_t gpr[16];
	uint64_t rip;        /* during an instruction: address of the next */
	uint64_t rflags;     /* complete and current; bit 1 always set */
	atomic_uint pending; /* shared: X86_PEND_* */
	uint32_t mode;       /* X86_MODE_* */
	uint64_t insn_count;
	const struct x86_insn *insn; /* being executed; NULL between */
	struct x86_seg seg[X86_SEG_COUNT];
	uint8_t cpl;
	uint8_t int_shadow; /* 1: STI, 2: MOV SS just executed; cleared after
			     * the next instruction */
	bool nmi_blocked;
	uint8_t activity; /* enum x86_activity */

	/* --- Control ---------------------------------------------------- */
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t xcr0;
	uint64_t dr[8]; /* dr[4], dr[5] unused */
	struct x86_dtr gdtr, idtr;
	struct x86_msrs msr;
	bool intr_masked;    /* X86_PEND_INTR was cleared because IF = 0 */
	uint64_t tsc_offset; /* guest TSC = scaled host TSC + this: x86_tsc() */
	uint64_t pdpte[4];   /* PAE: loaded with CR3 */

	/* --- Faults ------------------------------------------------------ */
	struct x86_event fault;         /* valid after fault_jmp was taken */
	struct x86_event pending_event; /* being delivered when saved */
	bool has_pending_event;
	jmp_buf fault_jmp; /* set by the engine; taken by x86_raise() */

	/* --- Surroundings; set once by x86_cpu_new() ---------------------- */
	unsigned index; /* also the initial APIC id */
	struct x86_machine *xm;
	struct mem *mem;
	struct lapic *lapic;
	void *engine;            /* the engine's own per-vCPU data */
	atomic_uint sipi_vector; /* shared */
	atomic_int wait_word;    /* shared: futex for halted vCPUs (run.c) */
	atomic_bool running;     /* shared: inside run(), see sync.h */
	pthread_t thread;        /* while running */
	atomic_uint sync_seen;   /* shared: xm->sync_count answered so far */
	/*
	 * Data and I/O breakpoints (DR0-3) that the current instruction hit:
	 * bits for DR6.  The engine raises the #DB trap after the instruction.
	 * While DR7 enables any breakpoint, engines go one by one.
	 */
	uint64_t db_pending;
	bool watch_pending; /* the same for gdb: VCPU_EXIT_DEBUG */
	bool bounce_held;   /* holds xm->bounce_lock: mmu.c */
	uint64_t intr_count, exception_count, halt_count;
	uint64_t tlb_miss_count, page_walk_count;

	/*
	 * NULL, or: the engine may keep the guest's vector registers in the
	 * host's.  Called before code that could use those: devices.
	 */
	void (*park_vectors)(struct x86_cpu *cpu);
	/* NULL, or: called when a page of RAM becomes writable in the TLB. */
	void (*write_hook)(struct x86_cpu *cpu, uint8_t *host_page,
			   unsigned tlb_kind, uint64_t linear);
	struct x86_xsave fpu;
	/* An engine's own words within reach of a segment base at *this. */
	uint64_t word[24];
	struct x86_tlb tlb; /* large from here on, and touched sparsely */
	struct x86_jump jump[X86_CODE_KINDS][X86_JUMP_SLOTS];
};

#define X86_SYNC_RING 64

/*
 * What all vCPUs of a guest share.  Created by the machine before the CPUs.
 */
struct x86_machine {
	struct mem *mem;
	struct loop *loop;
	struct vclock *clock;
	const struct engine_ops *engine_ops;
	void *engine; /* the engine's own per-guest data */
	unsigned cpu_count;
	struct x86_cpu **cpus; /* cpu_count, in APIC id order */
	uint32_t tsc_khz;      /* the guest's */
	/*
	 * A guest from a host whose TSC runs at another rate: guest TSC =
	 * (host TSC * tsc_ratio >> tsc_shift) + offset.  ratio 0: the host's
	 * own rate.  Changes only while every vCPU stands still.
	 */
	uint64_t tsc_ratio;
	unsigned tsc_shift;
	struct x86_model model; /* the flags that CPUID shows ... */
	bool has_model;         /* ... or, without, the host's own */
	/*
	 * Physical address bits that CPUID tells of, if not 0: fewer than
	 * there are, for firmware that builds page tables for all of them.
	 */
	uint8_t phys_bits;
	/*
	 * Host TSC at which guest time was stopped; 0: it runs.  Changes only
	 * while every vCPU stands still (machine/run.c).
	 */
	uint64_t tsc_stopped;
	/* kvmclock.c: one base for all vCPUs, so that their clocks agree. */
	struct {
		atomic_flag lock;
		bool valid;   /* guarded by lock, as the rest */
		uint64_t tsc; /* host TSC, scaled ... */
		uint64_t ns;  /* ... and guest time at that moment */
	} kvmclock;
	/* The 8259 pair: is INTR raised, and the INTA cycle (ExtINT). */
	bool (*pic_pending)(void *opaque);
	int (*pic_ack)(void *opaque); /* vector, or -1: spurious */
	void *pic;
	/* CPU leaves its own: x86_request_reset() etc. call these. */
	void (*request_reset)(void *opaque);
	/* INIT, SIPI, NMI, interrupts: wake vCPU `cpu` if it sleeps. */
	void (*wake)(void *opaque, struct x86_cpu *cpu);
	void *opaque;
	/* --trace: may be NULL; called in the vCPU's thread. */
	const struct x86_trace_ops *trace;
	void *trace_opaque;
	/* gdb: breakpoints and watchpoints; NULL when there are none. */
	struct x86_debug *debug;
	/* Held during accesses that cannot be atomic on their own: mmu.c. */
	pthread_mutex_t bounce_lock;
	/* Two engines cache code: writes concern both. */
	atomic_bool code_shared;
	/* sync.c: who caches code of which RAM page.  Guarded by code_lock. */
	atomic_flag code_lock;
	uint16_t *code_holders; /* how many, a page; NULL: not counted */
	uint8_t *code_held;     /* bits by page, one bitmap a holder */
	/* sync.c: code pages marked so far; the last ones by number. */
	atomic_flag sync_lock;
	atomic_uint sync_count;
	uint64_t sync_pages[X86_SYNC_RING];
};

/* Either may be NULL: not wanted. */
struct x86_trace_ops {
	void (*insn)(void *opaque, struct x86_cpu *cpu, uint64_t rip,
		     const uint8_t *bytes, unsigned len);
	void (*event)(void *opaque, struct x86_cpu *cpu,
		      const struct x86_event *ev);
};

/* Debugger's wishes, written by the gdb stub while all vCPUs are stopped. */
#define X86_DEBUG_MAX_BP 64
struct x86_debug {
	unsigned bp_count;
	uint64_t bp[X86_DEBUG_MAX_BP]; /* linear addresses */
	struct {
		uint64_t addr, len;
		bool read, write;
	} watch[16];
	unsigned watch_count;
	uint64_t watch_hit; /* address that stopped the vCPU */
};

/* --- cpu.c --------------------------------------------------------------- */

/* Allocates page-aligned, in the state after power-on (x86_reset). */
struct x86_cpu *x86_cpu_new(struct x86_machine *xm, unsigned index,
			    struct err *err);
void x86_cpu_free(struct x86_cpu *cpu);

/*
 * SDM 3A table 10-1.  init: false: power-up/RESET; true: INIT (keeps x87/SSE,
 * MSRs, CR0.CD/NW).  APs (index > 0) end in X86_WAIT_SIPI.
 */
void x86_reset(struct x86_cpu *cpu, bool init);
void x86_start_sipi(struct x86_cpu *cpu, uint8_t vector);

/* The walker: everything that a guest can see, engine-independent. */
void x86_walk(struct x86_cpu *cpu, struct walk *w);

/*
 * Recomputes cpu->mode (and cpl from SS/CS where real/VM86 fix it). To be
 * called after any change of CS, SS, DS, ES, CR0, CR4, EFER, XCR0, CPL, or
 * EFLAGS.{TF,AC,VM,IOPL}.
 */
void x86_mode_changed(struct x86_cpu *cpu);

/*
 * Writes RFLAGS bits in `mask` from `value`, calling x86_mode_changed() if
 * TF, AC, VM or IOPL changed.  Reserved bits stay fixed (bit 1 set).  Every
 * change of IF from 0 to 1 must come through here: it makes an interrupt
 * that x86_take_pending() put aside pending again.
 */
void x86_set_rflags(struct x86_cpu *cpu, uint64_t value, uint64_t mask);

/* A reading of the host's TSC at the guest's rate. */
static inline uint64_t x86_scale_tsc(const struct x86_machine *xm,
				     uint64_t host)
{
	if (!xm->tsc_ratio)
		return host;
	return (uint64_t)((unsigned __int128)host * xm->tsc_ratio >>
			  xm->tsc_shift);
}
/* That now, or when the guest was paused: guest TSC = this + offset. */
uint64_t x86_host_tsc(const struct x86_machine *xm);
/*
 * From now on the guest's TSC runs at khz, whatever the host's does.  The vCPUs
 * stand; their offsets are to be set anew.
 */
int x86_set_tsc_khz(struct x86_machine *xm, uint32_t khz, struct err *err);
/* Guest's TSC now. */
uint64_t x86_tsc(const struct x86_cpu *cpu);

/* Sets a pending bit and wakes or kicks the vCPU. Any thread. */
void x86_pend(struct x86_cpu *cpu, unsigned bits);
/* A halted vCPU has a reason to run. Own thread. */
bool x86_wakeup_pending(struct x86_cpu *cpu);

static inline bool x86_long_mode(const struct x86_cpu *cpu)
{
	return cpu->msr.efer & X86_EFER_LMA;
}

static inline bool x86_code64(const struct x86_cpu *cpu)
{
	return (cpu->mode & X86_MODE_CODE) == X86_MODE_CODE64;
}

static inline bool x86_protected(const struct x86_cpu *cpu)
{
	return !(cpu->mode & (X86_MODE_REAL | X86_MODE_VM86));
}

/* --- fault.c: raising (do not return) ------------------------------------- */

_Noreturn void x86_raise(struct x86_cpu *cpu, uint8_t vector);
_Noreturn void x86_raise_error(struct x86_cpu *cpu, uint8_t vector,
			       uint32_t error);
_Noreturn void x86_raise_pf(struct x86_cpu *cpu, uint64_t linear,
			    uint32_t error);
_Noreturn void x86_raise_db(struct x86_cpu *cpu, uint64_t dr6, bool trap);
_Noreturn void x86_raise_event(struct x86_cpu *cpu, const struct x86_event *ev);
#define x86_ud(cpu)      x86_raise(cpu, X86_VEC_UD)
#define x86_gp(cpu, err) x86_raise_error(cpu, X86_VEC_GP, err)

/*
 * Debug registers.  While X86_MODE_DEBUG is set, the engine asks
 * x86_code_breakpoint() before each instruction unless RFLAGS.RF is set (then
 * it clears RF behind the instruction); what it returns, if not 0, is the
 * dr6 of a #DB fault.  Data and I/O breakpoints are noted in db_pending; behind
 * the instruction the engine raises one #DB trap with them (and with BS if TF
 * was set) and clears it.  RF is loaded by IRET only while a breakpoint is
 * armed: otherwise nobody can tell.
 */
uint64_t x86_code_breakpoint(const struct x86_cpu *cpu, uint64_t linear);
/* Notes in db_pending, if CR4.DE is set. */
void x86_io_breakpoint(struct x86_cpu *cpu, uint16_t port, unsigned size);

/* --- event.c: delivery ------------------------------------------------------
 */

/*
 * Delivers an exception or interrupt through the IDT (real, protected, VM86,
 * long), with contributory and double faults (SDM 3A 6.15, table 6-5).  On
 * entry cpu->rip is what is to be pushed: the faulting instruction (FAULT),
 * or the next.  Returns false on a triple fault (shutdown).  Sets its own
 * fault_jmp and restores the caller's.  For SOFT, SOFT_TRAP and ICEBP
 * cpu->insn should still be the instruction: a fault during delivery is then
 * reported at its address.  Clears int_shadow and db_pending.
 */
bool x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev);

/*
 * Called by engines between instructions when pending is not 0: takes NMI,
 * INIT, SIPI and interrupts in the manual's priority as IF, shadow and
 * nmi_blocked allow, and clears what is taken.
 */
enum x86_pending_result {
	X86_PEND_CONTINUE, /* go on executing (perhaps elsewhere) */
	X86_PEND_LEAVE,    /* return VCPU_EXIT_KICKED */
	X86_PEND_SHUTDOWN, /* delivery ended in a triple fault */
};
enum x86_pending_result x86_take_pending(struct x86_cpu *cpu);

#endif
