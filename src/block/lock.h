/*
 * lock.h - keeps two programs from using an image at the same time.
 *
 * Open-file-description locks on single bytes, as QEMU has them, so that each
 * respects the other: byte 100 + n says "I do n", byte 200 + n "nobody else
 * may do n", where n is 0 to read consistently, 1 to write, 3 to resize.  All
 * are shared locks; who takes some then looks for the opposite ones.
 */
#ifndef HOSTEL_BLOCK_LOCK_H
#define HOSTEL_BLOCK_LOCK_H

#include <stdbool.h>

#include "base/err.h"

/*
 * Locks an open image for writing or for reading, until fd is closed.
 * -EBUSY with a sentence if another use forbids it.  Where the file system
 * has no locks there are none.
 */
int lock_image(int fd, bool write, const char *path, struct err *err);

#endif
