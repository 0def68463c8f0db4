#include "cpu/translator/trap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "cpu/translator/xl.h"

static const int trap_signals[] = { SIGSEGV, SIGFPE, SIGBUS, SIGILL };
#define TRAP_SIGNALS (sizeof(trap_signals) / sizeof(*trap_signals))

/* Set once; handlers need them without a context of ours. */
static struct {
	pthread_once_t once;
	int failed;
	struct sigaction before[TRAP_SIGNALS];
} trap = { .once = PTHREAD_ONCE_INIT };

static _Thread_local struct xl *trap_xl;

static void trap_pass_on(unsigned i, siginfo_t *info, void *context)
{
	const struct sigaction *sa = &trap.before[i];

	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(trap_signals[i], info, context);
	else if (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN)
		sa->sa_handler(trap_signals[i]);
	else
		signal(trap_signals[i], SIG_DFL); /* raised again on return */
}

/* In the translated part: leave by XL_EXIT_FAULT with T0 = host pc. */
static void trap_handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	struct xl *x = trap_xl;
	const uint8_t *pc = (const uint8_t *)r[REG_RIP];
	unsigned i;

	if (x && pc >= x->rx + x->glue_size && pc < x->rx + x->code_size) {
		r[REG_R10] = r[REG_RIP];
		r[REG_RIP] = (greg_t)x->glue.exit[XL_EXIT_FAULT];
		return;
	}
	for (i = 0; i < TRAP_SIGNALS; i++)
		if (trap_signals[i] == sig)
			trap_pass_on(i, info, context);
}

static void trap_install(void)
{
	struct sigaction sa = { .sa_sigaction = trap_handler,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };
	unsigned i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < TRAP_SIGNALS; i++)
		if (sigaction(trap_signals[i], &sa, &trap.before[i]))
			trap.failed = errno;
}

int xl_trap_init(struct err *err)
{
	pthread_once(&trap.once, trap_install);
	if (trap.failed)
		return err_set(err, trap.failed,
			       "cannot handle the host's fault signals: %s",
			       strerror(trap.failed));
	return 0;
}

void xl_trap_watch(struct xl *x)
{
	trap_xl = x;
}
