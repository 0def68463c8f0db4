/*
 * cpu.c - a processor's life: creation, reset, mode, flags, pending events.
 *
 * cpu->mode is a digest of everything that decides what code means and what
 * it may do; blocks of decoded code are keyed by it.  In 64-bit code the
 * attributes of DS, ES and SS mean nothing, so FLAT is always set and STACK32
 * never: otherwise equal code would be decoded twice.
 *
 * cpu->pending is the only door for other threads.  A setter stores its data
 * first (lapic's IRR under its lock, sipi_vector), then sets the bit with
 * release order and wakes the vCPU; the vCPU's acquire exchange in
 * x86_take_pending() is the pair.
 *
 * An interrupt that meets IF = 0 would otherwise stop the fast path before
 * every block, so its bit is cleared and remembered in intr_masked until
 * x86_set_rflags() sets IF.
 */
#include "cpu/x86/cpu.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/lapic.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/sync.h"

#define CPU_RFLAGS_VALID 0x3f7fd7ull

static size_t cpu_bytes(void)
{
	return (sizeof(struct x86_cpu) + 4095) & ~4095ul;
}

struct x86_cpu *x86_cpu_new(struct x86_machine *xm, unsigned index,
			    struct err *err)
{
	struct x86_cpu *cpu =
		mmap(NULL, cpu_bytes(), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (cpu == MAP_FAILED) {
		err_set(err, ENOMEM, "no memory for virtual processor %u",
			index);
		return NULL;
	}
	if (xm->engine_ops && xm->engine_ops->sparse_cpu)
		madvise(cpu, cpu_bytes(), MADV_NOHUGEPAGE);
	cpu->index = index;
	cpu->xm = xm;
	cpu->mem = xm->mem;
	x86_tlb_init(cpu);
	x86_reset(cpu, false);
	return cpu;
}

void x86_cpu_free(struct x86_cpu *cpu)
{
	if (!cpu)
		return;
	x86_view_free(cpu);
	munmap(cpu, cpu_bytes());
}

/* --- Reset --------------------------------------------------------------- */

static void cpu_reset_segments(struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		cpu->seg[i] = (struct x86_seg){ .attr = 0x93, .limit = 0xffff };
	cpu->seg[X86_CS].sel = 0xf000;
	cpu->seg[X86_CS].base = 0xffff0000;
	cpu->seg[X86_CS].attr = 0x9b;
	cpu->seg[X86_LDTR].attr = 0x82;
	cpu->seg[X86_TR].attr = 0x8b;
	cpu->gdtr = (struct x86_dtr){ .limit = 0xffff };
	cpu->idtr = (struct x86_dtr){ .limit = 0xffff };
}

/* x87 and SSE after power-up: FCW 0040, all tags "valid", MXCSR 1f80. */
static void cpu_reset_fpu(struct x86_cpu *cpu)
{
	static const uint32_t mxcsr = 0x1f80, mxcsr_mask = 0xffff;
	static const uint64_t everything = 7;

	memset(&cpu->fpu, 0, sizeof(cpu->fpu));
	cpu->fpu.b[0] = 0x40;
	cpu->fpu.b[4] = 0xff; /* abridged tag word */
	memcpy(cpu->fpu.b + 24, &mxcsr, 4);
	memcpy(cpu->fpu.b + 28, &mxcsr_mask, 4);
	memcpy(cpu->fpu.b + 512, &everything, 8);
}

/* All vCPUs count from the same moment. */
static void cpu_reset_tsc(struct x86_cpu *cpu)
{
	struct x86_cpu *first = cpu->xm->cpus ? cpu->xm->cpus[0] : NULL;

	if (first && first != cpu)
		cpu->tsc_offset = first->tsc_offset - first->msr.tsc_adjust;
	else
		cpu->tsc_offset = -x86_host_tsc(cpu->xm);
}

static void cpu_reset_msrs(struct x86_cpu *cpu)
{
	memset(&cpu->msr, 0, sizeof(cpu->msr));
	cpu->msr.pat = 0x0007040600070406ull;
	cpu->msr.misc_enable = 1;     /* fast strings */
	cpu->msr.feature_control = 1; /* locked, VMX off */
	cpu->msr.mcg_ctl = 0;
	cpu->xcr0 = X86_XCR0_X87;
	cpu_reset_tsc(cpu);
}

static void cpu_reset_control(struct x86_cpu *cpu, bool init)
{
	uint64_t keep = init ? cpu->cr0 & (X86_CR0_CD | X86_CR0_NW)
			     : X86_CR0_CD | X86_CR0_NW;

	cpu->cr0 = X86_CR0_ET | keep;
	cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
	cpu->msr.efer = 0;
	memset(cpu->dr, 0, sizeof(cpu->dr));
	memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
	cpu->dr[6] = X86_DR6_FIXED;
	cpu->dr[7] = X86_DR7_FIXED;
}

static void cpu_reset_gprs(struct x86_cpu *cpu)
{
	struct x86_cpuid_regs id;

	x86_cpuid(cpu, 1, 0, &id);
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->gpr[X86_RDX] = id.eax;
	cpu->rflags = X86_FLAG_1;
	cpu->rip = 0xfff0;
}

void x86_reset(struct x86_cpu *cpu, bool init)
{
	cpu_reset_control(cpu, init);
	if (!init) {
		cpu_reset_msrs(cpu);
		cpu_reset_fpu(cpu);
		atomic_store(&cpu->pending, 0);
	}
	cpu_reset_segments(cpu);
	cpu_reset_gprs(cpu);
	cpu->cpl = 0;
	cpu->int_shadow = 0;
	cpu->nmi_blocked = false;
	cpu->intr_masked = false;
	cpu->has_pending_event = false;
	cpu->db_pending = 0;
	cpu->insn = NULL;
	cpu->activity = cpu->index ? X86_WAIT_SIPI : X86_ACTIVE;
	if (cpu->lapic)
		lapic_reset(cpu->lapic, init);
	x86_tlb_flush_all(cpu);
	x86_mode_changed(cpu);
}

void x86_start_sipi(struct x86_cpu *cpu, uint8_t vector)
{
	if (cpu->activity != X86_WAIT_SIPI)
		return;
	cpu->seg[X86_CS].sel = vector << 8;
	cpu->seg[X86_CS].base = (uint64_t)vector << 12;
	cpu->rip = 0;
	cpu->activity = X86_ACTIVE;
	x86_mode_changed(cpu);
}

/* --- Mode and flags ------------------------------------------------------ */

static bool cpu_seg_flat(const struct x86_seg *s)
{
	const uint32_t need = X86_SEG_P | X86_SEG_S;

	return !s->base && s->limit == UINT32_MAX &&
	       (s->attr & (need | X86_SEG_UNUSABLE)) == need;
}

/* Plain read/write, expand-up. */
static bool cpu_data_flat(const struct x86_seg *s)
{
	return cpu_seg_flat(s) && (s->attr & 0xe) == 0x2;
}

/* Readable code. */
static bool cpu_code_flat(const struct x86_seg *s)
{
	return cpu_seg_flat(s) && (s->attr & 0xa) == 0xa;
}

static uint32_t cpu_mode_segments(const struct x86_cpu *cpu)
{
	const struct x86_seg *seg = cpu->seg;
	uint32_t mode;

	if (x86_long_mode(cpu) && seg[X86_CS].attr & X86_SEG_L)
		return X86_MODE_CODE64 | X86_MODE_FLAT;
	mode = seg[X86_CS].attr & X86_SEG_DB ? X86_MODE_CODE32
					     : X86_MODE_CODE16;
	if (seg[X86_SS].attr & X86_SEG_DB)
		mode |= X86_MODE_STACK32;
	if (cpu_code_flat(&seg[X86_CS]) && cpu_data_flat(&seg[X86_DS]) &&
	    cpu_data_flat(&seg[X86_ES]) && cpu_data_flat(&seg[X86_SS]))
		mode |= X86_MODE_FLAT;
	return mode;
}

static uint32_t cpu_mode_fpu(const struct x86_cpu *cpu)
{
	const uint64_t avx = X86_XCR0_SSE | X86_XCR0_AVX;
	uint32_t mode = 0;

	if (!(cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))) {
		mode |= X86_MODE_X87;
		if (cpu->cr4 & X86_CR4_OSFXSR)
			mode |= X86_MODE_SSE;
	}
	if (!(cpu->cr0 & X86_CR0_TS) && cpu->cr4 & X86_CR4_OSXSAVE &&
	    (cpu->xcr0 & avx) == avx)
		mode |= X86_MODE_AVX;
	return mode;
}

static uint32_t cpu_mode_user(const struct x86_cpu *cpu)
{
	if (cpu->cr0 & X86_CR0_AM && cpu->rflags & X86_FLAG_AC)
		return X86_MODE_USER | X86_MODE_ALIGN;
	return X86_MODE_USER;
}

static bool cpu_breakpoint_armed(const struct x86_cpu *cpu)
{
	return cpu->dr[7] & 0xff;
}

void x86_mode_changed(struct x86_cpu *cpu)
{
	uint32_t mode = cpu_mode_segments(cpu) | cpu_mode_fpu(cpu);

	if (!(cpu->cr0 & X86_CR0_PE)) {
		mode |= X86_MODE_REAL;
		cpu->cpl = 0;
	} else if (cpu->rflags & X86_FLAG_VM) {
		mode |= X86_MODE_VM86;
		cpu->cpl = 3;
	}
	if (cpu->cpl == 3)
		mode |= cpu_mode_user(cpu);
	else if (cpu->cr4 & X86_CR4_SMAP && cpu->rflags & X86_FLAG_AC)
		mode |= X86_MODE_AC;
	if (cpu->rflags & X86_FLAG_TF)
		mode |= X86_MODE_TF;
	if (cpu->cpl <= (cpu->rflags & X86_FLAG_IOPL) >> 12)
		mode |= X86_MODE_IOPL;
	if (cpu_breakpoint_armed(cpu))
		mode |= X86_MODE_DEBUG;
	if (mode & ~cpu->mode & X86_MODE_ALIGN)
		x86_tlb_flush_all(cpu);
	cpu->mode = mode;
}

void x86_set_rflags(struct x86_cpu *cpu, uint64_t value, uint64_t mask)
{
	const uint64_t mode_bits =
		X86_FLAG_TF | X86_FLAG_AC | X86_FLAG_VM | X86_FLAG_IOPL;
	uint64_t old = cpu->rflags;
	uint64_t new;

	mask &= CPU_RFLAGS_VALID & ~X86_FLAG_1;
	new = (old & ~mask) | (value & mask) | X86_FLAG_1;
	cpu->rflags = new;
	if ((old ^ new) & mode_bits)
		x86_mode_changed(cpu);
	if (new &X86_FLAG_IF && cpu->intr_masked) {
		cpu->intr_masked = false;
		atomic_fetch_or(&cpu->pending, X86_PEND_INTR);
	}
}

uint64_t x86_host_tsc(const struct x86_machine *xm)
{
	return x86_scale_tsc(xm,
			     xm->tsc_stopped ? xm->tsc_stopped : clock_tsc());
}

int x86_set_tsc_khz(struct x86_machine *xm, uint32_t khz, struct err *err)
{
	const struct engine_ops *ops = xm->engine_ops;
	int rc = 0;

	if (ops->scale_tsc) {
		rc = ops->scale_tsc(xm, khz, err);
	} else {
		xm->tsc_shift = 32;
		xm->tsc_ratio = ((uint64_t)khz << 32) / clock_tsc_khz();
	}
	if (rc == 0)
		xm->tsc_khz = khz;
	xm->kvmclock.valid = false;
	return rc;
}

uint64_t x86_tsc(const struct x86_cpu *cpu)
{
	return x86_host_tsc(cpu->xm) + cpu->tsc_offset;
}

/* --- Pending events ------------------------------------------------------ */

void x86_pend(struct x86_cpu *cpu, unsigned bits)
{
	/* Pairs with the exchange in x86_take_pending(). */
	atomic_fetch_or_explicit(&cpu->pending, bits, memory_order_acq_rel);
	if (cpu->xm->engine_ops && cpu->xm->engine_ops->kick)
		cpu->xm->engine_ops->kick(cpu);
	if (cpu->xm->wake)
		cpu->xm->wake(cpu->xm->opaque, cpu);
}

static bool cpu_intr_pending(struct x86_cpu *cpu)
{
	struct x86_machine *xm = cpu->xm;

	if (cpu->lapic)
		return lapic_pending(cpu->lapic);
	return xm->pic_pending && xm->pic_pending(xm->pic);
}

static int cpu_intr_ack(struct x86_cpu *cpu)
{
	struct x86_machine *xm = cpu->xm;

	if (cpu->lapic)
		return lapic_ack(cpu->lapic);
	return xm->pic_ack ? xm->pic_ack(xm->pic) : -1;
}

bool x86_wakeup_pending(struct x86_cpu *cpu)
{
	unsigned bits =
		atomic_load_explicit(&cpu->pending, memory_order_acquire);

	if (cpu->activity == X86_ACTIVE)
		return true;
	if (bits & (X86_PEND_KICK | X86_PEND_INIT | X86_PEND_UNHALT))
		return true;
	if (cpu->activity == X86_WAIT_SIPI)
		return bits & X86_PEND_SIPI;
	if (bits & X86_PEND_NMI && !cpu->nmi_blocked)
		return true;
	return cpu->rflags & X86_FLAG_IF && cpu_intr_pending(cpu);
}

static void cpu_clear_pending(struct x86_cpu *cpu, unsigned bits)
{
	atomic_fetch_and_explicit(&cpu->pending, ~bits, memory_order_acq_rel);
}

/* INIT and SIPI: SDM 3A 9.4.  The BSP starts anew at the reset vector. */
static void cpu_take_init(struct x86_cpu *cpu, unsigned bits)
{
	if (bits & X86_PEND_INIT) {
		cpu_clear_pending(cpu, X86_PEND_INIT);
		x86_reset(cpu, true);
	}
	if (bits & X86_PEND_SIPI) {
		cpu_clear_pending(cpu, X86_PEND_SIPI);
		x86_start_sipi(cpu, atomic_load(&cpu->sipi_vector));
	}
}

static enum x86_pending_result cpu_deliver(struct x86_cpu *cpu, uint8_t type,
					   uint8_t vector)
{
	struct x86_event ev = { .vector = vector, .type = type };

	cpu->activity = X86_ACTIVE;
	return x86_deliver(cpu, &ev) ? X86_PEND_CONTINUE : X86_PEND_SHUTDOWN;
}

static enum x86_pending_result cpu_take_nmi(struct x86_cpu *cpu)
{
	cpu_clear_pending(cpu, X86_PEND_NMI);
	cpu->nmi_blocked = true;
	return cpu_deliver(cpu, X86_EV_NMI, X86_VEC_NMI);
}

static enum x86_pending_result cpu_take_intr(struct x86_cpu *cpu)
{
	int vector;

	if (!(cpu->rflags & X86_FLAG_IF)) {
		cpu->intr_masked = true;
		cpu_clear_pending(cpu, X86_PEND_INTR);
		return X86_PEND_CONTINUE;
	}
	/* Clear first: what arrives from now on sets the bit again. */
	cpu_clear_pending(cpu, X86_PEND_INTR);
	vector = cpu_intr_ack(cpu);
	if (vector < 0)
		return X86_PEND_CONTINUE;
	/* There may be more than one: look again before the next block. */
	if (cpu_intr_pending(cpu))
		atomic_fetch_or(&cpu->pending, X86_PEND_INTR);
	return cpu_deliver(cpu, X86_EV_INTR, vector);
}

enum x86_pending_result x86_take_pending(struct x86_cpu *cpu)
{
	unsigned bits =
		atomic_load_explicit(&cpu->pending, memory_order_acquire);

	if (bits & X86_PEND_SYNC) {
		cpu_clear_pending(cpu, X86_PEND_SYNC);
		x86_sync_answer(cpu);
	}
	if (bits & (X86_PEND_INIT | X86_PEND_SIPI))
		cpu_take_init(cpu, bits);
	if (bits & X86_PEND_UNHALT) {
		cpu_clear_pending(cpu, X86_PEND_UNHALT);
		if (cpu->activity == X86_HALTED)
			cpu->activity = X86_ACTIVE;
	}
	if (bits & X86_PEND_KICK) {
		cpu_clear_pending(cpu, X86_PEND_KICK);
		return X86_PEND_LEAVE;
	}
	/* The shadow of STI and MOV SS: one more instruction first. */
	if (cpu->activity == X86_WAIT_SIPI || cpu->int_shadow)
		return X86_PEND_CONTINUE;
	if (bits & X86_PEND_NMI && !cpu->nmi_blocked)
		return cpu_take_nmi(cpu);
	if (bits & X86_PEND_INTR)
		return cpu_take_intr(cpu);
	return X86_PEND_CONTINUE;
}
