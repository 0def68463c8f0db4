/*
 * proc.h - runs other programs, waits for them, and hears what they say.
 */
#ifndef HOSTEL_IMAGE_PROC_H
#define HOSTEL_IMAGE_PROC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct proc {
	const char *const *argv; /* NULL-terminated; found on PATH and sbin */
	int log_fd;              /* gets all that it prints; -1: nobody */
	/* Each line that it prints, without its end; may be NULL. */
	void (*line)(void *opaque, const char *line);
	void *opaque;
};

/*
 * The program's input is empty; it dies with us.  0, or -EIO with a sentence
 * that has the last thing it printed.
 */
int proc_run(const struct proc *p, struct err *err);

/*
 * Hands on what the program prints, as it comes; its stderr is ours.  The
 * sink's first error ends it.
 */
int proc_stream(const char *const *argv,
		int (*sink)(void *opaque, const void *buf, size_t len),
		void *opaque);

/* What a program prints, up to `size` - 1 bytes; -EIO if it fails. */
int proc_output(const char *const *argv, char *out, unsigned size);

/* Is there such a program? */
bool proc_have(const char *name);

/* PATH, and the directories of root's programs, which users' PATHs lack. */
void proc_set_path(void);

#endif
