/*
 * xl.h - the translator's own structures.
 *
 * Theory of operation.  Guest code is translated block by block (straight-line
 * code within one page) into host code that keeps guest registers in host
 * registers and guest arithmetic flags in the host's flags, always.  Nothing
 * that the translator adds touches flags: addresses are computed by LEA,
 * the TLB check is SHRX/LEA/JRCXZ.  So state is precise at every
 * instruction, and any instruction may be given to the interpreter.
 *
 * Host registers in translated code:
 *
 *	RAX RDX RBX RBP RSI RDI R8 R9 R12 R13	the guest's, same name
 *	R14	guest RCX		R15	guest RSP
 *	R10 R11	scratch: T0, T1		RCX	scratch (for JRCXZ)
 *	RSP	host stack, kept at 12 modulo 64: SHRX takes its shift count,
 *		the page shift, from there
 *	GS base	struct x86_cpu: guest R10, R11, R14, R15 and all else
 *
 * Vector registers hold the guest's while word XL_VEC_OFF is 0.
 *
 * A block has three entries:
 *
 *	checked	is this page still mapped here (code_map id)?  any pending
 *		request?  For jumps from other pages and indirect jumps.
 *	poll	any pending request?  For backward jumps within the page.
 *	body	for forward jumps within the page.
 *
 * Everything is private to one vCPU: no locks; another vCPU that writes code
 * leaves a note (engine.c).
 */
#ifndef HOSTEL_CPU_TRANSLATOR_XL_H
#define HOSTEL_CPU_TRANSLATOR_XL_H

#include <stddef.h>

#include "cpu/translator/asm.h"
#include "cpu/translator/plan.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/insn.h"

#define XL_T0    H_R10
#define XL_T1    H_R11
#define XL_CX    H_RCX
#define XL_SHIFT H_RSP /* holds 12 modulo 64 */

/* x86_cpu.word[]: what generated code reaches */
enum xl_word {
	XL_VEC_OFF,    /* 0: host vector registers hold the guest's */
	XL_STACK,      /* C stack pointer while in translated code */
	XL_ARG,        /* argument of an exit */
	XL_SELF,       /* struct x86_cpu * */
	XL_HOST_MXCSR, /* MXCSR that C code runs with */
	XL_RESUME,     /* host target of an indirect call across its push */
	XL_MASK_NOT_IF,
	XL_MASK_NOT_DF,
	XL_MASK_63,
	XL_MASK_31,
	XL_MASK_ARITH,
	XL_MASK_NOT_ARITH,
	XL_GROUP, /* addends of groups of accesses: PLAN_GROUPS words */
};
#define XL_OFF(field) ((int32_t)offsetof(struct x86_cpu, field))
#define XL_WORD(n)    (XL_OFF(word) + 8 * (int32_t)(n))
#define XL_GPR(n)     (XL_OFF(gpr) + 8 * (int32_t)(n))

/* Why translated code came back; the argument is in word[XL_ARG]. */
enum xl_exit {
	XL_EXIT_LINK,  /* struct xl_link, by xl_ref(): not linked yet */
	XL_EXIT_RIP,   /* linear address to go on at */
	XL_EXIT_CHECK, /* struct xl_block, likewise: its entry check failed */
	XL_EXIT_FAULT, /* host pc whose instruction is to be interpreted */
	XL_EXIT_INSN,  /* linear address of an instruction to interpret */
	XL_EXIT_DONE,  /* an instruction was executed: rip is current */
	XL_EXITS
};

struct xl;
struct xl_block;

#define XL_LINKS (PLAN_JCCS + 2) /* and two at the end */

/* A direct jump out of a block. */
struct xl_link {
	struct xl_block *to;
	struct xl_link *next_in; /* in to->in */
	uint64_t target;         /* linear */
	uint16_t site;           /* its rel32, from the block's host start */
	uint16_t unlinked;       /* where it goes while not linked: likewise */
	uint16_t mode;           /* XL_MODE_KEY there */
	uint8_t index;           /* in the block's out[] */
	bool same_page;
};

/* Which instruction host code belongs to: sorted by host offset. */
struct xl_pc {
	uint16_t host;  /* from the block's host start */
	uint16_t guest; /* instruction's offset in the guest page; or with: */
#define XL_PC_GROUP 0x8000 /* the check of a group */
};

/*
 * What a copy of a block at another linear address must change (clone.c), as
 * kind << 14 | offset from the block's host start.
 */
enum xl_fix {
	XL_FIX_LINEAR, /* 64 bits: a linear address, relative to the page's */
	XL_FIX_REL,    /* 32 bits: to the glue, relative to here */
	XL_FIX_BLOCK,  /* 32 bits: into the block's record (xl_ref) */
	XL_FIX_INSN,   /* 32 bits: to a struct xl_insn (xl_ref) */
};
#define XL_FIX_AT 0x3fff
#define XL_FIXES  1024

struct xl_block {
	struct xl_page *page; /* these first: what xl_find() looks at */
	struct xl_block *next_hash;
	uint16_t offset, len; /* guest bytes in the page */
	uint16_t host_len;
	uint16_t single_at;
	struct xl_block *next_page;
	/* A mere note that a block of another page has bytes on this one. */
	struct xl_block *noted_for;
	uint8_t *host;      /* rx: checked entry */
	struct xl_pc *pcs;  /* shared with copies, as fix is */
	uint16_t *fix;      /* NULL: cannot be copied */
	struct xl_link *in; /* jumps linked to here */
	/* Where its last failed group, at guest offset single_at, went on. */
	struct xl_block *single;
	uint16_t pc_count, fix_count;
	uint8_t insn_count, link_count;
	uint8_t poll, body; /* entries, from host */
	bool dead;
	bool hot; /* was made with more care: hot.c */
	uint8_t ticks;
	struct xl_link out[];
};

static inline struct xl_block *xl_link_from(struct xl_link *l)
{
	l -= l->index;
	return (struct xl_block *)((uint8_t *)l -
				   offsetof(struct xl_block, out));
}

/* Code at one linear page, mapped to one physical page, in one mode. */
struct xl_page {
	uint64_t linear, gpa;
	uint32_t mode; /* XL_MODE_KEY bits, XL_MODE_SINGLE */
	uint32_t id;   /* multiple of 4096 */
	uint32_t used; /* xl_epoch() when the code map last took it */
	struct xl_block *blocks;
	struct xl_page *next_hash;
	struct xl_phys *phys;
	struct xl_page *next_phys; /* others of the same physical page */
};

/* A physical page that code was translated from. */
struct xl_phys {
	uint64_t gpa;
	uint64_t granules; /* bit i: code in bytes 64 i .. 64 i + 63 */
	struct xl_page *pages;
	struct xl_phys *next_hash;
};

/* An instruction of a block that its interpreter handler executes. */
struct xl_insn {
	struct x86_insn insn;
	uint64_t rip; /* linear */
};

/* A period of 10 to 30 ms, in which a page is in use or not. */
static inline uint32_t xl_epoch(void)
{
	return (uint32_t)(__builtin_ia32_rdtsc() >> 26);
}

#define XL_IDS       (1u << 20) /* pages between two flushes */
#define XL_HASH_BITS 17
#define XL_HASH_SIZE (1u << XL_HASH_BITS)
#define XL_PAGE_HASH 4096u

/* Everything that lives until the next flush: from both ends. */
struct xl_arena {
	uint8_t *base;
	size_t used, top;
};

/* Runs translated code; returns an enum xl_exit. */
typedef unsigned xl_enter_fn(struct x86_cpu *cpu, const uint8_t *code);

/* Vector registers into cpu->fpu, if they hold the guest's. */
typedef void xl_park_fn(struct x86_cpu *cpu);

/* Addresses (rx) of the generated helpers: glue.c. */
struct xl_glue {
	xl_enter_fn *enter;
	uint8_t *exit[XL_EXITS]; /* by enum xl_exit; argument in T0 */
	uint8_t *miss;           /* T0: linear, ECX: kind << 16 | size */
	uint8_t *group_miss;     /* likewise, for a group */
	uint8_t *view;           /* T0: linear, to be looked at; keeps T1 */
	uint8_t *indirect[X86_CODE_KINDS]; /* T0: linear target */
	xl_park_fn *park;
	uint8_t *insn;        /* T0: xl_ref() of a struct xl_insn */
	uint8_t *insn_parked; /* likewise, with vectors in memory */
	uint8_t *link;        /* T0: xl_ref() of a struct xl_link */
	uint8_t *check;       /* T0: xl_ref() of a struct xl_block */
	uint8_t *vec_load;
};

/*
 * Records in generated code: their place in the arena, which takes less room
 * than their address.
 */
static inline uint32_t xl_ref(const struct xl_arena *arena, const void *p)
{
	return (uint32_t)((const uint8_t *)p - arena->base);
}

static inline void *xl_deref(const struct xl_arena *arena, uint64_t ref)
{
	return arena->base + ref;
}

/* What translating one block needs; shared by gen*.c. */
struct xl_slow { /* an out-of-line part of the block */
	enum {
		XL_SLOW_MISS,
		XL_SLOW_VEC,
		XL_SLOW_LINK,
		XL_SLOW_POPF,
		XL_SLOW_POLL,
		XL_SLOW_INSN,
		XL_SLOW_VIEW
	} what;
	uint8_t *site; /* rel32 to point here */
	uint8_t *back; /* rx: where to go on */
	uint8_t kind, ea;
	uint16_t size, guest;
	bool group;
};

struct xl_gen {
	struct xl *x;
	struct xl_asm *a;
	struct xl_page *page;
	struct xl_block *b;
	uint64_t rip; /* linear, of the instruction being generated */
	uint64_t next_rip;
	unsigned tlb_kind;    /* of reads; | 1: writes */
	bool vec_ready;       /* vector registers are known to be loaded */
	bool ended;           /* control has left the block */
	bool sti;             /* STI was the instruction before */
	uint32_t link_mode;   /* mode that jumps from here on lead to */
	unsigned i;           /* the plan's instruction at hand */
	int t1_group;         /* whose addend T1 holds; -1: none */
	bool hot;             /* hot.c */
	uint8_t groups_ready; /* bit i: word XL_GROUP + i is set */
	const struct xl_page *next_page; /* for one that crosses; or NULL */
	bool tied; /* to its linear address: cannot be copied */
	unsigned slow_count;
	unsigned pc_count;
	unsigned fix_count;
	struct xl_slow slow[4 * PLAN_INSNS];
	struct xl_pc pcs[6 * PLAN_INSNS];
	uint16_t fix[XL_FIXES];
	struct xl_link link[XL_LINKS];
	struct plan plan;
};

/* Linear addresses of hot blocks, of late; 0: none. */
#define XL_HOT 32
struct xl_hot {
	uint64_t at[XL_HOT];
	unsigned next;
};

struct xl {
	struct x86_cpu *cpu;
	struct xl_asm a;  /* where code is emitted next */
	uint8_t *rw, *rx; /* two views of the code memory */
	size_t code_size;
	size_t glue_size;
	struct xl_glue glue;
	struct xl_gen gen;
	struct xl_arena arena;
	struct xl_block *hash[XL_HASH_SIZE];
	struct xl_page *page_hash[XL_PAGE_HASH];
	struct xl_phys *phys_hash[XL_PAGE_HASH];
	struct xl_block **order; /* blocks in order of host address */
	unsigned order_count, order_max;
	uint32_t *order_at; /* by host address: see xl_block_at() */
	uint32_t next_id;
	bool seen_user;    /* user code was looked up since the reset */
	bool single_next;  /* a group's check failed: go on singly */
	uint32_t map_mode; /* mode bits that the code map was filled for */
	uint64_t cr4;      /* what of CR4 code was translated for */
	uint32_t jump_used_count;
	uint32_t jump_used[8192];
	bool has_avx, has_bmi2; /* of the host; may be used */
	bool all_hot;           /* for tests: and all reads chase */
	struct xl_hot hot;
	struct lockstep *lockstep; /* NULL: not in lockstep */
	struct interp_vcpu *part; /* for code that is not 64-bit; may be NULL */
	uint64_t blocks, copied, moved, invalidated, evicted, flushes;
	uint64_t exits[XL_EXITS], interpreted;
	/* Notes from other vCPUs: guarded by note_lock. */
	pthread_mutex_t note_lock;
	struct xl_note {
		uint64_t gpa, len;
	} notes[64];
	unsigned note_count; /* > 64: too many, flush */
	atomic_bool noted;
	pthread_t thread; /* whose GS base is set */
	bool has_thread;
};

/* --- code.c: memory, blocks, links ------------------------------------------
 */

int xl_code_init(struct xl *x, struct err *err);
void xl_code_free(struct xl *x);
/* Drops every block (not while translated code runs). */
void xl_flush(struct xl *x);
/* The page record for code at linear, or NULL when memory is out. */
struct xl_page *xl_page_get(struct xl *x, uint64_t linear, uint64_t gpa,
			    uint32_t mode);
struct xl_page *xl_page_find(struct xl *x, uint64_t linear, uint64_t gpa,
			     uint32_t mode);
struct xl_phys *xl_phys_find(struct xl *x, uint64_t gpa);
/*
 * The page is at another linear address now: blocks that are tied to the old
 * one go, jumps to and from other pages are cut, and the caller corrects the
 * code of the others.  False, and nothing done: out of ids.
 */
bool xl_page_rekey(struct xl *x, struct xl_page *p, uint64_t linear);
struct xl_block *xl_find(struct xl *x, const struct xl_page *page,
			 unsigned offset);
void *xl_alloc(struct xl *x, size_t size);
void *xl_alloc_top(struct xl *x, size_t size);
/* Gives back what the last xl_alloc() has behind end (8-byte aligned). */
void xl_shrink(struct xl *x, const void *end);
/* Enters a finished block into hash, page and order. */
void xl_add(struct xl *x, struct xl_block *b);
/* Notes that b was made from the first len bytes of page, too. */
bool xl_add_note(struct xl *x, struct xl_block *b, struct xl_page *page,
		 unsigned len);
void xl_link(struct xl *x, struct xl_link *l, struct xl_block *to);
/* Points the jump to its exit; it is in no list of `in`, or is taken out. */
void xl_unlink(struct xl *x, struct xl_link *l);
/* Drops it, unless that was done before (not while translated code runs). */
void xl_drop(struct xl *x, struct xl_block *b);
/* Bytes [gpa, gpa+len) were written: blocks made from them go. */
void xl_invalidate(struct xl *x, uint64_t gpa, uint64_t len);
/* Guest offset in its page of the instruction at a host pc; NULL: not ours. */
struct xl_block *xl_block_at(struct xl *x, const uint8_t *pc, uint16_t *guest);
void xl_jump_note(struct xl *x, unsigned kind, uint64_t linear,
		  const uint8_t *host);
void xl_jump_flush(struct xl *x);

/* --- glue.c
 * ------------------------------------------------------------------- */

void xl_glue_make(struct xl *x);

/* --- gen.c
 * -------------------------------------------------------------------- */

/* Modes that the translator handles; others are interpreted. */
static inline bool xl_mode_ok(uint32_t mode)
{
	return (mode & X86_MODE_CODE) == X86_MODE_CODE64 &&
	       !(mode & X86_MODE_TF);
}
/* Does anything want to see every instruction? */
static inline bool xl_must_step(const struct x86_cpu *cpu)
{
	return !xl_mode_ok(cpu->mode) || cpu->int_shadow ||
	       cpu->rflags & X86_FLAG_RF || cpu->dr[7] & 0xff ||
	       cpu->cpl == 1 || cpu->cpl == 2 ||
	       (cpu->rflags & X86_FLAG_AC && cpu->cr0 & X86_CR0_AM &&
		cpu->cpl == 3) || /* alignment checks */
	       (cpu->xm->trace && cpu->xm->trace->insn) ||
	       (cpu->xm->debug && cpu->xm->debug->watch_count);
}
/*
 * Does gdb wait there?  Translated code ends before such an instruction; who
 * changes the breakpoints flushes it.
 */
static inline bool xl_breakpoint_at(const struct x86_cpu *cpu, uint64_t linear)
{
	const struct x86_debug *d = cpu->xm->debug;
	unsigned i;

	for (i = 0; d && i < d->bp_count; i++)
		if (d->bp[i] == linear)
			return true;
	return false;
}
/* The mode bits that translated code depends on. */
#define XL_MODE_KEY                                                   \
	(X86_MODE_CODE | X86_MODE_USER | X86_MODE_AC | X86_MODE_SSE | \
	 X86_MODE_AVX | X86_MODE_X87)
/* A translation that checks each access by itself. */
#define XL_MODE_SINGLE 0x80000000u
static inline unsigned xl_code_kind(uint32_t mode)
{
	return mode & X86_MODE_USER ? 0 : mode & X86_MODE_AC ? 2 : 1;
}
/*
 * Translates the block at page->linear + offset; bytes: the guest's page.
 * next, next_bytes: the page behind it, or NULL.  NULL: out of memory (flush
 * and try again).
 */
struct xl_block *xl_translate(struct xl *x, struct xl_page *page,
			      unsigned offset, const uint8_t *bytes,
			      struct xl_page *next, const uint8_t *next_bytes);

/* The entries of g->b, whose host is here (translating and copying). */
void gen_entries(struct xl_gen *g);
/* Links what a new block jumps to, where that is on its page and exists. */
void gen_link_now(struct xl *x, struct xl_block *b);

/* --- hot.c ------------------------------------------------------------------
 */

/* Translated code was interrupted as it came to b; may drop it. */
void xl_hot_tick(struct xl *x, struct xl_block *b);
/* Is the block at linear to be made with more care? */
bool xl_is_hot(const struct xl *x, uint64_t linear);

/* --- clone.c
 * ------------------------------------------------------------------ */

/*
 * The block at page->linear + offset, copied from one that was made of the
 * same bytes at another linear address; NULL: there is none, or no room.
 */
struct xl_block *xl_clone(struct xl *x, struct xl_page *page, unsigned offset);
/*
 * The page record for code at linear, made of one at another linear address
 * that has not been in use for a while, with its blocks; not of `keep`.  NULL:
 * there is none.
 */
struct xl_page *xl_move_page(struct xl *x, uint64_t linear, uint64_t gpa,
			     uint32_t mode, const struct xl_page *keep);

/* Host register of a guest register, or H_NONE: in memory. */
extern const uint8_t xl_map[16];

/*
 * Address of the memory operand into a register (often T0; a guest's own
 * where that is the address); clobbers T0, T1.
 */
void gen_lea(struct xl_gen *g, const struct x86_insn *insn, unsigned dst);
unsigned gen_address(struct xl_gen *g, const struct x86_insn *insn);
/*
 * The memory operand, or the stack at rsp + disp, checked for an access of
 * size bytes: what stands for it in the host instruction.  Clobbers T0, T1,
 * RCX.  The operand may use T0 and T1.
 */
struct xl_slow *gen_check(struct xl_gen *g, unsigned ea, unsigned size,
			  bool write);
struct xl_rm gen_mem(struct xl_gen *g, const struct x86_insn *insn,
		     unsigned size, bool write);
struct xl_rm gen_stack(struct xl_gen *g, unsigned base, int32_t disp,
		       bool write);
/* To be called by whoever else changes T1. */
static inline void gen_t1_changed(struct xl_gen *g)
{
	g->t1_group = -1;
}
/* Guest register into a host register: its own, or loaded into `scratch`. */
unsigned gen_read(struct xl_gen *g, unsigned gpr, unsigned scratch);
void gen_write(struct xl_gen *g, unsigned gpr, unsigned src); /* 64-bit */

/* False: not translated, to be interpreted. */
bool gen_int(struct xl_gen *g, const struct x86_insn *insn);
bool gen_flow(struct xl_gen *g, const struct x86_insn *insn);
bool gen_vec(struct xl_gen *g, const struct x86_insn *insn);
bool gen_sys(struct xl_gen *g, const struct x86_insn *insn);
/* dst = src & the mask in a word of state; changes no flags. */
void gen_and_word(struct xl_gen *g, unsigned dst, unsigned src,
		  enum xl_word mask);
/* If something is pending, leaves, to go on at `rip`. */
void gen_poll(struct xl_gen *g, uint64_t rip);
/* Calls a helper; clobbers what that does. */
void gen_glue_call(struct xl_gen *g, const uint8_t *target);

/* --- gen_view.c --------------------------------------------------------------
 */

/* gen_check(); chases: what is read may be viewed, and its address is late. */
struct xl_slow *gen_check_late(struct xl_gen *g, unsigned ea, unsigned size,
			       bool write, bool chases);
void gen_slow_view(struct xl_gen *g, const struct xl_slow *s);

/* --- gen_plain.c: for hosts without BMI2 -----------------------------------
 */

/*
 * Flags put aside in a scratch register (which is then not to be changed), and
 * back; RAX is free of it in between.
 */
void gen_flags_save(struct xl_gen *g, unsigned scratch);
void gen_flags_restore(struct xl_gen *g, unsigned scratch);
/*
 * For gen_check(): leaves the index in T1.  The site of the jump on a miss,
 * where flags are still in RCX; neg: the table's offset in the state.
 */
uint8_t *gen_plain_check(struct xl_gen *g, unsigned ea, unsigned size,
			 int32_t neg);
/* Clobbers T1. */
void gen_plain_and_word(struct xl_gen *g, unsigned dst, unsigned src,
			enum xl_word mask);
/* dst = src >> count, with sign; clobbers RCX. */
void gen_plain_sar(struct xl_gen *g, unsigned dst, unsigned src,
		   unsigned count);
/* EDX:EAX += tsc_offset; clobbers T1, RCX. */
void gen_plain_rdtsc(struct xl_gen *g);

/* The instruction with its operands mapped: any class. */
bool gen_can_copy(const struct x86_insn *insn);
bool gen_copy(struct xl_gen *g, const struct x86_insn *insn);
/* Ends the block: jumps to linear `target`. */
void gen_jump(struct xl_gen *g, uint64_t target);
void gen_exit(struct xl_gen *g, enum xl_exit why, uint64_t linear);
/* A linear address that moves with the block. */
void gen_mov_linear(struct xl_gen *g, unsigned dst, uint64_t linear);
/* The same with the rel32 of a conditional jump that was just emitted. */
void gen_link_site(struct xl_gen *g, uint64_t target, uint8_t *site);
/*
 * Jumps to the linear address in T0, with `pop` added to RSP; or calls it.
 */
void gen_indirect(struct xl_gen *g, int32_t pop);
void gen_indirect_call(struct xl_gen *g);
/* Pushes a 64-bit constant (a linear address?) on the guest's stack. */
void gen_push_const(struct xl_gen *g, uint64_t value, bool linear);
struct xl_slow *gen_slow(struct xl_gen *g, uint8_t *site);

#endif
