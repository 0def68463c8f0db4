/*
 * monitor.h - how other programs talk to a guest that runs: a named guest
 * (--name) listens on a Unix socket of its own.
 *
 *	$XDG_RUNTIME_DIR/hostel/NAME/	(root: /run/hostel/NAME/; else
 *					/tmp/hostel-UID/NAME/), mode 0700
 *		monitor			AF_UNIX SOCK_SEQPACKET, JSON
 *		config.json		the description it was started with
 *		pid, lock		lock: held while hostel-vm lives
 *
 * A request is {"do": VERB, ...}, answered by {"ok": true, ...} or
 * {"ok": false, "error": SENTENCE}; a file is passed as a descriptor
 * (SCM_RIGHTS) with the request, so that the guest's process opens nothing
 * itself.  Verbs are one table in monitor.c, each a function that runs in the
 * monitor's thread:
 *
 *	status, stop, power, reset, pause, resume, stats
 *	screenshot (fd), save (fd)
 *	device-add, device-remove, device-list, balloon
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
 * sentence.
 */
typedef int monitor_fn(struct vm *vm, const json_t *args, int fd, json_t *reply,
		       struct err *err);

/* The directory of a guest's name; a sentence for names that cannot be. */
int monitor_dir(const char *name, char *out, size_t size, struct err *err);

/* Server: in hostel-vm, before the jail closes. */
int monitor_start(struct monitor **out, struct vm *vm, const char *name,
		  struct err *err);
void monitor_stop(struct monitor *m);

/*
 * Client: in the verbs of hostel(1).  Connects, asks, waits.  *reply is the
 * caller's, also with {"ok": false}, which is -EREMOTEIO with the sentence.
 */
int monitor_ask(const char *name, json_t *request, int fd, json_t **reply,
		struct err *err);

#endif
