/*
 * home.h - where Hostel keeps a person's images and guests:
 *
 *	$HOSTEL_HOME, else for root /var/lib/hostel, for others
 *	${XDG_DATA_HOME:-~/.local/share}/hostel
 *		images/		store.h
 *		guests/		instance.h
 *		keys/		the pair that `hostel ssh` uses
 */
#ifndef HOSTEL_IMAGE_HOME_H
#define HOSTEL_IMAGE_HOME_H

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

/* out = DIRECTORY/sub; made, with its parents, mode 0700. */
int home_dir(const char *sub, char out[PATH_MAX], struct err *err);

/* snprintf for paths: -ENAMETOOLONG with a sentence. */
int home_path(char out[PATH_MAX], struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes a small file so that it is there whole or not at all. */
int home_write(const char *path, const void *data, uint64_t len, unsigned mode,
	       struct err *err);
/* Makes what a rename in this directory did last. */
int home_sync_dir(const char *path);
/* A directory and all that is in it; follows no link. */
void home_remove_tree(const char *path);

#endif
