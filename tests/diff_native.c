/*
 * diff_native.c - running one instruction on the host's own processor.
 *
 * diff_native_enter() loads every register and jumps to the instruction.
 * Behind the instruction lies a jump to diff_native_exit, which stores every
 * register; neither disturbs anything, since all addresses are absolute.
 * Everything around the instruction is INT3.  An exception, or a branch to
 * elsewhere, ends in a signal handler on its own stack, which notes the state
 * that the kernel saved and goes on at diff_native_resume.
 */
#include "diff.h"

#include "cpu/x86/thunk.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Linux' selectors, and where in its page the gate to 32-bit code is. */
#define DIFF_CS32       0x23
#define DIFF_DS         0x2b
#define DIFF_CS64       0x33
#define DIFF_GATE_ENTRY 32

/* Known to the assembly below, by offset. */
struct diff_native_ctx {
	uint64_t in_gpr[16];   /* 0 */
	uint64_t in_rflags;    /* 128 */
	uint64_t target;       /* 136 */
	uint64_t host_rsp;     /* 144 */
	uint64_t out_gpr[16];  /* 152 */
	uint64_t out_rflags;   /* 280 */
	uint64_t fs, gs;       /* 288, 296 */
	uint64_t host_fs;      /* 304 */
	const uint8_t *in_fpu; /* 312 */
	uint8_t *out_fpu;      /* 320 */
	uint64_t uses_fpu;     /* 328 */
	uint32_t mxcsr, pad;   /* 336 */
	uint64_t host_gs;      /* 344: the translator's */
	/* Not known to the assembly. */
	volatile bool active;
	bool signalled;
	const struct diff_case *c;
	struct diff_state *out;
	uint8_t *code; /* DIFF_CODE's page, writable */
	unsigned mode;
};
extern struct diff_native_ctx diff_native_ctx;
struct diff_native_ctx diff_native_ctx;

void diff_native_enter(void);
void diff_native_exit(void);
void diff_native_resume(void);

/* clang-format off */
__asm__(
"	.text\n"
"	.globl diff_native_enter\n"
"diff_native_enter:\n"
"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
"	mov %rsp, 144+diff_native_ctx(%rip)\n"
"	cmpq $0, 328+diff_native_ctx(%rip)\n"
"	je 1f\n"
"	mov 312+diff_native_ctx(%rip), %rdi\n"
"	mov $7, %eax\n"
"	xor %edx, %edx\n"
"	xrstor64 (%rdi)\n"
"1:	rdfsbase %rax\n"
"	mov %rax, 304+diff_native_ctx(%rip)\n"
"	rdgsbase %rax\n"
"	mov %rax, 344+diff_native_ctx(%rip)\n"
"	mov 288+diff_native_ctx(%rip), %rax\n"
"	wrfsbase %rax\n"
"	mov 296+diff_native_ctx(%rip), %rax\n"
"	wrgsbase %rax\n"
"	push 128+diff_native_ctx(%rip)\n"
"	popfq\n"
"	mov 0+diff_native_ctx(%rip), %rax\n"
"	mov 8+diff_native_ctx(%rip), %rcx\n"
"	mov 16+diff_native_ctx(%rip), %rdx\n"
"	mov 24+diff_native_ctx(%rip), %rbx\n"
"	mov 40+diff_native_ctx(%rip), %rbp\n"
"	mov 48+diff_native_ctx(%rip), %rsi\n"
"	mov 56+diff_native_ctx(%rip), %rdi\n"
"	mov 64+diff_native_ctx(%rip), %r8\n"
"	mov 72+diff_native_ctx(%rip), %r9\n"
"	mov 80+diff_native_ctx(%rip), %r10\n"
"	mov 88+diff_native_ctx(%rip), %r11\n"
"	mov 96+diff_native_ctx(%rip), %r12\n"
"	mov 104+diff_native_ctx(%rip), %r13\n"
"	mov 112+diff_native_ctx(%rip), %r14\n"
"	mov 120+diff_native_ctx(%rip), %r15\n"
"	mov 32+diff_native_ctx(%rip), %rsp\n"
"	jmp *136+diff_native_ctx(%rip)\n"
"	.globl diff_native_exit\n"
"diff_native_exit:\n"
"	mov %rax, 152+diff_native_ctx(%rip)\n"
"	mov %rcx, 160+diff_native_ctx(%rip)\n"
"	mov %rdx, 168+diff_native_ctx(%rip)\n"
"	mov %rbx, 176+diff_native_ctx(%rip)\n"
"	mov %rsp, 184+diff_native_ctx(%rip)\n"
"	mov %rbp, 192+diff_native_ctx(%rip)\n"
"	mov %rsi, 200+diff_native_ctx(%rip)\n"
"	mov %rdi, 208+diff_native_ctx(%rip)\n"
"	mov %r8, 216+diff_native_ctx(%rip)\n"
"	mov %r9, 224+diff_native_ctx(%rip)\n"
"	mov %r10, 232+diff_native_ctx(%rip)\n"
"	mov %r11, 240+diff_native_ctx(%rip)\n"
"	mov %r12, 248+diff_native_ctx(%rip)\n"
"	mov %r13, 256+diff_native_ctx(%rip)\n"
"	mov %r14, 264+diff_native_ctx(%rip)\n"
"	mov %r15, 272+diff_native_ctx(%rip)\n"
"	mov 144+diff_native_ctx(%rip), %rsp\n"
"	pushfq\n"
"	pop 280+diff_native_ctx(%rip)\n"
"	pushq $0x202\n"
"	popfq\n"
"	rdfsbase %rax\n"
"	mov %rax, 288+diff_native_ctx(%rip)\n"
"	mov 304+diff_native_ctx(%rip), %rax\n"
"	wrfsbase %rax\n"
"	rdgsbase %rax\n"
"	mov %rax, 296+diff_native_ctx(%rip)\n"
"	mov 344+diff_native_ctx(%rip), %rax\n"
"	wrgsbase %rax\n"
"	cmpq $0, 328+diff_native_ctx(%rip)\n"
"	je diff_native_resume\n"
"	mov 320+diff_native_ctx(%rip), %rdi\n"
"	mov $7, %eax\n"
"	xor %edx, %edx\n"
"	xsave64 (%rdi)\n"
"	.globl diff_native_resume\n"
"diff_native_resume:\n"
"	fninit\n"
"	ldmxcsr 336+diff_native_ctx(%rip)\n"
"	vzeroupper\n"
"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
"	ret\n");
/* clang-format on */

static const int diff_native_greg[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* The host runs with its own FS base again; nothing before may use it. */
static inline void diff_native_host_fs(void)
{
	uint64_t fs;

	__asm__ volatile("rdfsbase %0" : "=r"(fs));
	diff_native_ctx.out->fs = fs;
	__asm__ volatile("wrfsbase %0" : : "r"(diff_native_ctx.host_fs));
	__asm__ volatile("rdgsbase %0" : "=r"(fs));
	diff_native_ctx.out->gs = fs;
	__asm__ volatile("wrgsbase %0" : : "r"(diff_native_ctx.host_gs));
}

void diff_outcome(const struct diff_case *c, struct diff_state *s)
{
	uint64_t next = DIFF_INSN + c->len;

	if (s->rip == next &&
	    ((s->vector == X86_VEC_BP && c->insn.op == X86_INT3) ||
	     (s->vector == X86_VEC_OF && c->insn.op == X86_INTO)))
		return; /* a trap */
	if (s->vector == X86_VEC_BP) {
		s->rip--;
		s->vector = DIFF_NO_VECTOR;
	} else if ((s->rip < DIFF_INSN || s->rip >= next)) {
		s->vector = DIFF_NO_VECTOR;
	}
}

/* The trap flag, set by POPF, stops behind the jump to diff_native_exit. */
static void diff_native_outcome(const greg_t *g)
{
	struct diff_state *out = diff_native_ctx.out;

	out->rip = (uint64_t)g[REG_RIP];
	out->vector = (int)g[REG_TRAPNO];
	out->error = (uint32_t)g[REG_ERR];
	out->cr2 = (uint64_t)g[REG_CR2];
	if (out->vector == X86_VEC_DB &&
	    (out->rip == (uint64_t)(uintptr_t)diff_native_exit ||
	     out->rip == DIFF_GATE))
		out->rip = DIFF_INSN + diff_native_ctx.c->len;
	diff_outcome(diff_native_ctx.c, out);
}

/* By signal: who handled it before. */
static struct sigaction diff_native_before[32];

/* To the engine, whose thunks and translations fault too. */
static void diff_native_pass_on(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *sa = &diff_native_before[sig];

	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, context);
	else
		signal(sig, SIG_DFL);
}

static void diff_native_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	if (!diff_native_ctx.active) {
		diff_native_pass_on(sig, info, context);
		return;
	}
	diff_native_host_fs();
	diff_native_ctx.active = false;
	diff_native_ctx.signalled = true;
	for (unsigned i = 0; i < 16; i++)
		diff_native_ctx.out_gpr[i] = (uint64_t)g[diff_native_greg[i]];
	diff_native_ctx.out_rflags = (uint64_t)g[REG_EFL];
	diff_native_outcome(g);
	if (diff_native_ctx.uses_fpu)
		memcpy(diff_native_ctx.out->fpu, uc->uc_mcontext.fpregs,
		       X86_XSAVE_SIZE);
	g[REG_RIP] = (greg_t)(uintptr_t)diff_native_resume;
	g[REG_RSP] = (greg_t)diff_native_ctx.host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | DIFF_CS64;
}

static int diff_native_map(uint64_t at, uint64_t size, int prot)
{
	void *p = mmap((void *)(uintptr_t)at, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
			       MAP_POPULATE,
		       -1, 0);

	return p == (void *)(uintptr_t)at ? 0 : -errno;
}

/* The code page, executable where it runs and writable elsewhere. */
static int diff_native_map_code(void)
{
	int fd = memfd_create("diff-code", MFD_CLOEXEC);
	void *rw, *rx;

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return -errno;
	rw = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap((void *)DIFF_CODE, 4096, PROT_READ | PROT_EXEC,
		  MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, 0);
	close(fd);
	if (rw == MAP_FAILED || rx != (void *)DIFF_CODE)
		return -ENOMEM;
	memset(rw, 0xcc, 4096);
	diff_native_ctx.code = rw;
	return 0;
}

static int diff_native_handlers(void)
{
	static const int sigs[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = diff_native_signal,
				.sa_flags =
					SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t ss = { .ss_size = 65536 };

	ss.ss_sp = malloc(ss.ss_size);
	if (!ss.ss_sp || sigaltstack(&ss, NULL) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (sigaction(sigs[i], &sa, &diff_native_before[sigs[i]]) < 0)
			return -errno;
	return 0;
}

int diff_native_protect(void)
{
	return mprotect((void *)DIFF_DATA, 4096, PROT_READ);
}

uint8_t *diff_native_data(void)
{
	return (uint8_t *)(uintptr_t)DIFF_DATA;
}

/*
 * Behind the instructions: jmp [rip] and the address of diff_native_exit; from
 * 32-bit code, a far jump to a gate that holds these, the address aligned,
 * since POPF may have set AC.
 */
static void diff_native_put_exit(uint8_t *p, uint32_t gap)
{
	uint64_t exit = (uintptr_t)diff_native_exit;

	p[0] = 0xff;
	p[1] = 0x25;
	memcpy(p + 2, &gap, sizeof(gap));
	memcpy(p + 6 + gap, &exit, sizeof(exit));
}

static void diff_native_put_exit32(uint8_t *p)
{
	uint32_t gate = DIFF_GATE;
	uint16_t cs = DIFF_CS64;

	p[0] = 0xea;
	memcpy(p + 1, &gate, 4);
	memcpy(p + 5, &cs, 2);
}

/*
 * The gate, below 4 GiB: the way back, then the way there, jmp far [rip+0],
 * to the instructions.
 */
static int diff_native_map_gate(void)
{
	static const uint8_t jmp[] = { 0xff, 0x2d, 0, 0, 0, 0 };
	uint8_t *p = (uint8_t *)(uintptr_t)DIFF_GATE;
	uint32_t to = DIFF_INSN;
	uint16_t cs = DIFF_CS32, ds = DIFF_DS;
	int rc = diff_native_map(DIFF_GATE, 4096, PROT_READ | PROT_WRITE);

	if (rc)
		return rc;
	diff_native_put_exit(p, 2);
	p += DIFF_GATE_ENTRY;
	memcpy(p, jmp, sizeof(jmp));
	memcpy(p + sizeof(jmp), &to, 4);
	memcpy(p + sizeof(jmp) + 4, &cs, 2);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(ds));
	return mprotect((void *)DIFF_GATE, 4096, PROT_READ | PROT_EXEC);
}

int diff_native_init(unsigned mode)
{
	int rc = diff_native_map_code();

	diff_native_ctx.mode = mode;
	diff_native_ctx.mxcsr = 0x1f80;
	if (!rc)
		rc = diff_native_map(DIFF_DATA, DIFF_DATA_BYTES,
				     PROT_READ | PROT_WRITE);
	if (!rc && mode == X86_MODE_CODE32)
		rc = diff_native_map_gate();
	return rc ? rc : diff_native_handlers();
}

static void diff_native_put_code(const struct diff_case *c)
{
	uint8_t code[DIFF_CODE_BYTES];

	memset(code, 0xcc, sizeof(code));
	memcpy(code, c->bytes, c->len);
	if (c->mode == X86_MODE_CODE64)
		diff_native_put_exit(code + c->len, 0);
	else
		diff_native_put_exit32(code + c->len);
	memcpy(diff_native_ctx.code + (DIFF_INSN - DIFF_CODE), code,
	       sizeof(code));
}

void diff_native_run(const struct diff_case *c, struct diff_state *out)
{
	struct diff_native_ctx *x = &diff_native_ctx;

	diff_native_put_code(c);
	memcpy(x->in_gpr, c->in.gpr, sizeof(x->in_gpr));
	x->in_rflags = c->in.rflags;
	x->target = c->mode == X86_MODE_CODE64 ? DIFF_INSN
					       : DIFF_GATE + DIFF_GATE_ENTRY;
	x->fs = c->in.fs;
	x->gs = c->in.gs;
	x->in_fpu = c->in.fpu;
	x->out_fpu = out->fpu;
	x->uses_fpu = c->uses_fpu;
	x->c = c;
	x->out = out;
	x->signalled = false;
	memset(out->fpu + 512, 0, 64);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	x->active = true;
	diff_native_enter();
	x->active = false;
	thunk_forget_x87();
	memcpy(out->gpr, x->out_gpr, sizeof(out->gpr));
	out->rflags = x->out_rflags;
	if (x->signalled)
		return;
	out->fs = x->fs;
	out->gs = x->gs;
	out->rip = DIFF_INSN + c->len;
	out->vector = DIFF_NO_VECTOR;
}
