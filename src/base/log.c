/* log.c - see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_LINE_MAX      1024
#define LOG_RATE_MESSAGES 10
#define LOG_RATE_NS       5000000000ull

static atomic_int log_level = LOG_WARN;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, level, memory_order_relaxed);
}

/* One write(2) a line, so that lines of several threads do not mix. */
void log_msg(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = { "error", "warning", "info",
					    "debug" };
	char line[LOG_LINE_MAX];
	va_list ap;
	int n, more;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	n = snprintf(line, sizeof(line), "hostel: %s: ", word[level]);
	va_start(ap, fmt);
	more = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (more < 0)
		return;
	n += more;
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* Nobody is left to tell if stderr itself fails. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

/*
 * Two threads that open a window together may let a few messages more
 * through; the bound stays a bound.
 */
int log_rate_ok(struct log_rate *rate)
{
	uint64_t now = clock_mono_ns();
	uint64_t start = __atomic_load_n(&rate->window_ns, __ATOMIC_RELAXED);

	if (!start || now - start > LOG_RATE_NS) {
		__atomic_store_n(&rate->count, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&rate->window_ns, now, __ATOMIC_RELAXED);
	}
	if (__atomic_load_n(&rate->count, __ATOMIC_RELAXED) >=
	    LOG_RATE_MESSAGES)
		return 0;
	return __atomic_fetch_add(&rate->count, 1, __ATOMIC_RELAXED) <
	       LOG_RATE_MESSAGES;
}
