/*
 * monitor.h - how other programs talk to a guest that runs: a named guest
 * (--name) listens on a Unix socket of its own.
 *
 *	$HOSTEL_RUNTIME_DIR/NAME/	(else root: /run/hostel/NAME/; else
 *					$XDG_RUNTIME_DIR/hostel/NAME/; else
 *					/tmp/hostel-UID/NAME/), mode 0700
 *		monitor			AF_UNIX SOCK_SEQPACKET, JSON
 *		config.json		the description it was started with
 *		pid, lock		lock: held while hostel-vm lives
 *
 * A request is {"do": VERB, ...}, answered by {"ok": true, ...} or
 * {"ok": false, "error": SENTENCE}; a file is passed as a descriptor
 * (SCM_RIGHTS) with the request, so that the guest's process opens nothing
 * itself.  Verbs are one table in monitor_verbs.c, each a function that runs
 * in the monitor's thread:
 *
 *	status, stop, power, reset, pause, resume, stats
 *	screenshot (fd), save (fd)
 *	device-add, device-remove, device-list, balloon
 *	key
 *
 * The directory goes when the guest ends; one that was left by a crash is
 * taken over by the next guest of that name (the lock is free then).  A name
 * that is in use is refused with a sentence.
 */
#ifndef HOSTEL_VMM_MONITOR_H
#define HOSTEL_VMM_MONITOR_H

#include <jansson.h>

#include "base/err.h"
#include "machine/vm.h"

#define MONITOR_NAME_MAX 64

struct monitor;

/*
 * One verb: `args` is the request, fd the descriptor that came with it or -1
 * (closed by the caller), reply an object to fill in.  0 or -errno with a
 * sentence.  It may pause the guest, but resumes it as often.
 */
typedef int monitor_fn(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err);

struct monitor_verb {
	const char *name;
	monitor_fn *fn;
};

/* All of them; the last has no name. */
extern const struct monitor_verb monitor_verbs[];

/* The directory of a guest's name; a sentence for names that cannot be. */
int monitor_dir(const char *name, char *out, size_t size, struct err *err);

/* Server: in hostel-vm, before the jail closes. */
int monitor_start(struct monitor **out, struct vm *vm, const char *name,
		  struct err *err);
/* Ends the thread and removes the directory; NULL is fine. */
void monitor_stop(struct monitor *m);

/*
 * Client: in the verbs of hostel(1).  Connects, asks, waits.  Takes over the
 * request (NULL: out of memory).  *reply is the caller's, also with
 * {"ok": false}, which is -EREMOTEIO with the sentence; else NULL on failure.
 */
int monitor_ask(const char *name, json_t *request, int fd, json_t **reply,
		struct err *err);
/*
 * The same in two steps, for who wants to know when the guest has ended: a
 * connection (or -errno) that is at its end of file then.
 */
int monitor_connect(const char *name, struct err *err);
int monitor_ask_on(int sock, json_t *request, int fd, json_t **reply,
		   struct err *err);

/*
 * The names of running guests, sorted: malloced, as is each; their number, or
 * -errno.  What ended guests left behind is removed on the way.
 */
int monitor_list(char ***names, struct err *err);
/* Removes what a guest of that name left, if none is running. */
void monitor_sweep(const char *name);

#endif
