/*
 * cache.c - building, finding and dropping decoded blocks.
 *
 * Memory.  A vCPU's blocks lie one behind the other in an arena, found by a
 * hash of physical address and mode.  When the arena is full everything goes
 * at once; nothing is freed singly.  Arena, hash and successors belong to the
 * vCPU's thread alone.
 *
 * Writes.  A page that a block was decoded from is marked (x86/sync.h), so
 * that each write to it ends in cache_written(), in whichever thread.  That
 * goes through the index of pages, shared by all vCPUs and guarded by one
 * mutex, and kills the blocks that were hit: the key becomes one that no
 * lookup matches, and each instruction's handler becomes cache_leave(), which
 * gets a vCPU that is inside the block out of it before the next instruction.
 * The memory stays until the owner flushes, so a killed block can be left in
 * peace.  A page without blocks is unmarked: writing it is cheap again.
 *
 * The race between marking and decoding: x86_mark_code() must not be called
 * with the mutex held (other vCPUs may wait for it in cache_written() and
 * would not answer), but between marking and inserting the block somebody may
 * unmark the page.  So the mark is looked at again under the mutex, and bytes
 * are read only then: a write before that is seen, a later one finds the
 * block in the index.
 */
#include "cpu/interpreter/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/interpreter/interp.h"
#include "cpu/x86/sync.h"
#include "mem/mem.h"

#define CACHE_HASH_SIZE  32768u
#define CACHE_PAGES_SIZE 4096u

/* A page that some block has bytes of.  Guarded by cache_vm.lock. */
struct cache_page {
	uint64_t gpa;
	uint64_t chunks; /* 64-byte pieces that may hold code */
	struct block_link *blocks;
	struct cache_page *next;
};

struct cache_vm {
	struct x86_machine *xm;
	atomic_ullong invalidated; /* blocks dropped because of writes */
	pthread_mutex_t lock;      /* a leaf: nothing else is taken under it */
	struct cache_page *pages[CACHE_PAGES_SIZE]; /* guarded by lock */
};

struct cache {
	struct cache_vm *vm;
	uint8_t *arena;
	size_t arena_size, arena_used;
	struct block *hash[CACHE_HASH_SIZE];
	struct cache_stats stats;
};

#define CACHE_BLOCK_BYTES \
	(sizeof(struct block) + CACHE_BLOCK_MAX * sizeof(struct x86_insn))

/* --- Life ---------------------------------------------------------------- */

int cache_vm_new(struct cache_vm **out, struct x86_machine *xm, struct err *err)
{
	struct cache_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return err_set(err, ENOMEM, "no memory for the interpreter");
	vm->xm = xm;
	pthread_mutex_init(&vm->lock, NULL);
	*out = vm;
	return 0;
}

void cache_vm_free(struct cache_vm *vm)
{
	unsigned i;

	if (!vm)
		return;
	for (i = 0; i < CACHE_PAGES_SIZE; i++)
		while (vm->pages[i]) {
			struct cache_page *p = vm->pages[i];

			vm->pages[i] = p->next;
			free(p);
		}
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

int cache_new(struct cache **out, struct cache_vm *vm, struct err *err)
{
	struct cache *c = calloc(1, sizeof(*c));
	unsigned cpus = vm->xm->cpu_count ? vm->xm->cpu_count : 1;

	if (!c)
		return err_set(err, ENOMEM, "no memory for the interpreter");
	c->vm = vm;
	c->arena_size = CACHE_BYTES / cpus;
	if (c->arena_size < CACHE_BYTES_MIN)
		c->arena_size = CACHE_BYTES_MIN;
	c->arena = mmap(NULL, c->arena_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->arena == MAP_FAILED) {
		free(c);
		return err_set(err, ENOMEM,
			       "no memory for the interpreter's blocks");
	}
	*out = c;
	return 0;
}

void cache_free(struct cache *c, struct x86_cpu *cpu)
{
	if (!c)
		return;
	cache_flush(c, cpu);
	munmap(c->arena, c->arena_size);
	free(c);
}

void cache_get_stats(const struct cache *c, struct cache_stats *out)
{
	*out = c->stats;
	out->invalidated = atomic_load(&c->vm->invalidated);
}

/* --- The index of pages (vm->lock held) ---------------------------------- */

static struct cache_page **cache_page_slot(struct cache_vm *vm, uint64_t gpa)
{
	struct cache_page **p =
		&vm->pages[(gpa >> MEM_PAGE_SHIFT) % CACHE_PAGES_SIZE];

	while (*p && (*p)->gpa != gpa)
		p = &(*p)->next;
	return p;
}

static struct cache_page *cache_page_get(struct cache_vm *vm, uint64_t gpa)
{
	struct cache_page **slot = cache_page_slot(vm, gpa);

	if (!*slot) {
		*slot = calloc(1, sizeof(**slot));
		if (*slot)
			(*slot)->gpa = gpa;
	}
	return *slot;
}

/* Nothing is left on the page: writes need not be seen any more. */
static void cache_page_drop_if_empty(struct cache_vm *vm, struct cache_page *p)
{
	struct cache_page **slot;

	if (p->blocks)
		return;
	slot = cache_page_slot(vm, p->gpa);
	*slot = p->next;
	x86_unmark_code(vm->xm->cpus[0], p->gpa);
	free(p);
}

/* Which 64-byte pieces does [at, at+len) of a page touch? */
static uint64_t cache_chunks(unsigned at, unsigned len)
{
	unsigned first = at / 64, last = (at + len - 1) / 64;
	uint64_t up_to_last = last == 63 ? UINT64_MAX : (2ull << last) - 1;

	return up_to_last & (UINT64_MAX << first);
}

static void cache_link_page(struct block_link *link, struct block *b,
			    struct cache_page *p, unsigned at, unsigned len)
{
	link->block = b;
	link->page = p;
	link->next = p->blocks;
	link->pprev = &p->blocks;
	if (link->next)
		link->next->pprev = &link->next;
	p->blocks = link;
	p->chunks |= cache_chunks(at, len);
}

static void cache_unlink_page(struct block_link *link)
{
	if (!link->page)
		return;
	*link->pprev = link->next;
	if (link->next)
		link->next->pprev = link->pprev;
}

/* How many of the block's bytes are on its first page? */
static unsigned cache_bytes_here(const struct block *b)
{
	unsigned room = MEM_PAGE_SIZE - (b->gpa & MEM_PAGE_MASK);

	return b->bytes < room ? b->bytes : room;
}

static bool cache_index(struct cache_vm *vm, struct block *b)
{
	unsigned here = cache_bytes_here(b);
	struct cache_page *p, *q = NULL;

	p = cache_page_get(vm, b->gpa & ~MEM_PAGE_MASK);
	if (!p)
		return false;
	if (b->gpa2 != FETCH_NO_PAGE) {
		q = cache_page_get(vm, b->gpa2);
		if (!q) {
			cache_page_drop_if_empty(vm, p);
			return false;
		}
	}
	cache_link_page(&b->link[0], b, p, b->gpa & MEM_PAGE_MASK, here);
	if (q)
		cache_link_page(&b->link[1], b, q, 0, b->bytes - here);
	return true;
}

/* --- Dropping ------------------------------------------------------------ */

void cache_leave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	longjmp(cpu->fault_jmp, CACHE_LEAVE);
}

/* Under vm->lock.  The block may be running, here or on another vCPU. */
static void cache_kill(struct block *b)
{
	unsigned i;

	atomic_store_explicit(&b->key, CACHE_KEY_DEAD, memory_order_relaxed);
	for (i = 0; i < b->count; i++)
		__atomic_store_n(&b->insn[i].fn, cache_leave, __ATOMIC_RELAXED);
}

/* Takes the block out of its pages' lists; pages other than `keep` go if
 * they become empty. */
static void cache_unindex(struct cache_vm *vm, struct block *b,
			  const struct cache_page *keep)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct cache_page *p = b->link[i].page;

		if (!p)
			continue;
		cache_unlink_page(&b->link[i]);
		b->link[i].page = NULL;
		if (p != keep)
			cache_page_drop_if_empty(vm, p);
	}
}

static bool cache_hit(const struct block_link *l, uint64_t gpa, uint64_t len)
{
	const struct block *b = l->block;
	unsigned here = cache_bytes_here(b);

	if (l == &b->link[0])
		return gpa < b->gpa + here && b->gpa < gpa + len;
	return gpa < b->gpa2 + (b->bytes - here) && b->gpa2 < gpa + len;
}

static struct block *cache_first_hit(struct cache_page *p, uint64_t gpa,
				     uint64_t len)
{
	struct block_link *l;

	for (l = p->blocks; l; l = l->next)
		if (cache_hit(l, gpa, len))
			return l->block;
	return NULL;
}

/* A write within one page.  vm->lock held. */
static void cache_written_page(struct cache_vm *vm, uint64_t gpa, unsigned len)
{
	struct cache_page *p = *cache_page_slot(vm, gpa & ~MEM_PAGE_MASK);
	struct block *b;

	if (!p) { /* marked, but nothing decoded yet: see cache_mark() */
		x86_unmark_code(vm->xm->cpus[0], gpa);
		return;
	}
	if (!(p->chunks & cache_chunks(gpa & MEM_PAGE_MASK, len)))
		return;
	while ((b = cache_first_hit(p, gpa, len))) {
		cache_kill(b);
		cache_unindex(vm, b, p);
		atomic_fetch_add(&vm->invalidated, 1);
	}
	cache_page_drop_if_empty(vm, p);
}

void cache_written(struct cache_vm *vm, uint64_t gpa, uint64_t len)
{
	pthread_mutex_lock(&vm->lock);
	while (len) {
		uint64_t room = MEM_PAGE_SIZE - (gpa & MEM_PAGE_MASK);
		unsigned n = (unsigned)(len < room ? len : room);

		cache_written_page(vm, gpa, n);
		gpa += n;
		len -= n;
	}
	pthread_mutex_unlock(&vm->lock);
}

void cache_flush(struct cache *c, struct x86_cpu *cpu)
{
	unsigned i;
	struct block *b;

	pthread_mutex_lock(&c->vm->lock);
	for (i = 0; i < CACHE_HASH_SIZE; i++) {
		for (b = c->hash[i]; b; b = b->hash_next)
			cache_unindex(c->vm, b, NULL);
		c->hash[i] = NULL;
	}
	pthread_mutex_unlock(&c->vm->lock);
	c->arena_used = 0;
	c->stats.flushes++;
}

/* --- Building ------------------------------------------------------------ */

/* Leaves the block where it says, and nothing else. */
static bool cache_plain_branch(unsigned op)
{
	switch (op) {
	case X86_JMP:
	case X86_JCC:
	case X86_JMP_IND:
	case X86_CALL:
	case X86_CALL_IND:
	case X86_RET:
	case X86_LOOP:
	case X86_LOOPE:
	case X86_LOOPNE:
	case X86_JCXZ:
		return true;
	default:
		return false;
	}
}

/* A REP may step back onto itself, so nothing follows it in a block. */
static bool cache_ends_block(const struct x86_insn *insn)
{
	return insn->desc->attr & X86_ATTR_END ||
	       (insn->desc->cls == X86_CLASS_STRING &&
		insn->prefix & (X86_PFX_REPE | X86_PFX_REPNE));
}

/* May the instruction have changed what the run loop goes by? */
static bool cache_wants_recheck(const struct x86_insn *insn)
{
	return insn->desc->cls == X86_CLASS_SYSTEM ||
	       (insn->desc->attr & X86_ATTR_END &&
		!cache_plain_branch(insn->op));
}

static void cache_append(struct block *b, unsigned bytes)
{
	const struct x86_insn *insn = &b->insn[b->count++];

	b->bytes = (uint16_t)(b->bytes + bytes);
	b->recheck |= cache_wants_recheck(insn);
}

/*
 * Decodes from gpa to the end of the block; all of it is on one page, and at
 * most `room` bytes are inside CS's limit.  False: not even one instruction
 * is complete.
 */
static bool cache_decode(struct x86_cpu *cpu, struct block *b, unsigned room)
{
	unsigned at = b->gpa & MEM_PAGE_MASK;
	const uint8_t *page =
		mem_host_read(cpu->mem, b->gpa - at, MEM_PAGE_SIZE);
	uint8_t bytes[X86_INSN_MAX];
	enum x86_decode_result r;
	struct x86_insn *insn;
	unsigned n;

	if (!page)
		return false; /* taken away meanwhile: mem.h, windows */
	if (room > MEM_PAGE_SIZE - at)
		room = MEM_PAGE_SIZE - at;
	while (b->count < CACHE_BLOCK_MAX && b->bytes < room) {
		insn = &b->insn[b->count];
		n = room - b->bytes;
		n = n < X86_INSN_MAX ? n : X86_INSN_MAX;
		memcpy(bytes, page + at + b->bytes, n);
		r = x86_decode(insn, bytes, n, cpu->mode);
		if (r == X86_DECODE_OK) {
			interp_select(insn);
			cache_append(b, insn->len);
			if (cache_ends_block(insn))
				break;
			continue;
		}
		if (r != X86_DECODE_MORE && !b->count) {
			fetch_make_fault(insn, r);
			cache_append(b, n);
		}
		break;
	}
	return b->count > 0;
}

/* One instruction, on two pages. */
static bool cache_decode_split(struct x86_cpu *cpu, struct block *b,
			       unsigned room)
{
	unsigned here = MEM_PAGE_SIZE - (b->gpa & MEM_PAGE_MASK);
	unsigned n = room < X86_INSN_MAX ? room : X86_INSN_MAX;
	const uint8_t *p = mem_host_read(cpu->mem, b->gpa, here);
	const uint8_t *q = mem_host_read(cpu->mem, b->gpa2, MEM_PAGE_SIZE);
	uint8_t bytes[X86_INSN_MAX];
	enum x86_decode_result r;

	if (n <= here || !p || !q)
		return false;
	memcpy(bytes, p, here);
	memcpy(bytes + here, q, n - here);
	r = x86_decode(&b->insn[0], bytes, n, cpu->mode);
	if (r == X86_DECODE_MORE)
		return false;
	if (r == X86_DECODE_OK)
		interp_select(&b->insn[0]);
	else
		fetch_make_fault(&b->insn[0], r);
	cache_append(b, n);
	return true;
}

static bool cache_marked(struct x86_cpu *cpu, uint64_t gpa)
{
	return x86_holds_code(cpu, gpa, X86_HOLDER_SHARED(cpu->xm));
}

/*
 * Marks the pages and takes the lock with the marks still there.  False:
 * somebody keeps writing the page.
 */
static bool cache_mark(struct cache_vm *vm, struct x86_cpu *cpu, uint64_t gpa,
		       uint64_t gpa2)
{
	unsigned tries;

	for (tries = 0; tries < 16; tries++) {
		x86_mark_code(cpu, gpa);
		if (gpa2 != FETCH_NO_PAGE)
			x86_mark_code(cpu, gpa2);
		pthread_mutex_lock(&vm->lock);
		if (cache_marked(cpu, gpa) &&
		    (gpa2 == FETCH_NO_PAGE || cache_marked(cpu, gpa2)))
			return true;
		pthread_mutex_unlock(&vm->lock);
	}
	return false;
}

static struct block *cache_arena_next(struct cache *c)
{
	struct block *b = (void *)(c->arena + c->arena_used);

	memset(b, 0, sizeof(*b));
	return b;
}

static void cache_arena_take(struct cache *c, const struct block *b)
{
	size_t size = sizeof(*b) + b->count * sizeof(b->insn[0]);

	c->arena_used += (size + 63) & ~(size_t)63;
	c->stats.bytes = c->arena_used;
	c->stats.blocks++;
}

static struct block **cache_bucket(struct cache *c, uint64_t gpa, uint32_t key)
{
	uint64_t h = (gpa ^ key) * 0x9e3779b97f4a7c15ull;

	return &c->hash[h >> 49];
}

/* Decodes and enters a block at a RAM address; NULL: step instead. */
static struct block *cache_build(struct cache *c, struct x86_cpu *cpu,
				 uint64_t gpa, uint64_t gpa2)
{
	struct block *b = cache_arena_next(c), **bucket;
	unsigned room = fetch_within_limit(cpu, cpu->rip);
	bool ok;

	if (!cache_mark(c->vm, cpu, gpa, gpa2))
		return NULL;
	b->gpa = gpa;
	b->gpa2 = gpa2;
	atomic_init(&b->key, cpu->mode & CACHE_KEY_MODE);
	ok = gpa2 == FETCH_NO_PAGE ? cache_decode(cpu, b, room)
				   : cache_decode_split(cpu, b, room);
	ok = ok && cache_index(c->vm, b);
	pthread_mutex_unlock(&c->vm->lock);
	if (!ok)
		return NULL;
	bucket = cache_bucket(c, gpa, cpu->mode & CACHE_KEY_MODE);
	b->hash_next = *bucket;
	*bucket = b;
	cache_arena_take(c, b);
	return b;
}

/* --- Finding ------------------------------------------------------------- */

/* The limit may have shrunk since the block was decoded. */
static bool cache_in_limit(const struct x86_cpu *cpu, const struct block *b)
{
	return cpu->mode & X86_MODE_FLAT ||
	       b->bytes <= fetch_within_limit(cpu, cpu->rip);
}

/* Dead blocks are taken out of the chain on the way. */
static struct block *cache_lookup(struct cache *c, uint64_t gpa, uint32_t key)
{
	struct block **p = cache_bucket(c, gpa, key), *b;
	uint32_t k;

	while ((b = *p)) {
		k = atomic_load_explicit(&b->key, memory_order_relaxed);
		if (k == CACHE_KEY_DEAD) {
			*p = b->hash_next;
			continue;
		}
		if (b->gpa == gpa && k == key)
			return b;
		p = &b->hash_next;
	}
	return NULL;
}

/*
 * Where does the instruction at rip go on, if it does not end on its page?
 * Only the last bytes of a page need the question.
 */
static uint64_t cache_second_page(struct x86_cpu *cpu, uint64_t gpa)
{
	struct fetch f;

	if (MEM_PAGE_SIZE - (gpa & MEM_PAGE_MASK) >= X86_INSN_MAX)
		return FETCH_NO_PAGE;
	fetch_insn(cpu, &f);
	return f.gpa2;
}

static void cache_forget(struct cache *c, struct block *b)
{
	pthread_mutex_lock(&c->vm->lock);
	if (atomic_load(&b->key) != CACHE_KEY_DEAD) {
		cache_kill(b);
		cache_unindex(c->vm, b, NULL);
	}
	pthread_mutex_unlock(&c->vm->lock);
}

struct block *cache_find(struct cache *c, struct x86_cpu *cpu,
			 struct block **prev)
{
	uint64_t linear, gpa, gpa2;
	struct block *b;

	cpu->insn = NULL; /* a fault here is nobody's */
	if (!x86_code64(cpu))
		cpu->rip = (uint32_t)cpu->rip;
	if (!fetch_within_limit(cpu, cpu->rip))
		return NULL;
	linear = fetch_linear(cpu);
	gpa = x86_fetch_gpa(cpu, linear);
	b = cache_lookup(c, gpa, cpu->mode & CACHE_KEY_MODE);
	if (b && (b->gpa2 == FETCH_NO_PAGE ||
		  b->gpa2 == x86_fetch_gpa(cpu, fetch_next_page(cpu, linear))))
		return cache_in_limit(cpu, b) ? b : NULL;
	gpa2 = cache_second_page(cpu, gpa);
	if (!mem_host_read(cpu->mem, gpa, 1) ||
	    (gpa2 != FETCH_NO_PAGE && !mem_host_read(cpu->mem, gpa2, 1)))
		return NULL;
	if (b) /* its second page lies elsewhere now */
		cache_forget(c, b);
	if (c->arena_used + CACHE_BLOCK_BYTES > c->arena_size) {
		cache_flush(c, cpu);
		*prev = NULL;
	}
	return cache_build(c, cpu, gpa, gpa2);
}

void cache_link(struct block *prev, struct block *b)
{
	if (b->gpa2 != FETCH_NO_PAGE || prev->succ[0] == b)
		return;
	prev->succ[1] = prev->succ[0];
	prev->succ[0] = b;
}
