/*
 * diff_guest.c - running one instruction on an engine.
 *
 * A machine of one processor and no devices, in long mode at CPL 3, whose
 * page tables map a few pages at the linear addresses the host uses too.
 * Faults are not delivered: there is no IDT; engines report them in
 * cpu->fault.
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

#define DIFF_GUEST_RAM	 (4u << 20)
#define DIFF_GPA_TABLES	 0x10000ull
#define DIFF_GPA_CODE	 0x100000ull
#define DIFF_GPA_DATA	 0x200000ull
#define DIFF_PTE_USER_RW (X86_PTE_P | X86_PTE_W | X86_PTE_U)
#define DIFF_PTE_USER_RO (X86_PTE_P | X86_PTE_U)

struct diff_guest {
	struct mem *mem;
	struct vclock *clock;
	struct loop *loop;
	struct x86_machine xm;
	struct x86_cpu *cpu, *cpus[1];
	uint8_t *data;
	bool (*run)(struct x86_cpu *cpu);
	uint64_t next_table;
};

/* --- Page tables --------------------------------------------------------------- */

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
}

/* --- The processor ------------------------------------------------------------- */

static struct x86_seg diff_segment(uint16_t sel, uint32_t attr)
{
	return (struct x86_seg){ .sel = sel,
				 .attr = attr,
				 .limit = 0xffffffff };
}

/* As Linux runs its user programs, but for CR4.OSXSAVE's components. */
static void diff_setup_cpu(struct x86_cpu *cpu)
{
	struct x86_seg null = { .attr = X86_SEG_UNUSABLE };

	cpu->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_MP | X86_CR0_ET |
		   X86_CR0_NE | X86_CR0_WP | X86_CR0_AM;
	cpu->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR |
		   X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE |
		   X86_CR4_UMIP;
	cpu->msr.efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA |
			X86_EFER_NXE;
	cpu->xcr0 = 7;
	cpu->cr3 = DIFF_GPA_TABLES;
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		cpu->seg[i] = null;
	cpu->seg[X86_CS] = diff_segment(0x33, 0xa0fb); /* 64-bit, DPL 3 */
	cpu->seg[X86_SS] = diff_segment(0x2b, 0xc0f3);
	cpu->seg[X86_TR].limit = 0; /* no I/O bitmap */
	cpu->cpl = 3;
	cpu->activity = X86_ACTIVE;
	x86_mode_changed(cpu);
	x86_tlb_flush_all(cpu);
}

static int diff_build(struct diff_guest *g)
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
	g->xm.engine_ops = &interpreter_engine;
	pthread_mutex_init(&g->xm.bounce_lock, NULL);
	if (!g->clock || !g->loop || thunk_init(&err) < 0 ||
	    g->xm.engine_ops->vm_init(&g->xm, &err) < 0)
		return -1;
	g->cpu = g->cpus[0] = x86_cpu_new(&g->xm, 0, &err);
	if (!g->cpu || g->xm.engine_ops->vcpu_init(g->cpu, &err) < 0)
		return -1;
	g->data = mem_host(g->mem, DIFF_GPA_DATA, DIFF_DATA_BYTES);
	return g->data ? 0 : -1;
}

struct diff_guest *diff_guest_new(const char *engine)
{
	struct diff_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	if (strcmp(engine, "interpreter") == 0)
		g->run = interp_one_raw;
	if (!g->run || diff_build(g) < 0) {
		diff_guest_free(g);
		return NULL;
	}
	diff_map_all(g);
	diff_setup_cpu(g->cpu);
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

/* --- One case ------------------------------------------------------------------ */

static void diff_guest_put_code(struct diff_guest *g,
				const struct diff_case *c)
{
	uint8_t code[64];

	memset(code, 0xcc, sizeof(code));
	memcpy(code, c->bytes, c->insn.len);
	mem_write(g->mem, DIFF_GPA_CODE + (DIFF_INSN - DIFF_CODE), code,
		  sizeof(code));
}

static void diff_guest_load(struct x86_cpu *cpu, const struct diff_state *in,
			    bool fpu)
{
	memcpy(cpu->gpr, in->gpr, sizeof(cpu->gpr));
	cpu->rip = in->rip;
	cpu->seg[X86_FS].base = in->fs;
	cpu->seg[X86_GS].base = in->gs;
	if ((cpu->rflags ^ in->rflags) & (X86_FLAG_TF | X86_FLAG_AC)) {
		cpu->rflags = in->rflags;
		x86_mode_changed(cpu);
	}
	cpu->rflags = in->rflags;
	cpu->int_shadow = 0;
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

void diff_guest_run(struct diff_guest *g, const struct diff_case *c,
		    struct diff_state *out)
{
	struct x86_cpu *cpu = g->cpu;
	bool done;

	diff_guest_put_code(g, c);
	diff_guest_load(cpu, &c->in, c->uses_fpu);
	done = g->run(cpu);
	diff_guest_store(cpu, out, c->uses_fpu);
	out->vector = DIFF_NO_VECTOR;
	if (done)
		return;
	out->vector = cpu->fault.vector;
	out->error = cpu->fault.has_error ? cpu->fault.error : 0;
	out->cr2 = cpu->fault.cr2;
}
