/*
 * line.h - bytes from and to the world outside: a pair of descriptors with a
 * buffer each, drained and filled by the loop.
 *
 * A vCPU never blocks on a descriptor: what is put goes to the out buffer,
 * which the loop writes out; who puts looks at line_has_room().  in_fd is
 * read only while the in buffer is empty, so that nothing is lost.
 *
 * Threads: all functions from any thread, unless they say otherwise.  The
 * line's mutex is below its device's; callbacks come from the loop's thread,
 * without it.
 */
#ifndef HOSTEL_DEV_LINE_H
#define HOSTEL_DEV_LINE_H

#include "base/loop.h"
#include "base/walk.h"

struct line;

struct line_ops {
	void (*input)(void *opaque); /* line_get() has something */
	void (*room)(void *opaque);  /* line_has_room() again */
};

/*
 * -1 for a descriptor: nothing is ever received, or what is put is dropped.
 * They stay the caller's and are switched to non-blocking until line_free()
 * (not for regular files).  End of file leaves the line working; so does a
 * reader that is gone, but what is put is dropped then.
 */
int line_new(struct line **out, struct loop *loop, int in_fd, int out_fd,
	     const struct line_ops *ops, void *opaque);
/* Once the loop has stopped. */
void line_free(struct line *line);

/* The next byte received; false: there is none. */
bool line_get(struct line *line, uint8_t *byte);
/* Bytes as if received, as far as there is room; `input` is not called. */
size_t line_inject(struct line *line, const uint8_t *buf, size_t len);

/* Dropped if the buffer is full in spite of line_has_room()'s warning. */
void line_put(struct line *line, uint8_t byte);
/* A few thousand more bytes may be put. */
bool line_has_room(struct line *line);
/*
 * Writes out what is still buffered, waiting at most timeout_ms in all.  For
 * the end of a run, when the loop has stopped.
 */
void line_flush(struct line *line, unsigned timeout_ms);

/* Fields of the caller's open section. */
void line_walk(struct line *line, struct walk *w);
/* After walk_end(), when restoring: checks, and goes on with the work. */
void line_restored(struct line *line, struct walk *w);

#endif
