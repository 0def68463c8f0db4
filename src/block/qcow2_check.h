/*
 * qcow2_check.h - between qcow2_check.c, which counts what refers to each
 * cluster and compares, and qcow2_repair.c, which sets right what is wrong.
 */
#ifndef HOSTEL_BLOCK_QCOW2_CHECK_H
#define HOSTEL_BLOCK_QCOW2_CHECK_H

#include "block/qcow2.h"

struct qcow2_checker {
	struct qcow2 *q;
	FILE *report;             /* NULL: nobody reads it */
	uint64_t lines;           /* of the report, which ends somewhere */
	uint64_t clusters;        /* of the file */
	uint32_t *counts;         /* references found, a cluster each */
	uint8_t *kinds;           /* enum qcow2_use, a cluster each */
	uint64_t refcount_errors; /* a new table of counts mends them */
	uint64_t copied_errors, copied_left; /* left: after mending */
	uint64_t other_errors;
	uint64_t leaks, allocated;
};

/* What a cluster is used as; several: it is nobody's to write. */
enum qcow2_use {
	QCOW2_USE_TABLE = 1, /* L2 */
	QCOW2_USE_OTHER = 2,
	QCOW2_USES = 3,
	QCOW2_IS_ONE = 4, /* not a use: the image says refcount 1 */
};

/* One line of the report. */
void qcow2_say(struct qcow2_checker *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Counts the refcount table and its blocks: +1, or -1 to forget them. */
int qcow2_count_refcounts(struct qcow2_checker *c, int delta);

/* All of it from the file, q->lock held; fills in the errors. */
int qcow2_checker_run(struct qcow2_checker *c, struct err *err);
void qcow2_checker_free(struct qcow2_checker *c);

/* --- qcow2_repair.c ------------------------------------------------------- */

/* What refers to less than its count says gets the smaller count. */
int qcow2_repair_leaks(struct qcow2_checker *c, uint64_t *fixed);
/* New refcount table and blocks at the file's end; the header names them. */
int qcow2_repair_counts(struct qcow2_checker *c);
/*
 * COPIED of the active tables: counts what the image's own counts contradict,
 * or, to mend, makes it follow what was found (which those say by now).
 */
int qcow2_repair_copied(struct qcow2_checker *c, bool mend);

#endif
