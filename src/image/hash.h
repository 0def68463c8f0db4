/*
 * hash.h - checksums of files, as sha256sum(1) and sha512sum(1) print them.
 */
#ifndef HOSTEL_IMAGE_HASH_H
#define HOSTEL_IMAGE_HASH_H

#include "base/err.h"
#include "image/progress.h"

#define HASH_HEX_MAX (2 * 64 + 1) /* of SHA-512, with its NUL */

enum hash_kind { HASH_SHA256, HASH_SHA512 };

/* `path` is only for sentences; reads from the start, leaves the position. */
int hash_fd(enum hash_kind kind, int fd, const char *path,
	    struct progress *progress, char hex[HASH_HEX_MAX], struct err *err);

#endif
