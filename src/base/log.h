/*
 * log.h - Hostel's own words, on stderr.
 *
 * Libraries return errors; the edges (main functions, device models for what
 * a guest does wrong) log.  Anything that a guest can trigger goes through
 * log_guest(), which is rate-limited per call site, so that a hostile guest
 * cannot fill a disk.  All functions: any thread.
 */
#ifndef HOSTEL_BASE_LOG_H
#define HOSTEL_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped.  Default LOG_WARN. */
void log_set_level(enum log_level level);

void log_msg(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

/* One per call site: at most 10 messages in any 5 seconds. */
struct log_rate {
	uint64_t window_ns;
	unsigned count;
};
int log_rate_ok(struct log_rate *rate);

#define log_guest(...)                                  \
	do {                                            \
		static struct log_rate log_rate_;       \
		if (log_rate_ok(&log_rate_))            \
			log_msg(LOG_INFO, __VA_ARGS__); \
	} while (0)

#endif
