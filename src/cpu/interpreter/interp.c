/*
 * interp.c - the interpreter's run loop.
 *
 * run_loop() alternates between what lies between instructions (interrupts,
 * HLT, requests of other threads) and instructions, in one of two ways:
 *
 *	blocks	the common case: decoded blocks from the cache, one after the
 *		other, following links from block to block while nothing is
 *		pending
 *	steps	one instruction at a time, decoded afresh, while anything wants
 *		to see every instruction: TF, debug registers, a tracer, a
 *		debugger's watchpoints; near a debugger's breakpoint; and code
 *		that is not in RAM
 *
 * During an instruction cpu->rip is the next one's address and cpu->insn the
 * current one; between instructions cpu->insn is NULL.  Whatever an
 * instruction raises comes by longjmp to run_guarded(), which puts rip back
 * onto the instruction if it is a fault, delivers, and goes on.
 *
 * STI and MOV SS hold interrupts off for one instruction (cpu->int_shadow):
 * blocks end after them, and of the block that follows only the first
 * instruction runs before interrupts are looked at.  Otherwise interrupts are
 * taken between blocks only, which to a guest is an interrupt that came later;
 * no window in which they are enabled begins and ends inside a block.
 */
#include "cpu/interpreter/interp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/interpreter/cache.h"
#include "cpu/x86/sync.h"
#include "cpu/x86/thunk.h"

/* cpu->engine */
struct interp_vcpu {
	struct cache *cache;
	struct block *block; /* being run; NULL while stepping */
	struct fetch fetch;  /* instruction being stepped */
	bool part;           /* of another engine, which runs 64-bit code */
};

/* run_between(): no reason to leave. */
#define INTERP_ON ((enum vcpu_exit) - 1)
/* interp_loop(): a part has come to 64-bit code. */
#define INTERP_HAND_BACK ((enum vcpu_exit) - 2)

/* --- One step ------------------------------------------------------------ */

static void interp_check_breakpoints(struct x86_cpu *cpu)
{
	uint64_t dr6 = 0;

	if (!(cpu->rflags & X86_FLAG_RF))
		dr6 = x86_code_breakpoint(cpu, fetch_linear(cpu));
	if (dr6)
		x86_raise_db(cpu, dr6, false);
}

/* #DB after an instruction, unless MOV SS holds it off (SDM 3A 6.8.3). */
static void interp_check_traps(struct x86_cpu *cpu, bool tf)
{
	uint64_t dr6 = cpu->db_pending | (tf ? X86_DR6_BS : 0);

	if (!dr6 || cpu->int_shadow == 2)
		return;
	cpu->db_pending = 0;
	x86_raise_db(cpu, dr6, true);
}

/*
 * Executes the instruction at rip and raises what comes of it.  RF holds for
 * one instruction; one that faults pushes it set anyway (event.c).
 */
static void interp_step_insn(struct x86_cpu *cpu, struct fetch *f)
{
	const struct x86_machine *xm = cpu->xm;
	bool tf = cpu->rflags & X86_FLAG_TF;

	cpu->insn = NULL;
	if (!x86_code64(cpu))
		cpu->rip = (uint32_t)cpu->rip;
	if (cpu->mode & X86_MODE_DEBUG)
		interp_check_breakpoints(cpu);
	fetch_insn(cpu, f);
	if (xm->trace && xm->trace->insn)
		xm->trace->insn(xm->trace_opaque, cpu, cpu->rip, f->bytes,
				f->insn.len ? f->insn.len : f->count);
	cpu->rflags &= ~X86_FLAG_RF;
	cpu->int_shadow = 0;
	cpu->rip += f->insn.len;
	cpu->insn = &f->insn;
	f->insn.fn(cpu, &f->insn);
	cpu->insn = NULL;
	cpu->insn_count++;
	/* SYSCALL asks after IA32_FMASK has had its say. */
	if (f->insn.op == X86_SYSCALL)
		tf = cpu->rflags & X86_FLAG_TF;
	interp_check_traps(cpu, tf);
}

/* --- Faults -------------------------------------------------------------- */

/* After a longjmp: rip back onto an instruction that did not complete. */
static void interp_rewind(struct x86_cpu *cpu)
{
	if (!cpu->insn)
		return;
	cpu->rip -= cpu->insn->len;
	if (!x86_code64(cpu))
		cpu->rip = (uint32_t)cpu->rip;
}

/* Delivers cpu->fault; false: shutdown. */
static bool interp_deliver(struct x86_cpu *cpu)
{
	struct x86_event ev = cpu->fault;
	bool ok;

	if (ev.type == X86_EV_FAULT)
		interp_rewind(cpu);
	else if (cpu->insn)
		cpu->insn_count++;
	ok = x86_deliver(cpu, &ev);
	cpu->insn = NULL;
	return ok;
}

/* --- Blocks -------------------------------------------------------------- */

/* The first `count` instructions of a block. */
static void interp_run_block(struct x86_cpu *cpu, const struct block *b,
			     unsigned count)
{
	const struct x86_insn *insn = b->insn, *end = insn + count;
	uint64_t rip = cpu->rip;

	do {
		rip += insn->len;
		cpu->rip = rip;
		cpu->insn = insn;
		__atomic_load_n(&insn->fn, __ATOMIC_RELAXED)(cpu, insn);
	} while (++insn != end);
}

/* A block was left early: what it executed counts. */
static void interp_count_part(struct x86_cpu *cpu, struct interp_vcpu *iv)
{
	if (iv->block && cpu->insn)
		cpu->insn_count += (uint64_t)(cpu->insn - iv->block->insn);
	iv->block = NULL;
}

static bool interp_pending(struct x86_cpu *cpu)
{
	return atomic_load_explicit(&cpu->pending, memory_order_relaxed);
}

/* The block at rip, and a link to it from the one before. */
static struct block *interp_next_block(struct x86_cpu *cpu,
				       struct interp_vcpu *iv,
				       struct block *prev)
{
	struct block *b = prev ? cache_follow(cpu, prev) : NULL;

	if (b)
		return b;
	iv->block = NULL;
	b = cache_find(iv->cache, cpu, &prev);
	if (b && prev)
		cache_link(prev, b);
	return b;
}

/* Blocks until something wants attention. */
static void interp_run_blocks(struct x86_cpu *cpu, struct interp_vcpu *iv)
{
	struct block *b = NULL;

	do {
		b = interp_next_block(cpu, iv, b);
		if (!b) {
			interp_step_insn(cpu, &iv->fetch);
			break;
		}
		iv->block = b;
		interp_run_block(cpu, b, b->count);
		cpu->insn_count += b->count;
	} while (!b->recheck && !interp_pending(cpu));
	iv->block = NULL;
	cpu->insn = NULL;
}

/* The first instructions of one block and no more. */
static void interp_run_part(struct x86_cpu *cpu, struct interp_vcpu *iv,
			    struct block *b, unsigned count)
{
	cpu->int_shadow = 0;
	iv->block = b;
	interp_run_block(cpu, b, count);
	cpu->insn_count += count;
	iv->block = NULL;
	cpu->insn = NULL;
}

/* One instruction, in the shadow of the one before. */
static void interp_run_shadowed(struct x86_cpu *cpu, struct interp_vcpu *iv)
{
	struct block *b = interp_next_block(cpu, iv, NULL);

	if (b)
		interp_run_part(cpu, iv, b, 1);
	else
		interp_step_insn(cpu, &iv->fetch);
}

/* Has the debugger a breakpoint in the `len` bytes from rip on? */
static bool interp_breakpoint_within(const struct x86_cpu *cpu, unsigned len)
{
	const struct x86_debug *d = cpu->xm->debug;
	uint64_t linear = fetch_linear(cpu);
	unsigned i;

	for (i = 0; d && i < d->bp_count; i++)
		if (d->bp[i] - linear < len)
			return true;
	return false;
}

/* One block, or one instruction if the debugger waits for another in it. */
static void interp_run_careful(struct x86_cpu *cpu, struct interp_vcpu *iv)
{
	struct block *b = interp_next_block(cpu, iv, NULL);

	if (b && !interp_breakpoint_within(cpu, b->bytes))
		interp_run_part(cpu, iv, b, b->count);
	else
		interp_step_insn(cpu, &iv->fetch);
}

/* --- The loop ------------------------------------------------------------ */

static bool interp_debugged(const struct x86_cpu *cpu)
{
	return cpu->xm->debug && cpu->xm->debug->bp_count;
}

/* Does anything want to see every instruction? */
static bool interp_must_step(const struct x86_cpu *cpu)
{
	const struct x86_machine *xm = cpu->xm;

	return cpu->mode & (X86_MODE_TF | X86_MODE_DEBUG) ||
	       (xm->trace && xm->trace->insn) ||
	       (xm->debug && xm->debug->watch_count);
}

/* What is to be done between instructions; INTERP_ON, or why to leave. */
static enum vcpu_exit interp_between(struct x86_cpu *cpu)
{
	if (cpu->watch_pending) {
		cpu->watch_pending = false;
		return VCPU_EXIT_DEBUG;
	}
	if (!cpu->int_shadow && interp_pending(cpu)) {
		switch (x86_take_pending(cpu)) {
		case X86_PEND_LEAVE:
			return VCPU_EXIT_KICKED;
		case X86_PEND_SHUTDOWN:
			return VCPU_EXIT_SHUTDOWN;
		default:
			break;
		}
	}
	return cpu->activity == X86_ACTIVE ? INTERP_ON : VCPU_EXIT_HALT;
}

/* Not inlined: next to setjmp() the compiler keeps variables in memory. */
__attribute__((noinline)) static enum vcpu_exit
interp_loop(struct x86_cpu *cpu, struct interp_vcpu *iv)
{
	enum vcpu_exit exit;

	while ((exit = interp_between(cpu)) == INTERP_ON) {
		if (iv->part && x86_code64(cpu))
			return INTERP_HAND_BACK;
		if (interp_breakpoint_within(cpu, 1))
			return VCPU_EXIT_DEBUG;
		if (interp_must_step(cpu))
			interp_step_insn(cpu, &iv->fetch);
		else if (cpu->int_shadow)
			interp_run_shadowed(cpu, iv);
		else if (interp_debugged(cpu))
			interp_run_careful(cpu, iv);
		else
			interp_run_blocks(cpu, iv);
	}
	return exit;
}

/* Everything that is raised in the loop lands here. */
static enum vcpu_exit interp_guarded(struct x86_cpu *cpu,
				     struct interp_vcpu *iv)
{
	switch (setjmp(cpu->fault_jmp)) {
	case 0:
		break;
	case CACHE_LEAVE:
		interp_count_part(cpu, iv);
		interp_rewind(cpu);
		cpu->insn = NULL;
		break;
	default:
		interp_count_part(cpu, iv);
		if (!interp_deliver(cpu))
			return VCPU_EXIT_SHUTDOWN;
	}
	return interp_loop(cpu, iv);
}

static enum vcpu_exit interp_run(struct x86_cpu *cpu, struct err *err)
{
	enum vcpu_exit exit;

	x86_sync_enter(cpu);
	exit = interp_guarded(cpu, cpu->engine);
	x86_sync_leave(cpu);
	return exit;
}

/* --- Single instructions ------------------------------------------------- */

/* Like interp_step_insn(); false: it raised, see cpu->fault. */
static bool interp_try(struct x86_cpu *cpu, struct fetch *f)
{
	volatile bool ok = false;
	jmp_buf saved;

	memcpy(&saved, &cpu->fault_jmp, sizeof(saved));
	if (!setjmp(cpu->fault_jmp)) {
		interp_step_insn(cpu, f);
		ok = true;
	}
	memcpy(&cpu->fault_jmp, &saved, sizeof(saved));
	return ok;
}

static enum vcpu_exit interp_one_with(struct x86_cpu *cpu, struct fetch *f)
{
	if (!interp_try(cpu, f) && !interp_deliver(cpu))
		return VCPU_EXIT_SHUTDOWN;
	if (cpu->activity != X86_ACTIVE)
		return VCPU_EXIT_HALT;
	return VCPU_EXIT_KICKED;
}

enum vcpu_exit interp_one(struct x86_cpu *cpu)
{
	struct fetch f;

	return interp_one_with(cpu, &f);
}

bool interp_one_raw(struct x86_cpu *cpu)
{
	struct fetch f;
	bool ok = interp_try(cpu, &f);

	if (!ok && cpu->fault.type == X86_EV_FAULT)
		interp_rewind(cpu);
	cpu->insn = NULL;
	return ok;
}

/* For a debugger: an interrupt that is delivered counts as the step. */
static enum vcpu_exit interp_step(struct x86_cpu *cpu, struct err *err)
{
	struct interp_vcpu *iv = cpu->engine;
	uint64_t before = cpu->intr_count;
	enum vcpu_exit exit;

	x86_sync_enter(cpu);
	exit = interp_between(cpu);
	if (exit == INTERP_ON && cpu->intr_count == before)
		exit = interp_one_with(cpu, &iv->fetch);
	x86_sync_leave(cpu);
	if (exit == INTERP_ON || exit == VCPU_EXIT_KICKED)
		return VCPU_EXIT_DEBUG;
	return exit;
}

/* --- Life ---------------------------------------------------------------- */

static int interp_probe(struct err *err)
{
	return thunk_init(err);
}

/* mem_code_hook: a device wrote to code. */
static void interp_dma_written(void *opaque, uint64_t gpa, uint64_t len)
{
	cache_written(opaque, gpa, len);
}

static int interp_vm_init(struct x86_machine *xm, struct err *err)
{
	struct cache_vm *vm = NULL;
	int ret = thunk_init(err);

	if (!ret)
		ret = cache_vm_new(&vm, xm, err);
	if (ret)
		return ret;
	xm->engine = vm;
	mem_set_code_hook(xm->mem, interp_dma_written, vm);
	return 0;
}

static void interp_vm_free(struct x86_machine *xm)
{
	mem_set_code_hook(xm->mem, NULL, NULL);
	cache_vm_free(xm->engine);
	xm->engine = NULL;
}

int interp_part_new(struct interp_vcpu **out, struct x86_cpu *cpu,
		    struct err *err)
{
	struct interp_vcpu *iv = calloc(1, sizeof(*iv));
	int ret;

	if (!iv)
		return err_set(err, ENOMEM, "no memory for the interpreter");
	ret = cache_new(&iv->cache, cpu->xm->engine, err);
	if (ret) {
		free(iv);
		return ret;
	}
	iv->part = true;
	*out = iv;
	return 0;
}

void interp_part_free(struct interp_vcpu *iv, struct x86_cpu *cpu)
{
	if (!iv)
		return;
	cache_free(iv->cache, cpu);
	free(iv);
}

void interp_part_flush(struct interp_vcpu *iv, struct x86_cpu *cpu)
{
	cache_flush(iv->cache, cpu);
}

bool interp_part_run(struct interp_vcpu *iv, struct x86_cpu *cpu,
		     enum vcpu_exit *exit)
{
	jmp_buf saved;

	memcpy(&saved, &cpu->fault_jmp, sizeof(saved));
	*exit = interp_guarded(cpu, iv);
	memcpy(&cpu->fault_jmp, &saved, sizeof(saved));
	return *exit != INTERP_HAND_BACK;
}

static int interp_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	struct interp_vcpu *iv;
	int ret = interp_part_new(&iv, cpu, err);

	if (ret)
		return ret;
	iv->part = false;
	cpu->engine = iv;
	return 0;
}

static void interp_vcpu_free(struct x86_cpu *cpu)
{
	interp_part_free(cpu->engine, cpu);
	cpu->engine = NULL;
}

static void interp_code_written(struct x86_machine *xm, uint64_t gpa,
				uint64_t len)
{
	cache_written(xm->engine, gpa, len);
}

static void interp_flush(struct x86_cpu *cpu)
{
	struct interp_vcpu *iv = cpu->engine;

	cache_flush(iv->cache, cpu);
}

static void interp_stats(struct x86_cpu *cpu, struct engine_stats *out)
{
	struct interp_vcpu *iv = cpu->engine;
	struct cache_stats cs;

	cache_get_stats(iv->cache, &cs);
	*out = (struct engine_stats){
		.insns = cpu->insn_count,
		.blocks = cs.blocks,
		.invalidated = cpu->index ? 0 : cs.invalidated,
		.tlb_misses = cpu->tlb_miss_count,
		.page_walks = cpu->page_walk_count,
		.exceptions = cpu->exception_count,
		.interrupts = cpu->intr_count,
		.halts = cpu->halt_count,
		.code_bytes = cs.bytes,
	};
}

const struct engine_ops interpreter_engine = {
	.name = "interpreter",
	.probe = interp_probe,
	.vm_init = interp_vm_init,
	.vm_free = interp_vm_free,
	.vcpu_init = interp_vcpu_init,
	.vcpu_free = interp_vcpu_free,
	.run = interp_run,
	.step = interp_step,
	.code_written = interp_code_written,
	.flush = interp_flush,
	.stats = interp_stats,
};
