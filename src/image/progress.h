/*
 * progress.h - tells a person how far long work is: on a terminal one line
 * that changes, elsewhere one line a step.
 */
#ifndef HOSTEL_IMAGE_PROGRESS_H
#define HOSTEL_IMAGE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
	FILE *f; /* NULL: silence */
	bool tty;
	bool open; /* a line without its end is on the terminal */
	char step[96];
	uint64_t next_ns; /* not before: the eye is slow */
};

/* NULL: say nothing. */
void progress_init(struct progress *p, FILE *f);
/* What is being done now. */
void progress_step(struct progress *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* How much of it, in bytes; total 0: unknown. */
void progress_bytes(struct progress *p, uint64_t done, uint64_t total);
/* A word beside the step, as it comes. */
void progress_note(struct progress *p, const char *note);
/* Leaves the terminal with a clean line. */
void progress_end(struct progress *p);

#endif
