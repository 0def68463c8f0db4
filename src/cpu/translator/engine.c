/*
 * engine.c - the translator as an engine: its run loop.
 *
 * xl_loop() alternates between translated code and what it leaves to C:
 * interrupts and requests, blocks that must be found, translated or linked,
 * and instructions that the interpreter executes.  State in struct x86_cpu is
 * complete and precise whenever C runs here.
 *
 * Code written by another vCPU or a device arrives as a note; notes are read
 * whenever translated code has been left, which X86_PEND_SYNC makes happen
 * before the vCPU takes its next interrupt (the IPI of a kernel that patches
 * code on several processors).
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/engine.h"
#include "cpu/interpreter/interp.h"
#include "cpu/translator/lockstep.h"
#include "cpu/translator/trap.h"
#include "cpu/translator/xl.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/sync.h"
#include "cpu/x86/thunk.h"

/* #syscalls: arch_prctl */

#define XL_NOTES            (sizeof(((struct xl *)0)->notes) / sizeof(struct xl_note))
#define XL_HOST_MXCSR_VALUE 0x1f80
#define XL_START_BLOCKS     16384 /* fewer may stay */

/* --- Code written elsewhere ------------------------------------------------
 */

/* Takes in a range that overlaps the note's or is next to it. */
static bool xl_widen_note(struct xl_note *n, uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa + len, note_end = n->gpa + n->len;

	if (gpa > note_end || end < n->gpa)
		return false;
	n->gpa = gpa < n->gpa ? gpa : n->gpa;
	n->len = (end > note_end ? end : note_end) - n->gpa;
	return true;
}

/*
 * A page with both code and what is written all the time (Xen keeps stubs
 * beside stacks) is noted thousands of times before the other vCPU reads its
 * notes: as few ranges.
 */
static void xl_note_range(struct xl *x, uint64_t gpa, uint64_t len)
{
	if (x->note_count > XL_NOTES)
		return;
	for (unsigned i = 0; i < x->note_count && i < XL_NOTES; i++)
		if (xl_widen_note(&x->notes[i], gpa, len))
			return;
	if (x->note_count < XL_NOTES)
		x->notes[x->note_count] = (struct xl_note){ gpa, len };
	x->note_count++;
}

static void xl_note(struct xl *x, uint64_t gpa, uint64_t len)
{
	pthread_mutex_lock(&x->note_lock);
	xl_note_range(x, gpa, len);
	atomic_store(&x->noted, true);
	pthread_mutex_unlock(&x->note_lock);
}

static void xl_read_notes(struct xl *x)
{
	struct xl_note notes[XL_NOTES];
	unsigned i, count;

	pthread_mutex_lock(&x->note_lock);
	count = x->note_count;
	memcpy(notes, x->notes, sizeof(notes));
	x->note_count = 0;
	atomic_store(&x->noted, false);
	pthread_mutex_unlock(&x->note_lock);
	if (count > XL_NOTES)
		xl_flush(x);
	for (i = 0; i < count && count <= XL_NOTES; i++)
		xl_invalidate(x, notes[i].gpa, notes[i].len);
}

static void xl_code_written(struct x86_machine *xm, uint64_t gpa, uint64_t len)
{
	unsigned i;

	for (i = 0; i < xm->cpu_count; i++) {
		struct x86_cpu *cpu = xm->cpus[i];

		if (!cpu || !cpu->engine)
			continue;
		xl_note(cpu->engine, gpa, len);
		atomic_fetch_or(&cpu->pending, X86_PEND_SYNC);
	}
	if (atomic_load(&xm->code_shared))
		interpreter_engine.code_written(xm, gpa, len);
}

static void xl_dma_written(void *opaque, uint64_t gpa, uint64_t len)
{
	xl_code_written(opaque, gpa, len);
}

/* --- Finding blocks ---------------------------------------------------------
 */

/*
 * Bits of CR4 that code was made for.  TSD stays once it was seen: hypervisors
 * have it on and off by turns, with which a flush at each would be.
 */
static void xl_watch_cr4(struct xl *x)
{
	uint32_t now = (uint32_t)x->cpu->cr4;
	uint32_t cr4 = (now & X86_CR4_SMAP) | ((x->cr4 | now) & X86_CR4_TSD);

	if (cr4 == x->cr4)
		return;
	x->cr4 = cr4;
	xl_flush(x);
}

/* Mode bits that are not told apart by the code map's kinds. */
static void xl_watch_mode(struct xl *x)
{
	uint32_t mode =
		x->cpu->mode & XL_MODE_KEY & ~(X86_MODE_USER | X86_MODE_AC);

	xl_watch_cr4(x);
	if (mode == x->map_mode)
		return;
	x->map_mode = mode;
	x86_code_map_flush(x->cpu);
	xl_jump_flush(x);
}

/* The record of a page, made of any but `keep`; NULL: out of memory. */
static struct xl_page *xl_some_page(struct xl *x, uint64_t linear, uint64_t gpa,
				    uint32_t mode, const struct xl_page *keep)
{
	struct xl_page *page = xl_page_find(x, linear, gpa, mode);

	if (!page)
		page = xl_move_page(x, linear, gpa, mode, keep);
	return page ? page : xl_page_get(x, linear, gpa, mode);
}

/* The record of the page behind, for an instruction that reaches into it. */
static struct xl_page *xl_next_page(struct xl *x, const struct xl_page *page,
				    const uint8_t **bytes)
{
	uint64_t linear = page->linear + MEM_PAGE_SIZE;
	uint64_t gpa = x86_fetch_gpa_quiet(x->cpu, linear);

	*bytes = NULL;
	if (gpa == UINT64_MAX)
		return NULL;
	*bytes = mem_host_read(x->cpu->mem, gpa, MEM_PAGE_SIZE);
	if (!*bytes)
		return NULL;
	return xl_some_page(x, linear, gpa, page->mode & ~XL_MODE_SINGLE, page);
}

/* bytes: the page's, which stay where they are whatever lies there later. */
static struct xl_block *xl_make_block(struct xl *x, struct xl_page *page,
				      const uint8_t *bytes, unsigned offset)
{
	const uint8_t *next_bytes = NULL;
	struct xl_page *next = NULL;
	struct xl_block *b = NULL;

	if (!xl_is_hot(x, page->linear + offset))
		b = xl_clone(x, page, offset);
	if (b)
		return b;
	/* The most that a block's instructions can span. */
	if (offset + PLAN_INSNS * X86_INSN_MAX > MEM_PAGE_SIZE) {
		next = xl_next_page(x, page, &next_bytes);
		if (!next)
			next_bytes = NULL;
	}
	x86_hold_code(x->cpu, page->gpa, x->cpu->index);
	return xl_translate(x, page, offset, bytes, next, next_bytes);
}

/*
 * When the first user code is reached, most of what was translated is a
 * kernel's (and a firmware's) start, which is not needed again: it goes while
 * little else would go with it.
 */
static void xl_watch_start(struct xl *x)
{
	if (x->seen_user || !(x->cpu->mode & X86_MODE_USER))
		return;
	x->seen_user = true;
	if (x->order_count > XL_START_BLOCKS)
		xl_flush(x);
}

/* The block at rip; NULL: rip cannot be fetched from RAM. */
static struct xl_block *xl_lookup(struct xl *x)
{
	struct x86_cpu *cpu = x->cpu;
	uint64_t gpa = x86_fetch_gpa_quiet(cpu, cpu->rip);
	uint32_t single = x->single_next ? XL_MODE_SINGLE : 0;
	struct xl_block *b = NULL;
	struct xl_page *page;
	const uint8_t *bytes;

	x->single_next = false;
	if (gpa == UINT64_MAX)
		return NULL;
	bytes = mem_host_read(cpu->mem, gpa & ~MEM_PAGE_MASK, MEM_PAGE_SIZE);
	if (!bytes)
		return NULL;
	xl_watch_mode(x);
	xl_watch_start(x);
	while (!b) {
		page = xl_some_page(x, cpu->rip & ~MEM_PAGE_MASK,
				    gpa & ~MEM_PAGE_MASK,
				    (cpu->mode & XL_MODE_KEY) | single, NULL);
		if (page)
			b = xl_find(x, page, gpa & MEM_PAGE_MASK);
		if (page && !b)
			b = xl_make_block(x, page, bytes, gpa & MEM_PAGE_MASK);
		if (!b)
			xl_flush(x);
	}
	page->used = xl_epoch();
	if (!single)
		x86_code_map_set(cpu, cpu->rip, xl_code_kind(cpu->mode),
				 page->id);
	return b;
}

/* --- Running
 * --------------------------------------------------------------------- */

/* What run_code() leaves to be done. */
enum xl_next {
	XL_NEXT_BLOCK,
	XL_NEXT_INTERPRET, /* one instruction */
	XL_NEXT_ERROR,
};

/* Translated code came back: rip becomes where to go on. */
static enum xl_next xl_came_back(struct xl *x, enum xl_exit why,
				 struct xl_link **link)
{
	struct x86_cpu *cpu = x->cpu;
	uint64_t arg = cpu->word[XL_ARG];
	struct xl_block *at;
	uint16_t guest;

	x->exits[why]++;
	switch (why) {
	case XL_EXIT_LINK:
		*link = xl_deref(&x->arena, arg);
		cpu->rip = (*link)->target;
		return XL_NEXT_BLOCK;
	case XL_EXIT_CHECK:
		at = xl_deref(&x->arena, arg);
		cpu->rip = at->page->linear + at->offset;
		xl_hot_tick(x, at);
		return XL_NEXT_BLOCK;
	case XL_EXIT_RIP:
		cpu->rip = arg;
		return XL_NEXT_BLOCK;
	case XL_EXIT_INSN:
		cpu->rip = arg;
		return XL_NEXT_INTERPRET;
	case XL_EXIT_DONE:
		return arg ? XL_NEXT_INTERPRET : XL_NEXT_BLOCK;
	default:
		at = xl_block_at(x, (const uint8_t *)(uintptr_t)arg, &guest);
		cpu->rip = at->page->linear + (guest & ~XL_PC_GROUP);
		x->single_next = guest & XL_PC_GROUP;
		return x->single_next ? XL_NEXT_BLOCK : XL_NEXT_INTERPRET;
	}
}

/* An interrupt may have come between the jump and its target. */
static bool xl_may_link(const struct xl *x, struct xl_link *l)
{
	return !x->lockstep && !xl_link_from(l)->dead &&
	       l->target == x->cpu->rip &&
	       l->mode == (x->cpu->mode & XL_MODE_KEY);
}

/* Runs translated code from cpu->rip; link: the jump that led there, if any,
 * and then the one that was left by. */
static enum xl_next xl_run_code(struct xl *x, struct xl_link **link,
				struct err *err)
{
	uint64_t flushes = x->flushes;
	struct xl_link *from = *link;
	struct xl_block *b = xl_lookup(x);
	enum xl_next next;
	enum xl_exit why;
	int rc = 0;

	*link = NULL;
	if (!b)
		return XL_NEXT_INTERPRET;
	if (from && flushes == x->flushes && xl_may_link(x, from))
		xl_link(x, from, b);
	if (x->lockstep)
		lockstep_begin(x->lockstep);
	why = x->glue.enter(x->cpu, b->host + b->body);
	next = xl_came_back(x, why, link);
	if (x->lockstep)
		rc = lockstep_check(x->lockstep, b, why, err);
	if (rc)
		return rc < 0 ? XL_NEXT_ERROR : XL_NEXT_INTERPRET;
	return next;
}

/* Between instructions: true, and why, if run() is to return. */
static bool xl_between(struct x86_cpu *cpu, enum vcpu_exit *exit)
{
	if (cpu->watch_pending) {
		cpu->watch_pending = false;
		*exit = VCPU_EXIT_DEBUG;
		return true;
	}
	if (!cpu->int_shadow &&
	    atomic_load_explicit(&cpu->pending, memory_order_relaxed)) {
		enum x86_pending_result r = x86_take_pending(cpu);

		*exit = r == X86_PEND_SHUTDOWN ? VCPU_EXIT_SHUTDOWN
					       : VCPU_EXIT_KICKED;
		if (r != X86_PEND_CONTINUE)
			return true;
	}
	*exit = VCPU_EXIT_HALT;
	return cpu->activity != X86_ACTIVE;
}

static bool xl_at_breakpoint(const struct x86_cpu *cpu)
{
	uint64_t base = x86_code64(cpu) ? 0 : cpu->seg[X86_CS].base;

	return xl_breakpoint_at(cpu, base + cpu->rip);
}

/*
 * Code that is not 64-bit runs in the interpreter's blocks, which are faster
 * than one instruction after the other.  From then on both engines' code may
 * lie on a page.  False: there is no memory for that.
 */
static bool xl_has_part(struct xl *x)
{
	if (x->part)
		return true;
	if (x->lockstep || interp_part_new(&x->part, x->cpu, NULL))
		return false;
	atomic_store(&x->cpu->xm->code_shared, true);
	return true;
}

static enum vcpu_exit xl_loop(struct xl *x, struct err *err)
{
	struct x86_cpu *cpu = x->cpu;
	struct xl_link *link = NULL;
	enum xl_next next;
	enum vcpu_exit exit;

	for (;;) {
		if (atomic_load_explicit(&x->noted, memory_order_acquire)) {
			xl_read_notes(x);
			link = NULL;
		}
		if (xl_between(cpu, &exit))
			return exit;
		if (xl_at_breakpoint(cpu))
			return VCPU_EXIT_DEBUG;
		if (!x86_code64(cpu) && xl_has_part(x)) {
			link = NULL;
			if (interp_part_run(x->part, cpu, &exit))
				return exit;
			continue;
		}
		if (xl_must_step(cpu)) {
			link = NULL;
		} else {
			next = xl_run_code(x, &link, err);
			if (next == XL_NEXT_ERROR)
				return VCPU_EXIT_ERROR;
			if (next == XL_NEXT_BLOCK || xl_at_breakpoint(cpu))
				continue;
		}
		x->interpreted++;
		if (interp_one(cpu) == VCPU_EXIT_SHUTDOWN)
			return VCPU_EXIT_SHUTDOWN;
	}
}

/* Translated code finds the vCPU's state by the GS base. */
static void xl_own_thread(struct xl *x)
{
	if (x->has_thread && pthread_equal(x->thread, pthread_self()))
		return;
	syscall(SYS_arch_prctl, ARCH_SET_GS, x->cpu);
	xl_trap_watch(x);
	x->thread = pthread_self();
	x->has_thread = true;
}

static enum vcpu_exit xl_run(struct x86_cpu *cpu, struct err *err)
{
	enum vcpu_exit exit;

	xl_own_thread(cpu->engine);
	x86_sync_enter(cpu);
	exit = xl_loop(cpu->engine, err);
	x86_sync_leave(cpu);
	return exit;
}

static enum vcpu_exit xl_step(struct x86_cpu *cpu, struct err *err)
{
	uint64_t before = cpu->intr_count;
	enum vcpu_exit exit;
	bool leave;

	xl_own_thread(cpu->engine);
	x86_sync_enter(cpu);
	leave = xl_between(cpu, &exit);
	if (!leave && cpu->intr_count == before)
		exit = interp_one(cpu);
	x86_sync_leave(cpu);
	if (leave || exit == VCPU_EXIT_SHUTDOWN || exit == VCPU_EXIT_HALT)
		return exit;
	return VCPU_EXIT_DEBUG;
}

/* --- Life
 * ---------------------------------------------------------------------------
 */

/* LAHF in 64-bit code, which the first 64-bit processors lacked. */
static bool xl_host_lahf(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & bit_LAHF_LM;
}

static int xl_probe(struct err *err)
{
	if (!x86_has(X86_FEAT_BMI2) && !xl_host_lahf())
		return err_set(err, ENOTSUP,
			       "the translator needs a processor with LAHF in "
			       "64-bit code: use --engine interpreter");
	return thunk_init(err);
}

static int xl_vm_init(struct x86_machine *xm, struct err *err)
{
	int rc = xl_probe(err);

	if (!rc)
		rc = xl_trap_init(err);
	if (!rc)
		rc = interpreter_engine.vm_init(xm, err);
	if (!rc)
		mem_set_code_hook(xm->mem, xl_dma_written, xm);
	return rc;
}

static void xl_vm_free(struct x86_machine *xm)
{
	interpreter_engine.vm_free(xm);
}

static void xl_vcpu_free(struct x86_cpu *cpu)
{
	struct xl *x = cpu->engine;

	if (!x)
		return;
	cpu->engine = NULL;
	cpu->park_vectors = NULL;
	lockstep_free(x->lockstep);
	interp_part_free(x->part, cpu);
	xl_code_free(x);
	pthread_mutex_destroy(&x->note_lock);
	munmap(x, sizeof(*x));
}

/* plain: as on a host without BMI2. */
static int xl_vcpu_new(struct x86_cpu *cpu, bool plain, struct err *err)
{
	struct xl *x = mmap(NULL, sizeof(*x), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (x == MAP_FAILED)
		return err_set(err, ENOMEM, "no memory for the translator");
	x->cpu = cpu;
	x->has_avx = x86_has(X86_FEAT_AVX);
	x->has_bmi2 = x86_has(X86_FEAT_BMI2) && !plain;
	pthread_mutex_init(&x->note_lock, NULL);
	rc = xl_code_init(x, err);
	cpu->engine = x;
	if (rc) {
		xl_vcpu_free(cpu);
		return rc;
	}
	cpu->word[XL_VEC_OFF] = 1;
	cpu->word[XL_SELF] = (uintptr_t)cpu;
	cpu->word[XL_HOST_MXCSR] = XL_HOST_MXCSR_VALUE;
	cpu->word[XL_MASK_NOT_IF] = ~X86_FLAG_IF;
	cpu->word[XL_MASK_NOT_DF] = ~X86_FLAG_DF;
	cpu->word[XL_MASK_63] = 63;
	cpu->word[XL_MASK_31] = 31;
	cpu->word[XL_MASK_ARITH] = X86_FLAGS_ARITH;
	cpu->word[XL_MASK_NOT_ARITH] = ~X86_FLAGS_ARITH;
	xl_glue_make(x);
	cpu->park_vectors = x->glue.park;
	return 0;
}

static void xl_all_hot(struct x86_cpu *cpu)
{
	struct xl *x = cpu->engine;

	x->all_hot = true;
	cpu->tlb.view.period = cpu->tlb.view.countdown = 1;
}

static int xl_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	return xl_vcpu_new(cpu, false, err);
}

static int xl_plain_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	return xl_vcpu_new(cpu, true, err);
}

/* For tests: what only hot blocks have, everywhere and at once. */
static int xl_hot_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	int rc = xl_vcpu_new(cpu, false, err);

	if (!rc)
		xl_all_hot(cpu);
	return rc;
}

static int xl_lockstep_new(struct x86_cpu *cpu, bool plain, struct err *err)
{
	int rc = xl_vcpu_new(cpu, plain, err);
	struct xl *x = cpu->engine;

	if (rc)
		return rc;
	rc = lockstep_new(&x->lockstep, x, err);
	if (rc)
		xl_vcpu_free(cpu);
	return rc;
}

static int xl_lockstep_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	return xl_lockstep_new(cpu, false, err);
}

static int xl_lockstep_plain_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	return xl_lockstep_new(cpu, true, err);
}

static int xl_lockstep_hot_vcpu_init(struct x86_cpu *cpu, struct err *err)
{
	int rc = xl_lockstep_new(cpu, false, err);

	if (!rc)
		xl_all_hot(cpu);
	return rc;
}

static void xl_engine_flush(struct x86_cpu *cpu)
{
	struct xl *x = cpu->engine;

	xl_flush(x);
	x->seen_user = false;
	if (x->part)
		interp_part_flush(x->part, cpu);
}

static void xl_stats(struct x86_cpu *cpu, struct engine_stats *out)
{
	const struct xl *x = cpu->engine;

	*out = (struct engine_stats){
		.insns = cpu->insn_count,
		.blocks = x->blocks,
		.copied = x->copied,
		.moved = x->moved,
		.invalidated = x->invalidated,
		.evicted = x->evicted,
		.tlb_misses = cpu->tlb_miss_count,
		.page_walks = cpu->page_walk_count,
		.exceptions = cpu->exception_count,
		.interrupts = cpu->intr_count,
		.halts = cpu->halt_count,
		.code_bytes = x->a.w - x->rw,
	};
}

#define XL_ENGINE(what, init)                                              \
	{                                                                  \
		.name = what, .probe = xl_probe, .vm_init = xl_vm_init,    \
		.vm_free = xl_vm_free, .vcpu_init = init,                  \
		.vcpu_free = xl_vcpu_free, .run = xl_run, .step = xl_step, \
		.code_written = xl_code_written, .flush = xl_engine_flush, \
		.stats = xl_stats,                                         \
	}

const struct engine_ops translator_engine =
	XL_ENGINE("translator", xl_vcpu_init);
const struct engine_ops translator_plain_engine =
	XL_ENGINE("translator-plain", xl_plain_vcpu_init);
const struct engine_ops translator_hot_engine =
	XL_ENGINE("translator-hot", xl_hot_vcpu_init);
const struct engine_ops lockstep_engine =
	XL_ENGINE("lockstep", xl_lockstep_vcpu_init);
const struct engine_ops lockstep_plain_engine =
	XL_ENGINE("lockstep-plain", xl_lockstep_plain_vcpu_init);
const struct engine_ops lockstep_hot_engine =
	XL_ENGINE("lockstep-hot", xl_lockstep_hot_vcpu_init);
