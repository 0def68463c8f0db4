/*
 * err.h - the sentence that tells a person what went wrong.
 *
 * Functions return 0 or -errno.  Where a person can be the cause (an option,
 * a file, an image) the last parameter is a `struct err *`: on failure it
 * holds one sentence: what, where, what to do.  CLI and API repeat it as is.
 */
#ifndef HOSTEL_BASE_ERR_H
#define HOSTEL_BASE_ERR_H

#define ERR_MSG_MAX 512

struct err {
	char msg[ERR_MSG_MAX]; /* NUL-terminated, no trailing newline */
};

/*
 * Sets the sentence and returns -code (code > 0, an errno value), so that
 * `return err_set(err, EINVAL, "...")` is the idiom.  err may be NULL.
 * A sentence that does not fit is cut, never overrun.  Any thread.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "WHAT: " before the sentence that is already there. */
void err_prefix(struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
