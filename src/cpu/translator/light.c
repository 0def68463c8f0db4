#include "cpu/translator/light.h"

#include "cpu/translator/xl.h"
#include "cpu/x86/mmu.h"

uint64_t xl_light_miss(struct x86_cpu *cpu, uint64_t linear, uint32_t kind_size)
{
	return x86_tlb_fill(cpu, linear, kind_size & 0xffff, kind_size >> 16) !=
	       NULL;
}

uint64_t xl_light_view(struct x86_cpu *cpu, uint64_t linear, uint32_t unused)
{
	x86_view_sample(cpu, linear);
	return 0;
}

/* The page record of what is mapped at linear, noted in the code map. */
static struct xl_page *light_page(struct x86_cpu *cpu, uint64_t linear)
{
	struct xl *x = cpu->engine;
	uint64_t gpa = x86_fetch_gpa_quiet(cpu, linear);
	struct xl_page *p;

	if (gpa == UINT64_MAX)
		return NULL;
	p = xl_page_find(x, linear & ~MEM_PAGE_MASK, gpa & ~MEM_PAGE_MASK,
			 cpu->mode & XL_MODE_KEY);
	if (p) {
		x86_code_map_set(cpu, linear, xl_code_kind(cpu->mode), p->id);
		p->used = xl_epoch();
	}
	return p;
}

/* The single-access block at b's guest offset, or NULL. */
static struct xl_block *light_single(struct xl *x, struct xl_block *b,
				     uint32_t guest)
{
	struct xl_page *p;

	if (b->single && b->single_at == guest && !b->single->dead &&
	    b->single->page->linear == b->page->linear)
		return b->single;
	p = xl_page_find(x, b->page->linear, b->page->gpa,
			 b->page->mode | XL_MODE_SINGLE);
	b->single = p && !x->lockstep ? xl_find(x, p, guest) : NULL;
	b->single_at = (uint16_t)guest;
	return b->single;
}

/* Behind the call lie a jump of 5 bytes, and what gen_slow_miss() noted. */
uint64_t xl_light_group(struct x86_cpu *cpu, uint64_t linear,
			uint32_t kind_size, uint64_t pc)
{
	const uint8_t *note = (const uint8_t *)(uintptr_t)pc + 5;
	struct xl *x = cpu->engine;
	struct xl_block *b;
	uint32_t ref, guest;

	if (xl_light_miss(cpu, linear, kind_size))
		return XL_LIGHT_FILLED;
	__builtin_memcpy(&ref, note, sizeof(ref));
	__builtin_memcpy(&guest, note + sizeof(ref), sizeof(guest));
	b = light_single(x, xl_deref(&x->arena, ref), guest);
	return b ? (uintptr_t)(b->host + b->body) : 0;
}

uint64_t xl_light_indirect(struct x86_cpu *cpu, uint64_t linear, uint32_t kind)
{
	struct xl *x = cpu->engine;
	struct xl_page *p = light_page(cpu, linear);
	struct xl_block *b;

	if (!p)
		return 0;
	b = xl_find(x, p, linear & MEM_PAGE_MASK);
	if (!b)
		return 0;
	xl_jump_note(x, kind, linear, b->host);
	return (uintptr_t)b->host;
}

uint64_t xl_light_link(struct x86_cpu *cpu, uint64_t link, uint32_t unused)
{
	struct xl *x = cpu->engine;
	struct xl_link *l = xl_deref(&x->arena, link);
	struct xl_page *p;
	struct xl_block *b;

	if (x->lockstep || l->mode != (cpu->mode & XL_MODE_KEY))
		return 0;
	p = light_page(cpu, l->target);
	b = p ? xl_find(x, p, l->target & MEM_PAGE_MASK) : NULL;
	if (!b)
		return 0;
	xl_link(x, l, b);
	return (uintptr_t)b->host;
}

uint64_t xl_light_check(struct x86_cpu *cpu, uint64_t block, uint32_t unused)
{
	struct xl *x = cpu->engine;
	struct xl_block *b = xl_deref(&x->arena, block);
	uint64_t linear = b->page->linear + b->offset;
	struct xl_page *p;

	if (atomic_load_explicit(&cpu->pending, memory_order_relaxed))
		return 0;
	if (b->page->mode & XL_MODE_SINGLE)
		return 0;
	p = light_page(cpu, linear);
	if (p && p != b->page)
		b = xl_find(x, p, b->offset);
	return p && b ? (uintptr_t)(b->host + b->body) : 0;
}

/* Nothing is wanted of the run loop, and the mode is one we translate. */
static bool light_may_go_on(struct x86_cpu *cpu)
{
	const struct xl *x = cpu->engine;

	return !atomic_load_explicit(&cpu->pending, memory_order_relaxed) &&
	       !atomic_load_explicit(&x->noted, memory_order_relaxed) &&
	       cpu->activity == X86_ACTIVE && !xl_must_step(cpu) &&
	       (cpu->mode & XL_MODE_KEY & ~(X86_MODE_USER | X86_MODE_AC)) ==
		       x->map_mode;
}

/*
 * A SYSRET that sets TF raises #DB when it is done.  What is raised here is
 * taken for a fault, and the instruction done again: so not here.
 */
static bool light_traps(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return insn->op == X86_SYSRET && cpu->gpr[X86_R11] & X86_FLAG_TF;
}

uint64_t xl_light_insn(struct x86_cpu *cpu, uint64_t ref)
{
	struct xl *x = cpu->engine;
	const struct xl_insn *xi = xl_deref(&x->arena, ref);
	const struct x86_jump *j;
	unsigned kind;

	if (light_traps(cpu, &xi->insn) || setjmp(cpu->fault_jmp)) {
		cpu->insn = NULL;
		cpu->rip = xi->rip;
		cpu->word[XL_ARG] = true;
		return 0;
	}
	cpu->rip = xi->rip + xi->insn.len;
	cpu->insn = &xi->insn;
	xi->insn.fn(cpu, &xi->insn);
	cpu->insn = NULL;
	cpu->word[XL_ARG] = false;
	if (!light_may_go_on(cpu))
		return 0;
	kind = xl_code_kind(cpu->mode);
	j = &cpu->jump[kind][cpu->rip & (X86_JUMP_SLOTS - 1)];
	if (j->neg_rip == -cpu->rip)
		return j->host;
	return xl_light_indirect(cpu, cpu->rip, kind);
}

uint64_t xl_light_mxcsr_masked(struct x86_cpu *cpu, uint64_t unused,
			       uint32_t unused2)
{
	const uint8_t *m = &cpu->fpu.b[24];

	return ((m[0] | m[1] << 8) & 0x1f80) == 0x1f80;
}
