/*
 * thunk_code.c - making the host code of a thunk, and keeping it.
 *
 * An instruction is first brought into a normal form: its memory operand
 * becomes [rsi], its general register operand becomes RAX, ignored prefixes
 * go.  The normal form, at most 7 bytes, is the cache's key, so all
 * addressing forms and general registers share one thunk.  Vector registers
 * keep their numbers: the thunk loads the host's registers of those numbers.
 *
 *	vector thunk			thunk of MMX and XMM registers
 *	  movups xmmN, [rdi+N]		  fxrstor64 [rdi]
 *	  mov rax, [rdx]		  mov rax, [rdx]
 *	  <instruction>			  <instruction>
 *	  mov [rdx], rax		  mov [rdx], rax
 *	  movups [rdi+N], xmmN		  fxsave64 [rdi]
 *	  pushfq; pop rax (or xor)	  pushfq; pop rax (or xor)
 *	  ret				  ret
 *
 * A thunk of x87 or MMX registers alone has only the middle part: thunk.c sees
 * to the host's registers.
 *
 * VEX forms move both halves of a register, so that the host itself zeroes
 * the upper half where the instruction does, and end in VZEROUPPER.  Every
 * register operand is loaded, also one that is only written: instructions
 * that merge need not be known.  RSP is untouched up to the instruction, so
 * that a fault exit only has to return.
 *
 * Code memory is a memory file mapped twice, writable and executable, never
 * both at one address.  It is filled in order and never emptied, so a thunk's
 * address is good for ever; once it is full (some ten thousands of distinct
 * encodings), further ones are built for each execution in a slot under a
 * lock.  A hostile guest can slow itself down, no more.
 */
#include "cpu/x86/thunk_code.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/x86/fpu.h"

#define THUNK_CODE_BYTES (4u << 20)
#define THUNK_MAX        32768u
#define THUNK_HASH_SIZE  (2 * THUNK_MAX)
#define THUNK_SLOT       256u /* the longest thunk is shorter */

/* ret: the x87 state is looked at, and cleaned, by thunk.c */
static const uint8_t thunk_fault_exit[] = { 0xc3 };
/* The region opens with the fault exit and the slot for uncached code. */
#define THUNK_EXIT_OFFSET    0
#define THUNK_SCRATCH_OFFSET THUNK_SLOT
#define THUNK_FIRST_OFFSET   (2 * THUNK_SLOT)

/*
 * One per process, since signal handlers and code memory are.  Everything
 * below `lock` is guarded by it; rw, rx are set once before any thunk runs.
 */
static struct {
	pthread_once_t once;
	int init_result;
	uint8_t *rw, *rx;
	pthread_mutex_t lock;
	unsigned used, count;
	struct thunk *thunks; /* THUNK_MAX */
	uint16_t *hash;       /* THUNK_HASH_SIZE: index + 1, 0: free */
} thunk_cache = { .once = PTHREAD_ONCE_INIT,
		  .lock = PTHREAD_MUTEX_INITIALIZER,
		  .used = THUNK_FIRST_OFFSET };

struct thunk_buf {
	uint8_t b[THUNK_SLOT];
	unsigned n;
};

static void thunk_put(struct thunk_buf *c, const void *bytes, unsigned n)
{
	memcpy(c->b + c->n, bytes, n);
	c->n += n;
}

#define THUNK_PUT(c, ...)                              \
	thunk_put(c, (const uint8_t[]){ __VA_ARGS__ }, \
		  sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* --- Normal form --------------------------------------------------------- */

static bool thunk_is_x87(const struct x86_insn *insn)
{
	return insn->desc->cls == X86_CLASS_X87;
}

static bool thunk_is_vex(const struct x86_insn *insn)
{
	return insn->prefix & X86_PFX_VEX;
}

static bool thunk_is_pcmpstr(const struct x86_insn *insn)
{
	return insn->map == 3 && insn->opcode >= 0x60 && insn->opcode <= 0x63;
}

static unsigned thunk_operand(const struct x86_insn *insn, unsigned kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (insn->o[i].kind == kind)
			return i;
	return THUNK_NONE;
}

/* MOVMSKPS, PEXTRW, PMOVMSKB, CVT(T)SS2SI: ModRM.reg is the general one. */
static bool thunk_gpr_is_reg(const struct x86_insn *insn)
{
	return insn->map == 1 &&
	       (insn->opcode == 0x50 || insn->opcode == 0xc5 ||
		insn->opcode == 0xd7 || insn->opcode == 0x2c ||
		insn->opcode == 0x2d);
}

/*
 * Outside 64-bit code, W of instructions that move to and from general
 * registers is ignored (SDM 2C, VMOVD, VPEXTRD, VCVTSI2SD ...); elsewhere
 * VEX.W selects the operation, and a legacy REX.W means nothing.
 */
static bool thunk_keeps_w(const struct x86_insn *insn, unsigned mode)
{
	static const uint8_t sized[][2] = {
		{ 1, 0x2a }, { 1, 0x2c }, { 1, 0x2d }, { 1, 0x6e }, { 1, 0x7e },
		{ 3, 0x16 }, { 3, 0x22 }, { 3, 0x60 }, { 3, 0x61 },
	};

	for (unsigned i = 0; i < sizeof(sized) / sizeof(sized[0]); i++)
		if (insn->map == sized[i][0] && insn->opcode == sized[i][1])
			return (mode & X86_MODE_CODE) == X86_MODE_CODE64;
	return thunk_is_vex(insn);
}

struct thunk_form {
	uint8_t modrm;
	uint8_t rex; /* W R X B */
};

static struct thunk_form thunk_form(const struct x86_insn *insn, unsigned mode)
{
	struct thunk_form f = { insn->modrm, insn->rex & 5 };

	if (insn->rex & 8 && thunk_keeps_w(insn, mode))
		f.rex |= 8;
	if (thunk_operand(insn, X86_OPND_GPR) != THUNK_NONE &&
	    !thunk_is_pcmpstr(insn)) {
		if (thunk_gpr_is_reg(insn)) {
			f.modrm &= ~0x38;
			f.rex &= ~4;
		} else if (!insn->has_mem) {
			f.modrm &= ~7;
			f.rex &= ~1;
		}
	}
	if (insn->has_mem) { /* [rsi] */
		f.modrm = (f.modrm & 0x38) | 6;
		f.rex &= ~1;
	}
	return f;
}

static void thunk_put_vex(struct thunk_buf *c, const struct x86_insn *insn,
			  struct thunk_form f, unsigned mode)
{
	unsigned mask = (mode & X86_MODE_CODE) == X86_MODE_CODE64 ? 15 : 7;
	uint8_t p1 = (uint8_t)(((~f.rex & 4) << 5) | 0x40 |
			       ((~f.rex & 1) << 5) | insn->map);
	uint8_t p2 =
		(uint8_t)(((f.rex & 8) << 4) |
			  ((~(insn->vvvv & mask) & 15) << 3) |
			  (insn->prefix & X86_PFX_VEXL ? 4 : 0) | insn->pp);

	THUNK_PUT(c, 0xc4, p1, p2);
}

static void thunk_put_legacy(struct thunk_buf *c, const struct x86_insn *insn,
			     struct thunk_form f)
{
	static const uint8_t pp[4] = { 0, 0x66, 0xf3, 0xf2 };

	if (insn->pp & 3)
		THUNK_PUT(c, pp[insn->pp & 3]);
	if (f.rex)
		THUNK_PUT(c, 0x40 | f.rex);
	if (insn->map)
		THUNK_PUT(c, 0x0f);
	if (insn->map == 2)
		THUNK_PUT(c, 0x38);
	if (insn->map == 3)
		THUNK_PUT(c, 0x3a);
}

/* Appends the instruction in normal form. */
static void thunk_put_insn(struct thunk_buf *c, const struct x86_insn *insn,
			   unsigned mode)
{
	struct thunk_form f = thunk_form(insn, mode);

	if (thunk_is_vex(insn))
		thunk_put_vex(c, insn, f, mode);
	else if (!thunk_is_x87(insn))
		thunk_put_legacy(c, insn, f);
	THUNK_PUT(c, insn->opcode);
	if (insn->has_modrm)
		THUNK_PUT(c, f.modrm);
	if (insn->is4 != X86_NO_REG)
		THUNK_PUT(c, (uint8_t)(insn->is4 << 4 | (insn->imm & 15)));
	else if (insn->imm_bytes)
		THUNK_PUT(c, (uint8_t)insn->imm);
}

static uint64_t thunk_key(const struct x86_insn *insn, unsigned mode)
{
	struct thunk_buf c = { .n = 0 };
	uint64_t key = 0;

	thunk_put_insn(&c, insn, mode);
	memcpy(&key, c.b, c.n < 7 ? c.n : 7);
	return key | (uint64_t)c.n << 56;
}

/* --- Properties ---------------------------------------------------------- */

/*
 * x87 control instructions leave the last-instruction pointers alone (SDM 1,
 * 8.1.8): FLDCW, FNSTCW, FNSTSW, FNCLEX, FNINIT and obsolete kin.
 */
static bool thunk_is_control(const struct x86_insn *insn)
{
	unsigned reg = insn->modrm >> 3 & 7;

	if (insn->has_mem)
		return (insn->opcode == 0xd9 && reg >= 4) ||
		       (insn->opcode == 0xdd && reg == 7);
	return (insn->opcode == 0xdb && reg == 4) ||
	       (insn->opcode == 0xdf && insn->modrm == 0xe0);
}

static unsigned thunk_x87_flags(const struct x86_insn *insn)
{
	unsigned flags = THUNK_X87;

	if (insn->desc->attr & X86_ATTR_X87_WAIT)
		flags |= THUNK_WAIT;
	return flags | (thunk_is_control(insn) ? THUNK_CONTROL
			: insn->has_mem ? THUNK_POINTERS | THUNK_X87_STORE
					: THUNK_POINTERS);
}

static unsigned thunk_mem_flags(const struct x86_insn *insn, unsigned i)
{
	unsigned flags = 0;

	if (i == THUNK_NONE)
		return 0;
	if (insn->o[i].access & X86_ACC_R)
		flags |= THUNK_MEM_READ;
	if (insn->o[i].access & X86_ACC_W)
		flags |= THUNK_MEM_WRITE;
	if (insn->desc->attr & X86_ATTR_ALIGN)
		flags |= THUNK_ALIGN;
	return flags;
}

/* Neither XMM registers nor MXCSR, as CVTPS2PI from memory has. */
static bool thunk_only_x87(const struct x86_insn *insn)
{
	return thunk_operand(insn, X86_OPND_VEC) == THUNK_NONE &&
	       !(insn->desc->attr & X86_ATTR_XM);
}

static void thunk_describe(struct thunk *t, const struct x86_insn *insn,
			   unsigned mode)
{
	const struct x86_desc *d = insn->desc;
	bool mmx = d->cls == X86_CLASS_MMX ||
		   thunk_operand(insn, X86_OPND_MMX) != THUNK_NONE;

	*t = (struct thunk){ .key = thunk_key(insn, mode) };
	t->mem_index = (uint8_t)thunk_operand(insn, X86_OPND_MEM);
	t->gpr_index = (uint8_t)thunk_operand(insn, X86_OPND_GPR);
	t->need = d->cls == X86_CLASS_AVX   ? X86_MODE_AVX
		  : d->cls == X86_CLASS_SSE ? X86_MODE_SSE
					    : X86_MODE_X87;
	t->flags |= thunk_mem_flags(insn, t->mem_index);
	if (thunk_is_x87(insn))
		t->flags |= thunk_x87_flags(insn);
	else if (mmx)
		t->flags |= THUNK_WAIT | THUNK_CONTROL |
			    (thunk_only_x87(insn) ? THUNK_X87 : THUNK_FXSTATE);
	if (d->attr & X86_ATTR_XM)
		t->flags |= THUNK_MXCSR;
	if (d->flags_read)
		t->flags |= THUNK_FLAGS_IN;
	if (d->flags_written | d->flags_undefined)
		t->flags |= THUNK_FLAGS_OUT;
	if (thunk_is_pcmpstr(insn))
		t->flags |= THUNK_IMPLICIT;
}

/* --- Code ---------------------------------------------------------------- */

static void thunk_put_disp(struct thunk_buf *c, unsigned reg, uint32_t disp)
{
	THUNK_PUT(c, (uint8_t)(0x87 | (reg & 7) << 3)); /* [rdi+disp32] */
	thunk_put(c, &disp, 4);
}

static void thunk_move_legacy(struct thunk_buf *c, unsigned reg, bool store)
{
	if (reg >= 8)
		THUNK_PUT(c, 0x44);
	THUNK_PUT(c, 0x0f, store ? 0x11 : 0x10); /* MOVUPS */
	thunk_put_disp(c, reg, X86_XMM_OFFSET + 16 * reg);
}

static void thunk_move_vex(struct thunk_buf *c, unsigned reg, bool store)
{
	uint8_t r = reg >= 8 ? 0x60 : 0xe0;
	uint8_t src = store ? 15 : (uint8_t)(~reg & 15);

	THUNK_PUT(c, 0xc4, r | 1, 0x78, store ? 0x11 : 0x10); /* VMOVUPS */
	thunk_put_disp(c, reg, X86_XMM_OFFSET + 16 * reg);
	/* VINSERTF128 / VEXTRACTF128 of the upper half */
	THUNK_PUT(c, 0xc4, r | 3, (uint8_t)(src << 3 | 5), store ? 0x19 : 0x18);
	thunk_put_disp(c, reg, X86_YMMH_OFFSET + 16 * reg);
	THUNK_PUT(c, 1);
}

static void thunk_move_vec(struct thunk_buf *c, const struct x86_insn *insn,
			   unsigned reg, bool store)
{
	if (thunk_is_vex(insn))
		thunk_move_vex(c, reg & 15, store);
	else
		thunk_move_legacy(c, reg & 15, store);
}

static void thunk_put_load(struct thunk_buf *c, const struct thunk *t,
			   const struct x86_insn *insn)
{
	if (t->flags & THUNK_FXSTATE)
		THUNK_PUT(c, 0x48, 0x0f, 0xae, 0x0f); /* FXRSTOR64 [rdi] */
	else
		for (unsigned i = 0; i < 4; i++)
			if (insn->o[i].kind == X86_OPND_VEC)
				thunk_move_vec(c, insn, insn->o[i].reg, false);
	if (t->flags & THUNK_IMPLICIT) /* r8 = rdx; rax, rdx */
		THUNK_PUT(c, 0x49, 0x89, 0xd0, 0x49, 0x8b, 0x00, 0x49, 0x8b,
			  0x50, 0x10);
	else if (t->gpr_index != THUNK_NONE)
		THUNK_PUT(c, 0x48, 0x8b, 0x02); /* mov rax, [rdx] */
	if (t->flags & THUNK_FLAGS_IN)
		THUNK_PUT(c, 0x88, 0xcc, 0x9e); /* mov ah, cl; sahf */
}

static void thunk_put_store(struct thunk_buf *c, const struct thunk *t,
			    const struct x86_insn *insn)
{
	bool index = insn->opcode & 1; /* PCMPxSTRI; else PCMPxSTRM */

	if (t->flags & THUNK_IMPLICIT && index)
		THUNK_PUT(c, 0x49, 0x89, 0x48, 0x08); /* mov [r8+8], rcx */
	else if (t->flags & THUNK_IMPLICIT)
		thunk_move_vec(c, insn, 0, true);
	else if (t->gpr_index != THUNK_NONE)
		THUNK_PUT(c, 0x48, 0x89, 0x02); /* mov [rdx], rax */
	if (t->flags & THUNK_FXSTATE)
		THUNK_PUT(c, 0x48, 0x0f, 0xae, 0x07); /* FXSAVE64 [rdi] */
	else
		for (unsigned i = 0; i < 4; i++)
			if (insn->o[i].kind == X86_OPND_VEC &&
			    insn->o[i].access & X86_ACC_W)
				thunk_move_vec(c, insn, insn->o[i].reg, true);
}

static void thunk_put_code(struct thunk_buf *c, const struct thunk *t,
			   const struct x86_insn *insn)
{
	thunk_put_load(c, t, insn);
	thunk_put(c, &t->key, (unsigned)(t->key >> 56));
	thunk_put_store(c, t, insn);
	if (thunk_is_vex(insn))
		THUNK_PUT(c, 0xc5, 0xf8, 0x77); /* VZEROUPPER */
	if (t->flags & THUNK_FLAGS_OUT)
		THUNK_PUT(c, 0x9c, 0x58); /* pushfq; pop rax */
	else
		THUNK_PUT(c, 0x31, 0xc0); /* xor eax, eax */
	THUNK_PUT(c, 0xc3);
}

/* --- Cache --------------------------------------------------------------- */

static int thunk_map_code(void)
{
	int fd = memfd_create("hostel-thunks", MFD_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, THUNK_CODE_BYTES) < 0)
		rc = -errno;
	thunk_cache.rw = mmap(NULL, THUNK_CODE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_SHARED, fd, 0);
	thunk_cache.rx = mmap(NULL, THUNK_CODE_BYTES, PROT_READ | PROT_EXEC,
			      MAP_SHARED, fd, 0);
	if (thunk_cache.rw == MAP_FAILED || thunk_cache.rx == MAP_FAILED)
		rc = -errno;
	close(fd);
	return rc;
}

static void *thunk_map_table(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void thunk_code_init_once(void)
{
	thunk_cache.init_result = thunk_map_code();
	if (thunk_cache.init_result)
		return;
	thunk_cache.thunks = thunk_map_table(THUNK_MAX * sizeof(struct thunk));
	thunk_cache.hash = thunk_map_table(THUNK_HASH_SIZE * 2);
	if (thunk_cache.thunks == MAP_FAILED ||
	    thunk_cache.hash == MAP_FAILED) {
		thunk_cache.init_result = -ENOMEM;
		return;
	}
	memcpy(thunk_cache.rw + THUNK_EXIT_OFFSET, thunk_fault_exit,
	       sizeof(thunk_fault_exit));
}

int thunk_code_init(struct err *err)
{
	pthread_once(&thunk_cache.once, thunk_code_init_once);
	if (thunk_cache.init_result)
		return err_set(err, -thunk_cache.init_result,
			       "cannot map memory for code: %s",
			       strerror(-thunk_cache.init_result));
	return 0;
}

bool thunk_code_contains(uint64_t pc)
{
	return pc - (uintptr_t)thunk_cache.rx < THUNK_CODE_BYTES;
}

uint64_t thunk_code_fault_exit(void)
{
	return (uintptr_t)thunk_cache.rx + THUNK_EXIT_OFFSET;
}

/* The slot of key, or the free slot where it would be.  Lock is held. */
static unsigned thunk_hash_find(uint64_t key)
{
	unsigned i = (unsigned)(key * 0x9e3779b97f4a7c15ull >> 40);

	for (;; i++) {
		unsigned n = thunk_cache.hash[i % THUNK_HASH_SIZE];

		if (!n || thunk_cache.thunks[n - 1].key == key)
			return i % THUNK_HASH_SIZE;
	}
}

static const struct thunk *thunk_add(unsigned slot, const struct thunk *t,
				     const struct x86_insn *insn)
{
	struct thunk_buf c = { .n = 0 };
	struct thunk *added;

	thunk_put_code(&c, t, insn);
	if (thunk_cache.count == THUNK_MAX - 1 ||
	    THUNK_CODE_BYTES - thunk_cache.used < c.n)
		return NULL;
	memcpy(thunk_cache.rw + thunk_cache.used, c.b, c.n);
	added = &thunk_cache.thunks[thunk_cache.count++];
	*added = *t;
	added->code =
		(thunk_fn *)(uintptr_t)(thunk_cache.rx + thunk_cache.used);
	thunk_cache.used += (c.n + 15) & ~15u;
	if (thunk_cache.used > THUNK_CODE_BYTES)
		thunk_cache.used = THUNK_CODE_BYTES;
	thunk_cache.hash[slot] = (uint16_t)thunk_cache.count;
	return added;
}

const struct thunk *thunk_code_get(struct thunk *t, const struct x86_insn *insn,
				   unsigned mode)
{
	const struct thunk *found;
	unsigned slot;

	thunk_describe(t, insn, mode);
	pthread_mutex_lock(&thunk_cache.lock);
	slot = thunk_hash_find(t->key);
	found = thunk_cache.hash[slot]
			? &thunk_cache.thunks[thunk_cache.hash[slot] - 1]
			: thunk_add(slot, t, insn);
	pthread_mutex_unlock(&thunk_cache.lock);
	return found ? found : t;
}

/*
 * The slot's former code may sit in this processor's pipeline (SDM 3A 8.1.3:
 * cross-modifying code); CPUID serialises.
 */
static void thunk_serialize(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid"
			 : "+a"(a), "=b"(b), "+c"(c), "=d"(d)
			 :
			 : "memory");
}

uint64_t thunk_code_uncached(const struct thunk *t, const struct x86_insn *insn,
			     void *fpu, void *mem, uint64_t *gpr,
			     uint64_t flags)
{
	struct thunk_buf c = { .n = 0 };
	uint64_t ret;

	thunk_put_code(&c, t, insn);
	pthread_mutex_lock(&thunk_cache.lock);
	memcpy(thunk_cache.rw + THUNK_SCRATCH_OFFSET, c.b, c.n);
	thunk_serialize();
	ret = ((thunk_fn *)(uintptr_t)(thunk_cache.rx + THUNK_SCRATCH_OFFSET))(
		fpu, mem, gpr, flags);
	pthread_mutex_unlock(&thunk_cache.lock);
	return ret;
}
