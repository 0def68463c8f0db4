#include "cli/interrupt.h"

#include <signal.h>

static const int interrupt_signals[] = { SIGINT, SIGTERM, SIGHUP };

#define INTERRUPT_COUNT \
	(sizeof(interrupt_signals) / sizeof(interrupt_signals[0]))

static void interrupt_set(int how)
{
	struct sigaction now;
	sigset_t set;

	/* One that is ignored, as by nohup(1), would wait too once blocked. */
	sigemptyset(&set);
	for (size_t i = 0; i < INTERRUPT_COUNT; i++)
		if (!sigaction(interrupt_signals[i], NULL, &now) &&
		    now.sa_handler != SIG_IGN)
			sigaddset(&set, interrupt_signals[i]);
	sigprocmask(how, &set, NULL);
}

void interrupt_hold(void)
{
	interrupt_set(SIG_BLOCK);
}

bool interrupt_waits(void)
{
	sigset_t set;

	if (sigpending(&set))
		return false;
	for (size_t i = 0; i < INTERRUPT_COUNT; i++)
		if (sigismember(&set, interrupt_signals[i]) == 1)
			return true;
	return false;
}

void interrupt_let(void)
{
	interrupt_set(SIG_UNBLOCK);
}
