/*
 * thunk.c - running a guest instruction on the host's processor.
 *
 * Order of events, so that every fault comes before any change of state
 * (SDM 3A 6.9 and 2A 3.1.1.14): availability (#UD, #NM), a pending x87
 * exception (#MF), the operand's address, its alignment (#GP), its pages
 * (#PF); then the thunk runs (thunk_code.c) and stores, or the host raises
 * SIGFPE and nothing but MXCSR's flags has changed.
 *
 * The memory operand is the guest's own memory where the TLB has it, else a
 * buffer.  The host's MXCSR is the guest's while an instruction runs that
 * depends on it, and stays so afterwards if only flags differ from the
 * default: C code does not look at them, and the next thunk needs not load.
 *
 * x87 and MMX instructions find their registers in the host's, where the one
 * before left them: the host's are saved after every instruction, so that
 * cpu->fpu is always complete, but loaded only if cpu->fpu does not say the
 * same as the thread's last save (x87 code comes in runs).  In between they
 * hold the guest's values; C code does not use long double.
 *
 * CR0.NE = 0 asks for IRQ 13 instead of #MF; no guest in use since the 386
 * needs it, so #MF is raised in both cases.
 */
#include "cpu/x86/thunk.h"

#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "cpu/x86/fpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/thunk_code.h"

/* MXCSR without its flags, as the host's C code expects it. */
#define THUNK_HOST_CONTROL (FPU_MXCSR_INIT & ~FPU_MXCSR_FLAGS)

/* --- SIGFPE -------------------------------------------------------------- */

/* Who handled SIGFPE before us; set once by thunk_init(). */
static struct {
	pthread_once_t once;
	int result;
	struct sigaction before;
} thunk_signal = { .once = PTHREAD_ONCE_INIT };

static void thunk_signal_pass_on(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *sa = &thunk_signal.before;

	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, context);
	else if (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN)
		sa->sa_handler(sig);
	else
		signal(sig, SIG_DFL); /* raised again on return */
}

static void thunk_sigfpe(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	if (!thunk_code_contains((uint64_t)g[REG_RIP])) {
		thunk_signal_pass_on(sig, info, context);
		return;
	}
	g[REG_RAX] = (greg_t)(THUNK_FAULT | (uint64_t)g[REG_TRAPNO]);
	g[REG_RIP] = (greg_t)thunk_code_fault_exit();
}

/* Set once by thunk_init(). */
static bool thunk_keeps_pointers;

bool fpu_host_keeps_pointers(void)
{
	return thunk_keeps_pointers;
}

/* fld1; fxsave; fninit: is there an instruction pointer? */
static void thunk_probe_pointers(void)
{
	struct x86_xsave area = { { 0 } };
	uint64_t fip;

	__asm__ volatile("fld1; fxsave64 %0; fninit" : "=m"(area));
	memcpy(&fip, area.b + FPU_FIP, sizeof(fip));
	thunk_keeps_pointers = fip != 0;
}

static void thunk_signal_once(void)
{
	struct sigaction sa = { .sa_sigaction = thunk_sigfpe,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };

	thunk_probe_pointers();
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGFPE, &sa, &thunk_signal.before) < 0)
		thunk_signal.result = -errno;
}

int thunk_init(struct err *err)
{
	int rc = thunk_code_init(err);

	if (rc)
		return rc;
	pthread_once(&thunk_signal.once, thunk_signal_once);
	if (thunk_signal.result)
		return err_set(err, -thunk_signal.result,
			       "cannot handle SIGFPE: %s",
			       strerror(-thunk_signal.result));
	return 0;
}

/* --- Availability -------------------------------------------------------- */

/* SDM 2A 2.4 (VEX), 3A 13.1 (SSE), 12.1 (MMX), 2.5 (CR0.EM and TS). */
void thunk_check_class(struct x86_cpu *cpu, enum x86_class cls)
{
	switch (cls) {
	case X86_CLASS_AVX:
		if (!(cpu->cr4 & X86_CR4_OSXSAVE) ||
		    (cpu->xcr0 & (X86_XCR0_SSE | X86_XCR0_AVX)) !=
			    (X86_XCR0_SSE | X86_XCR0_AVX))
			x86_ud(cpu);
		break;
	case X86_CLASS_SSE:
		if (cpu->cr0 & X86_CR0_EM || !(cpu->cr4 & X86_CR4_OSFXSR))
			x86_ud(cpu);
		break;
	case X86_CLASS_MMX:
		if (cpu->cr0 & X86_CR0_EM)
			x86_ud(cpu);
		break;
	case X86_CLASS_X87:
		if (cpu->cr0 & X86_CR0_EM)
			x86_raise(cpu, X86_VEC_NM);
		break;
	default:
		break;
	}
	if (cpu->cr0 & X86_CR0_TS)
		x86_raise(cpu, X86_VEC_NM);
}

void thunk_check_available(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	thunk_check_class(cpu, insn->desc->cls);
}

/* --- The memory operand -------------------------------------------------- */

struct thunk_mem {
	void *p; /* what the thunk gets */
	uint64_t linear;
	unsigned size;
	bool bounced;
	uint8_t buf[32] __attribute__((aligned(32)));
};

static void thunk_bounce(struct x86_cpu *cpu, struct thunk_mem *m,
			 unsigned flags)
{
	if (flags & THUNK_MEM_WRITE)
		x86_probe(cpu, m->linear, m->size, true);
	if (flags & THUNK_MEM_READ)
		x86_load_bytes(cpu, m->linear, m->buf, m->size);
	m->bounced = true;
	m->p = m->buf;
}

static void thunk_map_operand(struct x86_cpu *cpu, const struct x86_insn *insn,
			      const struct thunk *t, struct thunk_mem *m)
{
	bool write = t->flags & THUNK_MEM_WRITE;

	m->size = insn->o[t->mem_index].size;
	if (t->flags & THUNK_ALIGN)
		m->linear =
			x86_linear_aligned(cpu, insn, m->size, m->size, write);
	else
		m->linear = x86_linear(cpu, insn, m->size, write);
	m->p = x86_tlb_lookup(cpu, m->linear, m->size,
			      x86_tlb_kind(cpu) | write);
	if (!m->p)
		thunk_bounce(cpu, m, t->flags);
}

/*
 * An unmasked exception other than precision withholds an x87 store (SDM 1,
 * 8.5).  What is flagged and unmasked now was raised by this instruction,
 * since nothing was pending before.
 */
static bool thunk_store_withheld(const struct x86_cpu *cpu,
				 const struct thunk *t)
{
	return t->flags & THUNK_X87_STORE &&
	       fpu_get16(cpu, FPU_FSW) & ~fpu_get16(cpu, FPU_FCW) & 0x1f;
}

static void thunk_store_operand(struct x86_cpu *cpu, const struct thunk *t,
				const struct thunk_mem *m)
{
	if (m->bounced && t->flags & THUNK_MEM_WRITE &&
	    !thunk_store_withheld(cpu, t))
		x86_store_bytes(cpu, m->linear, m->buf, m->size);
}

/* --- x87 registers and TOP ----------------------------------------------- */

void fpu_change_top(struct x86_cpu *cpu, unsigned top)
{
	uint16_t fsw = fpu_get16(cpu, FPU_FSW);
	unsigned move = top - (fsw >> 11 & 7);
	uint8_t old[128];

	memcpy(old, cpu->fpu.b + FPU_ST, sizeof(old));
	for (unsigned i = 0; i < 8; i++)
		memcpy(cpu->fpu.b + FPU_ST + 16 * i,
		       old + 16 * ((i + move) & 7), 16);
	fsw &= (uint16_t)~FPU_FSW_TOP;
	fpu_set16(cpu, FPU_FSW, (uint16_t)(fsw | (top & 7) << 11));
}

/* --- Running ------------------------------------------------------------- */

static uint64_t thunk_call(struct x86_cpu *cpu, const struct x86_insn *insn,
			   const struct thunk *t, void *mem)
{
	uint64_t *gpr = cpu->gpr;

	if (t->gpr_index != THUNK_NONE && !(t->flags & THUNK_IMPLICIT))
		gpr += insn->o[t->gpr_index].reg & 15;
	if (__builtin_expect(!t->code, 0))
		return thunk_code_uncached(t, insn, cpu->fpu.b, mem, gpr,
					   cpu->rflags);
	return t->code(cpu->fpu.b, mem, gpr, cpu->rflags);
}

static inline void thunk_host_mxcsr(uint32_t guest)
{
	if ((guest & ~FPU_MXCSR_FLAGS) != THUNK_HOST_CONTROL)
		_mm_setcsr(FPU_MXCSR_INIT);
}

static uint64_t thunk_run_mxcsr(struct x86_cpu *cpu,
				const struct x86_insn *insn,
				const struct thunk *t, void *mem)
{
	uint32_t mxcsr = fpu_get32(cpu, FPU_MXCSR);
	uint64_t ret;

	if (_mm_getcsr() != mxcsr)
		_mm_setcsr(mxcsr);
	ret = thunk_call(cpu, insn, t, mem);
	mxcsr = _mm_getcsr();
	fpu_set32(cpu, FPU_MXCSR, mxcsr);
	thunk_host_mxcsr(mxcsr);
	return ret;
}

/*
 * FOP, FIP and FDP as the guest's processor would hold them: the host's,
 * which now name the thunk, must not leak.  SDM 1, 8.1.8 and 8.1.9.
 */
static void thunk_set_pointers(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	fpu_set16(cpu, FPU_FOP,
		  (uint16_t)((insn->opcode & 7) << 8 | insn->modrm));
	fpu_set64(cpu, FPU_FIP, cpu->rip - insn->len);
	if (insn->has_mem)
		fpu_set64(cpu, FPU_FDP, x86_effective(cpu, insn));
}

/* --- x87 and MMX --------------------------------------------------------- */

/* What the thread's x87 registers hold; as FXSAVE64 wrote it last. */
static _Thread_local struct x86_xsave thunk_host;
static _Thread_local bool thunk_host_valid;

#define THUNK_HEAD_BYTES 6   /* FCW, FSW, FTW */
#define THUNK_REGS_BYTES 128 /* from FPU_ST */

void thunk_forget_x87(void)
{
	thunk_host_valid = false;
}

static void thunk_load_x87(const struct x86_cpu *cpu)
{
	const uint8_t *b = cpu->fpu.b;
	const uint32_t mxcsr = FPU_MXCSR_INIT;

	if (thunk_host_valid && !memcmp(thunk_host.b, b, THUNK_HEAD_BYTES) &&
	    !memcmp(thunk_host.b + FPU_ST, b + FPU_ST, THUNK_REGS_BYTES))
		return;
	memcpy(thunk_host.b, b, FPU_MXCSR);
	memcpy(thunk_host.b + FPU_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(thunk_host.b + FPU_ST, b + FPU_ST, THUNK_REGS_BYTES);
	__asm__ volatile("fxrstor64 %0"
			 :
			 : "m"(thunk_host)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
			   "xmm12", "xmm13", "xmm14", "xmm15");
	thunk_host_valid = true;
}

/* A pending exception must not meet the host's own code. */
static void thunk_save_x87(struct x86_cpu *cpu, bool faulted)
{
	__asm__ volatile("fxsave64 %0" : "=m"(thunk_host));
	memcpy(cpu->fpu.b, thunk_host.b, THUNK_HEAD_BYTES);
	memcpy(cpu->fpu.b + FPU_ST, thunk_host.b + FPU_ST, THUNK_REGS_BYTES);
	if (faulted || fpu_get16(cpu, FPU_FSW) & FPU_FSW_ES) {
		__asm__ volatile("fninit");
		thunk_host_valid = false;
	}
}

static uint64_t thunk_run_x87(struct x86_cpu *cpu, const struct x86_insn *insn,
			      const struct thunk *t, void *mem)
{
	bool init = insn->map == 0 && insn->opcode == 0xdb &&
		    insn->modrm == 0xe3; /* FNINIT */
	uint64_t ret;

	thunk_load_x87(cpu);
	ret = thunk_call(cpu, insn, t, mem);
	thunk_save_x87(cpu, ret & THUNK_FAULT);
	if (init)
		memset(cpu->fpu.b + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
	if (t->flags & THUNK_POINTERS && !(ret & THUNK_FAULT))
		thunk_set_pointers(cpu, insn);
	return ret;
}

/*
 * A faulting thunk leaves the guest's x87 registers in the host's: CVTPS2PI
 * and kin may have gone over to MMX (TOP, tags) before they found #XM.
 */
static void thunk_save_faulted_x87(struct x86_cpu *cpu)
{
	struct x86_xsave area;

	__asm__ volatile("fxsave64 %0; fninit" : "=m"(area));
	memcpy(cpu->fpu.b, area.b, FPU_FOP);
	memcpy(cpu->fpu.b + FPU_ST, area.b + FPU_ST, 128);
}

/* Empty registers and the usual FCW for C code; FNINIT is the slow way. */
static void thunk_clean_x87(const struct x86_cpu *cpu)
{
	if (fpu_get16(cpu, FPU_FSW) & FPU_FSW_ES ||
	    fpu_get16(cpu, FPU_FCW) != FPU_FCW_INIT)
		__asm__ volatile("fninit");
	else
		__asm__ volatile("emms");
}

/*
 * Conversions between MMX and XMM registers: all of the state, with MXCSR.  The
 * host's pointers, which name the thunk, do not get to the guest.
 */
static uint64_t thunk_run_fxstate(struct x86_cpu *cpu,
				  const struct x86_insn *insn,
				  const struct thunk *t, void *mem)
{
	uint8_t pointers[FPU_MXCSR - FPU_FOP];
	uint64_t ret;

	memcpy(pointers, cpu->fpu.b + FPU_FOP, sizeof(pointers));
	thunk_forget_x87();
	ret = thunk_call(cpu, insn, t, mem);
	if (ret & THUNK_FAULT)
		thunk_save_faulted_x87(cpu);
	else
		thunk_clean_x87(cpu);
	fpu_set32(cpu, FPU_MXCSR, _mm_getcsr());
	fpu_set32(cpu, FPU_MXCSR_MASK, FPU_MXCSR_VALID);
	thunk_host_mxcsr(fpu_get32(cpu, FPU_MXCSR));
	memcpy(cpu->fpu.b + FPU_FOP, pointers, sizeof(pointers));
	return ret;
}

static uint64_t thunk_run(struct x86_cpu *cpu, const struct x86_insn *insn,
			  const struct thunk *t, void *mem)
{
	if (t->flags & THUNK_X87)
		return thunk_run_x87(cpu, insn, t, mem);
	if (t->flags & THUNK_FXSTATE)
		return thunk_run_fxstate(cpu, insn, t, mem);
	if (t->flags & THUNK_MXCSR)
		return thunk_run_mxcsr(cpu, insn, t, mem);
	return thunk_call(cpu, insn, t, mem);
}

/* The host's exception is the guest's. */
static _Noreturn void thunk_fault(struct x86_cpu *cpu, unsigned vector)
{
	if (vector == X86_VEC_MF)
		x86_raise(cpu, X86_VEC_MF);
	if (!(cpu->cr4 & X86_CR4_OSXMMEXCPT))
		x86_ud(cpu);
	x86_raise(cpu, X86_VEC_XM);
}

static const struct thunk *thunk_get(struct x86_cpu *cpu,
				     const struct x86_insn *insn,
				     struct thunk *uncached)
{
	const struct thunk *t = __atomic_load_n(&insn->thunk, __ATOMIC_ACQUIRE);

	if (__builtin_expect(t != NULL, 1))
		return t;
	t = thunk_code_get(uncached, insn, cpu->mode);
	if (t->code) /* decoded instructions may be shared by threads */
		__atomic_store_n(&((struct x86_insn *)insn)->thunk, (void *)t,
				 __ATOMIC_RELEASE);
	return t;
}

void thunk_exec(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct thunk uncached;
	struct thunk_mem m;
	const struct thunk *t = thunk_get(cpu, insn, &uncached);
	uint64_t ret;

	if ((cpu->mode & t->need) != t->need)
		thunk_check_available(cpu, insn);
	if (t->flags & THUNK_WAIT && fpu_x87_pending(cpu))
		x86_raise(cpu, X86_VEC_MF);
	m.p = NULL;
	m.bounced = false;
	if (t->mem_index != THUNK_NONE)
		thunk_map_operand(cpu, insn, t, &m);
	ret = thunk_run(cpu, insn, t, m.p);
	if (__builtin_expect(ret & THUNK_FAULT, 0))
		thunk_fault(cpu, (unsigned)ret & 0xff);
	if (t->flags & THUNK_FLAGS_OUT)
		cpu->rflags = (cpu->rflags & ~X86_FLAGS_ARITH) |
			      (ret & X86_FLAGS_ARITH);
	thunk_store_operand(cpu, t, &m);
}
