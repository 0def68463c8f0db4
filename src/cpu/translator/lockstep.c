/*
 * lockstep.c - see lockstep.h.
 *
 * How a block is undone: before it, no TLB entry allows a write, so that the
 * first write to a page comes to mmu.c, which calls our hook, which keeps the
 * page's content.  The hook lists the entries that come to be, in and between
 * blocks, to be dropped before the next run.  Devices are not reached from
 * within translated code, and instructions that the interpreter executes for
 * the translator are not compared: there is nothing to compare them with.
 */
#include "cpu/translator/lockstep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/interpreter/interp.h"
#include "cpu/x86/mmu.h"

#define LOCKSTEP_PAGES   32
#define LOCKSTEP_ENTRIES 256

struct lockstep_page {
	uint8_t *host;
	uint8_t before[MEM_PAGE_SIZE];
	uint8_t after[MEM_PAGE_SIZE];
};

struct lockstep_state {
	uint64_t gpr[16], rip, rflags;
	uint8_t fpu[X86_XSAVE_SIZE];
};

struct lockstep {
	struct xl *x;
	struct lockstep_state start, translated;
	unsigned count;
	bool inside;  /* a block, or its repetition, runs */
	bool again;   /* the interpreter runs */
	bool overrun; /* wrote more pages than are kept: not compared */
	bool astray;  /* the interpreter wrote a page that the block did not */
	struct lockstep_page pages[LOCKSTEP_PAGES];
	uint64_t blocks;
	/* Writable TLB entries; more than fit: all are to be dropped. */
	unsigned entry_count;
	struct {
		unsigned kind;
		uint64_t linear;
	} entry[LOCKSTEP_ENTRIES];
};

static void lockstep_drop_entries(struct lockstep *l)
{
	unsigned i;

	if (l->entry_count > LOCKSTEP_ENTRIES)
		x86_tlb_drop_writable_all(l->x->cpu);
	else
		for (i = 0; i < l->entry_count; i++)
			x86_tlb_drop(l->x->cpu, l->entry[i].kind,
				     l->entry[i].linear);
	l->entry_count = 0;
}

static void lockstep_note_entry(struct lockstep *l, unsigned kind,
				uint64_t linear)
{
	if (l->entry_count < LOCKSTEP_ENTRIES) {
		l->entry[l->entry_count].kind = kind;
		l->entry[l->entry_count].linear = linear;
	}
	if (l->entry_count <= LOCKSTEP_ENTRIES)
		l->entry_count++;
}

static void lockstep_write(struct x86_cpu *cpu, uint8_t *host, unsigned kind,
			   uint64_t linear)
{
	struct lockstep *l = ((struct xl *)cpu->engine)->lockstep;
	unsigned i;

	lockstep_note_entry(l, kind, linear);
	if (!l->inside)
		return;
	for (i = 0; i < l->count; i++)
		if (l->pages[i].host == host)
			return;
	if (l->again) {
		l->astray = true;
	} else if (l->count == LOCKSTEP_PAGES) {
		l->overrun = true;
	} else {
		l->pages[l->count].host = host;
		memcpy(l->pages[l->count++].before, host, MEM_PAGE_SIZE);
	}
}

int lockstep_new(struct lockstep **out, struct xl *x, struct err *err)
{
	struct lockstep *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(err, ENOMEM, "no memory for lockstep");
	l->x = x;
	l->entry_count = LOCKSTEP_ENTRIES + 1;
	x->cpu->write_hook = lockstep_write;
	*out = l;
	return 0;
}

void lockstep_free(struct lockstep *l)
{
	free(l);
}

static void lockstep_get(const struct x86_cpu *cpu, struct lockstep_state *s)
{
	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->rip = cpu->rip;
	s->rflags = cpu->rflags;
	memcpy(s->fpu, cpu->fpu.b, sizeof(s->fpu));
}

static void lockstep_put(struct x86_cpu *cpu, const struct lockstep_state *s)
{
	memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
	cpu->rip = s->rip;
	cpu->rflags = s->rflags;
	memcpy(cpu->fpu.b, s->fpu, sizeof(s->fpu));
}

void lockstep_begin(struct lockstep *l)
{
	struct x86_cpu *cpu = l->x->cpu;

	l->count = 0;
	l->again = l->overrun = l->astray = false;
	l->inside = true;
	lockstep_drop_entries(l);
	lockstep_get(cpu, &l->start);
}

/* Instructions of the block that begin below (or at) a guest offset. */
static unsigned lockstep_count(const struct xl_block *b, unsigned offset)
{
	unsigned i, n = 0;
	uint16_t last = 0;

	for (i = 0; i < b->insn_count && i < b->pc_count; i++) {
		if (i && b->pcs[i].guest <= last)
			break; /* the out-of-line parts begin */
		last = b->pcs[i].guest;
		n += last < offset;
	}
	return n;
}

/* How many of the block's instructions were completed. */
static unsigned lockstep_insns(struct xl *x, const struct xl_block *b,
			       enum xl_exit why)
{
	const struct xl_link *link;
	uint16_t guest;

	if (why == XL_EXIT_RIP)
		return b->insn_count;
	if (why != XL_EXIT_LINK)
		return lockstep_count(b, x->cpu->rip & MEM_PAGE_MASK);
	link = xl_deref(&x->arena, x->cpu->word[XL_ARG]);
	xl_block_at(x, b->host + link->unlinked, &guest); /* the jump */
	return lockstep_count(b, guest + 1);
}

static void lockstep_swap_memory(struct lockstep *l)
{
	unsigned i;

	for (i = 0; i < l->count; i++) {
		memcpy(l->pages[i].after, l->pages[i].host, MEM_PAGE_SIZE);
		memcpy(l->pages[i].host, l->pages[i].before, MEM_PAGE_SIZE);
	}
}

/* What differs, or NULL. */
static const char *lockstep_differs(const struct lockstep *l,
				    const struct x86_cpu *cpu)
{
	static const char *const names[16] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
	};
	unsigned i;

	for (i = 0; i < 16; i++)
		if (l->translated.gpr[i] != cpu->gpr[i])
			return names[i];
	if (l->translated.rip != cpu->rip)
		return "rip";
	if (l->translated.rflags != cpu->rflags)
		return "rflags";
	if (memcmp(l->translated.fpu + 24, cpu->fpu.b + 24, 4))
		return "mxcsr";
	if (memcmp(l->translated.fpu + X86_XMM_OFFSET,
		   cpu->fpu.b + X86_XMM_OFFSET, 256) ||
	    memcmp(l->translated.fpu + X86_YMMH_OFFSET,
		   cpu->fpu.b + X86_YMMH_OFFSET, 256))
		return "vectors";
	for (i = 0; i < l->count; i++)
		if (memcmp(l->pages[i].after, l->pages[i].host, MEM_PAGE_SIZE))
			return "memory";
	return l->astray ? "pages written" : NULL;
}

static int lockstep_report(struct lockstep *l, const struct xl_block *b,
			   const char *what, enum xl_exit why, unsigned n,
			   struct err *err)
{
	const struct x86_cpu *cpu = l->x->cpu;

	return err_set(err, EBADMSG,
		       "lockstep: %s differs after %u of %u instructions from "
		       "%#" PRIx64 " (exit %u): rip %#" PRIx64 " or %#" PRIx64
		       ", rflags %#" PRIx64 " or %#" PRIx64,
		       what, n, b->insn_count, l->start.rip, why,
		       l->translated.rip, cpu->rip, l->translated.rflags,
		       cpu->rflags);
}

static bool lockstep_interpret(struct x86_cpu *cpu, unsigned n)
{
	while (n--)
		if (!interp_one_raw(cpu))
			return false;
	return true;
}

static bool lockstep_canonical(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

int lockstep_check(struct lockstep *l, const struct xl_block *b,
		   enum xl_exit why, struct err *err)
{
	struct x86_cpu *cpu = l->x->cpu;
	unsigned n = lockstep_insns(l->x, b, why);
	const char *what;
	bool ok;

	l->blocks++;
	if (l->overrun) {
		l->inside = false;
		return 0;
	}
	lockstep_get(cpu, &l->translated);
	lockstep_swap_memory(l);
	lockstep_put(cpu, &l->start);
	l->again = true;
	lockstep_drop_entries(l);
	ok = lockstep_interpret(cpu, n);
	l->inside = false;
	if (!ok && !lockstep_canonical(l->translated.rip))
		return 1;
	what = ok ? lockstep_differs(l, cpu) : "a fault";
	return what ? lockstep_report(l, b, what, why, n, err) : 0;
}
