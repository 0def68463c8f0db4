/*
 * cache.h - decoded blocks, by physical address.
 *
 * A block is a row of decoded instructions that ends at a branch, at the end
 * of its page, or after CACHE_BLOCK_MAX instructions.  Each vCPU has a cache of
 * its own, so finding a block takes no lock; what the vCPUs of a guest share
 * is the index of blocks by page, by which a write to code finds them all.
 */
#ifndef HOSTEL_CPU_INTERPRETER_CACHE_H
#define HOSTEL_CPU_INTERPRETER_CACHE_H

#include <stdatomic.h>

#include "cpu/interpreter/fetch.h"

#define CACHE_BLOCK_MAX 64
#define CACHE_BYTES     (24ull << 20) /* decoded code a guest, all vCPUs */
#define CACHE_BYTES_MIN (2ull << 20)  /* but at least this for each */

/* Bits of cpu->mode that decide what bytes mean and which handlers fit. */
#define CACHE_KEY_MODE                                                      \
	(X86_MODE_CODE | X86_MODE_STACK32 | X86_MODE_FLAT | X86_MODE_REAL | \
	 X86_MODE_VM86)
#define CACHE_KEY_DEAD UINT32_MAX

struct cache;
struct cache_vm;
struct block;

/* A block's place in the list of blocks of a page.  Guarded by cache_vm. */
struct block_link {
	struct block *block;
	struct block_link *next, **pprev;
	struct cache_page *page;
};

struct block {
	uint64_t gpa;          /* of the first byte */
	atomic_uint key;       /* mode, or CACHE_KEY_DEAD: never run it again */
	uint16_t count;        /* instructions */
	uint16_t bytes;        /* that were looked at */
	bool recheck;          /* afterwards, look at more than `pending` */
	uint64_t gpa2;         /* where it goes on, if on another page */
	struct block *succ[2]; /* blocks that followed; owner's thread */
	struct block *hash_next;
	struct block_link link[2];
	struct x86_insn insn[];
};

struct cache_stats {
	uint64_t blocks, flushes, bytes;
	uint64_t invalidated; /* dropped because of writes: of all vCPUs */
};

int cache_vm_new(struct cache_vm **out, struct x86_machine *xm,
		 struct err *err);
void cache_vm_free(struct cache_vm *vm);
int cache_new(struct cache **out, struct cache_vm *vm, struct err *err);
void cache_free(struct cache *c, struct x86_cpu *cpu);

/*
 * The block at cpu->rip, decoded if need be; NULL: not to be cached, step.
 * Raises what fetching its first instruction raises.  Frees every block of
 * this vCPU when the cache is full: `*prev`, if not NULL, is where the caller
 * comes from, and becomes NULL then.
 */
struct block *cache_find(struct cache *c, struct x86_cpu *cpu,
			 struct block **prev);

/* The block at cpu->rip, if it followed prev before; else NULL. */
static inline struct block *cache_follow(const struct x86_cpu *cpu,
					 const struct block *prev)
{
	uint64_t linear = cpu->rip; /* FLAT: the base is 0 */
	const struct x86_itlb_entry *e =
		&cpu->tlb.code[linear >> 12 & (X86_ITLB_SIZE - 1)];
	unsigned user = cpu->mode & X86_MODE_USER ? 1 : 0;
	uint32_t key = cpu->mode & CACHE_KEY_MODE;
	struct block *b = prev->succ[0];
	uint64_t gpa;

	if ((e->page & ~4ull) != ((linear & ~MEM_PAGE_MASK) | 2 | user) ||
	    !(key & X86_MODE_FLAT))
		return NULL;
	gpa = e->gpa | (linear & MEM_PAGE_MASK);
	if (b && b->gpa == gpa &&
	    atomic_load_explicit(&b->key, memory_order_relaxed) == key)
		return b;
	b = prev->succ[1];
	if (b && b->gpa == gpa &&
	    atomic_load_explicit(&b->key, memory_order_relaxed) == key)
		return b;
	return NULL;
}

/* Remembers that b followed prev.  A block on two pages is not followed: the
 * second page's mapping needs a look each time. */
void cache_link(struct block *prev, struct block *b);

/* engine_ops.code_written; any thread. */
void cache_written(struct cache_vm *vm, uint64_t gpa, uint64_t len);
/* Drops everything.  Own thread, or with the vCPU stopped. */
void cache_flush(struct cache *c, struct x86_cpu *cpu);

void cache_get_stats(const struct cache *c, struct cache_stats *out);

/*
 * Stands in for the instructions of a dead block: leaves it by longjmp to
 * cpu->fault_jmp with CACHE_LEAVE.
 */
#define CACHE_LEAVE 2
x86_exec_fn cache_leave;

#endif
