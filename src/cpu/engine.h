/*
 * engine.h - the contract that every engine fulfils.
 *
 * An engine runs a guest's virtual processors (vCPUs).  machine/run.c owns a
 * thread per vCPU and calls engine_ops.run in a loop; run returns when the
 * vCPU needs something that only the machine can give.  Port and MMIO
 * accesses are done by software engines through mem.h on the spot; an engine
 * that cannot (KVM) does the same before it goes on.  The guest sees the same
 * processor on every engine: CPUID policy (x86/cpuid.h), local APIC
 * (x86/lapic.h) and saved state (x86/cpu.h: x86_walk) are shared.
 */
#ifndef HOSTEL_CPU_ENGINE_H
#define HOSTEL_CPU_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/walk.h"

struct x86_cpu;
struct x86_machine;
struct x86_model;

/* What a pin of the I/O APIC sends, as an MSI; valid: it has one. */
struct x86_route {
	uint64_t addr;
	uint32_t data;
	uint32_t valid;
};

/* Why engine_ops.run returned. */
enum vcpu_exit {
	VCPU_EXIT_KICKED,   /* vcpu_kick() was called: look at requests */
	VCPU_EXIT_HALT,     /* HLT: wait until x86_wakeup_pending() */
	VCPU_EXIT_SHUTDOWN, /* triple fault */
	VCPU_EXIT_DEBUG,    /* breakpoint or step of the debugger (gdb.h) */
	VCPU_EXIT_ERROR,    /* the engine cannot go on; its err says why */
};

struct engine_stats {
	uint64_t insns;       /* guest instructions retired; 0: not counted */
	uint64_t blocks;      /* blocks decoded or translated */
	uint64_t copied;      /* of them: taken from another address */
	uint64_t moved;       /* blocks that went to another address */
	uint64_t invalidated; /* blocks dropped because code was written */
	uint64_t evicted;     /* blocks dropped because memory was full */
	uint64_t tlb_misses;
	uint64_t page_walks;
	uint64_t exceptions;
	uint64_t interrupts;
	uint64_t halts;
	uint64_t code_bytes; /* host code or decoded code held now */
	uint64_t vm_exits;   /* times that the guest left the hardware, */
	uint64_t port_exits; /* of them: for a port, ... */
	uint64_t mmio_exits; /* ... a device's memory, */
	uint64_t msr_exits;
	uint64_t eoi_exits;   /* the end of a level-triggered interrupt */
	uint64_t interpreted; /* instructions that KVM left to us */
};

struct engine_ops {
	const char *name; /* as in --engine */

	/* Can this host run it?  0, or -errno with the reason. */
	int (*probe)(struct err *err);

	/*
	 * Per guest and per vCPU.  engine_vm_init is called once before any
	 * vCPU; the engine keeps what it needs in x86_machine.engine and
	 * x86_cpu.engine, and frees it in the matching free.
	 */
	int (*vm_init)(struct x86_machine *xm, struct err *err);
	void (*vm_free)(struct x86_machine *xm);
	int (*vcpu_init)(struct x86_cpu *cpu, struct err *err);
	void (*vcpu_free)(struct x86_cpu *cpu);

	/*
	 * Runs the vCPU in the calling thread, always the same one, from the
	 * state in *cpu until an exit; then *cpu is complete and precise.
	 */
	enum vcpu_exit (*run)(struct x86_cpu *cpu, struct err *err);
	/* Executes exactly one instruction, or delivers one interrupt. */
	enum vcpu_exit (*step)(struct x86_cpu *cpu, struct err *err);

	/* Guest memory [gpa, gpa+len) that may hold cached code changed. */
	void (*code_written)(struct x86_machine *xm, uint64_t gpa,
			     uint64_t len);
	/* Drop all cached code and translations (state was restored). */
	void (*flush)(struct x86_cpu *cpu);
	void (*stats)(struct x86_cpu *cpu, struct engine_stats *out);

	/* --- What only some engines have; else NULL --------------------- */

	/* Would "auto" take it here, beyond probe()?  0, or why not. */
	int (*advise)(struct err *why);
	/*
	 * Takes away from a guest's processor what this engine cannot show
	 * on this host.  Before vm_init, and by the others, too: so that a
	 * guest may be moved to this engine later.
	 */
	void (*limit_model)(struct x86_model *model);
	/* run() waits inside while the vCPU is halted or was not started. */
	bool halts_inside;
	/* struct x86_cpu is touched here and there: no huge pages for it. */
	bool sparse_cpu;
	/* x86_pend() was called: run() is to look.  Any thread. */
	void (*kick)(struct x86_cpu *cpu);
	/* The vCPU stands: notes in *cpu what has arrived since it stopped. */
	void (*refresh)(struct x86_cpu *cpu);
	/*
	 * *cpu was restored: messages for its local APIC may come from now
	 * on, before run() does.  The restorer's thread.
	 */
	void (*adopt)(struct x86_cpu *cpu);
	/*
	 * The engine keeps the local APICs.  Any thread: a message as
	 * lapic_deliver_msi() has it; the 8259's output rose; what the I/O
	 * APIC's pins send, of which EOIs are wanted back (lapic.h, EOI hook).
	 */
	void (*send_msi)(struct x86_machine *xm, uint64_t addr, uint32_t data);
	void (*extint)(struct x86_machine *xm);
	void (*set_routes)(struct x86_machine *xm, const struct x86_route *r,
			   unsigned count);
	/*
	 * The guest's TSC is to run at khz: sets x86_machine.tsc_ratio and
	 * tsc_shift to what it does.
	 */
	int (*scale_tsc)(struct x86_machine *xm, uint32_t khz, struct err *err);
	/*
	 * While on, collect() sets MEM_PAGE_DIRTY for each page of RAM that a
	 * vCPU wrote since the last collect() or since it was switched on.
	 * Engines without them set the flag as they write.
	 */
	int (*dirty_log)(struct x86_machine *xm, bool on, struct err *err);
	int (*dirty_collect)(struct x86_machine *xm, struct err *err);
};

extern const struct engine_ops interpreter_engine;
extern const struct engine_ops translator_engine;
extern const struct engine_ops kvm_engine;
/* A test tool: the translator checked against the interpreter as it runs. */
extern const struct engine_ops lockstep_engine;
/* The same as they are on a host without BMI2, for tests. */
extern const struct engine_ops translator_plain_engine;
extern const struct engine_ops lockstep_plain_engine;
/* The same with what is meant for hot code everywhere, for tests. */
extern const struct engine_ops translator_hot_engine;
extern const struct engine_ops lockstep_hot_engine;

#endif
