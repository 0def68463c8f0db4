/*
 * screenshot.h - the guest's screen as a file.
 */
#ifndef HOSTEL_MACHINE_SCREENSHOT_H
#define HOSTEL_MACHINE_SCREENSHOT_H

#include "base/err.h"
#include "dev/vga/vga.h"

struct vm;

/*
 * Writes the screen into fd, which stays the caller's: as PNG, or a text
 * mode's characters.  A sentence for a guest without a display, and for text
 * of a screen that has none.  Any thread.
 */
int screenshot_png(struct vm *vm, int fd, struct err *err);
int screenshot_text(struct vm *vm, int fd, struct err *err);
/* One of these, by the name's end (.txt); the file is made anew. */
int screenshot_file(struct vm *vm, const char *path, struct err *err);
bool screenshot_is_text(const char *path);

/* A frame as PNG, RGB of 8 bits. */
int screenshot_write_png(const struct vga_frame *f, int fd, struct err *err);

#endif
