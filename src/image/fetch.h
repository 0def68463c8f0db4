/*
 * fetch.h - downloads by curl(1), which knows the host's proxies.
 */
#ifndef HOSTEL_IMAGE_FETCH_H
#define HOSTEL_IMAGE_FETCH_H

#include <stdbool.h>

#include "base/err.h"
#include "image/progress.h"

struct fetch {
	const char *url;    /* http or https */
	const char *sha256; /* what it must have; NULL: by the lists */
	const char *sha512;
	bool no_verify; /* take it without a checksum */
	/* Where what was fetched in part is kept; NULL: it is not. */
	const char *partial;
};

/* The image that is meant by a name like "debian:12"; NULL: none. */
const char *fetch_url(const char *name);

/*
 * Downloads to `out`, in the directory `dir` of our own.  Without a checksum
 * given it is looked up in SHA512SUMS, then SHA256SUMS beside the file; where
 * neither names it the file is refused.  What was fetched when the work ended
 * half-way is taken up again if the checksum is known.
 */
int fetch_image(const struct fetch *f, const char *dir, const char *out,
		struct progress *progress, struct err *err);

/*
 * Finds the line of `file` in a list as sha512sum(1) writes them.  Untrusted;
 * false: not there.
 */
bool fetch_find_sum(const char *list, const char *file, unsigned hex_len,
		    char *hex);

#endif
