/*
 * walk.h - the state walker: a guest's state, enumerated once.
 *
 * Each device, and the processor, names its fields in one function,
 *
 *	void uart_walk(void *dev, struct walk *w)
 *	{
 *		struct uart *u = dev;
 *		if (!walk_section(w, "uart", u->index, 1)) return;
 *		walk_u8(w, "ier", &u->ier);
 *		...
 *		walk_end(w);
 *	}
 *
 * and that one function serves save, restore, dump (text for people) and diff
 * (two states of the same machine compared by name).  The stream is
 * little-endian and self-describing: section name, instance, version, then
 * fields with name and size, so that an older reader can skip what it does
 * not know and a newer one keeps defaults for what is missing.
 *
 * Errors stick: the first one is kept and every later call is a no-op, so a
 * walk function needs no checks; the caller asks walk_result() once.  What a
 * stream contains is untrusted: sizes are checked here, values are checked by
 * the walk function after walk_end() when walk_restoring().
 * A walk is used by one thread.
 */
#ifndef HOSTEL_BASE_WALK_H
#define HOSTEL_BASE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

struct walk;

/*
 * The stream stays the caller's, and outlives the walk.  dump writes
 * "section[i].field = value".  NULL: no memory.  Field and section names are
 * 1..63 printable characters; sections do not nest.
 */
struct walk *walk_save_to(FILE *f);
struct walk *walk_restore_from(const void *buf, size_t len);
struct walk *walk_dump_to(FILE *f);
/*
 * Compares the walked object with a saved stream; each difference is one
 * line on `out` (may be NULL); their count is walk_diff_count().
 */
struct walk *walk_diff_with(const void *buf, size_t len, FILE *out);
void walk_free(struct walk *w);

/*
 * 0, or -errno with the sentence.  Ends the walk: saving, it completes the
 * stream (one that was not completed cannot be restored); comparing, it
 * counts the stream's sections that were not walked.
 */
int walk_result(struct walk *w, struct err *err);
unsigned walk_diff_count(const struct walk *w);
bool walk_restoring(const struct walk *w);
/* A walk function found a restored value impossible. */
void walk_fail(struct walk *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Opens a section.  False: skip its fields (absent in the stream, or an
 * earlier error); then walk_end() is not called.  Restoring a section of a
 * newer version than `version` is an error.
 */
bool walk_section(struct walk *w, const char *name, unsigned instance,
		  unsigned version);
void walk_end(struct walk *w);

void walk_bool(struct walk *w, const char *field, bool *p);
void walk_u8(struct walk *w, const char *field, uint8_t *p);
void walk_u16(struct walk *w, const char *field, uint16_t *p);
void walk_u32(struct walk *w, const char *field, uint32_t *p);
void walk_u64(struct walk *w, const char *field, uint64_t *p);
void walk_bytes(struct walk *w, const char *field, void *p, size_t n);
/* Arrays, stored element by element in little-endian. */
void walk_u32s(struct walk *w, const char *field, uint32_t *p, size_t n);
void walk_u64s(struct walk *w, const char *field, uint64_t *p, size_t n);

#endif
