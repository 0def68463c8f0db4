/*
 * seed.h - a cloud-init NoCloud seed: an ISO 9660 image labelled "cidata" with
 * the files meta-data and user-data.
 */
#ifndef HOSTEL_IMAGE_SEED_H
#define HOSTEL_IMAGE_SEED_H

#include "base/err.h"

struct seed {
	const char *user_data; /* text; NULL: "#cloud-config" alone */
	/*
	 * meta-data is ours: instance-id and local-hostname from `name`, the
	 * keys as public-keys; `meta_data`, if not NULL, is added at its end.
	 */
	const char *meta_data;
	const char *name;
	const char *instance_id;
	const char *const *keys; /* lines of authorized_keys */
	unsigned key_count;
};

/* Whole or not at all; replaces what is there. */
int seed_write(const char *path, const struct seed *seed, struct err *err);

/* meta-data as text; the caller frees it.  NULL: out of memory. */
char *seed_meta_data(const struct seed *seed);

#endif
