/*
 * diff_guest.c - running code on an engine.
 *
 * A machine of one processor and no devices, in long mode at CPL 3 (in 64-bit
 *or 32-bit code), whose page tables map a few pages at the linear addresses the
 *host uses too. Two ways:
 *
 *	one	the interpreter's single instruction; what it raises is found
 *		in cpu->fault, undelivered
 *	run	any engine's run(), until it halts: behind the code lie INT3s,
 *		and every vector's handler is a HLT at CPL 0; how it ended is
 *		read from the stack frame.  So decoded blocks or translations
 *		are tested, and delivery with them.
 *
 * The kernel's pages lie where no host program has any:
 *
 *	KERNEL + 0	GDT, TSS at 100, IDT at 200
 *	KERNEL + 1000	handlers, 16 bytes each
 *	KERNEL + 2000	stack
 */
#include "diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/loop.h"
#include "cpu/interpreter/interp.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk.h"

#define DIFF_GUEST_RAM   (4u << 20)
#define DIFF_GPA_TABLES  0x10000ull
#define DIFF_GPA_KERNEL  0x80000ull
#define DIFF_GPA_CODE    0x100000ull
#define DIFF_GPA_DATA    0x200000ull
#define DIFF_KERNEL      0xffff900000000000ull
#define DIFF_TSS         0x100
#define DIFF_IDT         0x200
#define DIFF_HANDLERS    0x1000
#define DIFF_STACK_END   0x3000
#define DIFF_PTE_USER_RW (X86_PTE_P | X86_PTE_W | X86_PTE_U)
#define DIFF_PTE_USER_RO (X86_PTE_P | X86_PTE_U)

struct diff_guest {
	struct mem *mem;
	struct vclock *clock;
	struct loop *loop;
	struct x86_machine xm;
	struct x86_cpu *cpu, *cpus[1];
	uint8_t *data, *kernel;
	unsigned mode;
	bool one; /* a single instruction of the interpreter */
	uint64_t next_table;
};

/* --- Page tables --------------------------------------------------------- */

static uint64_t *diff_table_entry(struct diff_guest *g, uint64_t table,
				  uint64_t linear, unsigned level)
{
	uint64_t *t = mem_host(g->mem, table, 4096);

	return &t[linear >> (12 + 9 * level) & 511];
}

static void diff_map(struct diff_guest *g, uint64_t linear, uint64_t gpa,
		     uint64_t bits)
{
	uint64_t table = DIFF_GPA_TABLES;

	for (unsigned level = 3; level > 0; level--) {
		uint64_t *e = diff_table_entry(g, table, linear, level);

		if (!*e) {
			g->next_table += 4096;
			*e = g->next_table | DIFF_PTE_USER_RW;
		}
		table = *e & ~0xfffull;
	}
	*diff_table_entry(g, table, linear, 0) = gpa | bits;
}

static void diff_map_all(struct diff_guest *g)
{
	g->next_table = DIFF_GPA_TABLES;
	mem_zero(g->mem, DIFF_GPA_TABLES, 0x10000);
	diff_map(g, DIFF_CODE, DIFF_GPA_CODE, DIFF_PTE_USER_RO);
	diff_map(g, DIFF_DATA, DIFF_GPA_DATA, DIFF_PTE_USER_RO | X86_PTE_NX);
	for (uint64_t i = 4096; i < DIFF_DATA_BYTES; i += 4096)
		diff_map(g, DIFF_DATA + i, DIFF_GPA_DATA + i,
			 DIFF_PTE_USER_RW | X86_PTE_NX);
	for (uint64_t i = 0; i < DIFF_STACK_END; i += 4096)
		diff_map(g, DIFF_KERNEL + i, DIFF_GPA_KERNEL + i,
			 X86_PTE_P | X86_PTE_W);
}

/* --- The kernel ---------------------------------------------------------- */

static void diff_put64(struct diff_guest *g, unsigned offset, uint64_t v)
{
	memcpy(g->kernel + offset, &v, sizeof(v));
}

/* Selectors as Linux has them: 10 and 18 kernel, 23, 2b, 33 user, 40 TSS. */
static void diff_put_gdt(struct diff_guest *g)
{
	uint64_t tss = DIFF_KERNEL + DIFF_TSS;

	diff_put64(g, 0x10, 0x00af9b000000ffff);
	diff_put64(g, 0x18, 0x00cf93000000ffff);
	diff_put64(g, 0x20, 0x00cffb000000ffff);
	diff_put64(g, 0x28, 0x00cff3000000ffff);
	diff_put64(g, 0x30, 0x00affb000000ffff);
	diff_put64(g, 0x40,
		   0x0000890000000067 | (tss & 0xffffff) << 16 |
			   (tss >> 24 & 0xff) << 56);
	diff_put64(g, 0x48, tss >> 32);
	diff_put64(g, DIFF_TSS + 4, DIFF_KERNEL + DIFF_STACK_END); /* RSP0 */
	diff_put64(g, DIFF_TSS + 0x60, 0x68ull << 48); /* no I/O bitmap */
}

/* Interrupt gates; user code may use #BP's and #OF's. */
static void diff_put_idt(struct diff_guest *g)
{
	for (unsigned i = 0; i < 32; i++) {
		uint64_t to = DIFF_KERNEL + DIFF_HANDLERS + 16 * i;
		uint64_t type =
			i == X86_VEC_BP || i == X86_VEC_OF ? 0xee00 : 0x8e00;

		diff_put64(g, DIFF_IDT + 16 * i,
			   (to & 0xffff) | 0x10 << 16 | type << 32 |
				   (to >> 16 & 0xffff) << 48);
		diff_put64(g, DIFF_IDT + 16 * i + 8, to >> 32);
		g->kernel[DIFF_HANDLERS + 16 * i] = 0xf4; /* HLT */
	}
}

/* --- The processor ------------------------------------------------------- */

static struct x86_seg diff_segment(uint16_t sel, uint32_t attr)
{
	return (struct x86_seg){ .sel = sel,
				 .attr = attr,
				 .limit = 0xffffffff };
}

/* Back to user mode, from whatever the last case left. */
static void diff_enter_user(struct x86_cpu *cpu, unsigned mode)
{
	if (mode == X86_MODE_CODE64) {
		cpu->seg[X86_CS] = diff_segment(0x33, 0xa0fb);
	} else {
		cpu->seg[X86_CS] = diff_segment(0x23, 0xc0fb);
		cpu->seg[X86_DS] = diff_segment(0x2b, 0xc0f3);
		cpu->seg[X86_ES] = cpu->seg[X86_DS];
	}
	cpu->seg[X86_SS] = diff_segment(0x2b, 0xc0f3);
	cpu->cpl = 3;
	cpu->activity = X86_ACTIVE;
	cpu->int_shadow = 0;
}

/* As Linux runs its user programs. */
static void diff_setup_cpu(struct x86_cpu *cpu, unsigned mode)
{
	struct x86_seg null = { .attr = X86_SEG_UNUSABLE };

	cpu->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_MP | X86_CR0_ET |
		   X86_CR0_NE | X86_CR0_WP | X86_CR0_AM;
	cpu->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR |
		   X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE |
		   X86_CR4_UMIP;
	cpu->msr.efer =
		X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	cpu->xcr0 = 7;
	cpu->cr3 = DIFF_GPA_TABLES;
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		cpu->seg[i] = null;
	cpu->seg[X86_TR] = (struct x86_seg){ .sel = 0x40,
					     .attr = 0x8b,
					     .limit = 0x67,
					     .base = DIFF_KERNEL + DIFF_TSS };
	cpu->gdtr = (struct x86_dtr){ .base = DIFF_KERNEL, .limit = 0x4f };
	cpu->idtr = (struct x86_dtr){ .base = DIFF_KERNEL + DIFF_IDT,
				      .limit = 0x1ff };
	diff_enter_user(cpu, mode);
	x86_mode_changed(cpu);
	x86_tlb_flush_all(cpu);
}

static int diff_build_machine(struct diff_guest *g)
{
	struct err err;

	if (mem_new(&g->mem, DIFF_GUEST_RAM, &err) < 0)
		return -1;
	g->clock = vclock_new();
	g->loop = loop_new(g->clock, &err);
	g->xm.mem = g->mem;
	g->xm.clock = g->clock;
	g->xm.loop = g->loop;
	g->xm.cpu_count = 1;
	g->xm.cpus = g->cpus;
	g->xm.tsc_khz = 1000000;
	pthread_mutex_init(&g->xm.bounce_lock, NULL);
	return g->clock && g->loop ? 0 : -1;
}

static int diff_build_cpu(struct diff_guest *g)
{
	struct err err;

	if (thunk_init(&err) < 0 || g->xm.engine_ops->vm_init(&g->xm, &err) < 0)
		return -1;
	g->cpu = g->cpus[0] = x86_cpu_new(&g->xm, 0, &err);
	if (!g->cpu || g->xm.engine_ops->vcpu_init(g->cpu, &err) < 0)
		return -1;
	g->data = mem_host(g->mem, DIFF_GPA_DATA, DIFF_DATA_BYTES);
	g->kernel = mem_host(g->mem, DIFF_GPA_KERNEL, DIFF_STACK_END);
	return g->data && g->kernel ? 0 : -1;
}

struct diff_guest *diff_guest_new(const char *engine, unsigned mode)
{
	struct diff_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->mode = mode;
	g->one = strcmp(engine, "interpreter") == 0;
	if (g->one || strcmp(engine, "interpreter-run") == 0)
		g->xm.engine_ops = &interpreter_engine;
	if (strcmp(engine, "translator") == 0)
		g->xm.engine_ops = &translator_engine;
	if (strcmp(engine, "translator-plain") == 0)
		g->xm.engine_ops = &translator_plain_engine;
	if (strcmp(engine, "translator-hot") == 0)
		g->xm.engine_ops = &translator_hot_engine;
	if (!g->xm.engine_ops || diff_build_machine(g) < 0 ||
	    diff_build_cpu(g) < 0) {
		diff_guest_free(g);
		return NULL;
	}
	diff_map_all(g);
	memset(mem_host(g->mem, DIFF_GPA_CODE, 4096), 0xcc, 4096);
	diff_put_gdt(g);
	diff_put_idt(g);
	diff_setup_cpu(g->cpu, mode);
	return g;
}

void diff_guest_free(struct diff_guest *g)
{
	if (!g)
		return;
	if (g->cpu) {
		g->xm.engine_ops->vcpu_free(g->cpu);
		x86_cpu_free(g->cpu);
		g->xm.engine_ops->vm_free(&g->xm);
	}
	loop_free(g->loop);
	vclock_free(g->clock);
	mem_free(g->mem);
	free(g);
}

uint8_t *diff_guest_data(struct diff_guest *g)
{
	return g->data;
}

/* --- One case ------------------------------------------------------------ */

static void diff_guest_put_code(struct diff_guest *g, const struct diff_case *c)
{
	uint8_t code[DIFF_CODE_BYTES];

	memset(code, 0xcc, sizeof(code));
	memcpy(code, c->bytes, c->len);
	mem_write(g->mem, DIFF_GPA_CODE + (DIFF_INSN - DIFF_CODE), code,
		  sizeof(code));
}

static void diff_guest_load(struct diff_guest *g, const struct diff_state *in,
			    bool fpu)
{
	struct x86_cpu *cpu = g->cpu;

	memcpy(cpu->gpr, in->gpr, sizeof(cpu->gpr));
	cpu->rip = in->rip;
	cpu->seg[X86_FS].base = in->fs;
	cpu->seg[X86_GS].base = in->gs;
	cpu->rflags = in->rflags;
	if (!g->one)
		diff_enter_user(cpu, g->mode);
	x86_mode_changed(cpu);
	if (fpu)
		memcpy(cpu->fpu.b, in->fpu, X86_XSAVE_SIZE);
}

static void diff_guest_store(const struct x86_cpu *cpu, struct diff_state *out,
			     bool fpu)
{
	memcpy(out->gpr, cpu->gpr, sizeof(out->gpr));
	out->rip = cpu->rip;
	out->fs = cpu->seg[X86_FS].base;
	out->gs = cpu->seg[X86_GS].base;
	out->rflags = cpu->rflags;
	if (fpu)
		memcpy(out->fpu, cpu->fpu.b, X86_XSAVE_SIZE);
}

static void diff_guest_run_one(struct diff_guest *g, struct diff_state *out,
			       unsigned len, bool fpu)
{
	struct x86_cpu *cpu = g->cpu;
	bool done;

	do {
		done = interp_one_raw(cpu);
	} while (done && cpu->rip > DIFF_INSN && cpu->rip < DIFF_INSN + len);

	diff_guest_store(cpu, out, fpu);
	out->vector = DIFF_NO_VECTOR;
	if (done)
		return;
	out->vector = cpu->fault.vector;
	out->error = cpu->fault.has_error ? cpu->fault.error : 0;
	out->cr2 = cpu->fault.cr2;
}

/* A handler's HLT was reached: (error,) RIP, CS, RFLAGS, RSP, SS pushed. */
static void diff_guest_read_frame(struct diff_guest *g, struct diff_state *out)
{
	struct x86_cpu *cpu = g->cpu;
	uint64_t used = DIFF_KERNEL + DIFF_STACK_END - cpu->gpr[X86_RSP];
	uint64_t frame[5], error = 0;

	memcpy(frame, g->kernel + DIFF_STACK_END - sizeof(frame),
	       sizeof(frame));
	if (used == sizeof(frame) + 8)
		memcpy(&error, g->kernel + DIFF_STACK_END - used, 8);
	out->vector = (int)((cpu->rip - 1 - DIFF_KERNEL - DIFF_HANDLERS) / 16);
	out->rip = frame[0];
	out->rflags = frame[2];
	out->gpr[X86_RSP] = frame[3];
	out->error = (uint32_t)error;
	out->cr2 = cpu->cr2;
}

static void diff_guest_run_engine(struct diff_guest *g,
				  const struct diff_case *c,
				  struct diff_state *out)
{
	struct err err;
	enum vcpu_exit exit;

	do {
		exit = g->xm.engine_ops->run(g->cpu, &err);
	} while (exit == VCPU_EXIT_KICKED);
	diff_guest_store(g->cpu, out, c->uses_fpu);
	if (exit != VCPU_EXIT_HALT) {
		out->vector = 1000 + (int)exit; /* a triple fault, ... */
		return;
	}
	diff_guest_read_frame(g, out);
	diff_outcome(c, out);
}

void diff_guest_run(struct diff_guest *g, const struct diff_case *c,
		    struct diff_state *out)
{
	diff_guest_put_code(g, c);
	diff_guest_load(g, &c->in, c->uses_fpu);
	if (g->one)
		diff_guest_run_one(g, out, c->len, c->uses_fpu);
	else
		diff_guest_run_engine(g, c, out);
}
